"""Wrong servers for the cases of ``minproto prove``: each answers the right request of its protocol, and little else rightly.

A server is an object with ``receive``: bytes of the client in, bytes of the server out. ``closed`` says that the server has
ended the connection. There is no socket and no task, so a case on such a server takes a millisecond of a virtual clock.
"""

import asyncio

from minproto.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_SIZE,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    encode_frame,
    encode_settings,
    parse_header,
)
from minproto.prove.controls import CONTROLS
from minproto.prove.frames import GET, Head, credit
from minproto.prove.line import Line
from minproto.prove.target import Target
from minproto.prove.transcripts.http2 import Http2

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
HELLO = encode_settings([(MAX_CONCURRENT_STREAMS, 10)])
TAKEN = encode_frame(SETTINGS, ACK, 0)


class Wrong:
    """What all wrong servers have in common."""

    closed = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.got = b""

    def receive(self, data: bytes) -> bytes:
        """Return the answer to bytes."""
        self.got += data
        return self.answer()

    def answer(self) -> bytes:
        """Return the answer to the bytes that have come since the last answer."""
        raise NotImplementedError

    def end(self) -> bytes:
        """Return the answer to the end of the client's direction."""
        return b""

    def close(self, last: bytes) -> bytes:
        """End the connection with these bytes."""
        self.closed = True
        return last


class AnswersEachLine(Wrong):
    """HTTP/1.1: each line that ends with a version is a request, wherever it stands. Each request gets a 200."""

    def answer(self) -> bytes:
        sent = b""
        *lines, self.got = self.got.split(b"\n")
        for line in lines:
            if b" HTTP/" in line:
                sent += OK + (b"" if line.startswith(b"HEAD ") else b"hello")
            self.closed |= line.lower().startswith(b"connection: close")
        return sent


class RefusesAllButGet(Wrong):
    """HTTP/1.1: a 400 for all bytes but those of the right request."""

    other = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

    def answer(self) -> bytes:
        right = b"".join([self.target.fill(step) for step in CONTROLS["http1"].steps if isinstance(step, bytes)])
        if right == self.got:
            return self.close(OK + b"hello")
        return b"" if right.startswith(self.got) else self.close(self.other)


class WritesTraceback(RefusesAllButGet):
    """HTTP/1.1: all bytes but those of the right request get a traceback, without a head."""

    other = b"Traceback (most recent call last):\r\n"

    def end(self) -> bytes:
        return self.close(self.other)


class AnswersFirstBytes(Wrong):
    """HTTP/1.1: a 200 for the first bytes, whatever they are. The connection stays open, and nothing more is answered."""

    def receive(self, data: bytes) -> bytes:
        first, self.got = not self.got, data
        return OK + b"hello" if first else b""


class Frames(Wrong):
    """HTTP/2: a server that reads frames."""

    greeted = False

    def answer(self) -> bytes:
        sent = b""
        if not self.greeted and len(self.got) >= len(PREFACE):
            self.greeted, self.got = True, self.got[len(PREFACE) :]
            sent += HELLO
        while self.greeted and not self.closed and len(self.got) >= HEADER_SIZE:
            header = parse_header(self.got)
            frame, rest = self.got[: HEADER_SIZE + header.length], self.got[HEADER_SIZE + header.length :]
            if len(frame) < HEADER_SIZE + header.length:
                break
            self.got = rest
            if header.type == SETTINGS and not header.flags & ACK:
                sent += TAKEN
            sent += self.take(frame)
        return sent

    def take(self, frame: bytes) -> bytes:
        """Return the answer to one frame."""
        raise NotImplementedError


def ok(stream: int) -> bytes:
    """Return a response of 200 in HTTP/2, with content."""
    return encode_frame(HEADERS, END_HEADERS, stream, b"\x88") + encode_frame(DATA, END_STREAM, stream, b"hello")


class AnswersEachHead(Frames):
    """HTTP/2: a 200 for each HEADERS frame. No fault is seen."""

    def take(self, frame: bytes) -> bytes:
        header = parse_header(frame)
        return ok(header.stream) if header.type == HEADERS else b""


class EndsUnlessGet(Frames):
    """HTTP/2: a GOAWAY for all frames but those of the right request."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        opening = Http2(CONTROLS["http2"], target).opening()[len(PREFACE) :]
        self.head = Head(1, GET).encode(target)
        self.expected = [opening, TAKEN, self.head, credit(0, 5), credit(1, 5)]

    def take(self, frame: bytes) -> bytes:
        if frame not in self.expected:
            return self.refuse(parse_header(frame).stream)
        self.expected.remove(frame)
        return ok(1) if frame == self.head else b""

    def refuse(self, stream: int) -> bytes:
        """Return the answer to a frame that the right request does not have."""
        return self.close(encode_frame(GOAWAY, 0, 0, bytes(7) + b"\x01"))


class ResetsUnlessGet(EndsUnlessGet):
    """HTTP/2: a reset of stream 1 for all frames but those of the right request."""

    def refuse(self, stream: int) -> bytes:
        return encode_frame(RST_STREAM, 0, stream or 1, bytes(3) + b"\x02")


class AnswersWithoutHead(EndsUnlessGet):
    """HTTP/2: content without a head for all frames but those of the right request."""

    def refuse(self, stream: int) -> bytes:
        return encode_frame(DATA, END_STREAM, stream or 1, b"hello")


class NeedsPrefaceAlone(AnswersEachHead):
    """HTTP/2: the first read has to be the preface, and all that follows the preface in this read is lost. No stream is
    allowed."""

    def receive(self, data: bytes) -> bytes:
        if self.greeted:
            return super().receive(data)
        self.greeted = data.startswith(PREFACE)
        return encode_settings([(MAX_CONCURRENT_STREAMS, 0)]) if self.greeted else self.close(b"")


class SaysOk(Wrong):
    """RESP: PING gets +PONG, and all other bytes get +OK."""

    other = b"+OK\r\n"

    def answer(self) -> bytes:
        got, self.got = self.got, b""
        return b"+PONG\r\n" if got == b"*1\r\n$4\r\nPING\r\n" else self.other


class SaysError(SaysOk):
    """RESP: PING gets +PONG, and all other bytes get an error."""

    other = b"-ERR no\r\n"


class Ends(SaysOk):
    """RESP: PING gets +PONG, and all other bytes end the connection."""

    def answer(self) -> bytes:
        return super().answer() if self.got == b"*1\r\n$4\r\nPING\r\n" else self.close(b"")


SERVERS: dict[str, tuple[type[Wrong], ...]] = {
    "http1": (AnswersEachLine, RefusesAllButGet, AnswersFirstBytes, WritesTraceback),
    "http2": (AnswersEachHead, EndsUnlessGet, ResetsUnlessGet, AnswersWithoutHead, NeedsPrefaceAlone),
    "resp": (SaysOk, SaysError, Ends),
}


class Direct(Line):
    """A connection to a wrong server, without a network."""

    def __init__(self, server: Wrong) -> None:
        self.server = server
        self.coming = b""
        self.ended = ""
        self.record = []
        self.is_shut = False

    async def send(self, data: bytes, patience: float) -> None:
        if data and not self.server.closed:
            self.coming += self.server.receive(data)

    def shut(self) -> None:
        self.coming += self.server.end()

    async def receive(self, seconds: float) -> bytes:
        data, self.coming = self.coming, b""
        if not data and self.server.closed:
            self.ended = "closed"
        elif not data:
            await asyncio.sleep(seconds)
        return data

    def close(self) -> None:
        """Nothing is left."""


class Served(Target):
    """A target that is a wrong server."""

    make: type[Wrong]

    async def connect(self, alpn: str = "http/1.1") -> Line:
        return Direct(self.make(self))
