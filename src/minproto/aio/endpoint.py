"""A core on a pipe: the read - feed - pull - reply loop, with its timeouts and its ending.

The loop awaits once for each chunk and writes once for each chunk: it reads up to 64 KiB, pulls every event that they give,
gathers what is to be sent, and writes that in one piece before it waits again. Nothing is awaited for each event, which is
what makes a task for each connection as fast as callbacks.

An ending has stages (RFC 9112 §9.6). A socket closed with bytes unread sends a reset, and a reset destroys what the peer has
not read yet: the very answer that tells it what went wrong. So we send our end first, read on for a short while, then close.
"""

import asyncio
import fcntl
import logging
import math
import sys
import termios
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from minproto.aio.options import check_seconds
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.core import Core, Event

logger = logging.getLogger("minproto")
MAX_READ_AWAY = 1 << 26
"""Bytes of a refused upload that we read away at most, so that the peer can read our answer: see ``Timeouts.read_away``."""

ENOUGH = HIGH_WATER - HIGH_WATER // 4
"""Bytes that a peer has to take within ``Timeouts.write``."""

APP_FAILURES = (Exception, SystemExit, BaseExceptionGroup)
"""The exceptions of an app's code that must not end the server. ``sys.exit()`` in a handler fails this one request: asyncio
would end the loop, and with it all other requests. A task group wraps what is no Exception, such as GeneratorExit, in a
BaseExceptionGroup. KeyboardInterrupt is not among them: Ctrl-C must end the program."""
APP_ENDS = (*APP_FAILURES, asyncio.CancelledError)
"""``APP_FAILURES``, and a cancellation. Whether that is ours or the app's own, ``was_cancelled`` says."""


@dataclass(frozen=True)
class Timeouts:
    """How long we wait for what, in seconds. Time in which reading is paused because the app is slow does not count.

    ``math.inf`` is no limit. Raises TypeError for what is not a number (None among them), ValueError for a negative one.
    """

    handshake: float = 10.0
    """For a TLS handshake, several round trips on a bad line; for our clients to connect, a WebSocket to be open."""
    head: float = 20.0
    """From the first byte of a head to its last. Against clients that keep a connection with a byte now and then: 408.
    In HTTP/2 it is the time for any frame, but for content: that has what ``min_body_rate`` gives it, if it is more."""
    body: float = 30.0
    """For the next piece of a body: 408."""
    min_body_rate: float = 500.0
    """Bytes a second, on average over the body, once ``body`` seconds have gone by: a trickle is a slow attack, too: 408."""
    idle: float = 75.0
    """Between two messages, with nothing received: a quiet close."""
    write: float = 30.0
    """Until a reader has taken 48 KiB of the 64 that wait for it (some 1.6 KB/s): cut off with a reset."""
    ping: float = 20.0
    """Without a byte from the peer of a WebSocket, until we ask whether it is still there; nothing else would tell."""
    pong: float = 20.0
    """For the peer to answer that, to send anything else, or to take what was sent before: 1011."""
    close: float = 10.0
    """For the peer's Close to come after ours, once the peer has taken what we sent before; then the connection is cut off."""
    last_words: float = 0.5
    """For the app to take the next of the messages that came before a Close, so that it can answer them before we do."""
    linger: float = 2.0
    """For a peer to see our end and stop sending, before we close; over TLS, a quarter of it without a byte is enough."""
    read_away: float = 30.0
    """For an upload that we have refused: as long as it goes on, with no gap of ``linger``, we read it away. A client that is
    still sending has not read our answer, and a reset would destroy that. At most ``MAX_READ_AWAY`` bytes of it."""
    drain: float = 30.0
    """For requests in flight when the server stops; then they are cut off."""

    def __post_init__(self) -> None:
        for option in fields(self):
            # A rate is what a count of bytes is divided by, so it can't be 0.
            check_seconds(option.name, getattr(self, option.name), positive=option.name == "min_body_rate")


TURNS = 3
"""Turns of the loop in which bytes that the kernel holds reach the task that waits for them (uvloop runs timers first)."""


async def let_arrive() -> None:
    """Let the loop bring what the kernel has already. A wait that has timed out does this before it accuses a peer."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


def call_later_turn(callback: Callable[..., None], *arguments: Any, turns: int = TURNS) -> None:
    """Call back after these turns: ``let_arrive`` for a timer, which can't await. Where the loop was busy for too long, the
    timer and the peer's bytes come in the same turn, and the bytes were in time."""
    loop = asyncio.get_running_loop()
    if turns:
        loop.call_soon(lambda: call_later_turn(callback, *arguments, turns=turns - 1))
    else:
        callback(*arguments)


class Deadline:
    """``asyncio.timeout`` for waits that come again and again: ``with deadline(seconds): await …`` raises TimeoutError.

    asyncio.timeout makes a timer and cancels it each time. Here one timer stands, and each wait only moves a number; when
    the timer fires too early, it sets itself anew. On the /hello benchmark: 1.2 times the requests (7 pairs, 0.8-1.3).
    """

    __slots__ = ("_cancelling", "_expired", "_fires", "_loop", "_task", "_timer", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._fires = math.inf  # when the timer does
        self._when = math.inf  # nobody waits
        self._task: asyncio.Task[Any] | None = None  # who waits
        self._cancelling = 0
        self._expired = False

    def __call__(self, seconds: float, task: asyncio.Task[Any] | None = None) -> Self:
        """For a wait of the current task, which the caller may know: to ask for it takes as long as all the rest here.

        ``math.inf`` seconds: until it is told to ``expire``.
        """
        task = task or asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._when = self._loop.time() + seconds
        if self._fires > self._when:
            self._set_timer()
        return self

    def __enter__(self) -> None:
        """The wait begins."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """The wait is over, by this error if it was one. Raises TimeoutError where that was the deadline's."""
        task, self._task, self._when = self._task, None, math.inf
        if self._expired:
            assert task is not None
            self._expired = False
            if task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error

    def expire(self) -> None:
        """End the present wait, if there is one, as if its time were over."""
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def stop(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._fires = None, math.inf

    def _set_timer(self) -> None:
        self.stop()
        self._timer, self._fires = self._loop.call_at(self._when, self._fire), self._when

    def _fire(self) -> None:
        self._timer, self._fires = None, math.inf
        if self._when <= self._loop.time():
            call_later_turn(self._expire_if_late, self._when)
        elif self._when < math.inf:
            self._set_timer()

    def _expire_if_late(self, when: float) -> None:
        """Expire, unless the wait that was to end by ``when`` is over by now."""
        if self._when == when:
            self.expire()


class Turn:
    """The endpoints of a loop that have something to write: one callback for all, behind everything that is ready now.

    On the /hello benchmark: a tenth fewer instructions for a request than with a callback for each of them.
    """

    __slots__ = ("__weakref__", "_endpoints", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._endpoints: list[Endpoint] = []

    def add(self, endpoint: "Endpoint") -> None:
        """This one, too."""
        if not self._endpoints:
            self._loop.call_soon(self._end)
        self._endpoints.append(endpoint)

    def _end(self) -> None:
        endpoints, self._endpoints = self._endpoints, []
        for endpoint in endpoints:
            try:
                endpoint.end_turn()
            except (Exception, asyncio.CancelledError):  # whatever a pipe raises: the others must not suffer
                logger.exception("a connection can't be written to")
                endpoint.abort()


_turns: "WeakValueDictionary[asyncio.AbstractEventLoop, Turn]" = WeakValueDictionary()  # each lives as its endpoints do


class Endpoint:
    """A core on a pipe, and the bytes that wait for the next write."""

    __slots__ = (
        "_flushing", "_loop", "_out", "_pending", "_reading", "_turn", "_writing",
        "core", "lost", "pipe", "received", "sent", "timeouts",
    )  # fmt: skip

    def __init__(self, core: Core, pipe: Pipe, timeouts: Timeouts) -> None:
        self.core = core
        self.pipe = pipe
        self.timeouts = timeouts
        self.received = 0
        """Bytes on the wire (inside of TLS) from the peer, and to it."""
        self.sent = 0
        self.lost = False
        """The peer is gone: a ConnectionError was its, not the app's."""
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes | memoryview] = []
        self._pending = 0  # bytes in _out
        self._flushing = asyncio.Lock()  # held while what waits is being written bit by bit
        self._turn = _turns.setdefault(self._loop, Turn(self._loop))
        self._reading = Deadline(self._loop)
        self._writing = Deadline(self._loop)

    async def receive(self, seconds: float, task: asyncio.Task[Any] | None = None) -> int:
        """Wait for a chunk, and store it; its size, 0 at the end of input. Raises TimeoutError. ``task``: the current one."""
        reading = self._reading(seconds, task)
        try:  # what ``with`` would do, which takes 1.8 times the instructions
            data = await self.pipe.read()
        except OSError as error:
            reading.end(error)
            self.lost = True
            raise ConnectionResetError("the peer is gone") from error
        except BaseException as error:
            reading.end(error)
            raise
        reading.end()
        self.feed(data)
        return len(data)

    def feed(self, data: bytes) -> None:
        """Store a chunk, or with b"" the end of input."""
        if data:
            self.received += len(data)
            self.core.receive_data(data)
        else:
            self.core.receive_eof()

    async def pause(self, seconds: float, task: asyncio.Task[Any] | None = None) -> None:
        """Wait like ``receive``, but without reading. Raises TimeoutError, always."""
        with self._reading(seconds, task):
            await self._loop.create_future()

    def interrupt(self) -> None:
        """End a wait in ``receive`` or ``pause`` with TimeoutError."""
        self._reading.expire()

    def send(self, event: Event) -> None:
        """Encode an event; all that are sent in one turn of the loop are written at its end. Raises LocalProtocolError.

        So the answers of many connections leave together, one system call each: the first wakes who reads them, and the
        others find them awake. On the /hello benchmark: 1.5 times the requests of writing at once (7 pairs, 0.8-1.5).
        """
        data = self.core.send(event)
        if data:
            self.queue(data)

    def queue(self, data: bytes) -> None:
        """The same for bytes that the core has encoded."""
        if not self._out:
            self._turn.add(self)
        self._out.append(data)
        self._pending += len(data)

    def send_at_once(self, event: Event) -> None:
        """Like ``send``, but written now, if nothing waits: for what goes to many connections, which get no other turn.

        On the broadcast benchmark: 1.5 times the deliveries (6 pairs, 1.2-2.0).
        """
        if self._out:
            return self.send(event)
        data = self.core.send(event)
        self.sent += len(data)
        self.pipe.write(data)

    def write(self, limit: int = sys.maxsize) -> None:
        """Hand what waits to the pipe, in one piece of at most ``limit`` bytes."""
        if not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        if len(data) > limit:
            view = memoryview(data)
            data = view[:limit]
            self._out.append(view[limit:])
        self._pending -= len(data)
        self.sent += len(data)
        self.pipe.write(data)

    @property
    def unsent(self) -> int:
        """Bytes that were sent, and that wait in our memory for the peer to read."""
        return self._pending + self.pipe.unsent

    @property
    def position(self) -> int:
        """Bytes that were sent so far, those that wait among them."""
        return self.sent + self._pending

    @property
    def taken(self) -> int:
        """Bytes that were sent and do not wait any more: the more, the more the peer has read."""
        return self.sent - self.pipe.unsent

    @property
    def in_kernel(self) -> int:
        """Bytes that our kernel holds for the peer, as far as it tells (Linux does): on a slow line some seconds' worth."""
        sock = self.pipe.info("socket")
        try:
            return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4), sys.byteorder)
        except (AttributeError, OSError, ValueError):  # no socket, one that can't tell, or one that is closed
            return 0

    @property
    def delivered(self) -> int:
        """Bytes that were sent and have reached the peer's machine, as far as our kernel tells."""
        return self.taken - self.in_kernel

    @property
    def congested(self) -> bool:
        """So much was sent that a flush has to come first."""
        return self._pending > HIGH_WATER or self.pipe.congested

    async def flush(self) -> None:
        """Write now, and wait while the peer is slow. Raises ConnectionError, also when it is too slow.

        No more than the high-water mark is written at a time: ``Timeouts.write`` is for that much, not for a whole body.
        """
        async with self._flushing:
            try:
                while True:
                    self.write(HIGH_WATER)
                    if self.pipe.congested:
                        await self.drain()
                    if not self._out:
                        return
            finally:
                if self._out:  # who waited was cancelled, but what was sent is sent
                    self._turn.add(self)

    def end_turn(self) -> None:
        """The loop's turn is over: write, unless somebody is at it."""
        if not self._flushing.locked():
            self.write()

    async def drain(self) -> None:
        """Wait while the peer is slow to take what was written. Raises ConnectionError, also when it is too slow."""
        try:
            await self._while_taken(self._drain)
        except (ConnectionError, TimeoutError) as error:
            self.lost = True
            self.abort()
            raise ConnectionResetError("the peer is gone, or does not read") from error

    async def _drain(self) -> None:
        with self._writing(self.timeouts.write):
            await self.pipe.drain()

    async def _close(self) -> None:
        async with asyncio.timeout(self.timeouts.write):
            await self.pipe.close()

    async def _while_taken(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait, and begin anew after each ``Timeouts.write`` seconds in which the peer has taken enough: more than the 64 KiB
        of ``Timeouts.write`` may wait, for example where a broadcast has written it at once. Raises TimeoutError."""
        while True:
            taken = self.taken
            try:
                return await wait()
            except TimeoutError:
                if self.taken < taken + ENOUGH:
                    raise

    async def close(
        self, last_words: Iterable[Event] = (), *, linger: bool = False, first: bool = True, sending: bool = False
    ) -> None:
        """Send what waits and ``last_words``, and close. With ``linger``, the peer may still be sending: read that away, and
        with ``sending`` we know that it is; without ``first``, let it also be the first to end TCP."""
        for event in last_words:
            self.send(event)
        try:
            await self.flush()
            if linger:
                if first:
                    self.pipe.close_write()
                await self._read_away(sending)
            await self._while_taken(self._close)
        except (ConnectionError, TimeoutError):
            self.abort()
        except BaseException:
            self.abort()
            raise
        finally:
            self.stop()

    async def _read_away(self, sending: bool) -> None:
        """Until the peer has seen our end, and has ended. Over TLS, which can't be half-closed, it sees none before we close:
        there it is enough that nothing more comes for a while. A peer that is ``sending`` an upload looks for our answer only
        when it has sent everything, however slowly: as long as bytes come we read on, within a bound of time and bytes.
        """
        linger = self.timeouts.linger
        silence = linger if sending or self.pipe.info("ssl_object") is None else linger / 4
        room = MAX_READ_AWAY
        with suppress(OSError):  # TimeoutError among them
            async with asyncio.timeout(max(linger, self.timeouts.read_away) if sending else linger):
                while room > 0:
                    async with asyncio.timeout(silence):
                        data = await self.pipe.read()
                    if not data:
                        return
                    room -= len(data)
                    await asyncio.sleep(0)  # a peer that sends without end must not keep the loop from the timeout

    def abort(self) -> None:
        """End at once, with a reset."""
        self._out.clear()
        self._pending = 0
        self.pipe.abort()
        self.stop()

    def stop(self) -> None:
        """Let go of the timers."""
        self._reading.stop()
        self._writing.stop()


class Pace:
    """Whether a peer takes what waits for it. A peer that does is alive, although it is silent: our question, or our Close,
    comes behind the bytes that wait, and its answer behind those.

    A look counts the bytes that waited at the look before, and none that were sent since. For example, 12 MB wait for a peer
    that reads 200 KB a second: each look, 20 seconds after the one before, finds 4 MB gone. Where nothing waited, silence
    is silence.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.look()

    def look(self) -> None:
        """Begin to count."""
        self._gone = self._endpoint.delivered
        self._waiting = self._endpoint.position - self._gone

    def is_kept(self, seconds: float) -> bool:
        """Return whether the peer has taken enough since the last look, so many seconds ago; then begin anew."""
        waited, gone = self._waiting, self._gone
        self.look()
        write = self._endpoint.timeouts.write
        needed = max(ENOUGH * seconds / write, 1) if write else math.inf
        return waited > 0 and self._gone - gone >= min(waited, needed)
