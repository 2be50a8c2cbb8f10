"""The client's side of a WebSocket: ``connect`` makes an HTTP request, and takes over the connection if it is accepted.

    connect("ws://a/chat")
        connect_http("a", 80)             TCP, for wss:// with TLS: an ordinary client of HTTP/1.1
        http.request("GET", "/chat")      with the fields of the handshake
        101 Switching Protocols           checked; then the WebSocket gets the pipe, and the bytes after the 101
        any other answer                  HandshakeRefused, with the response: a 401, say, or a 302 with a Location

``Timeouts.handshake`` limits the time for all of this. HTTP's own timeouts, such as ``idle``, are for requests, and do not
apply.

A redirect (302) is not followed. The new location may be on another host, and only the user can say whether the cookies and
headers are meant for that host. The response has the Location.

A user's loop over the WebSocket is ``async for message in ws``. The loop ends when the server closes, and ``ws.close_code``
says why.

**Over HTTP/2.** ``connect(url, client=client)`` shares the options of a ``Client``, and its connection of HTTP/2 if the server
offers WebSocket there (RFC 8441). Then the WebSocket is one stream among the client's requests, without a TCP and a TLS
handshake of its own:

    CONNECT /chat, :protocol = websocket      in place of GET with Upgrade, Connection and Sec-WebSocket-Key
    200                                       in place of the 101
"""

import asyncio
import math
import ssl as tls
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from secrets import token_bytes
from urllib.parse import SplitResult

from minproto.aio.address import Address, request_target, split_client_url, url_address
from minproto.aio.client import Client
from minproto.aio.http import HeaderFields, make_headers
from minproto.aio.http1_client import ClientConnection, connect_http
from minproto.aio.http_client import ClientResponse, Connecting, with_request
from minproto.aio.loop import Deadline
from minproto.aio.options import Timeouts, check_common, check_type, client_context
from minproto.aio.pool import Lease
from minproto.aio.reconnect import Refused, read_refusal
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import check_offer
from minproto.core import CLIENT, LocalProtocolError, RemoteProtocolError
from minproto.deflate import Compression
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.websocket import Limits
from minproto.websocket_handshake import Agreement, agreed, check_response, handshake

_OWN_FIELDS = frozenset(["connection", "upgrade", "content-length", "transfer-encoding"])
"""Fields that make up the handshake, as Sec-WebSocket-* do: a user's field of that name would appear in addition to ours."""

_HTTP1_FIELDS = frozenset(["connection", "upgrade", "sec-websocket-key"])
NAME = "websocket"
"""The value of ``:protocol``."""


class HandshakeRefused(Refused):
    """A server's answer to ``connect`` that does not open a WebSocket.

    ``response`` has its ``status``, ``headers`` and ``body``. ``code`` is the status, or 0 for a faulty 101: for example,
    a 101 without the right Sec-WebSocket-Accept, or with a subprotocol that was not offered.
    """


def connect(
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: HeaderFields = (),
    ssl: tls.SSLContext | None = None,
    compression: Compression | None = Compression(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008
    timeouts: Timeouts = Timeouts(),  # noqa: B008
    client: Client | None = None,
) -> Connecting[WebSocket]:
    """Open a WebSocket to ``ws://…`` or ``wss://…``: ``async with connect(url) as ws``, or ``ws = await connect(url)``.

    ``subprotocols``: names to offer; the server chooses one or none (``ws.subprotocol``).
    ``headers`` are added to the handshake (an Origin, cookies); a Host takes the place of ours. Fields that make up the
    handshake, such as Sec-WebSocket-Protocol, can't be among them.
    ``ssl``: for wss://; None means a context that checks the certificate.
    ``compression``: the offer of permessage-deflate, which the server may decline. None: no offer.
    ``limits`` and ``timeouts`` are for the WebSocket, except for ``Timeouts.handshake`` and ``linger``.
    ``client``: a Client whose TLS context is used, whose timeouts are used unless others are given, and whose connection of
    HTTP/2 is used if it can carry a WebSocket.

    Raises:

    - ValueError for any other URL, TypeError for an option of the wrong type;
    - LocalProtocolError for a field that can't be part of a handshake;
    - OSError if the server can't be reached, and TimeoutError if the handshake takes too long;
    - HandshakeRefused for an answer that does not open a WebSocket, RemoteProtocolError for an answer that is not HTTP.

    ``reconnecting(lambda: connect(url))`` connects again and again.
    """
    return Connecting(_connect(url, subprotocols, headers, ssl, compression, limits, timeouts, client))


async def _connect(
    url: str,
    subprotocols: Sequence[str],
    headers: HeaderFields,
    ssl: tls.SSLContext | None,
    compression: Compression | None,
    limits: Limits,
    timeouts: Timeouts,
    client: Client | None,
) -> WebSocket:
    """Check the options, shake hands, and make the WebSocket. When this function ends, the HTTP connection is over.

    The options are checked before anything is sent. Otherwise a wrong option would show only in the answer, or never.
    """
    check_common(limits, Limits, timeouts, ssl)
    check_offer(subprotocols, compression)
    parts = _split(url)
    check_type("client", client, Client, or_none=True)
    if client is not None:
        ssl, timeouts = client.share(ssl, timeouts, secure=parts.scheme == "wss")
    context, request = client_context(ssl, parts.scheme, "wss"), _request(parts, headers, subprotocols, compression)
    http, response = await _reach(parts, request, context, timeouts, client)
    # The status and the fields decide, and a 101 has no content. In any other answer, the content often says what is wrong.
    try:
        agreement = _check_response(request, response, compression)
    except RemoteProtocolError as error:
        try:
            refusal = await read_refusal(response, timeouts.linger)
            await http.close()
        finally:
            http.abort()  # does nothing if the connection is closed already
        raise HandshakeRefused(f"{_shown(parts)}: {error}", error.code, refusal) from None
    http.stop()
    assert response.pipe is not None  # every 101 comes with a pipe
    # A server may send its first message together with the 101. ``response.pipe`` gives those bytes first.
    return WebSocket(response.pipe, CLIENT, agreement, limits, timeouts)


def _split(url: str) -> SplitResult:
    """Return the parts of a WebSocket's URL. Raises ValueError."""
    parts = split_client_url(url, "ws")
    if "#" in url:
        raise ValueError(f"{url}: the URL of a WebSocket has no fragment")  # RFC 6455 §3
    return parts


def _check_response(request: RequestHead, response: ClientResponse, compression: Compression | None) -> Agreement:
    """Check a server's answer, and return what was agreed on. Raises RemoteProtocolError.

    In HTTP/2 any 2xx accepts a CONNECT, and there is no Accept to compare with a key (RFC 8441 §5).
    """
    head = ResponseHead(response.status, response.headers)
    if response.http_version != "2":
        return check_response(request, head, compression)
    if response.pipe is None:
        raise RemoteProtocolError(f"the server answered {response.status}, not 200", response.status)
    return agreed(request, head, compression)


def _check_fields(fields: Headers) -> Headers:
    """Return a user's fields. Raises LocalProtocolError for a field that would appear twice in the handshake.

    Servers disagree about which of two fields with one name counts. If the field is a length or an upgrade, that makes an
    attack possible (request smuggling), so our own server refuses the request.
    """
    for name, _ in fields:
        if name in _OWN_FIELDS or name.startswith("sec-websocket-"):
            raise LocalProtocolError(f"headers can't hold {name}: connect() sends its own (see subprotocols=, compression=)")
    return fields


def _request(
    parts: SplitResult, headers: HeaderFields, subprotocols: Sequence[str], compression: Compression | None
) -> RequestHead:
    """Return the request of a handshake with the user's fields. A Host of the user's takes the place of ours."""
    fields = _check_fields(make_headers(headers))
    host = fields.get("host") or url_address(parts).authority(parts.scheme)
    request = handshake(host, request_target(parts), b64encode(token_bytes(16)).decode(), subprotocols, compression)
    others = [field for field in fields if field[0] != "host"]
    request.headers.extend(others)
    return request


class _Carrier:
    """What a WebSocket's bytes go through, until the WebSocket has it: a connection, or one stream."""

    def __init__(self, connection: ClientConnection | None, response: ClientResponse) -> None:
        self._connection = connection
        self._response = response

    def stop(self) -> None:
        """Stop the timers of a connection: from here on the pipe belongs to the WebSocket's own endpoint."""
        if self._connection is not None:
            self._connection.endpoint.stop()

    async def close(self) -> None:
        await (self._connection or self._response).close()

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.endpoint.abort()
        elif self._response.pipe is not None:
            self._response.pipe.abort()


async def _reach(
    parts: SplitResult, request: RequestHead, ssl: tls.SSLContext | None, timeouts: Timeouts, client: Client | None
) -> tuple[_Carrier, ClientResponse]:
    """Shake hands with the server of a URL. Every error names the URL."""
    try:
        return await _shake_hands(url_address(parts), request, ssl, timeouts, client)
    except (OSError, RemoteProtocolError) as error:  # ``reconnecting`` looks at the cause, so that has to stay the cause
        raise with_request(error, _shown(parts)) from error.__cause__ or error


def _shown(parts: SplitResult) -> str:
    """Return a URL for errors, without its query, which may hold a secret."""
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


async def _shake_hands(
    address: Address, request: RequestHead, ssl: tls.SSLContext | None, timeouts: Timeouts, client: Client | None
) -> tuple[_Carrier, ClientResponse]:
    """Connect, send the request, and wait for the head of the response, all within ``Timeouts.handshake``.

    Raises TimeoutError with a text that names the server. After any error, the connection is aborted: half a handshake is
    of no use to another request.
    """
    timeouts = replace(timeouts, idle=math.inf, head=math.inf)
    deadline = Deadline(asyncio.get_running_loop())
    try:
        with deadline(timeouts.handshake):
            if client is not None and (lease := await _websocket_lease(client, "https" if ssl else "http", address)):
                response = await _ask_on_stream(lease, request)
                return _Carrier(None, response), response
            http = await connect_http(address.connect_host, address.port, ssl, timeouts=timeouts)
            try:
                response = await http.request("GET", request.target, request.headers)
                return _Carrier(http, response), response
            except BaseException:
                http.endpoint.abort()
                raise
    except TimeoutError as error:
        if str(error):  # connect_http has said which step took too long
            raise
        raise TimeoutError(f"{address}: no answer to the handshake of a WebSocket within {timeouts.handshake:g} s") from error
    finally:
        deadline.stop()


async def _websocket_lease(client: Client, scheme: str, address: Address) -> Lease | None:
    """Return the right to use a stream of the client's HTTP/2 connection; None if that can't carry a WebSocket."""
    lease = await client.http2_lease(scheme, address)
    if lease is None:
        return None
    try:
        if await lease.http2.offers_websocket():
            return lease
    except BaseException:
        lease.end()
        raise
    lease.end()
    return None


async def _ask_on_stream(lease: Lease, request: RequestHead) -> ClientResponse:
    """Send the handshake as an extended CONNECT, which has no Upgrade, Connection and Key (RFC 8441 §5)."""
    fields = [field for field in request.headers if field[0] not in _HTTP1_FIELDS]
    try:
        response = await lease.http2.request("CONNECT", request.target, fields, patience=math.inf, protocol=NAME)
    except BaseException:
        lease.end()
        raise
    lease.bind(response, f"CONNECT {request.target}")
    return response
