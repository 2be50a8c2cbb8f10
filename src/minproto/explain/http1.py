"""HTTP/1.1, explained: heads line by line, content, chunks, and the protocol after an Upgrade.

The two sides cannot be explained separately. A response to HEAD has no content, even if it has a Content-Length.
After an Upgrade the client's bytes are HTTP or WebSocket, depending on the server's answer. So the two scripts share an
``Exchange``, with the methods of the requests that have no response yet.

A head that a server would refuse (one without Host, say) gets an error in its row. If it is still clear where the message
ends, the script continues after it.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from minproto.buffer import Buffer
from minproto.core import RemoteProtocolError, Wants
from minproto.deflate import Compression
from minproto.explain import meanings
from minproto.explain.rows import Script, Side, counted, opaque, readable
from minproto.explain.sse import EventStream
from minproto.explain.websocket import explain_websocket
from minproto.http import Headers, RequestHead, ResponseHead, check_host, check_target, important_fields, split_list
from minproto.http1 import REQUEST, RESPONSE, HeadReader, Limits, Syntax, request_framing, response_framing
from minproto.http1_body import Chunked, Framing, UntilClose, parse_chunk_end, parse_chunk_line
from minproto.sse import MEDIA_TYPE
from minproto.websocket_handshake import Agreement, check_response

LIMITS = Limits(max_headers=65_536)
MAX_UNANSWERED = 1_000
"""How many requests may be waiting for their responses."""

HTTP = b"HTTP/"
"""The first bytes of every response."""

_LINE = re.compile(rb".+?\r\n(?![\t ])", re.DOTALL)  # a field line, including lines folded into it (RFC 9112 §5.2)


@dataclass
class Exchange:
    """The state that the two scripts share."""

    client: Side
    server: Side
    methods: deque[str] = field(default_factory=deque)
    """The methods of the requests that have no final response yet."""
    undecided: RequestHead | None = None
    """The last request without a final response, if it asks for another protocol."""
    client_goes_on: Script[None] | None = None
    """The client's script in the other protocol, once the server has agreed to it."""
    server_goes_on: Script[None] | None = None
    """The server's script in the other protocol."""


def explain_http1(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Return the scripts of both sides."""
    exchange = Exchange(client, server)
    return _requests(client, exchange), _responses(server, exchange)


def unless_http1(client: Side, server: Side, otherwise: Script[None]) -> Script[None]:
    """Explain the server's bytes as HTTP/1.1 if they begin that way, otherwise by the script ``otherwise``.

    A server may answer a client of another protocol in HTTP/1.1: a client that speaks TLS gets a 400, for example.
    """
    yield from server.need(1)
    while server.buffer.size < len(HTTP) and HTTP.startswith(server.buffer.peek()):
        yield from server.need(server.buffer.size + 1)
    yield from explain_http1(client, server)[1] if server.buffer.peek(0, len(HTTP)) == HTTP else otherwise


# ---- the two sides -----------------------------------------------------------------------------------------------------


def _requests(side: Side, exchange: Exchange) -> Script[None]:
    """The client's script: head and body, again and again, up to a protocol switch.

    After a head that asks for an upgrade, the script pauses until the server has answered. If the server refuses, the client's
    next bytes are HTTP; if it agrees, they belong to the other protocol.
    """
    side.protocol = "HTTP/1.1"
    reader = HeadReader(REQUEST, LIMITS)
    while True:
        head, framing = yield from _request_head(side, reader)
        if len(exchange.methods) == MAX_UNANSWERED:
            raise RemoteProtocolError("so many requests have no answer that this one is not explained")
        exchange.methods.append(head.method)
        if head.method == "CONNECT" or "upgrade" in split_list(head.headers.get("connection", "") or ""):
            exchange.undecided = head
        yield side.row()
        yield from _body(side, framing, head.headers, REQUEST)
        while exchange.undecided is not None:
            yield Wants.PAUSED
        if exchange.client_goes_on is not None:
            yield from exchange.client_goes_on


def _request_head(side: Side, reader: HeadReader) -> Script[tuple[RequestHead, Framing]]:
    """Explain a request's head. Return the head, and where its content will end."""
    side.begin("request")
    yield from _empty_lines(side)
    found, raw = yield from side.parse(reader.read, LIMITS.max_head)
    (method, target, version), headers = found
    version = version.removeprefix("HTTP/")
    side.begin(f"{method} {target}")
    line, line_end, fields_raw = raw.partition(b"\r\n")
    _add_request_line(side, line + line_end, method, target, version)
    _add_fields(side, fields_raw, headers)
    fields = important_fields(headers)
    try:
        check_target(method, target, RemoteProtocolError)
        check_host(version, fields, RemoteProtocolError)
    except RemoteProtocolError as error:  # a server would refuse this head, but it is clear where the message ends
        side.error = str(error)
    return RequestHead(method, target, headers, version), request_framing(version, fields, RemoteProtocolError)


def _responses(side: Side, exchange: Exchange) -> Script[None]:
    """The server's script. Each response belongs to the oldest request that has no final response yet, and the response's body
    depends on that request's method."""
    side.protocol = "HTTP/1.1"
    reader = HeadReader(RESPONSE, LIMITS)
    while True:
        head = yield from _response_head(side, reader)
        if not exchange.methods:
            side.note("answers", "no request", "perhaps to one that could not be read, or that did not come in time", "")
        method = exchange.methods[0] if exchange.methods else "GET"
        framing = response_framing(method, head.status, head.version, important_fields(head.headers), RemoteProtocolError)
        if head.status == 101 or (method == "CONNECT" and 200 <= head.status < 300):
            _switch(exchange, head)
        elif head.status >= 200 and exchange.methods:
            exchange.methods.popleft()
            if not exchange.methods:
                exchange.undecided = None
        yield side.row()
        if exchange.server_goes_on is not None:
            yield from exchange.server_goes_on
        if head.status >= 200:
            yield from _body(side, framing, head.headers, RESPONSE)


def _response_head(side: Side, reader: HeadReader) -> Script[ResponseHead]:
    """Explain a response's head, and return it."""
    side.begin("response")
    found, raw = yield from side.parse(reader.read, LIMITS.max_head)
    (version, status, *_), headers = found
    version = version.removeprefix("HTTP/")
    line, line_end, fields_raw = raw.partition(b"\r\n")
    _add_status_line(side, line + line_end, version, status)
    _add_fields(side, fields_raw, headers)
    return ResponseHead(int(status), headers, version)


def _switch(exchange: Exchange, response: ResponseHead) -> None:
    """Choose the scripts of both sides for the bytes after this response."""
    client, server, request = exchange.client, exchange.server, exchange.undecided
    if request is None or len(exchange.methods) > 1:  # RFC 9110 §7.8: MUST NOT switch to what was not offered
        server.error = "101 without a request to upgrade"
        return
    if "websocket" in split_list(response.headers.get("upgrade", "") or ""):
        agreement = Agreement()
        try:
            agreement = check_response(request, response, Compression(window_bits=15))
        except RemoteProtocolError as error:
            server.error = str(error)
        scripts = explain_websocket(client, server, agreement)
    else:
        scripts = opaque(client, "tunnel"), opaque(server, "tunnel")
    exchange.client_goes_on, exchange.server_goes_on = scripts
    exchange.undecided = None


# ---- heads -------------------------------------------------------------------------------------------------------------


def _empty_lines(side: Side) -> Script[None]:
    """Explain empty lines before a request line, which a server ignores (RFC 9112 §2.2)."""
    for _ in range(LIMITS.max_empty_lines):
        yield from side.need(1)
        if side.buffer.peek(0, 1) != b"\r":
            return
        yield from side.need(2)
        if side.buffer.peek(0, 2) != b"\r\n":
            return
        side.add("empty line", side.take(2), "", "ignored before a request line", "RFC 9112 §2.2")


def _add_request_line(side: Side, line: bytes, method: str, target: str, version: str) -> None:
    target_at = len(method) + 1
    version_at = target_at + len(target) + 1
    side.add("method", line[:target_at], method, *meanings.METHODS.get(method, meanings.OTHER_METHOD))
    side.add("request-target", line[target_at:version_at], target, "the resource", "RFC 9112 §3.2")
    side.add("HTTP-version", line[version_at:], version, "the client's version", "RFC 9112 §2.3")


def _add_status_line(side: Side, line: bytes, version: str, status: str) -> None:
    status_at = len("HTTP/1.1 ")
    reason_at = min(status_at + len("200 "), line.index(b"\r"))
    reason = line[reason_at:-2].decode("latin-1")
    side.begin(f"{status} {reason}".rstrip())
    side.add("HTTP-version", line[:status_at], version, "the server's version", "RFC 9112 §2.3")
    side.add("status-code", line[status_at:reason_at], status, *meanings.of_status(int(status)))
    side.add("reason-phrase", line[reason_at:], reason, "for people: programs ignore it", "RFC 9112 §4")


def _add_fields(side: Side, raw: bytes, headers: Headers) -> None:
    """Add the field lines, and the empty line after them."""
    lines = [found[0] for found in _LINE.finditer(raw[:-2])]
    for line, (name, value) in zip(lines, headers, strict=True):
        side.add(name, line, value, *meanings.FIELDS.get(name, meanings.OTHER_FIELD))
    side.add("empty line", raw[-2:], "", "the end of the fields", "RFC 9112 §2.1")


# ---- bodies ------------------------------------------------------------------------------------------------------------


def _body(side: Side, framing: Framing, headers: Headers, syntax: Syntax) -> Script[None]:
    """Explain the content of a message, if its framing says that it has content."""
    add = _content(side, headers)
    if isinstance(framing, Chunked):
        yield from _chunks(side, add, HeadReader(syntax, LIMITS, "name"))
    elif isinstance(framing, UntilClose):
        while True:
            side.begin("content, until the connection ends")
            yield from side.need(1)
            add(side.take(side.buffer.size))
            yield side.row()
    elif framing.length:
        side.begin(f"content, {counted(framing.length, 'byte')}")
        yield from side.pieces(framing.length, add)
        yield side.row()


def _content(side: Side, headers: Headers) -> Callable[[bytes], None]:
    """Return the function that adds pieces of content: as lines of an event stream, or as bytes."""
    media_type = (headers.get("content-type") or "").partition(";")[0].strip().lower()
    if media_type == MEDIA_TYPE and "content-encoding" not in dict(headers):
        stream = EventStream()
        return lambda data: stream.add(side, data)
    meaning = f"of the type {media_type}" if media_type else "of a type that the head does not name"
    return lambda data: side.add("content", data, readable(data), meaning, "RFC 9110 §6.4")


def _chunks(side: Side, add: Callable[[bytes], None], trailers: HeadReader) -> Script[None]:
    """Explain chunks: a size in hexadecimal, that many bytes, CRLF. A chunk of size 0 is the last; trailers follow it."""
    size = -1
    while size:
        side.begin("chunk")
        (size, _), line = yield from side.parse(_parse_chunk_line, LIMITS.max_chunk_line)
        side.begin(f"chunk, {counted(size, 'byte')}" if size else "last chunk")
        side.add("chunk-size", line, str(size), "bytes of data, in hexadecimal", "RFC 9112 §7.1")
        if size:
            yield from side.pieces(size, add)
            _, end = yield from side.parse(parse_chunk_end, 2)
            side.add("CRLF", end, "", "the end of the chunk", "RFC 9112 §7.1")
            yield side.row()
    yield from _trailers(side, trailers)
    yield side.row()


def _parse_chunk_line(buffer: Buffer) -> tuple[int, int] | None:
    return parse_chunk_line(buffer, LIMITS.max_chunk_line)


def _trailers(side: Side, reader: HeadReader) -> Script[None]:
    """Explain the trailers: any number of field lines, and an empty line."""
    yield from side.need(2)
    if side.buffer.peek(0, 2) == b"\r\n":
        side.add("empty line", side.take(2), "", "the end of the content: no trailers", "RFC 9112 §7.1.2")
        return
    (_, headers), raw = yield from side.parse(reader.read, LIMITS.max_head)
    _add_fields(side, raw, headers)
