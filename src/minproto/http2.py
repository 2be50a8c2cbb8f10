"""HTTP/2: many exchanges at once on one connection (RFC 9113).

Each exchange has a *stream*: a number, and frames that carry it. A head is a block of fields, compressed against a table that
both ends build up alike (HPACK, RFC 7541); content is DATA frames. A frame can be followed by one of any other stream, so a
slow answer stops no other; what each may send is bounded by windows (``http2_flow.py``), so a slow reader stops no other.

What is hard is that everything is shared. One wrong byte in a block of fields spoils the table for all streams, so each block
is decoded, also those of streams that we refuse. Credit for bytes has to come back, also for those that we throw away. And a
frame costs its sender next to nothing, so whatever a peer can ask for again and again has a ``Budget`` that progress refills:
without one, resets, settings, pings and empty frames are attacks (CVE-2019-9512 to 9518, 2023-44487, 2024-27316, 2025-8671).

A fault is of one stream, told as a ``StreamFault`` whose reply is a reset, or of the connection, which raises and whose
farewell is GOAWAY (§5.4). A malformed request is of the first kind (§8.1.1).

The core holds no content to be sent. ``sendable`` says what both windows let through, ``offer`` that there is something to
send, and ``next_ready`` whose turn it is and for how much.

Left out: push (§8.4; browsers have removed it), the tree of priorities of RFC 7540 (§5.3.2 retired it) and PRIORITY_UPDATE
(RFC 9218 §7: it changes a priority later, which few clients do; the first is in the ``priority`` field), frames above 16 KiB,
and Upgrade: h2c.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from minproto import http2_frames as frames
from minproto.core import (
    CLIENT,
    SERVER,
    Core,
    Event,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    Role,
    Wants,
    check_counts,
)
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead, has_no_content
from minproto.http2_fields import (
    WITHOUT_CONTENT,
    FieldCoder,
    Fields,
    claimed_head,
    content_length,
    declared_length,
    excess,
    malformed,
    parse_request,
    parse_response,
    parse_trailers,
    request_fields,
    response_fields,
    trailer_fields,
)
from minproto.http2_flow import DEFAULT_WINDOW, ReceiveWindow, Scheduler, SendWindow, parse_priority
from minproto.http2_frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADER_SIZE,
    MAX_FRAME,
    MAX_ID,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Frame,
    Header,
    StreamError,
)
from minproto.http2_streams import (
    CLOSED,
    HALF_CLOSED_LOCAL,
    HALF_CLOSED_REMOTE,
    OPEN,
    RECEIVE_DATA,
    RECEIVE_END,
    RECEIVE_HEADERS,
    RECEIVE_RESET,
    SEND_DATA,
    SEND_END,
    SEND_HEADERS,
    SEND_RESET,
    TRANSITIONS,
    Budget,
    ClosedStreams,
    Step,
    Stream,
)


@dataclass(frozen=True)
class Limits:
    """What a peer could make unbounded. Bytes unless said otherwise."""

    max_streams: int = 100
    """Open at once; §6.5.2 recommends no fewer. Each is a task of the app. One more is refused, and can be tried again."""
    stream_window: int = 131_072
    """That one stream may have waiting for the app. Times ``max_streams`` it bounds the memory of a connection."""
    connection_window: int = 1 << 20
    """That may be under way on all streams: credit comes back on receipt, so one app that is slow stops no other's upload."""
    max_start_line: int = 8_192
    """Method and target, with the spaces and the version that HTTP/1.1 would write beside them. Else 414, as in HTTP/1.1."""
    max_head: int = 65_536
    """Fields of a head after decoding, each with 32 bytes on top (§6.5.2). Else 431, as in HTTP/1.1; a response is reset."""
    max_headers: int = 100
    """Fields of a head, all cookies together as one. Else 431, as in HTTP/1.1; a response is reset."""
    max_block: int = 131_072
    """A field block in all its frames, and what it decodes to: beyond it the connection ends, since it can't be skipped."""
    max_settings: int = 32
    """Settings in a frame: some ten are known, and a new window has to be applied to each stream."""
    max_resets: int = 200
    """Streams that end early, by a reset of the peer's or for its fault. A stream that ends in time gives four back: as
    long as one in five does, the others may be cancelled for ever."""
    max_idle_frames: int = 1_000
    """Frames that bring nothing: settings, pings, credit, empty or unknown ones. Content, new streams and those that end in
    time give back: four for an end, since a right exchange has some of such frames, too."""

    def __post_init__(self) -> None:
        window, setting = (1, 2**31 - 1), (1, 2**32 - 1)  # §6.9.1, §6.5.1
        check_counts(self, max_streams=setting, stream_window=window, connection_window=window, max_head=setting)


_CREDIT_PORTION = 256
"""Bytes of content that we sent, for which a peer may well give back credit in a frame: some do for each read of their app."""


# ---- events ----------------------------------------------------------------------------------------------------------
#
# Heads, Data and EndOfMessage are those of ``http.py``. These are the connection's own; ``stream`` 0 is the connection.


@dataclass(slots=True)
class Settings(Event):
    """What its sender wants the other to keep to: (identifier, value) pairs, in order (§6.5)."""

    values: list[tuple[int, int]]


@dataclass(slots=True)
class SettingsAck(Event):
    """The other keeps to the oldest settings that were not acknowledged yet (§6.5.3)."""


@dataclass(slots=True)
class Ping(Event):
    """Eight bytes, and the same ones back (§6.7)."""

    data: bytes
    ack: bool = False


@dataclass(slots=True)
class WindowUpdate(Event):
    """Credit for so many more bytes of DATA (§6.9)."""

    stream: int
    increment: int


@dataclass(slots=True)
class Consumed(Event):
    """To be sent: the app has taken so many bytes of a stream, so their credit can go back. It arrives as a WindowUpdate."""

    stream: int
    count: int


@dataclass(slots=True)
class Discarded(Event):
    """Received: bytes for a stream that is over. They are gone, and their credit for the connection goes back."""

    stream: int
    count: int


@dataclass(slots=True)
class Reset(Event):
    """A stream ends at once, for both (§6.4)."""

    stream: int
    code: int = CANCEL


@dataclass(slots=True)
class StreamFault(Event):
    """Received: the peer broke a rule on one stream, which is over for that. The reply is a Reset, unless the fault has a
    ``status``: then the stream is open for a response with it, like that of any request."""

    stream: int
    code: int
    reason: str
    head: RequestHead | None = None
    """What a request that can't be taken claims to ask for."""
    status: int = 0


@dataclass(slots=True)
class GoAway(Event):
    """No stream above ``last`` was, or will be, looked at; those up to it go on (§6.8)."""

    last: int
    code: int = NO_ERROR
    debug: bytes = b""


# ---- the connection ----------------------------------------------------------------------------------------------------


class Connection(Core):
    """One end of an HTTP/2 connection. The first thing to send is ``greeting()``."""

    def __init__(self, role: Role, limits: Limits = Limits(), scheme: str = "https") -> None:
        """``scheme``: that of a client's requests."""
        super().__init__(HEADER_SIZE + MAX_FRAME)
        self.role = role
        self.limits = limits
        self._scheme = scheme
        self.peer: dict[int, int] = {}
        """The settings of the peer, as far as it said any."""
        self.next_stream = 1
        """As a client: the id of the next request."""
        self.last_stream = 0
        """As a server: the highest id that a request had."""
        self.going_away: GoAway | None = None
        """The peer's last word about which streams it will look at."""
        self.settled = False
        """Its first settings have come."""
        self._streams: dict[int, Stream] = {}
        self._closed = ClosedStreams()
        self._unsaid: set[int] = set()  # streams that ended with their declared length: their EndOfMessage says nothing
        self._faults: dict[int, int] = {}  # streams to be reset, with the code: they are gone already
        self._last_allowed = MAX_ID  # the highest stream that we said we would look at
        self._events: list[Event] = []  # of the frame that was parsed last: few, mostly one
        # Receiving
        self._preface = PREFACE if role is SERVER else b""  # what is still to come of it
        self._header: Header | None = None  # of the frame whose payload is awaited
        self._block = bytearray()  # the field block that is not complete yet,
        self._block_stream = 0  # its stream, or 0,
        self._block_ends = False  # and whether it is the last that its stream sends
        self._coder = FieldCoder(limits.max_block)
        self._window = ReceiveWindow(limits.connection_window)
        self._stream_window = DEFAULT_WINDOW  # of new streams, as the peer knows it
        self._unacknowledged: list[Settings] = []
        self._to_acknowledge = 0
        self._resets = Budget(limits.max_resets, "streams that were reset")
        self._idle_frames = Budget(limits.max_idle_frames, "frames that bring nothing")
        # Sending
        self._greeted = False
        self._send_window = SendWindow()
        self._initial_send_window = DEFAULT_WINDOW
        self._scheduler = Scheduler()

    def greeting(self) -> Settings:
        """Our first settings (§3.4), by our limits."""
        values = [(frames.INITIAL_WINDOW_SIZE, self.limits.stream_window), (frames.MAX_HEADER_LIST_SIZE, self.limits.max_head)]
        if self.role is CLIENT:
            return Settings([(frames.ENABLE_PUSH, 0), *values])
        values += [(frames.ENABLE_CONNECT_PROTOCOL, 1), (frames.NO_RFC7540_PRIORITIES, 1)]
        return Settings([(frames.MAX_CONCURRENT_STREAMS, self.limits.max_streams), *values])

    @property
    def acknowledged(self) -> bool:
        """Whether the peer has acknowledged all of our settings."""
        return not self._unacknowledged

    @property
    def in_frame(self) -> bool:
        """Whether something has begun that the peer has to complete: a frame, a field block, the preface."""
        return self._buffer.size > 0 or self._header is not None or self._block_stream != 0 or not self.settled

    @property
    def content_awaited(self) -> int:
        """Bytes of DATA that the frame that has begun will have; 0 where it is of another type, or none has."""
        return self._header.length if self._header is not None and self._header.type == frames.DATA else 0

    @property
    def buffered(self) -> int:
        """Bytes received and not parsed yet: those of an unfinished field block among them."""
        return self._buffer.size + len(self._block)

    def calm(self, frames_: int) -> None:
        """Time has gone by, in which so many frames are nobody's attack. The shell knows how much time; we have no clock."""
        self._idle_frames.refund(frames_)
        self._resets.refund(frames_)

    # -- receiving

    def _parse(self) -> Event | None:
        while not self._events:
            frame = self._next_frame()
            if frame is None:
                self.wants = Wants.DATA
                return None
            self._receive(frame)
        return self._events.pop(0)

    def _parse_eof(self) -> Event | None:
        if not self.settled:
            raise RemoteProtocolError("this is not HTTP/2: it was closed before the first SETTINGS", PROTOCOL_ERROR)
        if self.in_frame or any(stream.state in (OPEN, HALF_CLOSED_LOCAL) for stream in self._streams.values()):
            raise RemoteProtocolError("connection closed in the middle of a message", PROTOCOL_ERROR)
        self.wants = Wants.CLOSED
        return None

    def _next_frame(self) -> Frame | None:
        """A frame that is complete. What its header shows to be wrong is not waited for."""
        if self._preface and not self._read_preface():
            return None
        header = self._header
        if header is None:
            if self._buffer.size < HEADER_SIZE:
                return None
            header = frames.parse_header(self._buffer.peek(0, HEADER_SIZE))
            self._check_order(header)
            frames.check_header(header)
            self._check_room(header)
            self._buffer.skip(HEADER_SIZE)
            self._header = header
        if self._buffer.size < header.length:
            return None
        self._header = None
        return Frame(header.type, header.flags, header.stream, self._buffer.take(header.length))

    def _read_preface(self) -> bool:
        """§3.4: a server MUST treat an invalid one as a connection error."""
        found = self._buffer.take(len(self._preface))
        if not self._preface.startswith(found):
            raise RemoteProtocolError("this is not the preface of HTTP/2", PROTOCOL_ERROR)
        self._preface = self._preface[len(found) :]
        return not self._preface

    def _check_order(self, header: Header) -> None:
        if not self.settled and (header.type != frames.SETTINGS or header.flags & frames.ACK):  # §3.4
            raise RemoteProtocolError("this is not HTTP/2: the first frame has to be SETTINGS", PROTOCOL_ERROR)
        continues = header.type == frames.CONTINUATION
        if continues != (self._block_stream != 0) or (continues and header.stream != self._block_stream):
            # §6.2, §6.10: between HEADERS and the last CONTINUATION of a block nothing else may come, on any stream
            raise RemoteProtocolError("a field block that is interrupted, or continued without a beginning", PROTOCOL_ERROR)

    def _check_room(self, header: Header) -> None:
        """What goes beyond a bound of ours is refused before it comes."""
        length, type_, _, _ = header
        if type_ == frames.DATA:
            if length > self._window.window:  # §6.9.1
                raise RemoteProtocolError("DATA beyond the connection's window", FLOW_CONTROL_ERROR)
        elif type_ == frames.HEADERS or type_ == frames.CONTINUATION:
            if len(self._block) + length > self.limits.max_block:
                raise RemoteProtocolError("a field block too large", ENHANCE_YOUR_CALM)
        elif type_ == frames.SETTINGS and length > self.limits.max_settings * frames.SETTING_SIZE:
            raise RemoteProtocolError("too many settings in a frame", ENHANCE_YOUR_CALM)

    def _receive(self, frame: Frame) -> None:
        receive = self._RECEIVERS.get(frame.type)
        if receive is None:  # §5.5: MUST be discarded
            return self._idle_frames.spend()
        try:
            receive(self, frame)
        except StreamError as error:
            self._fault(frame.stream, error)

    def _fault(self, id_: int, error: StreamError, head: RequestHead | None = None) -> None:
        """A stream is over, for its peer's fault."""
        if self._is_idle(id_):  # what was never opened can't be reset
            raise RemoteProtocolError(str(error), error.code)
        if error.code == REFUSED_STREAM and not self.acknowledged:
            self._idle_frames.refund(4)  # the peer did not know how many streams it may open, and has sent more on this one
        else:
            self._resets.spend()
        if stream := self._streams.get(id_):
            self._move(stream, SEND_RESET)
        self._closed.add(id_, late=True)
        self._faults[id_] = error.code
        self._events.append(StreamFault(id_, error.code, str(error), head))

    def _is_idle(self, id_: int) -> bool:
        """Whether a stream was never opened (§5.1). Those with an even id would be pushed."""
        return id_ & 1 == 0 or (id_ > self.last_stream if self.role is SERVER else id_ >= self.next_stream)

    def _find(self, id_: int) -> Stream | None:
        """A stream that a frame came for; None where it is closed in a way that lets frames still come (§5.1)."""
        stream = self._streams.get(id_)
        if stream is None and not self._is_turned_away(id_):
            self._check_opened(id_)
            self._closed.check(id_)
        return stream

    def _check_opened(self, id_: int) -> None:
        """§5.1: but for HEADERS and PRIORITY, nothing may come on a stream before it is opened."""
        if self._is_idle(id_) and not self._is_turned_away(id_):
            raise RemoteProtocolError("a frame on a stream that is idle", PROTOCOL_ERROR)

    def _is_turned_away(self, id_: int) -> bool:
        """§6.8: after our GOAWAY, what comes on a stream above its last one is ignored."""
        return id_ > self._last_allowed and self.role is SERVER and id_ & 1 == 1

    def _receive_data(self, frame: Frame) -> None:
        data = frames.parse_data(frame)
        size = len(frame.payload)
        self._window.receive(size)
        self._window.consume(size)
        ends = frame.flags & frames.END_STREAM != 0
        stream = self._find(frame.stream)
        if not data and not (ends and stream):
            self._idle_frames.spend()  # CVE-2019-9518
        try:
            if stream is not None:
                return self._receive_content(stream, data, size, ends)
        except StreamError as error:  # here, and not in _receive, since the bytes of a fault are used up like others:
            self._fault(frame.stream, error)
        if size:
            self._events.append(Discarded(frame.stream, size))

    def _receive_content(self, stream: Stream, data: bytes, size: int, ends: bool) -> None:
        self._move(stream, RECEIVE_DATA)
        if not stream.head_received:
            raise malformed("DATA before the head")
        if not stream.receive_window.receive(size):
            raise StreamError("DATA beyond the stream's window", FLOW_CONTROL_ERROR)
        stream.padding += size - len(data)
        if stream.receive_left is not None:
            stream.receive_left -= len(data)
            if stream.receive_left < 0 or (ends and stream.receive_left):
                raise _wrong_length(stream)
        if data:
            self._idle_frames.refund(2)  # progress; gRPC, for one, pings around it, to measure the line
        if size:  # padding alone is told, too: its credit has to go back
            self._events.append(Data(data, stream.id))
        if ends:
            self._receive_end(stream, Headers())

    def _receive_end(self, stream: Stream, trailers: Headers) -> None:
        if stream.receive_left:
            raise _wrong_length(stream)
        self._events.append(EndOfMessage(trailers, stream.id))
        self._move(stream, RECEIVE_END)

    def _receive_headers(self, frame: Frame) -> None:
        self._block_ends = frame.flags & frames.END_STREAM != 0
        self._receive_block(frame, frames.parse_headers(frame))

    def _receive_continuation(self, frame: Frame) -> None:
        self._idle_frames.spend()  # CVE-2024-27316: they may be empty, and without end
        self._receive_block(frame, frame.payload)

    def _receive_block(self, frame: Frame, part: bytes) -> None:
        self._block += part
        self._block_stream = frame.stream
        if frame.flags & frames.END_HEADERS:
            block, self._block, self._block_stream = bytes(self._block), bytearray(), 0
            self._receive_fields(frame.stream, self._coder.decode(block))

    def _receive_fields(self, id_: int, fields: Fields) -> None:
        if self.role is SERVER and self._is_idle(id_):
            if id_ & 1 == 0:
                raise RemoteProtocolError("a client's stream has an odd id", PROTOCOL_ERROR)  # §5.1.1
            try:
                return self._receive_request(id_, fields)
            except StreamError as error:
                return self._fault(id_, error, claimed_head(fields, id_))
        stream = self._find(id_)
        if stream is None:
            return self._idle_frames.spend()
        self._move(stream, RECEIVE_HEADERS)
        if not stream.head_received:
            return self._receive_response(stream, fields)
        if not self._block_ends:
            raise malformed("a second head, or trailers without END_STREAM")  # §8.1
        trailers = parse_trailers(fields)
        reason = excess(trailers, self.limits.max_head, self.limits.max_headers)
        if reason and (self.role is CLIENT or stream.head_sent):
            raise StreamError(reason, ENHANCE_YOUR_CALM)
        self._receive_end(stream, trailers)
        if reason:
            self._events[-1] = StreamFault(id_, ENHANCE_YOUR_CALM, reason, None, 431)

    def _receive_request(self, id_: int, fields: Fields) -> None:
        """A new stream (§5.1.1). Whatever becomes of it, its id is used up."""
        if self._is_turned_away(id_):
            return self._idle_frames.refund(4)  # for what belongs to it: the client may not know of our GOAWAY yet
        self.last_stream = id_
        if len(self._streams) >= self.limits.max_streams:  # §5.1.2
            raise StreamError("too many streams", REFUSED_STREAM)
        head = parse_request(fields, id_)
        length = content_length(head.headers)
        if length and self._block_ends:
            raise malformed(f"Content-Length is {length}, and no content came")  # §8.1.1
        stream = self._open(id_, head)
        self._move(stream, RECEIVE_HEADERS)
        stream.head_received = True
        stream.receive_left = stream.length = length
        stream.priority = parse_priority(head.headers.get("priority"))
        self._idle_frames.refund(1)
        status, reason = self._refusal(head)
        self._events.append(StreamFault(id_, ENHANCE_YOUR_CALM, reason, head, status) if status else head)
        if self._block_ends:
            self._receive_end(stream, Headers())

    def _refusal(self, head: RequestHead) -> tuple[int, str]:
        """The status, and the reason, for which HTTP/1.1 would refuse a head as too large; (0, "") if it would not."""
        line, most = f"{head.method} {head.target} HTTP/1.1", self.limits.max_start_line
        if len(line) > most:
            status = 501 if len(head.method) > most else 414  # RFC 9112 §3
            return status, f"{len(line)} bytes of method and target, and max_start_line is {most}"
        reason = excess(head.headers, self.limits.max_head, self.limits.max_headers, line)
        return (431 if reason else 0), reason

    def _receive_response(self, stream: Stream, fields: Fields) -> None:
        head = parse_response(fields, stream.id)
        if reason := excess(head.headers, self.limits.max_head, self.limits.max_headers):
            raise StreamError(reason, ENHANCE_YOUR_CALM)
        if head.status < 200:
            if self._block_ends:  # §8.1
                raise malformed("an interim response that ends its stream")
            self._idle_frames.spend()
            self._events.append(head)
            return
        stream.head_received = True
        if not _is_tunnel(stream, head):  # whose Content-Length means nothing (RFC 9110 §9.3.6)
            stream.receive_left = 0 if has_no_content(stream.method, head.status) else content_length(head.headers)
        stream.length = stream.receive_left
        if stream.receive_left and self._block_ends:
            raise _wrong_length(stream)
        self._events.append(head)
        if self._block_ends:
            self._receive_end(stream, Headers())

    def _open(self, id_: int, head: RequestHead) -> Stream:
        stream = Stream(id_, self._initial_send_window, self._stream_window)
        stream.method = head.method
        self._streams[id_] = stream
        return stream

    def _receive_priority(self, frame: Frame) -> None:
        self._idle_frames.spend()
        frames.check_priority(frame)

    def _receive_reset(self, frame: Frame) -> None:
        self._check_opened(frame.stream)  # §6.4
        stream = self._streams.get(frame.stream)
        if stream is None:
            self._closed.end(frame.stream)
            return self._idle_frames.spend()
        code = frames.parse_number(frame.payload)
        if self.role is SERVER:  # CVE-2023-44487
            self._resets.spend()
        self._move(stream, RECEIVE_RESET)
        self._events.append(Reset(frame.stream, code))

    def _receive_settings(self, frame: Frame) -> None:
        if self.settled:
            self._idle_frames.spend()
        self.settled = True
        if frame.flags & frames.ACK:
            return self._receive_acknowledgement()
        settings = frames.parse_settings(frame.payload)
        for name, value in settings:  # §6.5.3: in the order in which they appear
            self._apply(name, value)
        self._to_acknowledge += 1
        self._events.append(Settings(settings))

    def _receive_acknowledgement(self) -> None:
        if not self._unacknowledged:
            return
        for name, value in self._unacknowledged.pop(0).values:
            if name == frames.INITIAL_WINDOW_SIZE:
                change = value - self._stream_window
                self._stream_window = value
                for stream in self._streams.values():
                    stream.receive_window.resize(stream.receive_window.size + change)
            elif name == frames.HEADER_TABLE_SIZE:
                self._coder.allow_table(value)
        self._events.append(SettingsAck())

    def _apply(self, name: int, value: int) -> None:
        """Keep to a setting of the peer's."""
        if name == frames.HEADER_TABLE_SIZE:
            self._coder.limit_table(value)
        elif name == frames.INITIAL_WINDOW_SIZE:
            self._idle_frames.spend()  # a frame can have many of them, and each is a step for each stream
            change = value - self._initial_send_window
            self._initial_send_window = value
            for stream in self._streams.values():
                self._grow(stream, change, RemoteProtocolError)
        elif name == frames.ENABLE_PUSH and value and self.role is CLIENT:  # §6.5.2
            raise RemoteProtocolError("a server can't enable push", PROTOCOL_ERROR)
        elif name == frames.ENABLE_CONNECT_PROTOCOL and not value and self.peer.get(name):  # RFC 8441 §3
            raise RemoteProtocolError("what was enabled can't be disabled", PROTOCOL_ERROR)
        self.peer[name] = value

    def _grow(self, stream: Stream, change: int, fault: Callable[[str, int], Exception]) -> None:
        if not stream.send_window.grow(change):
            raise fault("a window over 2^31-1", FLOW_CONTROL_ERROR)  # §6.9.1, §6.9.2
        self._schedule(stream)

    def _receive_ping(self, frame: Frame) -> None:
        self._idle_frames.spend()
        self._events.append(Ping(frame.payload, frame.flags & frames.ACK != 0))

    def _receive_goaway(self, frame: Frame) -> None:
        self._idle_frames.spend()
        last, code, debug = frames.parse_goaway(frame.payload)
        if self.going_away is not None and last > self.going_away.last:  # §6.8
            raise RemoteProtocolError("a GOAWAY whose last stream grows", PROTOCOL_ERROR)
        self.going_away = GoAway(last, code, debug)
        self._events.append(self.going_away)
        if self.role is CLIENT:  # no frame will come for the streams above: they are over, and can be tried elsewhere (§8.7)
            for stream in [stream for id_, stream in self._streams.items() if id_ > last]:
                self._move(stream, RECEIVE_RESET)
                self._events.append(Reset(stream.id, REFUSED_STREAM))

    def _receive_window_update(self, frame: Frame) -> None:
        self._idle_frames.spend()
        increment = frames.parse_window_update(frame.payload)
        if not frame.stream:
            if not increment:
                raise RemoteProtocolError("an increment of 0", PROTOCOL_ERROR)  # §6.9
            if not self._send_window.grow(increment):
                raise RemoteProtocolError("a window over 2^31-1", FLOW_CONTROL_ERROR)
        else:
            self._check_opened(frame.stream)
            if not increment:  # of a stream that is closed, too: no state makes it right
                raise malformed("an increment of 0")
            stream = self._streams.get(frame.stream)
            if stream is None:
                return  # §5.1: it may come for a while after the stream was closed
            self._grow(stream, increment, StreamError)
        self._events.append(WindowUpdate(frame.stream, increment))

    _RECEIVERS: ClassVar[dict[int, Callable[["Connection", Frame], None]]] = {
        frames.DATA: _receive_data,
        frames.HEADERS: _receive_headers,
        frames.PRIORITY: _receive_priority,
        frames.RST_STREAM: _receive_reset,
        frames.SETTINGS: _receive_settings,
        frames.PING: _receive_ping,
        frames.GOAWAY: _receive_goaway,
        frames.WINDOW_UPDATE: _receive_window_update,
        frames.CONTINUATION: _receive_continuation,
    }

    # -- the state, moved by what passes in either direction

    def _move(self, stream: Stream, step: Step) -> None:
        """Take a step of the table. Raises StreamError where the peer could not take it."""
        state = TRANSITIONS.get((stream.state, step))
        if state is None:
            raise StreamError(f"{step.name} in {stream.state.name}", STREAM_CLOSED)  # §5.1
        before, stream.state = stream.state, state
        if step is SEND_END or state is CLOSED:
            self.withdraw(stream.id)
        if state is CLOSED:
            del self._streams[stream.id]
            self._closed.add(stream.id, late=step is SEND_RESET and before is not HALF_CLOSED_REMOTE)
            if step is SEND_END or step is RECEIVE_END:
                self._resets.refund(4)
                self._idle_frames.refund(4)
            else:
                self._unsaid.discard(stream.id)

    # -- whose turn it is to send

    def sendable(self, stream: int) -> int:
        """Bytes of content that both windows let a stream send now; 0 also where it is closed."""
        found = self._streams.get(stream)
        return max(0, min(found.send_window.size, self._send_window.size)) if found else 0

    def offer(self, stream: int) -> bool:
        """A stream has content to send: ``next_ready`` will tell its turn. False where it can have none any more."""
        found = self._streams.get(stream)
        if found is None or (found.state, SEND_DATA) not in TRANSITIONS:
            return False
        found.offering = True
        self._schedule(found)
        return True

    def withdraw(self, stream: int) -> None:
        """It has none any more."""
        found = self._streams.get(stream)
        if found is not None:
            found.offering = False
            self._schedule(found)

    def _schedule(self, stream: Stream) -> None:
        """Only streams that could send take part in the round."""
        ready = stream.offering and stream.send_window.size > 0
        if ready and stream.id not in self._scheduler:
            self._scheduler.add(stream.id, *stream.priority)
        elif not ready and stream.id in self._scheduler:
            self._scheduler.remove(stream.id)

    @property
    def is_ready(self) -> bool:
        """Whether somebody has a turn."""
        return len(self._scheduler) > 0 and self._send_window.size > 0

    def next_ready(self) -> tuple[int, int] | None:
        """Whose turn it is, and how many bytes its next Data may have; None where nobody has something that can be sent."""
        if self._send_window.size <= 0 or (id_ := self._scheduler.next()) is None:
            return None
        return id_, min(self._send_window.size, self._streams[id_].send_window.size, MAX_FRAME)

    # -- sending

    def send(self, event: Event) -> bytes:
        send = self._SENDERS.get(type(event))
        if send is None or (not self._greeted and type(event) is not Settings):
            raise LocalProtocolError(f"can't send {type(event).__name__}" + ("" if self._greeted else " before the greeting"))
        return send(self, event)

    def _sending(self, id_: int, step: Step) -> Stream:
        """The stream that something is to be sent on."""
        stream = self._streams.get(id_)
        if stream is None or (stream.state, step) not in TRANSITIONS or id_ in self._unsaid:
            state = stream.state.name if stream else "closed, or was never open"
            raise LocalProtocolError(f"{step.name} on stream {id_}, which is {state}")
        return stream

    def _send_request(self, head: RequestHead) -> bytes:
        if self.role is SERVER or head.stream != self.next_stream or head.stream > MAX_ID:
            raise LocalProtocolError("a request is a client's, on the next stream")
        if self.going_away is not None:
            raise LocalProtocolError("the server takes no more requests on this connection")
        if len(self._streams) >= self.max_active:
            raise LocalProtocolError("the server allows no more streams at once")
        if head.protocol and not self.peer.get(frames.ENABLE_CONNECT_PROTOCOL):
            raise LocalProtocolError("the server knows no extended CONNECT")  # RFC 8441 §3
        fields = request_fields(head, self._scheme)
        length = declared_length(head.headers)
        if length is None and head.method in WITHOUT_CONTENT:
            length = 0
        stream = self._open(head.stream, head)
        self.next_stream += 2
        return self._send_head(stream, fields, length)

    def is_open(self, stream: int) -> bool:
        """Whether a stream is open, or half-closed: whether a Reset would have a meaning."""
        return stream in self._streams

    @property
    def active(self) -> int:
        """Streams that are open, or half-closed."""
        return len(self._streams)

    @property
    def max_active(self) -> int:
        """Streams that the peer lets us have open at once: any number if its settings don't say (§5.1.2), and the number that
        they should have at least, as long as they have not come (§6.5.2)."""
        return self.peer.get(frames.MAX_CONCURRENT_STREAMS, MAX_ID if self.settled else 100)

    def _send_response(self, head: ResponseHead) -> bytes:
        stream = self._sending(head.stream, SEND_HEADERS)
        if self.role is CLIENT or stream.head_sent:
            raise LocalProtocolError("a response is a server's, and has one head")
        if not 100 <= head.status <= 599 or head.status == 101:  # §8.6
            raise LocalProtocolError(f"no response of HTTP/2 has status {head.status}")
        fields = response_fields(head)
        length = declared_length(head.headers)
        if length is not None and (head.status < 200 or head.status == 204):
            raise LocalProtocolError("a 1xx and a 204 have no length")  # RFC 9110 §8.6
        if head.status < 200:
            return frames.encode_headers(head.stream, self._coder.encode(fields), False)
        if has_no_content(stream.method, head.status) and not _is_tunnel(stream, head):
            length = 0
        return self._send_head(stream, fields, length)

    def _send_head(self, stream: Stream, fields: Fields, length: int | None) -> bytes:
        """A head, which ends its stream where there is nothing to come."""
        self._move(stream, SEND_HEADERS)
        stream.head_sent = True
        stream.send_left = length
        encoded = frames.encode_headers(stream.id, self._coder.encode(fields), length == 0)
        if length == 0:
            self._end_by_length(stream)
        return encoded

    def _end_by_length(self, stream: Stream) -> None:
        self._unsaid.add(stream.id)
        self._move(stream, SEND_END)

    def _send_data(self, event: Data) -> bytes:
        if event.stream in self._unsaid:
            if event.data:
                raise LocalProtocolError("more content than its Content-Length, or none was given where it needs one")
            return b""
        stream = self._sending(event.stream, SEND_DATA)
        size, left = len(event.data), stream.send_left
        if not stream.head_sent:
            raise LocalProtocolError("Data before the head")
        if left is not None and size > left:
            raise LocalProtocolError("more content than its Content-Length")
        if size > self.sendable(event.stream):
            raise LocalProtocolError("more content than the windows allow")
        if not size:
            return b""
        ends = left == size
        encoded = _encode_data(event.stream, event.data, ends)
        self._send_window.size -= size
        stream.send_window.size -= size
        self._schedule(stream)
        self._idle_frames.refund(2 + size // _CREDIT_PORTION)  # its credit comes back in frames, of both levels
        if left is not None:
            stream.send_left = left - size
        if ends:
            self._end_by_length(stream)
        return encoded

    def _send_end(self, event: EndOfMessage) -> bytes:
        if event.stream in self._unsaid:
            if event.trailers:
                raise LocalProtocolError("what has a declared length has no trailers")
            self._unsaid.discard(event.stream)
            return b""
        stream = self._sending(event.stream, SEND_END)
        if not stream.head_sent or stream.send_left:
            raise LocalProtocolError("the message is not complete")
        fields = trailer_fields(event.trailers)
        self._move(stream, SEND_END)
        if event.trailers:
            return frames.encode_headers(event.stream, self._coder.encode(fields), True)
        return frames.encode_frame(frames.DATA, frames.END_STREAM, event.stream)

    def _send_settings(self, event: Settings) -> bytes:
        encoded = frames.encode_settings(event.values)
        if any(name == frames.MAX_FRAME_SIZE and value > MAX_FRAME for name, value in event.values):
            raise LocalProtocolError("frames above 16 KiB are not taken")
        preface = PREFACE if self.role is CLIENT and not self._greeted else b""
        self._greeted = True
        self._unacknowledged.append(event)
        return preface + encoded

    def _send_acknowledgement(self, event: SettingsAck) -> bytes:
        if not self._to_acknowledge:
            raise LocalProtocolError("there are no settings to acknowledge")
        self._to_acknowledge -= 1
        return frames.encode_frame(frames.SETTINGS, frames.ACK, 0)

    def _send_ping(self, event: Ping) -> bytes:
        if len(event.data) != 8:
            raise LocalProtocolError("a PING has eight bytes")
        return frames.encode_frame(frames.PING, frames.ACK if event.ack else 0, 0, event.data)

    def _send_consumed(self, event: Consumed) -> bytes:
        """Nothing, as long as the credit is not worth a frame; nothing either where no more is to come."""
        stream = self._streams.get(event.stream)
        if stream is None or stream.state is HALF_CLOSED_REMOTE:
            return b""
        window = stream.receive_window
        if event.count > window.size - window.window - window.owed - stream.padding:
            raise LocalProtocolError("more consumed than received")
        window.consume(event.count + stream.padding)
        stream.padding = 0
        increment = window.due
        if not increment:
            return b""
        window.grant(increment)
        return frames.encode_window_update(event.stream, increment)

    def _send_window_update(self, event: WindowUpdate) -> bytes:
        """Of the connection: what ``reply`` says. A stream's credit is given back by Consumed."""
        if event.stream or not 0 < event.increment <= self._window.owed:
            raise LocalProtocolError("credit that is not owed")
        self._window.grant(event.increment)
        return frames.encode_window_update(0, event.increment)

    def _send_reset(self, event: Reset) -> bytes:
        if self._faults.pop(event.stream, None) is None:
            stream = self._streams.get(event.stream)
            if stream is None:
                raise LocalProtocolError(f"stream {event.stream} is closed, or was never open")
            self._move(stream, SEND_RESET)
        return frames.encode_rst_stream(event.stream, event.code)

    def _send_goaway(self, event: GoAway) -> bytes:
        if event.last > self._last_allowed:  # §6.8: MUST NOT increase
            raise LocalProtocolError("the last stream of a GOAWAY can't grow")
        self._last_allowed = event.last
        return frames.encode_goaway(event.last, event.code, event.debug)

    _SENDERS: ClassVar[dict[type[Event], Callable[..., bytes]]] = {
        RequestHead: _send_request,
        ResponseHead: _send_response,
        Data: _send_data,
        EndOfMessage: _send_end,
        Settings: _send_settings,
        SettingsAck: _send_acknowledgement,
        Ping: _send_ping,
        Consumed: _send_consumed,
        WindowUpdate: _send_window_update,
        Reset: _send_reset,
        GoAway: _send_goaway,
    }

    def reply(self, event: Event) -> Event | None:
        """An acknowledgement of settings (§6.5.3) and pings (§6.7), a reset for a fault, the connection's credit for DATA."""
        if type(event) is Settings:
            return SettingsAck()
        if type(event) is Ping:
            return None if event.ack else Ping(event.data, ack=True)
        if type(event) is StreamFault and event.stream in self._faults:
            return Reset(event.stream, event.code)
        if type(event) in (Data, Discarded) and (due := self._window.due):
            return WindowUpdate(0, due)
        return None

    def farewell(self, error: ProtocolError) -> list[Event]:
        """§5.4.1: GOAWAY, with the last stream that was looked at."""
        return [GoAway(min(self.last_stream, self._last_allowed), error.code, str(error).encode())] if self._greeted else []


# ---- helpers -----------------------------------------------------------------------------------------------------------


def _wrong_length(stream: Stream) -> StreamError:
    """§8.1.1: a message is malformed whose content is not as long as it has declared."""
    came = (stream.length or 0) - (stream.receive_left or 0)
    return malformed(f"Content-Length is {stream.length}, and {came} bytes of content came")


def _is_tunnel(stream: Stream, head: ResponseHead) -> bool:
    """What follows a 2xx to CONNECT is DATA of the tunnel (§8.5)."""
    return stream.method == "CONNECT" and 200 <= head.status < 300


def _encode_data(stream: int, data: bytes, ends: bool) -> bytes:
    """DATA frames, as many as it takes."""
    flags = frames.END_STREAM if ends else 0
    if len(data) <= MAX_FRAME:
        return frames.encode_frame(frames.DATA, flags, stream, data)
    pieces = [data[start : start + MAX_FRAME] for start in range(0, len(data), MAX_FRAME)]
    encoded = [frames.encode_frame(frames.DATA, 0, stream, piece) for piece in pieces[:-1]]
    return b"".join([*encoded, frames.encode_frame(frames.DATA, flags, stream, pieces[-1])])
