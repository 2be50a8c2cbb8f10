r"""The streams that are drawn for the exercises.

For a parser, a stream is bytes, most of them valid: the engine cuts and damages them. For calls, a stream is a script, a call
on each line:

    parse_head(b'GET / HTTP/1.1\r\nHost: a')
"""

import base64
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from minproto import http2_frames
from minproto.resp import encode_command
from minproto.testing.cuts import mutated
from minproto.websocket import encode_frame

Streams = SearchStrategy[bytes]
Texts = SearchStrategy[str]


def call(name: str, *arguments: SearchStrategy[Any]) -> Texts:
    """Return a strategy of calls with these arguments."""
    return st.tuples(*arguments).map(lambda values: f"{name}({', '.join(map(ascii, values))})")


def script(*calls: Texts, first: Texts | None = None, least: int = 1, most: int = 4) -> Streams:
    """Return a strategy of scripts of such calls. ``first``: a strategy for the first line."""
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

# ---- WebSocket -------------------------------------------------------------------------------------------------------

_keys = st.binary(min_size=4, max_size=4)
_base64 = st.binary(min_size=15, max_size=17).map(lambda data: base64.b64encode(data).decode())
_headers = st.builds(
    lambda first, second, rest: bytes([first, second]) + rest,
    st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x88, 0x8A, 0x83, 0xC1, 0x09]),
    st.sampled_from([0, 5, 125, 126, 127, 0x80, 0xFD, 0xFE, 0xFF]),
    st.binary(max_size=12) | st.sampled_from([b"\0\x7d", b"\0\x7e", b"\xff\xff", bytes(5) + b"\1\0\0", bytes(6) + b"\1\0"]),
)  # fmt: skip
_payloads = st.sampled_from([b"", b"a", b"Hello", b"\xe2\x82\xac", b"\xe2", b"\xff", b"x" * 70])
_frames = st.builds(encode_frame, st.sampled_from([0x01, 0x02, 0x00, 0x80, 0x81, 0x82, 0x89, 0x8A, 0x00, 0x80]), _payloads)
_pieces = st.sampled_from([b"a", b"", b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xed", b"\xa0", b"\xc0", b"\xff"])
_codes = st.sampled_from([999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1014, 1015, 2999, 3000, 4999, 5000])
_closes = st.builds(lambda code, reason: code.to_bytes(2, "big") + reason, _codes, st.sampled_from([b"", b"bye", b"\xff"]))

# ---- publish/subscribe and RESP --------------------------------------------------------------------------------------

_texts_of_replies = st.sampled_from(["OK", "", "a\nb", "\u20ac"])
_reply: SearchStrategy[Any] = st.none() | st.integers(-99, 99) | _texts_of_replies | st.binary(max_size=4)
_replies = _reply | st.lists(_reply | st.lists(_reply, max_size=2), max_size=3)
_inline = st.lists(st.sampled_from([*"ab \t\"'\\", "x41", "\\n", '"a"', "'b'", "\\'", '\\"']), max_size=9).map("".join)
_arguments = st.sampled_from([b"PING", b"ECHO", b"hi", b"", b"\r\n", b"*1\r\n$", b"x" * 20])
_commands = st.lists(_arguments, min_size=1, max_size=3).map(encode_command)
_patterns = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[^a]", "[a-c]", "\\*", ".", "**"]), max_size=6).map("".join)
_topics = st.text("abc.*", min_size=1, max_size=7)
_names = st.sampled_from(["s", "u"])

# ---- HTTP/2 ----------------------------------------------------------------------------------------------------------

_blocks = st.lists(
    st.sampled_from([b"\x82", b"\x84", b"\xbd", b"\xbe", b"\x41\x01a", b"\x40\x01n\x01v", b"\x00\x01n\x00", b"\x10\x01n\x01v",
                     b"\x0f\x08\x01v", b"\x80", b"\x41\x81\x1f", b"\x41\x05a", b"\x20", b"\x7e\x00", b"\xff\x00"]), max_size=4,
).map(b"".join)  # fmt: skip
_nine = st.binary(max_size=12) | st.binary(max_size=12).map(b"\0".__add__)
_amounts = st.integers(0, 9)
_frame_names = st.sampled_from(["HEADERS", "HEADERS", "DATA", "RST_STREAM", "WINDOW_UPDATE"])
_stream_ids = st.sampled_from([1, 3, 5, 7])
_setting = st.tuples(st.integers(1, 9), st.sampled_from([0, 1, 2, 100, 16_383, 16_384, 1 << 24, 1 << 31]))
_pairs = st.lists(_setting.map(lambda pair: struct.pack(">HI", *pair)), max_size=2).map(b"".join)
_rarely = st.sampled_from([0, 0, 0, 1])
_settings = st.builds(http2_frames.encode_frame, st.sampled_from([4, 4, 4, 6]), _rarely, _rarely, _pairs)

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
    "websocket/1": lambda: script(call("accept_key", _base64), most=1),
    "websocket/2": lambda: script(call("mask", st.binary(max_size=9), _keys, st.integers(0, 9)), most=1),
    "websocket/3": lambda: script(call("parse_header", _headers), most=1),
    "websocket/4": lambda: joined(_frames, st.just(b"\x88\x00"), most=5),
    "websocket/5": lambda: script(
        call("t.add", _pieces, st.booleans()), first=st.just("t = TextChecker()"), most=6,
    ),
    "websocket/6": lambda: script(
        call("c.close", _codes, st.sampled_from(["", "bye"])), call("c.receive", _closes | st.sampled_from([b"", b"a"])),
        st.sampled_from(["c.done", "c.can_send"]), first=st.just("c = Closing()"), most=6,
    ),
    "pubsub/1": lambda: script(call("encode_reply", _replies), most=1),
    "pubsub/2": lambda: script(call("parse_inline", _inline.map(str.encode)), most=1),
    "pubsub/3": lambda: joined(_commands, st.just(b"*0\r\n")),
    "pubsub/4": lambda: script(call("matches", _patterns, _topics), most=1),
    "pubsub/5": lambda: script(
        call("s.put", st.sampled_from("abc")), call("s.put", st.sampled_from("xyz")), call("s.take", st.integers(0, 4)),
        st.sampled_from(["s.pending", "s.dropped"]), first=call("s = Subscription", st.integers(1, 4)), most=14,
    ),
    "pubsub/6": lambda: script(
        call("t.publish", st.sampled_from("abc")), _names.map("{} = t.subscribe()".format),
        st.builds("{} = t.subscribe({})".format, _names, _ids), _names.map("{}.take()".format),
        _names.map("{}.take()".format), _names.map("{}.close()".format),
        first=call("t = Topic", st.integers(1, 4)), most=14,
    ),
    "http2/1": lambda: script(call("parse_frame_header", _nine), most=1),
    "http2/2": lambda: script(
        call("decode_integer", st.binary(max_size=7) | st.binary(max_size=4).map(b"\xff".__add__), st.integers(4, 8)),
        call("encode_integer", st.integers(0, 300) | st.integers(0, 1 << 32), st.integers(4, 8)), most=1,
    ),
    "http2/3": lambda: script(call("decode_block", _blocks), most=1),
    "http2/4": lambda: script(
        call("w.received", _amounts), call("w.consumed", _amounts), st.just("w.credit"),
        first=call("w = ReceiveWindow", st.integers(1, 12)), most=14,
    ),
    "http2/5": lambda: script(
        call("s.send", _frame_names, st.booleans()), call("s.receive", _frame_names, st.booleans()),
        first=st.just("s = Stream()"), most=8,
    ),
    "http2/6": lambda: st.builds(lambda frames: http2_frames.PREFACE + b"".join(frames), st.lists(_settings, max_size=3)),
    "http2/7": lambda: script(
        call("r.offer", _stream_ids, _amounts.filter(bool)), call("r.credit", _stream_ids, _amounts.filter(bool)),
        st.just("r.next()"), st.just("r.next()"), first=call("r = Rounds", st.integers(1, 6)), most=16,
    ),
    "http2/8": lambda: script(
        call("d.request", st.integers(0, 9)), call("d.request", _stream_ids), call("d.finished", _stream_ids),
        st.just("d.goaway()"), st.just("d.done"), first=st.just("d = Drain()"), most=12,
    ),
}  # fmt: skip
"""The name of an exercise -> its streams, made when they are needed."""


def streams_of(name: str) -> Streams:
    """Return the streams of an exercise."""
    return _STREAMS[name]()
