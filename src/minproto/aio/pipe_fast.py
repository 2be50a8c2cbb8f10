"""The fast pipe: an asyncio.Protocol, without a StreamReader and StreamWriter in between.

Read ``StreamPipe`` (pipe.py) first. That file says what a pipe promises, and which traps of asyncio it avoids.
This file keeps the same promises with fewer steps per chunk:

    bytes arrive     StreamPipe                                    ProtocolPipe
                     transport -> StreamReaderProtocol             transport -> data_received
                     -> StreamReader's bytearray -> copy           keeps the bytes object of asyncio as it is
                     -> read() of the StreamReader -> our read()   -> read()
    bytes leave      StreamWriter.write -> transport               -> transport

- The protocols of this package take whole chunks from a pipe, and never a line. So the pipe does not copy a chunk into a
  buffer in which it could search for a line end.
- The watcher is told through asyncio's own calls. A timer checks the socket only while asyncio does not watch it:
  first 1/16 s after the FIN (or 1 s after a pause begins), and then at intervals that double up to a second.

uvloop differs in one call: if TCP ends below TLS, uvloop calls only ``connection_lost``, and asyncio calls ``eof_received``.

Four attributes hold the state of a connection, and each is set once and for all:

    attribute   set by                                      means
    _ended      eof_received, connection_lost               no more bytes will arrive
    _ending     close, abort                                we have ended it, so an end is expected
    _lost       connection_lost                             no more bytes can be sent, either
    _error      a cut in TLS, a reset, connection_lost      how it broke: read raises it after the last byte

Two more attributes are set and unset: ``_paused`` is true while the app does not read and more than 64 KiB have arrived,
``_full`` while the peer does not read and more than 64 KiB are pending. These two are all of the backpressure: the first makes
the kernel's buffer fill up, and then the peer's; the second makes ``drain`` wait.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from minproto.aio.pipe import (
    CUT_OFF,
    HIGH_WATER,
    LOOK,
    LOW_WATER,
    READ_SIZE,
    Watcher,
    has_error,
    is_cut_off,
    reset_when_closed,
)

FIRST_LOOK = LOOK / 16
"""Seconds until the first check for a reset, once asyncio no longer watches the socket. Most clients that go away reset
their connection soon after its end, so the first check is early."""


class ProtocolPipe(asyncio.Protocol):
    """The pipe as an asyncio.Protocol: TCP, TLS and Unix sockets.

    asyncio calls the pipe's methods in this order: ``connection_made``, any number of ``data_received``, perhaps
    ``eof_received``, and ``connection_lost`` once. In between it calls ``pause_writing`` and ``resume_writing``, in turn. All
    of these run in callbacks of the loop. So no other code runs while one of them is running, and the attributes need no lock.
    """

    __slots__ = (
        "_arrived", "_change", "_connected", "_ended", "_ending", "_error", "_full", "_looks", "_loop", "_lost", "_paused",
        "_peername", "_reading", "_socket", "_tls", "_transport", "_watcher", "_written", "congested",
    )  # fmt: skip

    def __init__(self, connected: Callable[["ProtocolPipe"], object] | None = None) -> None:
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._arrived = b""  # bytes that have arrived, but are not yet read
        self._ended = False  # no more bytes will arrive
        self._paused = False  # the transport does not read from the socket, until _arrived is read
        self._reading: asyncio.Future[None] | None = None  # a read is waiting for this
        self._written = 0  # since we last let other tasks run
        self._full = False  # the transport holds more than the high-water mark
        self._lost = False  # both directions are over
        self._error: Exception | None = None  # how the connection broke
        self._change: asyncio.Future[None] | None = None  # drain and close wait for this: a change of _full, _lost or _error
        self._watcher: Watcher | None = None
        self._ending = False  # we have closed or aborted the connection
        self._looks = False  # a timer is running that will check for a reset
        self.congested = False

    @classmethod
    def protocol(cls, connected: Callable[["ProtocolPipe"], object]) -> asyncio.Protocol:
        """Return what asyncio needs to make a connection: the pipe itself. asyncio calls ``connected`` with the pipe."""
        return cls(connected)

    # -- reading

    async def read(self) -> bytes:
        if self._reading is not None:  # two readers would each get some of the bytes, and neither a whole message
            raise RuntimeError("read while another read waits")
        if not (self._arrived or self._ended):
            # The future carries no bytes, it only wakes us. If a timeout cancels us now, the bytes are kept for the next read.
            self._reading = self._loop.create_future()
            try:
                await self._reading
            finally:
                self._reading = None
        data, self._arrived = self._arrived, b""
        if not data and self._error is not None:  # only now: the bytes before the error are good
            raise self._error
        if len(data) > READ_SIZE:  # asyncio's TLS may give 256 KiB at once
            data, self._arrived = data[:READ_SIZE], data[READ_SIZE:]
        elif self._paused:  # everything is read, so the transport may read from the socket again
            self._paused = False
            self._transport.resume_reading()
        return data

    def data_received(self, data: bytes) -> None:
        """Keep bytes that have arrived, until a read returns them: a cancelled read loses no bytes. asyncio calls this."""
        self._arrived = self._arrived + data if self._arrived else data  # mostly nothing is pending: then nothing is copied
        if len(self._arrived) > READ_SIZE:
            self._paused = True  # nothing is reading: the kernel's buffer fills, and then the peer has to wait
            self._transport.pause_reading()
            self._look_later(LOOK)
        if self._reading is not None and not self._reading.done():  # _wake_reader, without a call for each chunk
            self._reading.set_result(None)

    def eof_received(self) -> bool:
        """Note that the peer will send no more. Return whether we may still send: over TLS we can't. asyncio calls this."""
        self._ended = True
        if self._is_cut_off():
            self._error = ConnectionResetError(CUT_OFF)
        self._wake_reader()
        goes_on = self._transport.can_write_eof()
        # Over TLS this is the end of the connection. The watcher has to see a loss, not content that ends too early.
        self._tell_watcher(not goes_on)
        self._look_later(FIRST_LOOK)
        return goes_on

    def _is_cut_off(self) -> bool:
        return not self._ending and is_cut_off(self._tls)

    def _wake_reader(self) -> None:
        """Let a waiting read check again. An earlier chunk in the same turn, or a timeout, may already have completed the
        future."""
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    # -- writing

    def write(self, data: bytes | memoryview) -> None:
        if self._lost:  # asyncio logs each write after a reset, from the fifth on: that could fill a disk
            return
        self._written += len(data)
        if self._written > HIGH_WATER:  # even if the kernel has accepted everything: other tasks have to get their turn
            self.congested = True
        self._transport.write(data)

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        # After the peer's FIN asyncio no longer reads from the socket, so a reset shows only if we check for it.
        if self._transport.is_closing() or (self._ended and has_error(self._socket)):
            raise ConnectionResetError("connection lost")
        self._written = 0
        self.congested = False
        if not self._full:
            await asyncio.sleep(0)  # without this, a fast reader of an endless response would keep the loop for itself
        while self._full and not self._lost:  # a loop: another task may have filled the buffer again before we were woken
            await self._changes()
        if self._lost:
            raise ConnectionResetError("connection lost")

    def pause_writing(self) -> None:
        """Note that the transport holds more than the high-water mark (64 KiB). asyncio calls this.

        From now on ``drain`` waits until the peer has read all but 16 KiB.
        """
        self._full = self.congested = True

    def resume_writing(self) -> None:
        """Note that the transport holds no more than the low-water mark (16 KiB). asyncio calls this."""
        self._full = False
        self._changed()

    async def _changes(self) -> None:
        """Wait until ``_full``, ``_lost`` or ``_error`` has changed. Any number of tasks may wait."""
        if self._change is None:
            self._change = self._loop.create_future()
        await asyncio.shield(self._change)  # other tasks wait for the same future, and we may be cancelled

    def _changed(self) -> None:
        """Wake all tasks waiting in ``_changes``. Each checks for itself whether its wait is over."""
        if self._change is not None:
            self._change.set_result(None)
            self._change = None  # the next task that waits makes a new future

    # -- the life of the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: there is a connection, and over TLS the handshake is done. asyncio calls this."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport has the same methods, but another base class
        self._peername = transport.get_extra_info("peername")  # asyncio's TLS forgets these three when the connection is lost
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self._transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        # asyncio allocates the maximum for each chunk and shrinks it afterwards, and its maximum is 256 KiB. glibc may map so
        # large a block anew, with three system calls for each chunk. uvloop's transport has its own buffer, and no maximum.
        if hasattr(transport, "max_size"):
            transport.max_size = READ_SIZE
        connected, self._connected = self._connected, None  # the callback would keep a finished task alive
        if connected is not None:
            connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that both directions have ended. asyncio calls this."""
        if error is None and not self._ended and self._is_cut_off():  # uvloop calls no eof_received for this end
            error = ConnectionResetError(CUT_OFF)
        self._lost = self._ended = self.congested = True  # congested: so that writers call drain, which raises
        self._error = error or self._error
        self._wake_reader()
        self._changed()
        self._tell_watcher(True)

    def watch(self, told: Watcher | None) -> None:
        self._watcher = told
        if told is not None and self._ended:  # the end came before the watcher, so the watcher has not been told
            self._loop.call_soon(self._tell_watcher, self._lost)
        if told is not None and (self._ended or self._paused):
            self._look_later(FIRST_LOOK)

    def _tell_watcher(self, lost: bool) -> None:
        """Call the watcher, if there is one: an HTTP/1.1 server, which cancels the handler of a lost client."""
        if self._watcher is not None:
            self._watcher(lost)

    def _look_later(self, seconds: float) -> None:
        """Check for a reset after ``seconds``, and then at growing intervals.

        asyncio does not watch a socket that has received FIN, or whose reading is paused. Without a check, a reset would go
        unnoticed until the next write, and a handler that computes for a minute would compute for nobody.
        """
        if not self._looks and self._watcher is not None:
            self._looks = True
            self._loop.call_later(seconds, self._look, seconds)

    def _look(self, seconds: float) -> None:
        """Ask the kernel. If the connection was reset, end it. Otherwise check again later, if there is still a reason to."""
        self._looks = False
        if self._transport.is_closing() or not (self._ended or self._paused):
            return
        if self._watcher is not None and has_error(self._socket):
            self._error = ConnectionResetError("the connection was reset")
            self._transport.abort()  # asyncio then calls connection_lost, which tells the watcher
        self._look_later(min(2 * seconds, LOOK))

    def close_write(self) -> None:
        # TLS can't be half-closed here: can_write_eof is false.
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with suppress(OSError):  # the peer is gone: the next read will show that
                self._transport.write_eof()

    async def close(self) -> None:
        # From now on ``drain`` raises for all other tasks, so ``congested`` has to make them call it.
        self.congested = self._ending = True
        if not self._transport.is_closing():  # closing twice is fatal to asyncio's TLS transport
            self._transport.close()
        while not self._lost:
            await self._changes()
        if self._error is not None:
            raise ConnectionResetError(str(self._error)) from self._error

    def abort(self) -> None:
        self.congested = self._ending = True
        reset_when_closed(self._socket)
        self._transport.abort()

    def info(self, name: str) -> Any:
        # The peer's address is needed even after the peer is gone: a line in the log names it.
        if name == "peername":
            return self._peername
        try:
            return self._transport.get_extra_info(name)
        except AttributeError:  # asyncio's TLS, after the connection is lost
            return None
