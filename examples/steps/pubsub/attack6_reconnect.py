r"""The attack on step 6: a client loses its connection, and comes back.

Messages are published while it is away: 2, 100, or 101. The log of step 7 keeps 100. It prints:

    the client gets message 1, loses its connection, misses 2 messages, and comes back for one more
        step6_glob:   4
        step7_replay: 2, 3, 4
    the client gets message 1, loses its connection, misses 100 messages, and comes back for one more
        step6_glob:   102
        step7_replay: 2, 3, ..., 102
    the client gets message 1, loses its connection, misses 101 messages, and comes back for one more
        step6_glob:   103
        step7_replay: a gap, 3, ..., 103
"""

from network import Server, run


async def attack(server: Server, away: int) -> str:
    client, publisher = server.connect(), server.connect()
    await client.say("SUBSCRIBE news")
    await publisher.say("PUBLISH news 1")
    *_, last = client.values()
    client.reset()
    await publisher.say(*[f"PUBLISH news {number}" for number in range(2, 2 + away)])
    client = server.connect()
    await client.say(f"RESUME news {last[3]}" if len(last) == 4 else "SUBSCRIBE news")
    await publisher.say(f"PUBLISH news {2 + away}")
    got = [each[2] if each[0] == "message" else "a gap" for each in client.values()[1:]]
    return ", ".join(got if len(got) < 5 else [*got[:2], "...", got[-1]])


for away in 2, 100, 101:
    print(f"the client gets message 1, loses its connection, misses {away} messages, and comes back for one more")
    print("    step6_glob:  ", run("step6_glob", attack, away))
    print("    step7_replay:", run("step7_replay", attack, away))
