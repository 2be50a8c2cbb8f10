"""A server that exits at once cuts a response in two. A server that waits for its responses does not."""

import asyncio

from minproto.aio.pipe import Pipe
from minproto.testing import clock
from minproto.testing.network import pair


async def respond(pipe: Pipe) -> None:
    await pipe.read()
    pipe.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    await asyncio.sleep(2)  # the second half comes from a slow database
    pipe.write(b"world")
    await pipe.close()


async def ask(pipe: Pipe) -> str:
    pipe.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = b""
    try:
        while data := await pipe.read():
            answer += data
    except ConnectionResetError:
        pass
    content = answer.partition(b"\r\n\r\n")[2]
    return f"{len(content)} of 10 bytes after {asyncio.get_running_loop().time():g} s"


async def main(*, at_once: bool) -> None:
    ours, theirs = pair()
    serving, asking = asyncio.create_task(respond(theirs)), asyncio.create_task(ask(ours))
    await asyncio.sleep(1)  # now the operator stops the server
    if at_once:
        serving.cancel()
        theirs.abort()
    await asyncio.wait([serving])
    print("exit at once: " if at_once else "wait for it:  ", await asking)


clock.run(main(at_once=True))
clock.run(main(at_once=False))
