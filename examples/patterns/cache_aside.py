"""Cache-aside with stampede protection: read from a cache first; of many who miss at once, let one ask the database.

The problem: a shop's front page needs a query of 0.5 s, the database answers 4 of them at the same time, so 8 a second, and
20 users come each second. With a cache, one query serves everybody for 10 s. But when the value expires, the 10 users of the
next half second all miss and all ask: a *stampede* (also: thundering herd, dogpile).

    user --> app --1--> cache: "front page"? --hit--> answer
                 --2--> database, if it was a miss (0.5 s, four at the same time)
                 --3--> cache: keep the answer for 10 s

    without protection        miss, miss, miss, miss ... --> 10 queries in a row, the last one after 1.5 s
    one asks                  miss --> 1 query; who comes meanwhile waits for its answer
    stale while revalidating  the old value is still served while one query fetches the new one: nobody waits

Where it helps: values that are read much more often than they change. Protection helps when many users want one value: users
a second x seconds of a query > 1. Ask for different values, and it changes nothing.
Where it harms: answers are stale, for up to as long as a value is kept (and for one query more while revalidating). If each
value is asked for once, the cache only adds its own time. And all who wait for one query share its failure.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Any, NamedTuple

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, now, offer, percent, show, table

from minproto import Request, Response


class Way(Enum):
    NO_CACHE = "no cache"
    CACHE = "cache"
    ONE_ASKS = "one asks"
    STALE = "stale while revalidating"


class Kept(NamedTuple):
    value: int
    until: float


class Cache:
    """``get(key)`` reads from the cache, or calls ``load(key)``. The cache itself takes a millisecond, as Redis does."""

    def __init__(self, way: Way, load: Callable[[str], Any], seconds: float) -> None:
        self.way, self.load, self.seconds = way, load, seconds
        self.kept: dict[str, Kept] = {}
        self.loading: dict[str, asyncio.Task[int]] = {}

    async def get(self, key: str) -> int:
        if self.way is Way.NO_CACHE:
            return await self.load(key)
        await asyncio.sleep(0.001)
        kept = self.kept.get(key)
        if kept is not None and now() < kept.until:
            return kept.value
        if self.way is Way.CACHE:
            return await self.refresh(key)
        if key not in self.loading:
            self.loading[key] = asyncio.create_task(self.refresh(key))
            self.loading[key].add_done_callback(lambda _: self.loading.pop(key))
        if kept is not None and self.way is Way.STALE:
            return kept.value
        return await asyncio.shield(self.loading[key])  # a user who leaves must not stop the query of all others

    async def refresh(self, key: str) -> int:
        value = await self.load(key)
        self.kept[key] = Kept(value, now() + self.seconds)
        return value


class Outcome(NamedTuple):
    users: Figures
    queries: int
    stale: float  # the share of good answers that were out of date when they were sent


async def shop(
    way: Way, rate: float = 20.0, keys: int = 1, keep: float = 10.0, changes: float = 30.0, query: float = 0.5,
    seconds: float = 120.0, seed: int = 1,
) -> Outcome:  # fmt: skip
    """Users ask for one of ``keys`` values, each of which changes every ``changes`` seconds. They leave after 2 s."""
    database, chance, stale = Backend(query, places=4), Random(seed), 0

    def version() -> int:
        return int(now() / changes)

    async def load(key: str) -> int:
        database.asked += 1
        await database.work(query)
        return version()

    async def app(request: Request) -> Response:
        nonlocal stale
        value = await cache.get(request.path)
        stale += value != version()
        return Response.text(str(value))

    cache = Cache(way, load, keep)
    async with Peer(app) as front:

        async def ask(number: int) -> int:
            return (await front.get(f"/{chance.randrange(keys)}")).status

        users = await offer(arrivals(rate, seconds, seed), ask, patience=2.0)
        await asyncio.gather(*cache.loading.values())
    return Outcome(users, database.asked, stale / len(users.visits))


def measure(run: Run[Any]) -> str:
    def each(**how: Any) -> list[Outcome]:
        return [run(shop(way, **how)) for way in Way]

    one, many = each(), each(keys=1_000_000, rate=4.0)
    return table([way.value for way in Way], [
        "20 users a second want one value, which is kept for 10 s",
        ("users served within 2 s", *(percent(outcome.users.served) for outcome in one)),
        ("99th percentile", *(milliseconds(outcome.users.percentile(99)) for outcome in one)),
        ("queries in two minutes", *(str(outcome.queries) for outcome in one)),
        ("stale answers: the value changes every 30 s", *(percent(outcome.stale) for outcome in one)),
        "4 users a second, and each wants another value",
        ("median", *(milliseconds(outcome.users.percentile(50)) for outcome in many)),
        ("queries in two minutes", *(str(outcome.queries) for outcome in many)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
