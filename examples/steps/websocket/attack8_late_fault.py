"""The attacks on step 8: a wrong byte in a large frame, a wrong byte alone, and a Ping and a silence after our Close.

Step 8 looks at a payload when the whole frame has arrived, and at the first byte of a frame when the second one has arrived.
And its reading task does not know what the other task has sent: its Pong follows the Close, and so does its Ping after
20 silent seconds. The client's own Close has to end TCP at once. It prints:

    a text of 200,000 bytes whose first byte is wrong
        step8_goodbye: 200,000 bytes of text sent, Close 1007 (text that is not UTF-8)
        step9_core:    1 bytes of text sent, Close 1007 (text that is not UTF-8, or data that can't be inflated)
    an opcode without a meaning, alone
        step8_goodbye: nothing
        step9_core:    Close 1002 (reserved opcode 3)
    a Ping after the server's Close
        step8_goodbye: Close 1001, and after it 8a 00
        step9_core:    Close 1001
    a silent client, and a stop
        step8_goodbye: Close 1001, and after it 89 00; TCP ends after 0 s
        step9_core:    Close 1001; TCP ends after 0 s
"""

import asyncio

from stage import CLOSE, KEY, PING, Server, connect, frame, run, shown

SIZE = 200_000
HEADER = bytes((0x81, 0xFF)) + SIZE.to_bytes(8, "big") + KEY


async def wrong_text(server: Server) -> str:
    client = await connect(server)
    await client.send(HEADER, b"\xc8")  # c8 ^ 37 is ff, and no text has this byte
    sent = 1
    while client.open and sent < SIZE:
        piece = bytes(min(20_000, SIZE - sent))
        await client.send(piece)
        sent += len(piece)
    return f"{sent:,} bytes of text sent, {shown(client)}"


async def wrong_opcode(server: Server) -> str:
    client = await connect(server)
    await client.send(b"\x83")  # the opcode 3 has no meaning
    return shown(client)


async def ping_behind_close(server: Server) -> str:
    client = await connect(server)
    stopped = asyncio.ensure_future(server.stop())
    await asyncio.sleep(1)
    await client.send(frame(PING), frame(CLOSE, bytes.fromhex("03e9")))
    await stopped
    return shown(client)


async def silence(server: Server) -> str:
    client = await connect(server)
    await asyncio.sleep(13)
    stopped = asyncio.ensure_future(server.stop())
    await asyncio.sleep(8)  # a client that is slow, but not too slow
    start = asyncio.get_running_loop().time()
    await client.send(frame(CLOSE, bytes.fromhex("03e9")))
    await stopped
    return f"{shown(client)}; TCP ends after {asyncio.get_running_loop().time() - start:.0f} s"


ATTACKS = {
    "a text of 200,000 bytes whose first byte is wrong": wrong_text,
    "an opcode without a meaning, alone": wrong_opcode,
    "a Ping after the server's Close": ping_behind_close,
    "a silent client, and a stop": silence,
}
for name, attack in ATTACKS.items():
    print(name)
    print("    step8_goodbye:", run("step8_goodbye", attack))
    print("    step9_core:   ", run("step9_core", attack))
