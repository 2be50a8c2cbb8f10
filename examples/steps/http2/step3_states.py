r"""Step 3: streams have states. A frame that does not fit the state of its stream is refused.

Each piece now has a byte with its *type*, and a byte with *flags*, one bit for each. Such a piece is called a *frame*.
This is the header of a frame of HTTP/2, and these are HTTP/2's numbers:

    00 00 02   01    01     00 00 00 01   2f 35              the question /5 on stream 1
    length     type  flags  stream        payload            type 1: HEADERS, flag 1: END_STREAM

A client may send content: HEADERS without END_STREAM, then DATA (type 0), and the last frame has END_STREAM. A stream begins
*idle*. HEADERS makes it *open*. The client's END_STREAM makes it *half-closed*: the client has finished sending, and the
server has not. The server's END_STREAM, or RST_STREAM (type 3: "never mind"), makes it *closed*. A client takes odd numbers,
and each new number is higher than all earlier ones. So one number tells idle streams from closed ones.

    python examples/steps/http2/step3_states.py 8000
    python examples/steps/http2/client.py step3_states 8000 /1000000 /5
"""

from shell import answer, serve

MAX_PIECE = 16_384  # bytes

DATA, HEADERS, RST_STREAM, GOAWAY = 0, 1, 3, 7  # types of frames
END_STREAM = 1  # a flag
PROTOCOL_ERROR, STREAM_CLOSED = 1, 5  # codes of faults


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


def frame(type_: int, flags: int, id_: int, payload: bytes) -> bytes:
    """Return a frame as it is sent: a header of nine bytes, and the payload."""
    return len(payload).to_bytes(3) + bytes([type_, flags]) + id_.to_bytes(4) + payload


class Connection:
    """The server's end of a connection: bytes in, bytes out. It has no socket."""

    def __init__(self) -> None:
        self.received = b""
        self.streams: dict[int, Stream] = {}  # neither idle nor closed
        self.last_id = 0

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
        self._end(stream, flags)

    def _end(self, stream: Stream, flags: int) -> None:
        """Answer, if the client has finished sending."""
        if flags & END_STREAM:
            stream.answer = answer(stream.target, stream.count)

    def farewell(self, fault: Fault) -> bytes:
        """Return the last frame: the last stream that the server has looked at, and the code of the fault."""
        return frame(GOAWAY, 0, 0, self.last_id.to_bytes(4) + fault.code.to_bytes(4))

    def next_piece(self) -> bytes:
        """Return the next bytes to send; b"" if there are none."""
        ready = [stream for stream in self.streams.values() if stream.answer is not None]
        if not ready:
            return b""
        stream = min(ready, key=lambda stream: len(stream.answer))
        data, stream.answer = stream.answer[:MAX_PIECE], stream.answer[MAX_PIECE:]
        if stream.answer:
            return frame(DATA, 0, stream.id, data)
        del self.streams[stream.id]
        return frame(DATA, END_STREAM, stream.id, data)


if __name__ == "__main__":
    serve(Connection)
