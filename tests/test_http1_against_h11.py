"""minproto and h11 read the same bytes in both roles: the same messages or the same refusal, but for a written list.

The main law has no exception: where both find a message, it ends at the same byte and has the same content. What only
one of them refuses or rewrites has to be in ``ALLOWED``, with the reason and an example, so that the list cannot rot.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minproto.fast.http1
import minproto.http1
from minproto.core import Event, RemoteProtocolError, Role, Wants
from minproto.http import METHODS, Data, EndOfMessage, Headers, RequestHead, ResponseHead, has_no_content, split_list
from minproto.http1 import BODY, IDLE

CLIENT, SERVER = Role
Connection = minproto.http1.Connection
FRAMING, HOST = ("content-length", "transfer-encoding"), ("host", "a.example")
ASK = {method: RequestHead(method, "/", Headers([HOST])) for method in ("GET", "HEAD", "POST")}
ASK["CONNECT"] = RequestHead("CONNECT", "a.example:443", Headers([HOST]))
ASK["upgrade"] = RequestHead("GET", "/", Headers([HOST, ("connection", "upgrade"), ("upgrade", "websocket")]))
ACCEPT = [ResponseHead(200, Headers())]
REFUSE = [ResponseHead(403, Headers([("content-length", "0"), ("connection", "keep-alive")])), EndOfMessage()]


@pytest.fixture(
    autouse=True, scope="module", params=[minproto.http1.Connection, minproto.fast.http1.Connection], ids=["plain", "fast"]
)
def core(request):
    """Each test is run on the plain core and on the fast one."""
    global Connection
    Connection = request.param


class Case(NamedTuple):
    """The bytes that one end receives, and what it does itself."""

    role: Role
    data: bytes
    asked: tuple[str, ...] = ("GET",)  # a client: its requests
    accept: bool = False  # a server: whether it agrees to CONNECT


class H11:
    """h11 behind the contract of our cores, as far as it is needed here."""

    def __init__(self, role: Role) -> None:
        self.h11 = h11.Connection(h11.SERVER if role is SERVER else h11.CLIENT)
        self.receive_data = lambda data: data and self.h11.receive_data(data)  # b"" would mean the end
        self.receive_eof = lambda: self.h11.receive_data(b"")

    buffered = property(lambda self: len(self.h11.trailing_data[0]))
    request = property(lambda self: IDLE if self.h11.our_state is h11.IDLE else BODY)

    def next_event(self) -> Event | None:
        self.wants = Wants.CLOSED
        if self.h11.their_state is h11.MUST_CLOSE:
            return None  # to h11 it is an error if data follow; we leave them unread (RFC 9112 §9.6)
        event = self.h11.next_event()
        headers = Headers([(n.decode("latin-1"), v.decode("latin-1")) for n, v in getattr(event, "headers", [])])
        match event:
            case h11.Request():
                method, target, version = map(bytes.decode, (event.method, event.target, event.http_version))
                return RequestHead(method, target, headers, version)
            case h11.Response() | h11.InformationalResponse():
                return ResponseHead(event.status_code, headers, event.http_version.decode())
            case h11.Data():
                return Data(bytes(event.data))
            case h11.EndOfMessage():
                self._start_next_cycle()
                return EndOfMessage(headers)
            case h11.NEED_DATA | h11.PAUSED:
                self.wants = Wants.DATA if event is h11.NEED_DATA else Wants.PAUSED

    def send(self, event: Event) -> None:
        match event:
            case RequestHead(method, target, headers):
                self.h11.send(h11.Request(method=method, target=target, headers=headers))
            case ResponseHead(status, headers):
                self.h11.send(h11.Response(status_code=status, headers=headers))
            case EndOfMessage():
                self.h11.send(h11.EndOfMessage())
                self._start_next_cycle()

    def _start_next_cycle(self) -> None:
        if self.h11.our_state is self.h11.their_state is h11.DONE and not self.h11.trailing_data[1]:
            self.h11.start_next_cycle()


# ---- what one of them makes of the bytes -----------------------------------------------------------------------------


@dataclass
class Message:
    """A message as far as it was read."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    trailers: Headers | None = None  # None: its end was not seen
    end: int = 0  # how many bytes of the stream were taken by then

    def __str__(self) -> str:
        """Head and trailers, in the form in which ``ALLOWED`` looks at them."""
        head = self.head
        start = f"{head.method} {head.target}" if isinstance(head, RequestHead) else head.status
        fields = [*head.headers, *((f"trailer {name}", value) for name, value in self.trailers or [])]
        return f"{start} {head.version}\n" + "".join(f"{name}: {value}\n" for name, value in fields)


class Reading(NamedTuple):
    """What came of a stream that ends after the bytes: its outcome is closed, paused (switched) or error."""

    messages: list[Message]
    waited: bool  # for more than the bytes, so it was told of the end
    outcome: str
    why: str = ""

    @property
    def progress(self) -> tuple[int, int]:
        """How far it came: complete messages, and the content of one that is not (-1 before it has a head)."""
        inside = [message for message in self.messages[-1:] if message.trailers is None]
        return len(self.messages) - len(inside), len(inside[0].body) if inside else -1


def read(side: minproto.http1.Connection | H11, case: Case) -> Reading:
    """Let it read, and answer every request, or ask again after every response."""
    messages: list[Message] = []
    asked, waited = iter(case.asked), False
    try:
        side.receive_data(case.data)
        while True:
            if case.role is CLIENT and side.request == IDLE and (name := next(asked, None)):
                side.send(ASK[name])
                side.send(EndOfMessage())
            match event := side.next_event():
                case RequestHead() | ResponseHead():
                    messages.append(Message(event, trailers=Headers() if getattr(event, "status", 200) < 200 else None))
                case Data(data):
                    messages[-1].body += data
                case EndOfMessage(trailers):
                    messages[-1].trailers = trailers
                    if case.role is SERVER:
                        agreed = case.accept and messages[-1].head.method == "CONNECT"
                        list(map(side.send, ACCEPT if agreed else REFUSE))
                case None if side.wants is Wants.DATA and not waited:
                    side.receive_eof()
                    waited = True
                    continue
                case None:
                    if side.wants is Wants.PAUSED:
                        messages[-1].trailers = Headers()  # 2xx to CONNECT has no end of its own
                    return Reading(messages, waited, side.wants.value)
            messages[-1].end = len(case.data) - side.buffered
    except (RemoteProtocolError, h11.RemoteProtocolError) as error:
        return Reading(messages, waited, "error", str(error))


# ---- the comparison --------------------------------------------------------------------------------------------------


def meaning(fields: Headers) -> tuple[object, object]:
    """What may not differ: the set of lengths and of codings, and all other fields."""
    framing = [set(split_list(fields.get(name, ""))) for name in FRAMING]
    return framing, [field for field in fields if field[0] not in FRAMING]


def differences(case: Case) -> Iterator[tuple[str, str, str]]:
    """Assert the main law. What else differs: the kind, the words that refuse, the message as the other read it."""
    ours, theirs = read(Connection(case.role), case), read(H11(case.role), case)
    for our, their in zip(ours.messages, theirs.messages, strict=False):
        assert replace(our.head, headers=Headers()) == replace(their.head, headers=Headers())
        assert our.body.startswith(their.body) or their.body.startswith(our.body)
        ended = our.trailers is not None and their.trailers is not None
        assert not ended or (our.body, our.end) == (their.body, their.end), "one stream, split in two ways"
        for a, b in [(our.head.headers, their.head.headers), (our.trailers, their.trailers)][: 1 + ended]:
            assert meaning(a) == meaning(b)
            if a != b:
                yield "h11 rewrites", "", str(our)
    if (ours.outcome, ours.progress, ours.waited) == (theirs.outcome, theirs.progress, theirs.waited):
        return
    if ours.outcome == "error" and ours.progress < theirs.progress:
        yield "we refuse", ours.why, str(*theirs.messages[ours.progress[0] :][:1])
    elif ours.outcome == theirs.outcome == "error" and ours.progress == theirs.progress and theirs.waited:
        yield "we refuse sooner", ours.why, ""
    elif theirs.outcome == "error" and theirs.progress <= ours.progress:
        yield "h11 refuses", theirs.why, str(*ours.messages[theirs.progress[0] :][:1])
    elif theirs.outcome == "closed" and theirs.progress <= ours.progress:
        yield "h11 closes", "", str(theirs.messages[-1])
    else:
        yield "outcome", f"{ours.outcome} {theirs.outcome}", ""


# ---- what may differ, and why (§: of RFC 9112) ----------------------------------------------------------------------
# Kind -> name, words that refuse (a pattern), how the other side read the message (another), example, reason.

GET, OK, FOLD = b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 \r\n", b"A: a \r\n\t b\r\n\r\n"
CHUNKED, LAST, NONE = b"Transfer-Encoding: chunked\r\n", b"\r\n0\r\n\r\n", b"Content-Length: 0\r\n\r\n"
VALID_HOST = r"(\[::1\]|([^\0- \x7f-\xff/?#@\[\]:\"<>\\^`{|}%]|%[\da-fA-F]{2})*)(:\d{0,5})?"
FOLDED, LENGTH, CODING = "unexpected byte 0x(20|09)", "(bad|conflicting) Content-Length", ".*Transfer-Encoding"
ALLOWED = {
    "we refuse": [
        ("fold in a request", FOLDED, r"\A\S+ \S+ \S", GET + FOLD, "§5.2: reject it, or replace it by SP"),
        ("unknown method", "method not", rf"\A(?!({'|'.join(METHODS)}) )", b"TRACE / HTTP/1.0\r\n\r\n",
         "RFC 9110 §9.1: SHOULD be answered 501; h11 leaves that to the app"),
        ("form of a target", ".*request-target|CONNECT", r"\A(CONNECT|\S+ (?!/[^ #\x22<>]* ))", b"GET a HTTP/1.0\r\n\r\n",
         "§3.2: there are four"),
        ("character of a target", "unexpected byte 0x(22|23|3c|3e) in the target", r"\A\S+ \S*[#\x22<>]",
         b"GET /# HTTP/1.0\r\n\r\n", "§3.2: those of a URI; h11 takes any visible ones"),
        ("value of Host", ".*Host", rf"\A(?!.*^host: {VALID_HOST}$)", b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n",
         "§3.2: 400 if it is invalid (or missing in 1.2); h11 only counts, and only in 1.1"),
        ("response without a request", "data without", r"\A\d", 2 * (OK + NONE), "§9.2: MUST NOT be taken for one"),
        ("bare LF", "unexpected byte 0x0a", "", GET + b"A: a\n\r\n", "§2.2: MAY end a line, which smugglers need"),
        ("control character", "unexpected byte 0x(0[1-8ef]|1.|7f) in the (value|reason)", "", OK + b"A: \1\r\n\r\n",
         "RFC 9110 §5.5: not part of a value; h11 refuses only NUL and white space"),
        ("other major version", "only HTTP/1.x|not a response of", r"\A[^\n]* [^1]\.\d\n", b"GET / HTTP/2.0\r\n\r\n",
         "RFC 9110 §2.5: it may mean something else"),
        ("chunked in HTTP/1.0", ".* in HTTP/1.0", r"\A[^\n]* 1\.0\n.*^transfer-encoding: chunked$",
         b"GET / HTTP/1.0\r\n" + CHUNKED + LAST, "§6.1: MUST be treated as faulty framing"),
        ("coding and length", "both Transfer-Encoding and", "(?=.*^content-length: ).*^transfer-encoding: ",
         GET + CHUNKED + b"Content-Length: 5\r\n" + LAST, "§6.3: ought to be an error; h11 lets chunked win"),
        ("19 digits", "invalid Content-Length", r"^content-length: \d{19}", GET + b"Content-Length: %019d\r\n\r\n" % 0,
         "§6.3: a length may be too large to parse; our limit is 18, h11's is 20"),
        ("limits", ".*too (large|many|long)", "", OK + b"A: a\r\n" * 101 + b"\r\n", "ours: see Limits; h11 has one"),
        ("chunk line", "malformed chunk", "^transfer-encoding: chunked$", GET + CHUNKED + b"\r\n0;=\r\n\r\n",
         "§7.1.1: names, tokens, strings; h11 takes 20 digits, and then anything but LF, and spaces at the end"),
    ],
    "we refuse sooner": [("as soon as seen", "", "", b"GET / HTTP/1.1\r\nA B", "h11 waits for a whole line or head")],
    "h11 refuses": [
        ("first byte", "illegal request line|no response line", "", b"\r",
         "h11 looks at it at once; a CR may begin an empty line"),
        ("empty lines", "no request line received", "", b"\r\n", "§2.2: SHOULD be ignored before a request"),
        ("empty elements of a list", CODING, r"\A\S+ \S+ \S.*^transfer-encoding: [, \t]*(?i:chunked)[, \t]*$",
         GET + b"Transfer-Encoding: ,chunked\r\n" + LAST, "RFC 9110 §5.6.1.2: MUST be ignored"),
        ("codings of a response", CODING, r"\A\d.*^transfer-encoding: ", OK + b"Transfer-Encoding: a\r\n\r\n",
         "§6.3: how long it is is known all the same, and the app may know the coding"),
        ("length of nothing", LENGTH, r"\A\d.*^content-length: ", b"HTTP/1.1 204 \r\nContent-Length: a\r\n\r\n",
         "§6.3: a response without content ends with its head, whatever that says"),
        ("framing fields in trailers", f"{LENGTH}|{CODING}", f"^trailer ({'|'.join(FRAMING)}): ",
         GET + CHUNKED + b"\r\n0\r\nContent-Length: a\r\n\r\n", "RFC 9110 §6.5.1: trailers do not frame"),
        ("space before an extension", r"illegal chunk header: bytearray\(b['\"][0-9A-Fa-f]+( |\\t)+;", "",
         GET + CHUNKED + b"\r\n0 ;a\r\n\r\n", "§7.1.1: BWS, which MUST be parsed (RFC 9110 §5.6.3)"),
    ],
    "h11 closes": [("keep-alive in HTTP/1.0", "", r"\A[^\n]* 1\.0\n.*^connection: .*(?i:keep-alive)",
                    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "§9.3: may be honoured; h11 never does")],
    "h11 rewrites": [
        ("framing fields", "", f"^({'|'.join(FRAMING)}): ", GET + b"Content-Length: 0, 0\r\n\r\n",
         "it joins equal lengths and lowers codings; we give what came"),
    ],
}  # fmt: skip


def names(kind: str, words: str, message: str) -> list[str]:
    """The entries that allow a difference."""
    rows = ALLOWED.get(kind, [])
    return [name for name, why, seen, *_ in rows if re.match(why, words) and re.search(seen, message, re.M | re.S)]


@pytest.mark.parametrize(("name", "example"), [(entry[0], entry[3]) for kind in ALLOWED.values() for entry in kind])
def test_allowed_differences_are_real(name, example):
    case = Case(CLIENT if example.startswith(b"HTTP/") else SERVER, example)
    assert [names(*difference) for difference in differences(case)] == [[name]]


# ---- messages from a grammar, with what is odd in the wild; then faults ----------------------------------------------

TE = CHUNKED.decode().strip()  # here and below: alternatives between "|", and N for the length of the content
REQUESTS = "HEAD /|PUT /|OPTIONS *|TRACE /|get /|CONNECT a:1|CONNECT [::1]:1|CONNECT /|CONNECT a|GET *|GET http://a/x|"
REQUESTS += 'GET https:///|GET a:1|GET //a|GET /#a|GET http://u@a/|GET /"<>\\^|GET /\xe9'
RESPONSES = "200 \xe9\t!|200  OK |100 |103 |101 |204 |205 |304 |999 |099 |2000 "
HOSTS = "host:a:80|HOST: [::1]|Host:|A:|Host: a b|Host: a,b|Host: a\r\nHost: a|Host: a/b|Host: u@a|Host: %zz"
FIELDS = 'Accept: */*|X-Empty:|Cookie: a=b; c="d, e"|x-space: \t a \t b \t|Connection: keep-alive'
ODD_FIELDS = 4 * "Connection: close|" + f"Connection: Upgrade, x|Upgrade: a|Expect: 100-continue|{TE}|"
ODD_FIELDS += "A: \xe9|Content-Length: 2|A: a\t\r\n b|A: a\n|A: \r|A: \0|A: \x0b|A: \1|A: \x7f|A B: a|A : a|: a|A"
LENGTHS = "N, N|N, 1|N\r\nContent-Length: N|N\r\nContent-Length: 1|N,|+N|-N|0xN|00N|N_0||N.0|1073741825|" + 20 * "9"
LENGTHS += "".join("|" + zeros * "0" + "N" for zeros in (17, 18, 19, 20))
CODINGS = "Chunked\t|, chunked|chunked, chunked|gzip, chunked|gzip|xchunked|chunked;q=1|chunked, gzip|\x0bchunked||"
CODINGS += f'\r\n{TE}|"chunked"|\r\n chunked|gzip\r\n{TE}|chunked\r\n{TE}|chunked\r\nContent-Length: 3|identity'
CHUNK_LINES = "%X|0%x|%016x|%017x|%020x|%021x|+%x| %x|0x%x|1%x|%x_|ffffffff%x|%x;a|%x;|%x;a=|%x |%x;a=b c|%x;a=\0|"
CHUNK_LINES += '%x;a\n|%x\t;a="b;\\"\t"|%x ; a = "b, c"|%x; a="b|%x;' + 300 * "a"
BODIES = st.binary(max_size=6) | st.sampled_from([LAST, GET + b"\r\n", OK + b"\r\n"])


@st.composite
def streams(draw, role, wild):
    """A case of one to three messages, and the content of each. Nothing in it is odd, unless it is to be ``wild``."""

    def some(plain: str, odd: str) -> bytes:
        options = odd if wild and draw(st.integers(0, 7)) == 7 else plain
        return draw(st.sampled_from(options.split("|"))).encode("latin-1")

    def fields() -> bytes:
        return b"".join(some(FIELDS, ODD_FIELDS) + b"\r\n" for _ in range(draw(st.integers(0, 2))))

    def chunk(data: bytes) -> bytes:
        line = some("%x|%x;a=b", CHUNK_LINES) % len(data) + b"\r\n"
        return line + data + some("\r\n", "|\n|\r|x\r\n") if data else line

    def coded(body: bytes) -> tuple[bytes, bytes]:
        match some("length|chunked", "none"):
            case b"length":
                return b"Content-Length: %b\r\n" % some("N", LENGTHS).replace(b"N", b"%d" % len(body)), body
            case b"chunked":
                cut = draw(st.integers(0, len(body)))
                chunks = [chunk(piece) for piece in (body[:cut], body[cut:]) if piece] + [chunk(b"")]
                return b"Transfer-Encoding: %b\r\n" % some("chunked", CODINGS), b"".join(chunks) + fields() + b"\r\n"
        return b"", body if role is CLIENT else b""

    asked = draw(st.lists(st.sampled_from([*ASK] if wild else ["GET", "HEAD", "POST"]), min_size=1, max_size=3))
    stream, bodies = b"", []
    for name in asked:
        version, body = some("1.1", "1.0|1.0|1.0|1.2|2.0|0.9"), draw(BODIES)
        framing, content = coded(body)
        if role is SERVER:
            request, host = some("GET /|POST /a/b?c=%20d", REQUESTS), some("Host: a.example", HOSTS)
            start = b"%b HTTP/%b\r\n%b\r\n" % (request, version, host)
        else:
            status = some("200 OK|404 |200", RESPONSES)
            start = b"HTTP/%b %b\r\n" % (version, status)
            if has_no_content(ASK[name].method, int(status[:3])):
                body, content = b"", some("", "0\r\n\r\n")
        stream += some("", "\r\n|\r\n\r\n\r\n\r\n\r\n|\n|\r| ") + start + fields() + framing + b"\r\n" + content
        bodies.append(body)
    return Case(role, stream, tuple(asked), wild and draw(st.booleans())), bodies


@st.composite
def faulty(draw, role):
    """A wild case with up to three faults, in bytes or lines: added, replaced, left out, doubled, swapped, cut off."""
    case, _ = draw(streams(role, wild=True))
    data = case.data
    for _ in range(draw(st.integers(0, 3))):
        ends = [0, *(match.end() for match in re.finditer(rb"\n", data)), *[len(data)] * 3]
        line, byte = draw(st.integers(0, len(ends) - 3)), draw(st.integers(0, len(data)))
        a, b, c = draw(st.sampled_from([(byte, byte + 1, byte + 2), ends[line : line + 3]]))
        new = draw(st.sampled_from([b"", b"\r\n", *(b"%c" % code for code in b"\r\n \t:;,=\0\x0b\x80019a")]))
        rests = [new + data[a:], new + data[b:], data[a:b] + data[a:], data[b:c] + data[a:b] + data[c:], b""]
        data = data[:a] + draw(st.sampled_from(rests))
    return case._replace(data=data)


@pytest.mark.parametrize("role", Role)
@settings(max_examples=2 * settings().max_examples)  # there is much to combine
@given(data=st.data())
def test_same_messages_or_same_refusal(data, role):
    assert [found for found in differences(data.draw(faulty(role))) if not names(*found)] == []


@pytest.mark.parametrize("role", Role)
@given(data=st.data())
def test_plain_messages_are_read_by_both(data, role):
    case, bodies = data.draw(streams(role, wild=False))
    assert [message.body for message in read(Connection(role), case).messages] == bodies
    assert not list(differences(case))
