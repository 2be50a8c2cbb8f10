"""A Redis for the patterns: a client on minproto's core, and a stand-in that answers it in virtual time.

    async with redis() as connect:
        store = await connect()
        await store.command("INCR", "visits")       1

    run       what answers
    -------   -----------------------------------------------------------------------------------
    virtual   the stand-in below, over the network in memory: GET, SET, INCR and EXPIRE
    live      a redis-server of our own, which is started for this run (Debian: redis-server)

Commands of the stand-in do what Redis does, except that no key expires.
"""

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from typing import Any

from scenario import is_live

from minproto.aio.address import Address
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe
from minproto.core import Role
from minproto.resp import Command, Connection, Reply
from minproto.testing import network


class Redis:
    """A client: one command at a time on one connection."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self._core = Connection(Role.CLIENT)
        self._free = asyncio.Lock()

    async def command(self, *words: str) -> Any:
        """Send a command, and return the value of its reply."""
        async with self._free:
            self.pipe.write(self._core.send(Command([word.encode() for word in words])))
            while not isinstance(event := self._core.next_event(), Reply):
                self._core.receive_data(await self.pipe.read())
        return event.value


@asynccontextmanager
async def redis(delay: float = 0.001) -> AsyncIterator[Callable[[], Awaitable[Redis]]]:
    """Yield a function that connects to a Redis without keys. ``delay``: how far away it is, in seconds, one way."""
    clients: list[Redis] = []
    async with _redis_server() if is_live() else _stand_in(delay) as pipe:

        async def connect() -> Redis:
            clients.append(Redis(await pipe()))
            return clients[-1]

        yield connect
        for client in clients:
            await client.pipe.close()


@asynccontextmanager
async def _stand_in(delay: float) -> AsyncIterator[Callable[[], Awaitable[Pipe]]]:
    values: dict[bytes, bytes] = {}
    async with asyncio.TaskGroup() as group:

        async def connect() -> Pipe:
            ours, theirs = network.pair(delays=repeat(delay))
            group.create_task(_answer(theirs, values))
            return ours

        yield connect


async def _answer(pipe: Pipe, values: dict[bytes, bytes]) -> None:
    """Serve one connection until its client closes it."""
    core = Connection(Role.SERVER)
    while data := await pipe.read():
        core.receive_data(data)
        for event in core.events():
            assert isinstance(event, Command)
            pipe.write(core.send(Reply(_result(event.arguments, values))))


def _result(arguments: list[bytes], values: dict[bytes, bytes]) -> Any:
    match arguments:
        case [b"GET", key]:
            return values.get(key)
        case [b"SET", key, value, *_]:
            values[key] = value
            return b"OK"
        case [b"INCR", key]:
            values[key] = b"%d" % (int(values.get(key, b"0")) + 1)
            return int(values[key])
        case [b"EXPIRE", key, _]:
            return int(key in values)
    raise ValueError(f"the stand-in for Redis has no {arguments[0]!r}: add it to store.py")


@asynccontextmanager
async def _redis_server() -> AsyncIterator[Callable[[], Awaitable[Pipe]]]:
    if shutil.which("redis-server") is None:
        sys.exit("--live needs redis-server, which is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = await asyncio.create_subprocess_exec("redis-server", *words, stdout=asyncio.subprocess.DEVNULL)

    async def connect() -> Pipe:
        while True:
            try:
                return await connect_pipe(Address("127.0.0.1", port), handshake=3600.0, linger=0.0)
            except ConnectionRefusedError:  # it has not started yet
                await asyncio.sleep(1.0)

    try:
        yield connect
    finally:
        process.terminate()
        await process.wait()
