"""A client for steps 1 to 6: ask several questions on one connection, and print in which order the answers end.

    python examples/steps/http2/client.py step2_streams 8000 /1000000 /5

The first word names the step, since each of the first three has other frames. From step 3 on, ``/upload:200000`` sends so many
bytes of content. Steps 7 to 9 work with curl and with nghttp.
"""

import socket
import sys

HEADER = {"1": 3, "2": 7}  # step -> the size of the header of a piece; from step 3 on: 9


class Conversation:
    """What the client knows of its questions."""

    def __init__(self, step: str, connection: socket.socket, targets: list[str]) -> None:
        self.step, self.connection = step, connection
        self.targets = {1 + 2 * index: target for index, target in enumerate(targets)}
        self.counts = dict.fromkeys(self.targets, 0)
        self.content = {id_: int(target.partition(":")[2] or 0) for id_, target in self.targets.items()}
        self.windows = dict.fromkeys([0, *self.targets], 65_535 if step >= "4" else 10**9)

    def send(self, type_: int, flags: int, id_: int, payload: bytes) -> None:
        """Send a piece in the form of the step."""
        header = len(payload).to_bytes(3) + bytes([type_, flags]) + id_.to_bytes(4)
        self.connection.sendall({"1": header[:3], "2": header[:3] + header[5:]}.get(self.step, header) + payload)

    def ask(self) -> None:
        """Send all questions, and as much of their content as there is credit for."""
        for id_, target in self.targets.items():
            self.send(1, self.content[id_] == 0, id_, target.partition(":")[0].encode())
        self.upload()

    def upload(self) -> None:
        for id_, left in self.content.items():
            while left and (size := min(left, 16_384, self.windows[0], self.windows[id_])) > 0:
                left = self.content[id_] = left - size
                self.windows[0] -= size
                self.windows[id_] -= size
                self.send(0, left == 0, id_, bytes(size))

    def receive(self, stream: "socket.SocketIO") -> None:
        """Read pieces until all answers have ended."""
        size = HEADER.get(self.step, 9)
        while self.targets and len(header := stream.read(size)) == size:
            payload = stream.read(int.from_bytes(header[:3]))
            id_ = int.from_bytes(header[-4:]) if size > 3 else min(self.targets)
            type_ = header[3] if size == 9 else 0
            if type_ == 8:
                self.windows[id_] += int.from_bytes(payload)
                self.upload()
            elif type_ == 0:
                self.counts[id_] += len(payload)
                if size == 9 and self.step >= "4" and payload:
                    self.send(8, 0, 0, len(payload).to_bytes(4))
                    self.send(8, 0, id_, len(payload).to_bytes(4))
                if size == 3 or (size == 7 and not payload) or (size == 9 and header[4] & 1):
                    print(f"{self.targets.pop(id_)}: {self.counts[id_]:,} bytes")


def main() -> None:
    try:
        name, port, *targets = sys.argv[1:]
        step = name.removeprefix("step")[:1]
        if not "1" <= step <= "6":
            raise ValueError(f"{name} is none of steps 1 to 6")
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as connection:
            conversation = Conversation(step, connection, targets)
            conversation.ask()
            conversation.receive(connection.makefile("rb"))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"client.py STEP PORT /N …: {error}")
    for target in conversation.targets.values():
        print(f"{target}: no answer")


if __name__ == "__main__":
    main()
