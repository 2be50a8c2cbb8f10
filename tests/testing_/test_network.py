import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minproto.aio.pipe import READ_SIZE, Pipe
from minproto.testing import clock, network

CHUNKS = st.lists(st.binary(max_size=40), max_size=20)
NETWORKS = st.fixed_dictionaries(
    {
        "capacity": st.integers(1, 60),
        "high_water": st.integers(0, 60),
        "cuts": st.lists(st.integers(1, 50), max_size=20),
        "delays": st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.0, 7.5]), max_size=20),
    }
)


def now():
    return asyncio.get_running_loop().time()


async def send(pipe: Pipe, chunks: list[bytes]) -> None:
    for chunk in chunks:
        pipe.write(chunk)
        await pipe.drain()
    pipe.close_write()


async def read_pieces(pipe: Pipe) -> list[bytes]:
    pieces = []
    while piece := await pipe.read():
        pieces.append(piece)
    return pieces


async def broken(pipe: Pipe) -> bool:
    """Whether the pipe says on both sides that it was reset."""
    with pytest.raises(ConnectionResetError):
        await pipe.drain()
    with pytest.raises(ConnectionResetError):
        await pipe.read()
    return True


@given(CHUNKS, CHUNKS, NETWORKS)
def test_what_is_written_arrives_in_order_in_both_directions(there, back, options):
    async def main():
        one, two = network.pair(**options)
        async with asyncio.TaskGroup() as group:
            group.create_task(send(one, there))
            group.create_task(send(two, back))
            reads = [group.create_task(read_pieces(pipe)) for pipe in (two, one)]
        await asyncio.gather(one.close(), two.close())
        return [b"".join(read.result()) for read in reads]

    assert clock.run(main()) == [b"".join(there), b"".join(back)]


@given(CHUNKS, NETWORKS)
def test_what_waits_is_at_most_capacity_and_high_water_and_one_chunk(chunks, options):
    async def main():
        one, two = network.pair(**options)
        seen = [0]

        async def watched_send():
            for chunk in chunks:
                one.write(chunk)
                seen.append(one.waiting)
                await one.drain()
                seen.append(one.waiting - len(chunk))
            one.close_write()

        async with asyncio.TaskGroup() as group:
            group.create_task(watched_send())
            group.create_task(read_pieces(two))
        assert one.waiting == two.waiting == 0
        return max(seen)

    assert clock.run(main()) <= options["capacity"] + options["high_water"] + 40


@given(st.integers(1, 100), st.integers(0, 100))
def test_drain_waits_exactly_until_no_more_than_the_high_water_mark_is_unsent(capacity, high_water):
    async def main():
        one, two = network.pair(capacity=capacity, high_water=high_water, cuts=[1], delays=[2, 5])
        one.write(bytes(capacity + high_water))
        await one.drain()
        one.write(b"!")
        drain = asyncio.create_task(one.drain())
        await asyncio.sleep(9)
        assert not drain.done()
        await two.read()
        await drain
        return one.waiting, two.waiting, now()

    assert clock.run(main()) == (capacity + high_water, 0, 9)


@given(st.lists(st.integers(-1, 9), min_size=5, max_size=5))
def test_cuts_are_the_lengths_of_the_reads(cuts):
    async def main():
        one, two = network.pair(cuts=cuts)
        one.write(bytes(100))
        return [len(await two.read()) for _ in range(6)]

    cut = [max(1, length) for length in cuts]
    assert clock.run(main()) == [*cut, 100 - sum(cut)]


def test_a_read_is_never_longer_than_a_pipe_promises():
    async def main():
        one, two = network.pair(capacity=10**6, cuts=[10**6])
        one.write(bytes(10**6))
        return [len(await two.read()) for _ in range(2)]

    assert clock.run(main()) == [READ_SIZE, READ_SIZE]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_a_piece_arrives_after_its_delay_and_never_before_an_older_one(pauses_and_delays):
    async def main():
        one, two = network.pair(cuts=[1] * 20, delays=[delay for _, delay in pauses_and_delays])
        expected = [0]

        async def write():
            for pause, delay in pauses_and_delays:
                await asyncio.sleep(pause)
                one.write(b"!")
                expected.append(max(expected[-1], now() + delay))

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for count in range(1, len(pauses_and_delays) + 1):
                await two.read()
                assert now() == expected[count]

    clock.run(main())


def test_the_end_takes_its_time_too_and_is_sent_once():
    async def main():
        delays = iter([1, 2, 3])
        one, two = network.pair(delays=delays)
        one.write(b"last")
        one.close_write()
        one.close_write()
        return [(await two.read(), now()) for _ in range(3)], next(delays)

    assert clock.run(main()) == ([(b"last", 1), (b"", 2), (b"", 2)], 3)


def test_a_half_closed_pipe_still_reads():
    async def main():
        one, two = network.pair()
        one.write(b"question")
        one.close_write()
        question = await read_pieces(two)
        two.write(b"answer")
        return question, await one.read(), await two.read()

    assert clock.run(main()) == ([b"question"], b"answer", b"")


def test_writing_after_close_write_is_a_bug():
    async def main():
        one, _ = network.pair()
        one.close_write()
        one.write(b"more")

    with pytest.raises(RuntimeError, match="after close_write"):
        clock.run(main())


def test_a_pipe_that_cannot_half_close_goes_on():
    async def main():
        one, two = network.pair(half_close=False)
        one.close_write()
        one.write(b"more")
        return await two.read()

    assert clock.run(main()) == b"more"


@given(CHUNKS, NETWORKS)
def test_after_an_abort_both_ends_fail_at_once_and_nothing_waits(chunks, options):
    async def main():
        one, two = network.pair(**options)
        for chunk in chunks:
            one.write(chunk)
            two.write(chunk)
        one.abort()
        assert await broken(one) and await broken(two)
        one.write(b"lost")
        await asyncio.sleep(100)
        with pytest.raises(ConnectionResetError):
            await two.close()
        return one.waiting, two.waiting, now()

    assert clock.run(main()) == (0, 0, 100)


@pytest.mark.parametrize("wait", ["read", "drain", "close"])
@pytest.mark.parametrize("who", [0, 1])
def test_an_abort_wakes_who_waits(wait, who):
    async def main():
        pipes = network.pair(capacity=1, high_water=0)
        pipes[0].write(b"fill")
        waiting = asyncio.create_task(getattr(pipes[0], wait)())
        await asyncio.sleep(1)
        pipes[who].abort()
        with pytest.raises(ConnectionResetError):
            await waiting

    clock.run(main())


@given(CHUNKS, NETWORKS)
def test_close_returns_when_all_has_arrived_and_both_directions_have_ended(chunks, options):
    async def main():
        one, two = network.pair(**options)
        for chunk in chunks:
            one.write(chunk)
        read = asyncio.create_task(read_pieces(two))
        await one.close()
        one.abort()
        closed_at = now()
        assert one.waiting <= options["capacity"]
        pieces = await read
        assert now() == closed_at
        assert await two.read() == await one.read() == b""
        one.write(b"lost")
        with pytest.raises(ConnectionResetError):
            await one.drain()
        await two.close()
        await one.close()
        one.write(b"lost")
        assert await one.read() == b""
        return b"".join(pieces)

    assert clock.run(main()) == b"".join(chunks)


def test_close_waits_while_the_peer_does_not_read():
    async def main():
        one, two = network.pair(capacity=4)
        one.write(b"12345678")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await one.close()
        await two.read()
        await one.close()

    clock.run(main())


def test_close_ends_a_read_that_waits():
    async def main():
        one, _ = network.pair()
        read = asyncio.create_task(one.read())
        await asyncio.sleep(1)
        await one.close()
        return await read

    assert clock.run(main()) == b""


@pytest.mark.parametrize("delay", [0, 1])
def test_closing_with_input_unread_is_a_reset(delay):
    async def main():
        one, two = network.pair(delays=[delay])
        two.write(b"an upload that nobody reads")
        one.write(b"413")
        await one.close()
        return await broken(two)

    assert clock.run(main())


def test_writing_to_who_has_closed_is_a_reset():
    async def main():
        one, two = network.pair()
        one.write(b"413")
        await one.close()
        two.write(b"")
        await two.drain()
        two.write(b"the rest of an upload")
        return await broken(two)

    assert clock.run(main())


def test_reading_twice_at_once_is_a_bug():
    async def main():
        one, two = network.pair()
        read = asyncio.create_task(one.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another read"):
            await one.read()
        two.write(b"for the first")
        return await read

    assert clock.run(main()) == b"for the first"


@given(CHUNKS, NETWORKS, st.lists(st.sampled_from([0, 0.05, 0.1, 1, 3]), min_size=1, max_size=30))
def test_cancelling_a_read_loses_nothing(chunks, options, patience):
    async def main():
        one, two = network.pair(**options)
        pieces = []
        async with asyncio.TaskGroup() as group:
            group.create_task(send(one, chunks))
            for seconds in patience:
                read = asyncio.create_task(two.read())
                await asyncio.sleep(seconds)
                read.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    pieces.append(await read)
            pieces += await read_pieces(two)
        return b"".join(pieces)

    assert clock.run(main()) == b"".join(chunks)


def test_each_end_knows_both_names():
    one, two = network.pair()
    assert one.info("sockname") == two.info("peername") == ("memory", 1)
    assert two.info("sockname") == one.info("peername") == ("memory", 2)
    assert one.info("ssl_object") is None


@pytest.mark.parametrize("late", [False, True])
def test_a_watcher_is_told_of_the_end_and_of_a_reset(late):
    async def main():
        one, two = network.pair(delays=[1.0])
        news = []
        if not late:
            two.watch(news.append)
        one.close_write()
        await asyncio.sleep(2)
        if late:
            two.watch(news.append)
            await asyncio.sleep(0)
        assert news == [False]
        one.abort()
        await asyncio.sleep(0)
        assert news == [False, True]

    clock.run(main())
