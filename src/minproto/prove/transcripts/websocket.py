"""The words of WebSocket, after a right handshake in HTTP/1.1.

    text=[hello]        a text message; binary=[...] is a binary one, with a character for each byte
    text=300:5fce92ca   a message of more than 200 bytes: their number, and their CRC-32
    deflated            the next message is compressed, if the case shows "deflated"
    tail                the next message ends with 00 00 ff ff, which its sender has to remove (RFC 7692 §7.2.1)
    declined            the case offers compression, and the server declines it; the case goes on
    ping, pong=[hi]     a Ping; a Pong with its payload
    close=1002          a Close with its code; close=1005 is one without a code
    more                bytes after the Close
    refused=404         the handshake was refused with this status; the case does not begin

A server closes the TCP connection after the Close, so "closed" usually follows.
"""

from zlib import crc32

from minproto.core import CLIENT, Event, RemoteProtocolError, Wants
from minproto.deflate import Compression
from minproto.http import EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import Connection
from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.base import Transcript
from minproto.websocket import CLOSE, RSV1, Close, Limits, Message, Ping, Pong, is_close_code
from minproto.websocket import Connection as Frames
from minproto.websocket_handshake import Agreement, agreed, check_response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the handshake in RFC 6455 §1.3. A key has to be new for each connection so that no cache answers; here there is
no cache, and the same bytes each time make a report easier to read."""
MAX_SHOWN = 200
"""The maximum number of bytes of a message that are shown."""
_LIMITS = Limits(max_message=64 << 20)
_FORBIDDEN = frozenset({1005, 1006, 1015})
_TAIL = bytes.fromhex("0000ffff")
_OURS = Compression(window_bits=15)


class WebSocket(Transcript):
    """Reads the answer to the handshake, and then frames."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self.ready = False
        self._frames: _Watched | None = None
        self._http = Connection(CLIENT)
        fields = [("host", target.host), ("upgrade", "websocket"), ("connection", "Upgrade")]
        fields += [("sec-websocket-key", KEY), ("sec-websocket-version", "13")]
        fields += [("sec-websocket-extensions", case.offers)] if case.offers else []
        self._request = RequestHead("GET", target.paths["ws"], Headers(fields))

    def opening(self) -> bytes:
        """Return the handshake."""
        return self._http.send(self._request) + self._http.send(EndOfMessage())

    def receive(self, data: bytes) -> bytes:
        """Read bytes. What a client has to answer (a Pong, a Close) is a step of the case."""
        if self.why_malformed:
            return b""
        try:
            if self._frames is None:
                data = self._read_handshake(data)
            if self._frames is not None:
                self._read_frames(self._frames, data)
        except RemoteProtocolError as error:
            self.malformed(str(error))
        return b""

    def _read_handshake(self, data: bytes) -> bytes:
        """Read the response to the handshake, and return the bytes after it."""
        self._http.receive_data(data)
        for event in self._http.events():
            if isinstance(event, ResponseHead) and event.status == 101:
                check_response(self._request, event, self._compression)
                self._accept(event)
                return self._http.trailing_data
            if isinstance(event, ResponseHead) and event.status >= 200:
                self._refuse(event.status)
        return b""

    @property
    def _compression(self) -> Compression | None:
        return _OURS if self.case.offers else None

    def _accept(self, response: ResponseHead) -> None:
        """Begin to read frames, with the compression that the response agrees to."""
        agreement = agreed(self._request, response, self._compression)
        if self.case.offers and agreement.deflate is None:
            self.words.append("declined")
        self._frames, self.ready = _Watched(agreement), True

    def _refuse(self, status: int) -> None:
        self.words.append(f"refused={status}")
        self.malformed("the handshake was refused")

    def _read_frames(self, core: "_Watched", data: bytes) -> None:
        for at in range(0, len(data), 16_384) or [0]:
            if core.wants is Wants.CLOSED:
                break
            if data[at : at + 16_384]:
                core.receive_data(data[at : at + 16_384])
            for event in core.events():
                self._note(core, event)
        if core.wants is Wants.CLOSED and (core.buffered or (data and core.had_closed)) and self.words[-1] != "more":
            self.words.append("more")
        core.had_closed = core.wants is Wants.CLOSED

    def _note(self, core: "_Watched", event: object) -> None:
        match event:
            case Message(data):
                if core.deflated and "deflated" in self.case.shows:
                    self.words.append("deflated")
                if core.deflated and core.last_bytes == _TAIL:
                    self.words.append("tail")
                self.words.append(shown(data))
            case Ping():
                self.words.append("ping")
            case Pong(payload):
                self.words.append(f"pong=[{payload.decode('latin-1')}]")
            case Close(code):
                self.words.append(f"close={code}")


class _Watched(Frames):
    """A client's core, which remembers what its events do not say."""

    def __init__(self, agreement: Agreement) -> None:
        super().__init__(CLIENT, agreement, _LIMITS)
        self.deflated = False
        """Whether the last message was compressed."""
        self.last_bytes = b""
        """The last four bytes of the last message, before inflating."""
        self.had_closed = False
        """Whether a Close had come before the last bytes."""

    def _begin_data_frame(self, first: int, length: int) -> None:
        super()._begin_data_frame(first, length)
        if first & 0x0F:  # not a continuation
            self.deflated, self.last_bytes = bool(first & RSV1), b""

    def _add_payload(self, data: bytes) -> None:
        self.last_bytes = (self.last_bytes + data)[-4:]
        super()._add_payload(data)

    def _read_control(self, opcode: int) -> Event | None:
        """Let a Close pass whose code has no meaning, such as 2999: RFC 6455 §7.4.1 forbids three codes, and no others."""
        code = int.from_bytes(self._buffer.peek(0, 2))
        if opcode != CLOSE or not 2 <= self._payload_left <= self._buffer.size or is_close_code(code) or code in _FORBIDDEN:
            return super()._read_control(opcode)
        self._take_payload()
        self._first_byte, self.wants = None, Wants.CLOSED
        return Close(code)


def shown(data: str | bytes) -> str:
    """Return the word for a message."""
    kind = "text" if isinstance(data, str) else "binary"
    encoded = data.encode() if isinstance(data, str) else data
    if len(encoded) > MAX_SHOWN:
        return f"{kind}={len(encoded)}:{crc32(encoded):08x}"
    return f"{kind}=[{data if isinstance(data, str) else data.decode('latin-1')}]"
