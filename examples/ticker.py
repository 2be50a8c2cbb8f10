"""A ticker that only sends. Its handler never receives anything, and yet it notices that the client has gone.

Beside each handler runs a reader, a task of its own. The reader answers Pings and sees a Close while the handler sleeps. The
handler's next ``send`` then raises ConnectionClosed.

It prints:

    tick 0
    tick 1
    tick 2
    the round trip of a ping took under a second: True
    the ticker stopped: closed by the client with 4000, "enough"
"""

import asyncio
from itertools import count

from minproto import Answer, ConnectionClosed, Request, Server, WebSocket, connect, upgrade

stopped: asyncio.Future[str]


async def ticker(ws: WebSocket) -> None:
    try:
        for number in count():
            await ws.send(f"tick {number}")
            await asyncio.sleep(0.01)
    except ConnectionClosed as end:
        stopped.set_result(f'closed by the client with {end.code}, "{end.reason}"')


async def app(request: Request) -> Answer:
    return upgrade(request, ticker)


async def main() -> None:
    global stopped
    stopped = asyncio.get_running_loop().create_future()
    async with Server(app, port=0) as server:
        async with await connect(f"ws://127.0.0.1:{server.port}/") as ws:
            for _ in range(3):
                print(await ws.receive())
            print("the round trip of a ping took under a second:", await ws.ping() < 1)
            await ws.close(4000, "enough")
        print("the ticker stopped:", await stopped)


asyncio.run(main())
