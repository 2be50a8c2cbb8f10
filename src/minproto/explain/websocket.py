"""WebSocket, explained: frames bit by bit, payloads unmasked and inflated, and messages put together.

    81 85 37 fa 21 3d 7f 9f 4d 51 58
    81              FIN, RSV, opcode = text       the last frame of its message
    85              MASK, length = 5
    37 fa 21 3d     masking key
    7f 9f 4d 51 58  payload = Hello               unmasked

The core's ``parse_header`` says where a frame ends. A core in the role of the receiving side is fed each frame as well: it
finds faults, and it says which message a frame completes. After a fault this core is no longer used, but later frames can
still be explained.

On an HTTP/2 stream the WebSocket's frames are the content of DATA frames (RFC 8441 §5). A DATA frame may end in the
middle of a WebSocket frame (``Carried``).
"""

from dataclasses import replace

from minproto.core import CLIENT, SERVER, Event, RemoteProtocolError, Role, Wants
from minproto.explain.rows import Bits, Field, Row, Script, Side, counted, readable, shown
from minproto.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL,
    FIN,
    MASKED,
    MAX_HEADER,
    OPCODE,
    PING,
    PONG,
    RSV,
    RSV1,
    TEXT,
    Connection,
    Message,
    mask,
    parse_header,
)
from minproto.websocket_handshake import Agreement

_OPCODES = {
    CONTINUATION: ("continuation", "more of the message"),
    TEXT: ("text", "a message of text begins, in UTF-8"),
    BINARY: ("binary", "a message of bytes begins"),
    CLOSE: ("Close", "the last frame of this side"),
    PING: ("Ping", "the other side has to answer with the same payload"),
    PONG: ("Pong", "the answer to a Ping"),
}
_RESERVED = ("reserved", "no standard gives it a meaning")
_CODES = {
    1000: "done", 1001: "going away", 1002: "protocol error", 1003: "a type of data that it can't take",
    1007: "data that does not fit its type", 1008: "policy", 1009: "too big", 1010: "an extension is missing",
    1011: "internal error", 1012: "service restarts", 1013: "try again later", 1014: "bad gateway",
}  # fmt: skip


def explain_websocket(client: Side, server: Side, agreement: Agreement) -> tuple[Script[None], Script[None]]:
    """Return the scripts of both sides, for the bytes after the handshake."""
    return _Frames(client, agreement).script(), _Frames(server, agreement).script()


def explain_carried(agreement: Agreement) -> "dict[Role, Carried]":
    """Return the explanations of both sides for frames that are the content of another protocol's frames."""
    sides = Side(CLIENT), Side(SERVER)
    scripts = explain_websocket(*sides, agreement)
    return {side.sender: Carried(side, script) for side, script in zip(sides, scripts, strict=True)}


class Carried:
    """The explanation of one side's WebSocket, whose frames come as content. ``add`` is called with the next piece of content.

    A script reads the WebSocket's frames from a Side of their own. The fields that it finds are copied into the row of the
    DATA frame. If a field has begun in an earlier piece, only its last bytes are added to the row.
    """

    def __init__(self, own: Side, script: Script[None]) -> None:
        self._own = own
        self._script = script
        self._told = 0  # bytes of the next field that are already in an earlier row, as "part of a frame"

    def add(self, side: Side, data: bytes) -> None:
        """Add fields for all bytes of a piece of content."""
        self._own.buffer.append(data)
        while isinstance(found := next(self._script), Row):
            self._tell(side, found.fields, found.title, found.error)
        self._tell(side, self._own.fields, self._own.title, self._own.error)
        self._own.fields = []
        if rest := self._own.buffer.peek(self._told, self._own.buffer.size):
            side.add("part of a frame", rest, readable(rest), "its end is in a later piece", "RFC 6455 §5.2")
            self._told += len(rest)

    def _tell(self, side: Side, fields: list[Field], title: str, error: str) -> None:
        side.error = side.error or error
        if fields and ":" not in side.title:  # the title has the first of several frames
            side.title = f"{side.title}: {title}"
        for field in fields:
            raw = field.raw[self._told :]
            self._told -= len(field.raw) - len(raw)
            side.fields.append(replace(field, raw=raw))


class _Frames:
    """The script of one side."""

    def __init__(self, side: Side, agreement: Agreement) -> None:
        self._side = side
        # The core of the side that receives these frames.
        self._core: Connection | None = Connection(SERVER if side.sender is CLIENT else CLIENT, agreement)
        self._closed = False
        self._compressed = False
        self._fragmented = False

    def script(self) -> Script[None]:
        """Explain frames: a header of 2 to 14 bytes, and the payload, whose length is in the header."""
        side = self._side
        side.protocol = "WebSocket"
        while True:
            side.begin("frame")
            header = None
            while header is None:
                yield from side.need(2)
                header = parse_header(side.buffer.peek(0, MAX_HEADER))
                if header is None:
                    yield from side.need(side.buffer.size + 1)
            length, key, size = header
            first = self._add_header(length, key, size)
            yield from self._payload(first, length, key)
            yield side.row()

    # -- the header

    def _add_header(self, length: int, key: bytes, size: int) -> int:
        """Add the fields of the header, and return its first byte."""
        side = self._side
        head = side.take(size)
        first, at = head[0], size - len(key)
        opcode = _OPCODES.get(first & OPCODE, _RESERVED)
        fin = "" if first & FIN else ", not the last"
        side.begin(f"{opcode[0]} frame{fin}, {counted(length, 'byte')}")
        if self._closed:
            side.error = "a frame after a Close"  # §5.5.1: an endpoint MUST NOT send more after a Close
        side.add("FIN, RSV, opcode", head[:1], opcode[0], opcode[1], "RFC 6455 §5.2", _first_bits(first, opcode))
        length_meaning = _length_meaning(head[1] & ~MASKED)
        side.add("MASK, length", head[1:2], str(head[1] & ~MASKED), length_meaning, "RFC 6455 §5.2", _second_bits(head[1]))
        if at > 2:
            side.add("extended length", head[2:at], str(length), "bytes of payload", "RFC 6455 §5.2")
        if key:
            side.add("masking key", key, key.hex(" "), "each byte of the payload is XORed with one of these", "RFC 6455 §5.3")
        self._feed(head)
        if not first & CONTROL:
            self._compressed = bool(first & RSV1) if first & OPCODE else self._compressed
            self._fragmented = not first & FIN or first & OPCODE == CONTINUATION
        return first

    # -- the payload

    def _payload(self, first: int, length: int, key: bytes) -> Script[None]:
        """Explain the payload of a frame, in pieces if it is long."""
        def add(data: bytes) -> None:  # pieces are multiples of 4 bytes, so each piece begins with the key's first byte
            if first & OPCODE == CLOSE:
                self._add_close(data, key)
            else:
                self._add_data(data, mask(data, key) if key else data, first)
            self._feed(data)

        yield from self._side.pieces(length, add)

    def _add_data(self, raw: bytes, data: bytes, first: int) -> None:
        if first & CONTROL:
            meaning, section = "the data that a Pong repeats", "RFC 6455 §5.5.2"
        elif self._compressed:
            meaning, section = "compressed: the message below is what it inflates to", "RFC 7692 §6"
        else:
            meaning, section = "of the message", "RFC 6455 §5.6"
        masked = ", unmasked" if raw is not data else ""
        self._side.add("payload", raw, readable(data), meaning + masked, section)

    def _add_close(self, raw: bytes, key: bytes) -> None:
        data = mask(raw, key) if key else raw
        code = int.from_bytes(data[:2], "big")
        self._side.add("status code", raw[:2], str(code), _CODES.get(code, "of an app or a library"), "RFC 6455 §7.4")
        if raw[2:]:
            self._side.add("reason", raw[2:], readable(data[2:]), "for people who read logs", "RFC 6455 §5.5.1")

    # -- the core's opinion

    def _feed(self, data: bytes) -> None:
        """Give bytes to the receiving core, and note the messages that they complete, or the fault that the core finds."""
        if self._core is None:
            return
        try:
            self._core.receive_data(data)
            for event in self._core.events():
                self._note(event)
        except RemoteProtocolError as error:
            self._core = None
            self._side.error = str(error)
        else:
            if self._core.wants is Wants.CLOSED:
                self._core = None
                self._closed = True

    def _note(self, event: Event) -> None:
        if isinstance(event, Message) and (self._compressed or self._fragmented):
            text = event.data if isinstance(event.data, str) else readable(event.data)
            how = "inflated" if self._compressed else "put together"
            self._side.note("message", shown(text), f"as the other side's app gets it, {how}", "RFC 6455 §5.4")


def _first_bits(first: int, opcode: tuple[str, str]) -> tuple[Bits, ...]:
    return (
        Bits.of(first, FIN, "FIN", "the last frame of its message" if first & FIN else "more frames follow"),
        Bits.of(first, RSV1, "RSV1", "the message is compressed" if first & RSV1 else "not compressed"),
        Bits.of(first, RSV & ~RSV1, "RSV2, RSV3", "not in use"),
        Bits.of(first, OPCODE, "opcode", f"{first & OPCODE}: {opcode[0]}"),
    )


def _second_bits(second: int) -> tuple[Bits, ...]:
    masked = "masked, as all that a client sends" if second & MASKED else "as it is, as all that a server sends"
    return Bits.of(second, MASKED, "MASK", masked), Bits.of(second, ~MASKED, "length", str(second & ~MASKED))


def _length_meaning(length: int) -> str:
    if length < 126:
        return "bytes of payload"
    return f"the length is in the next {2 if length == 126 else 8} bytes"
