"""http2/1: the header of a frame. Fill in what is missing."""


def parse_frame_header(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (length, type, flags, stream); None if the header is not complete. Raises ValueError."""
    raise NotImplementedError
