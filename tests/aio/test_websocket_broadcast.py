"""One message to many connections: encoded once, in order with what else each gets, and nobody waits for the slow."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from harness import RST, now, serving, virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from ws_harness import app_with, frames_in, peer_of, with_socket

from minproto import Compression, ConnectionClosed, LocalProtocolError, Timeouts, broadcast
from minproto.deflate import Deflater
from minproto.testing import clock
from minproto.websocket import FIN, RSV1, TEXT, Close, Message

TIMEOUTS = Timeouts()
MIB = 1 << 20
COMPRESSED = Compression()
SMALLER = Compression(window_bits=10)
RESET = Compression(context_takeover=False)


@asynccontextmanager
async def crowd(*offers, **options):
    """Connections, one for each offer of compression (or None): (the server, their WebSockets, their peers)."""
    sockets, done = [], asyncio.Event()

    async def handler(ws):
        sockets.append(ws)
        await done.wait()

    async with serving(app_with(handler, **options)) as server:
        peers = [await peer_of(server, compression=offer) for offer in offers]
        try:
            yield server, sockets, peers
        finally:
            done.set()


async def pausing(*values):
    for value in values:
        yield value
        await asyncio.sleep(1)


@pytest.mark.parametrize("message", ["text €", b"binary", "", "x" * 100_000])
@virtual
async def test_everybody_gets_it(message):
    """With compression and without."""
    async with crowd(None, COMPRESSED, None, SMALLER, RESET) as (_, sockets, peers):
        broadcast(sockets, message)
        assert [await peer.data() for peer in peers] == [message] * 5


@virtual
async def test_it_is_compressed_once_for_each_set_of_parameters(monkeypatch):
    """The bytes on the wire are the same where the parameters are."""
    compressed = []
    compress = Deflater.compress
    monkeypatch.setattr(Deflater, "compress", lambda *args, **named: compressed.append(1) or compress(*args, **named))
    async with crowd(*[None] * 10, *[COMPRESSED] * 10, *[SMALLER] * 10) as (_, sockets, peers):
        broadcast(sockets, "to all of you " * 10)
        for peer in peers:
            await peer.data()
        assert [len({peer.raw for peer in peers[at : at + 10]}) for at in (0, 10, 20)] == [1, 1, 1]
        assert len(compressed) == 2
        assert [frames_in(peers[at].raw)[0][0] for at in (0, 10)] == [FIN | TEXT, RSV1 | FIN | TEXT]


@virtual
async def test_in_the_middle_of_a_message_it_comes_after_that():
    """RFC 6455 §5.4: fragments of another message must not come between; and the order of one sender is kept."""
    async with crowd(None, COMPRESSED) as (_, sockets, peers), asyncio.TaskGroup() as tasks:
        tasks.create_task(sockets[0].send(pausing("a", "b")))
        tasks.create_task(sockets[1].send(pausing("a", "b")))
        await asyncio.sleep(0.5)
        for message in ("one", "two"):
            broadcast(sockets, message)
        await sockets[0].send("three")
        assert [await peers[0].data() for _ in range(4)] == ["ab", "one", "two", "three"]
        assert [await peers[1].data() for _ in range(3)] == ["ab", "one", "two"]
        assert now() == 2


@virtual
async def test_what_is_no_text_goes_to_nobody():
    """LocalProtocolError for who broadcasts, not for who happens to be sending something else."""
    async with crowd(None, COMPRESSED) as (_, sockets, peers), asyncio.TaskGroup() as tasks:
        for socket in sockets:
            tasks.create_task(socket.send(pausing("a", "b")))
        await asyncio.sleep(0.5)
        with pytest.raises(LocalProtocolError):
            broadcast(sockets, "\ud800")
        for peer in peers:
            assert await peer.data() == "ab"


@virtual
async def test_the_closed_and_the_gone_are_passed_over():
    """A room may hold some that have just ended."""
    async with crowd(None, None, None) as (_, sockets, peers):
        peers[0].pipe.abort()
        closing = asyncio.create_task(sockets[1].close())
        await peers[1].event()
        broadcast(sockets, "hello")
        assert await peers[2].data() == "hello"
        peers[1].send(Close(1000))
        await closing
        broadcast(sockets, "hello again")
        assert await peers[2].data() == "hello again"
        assert frames_in(peers[1].raw) == [(0x88, b"\x03\xe8")]


@virtual
async def test_a_slow_one_is_closed_with_1013_and_aborted_and_delays_nobody():
    """IANA's 1013 (try again later); it does not read, so ``Timeouts.close`` later it is cut off."""
    async with crowd(None, None) as (_, sockets, peers):
        sent = 0
        while sockets[1].close_code is None and now() < 5:
            broadcast(sockets, bytes(200_000))
            assert await peers[0].data() == bytes(200_000)
            sent += 1
            await asyncio.sleep(0.5)
        assert (now(), sockets[1].close_code) == (5, None)
        with pytest.raises(ConnectionClosed):
            await sockets[1].send("more")
        assert sockets[1]._endpoint.unsent < MIB + 400_000
        await asyncio.sleep(10)
        assert (sockets[1].close_code, sockets[0].close_code, sent) == (1006, None, 10)
        assert await peers[1].end() == RST


@virtual
async def test_a_slow_one_that_reads_again_sees_why():
    """1013 comes after what was sent before it."""
    async with crowd(None) as (_, sockets, peers):
        for _ in range(8):
            broadcast(sockets, bytes(200_000))
            await asyncio.sleep(0.1)
        *messages, close = await peers[0].events()
        assert messages == [Message(bytes(200_000))] * len(messages) and 6 <= len(messages) <= 7
        assert (close.code, sockets[0].close_code) == (1013, 1013)


@virtual
async def test_a_long_message_does_not_hold_back_broadcasts_without_end():
    """Those that wait for its end are bounded, too: 1013."""
    async with crowd(None) as (_, sockets, peers):
        sending = asyncio.create_task(sockets[0].send(pausing(*"x" * 50)))
        await asyncio.sleep(0.5)
        for _ in range(100):
            broadcast(sockets, "tick")
        with pytest.raises(ConnectionClosed):
            await sending
        assert [event.code for event in await peers[0].events()] == [1013]


@pytest.mark.parametrize(("size", "count"), [(1, 65), (300_000, 3)])
@virtual
async def test_all_that_may_wait_behind_a_long_message_are_sent_after_it(size, count):
    """The last of them is held to the bounds once, when it comes; the peer reads all the time."""
    async with crowd(None) as (_, sockets, peers), asyncio.TaskGroup() as tasks:
        tasks.create_task(sockets[0].send(pausing("a", "b")))
        await asyncio.sleep(0.5)
        for number in range(count):
            broadcast(sockets, bytes([number]) * size)
        assert await peers[0].data() == "ab"
        assert [await peers[0].data() for _ in range(count)] == [bytes([number]) * size for number in range(count)]


@virtual
async def test_large_broadcasts_behind_a_long_message_are_bounded_by_their_bytes():
    """Held as frames or as messages, it is the same memory: no more than 1 MiB and one message."""
    async with crowd(None) as (_, sockets, _):
        sending = asyncio.create_task(sockets[0].send(pausing(*"x" * 20)))
        await asyncio.sleep(0.5)
        held = []
        for number in range(20):
            broadcast(sockets, bytes([number]) * MIB)
            held.append(sum(len(shared.data) for shared in sockets[0]._deferred) + sockets[0]._endpoint.unsent)
        assert MIB < max(held) <= 2 * MIB + 100
        sending.cancel()
        await asyncio.wait([sending])


@virtual
async def test_a_handler_that_broadcasts_is_part_of_the_crowd():
    """And a client's connection takes part like a server's."""
    async with with_socket() as (ws, peer):
        broadcast([ws, ws], "twice")
        assert [await peer.data(), await peer.data()] == ["twice", "twice"]


# ---- any mix ---------------------------------------------------------------------------------------------------------

_texts = st.text("abc", max_size=40).map(lambda text: text * 5)
_actions = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3), _texts),
    st.tuples(st.just("compose"), st.integers(0, 3), st.lists(_texts, min_size=1, max_size=3)),
    st.tuples(st.just("broadcast"), st.just(0), _texts),
    st.tuples(st.just("wait"), st.floats(0, 3), st.none()),
)
OFFERS = [None, COMPRESSED, SMALLER, RESET]


async def mix(actions):
    """Run them; for each connection (what it should get: broadcasts, others), and what it got."""
    told, others = [], [[] for _ in OFFERS]
    async with crowd(*OFFERS) as (_, sockets, peers):
        async with asyncio.TaskGroup() as tasks:
            for number, (action, where, what) in enumerate(actions):
                match action:
                    case "send":
                        others[where].append(f"s{number}{what}")
                        tasks.create_task(sockets[where].send(others[where][-1]))
                    case "compose":
                        others[where].append(f"c{number}" + "".join(what))
                        tasks.create_task(sockets[where].send(pausing(f"c{number}", *what)))
                    case "broadcast":
                        told.append(f"b{number}{what}")
                        broadcast(sockets, told[-1])
                    case "wait":
                        await asyncio.sleep(where)
        got = [[await peer.data() for _ in told + mine] for peer, mine in zip(peers, others, strict=True)]
    return told, others, got


@settings(max_examples=60)
@given(st.lists(_actions, max_size=12))
def test_any_mix_of_sends_and_broadcasts_inflates_and_is_in_order(actions):
    """RFC 7692 §7.2.3.2: with context takeover, what comes after a broadcast may not look back to before it."""
    told, others, got = clock.run(mix(actions))
    for mine, received in zip(others, got, strict=True):
        assert [message for message in received if message[0] == "b"] == told
        assert sorted(message for message in received if message[0] != "b") == sorted(mine)
