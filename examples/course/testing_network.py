"""A network in memory makes the worst choice each time, and a server has to give the same answer on each network."""

import asyncio
from itertools import repeat

from minproto import Request, Response, Server
from minproto.testing import clock
from minproto.testing.network import pair

REQUEST = b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\nConnection: close\r\n\r\n" + bytes(20)
NETWORKS = {
    "kind": {},
    "each read returns one byte": {"cuts": repeat(1)},
    "each piece takes 3 seconds": {"delays": repeat(3.0)},
    "one byte at a time in flight": {"capacity": 1, "delays": repeat(0.01)},
}


async def app(request: Request) -> Response:
    return Response.text(f"{len(await request.read())} bytes")


async def ask(network: dict[str, object]) -> str:
    ours, theirs = pair(**network)  # type: ignore[arg-type]
    async with Server(app, port=0) as server:
        server.attach(theirs)
        ours.write(REQUEST)
        answer = b""
        while data := await ours.read():
            answer += data
        seconds = asyncio.get_running_loop().time()
        await ours.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return f"{head.splitlines()[0].decode()}, {content.decode()}, after {seconds:g} s"


for name, network in NETWORKS.items():
    print(f"{name:29}: {clock.run(ask(network))}")
