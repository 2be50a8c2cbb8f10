"""The broker with waiting: an async iterator over each subscription. The rest is ``minproto.broker``.

A broker belongs to one event loop, as everything in asyncio does. Another thread publishes through the loop:

    loop.call_soon_threadsafe(broker.publish, topic, data)

A publish made directly in another thread would put its message into the queues, but would not wake the loop, which may sleep
for seconds. So while the loop runs, the broker raises RuntimeError for calls from elsewhere. A broker may be made before the
loop runs, and used without a loop, as tests do.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Self

from minproto import broker
from minproto.aio.endpoint import logger
from minproto.aio.options import check_type
from minproto.broker import Gap, Item, Limits, Message, Overflow
from minproto.core import check_count

__all__ = ["Broker", "Gap", "Item", "Limits", "Message", "Subscription"]


def _now() -> int:
    return time.time_ns() // 1_000_000


class Subscription:
    """Messages, and notices of those that are missing: ``async for item in subscription``. ``async with`` ends it.

    An iteration ends when the subscription does; if that was because it was too slow, a Gap comes last.
    """

    def __init__(self, inner: broker.Subscription, check_loop: Callable[[], None]) -> None:
        self.inner = inner
        """Counts, and what it listens to."""
        self._check_loop = check_loop
        self._waiter: asyncio.Future[None] | None = None
        inner.on_ready = self._wake

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while True:
            if items := self.inner.take(1):
                return items[0]
            if self.inner.ended is not None:
                raise StopAsyncIteration
            await self.ready()

    def take(self, most: int, most_bytes: int = sys.maxsize) -> list[Item]:
        """What waits, without waiting: at most so many, and none after so many bytes."""
        return self.inner.take(most, most_bytes)

    async def ready(self) -> None:
        """Wait until there is something to take, or the end. Cancelled, it has taken nothing. For one task at a time."""
        self._check_loop()
        if self.inner.waiting or self.inner.ended is not None:
            return
        if self._waiter is not None:
            raise RuntimeError("another task waits for this subscription")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def ended(self) -> str | None:
        """Why nothing will come any more: ``closed``, or ``overflow``. None: it goes on."""
        return self.inner.ended

    @property
    def start(self) -> str | None:
        """The id from which to resume, who has received nothing of it yet; None if that can't be, or a Gap tells first."""
        return self.inner.start

    def end(self) -> None:
        """Listen to nothing more. What waits can still be taken. Raises RuntimeError in another thread than the loop's."""
        self._check_loop()
        self.inner.end()

    def close(self) -> None:
        """End it, and drop what waits. Raises RuntimeError in another thread than the loop's."""
        self._check_loop()
        self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


class Broker:
    """Publish and subscribe, in one process and one event loop: see ``minproto.broker.Broker``.

    While its loop runs, every method raises RuntimeError in another thread. Publish from there with
    ``loop.call_soon_threadsafe(broker.publish, topic, data)``.
    """

    def __init__(self, history: int | Mapping[str, int] = 0, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        """``history``: messages that are kept of each topic, or of each named one, for those who come back.

        Raises TypeError or ValueError for a wrong value."""
        check_type("limits", limits, Limits)
        self.inner = broker.Broker(_now, history, limits)
        self.inner.on_error = _log_error
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all who listen; return the number of deliveries. Never waits. ``""`` is a topic like any other.

        Raises TypeError for a topic that is no str and for data that is not bytes, ValueError for too long a topic.
        """
        self.check_loop()
        return self.inner.publish(topic, data)

    def subscribe(
        self,
        *topics: str,
        patterns: Iterable[str] = (),
        after: str | None = None,
        last: int = 0,
        limits: Limits | None = None,
        on_overflow: str = "disconnect",
    ) -> Subscription:
        """Listen to topics and patterns. Of one topic, its history can come first. Raises ValueError, TypeError.

        ``after``: the id of a message. What was published after it comes first; a Gap says where something of that is not
        kept any more. ``after="0"`` is older than any history, so its first item is a Gap.
        ``last``: without ``after``, so many of the kept messages come first, or all, if fewer are kept; no Gap. Together
        they serve somebody who comes for the first time or comes back: ``after=request.last_event_id, last=50``.
        ``on_overflow``: what happens to a subscriber that is too slow, ``disconnect``, ``drop_oldest`` or ``drop_newest``.
        """
        self.check_loop()
        check_start(after, last)
        check_type("limits", limits, Limits, or_none=True)
        if on_overflow not in _POLICIES:
            raise ValueError(f"on_overflow is one of {', '.join(_POLICIES)}, not {on_overflow!r:.60}")
        if last and (len(topics) != 1 or patterns):
            raise ValueError("last= is for a subscription to one topic, without patterns")
        if last and after is None:
            after = self.inner.last_id(topics[0], last)
        inner = self.inner.subscribe(*topics, patterns=patterns, after=after, limits=limits, on_overflow=on_overflow)
        return Subscription(inner, self.check_loop)

    def last_id(self, topic: str) -> str:
        """The id from which a new subscriber could resume."""
        self.check_loop()
        return self.inner.last_id(topic)

    def check_loop(self) -> None:
        """Raise RuntimeError unless the caller is in the broker's event loop: the first one that is seen, while it runs."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            return
        if self._loop is not None and self._loop.is_running():
            raise RuntimeError(
                "a Broker is for the thread of its event loop: elsewhere call "
                "loop.call_soon_threadsafe(broker.publish, topic, data)"
            )
        self._loop = running


_POLICIES = [policy.value for policy in Overflow]


def check_start(after: object, last: object) -> None:
    """Raise TypeError or ValueError for the options of ``subscribe`` that say where to begin, if they can mean nothing."""
    check_type("after", after, str, or_none=True)
    check_count("last", last, 0)


def _log_error(error: Exception) -> None:
    """A listener has failed: the fault is neither the publisher's nor that of the other listeners."""
    logger.error("a subscription's on_ready has failed: its message waits for the next call", exc_info=error)
