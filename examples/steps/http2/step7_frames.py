r"""Step 7: the real frames. A preface, SETTINGS, PING and heads: curl understands the answer, and so does nghttp.

A client of HTTP/2 begins with 24 bytes, the *preface*, which a server of HTTP/1.1 refuses as a malformed request. Then both
sides send SETTINGS (type 4), pairs of a number (two bytes) and a value (four bytes), and confirm each other's:

    00 00 06   04    00     00 00 00 00   00 03  00 00 00 64     setting 3, MAX_CONCURRENT_STREAMS: 100
    00 00 00   04    01     00 00 00 00                          flag 1, ACK: "I obey your settings now"

An answer begins with HEADERS. Its payload is a *field block*: here one literal field, in which each text follows its length.

    00   07 3a 73 74 61 74 75 73   03 32 30 30                   a literal, ":status", "200"

This step cannot read the client's block, which is compressed. So each answer says hello.

    python examples/steps/http2/step7_frames.py 8000
    curl --http2-prior-knowledge http://127.0.0.1:8000/5
"""

# ruff: noqa: I001 (sorted, each name would take a line)
from frames import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE
from frames import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED
from frames import MAX_CONCURRENT_STREAMS, PADDED, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, setting
from shell import answer, serve

MAX_PIECE, WINDOW, MAX_WINDOW = 16_384, 65_535, 2**31 - 1  # bytes

MAX_STREAMS = 100
STATUS_200 = b"\x00\x07:status\x03200"  # a field block


class Fault(ValueError):
    """The client broke a rule. The connection ends, and the last frame tells the client the code."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


class Stream:
    """An open or half-closed stream. It is half-closed as soon as there is an answer."""

    def __init__(self, id_: int, target: bytes, window: int) -> None:
        self.id, self.target = id_, target
        self.count = 0  # bytes of content
        self.answer: bytes | None = None
        self.window, self.room = window, WINDOW  # how much we may send, and how much the client may send


class Connection:
    """The server's end of a connection: bytes in, bytes out. It has no socket."""

    def __init__(self) -> None:
        self.received = b""
        self.streams: dict[int, Stream] = {}  # neither idle nor closed
        self.last_id = 0
        self.window = self.room = WINDOW  # of all streams together
        self.control = frame(SETTINGS, 0, 0, setting(MAX_CONCURRENT_STREAMS, MAX_STREAMS))  # frames before all answers
        self.client_window = WINDOW  # of a new stream
        self.preface = PREFACE  # what is still to come
        self.head: tuple[int, int, bytes] | None = None  # an unfinished field block, with its flags and its stream

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client, and handle each frame that is complete now. Raises Fault."""
        self.received += data
        start = min(len(self.preface), len(self.received))
        if self.received[:start] != self.preface[:start]:
            raise Fault("this is not HTTP/2")
        self.received, self.preface = self.received[start:], self.preface[start:]
        while len(self.received) >= 9 and (size := 9 + int.from_bytes(self.received[:3])) <= len(self.received):
            header, payload, self.received = self.received[:9], self.received[9:size], self.received[size:]
            self._receive(header[3], header[4], int.from_bytes(header[5:]) % 2**31, payload)  # the first bit is reserved
        if int.from_bytes(self.received[:3]) > MAX_PIECE:
            raise Fault("the frame is too large", FRAME_SIZE_ERROR)

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
            self.streams.pop(id_, None)
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
        self.head = None if flags & END_HEADERS else (flags, id_, block)
        if self.head is None:
            self._receive_headers(flags, id_, block)

    def _receive_headers(self, flags: int, id_: int, block: bytes) -> None:
        """Open a stream. Its number has to be odd, and higher than all earlier ones."""
        if id_ <= self.last_id or id_ % 2 == 0:
            raise Fault(f"stream {id_} cannot begin after stream {self.last_id}")
        self.last_id = id_
        if len(self.streams) >= MAX_STREAMS:
            self.control += frame(RST_STREAM, 0, id_, REFUSED_STREAM.to_bytes(4))
            return
        self.streams[id_] = Stream(id_, b"hello", self.client_window)
        self._end(self.streams[id_], flags)

    def _receive_data(self, flags: int, id_: int, payload: bytes) -> None:
        """Count the content of an open stream."""
        stream = self._find(id_)
        if stream is None or stream.answer is not None:
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
        """Answer, if the client has finished sending."""
        if flags & END_STREAM:
            stream.answer = answer(stream.target, stream.count)
            self.control += frame(HEADERS, END_HEADERS, stream.id, STATUS_200)

    def _may_send(self, stream: Stream) -> bool:
        """Return whether there is a piece of an answer, and credit for it. An empty piece needs no credit."""
        return stream.answer is not None and (not stream.answer or min(stream.window, self.window) > 0)

    def farewell(self, fault: Fault) -> bytes:
        """Return the last frame: the last stream that the server has looked at, and the code of the fault."""
        return frame(GOAWAY, 0, 0, self.last_id.to_bytes(4) + fault.code.to_bytes(4))

    def next_piece(self) -> bytes:
        """Return the next bytes to send; b"" if there are none."""
        if self.control:
            control, self.control = self.control, b""
            return control
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
        return frame(DATA, END_STREAM, stream.id, data)


if __name__ == "__main__":
    serve(Connection)
