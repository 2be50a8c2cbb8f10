r"""Step 2: each piece begins with a stream id. Many conversations share one connection (multiplexing).

A long answer is cut into pieces of at most 16,384 bytes. Each piece begins with its length and, in four bytes, the number of
its conversation, which is called a *stream*. So pieces of several answers can alternate, and the client joins the pieces with
the same number. A piece of length 0 ends an answer:

    00 00 02  00 00 00 01  2f 35                 stream 1: the question /5
    00 00 05  00 00 00 01  2f 35 0a 2f 35        stream 1: five bytes of the answer
    00 00 00  00 00 00 01                        stream 1: the end of the answer

The shortest answer goes first, so that no long answer blocks it.

    python examples/steps/http2/step2_streams.py 8000
    python examples/steps/http2/client.py step2_streams 8000 /1000000 /5
"""

from shell import answer, serve

MAX_PIECE = 16_384  # bytes


def piece(id_: int, data: bytes) -> bytes:
    """Return a piece as it is sent: its length in three bytes, its stream in four, and its bytes."""
    return len(data).to_bytes(3) + id_.to_bytes(4) + data


class Connection:
    """The server's end of a connection: bytes in, bytes out. It has no socket."""

    def __init__(self) -> None:
        self.received = b""
        self.answers: dict[int, bytes] = {}

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client, and answer each question that is complete now."""
        self.received += data
        while len(self.received) >= 7 and (size := 7 + int.from_bytes(self.received[:3])) <= len(self.received):
            id_, target = int.from_bytes(self.received[3:7]), self.received[7:size]
            self.received = self.received[size:]
            self.answers[id_] = answer(target)

    def next_piece(self) -> bytes:
        """Return the next bytes to send; b"" if there are none."""
        if not self.answers:
            return b""
        id_ = min(self.answers, key=lambda id_: len(self.answers[id_]))
        data = self.answers[id_][:MAX_PIECE]
        self.answers[id_] = self.answers[id_][MAX_PIECE:]
        return piece(id_, data) if data else piece(id_, self.answers.pop(id_))


if __name__ == "__main__":
    serve(Connection)
