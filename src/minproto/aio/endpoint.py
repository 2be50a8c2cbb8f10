"""A core on a pipe: the read - feed - pull - reply loop, with its timeouts and its ending.

The loop awaits once for each chunk and writes once for each chunk: it reads up to 64 KiB, pulls every event that they give,
gathers what is to be sent, and writes that in one piece before it waits again. Nothing is awaited for each event, which is
what makes asyncio's streams as fast as its bare protocols.

An ending has stages (RFC 9112 §9.6). A socket closed with bytes unread sends a reset, and a reset destroys what the peer has
not read yet: the very answer that tells it what went wrong. So we send our end first, read on for a short while, then close.
"""

import asyncio
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.core import Core, Event

logger = logging.getLogger("minproto")


@dataclass(frozen=True)
class Timeouts:
    """How long we wait for what, in seconds. Time in which reading is paused because the app is slow does not count."""

    handshake: float = 10.0
    """For a TLS handshake: several round trips on a bad line."""
    head: float = 20.0
    """From the first byte of a head to its last. Against clients that keep a connection with a byte now and then: 408."""
    body: float = 30.0
    """For the next piece of a body: 408."""
    min_body_rate: float = 500.0
    """Bytes a second, on average over the body, once ``body`` seconds have gone by: a trickle is a slow attack, too: 408."""
    idle: float = 75.0
    """Between two messages, with nothing received: a quiet close."""
    write: float = 30.0
    """Until a reader has taken 48 KiB of the 64 that wait for it (some 1.6 KB/s): cut off with a reset."""
    linger: float = 2.0
    """For a peer to see our end and stop sending, before we close."""
    drain: float = 30.0
    """For requests in flight when the server stops; then they are cut off."""


class Deadline:
    """``asyncio.timeout`` for waits that come again and again: ``with deadline(seconds): await …`` raises TimeoutError.

    asyncio.timeout makes a timer and cancels it each time. Here one timer stands, and each wait only moves a number; when
    the timer fires too early, it sets itself anew. On the /hello benchmark that bought 6%.
    """

    __slots__ = ("_cancelling", "_expired", "_loop", "_task", "_timer", "_when")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._when = math.inf  # nobody waits
        self._task: asyncio.Task[object] | None = None  # who waits
        self._cancelling = 0
        self._expired = False

    def __call__(self, seconds: float) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._when = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._when:
            self._set_timer()
        return self

    def __enter__(self) -> None:
        """The wait begins."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._when = math.inf
        if self._expired:
            assert self._task is not None
            self._expired = False
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def expire(self) -> None:
        """End the present wait, if there is one, as if its time were over."""
        if self._when < math.inf and not self._expired and self._task is not None:
            self._expired = True
            self._task.cancel()

    def stop(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.stop()
        self._timer = self._loop.call_at(self._when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._when <= self._loop.time():
            self.expire()
        elif self._when < math.inf:
            self._set_timer()


class Endpoint:
    """A core on a pipe, and the bytes that wait for the next write."""

    __slots__ = ("_out", "_reading", "_writing", "core", "lost", "pending", "pipe", "timeouts")

    def __init__(self, core: Core, pipe: Pipe, timeouts: Timeouts) -> None:
        self.core = core
        self.pipe = pipe
        self.timeouts = timeouts
        self._out: list[bytes] = []
        self.pending = 0
        """Bytes that wait for the next write."""
        self.lost = False
        """The peer is gone: a ConnectionError was its, not the app's."""
        self._reading = Deadline()
        self._writing = Deadline()

    async def receive(self, seconds: float) -> int:
        """Write what waits, then wait for a chunk and store it; its size, 0 at the end of input. Raises TimeoutError."""
        self.write()
        try:
            with self._reading(seconds):
                data = await self.pipe.read()
        except ConnectionError:
            self.lost = True
            raise
        if data:
            self.core.receive_data(data)
        else:
            self.core.receive_eof()
        return len(data)

    def interrupt(self) -> None:
        """End a wait in ``receive`` with TimeoutError."""
        self._reading.expire()

    def send(self, event: Event) -> None:
        """Encode an event; the bytes go out with the next flush. Raises LocalProtocolError."""
        data = self.core.send(event)
        if data:
            self._out.append(data)
            self.pending += len(data)

    def write(self) -> None:
        """Hand what waits to the pipe, in one piece."""
        if self._out:
            self.pipe.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out.clear()
            self.pending = 0

    async def flush(self) -> None:
        """Write, and wait while the peer is slow. Raises ConnectionError, also when it is too slow. For one task at a time."""
        self.write()
        if not self.pipe.congested:
            return
        try:
            with self._writing(self.timeouts.write):
                await self.pipe.drain()
        except (ConnectionError, TimeoutError) as error:
            self.lost = True
            self.pipe.abort()
            raise ConnectionResetError("the peer is gone, or does not read") from error

    @property
    def is_full(self) -> bool:
        """So much waits that a flush should come first."""
        return self.pending > HIGH_WATER

    async def close(self, last_words: Iterable[Event] = (), *, linger: bool = False) -> None:
        """Send what waits and ``last_words``, and close. With ``linger``, the peer may still be sending: read that away."""
        for event in last_words:
            self.send(event)
        try:
            await self.flush()
            if linger:
                self.pipe.close_write()
                await self._read_away()
            async with asyncio.timeout(self.timeouts.write):
                await self.pipe.close()
        except (ConnectionError, TimeoutError):
            self.pipe.abort()
        finally:
            self.stop()

    async def _read_away(self) -> None:
        try:
            async with asyncio.timeout(self.timeouts.linger):
                while True:
                    if not await self.pipe.read():
                        return
                    await asyncio.sleep(0)  # a peer that sends without end must not keep the loop from the timeout
        except TimeoutError:
            pass

    def abort(self) -> None:
        """End at once, with a reset."""
        self.pipe.abort()
        self.stop()

    def stop(self) -> None:
        """Let go of the timers."""
        self._reading.stop()
        self._writing.stop()
