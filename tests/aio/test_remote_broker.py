"""The client of a broker in another process, with our own as its server; tests/interop has a redis-server, too."""

import asyncio
from contextlib import suppress

import pytest
from harness import now, raised_in_a_thread, virtual
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resp_harness import Serving, command, serving

from minproto import Broker, Gap, Message, RemoteBroker, RemoteProtocolError, Timeouts
from minproto.aio import remote
from minproto.resp import Limits
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

        monkeypatch.setattr(remote, "open_pipe", open_in_memory)

    return to


class Script:
    """A server that says what the test says."""

    def __init__(self, *answers):
        self.answers = answers
        self.heard = []
        self.task = None

    def attach(self, **options):
        ours, theirs = network.pair(**options)
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
async def test_an_outage_is_two_lines_in_the_log(connect, caplog):
    """One when it begins, with its reason, and one when it is over; the URL in them has no password."""
    caplog.set_level("INFO", "minproto")
    async with serving(password="secret") as server:
        connect([server, None, None, None, server])
        async with RemoteBroker("redis://:secret@a").subscribe("a") as subscription:
            server.ends[0].abort()
            assert await anext(subscription) == Gap(None)
        began, ended = caplog.records
        assert (began.levelname, ended.levelname) == ("WARNING", "INFO")
        assert began.message.startswith("the broker at redis://a:6379 can't be reached: ConnectionRefusedError")
        assert ended.message.startswith("the broker at redis://a:6379 is reached again after ")


@virtual
async def test_who_looks_in_with_a_timeout_hears_of_one_outage(connect, caplog, monkeypatch):
    """Each cancelled wait ends a generator of connections. The outage, its pause and its lines in the log go on."""
    caplog.set_level("INFO", "minproto")
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    async with serving() as server:
        connect([server, *[None] * 5, server])
        async with RemoteBroker(URL).subscribe("a") as subscription:
            server.ends[0].abort()
            began = now()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        assert await anext(subscription) == Gap(None)
                        break
        assert now() - began == pytest.approx(0.5 + 1 + 2 + 4 + 8 + 16)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert caplog.records[1].message.endswith("at attempt 6")


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
        (b"-ERR max number of clients reached\r\n", ConnectionRefusedError, "max number"),
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


@pytest.mark.parametrize("words", [b"BUSY Redis is busy", b"ERR max number of clients reached", b"LOADING in memory"])
@virtual
async def test_what_may_pass_is_one_error_on_every_path(connect, words):
    """Nothing was done of what was asked, so it can be asked again: ConnectionRefusedError."""
    for url, call in ((URL, "publish"), ("redis://:x@a", "publish"), ("redis://:x@a", "connect"), (URL, "last_id")):
        script = Script(b"-%b\r\n" % words)
        connect(script)
        async with RemoteBroker(url) as broker:
            with pytest.raises(ConnectionRefusedError, match=words.decode()):
                await getattr(broker, call)(*{"publish": ["a", b"x"], "last_id": ["a"], "connect": []}[call])
        await script.task


@virtual
async def test_a_full_broker_refuses_all_who_wait(connect):
    """It closes the connection and has read no command: each may publish again."""
    script = Script(b"-ERR max number of clients reached\r\n")
    connect(script)
    async with RemoteBroker(URL) as broker:
        results = await asyncio.gather(*(broker.publish("a", b"x") for _ in range(4)), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionRefusedError] * 4
    await script.task


@virtual
async def test_a_protected_redis_refuses_all_who_wait(connect):
    """It says DENIED unasked, and closes: no publisher is left to wonder whether its message was delivered."""
    script = Script(b"-DENIED Redis is running in protected mode\r\n")
    connect(script)
    async with RemoteBroker(URL) as broker:
        results = await asyncio.gather(*(broker.publish("a", b"x") for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [RemoteProtocolError] * 3
        assert {str(result) for result in results} == {"DENIED Redis is running in protected mode"}
    await script.task


@virtual
async def test_an_error_is_for_the_one_who_asked(connect):
    """The connection goes on, and the others have their answers."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("a"):
            names = ["a", "x" * 1_025, "a", "y" * 5_000, "a"]
            results = await asyncio.gather(*(broker.publish(name, b"x") for name in names), return_exceptions=True)
            assert [result if isinstance(result, int) else type(result) for result in results] == [
                1, RemoteProtocolError, 1, RemoteProtocolError, 1
            ]  # fmt: skip
            assert len(server.ends) == 2


@virtual
async def test_what_is_too_large_is_refused_before_it_is_sent(connect):
    """The broker would close the connection on which the others wait for their answers."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("a"):
            large = [("a", b"x" * ((1 << 20) + 1)), ("x" * ((1 << 20) + 1), b"x")]
            calls = [broker.publish(*each) for each in [*large, *[("a", b"x")] * 4, ("a", b"x" * (1 << 20))]]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [ValueError, ValueError] + [int] * 5
            assert "a string of 1,048,577 bytes: limits.max_bulk is 1,048,576" in str(results[0])
            assert len(server.ends) == 2


@pytest.mark.parametrize("size", [101, 300_000])
@virtual
async def test_a_brokers_smaller_limits_are_one_callers_error(connect, size):
    """The broker closes the connection over that one; it has not read the others, which are published on the next."""
    async with serving(limits=Limits(max_bulk=100)) as server:
        connect(server, capacity=10_000)
        async with RemoteBroker(URL) as broker, broker.subscribe("a") as subscription:
            sent = [b"0", b"1", b"x" * size, b"2", b"y" * size, b"3"]
            results = await asyncio.gather(*(broker.publish("a", data) for data in sent), return_exceptions=True)
            assert [result if isinstance(result, int) else type(result) for result in results] == [
                1, 1, RemoteProtocolError, 1, RemoteProtocolError, 1
            ]  # fmt: skip
            assert str(results[2]) == "ERR Protocol error: invalid bulk length"
            await broker.publish("a", b"last")
            assert [(await anext(subscription)).data for _ in range(5)] == [b"0", b"1", b"2", b"3", b"last"]


@pytest.mark.parametrize("patterns", [(), ("a*",)])
@virtual
async def test_a_message_beyond_the_limits_is_a_gap_with_a_reason(connect, patterns):
    """It was somebody else who published it. The connection goes on, however the message is cut."""
    async with serving() as server:
        connect(server, cuts=[1, 5, 100, 30, 2] * 100, delays=[0, 0.01] * 50)
        limits = Limits(max_bulk=1_000)
        topics = [] if patterns else ["a"]
        async with RemoteBroker(URL, limits=limits).subscribe(*topics, patterns=patterns) as subscription:
            for size in (1_000, 1_001, 5_000, 3, 100_000, 0):
                server.broker.publish("a", b"x" * size)
            items = [await anext(subscription) for _ in range(6)]
            assert [len(item.data) if isinstance(item, Message) else item.count for item in items] == [1_000, 1, 1, 3, 1, 0]
            assert items[2].reason == "a message of 5,000 bytes was not received: limits.max_bulk is 1,000"
            assert len(server.ends) == 1


@virtual
async def test_a_topic_beyond_the_limits_is_a_gap_with_a_reason(connect):
    """A redis-server takes channels of any length, and who listens to a pattern did not choose them."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL, limits=Limits(max_bulk=100)).subscribe(patterns=["a*"]) as subscription:
            server.broker.publish("a" * 101, b"x")
            server.broker.publish("a" * 100, b"y")
            items = [await anext(subscription) for _ in range(2)]
            assert items == [Gap(1), Message("a" * 100, "", b"y", "a*")]
            assert items[0].reason == "a message of 101 bytes was not received: limits.max_bulk is 100"


@virtual
async def test_larger_limits_receive_larger_messages(connect):
    async with serving(limits=Limits(max_bulk=3 << 20)) as server:
        connect(server)
        async with RemoteBroker(URL, limits=Limits(max_bulk=3 << 20)) as broker, broker.subscribe("a") as subscription:
            assert await broker.publish("a", b"x" * (3 << 20)) == 1
            assert len((await anext(subscription)).data) == 3 << 20


@virtual
async def test_a_skipped_string_ends_where_it_says(connect):
    """Or the two ends would no longer mean the same."""
    head = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$11\r\n"
    script = Script(head + b"x" * 11 + b"yz")
    connect(script)
    async with RemoteBroker(URL, limits=Limits(max_bulk=10)).subscribe("a") as subscription:
        with pytest.raises(RemoteProtocolError, match="does not end in CRLF"):
            await anext(subscription)
    await script.task


@virtual
async def test_a_slow_upload_is_no_silence(connect):
    """While the broker takes what we send, however slowly, it is there; the answer has its time from then on."""
    taken = []

    async def read_slowly(pipe):
        while sum(taken) < len(command("PUBLISH", "a", b"x" * 200_000) + command("PUBLISH", "a", "x")):
            taken.append(len(await pipe.read()))
            await asyncio.sleep(4)
        await asyncio.sleep(20)
        pipe.write(b":1\r\n:0\r\n")

    script = Script(read_slowly)
    connect(script, capacity=10_000, cuts=[10_000] * 100)
    async with RemoteBroker(URL) as broker:
        assert await asyncio.gather(broker.publish("a", b"x" * 200_000), broker.publish("a", b"x")) == [1, 0]
        assert now() > 100
    await script.task


@virtual
async def test_a_large_message_that_arrives_slowly_is_no_silence(connect):
    """A piece every 15 seconds: the broker is there, though it can't answer a PING before the message is through."""
    async with serving() as server:
        connect(server, capacity=10_000, cuts=[10_000] * 1_000, delays=[0, *[15] * 30])
        async with RemoteBroker(URL).subscribe("a") as subscription:
            server.broker.publish("a", b"x" * 200_000)
            assert len((await anext(subscription)).data) == 200_000
            assert len(server.ends) == 1 and now() > 100


@virtual
async def test_a_timeout_of_0_is_no_busy_loop(connect):
    """With ``ping=0`` the broker is asked again and again, but not without end in one moment."""
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL, timeouts=Timeouts(ping=0)).subscribe("a") as subscription:
            waiting = asyncio.create_task(anext(subscription))
            await asyncio.sleep(100)
            server.broker.publish("a", b"x")
            assert (await waiting).data == b"x" and len(server.ends) == 1


@virtual
async def test_a_block_that_is_cancelled_waits_for_no_peer(connect):
    """The peer neither reads nor ends; the subscription's connection is reset."""
    confirmed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    script = Script(confirmed, lambda pipe: asyncio.sleep(100))
    connect(script, delays=[0, *[50] * 10])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), RemoteBroker(URL) as broker, broker.subscribe("a") as subscription:
            await anext(subscription)
    assert now() == 1
    script.task.cancel()
    await asyncio.wait([script.task])


@virtual
async def test_nobody_hears_of_an_answer_that_nobody_waits_for(connect):
    """Publishers that are cancelled, or cut off while they send: no exception is left unseen. ``virtual`` asserts it."""
    for sent in (10, 100_000):
        for pause in (0.01, 1, 40):
            deaf = Script(lambda pipe: asyncio.sleep(5))
            connect(deaf, capacity=1_000)
            async with RemoteBroker(URL) as broker:
                tasks = [asyncio.create_task(broker.publish("a", b"x" * sent)) for _ in range(3)]
                await asyncio.sleep(pause)
                tasks[0].cancel()
                await asyncio.sleep(0)
                deaf.task.cancel()
                tasks[1].cancel()
                await asyncio.wait([deaf.task])
                await broker.close()
                assert len((await asyncio.wait(tasks))[0]) == 3
                for task in tasks:
                    assert task.cancelled() or isinstance(task.exception(), OSError)


@pytest.mark.parametrize("turns", range(8))
@virtual
async def test_a_publisher_may_be_cancelled_while_the_connection_is_lost(connect, turns):
    """In whichever turn of the loop: its answer has an exception by then, or will have one."""
    async with serving() as server:
        connect(server, delays=[1] * 9)
        async with RemoteBroker(URL) as broker:
            publishing = asyncio.create_task(broker.publish("a", b"x"))
            await asyncio.sleep(0.5)
            server.ends[0].abort()
            for _ in range(turns):
                await asyncio.sleep(0)
            publishing.cancel()
            await asyncio.wait([publishing])
            assert publishing.cancelled() or isinstance(publishing.exception(), ConnectionResetError)


@virtual
async def test_a_dead_broker_costs_all_publishers_one_wait(monkeypatch):
    """They wait for one attempt to connect after the other; but whoever came before an attempt began shares its failure."""
    attempts = []

    async def wait(address, ssl, timeouts):
        attempts.append(now())
        await asyncio.sleep(10)
        raise TimeoutError("no answer")

    monkeypatch.setattr(remote, "open_pipe", wait)
    async with RemoteBroker(URL) as broker:
        results = await asyncio.gather(*(broker.publish("a", b"x") for _ in range(10)), return_exceptions=True)
        assert {type(result) for result in results} == {TimeoutError} and len(attempts) <= 2
        with pytest.raises(TimeoutError):
            await broker.publish("a", b"x")
        assert len(attempts) <= 3


@virtual
async def test_a_closed_broker_says_so(connect):
    deaf = Script(lambda pipe: asyncio.sleep(5))
    connect(deaf)
    broker = RemoteBroker(URL)
    waiting = asyncio.create_task(broker.publish("a", b"x"))
    await asyncio.sleep(1)
    await broker.close()
    with pytest.raises(ConnectionResetError, match="the client was closed"):
        await waiting
    await deaf.task


@virtual
async def test_a_port_that_speaks_tls_is_named(connect):
    """It sends an alert, or closes without a word."""
    for answer, error in ((b"\x15\x03\x03\0\2\2\x46", RemoteProtocolError), (b"", ConnectionResetError)):
        for url in (URL, "redis://:x@a"):
            script = Script(answer)
            connect(script)
            async with RemoteBroker(url) as broker:
                with pytest.raises((error, ConnectionResetError), match=r"TLS.*rediss://"):
                    await broker.publish("a", b"x")
            await script.task


@virtual
async def test_a_broker_that_takes_the_connection_and_says_nothing_is_named(connect):
    deaf = Script(lambda pipe: asyncio.sleep(20))
    connect(deaf)
    async with RemoteBroker("redis://:x@a") as broker:
        words = r"redis://a:6379 takes the connection, but has not answered within 10 s \(if that port speaks TLS.*rediss"
        with pytest.raises(TimeoutError, match=words):
            await broker.publish("a", b"x")
    await deaf.task
    connect(deaf)
    with pytest.raises(TimeoutError, match=words):
        await RemoteBroker(URL).last_id("a")
    await deaf.task


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
    [
        "http://a", "redis://", "redis://a/x", "a:6379", "redis://a:x", "redis://:secret@a/x", "redis://a:secret#@b", "redis://[a",
        "redis://:secret/x@a", "redis://:secret?x=y@a", "redis://user@a", "redis://:secret@a?x=1", "redis://:secret@a?db=x",
        "redis://:secret@a?secret", "unix://", "unix://a/b", "unix:///", "redis+unix://:secret@/", "redis://a:0", "",
    ],
)
def test_a_wrong_url(url):
    """What is raised may be logged, so it says nothing of a password."""
    with pytest.raises(ValueError, match=r"^the URL of a broker is redis://\[") as error:
        RemoteBroker(url)
    assert (error.value.__cause__, error.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("url", "text", "auth"),
    [
        ("redis://h", "redis://h:6379", ()), ("redis://h/1", "redis://h:6379", ()), ("rediss://H.:1/", "rediss://h.:1", ()),
        ("redis://h?db=3&protocol=3", "redis://h:6379", ()), ("redis://:p%2Fw@h", "redis://h:6379", (b"p/w",)),
        ("redis://u:p@h", "redis://h:6379", (b"u", b"p")), ("redis://u:@h", "redis://h:6379", (b"u", b"")),
        ("redis://[::1]:7", "redis://[::1]:7", ()), ("unix:///run/redis.sock", "unix:///run/redis.sock", ()),
        ("redis+unix://u:p@/run/a%20b?db=1", "unix:///run/a b", (b"u", b"p")),
    ],
)  # fmt: skip
def test_where_a_url_leads(url, text, auth):
    target = RemoteBroker(url).target
    assert (str(target), target.auth) == (text, auth)
    assert "auth" not in repr(target)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://user@a", "a user needs a password"), ("redis://:secret@a?ssl=true", "there is no option 'ssl'"),
        ("unix://a/b", "begins with a slash"), ("redis://:secret@a/x", "not the number of a database"),
        ("http://:secret@a", "its scheme is another"), ("redis://:secret/x@a", "it has no host"),
    ],
)  # fmt: skip
def test_a_wrong_url_is_told_without_a_password(url, words):
    with pytest.raises(ValueError, match=words) as error:
        RemoteBroker(url)
    assert "secret" not in str(error.value)
    with pytest.raises(TypeError, match="not bytes") as error:
        RemoteBroker(url.encode())
    assert "secret" not in str(error.value)


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
        assert (server.broker.inner.subscriber_count("a"), len(server.ends)) == (0, 1)


# ---- other threads -----------------------------------------------------------------------------------------------------

CALLS = {
    "publish": lambda broker, subscription: asyncio.run(broker.publish("a", b"wrong")),
    "last_id": lambda broker, subscription: asyncio.run(broker.last_id("a")),
    "subscribe": lambda broker, subscription: broker.subscribe("a"),
    "close": lambda broker, subscription: asyncio.run(broker.close()),
    "next item": lambda broker, subscription: asyncio.run(subscription.__anext__()),
    "enter": lambda broker, subscription: asyncio.run(subscription.__aenter__()),
    "end of the subscription": lambda broker, subscription: asyncio.run(subscription.close()),
}


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug mode"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@virtual
async def test_another_thread_is_told_what_to_call(connect, call, debug):
    """Nothing has happened, and the connections go on: what the error names works."""
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)
    async with serving() as server:
        connect(server)
        async with RemoteBroker(URL) as broker, broker.subscribe("a") as subscription:
            assert await broker.publish("a", b"first") == 1
            error = raised_in_a_thread(call, broker, subscription)
            assert type(error) is RuntimeError
            assert "asyncio.run_coroutine_threadsafe(broker.publish(topic, data), loop)" in str(error)
            assert raised_in_a_thread(asyncio.run_coroutine_threadsafe, broker.publish("a", b"right"), loop) is None
            assert [(await anext(subscription)).data for _ in range(2)] == [b"first", b"right"]


def test_one_object_in_two_event_loops_one_after_the_other(connect):
    """``asyncio.run`` twice: the first loop has ended, so the second one may use it."""
    broker = RemoteBroker(URL)

    async def publish():
        async with serving() as server:
            connect(server)
            return await broker.publish("a", b"x")

    assert [clock.run(publish()) for _ in range(2)] == [0, 0]
