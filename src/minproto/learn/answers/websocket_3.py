"""Reference answer to websocket/3: the header of a frame."""

OPCODES = (0, 1, 2, 8, 9, 10)
SHORTEST = {2: 126, 8: 1 << 16}
"""The bytes of a longer length -> the smallest number that needs them."""


def parse_header(data: bytes) -> tuple[bool, int, int, bytes | None, int] | None:
    """Return (fin, opcode, length, key, size); None if the header is not complete. Raises ValueError."""
    if len(data) < 2:
        return None
    fin, reserved, opcode = data[0] >= 0x80, data[0] & 0x70, data[0] & 0x0F
    masked, length, size = data[1] >= 0x80, data[1] & 0x7F, 2
    if reserved or opcode not in OPCODES:
        raise ValueError("reserved bit or opcode")
    if opcode >= 8 and (not fin or length > 125):
        raise ValueError("control frame in fragments, or too long")
    if wide := {126: 2, 127: 8}.get(length, 0):
        size += wide
        if len(data) < size:
            return None
        length = int.from_bytes(data[2:size], "big")
        if length < SHORTEST[wide] or length >= 1 << 63:
            raise ValueError("length in a longer form than needed, or too large")
    if not masked:
        return fin, opcode, length, None, size
    if len(data) < size + 4:
        return None
    return fin, opcode, length, data[size : size + 4], size + 4
