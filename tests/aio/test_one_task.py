"""One task runs an app's iterator from its first step to its ``finally``: content of both HTTP versions, uploads of both
clients, and the fragments of a message. EventStream's iterators are in test_sse_server.py."""

import asyncio
from contextvars import ContextVar

import pytest
from harness import now, serving, virtual
from ws_harness import talking

from minproto import ClientConnection, Response
from minproto.aio import http2

PLACE = ContextVar("place", default="")


def client_on(pipe, version):
    return ClientConnection(pipe, "a") if version == "1.1" else http2.ClientConnection(pipe, "a", "http")


async def response(iterator, version):
    """What comes of it as the content of a response."""

    async def app(request):
        PLACE.set("handler")
        return Response(iterator)

    async with serving(app) as server, client_on(server.attach(), version) as client:
        return await (await client.request("GET", "/")).read()


async def upload(iterator, version):
    """What comes of it as the content of a request."""

    async def app(request):
        return Response(await request.read())

    async with serving(app) as server, client_on(server.attach(), version) as client:
        PLACE.set("handler")
        return await (await client.request("POST", "/", body=iterator)).read()


async def message(iterator, version):
    """What comes of it as the fragments of a message."""

    async def handler(ws):
        PLACE.set("handler")
        await ws.send(iterator)

    async with talking(handler) as (_, peer):
        data = await peer.data()
        await peer.close()
        return data


WAYS = pytest.mark.parametrize(
    ("way", "version"),
    [(response, "1.1"), (response, "2"), (upload, "1.1"), (upload, "2"), (message, "1.1")],
    ids=["response of HTTP/1.1", "response of HTTP/2", "upload of HTTP/1.1", "upload of HTTP/2", "message of a WebSocket"],
)


@WAYS
@virtual
async def test_one_task_and_one_context_run_an_iterator(way, version):
    """What the iterator sets before its first ``yield``, it finds after the later ones; and it finds what its user has set."""
    tasks, places = [], []

    def look():
        tasks.append(asyncio.current_task())
        places.append(PLACE.get())

    async def iterator():
        try:
            look()
            PLACE.set("iterator")
            for piece in (b"a", b"b", b"c"):
                yield piece
                look()
                await asyncio.sleep(1)
        finally:
            look()

    assert await way(iterator(), version) == b"abc"
    assert places == ["handler", *["iterator"] * 4]
    assert len(tasks) == 5 and len(set(tasks)) == 1


@WAYS
@virtual
async def test_a_timeout_may_span_a_yield(way, version):
    times = []

    async def iterator():
        yield b"first "
        try:
            async with asyncio.timeout(5):
                while True:
                    yield b"a"
                    await asyncio.sleep(2)
        except TimeoutError:
            times.append(now())
            yield b"timeout"

    assert await way(iterator(), version) == b"first aaatimeout"
    assert times == [5]
