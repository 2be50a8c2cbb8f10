"""Retry: ask again after a failure; later each time (back-off), at random times (jitter), and not too often (a budget).

The problem: one request in ten fails by chance. A second attempt succeeds nine times in ten, so the user need not see the
failure. But a server that is too slow fails, too, and then each attempt is more load. Take a server that can answer 4
requests a second and gets 2.4. It pauses for 10 s, so its users give up after 2.5 s and ask again, up to four times:

    2.4 users a second --- x 4 attempts = 9.6 requests a second --> [ line: 100 requests ] --> 4 answers a second
                                                                      all of them too late: nobody waits for them

The pause ends, but the overload stays: each answer comes too late, and so causes the next attempt. This is a *retry storm*.

    wait before attempt      2              3              4
    at once                  0              0              0
    back-off                 1 s            2 s            4 s
    with jitter              0.5 to 1.5 s   1 to 3 s       2 to 6 s
    with a budget            the same, but each user adds a tenth of a token, and each repeat takes a whole token

Where it helps: failures by chance, and a server that refuses. Back-off gives such a server time. Jitter helps when many
clients fail in the same moment, since clients that come back together fail together again.
Where it harms: a load that repeats turn into overload (users x attempts > capacity). Back-off does not end a storm: each
user still causes four requests, only later. A budget bounds the repeats to a tenth of the requests, so the storm ends. The
price of the budget: where many requests fail by chance, it gives up on users whom a repeat would have served.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple

from scenario import Backend, Figures, Peer, Run, arrivals, offer, percent, show, table

from minproto import Answer, Request, Response


class Retry:
    def __init__(self, attempts: int, base: float = 0.0, jitter: bool = False, budget: float = math.inf) -> None:
        """``base``: the seconds before the second attempt. ``budget``: the tokens that each user adds."""
        self.attempts, self.base, self.jitter, self.budget = attempts, base, jitter, budget
        self.tokens, self.random = 10.0, Random(1)

    async def call(self, ask: Callable[[], Awaitable[int]]) -> int:
        """Return the status of the first answer that is no failure, or of the last attempt."""
        self.tokens = min(self.tokens + self.budget, max(self.budget, 10.0))
        status = await ask()
        for attempt in range(self.attempts - 1):
            if status < 500 or self.tokens < 1:
                break
            self.tokens -= 1
            await asyncio.sleep(self.base * 2**attempt * (self.random.uniform(0.5, 1.5) if self.jitter else 1.0))
            status = await ask()
        return status


POLICIES: dict[str, Callable[[], Retry]] = {
    "no retry": lambda: Retry(1),
    "at once": lambda: Retry(4),
    "back-off": lambda: Retry(4, base=1.0),
    "with jitter": lambda: Retry(4, base=1.0, jitter=True),
    "with a budget": lambda: Retry(4, base=1.0, jitter=True, budget=0.1),
}


class Outcome(NamedTuple):
    users: Figures
    requests: float  # for each user


async def service(
    retry: Retry, times: list[float], capacity: float = 4.0, line: float = math.inf, failing: float = 0.0, pause: float = 0.0,
    patience: float = 2.5, seed: int = 1,
) -> Outcome:  # fmt: skip
    """Users ask a server that answers ``capacity`` requests a second, and that works on nothing for the first ``pause`` s."""
    backend, chance = Backend(1 / capacity, line=line), Random(seed)

    async def app(request: Request) -> Answer:
        answer = await backend(request)
        return Response.text("", 500) if chance.random() < failing else answer

    async def attempt() -> int:
        try:
            async with asyncio.timeout(patience):
                return (await server.get("/")).status
        except TimeoutError:
            return 504

    backend.pause(pause)
    async with Peer(app) as server:
        users = await offer(times, lambda _: retry.call(attempt))
    return Outcome(users, backend.asked / len(times))


def measure(run: Run[Any]) -> str:
    def each(times: list[float], **how: Any) -> list[Outcome]:
        return [run(service(policy(), times, **how)) for policy in POLICIES.values()]

    def rows(outcomes: list[Outcome], since: float = 0.0) -> list[tuple[str, ...]]:
        served = (percent(outcome.users.between(since, math.inf).served) for outcome in outcomes)
        return [("users served", *served), ("requests for each user", *(f"{outcome.requests:.2f}" for outcome in outcomes))]

    return table(list(POLICIES), [
        "one request in ten fails by chance",
        *rows(each(arrivals(1.0, 200, 1), failing=0.1)),
        "every second request fails by chance",
        *rows(each(arrivals(1.0, 200, 1), failing=0.5)),
        "60 users in one moment, and a server that lets 8 wait",
        *rows(each([0.0] * 60, line=8)),
        "a pause of 10 s at 60 % load: users of the minute after the next two",
        *rows(each(arrivals(2.4, 190, 1), pause=10.0), since=130),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
