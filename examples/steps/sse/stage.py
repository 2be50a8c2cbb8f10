"""The stage of the attackers: the network in memory of HTTP/1.1's attackers, and on it a browser's EventSource.

    async def attack(server):
        browser = Browser(server)
        await browser.connect()
        await post(server, "hello")
        return browser.shown()

    print(run("step1_print", attack))                                   # prints: 'hello'
"""

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

from minproto.core import CLIENT
from minproto.sse import Connection, ServerSentEvent

_spec = importlib.util.spec_from_file_location("network", Path(__file__).parents[1] / "http1" / "network.py")
assert _spec is not None and _spec.loader is not None
network = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(network)
run, Client, Server = network.run, network.Client, network.Server


class Browser:
    """An EventSource. It reads as the standard says, and names the last id that it has seen when it connects again."""

    def __init__(self, server: Any, last_id: str = "") -> None:
        self.last_id = last_id
        self._server = server
        self._events: list[ServerSentEvent] = []  # of the connections before this one

    async def connect(self) -> None:
        """Ask for the stream."""
        self.client = self._server.connect()
        field = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        await self.client.send(f"GET /events HTTP/1.1\r\nHost: a\r\n{field}\r\n".encode())

    def lose(self) -> None:
        """Lose the connection."""
        self._events, self.last_id = self.read()
        self.client.abort()
        self.client.received = b""

    def shown(self) -> str:
        """Return the events: the data, and before it the type if the event has one. The middle of a long list is left out."""
        events, _ = self.read()
        texts = [repr(event.data) if event.event == "message" else f"{event.event} {event.data!r}" for event in events]
        return ", ".join(texts if len(texts) < 8 else [*texts[:3], "...", texts[-1]]) or "nothing"

    def read(self) -> tuple[list[ServerSentEvent], str]:
        """Return all events so far, and the last id."""
        core = Connection(CLIENT, last_event_id=self.last_id)
        core.receive_data(self.client.received.partition(b"\r\n\r\n")[2])
        new = [event for event in core.events() if isinstance(event, ServerSentEvent)]
        return self._events + new, core.last_event_id


async def post(server: Any, *texts: str) -> None:
    """Publish texts, as curl does."""
    for text in texts:
        client = server.connect()
        content = text.encode()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))


async def follow(server: Any, seconds: float, *answers: bytes) -> list[float]:
    """Run the step as a relay for some time. Its first attempts get the answers, all later ones are refused. Return the times
    of its attempts."""
    loop, left, times = asyncio.get_running_loop(), [*answers], []

    async def connect(make_protocol: Any, *_: Any, **__: Any) -> tuple[Client, asyncio.Protocol]:
        times.append(loop.time())
        if not left:
            raise ConnectionRefusedError
        protocol = make_protocol()
        client = Client(protocol)
        server.clients.append(client)
        client._coming = left.pop(0)
        loop.call_soon(client._deliver)
        return client, protocol

    loop.create_connection = connect
    relay = asyncio.ensure_future(server.step.follow("http://a/events"))
    await asyncio.wait([relay], timeout=seconds)
    relay.cancel()
    return times
