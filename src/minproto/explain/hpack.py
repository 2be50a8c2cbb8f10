"""HPACK, explained: which bytes of a field block make up each field, and which entry of the table they refer to (RFC 7541).

    82                                  index 2: the whole field ":method: GET" is in the table
    41 01 61                            index 1: the name ":authority" is in the table; the value is one byte, "a"
    40 01 78 01 79                      no index: a name of one byte, "x", and a value of one byte, "y"

The first bits of a field's first byte say which of five forms the field has:

    1 index(7)                       the whole field is in the table                                                 (§6.1)
    01 index(6)  [ name ]  value     a literal value; from now on the field is an entry of the table                 (§6.2.1)
    0000 index(4)  [ name ]  value   a literal value                                                                 (§6.2.2)
    0001 index(4)  [ name ]  value   a literal value that no proxy may put into a table either                       (§6.2.3)
    001 size(5)                      the table gets another size                                                     (§6.3)

The core passes a whole block to the ``hpack`` library. Here each field is cut out first, and given to the core's
``FieldCoder`` alone. To cut out a field, only lengths have to be read. A block may come in several frames, which may begin and
end inside a field.
"""

from typing import NamedTuple

from hpack import HPACKError
from hpack.hpack import decode_integer

from minproto.core import RemoteProtocolError
from minproto.explain import meanings
from minproto.explain.rows import Bits, Side, readable
from minproto.http2_fields import FieldCoder, Fields
from minproto.http2_frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM

MAX_BLOCK = 131_072
"""The maximum number of bytes of a field, and of all decoded fields of a block: one byte of a block can expand to 4 KiB."""
OVERHEAD = 32
"""How many bytes are added to the name and value of each field to get its size (§4.1)."""
MAX_INTEGER = 6
"""One byte more than the longest integer that the library reads."""
_HUFFMAN = 0x80


class _Form(NamedTuple):
    """One of the five forms of a field."""

    first: int
    """The first byte, without the bits of its index or size."""
    prefix: int
    """How many bits of the first byte belong to the index or size."""
    literal: bool
    name: str
    meaning: str
    section: str


_SIZE_UPDATE = _Form(0x20, 5, False, "size update", "bytes that the table may have from now on", "RFC 7541 §6.3")
_FORMS = (
    _Form(0x80, 7, False, "indexed", "the whole field is an entry of the table", "RFC 7541 §6.1"),
    _Form(0x40, 6, True, "with indexing", "a literal, and from now on an entry of the table", "RFC 7541 §6.2.1"),
    _SIZE_UPDATE,
    _Form(0x10, 4, True, "never indexed", "a literal that must not get into any table", "RFC 7541 §6.2.3"),
    _Form(0x00, 4, True, "without indexing", "a literal", "RFC 7541 §6.2.2"),
)


class FieldBlocks:
    """The field blocks that one side sends, and the table that grows with them."""

    def __init__(self) -> None:
        self.coder = FieldCoder(MAX_BLOCK)
        self._broken = False  # a block could not be read, so the table lacks entries
        self._begun = bytearray()  # the beginning of a field that continues in the next frame
        self._fields: list[tuple[str, str]] = []  # the fields so far of an incomplete block
        self._room = MAX_BLOCK  # how many bytes the remaining fields of the block may decode to

    def give_up(self) -> None:
        """Explain no more blocks. A block could not be read, so the table may lack entries, and any index may be wrong."""
        self._broken = True

    def add(self, side: Side, size: int, *, last: bool) -> Fields | None:
        """Remove ``size`` bytes of a block from the side's buffer, and explain them. Return the fields of the block if
        ``last`` is true, otherwise None. Raises RemoteProtocolError."""
        if self._broken:
            data = side.take(size)
            side.add("field block", data, readable(data), "unknown: an earlier block could not be read", "RFC 7541 §2.3.2")
            return None
        before = len(self._begun)
        self._begun += side.buffer.peek(0, size)
        try:
            taken = self._add_complete(side, before)
            if last and taken < len(self._begun):
                raise RemoteProtocolError("a field block that ends in the middle of a field", COMPRESSION_ERROR)
            if len(self._begun) - taken > MAX_BLOCK:
                raise RemoteProtocolError("a field that is too long", ENHANCE_YOUR_CALM)
        except RemoteProtocolError:
            self.give_up()
            raise
        if rest := len(self._begun) - max(taken, before):
            data = side.take(rest)
            side.add("part of a field", data, readable(data), "it goes on in CONTINUATION", "RFC 9113 §4.3")
        del self._begun[:taken]
        if not last:
            return None
        fields, self._fields, self._room = self._fields, [], MAX_BLOCK
        return fields

    def _add_complete(self, side: Side, before: int) -> int:
        """Explain the fields that are complete. Return where the next field begins.

        ``before``: how many bytes of the first field came in an earlier frame, so that they are in an earlier row.
        """
        block, at = self._begun, 0
        while at < len(block):
            form = next(form for form in _FORMS if block[at] & ~((1 << form.prefix) - 1) == form.first)
            end = _end(form, block, at)
            if end > len(block):
                break
            if form is _SIZE_UPDATE and self._fields:  # RFC 7541 §4.2; the coder sees one field at a time
                raise RemoteProtocolError("a size update after a field", COMPRESSION_ERROR)
            representation = bytes(block[at:end])
            fields = self.coder.decode(representation)
            self._fields += fields
            self._room -= sum([len(name) + len(value) + OVERHEAD for name, value in fields])
            if self._room < 0:
                raise RemoteProtocolError("a field block that decodes to too much", ENHANCE_YOUR_CALM)
            raw = side.take(end - max(at, before))
            bits = _bits(form, block[at]) if at >= before else ()
            name, value, meaning, section = _says(form, representation, fields)
            side.add(name, raw, value, meaning, section, bits)
            at = end
        return at


def _end(form: _Form, block: bytearray, at: int) -> int:
    """Return where a field ends; for an incomplete field, a position beyond the block. Raises RemoteProtocolError."""
    number, end = _integer(block, at, form.prefix)
    if form.literal:
        for _ in range(1 if number else 2):  # the name, unless it is an entry of the table, and the value
            if end > len(block):
                break
            length, end = _integer(block, end, 7)
            end += length
    return end


def _integer(block: bytes | bytearray, at: int, prefix: int) -> tuple[int, int]:
    """Return the value of an integer (§5.1), and where it ends: beyond the block, if some of its bytes are missing."""
    data = bytes(block[at : at + MAX_INTEGER])
    all_ones = (1 << prefix) - 1
    complete = data[:1] and (data[0] & all_ones != all_ones or any(byte < 0x80 for byte in data[1:]))
    if not complete and len(data) < MAX_INTEGER:
        return 0, len(block) + 1
    try:
        value, size = decode_integer(data, prefix)
    except HPACKError as error:
        raise RemoteProtocolError(f"a field block that can't be decoded: {error}", COMPRESSION_ERROR) from None
    return value, at + size


def _says(form: _Form, block: bytes, fields: Fields) -> tuple[str, str, str, str]:
    """Return the name, value, meaning and section of a field, or of a size update."""
    number, at = _integer(block, 0, form.prefix)
    if not fields:
        return form.name, str(number), form.meaning, form.section
    name, value = fields[0]
    what, section = meanings.FIELDS.get(name, meanings.OTHER_FIELD)
    where = f", name of entry {number}" if number else ""
    if not form.literal:
        where = f": entry {number}"
    huffman = ", in Huffman code" if form.literal and block[at] & _HUFFMAN else ""
    return name, value, f"{what}; {form.name}{where}{huffman}", f"{form.section}, {section}"


def _bits(form: _Form, first: int) -> tuple[Bits, ...]:
    low = (1 << form.prefix) - 1
    what = "size" if form is _SIZE_UPDATE else "index"
    number = first & low
    says = "the name is a literal, too" if form.literal and not number else str(number)
    return (
        Bits.of(first, ~low, form.name, form.meaning),
        Bits.of(first, low, what, f"{number}, and what the next bytes add" if number == low else says),
    )
