r"""The attack on step 4, which needs no attacker: a subscriber wants all news, and somebody publishes on a new topic. The
subscriber can only list the topics that it knows. It prints:

    messages on news.de and news.uk, for a client that knows news.de and news.fr, and wants all news
        step4_queues:   [message news.de rain]
        step5_patterns: [pmessage news.* news.de rain], [pmessage news.* news.uk fog]
"""

from stage import Server, run, say, shown, values


async def attack(server: Server, *subscriptions: str) -> str:
    subscriber, publisher = server.connect(), server.connect()
    await say(subscriber, *subscriptions)
    values(subscriber)  # the answers
    await say(publisher, "PUBLISH news.de rain", "PUBLISH news.uk fog")
    return shown(subscriber)


print("messages on news.de and news.uk, for a client that knows news.de and news.fr, and wants all news")
print("    step4_queues:  ", run("step4_queues", attack, "SUBSCRIBE news.de", "SUBSCRIBE news.fr"))
print("    step5_patterns:", run("step5_patterns", attack, "PSUBSCRIBE news.*"))
