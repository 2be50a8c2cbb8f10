r"""Step 3: limits. Whatever a client can make the server store has a bound, and the bound is checked at once.

A length is a claim: ``$9999999999\r\n`` has 13 bytes, and announces ten billion bytes. The server checks it when its line
ends, before a byte of the string arrives. A command is an array of strings and never an array of arrays, so the parser needs
no recursion. Limits multiply: 1,000 strings of 65,536 bytes would be 65 MB. So the command as a whole has a limit, too.

The answers and messages that a client does not read have a bound as well: the server waits for each client (``drain``).

    python examples/steps/pubsub/step3_limits.py 8000
    redis-cli -p 8000 SUBSCRIBE news
    redis-cli -p 8000 PUBLISH news hello
"""

import asyncio
import contextlib
import re
import sys
from asyncio import StreamReader, StreamWriter
from typing import Any

MAX_LINE, MAX_STRING, MAX_COMMAND = 20, 65_536, 1_000_000  # bytes
MAX_STRINGS, MAX_TOPICS = 1_000, 100  # strings of a command, topics of a client

clients: dict[StreamWriter, dict[bytes, None]] = {}  # each client with its topics


class BadCommand(Exception):
    """The client broke a rule. It is unknown where its next command begins, so the connection has to end."""


def parse_command(data: bytes) -> tuple[list[bytes], int] | None:
    """Return the command at the beginning of the bytes, and the number of its bytes; None if it is not complete."""
    if (found := parse_length(data, 0, b"*", MAX_STRINGS)) is None:
        return None
    count, at = found
    strings: list[bytes] = []
    while len(strings) < count:
        if (found := parse_length(data, at, b"$", min(MAX_STRING, MAX_COMMAND - at))) is None:
            return None
        length, at = found
        if len(data) < at + length + 2:
            return None
        strings.append(data[at : at + length])
        at += length + 2
        if data[at - 2 : at] != b"\r\n":
            raise BadCommand("expected CRLF after a string")
    return strings, at


def parse_length(data: bytes, at: int, kind: bytes, most: int) -> tuple[int, int] | None:
    """Return the number in the line at a position, and the position after the line; None if the line is not complete."""
    line, end, _ = data[at : at + MAX_LINE].partition(b"\r\n")
    if not end and len(line) < MAX_LINE:
        return None
    if line[:1] != kind or not re.fullmatch(rb"[0-9]{1,10}", line[1:]) or int(line[1:]) > most:  # int() would accept "+5"
        raise BadCommand("invalid length")
    return int(line[1:]), at + len(line) + 2


def encode(value: bytes | int | str | list[Any]) -> bytes:
    """Return the bytes of a value: an array, a string, a number, or a line of text that begins with its type."""
    if isinstance(value, list):
        return b"*%d\r\n%b" % (len(value), b"".join(map(encode, value)))
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b":%d\r\n" % value if isinstance(value, int) else f"{value}\r\n".encode()


async def execute(client: StreamWriter, command: list[bytes]) -> bytes:
    """Do what a client says, and return the bytes of the answer."""
    verb, *arguments = command
    topics = clients[client]
    match verb.upper(), arguments:
        case b"PING", []:
            return encode("+PONG")
        case b"SUBSCRIBE", [topic] if len(topics) < MAX_TOPICS:
            topics[topic] = None
            return encode([b"subscribe", topic, len(topics)])
        case b"UNSUBSCRIBE", [topic]:
            topics.pop(topic, None)
            return encode([b"unsubscribe", topic, len(topics)])
        case b"PUBLISH", [topic, data]:
            return encode(await publish(topic, data))
    return encode("-ERR unknown command, a wrong number of arguments, or too many topics")


async def publish(topic: bytes, data: bytes) -> int:
    """Send a message to all subscribers of a topic, and wait until they read. Return their number."""
    subscribers = [client for client in clients if topic in clients[client]]
    for client in subscribers:
        client.write(encode([b"message", topic, data]))
        await client.drain()
    return len(subscribers)


async def converse(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer commands, one after the other, until the client ends the connection. Raises BadCommand."""
    data = b""
    while piece := await reader.read(65_536):
        data += piece
        while data and (found := parse_command(data)):
            command, size = found
            data = data[size:]
            if command:  # an empty array is not a command
                writer.write(await execute(writer, command))
                await writer.drain()


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end, whatever happens."""
    clients[writer] = {}
    try:
        await converse(reader, writer)
    except BadCommand as error:
        writer.write(encode(f"-ERR Protocol error: {error}"))
    except ConnectionError:  # the client has gone
        pass
    finally:
        del clients[writer]
        writer.close()


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # at Ctrl-C, Python 3.11 would print a traceback
            await serve_client(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    print(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()  # never set


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
