"""The life of a server, whatever it serves: listen, accept, serve, drain, stop.

A server owns its connections: each is one task, and none outlives the server. A TaskGroup would do that, too, but it ends
everything when one task fails, and waits without end for one that ignores its cancellation; a server must do neither.

To stop is to stop accepting, then to let each connection finish what it was asked, and at a deadline to cut off the rest. A
handler that never returns does not hold that up.
"""

import asyncio
import resource
import signal
import ssl as tls
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from socket import socket
from typing import ClassVar, Protocol, Self, TypedDict

from minproto.aio.address import Address
from minproto.aio.observe import APP_FAILURES, Counts, Metrics, logger
from minproto.aio.options import Timeouts, check_function, check_loop, check_tls, check_type
from minproto.aio.output import standard_output
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import Acceptor, accept_pipe, listen, tls_options
from minproto.core import check_count

MAX_REFUSALS = 32
"""Connections over the maximum that are being told so; beyond these, one is closed without a word."""
RESERVED_FILES = MAX_REFUSALS + 32
"""Files that the process needs besides its clients' sockets."""
LAST_WAIT = 1.0
"""Seconds for cancelled handlers to clean up."""
OPEN_MAX = 10_240
"""Files that a process can ask for where the system has no limit, yet refuses "no limit" as a wish (macOS)."""
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""How a program on this machine reaches a server that listens on all addresses, which is no address to connect to."""


@dataclass(frozen=True)
class ListenerConfig:
    """What any server can be told. Raises TypeError or ValueError for a wrong value, in one line that names the option."""

    host: str = "127.0.0.1"
    """The name or address to listen on. "0.0.0.0" is every address of IPv4, "::" every one of IPv6. A name with several
    addresses, as "localhost" often has, means all of them, on one port."""
    port: int = 0
    """0: any free one."""
    ssl: tls.SSLContext | None = None
    """A server's context, as ``minproto.tls_context`` makes it: serve over TLS."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """How long to wait for what."""
    max_connections: int = 10_000
    """Each costs some 10 KiB and an open file, so fewer where the process may not open so many. Beyond:
    refused, so 0 refuses all. A connection whose TLS handshake is not done counts, too."""
    metrics: Metrics | None = None
    """Counts connections, requests and bytes."""
    on_drain: Callable[[], None] | None = None
    """Called when it begins to stop: for an app to answer what would wait, say a long poll, and hold up the end."""

    def __post_init__(self) -> None:
        Address(self.host, self.port)  # checks both
        check_tls("ssl", self.ssl, server=True)
        check_type("timeouts", self.timeouts, Timeouts)
        check_count("max_connections", self.max_connections, 0)
        check_type("metrics", self.metrics, Metrics, or_none=True)
        if self.on_drain is not None:
            check_function("on_drain", self.on_drain)


class ListenerOptions(TypedDict, total=False):
    """The fields of ``ListenerConfig`` as keyword arguments, which editors and type checkers know."""

    host: str
    port: int
    ssl: tls.SSLContext | None
    timeouts: Timeouts
    max_connections: int
    metrics: Metrics | None
    on_drain: Callable[[], None] | None


class Connection(Protocol):
    """What a server makes of a pipe."""

    @property
    def endpoint(self) -> Counts:
        """Counts the bytes on the wire."""

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError; anything else is a bug of ours."""

    async def refuse(self) -> None:
        """Say that there are too many connections, and end this one."""

    def drain(self) -> None:
        """Finish what was asked, and end; where nothing was, end now."""

    def abort(self) -> None:
        """End at once, whatever its handler does."""


class Listener(ABC):
    """``async with`` it: serves until the block is left; then it drains. Who derives from it says what a pipe becomes."""

    scheme: ClassVar[str]
    """Of its URL; with TLS it gets an "s"."""
    config: ListenerConfig

    def __init__(self, config: ListenerConfig) -> None:
        self.config = config
        self._acceptor: Acceptor | None = None
        self._handshakes: set[asyncio.Task[None]] = set()  # accepted, and each has one of max_connections' places
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._refusals: set[asyncio.Task[None]] = set()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None  # that it serves in

    @abstractmethod
    def _connect(self, pipe: Pipe) -> Connection:
        """What serves a client on this pipe."""

    async def __aenter__(self) -> Self:
        if self._acceptor is not None or self._draining:
            raise RuntimeError("a server serves once: make another")
        self._loop = asyncio.get_running_loop()
        # Where the files of the process run out first, accept() fails, and nobody can be told why.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files != resource.RLIM_INFINITY:
            room = max(1, files - RESERVED_FILES)
            self.config = replace(self.config, max_connections=min(self.config.max_connections, room))
        self._acceptor = Acceptor(await listen(self.config.host, self.config.port), self._accepted)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """The port that it listens on. Raises RuntimeError while it does not."""
        return self._listening.port

    @property
    def url(self) -> str:
        """Where a program on this machine reaches it."""
        host = LOOPBACK.get(self._listening.host, self.config.host)
        return Address(host, self.port).url(f"{self.scheme}s" if self.config.ssl else self.scheme)

    @property
    def is_everywhere(self) -> bool:
        """True where it listens on all addresses, also by another spelling, such as "0" for "0.0.0.0"."""
        return self._listening.host in LOOPBACK

    @property
    def _listening(self) -> Acceptor:
        if self._acceptor is None or self._draining:
            raise RuntimeError("the server does not listen")
        return self._acceptor

    # -- connections

    @property
    def _is_full(self) -> bool:
        return len(self._connections) + len(self._handshakes) >= self.config.max_connections

    def _accepted(self, sock: socket) -> None:
        """A client has connected. It takes its place now: over TLS it may be long, or never, until there is a pipe."""
        waiting = self._refusals if self._is_full else self._handshakes
        if len(self._refusals) >= MAX_REFUSALS and waiting is self._refusals:
            return sock.close()
        task = asyncio.create_task(self._make_pipe(sock))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    async def _make_pipe(self, sock: socket) -> None:
        task, ssl, timeouts = asyncio.current_task(), self.config.ssl, self.config.timeouts

        def connected(pipe: Pipe) -> None:
            self._handshakes.discard(task)
            self._refusals.discard(task)
            try:
                self.attach(pipe)
            except BaseException:  # asyncio only logs it
                pipe.abort()
                raise

        options = {} if ssl is None else tls_options(ssl, timeouts.handshake, timeouts.linger)
        with suppress(OSError):  # of a client's handshake: an SSLError or TimeoutError is one, too
            await accept_pipe(sock, connected, **options)

    def attach(self, pipe: Pipe) -> None:
        """Serve a client on a pipe: what listening does with each connection, and what tests do without a network."""
        if self._draining or len(self._refusals) >= MAX_REFUSALS:
            return pipe.abort()
        connection = self._connect(pipe)
        if self._is_full:
            refusal = asyncio.create_task(connection.refuse())
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)
            return refusal.add_done_callback(partial(_reset_failed, connection))
        if self.config.metrics is not None:
            self.config.metrics.opened(connection.endpoint)
        task = asyncio.create_task(connection.run())
        self._connections[task] = connection
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        connection = self._connections.pop(task)
        if self.config.metrics is not None:
            self.config.metrics.closed(connection.endpoint)
        _reset_failed(connection, task)

    # -- the end

    async def close(self) -> None:
        """Stop accepting, finish what was asked, cut off the rest at the deadline. A second call waits for the same end.

        Raises RuntimeError in another thread than the loop's."""
        if self._loop is not None:
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(server.close(), loop)")
        if not self._draining:
            self._drain()
        try:
            await _wait(self._tasks(), self.config.timeouts.drain)
        finally:
            self.abort()
        await _wait(self._tasks(), LAST_WAIT)
        for connection in self._connections.values():
            logger.error("a handler ignores that it is cancelled")
            connection.abort()

    def _drain(self) -> None:
        self._draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        for task in self._handshakes:
            task.cancel()
        if self.config.on_drain is not None:
            try:
                self.config.on_drain()
            except APP_FAILURES:
                logger.exception("on_drain failed")
        for connection in list(self._connections.values()):
            connection.drain()

    def abort(self) -> None:
        """Cut off all connections now. Raises RuntimeError in another thread than the loop's."""
        if self._loop is not None:
            check_loop(self._loop, "loop.call_soon_threadsafe(server.abort)")
        for task in self._tasks():
            task.cancel()

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {*self._connections, *self._refusals, *self._handshakes}


def _reset_failed(connection: Connection, task: asyncio.Task[None]) -> None:
    """When a connection fails, by a bug of ours, its client must not wait for what will never come."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a connection failed", exc_info=error)
        connection.abort()


async def _wait(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks, but not too long."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def _announced(listener: Listener) -> str:
    """The line that says where a server is: also that it can be reached from other machines, which its URL does not show."""
    everywhere = " and all other addresses of this machine" if listener.is_everywhere else ""
    return f"minproto serves on {listener.url}{everywhere}\n"


async def serve_until_signal(*listeners: Listener) -> None:
    """Serve until SIGINT or SIGTERM, then drain all; a second signal stops at once. Prints the URLs. Raises OSError;
    RuntimeError outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("only the main thread gets signals: in another one, use `async with Server(...)`")
    async with _until_signal(listeners) as stopped, AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        output = standard_output()
        output.write("".join([_announced(listener) for listener in listeners]))  # now that none has failed
        output.flush()
        await stopped.wait()
        await asyncio.gather(*(listener.close() for listener in listeners))  # together, or each has a deadline of its own


@asynccontextmanager
async def _until_signal(listeners: Sequence[Listener]) -> AsyncIterator[asyncio.Event]:
    """An event that the first signal sets; the second aborts the servers."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if stopped.is_set():
            for listener in listeners:
                listener.abort()
        stopped.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)  # leaves Python's default, and not the program's own handler
            signal.signal(number, handler or signal.SIG_DFL)


def raise_file_limit() -> None:
    """Let this process open as many files as it is allowed to: each connection is one, and the usual default is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wish in (hard, OPEN_MAX):
        if soft == resource.RLIM_INFINITY or (wish != resource.RLIM_INFINITY and wish <= soft):
            return
        with suppress(OSError, ValueError):  # macOS refuses RLIM_INFINITY, although it says that this is the limit
            return resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))
