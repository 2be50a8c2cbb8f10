"""Two things that every connection asks of the event loop: a time limit for each wait, and one write per turn.

The time limit and the writing each come as two classes with the same behaviour. The plain class shows what happens. The other
class, which the connections use, calls the loop less often. A busy server has ten thousand requests a second, so a few
calls for each request add up.

**A time limit** for a wait that comes again and again. A connection waits for the next request, for the next piece of a body,
for a slow reader. Each wait needs a limit, and almost no wait reaches its limit, because the bytes come first.

    with deadline(30.0):               # from here on the deadline may cancel this task
        data = await pipe.read()       # no byte for 30 seconds: the deadline calls task.cancel()
                                       # the end of the block turns CancelledError into TimeoutError

``asyncio.timeout`` does the same, and ``PlainDeadline`` works like it: it sets a timer when the wait begins, and cancels the
timer when the wait is over. ``Deadline`` leaves one timer running, and each wait only writes down a new time:

    second     what happens                            when the wait ends     when the timer fires
    0          a wait of 75 seconds begins             75                     75   (set)
    10         bytes came: the wait is over            no wait                75
    10         the next wait of 75 seconds begins      85                     75   (left alone)
    75         the timer fires, too early              85                     85   (set again)
    85         the timer fires: the wait is late       TimeoutError

Both deadlines differ from ``asyncio.timeout`` in two ways:

- Another task may end the wait early with ``expire``. A server that is shutting down does this to idle connections.
- The wait gets a few more turns of the loop before it times out. If some code has kept the loop busy for too long, the
  timer and the peer's bytes become ready in the same turn. Those bytes were in time, so they must win.

**One write for each turn.** A turn of the event loop runs every callback that is ready. Say the requests of three clients have
arrived in one turn:

    turn 1     connection A: send() head, send() content -->  +-----------+
               connection B: send() head, send() content -->  | the batch |
               connection C: send() head, send() content -->  +-----------+
    turn 2     the batch: A.write_turn(), B.write_turn(), C.write_turn()      one system call each

So each endpoint writes once a turn, however many events its core has encoded: a system call costs as much as encoding a
dozen events. The writes also come close together. The first write wakes the peer, or the proxy in front of us, and
the other writes find it awake. ``PlainWriteBatch`` asks the loop for one callback per endpoint, ``WriteBatch`` for one
callback for all endpoints of the loop. Both batches keep two promises:

- An endpoint writes after everything that is ready now has run, so that an answer made in this turn is in the same write.
- If a pipe fails, only its own connection ends; the other endpoints write as if nothing had happened.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self
from weakref import WeakValueDictionary

logger = logging.getLogger("minproto")


# ---- a time limit for each wait ----------------------------------------------------------------------------------------

GRACE_TURNS = 3
"""How many turns of the event loop bytes that the kernel already holds may need to reach the waiting task. One turn is enough
for asyncio's own loop to read the socket. uvloop runs its timers before it reads, and over TLS the bytes take another turn."""


async def let_arrive() -> None:
    """Give the event loop ``GRACE_TURNS`` turns to deliver the bytes that the kernel already holds.

    A task whose wait has timed out calls this, and checks again, before it blames the peer.
    """
    for _ in range(GRACE_TURNS):
        await asyncio.sleep(0)


def call_after_grace(callback: Callable[..., None], *arguments: Any, turns: int = GRACE_TURNS) -> None:
    """Call ``callback`` after ``GRACE_TURNS`` turns of the event loop. It is for timers, which can't await ``let_arrive``."""
    if not turns:
        return callback(*arguments)
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: call_after_grace(callback, *arguments, turns=turns - 1))


class PlainDeadline:
    """The plain deadline: a timer for each wait. ``Deadline`` does the same with one timer for all waits."""

    __slots__ = ("_cancelling", "_expired", "_loop", "_task", "_timer", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None  # the waiting task; None while there is no wait
        self._when = math.inf  # the loop's time at which the wait ends
        self._cancelling = 0  # how often others had cancelled the task before the wait
        self._expired = False  # we have cancelled the task

    def __call__(self, seconds: float) -> Self:
        """Return the limit for one wait of the current task. ``math.inf`` seconds: the wait lasts until ``expire``."""
        self._task = task = asyncio.current_task(self._loop)
        assert task is not None
        self._cancelling = task.cancelling()
        self._when = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._when, call_after_grace, self._expire_if_late, self._when)
        return self

    def __enter__(self) -> None:
        """Begin the wait."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the wait. Raises TimeoutError if it was the deadline that cancelled the task."""
        task, self._task, self._when = self._task, None, math.inf
        self._rest()
        if self._expired:
            assert task is not None
            self._expired = False
            # Others may have cancelled the task as well (a server that is stopping). Then the task has to end, not time out.
            if task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error

    def expire(self) -> None:
        """End the current wait with TimeoutError, as if its time were up. Without a wait, do nothing."""
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def stop(self) -> None:
        """Cancel the timer. Without this call the event loop would keep the connection until the timer has fired."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rest(self) -> None:
        """Stop the timer, since the wait is over."""
        self.stop()

    def _expire_if_late(self, when: float) -> None:
        """Expire, unless the wait that had to end at ``when`` is already over."""
        if self._when == when:
            self.expire()


class Deadline(PlainDeadline):
    """The deadline that the shells use: one timer keeps running, and each wait only moves the time that it compares with."""

    __slots__ = ("_fires",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._fires = math.inf  # the loop's time at which the timer fires; math.inf while there is no timer

    def __call__(self, seconds: float) -> Self:
        self._task = task = asyncio.current_task(self._loop)
        assert task is not None
        self._cancelling = task.cancelling()
        self._when = self._loop.time() + seconds
        if self._fires > self._when:  # a timer that fires earlier will do: ``_fire`` sets the next one
            self._set_timer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._expired:
            return super().__exit__(kind, error, trace)
        self._task, self._when = None, math.inf

    def _rest(self) -> None:
        """Leave the timer running, for the next wait."""

    def stop(self) -> None:
        super().stop()
        self._fires = math.inf

    def _set_timer(self) -> None:
        self.stop()
        self._timer, self._fires = self._loop.call_at(self._when, self._fire), self._when

    def _fire(self) -> None:
        self._timer, self._fires = None, math.inf
        if self._when <= self._loop.time():
            call_after_grace(self._expire_if_late, self._when)
        elif self._when < math.inf:
            self._set_timer()


# ---- one write for each turn -------------------------------------------------------------------------------------------


class Writer(Protocol):
    """What a batch calls: an endpoint that has bytes to write."""

    def write_turn(self) -> None:
        """Write what was sent during this turn."""

    def abort(self) -> None:
        """End the connection."""


class PlainWriteBatch:
    """The plain batch: one callback of the loop for each endpoint."""

    __slots__ = ("__weakref__", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, endpoint: Writer) -> None:
        """Let ``endpoint`` write at the end of this turn. The endpoint calls this once a turn."""
        self._loop.call_soon(self._write, endpoint)

    def _write(self, *endpoints: Writer) -> None:
        for endpoint in endpoints:
            try:
                endpoint.write_turn()
            except (Exception, asyncio.CancelledError):  # a pipe may raise anything; the other endpoints must not suffer
                logger.exception("a connection can't be written to")
                endpoint.abort()


class WriteBatch(PlainWriteBatch):
    """The batch that the endpoints use: one callback of the loop for all endpoints."""

    __slots__ = ("_endpoints",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._endpoints: list[Writer] = []

    def add(self, endpoint: Writer) -> None:
        if not self._endpoints:
            self._loop.call_soon(self._write_all)
        self._endpoints.append(endpoint)

    def _write_all(self) -> None:
        endpoints, self._endpoints = self._endpoints, []  # endpoints added while we write are written in the next turn
        self._write(*endpoints)


_batches: WeakValueDictionary[asyncio.AbstractEventLoop, PlainWriteBatch] = WeakValueDictionary()


def batch_of(loop: asyncio.AbstractEventLoop) -> PlainWriteBatch:
    """Return the batch of an event loop, which all endpoints of that loop share.

    The dictionary is weak, so a batch lives as long as an endpoint holds it. A strong dictionary would keep every loop that a
    program has ever run, and ``asyncio.run`` makes a new loop each time.
    """
    return _batches.setdefault(loop, WriteBatch(loop))
