r"""The parts of an explanation: rows of fields, and the sides of a connection from which they are read.

A protocol is explained by two *scripts*, one for each side. A script is a generator that reads like the grammar:

    def chunk(side):                                                    # "5\r\nhello\r\n"
        side.begin("chunk")
        size, line = yield from side.parse(chunk_line, 80)              # waits for "5\r\n"
        side.add("chunk-size", line, str(size), "bytes of data", "RFC 9112 §7.1")
        yield from side.pieces(size, add_data)                          # waits for "hello"
        yield side.row()                                                # the row is complete

A script yields a row for each complete head, frame or chunk. If it needs more bytes, it yields ``Wants.DATA``. If it has to
see the other side's answer first, it yields ``Wants.PAUSED``, as a core would. Bytes that a script has read are added to its
row at once, so no byte is lost when a later byte turns out to be malformed.
"""

import re
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self, TypeVar

from minproto.buffer import Buffer
from minproto.core import Role, Wants

T = TypeVar("T")

MAX_PIECE = 16_384
"""The maximum number of bytes of content or payload in one row. Longer content takes several rows. Most long HTTP/2 frames
fit in one row."""
MAX_HELD = 131_072
"""The maximum number of bytes of one side that are held until a head ends (at most 64 KiB) or the other side answers."""
MAX_FIELDS = 4_096
"""After this many fields, a row ends and another row continues. The fields of one piece always stay together."""


class Bits(NamedTuple):
    """Some bits of a byte, with a name."""

    pattern: str
    """The byte, with a dot for each bit that does not belong to these bits: ``"1... ...."``."""
    name: str
    meaning: str

    @classmethod
    def of(cls, byte: int, mask: int, name: str, meaning: str) -> Self:
        """Return the bits of a byte that are set in ``mask``."""
        digits = "".join([str(byte >> at & 1) if mask >> at & 1 else "." for at in range(7, -1, -1)])
        return cls(f"{digits[:4]} {digits[4:]}", name, meaning)


@dataclass(slots=True)
class Field:
    """Bytes with a name. A field without bytes is derived from others, such as a whole message or the size of a window."""

    name: str
    raw: bytes
    """The bytes as they were sent."""
    value: str
    """The bytes decoded, unmasked and inflated; in hexadecimal, if they are not text. Control characters stay in it."""
    meaning: str
    section: str
    """Where the standard defines the field: "RFC 9112 §3"."""
    bits: tuple[Bits, ...] = ()
    """The parts of a byte whose bits mean different things."""


@dataclass(slots=True)
class Row:
    """A head, a frame or a chunk, or a piece of it. The raw bytes of all rows of a side, joined, are what the side sent."""

    sender: Role
    offset: int
    """How many bytes the sender had sent before the first byte of this row."""
    protocol: str
    title: str
    fields: list[Field]
    error: str = ""
    """The rule that these bytes break; "" if they break no rule."""
    goes_on: bool = False
    """Whether the sender's next row is another piece of the same head, frame or chunk."""
    stream: int = 0
    """The number of the HTTP/2 stream; 0 for the connection itself, and for other protocols."""

    @property
    def raw(self) -> bytes:
        """The bytes of all fields."""
        return b"".join([field.raw for field in self.fields])

    def to_json(self) -> dict[str, Any]:
        """Return the row as a dict for ``json.dumps``: ``sender`` is "client" or "server", ``raw`` is in hexadecimal."""
        row = asdict(self) | {"sender": self.sender.value}
        for field in row["fields"]:
            field["raw"] = field["raw"].hex()
            field["bits"] = [bits._asdict() for bits in field["bits"]]
        return row


Script = Generator[Row | Wants, None, T]
"""A generator of rows. While no row is complete, it yields a ``Wants``, which says why."""


class Side:
    """One direction of a connection: the waiting bytes, and the fields of the row that the script is making."""

    def __init__(self, sender: Role) -> None:
        self.sender = sender
        self.buffer = Buffer(MAX_HELD)
        self.eof = False
        self.protocol = ""
        self.title = ""
        """The title of the row, as far as it is known."""
        self.stream = 0
        self.error = ""
        """The error of the row, if it is still clear where the head or frame ends, so that the script can continue."""
        self.fields: list[Field] = []
        self._offset = 0

    def begin(self, title: str, stream: int = 0) -> None:
        """Begin a new row."""
        self.title, self.stream, self.error = title, stream, ""

    def take(self, count: int) -> bytes:
        """Remove bytes from the buffer, and return them. The script has to ``add`` them before anything can fail."""
        return self.buffer.take(count)

    def add(self, name: str, raw: bytes, value: str, meaning: str, section: str, bits: tuple[Bits, ...] = ()) -> None:
        """Add a field to the row."""
        self.fields.append(Field(name, raw, value, meaning, section, bits))

    def note(self, name: str, value: str, meaning: str, section: str) -> None:
        """Add a field without bytes to the row."""
        self.add(name, b"", value, meaning, section)

    def row(self, error: str = "", *, goes_on: bool = False) -> Row:
        """Return a row with the fields so far. The next field begins another row."""
        row = Row(
            self.sender, self._offset, self.protocol, self.title, self.fields, error or self.error, goes_on, self.stream
        )
        self.fields = []
        self._offset += sum([len(field.raw) for field in row.fields])
        return row

    def parse(self, parse: Callable[[Buffer], T | None], longest: int) -> Script[tuple[T, bytes]]:
        """Wait until a core's parser finds something in the buffer; return the result and the bytes that the parser has read.

        ``longest``: the maximum number of bytes that the parser reads. Raises what the parser raises.
        """
        while True:
            before, seen = self.buffer.size, self.buffer.peek(0, longest)
            if (found := parse(self.buffer)) is not None:
                return found, seen[: before - self.buffer.size]
            yield Wants.DATA

    def need(self, count: int) -> Script[None]:
        """Wait until the buffer has ``count`` bytes."""
        while self.buffer.size < count:
            yield Wants.DATA
        if len(self.fields) >= MAX_FIELDS:
            yield self.row(goes_on=True)

    def pieces(self, length: int, add: Callable[[bytes], None]) -> Script[None]:
        """Wait for ``length`` bytes of content or payload, and give them to ``add``, in several rows if there are many."""
        while length:
            count = min(length, MAX_PIECE)
            yield from self.need(count)
            add(self.take(count))
            length -= count
            if length:
                yield self.row(goes_on=True)


def opaque(side: Side, protocol: str, meaning: str = "bytes of a protocol that is not explained here") -> Script[None]:
    """Show bytes as they come, without an explanation."""
    side.protocol = protocol
    while True:
        yield from side.need(1)
        data = side.take(MAX_PIECE)
        side.begin(counted(len(data), "byte"))
        side.add("data", data, readable(data), meaning, "")
        yield side.row()


_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def readable(data: bytes) -> str:
    """Return bytes as text if they are UTF-8 without control characters, otherwise in hexadecimal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data.hex(" ")
    return data.hex(" ") if _CONTROLS.search(text) else text


def shown(text: str) -> str:
    """Return a text, cut off if it is too long for one value."""
    return text if len(text) <= MAX_PIECE else f"{text[:MAX_PIECE]}… ({len(text):,} characters)"


def counted(count: int, unit: str) -> str:
    """Return a count with its unit: "1 byte", "2 bytes"."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
