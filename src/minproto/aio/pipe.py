"""The byte pipe that everything runs on, and the plain one: asyncio's StreamReader and StreamWriter.

A protocol needs little from the layer below it: bytes in order, in both directions. One direction may end before the other.
``Pipe`` is the name of such a layer. TCP is one, TLS is one, an HTTP/2 stream is one, and so is a pair in memory for tests. A
protocol that needs nothing else runs over all of them: a WebSocket over HTTP/2 is the same code as a WebSocket over TCP.

    handler
       |  Request, Response
    core <--> endpoint                   receive_data(bytes), next_event(), send(event)
                 |
                 |  read(), write(), drain(), close_write(), close(), abort(), watch()
                 v
               Pipe ---+-- StreamPipe    here: on asyncio's StreamReader and StreamWriter
                       +-- ProtocolPipe  pipe_fast.py: an asyncio.Protocol itself, which the servers use
                       +-- Http2Stream   multiplex.py: one stream of HTTP/2
                       +-- HandedOver    endpoint.py: after an Upgrade
                       +-- MemoryPipe    testing/network.py: no socket at all

A program that uses asyncio's streams directly falls into these traps; the methods of ``StreamPipe`` show how to avoid them:

- ``StreamWriter.drain`` does not yield while the kernel accepts everything. If a client reads an endless response fast, no
  other connection gets its turn.
- A reset (RST) makes ``StreamReader.read`` raise at once, even if bytes came before the reset. Those bytes may be the
  whole answer of a server that answers and resets at once.
- Unless a read is waiting, nothing reports that the peer has ended its output. But a handler that computes for a minute
  should be told that its client has left.
- After the peer's FIN, or while reading is paused, asyncio does not watch the socket. So a reset that comes then goes
  unnoticed until the second write after it.
- TLS ends with a message of its own, ``close_notify``. Anyone on the path can end the TCP connection below TLS, and asyncio
  reports either end as the same b"". A response without a length would be taken for complete, although its second half is
  missing (RFC 9112 §9.8).
- asyncio can't half-close TLS. Over TLS ``close_write`` does nothing, and the protocol itself has to mark the end of its
  answer.
- ``transport.abort`` drops the bytes that asyncio holds, but closes the socket in the ordinary way: the peer sees FIN, and
  takes the part that it has received for the whole. To send a reset, a program has to ask for it (SO_LINGER).

There is one thing that asyncio's streams can't show: a StreamReader tells nobody when it pauses reading. So the plain pipe
does not know when asyncio stops watching the socket, and for as long as the pipe is being watched, it checks the socket for a
reset once a second. ``ProtocolPipe`` pauses reading itself, so it checks sooner, and only after a FIN or while paused. In all
other respects the two pipes do the same, with the same bounds, except that the streams copy each byte once more.
"""

import asyncio
import socket
import ssl as tls
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

READ_SIZE = 65_536
"""The maximum number of bytes that one read returns. If more are unread, the pipe stops reading from the socket."""
HIGH_WATER = 65_536
"""How many bytes may be written before ``drain`` has to be called, and be in our buffer before ``drain`` waits."""
LOW_WATER = HIGH_WATER // 4
"""A waiting ``drain`` returns when our buffer holds no more than this many bytes."""
LOOK = 1.0
"""Seconds between two checks for a reset, while asyncio itself does not watch the socket."""
CUT_OFF = "TLS was cut off: the connection ended without the peer's close_notify"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""The C struct ``linger``: on, for 0 seconds. A socket with this option sends RST, not FIN, when it is closed."""

Watcher = Callable[[bool], None]
"""Called when the peer has ended its output, or when the connection is lost: see ``Pipe.watch``."""


class Pipe(Protocol):
    """An ordered, reliable stream of bytes in each direction. One direction may end before the other."""

    def read(self) -> Awaitable[bytes]:
        """Wait for bytes, and return up to 64 KiB; b"" at the end of input. Raises OSError when the connection is broken.

        A read that is cancelled, by a timeout for example, loses no bytes. Only one task may read at a time.
        """

    def write(self, data: bytes | memoryview) -> None:
        """Accept bytes to send. A write never waits, so a ``drain`` has to follow. After a reset, do nothing."""

    @property
    def congested(self) -> bool:
        """Whether ``drain`` might have to wait, or would raise. While this is false, no ``drain`` is needed."""

    @property
    def unsent(self) -> int:
        """How many written bytes are still in our memory, because the peer has not read them."""

    async def drain(self) -> None:
        """Let other tasks run, and wait until the buffer has room. Raises ConnectionError after a reset."""

    def close_write(self) -> None:
        """End our output after everything already written; input stays open. A pipe that can't end only one does nothing."""

    async def close(self) -> None:
        """Send what was written, end both directions, and wait until they have ended. Raises ConnectionError after a reset."""

    def abort(self) -> None:
        """End both directions at once with a reset. Unsent bytes are lost."""

    def watch(self, told: "Watcher | None") -> None:
        """Have the loop call ``told(False)`` when the peer has ended its output, and ``told(True)`` when the connection is
        lost; if one of the two has already happened, the call comes soon. A pipe has one watcher at a time; None removes it.

        A server needs a watcher while nothing reads from the pipe, for example while an HTTP/1.1 handler computes its answer.
        """

    def info(self, name: str) -> Any:
        """Return a fact about the transport by asyncio's name for it ("peername", "socket", "ssl_object"), or None."""


# ---- questions that both pipes ask of sockets and TLS ------------------------------------------------------------------


def is_cut_off(tls_object: tls.SSLObject | None) -> bool:
    """Return whether TCP has ended although the TLS connection on it has not.

    At the end, a read of the TLS object returns b"" or raises ZeroReturn if the peer's ``close_notify`` has arrived; if not,
    it asks for more bytes (WantRead). All content has been delivered by then, so this read removes none of it.
    """
    if tls_object is None:
        return False
    try:
        return bool(tls_object.read(1))
    except tls.SSLZeroReturnError:  # both sides have sent close_notify
        return False
    except tls.SSLError:
        return True


def has_error(sock: socket.socket | None) -> bool:
    """Return whether the kernel has an error for this socket, such as a reset, without reading or writing."""
    return sock is not None and sock.fileno() >= 0 and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def reset_when_closed(sock: socket.socket | None) -> None:
    """Make the kernel send RST, not FIN, when this socket is closed. Unix sockets have no reset."""
    if sock is not None and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


# ---- the plain pipe ----------------------------------------------------------------------------------------------------


class _Reader(asyncio.StreamReader):
    """A StreamReader that reports its end, and that returns the bytes before an error first.

    asyncio's protocol calls ``feed_eof`` and ``set_exception`` when the connection ends. A StreamReader raises the exception
    from ``set_exception`` before it returns the bytes that it still holds. So in this class an error becomes an ordinary end,
    and ``StreamPipe.read`` raises the error after the last byte.
    """

    def __init__(self) -> None:
        super().__init__(limit=READ_SIZE // 2)  # a StreamReader stops reading from the socket at twice its limit
        self.on_end: Callable[[Exception | None], None] = lambda error: None

    def feed_eof(self) -> None:
        super().feed_eof()
        self.on_end(None)

    def set_exception(self, error: Exception) -> None:
        super().feed_eof()
        self.on_end(error)


class StreamPipe:
    """The pipe on asyncio's StreamReader and StreamWriter: TCP, TLS and Unix sockets."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self._facts = {name: writer.get_extra_info(name) for name in ("peername", "socket", "ssl_object")}
        self._written = 0  # since we last let other tasks run
        self._ended = False  # no more bytes will arrive
        self._error: Exception | None = None  # how the connection broke
        self._ending = False  # we have closed or aborted the connection
        self._closed: asyncio.Task[None] | None = None  # done when asyncio has closed the connection
        self._watcher: Watcher | None = None
        self._timer: asyncio.TimerHandle | None = None  # runs until the next check for a reset
        reader.on_end = self._on_end

    @classmethod
    def protocol(cls, connected: Callable[["StreamPipe"], object]) -> asyncio.Protocol:
        """Return what asyncio needs to make a connection. It calls ``connected`` with the pipe, after a TLS handshake."""
        reader = _Reader()

        def on_connection(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected(cls(reader, writer))

        return asyncio.StreamReaderProtocol(reader, on_connection)

    async def read(self) -> bytes:
        data = await self._reader.read(READ_SIZE)
        if not data and self._error is not None:
            raise self._error
        return data

    def _on_end(self, error: Exception | None) -> None:
        """Note that no more bytes will come, after an error, a FIN from the peer, or the end of the connection."""
        if error is None and not (self._ended or self._ending) and is_cut_off(self._facts["ssl_object"]):
            error = ConnectionResetError(CUT_OFF)
        self._error = self._error or error
        self._ended = True
        self._tell()

    # -- writing

    def write(self, data: bytes | memoryview) -> None:
        if not self._writer.is_closing():  # asyncio logs each write after a reset, from the fifth on: that could fill a disk
            self._written += len(data)
            self._writer.write(data)

    @property
    def congested(self) -> bool:
        return self._writer.is_closing() or self._written > HIGH_WATER or self.unsent > HIGH_WATER

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        self._check_open()
        self._written = 0
        await asyncio.sleep(0)  # StreamWriter.drain yields only if it has to wait
        try:
            await self._writer.drain()
        except OSError as error:
            raise ConnectionResetError("connection lost") from error
        self._check_open()

    def _check_open(self) -> None:
        if self._writer.is_closing() or (self._ended and has_error(self._facts["socket"])):
            raise ConnectionResetError("connection lost")

    # -- the end

    def close_write(self) -> None:
        if self._writer.can_write_eof() and not self._writer.is_closing():
            with suppress(OSError):  # the peer is gone: the next read will show that
                self._writer.write_eof()

    async def close(self) -> None:
        self._ending = True
        if self._closed is None:
            self._closed = asyncio.create_task(self._close())
        await asyncio.wait([self._closed])  # awaiting the task itself would cancel it together with us
        if self._error is not None:
            raise ConnectionResetError(str(self._error)) from self._error

    async def _close(self) -> None:
        if not self._writer.is_closing():  # closing twice is fatal to asyncio's TLS transport
            self._writer.close()
        with suppress(OSError):  # _on_end has kept the error
            await self._writer.wait_closed()

    def abort(self) -> None:
        self._ending = True
        reset_when_closed(self._facts["socket"])
        self._transport.abort()

    def info(self, name: str) -> Any:
        if name in self._facts:  # asyncio's TLS forgets these facts when the connection is lost
            return self._facts[name]
        with suppress(AttributeError):  # asyncio's TLS, after the connection is lost
            return self._writer.get_extra_info(name)

    # -- watching

    def watch(self, told: Watcher | None) -> None:
        self._watcher = told
        if told is not None and self._ended:
            asyncio.get_running_loop().call_soon(self._tell)
        if told is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _tell(self) -> None:
        # Over TLS the end of input is the end of the connection, since TLS has no half-closed state here.
        if self._watcher is not None:
            self._watcher(self._writer.is_closing() or not self._writer.can_write_eof())

    def _look(self) -> None:
        """Check whether the socket has received a reset that asyncio has not noticed."""
        self._timer = None
        if self._watcher is None or self._writer.is_closing():
            return
        if has_error(self._facts["socket"]):
            self._error = self._error or ConnectionResetError("the connection was reset")
            return self._transport.abort()  # asyncio then calls feed_eof, and the watcher is told
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)
