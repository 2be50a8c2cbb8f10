"""Reference answer to sse/4: comments, ids and retry."""

import codecs
import re
from collections.abc import Iterator
from typing import Any


class StreamReader:
    """Read an event stream: its events, comments and retry times."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.line = ""
        self.after_cr = False
        self.first = True
        self.data: list[str] = []
        self.event = ""
        self.last_id = ""

    def receive_data(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield what these bytes complete."""
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
        """Take a line, and yield what it completes."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if self.data:
                event = self.event or "message"
                yield {"type": "Event", "event": event, "data": "\n".join(self.data), "id": self.last_id}
            self.data, self.event = [], ""
        elif not name:
            yield {"type": "Comment", "text": value}
        elif name == "data":
            self.data.append(value)
        elif name == "event":
            self.event = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= 9:
            yield {"type": "Retry", "milliseconds": int(value)}
