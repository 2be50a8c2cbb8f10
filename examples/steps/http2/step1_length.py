r"""Step 1: each message begins with its length. Many questions and answers follow each other on one connection.

A client asks for a number of bytes: ``/5`` is a question, and its answer has five bytes. Each message begins with its length
in three bytes, so a receiver finds the end without searching the message:

    00 00 02   2f 35                   the length 2, and the question /5
    00 00 05   2f 35 0a 2f 35          the length 5, and the answer: /5, a line feed, and the same again as far as it fits

    python examples/steps/http2/step1_length.py 8000
    python examples/steps/http2/client.py step1_length 8000 /1000000 /5
"""

from shell import answer, serve


def message(data: bytes) -> bytes:
    """Return a message as it is sent: its length in three bytes, and its bytes."""
    return len(data).to_bytes(3) + data


class Connection:
    """The server's end of a connection: bytes in, bytes out. It has no socket."""

    def __init__(self) -> None:
        self.received = b""
        self.answers: list[bytes] = []

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client, and answer each question that is complete now."""
        self.received += data
        while (size := 3 + int.from_bytes(self.received[:3])) <= len(self.received):
            target, self.received = self.received[3:size], self.received[size:]
            self.answers.append(answer(target))

    def next_piece(self) -> bytes:
        """Return the next bytes to send; b"" if there are none."""
        return message(self.answers.pop(0)) if self.answers else b""


if __name__ == "__main__":
    serve(Connection)
