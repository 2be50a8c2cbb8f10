"""A call from another thread than the loop's is refused at once, changes nothing, and says what to call."""

import asyncio

import pytest
from harness import raised_in_a_thread, serving, virtual
from ws_harness import app_with, peer_of

from minproto import Server, broadcast
from minproto.aio.options import check_loop


async def never(pieces):
    yield pieces


CALLS = {
    "broadcast": (lambda ws: broadcast([ws], "x"), "loop.call_soon_threadsafe(broadcast, connections, message)"),
    "send": (lambda ws: asyncio.run(ws.send("x")), "asyncio.run_coroutine_threadsafe(ws.send(message), loop)"),
    "fragments": (lambda ws: asyncio.run(ws.send(never("x"))), "asyncio.run_coroutine_threadsafe(ws.send(message), loop)"),
    "ping": (lambda ws: asyncio.run(ws.ping()), "asyncio.run_coroutine_threadsafe("),
    "receive": (lambda ws: asyncio.run(ws.receive()), "asyncio.run_coroutine_threadsafe(ws.receive(), loop)"),
    "close": (lambda ws: asyncio.run(ws.close()), "asyncio.run_coroutine_threadsafe(ws.close(), loop)"),
    "abort": (lambda ws: ws.abort(), "loop.call_soon_threadsafe(ws.abort)"),
}


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug mode"])
@pytest.mark.parametrize(("call", "instead"), CALLS.values(), ids=CALLS)
@virtual
async def test_a_websocket_in_another_thread(call, instead, debug):
    """The peer gets nothing of it, and the connection goes on: what the error names works."""
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)
    sockets, done = [], asyncio.Event()

    async def handler(ws):
        sockets.append(ws)
        await done.wait()

    async with serving(app_with(handler)) as server:
        peer = await peer_of(server)
        error = raised_in_a_thread(call, *sockets)
        assert type(error) is RuntimeError and instead in str(error)
        assert raised_in_a_thread(loop.call_soon_threadsafe, broadcast, sockets, "right") is None
        assert await peer.data() == "right"
        done.set()


@virtual
async def test_a_broadcast_that_is_refused_for_one_reaches_nobody():
    """All are checked before the first send."""
    sockets, done = [], asyncio.Event()

    async def handler(ws):
        sockets.append(ws)
        await done.wait()

    async with serving(app_with(handler)) as server:
        peer = await peer_of(server)
        with pytest.raises(TypeError):
            broadcast([*sockets, "no WebSocket"], "wrong")
        broadcast(iter(sockets), "right")
        assert await peer.data() == "right"
        done.set()


@pytest.mark.parametrize(("call", "instead"), [
    (lambda server: asyncio.run(server.close()), "asyncio.run_coroutine_threadsafe(server.close(), loop)"),
    (lambda server: server.abort(), "loop.call_soon_threadsafe(server.abort)"),
])  # fmt: skip
def test_a_server_in_another_thread(call, instead):
    """It goes on listening, and ends in its own thread."""

    async def app(request):
        raise AssertionError

    async def serve():
        async with Server(app, port=0) as server:
            error = raised_in_a_thread(call, server)
            assert type(error) is RuntimeError and instead in str(error)
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()

    asyncio.run(serve())


def test_an_object_of_a_loop_that_is_over_may_be_closed_anywhere():
    loop = asyncio.new_event_loop()
    loop.close()
    check_loop(loop, "")
    asyncio.run(closed_in_another_loop(loop))


async def closed_in_another_loop(loop):
    check_loop(loop, "")
