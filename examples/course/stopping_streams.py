"""Streams without an end: a WebSocket is closed with 1001, and an event stream ends with the time after which to come back."""

import asyncio
from collections.abc import AsyncIterator

from minproto import EventStream, Request, Response, Server, Upgrade, WebSocket, connect, connect_http, upgrade

handler_saw = []


async def chat(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
    handler_saw.append(ws.close_code)  # the client's Close has answered the server's


async def ticks() -> AsyncIterator[str]:
    yield "tick"
    await asyncio.sleep(3600)
    yield "tick"


async def app(request: Request) -> Response | Upgrade:
    return upgrade(request, chat) if request.path == "/ws" else EventStream(ticks())


async def main() -> None:
    async with Server(app, port=0) as server:
        ws = await connect(f"ws://127.0.0.1:{server.port}/ws")
        client = await connect_http("127.0.0.1", server.port)
        response = await client.request("GET", "/events")
        first = await anext(aiter(response))
        closing = asyncio.create_task(server.close())
        print("event stream:", first + await response.read())
        print("WebSocket:    messages", [message async for message in ws], "and then code", ws.close_code)
        await client.close()
        await closing
        print("its handler:  the loop over messages has ended with code", *handler_saw)


asyncio.run(main())
