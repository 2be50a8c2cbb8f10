r"""Server-Sent Events: an HTTP response that never ends, in lines of text (WHATWG HTML, section "Server-sent events").

    id: 1700000000000-0       An event is a few fields, one on each line. An empty line dispatches the event.
    event: price
    data: first line          The client joins data lines with LF: this event says "first line\nsecond line".
    data: second line

    : still here              A line that begins with a colon is a comment. Comments keep proxies from closing a stream on
                              which nothing happens.

A client that has lost its connection asks again, with the id of the last event that it received in ``Last-Event-ID``. If
the server's ids name positions in a log, the stream continues without loss (``aio/sse.py``).

Line breaks are the danger in this format. CR, LF and CRLF each end a line, and two mistakes follow:

- A server that writes a user's text unchanged lets the user write fields: ``hi\nevent: admin``. ``encode`` splits data into
  lines at each kind of line break, and refuses a line break anywhere else.
- A client that reads ``data: a\r`` from the network does not know yet whether this CR is a line break or half of one. It must
  not wait for the next byte, which may be minutes away: it ends the line, and ignores an LF that comes next.

This is the second case. ``\r\n\r\n`` is cut after its third byte, the second CR; the event is complete there:

    >>> client = Connection(CLIENT)
    >>> for chunk in (b"data: a\r", b"\n\r", b"\ndata: b\n\n"):
    ...     client.receive_data(chunk)
    ...     print(chunk, list(client.events()))
    b'data: a\r' []
    b'\n\r' [ServerSentEvent(data='a', event='message', id=None)]
    b'\ndata: b\n\n' [ServerSentEvent(data='b', event='message', id=None)]

If a stream ends before an event's empty line, the client drops the event, which may be cut short. Therefore a server writes
an event's empty line in the same piece as the event.

Nothing of the format is left out. Waiting and reconnecting are up to ``aio/sse.py``.
"""

import re
from dataclasses import dataclass

from minproto.core import CLIENT, Core, Event, LocalProtocolError, RemoteProtocolError, Role, Wants, check_count, check_counts

MEDIA_TYPE = "text/event-stream"


@dataclass(frozen=True)
class Limits:
    """The sizes that a server chooses, and that a client has to bound."""

    max_event: int = 1 << 20
    """The maximum number of characters in an event's fields, and of bytes in a line.

    An event is delivered in one piece, so it must fit into memory. One mebibyte is far more than servers send, and little of
    a client's memory."""

    def __post_init__(self) -> None:
        check_counts(self)


# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ServerSentEvent(Event):
    """A message from the server; browsers call it MessageEvent. Each line break in ``data`` arrives as LF (§9.2.6).

    Raises TypeError for a field that is not str, and ValueError for a line break in a type or an id, for NUL in an id, and for
    text that UTF-8 cannot encode. The fields are checked when the event is made, not later in the middle of a stream.
    """

    data: str
    event: str = "message"
    """The type, by which a page chooses its listener: ``source.addEventListener("price", …)``."""
    id: str | None = None
    """None: the event has no id, so the last event id is unchanged."""

    def __post_init__(self) -> None:
        _check_text("data", self.data)
        _check_text("event", self.event, "\r\n")
        if self.id is not None:  # §9.2.4: no client could send such an id back
            _check_text("id", self.id, "\r\n\0")


@dataclass(slots=True)
class LastEventId(Event):
    """An id without data. A client that loses its connection before the next event resumes from this id."""

    id: str

    def __post_init__(self) -> None:
        _check_text("id", self.id, "\r\n\0")


@dataclass(slots=True)
class Retry(Event):
    """The time that a client should wait before reconnecting, in milliseconds."""

    milliseconds: int

    def __post_init__(self) -> None:
        check_count("milliseconds", self.milliseconds, 0, MAX_RETRY)


@dataclass(slots=True)
class Comment(Event):
    """A line that clients ignore."""

    text: str = ""

    def __post_init__(self) -> None:
        _check_text("text", self.text, "\r\n")


def _check_text(name: str, value: object, forbidden: str = "") -> None:
    """Check a field of an event that a program makes. Raises TypeError or ValueError, whose text shows the value.

    Otherwise a wrong field would fail when it is sent: in the middle of a stream, far from the line that made it.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} has to be str, not {value!r:.60}")
    for character in forbidden:
        if character in value:
            raise ValueError(f"{name} has to be text without {character!r}, not {value!r:.60}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} has to be text that UTF-8 can encode ({error.reason}), not {value!r:.60}") from None


# ---- lines (§9.2.5) --------------------------------------------------------------------------------------------------
#
#   stream      = [ BOM ] *( *( comment / field ) end-of-line )
#   field       = name [ ":" [ space ] value ] end-of-line
#   comment     = ":" text end-of-line
#   end-of-line = CRLF / LF / CR

# A server splits its data at each of the three (§9.2.6), and a client ends a line at each (§9.2.5); nothing else ends a line.
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(rb"[^\r\n]*+")
_BOM = "\ufeff"
_RETRY = re.compile(r"(?=[0-9])0*+([0-9]*+)")  # §9.2.6: ASCII digits alone; the group leaves out leading zeros
MAX_RETRY = 10**18 - 1
"""Milliseconds, some 30 million years. The standard has no bound, so a client treats a longer time as this time."""


def parse_line(line: str) -> tuple[str, str]:
    """Split a line into the name and the value of its field: ``data: a`` is ("data", "a"); a comment is "" (§9.2.6)."""
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")


def encode(event: Event) -> bytes:
    """Return the bytes of an event. The client receives an equal event, except that line breaks in ``data`` become LF, and
    an empty type becomes ``message``. Each line of ``data`` is a field of its own (§9.2.6).

        >>> encode(ServerSentEvent("two\\nlines", "price", "7"))
        b'id: 7\\nevent: price\\ndata: two\\ndata: lines\\n\\n'

    Events check their fields when they are made, but a field may have been changed since then. Raises LocalProtocolError for
    a line break in a type, an id or a comment; for NUL in an id, since clients would ignore such an id; for a retry out of
    range; for text that UTF-8 cannot encode; and for an event of another protocol.
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
                raise LocalProtocolError(f"retry is from 0 to {MAX_RETRY} milliseconds, not {milliseconds}")
            return _encode_fields([("retry", f"{milliseconds:d}")])
        case Comment(text):
            return _encode_fields([("", text)])
    raise LocalProtocolError(f"{type(event).__name__} is not an event of a stream: make a ServerSentEvent of it")


def _encode_fields(fields: list[tuple[str, str]]) -> bytes:
    """Return the lines of an event's fields, in UTF-8 (§9.2.5), and the empty line that dispatches the event.

    A comment has the name "". An id with NUL is refused, since clients could not send it back (§9.2.4).
    """
    block = "".join([f"{name}: {value}\n" for name, value in fields])
    # One LF ends each field. Any further line break is inside a value, and would let the value add a field of its own.
    if block.count("\n") > len(fields) or "\r" in block or any(name == "id" and "\0" in value for name, value in fields):
        raise LocalProtocolError("an id, a type or a comment has a line break in it, or an id has NUL")
    try:
        return f"{block}\n".encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"the text cannot be encoded as UTF-8: {error.reason}") from None


# ---- the connection ----------------------------------------------------------------------------------------------------


class Connection(Core):
    """One end of an event stream: a SERVER sends events, a CLIENT receives them.

    The fields of an event are collected line by line. An empty line delivers them, and the next event begins. A comment and a
    retry are delivered at once, since no other line adds to them.
    """

    def __init__(self, role: Role, limits: Limits = Limits(), last_event_id: str = "") -> None:
        super().__init__(limits.max_event)
        self.role = role
        self.limits = limits
        self.last_event_id = last_event_id
        """The id for the ``Last-Event-ID`` field when the client reconnects; "" if there is no id."""
        self._began = False  # the first line has been read: only that line may begin with a byte order mark (BOM)
        self._after_cr = False  # the last line ended with CR: an LF that comes next is the other half of a CRLF
        self._scanned = 0  # bytes of the unfinished line that have been searched for a line break
        # The fields of the unfinished event, and their size in characters:
        self._size = 0
        self._data: list[str] = []
        self._type = ""
        self._id: str | None = None

    def send(self, event: Event) -> bytes:
        """Return the bytes of an event, as ``encode`` does. A client has nothing to send here: it only makes the request."""
        if self.role is CLIENT:
            raise LocalProtocolError("a client of an event stream sends nothing")
        return encode(event)

    def _parse(self) -> Event | None:
        """Read lines until one of them, mostly an empty line, completes an event (§9.2.6).

        ``wants`` stays DATA: a stream has no end of its own."""
        while (line := self._read_line()) is not None:
            event = self._take_line(line) if line else self._dispatch()
            if event is not None:
                return event
        return None

    def _read_line(self) -> str | None:
        """Return the next line, decoded as UTF-8, without its line break (§9.2.5); None until the line break has arrived.

        ``_scanned`` remembers how far the unfinished line was searched. Without it, a line of a megabyte that arrives byte by
        byte would be searched a million times. Raises RemoteProtocolError if the event exceeds the limit.
        """
        if self._after_cr and self._buffer.size:
            self._after_cr = False
            if self._buffer.peek(0, 1) == b"\n":
                self._buffer.skip(1)
        self._scanned = self._buffer.match(_LINE, self._scanned)
        if self._size + self._scanned > self.limits.max_event:
            raise RemoteProtocolError(f"the event is too big: over {self.limits.max_event:,} characters")
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
        """Store a field, or return the event for a comment or a retry. Fields with unknown names are ignored (§9.2.6)."""
        name, value = parse_line(line)
        self._size += len(line) if name in ("data", "event", "id") else 0  # other lines are not kept
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
                return Retry(min(int(found[1][:19] or 0), MAX_RETRY))  # MAX_RETRY has 18 digits; reading more costs time
        return None

    def _dispatch(self) -> Event | None:
        """Return the event that an empty line has completed (§9.2.6): without data, a LastEventId; None without an id, too."""
        data, kind, id = self._data, self._type, self._id
        self._data, self._type, self._id, self._size = [], "", None, 0
        if id is not None:
            self.last_event_id = id
        if data:
            return ServerSentEvent("\n".join(data), kind or "message", id)
        return LastEventId(id) if id is not None else None

    def _parse_eof(self) -> Event | None:
        self.wants = Wants.CLOSED  # §9.2.6, "discard": an event without its empty line may be cut short
        return None

    @property
    def buffered(self) -> int:
        """The number of bytes received but not delivered yet, including the fields of the unfinished event."""
        return self._buffer.size + self._size
