"""An in-memory network: two joined pipes that do to a protocol what a real network may, on the clock of the loop.

TCP promises order and nothing else. How bytes are cut into reads, how long they are under way, when the peer's buffer
is full and what a reset destroys is up to the network, and on one machine that is mostly kind. Here the test decides:

    write --> unsent --(while there is room)--> in flight --(delay)--> arrived --(cut)--> read
              ^ drain waits for this            `----- at most ``capacity`` -----'

Where TCP leaves a choice, this network takes the worst: a reset overtakes all that is under way and destroys what had
arrived unread, at both ends. And like a kernel it answers with a reset when one end closes with input unread, or the
other writes to it afterwards: the trap because of which a server that refuses an upload has to read on (RFC 9112 §9.6).

Left out: loss and reordering, which TCP hides; addresses and connecting, of which a ``Pipe`` knows nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from minproto.aio.pipe import HIGH_WATER, READ_SIZE, Watcher


class _Way:
    """One direction."""

    def __init__(self, capacity: int, high_water: int, cuts: Iterable[int], delays: Iterable[float]) -> None:
        self._capacity = capacity
        self._high_water = high_water
        self._cuts = iter(cuts)
        self._delays = iter(delays)
        self._unsent = bytearray()
        self._in_flight: deque[bytes] = deque()  # b"" is the end
        self._arrived = bytearray()
        self._held = 0  # bytes in flight and arrived
        self._due = 0.0  # when the last piece arrives
        self._end_unsent = False
        self._changed = asyncio.Event()  # only ever pulsed
        self.ended = False  # the writer's side has said so
        self.end_arrived = False
        self.refused = False  # the reader's side is gone
        self.is_reset = False
        self.watcher: Watcher | None = None  # the reader's, who is told of the end

    @property
    def waiting(self) -> int:
        return len(self._unsent) + self._held

    def write(self, data: bytes | memoryview) -> None:
        if self.ended:
            raise RuntimeError("write after close_write")
        if not self.is_reset:
            self._unsent += data
            self._send()

    def end(self) -> None:
        if not self.ended:
            self.ended = self._end_unsent = True
            self._send()

    def reset(self) -> None:
        self.is_reset = True
        self._unsent.clear()
        self._held = 0
        self.tell()  # first, as with a socket: who watches hears of it before who reads
        self.pulse()

    def tell(self) -> None:
        """Have the loop tell the watcher how this direction has ended."""
        asyncio.get_running_loop().call_soon(self.tell_now)

    def tell_now(self) -> None:
        """Tell the watcher."""
        if self.watcher is not None:
            self.watcher(self.is_reset or self.refused)

    def take(self) -> bytes:
        """One read: the next cut of what arrived."""
        size = min(max(next(self._cuts, READ_SIZE), 1), READ_SIZE)
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        self._held -= len(data)
        self._send()
        return data

    def readable(self) -> bool:
        return bool(self._arrived) or self.end_arrived

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def drained(self) -> bool:
        return len(self._unsent) <= self._high_water

    async def until(self, reached: Callable[[], bool]) -> None:
        while not (self.is_reset or reached()):
            await self._changed.wait()
        if self.is_reset:
            raise ConnectionResetError("connection reset")

    def pulse(self) -> None:
        """Let everyone who waits look again."""
        self._changed.set()
        self._changed.clear()

    def _send(self) -> None:
        """Set under way what there is room for."""
        piece = bytes(self._unsent[: self._capacity - self._held])
        del self._unsent[: len(piece)]
        self._held += len(piece)
        if piece:
            self._launch(piece)
        if self._end_unsent and not self._unsent:
            self._end_unsent = False
            self._launch(b"")
        self.pulse()

    def _launch(self, piece: bytes) -> None:
        """No piece overtakes another: one that was written later arrives no sooner."""
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time() + next(self._delays, 0.0))
        self._in_flight.append(piece)
        loop.call_at(self._due, self._arrive)

    def _arrive(self) -> None:
        """The oldest piece is there, whichever's timer this is: timers of the same moment fire in any order."""
        piece = self._in_flight.popleft()
        self._arrived += piece
        self.end_arrived = not piece
        self.pulse()
        if self.end_arrived:
            self.tell()


class MemoryPipe:
    """One end: a ``Pipe``, made by ``pair``."""

    def __init__(self, outgoing: _Way, incoming: _Way, number: int, half_close: bool) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._info = {"sockname": ("memory", number), "peername": ("memory", 3 - number)}
        self._half_close = half_close
        self._reading = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """Bytes that this end wrote and the other has not read."""
        return self._outgoing.waiting

    async def read(self) -> bytes:
        """The next cut; b"" at the end. Raises ConnectionResetError, or RuntimeError while another read waits."""
        if self._reading:
            raise RuntimeError("read while another read waits")
        self._reading = True
        try:
            await self._incoming.until(lambda: self._closed or self._incoming.readable())
        finally:
            self._reading = False
        return self._incoming.take()  # without a wait in between: a read that is cancelled has taken nothing

    def write(self, data: bytes | memoryview) -> None:
        """Take bytes to send; lost after a reset or ``close``, as drain tells. After ``close_write``: RuntimeError."""
        if self._closed:
            return
        if data and self._outgoing.refused:
            self._reset()
        self._outgoing.write(data)

    @property
    def congested(self) -> bool:
        """Whether ``drain`` would wait or raise."""
        return self._closed or self._outgoing.is_reset or not self._outgoing.drained()

    @property
    def unsent(self) -> int:
        """Bytes that this end wrote and that are not even under way."""
        return self._outgoing.unsent

    async def drain(self) -> None:
        """Wait until at most the high-water mark is unsent. Raises ConnectionResetError after a reset or ``close``."""
        if self._closed:
            raise ConnectionResetError("connection closed")
        await self._outgoing.until(self._outgoing.drained)

    def close_write(self) -> None:
        """The other end reads b"" after what was written. Nothing where the pair was made with ``half_close=False``."""
        if self._half_close:
            self._outgoing.end()

    async def close(self) -> None:
        """End both directions; returns when what was written arrived. Raises ConnectionResetError after a reset."""
        self._closed = True
        self._incoming.pulse()
        self._outgoing.end()
        await self._outgoing.until(lambda: self._outgoing.end_arrived)
        self._incoming.refused = True
        self._incoming.tell_now()  # before this returns, as with a socket
        if self._incoming.waiting:
            self._reset()

    def abort(self) -> None:
        """Reset the connection at once, for both ends; nothing, once this end is closed."""
        if not self._incoming.refused:
            self._reset()

    def watch(self, told: Watcher | None) -> None:
        """``told(False)`` when the other end has ended its output, ``told(True)`` after a reset or our own ``close``; soon, if
        that has come."""
        self._incoming.watcher = told
        if told is not None and (self._incoming.end_arrived or self._incoming.is_reset):
            self._incoming.tell()

    def info(self, name: str) -> Any:
        """"sockname" and "peername": ("memory", 1) and ("memory", 2)."""
        return self._info.get(name)

    def _reset(self) -> None:
        self._outgoing.reset()
        self._incoming.reset()


def pair(
    *,
    capacity: int = 65_536,
    high_water: int = HIGH_WATER,
    cuts: Iterable[int] = (),
    delays: Iterable[float] = (),
    half_close: bool = True,
) -> tuple[MemoryPipe, MemoryPipe]:
    """Two joined pipes, with the same network in each direction.

    ``capacity``: bytes, at least 1, that are under way or wait to be read, before more stay with the writer.
    ``high_water``: bytes that may stay with the writer before ``drain`` waits.
    ``cuts``: for each read its most bytes (less than 1 counts as 1); reads are as long as can be where it ends.
    ``delays``: for each piece that gets under way the seconds until it arrives; none where it ends.
    ``half_close``: false for a pipe that can't, as with TLS in asyncio.
    """
    if capacity < 1:
        raise ValueError("a network that takes nothing")
    one, two = (_Way(capacity, high_water, cuts, delays) for _ in range(2))
    return MemoryPipe(one, two, 1, half_close), MemoryPipe(two, one, 2, half_close)
