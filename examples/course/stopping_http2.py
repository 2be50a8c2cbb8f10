"""HTTP/2 stops with two GOAWAY frames: no request is lost, not even one that was on its way when the server began to stop."""

import asyncio

from minproto import Request, Response, Server
from minproto.core import Role
from minproto.http import Data, Headers, RequestHead
from minproto.http2 import Connection, GoAway, Ping
from minproto.testing import clock
from minproto.testing.network import pair


async def app(request: Request) -> Response:
    await asyncio.sleep(5 if request.path == "/slow" else 0)
    return Response.text(request.path)


def get(path: str, stream: int) -> RequestHead:
    return RequestHead("GET", path, Headers([("host", "a")]), "2", stream)


async def main() -> None:
    ours, theirs = pair(delays=[0.5] * 100)  # half a second from end to end
    server, core = Server(app, port=0), Connection(Role.CLIENT, scheme="http")
    await server.__aenter__()  # what `async with` calls
    server.attach(theirs)
    ours.write(core.send(core.greeting()) + core.send(get("/slow", 1)))
    await asyncio.sleep(2)
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0.2)  # the client does not know yet
    ours.write(core.send(get("/on-its-way", 3)))
    while data := await ours.read():
        core.receive_data(data)
        for event in core.events():
            if isinstance(event, GoAway | Ping | Data):
                print(f"{asyncio.get_running_loop().time():3g} s", event)
            if (reply := core.reply(event)) is not None:
                ours.write(core.send(reply))
    await ours.close()
    await closing


clock.run(main())
