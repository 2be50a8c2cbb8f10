"""A virtual clock: a test of a timeout of 30 seconds takes a millisecond, and has the same result each time.

    async def main():
        await asyncio.sleep(30)
        print(asyncio.get_running_loop().time())

    run(main())                                # prints 30.0, at once

An event loop sleeps in one place, its selector, and reads the time in one place, ``time()``. The selector in this file never
sleeps. When nothing is ready, it sets the time to that of the next timer instead. Everything that takes its time from the loop
(``asyncio.sleep``, ``asyncio.timeout``, ``call_later``) works as usual, only without the wait. If nothing is ready and there
is no timer, every task is waiting for something that will never come. A real loop would hang; this loop raises Deadlock.

The time does not change while code is running, and the loop waits for nothing outside. Threads and real sockets need a real
loop, so tests on this loop use ``minproto.testing.network``. ``run`` also raises Leftover if a task is left over at the end,
or if an exception has gone unseen.
"""

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

HORIZON = 86_400.0
"""The maximum number of virtual seconds that a run may last. Without this bound, a timer that repeats forever would hide a
deadlock."""


class Deadlock(RuntimeError):
    """Every task is waiting for something that will never come."""


class Leftover(AssertionError):
    """The coroutine has returned, but a task is left over, or an exception has gone unseen."""


class _Selector(selectors.DefaultSelector):
    """The platform's selector, which calls ``sleep`` instead of sleeping. ``sleep`` gets the seconds, or None for ever."""

    def __init__(self, sleep: Callable[[float | None], None]) -> None:
        super().__init__()
        self._sleep = sleep

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._sleep(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at 0 and jumps from timer to timer. Raises Deadlock if there is no timer to wait for."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self._jump))

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._now

    def _jump(self, seconds: float | None) -> None:
        """Move the clock forward. A sum of floats may end just before the timer is due, but asyncio allows for that."""
        if seconds is None or self._now + seconds > HORIZON:
            waiting = "".join(sorted(f"\n  {_describe(task)}" for task in asyncio.all_tasks(self)))
            raise Deadlock(f"after {self._now:g} s every task waits for something that will never come:{waiting}")
        self._now += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine like ``asyncio.run``, in virtual time. Raises Deadlock, Leftover, or whatever ``main`` raises."""
    left: list[str] = []
    gc.freeze()  # so that the collection below looks only at the objects of this run, and takes no time
    try:
        result = _run(main, left)
        gc.collect()  # a task reports an unseen exception only when it is deleted; a reference cycle delays that
    finally:
        gc.unfreeze()
    if left:
        raise Leftover("; ".join(left))
    return result


def _run(main: Coroutine[Any, Any, T], left: list[str]) -> T:
    """Run the coroutine, add a line for each leftover to ``left``, and cancel the tasks that are left over."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        left.append(f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)  # the log has the traceback, even if main raises

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(handle)
        result = runner.run(main)
        left += [f"task left over: {_describe(task)}" for task in asyncio.all_tasks(loop)]
    return result


def _describe(task: asyncio.Task[Any]) -> str:
    """Return the task's name, its coroutine, the coroutine that it is awaiting, and so on, each with its line."""
    at: Any = task.get_coro()
    chain = []
    while getattr(at, "cr_frame", None) is not None:
        chain.append(f"{at.__qualname__}:{at.cr_frame.f_lineno}")
        at = at.cr_await
    return f"{task.get_name()} in {' > '.join(chain)}"
