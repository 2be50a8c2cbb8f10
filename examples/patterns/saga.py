"""Saga: a chain of local transactions over several services, each with an action that undoes it, and a log of the steps.

The problem: a trip is a flight, a hotel and a payment, at three services with three databases. No transaction spans them. If
the payment fails, or the trip's own process crashes after the hotel, then a flight and a hotel are booked for nobody.

    POST /trip --> 1 flight --> 2 hotel --> 3 payment --> the trip is booked
                        |            |           `-- refused: then backwards
                        <-- cancel --<-- cancel --'
    log:          "flight"     "hotel"     "payment", each written before the step is taken

After a crash, the next process reads the log. It does not know whether the last step in it was taken. So it undoes this step
and all before it, and each undo must do no harm if there is nothing to undo, or if it was done before: it is *idempotent*.

Where it helps: a failure or a crash at any step leaves no half of a trip behind.
Where it harms: a saga is not isolated. Between booking and cancelling, others see the last seat taken, and are refused,
although it will be free again. One trip at a time would sell that seat, but then each waits for all before it. The log is
written several times for each trip. And an undo that is refused for good needs a person: here none is.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any, NamedTuple

from scenario import Crash, Figures, Peer, Run, arrivals, by_chance, milliseconds, offer, show, table

from minproto import Request, Response

WAYS = ["no undo", "undo, no log", "saga", "one at a time"]  # the last one is a saga, too
STEPS = ["flight", "hotel", "payment"]


class Service:
    """A service with its own database: POST /17 books for trip 17, DELETE /17 cancels. Both may be repeated."""

    def __init__(self, places: float = math.inf, refuses: Callable[[], bool] = lambda: False) -> None:
        self.places, self.refuses, self.booked = places, refuses, set[str]()

    async def __call__(self, request: Request) -> Response:
        await asyncio.sleep(0.1)
        if request.method == "DELETE":
            self.booked.discard(request.path)
        elif len(self.booked) >= self.places or self.refuses():
            return Response.text("refused", 409)
        else:
            self.booked.add(request.path)
        return Response.text("done")


class Trips:
    """The process that books trips. ``crash(step)`` raises Crash if the process is to die there; its log is on a disk."""

    def __init__(self, way: str, services: list[Peer], crash: Callable[[str], None]) -> None:
        self.services, self.crash = dict(zip(STEPS, services, strict=True)), crash
        self.undoes, self.has_log = way != "no undo", way in ("saga", "one at a time")
        self.turn = asyncio.Semaphore(1 if way == "one at a time" else 10**9)
        self.log, self.written, self.booked = dict[str, list[str]](), 0, set[str]()

    async def __call__(self, request: Request) -> Response:
        trip = request.path
        async with self.turn:
            try:
                return Response.text("", 200 if await self.book(trip) else 409)
            except Crash:
                while self.has_log:
                    await asyncio.sleep(1.0)  # until the next process has read the log, if this one does not crash, too
                    with suppress(Crash):
                        await self.undo(trip)
                        break
        return Response.text("crashed", 500)

    async def book(self, trip: str) -> bool:
        for step in STEPS:
            self.log.setdefault(trip, []).append(step)
            self.written += self.has_log
            self.crash(f"before {step}")
            answer = await self.services[step].post(trip)
            self.crash(f"after {step}")
            if answer.status != 200:
                if self.undoes:
                    await self.undo(trip)
                return False
        self.booked.add(trip)
        return True

    async def undo(self, trip: str) -> None:
        for step in reversed(self.log[trip]):
            await self.services[step].request("DELETE", trip)
            self.written += self.has_log
            self.crash(f"undone {step}")


class Outcome(NamedTuple):
    users: Figures
    halves: int  # trips that were not booked, but have left something booked
    broken: int  # trips that were booked, but lack a part
    written: float  # lines of the log, for each trip


async def agency(
    way: str, times: list[float], crash: Callable[[str], None], refused: float = 0.0, seats: float = math.inf, seed: int = 1
) -> Outcome:
    """Book a trip at each of these times. ``refused``: the chance that a payment is. ``seats``: of all flights together."""
    chance = Random(seed)
    services = [Service(seats), Service(), Service(refuses=lambda: chance.random() < refused)]
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(Peer(service)) for service in services]
        front = await stack.enter_async_context(Peer(trips := Trips(way, peers, crash)))

        async def ask(number: int) -> int:
            return (await front.post(f"/{number}")).status

        users = await offer(times, ask)
    some, all_three = (how(*(service.booked for service in services)) for how in (set.union, set.intersection))
    return Outcome(users, len(some - trips.booked), len(trips.booked - all_three), trips.written / len(times))


def measure(run: Run[Any]) -> str:
    times = arrivals(1.0, 300.0, 1)
    crashes = [run(agency(way, times, by_chance(0.02, 2), refused=0.2)) for way in WAYS]
    rush = [run(agency(way, [0.0] * 30, by_chance(0, 2), refused=0.5, seats=10)) for way in WAYS]
    return table(WAYS, [
        "a trip a second for 5 minutes; a payment in 5 is refused, a step in 50 crashes",
        ("trips booked", *(str(len(each.users.good)) for each in crashes)),
        ("trips not booked that left a flight or more", *(str(each.halves) for each in crashes)),
        ("lines of the log, for each trip", *(f"{each.written:.1f}" for each in crashes)),
        "30 trips in one moment, 10 seats, half of the payments are refused",
        ("seats sold", *(str(len(each.users.good)) for each in rush)),
        ("until the last one is answered", *(milliseconds(max(visit.took for visit in each.users.visits)) for each in rush)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
