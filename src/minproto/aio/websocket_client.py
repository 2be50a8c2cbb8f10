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

Left out: WebSocket over HTTP/2, which our server speaks. A client would gain nothing from HTTP/2: there are no other streams
to share the connection with.
"""

import asyncio
import math
import ssl as tls
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from secrets import token_bytes
from urllib.parse import SplitResult

from minproto.aio.address import request_target, split_client_url, url_address
from minproto.aio.http import HeaderFields, make_headers
from minproto.aio.http1_client import ClientConnection, connect_http
from minproto.aio.http_client import ClientResponse, Connecting
from minproto.aio.loop import Deadline
from minproto.aio.options import Timeouts, check_common, client_context
from minproto.aio.reconnect import Refused, read_refusal
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import check_offer
from minproto.core import CLIENT, LocalProtocolError, RemoteProtocolError
from minproto.deflate import Compression
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.websocket import Limits
from minproto.websocket_handshake import check_response, handshake

_OWN_FIELDS = frozenset(["connection", "upgrade", "content-length", "transfer-encoding"])
"""Fields that make up the handshake, as Sec-WebSocket-* do: a user's field of that name would appear in addition to ours."""


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
) -> Connecting[WebSocket]:
    """Open a WebSocket to ``ws://…`` or ``wss://…``: ``async with connect(url) as ws``, or ``ws = await connect(url)``.

    ``subprotocols``: names to offer; the server chooses one or none (``ws.subprotocol``).
    ``headers`` are added to the handshake (an Origin, cookies); a Host takes the place of ours. Fields that make up the
    handshake, such as Sec-WebSocket-Protocol, can't be among them.
    ``ssl``: for wss://; None means a context that checks the certificate.
    ``compression``: the offer of permessage-deflate, which the server may decline. None: no offer.
    ``limits`` and ``timeouts`` are for the WebSocket, except for ``Timeouts.handshake`` and ``linger``.

    Raises:

    - ValueError for any other URL, TypeError for an option of the wrong type;
    - LocalProtocolError for a field that can't be part of a handshake;
    - OSError if the server can't be reached, and TimeoutError if the handshake takes too long;
    - HandshakeRefused for an answer that does not open a WebSocket, RemoteProtocolError for an answer that is not HTTP.

    ``reconnecting(lambda: connect(url))`` connects again and again.
    """
    return Connecting(_connect(url, subprotocols, headers, ssl, compression, limits, timeouts))


async def _connect(
    url: str,
    subprotocols: Sequence[str],
    headers: HeaderFields,
    ssl: tls.SSLContext | None,
    compression: Compression | None,
    limits: Limits,
    timeouts: Timeouts,
) -> WebSocket:
    """Check the options, shake hands, and make the WebSocket. When this function ends, the HTTP connection is over.

    The options are checked before anything is sent. Otherwise a wrong option would show only in the answer, or never.
    """
    check_common(limits, Limits, timeouts, ssl)
    check_offer(subprotocols, compression)
    parts = split_client_url(url, "ws")
    if "#" in url:
        raise ValueError(f"{url}: the URL of a WebSocket has no fragment")  # RFC 6455 §3
    context, fields = client_context(ssl, parts.scheme, "wss"), _check_fields(make_headers(headers))
    http, request, response = await _shake_hands(parts, fields, context, subprotocols, compression, timeouts)
    # The status and the fields decide, and a 101 has no content. In any other answer, the content often says what is wrong.
    try:
        agreement = check_response(request, ResponseHead(response.status, response.headers), compression)
    except RemoteProtocolError as error:
        try:
            refusal = await read_refusal(response, timeouts.linger)
            await http.close()
        finally:
            http.endpoint.abort()  # does nothing if the connection is closed already
        raise HandshakeRefused(str(error), error.code, refusal) from None
    http.endpoint.stop()  # its timers: from here on the pipe belongs to the WebSocket's own endpoint
    assert response.pipe is not None  # every 101 comes with a pipe
    # A server may send its first message together with the 101. ``response.pipe`` gives those bytes first.
    return WebSocket(response.pipe, CLIENT, agreement, limits, timeouts)


def _check_fields(fields: Headers) -> Headers:
    """Return a user's fields. Raises LocalProtocolError for a field that would appear twice in the handshake.

    Servers disagree about which of two fields with one name counts. If the field is a length or an upgrade, that makes an
    attack possible (request smuggling), so our own server refuses the request.
    """
    for name, _ in fields:
        if name in _OWN_FIELDS or name.startswith("sec-websocket-"):
            raise LocalProtocolError(f"headers can't hold {name}: connect() sends its own (see subprotocols=, compression=)")
    return fields


async def _shake_hands(
    parts: SplitResult,
    headers: Headers,
    ssl: tls.SSLContext | None,
    subprotocols: Sequence[str],
    compression: Compression | None,
    timeouts: Timeouts,
) -> tuple[ClientConnection, RequestHead, ClientResponse]:
    """Connect, send the request, and wait for the head of the response, all within ``Timeouts.handshake``.

    Return the HTTP connection, the request (whose key the response has to match) and the response.

    Raises TimeoutError with a text that names the server. After any error, the connection is aborted: half a handshake is
    of no use to another request.
    """
    timeouts = replace(timeouts, idle=math.inf, head=math.inf)
    address, target = url_address(parts), request_target(parts)
    deadline = Deadline(asyncio.get_running_loop())
    try:
        with deadline(timeouts.handshake):
            http = await connect_http(address.connect_host, address.port, ssl, timeouts=timeouts)
            try:
                host = headers.get("host") or http.host
                request = handshake(host, target, b64encode(token_bytes(16)).decode(), subprotocols, compression)
                others = [field for field in headers if field[0] != "host"]
                return http, request, await http.request("GET", target, [*request.headers, *others])
            except BaseException:
                http.endpoint.abort()
                raise
    except TimeoutError as error:
        if str(error):  # connect_http has said which step took too long
            raise
        raise TimeoutError(f"{address}: no answer to the handshake of a WebSocket within {timeouts.handshake:g} s") from error
    finally:
        deadline.stop()
