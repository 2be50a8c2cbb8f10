"""What an HTTP/2 endpoint makes of frames, right and wrong, one case for each sentence that has an error code.

The numbers are sections of RFC 9113, of RFC 7541 with "hpack", of RFC 8441. A case is what a peer says after the handshake,
and what becomes of the connection: it is alive, a stream is reset with a code, or the connection ends with one.
"""

from collections.abc import Callable
from itertools import pairwise

import hpack
import http2_wire
import pytest
from http2_wire import ALIVE, GET, OK, POST, Wire, data, frame, number, ping, reset, settings, window_update

from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead, is_field
from minproto.http2 import Consumed, Discarded, GoAway, Limits, Ping, Reset, Settings, StreamFault, WindowUpdate
from minproto.http2_frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    MAX_ID,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Header,
    check_header,
    code_name,
    encode_headers,
)
from minproto.testing import laws
from minproto.testing.agreement import public

pytestmark = pytest.mark.usefixtures("plain_and_fast")

Said = bytes | list[bytes]
Case = Callable[[Wire], Said]
TRAILER = [("x", "y")]
BIG = bytes(16_385)


def connection(code):
    return ("connection", code)


def stream(code, id_=1):
    return ("stream", id_, code)


def without(name):
    return [field for field in GET if field[0] != name]


def fields(*more):
    return [*GET, *more]


def block(w, head=GET):
    return w.encoder.encode(head)


def pieces(w, head, *sizes):
    """A field block cut at these sizes."""
    whole = block(w, head)
    cuts = [0, *sizes, len(whole)]
    return [whole[start:end] for start, end in pairwise(cuts)]


def continued(w, *, first=0, flags=END_STREAM, id_=1):
    """HEADERS whose block is not complete, and the rest of the block."""
    one, two = pieces(w, fields(("x-name", "value")), 5)
    return frame(HEADERS, flags, id_, one), two


DEPENDENCY = number(0) + b"\x0f"

# ---- frames that are right: the generic part of a conformance suite ----------------------------------------------------

ALIVE_CASES: dict[str, Case] = {
    "5.1 PRIORITY on an idle stream": lambda w: frame(PRIORITY, 0, 1, DEPENDENCY),
    "5.1 PRIORITY on an idle stream with an even id": lambda w: frame(PRIORITY, 0, 2, DEPENDENCY),
    "5.1 WINDOW_UPDATE on half-closed (remote)": lambda w: [w.head(), window_update(1, 10)],
    "5.1 PRIORITY on half-closed (remote)": lambda w: [w.head(), frame(PRIORITY, 0, 1, DEPENDENCY)],
    "5.1 RST_STREAM on half-closed (remote)": lambda w: [w.head(), reset(1)],
    "5.1 PRIORITY on closed": lambda w: [w.head(), reset(1), frame(PRIORITY, 0, 1, DEPENDENCY)],
    "5.1 WINDOW_UPDATE on closed": lambda w: [w.head(), reset(1), window_update(1, 10)],
    "5.1 RST_STREAM on closed": lambda w: [w.head(), reset(1), reset(1)],
    "5.1.1 ids may be passed over": lambda w: [w.head(1), w.head(101)],
    "6.1 DATA, also many": lambda w: [w.head(1, POST, end=False), *[data(1, b"x")] * 9, data(1, end=True)],
    "6.1 padded DATA": lambda w: [w.head(1, POST, end=False), frame(DATA, PADDED | END_STREAM, 1, b"\x05body" + bytes(5))],
    "6.1 DATA that is padding alone": lambda w: [w.head(1, POST, end=False), frame(DATA, PADDED, 1, b"\x05" + bytes(5))],
    "6.1 padded DATA with neither content nor padding": lambda w: [
        w.head(1, POST, end=False),
        frame(DATA, PADDED | END_STREAM, 1, b"\0"),
    ],
    "4.2 DATA of 2^14 bytes": lambda w: [w.head(1, POST, end=False), data(1, BIG[1:], end=True)],
    "6.2 padded HEADERS": lambda w: w.head(1, flags=END_HEADERS | PADDED, before=b"\x05", after=bytes(5)),
    "6.2 HEADERS with a priority": lambda w: w.head(1, flags=END_HEADERS | PRIORITIZED, before=b"\x80" + DEPENDENCY[1:]),
    "6.2 padded HEADERS with a priority": lambda w: w.head(
        1, flags=END_HEADERS | PRIORITIZED | PADDED, before=b"\x01" + DEPENDENCY, after=b"\0"
    ),
    "6.2 HEADERS of a priority alone, padded by 0, then CONTINUATION": lambda w: [
        frame(HEADERS, PADDED | PRIORITIZED | END_STREAM, 1, b"\0" + DEPENDENCY),
        frame(CONTINUATION, END_HEADERS, 1, block(w)),
    ],
    "6.3 PRIORITY, then HEADERS with a lower id": lambda w: [frame(PRIORITY, 0, 7, DEPENDENCY), w.head(1)],
    "6.5 SETTINGS, all known ones and an unknown one": lambda w: settings(
        (1, 100), (2, 0), (3, 5), (4, 1_000), (5, 1 << 15), (6, 9), (8, 1), (9, 1), (0xBABA, MAX_ID)
    ),
    "6.5 SETTINGS without any": lambda w: settings(),
    "6.5.2 the largest INITIAL_WINDOW_SIZE and MAX_FRAME_SIZE": lambda w: settings((4, MAX_ID), (5, (1 << 24) - 1)),
    "6.5.3 an acknowledgement that nobody asked for": lambda w: frame(SETTINGS, ACK),
    "6.7 PING, and one with ACK": lambda w: [ping(), ping(flags=ACK)],
    "6.8 GOAWAY, and a later one": lambda w: [
        frame(GOAWAY, 0, 0, number(9) + number(0)),
        frame(GOAWAY, 0, 0, bytes(8) + b"bye"),
    ],
    "6.8 GOAWAY, and once more with the same last stream": lambda w: [frame(GOAWAY, 0, 0, number(9) + number(0))] * 2,
    "6.9 WINDOW_UPDATE": lambda w: [w.head(), window_update(0, 1), window_update(1, 1)],
    "6.9.1 a window of just 2^31-1": lambda w: [
        w.head(),
        window_update(1, MAX_ID - 65_535),
        window_update(0, MAX_ID - 65_535),
    ],
    "6.10 CONTINUATION": lambda w: [(two := continued(w))[0], frame(CONTINUATION, END_HEADERS, 1, two[1])],
    "6.10 many CONTINUATIONs, empty ones too": lambda w: [
        (two := continued(w))[0],
        *(frame(CONTINUATION, 0, 1, two[1][at : at + 1]) for at in range(len(two[1]))),
        frame(CONTINUATION, END_HEADERS, 1),
    ],
    "7 unknown error codes": lambda w: [w.head(), reset(1, 0xFF), frame(GOAWAY, 0, 0, number(0) + number(0xFF))],
    "8.1 trailers": lambda w: [w.head(1, POST, end=False), data(1, b"x"), w.head(1, TRAILER)],
    "8.2.2 te: trailers": lambda w: w.head(1, fields(("te", "trailers"))),
    "4.1 an unknown type": lambda w: [frame(0x16, 0, 0, b"12345678"), frame(0xFF, 0xFF, 5, b"x")],
    "4.1 flags that are not defined": lambda w: [ping(flags=0x16), w.head(1, flags=END_HEADERS | 0xD2)],
    "4.1 the reserved bit of a stream id": lambda w: frame(PING, 0, 0x8000_0000, b"12345678"),
    "hpack indexed and literal, all kinds": lambda w: w.head(
        1, after=b"\x40\x01a\x01b" + b"\x00\x01a\x01b" + b"\x10\x01a\x01b" + b"\xbe"
    ),
    "hpack 4.2 two size updates": lambda w: w.head(1, before=b"\x20\x3f\xe1\x1f"),
}


@pytest.mark.parametrize("case", ALIVE_CASES.values(), ids=ALIVE_CASES)
def test_right_frames_are_taken(case):
    w = Wire()
    said = case(w)
    assert w.verdict(*([said] if isinstance(said, bytes) else said)) == ALIVE


# ---- frames that are wrong ---------------------------------------------------------------------------------------------

P, S, Z, F = PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR

WRONG: dict[str, tuple[tuple[str, int] | tuple[str, int, int], Case]] = {
    # Sizes (§4.2), field blocks (§4.3)
    "4.2 DATA too large": (connection(Z), lambda w: [w.head(1, POST, end=False), data(1, BIG)[:9]]),
    "4.2 HEADERS too large": (connection(Z), lambda w: frame(HEADERS, END_HEADERS, 1, BIG)[:9]),
    "4.2 an unknown type too large": (connection(Z), lambda w: frame(0xEE, 0, 1, BIG)[:9]),
    "4.3 a field block that can't be decoded": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\x40")),
    "4.3 PRIORITY inside of a block": (connection(P), lambda w: [continued(w)[0], frame(PRIORITY, 0, 1, DEPENDENCY)[:9]]),
    "4.3 HEADERS of another stream inside of a block": (connection(P), lambda w: [continued(w)[0], w.head(3)[:9]]),
    "4.3 a refused stream's block that can't be decoded": (
        connection(COMPRESSION_ERROR),
        lambda w: [w.head(1), *(w.head(id_) for id_ in range(3, 211, 2)), w.head(301, after=b"\x40")],
    ),
    # Streams (§5.1)
    "5.1 idle: DATA": (connection(P), lambda w: data(1, b"x", end=True)),
    "5.1 idle: RST_STREAM": (connection(P), lambda w: reset(1)),
    "5.1 idle: WINDOW_UPDATE": (connection(P), lambda w: window_update(1, 100)),
    "5.1 idle: WINDOW_UPDATE on an even id": (connection(P), lambda w: window_update(2, 100)),
    "5.1 idle: WINDOW_UPDATE on an even id below the last one": (connection(P), lambda w: [w.head(7), window_update(4, 100)]),
    "5.1 idle: CONTINUATION": (connection(P), lambda w: frame(CONTINUATION, END_HEADERS, 1)),
    "5.1 half-closed (remote): DATA": (stream(S), lambda w: [w.head(), data(1, b"x")]),
    "5.1 half-closed (remote): DATA with END_STREAM": (stream(S), lambda w: [w.head(), data(1, b"x", end=True)]),
    "5.1 half-closed (remote): HEADERS": (stream(S), lambda w: [w.head(), w.head()]),
    "5.1 half-closed (remote): CONTINUATION": (connection(P), lambda w: [w.head(), frame(CONTINUATION, END_HEADERS, 1)]),
    "5.1 closed by RST_STREAM: DATA": (connection(S), lambda w: [w.head(1, end=False), reset(1), data(1, b"x")]),
    "5.1 closed by RST_STREAM: HEADERS": (connection(S), lambda w: [w.head(1, end=False), reset(1), w.head(1)]),
    "5.1 closed by RST_STREAM: CONTINUATION": (
        connection(P),
        lambda w: [w.head(1, end=False), reset(1), frame(CONTINUATION, END_HEADERS, 1)],
    ),
    "5.1.1 an even id": (connection(P), lambda w: w.head(2)),
    "5.1.1 an id below the last one": (connection(P), lambda w: [w.head(5), w.head(3)]),
    "5.1.1 DATA on an id that was passed over": (connection(P), lambda w: [w.head(5), data(3, b"x")]),
    "5.1.1 DATA on the first id, that was passed over": (connection(P), lambda w: [w.head(3), data(1, b"x")]),
    "5.1.2 too many streams": (stream(REFUSED_STREAM, 201), lambda w: [w.head(id_) for id_ in range(1, 203, 2)]),
    "5.3.1 of RFC 7540: HEADERS that depends on itself": (
        connection(P),
        lambda w: w.head(1, flags=END_HEADERS | PRIORITIZED, before=number(1) + b"\x0f"),
    ),
    "5.3.1 of RFC 7540: PRIORITY that depends on itself": (
        stream(P),
        lambda w: [w.head(), frame(PRIORITY, 0, 1, number(1) + b"\x0f")],
    ),
    "5.3.1 of RFC 7540: the same on an idle stream": (connection(P), lambda w: frame(PRIORITY, 0, 1, number(1) + b"\x0f")),
    "5.5 an unknown type inside of a block": (connection(P), lambda w: [continued(w)[0], frame(0x16, 0, 0, b"12345678")[:9]]),
    # DATA (§6.1)
    "6.1 DATA on stream 0": (connection(P), lambda w: data(0, b"x")[:9]),
    "6.1 padding as long as the payload": (
        connection(P),
        lambda w: [w.head(1, POST, end=False), frame(DATA, PADDED, 1, b"\x05" + bytes(4))],
    ),
    "6.1 padding without its length": (connection(Z), lambda w: [w.head(1, POST, end=False), frame(DATA, PADDED, 1)]),
    # HEADERS (§6.2)
    "6.2 HEADERS on stream 0": (connection(P), lambda w: w.head(0)[:9]),
    "6.2 padding as long as the payload": (
        connection(P),
        lambda w: frame(HEADERS, PADDED | END_HEADERS, 1, b"\x05" + bytes(4)),
    ),
    "6.2 padding over the priority": (
        connection(P),
        lambda w: frame(HEADERS, PADDED | PRIORITIZED | END_HEADERS, 1, b"\x01" + DEPENDENCY),
    ),
    "6.2 padding without its length": (connection(Z), lambda w: frame(HEADERS, PADDED | END_HEADERS, 1)),
    "6.2 too short for its priority": (connection(Z), lambda w: frame(HEADERS, PRIORITIZED | END_HEADERS, 1, bytes(4))[:9]),
    # PRIORITY (§6.3), RST_STREAM (§6.4)
    "6.3 PRIORITY on stream 0": (connection(P), lambda w: frame(PRIORITY, 0, 0, DEPENDENCY)[:9]),
    "6.3 PRIORITY of four bytes": (stream(Z), lambda w: [w.head(1, end=False), frame(PRIORITY, 0, 1, bytes(4))]),
    "6.3 PRIORITY of six bytes": (stream(Z), lambda w: [w.head(1, end=False), frame(PRIORITY, 0, 1, bytes(6))]),
    "6.4 RST_STREAM on stream 0": (connection(P), lambda w: reset(0)[:9]),
    "6.4 RST_STREAM of three bytes": (connection(Z), lambda w: [w.head(1, end=False), frame(RST_STREAM, 0, 1, bytes(3))[:9]]),
    "6.4 RST_STREAM of five bytes": (connection(Z), lambda w: [w.head(1, end=False), frame(RST_STREAM, 0, 1, bytes(5))[:9]]),
    # SETTINGS (§6.5)
    "6.5 ACK with a payload": (connection(Z), lambda w: frame(SETTINGS, ACK, 0, bytes(6))[:9]),
    "6.5 SETTINGS on a stream": (connection(P), lambda w: frame(SETTINGS, 0, 1, bytes(6))[:9]),
    "6.5 SETTINGS not of six bytes each": (connection(Z), lambda w: frame(SETTINGS, 0, 0, bytes(3))[:9]),
    "6.5.2 ENABLE_PUSH of 2": (connection(P), lambda w: settings((2, 2))),
    "2.1 of RFC 9218: NO_RFC7540_PRIORITIES of 2": (connection(P), lambda w: settings((9, 2))),
    "6.5.2 INITIAL_WINDOW_SIZE over 2^31-1": (connection(F), lambda w: settings((4, MAX_ID + 1))),
    "6.5.2 MAX_FRAME_SIZE below 2^14": (connection(P), lambda w: settings((5, 16_383))),
    "6.5.2 MAX_FRAME_SIZE over 2^24-1": (connection(P), lambda w: settings((5, 1 << 24))),
    "8441 3 ENABLE_CONNECT_PROTOCOL of 2": (connection(P), lambda w: settings((8, 2))),
    "8441 3 ENABLE_CONNECT_PROTOCOL back to 0": (connection(P), lambda w: [settings((8, 1)), settings((8, 0))]),
    # PUSH_PROMISE (§6.6), PING (§6.7), GOAWAY (§6.8)
    "8.4 PUSH_PROMISE of a client": (
        connection(P),
        lambda w: [w.head(1, end=False), frame(PUSH_PROMISE, END_HEADERS, 1, number(2))[:9]],
    ),
    "6.7 PING on a stream": (connection(P), lambda w: frame(PING, 0, 1, bytes(8))[:9]),
    "6.7 PING of six bytes": (connection(Z), lambda w: frame(PING, 0, 0, bytes(6))[:9]),
    "6.8 GOAWAY on a stream": (connection(P), lambda w: frame(GOAWAY, 0, 1, bytes(8))[:9]),
    "6.8 GOAWAY of seven bytes": (connection(Z), lambda w: frame(GOAWAY, 0, 0, bytes(7))[:9]),
    "6.8 GOAWAY whose last stream grows": (
        connection(P),
        lambda w: [frame(GOAWAY, 0, 0, number(3) + number(0)), frame(GOAWAY, 0, 0, number(5) + number(0))],
    ),
    # WINDOW_UPDATE (§6.9)
    "6.9 an increment of 0 for the connection": (connection(P), lambda w: window_update(0, 0)),
    "6.9 an increment of 0 for a stream": (stream(P), lambda w: [w.head(1, end=False), window_update(1, 0)]),
    "6.9 an increment of 0 with the reserved bit": (stream(P), lambda w: [w.head(1, end=False), window_update(1, 1 << 31)]),
    "6.9 WINDOW_UPDATE of three bytes": (connection(Z), lambda w: frame(WINDOW_UPDATE, 0, 0, bytes(3))[:9]),
    "6.9.1 the connection's window over 2^31-1": (connection(F), lambda w: [window_update(0, MAX_ID)]),
    "6.9.1 a stream's window over 2^31-1": (stream(F), lambda w: [w.head(), window_update(1, MAX_ID)]),
    "6.9.2 INITIAL_WINDOW_SIZE that lifts a window over 2^31-1": (
        connection(F),
        lambda w: [w.head(), window_update(1, MAX_ID - 65_535), settings((4, 65_536))],
    ),
    # CONTINUATION (§6.10)
    "6.10 DATA inside of a block": (connection(P), lambda w: [continued(w)[0], data(1, b"x")[:9]]),
    "6.10 CONTINUATION on stream 0": (connection(P), lambda w: [continued(w)[0], frame(CONTINUATION, END_HEADERS, 0)[:9]]),
    "6.10 CONTINUATION on another stream": (connection(P), lambda w: [continued(w)[0], frame(CONTINUATION, 4, 3)[:9]]),
    "6.10 CONTINUATION after a complete block": (connection(P), lambda w: [w.head(), frame(CONTINUATION, END_HEADERS, 1)[:9]]),
    "6.10 CONTINUATION after CONTINUATION that ends": (
        connection(P),
        lambda w: [
            (two := continued(w))[0],
            frame(CONTINUATION, END_HEADERS, 1, two[1]),
            frame(CONTINUATION, END_HEADERS, 1)[:9],
        ],
    ),
    "6.10 CONTINUATION after DATA": (
        connection(P),
        lambda w: [w.head(1, POST, end=False), data(1, b"x"), frame(CONTINUATION, END_HEADERS, 1)[:9]],
    ),
    # Messages (§8)
    "8.1 a second head without END_STREAM": (
        stream(P),
        lambda w: [w.head(1, POST, end=False), data(1, b"x"), w.head(1, TRAILER, end=False)],
    ),
    "8.2.1 NUL": (stream(P), lambda w: w.head(1, fields(("x", "a\0b")))),
    "8.2.1 CR": (stream(P), lambda w: w.head(1, fields(("x", "a\rb")))),
    "8.2.1 LF": (stream(P), lambda w: w.head(1, fields(("x", "a\nb: c")))),
    "8.2.1 a space before a value": (stream(P), lambda w: w.head(1, fields(("x", " a")))),
    "8.2.1 a tab after a value": (stream(P), lambda w: w.head(1, fields(("x", "a\t")))),
    "8.2.1 an upper-case name": (stream(P), lambda w: w.head(1, fields(("X-Test", "ok")))),
    "8.2.1 an empty name": (stream(P), lambda w: w.head(1, fields(("", "ok")))),
    "8.2.1 a space in a name": (stream(P), lambda w: w.head(1, fields(("x y", "ok")))),
    "8.2.1 a colon in a name": (stream(P), lambda w: w.head(1, fields(("x:y", "ok")))),
    "8.2.1 a name that is not ASCII": (stream(P), lambda w: w.head(1, fields(("x\xe9", "ok")))),
    **{
        f"8.2.2 {name}": (stream(P), lambda w, name=name: w.head(1, fields((name, "x"))))
        for name in ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade")
    },
    "8.2.2 te: gzip": (stream(P), lambda w: w.head(1, fields(("te", "trailers, deflate;q=0.5")))),
    "8.3 an unknown pseudo-header field": (stream(P), lambda w: w.head(1, [(":test", "ok"), *GET])),
    "8.3 a response's pseudo-header field": (stream(P), lambda w: w.head(1, fields((":status", "200")))),
    "8.3 a pseudo-header field in trailers": (
        stream(P),
        lambda w: [w.head(1, POST, end=False), w.head(1, [(":method", "200")])],
    ),
    "8.3 a pseudo-header field after the others": (stream(P), lambda w: w.head(1, [*GET[:3], ("x", "ok"), GET[3]])),
    "8.3 a second :path after the others": (stream(P), lambda w: w.head(1, fields(("x", "ok"), (":path", "/other")))),
    "8.3 a pseudo-header field with a line break": (stream(P), lambda w: w.head(1, [*GET[:3], (":authority", "a\r\nx: y")])),
    "8.3.1 an empty :path": (stream(P), lambda w: w.head(1, [*without(":path"), (":path", "")])),
    "8.3.1 a :path without a slash": (stream(P), lambda w: w.head(1, [*without(":path"), (":path", "a")])),
    "8.3.1 a :path with a space": (stream(P), lambda w: w.head(1, [*without(":path"), (":path", "/a b")])),
    "8.3.1 a :path with a fragment": (stream(P), lambda w: w.head(1, [*without(":path"), (":path", "/a#b")])),
    "8.3.1 a :path of * for GET": (stream(P), lambda w: w.head(1, [*without(":path"), (":path", "*")])),
    "8.3.1 a :scheme that is none": (stream(P), lambda w: w.head(1, [*without(":scheme"), (":scheme", "1 2")])),
    "8.3.1 a :method that is none": (stream(P), lambda w: w.head(1, [*without(":method"), (":method", "G ET")])),
    **{
        f"8.3.1 no {name}": (stream(P), lambda w, name=name: w.head(1, without(name)))
        for name in (":method", ":scheme", ":path", ":authority")
    },
    **{
        f"8.3.1 {name} twice": (stream(P), lambda w, name=name: w.head(1, [*GET, (name, dict(GET)[name])]))
        for name in (":method", ":scheme", ":path", ":authority")
    },
    "8.3.1 Host that differs from :authority": (stream(P), lambda w: w.head(1, fields(("host", "b")))),
    "8.3.1 two Hosts": (stream(P), lambda w: w.head(1, [*without(":authority"), ("host", "a"), ("host", "b")])),
    "8.3.1 userinfo in :authority": (stream(P), lambda w: w.head(1, [*without(":authority"), (":authority", "me@a")])),
    "8.1.1 a content-length over the DATA": (
        stream(P),
        lambda w: [w.head(1, [*POST, ("content-length", "5")], end=False), data(1, b"four", end=True)],
    ),
    "8.1.1 a content-length below the DATA": (
        stream(P),
        lambda w: [w.head(1, [*POST, ("content-length", "1")], end=False), data(1, b"four")],
    ),
    "8.1.1 a content-length over many DATA": (
        stream(P),
        lambda w: [w.head(1, [*POST, ("content-length", "9")], end=False), data(1, b"four"), data(1, b"four", end=True)],
    ),
    "8.1.1 a content-length over the DATA before trailers": (
        stream(P),
        lambda w: [w.head(1, [*POST, ("content-length", "5")], end=False), data(1, b"four"), w.head(1, TRAILER)],
    ),
    "8.1.1 a content-length and no DATA": (stream(P), lambda w: w.head(1, [*POST, ("content-length", "5")])),
    "8.1.1 a content-length that is no number": (stream(P), lambda w: w.head(1, [*POST, ("content-length", "+5")])),
    "8.1.1 two content-lengths": (
        stream(P),
        lambda w: w.head(1, [*POST, ("content-length", "5"), ("content-length", "6")], end=False),
    ),
    "8.5 CONNECT with a :path": (
        stream(P),
        lambda w: w.head(1, [(":method", "CONNECT"), (":authority", "a:80"), (":path", "/")]),
    ),
    "8.5 CONNECT with a :scheme": (
        stream(P),
        lambda w: w.head(1, [(":method", "CONNECT"), (":authority", "a:80"), (":scheme", "http")]),
    ),
    "8.5 CONNECT without a port": (stream(P), lambda w: w.head(1, [(":method", "CONNECT"), (":authority", "a")])),
    "8441 4 :protocol without CONNECT": (stream(P), lambda w: w.head(1, [*GET, (":protocol", "websocket")])),
    "8441 4 :protocol without :path": (
        stream(P),
        lambda w: w.head(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a")]),
    ),
    # HPACK
    "hpack 2.3.3 an index that is not there": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\xc6")),
    "hpack 4.2 a size update at the end of a block": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\x21")),
    "hpack 5.1 a number that is too long": (
        connection(COMPRESSION_ERROR),
        lambda w: w.head(after=b"\xff" + b"\xff" * 9 + b"\0"),
    ),
    "hpack 5.1 a small number in too many bytes": (  # 4,096, a size that is allowed: only the number of its bytes is wrong
        connection(COMPRESSION_ERROR),
        lambda w: w.head(before=b"\x3f\xe1\x9f\x80\x80\x80\0"),
    ),
    "hpack 5.2 padding of more than seven bits": (
        connection(COMPRESSION_ERROR),
        lambda w: w.head(after=b"\0\x01x\x82\x1f\xff"),
    ),
    "hpack 5.2 padding of zeros": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\0\x01x\x81\x18")),
    "hpack 5.2 EOS": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\0\x01x\x84\xff\xff\xff\xff")),
    "hpack 5.2 a string longer than the block": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\0\x01x\x09short")),
    "hpack 6.1 index 0": (connection(COMPRESSION_ERROR), lambda w: w.head(after=b"\x80")),
    "hpack 6.3 a size update over the limit": (connection(COMPRESSION_ERROR), lambda w: w.head(before=b"\x3f\xe2\x1f")),
}


@pytest.mark.parametrize(("verdict", "case"), WRONG.values(), ids=WRONG)
def test_wrong_frames_have_the_code_of_their_section(verdict, case):
    """The bytes end where the fault can be seen first; a core that waits for more bytes fails here."""
    w = Wire()
    said = case(w)
    assert w.verdict(*([said] if isinstance(said, bytes) else said)) == verdict


@pytest.mark.parametrize(("verdict", "case"), WRONG.values(), ids=WRONG)
def test_a_fault_of_a_stream_leaves_the_others_alone(verdict, case):
    """Beside the stream of the case another one is under way: it goes on behind a stream's fault."""
    if verdict[0] == "connection" or verdict[1] != 1:
        return
    w = Wire()
    said = case(w)
    w.feed(*([said] if isinstance(said, bytes) else said))
    head, end = w.feed(w.head(301, [*GET, ("cookie", "a"), ("cookie", "b")]))
    assert head.headers == [("host", "a"), ("cookie", "a; b")] and end == EndOfMessage(Headers(), 301)


# ---- the same of a server, as a client meets it ------------------------------------------------------------------------

CLIENT_WRONG: dict[str, tuple[tuple[str, int] | tuple[str, int, int], Case]] = {
    "6.5.2 ENABLE_PUSH of a server": (connection(P), lambda w: settings((2, 1))),
    "8.4 PUSH_PROMISE": (connection(P), lambda w: frame(PUSH_PROMISE, END_HEADERS, 1, number(2))[:9]),
    "6.6 PUSH_PROMISE on stream 0": (connection(P), lambda w: frame(PUSH_PROMISE, END_HEADERS, 0, number(2))[:9]),
    "6.6 PUSH_PROMISE on an idle stream": (connection(P), lambda w: frame(PUSH_PROMISE, END_HEADERS, 7, number(2))),
    "6.6 PUSH_PROMISE of a stream that is in use": (connection(P), lambda w: frame(PUSH_PROMISE, END_HEADERS, 1, number(1))),
    "6.6 padding as long as the payload": (
        connection(P),
        lambda w: frame(PUSH_PROMISE, END_HEADERS | PADDED, 1, b"\x05" + bytes(4)),
    ),
    "5.1.1 HEADERS on an even id": (connection(P), lambda w: w.head(2, OK)),
    "5.1 HEADERS on a stream that we did not open": (connection(P), lambda w: w.head(99, OK)),
    "5.1 DATA on a stream that we did not open": (connection(P), lambda w: data(99, b"x")),
    "5.1 WINDOW_UPDATE on a stream that we did not open": (connection(P), lambda w: window_update(99, 1)),
    "5.1 closed: DATA": (connection(S), lambda w: [w.head(1, OK), data(1, b"x")]),
    "8.1 DATA before a head": (stream(P), lambda w: data(1, b"x")),
    "8.1 DATA after an interim response": (stream(P), lambda w: [w.head(1, [(":status", "103")], end=False), data(1, b"x")]),
    "8.1 an interim response with END_STREAM": (stream(P), lambda w: w.head(1, [(":status", "100")])),
    "8.1 a second final head": (stream(P), lambda w: [w.head(1, OK, end=False), w.head(1, OK, end=False)]),
    "8.1 a status in trailers": (stream(P), lambda w: [w.head(1, OK, end=False), w.head(1, OK)]),
    "8.3.2 no :status": (stream(P), lambda w: w.head(1, TRAILER)),
    "8.3.2 :status of two digits": (stream(P), lambda w: w.head(1, [(":status", "99")])),
    "8.3.2 :status twice": (stream(P), lambda w: w.head(1, [*OK, *OK])),
    "8.3 a request's pseudo-header field": (stream(P), lambda w: w.head(1, [*OK, (":path", "/")])),
    "8.6 101": (stream(P), lambda w: w.head(1, [(":status", "101")], end=False)),
    "8.2.2 transfer-encoding": (stream(P), lambda w: w.head(1, [*OK, ("transfer-encoding", "chunked")])),
    "8.1.1 less than its content-length": (stream(P), lambda w: w.head(1, [*OK, ("content-length", "1")])),
    "8.1.1 content of a 204": (stream(P), lambda w: [w.head(1, [(":status", "204")], end=False), data(1, b"x")]),
    "8.1.1 content of a 304": (stream(P), lambda w: [w.head(1, [(":status", "304")], end=False), data(1, b"x")]),
}


@pytest.mark.parametrize(("verdict", "case"), CLIENT_WRONG.values(), ids=CLIENT_WRONG)
def test_a_client_refuses_wrong_frames_of_a_server(verdict, case):
    w = Wire(CLIENT)
    assert w.ask() == 1
    w.said.clear()
    said = case(w)
    assert w.verdict(*([said] if isinstance(said, bytes) else said)) == verdict


def test_a_client_that_uses_no_priorities_may_write_anything_in_them():
    """RFC 9218 §2.1: with NO_RFC7540_PRIORITIES they are ignored, also a stream that depends on itself."""
    itself = number(1) + b"\x0f"
    told = settings((9, 1))
    head = Wire().head(1, flags=END_HEADERS | PRIORITIZED, before=itself)
    assert Wire().verdict(told, head, frame(PRIORITY, 0, 1, itself)) == ALIVE
    assert Wire().verdict(told, frame(PRIORITY, 0, 1, itself)) == ALIVE
    assert Wire().verdict(told, head, frame(PRIORITY, 0, 1, itself[:4])) == stream(Z)  # its length is another matter
    assert Wire().verdict(settings((9, 0)), head) == connection(P)


def test_content_of_a_response_to_head_is_malformed():
    w = Wire(CLIENT)
    w.ask([(":method", "HEAD"), *GET[1:]])
    w.said.clear()
    head = w.head(1, [*OK, ("content-length", "5")], end=False)  # that of the GET (RFC 9110 §9.3.2)
    assert w.verdict(head, data(1, b"12345", end=True)) == stream(P)


def test_an_empty_end_of_a_response_to_head_is_right():
    w = Wire(CLIENT)
    w.ask([(":method", "HEAD"), *GET[1:]])
    w.said.clear()
    assert w.verdict(w.head(1, [*OK, ("content-length", "5")], end=False), data(1, end=True)) == ALIVE


def test_after_a_304_a_content_length_means_nothing():
    w = Wire(CLIENT)
    w.ask()
    w.said.clear()
    assert w.verdict(w.head(1, [(":status", "304"), ("content-length", "5")])) == ALIVE


# ---- beginnings (§3.4) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [b"INVALID", b"GET / HTTP/1.1\r\n", PREFACE[:-1] + b"x", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\n"])
def test_a_wrong_preface_is_refused_at_its_first_wrong_byte(wrong):
    w = Wire(greeted=False)
    right = next(at for at in range(len(wrong)) if wrong[at] != PREFACE[at])
    w.feed(*(wrong[at : at + 1] for at in range(right)))
    assert w.error is None and w.core.in_frame
    assert w.verdict(wrong[right : right + 1]) == connection(P)


@pytest.mark.parametrize("role", [CLIENT, SERVER])
@pytest.mark.parametrize(
    "first",
    [ping(), frame(SETTINGS, ACK), window_update(0, 1), frame(0x16), b"HTTP/1.1 400 Bad Request"],
    ids=["PING", "ACK", "WINDOW_UPDATE", "unknown", "HTTP/1.1"],
)
def test_the_first_frame_is_settings(role, first):
    w = Wire(role, greeted=False)
    assert w.verdict(PREFACE if role is SERVER else b"", first[:9]) == connection(P)


def test_nothing_is_sent_before_the_greeting():
    core = http2_wire.Connection(SERVER)
    with pytest.raises(LocalProtocolError, match="before the greeting"):
        core.send(Ping(bytes(8)))
    core.receive_data(b"x")
    with pytest.raises(RemoteProtocolError, match="preface") as caught:
        core.next_event()
    assert core.farewell(caught.value) == []


# ---- answers, where there is more to see than a code -------------------------------------------------------------------


def test_frames_that_we_would_refuse_are_not_allowed_to_the_peer():
    """§6.5.2"""
    w = Wire()
    w.say(Settings([(5, 16_384)]))
    with pytest.raises(LocalProtocolError, match="above 16 KiB"):
        w.core.send(Settings([(5, 16_385)]))


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_settings_that_no_end_of_ours_may_send(role):
    """§6.5.2: a server MUST NOT enable push, and our client takes none; RFC 8441 §3: what was enabled stays so."""
    w = Wire(role)
    w.say(Settings([(2, 0), (8, 1)]))
    push = [(2, 1)], [(2, 2)], [(2, 0), (2, 1)]
    for values in (*push, [(8, 0)], [(8, 1), (8, 0)], [(5, 16_383)], [(5, 1 << 24)], [(4, MAX_ID + 1)]):
        before = public(w.core)
        with pytest.raises(LocalProtocolError):
            w.say(Settings(values))
        assert public(w.core) == before
    w.say(Settings([(8, 1)]))


def test_what_is_wrong_with_a_response_is_said():
    w = Wire()
    w.feed(w.head(1))
    for status in (99, 101, 600):
        with pytest.raises(LocalProtocolError, match=f"no response of HTTP/2 has status {status}"):
            w.core.send(ResponseHead(status, Headers(), "2", 1))
    w.say(ResponseHead(200, Headers(), "2", 1))
    with pytest.raises(LocalProtocolError, match="one head"):
        w.core.send(ResponseHead(200, Headers(), "2", 1))


def test_settings_are_acknowledged_and_pings_come_back():
    w = Wire()
    w.feed(settings((3, 7)), ping(b"abcdefgh"))
    assert w.said == [(SETTINGS, ACK, 0, b""), (PING, ACK, 0, b"abcdefgh")]


def test_flags_that_a_type_does_not_have_change_nothing():
    """§4.1: each frame has all the flags that have no meaning for it."""
    w = Wire()
    w.feed(ping(flags=0xFE), frame(SETTINGS, 0xFE), w.head(1, POST, end=False, flags=END_HEADERS | 0xD2))
    assert w.said == [(PING, ACK, 0, b"12345678"), (SETTINGS, ACK, 0, b"")]
    others = frame(WINDOW_UPDATE, 0xFF, 1, number(1)) + frame(RST_STREAM, 0xFF, 1, number(8))
    assert w.feed(frame(DATA, 0xF6, 1, b"x"), others) == [Data(b"x", 1), WindowUpdate(1, 1), Reset(1)]
    assert w.feed(frame(GOAWAY, 0xFF, 0, bytes(8))) == [GoAway(0)]
    begun, rest = pieces(w, POST, 2)  # END_STREAM is a flag of HEADERS, and none of CONTINUATION
    assert [type(event) for event in w.feed(frame(HEADERS, 0, 3, begun), frame(CONTINUATION, 0xFF, 3, rest))] == [RequestHead]


def test_the_settings_of_a_frame_count_in_their_order():
    """§6.5.3"""
    w = Wire()
    w.feed(w.head(), settings((4, 100), (4, 1)))
    assert w.core.sendable(1) == 1


def test_windows_follow_the_initial_size_also_below_zero():
    """§6.9.2"""
    w = Wire()
    w.feed(settings((4, 10)), w.head())
    w.say(ResponseHead(200, Headers(), "2", 1))
    w.say(Data(b"12345678", 1))
    w.feed(settings((4, 3)))  # 3 - 8 = -5
    assert w.core.sendable(1) == 0
    w.feed(window_update(1, 5))
    assert w.core.sendable(1) == 0
    w.feed(window_update(1, 1))
    assert w.core.sendable(1) == 1
    w.feed(settings((4, 9)))
    assert w.core.sendable(1) == 7


def test_no_more_is_consumed_than_was_received():
    """Law 9: or a peer would be given credit for what it has not sent. That of padding goes back without being asked for."""
    w = Wire()
    w.feed(w.head(1, POST, end=False), frame(DATA, PADDED, 1, b"\x02abc" + bytes(2)))
    for count, most in ((4, 3), (1, 0)):
        with pytest.raises(LocalProtocolError, match="more consumed than received"):
            w.say(Consumed(1, count))
        w.say(Consumed(1, most))


def test_a_refused_stream_has_changed_the_table():
    """§4.3: its fields are in the table, and later blocks refer to them."""
    w = Wire(max_streams=1)
    w.feed(w.head(1))
    refused = RequestHead("GET", "/", Headers(), "2", 3)
    faults = w.feed(w.head(3, fields(("x-long", "value"))))
    assert faults == [StreamFault(3, REFUSED_STREAM, "too many streams", refused)]
    w.feed(reset(1))
    later = w.head(5, fields(("x-long", "value")))
    assert b"value" not in later
    assert w.feed(later)[0].headers[-1] == ("x-long", "value")


def test_a_late_block_has_changed_the_table():
    """§4.3, §5.1: trailers on a stream that we have reset. Their fields are in the table, and later blocks refer to them."""
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    w.say(Reset(1))
    assert w.feed(w.head(1, [("x-long", "value")])) == []
    later = w.head(3, fields(("x-long", "value")))
    assert b"value" not in later
    assert w.feed(later)[0].headers[-1] == ("x-long", "value")


def test_what_comes_for_a_stream_that_we_have_reset_is_ignored_but_counted():
    """§5.1: any frame may be under way."""
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    w.say(Reset(1))
    w.said.clear()
    said = [data(1, b"abc"), w.head(1, TRAILER), window_update(1, 1), reset(1), frame(PRIORITY, 0, 1, DEPENDENCY)]
    assert w.verdict(*said) == ALIVE
    assert w.core._receive_window.window + w.core._receive_window.owed == w.core.limits.connection_window


@pytest.mark.parametrize("type_", [DATA, HEADERS])
def test_after_a_reset_of_the_peers_nothing_is_late(type_):
    """§5.1: both have reset the stream, so what comes now was sent after the peer's own reset."""
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    w.say(Reset(1, NO_ERROR))
    assert w.verdict(reset(1), data(1, b"x") if type_ == DATA else w.head(1, TRAILER)) == connection(S)


@pytest.mark.parametrize("ended", [False, True])
def test_an_increment_of_0_is_wrong_on_a_closed_stream_too(ended):
    """§6.9: as on an open one, so that the verdict does not depend on how fast the stream was answered."""
    w = Wire()
    w.feed(w.head(1, POST, end=ended))
    w.say(Reset(1, NO_ERROR))
    w.said.clear()
    assert w.verdict(window_update(1, 0)) == stream(P)


def test_what_comes_for_a_stream_that_was_complete_is_wrong_though_we_reset_it():
    w = Wire()
    w.feed(w.head(1))
    w.say(Reset(1))
    assert w.verdict(data(1, b"abc")) == connection(S)


def test_what_comes_behind_a_malformed_head_is_ignored():
    """§5.1: the client has sent it before it read our reset; its credit comes back."""
    w = Wire()
    events = w.feed(w.head(1, [*POST, ("X", "y")], end=False), data(1, b"abc"), w.head(1, TRAILER))
    assert [type(event) for event in events] == [StreamFault, Discarded] and w.error is None


def test_after_our_goaway_higher_streams_are_ignored():
    """§6.8: their fields are decoded, their DATA counts, and nothing on them is wrong."""
    w = Wire()
    w.feed(w.head(1))
    w.say(GoAway(1))
    w.said.clear()
    assert w.feed(w.head(3, [*POST, ("x-long", "value")], end=False), data(3, b"abc"), window_update(3, 1), reset(3)) == [
        Discarded(3, 3)
    ]
    assert w.core.last_stream == 1 and w.state() == ALIVE
    assert w.feed(w.head(5, fields(("x-long", "value")))) == []
    assert w.verdict(w.head(2)) == connection(P)


def test_a_client_after_its_goaway_is_as_strict_as_before():
    w = Wire(CLIENT)
    w.ask()
    w.say(GoAway(0))
    w.said.clear()
    assert w.verdict(data(99, b"x")) == connection(P)


def test_a_goaway_ends_the_requests_that_were_not_looked_at():
    """§6.8, §8.7: they can be made again elsewhere; the others go on."""
    w = Wire(CLIENT)
    w.ask(), w.ask(), w.ask()
    events = w.feed(frame(GOAWAY, 0, 0, number(1) + number(0)))
    assert events == [GoAway(1), Reset(3, REFUSED_STREAM), Reset(5, REFUSED_STREAM)]
    assert w.core.active == 1
    assert w.feed(w.head(1, OK)) == [ResponseHead(200, Headers(), "2", 1), EndOfMessage(Headers(), 1)]


def test_no_frame_may_follow_on_a_stream_that_a_goaway_has_refused():
    """§6.8: the server has said that it looks at no such stream, so its frame is wrong, and not late."""
    w = Wire(CLIENT)
    w.ask()
    assert w.verdict(frame(GOAWAY, 0, 0, bytes(8)), w.head(1, OK)) == connection(STREAM_CLOSED)


def test_farewell_names_the_last_stream_that_was_looked_at():
    w = Wire()
    w.feed(w.head(7), ping()[:8] + b"\x01" + bytes(8))
    assert [payload[:8] for type_, _, _, payload in w.said if type_ == GOAWAY] == [number(7) + number(P)]


@pytest.mark.parametrize(
    ("status", "fields_"), [(99, []), (600, []), (200, [("content-length", "x")]), (200, [("content-length", "1, 2")])]
)
def test_a_head_that_no_client_would_take_is_not_sent(status, fields_):
    w = Wire()
    w.feed(w.head())
    with pytest.raises(LocalProtocolError):
        w.say(ResponseHead(status, Headers(fields_), "2", 1))
    w.say(ResponseHead(200, Headers(), "2", 1))


def test_a_long_block_takes_frames_without_flags_and_ends_with_one():
    """§4.1: flags that have no meaning for a type MUST be left unset."""
    w = Wire()
    w.feed(w.head())
    w.say(ResponseHead(200, Headers([(f"x-{n}", "\x7e" * 9_000) for n in range(4)]), "2", 1))
    first, *others, last = [(type_, flags) for type_, flags, _, _ in w.said]
    assert (first, last, set(others)) == ((HEADERS, 0), (CONTINUATION, END_HEADERS), {(CONTINUATION, 0)})


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_content_has_a_stream(role):
    """§6.1, §6.2: an event without a number means stream 0, the connection itself."""
    w = Wire(role)
    if role is SERVER:
        w.feed(w.head(1, POST, end=False))
        w.say(ResponseHead(200, Headers(), "2", 1))
    else:
        w.ask(POST)
    w.said.clear()
    head = RequestHead("GET", "/", Headers([("host", "a")]), "2") if role is CLIENT else ResponseHead(200, Headers(), "2")
    for event in (head, Data(b"x"), EndOfMessage()):
        with pytest.raises(LocalProtocolError):
            w.say(event)
    w.say(Data(b"x", 1))
    assert w.said == [(DATA, 0, 1, b"x")]


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_only_an_open_stream_is_reset(role):
    """§6.4: not the connection, and no stream that is idle or over."""
    w = Wire(role)
    for stream_ in (0, 1, 2, 3):
        with pytest.raises(LocalProtocolError, match="is closed, or was never open"):
            w.say(Reset(stream_))
    w.feed(w.head(1, POST, end=False)) if role is SERVER else w.ask(POST)
    w.say(Reset(1))
    assert w.said[-1] == (RST_STREAM, 0, 1, number(8))
    with pytest.raises(LocalProtocolError, match="is closed"):
        w.say(Reset(1))


@pytest.mark.parametrize("ended", [False, True])
def test_after_the_peers_reset_nothing_is_sent(ended):
    """§6.4: the peer has forgotten the stream, and would take more for a fault."""
    w = Wire()
    w.feed(w.head(1, POST, end=ended), reset(1))
    for event in (ResponseHead(200, Headers(), "2", 1), Data(b"x", 1), EndOfMessage(stream=1), Reset(1)):
        with pytest.raises(LocalProtocolError):
            w.say(event)
    w.say(Consumed(1, 1))
    assert not w.said and not w.core.offer(1)


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_the_connections_own_frames_have_no_stream(role):
    """§6.5, §6.7, §6.8, §6.9"""
    w = Wire(role)
    w.say(Settings([(4, 1_000)]))
    w.say(Ping(bytes(8)))
    w.feed(settings(), ping())
    w.say(WindowUpdate(0, 1))
    w.say(GoAway(0))
    assert [(type_, flags, stream_) for type_, flags, stream_, _ in w.said] == [
        (SETTINGS, 0, 0), (PING, 0, 0), (SETTINGS, ACK, 0), (PING, ACK, 0), (WINDOW_UPDATE, 0, 0), (GOAWAY, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_no_event_is_sent_as_a_push(role):
    """§6.5.2, §6.6, §8.4.1: neither end pushes, whatever the other has enabled."""
    w = Wire(role)
    w.feed(settings((2, 1)) if role is SERVER else settings())
    if role is SERVER:
        w.feed(w.head(1, POST, end=False), data(1, b"x", end=True))
        w.say(ResponseHead(103, Headers(), "2", 1))
        w.say(ResponseHead(200, Headers(), "2", 1))
    else:
        w.ask(POST)
    w.say(Data(b"x", 1))
    w.say(EndOfMessage(Headers(TRAILER), 1))
    w.feed(ping(), w.head(3, POST, end=False) if role is SERVER else b"")
    w.ask(POST) if role is CLIENT else None
    for event in (Reset(3), Ping(bytes(8)), Settings([]), GoAway(0)):
        w.say(event)
    assert {frame_.type for frame_ in w.said} - {WINDOW_UPDATE} == {DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY}


def test_a_greeting_disables_push():
    """§6.5.2: our client's does. A server has nothing to say about it."""
    assert (2, 0) in http2_wire.Connection(CLIENT).greeting().values
    assert 2 not in dict(http2_wire.Connection(SERVER).greeting().values)


def test_a_limit_of_0_streams_is_a_limit_like_any_other():
    """§6.5.2"""
    w = Wire(CLIENT)
    w.ask()
    w.feed(settings((3, 0)))
    assert w.core.max_active == 0 and w.state() == ALIVE
    with pytest.raises(LocalProtocolError, match="no more streams at once"):
        w.ask()
    w.feed(settings((3, 2)))
    assert w.ask() == 3


def test_a_server_allows_one_stream_at_least():
    """§6.5.2: a limit of 0 SHOULD last a short time only, and ours would last."""
    with pytest.raises(ValueError, match="max_streams"):
        Limits(max_streams=0)
    assert (3, 1) in http2_wire.Connection(SERVER, Limits(max_streams=1)).greeting().values


def test_a_ping_has_eight_bytes():
    """§6.7"""
    w = Wire()
    for content in (b"", b"1234567", b"123456789"):
        with pytest.raises(LocalProtocolError, match="eight bytes"):
            w.say(Ping(content))
    w.say(Ping(b"12345678"))
    assert w.said == [(PING, 0, 0, b"12345678")]


def test_other_frames_need_no_credit():
    """§6.9: a window that is full stops DATA alone."""
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    w.core._receive_window.window = 0
    assert w.verdict(ping(), settings((3, 1)), window_update(1, 1), w.head(3, POST, end=False), data(1), reset(3)) == ALIVE
    assert w.verdict(data(1, b"x")[:9]) == connection(F)


def test_content_needs_credit_on_both_levels():
    """§6.9.1: to the byte."""
    w = Wire()
    w.feed(settings((4, 100_000)), w.head(1))
    w.say(ResponseHead(200, Headers(), "2", 1))
    for size in (16_384,) * 3 + (16_382,):
        w.say(Data(bytes(size), 1))
    with pytest.raises(LocalProtocolError, match="more content than the windows allow"):
        w.say(Data(b"xy", 1))
    w.say(Data(b"x", 1))
    w = Wire()
    w.feed(settings((4, 5)), w.head(1))
    w.say(ResponseHead(200, Headers(), "2", 1))
    with pytest.raises(LocalProtocolError, match="more content than the windows allow"):
        w.say(Data(b"123456", 1))
    w.say(Data(b"12345", 1))


def test_settings_do_not_change_the_connections_window():
    """§6.9.2: only a WINDOW_UPDATE does."""
    w = Wire()
    w.feed(w.head(1), settings((4, 1_000_000)))
    assert w.core.sendable(1) == 65_535
    w.feed(settings((4, 0)), settings((4, 1_000_000)), window_update(0, 1))
    assert w.core.sendable(1) == 65_536


def test_a_stream_without_credit_has_no_turn():
    """§6.9.2"""
    w = Wire()
    w.feed(settings((4, 0)), w.head(1))
    w.say(ResponseHead(200, Headers(), "2", 1))
    assert w.core.offer(1) and not w.core.is_ready and w.core.next_ready() is None
    w.feed(window_update(1, 7))
    assert w.core.next_ready() == (1, 7)


def test_a_smaller_window_counts_from_its_acknowledgement():
    """§6.9.3: the peer has sent what fits into the old one before it knew."""
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    w.say(Settings([(4, 10)]))
    w.said.clear()
    assert w.verdict(data(1, bytes(100))) == ALIVE
    assert w.verdict(frame(SETTINGS, ACK), data(1, b"x")) == stream(F)


@pytest.mark.parametrize("next_", [ping(), frame(0x16), frame(CONTINUATION, END_HEADERS, 3), data(1, b"x")])
def test_a_continuation_is_followed_by_another(next_):
    """§6.10: if it does not end the block."""
    w = Wire()
    one, _ = continued(w)
    assert w.verdict(one, frame(CONTINUATION, 0, 1), next_[:9]) == connection(P)


@pytest.mark.parametrize("sizes", [[16_384], [16_384, 1], [16_384, 16_384], [16_384, 16_384, 1]])
def test_a_block_is_cut_into_frames_of_the_largest_size(sizes):
    """§4.2, §6.10: a block that fills its last frame needs no empty frame behind it."""
    frames = http2_wire.split(encode_headers(1, bytes(sum(sizes)), end_stream=True))
    assert [len(each.payload) for each in frames] == sizes
    assert [bool(each.flags & END_HEADERS) for each in frames] == [False] * (len(sizes) - 1) + [True]


def test_a_long_block_goes_out_on_its_stream():
    """§6.10: each of its frames."""
    w = Wire()
    w.feed(w.head(7))
    w.say(ResponseHead(200, Headers([(f"x-{n}", "\x7e" * 9_000) for n in range(4)]), "2", 7))
    assert len(w.said) > 2 and {stream_ for _, _, stream_, _ in w.said} == {7}


@pytest.mark.parametrize("type_", range(10))
def test_a_header_shows_whether_its_stream_is_right(type_):
    """§6: most types are of a stream, three of the connection, WINDOW_UPDATE of either."""
    length = {PRIORITY: 5, RST_STREAM: 4, PING: 8, GOAWAY: 8, WINDOW_UPDATE: 4}.get(type_, 0)
    right = {SETTINGS: [0], PING: [0], GOAWAY: [0], WINDOW_UPDATE: [0, 1], PUSH_PROMISE: []}.get(type_, [1])
    for stream_ in (0, 1):
        if stream_ in right:
            check_header(Header(length, type_, 0, stream_))
        else:
            with pytest.raises(RemoteProtocolError) as caught:
                check_header(Header(length, type_, 0, stream_))
            assert caught.value.code == P


def test_a_code_that_is_unknown_has_a_name_of_its_own():
    """§7: and means nothing else."""
    assert [code_name(code) for code in (0, 13, 14, 99)] == ["NO_ERROR", "HTTP_1_1_REQUIRED", "code 14", "code 99"]
    w = Wire()
    assert w.feed(w.head(1, POST, end=False), reset(1, 99))[-1] == Reset(1, 99)


def test_a_ping_of_ours_has_no_flag():
    w = Wire()
    w.say(Ping(b"12345678"))
    assert w.said == [(PING, 0, 0, b"12345678")]
    assert w.feed(ping(flags=ACK)) == [Ping(b"12345678", ack=True)] and len(w.said) == 1  # its answer needs no answer


def test_nobody_has_a_turn_while_the_connection_has_no_window():
    w = Wire()
    w.feed(settings((4, 100_000)), w.head())
    w.say(ResponseHead(200, Headers(), "2", 1))
    w.core.offer(1)
    assert w.core.is_ready
    for size in (16_384,) * 3 + (16_383,):
        w.say(Data(bytes(size), 1))
    assert (w.core.is_ready, w.core.next_ready()) == (False, None)
    w.feed(window_update(0, 1))
    assert (w.core.is_ready, w.core.next_ready()) == (True, (1, 1))


@pytest.mark.parametrize("status", [100, 103])
def test_interim_responses_come_before_the_final_one(status):
    w = Wire(CLIENT)
    w.ask()
    events = w.feed(w.head(1, [(":status", str(status))], end=False), w.head(1, OK))
    assert [event.status for event in events[:2]] == [status, 200]


def test_a_response_comes_before_the_reset_behind_it():
    """§8.1: NO_ERROR only declines the rest of the upload; the response is whole."""
    w = Wire(CLIENT)
    w.ask(POST)
    events = w.feed(w.head(1, OK, end=False) + data(1, b"x", end=True) + reset(1, NO_ERROR))
    assert events == [ResponseHead(200, Headers(), "2", 1), Data(b"x", 1), EndOfMessage(Headers(), 1), Reset(1, NO_ERROR)]


BAD_FIELDS = [
    ("X", "y"), ("x y", "z"), ("x:y", "z"), ("x", "a\nb"), ("x", " y"), ("connection", "x"), (":status", "200"), (":x", "y"),
]  # fmt: skip


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_trailers_are_checked_as_heads_are(field):
    """§8.2.1, §8.2.2, §8.3"""
    w = Wire()
    assert w.verdict(w.head(1, POST, end=False), w.head(1, [("good", "x"), field])) == stream(P)


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_trailers_that_no_peer_would_take_are_not_sent(field):
    """§8.1: no pseudo-header field among them, and none that a head could not have."""
    w = Wire(CLIENT)
    w.ask(POST)
    w.said.clear()
    for trailers in ([field], [("good", "x"), field]):
        with pytest.raises(LocalProtocolError):
            w.say(EndOfMessage(Headers(trailers), 1))
    assert not w.said


def sendings(field):
    """A request and a response that have a field, and a core that would send each."""
    client, server = Wire(CLIENT), Wire()
    server.feed(server.head(1))
    yield client, RequestHead("GET", "/", Headers([("host", "a"), field]), "2", 1)
    yield server, ResponseHead(103, Headers([field]), "2", 1)
    yield server, ResponseHead(200, Headers([field]), "2", 1)


def test_field_names_are_sent_in_lower_case():
    """§8.2: the core refuses others, and the shell converts them."""
    for w, head in sendings(("X-Test", "ok")):
        with pytest.raises(LocalProtocolError, match="they are in lower case"):
            w.say(head)
    for w, head in sendings(("x-test", "ok")):
        w.say(head)


@pytest.mark.parametrize("name", ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te"])
def test_fields_about_a_connection_are_not_sent(name):
    """§8.2.2, RFC 8441 §5"""
    for w, head in sendings((name, "x")):
        with pytest.raises(LocalProtocolError, match="connection-specific field"):
            w.say(head)


@pytest.mark.parametrize(
    "field", [(":path", "/x"), (":method", "GET"), (":status", "200"), (":authority", "b"), (":x", "y"), (":version", "2")]
)
def test_an_app_adds_no_pseudo_header_field(field):
    """§8.3: neither an unknown one, nor one of the other kind of message, nor one for the second time."""
    for w, head in sendings(field):
        with pytest.raises(LocalProtocolError):
            w.say(head)


def test_characters_of_names_and_values():
    """§8.2.1, RFC 9110 §5.1 and §5.5: each of the 256 octets, in the middle of a name and of a value."""
    token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
    for code in range(256):
        octet = chr(code)
        assert is_field((f"x{octet}y", "z")) is (octet in token), code
        assert is_field(("x", f"a{octet}b")) is (code in (9, *range(32, 127), *range(128, 256))), code


def test_pseudo_header_fields_are_sent_first():
    """§8.3, §8.3.1, RFC 8441 §4: and the Host as :authority."""
    w = Wire(CLIENT)
    w.feed(settings((8, 1)))
    w.said.clear()
    headers = Headers([("x", "y"), ("host", "a"), ("origin", "http://a")])
    w.say(RequestHead("GET", "/", headers, "2", 1))
    w.say(RequestHead("CONNECT", "/chat", headers, "2", 3, "websocket"))
    rest = [(":authority", "a"), ("x", "y"), ("origin", "http://a")]
    assert w.fields(w.said[0]) == [(":method", "GET"), (":scheme", "https"), (":path", "/"), *rest]
    assert w.fields(w.said[1]) == [
        (":method", "CONNECT"), (":scheme", "https"), (":path", "/chat"), (":authority", "a"), (":protocol", "websocket"),
        *rest[1:],
    ]  # fmt: skip


def test_what_a_client_sends_to_open_a_tunnel():
    """§8.5: neither scheme nor path."""
    w = Wire(CLIENT)
    w.say(RequestHead("CONNECT", "a:80", Headers([("host", "a:80")]), "2", 1))
    assert w.fields(w.said[-1]) == CONNECT


def test_two_hosts_are_not_sent():
    """§8.3.1"""
    w = Wire(CLIENT)
    for second in ("a", "b"):
        with pytest.raises(LocalProtocolError, match="authority"):
            w.say(RequestHead("GET", "/", Headers([("host", "a"), ("host", second)]), "2", 1))


@pytest.mark.parametrize("fields_", [[], [("host", "")], [("host", "me@a")], [("host", "a b")]])
def test_a_request_without_a_host_is_not_sent(fields_):
    """§8.3.1: an empty :authority is not sent, nor one with a user's name."""
    w = Wire(CLIENT)
    for method, target in (("GET", "/"), ("OPTIONS", "*")):
        with pytest.raises(LocalProtocolError, match="authority"):
            w.say(RequestHead(method, target, Headers(fields_), "2", 1))


@pytest.mark.parametrize("target", ["", "?q=1", "a", "/a b", "*", "http://a/"])
def test_a_target_that_no_server_would_take_is_not_sent(target):
    """§8.3.1: the path of http://a is /, and the path of http://a?q=1 is /?q=1."""
    w = Wire(CLIENT)
    with pytest.raises(LocalProtocolError, match=":path"):
        w.say(RequestHead("GET", target, Headers([("host", "a")]), "2", 1))


def test_an_asterisk_is_for_options_alone():
    """§8.3.1"""
    w = Wire()
    assert w.feed(w.head(1, [(":method", "OPTIONS"), GET[1], (":path", "*"), GET[3]]))[0].target == "*"
    w = Wire(CLIENT)
    w.say(RequestHead("OPTIONS", "*", Headers([("host", "a")]), "2", 1))
    assert (":path", "*") in w.fields(w.said[-1])


def test_an_extended_connect_needs_the_servers_setting():
    """RFC 8441 §3"""
    w = Wire(CLIENT)
    head = RequestHead("CONNECT", "/", Headers([("host", "a")]), "2", 1, "websocket")
    for values in ([], [(8, 0)]):
        w.feed(settings(*values))
        with pytest.raises(LocalProtocolError, match="no extended CONNECT"):
            w.say(head)
    w.feed(settings((8, 1)))
    w.say(head)
    assert (8, 1) in http2_wire.Connection(SERVER).greeting().values


@pytest.mark.parametrize("protocol", ["", "web socket", "a, b"])
def test_a_protocol_is_one_token(protocol):
    """RFC 8441 §4"""
    w = Wire()
    assert w.verdict(w.head(1, [(":method", "CONNECT"), (":protocol", protocol), *GET[1:]])) == stream(P)


def test_connect_makes_a_tunnel_whose_content_length_means_nothing():
    """§8.5, RFC 9110 §9.3.6"""
    w = Wire()
    for stream, length in ((1, "1"), (3, "abc")):
        connect = [(":method", "CONNECT"), (":authority", "a:80"), ("content-length", length)]
        head, piece = w.feed(w.head(stream, connect, end=False), data(stream, b"12345"))
        assert (head.target, head.headers, piece) == ("a:80", [("host", "a:80")], Data(b"12345", stream))
    w.say(ResponseHead(200, Headers(), "2", 1))
    w.say(Data(b"67890", 1))
    assert w.said[-1] == (DATA, 0, 1, b"67890")


CONNECT = [(":method", "CONNECT"), (":authority", "a:80")]


@pytest.mark.parametrize(("status", "verdict"), [(200, stream(P)), (299, stream(P)), (403, ALIVE)])
@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_a_tunnel_takes_no_headers(role, status, verdict):
    """§8.5: of either end, once a 2xx has answered the CONNECT. A refused CONNECT is an ordinary message."""
    w = Wire(role)
    if role is SERVER:
        w.feed(w.head(1, CONNECT, end=False))
        w.say(ResponseHead(status, Headers(), "2", 1))
    else:
        w.say(RequestHead("CONNECT", "a:80", Headers([("host", "a:80")]), "2", 1))
        w.feed(w.head(1, [(":status", str(status))], end=False))
    w.feed(data(1, b"x"))
    w.said.clear()
    assert w.verdict(w.head(1, TRAILER)) == verdict


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_we_send_no_headers_into_a_tunnel(role):
    """§8.5, and RFC 9110 §8.6: the head that begins it has no Content-Length."""
    w = Wire(role)
    if role is SERVER:
        w.feed(w.head(1, CONNECT, end=False))
        with pytest.raises(LocalProtocolError, match="a 2xx to CONNECT have no length"):
            w.say(ResponseHead(200, Headers([("content-length", "1")]), "2", 1))
        w.say(ResponseHead(200, Headers(), "2", 1))
    else:
        w.say(RequestHead("CONNECT", "a:80", Headers([("host", "a:80")]), "2", 1))
        w.feed(w.head(1, OK, end=False))
    with pytest.raises(LocalProtocolError, match="a tunnel has no trailers"):
        w.say(EndOfMessage(Headers(TRAILER), 1))
    w.say(EndOfMessage(Headers(), 1))
    assert w.said[-1] == (DATA, END_STREAM, 1, b"")


@pytest.mark.parametrize("length", [[], [("content-length", "0")]])
def test_a_205_ends_with_its_head(length):
    """RFC 9110 §15.3.6: MUST NOT have content."""
    w = Wire()
    w.feed(w.head(1, GET))
    with pytest.raises(LocalProtocolError, match="a 205 has no content"):
        w.say(ResponseHead(205, Headers([("content-length", "1")]), "2", 1))
    w.say(ResponseHead(205, Headers(length), "2", 1))
    with pytest.raises(LocalProtocolError):
        w.say(Data(b"x", 1))
    assert w.said[-1][:3] == (HEADERS, END_STREAM | END_HEADERS, 1)


@pytest.mark.parametrize("status", [200, 299, 300])
def test_a_client_takes_content_behind_each_2xx_to_connect_as_the_tunnels(status):
    w = Wire(CLIENT)
    w.say(RequestHead("CONNECT", "a:80", Headers([("host", "a:80")]), "2", 1))
    head, piece = w.feed(w.head(1, [(":status", str(status)), ("content-length", "3")], end=False), data(1, b"12345"))[:2]
    assert head.status == status and isinstance(piece, Data if status < 300 else StreamFault)


def test_extended_connect_is_a_request_with_a_protocol():
    """RFC 8441 §4"""
    w = Wire()
    fields_ = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]]
    assert w.feed(w.head(1, fields_, end=False)) == [
        RequestHead("CONNECT", "/", Headers([("host", "a")]), "2", 1, "websocket")
    ]


@pytest.mark.parametrize(
    ("scheme", "authority", "host"),
    [("http", "a:80", "a"), ("http", "A", "a:80"), ("https", "a:443", "a"), ("http", "[::1]", "[0::1]:80")],
)
def test_host_and_authority_may_be_spelled_differently(scheme, authority, host):
    """RFC 9110 §4.2.3: the default port is as good as none."""
    w = Wire()
    fields = [(":method", "GET"), (":scheme", scheme), (":path", "/"), (":authority", authority), ("host", host)]
    assert w.feed(w.head(1, fields))[0].headers == [("host", authority)]


def test_host_stands_for_a_missing_authority():
    """§8.3.1"""
    w = Wire()
    assert w.feed(w.head(1, [*without(":authority"), ("x", "y"), ("host", "b")]))[0].headers == [("host", "b"), ("x", "y")]


@pytest.mark.parametrize("block", [b"\x00\xff\xff\xff\xff\xff", b"\x00\x85" + b"\xff" * 5, b"\xff" * 30, b"\x80"])
def test_what_is_said_of_a_broken_block_is_ours(block):
    """The texts of hpack have addresses of our memory."""
    w = Wire()
    w.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    assert w.said[-1].payload[8:] == b"a field block that can't be decoded"


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_an_end_before_the_first_settings_is_not_the_end_of_a_message(role):
    core = http2_wire.Connection(role)
    core.send(core.greeting())
    core.receive_data(PREFACE[:10] if role is SERVER else b"")
    core.receive_eof()
    with pytest.raises(RemoteProtocolError, match="not HTTP/2: it was closed before the first SETTINGS"):
        core.next_event()


def test_a_malformed_request_never_reaches_the_app():
    w = Wire()
    assert [type(event) for event in w.feed(w.head(1, [*POST, ("content-length", "5")]))] == [StreamFault]


def test_a_table_that_became_smaller_has_to_be_acknowledged_in_the_next_block():
    """§4.3.1, RFC 7541 §4.2"""
    w = Wire()
    w.feed(w.head(1, fields(("x", "y"))))
    w.say(Settings([(1, 0)]))
    w.feed(frame(SETTINGS, ACK))
    w.said.clear()
    assert w.verdict(w.head(3)) == connection(COMPRESSION_ERROR)


@pytest.mark.parametrize(
    ("begin", "verdict"),
    [(b"", connection(COMPRESSION_ERROR)), (b"\x20\x3f\xe1\x1f", ALIVE), (b"\x20", ALIVE), (b"\x3e", ALIVE),
     (b"\x3f\x00", connection(COMPRESSION_ERROR)), (b"\x3f\xe1\x1f", connection(COMPRESSION_ERROR))],
    ids=["none", "0 and 4096", "0", "30", "31", "4096"],
)  # fmt: skip
def test_a_table_that_was_smaller_for_a_while_has_to_be_acknowledged_too(begin, verdict):
    """§4.3.1, RFC 7541 §4.2: the block has to begin with the smallest size, 30 here, although 4,096 bytes hold again."""
    w = Wire()
    w.feed(w.head(1, fields(("x", "y"))))
    w.say(Settings([(1, 30)]))
    w.say(Settings([(1, 4_096)]))
    w.feed(frame(SETTINGS, ACK), frame(SETTINGS, ACK))
    w.said.clear()
    w.encoder = hpack.Encoder()  # which refers to no entry of the block before
    assert w.verdict(w.head(3, before=begin)) == verdict
    if verdict == ALIVE:  # and then no more
        w.encoder = hpack.Encoder()
        assert w.verdict(w.head(5)) == ALIVE


def test_a_table_of_no_size_is_kept_to():
    w = Wire()
    w.say(Settings([(1, 0)]))
    w.said.clear()
    w.feed(w.head(1))  # before its acknowledgement
    w.encoder.header_table_size = 0
    assert w.verdict(frame(SETTINGS, ACK), w.head(3)) == ALIVE


@pytest.mark.parametrize(
    ("sizes", "updates"), [((100, 50, 0, 3_000), b"\x20\x3f\x99\x17"), ((0, 4_096), b"\x20\x3f\xe1\x1f"), ((50,), b"\x3f\x13")]
)
def test_our_own_table_tells_the_smallest_and_the_last_of_its_sizes(sizes, updates):
    """RFC 7541 §4.2; however often the peer changed its mind, and never more than we want ourselves."""
    w = Wire()
    for size in sizes:
        w.feed(settings((1, size)))
    w.feed(w.head(1))
    w.say(ResponseHead(204, Headers(), "2", 1))
    assert w.said[-1].payload == updates + b"\x89"


def test_a_table_that_the_peer_would_let_be_larger_stays_as_it_is():
    w = Wire()
    w.feed(settings((1, 1 << 20)), w.head(1))
    w.say(ResponseHead(204, Headers(), "2", 1))
    assert w.said[-1].payload == b"\x89"


def test_authorization_is_never_put_into_a_table():
    """RFC 7541 §7.1.3"""
    w = Wire(CLIENT)
    w.ask([*GET, ("authorization", "secret")])
    assert b"\x1f\x08" in w.said[-1].payload  # never indexed, with the name of the static table's entry 23


def test_cookies_are_joined_in_the_place_of_the_first():
    """§8.2.3"""
    w = Wire()
    head, _ = w.feed(w.head(1, fields(("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"))))
    assert head.headers == [("host", "a"), ("cookie", "a=1; b=2"), ("x", "y")]


def test_a_request_larger_than_the_servers_limit_is_not_sent():
    """§6.5.2: each field counts 32 bytes more. The server would end the connection, and again each time that it is made."""
    w = Wire(CLIENT)
    size = 7 + 3 + 7 + 5 + 5 + 1 + 10 + 1 + 4 * 32  # :method GET, :scheme https, :path /, :authority a
    w.feed(settings((6, size - 1)))
    w.said.clear()
    before = public(w.core), laws.snapshot(w.core._coder._encoder)
    with pytest.raises(LocalProtocolError, match=f"have {size} bytes.*takes {size - 1} .SETTINGS_MAX_HEADER_LIST_SIZE"):
        w.ask()
    assert (public(w.core), laws.snapshot(w.core._coder._encoder)) == before and not w.said
    w.feed(settings((6, size)))
    assert w.ask() == 1 and w.said[-1].type == HEADERS


@pytest.mark.parametrize(("method", "target", "status"), [("GET", "/" * 90, 414), ("G" * 90, "/", 501)])
def test_a_start_line_that_is_too_long_has_the_status_of_http1(method, target, status):
    """RFC 9112 §3: it is the method that is not known here, or the target that is too long."""
    w = Wire(max_start_line=80)
    fault, end = w.feed(w.head(1, [(":method", method), GET[1], (":path", target), GET[3]]))
    assert (fault.status, fault.head.method, end) == (status, method, EndOfMessage(Headers(), 1))
    w.say(ResponseHead(fault.status, Headers(), "2", 1))


@pytest.mark.parametrize("role", [SERVER, CLIENT])
@pytest.mark.parametrize("part", [b"", ping()[:5], ping()[:9], frame(HEADERS, 0, 1, b"\x82")])
def test_an_end_in_a_frame_or_in_a_field_block_is_one_in_the_middle(role, part):
    w = Wire(role)
    w.feed(part)
    w.core.receive_eof()
    if not part:
        assert w.core.next_event() is None and w.core.wants is Wants.CLOSED
        return
    with pytest.raises(RemoteProtocolError, match="in the middle of a message"):
        w.core.next_event()


@pytest.mark.parametrize(("name", "most"), [("max_head", 14 + 37 + 36), ("max_headers", 2)])
def test_a_limit_is_worth_what_it_says(name, most):
    """``GET / HTTP/1.1`` counts, host: a has 4 + 1 + 32 bytes, and x-y: z has 3 + 1 + 32."""
    for limit, kind in ((most - 1, StreamFault), (most, RequestHead)):
        w = Wire(**{name: limit})
        assert type(w.feed(w.head(1, fields(("x-y", "z"))))[0]) is kind


def test_what_is_repeated_is_named():
    w = Wire()
    assert "':method' is unknown, misplaced or repeated" in w.feed(w.head(1, [*GET, (":method", "GET")]))[0].reason


def test_a_tunnel_goes_to_its_authority():
    """§8.5: CONNECT has no other place for its target."""
    w = Wire(CLIENT)
    with pytest.raises(LocalProtocolError, match="the target of CONNECT is its authority"):
        w.say(RequestHead("CONNECT", "b:80", Headers([("host", "a:80")]), "2", 1))


def test_data_beyond_the_connections_window_is_refused_at_its_header():
    """§6.9.1; bytes of a field block that is not complete are held, and count as such."""
    w = Wire(connection_window=10)
    w.core._receive_window.window = 10
    w.feed(w.head(1, POST, end=False))
    assert w.verdict(data(1, b"12345678901")[:9]) == connection(F)
    w = Wire()
    w.feed(frame(HEADERS, 0, 1, b"\x82\x87"), frame(CONTINUATION, 0, 1, b"\x84")[:9])
    assert w.core.buffered == 2


def test_the_last_stream_of_our_goaway_does_not_grow():
    """§6.8"""
    w = Wire()
    w.say(GoAway(3))
    with pytest.raises(LocalProtocolError, match="can't grow"):
        w.say(GoAway(5))
    w.say(GoAway(3))


def test_a_client_opens_no_stream_that_the_server_does_not_want():
    """§5.1.1, §5.1.2, §6.8"""
    w = Wire(CLIENT)
    w.feed(settings((3, 1)))
    w.ask()
    with pytest.raises(LocalProtocolError, match="no more streams at once"):
        w.ask()
    w.say(Reset(1))
    w.core._streams.next_id = MAX_ID + 2
    with pytest.raises(LocalProtocolError, match="on the next stream"):
        w.ask()
    w.core._streams.next_id = 3
    w.feed(frame(GOAWAY, 0, 0, number(9) + number(0)))
    with pytest.raises(LocalProtocolError, match="no more requests"):
        w.ask()


def test_before_the_servers_settings_a_client_opens_a_hundred_streams():
    """§6.5.2: fewer would be no sensible limit."""
    w = Wire(CLIENT, greeted=False)
    assert w.core.max_active == 100
    w.feed(settings())
    assert w.core.max_active == MAX_ID


def test_trailers_larger_than_the_servers_limit_are_not_sent():
    w = Wire(CLIENT)
    w.ask(POST)
    w.feed(settings((6, 33)))
    for trailers, right in ((Headers([("x", "y")]), False), (Headers([("x", "")]), True)):
        if right:
            w.say(EndOfMessage(trailers, 1))
        else:
            with pytest.raises(LocalProtocolError, match="have 34 bytes"):
                w.say(EndOfMessage(trailers, 1))


def test_a_server_may_send_more_than_the_clients_limit():
    """§10.5.1: the limit is advice; a client that cannot take the answer resets one stream."""
    w = Wire()
    w.feed(settings((6, 1)), w.head())
    w.say(ResponseHead(200, Headers([("x", "y")]), "2", 1))

# ---- budgets (§10.5): what spends them, and what gives back --------------------------------------------------------------


def idle_budget(wire, *pieces):
    """How the budget for idle frames changes by what the peer says."""
    before = wire.core._idle_frames.left
    wire.feed(*pieces)
    return wire.core._idle_frames.left - before


def spent(**limits):
    """A server that has spent ten units of its budget on pings."""
    w = Wire(**limits)
    assert idle_budget(w, *[ping()] * 10) == -10
    return w


@pytest.mark.parametrize(
    ("pieces", "change"),
    [
        (lambda w: [w.head(3)], 1),
        (lambda w: [data(1, b"x")], 2),
        (lambda w: [data(1)], -1),
        (lambda w: [frame(DATA, PADDED, 1, b"\0")], -1),
        (lambda w: [settings()], -1),
        (lambda w: [frame(0xEE)], -1),
    ],
)
def test_what_a_frame_costs_its_sender(pieces, change):
    w = spent()
    w.feed(w.head(1, POST, end=False))
    assert idle_budget(w, *pieces(w)) == change


def test_a_stream_above_our_goaway_is_no_flood():
    w = spent()
    w.say(GoAway(0, NO_ERROR))
    assert idle_budget(w, w.head(1)) == 4


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_stream_too_many_is_a_fault_only_of_one_who_knows_the_maximum(acknowledged):
    """§5.1.2, §6.5.3."""
    w = Wire(max_streams=1, greeted=False)
    w.feed(PREFACE + settings() + (frame(SETTINGS, ACK) if acknowledged else b""), *[ping()] * 10)
    w.feed(w.head(1, POST, end=False))
    resets, idle = w.core._resets.left, w.core._idle_frames.left
    w.feed(w.head(3))
    assert (w.core._resets.left - resets, w.core._idle_frames.left - idle) == ((-1, 0) if acknowledged else (0, 4))


# ---- what is told, and when ------------------------------------------------------------------------------------------------


def test_how_much_content_is_on_its_way():
    w = Wire()
    for piece, awaited in ((w.head(1, POST, end=False), 0), (data(1, b"hello")[:11], 5), (data(1, b"hello")[11:], 0)):
        w.feed(piece)
        assert w.core.content_awaited == awaited
    w.feed(w.head(3)[:10])
    assert w.core.content_awaited == 0


@pytest.mark.parametrize(
    ("role", "greeted", "heads", "cut_short"),
    [
        (SERVER, False, [], True),
        (SERVER, True, [], False),
        (SERVER, True, [False], True),
        (SERVER, True, [True], False),
        (CLIENT, True, [], False),
        (CLIENT, True, [True], True),
    ],
)
def test_the_end_of_input_cuts_a_message_short(role, greeted, heads, cut_short):
    """§5.1: a stream on which the peer has not sent END_STREAM."""
    w = Wire(role, greeted=greeted)
    for end in heads:
        w.ask() if role is CLIENT else w.feed(w.head(1, POST, end=end))
    w.core.receive_eof()
    if not cut_short:
        assert w.core.next_event() is None and w.core.wants is Wants.CLOSED
        return
    with pytest.raises(RemoteProtocolError) as raised:
        w.core.next_event()
    assert raised.value.code == PROTOCOL_ERROR


def test_content_that_ends_too_early_is_not_told():
    """§8.1.1: neither is the head of a response without content that announces some."""
    w = Wire()
    w.feed(w.head(1, [*POST, ("content-length", "5")], end=False))
    assert [type(event) for event in w.feed(data(1, b"hi", end=True))] == [StreamFault, Discarded]
    asking = Wire(CLIENT)
    asking.ask()
    assert [type(event) for event in asking.feed(asking.head(1, [*OK, ("content-length", "5")]))] == [StreamFault]


def test_an_empty_frame_on_a_closed_stream_is_not_told():
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    w.say(Reset(1, NO_ERROR))
    assert w.feed(data(1)) == []
    assert w.feed(data(1, b"x")) == [Discarded(1, 1)]

@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/" * 67, 0), ("GET", "/" * 68, 414), ("G" * 80, "/", 414), ("G" * 81, "/", 501)],
)
def test_a_start_line_has_as_many_bytes_as_the_limit_says(method, target, status):
    """With the spaces and the version, as in HTTP/1.1: 13 bytes more than a GET's target."""
    w = Wire(max_start_line=80)
    first, *_ = w.feed(w.head(1, [(":method", method), GET[1], (":path", target), GET[3]]))
    assert (first.status if isinstance(first, StreamFault) else 0) == status


MANY = [(f"x-{number}", "a") for number in range(5)]


def test_too_many_fields_have_the_status_of_http1_while_it_can_be_sent():
    """RFC 9110 §5.4: of a request and of its trailers, as long as no response has begun."""
    w = Wire(max_headers=4)
    assert [event.status for event in w.feed(w.head(1, fields(*MANY))) if isinstance(event, StreamFault)] == [431]
    w.feed(w.head(3, POST, end=False), w.head(5, POST, end=False))
    content, fault = w.feed(data(3, b"x"), w.head(3, MANY))
    assert (content, fault.status, fault.code) == (Data(b"x", 3), 431, ENHANCE_YOUR_CALM)
    w.say(ResponseHead(200, Headers(), "2", 5))
    [fault] = w.feed(w.head(5, MANY))
    assert (fault.status, fault.code) == (0, ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("in_trailers", [False, True])
def test_a_response_with_too_many_fields_is_reset(in_trailers):
    w = Wire(CLIENT, max_headers=4)
    w.ask()
    heads = [w.head(1, OK, end=False), w.head(1, MANY)] if in_trailers else [w.head(1, [*OK, *MANY])]
    *_, fault = w.feed(*heads)
    assert isinstance(fault, StreamFault) and (fault.status, fault.code) == (0, ENHANCE_YOUR_CALM)


def test_each_1xx_is_interim_and_costs_its_server():
    """RFC 9110 §15.2: a 199, too, which nobody has defined."""
    w = Wire(CLIENT)
    w.ask()
    w.feed(*[ping()] * 10)
    assert idle_budget(w, *(w.head(1, [(":status", status)], end=False) for status in ("100", "103", "199"))) == -3
    assert [type(event) for event in w.feed(w.head(1, OK))] == [ResponseHead, EndOfMessage]


@pytest.mark.parametrize(("role", "cost"), [(SERVER, -1), (CLIENT, 0)])
def test_a_reset_costs_a_client(role, cost):
    """CVE-2023-44487: it has cost the server a task."""
    w = Wire(role)
    w.ask() if role is CLIENT else w.feed(w.head(1, POST, end=False))
    before = w.core._resets.left
    w.feed(reset(1))
    assert w.core._resets.left - before == cost


def test_the_first_settings_are_free():
    w = Wire(greeted=False)
    assert [idle_budget(w, PREFACE + settings()), idle_budget(w, settings())] == [0, -1]

def test_an_acknowledgement_that_nobody_asked_for_is_not_told():
    """§6.5.3."""
    assert Wire().feed(frame(SETTINGS, ACK)) == []


@pytest.mark.parametrize(
    ("piece", "cost"),
    [(settings((4, 100)), -2), (settings((4, 100), (4, 200)), -3), (frame(GOAWAY, 0, 0, bytes(8)), -1)],
)
def test_what_costs_more_than_its_bytes(piece, cost):
    """A new size of windows is work for each open stream."""
    assert idle_budget(Wire(), piece) == cost


def test_only_its_own_setting_lets_priorities_be_ignored():
    """RFC 9218 §2.1."""
    for name, verdict in ((9, ALIVE), (0xBABA, connection(PROTOCOL_ERROR))):
        assert Wire().verdict(settings((name, 1)), frame(PRIORITY, 0, 1, number(1) + b"\x0f")) == verdict


def test_a_clients_goaway_ends_no_request():
    """§6.8: the last stream is one that a server has pushed."""
    w = Wire()
    w.feed(w.head(1, POST, end=False))
    assert [type(event) for event in w.feed(frame(GOAWAY, 0, 0, bytes(8)))] == [GoAway]
    assert w.feed(data(1, b"x", end=True)) == [Data(b"x", 1), EndOfMessage(Headers(), 1)]


def test_the_first_settings_may_have_flags_without_a_meaning():
    """§4.1. They come behind the preface, wherever the two are cut."""
    for cut in range(1, len(PREFACE)):
        w = Wire(greeted=False)
        w.feed(PREFACE[:cut])
        assert w.error is None and w.core.in_frame
        w.feed(PREFACE[cut:] + frame(SETTINGS, 0xFE))
        assert w.error is None and not w.core.in_frame


def test_the_first_byte_of_a_frame_begins_it():
    w = Wire()
    assert not w.core.in_frame
    w.feed(ping()[:1])
    assert w.core.in_frame


def test_no_more_than_a_frame_may_wait():
    """§4.2: 16,384 bytes and a header of nine. A shell that reads on without pulling events is told so."""
    core = Wire().core
    core.receive_data(bytes(16_384 + 9))
    core.receive_data(b"x")
    with pytest.raises(LocalProtocolError):
        core.receive_data(b"x")


def test_a_block_in_frames_that_come_together_is_a_head_at_once():
    w = Wire()
    one, two = continued(w)
    assert [type(event) for event in w.feed(one + frame(CONTINUATION, END_HEADERS, 1, two))] == [RequestHead, EndOfMessage]

@pytest.mark.parametrize("first", ["request", "response"])
def test_a_completed_stream_gives_four_back(first):
    """Whichever message ends last: a client may reset four streams for each that it completes."""
    w = Wire()
    for id_ in range(1, 20, 2):
        w.feed(w.head(id_, POST, end=False), reset(id_))
    w.feed(w.head(21, POST, end=False), *[ping()] * 20)
    left, idle = w.core._resets.left, w.core._idle_frames.left
    assert left == w.core._resets.size - 10
    if first == "request":
        w.feed(data(21, end=True))
    w.say(ResponseHead(200, Headers(), "2", 21))
    assert w.core._resets.left == left
    w.say(EndOfMessage(Headers(), 21))
    if first == "response":
        assert w.core._resets.left == left
        w.feed(data(21, end=True))
    assert (w.core._resets.left, w.core._idle_frames.left) == (left + 4, idle + 4)


def test_time_fills_both_budgets():
    w = Wire()
    w.feed(*(each for id_ in range(1, 11, 2) for each in (w.head(id_, POST, end=False), reset(id_))), *[ping()] * 5)
    before = w.core._resets.left, w.core._idle_frames.left
    w.core.refill_budgets(3)
    assert (w.core._resets.left - before[0], w.core._idle_frames.left - before[1]) == (3, 3)


def test_a_stream_that_is_not_open_can_send_nothing():
    assert Wire().core.sendable(1) == 0


def test_the_highest_status_is_599():
    """RFC 9110 §15."""
    w = Wire()
    w.feed(w.head(1), w.head(3))
    w.say(ResponseHead(599, Headers(), "2", 1))
    with pytest.raises(LocalProtocolError):
        w.say(ResponseHead(600, Headers(), "2", 3))


def test_a_199_is_interim_when_we_send_it():
    """RFC 9110 §15.2, §8.6: another head follows, and no length is told."""
    w = Wire()
    w.feed(w.head(1))
    with pytest.raises(LocalProtocolError):
        w.say(ResponseHead(199, Headers([("content-length", "0")]), "2", 1))
    w.say(ResponseHead(199, Headers(), "2", 1))
    w.say(ResponseHead(200, Headers(), "2", 1))


def test_no_content_is_sent_before_its_head():
    w = Wire()
    w.feed(w.head(1))
    with pytest.raises(LocalProtocolError, match="Data before the head"):
        w.core.send(Data(b"x", 1))
