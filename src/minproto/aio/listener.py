"""The life of a server, whatever it serves: listen, accept, serve, drain, stop.

A server that ends with ``sys.exit()`` cuts off every response in flight. A server that waits for its clients may wait
for ever. This file is the middle way, for all servers of the package. A subclass of ``Listener`` only says what a pipe
becomes: a connection of HTTP or of RESP.

    listen       sockets.listen(host, port)             listening sockets, all on one port
      |
    accept       sockets.Acceptor --> _accepted(sock)   the connection takes one of max_connections places
      |                                |
      |                                | a task: _make_pipe. Over TLS: the handshake, in which ALPN chooses the protocol
      |                                v
    serve                            admit(pipe) -------> _connect(pipe)   HTTP/1.1, HTTP/2, RESP: the subclass decides
      |                                |                        |
      |                                | is full                | has room
      |                                v                        v
      |                        connection.refuse()       connection.run(), one task per connection
      |                          say "too many"                 |
    drain        close() ----------------------------->  connection.drain()    finish the request in flight
                                                           (a new connection first gets FIRST_REQUEST seconds)
      |                                                         |
    stop         after Timeouts.drain: cancel the task          v
                                                             it ends

The server owns its connections: each is one task, and no task outlives the server. An ``asyncio.TaskGroup`` would own the
tasks as well. But a TaskGroup ends all tasks when one fails, and it waits for ever for a task that ignores its cancellation. A
server must do neither of these: one broken connection must not end the others, and a handler that never returns must
not keep the process from exiting.

What is easy to get wrong:

- A client has to count as soon as it is accepted. Otherwise clients that stay silent in the TLS handshake would have no limit.
- To refuse a client politely takes a file descriptor, so some descriptors are kept back (``RESERVED_FILES``).
- "Stop" has three stages: accept no one, finish the requests in flight, cut off those that are late. Two signals skip the
  second stage.
"""

import asyncio
import os
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
from minproto.aio.content import stop_task
from minproto.aio.observe import APP_FAILURES, Counts, Metrics, logger
from minproto.aio.options import Timeouts, check_function, check_loop, check_text, check_tls, check_type
from minproto.aio.output import standard_output
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import Acceptor, accept_pipe, adopt, listen, listen_on_path, tls_options
from minproto.core import check_count

MAX_REFUSALS = 32
"""How many clients beyond the maximum are refused with an answer (a 503, say) at one time. Further connections are closed
without an answer: being polite costs a task and a file descriptor, and a flood of connections must not cost us more of
both."""
RESERVED_FILES = MAX_REFUSALS + 32
"""File descriptors kept free of clients' sockets: for refusals, the listening sockets, the log, and the app's own files."""
FIRST_REQUEST = 1.0
"""How old a connection has to be, in seconds, before a stopping server closes it without having received a byte on it. The
first request of a younger one is on its way: closed at once, its client would get no answer, and fail."""
LAST_WAIT = 1.0
"""Seconds that handlers have to clean up after they are cancelled."""
OPEN_MAX = 10_240
"""How many descriptors we ask for if the system says that there is no limit, and yet refuses "no limit" (macOS)."""
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""An address that means all addresses, so nobody can connect to it -> the address that a program on this machine uses."""


@dataclass(frozen=True)
class ListenerConfig:
    """The options that every server has. Raises TypeError or ValueError for a wrong value: one line that names the option."""

    host: str = "127.0.0.1"
    """The name or address to listen on. "0.0.0.0" is every IPv4 address, "::" every IPv6 address. A name with several
    addresses, such as "localhost" on most machines, means all of them, on one port."""
    port: int = 0
    """0: any free port. ``Listener.port`` says which port it is."""
    path: str | None = None
    """Listen on a Unix socket at this path, and not on a port: for a proxy on the same machine. The server removes the file at
    its end, unless another server has taken the path since. Who may connect is a matter of the file's permissions."""
    sock: socket | None = None
    """Listen on this socket, which listens already. A test can make one on a free port, and knows the port before the server
    starts. The server closes it at its end."""
    fd: int | None = None
    """Listen on the socket with this file descriptor. systemd passes such sockets, from number 3 on (*socket activation*).
    While the server restarts, the socket stays open in systemd, and clients wait in the kernel's queue."""
    reuse_port: bool = False
    """Several processes may listen on the port, and the kernel spreads the connections over them (SO_REUSEPORT). Each of them
    needs the option. A process that ends takes the connections in its own queue with it: for a restart without loss, use
    ``fd``."""
    ssl: tls.SSLContext | None = None
    """Serve over TLS, with this context. ``minproto.tls_context`` makes one."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """How long to wait, and for what."""
    max_connections: int = 10_000
    """Connections at one time; further ones are refused, so 0 refuses all. Each costs some 10 KiB and a file descriptor, so
    the number is lower if the process may not open that many files. A connection counts as soon as it is accepted: a client
    that never finishes its TLS handshake takes a slot as well."""
    metrics: Metrics | None = None
    """Counts connections, requests and bytes."""
    on_drain: Callable[[], None] | None = None
    """Called when the server begins to stop. In it an app can answer requests that would delay the end, such as long polls.
    Requests that are on their way may still arrive in the next second."""

    def __post_init__(self) -> None:
        Address(self.host, self.port)  # an Address checks the host and the port
        self._check_place()
        check_tls("ssl", self.ssl, server=True)
        check_type("timeouts", self.timeouts, Timeouts)
        check_count("max_connections", self.max_connections, 0)
        check_type("metrics", self.metrics, Metrics, or_none=True)
        if self.on_drain is not None:
            check_function("on_drain", self.on_drain)

    def _check_place(self) -> None:
        """Check the options that say where to listen, other than host and port.

        Host and port have defaults, so they are ignored where one of the others is given. Two of the others contradict each
        other, and nobody could say which of the two is meant. Whether a path or a descriptor can be listened on shows only
        when the server starts: then it is an OSError.
        """
        check_type("path", self.path, str, or_none=True)
        if self.path is not None:
            check_text("path", self.path)
        check_type("sock", self.sock, socket, or_none=True)
        if self.fd is not None:
            check_count("fd", self.fd, 0)
        check_type("reuse_port", self.reuse_port, bool)
        given = [name for name in ("path", "sock", "fd") if getattr(self, name) is not None]
        if len(given) + self.reuse_port > 1:
            names = " and ".join([*given, *(["reuse_port"] if self.reuse_port else [])])
            raise ValueError(f"{names} exclude each other: a server listens in one place")


class ListenerOptions(TypedDict, total=False):
    """The fields of ``ListenerConfig`` as keyword arguments, for editors and type checkers. A test compares the two."""

    host: str
    port: int
    path: str | None
    sock: socket | None
    fd: int | None
    reuse_port: bool
    ssl: tls.SSLContext | None
    timeouts: Timeouts
    max_connections: int
    metrics: Metrics | None
    on_drain: Callable[[], None] | None


class Connection(Protocol):
    """One client's connection, in any protocol. A server calls ``run`` or ``refuse``, once."""

    @property
    def endpoint(self) -> Counts:
        """The object that counts the connection's bytes."""

    async def run(self) -> None:
        """Serve until the connection ends. Raises CancelledError if it is cancelled; any other exception is a bug of ours."""

    async def refuse(self) -> None:
        """Tell the client in its own protocol that there are too many connections, and end this one."""

    def drain(self) -> None:
        """Finish the requests that have arrived, and then end the connection. If no request has arrived, end it now."""

    def abort(self) -> None:
        """End the connection at once, whatever the handler is doing."""


class Listener(ABC):
    """A server: ``async with listener:`` serves until the block is left, and then drains.

    In ``_connect`` a subclass decides what connection a pipe becomes.
    """

    scheme: ClassVar[str]
    """The scheme of the server's URL, to which TLS adds an "s": "http", "https"."""
    config: ListenerConfig

    def __init__(self, config: ListenerConfig) -> None:
        self.config = config
        self._acceptor: Acceptor | None = None
        self._inode = 0  # of the file of our Unix socket: another server may have taken its path since
        # Each connection is in one of these three sets. The first two sets take the slots of max_connections.
        self._handshakes: set[asyncio.Task[None]] = set()  # accepted, but without a pipe yet
        self._connections: dict[asyncio.Task[None], Connection] = {}  # being served
        self._refusals: set[asyncio.Task[None]] = set()  # beyond max_connections, while a refusal is sent
        self._opened: dict[asyncio.Task[None], float] = {}  # the loop's time at which each of these connections began
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop in which the server runs

    @abstractmethod
    def _connect(self, pipe: Pipe) -> Connection:
        """Return the connection that serves a client on this pipe. Over TLS the handshake is done."""

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError, which names host and port, and RuntimeError if the server has served before."""
        if self._acceptor is not None or self._draining:
            raise RuntimeError("a server serves once: make another")
        self._loop = asyncio.get_running_loop()
        # Each socket takes a file descriptor. With fewer descriptors than max_connections, accept() would fail before the
        # server is full, and a client would wait in the kernel's queue without an answer. A refusal tells the client why.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files != resource.RLIM_INFINITY:
            room = max(1, files - RESERVED_FILES)
            self.config = replace(self.config, max_connections=min(self.config.max_connections, room))
        self._acceptor = Acceptor(await self._open_sockets(), self._accepted)
        return self

    async def _open_sockets(self) -> list[socket]:
        """Return the listening sockets for the place that the options name: one of these, in this order.

            path             a Unix socket, which we make, and whose file we remove at the end
            sock, fd         a socket that somebody else has made
            host and port    a socket for each address of the host
        """
        config = self.config
        if config.path is not None:
            sock = listen_on_path(config.path)
            self._inode = os.stat(config.path).st_ino
            return [sock]
        if config.sock is not None:
            return [adopt(config.sock)]
        if config.fd is not None:
            return [adopt(config.fd)]
        return await listen(config.host, config.port, reuse_port=config.reuse_port)

    async def __aexit__(self, *error: object) -> None:
        """Drain the server, even if the block has failed: the clients have done nothing wrong."""
        await self.close()

    @property
    def port(self) -> int:
        """The port that the server listens on. Raises RuntimeError while it does not listen, and for a Unix socket."""
        port = self._listening.port
        if port is None:
            raise RuntimeError(f"the server listens on {self._listening.host}, which has no port")
        return port

    @property
    def url(self) -> str:
        """The URL at which a program on this machine reaches the server; ``unix:PATH`` for a Unix socket. Raises RuntimeError
        while the server does not listen."""
        if self._listening.port is None:
            return f"unix:{self._listening.host}"
        given = self.config.sock is not None or self.config.fd is not None
        host = LOOPBACK.get(self._listening.host, self._listening.host if given else self.config.host)
        return Address(host, self.port).url(f"{self.scheme}s" if self.config.ssl else self.scheme)

    @property
    def is_everywhere(self) -> bool:
        """Whether the server listens on all addresses, even if they are spelt differently, such as "0" for "0.0.0.0"."""
        return self._listening.host in LOOPBACK

    @property
    def _listening(self) -> Acceptor:
        """The acceptor. Raises RuntimeError while the server does not listen."""
        if self._acceptor is None or self._draining:
            raise RuntimeError("the server does not listen")
        return self._acceptor

    # -- connections

    @property
    def _is_full(self) -> bool:
        """Whether all slots are taken. Refusals take no slots: MAX_REFUSALS bounds them."""
        return len(self._connections) + len(self._handshakes) >= self.config.max_connections

    def _accepted(self, sock: socket) -> None:
        """Start a task for a client that has connected. The acceptor calls this.

        The client takes its slot now, not when its TLS handshake is done. Otherwise a flood of clients that stay silent in
        their handshakes would have no limit.
        """
        waiting = self._refusals if self._is_full else self._handshakes
        if len(self._refusals) >= MAX_REFUSALS and waiting is self._refusals:
            return sock.close()
        task = asyncio.create_task(self._make_pipe(sock))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    async def _make_pipe(self, sock: socket) -> None:
        """Turn a socket into a pipe, which takes as long as the TLS handshake, and serve the client on it. Runs in a task."""
        task, ssl, timeouts = asyncio.current_task(), self.config.ssl, self.config.timeouts

        def connected(pipe: Pipe) -> None:
            self._handshakes.discard(task)  # ``admit`` takes the slot again in the same step
            self._refusals.discard(task)
            try:
                self.admit(pipe)
            except BaseException:  # asyncio would only log the error, and the client would wait
                pipe.abort()
                raise

        options = {} if ssl is None else tls_options(ssl, timeouts.handshake, timeouts.linger)
        with suppress(OSError):  # a failed handshake is the client's business. SSLError and TimeoutError are OSErrors
            await accept_pipe(sock, connected, **options)

    def attach(self, pipe: Pipe) -> None:
        """Serve a new client on this pipe. Tests do this with pipes in memory."""
        if self._draining:
            return pipe.abort()
        self.admit(pipe)

    def admit(self, pipe: Pipe) -> None:
        """Serve a client that was accepted, even if the server has begun to stop since. A subclass may wrap the pipe."""
        if len(self._refusals) >= MAX_REFUSALS:  # the limit may have been reached since the accept
            return pipe.abort()
        connection = self._connect(pipe)
        if self._is_full:
            refusal = asyncio.create_task(connection.refuse())
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)
            return refusal.add_done_callback(partial(_reset_failed, connection))
        if self.config.metrics is not None:
            self.config.metrics.opened(connection.endpoint)
        # asyncio may run the task immediately (eager tasks), even to completion. ``_remove`` is still called later.
        task = asyncio.create_task(connection.run())
        self._connections[task] = connection
        self._opened[task] = asyncio.get_running_loop().time()
        task.add_done_callback(self._remove)
        if self._draining:  # the TLS handshake had begun before
            self._drain_soon(task)

    def _remove(self, task: asyncio.Task[None]) -> None:
        """Free the slot of a connection whose task is done."""
        connection = self._connections.pop(task)
        del self._opened[task]
        if self.config.metrics is not None:
            self.config.metrics.closed(connection.endpoint)
        _reset_failed(connection, task)

    # -- the end

    async def close(self) -> None:
        """Stop accepting, finish the requests in flight, and cut off the requests that are not done at the deadline.

        A second call waits until the first call is done. Raises RuntimeError when called from a thread other than the loop's.
        """
        if self._loop is not None:
            check_loop(self._loop, "asyncio.run_coroutine_threadsafe(server.close(), loop)")
        if not self._draining:
            self._drain()
        try:
            await self._wait(self.config.timeouts.drain)
        finally:  # even if our own task is cancelled meanwhile
            self.abort()
        await self._wait(LAST_WAIT)  # the tasks are cancelled: now they may close files and databases
        for connection in self._connections.values():
            logger.error("a handler ignores that it is cancelled")  # the handler keeps running, but without its client
            connection.abort()

    def _drain(self) -> None:
        """Begin to stop the server: from now on, no new client is served."""
        self._draining = True
        if self._acceptor is not None:
            self._acceptor.close()
            if self.config.path is not None:
                with suppress(OSError):  # somebody else has removed the file
                    if os.stat(self.config.path).st_ino == self._inode:
                        os.unlink(self.config.path)
        loop = asyncio.get_running_loop()
        for task in self._handshakes:  # these clients have asked for nothing yet, but they are about to
            loop.call_later(FIRST_REQUEST, task.cancel)
        if self.config.on_drain is not None:
            try:
                self.config.on_drain()
            except APP_FAILURES:
                logger.exception("on_drain failed")
        for task in list(self._connections):  # a copy: an idle connection may end at once
            self._drain_soon(task)

    def _drain_soon(self, task: asyncio.Task[None]) -> None:
        """Drain a connection: now, or ``FIRST_REQUEST`` seconds after it began if its client has not sent a byte."""
        connection, loop = self._connections[task], asyncio.get_running_loop()
        wait = self._opened[task] + FIRST_REQUEST - loop.time()
        if connection.endpoint.received == 0 and wait > 0:
            loop.call_later(wait, connection.drain)
        else:
            connection.drain()

    def abort(self) -> None:
        """Cut off all connections now, by cancelling their tasks. Raises RuntimeError when called from another thread."""
        if self._loop is not None:
            check_loop(self._loop, "loop.call_soon_threadsafe(server.abort)")
        for task in self._tasks():
            stop_task(task)

    async def _wait(self, seconds: float) -> None:
        """Wait up to ``seconds`` seconds until there is no task. A handshake that ends well is followed by a connection."""
        clock = asyncio.get_running_loop().time
        ends = clock() + seconds
        while (tasks := self._tasks()) and clock() < ends:
            await asyncio.wait(tasks, timeout=ends - clock())

    def _tasks(self) -> set[asyncio.Task[None]]:
        """Return all tasks of the server, as a copy: the sets change when a task ends."""
        return {*self._connections, *self._refusals, *self._handshakes}


def _reset_failed(connection: Connection, task: asyncio.Task[None]) -> None:
    """Reset a connection whose task failed through a bug of ours: its client must not wait for an answer that never comes."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a connection failed", exc_info=error)
        connection.abort()


def _announced(listener: Listener) -> str:
    """Return the line that names a server's URL. It also says if other machines can reach the server: a URL does not."""
    everywhere = " and all other addresses of this machine" if listener.is_everywhere else ""
    return f"minproto serves on {listener.url}{everywhere}\n"


async def serve_until_signal(*listeners: Listener) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM, then drain all servers; a second signal stops at once. Prints the URLs.

    Raises OSError if a server can't listen, RuntimeError outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("only the main thread gets signals: in another one, use `async with Server(...)`")
    async with _until_signal(listeners) as stopped, AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        output = standard_output()
        # All URLs at once, and only after every server has started: a script may wait for this line before it connects.
        output.write("".join([_announced(listener) for listener in listeners]))
        output.flush()
        await stopped.wait()
        # All together: one after the other, each would begin its Timeouts.drain only when the previous server has ended.
        await asyncio.gather(*(listener.close() for listener in listeners))


@asynccontextmanager
async def _until_signal(listeners: Sequence[Listener]) -> AsyncIterator[asyncio.Event]:
    """Yield an event that the first signal sets. A second signal aborts the servers: the operator is impatient."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        if stopped.is_set():  # the second signal
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
            loop.remove_signal_handler(number)  # this leaves Python's default, not the handler that the program had
            signal.signal(number, handler or signal.SIG_DFL)


def raise_file_limit() -> None:
    """Raise this process's limit on open files as far as the system permits.

    Each connection counts as a file, and the usual limit is 1,024.
    A limit has two values. The soft limit applies, and a process may raise it as far as the hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wish in (hard, OPEN_MAX):
        if soft == resource.RLIM_INFINITY or (wish != resource.RLIM_INFINITY and wish <= soft):
            return
        with suppress(OSError, ValueError):  # macOS refuses RLIM_INFINITY, although it says that this is the limit
            return resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))
