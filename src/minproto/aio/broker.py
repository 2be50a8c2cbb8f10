"""The broker with waiting: an async iterator over each subscription. The rest is ``minproto.broker``."""

import asyncio
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

    def __init__(self, inner: broker.Subscription, source: "Broker") -> None:
        self.inner = inner
        """Counts, and what it listens to."""
        self._source = source
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

    def take(self, most: int) -> list[Item]:
        """What waits, at most so many, without waiting."""
        return self.inner.take(most)

    async def ready(self) -> None:
        """Wait until there may be something to take, or the end. Cancelled, it has taken nothing."""
        if self.inner.waiting or self.inner.ended is not None:
            return
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
    def last_id(self) -> str | None:
        """The id of the newest message of its topic, if it has but one: where to resume, when nothing has come yet."""
        topics = list(self.inner.topics)
        return self._source.last_id(topics[0]) if len(topics) == 1 and not self.inner.patterns else None

    def close(self) -> None:
        """End it."""
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
        """Give a message to all who listen; the number of deliveries. Never waits."""
        return self.inner.publish(topic, data)

    def subscribe(
        self,
        *topics: str,
        patterns: Iterable[str] = (),
        after: str | None = None,
        limits: Limits | None = None,
        on_overflow: str = "disconnect",
    ) -> Subscription:
        """Listen to topics and patterns; with ``after``, from behind that id of the one topic. Raises ValueError.

        ``on_overflow``: what happens to a subscriber that is too slow, ``disconnect``, ``drop_oldest`` or ``drop_newest``.
        """
        inner = self.inner.subscribe(*topics, patterns=patterns, after=after, limits=limits, on_overflow=on_overflow)
        return Subscription(inner, self)

    def last_id(self, topic: str) -> str:
        """The id from which a new subscriber could resume."""
        return self.inner.last_id(topic)
