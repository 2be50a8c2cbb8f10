r"""RESP (the Redis serialization protocol), explained: commands word by word, replies value by value.

    *2\r\n         an array of two strings
    $4\r\n         the length of a string
    ECHO\r\n       the string
    $2\r\nhi\r\n   another string, with its length

Everything is a line whose first byte is a type, or a string whose length such a line has announced. The core's ``parse_*``
functions read the lines. The core's limits do not apply here, since a redis-server has different ones.
"""

from collections.abc import Callable

from minproto.core import RemoteProtocolError, Wants
from minproto.explain.rows import MAX_PIECE, Script, Side, readable
from minproto.resp import ARRAYS, BULKS, CRLF, parse_bulk, parse_inline, parse_integer, parse_line

MAX_LINE = 65_536
MAX_DEPTH = 1_000
"""How deep arrays may be nested within arrays."""
MAX_COUNT = 1 << 31
"""The maximum number of values that an array may announce."""
_WORDS, _WORD = 5, 40  # the maximum number of words in the title of a command or reply, and of characters in each word

COMMANDS = {
    b"AUTH": "authenticate with a password",
    b"CLIENT": "read or change a property of this connection",
    b"COMMAND": "list the commands of the server",
    b"DEL": "remove keys",
    b"ECHO": "send this text back",
    b"GET": "read the value of a key",
    b"HELLO": "switch to this version of RESP",
    b"INFO": "read facts and figures about the server",
    b"PING": "test the connection",
    b"PSUBSCRIBE": "receive the messages of all topics that match",
    b"PUBLISH": "publish a message; the reply is the number of receivers",
    b"PUBSUB": "list topics, or count their subscribers",
    b"PUNSUBSCRIBE": "stop receiving for these patterns",
    b"QUIT": "close the connection",
    b"RESET": "reset this connection to its initial state",
    b"SELECT": "use another database",
    b"SET": "set the value of a key",
    b"SUBSCRIBE": "receive the messages of these topics",
    b"UNSUBSCRIBE": "stop receiving for these topics",
    b"XADD": "append an entry to a stream",
    b"XLEN": "count the entries of a stream",
    b"XRANGE": "read the entries of a stream from one id to another",
    b"XREAD": "read the entries after these ids; with BLOCK, wait for one",
    b"XREVRANGE": "read the entries of a stream backwards",
}

_KINDS = {
    b"+": ("simple string", "a line of text"),
    b"-": ("error", "its first word is a code"),
    b":": ("integer", "of 64 bits"),
    b"$": ("length", "bytes of the string that follows"),
    b"*": ("array", "values that follow"),
    b"_": ("null", "no value"),
    b"#": ("boolean", "t or f"),
    b",": ("double", "a floating-point number"),
    b"(": ("big number", "an integer of any size"),
    b"=": ("length", "bytes of the text that follows, with its format in three letters"),
    b"!": ("length", "bytes of the error that follows"),
    b"%": ("map", "pairs of key and value that follow"),
    b"~": ("set", "values that follow, in no order"),
    b">": ("push", "values that follow, and that no command has asked for"),
    b"|": ("attribute", "pairs that describe the next value"),
}
_PLURALS = {b"$": "bulk strings", b"=": "verbatim strings", b"!": "bulk errors", b">": "pushes"}


def explain_resp(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Return the scripts of both sides."""
    return _commands(client), _replies(server)


# ---- commands ----------------------------------------------------------------------------------------------------------


def _commands(side: Side) -> Script[None]:
    """The client's script: each command is an array of strings or, typed by hand, a line."""
    side.protocol = "RESP"
    while True:
        side.begin("command")
        yield from side.need(1)
        words: list[str] = []
        yield from _array(side, words) if side.buffer.peek(0, 1) == b"*" else _inline(side, words)
        yield side.row()


def _inline(side: Side, words: list[str]) -> Script[None]:
    """Explain an inline command: a line of words, as typed by hand. LF alone may end it."""
    line = yield from _line(side, b"\n")
    _add_words(side, words, *parse_inline(line[:-1].removesuffix(b"\r")))
    meaning = COMMANDS.get(words[0].upper().encode(), "a command") if words else "an empty line, which is ignored"
    side.add("inline command", side.take(len(line)), readable(line.strip()), meaning, "RESP, inline commands")


def _array(side: Side, words: list[str]) -> Script[None]:
    """Explain a command in its usual form: an array (``*2``: two strings), each string preceded by its length."""
    line = yield from _line(side)
    count = _length(line, "Protocol error: invalid multibulk length", least=-1)
    side.add("array", side.take(len(line)), str(count), "strings of a command, its name first", "RESP, arrays")
    meaning = ""
    for number in range(count):
        line = yield from _line(side)
        if line[:1] != b"$":
            raise RemoteProtocolError("Protocol error: expected '$', a string")
        length = _length(line, "Protocol error: invalid bulk length")
        side.add("length", side.take(len(line)), str(length), "bytes of the string that follows", "RESP, bulk strings")
        name = f"argument {number}" if number else "command"

        def add(raw: bytes, data: bytes, name: str = name) -> None:
            nonlocal meaning
            if len(words) < _WORDS:
                _add_words(side, words, data)
            if name == "command":
                meaning = COMMANDS.get(data.upper(), "the command")
            says = meaning if name == "command" else "an argument of the command"
            side.add(name, raw, readable(data), says, "RESP, bulk strings")

        yield from _string(side, length, add)


def _add_words(side: Side, words: list[str], *more: bytes) -> None:
    """Add words from the command to the row's title."""
    words += [shortened(readable(word)) for word in more]
    side.title = " ".join(words[:_WORDS]) or "nothing"


# ---- replies -----------------------------------------------------------------------------------------------------------


def _replies(side: Side) -> Script[None]:
    """The server's script. Arrays contain values, so a stack counts how many values are missing in each open array."""
    side.protocol = "RESP"
    while True:
        side.begin("reply")
        words: list[str] = []
        missing = [1]  # how many values are missing: of the reply itself (one), and of each open array
        while missing:
            missing[-1] -= 1
            kind, count = yield from _value(side, words)
            if kind == b"|":  # an attribute comes before a value, and is not a value itself
                missing[-1] += 1
            if count:
                missing.append(count)
            if len(missing) > MAX_DEPTH:
                raise RemoteProtocolError("too many arrays within arrays")
            while missing and not missing[-1]:
                missing.pop()
        yield side.row()


def _value(side: Side, words: list[str]) -> Script[tuple[bytes, int]]:
    """Explain one value, or the head of an array. Return its type, and the number of values after it that belong to it."""
    line = yield from _line(side)
    kind, text = line[:1], line[1:-2]
    if kind not in _KINDS:
        raise RemoteProtocolError(f"not a value: {readable(line[:40])}")
    name, meaning = _KINDS[kind]
    null = text == b"-1" and kind in (b"$", b"*")
    if null or not (kind in BULKS or kind in ARRAYS):
        if not null:
            parse_line(kind, text)
        side.add(name, side.take(len(line)), readable(text), "null: no value" if null else meaning, _section(kind))
        _add_word(side, words, "null" if null or kind == b"_" else readable(text))
        return kind, 0
    length = _length(line, "a length that is none")
    side.add(name, side.take(len(line)), str(length), meaning, _section(kind))
    if kind in ARRAYS:
        _add_word(side, words, f"{name} of {length}:")
        return kind, 2 * length if kind in (b"%", b"|") else length
    yield from _bulk(side, kind, length, words)
    return kind, 0


def _bulk(side: Side, kind: bytes, length: int, words: list[str]) -> Script[None]:
    """Explain a string of a reply, whose length has just been read."""
    def add(raw: bytes, data: bytes) -> None:
        side.add("string", raw, readable(data), "the value", _section(kind))
        _add_word(side, words, readable(data))
        if len(data) == length:
            parse_bulk(kind, data)  # raises for a verbatim string without its format, such as "txt:"

    yield from _string(side, length, add)


def _add_word(side: Side, words: list[str], word: str) -> None:
    if len(words) < _WORDS:
        words.append(shortened(word))
        side.title = " ".join(words)


def _section(kind: bytes) -> str:
    return f"{'RESP' if kind in b'+-:$*' else 'RESP3'}, {_PLURALS.get(kind) or _KINDS[kind][0] + 's'}"


# ---- lines and strings -------------------------------------------------------------------------------------------------


def _line(side: Side, end: bytes = CRLF) -> Script[bytes]:
    """Wait for the next line, and return it with its end. The line stays in the buffer."""
    while (at := side.buffer.find(end, MAX_LINE)) < 0:
        if side.buffer.size >= MAX_LINE:
            raise RemoteProtocolError("a line that is too long")
        yield Wants.DATA
    yield from side.need(at + len(end))
    return side.buffer.peek(0, at + len(end))


def _length(line: bytes, complaint: str, least: int = 0) -> int:
    length = parse_integer(line[1:-2])
    if length is None or not least <= length <= MAX_COUNT:
        raise RemoteProtocolError(complaint)
    return length


def _string(side: Side, length: int, add: Callable[[bytes, bytes], None]) -> Script[None]:
    """Wait for a string and its CRLF, and call ``add`` with its bytes, with and without the CRLF.

    A long string comes in pieces; its CRLF is then a separate piece, with b"" as the second argument.
    """
    if length > MAX_PIECE:
        yield from side.pieces(length, lambda data: add(data, data))
        length = 0
    yield from side.need(length + len(CRLF))
    if side.buffer.peek(length, length + len(CRLF)) != CRLF:
        raise RemoteProtocolError("Protocol error: expected CRLF after a string")
    raw = side.take(length + len(CRLF))
    add(raw, raw[:length])


def shortened(text: str) -> str:
    return text if len(text) <= _WORD else f"{text[:_WORD]}…"
