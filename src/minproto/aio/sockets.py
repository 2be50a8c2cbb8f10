"""From a host and a port to a pipe: connect, listen, accept, TLS. All of it works the same on every event loop.

    client                                              server
      connect_pipe(address, ssl)                          Acceptor(await listen(host, port), accepted)
        dial: the fastest of the host's addresses  --->     accept: up to 128 connections in one turn of the loop
        make_pipe: the TLS handshake               <-->     make_pipe: the TLS handshake, which chooses the protocol (ALPN)
        a Pipe                                              a Pipe

asyncio can do each of these steps, but with defaults that a network program does not want:

- ``create_connection`` tries the addresses of a host one after the other. If the IPv6 route to a host swallows every
  packet, the host is out of reach, although its IPv4 address would answer at once. ``dial`` tries the next address 0.25 s
  after the previous one, and the first to answer wins (RFC 8305, "Happy Eyeballs").
- ``create_server("localhost", 0)`` listens on 127.0.0.1 and on ::1, on two different ports. ``listen`` finds one port that is
  free on both.
- When the process runs out of file descriptors, asyncio's server repeats the failed accept 1,024 times, and logs each failure.
  ``Acceptor`` tries again after a second, and logs one line when the trouble begins and one when it is over.
- The TLS handshake of a silent peer may take 60 s, and the end of TLS 30 s. ``tls_options`` sets how long we wait instead.

What is easy to get wrong:

- A connection attempt that came in second may succeed after all. Its socket has to be closed, or the server at the other end
  waits for a request that never comes.
- After ``accept`` has failed, the listening socket is still readable. An event loop that keeps watching this socket does
  nothing else.
- An error has to say which host, which port and which step: "connection refused" alone leaves the reader of a log guessing.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl as tls
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

from minproto.aio.address import Address
from minproto.aio.cores import chosen
from minproto.aio.pipe import Pipe, StreamPipe

logger = logging.getLogger("minproto")

ATTEMPT_DELAY = 0.25
"""Seconds until ``dial`` tries the next address as well (RFC 8305 §5: "Connection Attempt Delay")."""
BACKLOG = 1024
"""How many connections the kernel may hold until we accept them. A client beyond this has to try again after a second."""
BURST = 128
"""The maximum number of connections accepted in one turn of the loop. After that, the existing connections have their turn."""
ACCEPT_PAUSE = 1.0
"""Seconds after a failed accept until we try again."""
PORT_TRIES = 16
"""The maximum number of ports that we try. Each is free on a host's first address, but we need one that is free on all
addresses."""

LEAST = 1e-9
"""The timeout, in seconds, that we give asyncio instead of 0, which it refuses."""
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST")
"""OpenSSL's names for clear text in place of a TLS record. Different versions of OpenSSL use different names."""

_AddressInfo = tuple[Any, ...]
"""One element of what ``getaddrinfo`` returns: family, type, protocol, canonical name, address."""


# ---- connecting ---------------------------------------------------------------------------------------------------------


async def dial(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first address of ``host`` that answers.

    For example, ``example.org`` has the addresses 2001:db8::1 and 192.0.2.1, and a broken router drops all IPv6:

        0.00 s   connect to 2001:db8::1      no answer
        0.25 s   connect to 192.0.2.1        the first one may still answer
        0.27 s   192.0.2.1 has answered      return its socket, and cancel the first attempt

    An address that refuses at once costs no delay: the next attempt starts as soon as the previous one has failed. Raises
    OSError. Its text names the host if no address was found. If the attempts have failed in different ways, the text has each
    error.
    """
    waiting = _interleaved(await _resolve(host, port))  # addresses that we have not tried
    running: set[asyncio.Task[socket.socket]] = set()  # attempts without an answer so far
    errors: list[OSError] = []  # from the attempts that have failed
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_dial_one(waiting.pop(0))))
            delay = ATTEMPT_DELAY if waiting else None  # after the last address there is nothing else to start
            done = (await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED))[0]
            for task in done:
                running.remove(task)  # so the ``finally`` below cancels the other attempts, not this one
                if (error := task.exception()) is None:
                    return task.result()
                if not isinstance(error, OSError):  # a bug, not the network's doing
                    raise error
                errors.append(error)
    finally:
        for task in running:
            task.cancel()  # too late for a task that has already connected: its socket has to be closed
            task.add_done_callback(_close_unused)
    raise _one_of(errors)


async def _resolve(host: str, port: int) -> Sequence[_AddressInfo]:
    """Return the addresses of a host, as ``getaddrinfo`` does. Raises socket.gaierror, an OSError, which names the host."""
    # getaddrinfo blocks, so the loop runs it in a thread. There a slow DNS server delays nothing else.
    name = "localhost" if host == "localhost." else host  # RFC 6761 §6.3: the same name; in /etc/hosts it has no dot
    with suppress(socket.gaierror):  # raised for a name. For an IP address, no network and no thread is needed
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:  # the error's own text does not say which name
        raise socket.gaierror(error.errno, f"no address of {host}: {error.strerror}") from error
    return list(dict.fromkeys(found))  # some resolvers give an address twice


def _interleaved(found: Sequence[_AddressInfo]) -> list[_AddressInfo]:
    """Return IPv6 and IPv4 addresses alternately, beginning with the family of the first address (RFC 8305 §4).

    A host may have eight IPv6 addresses. If IPv6 is broken, that costs one delay in this order, not eight.
    """
    first = [info for info in found if info[0] == found[0][0]]
    others = [info for info in found if info[0] != found[0][0]]
    return [info for info in chain.from_iterable(zip_longest(first, others)) if info is not None]


async def _dial_one(info: _AddressInfo) -> socket.socket:
    """Return a socket that is connected to one address. Raises OSError. A call that is cancelled leaves no socket open."""
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)  # or connect() would stop the whole loop until the peer answers
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_unused(task: "asyncio.Task[socket.socket]") -> None:
    """Close the socket of an attempt that succeeded after another had won."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _one_of(errors: list[OSError]) -> OSError:
    """Return the error for the user: the first error if all are alike, otherwise an error with the texts of all."""
    if len({error.errno for error in errors}) == 1:
        return errors[0]
    return OSError("; ".join(str(error) for error in errors))


async def connect_pipe(
    address: Address, ssl: tls.SSLContext | None = None, *, handshake: float = 10.0, linger: float = 2.0
) -> Pipe:
    """Connect, over TLS if there is a context, within ``handshake`` seconds, and return the pipe.

    ``linger``: how many seconds the peer has to answer our close_notify with its own, when we close. Raises ValueError for
    port 0, OSError, and its subclass TimeoutError, which says what the peer did not answer.
    """
    if not address.port:
        raise ValueError(f"can't connect to port 0 of {address.connect_host}: give the port that the server listens on")
    options = {} if ssl is None else {"server_hostname": address.server_name} | tls_options(ssl, handshake, linger)
    missing = "no answer"
    try:
        async with asyncio.timeout(handshake):  # one time limit for all of it: DNS, TCP, and the TLS handshake
            sock = await dial(address.connect_host, address.port)
            missing = "no answer to the TLS handshake"
            return await make_pipe(sock, **options)
    except TimeoutError as error:
        raise TimeoutError(f"can't reach {address}: {missing} within {handshake:g} s") from error
    except ConnectionResetError as error:
        if str(error):
            raise
        # asyncio raises this error without a text if the peer ends TCP in the middle of the handshake.
        raise ConnectionResetError(f"{address} ended the connection during the TLS handshake") from error
    except tls.SSLError as error:
        if error.reason not in NO_TLS:
            raise
        raise ConnectionError(f"{address} does not speak TLS: its answer is not a TLS record") from error


async def make_pipe(sock: socket.socket, **options: Any) -> Pipe:
    """Return the pipe on a client's connected socket. ``options`` are asyncio's options for TLS.

    Raises OSError if the TLS handshake fails, and then closes the socket.
    """
    loop = asyncio.get_running_loop()
    pipes: list[Pipe] = []
    try:
        await loop.create_connection(lambda: chosen(StreamPipe).protocol(pipes.append), sock=sock, **options)
    except BaseException:
        sock.close()
        raise
    return pipes[0]


async def open_unix_pipe(path: str) -> Pipe:
    """Connect to the Unix socket at ``path``. Raises OSError, whose text names the path.

    The loop's own ``create_unix_connection`` is not used: that of uvloop cuts off the end of a path that is too long, and then
    looks for another file.
    """
    try:
        sock = await _dial_one((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
    except (OSError, ValueError) as error:
        raise OSError(*_number_and_reason(error), path) from error
    return await make_pipe(sock)


def _number_and_reason(error: OSError | ValueError) -> tuple[int, str]:
    """Return an error's number and text. Python itself refuses a path with a NUL, or one that is too long for a Unix socket,
    before the kernel sees the path. So those errors have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, error.strerror or ""
    return errno.EINVAL, str(error)


def tls_options(ssl: tls.SSLContext, handshake: float, linger: float) -> dict[str, Any]:
    """Return asyncio's options for a connection over TLS. Its defaults are 60 s for the handshake and 30 s for the end."""
    times = {"ssl_handshake_timeout": max(handshake, LEAST), "ssl_shutdown_timeout": max(linger, LEAST)}
    return {"ssl": ssl, **times}


def keep_alive(pipe: Pipe, seconds: int) -> None:
    """Have the kernel ask, after ``seconds`` of silence, whether the peer's machine still exists.

    As in Redis, the kernel asks three times within another ``seconds`` seconds. If nobody answers, the connection is lost. A
    pipe that is not a TCP connection is left as it is.
    """
    sock = pipe.info("socket")
    if sock is None or sock.family == socket.AF_UNIX:  # in memory or on this machine: there is no network that can fail
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        for option, value in ((socket.TCP_KEEPIDLE, seconds), (socket.TCP_KEEPINTVL, seconds // 3), (socket.TCP_KEEPCNT, 3)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


# ---- listening ----------------------------------------------------------------------------------------------------------


async def listen(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return sockets that listen on every address of ``host``, all on one port. Raises OSError, which names host and port.

    ``reuse_port``: several processes may listen on the port, and the kernel spreads the connections over them.

    ``port`` 0 means any port that is free on all addresses. The system finds a free port for the first address. If another
    program has that port on the second address, we start over with another port.

    "0.0.0.0" means every IPv4 address, and "::" every IPv6 address. On Linux a socket on "::" accepts IPv4 as well, unless it
    is told not to; on other systems it does not. Here it accepts IPv6 only, on every system.
    """
    found = await _resolve(host, port)
    tries = PORT_TRIES if port == 0 else 1  # the port that is free on the first address may be taken on another
    while True:  # until a return, or the last try's error
        tries -= 1
        try:
            return _listen_on_all(found, port, reuse_port)
        except OSError as error:
            if not tries or error.errno != errno.EADDRINUSE:  # not allowed, or no such address: another try would not help
                text = f"can't listen on {host}, port {port}: {(error.strerror or str(error)).lower()}"
                raise OSError(error.errno, text) from error


def _listen_on_all(found: Sequence[_AddressInfo], port: int, reuse_port: bool) -> list[socket.socket]:
    """Return a socket for each address that this machine has, or raise OSError and leave no socket open.

    An address that the machine does not have is not an error as long as it has another one: /etc/hosts often has ::1 for
    localhost, even on machines without IPv6.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for info in found:
            try:
                sockets.append(_listen_on(info, port, reuse_port))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                missing = error
            else:
                port = sockets[0].getsockname()[1]  # if it was 0, the system has chosen a port, for the next addresses as well
        if missing is not None and not sockets:
            raise missing
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen_on(info: _AddressInfo, port: int, reuse_port: bool) -> socket.socket:
    """Return a socket that listens on one address. If it raises OSError, it leaves no socket open."""
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        # Connections of a previous server on this port are in TIME_WAIT for a minute: they have ended, but the kernel still
        # expects late packets. Without this option, bind() would fail for that minute.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # or the socket would accept IPv4 as well, and collide with the IPv4 socket
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address[0], port, *address[2:]))  # after the port, IPv6 has the flow label and the zone
        sock.listen(BACKLOG)  # from here on, the kernel accepts connections, and keeps them until we ask
    except BaseException:
        sock.close()
        raise
    return sock


# Besides a port there are two places to listen. A Unix socket is a file: only programs on this machine that may open the file
# can connect, so a proxy in front of the server needs no port. And a service manager can open the socket itself, and pass it
# on (socket activation). Then the socket outlives the server: while one process ends and the next one starts, clients wait in
# the kernel's queue, and none is refused.


def listen_on_path(path: str) -> socket.socket:
    """Return a Unix socket that listens at ``path``. Raises OSError, which names the path.

    Unlike a port, the file of a Unix socket stays when its process ends. A server that was killed leaves its file behind, and
    ``bind`` would fail because of it. So a file that is a socket, and on
    which nobody listens, is removed. Any other file stays, and is an error.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if _is_left_behind(path):
            os.unlink(path)
        sock.bind(path)
        sock.listen(BACKLOG)
    except (OSError, ValueError) as error:
        sock.close()
        number, reason = _number_and_reason(error)
        raise OSError(number, f"can't listen on {path!r}: {reason.lower()}") from error
    return sock


def _is_left_behind(path: str) -> bool:
    """Return whether there is a socket at ``path`` on which nobody listens.

    A connection attempt tells: the kernel refuses it at once if no process has the socket open. If a server is there, the
    attempt succeeds, and ends before any byte is sent.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def adopt(given: socket.socket | int) -> socket.socket:
    """Return a socket that somebody else has opened, and that listens: systemd passes such sockets as file descriptors.

    A descriptor is only a number, and a wrong number may be the descriptor of a file or of a client's connection. So the
    kernel is asked whether the socket listens.

    Raises OSError for a descriptor that is not open, or that is not a listening socket.
    """
    try:
        sock = socket.socket(fileno=given) if isinstance(given, int) else given
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise OSError(error.errno, f"can't listen on file descriptor {given}: {(error.strerror or '').lower()}") from error
    if not listens:
        number = sock.fileno()
        if isinstance(given, int):
            sock.detach()
        raise OSError(errno.EINVAL, f"can't listen on file descriptor {number}: its socket does not listen")
    sock.setblocking(False)
    return sock


# ---- accepting ----------------------------------------------------------------------------------------------------------


class Acceptor:
    """Accepts connections on listening sockets, and calls ``accepted`` with the socket of each, until ``close``.

    The loop calls ``_accept`` when a listening socket is readable, which means that a client is waiting. One call accepts up
    to ``BURST`` connections, until the kernel has no more. So a burst of clients costs few turns
    of the loop, and the existing connections are served in between.
    """

    def __init__(self, sockets: list[socket.socket], accepted: Callable[[socket.socket], None]) -> None:
        self._sockets = sockets
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # runs while we pause after a failure
        self._failing = False  # accept has failed, and the kernel's queue has not been empty since
        self.host: str
        """The address of the first socket, as the system spells it: "0.0.0.0" if the user wrote "0". Of a Unix socket: the
        path."""
        self.port: int | None = None
        """The port of all sockets; None for a Unix socket."""
        if sockets[0].family == socket.AF_UNIX:
            self.host = os.fsdecode(sockets[0].getsockname())
        else:
            self.host, self.port = sockets[0].getsockname()[:2]
        self._watch()

    def close(self) -> None:
        """Accept the clients that wait in the kernel's queue, and close the listening sockets.

        From now on the kernel refuses clients. It would also reset the connections of those in the queue, which have got their
        connection, and may have sent a request.
        """
        self._unwatch()
        for sock in self._sockets:
            for _ in range(0, BACKLOG, BURST):
                self._accept(sock)
            sock.close()
        self._sockets = []

    @property
    def _name(self) -> str:
        return self.host if self.port is None else f"port {self.port}"

    def _watch(self) -> None:
        """Have the loop call us when a client is waiting."""
        self._timer = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _unwatch(self) -> None:
        """Stop the loop from calling us, whether for a client or at the end of a pause."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            return
        for sock in self._sockets:
            self._loop.remove_reader(sock)

    def _accept(self, sock: socket.socket) -> None:
        """Accept the connections that the kernel has, up to ``BURST``. The loop calls this."""
        for _ in range(BURST):
            if sock.fileno() < 0:  # ``accepted`` has called ``close``, for the previous connection
                return
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, InterruptedError):  # no more clients are waiting
                return self._recover()
            except ConnectionAbortedError:  # the client gave up while it was in the kernel's queue
                continue
            except OSError as error:
                return self._pause(error)
            connection.setblocking(False)  # not every system copies this setting from the listening socket
            self._accepted(connection)

    def _pause(self, error: OSError) -> None:
        """Stop watching the sockets for a second. Most often the process is out of file descriptors (EMFILE).

        The client stays in the kernel's queue, so the listening socket stays readable. The loop would call us again in each
        turn, we would fail each time, and the process would be busy with nothing else.
        """
        if not self._failing:  # one line when the trouble begins, not one a second
            self._failing = True
            logger.warning("%s can't accept connections: %s; the server tries again every second", self._name, error)
        self._unwatch()
        self._timer = self._loop.call_later(ACCEPT_PAUSE, self._watch)

    def _recover(self) -> None:
        """Note that the kernel's queue is empty: no client waits. After a failure, log that connections are accepted again."""
        if self._failing:
            self._failing = False
            logger.info("%s accepts connections again", self._name)


async def accept_pipe(sock: socket.socket, connected: Callable[[Pipe], None], **options: Any) -> None:
    """Call ``connected`` with the pipe on an accepted socket; over TLS, when the handshake is done.

    ``options`` are asyncio's options for TLS: see ``tls_options``. Raises OSError (SSLError and TimeoutError are subclasses).
    """
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: chosen(StreamPipe).protocol(connected), sock, **options)
