"""The lab on the in-memory network: its app behind lines, and a page that does what the test says."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from minproto import Broker, ClientConnection, Metrics, Server, WebSocket
from minproto.aio.pipe import Pipe
from minproto.core import CLIENT
from minproto.http import ResponseHead
from minproto.lab.app import DemoApp
from minproto.lab.line import Line
from minproto.lab.push import Push
from minproto.lab.site import LabApp, Places
from minproto.lab.wire import Wire
from minproto.testing import network
from minproto.websocket_handshake import check_response, handshake

HOST = "127.0.0.1:8000"
PLACES = Places(8000, 8443, 6380)
KEY = b64encode(bytes(16)).decode()


class Page:
    """What opens connections to the lab."""

    def __init__(self, server: Server, push: Push, wire: Wire, broker: Broker) -> None:
        self.server = server
        self.push = push
        self.wire = wire
        self.broker = broker

    def pipe(self, **options: Any) -> Pipe:
        """A new connection."""
        ours, theirs = network.pair(**options)
        self.server.attach(Line(theirs, self.wire.tap(theirs)))
        return ours

    def client(self, host: str = HOST, **options: Any) -> ClientConnection:
        return ClientConnection(self.pipe(**options), host)

    async def get(self, target: str, *fields: tuple[str, str], host: str = HOST) -> tuple[int, bytes]:
        """Status and content, on a connection of its own."""
        async with self.client(host) as client:
            response = await client.request("GET", target, fields)
            return response.status, await response.read()

    async def socket(self, target: str, *fields: tuple[str, str]) -> WebSocket:
        request = handshake(HOST, target, KEY)
        client = self.client()
        response = await client.request("GET", target, [*request.headers, *fields])
        agreement = check_response(request, ResponseHead(response.status, response.headers))
        client.endpoint.stop()
        assert response.pipe is not None
        return WebSocket(response.pipe, CLIENT, agreement)

    async def control(self) -> "Control":
        socket = await self.socket("/lab/push/control")
        return Control(socket, json.loads(await socket.receive()))


class Control:
    """A page's control, as the page sees it."""

    def __init__(self, socket: WebSocket, hello: dict[str, Any]) -> None:
        self.socket = socket
        self.hello = hello
        self.published: list[str] = []
        self._reading = asyncio.create_task(self._read())
        self.columns: dict[str, Any] = {}

    async def _read(self) -> None:
        async for message in self.socket:
            report = json.loads(message)
            self.published += report["published"]
            self.columns = report["columns"]

    def url(self, column: str, **query: str) -> str:
        return f"/lab/push/{column}?client={self.hello['client']}" + "".join(f"&{k}={v}" for k, v in query.items())

    async def order(self, **command: object) -> None:
        """Send a command, and wait for a report of what came of it."""
        await self.socket.send(json.dumps(command))
        await asyncio.sleep(0.3)

    async def close(self) -> None:
        await self.socket.close()
        await self._reading


async def _no_visit(name: str) -> None:
    """There are no ports to visit."""
    if name == "redis":
        raise ConnectionRefusedError("nobody is there")


@asynccontextmanager
async def lab() -> AsyncIterator[Page]:
    broker = Broker(history=1_000)
    push = Push(broker)
    wire = Wire(_no_visit, asyncio.get_running_loop().time)
    metrics = Metrics()
    demo = DemoApp(metrics, broker)
    server = Server(LabApp(lambda: PLACES, push, wire, demo), metrics=metrics)
    try:
        yield Page(server, push, wire, broker)
    finally:
        push.close()
        demo.close()
        await server.close()
    assert (metrics.in_flight, metrics.connections) == (0, 0)
    assert not push._clients
