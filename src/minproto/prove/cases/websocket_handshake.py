"""WebSocket: the opening handshake of HTTP/1.1, as a server sees it (RFC 6455 §4.2)."""

from minproto.prove.case import Case, Step, Trickle, Wait
from minproto.prove.transcripts.websocket import KEY

_START = b"GET {ws} HTTP/1.1\r\n"
_HOST = b"Host: {host}\r\n"
_UPGRADE = b"Upgrade: websocket\r\n"
_CONNECTION = b"Connection: Upgrade\r\n"
_KEY = b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n"
_VERSION = b"Sec-WebSocket-Version: 13\r\n"
_ASKS = _UPGRADE + _CONNECTION
_WHOLE = _START + _HOST + _ASKS + _KEY + _VERSION

_OPEN = "101 open"
_REFUSED_OTHERWISE = r"(4\d\d|50[1-9]) (open|closed|reset)|closed|reset"
"""§4.2.1: an HTTP response with an *appropriate* error code, such as 400. A 500 says that the server is at fault."""
_NOT_SWITCHED = r"([234]\d\d|50[1-9])\+? (open|closed|reset)|closed|reset"
"""A request that does not ask for an upgrade is a GET, which a server may answer as it likes."""
_ACCEPT = "sec-websocket-accept"
_PROTOCOL = "sec-websocket-protocol"
_NAMED = ("sec-websocket-version",)


def _case(name: str, entry: str, *steps: Step, right: str = _OPEN, **more: object) -> Case:
    """Return a case whose steps are a handshake."""
    return Case(f"websocket/handshake/{name}", entry, steps, right=right, speaks="http1", **more)  # type: ignore[arg-type]


def _refused(name: str, entry: str, *steps: Step, leeway: str = "", status: str = "400", **more: object) -> Case:
    """Return a case whose handshake is refused. ``status``: the pattern of the status that fits."""
    acceptable = _REFUSED_OTHERWISE + (f"|{leeway}" if leeway else "")
    return _case(name, entry, *steps, right=rf"({status}) (open|closed)", acceptable=acceptable, **more)


def _origin(name: str, entry: str, host: bytes, origin: bytes) -> Case:
    """Return a case of a page that opens a WebSocket to its own site. A server may accept a list of origins alone."""
    handshake = _START + b"Host: " + host + b"\r\n" + _ASKS + _KEY + _VERSION + b"Origin: " + origin + b"\r\n\r\n"
    return _case(name, entry, handshake, acceptable=_NOT_SWITCHED,
                 why="The Origin names the host that the page asks, so the page is one of this site.")  # fmt: skip


ACCEPTED = (
    _case("status", "6455-4.2.2-101", _WHOLE + b"\r\n", also=("6455-4.2.2-steps", "6455-4.2.2-valid-response")),
    _case(
        "accept", "6455-4.2.2-accept", _WHOLE + b"\r\n", shows=(_ACCEPT,), also=("6455-11.3.3-once",),
        right=r"101 sec-websocket-accept=s3pPLMBiTxaQ9kYGzzhZRbK\+xOo= open",
    ),
    _case(
        "accept-of-another-key", "6455-4.2.2-accept", _START + _HOST + _ASKS + _VERSION,
        b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n", shows=(_ACCEPT,),
        right="101 sec-websocket-accept=HSmrc0sMlYUkAGmm5OPpG2HaGWk= open",
        why="The key of RFC 6455 stands in many tests: a server could know its answer without computing it.",
    ),
    _case(
        "upgrade-in-the-answer", "6455-4.2.2-upgrade", _WHOLE + b"\r\n", shows=("upgrade",),
        right="101 upgrade=(?i:websocket) open",
    ),
    _case(
        "connection-in-the-answer", "6455-4.2.2-connection", _WHOLE + b"\r\n", shows=("connection",),
        right="101 connection=(?i:upgrade) open", acceptable=r"101 connection=(?i:.*\bupgrade\b.*) open",
    ),
    _case(
        "no-extension-unasked", "6455-4.2.2-no-other-extension", _WHOLE + b"\r\n", shows=("sec-websocket-extensions",),
        right="101 sec-websocket-extensions=- open", also=("6455-4.2.2-extensions-of-the-clients",),
    ),
    _case(
        "unknown-extension", "6455-4.2.2-no-other-extension", _WHOLE + b"Sec-WebSocket-Extensions: x-prove; a=1; b\r\n\r\n",
        shows=("sec-websocket-extensions",), right="101 sec-websocket-extensions=- open", also=("6455-9.1-registered",),
    ),
    _case(
        "unknown-extension-alone", "6455-4.2.2-no-other-extension", _WHOLE + b"Sec-WebSocket-Extensions: x-prove\r\n\r\n",
        shows=("sec-websocket-extensions",), right="101 sec-websocket-extensions=- open",
        also=("6455-4.2.2-extensions-of-the-clients",),
    ),
    _case(
        "known-extension", "6455-4.2.2-no-other-extension", _WHOLE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        shows=("sec-websocket-extensions",),
        right=r"101 sec-websocket-extensions=(-|permessage-deflate(; ?(server_|client_no)\w+(=\d+)?)*) open",
        also=("6455-11.3.2-once-in-a-response", "7692-5-accept", "7692-7.1.2.2-only-if-offered", "7692-7-name"),
    ),
    _case(
        "no-subprotocol-unasked", "6455-4.2.2-no-subprotocol", _WHOLE + b"\r\n", shows=(_PROTOCOL,),
        right="101 sec-websocket-protocol=- open",
    ),
    _case(
        "unknown-subprotocol", "6455-4.2.2-subprotocol-of-the-clients",
        _WHOLE + b"Sec-WebSocket-Protocol: x-prove.1, x-prove.2\r\n\r\n", shows=(_PROTOCOL,),
        right="101 sec-websocket-protocol=- open", acceptable=r"101 sec-websocket-protocol=x-prove\.[12] open|[45]\d\d .*",
        also=("6455-4.2.2-no-subprotocol",),
        why="A client fails the connection over a subprotocol that it has not offered. An echo may agree to any.",
    ),
    _case(
        "subprotocols-on-two-lines", "6455-11.3.4-once-in-a-response",
        _WHOLE + b"Sec-WebSocket-Protocol: x-prove.1\r\nSec-WebSocket-Protocol: x-prove.2\r\n\r\n", shows=(_PROTOCOL,),
        right="101 sec-websocket-protocol=- open", acceptable=r"101 sec-websocket-protocol=x-prove\.[12] open|[45]\d\d .*",
    ),
    _case("upgrade-in-capitals", "6455-4.2.1-upgrade",
          _START + _HOST + _CONNECTION + b"UPGRADE: WebSocket\r\n" + _KEY + _VERSION
          + b"\r\n"),
    _case("connection-in-capitals", "6455-4.2.1-connection", _START + _HOST + _UPGRADE + b"CONNECTION: UPGRADE\r\n" + _KEY
          + _VERSION + b"\r\n"),
    _case(
        "connection-as-firefox", "6455-4.2.1-connection", _START + _HOST + _UPGRADE + b"Connection: keep-alive, Upgrade\r\n"
        + _KEY + _VERSION + b"\r\n", why="Firefox sends Connection with these two tokens.",
    ),
    _case(
        "connection-on-two-lines", "6455-4.2.1-connection", _WHOLE + b"Connection: keep-alive\r\n\r\n",
        acceptable=_NOT_SWITCHED, why="Two lines of a list mean one list. A server may ignore an Upgrade (RFC 9110 §7.8).",
    ),
    _case(
        "connection-on-a-second-line", "6455-4.2.1-connection",
        _START + _HOST + b"Connection: keep-alive\r\n" + _ASKS + _KEY + _VERSION + b"\r\n", acceptable=_NOT_SWITCHED,
        also=("9110-5.3-combine",), why="A server that reads the first line alone does not see Connection: Upgrade.",
    ),
    _case(
        "upgrade-among-others", "6455-4.2.1-upgrade", _START + _HOST + b"Upgrade: x-prove/1, websocket\r\n" + _CONNECTION
        + _KEY + _VERSION + b"\r\n", acceptable=_NOT_SWITCHED,
        why="Upgrade is a list. A server may ignore it (RFC 9110 §7.8).",
    ),
    _case(
        "other-fields", "6455-4.2.1-other-fields", _START + b"X-Prove: 1\r\nCookie: a=b\r\nUser-Agent: x\r\n" + _VERSION
        + _KEY + _CONNECTION + _UPGRADE + b"Pragma: no-cache\r\n" + _HOST + b"\r\n",
    ),
    _case("lower-case", "6455-4.2.1-other-fields", _START + b"".join(
        line.lower() if b"{" not in line and b"key" not in line.lower() else line for line in _WHOLE.splitlines(True)[1:]
    ) + b"\r\n", why="A field's name has no case."),
    _case("byte-by-byte", "6455-4.2.1-other-fields", Trickle(_WHOLE + b"\r\n", 3), why="TCP can cut anywhere."),
    _case(
        "origin-of-another-site", "6455-10.2-origin-verified", _WHOLE + b"Origin: http://evil.example\r\n\r\n",
        right=r"403 (open|closed)", acceptable=rf"101 open|{_REFUSED_OTHERWISE}",
        also=("6455-10.2-403", "6455-4.2.2-origin-refused", "6455-10.7-http-status"),
        why="A browser sends the user's cookies along, whichever page opens the WebSocket. A public echo may accept any page.",
        issue="CWE-1385 (cross-site WebSocket hijacking)",
    ),
    _case(
        "origin-that-is-empty", "6455-4.2.2-origin-refused", _WHOLE + b"Origin:\r\n\r\n", right=r"403 (open|closed)",
        acceptable=rf"101 open|{_REFUSED_OTHERWISE}", why="Only browsers send an Origin, and an empty one names no site.",
    ),
    _origin("origin-of-this-site", "6455-10.2-origin-verified", b"{host}", b"{scheme}://{host}"),
    _origin("origin-in-capitals", "9110-4.2.3-hosts-have-no-case", b"SITE.EXAMPLE", b"http://site.example"),
    _origin("origin-with-the-usual-port", "9110-4.2.1-default-ports", b"site.example", b"http://site.example:80"),
    _origin("origin-with-the-usual-port-of-https", "9110-4.2.1-default-ports", b"site.example:443", b"https://site.example"),
    _case(
        "origin-and-absolute-form", "9112-3.2.2-target-over-host",
        b"GET {scheme}://{host}{ws} HTTP/1.1\r\nHost: site.example\r\n" + _ASKS + _KEY + _VERSION
        + b"Origin: {scheme}://{host}\r\n\r\n", acceptable=_NOT_SWITCHED,
        why="The target names the host, whatever Host says: a page of this host opens the WebSocket.",
    ),
    _case(
        "no-origin", "6455-4.2.1-no-origin-no-browser", _WHOLE + b"\r\n", acceptable=r"403 .*",
        why="Only browsers send an Origin, so a program without one is no browser.",
    ),
    _case(
        "http-after-a-refusal", "6455-10.7-http-status",
        _START + _HOST + _ASKS + _KEY + b"Sec-WebSocket-Version: 99\r\n\r\n", Wait(r"[45]\d\d "),
        b"GET {path} HTTP/1.1\r\n" + _HOST + b"\r\n",
        right=r"4\d\d [2345]\d\d (open|closed)", acceptable=r"[45]\d\d (closed|reset)|[45]\d\d open",
        why="A refused handshake is a response of HTTP: the connection may serve the next request.",
    ),
)  # fmt: skip

REFUSED = (
    _case(
        "no-upgrade", "6455-4.2.1-upgrade", _START + _HOST + _CONNECTION + _KEY + _VERSION + b"\r\n",
        right=r"4\d\d (open|closed)", acceptable=_NOT_SWITCHED, also=("6455-4.2.1-refuse",),
    ),
    _case(
        "upgrade-to-something-else", "6455-4.2.1-upgrade",
        _START + _HOST + b"Upgrade: x-prove\r\n" + _CONNECTION + _KEY + _VERSION + b"\r\n",
        right=r"4\d\d (open|closed)", acceptable=_NOT_SWITCHED,
    ),
    _case(
        "upgrade-that-begins-like-it", "6455-4.2.1-upgrade",
        _START + _HOST + b"Upgrade: websockets\r\n" + _CONNECTION + _KEY + _VERSION + b"\r\n",
        right=r"4\d\d (open|closed)", acceptable=_NOT_SWITCHED,
    ),
    _case(
        "no-connection", "6455-4.2.1-connection", _START + _HOST + _UPGRADE + _KEY + _VERSION + b"\r\n",
        right=r"4\d\d (open|closed)", acceptable=_NOT_SWITCHED,
        why="Upgrade is about one connection. A proxy that knows no WebSocket passes it on without Connection: Upgrade.",
    ),
    _case(
        "connection-keep-alive", "6455-4.2.1-connection",
        _START + _HOST + _UPGRADE + b"Connection: keep-alive\r\n" + _KEY + _VERSION + b"\r\n",
        right=r"4\d\d (open|closed)", acceptable=_NOT_SWITCHED,
    ),
    _refused(
        "post", "6455-4.2.1-get", _WHOLE.replace(b"GET", b"POST") + b"Content-Length: 0\r\n\r\n", methods=("POST",),
        leeway=_NOT_SWITCHED, status="400|405|426",
    ),
    _refused("http-1-0", "6455-4.2.1-get", _WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n",
             leeway=_NOT_SWITCHED),
    _refused("no-host", "6455-4.2.1-host", _START + _ASKS + _KEY + _VERSION + b"\r\n"),
    _refused("no-key", "6455-4.2.1-key", _START + _HOST + _ASKS + _VERSION + b"\r\n", also=("6455-4.2.1-refuse",)),
    _refused("empty-key", "6455-4.2.1-key", _START + _HOST + _ASKS + _VERSION + b"Sec-WebSocket-Key:\r\n\r\n"),
    *(_refused(name, "6455-4.2.1-key", _START + _HOST + _ASKS + _VERSION + b"Sec-WebSocket-Key: " + key + b"\r\n\r\n",
               leeway=_OPEN, why="A server need not decode the key (§4.2.2), so it may not see that the key is wrong.")
      for name, key in (
          ("key-of-15-bytes", b"AQIDBAUGBwgJCgsMDQ4P"), ("key-of-17-bytes", b"AQIDBAUGBwgJCgsMDQ4PEBE="),
          ("key-that-is-no-base64", b"!!!!!!!!!!!!!!!!!!!!!!=="))),
    _refused(
        "two-keys", "6455-4.2.1-key", _WHOLE + _KEY + b"\r\n", leeway=_OPEN, also=("6455-11.3.1-once",),
        why="A client must send the field once. No sentence says what a server does that finds two keys.",
    ),
    _refused(
        "no-version", "6455-4.2.1-version", _START + _HOST + _ASKS + _KEY + b"\r\n", also=("6455-4.2.1-refuse",),
    ),
    *(_case(name, "6455-4.2.2-version-refused",
            _START + _HOST + _ASKS + _KEY + b"Sec-WebSocket-Version: " + version + b"\r\n\r\n",
            right=r"426 (open|closed)", acceptable=_REFUSED_OTHERWISE, also=("6455-4.2.1-version",))
      for name, version in (("version-99", b"99"), ("version-0", b"0"), ("version-of-letters", b"latest"))),
    _case(
        "versions-named", "6455-4.2.2-version-named", _START + _HOST + _ASKS + _KEY + b"Sec-WebSocket-Version: 99\r\n\r\n",
        right=r"426 sec-websocket-version=(.*\D)?13(\D.*)? (open|closed)", shows=_NAMED,
        acceptable=r"[45]\d\d sec-websocket-version=(.*\D)?13(\D.*)? (open|closed)", also=("6455-4.4-versions",),
        why="A client that speaks one of the named versions can ask again.",
    ),
    _refused(
        "two-versions", "6455-4.2.1-version", _WHOLE + b"Sec-WebSocket-Version: 99\r\n\r\n", leeway=_OPEN, status="400|426",
        also=("6455-11.3.5-once",),
        why="A client must send the field once. No sentence says what a server does that finds 13 and another version.",
    ),
    _refused(
        "subprotocol-with-a-blank", "6455-4.2.1-refuse", _WHOLE + b"Sec-WebSocket-Protocol: a b\r\n\r\n",
        leeway=_OPEN, why="A server that has no subprotocols may ignore the field.",
    ),
)  # fmt: skip

CASES = (*ACCEPTED, *REFUSED)
