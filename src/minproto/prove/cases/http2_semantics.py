"""HTTP/2: what a request means: methods, interim responses, uploads, many requests at once, and tunnels (RFC
9113 §8, RFC 9110, RFC 8441)."""

from minproto.http2_frames import DATA, END_HEADERS, END_STREAM
from minproto.prove.case import Case, Reply, Trickle, Wait
from minproto.prove.cases.http2_patterns import ENDED, OK, ONCE, SERVED, answered, malformed
from minproto.prove.frames import CONNECT, ECHO, GET, PING_FRAME, POST, Head, fields, frame, reset, without

NEEDS_POST = frozenset({"post"})
NEEDS_ECHO = frozenset({"echo"})
HELLO = frame(DATA, END_STREAM, 1, b"hello")

WHOLE = "The content of a request arrives completely, in however many frames the client sends it."


def _echoed(words: str, entry: str, *steps: bytes | Head, size: int = 5, why: str = "") -> Case:
    """An upload that comes back completely."""
    right = rf"(1:100 )?1:200 (1:data=0 )*(1:data=\d+ )*1:data={size} 1:end open" if size else "1:200 (1:data=0 )?1:end open"
    return Case(f"http2/semantics/{words}", entry, steps, right, needs=NEEDS_ECHO, shows=("data",), why=why or WHOLE)


METHODS = (
    Case(
        "http2/semantics/get", "9110-9.1-get-and-head", (Head(1, GET),), *OK,
        also=("9113-8.3.2-status", "9113-8.2-lower-case", "9113-8.3-request-fields-in-responses",
        "9113-5.1-half-closed-local-sends",
              "9113-8.1-an-interim-response-ends-nothing"),
    ),
    Case(
        "http2/semantics/head", "9110-9.3.2-no-content-in-the-answer", (Head(1, fields("HEAD")),),
        rf"{ONCE}1:{SERVED} (1:data=0 )?1:end open", rf"{ONCE}1:5\d\d .*1:end open", shows=("data",), methods=("HEAD",),
        also=("9110-9.1-get-and-head", "9113-8.1.1-length-without-content"),
    ),
    Case(
        "http2/semantics/head-of-a-large-resource", "9110-9.3.2-no-content-in-the-answer",
        (Head(1, fields("HEAD", path="{large}")),),
        r"1:200 1:content-length=(\d+|-) (1:data=0 )?1:end open",
        rf"{ONCE}1:[45]\d\d .*1:end open", shows=("data", "content-length"), methods=("HEAD",), needs=frozenset({"large"}),
    ),
    Case(
        "http2/semantics/unknown-method", "9110-9.1-unknown-501", (Head(1, fields("BREW")),),
        rf"{ONCE}1:(405|501) (.* )?1:end .*open", rf"{ENDED}|{ONCE}1:\d\d\d .*open|{ONCE}.*1:[A-Z_]+ open",
        why="An app may know methods that its server does not.",
    ),
    Case(
        "http2/semantics/lower-case-method", "9110-9.1-case-sensitive", (Head(1, fields("get")),),
        rf"{ONCE}1:[45]\d\d (.* )?1:end .*open", rf"{ENDED}|{ONCE}1:\d\d\d .*open|{ONCE}.*1:[A-Z_]+ open",
        why="\"get\" is another method than GET, and an app may know it.",
    ),
    Case(
        "http2/semantics/get-with-content", "9113-8.1-a-complete-response-may-decline-the-rest",
        (Head(1, GET, END_HEADERS), HELLO), rf"{ONCE}1:{SERVED} (.* )?1:end (1:NO_ERROR )?open",
        rf"{ENDED}|{ONCE}1:[45]\d\d .*open|{ONCE}.*1:[A-Z_]+ open",
        why="Content in a GET has no meaning, but it is no error of HTTP/2.",
    ),
    Case(
        "http2/semantics/no-101", "9113-8.6-no-101", (Head(1, fields("GET", path="{ws}")), ),
        rf"{ONCE}(?!.*1:101)1:\d\d\d .*open",
        rf"{ENDED}|{ONCE}(?!.*1:101).*open",
    ),
)  # fmt: skip

FIELDS = (
    Case("http2/semantics/date", "9110-6.6.1-date", (Head(1, GET),), rf"{ONCE}1:{SERVED} 1:date=\w{{3}}, .* GMT .*open",
         rf"{ONCE}1:5\d\d .*open", shows=("date",)),
    Case("http2/semantics/content-length", "9110-8.6-known-length", (Head(1, GET),),
         rf"{ONCE}1:{SERVED} 1:content-length=\d+ .*open", rf"{ONCE}1:\d\d\d .*open", shows=("content-length",),
         why="A server should say the length of content that it knows."),
    Case("http2/semantics/target-of-8000-bytes", "9110-4.1-8000-octets", (Head(1, fields("GET", path="/" + "a" * 7_999)),),
         rf"{ONCE}1:(?!414|431|400)[2-4]\d\d .*open", rf"{ENDED}|{ONCE}1:\d\d\d .*open|{ONCE}.*1:[A-Z_]+ open"),
    Case("http2/semantics/another-scheme", "9110-7.4-scheme",
         (Head(1, (*GET[:1], (":scheme", "ftp"), *GET[2:])),),
         rf"{ONCE}1:4\d\d (.* )?1:end open|{ONCE}.*1:PROTOCOL_ERROR open",
         rf"{ENDED}|{ONCE}1:\d\d\d .*open|{ONCE}.*1:[A-Z_]+ open",
         why="A gateway may serve other schemes; an origin server has no resource of theirs."),
)  # fmt: skip

UPLOADS = (
    _echoed("upload", "9113-8.1.1-content-length", Head(1, ECHO, END_HEADERS), HELLO),
    _echoed("upload-in-pieces", "9113-8.1.1-content-length", Head(1, ECHO, END_HEADERS), *[frame(DATA, 0, 1, b"x")] * 99,
            frame(DATA, END_STREAM, 1, b"x"), size=100),
    _echoed("upload-that-an-empty-frame-ends", "9113-8.1.1-content-length", Head(1, ECHO, END_HEADERS),
            frame(DATA, 0, 1, b"hello"),
            frame(DATA, END_STREAM, 1)),
    _echoed("upload-without-padding", "9113-6.1-padding-too-long", Head(1, ECHO, END_HEADERS),
            frame(DATA, END_STREAM | 8, 1, b"\x04hello\0\0\0\0"), why="Padding is no content."),
    _echoed("upload-of-nothing", "9113-8.1.1-content-length", Head(1, ECHO), size=0),
    _echoed("upload-of-60000-bytes", "9113-6.9.1-within-both-windows", Head(1, ECHO, END_HEADERS),
            *[frame(DATA, 0, 1, bytes(15_000))] * 3, frame(DATA, END_STREAM, 1, bytes(15_000)), size=60_000,
            why="60,000 bytes fit into the windows that each connection begins with."),
    Case(
        "http2/semantics/upload-with-trailers", "9110-6.5.1-merge-trailer",
        (Head(1, ECHO, END_HEADERS), frame(DATA, 0, 1, b"hello"), Head(1, (("x-sum", "1"),))),
        r"1:200 (1:data=\d+ )*1:data=5 (1:trailers )?1:end open", needs=NEEDS_ECHO, shows=("data",),
    ),
    Case(
        "http2/semantics/expect-continue", "9110-10.1.1-answer-or-100",
        (Head(1, (*POST, ("expect", "100-continue"), ("content-length", "5")), END_HEADERS), Reply("1:", HELLO)),
        rf"{ONCE}(1:100 1:{SERVED} (.* )?1:end (1:NO_ERROR )?open|1:(417|[235]\d\d) (.* )?open)", needs=NEEDS_POST,
        why="The client waits for the 100, or for a final status, before it sends its content.",
    ),
    Case(
        "http2/semantics/expect-something-else", "9110-10.1.1-answer-or-100",
        (Head(1, (*POST, ("expect", "tea"), ("content-length", "5")), END_HEADERS), HELLO),
        rf"{ONCE}1:(417|[24]\d\d) (.* )?open", rf"{ENDED}|{ONCE}(.* )?1:[A-Z_]+ open", needs=NEEDS_POST,
        why="A server may answer 417 to an expectation that it does not know, and need not.",
    ),
    Case(
        "http2/semantics/answer-before-the-end-of-an-upload", "9113-8.1-a-complete-response-may-decline-the-rest",
        (Head(1, fields("POST"), END_HEADERS), frame(DATA, 0, 1, b"hel"), PING_FRAME, Wait("1:[A-Z]")),
        rf"{ONCE}(?=(.* )?pong )(?!.*1:(?!NO_ERROR)[A-Z]).*open", rf"{ENDED}|{ONCE}(.* )?1:[A-Z_]+( .*)? open",
        why="A server that needs no more of the upload may say so by RST_STREAM; the answer is kept if the code is NO_ERROR.",
    ),
    Case(
        "http2/semantics/reset-of-an-upload", "9113-8.1-a-complete-response-may-decline-the-rest",
        (Head(1, POST, END_HEADERS), frame(DATA, 0, 1, b"hel"), reset(1), Head(3, GET)), *answered(3),
        why="A client that gives an upload up takes nothing from its other requests.",
    ),
)  # fmt: skip

MANY = (
    Case("http2/semantics/three-at-once", "9113-5.2.2-frames-are-read-at-once", (Head(1, GET), Head(3, GET), Head(5, GET)),
         *answered(1, 3, 5)),
    Case(
        "http2/semantics/a-hundred-one-after-the-other", "9113-5.1.1-ids-ascend",
        (*[step for stream in range(1, 201, 2) for step in (Head(stream, GET), Wait(rf"\b{stream}:end"))],),
        answered(1, 99, 199)[0], why="A connection is there for many requests.",
    ),
    Case(
        "http2/semantics/uploads-interleaved", "9113-8.1-nothing-in-between",
        (Head(1, ECHO, END_HEADERS), Head(3, ECHO, END_HEADERS), frame(DATA, 0, 1, b"a"), frame(DATA, 0, 3, b"bb"),
         frame(DATA, END_STREAM, 1, b"a"), frame(DATA, END_STREAM, 3, b"bb")),
        r"(?=(.* )?1:200 )(?=(.* )?3:200 )(?=(.* )?1:data=2 (.* )?1:end )(?=(.* )?3:data=4 (.* )?3:end ).* open",
        needs=NEEDS_ECHO, shows=("data",), why="The frames of two streams may come in any order.",
    ),
    Case(
        "http2/semantics/request-byte-by-byte", "9113-5.2.2-frames-are-read-at-once",
        (Trickle(PING_FRAME), Head(1, GET)), rf"pong 1:{SERVED} (.* )?1:end open",
    ),
    Case(
        "http2/semantics/a-field-of-4000-bytes", "9113-10.5.1-answered-by-431", (Head(1, fields("GET", ("x", "a" * 4_000))),),
        *OK,
        why="Cookies of this size are usual.",
    ),
    Case(
        "http2/semantics/fields-of-90000-bytes", "9113-10.5.1-answered-by-431",
        (Head(1, fields("GET", ("x", "a" * 15_000)), END_STREAM), *[Head(1, (("y", "b" * 15_000),), 0, type=9)] * 4,
        Head(1, (("z", "c" * 15_000),), END_HEADERS, type=9), Head(3, GET)),
        rf"{ONCE}(?!.*goaway)(?=(.* )?1:(431|[23]\d\d) )(?=(.* )?3:{SERVED} (.* )?3:end ).*open",
        rf"{ENDED}|{ONCE}(?=(.* )?1:\S+ ).*open", also=("9113-10.5.1-processed-though-too-large",
        "7541-7.4-a-limit-for-strings"),
        why="A head that is too large for the server is refused with 431, and the connection goes on.",
    ),
)  # fmt: skip

TUNNELS = (
    Case(
        "http2/semantics/protocol-only-if-announced", "8441-3-only-if-enabled", (Head(1, CONNECT, END_HEADERS),),
        rf"(?=.*connect=1 ).*1:\d\d\d .*open|(?!.*connect=1 )({malformed()[0]})", rf"(?!.*connect=1 )({malformed()[1]})",
        shows=("connect",), why="To a server that has not announced it, :protocol is an unknown pseudo-header field.",
    ),
    Case(
        "http2/semantics/protocol-of-a-get", "8441-4-protocol-is-for-connect",
        (Head(1, ((":method", "GET"), *without(":method", CONNECT))),), *malformed(),
    ),
    Case(
        "http2/semantics/headers-in-a-tunnel", "9113-8.5-headers-in-a-tunnel",
        (Head(1, CONNECT, END_HEADERS), Wait("1:200"), Head(1, (("x", "y"),))),
        rf"{ONCE}1:200 (.* )?1:(PROTOCOL_ERROR|STREAM_CLOSED) open", rf"{ENDED}|{ONCE}1:200 (.* )?1:[A-Z_]+ open",
        needs=frozenset({"connect"}), also=("9113-8.5-no-headers-into-a-tunnel",),
    ),
)  # fmt: skip

CASES = (*METHODS, *FIELDS, *UPLOADS, *MANY, *TUNNELS)
