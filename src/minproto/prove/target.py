"""The server under test: where it is, what it speaks, and what it offers to the cases.

A case may need something of a server that not every server has: a path that echoes, an event stream, a WebSocket. ``NEEDS``
lists these needs. ``probe.py`` finds out which of them the target meets; cases that need the others are skipped.
"""

import ssl
from dataclasses import dataclass, field

from minproto.aio.address import Address
from minproto.prove.line import Line

NEEDS = {
    "post": "a path that answers a POST with a 2xx (--post-path)",
    "echo": "a path that answers a POST with the content of the request (--echo-path)",
    "large": "a path with more content than a window of HTTP/2 holds, 65,535 bytes (--large-path)",
    "websocket": "a WebSocket that sends each message back (--ws-path)",
    "deflate": "permessage-deflate on this WebSocket",
    "events": "an event stream (--events-path)",
    "http2": "HTTP/2",
    "clear": "a connection without TLS",
    "connect": "WebSocket over HTTP/2 (RFC 8441)",
}
"""What a case can need -> what that is. A request shows whether the target meets a need, except for "clear"."""

PATHS = {"path": "/", "post": "/echo", "echo": "/echo", "large": "/bytes/200000", "ws": "/ws", "events": "/events"}
"""The name of each path -> the path that is tried if the user names none. ``minproto serve`` has these paths."""


@dataclass(slots=True)
class Target:
    """The address of a server, and what is known about it."""

    address: Address
    paths: dict[str, str]
    """The paths, by the names of ``PATHS``."""
    host: str
    """The value of the Host field, and of :authority."""
    timeout: float
    """The seconds after which we stop waiting for an answer."""
    tls: dict[str, ssl.SSLContext] = field(default_factory=dict)
    """The protocol that ALPN offers -> the context that offers it; empty: in clear text."""
    speaks: set[str] = field(default_factory=set)
    """The protocols that the target speaks, of ``transcripts.TRANSCRIPTS``."""
    unsound: set[str] = field(default_factory=set)
    """The protocols that the target speaks, but whose right request it answers wrongly."""
    meets: set[str] = field(default_factory=set)
    """The needs that the target meets, of ``NEEDS``."""
    via: str = ""
    """The Via field of its answers: a proxy is between us and the server."""
    server: str = ""
    """The Server field of its answers."""
    settings: dict[int, int] = field(default_factory=dict)
    """The settings that it sends in HTTP/2."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def fill(self, text: bytes) -> bytes:
        """Replace ``{host}``, ``{scheme}``, ``{path}``, ``{post}``, ``{echo}``, ``{large}``, ``{ws}`` and ``{events}``."""
        for name, value in {"host": self.host, "scheme": self.scheme, **self.paths}.items():
            text = text.replace(f"{{{name}}}".encode(), value.encode("latin-1"))
        return text

    async def connect(self, alpn: str = "http/1.1") -> Line:
        """Open a connection. Raises OSError and TimeoutError.

        ``alpn``: the protocol that is offered to a target with TLS; its choice is ``Line.alpn``.
        """
        address = self.address
        return await Line.open(address.connect_host, address.port, self.tls.get(alpn), address.server_name, self.timeout)
