"""The broker with waiting: iterators over subscriptions. Its rules are tested without a loop, in tests/test_broker.py."""

import asyncio

import pytest
from harness import virtual

from minproto import Broker, Gap
from minproto.broker import Limits, parse_id


def publish(broker, *texts):
    for text in texts:
        broker.publish("a", text.encode())


@virtual
async def test_an_iterator_gives_what_comes():
    broker = Broker()
    heard = []

    async def listen():
        async with broker.subscribe("a", patterns=["a*"]) as subscription:
            async for item in subscription:
                heard.append((item.data, item.pattern))
                if item.data == b"2" and item.pattern:
                    return

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    publish(broker, "1")
    await asyncio.sleep(1)
    publish(broker, "2")
    await listening
    assert heard == [(b"1", None), (b"1", "a*"), (b"2", None), (b"2", "a*")]
    assert broker.publish("a", b"") == 0


@virtual
async def test_an_iterator_ends_with_its_subscription():
    """Who waits is woken. What waits can be taken after an end, but not after a close."""
    broker = Broker()
    for end, left in (("end", [b"1"]), ("close", [])):
        subscription = broker.subscribe("a")
        publish(broker, "1")
        getattr(subscription, end)()
        assert [item.data async for item in subscription] == left
        assert subscription.ended == "closed"
        waiting = broker.subscribe("a")
        task = asyncio.ensure_future(anext(waiting, "over"))
        await asyncio.sleep(1)
        getattr(waiting, end)()
        assert await task == "over"


@virtual
async def test_a_slow_one_hears_of_it_last():
    broker = Broker()
    subscription = broker.subscribe("a", limits=Limits(max_pending=2))
    publish(broker, "1", "2", "3")
    assert [item async for item in subscription] == [Gap(3)]
    assert subscription.ended == "overflow"


@virtual
async def test_a_wait_that_is_cancelled_has_taken_nothing():
    broker = Broker()
    subscription = broker.subscribe("a")
    for wait in (subscription.ready, subscription.__anext__):
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(1)
        publish(broker, "x")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert [item.data for item in subscription.take(9)] == [b"x"]


@virtual
async def test_one_task_at_a_time_waits():
    subscription = Broker().subscribe("a")
    waiting = asyncio.ensure_future(subscription.ready())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await subscription.ready()
    subscription.close()
    await waiting
    await subscription.ready()  # at the end there is nothing to wait for


@virtual
async def test_a_take_is_bounded():
    broker = Broker()
    subscription = broker.subscribe("a")
    publish(broker, *"123456")
    assert [item.data for item in subscription.take(2)] == [b"1", b"2"]
    assert [item.data for item in subscription.take(9, 3)] == [b"3", b"4", b"5"]


@virtual
async def test_resume():
    broker = Broker(history=2)
    start = broker.subscribe("a").start
    assert start == broker.last_id("a") and parse_id(start)
    publish(broker, "1", "2")
    assert [item.data for item in broker.subscribe("a", after=start).take(9)] == [b"1", b"2"]
    publish(broker, "3")
    resumed = broker.subscribe("a", after=start)
    assert [type(item) for item in resumed.take(1)] == [Gap] and resumed.start is None
    assert broker.publish("a", b"") == 3
