"""http2/8: drain by GOAWAY. Fill in what is missing."""


class Drain:
    """A server's connection while it shuts down."""

    def __init__(self) -> None:
        self.done = False

    def request(self, stream: int) -> bool:
        """Return whether this request will be answered. Raises ValueError."""
        raise NotImplementedError

    def goaway(self) -> int:
        """Return the number for the next GOAWAY. Raises ValueError."""
        raise NotImplementedError

    def finished(self, stream: int) -> None:
        """Note that a response is sent. Raises ValueError."""
        raise NotImplementedError
