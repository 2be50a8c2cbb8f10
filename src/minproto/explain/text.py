"""Rows as lines of text, for a terminal:

    #1 → 0.001 s, byte 0, HTTP/1.1: GET /hello
        47 45 54 20              GET·      method = GET (send what is there; RFC 9110 §9.3.1)
        2f 68 65 6c 6c 6f 20     /hello·   request-target = /hello (what is asked; RFC 9112 §3.2)

The bytes and their text stand at the left, eight to a line, and what they are at the right. What a peer sends is never
written as it is: a terminal obeys control characters.
"""

from collections.abc import Iterator
from itertools import zip_longest
from textwrap import wrap

from minproto.core import CLIENT
from minproto.explain.rows import Field, Row

BYTES = 8
"""In a line."""
MAX_BYTES = 48
MAX_VALUE = 200
"""What is printed of a field, unless all of it is wanted (``--full``): bytes, and characters of its value."""
INDENT = 4
_LEFT = INDENT + 3 * BYTES + 1 + BYTES + 2  # columns before what the bytes are
MIN_WIDTH = _LEFT + 24

_BOLD, _DIM, _RED, _CYAN, _GREEN, _OFF = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[36m", "\x1b[32m", "\x1b[0m"


class Printer:
    """Rows to lines."""

    def __init__(self, width: int, *, color: bool = False, full: bool = False) -> None:
        """``width``: columns; ``full``: print all of long fields, too."""
        self._width = max(width, MIN_WIDTH) - _LEFT
        self._color = color
        self._full = full

    def lines(self, row: Row, number: int, seconds: float) -> Iterator[str]:
        """A row of the connection with this number, which crossed so long after the connection began."""
        client = row.sender is CLIENT
        side = self._paint(f"#{number} {'→' if client else '←'}", _CYAN if client else _GREEN)
        stream = f", stream {row.stream}" if row.stream else ""
        goes_on = " (goes on)" if row.goes_on else ""
        where = f"{seconds:.3f} s, byte {row.offset}, {row.protocol}{stream}"
        yield f"{side} {where}: {self._paint(visible(row.title), _BOLD)}{goes_on}"
        if row.error:
            yield f"{' ' * INDENT}{self._paint(f'error: {visible(row.error)}', _RED)}"
        for field in row.fields:
            yield from self._field(field)

    def _field(self, field: Field) -> Iterator[str]:
        shown = field.raw if self._full else field.raw[:MAX_BYTES]
        pieces = [shown[at : at + BYTES] for at in range(0, len(shown), BYTES)]
        lines = [f"{piece.hex(' '):{3 * BYTES}} {printable(piece)}" for piece in pieces]
        if left := len(field.raw) - len(shown):
            lines.append(f"... {left:,} bytes more (--full)")
        for bytes_, says in zip_longest(lines, self._says(field), fillvalue=""):
            yield f"{' ' * INDENT}{bytes_:{_LEFT - INDENT}}{says}".rstrip()

    def _says(self, field: Field) -> list[str]:
        """What the bytes are, wrapped; the parts of a byte on lines of their own."""
        value = "" if field.value == field.raw.hex(" ") else visible(field.value)
        if len(value) > MAX_VALUE and not self._full:
            value = f"{value[:MAX_VALUE]}... ({len(value):,} characters)"
        section = f"; {field.section}" if field.section else ""
        text = f"{visible(field.name)}{' = ' if value else ''}{value} ({field.meaning}{section})"
        first, *others = wrap(text, self._width)
        name = field.name if first.startswith(field.name) else ""
        lines = [self._paint(name, _BOLD) + first[len(name) :], *others]
        return lines + [self._paint(f"{bits.pattern} {bits.name}: {bits.meaning}", _DIM) for bits in field.bits]

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{_OFF}" if self._color and text else text


def printable(data: bytes) -> str:
    """Bytes as text, a dot for each that a terminal can't show."""
    return "".join([chr(byte) if 0x20 < byte < 0x7F else "·" for byte in data])


def visible(text: str) -> str:
    """Text with what a terminal would obey, or not show, as escapes."""
    return "".join([char if char.isprintable() else char.encode("unicode_escape").decode() for char in text])
