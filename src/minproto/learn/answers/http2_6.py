"""Reference answer to http2/6: the preface and SETTINGS."""

from collections.abc import Iterator
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER = 9
SETTINGS, ACK = 4, 1
ALLOWED = {2: (0, 1), 4: (0, (1 << 31) - 1), 5: (1 << 14, (1 << 24) - 1)}
"""Number of a value -> the smallest and the largest one that is allowed."""


class SettingsReader:
    """Read the frames of a client."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.has_preface = False
        self.has_settings = False
        self.error: ValueError | None = None

    @property
    def buffered(self) -> int:
        """The bytes that are held."""
        return len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete. Raises ValueError, and then always."""
        if self.error is None:
            self.buffer += data
            try:
                if self.has_preface or self._preface():
                    yield from self._frames()
            except ValueError as error:
                self.error = error
        if self.error is not None:
            raise self.error

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError inside the preface or a frame, and before the first SETTINGS."""
        if self.error is None and (self.buffer or not self.has_settings):
            self.error = ValueError("cut short")
        if self.error is not None:
            raise self.error
        return []

    def _preface(self) -> bool:
        """Take the preface. Return whether it was complete."""
        if not PREFACE.startswith(self.buffer[: len(PREFACE)]):
            raise ValueError("no preface")
        if len(self.buffer) < len(PREFACE):
            return False
        self.buffer, self.has_preface = self.buffer[len(PREFACE) :], True
        return True

    def _frames(self) -> Iterator[dict[str, Any]]:
        while len(self.buffer) >= HEADER:
            end = HEADER + int.from_bytes(self.buffer[:3], "big")
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:HEADER], "big") & 0x7FFF_FFFF
            if not self.has_settings and (kind != SETTINGS or flags & ACK):
                raise ValueError("the first frame has to be SETTINGS")
            if end > self.limit:
                raise ValueError("frame too large")
            if len(self.buffer) < end:
                return
            content, self.buffer = self.buffer[HEADER:end], self.buffer[end:]
            if kind == SETTINGS:
                yield settings(content, flags & ACK, stream)
            else:
                yield {"type": "Frame", "frame": kind, "size": len(content)}
            self.has_settings = True


def settings(content: bytes, ack: int, stream: int) -> dict[str, Any]:
    """Return the event of a frame SETTINGS. Raises ValueError."""
    if stream or len(content) % 6 or (ack and content):
        raise ValueError("SETTINGS of a stream, or of a wrong size")
    if ack:
        return {"type": "SettingsAck"}
    values = []
    for at in range(0, len(content), 6):
        number, value = int.from_bytes(content[at : at + 2], "big"), int.from_bytes(content[at + 2 : at + 6], "big")
        smallest, largest = ALLOWED.get(number, (0, value))
        if not smallest <= value <= largest:
            raise ValueError("value that is not allowed")
        values.append([number, value])
    return {"type": "Settings", "values": values}
