r"""The attack on step 6: a client loses its connection, and comes back; another client reads too slowly.

Messages are published while the first client is away: 2, 1,000, or 1,001. The log of step 7 keeps 1,000. The second client
finds a gap in what it receives. So it unsubscribes, resumes with the last id before the gap, and ignores everything between
the gap and the answer to RESUME. It prints:

    the client gets message 1, loses its connection, misses 2 messages, and comes back for one more
        step6_glob:   4
        step7_replay: 2, 3, 4
    the client gets message 1, loses its connection, misses 1,000 messages, and comes back for one more
        step6_glob:   1002
        step7_replay: 2, 3, ..., 1002
    the client gets message 1, loses its connection, misses 1,001 messages, and comes back for one more
        step6_glob:   1003
        step7_replay: a gap, 3, ..., 1003
    a client is too slow for 300 messages, and its queue holds 100
        step6_glob:   33 messages, a gap of 167, 100 messages
        step7_replay: 32 messages, a gap; after RESUME 268 messages, so 300 different ones
"""

from stage import Server, command, read_on, run, say, values


async def attack(server: Server, away: int) -> str:
    client, publisher = server.connect(), server.connect()
    await say(client, "SUBSCRIBE news")
    await say(publisher, "PUBLISH news 1")
    *_, last = values(client)
    client.reset()
    await say(publisher, *[f"PUBLISH news {number}" for number in range(2, 2 + away)])
    client = server.connect()
    await say(client, f"RESUME news {last[3]}" if len(last) == 4 else "SUBSCRIBE news")
    await say(publisher, f"PUBLISH news {2 + away}")
    got = [each[2] if each[0] == "message" else "a gap" for each in values(client)[1:]]
    return ", ".join(got if len(got) < 5 else [*got[:2], "...", got[-1]])


async def slow(server: Server) -> str:
    client, publisher = server.connect(), server.connect()
    await say(client, "SUBSCRIBE news")
    client.reads = False
    await publisher.send(*[command(b"PUBLISH", b"news", b"x" * 2_000)] * 300)
    await read_on(client)
    first, *items = values(client)
    gap = next(place for place, item in enumerate(items) if item[0] == "gap")
    seen = items[:gap]
    if len(first) == 4:  # the server gives ids
        await say(client, "UNSUBSCRIBE news", f"RESUME news {seen[-1][3]}")
        _, _, *items = values(client)
        different = {item[3] for item in seen + items}
        return f"{gap} messages, a gap; after RESUME {len(items)} messages, so {len(different)} different ones"
    return f"{gap} messages, a gap of {items[gap][1]}, {len(items) - gap - 1} messages"


for away in 2, 1_000, 1_001:
    print(f"the client gets message 1, loses its connection, misses {away:,} messages, and comes back for one more")
    print("    step6_glob:  ", run("step6_glob", attack, away))
    print("    step7_replay:", run("step7_replay", attack, away))
print("a client is too slow for 300 messages, and its queue holds 100")
print("    step6_glob:  ", run("step6_glob", slow))
print("    step7_replay:", run("step7_replay", slow))
