r"""Reference answer to pubsub/3: commands as arrays.

``*2\r\n$4\r\nECHO\r\n`` leaves one string, the bytes that it took, and ``missing`` = 1. Only the part that is not complete is
in the buffer.
"""

import re
from collections.abc import Iterator
from typing import Any

NUMBER = re.compile(rb"[*$]([0-9]{1,6})\r\n")


class CommandReader:
    """Read commands."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = b""
        self.taken = 0  # bytes of this command that have left the buffer
        self.missing = 0  # strings that have not arrived yet
        self.length: int | None = None  # of the string that comes next, if its line was read
        self.arguments: list[bytes] = []
        self.error: ValueError | None = None

    @property
    def buffered(self) -> int:
        """The bytes of the command that is not complete."""
        return self.taken + len(self.buffer)

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the commands that these bytes complete. Raises ValueError, and then always."""
        if self.error is None:
            self.buffer += data
            try:
                yield from self._commands()
            except ValueError as error:
                self.error = error
        if self.error is not None:
            raise self.error

    def receive_eof(self) -> list[dict[str, Any]]:
        """Raise ValueError inside a command."""
        if self.error is None and self.buffered:
            self.error = ValueError("command cut short")
        if self.error is not None:
            raise self.error
        return []

    def _commands(self) -> Iterator[dict[str, Any]]:
        while self._step():
            if not self.missing:
                if self.arguments:
                    yield {"type": "Command", "arguments": self.arguments}
                self.arguments, self.taken = [], 0

    def _step(self) -> bool:
        """Take the next line, or the next string. Return whether it was complete."""
        if self.length is None:
            number = self._number(b"$" if self.missing else b"*")
            if number is None:
                return False
            if self.missing:
                self.length = number
                self._check(number + 2)
            else:
                self.missing = number
            return True
        end = self.length + 2
        if not b"\r\n".startswith(self.buffer[self.length : end]):
            raise ValueError("no CR LF after a string")
        if len(self.buffer) < end:
            return False
        self.arguments.append(self._take(end)[:-2])
        self.length, self.missing = None, self.missing - 1
        return True

    def _number(self, kind: bytes) -> int | None:
        """Take the next line, and return its number; None if it is not complete."""
        end = self.buffer.find(b"\n") + 1
        self._check(end or len(self.buffer) + (self.taken > 0 or len(self.buffer) > 0))
        if not end:
            return None
        line = self._take(end)
        found = NUMBER.fullmatch(line)
        if found is None or line[:1] != kind:
            raise ValueError("malformed number")
        return int(found[1])

    def _check(self, more: int) -> None:
        if self.taken + more > self.limit:
            raise ValueError("command too large")

    def _take(self, size: int) -> bytes:
        piece, self.buffer = self.buffer[:size], self.buffer[size:]
        self.taken += size
        return piece
