"""A WebSocket server that sends each message back, and a client. Text messages are ``str``, binary messages are ``bytes``.

It prints:

    'hello'
    b'\\x00\\x01'
    'in three fragments'
    closed with 1000
"""

import asyncio
from collections.abc import AsyncIterator

from minproto import Answer, Request, Server, WebSocket, connect, upgrade


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def app(request: Request) -> Answer:
    return upgrade(request, echo)


async def fragments() -> AsyncIterator[str]:
    for piece in ("in ", "three ", "fragments"):
        yield piece


async def main() -> None:
    async with Server(app, port=0) as server:
        async with await connect(f"ws://127.0.0.1:{server.port}/") as ws:
            for message in ("hello", b"\x00\x01", fragments()):
                await ws.send(message)
                print(repr(await ws.receive()))
        print("closed with", ws.close_code)


asyncio.run(main())
