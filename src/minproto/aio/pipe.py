"""The byte pipe that everything runs on: read, write, drain, close_write, abort.

A TCP connection is a pipe, a TLS connection is one, a pair in memory is one, and so is a stream of HTTP/2. A protocol that
asks for nothing else runs over all of them. This file has the interface and the one for asyncio's transports, which takes
the place of its stream reader and writer, and hides six traps:

- A drain that does not yield while the kernel takes everything (as ``StreamWriter``'s does not) lets a fast reader of an
  endless response starve all other connections. Ours always yields.
- A read that is cancelled, as a timeout does, must not take bytes with it: what arrived stays in the pipe until a read
  returns.
- Behind the peer's end asyncio does not look at the socket any more, so that a reset that comes later would be noticed at the
  second write after it. ``drain`` asks the socket.
- TLS cannot be half-closed in asyncio (``can_write_eof`` is false): ``close_write`` does nothing there, and the answer's own
  framing has to tell the peer where it ends.
- The end of TCP below TLS is told as the end of TLS, which it is not: ``read`` raises, after what had arrived.
- ``transport.abort`` drops what asyncio holds and closes the socket, which the peer sees as an ordinary end. So that it
  can't take a part for the whole, ``abort`` here sends a TCP reset.
"""

import asyncio
import socket
import ssl as tls
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, cast

from minproto.aio.address import Address
from minproto.aio.sockets import dial

READ_SIZE = 65_536
HIGH_WATER = 65_536
"""Bytes that may be written before ``drain`` has to be called, and that may wait in our buffer before it waits."""

LEAST = 1e-9
"""Seconds that asyncio gets where a timeout is 0, which it refuses."""
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
"""OpenSSL's reasons where clear text comes in the place of a TLS record; its versions use different ones."""
CUT_OFF = "TLS was cut off: the connection ended without the peer's close_notify"
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for 0 seconds: close() sends RST


Watcher = Callable[[bool], None]
"""Is told of a pipe's ends: see ``Pipe.watch``."""
LOOK = 1.0
"""Seconds between two looks for a reset, where asyncio itself does not watch the socket."""


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

    def watch(self, told: "Watcher | None") -> None:
        """Have the loop call ``told(False)`` when the peer has ended its output, and ``told(True)`` when the connection is
        lost; soon, if that has happened already. A pipe has one watcher at a time; None removes it.

        A server needs this while nothing reads from the pipe, for example while a handler of HTTP/1.1 computes its answer.
        """

    def info(self, name: str) -> Any:
        """A fact about the transport by asyncio's name for it ("peername", "sockname", "ssl_object"), or None."""


class StreamPipe(asyncio.Protocol):
    """The pipe over a transport of asyncio: TCP, TLS and Unix sockets.

    It is asyncio's stream reader and writer in one, without what those do for lines and limits that no protocol here uses:
    4% less CPU time for a request on the /hello benchmark (5 interleaved runs, the least of each).
    """

    __slots__ = (
        "_arrived", "_change", "_connected", "_ended", "_ending", "_error", "_full", "_looks", "_loop", "_lost", "_paused",
        "_peername", "_reading", "_socket", "_tls", "_transport", "_watcher", "_written", "congested",
    )  # fmt: skip

    def __init__(self, connected: Callable[["StreamPipe"], None] | None = None) -> None:
        """``connected`` is called once there is a transport (and over TLS, after the handshake)."""
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._arrived = b""
        self._ended = False  # no more will arrive
        self._paused = False  # until what arrived is read
        self._reading: asyncio.Future[None] | None = None  # a read waits
        self._written = 0  # since we last let others run
        self._full = False  # the high-water mark is reached
        self._lost = False
        self._error: Exception | None = None
        self._change: asyncio.Future[None] | None = None  # a drain or close waits for one of those three
        self._watcher: Watcher | None = None
        self._ending = False  # we have closed or aborted it
        self._looks = False  # a timer runs that will look for a reset
        self.congested = False

    # -- reading

    async def read(self) -> bytes:
        if self._reading is not None:
            raise RuntimeError("read while another read waits")
        if not (self._arrived or self._ended):
            self._reading = self._loop.create_future()
            try:
                await self._reading
            finally:
                self._reading = None
        data, self._arrived = self._arrived, b""
        if not data and self._error is not None:
            raise self._error
        if len(data) > READ_SIZE:
            data, self._arrived = data[:READ_SIZE], data[READ_SIZE:]
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def data_received(self, data: bytes) -> None:
        """asyncio's call: bytes have arrived. They stay here until they are read: a read that is cancelled loses none."""
        self._arrived = self._arrived + data if self._arrived else data
        if len(self._arrived) > READ_SIZE:
            self._paused = True
            self._transport.pause_reading()
            self._look_later(LOOK)
        self._wake_reader()

    def eof_received(self) -> bool:
        """asyncio's call: the peer will send no more. True: we may go on sending, which TLS can't."""
        self._ended = True
        if self._is_cut_off():
            self._error = ConnectionResetError(CUT_OFF)
        self._wake_reader()
        goes_on = self._transport.can_write_eof()
        # Over TLS this end is that of the connection: who reads is to hear of the loss, not of content that ends too early.
        self._tell_watcher(not goes_on)
        self._look_later(LOOK / 16)
        return goes_on

    def _is_cut_off(self) -> bool:
        """Whether TCP has ended and TLS has not. Anyone on the way can end TCP, so that what has come may be a part only, and
        is not to be taken for the whole (RFC 9112 §9.8). asyncio tells of both ends by one call, ``eof_received``; uvloop
        tells of the end of TCP by ``connection_lost`` alone."""
        if self._tls is None or self._ending:
            return False
        try:
            return bool(self._tls.read(1))  # b"": the peer's close_notify was read. All before it is in our buffer
        except tls.SSLZeroReturnError:  # the peer's close_notify was read, and ours is sent
            return False
        except tls.SSLError:
            return True

    def _wake_reader(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    # -- writing

    def write(self, data: bytes | memoryview) -> None:
        if self._lost:  # asyncio would put a line into the log for each write from the fifth on: a peer could fill it
            return
        self._written += len(data)
        if self._written > HIGH_WATER:
            self.congested = True
        self._transport.write(data)

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        if self._transport.is_closing() or self._is_reset():
            raise ConnectionResetError("connection lost")
        self._written = 0
        self.congested = False
        if not self._full:
            await asyncio.sleep(0)
        while self._full and not self._lost:
            await self._changes()
        if self._lost:
            raise ConnectionResetError("connection lost")

    def _is_reset(self) -> bool:
        return self._ended and self._has_error()

    def _has_error(self) -> bool:
        return self._socket is not None and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def pause_writing(self) -> None:
        """asyncio's call: the high-water mark is reached."""
        self._full = self.congested = True

    def resume_writing(self) -> None:
        """asyncio's call: most of what was unsent is sent."""
        self._full = False
        self._changed()

    async def _changes(self) -> None:
        if self._change is None:
            self._change = self._loop.create_future()
        await asyncio.shield(self._change)  # others may be waiting for it, too

    def _changed(self) -> None:
        if self._change is not None:
            self._change.set_result(None)
            self._change = None

    # -- the life of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call: there is a transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._peername = transport.get_extra_info("peername")  # TLS forgets these when the connection is lost
        self._socket = transport.get_extra_info("socket")
        self._tls: tls.SSLObject | None = transport.get_extra_info("ssl_object")
        self._transport.set_write_buffer_limits(HIGH_WATER, HIGH_WATER // 4)
        connected, self._connected = self._connected, None  # the callback holds a task that is done
        if connected is not None:
            connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's call: both directions are over."""
        if error is None and not self._ended and self._is_cut_off():  # uvloop's word for an end of TCP below TLS
            error = ConnectionResetError(CUT_OFF)
        self._lost = self._ended = self.congested = True
        self._error = error or self._error
        self._wake_reader()
        self._changed()
        self._tell_watcher(True)

    def watch(self, told: Watcher | None) -> None:
        self._watcher = told
        if told is not None and self._ended:
            self._loop.call_soon(self._tell_watcher, self._lost)
        if told is not None and (self._ended or self._paused):
            self._look_later(LOOK / 16)

    def _tell_watcher(self, lost: bool) -> None:
        if self._watcher is not None:
            self._watcher(lost)

    def _look_later(self, seconds: float) -> None:
        """Look for a reset after so many seconds, then at growing gaps: asyncio does not watch a socket whose end has come, or
        whose reading is paused, so without a look nobody would hear of the reset before the next write."""
        if not self._looks and self._watcher is not None:
            self._looks = True
            self._loop.call_later(seconds, self._look, seconds)

    def _look(self, seconds: float) -> None:
        self._looks = False
        if self._transport.is_closing() or not (self._ended or self._paused):
            return
        if self._watcher is not None and self._has_error():
            self._error = ConnectionResetError("the connection was reset")
            self._transport.abort()  # asyncio then calls connection_lost, which tells the watcher
        self._look_later(min(2 * seconds, LOOK))

    def close_write(self) -> None:
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with suppress(OSError):  # the peer is gone: reading will tell
                self._transport.write_eof()

    async def close(self) -> None:
        self.congested = self._ending = True
        if not self._transport.is_closing():  # to close twice is fatal to asyncio's transport for TLS
            self._transport.close()
        while not self._lost:
            await self._changes()
        if self._error is not None:
            raise ConnectionResetError(str(self._error)) from self._error

    def abort(self) -> None:
        self.congested = self._ending = True
        sock = self._socket
        if sock is not None and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def info(self, name: str) -> Any:
        if name == "peername":
            return self._peername
        with suppress(AttributeError):  # asyncio's TLS, of a connection that is lost
            return self._transport.get_extra_info(name)


async def connect_pipe(
    address: Address, ssl: tls.SSLContext | None = None, *, handshake: float = 10.0, linger: float = 2.0
) -> StreamPipe:
    """Connect, over TLS if there is a context, within ``handshake`` seconds. Raises OSError; TimeoutError, with its reason.

    ``linger``: the seconds for a peer to answer the end of TLS by its own, when we close.
    """
    if not address.port:
        raise ValueError(f"can't connect to port 0 of {address.connect_host}: give the port that the server listens on")
    loop, missing = asyncio.get_running_loop(), "no answer"
    options = {} if ssl is None else {"server_hostname": address.server_name} | tls_options(ssl, handshake, linger)
    try:
        async with asyncio.timeout(handshake):
            sock = await dial(address.connect_host, address.port)
            missing = "no answer to the TLS handshake"
            try:
                return (await loop.create_connection(StreamPipe, sock=sock, **options))[1]
            except BaseException:
                sock.close()
                raise
    except TimeoutError as error:
        raise TimeoutError(f"can't reach {address}: {missing} within {handshake:g} s") from error
    except ConnectionResetError as error:
        if str(error):
            raise
        raise ConnectionResetError(f"{address} ended the connection during the TLS handshake") from error
    except tls.SSLError as error:
        if error.reason not in NO_TLS:
            raise
        raise ConnectionError(f"{address} does not speak TLS: what it answered is no TLS record") from error


def tls_options(ssl: tls.SSLContext, handshake: float, linger: float) -> dict[str, Any]:
    """asyncio's options for a connection over TLS. Its own defaults are 60 s for the handshake and 30 s for the end."""
    times = {"ssl_handshake_timeout": max(handshake, LEAST), "ssl_shutdown_timeout": max(linger, LEAST)}
    return {"ssl": ssl, **times}


def keep_alive(pipe: Pipe, seconds: int) -> None:
    """Have the kernel ask after so many seconds of silence whether the peer's machine still exists, and, as Redis does, three
    times in as many seconds more; then the connection is lost. Nothing happens on a pipe that is no TCP connection."""
    sock = pipe.info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        for option, value in ((socket.TCP_KEEPIDLE, seconds), (socket.TCP_KEEPINTVL, seconds // 3), (socket.TCP_KEEPCNT, 3)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
