"""HTTP/1.1: slow clients and floods. No standard demands most of it, but RFC 9110 §2.3 says: parse defensively."""

from typing import Any

from minproto.prove.case import Case, Pause, Step, Trickle, Wait
from minproto.prove.cases.http1_parts import BOTH, ECHO, GET, HOST, LAST, ONCE, POST, TWICE
from minproto.prove.controls import OK

_END = b"\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_GONE = r"(4\d\d )?(closed|reset)"
_WAITS = 50.0


def _slow(name: str, *steps: Step, right: str = _GONE, **more: Any) -> Case:
    """Return the case of a client that keeps a connection without using it. A server ends it within less than a minute."""
    return Case(f"http1/slow/{name}", more.pop("entry", ""), (*steps, Pause(_WAITS)), right=right, **more)


_SLOW = (
    _slow("request-line-without-an-end", b"GET {path} HT", why="Each such connection costs the server memory and a slot."),
    _slow("head-without-an-end", GET + b"X: a", entry="9112-9.5-server-timeout"),
    Case("http1/slow/slowloris", "", (GET, Trickle(b"X-a: b\r\n" * 7, delay=1.0)), right=_GONE, issue="CVE-2007-6750",
         acceptable="silent",
         why="A byte now and then must not buy more time for ever: a time limit for the whole head stops it."),
    _slow("content-without-an-end", ECHO + b"Content-Length: 100\r\n\r\n", needs=frozenset({"echo"}),
          why="Half a request holds a connection.", right=r"(4\d\d )?(closed|reset)|2\d\d\+ (closed|reset)",
          acceptable=r"2\d\d\+ open"),
    _slow("chunks-without-an-end", ECHO + _CHUNKED + b"5\r\n", needs=frozenset({"echo"}),
          why="Half a request holds a connection.", right=r"(4\d\d )?(closed|reset)|2\d\d\+ (closed|reset)",
          acceptable=r"2\d\d\+ open"),
    _slow("continue-without-content", POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n", methods=("POST",),
          why="A client that never sends its content holds a connection.",
          right=r"(100 )?(4\d\d )?(closed|reset)|(100 )?[2-5]\d\d (closed|reset|open)"),
    Case("http1/slow/right-request-in-five-seconds", "9112-2.2-octets",
         (Trickle(GET[:20], delay=0.15), GET[20:] + _END + LAST),
         right=TWICE, acceptable=ONCE),
    Case("http1/slow/requests-with-pauses", "9112-9.3-persistent",
         (GET + _END, Wait("[2-4].. "), Pause(4.0), GET + _END, Pause(4.0), LAST), right=rf"({OK}) \1 \1 closed",
         acceptable=f"{OK}( {OK})? closed", also=("9112-9.5-sustain",)),
)  # fmt: skip

_REFUSES = r"([45]\d\d\+? )?(closed|reset)|[45]\d\d open"


_ENDS = r"[45]\d\d\+? ([45]\d\d )?(closed|reset)|closed|reset|2\d\d\+? (closed|reset)|[45]\d\d open"
"""The same in content: the server may have answered before."""


def _flood(name: str, *steps: Step, right: str = _REFUSES, acceptable: str = "", **more: Any) -> Case:
    """Return the case of a client that sends very many bytes or requests. A server refuses them, or is not harmed."""
    return Case(f"http1/hostile/{name}", "", steps, right=right, acceptable=acceptable, **more)


_MEGABYTE = 1 << 20
_HOSTILE = (
    _flood("request-line-of-4-mb", b"GET /" + b"a" * (4 * _MEGABYTE), why="A line without an end must not fill the memory."),
    _flood("method-of-4-mb", b"M" * (4 * _MEGABYTE), why="A method without an end must not fill the memory."),
    _flood("value-of-4-mb", GET + b"X: " + b"a" * (4 * _MEGABYTE), why="A value without an end must not fill the memory."),
    _flood("name-of-4-mb", GET + b"X" * (4 * _MEGABYTE), why="A name without an end must not fill the memory."),
    _flood("300000-fields", GET + b"X: aaaa\r\n" * 300_000, why="Each field costs more memory than its bytes."),
    _flood("empty-lines", b"\r\n" * 500_000, acceptable="silent",
           why="Empty lines are ignored before a request: how many of them?"),
    _flood("spaces-in-a-value", GET + b"X:" + b" " * (2 * _MEGABYTE) + b"a\r\n\r\n",
           acceptable=rf"{OK} open", why="A regular expression that backtracks needs the square of the time."),
    _flood("commas", GET + b"Accept: " + b"," * 30_000 + b"\r\n" + b"TE: " + b", " * 10_000 + b"\r\nConnection: close\r\n\r\n",
           right=r"[2-5]\d\d (closed|reset)|closed|reset",
           why="A list of empty elements may cost a parser the square of the time."),
    _flood("transfer-encodings", POST + b"Transfer-Encoding: chunked\r\n" * 50 + b"\r\n0\r\n\r\n" + LAST,
           acceptable=rf"{BOTH}|{ONCE}",
           why="A parser that joins lines one by one needs the square of the time."),
    _flood("ranges", GET + b"Range: bytes=" + b",".join(b"%d-" % at for at in range(1_000)) + b"\r\nConnection: close\r\n\r\n",
           right=r"[2-5]\d\d length=\d{1,6} closed", acceptable=r"closed|reset|[45]\d\d .*", shows=("length",),
           issue="CVE-2011-3192",
           why="Each range is a part of the answer: a thousand of them make it a thousand times as long as the content."),
    _flood("300-pipelined-requests", (GET + _END) * 300 + LAST, right=rf"({OK})( \1){{300}} closed",
           acceptable=r"[2-5]\d\d( [2-5]\d\d)* (closed|reset)",
           why="A server that reads ahead without a bound fills its memory with answers."),
    _flood("5000-small-chunks", POST + _CHUNKED + b"1\r\nh\r\n" * 5_000 + b"0\r\n\r\n" + LAST, right=BOTH,
           acceptable=rf"[2-5]\d\d\+? (closed|reset)|closed|reset|[45]\d\d {OK} closed", methods=("POST", "GET"),
           needs=frozenset({"post"}), why="Each chunk costs a few calls: content of 5 KB must not cost a second."),
    _flood("chunk-size-of-1-mb-of-zeros", POST + _CHUNKED + b"0" * _MEGABYTE, right=_ENDS, acceptable="silent",
           methods=("POST",), needs=frozenset({"post"}), why="A size without an end must not fill the memory."),
    _flood("chunk-extension-of-4-mb", POST + _CHUNKED + b"1;" + b"a" * (4 * _MEGABYTE), issue="CVE-2024-22019",
           right=_ENDS, methods=("POST",), needs=frozenset({"post"}), why="An extension is ignored, but it has to be read."),
    _flood("trailer-of-4-mb", POST + _CHUNKED + b"0\r\nX: " + b"a" * (4 * _MEGABYTE), right=_ENDS, methods=("POST",),
           needs=frozenset({"post"}), why="The trailers count for no limit on content, and for no limit on a head."),
    _flood("300000-trailers", POST + _CHUNKED + b"0\r\n" + b"X: aaaa\r\n" * 300_000, right=_ENDS, methods=("POST",),
           needs=frozenset({"post"}), why="Each trailer field costs more memory than its bytes."),
    _flood("upload-to-a-path-that-is-missing",
           b"POST /minproto-prove/none HTTP/1.1\r\n" + HOST + b"Content-Length: 4000000\r\n\r\n" + b"a" * 4_000_000 + LAST,
           right=rf"[2-5]\d\d ({OK} )?closed", acceptable="closed|reset|[2-5].. reset", methods=("POST", "GET"),
           why="The client is still sending: a server that closes too early destroys its answer (RFC 9112 §9.6)."),
)  # fmt: skip

CASES = (*_SLOW, *_HOSTILE)
