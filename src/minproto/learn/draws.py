r"""The streams that are drawn for the exercises.

For a parser, a stream is bytes, most of them valid: the engine cuts and damages them. For calls, a stream is a script, a call
on each line:

    parse_head(b'GET / HTTP/1.1\r\nHost: a')
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto.testing.cuts import mutated

Streams = SearchStrategy[bytes]
Texts = SearchStrategy[str]


def call(name: str, *arguments: SearchStrategy[Any]) -> Texts:
    """Return a strategy of calls with these arguments."""
    return st.tuples(*arguments).map(lambda values: f"{name}({', '.join(map(ascii, values))})")


def script(*calls: Texts, first: Texts | None = None, least: int = 1, most: int = 4) -> Streams:
    """Return a strategy of scripts of such calls. ``first``: what the first line is."""
    lines = st.lists(st.one_of(*calls), min_size=least, max_size=most)
    whole = lines if first is None else st.builds(lambda line, rest: [line, *rest], first, lines)
    return whole.map(lambda lines: "".join(f"{line}\n" for line in lines).encode())


def joined(*parts: SearchStrategy[bytes], most: int = 3) -> Streams:
    """Return a strategy of some of these parts, one after another."""
    return st.lists(st.one_of(*parts), min_size=1, max_size=most).map(b"".join)


# ---- HTTP/1.1 --------------------------------------------------------------------------------------------------------

_lines = st.sampled_from([b"GET / HTTP/1.1", b"Host: a", b"A: \r", b"X:\n", b"B: b"]).map(lambda line: line + b"\r\n")
_heads = st.lists(_lines, min_size=1, max_size=4).map(lambda lines: b"".join(lines) + b"\r\n")
_words = st.sampled_from(["Host", "X-A", "a", "T!#$%&'*+-.^_`|~", "", "X A", "X\t", "a@b", "\xe9"])
_values = st.sampled_from(["a", " a b ", "", "a:b", "\t x", "\xe9", "a\rb", "a\nb", "a\0", '"q"'])
_starts = st.sampled_from(["GET / HTTP/1.1", "POST /a?b=c HTTP/1.0", "GET /\xe9 HTTP/1.1", "G@T / HTTP/1.1", "GET / HTTP/1."])
_field_lines = st.lists(st.builds("\r\n{}:{}".format, _words, _values), max_size=3).map("".join)
_parsed = st.builds(lambda start, fields: (start + fields).encode("latin-1"), _starts, _field_lines)

_contents = st.sampled_from([b"a", b"hello", b"\r\n\r\n", b"0\r\n\r\n", b"x" * 20, b"5\r\nhello"])
_extensions = st.sampled_from([b"", b"", b";a", b';b="c"'])
_sizes = st.sampled_from([b"%x", b"%X", b"0%x"])
_chunks = st.builds(lambda f, e, data: f % len(data) + e + b"\r\n" + data + b"\r\n", _sizes, _extensions, _contents)
_ends = st.sampled_from([b"0\r\n\r\n", b"0;x\r\nT: 1\r\n\r\n", b"00\r\nA:\r\nB: b \r\n\r\n"])

_lengths = st.sampled_from(["0", "5", "13", "5, 5", "5,6", "+5", "", " 7 ", "1_0", "9" * 18, "9" * 19, "a"])
_codings = st.sampled_from(["chunked", "CHUNKED", ", chunked", "gzip", "gzip, chunked", "chunked, chunked", "", "xchunked"])
_framing = st.one_of(
    st.tuples(st.just("content-length"), _lengths), st.tuples(st.just("transfer-encoding"), _codings),
    st.just(("host", "a")),
)  # fmt: skip
_options = st.lists(st.sampled_from(["close", "Close", "keep-alive", "Keep-Alive", "upgrade", "", "closed", "te"]), max_size=3)
_connection = st.tuples(st.sampled_from(["connection", "connection", "host"]), _options.map(", ".join))
_versions = st.sampled_from(["1.0", "1.1"])

# ---- Server-Sent Events ----------------------------------------------------------------------------------------------

_texts = st.sampled_from(["data: a", "data", "data:  b", "event: x", "event", ": hi", ":", "id: 7", "id", "retry: 5", ""])
_odd = st.sampled_from(["data: \u20ac", "data: \U0001f600", "\ufeffdata: a", "data: a\u2028b", "retry: x", "id: a\0", "", ""])
_event_lines = st.builds(str.__add__, _texts | _odd, st.sampled_from(["\n", "\n", "\r", "\r\n"])).map(str.encode)
_event_streams = st.lists(_event_lines, max_size=8).map(lambda lines: b"".join([*lines, b"\n\n"]))
_ids = st.integers(-1, 9)

# ---- all of them -----------------------------------------------------------------------------------------------------

_STREAMS: dict[str, Callable[[], Streams]] = {
    "http1/1": lambda: joined(_heads),
    "http1/2": lambda: script(call("parse_head", _parsed | mutated(_parsed)), most=1),
    "http1/3": lambda: st.builds(lambda chunks, end: b"".join(chunks) + end, st.lists(_chunks, max_size=3), _ends),
    "http1/4": lambda: script(call("framing", _versions, st.lists(_framing, max_size=3)), most=1),
    "http1/5": lambda: script(call("keeps_alive", _versions, st.lists(_connection, max_size=2)), most=1),
    "http1/6": lambda: joined(_heads, st.just(b"\r\n"), _lines),
    "sse/1": lambda: script(call("parse_line", _texts.filter(len) | st.text("ab: ", min_size=1, max_size=8)), most=1),
    "sse/2": lambda: _event_streams,
    "sse/3": lambda: script(
        call("h.append", st.sampled_from("abc")), call("h.after", _ids), first=call("h = History", st.integers(1, 4)), most=12,
    ),
    "sse/4": lambda: _event_streams,
}  # fmt: skip
"""The name of an exercise -> its streams, made when they are needed."""


def streams_of(name: str) -> Streams:
    """Return the streams of an exercise."""
    return _STREAMS[name]()
