"""Every byte explained: the laws over all protocols, and the standards' own examples by name."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto.core import CLIENT, SERVER, LocalProtocolError, Role
from minproto.deflate import Deflater
from minproto.explain import Explainer, Field, Row
from minproto.explain.rows import MAX_FIELDS, MAX_HELD, MAX_PIECE
from minproto.testing import byte_by_byte, chunks, mutated, strategies
from minproto.websocket import FIN, RSV1, TEXT, encode_frame

Conversation = list[tuple[Role, bytes]]

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%b\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def explain(conversation: Iterable[tuple[Role, bytes]], *, eof: bool = True) -> list[Row]:
    """The rows of a whole connection."""
    explainer = Explainer()
    rows: list[Row] = []
    for sender, data in conversation:
        explainer.receive_data(sender, data)
        rows += explainer.rows()
        assert explainer.waiting(sender) <= MAX_HELD + len(data)
    if eof:
        for sender in Role:
            explainer.receive_eof(sender)
            rows += explainer.rows()
        assert (explainer.waiting(CLIENT), explainer.waiting(SERVER)) == (0, 0)
    return rows


def sent(sender: Role, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.sender is sender]


def of_client(data: bytes, **options: bool) -> list[Row]:
    return sent(CLIENT, explain([(CLIENT, data)], **options))


def of_server(data: bytes, request: bytes = ASK) -> list[Row]:
    return sent(SERVER, explain([(CLIENT, request), (SERVER, data)]))


def websocket(client: bytes = b"", server: bytes = b"", offer: bytes = b"") -> list[Row]:
    """The rows behind a handshake."""
    return explain([(CLIENT, HANDSHAKE % offer), (SERVER, SWITCH % offer), (CLIENT, client), (SERVER, server)])[2:]


def triples(row: Row) -> list[tuple[str, bytes, str]]:
    return [(field.name, field.raw, field.value) for field in row.fields]


# ---- the laws --------------------------------------------------------------------------------------------------------


def _chunked(pieces: list[bytes]) -> bytes:
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]) + b"0\r\n\r\n"


def _both(client: SearchStrategy[bytes], server: SearchStrategy[bytes]) -> SearchStrategy[tuple[bytes, bytes]]:
    return st.tuples(client, server)


_deflated = st.booleans().map(lambda deflates: DEFLATE if deflates else b"")
_event_streams = chunks(strategies.event_streams).map(_chunked)
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
SPOKEN: dict[str, SearchStrategy[tuple[bytes, bytes]]] = {
    "HTTP/1.1": _both(strategies.request_streams, strategies.response_streams),
    "event stream": _both(st.just(ASK), _event_streams.map(STREAM.__add__)),
    "WebSocket": _deflated.flatmap(
        lambda offer: _both(
            strategies.frame_streams(masked=True).map((HANDSHAKE % offer).__add__),
            strategies.frame_streams(masked=False).map((SWITCH % offer).__add__),
        )
    ),
    "RESP": _both(strategies.command_streams, strategies.reply_streams),
    "garbage": _both(st.binary(), st.binary()),
}
ANYTHING = st.one_of(*SPOKEN.values())
DAMAGED = ANYTHING.flatmap(lambda both: _both(mutated(st.just(both[0])), mutated(st.just(both[1]))))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """What both sides say, in chunks that alternate in any way."""
    queues = [draw(chunks(st.just(data))) for data in draw(ANYTHING | DAMAGED)]
    talk: Conversation = []
    while any(queues):
        number = draw(st.integers(0, 1)) if all(queues) else 0 if queues[0] else 1
        talk.append((tuple(Role)[number], queues[number].pop(0)))
    return talk


@given(conversations())
def test_the_fields_are_the_input(conversation: Conversation) -> None:
    """The raw bytes of all fields, put together, are what a side sent; each row says where in it it begins."""
    rows = explain(conversation)
    for sender in Role:
        data = b"".join(data for who, data in conversation if who is sender)
        assert b"".join(row.raw for row in sent(sender, rows)) == data
        assert all(data[row.offset :].startswith(row.raw) for row in sent(sender, rows))
    json.dumps([row.to_json() for row in rows])


def said(rows: list[Row]) -> list[tuple[str, str, bytes]]:
    """What the rows say, where nothing depends on how the bytes came: of what is not understood, all as one."""
    found: list[tuple[str, str, bytes]] = []
    for row in rows:
        as_it_came = row.title == "content, until the connection ends"
        for field in row.fields:
            known = "" if as_it_came or field.name in ("content", "data", "malformed", "incomplete") else field.name
            if not known and found and not found[-1][0]:
                found[-1] = ("", "", found[-1][2] + field.raw)
            else:
                found.append((known, field.value if known else "", field.raw))
    return found


@given(ANYTHING | DAMAGED, st.data())
def test_any_cutting(both: tuple[bytes, bytes], data: st.DataObject) -> None:
    """However the bytes are cut, the fields are the same."""
    cuts = [[(sender, chunk) for chunk in data.draw(chunks(st.just(said)))] for sender, said in zip(Role, both, strict=True)]
    cut, whole = explain([*cuts[0], *cuts[1]]), explain(zip(Role, both, strict=True))
    for sender in Role:
        assert said(sent(sender, cut)) == said(sent(sender, whole))


def test_each_field_says_what_it_is() -> None:
    """A name, a meaning and a section, wherever the protocol is known."""
    rows = websocket(encode_frame(FIN | TEXT, b"Hello", b"abcd"), encode_frame(0x88, b"\x03\xe8bye"))
    rows += explain([(CLIENT, ASK), (SERVER, STREAM + _chunked([b"id: 1\ndata: x\n", b"\n: hm\r", b"\n"]))])
    assert {row.protocol for row in rows} == {"HTTP/1.1", "WebSocket"}
    for field in (field for row in rows for field in row.fields):
        assert field.name and field.meaning and field.section, field


def test_rows_have_to_be_taken() -> None:
    """Bytes are not dropped silently where nobody takes what they give."""
    explainer = Explainer()
    explainer.receive_data(CLIENT, b"x" * (MAX_HELD + 1))
    with pytest.raises(LocalProtocolError):
        explainer.receive_data(CLIENT, b"x")
    explainer = Explainer()
    explainer.receive_eof(SERVER)
    with pytest.raises(LocalProtocolError):
        explainer.receive_data(SERVER, b"x")


# ---- HTTP/1.1 ----------------------------------------------------------------------------------------------------------


def test_a_request_line_by_line() -> None:
    """RFC 9112 §2.1: a start line, field lines, an empty line; each byte of them in its field."""
    row, content = of_client(b"POST /a?b HTTP/1.1\r\nHost: example.org\r\nX-Mine:\t1 \r\nContent-Length: 2\r\n\r\nhi")
    assert (row.title, row.protocol, row.error) == ("POST /a?b", "HTTP/1.1", "")
    assert triples(row) == [
        ("method", b"POST ", "POST"),
        ("request-target", b"/a?b ", "/a?b"),
        ("HTTP-version", b"HTTP/1.1\r\n", "1.1"),
        ("host", b"Host: example.org\r\n", "example.org"),
        ("x-mine", b"X-Mine:\t1 \r\n", "1"),
        ("content-length", b"Content-Length: 2\r\n", "2"),
        ("empty line", b"\r\n", ""),
    ]
    assert row.fields[3].section == "RFC 9110 §7.2"
    assert (content.title, triples(content)) == ("content, 2 bytes", [("content", b"hi", "hi")])
    assert content.offset == len(row.raw)


def test_a_folded_line_is_one_field() -> None:
    """RFC 9112 §5.2: its value has a space where the line was folded, its bytes are what came."""
    row = of_server(b"HTTP/1.1 204\r\nX: a\r\n\t b\r\nY: c\r\n\r\n")[0]
    assert triples(row)[2:5] == [("reason-phrase", b"\r\n", ""), ("x", b"X: a\r\n\t b\r\n", "a b"), ("y", b"Y: c\r\n", "c")]


def test_the_chunked_coding() -> None:
    """RFC 9112 §7.1: a size in hexadecimal, extensions, data; and trailers behind the last."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    rows = of_server(head + b"4;a=b\r\nWiki\r\nA\r\npedia in\r\n\r\n0\r\nExpires: never\r\n\r\n")
    assert [row.title for row in rows] == ["200 OK", "chunk, 4 bytes", "chunk, 10 bytes", "last chunk"]
    assert triples(rows[1]) == [("chunk-size", b"4;a=b\r\n", "4"), ("content", b"Wiki", "Wiki"), ("CRLF", b"\r\n", "")]
    assert triples(rows[3])[1:] == [("expires", b"Expires: never\r\n", "never"), ("empty line", b"\r\n", "")]


def test_where_a_response_ends_depends_on_the_request() -> None:
    """RFC 9112 §6.3: one to HEAD has no content, whatever its fields say; nor do 1xx, 204, 304."""
    asked = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + ASK
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    answers = b"HTTP/1.1 103 x\r\n\r\n" + answer * 2 + b"Hello"
    assert [row.title for row in of_server(answers, asked)] == ["103 x", "200 OK", "200 OK", "content, 5 bytes"]


def test_content_until_the_connection_ends() -> None:
    rows = sent(SERVER, explain([(CLIENT, ASK), (SERVER, b"HTTP/1.0 200 OK\r\n\r\nab"), (SERVER, b"cd")]))
    assert [field.raw for row in rows[1:] for field in row.fields] == [b"ab", b"cd"]
    assert not any(row.error for row in rows)


def test_long_content_comes_in_pieces() -> None:
    """Memory is bounded: no row has more than a piece, and it says that it goes on."""
    data = bytes(MAX_PIECE * 2 + 1)
    rows = of_client(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))[1:]
    assert [(len(row.raw), row.goes_on) for row in rows] == [(MAX_PIECE, True), (MAX_PIECE, True), (1, False)]


def test_what_is_refused_is_read_on_where_its_end_is_clear() -> None:
    """A request without Host is an error (RFC 9112 §3.2), but the next one can be explained."""
    first, second = of_client(b"GET / HTTP/1.1\r\n\r\n" + ASK)
    assert (first.error, second.error) == ("missing Host", "")


BOTH = "both Transfer-Encoding and Content-Length"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "unexpected byte 0x20 in the name of a head"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "unexpected byte 0x0a in the version of a head"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", BOTH),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "chunk data is not followed by CRLF"),
    ],
)
def test_malformed(data: bytes, error: str) -> None:
    """One row with the error, which has all bytes that came; what comes behind is data."""
    rows = of_client(data)
    assert [row.error for row in rows if row.error] == [error]
    assert b"".join(row.raw for row in rows) == data


def test_incomplete() -> None:
    row, rest = of_client(ASK + b"GET / HT")
    assert row.error == ""
    assert (rest.error, triples(rest)) == ("the connection ended in the middle", [("incomplete", b"GET / HT", "GET / HT")])


def test_a_refusal_of_what_is_no_http() -> None:
    """What the server says to that is explained all the same."""
    rows = explain([(CLIENT, b"\x16\x03\x01\x02\x00\x01"), (SERVER, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")])
    assert [(row.protocol, row.title) for row in rows] == [("TLS", "6 bytes"), ("HTTP/1.1", "400 Bad Request")]


def test_a_server_that_speaks_though_nobody_asked() -> None:
    """408, for one."""
    row = explain([(SERVER, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")])[0]
    assert row.title == "408 Request Timeout"
    assert row.fields[-1] == Field(
        "answers", b"", "no request", "perhaps one that could not be read, or that did not come in time", ""
    )


def test_a_tunnel() -> None:
    """RFC 9110 §9.3.6: behind a 2xx to CONNECT all bytes are another protocol's; a refusal leaves it HTTP."""
    ask = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
    rows = explain([(CLIENT, ask + ASK), (SERVER, b"HTTP/1.1 200 OK\r\n\r\nhi")])
    assert [(row.protocol, row.raw) for row in rows[2:]] == [("tunnel", ASK), ("tunnel", b"hi")]
    rows = explain([(CLIENT, ask + ASK), (SERVER, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")])
    assert [(row.protocol, row.title) for row in rows[2:]] == [("HTTP/1.1", "GET /")]


def test_an_upgrade_that_is_never_answered_is_given_up() -> None:
    """The bytes behind it wait, but not without end."""
    talk = [(CLIENT, HANDSHAKE % b""), *((CLIENT, bytes(MAX_PIECE)) for _ in range(20))]
    rows = explain(talk, eof=False)
    assert rows[1].error == "too much came before the other side answered"
    assert sum(len(row.raw) for row in rows[1:]) == 20 * MAX_PIECE


# ---- Server-Sent Events ------------------------------------------------------------------------------------------------


def test_an_event_across_chunks() -> None:
    """Its lines are named where they are, and the event where it is complete."""
    rows = of_server(STREAM + _chunked([b"id: 7\r", b"\ndata: first\nda", b"ta: second\n\n"]))
    assert [triples(row)[1:-1] for row in rows[1:4]] == [
        [("id", b"id: 7\r", "7")],
        [("end of line", b"\n", "LF"), ("data", b"data: first\n", "first"), ("part of a line", b"da", "da")],
        [("data", b"ta: second\n", "second"), ("end of event", b"\n", "empty line"), ("event message", b"", "first\nsecond")],
    ]


# ---- WebSocket ---------------------------------------------------------------------------------------------------------


def test_a_masked_text_message() -> None:
    """RFC 6455 §5.7: a single-frame masked text message, "Hello"."""
    (row,) = websocket(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert (row.protocol, row.title) == ("WebSocket", "text frame, 5 bytes")
    assert triples(row) == [
        ("FIN, RSV, opcode", b"\x81", "text"),
        ("MASK, length", b"\x85", "5"),
        ("masking key", bytes.fromhex("37fa213d"), "37 fa 21 3d"),
        ("payload", bytes.fromhex("7f9f4d5158"), "Hello"),
    ]
    assert [(bits.pattern, bits.name) for bits in row.fields[0].bits + row.fields[1].bits] == [
        ("1... ....", "FIN"), (".0.. ....", "RSV1"), ("..00 ....", "RSV2, RSV3"), (".... 0001", "opcode"),
        ("1... ....", "MASK"), (".000 0101", "length"),
    ]  # fmt: skip


def test_a_fragmented_message() -> None:
    """RFC 6455 §5.7: a fragmented unmasked text message, "Hel" and "lo"."""
    one, two = websocket(b"", bytes.fromhex("010348656c80026c6f"))
    assert one.title == "text frame, not the last, 3 bytes"
    assert triples(two)[2:] == [("payload", b"lo", "lo"), ("message", b"", "Hello")]


@pytest.mark.parametrize(("head", "length"), [("827e0100", 256), ("827f0000000000010000", 65_536)])
def test_extended_lengths(head: str, length: int) -> None:
    """RFC 6455 §5.7: 256 bytes and 64 KiB of binary message."""
    rows = websocket(b"", bytes.fromhex(head) + bytes(length))
    assert rows[0].fields[2].value == str(length)
    assert sum(len(field.raw) for row in rows for field in row.fields if field.name == "payload") == length


def test_compressed_messages() -> None:
    """RFC 7692 §7.2.3: "Hello", the same again with the window of the first (§7.2.3.2), and in two fragments."""
    rows = websocket(b"", bytes.fromhex("c107f248cdc9c90700 c105f200110000 4103f248cd 8004c9c90700"), DEFLATE)
    assert [triples(row)[-1] for row in (rows[0], rows[1], rows[3])] == [("message", b"", "Hello")] * 3
    assert not any(row.error for row in rows)


def test_a_long_compressed_message() -> None:
    """Masked pieces go through one mask and one inflater."""
    text = "".join(map(chr, range(32, 30_000)))
    payload = Deflater(15, 8, context_takeover=True).compress(text.encode())
    rows = websocket(encode_frame(FIN | RSV1 | TEXT, payload, b"\1\2\3\4"), b"", DEFLATE)
    assert len(rows) > 1
    assert rows[-1].fields[-1].value.startswith(text[:MAX_PIECE])


def test_a_close() -> None:
    """RFC 6455 §5.5.1, masked."""
    (row,) = websocket(encode_frame(0x88, b"\x03\xe8bye", b"abcd"))
    assert [(field.name, field.value) for field in row.fields[3:]] == [("status code", "1000"), ("reason", "bye")]


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (encode_frame(FIN | TEXT, b"x"), "frames of a client have to be masked, those of a server must not"),
        (encode_frame(0x83, b"x", b"abcd"), "reserved opcode 3"),
        (encode_frame(FIN | TEXT, b"\xff", b"abcd"), "text that is not UTF-8, or data that can't be inflated"),
    ],
)
def test_a_frame_that_the_core_refuses(frame: bytes, error: str) -> None:
    """It is explained, with the core's error; so is the next."""
    bad, next_ = websocket(frame + encode_frame(0x8A, b"", b"abcd"))
    assert (bad.error, bad.raw) == (error, frame)
    assert next_.title == "Pong frame, 0 bytes"


def test_a_frame_behind_a_close() -> None:
    """RFC 6455 §5.5.1: none may come; it is explained all the same, however long."""
    close, one, two = websocket(b"", b"\x88\x00" + encode_frame(FIN | TEXT, b"x" * 200) * 2)
    assert (close.error, one.error, two.error) == ("", "a frame behind a Close", "a frame behind a Close")


def test_a_length_in_too_many_bytes() -> None:
    """Where it is not clear what a length means, nothing behind it is explained."""
    (row,) = websocket(b"\x81\xfe\x00\x05abcdefghi")
    assert row.error == "a length that is not encoded in the fewest bytes"


def test_an_answer_that_does_not_fit_the_key() -> None:
    """RFC 6455 §4.1: the client MUST fail; what it then says is a WebSocket's all the same."""
    answer = (SWITCH % b"").replace(b"s3pP", b"xxxx")
    rows = explain([(CLIENT, HANDSHAKE % b""), (SERVER, answer), *((SERVER, byte) for byte in byte_by_byte(b"\x81\x00"))])
    assert rows[1].error == "the server's Sec-WebSocket-Accept does not match the key"
    assert rows[2].title == "text frame, 0 bytes"


# ---- RESP --------------------------------------------------------------------------------------------------------------


def test_a_command_and_its_reply() -> None:
    """Word by word; the title is what was asked, and what was answered."""
    command, reply = explain([(CLIENT, b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"), (SERVER, b"$2\r\nhi\r\n")])
    assert (command.protocol, command.title, reply.title) == ("RESP", "ECHO hi", "hi")
    assert triples(command) == [
        ("array", b"*2\r\n", "2"),
        ("length", b"$4\r\n", "4"),
        ("command", b"ECHO\r\n", "ECHO"),
        ("length", b"$2\r\n", "2"),
        ("argument 1", b"hi\r\n", "hi"),
    ]
    assert command.fields[2].meaning == "say that again"


def test_an_inline_command() -> None:
    """By hand, with a terminal; its words may have quotes."""
    row, empty = of_client(b"ping 'a b'\n\r\n")
    assert (row.protocol, row.title, empty.title) == ("RESP", "ping a b", "nothing")


def test_values_within_values() -> None:
    """One row, however they nest: a push, a map with an array in it, and an attribute before a value."""
    ask = b"*1\r\n$4\r\nPING\r\n"
    push, mapped, text, wrong = of_server(
        b">3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$2\r\nhi\r\n%1\r\n+k\r\n*2\r\n:1\r\n#t\r\n|1\r\n+a\r\n_\r\n+OK\r\n:x\r\n", ask
    )
    assert (push.title, mapped.title) == ("push of 3: message t hi", "map of 1: k array of 2: 1 t")
    assert (text.title, text.raw) == ("attribute of 1: a null OK", b"|1\r\n+a\r\n_\r\n+OK\r\n")
    assert wrong.error == "not a value: b':x'"


def test_long_strings_and_long_arrays_come_in_pieces() -> None:
    data = bytes(3 * MAX_PIECE)
    rows = of_client(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(data), data))
    assert [row.goes_on for row in rows] == [True, True, False]
    rows = of_server(b"*%d\r\n%b" % (3 * MAX_FIELDS, b":1\r\n" * 3 * MAX_FIELDS), b"PING\r\n")
    assert [row.goes_on for row in rows] == [True, True, True, False]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*1\r\n:1\r\n", "Protocol error: expected '$', a string"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$1\r\nabc", "Protocol error: expected CRLF after a string"),
        (b"ping 'a\r\n", "Protocol error: unbalanced quotes in request"),
    ],
)
def test_a_malformed_command(data: bytes, error: str) -> None:
    (row,) = of_client(data)
    assert (row.error, row.raw) == (error, data)


def test_arrays_within_arrays_without_end() -> None:
    """What is told apart is bounded."""
    rows = of_server(b"*1\r\n" * 2_000, b"PING\r\n")
    assert [row.error for row in rows if row.error] == ["too many arrays within arrays"]
