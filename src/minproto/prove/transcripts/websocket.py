"""The words of WebSocket, after a right handshake in HTTP/1.1.

    text=[hello]        a text message; binary=[...] is a binary one, with a character for each byte
    ping, pong=[hi]     a Ping; a Pong with its payload
    close=1002          a Close with its code; close=1005 is one without a code
    refused=404         the handshake was refused with this status; the case does not begin

A server closes the TCP connection after the Close, so "closed" usually follows.
"""

from minproto.core import CLIENT, RemoteProtocolError
from minproto.deflate import Compression
from minproto.http import EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import Connection
from minproto.prove.case import Case
from minproto.prove.target import Target
from minproto.prove.transcripts.base import Transcript
from minproto.websocket import Close, Limits, Message, Ping, Pong
from minproto.websocket import Connection as Frames
from minproto.websocket_handshake import check_response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the handshake in RFC 6455 §1.3. A key has to be new for each connection so that no cache answers; here there is
no cache, and the same bytes each time make a report easier to read."""
_LIMITS = Limits(max_message=64 << 20)


class WebSocket(Transcript):
    """Reads the answer to the handshake, and then frames."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self.ready = False
        self._frames: Frames | None = None
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
                agreement = check_response(self._request, event, Compression() if self.case.offers else None)
                self._frames, self.ready = Frames(CLIENT, agreement, _LIMITS), True
                return self._http.trailing_data
            if isinstance(event, ResponseHead) and event.status >= 200:
                self.words.append(f"refused={event.status}")
                self.malformed("the handshake was refused")
        return b""

    def _read_frames(self, core: Frames, data: bytes) -> None:
        for at in range(0, len(data), 16_384) or [0]:
            if data[at : at + 16_384]:
                core.receive_data(data[at : at + 16_384])
            for event in core.events():
                match event:
                    case Message(str() as text):
                        self.words.append(f"text=[{text}]")
                    case Message(bytes() as binary):
                        self.words.append(f"binary=[{binary.decode('latin-1')}]")
                    case Ping():
                        self.words.append("ping")
                    case Pong(payload):
                        self.words.append(f"pong=[{payload.decode('latin-1')}]")
                    case Close(code):
                        self.words.append(f"close={code}")
