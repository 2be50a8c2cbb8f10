"""HTTP/2, explained: frames, the fields of their field blocks, and the flow-control windows.

    00 00 05  00  01  00 00 00 01    Length = 5, Type = DATA, Flags = END_STREAM, Stream Identifier = 1
    68 65 6c 6c 6f                   content = hello
                                     window of the connection = 65,535 - 5 = 65,530
                                     window of stream 1 = 65,535 - 5 = 65,530

``http2_frames`` parses each frame. The meaning of some frames depends on earlier frames, so this file keeps what a receiver
would keep: the table of each direction, the windows, and the settings. A window is kept from the sender's view: the bytes that
the other side has granted, minus the bytes that this side has sent. New settings apply to a side's frames from its ACK on (RFC
9113 §6.5.3).

A WebSocket on a stream (RFC 8441) is explained from the response to its CONNECT on: the client waits for that response.

Left out: the upgrade from HTTP/1.1 (h2c), which RFC 9113 has removed (§3.1).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from minproto.core import CLIENT, SERVER, RemoteProtocolError, Role
from minproto.deflate import Compression
from minproto.explain.hpack import FieldBlocks
from minproto.explain.http1 import unless_http1
from minproto.explain.http2_names import (
    FLAGS,
    PRIORITY_UPDATE,
    SETTINGS_NAMES,
    TYPES,
    UNKNOWN_SETTING,
    UNKNOWN_TYPE,
)
from minproto.explain.rows import MAX_PIECE, Bits, Script, Side, counted, readable
from minproto.explain.sse import EventStream
from minproto.explain.websocket import Carried, explain_carried
from minproto.http import RequestHead, ResponseHead
from minproto.http2_fields import Fields, parse_request, parse_response, parse_trailers
from minproto.http2_flow import DEFAULT_WINDOW, SendWindow
from minproto.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    MAX_ID,
    NO_RFC7540_PRIORITIES,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    Header,
    StreamError,
    check_header,
    check_priority,
    code_name,
    parse_data,
    parse_goaway,
    parse_header,
    parse_headers,
    parse_number,
    parse_settings,
    parse_window_update,
)
from minproto.sse import MEDIA_TYPE
from minproto.websocket_handshake import Agreement, agreed

MAX_STREAMS = 1_000
"""How many streams are remembered. One more removes the oldest; its later frames are explained without its window."""
MAX_UNACKNOWLEDGED = 100
"""How many SETTINGS frames may be waiting for their ACK."""
_WITH_BLOCKS = (HEADERS, PUSH_PROMISE, CONTINUATION)


# ---- what both sides share ---------------------------------------------------------------------------------------------


@dataclass
class _Stream:
    windows: dict[Role, SendWindow]
    """The window of each side: how many bytes of DATA it may send."""
    content: dict[Role, EventStream | Carried] = field(default_factory=dict)
    """The explainer of a side's content, if the content is an event stream or a WebSocket. Other content is shown as bytes."""
    websocket: RequestHead | None = None
    """A CONNECT that asks for a WebSocket, until the server has answered it (RFC 8441 §4)."""
    ended: set[Role] = field(default_factory=set)


class _Direction:
    """The state for the frames that one side sends: its table of fields, its window, and the settings not yet applied."""

    def __init__(self) -> None:
        self.blocks = FieldBlocks()
        self.window = SendWindow()
        """The window of the connection."""
        self.initial = DEFAULT_WINDOW
        """The initial window of each new stream."""
        self.unacknowledged: deque[list[tuple[int, int]]] = deque(maxlen=MAX_UNACKNOWLEDGED)
        """Settings of the other side that this side has not acknowledged yet."""


class _Connection:
    def __init__(self) -> None:
        self.directions = {CLIENT: _Direction(), SERVER: _Direction()}
        self.streams: dict[int, _Stream] = {}

    def open(self, number: int) -> _Stream:
        """Return the stream with this number, or make one."""
        if number not in self.streams:
            if len(self.streams) >= MAX_STREAMS:
                del self.streams[next(iter(self.streams))]
            self.streams[number] = _Stream({role: SendWindow(self.directions[role].initial) for role in Role})
        return self.streams[number]

    def end(self, number: int, role: Role) -> None:
        """Note that one side of a stream has ended. When both have ended, remove the stream."""
        stream = self.streams.get(number)
        if stream is not None:
            stream.ended.add(role)
            if len(stream.ended) == len(Role):
                del self.streams[number]

    def acknowledge(self, role: Role) -> None:
        """Apply the other side's oldest settings, since ``role`` has acknowledged them."""
        direction = self.directions[role]
        for name, value in direction.unacknowledged.popleft() if direction.unacknowledged else ():
            if name == HEADER_TABLE_SIZE:
                direction.blocks.coder.resize_decoder(value)
            elif name == INITIAL_WINDOW_SIZE:  # §6.9.2: a new initial window changes the windows of all open streams
                for stream in self.streams.values():
                    stream.windows[role].size += value - direction.initial
                direction.initial = value


# ---- the scripts -------------------------------------------------------------------------------------------------------


def explain_http2(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Return the scripts of both sides."""
    connection = _Connection()
    frames = _Frames(server, connection).script()
    return _client(client, connection), unless_http1(client, server, frames)


def _client(side: Side, connection: _Connection) -> Script[None]:
    """The client's script: the preface, and then frames."""
    side.protocol = "HTTP/2"
    side.begin("preface")
    yield from side.need(len(PREFACE))
    meaning = "the client speaks HTTP/2; a server of HTTP/1.1 would refuse this as a request"
    side.add("preface", side.take(len(PREFACE)), "PRI * HTTP/2.0, SM", meaning, "RFC 9113 §3.4")
    yield side.row()
    yield from _Frames(side, connection).script()


class _Frames:
    """The script of one side."""

    def __init__(self, side: Side, connection: _Connection) -> None:
        self._side = side
        self._connection = connection
        self._us = connection.directions[side.sender]  # the direction of these frames
        self._other = SERVER if side.sender is CLIENT else CLIENT
        self._block: Header | None = None  # the frame that began a field block, while the block is incomplete
        self._promised = 0  # the stream that a PUSH_PROMISE announces
        self._no_priorities = False  # this side ignores the priorities of RFC 7540, so they cannot be a fault
        self._payloads: dict[int, Callable[[Header], None]] = {
            HEADERS: self._headers,
            PRIORITY: self._priority,
            RST_STREAM: self._rst_stream,
            SETTINGS: self._settings,
            PUSH_PROMISE: self._push_promise,
            PING: self._ping,
            GOAWAY: self._goaway,
            WINDOW_UPDATE: self._window_update,
            CONTINUATION: self._add_block,
            PRIORITY_UPDATE: self._priority_update,
        }

    def script(self) -> Script[None]:
        """Explain frames, each with a header of nine bytes. After a faulty header the payload is shown as plain bytes."""
        side = self._side
        side.protocol = "HTTP/2"
        while True:
            side.begin("frame")
            yield from side.need(HEADER_SIZE)
            header = self._header()
            if header.type == DATA and not side.error:
                yield from self._data(header)
            elif side.error or header.type not in self._payloads:
                yield from side.pieces(header.length, self._add_payload)
            else:
                yield from side.need(header.length)
                self._payload(header)
            yield side.row()

    def _header(self) -> Header:
        """Explain the nine bytes of a frame's header, and return it (RFC 9113 §4.1)."""
        side = self._side
        raw = side.take(HEADER_SIZE)
        header = parse_header(raw)
        name, meaning, section = TYPES.get(header.type, UNKNOWN_TYPE)
        flags = [(bit, *says) for bit, says in FLAGS.get(header.type, {}).items() if header.flags & bit]
        last = ", END_STREAM" if header.flags & END_STREAM and header.type in (DATA, HEADERS) else ""
        side.begin(f"{name}, {counted(header.length, 'byte')}{last}", header.stream)
        side.add("Length", raw[:3], str(header.length), "bytes of payload", "RFC 9113 §4.1")
        side.add("Type", raw[3:4], f"{name} ({header.type})", meaning, section)
        names = ", ".join(flag[1] for flag in flags) or "none"
        bits = tuple(Bits.of(header.flags, *flag) for flag in flags)
        side.add("Flags", raw[4:5], names, "the meaning of each bit depends on the type", section, bits)
        whose = "the stream" if header.stream else "the connection itself"
        side.add("Stream Identifier", raw[5:], str(header.stream), whose, "RFC 9113 §4.1")
        self._check(header)
        return header

    def _check(self, header: Header) -> None:
        """Note a fault that the header alone shows. If a field block is lost because of it, no later block can be read."""
        side, expected = self._side, self._block
        try:
            if header.length <= MAX_FRAME and header.type != PUSH_PROMISE:  # the two sides may have agreed on more
                check_header(header)
            elif header.type == PUSH_PROMISE and header.length < 4 + (header.flags & PADDED > 0):
                side.error = "a frame of a wrong length"
        except RemoteProtocolError as error:
            side.error = str(error)
        if expected is not None and (header.type, header.stream) != (CONTINUATION, expected.stream):
            side.error = "a field block that is not continued at once"  # §4.3
        elif expected is None and header.type == CONTINUATION:
            side.error = "CONTINUATION of nothing"
        elif header.length > MAX_PIECE and header.type in self._payloads:
            side.error = "a frame so large that it is not explained"
        if side.error and (expected is not None or header.type in _WITH_BLOCKS):
            self._us.blocks.give_up()
            self._block = None

    def _frame(self, header: Header) -> Frame:
        return Frame(header.type, header.flags, header.stream, self._side.buffer.peek(0, header.length))

    def _payload(self, header: Header) -> None:
        """Explain the bytes of a payload. After a fault, the remaining bytes become a field "payload"."""
        side = self._side
        behind = side.buffer.size - header.length
        try:
            self._payloads[header.type](header)
        except (RemoteProtocolError, StreamError) as error:
            side.error = str(error)
            if isinstance(error, RemoteProtocolError) and header.type in _WITH_BLOCKS:
                self._us.blocks.give_up()
                self._block = None
        if left := side.buffer.size - behind:
            self._add_payload(side.take(left))

    def _take(self, count: int, name: str, value: str, meaning: str, section: str) -> None:
        self._side.add(name, self._side.take(count), value, meaning, section)

    def _add_payload(self, data: bytes) -> None:
        self._side.add("payload", data, readable(data), "as it came", "RFC 9113 §4.1")

    # -- DATA (RFC 9113 §6.1)

    def _data(self, header: Header) -> Script[None]:
        """Explain a DATA frame: its padding, its content, and the two windows that shrink by it. END_STREAM ends this side."""
        side = self._side
        padding = 0
        is_padded = bool(header.flags & PADDED and header.length)
        if is_padded:
            yield from side.need(1)
            padding = side.buffer.peek(0, 1)[0]
            if padding >= header.length:
                side.error = "more padding than payload"
                return (yield from side.pieces(header.length, self._add_payload))
            self._pad_length()
        stream = self._connection.streams.get(header.stream)
        content = stream.content.get(side.sender) if stream else None
        length = header.length - is_padded - padding
        yield from side.pieces(length, (lambda data: content.add(side, data)) if content else self._add_content)
        yield from side.need(padding)
        self._padding(padding)
        self._spend(header, stream)
        if header.flags & END_STREAM:
            self._connection.end(header.stream, side.sender)

    def _add_content(self, data: bytes) -> None:
        self._side.add("content", data, readable(data), "of the message", "RFC 9113 §6.1")

    def _spend(self, header: Header, stream: _Stream | None) -> None:
        """Subtract the payload from the windows: all of it, including its padding (§6.1)."""
        if header.length:
            self._change("the connection", self._us.window, -header.length)
            if stream is not None:
                self._change(f"stream {header.stream}", stream.windows[self._side.sender], -header.length)

    def _change(self, whose: str, window: SendWindow, change: int) -> None:
        before, sign = window.size, "+" if change > 0 else "-"
        if not window.grow(change) and change > 0:
            self._side.error = "a window over 2^31-1"  # §6.9.1
        value = f"{before:,} {sign} {abs(change):,} = {window.size:,}"
        self._side.note(f"window of {whose}", value, "bytes of DATA that may be sent", "RFC 9113 §5.2")

    def _pad_length(self) -> None:
        self._take(1, "Pad Length", str(self._side.buffer.peek(0, 1)[0]), "bytes of padding at the end", "RFC 9113 §6.1")

    def _padding(self, count: int) -> None:
        if count:
            self._take(count, "Padding", "", "zeroes that hide the length of the content", "RFC 9113 §6.1")

    # -- field blocks (§4.3, §6.2, §6.6, §6.10)

    def _headers(self, header: Header) -> None:
        """Explain a HEADERS frame: padding and priority, if its flags announce them, and its part of the field block."""
        block = parse_headers(self._frame(header), ignore_priority=self._no_priorities)
        self._connection.open(header.stream)
        rest = header.length - len(block)
        if header.flags & PADDED:
            self._pad_length()
            rest -= 1
        if header.flags & PRIORITIZED:
            self._dependency()
            rest -= 5
        self._block = header
        self._add_block(header._replace(length=len(block)))
        self._padding(rest)

    def _push_promise(self, header: Header) -> None:
        """Explain a payload like that of HEADERS, with the number of the promised stream before the field block."""
        block = parse_data(self._frame(header))
        if len(block) < 4:
            raise RemoteProtocolError("PUSH_PROMISE without a stream", PROTOCOL_ERROR)
        rest = header.length - len(block)
        if header.flags & PADDED:
            self._pad_length()
            rest -= 1
        self._promised = parse_number(block[:4]) & MAX_ID
        self._take(4, "Promised Stream ID", str(self._promised), "the stream on which the response will come", "RFC 9113 §6.6")
        self._connection.open(self._promised).ended.add(CLIENT)
        self._block = header
        self._add_block(header._replace(length=len(block) - 4))
        self._padding(rest)

    def _add_block(self, header: Header) -> None:
        """Explain this frame's part of a field block, and at the block's end the message that the block begins or ends."""
        began = self._block
        assert began is not None
        last = bool(header.flags & END_HEADERS)
        fields = self._us.blocks.add(self._side, header.length, last=last)
        if last:
            self._block = None
            self._says(began, fields or [])
            if began.type == HEADERS and began.flags & END_STREAM:
                self._connection.end(began.stream, self._side.sender)

    def _says(self, began: Header, fields: Fields) -> None:
        """Set the title from a complete field block. Raises StreamError for a malformed request or response (§8.1.1)."""
        side = self._side
        name = side.title.partition(",")[0]
        if not fields or fields[0][0][:1] != ":":
            side.title = f"{name}, trailers" if fields else side.title
            parse_trailers(fields)
        elif side.sender is CLIENT or began.type == PUSH_PROMISE:
            request = parse_request(fields, began.stream)
            side.title = f"{name}: {request.method} {request.target}"
            if request.protocol == "websocket" and began.type == HEADERS:
                self._connection.open(began.stream).websocket = request
        else:
            response = parse_response(fields, began.stream)
            side.title = f"{name}: {response.status}"
            self._expect(response)
        if began.flags & END_STREAM and began.type == HEADERS:
            side.title += ", END_STREAM"

    def _expect(self, response: ResponseHead) -> None:
        """Note what the content after a response's head will be: the frames of a WebSocket, or an event stream."""
        stream = self._connection.streams.get(response.stream)
        if stream is not None and stream.websocket is not None and 200 <= response.status < 300:  # RFC 8441 §5
            agreement = Agreement()
            try:
                agreement = agreed(stream.websocket, response, Compression(window_bits=15))
            except RemoteProtocolError as error:
                self._side.error = str(error)
            stream.content = dict(explain_carried(agreement))
            stream.websocket = None
        media_type = (response.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if media_type == MEDIA_TYPE and not response.headers.get("content-encoding"):
            self._connection.open(response.stream).content[self._side.sender] = EventStream()

    # -- the other types

    def _dependency(self) -> None:
        number = parse_number(self._side.buffer.peek(0, 4))
        value = f"{number & MAX_ID}{', exclusive' if number > MAX_ID else ''}"
        self._take(4, "E, Stream Dependency", value, "the stream on which this one depends: ignored", "RFC 9113 §5.3.2")
        self._take(1, "Weight", str(self._side.buffer.peek(0, 1)[0] + 1), "its share: ignored", "RFC 9113 §5.3.2")

    def _priority(self, header: Header) -> None:
        check_priority(self._frame(header), ignore_priority=self._no_priorities)
        self._dependency()

    def _code(self) -> None:
        code = code_name(parse_number(self._side.buffer.peek(0, 4)))
        self._take(4, "Error Code", code, "the reason", "RFC 9113 §7")
        self._side.title = f"{self._side.title.partition(',')[0]}, {code}"

    def _rst_stream(self, header: Header) -> None:
        self._code()
        self._connection.streams.pop(header.stream, None)

    def _settings(self, header: Header) -> None:
        """Explain a SETTINGS frame. Its values are applied later, when the other side acknowledges them."""
        side = self._side
        if header.flags & ACK:
            side.title = "SETTINGS, ACK"
            return self._connection.acknowledge(side.sender)
        settings = parse_settings(self._frame(header).payload)
        for number, value in settings:
            name, meaning, section = SETTINGS_NAMES.get(number, UNKNOWN_SETTING)
            self._take(6, name, str(value), meaning, section)
            if number == NO_RFC7540_PRIORITIES:
                self._no_priorities = value == 1  # RFC 9218 §2.1
        self._connection.directions[self._other].unacknowledged.append(settings)

    def _ping(self, header: Header) -> None:
        self._side.title = "PING, ACK" if header.flags & ACK else "PING"
        self._take(8, "Opaque Data", self._side.buffer.peek(0, 8).hex(" "), "the answer repeats them", "RFC 9113 §6.7")

    def _goaway(self, header: Header) -> None:
        last, _, debug = parse_goaway(self._frame(header).payload)
        self._take(4, "Last-Stream-ID", str(last), "streams above this number were not processed", "RFC 9113 §6.8")
        self._code()
        if debug:
            self._take(len(debug), "Additional Debug Data", readable(debug), "for people who read logs", "RFC 9113 §6.8")

    def _window_update(self, header: Header) -> None:
        """Explain a WINDOW_UPDATE: it enlarges the window of the *other* side, which may then send more DATA."""
        increment = parse_window_update(self._frame(header).payload)
        self._side.title = f"WINDOW_UPDATE, {increment:,}"
        self._take(4, "Window Size Increment", str(increment), "bytes of DATA that may be sent in addition", "RFC 9113 §6.9")
        if not increment:
            raise RemoteProtocolError("a window update of 0", PROTOCOL_ERROR)
        stream = self._connection.streams.get(header.stream)
        if not header.stream:
            self._change("the connection", self._connection.directions[self._other].window, increment)
        elif stream is not None:
            self._change(f"stream {header.stream}", stream.windows[self._other], increment)

    def _priority_update(self, header: Header) -> None:
        if header.length < 4:
            raise RemoteProtocolError("PRIORITY_UPDATE without a stream", PROTOCOL_ERROR)
        number = parse_number(self._side.buffer.peek(0, 4)) & MAX_ID
        self._take(4, "Prioritized Stream ID", str(number), "the stream that gets the priority", "RFC 9218 §7.1")
        value = self._side.buffer.peek(0, header.length - 4)
        meaning = "its urgency, and whether it is sent in turns with others"
        self._take(len(value), "Priority Field Value", readable(value), meaning, "RFC 9218 §4")
