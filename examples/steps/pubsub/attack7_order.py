r"""The attacks on step 7: an answer that overtakes messages, a message for many, and a stop.

The first client reads slowly. It unsubscribes, and gets messages of the topic after the answer to that. In step 7 each
subscriber costs an encoding. And when somebody stops step 7 with Ctrl-C, the messages in its queues are gone, although the
answer to their publisher has counted a receiver. It prints:

    a client unsubscribes while messages wait for it
        step7_replay: 68 messages after the answer to UNSUBSCRIBE
        step8_order:  0 messages after the answer to UNSUBSCRIBE
    a message has 1,000 subscribers
        step7_replay: encodings: 1,000
        step8_order:  encodings: 1
    a stop while a slow client has 100 messages to come
        step7_replay: 0 messages of 100 arrive
        step8_order:  100 messages of 100 arrive
"""

import asyncio

from stage import Server, command, read_on, run, say, values


async def unsubscribe(server: Server) -> str:
    client, publisher = server.connect(), server.connect()
    await say(client, "SUBSCRIBE news")
    client.reads = False
    await publisher.send(*[command(b"PUBLISH", b"news", b"x" * 2_000)] * 100)
    await say(client, "UNSUBSCRIBE news")
    await read_on(client)
    kinds = [kind for kind, *_ in values(client)]
    return f"{len(kinds) - 1 - kinds.index('unsubscribe')} messages after the answer to UNSUBSCRIBE"


async def many(server: Server) -> str:
    for _ in range(1_000):
        await say(server.connect(), "SUBSCRIBE news")
    publisher = server.connect()
    encoded = server.count_calls("encode", list)
    await say(publisher, "PUBLISH news hello")
    return f"encodings: {encoded[0]:,}"


async def stop(server: Server) -> str:
    client, publisher = server.connect(), server.connect()
    await say(client, "SUBSCRIBE news")
    client.reads = False
    await publisher.send(*[command(b"PUBLISH", b"news", b"x" * 2_000)] * 100)
    stopped = asyncio.ensure_future(server.stop())
    await asyncio.sleep(1)
    await read_on(client)
    await stopped
    return f"{len(values(client)) - 1} messages of 100 arrive"


for name, attack in {
    "a client unsubscribes while messages wait for it": unsubscribe,
    "a message has 1,000 subscribers": many,
    "a stop while a slow client has 100 messages to come": stop,
}.items():
    print(name)
    print("    step7_replay:", run("step7_replay", attack))
    print("    step8_order: ", run("step8_order", attack))
