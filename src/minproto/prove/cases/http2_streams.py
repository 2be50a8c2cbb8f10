"""HTTP/2: the life of a stream, and what an error ends: the stream, or the connection (RFC 9113 §5.1, §5.4, §6.3, §6.4)."""

from minproto.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    PRIORITY,
    RST_STREAM,
)
from minproto.prove.case import Case, Step, Wait
from minproto.prove.cases.http2_patterns import (
    ENDED,
    ONCE,
    PROTOCOL,
    SERVED,
    SIZE,
    answered,
    connection_error,
    either_error,
    stream_error,
)
from minproto.prove.frames import (
    GET,
    LARGE,
    PING_FRAME,
    POST,
    Each,
    Head,
    TooMany,
    credit,
    fields,
    frame,
    number,
    reset,
    settings,
    without,
)

NEEDS_POST = frozenset({"post"})
NEEDS_LARGE = frozenset({"large"})
OPEN = Head(1, POST, END_HEADERS)
NO_CREDIT = settings((INITIAL_WINDOW_SIZE, 0))
"""From here on no response can send content, so no response with content can end."""
HALF_CLOSED = (NO_CREDIT, Head(1, LARGE), Wait("1:200"))
"""Stream 1 is half-closed (remote): we have ended it, and the server cannot."""
DEPENDENCY = number(0) + b"\x0f"
BAD = without(":path", GET)
DONE = "1:end"
ALIVE = rf"{ONCE}(?!.*(goaway|1:(?!NO_ERROR)[A-Z]))(.* )?pong( .*)? open"
"""The frames before the PING were not an error."""
CLOSED = connection_error("STREAM_CLOSED")
IGNORED = rf"{ONCE}(?!.*goaway)(.* )?pong( .*)? open"
"""The frames before the PING were ignored, as §5.1 allows on each closed stream."""
LATE = (f"{either_error(1, 'STREAM_CLOSED')[0]}|{IGNORED}", either_error(1, "STREAM_CLOSED")[1])
"""A frame on a closed stream: an error, or ignored."""
REUSED = (f"{connection_error('STREAM_CLOSED|PROTOCOL_ERROR')[0]}|{stream_error(1, 'STREAM_CLOSED')[0]}", f"{ENDED}|{IGNORED}")
"""HEADERS on a stream that is closed: an id is used once. It is wrong to serve them."""


def _idle(words: str, entry: str, *steps: Step, also: tuple[str, ...] = ()) -> Case:
    return Case(f"http2/streams/{words}", entry, steps, *PROTOCOL, also=also)


def _half_closed(words: str, patterns: tuple[str, str], entry: str, *steps: Step) -> Case:
    return Case(f"http2/streams/half-closed-{words}", entry, (*HALF_CLOSED, *steps), *patterns, needs=NEEDS_LARGE)


IDLE = (
    _idle("idle-data", "9113-5.1-idle-takes-headers-and-priority", frame(DATA, END_STREAM, 1, b"x")),
    _idle("idle-reset", "9113-6.4-reset-of-an-idle-stream", reset(1),
          also=("9113-5.1-idle-takes-headers-and-priority", "9113-6.4-no-reset-of-an-idle-stream")),
    _idle("idle-window-update", "9113-5.1-idle-takes-headers-and-priority", credit(1, 100)),
    _idle("idle-window-update-of-the-servers", "9113-5.1-idle-takes-headers-and-priority", credit(2, 100)),
    Case(
        "http2/streams/idle-priority", "9113-5.1-idle-takes-headers-and-priority",
        (frame(PRIORITY, 0, 5, DEPENDENCY), Head(1, GET), Head(5, GET)), *answered(1, 5),
        why="PRIORITY on an idle stream does not open it, nor does it close the streams below it.",
    ),
    _idle("headers-on-an-even-stream", "9113-5.1-headers-on-a-servers-idle-stream", Head(2, GET),
          also=("9113-5.1.1-a-client-uses-odd-ids", "9113-5.1.1-an-unexpected-id")),
    Case(
        "http2/streams/ids-passed-over", "9113-5.1.1-ids-ascend", (Head(1, GET), Head(101, GET)), *answered(1, 101),
        why="A client may pass over ids: each new one only has to be higher.",
    ),
    Case(
        "http2/streams/data-on-the-first-id-passed-over", "9113-5.1-what-no-state-permits",
        (Head(3, GET), frame(DATA, 0, 1, b"x")),
        connection_error("PROTOCOL_ERROR|STREAM_CLOSED")[0], rf"{ENDED}|(?!.*1:\d){ONCE}.*open",
        why="A stream whose id was passed over is closed. A server may ignore what comes on it, as on any closed stream.",
    ),
    Case(
        "http2/streams/lower-id", "9113-5.1.1-an-unexpected-id", (Head(5, GET), Wait("5:end"), Head(3, GET)), PROTOCOL[0],
        rf"{ENDED}|(?!.*3:\d){ONCE}.*open", also=("9113-5.1.1-ids-ascend",),
        why="A stream whose id was passed over is closed. A server may ignore a request on it, but not serve the request.",
    ),
    Case(
        "http2/streams/data-on-an-id-passed-over", "9113-5.1-what-no-state-permits", (Head(5, GET), frame(DATA, 0, 3, b"x")),
        connection_error("PROTOCOL_ERROR|STREAM_CLOSED")[0], rf"{ENDED}|(?!.*3:\d){ONCE}.*open",
        why="A stream whose id was passed over is closed. A server may ignore what comes on it, as on any closed stream.",
    ),
    Case("http2/streams/reset-on-stream-0", "9113-6.4-reset-on-stream-0", (reset(0),), *PROTOCOL,
         also=("9113-6.4-reset-has-a-stream",)),
    Case("http2/streams/reset-of-three-bytes", "9113-6.4-length", (OPEN, frame(RST_STREAM, 0, 1, bytes(3))), *SIZE),
    Case("http2/streams/reset-of-five-bytes", "9113-6.4-length", (OPEN, frame(RST_STREAM, 0, 1, bytes(5))), *SIZE),
    Case(
        "http2/streams/reset-with-an-unknown-code", "9113-7-unknown-codes", (OPEN, reset(1, 0xFADE), Head(3, GET)),
        *answered(3),
        also=("9113-5.5-unknown-values",),
    ),
)  # fmt: skip

HALF = (
    _half_closed("data", stream_error(1, "STREAM_CLOSED"), "9113-6.1-data-on-a-stream-that-is-over", frame(DATA, 0, 1, b"x")),
    _half_closed("data-with-end", stream_error(1, "STREAM_CLOSED"), "9113-5.1-half-closed-remote-receives",
                 frame(DATA, END_STREAM, 1, b"x")),
    _half_closed("headers", stream_error(1, "STREAM_CLOSED"), "9113-5.1-half-closed-remote-receives", Head(1, GET)),
    _half_closed("trailers", stream_error(1, "STREAM_CLOSED"), "9113-5.1-half-closed-remote-receives", Head(1, (("x", "y"),))),
    _half_closed("continuation", PROTOCOL, "9113-6.10-without-a-beginning", frame(CONTINUATION, END_HEADERS, 1)),
    _half_closed("window-update", (ALIVE, ""), "9113-6.9-credit-for-what-has-ended", credit(1, 10), PING_FRAME),
    _half_closed("priority", (ALIVE, ""), "9113-5.1-half-closed-remote-receives", frame(PRIORITY, 0, 1, DEPENDENCY),
                 PING_FRAME),
    _half_closed("reset", (ALIVE, ""), "9113-5.1-half-closed-remote-receives", reset(1), PING_FRAME),
)  # fmt: skip

OVER = (
    Case(
        "http2/streams/closed-data", "9113-6.1-data-on-a-stream-that-is-over",
        (Head(1, GET), Wait(DONE), frame(DATA, 0, 1, b"x"), PING_FRAME), *LATE, also=("9113-5.1-closed-receives",),
    ),
    Case(
        "http2/streams/closed-headers", "9113-5.1-closed-receives", (Head(1, GET), Wait(DONE), Head(1, GET), PING_FRAME),
        rf"(?!.*1:trailers)({REUSED[0]})", rf"(?!.*1:trailers)({REUSED[1]})",
        also=("9113-5.1.1-an-unexpected-id",),
        why="The id of a stream is used once: a server that serves a second request on it mixes up two exchanges.",
    ),
    Case(
        "http2/streams/closed-window-update", "9113-6.9-credit-for-what-has-ended",
        (Head(1, GET), Wait(DONE), credit(1, 100), PING_FRAME), ALIVE,
    ),
    Case(
        "http2/streams/closed-priority", "9113-5.1-closed-receives",
        (Head(1, GET), Wait(DONE), frame(PRIORITY, 0, 1, DEPENDENCY), PING_FRAME), ALIVE,
    ),
    Case(
        "http2/streams/closed-reset", "9113-5.4.2-no-reset-for-a-reset", (Head(1, GET), Wait(DONE), reset(1), PING_FRAME),
        ALIVE,
        CLOSED[1],
    ),
    Case(
        "http2/streams/reset-data", "9113-5.1-closed-receives", (OPEN, reset(1), frame(DATA, 0, 1, b"x"), PING_FRAME), *LATE,
    ),
    Case("http2/streams/reset-headers", "9113-5.1-closed-receives", (OPEN, reset(1), Head(1, GET), PING_FRAME), *REUSED),
    Case(
        "http2/streams/reset-continuation", "9113-6.10-without-a-beginning",
        (OPEN, reset(1), frame(CONTINUATION, END_HEADERS, 1)), *PROTOCOL,
    ),
    Case(
        "http2/streams/reset-twice", "9113-5.4.2-no-reset-for-a-reset", (OPEN, reset(1), reset(1), PING_FRAME),
        ALIVE, CLOSED[1],
        why="Two ends that answer each reset by a reset go on for ever.",
    ),
    Case(
        "http2/streams/nothing-after-a-reset", "9113-5.1-closed-sends",
        (*HALF_CLOSED, reset(1), PING_FRAME, Wait("pong"), settings((INITIAL_WINDOW_SIZE, 1 << 20))),
        "1:200 pong open", needs=NEEDS_LARGE, shows=("data",), also=("9113-6.4-nothing-after-a-reset-received",),
        why="After our RST_STREAM has arrived, no frame may follow on the stream: its content is lost work.",
    ),
)  # fmt: skip

ERRORS = (
    Case(
        "http2/streams/an-error-is-a-reset", "9113-5.4.2-an-error-is-a-reset",
        (Head(1, GET), Wait(DONE), *HALF_CLOSED[:1],
         Head(3, LARGE), Wait("3:200"), credit(3, 0)), stream_error(3, "PROTOCOL_ERROR")[0], stream_error(3,
             "PROTOCOL_ERROR")[1],
        needs=NEEDS_LARGE,
    ),
    Case(
        "http2/streams/an-error-leaves-other-streams-alone", "9113-5.4.2-an-error-is-a-reset", (Head(1, BAD), Head(3, GET)),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:(PROTOCOL_ERROR|4\d\d) )(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ENDED}|(?!.*1:[23]\d\d )(.* )?goaway=PROTOCOL_ERROR .*open", also=("9113-8.1.1-a-stream-error",),
    ),
    Case(
        "http2/streams/late-frames-after-the-servers-reset", "9113-5.1-after-our-reset",
        (Head(1, BAD, END_HEADERS), frame(DATA, 0, 1, bytes(100)), frame(DATA, 0, 1, bytes(100)), Head(3, GET)),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:(PROTOCOL_ERROR|4\d\d) )(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ONCE}(.* )?goaway=(PROTOCOL_ERROR|INTERNAL_ERROR) (closed|reset|open)|closed|reset",
        also=("9113-5.4.2-one-reset-for-a-stream", "9113-6.4-late-frames"),
        why="What the client sent before it read the reset is no second fault.",
    ),
    Case(
        "http2/streams/late-data-after-a-reset-of-an-upload", "9113-6.4-late-frames",
        (OPEN, credit(1, 0), frame(DATA, 0, 1, bytes(100)), frame(DATA, END_STREAM, 1, bytes(100)), Head(3, GET)),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:PROTOCOL_ERROR )(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ONCE}(.* )?goaway=(PROTOCOL_ERROR|INTERNAL_ERROR) (closed|reset|open)|closed|reset|"
        rf"{ONCE}(.* )?1:end (.* )?3:{SERVED} (.* )?3:end .*open",
        needs=NEEDS_POST, also=("9113-5.1-after-our-reset",),
        why="What the client sent before it read the reset is no second fault.",
    ),
    Case(
        "http2/streams/late-data-after-an-early-answer", "9113-6.4-late-frames",
        (Head(1, fields("POST"), END_HEADERS), Wait("1:[A-Z]"), frame(DATA, 0, 1, b"hel"), Head(3, GET)),
        rf"{ONCE}(?!.*goaway)(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ONCE}(?!.*goaway=(?!NO_ERROR))(.* )?(closed|reset)", also=("9113-5.1-after-our-reset",),
        why="What the client sent before it read the reset is no second fault.",
    ),
    Case(
        "http2/streams/late-field-block-is-decoded", "9113-5.1-after-our-reset",
        (Head(1, BAD, END_HEADERS), Head(1, (("x", "y"),), after=b"\x40\x01a\x01b"), Head(3, GET, after=b"\xbe")),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:(PROTOCOL_ERROR|4\d\d) )(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ONCE}(.* )?goaway=(PROTOCOL_ERROR|INTERNAL_ERROR) (closed|reset|open)|closed|reset",
        also=("9113-4.3-no-block-is-skipped",),
        why="A field block that is not decoded leaves the compression table behind, and later requests get wrong fields.",
    ),
    Case(
        "http2/streams/malformed-request-is-decoded", "9113-4.3-no-block-is-skipped",
        (Head(1, BAD, after=b"\x40\x01a\x01b"), Head(3, GET, after=b"\xbe")),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:(PROTOCOL_ERROR|4\d\d) )(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ONCE}(.* )?goaway=(PROTOCOL_ERROR|INTERNAL_ERROR|COMPRESSION_ERROR) (closed|reset|open)|closed|reset",
    ),
    Case(
        "http2/streams/goaway-names-the-last-stream", "9113-5.4.1-goaway-names-the-last-stream",
        (Head(1, GET), Wait(DONE), Head(3, GET), Wait("3:end"), frame(DATA, 0, 0, b"x")),
        rf"{ONCE}(.* )?goaway=PROTOCOL_ERROR last=3 closed",
        rf"{ONCE}(?!.*goaway)(.* )?(closed|reset)|{ONCE}(.* )?goaway=\w+ last=(?![012] )\d+ (closed|reset|open)",
        shows=("last",),
        also=("9113-8.7-goaway-covers-what-was-processed", "9113-8.7-only-if-it-is-sure", "9113-5.4.1-goaway-at-every-end"),
        why="A client makes the requests above this number again elsewhere, so a lower number has a request acted on twice.",
    ),
    Case(
        "http2/streams/one-connection-error", "9113-5.4-one-type-of-connection-error",
        (frame(DATA, 0, 0, b"x"), frame(PRIORITY, 0, 0, DEPENDENCY), frame(RST_STREAM, 0, 0, bytes(3))),
        "(goaway=NO_ERROR )?goaway=PROTOCOL_ERROR closed", rf"{PROTOCOL[1]}", also=("9113-5.4-one-error-of-each-kind",),
    ),
    Case(
        "http2/streams/connection-error-before-stream-error", "9113-5.4-a-connection-error-is-reported",
        (OPEN, Head(1, BAD, after=b"\x80")), *connection_error("COMPRESSION_ERROR"),
        why="A block that cannot be decoded ends the connection, also if what could be decoded of it is malformed.",
    ),
    Case(
        "http2/streams/closes-after-goaway", "9113-5.4.1-close-after-goaway", (frame(DATA, 0, 0, b"x"),), ENDED,
        rf"{ONCE}(.* )?goaway=\w+ open",
    ),
    Case(
        "http2/streams/as-many-as-allowed-and-one", "9113-5.1.2-more-than-our-limit", (NO_CREDIT, TooMany(LARGE)),
        rf"{ONCE}(.* )?\d+:(REFUSED_STREAM|PROTOCOL_ERROR)( .*)? open",
        rf"{ENDED}|(?!.*setting=3:(\d{{1,2}}|[1-9]\d\d) )(.* )?open", needs=NEEDS_LARGE, shows=("setting",),
        also=("9113-5.1.2-the-peers-limit",),
    ),
    Case(
        "http2/streams/refused-block-is-decoded", "9113-10.5.1-processed-though-too-large",
        (NO_CREDIT, TooMany(LARGE), Head(99_997, LARGE, after=b"\x40\x01a\x01b"), reset(1),
         Head(99_999, GET, after=b"\xbe")),
        rf"{ONCE}(?=.*:REFUSED_STREAM|.*:PROTOCOL_ERROR)(?!.*goaway)(.* )?99999:{SERVED} .*open",
        rf"{ENDED}|{ONCE}(?!.*goaway=COMPRESSION)(.* )?99999:.*open|{ONCE}.*goaway=\w+ .*open", needs=NEEDS_LARGE,
        also=("9113-4.3-no-block-is-skipped",),
        why="The field block of a refused request changes the compression table all the same, so it has to be decoded.",
    ),
    Case(
        "http2/streams/resets-make-room", "9113-5.1.2-more-than-our-limit",
        (NO_CREDIT, Each(range(1, 181, 2), lambda stream: (Head(stream, LARGE), reset(stream))), Head(181, GET), credit(181,
        1 << 20)),
        rf"{ONCE}(?!.*goaway)(?=(.* )?181:{SERVED} (.* )?181:end ).*open",
        rf"{ENDED}|{ONCE}(.* )?(goaway=\w+|\d+:(ENHANCE_YOUR_CALM|REFUSED_STREAM)) .*open",
        needs=NEEDS_LARGE,
        why="A stream that was reset counts no longer. A server may still find the many resets suspicious.",
    ),
)  # fmt: skip

CASES = (*IDLE, *HALF, *OVER, *ERRORS)
