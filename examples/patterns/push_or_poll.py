"""Polling, long polling, Server-Sent Events, WebSocket: one feed, four ways to hear of a message.

The problem: HTTP answers requests, but news comes when it comes. A client that asks every 5 s hears of a message 2.5 s late on
average, and most of its requests are for nothing. A client that asks more often hears sooner, and asks more often for nothing.

    polling       ask --> nothing ... ask --> nothing ... ask --> two messages      late, and the quiet costs
    long polling  ask -----------waits----------> a message, ask ----waits----> a message
    SSE           ask --> id 1: a message ... id 2: a message ...                   one answer that never ends
    WebSocket     upgrade --> a message ... a message ...                           both directions, frames of a few bytes

Where it helps: where a message should be seen at once. Long polling, SSE and WebSocket deliver after one way of the network. A
quiet feed costs long polling and the streams almost nothing, and polling a request every 5 s.
Where it harms: on a busy feed long polling sends a request for nearly every message. One poll brings many messages, so polling
then needs fewer bytes than an event stream. A WebSocket has no ids: what is published while its connection is broken is
missed, unless the app itself numbers its messages. The other three ways resume from the last message.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

from scenario import PATIENT, Peer, Run, arrivals, milliseconds, now, show, table

from minproto import Answer, EventStream, Request, Response, ServerSentEvent, WebSocket, upgrade

WAYS = ["polling", "long polling", "SSE", "WebSocket"]
LONG, AWAY = 30.0, 1.0  # seconds: of a long poll, and until a client is back after its connection broke


class Feed:
    """The server. Message 1 is the first; its text is the time at which it was published."""

    def __init__(self) -> None:
        self.messages, self.published, self.requests = list[str](), asyncio.Event(), 0

    def publish(self) -> None:
        self.messages.append(f"{now():020.9f}")
        self.published.set()
        self.published = asyncio.Event()

    async def since(self, seen: int) -> AsyncIterator[ServerSentEvent]:
        while True:
            while seen == len(self.messages):
                await self.published.wait()
            seen += 1
            yield ServerSentEvent(self.messages[seen - 1], id=str(seen))

    async def talk(self, ws: WebSocket) -> None:
        async for event in self.since(len(self.messages)):  # the protocol has no ids
            await ws.send(event.data)

    async def __call__(self, request: Request) -> Answer:
        self.requests += 1
        seen = int(request.query["seen"])
        if request.path == "/WebSocket":
            return upgrade(request, self.talk, compression=None, timeouts=replace(PATIENT, drain=0.0))
        if request.path == "/SSE":
            return EventStream(self.since(seen))
        if request.path == "/long":
            with suppress(TimeoutError):
                async with asyncio.timeout(LONG):
                    await anext(self.since(seen))
        return Response(json.dumps(self.messages[seen:]).encode())


class Client:
    """``delays`` has one number for each message that the client got: how late it was."""

    def __init__(self, peer: Peer, way: str, pause: float) -> None:
        self.peer, self.way, self.pause, self.delays = peer, way, pause, list[float]()

    async def messages(self) -> AsyncGenerator[str, None]:
        """Yield messages, the first time from the beginning. Only a WebSocket ignores ``seen``."""
        target = f"/{self.way.split()[0]}?seen="
        if self.way == "SSE":
            async for event in self.peer.events(f"{target}{len(self.delays)}"):
                yield event.data
        if self.way == "WebSocket":
            async for message in self.peer.websocket(f"{target}0"):
                yield str(message)
        while True:
            for text in json.loads((await self.peer.get(f"{target}{len(self.delays)}")).body):
                yield text
            await asyncio.sleep(self.pause if self.way == "polling" else 0)


class Outcome(NamedTuple):
    delay: float  # of a message that was heard, on average
    requests: int
    bytes: float  # for each message, in both directions
    missed: int


async def feed(
    way: str, rate: float = 0.1, seconds: float = 600.0, pause: float = 5.0, breaks: float | None = None, seed: int = 1
) -> Outcome:
    """Publish ``rate`` messages a second. ``pause``: between two polls. ``breaks``: seconds until a connection breaks."""
    source = Feed()
    async with Peer(source) as peer, asyncio.TaskGroup() as group:
        client = Client(peer, way, pause)

        async def stay() -> None:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(breaks), aclosing(client.messages()) as messages:
                        async for text in messages:
                            client.delays.append(now() - float(text))
                await asyncio.sleep(AWAY)

        listening = group.create_task(stay())
        for at in arrivals(rate, seconds, seed):
            await asyncio.sleep(at - now())
            source.publish()
        await asyncio.sleep(2 * AWAY + pause)
        total = peer.metrics.sent + peer.metrics.received
        listening.cancel()
    published = len(source.messages)
    return Outcome(fmean(client.delays), source.requests, total / published, published - len(client.delays))


def measure(run: Run[Any]) -> str:
    def rows(**how: Any) -> list[tuple[str, ...]]:
        each = [run(feed(way, **how)) for way in WAYS]
        return [
            ("delay of a message, on average", *(milliseconds(outcome.delay) for outcome in each)),
            ("requests", *(str(outcome.requests) for outcome in each)),
            ("bytes for each message", *(f"{outcome.bytes:.0f}" for outcome in each)),
            ("messages missed", *(str(outcome.missed) for outcome in each)),
        ]

    return table(WAYS, [
        "a quiet feed: 6 messages a minute, for 10 minutes", *rows(),
        "a busy feed: 10 messages a second, for a minute", *rows(rate=10.0, seconds=60.0),
        "1 message a second for 2 minutes; the connection breaks every 10 s, for 1 s",
        *rows(rate=1.0, seconds=120.0, breaks=10.0),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
