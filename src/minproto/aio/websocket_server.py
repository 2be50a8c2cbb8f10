"""The server's side of a WebSocket: ``upgrade`` turns a request into a WebSocket for the app's handler.

    async def echo(ws):
        async for message in ws:
            await ws.send(message)

    async def app(request):
        return upgrade(request, echo)

The steps, and the task that takes each of them:

    the app's task       upgrade(request, echo): the handshake is checked, and an Upgrade with the 101's fields is returned
    the connection's     sends the 101, and calls ``_Session.run`` with the pipe
    the same             makes a WebSocket, whose reader is a task of its own, and awaits echo(ws)
    the same             closes: with 1000 if the handler has returned, with 1011 if it has failed

A refused handshake is an ordinary response: 400, 403 or 426. So curl gets an answer, too.

Over HTTP/2 the app and the handler are the same functions. There the request is an extended CONNECT (RFC 8441), the answer is
a 200, and the pipe is one stream of the connection.

Left out: a list of open WebSockets. An app that broadcasts keeps its own set: the handler adds the connection before the
loop, and discards it in a ``finally``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from inspect import isasyncgenfunction, isawaitable, isclass

from minproto.aio.address import is_origin_of
from minproto.aio.content import clear_cancellation, meet_cancellation, was_stopped
from minproto.aio.http import Answer, Request, Response, Upgrade
from minproto.aio.observe import APP_ENDS, logger
from minproto.aio.options import Timeouts, check_common, check_elements, check_function, check_text, check_type, refuse
from minproto.aio.pipe import Pipe
from minproto.aio.websocket import ConnectionClosed, WebSocket
from minproto.core import SERVER, RemoteProtocolError
from minproto.deflate import Compression
from minproto.websocket import INTERNAL_ERROR, NORMAL, Limits
from minproto.websocket_handshake import Agreement, accept_request, refusal

Handler = Callable[[WebSocket], Awaitable[None]]
"""What an app does with a WebSocket: an async function. The connection is closed when it returns."""


def same_origin(request: Request, origin: str) -> bool:
    """Return whether a script of our own pages is connecting. By default, ``upgrade`` allows only such a script.

    Browsers add the user's cookies to every handshake. Without this check, any page that a user visits could open a WebSocket
    here, and act as the user (cross-site WebSocket hijacking).
    """
    check_type("request", request, Request)
    return is_origin_of(origin, request.authority)


def check_offer(subprotocols: object, compression: object) -> None:
    """Check the two options that both sides of a handshake have. Raises TypeError or ValueError.

    ``subprotocols="chat"`` is refused: each letter of a str would be taken for a name.
    """
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
    """Return the app's answer to a handshake: ``handler`` gets the WebSocket, or the response refuses (RFC 6455 §4.2.2).

    When the handler returns, the connection is closed with 1000; if it fails, with 1011. When the connection ends first, the
    handler has the time ``Timeouts.drain`` to return, and is then cancelled. When the server stops, the peer gets 1001.

    ``subprotocols``: the names that the app speaks.
    ``allow_origin(request, origin)``: whether a page of this origin may connect.
    ``compression``: how to compress if the client offers it; None: do not compress.
    ``limits`` and ``timeouts`` are for this WebSocket. The server's own limits and timeouts are for HTTP.

    Raises TypeError for an option of another type. A client's mistake raises nothing: the answer refuses it.
    """
    check_type("request", request, Request)
    _check_handler(handler)
    if not callable(allow_origin):
        refuse("allow_origin", 'a function, such as lambda request, origin: origin == "https://example.org"', allow_origin)
    check_function("allow_origin", allow_origin)
    check_common(limits, Limits, timeouts)
    check_offer(subprotocols, compression)
    try:
        head, agreement = accept_request(
            request.head, subprotocols, compression, lambda origin: _is_allowed(allow_origin, request, origin)
        )
    except RemoteProtocolError as error:
        return Response.text(f"{error}\n", error.code, refusal(error).headers)
    session = _Session(request, handler, agreement, limits, timeouts)
    return Upgrade(session.run, head.headers, head.status, session.drain)


def _check_handler(handler: object) -> None:
    """Raise TypeError, before the 101 is sent, for an object that can't be a handler.

    After the 101 there is no response left that could tell the client of the mistake, only a Close with 1011.
    """
    if not callable(handler) or isclass(handler) or isasyncgenfunction(handler):
        refuse("handler", "an async function of one argument, the WebSocket", handler)


def _is_allowed(allow_origin: Callable[[Request, str], bool], request: Request, origin: str) -> bool:
    """Ask the app whether an Origin is allowed. If it is not, log both of the values that were compared.

    Behind a proxy that changes Host, no Origin equals the request's authority, and only the log can tell why all pages are
    refused. Raises TypeError for an async function: its coroutine would count as true, and so allow every Origin.
    """
    allowed = allow_origin(request, origin)
    if isawaitable(allowed):
        raise TypeError("allow_origin has to return a bool at once: nobody awaits what it returns")
    if not allowed:
        logger.warning(
            "the WebSocket %.200a is refused with 403: its Origin is %.200a, and the authority that it asks for is %.200a; if"
            " this is a page of yours (behind a proxy, say), give upgrade() an allow_origin that says so",
            request.target, origin, request.authority,
        )  # fmt: skip
    return allowed


class _Session:
    """The handler of an upgraded connection, from the handshake to the end.

    ``upgrade`` creates it before there is a WebSocket, since the 101 has not been sent yet. The server calls ``run`` when the
    pipe is free for the WebSocket, and ``drain``, from another task, when the server stops. Either may come first.
    """

    def __init__(
        self, request: Request, handler: Handler, agreement: Agreement, limits: Limits, timeouts: Timeouts
    ) -> None:
        self._target = request.target
        self._handler = handler
        self._options = agreement, limits, timeouts
        self._drain_seconds = timeouts.drain
        self._socket: WebSocket | None = None
        self._draining = False

    def drain(self) -> None:
        """Close with 1001 (going away), since the server stops; a WebSocket not yet made is closed once it is made."""
        self._draining = True
        if self._socket is not None:
            self._socket.going_away()

    async def run(self, pipe: Pipe) -> None:
        """Make the WebSocket, run the handler on it, and close it.

        A handler that fails is logged, and the peer gets 1011. If the app, or the handler itself, has cancelled the handler's
        task, the handler has failed as well. Three ends are not failures: ConnectionClosed, if the peer has ended the
        connection; the TimeoutError of our own limit, set by ``_hurry``; and a cancellation by the server, which leaves the
        peer without a Close.
        """
        socket = self._socket = WebSocket(pipe, SERVER, *self._options)
        if self._draining:  # ``drain`` was called before the WebSocket was made
            socket.going_away()
        code = INTERNAL_ERROR
        try:
            async with asyncio.timeout(None) as limit:
                socket._reader.add_done_callback(lambda _: self._hurry(limit))
                await self._handle(socket)
            code = NORMAL
        except APP_ENDS as error:  # SystemExit among them: sys.exit() in a handler must not end the server
            if was_stopped(error):
                await socket.leave()
                raise
            clear_cancellation()  # the task continues: it has to close the WebSocket
            if isinstance(error, ConnectionClosed) and socket.ending:
                code = NORMAL
            elif not limit.expired():
                logger.exception("%.200a: the handler of a WebSocket failed", self._target)
        await socket.close(code)

    async def _handle(self, socket: WebSocket) -> None:
        """Call the handler, and await it. Raises TypeError if it returns no coroutine: it is not an async function."""
        handling = self._handler(socket)
        if not isawaitable(handling):
            name = getattr(self._handler, "__qualname__", repr(self._handler))
            raise TypeError(f"the handler {name} has to be an async function: it returned {handling!r:.60}, and no coroutine")
        await handling
        await meet_cancellation()

    def _hurry(self, limit: asyncio.Timeout) -> None:
        """Limit the time that the handler has left to ``Timeouts.drain``, since the connection is over.

        Most handlers end by themselves, when their next ``receive`` raises ConnectionClosed. A handler that sleeps for an
        hour, or waits for something else, would keep the server from counting the connection as closed.
        """
        with suppress(RuntimeError):  # the handler has returned, so the limit is over
            limit.reschedule(asyncio.get_running_loop().time() + self._drain_seconds)
