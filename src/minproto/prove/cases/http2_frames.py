"""HTTP/2: the preface, and frames as such: their headers, sizes and padding, and what may come between them (RFC 9113 §3.4,
§4, §5.5, §6.1, §6.2, §6.10)."""

from minproto.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from minproto.prove.case import Case, Trickle, Wait
from minproto.prove.cases.http2_patterns import (
    ENDED,
    OK,
    ONCE,
    PROTOCOL,
    SERVED,
    SIZE,
    answered,
    either_error,
)
from minproto.prove.frames import ECHO, GET, LARGE, PING_FRAME, POST, Head, Pieces, fields, frame, number, settings

BIG = bytes(16_385)
"""One byte more than each endpoint accepts, unless it has set a larger SETTINGS_MAX_FRAME_SIZE."""
LARGER_ALLOWED = rf"{ONCE}(.* )?setting=5:(?!16384 )\d+ (.* )?open"
"""The server has set a larger SETTINGS_MAX_FRAME_SIZE, so it does not have to refuse ``BIG``."""
NEEDS_POST = frozenset({"post"})
OPEN = Head(1, POST, END_HEADERS)
BEGUN = Head(1, GET, END_STREAM)
"""HEADERS with a complete block, but without the flag END_HEADERS."""
DEPENDENCY = number(0) + b"\x0f"
UNKNOWN = 0x16
MORE = fields("GET", ("x-name", "value"))
CUT = "A field block may be cut at each byte. A server that reads a frame by itself decodes half a field."


def too_large(patterns: tuple[str, str]) -> tuple[str, str]:
    """Return the patterns for a frame as large as ``BIG``."""
    return patterns[0], f"{patterns[1]}|{LARGER_ALLOWED}"


def _right(words: str, entry: str, *steps: bytes | Head | Pieces, also: tuple[str, ...] = (), why: str = "") -> Case:
    return Case(f"http2/frames/{words}", entry, steps, *OK, also=also, why=why)


def _limited(words: str, *steps: bytes | Head | Pieces) -> Case:
    """A block in frames that a server may find too many, or too small (§10.5)."""
    return Case(f"http2/frames/{words}", "9113-6.10-preceded", steps, *OK, ENDED, why=CUT)


def _wrong(words: str, entry: str, *steps: bytes | Head | Pieces, also: tuple[str, ...] = ()) -> Case:
    return Case(f"http2/frames/{words}", entry, steps, *PROTOCOL, also=also)


PREFACES = (
    Case(
        "http2/frames/request-with-the-preface", "9113-3.4-settings-follow-the-preface",
        (PREFACE + settings(), Head(1, GET)), *OK, opens=True,
        also=("9113-3.3-preface-of-the-server", "9113-3.4-a-server-begins-with-settings", "9113-6.5-settings-first"),
        why="A client may send its first request with its preface, before it knows the server's settings.",
    ),
    Case(
        "http2/frames/preface-byte-by-byte", "9113-3.3-preface-of-the-server",
        (Trickle(PREFACE + settings()), Head(1, GET)), *OK, opens=True,
        why="TCP keeps no boundaries: the preface, and each frame, may arrive in any pieces.",
    ),
    Case(
        "http2/frames/preface-is-acknowledged", "9113-3.4-acknowledge-the-preface", (PREFACE + settings(),), "ack open",
        opens=True, shows=("ack",),
    ),
    Case(
        "http2/frames/preface-wrong", "9113-3.4-invalid-preface",
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" + settings() + PING_FRAME,), "(goaway=PROTOCOL_ERROR )?closed",
        r"malformed (closed|reset|open)|(.* )?(closed|reset)|(.* )?goaway=PROTOCOL_ERROR open", opens=True,
        why="A peer that does not begin with the 24 bytes does not speak HTTP/2: its bytes are no frames.",
    ),
    Case(
        "http2/frames/preface-without-settings", "9113-3.4-invalid-preface", (PREFACE + PING_FRAME,),
        f"{PROTOCOL[0]}|closed", PROTOCOL[1], opens=True, also=("9113-6.5-settings-first",
        "9113-3.4-settings-follow-the-preface"),
    ),
    Case(
        "http2/frames/preface-with-an-ack-alone", "9113-3.4-invalid-preface",
        (PREFACE + frame(SETTINGS, ACK, 0) + PING_FRAME,),
        f"{PROTOCOL[0]}|closed", rf"{PROTOCOL[1]}|pong open", opens=True,
        why="An acknowledgement is a SETTINGS frame, but it sets nothing, and there was nothing to acknowledge.",
    ),
    Case(
        "http2/frames/preface-wrong-at-its-20th-byte", "9113-3.4-invalid-preface", (PREFACE[:19] + b"X",),
        "(goaway=PROTOCOL_ERROR )?closed", r"malformed (closed|reset|open)|(.* )?(closed|reset)|silent|(.* )?goaway=\w+ open",
        opens=True, why="A server that waits for the last four bytes waits for nothing: these 20 are wrong already.",
    ),
)  # fmt: skip

HEADS = (
    _right("unknown-type", "9113-4.1-unknown-types", frame(UNKNOWN, 0, 0, b"12345678"), Head(1, GET),
           also=("9113-5.5-unknown-values",)),
    _right("unknown-type-with-all-flags", "9113-4.1-unknown-types", frame(0xFF, 0xFF, 0, bytes(99)), Head(1, GET)),
    _right("unknown-type-on-an-idle-stream", "9113-4.1-unknown-types", frame(UNKNOWN, 0, 5, b"x"), Head(1, GET)),
    Case(
        "http2/frames/unknown-type-in-an-upload", "9113-4.1-unknown-types",
        (OPEN, frame(UNKNOWN, 0, 1, b"x"), frame(DATA, END_STREAM, 1, b"hello")), *OK, needs=NEEDS_POST,
    ),
    Case("http2/frames/ping-with-unused-flags", "9113-4.1-unused-flags-are-ignored", (frame(6, 0xFE, 0, bytes(8)),),
         "pong open"),
    _right("headers-with-unused-flags", "9113-4.1-unused-flags-are-ignored", Head(1, GET, END_STREAM | END_HEADERS | 0xD2)),
    _right("settings-with-unused-flags", "9113-4.1-unused-flags-are-ignored", frame(SETTINGS, 0xFE, 0), Head(1, GET)),
    _right("priority-with-unused-flags", "9113-4.1-unused-flags-are-ignored", frame(PRIORITY, 0xFF, 1, DEPENDENCY),
           Head(1, GET)),
    _right("window-update-with-unused-flags", "9113-4.1-unused-flags-are-ignored",
           frame(WINDOW_UPDATE, 0xFF, 0, number(1)), Head(1, GET)),
    Case(
        "http2/frames/reset-with-unused-flags", "9113-4.1-unused-flags-are-ignored",
        (OPEN, frame(RST_STREAM, 0xFF, 1, number(8)), Head(3, GET)), *answered(3),
    ),
    Case(
        "http2/frames/data-with-unused-flags", "9113-4.1-unused-flags-are-ignored",
        (OPEN, frame(DATA, END_STREAM | 0xF6, 1, b"hello")), *OK, needs=NEEDS_POST,
    ),
    Case(
        "http2/frames/reserved-bit-of-ping", "9113-4.1-reserved-bit-is-ignored", (frame(6, 0, 1 << 31, bytes(8)),),
        "pong open",
    ),
    _right("reserved-bit-of-headers", "9113-4.1-reserved-bit-is-ignored", Head(1 << 31 | 1, GET)),
    _right("reserved-bit-of-an-increment", "9113-4.1-reserved-bit-is-ignored",
           frame(WINDOW_UPDATE, 0, 0, number(1 << 31 | 1)), Head(1, GET)),
    Case(
        "http2/frames/no-bit-without-a-meaning", "9113-4.1-unused-flags-are-unset", (Head(1, LARGE), PING_FRAME, Wait("pong")),
        rf"{ONCE}(?=.*\bpong )(?=(.* )?1:{SERVED} ).*open", needs=frozenset({"large"}),
        also=("9113-4.1-reserved-bit-is-unset", "9113-4.1-length-of-a-frame", "9113-8.1-nothing-in-between",
              "9113-4.3-a-field-block-is-contiguous", "9113-6.2-continued", "9113-6.10-continued"),
        why="A client that knows an extension takes an unused bit, or a frame that is too large, for a part of it.",
    ),
    Case(
        "http2/frames/head-of-34000-bytes", "9113-6.2-continued",
        (Pieces(1, (*ECHO, ("content-type", "a/" + "X" * 34_000)), (16_000, 16_000), flags=0),
         frame(DATA, END_STREAM, 1, b"hello")),
        rf"{ONCE}1:200 .*1:end open", rf"{ENDED}|{ONCE}1:[45]\d\d .*open|{ONCE}.*1:[A-Z_]+ open", needs=frozenset({"echo"}),
        also=("9113-4.1-length-of-a-frame", "9113-4.1-unused-flags-are-unset", "9113-6.10-continued",
              "9113-6.10-has-a-stream", "9113-6.10-preceded"),
        why="A server that sends the field back needs three frames for its own head, too.",
    ),
)  # fmt: skip

SIZES = (
    Case(
        "http2/frames/data-of-16384-bytes", "9113-4.2-frames-of-16384-bytes",
        (OPEN, frame(DATA, END_STREAM, 1, BIG[1:])), *OK, needs=NEEDS_POST,
    ),
    _right("unknown-type-of-16384-bytes", "9113-4.2-frames-of-16384-bytes", frame(UNKNOWN, 0, 0, BIG[1:]), Head(1, GET)),
    Case(
        "http2/frames/data-too-large", "9113-4.2-larger-than-allowed", (OPEN, frame(DATA, 0, 1, BIG)),
        *too_large(either_error(1, "FRAME_SIZE_ERROR")), shows=("setting",),
        why="A server that announces how much it takes, and takes more, has no bound on the memory for a frame.",
    ),
    Case(
        "http2/frames/headers-too-large", "9113-4.2-size-error-of-the-connection",
        (Head(1, fields("GET", ("x", "a" * 16_384))),),
        *too_large(SIZE), shows=("setting",), also=("9113-4.2-larger-than-allowed",),
    ),
    Case(
        "http2/frames/unknown-type-too-large", "9113-4.2-larger-than-allowed", (frame(UNKNOWN, 0, 0, BIG),), *too_large(SIZE),
        shows=("setting",),
    ),
    Case("http2/frames/ping-too-large", "9113-4.2-over-the-limit-of-its-type", (frame(6, 0, 0, bytes(9)),), *SIZE),
    Case("http2/frames/settings-cut-short", "9113-4.2-too-small-for-its-fields", (frame(SETTINGS, 0, 0, bytes(5)),), *SIZE),
    Case(
        "http2/frames/headers-too-short-for-its-priority", "9113-4.2-too-small-for-its-fields",
        (frame(HEADERS, PRIORITIZED | END_HEADERS | END_STREAM, 1, bytes(4)),),
        f"{SIZE[0]}|{PROTOCOL[0]}", SIZE[1],
    ),
)  # fmt: skip

PADDING = (
    Case(
        "http2/frames/padded-data", "9113-6.1-padding-too-long",
        (OPEN, frame(DATA, PADDED | END_STREAM, 1, b"\x05hello" + bytes(5))), *OK, needs=NEEDS_POST,
        why="A client may pad each DATA frame, so that nobody can tell a response by its size.",
    ),
    Case(
        "http2/frames/padding-alone", "9113-6.1-padding-too-long",
        (OPEN, frame(DATA, PADDED, 1, b"\x05" + bytes(5)), frame(DATA, END_STREAM, 1, b"hello")), *OK, needs=NEEDS_POST,
        why="A frame of six bytes may contain five bytes of padding, and no data.",
    ),
    _wrong("padding-as-long-as-data", "9113-6.1-padding-too-long", OPEN, frame(DATA, PADDED, 1, b"\x05hell"),
           also=("9113-5.4-a-connection-error-is-reported",)),
    _wrong("padding-longer-than-data", "9113-6.1-padding-too-long", OPEN, frame(DATA, PADDED, 1, b"\xffhello"),
           also=("9113-5.4-a-connection-error-is-reported",)),
    Case(
        "http2/frames/data-without-pad-length", "9113-4.2-too-small-for-its-fields", (OPEN, frame(DATA, PADDED, 1)),
        f"{either_error(1, 'FRAME_SIZE_ERROR')[0]}|{PROTOCOL[0]}", either_error(1, "FRAME_SIZE_ERROR")[1],
        why="An empty frame with the flag PADDED lacks even the byte that says how much padding there is.",
    ),
    _right("padded-headers", "9113-6.2-padding-too-long",
           Head(1, GET, END_STREAM | END_HEADERS | PADDED, before=b"\x07", after=bytes(7)),
           why="Padding that is shorter than the payload is no error."),
    _right("headers-with-priority", "9113-6.2-padding-too-long",
           Head(1, GET, END_STREAM | END_HEADERS | PRIORITIZED, before=b"\x80\0\0\0\x0f"),
           why="A client of RFC 7540 sends the five bytes of a priority. RFC 9113 has retired their meaning."),
    _right("padded-headers-with-priority", "9113-6.2-padding-too-long",
           Head(1, GET, END_STREAM | END_HEADERS | PADDED | PRIORITIZED, before=b"\x01" + DEPENDENCY, after=b"\0"),
           why="A frame may have both: the pad length comes first, and the priority follows."),
    _wrong("padding-as-long-as-headers", "9113-6.2-padding-too-long",
           frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\x05" + bytes(4))),
    _wrong("padding-over-the-priority", "9113-6.2-padding-too-long",
           frame(HEADERS, PADDED | PRIORITIZED | END_HEADERS | END_STREAM, 1, b"\x01" + DEPENDENCY)),
)  # fmt: skip

STREAM_0 = (
    _wrong("data-on-stream-0", "9113-6.1-data-on-stream-0", frame(DATA, 0, 0, b"hi"), also=("9113-6.1-data-has-a-stream",)),
    _wrong("headers-on-stream-0", "9113-6.2-headers-on-stream-0", Head(0, GET), also=("9113-6.2-headers-have-a-stream",)),
    _wrong("continuation-on-stream-0", "9113-6.10-continuation-on-stream-0", BEGUN, frame(CONTINUATION, END_HEADERS, 0),
           also=("9113-6.10-has-a-stream",)),
    _wrong("push-promise", "9113-8.4-a-client-can-not-push", OPEN, frame(PUSH_PROMISE, END_HEADERS, 1, number(2)),
           also=("9113-8.4.1-no-push-by-a-client",)),
)  # fmt: skip

BLOCKS = (
    _right("block-in-two-frames", "9113-6.10-preceded", Pieces(1, MORE, (9,)), why=CUT),
    _right("block-in-five-frames", "9113-6.10-preceded", Pieces(1, MORE, (1, 1, 9, 3)), why=CUT),
    _limited("block-cut-into-bytes", Pieces(1, MORE, (1,) * 20)),
    _limited("headers-and-continuations-without-content", Pieces(1, MORE, (0, 3, 0, 0, 4))),
    _limited("priority-alone-then-the-block", frame(HEADERS, PRIORITIZED | END_STREAM, 1, DEPENDENCY),
             Head(1, GET, END_HEADERS, type=CONTINUATION)),
    Case(
        "http2/frames/end-of-stream-is-not-a-flag-of-continuation", "9113-4.1-unused-flags-are-ignored",
        (Pieces(1, POST, (9,), flags=0, last=END_HEADERS | END_STREAM), frame(DATA, END_STREAM, 1, b"hello")), *OK,
        needs=NEEDS_POST,
        why="END_STREAM is a flag of HEADERS, also if CONTINUATION frames follow.",
    ),
    Case(
        "http2/frames/end-of-stream-before-continuation", "9113-4.1-unused-flags-are-ignored", (Pieces(1, ECHO, (9,)),),
        r"(?!.*1:data=[1-9])1:200 (1:data=0 )?1:end open", needs=frozenset({"echo"}), shows=("data",),
        why="END_STREAM is a flag of HEADERS, also if CONTINUATION frames follow.",
    ),
    _right("continuation-with-unused-flags", "9113-4.1-unused-flags-are-ignored", Pieces(1, MORE, (9,),
           last=END_HEADERS | 0xFB)),
    _wrong("block-interrupted-by-priority", "9113-6.2-interrupted", BEGUN, frame(PRIORITY, 0, 1, DEPENDENCY),
           also=("9113-4.3-a-field-block-is-contiguous",)),
    _wrong("block-interrupted-by-ping", "9113-6.2-interrupted", BEGUN, PING_FRAME),
    _wrong("block-interrupted-by-settings", "9113-6.2-interrupted", BEGUN, settings()),
    _wrong("block-interrupted-by-window-update", "9113-6.2-interrupted", BEGUN, frame(WINDOW_UPDATE, 0, 0, number(1))),
    _wrong("block-interrupted-by-data", "9113-6.2-interrupted", BEGUN, frame(DATA, 0, 1, b"x")),
    _wrong("block-interrupted-by-a-reset", "9113-6.2-interrupted", BEGUN, frame(RST_STREAM, 0, 1, number(8))),
    _wrong("block-interrupted-by-headers", "9113-6.2-interrupted", BEGUN, Head(3, GET)),
    _wrong("block-interrupted-by-headers-of-its-stream", "9113-6.2-interrupted", BEGUN, Head(1, GET)),
    _wrong("block-interrupted-by-an-unknown-type", "9113-5.5-extension-in-a-field-block", BEGUN, frame(UNKNOWN, 0, 0, b"x")),
    _wrong("continuation-on-another-stream", "9113-6.2-interrupted", BEGUN, frame(CONTINUATION, END_HEADERS, 3),
           also=("9113-4.3-a-field-block-is-contiguous", "9113-6.10-interrupted")),
    _wrong("interrupted-after-continuation", "9113-6.10-interrupted", Pieces(1, GET, (9, 9), last=0), PING_FRAME),
    _wrong("continuation-without-headers", "9113-6.10-without-a-beginning", frame(CONTINUATION, END_HEADERS, 1)),
    _wrong("continuation-after-the-block", "9113-6.10-without-a-beginning", Head(1, GET), frame(CONTINUATION, END_HEADERS, 1)),
    _wrong("continuation-after-the-last-one", "9113-6.10-without-a-beginning", Pieces(1, GET, (9,)),
           frame(CONTINUATION, END_HEADERS, 1)),
    _wrong("continuation-after-data", "9113-6.10-without-a-beginning", OPEN, frame(DATA, 0, 1, b"x"),
           frame(CONTINUATION, END_HEADERS, 1)),
)  # fmt: skip

CASES = (*PREFACES, *HEADS, *SIZES, *PADDING, *STREAM_0, *BLOCKS)
