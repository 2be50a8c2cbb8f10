"""Sessions on several servers: sticky (each user always gets the same server) against shared (all servers ask one store).

The problem: a user logs in and gets a cookie, and the server keeps the session in its memory. Behind a balancer the next
request reaches another server, which knows nothing of the session, so the user has to log in again.

    user --Cookie: id=7--> balancer --> server 1 {7: ...}
                                    --> server 2 {}           "who are you?"  401
                                    --> server 3 {}

    sticky    the balancer remembers which server the cookie came from, and asks this server again
    shared    the servers keep no session: all ask one store, such as Redis, which takes 2 ms

Where it helps: both find each session, as long as nothing fails. A shared session survives the restart of a server. A sticky
session is lost with it, so a third of the users log in again.
Where it harms: sticky sessions tie the load to the users. If one user sends most of the requests, one server is overloaded
beside two that are idle. A shared store costs its time in each request, and when it is away, all users fail on all servers.
"""

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, now, offer, percent, show, table

from minproto import Request, Response

WAYS = ("own memory", "sticky", "shared")


class Store:
    """Where sessions are kept: in a server's memory, or in a store that takes ``seconds`` and is away between two times."""

    def __init__(self, seconds: float = 0.0, away: tuple[float, float] = (math.inf, math.inf)) -> None:
        self.sessions, self.seconds, self.away = set[str](), seconds, away

    async def knows(self, session: str, keep: bool) -> bool:
        """Return whether there is such a session. ``keep``: begin it."""
        await asyncio.sleep(self.seconds)
        if self.away[0] <= now() < self.away[1]:
            raise ConnectionError("the store is away")
        if keep:
            self.sessions.add(session)
        return session in self.sessions


def server(store: Store) -> Callable[[Request], Any]:
    """Return an app that can do 10 requests a second."""
    backend = Backend(0.1)

    async def app(request: Request) -> Response:
        await backend.work(0.1)
        cookie = request.headers.get("cookie") or f"id={request.query['user']}"
        try:
            known = await store.knows(cookie, keep=request.path == "/login")
        except ConnectionError:
            return Response.text("", 503)
        return Response.text("", 200, [("set-cookie", cookie)]) if known else Response.text("who are you?", 401)

    return app


class Outcome(NamedTuple):
    requests: Figures
    logins: int  # those that a user had to repeat


async def site(
    way: str, restart: float = math.inf, away: tuple[float, float] = (math.inf, math.inf), heavy: float = 0.0,
    rate: float = 15.0, seconds: float = 60.0, seed: int = 1,
) -> Outcome:  # fmt: skip
    """30 users. ``heavy``: one of them sends this share of all requests. The first server restarts, the store is away."""
    stores = [Store(0.002, away)] * 3 if way == "shared" else [Store() for _ in range(3)]
    chance, cookies, places, logins = Random(seed), dict[int, str](), dict[int, int](), 0
    if restart < math.inf and way != "shared":
        asyncio.get_running_loop().call_at(restart, stores[0].sessions.clear)
    async with Peer(server(stores[0])) as one, Peer(server(stores[1])) as two, Peer(server(stores[2])) as three:

        def choose(user: int, number: int) -> Peer:
            place = places.setdefault(user, number % 3) if way == "sticky" else number % 3
            return (one, two, three)[place]

        async def ask(number: int) -> int:
            nonlocal logins
            user = 0 if chance.random() < heavy else chance.randrange(30)
            if user in cookies:
                answer = await choose(user, number).get("/cart", [("cookie", cookies[user])])
                if answer.status != 401:
                    return answer.status
                logins += 1
            answer = await choose(user, number).get(f"/login?user={user}")
            if cookie := answer.headers.get("set-cookie"):
                cookies[user] = cookie
            return answer.status

        requests = await offer(arrivals(rate, seconds, seed), ask, patience=4.0)
    return Outcome(requests, logins)


def measure(run: Run[Any]) -> str:
    def each(**how: Any) -> list[Outcome]:
        return [run(site(way, **how)) for way in WAYS]

    calm, restart, away, heavy = each(), each(restart=30.0), each(away=(30.0, 40.0)), each(heavy=0.8)
    return table(WAYS, [
        "30 users, 15 requests a second, three servers",
        ("repeated logins", *(str(outcome.logins) for outcome in calm)),
        ("median", *(milliseconds(outcome.requests.percentile(50)) for outcome in calm)),
        "one server restarts",
        ("repeated logins", *(str(outcome.logins) for outcome in restart)),
        "the store is away for 10 s",
        ("requests served meanwhile", *(percent(outcome.requests.between(30, 40).served) for outcome in away)),
        "one user sends 80 % of the requests",
        ("requests served", *(percent(outcome.requests.served) for outcome in heavy)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
