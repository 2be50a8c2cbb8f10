"""Server-Sent Events over HTTP: a response that goes on, and a client that comes back.

The stream of a topic can be resumed: each event has the id that the topic's log gave it, a browser that lost its connection
names the last one that it saw, and gets what came after it. The current id goes out at once, before any event, so that this
holds also for a connection that ends early. If the log does not go back that far, an event of the type ``gap`` says so.

Where nothing is published, a comment every few seconds keeps proxies from closing the stream, and shows us a client that has
gone: the first write into a dead connection brings its reset, so we look again a moment later. An end alone is no proof: who
sends no more may still read.
"""

import asyncio
import math
import ssl as tls
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from contextvars import copy_context
from dataclasses import replace
from inspect import isasyncgenfunction
from typing import Protocol, Self

from minproto.aio.address import request_target, split_client_url, url_address
from minproto.aio.broker import Item, Message, Subscription
from minproto.aio.content import close_body
from minproto.aio.endpoint import Timeouts, logger
from minproto.aio.http import HeaderFields, Response, make_headers
from minproto.aio.http1_client import ClientConnection, connect_http
from minproto.aio.http_client import ClientResponse
from minproto.aio.options import check_common, check_seconds, client_context, refuse
from minproto.aio.reconnect import Refused, read_refusal, reconnecting
from minproto.aio.remote import RemoteSubscription
from minproto.aio.sockets import keep_alive
from minproto.core import CLIENT, Event, RemoteProtocolError, check_count
from minproto.http import Headers, is_field
from minproto.http1 import Limits as HttpLimits
from minproto.sse import MAX_RETRY, MEDIA_TYPE, Comment, Connection, LastEventId, Limits, Retry, ServerSentEvent, encode

BATCH = 64
"""Messages that become one piece of content, at most."""
BATCH_BYTES = 65_536
"""Bytes of those: none is added to so many."""
LOOK = 1.0
"""Seconds after a comment until we look whether it has shown that the client is gone."""
DEFAULT_RETRY = 3_000
"""Milliseconds until a client comes back, if nobody says otherwise."""
KEEPALIVE = 60
"""Seconds of silence until the kernel asks whether the machine of a stream's server still exists."""
_ENDLESS = HttpLimits(max_body=sys.maxsize)  # a stream of events is as long as it goes on
_HEADERS = [
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),  # nginx would hold events back
]


# ---- the server's side -------------------------------------------------------------------------------------------------


class EventStream(Response):
    """A response of events: the messages of a subscription, or what an iterator gives (events, or text for one).

    A RemoteSubscription gives neither: a generator that enters it can make events, ``item.data.decode()`` say. A generator
    runs in one task of its own, in a copy of the context of the handler, from its first step to its ``finally``.
    """

    def __init__(
        self,
        events: Subscription | AsyncIterable[Event | str],
        *,
        retry: int | None = None,
        keepalive: float = 15.0,
        headers: HeaderFields = (),
    ) -> None:
        """``retry``: milliseconds that clients are to wait before they come back. ``keepalive``: seconds between comments.
        ``headers``: more fields, such as ``access-control-allow-origin``; a ``cache-control`` takes the place of ours.

        Raises TypeError for a source that gives no events and for what is no number, ValueError for a number out of range and
        for a ``content-type``.
        """
        if retry is not None:
            check_count("retry", retry, 0, MAX_RETRY)
        check_seconds("keepalive", keepalive, positive=True)
        _check_source(events)
        super().__init__(self, headers=headers)
        self.headers = _stream_headers(self.headers)
        self._pieces = self._content()
        self._source: _Source = _Messages(events) if isinstance(events, Subscription) else _Events(aiter(events))
        self._retry = retry
        self._keepalive = keepalive
        self._draining = False
        self._limit = asyncio.timeout(None)  # of the present wait for the source
        self._doubtful = False  # the client has ended its output, which may be all that we hear of its leaving

    def client_ended(self) -> None:
        self._doubtful = True
        with suppress(RuntimeError):  # nothing waits: the next wait is short
            self._limit.reschedule(asyncio.get_running_loop().time())

    def drain(self) -> None:
        self._draining = True
        self._source.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Nobody reads on, or ever did (HEAD): let go of the source."""
        try:
            await self._pieces.aclose()
        finally:
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
        if self._doubtful:
            seconds = 0.0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as self._limit:
                await self._source.ready()
                return True
        self._doubtful = False
        return False


def _check_source(events: object) -> None:
    """Find a wrong source before the 200 is sent. Raises TypeError."""
    if isinstance(events, AsyncIterable) and not isinstance(events, RemoteSubscription):
        return
    name = f"{type(events).__name__} {events!r:.60}"
    if isinstance(events, RemoteSubscription):
        name = "a RemoteSubscription, whose items have no form as events: make them ServerSentEvents in an async generator"
    elif isasyncgenfunction(events):
        name = f"the function {events.__name__}: call it"
    raise TypeError(f"an EventStream takes a Subscription or an async iterator of ServerSentEvent or str, not {name}")


def _stream_headers(headers: Headers) -> Headers:
    """The app's fields, and ours where the app gives none of the same name. Raises ValueError."""
    if headers.get("content-type") is not None:
        raise ValueError(f"the content-type of an EventStream is {MEDIA_TYPE}, not {headers.get('content-type')}")
    return _with_ours(_HEADERS, headers)


def _with_ours(ours: list[tuple[str, str]], headers: Headers) -> Headers:
    return Headers([*(field for field in ours if headers.get(field[0]) is None), *headers])


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
    form = item.encodings.get("sse")
    if form is None:
        data = item.data.decode("utf-8", "replace")
        form = item.encodings["sse"] = encode(ServerSentEvent(data, id=item.id))
    return form


class _Events:
    """An iterator of an app.

    One task runs the iterator from its first step to its end. So a generator keeps its context variables from one ``yield``
    to the next, and ``asyncio.timeout``, a task group or a cancel scope may span a ``yield``. The task takes a step only when
    somebody waits for an event: a slow client slows the iterator.
    """

    def __init__(self, iterator: AsyncIterator[Event | str]) -> None:
        self._iterator = iterator
        self._context = copy_context()  # of the handler, which the server may run in another task than the response
        self._task: asyncio.Task[None] | None = None
        self._events: list[Event | str] = []  # not taken yet
        self._ended = False
        self._failure: BaseException | None = None  # of the iterator, for whoever takes next
        self._wanted = asyncio.Event()  # somebody waits for an event
        self._news = asyncio.Event()  # there is an event, or the end

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def waiting(self) -> bool:
        return bool(self._events) or self._failure is not None

    def greeting(self) -> bytes:
        return encode(Comment("hello"))

    async def ready(self) -> None:
        if self._ended or self.waiting:
            return
        self._wanted.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), context=self._context)
        await self._news.wait()

    def take(self) -> list[bytes]:
        events, self._events = self._events, []
        if not events and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if not self._ended:
            self._news.clear()
        return [_encode_item(event) for event in events]

    def end(self) -> None:
        self._ended = True
        self._news.set()
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        self.end()
        if self._task is None:
            return await close_body(self._iterator)
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:  # the iterator is cancelled as if it ran in the present task, and ends before that
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        if self._failure is not None:  # nobody will take it any more
            logger.error("the iterator of an EventStream failed", exc_info=self._failure)

    # -- the task

    async def _run(self) -> None:
        try:
            await self._take_steps()
        except BaseException as error:
            if not self._ended:
                self._failure = _not_ours(error)
            elif not isinstance(error, asyncio.CancelledError):
                logger.exception("the iterator of an EventStream failed while it was being closed")
        finally:
            self._ended = True
            self._news.set()

    async def _take_steps(self) -> None:
        try:
            step = anext(self._iterator)
            while True:
                self._events.append(await step)
                self._news.set()
                if self._ended:  # the generator has caught our cancellation, which does not come twice
                    return
                step = await self._next_step()
        except StopAsyncIteration:
            pass
        finally:
            await close_body(self._iterator)

    async def _next_step(self) -> Awaitable[Event | str]:
        """Wait until an event is wanted. A cancellation meanwhile is not ours, but that of a timeout, a task group or a cancel
        scope in the generator, which stands at its ``yield``: there it has to be raised."""
        self._wanted.clear()
        try:
            await self._wanted.wait()
        except asyncio.CancelledError as error:
            if self._ended or not isinstance(self._iterator, AsyncGenerator):
                raise
            return self._iterator.athrow(error)
        return anext(self._iterator)


def _not_ours(error: BaseException) -> BaseException:
    """The error by which an iterator ended; of a task that it had cancelled itself, say, it is an error, too."""
    if not isinstance(error, asyncio.CancelledError):
        return error
    failure = RuntimeError("the iterator of events was cancelled, and not by us")
    failure.__cause__ = error
    return failure


def _encode_item(item: object) -> bytes:
    """The bytes of what an iterator gave. Raises TypeError for what is neither an event nor text."""
    if isinstance(item, str):
        return encode(ServerSentEvent(item))
    if isinstance(item, Event):
        return encode(item)
    raise TypeError(f"{type(item).__name__} is no event of a stream: make a ServerSentEvent of it, or a str ({item!r:.60})")


# ---- the client's side -------------------------------------------------------------------------------------------------


class StreamRefused(Refused):
    """A server's answer to an EventSource that is no stream of events. ``response`` has its ``status``, ``headers`` and
    ``body``."""


class EventSource:
    """The events of a URL, as a browser's EventSource gives them: ``async for event in EventSource(url)``.

    When a stream ends, the client waits as long as ``retry`` of the server says, comes back, and names the event that it saw
    last; but no id with control characters in it, which no field can carry, nor the blanks around one. It waits longer where
    the attempt failed (see ``minproto.aio.reconnect``), and as long as Retry-After says after a 429 or a 503. It ends where
    the server wants it to (204), and raises StreamRefused, with the status as its code, for what is no stream of events.

    A stream has no limit of bytes, and may be silent for any time: TCP notices within minutes that a machine is gone. Even the
    head of the response may take any time, for many servers send it together with the first event. For a server that is known
    to send a comment now and then, ``silence`` finds out sooner that it is gone.
    """

    def __init__(
        self,
        url: str,
        *,
        last_event_id: str = "",
        headers: HeaderFields = (),
        silence: float = math.inf,
        ssl: tls.SSLContext | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        """``last_event_id``: where to resume. ``headers``: more fields; an ``accept`` or a ``cache-control`` replaces ours.
        ``silence``: seconds without a byte, also before the head, after which a stream counts as lost.

        Raises ValueError for another URL, and for one with a character that has to be percent-encoded.
        """
        check_common(limits, Limits, timeouts, ssl)
        check_seconds("silence", silence, positive=True)
        if not isinstance(last_event_id, str):
            refuse("last_event_id", 'str ("" for none)', last_event_id)
        parts = split_client_url(url, "http")
        self._name = f"{parts.scheme}://{parts.netloc}{parts.path}"  # without the query, which may hold a secret
        self._ssl = client_context(ssl, parts.scheme, "https")
        self._address = url_address(parts)
        self._target = request_target(parts)
        self._headers = _request_headers(make_headers(headers))
        self._limits = limits
        self._timeouts = replace(timeouts, idle=silence, body=silence)
        self.last_event_id = last_event_id
        """The last one that the server gave."""
        self.retry = DEFAULT_RETRY
        """Milliseconds to wait before coming back."""

    async def __aiter__(self) -> AsyncGenerator[ServerSentEvent, None]:
        streams = reconnecting(self._open, first=lambda: self.retry / 1_000, name=self._name)
        async with aclosing(streams):  # when the user leaves in the middle, the connection is closed at once
            async for stream in streams:
                if stream.response.status == 204:
                    return
                async for event in stream:
                    self.last_event_id = stream.core.last_event_id
                    if isinstance(event, Retry):
                        self.retry = event.milliseconds
                    elif isinstance(event, ServerSentEvent):
                        yield event

    async def _open(self) -> "_Stream":
        host, port = self._address.connect_host, self._address.port
        client = await connect_http(host, port, self._ssl, limits=_ENDLESS, timeouts=self._timeouts)
        try:
            keep_alive(client.endpoint.pipe, KEEPALIVE)
            response = await client.request("GET", self._target, [*self._resume(), *self._headers])
            kind = _content_kind(response.headers)
            if response.status != 204 and (response.status != 200 or kind != MEDIA_TYPE):
                refusal = await read_refusal(response, self._timeouts.linger)
                await client.close()
                raise StreamRefused(f"no stream of events: {response.status} {kind}".rstrip(), response.status, refusal)
        except BaseException:
            client.endpoint.abort()  # nothing, where it is closed
            raise
        return _Stream(client, response, Connection(CLIENT, self._limits, self.last_event_id))

    def _resume(self) -> list[tuple[str, str]]:
        """The last event id, in UTF-8, as a field; nothing for one that no field can carry (RFC 9110 §5.5)."""
        field = ("last-event-id", self.last_event_id.encode().decode("latin-1").strip(" \t"))
        return [field] if field[1] and is_field(field) else []


def _content_kind(headers: Headers) -> str:
    """Return the media type of a response, and its content coding if it has one. An EventSource decodes no coding: a stream
    that a server compresses unasked would look like a stream without events."""
    coding = headers.get("content-encoding") or "identity"
    kind = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    return kind if coding.lower() == "identity" else f"{kind}, content-encoding {coding}"


def _request_headers(headers: Headers) -> Headers:
    """The user's fields, and ours where the user gives none of the same name. Raises ValueError."""
    if headers.get("last-event-id") is not None:  # it changes with each event, and two of them are none
        raise ValueError("headers can't hold a last-event-id: last_event_id= of EventSource says where to resume")
    return _with_ours([("accept", MEDIA_TYPE), ("cache-control", "no-store")], headers)


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

    def abort(self) -> None:
        self._client.endpoint.abort()
