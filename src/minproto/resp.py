r"""RESP, the language of Redis (its versions 2 and 3), so that Redis clients can talk to the broker, and we to a redis-server.

    *2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n     a command: an array of binary strings, each with its length before it
    ECHO hi\r\n                          the same by hand ("inline"), for a person with a terminal
    $2\r\nhi\r\n                         the reply: its first byte says what it is

Lengths come before what they measure, so a parser never looks for the end of a string, and must never believe a length: an
array of a thousand million strings is announced in thirteen bytes. The errors of the server's side are those of redis-server
7.0, word for word, since clients look at them. We are stricter where it does not look, and see a byte where C sees the end of
a text: so a string ends in CRLF and not in any two bytes, the line of a length within 34 bytes, and a NUL in an inline command
is a byte like any other.

Left out: streamed strings and arrays of version 3 (``$?``), which no server sends; attributes (``|``) are read and dropped.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minproto.core import (
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

CRLF = b"\r\n"
MAX_LENGTH_LINE = 34
"""Bytes of a line with a length, its type and CRLF with it."""
MAX_INTEGER = (1 << 63) - 1
MAX_DIGITS = 4_000
"""Of a big number: Python takes no more of them at once."""
UNTRUSTED_ARGUMENTS = 10
"""Arguments of a command from someone who has not yet given the password, as in Redis."""
UNTRUSTED_BULK = 16_384
"""Bytes of each of those."""

MAX_SHORT = 1_023
"""Bytes of a short argument, of which a short command has up to ``UNTRUSTED_ARGUMENTS``: those are parsed in one go."""


@dataclass(frozen=True)
class Limits:
    """What a peer could make unbounded. Bytes, unless said otherwise."""

    max_bulk: int = 1 << 20
    """Of one binary string."""
    max_command: int = 8 << 20
    """Of all strings of one command, or of one reply with all that is in it: it is delivered whole."""
    max_array: int = 1 << 17
    """Arguments of a command, or values in a reply, however they nest: each is an object, however short."""
    max_depth: int = 16
    """Arrays within arrays, in a reply; those of Redis have five."""
    max_line: int = 65_536
    """Of an inline command or a line of text; Redis has the same."""

    def __post_init__(self) -> None:
        check_counts(self)


# ---- events, and the values of a reply -------------------------------------------------------------------------------


@dataclass(slots=True)
class Command(Event):
    """What a client asks: the name of a command, and its arguments."""

    arguments: list[bytes]


@dataclass(slots=True)
class Reply(Event):
    """What a server answers: ``bytes``, ``int``, None, ``bool``, ``float``, a list of values, or one of the classes below.

    What exists in version 3 only is sent in version 2 as its nearest: a map as an array, a bool as an integer.
    """

    value: Any


@dataclass(slots=True)
class Push(Event):
    """What a server says without being asked: a message. In version 2 it arrives as a reply that is an array."""

    items: list[Any]


@dataclass(slots=True)
class Encoded(Event):
    """Pushes that are bytes already, because they go to many."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Simple:
    """A line of text: ``+OK``."""

    text: str


@dataclass(frozen=True, slots=True)
class Error:
    """An error, its first word a code: ``-ERR syntax error``."""

    text: str


@dataclass(frozen=True, slots=True)
class NullArray:
    """``*-1``, no array. In version 3 there is but one null."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text for people, with three letters that say of what kind it is."""

    data: bytes
    kind: str = "txt"


@dataclass(slots=True)
class Map:
    """Pairs. No dict, for a peer may send keys that can't be hashed."""

    pairs: list[tuple[Any, Any]]


@dataclass(slots=True)
class Set:
    """Values in no order."""

    items: list[Any]


# ---- text ------------------------------------------------------------------------------------------------------------
#
# Names and lines are bytes to Redis, mostly UTF-8. As text, what is not UTF-8 is kept as lone surrogates.


def to_text(data: bytes) -> str:
    """Bytes of any kind as text."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The bytes that such a text was. Raises UnicodeEncodeError for other lone surrogates."""
    return text.encode("utf-8", "surrogateescape")


# ---- values as bytes -------------------------------------------------------------------------------------------------
#
#   +  line of text     $  string: length, bytes ($-1: null)          version 3:  _  null     #  true or false: t, f
#   -  error            *  array: count, values  (*-1: no array)                  ,  double   (  big number
#   :  integer                                                                    %  map: count, keys and values
#                                                                                 ~  set      >  push      |  attribute
#   Each line ends in CRLF, and so does the content of a string.                  =  verbatim !  error, both as strings


def encode_command(arguments: list[bytes]) -> bytes:
    """A command, as an array."""
    parts = [b"*%d\r\n" % len(arguments)]
    parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"".join(parts)


def encode_value(value: Any, version: int = 2) -> bytes:
    """A value of a reply. Raises LocalProtocolError for a line break in a line, or what is no value."""
    encode = _ENCODERS.get(type(value))
    if encode is None:
        raise LocalProtocolError(f"{type(value).__name__} is no value of RESP")
    return encode(value, version)


def encode_bulk(data: bytes) -> bytes:
    """A binary string."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def encode_items(kind: bytes, items: list[Any], version: int) -> bytes:
    """An array, or what is written like one."""
    return b"%b%d\r\n%b" % (kind, len(items), b"".join([encode_value(item, version) for item in items]))


def _encode_line(kind: bytes, text: str) -> bytes:
    if "\r" in text or "\n" in text:
        raise LocalProtocolError("a line break in a line")
    return kind + to_bytes(text) + CRLF


def _encode_integer(value: int, version: int) -> bytes:
    if -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        return b":%d\r\n" % value
    return b"(%d\r\n" % value if version == 3 else encode_bulk(b"%d" % value)


def _encode_float(value: float, version: int) -> bytes:
    text = repr(value).removesuffix(".0").encode()
    return b",%b\r\n" % text if version == 3 else encode_bulk(text)


def _encode_verbatim(value: Verbatim, version: int) -> bytes:
    if version == 2:
        return encode_bulk(value.data)
    return b"=%d\r\n%b:%b\r\n" % (len(value.data) + 4, value.kind.encode(), value.data)


def _encode_map(value: Map, version: int) -> bytes:
    flat = encode_items(b"*", [part for pair in value.pairs for part in pair], version)
    return flat if version == 2 else b"%%%d\r\n%b" % (len(value.pairs), flat.partition(CRLF)[2])


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    bytes: lambda value, version: encode_bulk(value),
    int: _encode_integer,
    Simple: lambda value, version: _encode_line(b"+", value.text),
    Error: lambda value, version: _encode_line(b"-", value.text),
    type(None): lambda value, version: b"_\r\n" if version == 3 else b"$-1\r\n",
    NullArray: lambda value, version: b"_\r\n" if version == 3 else b"*-1\r\n",
    bool: lambda value, version: b"#%b\r\n" % (b"t" if value else b"f") if version == 3 else b":%d\r\n" % value,
    float: _encode_float,
    Verbatim: _encode_verbatim,
    list: lambda value, version: encode_items(b"*", value, version),
    Map: _encode_map,
    Set: lambda value, version: encode_items(b"~" if version == 3 else b"*", value.items, version),
}


# What a short command may have where a number stands: to look it up checks and reads it in one step. A line is looked for no
# further than the longest of them goes, with its CRLF; and only bytes can be looked up, the buffer's own can not.
_COUNTS = {b"*%d" % count: count for count in range(1, UNTRUSTED_ARGUMENTS + 1)}
_LENGTHS = {b"$%d" % length: length for length in range(MAX_SHORT + 1)}


def parse_short_command(data: bytes | bytearray, at: int) -> tuple[list[bytes], int] | None:
    """The command at this position and where it ends, if it is there whole, right and short; else None.

    On the benchmark of messages to many: 1.75 times the deliveries of parsing piece by piece (3 runs of each, 1.7-1.8).
    """
    end = data.find(CRLF, at, at + 5)
    count = _COUNTS.get(bytes(data[at:end])) if end > 0 else None
    arguments: list[bytes] = []
    for _ in range(count or 0):
        at = end + 2
        end = data.find(CRLF, at, at + 7)
        length = _LENGTHS.get(bytes(data[at:end])) if end > 0 else None
        if length is None or not data.startswith(CRLF, end + 2 + length):
            return None
        arguments.append(bytes(data[end + 2 : end + 2 + length]))
        end += 2 + length
    return (arguments, end + 2) if arguments else None


_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_BIG = re.compile(rb"[+-]?[0-9]{1,%d}" % MAX_DIGITS)
_DOUBLE = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf)")


def parse_integer(text: bytes) -> int | None:
    """An integer of 64 bits, in the only way that it can be written; None for anything else."""
    if _INTEGER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if -MAX_INTEGER - 1 <= value <= MAX_INTEGER else None


def parse_line(kind: bytes, text: bytes) -> Any:
    """The value of a line whose first byte was ``kind``. Raises RemoteProtocolError, KeyError for another kind."""
    try:
        return _LINES[kind](text)
    except ValueError:
        raise RemoteProtocolError(f"not a value: {(kind + text[:40])!r}") from None


def _parse_text(text: bytes) -> str:
    if b"\r" in text or b"\n" in text:
        raise ValueError
    return to_text(text)


def _parse_integer(text: bytes) -> int:
    value = parse_integer(text)
    if value is None:
        raise ValueError
    return value


def _parse_null(text: bytes) -> None:
    if text:
        raise ValueError


def _parse_bool(text: bytes) -> bool:
    if text not in (b"t", b"f"):
        raise ValueError
    return text == b"t"


def _parse_big(text: bytes) -> int:
    if _BIG.fullmatch(text) is None:
        raise ValueError
    return int(text)


def _parse_double(text: bytes) -> float:
    if text == b"nan":
        return math.nan
    if _DOUBLE.fullmatch(text) is None:
        raise ValueError
    return float(text)


_LINES: dict[bytes, Callable[[bytes], Any]] = {
    b"+": lambda text: Simple(_parse_text(text)),
    b"-": lambda text: Error(_parse_text(text)),
    b":": _parse_integer,
    b"_": _parse_null,
    b"#": _parse_bool,
    b",": _parse_double,
    b"(": _parse_big,
}


BULKS = (b"$", b"=", b"!")
ARRAYS = (b"*", b"~", b"%", b"|", b">")


def parse_bulk(kind: bytes, data: bytes) -> Any:
    """The value of a string whose first byte was ``kind``. Raises RemoteProtocolError."""
    if kind == b"!":
        return Error(to_text(data))
    if kind == b"$":
        return data
    if data[3:4] != b":" or not data[:3].isascii():
        raise RemoteProtocolError("a verbatim string without its kind")
    return Verbatim(data[4:], data[:3].decode())


def _parse_items(kind: bytes, items: list[Any]) -> tuple[Any, ...]:
    """The value of an array, a set or a map. None of an attribute: it says something about the value that comes next."""
    match kind:
        case b"|":
            return ()
        case b"~":
            return (Set(items),)
        case b"%":
            return (Map(list(zip(items[::2], items[1::2], strict=True))),)
    return (items,)


# ---- inline commands -------------------------------------------------------------------------------------------------
#
#   word  =  plain [ '"' quoted '"' / "'" quoted "'" ]        behind a closing quote comes a blank, or the end
#
# In double quotes \n \r \t \b \a \xHH mean a byte, and \ before anything else that itself; in single quotes only \' does.

_WORD = re.compile(
    rb"""([^ \n\r\t"']*+)(?:"((?:\\.|[^"\\])*+)"(?=\s|\Z)|'((?:\\'|[^'])*+)'(?=\s|\Z)|(?=[ \n\r\t]|\Z))""", re.DOTALL
)
_BLANKS = re.compile(rb"\s*")
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def parse_inline(line: bytes) -> list[bytes]:
    """The words of a line, with the quotes of a shell. Raises RemoteProtocolError for quotes that are not closed."""
    words: list[bytes] = []
    at = _skip_blanks(line, 0)
    while at < len(line):
        word = _WORD.match(line, at)
        if word is None:
            raise RemoteProtocolError("Protocol error: unbalanced quotes in request")
        plain, double, single = word.groups(b"")
        words.append(plain + _ESCAPE.sub(_unescape, double) + single.replace(b"\\'", b"'"))
        at = _skip_blanks(line, word.end())
    return words


def _skip_blanks(line: bytes, at: int) -> int:
    blanks = _BLANKS.match(line, at)
    assert blanks is not None
    return blanks.end()


def _unescape(escape: re.Match[bytes]) -> bytes:
    return bytes([int(escape[1], 16)]) if escape[1] else _ESCAPED.get(escape[2], escape[2])


# ---- the connection --------------------------------------------------------------------------------------------------
#
# It has no states but its role: commands go one way, replies and pushes the other, and neither waits for the other.


@dataclass(slots=True)
class _Array:
    """One that is not complete yet, in a reply."""

    kind: bytes
    missing: int
    items: list[Any]


class Connection(Core):
    """One end: a SERVER receives commands and sends replies, a CLIENT the other way round."""

    def __init__(self, role: Role, limits: Limits = Limits()) -> None:
        super().__init__(max(limits.max_bulk + 2, limits.max_line))
        self.role = role
        self.limits = limits
        self.version = 2
        """In which we write replies. HELLO 3 changes it."""
        self.trusted = True
        """False while the password is missing: long commands are refused, so that no stranger can fill our memory."""
        self._arguments: list[bytes] | None = None  # of the command that is not complete
        self._missing = 0  # how many more it has
        # Of a short command no limit is checked: so they have to allow for the largest, as those of strangers always do.
        self._takes_short = limits.max_array >= UNTRUSTED_ARGUMENTS and (
            limits.max_bulk >= MAX_SHORT and limits.max_command >= UNTRUSTED_ARGUMENTS * MAX_SHORT
        )
        self._bulk: int | None = None  # the length of the string that comes now
        self._kind = b"$"  # and what it is
        self._size = 0  # bytes of this command or reply that were taken from the buffer
        self._values = 0  # that were announced in this reply
        self._arrays: list[_Array] = []  # that the next value is in, from the outermost

    def send(self, event: Event) -> bytes:
        if self.role is SERVER:
            if isinstance(event, Reply):
                return encode_value(event.value, self.version)
            if isinstance(event, Encoded):
                return event.data
            if isinstance(event, Push):
                return encode_items(b">" if self.version == 3 else b"*", event.items, self.version)
        elif isinstance(event, Command) and event.arguments:
            return encode_command(event.arguments)
        raise LocalProtocolError(f"a {self.role.value} can't send {event}")

    def farewell(self, error: ProtocolError) -> list[Event]:
        """An error reply, as Redis gives it before it closes; nothing to who has left in the middle."""
        return [Reply(Error(f"ERR {error}"))] if self.role is SERVER and not self._eof else []

    @property
    def buffered(self) -> int:
        """Bytes received and not delivered yet, those of an unfinished command or reply among them."""
        return self._buffer.size + self._size

    def _parse(self) -> Event | None:
        return self._parse_command() if self.role is SERVER else self._parse_reply()

    def _parse_eof(self) -> Event | None:
        if self._buffer.size or self._arguments is not None or self._arrays or self._bulk is not None:
            raise RemoteProtocolError(f"the end came in the middle of a {'command' if self.role is SERVER else 'reply'}")
        self.wants = Wants.CLOSED
        return None

    # -- commands

    def _parse_command(self) -> Command | None:
        arguments = self._arguments
        if arguments is None:
            words = self._take_short() or self._begin_command()
            if words is not None:
                return Command(words)
            arguments = self._arguments
            if arguments is None:
                return None
        while self._missing:
            argument = self._read_argument()
            if argument is None:
                return None
            arguments.append(argument)
            self._missing -= 1
        self._arguments, self._size = None, 0
        return Command(arguments)

    def _take_short(self) -> list[bytes] | None:
        data, start = self._buffer.window()
        short = parse_short_command(data, start) if self._takes_short else None
        if short is None:
            return None
        self._buffer.skip(short[1] - start)
        return short[0]

    def _begin_command(self) -> list[bytes] | None:
        """The head of an array, or the words of an inline command; what is empty of either is passed over."""
        while self._buffer.size and self._arguments is None:
            if self._buffer.peek(0, 1) != b"*":
                words = self._read_inline()
                if words is None or words:
                    return words
                continue
            line = self._line(MAX_LENGTH_LINE, "Protocol error: invalid multibulk length")
            if line is None:
                return None
            count = parse_integer(line[1:])
            if count is None or count > self.limits.max_array:
                raise RemoteProtocolError("Protocol error: invalid multibulk length")
            if count > UNTRUSTED_ARGUMENTS and not self.trusted:
                raise RemoteProtocolError("Protocol error: unauthenticated multibulk length")
            if count > 0:
                self._arguments, self._missing = [], count
        return None

    def _read_inline(self) -> list[bytes] | None:
        """It may end in LF alone."""
        end = self._buffer.find(b"\n", self.limits.max_line)
        if end >= 0:  # the line's end is a blank like any other
            return parse_inline(self._buffer.take(end + 1))
        if self._buffer.size >= self.limits.max_line:
            raise RemoteProtocolError("Protocol error: too big inline request")
        return None

    def _read_argument(self) -> bytes | None:
        if self._bulk is None:
            first = self._buffer.peek(0, 1)
            if first != b"$" and first:
                raise RemoteProtocolError(f"Protocol error: expected '$', got '{_printable(first)}'")
            line = self._line(MAX_LENGTH_LINE, "Protocol error: invalid bulk length")
            if line is None:
                return None
            self._bulk = self._check_bulk(parse_integer(line[1:]))
        return self._read_bulk(self._bulk)

    def _check_bulk(self, length: int | None) -> int:
        limits = self.limits
        if length is None or not 0 <= length <= min(limits.max_bulk, limits.max_command - self._size):
            raise RemoteProtocolError("Protocol error: invalid bulk length")
        if length > UNTRUSTED_BULK and not self.trusted:
            raise RemoteProtocolError("Protocol error: unauthenticated bulk length")
        return length

    # -- replies

    def _parse_reply(self) -> Event | None:
        while (read := self._read_value()) is not None:
            complete = self._close_arrays(*read)
            if complete is not None:
                self._size = self._values = 0
                return complete
        return None

    def _read_value(self) -> tuple[Any, ...] | None:
        """The next value that is no array, or an empty array; nothing, if it was the head of an array; None to wait."""
        if self._bulk is not None:
            data = self._read_bulk(self._bulk)
            return None if data is None else (parse_bulk(self._kind, data),)
        line = self._line(self.limits.max_line, "the line is too long")
        if line is None:
            return None
        kind, text = line[:1], line[1:]
        if kind in _LINES:
            self._count(len(line))
            return (parse_line(kind, text),)
        if kind in BULKS:
            return self._begin_bulk(kind, text)
        if kind in ARRAYS:
            return self._begin_array(kind, text)
        raise RemoteProtocolError(f"not a value: {line[:40]!r}")

    def _begin_bulk(self, kind: bytes, text: bytes) -> tuple[Any, ...]:
        if text == b"-1" and kind == b"$":
            return (None,)
        self._kind, self._bulk = kind, self._check_bulk(parse_integer(text))
        return ()

    def _begin_array(self, kind: bytes, text: bytes) -> tuple[Any, ...]:
        if text == b"-1" and kind == b"*":
            return (NullArray(),)
        count = parse_integer(text)
        if count is not None and kind in (b"%", b"|"):
            count *= 2
        itself = kind == b"|"  # which is no value, but they must not go on for ever
        if count is None or not 0 <= count <= self.limits.max_array - self._values - itself:
            raise RemoteProtocolError("an array of no, or too many values")
        if len(self._arrays) >= self.limits.max_depth:
            raise RemoteProtocolError("too many arrays within arrays")
        if kind == b">" and self._arrays:
            raise RemoteProtocolError("a push within a reply")
        self._values += count + itself
        self._arrays.append(_Array(kind, count, []))
        return ()

    def _close_arrays(self, *values: Any) -> Event | None:
        """Put a value where it belongs, and that where it belongs, if it is complete; the reply, if it is."""
        while self._arrays:
            array = self._arrays[-1]
            array.items += values
            array.missing -= len(values)
            if array.missing:
                return None
            self._arrays.pop()
            if array.kind == b">":
                return Push(array.items)
            values = _parse_items(array.kind, array.items)
        return Reply(*values) if values else None

    # -- what both need

    def _line(self, limit: int, complaint: str) -> bytes | None:
        """The next line without its end; None until it is complete."""
        end = self._buffer.find(CRLF, limit)
        if end >= 0:
            return self._buffer.take(end + 2)[:-2]
        if self._buffer.size >= limit:
            raise RemoteProtocolError(complaint)
        return None

    def _read_bulk(self, length: int) -> bytes | None:
        """The string whose length is known; None until it is complete."""
        if self._buffer.size < length + 2:
            return None
        data = self._buffer.take(length + 2)
        if data[length:] != CRLF:
            raise RemoteProtocolError("Protocol error: expected CRLF after a string")
        self._bulk = None
        self._size += length
        return data[:length]

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self.limits.max_command:
            raise RemoteProtocolError("the reply is too long")


def _printable(byte: bytes) -> str:
    """As Redis puts it into a line."""
    return {b"\r": " ", b"\n": " "}.get(byte, to_text(byte))
