"""HTTP/1.1: where a request ends (RFC 9112 §6). Two programs that disagree about it let an attacker smuggle requests."""

from typing import Any

from minproto.prove.case import Case, Pause, Shut, Step, Trickle
from minproto.prove.cases.http1_parts import (
    BOTH,
    ECHO,
    ECHOED,
    ECHOED_ONCE,
    GET,
    LAST,
    LAST_ECHO,
    ONCE,
    POST,
    REFUSED,
    STRICT,
)
from minproto.prove.controls import OK

_DESYNC = "https://portswigger.net/research/http-desync-attacks-request-smuggling-reborn"
_HELLO = b"\r\nhello"
_CHUNKS = b"\r\n5\r\nhello\r\n0\r\n\r\n"
_ECHO_REFUSED = r"[45]\d\d (?s:.*)closed|closed|reset"
_BIG = STRICT + r"|silent|2\d\d\+? open"
"""A server may have room for such a number: then it waits for the content."""
_UNDECODED = f"{STRICT}|501 {OK} closed|{ONCE}|{BOTH}"
"""A server that does not know a coding should refuse it (501); chunked is the last one, so the end is still known."""


def _echo(name: str, entry: str, *steps: Step, acceptable: str = ECHOED_ONCE, **more: Any) -> Case:
    """Return the case of five bytes of content, hello, that the server has to find."""
    steps = (*steps, LAST_ECHO)
    return Case(f"http1/framing/{name}", entry, steps, right=ECHOED, acceptable=acceptable, shows=("content",),
                methods=("POST", "POST"), needs=frozenset({"echo"}), **more)  # fmt: skip


def _bad(name: str, entry: str, fields: bytes, acceptable: str = STRICT, **more: Any) -> Case:
    """Return the case of a request whose length nobody can be sure of."""
    request = POST + fields + (b"" if b"\r\n\r\n" in fields else _HELLO)
    right = more.pop("right", REFUSED)
    return Case(f"http1/framing/{name}", entry, (request + LAST,), right=right, acceptable=acceptable, **more)


def _length(name: str, value: bytes, acceptable: str = STRICT, **more: Any) -> Case:
    """Return the case of an invalid Content-Length."""
    also = ("9112-6.3-invalid-length", "9110-8.6-abnf", *more.pop("also", ()))
    return _bad(name, "9112-6.3-invalid-length-400", b"Content-Length: " + value + b"\r\n", acceptable, also=also, **more)


def _coding(name: str, entry: str, fields: bytes, right: str = REFUSED, acceptable: str = STRICT, **more: Any) -> Case:
    """Return the case of a Transfer-Encoding that does not frame a request; its content is in chunks."""
    return Case(f"http1/framing/{name}", entry, (POST + fields + _CHUNKS + LAST,), right=right, acceptable=acceptable, **more)


_LENGTHS = (
    _echo("length", "9110-8.6-abnf", ECHO + b"Content-Length: 5\r\n" + _HELLO),
    _echo("length-byte-by-byte", "9112-9.3-read-the-request", Trickle(ECHO + b"Content-Length: 5\r\n" + _HELLO)),
    _echo("content-after-a-pause", "9112-9.3-read-the-request", ECHO + b"Content-Length: 5\r\n\r\n", Pause(0.1), b"hel",
          Pause(0.05), b"lo"),
    _echo("length-in-any-case", "9110-5.1-names-have-no-case", ECHO + b"cOnTeNt-lEnGtH: 5\r\n" + _HELLO),
    _echo("spaces-around-the-length", "9110-5.5-exclude-whitespace", ECHO + b"Content-Length:   5 \r\n" + _HELLO),
    _echo("tabs-around-the-length", "9110-5.5-exclude-whitespace", ECHO + b"Content-Length:\t5\t\r\n" + _HELLO,
          acceptable=f"{ECHOED_ONCE}|{_ECHO_REFUSED}"),
    _echo("length-with-zeros", "9110-8.6-large-numerals", ECHO + b"Content-Length: 0000000005\r\n" + _HELLO,
          acceptable=f"{ECHOED_ONCE}|4.. closed"),
    Case("http1/framing/post", "9112-9.3-read-the-request", (POST + b"Content-Length: 5\r\n" + _HELLO + LAST,),
         right=BOTH, acceptable=ONCE, needs=frozenset({"post"})),
    Case("http1/framing/request-in-the-content", "9112-9.3-read-the-request",
         (b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST,),
         right=rf"[2-5]\d\d {OK} closed", acceptable=r"[2-5]\d\d closed",
         why="A server that answers 405 and does not read the content takes the content for the next request.",
         issue="https://github.com/hyperium/hyper/issues/540"),
    Case("http1/framing/content-of-a-get", "9112-9.3-read-the-request",
         (GET + b"Content-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST,),
         right=rf"[2-5]\d\d {OK} closed", acceptable=r"[2-5]\d\d closed|closed",
         why="A server that thinks that no GET has content takes the content for the next request.",
         issue="https://portswigger.net/research/browser-powered-desync-attacks"),
    Case("http1/framing/content-of-a-path-that-is-missing", "9112-9.3-read-the-request",
         (b"POST /minproto-prove/none HTTP/1.1\r\nHost: {host}\r\nContent-Length: 27\r\n\r\n"
          b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST,),
         right=rf"[2-5]\d\d {OK} closed", acceptable=r"[2-5]\d\d closed"),
    Case("http1/framing/no-length", "9112-6.3-request-without-length", (POST + b"\r\n" + LAST,),
         right=f"{OK} {OK} closed", acceptable=ONCE + f"|411 {OK} closed", methods=("POST", "GET")),
    Case("http1/framing/length-zero", "9112-6.3-request-without-length", (POST + b"Content-Length: 0\r\n\r\n" + LAST,),
         right=BOTH, acceptable=ONCE),
    _length("length-with-a-plus", b"+5", issue="https://github.com/benoitc/gunicorn/issues/2977"),
    _length("length-with-a-minus", b"-5"),
    _length("length-minus-zero", b"-0"),
    _length("length-in-hexadecimal", b"0x5"),
    _length("length-in-letters", b"five"),
    _length("length-with-a-point", b"5.0"),
    _length("length-with-an-exponent", b"5e0"),
    _length("length-with-an-underscore", b"0_5", why="Python's int() reads underscores."),
    _length("length-empty", b""),
    _length("length-with-a-space", b"5 5"),
    _length("length-with-a-semicolon", b"5;a=b"),
    _length("length-in-quotes", b'"5"'),
    _length("length-in-other-digits", b"\xb5\xb2", why="² is a digit for some libraries."),
    _length("length-with-a-nul", b"5\x00"),
    _length("length-with-a-vertical-tab", b"\x0b5"),
    _length("length-with-a-wide-space", b"5\xa0", why="Some libraries strip a no-break space.",
            also=("9110-5.5-exclude-whitespace", "9112-5.1-ows"),
            issue="https://github.com/Pylons/waitress/issues/432"),
    _length("lengths-that-differ", b"5\r\nContent-Length: 6", also=("9110-5.3-combine",),
            issue="https://github.com/valyala/fasthttp/pull/2191"),
    _length("lengths-that-differ-in-a-list", b"5, 6"),
    _length("length-and-nothing-in-a-list", b"5, five"),
    _length("lengths-that-differ-zero-first", b"0\r\nContent-Length: 5"),
    _length("second-length-invalid", b"5\r\nContent-Length: +5"),
    _length("length-too-large-for-64-bits", b"18446744073709551621", _BIG, right="(400|413) closed",
            why="2^64 + 5 is 5 for a program that counts in 64 bits.",),
    _length("length-too-large-for-32-bits", b"4294967301", _BIG, right="(400|413) closed"),
    _length("length-of-300-digits", b"9" * 300, _BIG, right="(400|413) closed"),
    Case("http1/framing/lengths-that-are-equal", "9112-6.3-invalid-length",
         (ECHO + b"Content-Length: 5\r\nContent-Length: 5\r\n" + _HELLO + LAST_ECHO,),
         right=rf"400 content=\[(?s:.*)\] closed|{ECHOED}", acceptable=rf"{ECHOED_ONCE}|4\d\d (?s:.*)closed|closed|reset",
         shows=("content",), methods=("POST", "POST"), needs=frozenset({"echo"})),
    Case("http1/framing/lengths-that-are-equal-in-a-list", "9112-6.3-invalid-length",
         (ECHO + b"Content-Length: 5, 5\r\n" + _HELLO + LAST_ECHO,),
         right=rf"400 content=\[(?s:.*)\] closed|{ECHOED}", acceptable=rf"{ECHOED_ONCE}|4\d\d (?s:.*)closed|closed|reset",
         shows=("content",), methods=("POST", "POST"), needs=frozenset({"echo"})),
    Case("http1/framing/too-short", "9112-6.3-too-short", (ECHO + b"Content-Length: 9\r\n" + _HELLO, Shut()),
         right=r"(4\d\d content=\[(?s:.*)\] )?(closed|reset)|2\d\d\+ (closed|reset)",
         acceptable=r"[45]\d\d content=\[(?s:.*)\] (closed|reset)", shows=("content",), methods=("POST",),
         needs=frozenset({"echo", "clear"})),
    Case("http1/framing/content-missing", "9112-9.3-read-the-request", (ECHO + b"Content-Length: 5\r\n\r\nhel", Pause(0.3)),
         right=r"silent|2\d\d\+ open", acceptable=r"4\d\d closed", needs=frozenset({"echo"})),
)  # fmt: skip

_CODINGS = (
    _bad("te-and-cl", "9112-6.1-te-and-cl", b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
         r"[2-5]\d\d (closed|reset)|closed|reset", also=("9112-6.3-both-are-an-error",), issue=_DESYNC,
         why="The first program reads six bytes, the second one an empty body: G begins the next user's request."),
    _bad("cl-zero-and-te", "9112-6.1-te-and-cl", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         r"[2-5]\d\d (closed|reset)|closed|reset", issue=_DESYNC),
    _bad("te-before-cl", "9112-6.1-te-and-cl", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
         r"[2-5]\d\d (closed|reset)|closed|reset", issue=_DESYNC),
    _bad("te-identity-and-cl", "9112-6.3-request-chunked-last", b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n"),
    _bad("te-empty-and-cl", "9112-6.1-te-and-cl", b"Transfer-Encoding:\r\nContent-Length: 5\r\n",
         f"{STRICT}|{ONCE}|{BOTH}",
         why="An empty list has no coding: a server may take the field for none, or for a faulty one."),
    _bad("te-misspelt-and-cl", "9112-6.3-request-chunked-last", b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
         issue=_DESYNC),
    _coding("chunked-not-last", "9112-6.3-request-chunked-last", b"Transfer-Encoding: chunked, identity\r\n",
            issue="https://github.com/actix/actix-web/pull/4241"),
    _coding("chunked-before-gzip", "9112-6.3-request-chunked-last", b"Transfer-Encoding: chunked, gzip\r\n"),
    _coding("gzip-alone", "9112-6.3-request-chunked-last", b"Transfer-Encoding: gzip\r\n"),
    _coding("identity", "9112-6.3-request-chunked-last", b"Transfer-Encoding: identity\r\n"),
    _coding("chunked-then-another-line", "9112-6.3-request-chunked-last",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", issue=_DESYNC),
    _coding("gzip-chunked", "9112-6.1-unknown-coding", b"Transfer-Encoding: gzip, chunked\r\n", "501 closed",
            _UNDECODED),
    _coding("unknown-coding-chunked", "9112-6.1-unknown-coding", b"Transfer-Encoding: nonsense, chunked\r\n", "501 closed",
            _UNDECODED),
    _coding("chunked-twice", "9112-6.1-chunked-once", b"Transfer-Encoding: chunked, chunked\r\n",
            acceptable=f"{STRICT}|{BOTH}|{ONCE}"),
    _coding("chunked-on-two-lines", "9112-6.1-chunked-once", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            acceptable=f"{STRICT}|{BOTH}|{ONCE}"),
    _coding("chunked-misspelt", "9112-6.3-request-chunked-last", b"Transfer-Encoding: xchunked\r\n", issue=_DESYNC),
    _coding("chunked-in-quotes", "9112-6.3-request-chunked-last", b'Transfer-Encoding: "chunked"\r\n'),
    _coding("chunked-with-a-space", "9112-6.3-request-chunked-last", b"Transfer-Encoding: chun ked\r\n"),
    _coding("chunked-with-a-parameter", "9112-7.1-parameters", b"Transfer-Encoding: chunked;a=b\r\n",
            acceptable=f"{STRICT}|{BOTH}|{ONCE}"),
    _coding("gzip-with-a-parameter", "9112-7.2-parameters", b"Transfer-Encoding: gzip;a=b, chunked\r\n", "(400|501) closed",
            _UNDECODED),
    _coding("vertical-tab-before-chunked", "9112-6.3-request-chunked-last", b"Transfer-Encoding: \x0bchunked\r\n",
            issue=_DESYNC),
    _coding("vertical-tab-behind-chunked", "9112-6.3-request-chunked-last", b"Transfer-Encoding: chunked\x0b\r\n",
            issue=_DESYNC),
    _coding("no-break-space-behind-chunked", "9112-6.3-request-chunked-last", b"Transfer-Encoding: chunked\xa0\r\n",
            also=("9110-5.5-exclude-whitespace", "9112-5.1-ows")),
    _coding("nul-behind-chunked", "9110-5.5-cr-lf-nul", b"Transfer-Encoding: chunked\x00\r\n"),
    _coding("space-before-the-colon", "9112-5.1-space-before-colon", b"Transfer-Encoding : chunked\r\n", issue=_DESYNC),
    _bad("space-before-the-colon-and-cl", "9112-5.1-space-before-colon",
         b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", issue=_DESYNC),
    _bad("te-behind-a-bare-lf", "9112-6.1-te-and-cl",
         b"Content-Length: 5\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", f"{STRICT}|{ONCE}",
         why="A server that takes the LF for a line end sees both fields, and has to close after its answer.",
         also=("9112-2.2-not-http",)),
    _bad("te-behind-a-bare-cr", "9112-2.2-bare-cr-received",
         b"Content-Length: 5\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", f"{STRICT}|{ONCE}|{BOTH}"),
)  # fmt: skip
_OLD = b"POST {post} HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n"
_IN_HTTP_1_0 = (
    Case("http1/framing/te-in-http-1-0", "9112-6.1-te-in-http-1-0",
         (_OLD + b"Transfer-Encoding: chunked\r\n" + _CHUNKS + LAST,),
         right=REFUSED, acceptable=r"[2-5]\d\d\+? (closed|reset)|closed|reset",
         issue="https://github.com/boostorg/beast/pull/3096"),
    Case("http1/framing/te-and-cl-in-http-1-0", "9112-6.1-te-in-http-1-0",
         (_OLD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LAST,),
         right=REFUSED, acceptable=r"[2-5]\d\d\+? (closed|reset)|closed|reset"),
    Case("http1/framing/length-in-http-1-0", "9110-8.6-abnf",
         (b"POST {echo} HTTP/1.0\r\nContent-Length: 5\r\n" + _HELLO,), right=r"2\d\d content=\[hello\] closed",
         acceptable=r"(400|411) .*closed", shows=("content",), methods=("POST",), needs=frozenset({"echo"})),
)  # fmt: skip

CASES = (*_LENGTHS, *_CODINGS, *_IN_HTTP_1_0)
