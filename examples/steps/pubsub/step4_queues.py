r"""Step 4: a queue for each subscriber. A publisher never waits, and a slow subscriber loses messages, and learns how many.

A publisher puts the message into the queue of each subscriber, and goes on. A task for each client, the *pump*, takes messages
from the queue, and waits while the client does not read. A queue is bounded: if it is full, its oldest message is dropped.
The server counts the dropped messages, and says so in the place where they are missing:

    *2\r\n $3\r\ngap\r\n :17\r\n       17 messages are missing here

    python examples/steps/pubsub/step4_queues.py 8000
    redis-cli -p 8000 SUBSCRIBE news
    redis-cli -p 8000 PUBLISH news hello
"""

import asyncio
import contextlib
import re
import sys
from asyncio import StreamReader, StreamWriter
from collections import deque
from typing import Any

MAX_LINE, MAX_STRING, MAX_COMMAND = 20, 65_536, 1_000_000  # bytes
MAX_STRINGS, MAX_TOPICS = 1_000, 100  # strings of a command, topics of a client
MAX_QUEUE = 100  # messages that may wait for a client


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


class Client:
    """A connection: its topics, and the messages that wait for it."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer
        self.topics: dict[bytes, None] = {}
        self.queue: deque[bytes] = deque()
        self.dropped = 0  # messages in front of the queue that were dropped
        self.filled = asyncio.Event()

    def put(self, message: bytes) -> None:
        """Queue a message, and drop the oldest one if there is no room. This never waits."""
        if len(self.queue) == MAX_QUEUE:
            self.queue.popleft()
            self.dropped += 1
        self.queue.append(message)
        self.filled.set()

    async def pump(self) -> None:
        """Write what is queued, as fast as the client reads it."""
        with contextlib.suppress(ConnectionError):
            while await self.filled.wait():
                if self.dropped:
                    self.writer.write(encode([b"gap", self.dropped]))
                    self.dropped = 0
                self.writer.write(self.queue.popleft())
                if not self.queue:
                    self.filled.clear()
                await self.writer.drain()


clients: dict[Client, None] = {}  # a dict without values is a set that keeps its order


def execute(client: Client, command: list[bytes]) -> bytes:
    """Do what a client says, and return the bytes of the answer."""
    verb, *arguments = command
    topics = client.topics
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
            return encode(publish(topic, data))
    return encode("-ERR unknown command, a wrong number of arguments, or too many topics")


def publish(topic: bytes, data: bytes) -> int:
    """Queue a message for all subscribers of a topic. Return their number."""
    subscribers = [client for client in clients if topic in client.topics]
    for client in subscribers:
        client.put(encode([b"message", topic, data]))
    return len(subscribers)


async def converse(reader: StreamReader, client: Client) -> None:
    """Answer commands, one after the other, until the client ends the connection. Raises BadCommand."""
    data = b""
    while piece := await reader.read(65_536):
        data += piece
        while data and (found := parse_command(data)):
            command, size = found
            data = data[size:]
            if command:  # an empty array is not a command
                client.writer.write(execute(client, command))
                await client.writer.drain()


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end, whatever happens."""
    client = Client(writer)
    clients[client] = None
    pump = asyncio.create_task(client.pump())
    try:
        await converse(reader, client)
    except BadCommand as error:
        writer.write(encode(f"-ERR Protocol error: {error}"))
    except ConnectionError:  # the client has gone
        pass
    finally:
        del clients[client]
        pump.cancel()
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
