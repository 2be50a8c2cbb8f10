import asyncio
import gc
import logging
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minproto.testing import clock

SECONDS = st.floats(0, clock.HORIZON / 10)


@pytest.fixture(autouse=True)
def quiet():
    logging.disable()  # the faults that these tests make on purpose
    yield
    logging.disable(logging.NOTSET)


def now():
    return asyncio.get_running_loop().time()


async def forever():
    await asyncio.get_running_loop().create_future()


async def fail():
    raise ValueError("nobody looks")


def test_gives_the_result():
    assert clock.run(asyncio.sleep(0, "result")) == "result"


def test_raises_what_the_coroutine_raises():
    with pytest.raises(ValueError):
        clock.run(fail())


def test_an_hour_takes_no_time_and_ends_on_the_dot():
    async def main():
        await asyncio.sleep(3600)
        return now()

    start = time.perf_counter()
    assert clock.run(main()) == 3600
    assert time.perf_counter() - start < 60


@given(st.lists(SECONDS, max_size=8))
def test_sleeps_one_after_another_take_their_sum(delays):
    async def main():
        for delay in delays:
            await asyncio.sleep(delay)
        return now()

    assert clock.run(main()) == pytest.approx(sum(delays), abs=1e-8)


@given(st.lists(SECONDS, max_size=20))
def test_sleeps_side_by_side_end_in_the_order_of_their_times(delays):
    async def main():
        ended = []

        async def sleep(delay):
            await asyncio.sleep(delay)
            ended.append((delay, now()))

        async with asyncio.TaskGroup() as group:
            for delay in delays:
                group.create_task(sleep(delay))
        return ended

    ended = clock.run(main())
    assert len(ended) == len(delays)
    assert all(at == pytest.approx(delay, abs=1e-8) for delay, at in ended)
    assert [at for _, at in ended] == sorted(at for _, at in ended)


@given(st.floats(0, clock.HORIZON - 1), st.floats(0, 1e-6))
def test_no_timer_is_lost_between_two_floats(start, delay):
    async def main():
        await asyncio.sleep(start)
        await asyncio.sleep(delay)
        return now()

    assert clock.run(main()) == pytest.approx(start + delay, abs=3e-9)


def test_timeout_ends_what_would_wait_forever():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await forever()
        return now()

    assert clock.run(main()) == 30


def test_time_stands_still_while_code_runs():
    async def main():
        for _ in range(100):
            await asyncio.sleep(0)
        return now()

    assert clock.run(main()) == 0


def test_what_is_ready_comes_before_the_time_moves():
    async def main():
        left, right = socket.socketpair()
        with left, right:
            right.send(b"!")
            ready = asyncio.Event()
            asyncio.get_running_loop().add_reader(left, ready.set)
            async with asyncio.timeout(5):
                await ready.wait()
            asyncio.get_running_loop().remove_reader(left)
        return now()

    assert clock.run(main()) == 0


def test_deadlock_is_an_error_that_says_who_waits_where():
    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(forever(), name="left")
            group.create_task(forever(), name="right")

    with pytest.raises(clock.Deadlock, match=r"(?s)main:\d+.*left in forever:\d+.*right in forever:\d+"):
        clock.run(main())


def test_deadlock_cancels_its_tasks_and_closes_its_loop():
    seen = []

    async def main():
        seen.append(asyncio.get_running_loop())
        try:
            await forever()
        finally:
            await asyncio.sleep(10)
            seen.append(now())

    with pytest.raises(clock.Deadlock):
        clock.run(main())
    assert seen[0].is_closed()
    assert seen[1:] == [10]


def test_deadlock_is_also_found_where_the_cancelled_task_waits_on():
    async def main():
        try:
            await forever()
        finally:
            await forever()

    with pytest.raises(clock.Deadlock):
        clock.run(main())
    gc.collect()  # here, where asyncio's complaint that the task was destroyed goes nowhere


@pytest.mark.parametrize("period", [20, float("inf")])
def test_a_timer_that_goes_on_forever_hides_no_deadlock(period):
    async def tick():
        while True:  # noqa: ASYNC110 - it waits for nothing, that is the point
            await asyncio.sleep(period)

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(tick())

    with pytest.raises(clock.Deadlock, match="tick"):
        clock.run(main())


def test_a_task_left_over_is_an_error_that_names_it_and_ends_it():
    ended = []

    async def linger():
        try:
            await forever()
        finally:
            ended.append(True)

    async def main():
        main.task = asyncio.create_task(linger(), name="lingering")
        await asyncio.sleep(1)

    with pytest.raises(clock.Leftover, match=r"lingering in .*linger:\d+ > forever:\d+"):
        clock.run(main())
    assert ended == [True]


def test_a_task_cancelled_and_awaited_is_not_left_over():
    async def main():
        task = asyncio.create_task(forever())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    clock.run(main())


def test_an_exception_that_nobody_saw_is_an_error():
    async def main():
        asyncio.create_task(fail())  # noqa: RUF006
        await asyncio.sleep(1)

    with pytest.raises(clock.Leftover, match=r"never retrieved.*nobody looks"):
        clock.run(main())


def test_an_exception_that_nobody_saw_is_found_in_a_cycle():
    class Server:
        async def fail(self):
            raise ValueError("nobody looks")

    async def main():
        server = Server()
        server.task = asyncio.create_task(server.fail())
        await asyncio.sleep(1)

    gc.disable()  # no collection but the clock's own
    try:
        with pytest.raises(clock.Leftover, match=r"never retrieved.*nobody looks"):
            clock.run(main())
    finally:
        gc.enable()


def test_an_exception_in_a_callback_is_an_error():
    async def main():
        asyncio.get_running_loop().call_later(1, [].pop)
        await asyncio.sleep(2)

    with pytest.raises(clock.Leftover, match="pop from empty list"):
        clock.run(main())


def test_an_exception_while_leftovers_are_cancelled_is_an_error_too():
    async def main():
        async def linger():
            try:
                await forever()
            finally:
                await fail()

        main.task = asyncio.create_task(linger())
        await asyncio.sleep(1)

    with pytest.raises(clock.Leftover, match="nobody looks"):
        clock.run(main())
