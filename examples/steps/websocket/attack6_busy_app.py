"""The attacks on step 6: a Ping while the app is busy, and a client that does not read.

The app needs 15 seconds for the text "slow". The first client waits ten seconds for a Pong, and then believes that the server
is gone. The second one sends 20 texts of 50,000 bytes, and reads none of the answers. It prints:

    a Ping while the app is busy
        step6_limits: nothing
        step7_inbox:  Pong
    a client that does not read
        step6_limits: 1,000,080 bytes wait in memory, and a minute later the connection is open
        step7_inbox:  100,008 bytes wait in memory, and a minute later the connection is closed
"""

import asyncio

from stage import PING, TEXT, Server, connect, frame, run, shown


async def ping_while_busy(server: Server) -> str:
    client = await connect(server)
    await client.send(frame(TEXT, b"slow"), frame(PING))
    await asyncio.sleep(10)  # on the virtual clock
    return shown(client)


async def no_reader(server: Server) -> str:
    client = await connect(server)
    client.reads = False
    for _ in range(20):
        await client.send(frame(TEXT, b"x" * 50_000))
    held = client.unread
    await asyncio.sleep(60)
    return f"{held:,} bytes wait in memory, and a minute later the connection is {'open' if client.open else 'closed'}"


for name, attack in {"a Ping while the app is busy": ping_while_busy, "a client that does not read": no_reader}.items():
    print(name)
    print("    step6_limits:", run("step6_limits", attack))
    print("    step7_inbox: ", run("step7_inbox", attack))
