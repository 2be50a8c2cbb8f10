"""http1/6: limits. Fill in what is missing."""

from collections.abc import Iterator
from typing import Any


class LimitedHeads:
    """Find heads that are not too large."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""

    @property
    def buffered(self) -> int:
        """The number of bytes that are held."""
        return len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield an event for each head that is complete now: {"type": "Head", "lines": 2}. Raises ValueError."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError inside a head."""
        raise NotImplementedError
