"""A slow line is not a dead peer: while the peer takes what was sent before, its silence says nothing. And what had arrived
before a wait was over, on a loop that was too busy to look, was in time."""

import asyncio
import itertools

import pytest
from h2_harness import talking as talking_http2
from harness import now, virtual
from test_http2_websocket import Socket
from ws_harness import app_with, echo, joined, talking, with_socket

from minproto import ConnectionClosed, Timeouts, WebSocketLimits, broadcast
from minproto.aio.endpoint import Endpoint
from minproto.core import Core
from minproto.http1 import Limits as HttpLimits
from minproto.testing import network
from minproto.websocket import Close, Message, Ping, Pong

LONG = 12_000_000
TIMEOUTS = Timeouts()


def line(rate, **options):
    """A network of so many bytes a second."""
    return {"capacity": rate // 5, "delays": itertools.repeat(0.2), **options}


def skip(seconds):
    """As a handler that blocks the loop."""
    asyncio.get_running_loop()._now += seconds


@pytest.mark.parametrize("sender", ["client", "server"])
@virtual
async def test_a_long_message_on_a_slow_line_is_no_silence(sender):
    """It takes two minutes, and the Pong comes behind it."""
    async with joined(net=line(100_000), limits=WebSocketLimits(max_message=LONG)) as sockets:
        here, there = sockets if sender == "client" else sockets[::-1]
        receiving = asyncio.create_task(there.receive())
        await here.send(b"x" * LONG)
        assert len(await receiving) == LONG and now() > 110
        await asyncio.gather(here.close(), there.close())
        assert (here.close_code, there.close_code) == (1000, 1000)


@virtual
async def test_a_long_message_on_a_slow_stream_of_http2():
    async def handler(ws):
        await ws.send(b"x" * 4_000_000)
        await ws.receive()

    async with talking_http2(app_with(handler), peer={"net": line(50_000)}) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        socket = await Socket(peer).opened()
        socket.core = type(socket.core)(socket.core.role, limits=WebSocketLimits(max_message=LONG))
        pings = 0
        while not isinstance(event := await socket.event(), Message):
            assert isinstance(event, Ping)
            pings += 1
        assert len(event.data) == 4_000_000 and now() > 75
        await socket.send(Close(1000))
        while isinstance(event := await socket.event(), Ping):
            pings += 1
        assert event == Close(1000) and pings > 0


@virtual
async def test_a_peer_that_stops_reading_is_silent():
    """Progress that was is none that is: what waits does not move, so the keepalive's question counts."""
    timeouts = Timeouts(write=1_000)
    async with with_socket(net={"capacity": 1_000}, timeouts=timeouts) as (ws, peer):
        broadcast([ws], b"x" * 500_000)
        for _ in range(50):
            await asyncio.sleep(1)
            await peer.pipe.read()
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive()
        assert closed.value.code == 1011 and 60 <= now() <= 91
        peer.pipe.abort()


@virtual
async def test_a_peer_that_takes_bytes_one_by_one_is_silent():
    """Less than ``Timeouts.write`` asks of a reader is no sign of life."""
    async with with_socket(net={"capacity": 1_000}, timeouts=Timeouts(write=30)) as (ws, peer):
        broadcast([ws], b"x" * 50_000)
        reading = asyncio.create_task(asyncio.sleep(1_000))
        async with asyncio.timeout(100):
            while ws.close_code is None:
                await asyncio.sleep(1)
                await peer.pipe.read() if now() % 10 == 0 else None
        assert ws.close_code == 1011 and now() <= 41
        reading.cancel()
        peer.pipe.abort()


@virtual
async def test_a_close_behind_messages_that_the_peer_still_takes():
    """``Timeouts.close`` is for the peer's Close, not for what comes before ours; the same for ``Timeouts.write``."""
    async with joined(net=line(20_000, high_water=65_536)) as (client, server):
        received = asyncio.create_task(client.receive())
        broadcast([server], b"x" * 1_000_000)
        await server.close(1000)
        assert len(await received) == 1_000_000 and now() > 45
        assert (client.close_code, server.close_code) == (1000, 1000)


@pytest.mark.parametrize(("close", "code"), [(0, 1006), (0.01, 1006), (0.5, 1000)])
@virtual
async def test_a_close_without_a_wait_loses_no_message(close, code):
    """``Timeouts.close`` begins when the peer has taken what was sent before: 0 cuts off the wait, and not the message."""
    async with joined(net=line(20_000), timeouts=Timeouts(close=close)) as (client, server):
        received = asyncio.create_task(server.receive())
        await client.send(b"x" * 40_000)
        await client.close()
        assert len(await received) == 40_000 and now() > 1.5
        assert (client.close_code, server.close_code) == (code, 1000)  # the peer's Close takes 0.4 s


@pytest.mark.parametrize("close", [0, 0.5])
@virtual
async def test_a_peer_that_reads_nothing_is_cut_off_also_where_close_is_short(close):
    async with with_socket(net={"capacity": 1_000}, timeouts=Timeouts(close=close)) as (ws, peer):
        broadcast([ws], b"x" * 50_000)
        await ws.close()
        assert now() == 1 + close and ws.close_code == 1006
        assert await peer.end() == "RST"


@virtual
async def test_a_ping_behind_messages_that_the_peer_still_takes():
    async with joined(net=line(20_000, high_water=65_536)) as (client, server):
        received = asyncio.create_task(client.receive())
        broadcast([server], b"x" * 1_000_000)
        assert await server.ping() > 45
        await received
        await asyncio.gather(client.close(), server.close())


@virtual
async def test_an_endpoint_closes_behind_what_the_peer_still_takes():
    """1 MB that were written at once, at 20 KB/s: ``Timeouts.write`` is for a part of that."""
    ours, theirs = network.pair(**line(20_000))
    endpoint = Endpoint(Core(0), ours, TIMEOUTS)
    ours.write(b"x" * 1_000_000)
    endpoint.sent += 1_000_000

    async def read():
        size = 0
        while data := await theirs.read():
            size += len(data)
        return size

    reading = asyncio.create_task(read())
    await endpoint.close()
    assert await reading == 1_000_000 and now() > 45


@virtual
async def test_a_conversation_has_no_limit_of_a_transfer():
    """A WebSocket on a stream of HTTP/2 outlives ``Timeouts.body`` and ``max_body`` of its server, which are for uploads."""
    options = {"limits": HttpLimits(max_body=1_000), "timeouts": Timeouts(body=1, idle=5, head=2)}
    async with talking_http2(app_with(echo), **options) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        socket = await Socket(peer).opened()
        for _ in range(3):
            await socket.send(Message("x" * 10_000))
            assert isinstance(await socket.event(), Message)
            await asyncio.sleep(15)
        await socket.send(Close(1000))
        assert await socket.event() == Close(1000)


# ---- timeouts of 0 ------------------------------------------------------------------------------------------------------


@virtual
async def test_a_pong_of_0_seconds():
    """The keepalive asks after ``ping`` seconds, and no answer is fast enough."""
    async with with_socket(net={"delays": itertools.repeat(0.1)}, timeouts=Timeouts(ping=5, pong=0)) as (ws, peer):
        with pytest.raises(TimeoutError, match="no answer to a ping within 0 s"):
            await ws.ping()
        assert now() == 0.2 and ws.close_code is None
        event = await peer.event()
        peer.send(Pong(event.data))
        assert await peer.events() == [Ping(), Close(1011, "no answer to a ping")]
        assert ws.close_code == 1011 and now() < 6


@virtual
async def test_last_words_of_0_seconds():
    """The peer's Close is answered at once, while the app is still busy with what came before it."""
    heard = []

    async def handler(ws):
        async for message in ws:
            heard.append(message)
            await asyncio.sleep(1)

    async with talking(handler, timeouts=Timeouts(last_words=0)) as (_, peer):
        peer.send(Message("a"), Message("b"), Close(1000))
        assert await peer.events() == [Close(1000)] and now() == 0
        await asyncio.sleep(3)
        assert heard == ["a", "b"]


@virtual
async def test_a_write_of_0_seconds():
    """A peer that takes everything at once is served to an orderly end, any other is cut off."""
    async with with_socket(timeouts=Timeouts(write=0)) as (ws, peer):
        await ws.send(b"x" * 60_000)
        assert len(await peer.data()) == 60_000
        peer.send(Close(1000))
        assert await peer.events() == [Close(1000)]
    async with with_socket(net=line(20_000), timeouts=Timeouts(write=0)) as (ws, peer):
        with pytest.raises(ConnectionClosed, match="does not read"):
            await ws.send(b"x" * 1_000_000)
        assert ws.close_code == 1006 and await peer.end() == "RST"


# ---- a loop that was too busy to look ----------------------------------------------------------------------------------


@virtual
async def test_a_pong_that_had_arrived_is_in_time():
    """The keepalive's: the loop is blocked when it comes, until its time is over."""
    async with with_socket(net={"delays": itertools.repeat(0.1)}) as (ws, peer):
        event = await peer.event()
        assert isinstance(event, Ping) and now() == pytest.approx(20.2)
        await asyncio.sleep(19)
        peer.send(Pong(event.data))
        skip(10)
        await asyncio.sleep(1)
        assert ws.close_code is None
        peer.send(Close(1000))
        await peer.events()


@virtual
async def test_a_pong_of_ping_that_had_arrived_is_in_time():
    async with with_socket(net={"delays": itertools.repeat(0.1)}) as (ws, peer):
        pinging = asyncio.create_task(ws.ping())
        event = await peer.event()
        assert isinstance(event, Ping)
        peer.send(Pong(event.data))
        skip(30)
        assert await pinging >= 30
        peer.send(Close(1000))
        await peer.events()


@virtual
async def test_a_close_that_had_arrived_is_in_time():
    async with with_socket(net={"delays": itertools.repeat(0.1)}) as (ws, peer):
        closing = asyncio.create_task(ws.close(4000))
        assert await peer.event() == Close(4000)
        peer.send(Close(4000))
        skip(30)
        await closing
        assert ws.close_code == 4000
        await peer.end()


@virtual
async def test_a_body_that_had_arrived_is_in_time():
    """Of any wait of an endpoint: here for a chunk, with the plain pipe."""
    ours, theirs = network.pair(delays=itertools.repeat(0.1))
    endpoint = Endpoint(Core(100), ours, TIMEOUTS)
    receiving = asyncio.create_task(endpoint.receive(1.0))
    await asyncio.sleep(0.5)
    theirs.write(b"x")
    skip(2)
    assert await receiving == 1
    with pytest.raises(TimeoutError):
        await endpoint.receive(1.0)
    assert now() == pytest.approx(3.5)
    endpoint.abort()
