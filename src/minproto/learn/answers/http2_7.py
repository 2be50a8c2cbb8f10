"""Reference answer to http2/7: fair rounds."""

from collections import Counter, deque


class Rounds:
    """Whose turn it is to send."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes: Counter[int] = Counter()
        self.allowed: Counter[int] = Counter()
        self.line: deque[int] = deque()

    def offer(self, stream: int, n: int) -> None:
        """Add n bytes to the content that a stream has to send."""
        self.bytes[stream] += n
        self._join(stream)

    def credit(self, stream: int, n: int) -> None:
        """Let a stream send n more bytes."""
        self.allowed[stream] += n
        self._join(stream)

    def next(self) -> tuple[int, int] | None:
        """Return the stream whose turn it is, and how many bytes it sends now; None if no stream may send."""
        if not self.line:
            return None
        stream = self.line.popleft()
        n = min(self.most, self.bytes[stream], self.allowed[stream])
        self.bytes[stream] -= n
        self.allowed[stream] -= n
        self._join(stream)
        return stream, n

    def _join(self, stream: int) -> None:
        if self.bytes[stream] and self.allowed[stream] and stream not in self.line:
            self.line.append(stream)
