"""Outbox: write the event into the database in the order's own transaction, and publish it from there.

The problem: a shop stores an order in its database and publishes an event, for the warehouse. These are two systems, and there
is no transaction over both. A crash between the two leaves an order that the warehouse never hears of. The other way round, a
crash leaves an event about an order that does not exist.

    POST /order --> database: INSERT order, INSERT event; COMMIT  --> 200
                    relay, every 0.5 s:  SELECT events that are not sent --PUBLISH--> broker --> warehouse
                                         UPDATE: sent
    step            1 insert     2 commit     3 answer        4 publish     5 mark as sent

A crash before the commit leaves neither; a crash at any later step leaves both. After a crash between 4 and 5 the event is
published again: *at least once*. So the warehouse remembers the number of each event that it has seen, and skips repeats.

Where it helps: whenever an event must be heard exactly if its transaction is committed, whatever crashes.
Where it harms: an event waits for the relay, 0.25 s on average, where it used to take milliseconds. The database stores each
event and is asked twice a second. And a warehouse that does not remember numbers packs some orders twice.

The database is SQLite in memory. A crash of the shop rolls back the open transaction, loses all else that was in its memory,
and the next process starts at once.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from statistics import fmean
from typing import Any, NamedTuple

from hub import Hub
from scenario import Crash, Peer, Run, arrivals, by_chance, now, offer, show, table

from minproto import Request, Response

WAYS = ["publish first", "commit first", "outbox"]
TABLES = """CREATE TABLE orders (id INTEGER PRIMARY KEY);
            CREATE TABLE outbox (id INTEGER PRIMARY KEY, event TEXT, sent INTEGER DEFAULT 0);"""


class Shop:
    """``crash(step)`` raises Crash, if the shop is to die before this step."""

    def __init__(self, way: str, hub: Hub, crash: Callable[[str], None]) -> None:
        self.way, self.hub, self.crash = way, hub, crash
        self.database = sqlite3.connect(":memory:")
        self.database.executescript(TABLES)

    async def __call__(self, request: Request) -> Response:
        order = int(await request.read())
        event = f"{order} {now():.6f}"
        try:
            if self.way == "publish first":
                await self.publish(event)
            self.transaction(order, event)
            if self.way == "commit first":
                await self.publish(event)
            self.crash("answer")
        except Crash:
            return Response.text("the shop has crashed", 500)
        return Response.text("thank you")

    def transaction(self, order: int, event: str) -> None:
        with self.database:  # commits at the end, or rolls back, as SQLite does when it opens the database after a crash
            self.crash("insert")
            self.database.execute("INSERT INTO orders VALUES (?)", (order,))
            if self.way == "outbox":
                self.database.execute("INSERT INTO outbox (event) VALUES (?)", (event,))
            self.crash("commit")

    async def publish(self, event: str) -> None:
        self.crash("publish")
        await self.hub.command("PUBLISH", "orders", event)

    async def relay(self) -> None:
        """Publish the events of the outbox. After a crash in here, the next process begins again."""
        while True:
            with suppress(Crash):
                for number, event in self.database.execute("SELECT id, event FROM outbox WHERE sent = 0").fetchall():
                    await self.publish(event)
                    self.crash("mark")
                    with self.database:
                        self.database.execute("UPDATE outbox SET sent = 1 WHERE id = ?", (number,))
                await asyncio.sleep(0.5)


class Outcome(NamedTuple):
    orders: int
    lost: int  # orders without an event
    ghosts: int  # events without an order
    repeats: int
    delay: float  # of an event, on average


async def shop(way: str, times: list[float], crash: Callable[[str], None]) -> Outcome:
    """Take an order at each of these times."""
    heard, delays = Counter[int](), list[float]()

    async def warehouse(hub: Hub) -> None:
        async for data in hub.messages("orders"):
            order, at = data.decode().split()
            heard[int(order)] += 1
            delays.append(now() - float(at))

    async with Hub() as hub, Peer(app := Shop(way, hub, crash)) as front, asyncio.TaskGroup() as group:
        tasks = [group.create_task(warehouse(hub)), group.create_task(app.relay())]

        async def buy(number: int) -> int:
            return (await front.post("/order", b"%d" % number)).status

        await offer([1 + at for at in times], buy)
        await asyncio.sleep(10.0)
        orders = {order for (order,) in app.database.execute("SELECT id FROM orders")}
        for task in tasks:
            task.cancel()
    app.database.close()
    lost, ghosts = len(orders - heard.keys()), len(heard.keys() - orders)
    return Outcome(len(orders), lost, ghosts, heard.total() - len(heard), fmean(delays or [0.0]))


def measure(run: Run[Any]) -> str:
    times = arrivals(5.0, 120.0, 1)
    calm, crashes = ([run(shop(way, times, by_chance(share, 2))) for way in WAYS] for share in (0.0, 0.02))
    return table(WAYS, [
        "5 orders a second for two minutes; 1 step in 50 crashes",
        ("orders in the database", *(str(outcome.orders) for outcome in crashes)),
        ("orders without an event: lost", *(str(outcome.lost) for outcome in crashes)),
        ("events without an order", *(str(outcome.ghosts) for outcome in crashes)),
        ("events published twice", *(str(outcome.repeats) for outcome in crashes)),
        "no crash",
        ("delay of an event, on average", *(f"{1000 * outcome.delay:.1f} ms" for outcome in calm)),
    ])  # fmt: skip


if __name__ == "__main__":
    show(measure)
