"""HTTP/1.1: long and slow requests, and floods (RFC 9110 §2.3, §5.4; RFC 9112 §3). Most of it is hardening."""

from typing import Any

from minproto.prove.case import Case, Pause, Step, Trickle, Wait
from minproto.prove.cases.http1_parts import BOTH, ECHO, GET, HEAD_ONLY, HOST, LAST, ONCE, POST, STRICT, TWICE

_END = b"\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_TAKEN = f"{TWICE}|{BOTH}"


def _limit(name: str, entry: str, request: bytes, right: str, acceptable: str, **more: Any) -> Case:
    """Return the case of a long request, with LAST behind it."""
    return Case(f"http1/limits/{name}", entry, (request + LAST,), right=right, acceptable=acceptable, **more)


_LIMITS = (
    _limit("target-of-2000-bytes", "9110-4.1-8000-octets", b"GET {path}?" + b"a" * 2_000 + b" HTTP/1.1\r\n" + HOST + _END,
           _TAKEN, HEAD_ONLY + "|" + ONCE),
    _limit("target-of-8000-bytes", "9110-4.1-8000-octets", b"GET {path}?" + b"a" * 7_900 + b" HTTP/1.1\r\n" + HOST + _END,
           _TAKEN, HEAD_ONLY + "|" + ONCE, also=("9112-3-8000",)),
    _limit("target-of-64-kib", "9112-3-long-target", b"GET {path}?" + b"a" * 65_536 + b" HTTP/1.1\r\n" + HOST + _END,
           f"414 closed|{_TAKEN}", HEAD_ONLY + "|" + ONCE),
    _limit("target-of-500-kib", "9112-3-long-target", b"GET {path}?" + b"a" * 500_000 + b" HTTP/1.1\r\n" + HOST + _END,
           "414 closed", f"{HEAD_ONLY}|{_TAKEN}|{ONCE}"),
    _limit("method-of-8000-bytes", "9112-3-long-method", b"M" * 8_000 + b" {path} HTTP/1.1\r\n" + HOST + _END,
           "501 closed", f"{HEAD_ONLY}|{_TAKEN}|{ONCE}", methods=("M",)),
    _limit("method-of-64-kib", "9112-3-long-method", b"M" * 65_536 + b" {path} HTTP/1.1\r\n" + HOST + _END,
           "501 closed", f"{HEAD_ONLY}|{_TAKEN}|{ONCE}", methods=("M",)),
    _limit("value-of-4000-bytes", "9110-2.3-own-lengths", GET + b"Cookie: " + b"a" * 4_000 + b"\r\n\r\n", _TAKEN,
           HEAD_ONLY + "|" + ONCE),
    _limit("value-of-500-kib", "9110-5.4-too-large", GET + b"X: " + b"a" * 500_000 + b"\r\n\r\n", "431 closed",
           f"{HEAD_ONLY}|{_TAKEN}|{ONCE}"),
    _limit("name-of-500-kib", "9110-5.4-too-large", GET + b"X" * 500_000 + b": a\r\n\r\n", "431 closed",
           f"{HEAD_ONLY}|{_TAKEN}|{ONCE}"),
    _limit("fifty-fields", "9110-2.3-own-lengths", GET + b"X: a\r\n" * 50 + _END, _TAKEN, HEAD_ONLY + "|" + ONCE),
    _limit("5000-fields", "9110-5.4-too-large", GET + b"X: a\r\n" * 5_000 + _END, "431 closed",
           f"{HEAD_ONLY}|{_TAKEN}|{ONCE}"),
    _limit("5000-fields-with-different-names", "9110-5.4-too-large",
           GET + b"".join(b"X%d: a\r\n" % number for number in range(5_000)) + _END, "431 closed",
           f"{HEAD_ONLY}|{_TAKEN}|{ONCE}"),
    Case("http1/limits/announced-content", "9110-8.6-large-numerals",
         (POST + b"Content-Length: 100000000000000000\r\n\r\nhello",), right="(413|400) closed",
         acceptable=f"{STRICT}|silent|2.*", methods=("POST",),
         why="A server that has no room for that should say so at once."),
    Case("http1/limits/announced-content-and-expect", "9110-8.6-large-numerals",
         (POST + b"Content-Length: 100000000000000000\r\nExpect: 100-continue\r\n\r\n",), right="(413|400|417) closed",
         acceptable=f"{STRICT}|100 open|2.*", methods=("POST",)),
    _limit("chunk-extensions-of-100-kib", "9112-7.1.1-bounded",
           POST + _CHUNKED + b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n", r"4\d\d closed",
           rf"{STRICT}|4\d\d\+? closed|{BOTH}|2\d\d\+? (closed|reset)|4\d\d 4\d\d closed", methods=("POST", "GET"),
           needs=frozenset({"post"})),
    _limit("chunk-extensions-of-many-chunks", "9112-7.1.1-bounded",
           POST + _CHUNKED + (b"1;" + b"a" * 200 + b"\r\nh\r\n") * 1_000 + b"0\r\n\r\n",
           r"4\d\d closed|2\d\d\+ (closed|reset)", rf"{STRICT}|4\d\d\+? closed|{BOTH}|2\d\d\+? (closed|reset)|4\d\d 4\d\d closed", methods=("POST", "GET"),
           needs=frozenset({"post"}), issue="https://github.com/hyperium/hyper/pull/3495",
           why="Content of a kilobyte may cost megabytes of extensions, which no limit on content counts (CVE-2023-39326)."),
    _limit("trailer-of-500-kib", "9110-5.4-too-large", POST + _CHUNKED + b"0\r\nX: " + b"a" * 500_000 + b"\r\n\r\n",
           r"431 closed|2\d\d\+ (closed|reset)", rf"{STRICT}|{BOTH}|2\d\d\+? (closed|reset)|[45]\d\d\+? [45]\d\d closed",
           methods=("POST", "GET"), needs=frozenset({"post"})),
)  # fmt: skip

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
    _slow("content-without-an-end", ECHO + b"Content-Length: 100\r\n\r\nh", needs=frozenset({"echo"}),
          right=r"(4\d\d )?(closed|reset)|2\d\d\+ (closed|reset)"),
    _slow("chunks-without-an-end", ECHO + _CHUNKED + b"5\r\nhe", needs=frozenset({"echo"}),
          right=r"(4\d\d )?(closed|reset)|2\d\d\+ (closed|reset)"),
    _slow("continue-without-content", POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n", methods=("POST",),
          right=r"(100 )?(4\d\d )?(closed|reset)|(100 )?[2-5]\d\d (closed|reset|open)"),
    Case("http1/slow/right-request-in-five-seconds", "9112-2.2-octets",
         (Trickle(GET[:20], delay=0.15), GET[20:] + _END + LAST),
         right=TWICE, acceptable=ONCE),
    Case("http1/slow/requests-with-pauses", "9112-9.3-persistent",
         (GET + _END, Wait("[2-4].. "), Pause(4.0), GET + _END, Pause(4.0), LAST), right=r"([2-4]\d\d) \1 \1 closed",
         acceptable=r"[2-4]\d\d( [2-4]\d\d)? closed", also=("9112-9.5-sustain",)),
)  # fmt: skip

_REFUSES = r"([45]\d\d )?(closed|reset)|[45]\d\d open"


def _flood(name: str, *steps: Step, right: str = _REFUSES, acceptable: str = "", **more: Any) -> Case:
    return Case(f"http1/hostile/{name}", "", steps, right=right, acceptable=acceptable, **more)


_MEGABYTE = 1 << 20
_HOSTILE = (
    _flood("request-line-of-4-mb", b"GET /" + b"a" * (4 * _MEGABYTE), why="A line without an end must not fill the memory."),
    _flood("method-of-4-mb", b"M" * (4 * _MEGABYTE)),
    _flood("value-of-4-mb", GET + b"X: " + b"a" * (4 * _MEGABYTE)),
    _flood("name-of-4-mb", GET + b"X" * (4 * _MEGABYTE)),
    _flood("300000-fields", GET + b"X: aaaa\r\n" * 300_000),
    _flood("empty-lines", b"\r\n" * 500_000, why="Empty lines are ignored before a request: how many of them?"),
    _flood("spaces-in-a-value", GET + b"X:" + b" " * (2 * _MEGABYTE) + b"a\r\n\r\n",
           why="A regular expression that backtracks needs the square of the time."),
    _flood("commas", GET + b"Accept: " + b"," * 30_000 + b"\r\n" + b"TE: " + b", " * 10_000 + b"\r\nConnection: close\r\n\r\n",
           right=r"[2-5]\d\d (closed|reset)|closed|reset"),
    _flood("transfer-encodings", POST + b"Transfer-Encoding: chunked\r\n" * 50 + b"\r\n0\r\n\r\n" + LAST,
           acceptable=rf"{BOTH}|{ONCE}"),
    _flood("ranges", GET + b"Range: bytes=" + b",".join(b"%d-" % at for at in range(1_000)) + b"\r\nConnection: close\r\n\r\n",
           right=r"[2-5]\d\d length=\d{1,6} closed", acceptable=r"closed|reset|[45]\d\d .*", shows=("length",),
           issue="CVE-2011-3192",
           why="Each range is a part of the answer: a thousand of them make it a thousand times as long as the content."),
    _flood("2000-pipelined-requests", (GET + _END) * 2_000 + LAST, right=r"([2-4]\d\d)( \1){2000} closed",
           acceptable=r"[2-5]\d\d( [2-5]\d\d)* (closed|reset)"),
    _flood("5000-small-chunks", POST + _CHUNKED + b"1\r\nh\r\n" * 5_000 + b"0\r\n\r\n" + LAST, right=BOTH,
           acceptable=r"[2-5]\d\d\+? (closed|reset)|closed|reset|[45]\d\d [2-4]\d\d closed", methods=("POST", "GET"),
           needs=frozenset({"post"})),
    _flood("chunk-size-of-1-mb-of-zeros", POST + _CHUNKED + b"0" * _MEGABYTE,
           right=r"[45]\d\d\+? ([45]\d\d )?(closed|reset)|closed|reset|2\d\d\+? (closed|reset)|[45]\d\d open",
           methods=("POST",), needs=frozenset({"post"})),
    _flood("chunk-extension-of-4-mb", POST + _CHUNKED + b"1;" + b"a" * (4 * _MEGABYTE), issue="CVE-2024-22019",
           right=r"[45]\d\d\+? ([45]\d\d )?(closed|reset)|closed|reset|2\d\d\+? (closed|reset)|[45]\d\d open",
           methods=("POST",), needs=frozenset({"post"})),
    _flood("trailer-of-4-mb", POST + _CHUNKED + b"0\r\nX: " + b"a" * (4 * _MEGABYTE),
           right=r"[45]\d\d\+? ([45]\d\d )?(closed|reset)|closed|reset|2\d\d\+? (closed|reset)|[45]\d\d open",
           methods=("POST",), needs=frozenset({"post"})),
    _flood("300000-trailers", POST + _CHUNKED + b"0\r\n" + b"X: aaaa\r\n" * 300_000,
           right=r"[45]\d\d\+? ([45]\d\d )?(closed|reset)|closed|reset|2\d\d\+? (closed|reset)|[45]\d\d open",
           methods=("POST",), needs=frozenset({"post"})),
    _flood("upload-to-a-path-that-is-missing",
           b"POST /minproto-prove/none HTTP/1.1\r\n" + HOST + b"Content-Length: 4000000\r\n\r\n" + b"a" * 4_000_000 + LAST,
           right=r"[2-5]\d\d ([2-4]\d\d )?closed", acceptable="closed|reset|[2-5].. reset", methods=("POST", "GET"),
           why="The client is still sending: a server that closes too early destroys its answer (RFC 9112 §9.6)."),
)  # fmt: skip

CASES = (*_LIMITS, *_SLOW, *_HOSTILE)
