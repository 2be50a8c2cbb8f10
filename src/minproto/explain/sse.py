"""An event stream, explained: the lines of its events, wherever the pieces of content that carry them begin and end."""

import re

from minproto import sse
from minproto.core import CLIENT, Event, RemoteProtocolError
from minproto.explain.rows import MAX_PIECE, Side, readable, shown

PARSING, MEANING = "WHATWG HTML §9.2.5", "WHATWG HTML §9.2.6"

_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MEANINGS = {
    "": "a comment: no client takes notice",
    "data": "a line of the event's data",
    "event": "the event's type",
    "id": "the event's id: what a client says when it comes back",
    "retry": "milliseconds to wait before coming back",
}


class EventStream:
    """Names what a piece of content has of an event stream."""

    def __init__(self) -> None:
        self._core: sse.Connection | None = sse.Connection(CLIENT)  # says what the lines mean together
        self._begun = b""  # the line that is not complete, as far as it is kept
        self._after_cr = False

    def add(self, side: Side, data: bytes) -> None:
        """All bytes of a piece."""
        if self._after_cr and data[:1] == b"\n":
            side.add("end of line", b"\n", "LF", "the other half of a CRLF", PARSING)
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        for found in _LINES.finditer(data):
            self._add_line(side, found[0])
            for event in self._events(found[0]):
                self._note(side, event)

    def _add_line(self, side: Side, raw: bytes) -> None:
        ended = raw[-1:] in (b"\r", b"\n")
        line = self._begun + raw.rstrip(b"\r\n")
        self._begun = b"" if ended else line[:MAX_PIECE]
        if not ended:
            side.add("part of a line", raw, readable(raw), "its end is in a later piece", PARSING)
        elif not line:
            side.add("end of event", raw, "empty line", "what was said before it is an event now", MEANING)
        else:
            name, value = sse.parse_line(line.decode("utf-8", "replace").removeprefix("\ufeff"))
            side.add(name or "comment", raw, value, _MEANINGS.get(name, "a field that no client knows"), MEANING)

    def _events(self, raw: bytes) -> list[Event]:
        if self._core is None:
            return []
        try:
            self._core.receive_data(raw)
            return list(self._core.events())
        except RemoteProtocolError:  # an event over the limit: its lines are explained, but not put together
            self._core = None
            return []

    @staticmethod
    def _note(side: Side, event: Event) -> None:
        if isinstance(event, sse.ServerSentEvent):
            side.note(f"event {shown(event.event)}", shown(event.data), "what a browser's script gets", MEANING)
