"""sse/3: resume without a gap. Fill in what is missing."""


class History:
    """Keep the last events."""

    def __init__(self, size: int) -> None:
        self.size = size

    def append(self, data: str) -> int:
        """Store an event, and return its id."""
        raise NotImplementedError

    def after(self, last_id: int) -> tuple[int | None, list[tuple[int, str]]]:
        """Return how many events after this id are lost (None if nobody knows), and those that are kept."""
        raise NotImplementedError
