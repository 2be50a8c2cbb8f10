r"""Print rows as lines of text, for a terminal:

    #1 → 0.001 s, byte 0, HTTP/1.1: GET /hello
        47 45 54 20              GET·      method = GET (send the resource; RFC 9110 §9.3.1)
        2f 68 65 6c 6c 6f 20     /hello·   request-target = /hello (the resource; RFC 9112 §3.2)

The bytes are on the left, eight to a line, in hexadecimal and as text. Their explanation is on the right. If the terminal
is too narrow for this, the explanation comes first, and the bytes below it:

    #1 → 0.001 s, byte 0, HTTP/1.1: GET
        /hello
        method = GET (send the resource;
        RFC 9110 §9.3.1)
          47 45 54 20              GET·

No line is wider than the terminal. A peer's bytes are never written unescaped, since a terminal obeys control
characters: a request for ``/\x1b]0;title\x07`` would change the title of the window.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from unicodedata import category, east_asian_width

from minproto.core import CLIENT
from minproto.explain.rows import Field, Row

BYTES = 8
"""The maximum number of bytes on a line."""
MAX_BYTES = 48
MAX_VALUE = 200
"""The maximum number of bytes of a field, and of characters of its value, that are printed without ``--full``."""
INDENT = 4
BELOW = INDENT + 2
"""The number of blank columns before bytes that are printed below their explanation."""
_LEFT = INDENT + 3 * BYTES + 1 + BYTES + 2  # columns before an explanation that is next to its bytes
SIDE_BY_SIDE = _LEFT + 24
"""How many columns a terminal must have for bytes on the left and their explanation on the right."""
MIN_WIDTH = 24

_BOLD, _DIM, _RED, _CYAN, _GREEN, _OFF = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[36m", "\x1b[32m", "\x1b[0m"


class Printer:
    """Turns rows into lines."""

    def __init__(self, width: int, *, color: bool = False, full: bool = False) -> None:
        """``width``: the number of columns of the terminal. ``full``: print all bytes of long fields."""
        self._width = max(width, MIN_WIDTH)
        self._beside = width >= SIDE_BY_SIDE
        # A byte takes three columns in hexadecimal and one as text, with a blank in between.
        self._bytes = BYTES if self._beside else min(BYTES, (self._width - BELOW - 1) // 4)
        self._color = color
        self._full = full

    def lines(self, row: Row, number: int = 0, seconds: float | None = None) -> Iterator[str]:
        """Yield the lines of a row.

        ``number``: the number of its connection. ``seconds``: the time since the connection began. A row without the two
        describes bytes of a file."""
        client = row.sender is CLIENT
        stream = f", stream {row.stream}" if row.stream else ""
        time = "" if seconds is None else f" {seconds:.3f} s,"
        yield from self._wrapped(
            (f"{f'#{number} ' if number else ''}{'→' if client else '←'}", _CYAN if client else _GREEN),
            (f"{time} byte {row.offset}, {row.protocol}{stream}: ", ""),
            (visible(row.title), _BOLD),
            (" (goes on)" if row.goes_on else "", ""),
        )
        yield from self.fields(row)

    def fields(self, row: Row) -> Iterator[str]:
        """Yield the lines of a row's error and fields, without the line about the row itself."""
        if row.error:
            yield from self._wrapped((f"error: {visible(row.error)}", _RED), indent=INDENT)
        for field in row.fields:
            yield from self._field(field)

    def note(self, text: str) -> Iterator[str]:
        """Yield a line about a connection itself, such as its end."""
        yield from self._wrapped((text, ""))

    def _field(self, field: Field) -> Iterator[str]:
        bytes_ = list(self._dump(field.raw))
        if self._beside:
            says = self._says(field, indent=_LEFT)
            for left, right in zip_longest(bytes_, (line[_LEFT:] for line in says), fillvalue=""):
                yield f"{' ' * INDENT}{left:{_LEFT - INDENT}}{right}".rstrip()
            return
        yield from self._says(field, indent=INDENT)
        for line in bytes_:
            yield f"{' ' * BELOW}{line}".rstrip()

    def _dump(self, raw: bytes) -> Iterator[str]:
        """Yield lines of bytes, in hexadecimal and as text."""
        shown = raw if self._full else raw[:MAX_BYTES]
        for at in range(0, len(shown), self._bytes):
            piece = shown[at : at + self._bytes]
            yield f"{piece.hex(' '):{3 * self._bytes}} {printable(piece)}"
        if left := len(raw) - len(shown):
            yield f"... {left:,} bytes more (--full)" if self._bytes == BYTES else f"... {left:,} more"

    def _says(self, field: Field, indent: int) -> Iterator[str]:
        """Yield the lines of an explanation: name, value and meaning, and then a line for each part of a byte."""
        value = "" if field.value == field.raw.hex(" ") else visible(field.value)
        if len(value) > MAX_VALUE and not self._full:
            value = f"{value[:MAX_VALUE]}... ({len(value):,} characters)"
        section = f"; {field.section}" if field.section else ""
        text = f"{' = ' if value else ''}{value} ({field.meaning}{section})"
        yield from self._wrapped((visible(field.name), _BOLD), (text, ""), indent=indent, hang=0)
        for bits in field.bits:
            yield from self._wrapped((f"{bits.pattern} {bits.name}: {bits.meaning}", _DIM), indent=indent, hang=0)

    def _wrapped(self, *parts: tuple[str, str], indent: int = 0, hang: int = INDENT) -> Iterator[str]:
        """Yield texts, each in its colour, joined and broken into lines that fit the terminal.

        ``hang``: by how many more columns all lines after the first are indented."""
        whole = "".join(text for text, _ in parts)
        for number, (start, end) in enumerate(_fitting(whole, self._width - indent - hang)):
            margin = indent + (hang if number else 0)
            yield " " * margin + self._painted(parts, start, end)

    def _painted(self, parts: Iterable[tuple[str, str]], start: int, end: int) -> str:
        """Return the characters from ``start`` to ``end`` of the joined texts, in their colours."""
        painted = ""
        for text, color in parts:
            painted += self._paint(text[max(start, 0) : max(end, 0)], color)
            start, end = start - len(text), end - len(text)
        return painted

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_OFF}" if self._color and color and text else text


def _fitting(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield where each line of a text begins and ends, without the blanks between lines. Lines are at most ``width`` columns
    wide. A line ends at a blank, but a word that is too long for any line is broken where the line is full."""
    start = 0
    while start < len(text):
        end = _full(text, start, width)
        blank = text.rfind(" ", start, end + 1) if end < len(text) else end
        if blank > start and (blank == end or _is_word(text, blank + 1, width)):
            end = blank
        yield start, start + len(text[start:end].rstrip(" "))
        start = end
        while text[start : start + 1] == " ":
            start += 1


def _full(text: str, start: int, width: int) -> int:
    """Return the index after the last character, counting from ``start``, that still fits in ``width`` columns."""
    if text.isascii():
        return min(start + width, len(text))
    for end in range(start, len(text)):
        width -= _columns(text[end])
        if width < 0:
            return end
    return len(text)


def _is_word(text: str, start: int, width: int) -> bool:
    """Return whether the word that begins at ``start`` fits on a line."""
    end = _full(text, start, width)
    return end == len(text) or text.find(" ", start, end + 1) >= 0


def _columns(char: str) -> int:
    """Return how many terminal columns a character takes: two for an ideograph or emoji, none for a combining accent."""
    if category(char) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(char) in ("W", "F") else 1


def printable(data: bytes) -> str:
    """Return bytes as text, with a dot for each byte that is not printable ASCII."""
    return "".join([chr(byte) if 0x20 < byte < 0x7F else "·" for byte in data])


def visible(text: str) -> str:
    """Return a text with escapes in place of characters that a terminal would obey or not show."""
    return "".join([char if char.isprintable() else char.encode("unicode_escape").decode() for char in text])
