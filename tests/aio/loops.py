"""The event loop that the tests run on, and the commands that they start: asyncio's own, unless ``MINPROTO_LOOP`` is set.

"uvloop"; or "eager": asyncio's own with ``asyncio.eager_task_factory`` (Python 3.12), which runs the first step of a task
before ``create_task`` returns. As a program, this file is the command line of minproto on that loop.
"""

import asyncio
import os
import sys

LOOP = os.environ.get("MINPROTO_LOOP", "")


class EagerPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes loops whose tasks are eager."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        make_eager(loop)
        return loop


def make_eager(loop: asyncio.AbstractEventLoop) -> None:
    """Whatever task is made on this loop from now on."""
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]


def policy() -> asyncio.AbstractEventLoopPolicy:
    """What makes such loops."""
    if LOOP == "uvloop":
        import uvloop

        return uvloop.EventLoopPolicy()
    return EagerPolicy() if LOOP == "eager" else asyncio.DefaultEventLoopPolicy()


if __name__ == "__main__":
    from minproto.__main__ import main

    asyncio.set_event_loop_policy(policy())
    sys.exit(main())
