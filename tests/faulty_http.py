"""A small HTTP/1.1 request parser, as a user might write it, with room for one planted fault."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minproto.core import RemoteProtocolError, Wants

LIMIT = 512
MAX_BODY = 100_000


@dataclass
class Head:
    """A request line and its fields."""

    line: str
    fields: dict[str, str]


@dataclass
class Data:
    """A piece of content."""

    data: bytes


@dataclass
class End:
    """The request is complete."""

    trailers: dict[str, str]


Event = Head | Data | End
EVENTS: list[Event] = []


class Log:
    """What keeps all bytes, out of sight."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def add(self, data: bytes) -> None:
        """Keep them."""
        self.lines.append(data)


class Parser:
    """Right, where ``fault`` is empty. ``fault`` names what is wrong with it."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.data = b""
        self.wants = Wants.DATA
        self.part: Callable[[], Event | None] = self.head
        self.left = 0
        self.fields: dict[str, str] = {}
        self.ended = False
        self.error: RemoteProtocolError | None = None
        self.kept: Any = io.BytesIO() if fault == "keeps all bytes in a BytesIO" else bytearray()
        self.events: list[Event] = []
        self.log = Log()

    @property
    def buffered(self) -> int:
        most = {"buffers a chunk and does not say so": 0, "buffers a chunk and says that it is small": 9}
        return min(len(self.data), most.get(self.fault, len(self.data)))

    def receive_data(self, data: bytes) -> None:
        self.data += data
        if self.fault == "keeps all bytes in a bytearray":
            self.kept += data
        elif self.fault == "keeps all bytes in a BytesIO":
            self.kept.write(data)
        elif self.fault == "keeps all bytes in another object":
            self.log.add(data)

    def receive_eof(self) -> None:
        self.ended = True

    def next_event(self) -> Event | None:
        if self.error is not None:
            raise self.error
        try:
            event = self.parse()
        except RemoteProtocolError as error:
            if not (self.fault == "its error at the end of input comes once" and self.ended):
                self.error = error
            self.wants = Wants.CLOSED
            raise
        if event is not None and self.fault.startswith("keeps all events"):
            (EVENTS if self.fault.endswith("module") else self.events).append(event)
        return event

    def parse(self) -> Event | None:
        before = None
        while self.part != before and not (before and self.wants is Wants.CLOSED):
            before = self.part
            if (event := self.part()) is not None:
                return event
        return self.end() if self.ended and self.wants is Wants.DATA else None

    def end(self) -> Event | None:
        name = self.part.__name__
        if self.fault == f"hangs at the end of input in {name}":
            return None
        if self.fault == "hangs at the end of input in a chunk" and name in ("chunk", "crlf"):
            return None
        if self.fault == f"raises ValueError at the end of input in {name}":
            raise ValueError("cut short")
        if name != "head" or self.data:
            raise RemoteProtocolError("cut short")
        if self.fault == "gives its last event again" and self.events:
            return self.events.pop()
        self.wants = Wants.DATA if self.fault == "is never CLOSED" else Wants.CLOSED
        return None

    def line(self, limit: int = LIMIT) -> bytes | None:
        end = self.data.find(b"\r\n")
        if end > limit or (end < 0 and len(self.data) > limit):
            raise RemoteProtocolError("line too long")
        if end < 0:
            return None
        line, self.data = self.data[:end], self.data[end + 2 :]
        return line

    def section(self) -> list[str] | None:
        """All lines to the empty one."""
        end = 0 if self.data.startswith(b"\r\n") else self.data.find(b"\r\n\r\n")
        if end > LIMIT or (end < 0 and len(self.data) >= LIMIT):
            raise RemoteProtocolError("head too long")
        if end < 0:
            return None
        text, self.data = self.data[:end], self.data[end + (4 if end else 2) :]
        return text.decode("latin-1").split("\r\n") if text else []

    def head(self) -> Event | None:
        if (lines := self.section()) is None:
            return None
        if not lines or len(lines[0].split(" ")) != 3:
            raise RemoteProtocolError("not a request line")
        self.fields = self.named(lines[1:])
        if "transfer-encoding" in self.fields:
            self.part = self.size
        elif "content-length" in self.fields:
            self.left = self.number(self.fields["content-length"], 10)
            self.part = self.content
        else:
            self.part = self.nothing
        return self.given(Head(lines[0], self.fields))

    def given(self, event: Event) -> Event:
        if self.fault == "gives its last event again":
            self.events = [event]
        return event

    def named(self, lines: list[str]) -> dict[str, str]:
        pairs = [line.partition(":") for line in lines]
        if not all(name and colon for name, colon, _ in pairs):
            raise RemoteProtocolError("not a field line")
        return {name.lower(): value.strip() for name, _, value in pairs}

    def number(self, text: str, base: int) -> int:
        digits = "0123456789abcdef"[:base]
        if not text or len(text) > 15 or text.lower().strip(digits):
            raise RemoteProtocolError("not a number")
        number = int(text, base)
        if number > MAX_BODY and self.fault != "refuses a length only when all of it is there":
            raise RemoteProtocolError("too large")
        return number

    def nothing(self) -> Event:
        self.part = self.head
        return self.given(End({}))

    def content(self) -> Event | None:
        if not self.left:
            return self.nothing()
        data, self.data = self.data[: self.left], self.data[self.left :]
        self.left -= len(data)
        return Data(data) if data else None

    def size(self) -> Event | None:
        if (line := self.line(40)) is None:
            return None
        self.left = self.number(line.decode("latin-1").partition(";")[0].strip(), 16)
        self.part = self.chunk if self.left else self.trailer
        return None

    def chunk(self) -> Event | None:
        whole = self.fault.startswith(("buffers a chunk", "refuses a length", "hangs at the end of input in a chunk"))
        if whole and len(self.data) < self.left:
            return None
        if self.left > MAX_BODY and self.data:
            raise RemoteProtocolError("too large, after all")
        data, self.data = self.data[: self.left], self.data[self.left :]
        self.left -= len(data)
        if not self.left:
            self.part = self.crlf
        return Data(data) if data else None

    def crlf(self) -> Event | None:
        if not b"\r\n".startswith(self.data[:2]):
            raise RemoteProtocolError("a chunk without its end")
        if len(self.data) < 2:
            return None
        self.data = self.data[2:]
        self.part = self.size
        return None

    def trailer(self) -> Event | None:
        if (lines := self.section()) is None:
            return None
        self.part = self.head
        return self.given(End(self.named(lines)))
