"""The words of HTTP/2. A stream's words begin with its number.

    1:200               a response's head; each field that the case shows follows as 1:name=value
    1:103               an interim head
    1:trailers          trailers
    1:end               the end of the stream (END_STREAM)
    1:CANCEL            RST_STREAM with this error code
    1:data=13           DATA, the bytes of payload so far, if the case shows "data"
    goaway=NO_ERROR     GOAWAY with this error code
    last=5              after a GOAWAY, its last stream, if the case shows "last"
    pong                an answer to our PING; pong=3132333435363738 if the case shows "pong"
    ack                 an answer to SETTINGS, if the case shows "ack"; the answer to the opening is not shown
    setting=3:100       an identifier and a value of the server's SETTINGS, if the case shows "setting"
    window=100          WINDOW_UPDATE of the connection, 1:window=100 of a stream, if the case shows "window"
    push                PUSH_PROMISE
    connect=1           the setting ENABLE_CONNECT_PROTOCOL (RFC 8441 §3), if the case shows "connect"

A SETTINGS frame and a PING of the server are answered at once, and have no word. So is DATA, with credit for as much, unless
the case shows "data". A case that ``opens`` sends the opening and all answers itself.
"""

import struct

from minproto import http2_frames as frames
from minproto.core import RemoteProtocolError
from minproto.http import ResponseHead
from minproto.http2_fields import FieldCoder, content_length, parse_trailers
from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.base import Transcript

_FLAGS = {
    frames.DATA: frames.END_STREAM | frames.PADDED,
    frames.HEADERS: frames.END_STREAM | frames.END_HEADERS | frames.PADDED | frames.PRIORITIZED,
    frames.SETTINGS: frames.ACK,
    frames.PUSH_PROMISE: frames.END_HEADERS | frames.PADDED,
    frames.PING: frames.ACK,
    frames.CONTINUATION: frames.END_HEADERS,
}
"""The flags of each type that has any (§6)."""
_PRIORITY_UPDATE = 0x10
_FIRST = (frames.SETTINGS, frames.GOAWAY)
"""What a server can send first (§3.4); a GOAWAY says that the client's preface was wrong."""
_OURS = frozenset({"data", "window", "ack", "last", "pong", "setting", "connect"})
"""What a case can show besides fields."""


class Http2(Transcript):
    """Reads frames and field blocks, without the state machine of a connection: a case may send frames that break any rule."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self.ready = case.opens
        self._buffer = b""
        self._coder = FieldCoder(1 << 20)
        self._block: frames.Frame | None = None  # the HEADERS frame of a field block that is not complete
        self._out = b""  # bytes that we have sent of an unfinished frame
        self._sent: list[list[tuple[int, int]]] = []  # our SETTINGS that are not acknowledged yet
        self._max_frame = frames.MAX_FRAME
        self._began = False
        self._acknowledged = case.opens  # whether the answer to the opening has come
        self.heads: dict[int, ResponseHead] = {}
        """The final head of each stream that has been answered."""
        self._ended: set[int] = set()  # streams that the server has ended or reset
        self._data: dict[int, int] = {}  # bytes of payload: flow control counts the padding, too
        self._content: dict[int, int] = {}
        self._owed: dict[int, int] = {}  # credit that we have not given yet
        self.settings: dict[int, int] = {}
        """The server's settings."""

    def opening(self) -> bytes:
        """Return the preface, and SETTINGS without push."""
        return b"" if self.case.opens else self.wrap(frames.PREFACE + frames.encode_settings([(frames.ENABLE_PUSH, 0)]))

    def wrap(self, data: bytes) -> bytes:
        """Note the settings among the bytes that we send: the server has to keep to them once it has acknowledged them."""
        self._out += data
        at = len(frames.PREFACE) if self._out.startswith(frames.PREFACE) else 0
        while len(self._out) >= at + frames.HEADER_SIZE:
            header = frames.parse_header(self._out, at)
            end = at + frames.HEADER_SIZE + header.length
            if len(self._out) < end:
                break
            if header.type == frames.SETTINGS and not header.flags & frames.ACK:
                self._note_settings(self._out[at + frames.HEADER_SIZE : end])
            at = end
        self._out = self._out[at:]
        return data

    def _note_settings(self, payload: bytes) -> None:
        try:
            self._sent.append(frames.parse_settings(payload))
        except (RemoteProtocolError, struct.error):  # a case sends what no client may send
            self._sent.append([])
        self._max_frame = max([self._max_frame, *[value for name, value in self._sent[-1] if name == frames.MAX_FRAME_SIZE]])

    def receive(self, data: bytes) -> bytes:
        """Read whole frames, and return the answers to SETTINGS and PING, and credit for DATA."""
        self._buffer += data
        answers = b""
        while len(self._buffer) >= frames.HEADER_SIZE and not self.why_malformed:
            header = frames.parse_header(self._buffer)
            end = frames.HEADER_SIZE + header.length
            if self._buffer.startswith(b"HTTP/1."):
                self.malformed("HTTP/1.1, and not HTTP/2")
            elif header.length > self._max_frame:
                self.malformed(f"a frame of {header.length:,} bytes, or no HTTP/2 at all")
            elif self._buffer[5] & 0x80 or (header.type <= frames.CONTINUATION and header.flags & ~_FLAGS.get(header.type, 0)):
                self.malformed("the reserved bit, or a flag without a meaning, is set")
            if self.why_malformed or len(self._buffer) < end:
                break
            payload, self._buffer = self._buffer[frames.HEADER_SIZE : end], self._buffer[end:]
            answers += self._read(frames.Frame(header.type, header.flags, header.stream, payload))
        return answers + self._credit()

    def _read(self, frame: frames.Frame) -> bytes:
        try:
            if frame.type != frames.PUSH_PROMISE:
                length = min(len(frame.payload), frames.MAX_FRAME)
                frames.check_header(frames.Header(length, frame.type, frame.flags, frame.stream))
            self._check_order(frame)
            return self._take(frame)
        except (RemoteProtocolError, frames.StreamError) as error:
            self.malformed(str(error))
            return b""

    def _check_order(self, frame: frames.Frame) -> None:
        """Raise RemoteProtocolError for a frame that the server may not send now (§3.4, §5.1; RFC 9218 §7.1)."""
        if not self._began and frame.type not in _FIRST:
            raise RemoteProtocolError("the server does not begin with SETTINGS")
        self._began = True
        if frame.type == _PRIORITY_UPDATE:
            raise RemoteProtocolError("PRIORITY_UPDATE of a server")
        if frame.type in (frames.DATA, frames.HEADERS) and frame.stream in self._ended:
            raise RemoteProtocolError("a frame on a stream that the server has ended")

    def _take(self, frame: frames.Frame) -> bytes:
        """Write the words of a frame, and return the answer to it."""
        type_, flags, stream, payload = frame
        if type_ == frames.SETTINGS and not flags & frames.ACK:
            return self._take_settings(payload)
        if type_ == frames.PING and not flags & frames.ACK:
            return b"" if self.case.opens else frames.encode_frame(frames.PING, frames.ACK, 0, payload)
        if type_ in (frames.HEADERS, frames.CONTINUATION):
            self._take_block(frame)
        elif type_ == frames.DATA:
            self._take_data(frame)
        elif type_ == frames.RST_STREAM:
            self._ended.add(stream)
            self.words.append(f"{stream}:{frames.code_name(frames.parse_number(payload))}")
        else:
            self._take_other(frame)
        return b""

    def _take_settings(self, payload: bytes) -> bytes:
        """Note the server's settings, and return the acknowledgement."""
        values = frames.parse_settings(payload)
        if (frames.ENABLE_PUSH, 1) in values:
            raise RemoteProtocolError("a server cannot enable push")
        if "setting" in self.case.shows:
            self.words += [f"setting={name}:{value}" for name, value in values]
        if "connect" in self.case.shows:
            self.words += [f"connect={value}" for name, value in values if name == frames.ENABLE_CONNECT_PROTOCOL]
        self.settings |= dict(values)
        self.target.settings |= dict(values)
        self.ready = True
        return b"" if self.case.opens else frames.encode_frame(frames.SETTINGS, frames.ACK, 0)

    def _take_other(self, frame: frames.Frame) -> None:
        type_, _, stream, payload = frame
        if type_ == frames.GOAWAY:
            last, code, _ = frames.parse_goaway(payload)
            self.words.append(f"goaway={frames.code_name(code)}")
            self.words += [f"last={last}"] if "last" in self.case.shows else []
        elif type_ == frames.PING:
            self.words.append(f"pong={payload.hex()}" if "pong" in self.case.shows else "pong")
        elif type_ == frames.PUSH_PROMISE:
            self.words.append("push")
        elif type_ == frames.SETTINGS:
            self._take_acknowledgement()
        elif type_ == frames.WINDOW_UPDATE and "window" in self.case.shows:
            increment = frames.parse_window_update(payload)
            self.words.append(f"{stream}:window={increment}" if stream else f"window={increment}")

    def _take_acknowledgement(self) -> None:
        """The server keeps to our oldest settings from now on: above all, to the size of our compression table (§4.3.1)."""
        for name, value in self._sent.pop(0) if self._sent else []:
            if name == frames.HEADER_TABLE_SIZE:
                self._coder.resize_decoder(value)
        if self._acknowledged and "ack" in self.case.shows:
            self.words.append("ack")
        self._acknowledged = True

    def _take_block(self, frame: frames.Frame) -> None:
        """Join the frames of a field block, and write the words of the block once it is complete."""
        begin = self._block
        if begin is not None:
            if frame.type != frames.CONTINUATION or frame.stream != begin.stream:
                raise RemoteProtocolError("a field block was interrupted")
            frame = frames.Frame(begin.type, begin.flags | frame.flags, begin.stream, begin.payload + frame.payload)
        elif frame.type == frames.CONTINUATION:
            raise RemoteProtocolError("CONTINUATION without HEADERS")
        else:
            frame = frame._replace(payload=frames.parse_headers(frame), flags=frame.flags & ~frames.PADDED)
        self._block = None if frame.flags & frames.END_HEADERS else frame
        if self._block is None:
            self._take_fields(frame)

    def _take_fields(self, frame: frames.Frame) -> None:
        fields, stream = self._coder.decode(frame.payload), frame.stream
        if stream in self.heads:
            parse_trailers(fields)
            self.words.append(f"{stream}:trailers")
        else:
            head = self._coder.parse_response(fields, stream)
            self.words.append(f"{stream}:{head.status}")
            if head.status < 200 and frame.flags & frames.END_STREAM:
                raise RemoteProtocolError("an interim response that ends its stream")
            if head.status >= 200:
                self.heads[stream] = head
                self.target.via = self.target.via or head.headers.get("via") or ""
                self.target.server = self.target.server or head.headers.get("server") or ""
                shown = [name for name in self.case.shows if name not in _OURS]
                self.words += [f"{stream}:{name}={head.headers.get(name, '-')}" for name in shown]
        self._take_end(frame)

    def _take_data(self, frame: frames.Frame) -> None:
        """Count content."""
        stream = frame.stream
        if stream not in self.heads:
            raise RemoteProtocolError("DATA before HEADERS")
        self._content[stream] = self._content.get(stream, 0) + len(frames.parse_data(frame))
        before = f"{stream}:data={self._data.get(stream, 0)}"
        self._data[stream] = self._data.get(stream, 0) + len(frame.payload)
        if "data" in self.case.shows:
            if self.words and self.words[-1] == before:
                self.words.pop()
            self.words.append(f"{stream}:data={self._data[stream]}")
        self._take_end(frame)
        if not self.case.opens and "data" not in self.case.shows:
            for each in (0, stream) if stream not in self._ended else (0,):
                self._owed[each] = self._owed.get(each, 0) + len(frame.payload)

    def _credit(self) -> bytes:
        """Return WINDOW_UPDATE frames for the content that has come since the last ones."""
        owed, self._owed = self._owed, {}
        return b"".join([frames.encode_window_update(stream, size) for stream, size in owed.items() if size])

    def _take_end(self, frame: frames.Frame) -> None:
        """Note the end of a stream. A response with content has as much of it as its Content-Length says (§8.1.1)."""
        if frame.flags & frames.END_STREAM:
            came, head = self._content.get(frame.stream, 0), self.heads.get(frame.stream)
            length = content_length(head.headers) if head else None
            if came and length not in (None, came):
                raise RemoteProtocolError(f"Content-Length is {length}, and {came} bytes of content came")
            self._ended.add(frame.stream)
            self.words.append(f"{frame.stream}:end")
