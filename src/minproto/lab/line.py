"""A line: a connection of the lab that counts its bytes for the right column of the page, and that can be cut or made slow.

The page has columns, such as "short polling", and shows what each column costs. But the browser itself chooses which
connection a request uses, and it reuses connections. So bytes are counted for an *account*, one for each column, and a request
*claims* the line on which it came:

    bytes on one line                                    counted for
    -----------------                                    -----------
    read   GET /lab/push/short?... (380 bytes)           nobody yet: the path is known only when the head is parsed
           claim(short)                                  short.received += 380
    write  HTTP/1.1 200 OK ... (250 bytes)               short.sent += 250
    read   GET /lab/push/long?... (379 bytes)            nobody yet, again
           claim(long)                                   long.received += 379

Browsers do not pipeline, so when a claim is made, no answer to an earlier request can still be on its way.

A slow client is a client whose network carries few bytes a second. The line simulates this network at the server's end. It
holds back the written bytes and says that it is congested, so the server waits as it would for a network that is really slow.
"""

import asyncio
from collections import deque
from typing import Any, Protocol

from minproto.aio.http import Request
from minproto.aio.pipe import Pipe, Watcher

SLOW_RATE = 500
"""How many bytes a second reach a slow client."""
SLOW_MARK = 1_000
"""How many bytes may be held back for a slow client before the writer has to wait (``congested``)."""
TICK = 0.1
"""Seconds between two portions for a slow client."""


class Tap(Protocol):
    """An observer that sees the bytes of a line (``lab/wire.py``)."""

    def received(self, data: bytes) -> None:
        """Called with bytes that came from the client."""

    def sent(self, data: bytes) -> None:
        """Called with bytes that are sent to the client."""

    def ended(self, reason: str = "closed") -> None:
        """Called once, when the tap will see no more bytes of this line."""


class Account:
    """The cost of one column of one page, and the connections that the column is using now."""

    def __init__(self) -> None:
        self.requests = 0
        self.received = 0
        """Bytes that came from the client, counted inside TLS if there is TLS."""
        self.sent = 0
        self.lines: set[Line] = set()
        """The lines whose last claim is this account's."""
        self.streams: deque[Request] = deque(maxlen=2)
        """The account's latest HTTP/2 requests. In HTTP/2 all columns share one line, so nobody can tell
        the bytes of the columns apart, and the page shows no figures for them."""
        self._slow = False

    @property
    def slow(self) -> bool:
        return self._slow

    @slow.setter
    def slow(self, slow: bool) -> None:
        self._slow = slow
        if not slow:
            for line in self.lines:
                line.send_held()

    def cut(self) -> None:
        """Reset the column's connections; bytes in flight are lost. Over HTTP/2, reset the column's streams instead."""
        for line in list(self.lines):
            line.abort()
        for request in self.streams:
            request.abort()


class Line:
    """A ``Pipe`` around a pipe. ``info("line")`` returns the line, even from an HTTP/2 stream or a WebSocket on top of it."""

    __slots__ = ("_account", "_held", "_moved", "_onward", "_pipe", "_tap", "_timer", "_unclaimed")

    def __init__(self, pipe: Pipe, tap: Tap | None = None) -> None:
        self._pipe = pipe
        self._tap = tap
        self._account: Account | None = None
        self._unclaimed = 0  # bytes that have been read, but whose request is not parsed yet
        self._onward = False  # the last claim was made for all bytes to come: see ``claim``
        self._held = bytearray()  # bytes that have been written, but are held back for a slow client
        self._moved: asyncio.Future[None] | None = None  # resolved when some held bytes have gone out; ``drain`` waits for it
        self._timer: asyncio.TimerHandle | None = None

    def claim(self, account: Account | None, *, onward: bool = False) -> None:
        """Count the last request, and all bytes written from now on, for this account, or for nobody.

        ``onward``: also count all bytes read from now on for this account, since the connection becomes a WebSocket.
        """
        self._leave()
        self._account, self._onward = account, onward
        if account is not None:
            account.lines.add(self)
            account.requests += 1
            account.received += self._unclaimed
        self._unclaimed = 0

    async def read(self) -> bytes:
        data = await self._pipe.read()
        if self._onward and self._account is not None:
            self._account.received += len(data)
        else:
            self._unclaimed += len(data)
        if self._tap is not None and data:
            self._tap.received(data)
        return data

    def write(self, data: bytes | memoryview) -> None:
        if self._held or (self._account is not None and self._account.slow):
            self._held += data
            self._trickle_on()
        else:
            self._write(data)

    def _write(self, data: bytes | memoryview) -> None:
        if self._account is not None:
            self._account.sent += len(data)
        if self._tap is not None:
            self._tap.sent(bytes(data))
        self._pipe.write(data)

    @property
    def congested(self) -> bool:
        return len(self._held) > SLOW_MARK or self._pipe.congested

    @property
    def unsent(self) -> int:
        return len(self._held) + self._pipe.unsent

    async def drain(self) -> None:
        while len(self._held) > SLOW_MARK:
            self._moved = self._moved or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._moved)
        await self._pipe.drain()

    def close_write(self) -> None:
        self.send_held()
        self._pipe.close_write()

    async def close(self) -> None:
        self.send_held()
        self._end()
        await self._pipe.close()

    def abort(self) -> None:
        self._held.clear()
        self._wake()
        self._end()
        self._pipe.abort()

    def watch(self, told: Watcher | None) -> None:
        self._pipe.watch(told)

    def info(self, name: str) -> Any:
        return self if name == "line" else self._pipe.info(name)

    def send_held(self) -> None:
        """Write the bytes that are held back for a slow client, without further delay."""
        if self._held:
            self._write(bytes(self._held))
            self._held.clear()
        self._wake()

    def untap(self, reason: str) -> None:
        """Stop showing the line's bytes to anybody. ``reason``: what the watching pages are told."""
        if self._tap is not None:
            tap, self._tap = self._tap, None
            tap.ended(reason)

    def _trickle_on(self) -> None:
        if self._timer is None and self._held:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._trickle)

    def _trickle(self) -> None:
        """Write the next portion: 50 bytes, ten times a second."""
        self._timer = None
        portion = bytes(self._held[: int(SLOW_RATE * TICK)])
        del self._held[: len(portion)]
        if portion:
            self._write(portion)
        self._wake()
        self._trickle_on()

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None

    def _leave(self) -> None:
        if self._account is not None:
            self._account.lines.discard(self)

    def _end(self) -> None:
        self._leave()
        self._account = None
        self.untap("closed")
