"""A client that connects again when its connection ends. The pause before each attempt is random, and grows after failures.

The random part keeps a thousand clients that lost the same server from coming back at the same moment.

It prints:

    connection 1: one message, then closed with 1001
    connection 2: one message, then closed with 1001
    connection 3: one message, then closed with 1001
"""

import asyncio
from itertools import count

from minproto import Answer, Request, Server, WebSocket, connect, reconnecting, upgrade

numbers = count(1)


async def restless(ws: WebSocket) -> None:
    await ws.send(f"connection {next(numbers)}")
    await ws.close(1001)


async def app(request: Request) -> Answer:
    return upgrade(request, restless)


async def main() -> None:
    async with Server(app, port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async for ws in reconnecting(lambda: connect(url), first=0.1):
            messages = [message async for message in ws]
            print(f"{messages[0]}: one message, then closed with {ws.close_code}")
            if messages == ["connection 3"]:
                break


asyncio.run(main())
