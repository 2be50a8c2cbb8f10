"""A protocol has to write the end of a message into the bytes: here a line feed is the end, wherever the network cuts."""


class Lines:
    def __init__(self) -> None:
        self.buffer = b""

    def receive(self, data: bytes) -> list[bytes]:
        """Take the bytes of one read. Return the lines that are complete now: none, one, or several."""
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        return lines


def one_read_is_one_line(data: bytes) -> list[bytes]:
    """Treat one read as one line, as a beginner does. This works only while each read happens to return exactly one line."""
    return [data.removesuffix(b"\n")]


STREAM = b"hello\nworld\n"
for reads in [b"hello\n", b"world\n"], [b"hello\nworld\n"], [b"hel", b"lo\nwor", b"ld\n"]:
    parser = Lines()
    print(reads)
    print("  naive: ", [line for data in reads for line in one_read_is_one_line(data)])
    print("  Lines: ", [line for data in reads for line in parser.receive(data)])

cuts = range(len(STREAM) + 1)
results = set()
for at in cuts:
    parser = Lines()
    results.add(tuple(parser.receive(STREAM[:at]) + parser.receive(STREAM[at:])))
print(f"{len(cuts)} places to cut, {len(results)} result: {results.pop()}")
