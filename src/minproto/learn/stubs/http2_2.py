"""http2/2: HPACK integers. Fill in what is missing."""


def decode_integer(data: bytes, prefix: int) -> tuple[int, int] | None:
    """Return the number and how many bytes it has; None if it is not complete. Raises ValueError."""
    raise NotImplementedError


def encode_integer(value: int, prefix: int) -> bytes:
    """Return the bytes of a number. The bits in front of the prefix are 0."""
    raise NotImplementedError
