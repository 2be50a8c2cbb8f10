"""A drain with a deadline, for five clients: idle, in the middle of a head, nearly done, too slow, and too late."""

import asyncio

from minproto import Request, Response, Server, Timeouts
from minproto.testing import clock
from minproto.testing.network import pair


async def app(request: Request) -> Response:
    seconds = float(request.path[1:])
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print(f"{now():4g} s  the handler of {request.path} is cancelled, and cleans up")
        raise
    return Response.text(f"slept {seconds:g} s\n")


def now() -> float:
    return asyncio.get_running_loop().time()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def client(name: str, server: Server, request: bytes) -> None:
    """Send a request, and print what comes until the server ends the connection."""
    ours, theirs = pair()
    server.attach(theirs)
    try:
        ours.write(request)
        while answer := await ours.read():
            head = answer.decode().lower()
            last = ", connection: close" if "connection: close" in head else ""
            print(f"{now():4g} s  {name}: {head.splitlines()[0]}{last}")
        print(f"{now():4g} s  {name}: the server has ended the connection")
        await ours.close()
    except ConnectionResetError:
        print(f"{now():4g} s  {name}: reset")


async def main() -> None:
    server = Server(app, port=0, timeouts=Timeouts(drain=30))
    await server.__aenter__()  # what `async with` calls. The program calls close() itself, to show what happens meanwhile
    requests = {"idle": get("/0"), "half sent": get("/0")[:20], "nearly done": get("/3"), "too long": get("/1000")}
    clients = [asyncio.create_task(client(name, server, request)) for name, request in requests.items()]
    await asyncio.sleep(1)
    print(f"{now():4g} s  -- the server begins to stop --")
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0)
    await asyncio.gather(client("too late", server, get("/0")), closing, *clients)
    print(f"{now():4g} s  -- the server has stopped --")


clock.run(main())
