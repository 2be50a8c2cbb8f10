"""What an explanation is made of: rows of fields, and the side of a connection that they are read from.

A protocol is explained by two *scripts*, one for each side: generators that read like the grammar. A script takes bytes from
its side, names them, and yields a row for each head, frame or chunk that is complete. Where it needs more bytes it yields
``Wants.DATA``, where it has to know first what the other side says ``Wants.PAUSED``, as a core would. What it takes from the
side is in the row from that moment on, so that no byte is lost whatever goes wrong behind it.
"""

import re
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self, TypeVar

from minproto.buffer import Buffer
from minproto.core import Role, Wants

T = TypeVar("T")

MAX_PIECE = 16_384
"""Bytes of content or payload in one row; what is longer is explained piece by piece. It is the usual frame of HTTP/2."""
MAX_HELD = 131_072
"""Bytes of one side that may wait: for the end of a head (64 KiB), or for what the other side will say."""
MAX_FIELDS = 4_096
"""Of one row; once it has so many, the next head or piece is in a row behind. A piece is never divided."""


class Bits(NamedTuple):
    """A part of a byte."""

    pattern: str
    """The byte with a dot for each bit that is another's: ``"1... ...."``."""
    name: str
    meaning: str

    @classmethod
    def of(cls, byte: int, mask: int, name: str, meaning: str) -> Self:
        """Those that ``mask`` has."""
        digits = "".join([str(byte >> at & 1) if mask >> at & 1 else "." for at in range(7, -1, -1)])
        return cls(f"{digits[:4]} {digits[4:]}", name, meaning)


@dataclass(slots=True)
class Field:
    """Bytes with a name. A field without bytes says what follows from those around it: a message put together, a window."""

    name: str
    raw: bytes
    """As they crossed."""
    value: str
    """What they say: decoded, unmasked, inflated; bytes that are no text in hexadecimal. It may have control characters."""
    meaning: str
    section: str
    """Of the standard: ``"RFC 9112 §3"``."""
    bits: tuple[Bits, ...] = ()
    """The parts of a byte that has several."""


@dataclass(slots=True)
class Row:
    """A head, a frame, a chunk: all of it, or a piece. The raw bytes of all fields of a side's rows are what it sent."""

    sender: Role
    offset: int
    """Of its first byte, among those that the sender has sent."""
    protocol: str
    title: str
    fields: list[Field]
    error: str = ""
    """Why these bytes are not what the protocol asks for; "" where nothing is wrong."""
    goes_on: bool = False
    """The sender's next row is another piece of the same thing."""
    stream: int = 0
    """Of HTTP/2."""

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return b"".join([field.raw for field in self.fields])

    def to_json(self) -> dict[str, Any]:
        """The same for ``json.dumps``: ``sender`` is "client" or "server", ``raw`` is in hexadecimal."""
        row = asdict(self) | {"sender": self.sender.value}
        for field in row["fields"]:
            field["raw"] = field["raw"].hex()
            field["bits"] = [bits._asdict() for bits in field["bits"]]
        return row


Script = Generator[Row | Wants, None, T]
"""Yields rows, or why there is none."""


class Side:
    """What one side sends: bytes that wait, and the fields of the row that is being made of them."""

    def __init__(self, sender: Role) -> None:
        self.sender = sender
        self.buffer = Buffer(MAX_HELD)
        self.eof = False
        self.protocol = ""
        self.title = ""
        """Of the row that is being made, as far as it is known."""
        self.stream = 0
        self.error = ""
        """Of the row, too: something is wrong, though it is clear where the bytes end."""
        self.fields: list[Field] = []
        self._offset = 0

    def begin(self, title: str, stream: int = 0) -> None:
        """A new row."""
        self.title, self.stream, self.error = title, stream, ""

    def take(self, count: int) -> bytes:
        """Bytes out of the buffer; whoever takes them has to ``add`` them before anything else can fail."""
        return self.buffer.take(count)

    def add(self, name: str, raw: bytes, value: str, meaning: str, section: str, bits: tuple[Bits, ...] = ()) -> None:
        """A field of the row."""
        self.fields.append(Field(name, raw, value, meaning, section, bits))

    def note(self, name: str, value: str, meaning: str, section: str) -> None:
        """A field without bytes."""
        self.add(name, b"", value, meaning, section)

    def row(self, error: str = "", *, goes_on: bool = False) -> Row:
        """The row that the fields make; the next begins."""
        row = Row(
            self.sender, self._offset, self.protocol, self.title, self.fields, error or self.error, goes_on, self.stream
        )
        self.fields = []
        self._offset += sum([len(field.raw) for field in row.fields])
        return row

    def parse(self, parse: Callable[[Buffer], T | None], longest: int) -> Script[tuple[T, bytes]]:
        """What a core's own parser takes out of the buffer, and its bytes, at most ``longest``. Raises as that does."""
        while True:
            before, seen = self.buffer.size, self.buffer.peek(0, longest)
            if (found := parse(self.buffer)) is not None:
                return found, seen[: before - self.buffer.size]
            yield Wants.DATA

    def need(self, count: int) -> Script[None]:
        """Wait until so many bytes are there."""
        while self.buffer.size < count:
            yield Wants.DATA
        if len(self.fields) >= MAX_FIELDS:
            yield self.row(goes_on=True)

    def pieces(self, length: int, add: Callable[[bytes], None]) -> Script[None]:
        """Have ``add`` name all bytes of a content or payload; one that is long goes into several rows."""
        while length:
            count = min(length, MAX_PIECE)
            yield from self.need(count)
            add(self.take(count))
            length -= count
            if length:
                yield self.row(goes_on=True)


def opaque(side: Side, protocol: str, meaning: str = "bytes of a protocol that is not explained here") -> Script[None]:
    """Bytes that nothing is known about: as they come."""
    side.protocol = protocol
    while True:
        yield from side.need(1)
        data = side.take(MAX_PIECE)
        side.begin(counted(len(data), "byte"))
        side.add("data", data, readable(data), meaning, "")
        yield side.row()


_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def readable(data: bytes) -> str:
    """Bytes as they are read if they are text in UTF-8, else in hexadecimal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.hex(" ")
    return data.hex(" ") if _CONTROLS.search(text) else text


def shown(text: str) -> str:
    """A value of bounded length."""
    return text if len(text) <= MAX_PIECE else f"{text[:MAX_PIECE]}… ({len(text):,} characters)"


def counted(count: int, unit: str) -> str:
    """``1 byte``, ``2 bytes``."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
