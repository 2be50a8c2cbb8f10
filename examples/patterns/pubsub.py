"""Publish/subscribe across two servers: each one passes on what the shared broker sends.

The problem: a chat has outgrown one server, and now there are two. A user's event stream is at one of them. A message that is
published at the other server reaches nobody here: half of the users miss half of the talk, and no error tells them.

    user --POST--> server 1 ---PUBLISH---> broker ---message---> server 1 --event--> its users
                                                  ---message---> server 2 --event--> its users

A server never sends a message to its own users directly. It publishes it, and waits until the broker sends it back as to all
others. So all users see all messages, in the same order.

Where it helps: as soon as there are two servers. Without it a message reaches 1/n of the users of n servers.
Where it harms: the broker is needed for every message. While it is down, nothing is heard at all, where half was heard before.
Publish/subscribe delivers at most once: what is published while a server is not connected is lost for that server, and after a
crash of the broker its servers come back one second later. And each message has two more ways through the network to go.
"""

import asyncio
import math
from contextlib import AsyncExitStack, suppress
from statistics import fmean
from typing import Any, NamedTuple

from hub import Hub
from scenario import Figures, Peer, Run, arrivals, now, offer, percent, show, table

from minproto import Answer, Broker, EventStream, Request, Response


class Chat:
    """A server. ``hub``: the shared broker, or None."""

    def __init__(self, hub: Hub | None) -> None:
        self.hub, self.local = hub, Broker()

    async def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            return EventStream(self.local.subscribe("chat"))
        data = await request.read()
        if self.hub is None:
            self.local.publish("chat", data)
            return Response.text("said")
        try:
            await self.hub.command("PUBLISH", "chat", data.decode())
        except ConnectionError:
            return Response.text("the broker is down", 503)
        return Response.text("said")

    async def relay(self) -> None:
        """Give our users what the broker sends. Try again a second after the connection to it is lost."""
        while self.hub is not None:
            with suppress(ConnectionError):
                async for data in self.hub.messages("chat"):
                    self.local.publish("chat", data)
            await asyncio.sleep(1.0)


class Outcome(NamedTuple):
    senders: Figures
    users: int
    heard: list[tuple[float, float]]  # for each message at each user who heard it: when it was said, and how late it came

    @property
    def delay(self) -> float:
        return fmean(late for _, late in self.heard)

    def share(self, start: float = 0.0, end: float = math.inf) -> float:
        """Return how much of what was said between two times was heard, over all users."""
        heard = [at for at, _ in self.heard if start <= at < end]
        return len(heard) / (len(self.senders.between(start, end).visits) * self.users)


async def chat(
    shared: bool, servers: int = 2, users: int = 4, rate: float = 2.0, down: tuple[float, float] = (math.inf, math.inf),
    seconds: float = 120.0, seed: int = 1,
) -> Outcome:  # fmt: skip
    """``users`` of each server hear what is said at any server, ``rate`` times a second. ``down``: when the broker is."""
    heard = list[tuple[float, float]]()

    async def listen(peer: Peer) -> None:
        async for event in peer.events("/events"):
            heard.append((float(event.data), now() - float(event.data)))

    async def fail(hub: Hub) -> None:
        await asyncio.sleep(min(down[0], seconds))
        if down[0] < seconds:
            await hub.stop()
            await asyncio.sleep(down[1] - now())
            await hub.start()

    async def say(number: int) -> int:
        return (await peers[number % servers].post("/say", f"{now():.6f}".encode())).status

    async with Hub() as hub, AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        apps = [Chat(hub if shared else None) for _ in range(servers)]
        peers = [await stack.enter_async_context(Peer(app)) for app in apps]
        tasks = [group.create_task(work) for work in (fail(hub), *(app.relay() for app in apps))]
        tasks += [group.create_task(listen(peer)) for peer in peers for _ in range(users)]
        senders = await offer([1 + at for at in arrivals(rate, seconds, seed)], say)
        await asyncio.sleep(1.0)
        for task in tasks:
            task.cancel()
    return Outcome(senders, servers * users, heard)


def measure(run: Run[Any]) -> str:
    def both(**how: Any) -> list[Outcome]:
        return [run(chat(shared, **how)) for shared in (False, True)]

    two, five, outage = both(), both(servers=5), both(down=(30.0, 90.0))
    return table(["without", "with"], [
        "two servers with four users each, 2 messages a second",
        ("messages heard", *(percent(outcome.share()) for outcome in two)),
        ("delay of a message, on average", *(f"{1000 * outcome.delay:.1f} ms" for outcome in two)),
        "five servers",
        ("messages heard", *(percent(outcome.share()) for outcome in five)),
        "two servers; the broker is down for one of two minutes",
        ("messages accepted meanwhile", *(percent(outcome.senders.between(30, 90).served) for outcome in outage)),
        ("messages heard meanwhile", *(percent(outcome.share(30, 90)) for outcome in outage)),
        ("messages heard in the second after", *(percent(outcome.share(90, 91)) for outcome in outage)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
