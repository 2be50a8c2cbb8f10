"""HTTP/2: slow clients and floods (RFC 9113 §10.5). A server should set limits on what costs it more than its client.

The standard leaves the limits to the server, so one that takes a flood of this size, and still answers, is acceptable. One
that answers no more, or lets a field block grow without end, is wrong.
"""

from typing import Any

from minproto.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
)
from minproto.prove.case import Case, Pause, Step, Trickle, Wait
from minproto.prove.cases.http2_patterns import ENDED, OK, ONCE, answered
from minproto.prove.frames import (
    ECHO,
    GET,
    LARGE,
    PING_FRAME,
    POST,
    Each,
    Head,
    Pieces,
    credit,
    frame,
    goaway,
    number,
    reset,
    settings,
    without,
)

NEEDS_LARGE = frozenset({"large"})
NO_CREDIT = settings((INITIAL_WINDOW_SIZE, 0))
OPEN = Head(1, POST, END_HEADERS)
BAD = without(":path", GET)
WAITS = 62.0
BEGUN = r"|1:[2345]\d\d( .*)? open"
"""The app has begun to answer, and may have a conversation with the client for as long as both like."""

# ---- slow ------------------------------------------------------------------------------------------------------------


def _slow(words: str, *steps: Step, **more: Any) -> Case:
    """A client that keeps a connection without using it. A server ends it, or the stream, within a minute."""
    right = rf"{ENDED}|{ONCE}(.* )?(1:(?!NO_ERROR)[A-Z_]+|1:408 (.* )?1:end|goaway=\w+)( .*)? open" + more.pop("or_right", "")
    why = more.pop("why", "Each such connection costs the server memory, and one of the connections that it can have.")
    return Case(f"http2/slow/{words}", more.pop("entry", ""), (*steps, Pause(WAITS)), right, why=why, **more)


SLOW = (
    _slow("preface-cut-short", PREFACE[:10], opens=True, acceptable="malformed (closed|reset)"),
    _slow("preface-alone", PREFACE, opens=True),
    _slow("frame-header-cut-short", frame(PING, 0, 0, bytes(8))[:5]),
    _slow("headers-cut-short", frame(HEADERS, END_STREAM | END_HEADERS, 1, bytes(100))[:20]),
    _slow("block-without-an-end", Head(1, GET, END_STREAM)),
    _slow("block-that-trickles", Head(1, GET, END_STREAM), Trickle(frame(CONTINUATION, 0, 1) * 5, size=9, delay=8.0),
          acceptable="silent"),
    _slow("content-without-an-end", OPEN, frame(DATA, 0, 1, b"x"), or_right=BEGUN),
    _slow("data-cut-short", OPEN, frame(DATA, 0, 1, bytes(100))[:20], or_right=BEGUN),
    _slow("response-without-credit", NO_CREDIT, Head(1, LARGE), needs=NEEDS_LARGE, acceptable="1:200 open",
          why="A response that waits for credit is kept in memory. A server should not wait for ever."),
    _slow("settings-never-acknowledged", PREFACE + settings(), entry="9113-6.5.3-settings-timeout", acceptable="silent",
          opens=True),
    Case(
        "http2/slow/preface-in-four-seconds", "9113-3.3-preface-of-the-server",
        (Trickle(PREFACE + settings(), delay=0.1), Head(1, GET)), *OK, ENDED, opens=True,
        why="A client on a bad line is slow, and no attacker.",
    ),
    Case(
        "http2/slow/requests-with-pauses", "9113-5.1.1-ids-ascend",
        (Head(1, GET), Pause(4.0), Head(3, GET), Pause(4.0), Head(5, GET)), *answered(1, 3, 5), rf"{ONCE}1:.*(closed|reset)",
        why="A connection stays open between two requests.",
    ),
)  # fmt: skip

# ---- floods ----------------------------------------------------------------------------------------------------------

REFUSED = rf"{ENDED}|{ONCE}(.* )?goaway=(?!NO_ERROR)\w+( .*)? open"
"""The server has had enough."""
ALIVE = rf"{ONCE}(.* )?pong( .*)? open"
"""The server has read all of it, and answers."""
BUSY = rf"{ALIVE}|silent|{ONCE}.* open"
"""The server may have more to do than the time limit allows. Then it answers the request that is made after each flood."""


def _flood(words: str, *steps: Step, right: str = REFUSED, acceptable: str = BUSY, **more: Any) -> Case:
    """A client that sends a lot of what costs it little, and then asks whether anybody is there."""
    more.setdefault("why", "Each such frame costs its sender a few bytes, and the server some work.")
    return Case(
        f"http2/hostile/{words}", "9113-10.5-limits-on-what-costs-us", (*steps, PING_FRAME), right, acceptable,
        also=("9113-10.5-suspicious-activity",), **more,
    )  # fmt: skip


FLOODS = (
    _flood("rapid-reset", Each(range(1, 4_001, 2), lambda stream: (Head(stream, GET), reset(stream))), issue="CVE-2023-44487",
           why="A request that is taken back at once costs the server all the same."),
    _flood("rapid-reset-of-uploads", Each(range(1, 2_001, 2), lambda stream: (Head(stream, POST, END_HEADERS), reset(stream))),
           issue="CVE-2023-44487", why="A request that is taken back at once costs the server all the same."),
    _flood("provoked-resets", Each(range(1, 2_001, 2), lambda stream: (Head(stream, POST, END_HEADERS), credit(stream, 0))),
           issue="CVE-2025-8671", why="A fault that makes the server reset the stream takes the request back as well."),
    _flood("malformed-requests", Each(range(1, 2_001, 2), lambda stream: (Head(stream, BAD),))),
    _flood("refused-streams", NO_CREDIT, Each(range(1, 4_001, 2), lambda stream: (Head(stream, LARGE),)), needs=NEEDS_LARGE),
    _flood("pings", PING_FRAME * 5_000, issue="CVE-2019-9512", why="Each PING has to be answered."),
    _flood("settings", settings((INITIAL_WINDOW_SIZE, 65_535)) * 5_000, issue="CVE-2019-9515",
           why="Each SETTINGS has to be answered."),
    _flood("settings-with-2000-values", settings(*[(INITIAL_WINDOW_SIZE, 65_535)] * 2_000) * 40, issue="CVE-2019-9515"),
    _flood("windows-of-many-streams", NO_CREDIT, Each(range(1, 161, 2), lambda stream: (Head(stream, LARGE),)),
           (settings((INITIAL_WINDOW_SIZE, 1)) + NO_CREDIT) * 300, needs=NEEDS_LARGE,
           why="A change of the initial size changes the window of each stream: twelve bytes, and much work."),
    _flood("empty-data", OPEN, frame(DATA, 0, 1) * 5_000, issue="CVE-2019-9518"),
    _flood("padding", OPEN, frame(DATA, PADDED, 1, b"\x05" + bytes(5)) * 5_000, issue="CVE-2019-9518"),
    _flood("data-of-one-byte", OPEN, frame(DATA, 0, 1, b"x") * 5_000, right=f"{REFUSED}|{ALIVE}"),
    _flood("data-after-the-servers-reset", Head(1, BAD, END_HEADERS), frame(DATA, 0, 1) * 5_000),
    _flood("priorities", Each(range(1, 10_001, 2), lambda stream: (frame(PRIORITY, 0, stream, number(0) + b"\x0f"),)),
           issue="CVE-2019-9513"),
    _flood("window-updates", credit(0, 1) * 5_000),
    _flood("window-of-one-byte", settings((INITIAL_WINDOW_SIZE, 1)), Head(1, LARGE), credit(1, 1) * 2_000, needs=NEEDS_LARGE,
           shows=("data",), issue="CVE-2019-9511", why="A client that gives credit byte by byte gets a frame for each byte."),
    _flood("unknown-frames", frame(0x70, 0, 0, bytes(400)) * 5_000),
    _flood("goaways", goaway(0) * 5_000),
    _flood("resets-of-a-closed-stream", Head(1, GET), Wait("1:end"), reset(1) * 5_000),
    _flood("stalled-streams", NO_CREDIT, Each(range(1, 201, 2), lambda stream: (Head(stream, LARGE),)), needs=NEEDS_LARGE,
           right=f"{REFUSED}|{ALIVE}",
           issue="CVE-2019-9517", why="Responses that wait for credit must not keep the connection from anything else."),
    _flood("fields-without-a-name", Head(1, GET, after=b"\0\0\0" * 5_000), issue="CVE-2019-9516"),
    _flood("3000-fields", Head(1, GET, after=b"\0\x01a\x01b" * 3_000), right=rf"{REFUSED}|{ONCE}(?!.*1:[23])(.* )?1:.*open",
           why="Each field costs more memory than its bytes."),
    _flood("size-updates", Head(1, GET, before=b"\x20" * 15_000), right=f"{REFUSED}|{ALIVE}",
           why="One byte makes the server change its table."),
    _flood("continuations-without-content", Pieces(1, GET, (0,) * 5_000), issue="CVE-2024-27316"),
    Case(
        "http2/hostile/field-block-of-four-megabytes", "9113-10.5-limits-on-what-costs-us",
        (Head(1, GET, END_STREAM), frame(CONTINUATION, 0, 1, (b"\0\x01a\x7f\x81\x01" + b"x" * 256) * 60) * 300,
         frame(CONTINUATION, END_HEADERS, 1)),
        rf"{REFUSED}|{ONCE}1:([45]\d\d|[A-Z_]+) .*open", issue="CVE-2024-27316", also=("7541-7.4-a-limit-for-strings",),
        acceptable=rf"{ONCE}1:[23]\d\d .*open",
        why="A server without a limit stores a field block without an end until its memory is full. This block has 4 MB.",
    ),
    Case(
        "http2/hostile/header-bomb", "9113-10.5-limits-on-what-costs-us",
        (Head(1, GET, after=b"\x40\x01b\x7f\xa1\x1e" + b"x" * 4_000), Wait("1:end|closed"),
        Head(3, GET, after=b"\xbe" * 16_000)),
        rf"{REFUSED}|{ONCE}(?!.*3:[23]\d\d)(.* )?3:([45]\d\d|[A-Z_]+) .*open", issue="CVE-2016-6581",
        why="16,000 bytes refer 16,000 times to a field of 4,000 bytes, and become 64 megabytes.",
    ),
    Case(
        "http2/hostile/upload-beyond-all-windows", "",
        (NO_CREDIT, Head(1, ECHO, END_HEADERS), frame(DATA, 0, 1, bytes(16_000)) * 250),
        rf"{ONCE}(.* )?1:FLOW_CONTROL_ERROR( .*)? open|{REFUSED}", rf"{ONCE}(.* )?1:([2345]\d\d|[A-Z_]+)( .*)? open|silent",
        needs=frozenset({"echo"}), why="A client that ignores flow control fills the memory of a server that trusts it.",
    ),
)  # fmt: skip

CASES = (*SLOW, *FLOODS)
