"""An in-memory network: two joined pipes that are as unkind to a protocol as a real network may be.

TCP promises only that the order of the bytes is kept. The network decides how bytes are cut into reads, how long they are in
transit, when the peer's buffer is full, and which bytes a reset destroys. Between two programs on one machine, the network
rarely does anything unusual. In this network the test decides all this:

    write --> unsent --(while there is room)--> in flight --(delay)--> arrived --(cut)--> read
              ^ drain waits for this            `----- at most ``capacity`` -----'

Where TCP leaves a choice, this network makes the worst choice. A reset overtakes all bytes in flight, and destroys bytes that
have arrived but have not been read, at both ends. Like a kernel, the network answers with a reset when one end closes with
unread input, or when the other end writes after that close. That is why a server that refuses an upload has to keep reading:
otherwise the reset destroys its response (RFC 9112 §9.6).

Left out: loss and reordering, which TCP hides, and addresses and connecting, which are not part of a ``Pipe``.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from minproto.aio.pipe import HIGH_WATER, READ_SIZE, Watcher


class _Way:
    """One direction of a connection."""

    def __init__(self, capacity: int, high_water: int, cuts: Iterable[int], delays: Iterable[float]) -> None:
        self._capacity = capacity
        self._high_water = high_water
        self._cuts = iter(cuts)
        self._delays = iter(delays)
        self._unsent = bytearray()
        self._in_flight: deque[bytes] = deque()  # b"" means the end of the output
        self._arrived = bytearray()
        self._held = 0  # bytes in flight and arrived
        self._due = 0.0  # the time at which the last piece in flight arrives
        self._end_unsent = False  # the writer has ended its output, and bytes before the end are unsent
        self._changed = asyncio.Event()  # set and cleared at once by each change: see ``pulse``
        self.ended = False  # the writer has ended its output
        self.end_arrived = False  # all bytes have arrived at the reader, and the end
        self.refused = False  # the reader has closed its end
        self.is_reset = False
        self.watcher: Watcher | None = None  # the reader's watcher: called at the end

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
        self.tell()  # before ``pulse``, as with a socket: the watcher learns of the reset before a task that reads
        self.pulse()

    def tell(self) -> None:
        """Let the loop call the watcher soon."""
        asyncio.get_running_loop().call_soon(self.tell_now)

    def tell_now(self) -> None:
        """Call the watcher: with True if the connection is lost, with False if only the output has ended."""
        if self.watcher is not None:
            self.watcher(self.is_reset or self.refused)

    def take(self) -> bytes:
        """Return the bytes of one read. The next number in ``cuts`` is the maximum."""
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
        """Wake all waiting tasks, so that they check their conditions again."""
        self._changed.set()
        self._changed.clear()

    def _send(self) -> None:
        """Send unsent bytes, as many as may be in flight."""
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
        """Start a timer for the arrival of a piece. A piece never arrives before a piece that was written earlier."""
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time() + next(self._delays, 0.0))
        self._in_flight.append(piece)
        loop.call_at(self._due, self._arrive)

    def _arrive(self) -> None:
        """Deliver the oldest piece. Its own timer may fire later, since timers due at the same moment fire in any order."""
        piece = self._in_flight.popleft()
        self._arrived += piece
        self.end_arrived = not piece
        self.pulse()
        if self.end_arrived:
            self.tell()


class MemoryPipe:
    """One end of a connection: a ``Pipe``. ``pair`` makes both ends."""

    def __init__(self, outgoing: _Way, incoming: _Way, number: int, half_close: bool) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._info = {"sockname": ("memory", number), "peername": ("memory", 3 - number)}
        self._half_close = half_close
        self._reading = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """The number of bytes that this end has written and the other end has not read."""
        return self._outgoing.waiting

    async def read(self) -> bytes:
        """Return the bytes of the next cut; b"" at the end. Raises ConnectionResetError; RuntimeError for a second reader."""
        if self._reading:
            raise RuntimeError("read while another read waits")
        self._reading = True
        try:
            await self._incoming.until(lambda: self._closed or self._incoming.readable())
        finally:
            self._reading = False
        return self._incoming.take()  # no await from here on, so a cancelled read loses no bytes

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes. After a reset or ``close`` the bytes are lost, and ``drain`` raises. Raises RuntimeError after
        ``close_write``."""
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
        """The number of bytes that this end has written and that are not yet in flight."""
        return self._outgoing.unsent

    async def drain(self) -> None:
        """Wait until no more than the high-water mark is unsent. Raises ConnectionResetError after a reset or ``close``."""
        if self._closed:
            raise ConnectionResetError("connection closed")
        await self._outgoing.until(self._outgoing.drained)

    def close_write(self) -> None:
        """End our output, so that the other end then reads b"". Does nothing in a pair made with ``half_close=False``."""
        if self._half_close:
            self._outgoing.end()

    async def close(self) -> None:
        """End both directions, and return when our output has arrived. Raises ConnectionResetError after a reset."""
        self._closed = True
        self._incoming.pulse()
        self._outgoing.end()
        await self._outgoing.until(lambda: self._outgoing.end_arrived)
        self._incoming.refused = True
        self._incoming.tell_now()  # before this method returns, as with a socket
        if self._incoming.waiting:
            self._reset()

    def abort(self) -> None:
        """Reset the connection at once, for both ends. Does nothing once this end is closed."""
        if not self._incoming.refused:
            self._reset()

    def watch(self, told: Watcher | None) -> None:
        """Call ``told(False)`` when the other end has ended its output, ``told(True)`` after a reset or our own ``close``.

        If one of these has happened already, the call comes soon."""
        self._incoming.watcher = told
        if told is not None and (self._incoming.end_arrived or self._incoming.is_reset):
            self._incoming.tell()

    def info(self, name: str) -> Any:
        """Return ("memory", 1) and ("memory", 2) for "sockname" and "peername", and None for other names."""
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
    """Return two joined pipes, with the same network in each direction.

    ``capacity``: how many bytes may be in flight or waiting to be read, at least 1. More bytes stay with the writer.
    ``high_water``: how many bytes may stay with the writer before ``drain`` waits.
    ``cuts``: the maximum number of bytes of each read, one number (at least 1) per read. When the numbers run out, reads are
    as long as possible. ``delays``: the seconds until each piece arrives, one number per piece. When the numbers run out,
    pieces arrive at once.
    ``half_close``: False for pipes that cannot end only their output, as with TLS in asyncio.
    """
    if capacity < 1:
        raise ValueError(f"capacity has to be 1 or more, not {capacity}")
    one, two = (_Way(capacity, high_water, cuts, delays) for _ in range(2))
    return MemoryPipe(one, two, 1, half_close), MemoryPipe(two, one, 2, half_close)
