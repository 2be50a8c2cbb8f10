"""Server-Sent Events over HTTP: a response that goes on, and a client that comes back.

The stream of a topic can be resumed: each event has the id that the topic's log gave it, a browser that lost its connection
names the last one that it saw, and gets what came after it. The current id goes out at once, before any event, so that this
holds also for a connection that ends early. If the log does not go back that far, an event of the type ``gap`` says so.

Where nothing is published, a comment every few seconds keeps proxies from closing the stream, and shows us a client that has
gone: the first write into a dead connection brings its reset, so we look again a moment later. An end alone is no proof: who
sends no more may still read.
"""

import asyncio
import re
import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import suppress
from typing import Protocol, Self
from urllib.parse import urlsplit

from minproto.aio.address import url_address
from minproto.aio.broker import Item, Message, Subscription
from minproto.aio.endpoint import Timeouts
from minproto.aio.http import Response, close_body
from minproto.aio.http1 import ClientConnection, ClientResponse, connect_http
from minproto.aio.options import check_common, check_text, refuse
from minproto.aio.reconnect import reconnecting
from minproto.core import CLIENT, Event, RemoteProtocolError
from minproto.http import TARGET, field_block
from minproto.sse import MAX_RETRY, MEDIA_TYPE, Comment, Connection, LastEventId, Limits, Retry, ServerSentEvent, encode

BATCH = 64
"""Messages that become one piece of content, at most."""
BATCH_BYTES = 65_536
"""Bytes of those: none is added to so many."""
LOOK = 1.0
"""Seconds after a comment until we look whether it has shown that the client is gone."""
DEFAULT_RETRY = 3_000
"""Milliseconds until a client comes back, if nobody says otherwise."""
_URL = re.compile(f"[#{TARGET}]+")
_HEADERS = [
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),  # nginx would hold events back
]


# ---- the server's side -------------------------------------------------------------------------------------------------


class EventStream(Response):
    """A response of events: the messages of a subscription, or what an iterator gives (events, or text for one).

    The items of a RemoteSubscription are neither: a generator that enters it can make them, ``item.data.decode()`` say.
    """

    def __init__(
        self,
        events: Subscription | AsyncIterator[Event | str],
        *,
        retry: int | None = None,
        keepalive: float = 15.0,
    ) -> None:
        """``retry``: milliseconds that clients are to wait before they come back. ``keepalive``: seconds between comments.

        Raises ValueError for what is neither.
        """
        if retry is not None and not (isinstance(retry, int) and 0 <= retry <= MAX_RETRY):
            raise ValueError(f"retry is milliseconds, not {retry!r}")
        if keepalive is None or not keepalive > 0:
            raise ValueError(f"keepalive is seconds, not {keepalive!r}")
        super().__init__(self, headers=_HEADERS)
        self._pieces = self._content()
        self._source: _Source = _Messages(events) if isinstance(events, Subscription) else _Events(events)
        self._retry = retry
        self._keepalive = keepalive
        self._draining = False

    def drain(self) -> None:
        self._draining = True
        self._source.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Nobody reads on, or ever did (HEAD): let go of the source."""
        await self._pieces.aclose()
        await self._source.close()

    async def _content(self) -> AsyncGenerator[bytes, None]:
        source = self._source
        yield source.greeting() + (encode(Retry(self._retry)) if self._retry is not None else b"")
        looked = 0.0
        while not source.ended or source.waiting:
            if await self._is_ready(self._keepalive - looked):
                looked = 0.0
                if pieces := source.take():
                    yield b"".join(pieces)
                continue
            yield encode(Comment("still here"))
            looked = min(LOOK, self._keepalive / 2)
            await self._is_ready(looked)
            yield b""  # who is to send nothing asks the connection whether the client is still there
        if self._draining:
            yield encode(Retry(DEFAULT_RETRY if self._retry is None else self._retry))

    async def _is_ready(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._source.ready()
                return True
        return False


class _Source(Protocol):
    """Where events come from."""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""

    @property
    def waiting(self) -> bool:
        """There is something to take."""

    def greeting(self) -> bytes:
        """What goes out at once."""

    async def ready(self) -> None:
        """Wait until there is something to take, or nothing will come. May be cancelled."""

    def take(self) -> list[bytes]:
        """Events, encoded."""

    def end(self) -> None:
        """There is no need for more than what waits."""

    async def close(self) -> None:
        """Let go of everything."""


class _Messages:
    """A subscription."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    @property
    def ended(self) -> bool:
        return self._subscription.ended is not None

    @property
    def waiting(self) -> bool:
        return self._subscription.inner.waiting

    def greeting(self) -> bytes:
        """Where it begins; a mere comment where there is no such id, or the first event is the gap that says it."""
        id = self._subscription.start
        return encode(LastEventId(id)) if id is not None else encode(Comment("hello"))

    async def ready(self) -> None:
        await self._subscription.ready()

    def take(self) -> list[bytes]:
        return [_form(item) for item in self._subscription.take(BATCH, BATCH_BYTES)]

    def end(self) -> None:
        self._subscription.end()

    async def close(self) -> None:
        self._subscription.close()


def _form(item: Item) -> bytes:
    """The bytes of a message, made once for all who receive it. Not all data is text, but all of a stream has to be."""
    if not isinstance(item, Message):
        return encode(ServerSentEvent("" if item.count is None else str(item.count), "gap", item.id))
    form = item.forms.get("sse")
    if form is None:
        data = item.data.decode("utf-8", "replace")
        form = item.forms["sse"] = encode(ServerSentEvent(data, id=item.id))
    return form


class _Events:
    """An iterator of an app."""

    def __init__(self, iterator: AsyncIterator[Event | str]) -> None:
        self._iterator = iterator
        self._next: asyncio.Task[Event | str] | None = None
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def waiting(self) -> bool:
        return self._next is not None and self._next.done() and not self._next.cancelled()

    def greeting(self) -> bytes:
        return encode(Comment("hello"))

    async def ready(self) -> None:
        if self._ended:
            return
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._iterator))
        await asyncio.wait([self._next])

    def take(self) -> list[bytes]:
        if self._next is None:
            return []
        task, self._next = self._next, None
        try:
            event = task.result()
        except StopAsyncIteration:
            self._ended = True
            return []
        except asyncio.CancelledError as error:
            if self._ended:
                return []
            raise RuntimeError("the iterator of events was cancelled, and not by us") from error
        return [encode(ServerSentEvent(event) if isinstance(event, str) else event)]

    def end(self) -> None:
        self._ended = True
        if self._next is not None:
            self._next.cancel()

    async def close(self) -> None:
        self.end()
        if self._next is not None:
            await asyncio.wait([self._next])
        await close_body(self._iterator)


# ---- the client's side -------------------------------------------------------------------------------------------------


class EventSource:
    """The events of a URL, as a browser's EventSource gives them: ``async for event in EventSource(url)``.

    When the connection ends, it comes back after a while and says what it saw last; but no id with control characters in it,
    which no field can carry, nor the blanks around one. It ends where the server wants it to (204), and raises
    RemoteProtocolError, with the status as its code, for what is no stream of events.
    """

    def __init__(
        self,
        url: str,
        *,
        last_event_id: str = "",
        headers: Iterable[tuple[str, str]] = (),
        ssl: tls.SSLContext | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        """``last_event_id``: where to resume. ``Timeouts.body``: the longest silence.

        Raises ValueError for another URL, and for one with a character that has to be percent-encoded.
        """
        check_common(limits, Limits, timeouts, ssl)
        check_text("url", url)
        if not isinstance(last_event_id, str):
            refuse("last_event_id", 'str ("" for none)', last_event_id)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _URL.fullmatch(url):
            raise ValueError(f"not a URL of HTTP: {url}")
        self._secure = (ssl or tls.create_default_context()) if parts.scheme == "https" else None
        self._address = url_address(parts)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = list(headers)
        self._limits = limits
        self._timeouts = timeouts
        self.last_event_id = last_event_id
        """The last one that the server gave."""
        self.retry = DEFAULT_RETRY
        """Milliseconds to wait before coming back, twice as many after each time that was in vain."""

    async def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        async for stream in reconnecting(self._open, first=lambda: self.retry / 1_000):
            if stream.response.status == 204:
                await stream.close()
                return
            async for event in stream:
                self.last_event_id = stream.core.last_event_id
                if isinstance(event, Retry):
                    self.retry = event.milliseconds
                elif isinstance(event, ServerSentEvent):
                    yield event

    async def _open(self) -> "_Stream":
        client = await connect_http(self._address.connect_host, self._address.port, self._secure, timeouts=self._timeouts)
        headers = [("accept", MEDIA_TYPE), ("cache-control", "no-store"), *self._resume(), *self._headers]
        try:
            response = await client.request("GET", self._target, headers)
            kind = (response.headers.get("content-type") or "").partition(";")[0].strip().lower()
            if response.status != 204 and (response.status != 200 or kind != MEDIA_TYPE):
                raise RemoteProtocolError(f"no stream of events: {response.status} {kind}", response.status)
        except BaseException:
            await client.close()
            raise
        return _Stream(client, response, Connection(CLIENT, self._limits, self.last_event_id))


    def _resume(self) -> list[tuple[str, str]]:
        """The last event id, in UTF-8, as a field; nothing for one that no field can carry (RFC 9110 §5.5)."""
        field = ("last-event-id", self.last_event_id.encode().decode("latin-1").strip(" \t"))
        return [field] if field[1] and field_block([field]) else []


class _Stream:
    """One connection's events."""

    def __init__(self, client: ClientConnection, response: ClientResponse, core: Connection) -> None:
        self._client = client
        self.response = response
        self.core = core

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> Event:
        while (event := self.core.next_event()) is None:
            try:
                piece = await anext(self.response)
            except (OSError, RemoteProtocolError):  # broken off: it may be better the next time
                raise StopAsyncIteration from None
            self.core.receive_data(piece)
        return event

    async def close(self) -> None:
        await self._client.close()
