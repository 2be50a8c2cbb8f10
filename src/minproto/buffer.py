r"""The receive buffer: append bytes at the end, take bytes from the front, search without searching twice.

Every parser needs these three operations, and each has a trap that costs quadratic time:

- **Take.** ``data = data[count:]`` copies all later bytes, for each event. Here a cursor moves instead, and the bytes before
  the cursor are deleted once for each append.
- **Search.** A peer may send a line of 8,000 bytes one byte at a time. Searches that all began at the front would look at 32
  million bytes. Here a search that finds nothing remembers how far it looked, and the next search begins there.
- **Store.** The number of bytes that nobody takes must be bounded, or a peer could fill our memory. A buffer with more than
  ``limit`` bytes refuses the next chunk.

Here is a search for the end of a head that arrives in three chunks. ``_searched`` is where the next search begins:

    >>> buffer = Buffer(limit=100)
    >>> for chunk in (b"Host: a\r", b"\n\r", b"\nbody"):
    ...     stored = buffer.append(chunk)
    ...     print(buffer.peek(), buffer.find(b"\r\n\r\n", limit=100), buffer._searched)
    b'Host: a\r' -1 5
    b'Host: a\r\n\r' -1 7
    b'Host: a\r\n\r\nbody' 7 0

After the first chunk of eight bytes, the next search does not begin at 8. The last three bytes may be the first three of the
needle (here the ``\r`` at 7 is), so the search begins three bytes earlier, at 5. The needle is found at 7; the head and its
end are eleven bytes, and the body remains:

    >>> buffer.take(11), buffer.peek()
    (b'Host: a\r\n\r\n', b'body')

A buffer often holds exactly one chunk: most messages arrive in one chunk. Then the chunk itself is the buffer, without a copy;
a second chunk has to be joined to it, in a bytearray.
"""

import re


class Buffer:
    """The bytes received but not taken yet. Every position counts from the first of these bytes."""

    __slots__ = ("_data", "_limit", "_searched", "_start", "size")

    def __init__(self, limit: int) -> None:
        self._data: bytes | bytearray = b""
        self._start = 0  # the cursor: an index into _data; the bytes before it have been taken
        self._searched = 0  # a position: the needle of the last search does not begin before it
        self._limit = limit
        self.size = 0
        """The number of bytes in the buffer. (An attribute, because parsers ask for it several times for each event.)"""

    def __len__(self) -> int:
        return self.size

    def append(self, data: bytes) -> bool:
        """Store a chunk and return True; or store nothing and return False, if more than ``limit`` bytes are already pending.

        So the buffer may hold up to ``limit`` bytes and one chunk: a shell cannot know a chunk's size before reading it.
        """
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
        """Remove and return the first ``count`` bytes, or all bytes if there are fewer."""
        taken = self.peek(0, count)
        self.skip(len(taken))
        return taken

    def skip(self, count: int) -> None:
        """Remove the first ``count`` bytes. The caller has made sure that the buffer holds ``count`` bytes."""
        self._start += count
        self.size -= count
        self._searched = 0
        if not self.size:
            self._data, self._start = b"", 0  # drops the chunk: an idle connection must not keep its memory

    def peek(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes from ``start`` to ``end`` (by default all of them), and leave them in the buffer."""
        return bytes(self._data[self._start + start : None if end is None else self._start + end])

    def find(self, needle: bytes, limit: int) -> int:
        """Return the position where the needle first begins, or -1. The needle has to end within the first ``limit`` bytes.

        A search continues the previous one. So a caller has to ask for the same needle until it is found, or until bytes are
        taken.
        """
        start = self._start
        at = self._data.find(needle, start + self._searched, start + limit)
        if at >= 0:
            self._searched = 0
            return at - start
        # The needle may have begun in the last len(needle) - 1 bytes. Bytes beyond the limit were not looked at.
        self._searched = max(0, min(self.size, limit) - len(needle) + 1)
        return -1

    def text_until(self, needle: bytes, limit: int) -> str | None:
        """Return the bytes before the needle, decoded as ISO-8859-1, and leave them in place; None if there is no needle."""
        at = self.find(needle, limit)
        return None if at < 0 else self._data[self._start : self._start + at].decode("latin-1")

    def window(self) -> tuple[bytes | bytearray, int]:
        """Return the stored bytes and the cursor, for a parser that looks at many places without a call for each.

        The caller must not change the bytes. Both values are out of date after the next method call.
        """
        return self._data, self._start

    def match(self, pattern: re.Pattern[bytes], position: int) -> int:
        """Return the position after the match of ``pattern`` that begins at ``position``; ``position`` if nothing matches."""
        found = pattern.match(self._data, self._start + position)
        return position if found is None else found.end() - self._start
