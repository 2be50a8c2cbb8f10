r"""Field blocks of HTTP/2 (HPACK, RFC 7541), for steps 8 and 9: each byte of a block is a command to a table.

    82                       the field of entry 2: ":method", "GET"
    04 02 2f 35              the name of entry 4, ":path", and the literal value "/5"
    40 01 61 01 62           a literal field, "a: b", which becomes the new entry 62
    be                       entry 62 (0x80 + 62): "a: b"

Entries 1 to 61 are the same for everybody (the *static table*). The entries that the client has added on this connection come
after these (the *dynamic table*), the newest first. Client and server change their copies of the dynamic table in the same
way, block by block. A text may be compressed by the *Huffman code*, which has short codes for frequent letters. The static
table and this code are two long lists, which come from the library hpack.
"""

from collections.abc import Iterator
from math import inf

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

MAX_TABLE = 4_096  # bytes, where an entry counts 32 more than its name and its value


class Table:
    """The server's copy of the client's tables."""

    def __init__(self) -> None:
        self.dynamic: list[tuple[bytes, bytes]] = []  # the newest first
        self.limit = MAX_TABLE

    def fields(self, block: bytes, room: float = inf) -> Iterator[tuple[bytes, bytes]]:
        """Yield the fields of a block. Raises IndexError or ValueError if the block is wrong, or its fields need more room."""
        for name, value in self._all_fields(block):
            room -= len(name) + len(value) + 32
            if room < 0:
                raise ValueError("the fields are too large")
            yield name, value

    def _all_fields(self, block: bytes) -> Iterator[tuple[bytes, bytes]]:
        while block:
            first = block[0]
            if first & 0x80:  # an entry
                index, block = read_integer(block, 7)
                yield self._entry(index)
            elif first & 0xE0 == 0x20:  # the client changes the size of the table
                self.limit, block = read_integer(block, 5)
                self._evict()
            else:  # a literal, which becomes an entry if the bit 0x40 is set
                index, block = read_integer(block, 6 if first & 0x40 else 4)
                name, block = (self._entry(index)[0], block) if index else read_text(block)
                value, block = read_text(block)
                if first & 0x40:
                    self.dynamic.insert(0, (name, value))
                    self._evict()
                yield name, value

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        """Return an entry. Number 0 does not exist."""
        if not 0 < index <= 61 + len(self.dynamic):
            raise ValueError(f"no entry {index}")
        return HeaderTable.STATIC_TABLE[index - 1] if index <= 61 else self.dynamic[index - 62]

    def _evict(self) -> None:
        """Drop the oldest entries until the table fits."""
        if self.limit > MAX_TABLE:
            raise ValueError("the table is too large")
        while sum(len(name) + len(value) + 32 for name, value in self.dynamic) > self.limit:
            self.dynamic.pop()


def read_integer(data: bytes, bits: int) -> tuple[int, bytes]:
    """Return the number in the last bits of the first byte, and the bytes after it. If all bits are 1, bytes are added."""
    value, at = data[0] % 2**bits, 1
    if value == 2**bits - 1:
        while True:
            value += data[at] % 128 << 7 * (at - 1)
            at += 1
            if data[at - 1] < 128:
                break
            if at > 5:
                raise ValueError("the number is too large")
    return value, data[at:]


def read_text(data: bytes) -> tuple[bytes, bytes]:
    """Return a text, which begins with its length, and the bytes after it. The bit 0x80 marks the Huffman code."""
    size, rest = read_integer(data, 7)
    if size > len(rest):
        raise ValueError("the text is cut short")
    text, rest = rest[:size], rest[size:]
    try:
        return decode_huffman(text) if data[0] & 0x80 else text, rest
    except HPACKDecodingError as error:
        raise ValueError("wrong Huffman code") from error
