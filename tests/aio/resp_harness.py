"""A broker's server on the network in memory, and Redis clients that see every value and every byte."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from harness import FIN, RST

from minproto import Broker, Metrics
from minproto.aio.pipe import Pipe
from minproto.aio.resp import BrokerServer
from minproto.core import CLIENT, Wants
from minproto.resp import Connection, Limits, NullArray, Push, Reply, Simple, encode_command
from minproto.testing import network

PONG = Simple("PONG")
OK = Simple("OK")
NULL_ARRAY = NullArray()


def command(*words: bytes | str) -> bytes:
    return encode_command([word.encode() if isinstance(word, str) else word for word in words])


class Client:
    """Sends commands, and takes replies one by one; pushes of version 3 come as such."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe: Any = pipe
        self._core = Connection(CLIENT, Limits(max_command=1 << 30, max_array=1 << 24, max_bulk=1 << 24))

    def send(self, *words: bytes | str) -> None:
        self.pipe.write(command(*words))

    async def reply(self) -> Any:
        """The next value. Raises ConnectionResetError, EOFError."""
        while (event := self._core.next_event()) is None:
            if self._core.wants is Wants.CLOSED:
                raise EOFError
            data = await self.pipe.read()
            self._core.receive_data(data) if data else self._core.receive_eof()
        return event.value if isinstance(event, Reply) else event

    async def replies(self, count: int) -> list[Any]:
        return [await self.reply() for _ in range(count)]

    async def ask(self, *words: bytes | str) -> Any:
        """Send a command and take its reply."""
        self.send(*words)
        return await self.reply()

    async def subscribe(self, *topics: str, by: str = "subscribe") -> None:
        self.send(by, *topics)
        for topic in topics:
            confirmed = await self.reply()
            items = confirmed.items if isinstance(confirmed, Push) else confirmed
            assert items[:2] == [by.encode(), topic.encode()]

    async def messages(self, count: int) -> list[bytes]:
        """The data of the next messages."""
        taken = await self.replies(count)
        return [(message.items if isinstance(message, Push) else message)[-1] for message in taken]

    async def end(self) -> str:
        """Wait for the end, before which nothing may come."""
        try:
            value = await self.reply()
        except EOFError:
            return FIN
        except ConnectionResetError:
            return RST
        raise AssertionError(f"not the end: {value}")


class Serving:
    """The server, its broker, and what an operator sees."""

    def __init__(self, broker: Broker, options: dict[str, Any]) -> None:
        self.broker = broker
        self.metrics = Metrics()
        self.ends: list[network.MemoryPipe] = []  # the server's, of all connections
        self.server = BrokerServer(broker, metrics=self.metrics, **options)

    def attach(self, **options: Any) -> Pipe:
        """The client's end of a new connection; options are the network's."""
        ours, theirs = network.pair(**options)
        self.ends.append(theirs)
        self.server.attach(theirs)
        return ours

    def client(self, **options: Any) -> Client:
        return Client(self.attach(**options))


@asynccontextmanager
async def serving(history: int = 100, **options: Any) -> AsyncIterator[Serving]:
    """A server that, whatever the block did to it, answers PING, drains, and is left by nobody: nothing listens any more."""
    serving = Serving(Broker(history=history), options)
    try:
        yield serving
        client = serving.client()
        if "password" in options:
            assert await client.ask("auth", options["password"]) == OK
        assert await client.ask("ping") == PONG
        await client.pipe.close()
    finally:
        await serving.server.close()
    assert serving.metrics.connections == 0
    assert (serving.broker.inner._listeners, serving.broker.inner.pattern_count) == ({}, 0)
    assert serving.broker.publish("updates", b"") == 0
