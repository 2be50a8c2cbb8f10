"""0 seconds are no time at all: what is there when we look counts, and nothing is waited for. Each protocol tests its own
timeouts; here are those of what all of them stand on: connect, read, write, close, drain."""

import asyncio
import socket
import time

import pytest
from harness import FIN, RST, Client, get, now, serving, virtual
from ws_harness import Session, joined, talking

from minproto import Response, Server, Timeouts
from minproto.aio.address import Address
from minproto.aio.endpoint import Endpoint
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT
from minproto.resp import Connection, Limits, Reply, Simple
from minproto.testing import network
from minproto.websocket import Close


async def test_without_time_to_connect_nobody_is_reached():
    """Not even a server that would accept at once: the network needs a turn of the loop at least."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="no answer within 0 s"):
            await connect_pipe(Address(*listener.getsockname()), handshake=0)
        assert time.monotonic() - began < 1


@virtual
async def test_without_patience_an_event_that_has_come_counts():
    """One whose last byte is missing does not, and no time goes by."""
    ours, theirs = network.pair()
    endpoint = Endpoint(Connection(CLIENT, Limits()), ours, Timeouts())
    theirs.write(b"+whole\r\n+par")
    assert await endpoint.next_event(lambda: 0) == Reply(Simple("whole"))
    with pytest.raises(TimeoutError):
        await endpoint.next_event(lambda: 0)
    assert now() == 0
    theirs.write(b"tial\r\n")
    await asyncio.sleep(0.1)
    assert await endpoint.next_event(lambda: 0) == Reply(Simple("partial"))


@virtual
async def test_without_time_to_write_what_the_peer_takes_at_once_is_sent():
    """The rest is not waited for."""
    for size, taken in (10, True), (1_000_000, False):
        ours, theirs = network.pair()
        endpoint = Endpoint(Connection(CLIENT, Limits()), ours, Timeouts(write=0))
        endpoint.queue(bytes(size))
        if taken:
            await endpoint.flush()
            assert len(await theirs.read()) == size
        else:
            with pytest.raises(ConnectionResetError):
                await endpoint.flush()
            assert endpoint.lost
        assert now() == 0
        endpoint.abort()


@virtual
async def test_without_linger_a_peer_that_goes_on_sending_is_not_waited_for():
    ours, theirs = network.pair()
    endpoint = Endpoint(Connection(CLIENT, Limits()), ours, Timeouts(linger=0))
    endpoint.queue(b"bye")
    await endpoint.close(linger=True)
    assert (await theirs.read(), now()) == (b"bye", 0)


@virtual
async def test_without_time_to_close_a_websockets_close_is_sent_and_none_awaited():
    """Of a server, and of a client, whose peers say nothing at all."""
    session = Session()
    async with talking(session, timeouts=Timeouts(close=0, linger=0)) as (_, peer):
        ws = await session.socket
        await ws.close()
        assert await peer.event() == Close(1000)
        assert (ws.close_code, now()) == (1006, 0)
        session.done.set()
    async with joined(timeouts=Timeouts(close=0, linger=0)) as (client, server):
        server._reader.cancel()  # it does not answer
        await asyncio.sleep(0)
        await client.close()
        assert (client.close_code, now()) == (1006, 0)


@virtual
async def test_without_time_to_drain_all_in_flight_are_cut_off():
    """A request and a WebSocket; a connection that has asked for nothing has nothing to lose."""

    async def app(request):
        await asyncio.sleep(10)
        return Response(b"late")

    server = Server(app, timeouts=Timeouts(drain=0))
    clients = []
    for asks in True, False:
        ours, theirs = network.pair()
        server.attach(theirs)
        clients.append(Client(ours))
        if asks:
            clients[-1].send(get())
    await asyncio.sleep(1)
    await server.close()
    assert (await clients[0].end(), now()) == (RST, 1)
    assert await clients[1].end() in (FIN, RST) and now() == 1


@virtual
async def test_without_idle_time_the_first_request_has_the_time_of_a_head():
    """``idle`` is between two messages."""
    timeouts = Timeouts(idle=0, head=5, handshake=3)
    assert timeouts.first_idle == 5 and Timeouts(idle=0, head=0).first_idle == Timeouts().handshake
    async with serving(timeouts=timeouts) as server:
        early, silent = server.client(), server.client()
        await asyncio.sleep(4)
        assert (await early.ask(get("/hello"))).status == 200
        assert (await early.end(), now()) == (FIN, 4)
        assert (await silent.end(), now()) == (FIN, 5)
