"""The HTTP/1.1 core made faster: a head read by one search and a few patterns, and caches for whatever is often repeated."""

import re
from collections.abc import Sequence
from functools import lru_cache

from minproto import http1
from minproto.buffer import Buffer
from minproto.core import SERVER, ProtocolError, Wants
from minproto.http import (
    FIELD_VCHAR,
    IMPORTANT,
    REASONS,
    SECRET,
    TARGET,
    TCHAR,
    Headers,
    RequestHead,
    ResponseHead,
    important_fields,
)
from minproto.http1 import BODY, DONE, HEAD, IDLE, NO_CONTENT, REQUEST, Handling, Limits, PreparedHead, Syntax, persists

_REQUEST_LINE = re.compile(rf"([{TCHAR}]++) ([{TARGET}]++) (HTTP/[0-9]\.[0-9])")
_STATUS_LINE = re.compile(rf"(HTTP/[0-9]\.[0-9]) ([0-9]{{3}})(?: [{FIELD_VCHAR}]*+)?")
_FIELD_LINE = re.compile(rf"([{TCHAR}]++):[\t ]*+([{FIELD_VCHAR}]*+)")
_CLOSED = http1.State.CLOSED  # bound at module level: looking up an Enum member is slow in CPython 3.11
_DATA = Wants.DATA
_CR = ord("\r")

# The caches that connections share hold no secret field, and no long field line.
_WITHOUT_CONTENT = frozenset({"HEAD", "CONNECT"})
_MOST = 256
_LONG = 4_096
_encoded: dict[tuple[str, str], str] = {}  # field -> field line, with its CRLF


class _FieldLines(dict[str, tuple[str, str]]):
    """A memory of field lines: line -> field. A line that is not in it is parsed when it is looked up.

    Raises KeyError for a line that is wrong or folded.
    """

    __slots__ = ()

    def __missing__(self, line: str) -> tuple[str, str]:
        found = _FIELD_LINE.fullmatch(line)
        if found is None:
            raise KeyError(line)
        field = found[1].lower(), found[2].rstrip("\t ")
        if len(line) <= _LONG and field[0] not in SECRET:
            if len(self) >= _MOST:
                self.clear()
            self[line] = field
        return field


_parsed = _FieldLines()


class HeadReader(http1.HeadReader):
    """Reads a head in one step if all of it has arrived, and leaves any other head to the plain reader.

    A client often sends the same field lines with each request. So the reader of a connection remembers the lines of its last
    head and their fields, even the secret ones: the bytes came from the same peer.
    """

    __slots__ = ("_last_fields", "_last_lines")

    def __init__(self, syntax: Syntax, limits: Limits, first_part: str = "") -> None:
        super().__init__(syntax, limits, first_part)
        # None equals no text: a trailer section without lines ends with its first CRLF, so the plain reader has to read it.
        self._last_lines = None if first_part else ""
        self._last_fields: list[tuple[str, str]] = []

    def read(self, buffer: Buffer) -> tuple[Sequence[str], Headers] | None:
        text = buffer.text_until(b"\r\n\r\n", self._limits.max_head)
        head = None if text is None else self._parse(text)
        if text is None or head is None:
            return super().read(buffer)
        if self._position:
            self._begin()
        buffer.skip(len(text) + 4)
        return head

    def _parse(self, text: str) -> tuple[Sequence[str], Headers] | None:
        """Return a head; None if a line is wrong or folded, or there are too many: the plain reader then reads the head."""
        start: Sequence[str] = ()
        lines = text
        if self._first_part != "name":
            line, _, lines = text.partition("\r\n")
            found = (_REQUEST_LINE if self._syntax is REQUEST else _STATUS_LINE).fullmatch(line)
            if found is None or len(line) > self._max_line:
                return None
            start = found.groups()
        if lines == self._last_lines:
            return start, Headers(self._last_fields)
        many = lines.split("\r\n")
        if len(many) > self._limits.max_headers:
            return None
        try:
            fields = list(map(_parsed.__getitem__, many))
        except KeyError:
            return None
        if len(lines) <= _LONG:
            self._last_lines, self._last_fields = lines, fields
        return start, Headers(fields)


def encode_fields(headers: Sequence[tuple[str, str]]) -> str:
    """Return what the plain ``encode_fields`` returns."""
    try:
        lines = [_encoded.get(field) or _encode_field(field) for field in headers]
    except TypeError:  # a field that is a list can't be looked up
        return http1.encode_fields(headers)
    return "".join(lines)


def _encode_field(field: tuple[str, str]) -> str:
    line = http1.encode_fields([field])
    if len(line) <= _LONG and field[0] not in SECRET:
        if len(_encoded) >= _MOST:
            _encoded.clear()
        _encoded[field] = line
    return line


def request_handling(version: str, headers: Sequence[tuple[str, str]], fault: type[ProtocolError]) -> Handling:
    """Return what the plain ``request_handling`` returns, from the few fields that matter."""
    important = []
    for field in headers:  # for one or two fields a comprehension is slower, in CPython 3.11
        if field[0] in IMPORTANT:
            important.append(field)
    return _handling(version, tuple(important), fault)  # type: ignore[arg-type]  # to mypy no class is hashable


@lru_cache(64)
def _handling(version: str, important: tuple[tuple[str, str], ...], fault: type[ProtocolError]) -> Handling:
    handling = http1.request_handling(version, important, fault)
    return handling._replace(framing=NO_CONTENT) if handling.framing == NO_CONTENT else handling


def _encode(head: PreparedHead) -> tuple[bytes | None, bool]:
    """Return a head without Content-Length and the empty line, and whether it lets the connection persist.

    Return None for a head to which no Content-Length may be added, or that is unusual in some way.
    """
    fields = important_fields(head.headers)
    framed = "content-length" in fields or "transfer-encoding" in fields
    if framed or head.version != "1.1" or not 200 <= head.status <= 599 or head.status in (204, 205, 304):
        return None, False
    line = f"HTTP/1.1 {head.status:d} {REASONS.get(head.status, '')}\r\n{encode_fields(head.headers)}"
    return line.encode("latin-1"), persists("1.1", fields)


class Connection(http1.Connection):
    """One end of an HTTP/1.1 connection."""

    __slots__ = ()

    head_reader = HeadReader
    request_handling = staticmethod(request_handling)
    encode_fields = staticmethod(encode_fields)

    def _skip_empty_lines(self) -> bool:
        """Skip as the plain method does. Nearly always, a request line comes next, or nothing has arrived yet."""
        if not self._buffer.size:
            return False
        data, start = self._buffer.window()
        return data[start] != _CR or super()._skip_empty_lines()

    def _begin_exchange(self, head: RequestHead, handling: Handling) -> None:
        self._method, self._version = head.method, head.version
        _, self.keep_alive, self._offers_upgrade, self.expects_continue = handling
        self.request, self.response = BODY, HEAD

    def skip_empty_body(self) -> bool:
        if self.role is not SERVER or self.response is not HEAD or self.request is not BODY or self._body is not None:
            return super().skip_empty_body()
        self.request = DONE
        return True

    def send_whole(self, head: ResponseHead, content: bytes) -> bytes:
        """Take the short way for a prepared head that answers a complete HTTP/1.1 request."""
        if type(head) is not PreparedHead or self.request is not DONE or self.response is not HEAD or self._version != "1.1":
            return super().send_whole(head, content)
        if head.encoding is None:
            head.encoding = _encode(head)
        encoded, persistent = head.encoding
        if encoded is None or self.role is not SERVER or self._method in _WITHOUT_CONTENT:
            return super().send_whole(head, content)
        whole = b"%bcontent-length: %d\r\n\r\n%b" % (encoded, len(content), content)
        self.expects_continue = False
        if persistent and self.keep_alive:
            self.request = self.response = IDLE
            self.wants = _DATA
        else:
            self.keep_alive = False
            self.request = self.response = _CLOSED
            self.wants = Wants.CLOSED
        self._method = ""
        self._empty_lines = 0
        return whole
