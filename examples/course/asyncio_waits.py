"""Five waits of one second each: one after the other they take five seconds, at the same time they take one."""

import asyncio

from minproto.testing.clock import run  # like asyncio.run, on a clock that jumps to the next timer


async def question(number: int) -> int:
    await asyncio.sleep(1)  # a database thinks
    return number * number


async def main() -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    answers = [await question(number) for number in range(5)]
    print(f"one after the other: {answers} after {clock() - began:g} s")

    began = clock()
    answers = await asyncio.gather(*(question(number) for number in range(5)))
    print(f"at the same time:    {answers} after {clock() - began:g} s")


run(main())
