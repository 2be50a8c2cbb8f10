"""HTTP/1.1: content in chunks (RFC 9112 §7.1). A chunk that two programs read differently smuggles requests, too."""

from typing import Any

from minproto.prove.case import Case, Pause, Shut, Step, Trickle
from minproto.prove.cases.http1_parts import (
    BOTH,
    ECHO,
    ECHOED,
    ECHOED_ONCE,
    IN_CONTENT,
    LAST,
    LAST_ECHO,
    ONCE,
    POST,
    REFUSED,
)
from minproto.prove.controls import OK

_TE = b"Transfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"
_CHUNK = b"5\r\nhello\r\n"
_LENIENT = f"{IN_CONTENT}|{BOTH}|{ONCE}"
_FUNKY = "https://w4ke.info/2025/06/18/funky-chunks.html"
_H11 = "CVE-2025-43859"


def _echo(name: str, entry: str, *steps: Step, acceptable: str = ECHOED_ONCE, **more: Any) -> Case:
    """Return the case of chunks whose content, hello, the server has to find."""
    steps = (*steps, LAST_ECHO)
    return Case(f"http1/framing/{name}", entry, steps, right=ECHOED, acceptable=acceptable, shows=("content",),
                methods=("POST", "POST"), needs=frozenset({"echo"}), **more)  # fmt: skip


def _right(name: str, body: bytes, entry: str = "9112-6.1-parse-chunked", **more: Any) -> Case:
    """Return the case of a right body in chunks."""
    return _echo(name, entry, ECHO + _TE + body, **more)


def _bad(name: str, body: bytes, entry: str = "9112-2.2-not-http", acceptable: str = IN_CONTENT, **more: Any) -> Case:
    """Return the case of a body in chunks that is malformed."""
    right, also = more.pop("right", REFUSED), ("9112-6.1-parse-chunked",)
    return Case(f"http1/framing/{name}", entry, (POST + _TE + body + LAST,), right=right, acceptable=acceptable,
                also=also, **more)  # fmt: skip


def _large(what: str, size: bytes, **more: Any) -> Case:
    """Return the case of a chunk whose size is too large for a kind of number. A server may have room for such a chunk."""
    return _bad(f"chunk-size-too-large-for-{what}", size + b"\r\nhello\r\n" + _END, "9112-7.1-large-sizes",
                f"{IN_CONTENT}|silent", right="(400|413) closed", **more)  # fmt: skip


_RIGHT = (
    _right("chunked", _CHUNK + _END),
    _echo("chunked-byte-by-byte", "9112-6.1-parse-chunked", Trickle(ECHO + _TE + _CHUNK + _END)),
    _echo("chunked-with-everything-byte-by-byte", "9112-7.1.1-extensions",
          Trickle(ECHO + _TE + b'2;a="b;c";d\r\nhe\r\n03;e=f\r\nllo\r\n00;last\r\nDigest: x\r\nX: \r\n\r\n')),
    _echo("chunks-after-pauses", "9112-6.1-parse-chunked", ECHO + _TE, Pause(0.05), b"2\r\nhe\r", Pause(0.05),
          b"\n3\r\nllo\r\n", Pause(0.05), _END),
    _right("a-chunk-for-each-byte", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n"),
    _right("chunk-size-with-zeros", b"0000005\r\nhello\r\n000\r\n\r\n", "9112-7.1-large-sizes",
           acceptable=f"{ECHOED_ONCE}|400 (?s:.*)closed"),
    _echo("chunked-in-any-case", "9112-7-names", ECHO + b"Transfer-Encoding: ChunKED\r\n\r\n" + _CHUNK + _END),
    _echo("te-in-any-case", "9110-5.1-names-have-no-case", ECHO + b"tRANSFER-eNCODING: chunked\r\n\r\n" + _CHUNK + _END),
    _echo("spaces-around-chunked", "9112-5.1-ows", ECHO + b"Transfer-Encoding:   chunked \r\n\r\n" + _CHUNK + _END,
          acceptable=f"{ECHOED_ONCE}|[45]0[01] (?s:.*)closed"),
    _echo("tabs-around-chunked", "9112-5.1-ows", ECHO + b"Transfer-Encoding:\tchunked\t\r\n\r\n" + _CHUNK + _END,
          acceptable=f"{ECHOED_ONCE}|[45]0[01] (?s:.*)closed"),
    _echo("empty-elements-around-chunked", "9110-5.6.1.2-ignore-empty",
          ECHO + b"Transfer-Encoding: ,chunked, ,\r\n\r\n" + _CHUNK + _END,
          acceptable=f"{ECHOED_ONCE}|[45]0[01] (?s:.*)closed",
          issue="https://github.com/benoitc/gunicorn/issues/3087"),
    _echo("te-on-two-lines", "9110-5.3-combine",
          ECHO + b"Transfer-Encoding: \r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNK + _END,
          acceptable=f"{ECHOED_ONCE}|[45]0[01] (?s:.*)closed"),
    _right("extension", b"5;name\r\nhello\r\n0;last\r\n\r\n", "9112-7.1.1-extensions"),
    _right("extension-with-a-value", b"5;a=b\r\nhello\r\n" + _END, "9112-7.1.1-extensions"),
    _right("extension-in-quotes", b'5;a="b;c=\\"d\\""\r\nhello\r\n' + _END, "9112-7.1.1-extensions"),
    _right("several-extensions", b"5;a;b=c;d\r\nhello\r\n" + _END, "9112-7.1.1-extensions"),
    _right("whitespace-in-an-extension", b"5\t; a = b\r\nhello\r\n" + _END, "9110-5.6.3-receive-bws",
           also=("9110-5.6.3-send-bws",), acceptable=f"{ECHOED_ONCE}|400 (?s:.*)closed"),
    _right("trailer", _CHUNK + b"0\r\nDigest: x\r\nX-A: b\r\n\r\n", "9112-7.1.2-separate"),
    _right("trailer-that-frames", _CHUNK + b"0\r\nContent-Length: 300\r\n\r\n", "9110-6.5.1-merge-trailer",
           also=("9112-7.1.2-merged", "9110-6.5.1-send-trailer"),
           acceptable=rf"{ECHOED_ONCE}|400 (?s:.*)closed|2\d\d\+.*closed"),
    _right("trailer-with-host", _CHUNK + b"0\r\nHost: other.example\r\n\r\n", "9112-7.1.2-merged",
           acceptable=rf"{ECHOED_ONCE}|400 (?s:.*)closed|2\d\d\+.*closed"),
    _right("trailer-with-close", _CHUNK + b"0\r\nConnection: close\r\n\r\n", "9112-7.1.2-merged",
           acceptable=rf"{ECHOED_ONCE}|400 (?s:.*)closed|2\d\d\+.*closed"),
    Case("http1/framing/chunked-post", "9112-6.1-parse-chunked", (POST + _TE + _CHUNK + _END + LAST,), right=BOTH,
         acceptable=f"{ONCE}|411 closed|411 {OK} closed"),
    Case("http1/framing/chunked-request-in-the-content", "9112-9.3-read-the-request",
         (b"POST {path} HTTP/1.1\r\nHost: {host}\r\n" + _TE + b"1b\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n" + _END + LAST,),
         right=rf"[2-5]\d\d {OK} closed", acceptable=r"[2-5]\d\d closed"),
    Case("http1/framing/last-chunk-missing", "9112-6.1-parse-chunked", (ECHO + _TE + _CHUNK, Pause(0.3)),
         right=r"silent|2\d\d\+ open", acceptable=r"4\d\d closed", needs=frozenset({"echo"})),
    Case("http1/framing/chunks-cut-short", "9112-6.1-parse-chunked", (ECHO + _TE + _CHUNK, Shut()),
         right=r"(4\d\d )?(closed|reset)|2\d\d\+ (closed|reset)", acceptable=r"[45]\d\d (closed|reset)",
         needs=frozenset({"echo", "clear"})),
)  # fmt: skip

_SIZES = (
    _bad("chunk-size-empty", b"\r\nhello\r\n" + _END),
    _bad("chunk-size-in-letters", b"five\r\nhello\r\n" + _END),
    _bad("chunk-size-with-a-letter", b"5g\r\nhello\r\n" + _END),
    _bad("chunk-size-with-0x", b"0x5\r\nhello\r\n" + _END, issue="https://github.com/urllib3/urllib3/pull/5083"),
    _bad("chunk-size-with-a-plus", b"+5\r\nhello\r\n" + _END, why="C's strtol() and Python's int() read a sign."),
    _bad("chunk-size-with-a-minus", b"-5\r\nhello\r\n" + _END),
    _bad("chunk-size-with-an-underscore", b"0_5\r\nhello\r\n" + _END),
    _bad("chunk-size-behind-a-space", b" 5\r\nhello\r\n" + _END),
    _bad("chunk-size-before-a-space", b"5 \r\nhello\r\n" + _END, acceptable=_LENIENT,
         why="Old programs pad the size with spaces, so many servers accept them."),
    _bad("chunk-size-before-a-letter", b"5 x\r\nhello\r\n" + _END, acceptable=_LENIENT),
    _bad("chunk-size-with-a-comma", b"5,5\r\nhello\r\n" + _END),
    _bad("chunk-size-with-another-digit", b"\xb5\r\nhello\r\n" + _END),
    _bad("chunk-size-with-a-nul", b"5\x00\r\nhello\r\n" + _END),
    _large("32-bits", b"100000005"),
    _large("64-bits", b"10000000000000005", why="2^64 + 5 is 5 for a program that counts in 64 bits.",
           issue="https://github.com/oven-sh/bun/pull/26931"),
    _large("a-sign", b"ffffffffffffffff", why="A program that reads a signed number takes this size for -1."),
    _large("any-integer", b"f" * 300),
    _bad("last-chunk-with-0x", b"5\r\nhello\r\n0x0\r\n\r\n"),
)  # fmt: skip

_LINE_ENDS = (
    _bad("chunk-without-its-line-end", b"5\r\nhello0\r\n\r\n", issue="https://github.com/enghitalo/vanilla/pull/110"),
    _bad("chunk-longer-than-its-size", b"4\r\nhello\r\n" + _END),
    _bad("chunk-with-two-other-bytes-behind", b"5\r\nhelloXX0\r\n\r\n", issue=_H11,
         why="A server that skips two bytes, whatever they are, sees another chunk than a proxy that looks for CRLF."),
    _bad("chunk-shorter-than-its-size", b"6\r\nhello\r\n" + _END, acceptable=f"{_LENIENT}|silent"),
    _bad("lf-behind-the-chunk-size", b"5\nhello\r\n" + _END, acceptable=_LENIENT, issue=_FUNKY),
    _bad("lf-behind-the-data", b"5\r\nhello\n" + _END, acceptable=_LENIENT, issue=_FUNKY),
    _bad("lf-behind-the-last-chunk", b"5\r\nhello\r\n0\n\r\n", acceptable=_LENIENT),
    _bad("lf-at-the-end", b"5\r\nhello\r\n0\r\n\n", acceptable=_LENIENT,
         why="The last line belongs to the trailers, whose lines may end with a bare LF (RFC 9112 §2.2)."),
    _bad("lf-in-an-extension", b"5;a\nb\r\nhello\r\n" + _END, issue=_FUNKY, acceptable=_LENIENT),
    _bad("cr-behind-the-chunk-size", b"5\rhello\r\n" + _END, "9112-2.2-bare-cr-received", f"{IN_CONTENT}|silent"),
    _bad("cr-behind-the-data", b"5\r\nhello\r" + _END, "9112-2.2-bare-cr-received"),
    _bad("cr-in-an-extension", b"5;a\rb\r\nhello\r\n" + _END, "9112-2.2-bare-cr-received", _LENIENT),
    _bad("cr-cr-lf-behind-the-chunk-size", b"5\r\r\nhello\r\n" + _END, "9112-2.2-bare-cr-received", _LENIENT),
    _bad("cr-cr-lf-behind-the-data", b"5\r\nhello\r\r\n" + _END, "9112-2.2-bare-cr-received"),
    _bad("nul-in-an-extension", b"5;a=\x00\r\nhello\r\n" + _END, acceptable=_LENIENT),
    _bad("quote-without-an-end", b'5;a="b\r\nhello\r\n' + _END, acceptable=_LENIENT),
    _bad("space-instead-of-an-extension", b"5;\r\nhello\r\n" + _END, acceptable=_LENIENT),
)  # fmt: skip

_TRAILERS = (
    _bad("trailer-without-a-colon", b"0\r\nDigest x\r\n\r\n", acceptable=_LENIENT),
    _bad("trailer-with-a-space-before-the-colon", b"0\r\nDigest : x\r\n\r\n", "9112-5.1-space-before-colon", _LENIENT),
    _bad("trailer-with-a-nul", b"0\r\nDigest: x\x00\r\n\r\n", "9110-5.5-cr-lf-nul", _LENIENT),
    _bad("trailer-with-a-control", b"0\r\nDigest: x\x01\r\n\r\n", "9110-5.5-other-controls", _LENIENT),
    _bad("trailer-with-a-bare-cr", b"0\r\nDigest: x\ry\r\n\r\n", "9112-2.2-bare-cr-received", _LENIENT),
    _bad("trailer-folded", b"0\r\nDigest: x\r\n y\r\n\r\n", "9112-5.2-fold-in-a-request", _LENIENT),
    _bad("trailer-with-a-space-first", b"0\r\n Digest: x\r\n\r\n", acceptable=_LENIENT),
)  # fmt: skip

CASES = (*_RIGHT, *_SIZES, *_LINE_ENDS, *_TRAILERS)
