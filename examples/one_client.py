"""A client with a pool: ten requests at once share six connections, and the others wait in line.

A browser does the same. Over HTTP/1.1 a connection carries one request at a time, so the seventh request to an origin waits
until a response has been read to its end. (Over TLS, a server that speaks HTTP/2 gets all ten at once, on one connection.) At
the end the server closes the idle connections, as every server does after a time. The client notices, and uses none of them.

It prints:

    6 connections are in use, and 4 requests wait
    first in line: GET /6
    10 answers came over 6 connections
    the server has closed them all, and the client opens another one: 200
"""

import asyncio

from minproto import Client, Request, Response, Server, Timeouts

connections = set()
door = asyncio.Event()


async def app(request: Request) -> Response:
    connections.add(request.pipe.info("peername"))
    await door.wait()
    return Response.text("hello")


async def get(client: Client, url: str) -> int:
    async with client.get(url) as response:
        await response.read()
        return response.status


async def main() -> None:
    async with Server(app, port=0, timeouts=Timeouts(idle=0.2)) as server, Client() as client:
        asking = [asyncio.create_task(get(client, f"{server.url}/{number}")) for number in range(10)]
        while len(connections) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        (origin,) = client.snapshot()
        print(f"{origin.busy} connections are in use, and {len(origin.waiting)} requests wait")
        print("first in line:", origin.waiting[0][0].replace(server.url, ""))
        door.set()
        answers = await asyncio.gather(*asking)
        print(f"{len(answers)} answers came over {len(connections)} connections")
        while client.snapshot():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        status = await get(client, server.url)
        print(f"the server has closed them all, and the client opens another one: {status}")


if __name__ == "__main__":
    asyncio.run(main())
