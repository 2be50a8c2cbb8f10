"""websocket/6: the closing handshake. Fill in what is missing."""


class Closing:
    """How one side of a WebSocket closes the connection."""

    def __init__(self) -> None:
        self.can_send = True
        self.done = False

    def close(self, code: int, reason: str) -> bytes:
        """Return the payload of our Close. Raises ValueError."""
        raise NotImplementedError

    def receive(self, payload: bytes) -> bytes | None:
        """Take the peer's Close, and return the payload of our answer; None if we have sent a Close. Raises ValueError."""
        raise NotImplementedError
