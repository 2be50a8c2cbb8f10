"""The broker with waiting: an async iterator over each subscription. The rest is ``minproto.broker``."""

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Self

from minproto import broker
from minproto.broker import Gap, Item, Limits, Message

__all__ = ["Broker", "Gap", "Item", "Limits", "Message", "Subscription"]


def _now() -> int:
    return time.time_ns() // 1_000_000


class Subscription:
    """Messages, and notices of those that are missing: ``async for item in subscription``. ``async with`` ends it.

    An iteration ends when the subscription does; if that was because it was too slow, a Gap comes last.
    """

    def __init__(self, inner: broker.Subscription) -> None:
        self.inner = inner
        """Counts, and what it listens to."""
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
        """Listen to nothing more. What waits can still be taken."""
        self.inner.end()

    def close(self) -> None:
        """End it, and drop what waits."""
        self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


class Broker:
    """Publish and subscribe, in one process: see ``minproto.broker.Broker``."""

    def __init__(self, history: int | Mapping[str, int] = 0, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        """``history``: messages that are kept of each topic, or of each named one, for those who come back."""
        self.inner = broker.Broker(_now, history, limits)

    def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all who listen; the number of deliveries. Never waits. Raises ValueError for too long a name."""
        return self.inner.publish(topic, data)

    def subscribe(
        self,
        *topics: str,
        patterns: Iterable[str] = (),
        after: str | None = None,
        limits: Limits | None = None,
        on_overflow: str = "disconnect",
    ) -> Subscription:
        """Listen to topics and patterns; with ``after``, from behind that id of the one topic. Raises ValueError, TypeError.

        ``on_overflow``: what happens to a subscriber that is too slow, ``disconnect``, ``drop_oldest`` or ``drop_newest``.
        """
        inner = self.inner.subscribe(*topics, patterns=patterns, after=after, limits=limits, on_overflow=on_overflow)
        return Subscription(inner)

    def last_id(self, topic: str) -> str:
        """The id from which a new subscriber could resume."""
        return self.inner.last_id(topic)
