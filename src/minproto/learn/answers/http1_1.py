r"""Reference answer to http1/1: find the end of a head.

The buffer keeps what is not complete yet. So ``\r\n\r\n`` is found wherever it was cut. A search begins three bytes before the
place where the last one ended, since they may be the first bytes of ``\r\n\r\n``. So a head that comes byte by byte is
searched once.
"""

from typing import Any


class HeadFinder:
    """Find the heads in a stream."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.searched = 0

    def receive_data(self, data: bytes) -> list[dict[str, Any]]:
        """Return an event for each head that is complete now."""
        self.buffer += data
        events = []
        while (at := self.buffer.find(b"\r\n\r\n", self.searched)) >= 0:
            events.append({"type": "Head", "size": at + 4})
            del self.buffer[: at + 4]
            self.searched = 0
        self.searched = max(0, len(self.buffer) - 3)
        return events
