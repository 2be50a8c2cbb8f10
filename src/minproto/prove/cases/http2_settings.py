"""HTTP/2: settings, the limits that each end sets for the other (RFC 9113 §6.5, RFC 8441 §3, RFC 9218 §2.1)."""

from minproto.http2_frames import (
    ACK,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
    SETTINGS,
)
from minproto.prove.case import Case
from minproto.prove.cases.http2_patterns import ENDED, OK, ONCE, PROTOCOL, SERVED, SIZE, connection_error
from minproto.prove.frames import GET, LARGE, Head, frame, settings

FLOW = connection_error("FLOW_CONTROL_ERROR")
LIMIT = (1 << 31) - 1
FRAME_LIMIT = (1 << 24) - 1


def _right(words: str, entry: str, *steps: bytes, also: tuple[str, ...] = ()) -> Case:
    """The settings are acknowledged, and the request after them is served."""
    right = rf"{ONCE}(?=.*\back )(?=(.* )?1:{SERVED} (.* )?1:end ).* open"
    return Case(f"http2/settings/{words}", entry, (*steps, Head(1, GET)), right, shows=("ack",), also=also)


def _wrong(words: str, entry: str, patterns: tuple[str, str], *steps: bytes, also: tuple[str, ...] = ()) -> Case:
    return Case(f"http2/settings/{words}", entry, steps, *patterns, also=also)


RIGHT = (
    _right("none", "9113-6.5.3-acknowledged", settings()),
    _right("all", "9113-6.5-all-settings", settings(
        (HEADER_TABLE_SIZE, 4_096), (ENABLE_PUSH, 0), (MAX_CONCURRENT_STREAMS, 5), (INITIAL_WINDOW_SIZE, 70_000),
        (MAX_FRAME_SIZE, 1 << 15), (MAX_HEADER_LIST_SIZE, 1 << 16),
    )),
    _right("least-values", "9113-6.5-all-settings", settings(
        (ENABLE_PUSH, 0), (MAX_CONCURRENT_STREAMS, 0), (MAX_FRAME_SIZE, 1 << 14),
    ), also=("9113-6.5.2-no-streams-is-no-special-limit", "9113-6.5.2-frame-size-range")),
    _right("greatest-values", "9113-6.5-all-settings", settings(
        (HEADER_TABLE_SIZE, 0xFFFFFFFF), (MAX_CONCURRENT_STREAMS, 0xFFFFFFFF), (INITIAL_WINDOW_SIZE, LIMIT),
        (MAX_FRAME_SIZE, FRAME_LIMIT), (MAX_HEADER_LIST_SIZE, 0xFFFFFFFF),
    ), also=("9113-6.5.2-frame-size-range", "9113-6.5.2-window-range")),
    _right("unknown", "9113-6.5.2-unknown-settings", settings((0x7A7A, 0xFFFFFFFF), (0, 1), (0xFFFF, 0)),
           also=("9113-5.5-unknown-values",)),
    _right("that-name-a-setting-twice", "9113-6.5.3-in-their-order",
           settings((INITIAL_WINDOW_SIZE, 1), (INITIAL_WINDOW_SIZE, 65_535))),
    _right("connect-protocol-of-a-client", "8441-3-zero-or-one", settings((ENABLE_CONNECT_PROTOCOL, 1))),
    _right("no-rfc7540-priorities", "9218-2.1-setting-is-0-or-1", settings((NO_RFC7540_PRIORITIES, 0))),
    Case(
        "http2/settings/two-frames-two-acks", "9113-6.5.3-acknowledged", (settings(), settings((0x7A7A, 1))), "ack ack open",
        shows=("ack",),
    ),
    Case(
        "http2/settings/last-value-counts", "9113-6.5.3-in-their-order",
        (settings((INITIAL_WINDOW_SIZE, 50_000), (INITIAL_WINDOW_SIZE, 10)), Head(1, LARGE)), "1:200 1:data=10 open",
        needs=frozenset({"large"}), shows=("data",), also=("9113-6.5.3-applied-at-once",),
    ),
    Case(
        "http2/settings/ack-that-nobody-asked-for", "9113-6.5-ack-is-empty", (frame(SETTINGS, ACK, 0) * 2, Head(1, GET)),
        OK[0], ENDED,
        why="No sentence calls an ACK too many an error, and no state depends on it; a server may still call it one.",
    ),
    Case(
        "http2/settings/no-push", "9113-6.5.2-no-push-if-0", (Head(1, GET),), *OK,
        why="A pushed response is lost work for a client that has disabled push.",
    ),
    Case(
        "http2/settings/of-the-server", "9113-6.5.2-frame-size-sent", (Head(1, GET),),
        rf"{ONCE}(?!.*setting=2:[1-9])(?!.*setting=[89]:([2-9]|1\d))(setting=\d+:\d+ )*(.* )?1:{SERVED} (.* )?1:end .*open",
        shows=("setting",), also=("9113-6.5.2-server-does-not-enable-push", "9113-6.5.2-a-server-includes-only-0"),
        why="A client ends a connection whose server enables push, or announces a value out of its range.",
    ),
    Case(
        "http2/settings/allow-streams", "9113-6.5.2-no-streams-only-for-a-while", (Head(1, GET),),
        rf"{ONCE}(?!.*setting=3:0 ).*open",
        rf"{ONCE}.*setting=3:0 .*open", shows=("setting",),
    ),
)  # fmt: skip

WRONG = (
    _wrong("ack-with-a-payload", "9113-6.5-ack-with-a-payload", SIZE, frame(SETTINGS, ACK, 0, bytes(6)),
           also=("9113-6.5-ack-is-empty", "9113-4.2-size-error-of-the-connection")),
    _wrong("on-a-stream", "9113-6.5-settings-on-a-stream", PROTOCOL, frame(SETTINGS, 0, 1, bytes(6)),
           also=("9113-6.5-sent-on-stream-0",)),
    _wrong("ack-on-a-stream", "9113-6.5-settings-on-a-stream", PROTOCOL, frame(SETTINGS, ACK, 1)),
    _wrong("three-bytes", "9113-6.5-length", SIZE, frame(SETTINGS, 0, 0, bytes(3))),
    _wrong("seven-bytes", "9113-6.5-length", SIZE, frame(SETTINGS, 0, 0, bytes(7))),
    _wrong("push-of-2", "9113-6.5.2-enable-push-range", PROTOCOL, settings((ENABLE_PUSH, 2)), also=("9113-6.5-badly-formed",)),
    _wrong("window-of-2-31", "9113-6.5.2-window-range", FLOW, settings((INITIAL_WINDOW_SIZE, LIMIT + 1))),
    _wrong("window-of-2-32", "9113-6.5.2-window-range", FLOW, settings((INITIAL_WINDOW_SIZE, 0xFFFFFFFF))),
    _wrong("frame-size-below-2-14", "9113-6.5.2-frame-size-range", PROTOCOL, settings((MAX_FRAME_SIZE, 16_383))),
    _wrong("frame-size-of-0", "9113-6.5.2-frame-size-range", PROTOCOL, settings((MAX_FRAME_SIZE, 0))),
    _wrong("frame-size-of-2-24", "9113-6.5.2-frame-size-range", PROTOCOL, settings((MAX_FRAME_SIZE, FRAME_LIMIT + 1))),
    Case(
        "http2/settings/no-rfc7540-priorities-of-2", "9218-2.1-another-value",
        (settings((NO_RFC7540_PRIORITIES, 2)), Head(1, GET)),
        PROTOCOL[0], f"{PROTOCOL[1]}|{OK[0]}",
        why="The value is out of its range. A server that does not know RFC 9218 ignores the setting, as RFC 9113 demands.",
    ),
    Case(
        "http2/settings/connect-protocol-of-2", "8441-3-zero-or-one", (settings((ENABLE_CONNECT_PROTOCOL, 2)), Head(1, GET)),
        PROTOCOL[0], f"{PROTOCOL[1]}|{OK[0]}",
        why="The value is out of its range, but a client's setting of this name has no effect on a server (RFC 8441 §3).",
    ),
    Case(
        "http2/settings/connect-protocol-taken-back", "8441-3-not-taken-back",
        (settings((ENABLE_CONNECT_PROTOCOL, 1)), settings((ENABLE_CONNECT_PROTOCOL, 0)), Head(1, GET)),
        PROTOCOL[0], f"{PROTOCOL[1]}|{OK[0]}",
        why="A sender must not take it back, but a client's setting of this name has no effect on a server (RFC 8441 §3).",
    ),
    Case(
        "http2/settings/priorities-changed", "9218-2.1-no-change",
        (settings((NO_RFC7540_PRIORITIES, 1)), settings((NO_RFC7540_PRIORITIES, 0)), Head(1, GET)), rf"{OK[0]}|{PROTOCOL[0]}",
        PROTOCOL[1],
        why="A server that notices the change may end the connection, and may as well ignore it (RFC 9218 §2.1).",
    ),
)  # fmt: skip

CASES = (*RIGHT, *WRONG)
