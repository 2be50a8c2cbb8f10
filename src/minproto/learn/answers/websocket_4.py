"""Reference answer to websocket/4: fragments and control frames.

Two things are held: the fragments of the open message, and the bytes of a frame that is not complete. The size is checked as
soon as the header is there, so neither can grow beyond the limit.
"""

from collections.abc import Iterator
from typing import Any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SHORTEST = {2: 126, 8: 1 << 16}


class MessageReader:
    """Read the messages that a server sends."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.opcode: int | None = None  # of the message that is open
        self.message = b""
        self.closed = False
        self.error: ValueError | None = None

    @property
    def buffered(self) -> int:
        """The bytes that are held."""
        return len(self.message) + len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete. Raises ValueError, and then always."""
        if self.error is None:
            self.buffer += data
            try:
                yield from self._events()
            except ValueError as error:
                self.error = error
        if self.error is not None:
            raise self.error

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError unless a Close was read."""
        if self.error is None and not self.closed:
            self.error = ValueError("no Close")
        if self.error is not None:
            raise self.error
        return []

    def _events(self) -> Iterator[dict[str, Any]]:
        while not self.closed and (header := self._header()) is not None:
            fin, opcode, length, size = header
            if len(self.buffer) < size + length:
                return
            payload, self.buffer = self.buffer[size : size + length], self.buffer[size + length :]
            if opcode in (PING, PONG):
                yield {"type": "Ping" if opcode == PING else "Pong", "data": payload}
            elif opcode == CLOSE:
                self.closed = True
                yield {"type": "Close", "data": payload}
            else:
                yield from self._fragment(fin, opcode, payload)
        if self.closed:
            self.buffer = b""

    def _header(self) -> tuple[bool, int, int, int] | None:
        """Return (fin, opcode, length, size); None if the header is not complete. Raises ValueError."""
        data = self.buffer
        if len(data) < 2:
            return None
        fin, opcode, length, size = data[0] >= 0x80, data[0] & 0x0F, data[1] & 0x7F, 2
        if data[0] & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG) or data[1] >= 0x80:
            raise ValueError("reserved bit or opcode, or a mask")
        if opcode >= CLOSE and (not fin or length > 125):
            raise ValueError("control frame in fragments, or too long")
        if opcode < CLOSE and (opcode == CONTINUATION) != (self.opcode is not None):
            raise ValueError("a continuation of nothing, or a message inside a message")
        if wide := {126: 2, 127: 8}.get(length, 0):
            size += wide
            if len(data) < size:
                return None
            length = int.from_bytes(data[2:size], "big")
            if length < SHORTEST[wide]:
                raise ValueError("length in a longer form than needed")
        if len(self.message) + size + length > self.limit:
            raise ValueError("too large")
        return fin, opcode, length, size

    def _fragment(self, fin: bool, opcode: int, payload: bytes) -> Iterator[dict[str, Any]]:
        """Append a fragment, and yield the message if it is complete."""
        if self.opcode is None:
            self.opcode = opcode
        self.message += payload
        if fin:
            if self.opcode == TEXT:
                yield {"type": "Message", "text": self.message.decode()}
            else:
                yield {"type": "Message", "data": self.message}
            self.opcode, self.message = None, b""
