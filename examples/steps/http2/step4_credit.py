r"""Step 4: credit. Nobody sends content that the other side has no room for.

Each stream has a *flow-control window*: 65,535 bytes that its sender may send at first. The connection has a window, too, for
all of its streams together. Each byte of DATA uses up a byte of both windows. The receiver gives credit with WINDOW_UPDATE
(type 8):

    00 00 04   08    00     00 00 00 01   00 00 40 00        16,384 more bytes on stream 1
    00 00 04   08    00     00 00 00 00   00 00 40 00        16,384 more bytes on the connection: "stream 0"

So a client that has stopped reading one stream gives that stream no credit, and goes on with the others. The server gives
credit, too: when a request is complete, the server gives back the bytes of its content.

    python examples/steps/http2/step4_credit.py 8000
    python examples/steps/http2/client.py step4_credit 8000 /1000000 /5
"""

from shell import answer, serve

MAX_PIECE, WINDOW, MAX_WINDOW = 16_384, 65_535, 2**31 - 1  # bytes

DATA, HEADERS, RST_STREAM, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 7, 8  # types of frames
END_STREAM = 1  # a flag
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED = 1, 3, 5  # codes of faults


class Fault(ValueError):
    """The client broke a rule. The connection ends, and the last frame tells the client the code."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


class Stream:
    """An open or half-closed stream. It is half-closed as soon as there is an answer."""

    def __init__(self, id_: int, target: bytes) -> None:
        self.id, self.target = id_, target
        self.count = 0  # bytes of content
        self.answer: bytes | None = None
        self.window = self.room = WINDOW  # how much we may send, and how much the client may send


def frame(type_: int, flags: int, id_: int, payload: bytes) -> bytes:
    """Return a frame as it is sent: a header of nine bytes, and the payload."""
    return len(payload).to_bytes(3) + bytes([type_, flags]) + id_.to_bytes(4) + payload


class Connection:
    """The server's end of a connection: bytes in, bytes out. It has no socket."""

    def __init__(self) -> None:
        self.received = b""
        self.streams: dict[int, Stream] = {}  # neither idle nor closed
        self.last_id = 0
        self.window = self.room = WINDOW  # of all streams together
        self.control = b""  # frames before all answers

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client, and handle each frame that is complete now. Raises Fault."""
        self.received += data
        while len(self.received) >= 9 and (size := 9 + int.from_bytes(self.received[:3])) <= len(self.received):
            header, payload, self.received = self.received[:9], self.received[9:size], self.received[size:]
            self._receive(header[3], header[4], int.from_bytes(header[5:]), payload)

    def _receive(self, type_: int, flags: int, id_: int, payload: bytes) -> None:
        """Handle one frame. A type that nobody knows is ignored, so that the protocol can grow."""
        if type_ == HEADERS:
            self._receive_headers(flags, id_, payload)
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

    def _receive_headers(self, flags: int, id_: int, payload: bytes) -> None:
        """Open a stream. Its number has to be odd, and higher than all earlier ones."""
        if id_ <= self.last_id or id_ % 2 == 0:
            raise Fault(f"stream {id_} cannot begin after stream {self.last_id}")
        self.last_id = id_
        self.streams[id_] = Stream(id_, payload)
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
        self._end(stream, flags)

    def _receive_credit(self, owner: "Stream | Connection | None", credit: int) -> None:
        """Send more on a stream or on the connection. Credit for a closed stream may arrive late."""
        if owner is not None:
            owner.window += credit
            if credit == 0 or owner.window > MAX_WINDOW:
                raise Fault("credit out of range", FLOW_CONTROL_ERROR)

    def _give_credit(self, id_: int, owner: "Stream | Connection", credit: int) -> None:
        """Let the client send more on a stream or on the connection."""
        owner.room += credit
        self.control += frame(WINDOW_UPDATE, 0, id_, credit.to_bytes(4))

    def _end(self, stream: Stream, flags: int) -> None:
        """Answer, if the client has finished sending."""
        if flags & END_STREAM:
            stream.answer = answer(stream.target, stream.count)
            if stream.count:
                self._give_credit(0, self, stream.count)

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
        ready = [stream for stream in self.streams.values() if self._may_send(stream)]
        if not ready:
            return b""
        stream = min(ready, key=lambda stream: len(stream.answer))
        size = min(MAX_PIECE, stream.window, self.window)
        data, stream.answer = stream.answer[:size], stream.answer[size:]
        stream.window -= len(data)
        self.window -= len(data)
        if stream.answer:
            return frame(DATA, 0, stream.id, data)
        del self.streams[stream.id]
        return frame(DATA, END_STREAM, stream.id, data)


if __name__ == "__main__":
    serve(Connection)
