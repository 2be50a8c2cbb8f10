"""Giving the connection away: 101 (Switching Protocols), and 200 to CONNECT."""

import asyncio

import pytest
from harness import HELLO, RST, get, now, post, serving, virtual

from minproto import Response, Upgrade

OFFER = ["Connection: upgrade", "Upgrade: echo"]


async def upgrading(request):
    async def shout(pipe):
        while data := await pipe.read():
            pipe.write(data.upper())
            await pipe.drain()
        pipe.write(b"bye")

    if request.head.method == "CONNECT":
        return Upgrade(shout, status=200)
    return Upgrade(shout, [("Connection", "upgrade"), ("Upgrade", "echo")])


@pytest.mark.parametrize(
    ("head", "status"), [(get("/", *OFFER), 101), (get("a:80", method="CONNECT"), 200), (post("/", b"x", *OFFER), 101)]
)
@virtual
async def test_an_upgrade_hands_over_the_pipe_and_the_bytes_that_came_too_early(head, status):
    """RFC 9110 §7.8 and §9.3.6: what follows the request belongs to the next protocol, also if it looks like HTTP."""
    async with serving(upgrading) as server:
        client = server.client()
        client.send(HELLO + head + b"get / http/1.1\r\n\r\n")
        assert (await client.answer()).body == b"Hello, World!"
        answer = await client.answer(head.split()[0].decode())
        assert answer.status == status and answer.headers.get_all("upgrade") == ["echo"] * (status == 101)
        client.send(b"more")
        client.pipe.close_write()
        assert b"".join(await client.reads()) == b"GET / HTTP/1.1\r\n\r\nMOREbye"


@virtual
async def test_100_comes_before_101():
    """RFC 9110 §7.8: with both Upgrade and Expect, MUST send 100 before 101, for the content has to come first."""
    async with serving(upgrading) as server:
        client = server.client()
        client.send(get("/", "Content-Length: 5", "Expect: 100-continue", *OFFER, method="POST"))
        assert await client.pipe.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello, echo")
        assert (await client.answer()).status == 101
        client.pipe.close_write()
        assert b"".join(await client.reads()) == b", ECHObye"


@pytest.mark.parametrize("request_", [get(), get("/", "Upgrade: echo"), get("/", *OFFER, version="1.0")])
@virtual
async def test_an_upgrade_that_was_not_offered_becomes_500(logged, request_):
    """RFC 9110 §7.8: MUST NOT switch to a protocol that the client did not ask for, and 1.0 can't. RFC 9112 §9.6: the
    response says that the server closes."""
    async with serving(upgrading) as server:
        answer = await server.client().ask(request_)
        assert (answer.status, answer.headers.get("connection")) == (500, "close")
        logged.clear()


@pytest.mark.parametrize("closing", ["Connection: close", "X: y"])
@pytest.mark.parametrize("fields", [[("Upgrade", "echo")], [("Upgrade", "echo"), ("Connection", "UPGRADE")]])
@virtual
async def test_a_response_that_names_upgrade_lists_it(fields, closing):
    """RFC 9110 §7.8: a sender of Upgrade MUST send the connection option "upgrade", also if it only tells what it could do."""

    async def app(request):
        return Response(b"", 426, fields)

    async with serving(app) as server:
        answer = await server.client().ask(get("/", closing))
        said = ", ".join(answer.headers.get_all("connection")).lower().split(", ")
        assert (answer.status, sorted(said)) == (426, ["close"] * ("close" in closing) + ["upgrade"])


@virtual
async def test_an_upgrade_with_content_reads_it_first_although_the_client_wants_to_close_later():
    """RFC 9110 §7.8: what is left behind is HTTP, with all that it said of its own connection."""

    async def app(request):
        async def handler(pipe):
            pipe.write(await pipe.read())

        return Upgrade(handler, [("upgrade", "any"), ("connection", "upgrade")])

    async with serving(app) as server:
        client = server.client()
        client.send(post("/", b"abc", "Upgrade: any", "Connection: upgrade, close") + b"tunnel")
        assert (await client.answer()).status == 101
        assert (await client.reads(), now()) == ([b"tunnel"], 0)


@virtual
async def test_who_still_reads_the_request_gets_nothing_of_the_tunnel():
    """Those bytes are the other protocol's."""
    failures = []

    async def app(request):
        async def read_on(wait):
            await asyncio.sleep(wait)
            try:
                failures.append(await request.read())
            except ConnectionError as error:
                failures.append(str(error))

        async def handler(pipe):
            await asyncio.sleep(3)
            pipe.write(await pipe.read())

        tasks.extend(asyncio.create_task(read_on(wait)) for wait in (0, 2))
        await asyncio.sleep(1)
        return Upgrade(handler, [("upgrade", "any"), ("connection", "upgrade")])

    tasks = []
    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Content-Length: 3", "Upgrade: any", "Connection: upgrade", method="POST"))
        await asyncio.sleep(1.5)
        client.send(b"abctunnel")
        assert (await client.answer()).status == 101
        assert await client.reads() == [b"tunnel"] and failures == ["the exchange is over"] * 2


@virtual
async def test_an_upgraded_connection_whose_handler_awaits_a_cancelled_task_is_in_the_log(logged):
    """That cancellation is not ours."""

    async def app(request):
        async def handler(pipe):
            await asyncio.sleep(1)
            raise asyncio.CancelledError("of the app")

        return Upgrade(handler, [("upgrade", "any"), ("connection", "upgrade")])

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Upgrade: any", "Connection: upgrade"))
        assert (await client.answer()).status == 101
        assert await client.end() == RST and "of the app" in logged.pop()


@virtual
async def test_an_upgraded_connection_that_fails_is_reset(logged):
    """Nothing else that all protocols understand says that this was not the regular end."""

    async def app(request):
        async def fail(pipe):
            raise ValueError("after the upgrade")

        return Upgrade(fail, [("Connection", "upgrade"), ("Upgrade", "echo")])

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", *OFFER))
        assert await client.end() == RST
        assert "ValueError: after the upgrade" in logged.pop()
