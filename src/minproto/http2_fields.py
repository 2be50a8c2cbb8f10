r"""HTTP/2's field blocks: heads and trailers as lists of fields, and as bytes (RFC 9113 §8.2, §8.3; HPACK, RFC 7541).

A head is a list of fields. The parts of HTTP/1.1's start line come first, as *pseudo-header fields*, whose names begin with a
colon. HPACK compresses the list: a field that both ends have seen before takes one byte. This is a request for
https://example.org/, sent twice on one connection:

    >>> coder = FieldCoder(max_block=1_000)
    >>> request = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "example.org")]
    >>> coder.encode(request).hex(" ")
    '82 87 84 41 88 2f 91 d3 5d 05 5c f6 4d'
    >>> coder.encode(request).hex(" ")
    '82 87 84 be'

    82      0x80 + 2: entry 2 of the table, ":method: GET". The first 61 entries are the same for everybody (RFC 7541 App. A).
    87      0x80 + 7: ":scheme: https"
    84      0x80 + 4: ":path: /"
    41      0x40 + 1: the name of entry 1, ":authority", with the value that follows; and this field becomes an entry
    88      0x80 + 8: the value has 8 bytes, in Huffman code (2f ... 4d is "example.org")
    be      0x80 + 62, in the second block: the newest entry, ":authority: example.org"

So a block can be read only by an end that has read every block before it, in order. Both ends keep a table for each direction.
In minproto, the ``hpack`` library keeps these tables.

An app sees the same ``RequestHead`` as with HTTP/1.1, with a Host field in place of :authority:

    >>> parse_request([*request, ("cookie", "a=1"), ("cookie", "b=2")], stream=1)  # doctest: +NORMALIZE_WHITESPACE
    RequestHead(method='GET', target='/', headers=[('host', 'example.org'), ('cookie', 'a=1; b=2')], version='2', stream=1,
                protocol='', scheme='https')

Three things are easy to get wrong:

- **Field values can be any bytes.** HTTP/2 can carry a CR or LF in a value, two Hosts, or a second Content-Length. A gateway
  that writes such a head as HTTP/1.1 turns one request into two: *request smuggling* (§10.3). So a field is checked here as
  strictly as a line of HTTP/1.1. A malformed message is a stream fault (§8.1.1), so it raises StreamError here.
- **A block cannot be skipped.** It changes the table to which all later blocks refer. So even the block of a request that will
  be refused is decoded to the end, and a block that cannot be decoded ends the connection: RemoteProtocolError (§4.3).
- **A small block can decode to a huge list.** One byte may represent a field of 4,000 bytes (a *header bomb*). So
  ``max_block`` bounds the decoded bytes too; a head that is too large for an app is found after decoding, by
  ``exceeded_limit``.

Nothing in the two standards is left out, but the encoder does not look for the shortest block. Its table has 4,096 bytes at
most.
"""

import re
from collections.abc import Sequence

from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError

from minproto.core import LocalProtocolError, RemoteProtocolError
from minproto.http import (
    TARGET,
    TOKEN,
    Headers,
    RequestHead,
    ResponseHead,
    check_target,
    important_fields,
    is_field,
    is_host,
    parse_content_length,
    same_authority,
)
from minproto.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, StreamError

# ---- what a field list says (§8.2, §8.3) -------------------------------------------------------------------------------
#
#   request              :method  :scheme  :authority  :path                  fields ...
#   CONNECT              :method           :authority                         fields ...                    (§8.5)
#   extended CONNECT     :method  :scheme  :authority  :path  :protocol       fields ...                    (RFC 8441 §4)
#   response             :status                                              fields ...
#   trailers                                                                  fields ...
#
# The pseudo-header fields correspond to the start line in HTTP/1.1. They come first, so that a recipient knows method, target
# and host before it acts on any other field, and no later field can contradict them.

Fields = Sequence[tuple[str, str]]
"""Names and values in order, including pseudo-header fields. Each character represents one byte (ISO-8859-1)."""

CONNECTION_SPECIFIC = frozenset({"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"})
"""The connection-specific fields: they are about an HTTP/1.1 connection, and make an HTTP/2 message malformed (§8.2.2), also
the CONNECT that opens a WebSocket (RFC 8441 §5)."""
_REQUEST_PSEUDO = frozenset({":method", ":scheme", ":authority", ":path", ":protocol"})
_RESPONSE_PSEUDO = frozenset({":status"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*")
_PATH = re.compile(rf"[{TARGET}]+")
WITHOUT_CONTENT = frozenset({"GET", "HEAD", "DELETE"})
"""Methods whose requests end with the head, unless it has a Content-Length: in such a request, content has no meaning (RFC
9110 §9.3)."""
FIELD_OVERHEAD = 32
"""Bytes counted for each field in addition to its name and value: about the memory of a table entry (§6.5.2)."""


def malformed(reason: str) -> StreamError:
    """Return the error for a malformed message: PROTOCOL_ERROR (0x1), a fault of its stream alone (§8.1.1).

    Like every ProtocolError, a StreamError has a ``code``. ``http2.py`` turns the error into a StreamFault event.
    """
    return StreamError(reason, PROTOCOL_ERROR)


def split_pseudo(fields: Fields, allowed: frozenset[str]) -> tuple[dict[str, str], Headers]:
    """Split a field list into its pseudo-header fields and its regular fields (§8.3). Heads and trailers pass through here,
    received ones and those that we send, so that we send nothing that we would refuse (§8.2).

    Raises StreamError unless each pseudo-header field is one of ``allowed``, occurs once, and precedes all regular fields, and
    each regular field is valid: a lower-case name without space or colon, and a value without CR, LF or NUL (RFC 9110 §5.5)
    and without a space at either end, so that HTTP/1.1 could carry it (§8.2.1).
    """
    pseudo: dict[str, str] = {}
    for name, value in fields:
        if name[:1] != ":":
            break
        if name not in allowed or name in pseudo:
            raise malformed(f"pseudo-header field {name!r} is unknown, misplaced or repeated")
        pseudo[name] = value
    headers = Headers(fields[len(pseudo) :])
    for field in headers:
        if not is_field(field):  # no valid name has a colon, so a late pseudo-header field fails here
            raise malformed(f"the field {field[0]!r} has an invalid value, or name (they are in lower case)")
    for name, value in headers:
        # §8.2.2: TE may say "trailers" (the client accepts trailer fields), but may not name transfer codings as in HTTP/1.1.
        if name in CONNECTION_SPECIFIC or (name == "te" and value.lower() != "trailers"):
            raise malformed(f"connection-specific field {name!r}")
    return pseudo, headers


def parse_request(fields: Fields, stream: int) -> RequestHead:
    """Return the head of a request. Its first field is Host, with the value of :authority. Raises StreamError if malformed.

    A Content-Length is not checked here, so ``+5`` passes; ``content_length`` refuses it when the connection needs the number.
    """
    pseudo, headers = split_pseudo(fields, _REQUEST_PSEUDO)
    method, scheme = pseudo.get(":method", ""), pseudo.get(":scheme", "")
    target = _request_target(pseudo, method)
    if method == "CONNECT":  # RFC 9110 §9.3.6: a tunnel has no content, so a Content-Length must not end it
        headers = Headers([field for field in headers if field[0] != "content-length"])
    _set_host(headers, pseudo.get(":authority"), scheme)
    _join_cookies(headers)
    return RequestHead(method, target, headers, "2", stream, pseudo.get(":protocol", ""), scheme)


def _request_target(pseudo: dict[str, str], method: str) -> str:
    """Return the request-target, which HTTP/1.1 would write in its start line. A method is a TOKEN: it has no space.

    Method, scheme and path are what a request cannot do without, and a path is never empty (§8.3.1): the path of the URI
    http://a is "/".
    """
    protocol = pseudo.get(":protocol", "")
    if not TOKEN.fullmatch(method) or (":protocol" in pseudo and not (method == "CONNECT" and TOKEN.fullmatch(protocol))):
        raise malformed("missing or invalid :method or :protocol")
    if method == "CONNECT" and not protocol:
        if ":scheme" in pseudo or ":path" in pseudo or not _is_target(method, pseudo.get(":authority", "")):
            raise malformed("CONNECT takes :authority alone")  # §8.5
        return pseudo[":authority"]
    path = pseudo.get(":path", "")
    if not _SCHEME.fullmatch(pseudo.get(":scheme", "")):
        raise malformed("missing or invalid :scheme")
    # An extended CONNECT names a path as a GET does (RFC 8441 §4). "*" is for OPTIONS only, as in HTTP/1.1.
    if path[:1] not in ("/", "*") or not _PATH.fullmatch(path) or not _is_target("GET" if protocol else method, path):
        raise malformed(f"missing or invalid :path: {path!a:.200}")
    return path


def _is_target(method: str, target: str) -> bool:
    """Return whether HTTP/1.1 would accept this target for this method."""
    try:
        check_target(method, target, RemoteProtocolError)
    except RemoteProtocolError:
        return False
    return True


def _set_host(headers: Headers, authority: str | None, scheme: str) -> None:
    """Put the authority into a Host field at the front, replacing any Host that came (§8.3.1).

    An authority is a host and perhaps a port. ``me@a`` is not an authority: the user name of a URI is not sent (§8.3.1). A
    request whose Host names a different authority is malformed: of two servers on the path, one could use the Host, the other
    the authority. A request without either is malformed as well, since nobody knows which site it is for.
    """
    hosts = headers.get_all("host")
    if authority is None:
        authority = hosts[0] if hosts else ""
    if not authority or not is_host(authority) or not all(same_authority(host, authority, scheme) for host in hosts):
        raise malformed(f"missing, invalid or contradictory :authority {authority!a:.200} and Host {hosts!a:.200}")
    if hosts:
        headers[:] = [field for field in headers if field[0] != "host"]
    headers.insert(0, ("host", authority))


def _join_cookies(headers: Headers) -> None:
    """Join the cookie fields into one, at the place of the first cookie field.

    Browsers send each cookie as a field of its own, because otherwise one changed cookie would spoil the compression of
    all. Everything but HTTP/2 expects one Cookie field, so the fields MUST be joined before they are passed on (§8.2.3).
    """
    cookies = headers.get_all("cookie")
    if len(cookies) > 1:
        at = next(index for index, field in enumerate(headers) if field[0] == "cookie")
        rest = [field for field in headers[at:] if field[0] != "cookie"]
        headers[at:] = [("cookie", "; ".join(cookies)), *rest]


def parse_response(fields: Fields, stream: int) -> ResponseHead:
    """Return the head of a response. Raises StreamError if it is malformed (§8.1.1), for example without :status (§8.3.2).

    A status from 600 to 999 is invalid, but passes: a client treats such a response as a server error (RFC 9110 §15).
    """
    pseudo, headers = split_pseudo(fields, _RESPONSE_PSEUDO)
    status = pseudo.get(":status", "")
    if not re.fullmatch("[1-9][0-9][0-9]", status) or status == "101":  # §8.6: HTTP/2 has no Upgrade, so it has no 101
        raise malformed("missing or invalid :status")
    return ResponseHead(int(status), headers, "2", stream)


def parse_trailers(fields: Fields) -> Headers:
    """Return the trailers of a message. Raises StreamError if malformed, or if a pseudo-header field is among them (§8.1)."""
    return split_pseudo(fields, frozenset())[1]


def content_length(headers: Headers) -> int | None:
    """Return the Content-Length that the peer declares, None if absent. Raises StreamError if it is not a number."""
    values = headers.get("content-length")
    if values is None:
        return None
    try:
        return parse_content_length(values, RemoteProtocolError)
    except RemoteProtocolError as error:
        raise malformed(str(error)) from None


def section_size(fields: Fields) -> int:
    """Return the size of a field list as SETTINGS_MAX_HEADER_LIST_SIZE counts it, in uncompressed bytes (§6.5.2).

    >>> section_size([(":path", "/")])  # 5 + 1 + 32
    38
    """
    return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)


def exceeded_limit(fields: Fields, max_head: int, max_headers: int, line: str = "") -> str:
    """Return, in words, which limit a head or trailers exceed; "" if they exceed no limit.

    ``line``: the start line that HTTP/1.1 would write; its bytes count too. Call this after the cookies are joined: they are
    one field, as in HTTP/1.1. And call it after the whole block is decoded, since a block cannot be skipped (§10.5.1).
    """
    if len(fields) > max_headers:
        return f"{len(fields)} fields, and max_headers is {max_headers}"
    size = len(line) + section_size(fields)
    return f"a head of {size} bytes, and max_head is {max_head}" if size > max_head else ""


def claimed_head(fields: Fields, stream: int) -> RequestHead:
    """Return the method and target that a request claims to have, valid or not, without its fields: for a log."""
    said = dict(reversed(fields))  # if a name is repeated, its first value is kept
    return RequestHead(said.get(":method", "-"), said.get(":path") or said.get(":authority", "-"), Headers(), "2", stream)


# ---- what we send: checked by the same rules ---------------------------------------------------------------------------


def trailer_fields(trailers: Headers) -> Fields:
    """Return trailers as they are sent. Raises LocalProtocolError if a peer would find them malformed (§8.1).

    Also refused is a field that frames or routes: its definition does not permit it in trailers, where it would come too late
    (RFC 9110 §6.5.1). The app knows about the definitions of its other fields.
    """
    if important_fields(trailers):
        raise LocalProtocolError("trailers can't frame or route")
    try:
        return parse_trailers(trailers)
    except StreamError as error:
        raise LocalProtocolError(str(error)) from None


def declared_length(headers: Headers) -> int | None:
    """Return the Content-Length of a message that we send, None if absent. Raises LocalProtocolError if it is invalid."""
    value = headers.get("content-length")
    return None if value is None else parse_content_length(value, LocalProtocolError)


# ---- compression (RFC 7541) --------------------------------------------------------------------------------------------

MAX_TABLE = 4_096
"""The maximum number of bytes that our compression table may have, even if the peer would allow more: the memory is ours."""
_NEVER_INDEXED = frozenset({"authorization", "proxy-authorization"})
"""Fields that neither end may put into its table. A block that repeats a field of the table is shorter. So an attacker who
can make requests on our connection, and sees the length of our packets, could find a secret value guess by guess (RFC 7541
§7.1). The block marks such a field (RFC 7541 §6.2.3), so a proxy that passes the field on must not index it either."""


def _size_update_end(block: bytes) -> int:
    """Return where the size update at the beginning of a block ends; 0 if the block begins with something else.

    A size update is the bits 001 and a number: five bits, and if they are all 1, more bytes up to one below 128 (RFC 7541
    §5.1, §6.3).

    >>> [_size_update_end(bytes.fromhex(block)) for block in ("20 82", "3f 99 17 82", "82")]
    [1, 3, 0]
    """
    if not block or block[0] & 0xE0 != 0x20:
        return 0
    if block[0] & 0x1F != 0x1F:
        return 1
    return next((at + 1 for at in range(1, len(block)) if block[at] < 0x80), len(block))


class FieldCoder:
    """Converts the fields of one connection: field lists to blocks and back, and heads to field lists and back.

    It has a compression table for each direction. ``minproto.fast`` replaces it with a class that remembers whole heads.
    """

    __slots__ = ("_decoder", "_encoder", "_smallest", "_table_sizes")

    def __init__(self, max_block: int) -> None:
        """``max_block``: the maximum number of bytes to which a received block may decode, including 32 extra bytes for each
        field."""
        self._decoder = Decoder(max_block)
        self._encoder = Encoder()
        self._table_sizes: list[int] = []  # sizes of our table that the peer has set since our last block, at most two
        self._smallest: int | None = None  # the smallest size of the peer's table that came into force since its last block

    # -- blocks

    def decode(self, block: bytes) -> Fields:
        """Return the fields of a received block, in its order (RFC 7541 §2.1). Raises RemoteProtocolError if this fails: the
        connection MUST end (§4.3).

        The library decodes as RFC 7541 §3.2 demands, and refuses what RFC 7541 calls a decoding error: an index without an
        entry (RFC 7541 §2.3.3, §6.1), a number of more than five bytes after its prefix (RFC 7541 §5.1, §7.4), padding that is
        too long or is not part of EOS, EOS itself (RFC 7541 §5.2), a table larger than allowed (RFC 7541 §6.3). Two equal
        entries of the table are not an error (RFC 7541 §2.3.2). Entries that no longer fit are evicted, the oldest first (RFC
        7541 §4.3, §4.4).
        """
        try:
            if self._smallest is not None:
                block = self._resized(block, self._smallest)
            decoded = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise RemoteProtocolError("a field block that decodes to too much", ENHANCE_YOUR_CALM) from None  # 0xb
        except HPACKError as error:  # its text can contain memory addresses of ours, so the peer must not see it
            raise RemoteProtocolError("a field block that can't be decoded", COMPRESSION_ERROR) from error  # 0x9
        return tuple([(str(name, "latin-1"), str(value, "latin-1")) for name, value in decoded])

    def _resized(self, block: bytes, smallest: int) -> bytes:
        """Return the rest of a block, after the size update that has to come first if our table was smaller for a while.

        Let us assume that we have set the size to 0 and then back to 4,096, and that the peer has acknowledged both. Its next
        block has to begin with the size 0, so that both ends drop their entries (§4.3.1, RFC 7541 §4.2). The library knows
        only the last size. So it gets the first update by itself, at the time of the smallest size.
        """
        self._smallest = None
        allowed = self._decoder.max_allowed_table_size
        if smallest >= allowed:
            return block
        end = _size_update_end(block)
        self._decoder.max_allowed_table_size = smallest
        self._decoder.decode(block[:end])  # b"" if there is no update: refused, if the table is larger than the smallest size
        self._decoder.max_allowed_table_size = allowed
        return block[end:]

    def encode(self, fields: Fields) -> bytes:
        """Return the block for a checked field list, in its order (RFC 7541 §2.1). Blocks have to be sent in the order in
        which they were encoded.

        A field of ``_NEVER_INDEXED`` is encoded as a never-indexed literal every time (RFC 7541 §6.2.3), unless its value is
        empty and holds no secret: the library finds ``authorization`` with an empty value in the static table.
        """
        # Each size makes the library begin the block with a size update (§4.3.1, RFC 7541 §4.2).
        for size in self._table_sizes:
            self._encoder.header_table_size = size
        self._table_sizes = []
        return self._encoder.encode(
            [(name.encode("latin-1"), value.encode("latin-1"), name in _NEVER_INDEXED) for name, value in fields]
        )

    def resize_decoder(self, size: int) -> None:
        """Hold the peer to our SETTINGS_HEADER_TABLE_SIZE, which it has just acknowledged (§4.3.1, RFC 7541 §6.3)."""
        self._decoder.max_allowed_table_size = size
        self._smallest = size if self._smallest is None else min(self._smallest, size)

    def resize_encoder(self, size: int) -> None:
        """Adopt the peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins by announcing the change (§4.3.1).

        However often the peer has changed the size, we announce the smallest size and then the last size (RFC 7541 §4.2). The
        smallest size matters, because entries that did not fit into it are gone, even if the table has grown again:

            >>> coder = FieldCoder(max_block=1_000)
            >>> for size in (100, 0, 3_000):
            ...     coder.resize_encoder(size)
            >>> coder.encode([(":status", "204")]).hex(" ")
            '20 3f 99 17 89'

        20 is the size 0, 3f 99 17 the size 3000 (31, and 2969 in groups of seven bits), 89 is ":status: 204".

        The table is never larger than the peer allows (RFC 7541 §4.2, §6.3), and never larger than we want.
        """
        size = min(size, MAX_TABLE)
        smallest = min([*self._table_sizes, size])
        self._table_sizes = [size] if smallest == size else [smallest, size]

    # -- heads

    parse_request = staticmethod(parse_request)
    parse_response = staticmethod(parse_response)

    def request_fields(self, head: RequestHead, scheme: str) -> Fields:
        """Return a request's head as fields. Raises LocalProtocolError if a server would find the head malformed.

        The Host becomes :authority, so that there is only one of the two (§8.3.1). Scheme and path are left out for a CONNECT
        (§8.5), unless it is an extended one (RFC 8441 §4). The pseudo-header fields come first (§8.3).
        """
        fields: list[tuple[str, str]] = [(":method", head.method)]
        if head.protocol or head.method != "CONNECT":
            fields += [(":scheme", scheme), (":path", head.target)]
        fields.append((":authority", head.headers.get("host") or ""))
        if head.protocol:
            fields.append((":protocol", head.protocol))
        fields += [field for field in head.headers if field[0] != "host"]
        try:
            parsed = self.parse_request(fields, head.stream)
        except StreamError as error:
            raise LocalProtocolError(str(error)) from None
        if parsed.target != head.target:
            raise LocalProtocolError("the target of CONNECT is its authority")
        return fields

    def response_fields(self, head: ResponseHead) -> Fields:
        """Return a response's head as fields. Raises LocalProtocolError if a client would find the head malformed (§8.2,
        §8.3): with a field about the connection (§8.2.2), for example, which an app for HTTP/1.1 may have set."""
        fields = ((":status", str(head.status)), *head.headers)
        try:
            self.parse_response(fields, head.stream)
        except StreamError as error:
            raise LocalProtocolError(str(error)) from None
        return fields
