"""An HTTP client for programs: URLs, a pool of connections for each origin, HTTP/1.1 and HTTP/2.

    async with Client() as client:
        response = await client.get("https://example.org/items?page=2", timeout=5)
        if response.status == 200:
            items = await response.json()

One request, from the call to the last byte of its response:

    client.get(url)
      split_client_url              a wrong URL is refused before anything is sent
      pool of https://example.org   the pool of this origin; the first request to an origin makes it
        lease                       wait for a connection, or open one: TLS says whether it speaks HTTP/2
      connection.request            send the request, wait for the head of the response (http1_client.py, http2_client.py)
      <- ClientResponse             the lease is in the response's hands now
    response.json()                 reads the content; at its end the connection goes back to the pool

A response is returned before its content has come, so the connection is in use until the response has been read to its end, or
closed. ``async with client.get(url) as response`` closes it in every case.

**Repeating.** A server may close an idle connection at the moment when the client sends the next request on it. Every program
that keeps connections alive would see such errors now and then. Whether a request may be repeated depends on what the server
has done with the first one:

    what happened                                                    repeated
    RequestRefused: not sent, or not processed by the server         whatever the method (RFC 9110 §9.2.2, RFC 9113 §8.7)
    ConnectionError on a connection that was used before, with no    once, if the method is idempotent (RFC 9110 §9.2.2):
      byte of a response                                             GET, HEAD, PUT, DELETE, OPTIONS or TRACE
    any other error                                                  never: a payment must not be sent twice

For example, a pool has one idle connection, and the server closes it while the request is on its way:

    connection 1, reused     -> GET /items HTTP/1.1      <- FIN, no byte of a response      a GET is idempotent: repeat
    connection 2, new        -> GET /items HTTP/1.1      <- HTTP/1.1 200 OK                 the user sees only this response

The user of a POST would get a ConnectionResetError instead: the server may have acted on the POST before it closed.

The content has to be the same again. Bytes are, and so is an iterator that nobody has begun. One that was begun has lost its
first pieces, so its request is not repeated.

Left out: cookies, redirects, content codings (gzip), proxies, authentication, caches, multipart forms. httpx has them.
"""

import asyncio
import json as json_module
import math
import ssl as tls
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import SplitResult

from minproto.aio.address import Address, request_target, split_client_url, url_address
from minproto.aio.content import check_content, close_body
from minproto.aio.http import HeaderFields, make_headers
from minproto.aio.http1_client import ClientConnection
from minproto.aio.http2_client import ClientConnection as Http2ClientConnection
from minproto.aio.http_client import ClientResponse, Connecting, RequestRefused, with_request
from minproto.aio.options import (
    Timeouts,
    check_common,
    check_seconds,
    check_type,
    checked_timeout,
    verifying_context,
)
from minproto.aio.pool import ASKS, CONNECTS, Ask, Connection, IdleConnections, Lease, OriginSnapshot, Pool
from minproto.aio.sockets import connect_pipe
from minproto.core import RemoteProtocolError, check_count
from minproto.http import Headers
from minproto.http1 import Limits
from minproto.http2 import Limits as Http2Limits

IDEMPOTENT = frozenset(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
"""The methods with which two requests have the effect of one (RFC 9110 §9.2.2)."""

Content = bytes | AsyncIterator[bytes]


class RequestOptions(TypedDict, total=False):
    """The options of a request."""

    headers: HeaderFields
    """A mapping, or pairs of a name and a value."""
    content: Content
    """Bytes, or an async iterator that makes the content as it is sent."""
    json: Any
    """An object that becomes the content; None means no content."""
    timeout: float | None
    """Seconds until the head of the response has come, whatever is done in this time: waiting for a connection, connecting,
    sending, repeating. Then each piece of content has as many seconds to come. ``math.inf`` means no limit, and None that the
    client's ``timeouts`` apply. ``asyncio.timeout`` limits all of it together."""


class Client:
    """An HTTP client. It belongs to one event loop, and any number of tasks may use it at once.

    Over ``https://`` a server has to show a certificate that the system trusts, and may choose HTTP/2 or HTTP/1.1. Over
    ``http://`` the client speaks HTTP/1.1.
    """

    def __init__(
        self,
        *,
        ssl: tls.SSLContext | None = None,
        max_connections: int = 6,
        max_idle: int = 100,
        idle_timeout: float = 15.0,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        http2_limits: Http2Limits = Http2Limits(),  # noqa: B008
        timeouts: Timeouts = Timeouts(),  # noqa: B008
    ) -> None:
        """``ssl``: the TLS context for ``https://``. None means one that trusts what the system trusts, and offers HTTP/2. A
        context of yours is used as it is: ``set_alpn_protocols(["h2", "http/1.1"])`` makes it offer HTTP/2.
        ``max_connections``: how many connections of HTTP/1.1 may be open to one origin. Other requests wait in line.
        ``max_idle``: how many connections may be idle, to all origins together.
        ``idle_timeout``: after so many seconds, an idle connection is closed.
        ``timeouts``: ``handshake`` to connect; ``idle`` in line for a connection, and for the head of a response; ``body`` for
        each piece of its content. The ``timeout`` of a request replaces the last three.
        """
        check_common(limits, Limits, timeouts, ssl)
        check_type("http2_limits", http2_limits, Http2Limits)
        check_count("max_connections", max_connections)
        check_count("max_idle", max_idle, 0)
        check_seconds("idle_timeout", idle_timeout)
        self._ssl = self._http1_context = ssl
        self._max_connections = max_connections
        self._limits = limits
        self._http2_limits = http2_limits
        self._timeouts = timeouts
        self._http2_timeouts = replace(timeouts, idle=math.inf)  # the pool ends idle connections
        self._idle = IdleConnections(max_idle, idle_timeout)
        self._pools: dict[tuple[str, Address], Pool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that has made the first request
        self._is_closed = False

    # -- requests

    def request(self, method: str, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        """Send a request, and return its response as soon as the head has come: ``response = await client.request(…)``, or
        ``async with client.request(…) as response``, which closes the response at the end of the block.

        ``options``: see ``RequestOptions``.

        Raises ValueError for a URL that can't be asked, LocalProtocolError and TypeError for a request that can't be sent, and
        what an iterator of content raises. Raises OSError if the server can't be reached; RequestRefused if it has not
        processed the request; ConnectionError if the connection was lost; TimeoutError; RemoteProtocolError for an answer that
        is not HTTP.
        """
        return Connecting(self._request(method, url, **options))

    def get(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        """Send a GET: see ``request``. So do the other methods, which are named after theirs."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        return self.request("HEAD", url, **options)

    def post(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        return self.request("DELETE", url, **options)

    def options(self, url: str, **options: Unpack[RequestOptions]) -> Connecting[ClientResponse]:
        return self.request("OPTIONS", url, **options)

    # -- one request, on as many connections as it takes

    async def _request(
        self,
        method: str,
        url: str,
        *,
        headers: HeaderFields = (),
        content: Content = b"",
        json: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109 - users of other clients look for this name
    ) -> ClientResponse:
        """Check a request, make it within ``timeout``, and let every error name it.

        URL, fields and content are checked before the request gets in line, so that a mistake in the program raises at once,
        and costs no connection. An error of the user's own iterator of content is raised as it is.
        """
        self._check_usable()
        checked_timeout("timeout", timeout)
        parts, fields = split_client_url(url, "http"), make_headers(headers)
        body = _checked_content(content, json, fields)
        ask = Ask(f"{method} {parts.scheme}://{parts.netloc}{parts.path}", asyncio.get_running_loop().time())
        # With a timeout, one clock runs for everything. Without, each wait has its own.
        seconds, patience = (None, self._timeouts.idle) if timeout is None else (timeout, math.inf)
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds) as limit:
                response = await self._ask(ask, method, parts, fields, body, patience)
        except (OSError, RemoteProtocolError) as error:
            if not isinstance(body, bytes) and body.failure is error:  # the user's own error
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                error = TimeoutError(f"{self._lateness(ask, parts, error.__cause__)} within {timeout:g} s")
            raise with_request(error, ask.name) from error
        response.url = url
        if timeout is not None:
            response.body_timeout = timeout
        return response

    async def _ask(
        self, ask: Ask, method: str, parts: SplitResult, fields: Headers, body: "bytes | _MadeOnce", patience: float
    ) -> ClientResponse:
        """Send a request, and send it again where that is right: see "Repeating". ``patience``: seconds of each wait.

        Each attempt has a lease of its own. After a failure the lease ends before the next one is asked for. Otherwise a
        request that repeats would hold two places, and with ``max_connections=1`` it would wait for itself.
        """
        repeats, address = _Repeats(method, body), url_address(parts)
        while True:
            lease = await self._pool(parts.scheme, address).lease(ask, patience)
            ask.step = ASKS
            try:
                response = await lease.connection.request(method, request_target(parts), fields, body, patience=patience)
                lease.bind(response, ask.name)
                return response
            except BaseException as error:
                lease.end()
                if not (isinstance(error, ConnectionError) and repeats.allow(error, lease)):
                    raise

    def _pool(self, scheme: str, address: Address) -> Pool:
        """Return the pool of an origin.

        ``http://a`` and ``http://a:80/x`` are one origin: the address has the port in both cases. The scheme is a part of the
        key, because a request for ``https://`` must never be sent on a connection without TLS.
        """
        pool = self._pools.get((scheme, address))
        if pool is None:
            self._forget_empty_pools()
            dial = partial(self._dial, scheme, address)
            pool = Pool(f"{scheme}://{address}", dial, self._max_connections, self._idle)
            self._pools[scheme, address] = pool
        return pool

    def _forget_empty_pools(self) -> None:
        """Drop the pools without connections, now that one more is made: a crawler would fill the memory with them."""
        for key, pool in list(self._pools.items()):
            if pool.is_empty:
                del self._pools[key]

    async def _dial(self, scheme: str, address: Address) -> Connection:
        """Open a connection: of HTTP/2 where TLS has chosen it, otherwise of HTTP/1.1.

        The TLS context is made at the first ``https://`` request, because reading the system's certificates takes time, and a
        client of ``http://`` alone needs none. ALPN (RFC 7301) lists "h2" first; the server chooses one of the two.
        """
        if scheme == "https" and self._ssl is None:
            self._ssl = verifying_context()
            self._ssl.set_alpn_protocols(["h2", "http/1.1"])
        ssl = self._ssl if scheme == "https" else None
        pipe = await connect_pipe(address, ssl, handshake=self._timeouts.handshake, linger=self._timeouts.linger)
        authority = address.authority(scheme)
        if ssl is not None and pipe.info("ssl_object").selected_alpn_protocol() == "h2":
            return Http2ClientConnection(pipe, authority, scheme, self._http2_limits, self._http2_timeouts)
        return ClientConnection(pipe, authority, self._limits, self._timeouts)

    # -- for ``connect`` and ``EventSource``, which share the client's options

    def share(
        self, ssl: tls.SSLContext | None, timeouts: Timeouts, *, secure: bool
    ) -> tuple[tls.SSLContext | None, Timeouts]:
        """Return the options for a connection of HTTP/1.1 outside the pool: the client's context, unless it is not ``secure``,
        and the client's timeouts, unless the user has given others."""
        if ssl is not None:
            raise ValueError("ssl and client can't both be given: the client has a TLS context")
        if secure and self._http1_context is None:
            self._http1_context = verifying_context()  # our own context for requests offers HTTP/2
        return self._http1_context if secure else None, self._timeouts if timeouts == Timeouts() else timeouts

    async def http2_lease(self, scheme: str, address: Address) -> Lease | None:
        """Return the right to use a stream of HTTP/2; None if the server speaks HTTP/1.1.

        A WebSocket or a stream of events lasts, so it would hold one of the few places of HTTP/1.1. There it has a connection
        of its own, outside the pool. On a connection of HTTP/2 it is one stream of a hundred.
        """
        self._check_usable()
        if scheme != "https" or (pool := self._pool(scheme, address)).http_version == "1.1":
            return None
        ask = Ask(f"a stream to {pool.origin}", asyncio.get_running_loop().time())
        lease = await pool.lease(ask, self._timeouts.idle)
        if lease.pooled.is_http2:
            return lease
        lease.end()
        return None

    def _lateness(self, ask: Ask, parts: SplitResult, cancellation: BaseException | None) -> str:
        """Return what a request waited for when its time was over.

        The causes have different cures: a slow server, a server that allows few streams of HTTP/2, an address that does not
        answer, or responses that the program itself has forgotten to read. "timed out" alone would leave the user to guess.

        ``cancellation``: the CancelledError with which ``asyncio.timeout`` has ended the wait. A request that was in line for
        a stream has put a note on it (PEP 678): "100 streams are open, and none was free".
        """
        if ask.step == ASKS:
            notes: list[str] = getattr(cancellation, "__notes__", [])
            return notes[0] if notes else "no head of a response came"
        if ask.step == CONNECTS:
            return "no connection was open"
        return f"{self._pool(parts.scheme, url_address(parts)).holders()}, and no place was free"

    # -- what the client does now, and its end

    def snapshot(self) -> list[OriginSnapshot]:
        """Return for each origin how many connections there are, and which requests wait for one.

            for origin in client.snapshot():
                print(origin.origin, origin.busy, "in use;", len(origin.waiting), "in line")
        """
        self._check_usable()
        return [pool.snapshot() for pool in self._pools.values() if not pool.is_empty]

    def _check_usable(self) -> None:
        """Raise RuntimeError in another event loop than that of the first request, or after the end."""
        self._check_loop()
        if self._is_closed:
            raise RuntimeError("the client is closed")

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise RuntimeError(
                "a Client belongs to one event loop, in one thread: make another Client here, or call"
                " asyncio.run_coroutine_threadsafe(client.get(…), loop)"
            )

    async def close(self) -> None:
        """Close all connections. Responses that have not been read to their end are given up, and requests in line fail."""
        await self._close(at_once=False)

    async def _close(self, *, at_once: bool) -> None:
        """Close every pool, and then wait until all connections have ended.

        ``_is_closed`` is set before the first ``await``. A request that another task makes meanwhile is refused, and opens no
        connection that nobody would close.
        """
        self._check_loop()
        self._is_closed = True
        for pool in self._pools.values():
            pool.close(at_once=at_once)
        await self._idle.close()

    async def __aenter__(self) -> Self:
        self._check_usable()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._close(at_once=kind is not None)  # a block that is cancelled or fails does not wait for the servers


def _checked_content(content: Any, json: object, fields: Headers) -> "bytes | _MadeOnce":
    """Return a request's content. JSON (RFC 8259: in UTF-8) has a Content-Type, which is added unless the user gives one."""
    if json is None:
        check_content(content)
    elif content != b"":
        raise ValueError("a request has one content: give content= or json=, not both")
    else:
        content = json_module.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        if fields.get("content-type") is None:
            fields.append(("content-type", "application/json"))
    if isinstance(content, bytes):
        return content
    return (_MadeOnceByGenerator if isinstance(content, AsyncGenerator) else _MadeOnce)(content)


class _Repeats:
    """How often a request may still be repeated: see "Repeating" at the top of this file.

    A server restarts, and three idle connections are dead. A GET meets them one after the other:

        connection 1, reused     RequestRefused: the client saw its end before it sent anything     repeat
        connection 2, reused     lost after the request was sent, without a byte of a response      repeat, this once
        connection 3, reused     lost in the same way                                               raise

    A refused request has reached no program, so another idle connection may be tried. A lost one may have been processed, and
    is repeated once at most.
    """

    def __init__(self, method: str, body: "bytes | _MadeOnce") -> None:
        self._is_idempotent = method in IDEMPOTENT
        self._body = body
        self._refused = False  # on a connection that was new
        self._lost = False  # with its connection

    def allow(self, error: ConnectionError, lease: Lease) -> bool:
        """Return whether to repeat the request after its failure on the connection of ``lease``."""
        if not isinstance(self._body, bytes) and self._body.is_begun:
            return False
        if isinstance(error, RequestRefused):
            # Of idle connections there may be several, all closed when their server was restarted: each is tried at most once.
            # But a server that refuses on a new connection as well would refuse for ever. So would one that resets each
            # stream of HTTP/2 with REFUSED_STREAM, and keeps the connection.
            was_idle = lease.is_reused and not lease.connection.is_free
            may, self._refused = not self._refused, self._refused or not was_idle
            return may
        # RFC 9110 §9.2.2: a client SHOULD NOT automatically retry a failed automatic retry. A reset of one HTTP/2 stream is
        # the server's answer to the request. Only the loss of the connection may have nothing to do with the request.
        may = lease.is_reused and lease.is_lost and self._is_idempotent and not self._lost
        self._lost = True
        return may


class _MadeOnce:
    """An iterator of content that knows whether anything was taken out of it, and with which error it has failed.

    ``is_begun`` decides whether the request may be repeated. ``failure`` tells an OSError of the user's file, which is raised
    as it is, from an OSError of the connection, which gets the request's name.
    """

    def __init__(self, iterator: AsyncIterator[bytes]) -> None:
        self._iterator: Any = iterator
        self.is_begun = False
        self.failure: BaseException | None = None

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Any:
        self.is_begun = True
        return self._noting(self._iterator.__anext__())

    async def _noting(self, step: Any) -> Any:
        """Take one step of the user's iterator, and keep its error. A cancellation is not an error of the iterator."""
        try:
            return await step
        except Exception as error:
            self.failure = error
            raise

    async def aclose(self) -> None:
        """Close the user's iterator. A generator then runs its ``finally`` blocks now, and an open file is closed."""
        await close_body(self._iterator)


class _MadeOnceByGenerator(_MadeOnce, AsyncGenerator[bytes, None]):
    """A ``_MadeOnce`` around a generator. ``Pieces`` throws a cancellation into a generator, and so into this object."""

    def asend(self, value: None) -> Any:
        return self._noting(self._iterator.asend(value))

    def athrow(self, *error: Any) -> Any:
        return self._noting(self._iterator.athrow(*error))
