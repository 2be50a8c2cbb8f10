"""Two web servers that share a redis-server: how an app grows past one machine.

Each server has a broker of its own. The browsers of a server resume from this broker's log and ids. A server publishes each
message to Redis first, and relays all messages that Redis sends into its own broker. So the clients of both servers get all
messages, in the same order. Without a redis-server on this machine, minproto's own broker takes its place, and a line on
standard error says so.

It prints:

    published at server 1, heard by 2 servers
    a client of server 1 got: hello
    a client of server 2 got: hello
"""

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from minproto import Answer, Broker, BrokerServer, EventSource, EventStream, Gap, RemoteBroker, Request, Response, Server
from minproto.aio.http1_client import connect_http


class App:
    def __init__(self, url: str) -> None:
        self.remote, self.local = RemoteBroker(url), Broker(history=100)

    async def __call__(self, request: Request) -> Answer:
        if request.method == "POST":
            return Response.text(str(await self.remote.publish("updates", await request.read())))
        return EventStream(self.local.subscribe("updates", after=request.last_event_id))

    async def relay(self, ready: asyncio.Event) -> None:
        async with self.remote, self.remote.subscribe("updates") as subscription:
            ready.set()
            async for item in subscription:
                self.local.publish("updates", b"(something was missed)" if isinstance(item, Gap) else item.data)


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """Yield the URL of a redis-server, or of our own broker where there is none."""
    if shutil.which("redis-server") is None:
        print("no redis-server here: minproto's broker takes its place", file=sys.stderr)
        async with BrokerServer(Broker(), port=0) as server:
            yield server.url
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = ["--port", port, "--bind", "127.0.0.1", "--save", ""]
    process = await asyncio.create_subprocess_exec("redis-server", *words, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def main() -> None:
    async with redis() as url, Server(one := App(url), port=0) as first, Server(two := App(url), port=0) as second:
        ready = [asyncio.Event(), asyncio.Event()]  # a relay tries again until Redis is up
        relays = [asyncio.create_task(app.relay(event)) for app, event in zip((one, two), ready, strict=True)]
        await asyncio.gather(*(event.wait() for event in ready))
        starts = [app.local.last_id("updates") for app in (one, two)]
        async with connect_http("127.0.0.1", first.port) as client:
            response = await client.request("POST", "/publish", body=b"hello")
            print("published at server 1, heard by", (await response.read()).decode(), "servers")
        for number, server in enumerate((first, second)):
            async for event in EventSource(f"{server.url}/events", last_event_id=starts[number]):
                print(f"a client of server {number + 1} got:", event.data)
                break
        for relay in relays:
            relay.cancel()


asyncio.run(main())
