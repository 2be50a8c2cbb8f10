"""A broker in another process, minproto's or a redis-server: how an app on minproto grows past one machine.

It has the two methods of a ``Broker``, publish and subscribe, and has nothing of its own: no log, no ids, no queue. Each
subscription is one connection, read only as fast as its user takes, so the server's bound on what waits for a client is the
only one. When a connection is lost, a subscription connects and subscribes again; what was published meanwhile is lost, and
it says so by a ``Gap``. All that is published shares another connection, pipelined; when that is lost, those who wait for
an answer are told, for nobody knows whether their message was delivered.

This is no part of ``aio/broker.py``: that one waits for what happens in this process, this one for the network.
"""

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import SplitResult, unquote, urlsplit

from minproto.aio.address import Address, url_address
from minproto.aio.endpoint import Deadline, Endpoint, Timeouts
from minproto.aio.options import check_common, check_text
from minproto.aio.pipe import Pipe, connect_pipe
from minproto.aio.reconnect import reconnecting
from minproto.broker import Gap, Item, Message, listed
from minproto.core import RemoteProtocolError, Role
from minproto.resp import Command, Connection, Error, Limits, Push, Reply, to_bytes, to_text

PASSING = ("LOADING ", "BUSY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "MISCONF ", "ERR max number of clients")
"""How the errors begin that time heals; MISCONF, that a disk is full, is what such a redis-server answers to a PING."""


class RemoteBroker:
    """``await broker.publish(topic, data)``; ``async for item in broker.subscribe(*topics)``. ``async with`` closes it."""

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        ssl: tls.SSLContext | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        """``redis://[[user]:password@]host[:port]``, or ``rediss://`` for TLS. Raises ValueError for another URL."""
        check_common(limits, Limits, timeouts, ssl)
        check_text("url", url)
        self._parts, self._address = _parse_url(url)
        self._ssl = (ssl or tls.create_default_context()) if self._parts.scheme == "rediss" else None
        self._limits = limits
        self._timeouts = timeouts
        self._publisher: _Publisher | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all who listen, anywhere; how many that were.

        Raises OSError where the broker can't be reached, or was lost before it answered; RemoteProtocolError with its own
        words where it refuses; ValueError for a name that has no bytes, TypeError for data that is not bytes.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a message is bytes, not {type(data).__name__}")
        name = to_bytes(topic)
        async with self._connecting:
            if self._publisher is None or self._publisher.lost:
                self._publisher = _Publisher(await self.connect())
        return await self._publisher.publish(name, data)

    def subscribe(self, *topics: str, patterns: Iterable[str] = ()) -> "RemoteSubscription":
        """Listen to topics and patterns, from when the subscription is entered or first asked for an item.

        Raises ValueError where there are none, TypeError for patterns that are one str.
        """
        return RemoteSubscription(self, list(topics), listed(topics, patterns))

    async def connect(self) -> "Link":
        """A connection on which the password is said. Raises OSError, RemoteProtocolError."""
        async with asyncio.timeout(self._timeouts.handshake):
            pipe = await _open(self._address, self._ssl, self._timeouts)
            link = Link(pipe, self._limits, self._timeouts)
            try:
                if self._parts.password is not None:
                    user = [unquote(self._parts.username).encode()] if self._parts.username else []
                    await link.ask(b"AUTH", *user, unquote(self._parts.password).encode())
            except BaseException:
                link.abort()
                raise
        return link

    async def close(self) -> None:
        """End the connection for publishing. Subscriptions are ended one by one."""
        if self._publisher is not None:
            await self._publisher.close()
            self._publisher = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


def _parse_url(url: str) -> tuple[SplitResult, Address]:
    """Its parts, and its host and port. Raises ValueError, which quotes nothing: there may be a password in it."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss") and parts.hostname and parts.path.strip("/") in ("", "0"):
            return parts, url_address(parts)
    raise ValueError("the URL of a broker is redis://[[user]:password@]host[:port], or rediss:// for TLS")


async def _open(address: Address, ssl: tls.SSLContext | None, timeouts: Timeouts) -> Pipe:
    return await connect_pipe(address, ssl, handshake=timeouts.handshake, linger=timeouts.linger)


class Link:
    """A client's connection: commands out, values in."""

    def __init__(self, pipe: Pipe, limits: Limits, timeouts: Timeouts) -> None:
        self._core = Connection(Role.CLIENT, limits)
        self._endpoint = Endpoint(self._core, pipe, timeouts)
        self.timeouts = timeouts

    async def send(self, *words: bytes) -> None:
        """Send a command; waits while the peer is slow. Raises ConnectionError."""
        self._endpoint.send(Command(list(words)))
        if self._endpoint.congested:
            await self._endpoint.flush()

    async def value(self, seconds: float) -> Any:
        """The next, of a reply or a push. Raises OSError, RemoteProtocolError; cancelled, it has taken nothing."""
        while (event := self._core.next_event()) is None:
            if not await self._endpoint.receive(seconds):
                raise ConnectionResetError("the broker has closed the connection")
        assert isinstance(event, Reply | Push)
        return event.value if isinstance(event, Reply) else event.items

    async def ask(self, *words: bytes) -> Any:
        """Send a command and wait for its answer. Raises as ``value``, and as ``check``."""
        await self.send(*words)
        return check(await self.value(self.timeouts.handshake))

    async def close(self) -> None:
        await self._endpoint.close()

    def abort(self) -> None:
        self._endpoint.abort()


def check(value: Any) -> Any:
    """A value that is no error. Raises RemoteProtocolError for what stays wrong, ConnectionError for what may pass."""
    if isinstance(value, Error):
        raise (ConnectionResetError if value.text.startswith(PASSING) else RemoteProtocolError)(value.text)
    return value


class _Publisher:
    """One connection on which many publish at a time: answers come in the order asked."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._answers: deque[asyncio.Future[int]] = deque()
        self.lost = False
        self._reader = asyncio.create_task(self._read())

    async def publish(self, topic: bytes, data: bytes) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        await self._link.send(b"PUBLISH", topic, data)
        try:
            async with asyncio.timeout(self._link.timeouts.body):
                return await answer
        except TimeoutError:  # packets are lost, or the broker hangs: the next to publish has a new connection
            self._lose()
            raise

    async def _read(self) -> None:
        error: Exception = ConnectionResetError("the broker sent what nobody asked for")
        try:
            while True:
                value = await self._link.value(math.inf)
                if not self._answers:
                    break
                self._answer(self._answers.popleft(), value)
        except (OSError, RemoteProtocolError) as lost:
            error = lost
        finally:
            self._lose()
            for answer in self._answers:
                if not answer.done():
                    answer.set_exception(ConnectionResetError(f"lost before the answer: {error}"))

    def _lose(self) -> None:
        self.lost = True
        self._link.abort()

    def _answer(self, answer: "asyncio.Future[int]", value: Any) -> None:
        if answer.done():
            return  # who asked did not wait
        if isinstance(value, int):
            answer.set_result(value)
        else:
            answer.set_exception(RemoteProtocolError(value.text if isinstance(value, Error) else "not a number"))

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])


class RemoteSubscription:
    """Messages, and a Gap wherever the connection was lost: ``async for item in subscription``. ``async with`` ends it.

    A message has no id (``""``), for Redis gives none.
    """

    def __init__(self, broker: RemoteBroker, topics: list[str], patterns: list[str]) -> None:
        self._broker = broker
        self._topics = [to_bytes(topic) for topic in topics]
        self._patterns = [to_bytes(pattern) for pattern in patterns]
        self._links = reconnecting(self._connect)
        self._waiting: Deadline | None = None  # for the next of them
        self._link: Link | None = None
        self._items: deque[Item] = deque()  # that came before the broker had confirmed all
        self._was_connected = False
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """The next item. Raises RemoteProtocolError where the broker refuses for good; cancelled, it has taken nothing."""
        while not self._closed and (link := self._link or await self._next_link()) is not None:
            if self._items:
                return self._items.popleft()
            try:
                item = _item(check(await self._value(link)))
            except OSError:  # TimeoutError among them
                self._lose(link)
            except RemoteProtocolError:
                self._lose(link)
                raise
            else:
                if item is not None:
                    return item
        raise StopAsyncIteration

    async def _value(self, link: Link) -> Any:
        """The next value; a broker that is silent for too long is asked whether it is there."""
        try:
            return await link.value(link.timeouts.ping)
        except TimeoutError:
            await link.send(b"PING")
            return await link.value(link.timeouts.pong)

    def _lose(self, link: Link) -> None:
        link.abort()
        self._link = None

    async def _next_link(self) -> Link | None:
        """None: it was closed meanwhile."""
        self._waiting = Deadline(asyncio.get_running_loop())
        try:
            with self._waiting(math.inf):
                self._link = await anext(self._links)
        except TimeoutError:
            return None
        except BaseException:
            self._links = reconnecting(self._connect)  # a generator that failed or was cancelled is over
            raise
        if self._was_connected:
            self._items.appendleft(Gap(None))
        self._was_connected = True
        return self._link

    async def _connect(self) -> Link:
        """A connection on which everything is subscribed to."""
        link = await self._broker.connect()
        try:
            async with asyncio.timeout(link.timeouts.handshake):
                await self._subscribe(link)
        except BaseException:
            link.abort()
            raise
        return link

    async def _subscribe(self, link: Link) -> None:
        self._items.clear()
        if self._topics:
            await link.send(b"SUBSCRIBE", *self._topics)
        if self._patterns:
            await link.send(b"PSUBSCRIBE", *self._patterns)
        missing = len(self._topics) + len(self._patterns)
        while missing:
            item = _item(check(await link.value(link.timeouts.handshake)))
            if item is None:
                missing -= 1
            else:
                self._items.append(item)

    async def close(self) -> None:
        """End it."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.expire()
        if self._link is not None:
            await self._link.close()
        with suppress(RuntimeError):  # another task is in it, whose wait is over
            await self._links.aclose()

    async def __aenter__(self) -> Self:
        """Wait until the broker has confirmed: what is published from now on arrives. Raises RemoteProtocolError."""
        if self._link is None:
            await self._next_link()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


def _item(value: Any) -> Message | None:
    """A message; None for a confirmation or a pong. Raises RemoteProtocolError for what no subscriber should get."""
    match value:
        case [b"message", bytes(topic), bytes(data)]:
            return Message(to_text(topic), "", data)
        case [b"pmessage", bytes(pattern), bytes(topic), bytes(data)]:
            return Message(to_text(topic), "", data, to_text(pattern))
        case [b"subscribe" | b"psubscribe" | b"pong", *_]:
            return None
    raise RemoteProtocolError(f"not for a subscriber: {str(value)[:60]}")
