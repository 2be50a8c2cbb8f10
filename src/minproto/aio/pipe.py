"""The byte pipe that everything runs on: read, write, drain, close_write, abort.

A TCP connection is a pipe, a TLS connection is one, a pair in memory is one, and so is a stream of HTTP/2. A protocol that
asks for nothing else runs over all of them. This file has the interface and the one for asyncio's streams, which hides
three traps of theirs:

- ``StreamWriter.drain`` does not yield while the kernel takes everything, so a fast reader of an endless response would
  starve all other connections. Ours always yields.
- TLS cannot be half-closed in asyncio (``can_write_eof`` is false): ``close_write`` does nothing there, and the answer's own
  framing has to tell the peer where it ends.
- ``transport.abort`` drops what asyncio holds and closes the socket, which the peer sees as an ordinary end. So that it
  can't take a part for the whole, ``abort`` here sends a TCP reset.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

READ_SIZE = 65_536
HIGH_WATER = 65_536
"""Bytes that may be written before ``drain`` has to be called, and that may wait in our buffer before it waits."""

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds: close() sends RST


class Pipe(Protocol):
    """An ordered, reliable stream of bytes in each direction. Both directions end independently."""

    def read(self) -> Awaitable[bytes]:
        """Wait for up to 64 KiB; b"" at the end of input. Raises OSError when the connection is broken."""

    def write(self, data: bytes | memoryview) -> None:
        """Take bytes to send; never waits, so ``drain`` has to follow."""

    @property
    def congested(self) -> bool:
        """Whether ``drain`` might have to wait, or has bad news. While this is false it need not be called."""

    @property
    def unsent(self) -> int:
        """Bytes that were written, and that wait in our memory for the peer to read."""

    async def drain(self) -> None:
        """Let others run, and wait until less than the high-water mark is unsent. Raises ConnectionError after a reset."""

    def close_write(self) -> None:
        """Send the end of our output after what was written; reading goes on. Where the pipe can't, nothing."""

    async def close(self) -> None:
        """Send what was written, then end both directions. Returns when it is done; raises ConnectionError after a reset."""

    def abort(self) -> None:
        """End both directions at once with a reset; what was not sent is lost."""

    def info(self, name: str) -> Any:
        """A fact about the transport by asyncio's name for it ("peername", "sockname", "ssl_object"), or None."""


class StreamPipe:
    """The pipe over asyncio's streams: TCP, TLS and Unix sockets."""

    __slots__ = ("_peername", "_reader", "_transport", "_writer", "_written")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._written = 0  # since we last let others run
        self._peername = writer.get_extra_info("peername")  # TLS forgets it when the connection is lost
        self._transport.set_write_buffer_limits(HIGH_WATER, HIGH_WATER // 4)

    def read(self) -> Awaitable[bytes]:
        return self._reader.read(READ_SIZE)

    def write(self, data: bytes | memoryview) -> None:
        self._written += len(data)
        self._transport.write(data)

    @property
    def congested(self) -> bool:
        return self._written > HIGH_WATER or self._transport.is_closing()

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("connection lost")
        self._written = 0
        if self._transport.get_write_buffer_size() > HIGH_WATER:
            await self._writer.drain()
        else:
            await asyncio.sleep(0)

    def close_write(self) -> None:
        if self._writer.can_write_eof() and not self._transport.is_closing():
            with suppress(OSError):  # the peer is gone: reading will tell
                self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError as error:
            raise ConnectionResetError(str(error)) from error

    def abort(self) -> None:
        sock = self.info("socket")
        if sock is not None and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def info(self, name: str) -> Any:
        return self._peername if name == "peername" else self._transport.get_extra_info(name)


class Counts(Protocol):
    """The bytes of a connection so far."""

    @property
    def received(self) -> int:
        """From the peer."""

    @property
    def sent(self) -> int:
        """To it."""


class Wire(Protocol):
    """What counts the bytes of a connection."""

    received: int
    sent: int


class Unread:
    """A pipe that was read too far: the bytes read come first, then the pipe's own. For the protocol after an Upgrade."""

    __slots__ = ("_pipe", "_unread", "_wire", "abort", "close", "close_write", "drain", "info")

    def __init__(self, pipe: Pipe, unread: bytes, wire: Wire) -> None:
        self._pipe = pipe
        self._unread = unread
        self._wire = wire
        self.drain, self.close_write = pipe.drain, pipe.close_write
        self.close, self.abort, self.info = pipe.close, pipe.abort, pipe.info

    async def read(self) -> bytes:
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        data = await self._pipe.read()
        self._wire.received += len(data)
        return data

    def write(self, data: bytes | memoryview) -> None:
        self._wire.sent += len(data)
        self._pipe.write(data)

    @property
    def congested(self) -> bool:
        return self._pipe.congested

    @property
    def unsent(self) -> int:
        return self._pipe.unsent
