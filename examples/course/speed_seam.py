"""A short cut is a subclass in which one method does less work. Only a comparison on all inputs shows that it adds no rule."""

from itertools import product

from sans_io_core import Connection, Numbers

from minproto.core import RemoteProtocolError


class Fast(Connection):
    """Reads a chunk that is exactly one line with one number, and leaves every other chunk to the plain parser."""

    def _parse(self) -> Numbers | None:
        data = self._buffer
        if data[-1:] == b"\n" and data[:-1].isdigit() and len(data) <= self._limit:
            self._buffer = b""
            return Numbers([int(data)])
        return super()._parse()


class Wrong(Connection):
    """Splits at any white space, which is faster than a regular expression, and almost correct."""

    def _parse(self) -> Numbers | None:
        line, end, rest = self._buffer.partition(b"\n")
        words = line.split()
        if end and words and all(word.isdigit() for word in words) and len(line) <= self._limit:
            self._buffer = rest
            return Numbers([int(word) for word in words])
        return super()._parse()


def outcome(kind: type[Connection], data: bytes) -> object:
    core, events = kind(limit=4), []
    core.receive_data(data)
    core.receive_eof()
    try:
        events += core.events()
    except RemoteProtocolError as error:
        return events, str(error)
    return events, core.buffered, core.wants


streams = [bytes(stream) for size in range(7) for stream in product(b"1 \nx", repeat=size)]
for kind in Fast, Wrong:
    differ = [stream for stream in streams if outcome(kind, stream) != outcome(Connection, stream)]
    print(f"{kind.__name__}: {len(streams)} streams, {len(differ)} that differ from the plain core", *differ[:1], sep="  ")
