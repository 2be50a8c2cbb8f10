"""Hypothesis strategies for what peers say, protocol by protocol: events that can be sent, and streams of bytes."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto.core import Event
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead

# ---- HTTP ------------------------------------------------------------------------------------------------------------

_TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f", exclude_categories=["Cc"])

field_names = st.one_of(
    st.sampled_from(["accept", "cookie", "x-a", "set-cookie"]), st.text(_TCHARS, min_size=1, max_size=8).map("x-".__add__)
)
field_values = st.lists(st.text(_VISIBLE, min_size=1, max_size=5), max_size=3).map(" ".join)
fields = st.lists(st.tuples(field_names, field_values), max_size=4)
hosts = st.sampled_from(["a", "example.org", "example.org:80", "127.0.0.1:8000", "[::1]:8000", "", "a%2Fb"])
_paths = st.text("/abc%20?&=;|~", max_size=8).map("/".__add__)
content = st.lists(st.binary(max_size=20), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> list[Event]:
    """The events of one request that a client may send on a connection that goes on."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"]))
    target = draw(st.one_of(_paths, _paths.map("http://example.org".__add__), st.just("/")))
    if method == "OPTIONS":
        target = draw(st.sampled_from(["*", target]))
    headers = Headers([("host", draw(hosts)), *draw(fields)])
    return [RequestHead(method, target, headers), *draw(_bodies(headers, with_body=method in ("POST", "PUT")))]


@st.composite
def responses(draw: st.DrawFn, method: str = "GET") -> list[Event]:
    """The events of one response to a request with this method, interim ones before it; the connection goes on."""
    interim = draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    status = draw(st.sampled_from([200, 204, 206, 304, 404, 500, 599]))
    headers = Headers(draw(fields))
    no_content = method == "HEAD" or status in (204, 304)
    body = [EndOfMessage()] if no_content else draw(_bodies(headers, with_body=True))
    return [*(ResponseHead(code, Headers()) for code in interim), ResponseHead(status, headers), *body]


@st.composite
def _bodies(draw: st.DrawFn, headers: Headers, *, with_body: bool) -> list[Event]:
    """Content and end, with the field that frames them added to the head."""
    if not with_body:
        return [EndOfMessage()]
    pieces = draw(content)
    trailers = Headers()
    if draw(st.booleans()):
        headers.append(("transfer-encoding", "chunked"))
        trailers = Headers(draw(fields))
    else:
        headers.append(("content-length", str(sum(map(len, pieces)))))
    return [*(Data(piece) for piece in pieces if piece), EndOfMessage(trailers)]


_HEAD_LINES = [
    b"Host: a", b"Host: example.org:80", b"Host:", b"Content-Length: 3", b"content-length: 0", b"Transfer-Encoding: chunked",
    b"Connection: close", b"Connection: keep-alive", b"X:  spaced \t", b"Expect: 100-continue", b"Cookie: a=b; c=\xe9",
]  # fmt: skip
_CHUNKED = [b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"a;x=y\r\n0123456789\r\n1 ; q=\"z\"\r\n!\r\n000\r\nT: 1\r\nU: 2\r\n\r\n"]


@st.composite
def _messages(draw: st.DrawFn, start_lines: list[bytes]) -> bytes:
    """A message as bytes; mostly right, but nothing sees to it that its fields agree with its body."""
    lines = [draw(st.sampled_from(start_lines)), *draw(st.lists(st.sampled_from(_HEAD_LINES), max_size=4))]
    head = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    if b"Transfer-Encoding: chunked" in lines:
        return head + draw(st.sampled_from(_CHUNKED))
    return head + draw(st.sampled_from([b"", b"abc"])) if b"Content-Length: 3" in lines else head


_REQUEST_LINES = [
    b"GET / HTTP/1.1", b"POST /a?b HTTP/1.1", b"HEAD http://a/ HTTP/1.1", b"GET / HTTP/1.0", b"OPTIONS * HTTP/1.1",
    b"CONNECT a:80 HTTP/1.1", b"PUT / HTTP/2.0", b"BREW / HTTP/1.1", b"\r\nGET / HTTP/1.1",
]  # fmt: skip
_STATUS_LINES = [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 ", b"HTTP/1.1 100 Continue", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 304"]

request_streams: SearchStrategy[bytes] = st.lists(_messages([b"GET / HTTP/1.1\r\nHost: a", *_REQUEST_LINES]), max_size=3).map(
    b"".join
)
response_streams: SearchStrategy[bytes] = st.lists(_messages(_STATUS_LINES), max_size=3).map(b"".join)
