"""Reference answer to sse/3: resume without a gap."""

from collections import deque


class History:
    """Keep the last events."""

    def __init__(self, size: int) -> None:
        self.newest = 0
        self.events: deque[tuple[int, str]] = deque(maxlen=size)

    def append(self, data: str) -> int:
        """Store an event, and return its id."""
        self.newest += 1
        self.events.append((self.newest, data))
        return self.newest

    def after(self, last_id: int) -> tuple[int | None, list[tuple[int, str]]]:
        """Return how many events after this id are lost (None if nobody knows), and those that are kept."""
        if not 0 <= last_id <= self.newest:  # the id of another run
            return None, list(self.events)
        kept = [event for event in self.events if event[0] > last_id]
        return self.newest - last_id - len(kept), kept
