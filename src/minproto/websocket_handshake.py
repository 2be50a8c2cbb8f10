r"""The handshake of a WebSocket: an HTTP request and its response, after which the connection is no longer HTTP (RFC 6455 §4).

    GET /chat HTTP/1.1                                     HTTP/1.1 101 Switching Protocols
    Host: server.example.com                               Upgrade: websocket
    Upgrade: websocket                                     Connection: Upgrade
    Connection: Upgrade                                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
    Sec-WebSocket-Version: 13

Optional fields are Origin (a browser says whose script is connecting), Sec-WebSocket-Protocol (a list of subprotocols, from
which the server chooses one) and Sec-WebSocket-Extensions (``deflate.py``). Here are both sides in one trace:

    >>> request = handshake("server.example.com", "/chat", "dGhlIHNhbXBsZSBub25jZQ==", ["soap", "chat"])
    >>> response, agreement = accept_request(request, ["chat"])
    >>> response.status, response.headers.get("sec-websocket-accept"), response.headers.get("sec-websocket-protocol")
    (101, 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 'chat')
    >>> check_response(request, response) == agreement
    True
    >>> agreement
    Agreement(subprotocol='chat', deflate=None)

The key and its Accept prove one thing: the server has read this handshake and understood it. A web page can make a browser
send nearly any request to nearly any server. But no server that knows only HTTP would answer a key with its SHA-1 hash,
so a script cannot open a "WebSocket" to a mail server. The key is not a secret and authenticates nobody.

HTTP/2 has no Upgrade, Connection, Key or Accept. There a client asks by a CONNECT with ``:protocol = websocket``, and a server
accepts by a 200 (RFC 8441 §5). The other fields have the same meaning in both versions.

Left out: the versions of WebSocket before 13, which no browser speaks any more.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1

from minproto.core import LocalProtocolError, RemoteProtocolError
from minproto.deflate import NAME, Compression, Parameters, accept, agree, offer, parse_extensions
from minproto.http import TOKEN, Headers, RequestHead, ResponseHead, split_list

VERSION = "13"  # the client sends this value (§4.1), and the server accepts no other (§4.2.1)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # §4.2.2: a text that no other program would hash by chance (§1.3)
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64 (§4.2.1)


@dataclass(frozen=True)
class Agreement:
    """The result of a handshake: the subprotocol and the compression, each None if nothing was agreed on."""

    subprotocol: str | None = None
    deflate: Parameters | None = None


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a key: the SHA-1 hash of the key and a fixed text, in base64 (§4.2.2).

    The key is hashed as the request has it, without decoding its base64. The server sends the result, and the client
    compares it with its own (§4.1).

        >>> accept_key("dGhlIHNhbXBsZSBub25jZQ==")
        's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return b64encode(sha1(key.encode() + _GUID).digest()).decode()


def accept_request(
    request: RequestHead,
    subprotocols: Sequence[str] = (),
    compression: Compression | None = None,
    allow_origin: Callable[[str], bool] = lambda origin: True,
) -> tuple[ResponseHead, Agreement]:
    """Return a server's answer to a handshake, and what the two sides agree on (§4.2.1, §4.2.2). A 101 names the protocol that
    begins after it in an Upgrade field (RFC 9110 §15.2.2).

    ``subprotocols``: the subprotocols that the app speaks; the server chooses the client's favourite among them.
    ``compression``: how the server would compress; None: the server declines permessage-deflate.
    ``allow_origin`` is called with the Origin field, if there is one. Only browsers send it: it says whose script is
    connecting (§10.2). A browser adds the user's cookies to a handshake, whichever page asks for it. So a server that allows
    every Origin lets every page act as the user (cross-site WebSocket hijacking).

    The answer has Sec-WebSocket-Accept once (§11.3.3), like every other field.

    Raises RemoteProtocolError, whose ``code`` is an HTTP status (§10.7): 400 for a malformed request, 426 for a valid request
    that does not ask for version 13 of WebSocket, and 403 for an Origin that is not allowed. ``refusal`` turns the error into
    a response's head.
    """
    _check_upgrade(request)
    headers = request.headers
    version = headers.get("sec-websocket-version")
    if version is None:
        raise RemoteProtocolError("missing Sec-WebSocket-Version", 400)
    if version != VERSION:  # also "13, 13", from two fields: there MUST be only one (§11.3.5)
        raise RemoteProtocolError("only version 13 of WebSocket is spoken here", 426)
    origin = headers.get("origin")
    if origin is not None and not allow_origin(origin):  # an empty Origin is checked, too: a page may have sent it
        raise RemoteProtocolError("this origin is not allowed here", 403)
    fields = Headers()
    if request.version != "2":  # RFC 8441 §5: over HTTP/2, :protocol takes the place of the key
        key = headers.get("sec-websocket-key") or ""
        if not _KEY.fullmatch(key):  # two keys, joined by a comma, do not match either: there MUST be only one (§11.3.1)
            raise RemoteProtocolError("missing, repeated or invalid Sec-WebSocket-Key", 400)
        # RFC 9110 §7.8: a 101 MUST name the protocol in Upgrade, and Connection MUST name Upgrade.
        fields += [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept_key(key))]
    agreement = _negotiate(headers, subprotocols, compression, fields)
    return ResponseHead(200 if request.version == "2" else 101, fields), agreement


def _check_upgrade(request: RequestHead) -> None:
    """Check that a request asks for a WebSocket: in HTTP/1.1 by Upgrade (§4.2.1), in HTTP/2 by :protocol (RFC 8441 §5).

    Upgrade and Connection are lists. Firefox, for example, sends ``Connection: keep-alive, Upgrade``. A protocol's name has no
    case (RFC 9110 §7.8). A WebSocket can only honour the meaning of a GET, so another method MUST NOT switch (RFC 9110 §7.8).
    """
    if request.version == "2":
        if request.protocol.lower() != "websocket":
            raise RemoteProtocolError("this is a WebSocket: use an extended CONNECT", 400)
        return
    if request.method != "GET" or request.version == "1.0":
        raise RemoteProtocolError("a WebSocket begins with a GET of HTTP/1.1", 400)
    upgrade, connection = (split_list(request.headers.get(name, "") or "") for name in ("upgrade", "connection"))
    if "websocket" not in upgrade or "upgrade" not in connection:
        raise RemoteProtocolError("this is a WebSocket: ask for an upgrade", 426)


def _negotiate(
    headers: Headers, subprotocols: Sequence[str], compression: Compression | None, answer: Headers
) -> Agreement:
    """Choose a subprotocol and an extension among the offered ones, and add the fields that name the choice to ``answer``.

    If nothing fits, the field is left out, and the connection has no subprotocol or no compression: this is not an error
    (§4.2.2). The client may then close the connection. The client's lists may be split over several lines (§9.1, §11.3.4), but
    the answer has each of the two fields once (§11.3.2, §11.3.4). An extension that is not agreed on here is not used later
    (§5.8).
    """
    _check_own_subprotocols(subprotocols)
    offered = _subprotocols(headers.get("sec-websocket-protocol"))
    subprotocol = next((name for name in offered if name in subprotocols), None)
    if subprotocol is not None:
        answer.append(("sec-websocket-protocol", subprotocol))
    value = headers.get("sec-websocket-extensions")
    extensions = [] if value is None else parse_extensions(value)
    chosen = None if compression is None else accept(extensions, compression)
    if chosen is None:
        return Agreement(subprotocol)
    answer.append(("sec-websocket-extensions", chosen[0]))
    return Agreement(subprotocol, chosen[1])


def _subprotocols(value: str | None) -> list[str]:
    """Return the names in a field: tokens, each of them once (§4.1, §4.3), in the client's order of preference.

    Empty elements are ignored (RFC 9110 §5.6.1.2): ``soap,, chat`` has two names. Raises RemoteProtocolError (400).
    """
    if value is None:
        return []
    names = [name for part in value.split(",") if (name := part.strip(" \t"))]
    if not names or not _are_subprotocols(names):
        raise RemoteProtocolError("malformed Sec-WebSocket-Protocol", 400)
    return names


def _check_own_subprotocols(names: Sequence[str]) -> None:
    """Check the names that our own app passes. §4.1: each MUST be a token, and occur once.

    An empty name would become an empty element of the list that we send, which a sender MUST NOT generate (RFC 9110 §5.6.1.1).
    Raises LocalProtocolError; TypeError for a str, whose letters would be taken for names.
    """
    if isinstance(names, str):
        raise TypeError("subprotocols are a list of names, not one")
    if not _are_subprotocols(names):
        raise LocalProtocolError("subprotocols have to be tokens, each of them once")


def _are_subprotocols(names: Sequence[str]) -> bool:
    """Return whether the names are tokens, so that a comma separates two names, and whether they are unique (§4.1)."""
    return all(TOKEN.fullmatch(name) for name in names) and len(set(names)) == len(names)


def refusal(error: RemoteProtocolError) -> ResponseHead:
    """Return the head of a refusal with the status ``error.code`` (§10.7).

    A 426 (Upgrade Required) MUST say which version the server would accept (§4.2.2, §4.4), and which protocol (RFC 9110
    §15.5.22 and §7.8).
    """
    fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", VERSION)]
    return ResponseHead(error.code, Headers(fields if error.code == 426 else []))


def handshake(
    host: str, target: str, key: str, subprotocols: Sequence[str] = (), compression: Compression | None = None
) -> RequestHead:
    """Return a client's request. It MUST have each of these fields (§4.1), and each occurs once (§11.3.1, §11.3.5).

    Upgrade is about this connection alone. So Connection MUST name it (RFC 9110 §7.6.1 and §7.8), or a proxy passes it on.
    Host comes first, so that a proxy can choose the server early (RFC 9110 §7.2).

    ``key``: 16 random bytes in base64, new for each connection, so that no cache can answer with an old response.
    ``compression``: the offer of permessage-deflate; None: no offer.

    Raises LocalProtocolError for a subprotocol that is not a token, or that is listed twice.
    """
    _check_own_subprotocols(subprotocols)
    fields = [("host", host), ("upgrade", "websocket"), ("connection", "Upgrade")]
    fields += [("sec-websocket-key", key), ("sec-websocket-version", VERSION)]
    if subprotocols:
        fields.append(("sec-websocket-protocol", ", ".join(subprotocols)))
    if compression is not None:
        fields.append(("sec-websocket-extensions", offer(compression)))
    return RequestHead("GET", target, Headers(fields))


def check_response(request: RequestHead, response: ResponseHead, compression: Compression | None = None) -> Agreement:
    """Check a server's answer, and return what was agreed on.

    Raises RemoteProtocolError if a client MUST fail the connection (§4.1, §10.7). An Accept that occurs twice does not match
    (§11.3.3). The ``code`` of the error is the status of an
    answer that is not a 101 (for example a 401, or a 302 with a Location), and 0 for a 101 that is wrong.
    """
    if response.status != 101:
        raise RemoteProtocolError(f"the server answered {response.status}, not 101", response.status)
    headers = response.headers
    if (headers.get("upgrade") or "").lower() != "websocket":
        raise RemoteProtocolError("the server did not upgrade to websocket")
    if "upgrade" not in split_list(headers.get("connection", "") or ""):
        raise RemoteProtocolError("the server's answer lacks Connection: Upgrade")
    if headers.get("sec-websocket-accept") != accept_key(request.headers.get("sec-websocket-key") or ""):
        raise RemoteProtocolError("the server's Sec-WebSocket-Accept does not match the key")
    return agreed(request, response, compression)


def agreed(request: RequestHead, response: ResponseHead, compression: Compression | None = None) -> Agreement:
    """Return what an accepting answer agrees to, in either version of HTTP.

    Raises RemoteProtocolError for a subprotocol or an extension that the client did not offer, and so could not speak (§4.1):
    an extension is used only if it was negotiated in the handshake (§5.8), and so only if the answer names it (§9.1). A field
    that occurs twice matches no offer (§11.3.2, §11.3.4). The only extension that we know needs RSV1 for itself, so an answer
    with two extensions is refused (RFC 7692 §5).
    """
    headers = response.headers
    subprotocol = headers.get("sec-websocket-protocol")
    if subprotocol is not None and subprotocol not in _subprotocols(request.headers.get("sec-websocket-protocol")):
        raise RemoteProtocolError("the server chose a subprotocol that was not offered")
    value = headers.get("sec-websocket-extensions")
    if value is None:
        return Agreement(subprotocol)
    extensions = parse_extensions(value)
    if compression is None or len(extensions) > 1 or extensions[0][0].lower() != NAME:
        raise RemoteProtocolError("the server chose an extension that was not offered")
    return Agreement(subprotocol, agree(extensions[0][1], compression))
