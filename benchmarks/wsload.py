"""The other end of many WebSockets: load for benchmarks/websocket.py, and a check that all servers give the same answers.

The load has to be much faster than any server, so it prepares everything before a run. Its frames are made once, and masked
with random keys. It only counts the bytes of the answers: a server's frames are not masked, so all answers to one payload have
the same size. Each server has to echo correctly, byte for byte, before it is measured, and a run is over only when exactly as
many bytes have come back as were sent.

Nothing of minproto is used here, since nobody would see a mistake that both ends make.
"""

import selectors
import socket
import struct
import sys
import time
from secrets import choice
from typing import Self

from benchmarks.common import HOST, Peer

TEXT, BINARY = 1, 2
ECHO, BROADCAST = "/echo", "/broadcast"
PATIENCE = 10.0  # seconds without an answer
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of RFC 6455 §1.3
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
CHECKS = (
    (TEXT, "Grüße, 世界 🌍".encode()),
    *((opcode, b"x" * size) for opcode in (TEXT, BINARY) for size in (0, 64, 125, 126, 65_535, 65_536, 1 << 20)),
)


def handshake(path: str) -> bytes:
    """Return a handshake that offers nothing: no compression, no subprotocol."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def is_accepted(head: bytes) -> bool:
    return head.startswith(b"HTTP/1.1 101 ") and ACCEPT in head and b"extensions" not in head.lower()


def header(opcode: int, size: int, masked: int = 0) -> bytes:
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, masked | size)
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, masked | 126, size)
    return struct.pack("!BBQ", 0x80 | opcode, masked | 127, size)


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame, masked. No byte of the key is 0: a server could skip the work for such a byte."""
    size, key = len(payload), bytes(choice(range(1, 256)) for _ in range(4))
    keys = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return header(opcode, size, masked=0x80) + key + masked.to_bytes(size, "big")


CLOSE = frame(8, struct.pack("!H", 1000))


def answer(opcode: int, payload: bytes) -> bytes:
    """Return the answer that a server has to give: one frame, not masked."""
    return header(opcode, len(payload)) + payload


def connect(port: int, path: str) -> socket.socket:
    sock = socket.create_connection((HOST, port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(handshake(path))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(65_536)
        if not piece:
            break
        head += piece
    if not is_accepted(head):
        sys.exit(f"the server did not accept the handshake: {head!r}")
    return sock


def check(peer: Peer, port: int) -> None:
    """Check that a server does the job of all peers: the same bytes for messages of all kinds and sizes."""
    sock = connect(port, ECHO)
    for opcode, payload in CHECKS:
        sock.sendall(frame(opcode, payload))
        want, got = answer(opcode, payload), b""
        while len(got) < len(want) and (piece := sock.recv(1 << 20)):
            got += piece
        if got != want:
            sys.exit(f"{peer.name} gave another answer than its peers: {got[:20]!r} instead of {want[:20]!r}")
    leave([sock])


def leave(sockets: list[socket.socket]) -> None:
    """End the connections in an orderly way, so that no server logs an error: a Close from each side, then the end."""
    for sock in sockets:
        sock.settimeout(PATIENCE)
        sock.sendall(CLOSE)
    for sock in sockets:
        while sock.recv(65_536):
            pass
        sock.close()


class Channel:
    """Sockets that get the messages of the first of them: one socket where a server echoes, all where it broadcasts."""

    __slots__ = ("due", "got", "sockets", "speaker", "unsent")

    def __init__(self, sockets: list[socket.socket], size: int) -> None:
        self.sockets = sockets
        self.speaker = sockets[0]
        self.due = size * len(sockets)  # bytes that one message brings
        self.got = 0  # of them
        self.unsent = memoryview(b"")


class Load:
    """Connections that each have this many messages in flight: after each answer the next message is sent."""

    def __init__(self, port: int, path: str, opcode: int, payload: bytes, connections: int, in_flight: int) -> None:
        self._frames = memoryview(b"".join(frame(opcode, payload) for _ in range(in_flight)))
        self._in_flight = in_flight
        self._frame_size = len(self._frames) // in_flight
        sockets = [connect(port, path) for _ in range(connections)]
        size = len(answer(opcode, payload))
        groups = [sockets] if path == BROADCAST else [[sock] for sock in sockets]
        self._channels = [Channel(group, size) for group in groups]
        self._selector = selectors.DefaultSelector()
        for channel in self._channels:
            for sock in channel.sockets:
                sock.setblocking(False)
                self._selector.register(sock, READ, channel)
        self._into = bytearray(1 << 20)
        self._sending = False
        self._waiting = 0  # messages sent that have not yet reached every connection
        self._delivered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._selector.close()
        if kind is None:
            leave([sock for channel in self._channels for sock in channel.sockets])

    def run(self, seconds: float) -> float:
        """Return the messages delivered per second. Messages that are still on their way at the end do not count."""
        self._delivered, self._sending = 0, True
        began = time.perf_counter()
        for channel in self._channels:
            self._send(channel, self._in_flight)
        while (elapsed := time.perf_counter() - began) < seconds:
            self._turn()
        rate = self._delivered / elapsed
        self._sending = False
        while self._waiting:
            self._turn()
        if any(channel.got for channel in self._channels):
            sys.exit("the server sent more than the answers")
        return rate

    def _turn(self) -> None:
        ready = self._selector.select(PATIENCE)
        if not ready:
            sys.exit(f"no answer for {PATIENCE} s: {self._waiting} messages did not come back")
        for key, events in ready:
            if events & READ:
                self._receive(key.fileobj, key.data)  # type: ignore[arg-type]
            if events & WRITE:
                self._flush(key.data)

    def _receive(self, sock: socket.socket, channel: Channel) -> None:
        size = sock.recv_into(self._into)
        if not size:
            sys.exit("the server hung up")
        count, channel.got = divmod(channel.got + size, channel.due)
        if count:
            self._waiting -= count
            self._delivered += count * len(channel.sockets)
            if self._sending:
                self._send(channel, count)

    def _send(self, channel: Channel, count: int) -> None:
        self._waiting += count
        data = self._frames[: count * self._frame_size]
        if channel.unsent:
            channel.unsent = memoryview(channel.unsent.tobytes() + data)
            return
        sent = channel.speaker.send(data)
        if sent < len(data):
            channel.unsent = data[sent:]
            self._selector.modify(channel.speaker, READ | WRITE, channel)

    def _flush(self, channel: Channel) -> None:
        channel.unsent = channel.unsent[channel.speaker.send(channel.unsent) :]
        if not channel.unsent:
            self._selector.modify(channel.speaker, READ, channel)
