r"""The attack on step 1: a message of two lines, and a client that wants only the weather.

The end of a line is the end of a message. So no message can hold a line break: it would arrive as two messages, and the
second one looks as if somebody had sent it. It prints:

    the publisher sends one message, 'rain\nall: go home'
        step1_lines:  the reader gets 2 messages: 'rain', 'all: go home'
        step2_topics: the reader gets 1 message: 'rain\nall: go home'
    another one sends 'chess: e4', and the reader wants the weather
        step1_lines:  the reader gets 1 message: 'chess: e4'
        step2_topics: the reader gets 0 messages
"""

from stage import Server, command, run, say, values

ATTACKS = {
    r"the publisher sends one message, 'rain\nall: go home'": (b"weather", b"rain\nall: go home"),
    "another one sends 'chess: e4', and the reader wants the weather": (b"chess", b"chess: e4"),
}


async def lines(server: Server, topic: bytes, message: bytes) -> list[str]:
    reader, publisher = server.connect(), server.connect()
    await publisher.send(message + b"\n")
    return reader.received.decode().splitlines()


async def topics(server: Server, topic: bytes, message: bytes) -> list[str]:
    reader, publisher = server.connect(), server.connect()
    await say(reader, "SUBSCRIBE weather")
    await publisher.send(command(b"PUBLISH", topic, message))
    return [data for kind, _, data in values(reader) if kind == "message"]


for name, arguments in ATTACKS.items():
    print(name)
    for step, attack in {"step1_lines: ": lines, "step2_topics:": topics}.items():
        got = run(step.strip(" :"), attack, *arguments)
        shown = f": {', '.join(repr(each) for each in got)}" if got else ""
        print(f"    {step} the reader gets {len(got)} message{'s' * (len(got) != 1)}{shown}")
