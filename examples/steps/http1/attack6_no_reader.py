r"""The attacks on step 6: a client that does not read, and a stop in the middle of a request.

The client sends fifty requests of 100,000 bytes, and reads none of the answers, each of which is as large as its request. Step
6 keeps all of them in memory. Step 7 waits after the first answer, and after 30 seconds it closes the connection. In the
second attack somebody stops the server with Ctrl-C while it has half of a request. It prints:

    a client that does not read
        step6_limits: 5,003,900 bytes wait in memory, and a minute later the connection is open
        step7_drain:  100,078 bytes wait in memory, and a minute later the connection is closed
    a stop in the middle of a request
        step6_limits: no answer
        step7_drain:  200 POST /echo hello
"""

import asyncio

from network import Server, run

UPLOAD = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)


async def no_reader(server: Server) -> str:
    client = server.connect()
    client.reads = False
    for _ in range(50):
        await client.send(UPLOAD)
    held = client.unread
    await asyncio.sleep(60)
    return f"{held:,} bytes wait in memory, and a minute later the connection is {'open' if client.open else 'closed'}"


async def stop(server: Server) -> str:
    client = server.connect()
    await client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
    stopped = asyncio.ensure_future(server.stop())
    await asyncio.sleep(1)
    await client.send(b"llo")
    await stopped
    return client.shown()


for name, attack in {"a client that does not read": no_reader, "a stop in the middle of a request": stop}.items():
    print(name)
    print("    step6_limits:", run("step6_limits", attack))
    print("    step7_drain: ", run("step7_drain", attack))
