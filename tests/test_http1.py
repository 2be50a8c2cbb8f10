"""HTTP/1.1, the core: laws 1, 3, 5 and 7 where they need its words, and each rule of RFC 9112 by an example."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minproto.fast.http1
import minproto.http1
from minproto.buffer import Buffer
from minproto.core import Event, LocalProtocolError, RemoteProtocolError, Role, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import (
    BODY,
    DONE,
    HEAD,
    IDLE,
    REQUEST,
    REQUEST_TRANSITIONS,
    RESPONSE_TRANSITIONS,
    SWITCHED,
    Limits,
    PreparedHead,
    State,
    Step,
)
from minproto.testing import Subject, byte_by_byte, laws, strategies, trace, whole

HOST = Headers([("host", "a")])
GET = RequestHead("GET", "/", HOST)
OK = ResponseHead(200, Headers([("content-length", "0")]))

Connection = minproto.http1.Connection


@pytest.fixture(
    autouse=True, scope="module", params=[minproto.http1.Connection, minproto.fast.http1.Connection], ids=["plain", "fast"]
)
def core(request: pytest.FixtureRequest) -> None:
    """Each test is run on the plain core and on the fast one."""
    global Connection
    Connection = request.param


def server(data: bytes = b"", **limits: int) -> minproto.http1.Connection:
    core = Connection(Role.SERVER, Limits(**limits))
    core.receive_data(data)
    return core


def client(head: RequestHead = GET, data: bytes = b"", **limits: int) -> minproto.http1.Connection:
    core = Connection(Role.CLIENT, Limits(**limits))
    core.send(head)
    core.send(EndOfMessage())
    core.receive_data(data)
    return core


def request(*lines: bytes) -> bytes:
    """The lines, each with its end. An empty one ends a head."""
    return b"".join(line + b"\r\n" for line in lines)


def refusal(data: bytes, **limits: int) -> int:
    """The status that a server answers to these bytes."""
    core = server(data, **limits)
    with pytest.raises(RemoteProtocolError) as caught:
        list(core.events())
    head = core.farewell(caught.value)[0]
    assert isinstance(head, ResponseHead)
    assert ("connection", "close") in head.headers
    return head.status


# ---- law 1 -----------------------------------------------------------------------------------------------------------


@given(st.data())
def test_what_one_end_sends_the_other_receives(data: st.DataObject) -> None:
    """Law 1, for requests and their responses on one connection."""
    left, right = Connection(Role.CLIENT), Connection(Role.SERVER)
    for _ in range(data.draw(st.integers(1, 3))):
        asked = data.draw(strategies.requests())
        laws.round_trip(left, right, asked)
        assert isinstance(asked[0], RequestHead)
        laws.round_trip(right, left, data.draw(strategies.responses(asked[0].method)))
        assert left.request == right.request == left.response == right.response == IDLE


def test_events_of_http1_have_the_stream_that_no_stream_of_http2_has() -> None:
    """0: shells of both protocols take the same events."""
    server, client = Connection(Role.SERVER), Connection(Role.CLIENT)
    content, one_byte = [Data(b"a"), EndOfMessage()], Headers([("host", "a"), ("content-length", "1")])
    server.receive_data(b"".join(map(client.send, [RequestHead("POST", "/", one_byte), *content])))
    events = list(server.events())
    client.receive_data(b"".join(map(server.send, [ResponseHead(200, one_byte), *content])))
    events += client.events()
    kinds = [RequestHead, Data, EndOfMessage, ResponseHead, Data, EndOfMessage]
    assert [(type(event), event.stream) for event in events] == [(kind, 0) for kind in kinds]


# ---- law 7 -----------------------------------------------------------------------------------------------------------


def answered(request: bytes, *events: Event) -> Callable[[], minproto.http1.Connection]:
    """A server that received a request and sent events."""

    def make() -> minproto.http1.Connection:
        core = server(request)
        list(core.events())
        for event in events:
            core.send(event)
        return core

    return make


def asked(*events: Event, response: bytes = b"") -> Callable[[], minproto.http1.Connection]:
    """A client that sent events and received a response."""

    def make() -> minproto.http1.Connection:
        core = Connection(Role.CLIENT)
        for event in events:
            core.send(event)
        core.receive_data(response)
        list(core.events())
        return core

    return make


CHUNKED = Headers([("transfer-encoding", "chunked")])
EVENTS = [
    RequestHead("POST", "/", Headers([*HOST, *CHUNKED])),
    ResponseHead(100, Headers()),
    ResponseHead(200, CHUNKED),
    Data(b"x"),
    EndOfMessage(),
]
WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = RequestHead("POST", "/", Headers([*HOST, *CHUNKED]))
POSTED = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
POSTED_IN_CHUNKS = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
SWITCH = ResponseHead(101, Headers([("upgrade", "x"), ("connection", "upgrade")]))
LAST = ResponseHead(200, Headers([*CHUNKED, ("connection", "close")]))
HEAD_REQUEST = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
GZIP = Headers([("transfer-encoding", "gzip")])
TWICE = Headers([("transfer-encoding", "chunked, chunked")])


SENT = {ResponseHead: Step.FINAL, Data: Step.RESPONSE_DATA, EndOfMessage: Step.RESPONSE_END}
ASKED = {RequestHead: Step.REQUEST_HEAD, Data: Step.REQUEST_DATA, EndOfMessage: Step.REQUEST_END}


def test_a_server_sends_what_its_table_has_and_nothing_else() -> None:
    """Law 7, each state of the response."""
    situations = {
        IDLE: answered(b""),
        HEAD: answered(WHOLE),
        BODY: answered(WHOLE, ResponseHead(200, CHUNKED)),
        DONE: answered(POSTED, OK, EndOfMessage()),
        SWITCHED: answered(UPGRADE, SWITCH),
        State.CLOSED: answered(WHOLE, LAST, EndOfMessage()),
    }
    for state, make in situations.items():
        assert make().response == state
    laws.off_the_table(situations, EVENTS, lambda state, event: (state, SENT.get(type(event))) in RESPONSE_TRANSITIONS)


def test_a_client_sends_what_its_table_has_and_nothing_else() -> None:
    """Law 7, each state of the request (which is never HEAD)."""
    upgrade = RequestHead("GET", "/", Headers([*HOST, ("upgrade", "x"), ("connection", "upgrade")]))
    situations = {
        IDLE: asked(),
        BODY: asked(POST),
        DONE: asked(POST, EndOfMessage()),
        SWITCHED: asked(upgrade, EndOfMessage(), response=b"HTTP/1.1 101 x\r\nUpgrade: x\r\n\r\n"),
        State.CLOSED: asked(GET, EndOfMessage(), response=b"HTTP/1.1 204 x\r\nConnection: close\r\n\r\n"),
    }
    for state, make in situations.items():
        assert make().request == state
    laws.off_the_table(situations, EVENTS, lambda state, event: (state, ASKED.get(type(event))) in REQUEST_TRANSITIONS)


@pytest.mark.parametrize(
    ("make", "request_state", "response_state"),
    [
        (lambda: answered(b"")(), IDLE, IDLE),
        (lambda: answered(POSTED)(), BODY, HEAD),
        (lambda: answered(POSTED + b"x")(), DONE, HEAD),
        (lambda: answered(POSTED, ResponseHead(103, Headers()))(), BODY, HEAD),
        (lambda: answered(POSTED, ResponseHead(200, CHUNKED))(), BODY, BODY),
        (lambda: answered(POSTED, ResponseHead(200, CHUNKED), Data(b"x"))(), BODY, BODY),
        (lambda: answered(POSTED, OK, EndOfMessage())(), BODY, DONE),
        (lambda: answered(POSTED + b"x", OK, EndOfMessage())(), IDLE, IDLE),
        (lambda: answered(POSTED + b"x", LAST, EndOfMessage())(), State.CLOSED, State.CLOSED),
        (lambda: answered(UPGRADE, SWITCH)(), SWITCHED, SWITCHED),
        (lambda: broken(b"BAD\r\n"), State.CLOSED, HEAD),
        (lambda: broken(b"BAD\r\n", OK), State.CLOSED, BODY),
        (lambda: broken(b"BAD\r\n", OK, EndOfMessage()), State.CLOSED, State.CLOSED),
        (lambda: broken(POSTED_IN_CHUNKS + b"x"), State.CLOSED, HEAD),
        (lambda: asked()(), IDLE, IDLE),
        (lambda: asked(POST)(), BODY, HEAD),
        (lambda: asked(POST, Data(b"x"), EndOfMessage())(), DONE, HEAD),
        (lambda: asked(POST, response=b"HTTP/1.1 100 x\r\n\r\n")(), BODY, HEAD),
        (lambda: asked(POST, response=b"HTTP/1.1 200 x\r\n\r\n")(), BODY, BODY),
        (lambda: asked(POST, response=b"HTTP/1.1 204 x\r\n\r\n")(), BODY, DONE),
        (lambda: asked(GET, EndOfMessage(), response=b"HTTP/1.1 204 x\r\n\r\n")(), IDLE, IDLE),
        (lambda: asked(GET, EndOfMessage(), response=b"HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\n")(), DONE, BODY),
        (lambda: asked(UPGRADING, response=b"HTTP/1.1 101 x\r\n\r\n")(), BODY, SWITCHED),
        (lambda: asked(CONNECT, response=b"HTTP/1.1 200 x\r\n\r\n")(), SWITCHED, SWITCHED),
        (lambda: asked(UPGRADING, EndOfMessage(), response=b"HTTP/1.1 101 x\r\n\r\n")(), SWITCHED, SWITCHED),
    ],
)
def test_the_tables_drive(make: Callable[[], minproto.http1.Connection], request_state: State, response_state: State) -> None:
    """Each arc of both drawings, and the table of what follows when both messages are done."""
    core = make()
    assert (core.request, core.response) == (request_state, response_state)


CONNECT = RequestHead("CONNECT", "a:80", HOST)
UPGRADING = RequestHead("POST", "/", Headers([*HOST, *CHUNKED, ("upgrade", "x"), ("connection", "upgrade")]))


def broken(data: bytes, *events: Event) -> minproto.http1.Connection:
    """A server that received a malformed request and sent events."""
    core = server(data)
    with pytest.raises(RemoteProtocolError):
        list(core.events())
    for event in events:
        core.send(event)
    return core


def test_a_fault_in_the_client_s_reading_ends_both() -> None:
    core = client(GET, b"HTTP/1.1 2x")
    with pytest.raises(RemoteProtocolError, match="unexpected byte 0x78 in the status of a head"):
        core.next_event()
    assert core.request is core.response is State.CLOSED


def test_a_bad_request_behind_an_early_answer_ends_both() -> None:
    """The response was complete before the fault, so nothing may be said any more."""
    core = answered(POSTED_IN_CHUNKS, OK, EndOfMessage())()
    core.receive_data(b"x")
    with pytest.raises(RemoteProtocolError) as caught:
        core.next_event()
    assert core.request is core.response is State.CLOSED
    assert core.farewell(caught.value) == []


# ---- laws 3 and 5 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        lambda n: b"GET /" + b"a" * n,
        lambda n: b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * n,
        lambda n: b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (n // 6),
        lambda n: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;a=b\r\nx\r\n" * (n // 10),
        lambda n: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + b"x" * n,
    ],
    ids=["target", "value", "fields", "chunks", "content"],
)
def test_time_is_linear(stream: Callable[[int], bytes]) -> None:
    """Law 3, for bytes that come one by one."""
    limits = Limits(max_start_line=1 << 20, max_head=1 << 20, max_headers=1 << 20)
    laws.linear_time(Subject(lambda: Connection(Role.SERVER, limits)), stream, 4_000)


@pytest.mark.parametrize("line", [b"X: a\r\n b\r\n", b"X:" + b" " * 50, b"X: a\r\n" + b" " * 50 + b"\r\n"])
def test_time_is_linear_for_a_client_whose_server_folds(line: bytes) -> None:
    """Law 3: a fold could be looked for in each of many spaces."""
    limits = Limits(max_head=1 << 20, max_headers=1 << 20)

    def make() -> minproto.http1.Connection:
        core = Connection(Role.CLIENT, limits)
        core.send(GET)
        core.send(EndOfMessage())
        return core

    def stream(size: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + line * (size // len(line)) + b"\r\n a\r\n\r\n"

    laws.linear_time(Subject(make), stream, 8_000)


HEAD_BYTES = b"GET /x HTTP/1.1\r\nHost: a\r\nAccept: b c\r\n\r\n"


@given(st.integers(0, len(HEAD_BYTES) - 3), st.sampled_from([b"\n", b"\r\r", b"\0", b"\x7f", b"\x1b"]))
def test_a_byte_that_no_head_can_have_is_refused_when_it_is_seen(at: int, wrong: bytes) -> None:
    """Law 5: not when the head is complete. (Of a lone CR, the byte behind it tells.)"""
    assume(not (wrong == b"\n" and HEAD_BYTES[:at].endswith(b"\r")))
    core = server(HEAD_BYTES[:at])
    list(core.events())
    core.receive_data(wrong)
    with pytest.raises(RemoteProtocolError):
        list(core.events())


@pytest.mark.parametrize(
    "prefix",
    [b"GE T", b"G\x00", b"GET / X", b"GET /\n", b"GET /\xff", b"GET / HTTP/1.1\r\n ", b"GET / HTTP/1.1\r\nHost ",
     b"GET / HTTP/1.1\r\nHost: a\nX", b"GET / HTTP/1.1\r\nHost: a\r\n\rX", b"\x16\x03\x01", b"(", b"\n", b" ",
     b"GET / TT", b"GET / HTTQ", b"GET / HTTP/x", b"GET / HTTP/1.1x", b"GET / HTTP/11", b"GET / H\r\n", b"GET / HTTP/1\r",
     b"GET / HTTP/1.\r\n", b"GET / HTTP/1.1\r\nHost\r"],
)  # fmt: skip
def test_a_prefix_that_nothing_can_mend_is_refused(prefix: bytes) -> None:
    """Law 5, for the parts of a head; a TLS hello among them."""
    assert refusal(prefix) == 400 if prefix != b"GE T" else server(prefix).next_event() is None


@pytest.mark.parametrize("after", [b"2 ", b"20 ", b"20\r", b" ", b"2000", b"200x", b"200\rx", b"200 OK\rx"])
def test_a_status_line_that_nothing_can_mend_is_refused(after: bytes) -> None:
    """Law 5: three digits (§4), and then a space or the end of the line."""
    with pytest.raises(RemoteProtocolError):
        client(GET, b"HTTP/1.1 " + after).next_event()


@pytest.mark.parametrize("wrong", [b"x", b"\n", b" ", b";", b"-", b"5x", b"5\n", b"5\rX", b"5;\x00", b"5;a\n", b"5 5",
                                   b"5\r\nhelloX", b"5\r\nhello\n", b"5\r\nhello\rX",
                                   b"0\r\nX\n", b"0\r\n X", b"f" * 17, b"0x5\r\nhello", b"+5\r\nhello",
                                   b"1_0\r\n", b" 5\r\nhello", b"5 ;a=b\r\nhello5"])  # fmt: skip
def test_a_chunk_is_refused_at_its_first_wrong_byte(wrong: bytes) -> None:
    """§7.1, and law 5."""
    assert refusal(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wrong) == 400


@pytest.mark.parametrize(
    ("data", "limits", "status"),
    [
        (b"GET /" + b"a" * 60, {"max_start_line": 50}, 414),
        (b"GET /" + b"a" * 60 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {"max_start_line": 50}, 414),
        (b"GET /" + b"a" * 60, {"max_start_line": 55, "max_head": 50}, 431),
        (b"G" * 60, {"max_start_line": 50}, 501),
        (b"G" * 60 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", {"max_start_line": 50}, 501),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 90, {"max_head": 100}, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 90 + b"\r\n\r\n", {"max_head": 100}, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n", {"max_headers": 2}, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", {"max_body": 10}, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n", {"max_body": 10}, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n", {"max_body": 10}, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 90, {"max_chunk_line": 50}, 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"a" * 50 + b"\r\nx\r\n"
         + b"1;" + b"a" * 50 + b"\r\n", {"max_head": 69}, 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n",
         {"max_headers": 2}, 431),
        (b"\r\n" * 5, {}, 400),
        *((b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1" + b"0" * zeros + b"\r\n", {}, 413)
          for zeros in (8, 9, 15)),  # 2**32, 2**36, 2**60: in 32 bits, 0
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused_before_its_payload(data: bytes, limits: dict[str, int], status: int) -> None:
    """Law 5, and each of ``Limits``."""
    assert refusal(data, **limits) == status


@pytest.mark.parametrize(
    ("lines", "code"),
    [([b"A: 1", b"B : 2", b"C: 3", b"D: 4"], 400), ([b"A: 1", b"B: 2", b"C: 3", b"D : 4"], 431), ([b"A: 1"] * 9, 431)],
)
@pytest.mark.parametrize("start", [b"", b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"])  # a head, and trailers
def test_a_wrong_byte_and_one_field_too_many_are_told_as_they_come(start: bytes, lines: list[bytes], code: int) -> None:
    """Law 2, and what a head of many short lines costs."""
    data = b"GET / HTTP/1.1\r\n" + start + request(*lines, b"")
    subject = Subject(lambda: server(max_headers=2))
    for stream in ([data], [data[i : i + 1] for i in range(len(data))]):
        error = trace(subject, stream).error
        assert error is not None
        assert error[1] == code


def test_a_version_cut_short_is_told_however_it_comes() -> None:
    """Law 2: when the line ends, or when the head does, if that has come in one piece."""
    data = request(b"GET / HTTP/1", b"Host: a", b"")
    for stream in ([data], [data[i : i + 1] for i in range(len(data))]):
        assert trace(Subject(server), stream).error == ("unexpected byte 0x0d in the version of a head", 400)


@given(st.integers(0, len(HEAD_BYTES) - 1), st.sampled_from([b"", b"\r", b" ", b":", b"1", b"x"]))
def test_a_head_that_is_not_refused_can_still_become_a_right_one(at: int, wrong: bytes) -> None:
    """Law 5, from its other side: whatever has come, some of the endings of a right head mend it, or it is refused by now."""
    head = HEAD_BYTES[:at] + wrong + HEAD_BYTES[at + 1 :]
    for end in range(len(head)):
        if _reads(head[:end]) is None:
            assert any(_reads(head[:end] + HEAD_BYTES[at:]) for at in range(len(HEAD_BYTES))), head[:end]


def _reads(data: bytes) -> bool | None:
    """Whether this is a head that is right; None: not yet."""
    buffer = Buffer(len(data))
    buffer.append(data)
    try:
        return None if Connection.head_reader(REQUEST, Limits()).read(buffer) is None else True
    except RemoteProtocolError:
        return False


@pytest.mark.parametrize("extension", [b";a", b";a=123456789012", b";a=" + b"x" * 20])
@pytest.mark.parametrize("size", [b"1", b"0001"])
def test_extensions_are_bounded_in_total_however_short_they_are(extension: bytes, size: bytes) -> None:
    """§7.1.1. Every byte of one counts, and none of the size."""
    core = server(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", max_head=200)
    list(core.events())
    for _ in range(200 // len(extension)):
        core.receive_data(b"%b%b\r\nx\r\n" % (size, extension))
        assert [type(event) for event in core.events()] == [Data]
    core.receive_data(b"%b%b\r\nx\r\n" % (size, extension))
    with pytest.raises(RemoteProtocolError, match="too many chunk extensions"):
        list(core.events())


def test_extensions_are_bounded_to_the_byte() -> None:
    """99 extensions of two bytes and one of three: 201 bytes are one too many."""
    core = server(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;a\r\nx\r\n" * 99, max_head=200)
    assert sum(type(event) is Data for event in core.events()) == 99
    core.receive_data(b"1;ab\r\nx\r\n")
    with pytest.raises(RemoteProtocolError, match="too many chunk extensions"):
        list(core.events())


def test_a_chunk_line_that_is_longer_than_a_head_may_be_is_the_peers_fault() -> None:
    """However slowly it comes: what waits is bounded by the larger of the two limits."""
    core = server(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", max_head=100, max_chunk_line=200)
    for part in (b"1" + b";a" * 60, b";a", b";a", b";a\r\n"):
        list(core.events())
        core.receive_data(part)
    with pytest.raises(RemoteProtocolError, match="too many chunk extensions"):
        list(core.events())


def test_folded_lines_are_one_field() -> None:
    """§5.2, for a client; what is malformed is not told as too many."""
    folded = b"A: b\r\n c\r\n d\r\n" * 2
    assert trace(Subject(lambda: client(max_headers=2)), [b"HTTP/1.1 200 OK\r\n" + folded + b"\r\n"]).error is None
    malformed, long = b"HTTP/1.1 2000 OK\r\n" + folded, b"HTTP/1.1 200 OK\r\n" + 2 * folded
    for head, why in ((malformed, "unexpected byte 0x30 in the status"), (long, "too many fields")):
        error = trace(Subject(lambda: client(max_headers=2)), [head + b"\r\n"]).error
        assert error is not None
        assert why in error[0]


def test_what_is_just_not_too_large_is_taken() -> None:
    """A limit is the last size that is allowed."""
    line, rest = b"POST /where HTTP/1.1", b"\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    core = server(line + rest + b"abc", max_start_line=len(line), max_head=len(line + rest), max_headers=2, max_body=3)
    assert [type(event) for event in core.events()] == [RequestHead, Data, EndOfMessage]
    chunks = request(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", b"", b"3", b"abc", b"0", b"")
    assert [type(event) for event in server(chunks, max_body=3).events()] == [RequestHead, Data, EndOfMessage]


@pytest.mark.parametrize(("fields", "wants"), [([], Wants.DATA), ([("connection", "close")], Wants.CLOSED)])
def test_what_is_wanted_is_known_when_an_exchange_is_over(fields: list[tuple[str, str]], wants: Wants) -> None:
    """On both sides, before any further call."""
    core = answered(request(b"GET / HTTP/1.1", b"Host: a", b""), ResponseHead(204, Headers(fields)))()
    assert core.wants is Wants.PAUSED
    core.send(EndOfMessage())
    assert core.wants is wants
    lines = b"HTTP/1.1 204 No Content", *(f"{name}: {value}".encode() for name, value in fields), b""
    asking = client(data=request(*lines))
    assert [type(asking.next_event()), asking.next_event()] == [ResponseHead, EndOfMessage()]
    assert asking.wants is wants


def test_empty_lines_are_counted_anew_before_each_request() -> None:
    """§2.2."""
    core, get = server(max_empty_lines=2), request(b"GET / HTTP/1.1", b"Host: a", b"")
    for _ in range(2):
        core.receive_data(b"\r\n\r\n" + get)
        assert [type(event) for event in core.events()] == [RequestHead, EndOfMessage]
        core.send(ResponseHead(204, Headers()))
        core.send(EndOfMessage())
    core.receive_data(b"\r\n\r\n\r\n" + get)
    with pytest.raises(RemoteProtocolError, match="too many empty lines"):
        core.next_event()


def test_a_300_to_connect_is_a_response_with_content() -> None:
    """RFC 9110 §9.3.6: only a 2xx begins a tunnel."""
    core = client(RequestHead("CONNECT", "a:1", Headers([("host", "a:1")])), b"HTTP/1.1 300 x\r\nContent-Length: 2\r\n\r\nhi")
    assert [type(event) for event in core.events()] == [ResponseHead, Data, EndOfMessage]


def test_a_100_is_expected_until_content_comes() -> None:
    """RFC 9110 §10.1.1."""
    core = server(request(b"POST / HTTP/1.1", b"Host: a", b"Expect: 100-continue", b"Content-Length: 2", b""))
    assert [type(event) for event in core.events()] == [RequestHead] and core.expects_continue
    core.receive_data(b"h")
    assert list(core.events()) == [Data(b"h")] and not core.expects_continue


def test_a_request_that_is_cut_short_is_a_400() -> None:
    core = server(b"GET / HT")
    core.receive_eof()
    with pytest.raises(RemoteProtocolError) as raised:
        core.next_event()
    assert raised.value.code == 400


@pytest.mark.parametrize(("field", "left"), [(b"Content-Length: 7", 7), (b"Transfer-Encoding: chunked", 0), (b"X: y", 0)])
def test_only_a_length_says_how_much_content_is_left(field: bytes, left: int) -> None:
    core = server(request(b"POST / HTTP/1.1", b"Host: a", field, b""))
    core.next_event()
    assert core.content_left == left


LENGTH = Headers([("content-length", "0")])


@pytest.mark.parametrize(
    ("method", "status", "fields", "sent"),
    [
        ("GET", 599, LENGTH, True),
        ("GET", 600, LENGTH, False),
        ("GET", 99, Headers(), False),
        ("GET", 199, Headers(), True),
        ("GET", 199, LENGTH, False),
        ("CONNECT", 299, LENGTH, False),
        ("CONNECT", 300, LENGTH, True),
    ],
)
def test_a_status_at_an_edge(method: str, status: int, fields: Headers, sent: bool) -> None:
    """RFC 9110 §15: there is none below 100, and none above 599. §8.6: a 1xx and a 2xx to CONNECT have no length."""
    target = b"a:1" if method == "CONNECT" else b"/"
    core = answered(request(b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: a", b""))()
    if sent:
        assert core.send(ResponseHead(status, fields)).startswith(b"HTTP/1.1 %d " % status)
    else:
        with pytest.raises(LocalProtocolError):
            core.send(ResponseHead(status, fields))


def test_a_whole_response_has_its_turn() -> None:
    core = answered(request(b"GET / HTTP/1.1", b"Host: a", b""))()
    head = ResponseHead(200, Headers([("content-length", "2")]))
    assert core.send_whole(head, b"hi").endswith(b"\r\n\r\nhi")
    with pytest.raises(LocalProtocolError):
        core.send_whole(head, b"hi")


@pytest.mark.parametrize(("method", "status"), [("GET", 100), ("GET", 199), ("CONNECT", 200), ("CONNECT", 299)])
def test_what_has_no_end_is_no_whole_response(method: str, status: int) -> None:
    """RFC 9110 §15.2, §9.3.6: another response follows a 1xx, and a tunnel a 2xx to CONNECT."""
    target = b"a:1" if method == "CONNECT" else b"/"
    core = answered(request(b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: a", b""))()
    with pytest.raises(LocalProtocolError, match=f"no whole response has status {status}"):
        core.send_whole(ResponseHead(status, Headers()), b"")
    assert core.send_whole(ResponseHead(300, Headers()), b"hi").endswith(b"\r\n\r\nhi")


def test_a_limit_is_1_or_more_but_content_may_be_forbidden() -> None:
    assert Limits(max_body=0).max_body == 0
    for wrong in ({"max_body": -1}, {"max_head": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Limits(**wrong)


def test_content_until_close_is_given_up_to_its_limit() -> None:
    """Law 4: what was allowed comes before the fault."""
    core = client(data=b"HTTP/1.1 200 OK\r\n\r\nhello", max_body=3)
    assert [type(core.next_event()), core.next_event()] == [ResponseHead, Data(b"hel")]
    with pytest.raises(RemoteProtocolError, match="too large"):
        core.next_event()


def test_nothing_is_asked_on_a_connection_that_the_server_has_ended() -> None:
    core = asked()()
    core.receive_eof()
    assert core.next_event() is None
    assert (core.wants, core.request, core.response) == (Wants.CLOSED, State.CLOSED, State.CLOSED)
    with pytest.raises(LocalProtocolError):
        core.send(GET)


def test_a_199_is_interim() -> None:
    """RFC 9110 §15.2: the last of them, too; it is no answer to CONNECT, and nothing for HTTP/1.0."""
    core = answered(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", ResponseHead(199, Headers()))()
    assert core.response == HEAD
    with pytest.raises(LocalProtocolError):
        answered(b"GET / HTTP/1.0\r\n\r\n", ResponseHead(199, Headers()))()


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_as_many_empty_lines_as_the_limit_says(cut: Callable[[bytes], list[bytes]]) -> None:
    """§2.2, and not one more."""
    subject = Subject(lambda: server(max_empty_lines=2))
    assert len(trace(subject, cut(b"\r\n" * 2 + WHOLE)).events) == 2
    assert trace(subject, cut(b"\r\n" * 3 + WHOLE)).error == ("too many empty lines", 400)


def test_each_request_has_its_own_empty_lines() -> None:
    """§2.2: old clients send one behind each."""
    core = server()
    for _ in range(9):
        core.receive_data(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [type(event) for event in core.events()] == [RequestHead, EndOfMessage]
        core.send_whole(PreparedHead(204, Headers()), b"")


def test_storing_more_than_the_limit_without_pulling_is_our_bug() -> None:
    core = server(max_head=100, max_chunk_line=50)
    core.receive_data(b"a" * 101)
    with pytest.raises(LocalProtocolError):
        core.receive_data(b"a")


# ---- requests: what is accepted --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"GET /where?q=now HTTP/1.1", b"Host: a"],
        [b"GET http://b:80/where?q HTTP/1.1", b"Host: a"],
        [b"GET http://b HTTP/1.1", b"Host: "],
        [b"OPTIONS * HTTP/1.1", b"Host: a"],
        [b"OPTIONS http://a:8001 HTTP/1.1", b"Host: a"],
        [b"CONNECT www.example.com:80 HTTP/1.1", b"Host: www.example.com"],
        [b"CONNECT [::1]:80 HTTP/1.1", b"Host: [::1]:80"],
        [b"CONNECT a:65535 HTTP/1.1", b"Host: a:65535"],
        [b"GET / HTTP/1.0"],
        [b"GET / HTTP/1.1", b"HOST:a"],
        [b"GET / HTTP/1.1", b"Host:\t a \t"],
        [b"GET http://[v1.fe:x]:80/ HTTP/1.1", b"Host: [vF.!]"],
        [b"GET /?^`{|}[]\\%zz HTTP/1.1", b"Host: a"],
        [b"GET / HTTP/1.2", b"Host: a"],
        [b"", b"", b"GET / HTTP/1.1", b"Host: a"],
        [b"GET / HTTP/1.1", b"Host: a", b"X: \x80\xff\tb", b"X:"],
        [b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 0, 0", b"Content-Length: 0"],
    ],
)
def test_a_request_that_is_right(lines: list[bytes]) -> None:
    """§3.2, and the robustness that §2.2 asks for."""
    head, end = server(request(*lines, b"")).events()
    assert isinstance(head, RequestHead)
    assert end == EndOfMessage()


def test_names_are_lower_case_and_values_trimmed() -> None:
    """§5.1; order and repetitions are kept."""
    head = server(b"GET / HTTP/1.1\r\nHost: a\r\nX-B: 1 \r\nX-a:\t2\r\nx-b:\r\n\r\n").next_event()
    assert isinstance(head, RequestHead)
    assert head.headers == [("host", "a"), ("x-b", "1"), ("x-a", "2"), ("x-b", "")]
    assert (head.headers.get("x-b"), head.headers.get_all("x-b"), head.headers.get("y")) == ("1, ", ["1", ""], None)


def test_only_spaces_and_tabs_are_trimmed() -> None:
    """§5.1 has no other whitespace: what Python takes for some (NEL, a no-break space) is obs-text, and part of the value."""
    head = server(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xa0b\x85\t\r\nY:\x85 \r\n\r\n").next_event()
    assert isinstance(head, RequestHead)
    assert head.headers[1:] == [("x", "\xa0b\x85"), ("y", "\x85")]


def test_chunks_extensions_and_trailers() -> None:
    """§7.1: extensions are ignored, trailers delivered, hex digits of either case."""
    body = b'A;a\r\n0123456789\r\n000b ; n = "q\\";" ;b=c\r\n0123456789x\r\n00\r\nDigest: x\r\n\r\n'
    events = list(server(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n" + body).events())
    assert laws.join_data(events)[1:] == [Data(b"0123456789" * 2 + b"x"), EndOfMessage(Headers([("digest", "x")]))]


# ---- requests: what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (400, [b"GET / HTTP/1.1"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"Host: a"]),
        (400, [b"GET / HTTP/1.0", b"Host: a", b"Host: b"]),
        (400, [b"GET / HTTP/1.1", b"Host: a b"]),
        (400, [b"GET / HTTP/1.1", b"Host: a/b"]),
        (400, [b"GET / HTTP/1.1", b"Host: u@a"]),
        (400, [b"GET / HTTP/1.1", b"Host: a:x"]),
        (400, [b"GET / HTTP/1.1", b"Host: a:65536"]),
        (400, [b"GET / HTTP/1.1", b"Host: [::1::]"]),
        (400, [b"GET / HTTP/1.1", b"Host: [::1"]),
        (400, [b"GET / HTTP/1.0", b"Host: a%zz"]),
        (400, [b"GET  / HTTP/1.1", b"Host: a"]),
        (400, [b"GET / HTTP/1.1 ", b"Host: a"]),
        (400, [b"GET /\tx HTTP/1.1", b"Host: a"]),
        (400, [b" GET / HTTP/1.1", b"Host: a"]),
        (400, [b"GET /", b"Host: a"]),
        (400, [b"GET x HTTP/1.1", b"Host: a"]),
        (400, [b"GET * HTTP/1.1", b"Host: a"]),
        (400, [b"GET /#x HTTP/1.1", b"Host: a"]),
        *((400, [b"GET /?" + character + b" HTTP/1.1", b"Host: a"]) for character in (b"<", b">", b'"', b"#")),
        *((400, [b"GET / HTTP/1.1", b"Host: " + host]) for host in (b"[v.a]", b"[v1.]", b"[vx.a]", b"[v1.a/]")),
        (400, [b"GET http:///x HTTP/1.1", b"Host: a"]),
        (400, [b"GET http://u@b/ HTTP/1.1", b"Host: a"]),
        (400, [b"CONNECT /x HTTP/1.1", b"Host: a"]),
        *((400, [b"CONNECT " + to + b" HTTP/1.1", b"Host: a"]) for to in (b"a", b"a:", b":80", b"a:0", b"a:65536")),
        *((400, [b"CONNECT " + to + b" HTTP/1.1", b"Host: a"]) for to in (b"[::1]", b"[::1]:", b"u@a:80", b"a:80/")),
        (400, [b"GET http://a:65536/ HTTP/1.1", b"Host: a"]),
        (400, [b"OPTIONS a HTTP/1.1", b"Host: a"]),
        (400, [b"GET / http/1.1", b"Host: a"]),
        (400, [b"GET / HTTP/1.10", b"Host: a"]),
        (400, [b"GET / HTTP/11", b"Host: a"]),
        (400, [b"G\xc3T / HTTP/1.1", b"Host: a"]),
        (501, [b"BREW / HTTP/1.1", b"Host: a"]),
        (501, [b"TRACE / HTTP/1.1", b"Host: a"]),
        (501, [b"get / HTTP/1.1", b"Host: a"]),
        (505, [b"GET / HTTP/2.0", b"Host: a"]),
        (505, [b"GET / HTTP/0.9", b"Host: a"]),
        (505, [b"PRI * HTTP/2.0"]),
        (400, [b"GET / HTTP/1.1", b"Host : a"]),
        (400, [b"GET / HTTP/1.1", b" Host: a"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b" folded"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X: a", b"\tfolded"]),
        (400, [b"POST / HTTP/1.1", b"Host: a", b"X: a", b" Content-Length: 0"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b": x"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X@: a"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X: a\0b"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X: a\rb"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X: a\rY: b"]),
        (400, [b"GET / HTTP/1.1", b"Host: a", b"X: a\nb: c"]),
    ],
)
def test_a_request_that_is_wrong(status: int, lines: list[bytes]) -> None:
    """§2.2, §2.3, §3, §5."""
    assert refusal(request(*lines, b"")) == status


@pytest.mark.parametrize("control", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_a_value_has_no_control_character(control: int) -> None:
    """RFC 9110 §5.5. A tab, 0x09, is whitespace."""
    assert refusal(request(b"GET / HTTP/1.1", b"Host: a", b"X: a" + bytes([control]) + b"b", b"")) == 400


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        *((400, [b"Content-Length: " + value]) for value in (b"+5", b"-1", b"5x", b"0x5", b"", b"5 5", b"1_0", b"5,",
                                                             b"9" * 19, b"\xb2", b"5, 6")),
        (400, [b"Content-Length: 5", b"Content-Length: 6"]),
        (400, [b"Content-Length: 5", b"Transfer-Encoding: chunked"]),
        (400, [b"Transfer-Encoding: chunked", b"Content-Length: 5"]),
        (400, [b"Transfer-Encoding: chunked, chunked"]),
        (400, [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"]),
        (400, [b"Transfer-Encoding: chunked, gzip"]),
        (400, [b"Transfer-Encoding: gzip"]),
        (400, [b"Transfer-Encoding: identity"]),
        (400, [b"Transfer-Encoding: "]),
        (400, [b"Transfer-Encoding: xchunked"]),
        (400, [b"Transfer-Encoding: chunked;a=b"]),
        *((400, [b"Transfer-Encoding: %b ;a=b, chunked" % coding]) for coding in (b"gzip", b"x-gzip", b"deflate",
                                                                                  b"compress", b"x-compress")),
        (400, [b"Transfer-Encoding: \x0bchunked"]),
        (501, [b"Transfer-Encoding: gzip, chunked"]),
        (501, [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"]),
    ],
)  # fmt: skip
def test_framing_that_is_ambiguous(status: int, fields: list[bytes]) -> None:
    """§6.1-6.3, §7.2, §11.2."""
    assert refusal(request(b"POST / HTTP/1.1", b"Host: a", *fields, b"")) == status


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    """§6.1."""
    assert refusal(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400


def test_a_refusal_of_head_has_no_content() -> None:
    """RFC 9110 §9.3.2, whether the head was understood or not."""
    for data in (b"HEAD / HTTP/1.1\r\n\r\n", b"HEAD / HTTP/1.1\r\nX : y", b"HEAD / HTTP/3.0\r\n\r\n"):
        core = server(data)
        with pytest.raises(RemoteProtocolError) as caught:
            list(core.events())
        words = core.farewell(caught.value)
        assert [type(event) for event in words] == [ResponseHead, EndOfMessage]
        for event in words:
            core.send(event)
        assert core.farewell(caught.value) == []


def test_the_methods_can_be_extended() -> None:
    core = Connection(Role.SERVER, methods=frozenset({"BREW"}))
    core.receive_data(b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(core.next_event(), RequestHead)


# ---- responses, received ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "response", "content"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", b"abc"),
        ("GET", b"HTTP/1.1 200 OK\r\n\r\nabcdef", b"abcdef"),
        ("GET", b"HTTP/1.0 200 OK\r\n\r\nabcdef", b"abcdef"),
        ("GET", b"HTTP/1.1 200\r\nTransfer-Encoding: gzip\r\n\r\nabc", b"abc"),
        ("GET", b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc", b"abc"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("GET", b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 \r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_where_a_response_ends(method: str, response: bytes, content: bytes) -> None:
    """§6.3, rules 1 to 8."""
    events = client_events(method, response)
    assert b"".join(event.data for event in events if isinstance(event, Data)) == content
    assert isinstance(events[-1], EndOfMessage)


def client_events(method: str, response: bytes) -> list[Event]:
    core = client(RequestHead(method, "/", HOST), response)
    events: list[Event] = []
    try:
        events += core.events()
        core.receive_eof()
        events += core.events()
    except RemoteProtocolError:
        pass
    return events


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: X-GZIP ;q=1, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: deflate;q=1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 OK\r\n X: folded into the status line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
def test_a_response_that_is_wrong(response: bytes) -> None:
    core = client(GET, response)
    with pytest.raises(RemoteProtocolError) as caught:
        list(core.events())
    assert core.farewell(caught.value) == []


def test_a_client_replaces_a_fold_by_a_space() -> None:
    """§5.2: a user agent MUST."""
    head = client(GET, b"HTTP/1.1 200 OK\r\nX: a \r\n \tb\r\nY: c\r\n\td\r\nZ:\r\n\r\n").next_event()
    assert head == ResponseHead(200, Headers([("x", "a  b"), ("y", "c d"), ("z", "")]))


def test_http_1_0_has_no_upgrade() -> None:
    """RFC 9110 §7.8: it MUST be ignored there, so a 101 is not an answer to it."""
    core = client(RequestHead("GET", "/", Headers([("upgrade", "x"), ("connection", "upgrade")]), "1.0"))
    core.receive_data(b"HTTP/1.1 101 x\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="101 without a request to upgrade"):
        core.next_event()


def test_a_client_completes_its_request_before_it_switches() -> None:
    """RFC 9110 §7.8: it can't begin the new protocol in the middle of a message, although the 101 has come."""
    core = asked(UPGRADING, Data(b"a"), response=b"HTTP/1.1 101 x\r\n\r\nnew")()
    assert (core.request, core.response, core.wants) == (BODY, SWITCHED, Wants.PAUSED)
    assert core.send(Data(b"b")) + core.send(EndOfMessage()) == b"1\r\nb\r\n0\r\n\r\n"
    assert (core.request, core.response, core.wants, core.trailing_data) == (SWITCHED, SWITCHED, Wants.PAUSED, b"new")
    for event in (GET, Data(b"c"), EndOfMessage()):
        with pytest.raises(LocalProtocolError):
            core.send(event)


def test_a_client_replaces_a_fold_in_a_trailer_too() -> None:
    """§5.2; but the first trailer has nothing to be folded into."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    *_, end = client(GET, chunked + b"A: a\r\n b\r\nB: c\r\n\r\n").events()
    assert end == EndOfMessage(Headers([("a", "a b"), ("b", "c")]))
    with pytest.raises(RemoteProtocolError):
        list(client(GET, chunked + b" A: a\r\n\r\n").events())


def test_a_client_that_has_said_close_asks_no_more() -> None:
    """§9.6, although the server would go on."""
    core = client(RequestHead("GET", "/", Headers([*HOST, ("connection", "close")])), b"HTTP/1.1 204 x\r\n\r\n")
    assert [type(event) for event in core.events()] == [ResponseHead, EndOfMessage]
    assert core.wants is Wants.CLOSED
    with pytest.raises(LocalProtocolError):
        core.send(GET)


def test_data_without_a_request_is_no_response() -> None:
    """§9.2, §6.3: neither before the first request nor behind the last response; and the connection is over."""
    for core in (Connection(Role.CLIENT), client(data=b"HTTP/1.1 204 x\r\n\r\n")):
        list(core.events())
        core.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(RemoteProtocolError):
            core.next_event()
        assert core.request is core.response is State.CLOSED
        with pytest.raises(LocalProtocolError):
            core.send(GET)


# ---- what we send ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        [("x", "a\r\nset-cookie: b")], [("x", "a\nb")], [("x", "a\rb")], [("x", "a\0")], [("x\r\ny", "a")], [("x: y", "a")],
        [("x ", "a")], [("", "a")], [("X", "upper case")], [("x", "a\r\n b")], [(" x", "a")], [("x", " a")], [("x", "a ")],
        [("x", "\u20ac")],
        [("x", "a\r\n\r\nHTTP/1.1 200 OK")], [("x", "a\r\ny\0b")], [("x\0a\r\ny", "b")], [("x", "a\r\ny\0b"), ("z", "")],
    ],
)  # fmt: skip
def test_nothing_puts_a_line_break_into_what_we_send(fields: list[tuple[str, str]]) -> None:
    """§11.1, response splitting; nor anything that would not arrive as it was given."""
    core = answered(WHOLE)()
    with pytest.raises(LocalProtocolError):
        core.send(ResponseHead(200, Headers([*fields, ("content-length", "0")])))
    assert core.response == HEAD
    with pytest.raises(LocalProtocolError):
        Connection(Role.CLIENT).send(RequestHead("GET", "/", Headers([*HOST, *fields])))


@pytest.mark.parametrize(
    ("method", "target", "version"),
    [("GET", "/\r\nx", "1.1"), ("GET", "/ HTTP/1.1\r\nX: y", "1.1"), ("GET", "/ HTTP/1.1\r\nX: y\r\n\r\nGET /", "1.1"),
     ("GET / HTTP/1.1\r\nX:", "/", "1.1"), ("GET", "/", "1.1\r\nX: y"), ("GET /", "x", "1.1"), ("", "/", "1.1"),
     ("GET", "", "1.1"), ("GET", "/\u20ac", "1.1"), ("GET", "/ x", "1.1"), ("GET", "/", "2.0")],
)  # fmt: skip
def test_nothing_puts_a_line_break_into_a_request_line(method: str, target: str, version: str) -> None:
    """§11.2, request smuggling."""
    with pytest.raises(LocalProtocolError):
        Connection(Role.CLIENT).send(RequestHead(method, target, HOST, version))


@pytest.mark.parametrize(
    ("request_bytes", "head"),
    [
        (WHOLE, ResponseHead(200, Headers())),
        (WHOLE, ResponseHead(204, Headers([("content-length", "0")]))),
        (WHOLE, ResponseHead(204, CHUNKED)),
        (WHOLE, ResponseHead(100, Headers([("content-length", "0")]))),
        (WHOLE, ResponseHead(205, Headers([("content-length", "1")]))),
        (WHOLE, ResponseHead(99, OK.headers)),
        (WHOLE, ResponseHead(600, OK.headers)),
        (WHOLE, SWITCH),
        (WHOLE, ResponseHead(200, Headers([("content-length", "x")]))),
        (WHOLE, ResponseHead(200, Headers([*OK.headers, *CHUNKED]))),
        (b"GET / HTTP/1.0\r\n\r\n", ResponseHead(200, CHUNKED)),
        (b"GET / HTTP/1.0\r\n\r\n", ResponseHead(100, Headers())),
        (b"GET / HTTP/1.0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", SWITCH),
        (UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n"), SWITCH),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        (WHOLE, ResponseHead(200, TWICE)),
        (WHOLE, ResponseHead(200, GZIP)),
        (HEAD_REQUEST, ResponseHead(200, TWICE)),
        (HEAD_REQUEST, ResponseHead(200, Headers([*OK.headers, *CHUNKED]))),
        (WHOLE, ResponseHead(304, Headers([*OK.headers, *CHUNKED]))),
        (b"HEAD / HTTP/1.0\r\n\r\n", ResponseHead(200, CHUNKED)),
        (b"GET / HTTP/1.0\r\n\r\n", ResponseHead(304, CHUNKED)),
    ],
)
def test_a_response_that_would_lie_about_its_end_is_not_sent(request_bytes: bytes, head: ResponseHead) -> None:
    """§6.1 to §6.3, also where nothing follows a head (HEAD, 304); RFC 9110 §8.6, §15.2, §7.8."""
    with pytest.raises(LocalProtocolError):
        answered(request_bytes)().send(head)


@pytest.mark.parametrize("codings", ["gzip", "chunked, chunked", "gzip, chunked", "chunked, gzip", "chunked;a=b"])
def test_a_request_in_other_codings_than_chunked_is_not_sent(codings: str) -> None:
    """§6.1: chunked once, and last; and no coding that a server might not know."""
    core = Connection(Role.CLIENT)
    with pytest.raises(LocalProtocolError):
        core.send(RequestHead("POST", "/", Headers([*HOST, ("transfer-encoding", codings)])))
    assert core.request is IDLE


def test_a_response_in_another_coding_ends_with_the_connection() -> None:
    """§6.1: if chunked is not the last coding, the server MUST close, which is how the client sees the end."""
    core = answered(WHOLE)()
    core.send(ResponseHead(200, Headers([*GZIP, ("connection", "close")])))
    assert core.send(Data(b"x")) == b"x" and core.send(EndOfMessage()) == b""
    assert core.request is core.response is State.CLOSED


def test_a_response_that_only_the_end_of_the_connection_ends_is_the_last() -> None:
    """§6.3, rule 8, and §9.3: to HTTP/1.0, which has no chunks, although both ends want to keep the connection."""
    core = answered(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ResponseHead(200, Headers()), EndOfMessage())()
    assert core.request is core.response is State.CLOSED


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_server_that_has_answered_in_http_1_0_gets_no_chunks(version: str) -> None:
    """§6.1, §6.3: MUST NOT, unless we know that the server handles HTTP/1.1. A length is for all."""
    core = client(data=b"HTTP/%b 204 x\r\nConnection: keep-alive\r\n\r\n" % version.encode())
    assert [type(event) for event in core.events()] == [ResponseHead, EndOfMessage]
    if version == "1.0":
        with pytest.raises(LocalProtocolError, match=r"HTTP/1\.0, which knows no chunks"):
            core.send(POST)
        core.send(RequestHead("POST", "/", Headers([*HOST, ("content-length", "1")])))
        return
    core.send(POST)


@pytest.mark.parametrize("hosts", [[], ["a", "a"], ["a b"], ["u@a"], ["a:65536"]])
def test_a_request_without_one_valid_host_is_not_sent(hosts: list[str]) -> None:
    """§3.2, also if the target is a whole URL (§3.2.2)."""
    for target in ("/", "http://a/"):
        with pytest.raises(LocalProtocolError):
            Connection(Role.CLIENT).send(RequestHead("GET", target, Headers([("host", host) for host in hosts])))


@pytest.mark.parametrize("target", ["/", "a", "a:", ":80", "a:0", "u@a:80", "http://a:80/", "*"])
def test_a_connect_takes_host_and_port(target: str) -> None:
    """§3.2.3: a client MUST send only these."""
    core = Connection(Role.CLIENT)
    with pytest.raises(LocalProtocolError):
        core.send(RequestHead("CONNECT", target, HOST))
    assert core.send(RequestHead("CONNECT", "[::1]:80", HOST)).startswith(b"CONNECT [::1]:80 HTTP/1.1\r\n")


def test_a_request_ends_with_its_content() -> None:
    """§2.2: no line end before or behind it that its length does not count, and no content without a length."""
    core = Connection(Role.CLIENT)
    sent = core.send(RequestHead("POST", "/", Headers([*HOST, ("content-length", "3")])))
    for piece in (b"x\r\n\r\n", b"x\r\n\n"):
        with pytest.raises(LocalProtocolError):
            core.send(Data(piece))
    sent += core.send(Data(b"x\r\n")) + core.send(EndOfMessage())
    assert sent == b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nx\r\n"
    core = Connection(Role.CLIENT)
    core.send(GET)
    with pytest.raises(LocalProtocolError):
        core.send(Data(b"x"))


def test_a_request_line_of_8000_bytes() -> None:
    """§3: RECOMMENDED, of senders and recipients."""
    target = "/" + "a" * (8_000 - len("GET / HTTP/1.1"))
    sent = Connection(Role.CLIENT).send(RequestHead("GET", target, HOST))
    assert len(sent.partition(b"\r\n")[0]) == 8_000
    assert server(sent).next_event() == RequestHead("GET", target, HOST)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"GET / HTTP/1.0"])
def test_a_status_line_has_our_version_and_both_its_spaces(start: bytes) -> None:
    """§2.3: no downgrade for a client that has done nothing wrong. §4: the second space MUST come even if no reason does."""
    line, known = b"HTTP/1.1 299 \r\n", b"HTTP/1.1 200 OK\r\n"
    data = request(start, b"Host: a", b"")
    assert answered(data)().send(ResponseHead(299, OK.headers)).startswith(line)
    assert answered(data)().send_whole(PreparedHead(299, Headers()), b"").startswith(line)
    assert answered(data)().send_whole(PreparedHead(200, Headers()), b"").startswith(known)
    core = broken(b"GET / HTTP/1.1\r\nX : y")
    assert core.error is not None
    assert core.send(core.farewell(core.error)[0]).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_content_has_to_be_as_long_as_was_said() -> None:
    core = answered(WHOLE, ResponseHead(200, Headers([("content-length", "2")])))()
    for event in (Data(b"abc"), EndOfMessage()):
        with pytest.raises(LocalProtocolError):
            core.send(event)
    assert core.send(Data(b"ab")) + core.send(EndOfMessage()) == b"ab"


LENGTHS = [[], [("content-length", "3")], [("content-length", "x")], list(CHUNKED), [("transfer-encoding", "gzip")]]


@given(
    st.sampled_from([b"GET / HTTP/1.1", b"HEAD / HTTP/1.1", b"GET / HTTP/1.0", b"HEAD / HTTP/1.0", b"CONNECT a:1 HTTP/1.1"]),
    st.sampled_from([b"x", b"close", b"keep-alive"]),
    st.sampled_from([99, 101, 103, 200, 204, 205, 304, 404, 599, 600]),
    st.sampled_from(LENGTHS),
    st.sampled_from([[], [("connection", "close")], [("connection", "keep-alive")], [("a b", "")], [("x", "y")]]),
    st.sampled_from([b"", b"abc", b"abcd"]),
)
def test_a_whole_response_is_the_sum_of_its_parts(
    line: bytes, option: bytes, status: int, length: list[tuple[str, str]], others: list[tuple[str, str]], content: bytes
) -> None:
    """Also in what it refuses, though all of it is refused at once and nothing changes; and the state is the same after."""
    start = request(line, b"Host: a", b"Connection: " + option, b"")
    parts, whole = answered(start)(), answered(start)()
    framing = length or ([] if status in (204, 304) else [("content-length", str(len(content)))])
    events: list[Event] = [Data(content)] if content and not line.startswith(b"HEAD") else []
    try:
        head = parts.send(ResponseHead(status, Headers([*others, *framing])))
        expected = b"".join([head, *(parts.send(event) for event in [*events, EndOfMessage()])])
        if status < 200:
            raise LocalProtocolError("not final")
    except LocalProtocolError:
        before = vars(whole).copy()
        with pytest.raises(LocalProtocolError):
            whole.send_whole(PreparedHead(status, Headers([*others, *length])), content)
        assert vars(whole) == before
        return
    assert whole.send_whole(PreparedHead(status, Headers([*others, *length])), content) == expected
    assert (whole.request, whole.response, whole.keep_alive) == (parts.request, parts.response, parts.keep_alive)


@pytest.mark.parametrize("state", [IDLE, BODY, DONE, SWITCHED, State.CLOSED])
def test_a_whole_response_is_sent_in_answer_to_a_request_only(state: int) -> None:
    """Law 7 for the short cut."""
    make = {
        IDLE: answered(b""),
        BODY: answered(WHOLE, ResponseHead(200, CHUNKED)),
        DONE: answered(POSTED, OK, EndOfMessage()),
        SWITCHED: answered(UPGRADE, SWITCH),
        State.CLOSED: answered(WHOLE, LAST, EndOfMessage()),
    }[state]
    for core in (make(), client()):
        before = vars(core).copy()
        with pytest.raises(LocalProtocolError):
            core.send_whole(PreparedHead(200, Headers()), b"")
        assert vars(core) == before


def test_the_end_of_a_head_without_content_can_be_taken_without_an_event() -> None:
    core = server(WHOLE)
    assert not core.skip_empty_body()  # there is no head yet
    core.next_event()
    assert core.skip_empty_body() and core.request == DONE
    assert not core.skip_empty_body() and core.next_event() is None
    core = server(POSTED + b"x")
    core.next_event()
    assert not core.skip_empty_body() and core.content_left == 1
    assert list(core.events()) == [Data(b"x"), EndOfMessage()]


def test_an_empty_piece_is_not_the_last_chunk() -> None:
    core = answered(WHOLE, ResponseHead(200, CHUNKED))()
    assert core.send(Data(b"")) == b""
    assert core.send(EndOfMessage(Headers([("x", "y")]))) == b"0\r\nx: y\r\n\r\n"


@pytest.mark.parametrize("name", ["content-length", "transfer-encoding", "host"])
def test_trailers_do_not_frame_or_route(name: str) -> None:
    """RFC 9110 §6.5.1."""
    core = answered(WHOLE, ResponseHead(200, CHUNKED))()
    with pytest.raises(LocalProtocolError):
        core.send(EndOfMessage(Headers([(name, "0")])))


# ---- persistence, pausing, the end -----------------------------------------------------------------------------------

KEEP = Headers([("content-length", "0"), ("connection", "keep-alive")])
CLOSE = Headers([("content-length", "0"), ("connection", "close")])


@pytest.mark.parametrize(
    ("version", "connection", "response", "goes_on"),
    [
        (b"1.1", b"x", OK.headers, True),
        (b"1.1", b"close", OK.headers, False),
        (b"1.1", b"Keep-Alive, Close", KEEP, False),
        (b"1.1", b"x", CLOSE, False),
        (b"1.0", b"x", OK.headers, False),
        (b"1.0", b"keep-alive", KEEP, True),
        (b"1.0", b"keep-alive", OK.headers, False),
        (b"1.0", b"x", KEEP, False),
        (b"1.0", b"keep-alive", Headers([*OK.headers, ("connection", "x")]), False),
        (b"1.0", b"keep-alive, close", KEEP, False),
    ],
)
def test_persistence(version: bytes, connection: bytes, response: Headers, goes_on: bool) -> None:
    """§9.3, and ``close`` wins on either side. What follows a close is not a request (§9.6)."""
    core = server(b"GET / HTTP/%b\r\nHost: a\r\nConnection: %b\r\n\r\nGET" % (version, connection))
    list(core.events())
    core.send(ResponseHead(200, response))
    core.send(EndOfMessage())
    assert core.next_event() is None
    assert core.wants is (Wants.DATA if goes_on else Wants.CLOSED)


def test_a_pipelined_request_waits_for_the_answer_to_the_one_before() -> None:
    core = server(WHOLE + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(list(core.events())) == 2
    assert core.wants is Wants.PAUSED
    core.send(OK)
    core.send(EndOfMessage())
    assert core.next_event() == RequestHead("GET", "/2", HOST)


def test_an_error_behind_a_good_request_comes_after_its_answer() -> None:
    """Law 4."""
    core = server(WHOLE + b"\x00")
    assert len(list(core.events())) == 2
    core.send(OK)
    core.send(EndOfMessage())
    with pytest.raises(RemoteProtocolError) as caught:
        core.next_event()
    assert len(core.farewell(caught.value)) == 3


def test_a_half_closed_request_still_gets_its_answer() -> None:
    core = server(WHOLE)
    core.receive_eof()
    assert len(list(core.events())) == 2
    core.send(OK)
    core.send(EndOfMessage())
    assert core.next_event() is None
    assert core.wants is Wants.CLOSED


def test_the_bytes_after_an_upgrade_belong_to_the_next_protocol() -> None:
    """RFC 9110 §7.8."""
    core = server(UPGRADE + b"\x81\x00")
    list(core.events())
    core.send(SWITCH)
    assert core.next_event() is None
    assert (core.wants, core.trailing_data) == (Wants.PAUSED, b"\x81\x00")


def test_a_tunnel_begins_behind_the_head_of_a_2xx_to_connect() -> None:
    """RFC 9110 §9.3.6, at both ends; the client MUST ignore the length in such a response (§6.3)."""
    head = RequestHead("CONNECT", "a:1", HOST)
    for field in (b"Content-Length: 5", b"Content-Length: x", b"Transfer-Encoding: chunked, chunked", b"X: y"):
        core = client(head, b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\nbytes")
        assert isinstance(core.next_event(), ResponseHead)
        assert (core.next_event(), core.wants, core.trailing_data) == (None, Wants.PAUSED, b"bytes")
    for status in (200, 299):
        served = answered(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", ResponseHead(status, Headers()))()
        assert served.request == served.response == SWITCHED


@pytest.mark.parametrize("target", ["a", "a:", "a:0", "a:65536"])
def test_a_client_sends_no_connect_without_a_port(target: str) -> None:
    """RFC 9110 §9.3.6: there is no default port."""
    with pytest.raises(LocalProtocolError):
        Connection(Role.CLIENT).send(RequestHead("CONNECT", target, HOST))


@pytest.mark.parametrize(("status", "final"), [(199, False), (299, True), (499, True), (599, True), (600, True), (999, True)])
def test_a_client_goes_by_the_first_digit_of_a_status(status: int, final: bool) -> None:
    """RFC 9110 §15: a status that nobody knows is one of its class, and one that cannot be is like a 5xx."""
    core = client(GET, b"HTTP/1.1 %d \r\nContent-Length: 1\r\n\r\n" % status)
    assert core.next_event() == ResponseHead(status, Headers([("content-length", "1")]))
    assert core.response is (BODY if final else HEAD)


def test_a_1xx_ends_with_its_head() -> None:
    """RFC 9110 §15.2: whatever its fields say; and the end of input after it is not the end of the response."""
    for fields in (b"", b"Content-Length: 5\r\n", b"Content-Length: x\r\n", b"Transfer-Encoding: chunked\r\n"):
        interim, *final = client(GET, b"HTTP/1.1 103 \r\n%b\r\nHTTP/1.1 204 \r\n\r\n" % fields).events()
        assert isinstance(interim, ResponseHead) and final == [ResponseHead(204, Headers()), EndOfMessage()]
        core = client(GET, b"HTTP/1.1 103 \r\n%b\r\n" % fields)
        core.receive_eof()
        assert isinstance(core.next_event(), ResponseHead)
        with pytest.raises(RemoteProtocolError, match="in the middle of a message"):
            core.next_event()


@pytest.mark.parametrize(("line", "says"), [
    (b"GET / HTTP/2.0", b"only HTTP/1.x is spoken here\n"), (b"BREW / HTTP/1.1", b"method not implemented\n"),
])  # fmt: skip
def test_a_refusal_says_why_and_that_it_is_the_last(line: bytes, says: bytes) -> None:
    """RFC 9110 §15.5, §15.6 and §15.6.6; and §10.1.1: what of the request is still to come is not read."""
    core = server(line + b"\r\nHost: a\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        core.next_event()
    head, content, _ = core.farewell(caught.value)
    assert isinstance(head, ResponseHead) and head.headers.get("connection") == "close"
    assert content == Data(says)


@pytest.mark.parametrize(
    ("head", "expects"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n", True),
        (b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", False),
    ],
)
def test_who_waits_for_100(head: bytes, expects: bool) -> None:
    """RFC 9110 §10.1.1; the first byte of content, or any response, ends the wait."""
    core = server(head)
    core.next_event()
    assert core.expects_continue is expects
    core.receive_data(b"x")
    core.next_event()
    assert not core.expects_continue


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_end_of_input_completes_only_what_has_no_other_end(method: str) -> None:
    """§8: a body with a length or in chunks is incomplete."""
    for head in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"):
        subject = Subject(lambda: client(RequestHead(method, "/", HOST)))
        ended = trace(subject, [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"], eof=True)
        complete = method == "HEAD" or head == b"X: y"
        assert isinstance(ended.events[-1], EndOfMessage) is complete
        assert (ended.error is None) is complete
