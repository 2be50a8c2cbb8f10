"""Reference answer to http2/2: HPACK integers."""

MOST_BYTES = 5
LARGEST = 0xFFFF_FFFF


def decode_integer(data: bytes, prefix: int) -> tuple[int, int] | None:
    """Return the number and how many bytes it has; None if it is not complete. Raises ValueError."""
    if not data:
        return None
    full = (1 << prefix) - 1
    value = data[0] & full
    if value < full:
        return value, 1
    for at, byte in enumerate(data[1 : 1 + MOST_BYTES]):
        value += (byte & 0x7F) << 7 * at
        if byte < 0x80:
            if value > LARGEST:
                raise ValueError("number too large")
            return value, at + 2
    if len(data) > MOST_BYTES:
        raise ValueError("number without end")
    return None


def encode_integer(value: int, prefix: int) -> bytes:
    """Return the bytes of a number. The bits in front of the prefix are 0."""
    full = (1 << prefix) - 1
    if value < full:
        return bytes([value])
    value -= full
    encoded = bytearray([full])
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
