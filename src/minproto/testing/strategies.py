"""Hypothesis strategies, protocol by protocol, for the events and the bytes that a peer can send.

A strategy of *events* draws a list that a core's ``send`` method accepts in this order. A test can send the events
from one core to another, or encode them for a parser of its own. A strategy of *bytes* (``…_streams``) is for
``Subject.streams``: messages as a peer sends them. Most of them are valid, and some are wrong in a way that a parser has to
notice. The laws damage the messages further.

    from hypothesis import given
    from minproto.testing import strategies

    @given(strategies.request_streams)
    def test_my_parser(data: bytes): ...
"""

from itertools import chain, pairwise
from typing import Any

from hpack import Encoder
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto import http2_frames as frames
from minproto.core import Event
from minproto.deflate import Deflater
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.resp import Command, Error, Map, NullArray, Push, Reply, Set, Simple, Verbatim, encode_command, encode_value
from minproto.sse import Comment, LastEventId, Retry, ServerSentEvent
from minproto.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    Close,
    Fragment,
    Message,
    Ping,
    Pong,
    encode_frame,
)

__all__ = [
    "arrives_as", "close_codes", "closes", "command_streams", "commands", "content", "event_streams", "field_names",
    "field_values", "fields", "frame_streams", "hosts", "http2_exchanges", "http2_streams", "replies2", "replies3",
    "reply_streams", "request_streams", "requests", "response_streams", "responses", "server_events2", "server_events3",
    "server_sent_events", "websocket_events",
]  # fmt: skip

# ---- HTTP ------------------------------------------------------------------------------------------------------------

_TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f", exclude_categories=["Cc"])

field_names = st.one_of(
    st.sampled_from(["accept", "cookie", "x-a", "set-cookie"]), st.text(_TCHARS, min_size=1, max_size=8).map("x-".__add__)
)
"""Names of fields, in lower case, without the fields that say where a message ends, or where it is sent."""
field_values = st.lists(st.text(_VISIBLE, min_size=1, max_size=5), max_size=3).map(" ".join)
"""Values of fields: visible characters of ISO-8859-1, with single spaces between them."""
fields = st.lists(st.tuples(field_names, field_values), max_size=4)
"""A few field lines, as (name, value)."""
hosts = st.sampled_from(["a", "example.org", "example.org:80", "127.0.0.1:8000", "[::1]:8000", "", "a%2Fb"])
"""Values of the Host field."""
_paths = st.text("/abc%20?&=;|~", max_size=8).map("/".__add__)
content = st.lists(st.binary(max_size=20), max_size=4)
"""Content as a list of pieces. The list may be empty, and so may a piece."""


@st.composite
def requests(draw: st.DrawFn) -> list[Event]:
    """The events of one request, after which the connection can carry another one."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"]))
    target = draw(st.one_of(_paths, _paths.map("http://example.org".__add__), st.just("/")))
    if method == "OPTIONS":
        target = draw(st.sampled_from(["*", target]))
    headers = Headers([("host", draw(hosts)), *draw(fields)])
    return [RequestHead(method, target, headers), *draw(_bodies(headers, with_body=method in ("POST", "PUT")))]


@st.composite
def responses(draw: st.DrawFn, method: str = "GET") -> list[Event]:
    """The events of one response to a request with this method, with interim responses (1xx) before it.

    The connection can carry another exchange afterwards."""
    interim = draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))
    status = draw(st.sampled_from([200, 204, 206, 304, 404, 500, 599]))
    headers = Headers(draw(fields))
    no_content = method == "HEAD" or status in (204, 304)
    body = [EndOfMessage()] if no_content else draw(_bodies(headers, with_body=True))
    return [*(ResponseHead(code, Headers()) for code in interim), ResponseHead(status, headers), *body]


@st.composite
def _bodies(draw: st.DrawFn, headers: Headers, *, with_body: bool) -> list[Event]:
    """Content and the end of the message. Adds Content-Length or Transfer-Encoding to the head's fields."""
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
    """A message as bytes, made of lines that are mostly valid. Its fields may disagree with its body."""
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


@st.composite
def _right_messages(draw: st.DrawFn, start_line: bytes) -> bytes:
    """A message whose fields agree with its body: no body, a body with a length, or chunks."""
    lines = [start_line, *draw(st.lists(st.sampled_from(_OTHER_LINES), max_size=1))]
    body = b""
    match draw(st.sampled_from([0, 1, 2, 2, 2, 2])):
        case 0:
            lines.append(b"Content-Length: 0")
        case 1:
            body = draw(st.sampled_from([b"abc", b"0123456789abcdef"]))
            lines.append(b"Content-Length: %d" % len(body))
        case _:
            lines.append(b"Transfer-Encoding: chunked")
            chunk = st.sampled_from([b"3\r\nabc\r\n", b"10\r\n0123456789abcdef\r\n", b"A;x=y\r\n0123456789\r\n"])
            trailers = st.lists(st.sampled_from([b"T: 1\r\n", b"Digest: abc\r\n"]), max_size=2)
            body = b"".join([*draw(st.lists(chunk, max_size=3)), b"0\r\n", *draw(trailers), b"\r\n"])
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


_OTHER_LINES = [b"X:  spaced \t", b"Cookie: a=b; c=\xe9", b"Connection: keep-alive", b"Connection: close"]
_right_requests = _right_messages(b"POST / HTTP/1.1\r\nHost: a")
_right_responses = _right_messages(b"HTTP/1.1 200 OK")



def _one_after_the_other(right: SearchStrategy[bytes], others: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """A stream of one or two valid messages, or of up to three messages that may be wrong."""
    messages = st.one_of(st.lists(right, min_size=1, max_size=2), st.lists(st.one_of(right, others), max_size=3))
    return messages.map(b"".join)


request_streams: SearchStrategy[bytes] = _one_after_the_other(
    _right_requests, _messages([b"GET / HTTP/1.1\r\nHost: a", *_REQUEST_LINES])
)
"""Requests that an HTTP/1.1 client sends one after another, with every kind of body. Most streams are valid as a whole; in the
other streams, most messages are valid."""
response_streams: SearchStrategy[bytes] = _one_after_the_other(_right_responses, _messages(_STATUS_LINES))
"""Responses that an HTTP/1.1 server sends, with the same mixture. A client accepts them only after it has sent requests."""

# ---- WebSocket -------------------------------------------------------------------------------------------------------

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_edges = st.sampled_from([b"", "", "x" * 125, b"y" * 126, "\u20ac" * 90])
_payloads: SearchStrategy[Any] = st.one_of(_text, st.binary(max_size=40), _edges)
_controls = st.one_of(st.binary(max_size=125).map(Ping), st.binary(max_size=125).map(Pong))
close_codes = st.one_of(st.sampled_from([1000, 1001, 1002, 1003, 1014, 3000, 4999]), st.integers(1007, 1014))
"""Close codes that may be sent."""
closes = st.one_of(st.just(Close()), st.builds(Close, close_codes, st.text(max_size=30)))
"""A Close without a code, or with a code and a reason."""


@st.composite
def _message_events(draw: st.DrawFn) -> list[Event]:
    """A whole message, or its fragments with control frames between them."""
    if draw(st.booleans()):
        return [Message(draw(_payloads))]
    pieces = draw(st.one_of(st.lists(_text, min_size=1, max_size=4), st.lists(st.binary(max_size=9), min_size=1, max_size=4)))
    events: list[Event] = []
    for piece in pieces:
        events += [Fragment(piece), *draw(st.lists(_controls, max_size=1))]
    return [*events, Fragment(pieces[0][:0], last=True)]


websocket_events: SearchStrategy[list[Event]] = st.builds(
    lambda messages, controls, close: [*chain.from_iterable(messages), *controls, *close],
    st.lists(_message_events(), max_size=4), st.lists(_controls, max_size=2), st.lists(closes, max_size=1),
)  # fmt: skip
"""Events that one end may send on a new connection. The last event may be a Close."""


def arrives_as(events: list[Event]) -> list[Event]:
    """Return the events that the other end receives. A message in fragments arrives as a whole, with its last fragment."""
    received: list[Event] = []
    pieces: list[Any] = []
    for event in events:
        if not isinstance(event, Fragment):
            received.append(event)
            continue
        pieces.append(event.data)
        if event.last:
            received.append(Message(type(event.data)().join(pieces)))
            pieces = []
    return received


_FIRST_BYTES = [
    FIN | TEXT, FIN | BINARY, TEXT, BINARY, CONTINUATION, FIN | CONTINUATION, FIN | PING, FIN | PONG, FIN | CLOSE,
    RSV1 | FIN | TEXT, RSV1 | BINARY,
]  # fmt: skip
_payload_bytes: SearchStrategy[bytes] = _payloads.map(lambda data: data.encode() if isinstance(data, str) else data)
_frame_payloads = st.one_of(
    _payload_bytes,
    st.sampled_from([b"\xc3", b"\xa9", b"\xed\xa0", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xed", b"z" * 1_100]),
    _payload_bytes.map(lambda data: Deflater(12, 5, context_takeover=False).compress(data)),
)


@st.composite
def _right_message(draw: st.DrawFn, keys: SearchStrategy[bytes], deflate: bool) -> bytes:
    """The frames of one message, sometimes with a Ping between its fragments."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(st.sampled_from([b"", b"Hello", "\u20ac".encode() * 9, b"x" * 130]))
    if deflate and draw(st.booleans()):
        opcode, payload = opcode | RSV1, Deflater(12, 5, context_takeover=False).compress(payload)
    ends = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=2)))
    frames_: list[bytes] = []
    for start, end in pairwise([0, *ends, len(payload)]):
        first = (0 if frames_ else opcode) | (0 if len(frames_) < len(ends) else FIN)
        frames_.append(encode_frame(first, payload[start:end], draw(keys)))
    ping = encode_frame(FIN | PING, b"ping", draw(keys)) if draw(st.booleans()) else b""
    return ping.join(frames_)


def frame_streams(*, masked: bool, deflate: bool = False) -> SearchStrategy[bytes]:
    """Return a strategy of WebSocket frames from a client (``masked``) or from a server.

    Most streams have valid messages, some of them compressed if ``deflate`` is true. In the other streams each frame is valid,
    but the order of the frames makes no sense."""
    keys = st.binary(min_size=4, max_size=4) if masked else st.just(b"")
    frame = st.builds(encode_frame, st.sampled_from(_FIRST_BYTES), _frame_payloads, keys)
    message = _right_message(keys, deflate)
    close = st.builds(encode_frame, st.just(FIN | CLOSE), st.sampled_from([b"", b"\x03\xe8bye"]), keys)
    right = st.builds(bytes.__add__, st.lists(message, min_size=1, max_size=3).map(b"".join), close | st.just(b""))
    return st.one_of(right, st.lists(st.one_of(message, frame), max_size=6).map(b"".join))


# ---- Server-Sent Events ----------------------------------------------------------------------------------------------

_lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_ids = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=8)
server_sent_events: SearchStrategy[list[Event]] = st.lists(
    st.one_of(
        st.builds(
            ServerSentEvent,
            st.lists(_lines, min_size=1, max_size=3).map("\n".join),
            _lines.map(lambda name: name or "message"),
            st.none() | _ids,
        ),
        st.builds(LastEventId, _ids),
        st.builds(Retry, st.integers(0, 10**18 - 1)),
        st.builds(Comment, _lines),
    ),
    max_size=6,
)
"""Events that a server may send on an event stream."""
_stream_lines = st.sampled_from([
    "data", "data:", "data: a", "data:\u20ac", "id: 1", "id", "id: \0", "event: x", "retry: 5", "retry: x", ": c", ":", "x: y",
    "", "data" * 100,
])  # fmt: skip
_line_ends = st.sampled_from(["\n", "\r", "\r\n"])
event_streams: SearchStrategy[bytes] = st.builds(
    lambda bom, lines: bom + "".join(chain.from_iterable(lines)).encode(),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff"]),
    st.lists(st.tuples(_stream_lines, _line_ends), max_size=12),
)
"""Event streams with all kinds of lines and of line ends. A byte order mark or a wrong byte may come first."""

# ---- RESP ------------------------------------------------------------------------------------------------------------

_line_text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_scalars = st.one_of(
    st.none(), st.binary(max_size=20), st.integers(-(1 << 63), (1 << 63) - 1), st.builds(Simple, _line_text),
    st.builds(Error, _line_text),
)  # fmt: skip
_scalars3 = st.one_of(
    _scalars, st.booleans(), st.floats(allow_nan=False), st.integers(), st.builds(Verbatim, st.binary(max_size=20))
)
replies2: SearchStrategy[Any] = st.recursive(
    st.one_of(_scalars, st.just(NullArray())), lambda values: st.lists(values, max_size=4), max_leaves=8
)
"""Values that RESP version 2 can encode."""
replies3: SearchStrategy[Any] = st.recursive(
    _scalars3,
    lambda values: st.one_of(
        st.lists(values, max_size=4),
        st.builds(Set, st.lists(values, max_size=3)),
        st.builds(Map, st.lists(st.tuples(values, values), max_size=2)),
    ),
    max_leaves=8,
)
"""Values that RESP version 3 can encode."""
commands: SearchStrategy[Event] = st.lists(st.binary(max_size=20), min_size=1, max_size=5).map(Command)
"""Commands that a client sends."""
server_events2: SearchStrategy[Event] = st.builds(Reply, replies2)
"""Events that a server sends in RESP version 2."""
server_events3: SearchStrategy[Event] = st.one_of(st.builds(Reply, replies3), st.builds(Push, st.lists(replies3, max_size=3)))
"""Events that a server sends in RESP version 3: replies and pushes."""

_inline = st.sampled_from([
    b"PING\r\n", b"\r\n", b"\n", b"ECHO hi\n", b'set "a\\x41\\n" \'b c\'\r\n', b'a"b', b"'\r\n", b'x"y z"\r\n', b"a" * 70,
])  # fmt: skip
_wrong_heads = st.sampled_from([
    b"*0\r\n", b"*-1\r\n", b"*13\r\n", b"*1\r\n:1\r\n", b"*1\r\n$201\r\n", b"*2\r\n$200\r\n", b"*01\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$2\r\nabc", b"*x\r\n",
])  # fmt: skip
_long_commands = st.lists(st.sampled_from([b"x" * 150, b""]), min_size=1, max_size=12).map(encode_command)
command_streams: SearchStrategy[bytes] = st.lists(
    st.one_of(
        commands.map(lambda command: encode_command(command.arguments)),  # type: ignore[attr-defined]
        _long_commands, _inline, _wrong_heads,
    ),
    max_size=5,
).map(b"".join)  # fmt: skip
"""Commands, inline or as arrays. Some of the commands are wrong."""

_reply_heads = st.sampled_from([
    b"*2\r\n", b"%1\r\n", b"~2\r\n", b">2\r\n", b"|1\r\n", b"|0\r\n", b"$3\r\nabc\r\n", b"$-1\r\n", b"=5\r\ntxt:x\r\n",
    b"!3\r\nERR\r\n", b":1\r\n", b"_\r\n", b"#t\r\n", b"#x\r\n", b",1e3\r\n", b",nan\r\n", b"(1" + b"2" * 30 + b"\r\n",
    b"*13\r\n", b"$201\r\n", b"+a\rb\r\n", b"\r\n", b"*-1\r\n", b"=1\r\nx\r\n", b"(" + b"9" * 60 + b"\r\n",
])  # fmt: skip
reply_streams: SearchStrategy[bytes] = st.lists(
    st.one_of(replies3.map(lambda value: encode_value(value, 3)), replies2.map(encode_value), _reply_heads), max_size=6
).map(b"".join)
"""Replies of both versions, and heads of arrays: whatever comes next in the stream becomes their elements."""

# ---- HTTP/2 ----------------------------------------------------------------------------------------------------------

_stream_ids = st.sampled_from([1, 1, 3, 3, 5, 0, 2, 7])
_get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
_post = [(":method", "POST"), *_get[1:]]
_blocks = st.sampled_from([
    _get, [*_get, ("priority", "u=1"), ("x-a", "b" * 20)], [*_get[:3], ("host", "a"), ("cookie", "a"), ("cookie", "b")],
    [*_post, ("content-length", "3")], _post,
    [(":method", "CONNECT"), (":authority", "a:80")], [(":method", "CONNECT"), *_get[1:], (":protocol", "websocket")],
    [(":status", "200")], [(":status", "200"), ("content-length", "3")], [(":status", "100")],
    [(":status", "304"), ("x", "y")], [("x-trailer", "1")],
    [*_get, ("X", "y")], [*_get, ("te", "gzip")], [*_get, ("x-long", "z" * 300)],
])  # fmt: skip
_block_sizes = st.sampled_from([b"", b"", b"", b"", b"\x20", b"\x3f\xe1\x1f", b"\x3f\xe2\x1f", b"\xc6"])
_setting_values = st.sampled_from([0, 1, 2, 10, 100, 65_535, 1 << 20])
_settings = st.lists(st.tuples(st.sampled_from([1, 2, 3, 4, 4, 5, 6, 8, 9, 0x7777]), _setting_values), max_size=3)
_sizes = st.sampled_from([5, 5, 4])
_increments = st.sampled_from([1, 10, 65_535, 0, frames.MAX_ID])
_other_frames: SearchStrategy[bytes] = st.one_of(
    st.builds(frames.encode_window_update, _stream_ids, _increments),
    st.builds(frames.encode_window_update, st.just(0), st.integers(1, 100)),
    st.builds(frames.encode_rst_stream, _stream_ids, st.integers(0, 14)),
    st.builds(lambda values: frames.encode_frame(4, 0, 0, b"".join(_setting(*pair) for pair in values)), _settings),
    st.just(frames.encode_frame(frames.SETTINGS, frames.ACK, 0)),
    st.builds(lambda flags, data: frames.encode_frame(frames.PING, flags, 0, data), st.integers(0, 3), st.just(b"pingpong")),
    st.builds(frames.encode_goaway, st.integers(0, 6), st.integers(0, 14), st.binary(max_size=3)),
    st.builds(lambda id_, size: frames.encode_frame(frames.PRIORITY, 0, id_, bytes(size)), _stream_ids, _sizes),
    st.builds(frames.encode_frame, st.integers(0, 12), st.integers(0, 0xFF), _stream_ids, st.binary(max_size=9)),
)


def _setting(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + value.to_bytes(4, "big")


@st.composite
def _data_frames(draw: st.DrawFn) -> bytes:
    flags, payload = draw(st.sampled_from([0, 0, frames.END_STREAM])), draw(st.sampled_from([b"abc", b"", b"a", b"z" * 40]))
    padding = draw(st.none() | st.integers(0, 9))
    if padding is not None:
        flags, payload = flags | frames.PADDED, bytes([padding]) + payload + bytes(padding)
    return frames.encode_frame(frames.DATA, flags, draw(_stream_ids), payload)


@st.composite
def http2_streams(draw: st.DrawFn, preface: bytes = frames.PREFACE) -> bytes:
    """HTTP/2 frames, most of them valid. Their order may make no sense."""
    encoder = Encoder()
    pieces = [preface, draw(st.sampled_from([frames.encode_settings([(4, 20)]), frames.encode_settings([]), b""]))]
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.integers(0, 4))
        if kind < 2:
            block = draw(_block_sizes) + encoder.encode(draw(_blocks))
            pieces.append(draw(_headers_frames(block)))
        else:
            pieces.append(draw(_data_frames() if kind == 2 else _other_frames))
    return b"".join(pieces)


@st.composite
def http2_exchanges(draw: st.DrawFn, preface: bytes = frames.PREFACE) -> bytes:
    """A client's requests with content, stream after stream. Now and then another frame comes between two frames."""
    encoder = Encoder()
    pieces = [preface, frames.encode_settings([])]
    for id_ in range(1, 2 * draw(st.integers(1, 4)), 2):
        content = draw(st.lists(st.sampled_from([b"abc", b"", b"z" * 40]), max_size=3))
        block, flags = encoder.encode(_post), 0 if content else frames.END_STREAM
        if draw(st.integers(0, 2)) == 2:
            third = len(block) // 3
            pieces.append(frames.encode_frame(frames.HEADERS, flags, id_, block[:third]))
            pieces.append(frames.encode_frame(frames.CONTINUATION, 0, id_, block[third : 2 * third]))
            pieces.append(frames.encode_frame(frames.CONTINUATION, frames.END_HEADERS, id_, block[2 * third :]))
        else:
            pieces.append(frames.encode_frame(frames.HEADERS, flags | frames.END_HEADERS, id_, block))
        for left in range(len(content) - 1, -1, -1):
            if draw(st.integers(0, 5)) == 5:
                pieces.append(draw(_other_frames))
            pieces.append(frames.encode_frame(frames.DATA, 0 if left else frames.END_STREAM, id_, content[left]))
    return b"".join(pieces)


@st.composite
def _headers_frames(draw: st.DrawFn, block: bytes) -> bytes:
    """HEADERS, sometimes with padding, a priority, or a CONTINUATION."""
    flags, id_ = draw(st.sampled_from([0, frames.END_STREAM])), draw(_stream_ids)
    cut = draw(st.sampled_from([len(block), len(block), len(block), 1, 5]))
    first, rest, before, after = block[:cut], block[cut:], b"", b""
    if draw(st.booleans()):
        flags, before = flags | frames.PRIORITIZED, bytes(4) + b"\x0f"
    if draw(st.booleans()):
        flags, before, after = flags | frames.PADDED, b"\x03" + before, bytes(3)
    if not rest:
        return frames.encode_frame(frames.HEADERS, flags | frames.END_HEADERS, id_, before + first + after)
    return frames.encode_frame(frames.HEADERS, flags, id_, before + first + after) + frames.encode_frame(
        frames.CONTINUATION, frames.END_HEADERS, id_, rest
    )
