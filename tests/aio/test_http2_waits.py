"""Timeouts of 0 in HTTP/2: what has arrived counts, and nothing is waited for. And requests that can never be taken."""

import asyncio
from typing import Any

import pytest
from h2_harness import StreamReset, talking
from harness import now, pieces, serving, virtual
from test_http2_client import Playing, against, client_of
from test_http2_websocket import session

from minproto import Answer, LocalProtocolError, Request, RequestRefused, Response, Timeouts
from minproto.aio.http2_client import ClientConnection
from minproto.http2 import GoAway
from minproto.http2_frames import ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR
from minproto.testing import network
from minproto.websocket import Close, Message


async def app(request: Request) -> Answer:
    match request.path:
        case "/count":
            return Response(b"%d" % len(await request.read()))
        case "/stream":
            return Response(pieces(3, pause=1))
        case "/large":
            return Response(bytes(3_000_000))
    return Response(b"whole")


# ---- timeouts of 0 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "status"), [(b"here", 200), (bytes(300_000), 408), (None, 408)])
@virtual
async def test_without_time_for_a_body_what_came_with_its_head_counts(body: bytes | None, status: int) -> None:
    """Ten bytes are there; of more than a window, or of what is made piece by piece, the next piece is not."""
    async with serving(app, timeouts=Timeouts(body=0)) as server, client_of(server) as client:
        response = await client.request("POST", "/count", body=pieces(3, pause=1) if body is None else body)
        assert (response.status, now()) == (status, 0)


@virtual
async def test_without_time_for_a_body_our_client_takes_what_has_come() -> None:
    async with serving(app) as server, client_of(server, timeouts=Timeouts(body=0)) as client:
        assert await (await client.request("GET", "/")).read() == b"whole"
        with pytest.raises(TimeoutError, match="more of the response within 0 s"):
            await (await client.request("GET", "/stream")).read()
        assert now() == 0


@virtual
async def test_without_time_to_write_an_answer_that_a_window_holds_up_is_given_up() -> None:
    """What a window lets through needs no wait, however long it is made."""
    async with talking(app, timeouts=Timeouts(write=0)) as (_, peer):
        assert (await peer.get("/")).body == b"whole"
        assert (await peer.get("/stream")).body == b"piece" * 3
        began = now()
        with pytest.raises(StreamReset) as reset:
            await peer.get("/large")
        assert (reset.value.code, now() - began) == (ENHANCE_YOUR_CALM, 0)


@virtual
async def test_without_time_to_write_an_upload_that_a_window_holds_up_is_given_up() -> None:
    async with serving(app) as server, client_of(server, timeouts=Timeouts(write=0)) as client:
        assert await (await client.request("POST", "/count", body=bytes(10))).read() == b"10"
        with pytest.raises(ConnectionResetError, match="does not read"):
            await client.request("POST", "/count", body=bytes(300_000))
        assert now() == 0


@virtual
async def test_without_time_to_close_a_websocket_on_a_stream_waits_for_no_close() -> None:
    async def handler(ws: Any) -> None:
        await ws.send("bye")

    async with session(handler, upgrade={"timeouts": Timeouts(close=0)}) as (_, socket):
        assert await socket.event() == Message("bye")
        assert isinstance(await socket.event(), Close)
        await socket.peer.until(lambda: socket.answer.ended or socket.answer.reset is not None)
        assert now() == 0


@pytest.mark.parametrize(("ping", "pong", "ends"), [(0, 20, 20), (5, 0, 5), (0, 0, 0)])
@virtual
async def test_without_time_for_a_ping_or_pong_a_silent_websocket_on_a_stream_ends(ping: int, pong: int, ends: int) -> None:
    codes = []

    async def handler(ws: Any) -> None:
        async for _ in ws:
            """Nothing comes."""
        codes.append((ws.close_code, now()))

    async with session(handler, upgrade={"timeouts": Timeouts(ping=ping, pong=pong, close=0)}) as (_, socket):
        await socket.peer.until(lambda: codes)
        assert codes == [(1011, ends)]


# ---- a handler that cancels its own task -------------------------------------------------------------------------------


@virtual
async def test_a_handler_that_cancels_its_own_task_is_a_failure_in_the_log(logged: list[str]) -> None:
    """Only where we have cancelled it, an ending by CancelledError is nothing to tell of."""

    def give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def content() -> Any:
        yield b"begun"
        give_up()
        await asyncio.sleep(0)

    async def wrong(request: Request) -> Answer:
        if request.path == "/before":
            give_up()
            await asyncio.sleep(0)
        return Response(content())

    async with talking(wrong) as (_, peer):
        assert (await peer.get("/before")).status == 500
        assert "GET /before failed" in logged.pop() and not logged
        with pytest.raises(StreamReset) as reset:
            await peer.get("/within")
        assert reset.value.code == INTERNAL_ERROR
        assert "GET /within: the response broke off" in logged.pop() and not logged


# ---- requests that can never be taken ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [70, 200])
@virtual
async def test_fields_beyond_what_the_server_takes_are_not_sent(count: int) -> None:
    """A server of ours takes 64 KiB, and ends the connection at 128 KiB: the error names both, and the connection lives."""
    fields = [(f"x-{number}", "x" * 1_000) for number in range(count)]
    async with serving(app) as server, client_of(server) as client:
        for _ in range(2):  # before and after the server's settings have come
            with pytest.raises(LocalProtocolError, match="65536"):
                await client.request("GET", "/", fields)
        assert (await client.request("GET", "/", fields[:50])).status == 200


@pytest.mark.parametrize(("code", "error"), [(ENHANCE_YOUR_CALM, ConnectionResetError), (NO_ERROR, RequestRefused)])
@virtual
async def test_the_first_request_of_a_connection_that_a_fault_ends_is_not_refused(code: int, error: type[Exception]) -> None:
    """Who is refused asks again on another connection, where the same request would have the same end, for ever."""

    async def play(server: Playing) -> None:
        await server.requests(2)
        server.send(GoAway(0, code, b"a field block too large"))
        await server.until(lambda: False)

    async with against(play) as client:
        first, second = (asyncio.create_task(client.request("GET", "/")) for _ in range(2))
        await asyncio.wait([first, second])
        assert (type(first.exception()), type(second.exception())) == (error, RequestRefused)
        assert "a field block too large" in str(first.exception())


@virtual
async def test_a_large_head_waits_for_settings_and_hears_of_the_end() -> None:
    ours, theirs = network.pair()
    async with ClientConnection(ours, "a", "http") as client:
        asyncio.get_running_loop().call_later(1, theirs.abort)
        with pytest.raises(RequestRefused, match="the connection is over"):
            await client.request("GET", "/", [("x", "x" * 10_000)])
        assert now() == 1
