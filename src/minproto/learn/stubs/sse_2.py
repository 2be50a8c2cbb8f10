"""sse/2: events across cuts, in UTF-8. Fill in what is missing."""

from typing import Any


class EventReader:
    """Read an event stream."""

    def __init__(self) -> None:
        self.data: list[str] = []  # the lines of data of the event that is not complete yet
        self.event = ""

    def receive_data(self, data: bytes) -> list[dict[str, Any]]:
        """Return the events that these bytes complete: {"type": "Event", "event": "message", "data": "hello"}."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Forget an event that is not complete."""
        return []
