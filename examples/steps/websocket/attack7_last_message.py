"""The attacks on step 7: a question with a Close after it, and a server that is stopped.

Step 7 sends its Close when the client's Close arrives, and not when the app has answered. So the last answer is lost. When it
is stopped, it answers nothing at all. It prints:

    a question, and a Close in the same segment
        step7_inbox:   Close 1000
        step8_goodbye: text 'slow', Close 1000
    a stop
        step7_inbox:   the end without a Close
        step8_goodbye: text 'slow', Close 1001
"""

import asyncio

from stage import CLOSE, TEXT, Server, connect, frame, run, shown

NORMAL = bytes.fromhex("03e8")


async def question_and_close(server: Server) -> str:
    client = await connect(server)
    await client.send(frame(TEXT, b"slow") + frame(CLOSE, NORMAL))
    await asyncio.sleep(20)  # on the virtual clock
    return shown(client)


async def stop(server: Server) -> str:
    client = await connect(server)
    await client.send(frame(TEXT, b"slow"))
    stopped = asyncio.ensure_future(server.stop())
    await asyncio.sleep(16)
    await client.send(frame(TEXT, b"too late"), frame(CLOSE, bytes.fromhex("03e9")))
    await stopped
    client.abort()  # the process has ended, and its connections with it
    return shown(client)


for name, attack in {"a question, and a Close in the same segment": question_and_close, "a stop": stop}.items():
    print(name)
    print("    step7_inbox:  ", run("step7_inbox", attack))
    print("    step8_goodbye:", run("step8_goodbye", attack))
