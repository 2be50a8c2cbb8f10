r"""An HTTP/1.1 server's side of one connection: read a request, call the app, send the response, start over.

One task serves one client. The same task reads the bytes, runs the app's handler, and sends what the handler returns:

    client                       the connection's task                                      the app's handler
      |                              |                                                          |
      |--- GET /a HTTP/1.1 --------> | waits for a head: Timeouts.idle seconds, and from the    |
      |                              | head's first byte on Timeouts.head seconds               |
      |                              |--- Request --------------------------------------------> | is called
      |--- content ----------------> | waits only while the handler does ... <------------------| await request.read()
      |                              |--- content --------------------------------------------> |
      | <-- HTTP/1.1 200 OK ---------| <------------------------------------------ Response ----| returns
      |                              | drops the content that the handler did not read          |
      |--- GET /b HTTP/1.1 --------> | ... (keep-alive, RFC 9112 §9.3)                          |

**Pipelining.** A client may send its second request before it has the first response (§9.3.2). The second request waits in
the core's buffer, and any bytes after it wait in the kernel, until the first response is sent. So responses are in order
without any queue, and a slow response holds up the responses after it (head-of-line blocking). A client that sends requests
faster than the app answers them is slowed by TCP's own backpressure. Responses made in the same turn of the event
loop leave in one write:

    >>> from minproto import Response, Server
    >>> from minproto.testing import network
    >>> async def app(request):
    ...     return Response(request.path.encode(), headers=[("date", "today")])
    >>> async def converse():
    ...     client, server_end = network.pair()
    ...     Server(app).attach(server_end)
    ...     client.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    ...     while data := await client.read():
    ...         print(len(data), *data.decode().split("\r\n"), sep="|")
    >>> asyncio.run(converse())
    125|HTTP/1.1 200 OK|date: today|content-length: 2||/aHTTP/1.1 200 OK|date: today|connection: close|content-length: 2||/b

**A client that leaves.** While the handler runs, nothing reads from the pipe, so the pipe itself tells this connection when
the client ends its output or is lost (``Pipe.watch``). A client that has only ended its output is *half-closed*: it may still
read the response (§9.6). A client that is lost can't read it, so the handler is cancelled.

**Faults.** A malformed request gets one last response, such as 400, and one line in the log. If the app's response has
already begun, a status can no longer be sent. Then the connection ends in the middle of the message, and the client sees that
the content is incomplete: a chunk is missing, or the content is shorter than its Content-Length.

**The ending.** A server that is stopping calls ``drain``. The request in flight is then answered with ``Connection: close``;
an idle connection gets a tenth of a second for a request that is on its way. ``endpoint.py`` explains how a close is kept from
destroying the last response.

Easy to get wrong:

- The task that runs the handler is the task that serves the connection. A cancellation of this task may come from the server,
  because the client is lost, or from the handler itself. Only a cancellation by the server may end the connection silently.
- An exception that comes out of a handler need not be the handler's fault. The client may have sent a malformed chunk, or may
  be gone. ``_raise_cause`` tells these causes apart.
- HTTP/1.0 knows neither chunks nor interim responses, and closes the connection unless both sides ask to keep it.

The parts of this file come in the order in which a request meets them: the loop, a request's head, the app and its failures,
a whole response, a response generated while it is being sent, an Upgrade, the end. ``http1_content.py`` reads the content of
a request.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from minproto.aio.content import Pieces, checked, clear_cancellation, close_body, meet_cancellation, was_cancelled, was_stopped
from minproto.aio.cores import chosen
from minproto.aio.endpoint import Endpoint
from minproto.aio.http import (
    RESET_COMES,
    UNANSWERED,
    Answer,
    App,
    Request,
    Response,
    Upgrade,
    call_app,
    date_field,
    log_failure_unseen,
    served_scheme,
    trailers_of,
)
from minproto.aio.http1_content import MAX_DISCARD, RequestContent
from minproto.aio.observe import APP_ENDS, Observer, logger, peer_name
from minproto.aio.options import Timeouts
from minproto.aio.pipe import Pipe
from minproto.core import Event, LocalProtocolError, RemoteProtocolError, Role
from minproto.http import METHODS, SECRET, Data, EndOfMessage, Headers, RequestHead, ResponseHead, split_list
from minproto.http1 import BODY, Connection, Limits, PreparedHead
from minproto.http1_body import Chunked, UntilClose

LAST_CALL = 0.1
"""Seconds after the beginning of a drain in which a connection without a request in flight may still get one."""
FAIR_SHARE = 32
"""How many steps one connection may take in a row without waiting. A step is a request answered, or a piece of content sent.
After that many, the other connections get their turn of the event loop."""


class _BrokenOffError(Exception):
    """A response can't be completed. The reason is in the log."""


class ServerConnection:
    """Serves one client: one request after the other, until either side ends the connection."""

    _last_call = -math.inf  # the loop's time until which a last request may arrive, once ``drain`` was called
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
        """``methods``: a request with any other method gets a 501. ``trusted_gateway``: see ``Config.trusted_gateway``."""
        self._app = app
        self._pipe = pipe
        self._scheme = served_scheme(pipe, trusted_gateway)
        self._core = chosen(Connection)(Role.SERVER, limits, methods)
        self.endpoint = Endpoint(self._core, pipe, timeouts)
        """Counts the bytes on the wire, for the metrics."""
        self._timeouts = timeouts
        self._observers = observers
        self._task: asyncio.Task[Any] | None = None  # the task that runs this connection, and the app's handler
        self._draining = False  # the request in flight is the last one
        self._client_ended = False  # the client has ended its output, or is lost
        self._cancels_app = False  # the client is lost, so we cancelled the handler
        self._steps = 0  # how many steps this connection has taken so far: see FAIR_SHARE
        # The exchange in flight:
        self._head_began: float | None = None  # when the first byte of its head arrived
        self._head: RequestHead | None = None  # until the observers are told that the exchange has ended
        self._request: Request | None = None  # while the app is working on it
        self._content = RequestContent(self._core, self.endpoint)
        self._first_piece = b""  # of the response's content, generated before its head is sent
        self._answer: Answer | None = None  # the answer being sent, or the one that has taken over the connection
        self._status = UNANSWERED  # of the response, as soon as its head is sent
        self._sent = 0  # bytes of the response's content

    def begin(self, first: bytes, began: float) -> None:
        """Receive the first bytes of the connection, which show that the client has chosen HTTP/1.1.

        ``began``: the loop's time when the first of these bytes arrived. From then on the head has ``Timeouts.head`` seconds.
        """
        self._head_began = began
        self.endpoint.feed(first)

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError. Any other exception is a bug of ours.

        The loop below ends in one of these ways:

            it returns              there is no next request: the connection was closed normally
            RemoteProtocolError     the client broke a rule: it gets an error response, if it can
            _BrokenOffError         the app failed in the middle of a response
            ConnectionError         the client is gone, or does not read: the access log says 499
            CancelledError          the server is stopping, and its patience has run out
        """
        self._task = asyncio.current_task()
        self._pipe.watch(self._on_leaving)
        try:
            try:
                await self._serve()
            except RemoteProtocolError as error:
                await self._say_farewell(error)
            except _BrokenOffError:
                await self._break_off()
        except ConnectionError:  # the client is lost, perhaps while the last response was in transit
            self._status = UNANSWERED
            self.endpoint.abort()
        except BaseException:
            self._status = UNANSWERED
            self.endpoint.abort()
            raise
        finally:
            self._pipe.watch(None)
            self._end_request()
            if self._head is not None:
                self._tell_observers()

    async def _serve(self) -> None:
        """Answer one request after the other. Return when there is no next request.

        Each request is read to its end before the next one, or the connection is closed (RFC 9112 §9.3, a MUST). After a
        ``Connection: close`` of either side the core finds no next request, and we close first (RFC 9112 §9.6, a MUST). We
        wait for a client that reads slowly: TCP's flow control is the cure for an overload, and not a close (RFC 9112 §9.5).

        Nothing in here waits for an event that has already arrived. So up to ``FAIR_SHARE`` pipelined requests are answered
        without a pause.
        """
        core, endpoint = self._core, self.endpoint
        while (head := await self._next_head()) is not None:
            answer = await self._ask_app(head, self._begin_exchange(head))
            if isinstance(answer, Upgrade):
                return await self._switch_protocol(head, answer)
            if isinstance(answer.body, bytes):
                self._send_whole(head, answer)
            else:
                await self._stream(head, answer, answer.body)
            if endpoint.congested:  # backpressure: read no further request until the client has taken its responses
                await endpoint.flush()
            self._end_request()
            if not self._client_ended:  # else wait: a reset may still show that the client is gone
                self._tell_observers()
            if core.request is BODY and not (core.keep_alive and await self._content.discard()):
                break
            self._steps += 1
            if self._steps % FAIR_SHARE == 0:
                await asyncio.sleep(0)
            del head, answer  # an idle connection holds no memory for them
        # Over TLS the client can't see our end before we close, so reading on only delays the close. There we keep reading
        # only if we know that the client is sending.
        half_closes = self._pipe.info("ssl_object") is None
        await self._close(linger=half_closes or core.request is BODY or core.buffered > 0)

    def drain(self) -> None:
        """The server is stopping: finish the request in flight, then close. Without a request in flight, close soon.

        The next request may be on its way, or in the kernel's buffer already. A client that gets an end in place of an answer
        can't know whether its request was processed, so it must not repeat a POST. So a last request may still arrive within
        ``LAST_CALL`` seconds. Its answer says that the connection ends.
        """
        self._draining = True
        if self._answer is not None:
            self._answer.drain()
        elif self._head is None:
            self._last_call = asyncio.get_running_loop().time() + LAST_CALL
            self.endpoint.interrupt()

    def abort(self) -> None:
        """End the connection at once, whatever its handler is doing."""
        self.endpoint.abort()

    def _on_leaving(self, lost: bool) -> None:
        """The pipe calls this: the client has ended its output (half-closed), or is lost.

        A half-closed client can still read the response, so the handler is cancelled only if the client is lost. A handler
        that has set ``Request.cancellable`` to False still runs to completion, for example to take a payment.
        """
        self._client_ended = True
        self.endpoint.lost = self.endpoint.lost or lost
        request = self._request
        if request is None:
            return
        request.leave()
        if isinstance(self._answer, Response):
            self._answer.client_ended()
        if lost and request.cancellable and self._task is not None:
            self._cancels_app = True
            self._end_request()
            self._task.cancel()

    # -- a request's head

    async def _next_head(self) -> RequestHead | None:
        """Wait for the next request. Return None if there will be none. Raises RemoteProtocolError or ConnectionError."""
        try:
            head = await self.endpoint.next_event(self._patience)
        except TimeoutError:
            if self._draining and asyncio.get_running_loop().time() < self._last_call:  # ``drain`` has ended the wait
                return await self._next_head()
            if self._draining or not self._core.buffered:  # no request has begun, so there is nothing to answer with 408
                return None
            error = RemoteProtocolError("the request's head took too long", 408)
            self._core.fail(error)
            raise error from None
        assert head is None or isinstance(head, RequestHead)
        return head

    def _patience(self) -> float:
        """Return the seconds that the next wait for a head may take. Raises TimeoutError if the server is stopping.

        A head has one time limit, from its first byte to its last, however the bytes are split. A client that sends one byte
        now and then (a slowloris attack) gains no time. With ``Timeouts(idle=75, head=20)``:

            second    the client sends            the wait that begins then may take
            0         nothing yet                 75 seconds
            10        GET /hel                    20 seconds, until second 30
            25        lo HTTP/1.1 CRLF            5 seconds: still until second 30
            27        Host: a CRLF CRLF           the head is complete; after its response, 75 seconds again
        """
        if self._draining:
            return self._until_last_call()
        if not self._core.buffered:  # no byte, or only an empty line, which is not a part of a head (RFC 9112 §2.2)
            self._head_began = None
            return self._timeouts.idle if self.endpoint.received else self._timeouts.first_idle
        now = asyncio.get_running_loop().time()
        if self._head_began is None:
            self._head_began = now
        return self._head_began + self._timeouts.head - now

    def _until_last_call(self) -> float:
        """Return the seconds that the last request may still take to arrive. Raises TimeoutError if there are none."""
        left = self._last_call - asyncio.get_running_loop().time()
        if left <= 0:
            raise TimeoutError
        return left

    def _begin_exchange(self, head: RequestHead) -> Request:
        """Return the app's view of a request whose head has arrived. Everything counted per request starts at 0.

        Most requests have no content. Then the core is already at the end of the message, and ``Request.read`` returns b""
        without asking the core.
        """
        if self._head is not None:  # a half-closed client's last exchange: only now do we know that it got the response
            self._tell_observers()
        self._head, self._head_began, self._status = head, None, UNANSWERED
        self._sent = 0
        for observer in self._observers:
            observer.begin()
        has_content = not self._core.skip_empty_body()
        request = self._request = Request(head, self._content, self._pipe, has_content, self._timeouts.body)
        if has_content:
            self._content.begin(request)
        if self._client_ended:
            request.leave()
        return request

    def _end_request(self) -> None:
        """The app has finished with the request. A task that the app has left running can no longer read the content."""
        request, self._request = self._request, None
        if request is not None:
            request.close()

    # -- the app, and what it may do wrong

    async def _ask_app(self, head: RequestHead, request: Request) -> Answer:
        """Return the app's answer, or a 500 if the app fails. If the cause is not the app's doing, that cause is raised.

        No byte of a response has been sent yet, so the connection can stay open after a 500.
        """
        try:
            answer, self._first_piece = await call_app(self._app, request, self._core.methods, self._scheme)
            if self._task is not None and self._task.cancelling():
                await meet_cancellation()
        except APP_ENDS as error:
            self._raise_cause(error)
            logger.exception("%s %s failed", head.method, head.target)
            self._forgive_cancellation(error)
            return Response.text("internal server error\n", 500)
        return answer

    def _raise_cause(self, error: BaseException, answered: RemoteProtocolError | None = None) -> None:
        """Raise the cause of an exception that came out of the app, if the cause is our or the client's doing.

        Do nothing if the exception is the app's own. ``answered``: a fault in the request that the app has answered in its own
        way. That fault has nothing to do with an exception raised later.
        """
        if was_stopped(error) or (was_cancelled(error) and (self._cancels_app or self._draining)):
            raise error
        if self._core.error is not None and self._core.error is not answered:
            raise self._core.error  # even if the app has turned it into a different exception
        if self.endpoint.lost:
            assert self._head is not None
            log_failure_unseen(self._head, error)
            raise ConnectionResetError("the peer is gone")

    def _forgive_cancellation(self, error: BaseException) -> None:
        """Keep this task running if a handler has cancelled it, so that the client gets its 500.

        After that response the connection ends: a task that somebody has cancelled should not run for long.
        """
        if was_cancelled(error):
            clear_cancellation()
            self._draining = True

    # -- a response whose content is complete

    def _send_whole(self, head: RequestHead, response: Response) -> None:
        """Send a response whose content is bytes.

        The core checks a whole response before it changes its state. So if the app's response is invalid, nothing was sent,
        and a 500 can take its place.
        """
        try:
            self._queue_whole(head, response)
        except Exception:  # LocalProtocolError; or a TypeError, if a field is not a str, for example
            logger.exception("%s %s: the response can't be sent", head.method, head.target)
            response = Response.text("internal server error\n", 500)
            self._queue_whole(head, response)
        self._status = response.status

    def _queue_whole(self, head: RequestHead, response: Response) -> None:
        """Encode head and content in one step, and queue the bytes for the end of this turn. Raises LocalProtocolError."""
        core, content = self._core, response.body
        assert isinstance(content, bytes)
        option = self._connection_option(head, closes=core.request is BODY and self._leaves_too_much())
        headers = response.headers if head.version != "1.0" else _without_chunks(response)
        prepared = prepared_head(response.status, tuple(headers), date_field(), option)
        self.endpoint.queue(core.send_whole(prepared, content))
        self._sent = 0 if head.method == "HEAD" else len(content)

    def _leaves_too_much(self) -> bool:
        """Return whether so much content is unread that the connection has to end. The response SHOULD say so (§9.6).

        A Content-Length says how many bytes are still to come. With chunks, this is known only at the last chunk.
        For example, a 404 to an upload:

            Content-Length: 1000, and 200 bytes have arrived       800 are read and dropped; the connection persists
            Content-Length: 1000000                                too much: the response says "connection: close"
            chunks, and the last one (0 CRLF CRLF) has arrived     nothing is left: the connection persists
            chunks, and the last one has not arrived               could be anything: "connection: close"
        """
        core = self._core
        with suppress(RemoteProtocolError):  # the core raises it again, after this response
            while not core.content_left and core.request is BODY:  # ``content_left`` is also 0 if nobody knows: in chunks
                if core.next_event() is None:
                    break
        return core.request is BODY and not 0 < core.content_left <= MAX_DISCARD

    def _connection_option(self, head: RequestHead, closes: bool) -> str:
        """Return the option for the response's Connection field: "close", "keep-alive", or "" for no such field (§9.3).

        A server that is going to close SHOULD say so, and a server that has received ``Connection: close`` SHOULD answer with
        the same option (RFC 9112 §9.6).
        When both sides speak HTTP/1.1, a connection persists without a Connection field. ``closes``: this response
        ends the connection for a reason of its own.
        """
        if closes or self._draining or not self._core.keep_alive:
            return "close"
        if self._core.expects_continue:  # without a 100, the client may send its content or the next request
            return "close"
        if head.method == "CONNECT":  # the tunnel is refused, and bytes that the client has sent into it are not a request
            return "close"
        return "keep-alive" if head.version == "1.0" else ""

    # -- a response whose content is generated while it is being sent

    async def _stream(self, head: RequestHead, response: Response, body: AsyncIterator[bytes]) -> None:
        """Send a response whose content comes from an iterator. Raises _BrokenOffError if the app fails.

        If the client is gone, raises ConnectionError. Once the head is sent, a failure can no longer become a 500: the client
        has read "200 OK". (``call_app`` has taken the first piece before the head was sent, so a generator that fails at once
        still becomes a 500.)
        """
        try:
            self._send_head(head, response)
        except Exception:
            logger.exception("%s %s: the response can't be sent", head.method, head.target)
            self._first_piece = b""
            await close_body(body)
            return self._send_whole(head, Response.text("internal server error\n", 500))
        self._begin_answer(response)
        answered = self._core.error
        try:
            await self._send_content(head, response, body)
        except APP_ENDS as error:
            self._raise_cause(error, answered)
            logger.exception("%s %s: the response broke off", head.method, head.target)
            self._forgive_cancellation(error)
            raise _BrokenOffError from error
        finally:
            self._answer = None
            self._end_request()  # a client lost from now on cancels nothing, or the app's clean-up would be cancelled
            await close_body(body)

    def _send_head(self, head: RequestHead, response: Response) -> None:
        """Send a head before its content is complete. If it raises LocalProtocolError, nothing was sent.

        If the app gives no length, the content goes out in chunks (§7.1). An HTTP/1.0 client knows no chunks: for such a
        client, the content ends when the connection ends.
        """
        if response.status in (204, 304):
            raise LocalProtocolError("a 204 or 304 has no content")
        # Without a 100, the client would see the response's head but hold back its content: both sides would wait for ever.
        if response.early_head and self._core.expects_continue:
            self.endpoint.send(ResponseHead(100, Headers()))
        fields = Headers(response.headers if head.version != "1.0" else _without_chunks(response))
        framed = not {"content-length", "transfer-encoding"}.isdisjoint(name for name, _ in fields)
        if not framed and head.version != "1.0":
            fields.append(("transfer-encoding", "chunked"))
        option = self._connection_option(head, closes=not framed and head.version == "1.0")
        self.endpoint.send(ResponseHead(response.status, response_fields(fields, date_field(), option)))
        self._status = response.status

    def _begin_answer(self, answer: Answer) -> None:
        """From now on, the answer itself is told when the server stops, and when the client has ended its output.

        A stream of events, for example, would otherwise continue until the stopping server cut it off.
        """
        self._answer = answer
        if self._draining:
            answer.drain()
        if self._client_ended and isinstance(answer, Response):
            answer.client_ended()

    async def _send_content(self, head: RequestHead, response: Response, body: AsyncIterator[bytes]) -> None:
        """Send piece by piece, under backpressure: while more than 64 KiB are pending, no further piece is generated.

        An answer to HEAD has the head of a GET and no content (RFC 9110 §9.3.2), so its iterator is not asked for any piece.
        """
        if head.method != "HEAD":
            pieces = Pieces(body, self._first_piece)
            self._first_piece = b""
            async for piece in pieces:
                self.endpoint.send(Data(checked(piece)))
                self._sent += len(piece)
                self._steps += 1
                if self.endpoint.congested or not piece or self._steps % FAIR_SHARE == 0:
                    await pieces.pause_for(self._give_way(piece))
            if self._task is not None and self._task.cancelling():
                await meet_cancellation()
        self.endpoint.send(EndOfMessage(trailers_of(response, head, possible=self._core.framing == Chunked())))

    async def _give_way(self, piece: bytes) -> None:
        """Wait for a slow client, and give the other connections their turn of the event loop."""
        if self.endpoint.congested:
            await self.endpoint.flush()
        elif not piece:  # b"" sends nothing: the generator wants to know whether the client is still there
            await self.endpoint.drain()
        await asyncio.sleep(0)

    # -- an Upgrade

    async def _switch_protocol(self, head: RequestHead, answer: Upgrade) -> None:
        """Give the pipe to another protocol, such as WebSocket, with the bytes that came after the request.

        The request has to be complete first: content that the app did not read comes before the first byte of the other
        protocol. When the handler returns, the connection is closed; this task never reads HTTP again. When the handler fails,
        or is cancelled by the app itself, the connection is reset.
        """
        self._end_request()
        if self._core.expects_continue:  # RFC 9110 §7.8: a server MUST send the 100 before the 101
            self.endpoint.send(ResponseHead(100, Headers()))
        if not await self._content.discard():  # no other protocol can begin while content is unread
            self._draining = True
            self._send_whole(head, Response.text("content too large\n", 413))
            return await self._close(linger=True)
        try:
            self.endpoint.send(ResponseHead(answer.status, upgrade_fields(head, answer)))
        except Exception:  # LocalProtocolError; or a TypeError, if a field is not a str, for example
            logger.exception("%s %s: no upgrade here", head.method, head.target)
            self._draining = True  # so the 500 says that we close (§9.6)
            self._send_whole(head, Response.text("internal server error\n", 500))
            return await self._close(linger=True)
        await self.endpoint.flush()
        self._status = answer.status
        self._tell_observers()
        self._begin_answer(answer)
        try:
            await answer.handler(self.endpoint.hand_over())
            await meet_cancellation()
        except APP_ENDS as error:
            if was_stopped(error):
                raise
            clear_cancellation()
            logger.exception("%s %s: the upgraded connection failed", head.method, head.target)
            self.endpoint.abort()
        else:
            await self.endpoint.close()

    # -- the end

    async def refuse(self) -> None:
        """Reply with 503 without reading a request, because the server has too many connections."""
        # An expected fault is not logged: one line per refused connection would be a lot for a busy server.
        error = self._content.expected_fault = RemoteProtocolError("too many connections", 503)
        self._core.fail(error)
        await self._say_farewell(error)

    async def _say_farewell(self, error: RemoteProtocolError) -> None:
        """Send the error response to a client that has broken a rule, and close.

        The core makes the error response, for example 400 and "invalid Content-Length". It makes none if the response to the
        request was complete before the fault was found.
        """
        self._end_request()
        if self._core.response is BODY:  # the app's response has begun, so a status can no longer be sent
            self._log_fault(error, "breaks its response off")
            return await self._break_off()
        words = self._core.farewell(error)
        if words:
            self._log_fault(error, f"is answered {error.code}")
        self._sent = sum(len(event.data) for event in words if isinstance(event, Data))
        for event in words:
            if isinstance(event, ResponseHead):
                event.headers.append(date_field())  # RFC 9110 §6.6.1; a core has no clock
                self._status = event.status
        if not words:
            return await self._close(linger=True)
        if not self._client_ended:
            self._tell_observers()
            return await self._close(words, linger=True)
        try:
            await self._close(words, linger=True)
        finally:  # only the close shows whether a half-closed client got the response
            self._tell_observers()

    def _log_fault(self, error: RemoteProtocolError, outcome: str) -> None:
        """Write one line that tells an operator what was wrong with a request.

        A fault ends the connection, so a flood of bad requests causes one line per connection. A client that left in the
        middle of a request has broken no rule, and is not logged.
        """
        if error is self._content.expected_fault or self.endpoint.ended:
            return
        request = f"{self._head.method} {self._head.target}" if self._head is not None else "-"
        logger.warning("the request %.200a from %s %s: %.200s", request, peer_name(self._pipe), outcome, error)

    async def _break_off(self) -> None:
        """End in the middle of a response, so that the client sees that the content is incomplete.

        The framing shows that a chunk or some bytes are missing. Content that lasts until the connection ends has no
        framing, and a normal close would look like its normal end. There, only a reset shows that something is missing.
        """
        if not self._client_ended and self._head is not None:
            self._tell_observers()
        if self._core.framing == UntilClose():
            self.endpoint.abort()
        else:
            await self._close(linger=True)

    async def _close(self, words: Sequence[Event] = (), *, linger: bool) -> None:
        """Send ``words``, and close. Raises ConnectionError if a half-closed client did not get the last response.

        A client whose output has ended may be half-closed and still reading. Or it has closed its socket, which looks the same
        from here. When our bytes arrive at a closed socket, the client's kernel replies with a reset. We wait a moment for
        that reset, so that the access log can say 499 instead of 200.
        """
        if self._client_ended and self._observers:
            for event in words:
                self.endpoint.send(event)
            words = ()
            await self.endpoint.flush()
            self._pipe.close_write()
            await asyncio.sleep(RESET_COMES)
            await self.endpoint.drain()
        self._pipe.watch(None)  # from here on, the client's FIN is the answer to ours
        error = self._core.error
        # A client that was too slow (408) gets no more time. A client that broke another rule may still be uploading.
        sending = self._core.request is BODY or (error is not None and error.code != 408)
        await self.endpoint.close(words, linger=linger, sending=sending)

    def _tell_observers(self) -> None:
        """Report the end of the exchange: its response is complete, or the client is gone (499).

        The head is None if a request could not be read. If the client has ended its output, the report waits until the
        connection closes: a reset may still come, and then the status is 499.
        """
        status = UNANSWERED if self.endpoint.lost else self._status
        for observer in self._observers:
            observer.finish(self._head, status, self._sent, self._pipe)
        self._head = None


# ---- the fields of a response ------------------------------------------------------------------------------------------


def response_fields(headers: Sequence[tuple[str, str]], date: tuple[str, str], option: str) -> Headers:
    """Return a response's fields: the app's fields, and the fields that the server adds.

    The server adds Date (RFC 9110 §6.6.1), and Connection if ``option`` says what happens to the connection, or if the app
    has set an Upgrade field: such a field is about this connection alone, and Connection MUST list it (RFC 9110 §7.6.1, §7.8).

        >>> response_fields([("x", "y")], ("date", "now"), "close")
        [('x', 'y'), ('date', 'now'), ('connection', 'close')]
        >>> response_fields([("date", "then"), ("connection", "close")], ("date", "now"), "keep-alive")
        [('date', 'then'), ('connection', 'close')]
    """
    names, fields = dict(headers), Headers(headers)
    if "date" not in names:
        fields.append(date)
    if "upgrade" in names and "upgrade" not in split_list(fields.get("connection") or ""):
        fields.append(("connection", "upgrade"))
    said = split_list(names.get("connection", ""))
    if option and option not in said and (not said or option == "close"):
        fields.append(("connection", option))
    return fields


def prepared_head(status: int, headers: tuple[tuple[str, str], ...], date: tuple[str, str], option: str) -> PreparedHead:
    """Return the head of a response whose content is complete.

    Most of an app's responses have the same head as an earlier response in the same second. So the 64 latest heads are kept,
    each with the bytes that the core encoded it to. All connections share them, so a head with a field for one client alone,
    such as Set-Cookie, is always built from scratch.
    """
    make = _make_head if SECRET.isdisjoint(dict(headers)) else _make_head.__wrapped__
    return make(status, headers, date, option)


# ``typed``: to Python 200.0 equals 200, and would find the head of the 200 instead of being refused.
@lru_cache(64, typed=True)
def _make_head(status: int, headers: tuple[tuple[str, str], ...], date: tuple[str, str], option: str) -> PreparedHead:
    return PreparedHead(status, response_fields(headers, date, option))


def upgrade_fields(head: RequestHead, answer: Upgrade) -> Headers:
    """Return the fields of the response that gives the connection to another protocol.

    A 101 needs a Connection field that says "upgrade" (RFC 9110 §7.8), which the app need not write. Raises LocalProtocolError
    if a 101 names no protocol, or a protocol that the client has not offered. A 2xx to CONNECT needs a Date, like every 2xx
    (RFC 9110 §6.6.1).
    """
    if answer.status != 101:
        return response_fields(answer.headers, date_field(), "")
    chosen_protocol = answer.headers.get("upgrade") or ""
    offered = set(split_list(head.headers.get("upgrade") or ""))
    if not chosen_protocol or not set(split_list(chosen_protocol)) <= offered:
        raise LocalProtocolError(f"a 101 has an upgrade field with a protocol that the client offers, not {chosen_protocol!r}")
    if "upgrade" in split_list(answer.headers.get("connection") or ""):
        return answer.headers
    return Headers([*answer.headers, ("connection", "upgrade")])


def _without_chunks(response: Response) -> Headers:
    """Return a response's fields for an HTTP/1.0 client, which knows no chunks (RFC 9112 §6.1).

    If the app asks for chunks, its content is sent without them: it ends after Content-Length bytes, or with the connection.
    """
    if (response.headers.get("transfer-encoding") or "").lower() != "chunked":
        return response.headers
    return Headers([field for field in response.headers if field[0] != "transfer-encoding"])
