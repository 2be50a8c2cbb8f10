"""One request of ASGI: the app pushes its response, and the server pulls it.

    the app's task                                    this file                         the server's task
      await receive()  <-- a piece of the content ---   HttpExchange.receive
      await send(start)                                 kept, until there is content
      await send(body, more_body=True) -------------->  answer: Response(_Content)  -->   sends the head
      (waits: back-pressure)                            _Content: one piece         -->   takes it when it can send it
      await send(body) ------------------------------>  the end                     -->   ends the response

A download of two pieces, with the messages of the app in the order in which it sends them:

    {"type": "http.response.start", "status": 200, "headers": []}             kept: an error may still become a 500
    {"type": "http.response.body", "body": b"ab", "more_body": True}          the head and "ab" leave
    {"type": "http.response.body", "body": b"cd", "more_body": False}         "cd" and the end leave
    the app returns

Most responses are shorter: the first body message is the last one, too. Then the server gets all of the response at once, as
bytes, and writes the Content-Length itself.

How a response ends depends on what the app has done last:

    the app ...                                         the client sees
    --------------------------------------------------  ------------------------------------------------------------
    returns or raises before the first body message     500, and the log has the error
    returns or raises between two body messages         a reset: the status has been sent, so it can't become a 500
    raises after the last body message                  nothing of it; the log has the error
    returns after ``receive`` told it that nobody       the end of the response, as far as it has come
    reads any more

What is easy to get wrong:

- The app and the server's connection are two tasks. Neither may wait for the other without a third way out: a client that
  leaves has to free an app that waits in ``send``.
- An app may ignore ``http.disconnect``. So ``send`` raises, too, and the app's exception is not logged if it only passes on
  this error.

``asgi.py`` says what the app may rely on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Self

from minproto.aio.content import was_stopped
from minproto.aio.http import Answer, Request, Response, make_headers
from minproto.aio.observe import logger
from minproto.core import RemoteProtocolError

Message = MutableMapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""A function with three arguments. The scope says which request it is. The app reads by the second one, and writes by the
third one."""


class MisuseError(RuntimeError):
    """The app has broken the specification. The text says how.

    ``send`` raises it in the app, so that the traceback in the log shows the line that sent the wrong message.
    """


class NobodyReadsError(ConnectionResetError):
    """``send`` raises it when the client has left, or when the server is stopping and the response has no end."""

    # It is an OSError, as the specification (2.4) demands: an app that does not know minproto can catch it.
    def __init__(self) -> None:
        super().__init__("the client has left, or the server is stopping")


class Exchange:
    """The common part of the two kinds of exchange: a request, and the answer of the app.

    ``answer`` is a future: the server's task awaits it, and the app's task completes it, with a Response, with an Upgrade or
    with the exception of the app.
    """

    told = False
    """Whether the app has received ``http.disconnect``."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def run(self, app: App, scope: Scope, tasks: "set[asyncio.Task[None]]") -> None:
        """Run the app in the current task, which is one of ``tasks`` until the app has returned.

        An exception before the answer is raised to the server, which logs it and answers 500.
        """
        failure: BaseException | None = None
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError as error:
            is_ours = self.answer.cancelled() or was_stopped(error)
            failure = NobodyReadsError() if is_ours else MisuseError("the app's task was cancelled")
        except (Exception, SystemExit, BaseExceptionGroup) as error:
            failure = error
        if self.answer.done():
            self.ended(failure)
        elif self.told and (failure is None or passes_on(failure)):  # an app may leave the answer out when nobody waits for it
            self._request.abort()
            self.answer.set_exception(NobodyReadsError())
        else:
            self.answer.set_exception(failure or MisuseError("the app returned without a response"))
        # The exception has this frame in its traceback. With ``failure`` in the frame, that is a cycle, and a generator of the
        # app would run its ``finally`` only when the cycle is collected.
        del failure
        tasks.discard(asyncio.current_task())

    async def receive(self) -> Message:
        """Return the next message for the app, or wait until there is one. The app's task calls this."""
        raise NotImplementedError

    async def send(self, message: Message) -> None:
        """Take a message of the app, and wait while the client reads slowly. The app's task calls this."""
        raise NotImplementedError

    def ended(self, failure: BaseException | None) -> None:
        """Note that the app has returned, or raised, after its answer has begun."""
        raise NotImplementedError


class _Content:
    """The pieces of a response on their way from the app's task to the server's: at most one at a time.

        the app: put(b"ab")      there is room: returns at once
        the app: put(b"cd")      waits: b"ab" is still here
        the server: anext()      gets b"ab", and there is room again
        the app: put(b"cd")      returns

    The server asks for a piece only when it can send one. So a client that reads slowly makes the app wait: this is
    back-pressure. One piece is ready in advance, so that the two tasks do not wait for each other in turns.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._piece = b""
        self._ended = False
        self._failure: BaseException | None = None
        self._room, self._news = asyncio.Event(), asyncio.Event()
        self._room.set()
        self.abandoned = False
        """Whether nobody wants more: the client has left, or the server is stopping and the response has no end."""

    async def put(self, piece: bytes) -> None:
        """Hand over a piece, once the server has taken the one before. Raises NobodyReadsError."""
        await self._room.wait()
        if self.abandoned:
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
        """Note that nobody wants more pieces. A ``put`` that waits for room raises, and ``receive`` says that it is over."""
        self.abandoned = True
        self._room.set()
        self._request.leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. The server calls this: the object is the content of its Response."""
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


class _AppResponse(Response):
    """The response of an app. Its head is there from the start message on, its content from the first body message on."""

    __slots__ = ()

    @property
    def is_endless(self) -> bool:
        """Whether this is an event stream (WHATWG HTML §9.2), which ends only with its client.

        Nothing in ASGI says that a response has no end. But this media type does.
        """
        return dict(self.headers).get("content-type", "").startswith("text/event-stream")

    def drain(self) -> None:
        """The server is stopping: a response that would never end ends now. Any other response may end by itself."""
        if self.is_endless and isinstance(self.body, _Content):
            self.body.abandon()


class HttpExchange(Exchange):
    """A request and its response.

    The messages that an app may send, in this order; any other message is a MisuseError:

        http.response.early_hint     any number of times: each becomes a 103 (RFC 8297)
        http.response.start          once
        http.response.body           once or more often: "more_body" says whether another one follows
        http.response.trailers       only if the start has announced trailers
    """

    _response: _AppResponse | None = None  # from the start message on
    _content: _Content | None = None  # of a response in several pieces
    _has_trailers = False
    _complete = False  # the app has sent its last message
    _has_read = False  # the app has the whole content of the request

    async def receive(self) -> Message:
        """Return the next piece of the request's content. After its end, wait until the app has to know that nobody reads.

        If nobody reads already, return at once: Starlette's ``is_disconnected`` cancels a call that waits.
        """
        if not self._has_read:
            try:
                piece = await self._request.receive()
            except (ConnectionError, RemoteProtocolError):  # the server knows the reason, and answers
                self._has_read = self.told = True
                return {"type": "http.disconnect"}
            self._has_read = not piece
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}
        await self._request.disconnected()
        self.told = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the app. Raises MisuseError for a message whose turn it is not, and NobodyReadsError."""
        kind, response = required(message, "type"), self._response
        if self._complete:
            raise MisuseError(f"{kind} came after the end of the response")
        if kind == "http.response.start" and response is None:
            self._response = response = _AppResponse(b"", required(message, "status"), fields(message.get("headers", ())))
            self._has_trailers = bool(message.get("trailers", False))
            if response.is_endless:  # its first event may take long, and a browser waits for the head
                self._stream(response, early_head=True)
        elif kind == "http.response.body" and response is not None:
            piece, more = content_of(message), bool(message.get("more_body", False))
            if more or self._has_trailers or self._content is not None:
                await self._send_piece(response, piece, more)
            else:
                self._send_whole(response, piece)
        elif kind == "http.response.early_hint" and response is None:
            await self._request.inform(103, fields((b"link", link) for link in required(message, "links")))
        elif kind == "http.response.trailers" and response is not None and self._has_trailers and self._content is not None:
            response.trailers.extend(make_headers(fields(message.get("headers", ()))))
            if not message.get("more_trailers", False):
                self._end(self._content)
        else:
            expected = "http.response.start" if response is None else "http.response.body"
            raise MisuseError(f"{kind} came, but {expected} was expected")

    def _send_whole(self, response: Response, content: bytes) -> None:
        """Answer with a response whose first body message is the last one, too."""
        length = ("content-length", str(len(content)))
        if response.headers.count(length):  # the server writes this field itself, in its fast path
            response.headers.remove(length)
        response.body = content
        self._answer(response)
        self._complete = True

    async def _send_piece(self, response: Response, piece: bytes, more: bool) -> None:
        """Hand one piece of the content over to the server. The first one begins the answer."""
        if self._content is None and not piece and more and response.status in (204, 304):
            # A framework may stream every response, and send an empty first piece for a 204. The server must not announce
            # content for it (RFC 9110 §15.3.5), so it waits for the last message.
            return
        content = self._content or self._stream(response, early_head=not piece)  # an empty piece asks for the head
        await content.put(piece)
        if not more and not self._has_trailers:
            self._end(content)

    def _stream(self, response: Response, *, early_head: bool) -> _Content:
        """Answer with a response whose content comes in pieces. Return the place where the app puts them."""
        content = response.body = self._content = _Content(self._request)
        response.early_head = early_head
        self._answer(response)
        return content

    def _end(self, content: _Content) -> None:
        """Note that the app has sent its last message."""
        self._complete = True
        content.end(None)

    def _answer(self, response: Response) -> None:
        """Give the response to the server's task, which waits for it. From now on the response can't become a 500."""
        if self.answer.cancelled():  # the server has stopped meanwhile
            raise NobodyReadsError
        self.answer.set_result(response)

    def ended(self, failure: BaseException | None) -> None:
        """End the response in the way in which the app has ended: see the table above.

        An exception after a complete response is only logged: Starlette's background tasks raise here.
        """
        content = self._content
        nobody_reads = self.told or self.answer.cancelled() or (content is not None and content.abandoned)
        if content is not None and not self._complete:
            content.end(None if nobody_reads else failure or MisuseError("the app returned before the end of its response"))
        if failure is not None and (self._complete or nobody_reads) and not passes_on(failure):
            logger.error("%s %s failed after its response", self._request.method, self._request.target, exc_info=failure)


def passes_on(failure: BaseException | None) -> bool:
    """Return whether an app's exception only passes on that nobody reads: Starlette turns it into an exception of its own."""
    while failure is not None and not isinstance(failure, ConnectionError):
        failure = failure.__cause__ or failure.__context__
    return failure is not None


def required(message: Message, key: str) -> Any:
    """Return a value that a message must have. Raises MisuseError if it is missing, or if the message is no dict."""
    try:
        return message[key]
    except (TypeError, KeyError):
        raise MisuseError(f"send takes a dict with {key!r}, not {message!r:.80}") from None


def content_of(message: Message) -> bytes:
    """Return the content in a message. Raises MisuseError for a str, and for an int: ``bytes(5)`` would be five zero bytes."""
    body = message.get("body", b"")
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise MisuseError(f"the body of {message['type']} has to be bytes, not {type(body).__name__}")
    return bytes(body)


def fields(pairs: Iterable[Iterable[bytes]]) -> list[tuple[str, str]]:
    """Return the fields of a message as str. Raises MisuseError if they are not pairs of bytes, as the specification demands.

    The names are as the app wrote them. ``Response`` and ``make_headers`` put them in lower case.
    """
    try:
        return [(str(name, "latin-1"), str(value, "latin-1")) for name, value in pairs]
    except (TypeError, ValueError) as error:
        raise MisuseError(f"headers have to be pairs of bytes: {error}") from None
