"""A broker for the patterns: minproto's ``BrokerServer``, which can be down, and clients of it on the core for RESP.

    async with Hub() as hub:
        async for data in hub.messages("chat"): ...     in one task: SUBSCRIBE chat
        await hub.command("PUBLISH", "chat", "hello")   in another: 1, the number of subscribers

``await hub.stop()`` resets all connections, as the crash of a broker does; ``await hub.start()`` starts an empty broker.
"""

from collections.abc import AsyncIterator
from itertools import repeat
from typing import Any, Self

from scenario import PATIENT, is_live, now

from minproto import Broker, BrokerServer
from minproto.aio.address import Address
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import CLIENT
from minproto.resp import Command, Connection, Reply
from minproto.testing import network


class Hub:
    def __init__(self, delay: float = 0.0005) -> None:
        """``delay``: how far away the broker is, in seconds, one way. With ``--live`` the network decides this itself."""
        self._delay = delay
        self._server: BrokerServer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        broker = Broker(history=1_000)
        broker.inner.clock = lambda: int(1000 * now())  # for the idle time of jobs
        self._server = BrokerServer(broker, port=0, timeouts=PATIENT)
        await self._server.__aenter__()

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.abort()
            await server.close()

    async def pipe(self) -> Pipe:
        """Return a new connection. Raises ConnectionRefusedError while the broker is down."""
        if self._server is None:
            raise ConnectionRefusedError("the broker is down")
        if is_live():
            return await connect_pipe(Address("127.0.0.1", self._server.port), None, handshake=3600.0, linger=0.0)
        ours, theirs = network.pair(delays=repeat(self._delay))
        self._server.attach(theirs)
        return ours

    async def command(self, *words: str) -> Any:
        """Send one command on a connection of its own, and return the value of its reply. Raises ConnectionError."""
        pipe = await self.pipe()
        async for value in _replies(pipe, *words):
            pipe.abort()
            return value
        raise ConnectionResetError("the broker has closed the connection")

    async def messages(self, topic: str) -> AsyncIterator[bytes]:
        """Subscribe, and yield the messages. Raises ConnectionError when the broker is down, or goes down."""
        pipe = await self.pipe()
        try:
            async for value in _replies(pipe, "SUBSCRIBE", topic):
                if value[0] == b"message":
                    yield value[2]
        finally:
            pipe.abort()


async def _replies(pipe: Pipe, *words: str) -> AsyncIterator[Any]:
    core = Connection(CLIENT)
    pipe.write(core.send(Command([word.encode() for word in words])))
    while data := await pipe.read():
        core.receive_data(data)
        for event in core.events():
            if isinstance(event, Reply):
                yield event.value
