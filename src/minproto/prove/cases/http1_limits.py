"""HTTP/1.1: long requests (RFC 9110 §2.3, §4.1, §5.4; RFC 9112 §3, §7.1.1). Each server has limits of its own."""

from typing import Any

from minproto.prove.case import Case
from minproto.prove.cases.http1_parts import BOTH, GET, HEAD_ONLY, HOST, LAST, ONCE, POST, STRICT, TWICE

_END = b"\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_TAKEN = f"{TWICE}|{BOTH}"
_ANSWERED = rf"{STRICT}|{BOTH}|2\d\d\+? (closed|reset)|4\d\d\+? (4\d\d )?closed"
"""The content is too long. A server may have room for it, and may have answered before it knew."""


def _limit(name: str, entry: str, request: bytes, right: str, acceptable: str, **more: Any) -> Case:
    """Return the case of a long request, followed by LAST."""
    return Case(f"http1/limits/{name}", entry, (request + LAST,), right=right, acceptable=acceptable, **more)


CASES = (
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
           _ANSWERED, methods=("POST", "GET"),
           needs=frozenset({"post"})),
    _limit("chunk-extensions-of-many-chunks", "9112-7.1.1-bounded",
           POST + _CHUNKED + (b"1;" + b"a" * 200 + b"\r\nh\r\n") * 1_000 + b"0\r\n\r\n",
           r"4\d\d closed|2\d\d\+ (closed|reset)", _ANSWERED, methods=("POST", "GET"),
           needs=frozenset({"post"}), issue="https://github.com/hyperium/hyper/pull/3495",
           why="Content of a kilobyte may cost megabytes of extensions, which no limit on content counts (CVE-2023-39326)."),
    _limit("trailer-of-500-kib", "9110-5.4-too-large", POST + _CHUNKED + b"0\r\nX: " + b"a" * 500_000 + b"\r\n\r\n",
           r"431 closed|2\d\d\+ (closed|reset)", _ANSWERED, methods=("POST", "GET"), needs=frozenset({"post"})),
)  # fmt: skip
