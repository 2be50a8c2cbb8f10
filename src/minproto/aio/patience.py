"""How long we wait for a peer: the rules that count bytes as well as seconds.

A plain timeout cuts off slow lines, and does not stop attackers. Take 30 seconds for a response of 12 MB. A phone that reads
200 KB a second needs a minute, and is cut off in the middle. A *slowloris* attack sends one byte every 29 seconds, and holds
our memory for as long as it likes. So the rules here look at how many bytes have moved while we waited:

    who waits for what                            the peer is given more time while ...          the rule
    -------------------------------------------   --------------------------------------------   -------------------
    a writer, for the peer to read our output     it reads 48 KiB in each Timeouts.write         while_taken
    a keepalive, for the answer to a Ping         it reads what was sent before the Ping         OutputPace
    a server, for the content of a request        it sends Timeouts.min_body_rate on average     UploadPace
    a client, for the response                    it reads the request that we are sending       ResponsePatience
    a client, for one answer of many              it reads or sends anything at all              signs_of_life

We know what the peer has read only as far as our own kernel tells: see ``Endpoint.delivered``.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from minproto.aio.options import Timeouts
from minproto.aio.pipe import HIGH_WATER
from minproto.http import RequestHead

logger = logging.getLogger("minproto")

ENOUGH = HIGH_WATER - HIGH_WATER // 4
"""How many bytes (48 KiB) a peer has to read within ``Timeouts.write``. A full pipe holds 64 KiB, and accepts more when only
16 KiB are left in it, so a writer that waits for room waits until the peer has read 48 KiB."""
LOOK = 1.0
"""Seconds between two checks of how much of a request a server has read; a quarter of the whole wait if that is less."""

Patience = Callable[[], float]
"""Returns, before each wait, the seconds that this wait may take: see ``Endpoint.next_event``."""


class Output(Protocol):
    """The side of an ``Endpoint`` that the rules use. Positions are counted in bytes from the start of the connection."""

    timeouts: Timeouts
    received: int

    @property
    def position(self) -> int:
        """The place of the next byte that we send."""

    @property
    def taken(self) -> int:
        """The position up to which the kernel, or the peer, has all bytes: no byte before it is in our memory."""

    @property
    def delivered(self) -> int:
        """The position up to which the peer's machine has our output, as far as our kernel knows."""

    @property
    def leaving(self) -> int:
        """Bytes that leave our memory at the end of this turn of the loop."""


async def while_taken(output: Output, wait: Callable[[], Awaitable[None]]) -> None:
    """Repeat a wait that times out, as long as the peer has read ``ENOUGH`` bytes during the wait. Raises TimeoutError.

    One wait is meant for the 64 KiB of a full pipe, but more can be in the pipe: a broadcast writes a message of any size at
    once. For example, 300 KB are pending for a peer that reads 5 KB a second. The wait times out after 30 seconds, in which
    the peer has read 150 KB, so a second wait begins.
    """
    while True:
        taken = output.taken
        try:
            return await wait()
        except TimeoutError:
            if output.taken < taken + ENOUGH:
                raise


class OutputPace:
    """Whether a peer is reading its pending bytes. A silent peer that is reading is alive.

    Our Ping (or Close) comes after the pending bytes, so the peer can only answer once it has read those bytes. For example,
    12 MB are pending for a peer that reads 200 KB a second. Each check, 20 seconds after the last, finds 4 MB gone.

    A check counts only the bytes that were pending at the last check, and no byte that was sent later: our own Ping must not
    look like progress. If no bytes were pending, a silent peer is late.

    >>> from types import SimpleNamespace
    >>> output = SimpleNamespace(timeouts=Timeouts(write=30), position=12_000_000, delivered=0)
    >>> pace = OutputPace(output)
    >>> output.delivered += 4_000_000   # 20 seconds later: the peer reads
    >>> pace.check(20)
    True
    >>> output.delivered += 10_000      # 20 seconds later: too little, since 48 KiB in 30 seconds are 32 KiB in 20
    >>> pace.check(20)
    False
    >>> output.delivered = output.position
    >>> pace.check(20), pace.check(20)  # the peer has read all, and 20 seconds later it is silent without a reason
    (True, False)
    """

    __slots__ = ("_delivered", "_output", "_waiting")

    def __init__(self, output: Output) -> None:
        """Begin to count."""
        self._output = output
        self._begin()

    def _begin(self) -> None:
        self._delivered = self._output.delivered
        self._waiting = self._output.position - self._delivered

    def check(self, seconds: float) -> bool:
        """Return whether the peer has read enough in the ``seconds`` since the last check, and start counting again."""
        waited, before = self._waiting, self._delivered
        self._begin()
        limit = self._output.timeouts.write
        needed = max(ENOUGH * seconds / limit, 1) if limit else math.inf
        return waited > 0 and self._delivered - before >= min(waited, needed)


class UploadPace:
    """How long a server waits for the next piece of a request's content: ``Timeouts.body``, ``Timeouts.min_body_rate``.

    For example, with 30 seconds for a piece and a minimum rate of 500 bytes a second: a client has sent 10,000 bytes, and the
    server has waited for 45 seconds in all. It waits for at most 5 more seconds, since 30 + 10,000 / 500 - 45 = 5.
    """

    __slots__ = ("_min_rate", "_waited", "received")

    def __init__(self, min_rate: float) -> None:
        """``min_rate``: bytes a second."""
        self._min_rate = min_rate
        self.begin()

    def begin(self) -> None:
        """Begin with a new request."""
        self.received = 0
        """Bytes of the request's content received so far. The caller counts them."""
        self._waited = 0.0

    @contextmanager
    def waiting(self, seconds: float | None) -> Iterator[float | None]:
        """Yield the seconds that the next wait may take, if a piece may take ``seconds`` (None: no limit; yields None).

        The time that the block takes is counted, even if the wait in it is cancelled. Time in which the app does not ask
        for content is not the client's fault, and is not counted.
        """
        if seconds is None:
            yield None
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            yield min(seconds, seconds + self.received / self._min_rate - self._waited)
        finally:
            self._waited += clock() - began

    def log(self, head: RequestHead) -> None:
        """Log that a request is answered 408 (Request Timeout), and which options decide that."""
        logger.warning(
            "%s %s: 408, since %d bytes of content came in %.0f seconds of waiting: see Timeouts.body, "
            "Timeouts.min_body_rate, and Request.body_timeout for one request",
            head.method, head.target, self.received, self._waited,
        )  # fmt: skip


class ResponsePatience:
    """How long a client waits for a response: a number of seconds since the server last read a byte of the request.

    On a slow line a server can't answer while our upload is under way. For example, a client uploads 5 MB at 100 KB a second,
    and waits for the head of the response for 30 seconds. The upload alone takes 50 seconds. As long as the server is reading,
    the 30 seconds start over at each check.
    """

    __slots__ = ("_delivered", "_end", "_for_head", "_looked", "_output", "_seconds", "_since", "_time", "_uploading")

    def __init__(self, output: Output, upload: "asyncio.Task[None] | None") -> None:
        """``upload``: the task that is still sending the request's content; None if all of it is sent."""
        self._output = output
        self._time = asyncio.get_running_loop().time
        self._uploading = upload is not None and not upload.done()
        if upload is not None and self._uploading:
            upload.add_done_callback(self._uploaded)
        self._delivered = output.delivered  # how far the server had read at the last check
        self._end = output.position  # the position after the whole request
        self.begin(math.inf)

    def begin(self, seconds: float, *, for_head: bool = False) -> None:
        """Begin a wait. A wait for the response's head is counted from the end of the upload, since the app may take its time
        to generate the content."""
        self._seconds, self._for_head = seconds, for_head
        self._since = self._looked = self._time()

    def left(self) -> float:
        """Check how much the server has read, and return the seconds until the next check; 0 or less: time is up.

        While the request is under way, checks are close together, or we would notice the server's last read too late.
        """
        now, delivered = self._time(), self._output.delivered
        if self._uploading:
            self._end = self._output.position
        if self._uploading and self._for_head:
            self._since = now
        elif self._delivered < self._end and delivered > self._delivered:
            self._since = max(self._since, self._looked)  # the earliest time at which the server can have read
        self._delivered, self._looked = delivered, now
        left = self._since + self._seconds - now
        return min(left, LOOK, self._seconds / 4) if self._uploading or delivered < self._end else left

    def error(self) -> TimeoutError:
        """Return the error for the user when time is up."""
        missing = "the head of the response" if self._for_head else "more of the response"
        return TimeoutError(f"the server has not sent {missing} within {self._seconds:g} s")

    def _uploaded(self, _: object) -> None:
        self._uploading, self._end = False, self._output.position
        if self._for_head:
            self._since = self._time()


def signs_of_life(output: Output, end: int) -> tuple[int, int]:
    """Return two counts: the bytes received, and the bytes of our output before position ``end`` that the peer has read.

    While either of them grows, the peer is alive. Bytes that leave at the end of this turn of the loop already count as read:
    otherwise their leaving would look like the peer's progress at the next check.
    """
    return output.received, min(end, output.delivered + output.leaving)
