"""TCP sockets, before there is a pipe: connect to a host, listen on a host, accept. The same on every event loop.

asyncio can do each of these, and each has a default that a network program does not want:

- ``create_connection`` tries the addresses of a host one after the other. A host whose IPv6 route swallows every packet is
  out of reach then, although its IPv4 address would answer at once. ``dial`` starts the next address 0.25 s after the one
  before, and the first that answers wins (RFC 8305, "Happy Eyeballs").
- ``create_server("localhost", 0)`` listens on 127.0.0.1 and on ::1, on two different ports. ``listen`` finds one for both.
- When the process has no file left, asyncio's server repeats the failed accept 1,024 times, and logs each. ``Acceptor`` tries
  again after a second, and logs one line when that begins and one when it is over.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

logger = logging.getLogger("minproto")

ATTEMPT_DELAY = 0.25
"""Seconds until the next address is tried, too (RFC 8305 §5: "Connection Attempt Delay")."""
BACKLOG = 1024
"""Connections that the kernel may hold for us between two turns of the loop."""
BURST = 128
"""Connections that are accepted in one turn of the loop; then the others have their turn."""
ACCEPT_PAUSE = 1.0
"""Seconds until accept is tried again after it failed."""
PORT_TRIES = 16
"""How many free ports of the first address are tried on the others."""

_AddressInfo = tuple[Any, ...]  # family, type, protocol, canonical name, address


# ---- connecting ---------------------------------------------------------------------------------------------------------


async def dial(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first address of ``host`` that answers. Raises OSError, which names the host
    where no address was found."""
    waiting = _interleaved(await _resolve(host, port))
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_dial_one(waiting.pop(0))))
            delay = ATTEMPT_DELAY if waiting else None
            done = (await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED))[0]
            for task in done:
                running.remove(task)
                if (error := task.exception()) is None:
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_unused)
    raise _one_of(errors)


async def _resolve(host: str, port: int) -> Sequence[_AddressInfo]:
    name = "localhost" if host == "localhost." else host  # RFC 6761 §6.3: the same, but /etc/hosts knows no dot at the end
    with suppress(socket.gaierror):  # for an IP address, which takes no network and so no thread
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:  # its own text does not say which name
        raise socket.gaierror(error.errno, f"no address of {host}: {error.strerror}") from error
    return list(dict.fromkeys(found))  # some resolvers give an address twice


def _interleaved(found: Sequence[_AddressInfo]) -> list[_AddressInfo]:
    """IPv6 and IPv4 by turns, the family of the first address first (RFC 8305 §4): one broken family costs one delay."""
    first = [info for info in found if info[0] == found[0][0]]
    others = [info for info in found if info[0] != found[0][0]]
    return [info for info in chain.from_iterable(zip_longest(first, others)) if info is not None]


async def _dial_one(info: _AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_unused(task: "asyncio.Task[socket.socket]") -> None:
    """Another address was faster."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _one_of(errors: list[OSError]) -> OSError:
    """The error for the user: the only one, or one with the texts of all."""
    if len({error.errno for error in errors}) == 1:
        return errors[0]
    return OSError("; ".join(str(error) for error in errors))


# ---- listening ----------------------------------------------------------------------------------------------------------


async def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on every address of ``host``, all on one port; ``port`` 0: any port that is free on all of
    them. Raises OSError, which names host and port.

    "0.0.0.0" is every IPv4 address, and "::" every IPv6 address: an IPv6 socket takes no IPv4 here, whatever the system's
    default is.
    """
    found = await _resolve(host, port)
    tries = PORT_TRIES if port == 0 else 1  # the port that is free on the first address may be taken on another one
    while True:
        tries -= 1
        try:
            return _listen_on_all(found, port)
        except OSError as error:
            if not tries or error.errno != errno.EADDRINUSE:
                text = f"can't listen on {host}, port {port}: {(error.strerror or str(error)).lower()}"
                raise OSError(error.errno, text) from error


def _listen_on_all(found: Sequence[_AddressInfo], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for info in found:
            try:
                sockets.append(_listen_on(info, port))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
                missing = error  # this machine has no IPv6, say, though /etc/hosts has ::1
            else:
                port = sockets[0].getsockname()[1]
        if missing is not None and not sockets:
            raise missing
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen_on(info: _AddressInfo, port: int) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # otherwise a restart waits for the old sockets' TIME_WAIT
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address[0], port, *address[2:]))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


# ---- accepting ----------------------------------------------------------------------------------------------------------


class Acceptor:
    """Gives every connection of some listening sockets to ``accepted``, until ``close``, which closes the sockets, too."""

    def __init__(self, sockets: list[socket.socket], accepted: Callable[[socket.socket], None]) -> None:
        self._sockets = sockets
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # until accept is tried again
        self._failing = False  # accept has failed, and has not emptied the kernel's queue since
        self.host: str
        self.port: int
        self.host, self.port = sockets[0].getsockname()[:2]
        self._watch()

    def close(self) -> None:
        """Accept no more. Whoever connects from now on is refused by the kernel."""
        self._unwatch()
        for sock in self._sockets:
            sock.close()
        self._sockets = []

    def _watch(self) -> None:
        self._timer = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            return
        for sock in self._sockets:
            self._loop.remove_reader(sock)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(BURST):
            if sock.fileno() < 0:  # the connection before this one made its owner close us
                return
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, InterruptedError):
                return self._recover()
            except ConnectionAbortedError:  # the client has left the queue already
                continue
            except OSError as error:
                return self._pause(error)
            connection.setblocking(False)
            self._accepted(connection)

    def _pause(self, error: OSError) -> None:
        """Wait: most often the process has no file left (EMFILE). The socket stays readable, so that to watch it meanwhile
        would mean to fail again in every turn of the loop."""
        if not self._failing:
            self._failing = True
            logger.warning("port %d can't accept connections: %s; the server tries again every second", self.port, error)
        self._unwatch()
        self._timer = self._loop.call_later(ACCEPT_PAUSE, self._watch)

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            logger.info("port %d accepts connections again", self.port)
