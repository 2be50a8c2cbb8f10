"""http1/1: find the end of a head. Fill in what is missing."""

from typing import Any


class HeadFinder:
    """Find the heads in a stream."""

    def __init__(self) -> None:
        self.buffer = b""  # bytes of a head that is not complete yet

    def receive_data(self, data: bytes) -> list[dict[str, Any]]:
        """Return an event for each head that is complete now: {"type": "Head", "size": 27}."""
        raise NotImplementedError
