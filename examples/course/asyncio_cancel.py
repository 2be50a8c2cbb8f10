"""Cancellation is an exception that is raised at an await. A task cleans up in finally, and lets the exception pass."""

import asyncio


async def good() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        print("  clean up: give the database connection back")


async def deaf() -> None:
    try:
        await asyncio.sleep(3600)
    except BaseException as error:  # the mistake: it catches CancelledError as well, and does not raise it again
        print("  ignored:", type(error).__name__)


async def main() -> None:
    for work in good, deaf:
        print(f"{work.__name__}:")
        task = asyncio.create_task(work())
        await asyncio.sleep(0)  # one turn of the loop: the task runs to its first await
        task.cancel()  # this only asks: the exception is raised in the next turn
        await asyncio.wait([task])
        print("  cancelled:", task.cancelled())


asyncio.run(main())
