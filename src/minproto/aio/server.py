"""The HTTP server: an app, and what a client's pipe becomes. The life of a server is ``minproto.aio.listener``.

Both versions of HTTP share a port. Over TLS the handshake has chosen one (ALPN, RFC 9113 §3.2). In clear text a client that
wants HTTP/2 says so by its first line, which no request of HTTP/1.1 can begin with (§3.3, §3.4); ``Upgrade: h2c`` is ignored.
"""

import asyncio
import inspect
import os
import ssl as tls
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Unpack

from minproto.aio import http1_server, http2
from minproto.aio.deadline import Deadline
from minproto.aio.endpoint import Endpoint
from minproto.aio.http import App, check_app, check_method
from minproto.aio.listener import Connection, Listener, ListenerConfig, ListenerOptions, serve_until_signal
from minproto.aio.observe import Guarded, Observer, logger
from minproto.aio.options import check_elements, check_secret, check_type, configure, refuse, try_handshake
from minproto.aio.pipe import Pipe
from minproto.core import Core
from minproto.http import METHODS
from minproto.http1 import Limits
from minproto.http2 import Limits as Http2Limits
from minproto.http2_frames import PREFACE


@dataclass(frozen=True)
class Config(ListenerConfig):
    """What an HTTP server can be told. Connections beyond ``max_connections`` are answered 503, or by GOAWAY."""

    port: int = 8000
    """0: any free one."""
    limits: Limits = field(default_factory=Limits)
    """What a client of HTTP/1.1 could make unbounded. Its ``max_body`` holds for HTTP/2, too."""
    http2_limits: Http2Limits = field(default_factory=Http2Limits)
    """What a client of HTTP/2 could make unbounded."""
    methods: Collection[str] = METHODS
    """Requests with another method are answered 501."""
    observers: Sequence[Observer] = ()
    """Are told of each request: ``[AccessLog()]``, say."""
    trusted_gateway: bool = False
    """Set it where a gateway that you trust stands before the server and ends TLS: a request may then name another scheme than
    that of the connection (RFC 9110 §7.4). Without it, such a request is answered 421."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_type("limits", self.limits, Limits)
        check_type("http2_limits", self.http2_limits, Http2Limits)
        check_elements("methods", self.methods, check_method)
        if not self.methods:
            refuse("methods", "one method or more", self.methods, ValueError)
        check_elements("observers", self.observers, _check_observer)
        check_type("trusted_gateway", self.trusted_gateway, bool)


class ServerOptions(ListenerOptions, total=False):
    """The fields of ``Config`` as keyword arguments, which editors and type checkers know."""

    limits: Limits
    http2_limits: Http2Limits
    methods: Collection[str]
    observers: Sequence[Observer]
    trusted_gateway: bool


def _check_observer(name: str, value: object) -> None:
    if inspect.isclass(value) or not (callable(getattr(value, "begin", None)) and callable(getattr(value, "finish", None))):
        refuse(name, "an object with the methods begin and finish, such as AccessLog()", value)


class Server(Listener):
    """``async with Server(app, port=0) as server:`` serves until the block is left; then it drains. Options: ``Config``."""

    scheme = "http"
    config: Config

    def __init__(self, app: App, **options: Unpack[ServerOptions]) -> None:
        check_app(app)
        super().__init__(configure(Config, options))
        if self.config.ssl is not None and not try_handshake(self.config.ssl):
            logger.warning("clients get HTTP/1.1: ssl offers no HTTP/2 (ALPN), as a context of minproto.tls_context does")
        self._app = app
        self._methods = frozenset(self.config.methods)
        observers = [*self.config.observers, *([self.config.metrics] if self.config.metrics else [])]
        self._observers = [Guarded(observer) for observer in observers]

    def _connect(self, pipe: Pipe) -> Connection:
        tls_object = pipe.info("ssl_object")
        if tls_object is None:
            return _Undecided(self, pipe)
        return self.http2(pipe) if tls_object.selected_alpn_protocol() == "h2" else self.http1(pipe)

    def http1(self, pipe: Pipe) -> http1_server.ServerConnection:
        """A connection of HTTP/1.1."""
        config = self.config
        return http1_server.ServerConnection(
            self._app, pipe, config.limits, config.timeouts, self._methods, self._observers, config.trusted_gateway
        )

    def http2(self, pipe: Pipe) -> http2.ServerConnection:
        """A connection of HTTP/2."""
        config = self.config
        return http2.ServerConnection(
            self._app, pipe, config.http2_limits, config.timeouts, self._methods, self._observers, config.limits.max_body,
            config.trusted_gateway,
        )  # fmt: skip


_FIRST_LINE = PREFACE.partition(b"\r\n")[0]


class _Undecided:
    """A connection in clear text: its first bytes tell which version of HTTP it speaks."""

    def __init__(self, server: Server, pipe: Pipe) -> None:
        self._server = server
        self._pipe = pipe
        self._deadline = Deadline(asyncio.get_running_loop())
        self._connection: http1_server.ServerConnection | http2.ServerConnection | None = None
        self._draining = False
        self._began = 0.0  # when the first byte came

    @property
    def endpoint(self) -> "_Undecided":
        return self

    @property
    def received(self) -> int:
        """Bytes on the wire."""
        return self._connection.endpoint.received if self._connection else 0

    @property
    def sent(self) -> int:
        return self._connection.endpoint.sent if self._connection else 0

    async def run(self) -> None:
        timeouts = self._server.config.timeouts
        first = await self._first_bytes(timeouts.first_idle, timeouts.head)
        if not first or self._draining:
            return await Endpoint(Core(0), self._pipe, timeouts).close(linger=True)
        self._connection = self._choose(first)
        del first  # or it would stay as long as the connection: what asyncio has read takes a page of memory, however short
        await self._connection.run()

    async def refuse(self) -> None:
        """In the client's own version, since an HTTP/2 client can't read a 503. Who is silent for a while gets that."""
        linger = self._server.config.timeouts.linger
        await self._choose(await self._first_bytes(linger, linger)).refuse()

    def _choose(self, first: bytes) -> http1_server.ServerConnection | http2.ServerConnection:
        server, pipe = self._server, self._pipe
        connection = server.http2(pipe) if first.startswith(_FIRST_LINE) else server.http1(pipe)
        connection.begin(first, self._began)
        return connection

    async def _first_bytes(self, idle: float, head: float) -> bytes:
        """As many as it takes to decide; fewer where no more come within ``head`` seconds, none where none do in ``idle``."""
        first, clock = b"", asyncio.get_running_loop().time
        ends = clock() + idle
        try:
            while _FIRST_LINE.startswith(first):
                with self._deadline(ends - clock()):
                    data = await self._pipe.read()
                if not first:
                    self._began = clock()
                    ends = self._began + head
                first += data
                if not data or len(first) >= len(_FIRST_LINE):
                    break
        except TimeoutError:
            pass  # then these are all
        except BaseException as error:
            self._pipe.abort()
            if not isinstance(error, OSError):
                raise
            first = b""  # whoever sent it is gone
        finally:
            self._deadline.stop()
        return first

    def drain(self) -> None:
        self._draining = True
        if self._connection is not None:
            self._connection.drain()
        else:
            self._deadline.expire()

    def abort(self) -> None:
        self._pipe.abort()


async def serve(app: App, **options: Unpack[ServerOptions]) -> None:
    """Serve until SIGINT or SIGTERM, then drain; a second signal stops at once. Options: ``Config``. Raises OSError."""
    await serve_until_signal(Server(app, **options))


FilePath = str | os.PathLike[str]


def tls_context(certificate: FilePath, key: FilePath | None = None, password: str | None = None) -> tls.SSLContext:
    """Return a server's TLS context that offers HTTP/2 and HTTP/1.1 (ALPN).

    ``certificate``: a file with the chain in PEM. ``key``: the file of the private key, if that is not in the first one, and
    ``password`` that of an encrypted key. Raises OSError, which says of which file what is wrong.
    """
    _check_path("certificate", certificate)
    if key is not None:
        _check_path("key", key)
    check_secret("password", password)
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    context.minimum_version = tls.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, _no_password if password is None else password)
    except OSError as error:
        reason = _certificate_fault(certificate, key, error)
        if reason is None:
            hint = "" if password is None else " (is the password right?)"
            reason = f"can't use certificate {certificate} with key {key or certificate}: {error}{hint}"
        raise OSError(reason) from error
    # RFC 9113 §9.2: what HTTP/2 demands of TLS, which is good for HTTP/1.1, too: no renegotiation, and of TLS 1.2 no cipher
    # without an ephemeral key exchange or authenticated encryption (§9.2.2). Compression is off wherever Python has TLS.
    context.options |= tls.OP_NO_RENEGOTIATION
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _check_path(name: str, path: object) -> None:
    """Check the path of a file. The error does not show the value: it may be the private key itself."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} has to be the path of a file, not {type(path).__name__}")
    if not str(path) or "-----BEGIN" in str(path):
        raise ValueError(f"{name} has to be the path of a file, not {'its content' if str(path) else 'an empty str'}")


def _certificate_fault(certificate: FilePath, key: FilePath | None, error: OSError) -> str | None:
    """Return what is wrong with the files, or None where only OpenSSL's ``error`` says more. OpenSSL calls the commonest
    mistakes, such as a missing key or swapped files, "PEM lib", and never says which of the two files it means."""
    for path, kind in ((certificate, "CERTIFICATE"), (key or certificate, "PRIVATE KEY")):
        if Path(path).is_fifo():  # OpenSSL has taken what was in it
            return None
        try:
            content = Path(path).read_bytes()
        except OSError as missing:
            return f"can't read {path}: {(missing.strerror or str(missing)).lower()}"
        if f"{kind}-----".encode() not in content:
            hint = "" if key or kind == "CERTIFICATE" else " (if the key has a file of its own, name that, too)"
            return f"{path} holds no {kind.lower()} in PEM{hint}"
    if isinstance(error, tls.SSLError) and error.reason in _WRONG_KEY:
        return f"the key in {key or certificate} belongs to another certificate than the one in {certificate}"
    return None


_WRONG_KEY = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL calls a key that belongs to another certificate; the last, where the two algorithms differ."""


def _no_password() -> NoReturn:
    """Asked for by OpenSSL where a key is encrypted. Without this, it would ask on the terminal, and wait."""
    raise OSError("the key is encrypted, and no password was given")
