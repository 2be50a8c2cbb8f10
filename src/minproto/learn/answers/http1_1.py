r"""Reference answer to http1/1: find the end of a head.

The buffer keeps what is not complete yet. So ``\r\n\r\n`` is found wherever it was cut.
"""

from typing import Any


class HeadFinder:
    """Find the heads in a stream."""

    def __init__(self) -> None:
        self.buffer = b""

    def receive_data(self, data: bytes) -> list[dict[str, Any]]:
        """Return an event for each head that is complete now."""
        self.buffer += data
        events = []
        while (at := self.buffer.find(b"\r\n\r\n")) >= 0:
            events.append({"type": "Head", "size": at + 4})
            self.buffer = self.buffer[at + 4 :]
        return events
