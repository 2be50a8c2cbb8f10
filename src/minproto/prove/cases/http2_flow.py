"""HTTP/2: flow control, the bytes of DATA for which the peer has credit (RFC 9113 §5.2, §6.9)."""

from minproto.http2_frames import DATA, END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE, MAX_ID, WINDOW_UPDATE
from minproto.prove.case import Case, Step, Wait
from minproto.prove.cases.http2_patterns import ENDED, OK, ONCE, PROTOCOL, SIZE, connection_error, stream_error
from minproto.prove.frames import GET, LARGE, PING_FRAME, POST, Head, credit, frame, settings, without

FLOW = connection_error("FLOW_CONTROL_ERROR")
NEEDS_LARGE = frozenset({"large"})
ASK = Head(1, LARGE)
OPEN = Head(1, POST, END_HEADERS)
DEFAULT = 65_535


def window(size: int) -> bytes:
    """Return SETTINGS with an initial size of windows."""
    return settings((INITIAL_WINDOW_SIZE, size))


def _gets(words: str, entry: str, right: str, *steps: Step, also: tuple[str, ...] = (), why: str = "") -> Case:
    """The content of a large response, as far as there is credit for it. Both more bytes and fewer bytes are wrong."""
    return Case(
        f"http2/flow/{words}", entry, steps, f"1:200 {right}open", needs=NEEDS_LARGE, shows=("data",), also=also, why=why,
    )  # fmt: skip


CREDIT = (
    _gets("window-of-a-connection", "9113-6.9.1-within-both-windows", "1:data=65535 ", window(1 << 20), ASK,
          also=("9113-5.2.1-the-peers-windows", "9113-6.9.1-both-windows-shrink", "9113-6.9.2-difference")),
    _gets("window-of-a-stream", "9113-6.9.1-within-both-windows", "1:data=1000 ", window(1_000), ASK,
          also=("9113-5.2.1-the-peers-windows", "9113-6.5.3-applied-at-once")),
    _gets("window-of-one-byte", "9113-6.9.1-within-both-windows", "1:data=1 ", window(1), ASK,
          why="A server that waits for a larger window never sends a byte to a client that has little memory."),
    _gets("window-of-0", "9113-6.9.1-within-both-windows", "(1:data=0 )?", window(0), ASK),
    _gets("credit-for-a-stream", "9113-6.9.1-credit-is-added", "1:data=15 ", window(10), ASK, Wait("data=10"), credit(1, 5)),
    _gets("credit-for-a-stream-before-content", "9113-6.9.1-credit-is-added", "1:data=7 ", window(0), ASK, credit(1, 3),
          credit(1, 4)),
    _gets("credit-for-a-connection", "9113-6.9.1-credit-is-added", "1:data=65635 ", window(1 << 20), ASK,
          Wait("data=65535"), credit(0, 100)),
    _gets("credit-for-a-connection-in-advance", "9113-6.9.1-credit-is-added", "1:data=65635 ", window(1 << 20), credit(0, 100),
          ASK),
    _gets("window-that-grows", "9113-6.9.2-difference", "1:data=150 ", window(100), ASK, Wait("data=100"), window(150)),
    _gets("window-that-shrinks", "9113-6.9.2-negative-windows", "1:data=110 ", window(100), ASK, Wait("data=100"),
          window(50), credit(1, 60), also=("9113-6.9.2-difference", "9113-6.9.2-no-content-until-it-is-positive")),
    _gets("window-below-0", "9113-6.9.2-no-content-until-it-is-positive", "1:data=100 ", window(100), ASK, Wait("data=100"),
          window(0), credit(1, 100), also=("9113-6.9.2-negative-windows",)),
    _gets("window-below-0-and-back", "9113-6.9.2-negative-windows", "1:data=101 ", window(100), ASK, Wait("data=100"),
          window(0), window(101)),
    _gets("settings-leave-the-connection-alone", "9113-6.9.2-difference", "1:data=65535 ", ASK, Wait("data=65535"),
          window(1 << 20)),
    _gets("largest-window", "9113-6.9.1-at-most-2-31", "1:data=65635 ", window(MAX_ID), ASK, Wait("data=65535"), credit(0,
          100)),
    Case(
        "http2/flow/two-streams-share-a-connection", "9113-6.9.1-within-both-windows",
        (window(40_000), ASK, Wait("1:data=40000"), Head(3, LARGE)), "1:200 1:data=40000 3:200 3:data=25535 open",
        needs=NEEDS_LARGE, shows=("data",), also=("9113-6.9.1-both-windows-shrink",),
    ),
    Case(
        "http2/flow/headers-need-no-credit", "9113-6.9-exempt-frames",
        (window(1 << 20), ASK, Wait("data=65535"), Head(3, GET)),
        r"1:200 1:data=65535 3:\d\d\d (3:data=0 )?(3:end )?open", needs=NEEDS_LARGE, shows=("data",),
        why="Flow control is for DATA alone. A head that waits for credit may wait for ever.",
    ),
    Case(
        "http2/flow/a-stalled-stream-stops-no-other", "9113-5.2.1-the-peers-windows",
        (window(10), ASK, Wait("1:data=10"), Head(3, LARGE), Wait("3:data=10"), credit(3, 90)),
        "1:200 1:data=10 3:200 3:data=10 3:data=100 open|1:200 1:data=10 3:200 3:data=100 open", needs=NEEDS_LARGE,
        shows=("data",),
        why="Two streams have windows of their own: a client that reads one slowly still gets the other.",
    ),
    Case(
        "http2/flow/whole-response", "9113-6.9.1-credit-is-added", (window(1 << 20), credit(0, 1 << 24), ASK),
        rf"{ONCE}1:200 1:end open", needs=NEEDS_LARGE, also=("9113-4.1-length-of-a-frame",),
    ),
)  # fmt: skip

ERRORS = (
    Case(
        "http2/flow/increment-of-0", "9113-6.9-increment-of-0", (window(0), ASK, Wait("1:200"), credit(1, 0)),
        *stream_error(1, "PROTOCOL_ERROR"), needs=NEEDS_LARGE,
    ),
    Case(
        "http2/flow/increment-of-0-and-the-reserved-bit", "9113-6.9-increment-of-0",
        (window(0), ASK, Wait("1:200"), credit(1, 1 << 31)), *stream_error(1, "PROTOCOL_ERROR"), needs=NEEDS_LARGE,
    ),
    Case("http2/flow/increment-of-0-for-the-connection", "9113-6.9-errors-of-the-connections-window", (credit(0, 0),),
         *PROTOCOL),
    Case("http2/flow/window-update-of-three-bytes", "9113-6.9-length", (frame(WINDOW_UPDATE, 0, 0, bytes(3)),), *SIZE),
    Case("http2/flow/window-update-of-five-bytes", "9113-6.9-length", (frame(WINDOW_UPDATE, 0, 0, bytes(4) + b"\1"),), *SIZE),
    Case("http2/flow/window-update-of-three-bytes-on-a-stream", "9113-6.9-length", (OPEN,
         frame(WINDOW_UPDATE, 0, 1, bytes(3))), *SIZE),
    Case(
        "http2/flow/connection-over-2-31", "9113-6.9.1-overflow-of-the-connection",
        (credit(0, MAX_ID - DEFAULT), credit(0, 1)), *FLOW,
        also=("9113-6.9.1-at-most-2-31",),
    ),
    Case(
        "http2/flow/connection-at-2-31", "9113-6.9.1-overflow-of-the-connection", (credit(0, MAX_ID - DEFAULT), Head(1, GET)),
        *OK,
        why="The largest window is 2^31-1, and not less.",
    ),
    Case(
        "http2/flow/stream-over-2-31", "9113-6.9.1-overflow-of-a-stream",
        (window(1 << 20), ASK, Wait("data=65535"), credit(1, MAX_ID)),
        *stream_error(1, "FLOW_CONTROL_ERROR"), needs=NEEDS_LARGE, shows=("data",), also=("9113-6.9.1-at-most-2-31",),
    ),
    Case(
        "http2/flow/settings-over-2-31", "9113-6.9.2-settings-overflow",
        (window(1 << 20), ASK, Wait("data=65535"), credit(1, MAX_ID - (1 << 20)), window((1 << 20) + DEFAULT + 1)), *FLOW,
        needs=NEEDS_LARGE, shows=("data",),
    ),
)  # fmt: skip

UPLOADS = (
    Case(
        "http2/flow/empty-data", "9113-6.9.1-an-empty-frame-needs-no-credit",
        (OPEN, frame(DATA, 0, 1, b"hello"), frame(DATA, 0, 1), frame(DATA, END_STREAM, 1)), *OK, needs=frozenset({"post"}),
    ),
    Case(
        "http2/flow/credit-for-discarded-data", "9113-6.9-accounted",
        (Head(1, without(":path", GET), END_HEADERS), *[frame(DATA, 0, 1, bytes(15_000))] * 4, PING_FRAME),
        rf"{ONCE}(?=.*\bpong )(?=(.* )?window=\d+ ).*open", rf"{ENDED}|(?=.*\bpong ).*open", shows=("window",),
        also=("9113-5.1-after-our-reset",),
        why="A server that throws DATA away has to count it, and to give the credit back, or the connection stalls.",
    ),
)  # fmt: skip

CASES = (*CREDIT, *ERRORS, *UPLOADS)
