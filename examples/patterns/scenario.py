"""What the patterns share: traffic, a server on minproto, a client, figures, a table, and two clocks.

A pattern runs the same traffic without and with its idea, and prints a table:

    arrivals(rate, seconds, seed)      the times at which users come: a Poisson process, the same for each run
        |
    offer(times, ask) -> Figures       starts one task for each user, and writes down how long it took and what it got
        |  ask(number) -> status
    Peer(app).get(target) -> Answer    a real request of HTTP/1.1, by minproto's client, over a network in memory
        |
    app(request) -> Response           the pattern's own server; ``Backend`` is one that has a set speed and capacity

The traffic is an *open loop*: users come at their times, whether or not the server has answered the earlier ones. A closed
loop, which waits for each answer before it asks again, slows down with the server. So it never shows an overload.

    run       a clock
    -------   ---------------------------------------------------------------------------------------------------
    virtual   minproto.testing.clock: ten minutes of traffic take about a second, and the figures are the same on
              every machine. A request costs about 250 microseconds of real time, so 10,000 requests are a lot
    live      real sockets, real time, but a clock that runs 20 times as fast (``--live``). On a machine with nothing else
              to do, the figures come close

Conventions of a pattern's file:

- The docstring states the problem, draws it, and says where the pattern helps and where it harms.
- A scenario is a coroutine function whose arguments are load, failure rate and the pattern itself (``breaker=None``: without).
  It returns figures. The tests call it with other arguments: see ``tests/pattern_claims.py``.
- ``measure(run)`` calls the scenarios, ``run(scenario(...))``, and returns the table. Its last row shows the harm.
- Time is ``now()``, in seconds from the start; waiting is ``asyncio.sleep``. Chance comes from ``Random(seed)``, with one
  generator for each source of chance. So both runs get the same traffic, and the same seed gives the same table.
- No ``sum`` of floats, and no order that depends on a set: both differ between versions of Python.
"""

import argparse
import asyncio
import math
import selectors
import socket
import struct
import time
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from itertools import repeat
from random import Random
from typing import Any, NamedTuple, Self, TypeVar

from minproto import Answer as AppAnswer
from minproto import App, ClientConnection, Metrics, Request, Response, Server, ServerSentEvent, Timeouts, WebSocket
from minproto.aio.address import Address
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT
from minproto.http import Headers, ResponseHead
from minproto.sse import Connection as EventReader
from minproto.testing import clock, network
from minproto.websocket_handshake import check_response, handshake

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

SPEED = 20
"""How many seconds pass on the clock of ``--live`` in one real second."""
NO_ANSWER = 0
"""The status of a user who got none: the connection was lost, or the user's patience."""
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 seconds: a client that leaves resets its connection, as in memory, so the server stops working for it."""
PATIENT = Timeouts(**dict.fromkeys(("handshake", "head", "body", "idle", "write", "drain"), math.inf))
"""No timeout but those of the pattern: an idle connection, for example, is kept for ever."""


def now() -> float:
    """Return the seconds since the run began."""
    return asyncio.get_running_loop().time()


def is_live() -> bool:
    """Return whether this run is on real sockets."""
    return isinstance(asyncio.get_running_loop(), _LiveLoop)


# ---- traffic and figures -----------------------------------------------------------------------------------------------


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the times at which users come, ``rate`` a second on average, independent of each other (a Poisson process)."""
    random, times, at = Random(seed), [], 0.0
    while (at := at - math.log(1 - random.random()) / rate) < seconds:
        times.append(at)
    return times


class Visit(NamedTuple):
    """What one user saw: when the request began, how many seconds it took, and the status of the answer."""

    at: float
    took: float
    status: int


class Figures:
    """What all users of a run saw."""

    def __init__(self, visits: Sequence[Visit]) -> None:
        self.visits = visits
        self.good = sorted(visit.took for visit in visits if 200 <= visit.status < 300)
        """The seconds that each good answer took, the fastest first."""

    @property
    def served(self) -> float:
        """The share of users who got a good answer, from 0 to 1."""
        return len(self.good) / len(self.visits)

    def count(self, status: int) -> int:
        """Return how many users got this status."""
        return [visit.status for visit in self.visits].count(status)

    def percentile(self, percent: float) -> float:
        """Return the seconds within which ``percent`` of the good answers came; infinity if there was none."""
        return self.good[math.ceil(percent / 100 * len(self.good)) - 1] if self.good else math.inf

    def between(self, start: float, end: float) -> "Figures":
        """Return the figures of the users who came between two times."""
        return Figures([visit for visit in self.visits if start <= visit.at < end])


async def offer(times: Iterable[float], ask: Callable[[int], Awaitable[int]], patience: float = math.inf) -> Figures:
    """Let a user ask at each of these times. ``ask`` gets the user's number, from 0, and returns the status of the answer.

    A user leaves after ``patience`` seconds. That closes the user's connection, as a browser does.
    """
    visits: list[Visit] = []

    async def visit(number: int) -> None:
        began = now()
        try:
            async with asyncio.timeout(None if patience == math.inf else patience):
                status = await ask(number)
        except OSError:  # TimeoutError and ConnectionError are OSErrors
            status = NO_ANSWER
        visits.append(Visit(began, now() - began, status))

    async with asyncio.TaskGroup() as users:
        for number, at in enumerate(times):
            await asyncio.sleep(at - now())
            users.create_task(visit(number))
    return Figures(sorted(visits))


# ---- a server and its client -------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    headers: Headers
    body: bytes


class Peer:
    """A server with this app, and the connections to it: ``async with Peer(app) as shop: await shop.get("/page")``.

    A connection carries one request at a time and is kept for the next one. So there are as many connections as there were
    requests at the same moment.
    """

    def __init__(self, app: App, delay: float = 0.0005) -> None:
        """``delay``: the seconds that bytes are in transit, one way. With ``--live`` the network decides this itself."""
        self.metrics = Metrics()
        """What the server has counted: ``metrics.sent`` and ``metrics.received`` in bytes, ``metrics.requests`` by status."""
        self._server = Server(app, port=0, timeouts=PATIENT, metrics=self.metrics)
        self._delay = delay
        self._free: list[ClientConnection] = []

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for connection in self._free:
            await connection.close()
        await self._server.close()

    async def pipe(self) -> Pipe:
        """Return a new connection's pipe: for a client of another protocol, or one that counts bytes."""
        if is_live():
            pipe = await connect_pipe(Address("127.0.0.1", self._server.port), handshake=math.inf, linger=0.0)
            pipe.info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            return pipe
        ours, theirs = network.pair(delays=repeat(self._delay))
        self._server.attach(theirs)
        return ours

    async def get(self, target: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        """Send a GET on a free connection, and return the whole answer. Whoever cancels this loses the connection."""
        return await self.request("GET", target, headers)

    async def post(self, target: str, body: bytes = b"") -> Answer:
        return await self.request("POST", target, body=body)

    async def request(self, method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Answer:
        connection = self._free.pop() if self._free else ClientConnection(await self.pipe(), "server", timeouts=PATIENT)
        response = await connection.request(method, target, list(headers), body)
        content = await response.read()
        self._free.append(connection)
        return Answer(response.status, response.headers, content)

    async def events(self, target: str) -> AsyncIterator[ServerSentEvent]:
        """Yield the events of a stream, on a connection of its own, until the server ends it."""
        async with ClientConnection(await self.pipe(), "server", timeouts=PATIENT) as client:
            reader = EventReader(CLIENT)
            async for piece in await client.request("GET", target):
                reader.receive_data(piece)
                for event in reader.events():
                    if isinstance(event, ServerSentEvent):
                        yield event

    async def websocket(self, target: str) -> AsyncIterator[str | bytes]:
        """Yield the messages of a WebSocket, until the server closes it."""
        async with ClientConnection(await self.pipe(), "server", timeouts=PATIENT) as client:
            ask = handshake("server", target, b64encode(bytes(16)).decode())
            answer = await client.request("GET", target, ask.headers)
            agreement = check_response(ask, ResponseHead(answer.status, answer.headers))
            assert answer.pipe is not None
            async with WebSocket(answer.pipe, CLIENT, agreement, timeouts=PATIENT) as ws:
                async for message in ws:
                    yield message


class Backend:
    """An app that takes ``seconds`` for a request, and works on ``places`` requests at a time. The others wait in a line.

    A request that finds ``line`` others waiting gets a 503 at once. With places=1 and seconds=0.2, three requests in the same
    moment are answered after 0.2, 0.4 and 0.6 s: the backend knows at once when a place will be free. If a client leaves, its
    request keeps its place, since a database does not notice that. ``asked`` counts the requests.
    """

    def __init__(self, seconds: float, places: int = 1, line: float = math.inf) -> None:
        self.seconds = seconds
        self.line = line
        self.asked = 0
        self._free_at = [0.0] * places
        self._begin_at: deque[float] = deque()  # of the requests that have been accepted, in order

    async def __call__(self, request: Request) -> AppAnswer:
        self.asked += 1
        return Response.text("done") if await self.work(self.seconds) else Response.text("busy", 503)

    async def work(self, seconds: float) -> bool:
        """Wait for a place and work there. Return False at once if the line is full."""
        begins = max(now(), min(self._free_at))
        if begins > now() and self.waiting >= self.line:
            return False
        self._free_at[self._free_at.index(min(self._free_at))] = begins + seconds
        self._begin_at.append(begins)
        await asyncio.sleep(begins + seconds - now())
        return True

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        while self._begin_at and self._begin_at[0] <= now():
            self._begin_at.popleft()
        return len(self._begin_at)

    def pause(self, seconds: float) -> None:
        """Begin no request for this time."""
        self._free_at = [max(at, now() + seconds) for at in self._free_at]


# ---- crashes -----------------------------------------------------------------------------------------------------------


class Crash(Exception):
    """A process has died. A scenario calls ``crash(step)``, which may raise this, at each step where that would matter."""


def by_chance(share: float, seed: int) -> Callable[[str], None]:
    """Return a ``crash`` that happens at any step with this chance."""
    chance = Random(seed)

    def crash(step: str) -> None:
        if chance.random() < share:
            raise Crash

    return crash


def once(step: str) -> Callable[[str], None]:
    """Return a ``crash`` that happens at this step, the first time that it is reached."""
    left = [step]

    def crash(reached: str) -> None:
        if reached in left:
            left.remove(reached)
            raise Crash

    return crash


# ---- the table ---------------------------------------------------------------------------------------------------------


def percent(share: float) -> str:
    """Return a share as a percentage: 0.5 is ``50.0 %``."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float) -> str:
    """Return seconds in milliseconds: 0.25 is ``250 ms``; infinity is ``never``."""
    return f"{1000 * seconds:,.0f} ms" if seconds < math.inf else "never"


def table(columns: Sequence[str], rows: Iterable[str | Sequence[str]]) -> str:
    """Return a table of text. A row is its label and a value for each column; a single text is a heading."""
    cells = [(row,) if isinstance(row, str) else (f"  {row[0]}", *row[1:]) for row in [("", *columns), *rows]]
    widths = [max(map(len, column)) for column in zip(*(row for row in cells if len(row) > 1), strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
    return "\n".join(lines)


# ---- the two clocks ----------------------------------------------------------------------------------------------------


def virtual(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario in virtual time, on the network in memory."""
    return clock.run(scenario)


class _HurriedSelector(selectors.DefaultSelector):
    """A selector for a clock that runs SPEED times as fast. It wakes up to a millisecond early, and is then asked again.

    epoll waits for whole milliseconds, and a millisecond of real time is 20 on this clock.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout and max(timeout / SPEED - 0.001, 0.0))


class _LiveLoop(asyncio.SelectorEventLoop):
    """An event loop on real sockets whose clock begins at 0 and runs SPEED times as fast as the real one."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        super().__init__(_HurriedSelector())

    def time(self) -> float:
        return (time.monotonic() - self._began) * SPEED


def live(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario on real sockets, SPEED times as fast as real time."""
    with asyncio.Runner(loop_factory=_LiveLoop) as runner:
        return runner.run(scenario)


def show(measure: Callable[[Run[Any]], str]) -> None:
    """Print what a pattern measures: the whole program of a pattern's file."""
    parser = argparse.ArgumentParser(description="Measure a pattern: the same traffic without and with it.")
    parser.add_argument("--live", action="store_true", help=f"on real sockets; a minute of traffic takes {60 // SPEED} s")
    print(measure(live if parser.parse_args().live else virtual))
