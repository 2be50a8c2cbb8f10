r"""Where a client connects to, and the name that it then gives to the server: the two are not always the same text.

A user gives a host and a port, or a URL. Three readers need the host in three spellings:

    connect_http("fe80::1%eth0", 8000)      url_address(urlsplit("https://EXAMPLE.org./a"))
                  \                            /
                   v                          v
                 Address(connect_host, port): one spelling for each host
                   |                 |                      |
                   | connect_host    | server_name          | authority(scheme)
                   v                 v                      v
         system: DNS, connect()      TLS: SNI, certificate  HTTP: Host and :authority

    given            connect_host             server_name              authority("https"), port 443
    EXAMPLE.org.     example.org.             example.org              example.org.
    bücher.example   xn--bcher-kva.example    xn--bcher-kva.example    xn--bcher-kva.example
    fe80::1%eth0     fe80::1%eth0             fe80::1                  [fe80::1]
    0:0:0:0::1       ::1                      ::1                      [::1]

- The zone of an IPv6 address (``%eth0``) names an interface of this machine, so no other machine may see it (RFC 6874 §4).
- The dot at the end of a name tells DNS not to try the machine's search domains. Certificates and SNI (the name that TLS asks
  for) do not have that dot (RFC 6066 §3).
- Host has no port if the scheme implies it: 443 for https.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import SplitResult, unquote, urlsplit

from minproto.aio.options import check_host, check_text
from minproto.core import check_count
from minproto.http import DEFAULT_PORTS, MAX_PORT, TARGET, is_host, same_authority

PORTS = DEFAULT_PORTS | {"redis": 6379, "rediss": 6379}
"""Scheme -> the port of a URL that names no port."""
ADVICE = "give a name or an IP address, without scheme, path and port"
_URL = re.compile(rf"([^/?#\0- \x7f]*//)?[^/?#\0- \x7f]*[#{TARGET}]*")
"""A URL that can be sent as it is. Only its host may be in any script: ``Address`` encodes the host."""
_USER = re.compile("^([^:/]*:?//+)?.*@", re.DOTALL)
"""The scheme of a URL, and its user and password: all up to the last "@", since a user may have forgotten to encode a "/" or a
"#" in the password, or have mistyped the scheme."""
_REFUSED = 'a URL with a user or a password is refused: say them in headers=[("authorization", ...)]'


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port. The host may be a name (with IDNA: any script), an IPv4 or an IPv6 address (bare or in brackets).

    Raises ValueError for any other host (a URL, say), and for a port above 65535; TypeError for a wrong type.
    """

    connect_host: str
    """The name or address for the system, in one spelling: lower case, an IPv6 address in its short form, with its zone."""
    port: int

    def __post_init__(self) -> None:
        check_host("host", self.connect_host)
        check_count("port", self.port, 0, MAX_PORT)
        object.__setattr__(self, "connect_host", _normal_host(self.connect_host))

    def __str__(self) -> str:
        return f"[{self.connect_host}]:{self.port}" if ":" in self.connect_host else f"{self.connect_host}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name or IP address for TLS, without a zone and without a final dot: the certificate has to be for this name."""
        return self.connect_host.partition("%")[0].removesuffix(".")

    def authority(self, scheme: str) -> str:
        """Return the text for Host and :authority, without a zone, and without the port if ``scheme`` implies it."""
        host = self.connect_host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host
        return host if self.port == DEFAULT_PORTS.get(scheme) else f"{host}:{self.port}"

    def url(self, scheme: str) -> str:
        """Return a URL for programs on this machine. It keeps the zone, and spells its "%" as "%25" (RFC 6874 §2)."""
        host = self.connect_host.replace("%", "%25")
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


def url_address(parts: SplitResult) -> Address:
    """Return the address of a URL whose scheme is one of ``PORTS``. Raises ValueError if the URL names no host."""
    host = parts.hostname or ""
    if ":" not in host:
        host = unquote(host)  # RFC 3986 §3.2.2: a name may be percent-encoded
    else:  # RFC 6874 §2: "%" itself is written "%25" before a zone, but often it is bare
        address, percent, zone = host.partition("%")
        host = address + percent + (zone.removeprefix("25") or zone)
    return Address(host, PORTS[parts.scheme] if parts.port is None else parts.port)


def split_client_url(url: str, scheme: str) -> SplitResult:
    """Return the parts of a URL that a client connects to; ``scheme`` is "http" or "ws"; with an "s" after it, the URL is for
    TLS. Raises ValueError, which says what is wrong and what to do."""
    check_text("url", url)
    shown = _USER.sub(r"\1...@", url)  # an error ends up in a log, and a password must not
    if not _URL.fullmatch(url):  # checked before urlsplit, which drops tabs and line breaks
        raise ValueError(f"{shown!a}: in a URL, blanks, control characters and what is not ASCII have to be percent-encoded")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError for an invalid port
    except ValueError as error:  # in "http://u:a/b@host/" the port is "a", the begin of a password
        raise ValueError(f"{shown}: {error if shown == url else _REFUSED}") from None
    if parts.username is not None:
        raise ValueError(f"{shown}: {_REFUSED}")
    if parts.scheme not in (scheme, f"{scheme}s"):
        near = f"{scheme}{'s' if parts.scheme in ('https', 'wss') else ''}://{parts.netloc}{parts.path}"
        hint = f": {near}" if parts.scheme in ("http", "https", "ws", "wss") and shown == url else ""
        raise ValueError(f"{shown}: the URL has to begin with {scheme}:// or {scheme}s://{hint}")
    if not parts.hostname:
        raise ValueError(f"{shown}: the URL names no host")
    return parts


def request_target(parts: SplitResult) -> str:
    """Return the target of a request for a URL: its path and its query (RFC 9112 §3.2.1)."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def is_origin_of(origin: str, authority: str) -> bool:
    """Return whether an Origin field (``https://example.org``) names the host and port of ``authority``, a Host field.

    The scheme is not compared: behind a proxy that ends TLS, the page has https and this server has http. The scheme only
    says which port is meant if a port is missing. ``null``, the origin of a sandboxed page, names no host.
    """
    scheme, separator, host = origin.partition("://")
    return separator != "" and host != "" and same_authority(host, authority, scheme.lower())


def _normal_host(host: str) -> str:
    """Return the canonical spelling of a host.

    Raises ValueError for a text that is not a host. Names may be in any script: Python's IDNA codec encodes them as ASCII
    (``xn--...``).
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in text:
        address, percent, zone = text.partition("%")
        try:
            if bool(zone) == bool(percent):
                return str(IPv6Address(address)) + percent + zone
        except ValueError:
            pass
        raise ValueError(f"not a host: {host!r} ({ADVICE})")
    try:
        name = text.encode("idna").decode().lower()
    except UnicodeError as error:
        raise ValueError(f"not a host: {host!r}: {error} ({ADVICE})") from None
    if not name or text != host or not is_host(name):
        raise ValueError(f"not a host: {host!r} ({ADVICE})")
    return name
