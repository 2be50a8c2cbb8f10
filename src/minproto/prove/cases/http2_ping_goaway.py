"""HTTP/2: PING and GOAWAY, the frames that ask whether the peer is there, and announce the end (RFC 9113 §6.7, §6.8)."""

from minproto.http2_frames import ACK, GOAWAY, PING
from minproto.prove.case import Case, Wait
from minproto.prove.cases.http2_patterns import ENDED, OK, ONCE, PROTOCOL, SERVED, SIZE
from minproto.prove.frames import GET, LARGE, Head, credit, fields, frame, goaway

PINGS = (
    Case(
        "http2/ping/answer", "9113-6.7-answered", (frame(PING, 0, 0, bytes.fromhex("0123456789abcdef")),),
        "pong=0123456789abcdef open", shows=("pong",), also=("9113-6.7-an-answer-has-ack", "9113-6.7-eight-octets"),
    ),
    Case(
        "http2/ping/three-at-once", "9113-6.7-answered", (b"".join([frame(PING, 0, 0, bytes([at]) * 8) for at in (1, 2, 3)]),),
        r"pong=(01){8} pong=(02){8} pong=(03){8} open", r"(?=.*pong=(01){8} )(?=.*pong=(02){8} )(?=.*pong=(03){8} ).*open",
        shows=("pong",), also=("9113-5.2.2-frames-are-read-at-once",),
    ),
    Case(
        "http2/ping/cut-into-bytes", "9113-6.7-answered", (*[bytes([byte]) for byte in frame(PING, 0, 0, b"12345678")],),
        "pong=3132333435363738 open", shows=("pong",),
    ),
    Case(
        "http2/ping/while-a-request-waits", "9113-6.7-answered",
        (Head(1, fields("POST", path="{post}"), 4), frame(PING, 0, 0, bytes(8))), rf"{ONCE}(?!.*goaway)(.* )?pong( .*)? open",
    ),
    Case(
        "http2/ping/during-a-response", "9113-6.7-answered-first",
        (Head(1, LARGE), Wait("1:200"), credit(0, 1 << 20) + credit(1, 1 << 20) + frame(PING, 0, 0, bytes(8))),
        rf"{ONCE}(.* )?pong (.* )?1:end open", rf"{ONCE}(?!.*goaway)(.* )?pong open", needs=frozenset({"large"}),
        why="A client that measures the delay must not measure the length of a response.",
    ),
    Case(
        "http2/ping/no-answer-to-an-answer", "9113-6.7-no-answer-to-an-answer", (frame(PING, ACK, 0, bytes(8)), Head(1, GET)),
        rf"{ONCE}(?!.*pong)(?!.*goaway)1:{SERVED} (.* )?1:end open", rf"(?!.*pong)({ENDED})",
        why="Two ends that answer each answer go on for ever.",
    ),
    Case("http2/ping/on-a-stream", "9113-6.7-ping-on-a-stream", (frame(PING, 0, 1, bytes(8)),), *PROTOCOL),
    Case("http2/ping/seven-bytes", "9113-6.7-length", (frame(PING, 0, 0, bytes(7)),), *SIZE),
    Case("http2/ping/empty", "9113-6.7-length", (frame(PING, 0, 0),), *SIZE),
    Case("http2/ping/answer-of-nine-bytes", "9113-6.7-length", (frame(PING, ACK, 0, bytes(9)),), *SIZE),
)  # fmt: skip

SAID = rf"{ONCE}(?=(.* )?1:{SERVED} (.* )?1:end )(.* )?(goaway=NO_ERROR )?closed"
"""The request before the GOAWAY is answered, and then the server ends the connection, too."""

GOAWAYS = (
    Case(
        "http2/goaway/requests-before-it-are-answered", "9113-6.8-goaway-after-goaway", (Head(1, GET), goaway(0)),
        f"{SAID}|{OK[0]}", ENDED, why="GOAWAY says that the client takes no more pushed streams: its own requests go on.",
    ),
    Case(
        "http2/goaway/on-a-stream", "9113-6.8-goaway-on-a-stream", (frame(GOAWAY, 0, 1, bytes(8)),), *PROTOCOL,
    ),
    Case("http2/goaway/seven-bytes", "9113-4.2-too-small-for-its-fields", (frame(GOAWAY, 0, 0, bytes(7)),), *SIZE),
    Case(
        "http2/goaway/with-debug-data-and-an-unknown-code", "9113-7-unknown-codes",
        (Head(1, GET), goaway(0, 0xFADE, b"bye\r\n\0")),
        f"{SAID}|{OK[0]}", rf"{ONCE}(.* )?(closed|reset)",
    ),
    Case(
        "http2/goaway/last-stream-grows", "9113-6.8-last-stream-does-not-grow", (goaway(0), goaway(2)),
        PROTOCOL[0], rf"{PROTOCOL[1]}|silent|goaway=NO_ERROR open",
        why="The sender must not raise the number; what a server makes of it is left open.",
    ),
    Case(
        "http2/goaway/before-the-end", "9113-6.8-goaway-before-closing",
        (Head(1, GET), Wait("1:end"), frame(GOAWAY, 0, 1, bytes(8))),
        rf"{ONCE}(.* )?goaway=PROTOCOL_ERROR( .*)? closed", f"{PROTOCOL[1]}", also=("9113-5.4.1-goaway-at-every-end",),
    ),
)  # fmt: skip

CASES = (*PINGS, *GOAWAYS)
