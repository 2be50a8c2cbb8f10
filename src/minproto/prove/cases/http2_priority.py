"""HTTP/2: the priorities of RFC 9218, and the frames and flags of RFC 7540 (RFC 9113 §5.3, §6.3).

Two large responses compete for the 65,535 bytes of the connection's window. Which of them gets the bytes is a SHOULD of RFC
9218 §10, and a server that knows no priorities is acceptable.
"""

from minproto.http2_frames import (
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    NO_RFC7540_PRIORITIES,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
)
from minproto.prove.case import Case, Step, Wait
from minproto.prove.cases.http2_patterns import (
    ENDED,
    OK,
    ONCE,
    PROTOCOL,
    SIZE,
    answered,
    either_error,
    stream_error,
)
from minproto.prove.frames import GET, LARGE, Head, credit, fields, frame, number, settings

NEEDS_LARGE = frozenset({"large"})
DEPENDENCY = number(0) + b"\x0f"
ITSELF = number(1) + b"\x0f"
"""RFC 7540 forbids a stream that depends on itself; RFC 9113 no longer mentions it."""
UPDATE = 0x10
"""The type of PRIORITY_UPDATE (RFC 9218 §7.1)."""
ANY = rf"{ONCE}(?!.*goaway)(?=(.* )?1:200 )(?=(.* )?3:200 ).*open"
SECOND = rf"{ANY[:-6]}(?!.*1:data=)(.* )?3:data=65535 open"
FIRST = rf"{ANY[:-6]}(?!.*3:data=)(.* )?1:data=65535 open"
BOTH = rf"{ANY[:-6]}(?=(.* )?1:data=)(?=(.* )?3:data=).*open"


def _get(stream: int, priority: str) -> Head:
    return Head(stream, (*LARGE, ("priority", priority)) if priority else LARGE)


def _at_once(first: str, second: str) -> tuple[Step, ...]:
    """Two responses that begin to compete once both have their windows. ``first``, ``second``: their Priority fields.

    If the windows were open from the start, the first response could fill the connection's window before the second request
    comes.
    """
    return (
        settings((INITIAL_WINDOW_SIZE, 0)), _get(1, first), _get(3, second), Wait("1:200(.*)3:200|3:200(.*)1:200"),
        settings((INITIAL_WINDOW_SIZE, 1 << 20)),
    )  # fmt: skip


def _compete(words: str, entry: str, first: str, second: str, right: str, *, also: tuple[str, ...] = ()) -> Case:
    steps = _at_once(first, second)
    return Case(f"http2/priority/{words}", entry, steps, right, ANY, needs=NEEDS_LARGE, shows=("data",), also=also)


ORDER = (
    _compete("urgent-first", "9218-10-urgency", "u=5", "u=1", SECOND),
    _compete("urgent-first-if-incremental", "9218-10-urgency", "u=5, i", "u=1, i", SECOND),
    _compete("urgency-of-3-by-default", "9218-4-default-urgency", "i=?0", "u=2", SECOND),
    _compete("urgency-of-3-by-default-too", "9218-4-default-urgency", "u=4", "i=?0", SECOND),
    _compete("not-incremental-by-default", "9218-4-default-incremental", "u=3", "u=3", FIRST, also=("9218-10-ascending-ids",)),
    _compete("one-after-the-other", "9218-10-ascending-ids", "u=2", "u=2", FIRST),
    Case(
        "http2/priority/one-after-the-other-whichever-is-ready-first", "9218-10-ascending-ids",
        (settings((INITIAL_WINDOW_SIZE, 0)), Head(1, (*LARGE, ("priority", "u=3"))), Head(3, (*LARGE, ("priority", "u=3"))),
         Wait("1:200(.*)3:200|3:200(.*)1:200"), credit(3, 1 << 20) + credit(1, 1 << 20)), FIRST, ANY, needs=NEEDS_LARGE,
        shows=("data",),
    ),
    _compete("incremental-share", "9218-10-incremental-responses-share", "u=3, i", "u=3, i", BOTH,
             also=("9218-10-incremental",)),
    _compete("incremental-beside-another", "9218-10-no-starvation", "u=3", "u=3, i", BOTH),
    _compete("unknown-parameter", "9218-4-unknown-parameter", "u=5, urgent=0, x", "u=4, zz=?1", SECOND),
    _compete("urgency-above-7", "9218-4-out-of-range", "u=8", "u=2", SECOND),
    _compete("urgency-below-0", "9218-4-out-of-range", "u=-1", "u=2", SECOND),
    _compete("urgency-that-is-no-number", "9218-4-unexpected-type", "u=a", "u=2", SECOND),
    _compete("urgency-that-is-no-integer", "9218-4-unexpected-type", "u=1.0", "u=2", SECOND),
    _compete("incremental-that-is-no-boolean", "9218-4-unexpected-type", "u=3, i=1", "u=3, i=1", FIRST),
    _compete("last-value-counts", "9218-4-dictionary", "u=1, u=5", "u=5, u=1", SECOND),
    _compete("no-dictionary-at-all", "9218-4-dictionary", "u=1, =", "u=2", SECOND),
    _compete("parameters-of-parameters", "9218-4-dictionary", "u=5;u=0", "u=1;x", SECOND),
)  # fmt: skip

FIELDS = tuple([
    Case(f"http2/priority/field-{words}", entry, (Head(1, fields("GET", ("priority", value))),), *OK)
    for words, entry, value in (
        ("usual", "9218-4-dictionary", "u=0, i"), ("empty", "9218-4-dictionary", ""),
        ("that-is-no-dictionary", "9218-4-dictionary", "((((,,u=\"1"), ("out-of-range", "9218-4-out-of-range",
        "u=99999999999999"),
        ("unexpected-types", "9218-4-unexpected-type", "u=?1, i=(1 2 3)"), ("unknown", "9218-4-unknown-parameter",
        "zz, yy=\"x\""),
    )
])  # fmt: skip

OLD = (
    Case(
        "http2/priority/frame-on-an-idle-stream", "9113-5.1-idle-takes-headers-and-priority",
        (frame(PRIORITY, 0, 99, DEPENDENCY), Head(1, GET)), *OK,
    ),
    Case("http2/priority/frame-on-stream-0", "9113-6.3-priority-on-stream-0", (frame(PRIORITY, 0, 0, DEPENDENCY),), *PROTOCOL),
    *[
        Case(
            f"http2/priority/frame-of-{words}-bytes", "9113-6.3-length",
            (settings((INITIAL_WINDOW_SIZE, 0)), Head(1, LARGE), Wait("1:200"), frame(PRIORITY, 0, 1, bytes(size))),
            *stream_error(1, "FRAME_SIZE_ERROR"), needs=NEEDS_LARGE,
        )
        for words, size in (("no", 0), ("four", 4), ("six", 6))
    ],
    Case(
        "http2/priority/frame-of-four-bytes-on-an-idle-stream", "9113-6.4-no-reset-of-an-idle-stream",
        (frame(PRIORITY, 0, 1, bytes(4)),), SIZE[0], f"{SIZE[1]}|{stream_error(1, 'FRAME_SIZE_ERROR')[0]}",
        also=("9113-6.3-length",),
        why="A stream error is told by RST_STREAM, which must not be sent for an idle stream: so the connection has to end.",
    ),
    Case(
        "http2/priority/headers-that-depend-on-themselves", "9218-2.1-signals-are-ignored",
        (Head(1, GET, END_STREAM | END_HEADERS | PRIORITIZED, before=ITSELF),),
        f"{OK[0]}|{either_error(1, 'PROTOCOL_ERROR')[0]}",
        ENDED, why="RFC 7540 §5.3.1 calls this an error, and RFC 9113 has retired what it is about: both answers are right.",
    ),
    Case(
        "http2/priority/signals-after-they-were-disabled", "9218-2.1-signals-are-ignored",
        (PREFACE + settings((NO_RFC7540_PRIORITIES, 1)), frame(PRIORITY, 0, 1, DEPENDENCY),
         Head(1, GET, END_STREAM | END_HEADERS | PRIORITIZED, before=DEPENDENCY)), *OK, opens=True,
        also=("9218-2.1.1-no-redundant-signals",),
    ),
    Case(
        "http2/priority/dependency-on-itself-after-they-were-disabled", "9218-2.1-signals-are-ignored",
        (PREFACE + settings((NO_RFC7540_PRIORITIES, 1)), frame(PRIORITY, 0, 1, ITSELF),
         Head(1, GET, END_STREAM | END_HEADERS | PRIORITIZED, before=ITSELF)), *OK,
        f"{ENDED}|{either_error(1, 'PROTOCOL_ERROR')[0]}", opens=True,
        why="The client's priorities mean nothing. A server that does not know RFC 9218 may still look at them.",
    ),
    Case(
        "http2/priority/none-at-all-and-much-content", "9113-5.3.2-no-signals-at-all",
        _at_once("", ""), rf"{ONCE}(?=.* 1:data=)(?=.* 3:data=).*open",
        rf"{ONCE}(?=.* [13]:data=).*open", shows=("data",), needs=frozenset({"large"}),
        why="A client that says nothing about priority is often a program, and uses what comes first.",
    ),
    Case(
        "http2/priority/none-at-all", "9113-5.3.2-no-signals-at-all", (Head(1, GET), Head(3, GET)), *answered(1, 3),
        also=("9218-7.1-not-of-a-server", "9218-2.1-in-the-first-settings"),
    ),
)  # fmt: skip


def _update(stream: int, value: bytes) -> bytes:
    return frame(UPDATE, 0, 0, number(stream) + value)


UPDATES = (
    Case(
        "http2/priority/update", "9113-4.1-unknown-types", (_update(1, b"u=1, i"), Head(1, GET), _update(1, b"u=7")), *OK,
        why="PRIORITY_UPDATE is a frame of RFC 9218, and of an unknown type to a server that does not know it.",
    ),
    Case(
        "http2/priority/update-that-is-no-dictionary", "9113-4.1-unknown-types", (_update(1, b"((u="), Head(1, GET)),
        rf"{OK[0]}|{PROTOCOL[0]}", PROTOCOL[1], why="A server may end the connection (RFC 9218 §7), or ignore the frame.",
    ),
)  # fmt: skip

CASES = (*ORDER, *FIELDS, *OLD, *UPDATES)
