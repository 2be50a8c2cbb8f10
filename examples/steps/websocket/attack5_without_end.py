"""The attacks on step 5: an enormous length, endless fragments, and two silent clients.

The first client announces a frame of 2^63 - 1 bytes, and sends five million of them. The second one sends fragments without
content. The third one has lost its network, and the fourth one has sent half of a handshake. It prints:

    a frame of 2^63 - 1 bytes
        step5_close:  5,000,000 bytes taken, open, nothing
        step6_limits: 0 bytes taken, closed, Close 1009 (message too big)
    fragments without content
        step5_close:  10,001 fragments sent, open, nothing
        step6_limits: 1,001 fragments sent, closed, Close 1009 (too many fragments)
    a client that has lost its network
        step5_close:  an hour later, open, nothing
        step6_limits: an hour later, closed, Ping, Close 1011 (no answer to a Ping)
    half of a handshake
        step5_close:  an hour later, open, no answer
        step6_limits: an hour later, closed, no answer
"""

import asyncio

from stage import CONTINUED, HANDSHAKE, MORE, Client, Server, connect, frame, run, shown

HUGE = bytes.fromhex("82ff 7fffffffffffffff 37fa213d")  # binary, masked, 127: the length is in the next eight bytes


def result(client: Client, what: str) -> str:
    return f"{what}, {'open' if client.open else 'closed'}, {shown(client)}"


async def huge_frame(server: Server) -> str:
    client = await connect(server)
    await client.send(HUGE)
    sent = 0
    while client.open and sent < 5_000_000:
        await client.send(bytes(50_000))
        sent += 50_000
    return result(client, f"{sent:,} bytes taken")


async def fragments(server: Server) -> str:
    client = await connect(server)
    await client.send(frame(MORE))
    sent = 1
    while client.open and sent < 10_000:
        await client.send(frame(CONTINUED) * 500)
        sent += 500
    return result(client, f"{sent:,} fragments sent")


async def silent(server: Server) -> str:
    client = await connect(server)
    await asyncio.sleep(3600)  # on the virtual clock
    return result(client, "an hour later")


async def half_a_handshake(server: Server) -> str:
    client = server.connect()
    await client.send(HANDSHAKE[:50])
    await asyncio.sleep(3600)
    return result(client, "an hour later")


ATTACKS = {
    "a frame of 2^63 - 1 bytes": huge_frame,
    "fragments without content": fragments,
    "a client that has lost its network": silent,
    "half of a handshake": half_a_handshake,
}
for name, attack in ATTACKS.items():
    print(name)
    print("    step5_close: ", run("step5_close", attack))
    print("    step6_limits:", run("step6_limits", attack))
