"""``minproto prove``: what its transcripts of HTTP/2 take for malformed, and its patterns for right, acceptable and wrong."""

import pytest

from minproto.aio.address import Address
from minproto.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER_TABLE_SIZE,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    encode_frame,
)
from minproto.prove.case import Case, Verdict
from minproto.prove.cases.http2_patterns import answered, connection_error, malformed, stream_error
from minproto.prove.frames import GET, Each, Head, Pieces, TooMany, block, credit, settings
from minproto.prove.target import PATHS, Target
from minproto.prove.transcripts.http2 import Http2

HELLO, TAKEN = settings(), encode_frame(SETTINGS, ACK, 0)
HEAD = encode_frame(HEADERS, END_HEADERS, 1, b"\x88")
"""A response of 200."""


def target() -> Target:
    return Target(Address("127.0.0.1", 8000), dict(PATHS), "a", 1.0)


def reading(*shows: str, opens: bool = False) -> Http2:
    made = Http2(Case("http2/test/it", "", (), right="", shows=shows, opens=opens), target())
    made.opening()
    return made


def words(*frames: bytes, shows: tuple[str, ...] = ()) -> str:
    """What a transcript makes of a server that sends its SETTINGS, and then these frames."""
    made = reading(*shows)
    for frame in (HELLO, TAKEN, *frames):
        made.receive(frame)
    return " ".join(made.words)


# ---- transcripts -----------------------------------------------------------------------------------------------------


def test_a_response_with_content_that_fits_its_length() -> None:
    head = encode_frame(HEADERS, END_HEADERS, 1, b"\x88\x0f\x0d\x015")
    assert words(head, encode_frame(DATA, END_STREAM, 1, b"Hello")) == "1:200 1:end"
    assert words(head, encode_frame(DATA, END_STREAM, 1, b"Hell")) == "1:200 malformed"
    assert words(encode_frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88\x0f\x0d\x015")) == "1:200 1:end"  # to a HEAD


@pytest.mark.parametrize(
    "frame",
    [
        HEAD[:5] + b"\x80" + HEAD[6:],  # the reserved bit
        encode_frame(PING, 0x10, 0, bytes(8)),  # a flag that PING does not have
        settings((2, 1)),  # push enabled
        encode_frame(0x10, 0, 0, bytes(4)),  # PRIORITY_UPDATE
        encode_frame(DATA, 0, 1, b"x"),  # content without a head
        encode_frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x08\x03103"),  # an interim response that ends its stream
        encode_frame(HEADERS, END_HEADERS, 1, b"\x08\x03101"),
        encode_frame(HEADERS, END_HEADERS, 1, b"\x88\x00\x01X\x01y"),
    ],
    ids=lambda frame: frame[:12].hex(),
)
def test_what_no_server_may_send(frame: bytes) -> None:
    assert words(frame).endswith("malformed")


@pytest.mark.parametrize("end", [encode_frame(RST_STREAM, 0, 1, bytes(4)), encode_frame(DATA, END_STREAM, 1)])
def test_nothing_follows_the_end_of_a_stream(end: bytes) -> None:
    assert words(HEAD, end, encode_frame(DATA, 0, 1, b"x")).endswith("malformed")


def test_the_server_begins_with_settings() -> None:
    made = reading()
    made.receive(encode_frame(PING, 0, 0, bytes(8)))
    assert made.words == ["malformed"]


def test_a_server_announces_the_smaller_table_that_it_has_agreed_to() -> None:
    for begins, expected in ((b"\x20", ["1:200"]), (b"", ["malformed"])):
        made = reading()
        made.wrap(settings((HEADER_TABLE_SIZE, 0)))
        for frame in (HELLO, TAKEN, TAKEN, encode_frame(HEADERS, END_HEADERS, 1, begins + b"\x88")):
            made.receive(frame)
        assert made.words == expected


def test_content_is_credited_unless_the_case_shows_it() -> None:
    for shows, expected in ((), credit(0, 5) + credit(1, 5)), (("data",), b""):
        made = reading(*shows)
        made.receive(HELLO + HEAD)
        assert made.receive(encode_frame(DATA, 0, 1, b"Hello")) == expected


def test_a_case_that_opens_says_everything_itself() -> None:
    made = reading("ack", "setting", opens=True)
    assert (made.ready, made.opening()) == (True, b"")
    assert made.wrap(PREFACE + settings()) == PREFACE + settings()
    assert made.receive(settings((3, 100)) + TAKEN) == b""
    assert made.words == ["setting=3:100", "ack"]


# ---- steps -----------------------------------------------------------------------------------------------------------


def test_pieces_of_a_block() -> None:
    whole = block(target(), GET)
    pieces = Pieces(1, GET, (4, 0)).encode(target())
    first, rest = encode_frame(HEADERS, END_STREAM, 1, whole[:4]), encode_frame(9, END_HEADERS, 1, whole[4:])
    assert pieces == first + encode_frame(9, 0, 1) + rest


def test_frames_for_each_stream_and_one_request_too_many() -> None:
    at = target()
    assert Each(range(1, 5, 2), lambda stream: (credit(stream, 1),)).encode(at) == credit(1, 1) + credit(3, 1)
    at.settings[3] = 2
    assert TooMany(GET).encode(at) == b"".join([Head(stream, GET).encode(at) for stream in (1, 3, 5)])


# ---- patterns --------------------------------------------------------------------------------------------------------

RIGHT, ACCEPTABLE, WRONG = Verdict.RIGHT, Verdict.ACCEPTABLE, Verdict.WRONG


@pytest.mark.parametrize(
    ("patterns", "transcript", "verdict"),
    [
        (connection_error("PROTOCOL_ERROR"), "goaway=PROTOCOL_ERROR closed", RIGHT),
        (connection_error("PROTOCOL_ERROR"), "1:200 goaway=NO_ERROR goaway=PROTOCOL_ERROR 1:end closed", RIGHT),
        (connection_error("FRAME_SIZE_ERROR"), "goaway=PROTOCOL_ERROR closed", ACCEPTABLE),  # §5.4
        (connection_error("PROTOCOL_ERROR"), "goaway=PROTOCOL_ERROR open", ACCEPTABLE),
        (connection_error("PROTOCOL_ERROR"), "closed", ACCEPTABLE),  # §5.4.1: GOAWAY is a SHOULD
        (connection_error("PROTOCOL_ERROR"), "reset", ACCEPTABLE),
        (connection_error("PROTOCOL_ERROR"), "1:PROTOCOL_ERROR open", WRONG),
        (connection_error("PROTOCOL_ERROR"), "goaway=NO_ERROR open", WRONG),
        (connection_error("PROTOCOL_ERROR"), "malformed closed", WRONG),
        (connection_error("PROTOCOL_ERROR"), "silent", WRONG),
        (stream_error(1, "STREAM_CLOSED"), "1:200 1:STREAM_CLOSED open", RIGHT),
        (stream_error(1, "STREAM_CLOSED"), "goaway=STREAM_CLOSED closed", ACCEPTABLE),  # §5.4.1
        (stream_error(1, "STREAM_CLOSED"), "1:INTERNAL_ERROR open", ACCEPTABLE),
        (stream_error(1, "STREAM_CLOSED"), "1:CANCEL open", WRONG),
        (stream_error(1, "STREAM_CLOSED"), "3:STREAM_CLOSED open", WRONG),
        (malformed(), "1:PROTOCOL_ERROR open", RIGHT),
        (malformed(), "1:400 1:end open", RIGHT),  # §8.2.1
        (malformed(), "1:400 1:end 1:PROTOCOL_ERROR open", RIGHT),
        (malformed(), "1:404 1:end open", ACCEPTABLE),
        (malformed(), "goaway=PROTOCOL_ERROR closed", ACCEPTABLE),
        (malformed(), "1:200 1:end open", WRONG),
        (malformed(), "1:200 1:end 1:PROTOCOL_ERROR open", WRONG),
        (malformed(), "1:REFUSED_STREAM open", WRONG),  # the client would ask again
        ((*answered(1, 3), ""), "3:200 1:404 1:end 3:end open", RIGHT),
        ((*answered(1, 3), ""), "1:200 1:end 11:200 11:end open", WRONG),
        ((*answered(1), ""), "1:200 1:end closed", WRONG),
        ((*answered(1), ""), "1:400 1:end open", WRONG),
        ((*answered(1), ""), "push 1:200 1:end open", WRONG),
    ],
)
def test_patterns(patterns: tuple[str, str], transcript: str, verdict: Verdict) -> None:
    assert Case("http2/test/it", "", (), *patterns).judge(transcript) is verdict
