"""Reference answer to http2/1: the header of a frame."""

HEADER = 9
MAX_FRAME = 16_384


def parse_frame_header(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (length, type, flags, stream); None if the header is not complete. Raises ValueError."""
    if len(data) < HEADER:
        return None
    length = int.from_bytes(data[:3], "big")
    if length > MAX_FRAME:
        raise ValueError("frame too large")
    return length, data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFF_FFFF
