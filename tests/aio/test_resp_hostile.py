"""Hostile Redis clients: bounded memory, the right error, and nobody else notices."""

import asyncio
import logging

import pytest
from harness import FIN, RST, now, virtual
from hypothesis import settings
from resp_harness import NULL_ARRAY, OK, PONG, Serving, command, serving

from minproto import Broker, Timeouts
from minproto.aio.resp import FAIR_SHARE
from minproto.broker import MAX_NAME
from minproto.resp import Error, Limits

KIB = 1 << 10


@virtual
async def test_a_subscriber_that_never_reads(caplog):
    """It is cut off when the bound is reached, and holds up nobody: not the publisher, not another subscriber."""
    caplog.set_level(logging.WARNING)
    async with serving(max_output=64 * KIB) as server:
        stalled, other, publisher = server.client(capacity=1), server.client(), server.client()
        await stalled.subscribe("a", "b")
        await other.subscribe("a")
        for _ in range(10):
            for number in range(20):
                assert await publisher.ask("publish", "a", b"%d" % number * KIB) in (1, 2)
            assert len(await other.messages(20)) == 20
            assert server.ends[0].unsent < 64 * KIB + 21 * KIB
        assert await publisher.ask("publish", "b", "x") == 0
        assert now() == 0
        with pytest.raises(ConnectionResetError):
            await stalled.messages(200)
    assert "client 1 is cut off" in caplog.text


@virtual
async def test_a_slow_subscriber_within_the_bound_loses_nothing():
    async with serving() as server:
        slow, publisher = server.client(capacity=KIB), server.client()
        await slow.subscribe("a")
        publisher.pipe.write(b"".join(command("publish", "a", str(number)) for number in range(5_000)))
        assert await publisher.replies(5_000) == [1] * 5_000
        await asyncio.sleep(1_000)
        assert await slow.messages(5_000) == [b"%d" % number for number in range(5_000)]


@virtual
async def test_a_subscriber_of_version_3_that_asks_and_does_not_read():
    """Its answers count against the same bound as its messages."""
    async with serving(max_output=64 * KIB) as server:
        client = server.client(capacity=KIB)
        await client.ask("hello", "3")
        await client.subscribe("a")
        client.pipe.write(command("ping", "x" * KIB) * 200)
        await asyncio.sleep(1)
        assert await until_reset(client) < 10 and server.metrics.connections == 0


async def until_reset(client):
    """How many values came before the reset."""
    count = 0
    try:
        while True:
            await client.reply()
            count += 1
    except ConnectionResetError:
        return count


@virtual
async def test_who_does_not_read_answers_is_not_read():
    """Nor is more done for it; when it reads on, all is answered."""
    async with serving() as server:
        client = server.client(capacity=KIB)
        for _ in range(300):
            client.send("ping", "x" * KIB)
        await asyncio.sleep(10)
        assert server.ends[0].unsent < 200 * KIB and client.pipe.waiting > 50 * KIB
        assert await client.replies(300) == [b"x" * KIB] * 300


@virtual
async def test_who_never_reads_its_answers_is_cut_off():
    """After ``Timeouts.write``."""
    async with serving() as server:
        client = server.client(capacity=KIB)
        client.pipe.write(command("ping", "x" * KIB) * 200)
        await asyncio.sleep(Timeouts().write + 1)
        assert server.metrics.connections == 0
        assert await until_reset(client) < 10


@virtual
async def test_a_publisher_faster_than_everybody():
    """It is slowed by its own socket; a pipeline as long as it likes is done bit by bit, and others have their turns."""
    async with serving() as server:
        fast, subscriber, other = server.client(), server.client(), server.client()
        await subscriber.subscribe("a")
        await other.ask("ping")
        fast.pipe.write(command("publish", "a", "x") * 20 * FAIR_SHARE)
        assert await other.ask("ping") == PONG
        assert fast.pipe.waiting > 10_000  # others are answered long before the pipeline is over
        assert await subscriber.messages(20 * FAIR_SHARE) == [b"x"] * 20 * FAIR_SHARE
        assert await fast.replies(20 * FAIR_SHARE) == [1] * 20 * FAIR_SHARE


@virtual
async def test_others_have_their_turns():
    """Within one chunk, too: ten thousand commands fit into it."""
    async with serving() as server:
        client = server.client()
        answers = asyncio.create_task(client.replies(10 * FAIR_SHARE))
        client.pipe.write(b"PING\n" * 10 * FAIR_SHARE)
        turns = 0
        while not answers.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns >= 15


@virtual
async def test_many_topics_of_one_client():
    """100,000 (by default 20,000), told in one command; a publish to another topic costs what it did, and all are forgotten at
    the end."""
    count = 100_000 if settings().max_examples >= 100 else 20_000
    async with serving() as server:
        client = server.client()
        names = [b"topic %d" % number for number in range(count)]
        client.send("subscribe", *names)
        assert [reply[2] for reply in await client.replies(count)] == [*range(1, count + 1)]
        assert await server.client().ask("publish", names[-1], "x") == 1
        assert await client.reply() == [b"message", names[-1], b"x"]
        await client.pipe.close()
        await asyncio.sleep(0.1)
        assert server.broker.inner.topics == []


@pytest.mark.parametrize("pattern", ["*" * 1_000 + "b", "a*" * 500 + "b", "?*" * 500, "[" * 1_000, "[^a-" * 250])
@virtual
async def test_patterns_that_cost(pattern):
    """A pattern that another matcher would try in exponentially many ways; here it costs pattern times topic."""
    async with serving() as server:
        client, publisher = server.client(), server.client()
        await client.subscribe(pattern, by="psubscribe")
        for topic in ("a" * 1_000, "a" * 999 + "c"):
            assert await publisher.ask("publish", topic, "x") in (0, 1)
        assert isinstance(await publisher.ask("pubsub", "channels", pattern), list)


@virtual
async def test_names_that_are_too_long():
    """Pattern times topic is bounded because both are. The command is refused as a whole, and the client goes on."""
    long = "a" * (MAX_NAME + 1)
    async with serving() as server:
        client = server.client()
        for words in (
            ("publish", long, "x"), ("subscribe", "ok", long), ("psubscribe", "ok", long), ("pubsub", "channels", long),
            ("xread", "block", "0", "streams", long, "$"),
        ):  # fmt: skip
            assert await client.ask(*words) == Error(f"ERR a channel or pattern has at most {MAX_NAME} bytes")
        assert await client.ask("publish", long[1:], "x") == 0


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"*1\r\n*1\r\n" * 1_000, "expected '$', got '*'"), (b"*1073741824\r\n", "invalid multibulk length"),
        (b"*1\r\n$1073741824\r\n", "invalid bulk length"), (b"*1\r\n$" + b"9" * 1_000, "invalid bulk length"),
        (b"x" * 100_000, "too big inline request"), (b"*2\r\n$9\r\nsubscribe\r\n$1048577\r\n", "invalid bulk length"),
        (b"*10\r\n" + (b"$1048576\r\n" + b"x" * 1_048_576 + b"\r\n") * 9, "invalid bulk length"),
    ],
    ids=["nested arrays", "long array", "long string", "endless length", "endless line", "just too long", "long command"],
)  # fmt: skip
@virtual
async def test_what_does_not_fit_into_memory(data, complaint):
    """Refused at its head."""
    async with serving() as server:
        client = server.client(capacity=1 << 24)
        client.pipe.write(data)
        assert await client.reply() == Error(f"ERR Protocol error: {complaint}")
        assert await client.end() in (FIN, RST)


@virtual
async def test_half_a_command():
    """What was begun has to come to its end. A client between two commands, or a subscriber, may be silent for ever."""
    async with serving() as server:
        half, silent, subscriber = server.client(), server.client(), server.client()
        await silent.ask("ping")
        await subscriber.subscribe("a")
        half.pipe.write(command("ping") + command("ping")[:-1])
        assert await half.replies(2) == [PONG, Error("ERR timeout")]
        assert await half.end() == FIN and 0 <= now() - Timeouts().body < 1
        await asyncio.sleep(50_000)
        assert await silent.ask("ping") == PONG
        assert await subscriber.ask("ping") == [b"pong", b""]


@virtual
async def test_a_trickle():
    """A byte now and then buys no time."""
    async with serving() as server:
        client = server.client()
        for byte in command("publish", "a", "x" * 100):
            client.pipe.write(bytes([byte]))
            await asyncio.sleep(5)
            if server.metrics.connections == 0:
                break
        assert now() < 2 * Timeouts().body


@virtual
async def test_an_empty_line_begins_no_command():
    """Also where it comes in two chunks: the next command has all its time."""
    async with serving() as server:
        client = server.client()
        for piece in (b"\r", b"\n"):
            client.pipe.write(piece)
            await asyncio.sleep(1)
        await asyncio.sleep(2 * Timeouts().body)
        for piece in (b"PI", b"NG\r\n"):
            client.pipe.write(piece)
            await asyncio.sleep(1)
        assert await client.reply() == PONG


@virtual
async def test_a_large_command_on_a_slow_line():
    """While it comes faster than a trickle it may take its time."""
    async with serving() as server:
        client = server.client()
        data = command("publish", "a", "x" * 100_000)
        for at in range(0, len(data), 10_000):
            client.pipe.write(data[at : at + 10_000])
            await asyncio.sleep(10)
        assert await client.reply() == 0
        assert now() > 2 * Timeouts().body


@virtual
async def test_commands_that_never_end_where_a_chunk_does():
    """The time of each begins with its own first byte."""
    async with serving() as server:
        client = server.client()
        data = command("ping")
        client.pipe.write(data[:5])
        for _ in range(10):
            await asyncio.sleep(10)
            client.pipe.write(data[5:] + data[:5])
            assert await client.reply() == PONG
        client.pipe.write(data[5:])
        assert await client.reply() == PONG


@virtual
async def test_the_time_of_the_first_command_begins_with_its_first_byte():
    """And not with the connection, which a pool may have made long before."""
    async with serving() as server:
        client = server.client()
        await asyncio.sleep(1_000)
        client.pipe.write(command("ping")[:-1])
        await asyncio.sleep(1)
        client.pipe.write(command("ping")[-1:])
        assert await client.reply() == PONG


@virtual
async def test_guesses_of_the_password():
    """A stranger has half a minute, short commands, and no memory of ours."""
    async with serving(password="secret") as server:
        client = server.client()
        for number in range(1_000):
            assert (await client.ask("auth", b"guess %d" % number)).text.startswith("WRONGPASS")
        assert await client.reply() == Error("ERR timeout")
        assert (await client.end(), now()) == (FIN, Timeouts().body)
        client = server.client()
        client.pipe.write(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n")
        assert await client.reply() == Error("ERR Protocol error: unauthenticated bulk length")
        client = server.client()
        client.pipe.write(b"*11\r\n")
        assert await client.reply() == Error("ERR Protocol error: unauthenticated multibulk length")
        client = server.client()
        assert await client.ask("auth", "secret") == OK
        assert await client.ask("ping", "x" * 100_000) == b"x" * 100_000


@virtual
async def test_a_pipeline_behind_a_wait():
    """While a client waits in XREAD it is read only so far."""
    async with serving() as server:
        client = server.client()
        client.send("xread", "block", "50000", "streams", "a", "$")
        client.pipe.write(command("ping", "x" * KIB) * 1_000)
        await asyncio.sleep(10)
        assert client.pipe.waiting > 600 * KIB
        assert await server.client().ask("publish", "a", "x") == 0
        assert len((await client.reply())[0][1]) == 1
        assert await client.replies(1_000) == [b"x" * KIB] * 1_000


@virtual
async def test_answers_larger_than_questions():
    """Each of a pipeline's answers has to be read before the next is made."""
    async with serving(history=100) as server:
        for _ in range(100):
            server.broker.publish("a", b"x" * 10 * KIB)
        client = server.client(capacity=KIB)
        client.pipe.write(command("xrange", "a", "-", "+") * 50)
        await asyncio.sleep(1)
        assert server.ends[0].unsent < 3 << 20
        for _ in range(50):
            assert len(await client.reply()) == 100


@virtual
async def test_too_many_connections():
    async with serving(max_connections=1) as server:
        client = server.client()
        assert await client.ask("ping") == PONG
        late = server.client()
        assert await late.reply() == Error("ERR max number of clients reached")
        assert await late.end() == FIN
        await client.pipe.close()
        await asyncio.sleep(5)


@virtual
async def test_limits_can_be_told():
    async with serving(limits=Limits(max_bulk=10)) as server:
        client = server.client()
        assert await client.ask("ping", "x" * 10) == b"x" * 10
        assert await client.ask("ping", "x" * 11) == Error("ERR Protocol error: invalid bulk length")


# ---- the end ---------------------------------------------------------------------------------------------------------


@virtual
async def test_drain():
    """Who is silent, who listens, who waits for a stream: all see a clean end at once, and nothing is left."""
    server = Serving(Broker(history=10), {})
    silent, subscriber, waiting, full = clients = [server.client() for _ in range(4)]
    await silent.ask("ping")
    await subscriber.subscribe("a")
    waiting.send("xread", "block", "0", "streams", "a", "$")
    full.send("xread", "block", "0", "streams", "a", "$")
    full.send("ping", b"x" * 100 * KIB)
    await asyncio.sleep(1)
    close = asyncio.create_task(server.server.close())
    assert await waiting.reply() == await full.reply() == NULL_ARRAY
    assert await full.reply() == b"x" * 100 * KIB
    for client in clients:
        assert await client.end() == FIN
        await client.pipe.close()
    await close
    assert (now(), server.metrics.connections, server.broker.inner.topics) == (1, 0, [])
    assert await server.client().end() == RST


@virtual
async def test_a_stalled_subscriber_holds_up_no_drain():
    server = Serving(Broker(), {})
    client = server.client(capacity=1)
    client.send("subscribe", "a")
    await asyncio.sleep(1)
    for _ in range(100):
        server.broker.publish("a", b"x" * KIB)
    await server.server.close()
    assert now() <= 1 + Timeouts().drain + 1 and server.metrics.connections == 0
