"""The laws on a parser of your own: the parser looks right, and the laws find two bytes that prove it wrong.

The parser splits a stream into lines, each of which ends in CRLF. It remembers how far it has searched. Without this, a line
that arrives byte by byte would be searched again from its start for each byte. But the parser forgets one case: a CR at the
end of the bytes so far may be half of a CRLF.

It prints:

    law 2. However the bytes are cut, the events (adjacent Data joined) and the error are the same.
    broken by:
        b'\\r'  <-- cut
        b'\\n'  <-- end of input
    the first difference is in event 1:
        in one piece: Line(text=b'')
        cut:          end of input, before which wants was DATA
"""

from hypothesis import strategies as st

from minproto.core import Event, RemoteProtocolError, Wants
from minproto.testing import Subject, check


class Line(Event):
    def __init__(self, text: bytes) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Line) and self.text == other.text


class LineParser:
    """A subject of the laws: any object that has these five attributes and methods."""

    def __init__(self) -> None:
        self.data, self.searched, self.wants = b"", 0, Wants.DATA

    @property
    def buffered(self) -> int:
        return len(self.data)

    def receive_data(self, data: bytes) -> None:
        self.data += data

    def receive_eof(self) -> None:
        self.wants = Wants.CLOSED

    def next_event(self) -> Event | None:
        end = self.data.find(b"\r\n", self.searched)
        if end < 0:
            self.searched = len(self.data)  # here is the bug: it has to be one less
            if len(self.data) > 64:
                self.wants = Wants.CLOSED
                raise RemoteProtocolError("line too long")
            return None
        line, self.data, self.searched = self.data[:end], self.data[end + 2 :], 0
        return Line(line)


streams = st.lists(st.sampled_from([b"\r\n", b"text"])).map(b"".join)
try:
    check(Subject(LineParser, streams, limit=64))
except AssertionError as error:
    print(error)
