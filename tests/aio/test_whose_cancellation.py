"""A handler that has taken a connection over, a WebSocket's or another protocol's, and the end of its task by CancelledError.

Where the app has cancelled it, the handler has failed, and somebody has to hear of it. Where we have, it is no failure.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h2_harness
import pytest
import ws_harness
from h2_harness import StreamReset
from harness import FIN, RST, Client, Serving, get, now, serving, virtual
from test_http2_websocket import Socket
from ws_harness import app_with

from minproto import Answer, Request, Response, Server, Timeouts, Upgrade
from minproto.http2_frames import INTERNAL_ERROR
from minproto.testing import network
from minproto.websocket import Close

VERSIONS = pytest.mark.parametrize("version", ["1.1", "2"])
KINDS = pytest.mark.parametrize("kind", ["websocket", "raw"])
OFFER = ["Connection: upgrade", "Upgrade: any"]


def cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def cancels_itself(_: Any) -> None:
    await asyncio.sleep(1)
    cancel_this_task()
    await asyncio.sleep(1)


async def cancels_itself_and_returns(_: Any) -> None:
    await asyncio.sleep(1)
    cancel_this_task()


async def is_cancelled_by_the_app(_: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(1, task.cancel)
    await asyncio.sleep(100)


async def awaits_a_cancelled_task(_: Any) -> None:
    task = asyncio.create_task(asyncio.sleep(9))
    asyncio.get_running_loop().call_later(1, task.cancel)
    await task


async def awaits_a_cancelled_future(_: Any) -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, future.cancel)
    await future


OWN = pytest.mark.parametrize(
    "handler",
    [cancels_itself, cancels_itself_and_returns, is_cancelled_by_the_app, awaits_a_cancelled_task, awaits_a_cancelled_future],
)


class Waits:
    """A handler that waits, and notes how its wait has ended."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.ends: list[str] = []

    async def __call__(self, _: Any) -> None:
        self.has_begun.set()
        try:
            await asyncio.sleep(1_000)
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise


def taking_over(handler: Callable[[Any], Awaitable[None]], kind: str) -> Any:
    """An app that gives each connection to ``handler``: as a WebSocket, or as a pipe."""

    async def app(request: Request) -> Answer:
        if request.head.method == "CONNECT":
            return Upgrade(handler, status=200)
        return Upgrade(handler, [("upgrade", "any"), ("connection", "upgrade")])

    return app if kind == "raw" else app_with(handler)


@asynccontextmanager
async def taken_over(server: Serving, kind: str, version: str) -> AsyncIterator[Any]:
    """A connection to a server of ``taking_over``, from its handshake on: the client's end of it."""
    if version == "1.1":
        client = server.client()
        if kind == "websocket":
            yield (await ws_harness.shake(client))[0]
        else:
            client.send(get("/", *OFFER))
            assert (await client.answer()).status == 101
            yield client
        return
    async with h2_harness.peer_of(server) as peer:
        await peer.until(lambda: peer.core.peer_settings)
        if kind == "websocket":
            yield await Socket(peer).opened()
        else:
            stream = peer.open("CONNECT", "a:80", host="a:80")
            await peer.until(lambda: peer.answers[stream].status)
            yield peer


async def end_of(end: Any) -> Any:
    """How a connection ends: the code of the Close, or that of the stream's reset, or FIN or RST of the connection."""
    if isinstance(end, Client):
        return await end.end()
    if isinstance(end, h2_harness.Peer):
        try:
            await end.answer(1)
        except StreamReset as reset:
            return reset.code
        except ConnectionResetError:
            return RST
        return FIN
    try:
        event = await end.event()
    except ConnectionResetError:
        return RST
    if isinstance(event, Close) and isinstance(end, ws_harness.Peer):
        end.send(Close(event.code))
        assert await end.end() == FIN
    elif isinstance(event, Close):
        await end.send(Close(event.code))
        end.end()
    return event.code if isinstance(event, Close) else RST


# ---- the app's ---------------------------------------------------------------------------------------------------------


@OWN
@VERSIONS
@KINDS
@virtual
async def test_a_handler_that_the_app_has_cancelled_has_failed(
    handler: Callable[[Any], Awaitable[None]], version: str, kind: str, logged: list[str]
) -> None:
    """As any other failure: a line with its traceback, once, and a Close with 1011 or a reset."""
    async with serving(taking_over(handler, kind)) as server:
        async with taken_over(server, kind, version) as end:
            expected = 1011 if kind == "websocket" else RST if version == "1.1" else INTERNAL_ERROR
            assert (await end_of(end), now()) == (expected, 1)
        assert "Traceback" in logged[0] and "CancelledError" in logged[0]
        assert logged.pop() and not logged


@VERSIONS
@virtual
async def test_a_handler_that_has_caught_its_own_cancellation_has_not_failed(version: str) -> None:
    async def catches(ws: Any) -> None:
        try:
            cancel_this_task()
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await ws.send("caught")
        await asyncio.sleep(1)

    async with serving(taking_over(catches, "websocket")) as server, taken_over(server, "websocket", version) as end:
        assert (await end.event()).data == "caught"
        assert (await end_of(end), now()) == (1000, 1)


@VERSIONS
@virtual
async def test_a_drain_does_not_hide_that_the_app_has_cancelled_its_handler(version: str, logged: list[str]) -> None:
    """Only the drain's deadline is a cancellation of ours."""
    server = Serving(taking_over(cancels_itself, "raw"), {})
    async with taken_over(server, "raw", version):
        await server.server.close()
        assert "CancelledError" in logged.pop() and not logged


# ---- ours --------------------------------------------------------------------------------------------------------------


@VERSIONS
@KINDS
@virtual
async def test_an_abort_of_the_server_is_no_failure_of_a_handler(version: str, kind: str) -> None:
    handler = Waits()
    server = Serving(taking_over(handler, kind), {})
    async with taken_over(server, kind, version) as end:
        await asyncio.sleep(1)
        server.server.abort()
        assert (await end_of(end), now(), handler.ends) == (RST, 1, ["CancelledError"])
    await server.server.close()


@VERSIONS
@KINDS
@virtual
async def test_the_deadline_of_a_drain_is_no_failure_of_a_handler(version: str, kind: str) -> None:
    """The peer of a WebSocket has had its Close before, with 1001, and does not answer it here."""
    handler = Waits()
    server = Serving(taking_over(handler, kind), {"timeouts": Timeouts(drain=5)})
    async with taken_over(server, kind, version):
        await asyncio.sleep(1)
        await server.server.close()
        assert (now(), handler.ends) == (6, ["CancelledError"])


@VERSIONS
@virtual
async def test_a_handler_that_outlives_its_client_is_cancelled_without_a_word(version: str) -> None:
    """``Timeouts.drain`` after the loss of the client."""
    handler = Waits()
    async with serving(app_with(handler, timeouts=Timeouts(drain=5))) as server:
        async with taken_over(server, "websocket", version) as end:
            await asyncio.sleep(1)
            (end.peer if version == "2" else end).pipe.abort()
            await asyncio.sleep(10)
            assert handler.ends == ["CancelledError"]


@VERSIONS
@KINDS
@pytest.mark.parametrize("count", [1, 3])
def test_the_end_of_asyncio_run_is_no_failure_of_a_handler(version: str, kind: str, count: int) -> None:
    """It cancels all tasks, without a word to the server."""
    handlers = [Waits() for _ in range(count)]

    async def main() -> None:
        for handler in handlers:
            ours, theirs = network.pair()
            server = Server(taking_over(handler, kind))
            server.attach(theirs)
            if version == "1.1":
                ours.write(ws_harness.opening() if kind == "websocket" else get("/", *OFFER))
            else:
                peer = h2_harness.Peer(ours)
                await peer.until(lambda peer=peer: peer.core.peer_settings)
                _ = Socket(peer) if kind == "websocket" else peer.open("CONNECT", "a:80", host="a:80")
            await handler.has_begun.wait()

    asyncio.run(main())
    assert [handler.ends for handler in handlers] == [["CancelledError"]] * count


@pytest.mark.parametrize("count", [1, 3])
def test_the_end_of_asyncio_run_is_no_failure_of_a_request(count: int) -> None:
    handlers = [Waits() for _ in range(count)]

    async def main() -> None:
        for handler in handlers:
            ours, theirs = network.pair()
            Server(waiting_in(handler)).attach(theirs)
            ours.write(get("/"))
            await handler.has_begun.wait()

    asyncio.run(main())
    assert [handler.ends for handler in handlers] == [["CancelledError"]] * count


@virtual
async def test_an_abort_of_the_server_is_no_failure_of_a_request() -> None:
    handler = Waits()
    server = Serving(waiting_in(handler), {})
    client = server.client()
    client.send(get("/"))
    await handler.has_begun.wait()
    server.server.abort()
    assert (await client.end(), now(), handler.ends) == (RST, 0, ["CancelledError"])
    await server.server.close()


def waiting_in(handler: Waits) -> Any:
    """An app whose handler waits in each request."""

    async def app(_: Request) -> Answer:
        await handler(None)
        return Response()

    return app
