r"""The attack on step 5: one pattern with many stars.

The pattern is ``*a*a*b``, and the topic has letters ``a`` only. There is no ``b``, so nothing matches. Step 5 tries each way
of placing the stars before it knows that. With one star more the work is multiplied, and meanwhile the server
serves nobody. It prints:

    a topic of 24 letters a
        *a*b:         step5_patterns compares 300 times, step6_glob 24 times
        *a*a*b:       step5_patterns compares 2,324 times, step6_glob 24 times
        *a*a*a*b:     step5_patterns compares 12,950 times, step6_glob 24 times
        *a*a*a*a*b:   step5_patterns compares 55,454 times, step6_glob 24 times
        *a*a*a*a*a*b: step5_patterns compares 190,050 times, step6_glob 24 times
"""

from stage import Server, run, say, shown

TOPIC = "a" * 24


async def attack(server: Server, pattern: str) -> int:
    subscriber, publisher = server.connect(), server.connect()
    await say(subscriber, f"PSUBSCRIBE {pattern}")
    compared = server.count_calls("fits")
    await say(publisher, f"PUBLISH {TOPIC} hello")
    assert shown(publisher) == "0"
    return compared[0]


print(f"a topic of {len(TOPIC)} letters a")
for stars in range(1, 6):
    pattern = f"{'*a' * stars}*b"
    counts = [run(step, attack, pattern) for step in ("step5_patterns", "step6_glob")]
    print(f"    {pattern + ':':13} step5_patterns compares {counts[0]:,} times, step6_glob {counts[1]:,} times")
