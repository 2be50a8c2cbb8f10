r"""HTTP/1.1: the request-target, the Host field and the version (RFC 9112 §2.3, §3.2; RFC 9110 §4.2, §6.2)."""

from typing import Any

from minproto.prove.case import Case, Step
from minproto.prove.cases.http1_parts import BOTH, EITHER, GET, HEAD_ONLY, HOST, LAST, ONCE, REFUSED, STRICT, TWICE
from minproto.prove.controls import OK

_END = b"\r\n"


def _good(name: str, entry: str, *steps: Step, acceptable: str = ONCE, **more: Any) -> Case:
    """Return the case of a request that a server has to answer as it answers LAST."""
    return Case(f"http1/head/{name}", entry, (*steps, LAST), right=TWICE, acceptable=acceptable, **more)


def _bad_host(name: str, value: bytes, acceptable: str = HEAD_ONLY, **more: Any) -> Case:
    """Return the case of a Host with an invalid value."""
    request = b"GET {path} HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
    entry = more.pop("entry", "9112-3.2-host-invalid")
    return Case(f"http1/head/{name}", entry, (request + LAST,), right=REFUSED, acceptable=acceptable, **more)


def _target(name: str, entry: str, line: bytes, right: str, acceptable: str, **more: Any) -> Case:
    """Return the case of a request line with an unusual target or version."""
    request = line + b"\r\n" + HOST + _END
    return Case(f"http1/head/{name}", entry, (request + LAST,), right=right, acceptable=acceptable, **more)


_HOSTS = (
    Case("http1/head/host-missing", "9112-3.2-host-missing", (b"GET {path} HTTP/1.1\r\n\r\n" + LAST,),
         right=REFUSED, acceptable=HEAD_ONLY),
    Case("http1/head/host-missing-with-absolute-form", "9112-3.2-host-missing",
         (b"GET {scheme}://{host}{path} HTTP/1.1\r\n\r\n" + LAST,), right=REFUSED, acceptable=HEAD_ONLY),
    Case("http1/head/host-twice", "9112-3.2-host-twice", (GET + b"Host: other.example\r\n\r\n" + LAST,),
         right=REFUSED, acceptable=HEAD_ONLY, also=("9110-5.3-repeated-lines",),
         why="A proxy routes by the first host and a server by the second: an attacker reaches a host that is not for him."),
    Case("http1/head/host-twice-the-same", "9112-3.2-host-twice", (GET + HOST + _END + LAST,),
         right=REFUSED, acceptable=HEAD_ONLY),
    Case("http1/head/host-twice-in-http-1-0", "9112-3.2-host-twice", (b"GET {path} HTTP/1.0\r\n" + HOST + HOST + _END + LAST,),
         right=REFUSED, acceptable=HEAD_ONLY),
    _bad_host("host-with-a-space", b"a b"),
    _bad_host("host-with-a-slash", b"{host}/a"),
    _bad_host("host-with-userinfo", b"user@{host}",
              also=("9110-4.2.4-receive-userinfo", "9110-4.2.4-send-userinfo")),
    _bad_host("host-with-a-nul", b"{host}\x00", also=("9110-5.5-cr-lf-nul",)),
    _bad_host("host-with-an-open-bracket", b"[::1"),
    _bad_host("host-that-is-no-ipv6-address", b"[1]"),
    _bad_host("host-with-a-bad-escape", b"%zz"),
    _bad_host("host-with-half-an-escape", b"a%4"),
    _bad_host("host-with-a-port-in-letters", b"a:http"),
    _bad_host("host-with-a-port-too-large", b"a:65536", EITHER, why="The grammar permits any digits, TCP does not."),
    _bad_host("host-with-another-byte", b"caf\xe9"),
    _bad_host("host-list", b"{host}, {host}"),
    Case("http1/head/host-empty", "9110-4.2.1-receive-empty-host", (b"GET {path} HTTP/1.1\r\nHost:\r\n\r\n" + LAST,),
         right=f"{REFUSED}|{BOTH}", acceptable=f"{HEAD_ONLY}|{ONCE}",
         why="Host is empty if the target has no authority, so the field itself is valid; an http URI has a host."),
    _good("host-with-an-ipv6-address", "9112-3.2-host-invalid", b"GET {path} HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
          acceptable=EITHER),
    _good("host-with-an-escape", "9112-3.2-host-invalid", b"GET {path} HTTP/1.1\r\nHost: %7A.example:\r\n\r\n",
          acceptable=EITHER),
    _good("host-with-the-usual-port", "9110-4.2.1-default-ports", b"GET {path} HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
          acceptable=EITHER),
)  # fmt: skip

_TARGETS = (
    _good("absolute-form", "9112-3.2.2-absolute-form", b"GET {scheme}://{host}{path} HTTP/1.1\r\n" + HOST + _END,
          acceptable=f"(?!40[04]|5){OK} closed"),
    _good("absolute-form-in-capitals", "9110-4.2.3-hosts-have-no-case",
          b"GET HTTP://{host}{path} HTTP/1.1\r\n" + HOST + _END, acceptable=f"{ONCE}|4.. {OK} closed",
          needs=frozenset({"clear"})),
    _good("absolute-form-with-another-host", "9112-3.2.2-target-over-host",
          b"GET {scheme}://{host}{path} HTTP/1.1\r\nHost: other.example\r\n\r\n", acceptable=f"{ONCE}|4.. {OK} closed"),
    _target("absolute-form-without-a-host", "9110-4.2.1-receive-empty-host", b"GET http:///a HTTP/1.1", REFUSED, HEAD_ONLY,
            also=("9110-4.2.1-send-empty-host",)),
    _target("absolute-form-of-a-port", "9110-4.2.1-receive-empty-host", b"GET http://:80/a HTTP/1.1", REFUSED, HEAD_ONLY),
    _target("absolute-form-with-userinfo", "9110-4.2.4-receive-userinfo", b"GET http://user:pw@{host}{path} HTTP/1.1",
            REFUSED, EITHER),
    _target("absolute-form-of-another-scheme", "9110-7.4-scheme", b"GET ftp://{host}{path} HTTP/1.1",
            rf"4\d\d closed|4\d\d {OK} closed", EITHER),
    _target("https-in-clear-text", "9110-7.4-scheme", b"GET https://{host}{path} HTTP/1.1",
            rf"4\d\d closed|4\d\d {OK} closed", EITHER, needs=frozenset({"clear"}),
            why="An https resource is only for connections that are secured, unless the client is a trusted gateway."),
    _target("asterisk-for-get", "9110-7.1-special-forms", b"GET * HTTP/1.1", REFUSED, EITHER),
    _target("asterisk-for-options", "9112-3.2.4-asterisk", b"OPTIONS * HTTP/1.1", rf"2\d\d {OK} closed",
            f"{HEAD_ONLY}|{BOTH}|{ONCE}", methods=("OPTIONS",)),
    _target("asterisk-and-more", "9110-7.1-special-forms", b"OPTIONS *?all HTTP/1.1", REFUSED, EITHER, methods=("OPTIONS",)),
    _target("authority-for-get", "9110-7.1-special-forms", b"GET {host} HTTP/1.1", REFUSED, EITHER),
    _good("query", "9112-3.2-invalid-line", b"GET {path}?a=%20&b=~!$'()*+,;:@/? HTTP/1.1\r\n" + HOST + _END,
          acceptable=f"{ONCE}|{BOTH}"),
    _target("two-slashes", "9112-3.2-invalid-line", b"GET //evil.example{path} HTTP/1.1", BOTH, HEAD_ONLY + "|" + ONCE,
            why="The target begins with a slash, so it is a path: no host follows the two slashes."),
)  # fmt: skip

_V = rf"{OK} line=\[HTTP/1\.1 \d\d\d .*\] closed"
_ANY = f"{OK} line=.* closed"
_VERSIONS = (
    Case("http1/head/http-1-0", "9110-6.2-server-highest", (b"GET {path} HTTP/1.0\r\n" + HOST + _END,), right=_V,
         acceptable=_ANY, shows=("line",), also=("9112-9.3-rules", "9110-6.2-server-nonconformant", "9112-2.3-downgrade")),
    Case("http1/head/http-1-0-without-host", "9112-3.2-host-missing", (b"GET {path} HTTP/1.0\r\n\r\n",),
         right=f"{OK} closed", acceptable=STRICT),
    Case("http1/head/response-of-http-1-1", "9112-2.3-downgrade", (LAST,), right=_V, acceptable=_ANY, shows=("line",),
         also=("9112-4-space", "9110-2.2-grammar")),
    Case("http1/head/refusal-of-http-1-1", "9112-4-space", (b"GET  / HTTP/1.1\r\n\r\n",), shows=("line",),
         right=r"[2-5]\d\d line=\[HTTP/1\.1 \d\d\d .*\] closed",
         acceptable=r"([2-5]\d\d line=\[HTTP/1\.0 \d\d\d .*\] )?closed|[2-5].*open"),
    _good("http-1-2", "9110-6.2-higher-minor", b"GET {path} HTTP/1.2\r\n" + HOST + _END, acceptable=EITHER),
    _good("http-1-9", "9110-6.2-higher-minor", b"GET {path} HTTP/1.9\r\n" + HOST + _END, acceptable=EITHER),
    _target("http-2-0", "9110-6.2-server-nonconformant", b"GET {path} HTTP/2.0", "(505|400) closed", f"{EITHER}|malformed.*"),
    _target("http-3-0", "9110-6.2-server-nonconformant", b"GET {path} HTTP/3.0", "(505|400) closed", EITHER),
    _target("http-0-9", "9110-6.2-server-nonconformant", b"GET {path} HTTP/0.9", "(505|400) closed", f"{EITHER}|malformed.*"),
    Case("http1/head/505-explained", "9110-15.6.6-explain",
         (b"GET {path} HTTP/3.0\r\n" + HOST + b"Connection: close\r\n\r\n",), shows=("length",),
         right=r"505 length=[1-9]\d* closed|(?!505)[2-5]\d\d length=\d+ (closed|open)",
         acceptable=r"505 length=0 closed|closed|reset|505 .* open"),
)  # fmt: skip

CASES = (*_HOSTS, *_TARGETS, *_VERSIONS)
