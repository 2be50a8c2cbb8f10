"""http2/5: the states of a stream. Fill in what is missing."""


class Stream:
    """One stream, from the view of one end."""

    def __init__(self) -> None:
        self.state = "idle"

    def send(self, frame: str, end: bool = False) -> str:
        """Return the state after we have sent a frame. Raises ValueError."""
        raise NotImplementedError

    def receive(self, frame: str, end: bool = False) -> str:
        """Return the state after the peer has sent a frame. Raises ValueError."""
        raise NotImplementedError
