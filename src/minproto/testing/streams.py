"""The streams that ``minproto laws`` and ``@obeys`` know: the bytes that a peer sends, and our core that reads them.

``STREAMS["http1-request"].reader()`` has everything that is needed to check a parser of HTTP/1.1 requests: the streams, the
limit, the stages, our own core for comparison, and what the explainer and the ledger call this protocol.

A parser under test has nobody to answer for it. So it keeps reading after each message, as if the message had been answered: a
parser of requests does not wait for a response, and a parser of WebSocket frames does not wait for a Pong. Our core does wait,
so its owner answers at once: ``Subject.answer`` of the reference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from minproto import http1, http2, resp, sse, websocket
from minproto.core import CLIENT, SERVER, Core, Event, Role
from minproto.explain.once import BEFORE, Said
from minproto.http import EndOfMessage, Headers, ResponseHead
from minproto.http2_frames import PREFACE, encode_settings
from minproto.prove import ledger
from minproto.prove.ledger import Example, Requirement
from minproto.testing import subjects
from minproto.testing.agreement import agrees_with, understands_as
from minproto.testing.cuts import anyhow
from minproto.testing.laws import RECEIVING_LAWS, Law, Subject, ignore
from minproto.testing.stages import ROOMY, STAGES, Stage


class _AnyMethod(frozenset[str]):
    """The set of all methods: another parser need not know which methods our server implements."""

    def __contains__(self, method: object) -> bool:
        return True


_ROOMY_HTTP1 = http1.Limits(1 << 20, 1 << 20, 1 << 20, 1 << 60, 1 << 20, 1 << 20)
_ROOMY_WS = websocket.Limits(1 << 20, 1 << 20)
_ROOMY_RESP = resp.Limits(1 << 20, 1 << 20, 1 << 20, 1 << 10, 1 << 20)


@dataclass(frozen=True)
class Reader:
    """One end that reads a stream, with everything that is needed to check a parser for it."""

    name: str
    """The name of the stream."""
    role: Role
    small: Subject
    """Our core with small limits: its ``streams`` and its ``limit`` are those for a parser under test."""
    reference: Subject
    """Our core with large limits, for a comparison: another parser may refuse other sizes."""
    opening: bytes = b""
    """What a stream begins with, if the ledger's examples leave it out: in HTTP/2, the preface and SETTINGS."""

    @property
    def before(self) -> tuple[Said, ...]:
        """What the two ends have said before the stream begins, so that the explainer recognises the protocol."""
        return BEFORE[self.name, self.role]

    @property
    def sender(self) -> Role:
        """The end that sends the stream."""
        return CLIENT if self.role is SERVER else SERVER

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages from one line to the whole protocol."""
        return tuple(STAGES[self.name, self.role.value]())

    def laws(self, stage: Stage | None = None, *, against: bool = False) -> list[Law]:
        """Return the laws of a stage; None means the whole protocol. ``against``: law 13, too."""
        chosen = stage or Stage("", self.small.streams, RECEIVING_LAWS, anyhow, last=True)
        first = [understands_as(self.reference)] if chosen.valid else []
        return [*first, *chosen.laws, *([agrees_with(self.reference, ends=not chosen.valid)] if against else [])]

    def examples(self) -> Iterator[tuple[Requirement, Example]]:
        """Yield the examples of the ledger's entries about this stream, right and wrong, each with its entry."""
        for entry in ledger.load():
            if entry.stream == self.name:
                for example in entry.examples():
                    if example.role in ("", self.role.value):
                        yield entry, replace(example, data=self.opening + example.data)

    def limit(self, stage: Stage | None) -> int:
        """Return the number of bytes that a parser may hold in this stage."""
        return self.small.limit if stage is None or stage.last else ROOMY

    def subject(
        self, make: Callable[[], Core], stage: Stage | None = None, limit: int | None = None,
        answer: Callable[[Core, Event], None] = ignore,
    ) -> Subject:  # fmt: skip
        """Return the subject for a parser under test: with the streams of a stage, and its limit if there is no other one."""
        limit = limit or self.limit(stage)
        if stage is None:
            return Subject(make, self.small.streams, limit, answer)
        return Subject(make, stage.streams, limit, answer, drawn=stage.drawn)


@dataclass(frozen=True)
class Stream:
    """What one end of a protocol sends to the other."""

    what: str
    """What a parser of this stream reads, in a few words."""
    ledger: tuple[str, ...]
    """How the ids of the ledger's entries begin."""
    readers: tuple[Reader, ...]
    """Who reads the stream. The first one is the default."""

    def reader(self, role: str | None = None) -> Reader:
        """Return what reads the stream, by its role. Raises ValueError for a role that does not read it."""
        for each in self.readers:
            if role in (None, each.role.value):
                return each
        roles = " or ".join(each.role.value for each in self.readers)
        raise ValueError(f"{self.readers[0].name} is read by a {roles}, not by a {role!r}")


def chosen_stage(reader: Reader, number: int | None) -> Stage | None:
    """Return the stage with this number, which begins with 1. Raises ValueError if there is none."""
    if number is None:
        return None
    if not 1 <= number <= len(reader.stages):
        raise ValueError(f"{reader.name} has the stages 1 to {len(reader.stages)}, and no stage {number}")
    return reader.stages[number - 1]


def _roomy_http1() -> Subject:
    """Return the reference for requests. Its owner answers each of them, and keeps the connection if the client does."""

    def answer(core: Core, event: Event) -> None:
        if isinstance(event, EndOfMessage):
            # A client of HTTP/1.0 that asks for keep-alive goes on only if the response says so (RFC 9112 §9.3).
            core.send(ResponseHead(404, Headers([("content-length", "0"), ("connection", "keep-alive")])))
            core.send(EndOfMessage())

    small = subjects.http1_server()
    return replace(small, make=lambda: http1.Connection(SERVER, _ROOMY_HTTP1, _AnyMethod()), answer=answer)


_SETTINGS = encode_settings([]) + bytes.fromhex("000000 04 01 00000000")  # and the acknowledgement of the other end's
_HTTP = ("9110", "9112")
STREAMS: dict[str, Stream] = {
    "http1-request": Stream("requests of HTTP/1.1", _HTTP, (
        Reader("http1-request", SERVER, subjects.http1_server(), _roomy_http1()),
    )),
    "http1-response": Stream("responses of HTTP/1.1, each of them to a GET", _HTTP, (
        Reader("http1-response", CLIENT, subjects.http1_client(), subjects.http1_client(limits=_ROOMY_HTTP1)),
    )),
    "websocket": Stream("frames of a WebSocket, after the handshake, without extensions", ("6455",), tuple(
        Reader("websocket", role, subjects.websocket_end(role), subjects.websocket_end(role, limits=_ROOMY_WS))
        for role in (SERVER, CLIENT)
    )),
    "sse": Stream("an event stream (Server-Sent Events)", ("sse",), (
        Reader("sse", CLIENT, subjects.sse_client(), subjects.sse_client(sse.Limits(1 << 20))),
    )),
    "resp": Stream("RESP, the protocol of Redis: a server reads commands, a client reads replies", ("resp",), tuple(
        Reader("resp", role, subjects.resp_end(role), subjects.resp_end(role, _ROOMY_RESP))
        for role in (SERVER, CLIENT)
    )),
    "http2": Stream("HTTP/2, from the preface on", ("9113", "7541"), (
        Reader("http2", SERVER, subjects.http2_end(SERVER), subjects.http2_end(SERVER, http2.Limits()), PREFACE + _SETTINGS),
        Reader("http2", CLIENT, subjects.http2_end(CLIENT), subjects.http2_end(CLIENT, http2.Limits()), _SETTINGS),
    )),
}  # fmt: skip
"""The streams by name."""
