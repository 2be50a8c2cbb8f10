"""`minproto.Client`, compared with other Python clients: `python -m benchmarks.client` from the repository root.

50 tasks ask for GET /hello at once, over HTTP/1.1 on as many connections as they want, up to 50, and read each response. All
ask the same server: minproto, in a process of its own, which is faster than each of them. So the figure is the client's.

Clients take turns, and each ratio compares two figures of one round, as in `benchmarks.http1`.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks.common import HOST, MINPROTO, Peer, compare, installed, prepare, running, take_turns, versions

TARGETS = {"httpx": 2.0}
AT_ONCE = 50
CLIENTS = [MINPROTO, Peer("httpx", ("httpx",), ()), Peer("aiohttp", ("aiohttp",), ())]
"""What is started is always minproto's server: a Peer is only the client's name and package here."""


class Run(NamedTuple):
    """The result of one run: requests a second."""

    rate: float


Get = Callable[[str], Awaitable[bytes]]


@asynccontextmanager
async def minproto_client() -> AsyncIterator[Get]:
    import minproto

    async with minproto.Client(max_connections=AT_ONCE) as client:

        async def get(url: str) -> bytes:
            return await (await client.get(url)).read()

        yield get


@asynccontextmanager
async def httpx_client() -> AsyncIterator[Get]:
    import httpx

    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(limits=limits) as client:

        async def get(url: str) -> bytes:
            return (await client.get(url)).content

        yield get


@asynccontextmanager
async def aiohttp_client() -> AsyncIterator[Get]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def get(url: str) -> bytes:
            async with session.get(url) as response:
                return await response.read()

        yield get


OPENERS = {"minproto": minproto_client, "httpx": httpx_client, "aiohttp": aiohttp_client}


async def load(name: str, url: str, seconds: float) -> float:
    """Return the requests a second of one client. The first second is not counted: the connections are opened in it."""
    async with OPENERS[name]() as get:
        count = 0
        warm = time.perf_counter() + 1
        end = warm + seconds

        async def ask() -> None:
            nonlocal count
            while (now := time.perf_counter()) < end:
                assert await get(url) == b"Hello, World!"
                count += now >= warm

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return count / seconds


def measure(client: Peer, cpu: int | None, seconds: float) -> Run:
    with running(MINPROTO, cpu) as server:
        return Run(asyncio.run(load(client.name, f"http://{HOST}:{server.port}/hello", seconds)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description="Client beside other clients")
    parser.add_argument("--seconds", type=float, default=3, help="length of each run (3)")
    parser.add_argument("--rounds", type=int, default=6, help="runs of each client (6)")
    options = parser.parse_args()
    clients = installed(CLIENTS)
    print(versions(clients))
    runs = take_turns(clients, "client", options.rounds, partial(measure, cpu=prepare(), seconds=options.seconds))
    print(f"\nGET /hello, {AT_ONCE} at once, {options.rounds} rounds of {options.seconds:g} s; medians")
    print(f"{'':12}{'a second':>12}  minproto/client (min-max)  target")
    for name, theirs in runs.items():
        verdict = compare(runs[MINPROTO.name], theirs, TARGETS.get(name)) if name != MINPROTO.name else ""
        print(f"{name:12}{median(run.rate for run in theirs):12,.0f}  {verdict}".rstrip())


if __name__ == "__main__":
    main()
