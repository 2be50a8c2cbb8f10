r"""The HTTP server: which version of HTTP a client speaks, and the TLS context that offers both.

HTTP/1.1 and HTTP/2 share a port, so a new connection may be of either version. There are two ways to tell which:

    over TLS          ClientHello, ALPN: h2, http/1.1   -->  the handshake chooses one (RFC 9113 §3.2)
    in clear text     b"PRI * HTTP/2.0\r\n..."           -->  HTTP/2: the client's *preface* (§3.4)
                      b"GET /hello HTTP/1.1\r\n..."      -->  HTTP/1.1

No HTTP/1.1 request can begin with the preface's line, since the line names version 2.0. A client that sends this line has
*prior knowledge* that this server speaks HTTP/2 (§3.3). ``Upgrade: h2c``, the third way of the older RFC 7540, is ignored:
browsers never supported it, and the new RFC has dropped it.

In clear text the server has to read before it knows what it is reading. The RFC's authors chose the line so that 14 bytes are
enough, and the first byte that differs from it shows an HTTP/1.1 client: ``G`` is not ``P``. For a POST the server needs a
second byte.

    Listener.admit(pipe)              the life of a server is minproto.aio.listener
      Server._connect(pipe)
        over TLS       --> http1_server.ServerConnection or http2_server.ServerConnection
        in clear text  --> _ClearTextConnection: reads until it knows, and becomes one of these two

What is easy to get wrong:

- While the server is still reading to find out the version, the connection is treated like any other: its idle timeout
  applies, the time limit for a head runs from the first byte, the connection counts towards ``max_connections``, and a drain
  ends it.
- The bytes already read belong to the version that was chosen. They are handed over to its connection, not read again.
- A TLS context without ALPN works, but all its clients get HTTP/1.1, which nobody would notice. So the server logs a warning.

Left out: HTTP/3, which runs on UDP and has nothing in common with this file.
"""

import asyncio
import inspect
import os
import ssl as tls
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Unpack

from minproto.aio import http1_server, http2_server
from minproto.aio.endpoint import Endpoint
from minproto.aio.http import App, check_app, check_method
from minproto.aio.listener import Connection, Listener, ListenerConfig, ListenerOptions, serve_until_signal
from minproto.aio.loop import Deadline
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
    """The options of an HTTP server. A connection beyond ``max_connections`` gets a 503, or GOAWAY in HTTP/2."""

    port: int = 8000
    """0: any free port."""
    limits: Limits = field(default_factory=Limits)
    """Bounds on what an HTTP/1.1 client could make unbounded. One of them, ``max_body``, applies to HTTP/2, too."""
    http2_limits: Http2Limits = field(default_factory=Http2Limits)
    """Bounds on what an HTTP/2 client could make unbounded."""
    methods: Collection[str] = METHODS
    """The methods that the app knows. A request with any other method gets a 501 (Not Implemented)."""
    observers: Sequence[Observer] = ()
    """Objects that are told of each request: ``[AccessLog()]``, say."""
    trusted_gateway: bool = False
    """Set this if a gateway that you trust is in front of the server and ends TLS. Then clients say https, although the
    connection has no TLS (RFC 9110 §7.4). Without this option, such a request gets a 421 (Misdirected Request)."""

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
    """The fields of ``Config`` as keyword arguments, for editors and type checkers. A test compares the two."""

    limits: Limits
    http2_limits: Http2Limits
    methods: Collection[str]
    observers: Sequence[Observer]
    trusted_gateway: bool


def _check_observer(name: str, value: object) -> None:
    """Check that a value has the two methods of an Observer. A class is refused: not ``AccessLog``, but ``AccessLog()``."""
    if inspect.isclass(value) or not (callable(getattr(value, "begin", None)) and callable(getattr(value, "finish", None))):
        refuse(name, "an object with the methods begin and finish, such as AccessLog()", value)


class Server(Listener):
    """``async with Server(app, port=0) as server:`` serves until the block is left, and then drains. Options: ``Config``."""

    scheme = "http"
    config: Config

    def __init__(self, app: App, **options: Unpack[ServerOptions]) -> None:
        """``app``: the async function that answers each request. Raises TypeError or ValueError for a wrong option."""
        check_app(app)
        super().__init__(configure(Config, options))
        if self.config.ssl is not None and not try_handshake(self.config.ssl):
            logger.warning("clients get HTTP/1.1: ssl offers no HTTP/2 (ALPN), as a context of minproto.tls_context does")
        self._app = app
        self._methods = frozenset(self.config.methods)  # a set: each request's method is looked up in it
        # Metrics are an observer as well: they count requests by their status.
        observers = [*self.config.observers, *([self.config.metrics] if self.config.metrics else [])]
        self._observers = [Guarded(observer) for observer in observers]

    def _connect(self, pipe: Pipe) -> Connection:
        """Return a connection of the version that the client speaks, or one that will find out the version."""
        tls_object = pipe.info("ssl_object")
        if tls_object is None:
            return _ClearTextConnection(self, pipe)
        # A client without ALPN has chosen no protocol (None), and speaks HTTP/1.1.
        return self.http2(pipe) if tls_object.selected_alpn_protocol() == "h2" else self.http1(pipe)

    def http1(self, pipe: Pipe) -> http1_server.ServerConnection:
        """Return an HTTP/1.1 connection on this pipe."""
        config = self.config
        return http1_server.ServerConnection(
            self._app, pipe, config.limits, config.timeouts, self._methods, self._observers, config.trusted_gateway
        )

    def http2(self, pipe: Pipe) -> http2_server.ServerConnection:
        """Return an HTTP/2 connection on this pipe."""
        config = self.config
        return http2_server.ServerConnection(
            self._app, pipe, config.http2_limits, config.timeouts, self._methods, self._observers, config.limits.max_body,
            config.trusted_gateway,
        )  # fmt: skip


_FIRST_LINE = PREFACE.partition(b"\r\n")[0]
"""The first 14 bytes of every HTTP/2 connection: ``PRI * HTTP/2.0``."""


class _ClearTextConnection:
    """A connection in clear text. Its first bytes show which version of HTTP the client speaks:

        bytes so far          the line begins with them?    then
        PRI * HT              yes                           wait for more, for up to Timeouts.head
        PRI * HTTP/2.0        it is the line                HTTP/2
        GET /hello HT         no                            HTTP/1.1, from the first byte that differs

    The bytes already read are handed to the connection, as if the connection had read them itself.
    """

    def __init__(self, server: Server, pipe: Pipe) -> None:
        """``server`` makes the real connection once the version is known."""
        self._server = server
        self._pipe = pipe
        self._deadline = Deadline(asyncio.get_running_loop())  # for the first bytes. The real connection has its own
        self._connection: http1_server.ServerConnection | http2_server.ServerConnection | None = None
        self._draining = False
        self._began = 0.0  # the loop's time when the first byte arrived: the time for a head runs from then

    @property
    def endpoint(self) -> "_ClearTextConnection":
        """The object that counts the bytes: this one, which asks the real connection."""
        return self

    @property
    def received(self) -> int:
        return self._connection.endpoint.received if self._connection else 0

    @property
    def sent(self) -> int:  # nothing is sent before there is a real connection
        return self._connection.endpoint.sent if self._connection else 0

    async def run(self) -> None:
        """Wait for the first bytes, and serve. If none come within the idle time, close the connection without an answer."""
        timeouts = self._server.config.timeouts
        first = await self._first_bytes(timeouts.first_idle, timeouts.head)
        if not first or self._draining:  # there is no version, so there is no core: Core(0) only lets the endpoint close
            return await Endpoint(Core(0), self._pipe, timeouts).close(linger=True)
        self._connection = self._choose(first)  # from here on, drain, abort and the counts go to this connection
        del first  # a chunk from asyncio, however short, takes a page of memory (4 KiB), and would live as long as this task
        await self._connection.run()

    async def refuse(self) -> None:
        """Tell the client, in its own version, that there are too many connections: an HTTP/2 client can't read a 503.

        A client that sends nothing for ``Timeouts.linger`` gets the 503.
        """
        linger = self._server.config.timeouts.linger
        await self._choose(await self._first_bytes(linger, linger)).refuse()

    def _choose(self, first: bytes) -> http1_server.ServerConnection | http2_server.ServerConnection:
        """Return the connection of the right version, with the bytes already read.

        HTTP/1.1 is also the choice for nonsense: a client that does not speak HTTP at all gets a 400, which people can read.
        """
        server, pipe = self._server, self._pipe
        connection = server.http2(pipe) if first.startswith(_FIRST_LINE) else server.http1(pipe)
        connection.begin(first, self._began)
        return connection

    async def _first_bytes(self, idle: float, head: float) -> bytes:
        """Return as many bytes as it takes to know the version.

        Fewer if no more come within ``head`` seconds of the first byte; b"" if no byte comes within ``idle`` seconds.
        """
        first, clock = b"", asyncio.get_running_loop().time
        ends = clock() + idle  # one end for all reads: a byte now and then must not restart the clock
        try:
            while _FIRST_LINE.startswith(first):
                with self._deadline(ends - clock()):
                    data = await self._pipe.read()
                if not first:  # from here on, the client is not idle: its head is unfinished
                    self._began = clock()
                    ends = self._began + head
                first += data
                if not data or len(first) >= len(_FIRST_LINE):  # b"": the client will send no more
                    break
        except TimeoutError:
            pass  # no more bytes have arrived in time: the bytes so far decide the version
        except BaseException as error:
            self._pipe.abort()
            if not isinstance(error, OSError):  # the server has cancelled us
                raise
            first = b""  # the client is gone
        finally:
            self._deadline.stop()
        return first

    def drain(self) -> None:
        """Let the connection finish. If the client has not sent anything, close the connection now."""
        self._draining = True
        if self._connection is not None:
            self._connection.drain()
        else:
            self._deadline.expire()  # ends the wait for the first bytes

    def abort(self) -> None:
        """Reset the connection, whatever it has become."""
        self._pipe.abort()


async def serve(app: App, **options: Unpack[ServerOptions]) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM, then drain; a second signal stops at once.

    The options are the fields of ``Config``. Raises OSError if the server can't listen.
    """
    await serve_until_signal(Server(app, **options))


# ---- the TLS context ---------------------------------------------------------------------------------------------------

FilePath = str | os.PathLike[str]


def tls_context(certificate: FilePath, key: FilePath | None = None, password: str | None = None) -> tls.SSLContext:
    """Return a server's TLS context that offers HTTP/2 and HTTP/1.1 through ALPN.

    ``certificate``: a file in PEM with the server's certificate, followed by the certificates that vouch for it (the chain).
    ``key``: the file of the private key; None if the key is in the first file.
    ``password``: for an encrypted key. Raises OSError, whose text names the file and what is wrong with it.
    """
    # OpenSSL's own errors do not say which argument was wrong, so we check each one first.
    _check_path("certificate", certificate)
    if key is not None:
        _check_path("key", key)
    check_secret("password", password)
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    context.minimum_version = tls.TLSVersion.TLSv1_2
    try:
        # OpenSSL checks here that the key belongs to the certificate.
        context.load_cert_chain(certificate, key, _no_password if password is None else password)
    except OSError as error:
        reason = _certificate_fault(certificate, key, error)  # one that names the file, if there is one
        if reason is None:
            hint = "" if password is None else " (is the password right?)"
            reason = f"can't use certificate {certificate} with key {key or certificate}: {error}{hint}"
        raise OSError(reason) from error
    # HTTP/2 demands the following of TLS (RFC 9113 §9.2), and it is good for HTTP/1.1 as well. No renegotiation: it would
    # change the keys in the middle of a connection (§9.2.1). In TLS 1.2, only ciphers with an ephemeral key exchange, so that
    # a key that is stolen later decrypts no recorded traffic, and with authenticated encryption (§9.2.2; TLS 1.3 has no
    # others). TLS compression has to be off, too: Python's contexts never turn it on.
    context.options |= tls.OP_NO_RENEGOTIATION
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _check_path(name: str, path: object) -> None:
    """Check the path of a file. The error does not show the value: it may be the private key itself, given by mistake."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} has to be the path of a file, not {type(path).__name__}")
    if not str(path) or "-----BEGIN" in str(path):
        raise ValueError(f"{name} has to be the path of a file, not {'its content' if str(path) else 'an empty str'}")


def _certificate_fault(certificate: FilePath, key: FilePath | None, error: OSError) -> str | None:
    """Return what is wrong with the files, or None if only OpenSSL's ``error`` can say.

    OpenSSL calls the most common mistakes, such as a missing key or swapped files, "PEM lib", and never says which of the
    two files it means.
    """
    # PEM names each part: -----BEGIN CERTIFICATE-----, -----BEGIN EC PRIVATE KEY-----.
    for path, kind in ((certificate, "CERTIFICATE"), (key or certificate, "PRIVATE KEY")):
        if Path(path).is_fifo():  # a pipe of the shell, `<(...)`: OpenSSL has read it, and it can't be read twice
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
"""OpenSSL's names for a key that belongs to another certificate. The last name means that the two algorithms differ."""


def _no_password() -> NoReturn:
    """Raise OSError. OpenSSL calls this if the key is encrypted. Without it, OpenSSL would ask on the terminal, and wait."""
    raise OSError("the key is encrypted, and no password was given")
