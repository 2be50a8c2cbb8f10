"""A task group owns its tasks: when one fails, the others are cancelled, and the block waits until all have ended."""

import asyncio

from minproto.testing.clock import run


async def handler() -> None:
    try:
        for second in range(3600):
            print(f"{second} s: the handler works")
            await asyncio.sleep(1)
    finally:
        print("the handler cleans up")


async def reader() -> None:
    await asyncio.sleep(1.5)
    raise ConnectionResetError("the client has reset the connection")


async def main() -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(handler())
            tasks.create_task(reader())
    except* ConnectionResetError as errors:  # a task group raises the errors of its tasks together, as one ExceptionGroup
        print("the block has ended:", *errors.exceptions)
    print("tasks left over:", len(asyncio.all_tasks() - {asyncio.current_task()}))


run(main())
