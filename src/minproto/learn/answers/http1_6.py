"""Reference answer to http1/6: limits.

The bytes are looked at line by line, and each rule is checked at the first byte that can break it. So the result does not
depend on the cuts. ``size`` counts the lines of this head that are complete; only an incomplete line is held.
"""

from collections.abc import Iterator
from typing import Any

MOST_LINES = 4


class LimitedHeads:
    """Find heads that are not too large."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.size = 0  # bytes of the complete lines of this head
        self.lines = 0
        self.error: ValueError | None = None

    @property
    def buffered(self) -> int:
        """The bytes that are held, and those of this head that were counted."""
        return self.size + len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield an event for each head that is complete now. Raises ValueError, and then always."""
        if self.error is None:
            self.buffer += data
            try:
                yield from self._heads()
            except ValueError as error:
                self.error = error
        if self.error is not None:
            raise self.error

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError inside a head."""
        if self.error is None and self.buffered:
            self.error = ValueError("head cut short")
        if self.error is not None:
            raise self.error
        return []

    def _heads(self) -> Iterator[dict[str, Any]]:
        while (end := self.buffer.find(b"\n") + 1) and self.size + end <= self.limit:
            line, self.buffer = self.buffer[:end], self.buffer[end:]
            if not line.endswith(b"\r\n"):
                raise ValueError("LF without CR")
            if line != b"\r\n":
                self.size += end
                self.lines += 1
                if self.lines > MOST_LINES:
                    raise ValueError("too many lines")
            elif self.lines:
                yield {"type": "Head", "lines": self.lines}
                self.size = self.lines = 0
            if self.size == self.limit:
                raise ValueError("head too large")
        if self.buffered >= self.limit:
            raise ValueError("head too large")
