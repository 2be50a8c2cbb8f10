"""Waiting is not working: five requests at once, each for a job that waits for 0.4 s, on one thread.

With one synchronous worker, each job waits until all jobs before it are done. On the event loop, all five jobs wait at the
same time. So the five together take as long as one.

It prints:

    /slow/sync   five requests took 5 times as long as one job
    /slow/async  five requests took as long as one job
"""

import asyncio
import time

from minproto import Metrics, Server, connect_http
from minproto.lab.app import DemoApp

JOB = 0.4  # seconds


async def ask(port: int, target: str) -> None:
    client = await connect_http("127.0.0.1", port)
    response = await client.request("GET", target)
    assert await response.read() == b"done\n"
    await client.close()


async def main() -> None:
    async with Server(DemoApp(Metrics()), port=0) as server:
        for path in ("/slow/sync", "/slow/async"):
            began = time.monotonic()
            await asyncio.gather(*(ask(server.port, f"{path}?seconds={JOB}") for _ in range(5)))
            jobs = round((time.monotonic() - began) / JOB)
            took = "as long as" if jobs == 1 else f"{jobs} times as long as"
            print(f"{path:12} five requests took {took} one job")


asyncio.run(main())
