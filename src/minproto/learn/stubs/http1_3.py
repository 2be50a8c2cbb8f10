"""http1/3: a chunked reader. Fill in what is missing."""

from collections.abc import Iterator
from typing import Any

TOKEN = rb"[!#-'*+.^-z|~0-9A-Z-]+"
QUOTED = rb'"(?:[\t\x20!#-\[\]-~\x80-\xff]|\\[\t\x20-~\x80-\xff])*"'
EXTENSION = rb"[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?"


class ChunkedReader:
    """Read content in chunks."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.closed = False  # true after EndOfMessage

    @property
    def buffered(self) -> int:
        """The number of bytes that are held."""
        return len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete. Raises ValueError for malformed bytes."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError unless the content is complete."""
        raise NotImplementedError
