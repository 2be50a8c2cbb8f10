"""Load balancing: which of several servers gets the next request.

The problem: three servers do the same work, and users send 15 requests a second. The first server can do 16 requests a
second, the others 4 each. A balancer that sends a third of the requests to each server overloads the slow ones (5 of 4 a
second), while the fast one has nothing to do for two thirds of its time.

    users --15 a second--> balancer --which one?--> fast    16 requests a second
                                    --------------> slow 1   4
                                    --------------> slow 2   4

    round robin          one after the other; knows nothing
    weighted             round robin, but the fast one has four turns of six; knows what it was told
    least connections    the one that has the fewest requests; sees each queue
    response time        of two servers drawn at random: the one with the smaller product of its recent answers' time and
                         its requests
    consistent hash      the key of the request decides, on a ring; the same user gets the same server

Where it helps: servers that differ. Least connections needs no setting, and notices by itself when a server becomes slow.
Consistent hash is not for speed. It keeps a user on one server, whose cache then has the user's data: when one server of ten
leaves, a tenth of the users move; with ``hash(user) % servers`` nine tenths move.
Where it harms: least connections takes a server that fails fast for a fast one, since a request that has failed is over. The
more it fails, the more it gets. Weights that were right make it worse when the fast server becomes slow.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, now, offer, percent, show, table

from minproto import Answer, Request, Response


class Target:
    """A server as the balancer sees it."""

    def __init__(self, peer: Peer, weight: int) -> None:
        self.peer, self.weight = peer, weight
        self.active = 0
        self.took = 0.0  # a moving average of the seconds that an answer took

    async def get(self, target: str) -> int:
        self.active += 1
        began = now()
        try:
            return (await self.peer.get(target)).status
        finally:
            self.active -= 1
            self.took += 0.2 * (now() - began - self.took)


Choose = Callable[[Sequence[Target], str], Target]


def round_robin() -> Choose:
    turns = count()
    return lambda targets, user: targets[next(turns) % len(targets)]


def weighted() -> Choose:
    turns = count()

    def choose(targets: Sequence[Target], user: str) -> Target:
        order = [target for target in targets for _ in range(target.weight)]
        return order[next(turns) % len(order)]

    return choose


def least_connections() -> Choose:
    turns = count()

    def choose(targets: Sequence[Target], user: str) -> Target:
        first = next(turns)  # ties go in turn, or the first server would get each request of a quiet hour
        return min((targets[(first + step) % len(targets)] for step in range(len(targets))), key=lambda each: each.active)

    return choose


def response_time() -> Choose:
    random = Random(1)
    return lambda targets, user: min(random.sample(targets, 2), key=lambda each: each.took * (each.active + 1))


def position(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def ring(servers: Sequence[str], points: int = 100) -> list[tuple[int, str]]:
    """Return the ring of a consistent hash: each server stands at 100 positions, which even out."""
    return sorted((position(f"{server}/{number}"), server) for server in servers for number in range(points))


def on_ring(where: Sequence[tuple[int, str]], user: str) -> str:
    """Return the server of a user: the next one on the ring."""
    return where[bisect(where, (position(user), "")) % len(where)][1]


def consistent_hash() -> Choose:
    places = ring(["0", "1", "2"])
    return lambda targets, user: targets[int(on_ring(places, user))]


POLICIES: dict[str, Callable[[], Choose]] = {
    "round robin": round_robin, "weighted": weighted, "least connections": least_connections,
    "response time": response_time, "consistent hash": consistent_hash,
}  # fmt: skip


async def balanced(
    choose: Choose, capacities: tuple[float, ...] = (16.0, 4.0, 4.0), rate: float = 15.0, failing: int | None = None,
    seconds: float = 40.0, seed: int = 1,
) -> Figures:  # fmt: skip
    """Users leave after 4 s. The server with the number ``failing`` answers each request with 500, at once."""
    chance = Random(seed)
    weights = [4, 1, 1]

    def app(number: int) -> Callable[[Request], Any]:
        backend = Backend(1 / capacities[number])

        async def answer(request: Request) -> Answer:
            return Response.text("", 500) if number == failing else await backend(request)

        return answer

    async with Peer(app(0)) as one, Peer(app(1)) as two, Peer(app(2)) as three:
        targets = [Target(peer, weight) for peer, weight in zip((one, two, three), weights, strict=True)]

        async def ask(number: int) -> int:
            user = f"/{chance.randrange(50)}"
            return await choose(targets, user).get(user)

        return await offer(arrivals(rate, seconds, seed), ask, patience=4.0)


def moved(servers: int, count: int = 2000) -> tuple[float, float]:
    """Return the shares of users who get another server when one leaves: with hash % servers, and on a ring."""
    names, users = [str(number) for number in range(servers)], [str(number) for number in range(count)]
    before, after = ring(names), ring(names[:-1])
    modulo = [user for user in users if position(user) % servers != position(user) % (servers - 1)]
    consistent = [user for user in users if on_ring(before, user) != on_ring(after, user)]
    return len(modulo) / len(users), len(consistent) / len(users)


def measure(run: Run[Any]) -> str:
    def each(**how: Any) -> list[Figures]:
        return [run(balanced(policy(), **how)) for policy in POLICIES.values()]

    differ, equal, broken = each(), each(capacities=(8.0, 8.0, 8.0)), each(capacities=(8.0, 8.0, 8.0), failing=2)
    modulo, consistent = (percent(share) for share in moved(10))
    return table(list(POLICIES), [
        "15 requests a second to servers that can do 16, 4 and 4",
        ("users served within 4 s", *(percent(figures.served) for figures in differ)),
        ("median", *(milliseconds(figures.percentile(50)) for figures in differ)),
        ("99th percentile", *(milliseconds(figures.percentile(99)) for figures in differ)),
        "the servers can do 8, 8 and 8, but the weights are still 4, 1 and 1",
        ("users served within 4 s", *(percent(figures.served) for figures in equal)),
        ("99th percentile", *(milliseconds(figures.percentile(99)) for figures in equal)),
        f"one server of ten leaves: {modulo} of the users move with hash % servers, {consistent} on the ring",
        "8, 8 and 8, and the third server answers each request with 500, at once",
        ("users served within 4 s", *(percent(figures.served) for figures in broken)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
