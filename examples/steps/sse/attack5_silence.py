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
from typing import Any

from stage import Browser, Client, Server, run

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


async def follow(server: Server, answer: bytes) -> list[float]:
    """Run the step as a relay for an hour. Return the times of its attempts. If there is an answer, one gets it."""
    random.seed(1)
    loop, times = asyncio.get_running_loop(), []

    async def connect(make_protocol: Any, *_: Any, **__: Any) -> tuple[Client, asyncio.Protocol]:
        times.append(loop.time())
        if not answer or len(times) > 1:
            raise ConnectionRefusedError
        protocol = make_protocol()
        client = Client(protocol)
        server.clients.append(client)
        client._coming = answer
        loop.call_soon(client._deliver)
        return client, protocol

    loop.create_connection = connect
    relay = asyncio.ensure_future(server.step.follow("http://a/events"))
    await asyncio.sleep(HOUR)
    relay.cancel()
    return times


async def down(server: Server) -> str:
    return f"{len(await follow(server, b'')):,} attempts of the relay"


async def power(server: Server) -> str:
    times = await follow(server, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    return "the relay waits" if len(times) == 1 else f"the relay connects again after {times[1] - times[0]:.0f} seconds"


ATTACKS = {"a proxy with an idle timeout": proxy, "the server is down": down, "the server's machine loses power": power}
for name, attack in ATTACKS.items():
    print(name)
    print("    step5_gap:  ", run("step5_gap", attack))
    print("    step6_quiet:", run("step6_quiet", attack))
