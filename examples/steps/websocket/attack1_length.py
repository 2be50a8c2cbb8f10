"""The attack on step 1: a text of 200 bytes, and frames that TCP cuts or joins.

Step 1 believes that one ``read`` returns one frame, and that seven bits are the length. It prints:

    a text of 200 bytes
        step1_handshake: the client fails: text that is not UTF-8, or data that can't be inflated
        step2_lengths:   text of 200 bytes
    a frame in two segments
        step1_handshake: text 'he', text 'X'
        step2_lengths:   text 'hello'
    two frames in one segment
        step1_handshake: text 'hello'
        step2_lengths:   text 'hello', text 'hello'
"""

from stage import TEXT, Server, connect, frame, run, shown

HELLO = frame(TEXT, b"hello")
ATTACKS = {
    "a text of 200 bytes": [frame(TEXT, b"x" * 200)],
    "a frame in two segments": [HELLO[:8], HELLO[8:]],
    "two frames in one segment": [HELLO + HELLO],
}


async def attack(server: Server, *segments: bytes) -> str:
    client = await connect(server)
    await client.send(*segments)
    return shown(client)


for name, segments in ATTACKS.items():
    print(name)
    print("    step1_handshake:", run("step1_handshake", attack, *segments))
    print("    step2_lengths:  ", run("step2_lengths", attack, *segments))
