"""Server-Sent Events over HTTP: ``EventStream``, a response that stays open, and ``EventSource``, a client that reconnects.

A stream can be resumed, because each event has the id that the topic's log gave it. Here a connection breaks after the first
of two events (the ids are shortened):

    client                                    server
    GET /events                               subscribes the client to the topic
                                              200, content-type: text/event-stream
                                              id: 41                    where the stream begins, at once
                                              id: 42 / data: first
                    --- the connection breaks ---
    waits, as long as ``retry:`` says         data "second" is published, with the id 43
    GET /events, last-event-id: 42            reads 43 from the topic's log
                                              id: 43 / data: second

The id at the beginning is for a connection that breaks before its first event. Without this id, the client could not
resume, and would miss 42. If the log does not go back as far as the client's id, an event of the type ``gap`` says so.

**Keepalive.** While nothing is being published, the server sends a comment every few seconds. The comment keeps proxies from
closing the stream, and it reveals a client that has gone: TCP answers the first write into a dead connection with a reset. The
reset takes a round trip. So the server checks the connection again a second after a comment. The client's end of output (FIN)
proves nothing: a client that sends no more may still be reading.

**Two tasks.** The connection's task sends; a separate task runs the app's iterator, if there is one:

    the app's generator        _IteratorSource             EventStream                   connection (HTTP/1.1 or HTTP/2)
      |                          |                           |                             |
      |                          |                           | <-------- next piece -------|
      |                          | <-- ready() --------------|    waits, at most 15 s      |
      | <-- one step ------------|                           |                             |
      |-- yield event ---------->|-- take() --> bytes ------>|-- piece of content -------->|-- write, drain -->
      | is suspended             |                           |    while the client reads slowly (backpressure)

Left out: compression, because a compressor holds bytes back until it has enough of them, and an event must not wait.
"""

import asyncio
import math
import ssl as tls
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from inspect import isasyncgenfunction
from typing import Protocol, Self

from minproto.aio.address import request_target, split_client_url, url_address
from minproto.aio.broker import Item, Message, Subscription
from minproto.aio.client import Client
from minproto.aio.content import CANCELLED_BY_APP, Pieces, close_body
from minproto.aio.http import HeaderFields, Response, make_headers
from minproto.aio.http1_client import connect_http
from minproto.aio.http_client import ClientResponse, with_request
from minproto.aio.observe import logger
from minproto.aio.options import Timeouts, check_common, check_seconds, check_type, client_context, refuse
from minproto.aio.pool import Lease
from minproto.aio.reconnect import Refused, read_refusal, reconnecting
from minproto.aio.remote_subscription import RemoteSubscription
from minproto.aio.sockets import keep_alive
from minproto.core import CLIENT, Event, RemoteProtocolError, check_count
from minproto.http import Headers, is_field
from minproto.http1 import Limits as HttpLimits
from minproto.sse import MAX_RETRY, MEDIA_TYPE, Comment, Connection, LastEventId, Limits, Retry, ServerSentEvent, encode

BATCH = 64
"""The maximum number of messages that become one piece of content."""
BATCH_BYTES = 65_536
"""How many bytes of messages fill a piece of content: no further message is added."""
LOOK = 1.0
"""How many seconds after a comment we check whether the comment has shown that the client is gone."""
DEFAULT_RETRY = 3_000
"""How many milliseconds a client waits before it comes back, unless the app or the server says otherwise."""
KEEPALIVE = 60
"""How many seconds of silence pass before the kernel checks whether the machine of a stream's server still exists."""
_ENDLESS = HttpLimits(max_body=sys.maxsize)  # a stream of events never ends, so its length has no limit
_HEADERS = [
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),  # nginx would hold events back until it has a few kilobytes
]


# ---- the server's side -------------------------------------------------------------------------------------------------


class EventStream(Response):
    r"""A response of events: the messages of a subscription, or the items of an async iterator (events, or text for one).

        >>> async def ticks():
        ...     yield "one"
        ...     yield ServerSentEvent("two", event="tick", id="2")
        >>> async def content():
        ...     return [piece async for piece in EventStream(ticks())]
        >>> asyncio.run(content())
        [b': hello\n\n', b'data: one\n\n', b'id: 2\nevent: tick\ndata: two\n\n']

    A RemoteSubscription yields neither events nor text: write an async generator that enters it and makes events, for example
    from ``item.data.decode()``. A generator runs in one task of its own, in a copy of the handler's context, from its first
    step to its ``finally``.
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
        ``headers``: more fields, such as ``access-control-allow-origin``; a ``cache-control`` replaces ours.

        Raises TypeError for a source that yields no events and for an option that is not a number, ValueError for a number out
        of range and for a ``content-type``.
        """
        if retry is not None:
            check_count("retry", retry, 0, MAX_RETRY)
        check_seconds("keepalive", keepalive, positive=True)
        _check_source(events)
        super().__init__(self, headers=headers)
        self.headers = _stream_headers(self.headers)
        self._pieces = self._content()
        self._source: _Source = (
            _SubscriptionSource(events) if isinstance(events, Subscription) else _IteratorSource(aiter(events))
        )
        self._retry = retry
        self._keepalive = keepalive
        self._draining = False
        self._wait = asyncio.timeout(None)  # the current wait for the source
        self._client_may_be_gone = False  # the client has ended its output, and we have not checked since

    def client_ended(self) -> None:
        """Note that the client has ended its output, and soon check whether it is still reading: see "Keepalive" above."""
        self._client_may_be_gone = True
        with suppress(RuntimeError):  # there is no wait now, and the next one will be short
            self._wait.reschedule(asyncio.get_running_loop().time())

    def drain(self) -> None:
        """The server is stopping: send the pending events, then a ``retry:``, and end."""
        self._draining = True
        self._source.end()

    def __aiter__(self) -> Self:
        """Return self: the response is its own content, and the server iterates over it."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece: whole events, a comment, or b"" to have the connection checked."""
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """End the subscription, or the iterator. Nobody is reading any more, or nobody ever did (a HEAD request)."""
        try:
            await self._pieces.aclose()
        finally:
            await self._source.close()

    async def _content(self) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of the response. An empty piece sends nothing, but makes the server check the connection.

        Each turn of the loop is one wait for the source. If events come, they are sent. If nothing comes for ``keepalive``
        seconds, a comment is sent, and a second later the empty piece. With ``keepalive=15`` and a source without events:

            second 0    the greeting
            second 15   ": still here"
            second 16   b"", the look
            second 30   ": still here"
        """
        source = self._source
        yield source.greeting() + (encode(Retry(self._retry)) if self._retry is not None else b"")
        waited = 0.0  # seconds already waited since the last comment
        while not source.ended or source.waiting:
            if await self._is_ready(self._keepalive - waited):
                waited = 0.0
                if pieces := source.take():
                    yield b"".join(pieces)
                continue
            yield encode(Comment("still here"))
            waited = min(LOOK, self._keepalive / 2)
            await self._is_ready(waited)
            yield b""
        if self._draining:  # without a pause, all of this server's clients would come back immediately and all together
            yield encode(Retry(DEFAULT_RETRY if self._retry is None else self._retry))

    async def _is_ready(self, seconds: float) -> bool:
        """Wait for the source. Return False if nothing has arrived within ``seconds``, or if the client may be gone."""
        if self._client_may_be_gone:
            seconds = 0.0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as self._wait:
                await self._source.ready()
                return True
        self._client_may_be_gone = False
        return False


def _check_source(events: object) -> None:
    """Raise TypeError for a source that yields no events, before the 200 is sent. Its text says what to do instead."""
    if isinstance(events, AsyncIterable) and not isinstance(events, RemoteSubscription):
        return
    name = f"{type(events).__name__} {events!r:.60}"
    if isinstance(events, RemoteSubscription):
        name = "a RemoteSubscription, whose items have no form as events: make them ServerSentEvents in an async generator"
    elif isasyncgenfunction(events):
        name = f"the function {events.__name__}: call it"
    raise TypeError(f"an EventStream takes a Subscription or an async iterator of ServerSentEvent or str, not {name}")


def _stream_headers(headers: Headers) -> Headers:
    """Return the app's fields, and each of our fields whose name the app has not used. Raises ValueError."""
    if headers.get("content-type") is not None:
        raise ValueError(f"the content-type of an EventStream is {MEDIA_TYPE}, not {headers.get('content-type')}")
    return _with_ours(_HEADERS, headers)


def _with_ours(ours: list[tuple[str, str]], headers: Headers) -> Headers:
    """Return each of our fields whose name is not in ``headers``, followed by all ``headers``."""
    return Headers([*(field for field in ours if headers.get(field[0]) is None), *headers])


class _Source(Protocol):
    """Where events come from: a subscription to a topic, or an app's iterator."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come. Events may still be pending."""

    @property
    def waiting(self) -> bool:
        """Whether ``take`` would return or raise something."""

    def greeting(self) -> bytes:
        """Return the first bytes of the stream, which go out at once."""

    async def ready(self) -> None:
        """Wait until an event can be taken, or until no more events will come. A cancelled wait loses no event."""

    def take(self) -> list[bytes]:
        """Return pending events, encoded. Raises any error that the app's iterator has raised."""

    def end(self) -> None:
        """Ask for no more events. Events that are already pending can still be taken."""

    async def close(self) -> None:
        """Release everything: the subscription ends, the iterator is closed."""


class _SubscriptionSource:
    """The messages of a subscription. They wait in the subscription's own queue, which is bounded."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    @property
    def ended(self) -> bool:
        return self._subscription.ended is not None

    @property
    def waiting(self) -> bool:
        return self._subscription.inner.waiting

    def greeting(self) -> bytes:
        """Return the id where the stream begins, as an event without data.

        A subscription to several topics has no such id. If its first item is a gap, the gap carries the id. In both cases the
        greeting is a comment, which shows the client that the stream is open.
        """
        id = self._subscription.start
        return encode(LastEventId(id)) if id is not None else encode(Comment("hello"))

    async def ready(self) -> None:
        await self._subscription.ready()

    def take(self) -> list[bytes]:
        """Return up to ``BATCH`` messages. If the client was too slow for the queue, a gap replaces the lost messages.

        The queue is the broker's: see ``on_overflow`` of ``Broker.subscribe``.
        """
        return [_encode_message(item) for item in self._subscription.take(BATCH, BATCH_BYTES)]

    def end(self) -> None:
        """Stop listening. Messages published earlier are in the queue, and are still sent."""
        self._subscription.end()

    async def close(self) -> None:
        self._subscription.close()


def _encode_message(item: Item) -> bytes:
    """Return the bytes of a message. A message is encoded once, and its bytes are kept for its other receivers.

    A broker's data may be any bytes, but an event stream has to be UTF-8: invalid bytes become U+FFFD.
    """
    if not isinstance(item, Message):
        return encode(ServerSentEvent("" if item.count is None else str(item.count), "gap", item.id))
    encoded = item.encodings.get("sse")
    if encoded is None:
        data = item.data.decode("utf-8", "replace")
        encoded = item.encodings["sse"] = encode(ServerSentEvent(data, id=item.id))
    return encoded


class _IteratorSource:
    """The events of an app's iterator.

    One task runs the iterator from its first step to its end. So a generator keeps its context variables from one ``yield``
    to the next, and ``asyncio.timeout``, a task group or a cancel scope may span a ``yield``. A task for each step would break
    all of these. The task takes a step only when an event is wanted: a slow client slows down the iterator.

        the connection's task             the iterator's task
        ready(): sets ``_wanted``         takes a step, to the next ``yield``
          waits for ``_news``             puts the event into ``_events``, sets ``_news``
        take(): clears ``_news``          waits for ``_wanted``
          sends the event                   (the iterator is suspended)
        ready(): sets ``_wanted``         takes the next step
    """

    def __init__(self, iterator: AsyncIterator[Event | str]) -> None:
        self._iterator = iterator
        self._context = copy_context()  # the handler's context, because the server may send the response in another task
        self._task: asyncio.Task[None] | None = None
        self._events: list[Event | str] = []  # not taken yet
        self._ended = False
        self._failure: BaseException | None = None  # the iterator's error, which the next ``take`` raises
        self._wanted = asyncio.Event()  # somebody is waiting for an event
        self._news = asyncio.Event()  # an event is available, or the iterator has ended

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def waiting(self) -> bool:
        return bool(self._events) or self._failure is not None

    def greeting(self) -> bytes:
        """Return a comment: an app's events need not have ids, so there is no id to begin with."""
        return encode(Comment("hello"))

    async def ready(self) -> None:
        """Have the task take one step, and wait for the event of this step. The first call starts the task.

        For a stream that nobody reads (HEAD), only ``close`` is called, so its generator never starts.
        """
        if self._ended or self.waiting:
            return
        self._wanted.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), context=self._context)
        await self._news.wait()

    def take(self) -> list[bytes]:
        """Return the event of the last step. After all events, raises the iterator's error, once."""
        events, self._events = self._events, []
        if not events and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if not self._ended:
            self._news.clear()
        return [_encode_item(event) for event in events]

    def end(self) -> None:
        """End the iterator: it is cancelled in its ``await``, or at its ``yield``, so that its ``finally`` runs."""
        self._ended = True
        self._news.set()
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """End the iterator's task, and wait for its clean-up. An error in the clean-up is logged: the client has left."""
        self.end()
        if self._task is None:
            return await close_body(self._iterator)
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:  # pass the cancellation on, and wait for the iterator, as if it ran in this task
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        if self._failure is not None:  # no ``take`` will raise it any more
            logger.error("the iterator of an EventStream failed", exc_info=self._failure)

    # -- the task

    async def _run(self) -> None:
        """Run the task: take steps, and keep the iterator's error, unless ``end`` has been called before.

        An iterator that awaits a task which it has cancelled, for example, raises a CancelledError that is not ours. It
        is replaced by a RuntimeError: a CancelledError would look like the end of the connection, and would not be reported.
        """
        try:
            await self._take_steps()
        except BaseException as error:
            if self._ended:
                if not isinstance(error, asyncio.CancelledError):
                    logger.exception("the iterator of an EventStream failed while it was being closed")
                return
            self._failure = error
            if isinstance(error, asyncio.CancelledError):
                self._failure = RuntimeError(CANCELLED_BY_APP)
                self._failure.__cause__ = error
        finally:
            self._ended = True
            self._news.set()

    async def _take_steps(self) -> None:
        """Take a step for each event that is wanted.

        Between two steps the generator is suspended at its ``yield``. A timeout in the generator that goes off then cancels
        this task, which is waiting for ``_wanted``. ``Pieces`` raises the cancellation where it belongs, in the generator.
        """
        pieces = Pieces(self._iterator)
        try:
            async for event in pieces:
                self._events.append(event)
                self._news.set()
                if self._ended:  # the generator has caught our cancellation, which does not come twice
                    return
                self._wanted.clear()
                await pieces.pause_for(self._until_wanted())
        finally:
            await close_body(self._iterator)

    async def _until_wanted(self) -> None:
        await self._wanted.wait()


def _encode_item(item: object) -> bytes:
    """Return the bytes of an iterator's item. Raises TypeError for an item that is neither an event nor text."""
    if isinstance(item, str):
        return encode(ServerSentEvent(item))
    if isinstance(item, Event):
        return encode(item)
    raise TypeError(
        f"{type(item).__name__} is not an event of a stream: make a ServerSentEvent of it, or a str ({item!r:.60})"
    )


# ---- the client's side -------------------------------------------------------------------------------------------------


class StreamRefused(Refused):
    """A server's answer to an EventSource that is not a stream of events.

    ``response`` has its ``status``, ``headers`` and ``body``; ``code`` is the status.
    """


class EventSource:
    """The events of a URL, as a browser's EventSource gives them: ``async for event in EventSource(url)``.

    When a stream ends, the client waits as long as the server's ``retry:`` says, comes back, and names the id of the last
    event that it saw. After a failed attempt it waits longer (see ``minproto.aio.reconnect``), and after a 429 or a 503 as
    long as Retry-After says. The iteration ends when the server answers 204, which asks the client not to come back. It
    raises StreamRefused for any other answer that is not a stream of events.

    A stream may have any number of bytes, and may be silent for any time: TCP notices within minutes that a machine is gone.
    Even the response's head may take any time, since many servers send it together with the first event. If a server is known
    to send a comment now and then, ``silence`` finds out sooner that the server is gone.
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
        client: Client | None = None,
    ) -> None:
        """``last_event_id``: where to resume. ``headers``: more fields; an ``accept`` or a ``cache-control`` replaces ours.
        ``silence``: after this many seconds without a byte, even before the head, the stream is given up as lost.
        ``timeouts``: all apply except ``idle`` and ``body``, which ``silence`` replaces.
        ``client``: a Client whose TLS context is used, whose timeouts are used unless others are given, and whose connection
        is used if the server speaks HTTP/2.

        Raises ValueError for a URL of another scheme, and for one with a character that has to be percent-encoded.
        """
        check_common(limits, Limits, timeouts, ssl)
        check_seconds("silence", silence, positive=True)
        if not isinstance(last_event_id, str):
            refuse("last_event_id", 'str ("" for none)', last_event_id)
        parts = split_client_url(url, "http")
        check_type("client", client, Client, or_none=True)
        if client is not None:
            ssl, timeouts = client.share(ssl, timeouts, secure=parts.scheme == "https")
        self._client = client
        self._name = f"{parts.scheme}://{parts.netloc}{parts.path}"  # for errors and the log: the query may hold a secret
        self._ssl = client_context(ssl, parts.scheme, "https")
        self._address = url_address(parts)
        self._target = request_target(parts)
        self._headers = _request_headers(make_headers(headers))
        self._limits = limits
        self._timeouts = replace(timeouts, idle=silence, body=silence)  # for the head, and for each piece after it
        self.last_event_id = last_event_id
        """The last id that the server has sent."""
        self.retry = DEFAULT_RETRY
        """How many milliseconds to wait before coming back."""

    async def __aiter__(self) -> AsyncGenerator[ServerSentEvent, None]:
        """Yield the events of one connection after another. ``retry`` and ``last_event_id`` outlive a connection.

        A permanent error names the URL here, and not where it is made: each line of the log begins with the URL already.
        """
        streams = reconnecting(self._open, first=lambda: self.retry / 1_000, name=self._name)
        async with aclosing(streams):  # when the user leaves in the middle, the connection is closed at once
            while True:
                try:
                    stream = await anext(streams)
                except (OSError, RemoteProtocolError) as error:
                    raise with_request(error, self._name) from error
                if stream.response.status == 204:
                    return
                async for event in stream:
                    self.last_event_id = stream.core.last_event_id
                    if isinstance(event, Retry):
                        self.retry = event.milliseconds
                    elif isinstance(event, ServerSentEvent):
                        yield event

    async def _open(self) -> "_Stream":
        """Connect, send the request, and return the stream in the answer. Raises StreamRefused, OSError or
        RemoteProtocolError.

        The media type has to be right: a login page with the status 200 must not be treated as a stream that happens to be
        silent. A 204 has no content. It is returned because ``__aiter__`` ends the iteration when it sees one.
        """
        fields = [*self._resume(), *self._headers]
        lease = None
        if self._client is not None:
            lease = await self._client.http2_lease("https" if self._ssl else "http", self._address)
        stream = await (self._ask(fields) if lease is None else self._ask_on_stream(lease, fields))
        try:
            response = stream.response
            kind = _content_kind(response.headers)
            if response.status != 204 and (response.status != 200 or kind != MEDIA_TYPE):
                refusal = await read_refusal(response, self._timeouts.linger)
                await stream.close()
                raise StreamRefused(f"no stream of events: {response.status} {kind}".rstrip(), response.status, refusal)
        except BaseException:
            stream.abort()  # does nothing to a connection that is closed
            raise
        return stream

    async def _ask(self, fields: list[tuple[str, str]]) -> "_Stream":
        """Ask on a connection that the stream has for itself."""
        host, port = self._address.connect_host, self._address.port
        http = await connect_http(host, port, self._ssl, limits=_ENDLESS, timeouts=self._timeouts)
        try:
            # TCP's own keepalive asks the server's kernel, not the server. It detects a machine that has lost power, and it
            # costs not a single byte of the stream.
            keep_alive(http.endpoint.pipe, KEEPALIVE)
            response = await http.request("GET", self._target, fields)
        except BaseException:
            http.endpoint.abort()
            raise
        # A stream's response has no end to wait for, so the connection can't be used again.
        return _Stream(response, self._core(), http.close, http.endpoint.abort)

    async def _ask_on_stream(self, lease: Lease, fields: list[tuple[str, str]]) -> "_Stream":
        """Ask on a stream of the client's HTTP/2 connection."""
        try:
            response = await lease.http2.request("GET", self._target, fields, patience=self._timeouts.idle)
        except BaseException:
            lease.end()
            raise
        response.body_timeout = self._timeouts.body
        lease.bind(response, self._name)
        return _Stream(response, self._core(), response.close, partial(lease.abandon, response.exchange))

    def _core(self) -> Connection:
        return Connection(CLIENT, self._limits, self.last_event_id)

    def _resume(self) -> list[tuple[str, str]]:
        """Return the Last-Event-ID field; an empty list if there is no id.

        An id may be any UTF-8 text, but a field's value may not be (RFC 9110 §5.5). An id with control characters is not sent,
        and blanks around an id are left out, because a field can carry neither.
        """
        field = ("last-event-id", self.last_event_id.encode().decode("latin-1").strip(" \t"))
        return [field] if field[1] and is_field(field) else []


def _content_kind(headers: Headers) -> str:
    """Return the media type of a response. A content coding is added to it: "text/event-stream, content-encoding gzip".

    An EventSource decodes no content coding. A stream that a server compresses unasked would look like a stream without
    events.
    """
    coding = headers.get("content-encoding") or "identity"
    kind = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    return kind if coding.lower() == "identity" else f"{kind}, content-encoding {coding}"


def _request_headers(headers: Headers) -> Headers:
    """Return the user's fields, and each of our fields whose name the user has not used. Raises ValueError.

    No cache may answer in place of the server (``no-cache``), and no cache may keep the stream (``no-store``).
    """
    if headers.get("last-event-id") is not None:  # it changes with each event, and a request may have only one
        raise ValueError("headers can't hold a last-event-id: last_event_id= of EventSource says where to resume")
    return _with_ours([("accept", MEDIA_TYPE), ("cache-control", "no-cache, no-store")], headers)


class _Stream:
    """The events of one response: a driver for the core, fed with the pieces of the response's content."""

    def __init__(
        self,
        response: ClientResponse,
        core: Connection,
        close: Callable[[], Awaitable[None]],
        abort: Callable[[], None],
    ) -> None:
        """``close``, ``abort``: end the connection, or the stream of HTTP/2, in order or at once."""
        self.response = response
        self.core = core
        self._close = close
        self.abort = abort

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> Event:
        """Return the next event. A broken connection ends the iteration, as the proper end of a stream does: the client comes
        back, and resumes after the last complete event."""
        while (event := self.core.next_event()) is None:
            try:
                piece = await anext(self.response)
            except (OSError, RemoteProtocolError):
                raise StopAsyncIteration from None
            self.core.receive_data(piece)
        return event

    async def close(self) -> None:
        await self._close()
