"""minproto and h11 read the same bytes in both roles: the same messages or the same refusal, but for a written list.

The main law has no exception: where both find a message, it ends at the same byte and has the same content. What only one
of them refuses or rewrites has to be in ``ALLOWED``, with the reason; each entry has an example, so that it cannot rot.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import h11
import pytest

from minproto.core import Event, RemoteProtocolError, Role, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead, split_list
from minproto.http1 import BODY, IDLE, Connection

CLIENT, SERVER = Role
FRAMING = ("content-length", "transfer-encoding")
HOST, CLOSE = ("host", "a.example"), ("connection", "close")
UPGRADE = [("connection", "upgrade"), ("upgrade", "websocket")]
ANSWER = Headers([("content-length", "0"), ("connection", "keep-alive")])
REQUESTS = {  # what our client asks, by the names used below
    "GET": RequestHead("GET", "/", Headers([HOST])),
    "HEAD": RequestHead("HEAD", "/", Headers([HOST])),
    "POST": RequestHead("POST", "/", Headers([HOST, ("content-length", "0")])),
    "CONNECT": RequestHead("CONNECT", "a.example:443", Headers([HOST])),
    "upgrade": RequestHead("GET", "/", Headers([HOST, *UPGRADE])),
    "close": RequestHead("GET", "/", Headers([HOST, CLOSE])),
}


class Case(NamedTuple):
    """The bytes that one end receives, and what it does itself."""

    role: Role
    data: bytes
    asked: tuple[str, ...] = ("GET",)  # a client: its requests
    accept: bool = False  # a server: whether it agrees to CONNECT and Upgrade


class H11:
    """h11 behind the contract of our cores, as far as it is needed here."""

    def __init__(self, role: Role) -> None:
        self.h11 = h11.Connection(h11.SERVER if role is SERVER else h11.CLIENT)
        self.wants = Wants.DATA

    def receive_data(self, data: bytes) -> None:
        if data:  # b"" would mean the end
            self.h11.receive_data(data)

    def receive_eof(self) -> None:
        self.h11.receive_data(b"")

    @property
    def buffered(self) -> int:
        return len(self.h11.trailing_data[0])

    @property
    def request(self) -> int:
        return IDLE if self.h11.our_state is h11.IDLE else BODY

    def next_event(self) -> Event | None:
        self.wants = Wants.CLOSED
        if self.h11.their_state is h11.MUST_CLOSE:
            return None  # to h11 it is an error if data follow; we leave them unread (RFC 9112 §9.6)
        try:
            event = self.h11.next_event()
        except h11.RemoteProtocolError as error:
            raise RemoteProtocolError(str(error)) from error
        match event:
            case h11.Request():
                method, target, version = (part.decode() for part in (event.method, event.target, event.http_version))
                return RequestHead(method, target, decoded(event.headers), version)
            case h11.Response() | h11.InformationalResponse():
                return ResponseHead(event.status_code, decoded(event.headers), event.http_version.decode())
            case h11.Data():
                return Data(bytes(event.data))
            case h11.EndOfMessage():
                self._start_next_cycle()
                return EndOfMessage(decoded(event.headers))
            case h11.NEED_DATA | h11.PAUSED:
                self.wants = Wants.DATA if event is h11.NEED_DATA else Wants.PAUSED
        return None

    def send(self, event: Event) -> None:
        match event:
            case RequestHead():
                self.h11.send(h11.Request(method=event.method, target=event.target, headers=event.headers))
            case ResponseHead():
                head = h11.InformationalResponse if event.status < 200 else h11.Response
                self.h11.send(head(status_code=event.status, headers=event.headers))
            case EndOfMessage():
                self.h11.send(h11.EndOfMessage())
                self._start_next_cycle()

    def _start_next_cycle(self) -> None:
        if self.h11.our_state is self.h11.their_state is h11.DONE and not self.h11.trailing_data[1]:
            self.h11.start_next_cycle()


def decoded(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields])


# ---- what one of them makes of the bytes -----------------------------------------------------------------------------


@dataclass
class Message:
    """A message as far as it was read."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    trailers: Headers | None = None  # None: its end was not seen
    end: int = 0  # how many bytes of the stream were taken by then


class Reading(NamedTuple):
    """What came of a stream that ends after the bytes: its outcome is closed, paused (switched) or error."""

    messages: list[Message]
    waited: bool  # for more than the bytes, so it was told of the end
    outcome: str
    why: str = ""

    @property
    def between(self) -> bool:
        """Whether it ended outside of a message (where a head that was not understood is outside, too)."""
        return not self.messages or self.messages[-1].trailers is not None

    @property
    def progress(self) -> tuple[int, bool, int]:
        """How far it came: heads, and of the last message whether it is complete and how much content it has."""
        return len(self.messages), self.between, len(self.messages[-1].body) if self.messages else 0


def read(side: Connection | H11, case: Case) -> Reading:
    """Let it read, and answer every request, or ask again after every response."""
    messages: list[Message] = []
    asked, waited = iter(case.asked), False
    try:
        ask(side, case, asked)
        side.receive_data(case.data)
        while True:
            event = side.next_event()
            match event:
                case RequestHead() | ResponseHead():
                    interim = isinstance(event, ResponseHead) and event.status < 200
                    messages.append(Message(event, trailers=Headers() if interim else None))
                case Data():
                    messages[-1].body += event.data
                case EndOfMessage():
                    messages[-1].trailers = event.trailers
                case None if side.wants is Wants.DATA and not waited:
                    side.receive_eof()
                    waited = True
                    continue
                case None:
                    if side.wants is Wants.PAUSED:
                        messages[-1].trailers = Headers()  # 2xx to CONNECT has no end of its own
                    return Reading(messages, waited, side.wants.value)
            messages[-1].end = len(case.data) - side.buffered
            if isinstance(event, EndOfMessage):
                ask(side, case, asked) if case.role is CLIENT else answer(side, case, messages[-1].head)
    except RemoteProtocolError as error:
        return Reading(messages, waited, "error", str(error))


def ask(side: Connection | H11, case: Case, asked: Iterator[str]) -> None:
    if case.role is CLIENT and side.request == IDLE and (name := next(asked, None)):
        side.send(REQUESTS[name])
        side.send(EndOfMessage())


def answer(side: Connection | H11, case: Case, head: RequestHead) -> None:
    offered = "upgrade" in split_list(head.headers.get("connection", "")) and head.headers.get("upgrade", "")
    if case.accept and head.method == "CONNECT":
        side.send(ResponseHead(200, Headers()))
    elif case.accept and offered and head.version != "1.0":
        side.send(ResponseHead(101, Headers(UPGRADE)))
    else:
        side.send(ResponseHead(404 if head.method == "CONNECT" else 200, ANSWER))
        side.send(EndOfMessage())


# ---- the comparison --------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """What differs: the framing fields or the other fields (``a`` ours, ``b`` theirs), the outcome, or the patience."""

    what: str
    role: Role
    ours: Reading
    theirs: Reading
    a: tuple[tuple[str, str], ...] = ()
    b: tuple[tuple[str, str], ...] = ()


def differences(case: Case) -> Iterator[Difference]:
    """Assert the main law, and give what else differs."""
    ours, theirs = readings = read(Connection(case.role), case), read(H11(case.role), case)
    for our, their in zip(ours.messages, theirs.messages, strict=False):
        assert replace(our.head, headers=Headers()) == replace(their.head, headers=Headers())
        assert our.body.startswith(their.body) or their.body.startswith(our.body)
        sections = [(our.head.headers, their.head.headers)]
        if our.trailers is not None and their.trailers is not None:
            assert (our.body, our.end) == (their.body, their.end), "one stream, split in two ways"
            sections.append((our.trailers, their.trailers))
        for section in sections:
            for what in "framing", "fields":
                a, b = (tuple(f for f in fields if (f[0] in FRAMING) == (what == "framing")) for fields in section)
                if a != b:
                    yield Difference(what, case.role, *readings, a, b)
    if (ours.outcome, ours.progress) != (theirs.outcome, theirs.progress):
        yield Difference("outcome", case.role, *readings)
    elif ours.waited != theirs.waited:
        yield Difference("patience", case.role, *readings)


class Allowed(NamedTuple):
    """A difference that may be."""

    name: str
    when: Callable[[Difference], object]
    example: Case
    reason: str


def we_refuse(why: str, role: Role | None = None) -> Callable[[Difference], bool]:
    """h11 went on, or at least was content, where we stopped with these words."""
    return lambda d: (
        (d.what, d.ours.outcome, role or d.role) == ("outcome", "error", d.role)
        and d.ours.progress <= d.theirs.progress
        and re.fullmatch(why, d.ours.why) is not None
    )


def they_refuse(why: str, role: Role | None = None, head: Callable[[Message], object] | None = None) -> Callable[[Difference], bool]:
    """We went on where h11 stopped with these words. ``head``: it was at the head of a message of which this is true."""
    return lambda d: (
        (d.theirs.outcome, role or d.role) == ("error", d.role)
        and (d.what == "outcome" or (d.what == "patience" and d.ours.waited))
        and d.ours.progress >= d.theirs.progress
        and re.match(why, d.theirs.why) is not None
        and (head is not None) == d.theirs.between
        and (head is None or all(map(head, d.ours.messages[len(d.theirs.messages) :][:1])))
    )


def request(*lines: str, start: str = "GET / HTTP/1.1", host: str = "Host: a", rest: bytes = b"") -> Case:
    return Case(SERVER, "\r\n".join([start, host, *lines, "\r\n"]).encode("latin-1") + rest)


def response(*lines: str, start: str = "HTTP/1.1 200 OK", rest: bytes = b"", asked: str = "GET") -> Case:
    return Case(CLIENT, "\r\n".join([start, *lines, "\r\n"]).encode("latin-1") + rest, (asked,))


def codings(message: Message) -> list[str]:
    return split_list(message.head.headers.get("transfer-encoding", ""))


CHUNKED = "Transfer-Encoding: chunked"
ALLOWED = [
    # -- one message, two spellings of it
    Allowed("framing fields rewritten", lambda d: d.what == "framing" and elements(d.a) == elements(d.b), request("Content-Length: 0, 0"),
            "h11 joins equal lengths and lowers codings; we give what came"),
    Allowed("spaces of a fold", lambda d: d.what == "fields" and squeezed(d.a) == squeezed(d.b), response("A: a \r\n\t b"),
            "§5.2: one or more SP for a fold; h11 keeps those before it"),
    # -- a server is stricter
    Allowed("fold in a request", we_refuse(r"unexpected byte 0x(20|09) in the name of a head", SERVER), request("A: a\r\n b"),
            "§5.2: reject, or replace by SP"),
    Allowed("unknown method", we_refuse("method not implemented", SERVER), request(start="TRACE / HTTP/1.1"),
            "RFC 9110 §9.1: SHOULD answer 501; h11 leaves it to the app"),
    Allowed("form of the target", we_refuse("invalid request-target|CONNECT takes host:port|.*no fragment", SERVER),
            request(start="GET a HTTP/1.1"), "§3.2: four forms; h11 takes any visible characters"),
    Allowed("value of Host", we_refuse("missing, repeated or invalid Host", SERVER), request(host="Host: a/b"),
            "§3.2: 400 for an invalid value (and 1.2 is not without Host); h11 only counts, in 1.1"),
    # -- both roles are stricter
    Allowed("bare LF", we_refuse("unexpected byte 0x0a in the .* of a head"), request("A: a\nB: b"),
            "§2.2: MAY be taken for a line end, which smugglers need"),
    Allowed("control character", we_refuse(r"unexpected byte 0x(0[1-8ef]|1.|7f) in the (value|line) of a head"), response("A: \1"),
            "RFC 9110 §5.5: dangerous in a value; h11 refuses only NUL and white space"),
    Allowed("other major version", we_refuse("only HTTP/1.x is spoken here|not a response of HTTP/1.x"),
            request(start="GET / HTTP/2.0"), "RFC 9110 §2.5, §15.6.6: other major versions mean something else"),
    Allowed("chunked in HTTP/1.0", we_refuse("Transfer-Encoding in HTTP/1.0"), request(CHUNKED, start="GET / HTTP/1.0", rest=b"0\r\n\r\n"),
            "§6.1: MUST treat the framing as faulty"),
    Allowed("coding and length", we_refuse("both Transfer-Encoding and Content-Length"), request(CHUNKED, "Content-Length: 5", rest=b"0\r\n\r\n"),
            "§6.3: ought to be an error; h11 lets chunked win, as it MAY"),
    Allowed("19 digits", we_refuse("invalid Content-Length"), request("Content-Length: " + "0" * 19), "§6.3: our limit is 18 digits, h11's 20"),
    Allowed("limits", we_refuse("content too large|too many fields|head too large|request line too long"), response(*["A: a"] * 101),
            "ours are in Limits; h11 has one for all that waits"),
    Allowed("chunk extension", we_refuse("malformed chunk size or extension"), request(CHUNKED, rest=b"0;=\r\n\r\n"),
            "§7.1.1 has a grammar, and spaces are no part of it; h11 takes any bytes but LF, and spaces"),
    # -- a client is stricter
    Allowed("response without request", we_refuse("data without a request", CLIENT), response("Content-Length: 0", rest=b"HTTP/1.1 408 \r\n\r\n"),
            "§9.2: MUST NOT be taken for a response"),
    Allowed("fold in a trailer", we_refuse(r"unexpected byte 0x(20|09) in the name of a head", CLIENT),
            response(CHUNKED, rest=b"0\r\nA: a\r\n b\r\n\r\n"), "a gap: §5.2 makes no exception for trailers"),
    # -- h11 is stricter
    Allowed("empty lines", they_refuse("no request line received", SERVER, lambda m: True), Case(SERVER, b"\r\n\r\n"), "§2.2: SHOULD be ignored"),
    Allowed("empty elements of a list", they_refuse(".*Transfer-Encoding", SERVER, lambda m: codings(m) == ["chunked"]),
            request("Transfer-Encoding: , chunked", rest=b"0\r\n\r\n"), "RFC 9110 §5.6.1.2: MUST be ignored"),
    Allowed("codings of a response", they_refuse(".*Transfer-Encoding", CLIENT, lambda m: True), response("Transfer-Encoding: gzip"),
            "§6.3: has a length, chunked or until close, in all codings; the app may know them"),
    Allowed("length of nothing", they_refuse("(bad|conflicting) Content-Length", CLIENT, lambda m: not m.body),
            response("Content-Length: a", start="HTTP/1.1 204 "), "§6.3: 1xx, 204, 304 and answers to HEAD end with the head, whatever it says"),
    Allowed("framing fields as trailers", they_refuse("(bad|conflicting) Content-Length|.*Transfer-Encoding"),
            request(CHUNKED, rest=b"0\r\nContent-Length: a\r\n\r\n"), "RFC 9110 §6.5.1: trailers don't frame, so they may be ignored"),
    Allowed("space before an extension", they_refuse(r"illegal chunk header: bytearray\(b['\"][0-9A-Fa-f]+([ ]|\\t)+;"),
            request(CHUNKED, rest=b"0 ;a\r\n\r\n"), "§7.1.1: BWS, which MUST be parsed (RFC 9110 §5.6.3)"),
    # -- and the rest
    Allowed("keep-alive in HTTP/1.0", lambda d: d.what in ("outcome", "patience") and d.theirs.outcome == "closed" and kept(d.theirs.messages[-1].head),
            request("Connection: keep-alive", start="GET / HTTP/1.0"), "§9.3: may be honoured; h11 never does"),
    Allowed("we refuse sooner", lambda d: d.what == "patience" and d.ours.why and d.theirs.waited, Case(SERVER, b"GET / HTTP/1.1\r\nA B"),
            "what is wrong is refused when it is seen; h11 waits for a whole line or head"),
    Allowed("h11 refuses sooner", lambda d: d.what == "patience" and d.ours.waited and re.match("illegal request line|no re.* line received", d.theirs.why),
            Case(CLIENT, b" "), "it looks at the first byte; a CR may begin an empty line, and a client of ours waits for the whole head"),
]


def squeezed(fields: tuple[tuple[str, str], ...]) -> list[tuple[str, list[str]]]:
    return [(name, value.split()) for name, value in fields]


def elements(fields: tuple[tuple[str, str], ...]) -> set[tuple[str, str]]:
    return {(name, element) for name, value in fields for element in split_list(value)}


def kept(head: RequestHead | ResponseHead) -> bool:
    return head.version == "1.0" and "keep-alive" in split_list(head.headers.get("connection", ""))


def check(case: Case) -> None:
    assert not [d for d in differences(case) if not any(allowed.when(d) for allowed in ALLOWED)]


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda allowed: allowed.name)
def test_allowed_differences_are_real(allowed):
    found = [[known.name for known in ALLOWED if known.when(d)] for d in differences(allowed.example)]
    assert found == [[allowed.name]]
