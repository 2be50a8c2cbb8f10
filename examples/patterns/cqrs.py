"""CQRS: write to one model, read from another, which is made from the writes a little later.

The problem: a shop keeps its reviews one by one, and each product page shows their number. To count them takes the database
100 ms, and it counts for one page at a time. So ten pages a second are its limit, and a write waits behind the pages.

    POST /review --command--> write model: one row more ---event, after a lag---> read model: 4,711 reviews
    GET /product --query----------------------------------------------------------^  1 ms, many at a time

Where it helps: many more reads than writes, and an answer that is expensive to compute. A read then costs a look-up, and no
write waits for a read.
Where it harms: the read model lags. A user who has written a review and looks at the page at once does not see it. The third
column has a cure: the answer to the write has its number, and a read that names this number waits until the read model has it.
Where writes are more frequent than reads, each write costs an update as well, and saves nothing: writes wait for updates.
"""

import asyncio
from typing import Any, NamedTuple

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, offer, percent, show, table

from minproto import Request, Response

WAYS = ["one model", "CQRS", "CQRS, own writes"]
WRITE, COUNT, LOOK, UPDATE = 0.02, 0.1, 0.001, 0.05
"""Seconds of work for the database: add a row, count all rows, look a count up, bring the read model up to date."""


class Shop:
    def __init__(self, way: str, lag: float) -> None:
        self.way, self.lag = way, lag
        self.rows, self.summary = 0, 0  # the write model, and the read model
        self.database, self.reader = Backend(0, places=1), Backend(0, places=8)
        self.changed = asyncio.Event()
        self.updates = list[asyncio.Task[None]]()

    async def __call__(self, request: Request) -> Response:
        if request.method == "POST":
            return Response.text(str(await self.write()))
        return Response.text(str(await self.read(int(request.query.get("seen", "0")))))

    async def write(self) -> int:
        """Add a review, and return its number."""
        await self.database.work(WRITE)
        self.rows += 1
        if self.way != "one model":
            self.updates.append(asyncio.create_task(self.update(self.rows)))
        return self.rows

    async def update(self, number: int) -> None:
        await asyncio.sleep(self.lag)
        await self.database.work(UPDATE)
        self.summary = max(self.summary, number)
        self.changed.set()
        self.changed = asyncio.Event()

    async def read(self, least: int) -> int:
        """Return how many reviews there are. ``least``: what the user has seen before."""
        if self.way == "one model":
            await self.database.work(COUNT)
            return self.rows
        while self.way == "CQRS, own writes" and self.summary < least:
            await self.changed.wait()
        await self.reader.work(LOOK)
        return self.summary


class Outcome(NamedTuple):
    reads: Figures
    writers: Figures  # users who write a review, and then look at the page
    stale: float  # the share of reads that did not show all reviews
    unseen: float  # the share of the writers who did not see their own review


async def shop(
    way: str, reads: float = 12.0, writes: float = 0.5, looks: bool = True, lag: float = 1.0,
    seconds: float = 120.0, seed: int = 1,
) -> Outcome:  # fmt: skip
    """``reads``, ``writes``: a second. ``looks``: whether a writer looks at the page at once. ``lag``: of the read model."""
    app, stale, unseen = Shop(way, lag), list[bool](), list[bool]()
    async with Peer(app) as front, asyncio.TaskGroup() as users:

        async def look(number: int) -> int:
            answer = await front.get("/product")
            stale.append(int(answer.body) < app.rows)
            return answer.status

        async def write(number: int) -> int:
            answer = await front.post("/review")
            if not looks:
                return answer.status
            own = int(answer.body)
            answer = await front.get(f"/product?seen={own}")
            unseen.append(int(answer.body) < own)
            return answer.status

        looked = users.create_task(offer(arrivals(reads, seconds, seed), look, patience=2.0))
        wrote = users.create_task(offer(arrivals(writes, seconds, seed + 1), write, patience=5.0))
        await asyncio.wait([looked, wrote])
        await asyncio.gather(*app.updates)
    share = [flags.count(True) / max(len(flags), 1) for flags in (stale, unseen)]
    return Outcome(looked.result(), wrote.result(), *share)


def measure(run: Run[Any]) -> str:
    pages = [run(shop(way)) for way in WAYS]
    reviews = [run(shop(way, reads=1.0, writes=16.0, looks=False, seconds=30.0)) for way in WAYS]
    return table(WAYS, [
        "12 pages a second, and a review every 2 s; the read model lags by 1 s",
        ("pages served within 2 s", *(percent(outcome.reads.served) for outcome in pages)),
        ("their median", *(milliseconds(outcome.reads.percentile(50)) for outcome in pages)),
        ("pages that lack a review", *(percent(outcome.stale) for outcome in pages)),
        ("writers who do not see their own review", *(percent(outcome.unseen) for outcome in pages)),
        ("a writer's median, with a look at the page", *(milliseconds(outcome.writers.percentile(50)) for outcome in pages)),
        "1 page and 16 reviews a second",
        ("pages that lack a review", *(percent(outcome.stale) for outcome in reviews)),
        ("a writer's median", *(milliseconds(outcome.writers.percentile(50)) for outcome in reviews)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
