r"""A whole core: lines of numbers come in as bytes, events come out; a sum goes in as an event, bytes come out.

    b"2 3\n"  -->  Numbers([2, 3])        Sum(5)  -->  b"5\n"
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from minproto.core import Event, LocalProtocolError, RemoteProtocolError, Wants


@dataclass(slots=True)
class Numbers(Event):
    values: list[int]


@dataclass(slots=True)
class Sum(Event):
    value: int


class Connection:
    def __init__(self, limit: int = 100) -> None:
        self.wants = Wants.DATA
        self.error: RemoteProtocolError | None = None
        self._limit, self._buffer, self._eof = limit, b"", False

    def receive_data(self, data: bytes) -> None:
        """Store bytes, and look at none of them. Only a shell that does not pull the events in between is refused."""
        if len(self._buffer) > self._limit:
            raise LocalProtocolError("received more than the limit without pulling events")
        self._buffer += data

    def receive_eof(self) -> None:
        self._eof = True

    def next_event(self) -> Numbers | None:
        """Return one event. None: ``wants`` says why there is none. Raises the same error again after a failure."""
        if self.error is None:
            try:
                return self._parse()
            except RemoteProtocolError as error:
                self.error, self.wants = error, Wants.CLOSED
        raise self.error

    def events(self) -> Iterator[Numbers]:
        while (event := self.next_event()) is not None:
            yield event

    def send(self, event: Sum) -> bytes:
        return b"%d\n" % event.value

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def _parse(self) -> Numbers | None:
        line, end, rest = self._buffer.partition(b"\n")
        if len(line) > self._limit:
            raise RemoteProtocolError("a line is too long")
        if end:
            if not re.fullmatch(rb"[0-9]+( [0-9]+)*", line):
                raise RemoteProtocolError("a line is not numbers with one space between them")
            self._buffer = rest
            return Numbers([int(number) for number in line.split(b" ")])
        if self._eof:
            if line:
                raise RemoteProtocolError("the stream ends inside a line")
            self.wants = Wants.CLOSED
        return None
