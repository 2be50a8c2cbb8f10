"""Content generated on the fly, as it is sent: an async iterator of bytes, such as a generator.

    async def rows():
        async with asyncio.timeout(60):  # for the whole of it
            async for row in database:
                yield row                # here the generator is suspended while the client is slow

The task that sends the content also runs the generator, from its first step to its ``finally``. So a generator keeps its
context variables from one ``yield`` to the next, and a timeout, a task group or a cancel scope may span a ``yield``.

A timeout around a ``yield`` needs care. ``asyncio.timeout`` knows only the task, and it acts by cancelling the task. If the
task is waiting for a slow client at that moment, the cancellation comes out of our wait, although it is meant for the
generator. ``Pieces`` raises the cancellation at the ``yield`` where the generator is suspended:

    >>> async def rows():
    ...     try:
    ...         async with asyncio.timeout(0.01):
    ...             yield b"a row"
    ...             yield b"another row"
    ...     except TimeoutError:
    ...         yield b"no more rows: the client is too slow"
    >>> async def send():
    ...     pieces = Pieces(rows())
    ...     async for piece in pieces:
    ...         print(piece)
    ...         await pieces.pause_for(asyncio.sleep(0.1))      # the client is slow
    >>> asyncio.run(send())
    b'a row'
    b'no more rows: the client is too slow'
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Iterator
from types import CoroutineType, FunctionType
from typing import Any, Generic, Self, TypeVar
from weakref import WeakSet

from minproto.aio.observe import APP_ENDS, logger

T = TypeVar("T")
CANCELLED_BY_APP = "the content was given up: its iterator was cancelled, and not by minproto"
"""The error of an iterator that has cancelled its own task, say. A CancelledError would look like our own, and the failure
would go unnoticed."""
_stopped: "WeakSet[asyncio.Task[Any]]" = WeakSet()  # the tasks that ``stop_task`` has cancelled


class Pieces(Generic[T]):
    """The pieces of an app's iterator, for the task that sends them.

        pieces = Pieces(body)
        async for piece in pieces:
            endpoint.send(Data(piece))
            if endpoint.congested:
                await pieces.pause_for(endpoint.flush())

    Every ``await`` between two pieces goes through ``pause_for``.
    """

    __slots__ = ("_cancellation", "_cancelling", "_first", "_iterator")

    def __init__(self, iterator: AsyncIterator[T], first: T | None = None) -> None:
        """``first``: a piece already taken out of the iterator; empty, or None, if no piece was taken."""
        self._iterator = iterator
        self._first = first
        self._cancellation: asyncio.CancelledError | None = None  # the generator's next step has to raise this
        self._cancelling = 0  # how often the task had been cancelled before that cancellation

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[T]:
        first, self._first = self._first, None
        if first:
            return _given(first)
        error, self._cancellation = self._cancellation, None
        if error is not None:
            return self._throw(error)
        return anext(self._iterator)

    async def _throw(self, error: asyncio.CancelledError) -> T:
        """Raise a cancellation in the generator. If nothing in the generator has asked for it, the task has to end: neither
        an error of the generator's clean-up nor its silent end takes the place of the cancellation."""
        assert isinstance(self._iterator, AsyncGenerator)
        try:
            piece: T = await self._iterator.athrow(error)
            return piece
        except Exception as ending:
            task = asyncio.current_task()
            if task is None or task.cancelling() <= self._cancelling:  # a timeout may have taken its cancellation back
                raise
            if not isinstance(ending, StopAsyncIteration):
                logger.exception("the clean-up of content failed")
            raise error from None

    async def pause_for(self, wait: Awaitable[None]) -> None:
        """Await ``wait`` while the iterator is suspended at its ``yield``.

        If the task is cancelled meanwhile, the next step raises the cancellation in the generator. A timeout there turns it
        into a TimeoutError, and the generator may continue. A cancellation by the server, because the client has left, passes
        through the generator and comes out of the next step. Nothing can be raised inside an iterator that is not
        a generator, so there the cancellation comes out of this method.
        """
        task = asyncio.current_task()
        self._cancelling = task.cancelling() if task is not None else 0
        try:
            await wait
        except asyncio.CancelledError as error:
            if not isinstance(self._iterator, AsyncGenerator):
                raise
            self._cancellation = error


async def _given(piece: T) -> T:
    return piece


async def first_piece(body: AsyncIterator[bytes]) -> bytes:
    """Return the first piece of a response's content; b"" if the content is empty.

    Raises TypeError for a piece that is not bytes, and whatever the iterator raises.

    The piece is made before the head of the response is sent, so a failure can still become a 500 or a 400. And content
    generated from the request's content makes the server send the 100 (Continue) for which the client may be waiting.
    """
    try:
        return checked(await anext(body, b""))
    except BaseException:
        await close_body(body)
        raise


async def close_body(body: Any) -> None:
    """Let an async generator run its ``finally`` now, not when it is garbage-collected.

    An error in that clean-up is logged, not raised: the client already has its response, or its reset.
    """
    if hasattr(body, "aclose"):
        try:
            await body.aclose()
        except APP_ENDS as error:
            if was_cancelled(error):
                raise
            if not _is_only_exit(error):
                logger.exception("the clean-up of content failed")


def _is_only_exit(error: BaseException) -> bool:
    """Return whether a generator ended as ``aclose`` asked: a task group around its ``yield`` wraps the GeneratorExit."""
    return isinstance(error, BaseExceptionGroup) and error.split(GeneratorExit)[1] is None


def was_cancelled(error: BaseException) -> bool:
    """Return whether the current task was cancelled, and ``error`` comes from that cancellation.

    Neither ``cancelling()`` nor the type of the error is enough alone. ``cancelling()`` stays at 1 in CPython 3.11 and 3.12
    when a task of a TaskGroup has failed. And a CancelledError can come from another task, which the app has cancelled and
    then awaited.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def stop_task(task: "asyncio.Task[Any]") -> None:
    """Cancel a task that may run an app's handler, and remember that minproto did it: see ``was_stopped``."""
    _stopped.add(task)
    task.cancel()


def was_stopped(error: BaseException) -> bool:
    """Return whether ``error`` is the end of the current task by ``stop_task``, or by the end of ``asyncio.run``.

    Any other cancellation is the app's own doing: its handler has cancelled its own task, say, and so it has failed.

    ``asyncio.run`` tells us nothing at its end. But it cancels all tasks that are left, in one step, and this shows: every
    task of the loop is being cancelled. If the handler is the program's only task, its own cancellation looks the same, and is
    treated as the end, too.
    """
    if not was_cancelled(error):
        return False
    return asyncio.current_task() in _stopped or all(task.cancelling() for task in asyncio.all_tasks())


async def meet_cancellation() -> None:
    """Raise a pending cancellation of the current task here. A handler may cancel its own task, and return without any await.

    Without this call, the CancelledError would come out of our next wait, where we could not tell who had asked for it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        await asyncio.sleep(0)


def clear_cancellation() -> None:
    """Let the current task continue after a cancellation that was the app's own doing, such as a handler's
    ``asyncio.current_task().cancel()``: only this one request has failed."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def checked(piece: bytes) -> bytes:
    """Return a piece of content as it is. Raises TypeError for a str, and for a bytearray or a memoryview, whose bytes could
    change before they are written."""
    if not isinstance(piece, bytes):
        raise TypeError(f"content has to be bytes, not {type(piece).__name__}")
    return piece


_CONTENT_HINTS: list[tuple[type | tuple[type, ...], str]] = [
    (str, "Response.text(text) encodes it, as text.encode() does"),
    ((bytearray, memoryview), "bytes(content) copies it"),
    (type(None), 'b"" means no content'),
    (int, "the order of a Response is body, status, headers"),
    (FunctionType, "call it"),
    (CoroutineType, "await it"),
    ((list, tuple, Iterator), 'b"".join(content) has all of it, an async generator can make it piece by piece'),
    (dict, "Response.json(content) is a response with it"),
    (AsyncIterable, "aiter(content) is an iterator"),
]


def check_content(body: object) -> None:
    """Check the content of a message. Raises TypeError, with a hint on turning such an object into content."""
    if isinstance(body, bytes) or hasattr(body, "__anext__"):
        return
    hint = next((f": {hint}" for kind, hint in _CONTENT_HINTS if isinstance(body, kind)), "")
    raise TypeError(f"the content has to be bytes or an async iterator, not {type(body).__name__}{hint}")
