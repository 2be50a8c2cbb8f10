"""What HTTP/2's field blocks say, and how (RFC 9113 §8.2, §8.3): heads and trailers of messages, compressed by HPACK.

A head is a list of fields. What HTTP/1.1 writes into its start line comes first, as *pseudo-header fields*, whose names begin
with a colon. An app sees the same ``RequestHead`` as from HTTP/1.1, with Host in the place of :authority, so what is read here
has to be at least as strict: what HTTP/2 can carry and HTTP/1.1 can't (a line break in a value, two Hosts, a second length)
is how requests are smuggled through gateways (§10.3). A malformed message is an error of its stream (§8.1.1).

The compression is that of the ``hpack`` library. Each block is decoded to its end, whatever it says, since it changes the
table that all later blocks refer to; so its limits are two: one that ends the stream, and a harder one for the connection.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from minproto.core import LocalProtocolError, RemoteProtocolError
from minproto.http import (
    TARGET,
    TOKEN,
    Headers,
    RequestHead,
    ResponseHead,
    check_target,
    field_block,
    is_host,
    parse_content_length,
    same_authority,
)
from minproto.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, StreamError

# ---- heads (§8.2, §8.3) ------------------------------------------------------------------------------------------------
#
#   request    :method  :scheme  :authority  :path             fields ...          CONNECT: :method and :authority alone
#              and :protocol with CONNECT (RFC 8441 §4)                            (§8.5); with :protocol all of them
#   response   :status                                         fields ...
#   trailers                                                   fields ...

Fields = Sequence[tuple[str, str]]

OF_CONNECTION = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
"""§8.2.2: they speak of an HTTP/1.1 connection. MUST NOT be generated, and make malformed what has them."""
_REQUEST_PSEUDO = frozenset({":method", ":scheme", ":authority", ":path", ":protocol"})
_RESPONSE_PSEUDO = frozenset({":status"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*")
_PATH = re.compile(rf"[{TARGET}]+")
_SENSITIVE = frozenset({"authorization", "proxy-authorization"})
"""Never to be put into a table, where guesses could be compared with them (RFC 7541 §7.1)."""
WITHOUT_CONTENT = frozenset({"GET", "HEAD", "DELETE"})
"""Requests that end with their head, unless a Content-Length says otherwise: their content means nothing (RFC 9110 §9.3)."""


def malformed(reason: str) -> StreamError:
    return StreamError(reason, PROTOCOL_ERROR)


def split_pseudo(fields: Fields, allowed: frozenset[str]) -> tuple[dict[str, str], Headers]:
    """Pseudo-header fields, each MUST be known, come once, and before all others; and those. Raises StreamError (§8.3)."""
    pseudo: dict[str, str] = {}
    for name, value in fields:
        if name[:1] != ":":
            break
        if name not in allowed or name in pseudo:
            raise malformed(f"pseudo-header field {name!r} is unknown, misplaced or repeated")
        pseudo[name] = value
    headers = Headers(fields[len(pseudo) :])
    if field_block(headers) is None:  # a colon is in no name, so a late pseudo-header field does not pass either
        wrong = next(field[0] for field in headers if field_block([field]) is None)
        raise malformed(f"the field {wrong!r} has an invalid value, or name (they are in lower case)")
    for name, value in headers:
        if name in OF_CONNECTION or (name == "te" and value.lower() != "trailers"):
            raise malformed(f"connection-specific field {name!r}")  # §8.2.2
    return pseudo, headers


def parse_request(fields: Fields, stream: int) -> RequestHead:
    """A request's head; Host stands for :authority, as in HTTP/1.1. Raises StreamError where it is malformed."""
    method, target, headers, protocol, scheme = _read_request(tuple(fields))
    return RequestHead(method, target, Headers(headers), "2", stream, protocol, scheme)


@lru_cache(64)  # clients say the same again and again
def _read_request(fields: tuple[tuple[str, str], ...]) -> tuple[str, str, Headers, str, str]:
    """Method, target, fields, protocol and scheme."""
    pseudo, headers = split_pseudo(fields, _REQUEST_PSEUDO)
    method, protocol = pseudo.get(":method", ""), pseudo.get(":protocol", "")
    target = _target(pseudo, method, protocol)
    if method == "CONNECT":  # RFC 9110 §9.3.6: it means nothing
        headers = Headers([field for field in headers if field[0] != "content-length"])
    _set_host(headers, pseudo.get(":authority"), pseudo.get(":scheme", ""))
    _join_cookies(headers)
    return method, target, headers, protocol, pseudo.get(":scheme", "")


def _target(pseudo: dict[str, str], method: str, protocol: str) -> str:
    """The request-target that the pseudo-header fields amount to."""
    if not TOKEN.fullmatch(method) or (":protocol" in pseudo and not (method == "CONNECT" and TOKEN.fullmatch(protocol))):
        raise malformed("missing or invalid :method or :protocol")
    if method == "CONNECT" and not protocol:
        if ":scheme" in pseudo or ":path" in pseudo or not _is_target(method, pseudo.get(":authority", "")):
            raise malformed("CONNECT takes :authority alone")  # §8.5
        return pseudo[":authority"]
    path = pseudo.get(":path", "")
    if not _SCHEME.fullmatch(pseudo.get(":scheme", "")):
        raise malformed("missing or invalid :scheme")
    if path[:1] not in ("/", "*") or not _PATH.fullmatch(path) or not _is_target("GET" if protocol else method, path):
        raise malformed(f"missing or invalid :path: {path!a:.200}")
    return path


def _is_target(method: str, target: str) -> bool:
    try:
        check_target(method, target, RemoteProtocolError)
    except RemoteProtocolError:
        return False
    return True


def _set_host(headers: Headers, authority: str | None, scheme: str) -> None:
    """§8.3.1: a Host that differs from :authority SHOULD be malformed; with none of both, nobody knows whom it is for."""
    hosts = headers.get_all("host")
    if authority is None:
        authority = hosts[0] if hosts else ""
    if not authority or not is_host(authority) or not all(same_authority(host, authority, scheme) for host in hosts):
        raise malformed(f"missing, invalid or contradictory :authority {authority!a:.200} and Host {hosts!a:.200}")
    if hosts:
        headers[:] = [field for field in headers if field[0] != "host"]
    headers.insert(0, ("host", authority))


def _join_cookies(headers: Headers) -> None:
    """§8.2.3: crumbs MUST be joined before they are given to anything that is not HTTP/2."""
    cookies = headers.get_all("cookie")
    if len(cookies) > 1:
        at = next(index for index, field in enumerate(headers) if field[0] == "cookie")
        rest = [field for field in headers[at:] if field[0] != "cookie"]
        headers[at:] = [("cookie", "; ".join(cookies)), *rest]


def parse_response(fields: Fields, stream: int) -> ResponseHead:
    """A response's head. Raises StreamError where it is malformed."""
    pseudo, headers = split_pseudo(fields, _RESPONSE_PSEUDO)
    status = pseudo.get(":status", "")
    if not re.fullmatch("[1-9][0-9][0-9]", status) or status == "101":  # §8.6: there is no 101 in HTTP/2
        raise malformed("missing or invalid :status")
    return ResponseHead(int(status), headers, "2", stream)


def parse_trailers(fields: Fields) -> Headers:
    """Raises StreamError; pseudo-header fields MUST NOT be among them (§8.1)."""
    return split_pseudo(fields, frozenset())[1]


def content_length(headers: Headers) -> int | None:
    values = headers.get("content-length")
    if values is None:
        return None
    try:
        return parse_content_length(values, RemoteProtocolError)
    except RemoteProtocolError as error:
        raise malformed(str(error)) from None


def excess(fields: Fields, max_head: int, max_headers: int, line: str = "") -> str:
    """Say which limit a field section, behind this start line, goes beyond; "" where it keeps to both. Its cookies are joined
    already (§8.2.3): one field, as in HTTP/1.1. Asked after decoding, or the table would be out of step."""
    if len(fields) > max_headers:
        return f"{len(fields)} fields, and max_headers is {max_headers}"
    size = len(line) + sum(len(name) + len(value) + 32 for name, value in fields)  # §6.5.2
    return f"a head of {size} bytes, and max_head is {max_head}" if size > max_head else ""


def claimed_head(fields: Fields, stream: int) -> RequestHead:
    """Return the method and target that a request claims to have, valid or not, without its fields: for a log."""
    said = dict(reversed(fields))
    return RequestHead(said.get(":method", "-"), said.get(":path") or said.get(":authority", "-"), Headers(), "2", stream)


# ---- what we send: checked by the same rules ---------------------------------------------------------------------------


def request_fields(head: RequestHead, scheme: str) -> Fields:
    """A head as fields. Raises LocalProtocolError where it would not come apart in the same way."""
    fields: list[tuple[str, str]] = [(":method", head.method)]
    if head.protocol or head.method != "CONNECT":
        fields += [(":scheme", scheme), (":path", head.target)]
    fields.append((":authority", head.headers.get("host") or ""))
    if head.protocol:
        fields.append((":protocol", head.protocol))
    fields += [field for field in head.headers if field[0] != "host"]
    try:
        parsed = parse_request(fields, head.stream)
    except StreamError as error:
        raise LocalProtocolError(str(error)) from None
    if parsed.target != head.target:
        raise LocalProtocolError("the target of CONNECT is its authority")
    return fields


def response_fields(head: ResponseHead) -> Fields:
    """The same for a response. Raises LocalProtocolError."""
    fields = ((":status", str(head.status)), *head.headers)
    try:
        _check_response(fields)
    except StreamError as error:
        raise LocalProtocolError(str(error)) from None
    return fields


@lru_cache(64)  # an app's responses are much alike
def _check_response(fields: tuple[tuple[str, str], ...]) -> None:
    parse_response(fields, 0)


def trailer_fields(trailers: Headers) -> Fields:
    """The same for trailers. Raises LocalProtocolError."""
    try:
        return parse_trailers(trailers)
    except StreamError as error:
        raise LocalProtocolError(str(error)) from None


def declared_length(headers: Headers) -> int | None:
    """The Content-Length of a message to be sent. Raises LocalProtocolError."""
    try:
        return content_length(headers)
    except StreamError as error:
        raise LocalProtocolError(str(error)) from None


# ---- compression (RFC 7541) --------------------------------------------------------------------------------------------

MAX_TABLE = 4_096
"""Bytes of the table that we compress with, whatever the peer would let us have: it is our memory."""


MAX_REMEMBERED = 64
"""Blocks that are remembered with what they mean, as long as the table is what it was."""


class _Remembered:
    """What coding gave, while it would give the same again: until the table, which all of it refers to, changes.

    Peers repeat their heads, and a head that is in the table already does not change it. With what
    is remembered of whole heads, the /hello benchmark needs 71 us a request instead of 130.
    """

    __slots__ = ("_known", "_newest", "_size", "_table", "get")

    def __init__(self, table: HeaderTable) -> None:
        self._table = table
        self._newest: Any = None  # the entry that was put in last
        self._size = 0, table.maxsize
        self._known: dict[Any, Any] = {}
        self.get = self._known.get

    def put(self, key: Any, value: Any) -> None:
        """What was coded just now; if that has changed the table, all before it is forgotten, and it as well."""
        entries = self._table.dynamic_entries
        newest, size = entries[0] if entries else None, (len(entries), self._table.maxsize)
        if newest is not self._newest or size != self._size or len(self._known) >= MAX_REMEMBERED:
            self._newest, self._size = newest, size
            self.forget()
        else:
            self._known[key] = value

    def forget(self) -> None:
        self._known.clear()


class FieldCoder:
    """Both tables of a connection: fields <-> blocks."""

    __slots__ = ("_decoded", "_decoder", "_encoded", "_encoder")

    def __init__(self, max_block: int) -> None:
        """``max_block``: bytes that a block may decode to."""
        self._decoder = Decoder(max_block)
        self._encoder = Encoder()
        self._decoded = _Remembered(self._decoder.header_table)
        self._encoded = _Remembered(self._encoder.header_table)

    def decode(self, block: bytes) -> Fields:
        """Raises RemoteProtocolError: a block that can't be decoded MUST be a connection error (§4.3)."""
        known: Fields | None = self._decoded.get(block)
        if known is not None:
            return known
        try:
            decoded = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise RemoteProtocolError("a field block that decodes to too much", ENHANCE_YOUR_CALM) from None
        except HPACKError as error:  # whose text is not for the peer: it has addresses of our memory
            raise RemoteProtocolError("a field block that can't be decoded", COMPRESSION_ERROR) from error
        fields = tuple([(str(name, "latin-1"), str(value, "latin-1")) for name, value in decoded])
        self._decoded.put(block, fields)
        return fields

    def encode(self, fields: Fields) -> bytes:
        key = tuple(fields)
        known: bytes | None = self._encoded.get(key)
        if known is not None:
            return known
        encoded = [(name.encode("latin-1"), value.encode("latin-1"), name in _SENSITIVE) for name, value in fields]
        block = self._encoder.encode(encoded)
        self._encoded.put(key, block)
        return block

    def allow_table(self, size: int) -> None:
        """The peer has acknowledged how large its table may be: from now on it has to keep to that (§4.3.1)."""
        self._decoder.max_allowed_table_size = size
        self._decoded.forget()

    def limit_table(self, size: int) -> None:
        """The peer says how large ours may be: the next block has to tell that we know (RFC 7541 §4.2)."""
        self._encoded.forget()
        encoder, size = self._encoder, min(size, MAX_TABLE)
        if size != encoder.header_table_size:
            encoder.header_table_size = size
            changes = encoder.table_size_changes  # the smallest and the last are to be told, however many there were
            encoder.table_size_changes = [least, size] if (least := min(changes)) < size else [size]
