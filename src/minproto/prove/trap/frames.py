"""What the snares of HTTP/2 send: frames and field blocks on the request's stream, whatever its number is.

    Frame(DATA, END_STREAM, b"hello")           DATA on the request's stream
    Frame(PING, 0, b"12345678", on=0)           a frame of the connection
    headers((":status", "200"))                    HEADERS with END_HEADERS
"""

from typing import NamedTuple

from minproto.http2_frames import END_HEADERS, HEADERS, encode_frame
from minproto.prove.frames import literal


class Frame(NamedTuple):
    """A frame."""

    type: int
    flags: int = 0
    payload: bytes = b""
    on: int | None = None
    """The stream; None for the request's."""
    reserved: int = 0
    """The reserved bit before the stream identifier."""

    def on_stream(self, stream: int) -> bytes:
        """Return the bytes of the frame."""
        number = stream if self.on is None else self.on
        return encode_frame(self.type, self.flags, self.reserved << 31 | number, self.payload)


def block(*fields: tuple[str, str]) -> bytes:
    """Return a field block without compression, which may contain what no encoder would send."""
    return b"".join([literal(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])


def headers(*fields: tuple[str, str], flags: int = END_HEADERS, on: int | None = None) -> Frame:
    """Return a HEADERS frame with a field block."""
    return Frame(HEADERS, flags, block(*fields), on)
