"""An HTTP/2 server on a pipe: each request runs in a task of its own.

An app does not see which version of HTTP carried its request. HTTP/1.1 answers a connection's requests one after the
other, in one task. In HTTP/2 they run side by side: ``multiplex.py`` reads and writes for all of them, and this file runs one
``Exchange`` for each stream.

    the reader task                      the exchange's task                                   the app
         |                                      |                                                |
         |--- RequestHead: a new task --------> |                                                |
         |                                      |--- call_app ---------------------------------> |
         |--- Data, EndOfMessage: the stream -> | <-------------------- request.read, .body -----|
         |                                      | <-------------------- Response ----------------|
         |                                      |--- ResponseHead, Data, EndOfMessage            |
         |--- Reset: cancel the task ---------> |                                                |
         |                                      |--- ``end``: the log line, the stream is removed

Wherever possible, a fault ends one request, and the other requests go on:

    what happens                                          what the client gets                    what the log gets
    ----------------------------------------------------  --------------------------------------  ------------------------
    a malformed head or content: two ``:path`` fields     RST_STREAM, PROTOCOL_ERROR              400 and a warning
    a head or content beyond a limit                      a response: 414, 431 or 413             that status
    content that comes too slowly                         a response: 408                         408 and a warning
    more requests at once than ``max_streams``            RST_STREAM, REFUSED_STREAM              503
    the app raises before its response has begun          a response: 500                         500 and the traceback
    the app raises later                                  RST_STREAM, INTERNAL_ERROR              the traceback
    the client resets the stream, or is lost              nothing; the app's task is cancelled    499
    the app calls ``Request.abort``                       RST_STREAM, CANCEL; as if it had left   499
    a fault of the connection: a wrong frame, say         GOAWAY with the reason                  a warning

**Whose cancellation?** A task that ends by CancelledError is silent in asyncio. When the client has left, that is right. But
an app that cancels its own task has failed: the client gets a 500, and the log a traceback. The method
``_was_cancelled_by_us`` tells the two cases apart.

**Draining** needs two GOAWAY frames (RFC 9113 §6.8). A server that is stopping must not refuse a request that the client sent
before it could know of the stop. So the first GOAWAY announces the stop, and still allows every stream. A PING follows it.
When the PING comes back, the client has read the GOAWAY, and all its earlier requests have arrived:

    server                                                                   client
       |--- GOAWAY, last stream 2^31-1: "make no more requests" ---------------> |
       |--- PING "draining" ---------------------------------------------------> |
       | <------------------------------------------------ HEADERS, stream 7 ----|  sent before it knew: it is served
       | <------------------------------------------------ PING "draining", ACK -|
       |--- GOAWAY, last stream 7: "everything above 7 was not looked at" -----> |
       |--- the answer of stream 7, then the end of the connection ------------> |

If the client does not answer the PING, the second GOAWAY is sent after ``Timeouts.linger`` seconds. Here is a drain as a
trace. The handler of ``/slow`` takes 5 seconds, and the server is told to stop after 1 second:

    >>> from minproto.core import CLIENT
    >>> from minproto.testing import clock, network
    >>> async def app(request):
    ...     await asyncio.sleep(5 if request.path == "/slow" else 0)
    ...     return Response.text(request.path)
    >>> async def trace():
    ...     pipe, client_pipe = network.pair()
    ...     server = ServerConnection(app, pipe, Limits(), Timeouts())
    ...     serving = asyncio.create_task(server.run())
    ...     client = Connection(CLIENT, scheme="http")
    ...     client_pipe.write(client.send(client.greeting()))
    ...     client_pipe.write(client.send(RequestHead("GET", "/slow", Headers([("host", "a")]), "2", stream=1)))
    ...     await asyncio.sleep(1)
    ...     server.drain()
    ...     client_pipe.write(client.send(RequestHead("GET", "/late", Headers([("host", "a")]), "2", stream=3)))
    ...     while data := await client_pipe.read():
    ...         client.receive_data(data)
    ...         for event in client.events():
    ...             if isinstance(event, GoAway | Ping | Data):
    ...                 print(asyncio.get_running_loop().time(), event)
    ...             if (reply := client.reply(event)) is not None:
    ...                 client_pipe.write(client.send(reply))
    ...     await serving
    >>> clock.run(trace())
    1.0 GoAway(last=2147483647, code=0, debug=b'')
    1.0 Ping(data=b'draining', ack=False)
    1.0 Data(data=b'/late', stream=3)
    1.0 GoAway(last=3, code=0, debug=b'')
    5.0 Data(data=b'/slow', stream=1)

**A client that ends its output** (a half-closed connection) may still read, so its requests are answered. Or the client is
gone: over TCP both cases look the same. Only a reset tells them apart, and a reset comes in answer to bytes that we send. So
the server sends a PING now and then while handlers are at work for such a client.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NoReturn

from minproto.aio.content import Pieces, checked, clear_cancellation, close_body, meet_cancellation, was_cancelled
from minproto.aio.cores import chosen
from minproto.aio.http import (
    LATE,
    RESET_COMES,
    UNANSWERED,
    Answer,
    App,
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
from minproto.aio.loop import let_arrive
from minproto.aio.multiplex import Http2Stream, Multiplexer, end_tasks, goaway_text
from minproto.aio.observe import APP_ENDS, Observer, logger, peer_name
from minproto.aio.options import Timeouts
from minproto.aio.patience import UploadPace
from minproto.aio.pipe import Pipe
from minproto.core import SERVER, Event, LocalProtocolError, RemoteProtocolError
from minproto.http import METHODS, Data, EndOfMessage, Headers, RequestHead, ResponseHead, split_list
from minproto.http2 import Connection, GoAway, Limits, Ping, Reset, StreamFault
from minproto.http2_fields import CONNECTION_SPECIFIC
from minproto.http2_frames import CANCEL, INTERNAL_ERROR, MAX_ID, NO_ERROR, REFUSED_STREAM, code_name

FAIR_SHARE = 32
"""How many pieces of content one response may send before the others get a turn, if nothing else makes it wait."""
FIRST_LOOK, LAST_LOOK = 0.05, 12.8
"""Seconds between two checks whether a client that has ended its output is still there. The time doubles after each check,
from the first value to the last: a client that is gone is usually noticed at once, and a long poll costs few PINGs."""
MAX_WARNINGS = 10
"""How many faults of one client are logged. Without a bound a client could fill the log."""
_DRAINING = b"draining"  # the PING after the first GOAWAY
_STILL_THERE = b"be here?"  # if the client is gone, its machine answers this PING with a reset


class ServerConnection(Multiplexer):
    """Serves one client: its requests side by side, until the client or the server ends the connection."""

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
        """Serve ``app`` on ``pipe``, once ``run`` is called.

        ``methods``: the methods that the server knows; a request with another method is answered with 501 (Not Implemented).
        ``observers`` are told of each request, for the log and the metrics. ``max_body``: the maximum number of bytes of a
        request's content; more is answered with 413 (Content Too Large). ``trusted_gateway``: a proxy in front of us has
        checked the scheme of the requests, so we do not compare it with our own scheme, which is "http" behind the proxy.
        """
        super().__init__(chosen(Connection)(SERVER, limits), pipe, timeouts)
        self.app = app
        self.methods = methods
        self.observers = observers
        self.max_body = max_body
        self.scheme = served_scheme(pipe, trusted_gateway)
        self.exchanges: dict[int, Exchange] = {}
        """The requests that are being served, by stream."""
        self.draining = False
        """Whether the server is stopping: the first GOAWAY has been sent."""
        self._takes_no_more = False  # the second GOAWAY is sent: we process no stream above its number
        self._is_over = False  # we have stopped reading
        self._warnings = 0
        self._task: asyncio.Task[None] | None = None

    # -- the life of the connection

    async def run(self) -> None:
        """Serve until the connection ends. The caller's task is the reader task. Raises CancelledError; any other exception
        is a bug in this package."""
        self._task = asyncio.current_task()
        try:
            await self._serve()
        except BaseException:
            self.endpoint.abort()
            self._end_streams()
            await end_tasks(self._tasks)
            raise

    async def _serve(self) -> None:
        """Read until the connection is done, then send the last frames, and wait for the handlers.

        A connection ends in one of four ways. The server has drained, or the connection was idle: our GOAWAY tells the client
        which requests were processed. The client has ended its output: its requests are still answered. The client broke a
        rule of the connection: the farewell is a GOAWAY with the reason. The connection is lost: there is nobody to talk to.
        """
        last_words: list[Event] = []
        try:
            await self.read()
            if self.endpoint.ended:
                await self._finish_for_half_closed()
            if not self._takes_no_more:
                last_words = [GoAway(self.core.last_stream)]
        except RemoteProtocolError as error:
            last_words = self.core.farewell(error)
            if self.endpoint.received and not self.endpoint.ended:  # a client that has gone has broken no rule
                peer = peer_name(self.endpoint.pipe)
                logger.warning("we end the HTTP/2 connection from %s: %s (%.200s)", peer, code_name(error.code), error)
        except ConnectionError:
            self.endpoint.abort()
        self._end_streams()
        if not self.endpoint.lost:
            # ``close`` need not know that the client is in the middle of an upload. We give no more credit, so the upload
            # stops by itself.
            await self.endpoint.close(last_words, linger=True)
        while tasks := self._tasks:
            await asyncio.wait(tasks)

    async def _finish_for_half_closed(self) -> None:
        """Answer the requests of a client that has ended its output. Raises ConnectionError if the client proves to be gone.

        The loop sends a PING, and waits for the handlers: 0.05 s, then 0.1 s, 0.2 s, and so on. A client that is still
        reading ignores the PING, because it has nothing more to send. If the client is gone, its machine no longer knows
        the connection, and answers with a TCP reset. ``drain`` asks the socket whether a reset has arrived.
        """
        for exchange in self.exchanges.values():
            exchange.note_client_left()
        gap = FIRST_LOOK
        while tasks := self._tasks:
            self.endpoint.send(Ping(_STILL_THERE))
            await self.endpoint.flush()
            await self.endpoint.drain()
            await asyncio.wait(tasks, timeout=gap)
            gap = min(2 * gap, LAST_LOOK)

    def _end_streams(self) -> None:
        """Send no more on any stream. Handlers are notified or cancelled: see ``Exchange._on_leaving``."""
        self._is_over = True
        self.fail_all(ConnectionResetError("the connection is over"))

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [exchange.task for exchange in self.exchanges.values()]

    @property
    def is_cancelled(self) -> bool:
        """Whether the connection's own task was told to end: by the server, or by ``asyncio.run``, which ends all tasks."""
        return self._task is not None and self._task.cancelling() > 0

    async def refuse(self) -> None:
        """Serve nothing, and tell the client that there are too many connections."""
        await self.endpoint.close([GoAway(0, NO_ERROR, b"too many connections")], linger=True)

    def abort(self) -> None:
        """End the connection at once, whatever its handlers do."""
        self.endpoint.abort()

    # -- draining

    def drain(self) -> None:
        """Begin to stop: answer the requests already made, and accept no new requests. See "Draining" above."""
        self.draining = True
        if self._takes_no_more or self._is_over:
            return
        for exchange in self.exchanges.values():
            exchange.drain()
        self.endpoint.send(GoAway(MAX_ID))
        self.endpoint.send(Ping(_DRAINING))
        asyncio.get_running_loop().call_later(self.timeouts.linger, self._take_no_more)

    def _take_no_more(self) -> None:
        """Send the second GOAWAY: the client has read the first GOAWAY, or has had the time to do so."""
        if not self._takes_no_more and not self._is_over:
            self._takes_no_more = True
            self.endpoint.send(GoAway(self.core.last_stream))
            self.endpoint.interrupt()  # the reader checks whether the connection is done

    def is_done(self) -> bool:
        """Return whether the drain is complete, or the connection has been idle for too long to be worth keeping."""
        return (self._takes_no_more and not self.streams) or self.is_idle

    # -- events

    def on_event(self, event: Event) -> None:
        """Handle an event that is not the content of a request. Called by the reader, so it must not wait.

        A GOAWAY from a client changes nothing: no more requests follow it, and earlier requests are still answered.
        """
        if type(event) is RequestHead:
            self._begin(event)
        elif type(event) is Ping and event.ack and event.data == _DRAINING:
            self._take_no_more()
        elif type(event) is StreamFault:
            self._on_fault(event)
        elif type(event) is GoAway and event.code != NO_ERROR:
            self._warn("the HTTP/2 client at %s goes away: %s", peer_name(self.endpoint.pipe), goaway_text(event))

    def _begin(self, head: RequestHead, error: RemoteProtocolError | None = None) -> None:
        """Serve a request in a task of its own. ``error``: answer with this error, without calling the app.

        For the core, a stream that the client resets is closed, and the client may open another. But the handler of the
        first stream may take a while to end. So there may be twice ``max_streams`` handlers: without this bound, "rapid reset"
        (CVE-2023-44487) would start any number of handlers.
        """
        if len(self.exchanges) >= 2 * self.core.limits.max_streams:
            self._observe_refused(head, 503)
            return self.send_reply(Reset(head.stream, REFUSED_STREAM))
        exchange = Exchange(self, head, error)
        self.streams[head.stream] = exchange.stream
        self.exchanges[head.stream] = exchange
        exchange.task = asyncio.create_task(exchange.run())

    def _on_fault(self, fault: StreamFault) -> None:
        """Log the fault in one request. Answer the request if the fault has a ``status``.

        The head itself can be at fault, or what follows the head: content, trailers.
        """
        exchange = self.exchanges.get(fault.stream)
        head = fault.head if exchange is None else exchange.head
        answered = exchange is not None and exchange.delivered
        if fault.code != REFUSED_STREAM and head is not None and not answered:
            request, peer = f"{head.method} {head.target}", peer_name(self.endpoint.pipe)
            code = fault.status or code_name(fault.code)
            self._warn("the request %.200a from %s is answered %s: %.200s", request, peer, code, fault.reason)
        if exchange is not None and not fault.status:
            exchange.malformed = fault.code != REFUSED_STREAM
        elif exchange is not None:
            exchange.stream.receive(fault)
        elif fault.status and head is not None:
            self._begin(head, RemoteProtocolError(fault.reason, fault.status))
        elif fault.head is not None:
            self._observe_refused(fault.head, 503 if fault.code == REFUSED_STREAM else 400)

    def _warn(self, text: str, *values: object) -> None:
        """Log a client's fault, unless ``MAX_WARNINGS`` have been logged already."""
        self._warnings += 1
        if self._warnings <= MAX_WARNINGS:
            logger.warning(text, *values)

    # -- observers

    def _observe_refused(self, head: RequestHead, status: int) -> None:
        """Tell the observers about a request that is reset. No response is sent: the status is only for the log."""
        for observer in self.observers:
            observer.begin()
        self._observe(head, status)

    def _observe(self, head: RequestHead | None, status: int, sent: int = 0) -> None:
        for observer in self.observers:
            observer.finish(head, status, sent, self.endpoint.pipe)

    def end(self, exchange: "Exchange", status: int) -> None:
        """Remove an exchange that is over: its request is answered, or its stream was reset."""
        self._observe(exchange.head, status, exchange.stream.sent)
        exchange.stream.fail(ConnectionResetError("the exchange is over"))  # for a task of the app that is still reading
        del self.exchanges[exchange.stream.id]
        self.remove(exchange.stream)
        if self._takes_no_more and not self.streams:
            self.endpoint.interrupt()  # the reader checks whether the connection is done


class Exchange:
    """One request and its answer. The app's ``Request`` reads its content from here.

    The exchange's task ends in one of three ways, and each way has its own last frame:

    - The answer is sent: END_STREAM. ``delivered`` is True.
    - The client has left, or the server ends the connection: the task is cancelled, RST_STREAM with CANCEL.
    - The answer is cut off, because the app failed after the head: RST_STREAM with INTERNAL_ERROR. The client can't mistake
      the part that it has received for the whole answer.
    """

    task: asyncio.Task[None]

    def __init__(self, connection: ServerConnection, head: RequestHead, error: RemoteProtocolError | None) -> None:
        """``error``: the fault in the request, if known before the app is called. The app is not called then."""
        self._connection = connection
        self.head = head
        self.stream = Http2Stream(connection, head.stream)
        self.delivered = False
        """Whether the client has received the whole answer, as far as we can tell."""
        self.malformed = False
        """Whether the stream was reset because its content breaks a rule: the log says 400, as over HTTP/1.1, and not 499."""
        self._request: Request | None = None  # while the app is working on the request
        self._answer: Answer | None = None  # once the app has returned an answer that takes time to send
        self._first_piece = b""  # of the answer's content: made before the head was sent
        self._status = UNANSWERED
        self._error = error
        self._app_answers_error = False  # the app answers a faulty request in its own way
        self._expects_continue = "100-continue" in split_list(head.headers.get("expect") or "")
        self._pace = UploadPace(connection.timeouts.min_body_rate)

    # -- the life of the exchange

    async def run(self) -> None:
        """Serve the request, whatever happens. This is the exchange's task.

        Every exception from an app ends here, so that a bug in an app fails only one request. KeyboardInterrupt is different:
        Ctrl-C has to end the program.
        """
        connection = self._connection
        for observer in connection.observers:
            observer.begin()
        task = asyncio.current_task()
        assert task is not None
        # An ordinary task begins in a later turn of the loop, when ``task`` is already set. An eager task (Python 3.12) begins
        # within ``create_task``, which has not returned yet.
        eager, self.task = not hasattr(self, "task"), task
        # The stream is watched from here on, and not earlier: a task that is cancelled before it has begun never runs, so
        # nobody would end the exchange.
        self.stream.watch(self._on_leaving)
        try:
            if eager:  # first handle a reset that came together with the head, so that the app need not be called
                await asyncio.sleep(0)
            if self.stream.failure is None:
                await self._serve()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # even GeneratorExit: if the stream did not end, the client would wait for ever
            if self._was_cancelled_by_us(error):
                self._status = self._status if self.delivered else UNANSWERED
                self.stream.reset(CANCEL)
                raise
            self._break_off(error)
        finally:
            self.stream.watch(None)
            self._close_request()
            connection.end(self, 400 if self.malformed and self._status == UNANSWERED else self._status)

    async def _serve(self) -> None:
        """Call the app, and send its answer.

        The order at the end matters. ``finish`` waits until the client's windows have let the whole answer through. Only then
        is the answer ``delivered``: a later reset changes nothing any more, not even in the log. ``close`` may wait for the
        rest of the request's content, so the app is released before that.
        """
        connection = self._connection
        request = Request(self.head, self, connection.endpoint.pipe, body_timeout=connection.timeouts.body)
        self._request = request
        if connection.endpoint.ended:
            request.leave()
        answer = await self._call_app(request)
        if isinstance(answer, Upgrade):
            return await self._hand_over(answer)
        await self._respond(answer)
        await self.stream.finish()
        if connection.endpoint.ended and connection.observers:
            # Is a client that has ended its output still there? Only a reset in answer to our bytes shows that it is not. Give
            # the reset time to arrive.
            await connection.endpoint.flush()
            await asyncio.sleep(RESET_COMES)
            await connection.endpoint.drain()
        self.delivered = True
        self._close_request()
        await self.stream.close()

    def drain(self) -> None:
        """Note that the server is stopping. An answer that would never end, such as a stream of events, has to end soon."""
        if self._answer is not None:
            self._answer.drain()

    def note_client_left(self) -> None:
        """Tell the app (``Request.disconnected``) that the client has left, or may have left: it sends nothing more."""
        if self._request is not None:
            self._request.leave()

    def _on_leaving(self, _: bool) -> None:
        """React when the client has ended its side of the stream, or the stream has failed.

        If only the client's side has ended, the request is complete, and there is nothing to do. After a ConnectionError,
        nobody gets the answer. Every other failure is our own doing, and the task notices it by itself.
        """
        request = self._request
        if request is None or not isinstance(self.stream.failure, ConnectionError):
            return
        request.leave()
        if request.cancellable:
            self._close_request()
            self.task.cancel()

    def _close_request(self) -> None:
        """Note that the app is done with the request. From now on, if the client is lost, the task is not
        cancelled: a cancellation would interrupt the app's clean-up."""
        request, self._request = self._request, None
        if request is not None:
            request.close()

    def _was_cancelled_by_us(self, error: BaseException) -> bool:
        """Return whether ``error`` says that the server has cancelled this task. A handler can also cancel its own task."""
        return was_cancelled(error) and (self.stream.failure is not None or self._connection.is_cancelled)

    def _break_off(self, error: BaseException) -> None:
        """Reset the stream: the answer can't be completed. Log the error, unless the client's departure explains it."""
        lost = isinstance(self.stream.failure, ConnectionError) or self._connection.endpoint.lost
        if lost and not self.delivered:
            self._status = UNANSWERED
        if lost:
            log_failure_unseen(self.head, error)
        elif self._error is None or self._app_answers_error:
            logger.exception("%s %s: the response broke off", self.head.method, self.head.target)
        self.stream.reset(INTERNAL_ERROR)

    async def _call_app(self, request: Request) -> Answer:
        """Return the app's answer, or a response of ours: 500 if the app fails, or the status for a faulty request."""
        head, connection = self.head, self._connection
        try:
            if self._error is not None:
                raise self._error
            if head.method not in connection.methods:
                return Response.text("method not implemented\n", 501)
            self._check_length(announced(head.headers))
            answer, self._first_piece = await call_app(connection.app, request, connection.methods, connection.scheme)
            self._app_answers_error = self._error is not None
            return answer
        except APP_ENDS as error:
            if self.stream.failure is not None or self._was_cancelled_by_us(error):
                raise  # this is the client's doing, or ours, but not the app's
            clear_cancellation()
            if self._error is not None:  # however the app handled the error
                return Response.text(f"{self._error}\n", self._error.code)
            logger.exception("%s %s failed", head.method, head.target)
            return Response.text("internal server error\n", 500)

    # -- the request's content

    async def receive_content(self) -> Data | EndOfMessage:
        """Wait for the next piece of the request's content, or its end.

        Raises RemoteProtocolError for content that is too large (413), too slow (408) or malformed, and ConnectionError if
        the client is gone.
        """
        if self._error is not None:
            raise self._error
        event = await self._next_event()
        if isinstance(event, Data):
            self._pace.received += len(event.data)
            self._check_length(self._pace.received)
        return event

    async def _next_event(self) -> Data | EndOfMessage:
        """Wait for the next event of the content. The first wait sends 100 (Continue) to a client that asked for it."""
        if not self.stream.has_arrived and self._status == UNANSWERED:
            self._send_continue()
        while (event := await self._event_within(self._body_timeout())) is None:
            """The limit has changed while we waited, for example because the response has begun."""
        if isinstance(event, StreamFault):
            self.fail(RemoteProtocolError(event.reason, event.status))
        assert isinstance(event, Data | EndOfMessage)
        return event

    async def _event_within(self, seconds: float | None) -> Event | None:
        """Return the stream's next event; None if time is up, but the limit has changed or an event has just come.

        Raises RemoteProtocolError (408) if time is up and nothing has arrived.
        """
        try:
            with self._pace.waiting(seconds) as patience:
                async with asyncio.timeout(patience):
                    return await self.stream.next_event()
        except TimeoutError:
            await let_arrive()
        if self._body_timeout() != seconds or self.stream.has_arrived:
            return None
        self._pace.log(self.head)
        self.fail(RemoteProtocolError("the request's body took too long", 408))

    def _body_timeout(self) -> float | None:
        """Return the seconds to wait for a piece of content; None means without limit.

        Once the response has begun, the exchange is a conversation, whose pace is the app's business: in a slow-upload attack
        no response has begun.
        """
        request = self._request
        return request.body_timeout if request is not None and self._status == UNANSWERED else None

    def _send_continue(self) -> None:
        """Send 100 (Continue), once, to a client that is waiting for it before sending its content (RFC 9110 §10.1.1)."""
        if self._expects_continue:
            self._expects_continue = False
            self.stream.send(ResponseHead(100, Headers(), "2", self.stream.id))

    async def inform(self, status: int, headers: Headers) -> None:
        """Send an interim response. Raises LocalProtocolError after the head of the answer."""
        await self._connection.wait_for_room()
        if self._status != UNANSWERED:
            raise LocalProtocolError(LATE)
        self.stream.send(ResponseHead(status, headers, "2", self.stream.id))
        if status == 100:
            self._expects_continue = False

    def _check_length(self, size: int) -> None:
        """Raise RemoteProtocolError (413) for content over ``max_body``, announced in the head or counted as it arrives."""
        if size > self._connection.max_body:
            self.fail(RemoteProtocolError("content too large", 413))

    def fail(self, error: RemoteProtocolError) -> NoReturn:
        """Note what is wrong with the request's content, and raise the error: now, and at each later read."""
        self._error = error
        raise error

    def abort(self) -> None:
        """Reset the stream for the app. From here on we act as if the client had reset it."""
        self.stream.reset(CANCEL)
        self.stream.fail(ConnectionResetError("the app has reset the stream"))

    # -- the answer

    async def _respond(self, response: Response) -> None:
        """Send a response. If it can't be sent, for example because a field has a line break, send a 500 instead."""
        await self._connection.wait_for_room()
        try:
            self._send_head(response)
        except Exception:  # LocalProtocolError, or the TypeError for a value that is not a str
            await close_body(response.body)
            if self.stream.failure is not None:
                raise
            logger.exception("%s %s: the response can't be sent", self.head.method, self.head.target)
            response = Response.text("internal server error\n", 500)
            self._send_head(response)
        self._status = response.status
        if isinstance(response.body, bytes):
            if self.head.method != "HEAD":
                self.stream.write(response.body)
            return self.stream.close_write()
        await self._send_content(response, response.body)

    def _send_head(self, response: Response) -> None:
        """Send the head of a response. Raises LocalProtocolError if a field that the app set can't be sent.

        The server adds two fields if the app has not set them: Date (RFC 9110 §6.6.1), and Content-Length if the content
        is complete. Content from an iterator has no length: END_STREAM on its last frame marks the end.
        """
        # RFC 9113 §8.2.2: a field such as ``connection: keep-alive`` MUST NOT be sent. An app for HTTP/1.1 may set it.
        headers = Headers([field for field in response.headers if field[0] not in CONNECTION_SPECIFIC])
        names = [name for name, _ in headers]
        if response.status == 205 and response.body:  # RFC 9110 §15.3.6
            raise LocalProtocolError("a 205 has no content")
        if "content-length" in names or response.status in (204, 304):
            _check_content(self.head, response)
        elif isinstance(response.body, bytes):
            headers.append(("content-length", str(len(response.body))))
        if "date" not in names:
            headers.append(date_field())
        if response.early_head:  # without a 100 the client would hold back its content for ever
            self._send_continue()
        self.stream.send(ResponseHead(response.status, headers, "2", self.stream.id))

    async def _send_content(self, response: Response, body: AsyncIterator[bytes]) -> None:
        """Send content as the app generates it. A slow client makes the app wait (*backpressure*).

        ``write`` never waits, so a fast generator would fill our memory. After each piece the loop checks whether the stream
        is ``congested``: more than 64 KiB are unsent, or the stream has failed. A generator that never meets congestion still
        gives way to other tasks after ``FAIR_SHARE`` pieces.
        """
        self._begin_answer(response)
        steps = 0
        try:
            if self.head.method != "HEAD":
                pieces = Pieces(body, self._first_piece)
                async for piece in pieces:
                    self.stream.write(checked(piece))
                    steps += 1
                    if self.stream.congested or steps % FAIR_SHARE == 0:
                        await pieces.pause_for(self.stream.drain())
            await self._connection.wait_for_room()
            possible = response.headers.get("content-length") is None  # as in HTTP/1.1: a declared length has no trailers
            self.stream.end(trailers_of(response, self.head, possible=possible))
        finally:
            self._close_request()
            await close_body(body)

    def _begin_answer(self, answer: Answer) -> None:
        """Note an answer that takes time to send. From now on a drain is reported to the answer."""
        self._answer = answer
        if self._connection.draining:
            answer.drain()

    async def _hand_over(self, answer: Upgrade) -> None:
        """Give the stream to another protocol, such as WebSocket: RFC 9113 §8.5 (CONNECT), RFC 8441 §5.

        From then on the stream is a pipe, and only the handler of the other protocol uses it. For the log, the head is the
        whole answer: how long the other protocol runs, and how it ends, is not HTTP's concern.
        """
        try:
            if self.head.method != "CONNECT":  # §8.6: HTTP/2 has no other upgrade
                raise LocalProtocolError("only CONNECT can be upgraded")
            await self._connection.wait_for_room()
            dated = answer.headers if answer.headers.get_all("date") else Headers([*answer.headers, date_field()])
            self.stream.send(ResponseHead(answer.status, dated, "2", self.stream.id))  # RFC 9110 §6.6.1: a 2xx has a Date
        except LocalProtocolError:
            logger.exception("%s %s: no upgrade here", self.head.method, self.head.target)
            return await self._respond(Response.text("internal server error\n", 500))
        self._status, self.delivered = answer.status, True
        self._begin_answer(answer)
        self._close_request()
        self.stream.watch(None)  # the other protocol sees a reset by itself, as on a connection of its own
        await answer.handler(self.stream)
        await meet_cancellation()
        await self.stream.close()


def _check_content(head: RequestHead, response: Response) -> None:
    """Compare the length that the app has declared with the content, while a 500 can still be sent instead.

    Raises LocalProtocolError if they differ, or if a 204 or 304 has content.
    """
    if response.status in (204, 304):
        if response.body:
            raise LocalProtocolError(f"a {response.status} has no content")
    elif isinstance(response.body, bytes) and head.method != "HEAD":
        length, size = response.headers.get("content-length", ""), len(response.body)
        if length != str(size):
            raise LocalProtocolError(f"Content-Length is {length}, not the length of the content, which is {size} bytes")
