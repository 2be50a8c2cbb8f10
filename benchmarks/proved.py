"""The apps that other servers serve for ``benchmarks.prove``: `python -m benchmarks.proved NAME PORT`.

Each answers what the cases of ``minproto prove`` need: GET /, POST /echo, GET /bytes/200000, a WebSocket at /ws that sends
each message back, and an event stream at /events. All settings are the defaults of each server.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from benchmarks.common import HOST

BLOCK = bytes(range(256)) * 256
EVENT = b"id: 1\ndata: hello\n\n"


async def app(scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """The ASGI app for uvicorn, hypercorn and granian."""
    if scope["type"] == "websocket":
        return await echo_messages(receive, send)
    if scope["type"] != "http":  # a lifespan, which it does without
        return
    match scope["method"], scope["path"]:
        case "POST", "/echo":
            with suppress(ConnectionError):
                await respond(send, 200, b"".join([part async for part in content(receive)]))
        case "GET" | "HEAD", path if path.startswith("/bytes/"):
            await respond(send, 200, BLOCK * 4)
        case "GET", "/events":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        case "GET" | "HEAD", "/":
            await respond(send, 200, b"hello")
        case _:
            await respond(send, 404, b"not found")


async def content(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the request is incomplete")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def respond(send: Callable[[dict[str, Any]], Awaitable[None]], status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def echo_messages(receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        given = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", given: message[given]})


def uvicorn(parser: str, port: int) -> None:
    from uvicorn import run

    run(app, host=HOST, port=port, http=parser, lifespan="off", access_log=False, log_level="critical")


def hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.loglevel = [f"{HOST}:{port}"], "CRITICAL"
    asyncio.run(serve(app, config))  # type: ignore[arg-type]


def granian(port: int) -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    Granian(
        "benchmarks.proved:app", HOST, port, interface=Interfaces.ASGINL, http=HTTPModes.auto, log_enabled=False,
    ).serve()  # fmt: skip


def aiohttp(port: int) -> None:
    from aiohttp import WSMsgType, web

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=BLOCK * 4)

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(EVENT)
        await asyncio.sleep(3_600)
        return response

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await (ws.send_str(message.data) if message.type is WSMsgType.TEXT else ws.send_bytes(message.data))
        return ws

    routes = [web.get("/", hello), web.post("/echo", echo), web.get("/bytes/200000", large)]
    served = web.Application(client_max_size=1 << 30)
    served.add_routes([*routes, web.get("/events", events), web.get("/ws", socket)])
    web.run_app(served, host=HOST, port=port, print=None, access_log=None)


def websockets(port: int) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with serve(echo, HOST, port):
            await asyncio.get_running_loop().create_future()

    asyncio.run(main())


if __name__ == "__main__":
    name, port = sys.argv[1], int(sys.argv[2])
    parser = name.partition("-")[2]
    globals()[name.partition("-")[0]](*[parser] if parser else [], port)
