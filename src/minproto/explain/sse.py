r"""An event stream, explained line by line.

The stream is the content of an HTTP response, and comes in chunks or frames that may end anywhere. So a line of the stream may
have its end in a later piece of content:

    chunk 1   "data: hel"      part of a line
    chunk 2   "lo\n\n"        data: hello, and the empty line that ends the event
"""

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
    """The explanation of one event stream. ``add`` is called with its next piece of content."""

    def __init__(self) -> None:
        self._core: sse.Connection | None = sse.Connection(CLIENT)  # joins the lines into events
        self._begun = b""  # the beginning of an incomplete line, up to MAX_PIECE bytes
        self._after_cr = False

    def add(self, side: Side, data: bytes) -> None:
        """Add fields for all bytes of a piece of content."""
        if self._after_cr and data[:1] == b"\n":
            side.add("end of line", b"\n", "LF", "the other half of a CRLF", PARSING)
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        for found in _LINES.finditer(data):
            self._add_line(side, found[0])
            for event in self._events(found[0]):
                self._note(side, event)

    def _add_line(self, side: Side, raw: bytes) -> None:
        """Add the field for a line, or for a part of a line whose end is in a later piece."""
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
        """Return the events that end with this line."""
        if self._core is None:
            return []
        try:
            self._core.receive_data(raw)
            return list(self._core.events())
        except RemoteProtocolError:  # an event over the limit: from now on only lines are explained, not events
            self._core = None
            return []

    @staticmethod
    def _note(side: Side, event: Event) -> None:
        if isinstance(event, sse.ServerSentEvent):
            side.note(f"event {shown(event.event)}", shown(event.data), "what a browser's script gets", MEANING)
