"""The attacks on step 5: two clients whose requests never end.

The first one is a *slowloris*. It sends a byte from time to time, and so holds its connection for ever. A thousand such
connections cost the client little, but they take up all the connections that the server can have. The second client sends a
head without an end, in pieces of 50,000 bytes, and the server stores all of them. Step 6 refuses the head after the second
piece, which exceeds the limit of 65,536 bytes. It prints:

    one byte every 10 seconds, for an hour
        step5_keep_alive: 360 bytes sent, the connection is open, no answer
        step6_limits:     3 bytes sent, the connection is closed, 408 the request takes too long
    a head without an end
        step5_keep_alive: 2,000,000 bytes sent, the connection is open, no answer
        step6_limits:     100,000 bytes sent, the connection is closed, 431 head too large
"""

import asyncio

from network import Client, Server, run


def result(client: Client, sent: int) -> str:
    return f"{sent:,} bytes sent, the connection is {'open' if client.open else 'closed'}, {client.shown()}"


async def slowloris(server: Server) -> str:
    client = server.connect()
    sent = 0
    while client.open and sent < 360:
        await client.send(b"G" if sent == 0 else b"x")
        sent += 1
        await asyncio.sleep(10)  # on the virtual clock
    return result(client, sent)


async def endless_head(server: Server) -> str:
    client = server.connect()
    sent = 0
    while client.open and sent < 2_000_000:
        await client.send(b"x" * 50_000)
        sent += 50_000
    return result(client, sent)


for name, attack in {"one byte every 10 seconds, for an hour": slowloris, "a head without an end": endless_head}.items():
    print(name)
    print("    step5_keep_alive:", run("step5_keep_alive", attack))
    print("    step6_limits:    ", run("step6_limits", attack))
