"""Rate limits: how many requests a user may send, by four algorithms.

The problem: a server can do 12 requests a second. Ten users ask every two seconds, and one program asks 20 times a second.
Soon the line is longer than anybody waits. A limit of 10 requests in 10 s for each user refuses the program's requests, with
429.

    all users --> server: may this user? --yes--> line --> 12 requests a second
                                         --no---> 429 (Too Many Requests), Retry-After: 3

    fixed window      a counter for each user and ten seconds: 12:00:00, 12:00:10, ...
    sliding window    the times of the user's last ten requests: the oldest must be ten seconds old
    token bucket      ten tokens; a request takes one, and one comes back each second
    leaky bucket      ten places in a line; one request leaves it each second. A limit by waiting

Where it helps: one user more than all others. Each algorithm protects the others. They differ in what they let through
within ten seconds. A user who knows the clock gets twice the limit through a fixed window in a moment. A token bucket lets a
full bucket through and then what flows back, also twice the limit. The others hold their limit.
Where it harms: a leaky bucket makes a page of ten parts wait, though the server is idle. And any limit for an address takes
all users behind it for one: a school, or a phone network.
"""

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, now, offer, percent, show, table

from minproto import Answer, Request, Response


class Limit(Protocol):
    def wait(self, user: str) -> float:
        """Count a request of a user. Return the seconds that it has to wait: 0 for now, infinity if it is refused."""


class NoLimit:
    def wait(self, user: str) -> float:
        return 0.0


class FixedWindow:
    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.window = limit, window
        self.counts: dict[tuple[str, int], int] = defaultdict(int)

    def wait(self, user: str) -> float:
        key = user, int(now() / self.window)
        self.counts[key] += 1
        return 0.0 if self.counts[key] <= self.limit else math.inf


class SlidingWindow:
    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.window = limit, window
        self.times: dict[str, deque[float]] = defaultdict(deque)

    def wait(self, user: str) -> float:
        times = self.times[user]
        while times and times[0] <= now() - self.window:
            times.popleft()
        if len(times) == self.limit:
            return math.inf
        times.append(now())
        return 0.0


class TokenBucket:
    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.rate = limit, limit / window
        self.tokens: dict[str, tuple[float, float]] = {}  # how many, and when that was

    def wait(self, user: str) -> float:
        tokens, at = self.tokens.get(user, (float(self.limit), now()))
        tokens = min(tokens + (now() - at) * self.rate, self.limit)
        self.tokens[user] = tokens - (tokens >= 1), now()
        return 0.0 if tokens >= 1 else math.inf


class LeakyBucket:
    def __init__(self, limit: int, window: float) -> None:
        self.window, self.pause = window, window / limit
        self.free: dict[str, float] = defaultdict(float)  # when the next request may leave

    def wait(self, user: str) -> float:
        wait = max(self.free[user] - now(), 0.0)
        if wait >= self.window:
            return math.inf
        self.free[user] = now() + wait + self.pause
        return wait


LIMITS: dict[str, Callable[[], Limit]] = {
    "no limit": NoLimit, "fixed window": lambda: FixedWindow(10, 10.0), "sliding window": lambda: SlidingWindow(10, 10.0),
    "token bucket": lambda: TokenBucket(10, 10.0), "leaky bucket": lambda: LeakyBucket(10, 10.0),
}  # fmt: skip


class Outcome(NamedTuple):
    users: dict[str, Figures]
    passed: dict[str, list[float]]  # when the requests of each user began to be worked on

    def most(self, user: str, window: float = 10.0) -> int:
        """Return how many requests of a user began within ``window`` seconds, at most."""
        times = self.passed[user]
        return max(sum(first <= at < first + window - 1e-6 for at in times) for first in times)


async def site(limit: Limit, users: dict[str, list[float]], capacity: float = 12.0, patience: float = 12.0) -> Outcome:
    """Each user, by the name that the limit counts, asks at these times."""
    backend, passed = Backend(1 / capacity), dict[str, list[float]]()

    async def app(request: Request) -> Answer:
        user = request.query["user"]
        wait = limit.wait(user)
        if wait == math.inf:
            return Response.text("", 429, [("retry-after", "10")])
        await asyncio.sleep(wait)
        passed.setdefault(user, []).append(now())
        return await backend(request)

    async with Peer(app) as server:

        async def ask(user: str, number: int) -> int:
            return (await server.get(f"/?user={user}")).status

        async with asyncio.TaskGroup() as group:
            tasks = {user: group.create_task(offer(times, partial(ask, user), patience)) for user, times in users.items()}
    return Outcome({user: task.result() for user, task in tasks.items()}, passed)


def measure(run: Run[Any]) -> str:
    def each(users: dict[str, list[float]]) -> list[Outcome]:
        return [run(site(limit(), users)) for limit in LIMITS.values()]

    people = {f"user{number}": arrivals(0.5, 40, number) for number in range(1, 11)}
    greedy = each({**people, "program": arrivals(20.0, 40, 11)})
    edge, page = each({"a": [9.9] * 10 + [10.1] * 30}), each({"a": [1.0] * 10})
    school = each({"address": arrivals(5.0, 40, 1)})
    others = [Figures([visit for user in people for visit in outcome.users[user].visits]) for outcome in greedy]
    return table(list(LIMITS), [
        "ten users, and a program that sends 20 requests a second",
        ("the users' requests served", *(percent(figures.served) for figures in others)),
        ("the program's requests served a second", *(f"{len(outcome.users['program'].good) / 40:.1f}" for outcome in greedy)),
        ("most that it got through within 10 s", *(str(outcome.most("program")) for outcome in greedy)),
        "40 requests of one user around the edge of a window",
        ("requests let through within 0.3 s", *(str(outcome.most("a", 0.3)) for outcome in edge)),
        "a page of ten parts, on an idle server",
        ("until its last part is there", *(milliseconds(outcome.users["a"].percentile(100)) for outcome in page)),
        "20 users behind one address, 5 requests a second in all",
        ("requests served", *(percent(outcome.users["address"].served) for outcome in school)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
