"""websocket/3: the header of a frame. Fill in what is missing."""


def parse_header(data: bytes) -> tuple[bool, int, int, bytes | None, int] | None:
    """Return (fin, opcode, length, key, size); None if the header is not complete. Raises ValueError."""
    raise NotImplementedError
