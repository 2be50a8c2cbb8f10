r"""The stage of the attackers: the network in memory of HTTP/1.1's attackers, and what a client of publish/subscribe sends.

    async def attack(server):
        client = server.connect()
        await say(client, "SUBSCRIBE news")
        return shown(client)

    print(run("step2_topics", attack))           # prints: [subscribe news 1]
"""

import asyncio
import importlib.util
import io
from pathlib import Path
from typing import Any

_spec = importlib.util.spec_from_file_location("network_of_http1", Path(__file__).parents[1] / "http1" / "network.py")
assert _spec is not None and _spec.loader is not None
_network = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_network)
run, Client, Server = _network.run, _network.Client, _network.Server


def command(*strings: bytes) -> bytes:
    """Return the bytes of a command: an array of strings."""
    return b"*%d\r\n%b" % (len(strings), b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in strings))


async def say(client: Client, *commands: str) -> None:
    """Send commands in one segment; blanks divide the strings of a command."""
    await client.send(b"".join(command(*each.encode().split(b" ")) for each in commands))


async def read_on(client: Client) -> None:
    """Let the client read the bytes that wait in the server's memory, and all later bytes."""
    client.read_all()
    await asyncio.sleep(0.001)


def values(client: Client) -> list[Any]:
    """Return the values that the client has received since the last call."""
    stream = io.BytesIO(client.received)
    client.received = b""
    found = []
    while stream.tell() < len(stream.getbuffer()):
        found.append(_read_value(stream))
    return found


def shown(client: Client) -> str:
    """Return the values that the client has received since the last call, as text."""
    return ", ".join(map(_show, values(client))) or "no answer"


def _read_value(stream: io.BytesIO) -> Any:
    """Return the next value: a str, or a list of values."""
    line = stream.readline().removesuffix(b"\r\n").decode()
    if line[0] == "*":
        return [_read_value(stream) for _ in range(int(line[1:]))]
    if line[0] == "$" and line != "$-1":
        return stream.read(int(line[1:]) + 2)[:-2].decode()
    return "?" if line == "$-1" else line[1:]


def _show(value: Any) -> str:
    return f"[{' '.join(map(_show, value))}]" if isinstance(value, list) else str(value)
