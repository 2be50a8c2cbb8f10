"""The servers that minproto is compared with, each on the standard event loop: `python -m benchmarks.peers NAME PORT`.

All answer GET /hello with the same 13 bytes of text/plain, write no access log and do nothing else. `bare` is not a real
server: its asyncio streams answer each chunk without parsing it. It shows how fast HTTP would be if parsing took no time, and
is the ceiling for any server on asyncio's streams.

`hypercorn` and `granian` also speak HTTP/2 on the same port. granian's server is written in Rust.

The peers whose names begin with `ws-` serve WebSocket, and `ws-minproto` is one of them. /echo sends each message back, and
/broadcast sends it to all connections, without compression. All other settings are the defaults of each library.

Each library is imported by the function that runs it, since any of them may be absent.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from benchmarks.common import HOST

BODY = b"Hello, World!"
BLOCK = bytes(range(256)) * 256
BROADCAST = "/broadcast"


def uvicorn(parser: str, port: int) -> None:
    from uvicorn import run

    # Its 5 s of keep-alive would end idle connections while benchmarks.memory is still opening the last of them.
    run(
        hello, host=HOST, port=port, http=parser, loop="asyncio", lifespan="off",
        access_log=False, log_level="warning", timeout_keep_alive=60,
    )  # fmt: skip


async def hello(scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    if scope["type"] != "http":  # the lifespan protocol, which this app does not support
        return
    if scope["path"].startswith("/bytes/"):
        return await blocks(int(scope["path"].removeprefix("/bytes/")), send)
    found = scope["path"] == "/hello"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def blocks(count: int, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Yield this many bytes, in pieces of 64 KiB, as minproto's demo app does."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % count)]})
    for left in range(count, 0, -len(BLOCK)):
        await send({"type": "http.response.body", "body": BLOCK[:left], "more_body": left > len(BLOCK)})


def aiohttp(port: int) -> None:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=BODY.decode())

    app = web.Application()
    app.router.add_get("/hello", hello)
    web.run_app(app, host=HOST, port=port, access_log=None, print=None)


async def bare(port: int) -> None:
    head = (
        "HTTP/1.1 200 OK\r\n"
        f"date: {formatdate(usegmt=True)}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    )
    answer = head.encode() + BODY

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass  # the load generator hangs up in the middle of an exchange when its time is over
        writer.close()

    server = await asyncio.start_server(serve, HOST, port)
    await server.serve_forever()


def hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.errorlog = [f"{HOST}:{port}"], None
    asyncio.run(serve(hello, config))  # type: ignore[arg-type]


def granian(port: int) -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    Granian(
        "benchmarks.peers:hello", address=HOST, port=port, interface=Interfaces.ASGI, http=HTTPModes.auto,
        workers=1, log_enabled=False, log_access=False, websockets=False,
    ).serve()  # fmt: skip


# ---- WebSocket -------------------------------------------------------------------------------------------------------


async def ws_minproto(port: int) -> None:
    from minproto import Answer, Request, WebSocket, broadcast, serve, upgrade

    everybody: set[WebSocket] = set()

    async def app(request: Request) -> Answer:
        return upgrade(request, tell_all if request.path == BROADCAST else echo, compression=None)

    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def tell_all(ws: WebSocket) -> None:
        everybody.add(ws)
        async for message in ws:
            broadcast(everybody, message)
        everybody.remove(ws)

    await serve(app, host=HOST, port=port)


async def ws_websockets(port: int) -> None:
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    everybody: set[ServerConnection] = set()

    async def handle(ws: ServerConnection) -> None:
        assert ws.request is not None
        await (tell_all if ws.request.path == BROADCAST else echo)(ws)

    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async def tell_all(ws: ServerConnection) -> None:
        everybody.add(ws)
        async for message in ws:
            broadcast(everybody, message)
        everybody.remove(ws)

    async with serve(handle, HOST, port, compression=None) as server:
        await server.serve_forever()


async def ws_picows(port: int) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_memoryview())

    def accept(request: WSUpgradeRequest) -> WSListener:
        return Echo()

    server = await ws_create_server(accept, HOST, port)
    await server.serve_forever()


async def ws_picows_messages(port: int) -> None:
    from picows.websockets.asyncio.server import ServerConnection, serve

    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async with serve(echo, HOST, port, compression=None) as server:
        await server.serve_forever()


def ws_aiohttp(port: int) -> None:
    from aiohttp import WSMsgType, web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/echo", echo)
    web.run_app(app, host=HOST, port=port, access_log=None, print=None)


def main(name: str, port: int) -> None:
    match name:
        case "uvicorn-httptools":
            uvicorn("httptools", port)
        case "uvicorn-h11":
            uvicorn("h11", port)
        case "aiohttp":
            aiohttp(port)
        case "bare":
            asyncio.run(bare(port))
        case "hypercorn":
            hypercorn(port)
        case "granian":
            granian(port)
        case "ws-minproto":
            asyncio.run(ws_minproto(port))
        case "ws-websockets":
            asyncio.run(ws_websockets(port))
        case "ws-picows":
            asyncio.run(ws_picows(port))
        case "ws-picows-messages":
            asyncio.run(ws_picows_messages(port))
        case "ws-aiohttp":
            ws_aiohttp(port)
        case _:
            sys.exit(f"no such peer: {name}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
