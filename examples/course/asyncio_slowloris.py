"""A time limit for each read is not enough: a client sends a byte every nine seconds, and stays for 15 minutes."""

import asyncio

from minproto.aio.pipe import Pipe
from minproto.testing.clock import run
from minproto.testing.network import pair

HEAD = b"GET / HTTP/1.1\r\nHost: example.org\r\nCookie: " + b"x" * 54 + b"\r\n\r\n"


async def slow_client(pipe: Pipe) -> None:
    for byte in HEAD:
        pipe.write(bytes([byte]))
        await asyncio.sleep(9)


async def limit_each_read(pipe: Pipe) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        async with asyncio.timeout(10):
            head += await pipe.read()


async def limit_the_head(pipe: Pipe) -> None:
    head = b""
    async with asyncio.timeout(10):
        while not head.endswith(b"\r\n\r\n"):
            head += await pipe.read()


async def main() -> None:
    for read_head in limit_each_read, limit_the_head:
        ours, theirs = pair()
        client, clock = asyncio.create_task(slow_client(theirs)), asyncio.get_running_loop().time
        began = clock()
        try:
            await read_head(ours)
            print(f"{read_head.__name__}: a head of {len(HEAD)} bytes after {clock() - began:g} s")
        except TimeoutError:
            print(f"{read_head.__name__}: TimeoutError after {clock() - began:g} s")
        client.cancel()
        await asyncio.wait([client])


run(main())
