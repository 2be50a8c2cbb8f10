"""Circuit breaker: after five failures in a row, fail at once for ten seconds, then let one request try.

The problem: a shop has 8 workers, and asks a payment service. When that service hangs, each payment holds a worker until its
timeout of 5 s. Two payments a second hold 2 x 5 = 10 workers, but there are 8. So pages that need no payment wait as well,
and their users leave after 2 s. The failure of one service has become the failure of all.

    1 page a second       ---> +-----------------+
                               | shop: 8 workers | ---timeout: 5 s---> payment service
    2 payments a second   ---> +-----------------+                     hangs from 3:00 to 6:00

A breaker stands on the arrow to the payment service:

                     five failures in a row
         CLOSED ------------------------------> OPEN: each call fails at once
           ^                                    |  ^
           |                        after 10 s  |  |  it has failed
           |          it has succeeded          v  |
           `----------------------------------- HALF_OPEN: one call tries, all others fail at once

Where it helps: the timeouts hold more workers than there are (payments a second x timeout > workers). It costs the time
until it notices: pages are lost while the first calls wait for their timeout, and payments in the ten seconds after the
outage.
Where it does nothing for the pages: the timeouts hold fewer workers than there are. Payments then fail sooner, which is all.
Where it harms: failures by chance, of a service that works. If each call fails with probability 1/2, five calls in a row
fail every 62 calls on average. The breaker then turns away ten seconds of payments, half of which would have succeeded.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from random import Random
from typing import Any, NamedTuple

from scenario import Figures, Peer, Run, arrivals, milliseconds, now, offer, percent, show, table

from minproto import Request, Response


class State(Enum):
    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


class Breaker:
    def __init__(self, failures: float = 5, pause: float = 10.0) -> None:
        """``failures``: this many in a row open the breaker. With infinity it never opens: that is the run without it."""
        self.state, self.failed, self.reopens_at = State.CLOSED, 0, 0.0
        self.limit, self.pause = failures, pause

    async def call(self, ask: Callable[[], Awaitable[int]]) -> int:
        """Return the status of the answer, 503 at once if the breaker is open, 504 if there was no answer."""
        if self.state is State.OPEN and now() >= self.reopens_at:
            self.state = State.HALF_OPEN
        elif self.state is not State.CLOSED:
            return 503
        status = 504  # also for a call that is cancelled: otherwise the breaker would stay half open for ever
        try:
            status = await ask()
        except TimeoutError:
            pass
        finally:
            self.settle(status < 500)
        return status

    def settle(self, succeeded: bool) -> None:
        if self.state is State.OPEN:
            return  # the call began before the breaker opened, so it says nothing about the service now
        self.failed = 0 if succeeded else self.failed + 1
        if succeeded:
            self.state = State.CLOSED
        elif self.state is State.HALF_OPEN or self.failed >= self.limit:
            self.state, self.reopens_at = State.OPEN, now() + self.pause


class Outcome(NamedTuple):
    pages: Figures
    payments: Figures
    asked: list[float]  # the times of the requests that reached the payment service


async def shop(
    breaker: Breaker, payments: float = 2.0, pages: float = 1.0, deadline: float = 5.0, workers: int = 8,
    hangs: tuple[float, float] = (0.0, 0.0), failing: float = 0.0, seconds: float = 600.0, seed: int = 1,
) -> Outcome:  # fmt: skip
    """Run the shop. ``payments``, ``pages``: a second. ``deadline``: of a payment. ``failing``: the chance that one fails."""
    chance, places, asked = Random(seed), asyncio.Semaphore(workers), list[float]()

    async def service(request: Request) -> Response:
        asked.append(now())
        await asyncio.sleep(60.0 if hangs[0] <= now() < hangs[1] else 0.1)
        return Response.text("", 500 if chance.random() < failing else 200)

    async def pay() -> int:
        async with asyncio.timeout(deadline):
            return (await bank.get("/pay")).status

    async def app(request: Request) -> Response:
        async with places:
            if request.path == "/pay":
                return Response.text("", await breaker.call(pay))
            await asyncio.sleep(0.05)
            return Response.text("a page")

    async def ask(target: str) -> int:
        return (await front.get(target)).status

    async with Peer(service) as bank, Peer(app) as front, asyncio.TaskGroup() as users:
        shown = users.create_task(offer(arrivals(pages, seconds, seed), lambda _: ask("/page"), patience=2.0))
        paid = users.create_task(offer(arrivals(payments, seconds, seed + 1), lambda _: ask("/pay"), patience=30.0))
        await asyncio.wait([shown, paid])
    return Outcome(shown.result(), paid.result(), asked)


def measure(run: Run[Any]) -> str:
    def both(**how: Any) -> list[Outcome]:
        return [run(shop(Breaker(failures), **how)) for failures in (math.inf, 5)]

    hang, few = both(hangs=(180, 360)), both(hangs=(180, 360), payments=1.0)
    chance = both(failing=0.5, payments=1.0)
    pages = [each.pages.between(180, 360) for each in hang]
    return table(["without", "with"], [
        "payments hang for 3 of 10 minutes, 2 payments a second",
        ("pages served meanwhile", *(percent(each.served) for each in pages)),
        ("their 99th percentile", *(milliseconds(each.percentile(99)) for each in pages)),
        ("requests to the payment service meanwhile", *(str(sum(180 <= at < 360 for at in each.asked)) for each in hang)),
        ("payments taken in the minute after", *(percent(each.payments.between(360, 420).served) for each in hang)),
        "the same with 1 payment a second: 5 of 8 workers wait",
        ("pages served meanwhile", *(percent(each.pages.between(180, 360).served) for each in few)),
        "half of the payments fail by chance, none hangs",
        ("payments taken", *(percent(each.payments.served) for each in chance)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
