"""Work on many questions, some of them at once: the cases of ``minproto prove``, and the snares of ``minproto trap``.

    waiting:  c d e f        three workers take one each, and then the next one
    working:  a     b        their results come in the order in which they are ready: b, a, ...
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


async def at_once(questions: Sequence[Q], ask: Callable[[Q], Awaitable[R]], jobs: int) -> AsyncGenerator[R]:
    """Yield what ``ask`` returns for each question, ``jobs`` of them at once.

    A caller that wants no more results closes the generator (``contextlib.aclosing``): what is running is cancelled then.
    """
    waiting = list(reversed(questions))
    results: asyncio.Queue[R] = asyncio.Queue()

    async def work() -> None:
        while waiting:
            await results.put(await ask(waiting.pop()))

    async with asyncio.TaskGroup() as workers:
        tasks = [workers.create_task(work()) for _ in range(jobs)]
        try:
            for _ in questions:
                yield await results.get()
        except GeneratorExit:  # nobody wants more results
            for task in tasks:
                task.cancel()
