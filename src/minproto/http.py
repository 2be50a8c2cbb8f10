r"""The part of HTTP that all its versions share: the events, and the rules that do not depend on bytes (RFC 9110).

A message is a head, content in pieces, and an end that may carry trailers. HTTP/1.1 writes a message as lines of text and
chunks, HTTP/2 as frames. An app sees the same events for both. This is a GET with its response, as events:

    >>> request = RequestHead("GET", "/where?q=now", Headers([("host", "www.example.org"), ("accept", "text/plain")]))
    >>> request.target, request.headers
    ('/where?q=now', [('host', 'www.example.org'), ('accept', 'text/plain')])
    >>> EndOfMessage()                                             # a GET has no content
    EndOfMessage(trailers=[], stream=0)
    >>> ResponseHead(200, Headers([("content-length", "5")]))
    ResponseHead(status=200, headers=[('content-length', '5')], version='1.1', stream=0)
    >>> Data(b"hello"), EndOfMessage()
    (Data(data=b'hello', stream=0), EndOfMessage(trailers=[], stream=0))

``stream`` is the number of the stream in HTTP/2, which carries many messages at once. In HTTP/1.1 it is always 0.

How fields are represented:

- A *name* is a ``str`` in lower case: ``Host`` and ``HOST`` are the same field (§5.1).
- A *value* is a ``str`` with one character for each byte (ISO-8859-1, §5.5). So every value that can arrive can be shown, and
  can be sent on unchanged.
- *Order and repetitions* are kept: several lines with the same name may have a meaning, as for ``set-cookie`` (§5.3).

The rules below decide what a field, a Host or a target may look like. Many attacks begin with a spelling that two programs
understand in different ways, so the rules accept what the grammar allows, and nothing else.

Left out: everything that is up to an app, a cache or a proxy (conditional requests, ranges, content negotiation).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Any, SupportsIndex, overload

from minproto.core import Event, LocalProtocolError, ProtocolError

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "PATCH"})
"""The methods that a server accepts by default. Every server has to support GET and HEAD (§9.1). TRACE (§9.3.8) is not among
them: its response would repeat the request with its cookies and credentials, which a script on a page must not see."""

REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",  # the names in RFC 9110 §15.5, which older Python versions lack
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Status code -> reason phrase (§15). Only people read the phrase; HTTP/2 does not send it."""


class Headers(list[tuple[str, str]]):
    """The field lines of a head, in their order: a list of (lower-case name, value). It equals any list of the same pairs.

    Fields can also be looked up by name, in upper or lower case:

        >>> headers = Headers([("accept", "text/html"), ("accept", "text/plain"), ("host", "a")])
        >>> headers["Accept"], "Cookie" in headers, headers.get("cookie"), headers.get_all("accept")
        ('text/html, text/plain', False, None, ['text/html', 'text/plain'])
        >>> headers["accept"] = "*/*"  # replaces all lines of this name
        >>> headers
        [('host', 'a'), ('accept', '*/*')]
    """

    __slots__ = ()

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the values of a field, joined by ", " as §5.3 allows; ``default`` if no line has the name.

        Not for ``set-cookie``: its values contain commas themselves, so use ``get_all``.
        """
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def get_all(self, name: str) -> list[str]:
        """Return the values of a field, one for each line that has the name."""
        try:
            name = str.lower(name)
        except TypeError:
            raise TypeError(f"the name of a field has to be str, not {name!r}") from None
        return [value for key, value in self if key == name]

    def __contains__(self, item: object) -> bool:
        return super().__contains__(item) if isinstance(item, tuple) else bool(self.get_all(item))  # type: ignore[arg-type]

    @overload
    def __getitem__(self, key: str) -> str: ...
    @overload
    def __getitem__(self, key: SupportsIndex) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, key: slice) -> list[tuple[str, str]]: ...
    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        if (value := self.get(key)) is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str):
            return super().__setitem__(key, value)
        self[:] = [*(line for line in self if line[0] != key.lower()), (key.lower(), value)]


@dataclass(slots=True)
class RequestHead(Event):
    """The start of a request: its method, its target and its header fields (§6)."""

    method: str
    target: str
    """The target as it was sent, for example ``/where?q=now``; ``split_target`` takes it apart."""
    headers: Headers
    version: str = "1.1"
    """The highest version that we conform to (§6.2), unless the app asks for "1.0". In HTTP/2: "2"."""
    stream: int = 0
    protocol: str = ""
    """In HTTP/2, for a CONNECT: the protocol that the stream is to be used for, such as ``websocket`` (RFC 8441 §4)."""
    scheme: str = field(default="", compare=False)
    """In HTTP/2, the value of ``:scheme`` in a received head. In HTTP/1.1 only an absolute target names a scheme."""


@dataclass(slots=True)
class ResponseHead(Event):
    """The start of a response. A response with a status below 200 is interim: another ResponseHead follows (§15.2)."""

    status: int
    headers: Headers
    version: str = "1.1"
    """Not the version of the request, but the highest with its syntax that we conform to (§6.2)."""
    stream: int = 0


@dataclass(slots=True)
class Data(Event):
    """A piece of content. The places where content is cut have no meaning: the network chooses them."""

    data: bytes
    stream: int = 0


@dataclass(slots=True)
class EndOfMessage(Event):
    """The end of a message. Trailer fields (§6.5) stay out of the header, where they could replace a checked field: only a
    recipient that knows a field's definition may merge it into the header (§6.5.1)."""

    trailers: Headers = field(default_factory=Headers)
    stream: int = 0


# ---- fields ----------------------------------------------------------------------------------------------------------
#
#   field-name  = token = 1*tchar                                                                        (§5.1, §5.6.2)
#   field-value = *( VCHAR / obs-text / SP / HTAB ), with no space at either end                         (§5.5)

LOWER_TCHAR = r"!#$%&'*+\-.^_`|~0-9a-z"
TCHAR = LOWER_TCHAR + "A-Z"
FIELD_VCHAR = r"\t\x20-\x7e\x80-\xff"
TOKEN = re.compile(rf"[{TCHAR}]+")

# As we send fields: names are in lower case, and no value has a space at either end.
_NAME = re.compile(rf"[{LOWER_TCHAR}]+")
_VALUE = re.compile(rf"(?:(?![\t ])[{FIELD_VCHAR}]+(?<![\t ]))?")


def is_field(field: tuple[str, str]) -> bool:
    """Return whether a field can be sent: a name in lower case and a value without a space at either end, both str.

    No value contains CR or LF: it would end its line (RFC 9112 §2.2), or fold it (RFC 9112 §5.2). No name contains a space.

    A sender MUST NOT generate what the grammar does not allow (§2.2). So every field that we send passes this check, whether
    we, an app or an app's user has made it. In HTTP/2 every field that we receive passes it, too (RFC 9113 §8.2.1).
    """
    if isinstance(field, str) or len(field) != 2 or not all(isinstance(part, str) for part in field):
        return False  # the text "te" is not a pair, though it would unpack into the name "t" and the value "e"
    name, value = field
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


IMPORTANT = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"})

SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
"""Fields that belong to one connection alone: a cache that connections share must not hold any of them."""


def important_fields(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the fields that change how a message is read, by name. The values of repeated lines are joined by ", " (§5.3).

    All other fields are left to the app, whether anybody knows them or not: a field that is not understood is ignored (§5.1).

    So two lines ``Content-Length: 5`` become ``5, 5``, which is valid, and ``5`` and ``6`` become ``5, 6``, which is refused.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name in IMPORTANT:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def split_list(value: str) -> list[str]:
    """Return the elements of a comma-separated list, in lower case. Empty elements MUST be ignored (§5.6.1.2).

    Only for lists whose names have no case, such as connection options (§7.6.1) and the protocols of Upgrade (§7.8).

        >>> split_list("Keep-Alive, , Upgrade")
        ['keep-alive', 'upgrade']
    """
    return [element for part in value.lower().split(",") if (element := part.strip(" \t"))]


# 18 digits: an exabyte. A longer number may not fit into the 64 bits that other programs use, so they may misread it.
_LENGTH = re.compile(r"[0-9]{1,18}")


def parse_content_length(value: str, fault: type[ProtocolError]) -> int:
    """Return the number in a Content-Length: digits and nothing else (§8.6). Raises ``fault`` (400).

    A list of equal values means that value (RFC 9112 §6.3): ``5, 5`` is 5. Python's ``int`` would accept ``+5`` and ``1_0``.
    We accept such a list, but never send it on (§8.6), nor two lines (§5.3). ``fault`` tells the two ends apart: a
    LocalProtocolError is ours.
    """
    if _LENGTH.fullmatch(value):
        return int(value)
    first, *others = (part.strip(" \t") for part in value.split(","))
    if fault is LocalProtocolError or not _LENGTH.fullmatch(first) or any(other != first for other in others):
        raise fault("invalid Content-Length", 400)
    return int(first)


# Host = uri-host [ ":" port ]                                                                     (§7.2, RFC 3986 §3.2.2)
#   uri-host = "[" ( IPv6address / IPvFuture ) "]" / reg-name;  reg-name = *( unreserved / pct-encoded / sub-delims )

MAX_PORT = 65_535
_NAME_CHARS = r"[A-Za-z0-9\-._~!$&'()*+,;=]*+"
_LITERAL = r"\[(?:[0-9A-Fa-f:.]{2,45}|[Vv][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]"
_HOST = re.compile(rf"(?:{_LITERAL}|{_NAME_CHARS}(?:%[0-9A-Fa-f]{{2}}{_NAME_CHARS})*+)(?::([0-9]{{0,5}}))?")
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?]*)([^\x00]*)")


def is_host(value: str) -> bool:
    """Return whether the value of a Host field is valid: ``a.example``, ``a.example:80``, ``[::1]:80``, or nothing.

    Two Host lines, joined by ", ", are never valid, since no host contains a space.
    """
    found = _HOST.fullmatch(value)
    if found is None or int(found[1] or 0) > MAX_PORT:
        return False
    return value[:1] != "[" or value[1] in "Vv" or _is_ipv6(value[1 : value.index("]")])


def check_host(version: str, fields: dict[str, str], fault: type[ProtocolError]) -> None:
    """Check Host (RFC 9112 §3.2). Raises ``fault`` (400) if Host is missing in HTTP/1.1, occurs twice, or is invalid.

    A client passes its own fields through this check as well: it MUST send Host (§7.2), and only once (§5.3).
    A handshake of a WebSocket has to have a Host as well (RFC 6455 §4.2.1).
    """
    if "host" not in fields:
        if version != "1.0":
            raise fault("missing Host", 400)
    elif not is_host(fields["host"]):  # two Host lines are joined by ", ", which no valid Host contains
        raise fault("repeated or invalid Host", 400)


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False


DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
"""The port of a URI that names none, by its scheme (§4.2.1, §4.2.2)."""


def same_authority(a: str, b: str, scheme: str) -> bool:
    """Return whether two values of Host or :authority mean the same host and port (§4.2.3).

        >>> same_authority("A.example", "a.example:80", "http"), same_authority("[::1]", "[0:0::1]", "http")
        (True, True)
    """
    return a == b or _normal_authority(a, scheme) == _normal_authority(b, scheme)


def _normal_authority(authority: str, scheme: str) -> tuple[str, int]:
    found = _HOST.fullmatch(authority)
    if found is None:  # not an authority: equal only to the same text
        return authority, -1
    host = (authority if found[1] is None else authority[: found.start(1) - 1]).lower()
    if host.startswith("[") and _is_ipv6(host[1:-1]):
        host = str(IPv6Address(host[1:-1]))
    return host, int(found[1] or DEFAULT_PORTS.get(scheme, -1))


# ---- targets ---------------------------------------------------------------------------------------------------------
#
#   origin-form    /where?q=now                    absolute-form   http://www.example.org/where?q=now     (RFC 9112 §3.2)
#   authority-form www.example.org:80 (CONNECT)    asterisk-form   *                     (OPTIONS)


TARGET = r"\x21\x24-\x3b\x3d\x3f-\x7e"
"""The characters of a target, for use within []. A request with other characters SHOULD get a 400 (RFC 9112 §3.2). No URI has
\\ ^ ` { | }, but browsers send them in a query, so we accept them. Browsers never send " # < >, so we refuse these four."""


def check_target(method: str, target: str, fault: type[ProtocolError]) -> None:
    """Check that the form of a target fits the method, and that its authority is valid. Raises ``fault`` (400).

    A target is a path that begins with "/" and may have a query (RFC 9112 §3.2.1); or a whole URL, which a server MUST accept,
    although only clients of proxies send it (RFC 9112 §3.2.2). CONNECT takes a host and a port, and nothing else (RFC 9112
    §3.2.3). Only OPTIONS takes "*" (RFC 9112 §3.2.4). Anything else SHOULD get a 400 (RFC 9112 §3.2). The last two forms MUST
    NOT be used with any other method (§7.1).
    CONNECT has no default port: the client has to send one, so ``CONNECT a.example`` is refused (§9.3.6).
    """
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        if not (host and is_host(target) and port.isdigit() and int(port)):  # RFC 9110 §9.3.6: MUST reject an invalid port
            raise fault("CONNECT takes host:port", 400)
    elif target[0] != "/" and not (target == "*" and method == "OPTIONS"):
        absolute = _ABSOLUTE.fullmatch(target)
        # RFC 9110 §4.2.1: an http URI with an empty host is invalid; §4.2.4: userinfo is to be treated as an error.
        if absolute is None or not is_host(absolute[2]) or absolute[2][:1] in ("", ":"):
            raise fault("invalid request-target", 400)


def split_target(method: str, target: str) -> tuple[str | None, str, str]:
    """Return (authority or None, path, query) of a valid target. An authority in the target overrides Host (RFC 9112 §3.2.2).

        >>> split_target("GET", "/where?q=now"), split_target("GET", "http://a:80?q")
        ((None, '/where', 'q=now'), ('a:80', '/', 'q'))
    """
    authority = None
    if target[0] != "/":
        if method == "CONNECT":
            return target, "", ""
        if absolute := _ABSOLUTE.fullmatch(target):
            authority, target = absolute[2], absolute[3]
    path, _, query = target.partition("?")
    return authority, path or "/", query


def target_scheme(head: RequestHead) -> str | None:
    """Return the scheme of the URI that a request asks for, in lower case; None if the request does not name it.

    In that case the connection implies the scheme: https with TLS, http without (RFC 9112 §3.3).
    """
    absolute = _ABSOLUTE.fullmatch(head.target)
    return (absolute[1] if absolute else head.scheme).lower() or None


# ---- responses -------------------------------------------------------------------------------------------------------


def has_no_content(method: str, status: int) -> bool:
    """Return whether a response to ``method`` ends with its head, whatever the fields say (§6.4.1, RFC 9112 §6.3).

    The response alone does not show it, so a client MUST remember the request (§6).
    A response to HEAD has the Content-Length that GET would give (§9.3.2). A 2xx to CONNECT begins a tunnel, which has no
    length (§9.3.6). A 1xx (§15.2), a 204 (§15.3.5) and a 304 (§15.4.5) have neither content nor trailers.
    """
    return status < 200 or status in (204, 304) or method == "HEAD" or (method == "CONNECT" and status < 300)
