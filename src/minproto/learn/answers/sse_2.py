"""Reference answer to sse/2: events across cuts, in UTF-8.

The decoder keeps the first bytes of a character. A CR ends its line at once, and ``after_cr`` remembers to skip an LF.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any


class EventReader:
    """Read an event stream."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.line = ""  # the line that has no end yet
        self.after_cr = False
        self.first = True
        self.data: list[str] = []
        self.event = ""

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that these bytes complete."""
        text = self.decoder.decode(data)
        if not text:
            return
        if self.first:
            self.first = False
            text = text.removeprefix("\ufeff")
        if self.after_cr and text:
            text = text.removeprefix("\n")
            self.after_cr = False
        self.after_cr = self.after_cr or text.endswith("\r")
        *lines, self.line = re.split("\r\n|\r|\n", self.line + text)
        for line in lines:
            yield from self.end_of_line(line)

    def receive_eof(self) -> list[dict[str, Any]]:
        """Forget an event that is not complete."""
        return []

    def end_of_line(self, line: str) -> Iterator[dict[str, Any]]:
        """Take a line, and yield an event if it is empty and there is data."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.data.append(value)
        elif name == "event":
            self.event = value
        elif not line:
            if self.data:
                yield {"type": "Event", "event": self.event or "message", "data": "\n".join(self.data)}
            self.data, self.event = [], ""
