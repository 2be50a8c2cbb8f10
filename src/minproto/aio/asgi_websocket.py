"""One WebSocket of ASGI: the handshake, which the app accepts or refuses, and then its messages.

    the client               the server's task                        the app's task
      GET, Upgrade  ------>  the handshake is checked                   app(scope, receive, send) is called
                             waits for the app's decision      -->      receive() gives websocket.connect
      101           <------  Upgrade: the connection changes   <--      send(websocket.accept)
      "hi"          ------>  WebSocket, its inbox              -->      receive() gives websocket.receive
      "hello"       <------                                    <--      send(websocket.send)
      Close         ------>  answers it                        -->      receive() gives websocket.disconnect

A handshake that is malformed never reaches the app: the server answers it with a 400 or a 426. A server of HTTP/2 gets an
extended CONNECT in place of the GET (RFC 8441), and answers 200 in place of 101. The app sees no difference.

An app can refuse in two ways: ``websocket.close`` before it has accepted is a 403, and ``websocket.http.response.start``
begins a response of its own, such as a 401 with a login.

The messages that an app may send. Any other message is a MisuseError, which becomes a 500 or a Close with 1011:

    before it has decided     websocket.accept, websocket.close, websocket.http.response.start
    after the accept          websocket.send, websocket.close
    after the start           websocket.http.response.body, until ``more_body`` is false

What is easy to get wrong: after its ``accept`` the app may send at once, before the 101 has left. So its messages wait until
the connection has become a WebSocket. A client that leaves in this moment gets neither, and the app must not wait for ever.
"""

import asyncio
from collections.abc import Awaitable

from minproto.aio.asgi_http import Exchange, Message, MisuseError, NobodyReadsError, content_of, fields, passes_on, required
from minproto.aio.http import Answer, Request, Response, Upgrade, make_headers
from minproto.aio.observe import logger
from minproto.aio.websocket import ConnectionClosed, WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.websocket import ABNORMAL

HANDSHAKE = 30.0
"""Seconds from the app's accept until the server has sent the 101. A client that is gone before it gets no WebSocket."""


def any_origin(request: Request, origin: str) -> bool:
    """Leave the check of Origin to the app: ASGI gives it the field."""
    return True


def split_names(value: str | None) -> list[str]:
    """Return the names of a list such as ``chat, superchat``, in their own case."""
    return [name for part in (value or "").split(",") if (name := part.strip(" \t"))]


class WebSocketExchange(Exchange):
    """A handshake, and then a WebSocket.

        the app receives  websocket.connect                  it may send  accept, close, or a response that refuses
                          websocket.receive, ... (messages)               send, close
                          websocket.disconnect                            nothing: ``send`` raises a ConnectionError
    """

    _connected = False  # the app has received websocket.connect
    _refusal: Message | None = None  # the start of a response that refuses

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._socket: asyncio.Future[WebSocket] = asyncio.get_running_loop().create_future()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the app has returned

    async def receive(self) -> Message:
        """Return websocket.connect, then a message of the client each time, and at last websocket.disconnect with the code.

        A code of 1006 means that the connection was lost without a Close.
        """
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        try:
            message = await (await self._opened()).receive()
        except NobodyReadsError:
            return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        except ConnectionClosed as closed:
            return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
        return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

    async def _opened(self) -> WebSocket:
        """Return the WebSocket, once the client has the 101. Raises NobodyReadsError if the client is gone before."""
        if self._socket.done():
            return self._socket.result()
        try:
            async with asyncio.timeout(HANDSHAKE):
                return await asyncio.shield(self._socket)
        except TimeoutError:
            raise NobodyReadsError from None

    # A socket or a decision that is not there yet is a future: whoever needs it waits for it.
    async def send(self, message: Message) -> None:
        """Take a message of the app. Raises MisuseError, and ConnectionError after the end."""
        kind = required(message, "type")
        if not self.answer.done():
            self._decide(kind, message)
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            raise MisuseError(f"{kind} came after the end of the response")
        elif kind == "websocket.send":
            text = message.get("text")
            await self._through((await self._opened()).send(required(message, "bytes") if text is None else text))
        elif kind == "websocket.close":
            socket = await self._opened()
            await self._through(socket.close(message.get("code", 1000), message.get("reason") or ""))
        else:
            raise MisuseError(f"{kind} came, but websocket.send or websocket.close was expected")

    async def _through(self, sending: Awaitable[None]) -> None:
        """Await a send or a close. Raises ConnectionResetError after the end, as ASGI asks: apps know no ConnectionClosed."""
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
            self._refusal["body"] += content_of(message)
            if not message.get("more_body", False):
                start = self._refusal
                self.answer.set_result(Response(start["body"], required(start, "status"), fields(start.get("headers", ()))))
        else:
            raise MisuseError(f"{kind} came, but websocket.accept or websocket.close was expected")

    def _accepted(self, message: Message) -> Answer:
        """Return the 101 (over HTTP/2: 200) with the subprotocol and the fields of the app.

        Raises MisuseError for a subprotocol that the client did not offer: the client would have to fail the connection (RFC
        6455 §4.1).
        """
        chosen = message.get("subprotocol")
        offered = split_names(self._request.headers.get("sec-websocket-protocol"))
        if chosen is not None and chosen not in offered:
            raise MisuseError(f"the subprotocol {chosen!r} was not offered (offered: {', '.join(offered) or 'none'})")
        answer = upgrade(self._request, self._run, subprotocols=[chosen] if chosen else [], allow_origin=any_origin)
        assert isinstance(answer, Upgrade)  # the handshake was checked before the app was called
        answer.headers.extend(make_headers(fields(message.get("headers", ()))))
        return answer

    # The app and the server's handler of the WebSocket are two tasks. The handler has nothing to do but to live as long as the
    # app: when it returns, the server closes the connection with 1000, and when it raises, with 1011.
    async def _run(self, socket: WebSocket) -> None:
        """Run as the handler of the WebSocket: wait for the app, which runs in a task of its own. Raises what it raised."""
        self._socket.set_result(socket)
        await self._over

    def ended(self, failure: BaseException | None) -> None:
        """Let the handler end as the app has ended.

        An app whose ``send`` has raised may let the exception pass: it has noticed the end of the connection, and has not
        failed.
        """
        waiting = self._socket.done() and not self._over.done()  # else ``_run`` was cancelled, or never called
        if waiting and failure is not None and not passes_on(failure):
            self._over.set_exception(failure)
        elif waiting:
            self._over.set_result(None)
        elif failure is not None and not passes_on(failure):
            logger.error("%s failed, and there is no WebSocket", self._request.target, exc_info=failure)
