"""time.sleep() stops the whole loop: another client gets no turn. In a thread, the same call blocks no other client."""

import asyncio
import time

JOB = 0.2  # seconds
turns = 0


async def another_client() -> None:
    global turns
    while True:
        await asyncio.sleep(0.05)
        turns += 1


async def blocking() -> None:
    time.sleep(JOB)  # noqa: ASYNC251 (the mistake)


async def in_a_thread() -> None:
    await asyncio.to_thread(time.sleep, JOB)


async def main() -> None:
    other = asyncio.create_task(another_client())
    await asyncio.sleep(0)  # the other client runs to its first wait
    for job in blocking, in_a_thread:
        before, began = turns, time.monotonic()
        await asyncio.gather(*(job() for _ in range(5)))
        jobs = round((time.monotonic() - began) / JOB)
        got = "many turns" if turns > before else "no turn"
        print(f"{job.__name__:11}  five jobs took the time of {jobs}, and the other client got {got}")
    other.cancel()
    await asyncio.wait([other])


asyncio.run(main())
