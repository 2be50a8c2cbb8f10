"""The attacks on step 4: an end of TCP without a Close, and text that is not UTF-8.

A client that is done sends a Close. Step 4 answers with the end of TCP, which looks as if a cable had been pulled out. The
byte ff occurs in no text, and yet step 4 sends it back, and the client blames the server. In the last attack the wrong text
is in the first fragment of a message, and the other fragments never come. It prints:

    a text, and a Close with the code 1000
        step4_fragments: text 'hello', the end without a Close
        step5_close:     text 'hello', Close 1000
    a text that is not UTF-8
        step4_fragments: the client fails: text that is not UTF-8, or data that can't be inflated
        step5_close:     Close 1007 (text that is not UTF-8)
    a character that is cut between two fragments
        step4_fragments: text '€'
        step5_close:     text '€'
    a fragment that is not UTF-8
        step4_fragments: nothing
        step5_close:     Close 1007 (text that is not UTF-8)
"""

from stage import CLOSE, LAST, MORE, TEXT, Server, connect, frame, run, shown

EURO = "€".encode()  # e2 82 ac
ATTACKS = {
    "a text, and a Close with the code 1000": [frame(TEXT, b"hello"), frame(CLOSE, bytes.fromhex("03e8"))],
    "a text that is not UTF-8": [frame(TEXT, b"\xff")],
    "a character that is cut between two fragments": [frame(MORE, EURO[:2]), frame(LAST, EURO[2:])],
    "a fragment that is not UTF-8": [frame(MORE, b"\xff")],
}


async def attack(server: Server, *segments: bytes) -> str:
    client = await connect(server)
    await client.send(*segments)
    return shown(client)


for name, segments in ATTACKS.items():
    print(name)
    print("    step4_fragments:", run("step4_fragments", attack, *segments))
    print("    step5_close:    ", run("step5_close", attack, *segments))
