"""A small WebSocket client that can do everything wrong. It shares nothing with ours, so they can't err together."""

import base64
import hashlib
import os
import socket
import ssl
import struct
import zlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from .serving import Serving

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1 = 0x80, 0x40

KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455 §1.3."""


def frame(opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A frame as a client sends it. ``rsv``: 0 to 7."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size, bit = len(payload), 0x80 * masked
    head = bytes([FIN * fin | rsv << 4 | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4)
    whole = int.from_bytes((key * (size // 4 + 1))[:size], "big") ^ int.from_bytes(payload, "big")
    return head + key + whole.to_bytes(size, "big")


def close(code: int, reason: bytes | str = b"") -> bytes:
    """A Close frame."""
    return frame(CLOSE, struct.pack("!H", code) + (reason.encode() if isinstance(reason, str) else reason))


def fragments(opcode: int, pieces: list[bytes], *, rsv: int = 0) -> list[bytes]:
    """The frames of a message in pieces."""
    last = len(pieces) - 1
    return [
        frame(CONTINUATION if number else opcode, piece, fin=number == last, rsv=0 if number else rsv)
        for number, piece in enumerate(pieces)
    ]


def cut(data: bytes, size: int) -> list[bytes]:
    """Pieces of at most ``size`` bytes; of nothing, one."""
    return [data[start : start + size] for start in range(0, len(data), size)] or [b""]


def request(*fields: str, target: str = "/ws", method: str = "GET", version: str = "1.1", without: str = "") -> bytes:
    """A handshake. ``fields`` are added; those whose name begins with ``without`` are left out."""
    usual = ["Host: a", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
    kept = [line for line in usual if not (without and line.startswith(without))]
    return "\r\n".join([f"{method} {target} HTTP/{version}", *kept, *fields, "", ""]).encode()


@dataclass
class Answer:
    """The head of what the server says to a handshake."""

    status: int
    fields: dict[str, str]


@dataclass
class Frame:
    """A frame of the server's."""

    opcode: int
    payload: bytes
    rsv1: bool = field(default=False)
    fin: bool = field(default=True)

    @property
    def code(self) -> int:
        """Of a Close; 1005 if it has none."""
        assert self.opcode == CLOSE, self
        self.payload[2:].decode()
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


class Peer:
    """A socket with a WebSocket on it, or with what is to become one."""

    def __init__(self, server: Serving, *fields: str, handshake: bool = True, trust: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection((server.host, server.port), timeout=8)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each piece is to travel alone
        if trust is not None:
            self.sock = trust.wrap_socket(self.sock, server_hostname=server.host, suppress_ragged_eofs=False)
        self._file = self.sock.makefile("rb")
        if handshake:
            self.send(request(*fields))
            self.answer = self.head()
            assert self.answer.status == 101

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self.sock.close()

    def send(self, *pieces: bytes) -> None:
        """Each piece in a system call of its own."""
        for piece in pieces:
            self.sock.sendall(piece)

    def drip(self, data: bytes, size: int = 1) -> None:
        """A few bytes at a time."""
        self.send(*cut(data, size))

    def head(self) -> Answer:
        """The answer to a handshake, but for its content."""
        start, *lines = iter(lambda: self._file.readline().rstrip(b"\r\n").decode(), "")
        fields = dict(line.split(": ", 1) for line in lines)
        if start.split()[1] == "101":
            key = hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert fields["sec-websocket-accept"] == base64.b64encode(key).decode() == ACCEPT
        return Answer(int(start.split()[1]), fields)

    def content(self, answer: Answer) -> bytes:
        """That of a refusal."""
        return self._file.read(int(answer.fields["content-length"]))

    def read(self) -> Frame:
        """The next frame. No server masks, and none of ours sets a reserved bit but the first."""
        first, size = self._file.read(2)
        assert first & 0x30 == 0 and size < 128
        if size == 126:
            (size,) = struct.unpack("!H", self._file.read(2))
            assert size > 125
        elif size == 127:
            (size,) = struct.unpack("!Q", self._file.read(8))
            assert size > 65_535
        payload = self._file.read(size)
        assert len(payload) == size
        return Frame(first & 15, payload, bool(first & RSV1), bool(first & FIN))

    def expects(self, *frames: Frame) -> None:
        """These come next."""
        for expected in frames:
            assert self.read() == expected

    def ends(self, code: int) -> None:
        """The server sends Close with this code, nothing after it, and closes the connection: in order, not by a reset."""
        assert self.read().code == code
        assert self._file.read() == b""

    def closes(self) -> None:
        """All is well: say so, and have it said."""
        self.send(close(1000))
        self.ends(1000)


class Deflate:
    """permessage-deflate, straight from zlib: what a client needs to send and to receive."""

    def __init__(
        self, *, send_bits: int = 15, receive_bits: int = 15, keep_ours: bool = True, keep_theirs: bool = True
    ) -> None:
        self._send, self._receive = (send_bits, keep_ours), (receive_bits, keep_theirs)
        self._out, self._in = zlib.compressobj(wbits=-send_bits), zlib.decompressobj(-receive_bits)

    def deflate(self, data: bytes) -> bytes:
        """A message's payload."""
        bits, keep = self._send
        if not keep:
            self._out = zlib.compressobj(wbits=-bits)
        return (self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def inflate(self, data: bytes) -> bytes:
        """And back. zlib fails if the server looked back farther than agreed."""
        bits, keep = self._receive
        if not keep:
            self._in = zlib.decompressobj(-bits)
        return self._in.decompress(data + b"\0\0\xff\xff")
