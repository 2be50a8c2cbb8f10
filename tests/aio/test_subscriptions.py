"""The broker with waiting: iterators over subscriptions. Its rules are tested without a loop, in tests/test_broker.py."""

import asyncio

import pytest
from harness import raised_in_a_thread, virtual
from resp_harness import serving

import minproto.broker
import minproto.fast.broker
from minproto import Broker, Gap
from minproto.log import Limits, parse_id


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
async def test_a_waiter_that_is_cancelled_or_woken_already_is_woken_once(logged):
    """All in one turn of the loop, before the task runs: a cancellation and a message; a message and the end."""
    broker = Broker()
    cancelled, ended = broker.subscribe("a"), broker.subscribe("a")
    tasks = [asyncio.ensure_future(subscription.ready()) for subscription in (cancelled, ended)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert broker.publish("a", b"x") == 2
    ended.end()
    assert [type(result) for result in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError,
        type(None),
    ]
    assert [subscription.take(9)[0].data for subscription in (cancelled, ended)] == [b"x", b"x"]


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


@pytest.mark.parametrize(("plain", "kind"), [("", minproto.fast.broker.Broker), ("1", minproto.broker.Broker)])
def test_a_broker_has_the_core_that_is_asked_for(plain, kind, monkeypatch):
    monkeypatch.setenv("MINPROTO_PLAIN", plain)
    assert type(Broker().inner) is kind


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


# ---- other threads and failing callbacks -------------------------------------------------------------------------------

CALLS = {
    "publish": lambda broker, subscription: broker.publish("a", b"x"),
    "subscribe": lambda broker, subscription: broker.subscribe("a"),
    "last_id": lambda broker, subscription: broker.last_id("a"),
    "end": lambda broker, subscription: subscription.end(),
    "close": lambda broker, subscription: subscription.close(),
    "take": lambda broker, subscription: subscription.take(1),
    "wait": lambda broker, subscription: asyncio.run(subscription.ready()),
}


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug mode"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@virtual
async def test_another_thread_is_told_what_to_call(call, debug):
    """And nothing has happened: the subscription hears what is published in the right way. In debug mode asyncio raises a
    RuntimeError of its own for a call from another thread, when the broker's state has already changed."""
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)
    broker = Broker()
    subscription = broker.subscribe("a")
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    error = raised_in_a_thread(call, broker, subscription)
    assert type(error) is RuntimeError and "loop.call_soon_threadsafe(broker.publish, topic, data)" in str(error)
    assert raised_in_a_thread(loop.call_soon_threadsafe, broker.publish, "a", b"right") is None
    assert (await waiting).data == b"right"


@virtual
async def test_a_server_binds_its_broker_to_the_loop():
    """A client that listens is enough: no call of the app has to come first."""
    async with serving() as server:
        client = server.client()
        await client.subscribe("a")
        assert "call_soon_threadsafe" in str(raised_in_a_thread(server.broker.publish, "a", b"x"))
        server.broker.publish("a", b"y")
        assert await client.messages(1) == [b"y"]


def test_a_broker_needs_no_loop_and_outlives_one():
    """Before a loop, between two, and in a thread when none runs."""
    broker = Broker(history=9)
    subscription = broker.subscribe("a")

    async def publish_and_take():
        broker.publish("a", b"x")
        return [(await anext(subscription)).data, (await anext(subscription)).data]

    for _ in range(2):
        broker.publish("a", b"without")
        assert asyncio.run(publish_and_take()) == [b"without", b"x"]
    assert raised_in_a_thread(broker.publish, "a", b"y") is None


@virtual
async def test_a_callback_that_raises_costs_nobody_a_message(logged):
    """Neither the subscriptions that come after it, nor its own, which is told again at the next message."""
    broker = Broker()
    one, failing, other = (broker.subscribe("a") for _ in range(3))
    calls = []

    def fail():
        calls.append(1)
        if len(calls) < 3:
            raise OSError("no way to tell")

    failing.inner.on_ready = fail
    assert [broker.publish("a", b"%d" % number) for number in range(4)] == [2, 2, 3, 3]
    assert len(calls) == 3
    assert len(logged) == 2
    logged.clear()
    for subscription in (one, failing, other):
        assert [item.data for item in subscription.take(9)] == [b"0", b"1", b"2", b"3"]
    broker.publish("a", b"4")
    assert len(calls) == 4


# ---- wrong arguments, and the last few ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda broker: broker.publish(b"news", b"x"), TypeError, "a topic or pattern is a str, not bytes: b'news'"),
        (lambda broker: broker.publish("news", "x"), TypeError, "a message is bytes, not str"),
        (lambda broker: broker.publish(None, b"x"), TypeError, "not NoneType"),
        (lambda broker: broker.subscribe(b"news"), TypeError, "not bytes"),
        (lambda broker: broker.subscribe(["a"]), TypeError, r"not list: \['a'\]"),
        (lambda broker: broker.subscribe("a", patterns=[b"x"]), TypeError, "not bytes"),
        (lambda broker: broker.subscribe("a", patterns=b"x"), TypeError, "not int"),
        (lambda broker: broker.subscribe("a", patterns="x*"), TypeError, "patterns are a list of str"),
        (lambda broker: broker.subscribe("a", patterns=None), TypeError, "patterns are a list of str, not NoneType"),
        (lambda broker: broker.subscribe(), ValueError, "nothing: give a topic, or patterns="),
        (lambda broker: broker.subscribe("a", on_overflow="drop"), ValueError, "drop_oldest, drop_newest, not 'drop'"),
        (lambda broker: broker.subscribe("a", on_overflow=None), ValueError, "not None"),
        (lambda broker: broker.subscribe("a", limits=10), TypeError, "limits has to be"),
        (lambda broker: Broker(history="10"), TypeError, "history"),
        (lambda broker: broker.subscribe("a", after=5), TypeError, "after has to be str or None, not 5"),
        (lambda broker: broker.subscribe("a", after=b"5-0"), TypeError, "str or None, not b'5-0'"),
        (lambda broker: broker.subscribe("a", last="5"), TypeError, "last has to be a whole number \\(int\\), not '5'"),
        (lambda broker: broker.subscribe("a", last=True), TypeError, "not True"),
        (lambda broker: broker.subscribe("a", last=-1), ValueError, "not -1"),
        (lambda broker: broker.subscribe("a", "b", last=5), ValueError, "one topic"),
        (lambda broker: broker.subscribe("a", patterns=["b"], last=5), ValueError, "one topic"),
        (lambda broker: broker.last_id(b"a"), TypeError, "not bytes"),
    ],
)  # fmt: skip
@virtual
async def test_a_wrong_argument_is_refused_at_the_call(call, error, words):
    """And disturbs nobody: before, a subscription to b"news" reset whoever asked for PUBSUB CHANNELS."""
    async with serving() as server:
        with pytest.raises(error, match=words):
            call(server.broker)
        assert await server.client().ask("pubsub", "channels") == []


@pytest.mark.parametrize(("history", "last", "expected"), [
    (10, 2, ["3", "4"]), (10, 50, ["0", "1", "2", "3", "4"]), (3, 50, ["2", "3", "4"]), (3, 3, ["2", "3", "4"]),
    (10, 0, []), (0, 50, []),
])  # fmt: skip
@virtual
async def test_the_last_few_and_then_live(history, last, expected):
    """Without a gap: a newcomer has missed nothing."""
    broker = Broker(history=history)
    publish(broker, *"01234")
    subscription = broker.subscribe("a", last=last)
    resumed = broker.subscribe("a", after=subscription.start)
    publish(broker, "live")
    for one in (subscription, resumed):
        assert [item.data.decode() for item in one.take(99)] == [*expected, "live"]


@virtual
async def test_the_last_few_of_a_new_topic_are_no_gap():
    broker = Broker(history=10)
    publish(broker, "of a")
    subscription = broker.subscribe("b", last=50)
    broker.publish("b", b"1")
    assert [item.data for item in subscription.take(9)] == [b"1"]
    assert isinstance(broker.subscribe("b", after="0").take(1)[0], Gap)  # who knows what there was since 1970


@virtual
async def test_who_comes_back_gets_the_rest_and_not_the_last_few():
    broker = Broker(history=10)
    publish(broker, *"01234")
    first = broker.subscribe("a", after=None, last=2).take(9)
    publish(broker, "5")
    assert [item.data for item in broker.subscribe("a", after=first[-1].id, last=2).take(9)] == [b"5"]
    assert [item.data for item in broker.subscribe("a", after=first[0].id, last=1).take(9)] == [b"4", b"5"]
