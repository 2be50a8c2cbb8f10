"""HTTP/1.0, 1.1 and 2: one page over a slow line that loses segments, and what blocks the head of the line.

The problem: a page has 24 parts of 6 KB. The line carries 1 Mbit/s, and a round trip takes 100 ms. HTTP/1.0 opens a connection
for each part: one round trip for TCP, one for the request. HTTP/1.1 keeps a connection, but a connection carries one answer
at a time, so a browser opens six. HTTP/2 sends all requests at once, on one connection.

    server --pipe--> the line: one segment after another --pipe--> client
                     of all connections, 12 ms each               50 ms later; a lost one 350 ms later,
                                                                  and with it all that follow on its connection

TCP delivers bytes in order. When a segment is lost, the segments behind it have arrived, but their reader gets them only after
the lost one was sent again: *head-of-line blocking*. Six connections stall one at a time, a single connection stalls whole.

Where it helps: without loss, HTTP/2 needs no round trip for each part, and no slow answer holds up the answers behind it. An
HTTP/1.1 connection has that other kind of head-of-line blocking: one part that takes a second delays the rest of its line.
Where it harms: on a line that loses several segments in a hundred, HTTP/2 over one connection is slower than six connections
of HTTP/1.1. (HTTP/3 orders each stream by itself for this reason.)

The model: a connection has at most ten segments on their way, TCP's first window (RFC 6928), which never grows or shrinks. A
lost segment comes 300 ms late. minproto's clients speak HTTP/1.1 and 2. HTTP/1.0 is one line of text, and an answer that lasts
until the connection ends.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from statistics import median
from typing import Any, NamedTuple

from scenario import PATIENT, Peer, Run, milliseconds, now, show, table

from minproto import ClientConnection, Request, Response
from minproto.aio.http2_client import ClientConnection as Http2ClientConnection
from minproto.aio.pipe import Pipe
from minproto.testing import network

PARTS, SIZE, SEGMENT, WINDOW = 24, 6_000, 1_460, 10
ROUND_TRIP, STALL, BYTES_A_SECOND = 0.1, 0.3, 125_000
WAYS = {"HTTP/1.0 x 6": ("1.0", 6), "HTTP/1.1 x 1": ("1.1", 1), "HTTP/1.1 x 6": ("1.1", 6), "HTTP/2 x 1": ("2", 1)}


class Line:
    """The slow line that all connections of a page share. ``loss``: the chance that a segment is lost."""

    def __init__(self, loss: float, seed: int) -> None:
        self.loss, self.chance, self.lost = loss, Random(seed), 0
        self.turn = asyncio.Lock()
        self.carrying: list[asyncio.Task[None]] = []

    def delays(self) -> Iterator[float]:
        """A piece in ``network.pair`` never overtakes an earlier one, as with TCP. So one late piece delays all behind it."""
        while True:
            lost = self.chance.random() < self.loss
            self.lost += lost
            yield ROUND_TRIP / 2 + STALL * lost

    async def connect(self, peer: Peer) -> Pipe:
        await asyncio.sleep(ROUND_TRIP)  # SYN, SYN-ACK
        far = await peer.pipe()
        ours, near = network.pair(capacity=WINDOW * SEGMENT, high_water=0, delays=self.delays())
        self.carrying += [asyncio.create_task(self.carry(far, near)), asyncio.create_task(self.carry(near, far))]
        return ours

    async def carry(self, source: Pipe, sink: Pipe) -> None:
        with suppress(ConnectionError):
            while data := await source.read():
                for start in range(0, len(data), SEGMENT):
                    segment = data[start : start + SEGMENT]
                    async with self.turn:
                        await asyncio.sleep(len(segment) / BYTES_A_SECOND)
                    sink.write(segment)
                    await sink.drain()
            sink.close_write()


class Outcome(NamedTuple):
    pages: list[float]  # the seconds until each page was complete
    parts: list[float]  # the seconds from a page's beginning to each of its parts


async def visit(version: str, connections: int, line: Line, peer: Peer) -> list[float]:
    """Load the page once, and return when each part was complete."""
    began, waiting, done = now(), [f"/{number}" for number in range(PARTS)], list[float]()

    async def fetch(client: Any) -> None:
        while waiting:
            target = waiting.pop(0)
            if version == "1.0":
                pipe = await line.connect(peer)
                pipe.write(f"GET {target} HTTP/1.0\r\n\r\n".encode())
                while await pipe.read():
                    pass
                await pipe.close()
            else:
                await (await client.request("GET", target)).read()
            done.append(now() - began)

    async def connection() -> None:
        if version == "1.0":
            return await fetch(None)
        pipe = await line.connect(peer)
        if version == "1.1":
            async with ClientConnection(pipe, "server", timeouts=PATIENT) as client:
                return await fetch(client)
        async with Http2ClientConnection(pipe, "server", "http", timeouts=PATIENT) as client:
            await asyncio.gather(*(fetch(client) for _ in range(PARTS)))

    await asyncio.gather(*(connection() for _ in range(connections)))
    return done


async def load(way: str, loss: float = 0.0, slow: float = 0.0, pages: int = 10, seed: int = 1) -> Outcome:
    """Load the page ``pages`` times. ``slow``: the seconds that the server needs for the first part."""

    async def app(request: Request) -> Response:
        await asyncio.sleep(slow if request.path == "/0" else 0)
        return Response(bytes(SIZE))

    outcome = Outcome([], [])
    line = Line(loss, seed)
    async with Peer(app) as peer:
        for _ in range(pages):
            parts = await visit(*WAYS[way], line, peer)
            outcome.pages.append(parts[-1])
            outcome.parts.extend(parts)
        await asyncio.gather(*line.carrying)
    return outcome


def measure(run: Run[Any]) -> str:
    def rows(**how: Any) -> list[tuple[str, ...]]:
        each = [run(load(way, **how)) for way in WAYS]
        return [
            ("the page is complete, median", *(milliseconds(median(outcome.pages)) for outcome in each)),
            ("a part is complete, median", *(milliseconds(median(outcome.parts)) for outcome in each)),
        ]

    return table(list(WAYS), [
        "a line without loss", *rows(pages=1),
        "the server needs 1 s for the first part", *rows(pages=1, slow=1.0),
        "one segment in a hundred is lost", *rows(loss=0.01),
        "five segments in a hundred are lost", *rows(loss=0.05),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
