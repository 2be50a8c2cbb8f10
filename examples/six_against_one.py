"""Six connections against one: a browser loads 24 tiles of a map, and the server needs 100 ms for each tile.

A browser opens six connections of HTTP/1.1 to a host. Each connection carries one request at a time, so the tiles come in four
rounds. One connection of HTTP/2 carries all 24 requests at once. The network and the clock are in memory, so the figures are
exact.

It prints:

    HTTP/1.1, 6 connections: 400 ms
       0 ####
       1 ####
       2 ####
       3 ####
       4 ####
       5 ####
       6     ####
       7     ####
       8     ####
       9     ####
      10     ####
      11     ####
      12         ####
      13         ####
      14         ####
      15         ####
      16         ####
      17         ####
      18             ####
      19             ####
      20             ####
      21             ####
      22             ####
      23             ####
    HTTP/2, 1 connection: 100 ms
       0 ####
       1 ####
       2 ####
       3 ####
       4 ####
       5 ####
       6 ####
       7 ####
       8 ####
       9 ####
      10 ####
      11 ####
      12 ####
      13 ####
      14 ####
      15 ####
      16 ####
      17 ####
      18 ####
      19 ####
      20 ####
      21 ####
      22 ####
      23 ####
"""

import asyncio

from minproto import ClientConnection, Request, Response, Server
from minproto.aio.http2_client import ClientConnection as Http2ClientConnection
from minproto.testing import clock, network

TILES = 24


async def app(request: Request) -> Response:
    await asyncio.sleep(0.1)
    return Response(b"tile")


async def fetch(client: ClientConnection | Http2ClientConnection, tiles: list[int], rows: dict[int, str]) -> None:
    """Fetch tile after tile, until none is left. Each becomes a row, with a # for every 25 ms."""
    now = asyncio.get_running_loop().time
    while tiles:
        tile, began = tiles.pop(0), now()
        await (await client.request("GET", f"/{tile}")).read()
        rows[tile] = " " * round(began / 0.025) + "#" * round((now() - began) / 0.025)


async def load(version: str, connections: int, at_once: int) -> None:
    server, rows, tiles = Server(app), dict[int, str](), list(range(TILES))
    clients: list[ClientConnection | Http2ClientConnection] = []
    for _ in range(connections):
        ours, theirs = network.pair()
        server.attach(theirs)
        clients.append(ClientConnection(ours, "a") if version == "1.1" else Http2ClientConnection(ours, "a", "http"))
    await asyncio.gather(*(fetch(client, tiles, rows) for client in clients for _ in range(at_once)))
    milliseconds = round(asyncio.get_running_loop().time() * 1000)
    print(f"HTTP/{version}, {connections} connection{'s' * (connections > 1)}: {milliseconds} ms")
    for tile in range(TILES):
        print(f"{tile:4} {rows[tile]}")
    for client in clients:
        await client.close()
    await server.close()


clock.run(load("1.1", connections=6, at_once=1))
clock.run(load("2", connections=1, at_once=TILES))
