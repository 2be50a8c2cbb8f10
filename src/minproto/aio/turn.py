"""One write for each turn of the event loop: what many connections have to say leaves together.

A turn of the event loop runs every callback that is ready. Say, in one turn the requests of three clients have arrived:

    turn 1     connection A: send() head, send() content -->  +-----------+
               connection B: send() head, send() content -->  | the batch |
               connection C: send() head, send() content -->  +-----------+
    turn 2     the batch: A.write_turn(), B.write_turn(), C.write_turn()      one system call each

So each endpoint writes once a turn, whatever number of events its core has encoded: a system call costs as much as encoding a
dozen events. The writes also come close together. The first of them wakes the peer, or the proxy in front of us, and the
others find it awake.

``PlainWriteBatch`` asks the loop for one callback for each endpoint. ``WriteBatch``, which the endpoints use, asks for one
callback for all endpoints of the loop. Both keep two promises:

- An endpoint writes behind everything that is ready now, so that an answer that is made in this turn is in the same write.
- A pipe that fails takes only its own connection down, and the other endpoints write as if nothing had happened.
"""

import asyncio
import logging
from typing import Protocol
from weakref import WeakValueDictionary

logger = logging.getLogger("minproto")


class Writer(Protocol):
    """What a batch calls: an endpoint that has bytes to write."""

    def write_turn(self) -> None:
        """Write what was sent during this turn."""

    def abort(self) -> None:
        """End the connection."""


class PlainWriteBatch:
    """The plain batch: one callback of the loop for each endpoint."""

    __slots__ = ("__weakref__", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, endpoint: Writer) -> None:
        """Let ``endpoint`` write at the end of this turn. The endpoint calls this once a turn."""
        self._loop.call_soon(self._write, endpoint)

    def _write(self, *endpoints: Writer) -> None:
        for endpoint in endpoints:
            try:
                endpoint.write_turn()
            except (Exception, asyncio.CancelledError):  # a pipe may raise anything, and the other endpoints must not suffer
                logger.exception("a connection can't be written to")
                endpoint.abort()


class WriteBatch(PlainWriteBatch):
    """The batch that the endpoints use: one callback of the loop for all endpoints."""

    __slots__ = ("_endpoints",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._endpoints: list[Writer] = []

    def add(self, endpoint: Writer) -> None:
        if not self._endpoints:
            self._loop.call_soon(self._write_all)
        self._endpoints.append(endpoint)

    def _write_all(self) -> None:
        endpoints, self._endpoints = self._endpoints, []  # whoever sends while we write is written in the next turn
        self._write(*endpoints)


_batches: WeakValueDictionary[asyncio.AbstractEventLoop, PlainWriteBatch] = WeakValueDictionary()


def batch_of(loop: asyncio.AbstractEventLoop) -> PlainWriteBatch:
    """Return the batch of an event loop, which all endpoints of that loop share.

    The dictionary is weak, so a batch lives as long as an endpoint holds it. A strong one would keep every loop that a program
    has ever run, and ``asyncio.run`` makes a new loop each time.
    """
    return _batches.setdefault(loop, WriteBatch(loop))
