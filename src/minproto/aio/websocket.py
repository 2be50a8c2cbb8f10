"""A WebSocket on a pipe: what an app gets, on either side.

Beside the app's handler runs a reader. It answers Pings, asks a silent peer whether it is still there, and notices a Close,
whatever the handler does; messages it puts into a short queue. When the queue is full it stops reading, so a peer that sends
faster than the app takes is slowed by its own network stack. While it does not read, the peer's silence says nothing: now and
then it writes a Ping, which fails where nobody is left.

An ending is orderly where it can be. What came before the peer's Close (or its fault) is delivered first, and the app may
still answer it; then our Close goes out. After our own Close the peer has a few seconds for its own.
"""

import asyncio
import math
import ssl as tls
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from inspect import isasyncgenfunction, isawaitable, isclass
from secrets import token_bytes
from typing import Self, TypeVar
from urllib.parse import SplitResult

from minproto.aio.address import is_origin_of, request_target, split_client_url, url_address
from minproto.aio.content import Pieces, close_body, was_cancelled
from minproto.aio.cores import chosen
from minproto.aio.endpoint import APP_ENDS, Deadline, Endpoint, Pace, Timeouts, call_later_turn, let_arrive, logger
from minproto.aio.http import Answer, HeaderFields, Request, Response, Upgrade, make_headers
from minproto.aio.http1_client import ClientConnection, connect_http
from minproto.aio.http_client import ClientResponse, Connecting
from minproto.aio.options import (
    check_common,
    check_elements,
    check_function,
    check_loop,
    check_text,
    check_type,
    client_context,
    refuse,
    show,
)
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.aio.reconnect import Refused, read_refusal
from minproto.core import CLIENT, SERVER, Event, LocalProtocolError, RemoteProtocolError, Role
from minproto.deflate import Compression
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.websocket import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL,
    TRY_AGAIN_LATER,
    Close,
    Connection,
    Fragment,
    Limits,
    Message,
    Ping,
    Pong,
    Shared,
    State,
    encode_payload,
)
from minproto.websocket_handshake import Agreement, accept_request, check_response, handshake, refusal

MAX_QUEUED = 64
"""Messages that wait for the app,"""
MAX_QUEUED_BYTES = 1 << 20
"""or bytes of them, before we stop reading; one message more may be on top."""
FAIR_SHARE = 64
"""Control frames of one peer that we take in a row before other connections get their turn."""
MAX_UNSENT = 1 << 20
"""Bytes that a connection may have waiting when a broadcast comes; beyond, it is closed with 1013."""
SHORTEST_LOOK = 1.0
"""Seconds after which a look at the peer's progress says something, where ``Timeouts.close`` is shorter than that."""
_HANDSHAKE_FIELDS = frozenset(["connection", "upgrade", "content-length", "transfer-encoding"])


class ConnectionClosed(ConnectionError):
    """There is nothing more to receive, or nobody to send to. ``code`` and ``reason`` are those of the WebSocket; while the
    peer's Close is awaited, those of ours. With 1006 (no Close), ``reason`` says how the connection was lost, if that is
    known."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the WebSocket is closed ({code}{f': {reason}' if reason else ''})")
        self.code = code
        self.reason = reason


class WebSocket:
    """A connection: ``async for message in ws``, ``await ws.send(message)``. Text is ``str``, binary is ``bytes``.

    Any number of tasks may send; one may receive. Made by ``upgrade`` and ``connect``; ``async with`` closes it.
    """

    def __init__(
        self,
        pipe: Pipe,
        role: Role,
        agreement: Agreement = Agreement(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        self.subprotocol = agreement.subprotocol
        """The one that the handshake settled, or None."""
        self.close_code: int | None = None
        """None while open. Then the peer's code, or ours if we ended it for its fault; 1006 if there was no Close at all."""
        self.close_reason = ""
        self._core = chosen(Connection)(role, agreement, limits)
        self._endpoint = Endpoint(self._core, pipe, timeouts)
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._messages: deque[str | bytes] = deque()
        self._queued = 0  # bytes of them, roughly: characters of text
        self._arrival: asyncio.Future[None] | None = None  # what receive waits for
        self._answering = False  # the app has taken a message, and not yet come back for another
        self._room: asyncio.Future[None] | None = None  # what the reader waits for
        self._composing = asyncio.Lock()  # held while a message is being sent in fragments
        self._deferred: list[Shared] = []  # broadcasts that came meanwhile
        self._pings: dict[bytes, asyncio.Future[bool]] = {}  # true: answered, false: the connection has ended
        self._replies = 0  # bytes of Pongs that may still be unsent
        self._asked: Pace | None = None  # set while a keepalive Ping is out: whether the peer takes what was sent
        self._deadline: asyncio.TimerHandle | None = None  # for the closing handshake
        self._closing: Close | None = None  # our side wants to end, so
        self._loss = ""  # how the connection was lost
        self._late = False  # the peer did not answer our Close in time
        self._over = False  # nothing more can be sent
        self._reader = asyncio.create_task(self._read())

    @property
    def ending(self) -> bool:
        """A Close of either side, or what took its place, has begun the end."""
        return self.close_code is not None or self._closing is not None or self._endpoint.lost

    # -- what the app does

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        if self._messages:
            return self._pop()
        try:
            return await self.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def receive(self) -> str | bytes:
        """The next message. Raises ConnectionClosed after the last; cancelled, it has taken nothing."""
        while not self._messages:
            self._answering = False
            self._wake_reader()
            if self.close_code is not None:
                raise self._closed()
            if self._arrival is not None:
                raise RuntimeError("another task is receiving")
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(ws.receive(), loop)")
            self._arrival = self._loop.create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self._pop()

    def _pop(self) -> str | bytes:
        message = self._messages.popleft()
        self._queued -= len(message)
        self._answering = True
        self._wake_reader()
        return message

    async def send(self, message: str | bytes | AsyncIterable[str | bytes]) -> None:
        """Send a message; an iterator's items become its fragments. Waits while the peer is slow.

        Raises ConnectionClosed, LocalProtocolError for text with lone surrogates. Cancelled while the peer is slow, a message
        is sent all the same; while another's fragments are being sent, it is not. An iterator that ends with an exception, or
        is cancelled, leaves half a message, so that closes the connection with 1011.
        """
        if not isinstance(message, str | bytes):
            await self._compose(message)
        elif self._composing.locked():
            async with self._composing:
                self._send(Message(message))
        else:
            self._send(Message(message))
        if self._endpoint.congested:
            await self._flush()

    async def _flush(self) -> None:
        try:
            await self._endpoint.flush()
        except ConnectionError as error:
            self._note_loss(error)
            raise self._closed() from None

    def _closed(self) -> ConnectionClosed:
        ours = self._closing or Close(ABNORMAL)
        code, reason = (self.close_code, self.close_reason) if self.close_code is not None else (ours.code, ours.reason)
        return ConnectionClosed(code, reason or (self._loss if code == ABNORMAL else ""))

    async def _compose(self, pieces: AsyncIterable[str | bytes]) -> None:
        """Send fragments. Only control frames may come between them (RFC 6455 §5.4)."""
        if not isinstance(pieces, AsyncIterable):
            raise TypeError(f"a message is str, bytes or an async iterator of fragments, not {type(pieces).__name__}")
        piece: str | bytes = b""
        iterator = aiter(pieces)
        fragments = Pieces(iterator)
        try:
            async with self._composing:
                try:
                    async for piece in fragments:
                        if not isinstance(piece, str | bytes):
                            raise TypeError(f"a fragment is str or bytes, not {type(piece).__name__}")
                        self._send(Fragment(piece))
                        if self._endpoint.congested:
                            await fragments.pause_for(self._flush())
                    self._send(Fragment(piece[:0], last=True))
                finally:
                    self._end_composing()
        finally:
            await close_body(iterator)

    def _end_composing(self) -> None:
        if self._core.state is State.WITHIN:
            self._start_closing(INTERNAL_ERROR, "a message broke off")
        deferred, self._deferred = self._deferred, []  # ``_share`` judges each by those before it
        for shared in deferred:
            self._share(shared)

    async def ping(self) -> float:
        """Ask the peer for a sign of life; the round-trip time in seconds.

        Raises ConnectionClosed; TimeoutError after ``Timeouts.pong`` seconds in which the peer has neither answered nor taken
        what was sent before, also where so many messages come before the answer that they fill the queue, and wait for the app
        to take them.
        """
        data = token_bytes(8)
        pace = Pace(self._endpoint)
        pong = self._pings[data] = self._loop.create_future()
        began = self._loop.time()
        try:
            self._send(Ping(data))
            await self._until_pong(pong, pace)
        finally:
            self._pings.pop(data, None)
        if not pong.result():
            raise self._closed()
        return self._loop.time() - began

    async def _until_pong(self, pong: "asyncio.Future[bool]", pace: Pace) -> None:
        """Wait for the Pong, or the end of the connection. Raises TimeoutError."""
        seconds = self._timeouts.pong
        while not pong.done():
            await asyncio.wait([pong], timeout=seconds)
            await let_arrive()
            if not pong.done() and not pace.is_kept(seconds):
                raise TimeoutError(f"no answer to a ping within {seconds:g} s")

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close, and wait for the peer's Close, for ``Timeouts.close`` seconds. Raises LocalProtocolError for a code or a
        reason that can't be sent, TypeError for a code that is no number.

        If the peer's Close came first, its code is the one that is answered, and ours goes nowhere.
        """
        check_type("the code of a Close", code, int)
        check_type("the reason of a Close", reason, str)
        check_loop(self._loop, "asyncio.run_coroutine_threadsafe(ws.close(), loop)")
        self._start_closing(code, reason)
        await asyncio.wait([self._reader])

    def abort(self) -> None:
        """End the connection at once. Raises RuntimeError in another thread than the loop's."""
        check_loop(self._loop, "loop.call_soon_threadsafe(ws.abort)")
        self._end()
        self._endpoint.abort()
        self._reader.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Close. A block that is cancelled, also while it closes, has no time for the peer's Close: it aborts."""
        if error is not None and not isinstance(error, Exception):
            return await self._leave()
        try:
            await self.close(NORMAL if error is None else INTERNAL_ERROR)
        except asyncio.CancelledError:
            await self._leave()
            raise

    async def _leave(self) -> None:
        """Abort, and wait until nothing of the connection runs any more: that takes no time."""
        self.abort()
        await asyncio.wait([self._reader])

    def _send(self, event: Event) -> None:
        if self._over or self._core.state is State.CLOSED:
            raise self._closed()
        if asyncio.get_running_loop() is not self._loop:  # looked at here, so that each message costs only this line
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(ws.send(message), loop)")
        self._endpoint.send(event)

    # -- broadcasts

    def _share(self, shared: Shared) -> None:
        """Send what goes to others, too; without waiting."""
        if self._over or self._core.state is State.CLOSED:
            return
        waiting = self._endpoint.unsent + sum(len(deferred.data) for deferred in self._deferred)
        if waiting > MAX_UNSENT or len(self._deferred) > MAX_QUEUED:
            self._start_closing(TRY_AGAIN_LATER, "too slow")
        elif self._core.state is State.WITHIN:
            self._deferred.append(shared)
        else:
            self._endpoint.send_at_once(shared)

    # -- the reader

    async def _read(self) -> None:
        """Read until the end; then say ours."""
        last_words: Iterable[Event] = ()
        try:
            close = await self._read_all()
            last_words = await self._answer(close)
        except RemoteProtocolError as error:
            last_words = await self._refuse(error)
        except ConnectionError as error:
            self._note_loss(error)
        except Exception:
            logger.exception("the reader of a WebSocket failed")
            last_words = await self._refuse(RemoteProtocolError("", INTERNAL_ERROR))
        finally:
            self._end()
        # What comes behind the peer's Close, or its fault, must not turn our end into a reset, which destroys our Close. Over
        # TLS the peer can't see our end before we close: a server that read on would only make it wait (RFC 6455 §7.1.1).
        half_closes = self._endpoint.pipe.info("ssl_object") is None
        client = self._core.role is CLIENT  # §7.1.1: SHOULD wait for the server to close
        linger = (half_closes or self._core.error is not None or client) and not self._late
        await self._endpoint.close(last_words, linger=linger, first=not client)

    async def _refuse(self, error: RemoteProtocolError) -> list[Event]:
        """The Close for the peer's fault. What comes behind our own Close is none: we are only waiting for the peer's."""
        if self._core.state is State.CLOSED:
            self._note_end(ABNORMAL, "")
        self._note_end(error.code, str(error))
        await self._let_app_answer()
        return self._core.farewell(error)

    async def _read_all(self) -> Close:
        """Take events until the peer's Close. Raises RemoteProtocolError, ConnectionError."""
        core, endpoint = self._core, self._endpoint
        steps = 0
        while True:
            while (event := core.next_event()) is not None:
                if type(event) is Message:
                    self._deliver(event.data)
                    if len(self._messages) >= MAX_QUEUED or self._queued >= MAX_QUEUED_BYTES:
                        await self._wait_while_full()
                elif isinstance(event, Close):
                    return event
                else:
                    self._take_control(event)
                    steps += 1
                    if steps % FAIR_SHARE == 0:
                        await asyncio.sleep(0)
            if core.fragments > FAIR_SHARE:  # a chunk may hold 10,000, and what arrives may be several chunks
                await asyncio.sleep(0)
            # A reader that always waited here would not read while the app sends, and two ends that do so wait for ever.
            if not endpoint.congested:
                self._replies = 0
            elif self._replies > HIGH_WATER:  # a peer that asks and asks, and does not read
                await endpoint.flush()
            await self._receive()

    async def _receive(self) -> None:
        """Wait for bytes. Ask a peer that is silent for too long whether it is there, and fail the connection if it neither
        answers nor takes what was sent before. Behind our Close the peer has its own time."""
        seconds = self._timeouts.pong if self._asked else self._timeouts.ping
        try:
            await self._endpoint.receive(seconds)
            self._asked = None
        except TimeoutError:
            if self._late:
                raise ConnectionResetError("no Close from the peer") from None
            if self._core.state is State.CLOSED or (self._asked and self._asked.is_kept(seconds)):
                return
            if self._asked:
                error = RemoteProtocolError("no answer to a ping", INTERNAL_ERROR)
                self._core.fail(error)
                raise error from None
            self._asked = Pace(self._endpoint)
            self._endpoint.send(Ping())

    def _deliver(self, message: str | bytes) -> None:
        if self._core.state is State.CLOSED:  # we have said our last: nobody waits for it
            return
        self._messages.append(message)
        self._queued += len(message)
        if self._arrival is not None:
            _wake(self._arrival)

    def _take_control(self, event: Event) -> None:
        if (reply := self._core.reply(event)) is not None:
            self._endpoint.send(reply)
            self._replies += 2 + len(event.data) if isinstance(event, Ping) else 0  # with its header: a flood may have no data
        elif isinstance(event, Pong) and event.data in self._pings:
            # RFC 6455 §5.5.3: a peer may answer only the latest of several Pings.
            for data in list(self._pings):
                _settle(self._pings.pop(data), True)
                if data == event.data:
                    break

    async def _wait_while_full(self) -> None:
        while (len(self._messages) >= MAX_QUEUED or self._queued >= MAX_QUEUED_BYTES) and self._core.state is not State.CLOSED:
            try:
                async with asyncio.timeout(self._timeouts.ping):
                    await self._wait_for_room()
            except TimeoutError:  # who does not read isn't told that the peer is gone, but who writes is
                self._endpoint.send(Ping())
                if self._endpoint.congested:
                    await self._endpoint.flush()

    async def _wait_for_room(self) -> None:
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    def _wake_reader(self) -> None:
        if self._room is not None:
            _wake(self._room)

    async def _answer(self, close: Close) -> list[Event]:
        """The Close that answers the peer's, after what the app has to say to the messages before it."""
        self._note_end(close.code, close.reason)
        await self._let_app_answer()
        reply = self._core.reply(close)
        return [reply] if reply else []

    async def _let_app_answer(self) -> None:
        """Wait while the app takes, one by one, what came before the end, and while the peer takes the answers."""
        with suppress(TimeoutError, ConnectionError):
            while (self._messages or self._answering) and not self._closing:
                if self._endpoint.congested:
                    await self._endpoint.flush()
                    continue  # during the flush the app may have taken the last message, and nobody would wake us any more
                async with asyncio.timeout(self._timeouts.last_words):
                    await self._wait_for_room()

    def _note_end(self, code: int, reason: str) -> None:
        """Nothing more will be received."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        if self._arrival is not None:
            _wake(self._arrival)

    def _note_loss(self, error: ConnectionError) -> None:
        """The connection is lost. What the system says of it is more than what we say."""
        self._loss = self._loss or str(error.__cause__ or "") or str(error)
        self._note_end(ABNORMAL, "")

    def _end(self) -> None:
        """Nothing more will be sent, but the last words."""
        self._note_end(ABNORMAL, "")
        self._over = True
        for pong in self._pings.values():
            _settle(pong, False)
        if self._deadline is not None:
            self._deadline.cancel()

    def _start_closing(self, code: int, reason: str) -> None:
        """Send a Close, unless one of either side is under way. The reader sees to the rest."""
        if self.close_code is None and self._core.state is not State.CLOSED:
            pace = Pace(self._endpoint)
            self._endpoint.send(Close(code, reason))
            self._give_up_after(self._timeouts.close, pace)
        self._closing = self._closing or Close(code, reason)
        self._wake_reader()

    def _give_up_after(self, seconds: float, pace: Pace) -> None:
        self._deadline = self._loop.call_later(seconds, call_later_turn, self._give_up, seconds, pace)

    def _give_up(self, seconds: float, pace: Pace) -> None:
        """Cut off a peer whose Close has not come within ``seconds``. A peer that is still taking the bytes before our Close
        gets more time, because it cannot have read our Close yet."""
        if self._over:
            return
        wait, waits = self._timeouts.close, self._endpoint.delivered < self._endpoint.position
        if pace.is_kept(seconds) or (waits and seconds < SHORTEST_LOOK):
            # In less than a second even a peer that reads may take nothing, for its acknowledgement is still on its way.
            return self._give_up_after(max(wait, SHORTEST_LOOK) if waits else wait, pace)
        self._late = True
        if self._endpoint.unsent:
            self._endpoint.abort()
        else:  # the kernel may still have bytes for the peer: a reset would destroy them
            self._endpoint.interrupt()

    def going_away(self) -> None:
        """The server stops: close with 1001, and do not wait."""
        self._start_closing(GOING_AWAY, "")


def _wake(future: "asyncio.Future[None]") -> None:
    _settle(future, None)


T = TypeVar("T")


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def broadcast(connections: Iterable[WebSocket], message: str | bytes) -> None:
    """Send a message to many connections, encoded once; without waiting. Raises LocalProtocolError for what is no text.

    Raises RuntimeError in another thread than the loop's. There call
    ``loop.call_soon_threadsafe(broadcast, connections, message)``.

    One that has more than 1 MiB waiting is closed with 1013 (try again later) instead, and delays no other. What its own
    ``send`` is sending counts, too: to those that get broadcasts, long messages are better sent in fragments.
    """
    if isinstance(connections, str | WebSocket) or not isinstance(connections, Iterable):
        raise TypeError(f"broadcast takes a list of WebSockets, as in broadcast([ws], message), not {show(connections)}")
    if not isinstance(message, str | bytes):
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    connections = list(connections)
    for connection in connections:  # all checks come before the first send
        check_type("each of connections", connection, WebSocket)
        check_loop(connection._loop, "loop.call_soon_threadsafe(broadcast, connections, message)")
    encode_payload(message)  # text that has none fails here, and not in the send of somebody in the middle of a message
    shared = Shared(message)
    for connection in connections:
        connection._share(shared)


# ---- the server's side -------------------------------------------------------------------------------------------------

Handler = Callable[[WebSocket], Awaitable[None]]


def same_origin(request: Request, origin: str) -> bool:
    """Whether a script of our own pages is connecting. Else any page that a user visits could use the user's cookies here."""
    check_type("request", request, Request)
    return is_origin_of(origin, request.authority)


def _check_offer(subprotocols: object, compression: object) -> None:
    check_elements("subprotocols", subprotocols, check_text)
    check_type("compression", compression, Compression, or_none=True)


def upgrade(
    request: Request,
    handler: Handler,
    *,
    subprotocols: Sequence[str] = (),
    allow_origin: Callable[[Request, str], bool] = same_origin,
    compression: Compression | None = Compression(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> Answer:
    """The app's answer to a handshake: ``handler`` gets the WebSocket; or the response that refuses (RFC 6455 §4.2.2).

    When the handler returns, the connection is closed with 1000; if it fails, with 1011. When the connection ends first, the
    handler has ``Timeouts.drain`` to come to its own end, and is then cancelled. ``compression=None`` does without. The
    server's own timeouts are for HTTP: those of a WebSocket are told here.
    """
    check_type("request", request, Request)
    _check_handler(handler)
    if not callable(allow_origin):
        refuse("allow_origin", 'a function, such as lambda request, origin: origin == "https://example.org"', allow_origin)
    check_function("allow_origin", allow_origin)
    check_common(limits, Limits, timeouts)
    _check_offer(subprotocols, compression)
    try:
        head, agreement = accept_request(
            request.head, subprotocols, compression, lambda origin: _is_allowed(allow_origin, request, origin)
        )
    except RemoteProtocolError as error:
        return Response.text(f"{error}\n", error.code, refusal(error).headers)
    session = _Session(request, handler, agreement, limits, timeouts)
    return Upgrade(session.run, head.headers, head.status, session.drain)


def _check_handler(handler: object) -> None:
    """Find a handler that can't be one before the 101 is sent. Raises TypeError."""
    if not callable(handler) or isclass(handler) or isasyncgenfunction(handler):
        refuse("handler", "an async function of one argument, the WebSocket", handler)


def _is_allowed(allow_origin: Callable[[Request, str], bool], request: Request, origin: str) -> bool:
    """Ask the app, and tell the log what was compared: behind a proxy that changes Host, no Origin fits. Raises TypeError."""
    allowed = allow_origin(request, origin)
    if isawaitable(allowed):  # an awaitable is true, whatever it would give
        raise TypeError("allow_origin has to return a bool at once: nobody awaits what it returns")
    if not allowed:
        logger.warning(
            "the WebSocket %.200a is refused with 403: its Origin is %.200a, and the authority that it asks for is %.200a; if"
            " this is a page of yours (behind a proxy, say), give upgrade() an allow_origin that says so",
            request.target, origin, request.authority,
        )  # fmt: skip
    return allowed


class _Session:
    """The handler of an upgraded connection, from the handshake to the end."""

    def __init__(
        self, request: Request, handler: Handler, agreement: Agreement, limits: Limits, timeouts: Timeouts
    ) -> None:
        self._target = request.target
        self._handler = handler
        self._options = agreement, limits, timeouts
        self._socket: WebSocket | None = None
        self._draining = False

    def drain(self) -> None:
        self._draining = True
        if self._socket is not None:
            self._socket.going_away()

    async def run(self, pipe: Pipe) -> None:
        socket = self._socket = WebSocket(pipe, SERVER, *self._options)
        if self._draining:
            socket.going_away()
        code = INTERNAL_ERROR
        try:
            async with asyncio.timeout(None) as limit:
                socket._reader.add_done_callback(lambda _: self._hurry(limit))
                await self._handle(socket)
            code = NORMAL
        except APP_ENDS as error:
            if was_cancelled(error):
                await socket._leave()
                raise
            if isinstance(error, ConnectionClosed) and socket.ending:  # the peer went, and the handler did not mind
                code = NORMAL
            elif not limit.expired():
                logger.exception("%.200a: the handler of a WebSocket failed", self._target)
        await socket.close(code)

    async def _handle(self, socket: WebSocket) -> None:
        handling = self._handler(socket)
        if not isawaitable(handling):
            name = getattr(self._handler, "__qualname__", repr(self._handler))
            raise TypeError(f"the handler {name} has to be an async function: it returned {handling!r:.60}, and no coroutine")
        await handling

    def _hurry(self, limit: asyncio.Timeout) -> None:
        """The connection is over: its handler must not outlive it for long."""
        with suppress(RuntimeError):  # it has returned
            limit.reschedule(asyncio.get_running_loop().time() + self._options[2].drain)


# ---- the client's side -------------------------------------------------------------------------------------------------


class HandshakeRefused(Refused):
    """A server's answer to ``connect`` that opens no WebSocket. ``response`` has its ``status``, ``headers`` and ``body``;
    ``code`` is the status, or 0 for a 101 that is wrong."""


def connect(
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: HeaderFields = (),
    ssl: tls.SSLContext | None = None,
    compression: Compression | None = Compression(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> Connecting[WebSocket]:
    """A WebSocket to ``ws://…`` or ``wss://…``: ``async with connect(url) as ws``, or ``ws = await connect(url)``. ``headers``
    are added to the handshake (an Origin, cookies); a Host takes the place of ours. Fields that make the handshake, such as
    Sec-WebSocket-Protocol, can't be among them.

    Raises ValueError for another URL, LocalProtocolError for what can't stand in a handshake, OSError, TimeoutError (all
    together has ``Timeouts.handshake``), HandshakeRefused for an answer that opens no WebSocket, and RemoteProtocolError for
    one that is not HTTP.
    """
    return Connecting(_connect(url, subprotocols, headers, ssl, compression, limits, timeouts))


async def _connect(
    url: str,
    subprotocols: Sequence[str],
    headers: HeaderFields,
    ssl: tls.SSLContext | None,
    compression: Compression | None,
    limits: Limits,
    timeouts: Timeouts,
) -> WebSocket:
    check_common(limits, Limits, timeouts, ssl)
    _check_offer(subprotocols, compression)
    parts = split_client_url(url, "ws")
    if "#" in url:
        raise ValueError(f"{url}: the URL of a WebSocket has no fragment")  # §3
    context, fields = client_context(ssl, parts.scheme, "wss"), _check_fields(make_headers(headers))
    http, request, response = await _shake_hands(parts, fields, context, subprotocols, compression, timeouts)
    try:
        agreement = check_response(request, ResponseHead(response.status, response.headers), compression)
    except RemoteProtocolError as error:
        try:
            refusal = await read_refusal(response, timeouts.linger)
            await http.close()
        finally:
            http.endpoint.abort()  # nothing, where it is closed
        raise HandshakeRefused(str(error), error.code, refusal) from None
    http.endpoint.stop()
    assert response.pipe is not None
    return WebSocket(response.pipe, CLIENT, agreement, limits, timeouts)


def _check_fields(fields: Headers) -> Headers:
    """Find a user's field that would stand twice in the handshake. Raises LocalProtocolError."""
    for name, _ in fields:
        if name in _HANDSHAKE_FIELDS or name.startswith("sec-websocket-"):
            raise LocalProtocolError(f"headers can't hold {name}: connect() sends its own (see subprotocols=, compression=)")
    return fields


async def _shake_hands(
    parts: SplitResult,
    headers: Headers,
    ssl: tls.SSLContext | None,
    subprotocols: Sequence[str],
    compression: Compression | None,
    timeouts: Timeouts,
) -> tuple[ClientConnection, RequestHead, ClientResponse]:
    """Ask, and wait for the head of the answer: all together within ``Timeouts.handshake``, whatever the timeouts of an HTTP
    request are."""
    timeouts = replace(timeouts, idle=math.inf, head=math.inf)
    address, target = url_address(parts), request_target(parts)
    deadline = Deadline(asyncio.get_running_loop())
    try:
        with deadline(timeouts.handshake):
            http = await connect_http(address.connect_host, address.port, ssl, timeouts=timeouts)
            try:
                host = headers.get("host") or http.host
                request = handshake(host, target, b64encode(token_bytes(16)).decode(), subprotocols, compression)
                others = [field for field in headers if field[0] != "host"]
                return http, request, await http.request("GET", target, [*request.headers, *others])
            except BaseException:
                http.endpoint.abort()
                raise
    except TimeoutError as error:
        if str(error):
            raise
        raise TimeoutError(f"{address}: no answer to the handshake of a WebSocket within {timeouts.handshake:g} s") from error
    finally:
        deadline.stop()
