"""ASGI: serve an app that was written for uvicorn, such as one of FastAPI, Starlette or Django (ASGI 3.0, specification 2.4).

    async with ASGI(app) as served, Server(served, port=8000):    # lifespan: startup, and shutdown at the end
        ...

An ASGI app is one function of three arguments. It is called once for each request, and talks with the server in messages:

    async def app(scope, receive, send):
        message = await receive()                                               # {"type": "http.request", "body": b""...}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

So the app *pushes* its response, while an app of minproto returns a Response whose content the server *pulls*. The two sides
meet in an exchange:

    the server's task                               the app's task
      ASGI.__call__(request)  -- creates it -->       app(scope, receive, send)
      waits for the answer                            send(start): kept, until there is content
      Response(exchange)      <---------------        send(body, more_body=True)
      next piece              <-- one piece at most --send(body): waits until the server wants another piece (back-pressure)
      end                     <---------------        send(body)
                                                      goes on: background tasks; then returns

Rules that are easy to get wrong:

- The app's task is never cancelled because the client has left. ``receive`` returns ``http.disconnect``, and ``send`` raises a
  ConnectionError; the app decides. Work that the app does after its response, such as Starlette's background tasks, goes on.
- What the app does against the specification is one error in the log. The client gets a 500, or a WebSocket the code 1011; in
  the middle of a response it gets a reset, since the head has already said 200.
- When the server stops, an event stream and a WebSocket are told at once, because they would never end. Any other response may
  go on until ``Timeouts.drain``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Self

from minproto.aio.http import Answer, Request, Response, Upgrade
from minproto.aio.observe import logger
from minproto.aio.websocket import ConnectionClosed, WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.core import RemoteProtocolError
from minproto.http import split_list, split_target
from minproto.websocket import ABNORMAL

Message = MutableMapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VERSIONS = {"version": "3.0", "spec_version": "2.4"}
LAST_WORDS = 30.0
"""Seconds that the tasks of apps get, after the server has stopped, before they are cancelled."""


class MisuseError(RuntimeError):
    """The app has broken the specification. The text says how."""


class NobodyReadsError(ConnectionResetError):
    """``send`` raises it when the client has left, or when the server is stopping and the response has no end."""

    def __init__(self) -> None:
        super().__init__("the client has left, or the server is stopping")


class ASGI:
    """An ASGI app as an app of minproto. ``async with`` runs its lifespan; without it, the app sees no lifespan."""

    def __init__(self, app: App, *, root_path: str = "") -> None:
        """``root_path``: where a proxy has mounted the app, such as ``/api``; the path of each request follows it."""
        self._app = app
        self._root_path = root_path.rstrip("/")
        self._state: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lifespan: _Lifespan | None = None

    async def __aenter__(self) -> Self:
        """Send ``lifespan.startup``. Raises RuntimeError if the app says that it failed; an app may have no lifespan."""
        self._lifespan = _Lifespan(self._app, self._state)
        await self._lifespan.step("startup")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the tasks of the app, and send ``lifespan.shutdown``."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        for task in self._tasks:
            task.cancel()
        assert self._lifespan is not None
        await self._lifespan.step("shutdown")

    async def __call__(self, request: Request) -> Answer:
        """Answer a request of HTTP, or the handshake of a WebSocket."""
        request.cancellable = False  # ``receive`` and ``send`` tell the app that its client has left
        if not _asks_for_websocket(request):
            return await self._start(_HttpExchange(request), self._scope("http", request))
        answer = upgrade(request, _nothing, allow_origin=_any_origin)  # checks the handshake before the app sees it
        if isinstance(answer, Response):
            return answer
        scope = self._scope("websocket", request)
        scope["subprotocols"] = split_names(request.headers.get("sec-websocket-protocol"))
        return await self._start(_WebSocketExchange(request), scope)

    async def _start(self, exchange: "_Exchange", scope: Scope) -> Answer:
        """Run the app in a task of its own, and return its answer. Raises what the app raises before it has answered."""
        task = asyncio.create_task(exchange.run(self._app, scope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await exchange.answer

    def _scope(self, kind: str, request: Request) -> Scope:
        secured = request.pipe.info("ssl_object") is not None
        _, path, query = split_target(request.method, request.target)
        head = request.head
        scope: Scope = {
            "type": kind, "asgi": VERSIONS, "http_version": head.version,
            "scheme": ("wss" if secured else "ws") if kind == "websocket" else ("https" if secured else "http"),
            "path": self._root_path + request.path, "raw_path": self._root_path.encode() + path.encode("latin-1"),
            "query_string": query.encode("latin-1"), "root_path": self._root_path,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers],
            "client": _address(request.pipe.info("peername")), "server": _address(request.pipe.info("sockname")),
            "state": self._state.copy(), "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        if kind == "http":
            scope["method"] = head.method
            scope["extensions"] = {"http.response.trailers": {}, "http.response.early_hint": {}}
        return scope


def _asks_for_websocket(request: Request) -> bool:
    upgrades = split_list(request.headers.get("upgrade", "") or "")
    return request.protocol == "websocket" or (request.method == "GET" and "websocket" in upgrades)


async def _nothing(ws: WebSocket) -> None:
    """Stand for the handler of a WebSocket whose app has not accepted it yet."""


def _any_origin(request: Request, origin: str) -> bool:
    """Leave the check of Origin to the app: ASGI gives it the field."""
    return True


def split_names(value: str | None) -> list[str]:
    """Return the names of a list such as ``chat, superchat``, in their own case."""
    return [name for part in (value or "").split(",") if (name := part.strip(" \t"))]


def _address(value: Any) -> tuple[str, int] | None:
    """Return the host and port of a socket's address; None for a Unix socket."""
    return (value[0], value[1]) if isinstance(value, tuple) else None


# ---- lifespan --------------------------------------------------------------------------------------------------------


class _Lifespan:
    """The one call of the app that lives as long as the server.

    An app that raises for the scope ``lifespan`` has none, as the specification allows; then there is nothing to wait for.
    """

    def __init__(self, app: App, state: dict[str, Any]) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        scope = {"type": "lifespan", "asgi": VERSIONS, "state": state}
        self._task = asyncio.create_task(self._run(app, scope))

    async def step(self, name: str) -> None:
        """Send ``lifespan.NAME``, and wait until the app has answered. Raises RuntimeError if the app says that it failed."""
        if self._task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait({"type": f"lifespan.{name}"})
        await asyncio.wait([self._answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            self._answer.result()

    async def _run(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self._inbox.get, self._send)
        except Exception as error:  # the specification: go on without a lifespan
            if self._answer.done():
                logger.error("the app's lifespan failed", exc_info=error)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind.endswith(".failed"):
            self._answer.set_exception(RuntimeError(f"the app's {kind.split('.')[1]} failed: {message.get('message', '')}"))
        elif kind.endswith(".complete") and not self._answer.done():
            self._answer.set_result(None)


# ---- one request -----------------------------------------------------------------------------------------------------


class _Exchange:
    """The common part of the two kinds of exchange: the app's task, and its answer."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def run(self, app: App, scope: Scope) -> None:
        """Run the app. What it raises before it has answered is raised to the server, which logs it and answers 500."""
        failure: BaseException | None = None
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            failure = MisuseError("the app's task was cancelled")
        except (Exception, SystemExit, BaseExceptionGroup) as error:
            failure = error
        if not self.answer.done():
            self.answer.set_exception(failure or MisuseError("the app returned without a response"))
        else:
            self.ended(failure)

    async def receive(self) -> Message:
        raise NotImplementedError

    async def send(self, message: Message) -> None:
        raise NotImplementedError

    def ended(self, failure: BaseException | None) -> None:
        """Note that the app has returned, or raised, after its answer has begun."""
        raise NotImplementedError


class _Content:
    """The pieces of a response on their way from the app's task to the server's: at most one at a time."""

    def __init__(self) -> None:
        self._piece = b""
        self._ended = False
        self._failure: BaseException | None = None
        self._room, self._news = asyncio.Event(), asyncio.Event()
        self._room.set()
        self.abandoned = asyncio.Event()
        """Set when nobody wants more: the client has left, or the server is stopping and the response has no end."""

    async def put(self, piece: bytes) -> None:
        """Hand over a piece, once the server has taken the one before. Raises NobodyReadsError."""
        await self._room.wait()
        if self.abandoned.is_set():
            raise NobodyReadsError
        if piece:
            self._piece = piece
            self._room.clear()
            self._news.set()

    def end(self, failure: BaseException | None) -> None:
        """Let the server's side stop after the piece that is on its way, or raise ``failure`` there."""
        self._ended, self._failure = True, failure
        self._news.set()

    def abandon(self) -> None:
        self.abandoned.set()
        self._room.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._piece:
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        piece, self._piece = self._piece, b""
        self._room.set()
        return piece

    async def aclose(self) -> None:
        """The server calls this at the end, or when the client has left."""
        self.abandon()


class _EventStream(Response):
    """A response that would never end: when the server stops, the app is told at once."""

    def drain(self) -> None:
        assert isinstance(self.body, _Content)
        self.body.abandon()


class _HttpExchange(_Exchange):
    """A request and its response."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._start: Message | None = None
        self._response: Response | None = None
        self._content = _Content()
        self._has_trailers = False
        self._complete = False  # the app has sent its last message
        self._has_read = False  # the app has the whole content of the request
        self._told = False  # the app has received http.disconnect

    async def receive(self) -> Message:
        """Return the next piece of the request's content. After its end, wait until the app has to know that nobody reads."""
        if not self._has_read:
            try:
                piece = await self._request.receive()
            except (ConnectionError, RemoteProtocolError):  # the server knows the reason, and answers
                self._has_read = self._told = True
                return {"type": "http.disconnect"}
            self._has_read = not piece
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}
        waits = [asyncio.ensure_future(each) for each in (self._request.disconnected(), self._content.abandoned.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._told = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the app. Raises MisuseError for a message whose turn it is not, and NobodyReadsError."""
        kind = message["type"]
        if self._complete:
            raise MisuseError(f"{kind} came after the end of the response")
        if kind == "http.response.early_hint" and self._start is None:
            await self._request.inform(103, [("link", bytes(link).decode("latin-1")) for link in message["links"]])
        elif kind == "http.response.start" and self._start is None:
            self._start, self._has_trailers = message, bool(message.get("trailers", False))
        elif kind == "http.response.body" and self._start is not None:
            await self._send_body(self._start, bytes(message.get("body", b"")), bool(message.get("more_body", False)))
        elif kind == "http.response.trailers" and self._response is not None and self._has_trailers:
            self._response.trailers.extend(_fields(message.get("headers", ())))
            if not message.get("more_trailers", False):
                self._end()
        else:
            expected = "http.response.start" if self._start is None else "http.response.body"
            raise MisuseError(f"{kind} came, but {expected} was expected")

    async def _send_body(self, start: Message, piece: bytes, more: bool) -> None:
        """Answer with the whole response if this is all of it; otherwise hand one piece over to the server."""
        ends = not more and not self._has_trailers
        if self._response is None:
            self._response = _response(start, piece if ends else self._content)
            self.answer.set_result(self._response)
            if ends:
                self._complete = True
                return
        await self._content.put(piece)
        if ends:
            self._end()

    def _end(self) -> None:
        self._complete = True
        self._content.end(None)

    def ended(self, failure: BaseException | None) -> None:
        """End the response in the way in which the app has ended."""
        told = self._told or self._content.abandoned.is_set()
        if not self._complete:
            self._content.end(None if told else failure or MisuseError("the app returned before the end of its response"))
        if failure is not None and (self._complete or told) and not _passes_on(failure):
            logger.error("%s %s failed after its response", self._request.method, self._request.target, exc_info=failure)


def _passes_on(failure: BaseException | None) -> bool:
    """Return whether an app's exception only passes on that nobody reads: Starlette turns it into an exception of its own."""
    while failure is not None and not isinstance(failure, ConnectionError):
        failure = failure.__cause__ or failure.__context__
    return failure is not None


def _response(start: Message, body: bytes | _Content) -> Response:
    """Return the response of a start message. Raises MisuseError for a status or a field of a wrong type."""
    headers = _fields(start.get("headers", ()))
    endless = not isinstance(body, bytes) and dict(headers).get("content-type", "").startswith("text/event-stream")
    return (_EventStream if endless else Response)(body, start["status"], headers, early_head=endless)


def _fields(pairs: Iterable[Iterable[bytes]]) -> list[tuple[str, str]]:
    """Return the fields of a message. Raises MisuseError if they are not pairs of bytes, as the specification demands."""
    try:
        return [(bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1")) for name, value in pairs]
    except (TypeError, ValueError) as error:
        raise MisuseError(f"headers have to be pairs of bytes: {error}") from None


# ---- one WebSocket ---------------------------------------------------------------------------------------------------


class _WebSocketExchange(_Exchange):
    """A handshake, and then a WebSocket.

        the app receives  websocket.connect                  it may send  accept, close, or a response that refuses
                          websocket.receive, ... (messages)               send, close
                          websocket.disconnect                            nothing: ``send`` raises a ConnectionError
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._connected = False  # the app has received websocket.connect
        self._refusal: Message | None = None  # the start of a response that refuses
        self._socket: asyncio.Future[WebSocket] = asyncio.get_running_loop().create_future()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the app has returned

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        try:
            async with asyncio.timeout(LAST_WORDS):  # a client that is gone before the 101 gets no WebSocket
                socket = await asyncio.shield(self._socket)
            message = await socket.receive()
        except TimeoutError:
            return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        except ConnectionClosed as closed:
            return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
        return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

    async def send(self, message: Message) -> None:
        """Take a message of the app. Raises MisuseError, and ConnectionError after the end."""
        kind = message["type"]
        if not self.answer.done():
            self._decide(kind, message)
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            raise MisuseError(f"{kind} came after the end of the response")
        elif kind == "websocket.send":
            text = message.get("text")
            await self._through((await self._socket).send(message["bytes"] if text is None else text))
        elif kind == "websocket.close":
            socket = await self._socket
            await self._through(socket.close(message.get("code", 1000), message.get("reason") or ""))
        else:
            raise MisuseError(f"{kind} came, but websocket.send or websocket.close was expected")

    async def _through(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except ConnectionClosed as closed:
            raise ConnectionResetError(str(closed)) from None

    def _decide(self, kind: str, message: Message) -> None:
        """Answer the handshake: accept it, or refuse it with a 403 or with the app's own response."""
        if kind == "websocket.accept":
            self.answer.set_result(self._accepted(message))
        elif kind == "websocket.close":
            self.answer.set_result(Response.text("forbidden\n", 403))
        elif kind == "websocket.http.response.start":
            self._refusal = {**message, "body": b""}
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            self._refusal["body"] += bytes(message.get("body", b""))
            if not message.get("more_body", False):
                self.answer.set_result(_response(self._refusal, self._refusal["body"]))
        else:
            raise MisuseError(f"{kind} came, but websocket.accept or websocket.close was expected")

    def _accepted(self, message: Message) -> Answer:
        chosen = message.get("subprotocol")
        offered = split_names(self._request.headers.get("sec-websocket-protocol"))
        if chosen is not None and chosen not in offered:
            raise MisuseError(f"the subprotocol {chosen!r} was not offered (offered: {', '.join(offered) or 'none'})")
        answer = upgrade(self._request, self._run, subprotocols=[chosen] if chosen else [], allow_origin=_any_origin)
        assert isinstance(answer, Upgrade)  # the handshake was checked before the app was called
        answer.headers.extend(_fields(message.get("headers", ())))
        return answer

    async def _run(self, socket: WebSocket) -> None:
        """Be the handler of the WebSocket: the app runs in a task of its own, so only wait for it. Raises what it raised."""
        self._socket.set_result(socket)
        await self._over

    def ended(self, failure: BaseException | None) -> None:
        if failure is None or _passes_on(failure):
            self._over.set_result(None)
        elif self._socket.done():
            self._over.set_exception(failure)
        else:
            logger.error("%s failed after it had refused a WebSocket", self._request.target, exc_info=failure)
