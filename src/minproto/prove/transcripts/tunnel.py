"""A WebSocket over HTTP/2: the words of WebSocket, and below them a stream of HTTP/2 in place of a TCP connection (RFC 8441).

    SETTINGS                     the server has to say that it knows an extended CONNECT (§3)
    HEADERS   stream 1           our CONNECT with ``:protocol = websocket`` (§5), and the answer 200
    DATA      stream 1           frames of WebSocket, in both directions

The end of the stream takes the place of the end of the connection: END_STREAM is "closed", and RST_STREAM is "reset" (§5). So
a case of frames is the same in both versions of HTTP. The words of its own:

    unoffered           the server's SETTINGS do not offer it; the case does not begin
    goaway=NO_ERROR     GOAWAY with this error code
"""

from minproto import http2_frames as frames
from minproto.core import RemoteProtocolError
from minproto.http import ResponseHead
from minproto.prove.case import Case
from minproto.prove.frames import CONNECT, Head
from minproto.prove.target import Target
from minproto.prove.transcripts.http2 import Http2
from minproto.prove.transcripts.websocket import WebSocket

_STREAM = 1


class Tunnel(WebSocket):
    """Puts the bytes of the case into DATA, and reads the DATA of the server."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self._http2 = _Carrier(case, target)
        self._asked = False
        self._unsent = b""

    def opening(self) -> bytes:
        """Return the opening of HTTP/2. The CONNECT has to wait for the server's SETTINGS."""
        return self._http2.opening()

    def receive(self, data: bytes) -> bytes:
        """Read frames of HTTP/2, and then the frames of WebSocket in them."""
        if self.why_malformed or self.over:
            return b""
        answers = self._http2.receive(data)
        if self._http2.ready and not self._asked:
            answers += self._ask()
        try:
            self._read_stream()
        except RemoteProtocolError as error:
            self.malformed(str(error))
        if self._http2.why_malformed:
            self.malformed(self._http2.why_malformed)
        return answers + self._send_allowed()

    def wrap(self, data: bytes) -> bytes:
        """Return DATA, as much as the flow-control windows allow. The other bytes wait."""
        self._unsent += data
        return self._send_allowed()

    def shut(self) -> bytes:
        """Return an empty DATA with END_STREAM: an orderly end of our direction (RFC 8441 §5)."""
        return frames.encode_frame(frames.DATA, frames.END_STREAM, _STREAM)

    def _ask(self) -> bytes:
        self._asked = True
        if not self._http2.settings.get(frames.ENABLE_CONNECT_PROTOCOL):
            self.words.append("unoffered")
            self.malformed("the server does not offer WebSocket over HTTP/2")
            return b""
        more = (("sec-websocket-extensions", self.case.offers),) if self.case.offers else ()
        return Head(_STREAM, CONNECT + more, frames.END_HEADERS).encode(self.target)

    def _read_stream(self) -> None:
        """Read what has come on the stream: the answer, frames of WebSocket, the end."""
        carrier = self._http2
        if self._frames is None and (answer := carrier.heads.get(_STREAM)):
            if answer.status == 200:
                self._accept(ResponseHead(101, answer.headers))
            else:
                self._refuse(answer.status)
        if self._frames is not None and carrier.received:
            data, carrier.received = carrier.received, b""
            self._read_frames(self._frames, data)
        for word in carrier.words:
            if word == f"{_STREAM}:end":
                self.over = "closed"
            elif word.removeprefix(f"{_STREAM}:") in frames.CODES:
                self.over = self.over or "reset"
            elif word.startswith("goaway"):
                self.words.append(word)
        carrier.words.clear()

    def _send_allowed(self) -> bytes:
        sent = b""
        while self._unsent and (size := min(self._http2.window, frames.MAX_FRAME, len(self._unsent))) > 0:
            sent += frames.encode_frame(frames.DATA, 0, _STREAM, self._unsent[:size])
            self._unsent = self._unsent[size:]
            self._http2.spend(size)
        return sent


class _Carrier(Http2):
    """Reads HTTP/2, keeps the content of DATA, and counts the windows for what we send."""

    def __init__(self, case: Case, target: Target) -> None:
        super().__init__(case, target)
        self.received = b""
        """The content of DATA that nobody has read yet."""
        self._spent = 0
        self._windows = {0: 65_535, _STREAM: 0}  # with what WINDOW_UPDATE has added; ``window`` adds SETTINGS

    @property
    def window(self) -> int:
        """The number of bytes that we may send."""
        initial = self.settings.get(frames.INITIAL_WINDOW_SIZE, 65_535)
        return min(self._windows[0], self._windows[_STREAM] + initial) - self._spent

    def spend(self, size: int) -> None:
        """Count bytes of DATA that we send."""
        self._spent += size

    def _take_data(self, frame: frames.Frame) -> None:
        self.received += frames.parse_data(frame)
        super()._take_data(frame)

    def _take_other(self, frame: frames.Frame) -> None:
        if frame.type == frames.WINDOW_UPDATE and frame.stream in self._windows:
            self._windows[frame.stream] += frames.parse_window_update(frame.payload)
        super()._take_other(frame)
