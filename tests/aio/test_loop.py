"""The plain deadline, with a timer for each wait, and the one that the shells use, with one timer, do the same."""

import asyncio
import math

import pytest
from harness import now, virtual

from minproto.aio.loop import Deadline, PlainDeadline

both = pytest.mark.parametrize("kind", [PlainDeadline, Deadline])


def deadline_of(kind):
    return kind(asyncio.get_running_loop())


@both
@virtual
async def test_each_wait_has_its_own_time(kind):
    """Shorter than the one before, and longer."""
    deadline = deadline_of(kind)
    for seconds in 5, 75, 2, 2, 30:
        began = now()
        with pytest.raises(TimeoutError), deadline(seconds):
            await asyncio.sleep(100)
        assert now() - began == pytest.approx(seconds)
    deadline.stop()


@both
@virtual
async def test_a_wait_that_is_over_expires_no_more(kind):
    """Neither while nobody waits, nor in the next wait."""
    deadline = deadline_of(kind)
    with deadline(5):
        await asyncio.sleep(1)
    await asyncio.sleep(10)
    deadline.expire()
    with deadline(50):
        await asyncio.sleep(40)
    deadline.stop()


@both
@virtual
async def test_a_wait_counts_from_its_own_beginning(kind):
    """Not from that of a longer or shorter one that was over before its time."""
    deadline = deadline_of(kind)
    for first, second in (75, 2), (2, 75):
        with deadline(first):
            await asyncio.sleep(1)
        began = now()
        with pytest.raises(TimeoutError), deadline(second):
            await asyncio.sleep(100)
        assert now() - began == pytest.approx(second)
    deadline.stop()


@both
@virtual
async def test_a_timer_that_has_fired_is_for_its_own_wait_alone(kind):
    """The wait ends in the turns of grace, and the next one begins in them."""
    deadline = deadline_of(kind)
    loop = asyncio.get_running_loop()
    arrival = loop.create_future()
    loop.call_later(5, lambda: loop.call_soon(arrival.set_result, None))
    with deadline(5):
        await arrival
    with deadline(50):
        await asyncio.sleep(40)
    deadline.stop()


@both
@virtual
async def test_a_wait_without_limit_ends_when_it_is_told_to(kind):
    deadline = deadline_of(kind)
    asyncio.get_running_loop().call_later(1_000, deadline.expire)
    with pytest.raises(TimeoutError), deadline(math.inf):
        await asyncio.sleep(100_000)
    assert now() == pytest.approx(1_000)
    deadline.stop()


@both
@virtual
async def test_what_becomes_ready_together_with_the_timer_is_in_time(kind):
    """Where the loop was busy, the timer and the bytes come in one turn, and the timer first."""
    deadline = deadline_of(kind)
    loop = asyncio.get_running_loop()
    arrival = loop.create_future()
    loop.call_later(5, lambda: loop.call_soon(arrival.set_result, b"in time"))
    with deadline(5):
        assert await arrival == b"in time"
    await asyncio.sleep(0)
    deadline.stop()


@both
@pytest.mark.parametrize("expires", [False, True])
@virtual
async def test_whoever_is_cancelled_from_outside_is_cancelled(kind, expires):
    """Also where the deadline expires in the same turn."""
    deadline = deadline_of(kind)

    async def wait():
        with deadline(5):
            await asyncio.sleep(100)

    task = asyncio.create_task(wait())
    await asyncio.sleep(1)
    if expires:
        deadline.expire()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    deadline.stop()


@both
@virtual
async def test_an_error_of_the_wait_itself_stays(kind):
    deadline = deadline_of(kind)
    with pytest.raises(ZeroDivisionError), deadline(5):
        await asyncio.sleep(1)
        1 / 0  # noqa: B018
    await asyncio.sleep(10)
    assert asyncio.current_task().cancelling() == 0


@virtual
async def test_many_waits_share_one_timer():
    """The plain deadline sets one for each."""
    loop = asyncio.get_running_loop()
    made = []
    call_at = loop.call_at
    loop.call_at = lambda when, *rest, **named: made.append(when) or call_at(when, *rest, **named)
    for kind, timers in (Deadline, 1), (PlainDeadline, 10):
        made.clear()
        deadline = deadline_of(kind)
        for _ in range(10):
            with deadline(75):
                await asyncio.sleep(0)
        assert len(made) == timers
        deadline.stop()
