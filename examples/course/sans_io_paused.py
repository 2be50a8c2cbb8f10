"""PAUSED: an answer takes two seconds. Until the answer is sent, the shell neither pulls events nor reads bytes."""

import asyncio

from minproto.aio.pipe import Pipe
from minproto.core import Role, Wants
from minproto.http import Data, EndOfMessage, Headers, ResponseHead
from minproto.http1 import Connection
from minproto.testing.clock import run
from minproto.testing.network import pair

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def say(*what: object) -> None:
    print(f"{asyncio.get_running_loop().time():g} s ", *what)


async def answer(core: Connection, pipe: Pipe) -> None:
    await asyncio.sleep(2)  # a database thinks
    for event in ResponseHead(200, Headers([("content-length", "3")])), Data(b"hi\n"), EndOfMessage():
        pipe.write(core.send(event))
    say("the answer is sent, wants:", core.wants.name)


async def serve(pipe: Pipe) -> None:
    core = Connection(Role.SERVER)
    while core.wants is not Wants.CLOSED:
        for event in core.events():
            say("event:", type(event).__name__)
            if isinstance(event, EndOfMessage):
                answering = asyncio.create_task(answer(core, pipe))
        say("no event, wants:", core.wants.name, "and the core holds", core.buffered, "bytes")
        if core.wants is Wants.PAUSED:
            await answering  # then pull again before any read: the next request may be in the core already
        elif core.wants is Wants.DATA:
            if data := await pipe.read():
                core.receive_data(data)
            else:
                core.receive_eof()
    await pipe.close()


async def main() -> None:
    client, server = pair()  # two ends of a connection in memory
    client.write(REQUEST + REQUEST)
    client.close_write()
    await serve(server)


run(main())
