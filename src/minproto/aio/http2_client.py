"""An HTTP/2 client: any number of tasks share one connection, and their requests run side by side.

The part that both ends share, the reader, the writer and the streams, is in ``multiplex.py``. This file decides when a request
may be sent, how long its answer may take, and which error the caller gets.

Here two requests are in flight at once. The server needs 5 seconds for the first, and 1 second for the second:

    >>> import asyncio
    >>> from minproto import Response, Server
    >>> from minproto.testing import clock, network
    >>> async def app(request):
    ...     await asyncio.sleep(5 if request.path == "/slow" else 1)
    ...     return Response.text(request.path)
    >>> async def get(client, path):
    ...     response = await client.request("GET", path)
    ...     print("after", asyncio.get_running_loop().time(), "seconds:", response.status, await response.read())
    >>> async def main():
    ...     (ours, theirs), server = network.pair(), Server(app)
    ...     server.attach(theirs)
    ...     async with ClientConnection(ours, "example.org", "http") as client:
    ...         await asyncio.gather(get(client, "/slow"), get(client, "/quick"))
    ...     await server.close()
    >>> clock.run(main())
    after 1.0 seconds: 200 b'/quick'
    after 5.0 seconds: 200 b'/slow'

Three kinds of tasks take part. A request needs no task of its own, unless its content takes time:

    the user's task                 the upload task                the reader task (``multiplex.py``)            the server
          |                               |                                      |                                   |
          |--- request(): wait until a stream is free -------------------------- | <---------- SETTINGS, ends -------|
          |--- HEADERS ----------------------------------------------------------------------------------------------> |
          |--- content of an iterator, -> |                                      |                                   |
          |    or more than a window      |--- DATA, as the windows allow -----------------------------------------> |
          | <-- ClientResponse: the head of the response ------------------------| <---------- HEADERS --------------|
          |--- read() ---> waits for the stream's events                         | <---------- DATA, END_STREAM -----|

The response may come while the upload is still running. If the user's iterator raises an error, the upload fails: the stream
is reset, and ``request`` or ``read`` raises the iterator's error.

**When a request may be sent.** The server's settings say how many streams may be open at once, and how many bytes of fields
it accepts. Until the settings arrive, only one request is sent, and others wait: a request beyond the server's limit would
be refused. A request with large fields waits for the settings, too, because fields beyond the server's limit end the whole
connection.

**Which error means what.** A caller that gets an error wants to know one thing: may the request be made again?

    RequestRefused        yes, whatever its method, on another connection: the server has not looked at it
    ConnectionError       perhaps: nobody knows whether the server has acted on it (a GET can be repeated, a payment can't)
    TimeoutError          as ConnectionError: the server was silent for too long
    LocalProtocolError,   no: the request can't be sent, and is the same the next time. TypeError for an argument of the wrong
    TypeError             type; an exception of the iterator that makes the content comes out as it is
    RemoteProtocolError   no: the server does not speak HTTP/2

A GOAWAY frame names the last stream that the server has processed, so requests on higher streams are refused. There is one
exception: if the GOAWAY names a fault and the refused request was the first of its connection, the request itself is the
likely cause. A caller that repeats refused requests would repeat this request for ever. Here three requests are in flight
when a server that has processed the first two goes away:

    >>> from minproto.core import SERVER
    >>> from minproto.http import Headers
    >>> async def go_away(pipe):
    ...     server = Connection(SERVER)
    ...     pipe.write(server.send(server.greeting()))
    ...     await asyncio.sleep(1)
    ...     server.receive_data(await pipe.read())
    ...     streams = [event.stream for event in server.events() if isinstance(event, RequestHead)]
    ...     pipe.write(server.send(GoAway(last=streams[1])))
    ...     pipe.write(server.send(ResponseHead(204, Headers(), "2", stream=streams[0])))
    ...     await pipe.close()                                    # and the answer to the second request never comes
    >>> async def main():
    ...     ours, theirs = network.pair()
    ...     server = asyncio.create_task(go_away(theirs))
    ...     async with ClientConnection(ours, "example.org", "http") as client:
    ...         await asyncio.sleep(0.5)                          # the settings come, so three streams may be opened
    ...         requests = [client.request("GET", "/") for _ in range(3)]
    ...         for result in await asyncio.gather(*requests, return_exceptions=True):
    ...             print(type(result).__name__)
    ...     await server
    >>> clock.run(main())
    ClientResponse
    ConnectionResetError
    RequestRefused
"""

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Self

from minproto.aio.address import Address
from minproto.aio.content import CANCELLED_BY_APP, Pieces, checked, close_body
from minproto.aio.cores import chosen
from minproto.aio.http import HeaderFields
from minproto.aio.http_client import (
    ClientResponse,
    Connecting,
    RequestRefused,
    advice_on_silence,
    request_fields,
    with_first_bytes,
)
from minproto.aio.loop import let_arrive
from minproto.aio.multiplex import Http2Stream, Multiplexer, end_tasks, goaway_text
from minproto.aio.options import Timeouts, check_common
from minproto.aio.patience import ResponsePatience
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT, Event, RemoteProtocolError
from minproto.http import EndOfMessage, RequestHead, ResponseHead
from minproto.http2 import Connection, GoAway, Limits, Settings
from minproto.http2_frames import CANCEL, ENABLE_CONNECT_PROTOCOL, MAX_ID, NO_ERROR

LARGE_HEAD = 8_192
"""A request whose fields have more bytes than this is not sent before the server's settings have arrived."""


class ClientConnection(Multiplexer):
    """A client's connection: requests side by side, from any number of tasks."""

    refusal = RequestRefused

    def __init__(self, pipe: Pipe, host: str, scheme: str, limits: Limits = Limits(), timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008
        """``host``: host and port of the server, for the ``:authority`` of each request, unless the caller gives a
        Host field. ``scheme``: "http" or "https"."""
        super().__init__(chosen(Connection)(CLIENT, limits, scheme), pipe, timeouts)
        self.host = host
        self._closing = False
        self._error: RequestRefused | None = None  # the error for requests made after the end of the connection
        self._waiting: deque[asyncio.Future[None]] = deque()  # one for each request waiting until it may open a stream
        self._promised = 0  # streams that woken requests are about to open
        self._settings_known = asyncio.Event()  # the server's settings have arrived, or will never come
        self._reader = asyncio.create_task(self._run())

    # -- the life of the connection

    async def _run(self) -> None:
        """Read until the connection is over, and tell all requests why. This is the reader task.

        Requests in flight get ``error``: nobody knows whether the server has acted on them. Requests made
        later get ``self._error``, which is a RequestRefused: no part of them was sent.
        """
        error: Exception = ConnectionResetError("the connection was closed")
        last_words: list[Event] = [GoAway(0)]
        try:
            await self.read()
            ended = "the server closed the connection" if self.endpoint.ended else "the connection was closed"
            error = self._loss(ended)
        except RemoteProtocolError as fault:
            error = with_first_bytes(fault, self.endpoint, "HTTP/2")
            last_words = self.core.farewell(fault)
            if self.endpoint.ended:  # a server that is gone has broken no rule
                error = self._loss(str(error))
        except ConnectionError as loss:
            error = self._loss(str(loss))
        finally:
            self._error = RequestRefused(f"the connection is over: {error}")
            uploads = [stream.upload for stream in self.streams.values()]
            self.fail_all(error)
            self._settings_known.set()
            self._wake_waiting()
            await end_tasks([self._writer, *uploads])
        if not self.endpoint.lost:
            await self.endpoint.close(last_words)

    def _loss(self, reason: str) -> ConnectionError:
        """Return the error for the requests in flight when the connection is lost."""
        said = self.core.going_away
        more = f", after GOAWAY {goaway_text(said)}" if said else advice_on_silence(self.endpoint)
        return ConnectionResetError(reason + more)

    def is_done(self) -> bool:
        """Return whether to close: the user wants it, the connection is idle, or the server goes away and owes no answer."""
        return self._closing or self.is_idle or (self.core.going_away is not None and not self.streams)

    def on_event(self, event: Event) -> None:
        """Handle an event that is not content. Called by the reader, so it must not wait.

        Each event may have made room for another request: the end of a stream, a reset, new settings.
        """
        if isinstance(event, ResponseHead) and (stream := self.streams.get(event.stream)):
            stream.receive(event)
        elif isinstance(event, GoAway):
            for stream in list(self.streams.values()):
                if stream.id > event.last:
                    stream.fail(_unprocessed(event, stream.id))
        elif isinstance(event, Settings):
            self._settings_known.set()
        if self._waiting:
            self._wake_waiting()

    async def close(self) -> None:
        """Close the connection. Requests in flight are given up."""
        self._closing = True
        self.endpoint.interrupt()  # the reader checks whether the connection is done
        await asyncio.wait([self._reader])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # a block that is cancelled or fails does not wait for the peer
            self.endpoint.abort()
        await self.close()

    # -- a request

    @property
    def is_free(self) -> bool:
        """Whether the connection takes another request, now or when a stream is free."""
        over = self._closing or self._error is not None or self.core.going_away is not None
        return not over and self.core.next_stream <= MAX_ID

    async def offers_websocket(self) -> bool:
        """Return whether the server offers WebSocket on a stream (RFC 8441 §3), as soon as it has sent its settings."""
        await self._settings_known.wait()
        return bool(self.core.peer_settings.get(ENABLE_CONNECT_PROTOCOL))

    def watch(self, told: Callable[[], None]) -> None:
        """Have the loop call ``told`` when the connection is over."""
        self._reader.add_done_callback(lambda reader: told())

    async def request(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        patience: float | None = None,
        protocol: str = "",
    ) -> ClientResponse:
        """Send a request as soon as the server allows one more, and wait for the head of its response.

        The head may come before an upload is complete: the upload continues while the response is read (RFC 9110 §7.5). It
        ends with the response, since a server that has said everything needs no more content. Once the upload is complete, the
        server has ``patience`` seconds for the head; None means ``Timeouts.idle``. Interim responses (1xx) are skipped.

        ``headers``: a mapping, or pairs of a name and a value. ``body``: bytes, or an async iterator that generates the
        content as it is sent. ``protocol``: for a CONNECT, what the stream is to be used for, such as ``websocket``
        (RFC 8441 §4).

        Raises the exceptions listed in "Which error means what".
        """
        # The target of an extended CONNECT is a path, as that of a GET is.
        fields = request_fields("GET" if protocol else method, target, headers, body, self.host)
        if sum(len(name) + len(value) for name, value in fields) > LARGE_HEAD:
            await self._settings_known.wait()
        await self._wait_until_allowed(patience)
        stream = self._open_stream(RequestHead(method, target, fields, "2", self.core.next_stream, protocol))
        exchange = Exchange(self, stream)
        try:
            if method != "CONNECT":  # a tunnel's user writes to the stream, and ends it
                exchange.upload(body)
            response = ClientResponse(await exchange.receive_head(method, patience), exchange, self.timeouts.body)
            if method == "HEAD" or response.status in (204, 304) or stream.has_only_end:
                await response.read()  # nobody reads a response without content to its end
            return response
        except BaseException:
            await exchange.give_up()
            raise

    def _open_stream(self, head: RequestHead) -> Http2Stream:
        """Send the head of a request, and return its stream."""
        try:
            if head.stream > MAX_ID:  # §5.1.1: each stream number is used only once
                raise RequestRefused("the connection has had all the requests that it can have")
            self.endpoint.send(head)
        except BaseException:
            self._wake_waiting()  # another request may take the stream that this request was granted
            raise
        stream = self.streams[head.stream] = Http2Stream(self, head.stream)
        return stream

    async def _wait_until_allowed(self, seconds: float | None) -> None:
        """Wait until a request may be sent. Raises RequestRefused if the connection takes no more requests, TimeoutError if no
        stream is free within ``seconds``; None means without limit.

        When this returns, the caller has to send the request without an ``await`` in between, or another task may come first.
        """
        if not self.streams:  # the server may have closed the idle connection: let the reader see that
            await let_arrive()
        while self._error is None and self.core.going_away is None:
            if self._free_streams <= 0:
                await self._wait_for_stream(seconds)
            elif self.endpoint.unsent > HIGH_WATER:
                await self.wait_for_room()
            else:
                return
        if self._error is not None:
            raise self._error.with_traceback(None)
        assert self.core.going_away is not None
        raise RequestRefused(f"the server goes away: GOAWAY {goaway_text(self.core.going_away)}")

    # -- whose turn it is to open a stream: a semaphore whose size the server can change at any time

    @property
    def _free_streams(self) -> int:
        """How many more streams may be opened now. Until the server's settings have arrived, only one stream may be open.

        For example, if the server allows 100 streams, 97 are open, and 2 requests were woken but have not run yet, the
        number is 1.
        """
        allowed = self.core.max_active if self.core.settings_received else 1
        return allowed - self.core.active - self._promised

    async def _wait_for_stream(self, seconds: float | None) -> None:
        """Wait in line until a stream is free, or the connection takes no more requests. Raises TimeoutError.

        The caller may be cancelled at the moment it is woken. Then the stream that it was promised goes to the next
        request in line.
        """
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds) as limit:
                await waiting
        except BaseException as error:
            with suppress(ValueError):  # if it was woken, it is no longer in line
                self._waiting.remove(waiting)
            self._redeem(waiting)
            self._wake_waiting()
            late = f"{self.core.active} streams are open, and none was free"
            if limit.expired():
                raise TimeoutError(f"{late} within {seconds:g} s") from None
            error.add_note(late)  # a timeout around this wait cancels it, and ``Client`` tells its user what was waited for
            raise
        self._redeem(waiting)

    def _redeem(self, waiting: "asyncio.Future[None]") -> None:
        """Release the promise to a woken request, which opens its stream now, or never will."""
        if not waiting.cancelled():
            self._promised -= 1

    def _wake_waiting(self) -> None:
        """Wake as many requests as there are free streams; or all, if the connection takes no more requests."""
        is_over = self._error is not None or self.core.going_away is not None
        free = len(self._waiting) if is_over else self._free_streams
        while self._waiting and free > 0:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._promised += 1
                free -= 1

    # -- the end of a stream

    def on_half_closed(self, stream: Http2Stream) -> None:
        """Drop a stream that is over on both sides. Events that the caller has not read stay in the response. So a response
        that nobody reads, such as a 204, is freed when the caller drops it."""
        if not self.core.is_open(stream.id) and (stream.upload is None or stream.upload.done()):
            self.on_closed(stream)

    def on_closed(self, stream: Http2Stream) -> None:
        """Drop a stream that its user has left, and let the next request open a stream."""
        if stream.id in self.streams:
            stream.reset(CANCEL)
            self.remove(stream)
            self._wake_waiting()
            if self.is_done():
                self.endpoint.interrupt()  # the reader checks whether the connection is done


def _unprocessed(event: GoAway, stream: int) -> ConnectionError:
    """Return the error for a request on a stream that the server has not processed (RFC 9113 §6.8)."""
    text = f"GOAWAY {goaway_text(event)}"
    if stream == 1 and event.code != NO_ERROR:  # the likely fault is this request: see "Which error means what"
        return ConnectionResetError(f"the server ended the connection at its first request: {text}")
    return RequestRefused(f"the server goes away: {text}")


class Exchange:
    """One request, from its upload to the end of its response. A ``ClientResponse`` reads its content from here."""

    def __init__(self, connection: ClientConnection, stream: Http2Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._is_tunnel = False
        self._patience = ResponsePatience(connection.endpoint, None)

    # -- the upload

    def upload(self, body: bytes | AsyncIterator[bytes]) -> None:
        """Send the request's content. If that takes time, a task does it: the server may answer before the upload is done."""
        stream = self._stream
        if isinstance(body, bytes):
            stream.write(body)
            stream.close_write()
        if not isinstance(body, bytes) or stream.unsent:
            stream.upload = asyncio.create_task(self._send_content(body))
            stream.upload.add_done_callback(lambda _: self._connection.on_half_closed(stream))
        self._patience = ResponsePatience(self._connection.endpoint, stream.upload)

    async def _send_content(self, body: bytes | AsyncIterator[bytes]) -> None:
        """Send all the content. If that fails, the request fails with the same error."""
        try:
            if isinstance(body, bytes):
                return await self._stream.finish()
            pieces = Pieces(body)
            async for piece in pieces:
                self._stream.write(checked(piece))
                await pieces.pause_for(self._stream.drain())
            self._stream.close_write()
        except asyncio.CancelledError:
            if self._stream.failure is not None:  # we cancelled this task: the request was given up, or is lost
                raise
            self._fail_upload(RuntimeError(CANCELLED_BY_APP))
        except Exception as error:
            self._fail_upload(error)
        finally:
            await close_body(body)

    def _fail_upload(self, error: Exception) -> None:
        """Reset the stream, because the rest of the content will not come. The caller of ``request`` gets the error."""
        self._stream.reset(CANCEL)
        self._stream.fail(error)

    # -- the response

    async def receive_head(self, method: str, seconds: float | None) -> ResponseHead:
        """Wait for the head of the final response. Raises TimeoutError if the server is silent for too long."""
        self._patience.begin(self._connection.timeouts.idle if seconds is None else seconds, for_head=True)
        while True:
            event = await self._next_event()
            if isinstance(event, ResponseHead) and event.status >= 200:
                self._is_tunnel = method == "CONNECT" and event.status < 300
                return event
            if self._patience.left() <= 0:  # a flood of 1xx never lets ``_next_event`` wait, and so time out
                raise self._patience.error()

    async def receive_content(self, seconds: float | None) -> Event:
        """Wait for the next Data or EndOfMessage. Raises TimeoutError after ``seconds``; None means without limit."""
        try:
            self._patience.begin(math.inf if seconds is None else seconds)
            event = await self._next_event()
        except BaseException:
            await self.give_up()
            raise
        if isinstance(event, EndOfMessage):
            await self.give_up()
        return event

    async def _next_event(self) -> Event:
        """Wait for the stream's next event, as long as the patience lasts. After that, raise TimeoutError.

        The patience is short while the server may still be reading the upload, so that we check its progress regularly.
        """
        while True:
            try:
                left = self._patience.left()
                async with asyncio.timeout(None if left == math.inf else left) as limit:
                    return await self._stream.next_event()
            except TimeoutError:
                if not limit.expired():  # the upload's iterator raised this error, by a timeout of its own
                    raise
                await let_arrive()
                if self._patience.left() <= 0 and not self._stream.has_arrived:
                    raise self._patience.error() from None

    def tunnel(self) -> Pipe | None:
        """Return the stream as a pipe if the server has agreed to a CONNECT: another protocol runs on it from now on."""
        return self._stream if self._is_tunnel else None

    async def give_up(self) -> None:
        """End the exchange: nobody wants the rest of the response, or it is complete."""
        self._stream.abort()
        await end_tasks([self._stream.upload])


def connect_http2(
    host: str,
    port: int,
    ssl: tls.SSLContext | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> Connecting[ClientConnection]:
    """Connect to an HTTP/2 server, within ``Timeouts.handshake`` seconds: ``async with connect_http2(host, port) as client``,
    or ``client = await connect_http2(host, port)``.

    Without ``ssl`` the server has to be known to speak HTTP/2 in clear text ("prior knowledge", RFC 9113 §3.3). ``ssl`` is a
    context that offers HTTP/2, by ``set_alpn_protocols(["h2"])``. It belongs to the caller, so we do not change it.

    Raises ValueError if ``host`` is not a host name (a URL, for example); OSError or TimeoutError if the server does not
    answer; RemoteProtocolError if TLS did not choose HTTP/2 (§3.2).
    """
    return Connecting(_connect_http2(host, port, ssl, limits, timeouts))


async def _connect_http2(
    host: str, port: int, ssl: tls.SSLContext | None, limits: Limits, timeouts: Timeouts
) -> ClientConnection:
    check_common(limits, Limits, timeouts, ssl)
    address, scheme = Address(host, port), "https" if ssl else "http"
    pipe = await connect_pipe(address, ssl, handshake=timeouts.handshake, linger=timeouts.linger)
    protocol = pipe.info("ssl_object").selected_alpn_protocol() if ssl is not None else "h2"
    if protocol != "h2":
        pipe.abort()
        advice = 'give a context with set_alpn_protocols(["h2"]), or use connect_http if the server has no HTTP/2'
        raise RemoteProtocolError(f"HTTP/2 was not chosen, but {protocol or 'no protocol'}: {advice}")
    return ClientConnection(pipe, address.authority(scheme), scheme, limits, timeouts)
