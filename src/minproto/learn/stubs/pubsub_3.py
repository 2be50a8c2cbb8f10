"""pubsub/3: commands as arrays. Fill in what is missing."""

from collections.abc import Iterator
from typing import Any


class CommandReader:
    """Read commands."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""

    @property
    def buffered(self) -> int:
        """The bytes of the command that is not complete."""
        return len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the commands that these bytes complete: {"type": "Command", "arguments": [b"PING"]}. Raises ValueError."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError inside a command."""
        raise NotImplementedError
