"""A peer for the HTTP/2 core that says frames as the tests write them, right or wrong, and reads what it answers."""

from collections.abc import Iterable

import hpack

import minproto.http2
from minproto import http2_frames as f
from minproto.core import CLIENT, SERVER, Event, RemoteProtocolError, Role
from minproto.http import EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import Limits

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
POST = [(":method", "POST"), *GET[1:]]
OK = [(":status", "200")]
ALIVE = "alive"
PROBE = b"\x00are up?"

Connection = minproto.http2.Connection
"""The core that the tests use: by the fixture ``plain_and_fast``, the plain one and then the fast one."""


def frame(type_: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Any frame, also one that our encoder would not make."""
    header = len(payload).to_bytes(3, "big") + bytes([type_, flags]) + stream.to_bytes(4, "big")
    return header + payload


def settings(*values: tuple[int, int]) -> bytes:
    return frame(f.SETTINGS, payload=b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values))


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def ping(data: bytes = b"12345678", flags: int = 0) -> bytes:
    return frame(f.PING, flags, payload=data)


def window_update(stream: int, increment: int) -> bytes:
    return frame(f.WINDOW_UPDATE, 0, stream, number(increment))


def reset(stream: int, code: int = f.CANCEL) -> bytes:
    return frame(f.RST_STREAM, 0, stream, number(code))


def data(stream: int, content: bytes = b"", *, end: bool = False) -> bytes:
    return frame(f.DATA, f.END_STREAM if end else 0, stream, content)


def split(stream: bytes) -> list[f.Frame]:
    """The frames of a stream that is right."""
    found = []
    while stream:
        header = f.parse_header(stream)
        end = f.HEADER_SIZE + header.length
        found.append(f.Frame(header.type, header.flags, header.stream, stream[f.HEADER_SIZE : end]))
        assert len(stream) >= end
        stream = stream[end:]
    return found


class Wire:
    """A core and its peer. The owner of the core gives what the protocol demands, and answers requests if told so."""

    def __init__(self, role: Role = SERVER, *, greeted: bool = True, answer: bool = False, **limits: int) -> None:
        self.core: minproto.http2.Connection = Connection(role, Limits(**limits))
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.answer = answer
        self.said: list[f.Frame] = []
        """What the core has said and nobody has looked at yet."""
        self.error: RemoteProtocolError | None = None
        self._preface = f.PREFACE if role is CLIENT else b""
        self.say(self.core.greeting())
        if greeted:
            self.feed((f.PREFACE if role is SERVER else b"") + settings() + frame(f.SETTINGS, f.ACK))
            self.said.clear()

    def say(self, event: Event) -> None:
        """The core sends an event."""
        said = self.core.send(event)
        if self._preface:
            assert said.startswith(self._preface)
            said, self._preface = said[len(self._preface) :], b""
        self.said += split(said)

    def ask(self, head: list[tuple[str, str]] = GET) -> int:
        """The core, a client, makes a request; without an end where its method can have content."""
        names = dict(head)
        stream = self.core.next_stream
        headers = Headers([("host", names[":authority"]), *(field for field in head if field[0][0] != ":")])
        self.say(RequestHead(names[":method"], names[":path"], headers, "2", stream))
        return stream

    def feed(self, *pieces: bytes) -> list[Event]:
        """The peer says something, and the core answers what it has to; the events that it gave."""
        events: list[Event] = []
        try:
            for piece in pieces:
                self.core.receive_data(piece)
                for event in self.core.events():
                    events.append(event)
                    self._react(event)
        except RemoteProtocolError as error:
            self.error = error
            for last in self.core.farewell(error):
                self.say(last)
        return events

    def _react(self, event: Event) -> None:
        if (reply := self.core.reply(event)) is not None:
            self.say(reply)
        if self.answer and isinstance(event, EndOfMessage):
            self.say(ResponseHead(200, Headers([("content-length", "0")]), "2", event.stream))
            self.say(EndOfMessage(Headers(), event.stream))

    def head(
        self,
        stream: int = 1,
        fields: Iterable[tuple[str, str]] = GET,
        *,
        end: bool = True,
        flags: int = f.END_HEADERS,
        before: bytes = b"",
        after: bytes = b"",
    ) -> bytes:
        """HEADERS of the peer's, with these bytes around the field block."""
        block = before + self.encoder.encode(list(fields)) + after
        return frame(f.HEADERS, flags | (f.END_STREAM if end else 0), stream, block)

    def verdict(self, *pieces: bytes) -> str | tuple[str, int] | tuple[str, int, int]:
        """What becomes of the connection when a peer says this: alive, ("stream", id, code) or ("connection", code).

        The fault has to be seen by the last byte, and none may be seen after it.
        """
        self.feed(*pieces)
        return self.state()

    def state(self) -> str | tuple[str, int] | tuple[str, int, int]:
        verdicts: list[tuple[str, int] | tuple[str, int, int]] = []
        for type_, _, stream, payload in self.said:
            if type_ == f.RST_STREAM:
                verdicts.append(("stream", stream, f.parse_number(payload)))
            elif type_ == f.GOAWAY:
                verdicts.append(("connection", f.parse_goaway(payload)[1]))
        if self.error is None:  # a connection that goes on answers a ping
            self.feed(ping(PROBE))
            assert self.said[-1] == (f.PING, f.ACK, 0, PROBE), "the connection is stuck"
        else:
            assert self.core.error is self.error
        return verdicts[-1] if verdicts else ALIVE

    def fields(self, frame_: f.Frame) -> list[tuple[str, str]]:
        """What a HEADERS frame of the core's says, decoded by the peer."""
        assert frame_.type == f.HEADERS and frame_.flags & f.END_HEADERS
        return [(str(name), str(value)) for name, value in self.decoder.decode(frame_.payload)]
