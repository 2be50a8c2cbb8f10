"""Connect again, and again: back-off with jitter, for any client.

A server that comes back after a pause is met by all its clients at once, and goes down under them. So each waits longer after
each failure, and a random part of that time: no two come together, and the waits of a long outage cost nobody anything.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from ssl import SSLCertVerificationError
from typing import Protocol, TypeVar

from minproto.core import RemoteProtocolError

SHORTEST = 0.01
"""Seconds that the waits grow from, also where the server asks for none: 0 would stay 0, however often it is doubled."""


class Closable(Protocol):
    """What a client gives."""

    async def close(self) -> None:
        """End it."""


T = TypeVar("T", bound=Closable)


async def reconnecting(
    connect: Callable[[], Awaitable[T]], *, first: float | Callable[[], float] = 0.5, longest: float = 60.0
) -> AsyncGenerator[T, None]:
    """Connections, one after the other: ``async for connection in reconnecting(lambda: connect(url)): …``

    Each is closed when the body of the loop is done with it. Before the next come up to ``first`` seconds, twice as many
    after each that failed or did not last for ``longest``, and never more than that. Where ``first`` is a function, it
    gives what the server asks for: then never less than that. What can't get better with time is raised:
    RemoteProtocolError, but for a status of 408, 429 or 5xx; a wrong certificate; and all that is not a fault of the network.
    Who leaves the loop in the middle should close the last connection, or it stays open until the iterator is deleted.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        try:
            connection = await connect()
        except SSLCertVerificationError:
            raise
        except OSError:  # ConnectionError and TimeoutError among them
            pass
        except RemoteProtocolError as error:
            if error.code not in (408, 429) and not 500 <= error.code <= 599:
                raise
        else:
            try:
                yield connection
            finally:
                await connection.close()
        failures = 0 if loop.time() - began > longest else failures + 1
        start = first() if callable(first) else first
        least = start if callable(first) else 0.0
        most = min(longest, max(start, SHORTEST) * 2 ** min(failures, 32))
        await asyncio.sleep(random.uniform(least, max(least, most)))
