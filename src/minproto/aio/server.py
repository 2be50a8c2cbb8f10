"""The HTTP server: an app, and what a client's pipe becomes. The life of a server is ``minproto.aio.listener``.

Once it drains, the last response on each connection says ``Connection: close`` (RFC 9112 §9.6).
"""

import ssl as tls
from collections.abc import Sequence
from dataclasses import dataclass, field

from minproto.aio.http import App
from minproto.aio.http1 import ServerConnection
from minproto.aio.listener import Connection, Listener, ListenerConfig, serve_until_signal
from minproto.aio.observe import Observer
from minproto.aio.pipe import Pipe
from minproto.http import METHODS
from minproto.http1 import Limits


@dataclass(frozen=True)
class Config(ListenerConfig):
    """What an HTTP server can be told. Connections beyond ``max_connections`` are answered 503."""

    port: int = 8000
    limits: Limits = field(default_factory=Limits)
    methods: frozenset[str] = METHODS
    """Requests with another method are answered 501."""
    observers: Sequence[Observer] = ()


class Server(Listener):
    """``async with Server(app, port=0) as server:`` serves until the block is left; then it drains. Options: ``Config``."""

    scheme = "http"
    config: Config

    def __init__(self, app: App, **options: object) -> None:
        super().__init__(Config(**options))  # type: ignore[arg-type]
        self._app = app
        self._observers = [*self.config.observers, *([self.config.metrics] if self.config.metrics else [])]

    def _connect(self, pipe: Pipe) -> Connection:
        config = self.config
        return ServerConnection(self._app, pipe, config.limits, config.timeouts, config.methods, self._observers)


async def serve(app: App, **options: object) -> None:
    """Serve until SIGINT or SIGTERM, then drain; a second signal stops at once. Options: ``Config``. Raises OSError."""
    await serve_until_signal(Server(app, **options))


def tls_context(certificate: str, key: str | None = None) -> tls.SSLContext:
    """A server's TLS context, with ALPN. Raises OSError, which names the files, where they are missing or do not fit."""
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    context.minimum_version = tls.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # which says neither which file nor, for what is no PEM, much else
        raise OSError(f"can't use certificate {certificate} with key {key or certificate}: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
