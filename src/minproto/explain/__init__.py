"""Every byte of a connection, explained as it crosses: which field it belongs to, what that says and means, and where the
standard has it.

    explainer = Explainer()
    explainer.receive_data(CLIENT, b"GET /hello HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    for row in explainer.rows():
        print(row.title, [(field.name, field.value) for field in row.fields])

Who explains stands between the two ends and sees what both send, but takes no part. So it runs no state machine of theirs:
it uses the cores' parsers to find where things end, and the cores to judge. It recognises the protocol by the first bytes,
and follows an Upgrade. Laws: the fields' raw bytes, put together, are the input, whatever that is and however it is cut;
what is malformed is a row with an error, never an exception; and what waits is bounded.

Left out: TLS (put the wire on its inside), and whoever begins to listen in the middle of a connection.
"""

from collections.abc import Iterator

from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError, Role, Wants
from minproto.explain.protocols import recognise, recognise_server
from minproto.explain.rows import MAX_HELD, Bits, Field, Row, Script, Side, opaque, readable

__all__ = ["Bits", "Explainer", "Field", "Row"]


class Explainer:
    """One connection. Like a core: ``receive_data`` and ``receive_eof`` store, ``rows`` explains what can be by now."""

    def __init__(self) -> None:
        self._client, self._server = Side(CLIENT), Side(SERVER)
        self._sides = {CLIENT: self._client, SERVER: self._server}
        self._scripts = {CLIENT: self._until_recognised(self._client), SERVER: self._until_recognised(self._server)}
        self._going_on: dict[Role, Script[None]] = {}  # the scripts of the protocol, once it is known

    @property
    def protocol(self) -> str:
        """What is spoken, by name; "" while that is not known."""
        return self._client.protocol

    def receive_data(self, sender: Role, data: bytes) -> None:
        """Store bytes that one side sent. Raises LocalProtocolError where the rows before were not taken."""
        if self._sides[sender].eof and data:
            raise LocalProtocolError("data received after the end of input")
        if not self._sides[sender].buffer.append(data):
            raise LocalProtocolError("received more than the limit without taking the rows")

    def receive_eof(self, sender: Role) -> None:
        """One side will send no more."""
        self._sides[sender].eof = True

    def rows(self) -> Iterator[Row]:
        """What the bytes so far give. A row that is not complete comes later."""
        while row := self._next_row(self._client) or self._next_row(self._server):
            yield row

    def waiting(self, sender: Role) -> int:
        """Bytes of one side that are in no row yet."""
        side = self._sides[sender]
        return side.buffer.size + sum([len(field.raw) for field in side.fields])

    def _next_row(self, side: Side) -> Row | None:
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
        """All that waits, as it is; and from now on whatever comes."""
        if data := side.take(side.buffer.size):
            side.add(name, data, readable(data), "as it came", "")
        self._scripts[side.sender] = opaque(side, side.protocol or "unknown", "behind what could not be explained")
        return side.row(error)

    def _until_recognised(self, side: Side) -> Script[None]:
        """Wait until the client, or if need be the server, has said enough; then go on in that protocol."""
        side.begin("the first bytes")
        while side.sender not in self._going_on:
            self._recognise(side)
            if side.sender not in self._going_on:
                yield Wants.DATA if side is self._client else Wants.PAUSED
        yield from self._going_on[side.sender]

    def _recognise(self, side: Side) -> None:
        first = side.buffer.peek(0, MAX_HELD)
        if side is self._client:
            explain = recognise(first)
        else:  # a server that speaks first is listened to only if there is nobody else
            explain = recognise_server(first) if first and (side.eof or side.buffer.size > MAX_HELD) else None
        if explain is not None:
            self._going_on = dict(zip(self._sides, explain(self._client, self._server), strict=True))
