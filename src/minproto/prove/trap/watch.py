"""What a client sends, as words. A watch has no socket and no clock: bytes in, words and requests out.

HTTP/1.1:

    malformed           bytes that are no request

WebSocket, after a handshake that was answered by 101:

    text=[hello]        a text message; binary=[...] is a binary one; a frame that is not the last has a plus: text+=[he]
    ping=[], pong=[hi]  a Ping, a Pong, with its payload
    close=1002          a Close with its code; close=1005 is one without a code
    unmasked            a frame that is not masked

HTTP/2 (the request's stream is always called 1):

    1:CANCEL            RST_STREAM with this error code
    goaway=NO_ERROR     GOAWAY with this error code
    pong                an answer to our PING, with the same payload; pong-other with another one
    ack                 an answer to each SETTINGS but the first

A request after the first one on a connection, or on a further connection, is the word "again", and "again=7" if it has a
Last-Event-ID of 7. "closed", "reset" or "open" follows at the end of each connection.
"""

from collections import deque

from minproto import http2_frames as frames
from minproto import websocket
from minproto.core import SERVER, Event, RemoteProtocolError
from minproto.http import EndOfMessage, Headers, RequestHead
from minproto.http1 import Connection, Limits
from minproto.http2_fields import FieldCoder
from minproto.prove.trap.snare import Asked

_LIMITS = Limits(max_body=1 << 30)
PING = b"trapping"
"""The payload of the PING that a snare sends."""


class Watch:
    """What one connection has said. The subclass for a protocol reads the bytes."""

    protocol = ""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.requests: deque[Asked] = deque()
        """Complete requests that have not been answered."""

    @property
    def over(self) -> bool:
        """Whether the server has to end the connection now."""
        return False

    def opening(self) -> bytes:
        """Return what the server sends first."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Read bytes of the client, and return what a server has to answer to them in any case."""
        raise NotImplementedError


class Http1Watch(Watch):
    """Reads each request with a core of its own, and after ``switch`` the frames of WebSocket."""

    protocol = "http1"

    def __init__(self) -> None:
        super().__init__()
        self._core: Connection | None = None
        self._head: RequestHead | None = None
        self._frames: bytes | None = None

    def receive(self, data: bytes) -> bytes:
        """Read bytes. Nothing has to be answered by itself."""
        while data and self.words[-1:] != ["malformed"]:
            if self._frames is not None:
                self._frames = self._read_frames(self._frames + data)
                return b""
            core = self._core = self._core or Connection(SERVER, _LIMITS)
            core.receive_data(data)
            data = b""
            try:
                for event in core.events():
                    if self._take(event):
                        data, self._core = core.trailing_data, None
                        break
            except RemoteProtocolError:
                self.words.append("malformed")
        return b""

    @property
    def over(self) -> bool:
        """Whether the client has sent a Close."""
        return any(word.startswith("close=") for word in self.words)

    def switch(self) -> None:
        """Read frames from now on: the handshake has been answered."""
        self._frames = self._core.trailing_data if self._core else b""

    def _take(self, event: Event) -> bool:
        """Note an event, and return whether it ends the request."""
        if isinstance(event, RequestHead):
            self._head = event
        elif isinstance(event, EndOfMessage):
            assert self._head is not None
            self.requests.append(Asked(self._head.method, self._head.target, self._head.headers))
            return True
        return False

    def _read_frames(self, data: bytes) -> bytes:
        """Write the words of whole frames, and return the bytes after them."""
        while header := _parse_frame_header(data):
            opcode, start, end = header
            if len(data) < end:
                break
            payload, key = data[start:end], data[start - 4 : start]
            if not data[1] & websocket.MASKED:
                self.words.append("unmasked")
            else:
                payload = websocket.mask(payload, key)
            self.words.append(_frame_word(opcode, data[0] & websocket.FIN != 0, payload))
            data = data[end:]
        return data


def _parse_frame_header(data: bytes) -> tuple[int, int, int] | None:
    """Return the opcode, and where the payload begins and ends; None if the header is incomplete."""
    if len(data) < 2:
        return None
    size = {126: 2, 127: 8}.get(data[1] & 127, 0)
    start = 2 + size + (4 if data[1] & websocket.MASKED else 0)
    if len(data) < start:
        return None
    length = int.from_bytes(data[2 : 2 + size], "big") if size else data[1] & 127
    return data[0] & websocket.OPCODE, start, start + length


def _frame_word(opcode: int, fin: bool, payload: bytes) -> str:
    if opcode == websocket.CLOSE:
        return f"close={int.from_bytes(payload[:2], 'big') if payload else websocket.NO_STATUS}"
    names = {websocket.TEXT: "text", websocket.BINARY: "binary", websocket.PING: "ping", websocket.PONG: "pong"}
    return f"{names.get(opcode, f'opcode-{opcode}')}{'' if fin else '+'}=[{payload.decode('latin-1')}]"


class Http2Watch(Watch):
    """Reads frames and field blocks, without the state machine of a connection."""

    protocol = "http2"

    def __init__(self) -> None:
        super().__init__()
        self._buffer = b""
        self._preface = frames.PREFACE
        self._coder = FieldCoder(1 << 20)
        self._block = b""
        self._acks = 0
        self._push = True
        self.stream = 0
        """The stream of the request that is being answered; its word is 1."""

    def opening(self) -> bytes:
        """Return empty SETTINGS."""
        return frames.encode_settings([])

    def receive(self, data: bytes) -> bytes:
        """Read whole frames, and return the answers to SETTINGS and PING."""
        self._buffer += data
        answers = b""
        if self._preface and len(self._buffer) >= len(self._preface):
            self._buffer, self._preface = self._buffer[len(self._preface) :], b""
        while not self._preface and len(self._buffer) >= frames.HEADER_SIZE and self.words[-1:] != ["malformed"]:
            header = frames.parse_header(self._buffer)
            end = frames.HEADER_SIZE + header.length
            if len(self._buffer) < end:
                break
            payload, self._buffer = self._buffer[frames.HEADER_SIZE : end], self._buffer[end:]
            try:
                frames.check_header(header)  # before the parsers, which expect a payload of the right length
                answers += self._take(frames.Frame(header.type, header.flags, header.stream, payload))
            except (RemoteProtocolError, frames.StreamError):
                self.words.append("malformed")
        return answers

    def _take(self, frame: frames.Frame) -> bytes:
        """Write the word of a frame, and return the answer to it."""
        type_, flags, stream, payload = frame
        name = "1" if stream == self.stream else str(stream)
        if type_ == frames.SETTINGS and not flags & frames.ACK:
            self._push = dict(frames.parse_settings(payload)).get(frames.ENABLE_PUSH, self._push) != 0
            return frames.encode_frame(frames.SETTINGS, frames.ACK, 0)
        if type_ == frames.PING and not flags & frames.ACK:
            return frames.encode_frame(frames.PING, frames.ACK, 0, payload)
        if type_ in (frames.HEADERS, frames.CONTINUATION):
            self._take_block(frame)
        elif type_ == frames.RST_STREAM:
            self.words.append(f"{name}:{frames.code_name(frames.parse_number(payload))}")
        elif type_ == frames.GOAWAY:
            self.words.append(f"goaway={frames.code_name(frames.parse_goaway(payload)[1])}")
        elif type_ == frames.PING:
            self.words.append("pong" if payload == PING else "pong-other")
        elif type_ == frames.SETTINGS:
            self._acks += 1
            self.words += ["ack"] if self._acks > 1 else []
        return b""

    def _take_block(self, frame: frames.Frame) -> None:
        """Join the frames of a field block, and note the request once the block is complete. Trailers are no request."""
        self._block += frames.parse_headers(frame) if frame.type == frames.HEADERS else frame.payload
        if frame.flags & frames.END_HEADERS:
            fields, self._block = dict(self._coder.decode(self._block)), b""
            if ":method" in fields:
                headers = Headers([(name, value) for name, value in fields.items() if name[:1] != ":"])
                self.requests.append(Asked(fields[":method"], fields.get(":path", ""), headers, frame.stream, self._push))
