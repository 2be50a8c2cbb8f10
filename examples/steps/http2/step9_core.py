r"""Step 9: the contract of a core, and limits for each thing that costs the server more than the client.

``Connection`` keeps the contract of all cores of minproto (``src/minproto/core.py``): ``next_event`` returns a Request, or
None if none is complete. ``send`` takes the answer, and ``farewell`` says what to tell a client that broke a rule.
``next_piece`` is still there, since only the core knows which stream has its turn. The limits:

    Each head is decoded, also that of a refused stream.        The tables stay the same at both ends.
    The fields of a head have at most 65,536 bytes.             No bomb: a byte can stand for an entry of 4,000.
    The client may reset 100 streams more than it lets end.     No rapid reset: a stream for nothing costs work.

The real core has more. Where no other file is named, look into ``src/minproto/http2.py``:

    It reads padding.                                                       _unpadded in http2_frames.py
    It checks each field, and Content-Length; it reads trailers.            http2_fields.py, http2_streams.py
    A fault of one stream ends that stream, and not the connection.         Connection._fault
    It checks lengths and flags of each type, and settings' values.         http2_frames.py, http2_settings.py
    It tells late frames from wrong ones, also after our RST_STREAM.        ClosedStreams in http2_streams.py
    Urgent streams go first, if the client says so.                         Scheduler in http2_flow.py
    It bounds the PINGs and SETTINGS that want an answer.                   Budget in http2_streams.py
    The app may read slowly: credit comes as it reads (Consumed).           SendingHalf._send_consumed in http2_sending.py
    It compresses its own heads, drains by GOAWAY, and is a client, too.    http2_sending.py
    Its shell has timeouts, TLS with ALPN, and a limit of connections.      aio/http2_server.py, aio/listener.py

    python examples/steps/http2/step9_core.py 8000
    curl --http2-prior-knowledge http://127.0.0.1:8000/5
"""

# ruff: noqa: I001 (sorted, each name would take a line)
from typing import NamedTuple

from frames import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE
from frames import COMPRESSION_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED
from frames import MAX_CONCURRENT_STREAMS, PADDED, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, setting
from frames import ENHANCE_YOUR_CALM
from shell import answer, serve_core
from tables import Table

from minproto.core import Core, Event, RemoteProtocolError, Wants
from minproto.http import Data
from minproto.http2_events import GoAway

MAX_PIECE, WINDOW, MAX_WINDOW = 16_384, 65_535, 2**31 - 1  # bytes

MAX_STREAMS = MAX_RESETS = 100
MAX_HEAD = 65_536  # bytes
STATUS_200 = b"\x00\x07:status\x03200"  # a field block


class Request(NamedTuple):
    """The request on a stream is complete: its target, and the number of bytes of its content."""

    stream: int
    target: bytes
    count: int


class Fault(RemoteProtocolError, ValueError):
    """The client broke a rule. The connection ends, and the last frame tells the client the code."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason, code)


class Stream:
    """An open or half-closed stream."""

    def __init__(self, id_: int, target: bytes, window: int) -> None:
        self.id, self.target = id_, target
        self.count = 0  # bytes of content
        self.ended = False  # half-closed: the client has finished sending
        self.answer: bytes | None = None
        self.window, self.room = window, WINDOW  # how much we may send, and how much the client may send


class Connection(Core):
    """The server's end of a connection: bytes in, events out; events in, bytes out."""

    def __init__(self) -> None:
        super().__init__(MAX_PIECE + 9)
        self.requests: list[Event] = []
        self.resets = 0  # more than the answers that the client has let end
        self.streams: dict[int, Stream] = {}  # neither idle nor closed
        self.last_id = 0
        self.window = self.room = WINDOW  # of all streams together
        self.control = frame(SETTINGS, 0, 0, setting(MAX_CONCURRENT_STREAMS, MAX_STREAMS))  # frames before all answers
        self.table = Table()
        self.client_window = WINDOW  # of a new stream
        self.preface = PREFACE  # what is still to come
        self.head: tuple[int, int, bytes] | None = None  # an unfinished field block, with its flags and its stream

    def _parse(self) -> Event | None:
        """Handle frames until a request is complete, and return it; None if more bytes are needed."""
        while not self.requests:
            start = min(len(self.preface), self.buffered)
            if self._buffer.take(start) != self.preface[:start]:
                raise Fault("this is not HTTP/2")
            self.preface = self.preface[start:]
            header = self._buffer.peek(0, 9)
            if len(header) == 9 and int.from_bytes(header[:3]) > MAX_PIECE:
                raise Fault("the frame is too large", FRAME_SIZE_ERROR)
            if len(header) < 9 or self.buffered < (size := 9 + int.from_bytes(header[:3])):
                return None
            payload = self._buffer.take(size)[9:]
            self._receive(header[3], header[4], int.from_bytes(header[5:]) % 2**31, payload)  # the first bit is reserved
        return self.requests.pop()

    def _parse_eof(self) -> Event | None:
        """Accept the end of the input between two frames. Raises Fault in the middle of one."""
        if self.buffered or self.head:
            raise Fault("a frame is cut short")
        self.wants = Wants.CLOSED

    def send(self, event: Event) -> bytes:
        """Return the frames before all answers. ``next_piece`` returns the pieces of the Data when there is credit."""
        if isinstance(event, Data) and event.stream in self.streams:
            self.streams[event.stream].answer = event.data
            self.control += frame(HEADERS, END_HEADERS, event.stream, STATUS_200)
        if isinstance(event, GoAway):
            self.control += frame(GOAWAY, 0, 0, event.last.to_bytes(4) + event.code.to_bytes(4))
        control, self.control = self.control, b""
        return control

    def _receive(self, type_: int, flags: int, id_: int, payload: bytes) -> None:
        """Handle one frame. A type that nobody knows is ignored, so that the protocol can grow."""
        if (type_ == CONTINUATION) != (self.head is not None) or (self.head and self.head[1] != id_):
            raise Fault("another frame in the middle of a head")
        if type_ in (DATA, HEADERS) and flags & PADDED:
            raise Fault("this program cannot read padding")
        if type_ == HEADERS:
            self._receive_block(flags, id_, payload[5 if flags & PRIORITY else 0 :])
        elif type_ == CONTINUATION:
            self._receive_block(self.head[0] | flags, id_, self.head[2] + payload)
        elif type_ == SETTINGS and not flags & ACK:
            self._receive_settings(payload)
        elif type_ == PING and not flags & ACK:
            self.control += frame(PING, ACK, 0, payload)
        elif type_ == DATA:
            self._receive_data(flags, id_, payload)
        elif type_ == RST_STREAM:
            self._find(id_)
            self.resets += self.streams.pop(id_, None) is not None
            if self.resets > MAX_RESETS:
                raise Fault("too many resets", ENHANCE_YOUR_CALM)
        elif type_ == WINDOW_UPDATE:
            self._receive_credit(self._find(id_) if id_ else self, int.from_bytes(payload))

    def _find(self, id_: int) -> Stream | None:
        """Return the stream; None if it is closed. Raises Fault if it is idle."""
        if id_ > self.last_id or id_ % 2 == 0:
            raise Fault(f"stream {id_} is idle")
        return self.streams.get(id_)

    def _receive_settings(self, payload: bytes) -> None:
        """Obey the client's settings. A new window size changes the windows of all streams, even to below 0."""
        for at in range(0, len(payload), 6):
            name, value = int.from_bytes(payload[at : at + 2]), int.from_bytes(payload[at + 2 : at + 6])
            if name == INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window += value - self.client_window
                self.client_window = value
        self.control += frame(SETTINGS, ACK, 0, b"")

    def _receive_block(self, flags: int, id_: int, block: bytes) -> None:
        """Keep a field block until its end: HEADERS, and any number of CONTINUATION."""
        if len(block) > MAX_HEAD:
            raise Fault("the head is too large", ENHANCE_YOUR_CALM)
        self.head = None if flags & END_HEADERS else (flags, id_, block)
        if self.head is None:
            self._receive_headers(flags, id_, block)

    def _receive_headers(self, flags: int, id_: int, block: bytes) -> None:
        """Open a stream. Its number has to be odd, and higher than all earlier ones."""
        if id_ <= self.last_id or id_ % 2 == 0:
            raise Fault(f"stream {id_} cannot begin after stream {self.last_id}")
        self.last_id = id_
        target = self._target(block)  # of a refused stream as well: its block changes the table
        if len(self.streams) >= MAX_STREAMS:
            self.control += frame(RST_STREAM, 0, id_, REFUSED_STREAM.to_bytes(4))
            return
        self.streams[id_] = Stream(id_, target, self.client_window)
        self._end(self.streams[id_], flags)

    def _target(self, block: bytes) -> bytes:
        """Return the value of ":path" in a field block."""
        try:
            return dict(self.table.fields(block, MAX_HEAD)).get(b":path", b"/")
        except (IndexError, ValueError) as error:
            raise Fault(f"wrong field block: {error}", COMPRESSION_ERROR) from error

    def _receive_data(self, flags: int, id_: int, payload: bytes) -> None:
        """Count the content of an open stream."""
        stream = self._find(id_)
        if stream is None or stream.ended:
            raise Fault(f"content after the end of stream {id_}", STREAM_CLOSED)
        stream.count += len(payload)
        for owner in stream, self:
            owner.room -= len(payload)
            if owner.room < 0:
                raise Fault("content without credit", FLOW_CONTROL_ERROR)
        self._give_credit(0, self)
        self._give_credit(id_, stream)
        self._end(stream, flags)

    def _receive_credit(self, owner: "Stream | Connection | None", credit: int) -> None:
        """Send more on a stream or on the connection. Credit for a closed stream may arrive late."""
        if owner is not None:
            owner.window += credit
            if credit == 0 or owner.window > MAX_WINDOW:
                raise Fault("credit out of range", FLOW_CONTROL_ERROR)

    def _give_credit(self, id_: int, owner: "Stream | Connection") -> None:
        """Let the client send more on a stream or on the connection, if half of the window has been used."""
        if owner.room <= WINDOW // 2:
            self.control += frame(WINDOW_UPDATE, 0, id_, (WINDOW - owner.room).to_bytes(4))
            owner.room = WINDOW

    def _end(self, stream: Stream, flags: int) -> None:
        """Deliver the request, if the client has finished sending."""
        if flags & END_STREAM:
            stream.ended = True
            self.requests.append(Request(stream.id, stream.target, stream.count))

    def _may_send(self, stream: Stream) -> bool:
        """Return whether there is a piece of an answer, and credit for it. An empty piece needs no credit."""
        return stream.answer is not None and (not stream.answer or min(stream.window, self.window) > 0)

    def farewell(self, error: Exception) -> list[Event]:
        """Return the last event for the client: a GOAWAY with the code of the fault."""
        return [GoAway(self.last_id, error.code)]

    def next_piece(self) -> bytes:
        """Return the next bytes to send; b"" if there are none."""
        if self.control:
            return self.send(Event())
        stream = next(filter(self._may_send, self.streams.values()), None)
        if stream is None:
            return b""
        del self.streams[stream.id]  # a dictionary keeps its order: this stream goes to the end, or is closed
        size = min(MAX_PIECE, stream.window, self.window)
        data, stream.answer = stream.answer[:size], stream.answer[size:]
        stream.window -= len(data)
        self.window -= len(data)
        if stream.answer:
            self.streams[stream.id] = stream
            return frame(DATA, 0, stream.id, data)
        self.resets = max(0, self.resets - 1)
        return frame(DATA, END_STREAM, stream.id, data)


if __name__ == "__main__":
    serve_core(Connection, lambda request: Data(answer(request.target, request.count), request.stream))
