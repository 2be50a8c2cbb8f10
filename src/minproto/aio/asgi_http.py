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
from functools import cached_property
from typing import Any, Self

from minproto.aio.http import Answer, Request, Response
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
    """The common part of the two kinds of exchange: the app's task, and its answer.

    ``answer`` is a future: the server's task awaits it, and the app's task completes it, with a Response, with an Upgrade or
    with the exception of the app.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.told = False
        """Whether the app has received ``http.disconnect``."""

    async def run(self, app: App, scope: Scope) -> None:
        """Run the app. An exception before the answer is raised to the server, which logs it and answers 500."""
        failure: BaseException | None = None
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            failure = NobodyReadsError() if self.answer.cancelled() else MisuseError("the app's task was cancelled")
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
        """Note that nobody wants more pieces. A ``put`` that waits for room raises NobodyReadsError."""
        self.abandoned.set()
        self._room.set()

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


class _EventStream(Response):
    """A response that would never end: when the server stops, the app is told at once.

    Nothing in ASGI says that a response has no end. But the media type of an event stream does.
    """

    def drain(self) -> None:
        assert isinstance(self.body, _Content)
        self.body.abandon()


class HttpExchange(Exchange):
    """A request and its response.

    The messages that an app may send, in this order; any other message is a MisuseError:

        http.response.early_hint     any number of times: each becomes a 103 (RFC 8297)
        http.response.start          once
        http.response.body           once or more often: "more_body" says whether another one follows
        http.response.trailers       only if the start has announced trailers
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._start: Message | None = None
        self._fields: list[tuple[str, str]] = []  # of the start
        self._response: Response | None = None
        self._has_trailers = False
        self._complete = False  # the app has sent its last message
        self._has_read = False  # the app has the whole content of the request

    @cached_property
    def _content(self) -> _Content:
        """The pieces of the response. Most responses are one piece, and need no such object."""
        return _Content()

    async def receive(self) -> Message:
        """Return the next piece of the request's content. After its end, wait until the app has to know that nobody reads.

        What has happened already is returned without a wait: Starlette's ``is_disconnected`` cancels the first wait.
        """
        if not self._has_read:
            try:
                piece = await self._request.receive()
            except (ConnectionError, RemoteProtocolError):  # the server knows the reason, and answers
                self._has_read = self.told = True
                return {"type": "http.disconnect"}
            self._has_read = not piece
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}
        if not (self._request.left or self._content.abandoned.is_set()):
            await self._until_nobody_reads()
        self.told = True
        return {"type": "http.disconnect"}

    async def _until_nobody_reads(self) -> None:
        """Wait until the client has left, or until the server wants no more of this response."""
        # Two things can end the wait, and each needs a task of its own. Both are cancelled when one of them is done.
        waits = [asyncio.ensure_future(each) for each in (self._request.disconnected(), self._content.abandoned.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def send(self, message: Message) -> None:
        """Take a message of the app. Raises MisuseError for a message whose turn it is not, and NobodyReadsError."""
        kind = message["type"]
        if self._complete:
            raise MisuseError(f"{kind} came after the end of the response")
        if kind == "http.response.early_hint" and self._start is None:
            await self._request.inform(103, [("link", bytes(link).decode("latin-1")) for link in message["links"]])
        elif kind == "http.response.start" and self._start is None:
            self._start, self._has_trailers = message, bool(message.get("trailers", False))
            self._fields = fields(message.get("headers", ()))
            if _is_endless(self._fields):  # its first event may take long, and a browser waits for the head
                self._answer(_EventStream(self._content, message["status"], self._fields, early_head=True))
        elif kind == "http.response.body" and self._start is not None:
            await self._send_body(self._start, bytes(message.get("body", b"")), bool(message.get("more_body", False)))
        elif kind == "http.response.trailers" and self._response is not None and self._has_trailers:
            self._response.trailers.extend(fields(message.get("headers", ())))
            if not message.get("more_trailers", False):
                self._end()
        else:
            expected = "http.response.start" if self._start is None else "http.response.body"
            raise MisuseError(f"{kind} came, but {expected} was expected")

    async def _send_body(self, start: Message, piece: bytes, more: bool) -> None:
        """Answer with the whole response if this is all of it; otherwise hand one piece over to the server."""
        ends = not more and not self._has_trailers
        if self._response is None:
            # A framework may stream every response, and send an empty first piece for a 204. The server must not announce
            # content for it (RFC 9110 §15.3.5), so it waits for the last message.
            if not piece and more and start["status"] in (204, 304):
                return  # only at the end do we know that it has no content
            if ends:
                length = ("content-length", str(len(piece)))
                if length in self._fields:  # the server writes this field itself, in its fast path
                    self._fields.remove(length)
                self._answer(Response(piece, start["status"], self._fields))
                self._complete = True
                return
            early = not piece  # an empty piece asks for the head
            self._answer(Response(self._content, start["status"], self._fields, early_head=early))
        await self._content.put(piece)
        if ends:
            self._end()

    def _answer(self, response: Response) -> None:
        """Give the response to the server's task, which waits for it. From now on the response can't become a 500."""
        if self.answer.cancelled():  # the server has stopped meanwhile
            raise NobodyReadsError
        self._response = response
        self.answer.set_result(response)

    def _end(self) -> None:
        """Note that the app has sent its last message."""
        self._complete = True
        self._content.end(None)

    def ended(self, failure: BaseException | None) -> None:
        """End the response in the way in which the app has ended: see the table above.

        An exception after a complete response is only logged: Starlette's background tasks raise here.
        """
        if self._complete and failure is None:
            return
        told = self.told or self.answer.cancelled() or self._content.abandoned.is_set()
        if not self._complete:
            self._content.end(None if told else failure or MisuseError("the app returned before the end of its response"))
        if failure is not None and (self._complete or told) and not passes_on(failure):
            logger.error("%s %s failed after its response", self._request.method, self._request.target, exc_info=failure)


def passes_on(failure: BaseException | None) -> bool:
    """Return whether an app's exception only passes on that nobody reads: Starlette turns it into an exception of its own."""
    while failure is not None and not isinstance(failure, ConnectionError):
        failure = failure.__cause__ or failure.__context__
    return failure is not None


def _is_endless(head: list[tuple[str, str]]) -> bool:
    """Return whether a head announces an event stream (WHATWG HTML §9.2): such a response ends only with its client."""
    for name, value in head:
        if name == "content-type" and value.startswith("text/event-stream"):
            return True
    return False


def fields(pairs: Iterable[Iterable[bytes]]) -> list[tuple[str, str]]:
    """Return the fields of a message. Raises MisuseError if they are not pairs of bytes, as the specification demands."""
    try:
        return [(str(name, "latin-1").lower(), str(value, "latin-1")) for name, value in pairs]
    except (TypeError, ValueError) as error:
        raise MisuseError(f"headers have to be pairs of bytes: {error}") from None
