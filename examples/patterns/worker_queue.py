"""Worker queue: a job stays with the broker until a worker has acknowledged it, and is given to another one after a silence.

The problem: jobs wait in a queue, and four workers take them. A worker that crashes has a job in its hands. If the broker
forgot the job when it handed it out, the job is lost, and nobody knows.

    XADD jobs --> broker: consumer group --XREADGROUP--> worker 1: works 1 s, XACK --> the broker forgets the job
                     |         |
                     |         `-----------XREADGROUP--> worker 2: crashes
                     `-- pending for 5 s: XAUTOCLAIM --> worker 3: works, XACK

Where it helps: no job is lost, at whatever step workers crash.
Where it harms: a crash between the work and its acknowledgement makes the job run twice. So does a job that takes longer than
the silence, since a slow worker looks like a dead one. So jobs have to be idempotent. And a job that kills each worker that
takes it is given to one after the other for ever, unless the number of tries is limited. Then it goes to a *dead-letter*
topic, for a person.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from hub import Hub
from scenario import Crash, Run, arrivals, by_chance, milliseconds, now, show, table
from store import Redis


class Way(NamedTuple):
    acknowledges: bool
    tries: int = 10**9


WAYS = {"handed out": Way(False), "acknowledged": Way(True), "and 3 tries": Way(True, tries=3)}
SILENCE = "5000"  # the milliseconds after which a pending job is given to another worker
RESTART = 1.0  # the seconds until a worker that has crashed is there again, as a new process with a new name


class Outcome(NamedTuple):
    lost: int
    twice: int
    slowest: float  # the seconds until the slowest job was first done, of those that were
    crashes: int
    dead: int  # entries of the dead-letter topic


class Worker:
    """One process. ``crash(step)`` raises Crash if it is to die before this step."""

    def __init__(self, redis: Redis, name: str, way: Way, crash: Callable[[str], None]) -> None:
        self.redis, self.name, self.way, self.crash = redis, name, way, crash

    async def next_job(self) -> tuple[str, str]:
        """Return a job and its id: one that has been pending for too long, or else a new one."""
        options = [self.name, "COUNT", "1", "BLOCK", "500", *([] if self.way.acknowledges else ["NOACK"])]
        while True:
            found = []
            if self.way.acknowledges:
                claim = "XAUTOCLAIM", "jobs", "workers", self.name, SILENCE, "0", "COUNT", "1"
                _, found, _ = await self.redis.command(*claim)
            if not found:
                answer = await self.redis.command("XREADGROUP", "GROUP", "workers", *options, "STREAMS", "jobs", ">")
                found = answer[0][1] if isinstance(answer, list) else []  # or a null array: half a second without a job
            if found:
                ((number, (_, job)),) = found
                return number.decode(), job.decode()

    async def is_dead(self, number: str, job: str) -> bool:
        """Put a job that was tried too often into the dead-letter topic."""
        ((_, _, _, deliveries),) = await self.redis.command("XPENDING", "jobs", "workers", number, number, "1")
        if deliveries <= self.way.tries:
            return False
        await self.redis.command("XADD", "dead", "*", "job", job)
        return True

    async def run(self, do: Callable[[int], Awaitable[None]]) -> None:
        while True:
            number, job = await self.next_job()
            if not (self.way.acknowledges and await self.is_dead(number, job)):
                self.crash(f"work {job}")
                await do(int(job))
                self.crash(f"acknowledge {job}")
            if self.way.acknowledges:
                await self.redis.command("XACK", "jobs", "workers", number)


async def queue(
    way: Way, times: list[float], crash: Callable[[str], None], slow: float = 1.0, workers: int = 4, tail: float = 60
) -> Outcome:
    """A job comes at each of these times. ``slow``: the seconds of every tenth job. ``tail``: to wait for the last job."""
    done, took, crashes = Counter[int](), [0.0], list[str]()

    async def do(number: int) -> None:
        await asyncio.sleep(1.0 if number % 10 else slow)
        if number not in done:
            took.append(now() - times[number])
        done[number] += 1

    async def process(name: str) -> None:
        while True:
            redis = Redis(await hub.pipe())
            with suppress(Crash):
                await Worker(redis, f"{name}-{len(crashes)}", way, crash).run(do)
            redis.pipe.abort()
            crashes.append(name)
            await asyncio.sleep(RESTART)

    async with Hub() as hub, asyncio.TaskGroup() as group:
        await hub.command("XGROUP", "CREATE", "jobs", "workers", "0", "MKSTREAM")
        tasks = [group.create_task(process(f"worker {number}")) for number in range(workers)]
        for number, at in enumerate(times):
            await asyncio.sleep(at - now())
            await hub.command("XADD", "jobs", "*", "job", str(number))
        await asyncio.sleep(tail)
        dead = await hub.command("XLEN", "dead")
        for task in tasks:
            task.cancel()
    return Outcome(len(times) - len(done) - dead, len(done) - [*done.values()].count(1), max(took), len(crashes), dead)


def poison(step: str) -> None:
    """Crash whoever is about to work on job 3."""
    if step == "work 3":
        raise Crash


def measure(run: Run[Any]) -> str:
    times = arrivals(2.0, 60.0, 1)
    crashes = [run(queue(way, times, by_chance(0.05, 2))) for way in WAYS.values()]
    slow = [run(queue(way, times, by_chance(0, 2), slow=8.0)) for way in WAYS.values()]
    killer = [run(queue(way, times[:20], poison)) for way in WAYS.values()]
    return table(list(WAYS), [
        "2 jobs a second for a minute, of 1 s each; workers crash at 1 step in 20",
        ("jobs lost", *(str(outcome.lost) for outcome in crashes)),
        ("jobs done twice", *(str(outcome.twice) for outcome in crashes)),
        ("until the slowest job was done", *(milliseconds(outcome.slowest) for outcome in crashes)),
        "no crash; a job in ten takes 8 s, longer than the silence of 5 s",
        ("jobs done twice", *(str(outcome.twice) for outcome in slow)),
        "a job that kills each worker that takes it, among 20",
        ("workers killed", *(str(outcome.crashes) for outcome in killer)),
        ("jobs in the dead-letter topic", *(str(outcome.dead) for outcome in killer)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
