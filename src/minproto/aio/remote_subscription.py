r"""A subscription to a broker in another process: items in order, and a ``Gap`` wherever messages may be missing.

``RemoteBroker.subscribe`` makes a ``RemoteSubscription``. It has one connection at a time, and reconnects by itself when the
connection is lost. There are two ways to listen, which differ in what happens to messages published before it is back. Each
way is a *source* here:

    subscribe("a", "b", patterns=["c*"])   Live: SUBSCRIBE. These messages are lost, and a Gap takes their place
    subscribe("a", after=id)               History: XREAD. These come from the broker's history, each with its id; there is a
    subscribe("a", last=50)                Gap only if the history does not go back far enough (``remote_history.py``)

This is what the user of a Live subscription sees when the broker is restarted:

    the user                     the subscription                                   the broker
    anext()                      connects, sends SUBSCRIBE a       -------------->
                                 waits for the confirmation        <--------------  subscribe a 1
                                 waits for a push                  <--------------  message a one
    Message("a", "", b"one")
    anext()                      waits for a push                  <--------------  (the connection ends)
                                 waits up to a second, then connects again, and sends SUBSCRIBE a
    Gap(None)                    because messages may have been published meanwhile
    anext()                      ...

The subscription has no task of its own. All of this happens within its user's ``anext``. So as long as the user asks for no
items, nothing is read, and TCP makes the broker wait (backpressure).

**Silence** is not a fault: a topic may have no message for days. But a connection can also die silently, because a router
has forgotten it. So after ``Timeouts.ping`` seconds without a byte the subscription sends PING, and reconnects if no byte
arrives within ``Timeouts.pong`` seconds.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from minproto.aio.link import Link, Skipped, Target, check
from minproto.aio.loop import Deadline
from minproto.aio.reconnect import Attempts, reconnect
from minproto.broker import Gap, Item, Message
from minproto.core import RemoteProtocolError
from minproto.resp import Limits, to_text

SHORTEST_PING = 1.0
"""The minimum number of seconds between two PINGs, even if ``Timeouts.ping`` is 0: without a bound the client would only
send PINGs."""

T = TypeVar("T")


class Source(Protocol):
    """How a subscription gets its items from a connection."""

    async def begin(self, link: Link) -> list[Item]:
        """Prepare a new connection, and return the items that come first on it.

        If this raises or is cancelled, the source is unchanged: the next connection begins at the same message.
        """

    async def next(self, link: Link) -> list[Item]:
        """Wait for the next items, maybe an empty list. A cancelled call loses none. Raises OSError or RemoteProtocolError."""


class Connector(Protocol):
    """The part of a ``RemoteBroker`` that its subscriptions need."""

    target: Target

    async def connect(self) -> Link:
        """Return a new connection. Raises OSError or RemoteProtocolError."""

    async def within_handshake(self, answer: Awaitable[T]) -> T:
        """Wait for the first answers on a connection. Raises TimeoutError."""

    def check_loop(self) -> None:
        """Raise RuntimeError if called from a thread other than the loop's."""


class RemoteSubscription:
    """Messages, and a Gap wherever messages are missing: ``async for item in subscription``. ``async with`` closes it.

    A message has an id only if it comes from a history (``after=``, ``last=``). Otherwise Redis gives no id, and it is ``""``.
    """

    def __init__(self, broker: Connector, source: Source) -> None:
        self._broker = broker
        self._source = source
        self._attempts = Attempts(f"the broker at {broker.target}")
        self._links = reconnect(self._connect, self._attempts)
        self._connecting: Deadline | None = None  # the wait for the next connection, which ``close`` ends
        self._link: Link | None = None
        self._items: deque[Item] = deque()  # received, but not delivered yet
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Wait for the next item. A cancelled call loses no item, so ``asyncio.timeout`` around it is safe.

        Raises RemoteProtocolError if the broker refuses permanently, and RuntimeError if called from another thread.
        """
        self._broker.check_loop()
        while not self._closed:
            if self._items:
                return self._items.popleft()
            link = self._link
            if link is None:
                await self._next_link()
                continue
            try:
                self._items += await self._source.next(link)
            except OSError:  # the connection is lost, or the broker is silent (TimeoutError): the loop reconnects
                self._drop(link)
            except RemoteProtocolError:  # another connection would not help
                self._drop(link)
                raise
        raise StopAsyncIteration

    def _drop(self, link: Link) -> None:
        """Give up a connection at once: a peer that is silent or at fault would not answer an orderly close."""
        link.abort()
        self._link = None

    async def _next_link(self) -> None:
        """Wait for a connection, or until the subscription is closed. Failed attempts are repeated.

        The pauses between attempts grow (``reconnect.py``). A cancellation must not shorten the pauses: otherwise a user with
        a timeout of 0.1 s around each ``anext`` would connect ten times a second. So ``self._attempts`` outlives the
        generator.
        """
        self._connecting = Deadline(asyncio.get_running_loop())
        try:
            with self._connecting(math.inf):
                self._link = await anext(self._links)
        except TimeoutError:  # ``close`` has ended the wait
            return
        except BaseException:
            self._links = reconnect(self._connect, self._attempts)  # a generator that failed or was cancelled is finished
            raise

    async def _connect(self) -> Link:
        """Return a prepared connection: the broker has confirmed the subscription, so every later message arrives.

        The items that came first are in the queue before ``anext`` sees the connection, so they stay in order. The time limit
        applies only to the confirmation: after that, silence is not a fault.
        """
        link = await self._broker.connect()
        try:
            self._items += await self._broker.within_handshake(self._source.begin(link))
        except BaseException:
            link.abort()
            raise
        return link

    async def close(self) -> None:
        """End the subscription. A task that is waiting for an item gets StopAsyncIteration.

        Items that were received but not delivered are dropped.
        """
        self._broker.check_loop()
        self._closed = True
        if self._connecting is not None:
            self._connecting.expire()
        if self._link is not None:
            await self._link.close()
        with suppress(RuntimeError):  # the generator is running in another task, whose wait has ended
            await self._links.aclose()

    async def __aenter__(self) -> Self:
        """Wait until the broker has confirmed the subscription. Later messages will arrive. Raises RemoteProtocolError.

        Without ``async with``, the first ``anext`` subscribes, and any messages published before that are missed.
        """
        self._broker.check_loop()
        if self._link is None:
            await self._next_link()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._link is not None:
            self._link.abort()  # a block that was cancelled or failed does not wait for the peer
        await self.close()


class Live:
    """Messages as they are published: SUBSCRIBE and PSUBSCRIBE."""

    def __init__(self, topics: list[bytes], patterns: list[bytes]) -> None:
        self._topics = topics
        self._patterns = patterns
        self._was_connected = False

    async def begin(self, link: Link) -> list[Item]:
        """Subscribe, and wait for the confirmations: one for each topic and each pattern.

        Messages may come between the confirmations, because the broker confirms one name after the other:

            SUBSCRIBE a b  ->  subscribe a 1,  message a hello,  subscribe b 2
        """
        if self._topics:
            link.send(b"SUBSCRIBE", *self._topics)
        if self._patterns:
            link.send(b"PSUBSCRIBE", *self._patterns)
        await link.flush()
        items: list[Item] = [Gap(None, reason="the connection was lost")] if self._was_connected else []
        unconfirmed = len(self._topics) + len(self._patterns)
        while unconfirmed:
            found = _items_of(check(await link.value(link.timeouts.handshake)), link.limits)
            unconfirmed -= not found
            items += found
        self._was_connected = True
        return items

    async def next(self, link: Link) -> list[Item]:
        """Wait for a push, and return its message; an empty list if it holds no message.

        ``check`` raises an exception for an error reply: for example, the broker may have withdrawn the right to listen.
        """
        return _items_of(check(await self._next_value(link)), link.limits)

    async def _next_value(self, link: Link) -> Any:
        """Wait for the next value. If the broker is silent for long, ask whether it is still there. Raises TimeoutError."""
        try:
            return await link.value(max(link.timeouts.ping, SHORTEST_PING))
        except TimeoutError:
            link.send(b"PING")
            await link.flush()
            return await link.value(link.timeouts.pong)


def _items_of(value: Any, limits: Limits) -> list[Item]:
    """Return the message of a push; an empty list for a confirmation or a pong.

    Raises RemoteProtocolError for a value that is not meant for subscribers. A string beyond the limits is a ``Skipped`` here:
    the message is lost, but not the connection.
    """
    match value:
        case [b"message" | b"pmessage", *_, Skipped() as long] | [b"pmessage", _, Skipped() as long, _]:  # data, or topic
            return [too_long(long, limits)]
        case [b"message", bytes(topic), bytes(data)]:
            return [Message(to_text(topic), "", data)]
        case [b"pmessage", bytes(pattern), bytes(topic), bytes(data)]:
            return [Message(to_text(topic), "", data, to_text(pattern))]
        case [b"subscribe" | b"psubscribe" | b"pong", *_]:
            return []
    raise RemoteProtocolError(f"not for a subscriber: {str(value)[:60]}")


def too_long(data: Skipped, limits: Limits, id: str | None = None) -> Gap:
    """Return the notice for one message whose data exceeded the limits. ``id``: the id of the message, if it has one."""
    return Gap(1, id, f"a message of {data.length:,} bytes was not received: limits.max_bulk is {limits.max_bulk:,}")
