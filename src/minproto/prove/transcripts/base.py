"""What all transcripts have in common."""

from minproto.prove.case import Case
from minproto.prove.target import Target


class Transcript:
    """The words of one connection. The subclass for a protocol reads the bytes."""

    def __init__(self, case: Case, target: Target) -> None:
        self.case, self.target = case, target
        self.words: list[str] = []
        self.ready = True
        """Whether the opening is over, so that the steps of the case may begin."""
        self.why_malformed = ""
        """What was wrong with bytes of the server that break the protocol."""
        self.over = ""
        """How the exchange has ended, "closed" or "reset", though the connection is open: its stream of HTTP/2 has ended."""

    def opening(self) -> bytes:
        """Return what a client sends first, before the steps of the case."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Read bytes from the server, and return what a client has to answer to them in any case."""
        raise NotImplementedError

    def wrap(self, data: bytes) -> bytes:
        """Return the bytes of a step as they leave: the same, unless another protocol carries them."""
        return data

    def shut(self) -> bytes:
        """Return the bytes that end our direction; b"" if only the connection itself can end it."""
        return b""

    def end(self) -> None:
        """Note that the server has ended the connection."""

    def malformed(self, why: str) -> None:
        """Note that the server broke the protocol: nothing after it can be read."""
        if not self.why_malformed:
            self.why_malformed = why
            self.words.append("malformed")
