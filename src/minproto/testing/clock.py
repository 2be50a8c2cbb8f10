"""A virtual clock: a timeout of 30 seconds is tested in a millisecond, and to the same end each time.

An event loop sleeps in one place, its selector, and reads the time in one place, ``time()``. Here the selector never
sleeps: where nothing is ready, it moves the time on to the next timer. So whatever takes its time from the loop
(``asyncio.sleep``, ``asyncio.timeout``, ``call_later``) runs as it always does, only at once; and where there is no
timer either, every task waits for something that will never come, which is an error here and not a hang.

Time stands still while code runs, and nothing outside is waited for: threads and real sockets need a real loop, a test
here uses ``minproto.testing.network``. ``run`` also holds its coroutine to the law that no task outlives what started
it, and no exception goes unseen.
"""

import asyncio
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

HORIZON = 86_400.0
"""Seconds that a run may last. What comes later never comes, or a timer that goes on forever would hide a deadlock."""


class Deadlock(RuntimeError):
    """Every task waits for something that will never come."""


class Leftover(AssertionError):
    """The coroutine returned, and left a task behind or an exception that nobody saw."""


class _Selector(selectors.DefaultSelector):
    """The platform's selector, but where it would sleep it calls ``sleep``. None: until something is ready."""

    def __init__(self, sleep: Callable[[float | None], None]) -> None:
        super().__init__()
        self._sleep = sleep

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._sleep(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at 0 and jumps from timer to timer. Raises Deadlock where there is none."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self._jump))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def _jump(self, seconds: float | None) -> None:
        """Rounding may land a hair before the timer; the loop fires what is less than a nanosecond away."""
        if seconds is None or self._now + seconds > HORIZON:
            waiting = "".join(sorted(f"\n  {_describe(task)}" for task in asyncio.all_tasks(self)))
            raise Deadlock(f"after {self._now:g} s all wait for what will never come:{waiting}")
        self._now += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``, in virtual time. Raises what ``main`` raises, Deadlock, or Leftover."""
    left: list[str] = []
    gc.freeze()  # so that the collection below looks only at what this run made: 0.1 ms, not 30
    try:
        result = _run(main, left)
        gc.collect()  # a task tells of an exception that nobody saw when it is deleted, and it may hang in a cycle
    finally:
        gc.unfreeze()
    if left:
        raise Leftover("; ".join(left))
    return result


def _run(main: Coroutine[Any, Any, T], left: list[str]) -> T:
    """Run it, add what is left over to ``left``, and end that."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        left.append(f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)  # the log has the traceback, also where main raises

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(handle)
        result = runner.run(main)
        left += [f"task left over: {_describe(task)}" for task in asyncio.all_tasks(loop)]
    return result


def _describe(task: asyncio.Task[Any]) -> str:
    """The task's name and where it waits: its coroutine, what that awaits, and so on down."""
    at: Any = task.get_coro()
    chain = []
    while getattr(at, "cr_frame", None) is not None:
        chain.append(f"{at.__qualname__}:{at.cr_frame.f_lineno}")
        at = at.cr_await
    return f"{task.get_name()} in {' > '.join(chain)}"
