r"""The attack on step 6: a client that does not read for a while, say a phone in a tunnel.

300 events of 10,000 bytes are published meanwhile. Step 6 keeps all of them in memory, for this one client. Step 7 keeps what
the buffers of one connection hold, and the log, which all clients share. When the client reads again, it gets those events, a
gap notice, and the events of the log. It prints:

    step6_quiet: 3,007,392 bytes wait for the client
        then it reads 1 to 300
    step7_slow: 70,161 bytes wait for the client
        then it reads 1 to 7, gap 193, 201 to 300
"""

import asyncio

from stage import Browser, Server, run


async def attack(server: Server) -> tuple[int, str]:
    browser = Browser(server)
    await browser.connect()
    browser.client.reads = False
    for number in range(1, 301):
        server.step.publish(f"{number} ".ljust(10_000, "x"), "message")
        await asyncio.sleep(0.001)
    held = browser.client.unread
    browser.client.read_all()
    await asyncio.sleep(1)
    events, _ = browser.read()
    return held, runs([event.data.split(" ")[0] if event.event == "message" else f"gap {event.data}" for event in events])


def runs(numbers: list[str]) -> str:
    """Return numbers in a short form: 1 to 7, gap 193, 201 to 300."""
    before, gap, behind = " ".join(numbers).partition(" gap ")
    first = before.split(" ")
    lost, *rest = behind.split(" ")
    return f"{first[0]} to {first[-1]}" + (f", gap {lost}, {rest[0]} to {rest[-1]}" if gap else "")


for step in "step6_quiet", "step7_slow":
    held, numbers = run(step, attack)
    print(f"{step}: {held:,} bytes wait for the client")
    print(f"    then it reads {numbers}")
