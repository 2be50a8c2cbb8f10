"""HTTP/2 on a pipe: a server that runs each request as a task of its own, and a client that shares one connection.

An app does not see which version carried its request. What differs is in here: requests run side by side, so each has a task,
which is cancelled when its stream is reset; a fault of a request resets a stream and not the connection; and a server that
stops says first that it will (GOAWAY, RFC 9113 §6.8), so that no request is lost between its decision and the client's.
"""

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import NoReturn, Self

from minproto.aio.address import Address
from minproto.aio.content import CANCELLED_BY_APP, Pieces, checked, clear_cancellation, close_body, was_cancelled
from minproto.aio.cores import chosen
from minproto.aio.endpoint import APP_ENDS, Timeouts, let_arrive, logger
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
    announced,
    call_app,
    date_field,
    log_failure_unseen,
    served_scheme,
    trailers_of,
)
from minproto.aio.http_client import (
    ClientResponse,
    Connecting,
    RequestRefused,
    advice_on_silence,
    request_fields,
    with_first_bytes,
)
from minproto.aio.multiplex import Multiplexer, MuxStream, end_tasks
from minproto.aio.observe import Observer
from minproto.aio.options import check_common
from minproto.aio.patience import ResponsePatience, UploadPace
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT, SERVER, Event, LocalProtocolError, RemoteProtocolError
from minproto.http import METHODS, Data, EndOfMessage, Headers, RequestHead, ResponseHead, split_list
from minproto.http2 import Connection, GoAway, Limits, Ping, Reset, Settings, StreamFault
from minproto.http2_fields import CONNECTION_SPECIFIC
from minproto.http2_frames import CANCEL, INTERNAL_ERROR, MAX_ID, NO_ERROR, REFUSED_STREAM, code_name

FAIR_SHARE = 32
"""Pieces of content that one response may send in a row before others get their turn."""
FIRST_LOOK, LAST_LOOK = 0.05, 12.8
"""Seconds between two looks whether a client that sends nothing more is still there. The gaps double from one to the other."""
MAX_WARNINGS = 10
"""Faults of one client that the log explains: a client could fill it."""
LARGE_HEAD = 8_192
"""Bytes of a request's fields that are sent at once. More wait for the server's settings, which say how many it takes: a head
beyond that ends the whole connection."""
_DRAINING = b"draining"  # the PING whose answer says that our first GOAWAY was read
_STILL_THERE = b"be here?"  # the PING that makes a client that is gone, which no longer knows the connection, reset it


class ServerConnection(Multiplexer):
    """Serves one client: requests side by side, until one side has enough."""

    def __init__(
        self,
        app: App,
        pipe: Pipe,
        limits: Limits,
        timeouts: Timeouts,
        methods: frozenset[str] = METHODS,
        observers: Sequence[Observer] = (),
        max_body: int = 1 << 30,
        trusted_gateway: bool = False,
    ) -> None:
        super().__init__(chosen(Connection)(SERVER, limits), pipe, timeouts)
        self.app = app
        self.methods = methods
        self.observers = observers
        self.max_body = max_body
        """Bytes of a request's content; beyond it 413."""
        self.scheme = served_scheme(pipe, trusted_gateway)
        self.exchanges: dict[int, _Exchange] = {}
        self.draining = False
        self._drained = False  # the client knows that we take no more
        self._over = False  # nothing is read any more
        self._warnings = 0
        self._reader: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError; anything else is a bug of ours."""
        self._reader = asyncio.current_task()
        try:
            await self._serve()
        except BaseException:
            self.endpoint.abort()
            self._end_streams()
            await end_tasks(self._tasks)
            raise

    async def _serve(self) -> None:
        last_words: list[Event] = []
        try:
            await self.read()
            if self.ended:
                await self._finish()
            if not self._drained:
                last_words = [GoAway(self.core.last_stream)]
        except RemoteProtocolError as error:
            last_words = self.core.farewell(error)
            if self.endpoint.received and not self.ended:  # a client that has gone has broken no rule
                logger.warning("we end the HTTP/2 connection: %s (%s)", code_name(error.code), error)
        except ConnectionError:
            self.endpoint.abort()
        self._end_streams()
        if not self.endpoint.lost:
            # An upload needs no ``sending``: windows bound it, and we give no more credit, so it stops by itself.
            await self.endpoint.close(last_words, linger=True)
        while tasks := self._tasks:
            await asyncio.wait(tasks)

    def _end_streams(self) -> None:
        """From now on nothing is sent; who serves a stream is told, or cancelled."""
        self._over = True
        self.lose(ConnectionResetError("the connection is over"))

    @property
    def is_cancelled(self) -> bool:
        """Whether the connection's own task was told to end: by the server, or by ``asyncio.run``, which ends all tasks."""
        return self._reader is not None and self._reader.cancelling() > 0

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [exchange.task for exchange in self.exchanges.values()]

    async def refuse(self) -> None:
        """Say that there are too many connections."""
        await self.endpoint.close([GoAway(0, NO_ERROR, b"too many connections")], linger=True)

    def abort(self) -> None:
        """End the connection at once, whatever its handlers do."""
        self.endpoint.abort()

    def drain(self) -> None:
        """Finish the requests that were made, and close. The client is told before any is turned away (§6.8)."""
        self.draining = True
        if self._drained or self._over:
            return
        for exchange in self.exchanges.values():
            exchange.drain()
        self.endpoint.send(GoAway(MAX_ID))
        self.endpoint.send(Ping(_DRAINING))
        asyncio.get_running_loop().call_later(self.timeouts.linger, self._stop_taking)

    def _stop_taking(self) -> None:
        """The client has seen the first GOAWAY, or had its time: from now on, no further requests."""
        if not self._drained and not self._over:
            self._drained = True
            self.endpoint.send(GoAway(self.core.last_stream))
            self.endpoint.interrupt()

    def is_done(self) -> bool:
        return (self._drained and not self.streams) or self.is_idle

    async def _finish(self) -> None:
        """The client sends nothing more, but may wait for what it has asked (it has half-closed). Or it is gone, and its end
        looked the same: then it does not know of what we send. Raises ConnectionError when that has turned out."""
        for exchange in self.exchanges.values():
            exchange.leave()
        gap = FIRST_LOOK
        while tasks := self._tasks:
            self.endpoint.send(Ping(_STILL_THERE))
            await self.endpoint.flush()
            await self.endpoint.drain()  # asks the socket whether the last PING has brought a reset
            await asyncio.wait(tasks, timeout=gap)
            gap = min(2 * gap, LAST_LOOK)

    def on_event(self, event: Event) -> None:
        if type(event) is RequestHead:
            self._begin(event)
        elif type(event) is Ping and event.ack and event.data == _DRAINING:
            self._stop_taking()
        elif type(event) is StreamFault:
            self._on_fault(event)
        elif type(event) is GoAway and event.code != NO_ERROR:
            self._warn("the HTTP/2 client goes away: %s", goaway_text(event))

    def _begin(self, head: RequestHead, error: RemoteProtocolError | None = None) -> None:
        """Serve a request; or, where that is ``error``, say so without asking the app."""
        if len(self.exchanges) >= 2 * self.core.limits.max_streams:  # they were reset, and take their time to end
            self._turn_away(head, 503)
            return self.answer(Reset(head.stream, REFUSED_STREAM))
        exchange = _Exchange(self, head, error)
        self.streams[head.stream] = exchange.stream
        self.exchanges[head.stream] = exchange
        exchange.task = asyncio.create_task(exchange.run())

    def _on_fault(self, fault: StreamFault) -> None:
        """A request that is malformed, refused, or more than a limit allows: its head, or what came behind it."""
        exchange = self.exchanges.get(fault.stream)
        head = fault.head if exchange is None else exchange._head
        answered = exchange is not None and exchange.delivered
        if fault.code != REFUSED_STREAM and head is not None and not answered:
            request, code = f"{head.method} {head.target}", fault.status or code_name(fault.code)
            self._warn("the request %.200a is answered %s: %s", request, code, fault.reason)
        if fault.status and exchange is not None:
            exchange.stream.receive(fault)
        elif fault.status and head is not None:
            self._begin(head, RemoteProtocolError(fault.reason, fault.status))
        elif fault.head is not None:
            self._turn_away(fault.head, 503 if fault.code == REFUSED_STREAM else 400)

    def _warn(self, text: str, *values: object) -> None:
        self._warnings += 1
        if self._warnings <= MAX_WARNINGS:
            logger.warning(text, *values)

    def _turn_away(self, head: RequestHead, status: int) -> None:
        """A request is reset, and no response is sent; the status is what the log says of that."""
        for observer in self.observers:
            observer.begin()
        self._observe(head, status)

    def _observe(self, head: RequestHead | None, status: int, sent: int = 0) -> None:
        for observer in self.observers:
            observer.finish(head, status, sent, self.endpoint.pipe)

    def end(self, exchange: "_Exchange", head: RequestHead, status: int) -> None:
        """A request is answered, or its stream was reset."""
        self._observe(head, status, exchange.stream.sent)
        exchange.stream.fail(ConnectionResetError("the exchange is over"))  # for a task that still reads
        del self.exchanges[exchange.stream.id]
        self.forget(exchange.stream)
        if self._drained and not self.streams:
            self.endpoint.interrupt()


class _Exchange:
    """One request and its answer."""

    task: asyncio.Task[None]

    def __init__(self, connection: ServerConnection, head: RequestHead, error: RemoteProtocolError | None) -> None:
        self._connection = connection
        self._head = head
        self.stream = MuxStream(connection, head.stream)
        self._answer: Answer | None = None
        self._request: Request | None = None  # while the app is at work on it
        self._first = b""  # the piece of the content that was made before the head
        self._status = UNANSWERED
        self._answered = False  # the app has answered a faulty request in its own way
        self.delivered = False  # the client has got the whole answer, as far as we can know
        self._error = error  # what is wrong with the request
        self._expects_continue = "100-continue" in split_list(head.headers.get("expect") or "")
        self._pace = UploadPace(connection.timeouts.min_body_rate)

    def drain(self) -> None:
        if self._answer is not None:
            self._answer.drain()

    async def run(self) -> None:
        connection = self._connection
        for observer in connection.observers:
            observer.begin()
        task = asyncio.current_task()
        assert task is not None
        # Not before: a task that is cancelled before it has begun never does. An eager one begins before it is known.
        eager, self.task = not hasattr(self, "task"), task
        self.stream.watch(self._on_leaving)
        try:
            if eager:  # a reset that came together with the head counts before the app is called
                await asyncio.sleep(0)
            if self.stream.failure is None:
                await self._serve()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # one that an app has made itself, too: else its client would wait for ever
            if self._was_ended_by_us(error):
                self._status = self._status if self.delivered else UNANSWERED
                self.stream.reset(CANCEL)
                raise
            self._break_off(error)
        finally:
            self.stream.watch(None)
            self._release()
            connection.end(self, self._head, self._status)

    def leave(self) -> None:
        """The client has left, or it may have: it sends nothing more."""
        if self._request is not None:
            self._request.leave()

    def _on_leaving(self, _: bool) -> None:
        """The stream's news. Its end is that of the request alone; where it is lost, nobody gets the answer."""
        request = self._request
        if request is None or not isinstance(self.stream.failure, ConnectionError):  # any other failure is our own
            return
        request.leave()
        if request.cancellable:
            self._release()
            self.task.cancel()

    def _release(self) -> None:
        """The app's work on the request is over."""
        request, self._request = self._request, None
        if request is not None:
            request.close()

    def _was_ended_by_us(self, error: BaseException) -> bool:
        """Return whether the server has cancelled this task. A handler can do that, too, to its own task: then it has failed,
        which belongs in the log like any other failure of an app."""
        return was_cancelled(error) and (self.stream.failure is not None or self._connection.is_cancelled)

    def _break_off(self, error: BaseException) -> None:
        """The answer can't be completed. If that is not the client's doing, it belongs in the log."""
        lost = isinstance(self.stream.failure, ConnectionError) or self._connection.endpoint.lost
        if lost and not self.delivered:
            self._status = UNANSWERED
        if lost:
            log_failure_unseen(self._head, error)
        elif self._error is None or self._answered:
            logger.exception("%s %s: the response broke off", self._head.method, self._head.target)
        self.stream.reset(INTERNAL_ERROR)

    async def _serve(self) -> None:
        connection = self._connection
        request = Request(self._head, self, connection.endpoint.pipe, body_timeout=connection.timeouts.body)
        self._request = request
        if connection.ended:
            request.leave()
        answer = await self._call(request)
        if isinstance(answer, Upgrade):
            return await self._hand_over(answer)
        await self._respond(answer)
        await self.stream.finish()
        if connection.ended and connection.observers:  # only its reset tells that a client that has ended TCP is gone
            await connection.endpoint.flush()
            await asyncio.sleep(RESET_COMES)
            await connection.endpoint.drain()
        self.delivered = True
        self._release()
        await self.stream.close()

    async def _call(self, request: Request) -> Answer:
        """The app's answer; 500 if it has none."""
        head = self._head
        try:
            if self._error is not None:
                raise self._error
            if head.method not in self._connection.methods:
                return Response.text("method not implemented\n", 501)
            self._check_length(announced(head.headers))
            connection = self._connection
            answer, self._first = await call_app(connection.app, request, connection.methods, connection.scheme)
            self._answered = self._error is not None
            return answer
        except APP_ENDS as error:
            if self.stream.failure is not None or self._was_ended_by_us(error):
                raise  # the peer's doing, or ours, not the app's
            clear_cancellation()
            if self._error is not None:  # whatever the app has made of it
                return Response.text(f"{self._error}\n", self._error.code)
            logger.exception("%s %s failed", head.method, head.target)
            return Response.text("internal server error\n", 500)

    # -- the request's content

    async def receive_content(self) -> Data | EndOfMessage:
        """The next piece of the body, for the app. The first wait for it is what 100 (Continue) means."""
        if self._error is not None:
            raise self._error
        event = await self._next_event()
        if isinstance(event, Data):
            self._pace.received += len(event.data)
            self._check_length(self._pace.received)
        return event

    async def _next_event(self) -> Data | EndOfMessage:
        """Wait for more of a body, as long as it keeps to the minimum rate on average."""
        if not self.stream.arrived and self._status == UNANSWERED:
            self._send_continue()
        while (event := await self._event_within(self._body_timeout())) is None:
            """The limit has changed while we waited: the response has begun, say."""
        if isinstance(event, StreamFault):
            self.fail(RemoteProtocolError(event.reason, event.status))
        assert isinstance(event, Data | EndOfMessage)
        return event

    async def _event_within(self, seconds: float | None) -> Event | None:
        """The stream's next event. None where another limit has to be looked at; raises RemoteProtocolError (408)."""
        try:
            with self._pace.waiting(seconds) as patience:
                async with asyncio.timeout(patience):
                    return await self.stream.next_event()
        except TimeoutError:
            await let_arrive()
        if self._body_timeout() != seconds or self.stream.arrived:
            return None
        self._pace.log(self._head)
        self.fail(RemoteProtocolError("the request's body took too long", 408))

    def _body_timeout(self) -> float | None:
        """Seconds to wait for more of a body; None where that is the app's business, as in HTTP/1.1."""
        request = self._request
        return request.body_timeout if request is not None and self._status == UNANSWERED else None

    def _send_continue(self) -> None:
        """Tell a client that waits for it to send its content (RFC 9110 §10.1.1)."""
        if self._expects_continue:
            self._expects_continue = False
            self.stream.send(ResponseHead(100, Headers(), "2", self.stream.id))

    async def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response."""
        await self._connection.room()
        if self._status != UNANSWERED:
            raise LocalProtocolError(LATE)
        self.stream.send(ResponseHead(status, headers, "2", self.stream.id))
        if status == 100:
            self._expects_continue = False

    def _check_length(self, size: int) -> None:
        if size > self._connection.max_body:
            self.fail(RemoteProtocolError("content too large", 413))

    def fail(self, error: RemoteProtocolError) -> NoReturn:
        self._error = error
        raise error

    # -- its answer

    async def _respond(self, response: Response) -> None:
        """Send a response."""
        await self._connection.room()
        try:
            self._send_head(response)
        except Exception:  # LocalProtocolError, or a TypeError of what is no number, or can't be hashed
            await close_body(response.body)
            if self.stream.failure is not None:
                raise
            logger.exception("%s %s: the response can't be sent", self._head.method, self._head.target)
            response = Response.text("internal server error\n", 500)
            self._send_head(response)
        self._status = response.status
        if isinstance(response.body, bytes):
            if self._head.method != "HEAD":
                self.stream.write(response.body)
            return self.stream.close_write()
        await self._send_content(response, response.body)

    def _send_head(self, response: Response) -> None:
        headers = Headers([field for field in response.headers if field[0] not in CONNECTION_SPECIFIC])  # §8.2.2
        names = [name for name, _ in headers]
        if "content-length" in names or response.status in (204, 304):
            _check_content(self._head, response)
        elif isinstance(response.body, bytes):
            headers.append(("content-length", str(len(response.body))))
        if "date" not in names:
            headers.append(date_field())
        if response.early_head:  # the client would hold its content back for ever
            self._send_continue()
        self.stream.send(ResponseHead(response.status, headers, "2", self.stream.id))

    async def _send_content(self, response: Response, body: AsyncIterator[bytes]) -> None:
        """Send content as it is made."""
        self._begin_answer(response)
        steps = 0
        try:
            if self._head.method != "HEAD":
                pieces = Pieces(body, self._first)
                async for piece in pieces:
                    self.stream.write(checked(piece))
                    steps += 1
                    if self.stream.congested or steps % FAIR_SHARE == 0:
                        await pieces.pause_for(self.stream.drain())
            await self._connection.room()
            # As in HTTP/1.1, what has a declared length has no trailers.
            possible = response.headers.get("content-length") is None
            self.stream.end(trailers_of(response, self._head, possible=possible))
        finally:
            self._release()  # from now on no loss of the client cancels anything: it would hit the clean-up
            await close_body(body)

    def _begin_answer(self, answer: Answer) -> None:
        """From now on, a drain is the answer's business."""
        self._answer = answer
        if self._connection.draining:
            answer.drain()

    async def _hand_over(self, answer: Upgrade) -> None:
        """Give the stream to another protocol (§8.5, RFC 8441 §5)."""
        try:
            if self._head.method != "CONNECT":  # §8.6: there is no other upgrade in HTTP/2
                raise LocalProtocolError("only CONNECT can be upgraded")
            await self._connection.room()
            self.stream.send(ResponseHead(answer.status, answer.headers, "2", self.stream.id))
        except LocalProtocolError:
            logger.exception("%s %s: no upgrade here", self._head.method, self._head.target)
            return await self._respond(Response.text("internal server error\n", 500))
        self._status, self.delivered = answer.status, True
        self._begin_answer(answer)
        self._release()
        self.stream.watch(None)  # a reset is what the other protocol sees for itself, as on a connection of its own
        await answer.handler(self.stream)
        await self.stream.close()


def goaway_text(event: GoAway) -> str:
    """Return what a GOAWAY says in words, such as ENHANCE_YOUR_CALM (too_many_pings)."""
    debug = event.debug[:200].decode("latin-1")
    return code_name(event.code) + (f" ({debug!a})" if debug else "")


def _check_content(head: RequestHead, response: Response) -> None:
    """Find content that is not as long as its head says while another head can still be sent. Raises LocalProtocolError."""
    if response.status in (204, 304):
        if response.body:
            raise LocalProtocolError(f"a {response.status} has no content")
    elif isinstance(response.body, bytes) and head.method != "HEAD":
        length, size = response.headers.get("content-length", ""), len(response.body)
        if length != str(size):
            raise LocalProtocolError(f"Content-Length is {length}, not the length of the content, which is {size} bytes")


# ---- the client's side -------------------------------------------------------------------------------------------------


class ClientConnection(Multiplexer):
    """A client's connection: requests side by side, from any number of tasks."""

    refusal = RequestRefused

    def __init__(self, pipe: Pipe, host: str, scheme: str, limits: Limits = Limits(), timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008
        super().__init__(chosen(Connection)(CLIENT, limits, scheme), pipe, timeouts)
        self.host = host
        """Host and port, as :authority has them."""
        self._closing = False
        self._error: Exception | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()  # one for each request that waits for a stream,
        self._admitted = 0  # and how many of them may open one, and have not done so yet
        self._settled = asyncio.Event()  # the server has said what it takes, or never will
        self._reader = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Read until the connection is over, and tell everybody who waits why it is."""
        error: Exception = ConnectionResetError("the connection was closed")
        last_words: list[Event] = [GoAway(0)]
        try:
            await self.read()
            error = self._loss("the server closed the connection" if self.ended else "the connection was closed")
        except RemoteProtocolError as fault:
            error = with_first_bytes(fault, self.endpoint, "HTTP/2")
            last_words = self.core.farewell(fault)
            if self.ended:  # a server that is gone has broken no rule
                error = self._loss(str(error))
        except ConnectionError as loss:
            error = self._loss(str(loss))
        finally:
            self._error = RequestRefused(f"the connection is over: {error}")
            uploads = [stream.task for stream in self.streams.values()]
            self.lose(error)
            self._settled.set()
            self._admit()
            await end_tasks([self._writer, *uploads])
        if not self.endpoint.lost:
            await self.endpoint.close(last_words)

    def _loss(self, reason: str) -> ConnectionError:
        said = self.core.going_away
        advice = advice_on_silence(self.endpoint)
        return ConnectionResetError(f"{reason}, after GOAWAY {goaway_text(said)}" if said else reason + advice)

    def is_done(self) -> bool:
        return self._closing or self.is_idle or (self.core.going_away is not None and not self.streams)

    def on_event(self, event: Event) -> None:
        if isinstance(event, ResponseHead) and (stream := self.streams.get(event.stream)):
            stream.receive(event)
        elif isinstance(event, GoAway):
            for stream in list(self.streams.values()):
                if stream.id > event.last:  # §6.8: they were not, and will not be, looked at
                    stream.fail(_unprocessed(event, stream.id))
        elif isinstance(event, Settings):
            self._settled.set()
        if self._waiting:
            self._admit()

    async def request(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes | AsyncIterator[bytes] = b"",
    ) -> ClientResponse:
        """Send a request, when the server allows one more at once, and wait for the head of its response, which may come
        before an upload is done; then, for up to ``Timeouts.idle`` seconds more.

        Raises LocalProtocolError and TypeError for what can't be sent, what an iterator raises, RequestRefused where it can
        be made again, ConnectionError where nobody knows or the response is malformed, RemoteProtocolError where the bytes
        are not HTTP/2, TimeoutError.
        """
        fields = request_fields(method, target, headers, body, self.host)
        if sum(len(name) + len(value) for name, value in fields) > LARGE_HEAD:
            await self._settled.wait()
        await self._get_ready()
        head = RequestHead(method, target, fields, "2", self.core.next_stream)
        try:
            if head.stream > MAX_ID:  # §5.1.1: ids are used once
                raise RequestRefused("the connection has had all the requests that it can have")
            self.endpoint.send(head)
        except BaseException:
            self._admit()
            raise
        stream = self.streams[head.stream] = MuxStream(self, head.stream)
        exchange = _ClientExchange(self, stream)
        try:
            if method != "CONNECT":  # which leaves the stream to whoever uses the tunnel
                exchange.upload(body)
            return ClientResponse(await exchange.receive_head(method), exchange, self.timeouts.body)
        except BaseException:
            await exchange.give_up()
            raise

    async def _get_ready(self) -> None:
        """Wait until a request can be sent. Raises RequestRefused where none ever can be."""
        if not self.streams:  # the end of a connection that was idle may have arrived, and is no answer to a request
            await let_arrive()
        while self._error is None and self.core.going_away is None:
            if self._room <= 0:
                await self._wait_for_stream()
            elif self.endpoint.unsent > HIGH_WATER:
                await self.room()
            else:
                return
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self.core.going_away is not None
        raise RequestRefused(f"the server goes away: GOAWAY {goaway_text(self.core.going_away)}")

    async def _wait_for_stream(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        except BaseException:
            with suppress(ValueError):  # _admit has taken it out: the room was for us
                self._waiting.remove(waiting)
            self._leave(waiting)
            self._admit()
            raise
        self._leave(waiting)

    def _leave(self, waiting: "asyncio.Future[None]") -> None:
        if not waiting.cancelled():
            self._admitted -= 1

    @property
    def _room(self) -> int:
        """Streams that may be opened now: one, as long as we don't know better, so that none is refused."""
        return (self.core.max_active if self.core.settings_received else 1) - self.core.active - self._admitted

    def _admit(self) -> None:
        """Wake who waits for a stream: as many as there is room for, or all if there will be none."""
        over = self._error is not None or self.core.going_away is not None
        room = len(self._waiting) if over else self._room
        while self._waiting and room > 0:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._admitted += 1
                room -= 1

    def settle(self, stream: MuxStream) -> None:
        """Let go of a stream that is over for both sides. What has come on it is held by the response alone, so a response
        that nobody reads, such as a 204, is gone when the caller drops it."""
        if not self.core.is_open(stream.id) and (stream.task is None or stream.task.done()):
            self.release(stream)

    def release(self, stream: MuxStream) -> None:
        """An exchange, or a tunnel, is over: there is room for another."""
        if stream.id in self.streams:
            stream.reset(CANCEL)
            self.forget(stream)
            self._admit()
            if self.is_done():
                self.endpoint.interrupt()

    async def close(self) -> None:
        """Close the connection; requests under way are given up."""
        self._closing = True
        self.endpoint.interrupt()
        await asyncio.wait([self._reader])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # a block that is cancelled, or fails, waits for no peer
            self.endpoint.abort()
        await self.close()


def _unprocessed(event: GoAway, stream: int) -> ConnectionError:
    """Return the error of a request that the server has not looked at (RFC 9113 §6.8). It may be made again, unless it was the
    first of its connection and the GOAWAY names a fault: then that request is the fault, or the server finds one in every
    connection of ours, and a user that repeats what was refused would do so for ever."""
    text = f"GOAWAY {goaway_text(event)}"
    if stream == 1 and event.code != NO_ERROR:
        return ConnectionResetError(f"the server ended the connection at its first request: {text}")
    return RequestRefused(f"the server goes away: {text}")


class _ClientExchange:
    """One request of a client, from its upload to the end of its response."""

    def __init__(self, connection: ClientConnection, stream: MuxStream) -> None:
        self._connection = connection
        self._stream = stream
        self._tunnel = False
        self._patience = ResponsePatience(connection.endpoint, None)

    def upload(self, body: bytes | AsyncIterator[bytes]) -> None:
        """Send content. What takes time is sent while the response is awaited, or read."""
        if isinstance(body, bytes):
            self._stream.write(body)
            self._stream.close_write()
        if not isinstance(body, bytes) or self._stream.unsent:
            self._stream.task = asyncio.create_task(self._send_content(body))
            self._stream.task.add_done_callback(lambda _: self._connection.settle(self._stream))
        self._patience = ResponsePatience(self._connection.endpoint, self._stream.task)

    async def _send_content(self, body: bytes | AsyncIterator[bytes]) -> None:
        try:
            if isinstance(body, bytes):
                return await self._stream.finish()
            pieces = Pieces(body)
            async for piece in pieces:
                self._stream.write(checked(piece))
                await pieces.pause_for(self._stream.drain())
            self._stream.close_write()
        except asyncio.CancelledError:
            if self._stream.failure is not None:  # we have given the upload up
                raise
            self._fail_upload(RuntimeError(CANCELLED_BY_APP))
        except Exception as error:
            self._fail_upload(error)
        finally:
            await close_body(body)

    def _fail_upload(self, error: Exception) -> None:
        """The rest of the content does not come. Whoever waits for the response is told why."""
        self._stream.reset(CANCEL)
        self._stream.fail(error)

    async def receive_head(self, method: str) -> ResponseHead:
        self._patience.begin(self._connection.timeouts.idle, for_head=True)
        while True:
            event = await self._next_event()
            if isinstance(event, ResponseHead) and event.status >= 200:
                self._tunnel = method == "CONNECT" and event.status < 300
                return event

    async def _next_event(self) -> Event:
        """Wait for something to come, as long as patience lasts. Raises TimeoutError."""
        while True:
            try:
                left = self._patience.left()
                async with asyncio.timeout(None if left == math.inf else left) as limit:
                    return await self._stream.next_event()
            except TimeoutError:
                if not limit.expired():  # it is the failure of an upload, whose generator has a timeout of its own
                    raise
                await let_arrive()
                if self._patience.left() <= 0 and not self._stream.arrived:
                    raise self._patience.error() from None

    async def receive_content(self, seconds: float | None) -> Event:
        """The next Data, or EndOfMessage."""
        try:
            self._patience.begin(math.inf if seconds is None else seconds)
            event = await self._next_event()
        except BaseException:
            await self.give_up()
            raise
        if isinstance(event, EndOfMessage):
            await self.give_up()
        return event

    def tunnel(self) -> Pipe | None:
        """The stream, once it belongs to another protocol."""
        return self._stream if self._tunnel else None

    async def give_up(self) -> None:
        """Nothing more is wanted of the response."""
        self._stream.abort()
        await end_tasks([self._stream.task])


def connect_http2(
    host: str,
    port: int,
    ssl: tls.SSLContext | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> Connecting[ClientConnection]:
    """A connection to an HTTP/2 server, within ``Timeouts.handshake`` seconds; in clear text with prior knowledge (§3.3):
    ``async with connect_http2(host, port) as client``, or ``client = await connect_http2(host, port)``.

    ``ssl``: a context that offers it, by ``set_alpn_protocols(["h2"])``: the caller's, so it is left as it is.
    Raises ValueError for a host that is none, such as a URL; OSError, TimeoutError; RemoteProtocolError where TLS did not
    choose HTTP/2 (§3.2).
    """
    return Connecting(_connect_http2(host, port, ssl, limits, timeouts))


async def _connect_http2(
    host: str, port: int, ssl: tls.SSLContext | None, limits: Limits, timeouts: Timeouts
) -> ClientConnection:
    check_common(limits, Limits, timeouts, ssl)
    address, scheme = Address(host, port), "https" if ssl else "http"
    pipe = await connect_pipe(address, ssl, handshake=timeouts.handshake, linger=timeouts.linger)
    chosen = pipe.info("ssl_object").selected_alpn_protocol() if ssl is not None else "h2"
    if chosen != "h2":
        pipe.abort()
        advice = 'give a context with set_alpn_protocols(["h2"]), or use connect_http if the server has no HTTP/2'
        raise RemoteProtocolError(f"HTTP/2 was not chosen, but {chosen or 'no protocol'}: {advice}")
    return ClientConnection(pipe, address.authority(scheme), scheme, limits, timeouts)
