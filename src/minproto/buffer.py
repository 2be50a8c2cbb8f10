"""The one receive buffer: append at the end, take from the front, search without searching twice.

Every parser needs the same three things of its input, and each is easy to get subtly wrong. Taking from the front must not
move the rest each time, so a cursor moves instead and the bytes before it are deleted once for each append. A search that
came back empty must go on where it stopped (less the part of the needle that may hang over the edge), or a peer that sends
byte by byte costs quadratic time. And what waits must be bounded.

Mostly a chunk is all that a parser needs: when nothing waits it becomes the buffer as it is, and only what a second chunk has
to be joined to is copied.
"""

import re


class Buffer:
    """Bytes received and not yet taken. All positions are relative to the first of them."""

    __slots__ = ("_data", "_limit", "_searched", "_start", "size")

    def __init__(self, limit: int) -> None:
        self._data: bytes | bytearray = b""
        self._start = 0  # the cursor: what lies before it was taken
        self._searched = 0  # no needle begins before here (relative to the cursor)
        self._limit = limit
        self.size = 0
        """How many they are: an attribute, since it is asked several times for each event."""

    def __len__(self) -> int:
        return self.size

    def append(self, data: bytes) -> bool:
        """Store a chunk. False, with nothing stored, if more than ``limit`` bytes wait already."""
        if not self.size:
            self._data = data if isinstance(data, bytes) else bytes(data)
            self._start, self.size = 0, len(data)
            return True
        if self.size > self._limit:
            return not data
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        del self._data[: self._start]
        self._data += data
        self._start = 0
        self.size += len(data)
        return True

    def take(self, count: int) -> bytes:
        """Remove and return the first ``count`` bytes, or all if there are fewer."""
        taken = self.peek(0, count)
        self.skip(len(taken))
        return taken

    def skip(self, count: int) -> None:
        """Remove the first ``count`` bytes, which have to be there."""
        self._start += count
        self.size -= count
        self._searched = 0
        if not self.size:
            self._data, self._start = b"", 0

    def peek(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from ``start`` to ``end`` (all by default), left in place."""
        return bytes(self._data[self._start + start : None if end is None else self._start + end])

    def find(self, needle: bytes, limit: int) -> int:
        """Where the needle first begins, or -1. It must end within the first ``limit`` bytes.

        A search goes on from the one before, so the same needle has to be looked for until it is found or bytes are taken.
        """
        start = self._start
        at = self._data.find(needle, start + self._searched, start + limit)
        if at >= 0:
            self._searched = 0
            return at - start
        self._searched = max(0, min(self.size, limit) - len(needle) + 1)
        return -1

    def text_until(self, needle: bytes, limit: int) -> str | None:
        """What lies before the needle, as ISO-8859-1, left in place; None where ``find`` finds none."""
        at = self.find(needle, limit)
        return None if at < 0 else self._data[self._start : self._start + at].decode("latin-1")

    def window(self) -> tuple[bytes | bytearray, int]:
        """The stored bytes, not to be changed, and the index of the first that waits; good until the next call. For parsers
        that look at many bytes without a call for each."""
        return self._data, self._start

    def match(self, pattern: re.Pattern[bytes], position: int = 0) -> int:
        """The position behind the longest match of ``pattern`` at ``position``; ``position`` itself where there is none."""
        found = pattern.match(self._data, self._start + position)
        return position if found is None else found.end() - self._start
