"""HTTP/1.1: methods, statuses and the fields of a response, as far as the wire shows them (RFC 9110)."""

from typing import Any

from minproto.prove.case import Case, Pause, Wait
from minproto.prove.cases.http1_parts import GET, HOST, LAST, POST
from minproto.prove.controls import OK

_CLOSE = b"Connection: close\r\n\r\n"
_NONE = b"GET /minproto-prove/none HTTP/1.1\r\n" + HOST
_DATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"


def _shown(name: str, entry: str, request: bytes, shows: str, right: str, acceptable: str = "", **more: Any) -> Case:
    """Return the case of one field of a response."""
    return Case(f"http1/semantics/{name}", entry, (request,), right=right, acceptable=acceptable, shows=(shows,), **more)


def _method(name: str, entry: str, line: bytes, right: str, acceptable: str = "", **more: Any) -> Case:
    """Return the case of a method. LAST follows the request."""
    more = {"methods": (line.split(b" ")[0].decode(),), **more}
    return Case(f"http1/semantics/{name}", entry, (line + b"\r\n" + HOST + b"\r\n" + LAST,), right=right,
                acceptable=acceptable, **more)  # fmt: skip


_HEADS = (
    _method("head", "9110-9.3.2-no-content-in-the-answer", b"HEAD {path} HTTP/1.1", rf"({OK}) \1 closed",
            f"{OK} closed|(405|501) {OK} closed", also=("9110-9.1-get-and-head", "9112-6.3-no-content")),
    _method("head-of-a-missing-path", "9110-9.3.2-no-content-in-the-answer", b"HEAD /minproto-prove/none HTTP/1.1",
            f"{OK} {OK} closed", rf"[2-5]\d\d closed|501 {OK} closed"),
    _method("head-of-a-large-path", "9110-9.3.2-no-content-in-the-answer", b"HEAD {large} HTTP/1.1",
            f"{OK} {OK} closed", rf"[2-5]\d\d closed|501 {OK} closed", needs=frozenset({"large"})),
    _method("head-and-content-length", "9110-8.6-head", b"HEAD {path} HTTP/1.1",
            rf"({OK} content-length=\S+) \1 closed|{OK} content-length=- .*|(405|501) .*",
            rf"{OK} content-length=\S+ closed", shows=("content-length",)),
    _method("head-has-the-length-of-get", "9110-9.3.2-fields-of-get", b"HEAD {path} HTTP/1.1",
            rf"({OK} content-length=\S+) \1 closed|(405|501) .*", rf"{OK} content-length=- ({OK} content-length=\S+ )?closed",
            shows=("content-length",)),
    _method("head-and-content-type", "9110-9.3.2-fields-of-get", b"HEAD {path} HTTP/1.1",
            rf"({OK} content-type=.+) \1 closed", r"[2-5]\d\d content-type=.* closed", shows=("content-type",)),
    Case("http1/semantics/refusal-of-a-head", "9110-9.3.2-no-content-in-the-answer",
         (b"HEAD {path} HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n",), right=r"400 closed", methods=("HEAD",),
         acceptable=r"(400 malformed )?closed|reset|[2-5]\d\d (open|closed)|400.*malformed.*",
         why="A server that refuses the head may not have looked at its method: then it may send content."),
)  # fmt: skip

_METHODS = (
    _method("unknown-method", "9110-9.1-unknown-501", b"BREW {path} HTTP/1.1", f"501 ({OK} )?closed",
            rf"[2-5]\d\d ({OK} )?closed|closed|reset"),
    _method("lower-case-method", "9110-9.1-case-sensitive", b"get {path} HTTP/1.1", f"(501|400|405) ({OK} )?closed",
            rf"[345]\d\d ({OK} )?closed|closed|reset|2\d\d ({OK} )?closed"),
    _method("long-method", "9112-3-long-method", b"VERSION-CONTROL-OF-COFFEE-POTS {path} HTTP/1.1", f"501 ({OK} )?closed",
            rf"[2-5]\d\d ({OK} )?closed|closed|reset"),
    _shown("allow-in-a-405", "9110-10.2.1-allow-in-405", b"DELETE {path} HTTP/1.1\r\n" + HOST + _CLOSE, "allow",
           r"405 allow=[!#$%&'*+.^_`|~\w, -]*\w.* closed|(?!405)[2-5]\d\d allow=.* closed", r"405 allow= closed",
           methods=("DELETE",)),
    _shown("allow-in-a-405-to-post", "9110-10.2.1-allow-in-405",
           b"PUT {path} HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n" + _CLOSE, "allow",
           r"405 allow=[!#$%&'*+.^_`|~\w, -]*\w.* closed|(?!405)[2-5]\d\d allow=.* closed", r"405 allow= closed",
           methods=("PUT",)),
    _shown("allow-in-options", "9110-9.3.7-allow", b"OPTIONS {path} HTTP/1.1\r\n" + HOST + _CLOSE, "allow",
           r"2\d\d allow=.*[A-Z].* closed|[345]\d\d allow=.* closed", r"2\d\d allow=.* closed", methods=("OPTIONS",)),
    _shown("allow-in-options-of-the-server", "9110-9.3.7-allow", b"OPTIONS * HTTP/1.1\r\n" + HOST + _CLOSE, "allow",
           r"2\d\d allow=.*[A-Z].* closed|[345]\d\d allow=.* closed", r"2\d\d allow=.* closed", methods=("OPTIONS",)),
    _shown("204-of-the-server-without-a-length", "9110-8.6-1xx-204", b"OPTIONS * HTTP/1.1\r\n" + HOST + _CLOSE,
           "content-length", r"204 content-length=- closed|(?!204)[2-5]\d\d content-length=\S+ closed",
           methods=("OPTIONS",), also=("9110-15.3.5-no-content",)),
    _shown("204-without-a-length", "9110-8.6-1xx-204", b"OPTIONS {path} HTTP/1.1\r\n" + HOST + _CLOSE, "content-length",
           r"204 content-length=- closed|(?!204)[2-5]\d\d content-length=\S+ closed", methods=("OPTIONS",),
           also=("9110-15.3.5-no-content",)),
    _shown("204-without-te", "9112-6.1-te-without-content", b"OPTIONS {path} HTTP/1.1\r\n" + HOST + _CLOSE,
           "transfer-encoding", r"204 transfer-encoding=- closed|(?!204)[2-5]\d\d transfer-encoding=.* closed",
           methods=("OPTIONS",)),
    _method("connect", "9110-9.3.6-tunnel-begins", b"CONNECT {host} HTTP/1.1", r"[45]\d\d ([2-5]\d\d )?closed|[45]\d\d open",
            r"closed|reset|2\d\d.*"),
    _shown("tunnel-without-a-length", "9110-9.3.6-no-framing-sent", b"CONNECT {host} HTTP/1.1\r\n" + HOST + b"\r\n",
           "content-length", r"2\d\d content-length=- .*|[345]\d\d content-length=.*", "closed|reset", methods=("CONNECT",),
           also=("9110-8.6-connect",)),
    _shown("tunnel-without-te", "9112-6.1-te-in-a-tunnel", b"CONNECT {host} HTTP/1.1\r\n" + HOST + b"\r\n",
           "transfer-encoding", r"2\d\d transfer-encoding=- .*|[345]\d\d transfer-encoding=.*", "closed|reset",
           methods=("CONNECT",)),
    _method("connect-without-a-port", "9110-9.3.6-invalid-port", b"CONNECT server.example HTTP/1.1", r"400 closed",
            r"[45]\d\d ([2-5]\d\d )?(closed|open)|closed|reset"),
    _method("connect-with-an-empty-port", "9110-9.3.6-invalid-port", b"CONNECT server.example: HTTP/1.1", r"400 closed",
            r"[45]\d\d ([2-5]\d\d )?(closed|open)|closed|reset"),
    _method("connect-with-a-bad-port", "9110-9.3.6-invalid-port", b"CONNECT server.example:http HTTP/1.1", r"400 closed",
            r"[45]\d\d ([2-5]\d\d )?(closed|open)|closed|reset"),
    _method("connect-with-a-port-too-large", "9110-9.3.6-invalid-port", b"CONNECT server.example:65536 HTTP/1.1",
            r"400 closed", r"[45]\d\d ([2-5]\d\d )?(closed|open)|closed|reset"),
    _method("connect-with-port-0", "9110-9.3.6-invalid-port", b"CONNECT server.example:0 HTTP/1.1", r"400 closed",
            r"[45]\d\d ([2-5]\d\d )?(closed|open)|closed|reset"),
    _method("connect-in-absolute-form", "9112-3.2.3-connect", b"CONNECT http://{host}/ HTTP/1.1", r"400 closed",
            r"[45]\d\d ([2-5]\d\d )?(closed|open)|closed|reset"),
    Case("http1/semantics/content-of-connect", "9110-9.3.6-no-content-in-connect",
         (b"CONNECT {host} HTTP/1.1\r\n" + HOST + b"Content-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",),
         right=r"[45]\d\d (closed|open)", acceptable=r"closed|reset|2\d\d.*|[45]\d\d [2-5]\d\d (open|closed)",
         methods=("CONNECT",),
         why="A CONNECT has no content, but this one declares some: two programs may differ about its end."),
)  # fmt: skip

_REFUSAL = b"GET {path} HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n"
_FIELDS = (
    _shown("date", "9110-6.6.1-date", LAST, "date", f"{OK} date={_DATE} closed",
           also=("9110-5.6.7-imf-fixdate", "9110-5.6.7-no-more-whitespace")),
    _shown("date-in-a-404", "9110-6.6.1-date", _NONE + _CLOSE, "date", f"{OK} date={_DATE} closed|5.*"),
    _shown("date-in-a-refusal", "9110-6.6.1-date", _REFUSAL, "date", rf"4\d\d date={_DATE} (open|closed)|5.*",
           "closed|reset", why="A refusal that the app never sees is a response of the server all the same."),
    Case("http1/semantics/date-goes-on", "9110-6.6.1-best-approximation",
         (GET + b"\r\n", Wait("[2-4].. "), Pause(1.1), LAST), shows=("date",),
         right=rf"{OK} date=(.+) {OK} date=(?!\1 closed).+ closed", acceptable=f"{OK} date=.* closed"),
    _shown("content-type", "9110-8.3-content-type", LAST, "content-type", rf"{OK} content-type=[\w.+-]+/[\w.+-]+.* closed",
           f"{OK} content-type=- closed"),
    _shown("refusal-with-a-content-type", "9110-8.3-content-type", _REFUSAL, "content-type",
           r"4\d\d content-type=[\w.+-]+/[\w.+-]+.* closed", r"[2-5]\d\d content-type=.* (open|closed)|closed|reset"),
    _shown("content-length", "9110-8.6-known-length", LAST, "content-length", rf"{OK} content-length=\d+ closed",
           f"{OK} content-length=- closed"),
    _shown("404-explained", "9110-15.5-explain", _NONE + _CLOSE, "length",
           r"4\d\d length=[1-9]\d* closed|[235]\d\d length=\d+ closed",
           r"4\d\d length=0 closed"),
    _shown("refusal-explained", "9110-15.5-explain", _REFUSAL, "length", r"4\d\d length=[1-9]\d* closed",
           r"[2-5]\d\d length=\d+ (open|closed)|closed|reset"),
    _shown("501-explained", "9110-15.6-explain", b"BREW {path} HTTP/1.1\r\n" + HOST + _CLOSE, "length",
           r"5\d\d length=[1-9]\d* closed|[234]\d\d length=\d+ (open|closed)", r"5\d\d length=0 closed|closed|reset",
           methods=("BREW",)),
    _shown("status", "9110-15-valid-range", LAST, "line", rf"{OK} line=\[HTTP/1\.[01] [1-5]\d\d .*\] closed"),
    _shown("one-framing", "9112-6.2-cl-beside-te", LAST, "transfer-encoding",
           f"{OK} transfer-encoding=(-|(?i:chunked)) closed",
           f"{OK} transfer-encoding=.*(?i:chunked) closed", also=("9112-6.1-response-chunked-last",)),
    Case("http1/semantics/not-modified", "9110-15.4.5-no-content", (GET + b"If-None-Match: *\r\n\r\n" + LAST,),
         right=f"{OK} {OK} closed", acceptable=f"{OK} closed", also=("9112-6.3-no-content",)),
    Case("http1/semantics/not-modified-and-length", "9110-8.6-304", (GET + b"If-None-Match: *\r\n\r\n" + LAST,),
         right=rf"304 content-length=- .*|304 (content-length=\d+) 200 \1 closed|(?!304){OK} .*",
         acceptable=r"304 .* closed", shows=("content-length",)),
    Case("http1/semantics/modified-since-three-formats", "9110-5.6.7-three-formats",
         ((GET + b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n")
          + GET + b"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n\r\n"
          + GET + b"If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n" + _CLOSE,),
         right=rf"({OK}) \1 \1 closed", acceptable=f"{OK}( {OK})* closed"),
    Case("http1/semantics/not-modified-in-a-far-year", "9110-5.6.7-two-digit-year",
         (GET + b"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n\r\n" + LAST,), right=rf"({OK}) \1 closed",
         acceptable=f"{OK}( {OK})? closed"),
    _shown("205-without-content", "9110-15.3.6-no-content", POST + b"Content-Length: 0\r\n" + _CLOSE, "length",
           r"205 length=0 closed|(?!205)[2-5]\d\d length=\d+ closed", methods=("POST",)),
)  # fmt: skip

CASES = (*_HEADS, *_METHODS, *_FIELDS)
