r"""Reference answer to http1/3: a chunked reader.

A state says what comes next: the line of a size, data, the CR LF after the data, or a trailer. ``5\r\nhel`` leaves the
state DATA with two bytes to come.
"""

import re
from collections.abc import Iterator
from typing import Any

SIZE, DATA, AFTER_DATA, TRAILER, DONE = "size", "data", "after data", "trailer", "done"
TOKEN = rb"[!#-'*+.^-z|~0-9A-Z-]+"
QUOTED = rb'"(?:[\t\x20!#-\[\]-~\x80-\xff]|\\[\t\x20-~\x80-\xff])*"'
EXTENSION = rb"[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?"
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + EXTENSION + rb")*")
TRAILER_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t\x20-~\x80-\xff]*?)[ \t]*")


class ChunkedReader:
    """Read content in chunks."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.state = SIZE
        self.left = 0  # bytes of this chunk that have not arrived yet
        self.trailers: list[list[str]] = []
        self.trailer_size = 0
        self.error: ValueError | None = None

    @property
    def buffered(self) -> int:
        """The bytes that are held: an incomplete line, and the trailers so far."""
        return len(self.buffer) + self.trailer_size

    @property
    def closed(self) -> bool:
        """Whether the content is complete."""
        return self.state is DONE

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete. Raises ValueError for malformed bytes, and then always."""
        if self.error is None:
            self.buffer += data
            try:
                yield from self._events()
            except ValueError as error:
                self.error = error
        if self.error is not None:
            raise self.error

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError unless the content is complete."""
        if self.error is None and not self.closed:
            self.error = ValueError("content cut short")
        if self.error is not None:
            raise self.error
        return []

    def _events(self) -> Iterator[dict[str, Any]]:
        while self.state is not DONE:
            if self.state is DATA:
                piece, self.buffer = self.buffer[: self.left], self.buffer[self.left :]
                self.left -= len(piece)
                if piece:
                    yield {"type": "Data", "data": piece}
                if self.left:
                    return
                self.state = AFTER_DATA
            line = self._line()
            if line is None:
                return
            if self.state is AFTER_DATA:
                self.state = SIZE
            elif self.state is SIZE:
                self._size(line)
            elif line:
                self._trailer(line)
            else:
                self.state = DONE
                self.trailer_size = 0
                yield {"type": "EndOfMessage", "trailers": self.trailers}
        self.buffer = b""

    def _line(self) -> bytes | None:
        """Return the next line without its CR LF; None if it is not complete."""
        end = self.buffer.find(b"\n")
        if self.state is AFTER_DATA and not b"\r\n".startswith(self.buffer[:2]):
            raise ValueError("no CR LF after the data of a chunk")
        if self.trailer_size + (end + 1 if end >= 0 else len(self.buffer) + 1) > self.limit:
            raise ValueError("line too long")
        if end < 0:
            return None
        line, self.buffer = self.buffer[: end + 1], self.buffer[end + 1 :]
        if not line.endswith(b"\r\n"):
            raise ValueError("LF without CR")
        return line[:-2]

    def _size(self, line: bytes) -> None:
        found = SIZE_LINE.fullmatch(line)
        if found is None:
            raise ValueError("malformed size of a chunk")
        self.left = int(found[1], 16)
        self.state = DATA if self.left else TRAILER

    def _trailer(self, line: bytes) -> None:
        found = TRAILER_LINE.fullmatch(line)
        if found is None:
            raise ValueError("malformed trailer")
        self.trailer_size += len(line) + 2
        self.trailers.append([found[1].decode().lower(), found[2].decode("latin-1")])
