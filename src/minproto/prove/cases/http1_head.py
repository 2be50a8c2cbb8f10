r"""HTTP/1.1: the lines of a request's head, and the bytes that no head may have (RFC 9112 §2.2, §3, §5; RFC 9110 §5)."""

from typing import Any

from minproto.prove.case import Case, Pause, Shut, Step, Trickle
from minproto.prove.cases.http1_parts import (
    BOTH,
    EITHER,
    GET,
    HEAD_ONLY,
    HOST,
    LAST,
    ONCE,
    POST,
    REFUSED,
    STRICT,
    TWICE,
)
from minproto.prove.controls import OK

_SWALLOW = b"Content-Length: 300\r\n"
"""A field that makes ``LAST`` the beginning of content, if the server takes the field for one."""
_HIDDEN = rf"[45]\d\d (closed|reset)|closed|reset|[45]\d\d open|[45]\d\d {OK} closed|" + BOTH
"""The server has refused the head, or has not taken a part of a value for a field: it answers both requests."""


def _good(name: str, entry: str, *steps: Step, acceptable: str = f"{ONCE}|{BOTH}", **more: Any) -> Case:
    """Return the case of a request that a server has to answer as it answers LAST."""
    return Case(f"http1/head/{name}", entry, (*steps, LAST), right=TWICE, acceptable=acceptable, **more)


def _bad(name: str, entry: str, request: bytes, acceptable: str = EITHER, **more: Any) -> Case:
    """Return the case of a request that a server refuses."""
    return Case(f"http1/head/{name}", entry, (request + LAST,), right=REFUSED, acceptable=acceptable, **more)


def _bad_line(name: str, line: bytes, acceptable: str = EITHER, entry: str = "9112-3.2-invalid-line", **more: Any) -> Case:
    """Return the case of a request line that a server refuses."""
    return _bad(name, entry, line + b"\r\n" + HOST + b"\r\n", acceptable, **more)


def _bad_field(name: str, entry: str, line: bytes, acceptable: str = EITHER, **more: Any) -> Case:
    """Return the case of a field line that a server refuses."""
    return _bad(name, entry, GET + line + b"\r\n\r\n", acceptable, **more)


_RIGHT_HEADS = (
    _good("get", "9110-9.1-get-and-head", GET + b"\r\n", acceptable=ONCE),
    _good("byte-by-byte", "9112-2.2-octets", Trickle(GET + b"Accept: text/html\r\n\r\n"), acceptable=ONCE,
          why="The network may cut a request anywhere: also between CR and LF, and inside a name."),
    _good("seven-bytes-each", "9112-2.2-octets", Trickle(GET + b"Accept: text/html\r\n\r\n", size=7), acceptable=ONCE),
    _good("cut-between-the-last-cr-and-lf", "9112-2.2-octets", GET + b"\r", Pause(0.05), b"\n", acceptable=ONCE),
    _good("cut-behind-the-request-line", "9110-5.3-whole-section", b"GET {path} HTTP/1.1\r\n", Pause(0.05), HOST + b"\r\n",
          acceptable=ONCE),
    Case("http1/head/half-a-head", "9110-5.3-whole-section", (GET + b"X: a\r\n", Pause(0.3)),
         right="silent", acceptable=r"(4\d\d )?closed"),
    Case("http1/head/half-a-head-and-the-end", "9110-5.3-whole-section", (GET + b"X: a\r\n", Shut()), also=("9112-8-400",),
         right="(400 )?closed", acceptable=r"4\d\d closed|reset", needs=frozenset({"clear"})),
    _good("empty-line-first", "9112-2.2-empty-line", b"\r\n" + GET + b"\r\n", acceptable=STRICT + "|" + ONCE),
    _good("empty-line-between", "9112-2.2-empty-line", GET + b"\r\n\r\n", acceptable=ONCE + f"|{OK} 400 closed",
          why="Old clients send an empty line behind a POST that its Content-Length does not count."),
    Case("http1/head/empty-line-before-each", "9112-2.2-empty-line", ((b"\r\n" + GET + b"\r\n") * 6 + LAST,),
         right=rf"({OK})( \1){{6}} closed", acceptable=rf"{OK}( {OK})*( 400)? closed|{STRICT}"),
    _good("empty-line-byte-by-byte", "9112-2.2-empty-line", Trickle(b"\r\n" + GET + b"\r\n"), acceptable=STRICT + "|" + ONCE),
    _good("field-names-in-capitals", "9110-5.1-names-have-no-case", b"GET {path} HTTP/1.1\r\nHOST: {host}\r\n\r\n"),
    _good("field-names-in-lower-case", "9110-5.1-names-have-no-case", b"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    _good("unknown-fields", "9110-5.1-ignore-unrecognized",
          GET + b"Upgrade-Insecure-Requests: 1\r\nX-Nobody-Knows: %;,\"\r\nX: \r\nY:\r\n\r\n"),
    _good("every-character-of-a-name", "9110-5.1-ignore-unrecognized", GET + b"!#$%&'*+-.^_`|~09azAZ: a\r\n\r\n",
          acceptable=EITHER),
    _good("value-with-all-ascii", "9110-5.1-ignore-unrecognized", GET + b"X: " + bytes(range(0x20, 0x7f)) + b"\t.\r\n\r\n"),
    _good("value-with-other-bytes", "9110-5.5-opaque", GET + b"X: caf\xe9\x85 \xc3\xa9 \xff\x80\r\n\r\n", acceptable=EITHER,
          also=("9112-2.2-octets",)),
    Case("http1/head/type-with-other-bytes", "9110-5.5-opaque",
         (b"POST {echo} HTTP/1.1\r\n" + HOST + b"Content-Type: text/x;a=\xe9\xff\r\nContent-Length: 5\r\n"
          b"Connection: close\r\n\r\nhello",), right=r"2\d\d content=\[hello\] closed", methods=("POST",),
         acceptable=r"4\d\d content=(?s:.*) closed", shows=("content",), needs=frozenset({"echo"}),
         also=("9112-2.2-octets",), why="An app that gets the bytes as other text may fail when it sends them back."),
    _good("spaces-around-a-value", "9110-5.5-exclude-whitespace", b"GET {path} HTTP/1.1\r\nHost:   {host}  \r\n\r\n",
          also=("9112-5.1-ows",)),
    _good("tabs-around-a-value", "9110-5.5-exclude-whitespace", b"GET {path} HTTP/1.1\r\nHost:\t{host}\t\r\n\r\n",
          also=("9112-5.1-ows",), acceptable=f"{HEAD_ONLY}|{ONCE}"),
    _good("no-space-behind-the-colon", "9112-5.1-ows", b"GET {path} HTTP/1.1\r\nHost:{host}\r\n\r\n"),
    _good("list-on-two-lines", "9110-5.3-combine", GET + b"Accept: text/html\r\nAccept: */*\r\n\r\n",
          acceptable=EITHER),
    _good("empty-elements", "9110-5.6.1.2-ignore-empty", GET + b"Accept: , */*,, ,\r\nConnection: ,\r\n\r\n"),
    _good("host-is-not-first", "9110-5.3-whole-section", b"GET {path} HTTP/1.1\r\nAccept: */*\r\n" + HOST + b"\r\n"),
)  # fmt: skip

_LINES = (
    _bad("bare-lf", "9112-2.2-not-http", b"GET {path} HTTP/1.1\nHost: {host}\n\n",
         why="A recipient may take a bare LF for a line end. If only one of two programs does, they see different lines."),
    _bad("bare-lf-in-the-fields", "9112-2.2-not-http", GET + b"X: a\nY: b\r\n\r\n", also=("9110-5.5-cr-lf-nul",)),
    _bad("bare-lf-at-the-end", "9112-2.2-not-http", GET + b"X: a\r\n\n"),
    _bad("cr-cr-lf", "9112-2.2-bare-cr-received", GET + b"X: a\r\r\n\r\n"),
    _bad("bare-cr-in-a-value", "9112-2.2-bare-cr-received", POST + b"X: a\r" + _SWALLOW + b"\r\n", _HIDDEN,
         also=("9110-5.5-cr-lf-nul", "9112-2.2-bare-cr-sent"), issue="https://github.com/nodejs/llhttp/pull/279",
         why="If a CR alone ends a line for one program, the attacker can hide a field from the other."),
    _bad("bare-cr-ends-the-head", "9112-2.2-bare-cr-received", GET + b"X: a\r\r" + LAST, f"{STRICT}|{ONCE}",
         why="The bytes behind the two CR are the rest of a value, and no request."),
    _bad("bare-cr-in-the-request-line", "9112-2.2-bare-cr-received", b"GET {path}\rHTTP/1.1\r\n" + HOST + b"\r\n"),
    _bad("bare-cr-in-a-name", "9112-2.2-bare-cr-received", GET + b"X\rY: a\r\n\r\n"),
    _bad("space-before-the-first-field", "9112-2.2-space-first-received",
         b"POST {post} HTTP/1.1\r\n " + _SWALLOW + HOST + b"\r\n", _HIDDEN, also=("9112-2.2-space-first-sent",)),
    _bad("tab-before-the-first-field", "9112-2.2-space-first-received",
         b"POST {post} HTTP/1.1\r\n\t" + _SWALLOW + HOST + b"\r\n", _HIDDEN),
    _bad("tls-on-a-port-without-tls", "9112-2.2-not-http", bytes.fromhex("160301020001000100fc0303"),
         STRICT + r"|.*malformed.*",
         also=("9110-2.3-defensive",)),
    _bad("not-http", "9112-2.2-not-http", b"\x00\x01\x02\x03\r\n\r\n", STRICT + "|[45].. [45].. closed"),
    _bad("words", "9112-2.2-not-http", b"HELO mail.example.com\r\n\r\n",
         STRICT + r"|[45]\d\d [45]\d\d closed|malformed closed"),
)  # fmt: skip

_REQUEST_LINES = (
    _bad_line("two-spaces", b"GET  {path} HTTP/1.1", entry="9112-3.2-autocorrect"),
    _bad_line("tab-instead-of-a-space", b"GET\t{path} HTTP/1.1"),
    _bad_line("two-spaces-before-the-version", b"GET {path}  HTTP/1.1"),
    _bad_line("space-behind-the-version", b"GET {path} HTTP/1.1 "),
    _bad_line("space-before-the-method", b" GET {path} HTTP/1.1"),
    _bad_line("space-in-the-target", b"GET {path}?a b HTTP/1.1", entry="9112-3.2-autocorrect",
              why="A security filter may read the target up to the space only, and so may not see the rest."),
    _bad_line("no-target", b"GET HTTP/1.1"),
    _bad_line("no-version", b"GET {path}", STRICT + r"|[45]\d\d [45]\d\d closed|malformed closed|" + ONCE),
    _bad_line("method-alone", b"GET", STRICT + r"|[45]\d\d [45]\d\d closed"),
    _bad_line("bracket-in-the-method", b"G(T {path} HTTP/1.1"),
    _bad_line("nul-in-the-method", b"GE\x00T {path} HTTP/1.1"),
    _bad_line("colon-in-the-method", b"GET: {path} HTTP/1.1"),
    _bad_line("nul-in-the-target", b"GET {path}?\x00 HTTP/1.1"),
    _bad_line("control-in-the-target", b"GET {path}?\x01 HTTP/1.1"),
    _bad_line("delete-in-the-target", b"GET {path}?\x7f HTTP/1.1"),
    _bad_line("tab-in-the-target", b"GET {path}?\t HTTP/1.1"),
    _bad_line("other-bytes-in-the-target", b"GET {path}?caf\xc3\xa9 HTTP/1.1"),
    _bad_line("fragment", b"GET {path}#here HTTP/1.1"),
    _bad_line("target-without-a-slash", b"GET index.html HTTP/1.1"),
    _bad_line("query-alone", b"GET ?q HTTP/1.1"),
    _bad_line("lower-case-http", b"GET {path} http/1.1"),
    _bad_line("version-with-one-digit", b"GET {path} HTTP/1"),
    _bad_line("version-with-three-digits", b"GET {path} HTTP/1.10"),
    _bad_line("version-with-a-letter", b"GET {path} HTTP/1.x"),
    _bad_line("version-without-a-dot", b"GET {path} HTTP/11"),
    _bad_line("space-in-the-version", b"GET {path} HTTP/ 1.1"),
    _bad_line("another-protocol", b"GET {path} RTSP/1.0"),
    _bad_line("words-behind-the-version", b"GET {path} HTTP/1.1 HTTP/1.1"),
)  # fmt: skip

_FIELD_LINES = (
    _bad_field("space-before-the-colon", "9112-5.1-space-before-colon", b"X : a", HEAD_ONLY,
               why="A proxy that ignores the field and a server that obeys it see different requests."),
    _bad_field("tab-before-the-colon", "9112-5.1-space-before-colon", b"X\t: a", HEAD_ONLY),
    _bad_field("space-before-the-colon-of-host", "9112-5.1-space-before-colon", b"Host : {host}", HEAD_ONLY),
    _bad_field("no-colon", "9112-2.2-not-http", b"X"),
    _bad_field("no-name", "9112-2.2-not-http", b": a"),
    _bad_field("space-in-a-name", "9112-2.2-not-http", b"X Y: a"),
    _bad_field("bracket-in-a-name", "9112-2.2-not-http", b"X(: a"),
    _bad_field("nul-in-a-name", "9112-2.2-not-http", b"X\x00Y: a"),
    _bad_field("other-bytes-in-a-name", "9112-2.2-not-http", b"caf\xe9: a"),
    _bad_field("nul-in-a-value", "9110-5.5-cr-lf-nul", b"X: a\x00b"),
    _bad_field("control-in-a-value", "9110-5.5-other-controls", b"X: a\x01b"),
    _bad_field("escape-in-a-value", "9110-5.5-other-controls", b"X: a\x1b[2Jb",
               why="The terminal of somebody who reads the log obeys the escape sequence."),
    _bad_field("delete-in-a-value", "9110-5.5-other-controls", b"X: a\x7fb"),
    _bad_field("vertical-tab-around-a-value", "9110-5.5-other-controls", b"X: \x0ba\x0c"),
    _bad("folded-value", "9112-5.2-fold-in-a-request", POST + b"X: a\r\n " + _SWALLOW + b"\r\n", _HIDDEN,
         also=("9112-5.2-fold-sent",), why="A program that takes the second line for a field sees another length."),
    _bad("folded-with-a-tab", "9112-5.2-fold-in-a-request", POST + b"X: a\r\n\t" + _SWALLOW + b"\r\n", _HIDDEN),
    _bad("folded-host", "9112-5.2-fold-in-a-request", b"GET {path} HTTP/1.1\r\nHost:\r\n {host}\r\n\r\n"),
    _bad("folded-behind-the-name", "9112-5.2-fold-in-a-request", POST + b"Content-Length:\r\n 300\r\n\r\n",
         _HIDDEN + f"|{OK} open|silent", why="A fold may be refused, or may be read as a space: then the length is 300."),
)  # fmt: skip

CASES = (*_RIGHT_HEADS, *_LINES, *_REQUEST_LINES, *_FIELD_LINES)
