r"""The attack on step 3: one subscriber of two does not read.

Step 3 waits for it in the middle of ``publish``. So the publisher gets no answer, and the other subscriber no message: one
client has stopped all the others. And when this client goes away at last, the exception belongs to the task that waits,
which is the publisher's. It prints:

    step3_limits
        an hour later, the publisher has 32 answers of 1,000
        the other subscriber has 32 messages of 1,000
        the slow one reads on: 1,000 messages
        it goes away instead: the publisher's connection is closed
        messages 1 and 2 are published, and then 3: the other subscriber gets 1, 3, 2
    step4_queues
        an hour later, the publisher has 1,000 answers of 1,000
        the other subscriber has 1,000 messages of 1,000
        the slow one reads on: 33 messages, a gap of 867, 100 messages
        it goes away instead: the publisher's connection is open
        messages 1 and 2 are published, and then 3: the other subscriber gets 1, 2, 3
"""

import asyncio

from stage import Client, Server, command, read_on, run, say, values

MESSAGE = command(b"PUBLISH", b"news", b"x" * 2_000)


def summary(client: Client) -> str:
    """Return what the client has received: the number of messages between two gaps, and each gap."""
    parts: list[str] = []
    count = 0
    for kind, *rest in values(client):
        if kind == "gap":
            parts += [messages(count), f"a gap of {rest[0]}"]
        count = 0 if kind == "gap" else count + (kind == "message")
    return ", ".join([*parts, messages(count)])


def messages(count: int) -> str:
    return f"{count:,} message{'s' * (count != 1)}"


async def attack(server: Server) -> None:
    slow, other, publisher = server.connect(), server.connect(), server.connect()
    for subscriber in slow, other:
        await say(subscriber, "SUBSCRIBE news")
    slow.reads = False
    await publisher.send(*[MESSAGE] * 1_000)
    await asyncio.sleep(3_600)
    print(f"    an hour later, the publisher has {publisher.received.count(b':'):,} answers of 1,000")
    print(f"    the other subscriber has {summary(other)} of 1,000")
    await read_on(slow)
    print(f"    the slow one reads on: {summary(slow)}")


async def leave(server: Server) -> None:
    slow, publisher = server.connect(), server.connect()
    await say(slow, "SUBSCRIBE news")
    slow.reads = False
    await publisher.send(*[MESSAGE] * 1_000)
    slow.reset()
    await asyncio.sleep(1)
    print(f"    it goes away instead: the publisher's connection is {'open' if publisher.open else 'closed'}")


async def overtake(server: Server) -> None:
    slow, other, publisher, second = [server.connect() for _ in range(4)]
    await say(slow, "SUBSCRIBE news")
    await say(other, "SUBSCRIBE news")
    slow.reads = False
    for number in b"1", b"2":
        await publisher.send(command(b"PUBLISH", b"news", number + b" " * 40_000))
    await say(slow, "UNSUBSCRIBE news")
    await say(second, "PUBLISH news 3")
    await read_on(slow)
    order = [data.strip() for kind, _, data in values(other) if kind == "message"]
    print(f"    messages 1 and 2 are published, and then 3: the other subscriber gets {', '.join(order)}")


for step in "step3_limits", "step4_queues":
    print(step)
    for each in attack, leave, overtake:
        run(step, each)
