"""websocket/4: fragments and control frames. Fill in what is missing; your answer to websocket/3 helps."""

from collections.abc import Iterator
from typing import Any


class MessageReader:
    """Read the messages that a server sends."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.message = b""  # the fragments so far
        self.closed = False

    @property
    def buffered(self) -> int:
        """The number of bytes that are held."""
        return len(self.message) + len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete. Raises ValueError."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError unless a Close was read."""
        raise NotImplementedError
