r"""What the cases of HTTP/2 send: frames, and field blocks whose fields depend on the target.

    Head(1, GET)                                                      HEADERS with END_STREAM and END_HEADERS
    Head(1, POST, flags=END_HEADERS)                                  a POST whose content follows
    frame(DATA, END_STREAM, 1, b"hello")

A field block is written without compression, so it reads the same on each connection, and a case can contain what no encoder
would send (RFC 7541 §6.2.2: 00, then name and value, each after its length).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minproto.http2_frames import (
    CANCEL,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    encode_frame,
)
from minproto.prove.case import Filling

Fields = tuple[tuple[str, str], ...]
"""Names and values. A value may contain ``{path}`` and other placeholders of ``Target.fill``."""

frame = encode_frame


def fields(method: str, *more: tuple[str, str], path: str = "{path}") -> Fields:
    """Return a request's fields: the pseudo-header fields, and then ``more``."""
    return ((":method", method), (":scheme", "{scheme}"), (":path", path), (":authority", "{host}"), *more)


def without(name: str, fields: Fields) -> Fields:
    """Return the fields without one."""
    return tuple(field for field in fields if field[0] != name)


def number(value: int) -> bytes:
    """Return 32 bits: an error code, an increment, a stream."""
    return value.to_bytes(4, "big")


def settings(*values: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame, also one with values that no client may send."""
    payload = b"".join([name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values])
    return encode_frame(SETTINGS, 0, 0, payload)


def reset(stream: int, code: int = CANCEL) -> bytes:
    """Return a RST_STREAM frame."""
    return encode_frame(RST_STREAM, 0, stream, number(code))


def credit(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return encode_frame(WINDOW_UPDATE, 0, stream, number(increment))


def goaway(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame."""
    return encode_frame(GOAWAY, 0, 0, number(last) + number(code) + debug)


GET = fields("GET")
POST = fields("POST", path="{post}")
ECHO = fields("POST", path="{echo}")
LARGE = fields("GET", path="{large}")
CONNECT = (
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "{scheme}"), (":path", "{ws}"), (":authority", "{host}"),
    ("sec-websocket-version", "13"),
)  # fmt: skip
"""An extended CONNECT: the handshake of a WebSocket over HTTP/2 (RFC 8441 §5)."""
PING_FRAME = encode_frame(PING, 0, 0, b"12345678")


@dataclass(frozen=True, slots=True)
class Head:
    """A HEADERS frame (or, with another ``type``, a CONTINUATION) with a field block."""

    stream: int
    fields: Fields
    flags: int = END_STREAM | END_HEADERS
    before: bytes = b""
    """Bytes before the block: a pad length, a priority."""
    after: bytes = b""
    """Bytes after the block: more of it, or padding."""
    type: int = HEADERS
    indexed: bool = False
    """Whether each field becomes an entry of the server's compression table (RFC 7541 §6.2.1)."""

    def encode(self, target: Filling) -> bytes:
        """Return the frame."""
        fields = block(target, self.fields, 0x40 if self.indexed else 0)
        return encode_frame(self.type, self.flags, self.stream, self.before + fields + self.after)


def block(target: Filling, fields: Fields, kind: int = 0) -> bytes:
    """Return a field block of literals. ``kind``: see ``literal``."""
    filled = [[target.fill(text.encode("latin-1")) for text in field] for field in fields]
    return b"".join([literal(name, value, kind) for name, value in filled])


def literal(name: bytes, value: bytes, kind: int = 0) -> bytes:
    """Return a field as a literal. ``kind`` is how it begins: 0x40 makes it an entry of the table (RFC 7541 §6.2.1), and 0
    does not (RFC 7541 §6.2.2)."""
    return bytes([kind]) + _string(name) + _string(value)


def _string(data: bytes) -> bytes:
    """Return a string literal without Huffman code: its length, with a prefix of seven bits, and its bytes (RFC 7541 §5.2)."""
    size = len(data)
    if size < 127:
        return bytes([size]) + data
    length, rest = [127], size - 127
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*length, rest]) + data


@dataclass(frozen=True, slots=True)
class Pieces:
    """A field block that is cut: HEADERS with the first ``sizes[0]`` bytes, then a CONTINUATION for each further size, and one
    for the rest. ``flags`` are those of HEADERS, ``last`` those of the last CONTINUATION."""

    stream: int
    fields: Fields
    sizes: tuple[int, ...]
    flags: int = END_STREAM
    last: int = END_HEADERS

    def encode(self, target: Filling) -> bytes:
        """Return the frames."""
        rest, out, type_, flags = block(target, self.fields), b"", HEADERS, self.flags
        for size in self.sizes:
            out += encode_frame(type_, flags, self.stream, rest[:size])
            rest, type_, flags = rest[size:], CONTINUATION, 0
        return out + encode_frame(type_, self.last, self.stream, rest)


@dataclass(frozen=True, slots=True)
class Each:
    """The same frames for each of many streams."""

    streams: range
    frames: Callable[[int], "Sequence[bytes | Head]"]
    """A stream -> its frames."""

    def encode(self, target: Filling) -> bytes:
        """Return all frames."""
        steps = [step for stream in self.streams for step in self.frames(stream)]
        return b"".join([step if isinstance(step, bytes) else step.encode(target) for step in steps])


MOST_STREAMS = 1_000
"""The highest limit of concurrent streams that a case tries to exceed."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """One request more than the target's SETTINGS_MAX_CONCURRENT_STREAMS allows at once."""

    fields: Fields
    after: bytes = b""
    """More of each field block."""

    def encode(self, target: Filling) -> bytes:
        """Return all HEADERS frames."""
        count = min(target.settings.get(MAX_CONCURRENT_STREAMS, MOST_STREAMS), MOST_STREAMS)
        return b"".join([Head(stream, self.fields, after=self.after).encode(target) for stream in range(1, 2 * count + 2, 2)])
