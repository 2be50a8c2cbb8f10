"""http2/7: fair rounds. Fill in what is missing."""


class Rounds:
    """Whose turn it is to send."""

    def __init__(self, most: int) -> None:
        self.most = most

    def offer(self, stream: int, n: int) -> None:
        """Add n bytes to the content that a stream has to send."""
        raise NotImplementedError

    def credit(self, stream: int, n: int) -> None:
        """Let a stream send n more bytes."""
        raise NotImplementedError

    def next(self) -> tuple[int, int] | None:
        """Return the stream whose turn it is, and how many bytes it sends now; None if no stream may send."""
        raise NotImplementedError
