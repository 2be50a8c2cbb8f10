r"""The stages on the way to a parser: from one line to the whole protocol, for each stream that ``minproto laws`` knows.

    stage 1 of http1-request    GET /a HTTP/1.1\r\nHost: a\r\n\r\n      whole, and valid
    stage 3                     the same, cut anywhere
    stage 7                     the same, damaged: a wrong byte has to be refused
    stage 8                     everything, including the limit and the end of input

The first stages have only valid streams, so a parser that refuses nothing passes them. Now and then a stage repeats a stream
of an earlier stage, so that a later change cannot break the earlier stage unnoticed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from hpack import Encoder
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto import http2_frames as frames
from minproto.resp import encode_command, encode_value
from minproto.testing import cuts, strategies
from minproto.testing.laws import RECEIVING_LAWS, Law, any_cutting, garbage, sticky_failure
from minproto.websocket import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, encode_frame

Streams = SearchStrategy[bytes]

ROOMY = 1 << 20
"""The limit for law 13, and for all stages but the last. No stream is large enough to reach it."""


@dataclass(frozen=True)
class Stage:
    """One stage: which streams the parser has to read now, how they are cut, and which laws hold."""

    name: str
    streams: Streams
    laws: tuple[Law, ...] = ()
    """The laws among 2 to 6 that hold in this stage. If all streams are valid, law 1 is checked first."""
    drawn: Callable[[Streams], SearchStrategy[list[bytes]]] = cuts.uncut
    last: bool = False
    """The last stage has the small limit of its stream, and the end of input."""

    @property
    def valid(self) -> bool:
        """Whether all streams are valid."""
        return self.drawn is not cuts.anyhow


def _stages(*steps: tuple[str, Streams], cut_from: str, everything: Streams, name: str = "protocol") -> tuple[Stage, ...]:
    """Return stages with these names and valid streams, and then two more: wrong bytes, and everything.

    ``cut_from``: from the stage with this name on, the streams come in any pieces."""
    stages: list[Stage] = []
    so_far: list[Streams] = []
    cut = False
    for step, streams in steps:
        cut = cut or step == cut_from
        so_far.append(streams)
        mixed = st.one_of(streams, *so_far)
        stages.append(Stage(step, mixed, (any_cutting,), cuts.valid) if cut else Stage(step, mixed))
    refuses = (garbage, any_cutting, sticky_failure)
    stages.append(Stage("wrong bytes are refused", everything, refuses, cuts.anyhow))
    stages.append(Stage("limits and the end of input: the whole protocol", everything, RECEIVING_LAWS, cuts.anyhow, True))
    return tuple(stages)


# ---- HTTP/1.1 --------------------------------------------------------------------------------------------------------

_names = st.sampled_from(["Accept", "X-A", "x-b", "User-Agent", "Cookie", "!#$%&'*+-.^_`|~09aZ"])
_values = st.sampled_from(["*/*", "a", "", "two words", "a=b; c=d", "\t spaced  ", "x" * 30, "\xe9t\xe9"])
_fields = st.lists(st.builds("{}: {}\r\n".format, _names, _values), max_size=4).map("".join)
_contents = st.sampled_from([b"", b"a", b"hello", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), b"0\r\n\r\n"])
_trailers = st.sampled_from([b"", b"", b"T: 1\r\n", b"Digest: abc\r\nX:\r\n"])
_extensions = st.sampled_from([b"", b"", b";a", b";x=y", b' ; q="z;\\""'])


def _latin(*parts: str | SearchStrategy[str]) -> Streams:
    """Return the strategy of these texts one after another, as bytes of ISO-8859-1."""
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(
        lambda texts: "".join(texts).encode("latin-1")
    )


@st.composite
def _chunked(draw: st.DrawFn) -> bytes:
    """Content in chunks, with the last chunk and the trailer section."""
    pieces = draw(st.lists(_contents.filter(len), max_size=3))
    sizes = [draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(piece) + draw(_extensions) for piece in pieces]
    chunks = [size + b"\r\n" + piece + b"\r\n" for size, piece in zip(sizes, pieces, strict=True)]
    return b"".join([*chunks, b"0" + draw(_extensions) + b"\r\n", draw(_trailers), b"\r\n"])


def _with_length(start: SearchStrategy[str]) -> Streams:
    return st.builds(
        lambda head, content: head + b"Content-Length: %d\r\n\r\n" % len(content) + content,
        _latin(start, _fields), _contents,
    )  # fmt: skip


def _with_chunks(start: SearchStrategy[str]) -> Streams:
    head = _latin(start, _fields, "Transfer-Encoding: chunked\r\n\r\n")
    return st.builds(bytes.__add__, head, _chunked())


def _in_a_row(*streams: Streams) -> Streams:
    return st.lists(st.one_of(*streams), min_size=2, max_size=3).map(b"".join)


def _http1_request() -> tuple[Stage, ...]:
    targets = st.sampled_from(["/", "/a", "/a/b?c=d", "/%20~!$&'()*+,;=:@", "/?", "/search?q=now"])
    start = st.builds("{} {} HTTP/1.1\r\nHost: a\r\n".format, st.sampled_from(["GET", "HEAD", "DELETE"]), targets)
    posts = st.builds("{} {} HTTP/1.1\r\nHost: a\r\n".format, st.sampled_from(["POST", "PUT"]), targets)
    line, several = _latin(start, "\r\n"), _latin(start, _fields, "\r\n")
    length, chunks = _with_length(posts), _with_chunks(posts)
    return _stages(
        ("a request line and Host", line),
        ("several fields", several),
        ("cut anywhere", several),
        ("content with a Content-Length", length),
        ("content in chunks", chunks),
        ("one request after another", _in_a_row(line, several, length, chunks)),
        cut_from="cut anywhere", everything=strategies.request_streams,
    )  # fmt: skip


def _http1_response() -> tuple[Stage, ...]:
    start = st.builds("HTTP/1.1 {}\r\n".format, st.sampled_from(["200 OK", "404 Not Found", "500 ", "299 a b"]))
    empty = st.builds("HTTP/1.1 {}\r\n".format, st.sampled_from(["204 No Content", "304 Not Modified"]))
    interim = st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"])
    line, several = _latin(empty, "\r\n"), _latin(empty, _fields, "\r\n")
    length, chunks = _with_length(start), _with_chunks(start)
    until_end = st.builds(bytes.__add__, _latin(start, _fields, "\r\n"), _contents)
    finals = st.one_of(line, several, length, chunks)
    return _stages(
        ("a status line", line),
        ("several fields", several),
        ("cut anywhere", several),
        ("content with a Content-Length", length),
        ("content in chunks", chunks),
        ("content until the connection ends", until_end),
        ("interim responses, and one response after another", _in_a_row(st.builds(bytes.__add__, interim, finals), finals)),
        cut_from="cut anywhere", everything=strategies.response_streams,
    )  # fmt: skip


# ---- WebSocket -------------------------------------------------------------------------------------------------------


def _websocket(masked: bool) -> tuple[Stage, ...]:
    keys = st.binary(min_size=4, max_size=4) if masked else st.just(b"")

    def frame(first: int, payloads: Streams) -> Streams:
        return st.builds(encode_frame, st.just(first), payloads, keys)

    texts = st.sampled_from(["", "Hello", "naïve", "\u20ac", "\U0001f600 and more"]).map(str.encode)
    long = st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 127, b"y" * 300, b"\0\xff"])
    control = frame(FIN | PING, st.binary(max_size=9)) | frame(FIN | PONG, st.binary(max_size=9))
    close = frame(FIN | CLOSE, st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0b\xb8\xe2\x82\xac"]))
    one = frame(FIN | TEXT, texts)
    other = frame(FIN | BINARY, long | texts)

    @st.composite
    def fragments(draw: st.DrawFn, between: Streams) -> bytes:
        opcode, payload = draw(st.sampled_from([TEXT, BINARY])), draw(texts)
        ends = sorted(draw(st.lists(st.integers(0, len(payload)), min_size=1, max_size=3)))
        parts = [payload[start:end] for start, end in pairwise([0, *ends, len(payload)])]
        firsts = [opcode, *[CONTINUATION] * (len(parts) - 1)]
        firsts[-1] |= FIN
        pieces = [encode_frame(first, part, draw(keys)) for first, part in zip(firsts, parts, strict=True)]
        return b"".join(chain.from_iterable((piece, draw(between)) for piece in pieces))

    return _stages(
        ("one short text", one),
        ("binary messages, and longer ones", other),
        ("cut anywhere", _in_a_row(one, other)),
        ("messages in fragments", fragments(st.just(b""))),
        ("Ping and Pong between fragments", fragments(control)),
        ("Close", st.builds(bytes.__add__, one | st.just(b""), close)),
        cut_from="cut anywhere", everything=strategies.frame_streams(masked=masked),
    )  # fmt: skip


# ---- Server-Sent Events ----------------------------------------------------------------------------------------------


def _sse() -> tuple[Stage, ...]:
    texts = st.sampled_from(["a", "", "two words", " spaced", "na\u00efve", "\u20ac", "a: b", ":"])
    data = texts.map("data: {}\n".format)
    fields = st.one_of(
        data, texts.map("event: {}\n".format), texts.map("id: {}\n".format), texts.map(": {}\n".format),
        st.integers(0, 99_999).map("retry: {}\n".format),
    )  # fmt: skip

    def events(lines: SearchStrategy[str]) -> SearchStrategy[str]:
        event = st.lists(lines, min_size=1, max_size=4).map(lambda lines: "".join(lines) + "\n")
        return st.lists(event, max_size=3).map("".join)

    ends = st.sampled_from(["\n", "\r", "\r\n"])
    mixed = st.builds(lambda text, end: text.replace("\n", end), events(fields), ends)
    marks = st.sampled_from(["", "\ufeff"])
    odd = st.sampled_from(["data\n", "data:a\n", "id\n", "x: y\n", "retry: x\n", "id: \0\n", "unknown\n", "data:  a\n"])
    return _stages(
        ("one line of data", data.map(lambda line: f"{line}\n".encode())),
        ("all fields", events(fields).map(str.encode)),
        ("cut anywhere", events(fields).map(str.encode)),
        ("all line ends, and a byte order mark", st.builds(str.__add__, marks, mixed).map(str.encode)),
        ("odd lines", events(odd | fields).map(str.encode)),
        cut_from="cut anywhere", everything=strategies.event_streams,
    )  # fmt: skip


# ---- RESP ------------------------------------------------------------------------------------------------------------


def _resp_server() -> tuple[Stage, ...]:
    words = st.sampled_from([b"PING", b"SET", b"a", b"", b"two words", b"\r\n", bytes(range(256))])
    command = st.lists(words, min_size=1, max_size=4).map(encode_command)
    inline = st.sampled_from([b"PING\r\n", b"ECHO hi\n", b'SET "a\\x41\\n" \'b c\'\r\n', b"  a   b  \r\n", b"\r\nPING\r\n"])
    return _stages(
        ("one command", st.just(b"PING").map(lambda name: encode_command([name])) | command),
        ("cut anywhere", command),
        ("one command after another", _in_a_row(command)),
        ("inline commands", _in_a_row(command, inline)),
        cut_from="cut anywhere", everything=strategies.command_streams,
    )  # fmt: skip


def _resp_client() -> tuple[Stage, ...]:
    lines = st.sampled_from([b"+OK\r\n", b"-ERR no\r\n", b":1\r\n", b":-5\r\n", b"+\r\n"])
    version2 = strategies.replies2.map(encode_value)
    version3 = strategies.replies3.map(lambda value: encode_value(value, 3))
    return _stages(
        ("one line", lines),
        ("strings and arrays", version2),
        ("cut anywhere", _in_a_row(lines, version2)),
        ("the types of version 3", _in_a_row(version2, version3)),
        cut_from="cut anywhere", everything=strategies.reply_streams,
    )  # fmt: skip


# ---- HTTP/2 ----------------------------------------------------------------------------------------------------------

_PSEUDO = {False: [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")], True: [(":status", "200")]}


@st.composite
def _http2_messages(draw: st.DrawFn, client: bool, most: int, with_content: bool) -> bytes:
    """Messages on the streams 1, 3, 5 ...: HEADERS, and sometimes DATA, with padding now and then."""
    encoder = Encoder()
    pieces = [frames.encode_settings([])] if client else [frames.PREFACE, frames.encode_settings([])]
    for id_ in [1, 3][: draw(st.integers(1, most))]:
        extra = draw(st.lists(st.sampled_from([("x-a", "b"), ("accept", "*/*")]), max_size=2))
        content = draw(st.lists(_contents, min_size=1, max_size=2)) if with_content else []
        flags = frames.END_HEADERS | (0 if content else frames.END_STREAM)
        pieces.append(frames.encode_frame(frames.HEADERS, flags, id_, encoder.encode([*_PSEUDO[client], *extra])))
        for left in range(len(content) - 1, -1, -1):
            payload, flags = content[left], 0 if left else frames.END_STREAM
            if draw(st.booleans()):
                payload, flags = b"\x03" + payload + bytes(3), flags | frames.PADDED
            pieces.append(frames.encode_frame(frames.DATA, flags, id_, payload))
    return b"".join(pieces)


def _http2(client: bool) -> tuple[Stage, ...]:
    one, content = _http2_messages(client, 1, False), _http2_messages(client, 1, True)
    several = _http2_messages(client, 2, True)
    server = strategies.http2_exchanges() | strategies.http2_streams()
    return _stages(
        ("SETTINGS and one HEADERS", one),
        ("DATA", content),
        ("cut anywhere", content),
        ("several streams", several),
        cut_from="cut anywhere", everything=strategies.http2_streams(b"") if client else server,
    )  # fmt: skip


STAGES: dict[tuple[str, str], Callable[[], Sequence[Stage]]] = {
    ("http1-request", "server"): _http1_request,
    ("http1-response", "client"): _http1_response,
    ("websocket", "server"): lambda: _websocket(masked=True),
    ("websocket", "client"): lambda: _websocket(masked=False),
    ("sse", "client"): _sse,
    ("resp", "server"): _resp_server,
    ("resp", "client"): _resp_client,
    ("http2", "server"): lambda: _http2(client=False),
    ("http2", "client"): lambda: _http2(client=True),
}
"""The name of a stream, and the role of the parser that reads it -> the stages."""
