"""Reference answer to http2/8: drain by GOAWAY."""

SOON = (1 << 31) - 1


class Drain:
    """A server's connection while it shuts down."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.largest = 0  # number of all requests
        self.accepted = 0  # number of the last request that is answered
        self.sent = 0  # GOAWAY frames

    @property
    def done(self) -> bool:
        """Whether the connection may be closed."""
        return self.sent == 2 and not self.open

    def request(self, stream: int) -> bool:
        """Return whether this request will be answered. Raises ValueError."""
        if stream % 2 == 0 or stream <= self.largest:
            raise ValueError("wrong number")
        self.largest = stream
        if self.sent == 2:
            return False
        self.accepted = stream
        self.open.add(stream)
        return True

    def goaway(self) -> int:
        """Return the number for the next GOAWAY. Raises ValueError."""
        if self.sent == 2:
            raise ValueError("a third GOAWAY")
        self.sent += 1
        return SOON if self.sent == 1 else self.accepted

    def finished(self, stream: int) -> None:
        """Note that a response is sent. Raises ValueError."""
        if stream not in self.open:
            raise ValueError("not being answered")
        self.open.remove(stream)
