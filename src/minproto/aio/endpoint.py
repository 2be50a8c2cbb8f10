"""A core on a pipe: the loop of every connection, and its ending.

A core (``minproto.core``) turns bytes into events and never waits. A pipe (``minproto.aio.pipe``) carries bytes and knows no
protocol. The endpoint joins the two, so the reader of each protocol is one loop:

    while (event := await endpoint.next_event(patience)) is not None:
        ...                                         # and in here, endpoint.send(answer)

Who calls whom, for one HTTP/1.1 request:

    peer          pipe                  endpoint                    core                   connection (the reader)
     |             |                       |                          |                       |
     |             |                       | <-------------------------------- next_event() ---|
     |             |                       |--- next_event() -------> |                       |
     |             |                       | <-- None, wants DATA ----|                       |
     |             | <----------- read() --|    it waits here, for patience() seconds         |
     |--- bytes -->|--- bytes -----------> |                          |                       |
     |             |                       |--- receive_data() -----> |                       |
     |             |                       |--- next_event() -------> |                       |
     |             |                       | <-- RequestHead ---------|                       |
     |             |                       |--- RequestHead --------------------------------> |  calls the handler
     |             |                       | <------------------------- send(ResponseHead) ---|
     |             |                       |--- send() -------------> |                       |
     |             |                       | <-- bytes, now pending --|                       |
     |             |                       |   ... the turn of the event loop ends ...        |
     |             | <---------- write() --|    all pending bytes, in one piece               |
     | <-- bytes --|                       |                          |                       |

A loop awaits once per chunk of up to 64 KiB and writes once per turn of the event loop (``minproto.aio.loop``).
It awaits nothing for an event that has already arrived, so one task per connection is as fast as callbacks.

**Backpressure.** ``send`` never waits. Code that sends a lot checks ``congested`` and awaits ``flush`` when ``congested``
is true, so a connection holds at most some 64 KiB in memory. If the peer reads too slowly, ``flush`` ends the connection.

**The ending** has stages (RFC 9112 §9.6). When a program closes a socket before reading all bytes received on it, TCP sends a
reset. A reset makes the peer throw away the bytes that *it* has not read yet, and with them our answer, which says what went
wrong. So the method ``close`` sends our FIN first, keeps reading for a short while (``linger``), and only then closes the
socket:

    our last words, FIN  --->      the peer reads them, and stops sending
                         <---      FIN. The peer has seen our FIN, so it has the last words
    close()                        no byte is unread, so TCP sends no reset
"""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Iterable
from contextlib import suppress

from minproto.aio.loop import Deadline, batch_of
from minproto.aio.options import Timeouts
from minproto.aio.patience import Patience, while_taken
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.core import DATA, Core, Event

MAX_READ_AWAY = 1 << 26
"""The maximum number of bytes (64 MiB) of a refused upload that we read, so that the peer can read our answer: see
``Timeouts.read_away``."""


class Endpoint:
    """A core on a pipe, and the bytes pending for the next write."""

    __slots__ = (
        "_batch", "_flushing", "_loop", "_out", "_pending", "_reading", "_writing",
        "core", "ended", "lost", "pipe", "received", "sent", "timeouts",
    )  # fmt: skip

    def __init__(self, core: Core, pipe: Pipe, timeouts: Timeouts) -> None:
        self.core = core
        self.pipe = pipe
        self.timeouts = timeouts
        self.received = 0
        """Bytes received from the peer, counted as the core sees them: decrypted, if the pipe uses TLS."""
        self.sent = 0
        """Bytes handed to the pipe. Bytes still pending until the end of the turn are not counted."""
        self.ended = False
        """Whether the peer has ended its output. It may still read our output."""
        self.lost = False
        """Whether the connection is broken. If so, a ConnectionError is the peer's doing, not the app's."""
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes | memoryview] = []  # encoded, but not yet handed to the pipe
        self._pending = 0  # bytes in _out
        self._flushing: asyncio.Lock | None = None  # held by a task that writes _out in pieces: two would mix them
        self._batch = batch_of(self._loop)
        self._reading = Deadline(self._loop)
        self._writing = Deadline(self._loop)

    # -- receiving

    async def next_event(self, patience: Patience) -> Event | None:
        """Wait for the core's next event. Return None if the core wants no bytes: ``core.wants`` says why.

        ``patience`` is called before each wait, and returns the seconds that this wait may take. One event may need several
        waits, with different time limits: the first byte of a request's head, for example, starts a limit for the whole head.

        Raises RemoteProtocolError if the peer breaks the protocol, ConnectionResetError if the connection is lost, and
        TimeoutError if the patience runs out or ``interrupt`` is called. After a TimeoutError or a cancellation,
        the next call continues as if nothing had happened.
        """
        while (event := self.core.next_event()) is None and self.core.wants is DATA:
            await self.receive(patience())
        return event

    async def receive(self, seconds: float) -> int:
        """Wait for a chunk, and give it to the core. Return its size; 0 at the end of the peer's output.

        Raises TimeoutError after ``seconds``, and ConnectionResetError if the connection is lost.
        """
        with self._reading(seconds):
            try:
                data = await self.pipe.read()
            except OSError as error:  # including the kernel's TimeoutError if TCP's keep-alive gets no answer
                self.lost = True
                raise ConnectionResetError("the peer is gone") from error
        self.feed(data)
        return len(data)

    def feed(self, data: bytes) -> None:
        """Give the core a chunk; b"" means the end of the peer's output."""
        if data:
            self.received += len(data)
            self.core.receive_data(data)
        else:
            self.ended = True
            self.core.receive_eof()

    async def pause(self, seconds: float) -> None:
        """Wait like ``receive``, but without reading. Always raises TimeoutError: after ``seconds``, or on ``interrupt``."""
        with self._reading(seconds):
            await self._loop.create_future()  # nobody ever sets a result

    def interrupt(self) -> None:
        """End a wait in ``next_event``, ``receive`` or ``pause`` with TimeoutError. Without such a wait, do nothing."""
        self._reading.expire()

    def hand_over(self) -> Pipe:
        """Return the pipe for the protocol after an Upgrade. The pipe first returns the bytes that the core has not parsed."""
        return HandedOver(self)

    # -- sending

    def send(self, event: Event) -> None:
        """Encode an event. The bytes leave at the end of this turn of the event loop. Raises LocalProtocolError."""
        data = self.core.send(event)
        if data:  # an event may need no byte: the end of a message whose length was announced
            self.queue(data)

    def queue(self, data: bytes) -> None:
        """Send bytes that the core has already encoded. They leave at the end of this turn of the event loop."""
        if not self._out:
            self._batch.add(self)
        self._out.append(data)
        self._pending += len(data)

    def send_at_once(self, event: Event) -> None:
        """Encode an event and write it now. If other bytes are pending, they leave first, and the event leaves with them.

        This is for a broadcast, one event for a thousand connections. Adding each of them to the batch, to be written in the
        next turn, would only be more work: no connection has anything else to say.
        """
        if self._out:
            return self.send(event)
        data = self.core.send(event)
        self.sent += len(data)
        self.pipe.write(data)

    def write(self, limit: int = sys.maxsize) -> None:
        """Hand the pending bytes to the pipe, in one piece of at most ``limit`` bytes."""
        if not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        if len(data) > limit:
            view = memoryview(data)  # cutting it copies nothing
            data = view[:limit]
            self._out.append(view[limit:])
        self._pending -= len(data)
        self.sent += len(data)
        self.pipe.write(data)

    def write_turn(self) -> None:
        """The batch calls this at the end of a turn: write, unless a ``flush`` is already writing, bit by bit."""
        if self._flushing is None or not self._flushing.locked():
            self.write()

    async def flush(self) -> None:
        """Write now, and wait if the peer is slow to read. Raises ConnectionError, also if the peer is too slow.

        Each step writes 64 KiB, as much as the pipe holds, and the peer has ``Timeouts.write`` seconds to read these bytes. If
        that were the time for a whole body, a body of 1 GB would be cut off in the middle.
        """
        self._flushing = self._flushing or asyncio.Lock()  # most connections never need a lock
        async with self._flushing:
            try:
                while True:
                    self.write(HIGH_WATER)
                    if self.pipe.congested:
                        await self.drain()
                    if not self._out:
                        return
            finally:
                if self._out:  # the task was cancelled, but its callers have been told that these bytes are on their way
                    self._batch.add(self)

    async def drain(self) -> None:
        """Wait until the pipe has room again. Raises ConnectionError, also if the peer reads too slowly."""
        try:
            await while_taken(self, self._drain)  # waits again if the peer has read 48 KiB during the last wait
        except (ConnectionError, TimeoutError) as error:
            self.lost = True
            self.abort()
            raise ConnectionResetError("the peer is gone, or does not read") from error

    async def _drain(self) -> None:
        """Wait until the pipe has room. Raises TimeoutError after ``Timeouts.write`` seconds; if that is 0, at once."""
        with self._writing(self.timeouts.write):
            await self.pipe.drain()

    # -- how far our output has come: queue() -> pipe.write() -> the kernel -> the peer's machine

    @property
    def position(self) -> int:
        """Bytes given to ``send`` so far, encoded: the place of the next byte in our output."""
        return self.sent + self._pending

    @property
    def unsent(self) -> int:
        """Bytes given to ``send`` that are still in our memory, here or in the pipe, because the peer has not read them."""
        return self._pending + self.pipe.unsent

    @property
    def leaving(self) -> int:
        """Bytes that leave our memory at the end of this turn, since the pipe has room for them."""
        return 0 if self.congested else self._pending

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken from the pipe. While this number grows, the peer is reading."""
        return self.sent - self.pipe.unsent

    @property
    def delivered(self) -> int:
        """Bytes that have reached the peer's machine, as far as our kernel knows.

        Linux counts the bytes not yet acknowledged (TIOCOUTQ); on a slow line that can be several seconds' worth. If the
        system can't tell, every byte that the kernel has taken counts as delivered.
        """
        sock = self.pipe.info("socket")
        try:
            waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        except (AttributeError, OSError, ValueError):  # no socket, a closed socket, or a system that can't tell
            return self.taken
        return self.taken - int.from_bytes(waiting, sys.byteorder)

    @property
    def congested(self) -> bool:
        """Whether so much was sent that the app has to ``flush`` before it sends more."""
        return self._pending > HIGH_WATER or self.pipe.congested

    # -- the end

    async def close(
        self, last_words: Iterable[Event] = (), *, linger: bool = False, first: bool = True, sending: bool = False
    ) -> None:
        """Send the pending bytes and ``last_words``, then close. Never raises ConnectionError.

        ``linger``: the peer may still be sending. Read and drop those bytes, so that TCP sends no reset.
        ``first``: before the linger, send our FIN. A WebSocket client leaves the first FIN to the server (RFC 6455 §7.1.1).
        ``sending``: we know that the peer is in the middle of an upload, so read for longer.
        """
        for event in last_words:
            self.send(event)
        try:
            await self.flush()
            if linger:
                if first:
                    self.pipe.close_write()
                await self._read_away(sending)
            await while_taken(self, self._close)
        except (ConnectionError, TimeoutError):  # the peer is gone, or does not read: an orderly close would reach nobody
            self.abort()
        except BaseException:  # we are being cancelled: a reset, so that the peer does not wait for an end
            self.abort()
            raise
        finally:
            self.stop()

    async def _close(self) -> None:
        """Close the pipe, which first sends the bytes it holds, within ``Timeouts.write`` seconds. Raises TimeoutError."""
        async with asyncio.timeout(self.timeouts.write):
            await self.pipe.close()

    async def _read_away(self, sending: bool) -> None:
        """Read and drop what the peer sends, until the peer has seen our FIN and has ended its output as well.

        TLS can't be half-closed, so there the peer sees no end before we close. We then stop when nothing comes for a while.
        A peer that is ``sending`` an upload looks for our answer only after it has sent everything, however slowly. So we keep
        reading as long as bytes come, up to a limit of time and of bytes.
        """
        linger = self.timeouts.linger
        silence = linger if sending or self.pipe.info("ssl_object") is None else linger / 4
        room = MAX_READ_AWAY
        with suppress(OSError):  # including TimeoutError
            async with asyncio.timeout(max(linger, self.timeouts.read_away) if sending else linger):
                while room > 0:
                    async with asyncio.timeout(silence):
                        data = await self.pipe.read()
                    if not data:
                        return
                    room -= len(data)
                    await asyncio.sleep(0)  # or a peer that never stops sending would keep the timeout from firing

    def abort(self) -> None:
        """End the connection at once, with a reset. Unsent bytes are lost. A second call does nothing."""
        self._out.clear()  # or the batch would write it to the closed pipe, at the end of this turn
        self._pending = 0
        self.pipe.abort()
        self.stop()

    def stop(self) -> None:
        """Cancel the timers, which would keep this object alive. The pipe stays open."""
        self._reading.stop()
        self._writing.stop()


class HandedOver:
    """The pipe of an endpoint that has stopped reading, for the protocol after an Upgrade.

    A chunk does not end where a protocol ends. A client may send its handshake and its first message in one packet. Then the
    core's buffer holds bytes of the next protocol, and ``read`` returns these first. The endpoint still counts all bytes, for
    the metrics.
    """

    __slots__ = ("_endpoint", "_pipe", "_unread", "abort", "close", "close_write", "drain", "info", "watch")

    def __init__(self, endpoint: Endpoint) -> None:
        pipe = self._pipe = endpoint.pipe
        self._endpoint = endpoint
        self._unread = endpoint.core.trailing_data
        self.drain, self.close_write = pipe.drain, pipe.close_write
        self.close, self.abort, self.info, self.watch = pipe.close, pipe.abort, pipe.info, pipe.watch

    async def read(self) -> bytes:
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        data = await self._pipe.read()
        self._endpoint.received += len(data)
        return data

    def write(self, data: bytes | memoryview) -> None:
        self._endpoint.sent += len(data)
        self._pipe.write(data)

    @property
    def congested(self) -> bool:
        return self._pipe.congested

    @property
    def unsent(self) -> int:
        return self._pipe.unsent
