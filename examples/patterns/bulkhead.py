"""Bulkheads and load shedding: each kind of work has its own workers, and a line is never longer than users wait.

The problem: a shop has 8 workers. A search takes a worker 1 s, a page 50 ms. When more searches come than 8 workers can do,
the line grows without an end. Soon each user waits longer than 4 s and leaves, and the workers are busy for users who have
left. Pages are lost as well, although all of them together need a quarter of one worker.

    without           searches, pages --> [ line ....................... ] --> 8 workers

    bulkhead          searches ---------> [ line ....................... ] --> 6 workers
                      pages ------------> [ line ]                         --> 2 workers

    load shedding     searches, pages --> [ line of 8 ] --> 8 workers          when it is full: 503, at once

A *bulkhead* is a wall in a ship: a leak fills one room and not the ship. *Load shedding* refuses the work that would come
too late. The longest useful line is patience x workers / seconds for each job, here 32 searches. Ours has one place for each
worker.

Where it helps: overload by one kind of work (bulkhead), and any overload (shedding). They solve different halves: only both
together serve the pages and also as many searches as there are workers.
Where it harms: a bulkhead cannot lend. At 85 % load by searches alone, 6 workers turn users away while the other 2 have
nothing to do. A short line refuses users of a short burst whom a longer line would have served in time.
"""

import asyncio
import math
from typing import Any, NamedTuple

from scenario import Backend, Figures, Peer, Run, arrivals, milliseconds, offer, percent, show, table

from minproto import Request, Response

SEARCH, PAGE = 1.0, 0.05  # seconds of a worker's time
VARIANTS = {"without": (False, False), "bulkhead": (True, False), "shedding": (False, True), "both": (True, True)}
"""The name of a variant; whether pages have a quarter of the workers for themselves, and whether the lines are bounded."""


class Outcome(NamedTuple):
    searches: Figures
    pages: Figures


async def shop(variant: str, searches: list[float], pages: list[float], patience: float = 4.0, workers: int = 8) -> Outcome:
    """Users come for searches and for pages at these times."""
    walls, sheds = VARIANTS[variant]
    apart = workers // 4 if walls else 0

    def room(places: int) -> Backend:
        return Backend(0.0, places, line=places if sheds else math.inf)

    for_searches = room(workers - apart)
    for_pages = room(apart) if walls else for_searches

    async def app(request: Request) -> Response:
        is_page = request.path == "/page"
        done = await (for_pages.work(PAGE) if is_page else for_searches.work(SEARCH))
        return Response.text("", 200 if done else 503)

    async with Peer(app) as front:

        async def ask(target: str) -> int:
            return (await front.get(target)).status

        async with asyncio.TaskGroup() as group:
            found = group.create_task(offer(searches, lambda _: ask("/search"), patience))
            shown = group.create_task(offer(pages, lambda _: ask("/page"), patience))
    return Outcome(found.result(), shown.result())


def measure(run: Run[Any]) -> str:
    def each(searches: list[float], pages: float) -> list[Outcome]:
        return [run(shop(variant, searches, arrivals(pages, 60, 2))) for variant in VARIANTS]

    flood, alone = each(arrivals(12.0, 60, 1), 5.0), each(arrivals(6.8, 60, 1), 0.1)
    burst = each([1.0] * 20, 0.1)
    return table(list(VARIANTS), [
        "12 searches and 5 pages a second: 8 workers can do 8 searches",
        ("pages served", *(percent(outcome.pages.served) for outcome in flood)),
        ("their 99th percentile", *(milliseconds(outcome.pages.percentile(99)) for outcome in flood)),
        ("searches served a second", *(f"{len(outcome.searches.good) / 60:.1f}" for outcome in flood)),
        "20 searches in one moment",
        ("searches served", *(percent(outcome.searches.served) for outcome in burst)),
        "6.8 searches a second, hardly any pages: 85 % load",
        ("searches served", *(percent(outcome.searches.served) for outcome in alone)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
