"""One rate limit for two servers: a counter for each window, in Redis.

The problem: a user may send 10 requests in 10 s. There are two servers behind a balancer, and each counts for itself. So the
user gets 20 through. With a counter in Redis both count together, if they count in one step:

    user --> server 1 --INCR limit:user:7--> Redis    one step: each server gets another number
         --> server 2 --INCR limit:user:7-->

    user --> server 1 --GET limit:user:7---> Redis    3             two steps: both read 3, both write 4,
         --> server 2 --GET limit:user:7-->           3             and one request was not counted
             server 1 --SET limit:user:7 4-->
             server 2 --SET limit:user:7 4-->

Where it helps: any number of servers hold one limit. The longer the way to Redis, the more requests two steps let through,
and the more INCR saves.
Where it harms: each request waits for Redis, also those within the limit. And when Redis is away, somebody has to decide:
here a server then lets each request through (fail open), so the limit is gone when it may be needed most. To refuse (fail
closed) makes Redis a part without which no user is served.

In virtual time a stand-in with three commands takes Redis' place. ``--live`` starts a redis-server, and the client is the
same.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from scenario import Figures, Peer, Run, arrivals, now, offer, show, table
from store import Redis, redis

from minproto import Request, Response

LIMIT, WINDOW = 10, 10.0
WAYS = ("each alone", "GET and SET", "INCR")


class Limiter:
    """Counts the requests of a user in each window, in one of three ways."""

    def __init__(self, way: str, store: Redis, away: bool) -> None:
        self.way, self.store, self.away, self.own = way, store, away, Counter[str]()

    async def allows(self, user: str) -> bool:
        key = f"limit:{user}:{int(now() / WINDOW)}"
        try:
            return await self.count(key) <= LIMIT
        except ConnectionError:
            return True  # fail open

    async def count(self, key: str) -> int:
        if self.way == "each alone":
            self.own[key] += 1
            return self.own[key]
        if self.way == "GET and SET":
            number = int(await self.command("GET", key) or 0) + 1
            await self.command("SET", key, str(number), "EX", "20")
            return number
        number = await self.command("INCR", key)
        if number == 1:
            await self.command("EXPIRE", key, "20")  # or the counters of all windows would stay for ever
        return number

    async def command(self, *words: str) -> Any:
        if self.away:
            raise ConnectionError("Redis is away")
        return await self.store.command(*words)


def server(limiter: Limiter) -> Callable[[Request], Any]:
    async def app(request: Request) -> Response:
        return Response.text("", 200 if await limiter.allows(request.query["user"]) else 429)

    return app


async def site(way: str, times: list[float], away: bool = False, delay: float = 0.001) -> Figures:
    """One user asks two servers in turn. Redis is ``delay`` seconds from them, one way."""
    async with redis(delay) as connect:
        limiters = [Limiter(way, await connect(), away) for _ in range(2)]
        async with Peer(server(limiters[0])) as one, Peer(server(limiters[1])) as two:

            async def ask(number: int) -> int:
                return (await (one, two)[number % 2].get("/?user=7")).status

            return await offer(times, ask)


def measure(run: Run[Any]) -> str:
    burst = [1.0 + 0.002 * number for number in range(40)]
    many, away = ([run(site(way, burst, away=is_away)) for way in WAYS] for is_away in (False, True))
    few = [run(site(way, arrivals(0.5, 100, 1))) for way in WAYS]
    return table(WAYS, [
        "40 requests of one user within 80 ms, to two servers in turn; the limit is 10",
        ("let through", *(str(len(figures.good)) for figures in many)),
        "one request every two seconds, and Redis is 1 ms away",
        ("median", *(f"{1000 * figures.percentile(50):.1f} ms" for figures in few)),
        "the 40 requests again, while Redis is away",
        ("let through", *(str(len(figures.good)) for figures in away)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
