r"""The attacks on step 2: three ways to make a server use more memory than it has.

The first client announces a string of ten billion bytes, and sends some of them. The second client sends an array in
an array, and so on, 5,000 deep. Step 2 calls itself for each array, and Python allows about 1,000 nested calls.
The third client subscribes, and does not read. It prints:

    a string of 9999999999 bytes is announced
        step2_topics: 2,000,000 bytes sent, the connection is open, no answer
        step3_limits: 0 bytes sent, the connection is closed, ERR Protocol error: invalid length
    arrays within arrays, 5,000 deep
        step2_topics: RecursionError in the server, the connection is closed, no answer
        step3_limits: no error in the server, the connection is closed, ERR Protocol error: invalid length
    a subscriber that does not read
        step2_topics: messages published: 100, 5,003,700 bytes wait in memory
        step3_limits: messages published: 1, 100,074 bytes wait in memory
"""

from stage import Client, Server, command, run, say, shown, values


def result(client: Client) -> str:
    return f"the connection is {'open' if client.open else 'closed'}, {shown(client)}"


async def announce(server: Server) -> str:
    client = server.connect()
    await client.send(b"*1\r\n$9999999999\r\n")
    sent = 0
    while client.open and sent < 2_000_000:
        await client.send(b"x" * 50_000)
        sent += 50_000
    return f"{sent:,} bytes sent, {result(client)}"


async def nest(server: Server) -> str:
    client = server.connect()
    await client.send(b"*1\r\n" * 5_000)
    return f"{server.failures[0] if server.failures else 'no error'} in the server, {result(client)}"


async def do_not_read(server: Server) -> str:
    subscriber, publisher = server.connect(), server.connect()
    await say(subscriber, "SUBSCRIBE news")
    subscriber.reads = False
    await publisher.send(*[command(b"PUBLISH", b"news", bytes(50_000))] * 100)
    return f"messages published: {len(values(publisher))}, {subscriber.unread:,} bytes wait in memory"


for name, attack in {
    "a string of 9999999999 bytes is announced": announce,
    "arrays within arrays, 5,000 deep": nest,
    "a subscriber that does not read": do_not_read,
}.items():
    print(name)
    print("    step2_topics:", run("step2_topics", attack))
    print("    step3_limits:", run("step3_limits", attack))
