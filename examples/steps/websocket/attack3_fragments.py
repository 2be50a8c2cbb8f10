"""The attack on step 3: a message in two fragments, with a Ping between them.

Step 3 takes each frame for a text. It prints:

    a message in fragments, and a Ping
        step3_pages:     text 'Hel', text '', text 'lo'
        step4_fragments: Pong, text 'Hello'
    a new message inside of another one
        step3_pages:     text 'Hel', text 'new'
        step4_fragments: the end without a Close
"""

from stage import LAST, MORE, PING, TEXT, Server, connect, frame, run, shown

ATTACKS = {
    "a message in fragments, and a Ping": [frame(MORE, b"Hel"), frame(PING), frame(LAST, b"lo")],
    "a new message inside of another one": [frame(MORE, b"Hel"), frame(TEXT, b"new")],
}


async def attack(server: Server, *segments: bytes) -> str:
    client = await connect(server)
    await client.send(*segments)
    return shown(client)


for name, segments in ATTACKS.items():
    print(name)
    print("    step3_pages:    ", run("step3_pages", attack, *segments))
    print("    step4_fragments:", run("step4_fragments", attack, *segments))
