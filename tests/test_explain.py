"""Every byte explained: the laws over all protocols, and the standards' own examples by name."""

import json
import re
from collections.abc import Callable, Iterable
from unicodedata import combining, east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto import http2_frames
from minproto.core import CLIENT, SERVER, LocalProtocolError, Role
from minproto.deflate import Deflater
from minproto.explain import Explainer, Field, Row
from minproto.explain.http1 import MAX_UNANSWERED
from minproto.explain.http2 import MAX_STREAMS, MAX_UNACKNOWLEDGED
from minproto.explain.protocols import MAX_FIRST_LINE
from minproto.explain.rows import MAX_FIELDS, MAX_HELD, MAX_PIECE
from minproto.explain.text import MAX_BYTES, Printer
from minproto.http2_frames import PREFACE
from minproto.testing import byte_by_byte, chunks, cut, mutated, strategies, whole
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


CONNECT = b"\x02\x07CONNECT\x87\x84\x01\x01a\x00\x09:protocol\x09websocket"  # RFC 8441 §5.1, in HPACK's plainest form
ACCEPTED = b"\x88\x00\x18sec-websocket-extensions\x12permessage-deflate"


def _stream(block: bytes, pieces: list[bytes]) -> bytes:
    """A head and content of HTTP/2, on one stream."""
    head = http2_frames.encode_frame(http2_frames.HEADERS, http2_frames.END_HEADERS, 1, block)
    return head + b"".join([http2_frames.encode_frame(http2_frames.DATA, 0, 1, piece) for piece in pieces])


def _both(client: SearchStrategy[bytes], server: SearchStrategy[bytes]) -> SearchStrategy[tuple[bytes, bytes]]:
    return st.tuples(client, server)


_payloads = st.binary(max_size=20) | st.sampled_from([
    bytes.fromhex("828684410f7777772e6578616d706c652e636f6d"), b"\x88", b"\x3f\xe1\x1f", b"\x40\1a\1b", b"\xbe", b"\x7f\xff",
    b"\x03\x82\x87\0\0\0", b"\0\0\0\3\x10\x88", bytes(4), b"\0\0\1\0", b"\0\3\0\0\0\x64\0\4\0\0\x10\0", b"\0\1\0\0\0\0",
    bytes(8), b"\x88\x5f\x11text/event-stream", b"data: x\n\n",
])  # fmt: skip
_flags = st.sampled_from([0, 1, 4, 5, 8, 0x2D]) | st.integers(0, 255)
_frame = st.builds(http2_frames.encode_frame, st.integers(0, 17), _flags, st.sampled_from([0, 1, 1, 3, 5]), _payloads)
_frames = st.lists(_frame, max_size=6).map(b"".join)
"""Of HTTP/2, right one by one at best."""
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
    "HTTP/2": _both(_frames.map(PREFACE.__add__), _frames),
    "WebSocket on HTTP/2": _both(
        chunks(strategies.frame_streams(masked=True)).map(lambda pieces: PREFACE + _stream(CONNECT, pieces)),
        chunks(strategies.frame_streams(masked=False)).map(lambda pieces: _stream(ACCEPTED, pieces)),
    ),
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
    in_pieces, at_once = explain([*cuts[0], *cuts[1]]), explain(zip(Role, both, strict=True))
    for sender in Role:
        assert said(sent(sender, in_pieces)) == said(sent(sender, at_once))


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
    rows = explain([(CLIENT, b"\x16\x03\x01\x00\x01\x01"), (SERVER, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")])
    assert [(row.protocol, row.title) for row in rows] == [("TLS", "handshake"), ("HTTP/1.1", "400 Bad Request")]


def test_a_server_that_speaks_though_nobody_asked() -> None:
    """408, for one."""
    row = explain([(SERVER, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")])[0]
    assert row.title == "408 Request Timeout"
    assert row.fields[-1] == Field(
        "answers", b"", "no request", "perhaps to one that could not be read, or that did not come in time", ""
    )


def test_a_tunnel() -> None:
    """RFC 9110 §9.3.6: behind a 2xx to CONNECT all bytes are another protocol's; a refusal leaves it HTTP."""
    ask = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
    rows = explain([(CLIENT, ask + ASK), (SERVER, b"HTTP/1.1 200 OK\r\n\r\nhi")])
    assert [(row.protocol, row.raw) for row in rows[2:]] == [("tunnel", ASK), ("tunnel", b"hi")]
    rows = explain([(CLIENT, ask + ASK), (SERVER, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")])
    assert [(row.protocol, row.title) for row in rows[2:]] == [("HTTP/1.1", "GET /")]


def test_an_upgrade_behind_other_requests() -> None:
    """It is decided by the answer to it, not by those before; a 101 to another request switches nothing."""
    asked = ASK + HANDSHAKE % b"" + b"\x89\x80abcd"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    rows = explain([(CLIENT, asked), (SERVER, answer), (SERVER, SWITCH % b"" + b"\x8a\0")])
    assert [row.title for row in rows[3:]] == ["101 Switching Protocols", "Ping frame, 0 bytes", "Pong frame, 0 bytes"]
    rows = explain([(CLIENT, asked), (SERVER, SWITCH % b"")], eof=False)
    assert (rows[2].error, len(rows)) == ("101 without a request to upgrade", 3)


def test_requests_without_answers() -> None:
    """What is remembered of them is bounded."""
    rows = of_client(ASK * (MAX_UNANSWERED + 1))
    assert rows[-1].error == "so many requests have no answer that this one is not explained"
    assert len(rows) == MAX_UNANSWERED + 1


def test_empty_lines_before_a_request() -> None:
    """RFC 9112 §2.2: they are ignored."""
    (row,) = of_client(b"\r\n\r\n" + ASK)
    assert (row.title, [field.raw for field in row.fields[:3]]) == ("GET /", [b"\r\n", b"\r\n", b"GET "])


def test_a_first_line_without_end() -> None:
    """It is not waited for without end."""
    (row,) = of_client(b"x" * MAX_FIRST_LINE, eof=False)
    assert row.protocol == "unknown"


def test_binary_content_is_in_hexadecimal() -> None:
    for data in (b"\0a", b"\xffa"):
        row = of_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + data)[1]
        assert row.fields[0].value == data.hex(" ")


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


def test_an_event_stream_that_is_compressed_is_content() -> None:
    head = STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    assert triples(of_server(head + _chunked([b"data: x\n\n"]))[1])[1][0] == "content"


def test_an_event_over_the_limit() -> None:
    """Its lines are named, but it is not put together; nor are those behind it."""
    rows = of_server(STREAM + _chunked([b"data: " + b"x" * 60_000 + b"\n"] * 20 + [b"\ndata: y\n\n"]))
    names = [field.name for row in rows for field in row.fields]
    assert names.count("data") == 21 and "event message" not in names


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
    assert rows[3].fields[-1].meaning == "as the other side's app gets it, inflated"
    assert rows[3].fields[-2].meaning == "compressed: the message below is what it inflates to"
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
        (encode_frame(FIN | TEXT, b"x"), "a client has to mask its frames, and a server must not mask them"),
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
    assert (close.error, one.error, two.error) == ("", "a frame after a Close", "a frame after a Close")


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
    assert command.fields[2].meaning == "send this text back"


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


# ---- HTTP/2 ------------------------------------------------------------------------------------------------------------

END_HEADERS, END_STREAM = http2_frames.END_HEADERS, http2_frames.END_STREAM
frame, setting = http2_frames.encode_frame, http2_frames.encode_settings
GET = bytes.fromhex("828684410f7777772e6578616d706c652e636f6d")  # RFC 7541 §C.3.1
OK = b"\x88"


def headers(block: bytes, flags: int = END_HEADERS, stream: int = 1) -> bytes:
    return frame(http2_frames.HEADERS, flags, stream, block)


def data(content: bytes, flags: int = 0, stream: int = 1) -> bytes:
    return frame(http2_frames.DATA, flags, stream, content)


def http2(*talk: tuple[Role, bytes]) -> list[Row]:
    """The rows behind the preface."""
    first, *rows = explain([(CLIENT, PREFACE), *talk])
    assert (first.protocol, first.title, first.raw) == ("HTTP/2", "preface", PREFACE)
    return rows


def fields_of(row: Row) -> list[tuple[bytes, str, str]]:
    """Those of the payload: raw bytes, name and value."""
    return [(field.raw, field.name, field.value) for field in row.fields[4:]]


def notes(row: Row) -> dict[str, str]:
    return {field.name: field.value for field in row.fields if not field.raw}


REQUESTS = [
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com"),
     ("cache-control", "no-cache")],
    [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), (":authority", "www.example.com"),
     ("custom-key", "custom-value")],
]  # fmt: skip
RESPONSES = [
    [(":status", "302"), ("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
     ("location", "https://www.example.com")],
    [(":status", "307"), ("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
     ("location", "https://www.example.com")],
    [(":status", "200"), ("cache-control", "private"), ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
     ("location", "https://www.example.com"), ("content-encoding", "gzip"),
     ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")],
]  # fmt: skip
SIZE_256 = "3fe101"  # the examples of responses have a table of 256 bytes
BLOCKS = {
    "C.3": (REQUESTS, [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ]),
    "C.4": (REQUESTS, [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ]),
    "C.5": (RESPONSES, [
        SIZE_256 + "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f51"
        "57454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ]),
    "C.6": (RESPONSES, [
        SIZE_256 + "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
        "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab"
        "270fb5291f9587316065c003ed4ee5b1063d5007",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("split", [whole, byte_by_byte, lambda block: cut(block, [len(block) // 2])], ids=["1", "all", "2"])
@pytest.mark.parametrize("name", BLOCKS)
def test_field_blocks(name: str, split: Callable[[bytes], list[bytes]]) -> None:
    """RFC 7541 §C.3 to §C.6: each field with its bytes, the table going on; also where CONTINUATION cuts them anywhere."""
    expected, blocks = BLOCKS[name]
    sender = CLIENT if expected is REQUESTS else SERVER
    talk: list[bytes] = []
    for number, block in enumerate(map(bytes.fromhex, blocks)):
        stream = 2 * number + 1
        pieces = split(block)
        kinds = [http2_frames.HEADERS, *[http2_frames.CONTINUATION] * (len(pieces) - 1)]
        flags = [*[0] * (len(pieces) - 1), END_HEADERS]
        talk += [frame(kind, flag, stream, piece) for kind, flag, piece in zip(kinds, flags, pieces, strict=True)]
    rows = http2((sender, b"".join(talk)))
    assert not any(row.error for row in rows)
    said = [(row.stream, name, value) for row in rows for raw, name, value in fields_of(row) if name not in NO_FIELDS]
    assert said == [(2 * number + 1, *field) for number, fields in enumerate(expected) for field in fields]
    assert b"".join(raw for row in rows for raw, *_ in fields_of(row)) == bytes.fromhex("".join(blocks))


def test_a_block_cut_anywhere() -> None:
    """A field that began in the frame before has there its first bytes, and here the others, its name and its value."""
    for at in range(1, len(GET)):
        one, two = http2((CLIENT, headers(GET[:at], 0) + frame(http2_frames.CONTINUATION, END_HEADERS, 1, GET[at:])))
        assert (one.title.partition(",")[0], two.title, one.error, two.error) == ("HEADERS", "CONTINUATION: GET /", "", "")
        began = one.fields[-1].name == "part of a field"
        assert bool(two.fields[4].bits) is not began
        assert sum(len(row.fields) - 4 for row in (one, two)) == 4 + began


NO_FIELDS = {"part of a field", "size update"}


def test_how_a_field_is_represented() -> None:
    """RFC 7541 §C.2: a literal with indexing, without, never indexed; an index; each says so."""
    examples = ["400a637573746f6d2d6b65790d637573746f6d2d686561646572", "040c2f73616d706c652f70617468"]
    examples += ["100870617373776f726406736563726574", "82"]
    (row,) = http2((CLIENT, headers(bytes.fromhex("".join(examples)))))
    assert fields_of(row) == [
        (bytes.fromhex(examples[0]), "custom-key", "custom-header"),
        (bytes.fromhex(examples[1]), ":path", "/sample/path"),
        (bytes.fromhex(examples[2]), "password", "secret"),
        (bytes.fromhex(examples[3]), ":method", "GET"),
    ]
    assert [field.meaning.partition("; ")[2] for field in row.fields[4:]] == [
        "with indexing", "without indexing, name of entry 4", "never indexed", "indexed: entry 2",
    ]  # fmt: skip
    assert row.fields[5].section == "RFC 7541 §6.2.2, RFC 9113 §8.3.1"
    assert [bits.pattern for bits in row.fields[7].bits] == ["1... ....", ".000 0010"]
    assert row.error  # as a head it makes no sense: pseudo-header fields come first


def test_a_frame_header() -> None:
    """RFC 9113 §4.1: nine bytes, and the bits of the flags."""
    (row,) = http2((CLIENT, headers(GET, END_HEADERS | END_STREAM)))
    assert (row.title, row.stream) == ("HEADERS: GET /, END_STREAM", 1)
    assert triples(row)[:4] == [
        ("Length", b"\0\0\x14", "20"),
        ("Type", b"\1", "HEADERS (1)"),
        ("Flags", b"\5", "END_HEADERS, END_STREAM"),
        ("Stream Identifier", b"\0\0\0\1", "1"),
    ]
    assert [(bits.pattern, bits.name) for bits in row.fields[2].bits] == [
        (".... .1..", "END_HEADERS"), (".... ...1", "END_STREAM"),
    ]  # fmt: skip


def test_padding_and_priority() -> None:
    """RFC 9113 §6.1, §6.2: before and behind the block."""
    block = b"\x02\x80\0\0\3\x0f" + GET + b"\0\0"
    head, content = http2((CLIENT, headers(block, 0x2C) + data(b"\3abc\0\0\0", 8)))
    assert (head.title, content.title) == ("HEADERS: GET /", "DATA, 7 bytes")
    assert [(name, value) for _, name, value in fields_of(head)[:3]] == [
        ("Pad Length", "2"), ("E, Stream Dependency", "3, exclusive"), ("Weight", "16"),
    ]  # fmt: skip
    assert fields_of(head)[-1] == (b"\0\0", "Padding", "")
    assert fields_of(content)[:3] == [(b"\3", "Pad Length", "3"), (b"abc", "content", "abc"), (b"\0\0\0", "Padding", "")]
    assert notes(content)["window of the connection"] == "65,535 - 7 = 65,528"  # padding counts


def test_windows() -> None:
    """RFC 9113 §5.2, §6.9: what is sent is taken from both windows, what is granted comes to one."""
    update = http2_frames.encode_window_update
    rows = http2(
        (CLIENT, headers(GET)),
        (CLIENT, data(b"x" * 100)),
        (SERVER, update(0, 40) + update(1, 60)),
        (CLIENT, data(b"x", END_STREAM)),
        (SERVER, headers(OK) + data(b"hi", END_STREAM) + update(1, 5)),
    )[1:]
    assert [notes(row) for row in rows] == [
        {"window of the connection": "65,535 - 100 = 65,435", "window of stream 1": "65,535 - 100 = 65,435"},
        {"window of the connection": "65,435 + 40 = 65,475"},
        {"window of stream 1": "65,435 + 60 = 65,495"},
        {"window of the connection": "65,475 - 1 = 65,474", "window of stream 1": "65,495 - 1 = 65,494"},
        {},
        {"window of the connection": "65,535 - 2 = 65,533", "window of stream 1": "65,535 - 2 = 65,533"},
        {},  # the stream is over
    ]


def test_settings_hold_from_their_ack() -> None:
    """RFC 9113 §6.5.3, §6.9.2: what is sent before the ACK was sent with the old window; then that of each stream changes."""
    ack = frame(http2_frames.SETTINGS, http2_frames.ACK, 0)
    rows = http2(
        (CLIENT, headers(GET) + data(b"x" * 10)),
        (SERVER, setting([(4, 100), (1, 0), (99, 1)])),
        (CLIENT, data(b"x" * 10) + ack + data(b"x" * 10) + headers(GET, stream=3) + data(b"x", stream=3)),
    )[2:]
    assert [(name, value) for _, name, value in fields_of(rows[0])] == [
        ("INITIAL_WINDOW_SIZE", "100"), ("HEADER_TABLE_SIZE", "0"), ("unknown setting", "1"),
    ]  # fmt: skip
    assert rows[2].title == "SETTINGS, ACK"
    assert notes(rows[1])["window of stream 1"] == "65,525 - 10 = 65,515"
    assert notes(rows[3])["window of stream 1"] == "80 - 10 = 70"
    assert rows[4].error.startswith("a field block that can't be decoded")  # it refers to a table that is not allowed any more
    assert notes(rows[5]) == {"window of the connection": "65,505 - 1 = 65,504", "window of stream 3": "100 - 1 = 99"}


def test_settings_without_an_ack() -> None:
    """So many are remembered, the newest."""
    many = b"".join([setting([(4, size)]) for size in range(1, MAX_UNACKNOWLEDGED + 2)])
    rows = http2((SERVER, many), (CLIENT, frame(4, 1, 0) + headers(GET) + data(b"x")))
    assert notes(rows[-1])["window of stream 1"] == "2 - 1 = 1"


def test_a_stream_that_is_over_has_no_window() -> None:
    """RFC 9113 §5.1: both sides have ended it, or one has reset it."""
    over = {
        "DATA": [(CLIENT, headers(GET, 5)), (SERVER, headers(OK) + data(b"x", END_STREAM))],
        "HEADERS": [(CLIENT, headers(GET, 5)), (SERVER, headers(OK, 5))],
        "RST_STREAM": [(CLIENT, headers(GET) + http2_frames.encode_rst_stream(1, 8))],
    }
    for talk in over.values():
        assert list(notes(http2(*talk, (SERVER, data(b"x")))[-1])) == ["window of the connection"]
    half = [(CLIENT, headers(GET, 5)), (SERVER, headers(OK))]
    assert "window of stream 1" in notes(http2(*half, (SERVER, data(b"x")))[-1])


def test_other_frames() -> None:
    """RFC 9113 §6.3 to §6.8, RFC 9218 §7.1; and a type that is not known."""
    rows = http2(
        (CLIENT, frame(2, 0, 1, b"\0\0\0\0\x0f") + frame(3, 0, 1, b"\0\0\0\x08") + frame(6, 0, 0, b"12345678")),
        (SERVER, frame(6, 1, 0, b"12345678") + http2_frames.encode_goaway(5, 11, b"calm")),
        (CLIENT, frame(16, 0, 0, b"\0\0\0\3u=1") + frame(17, 255, 7, b"?")),
    )
    assert [row.title for row in rows] == [
        "PRIORITY, 5 bytes", "RST_STREAM, CANCEL", "PING", "PING, ACK", "GOAWAY, ENHANCE_YOUR_CALM",
        "PRIORITY_UPDATE, 7 bytes", "unknown, 1 byte",
    ]  # fmt: skip
    assert fields_of(rows[4]) == [
        (b"\0\0\0\5", "Last-Stream-ID", "5"),
        (b"\0\0\0\x0b", "Error Code", "ENHANCE_YOUR_CALM"),
        (b"calm", "Additional Debug Data", "calm"),
    ]
    assert fields_of(rows[5])[1] == (b"u=1", "Priority Field Value", "u=1")
    assert not any(row.error for row in rows)


def test_a_push() -> None:
    """RFC 9113 §8.4: ours refuses it, but others may want one; its block is coded with the server's table."""
    promise = frame(http2_frames.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + GET)
    rows = http2((CLIENT, headers(GET)), (SERVER, promise + headers(OK + b"\xbe", stream=2)))
    assert [row.title for row in rows[1:]] == ["PUSH_PROMISE: GET /", "HEADERS, 2 bytes"]
    assert fields_of(rows[2])[1] == (b"\xbe", ":authority", "www.example.com")
    assert rows[2].error  # a response has none, but it was decoded
    pushed = promise + headers(OK, stream=2) + data(b"x", END_STREAM, 2) + data(b"x", stream=2)
    rows = http2((CLIENT, headers(GET)), (SERVER, pushed))
    assert list(notes(rows[3])) == ["window of the connection", "window of stream 2"]
    assert list(notes(rows[4])) == ["window of the connection"]  # the request of a push is over from the start


def test_an_event_stream_on_a_stream() -> None:
    """Its lines are named as in chunks; trailers end it."""
    block = OK + b"\x5f\x11text/event-stream"
    rows = http2(
        (CLIENT, headers(GET, 5)), (SERVER, headers(block) + data(b"data: a") + data(b"b\n\n") + headers(b"\x40\1a\1b", 5))
    )
    assert [(name, value) for raw, name, value in fields_of(rows[2]) if raw] == [("part of a line", "data: a")]
    assert [(name, value) for _, name, value in fields_of(rows[3])[:3]] == [
        ("data", "ab"), ("end of event", "empty line"), ("event message", "ab"),
    ]  # fmt: skip
    assert rows[4].title == "HEADERS, trailers, END_STREAM"
    block += b"\x5a\4gzip"
    rows = http2((CLIENT, headers(GET, 5)), (SERVER, headers(block) + data(b"data: a\n\n")))
    assert fields_of(rows[2])[0][1] == "content"


OFFER = CONNECT + b"\x00\x18sec-websocket-extensions\x12permessage-deflate"


def test_a_websocket_on_a_stream() -> None:
    """RFC 8441: its frames are named, unmasked and inflated, wherever DATA ends; no other stream's content is one."""
    frame = encode_frame(FIN | TEXT, b"Hello", b"abcd")
    deflated = bytes.fromhex("c107f248cdc9c90700")
    for at in range(1, len(frame)):
        rows = http2(
            (CLIENT, headers(OFFER) + headers(GET, stream=3)), (SERVER, headers(ACCEPTED)),
            (CLIENT, data(frame[:at]) + data(frame[at:])), (SERVER, data(deflated)), (CLIENT, data(frame, stream=3)),
        )  # fmt: skip
        _, _, _, one, two, reply, other = rows
        raw = b"".join([field.raw for row in (one, two) for field in row.fields[4:]])
        assert raw == frame and not one.error and not two.error
        assert dict((name, value) for _, name, value in fields_of(two))["payload"] == "Hello"
        assert one.title.endswith(": text frame, 5 bytes") == (at >= 6) and one.title.startswith(f"DATA, {at} byte")
        assert notes(reply)["message"] == "Hello" and reply.title == "DATA, 9 bytes: text frame, 7 bytes"
        assert fields_of(other)[0][1] == "content"


def test_what_is_wrong_with_a_websocket_on_a_stream() -> None:
    """The row says so, and the next frames are told apart; so does an answer that has what was not offered."""
    rows = http2((CLIENT, headers(OFFER)), (SERVER, headers(ACCEPTED)), (CLIENT, data(b"\x81\x00") + data(b"\x8a\x80abcd")))
    assert "mask" in rows[2].error and rows[3].title == "DATA, 6 bytes: Pong frame, 0 bytes"
    rows = http2((CLIENT, headers(CONNECT)), (SERVER, headers(OK + b"\x00\x16sec-websocket-protocol\x04chat")))
    assert rows[1].error == "the server chose a subprotocol that was not offered"
    rows = http2((CLIENT, headers(CONNECT)), (SERVER, headers(b"\x8d")), (SERVER, data(b"\x81\0")))
    assert fields_of(rows[2])[0][1] == "content"  # 404


def test_a_large_frame_of_content_comes_in_pieces() -> None:
    """RFC 9113 §6.5.2: MAX_FRAME_SIZE may allow up to 16 MiB."""
    rows = http2((CLIENT, headers(GET) + data(bytes(2 * MAX_PIECE + 1))))[1:]
    assert [(row.goes_on, row.error) for row in rows] == [(True, ""), (True, ""), (False, "")]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (frame(6, 0, 0, b"1234567"), "a frame of a wrong length"),
        (frame(0, 0, 0, b"x"), "a frame that needs a stream came on stream 0"),
        (frame(0, 8, 1, b"\1"), "more padding than payload"),
        (frame(4, 0, 0, b"\0\2\0\0\0\2"), "setting 0x2 is 0 or 1, not 2"),
        (frame(8, 0, 1, bytes(4)), "a window update of 0"),
        (frame(8, 0, 0, b"\x7f\xff\xff\xff"), "a window over 2^31-1"),
        (frame(2, 0, 1, b"\0\0\0\1\0"), "a stream that depends on itself"),
        (frame(16, 0, 0, b"\0"), "PRIORITY_UPDATE without a stream"),
        (headers(GET + OK, stream=3), "pseudo-header field ':status' is unknown, misplaced or repeated"),
    ],
)
def test_a_wrong_frame(bad: bytes, error: str) -> None:
    """It is marked, and what comes behind it is explained: frames can be told apart."""
    rows = http2((CLIENT, headers(GET)), (CLIENT, bad + headers(b"\x82\x86\x84\xbe", stream=5)))
    assert (rows[1].error, rows[1].raw) == (error, bad)
    assert (rows[2].error, rows[2].title) == ("", "HEADERS: GET /")


def test_priorities_of_a_client_that_uses_none() -> None:
    """RFC 9218 §2.1: they are ignored, so they cannot be a fault, as in the core."""
    told = frame(4, 0, 0, b"\0\x09\0\0\0\1")
    bad = headers(b"\0\0\0\1\0" + GET, 0x25) + frame(2, 0, 1, b"\0\0\0\1\0")
    assert [row.error for row in http2((CLIENT, told + bad))] == ["", "", ""]
    assert [row.error for row in http2((CLIENT, bad))] == ["a stream that depends on itself"] * 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (headers(b"\xff\xff\xff\xff\xff\xff"), "a field block that can't be decoded"),
        (headers(b"\xbf"), "a field block that can't be decoded"),
        (headers(b"\x40\x05ab"), "a field block that ends in the middle of a field"),
        (headers(GET + b"\x20"), "a size update after a field"),
        (headers(GET, 0) + data(b""), "a field block that is not continued at once"),
        (headers(GET, 0) + frame(9, 4, 3), "a field block that is not continued at once"),
        (frame(9, 4, 1, GET), "CONTINUATION of nothing"),
        (headers(bytes(MAX_PIECE + 1)), "a frame so large that it is not explained"),
        (headers(GET, stream=0), "a frame that needs a stream came on stream 0"),
        (frame(5, 4, 1, b"\0"), "a frame of a wrong length"),
        (frame(5, 8, 1, b""), "a frame of a wrong length"),
        (frame(5, 8, 1, b"\1\0\0\0\0"), "PUSH_PROMISE without a stream"),
    ],
)
def test_a_table_out_of_step(bad: bytes, error: str) -> None:
    """Who misses a field block can read none that comes behind it (RFC 7541 §2.2); it is shown as it came."""
    rows = http2((CLIENT, bad + headers(GET, stream=5) + data(b"x", stream=5)))
    assert any(row.error.startswith(error) for row in rows)
    assert [(raw, name) for raw, name, _ in fields_of(rows[-2])] == [(GET, "field block")]
    assert fields_of(rows[-1])[0] == (b"x", "content", "x")


def test_a_block_without_end() -> None:
    """What one of a few bytes can decode to is bounded; so is what is kept of one that never ends."""
    entry = b"\x40\1a\x7f" + bytes([0x80 | (3_900 - 127) & 127, (3_900 - 127) >> 7]) + b"x" * 3_900
    (row,) = http2((CLIENT, headers(entry + b"\xbe" * 40)))
    assert row.error == "a field block that decodes to too much"
    rows = http2((CLIENT, headers(entry + b"\xbe" * 20) + headers(b"\xbe" * 20, stream=3)))
    assert not any("too much" in row.error for row in rows)
    more = [(CLIENT, frame(http2_frames.CONTINUATION, 0, 1, bytes(16_000))) for _ in range(9)]
    rows = http2((CLIENT, headers(b"\0\1a\x7f\xff\xff\x7f", 0)), *more)
    assert [row.error for row in rows if row.error] == ["a field that is too long"]


def test_a_server_that_can_not_speak_it() -> None:
    """RFC 9113 §3.4: the preface is a request that a server of HTTP/1.1 refuses."""
    rows = http2((SERVER, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    assert [(row.protocol, row.title) for row in rows] == [("HTTP/1.1", "400 Bad Request")]


def test_streams_are_forgotten() -> None:
    """What is remembered is bounded."""
    heads = [headers(b"\x82\x86\x84\xbe" if number else GET, stream=2 * number + 1) for number in range(MAX_STREAMS + 1)]
    rows = http2(
        *((CLIENT, head) for head in heads),
        (CLIENT, data(b"x", stream=1) + data(b"x", stream=3)),
    )
    assert list(notes(rows[-2])) == ["window of the connection"]
    assert list(notes(rows[-1])) == ["window of the connection", "window of stream 3"]


# ---- as text -----------------------------------------------------------------------------------------------------------


def lines(row: Row, **options: bool) -> list[str]:
    return list(Printer(100, **options).lines(row, 1, 0.5))


def test_a_row_as_lines() -> None:
    """The bytes at the left, eight to a line; what they are at the right, the parts of a byte below it."""
    (row,) = websocket(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert lines(row) == [
        "#1 → 0.500 s, byte 161, WebSocket: text frame, 5 bytes",
        "    81                       ·         FIN, RSV, opcode = text (a message of text begins, in UTF-8;",
        "                                       RFC 6455 §5.2)",
        "                                       1... .... FIN: the last frame of its message",
        "                                       .0.. .... RSV1: not compressed",
        "                                       ..00 .... RSV2, RSV3: not in use",
        "                                       .... 0001 opcode: 1: text",
        "    85                       ·         MASK, length = 5 (bytes of payload; RFC 6455 §5.2)",
        "                                       1... .... MASK: masked, as all that a client sends",
        "                                       .000 0101 length: 5",
        "    37 fa 21 3d              7·!=      masking key (each byte of the payload is XORed with one of",
        "                                       these; RFC 6455 §5.3)",
        "    7f 9f 4d 51 58           ··MQX     payload = Hello (of the message, unmasked; RFC 6455 §5.6)",
    ]


def test_long_fields_are_shortened() -> None:
    """With a count, and with what to say for all of it."""
    row = of_client(b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"y" * 1_000))[0]
    short, full = "\n".join(lines(row)), "\n".join(lines(row, full=True))
    assert f"... {1_005 - MAX_BYTES} bytes more (--full)" in short
    assert (short.count("79"), full.count("79")) == (MAX_BYTES - len("X: "), 1_000) and "--full" not in full
    assert "... (1,000 characters)" in short
    assert full.count("y") > 2_000 > short.count("y")


def test_lines_have_no_control_characters() -> None:
    """A terminal would obey them; what does not show is escaped, too."""
    said = "\x1b[2J\u202e\x9b\r\n\x85\u2028"
    rows = of_server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said.encode()), said.encode()))
    rows += websocket(b"", encode_frame(FIN | TEXT, said[4:].encode()))
    rows.append(Row(SERVER, 0, "x", said, [Field(said, b"", said, "", "")], error=said))
    for row in rows:
        assert all(line.isprintable() for line in lines(row)), row
        assert all(line.isprintable() for line in lines(row, full=True))


def test_color() -> None:
    (row,) = of_client(b"GET / HTTP/1.1\r\n\r\n")
    plain, colored = lines(row), lines(row, color=True)
    assert "\x1b[31merror: missing Host\x1b[0m" in colored[1]
    assert [re.sub("\x1b\\[[0-9]+m", "", line) for line in colored] == plain


MANY = [
    *of_client(b"GET /%b?q=%b HTTP/1.1\r\nHost: example.org\r\nCookie: %b\r\n\r\n" % (b"long-" * 20, b"x" * 90, b"y" * 90)),
    *http2((CLIENT, headers(GET, stream=2**31 - 1))),
    *websocket(bytes.fromhex("818537fa213d7f9f4d5158")),
    Row(SERVER, 10**9, "HTTP/1.1", "GET / HTTP/1.1", [], error="an error that takes more columns than a small terminal has"),
]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("width", [1, 24, 30, 40, 50, 62, 63, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int, full: bool) -> None:
    """With colour and without: the same words and the same bytes in the same order, in as many lines as it takes."""
    plain, colored = Printer(width, full=full), Printer(width, full=full, color=True)
    note = "#1 closed after 0.004 s: 50 bytes from the client, 115 bytes from the server"
    told = [*[line for row in MANY for line in plain.lines(row, 123, 1234.5)], *plain.note(note)]
    painted = [*[line for row in MANY for line in colored.lines(row, 123, 1234.5)], *colored.note(note)]
    assert max(map(len, told)) <= max(width, 24)
    assert [re.sub("\x1b\\[[0-9]+m", "", line) for line in painted] == told
    assert all(line.count("\x1b[") % 2 == 0 for line in painted)  # a colour ends in its line
    words = re.sub(r"\s", "", "".join(told))
    assert re.sub(r"\s", "", note) in words and "GET/long-long-" in words
    if full:
        dump = " ".join(re.findall(r"(?m)^ +((?:[0-9a-f]{2} )*[0-9a-f]{2})(?=  )", "\n".join(line + "  " for line in told)))
        raw = b"".join(field.raw for row in MANY for field in row.fields).hex(" ")
        assert dump == raw


WIDE = ["日本語のメッセージ" * 9, "ab 語 " * 40, "👩👧x" * 30, "e\u0301" * 100, "한국어 메시지 " * 12]


@pytest.mark.parametrize("width", [24, 30, 40, 50, 62, 63, 80, 120])
@pytest.mark.parametrize("text", WIDE, ids=["ideographs", "words", "emoji", "accents", "hangul"])
def test_a_wide_character_takes_two_columns(text: str, width: int) -> None:
    """And an accent of its own none: a line that is too long for the terminal would be broken once more, by the terminal."""
    row = Row(SERVER, 0, "RESP", text, [Field("argument", text.encode()[:40], text, "of the command", "")], error=text)
    told = [*Printer(width, full=True).lines(row, 1, 0.5), *Printer(width).note(text)]
    columns = [sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in line) for line in told]
    assert width - 12 < max(columns) <= width
    assert "".join(told).replace(" ", "").count(text.replace(" ", "")[:6]) >= 3
    assert re.sub(r"\s", "", text) in re.sub(r"\s", "", "".join(Printer(width).note(text)))


def test_a_narrow_terminal_has_bytes_below_their_words() -> None:
    (row,) = websocket(bytes.fromhex("818537fa213d7f9f4d5158"))
    assert list(Printer(40).lines(row, 1, 0.5))[-6:] == [
        "    payload is XORed with one of these;",
        "    RFC 6455 §5.3)",
        "      37 fa 21 3d              7·!=",
        "    payload = Hello (of the message,",
        "    unmasked; RFC 6455 §5.6)",
        "      7f 9f 4d 51 58           ··MQX",
    ]
