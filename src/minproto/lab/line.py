"""A connection of the lab: a pipe that counts whose bytes cross it, and that can be cut, or made slow.

What a page asks for in one of its columns crosses connections that the browser chooses and reuses. So an account, not a
connection, is what bytes are counted for: a request claims the line that it came on for the account of its column. The bytes
of its head were read before anybody could know whose they are; they wait, unclaimed, for that moment. What is written
belongs to the last claim. (Browsers do not pipeline, so nothing else can be under way.)

A slow client is one whose network takes few bytes a second. Here the server's end of the line plays that network: it holds
back what is written, says that it is congested, and so makes everything behind it wait as it would for a real one.
"""

import asyncio
from collections import deque
from typing import Any, Protocol

from minproto.aio.pipe import Pipe, Watcher

SLOW_RATE = 500
"""Bytes a second that a slow client takes."""
SLOW_MARK = 1_000
"""Bytes that may wait for it before whoever writes has to."""
TICK = 0.1
"""Seconds between two portions."""


class Tap(Protocol):
    """Sees what crosses a line."""

    def received(self, data: bytes) -> None:
        """Bytes from the peer."""

    def sent(self, data: bytes) -> None:
        """Bytes to it."""

    def ended(self, reason: str = "closed") -> None:
        """It sees nothing more."""


class Account:
    """What one column of one page has cost, and a hold on its connections."""

    def __init__(self) -> None:
        self.requests = 0
        self.received = 0
        """Bytes on the wire (inside of TLS) from the client, and to it."""
        self.sent = 0
        self.lines: set[Line] = set()
        """Those that it claimed last."""
        self.streams: deque[asyncio.Task[Any]] = deque(maxlen=2)
        """Of HTTP/2: what serves its latest. They share a line with others', so their bytes are not told apart."""
        self._slow = False

    @property
    def slow(self) -> bool:
        return self._slow

    @slow.setter
    def slow(self, slow: bool) -> None:
        self._slow = slow
        if not slow:
            for line in self.lines:
                line.release()

    def cut(self) -> None:
        """Reset its connections, with what they were carrying; of HTTP/2, its streams."""
        for line in list(self.lines):
            line.abort()
        for stream in self.streams:
            stream.cancel()


class Line:
    """A ``Pipe``. ``info("line")`` finds it again, from whatever was put on top of it."""

    __slots__ = ("_account", "_held", "_moved", "_onward", "_pipe", "_tap", "_timer", "_unclaimed")

    def __init__(self, pipe: Pipe, tap: Tap | None = None) -> None:
        self._pipe = pipe
        self._tap = tap
        self._account: Account | None = None
        self._unclaimed = 0
        self._onward = False  # what is read belongs to the account that has it, not to the next
        self._held = bytearray()
        self._moved: asyncio.Future[None] | None = None  # what drain waits for
        self._timer: asyncio.TimerHandle | None = None

    def claim(self, account: Account | None, *, onward: bool = False) -> None:
        """A request has come for this account, or for none. ``onward``: and all that comes from now on is its, too."""
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
        self.release()
        self._pipe.close_write()

    async def close(self) -> None:
        self.release()
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

    def release(self) -> None:
        """Be slow no longer: what was held goes out."""
        if self._held:
            self._write(bytes(self._held))
            self._held.clear()
        self._wake()

    def untap(self, reason: str) -> None:
        """What crosses from now on is nobody's business."""
        if self._tap is not None:
            tap, self._tap = self._tap, None
            tap.ended(reason)

    def _trickle_on(self) -> None:
        if self._timer is None and self._held:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._trickle)

    def _trickle(self) -> None:
        """Let another portion through."""
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
