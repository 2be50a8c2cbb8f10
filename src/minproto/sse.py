"""Server-Sent Events: a response that never ends, in lines of text (WHATWG HTML, "Server-sent events").

    id: 1700000000000-0                  An event is a few fields, each on a line, and an empty line that sends it off. The
    event: price                         id of the last one is what a browser says when it connects again; so a stream whose
    data: first line                     ids name places in a log can be resumed without loss.
    data: second line
                                         A line that begins with a colon is a comment: it keeps proxies from closing a stream
    : still here                         on which nothing happens.

The danger is in line breaks. CR, LF and CRLF all end a line, and so does nothing else; whoever publishes text with one of
them must not be able to write fields of its own. And a CR at the end of a chunk may be half of a CRLF.

Left out: nothing of the format. Reconnecting is the business of ``aio/sse.py``.
"""

import re
from dataclasses import dataclass

from minproto.core import CLIENT, Core, Event, LocalProtocolError, RemoteProtocolError, Role, Wants

MEDIA_TYPE = "text/event-stream"


@dataclass(frozen=True)
class Limits:
    """What a server could make unbounded."""

    max_event: int = 1 << 20
    """Characters of an event's fields, and bytes of any line: it is delivered whole, so it has to fit into memory."""


# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ServerSentEvent(Event):
    """What a browser calls a MessageEvent. Whatever line breaks there are in ``data``, they arrive as LF."""

    data: str
    event: str = "message"
    """Its type."""
    id: str | None = None
    """None: it has none of its own, so the last event id stays what it was."""


@dataclass(slots=True)
class LastEventId(Event):
    """An id without an event: where to resume, if the connection ends before the next one."""

    id: str


@dataclass(slots=True)
class Retry(Event):
    """How long to wait before connecting again, in milliseconds."""

    milliseconds: int


@dataclass(slots=True)
class Comment(Event):
    """A line that no client takes notice of."""

    text: str = ""


# ---- lines -----------------------------------------------------------------------------------------------------------
#
#   stream      = [ BOM ] *( *( comment / field ) end-of-line )
#   field       = name [ ":" [ space ] value ] end-of-line
#   comment     = ":" text end-of-line
#   end-of-line = CRLF / LF / CR

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(rb"[^\r\n]*+")
_BOM = "\ufeff"
_RETRY = re.compile(r"(?=[0-9])0*+([0-9]*+)")  # without its zeros, 19 digits tell that it is beyond the most we wait
MAX_RETRY = 10**18 - 1
"""Milliseconds. The standard has no bound; whoever is told to wait for longer waits for these 30 million years."""


def parse_line(line: str) -> tuple[str, str]:
    """The name and the value of a field; the name of a comment is empty."""
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")


def encode(event: Event) -> bytes:
    """The bytes of an event. It arrives as it is, but for the line breaks in ``data`` (as LF) and an empty type (``message``).

    Raises LocalProtocolError for a line break elsewhere, NUL in an id, a retry out of range, and text that has no UTF-8.
    """
    match event:
        case ServerSentEvent(data, kind, id):
            fields = [("id", id)] if id is not None else []
            fields += [("event", kind)] if kind != "message" else []
            return _encode_fields([*fields, *(("data", line) for line in _LINE_BREAK.split(data))])
        case LastEventId(id):
            return _encode_fields([("id", id)])
        case Retry(milliseconds):
            if not 0 <= milliseconds <= MAX_RETRY:
                raise LocalProtocolError("a retry that no client would take")
            return _encode_fields([("retry", f"{milliseconds:d}")])
        case Comment(text):
            return _encode_fields([("", text)])
    raise LocalProtocolError(f"{type(event).__name__} is no event of a stream: make a ServerSentEvent of it")


def _encode_fields(fields: list[tuple[str, str]]) -> bytes:
    block = "".join([f"{name}: {value}\n" for name, value in fields])
    if block.count("\n") > len(fields) or "\r" in block or any(name == "id" and "\0" in value for name, value in fields):
        raise LocalProtocolError("a line break in an id, a type or a comment, or NUL in an id")
    try:
        return f"{block}\n".encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"text that has no UTF-8: {error.reason}") from None


# ---- the connection ----------------------------------------------------------------------------------------------------


class Connection(Core):
    """One end of a stream: a SERVER sends, a CLIENT receives."""

    def __init__(self, role: Role, limits: Limits = Limits(), last_event_id: str = "") -> None:
        super().__init__(limits.max_event)
        self.role = role
        self.limits = limits
        self.last_event_id = last_event_id
        """What a client says in ``Last-Event-ID`` when it connects again."""
        self._began = False  # the first line, which may have a BOM, was read
        self._after_cr = False  # an LF that comes next is the other half of a CRLF
        self._scanned = 0  # so many bytes of the line have no end in them
        # The event being received:
        self._size = 0
        self._data: list[str] = []
        self._type = ""
        self._id: str | None = None

    def send(self, event: Event) -> bytes:
        if self.role is CLIENT:
            raise LocalProtocolError("only a server sends events")
        return encode(event)

    def _parse(self) -> Event | None:
        while (line := self._read_line()) is not None:
            event = self._take_line(line) if line else self._dispatch()
            if event is not None:
                return event
        return None

    def _read_line(self) -> str | None:
        """The next line without its end; None until it has one."""
        if self._after_cr and self._buffer.size:
            self._after_cr = False
            if self._buffer.peek(0, 1) == b"\n":
                self._buffer.skip(1)
        self._scanned = self._buffer.match(_LINE, self._scanned)
        if self._size + self._scanned > self.limits.max_event:
            raise RemoteProtocolError("event too big")
        if self._scanned == self._buffer.size:
            return None
        line = self._buffer.take(self._scanned + 1)
        self._scanned = 0
        self._after_cr = line[-1:] == b"\r"
        text = line[:-1].decode("utf-8", "replace")
        if not self._began:
            self._began = True
            return text.removeprefix(_BOM)
        return text

    def _take_line(self, line: str) -> Event | None:
        """A field or a comment."""
        name, value = parse_line(line)
        self._size += len(line) if name in ("data", "event", "id") else 0  # what else comes is not kept
        match name:
            case "":
                return Comment(value)
            case "data":
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if found := _RETRY.fullmatch(value):
                return Retry(min(int(found[1][:19] or 0), MAX_RETRY))
        return None

    def _dispatch(self) -> Event | None:
        """An empty line: the event is complete."""
        data, kind, id = self._data, self._type, self._id
        self._data, self._type, self._id, self._size = [], "", None, 0
        if id is not None:
            self.last_event_id = id
        if data:
            return ServerSentEvent("\n".join(data), kind or "message", id)
        return LastEventId(id) if id is not None else None

    def _parse_eof(self) -> Event | None:
        self.wants = Wants.CLOSED  # an event without its empty line is dropped
        return None

    @property
    def buffered(self) -> int:
        """Bytes received and not delivered yet: those of an unfinished event among them."""
        return self._buffer.size + self._size
