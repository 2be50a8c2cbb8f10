r"""RESP, the Redis serialization protocol: a client sends commands, a server sends replies and pushed messages.

The broker's server speaks RESP, so that redis-cli and the Redis client libraries can talk to it. The broker's client speaks
RESP too, so that it can also talk to a redis-server. There is no RFC: redis.io describes the protocol in its "Redis
serialization protocol specification". This is a command and its reply:

    *2\r\n                a command is an array; this array holds 2 strings
    $4\r\nECHO\r\n        a string of 4 bytes: the name of the command
    $2\r\nhi\r\n          a string of 2 bytes: the argument

    ECHO hi\r\n           the same command, as a person types it at a terminal: an *inline* command

    $2\r\nhi\r\n          the reply: a string of 2 bytes

The first byte of each value is its type: ``$`` is a string, ``*`` an array. A server sends one reply for each command, in the
order of the commands. So a client may send its second command before it has received the first reply: *pipelining*.

A connection begins in version 2 (RESP2). The command ``HELLO 3`` from a client changes the connection to version 3
(RESP3), which has more types. Here are a reply (a map of one pair) and a push, each in both versions:

    version 2:    *2\r\n$4\r\nport\r\n:6379\r\n                   an array of 2 values: in version 2 all collections are arrays
    version 3:    %1\r\n$4\r\nport\r\n:6379\r\n                   a map of 1 pair

    version 2:    *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n  an array of 3 values
    version 3:    >3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n  a push of 3 values

A *push* is a list of values that the server sends without being asked: here they announce the message "hi", which somebody
published on the topic "a". In version 2 a push has the form of an array, so a client cannot tell it from a reply. Therefore a
client that has subscribed may send only a few commands in version 2 (``commands.py`` says which).

The length of a string comes before the string. So a string may hold any bytes, including a CRLF; nothing has to be escaped,
and the parser never searches for the end. Here a command arrives in three chunks. ``buffered`` counts the bytes of the
strings that have been read, and all bytes that have arrived but have not been read yet:

    >>> server = Connection(SERVER)
    >>> for chunk in (b"*2\r\n$4\r", b"\nECHO\r\n$2\r\nh", b"i\r\n"):
    ...     server.receive_data(chunk)
    ...     print(chunk, list(server.events()), server.buffered)
    b'*2\r\n$4\r' [] 3
    b'\nECHO\r\n$2\r\nh' [] 5
    b'i\r\n' [Command(arguments=[b'ECHO', b'hi'])] 0

After the first chunk the server knows that two strings will come. The three bytes ``$4\r`` wait, because a line is read only
once its LF is there. After the second chunk the server holds ECHO (four bytes), and one of the two bytes announced by ``$2``.

Three things are easy to get wrong:

- A length is only a claim. ``*1000000000\r\n`` is 13 bytes, and it announces a billion strings. A parser that
  reserves memory for that many strings fails. So each length is checked against its limit when its line ends, before any
  content arrives.
- Arrays hold arrays. If each array only had a limit of its own, the limits would multiply: 100 values, each an array of 100
  values, and so on. So the whole reply has one limit on its values, and one on its depth. Besides, a parser that calls itself
  for each array could be made to exceed Python's limit on recursion; here a list holds the arrays that are open.
- There are three ways to write "no value": ``$-1\r\n`` and ``*-1\r\n`` in version 2, ``_\r\n`` in version 3. A client should
  expect all three.

The server's errors use the words of redis-server 7.0, because client libraries compare them. We differ from
redis-server in three respects. A string has to end in CRLF, whereas redis-server skips two bytes, whatever they are. The line
with a length has at most 34 bytes. And a NUL in an inline command is a byte like any other, whereas it ends a string in C.

Left out: streamed strings and arrays (``$?``) of version 3, because no server sends them. Attributes (``|``) are read and
dropped.
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
BULKS = (b"$", b"=", b"!")
"""The types whose line gives a length in bytes: a string (Redis calls it a "bulk string"), a verbatim string, an error."""
ARRAYS = (b"*", b"~", b"%", b"|", b">")
"""The types whose line gives a count of values, or of pairs: an array, a set, a map, an attribute, a push."""
MAX_LENGTH_LINE = 34
"""The maximum number of bytes of a line that gives a length in a command, including the type and the CRLF. The length is a
64-bit number, which has at most 20 characters."""
MAX_INTEGER = (1 << 63) - 1
MAX_DIGITS = 4_000
"""The maximum number of digits of a big number. The time to parse a number grows with the square of its length, so Python
refuses more than 4,300 digits."""
UNAUTHENTICATED_ARGUMENTS = 10
"""The maximum number of arguments of a command before the client has given the password: enough for AUTH and HELLO. Redis has
the same limit."""
UNAUTHENTICATED_BULK = 16_384
"""The maximum number of bytes of an argument before the client has given the password. Redis has the same limit."""


@dataclass(frozen=True)
class Limits:
    """The bounds on what a peer could otherwise send without end, or announce at no cost. In bytes, unless noted otherwise.

    A command or a reply is delivered in one piece, so all of it has to fit into memory.
    """

    max_bulk: int = 1 << 20
    """The maximum number of bytes of one string. The announced length is checked before the string arrives."""
    max_command: int = 8 << 20
    """The maximum number of bytes of all strings of a command together; in a reply, of all strings and lines together."""
    max_array: int = 1 << 17
    """The maximum number of arguments of a command, or of values in a reply at all depths together. A string of two bytes
    costs its sender eight bytes, and us about 50, because each value is an object."""
    max_depth: int = 16
    """How deep arrays may be nested in a reply. In Redis's replies they are at most five deep."""
    max_line: int = 65_536
    """The maximum number of bytes of an inline command, or of a line in a reply. No length precedes such a line. Redis has
    the same limit."""

    def __post_init__(self) -> None:
        check_counts(self)


# ---- events, and the values of a reply -------------------------------------------------------------------------------


@dataclass(slots=True)
class Command(Event):
    """A command from a client: its name, then its arguments. The case of the name does not matter."""

    arguments: list[bytes]


@dataclass(slots=True)
class Reply(Event):
    """A server's answer to one command.

    The value is ``bytes``, an ``int``, None, a ``bool``, a ``float``, a list of values, or one of the classes below. If only
    version 3 has a type, version 2 uses the nearest type: a map becomes an array, a bool an integer, a float a string.
    """

    value: Any


@dataclass(slots=True)
class Push(Event):
    """Values that a server sends unasked, such as a message. In version 2 a push arrives as a Reply whose value is a list."""

    items: list[Any]


@dataclass(slots=True)
class Encoded(Event):
    """Pushes as bytes. A message for a thousand subscribers is encoded once, and sent to each of them in this form."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Simple:
    r"""A line of text: ``+OK\r\n``. It has no length, so it cannot hold a line break."""

    text: str


@dataclass(frozen=True, slots=True)
class Error:
    r"""An error: ``-ERR syntax error\r\n``. Its first word, here ERR, tells a client what kind of error it is."""

    text: str


@dataclass(frozen=True, slots=True)
class NullArray:
    r"""The null in place of an array: ``*-1\r\n``, in version 2. Version 3 has only one null, which is None."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text to be shown to a person without changes. ``kind`` is its format in three letters: "txt", or "mkd" for
    Markdown."""

    data: bytes
    kind: str = "txt"


@dataclass(slots=True)
class Map:
    """Pairs of key and value. This is not a dict, because a peer may send an array as a key, which Python cannot hash."""

    pairs: list[tuple[Any, Any]]


@dataclass(slots=True)
class Set:
    """Values in no particular order."""

    items: list[Any]


# ---- text ------------------------------------------------------------------------------------------------------------
#
# Names and lines are bytes to Redis, and most of them are UTF-8. A byte that is not UTF-8 must survive the round trip to str
# and back: b"caf\xe9" becomes "caf\udce9". UTF-8 text never holds half a surrogate pair, so Python uses one for such a byte.


def to_text(data: bytes) -> str:
    """Return bytes as text. Each byte that is not UTF-8 becomes half a surrogate pair."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """Return the bytes that ``to_text`` turned into this text. Raises UnicodeEncodeError for other surrogates."""
    return text.encode("utf-8", "surrogateescape")


# ---- values as bytes -------------------------------------------------------------------------------------------------
#
#   in both versions                                      in version 3 only
#
#   +OK\r\n            Simple: a line of text             _\r\n               null
#   -ERR no\r\n        Error                              #t\r\n  #f\r\n      true and false
#   :7\r\n             a 64-bit integer                   ,1.5\r\n            a float; also inf, -inf and nan
#   $2\r\nhi\r\n       a string and its length            (12345678901\r\n    a big number
#   $-1\r\n            null, as a string                  =6\r\ntxt:hi\r\n    Verbatim: its kind, then its text
#   *2\r\n…            an array of 2 values               !6\r\nERR no\r\n    Error, which may have line breaks
#   *-1\r\n            NullArray: null, as an array       %1\r\n…             Map of 1 pair: a key, then its value
#                                                         ~2\r\n…             Set of 2 values
#                                                         >3\r\n…             Push of 3 values
#                                                         |1\r\n…             attribute: pairs about the value after them


def encode_command(arguments: list[bytes]) -> bytes:
    """Return the bytes of a command: an array of strings."""
    return b"*%d\r\n%b" % (len(arguments), b"".join([encode_bulk(argument) for argument in arguments]))


def encode_value(value: Any, version: int = 2) -> bytes:
    """Return the bytes of a value. Raises LocalProtocolError for a line break in a line, and for an unknown type of object."""
    encode = _ENCODERS.get(type(value))  # by the exact type: in Python a bool is also an int
    if encode is None:
        raise LocalProtocolError(f"{type(value).__name__} is not a value of RESP")
    return encode(value, version)


def encode_bulk(data: bytes) -> bytes:
    r"""Return the bytes of a string: ``encode_bulk(b"hi")`` is ``$2\r\nhi\r\n``."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def encode_items(kind: bytes, items: list[Any], version: int) -> bytes:
    """Encode values as an array, or as another type that consists of a count and its values, and return the bytes."""
    return b"%b%d\r\n%b" % (kind, len(items), b"".join([encode_value(item, version) for item in items]))


def _encode_line(kind: bytes, text: str) -> bytes:
    if "\r" in text or "\n" in text:  # the text after the line break would be another reply
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
    """Return the bytes of a map. Its line counts pairs in version 3, and values in version 2."""
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


# ---- bytes as values -------------------------------------------------------------------------------------------------
#
# Python's int and float accept more than the protocol allows: "1_0", " 7", "٣", "0x1". So a pattern checks the text first.

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_BIG = re.compile(rb"[+-]?[0-9]{1,%d}" % MAX_DIGITS)
_DOUBLE = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf)")


def parse_integer(text: bytes) -> int | None:
    """Return a 64-bit integer, or None for any other text.

    Redis accepts only one spelling of each number, so not ``+1``, ``01`` or ``-0``: two programs that read a length in
    different ways would disagree about where the next command begins.
    """
    if _INTEGER.fullmatch(text) is None:
        return None
    value = int(text)
    return value if -MAX_INTEGER - 1 <= value <= MAX_INTEGER else None


def parse_line(kind: bytes, text: bytes) -> Any:
    r"""Return the value of a line such as ``:7\r\n``, whose kind is ``:`` and whose text is ``7``.

    Raises RemoteProtocolError for a wrong text, and KeyError for a kind whose value is not a single line.
    """
    try:
        return _LINES[kind](text)
    except ValueError:
        raise RemoteProtocolError(f"not a value: {(kind + text[:40])!r}") from None


def _parse_text(text: bytes) -> str:
    if b"\r" in text or b"\n" in text:  # a line ends in CRLF, and neither CR nor LF may occur within it
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
"""The types whose value is the line itself, and how to read it. Each function raises ValueError for a wrong text."""


def parse_bulk(kind: bytes, data: bytes) -> Any:
    """Return the value of a string of one of the ``BULKS``. Raises RemoteProtocolError if a verbatim string lacks its kind."""
    if kind == b"!":
        return Error(to_text(data))
    if kind == b"$":
        return data
    if data[3:4] != b":" or not data[:3].isascii():
        raise RemoteProtocolError("a verbatim string without its kind")
    return Verbatim(data[4:], data[:3].decode())


# ---- inline commands -------------------------------------------------------------------------------------------------
#
#   line    =  *blank *( word 1*blank ) LF               ``SET greeting "hello, \"you\""`` has three words
#   word    =  *plain [ quoted ]                          after a closing quote comes a blank, or the end
#   quoted  =  '"' *( escape / other ) '"'  /  "'" *( "\'" / other ) "'"
#   escape  =  "\n" / "\r" / "\t" / "\b" / "\a" / "\x" 2HEX / "\" other
#
# In double quotes a backslash begins an escape: \x41 is "A", and \q is "q". In single quotes the only escape is \'.

# ``*+`` matches as many bytes as it can and never gives a byte back, so no line takes more than linear time. After a closing
# quote, ``(?=\s|\Z)`` looks for a blank or the end of the line, and consumes nothing.

_WORD = re.compile(
    rb"""([^ \n\r\t"']*+)(?:"((?:\\.|[^"\\])*+)"(?=\s|\Z)|'((?:\\'|[^'])*+)'(?=\s|\Z)|(?=[ \n\r\t]|\Z))""", re.DOTALL
)
_BLANKS = re.compile(rb"\s*")
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def parse_inline(line: bytes) -> list[bytes]:
    r"""Return the words of an inline command, with quotes as in a shell.

    >>> parse_inline(rb'''SET greeting "say \"hi\"\x21" 'it\'s' ''')
    [b'SET', b'greeting', b'say "hi"!', b"it's"]

    Raises RemoteProtocolError if a quote is not closed, or if a letter follows the closing quote directly.
    """
    words: list[bytes] = []
    position = _skip_blanks(line, 0)
    while position < len(line):
        word = _WORD.match(line, position)
        if word is None:
            raise RemoteProtocolError("Protocol error: unbalanced quotes in request")
        plain, double, single = word.groups(b"")
        words.append(plain + _ESCAPE.sub(_unescape, double) + single.replace(b"\\'", b"'"))
        position = _skip_blanks(line, word.end())
    return words


def _skip_blanks(line: bytes, position: int) -> int:
    blanks = _BLANKS.match(line, position)
    assert blanks is not None  # the pattern also matches no blanks at all
    return blanks.end()


def _unescape(escape: re.Match[bytes]) -> bytes:
    return bytes([int(escape[1], 16)]) if escape[1] else _ESCAPED.get(escape[2], escape[2])


# ---- the connection --------------------------------------------------------------------------------------------------
#
#   CLIENT  ---- Command, Command, … --------->  SERVER
#           <--- Reply, Reply, Push, Reply … --
#
# There is no table of states. Each side may send at any time. RESP has no message for the end: either side just closes TCP.


Values = tuple[Any, ...]
"""One value, or (), which means "no value". None could not mean that, because None is itself a value, the null."""


@dataclass(slots=True)
class _OpenArray:
    """An array in a reply, some of whose values have not arrived yet."""

    kind: bytes
    missing: int
    items: list[Any]


class Connection(Core):
    """One end of a connection: a SERVER receives commands and sends replies and pushes, a CLIENT does the reverse."""

    def __init__(self, role: Role, limits: Limits = Limits()) -> None:
        super().__init__(max(limits.max_bulk + 2, limits.max_line))
        self.role = role
        self.limits = limits
        self.version = 2
        """The version in which a server sends, 2 or 3. The shell sets it after a HELLO. A client reads both versions."""
        self.authenticated = True
        """On a server: False until the client has given the password. Until then only short commands are accepted, so that a
        stranger cannot fill our memory. The shell sets this, because a core does not know what AUTH means."""
        # The command or reply that is being read:
        self._taken = 0  # bytes of its strings and lines that have left the buffer
        self._bulk_length: int | None = None  # a string of this many bytes comes next; None: a line comes next
        self._bulk_kind = b"$"
        # In a command:
        self._arguments: list[bytes] | None = None  # None: between two commands
        self._argument_count = 0  # once the list has this many arguments, the command is complete
        # In a reply:
        self._open_arrays: list[_OpenArray] = []  # from the outermost to the innermost; empty: between two replies
        self._announced = 0  # values announced so far in all its arrays and attributes

    def send(self, event: Event) -> bytes:
        if self.role is SERVER:
            if isinstance(event, Reply):
                return encode_value(event.value, self.version)
            if isinstance(event, Encoded):
                return event.data
            if isinstance(event, Push):
                return encode_items(b">" if self.version == 3 else b"*", event.items, self.version)
        elif isinstance(event, Command) and event.arguments:  # a server ignores an empty command
            return encode_command(event.arguments)
        raise LocalProtocolError(f"a {self.role.value} can't send {event!r:.100}")

    def farewell(self, error: ProtocolError) -> list[Event]:
        """Return an error reply, as redis-server sends before it closes; nothing for a client that has closed its end."""
        return [Reply(Error(f"ERR {error}"))] if self.role is SERVER and not self._eof else []

    @property
    def buffered(self) -> int:
        """Bytes received but not delivered yet, including the strings of an unfinished command or reply."""
        return self._buffer.size + self._taken

    @property
    def in_command(self) -> bool:
        """Whether a command has begun to arrive and is not complete. An empty line is not a command."""
        return bool(self._buffer.size) or self._arguments is not None

    def _parse(self) -> Event | None:
        return self._parse_command() if self.role is SERVER else self._parse_reply()

    def _parse_eof(self) -> Event | None:
        """End the connection. Raises RemoteProtocolError if the end came in the middle of a command or a reply."""
        if self._buffer.size or self._arguments is not None or self._announced or self._bulk_length is not None:
            raise RemoteProtocolError(f"the end came in the middle of a {'command' if self.role is SERVER else 'reply'}")
        self.wants = Wants.CLOSED
        return None

    # -- commands

    def _parse_command(self) -> Command | None:
        """Return the next command, once all of it has arrived. Empty commands get no reply: they are ignored.

        A command that begins with ``*`` is an array. Every other command is inline, even ``$1`` or ``:5``: a ``$`` or ``:`` at
        the start gives the type of a reply or an argument, not of a command.
        """
        while True:
            in_array = self._arguments is not None or self._buffer.peek(0, 1) == b"*"
            arguments = self._read_array() if in_array else self._read_inline()
            if arguments is None:
                return None
            if arguments:
                return Command(arguments)

    def _read_inline(self) -> list[bytes] | None:
        """Return the words of the next line; None until it has arrived.

        The line may end in LF alone, because some terminals send no CR.
        """
        end = self._buffer.find(b"\n", self.limits.max_line)
        if end >= 0:
            return parse_inline(self._buffer.take(end + 1))  # CR and LF are blanks at the end of the line
        if self._buffer.size >= self.limits.max_line:
            raise RemoteProtocolError("Protocol error: too big inline request")
        return None

    def _read_array(self) -> list[bytes] | None:
        r"""Return the strings of a command; None until all have arrived. Here a command of two strings arrives bit by bit:

            chunk                  _arguments           what the method is waiting for
            *2\r\n                 []                   the line before a string
            $4\r\nECHO\r\n$2\r      [b"ECHO"]            the LF of the second such line
            \nhi\r                 [b"ECHO"]            _bulk_length is 2: four bytes, of which three are there
            \n                     [b"ECHO", b"hi"]     nothing: it returns the strings, and _arguments is None again
        """
        if self._arguments is None:
            count = self._read_argument_count()
            if count is None:
                return None
            self._arguments, self._argument_count = [], count
        while len(self._arguments) < self._argument_count:
            argument = self._read_argument()
            if argument is None:
                return None
            self._arguments.append(argument)
        arguments, self._arguments, self._taken = self._arguments, None, 0
        return arguments

    def _read_argument_count(self) -> int | None:
        r"""Return the number in a line such as ``*2\r\n``; None until the line has arrived. 0 or less: no strings follow.

        Redis calls the array of a command *multibulk*, because it holds bulk strings. The error texts use this word too.
        """
        line = self._take_line(MAX_LENGTH_LINE, "Protocol error: invalid multibulk length")
        if line is None:
            return None
        count = parse_integer(line[1:])
        if count is None or count > self.limits.max_array:
            raise RemoteProtocolError("Protocol error: invalid multibulk length")
        if count > UNAUTHENTICATED_ARGUMENTS and not self.authenticated:
            raise RemoteProtocolError("Protocol error: unauthenticated multibulk length")
        return count

    def _read_argument(self) -> bytes | None:
        """Return the next string of a command; None until all of it has arrived.

        Every argument is a bulk string, even a number: ``$1\r\n5\r\n`` is right, and ``:5\r\n`` is refused.
        """
        if self._bulk_length is None:
            first = self._buffer.peek(0, 1)
            if first not in (b"", b"$"):  # refused at its first byte, because the line may never end
                raise RemoteProtocolError(f"Protocol error: expected '$', got '{_printable(first)}'")
            line = self._take_line(MAX_LENGTH_LINE, "Protocol error: invalid bulk length")
            if line is None:
                return None
            self._bulk_length = self._check_bulk(parse_integer(line[1:]))
        return self._read_bulk(self._bulk_length)

    # -- replies

    def _parse_reply(self) -> Event | None:
        """Return the next reply or push, once all of it has arrived."""
        while True:
            values = self._read_value()
            if values is None:
                return None
            event = self._add_to_arrays(values)
            if event is not None:
                self._taken = self._announced = 0
                return event

    def _read_value(self) -> Values | None:
        """Read one line or one string, and return its value; None until all of it has arrived.

        For the line before a string, and for the line before the values of an array, return ().
        """
        if self._bulk_length is not None:
            data = self._read_bulk(self._bulk_length)
            return None if data is None else (parse_bulk(self._bulk_kind, data),)
        line = self._take_line(self.limits.max_line, f"a line of more than {self.limits.max_line:,} bytes (limits.max_line)")
        if line is None:
            return None
        kind, text = line[:1], line[1:]
        if kind in _LINES:
            self._count_line(len(line))
            return (parse_line(kind, text),)
        if kind in BULKS:
            return self._begin_bulk(kind, text)
        if kind in ARRAYS:
            return self._begin_array(kind, text)
        raise RemoteProtocolError(f"not a value: {line[:40]!r}")

    def _count_line(self, length: int) -> None:
        self._taken += length
        if self._taken > self.limits.max_command:
            raise RemoteProtocolError(f"a reply of more than {self.limits.max_command:,} bytes (limits.max_command)")

    def _begin_bulk(self, kind: bytes, text: bytes) -> Values:
        """Note the kind and the length of the string that comes next. ``$-1`` is the null: no string follows it."""
        if text == b"-1" and kind == b"$":
            return (None,)
        self._bulk_kind, self._bulk_length = kind, self._check_bulk(parse_integer(text))
        return ()

    def _begin_array(self, kind: bytes, text: bytes) -> Values:
        """Open an array of the announced number of values. ``*-1`` is the null array: no values follow it."""
        if text == b"-1" and kind == b"*":
            return (NullArray(),)
        count = parse_integer(text)
        if count is not None and kind in (b"%", b"|"):
            count *= 2  # the line counts pairs
        itself = kind == b"|"  # an attribute is not a value, but a peer could send attributes forever
        if count is None or not 0 <= count <= self.limits.max_array - self._announced - itself:
            raise RemoteProtocolError(f"an array of no, or too many values: {text[:40]!r} (limits.max_array)")
        if len(self._open_arrays) >= self.limits.max_depth:
            raise RemoteProtocolError(f"more than {self.limits.max_depth} arrays within arrays (limits.max_depth)")
        if kind == b">" and self._open_arrays:
            raise RemoteProtocolError("a push within a reply")
        self._announced += count + itself
        self._open_arrays.append(_OpenArray(kind, count, []))
        return ()

    def _add_to_arrays(self, values: Values) -> Event | None:
        r"""Append ``values`` to the innermost open array. Return the Reply or Push that is now complete, otherwise None.

        An array that is now full becomes a value of the array around it, and so on outwards.

        Here an array arrives that holds 7 and another array. For each open array the trace shows how many values are missing,
        and the values that have arrived:

        >>> client = Connection(Role.CLIENT)
        >>> for chunk in (b"*2\r\n", b":7\r\n", b"*2\r\n", b"$2\r\nhi\r\n", b"#t\r\n"):
        ...     client.receive_data(chunk)
        ...     event = client.next_event()
        ...     print(chunk, *((array.missing, array.items) for array in client._open_arrays), event)
        b'*2\r\n' (2, []) None
        b':7\r\n' (1, [7]) None
        b'*2\r\n' (1, [7]) (2, []) None
        b'$2\r\nhi\r\n' (1, [7]) (1, [b'hi']) None
        b'#t\r\n' Reply(value=[7, [b'hi', True]])

        The last value completes the inner array, and the inner array completes the outer one.
        """
        while self._open_arrays:
            array = self._open_arrays[-1]
            array.items += values
            array.missing -= len(values)
            if array.missing:
                return None
            self._open_arrays.pop()
            if array.kind == b">":
                return Push(array.items)
            values = _close(array)
        return Reply(*values) if values else None

    # -- both

    def _take_line(self, limit: int, complaint: str) -> bytes | None:
        """Remove the next line, and return it without its CRLF; None until it has arrived. Raises if it is too long."""
        end = self._buffer.find(CRLF, limit)
        if end >= 0:
            return self._buffer.take(end + 2)[:-2]
        if self._buffer.size >= limit:
            raise RemoteProtocolError(complaint)
        return None

    def _check_bulk(self, length: int | None) -> int:
        """Return the length of a string that is to arrive. Raises RemoteProtocolError if it is wrong or too long."""
        limits = self.limits
        if length is None or not 0 <= length <= min(limits.max_bulk, limits.max_command - self._taken):
            raise RemoteProtocolError("Protocol error: invalid bulk length")
        if length > UNAUTHENTICATED_BULK and not self.authenticated:
            raise RemoteProtocolError("Protocol error: unauthenticated bulk length")
        return length

    def _read_bulk(self, length: int) -> bytes | None:
        """Remove a string and its CRLF, and return the string; None until both have arrived."""
        if self._buffer.size < length + 2:
            return None
        data = self._buffer.take(length + 2)
        if data[length:] != CRLF:  # the length was wrong, so whatever follows would be misread
            raise RemoteProtocolError("Protocol error: expected CRLF after a string")
        self._bulk_length = None
        self._taken += length
        return data[:length]


# ---- helpers -----------------------------------------------------------------------------------------------------------


def _close(array: _OpenArray) -> Values:
    """Return a complete array, set or map as a value; () for an attribute, which only describes the value that comes next."""
    match array.kind:
        case b"|":
            return ()
        case b"~":
            return (Set(array.items),)
        case b"%":
            return (Map(list(zip(array.items[::2], array.items[1::2], strict=True))),)
    return (array.items,)


def _printable(byte: bytes) -> str:
    """Return a byte as Redis quotes it in an error. A line break becomes a blank, because an error is one line."""
    return {b"\r": " ", b"\n": " "}.get(byte, to_text(byte))
