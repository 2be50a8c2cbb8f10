"""The words of HTTP/2. A stream's words begin with its number.

    1:200               a response's head; each field that the case shows follows as 1:name=value
    1:103               an interim head
    1:trailers          trailers
    1:end               the end of the stream (END_STREAM)
    1:CANCEL            RST_STREAM with this error code
    1:data=13           DATA, the bytes of payload so far, if the case shows "data"
    goaway=NO_ERROR     GOAWAY with this error code
    pong                an answer to our PING
    ack                 an answer to SETTINGS, if the case shows "ack"; the answer to the opening is not shown
    window=100          WINDOW_UPDATE of the connection, 1:window=100 of a stream, if the case shows "window"
    push                PUSH_PROMISE
    connect=1           the setting ENABLE_CONNECT_PROTOCOL (RFC 8441 §3), if the case shows "connect"

A SETTINGS frame and a PING of the server are answered at once, and have no word.
"""

from minproto import http2_frames as frames
from minproto.core import RemoteProtocolError
from minproto.http import ResponseHead
from minproto.http2_fields import FieldCoder
from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.base import Transcript


class Http2(Transcript):
    """Reads frames and field blocks, without the state machine of a connection: a case may send frames that break any rule."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self.ready = False
        self._buffer = b""
        self._coder = FieldCoder(1 << 20)
        self._block: frames.Frame | None = None  # the HEADERS frame of a field block that is not complete
        self._acks = 0
        self.heads: dict[int, ResponseHead] = {}
        """The final head of each stream that has been answered."""
        self._data: dict[int, int] = {}
        self.settings: dict[int, int] = {}
        """The server's settings."""

    def opening(self) -> bytes:
        """Return the preface, and SETTINGS without push."""
        return frames.PREFACE + frames.encode_settings([(frames.ENABLE_PUSH, 0)])

    def receive(self, data: bytes) -> bytes:
        """Read whole frames, and return the answers to SETTINGS and PING."""
        self._buffer += data
        answers = b""
        while len(self._buffer) >= frames.HEADER_SIZE and not self.why_malformed:
            header = frames.parse_header(self._buffer)
            end = frames.HEADER_SIZE + header.length
            if header.length > frames.MAX_FRAME:
                self.malformed(f"a frame of {header.length:,} bytes, or no HTTP/2 at all")
            if self.why_malformed or len(self._buffer) < end:
                break
            payload, self._buffer = self._buffer[frames.HEADER_SIZE : end], self._buffer[end:]
            answers += self._read(frames.Frame(header.type, header.flags, header.stream, payload))
        return answers

    def _read(self, frame: frames.Frame) -> bytes:
        try:
            if frame.type != frames.PUSH_PROMISE:
                frames.check_header(frames.Header(len(frame.payload), frame.type, frame.flags, frame.stream))
            return self._take(frame)
        except (RemoteProtocolError, frames.StreamError) as error:
            self.malformed(str(error))
            return b""

    def _take(self, frame: frames.Frame) -> bytes:
        """Write the words of a frame, and return the answer to it."""
        type_, flags, stream, payload = frame
        if type_ == frames.SETTINGS and not flags & frames.ACK:
            self._take_settings(frames.parse_settings(payload))
            self.ready = True
            return frames.encode_frame(frames.SETTINGS, frames.ACK, 0)
        if type_ == frames.PING and not flags & frames.ACK:
            return frames.encode_frame(frames.PING, frames.ACK, 0, payload)
        if type_ in (frames.HEADERS, frames.CONTINUATION):
            self._take_block(frame)
        elif type_ == frames.DATA:
            self._take_data(frame)
        elif type_ == frames.RST_STREAM:
            self.words.append(f"{stream}:{frames.code_name(frames.parse_number(payload))}")
        else:
            self._take_other(frame)
        return b""

    def _take_settings(self, settings: list[tuple[int, int]]) -> None:
        self.settings |= settings
        if "connect" in self.case.shows:
            self.words += [f"connect={value}" for name, value in settings if name == frames.ENABLE_CONNECT_PROTOCOL]

    def _take_other(self, frame: frames.Frame) -> None:
        type_, _, stream, payload = frame
        if type_ == frames.GOAWAY:
            self.words.append(f"goaway={frames.code_name(frames.parse_goaway(payload)[1])}")
        elif type_ == frames.PING:
            self.words.append("pong")
        elif type_ == frames.PUSH_PROMISE:
            self.words.append("push")
        elif type_ == frames.SETTINGS:
            self._acks += 1
            if self._acks > 1 and "ack" in self.case.shows:
                self.words.append("ack")
        elif type_ == frames.WINDOW_UPDATE and "window" in self.case.shows:
            increment = frames.parse_window_update(payload)
            self.words.append(f"{stream}:window={increment}" if stream else f"window={increment}")

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
            self.words.append(f"{stream}:trailers")
        else:
            head = self._coder.parse_response(fields, stream)
            self.words.append(f"{stream}:{head.status}")
            if head.status >= 200:
                self.heads[stream] = head
                self.target.via = self.target.via or head.headers.get("via") or ""
                self.target.server = self.target.server or head.headers.get("server") or ""
                shown = [name for name in self.case.shows if name not in _OURS]
                self.words += [f"{stream}:{name}={head.headers.get(name, '-')}" for name in shown]
        self._take_end(frame)

    def _take_data(self, frame: frames.Frame) -> None:
        stream = frame.stream
        if stream not in self.heads:
            raise RemoteProtocolError("DATA before HEADERS")
        if "data" in self.case.shows:
            before = f"{stream}:data={self._data.get(stream, 0)}"
            if self.words and self.words[-1] == before:
                self.words.pop()
            self._data[stream] = self._data.get(stream, 0) + len(frame.payload)
            self.words.append(f"{stream}:data={self._data[stream]}")
        self._take_end(frame)

    def _take_end(self, frame: frames.Frame) -> None:
        if frame.flags & frames.END_STREAM:
            self.words.append(f"{frame.stream}:end")


_OURS = frozenset({"data", "window", "ack", "connect"})
"""What a case can show besides fields."""
