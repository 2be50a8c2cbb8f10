"""Consumer groups in Python: the same on a broker of this process and on one behind a connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from minproto import Broker, BrokerServer, Message, RemoteBroker, RemoteProtocolError
from minproto.aio.groups import Consumer, Job
from minproto.testing import clock


@asynccontextmanager
async def brokers(kind: str) -> AsyncIterator[Broker | RemoteBroker]:
    broker = Broker()
    if kind == "local":
        yield broker
    else:
        async with BrokerServer(broker, port=0) as server, RemoteBroker(server.url) as remote:
            yield remote


@pytest.fixture(params=["local", "remote"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def jobs(consumer: Consumer, count: int) -> list[Job]:
    async with asyncio.timeout(20):
        return [await anext(consumer) for _ in range(count)]


async def test_each_job_goes_to_one_worker(kind: str) -> None:
    async with brokers(kind) as broker, broker.group("jobs", "workers") as group:
        async with group.consumer("a") as a, group.consumer("b") as b:
            waiting = [asyncio.create_task(anext(consumer)) for consumer in (a, b)]
            await asyncio.sleep(0)
            ids = [await group.add(b"%d" % number) for number in range(2)]
            async with asyncio.timeout(20):
                got = [await task for task in waiting]
            assert sorted(job.data for job in got) == [b"0", b"1"] and {job.id for job in got} == set(ids)
            assert [await job.ack() for job in got] == [True, True]
            assert await got[0].ack() is False


async def test_a_worker_that_comes_back_gets_its_jobs_again(kind: str) -> None:
    async with brokers(kind) as broker, broker.group("jobs", "workers", tries=2) as group:
        for number in range(3):
            await group.add(b"%d" % number)
        async with group.consumer("a") as before:
            first, *_ = await jobs(before, 2)
            await first.ack()
        async with group.consumer("a") as after:
            assert [(job.data, job.deliveries) for job in await jobs(after, 2)] == [(b"1", 2), (b"2", 1)]


async def test_a_job_that_crashes_its_workers_is_put_aside(kind: str) -> None:
    async with brokers(kind) as broker, broker.group("jobs", "workers", tries=2) as group:
        await group.add(b"bad")
        await group.add(b"good")
        for _ in range(2):
            async with group.consumer("a") as consumer:
                assert [job.data for job in await jobs(consumer, 1)] == [b"bad"]
        async with group.consumer("a") as consumer:
            (job,) = await jobs(consumer, 1)
            assert job.data == b"good" and await job.ack()
        async with broker.group("jobs.dead", "people") as dead, dead.consumer("me") as consumer:
            assert [job.data for job in await jobs(consumer, 1)] == [b"bad"]


def test_a_silent_worker_loses_its_job() -> None:
    """After ``idle`` seconds, in time that jumps."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        broker = Broker()
        broker.inner.clock = lambda: int(loop.time() * 1_000)
        async with broker.group("jobs", "workers", idle=60) as group:
            async with group.consumer("a") as a, group.consumer("b") as b:
                await group.add(b"x")
                (silent,) = await jobs(a, 1)
                began = loop.time()
                job = await anext(b)
                assert (job.data, job.deliveries) == (b"x", 2) and 60 <= loop.time() - began <= 91
                assert [await job.ack(), await silent.ack()] == [True, False]

    clock.run(test())


async def test_a_wait_that_is_cancelled_loses_no_job(kind: str) -> None:
    async with brokers(kind) as broker, broker.group("jobs", "workers") as group:
        async with group.consumer("a") as consumer:
            task = asyncio.create_task(anext(consumer))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await group.add(b"x")
        async with group.consumer("a") as consumer:
            assert [job.data for job in await jobs(consumer, 1)] == [b"x"]


async def test_a_remote_subscription_that_resumes_hears_what_xadd_appended() -> None:
    """It reads the stream. An entry with other fields than ``data`` is no message, and is refused."""
    async with BrokerServer(Broker(history=9), port=0) as server, RemoteBroker(server.url) as broker:
        await broker.publish("jobs", b"published")
        async with broker.group("jobs", "workers") as group, broker.subscribe("jobs", last=9) as subscription:
            await group.add(b"added")
            async with asyncio.timeout(20):
                items = [await anext(subscription) for _ in range(2)]
                assert [item.data for item in items if isinstance(item, Message)] == [b"published", b"added"]
                await group.run(b"XADD", b"jobs", b"*", b"size", b"7")
                with pytest.raises(RemoteProtocolError, match="without the one field data"):
                    await anext(subscription)


def test_wrong_values_are_named() -> None:
    broker = Broker()
    for options, words in (({"idle": -1}, "idle"), ({"tries": 0}, "tries")):
        with pytest.raises(ValueError, match=words):
            broker.group("jobs", "workers", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name"):
        broker.group("jobs", 7)  # type: ignore[arg-type]
