"""Strangler fig: a proxy moves the traffic from an old service to a new one, a few percent at a time, and back if it fails.

The problem: a new service is to replace an old one. It was tested, but real traffic finds what tests do not: it fails one
request in five. To switch all users in one night means that all of them find this, and stay with it until morning.

    users --> proxy --95 %--> old service          5 % --> 20 % --> 50 % --> 100 %   a step every 30 s,
                    -- 5 %--> new service          if at most 2 % of the answers in the step before were failures;
                              |                    else back to 0 %: the old one gets all traffic
                              `-- fails 1 in 5

A user's number decides which service answers, not chance. So a user who was moved stays moved at each later step, and sees one
service and not a mixture of both.

Where it helps: a fault that shows often enough is found by a few users, and the others never meet it.
Where it harms: a new service without faults takes over a minute and a half later, and both have to run until then. A fault
that is rarer than the judgement allows passes all steps. And the judgement of a small step rests on a few answers: one failure
by chance ends the move.
"""

import math
from random import Random
from typing import Any, NamedTuple

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, now, offer, show, table

from minproto import Answer, Request, Response

STEPS = [0.05, 0.2, 0.5, 1.0]
PLANS = {"switch": ([1.0], 1.0), "switch, judged": ([1.0], 0.02), "by percentages": (STEPS, 0.02)}


class Fig:
    """``share``: how much of the traffic the new service gets, from 0 to 1.

    ``steps``: the shares, each for ``pause`` seconds and the last one for ever. At the end of each pause, the move ends if
    more of the new service's answers were failures than ``allowed``, a share as well.
    """

    def __init__(self, steps: list[float], allowed: float, pause: float = 30.0) -> None:
        self.steps, self.allowed, self.pause = [*steps], allowed, pause
        self.share, self.whole_at = 0.0, math.inf
        self.judge_at, self.answers, self.failures = 0.0, 0, 0

    def judge(self) -> None:
        """Take the next step, or go back, if the pause is over. The first step begins with the first request."""
        if now() < self.judge_at:
            return
        if self.failures > self.allowed * self.answers:
            self.steps, self.share, self.whole_at = [], 0.0, math.inf
        elif self.steps:
            self.share = self.steps.pop(0)
            self.whole_at = now() if self.share == 1 else math.inf
        self.judge_at, self.answers, self.failures = now() + self.pause, 0, 0

    def takes(self, user: int) -> bool:
        """Whether the new service answers this user. A user whom it takes at 5 % is taken at 20 %, too."""
        self.judge()
        return Random(user).random() < self.share

    def heard(self, status: int) -> None:
        self.answers += 1
        self.failures += status >= 500


class Outcome(NamedTuple):
    requests: Figures
    failed: int
    whole_at: float  # the seconds until the new service had all traffic, and kept it


async def move(
    fig: Fig, failing: float = 0.0, capacity: float = 20.0, rate: float = 4.0, seconds: float = 150.0,
    seed: int = 1,
) -> Outcome:  # fmt: skip
    """``failing``: the chance that the new service fails. ``capacity``: how many requests a second it can do."""
    chance, who = Random(seed), Random(seed + 1)
    new = Backend(1 / capacity, line=8)

    async def new_app(request: Request) -> Answer:
        answer = await new(request)
        return Response.text("a fault", 500) if chance.random() < failing else answer

    async def proxy(request: Request) -> Response:
        moved = fig.takes(int(request.path[1:]))
        answer = await (new_peer if moved else old_peer).get("/page")
        if moved:
            fig.heard(answer.status)
        return Response(answer.body, answer.status)

    async with Peer(Backend(1 / 20)) as old_peer, Peer(new_app) as new_peer, Peer(proxy) as front:

        async def ask(number: int) -> int:
            return (await front.get(f"/{who.randrange(1_000)}")).status

        requests = await offer(arrivals(rate, seconds, seed), ask)
    return Outcome(requests, len(requests.visits) - len(requests.good), fig.whole_at)


def measure(run: Run[Any]) -> str:
    def each(**how: Any) -> list[Outcome]:
        return [run(move(Fig(*plan), **how)) for plan in PLANS.values()]

    def failed(outcomes: list[Outcome]) -> tuple[str, ...]:
        return ("requests that failed", *(str(outcome.failed) for outcome in outcomes))

    def whole(outcomes: list[Outcome]) -> tuple[str, ...]:
        return ("until it has all traffic", *(milliseconds(outcome.whole_at) for outcome in outcomes))

    return table(list(PLANS), [
        "4 requests a second for 150 s; the new service fails one request in five", failed(each(failing=0.2)),
        "it can do only 2 requests a second", failed(each(capacity=2.0)),
        "it has no fault", whole(each()),
        "it fails one request in a hundred, which is allowed", whole(each(failing=0.01)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
