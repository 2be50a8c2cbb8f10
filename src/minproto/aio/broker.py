"""The broker, with waiting added: ``async for`` over a subscription. Topics, queues and logs are in ``minproto.broker``.

The core never waits, so it has nothing that a task could await. Instead, each subscription has a callback, ``on_ready``. This
file turns the callback into a wait:

    the subscriber's task                           the publisher's task
    ---------------------                           --------------------
    items = inner.take(1)  -> [], nothing pending
    await future           ... sleeps ...
                                                    broker.publish("news", b"rain")
                                                      the queue gets the message
                                                      inner.on_ready() -> future.set_result(None)
    wakes in the next turn of the loop
    items = inner.take(1)  -> [Message(...)]

The task checks the queue again after it wakes, and takes a message only then. So a task that is cancelled while it is waiting
has taken no message: the message is still in the queue.

A broker belongs to one event loop, as everything in asyncio does. Another thread publishes through the loop:

    loop.call_soon_threadsafe(broker.publish, topic, data)

Calling publish directly from another thread would put the message into the queues, but would not wake the loop, which may
sleep for seconds until something else happens. The call could also run between two lines of the loop's own thread, and the
core has no lock. So while the loop is running, all methods raise RuntimeError when called from another thread. A broker may be
made before the loop runs, and it may be used without any loop, as tests do.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Self

from minproto import broker
from minproto.aio.cores import chosen
from minproto.aio.groups import Group, LocalCommands
from minproto.aio.observe import logger
from minproto.aio.options import check_type
from minproto.broker import Gap, Item, Limits, Message
from minproto.core import check_count

__all__ = ["Broker", "Gap", "Item", "Limits", "Message", "Subscription"]


def _now() -> int:
    """Return the milliseconds since 1970. The core is given this clock, because it has none of its own."""
    return time.time_ns() // 1_000_000


class Subscription:
    """Messages, and a Gap where messages are missing: ``async for item in subscription``.

    The iteration ends when the subscription ends. If the broker ended the subscription because the subscriber was too slow,
    the last item is a Gap, and ``ended`` is "overflow". ``async with subscription:`` closes the subscription at the end of the
    block.
    """

    def __init__(self, inner: broker.Subscription, check_loop: Callable[[], None]) -> None:
        """``check_loop``: raises RuntimeError when called from another thread (``Broker.check_loop``)."""
        self.inner = inner
        """The core's subscription, which has the counts, topics and patterns."""
        self._check_loop = check_loop
        self._waiter: asyncio.Future[None] | None = None  # the future of the task waiting in ``ready``
        inner.on_ready = self._wake

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while True:
            if items := self.take(1):
                return items[0]
            if self.inner.ended is not None:  # checked last: messages from before the end are still delivered
                raise StopAsyncIteration
            await self.ready()

    def take(self, most: int, most_bytes: int = sys.maxsize) -> list[Item]:
        """Remove and return the pending items, without waiting for more.

        ``most``: the maximum number of items. ``most_bytes``: stop once the items returned have this many bytes of data.

        Raises TypeError or ValueError for a wrong count, RuntimeError when called from a thread other than the loop's.
        """
        self._check_loop()
        return self.inner.take(most, most_bytes)

    async def ready(self) -> None:
        """Wait until ``take`` would return something, or the subscription has ended.

        No item is removed from the queue, so no item is lost when the wait is cancelled. Raises RuntimeError if another task
        is already waiting (one message would wake both tasks), and when called from a thread other than the loop's.
        """
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
        """End the wait in ``ready``. The future may be done already: it was cancelled, but its task has not run yet."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def ended(self) -> str | None:
        """Why no more messages will come: "closed", or "overflow" if the subscriber was too slow. None: more may come."""
        return self.inner.ended

    @property
    def start(self) -> str | None:
        """The id to resume from (``after=``), for a subscriber that has received nothing yet.

        None for a subscription to several topics or to patterns, which cannot resume. None also if a Gap comes first, whose id
        is then the id to resume from.
        """
        return self.inner.start

    def end(self) -> None:
        """Stop listening. The messages in the queue can still be taken. Raises RuntimeError if called from another thread."""
        self._check_loop()
        self.inner.end()

    def close(self) -> None:
        """Stop listening, and drop the messages in the queue. Raises RuntimeError if called from another thread."""
        self._check_loop()
        self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


class Broker:
    """Publish and subscribe, in one process and one event loop. ``minproto.broker`` explains how it works.

    While its loop is running, every method raises RuntimeError when called from another thread. Publish from there with
    ``loop.call_soon_threadsafe(broker.publish, topic, data)``.
    """

    def __init__(self, history: int | Mapping[str, int] = 0, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        """Make a broker. Raises TypeError or ValueError for a wrong value.

        ``history``: how many messages to keep for every topic, for subscribers that come back, or a mapping from topics to
        such numbers."""
        check_type("limits", limits, Limits)
        self.inner = chosen(broker.Broker)(_now, history, limits)
        self.inner.on_error = _log_error
        self._loop: asyncio.AbstractEventLoop | None = None

    def publish(self, topic: str, data: bytes) -> int:
        """Give a message to every listener, and return the number of deliveries. Never waits.

        ``topic``: any text; ``""`` is a topic like any other. Raises TypeError for a topic that is not a str and for data that
        is not bytes, ValueError for a topic of more than 1,024 bytes.
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
        on_overflow: Literal["disconnect", "drop_oldest", "drop_newest"] = "disconnect",
    ) -> Subscription:
        """Return a new subscription to topics and patterns. A subscription to one topic can begin with messages from its log.

        ``after``: the id of a message that the subscriber has seen. The later messages come first. A Gap precedes them
        if some of them are no longer kept. ``after="0"`` is older than any log, so the first item is a Gap.
        ``last``: without ``after``, this many of the kept messages come first; all of them, if fewer are kept. No Gap precedes
        them, because a newcomer has missed nothing. Together, ``after`` and ``last`` serve newcomers and returning subscribers
        alike: ``after=request.last_event_id, last=50``.
        ``limits``: the bounds on this subscription's queue, instead of the broker's.
        ``on_overflow``: the policy for a full queue: "disconnect", "drop_oldest" or "drop_newest" (``Overflow``).

        Raises TypeError or ValueError for an argument that makes no sense.
        """
        self.check_loop()
        check_start(after, last)
        check_type("limits", limits, Limits, or_none=True)
        if last and (len(topics) != 1 or patterns):
            raise ValueError("last= is for a subscription to one topic, without patterns")
        if last and after is None:
            after = self.inner.last_id(topics[0], last)
        inner = self.inner.subscribe(*topics, patterns=patterns, after=after, limits=limits, on_overflow=on_overflow)
        return Subscription(inner, self.check_loop)

    def group(self, topic: str, name: str, *, idle: float = 60.0, tries: int | None = None, dead: str | None = None) -> Group:
        """Return a consumer group of a topic, whose consumers share the topic's entries as jobs: see ``aio/groups.py``."""
        self.check_loop()
        return Group(lambda: LocalCommands(self.inner, self.check_loop), topic, name, idle=idle, tries=tries, dead=dead)

    def last_id(self, topic: str) -> str:
        """Return the newest id of the topic. A subscription with this id as ``after=`` gets all later messages."""
        self.check_loop()
        return self.inner.last_id(topic)

    def check_loop(self) -> None:
        """Raise RuntimeError if the broker's event loop is running in a different thread from the caller's.

        The broker belongs to the first loop in which it is used. After that loop has ended, the broker belongs to the next
        loop: a test that calls ``asyncio.run`` twice can use one broker.
        """
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


def check_start(after: object, last: object) -> None:
    """Check the options of ``subscribe`` that say where to begin. Raises TypeError or ValueError if one makes no sense."""
    check_type("after", after, str, or_none=True)
    check_count("last", last, 0)


def _log_error(error: Exception) -> None:
    """Log an error from one listener's ``on_ready``. Neither the publisher nor the other listeners see the error."""
    logger.error("a subscription's on_ready has failed: its message waits for the next call", exc_info=error)
