r"""The attacks on step 5: nothing happens for an hour.

First, there is nothing to publish. A proxy between browser and server closes each connection on which no byte has passed for
60 seconds, and the browser opens a new one. Second, a relay asks a server that is down. Third, a relay listens to a server
whose machine has lost power: no byte comes any more, not even the end of the connection. It prints:

    a proxy with an idle timeout
        step5_gap:   60 connections of the browser
        step6_quiet: 1 connection of the browser
    the server is down
        step5_gap:   1,200 attempts of the relay
        step6_quiet: 117 attempts of the relay
    the server's machine loses power
        step5_gap:   the relay waits
        step6_quiet: the relay connects again after 48 seconds
"""

import asyncio
import random

from stage import Browser, Server, follow, run

HOUR = 3_600


async def proxy(server: Server) -> str:
    browser, count = Browser(server), 1
    await browser.connect()
    for _ in range(HOUR // 60 - 1):
        before = browser.client.received
        await asyncio.sleep(60)
        if browser.client.received == before:
            browser.lose()
            await browser.connect()
            count += 1
    return f"{count} connection{'s' * (count > 1)} of the browser"


async def down(server: Server) -> str:
    random.seed(1)
    return f"{len(await follow(server, HOUR)):,} attempts of the relay"


async def power(server: Server) -> str:
    random.seed(1)
    times = await follow(server, HOUR, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    return "the relay waits" if len(times) == 1 else f"the relay connects again after {times[1] - times[0]:.0f} seconds"


ATTACKS = {"a proxy with an idle timeout": proxy, "the server is down": down, "the server's machine loses power": power}
for name, attack in ATTACKS.items():
    print(name)
    print("    step5_gap:  ", run("step5_gap", attack))
    print("    step6_quiet:", run("step6_quiet", attack))
