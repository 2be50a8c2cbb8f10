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

The scope says which request it is. For ``GET /a%20b?x=1`` to a server that a proxy has mounted at ``/api``:

    "type": "http"             a request of HTTP; "websocket" for a handshake, "lifespan" for the life of the server
    "method": "GET"            as received: HEAD stays HEAD
    "path": "/api/a b"         decoded, with the root path
    "raw_path": b"/api/a%20b"  as received
    "query_string": b"x=1"     as received, without the "?"
    "root_path": "/api"        what the proxy has taken from the path
    "headers": [(b"host", b"example.org"), ...]        bytes, names in lower case, in the order received
    "client": ("192.0.2.7", 50123)                     the other end of the connection; None on a Unix socket
    "state": {...}             what the app's startup has stored, a copy for each request
    "extensions": {...}        what this server can do besides: trailers, early hints, a refusal with content

Rules that are easy to get wrong:

- The app's task is never cancelled because the client has left. ``receive`` returns ``http.disconnect``, and ``send`` raises a
  ConnectionError; the app decides. Work that the app does after its response, such as Starlette's background tasks, goes on.
- A breach of the specification by the app is one error in the log. The client gets a 500, or a WebSocket the code 1011; in
  the middle of a response it gets a reset, since the head has already said 200.
- When the server stops, an event stream and a WebSocket are told at once, because they would never end. Any other response may
  go on until ``Timeouts.drain``.
"""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Coroutine
from typing import Any, Self
from urllib.parse import unquote

from minproto.aio.asgi_http import App, Exchange, HttpExchange, Message, MisuseError, Scope, required
from minproto.aio.asgi_websocket import WebSocketExchange, any_origin, split_names
from minproto.aio.content import stop_task
from minproto.aio.http import Answer, Request, Response, wrong_parameters
from minproto.aio.observe import logger
from minproto.aio.options import refuse
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.http import RequestHead, split_list, split_target

VERSIONS = {"version": "3.0", "spec_version": "2.4"}
SCHEMES = {"http": ("http", "https"), "websocket": ("ws", "wss")}
EXTENSIONS: dict[str, Scope] = {
    "http": {"http.response.trailers": {}, "http.response.early_hint": {}},
    "websocket": {"websocket.http.response": {}},
}
QUIET, LAST_WORDS = 1.0, 30.0
"""Seconds that the tasks of apps get after the server has stopped: the first ones without a word in the log, the others with
one. Then the tasks are cancelled."""


class ASGI:
    """An ASGI app as an app of minproto. ``async with`` runs its lifespan; without it, the app sees no lifespan."""

    def __init__(self, app: App, *, root_path: str = "") -> None:
        """``root_path``: where a proxy has mounted the app, such as ``/api``; the path of each request follows it.

        Raises TypeError for an object that is no ASGI app, and ValueError for a ``root_path`` without a slash.
        """
        check_asgi(app)
        if root_path and not root_path.startswith("/"):
            refuse("root_path", "a path, such as /api", root_path, ValueError)
        self._app = app
        self._root_path = root_path.rstrip("/")
        self._raw_root = self._root_path.encode()
        self._state: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # of the apps that run
        self._lifespan: _Lifespan | None = None

    async def __aenter__(self) -> Self:
        """Send ``lifespan.startup``. Raises LifespanError if the app says that it failed; an app may have no lifespan."""
        self._lifespan = _Lifespan(self._app, self._state)
        await self._lifespan.step("startup")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the tasks of the app, and send ``lifespan.shutdown``. Raises LifespanError if the shutdown fails."""
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=QUIET)
            if self._tasks:  # say so, or the process would seem to hang
                text = "calls of the app that have not returned: %d; they are cancelled in %.0f s (by Ctrl-C now)"
                logger.warning(text, len(self._tasks), LAST_WORDS)
                await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        finally:  # the wait itself may be cancelled: by a second Ctrl-C
            for task in self._tasks:
                stop_task(task)
        assert self._lifespan is not None
        await self._lifespan.step("shutdown")

    def __call__(self, request: Request) -> Awaitable[Answer]:
        """Return the answer to a request of HTTP, or to the handshake of a WebSocket. It is there once the app has given it.

        If the app raises before it has answered, the answer is this exception.
        """
        request.cancellable = False  # ``receive`` and ``send`` tell the app that its client has left
        if not _asks_for_websocket(request.head):
            return self._start(HttpExchange(request), self._scope("http", request))
        exchange = WebSocketExchange(request)
        refusal = upgrade(request, _nothing, allow_origin=any_origin)  # checks the handshake before the app sees it
        if isinstance(refusal, Response):
            exchange.answer.set_result(refusal)
            return exchange.answer
        scope = self._scope("websocket", request)
        scope["subprotocols"] = split_names(request.headers.get("sec-websocket-protocol"))
        return self._start(exchange, scope)

    def _start(self, exchange: Exchange, scope: Scope) -> Awaitable[Answer]:
        """Run the app in a task of its own, since it may work on after its answer, when the server reads the next request."""
        task = _begin(exchange.run(self._app, scope, self._tasks))
        if not task.done():
            self._tasks.add(task)  # asyncio itself holds no task: without this set, the garbage collector could end it
        return exchange.answer

    def _scope(self, kind: str, request: Request) -> Scope:
        head, info = request.head, request.pipe.info
        _, path, query = split_target(request.method, head.target)
        scope: Scope = {
            "type": kind, "asgi": VERSIONS, "http_version": head.version,
            "scheme": SCHEMES[kind][info("ssl_object") is not None],
            "path": self._root_path + (unquote(path) if "%" in path else path),
            "raw_path": self._raw_root + path.encode("latin-1"), "query_string": query.encode("latin-1"),
            "root_path": self._root_path,
            "client": _address(info("peername")), "server": _address(info("sockname")),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers],
            "state": self._state.copy(), "extensions": EXTENSIONS[kind].copy(),
        }  # fmt: skip
        if kind == "http":
            scope["method"] = head.method
        return scope


def _begin(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Start a task, and run it up to its first wait right here, if this Python can do so (3.12 and later).

    Most apps answer without any wait. Then the answer is there when this function returns: the event loop need not switch to
    the app's task and back.
    """
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:  # a program's own factory says how tasks start
        return asyncio.eager_task_factory(loop, work)
    return loop.create_task(work)


def check_asgi(app: object) -> None:
    """Raise TypeError for an object that can't be called with scope, receive and send. Each request would fail otherwise."""
    if not callable(app):
        refuse("app", "an ASGI app, such as `async def app(scope, receive, send)`", app)
    if inspect.isclass(app) and not hasattr(app, "__await__"):  # Starlette's endpoints are classes, and can be awaited
        raise TypeError(f"the class {app.__name__} is not an app, but {app.__name__}() may be one")
    if (wrong := wrong_parameters(app, 3)) is not None:
        hint = _FOREIGN.get(wrong, "an ASGI app is called as app(scope, receive, send)")
        raise TypeError(f"{getattr(app, '__name__', type(app).__name__)}({wrong}) is not an ASGI app: {hint}")


_FOREIGN = {
    "": "assign what it returns to a name, as in app = create_app()",
    "request": "it looks like an app of minproto, which minproto.serve(app) serves",
    "environ, start_response": "it is a WSGI app, and asgiref.wsgi.WsgiToAsgi(app) makes an ASGI app of it",
}
"""The parameters of functions that are often taken for an ASGI app, and what to do instead."""


def _asks_for_websocket(head: RequestHead) -> bool:
    if head.protocol or head.method != "GET":
        return head.protocol == "websocket"
    # Almost no request has the field, and a dict shows that soonest. A field may have several lines: ``headers`` joins them.
    return "upgrade" in dict(head.headers) and "websocket" in split_list(head.headers["upgrade"])


async def _nothing(ws: WebSocket) -> None:
    """Take the place of the handler of a WebSocket that the app has not accepted yet."""


def _address(value: Any) -> tuple[str, int] | None:
    """Return the host and port of a socket's address; None for a Unix socket."""
    return (value[0], value[1]) if isinstance(value, tuple) else None


# ---- lifespan --------------------------------------------------------------------------------------------------------


class LifespanError(RuntimeError):
    """The app says that its startup or its shutdown has failed."""


class _Lifespan:
    """The one call of the app that lives as long as the server.

        the server                                     the app
          step("startup")   -- lifespan.startup -->      opens its database
                            <-- startup.complete --
          serves requests                                waits in ``receive``
          step("shutdown")  -- lifespan.shutdown -->     closes its database
                            <-- shutdown.complete --     returns

    How an exception of the app is understood depends on how far the app has come:

        it has not asked for lifespan.startup      it has no lifespan, as the specification allows
        it has not answered lifespan.startup       an error in the log. The specification demands that the server goes on
        it has not answered lifespan.shutdown      an error in the log, and a LifespanError at the end
    """

    _has_asked = False  # the app has called ``receive``

    def __init__(self, app: App, state: dict[str, Any]) -> None:
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        # The app may answer before it is asked, and with eager tasks even before the task is there.
        self._answers: dict[str, asyncio.Future[None]] = {
            name: asyncio.get_running_loop().create_future() for name in ("startup", "shutdown")
        }
        scope = {"type": "lifespan", "asgi": VERSIONS, "state": state}
        self._task = asyncio.create_task(self._run(app, scope))

    async def step(self, name: str) -> None:
        """Send ``lifespan.NAME``, and wait until the app has answered. Raises LifespanError if this step fails."""
        answer = self._answers[name]
        self._inbox.put_nowait({"type": f"lifespan.{name}"})
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            answer.result()

    async def _run(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except SystemExit as error:
            for answer in self._answers.values():
                if not answer.done():
                    return answer.set_exception(LifespanError(f"the app's lifespan ended with sys.exit({error.code!r})"))
        except Exception as error:
            startup, shutdown = self._answers.values()
            if not startup.done() and self._has_asked:
                logger.error("the app's startup failed, so it is served without a lifespan", exc_info=error)
            elif startup.done() and startup.exception() is None:
                logger.error("the app's lifespan failed", exc_info=error)
                if not shutdown.done():
                    shutdown.set_exception(LifespanError(f"the app's lifespan failed: {type(error).__name__}: {error}"))

    async def _receive(self) -> Message:
        self._has_asked = True
        return await self._inbox.get()

    async def _send(self, message: Message) -> None:
        kind = required(message, "type")
        name, _, result = kind.removeprefix("lifespan.").partition(".")
        if name not in self._answers or result not in ("complete", "failed"):
            raise MisuseError(f"{kind} came, but lifespan.startup.complete or lifespan.shutdown.complete was expected")
        answer = self._answers[name]
        if answer.done():
            return
        if result == "complete":
            return answer.set_result(None)
        reason = str(message.get("message", "")).strip().rpartition("\n")[2]  # Starlette puts a whole traceback here
        answer.set_exception(LifespanError(f"the app's {name} failed: {reason}"))
