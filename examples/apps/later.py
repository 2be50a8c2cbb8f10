"""Work that goes on after the answer: 202, and a resource that says how far it is (RFC 9110 §15.3.3).

    python examples/apps/later.py                                          # a port may follow

    curl -i -d 20 http://127.0.0.1:8000/jobs                               # 202, and Location: /jobs/ID
    curl http://127.0.0.1:8000/jobs/ID                                     # {"state": "running"}, then {"state": "done", ...}
    for i in $(seq 15); do curl -d 5 http://127.0.0.1:8000/jobs; done      # 503 with Retry-After, when ten jobs wait

A client can't wait for a job of minutes: proxies and phones give up after one. So the app accepts the job, and the client asks
for its state. Three things are easy to get wrong:

- A task that nobody holds may be garbage-collected in the middle of its work. Here the app holds its workers.
- A queue without a bound turns an overload into waiting times without a bound. A full queue says 503, and when to come back.
- A server that stops forgets its jobs. Here it first stops to accept (the server's drain), and then finishes what it has
  accepted. What is not done after ``DRAIN`` seconds is named in the log. Jobs that have to survive a crash belong in a
  database.
"""

import asyncio
import logging
import sys
from collections import deque
from contextlib import suppress
from uuid import uuid4

from minproto import Request, Response, not_allowed, serve

WAITING, WORKERS, KEPT, DRAIN = 10, 2, 1000, 20


async def work(data: bytes) -> object:
    """Do a job, and return something that JSON can express. This one sleeps for as many seconds as its content says."""
    await asyncio.sleep(min(float(data), 60))
    return f"slept for {data.decode()} s"


class Later:
    """An app that hands its jobs to workers."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(WAITING)
        self.jobs: dict[str, dict[str, object]] = {}
        self.finished: deque[str] = deque()

    async def __aenter__(self) -> "Later":
        self.workers = [asyncio.create_task(self.run()) for _ in range(WORKERS)]
        return self

    async def __aexit__(self, *error: object) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.queue.join(), DRAIN)
        for worker in self.workers:
            worker.cancel()
        await asyncio.wait(self.workers)
        if lost := [name for name, job in self.jobs.items() if job["state"] in ("waiting", "running")]:
            logging.error("jobs that were not done in time: %s", ", ".join(lost))

    async def run(self) -> None:
        while True:
            name, data = await self.queue.get()
            job = self.jobs[name]
            job["state"] = "running"
            try:
                job |= {"result": await work(data), "state": "done"}
            except Exception:
                logging.exception("job %s failed", name)
                job["state"] = "failed"
            self.queue.task_done()
            self.finished.append(name)
            if len(self.finished) > KEPT:
                del self.jobs[self.finished.popleft()]

    async def __call__(self, request: Request) -> Response:
        match request.method, request.path.split("/")[1:]:
            case "POST", ["jobs"]:
                data = await request.read(10_000)
                if self.queue.full():
                    return Response.text("too many jobs are waiting\n", 503, {"retry-after": "5"})
                self.jobs[name := str(uuid4())] = {"state": "waiting"}  # nobody can guess the name of another's job
                self.queue.put_nowait((name, data))
                return Response.json(self.jobs[name], 202, {"location": f"/jobs/{name}", "retry-after": "1"})
            case "GET", ["jobs", name] if name in self.jobs:
                return Response.json(self.jobs[name], headers={"cache-control": "no-store"})
            case _, ["jobs"]:
                return not_allowed("POST")
        return Response.text("not found\n", 404)


async def main() -> None:
    async with Later() as app:
        await serve(app, port=int(sys.argv[1]) if sys.argv[1:] else 8000)


if __name__ == "__main__":
    asyncio.run(main())
