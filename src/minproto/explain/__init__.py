r"""Explain every byte of a connection: the field that it belongs to, its value, its meaning, and the section of the standard.

    explainer = Explainer()
    explainer.receive_data(CLIENT, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    for row in explainer.rows():
        print(row.title, [(field.name, field.value) for field in row.fields])

This prints the one row of the one head:

    GET /hello [('method', 'GET'), ('request-target', '/hello'), ('HTTP-version', '1.1'), ('host', 'a'), ('empty line', '')]

An explainer sits between the two ends and sees the bytes of both, but it is neither a client nor a server. So it does not
run their state machines. It uses the cores' parsers to find where a head or a frame ends. It recognises the protocol by
its first bytes, and it follows an Upgrade. Three laws hold for any input, however it is cut:

- The raw bytes of all fields, joined, are the input.
- Malformed bytes become a row with an error, never an exception.
- The number of bytes that wait for more bytes is bounded.

Left out: what TLS encrypts (an explainer has to sit inside TLS to see it). ``once.py`` explains bytes that are only a part of
a connection.
"""

from collections.abc import Iterator

from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError, Role, Wants
from minproto.explain.protocols import recognise, recognise_server
from minproto.explain.rows import MAX_HELD, Bits, Field, Row, Script, Side, opaque, readable

__all__ = ["Bits", "Explainer", "Field", "Row"]


class Explainer:
    """The explainer of one connection. As in a core, ``receive_data`` and ``receive_eof`` only store; ``rows`` parses."""

    def __init__(self) -> None:
        self._client, self._server = Side(CLIENT), Side(SERVER)
        self._sides = {CLIENT: self._client, SERVER: self._server}
        self._scripts = {CLIENT: self._until_recognised(self._client), SERVER: self._until_recognised(self._server)}
        self._going_on: dict[Role, Script[None]] = {}  # the scripts of the protocol, once it is known

    @property
    def protocol(self) -> str:
        """The name of the protocol, such as "HTTP/1.1"; "" until it is recognised."""
        return self._client.protocol

    def receive_data(self, sender: Role, data: bytes) -> None:
        """Store bytes that one side sent. Raises LocalProtocolError for too many bytes between two calls of ``rows``."""
        if self._sides[sender].eof and data:
            raise LocalProtocolError("data received after the end of input")
        if not self._sides[sender].buffer.append(data):
            raise LocalProtocolError("received more than the limit without taking the rows")

    def receive_eof(self, sender: Role) -> None:
        """Note that one side will send no more."""
        self._sides[sender].eof = True

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are complete."""
        while row := self._next_row(self._client) or self._next_row(self._server):
            yield row

    def waiting(self, sender: Role) -> int:
        """Return the number of one side's bytes that are not in a row yet."""
        side = self._sides[sender]
        return side.buffer.size + sum([len(field.raw) for field in side.fields])

    def _next_row(self, side: Side) -> Row | None:
        """Run one side's script up to its next row. Return None if the script is waiting for more bytes.

        Bytes that can't be explained are given up: malformed bytes, an incomplete head or frame at the end of input, and too
        many bytes that wait for the other side's answer.
        """
        try:
            step = next(self._scripts[side.sender])
        except RemoteProtocolError as error:
            return self._give_up(side, "malformed", str(error))
        if isinstance(step, Row):
            return step
        ended = side.eof and (step is Wants.DATA or all(side.eof for side in self._sides.values()))
        if ended and (side.buffer.size or side.fields):
            return self._give_up(side, "incomplete", "the connection ended in the middle")
        if step is Wants.PAUSED and side.buffer.size > MAX_HELD:
            return self._give_up(side, "unexplained", "too much came before the other side answered")
        return None

    def _give_up(self, side: Side, name: str, error: str) -> Row:
        """Return a row with all waiting bytes, unexplained. From now on this side's bytes are shown without an explanation."""
        if data := side.take(side.buffer.size):
            side.add(name, data, readable(data), "as it came", "")
        self._scripts[side.sender] = opaque(side, side.protocol or "unknown", "after data that could not be explained")
        return side.row(error)

    def _until_recognised(self, side: Side) -> Script[None]:
        """Wait until the protocol is recognised, and then run the protocol's script for this side."""
        side.begin("the first bytes")
        while side.sender not in self._going_on:
            self._recognise(side)
            if side.sender not in self._going_on:
                yield Wants.DATA if side is self._client else Wants.PAUSED
        yield from self._going_on[side.sender]

    def _recognise(self, side: Side) -> None:
        """Try to recognise the protocol by one side's first bytes. If that succeeds, choose the scripts of both sides."""
        first = side.buffer.peek(0, MAX_HELD)
        if side is self._client:
            explain = recognise(first)
        else:  # no byte from the client so far: recognise the protocol by the server's, once it has ended or sent too many
            explain = recognise_server(first) if first and (side.eof or side.buffer.size > MAX_HELD) else None
        if explain is not None:
            self._going_on = dict(zip(self._sides, explain(self._client, self._server), strict=True))
