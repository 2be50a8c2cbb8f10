"""http2/6: the preface and SETTINGS. Fill in what is missing; your answer to http2/1 helps."""

from collections.abc import Iterator
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class SettingsReader:
    """Read the frames of a client."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""

    @property
    def buffered(self) -> int:
        """The number of bytes that are held."""
        return len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete. Raises ValueError."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError inside the preface or a frame, and before the first SETTINGS."""
        raise NotImplementedError
