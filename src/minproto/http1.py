"""HTTP/1.1 as bytes (RFC 9112): lines of text around content, and thirty years of ambiguity to refuse.

A message is a start line, field lines, an empty line, and a body whose length the fields tell. All danger lies in two
recipients that disagree on where a message ends: what one takes for content, the next takes for a request of its own
(§11.2). So a server here refuses each spelling that two readers could take differently. Lines end in CRLF; a Content-Length
is digits; a Transfer-Encoding is ``chunked``, once, and never beside a Content-Length. A byte that can't stand where it
stands in a request is refused when it arrives; what a whole line or head says wrongly, when that is whole.

A client is as strict, but for what it has to accept (§5.2, §6.3), folded lines and bodies that end with the connection, and
for a status line without its last space. It looks for wrong bytes in whole lines only.

Left out: transfer codings other than chunked (nobody sends them; in a response they are passed on as they are), HTTP/0.9,
``message/http`` (§10), and pipelining by our client. Reason phrases are sent and not read (§4).
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from minproto.buffer import Buffer
from minproto.core import (
    CLIENT,
    DATA,
    PAUSED,
    SERVER,
    Core,
    Event,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    Role,
    Wants,
    check_counts,
)
from minproto.http import (
    FIELD_VCHAR,
    METHODS,
    REASONS,
    TARGET,
    TCHAR,
    Data,
    EndOfMessage,
    Headers,
    RequestHead,
    ResponseHead,
    check_target,
    field_block,
    has_no_content,
    important_fields,
    important_lines,
    is_host,
    parse_content_length,
    split_list,
)


@dataclass(frozen=True)
class Limits:
    """What a peer could make unbounded. Bytes unless said otherwise."""

    max_start_line: int = 8_192
    """RFC 9112 §3 recommends at least 8,000. Beyond it a request is answered 414 (501, if all of it is a method)."""
    max_head: int = 65_536
    """Start line and header section together, and each trailer section: room for large cookies and tokens. Else 431.
    The chunk extensions of a body, together: else 400."""
    max_headers: int = 100
    """Field lines of a section: each costs an object, so bytes alone are not bound enough. Else 431."""
    max_body: int = 1 << 30
    """Content of one message, for the server's disk and the app's patience; memory is bounded by flow control. Else 413."""
    max_chunk_line: int = 256
    """Chunk size and extensions, which nobody needs but which could be sent without end (§7.1.1). Else 400."""
    max_empty_lines: int = 4
    """CRLFs skipped before a request line; §2.2 wants at least one. Else 400."""

    def __post_init__(self) -> None:
        check_counts(self, max_body=(0, sys.maxsize))


# ---- the syntax of a head --------------------------------------------------------------------------------------------
#
#   request-line = method SP request-target SP HTTP-version                                                        (§3)
#   status-line  = HTTP-version SP status-code SP [ reason-phrase ]                                                (§4)
#   field-line   = field-name ":" OWS field-value OWS                                                              (§5)
#   head         = start-line CRLF *( field-line CRLF ) CRLF                                                       (§2.1)
#
# A head that is complete is matched line by line. Possessive quantifiers (*+, ++) keep that linear: no match is tried twice.

REQUEST_LINE = re.compile(rf"([{TCHAR}]++) ([{TARGET}]++) HTTP/([0-9]\.[0-9])")
# §4: a server MUST send the space after the status code. Where it does not, and sends no reason, nothing is ambiguous.
STATUS_LINE = re.compile(rf"HTTP/([0-9]\.[0-9]) ([0-9]{{3}})(?: [{FIELD_VCHAR}]*+)?")
_FIELD_LINE = re.compile(rf"([{TCHAR}]++):[\t ]*+([{FIELD_VCHAR}]*+)")
_FOLD = re.compile(r"\r\n[\t ]++")

# A head that is not complete is followed part by part, so that a wrong byte is refused when it arrives. For each part: the
# bytes that it may have, what ends it, and the part that comes then.
Syntax = dict[str, tuple[re.Pattern[bytes], bytes, str]]


def _part(allowed: str, end: bytes, after: str) -> tuple[re.Pattern[bytes], bytes, str]:
    return re.compile(allowed.encode("latin-1")), end, after


FIELD_SYNTAX = {"name": _part(f"[{TCHAR}]*+", b":", "value"), "value": _part(f"[{FIELD_VCHAR}]*+", b"\r\n", "name")}
REQUEST_SYNTAX: Syntax = {
    "method": _part(f"[{TCHAR}]*+", b" ", "target"),
    "target": _part(f"[{TARGET}]*+", b" ", "version"),
    "version": _part(r"(?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.[0-9]?)?)?)?)?)?)?)?", b"\r\n", "name"),
} | FIELD_SYNTAX
RESPONSE_SYNTAX: Syntax = {"line": _part(f"[{FIELD_VCHAR}]*+", b"\r\n", "line")}  # folded lines begin with a space
_START_LINE = frozenset({"method", "target", "version"})
_SHORTEST = {"version": len("HTTP/1.1"), "value": 0, "line": 0}  # bytes of a part; of the others, 1
_CR = ord("\r")
_MAX_REMEMBERED = 4_096  # field lines of longer heads are not: so the 256 that are take 2 MiB at most


class HeadReader:
    """Takes one head (or trailer section) out of the buffer once it is complete."""

    __slots__ = ("_began", "_limits", "_lines", "_max_line", "_max_lines", "_part", "_scanned", "_syntax")

    def __init__(self, syntax: Syntax, limits: Limits) -> None:
        self._syntax = syntax
        self._limits = limits
        self._max_line = limits.max_start_line if syntax is REQUEST_SYNTAX else limits.max_head  # of a response: no bound
        self._max_lines = limits.max_headers + (syntax is REQUEST_SYNTAX)  # of a response, ``_parse`` counts them unfolded
        self._begin()

    def _begin(self) -> None:
        self._part = next(iter(self._syntax))
        self._began = 0  # where that part began
        self._lines = 0  # so many have ended; of a response, where they may be folded, nobody counts them
        self._scanned = 0  # so many bytes are known to be right

    def read(self, buffer: Buffer, start_line: re.Pattern[str] | None) -> tuple[tuple[str, ...], Headers] | None:
        """The start line's groups and the fields of a head, once it is complete; until then None. Raises RemoteProtocolError
        (400, 414, 431). A trailer section has no ``start_line``, and so no groups."""
        max_head = self._limits.max_head
        text = buffer.text_until(b"\r\n\r\n", max_head)
        if text is not None and (head := self._parse(text, start_line)) is not None:
            buffer.skip(len(text) + 4)
            if self._scanned:
                self._begin()
            return head
        self._scan(buffer, min(buffer.size, max_head) if text is None else len(text) + 2)
        if text is not None:
            # Only a response gets here with too many: of all others, the scan has counted the lines.
            many = len(self._lines_of(text, start_line)) > self._limits.max_headers + bool(start_line)
            raise RemoteProtocolError("too many fields", 431) if many else RemoteProtocolError("malformed head", 400)
        if buffer.size >= max_head:
            raise RemoteProtocolError("head too large", 431)
        return None

    def _parse(self, head: str, start_line: re.Pattern[str] | None) -> tuple[tuple[str, ...], Headers] | None:
        """None where a line is wrong or one too many; what exactly, ``_scan`` says, or else ``read``."""
        lines = self._lines_of(head, start_line)
        start: tuple[str, ...] = ()
        if start_line is not None:
            line = lines.pop(0)
            found = start_line.fullmatch(line)
            if found is None or len(line) > self._max_line:
                return None
            start = found.groups()
        if len(lines) > self._limits.max_headers:
            return None
        parse = _parse_field if len(head) <= _MAX_REMEMBERED else _parse_field.__wrapped__
        try:
            return start, Headers(map(parse, lines))
        except ValueError:
            return None

    def _lines_of(self, head: str, start_line: re.Pattern[str] | None) -> list[str]:
        return (_unfold(head, start_line) if self._syntax is RESPONSE_SYNTAX else head).split("\r\n")

    def _scan(self, buffer: Buffer, end: int) -> None:
        """Go on from the byte where the last scan stopped; raise for the first one that no head can have there."""
        part, began, at = self._part, self._began, self._scanned
        while at < end:
            allowed, terminator, after = self._syntax[part]
            at = min(end, buffer.match(allowed, began if part == "version" else at))  # a version is no run of any bytes
            if part in _START_LINE and at > self._max_line:
                raise RemoteProtocolError("request line too long", 501 if part == "method" else 414)  # §3: SHOULD, MUST
            found = buffer.peek(at, min(at + 2, end))
            whole = at - began >= _SHORTEST.get(part, 1)
            if whole and found.startswith(terminator):
                at += len(terminator)
                part, began = after, at
                self._lines += part == "name"
                if self._lines > self._max_lines:
                    raise RemoteProtocolError("too many fields", 431)
            elif found == b"" or (found == b"\r" and (terminator == b"\r\n" if whole else part == "name")):
                break  # nothing yet, or the first half of a CRLF: behind a whole part, or for the end of the section
            else:
                raise RemoteProtocolError(f"unexpected byte 0x{found[0]:02x} in the {part} of a head", 400)
        self._part, self._began, self._scanned = part, began, at


def _unfold(head: str, start_line: re.Pattern[str] | None) -> str:
    """A user agent MUST replace each obs-fold by a space (§5.2). What follows the start line can't be folded into it."""
    if "\r\n " not in head and "\r\n\t" not in head:
        return head
    if start_line is None:
        return _FOLD.sub(" ", head)
    start, line_end, fields = head.partition("\r\n")
    return f"{start}{line_end}{_FOLD.sub(' ', fields)}"


@lru_cache(256)  # clients say the same again and again. With a browser's head: a quarter fewer instructions for a request
def _parse_field(line: str) -> tuple[str, str]:
    """A field line -> name in lower case, value without the spaces around it (§5.1). Raises ValueError."""
    found = _FIELD_LINE.fullmatch(line)
    if found is None:
        raise ValueError
    return found[1].lower(), found[2].rstrip("\t ")


def encode_fields(headers: Sequence[tuple[str, str]]) -> str:
    """Field lines, each with its CRLF. Raises LocalProtocolError for what would not arrive as it was given."""
    return "".join(map(_encode_field, headers))


@lru_cache(256)  # an app says the same again and again. On the /hello benchmark, if heads vary: a tenth fewer instructions
def _encode_field(field: tuple[str, str]) -> str:
    line = field_block([field]) if isinstance(field[0], str) and isinstance(field[1], str) else None
    if line is None:  # also an integer: it would be remembered as the same as a boolean
        wrong = "value" if isinstance(field[0], str) and field_block([(field[0], "")]) else "name (they are in lower case)"
        raise LocalProtocolError(f"the field {field[0]!r} has an invalid {wrong}")
    return line.replace("\0", ": ")


def _encode_response(version: str, status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    return f"HTTP/{version} {status:d} {REASONS.get(status, '')}\r\n{encode_fields(headers)}".encode("latin-1")


class EncodedHead(NamedTuple):
    """The head of a final response, but for its last line end, and what its fields say of the rest."""

    status: int
    encoded: bytes
    fields: dict[str, str]
    """Those that are important, not to be changed."""
    framed: bool
    """It tells itself where the content ends, or that there is none; if not, a Content-Length has to be added."""


def encode_head(status: int, headers: Sequence[tuple[str, str]]) -> EncodedHead:
    """A head for ``Connection.send_whole``, for any number of responses. Raises LocalProtocolError."""
    fields = important_fields(headers)
    encoded = _encode_response("1.1", status, headers)
    framed = status in _WITHOUT_LENGTH or "content-length" in fields or "transfer-encoding" in fields
    return EncodedHead(status, encoded, fields, framed)


# ---- framing: where a message ends (§6.3) ----------------------------------------------------------------------------
#
# A length in bytes (0 also where there can be no content), or one of two that only the body itself tells.

CHUNKED = -1
UNTIL_CLOSE = -2
_WITHOUT_LENGTH = frozenset({204, 304})  # their heads need none (RFC 9110 §8.6)


def request_framing(version: str, fields: dict[str, str], fault: type[ProtocolError]) -> int:
    """The framing of a request by its important fields. Raises ``fault`` (400, 501)."""
    if "transfer-encoding" not in fields:
        return parse_content_length(fields["content-length"], fault) if "content-length" in fields else 0
    codings = _transfer_codings(version, fields, fault)
    # §6.1: a sender MUST NOT apply chunked more than once; §6.3: where it is not last, the server MUST respond with 400.
    if codings[-1:] != ["chunked"] or codings.count("chunked") > 1:
        raise fault("in Transfer-Encoding, chunked must come last, and once", 400)
    if len(codings) > 1:
        raise fault("unknown transfer coding", 501)  # §6.1
    return CHUNKED


class Terms(NamedTuple):
    """What a request's fields say of its end and of the connection."""

    framing: int
    keep_alive: bool
    upgrade: bool
    """It offers to go on with another protocol."""
    expects_continue: bool


@lru_cache(64)  # so many heads' worth of memory at most. On the /hello benchmark: a twentieth fewer instructions for a request
def request_terms(version: str, lines: tuple[tuple[str, str], ...], fault: type[ProtocolError]) -> Terms:
    """The terms that the important field lines make. Raises ``fault`` (400, 501), which is not remembered."""
    fields = important_fields(lines)
    check_host(version, fields, fault)
    framing = request_framing(version, fields, fault)
    # RFC 9110 §7.8: Upgrade takes a connection option beside it, and MUST be ignored in HTTP/1.0.
    offered = "upgrade" in fields and version != "1.0"
    upgrade = offered and "upgrade" in split_list(fields.get("connection", ""))
    # RFC 9110 §10.1.1: the expectation MUST be ignored in HTTP/1.0; without content there is nothing to wait with.
    expected = framing != 0 and "expect" in fields and version != "1.0"
    return Terms(framing, persists(version, fields), upgrade, expected and "100-continue" in split_list(fields["expect"]))


def response_framing(
    method: str, status: int, version: str, fields: dict[str, str], fault: type[ProtocolError]
) -> int:
    """The framing of a response to a request with ``method``. Raises ``fault``."""
    if has_no_content(method, status):
        return 0
    if "transfer-encoding" not in fields:
        return parse_content_length(fields["content-length"], fault) if "content-length" in fields else UNTIL_CLOSE
    codings = _transfer_codings(version, fields, fault)
    if codings.count("chunked") > 1:
        raise fault("chunked applied twice", 400)
    return CHUNKED if codings[-1:] == ["chunked"] else UNTIL_CLOSE


def _transfer_codings(version: str, fields: dict[str, str], fault: type[ProtocolError]) -> list[str]:
    if version == "1.0":  # §6.1: MUST treat the message as if the framing is faulty
        raise fault("Transfer-Encoding in HTTP/1.0", 400)
    if "content-length" in fields:  # §6.3: ought to be handled as an error, for it may be an attempt to smuggle
        raise fault("both Transfer-Encoding and Content-Length", 400)
    codings = split_list(fields["transfer-encoding"])
    if any(coding.startswith("chunked") and coding[7:].strip("\t ")[:1] == ";" for coding in codings):
        raise fault("chunked has no parameters", 400)  # §7.1: SHOULD be treated as an error
    return codings


def persists(version: str, fields: dict[str, str]) -> bool:
    """Whether the connection stays open as far as one of its two messages says (§9.3)."""
    if "connection" not in fields:
        return version != "1.0"
    options = split_list(fields["connection"])
    return "close" not in options and (version != "1.0" or "keep-alive" in options)


# ---- bodies ----------------------------------------------------------------------------------------------------------
#
#   chunked-body = *( chunk-size [ chunk-ext ] CRLF chunk-data CRLF ) last-chunk trailer-section CRLF            (§7.1)
#   chunk-ext    = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )                              (§7.1.1)

_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION = rf"[\t ]*+;[\t ]*+[{TCHAR}]++(?:[\t ]*+=[\t ]*+(?:[{TCHAR}]++|{_QUOTED}))?"
_CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]{{1,16}})(?:{_EXTENSION})*+\r\n".encode("latin-1"))
_CHUNK_LINE_SO_FAR = re.compile(rf"(?:[0-9A-Fa-f]{{1,16}}+(?:[\t ]*+(?:;[{FIELD_VCHAR}]*+)?)?\r?)?".encode("latin-1"))


def parse_chunk_size(buffer: Buffer, limits: Limits) -> tuple[int, int] | None:
    """Take a chunk's first line; its size, and how many bytes of extensions it has. None if it is not complete. Raises
    RemoteProtocolError (400)."""
    line = buffer.peek(0, limits.max_chunk_line)
    complete = _CHUNK_LINE.match(line)
    if complete is not None:
        buffer.skip(complete.end())
        return int(complete[1], 16), complete.end() - complete.end(1) - 2
    so_far = _CHUNK_LINE_SO_FAR.match(line)
    assert so_far is not None  # it matches nothing, too
    if so_far.end() < len(line) or len(line) == limits.max_chunk_line:
        raise RemoteProtocolError("malformed chunk size or extension", 400)
    return None


def parse_chunk_end(buffer: Buffer) -> bool | None:
    """Take the CRLF behind a chunk's data; None if it is not complete. Raises RemoteProtocolError (400)."""
    found = buffer.peek(0, 2)
    if not b"\r\n".startswith(found):
        raise RemoteProtocolError("chunk data is not followed by CRLF", 400)
    if len(found) < 2:
        return None
    buffer.skip(2)
    return True


class LengthReader:
    """A body of known length."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def read(self, buffer: Buffer) -> Data | EndOfMessage | None:
        if not self.left:
            return EndOfMessage()
        data = buffer.take(self.left)
        self.left -= len(data)
        return Data(data) if data else None


class UntilCloseReader:
    """A body that ends with the connection: only a response can have one (§6.3, rule 8)."""

    __slots__ = ("_room",)

    def __init__(self, limits: Limits) -> None:
        self._room = limits.max_body

    def read(self, buffer: Buffer) -> Data | None:
        data = buffer.take(self._room)
        self._room -= len(data)
        if not data and buffer.size:
            raise RemoteProtocolError("content too large", 413)
        return Data(data) if data else None


class ChunkedReader:
    """A body in chunks (§7.1).

    size --> data --> crlf --> size --> ... --> size (0) --> trailers
    """

    __slots__ = ("_extensions", "_left", "_limits", "_part", "_room", "_trailers")

    def __init__(self, limits: Limits, trailer_syntax: Syntax) -> None:
        self._limits = limits
        self._room = limits.max_body
        self._extensions = 0  # bytes of them so far
        self._part = "size"  # what is due
        self._left = 0  # bytes of the present chunk
        self._trailers = HeadReader(trailer_syntax, limits)

    def read(self, buffer: Buffer) -> Data | EndOfMessage | None:
        if self._part == "crlf" and not self._read_crlf(buffer):
            return None
        if self._part == "size" and not self._read_size(buffer):
            return None
        if self._part == "trailers":
            return self._read_trailers(buffer)
        data = buffer.take(self._left)
        self._left -= len(data)
        if not self._left:
            self._part = "crlf"
        return Data(data) if data else None

    def _read_size(self, buffer: Buffer) -> bool:
        line = parse_chunk_size(buffer, self._limits)
        if line is None:
            return False
        size, extensions = line
        self._extensions += extensions
        if self._extensions > self._limits.max_head:  # §7.1.1: ought to be limited in total
            raise RemoteProtocolError("too many chunk extensions", 400)
        self._room -= size
        if self._room < 0:
            raise RemoteProtocolError("content too large", 413)
        self._left = size
        self._part = "data" if size else "trailers"
        return True

    def _read_crlf(self, buffer: Buffer) -> bool:
        if not parse_chunk_end(buffer):
            return False
        self._part = "size"
        return True

    def _read_trailers(self, buffer: Buffer) -> EndOfMessage | None:
        if buffer.peek(0, 2) == b"\r\n":
            buffer.skip(2)
            return EndOfMessage()
        section = self._trailers.read(buffer, None)
        return EndOfMessage(section[1]) if section else None


_BodyReader = LengthReader | UntilCloseReader | ChunkedReader


def body_reader(framing: int, limits: Limits, trailer_syntax: Syntax) -> _BodyReader:
    """What reads a body with this framing. Raises RemoteProtocolError (413) for a length beyond the limit."""
    if framing == CHUNKED:
        return ChunkedReader(limits, trailer_syntax)
    if framing == UNTIL_CLOSE:
        return UntilCloseReader(limits)
    if framing > limits.max_body:
        raise RemoteProtocolError("content too large", 413)
    return LengthReader(framing)


# ---- the state of a connection ---------------------------------------------------------------------------------------
#
# Two messages, each with a state of its own: an answer may be complete before the question is.
#
#        the request                              the response
#
#           IDLE                                     IDLE
#            | RequestHead                            | (the request has begun)
#            v                                        v
#     +---> BODY ---> CLOSED                   +---> HEAD ---> SWITCHED, and the request with it
#     +------+ Data   (a fault of the peer)    +------+ 1xx    (101, or 2xx to CONNECT)
#            |                                        | ResponseHead
#            |                                        v
#            |                                 +---> BODY
#            |                                 +------+ Data
#            | EndOfMessage                           | EndOfMessage
#            v                                        v
#           DONE                                     DONE
#            `------------- when both are: -----------'
#            IDLE again, or CLOSED if the connection does not persist (§9.3)
#
# SWITCHED: the bytes belong to another protocol. Of a faulty request, in its head or body, the response may still be sent if
# it has not begun; then that is CLOSED, too.
# The tables say which events we may send; a test, that each leads where they say.


class State(IntEnum):
    """Where one message of the pair is."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    DONE = 3
    SWITCHED = 4
    CLOSED = 5


IDLE, HEAD, BODY, DONE, SWITCHED, CLOSED = State

REQUEST_TRANSITIONS: dict[tuple[State, type[Event]], State] = {
    (IDLE, RequestHead): BODY,
    (BODY, Data): BODY,
    (BODY, EndOfMessage): DONE,
}
RESPONSE_TRANSITIONS: dict[tuple[State, type[Event]], State] = {
    (HEAD, ResponseHead): BODY,  # or HEAD again, for a status of 1xx
    (BODY, Data): BODY,
    (BODY, EndOfMessage): DONE,
}


class Connection(Core):
    """One end of an HTTP/1.1 connection: a CLIENT sends requests one after the other, a SERVER answers them in order."""

    def __init__(self, role: Role, limits: Limits = Limits(), methods: frozenset[str] = METHODS) -> None:
        super().__init__(max(limits.max_head, limits.max_chunk_line))
        self.role = role
        self.limits = limits
        self.methods = methods
        """As a server: requests with another method are answered 501."""
        self.request = IDLE
        self.response = IDLE
        self.keep_alive = True
        """Whether the connection may go on after this request and its response, as far as their heads have said (§9.3)."""
        self.expects_continue = False
        """The client holds its content back until it sees 100 (RFC 9110 §10.1.1)."""
        self._method = ""  # of the request in flight
        self._version = "1.1"  # of the request in flight
        self._upgrade = False  # the request offers another protocol
        self._empty_lines = 0
        self._reader = HeadReader(REQUEST_SYNTAX if role is SERVER else RESPONSE_SYNTAX, limits)
        self._body: _BodyReader | None = None  # reads the body being received
        self.framing = 0
        """Of the body being sent: bytes left, CHUNKED or UNTIL_CLOSE."""

    # -- receiving

    def _parse(self) -> Event | None:
        server = self.role is SERVER
        state = self.request if server else self.response
        if state is BODY:
            event: Event | None = self._parse_body()
        elif state is IDLE or state is HEAD:
            event = self._parse_request() if server else self._parse_response()
        else:  # DONE: our own message has to be, too, before the next; SWITCHED: the bytes are another protocol's
            self.wants = Wants.CLOSED if state is CLOSED else PAUSED
            return None
        if event is None:
            self.wants = DATA
        return event

    def _skip_empty_lines(self) -> bytes:
        """§2.2: a server SHOULD ignore at least one empty line before a request line. The two bytes behind those."""
        while (start := self._buffer.peek(0, 2)) == b"\r\n":
            self._empty_lines += 1
            if self._empty_lines > self.limits.max_empty_lines:
                raise RemoteProtocolError("too many empty lines", 400)
            self._buffer.skip(2)
        return start

    def _parse_request(self) -> RequestHead | None:
        if not self._buffer.size:
            return None
        data, start = self._buffer.window()
        if data[start] == _CR and self._skip_empty_lines() == b"\r":  # with the first half of one more
            return None
        found = self._reader.read(self._buffer, REQUEST_LINE)
        if found is None:
            return None
        (method, target, version), headers = found
        self._method = method
        if version[0] != "1":
            raise RemoteProtocolError("only HTTP/1.x is spoken here", 505)
        if method not in self.methods:
            raise RemoteProtocolError("method not implemented", 501)
        check_target(method, target, RemoteProtocolError)
        head = RequestHead(method, target, headers, version)
        terms = request_terms(version, important_lines(headers), RemoteProtocolError)
        self._body = body_reader(terms.framing, self.limits, FIELD_SYNTAX) if terms.framing else None
        self._begin(head, terms)
        return head

    def _parse_response(self) -> ResponseHead | None:
        if self.response is IDLE:
            if self._buffer.size:  # §9.2: MUST NOT consider that data to be a valid response
                raise RemoteProtocolError("data without a request")
            return None
        found = self._reader.read(self._buffer, STATUS_LINE)
        if found is None:
            return None
        (version, status), headers = found
        if version[0] != "1" or status < "100":
            raise RemoteProtocolError("not a response of HTTP/1.x")
        head = ResponseHead(int(status), headers, version)
        if head.status == 101 and not self._upgrade:  # RFC 9110 §7.8: MUST NOT switch to what was not offered
            raise RemoteProtocolError("101 without a request to upgrade")
        fields = important_fields(headers)
        framing = response_framing(self._method, head.status, version, fields, RemoteProtocolError)
        self._body = body_reader(framing, self.limits, RESPONSE_SYNTAX) if framing else None
        self._answer(head.status, version, fields, framing)
        return head

    def _parse_body(self) -> Data | EndOfMessage | None:
        event = self._body.read(self._buffer) if self._body else EndOfMessage()
        if event is None:
            return None
        self.expects_continue = False  # the content comes unasked. (Of a client this is always false here: the head has come)
        if isinstance(event, EndOfMessage):
            self._body = None
            self._finish(response=self.role is CLIENT)
        return event

    def _parse_eof(self) -> Event | None:
        if isinstance(self._body, UntilCloseReader):
            self._finish(response=True)
            return EndOfMessage()
        idle = self.request is IDLE if self.role is SERVER else self.response is IDLE
        if not idle or self._buffer.size:
            raise RemoteProtocolError("connection closed in the middle of a message", 400)
        self.request = self.response = CLOSED
        self.wants = Wants.CLOSED
        return None

    def fail(self, error: RemoteProtocolError) -> None:
        super().fail(error)
        self.keep_alive = False
        if self.role is CLIENT:
            error.code = 0  # a status is for an answer, and a client gives none
            self.request = self.response = CLOSED
            return
        self.request = CLOSED
        if self.response is IDLE:  # a head that was not understood has to be answered, too
            self.response = HEAD
            if self._buffer.peek(0, 5) == b"HEAD ":  # without content, then (RFC 9110 §9.3.2)
                self._method = "HEAD"

    # -- sending

    def send(self, event: Event) -> bytes:
        client = self.role is CLIENT
        state, table = (self.request, REQUEST_TRANSITIONS) if client else (self.response, RESPONSE_TRANSITIONS)
        if (state, type(event)) not in table:
            raise LocalProtocolError(f"the {self.role.value} can't send {type(event).__name__} in {state.name}")
        if type(event) is Data:
            return self._send_data(event.data)
        if type(event) is EndOfMessage:
            return self._send_end(event)
        if type(event) is ResponseHead:
            return self._send_response(event)
        assert type(event) is RequestHead
        return self._send_request(event)

    def _send_request(self, head: RequestHead) -> bytes:
        start = f"{head.method} {head.target} HTTP/{head.version}"
        found = REQUEST_LINE.fullmatch(start)
        # What was put together has to come apart in the same way, or a target could bring its own version.
        same = found is not None and found.groups() == (head.method, head.target, head.version)
        if not same or head.version not in ("1.0", "1.1"):
            raise LocalProtocolError("a method, target or version that no request line can have")
        check_target(head.method, head.target, LocalProtocolError)
        terms = request_terms(head.version, important_lines(head.headers), LocalProtocolError)
        encoded = f"{start}\r\n{encode_fields(head.headers)}\r\n".encode("latin-1")
        self.framing = terms.framing
        self._begin(head, terms)
        return encoded

    def send_whole(self, head: EncodedHead, content: bytes) -> bytes:
        """A final response in one step: what its head, its content and an end without trailers would give one by one.

        Where the head does not frame itself, its Content-Length is added. To HEAD, the content is left out. Raises
        LocalProtocolError where ``send`` would, before anything is changed. A fifth less Python for a short request than
        three events would take, with all that this lets the shell leave out.
        """
        if self.role is CLIENT or self.response is not HEAD:
            raise LocalProtocolError(f"the {self.role.value} can't send a response in {self.response.name}")
        status, encoded, fields, framed = head
        if not 200 <= status <= 599 or (self._method == "CONNECT" and status < 300):
            raise LocalProtocolError(f"no whole response has status {status}")
        if framed:
            framing = self._response_framing(status, "1.1", fields)
            encoded += b"\r\n"
        else:
            framing = len(content)
            encoded = b"%bcontent-length: %d\r\n\r\n" % (encoded, framing)
        if self._method == "HEAD":
            content = b""
        elif 0 <= framing != len(content) or (content and status == 205):
            possible = 0 if status == 205 else framing
            raise LocalProtocolError(f"a {status} with this head has {possible} bytes of content, not {len(content)}")
        self._answer(status, "1.1", fields, framing)
        self.framing = framing
        if framing == CHUNKED:
            content = b"%b0\r\n\r\n" % self._send_data(content)
        self._finish(response=True)
        return encoded + content

    def _send_response(self, head: ResponseHead) -> bytes:
        # RFC 9110 §15: other codes are invalid, though a client has to take one as an error of the server.
        if not 100 <= head.status <= 599:
            raise LocalProtocolError(f"no response has status {head.status}")
        if head.version not in ("1.0", "1.1"):
            raise LocalProtocolError(f"no response of HTTP/1.x has version {head.version}")
        fields = important_fields(head.headers)
        framing = self._response_framing(head.status, head.version, fields)
        encoded = _encode_response(head.version, head.status, head.headers) + b"\r\n"
        self.framing = framing
        self._answer(head.status, head.version, fields, framing)
        return encoded

    def _response_framing(self, status: int, version: str, fields: dict[str, str]) -> int:
        """The framing of a response that we are about to send. Raises LocalProtocolError where we must not."""
        if status < 200 and self._version == "1.0":  # RFC 9110 §15.2
            raise LocalProtocolError("an interim response to HTTP/1.0")
        if status == 101 and not (self._upgrade and self.request is DONE):  # RFC 9110 §7.8
            raise LocalProtocolError("101 before a complete request to upgrade")
        framed = "content-length" in fields or "transfer-encoding" in fields
        if framed and (status < 200 or status == 204 or (self._method == "CONNECT" and status < 300)):
            raise LocalProtocolError("a 1xx, a 204, and a 2xx to CONNECT have no length")  # §6.1, RFC 9110 §8.6
        if self._version == "1.0":
            version = "1.0"
        framing = response_framing(self._method, status, version, fields, LocalProtocolError)
        if framing == UNTIL_CLOSE and self.keep_alive and persists(version, fields):
            raise LocalProtocolError("neither a length, nor chunked, nor Connection: close")
        if framing and status == 205:  # RFC 9110 §15.3.6
            raise LocalProtocolError("a 205 has no content")
        return framing

    def _send_data(self, data: bytes) -> bytes:
        if self.framing == CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""  # a chunk of size 0 would be the last
        if self.framing != UNTIL_CLOSE:
            if len(data) > self.framing:
                raise LocalProtocolError("more content than its Content-Length, or than this response can have")
            self.framing -= len(data)
        return data

    def _send_end(self, event: EndOfMessage) -> bytes:
        if self.framing > 0:
            raise LocalProtocolError("less content than its Content-Length")
        if event.trailers and (self.framing != CHUNKED or important_fields(event.trailers)):
            raise LocalProtocolError("trailers need chunked, and can't frame or route")  # of RFC 9110 §6.5.1, what misleads us
        encoded = b"0\r\n%b\r\n" % encode_fields(event.trailers).encode("latin-1") if self.framing == CHUNKED else b""
        self._finish(response=self.role is SERVER)
        return encoded

    def take_end(self) -> bool:
        """Whether the head just received is all of its message; then this takes the EndOfMessage, without making one."""
        client = self.role is CLIENT
        if self._body is not None or (self.response if client else self.request) is not BODY:
            return False
        self._finish(response=client)
        return True

    @property
    def content_left(self) -> int:
        """Bytes of the content being received that are still to come; 0 also where its head did not tell."""
        return self._body.left if isinstance(self._body, LengthReader) else 0

    def farewell(self, error: ProtocolError) -> list[Event]:
        if self.role is CLIENT or self.response is not HEAD:
            return []
        text = f"{error}\n".encode()
        fields = [("content-type", "text/plain"), ("content-length", str(len(text))), ("connection", "close")]
        content: list[Event] = [] if self._method == "HEAD" else [Data(text)]
        return [ResponseHead(error.code or 400, Headers(fields)), *content, EndOfMessage()]

    # -- the state, moved by what passes in either direction

    def _begin(self, head: RequestHead, terms: Terms) -> None:
        self.request, self.response = BODY, HEAD
        self._method, self._version = head.method, head.version
        _, self.keep_alive, self._upgrade, self.expects_continue = terms

    def _answer(self, status: int, version: str, fields: dict[str, str], framing: int) -> None:
        self.expects_continue = False
        if status == 101 or (self._method == "CONNECT" and 200 <= status < 300):
            self.request = self.response = SWITCHED
        elif status >= 200:
            self.response = BODY
            if self._version == "1.0":  # what both ends speak is what a response may use (§6.1, §9.3)
                version = "1.0"
            self.keep_alive = self.keep_alive and framing != UNTIL_CLOSE and persists(version, fields)

    def _finish(self, *, response: bool) -> None:
        """One of the two messages is complete. When both are, the connection is as new, or at its end."""
        if response:
            self.response = DONE
        else:
            self.request = DONE
        if self.request is self.response is DONE:
            self.request = self.response = IDLE if self.keep_alive else CLOSED
            self.wants = DATA if self.keep_alive else Wants.CLOSED
            self._method = ""
            self._empty_lines = 0
        elif self.response is DONE and self.request is CLOSED:
            self.response = CLOSED  # the farewell was said, or the app has answered what was broken itself


def check_host(version: str, fields: dict[str, str], fault: type[ProtocolError]) -> None:
    """§3.2: 400 for a request of HTTP/1.1 without Host, and for any with two or an invalid one."""
    if "host" not in fields:
        if version != "1.0":
            raise fault("missing Host", 400)
    elif not is_host(fields["host"]):
        raise fault("repeated or invalid Host", 400)
