"""Reference answer to http2/3: a field block without Huffman."""

from hpack.table import HeaderTable

STATIC = HeaderTable.STATIC_TABLE
MOST_BYTES = 5


def decode_block(block: bytes) -> list[tuple[str, str]]:
    """Return the fields of a block. Raises ValueError."""
    fields = []
    while block:
        first = block[0]
        if first >= 0x80:
            index, block = number(block, 7)
            fields.append(entry(index))
            continue
        if 0x20 <= first < 0x40:
            raise ValueError("change of the table's size")
        index, block = number(block, 6 if first >= 0x40 else 4)
        if index:
            name = entry(index)[0]
        else:
            name, block = string(block)
        value, block = string(block)
        fields.append((name, value))
    return fields


def entry(index: int) -> tuple[str, str]:
    """Return an entry of the static table."""
    if not 1 <= index <= len(STATIC):
        raise ValueError("no such entry")
    name, value = STATIC[index - 1]
    return name.decode("latin-1"), value.decode("latin-1")


def string(block: bytes) -> tuple[str, bytes]:
    """Return a string, and the bytes after it."""
    if not block or block[0] >= 0x80:
        raise ValueError("no string, or one in Huffman's code")
    length, block = number(block, 7)
    if len(block) < length:
        raise ValueError("the block ends too early")
    return block[:length].decode("latin-1"), block[length:]


def number(block: bytes, prefix: int) -> tuple[int, bytes]:
    """Return a number, and the bytes after it."""
    full = (1 << prefix) - 1
    value, block = block[0] & full, block[1:]
    if value < full:
        return value, block
    for at, byte in enumerate(block[:MOST_BYTES]):
        value += (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return value, block[at + 1 :]
    raise ValueError("number without end")
