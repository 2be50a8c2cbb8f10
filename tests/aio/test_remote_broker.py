"""The client of a broker in another process, with our own as its server; tests/interop has a redis-server, too."""

import asyncio
from contextlib import suppress

import pytest
from harness import now, virtual
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resp_harness import Serving, serving

from minproto import Broker, Gap, Message, RemoteBroker, RemoteProtocolError, Timeouts
from minproto.aio import remote
from minproto.testing import clock, network

URL = "redis://a"


@pytest.fixture(autouse=True)
def connect(monkeypatch):
    """Connects to a server in memory instead of a network: the last one that was told."""

    def to(server, **options):
        servers = server if isinstance(server, list) else [server]

        async def open_in_memory(*_):
            server = servers.pop(0) if len(servers) > 1 else servers[0]
            if server is None:
                raise ConnectionRefusedError
            return server.attach(**options)

        monkeypatch.setattr(remote, "_open", open_in_memory)

    return to


class Script:
    """A server that says what the test says."""

    def __init__(self, *answers):
        self.answers = answers
        self.heard = []
        self.task = None

    def attach(self):
        ours, theirs = network.pair()
        self.task = asyncio.create_task(self._run(theirs))
        return ours

    async def _run(self, pipe):
        for answer in self.answers:
            if callable(answer):
                await answer(pipe)
                continue
            self.heard.append(await pipe.read())
            pipe.write(answer)
        with suppress(ConnectionError):
            await pipe.close()


def data_of(items):
    return ["gap" if isinstance(item, Gap) else item.data for item in items]


@virtual
async def test_publish_and_subscribe(connect):
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker:
            assert await broker.publish("a", b"nobody") == 0
            async with broker.subscribe("a", "b", patterns=["c*"]) as subscription:
                assert await broker.publish("a", b"1") == 1
                assert await broker.publish("cc", b"\x00\xff") == 1
                assert server.broker.publish("b", b"3") == 1
                assert [await anext(subscription) for _ in range(3)] == [
                    Message("a", "", b"1"), Message("cc", "", b"\x00\xff", "c*"), Message("b", "", b"3")
                ]  # fmt: skip


@virtual
async def test_names_are_any_text(connect):
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("κ\udcff\r\n") as subscription:
            await broker.publish("κ\udcff\r\n", b"x")
            assert (await anext(subscription)).topic == "κ\udcff\r\n"


@virtual
async def test_many_publish_on_one_connection(connect):
    """At once, each with its own answer; no more than one connection."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("t1", patterns=["t?"]) as subscription:
            counts = await asyncio.gather(*(broker.publish(f"t{n % 3}", b"%d" % n) for n in range(300)))
            assert counts == [1 + (n % 3 == 1) for n in range(300)]
            assert len({item.data for item in [await anext(subscription) for _ in range(400)]}) == 300
            assert len(server.ends) == 2


@virtual
async def test_a_lost_connection_is_told(connect):
    """It subscribes again and says that there is a gap; what is published from then on arrives."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("a") as subscription:
            await broker.publish("a", b"1")
            assert (await anext(subscription)).data == b"1"
            server.ends[0].abort()
            server.broker.publish("a", b"lost")
            assert await anext(subscription) == Gap(None)
            await broker.publish("a", b"2")
            assert (await anext(subscription)).data == b"2"


@virtual
async def test_what_had_arrived_before_the_loss_comes_before_the_gap(connect):
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("a") as subscription:
            for number in range(5):
                await broker.publish("a", b"%d" % number)
            assert (await anext(subscription)).data == b"0"
            ending = asyncio.create_task(server.ends[0].close())
            assert data_of([await anext(subscription) for _ in range(5)]) == [b"1", b"2", b"3", b"4", "gap"]
            with suppress(ConnectionResetError):
                await ending


@virtual
async def test_a_broker_that_is_away_is_tried_again(connect):
    async with serving() as server:
        connect([server, None, None, server])
        async with RemoteBroker(URL).subscribe("a") as subscription:
            server.ends[0].abort()
            assert await anext(subscription) == Gap(None)
            assert len(server.ends) == 2


@virtual
async def test_what_came_on_a_connection_that_was_never_whole_is_not_told(connect):
    """It would stand behind the gap, as if nothing were missing after it."""
    async with serving() as server:
        half = Script(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nhalf\r\n")
        connect([server, half, server])
        async with RemoteBroker(URL).subscribe("a", "b") as subscription:
            server.ends[0].abort()
            assert await anext(subscription) == Gap(None)
            server.broker.publish("a", b"whole")
            assert (await anext(subscription)).data == b"whole"
        await half.task


@virtual
async def test_a_silent_broker_is_asked(connect):
    """A live one answers; of a dead one nothing else would tell."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL).subscribe("a") as subscription:
            waiting = asyncio.create_task(anext(subscription))
            await asyncio.sleep(1_000)
            assert not waiting.done() and len(server.ends) == 1
            server.broker.publish("a", b"x")
            assert (await waiting).data == b"x"
        dead = Script(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", lambda pipe: asyncio.sleep(500))
        connect([dead, server])
        async with RemoteBroker(URL).subscribe("a") as subscription:
            began = now()
            assert await anext(subscription) == Gap(None)
            assert now() - began >= Timeouts().ping + Timeouts().pong
        await dead.task


@virtual
async def test_a_cancelled_wait_has_taken_nothing(connect):
    """Neither while it listens, nor while it connects again."""
    async with serving() as server:
        connect([server, None, None, None, None, None, None, server])
        async with RemoteBroker(URL).subscribe("a") as subscription:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await anext(subscription)
            server.broker.publish("a", b"1")
            assert (await anext(subscription)).data == b"1"
            server.ends[0].abort()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await anext(subscription)
            assert await anext(subscription) == Gap(None)
            server.broker.publish("a", b"2")
            assert (await anext(subscription)).data == b"2"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(losses=st.lists(st.integers(0, 20), max_size=4), cuts=st.lists(st.integers(1, 30), max_size=20))
def test_no_silent_loss(connect, losses, cuts):
    """Law 10: however often it is cut off, what arrives is the whole, in order, but for where a gap is told."""

    async def test():
        async with serving() as server:
            connect(server, cuts=cuts)
            got = []

            async def listen(subscription):
                async for item in subscription:
                    got.append(item)

            async with RemoteBroker(URL).subscribe("a") as subscription:
                listening = asyncio.create_task(listen(subscription))
                for number in range(21):
                    server.broker.publish("a", b"%d" % number)
                    if number in losses:
                        server.ends[-1].abort()
                        await asyncio.sleep(losses.count(number))
                    await asyncio.sleep(0.01)
                await asyncio.sleep(1_000)
                server.broker.publish("a", b"21")
                await asyncio.sleep(1)
                listening.cancel()
                await asyncio.wait([listening])
        numbers = [int(item.data) for item in got if isinstance(item, Message)]
        assert numbers == sorted(set(numbers)) and numbers[-1] == 21
        expected = 0
        for item in got:
            if isinstance(item, Gap):
                expected = None
            else:
                assert expected in (None, int(item.data)), got
                expected = int(item.data) + 1

    clock.run(test())


# ---- refusals and faults ---------------------------------------------------------------------------------------------


@virtual
async def test_the_password(connect):
    async with serving(password="s e") as server:
        connect(server)
        async with RemoteBroker("redis://:s%20e@a") as broker, broker.subscribe("a"):
            assert await broker.publish("a", b"x") == 1
        async with RemoteBroker("redis://default:s%20e@a/0") as broker:
            assert await broker.publish("a", b"x") == 0
        for url, words in (("redis://a", "NOAUTH"), ("redis://:x@a", "WRONGPASS"), ("redis://x:s%20e@a", "WRONGPASS")):
            async with RemoteBroker(url) as broker:
                with pytest.raises(RemoteProtocolError, match=words):
                    await broker.publish("a", b"x")
                with pytest.raises(RemoteProtocolError, match=words):
                    async with broker.subscribe("a"):
                        pass


@virtual
async def test_a_publisher_that_is_cut_off_is_told_and_connects_again(connect):
    """Nobody knows whether the message was delivered, so it is not sent again."""
    async with serving() as server:
        deaf = Script(b"", lambda pipe: asyncio.sleep(1))
        connect([deaf, server])
        async with RemoteBroker(URL) as broker:
            results = await asyncio.gather(*(broker.publish("a", b"x") for _ in range(3)), return_exceptions=True)
            assert [type(result) for result in results] == [ConnectionResetError] * 3
            assert await broker.publish("a", b"x") == 0
        await deaf.task


@virtual
async def test_a_publisher_does_not_wait_for_ever(connect):
    deaf = Script(lambda pipe: asyncio.sleep(100))
    connect(deaf)
    async with RemoteBroker(URL) as broker:
        with pytest.raises(TimeoutError):
            await broker.publish("a", b"x")
        assert now() == Timeouts().body
    await deaf.task


@virtual
async def test_a_connection_that_gave_no_answer_is_given_up(connect):
    """Its packets are lost, say: who publishes next has a new one, and who waits on the old one is told."""
    async with serving() as server:
        deaf = Script(lambda pipe: asyncio.sleep(100))
        connect([deaf, server])
        async with RemoteBroker(URL) as broker:
            first = asyncio.create_task(broker.publish("a", b"x"))
            await asyncio.sleep(1)
            second = asyncio.create_task(broker.publish("a", b"x"))
            with pytest.raises(TimeoutError):
                await first
            assert await broker.publish("a", b"x") == 0
            with pytest.raises(ConnectionResetError):
                await second
            assert (now(), len(server.ends)) == (Timeouts().body, 1)
        await deaf.task


@pytest.mark.parametrize(("topic", "data", "error"), [("a", "text", TypeError), ("\ud900", b"x", ValueError)])
@virtual
async def test_what_can_not_be_sent_waits_for_no_answer(connect, topic, data, error):
    """Or it would take the answer of the next."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("heard"):
            assert await broker.publish("a", b"x") == 0
            with pytest.raises(error):
                await broker.publish(topic, data)
            assert await asyncio.gather(*(broker.publish(name, b"x") for name in ("a", "heard", "a"))) == [0, 1, 0]


@virtual
async def test_an_answer_that_nobody_waits_for_is_nobody_elses(connect):
    async with serving() as server:
        connect(server, delays=[0.1] * 100)
        async with RemoteBroker(URL) as broker, broker.subscribe("a"):
            first = asyncio.create_task(broker.publish("a", b"x"))
            await asyncio.sleep(0.15)
            first.cancel()
            assert await broker.publish("other", b"x") == 0
            await asyncio.wait([first])


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"-ERR max number of clients reached\r\n", RemoteProtocolError, "max number"),
        (b"+OK\r\n", RemoteProtocolError, "not a number"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ConnectionResetError, "not a value"), (b":1\r\n:2\r\n:3\r\n", None, ""),
        (b":", ConnectionResetError, "closed"),
    ],
)  # fmt: skip
@virtual
async def test_what_a_publisher_may_hear(connect, answer, error, words):
    script = Script(answer)
    connect(script)
    async with RemoteBroker(URL) as broker:
        if error is None:
            assert await broker.publish("a", b"x") == 1
        else:
            with pytest.raises(error, match=words):
                await broker.publish("a", b"x")
    await script.task


@virtual
async def test_a_server_of_something_else(connect):
    """Is no broker that is away for a while."""
    script = Script(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connect(script)
    with pytest.raises(RemoteProtocolError, match="not a value"):
        async with RemoteBroker(URL).subscribe("a"):
            pass
    await script.task


@virtual
async def test_what_is_refused_for_good_is_raised(connect):
    """A name that is too long, for one, at whatever time."""
    async with serving() as server:
        connect(server)
        with pytest.raises(RemoteProtocolError, match="at most 1024 bytes"):
            async with RemoteBroker(URL).subscribe("a" * 1025):
                pass
        confirmed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
        script = Script(confirmed + b"-NOPERM this user has no permissions\r\n")
        connect(script)
        async with RemoteBroker(URL).subscribe("a") as subscription:
            with pytest.raises(RemoteProtocolError, match="NOPERM"):
                await anext(subscription)
        await script.task


@pytest.mark.parametrize(
    "error",
    [
        b"LOADING Redis is loading the dataset in memory", b"BUSY Redis is busy running a script.",
        b"MASTERDOWN Link with MASTER is down", b"MISCONF Errors writing to the AOF file",
        b"ERR max number of clients reached",
    ],
)  # fmt: skip
@virtual
async def test_a_broker_that_is_loading_is_tried_again(connect, error):
    """Or whatever else passes."""
    async with serving() as server:
        busy = Script(b"-%b\r\n" % error)
        connect([busy, server])
        async with RemoteBroker(URL).subscribe("a"):
            assert server.broker.publish("a", b"x") == 1
        await busy.task


@pytest.mark.parametrize(
    "url",
    ["http://a", "redis://", "redis://a/1", "a:6379", "redis://a:x", "redis://:secret@a/1", "redis://a:secret#@b", "redis://[a"],
)
def test_a_wrong_url(url):
    """What is raised may be logged, so it says nothing of a password."""
    with pytest.raises(ValueError, match=r"^the URL of a broker is redis://\[") as error:
        RemoteBroker(url)
    assert (error.value.__cause__, error.value.__context__) == (None, None)


def test_a_subscription_to_nothing():
    with pytest.raises(ValueError):
        RemoteBroker(URL).subscribe()
    with pytest.raises(TypeError):  # to each of its letters
        RemoteBroker(URL).subscribe(patterns="news.*")


@virtual
async def test_closed_is_closed(connect):
    server = Serving(Broker(), {})
    connect(server)
    broker = RemoteBroker(URL)
    await broker.close()
    subscription = broker.subscribe("a")
    await subscription.close()
    assert [item async for item in subscription] == []
    async with broker.subscribe("a") as subscription:
        waiting = asyncio.create_task(anext(subscription, "the end"))
        await asyncio.sleep(1)
    assert await waiting == "the end"
    assert server.ends[0].info("peername") and len(server.ends) == 1
    await server.server.close()


@virtual
async def test_closed_while_it_connects_again(connect):
    """Who waits for an item is at the end at once, and nothing listens when the broker is back."""
    async with serving() as server:
        connect([server, *[None] * 4, server])
        subscription = RemoteBroker(URL).subscribe("a")
        listening = asyncio.create_task(anext(subscription, "the end"))
        await asyncio.sleep(1)
        server.ends[0].abort()
        await asyncio.sleep(1)
        await subscription.close()
        began = now()
        assert (await listening, now()) == ("the end", began)
        await asyncio.sleep(1_000)
        assert (server.broker.inner.listeners("a"), len(server.ends)) == (0, 1)
