"""Connect again and again: exponential backoff with jitter, for any client.

    async with aclosing(reconnecting(lambda: connect("ws://a/"))) as connections:
        async for ws in connections:
            async for message in ws:
                ...

When a server comes back after an outage, all its clients connect at once, and may overload it (a *thundering herd*).
So each client waits longer after each failed attempt. And it waits for a random part of that time (*jitter*), so that
clients which lost their connections together do not come back together:

    attempt   connect()               the wait before the next attempt, with first=0.5
    1         ConnectionRefusedError  0.1 to 1 s
    2         ConnectionRefusedError  0.1 to 2 s
    3         ConnectionRefusedError  0.1 to 4 s        (and so on, to at most ``longest``)
    4         a connection            0.1 to 0.5 s after its end

An attempt has succeeded when ``connect`` returns a connection: a WebSocket whose handshake is complete, a response with status
200 and events, a broker that has confirmed a subscription. It does not matter how long the connection lasts,
nor which side ends it: a server of events may close each stream on purpose after one event. WHATWG HTML then has a client wait
for its reconnection time, and back off only if the attempt failed. Even a server that accepts connections and drops them at
once is asked at most ``1 / SHORTEST`` times a second.

Some errors pass with time, and others are permanent. A server that is down may come back, so after ECONNREFUSED there is
another attempt. A certificate for another name stays wrong, so its error is raised at once. ``Attempts.may_pass`` tells the
two kinds apart.

Left out: a maximum number of attempts. The caller can set a limit with ``asyncio.timeout`` or ``break``.
"""

import asyncio
import random
import re
import socket
import ssl as tls
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol, TypeVar

from minproto.aio.observe import logger
from minproto.aio.options import check_seconds, refuse
from minproto.core import RemoteProtocolError
from minproto.http import Headers

SHORTEST = 0.1
"""The minimum number of seconds between two connections, even if the server asks for no pause."""
NO_NAME = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}
"""Error numbers of ``getaddrinfo`` for a name that does not exist, or that has no address."""
NAME_TRIES = 5
"""After this many attempts, a name that does not exist is an error, if no attempt has succeeded before: it is misspelt.

One attempt is not enough: a laptop that is waking up has no DNS for some seconds."""
MAX_REFUSAL = 65_536
"""The maximum number of bytes of a refusal's content that are kept for the user."""
_HINTS = ("location", "retry-after", "www-authenticate")  # fields that say what would be accepted
_BRIEF_TLS_FAULTS = (tls.SSLEOFError, tls.SSLZeroReturnError, tls.SSLSyscallError)
"""TLS errors caused by a server that stops in the middle of a handshake: it may be restarting."""


# ---- an answer that refuses --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RefusedResponse:
    """The response with which a server refused: its status, its header fields, and up to 64 KiB of its content."""

    status: int
    headers: Headers
    body: bytes


class Refused(RemoteProtocolError):
    """The server answered, but did not give what was asked for. ``response`` is its answer, and ``code`` the status.

    The text names the URL, and the fields that help: ``ws://a/: the server answered 302, not 101; location: wss://a/``.
    """

    def __init__(self, message: str, code: int, response: RefusedResponse) -> None:
        hints = "".join(f"; {name}: {value:.200}" for name in _HINTS if (value := response.headers.get(name)) is not None)
        super().__init__(message + hints, code)
        self.response = response


class _Response(Protocol):
    """A client's response, in either version of HTTP."""

    status: int
    headers: Headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces of its content."""


async def read_refusal(response: _Response, seconds: float) -> RefusedResponse:
    """Read the content of a refusal: as much as comes within ``seconds``, and at most 64 KiB.

    A refusal whose content is cut off, or never ends, is a refusal nevertheless. So no network errors are raised.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in response:
                pieces.append(piece)
                size += len(piece)
                if size >= MAX_REFUSAL:
                    break
    except (OSError, RemoteProtocolError):  # TimeoutError among them: what matters is the status, which has arrived
        pass
    return RefusedResponse(response.status, response.headers, b"".join(pieces)[:MAX_REFUSAL])


def retry_after(error: BaseException) -> float:
    """Return the seconds that a refusal asks us to wait (RFC 9110 §10.2.3); 0 if it has no such field.

    The field is a number of seconds, ``120``, or a date, ``Fri, 31 Dec 1999 23:59:59 GMT``. A date is compared with our
    clock, which may be wrong: a date in the past means 0.

    A date may come in any of three formats (RFC 9110 §5.6.7). ``Fri Dec 31 23:59:59 1999``, the format of C's asctime, names
    no time zone: this date is in UTC as well, and not in the time zone of this machine.
    """
    if not isinstance(error, Refused):
        return 0.0
    value = error.response.headers.get("retry-after") or ""
    if re.fullmatch("[0-9]{1,15}", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


# ---- connecting again --------------------------------------------------------------------------------------------------


class Closable(Protocol):
    """A connection of any kind. If it has ``abort``, that method is used when there is no time to close."""

    async def close(self) -> None:
        """End the connection."""


T = TypeVar("T", bound=Closable)


def reconnecting(
    connect: Callable[[], Awaitable[T]],
    *,
    first: float | Callable[[], float] = 0.5,
    longest: float = 60.0,
    name: str = "the server",
) -> AsyncGenerator[T, None]:
    """Yield connections, one after another: ``async for connection in reconnecting(lambda: connect(url)): …``

    Each connection is closed when the body of the loop is done with it. Then comes a pause of up to ``first`` seconds. This
    bound doubles with each consecutive failure, up to ``longest``. If ``first`` is a function, it returns the seconds that the
    server asks for: no pause is shorter, and the pause after a successful connection is exactly as long. After a refusal with
    Retry-After, the next attempt comes no sooner than the field says.

    An outage is one or more failed attempts in a row. Two lines about it are logged: a warning when the outage begins,
    and its length when it is over. In these lines the server is called ``name``.

    Raises the permanent errors:

    - RemoteProtocolError, except for a status of 408, 429 or 5xx;
    - the error for a certificate that is wrong, or for a server that does not speak TLS;
    - the error for a name that was not found in ``NAME_TRIES`` attempts;
    - every error that does not come from the network, such as a TypeError from ``connect``.

    A user who leaves the loop early should close the generator (``contextlib.aclosing``). Until then the last connection
    stays open.
    """
    if not callable(connect):
        refuse("connect", "a function that connects, such as lambda: connect(url)", connect)
    if not callable(first):
        check_seconds("first", first)
    check_seconds("longest", longest)
    return reconnect(connect, Attempts(name), first, longest)


async def reconnect(
    connect: Callable[[], Awaitable[T]],
    attempts: "Attempts",
    first: float | Callable[[], float] = 0.5,
    longest: float = 60.0,
) -> AsyncGenerator[T, None]:
    """Yield connections as ``reconnecting`` does, and count in ``attempts``, which may outlive this generator.

    For example, ``RemoteSubscription.__anext__`` may be cancelled in the middle of a pause. A cancellation ends the generator.
    The next call makes a new generator, which continues the outage and the remaining pause.
    """
    while True:
        await attempts.pause()
        asked = 0.0
        try:
            connection = await connect()
        except (OSError, RemoteProtocolError) as error:
            if not attempts.may_pass(error):
                raise
            attempts.failed(error)
            asked = retry_after(error)
        else:
            attempts.succeeded()
            try:
                yield connection
            finally:
                await _let_go(connection)
        attempts.wait(max(asked, _pause(first, longest, attempts.failures)))


async def _let_go(connection: Closable) -> None:
    """Close a connection. A task that is being cancelled has no time for a peer that may be gone, so it aborts instead."""
    task, abort = asyncio.current_task(), getattr(connection, "abort", None)
    if abort is not None and task is not None and task.cancelling():
        abort()
        await asyncio.sleep(0)  # one turn of the loop, in which the connection's tasks end
    else:
        await connection.close()


def _pause(first: float | Callable[[], float], longest: float, failures: int) -> float:
    """Return a random number of seconds: with first=0.5 and 3 failures, between ``SHORTEST`` and 0.5 * 2**3 = 4.

    The exponent is bounded: an outage over a weekend may have more than a thousand failures, and 2**1024 is not a float.
    """
    start = max(first() if callable(first) else first, SHORTEST)
    least = start if callable(first) else SHORTEST
    return random.uniform(least, max(least, min(longest, start * 2 ** min(failures, 32))))


class Attempts:
    """Counts failed attempts, logs them, and says when, and whether, another attempt makes sense."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_succeeded = False  # whether any attempt has succeeded
        self._outage_began = 0.0  # the loop's time
        self._next = 0.0  # the loop's time before which no attempt begins
        self.failures = 0
        """How many attempts in a row have failed, up to now."""

    def wait(self, seconds: float) -> None:
        """Let the next attempt begin after this many seconds."""
        self._next = asyncio.get_running_loop().time() + seconds

    async def pause(self) -> None:
        """Wait until the next attempt may begin. A cancellation does not change the time at which the pause ends."""
        seconds = self._next - asyncio.get_running_loop().time()
        if seconds > 0:
            await asyncio.sleep(seconds)

    def succeeded(self) -> None:
        """Note a successful connection. If it ends an outage, the log says how long the outage took."""
        if self.failures:
            seconds = asyncio.get_running_loop().time() - self._outage_began
            logger.info("%s is reached again after %.1f s, at attempt %d", self._name, seconds, self.failures + 1)
        self._has_succeeded, self.failures = True, 0

    def failed(self, error: Exception) -> None:
        """Note a failed attempt. Only the first in an outage is logged: a line for each would fill the log overnight."""
        if not self.failures:
            self._outage_began = asyncio.get_running_loop().time()
            logger.warning("%s can't be reached: %s; trying again until it can", self._name, describe(error))
        self.failures += 1

    def may_pass(self, error: Exception) -> bool:
        """Return whether an error may pass with time, so that another attempt makes sense.

        Python's ssl raises one class for many faults. Most of them are permanent: a wrong certificate, no version of TLS in
        common. But many servers send an "internal error" while they are starting.
        """
        if isinstance(error, RemoteProtocolError):
            # RFC 9110 §15: a status from 600 to 999 is invalid, and a client treats it as a 5xx.
            return error.code in (408, 429) or 500 <= error.code <= 999
        if isinstance(error, socket.gaierror) and error.errno in NO_NAME:
            return self._has_succeeded or self.failures + 1 < NAME_TRIES
        fault = error.__cause__ if isinstance(error.__cause__, tls.SSLError) else error
        return not isinstance(fault, tls.SSLError) or isinstance(fault, _BRIEF_TLS_FAULTS) or "INTERNAL" in str(fault)


def describe(error: BaseException) -> str:
    """Return an error on one line, with its class: a TimeoutError, for example, often has no text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
