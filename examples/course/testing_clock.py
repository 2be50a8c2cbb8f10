"""A virtual clock: a test of twenty seconds is done at once, and a deadlock is an error instead of a test that hangs."""

import asyncio

from minproto import Response, Server
from minproto.testing import clock
from minproto.testing.network import pair


async def app(request: object) -> Response:
    return Response.text("hi")


async def half_a_head() -> None:
    """A client sends half a head and then nothing. When does the server lose patience, and what does it say?"""
    ours, theirs = pair()
    async with Server(app, port=0) as server:
        server.attach(theirs)
        ours.write(b"GET / HTTP/1.1\r\nHost: a")
        answer = await ours.read()
        print(f"after {asyncio.get_running_loop().time():g} s: {answer.splitlines()[0].decode()}")
        await ours.close()


async def two_that_wait() -> None:
    """Both ends wait for the other one's first byte."""
    ours, theirs = pair()
    await asyncio.gather(ours.read(), theirs.read())


clock.run(half_a_head())
try:
    clock.run(two_that_wait())
except clock.Deadlock as error:
    print("Deadlock:", str(error).splitlines()[0])
