r"""What the cases of HTTP/2 send: frames, and field blocks whose fields depend on the target.

    Head(1, GET)                                                      HEADERS with END_STREAM and END_HEADERS
    Head(1, POST, flags=END_HEADERS)                                  a POST whose content follows
    frame(DATA, END_STREAM, 1, b"hello")

A field block is written without compression, so it reads the same on each connection, and a case can contain what no encoder
would send (RFC 7541 §6.2.2: 00, then name and value, each after its length).
"""

from dataclasses import dataclass

from minproto.http2_frames import END_HEADERS, END_STREAM, HEADERS, encode_frame
from minproto.prove.case import Filling

Fields = tuple[tuple[str, str], ...]
"""Names and values. A value may contain ``{path}`` and other placeholders of ``Target.fill``."""

frame = encode_frame


def fields(method: str, *more: tuple[str, str], path: str = "{path}") -> Fields:
    """Return a request's fields: the pseudo-header fields, and then ``more``."""
    return ((":method", method), (":scheme", "{scheme}"), (":path", path), (":authority", "{host}"), *more)


GET = fields("GET")
POST = fields("POST", path="{post}")
CONNECT = (
    (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "{scheme}"), (":path", "{ws}"), (":authority", "{host}"),
    ("sec-websocket-version", "13"),
)  # fmt: skip
"""An extended CONNECT: the handshake of a WebSocket over HTTP/2 (RFC 8441 §5)."""


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

    def encode(self, target: Filling) -> bytes:
        """Return the frame."""
        return encode_frame(self.type, self.flags, self.stream, self.before + block(target, self.fields) + self.after)


def block(target: Filling, fields: Fields) -> bytes:
    """Return a field block of literals that are not indexed."""
    return b"".join([literal(*[target.fill(text.encode("latin-1")) for text in field]) for field in fields])


def literal(name: bytes, value: bytes) -> bytes:
    """Return a field as a literal that is not indexed (RFC 7541 §6.2.2)."""
    return b"\0" + _string(name) + _string(value)


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
