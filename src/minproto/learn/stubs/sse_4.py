"""sse/4: comments, ids and retry. Begin with your answer to sse/2."""

from typing import Any


class StreamReader:
    """Read an event stream: its events, comments and retry times."""

    def __init__(self) -> None:
        self.last_id = ""

    def receive_data(self, data: bytes) -> list[dict[str, Any]]:
        """Return what these bytes complete: dicts of the types Comment, Retry and Event."""
        raise NotImplementedError

    def receive_eof(self) -> list[dict[str, Any]]:
        """Forget an event that is not complete."""
        return []
