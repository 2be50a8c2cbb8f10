"""Our client resumes from a broker that has a history: ``RemoteBroker.subscribe(topic, after=, last=)``."""

import asyncio
from contextlib import suppress
from itertools import count

import pytest
from harness import virtual
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resp_harness import serving
from test_remote_broker import URL, Script, connect, data_of  # noqa: F401 - connect is a fixture

from minproto import Broker, Gap, Message, RemoteBroker, RemoteProtocolError
from minproto.aio.resp import BrokerServer
from minproto.resp import Limits
from minproto.testing import clock, network


async def take(subscription, number):
    async with asyncio.timeout(5_000):
        return [await anext(subscription) for _ in range(number)]


@virtual
async def test_the_rest_and_then_live_with_ids(connect):  # noqa: F811
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker:
            start = await broker.last_id("a")
            assert start == server.broker.last_id("a")
            for number in range(20):
                await broker.publish("a", b"%d" % number)
            async with broker.subscribe("a", after=start) as subscription:
                items = await take(subscription, 20)
                assert data_of(items) == [b"%d" % number for number in range(20)]
                live = asyncio.create_task(take(subscription, 1))
                await asyncio.sleep(1_000)
                server.broker.publish("a", b"live")
                assert await live == [Message("a", server.broker.last_id("a"), b"live")]
            async with broker.subscribe("a", after=items[-2].id) as subscription:
                assert data_of(await take(subscription, 2)) == [b"19", b"live"]


@virtual
async def test_a_lost_connection_loses_nothing(connect):  # noqa: F811
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL).subscribe("a", last=1) as subscription:
            server.broker.publish("a", b"0")
            assert data_of(await take(subscription, 1)) == [b"0"]
            for end in range(3):
                server.ends[end].abort()
                server.broker.publish("a", b"%d" % end)
                assert data_of(await take(subscription, 1)) == [b"%d" % end]


@pytest.mark.parametrize(("last", "expected"), [(1, 1), (7, 7), (8, 8), (20, 20), (30, 30), (50, 30)])
@virtual
async def test_the_last_few(connect, last, expected):  # noqa: F811
    """However many answers that takes; no gap where fewer are kept."""
    async with serving(history=30) as server:
        connect(server)
        for number in range(40):
            server.broker.publish("a", b"%d" % number)
        async with RemoteBroker(URL).subscribe("a", last=last) as subscription:
            server.broker.publish("a", b"40")
            items = await take(subscription, expected + 1)
            assert data_of(items) == [b"%d" % number for number in range(40 - expected, 41)]


@virtual
async def test_the_last_few_of_a_new_topic(connect):  # noqa: F811
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL).subscribe("new", last=50) as subscription:
            server.ends[0].abort()
            server.broker.publish("new", b"x")
            assert data_of(await take(subscription, 1)) == [b"x"]


@pytest.mark.parametrize("after", ["0", "5", "x", "", "1-1", "99999999999999-0", "18446744073709551616-0"])
@virtual
async def test_an_id_of_elsewhere_is_one_gap(connect, after):  # noqa: F811
    """Then all that there is comes: as from the Broker in this process."""
    async with serving(history=5) as server:
        connect(server)
        for number in range(3):
            server.broker.publish("a", b"%d" % number)
        async with RemoteBroker(URL).subscribe("a", after=after) as subscription:
            assert data_of(await take(subscription, 4)) == ["gap", b"0", b"1", b"2"]
            await asyncio.sleep(100)
            server.broker.publish("a", b"3")
            server.ends[0].abort()
            assert data_of(await take(subscription, 1)) == [b"3"]
        async with server.broker.subscribe("a", after=after) as local:
            assert data_of(local.take(9)) == ["gap", b"0", b"1", b"2", b"3"]


@virtual
async def test_what_the_history_has_lost_is_a_gap(connect):  # noqa: F811
    async with serving(history=3) as server:
        connect(server)
        async with RemoteBroker(URL).subscribe("a", last=1) as subscription:
            server.broker.publish("a", b"0")
            assert data_of(await take(subscription, 1)) == [b"0"]
            for number in range(1, 4):  # the history begins behind the last one seen
                server.broker.publish("a", b"%d" % number)
            server.ends[0].abort()
            assert data_of(await take(subscription, 3)) == [b"1", b"2", b"3"]
            server.ends[1].abort()
            for number in range(4, 8):
                server.broker.publish("a", b"%d" % number)
            items = await take(subscription, 4)
            assert data_of(items) == ["gap", b"5", b"6", b"7"]
            assert items[0].reason == "the broker's history does not go back so far"


@virtual
async def test_who_reads_too_slowly_for_the_history_is_told(connect):  # noqa: F811
    """On one and the same connection: what the history has lost meanwhile is a gap, before the rest."""
    async with serving(history=10) as server:
        connect(server)
        async with RemoteBroker(URL).subscribe("a", last=1) as subscription:
            server.broker.publish("a", b"0")
            assert data_of(await take(subscription, 1)) == [b"0"]
            for first in (1, 31):
                for number in range(first, first + 30):
                    server.broker.publish("a", b"%d" % number)
                    await asyncio.sleep(1)
                items = data_of(await take(subscription, 11))
                assert items[0] == "gap" or items[:2] == [b"%d" % first, "gap"]
                rest = [item for item in items if item != "gap"]
                assert rest == sorted(rest, key=int) and len(items) - len(rest) == 1
                while rest[-1] != b"%d" % (first + 29):
                    rest += data_of(await take(subscription, 1))
                assert rest[-10:] == [b"%d" % number for number in range(first + 20, first + 30)]
        assert len(server.ends) == 1


@virtual
async def test_another_broker_behind_the_same_name_is_a_gap(connect, monkeypatch):  # noqa: F811
    """Its ids say nothing of those of the one before."""
    monkeypatch.setattr("minproto.aio.broker._now", count(1_000_000, 1_000).__next__)
    async with serving() as before, serving() as after:
        connect([before, after])
        async with RemoteBroker(URL).subscribe("a", last=1) as subscription:
            before.broker.publish("a", b"0")
            assert data_of(await take(subscription, 1)) == [b"0"]
            before.ends[0].abort()
            after.broker.publish("a", b"1")
            assert data_of(await take(subscription, 2)) == ["gap", b"1"]


@virtual
async def test_no_history_is_said(connect):  # noqa: F811
    for history in (0, {"other": 10}):
        async with serving(history=history) as server:
            connect(server)
            for options in ({"after": "1-1"}, {"last": 5}):
                with pytest.raises(RemoteProtocolError, match="the broker keeps no history of a: ERR no such key"):
                    async with RemoteBroker(URL).subscribe("a", **options):
                        pass


@pytest.mark.parametrize("words", ["NOAUTH Authentication required.", "NOPERM this user has no permissions", "DENIED"])
@virtual
async def test_another_error_is_not_told_as_a_missing_history(connect, words):  # noqa: F811
    script = Script(b"-%b\r\n" % words.encode())
    connect(script)
    with pytest.raises(RemoteProtocolError) as caught:
        await RemoteBroker(URL).last_id("a")
    assert str(caught.value) == words
    await script.task


@pytest.mark.parametrize(
    "answer", [b"+QUEUED", b":1", b"$-1", b"*1\r\n:1", b"*1\r\n*0", b"*1\r\n*2\r\n:1\r\n:2", b"*2\r\n*0\r\n*0"]
)
@pytest.mark.parametrize(("options", "reads"), [({"after": "1-1"}, 2), ({"last": 1}, 1)])
@virtual
async def test_answers_of_a_wrong_shape_are_the_brokers_fault(connect, options, reads, answer):  # noqa: F811
    """And no error of ours: RemoteProtocolError."""
    script = Script(*[(answer + b"\r\n") * 2] * reads)
    connect(script)
    with pytest.raises(RemoteProtocolError):
        async with RemoteBroker(URL).subscribe("a", **options) as subscription:
            await anext(subscription)
    await script.task


@pytest.mark.parametrize(
    ("topics", "options", "error"),
    [
        (["a", "b"], {"after": "1-1"}, ValueError), (["a"], {"after": "1-1", "patterns": ["b"]}, ValueError),
        (["a", "b"], {"last": 1}, ValueError), (["a"], {"after": 5}, TypeError), (["a"], {"last": "5"}, TypeError),
        (["a"], {"last": -1}, ValueError), ([b"a"], {}, TypeError), ([["a"]], {}, TypeError), ([], {}, ValueError),
        (["a"], {"patterns": "x*"}, TypeError), (["a"], {"patterns": [b"x"]}, TypeError),
        (["a" * (1 << 20 | 1)], {}, ValueError), (["a" * 1_000_000] * 9, {}, ValueError), (["a"] * (1 << 17), {}, ValueError),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_at_the_call(topics, options, error):
    with pytest.raises(error):
        RemoteBroker(URL).subscribe(*topics, **options)


@virtual
async def test_large_messages_come_in_several_answers(connect):  # noqa: F811
    """As many entries are asked for as fit, however long they are; one beyond the limits is a gap that says so."""
    async with serving(history=100) as server:
        connect(server)
        limits = Limits(max_bulk=1_000, max_command=5_000)
        for number in range(20):
            server.broker.publish("a", b"%03d" % number + b"x" * (1_997 if number == 7 else 997))
        async with RemoteBroker(URL, limits=limits).subscribe("a", last=50) as subscription:
            items = await take(subscription, 20)
        assert [item.data[:3] if isinstance(item, Message) else item.reason for item in items] == [
            b"%03d" % number if number != 7 else "a message of 2,000 bytes was not received: limits.max_bulk is 1,000"
            for number in range(20)
        ]
        assert items[7] == Gap(1, items[7].id) and items[6].id < items[7].id < items[8].id


@virtual
async def test_a_cancelled_wait_has_taken_nothing(connect):  # noqa: F811
    """Also between the two answers of one question."""
    async with serving() as server:
        connect(server, delays=[0.1] * 1_000, cuts=[7] * 10_000)
        async with RemoteBroker(URL).subscribe("a", last=1) as subscription:
            got = []
            for number in range(30):
                server.broker.publish("a", b"%d" % number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.01 * number):
                        got.append((await anext(subscription)).data)
            async with asyncio.timeout(100):
                while len(got) < 30:
                    got.append((await anext(subscription)).data)
            assert got == [b"%d" % number for number in range(30)]


async def play(connect, history, losses, net):  # noqa: F811
    """Publish 22 messages, lose the connection after some; what a subscription got."""
    broker = Broker(history=history)
    got = []
    ends = []

    class Server:
        def attach(self):
            ours, theirs = network.pair(**net)
            ends.append(theirs)
            serving.attach(theirs)
            return ours

    async def listen(subscription):
        async for item in subscription:
            got.append(item)

    serving = BrokerServer(broker)
    connect(Server())
    async with RemoteBroker(URL).subscribe("a", after=broker.last_id("a")) as subscription:
        listening = asyncio.create_task(listen(subscription))
        for number in range(21):
            broker.publish("a", b"%d" % number)
            if number in losses:
                ends[-1].abort()
                await asyncio.sleep(losses.count(number))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1_000)
        broker.publish("a", b"21")
        await asyncio.sleep(10)
        listening.cancel()
        await asyncio.wait([listening])
    await serving.close()
    return got


networks = st.fixed_dictionaries({
    "cuts": st.lists(st.integers(1, 60), max_size=8), "delays": st.lists(st.sampled_from([0, 0.001, 0.01]), max_size=8),
})  # fmt: skip
playing = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@playing
@given(losses=st.lists(st.integers(0, 20), max_size=6), net=networks)
def test_law_10_nothing_is_lost_and_nothing_repeated(connect, losses, net):  # noqa: F811
    got = clock.run(play(connect, 1_000, losses, net))
    assert data_of(got) == [b"%d" % number for number in range(22)]
    assert [item.id for item in got] == sorted({item.id for item in got}, key=lambda id: tuple(map(int, id.split("-"))))


@playing
@given(losses=st.lists(st.integers(0, 20), max_size=6), net=networks, history=st.integers(1, 3))
def test_law_10_what_is_lost_is_told(connect, losses, net, history):  # noqa: F811
    """In order, none twice, none missing without a notice; the newest are always there."""
    got = clock.run(play(connect, history, losses, net))
    expected = 0
    for item in got:
        if isinstance(item, Gap):
            expected = None
        else:
            number = int(item.data)
            assert number >= (expected or 0) if expected is None else number == expected, got
            expected = number + 1
    numbers = [int(item.data) for item in got if isinstance(item, Message)]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 21
