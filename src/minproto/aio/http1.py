"""HTTP/1.1 on a pipe: the server's loop, and a small client.

A server's connection is one task. It reads a head, calls the app, sends the answer, reads away what the app left of the
body, and begins anew; so answers are in order without any queue, and a client that pipelines is slowed by not being read.
The answers to pipelined requests whose handlers did not suspend go out together, as long as others get their turn.
"""

import asyncio
import math
import re
import ssl as tls
from collections.abc import AsyncIterator, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache
from typing import Any, NoReturn, Protocol, Self, TypeVar

from minproto.aio.address import Address
from minproto.aio.content import (
    CANCELLED_BY_APP,
    Pieces,
    check_content,
    checked,
    clear_cancellation,
    close_body,
    was_cancelled,
)
from minproto.aio.cores import chosen
from minproto.aio.endpoint import APP_ENDS, Endpoint, Timeouts, logger
from minproto.aio.http import (
    LATE,
    RESET_COMES,
    UNANSWERED,
    Answer,
    App,
    HeaderFields,
    Request,
    Response,
    Upgrade,
    UploadPace,
    ask,
    date_field,
    log_failure_unseen,
    make_headers,
    served_scheme,
    trailers_of,
)
from minproto.aio.observe import Observer, peer_name
from minproto.aio.options import check_common, check_type, refuse
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import DATA, Event, LocalProtocolError, RemoteProtocolError, Role
from minproto.http import (
    METHODS,
    TARGET,
    TOKEN,
    Data,
    EndOfMessage,
    Headers,
    RequestHead,
    ResponseHead,
    check_target,
    is_host,
    split_list,
    split_target,
)
from minproto.http1 import BODY, DONE, HEAD, IDLE, SWITCHED, Connection, Limits, PreparedHead
from minproto.http1_body import Chunked, UntilClose

FAIR_SHARE = 32
"""Requests answered, or pieces of content sent, that one connection may do in a row before others get their turn."""
MAX_DISCARD = 262_144
"""Bytes on the wire of a body, unread by the app, that we read away to keep the connection: about the price of a new one."""


class _BrokenOffError(Exception):
    """A response can't be completed; the traceback is in the log."""


class ServerConnection:
    """Serves one client: requests one after the other, until one side has enough."""

    def __init__(
        self,
        app: App,
        pipe: Pipe,
        limits: Limits,
        timeouts: Timeouts,
        methods: frozenset[str] = METHODS,
        observers: Sequence[Observer] = (),
        trusted_gateway: bool = False,
    ) -> None:
        self._app = app
        self._pipe = pipe
        self._scheme = served_scheme(pipe, trusted_gateway)
        self._core = chosen(Connection)(Role.SERVER, limits, methods)
        self.endpoint = Endpoint(self._core, pipe, timeouts)
        """Counts the bytes on the wire."""
        self._timeouts = timeouts
        self._observers = observers
        self._task: asyncio.Task[Any] | None = None
        self._draining = False
        self._answer: Answer | None = None  # that is being sent, or that the connection was given away to
        self._head: RequestHead | None = None  # the request in flight, until observers know its status
        self._request: Request | None = None  # the request in flight, while the app is at work on it
        self._status = UNANSWERED  # of its response, once that is complete
        self._ended = False  # the client has ended its output, or is lost
        self._leaves = False  # we have cancelled the app, since its client is lost
        self._known_fault: RemoteProtocolError | None = None  # that needs no line in the log
        self._first = b""  # the piece of its response's content that was made before the head
        self._steps = 0
        self._sent = 0  # bytes of its response's content
        self._ahead: Event | None = None  # the end of its content, if that has arrived
        self._head_began: float | None = None
        self._pace = UploadPace(timeouts.min_body_rate)
        self._reads = False  # somebody waits for more of it

    def begin(self, first: bytes, began: float) -> None:
        """Take the bytes by which the client has chosen HTTP/1.1; the time for a head runs since the first of them came."""
        self._head_began = began
        self.endpoint.feed(first)

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError; anything else is a bug of ours."""
        self._task = asyncio.current_task()
        self._pipe.watch(self._on_leaving)
        try:
            try:
                await self._serve()
            except RemoteProtocolError as error:
                await self._say_farewell(error)
            except _BrokenOffError:
                await self._break_off()
        except ConnectionError:  # also of the last words
            self._status = UNANSWERED
            self.endpoint.abort()
        except BaseException:
            self._status = UNANSWERED
            self.endpoint.abort()
            raise
        finally:
            self._pipe.watch(None)
            self._release()
            if self._head is not None:
                self._observe()

    def _on_leaving(self, lost: bool) -> None:
        """The pipe's news: the client has ended its output, or is lost. While the app is at work nothing else would tell.

        Who has only ended its output may still read the answer (RFC 9112 §9.6), so that alone cancels nothing.
        """
        self._ended = True
        self.endpoint.lost = self.endpoint.lost or lost
        request = self._request
        if request is None:
            return
        request.leave()
        if isinstance(self._answer, Response):
            self._answer.client_ended()
        if lost and request.cancellable and self._task is not None:
            self._leaves = True
            self._release()
            self._task.cancel()

    def _release(self) -> None:
        """The app's work on the request is over."""
        request, self._request = self._request, None
        if request is not None:
            request.close()

    async def refuse(self) -> None:
        """Too many connections: answer 503 without reading a request."""
        error = self._known_fault = RemoteProtocolError("too many connections", 503)  # a line for each would be many
        self._core.fail(error)
        await self._say_farewell(error)

    def abort(self) -> None:
        """End the connection at once, whatever its handler does."""
        self.endpoint.abort()

    def drain(self) -> None:
        """Finish the request in flight, and close; without one, close now."""
        self._draining = True
        if self._answer is not None:
            self._answer.drain()
        elif self._head is None:
            self.endpoint.interrupt()

    async def _serve(self) -> None:
        core, endpoint = self._core, self.endpoint
        # Mostly no event is there yet: to look at ``buffered`` takes 0.4 of the time of asking for one.
        while (head := (core.next_event() if core.buffered else None) or await self._next_head()) is not None:
            assert isinstance(head, RequestHead)
            request = self._begin(head)
            try:
                answer, self._first = await ask(self._app, request, core.methods, self._scheme)
                await self._meet_cancellation()
            except APP_ENDS as error:
                answer = self._failure(head, error)
            if isinstance(answer, Upgrade):
                self._release()
                return await self._hand_over(head, answer)
            if isinstance(answer.body, bytes):
                self._send_whole(head, answer)
            else:
                await self._stream(head, answer, answer.body)
            if endpoint.congested:
                await endpoint.flush()
            self._request = None
            request.close()
            if not self._ended:
                self._observe()
            if core.request is BODY and not (core.keep_alive and await self._discard_content()):
                break
            if self._had_turn():
                await asyncio.sleep(0)
            del head, request, answer  # an idle connection keeps none of them
        # What the client may still be sending must not turn our close into a reset, which would destroy the answer. Over
        # TLS, where it can't see our end before we close, reading on would delay it: so only if we know that it is sending.
        half_closes = self._pipe.info("ssl_object") is None
        await self._close(linger=half_closes or core.request is BODY or core.buffered > 0)

    # -- a request

    def _begin(self, head: RequestHead) -> Request:
        """What the app gets of a head that has come; the counts of its exchange begin anew."""
        if self._head is not None:  # the client has ended its output, so _serve has left this one to us
            self._observe()
        self._head, self._head_began, self._status = head, None, UNANSWERED
        self._sent, self._ahead = 0, None
        self._pace.begin()
        for observer in self._observers:
            observer.begin()
        request = self._request = Request(head, self, self._pipe, not self._core.skip_empty_body(), self._timeouts.body)
        if self._ended:
            request.leave()
        return request

    async def _next_head(self) -> Event | None:
        """The next request, which has not arrived yet; None when there will be none, or the client kept still for too long."""
        core = self._core
        while core.wants is DATA and not self._draining:
            try:
                await self.endpoint.receive(self._patience())
            except TimeoutError:
                if self._draining or not core.buffered:
                    return None
                self._time_out(RemoteProtocolError("the request's head took too long", 408))
            if (event := core.next_event()) is not None:
                return event
        return None

    def _patience(self) -> float:
        """How long to wait for a head: until the idle time is over, or from its first byte on until the head's is."""
        if not self._core.buffered:
            self._head_began = None
            # An idle time of 0 is one *between* two messages: there is a first one all the same.
            return self._timeouts.idle if self.endpoint.received else self._timeouts.idle or self._timeouts.head
        now = asyncio.get_running_loop().time()
        if self._head_began is None:
            self._head_began = now
        return self._head_began + self._timeouts.head - now

    async def receive_content(self) -> Data | EndOfMessage:
        """The next piece of the body, for the app. The first wait for it is what 100 (Continue) means.

        What has arrived is given in one piece, and looked through first: if it is broken behind good content, an answer that
        is made from the content can still be a 400.
        """
        core = self._core
        event, self._ahead = self._ahead or core.next_event(), None
        while event is None:
            if core.expects_continue:
                self.endpoint.send(ResponseHead(100, Headers()))
            await self._receive_body()
            event = core.next_event()
        assert isinstance(event, Data | EndOfMessage)
        return self._look_ahead(event) if isinstance(event, Data) else event

    def _look_ahead(self, first: Data) -> Data:
        pieces = [first.data]
        while isinstance(ahead := self._core.next_event(), Data):
            pieces.append(ahead.data)
        self._ahead = ahead
        return Data(b"".join(pieces))

    async def _receive_body(self) -> None:
        """Wait for more of a body, as long as it keeps to the minimum rate on average."""
        if self._reads:
            raise RuntimeError("another task waits for the request's content")
        self._reads = True
        try:
            while not await self._receive_within(self._body_timeout()):
                """The limit has changed while we waited: the response has begun, say."""
        finally:
            self._reads = False

    async def _receive_within(self, seconds: float | None) -> bool:
        """Wait for more of a body. False where another limit has to be looked at; raises RemoteProtocolError (408)."""
        pace = self._pace
        try:
            with pace.waiting(seconds) as patience:
                pace.received += await self.endpoint.receive(math.inf if patience is None else patience)
            return True
        except TimeoutError:
            if not self._reads:
                raise ConnectionError("the exchange is over") from None
        if self._body_timeout() != seconds:
            return False
        assert self._head is not None
        pace.log(self._head)
        self._known_fault = RemoteProtocolError("the request's body took too long", 408)
        self._time_out(self._known_fault)

    def _body_timeout(self) -> float | None:
        """Seconds to wait for more of a body; None where that is the app's business: a response that has begun is a
        conversation, whose pace no attack on an upload explains."""
        request = self._request
        if request is None:  # its response is complete, and what is left of it is read away
            return self._timeouts.body
        return None if self._core.response is BODY else request.body_timeout

    def _time_out(self, error: RemoteProtocolError) -> NoReturn:
        self._core.fail(error)
        raise error

    def fail(self, error: RemoteProtocolError) -> None:
        """The app's own limit is broken, and its status says enough."""
        self._known_fault = error
        self._core.fail(error)

    async def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response."""
        if self.endpoint.lost:
            raise ConnectionResetError("the client is gone")
        if self._status != UNANSWERED:
            raise LocalProtocolError(LATE)
        self.endpoint.send(ResponseHead(status, headers))
        if self.endpoint.congested:
            await self.endpoint.flush()

    def _failure(self, head: RequestHead, error: BaseException) -> Response:
        """The answer where the app has none, if that is its own doing."""
        self._raise_cause(error)
        logger.exception("%s %s failed", head.method, head.target)
        if was_cancelled(error):
            self._go_on_cancelled()
        return Response.text("internal server error\n", 500)

    def _raise_cause(self, error: BaseException, fault: RemoteProtocolError | None = None) -> None:
        """An error has come out of the app: raise what it comes from, if that is our doing or the peer's. ``fault``: what was
        wrong with the request before that, and has nothing to do with it."""
        if was_cancelled(error) and (self._leaves or self._draining):
            raise error
        if self._core.error is not None and self._core.error is not fault:
            raise self._core.error  # whatever the app has made of it
        if self.endpoint.lost:
            assert self._head is not None
            log_failure_unseen(self._head, error)
            raise ConnectionResetError("the peer is gone")

    async def _meet_cancellation(self) -> None:
        """Raise a cancellation that the app has asked for, and not waited for: later, it would not be known for the app's."""
        if self._task is not None and self._task.cancelling():
            await asyncio.sleep(0)

    def _go_on_cancelled(self) -> None:
        """The app has cancelled its own task, which is ours, too: the request fails by that, and the connection ends. (If the
        whole program is being cancelled, to end soon is right as well.)"""
        clear_cancellation()
        self._draining = True

    async def _discard_content(self) -> bool:
        """Read away what the app left of the body. False where that is too much."""
        if self._reads:  # a task that the app left behind: its wait ends before ours begins
            self._reads = False
            self.endpoint.interrupt()
            await asyncio.sleep(0)
        limit = self.endpoint.received + MAX_DISCARD
        while self._core.request is BODY:
            if self.endpoint.received > limit:
                return False
            if self._core.next_event() is None:
                await self._receive_body()
        return True

    # -- its answer

    def _send_whole(self, head: RequestHead, response: Response) -> None:
        """Send a response whose content is there."""
        try:
            self._queue_whole(head, response)
        except Exception:  # LocalProtocolError, or a TypeError of what is no string
            logger.exception("%s %s: the response can't be sent", head.method, head.target)
            response = Response.text("internal server error\n", 500)
            self._queue_whole(head, response)
        self._status = response.status

    def _queue_whole(self, head: RequestHead, response: Response) -> None:
        core, content = self._core, response.body
        assert isinstance(content, bytes)
        option = self._connection_option(head, closes=core.request is BODY and self._leaves_too_much())
        headers = response.headers if head.version != "1.0" else _without_chunks(response)
        whole = whole_head(response.status, tuple(headers), date_field(), option)
        self.endpoint.queue(core.send_whole(whole, content))
        self._sent = 0 if head.method == "HEAD" else len(content)

    def _leaves_too_much(self) -> bool:
        """Whether what the app leaves of the body ends the connection; RFC 9112 §9.6: SHOULD be said. Of one in chunks nobody
        knows how much is to come, unless its end has arrived."""
        core = self._core
        with suppress(RemoteProtocolError):  # that comes again, behind the answer
            while not core.content_left and core.request is BODY:
                if core.next_event() is None:
                    break
        return core.request is BODY and not 0 < core.content_left <= MAX_DISCARD

    def _connection_option(self, head: RequestHead, closes: bool) -> str:
        """What to say of the connection in a response's head, if anything."""
        # Whether a client that was not told to continue will send its content, nobody knows: so that has to be the end.
        # The same goes for a tunnel that was refused: what the client has sent into it is no request.
        if closes or self._draining or self._core.expects_continue or not self._core.keep_alive or head.method == "CONNECT":
            return "close"
        return "keep-alive" if head.version == "1.0" else ""

    def _begin_answer(self, answer: Answer) -> None:
        """From now on, a drain is the answer's business."""
        self._answer = answer
        if self._draining:
            answer.drain()
        if self._ended and isinstance(answer, Response):
            answer.client_ended()

    async def _stream(self, head: RequestHead, response: Response, body: AsyncIterator[bytes]) -> None:
        """Send content as it is made. Raises ConnectionError where that was not possible to the end."""
        try:
            self._send_head(head, response)
        except Exception:
            logger.exception("%s %s: the response can't be sent", head.method, head.target)
            self._first = b""
            await close_body(body)
            return self._send_whole(head, Response.text("internal server error\n", 500))
        self._begin_answer(response)
        fault = self._core.error  # of the request, which the app has answered in its own way
        try:
            await self._send_content(head, response, body)
        except APP_ENDS as error:
            self._raise_cause(error, fault)
            logger.exception("%s %s: the response broke off", head.method, head.target)
            if was_cancelled(error):
                self._go_on_cancelled()
            raise _BrokenOffError from error
        finally:
            self._answer = None
            self._release()  # from now on no loss of the client cancels anything: it would hit the clean-up
            await close_body(body)

    def _send_head(self, head: RequestHead, response: Response) -> None:
        """Send the head of content whose length is not known, unless the app says it."""
        if response.status in (204, 304):
            raise LocalProtocolError("a 204 or 304 has no content")
        if response.early_head and self._core.expects_continue:  # the client would hold its content back for ever
            self.endpoint.send(ResponseHead(100, Headers()))
        fields = Headers(response.headers if head.version != "1.0" else _without_chunks(response))
        framed = not {"content-length", "transfer-encoding"}.isdisjoint(name for name, _ in fields)
        if not framed and head.version != "1.0":
            fields.append(("transfer-encoding", "chunked"))
        option = self._connection_option(head, closes=not framed and head.version == "1.0")
        self.endpoint.send(ResponseHead(response.status, complete(fields, date_field(), option)))
        self._status = response.status

    async def _send_content(self, head: RequestHead, response: Response, body: AsyncIterator[bytes]) -> None:
        if head.method != "HEAD":
            pieces = Pieces(body, self._first)
            self._first = b""
            async for piece in pieces:
                self.endpoint.send(Data(checked(piece)))
                self._sent += len(piece)
                if self._had_turn() or self.endpoint.congested or not piece:
                    await pieces.pause_for(self._give_way(piece))
            await self._meet_cancellation()
        self.endpoint.send(EndOfMessage(trailers_of(response, head, possible=self._core.framing == Chunked())))

    async def _give_way(self, piece: bytes) -> None:
        """Let the client, or other connections, have their time before the next piece of content."""
        if self.endpoint.congested:
            await self.endpoint.flush()
        elif not piece:  # whoever makes the content wants to know whether the client is still there
            await self.endpoint.drain()
        await asyncio.sleep(0)

    def _had_turn(self) -> bool:
        """One more step is done; whether that is enough for now, though nothing here has to wait."""
        self._steps += 1
        return self._steps % FAIR_SHARE == 0

    async def _hand_over(self, head: RequestHead, answer: Upgrade) -> None:
        """Give the pipe, with the bytes that came after the request, to another protocol."""
        if self._core.expects_continue:  # RFC 9110 §7.8: MUST send 100 before 101
            self.endpoint.send(ResponseHead(100, Headers()))
        if not await self._discard_content():
            self._draining = True
            self._send_whole(head, Response.text("content too large\n", 413))
            return await self._close(linger=True)
        try:
            self.endpoint.send(ResponseHead(answer.status, upgrade_fields(head, answer)))
        except Exception:  # LocalProtocolError, or a TypeError of what is no number
            logger.exception("%s %s: no upgrade here", head.method, head.target)
            self._send_whole(head, Response.text("internal server error\n", 500))
            return await self._close(linger=True)
        await self.endpoint.flush()
        self._status = answer.status
        self._observe()
        self._begin_answer(answer)
        try:
            await answer.handler(self.endpoint.hand_over())
        except APP_ENDS as error:
            if was_cancelled(error):
                raise
            logger.exception("%s %s: the upgraded connection failed", head.method, head.target)
            self.endpoint.abort()
        else:
            await self.endpoint.close()

    async def _say_farewell(self, error: RemoteProtocolError) -> None:
        """The last answer to a peer that broke the rules."""
        self._release()
        if self._core.response is BODY:
            self._log_fault(error, "breaks its response off")
            return await self._break_off()
        words = self._core.farewell(error)
        if words:
            self._log_fault(error, f"is answered {error.code}")
        self._sent = sum(len(event.data) for event in words if isinstance(event, Data))
        for event in words:
            if isinstance(event, ResponseHead):
                event.headers.append(date_field())
                self._status = event.status
        known = not self._ended  # if it has ended, only our close tells whether the client has got the answer
        if words and known:
            self._observe()
        try:
            await self._close(words, linger=True)
        finally:
            if words and not known:
                self._observe()

    def _log_fault(self, error: RemoteProtocolError, outcome: str) -> None:
        """Write the one line that tells an operator what was wrong with a request: a connection has one fault, and ends by it.
        A client that left in the middle of a request has broken no rule."""
        if error is self._known_fault or self.endpoint.ended:
            return
        request = f"{self._head.method} {self._head.target}" if self._head is not None else "-"
        logger.warning("the request %.200a from %s %s: %.200s", request, peer_name(self._pipe), outcome, error)

    async def _break_off(self) -> None:
        """End in the middle of a response. That it is broken its framing shows; where it has none, only a reset does."""
        if not self._ended and self._head is not None:
            self._observe()
        if self._core.framing == UntilClose():
            self.endpoint.abort()
        else:
            await self._close(linger=True)

    async def _close(self, words: Sequence[Event] = (), *, linger: bool) -> None:
        """Close the connection. Raises ConnectionError where the last answer did not reach a client that had ended its output.

        Whether such a client still reads, or has closed its socket, only its answer to our bytes can tell: it is a reset.
        """
        if self._ended and self._observers:
            for event in words:
                self.endpoint.send(event)
            words = ()
            await self.endpoint.flush()
            self._pipe.close_write()
            await asyncio.sleep(RESET_COMES)
            await self.endpoint.drain()
        self._pipe.watch(None)  # the end that comes now is our own
        error = self._core.error
        # Who was too slow (408) has had its time; who has broken another rule may be in the middle of an upload.
        sending = self._core.request is BODY or (error is not None and error.code != 408)
        await self.endpoint.close(words, linger=linger, sending=sending)

    def _observe(self) -> None:
        """The request in flight (or what could not be read as one) is answered, or its client is gone."""
        status = UNANSWERED if self.endpoint.lost else self._status
        for observer in self._observers:
            observer.finish(self._head, status, self._sent, self._pipe)
        self._head = None


def _without_chunks(response: Response) -> Headers:
    """A response's fields for a client of HTTP/1.0, which knows no chunks: where the app asks for some, content is the same,
    and ends with its length or with the connection (RFC 9112 §6.1)."""
    if (response.headers.get("transfer-encoding") or "").lower() != "chunked":
        return response.headers
    return Headers([field for field in response.headers if field[0] != "transfer-encoding"])


def upgrade_fields(head: RequestHead, answer: Upgrade) -> Headers:
    """The fields of an answer that gives the connection away, with the ``connection`` field that a 101 needs (RFC 9110 §7.8).

    Raises LocalProtocolError where a 101 names no protocol, or one that the client has not offered.
    """
    if answer.status != 101:
        return answer.headers
    chosen = answer.headers.get("upgrade") or ""
    if not chosen or not set(split_list(chosen)) <= set(split_list(head.headers.get("upgrade") or "")):
        raise LocalProtocolError(f"a 101 has an upgrade field with a protocol that the client offers, not {chosen!r}")
    if "upgrade" in split_list(answer.headers.get("connection") or ""):
        return answer.headers
    return Headers([*answer.headers, ("connection", "upgrade")])


def complete(headers: Sequence[tuple[str, str]], date: tuple[str, str], option: str) -> Headers:
    """A response's fields, with those that are the server's business: Date, and what becomes of the connection."""
    names, fields = dict(headers), Headers(headers)
    if "date" not in names:
        fields.append(date)
    said = split_list(names.get("connection", ""))
    if option and option not in said and (not said or option == "close"):
        fields.append(("connection", option))
    return fields


# An app says the same again and again. On the /hello benchmark: an eighth fewer instructions for a request.
@lru_cache(64, typed=True)
def whole_head(status: int, headers: tuple[tuple[str, str], ...], date: tuple[str, str], option: str) -> PreparedHead:
    """The head of a response whose content is there. Raises LocalProtocolError."""
    return PreparedHead(status, complete(headers, date, option))


class RequestRefused(ConnectionError):
    """The server has not processed the request, so it can be made again on another connection, whatever its method.

    In HTTP/1.1 nothing of it was sent, since the server had closed the idle connection. In HTTP/2 the same, or the server said
    that it did not process the request (RFC 9113 §8.7).
    """


class ClientExchange(Protocol):
    """What a response's content comes from."""

    async def receive_content(self, seconds: float | None) -> Event:
        """The next Data, or EndOfMessage. Raises TimeoutError after so many seconds without one; None: waits for any time."""

    def tunnel(self) -> Pipe | None:
        """What another protocol runs on, if the response has given the connection to one."""

    async def give_up(self) -> None:
        """Nothing more is wanted of the response."""


class ClientResponse:
    """A response: its head, and its content as it arrives."""

    def __init__(
        self, head: ResponseHead, connection: ClientExchange | None, body_timeout: float | None = Timeouts.body
    ) -> None:
        """``connection``: None where the head was all of the response."""
        self.body_timeout = body_timeout
        """Seconds to wait for the next piece of content, at first ``Timeouts.body``; None: without a limit. Set it before
        content is read that a server sends when it has something to tell, such as the messages of a gRPC call."""
        self.status = head.status
        self.headers = head.headers
        self.trailers = Headers()
        """Complete when the content was read to its end."""
        self.pipe = connection.tunnel() if connection is not None else None
        """After 101, or 2xx to CONNECT: what the other protocol runs on. There is no content."""
        self._connection = connection if self.pipe is None else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        event = await self._connection.receive_content(self.body_timeout)
        if isinstance(event, Data):
            return event.data
        assert isinstance(event, EndOfMessage)
        self.trailers = event.trailers
        self._connection = None
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """The whole content; the connection's limit bounds it."""
        return b"".join([piece async for piece in self])

    async def close(self) -> None:
        """Read no more of it: HTTP/2 resets the stream, HTTP/1.1 has to end the connection."""
        if self._connection is not None:
            await self._connection.give_up()
            self._connection = None

    aclose = close  # as of a generator: so a response can be the content of a server's response


class ClientConnection:
    """A client's connection: one request at a time, each response read to its end before the next request."""

    def __init__(self, pipe: Pipe, host: str, limits: Limits = Limits(), timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008
        if isinstance(pipe, str):
            refuse("pipe", "a connected pipe (connect_http(host, port) makes one)", pipe)
        self.host = host
        """Host and port, as the Host field has them, unless the target of a request has its own."""
        self._core = chosen(Connection)(Role.CLIENT, limits)
        self._upload: asyncio.Task[None] | None = None  # the last one that did not fit into the pipe at once
        self._stops_upload = False  # nobody wants it any more, so its cancellation is ours
        self._error: Exception | None = None  # why the connection is over: told to all who read on
        self._asking = asyncio.Lock()  # two requests at once must not both look whether the server is silent
        self.endpoint = Endpoint(self._core, pipe, timeouts)
        self._timeouts = timeouts
        self._patience = Patience(self.endpoint, None)
        self._length = 0  # bytes of the present response's content, so far

    async def request(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes | AsyncIterator[bytes] = b"",
    ) -> ClientResponse:
        """Send a request and wait for the head of its response, which may come before an upload is done; then, for up to
        ``Timeouts.idle`` seconds more. Interim responses (1xx) are passed over.

        Raises LocalProtocolError and TypeError for what can't be sent, what an iterator raises, RequestRefused where nothing
        was sent, since the server has closed the connection or has had its last request; ConnectionError where it closed
        without an answer; TimeoutError; RemoteProtocolError for an answer that is not HTTP. A request that was begun and
        fails closes the connection.
        """
        fields = request_fields(method, target, headers, body, self.host)
        if not isinstance(body, bytes) and {"content-length", "transfer-encoding"}.isdisjoint(dict(fields)):
            fields.append(("transfer-encoding", "chunked"))
        async with self._asking:
            await self._get_ready()
            self.endpoint.send(RequestHead(method, target, fields))
        self._start_upload(body)
        self._length = 0
        head = await self._receive_head()
        if not self._core.skip_empty_body():
            return ClientResponse(head, self, self._timeouts.body)
        await self._finish()  # of a 204 nobody has a reason to read the content, so its end must not wait for that
        return ClientResponse(head, None)

    async def _get_ready(self) -> None:
        """Wait until a request can be sent. Raises RequestRefused where none ever can be."""
        if self._core.response is DONE and self._upload is not None:
            await asyncio.wait([self._upload])  # the response came before the end of its request
        self._check_usable()
        if self._core.response is not IDLE:
            raise LocalProtocolError("read the response to its end first, and after a change of the protocol ask no more")
        await self._expect_silence()
        self._check_usable()  # the connection may have been closed meanwhile

    def _check_usable(self) -> None:
        if self._error is not None:
            raise RequestRefused(f"the connection is used up: {self._error!r}") from self._error

    async def _expect_silence(self) -> None:
        """RFC 9112 §9.2: what came unasked MUST NOT be taken for the answer to what is asked next. It is a server's last word,
        such as a 408, before it closes a connection that was idle for too long: no fault of the server's."""
        try:
            self._core.next_event()
            for _ in range(2):  # the first wait lets arrive what the kernel has, the second takes it
                with suppress(TimeoutError):
                    if not await self.endpoint.receive(0):
                        raise ConnectionResetError("its end has come")
                    self._core.next_event()
        except (ConnectionError, RemoteProtocolError) as error:
            said = self._core.trailing_data.partition(b"\r\n")[0][:100].decode("latin-1")
            reason = f"it said {said!a}" if said else str(error)
            refusal = RequestRefused(f"the server has closed the connection before this request: {reason}")
            self._end(refusal)
            raise refusal from error

    def _start_upload(self, body: bytes | AsyncIterator[bytes]) -> None:
        """Send content. What takes time is sent while the response is awaited, or read."""
        if isinstance(body, bytes):
            self.endpoint.send(Data(body))
            self.endpoint.send(EndOfMessage())
            sending = self.endpoint.flush() if self.endpoint.congested else None
        else:
            sending = self._send_content(body)
        if sending is not None:
            self._stops_upload = False
            self._upload = asyncio.create_task(sending)
            self._upload.add_done_callback(self._uploaded)
        self._patience = Patience(self.endpoint, self._upload)

    async def _send_content(self, body: AsyncIterator[bytes]) -> None:
        pieces = Pieces(body)
        try:
            async for piece in pieces:
                self.endpoint.send(Data(checked(piece)))
                if self.endpoint.congested:
                    await pieces.pause_for(self.endpoint.flush())
        except asyncio.CancelledError as error:
            if self._stops_upload:
                raise
            raise RuntimeError(CANCELLED_BY_APP) from error
        finally:
            await close_body(body)
        self.endpoint.send(EndOfMessage())

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        failure = None if upload.cancelled() else upload.exception()
        # Who reads goes on where the server broke it off: the reason may be in an answer that has arrived.
        if failure is not None and (self._core.response is DONE or not self.endpoint.lost):
            self._end(failure)

    async def _receive_head(self) -> ResponseHead:
        self._patience.begin(self._timeouts.idle, for_head=True)  # in all, or interim responses could go on for ever
        while True:
            event = await self._receive()
            if isinstance(event, ResponseHead) and (event.status >= 200 or event.status == 101):
                break
        if event.status >= 400:  # RFC 9112 §9.5: a client SHOULD cease to send content that the server does not want
            await self._stop_upload()
        return event

    async def receive_content(self, seconds: float | None) -> Event:
        """The next Data, or EndOfMessage."""
        self._patience.begin(math.inf if seconds is None else seconds)
        event = await self._receive()
        if isinstance(event, Data):
            self._length += len(event.data)
        if isinstance(event, EndOfMessage):
            await self._finish()
        return event

    async def _finish(self) -> None:
        """RFC 9112 §9.6: a client MUST close after the last response: also where its request can't be completed any more."""
        core = self._core
        if core.response is IDLE or (core.keep_alive and self._upload is not None and not self._upload.done()):
            return
        if core.response is DONE or self.endpoint.unsent:
            self.endpoint.abort()  # what is left of the request nobody wants
        await self.close()

    async def _receive(self) -> Event:
        try:
            while (event := self._next_event()) is None:
                try:
                    size = await self.endpoint.receive(self._patience.left())
                except TimeoutError:
                    if self._patience.left() <= 0:
                        raise self._patience.error() from None
                    continue
                except ConnectionError as error:
                    raise ConnectionResetError(f"{error}{unheard(self.endpoint)}") from error
                if not size and (self._core.response is HEAD or self.endpoint.lost):  # which is no fault of its HTTP
                    advice = unheard(self.endpoint)
                    raise self._error or ConnectionResetError(f"the server closed before it answered{advice}")
        except BaseException as error:
            failure = await self._stop_upload()
            if failure is not None and isinstance(error, ConnectionError):
                self._end(failure)
                raise failure from None  # that broke the connection
            self._end(error)
            raise
        return event

    def _next_event(self) -> Event | None:
        """Raises again what ended the connection: our own abort looks like the end of a body that goes until then."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            return self._core.next_event()
        except RemoteProtocolError as error:
            if left := self._core.content_left:
                came = f"Content-Length is {self._length + left}, and {self._length} bytes of content came"
                raise RemoteProtocolError(f"{error}: {came}", error.code) from None
            raise explained(error, self.endpoint, "HTTP/1") from None

    def _end(self, error: BaseException) -> None:
        """End the connection at once, unless it has ended."""
        if self._error is None:
            self._error = error if isinstance(error, Exception) else ConnectionResetError("the connection was given up")
            self.endpoint.abort()

    def tunnel(self) -> Pipe | None:
        """The pipe, with the bytes that came after the response, once it belongs to another protocol."""
        if self._core.response != SWITCHED:
            return None
        return self.endpoint.hand_over()

    async def give_up(self) -> None:
        """Nothing more is wanted of a response: in HTTP/1.1 that ends the connection."""
        await self._stop_upload()
        self._end(ConnectionResetError("the response was given up"))

    async def _stop_upload(self) -> BaseException | None:
        """End the upload, if there is one; what it failed with."""
        if self._upload is None:
            return None
        self._stops_upload = True
        self._upload.cancel()
        await asyncio.wait([self._upload])
        return None if self._upload.cancelled() else self._upload.exception()

    async def close(self) -> None:
        """Close the connection."""
        self._error = self._error or ConnectionResetError("the connection was closed")
        await self._stop_upload()
        await self.endpoint.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # a block that is cancelled, or fails, waits for no peer
            await self.give_up()
        await self.close()


def _check_request_line(method: str, target: str) -> None:
    """Name the method or the target that can't be sent. The cores check them as well, but can only say that one is wrong."""
    check_type("method", method, str)
    check_type("target", target, str)
    if not TOKEN.fullmatch(method):
        raise LocalProtocolError(f"a method is a token, such as GET, not {method!r}")
    if not _TARGET.fullmatch(target):
        raise LocalProtocolError(f"a target is a path, such as /a?b=c, with other characters percent-encoded, not {target!r}")
    try:
        check_target(method, target, LocalProtocolError)
    except LocalProtocolError as error:
        advice = "" if method == "CONNECT" else " (a target is a path, such as /a?b=c)"
        raise LocalProtocolError(f"{error}: {target!r}{advice}") from None


_TARGET = re.compile(f"[{TARGET}]+")


def request_fields(
    method: str, target: str, headers: HeaderFields, body: bytes | AsyncIterator[bytes], host: str
) -> Headers:
    """A request's fields, in any version: what the caller gave, and what it left to us. Raises TypeError where that or the
    content is of a wrong type, LocalProtocolError for a method or a target that can't be sent, or a length that is not the
    content's."""
    _check_request_line(method, target)
    check_content(body)
    fields = make_headers(headers)
    asked = fields.get("host")
    if asked is not None and not is_host(asked):
        raise LocalProtocolError(f"Host has to be one host, such as example.org:8080, not {asked!r}")
    if asked is None:  # RFC 9112 §3.2: MUST be the authority of the target, if that has one
        fields.insert(0, ("host", (target and split_target(method, target)[0]) or host))
    length = fields.get("content-length")
    if isinstance(body, bytes) and length not in (None, str(len(body))):
        raise LocalProtocolError(f"Content-Length is {length}, not the length of the content, which is {len(body)} bytes")
    # RFC 9110 §8.6: SHOULD be sent, even if it is 0, where the method gives content a meaning.
    if isinstance(body, bytes) and length is None and (body or method in ("POST", "PUT", "PATCH")):
        if fields.get("transfer-encoding") is None:
            fields.append(("content-length", str(len(body))))
    return fields


def explained(error: RemoteProtocolError, endpoint: Endpoint, ours: str) -> RemoteProtocolError:
    """Return the error; where it is about the server's very first bytes, with these, or with the protocol that they are of,
    if that is not ``ours``."""
    start = endpoint.core.trailing_data
    if not start or len(start) != endpoint.received:
        return error
    known = [what for what, looks in _PROTOCOLS.items() if looks.match(start) and not what.startswith(ours)]
    text = f"the server speaks {known[0]} ({error})" if known else f"{error}: the server said {start[:60]!a}"
    return RemoteProtocolError(text, error.code)


_PROTOCOLS = {
    "HTTP/1 on this port, not HTTP/2: use connect_http": re.compile(rb"HTTP/1\."),
    "HTTP/2 on this port, not HTTP/1.1: use connect_http2": re.compile(rb"..." rb"\x04." rb"\0\0\0\0", re.DOTALL),  # SETTINGS
    "TLS on this port: give the client a context (ssl=…)": re.compile(rb"[\x15\x16]\x03"),  # an alert, a handshake
}


def unheard(endpoint: Endpoint) -> str:
    """Return advice where a server has closed a connection in clear text without a word, as servers of TLS do."""
    silent = not endpoint.received and endpoint.pipe.info("ssl_object") is None
    return " (it said nothing at all: does it want TLS on this port, by ssl=…?)" if silent else ""


LOOK = 1.0
"""Seconds between two looks at whether the server takes what we send, or a quarter of the time that it has if that is less."""


class Patience:
    """How long a client waits for what a server says: so long since the server last took a byte of the request.

    On a slow link the server can't answer while our upload is under way, so what it takes of that is a sign of life.
    """

    __slots__ = ("_delivered", "_end", "_endpoint", "_for_head", "_looked", "_seconds", "_since", "_time", "_uploading")

    def __init__(self, endpoint: Endpoint, upload: asyncio.Task[None] | None) -> None:
        self._endpoint = endpoint
        self._time = asyncio.get_running_loop().time
        self._uploading = upload is not None and not upload.done()
        if upload is not None and self._uploading:
            upload.add_done_callback(self._uploaded)
        self._delivered = endpoint.delivered  # bytes that the server had at the last look
        self._end = endpoint.position  # so many it will have when it has the whole request
        self.begin(math.inf)

    def begin(self, seconds: float, *, for_head: bool = False) -> None:
        """A wait begins. The one for a head waits for the whole upload first, however long its content takes to be made."""
        self._seconds, self._for_head = seconds, for_head
        self._since = self._looked = self._time()

    def left(self) -> float:
        """Return the seconds until the next look, few while the request is under way; 0 or less: time is up."""
        now, delivered = self._time(), self._endpoint.delivered
        if self._uploading:
            self._end = self._endpoint.position
        if self._uploading and self._for_head:
            self._since = now
        elif self._delivered < self._end and delivered > self._delivered:
            self._since = max(self._since, self._looked)  # some time after that
        self._delivered, self._looked = delivered, now
        left = self._since + self._seconds - now
        return min(left, LOOK, self._seconds / 4) if self._uploading or delivered < self._end else left

    def error(self) -> TimeoutError:
        """Return what a user is told when time is up."""
        missing = "the head of the response" if self._for_head else "more of the response"
        return TimeoutError(f"the server has not sent {missing} within {self._seconds:g} s")

    def _uploaded(self, _: object) -> None:
        self._uploading, self._end = False, self._endpoint.position
        if self._for_head:
            self._since = self._time()


C = TypeVar("C", bound=AbstractAsyncContextManager[Any])


class Connecting(Coroutine[Any, Any, C]):
    """What the functions that connect return: a coroutine for the connection, which ``async with`` takes, too."""

    def __init__(self, connecting: Coroutine[Any, Any, C]) -> None:
        self._connecting = connecting

    def __await__(self) -> Generator[Any, Any, C]:
        return self._connecting.__await__()

    def send(self, value: Any) -> Any:
        return self._connecting.send(value)

    def throw(self, *error: Any) -> Any:
        return self._connecting.throw(*error)

    def close(self) -> None:
        self._connecting.close()

    async def __aenter__(self) -> C:
        self._connection = await self._connecting
        return self._connection

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await self._connection.__aexit__(kind, error, trace)


def connect_http(
    host: str,
    port: int,
    ssl: tls.SSLContext | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> Connecting[ClientConnection]:
    """A connection to an HTTP/1.1 server, within ``Timeouts.handshake`` seconds: ``async with connect_http(host, port) as
    client``, or ``client = await connect_http(host, port)``.

    Raises ValueError for a host that is none, such as a URL; OSError, TimeoutError; RemoteProtocolError where ``ssl`` offers
    HTTP/2, and the server has chosen that (RFC 9113 §3.2).
    """
    return Connecting(_connect_http(host, port, ssl, limits, timeouts))


async def _connect_http(
    host: str, port: int, ssl: tls.SSLContext | None, limits: Limits, timeouts: Timeouts
) -> ClientConnection:
    check_common(limits, Limits, timeouts, ssl)
    address = Address(host, port)
    pipe = await connect_pipe(address, ssl, handshake=timeouts.handshake, linger=timeouts.linger)
    if ssl is not None and pipe.info("ssl_object").selected_alpn_protocol() == "h2":
        pipe.abort()
        raise RemoteProtocolError("HTTP/2 was chosen, since the context offers it: use connect_http2, or another context")
    return ClientConnection(pipe, address.authority("https" if ssl else "http"), limits, timeouts)
