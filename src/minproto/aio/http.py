"""What an app sees of HTTP, in whichever version of HTTP: an async function from Request to Response.

    async def app(request: Request) -> Response:
        if request.path == "/upload":
            size = 0
            async for piece in request.body:                            # content, as it arrives
                size += len(piece)
            return Response.text(f"{size} bytes")
        return Response(rows(), headers={"content-type": "text/csv"})   # content, generated while it is being sent

How the parts fit together, for one request:

    an HTTP/1.1 connection,                 this file                                     the app
    or an HTTP/2 stream
      |                                       |                                             |
      |--- RequestHead, an Exchange --------> | Request --------------------------------->  |
      |                                       |                                             |
      | <-- receive_content() ----------------| <----------------------- request.read() ----|
      |--- Data, EndOfMessage --------------> | bytes ----------------------------------->  |
      |                                       |                                             |
      | <-- Response, its first piece --------| call_app() <-------------------- Response --|

A request's content is read while it arrives, and a response's content can be generated while it is being sent. Both are
under backpressure, so a body of any size takes little memory. The app need not care how a message marks its end: bytes get
a Content-Length, and an iterator's pieces are framed as the HTTP version frames content of unknown length.

All requests of one HTTP/1.1 connection share a task, and so the task's context variables: a variable that the app sets for one
request is still set for the next one. In HTTP/2 each request has a task of its own.

Easy to get wrong:

- An exception after the head of a response can't become a 500: the client has read "200 OK". So ``call_app`` takes the first
  piece of an iterator's content before the head is sent. Most failures of a generator show up there.
- After the client has left, most exceptions from the handler are consequences of its leaving, and are not logged. The failure
  of a clean-up has another cause, and is logged: see ``log_failure_unseen``.
- A request can outlive its exchange, in a task that the app has started. Reading its content must then raise: a silent end
  would look like the end of an empty body.
"""

import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote

from minproto.aio.content import check_content, close_body, first_piece
from minproto.aio.observe import logger
from minproto.aio.options import Timeouts, check_elements, check_function, check_text, checked_timeout, refuse
from minproto.aio.pipe import Pipe
from minproto.core import LocalProtocolError, RemoteProtocolError, check_count
from minproto.http import TOKEN, Data, EndOfMessage, Headers, RequestHead, split_target, target_scheme

MAX_READ = 1 << 20
"""The maximum number of bytes of content that ``Request.read`` holds in memory, unless its caller gives another limit."""
UNANSWERED = 499
"""The status in the access log of a request whose client left before it had the response, as in nginx's log. Every request
starts with this status, and keeps it if the exchange ends before the response begins."""
RESET_COMES = 0.25
"""Seconds that we wait for a reset after our last bytes. If the client is gone, its kernel replies to them with a reset."""
LATE = "an interim response comes before the answer, which has begun already"
"""The error that ``Request.inform`` raises once the head of the response has been sent (RFC 9110 §15.2)."""


# ---- header fields -----------------------------------------------------------------------------------------------------

HeaderFields = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields as users give them: a mapping, or pairs, in which a name may occur more than once."""
_COMMON_TYPES = frozenset({list, tuple, Headers})


def make_headers(fields: HeaderFields) -> Headers:
    """Return the fields with their names in lower case, as the cores compare them.

        >>> make_headers({"Content-Type": "text/css"}), make_headers([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        ([('content-type', 'text/css')], [('set-cookie', 'a=1'), ('set-cookie', 'b=2')])

    Raises TypeError for an argument that is neither a mapping nor pairs of str, and names the wrong part.
    """
    if type(fields) not in _COMMON_TYPES:  # ``isinstance`` with an abstract class is slow, and this runs for every response
        fields = _field_lines(fields)
    made = Headers()
    line: Any
    for line in fields:
        # A list of two is a pair as well. The str "te" is not a pair: it would be unpacked as the field "t" with the value
        # "e".
        if type(line) is not tuple and not isinstance(line, list):
            refuse("each of headers", "a pair of a name and a value", line)
        try:
            name, value = line
            made.append((str.lower(name), value))
        except (TypeError, ValueError):
            refuse("each of headers", "a pair of a name and a value that are str", line)
        if type(value) is not str and not isinstance(value, str):
            refuse("each of headers", "a pair of a name and a value that are str", line)
    return made


def _field_lines(fields: Any) -> Iterable[tuple[str, str]]:
    if isinstance(fields, Mapping):
        return fields.items()
    if isinstance(fields, str | bytes) or not isinstance(fields, Iterable):
        refuse("headers", "a mapping, or pairs of a name and a value", fields)
    return fields


def announced(headers: Headers) -> int:
    """Return the length of the content that a valid head announces; 0 if the head announces no length.

    The cores accept "5, 5", the result of joining two equal fields (RFC 9110 §8.6). The first number is the length.
    """
    return int((headers.get("content-length") or "0").split(",")[0])


_date = (0.0, ("date", ""))


def date_field() -> tuple[str, str]:
    """Return the Date field with the current time (RFC 9110 §5.6.7).

    The field's resolution is a second, so it is made once a second: making it takes as long as parsing a small request.
    """
    global _date
    now = time.time() // 1
    if _date[0] != now:
        _date = now, ("date", formatdate(now, usegmt=True))
    return _date[1]


# ---- a request ---------------------------------------------------------------------------------------------------------


class Exchange(Protocol):
    """What a ``Request`` asks of its connection (HTTP/1.1) or of its stream (HTTP/2)."""

    async def receive_content(self) -> Data | EndOfMessage:
        """Wait for the next piece, or the end. Raises RemoteProtocolError for malformed content, and ConnectionError."""

    def fail(self, error: RemoteProtocolError) -> None:
        """Refuse the content for the app: read no more of it, and tell the client why."""

    async def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response. Raises LocalProtocolError if it can't be sent, and ConnectionError."""

    def abort(self) -> None:
        """End the exchange with a reset. From then on, everything is as if the client had left."""


class _ClosedExchange:
    """The exchange of a request that is over. The unread content has been dropped, so reading it raises."""

    async def receive_content(self) -> Data | EndOfMessage:
        raise ConnectionError("the exchange is over")

    def fail(self, error: RemoteProtocolError) -> None:
        """Do nothing: it is too late to send the client a status."""

    async def inform(self, status: int, headers: Headers) -> None:
        raise LocalProtocolError(LATE)

    def abort(self) -> None:
        """Do nothing: the exchange has ended."""


_CLOSED_EXCHANGE = _ClosedExchange()


class Request:
    """A request, as the app gets it.

        >>> head = RequestHead("HEAD", "/a%20b?x=1&x=2", Headers([("host", "example.org:8080")]))
        >>> request = Request(head, None, pipe=None, has_content=False)
        >>> request.method, request.path, request.query, request.query.get_all("x")
        ('GET', '/a b', {'x': '2'}, ['1', '2'])
        >>> request.target, request.authority, request.headers["host"]
        ('/a%20b?x=1&x=2', 'example.org:8080', 'example.org:8080')

    HEAD appears as GET, since a response to HEAD has the same head as one to GET. The server leaves out the content (RFC 9110
    §9.3.2). ``request.head.method`` tells GET and HEAD apart.
    """

    __slots__ = (
        "_body_timeout", "_content", "_exchange", "_leaving", "_left", "_split", "_trailers", "cancellable",
        "head", "method", "pipe",
    )  # fmt: skip

    def __init__(
        self,
        head: RequestHead,
        exchange: Exchange | None,
        pipe: Pipe,
        has_content: bool = True,
        body_timeout: float | None = Timeouts.body,
    ) -> None:
        """``exchange``: None only in tests of an app, for a request that nobody sent."""
        self.head = head
        """The head as received."""
        self.method = "GET" if head.method == "HEAD" or head.protocol else head.method
        self.pipe = pipe
        """The pipe that carries the request; ``pipe.info("peername")`` is the client's address."""
        self._body_timeout = body_timeout
        self.cancellable = True
        """Whether the app is cancelled when the client can no longer receive the response. Set it to False for work that has
        to run to completion, such as a payment."""
        self._trailers: Headers | None = None
        self._exchange = exchange
        self._content = exchange if has_content else None  # None: there is no more content
        self._left = False  # the client has left, or the exchange is over
        self._leaving: asyncio.Future[None] | None = None  # made when the app waits for the client to leave
        self._split: tuple[str | None, str, str] | None = None  # authority, path and query, split when first asked for

    @property
    def body_timeout(self) -> float | None:
        """Seconds to wait for the next piece of content, at first ``Timeouts.body``; None: no limit, not even
        ``Timeouts.min_body_rate``. Both limits end when the response begins. From then on the app sets the limit."""
        return self._body_timeout

    @body_timeout.setter
    def body_timeout(self, seconds: float | None) -> None:
        self._body_timeout = checked_timeout("body_timeout", seconds)

    # -- its head

    @property
    def protocol(self) -> str:
        """The protocol that an HTTP/2 extended CONNECT asks for, such as "websocket" (RFC 8441); "" for any other request.
        An extended CONNECT appears as GET, the method of a WebSocket handshake in HTTP/1.1."""
        return self.head.protocol

    @property
    def target(self) -> str:
        """The request-target as sent."""
        return self.head.target

    @property
    def headers(self) -> Headers:
        """The header fields, with their names in lower case."""
        return self.head.headers

    @property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8. "%2F" has become "/": use ``target`` if the difference matters."""
        path = self._parts[1]
        return unquote(path) if "%" in path else path

    @property
    def query(self) -> "Query":
        """The query's parameters, decoded: ``a=1&a=2&b`` gives ``{"a": "2", "b": ""}``; ``get_all("a")`` gives both."""
        return Query(parse_qsl(self._parts[2], keep_blank_values=True))

    @property
    def authority(self) -> str:
        """The host and port that the client asks for: a whole URL in the target overrides the Host field (RFC 9112 §3.2.2)."""
        return self._parts[0] or self.headers.get("host", "") or ""

    @property
    def last_event_id(self) -> str | None:
        """The id after which a client resumes a stream of events: ``Last-Event-ID``, else ``lastEventId`` in the query.

        Unlike other fields, the header is UTF-8 (WHATWG HTML, "Server-sent events"). Bytes that are not UTF-8 become U+FFFD.
        """
        if field := self.headers.get("last-event-id"):
            return field.encode("latin-1").decode("utf-8", "replace")
        return self.query.get("lastEventId") or None

    @property
    def _parts(self) -> tuple[str | None, str, str]:
        if self._split is None:
            self._split = split_target(self.method, self.head.target)
        return self._split

    # -- its content

    @property
    def has_content(self) -> bool:
        """Whether content may come, or the rest of it: False if the head has said that there is none, and at its end. After a
        CONNECT come only the bytes of another protocol. A proxy asks, since a GET without content must not become one with
        content of an unknown length."""
        return self._content is not None and self.head.method != "CONNECT"

    @property
    def body(self) -> "AsyncIterator[bytes]":
        """The content, in pieces as they arrive. It can be read only once, by one reader.

        Raises RemoteProtocolError if the content is malformed or too slow. Raises ConnectionError if the response was
        sent before the content was read, or if the client is gone and the request is not ``cancellable``.
        """
        return Body(self)

    async def read(self, limit: int = MAX_READ) -> bytes:
        """Return the whole content.

        If the content exceeds ``limit`` bytes, raises RemoteProtocolError (413), and the client gets the status. If the head
        already announces more, no byte is read: a client that is waiting for a 100 (Continue) then sends no content at all.
        """
        check_count("limit", limit, 0)
        if self._content is not None and announced(self.headers) > limit:
            self._refuse(RemoteProtocolError("content too large", 413))
        pieces: list[bytes] = []
        size = 0
        async for piece in self.body:
            size += len(piece)
            if size > limit:
                self._refuse(RemoteProtocolError("content too large", 413))
            pieces.append(piece)
        return b"".join(pieces)

    async def receive(self) -> bytes:
        """Return the next piece of content, b"" at its end."""
        if self._content is None:
            return b""
        event = await self._content.receive_content()
        if isinstance(event, Data):
            return event.data
        self._trailers = event.trailers
        self._content = None
        return b""

    @property
    def trailers(self) -> Headers:
        """The fields after the content. They are complete once the content has been read to its end."""
        if self._trailers is None:
            self._trailers = Headers()
        return self._trailers

    def _refuse(self, error: RemoteProtocolError) -> NoReturn:
        if self._content is not None:
            self._content.fail(error)
        raise error

    # -- before the response

    async def inform(self, status: int, headers: HeaderFields = ()) -> None:
        """Send an interim response (RFC 9110 §15.2) before the response, such as 103 (Early Hints) with ``link`` fields.

        An HTTP/1.0 client gets no interim response, since it would mistake this for the final one. Raises TypeError or
        ValueError for a status that is not interim, LocalProtocolError if the response has begun or a field is not valid,
        ConnectionError if the client is gone.
        """
        check_count("the status of an interim response", status, 100, 199)
        if status == 101:
            raise ValueError("an interim response has another status than 101, which is an Upgrade")
        if self._exchange is not None and self.head.version != "1.0":
            await self._exchange.inform(status, make_headers(headers))

    @property
    def left(self) -> bool:
        """Whether ``disconnected`` would return at once."""
        return self._left

    async def disconnected(self) -> None:
        """Wait until the client has left: its stream was reset, its connection was reset or lost, or it sends nothing more.

        Also returns when the response has been sent, so that a task waiting here ends with the exchange.
        """
        if self._left:
            return
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._leaving)  # several tasks may wait: cancelling one must not cancel the others

    def abort(self) -> None:
        """End the exchange at once, with a reset, so that the client sees that its response is cut off.

        HTTP/2 resets the stream, HTTP/1.1 the whole connection. From then on, everything is as if the client had left: the app
        is cancelled, unless the request is not ``cancellable``. A proxy does this when its own server cuts off a response.
        """
        if self._exchange is not None:
            self._exchange.abort()

    # -- what the server calls

    def leave(self) -> None:
        """The server calls this when the client has left."""
        self._left = True
        if self._leaving is not None and not self._leaving.done():
            self._leaving.set_result(None)

    def close(self) -> None:
        """The server calls this when the exchange is over. Content that was not read is dropped."""
        if self._content is not None:
            self._content = _CLOSED_EXCHANGE
        self._exchange = _CLOSED_EXCHANGE
        self._left = True
        if self._leaving is not None:
            self.leave()


class Query(dict[str, str]):
    """The parameters of a query. A repeated name maps to its last value.

    "+" is a space, as HTML forms send it. Percent-encoded bytes that are not UTF-8 become U+FFFD. A "%" stays as it is unless
    two hexadecimal digits follow it.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name, in the order sent. Checkboxes, for example, can share a name."""
        return [value for key, value in self._pairs if key == name]


class Body:
    """The content of a request as an iterator."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if piece := await self._request.receive():
            return piece
        raise StopAsyncIteration

    def _misused(self) -> NoReturn:
        raise TypeError("request.body is an iterator: write `async for piece in request.body`, or `await request.read()`")

    # ``await request.body`` and ``await request.body()`` are right in other frameworks, so the error of both says what to do.
    __call__ = __await__ = _misused


# ---- a response --------------------------------------------------------------------------------------------------------


class Response:
    """A response: status, header fields, and content as bytes or as an async iterator of bytes."""

    __slots__ = ("_trailers", "body", "early_head", "headers", "status")

    def __init__(
        self,
        body: bytes | AsyncIterator[bytes] = b"",
        status: int = 200,
        headers: HeaderFields = (),
        *,
        early_head: bool = False,
    ) -> None:
        """``headers``: a mapping or pairs, with names in any case. Raises TypeError or ValueError for a wrong argument.

        ``early_head``: send the head at once, not with the first piece that an iterator gives. This is for a client that
        waits for the head before it sends its first message. A failure after the head can no longer become a 500.
        """
        if not isinstance(body, bytes):
            check_content(body)
        if type(status) is not int or not 200 <= status <= 599:  # the check accepts an HTTPStatus, and raises otherwise
            check_count("status", status, 200, 599)
        self.body = body
        self.status = status
        self.headers = make_headers(headers)
        self.early_head = early_head
        self._trailers: Headers | None = None

    @staticmethod
    def text(text: str, status: int = 200, headers: HeaderFields = ()) -> "Response":
        """Return a response with text in UTF-8. It is plain text, unless ``headers`` has another ``content-type``."""
        return _of_type("text/plain; charset=utf-8", text, status, headers)

    @staticmethod
    def html(text: str, status: int = 200, headers: HeaderFields = ()) -> "Response":
        """Return a response with a page in UTF-8. What others have written has to be escaped in it (``html.escape``)."""
        return _of_type("text/html; charset=utf-8", text, status, headers)

    @staticmethod
    def json(value: object, status: int = 200, headers: HeaderFields = ()) -> "Response":
        """Return a response with a value as JSON. Raises TypeError or ValueError for a value that JSON does not have."""
        return _of_type("application/json", json.dumps(value, allow_nan=False), status, headers)

    @property
    def trailers(self) -> Headers:
        """Fields to be sent after the content. An iterator may add them while it runs.

        Trailers can only follow content whose head has no Content-Length, so ``bytes`` with trailers are sent without it.
        If an iterator's response has a Content-Length, no trailers are sent, and the log says so. An HTTP/1.0 client gets no
        trailers either, and neither does a HEAD request.
        """
        if self._trailers is None:
            self._trailers = Headers()
        return self._trailers

    def drain(self) -> None:
        """The server is stopping. A response that would never end overrides this, and ends soon. Others need do nothing."""

    def client_ended(self) -> None:
        """In HTTP/1.1, the client has ended its output, and may be gone: only a reset in reply to our bytes would show that. A
        response that can send something at any time overrides this, and sends something. All others need do nothing."""


def _of_type(kind: str, text: str, status: int, headers: HeaderFields) -> Response:
    """Return a response with text in UTF-8, and with this ``content-type``, unless the fields have one."""
    if not isinstance(text, str):
        refuse("text", "str", text)
    response = Response(text.encode(), status, headers)
    if not headers or "content-type" not in dict(response.headers):
        response.headers.insert(0, ("content-type", kind))
    return response


class Upgrade:
    """An answer that hands the connection over: ``handler`` gets the pipe, with the bytes that came after the request.

    The status is 101, with an ``upgrade`` field that the request offered (RFC 9110 §7.8), or 200 for CONNECT (§9.3.6). When
    the handler returns, the pipe is closed. ``drain`` is called when the server stops, and should make the handler return.
    """

    __slots__ = ("drain", "handler", "headers", "status")

    def __init__(
        self,
        handler: Callable[[Pipe], Awaitable[None]],
        headers: HeaderFields = (),
        status: int = 101,
        drain: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises TypeError or ValueError for a wrong argument."""
        if not callable(handler) or inspect.isclass(handler):
            refuse("handler", "an async function that takes a pipe", handler)
        if status != 101:
            check_count("status", status, 200, 299)
        check_function("drain", drain)
        self.handler = handler
        self.headers = make_headers(headers)
        self.status = status
        self.drain = drain


def check_method(name: str, value: object) -> None:
    """Check that a method is a token in capitals, since "get" is a different method from "GET" (RFC 9110 §9.1)."""
    check_text(name, value)
    if not TOKEN.fullmatch(str(value)) or value != str(value).upper():
        refuse(name, 'a method in capitals, such as "GET"', value, ValueError)


def not_allowed(*methods: str) -> Response:
    """Return a 405 for a resource that supports only ``methods``. The Allow field MUST name them (RFC 9110 §15.5.6).

    Raises TypeError if the methods are passed as a list rather than as separate arguments, and ValueError for a method in
    lower case.
    """
    check_elements("methods", methods, check_method)
    return Response.text("method not allowed\n", 405, [("allow", ", ".join(methods))])


# ---- an app ------------------------------------------------------------------------------------------------------------

Answer = Response | Upgrade
App = Callable[[Request], Awaitable[Answer]]


def check_app(app: object) -> None:
    """Check that an app can be called with one request.

    Raises TypeError for a class, for the coroutine of an app that was called, and for an app written for ASGI or WSGI.
    Without this check, a server would start with such an app, and then every request would fail.
    """
    if not callable(app) or inspect.isclass(app):
        refuse("app", "an async function that takes a Request", app)
    if (wrong := wrong_parameters(app, 1)) is not None:
        what = _FOREIGN.get(wrong, "not an app")
        call = f"{getattr(app, '__name__', type(app).__name__)}({wrong})"
        raise TypeError(f"{call} is {what}: minproto calls `async def app(request)`, which returns a Response")


def wrong_parameters(app: Callable[..., object], count: int) -> str | None:
    """Return the parameters of an app that can't be called with ``count`` arguments, such as "scope, receive, send".

    Return None for an app that can be called so.
    """
    try:
        signature = inspect.signature(app)
    except ValueError:  # some functions written in C have no signature
        return None
    try:
        signature.bind(*range(count))
    except TypeError:
        return ", ".join(signature.parameters)
    return None


_FOREIGN = {
    "scope, receive, send": "an ASGI app (serve it as minproto.ASGI(app), or with `minproto asgi`)",
    "environ, start_response": "a WSGI app, which needs a server such as gunicorn",
}
"""The parameters of an app for another kind of server, and what such an app is."""


async def call_app(app: App, request: Request, methods: Iterable[str], scheme: str | None) -> tuple[Answer, bytes]:
    """Return the app's answer, and the first piece of content if an iterator makes it. Raises what the app raises.

        the app ...                                         this function returns
        -------------------------------------------------   ------------------------------------------------------
        returns Response(b"...")                            the response, and no piece
        returns Response(generator())                       the response, and the generator's first piece
        returns Response(generator(), early_head=True)      the response, and no piece: the head must not wait for it
        returns Upgrade(handler)                            the upgrade, and no piece
        returns None, say                                   it raises TypeError, which becomes a 500
        returns a 200 to CONNECT                            a 501: a 2xx would say that a tunnel begins
        is not called: the scheme is wrong, OPTIONS *       the server's own response

    The first piece is made before the head is sent. So a generator that fails at once can still become a 500. And a generator
    that reads the request's content can still make the server send a 100 (Continue) first.

    ``methods``: the methods that the server supports, for ``OPTIONS *``, which asks the server, not the app (RFC 9110 §9.3.7).
    ``scheme``: see ``served_scheme``.
    """
    head = request.head
    if (own := _own_answer(head, methods, scheme)) is not None:
        return own, b""
    coroutine = app(request)
    if not hasattr(coroutine, "__await__"):
        kind = type(coroutine).__name__
        raise TypeError(f"the app returned {kind}, which can't be awaited: an app is an `async def app(request)`")
    answer = await coroutine
    if not isinstance(answer, Response):
        return _check_upgrade(answer), b""
    if head.method == "CONNECT" and 200 <= answer.status < 300:  # RFC 9110 §9.3.6: a 2xx would begin a tunnel
        await close_body(answer.body)
        return Response.text("no tunnels here\n", 501), b""
    if answer._trailers and isinstance(answer.body, bytes):
        answer = _with_trailers(answer, head)
    if isinstance(answer.body, bytes) or head.method == "HEAD" or answer.early_head:
        return answer, b""
    return answer, await first_piece(answer.body)


def served_scheme(pipe: Pipe, trusted_gateway: bool) -> str | None:
    """Return the scheme that a request on this pipe may ask for; None: any scheme, since a trusted gateway checks it."""
    if trusted_gateway:
        return None
    return "http" if pipe.info("ssl_object") is None else "https"


def _own_answer(head: RequestHead, methods: Iterable[str], scheme: str | None) -> Response | None:
    """Return the server's own answer: 421 for a scheme that it does not serve here, 204 for ``OPTIONS *``; else None."""
    if scheme and (head.scheme or head.target[0] != "/") and (asked := target_scheme(head)) not in (None, scheme):
        # RFC 9110 §7.4: a server MUST reject ``GET https://bank.example/`` on a connection that is not secure.
        return Response.text(f"this connection serves {scheme}, not {asked}\n", 421)
    if head.target == "*":
        return Response(status=204, headers=[("allow", ", ".join(sorted(methods)))])
    return None


def _check_upgrade(answer: object) -> Upgrade:
    """Return an app's answer if it is an Upgrade. Raises TypeError for any other object."""
    if isinstance(answer, Upgrade):
        return answer
    hint = "an app returns a Response, for example Response.text('hello')"
    raise TypeError(f"the app returned {type(answer).__name__}, which is not a response: {hint}")


def log_failure_unseen(head: RequestHead, error: BaseException) -> None:
    """Log an exception of an app whose client has left: a clean-up failed, or a request that is not ``cancellable``.

    An exception that only passes on the loss of the client is not logged. A group is logged without such exceptions.
    """
    rest = error.split(_LOSSES)[1] if isinstance(error, BaseExceptionGroup) else error
    if rest is not None and not isinstance(rest, _LOSSES):
        logger.error("%s %s failed, after its client left", head.method, head.target, exc_info=rest)


_LOSSES = (ConnectionError, asyncio.CancelledError, RemoteProtocolError)
"""The exceptions that tell an app that its client is lost."""


# ---- trailers ----------------------------------------------------------------------------------------------------------


def _with_trailers(response: Response, head: RequestHead) -> Response:
    """Return the response with its content as an iterator: no trailers can follow content of a declared length (RFC 9112
    §7.1.2). An HTTP/1.0 client gets no trailers, so its response stays as it is.

    Raises LocalProtocolError for a 204 or 304, which has no content, and for a Content-Length that is wrong.
    """
    content = response.body
    assert isinstance(content, bytes)
    if head.version == "1.0":
        return response
    if response.status in (204, 304):
        raise LocalProtocolError(f"a {response.status} has no content, so it has no trailers")
    if response.headers.get("content-length") not in (None, str(len(content))):
        raise LocalProtocolError("Content-Length is not the length of the content")
    fields = [field for field in response.headers if field[0] != "content-length"]
    streamed = Response(_once(content), response.status, fields)
    streamed.trailers.extend(response.trailers)
    return streamed


def trailers_of(response: Response, head: RequestHead, *, possible: bool) -> Headers:
    """Return the trailers to send after the content.

    ``possible``: whether the framing of the content has a place for trailers. If it has no such place, the trailers that the
    app has set are named in the log.
    """
    if not response._trailers or head.method == "HEAD" or head.version == "1.0":
        return Headers()
    if possible:
        return response.trailers
    names = ", ".join(name for name, _ in response.trailers)
    logger.warning("%s %s: trailers not sent, since the response has a Content-Length: %s", head.method, head.target, names)
    return Headers()


async def _once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
