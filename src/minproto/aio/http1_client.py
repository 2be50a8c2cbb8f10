r"""An HTTP/1.1 client's side of one connection: one request at a time.

The user's task sends a request and reads the response. A second task sends content that does not fit into the pipe at once, so
that a response can come before the upload is done:

    user's task                                  upload task                              server
      |--- POST / HTTP/1.1 -----------------------------------------------------------------> |
      |    starts the upload ---------------------> |                                         |
      |    waits for the head                       |--- content, piece by piece -----------> |
      |    (ResponsePatience)                       |    waits while the server is slow       |
      | <-------------------------------------------------- HTTP/1.1 413 Content Too Large ---|
      |    stops the upload ----------------------> X    (RFC 9112 §9.5: SHOULD)              |
      |    returns a ClientResponse

If the bytes fit into the pipe there is no second task:

    >>> from minproto.testing import network
    >>> async def converse():
    ...     pipe, server = network.pair()
    ...     async with ClientConnection(pipe, "example.org") as client:
    ...         asking = asyncio.create_task(client.request("POST", "/items", body=b"an item"))
    ...         print(await server.read())
    ...         server.write(b"HTTP/1.1 103 \r\nLink: </a.css>\r\n\r\n" b"HTTP/1.1 201 \r\nContent-Length: 2\r\n\r\nhi")
    ...         response = await asking
    ...         print(response.status, await response.read())
    >>> asyncio.run(converse())
    b'POST /items HTTP/1.1\r\nhost: example.org\r\ncontent-length: 7\r\n\r\nan item'
    201 b'hi'

**One request at a time.** Pipelining (§9.3.2) is left out. A slow response would hold up the responses after it (head-of-line
blocking), and when the connection breaks, nobody knows which requests the server has processed. A user whose requests have to
run in parallel opens several connections, or speaks HTTP/2.

**Keep-alive.** A server closes a connection that was idle for too long, and may do so at the very moment when we want to
use it. So ``request`` first checks whether the server's FIN has arrived. If so, nothing is sent, and RequestRefused tells the
user that the request can be made again. A server may also send something before it closes, such as a 408. Such bytes came
unasked, so they must never be mistaken for the response to the next request (§9.2).

Easy to get wrong:

- If the user ends a connection while a response is being read, our own abort looks like the end of the peer's output. Content
  that lasts until the connection ends would look complete. So the error is kept, and raised before the core is asked.
- A response may be complete while its upload is still under way. The next request has to wait until the upload has ended.
- The iterator of an upload can fail while the user waits for the response. The user gets the iterator's own error, and not its
  later consequence: a timeout, or the server's 408.
"""

import asyncio
import math
import ssl as tls
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Self

from minproto.aio.address import Address
from minproto.aio.content import CANCELLED_BY_APP, Pieces, checked, close_body
from minproto.aio.cores import chosen
from minproto.aio.endpoint import Endpoint
from minproto.aio.http import HeaderFields
from minproto.aio.http_client import (
    ClientResponse,
    Connecting,
    RequestRefused,
    advice_on_silence,
    is_interim,
    request_fields,
    with_first_bytes,
)
from minproto.aio.options import Timeouts, check_common, refuse
from minproto.aio.patience import ResponsePatience
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import Event, LocalProtocolError, RemoteProtocolError, Role
from minproto.http import Data, EndOfMessage, RequestHead, ResponseHead, split_list
from minproto.http1 import DONE, HEAD, IDLE, SWITCHED, Connection, Limits


class ClientConnection:
    """A client's connection: one request at a time, each response read to its end before the next request.

    What happens to the connection:

        what happened                                             the connection      the next request raises
        -------------------------------------------------------   -----------------   --------------------------------------
        the response was read to its end                          persists            nothing
        ... and it said "Connection: close"                       is closed           RequestRefused
        the response is not yet read to its end                   waits for that      LocalProtocolError: read it first
        the response was closed unread                            is aborted          RequestRefused
        a request failed: TimeoutError, a malformed response      is aborted          RequestRefused
        the server has closed it while it was idle                is aborted          RequestRefused
        the response has given it to another protocol             is the protocol's   LocalProtocolError
    """

    def __init__(self, pipe: Pipe, host: str, limits: Limits = Limits(), timeouts: Timeouts = Timeouts()) -> None:  # noqa: B008
        if isinstance(pipe, str):
            refuse("pipe", "a connected pipe (connect_http(host, port) makes one)", pipe)
        self.host = host
        """Host and port for the Host field, unless a request's target is a whole URL with a host of its own."""
        self._core = chosen(Connection)(Role.CLIENT, limits)
        self.endpoint = Endpoint(self._core, pipe, timeouts)
        self._timeouts = timeouts
        self._error: Exception | None = None  # why the connection is over: all later reads raise this
        self._starting = asyncio.Lock()  # of two concurrent requests, only one may find the connection free
        self._upload: asyncio.Task[None] | None = None  # the last upload that did not fit into the pipe at once
        self._upload_is_stopped = False  # we have cancelled it
        self._patience = ResponsePatience(self.endpoint, None)
        self._content_size = 0  # bytes of the current response's content, so far

    async def request(
        self,
        method: str,
        target: str,
        headers: HeaderFields = (),
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        patience: float | None = None,
    ) -> ClientResponse:
        """Send a request, and return the response as soon as its head has arrived. Interim responses (1xx) are skipped.

        The head may arrive before an upload is done. Otherwise we wait for the head for ``patience`` seconds, counted from the
        end of the upload; None means ``Timeouts.idle``. A 101 is returned when the upload is done, too.

        Raises LocalProtocolError or TypeError for a request that can't be sent, and whatever an iterator of content raises.
        Raises RequestRefused if nothing was sent, because the server has already closed the connection, or an earlier request
        was the connection's last one; ConnectionError if the server closed without an answer; TimeoutError if the server was
        too slow; RemoteProtocolError if its answer is not HTTP/1.1. A request that fails after it has begun closes the
        connection.
        """
        fields = request_fields(method, target, headers, body, self.host)
        if not isinstance(body, bytes) and {"content-length", "transfer-encoding"}.isdisjoint(dict(fields)):
            fields.append(("transfer-encoding", "chunked"))
        if fields.get("te") is not None and "te" not in split_list(fields.get("connection") or ""):
            fields.append(("connection", "TE"))  # RFC 9110 §10.1.4, RFC 9112 §7.4: so that no proxy passes the field on
        if fields.get("upgrade") is not None and "upgrade" not in split_list(fields.get("connection") or ""):
            fields.append(("connection", "upgrade"))  # a MUST for the same reason (RFC 9110 §7.6.1, §7.8)
        async with self._starting:
            await self._get_ready()
            self.endpoint.send(RequestHead(method, target, fields))
        self._start_upload(body)
        self._content_size = 0
        head = await self._receive_head(self._timeouts.idle if patience is None else patience)
        if head.status == 101:
            await self._complete_request()
        if not self._core.skip_empty_body():
            return ClientResponse(head, self, self._timeouts.body)
        await self._finish()  # a 204 has no content, so nobody will read it to its end: finish now
        return ClientResponse(head, None)

    @property
    def is_free(self) -> bool:
        """Whether the next request can be sent now. The server's FIN may be on its way: ``request`` looks for it."""
        return self._error is None and self._core.response is IDLE

    def watch(self, told: Callable[[], None]) -> None:
        """Have the loop call ``told`` when the server ends the connection.

        Without a watcher, a connection that a server has closed while it was idle stays open on our side until the next
        request.
        """
        self.endpoint.pipe.watch(lambda lost: told())

    # -- before a request

    async def _get_ready(self) -> None:
        """Wait until a request can be sent. Raises RequestRefused if the connection is over, LocalProtocolError if busy.

        A client MUST read a response to its end before it uses the connection again (RFC 9112 §9.3).
        """
        if self._core.response is DONE and self._upload is not None:
            await asyncio.wait([self._upload])  # the response came before its request was complete
        self._check_usable()
        if self._core.response is not IDLE:
            raise LocalProtocolError("read the response to its end first, and after a change of the protocol ask no more")
        await self._expect_silence()
        self._check_usable()  # the user may have closed the connection meanwhile

    def _check_usable(self) -> None:
        if self._error is not None:
            raise RequestRefused(f"the connection is used up: {self._error!r}") from self._error

    async def _expect_silence(self) -> None:
        """Check that the server has not closed the idle connection, or sent anything. Raises RequestRefused if it has.

        Bytes that came unasked are a server's last words, such as a 408, before it closes a connection that was idle for too
        long. They are not a fault of the server's, and not a response to the next request (§9.2).
        """
        try:
            self._core.next_event()
            for _ in range(2):  # during the first wait, bytes in the kernel arrive; the second wait returns them
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

    # -- an upload

    def _start_upload(self, body: bytes | AsyncIterator[bytes]) -> None:
        """Send content. If that takes time, a task does it, so that meanwhile the response can be awaited, or read."""
        if isinstance(body, bytes):
            self.endpoint.send(Data(body))
            self.endpoint.send(EndOfMessage())
            sending = self.endpoint.flush() if self.endpoint.congested else None
        else:
            sending = self._send_content(body)
        if sending is not None:
            self._upload_is_stopped = False
            self._upload = asyncio.create_task(sending)
            self._upload.add_done_callback(self._uploaded)
        self._patience = ResponsePatience(self.endpoint, self._upload)

    async def _send_content(self, body: AsyncIterator[bytes]) -> None:
        """Send content that the user generates as it is sent: this is the upload task, and it runs the user's iterator.

        A timeout in the iterator has to end the iterator, not this task: see ``Pieces``. An iterator that cancels its own
        task would look as if we had stopped the upload. But the iterator has failed, so a RuntimeError is raised instead.
        """
        pieces = Pieces(body)
        try:
            async for piece in pieces:
                self.endpoint.send(Data(checked(piece)))
                if self.endpoint.congested:
                    await pieces.pause_for(self.endpoint.flush())
        except asyncio.CancelledError as error:
            if self._upload_is_stopped:
                raise
            raise RuntimeError(CANCELLED_BY_APP) from error
        finally:
            await close_body(body)
        self.endpoint.send(EndOfMessage())

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        """Deal with the end of the upload task. If it has failed, whoever is waiting for the response is told why.

        A server that has broken the connection may have given the reason first, in a response that has arrived. Then the
        reader continues, and finds that response, or the end of the connection.
        """
        failure = None if upload.cancelled() else upload.exception()
        if failure is not None and (self._core.response is DONE or not self.endpoint.lost):
            self._end(failure)

    async def _complete_request(self) -> None:
        """Wait until the upload is done, now that a 101 has come. Raises what the upload raises.

        The user must not get the pipe earlier: bytes of the new protocol would get into the content (RFC 9110 §7.8). A server
        may answer 101 in the middle of an upload, for it has to read the rest of the content before it reads the new protocol.
        """
        if self._upload is None:
            return
        try:
            await asyncio.wait([self._upload])
            if self._error is not None:
                raise self._error.with_traceback(None)
            self._upload.result()
        except BaseException as error:
            await self._stop_upload()
            self._end(error)
            raise

    async def _stop_upload(self) -> BaseException | None:
        """End the upload, if there is one. Return its error if it had already failed."""
        if self._upload is None:
            return None
        self._upload_is_stopped = True
        self._upload.cancel()
        await asyncio.wait([self._upload])
        return None if self._upload.cancelled() else self._upload.exception()

    # -- a response

    async def _receive_head(self, seconds: float) -> ResponseHead:
        """Wait for the head of the final response."""
        self._patience.begin(seconds, for_head=True)
        event = await self._receive()
        assert isinstance(event, ResponseHead)
        if event.status >= 400:  # §9.5: a client SHOULD stop sending content that the server does not want
            await self._stop_upload()
        return event

    async def receive_content(self, seconds: float | None) -> Event:
        """Wait for the next Data, or EndOfMessage. Raises TimeoutError if none comes in ``seconds`` (None: no limit)."""
        self._patience.begin(math.inf if seconds is None else seconds)
        event = await self._receive()
        if isinstance(event, Data):
            self._content_size += len(event.data)
        if isinstance(event, EndOfMessage):
            await self._finish()
        return event

    async def _receive(self) -> Event:
        """Wait for an event other than an interim response. Whatever goes wrong ends the connection, and the upload with it.

        A cancellation ends the connection, too. The user has stopped waiting, but the response may still come, and would
        then be mistaken for the response to the next request.
        """
        try:
            while (event := self._next_event()) is None or is_interim(event):
                if event is None:
                    await self._receive_bytes()
                elif self._patience.left() <= 0:  # a flood of 1xx never lets ``_receive_bytes`` wait, and so time out
                    raise self._patience.error()
        except BaseException as error:
            failure = await self._stop_upload()
            if failure is not None and isinstance(error, ConnectionError):  # the upload's failure broke the connection
                self._end(failure)
                raise failure from None
            self._end(error)
            raise
        return event

    def _next_event(self) -> Event | None:
        """Return an event that has arrived, or None. If an error has ended the connection, raises that error first.

        The core says only that the message was cut off. We add to its error how many bytes were announced and how many
        arrived; or, if the server does not speak HTTP/1.1, what it has sent.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            return self._core.next_event()
        except RemoteProtocolError as error:
            if left := self._core.content_left:
                came = f"Content-Length is {self._content_size + left}, and {self._content_size} bytes of content came"
                raise RemoteProtocolError(f"{error}: {came}", error.code) from None
            raise with_first_bytes(error, self.endpoint, "HTTP/1") from None

    async def _receive_bytes(self) -> None:
        """Wait for bytes, or until ``_patience`` has to check again. Raises TimeoutError or ConnectionResetError."""
        try:
            size = await self.endpoint.receive(self._patience.left())
        except TimeoutError:
            if self._patience.left() <= 0:
                raise self._patience.error() from None
            return
        except ConnectionError as error:
            raise ConnectionResetError(f"{error}{advice_on_silence(self.endpoint)}") from error
        # A server that ends its output before any byte of a response breaks no rule of HTTP, but the core calls it a fault.
        if not size and (self._core.response is HEAD or self.endpoint.lost):
            advice = advice_on_silence(self.endpoint)
            raise self._error or ConnectionResetError(f"the server closed before it answered{advice}")

    # -- the end

    async def _finish(self) -> None:
        """Deal with the end of a response. After the last response, close the connection, as a client MUST (§9.6).

        A response is also the last one if its request can no longer be completed, because the upload was stopped.
        """
        core = self._core
        if core.response is IDLE or (core.keep_alive and self._upload is not None and not self._upload.done()):
            return
        if core.response is DONE or self.endpoint.unsent:
            self.endpoint.abort()  # nobody wants the unsent part of the request
        await self.close()

    def _end(self, error: BaseException) -> None:
        """End the connection at once, unless it has already ended. All later reads raise ``error``."""
        if self._error is None:
            self._error = error if isinstance(error, Exception) else ConnectionResetError("the connection was given up")
            self.endpoint.abort()

    def tunnel(self) -> Pipe | None:
        """Return the pipe for another protocol, with the bytes that came after the response; None if HTTP is still spoken."""
        return self.endpoint.hand_over() if self._core.request is SWITCHED else None

    async def give_up(self) -> None:
        """Receive no more of a response, because the user does not want it. In HTTP/1.1 that ends the connection."""
        await self._stop_upload()
        self._end(ConnectionResetError("the response was given up"))

    async def close(self) -> None:
        """Close the connection."""
        self._error = self._error or ConnectionResetError("the connection was closed")
        await self._stop_upload()
        await self.endpoint.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # a block that is cancelled, or fails, does not wait for the peer
            await self.give_up()
        await self.close()


# ---- connecting --------------------------------------------------------------------------------------------------------


def connect_http(
    host: str,
    port: int,
    ssl: tls.SSLContext | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008
) -> Connecting[ClientConnection]:
    """Connect to an HTTP/1.1 server, within ``Timeouts.handshake`` seconds: ``async with connect_http(host, port) as client``,
    or ``client = await connect_http(host, port)``.

    Raises ValueError if ``host`` is not a host (a URL, for example); OSError or TimeoutError if connecting fails;
    RemoteProtocolError if ``ssl`` offers HTTP/2, and the server has chosen it (RFC 9113 §3.2).
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
