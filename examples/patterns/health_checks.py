"""Health checks: which servers a balancer may use. Active checks ask a server; passive ones watch what it answers to users.

The problem: a balancer gives requests to three servers in turn. One of them hangs for 20 s, so a third of the users wait
until the balancer gives up after 2 s. Or it lost its database and answers each of them with 500.

    users --> balancer --a third each--> server 1
                       ----------------> server 2
                       ----------------> server 3    hangs, or answers 500

    active     GET /health every 2 s, for at most 1 s: after two failures the server is out, after two successes it is back
    passive    three users in a row without a good answer, and the server is out for 10 s

Where it helps: a server that hangs is out after some seconds. Active checks cost requests, and no user has to fail. Passive
checks see what ``/health`` does not know, such as a lost database, but users pay for each look.
Where it harms: overload. A server that is only busy fails its checks, too. The others then get its users, are busier, and
fail as well. In the end no server is left, although all of them work.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from scenario import Backend, Figures, Peer, Run, arrivals, now, offer, percent, show, table

from minproto import Answer, Request, Response

WAYS = {"without": (False, False), "active": (True, False), "passive": (False, True), "both": (True, True)}
"""The name of a way; whether there are active and passive checks."""


class Target:
    """A server as the balancer sees it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.healthy, self.differing = True, 0  # what the active checks say; how many in a row have said otherwise
        self.failed, self.out_until = 0, 0.0  # passive checks

    async def check(self) -> None:
        """Ask for /health, for ever."""
        while True:
            await asyncio.sleep(2.0)
            good = await self.ask("/health", 1.0) == 200
            self.differing = 0 if good == self.healthy else self.differing + 1
            if self.differing == 2:
                self.healthy, self.differing = good, 0

    async def ask(self, target: str, deadline: float) -> int:
        try:
            async with asyncio.timeout(deadline):
                return (await self.peer.get(target)).status
        except TimeoutError:
            return 504

    def watch(self, status: int) -> None:
        """Learn from a user's answer."""
        self.failed = 0 if status < 500 else self.failed + 1
        if self.failed == 3:
            self.failed, self.out_until = 0, now() + 10.0


def server(backend: Backend, fault: str, start: float, end: float) -> Callable[[Request], Any]:
    """Return the app of a server that has a fault between two times."""

    async def app(request: Request) -> Answer:
        faulty = fault if start <= now() < end else ""
        if faulty == "hangs":
            await asyncio.sleep(end - now())
        if faulty == "no database" and request.path != "/health":
            return Response.text("", 500)
        return await backend(request)

    return app


async def farm(
    way: str, fault: str = "", rate: float = 6.0, capacity: float = 4.0, seconds: float = 60.0, start: float = 20.0,
    lasts: float = 20.0, seed: int = 1,
) -> Figures:  # fmt: skip
    """Three servers that can do ``capacity`` requests a second each. The third has the fault from ``start`` on."""
    active, passive = WAYS[way]
    backends = [Backend(1 / capacity, line=4) for _ in range(3)]
    faults = ["", "", fault]
    apps = [server(backend, fault, start, start + lasts) for backend, fault in zip(backends, faults, strict=True)]
    async with Peer(apps[0]) as one, Peer(apps[1]) as two, Peer(apps[2]) as three, asyncio.TaskGroup() as group:
        targets = [Target(peer) for peer in (one, two, three)]
        checks = [group.create_task(target.check()) for target in targets if active]

        async def ask(number: int) -> int:
            usable = [target for target in targets if target.healthy and now() >= target.out_until]
            if not usable:
                return 503
            target = usable[number % len(usable)]
            status = await target.ask("/", 2.0)
            if passive:
                target.watch(status)
            return status

        figures = await offer(arrivals(rate, seconds, seed), ask)
        for check in checks:
            check.cancel()
    return figures


def measure(run: Run[Any]) -> str:
    def each(**how: Any) -> list[Figures]:
        return [run(farm(way, **how)) for way in WAYS]

    hangs, broken = ([figures.between(20, 40) for figures in each(fault=fault)] for fault in ("hangs", "no database"))
    return table(list(WAYS), [
        "one of three servers hangs for 20 s",
        ("users served meanwhile", *(percent(figures.served) for figures in hangs)),
        "one of three servers has lost its database, but answers /health",
        ("users served meanwhile", *(percent(figures.served) for figures in broken)),
        "all servers work, at 120 % load",
        ("users served", *(percent(figures.served) for figures in each(rate=14.4))),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
