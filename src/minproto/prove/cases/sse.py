"""Event streams, as a client sees them (WHATWG HTML §9.2). The standard says nearly everything to clients; a server has to
avoid everything with which its clients fail."""

from minproto.http2_frames import CANCEL, PING, encode_frame, encode_rst_stream
from minproto.prove.case import Case, Pause, Shut, Step, Trickle, Wait
from minproto.prove.frames import GET, Head, fields

_EVENTS = b"GET {events} HTTP/1.1\r\nHost: {host}\r\n"
_BROWSER = b"Accept: text/event-stream\r\nCache-Control: no-store\r\n"
"""What a browser sends (§9.2.2)."""
_GOES_ON = r"200\+? (open|closed)"
"""A stream is open as long as its app likes."""
_TYPE = r"text/event-stream(; ?charset=\"?(?i:utf-8)\"?)?"
_HTTP2 = frozenset({"http2"})
_GET_EVENTS = fields("GET", path="{events}")
_PONG = encode_frame(PING, 0, 0, b"12345678")


def _ask(
    name: str, entry: str, *lines: bytes, start: bytes = _EVENTS, then: tuple[Step, ...] = (), right: str = _GOES_ON,
    **more: object
) -> Case:
    """Return a case that asks for the stream, with further field lines, and steps after it."""
    request = start + _BROWSER + b"".join([line + b"\r\n" for line in lines]) + b"\r\n"
    return Case(f"sse/{name}", entry, (request, *then), right=right, **more)  # type: ignore[arg-type]


def _resume(name: str, *lines: bytes, why: str = "") -> Case:
    """Return a case of a client that comes back with an id that this server has never given, or no longer knows."""
    why = why or "A client comes back by itself, and any answer but 200 makes it stop for good."
    return _ask(
        f"resume/{name}", "sse-9.2.4-resume", *(b"Last-Event-ID: " + line for line in lines), why=why,
        acceptable=r"204 (open|closed)|4\d\d (open|closed)",
    )


RESPONSE = (
    _ask("response/status", "sse-9.2.3-status", why="A client gives up over any other status, and does not come back."),
    _ask("response/type", "sse-9.2.3-content-type", shows=("content-type",),
         right=rf"200\+? content-type={_TYPE} (open|closed)",
         acceptable=r"200\+? content-type=(?i:text/event-stream)\s*(;.*(?i:utf-?8).*)? (open|closed)"),
    _ask("response/utf-8", "sse-9.2.5-utf-8-sent", shows=("content-type", "events"), also=("sse-9.2.5-utf-8-read",),
         right=rf"200\+? content-type={_TYPE}( event| comment| unknown| nul| retry)* (open|closed)",
         why="A client decodes UTF-8, whatever the charset says."),
    _ask("response/no-length", "", shows=("content-length",), right=r"200\+? content-length=- (open|closed)",
         acceptable=r"200 content-length=\d+ (open|closed)",
         why="The length of an endless stream is unknown. Only a stream that ends can have a Content-Length."),
    _ask("response/no-cache", "sse-9.2.2-no-store", shows=("cache-control",),
         acceptable=r"200\+? cache-control=.* (open|closed)",
         right=r"200\+? cache-control=.*(no-cache|no-store).* (open|closed)",
         why="A cache that stores a stream without an end stores it in vain. The server can forbid it."),
    _ask("response/not-encoded", "", shows=("content-encoding",), right=r"200\+? content-encoding=- (open|closed)",
         acceptable=r"200\+? content-encoding=identity (open|closed)",
         why="The client has accepted no encoding. Compression that waits for more bytes holds events back."),
    _ask("response/connection-close", "", b"Connection: close", acceptable=r"204 closed",
         why="A client may say that this is its last request on the connection."),
    _ask("response/to-http-1-0", "9112-6.1-te-to-an-old-client", start=_EVENTS.replace(b"1.1", b"1.0"),
         shows=("transfer-encoding",),
         right=r"200\+? transfer-encoding=- (open|closed)", acceptable=r"(426|505|400) transfer-encoding=- closed",
         why="A client of HTTP/1.0 takes the sizes of chunks for lines of the stream."),
    _ask("response/head", "9110-9.3.2-fields-of-get", start=_EVENTS.replace(b"GET", b"HEAD"), methods=("HEAD",),
         shows=("content-type",),
         right=rf"200 content-type={_TYPE} (open|closed)", acceptable=r"(405|501|404) content-type=.* (open|closed)",
         also=("9110-9.1-get-and-head",), why="A HEAD that opens a stream without an end never answers the next request."),
    _ask("response/post", "", b"Content-Length: 0", start=_EVENTS.replace(b"GET", b"POST"), methods=("POST",),
         right=r"405 allow=.*GET.* (open|closed)", shows=("allow",),
         acceptable=r"[24]\d\d\+? allow=.* (open|closed)|501 allow=.* (open|closed)",
         why="A server that opens a stream for any method keeps connections that nobody reads."),
)  # fmt: skip

REQUEST = (
    Case("sse/request/no-accept", "sse-9.2.2-accept", (_EVENTS + b"\r\n",), right=_GOES_ON, acceptable=r"406 (open|closed)",
         why="curl sends no Accept: text/event-stream, and the standard only allows a client to send it."),
    Case("sse/request/accept-anything", "sse-9.2.2-accept", (_EVENTS + b"Accept: */*\r\n\r\n",), right=_GOES_ON,
         acceptable=r"406 (open|closed)"),
    Case("sse/request/accept-html", "sse-9.2.2-accept", (_EVENTS + b"Accept: text/html\r\n\r\n",),
         right=r"200\+? (open|closed)|406 (open|closed)", acceptable=r"[234]\d\d\+? (open|closed)",
         why="A server may answer 406, or send the stream or a page in spite of Accept (RFC 9110 §12.5.1)."),
    Case("sse/request/byte-by-byte", "", (Trickle(_EVENTS + _BROWSER + b"\r\n", 3),), right=_GOES_ON,
         why="TCP can cut anywhere."),
    _ask("request/range", "", b"Range: bytes=0-99", acceptable=r"206\+? (open|closed)|416 (open|closed)",
         why="A stream has no ranges; a server ignores the field."),
    _ask("request/if-modified-since", "", b"If-Modified-Since: Tue, 01 Jan 2030 00:00:00 GMT", acceptable=r"304 (open|closed)",
         why="A stream is never \"not modified\": a 304 would make the client give up."),
    _ask("request/accept-encoding", "", b"Accept-Encoding: gzip, deflate, br", why="Every browser sends Accept-Encoding."),
    _ask("request/cookie-and-origin", "", b"Cookie: a=b", b"Origin: http://other.example",
         acceptable=r"403 (open|closed)", why="A server may refuse other origins; CORS decides who may read."),
    _resume("number", b"42"),
    _resume("unknown-id", b"no-such-id"),
    _resume("empty", b"", why="A client sends no empty id, but a proxy or a test may."),
    _resume("utf-8", "\u03ba\u1f79-7".encode(), why="Last-Event-ID holds UTF-8 (§9.2.4), which may have bytes beyond ASCII."),
    _resume("latin-1", b"caf\xe9",
            why="Some clients send other bytes than UTF-8. A server whose decoder raises an exception answers 500."),
    _resume("long", b"x" * 2_000),
    _resume("of-another-form", b"1700000000000-0, 7; \"a\"=%00"),
    _resume("twice", b"1", b"2", why="Last-Event-ID occurs twice, so the server cannot know where to resume."),
)  # fmt: skip

STREAM = (
    _ask("stream/stays-open", "sse-9.2.3-reestablish", then=(Pause(1.0),), right=r"200\+ open",
         acceptable=r"200 (open|closed)",
         why="Whenever the stream ends, the client waits for some seconds and asks again."),
    _ask("stream/format", "sse-9.2.5-line-ends", shows=("events",), right=r"200\+?( event| comment)* (open|closed)",
         acceptable=r"200\+?( event| comment| unknown)* (open|closed)", also=("sse-9.2.4-id-text", "sse-9.2.6-unknown"),
         then=(Pause(0.5),),
         why="Each client drops fields that it does not know, ids with NUL, and a retry that is no number."),
    _ask("stream/head-at-once", "", then=(Wait(r"200\+?"),),
         why="A server that waits for the first event before it sends its head looks like one that does not answer."),
    Case("sse/stream/two-at-once-on-http2", "", (Head(1, _GET_EVENTS), Head(3, _GET_EVENTS)),
         right=r"(1:200 3|3:200 1):200 open", acceptable=r"(1:200|3:200|1:end|3:end| )* open", speaks="http2", needs=_HTTP2,
         why="Two tabs of a browser share a connection."),
    Case("sse/stream/beside-a-request-on-http2", "", (Head(1, _GET_EVENTS), Wait("1:200"), Head(3, GET)),
         right=r"1:200 3:[234]\d\d 3:end open", acceptable=r"1:200 1:end 3:[234]\d\d 3:end open", speaks="http2", needs=_HTTP2,
         why="A stream without an end does not hold up other answers."),
    Case("sse/stream/no-length-on-http2", "", (Head(1, _GET_EVENTS),),
         right=r"1:200 1:content-length=- open",
         acceptable=r"1:200 1:content-length=\S+ 1:end open", shows=("content-length",), speaks="http2", needs=_HTTP2,
         why="A response whose DATA disagrees with its Content-Length is malformed (RFC 9113 §8.1.1)."),
    Case("sse/stream/reset-on-http2", "sse-9.2.2-close",
         (Head(1, _GET_EVENTS), Wait("1:200"), encode_rst_stream(1, CANCEL), _PONG, Wait("pong"), Head(3, GET)),
         right=r"1:200 pong 3:[234]\d\d 3:end open", acceptable=r"1:200 1:end pong 3:[234]\d\d 3:end open", speaks="http2",
         needs=_HTTP2, why="A page that closes its EventSource resets the stream; the connection goes on."),
    Case("sse/stream/head-on-http2", "9110-9.3.2-fields-of-get", (Head(1, fields("HEAD", path="{events}")),),
         right=r"1:200 1:end open", acceptable=r"1:(405|501|404) (1:end |1:NO_ERROR )*open", speaks="http2", needs=_HTTP2),
    _ask("stream/half-closed", "", then=(Wait(r"200\+?"), Shut(), Pause(0.3)), right=r"200\+? (open|closed)",
         acceptable=r"(200\+? )?reset",
         why="A client that ends its direction may have gone, or not: a server may go on or stop, and does not crash."),
)  # fmt: skip

SLOW = (
    _ask("slow/heartbeat", "sse-9.2.7-keepalive", then=(Pause(40.0),), shows=("events",),
         right=r"200\+( event| comment)* comment( event| comment)* open|200\+ event( comment)* open",
         acceptable=r"200\+? (open|closed)", why="Proxies end connections on which nothing happens, often after 30 or 60 s."),
)  # fmt: skip

HOSTILE = (
    _ask("hostile/id-of-60000-bytes", "", b"Last-Event-ID: " + b"9" * 60_000, right=r"(431|400|413) (open|closed)",
         acceptable=r"200\+? (open|closed)|4\d\d (open|closed)|closed|reset",
         why="An app may log or store the id. A server bounds the size of a field."),
    _ask("hostile/id-of-digits", "", b"Last-Event-ID: " + b"9" * 5_000, right=r"200\+? (open|closed)|4\d\d (open|closed)",
         acceptable=r"closed|reset", issue="CVE-2020-10735 (int() of a long text takes quadratic time in Python)",
         why="A server that turns an id into a number may take long over it."),
)  # fmt: skip


CASES = (*RESPONSE, *REQUEST, *STREAM, *SLOW, *HOSTILE)
