"""Three examples pass, and two cuts of fourteen fail: a parser remembers one byte too many."""


class Lines:
    """Split a stream at CRLF. Remember how far the search has come, so that no byte is searched twice."""

    def __init__(self) -> None:
        self.buffer, self.searched = b"", 0

    def receive(self, data: bytes) -> list[bytes]:
        self.buffer += data
        lines = []
        while (end := self.buffer.find(b"\r\n", self.searched)) >= 0:
            lines.append(self.buffer[:end])
            self.buffer, self.searched = self.buffer[end + 2 :], 0
        self.searched = len(self.buffer)
        return lines


def lines(*chunks: bytes) -> list[bytes]:
    parser = Lines()
    return [line for chunk in chunks for line in parser.receive(chunk)]


assert lines(b"hello\r\n") == [b"hello"]
assert lines(b"hello\r\nworld\r\n") == [b"hello", b"world"]
assert lines(b"hel", b"lo\r\nwor", b"ld\r\n") == [b"hello", b"world"]
print("three examples pass")

stream = b"hello\r\nworld\r\n"
for at in range(len(stream)):
    if lines(stream[:at], stream[at:]) != lines(stream):
        print(f"cut at {at}: {stream[:at]} + {stream[at:]} gives {lines(stream[:at], stream[at:])}")
