r"""Step 8: order, one encoding, and a clean stop.

A client gets its messages and its answers in the order in which the server made them. So before the server writes an answer,
it writes the messages that wait in the queue: no message of a topic comes after the answer to UNSUBSCRIBE. A message is
encoded once, and all subscribers get the same bytes. When the server stops, it writes the messages that wait, and closes each
connection when the client has read them. It ends after DRAIN_TIME seconds in any case.

A message is delivered *at most once*: when it leaves the queue, the server forgets that it was for this client. If the
connection breaks on the way, the client asks for the message with RESUME.

    python examples/steps/pubsub/step8_order.py 8000
    redis-cli -p 8000 SUBSCRIBE news
    redis-cli -p 8000 PUBLISH news hello
"""

import asyncio
import contextlib
import re
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import deque
from typing import Any

MAX_LINE, MAX_NAME, MAX_STRING, MAX_COMMAND = 20, 1_000, 65_536, 1_000_000  # bytes
MAX_STRINGS, MAX_TOPICS = 1_000, 100  # strings of a command, topics and patterns of a client
MAX_QUEUE, MAX_LOG, DRAIN_TIME = 100, 1_000, 10.0  # messages that wait for a client, messages of the log, seconds


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


class Log:
    """The last messages of all topics, and the id of the newest one."""

    def __init__(self) -> None:
        self.start = self.newest = int(time.time() * 1_000)  # no message up to the id ``start`` is kept
        self.messages: deque[tuple[int, bytes, bytes]] = deque()

    def append(self, topic: bytes, data: bytes) -> None:
        """Give the next id to a message and keep it; drop the oldest message if there is no room."""
        self.newest += 1
        self.messages.append((self.newest, topic, data))
        if len(self.messages) > MAX_LOG:
            self.start = self.messages.popleft()[0]

    def replay(self, topic: bytes, seen: int) -> bytes:
        """Return the messages of a topic after an id, and before them a gap if some may be missing."""
        gap = not self.start <= seen <= self.newest  # a larger id comes from another server
        messages = [[b"message", *message, id] for id, *message in self.messages if message[0] == topic and (gap or id > seen)]
        return b"".join(encode(each) for each in [[b"gap", "+unknown"]] * gap + messages)


log = Log()


class Client:
    """A connection: its topics and patterns, and the messages that wait for it."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer
        self.topics: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.queue: deque[bytes] = deque()
        self.dropped = 0  # messages in front of the queue that were dropped
        self.filled = asyncio.Event()

    def count(self) -> int:
        """Return the number of subscriptions."""
        return len(self.topics) + len(self.patterns)

    def put(self, message: bytes) -> None:
        """Queue a message, and drop the oldest one if there is no room. This never waits."""
        if len(self.queue) == MAX_QUEUE:
            self.queue.popleft()
            self.dropped += 1
        self.queue.append(message)
        self.filled.set()

    def flush(self) -> None:
        """Write all that is queued, without waiting."""
        if self.dropped:
            self.writer.write(encode([b"gap", self.dropped]))
        self.writer.write(b"".join(self.queue))
        self.queue.clear()
        self.dropped = 0
        self.filled.clear()

    async def pump(self) -> None:
        """Write what is queued, as fast as the client reads it."""
        with contextlib.suppress(ConnectionError):
            while await self.filled.wait():
                self.flush()
                await self.writer.drain()

    async def finish(self) -> None:
        """Write what is queued, and close the connection when the client has read it, or after DRAIN_TIME seconds."""
        self.flush()
        self.writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(DRAIN_TIME):
                await self.writer.wait_closed()


clients: dict[Client, None] = {}  # a dict without values is a set that keeps its order


def execute(client: Client, command: list[bytes]) -> bytes:
    """Do what a client says, and return the bytes of the answer."""
    verb, *arguments = command
    if arguments and len(arguments[0]) > MAX_NAME:
        return encode("-ERR the name of a topic, or a pattern, is too long")
    match verb.upper(), arguments:
        case b"PING", []:
            return encode("+PONG")
        case b"SUBSCRIBE" | b"PSUBSCRIBE" as kind, [name] if client.count() < MAX_TOPICS:
            (client.topics if kind == b"SUBSCRIBE" else client.patterns)[name] = None
            return encode([kind.lower(), name, client.count(), log.newest])
        case b"RESUME", [topic, seen] if client.count() < MAX_TOPICS and topic not in client.topics:
            client.topics[topic] = None
            id = int(seen) if re.fullmatch(rb"[0-9]{1,20}", seen) else -1  # not an id: a gap comes first, then all of the log
            return encode([b"subscribe", topic, client.count(), log.newest]) + log.replay(topic, id)
        case b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" as kind, [name]:
            (client.topics if kind == b"UNSUBSCRIBE" else client.patterns).pop(name, None)
            return encode([kind.lower(), name, client.count()])
        case b"PUBLISH", [topic, data]:
            return encode(publish(topic, data))
    return encode("-ERR unknown command, a wrong number of arguments, or too many topics")


def publish(topic: bytes, data: bytes) -> int:
    """Queue a message for all subscriptions that match. Return their number."""
    count = 0
    log.append(topic, data)
    message = encode([b"message", topic, data, log.newest])
    patterns = {pattern for client in clients for pattern in client.patterns}
    found = {each: encode([b"pmessage", each, topic, data, log.newest]) for each in patterns if matches(each, topic)}
    for client in clients:
        due = [message] * (topic in client.topics) + [found[each] for each in client.patterns if each in found]
        count += len(due)
        for each in due:
            client.put(each)
    return count


def matches(pattern: bytes, topic: bytes) -> bool:
    """Return whether a pattern matches a topic. Only the last star is tried again."""
    at = where = 0  # in the pattern, and in the topic
    star, begin = -1, 0  # the place of the last star, and where the bytes after it begin in the topic
    while where < len(topic):
        if pattern[at : at + 1] == b"*":
            star, begin, at = at, where, at + 1  # for now, the star takes nothing
        elif at < len(pattern) and fits(pattern[at], topic[where]):
            at, where = at + 1, where + 1
        elif star >= 0:
            begin += 1  # the star takes one byte more
            at, where = star + 1, begin
        else:
            return False
    return not pattern[at:].strip(b"*")


def fits(part: int, byte: int) -> bool:
    """Return whether a byte of a pattern matches a byte of a topic."""
    return part in (ord("?"), byte)


async def converse(reader: StreamReader, client: Client) -> None:
    """Answer commands, one after the other, until the client ends the connection. Raises BadCommand."""
    data = b""
    while piece := await reader.read(65_536):
        data += piece
        while data and (found := parse_command(data)):
            command, size = found
            data = data[size:]
            if command:  # an empty array is not a command
                answer = execute(client, command)
                client.flush()  # messages published before come before the answer
                client.writer.write(answer)
                await client.writer.drain()


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end, whatever happens."""
    client = Client(writer)
    clients[client] = None
    pump = asyncio.create_task(client.pump())
    try:
        await converse(reader, client)
    except BadCommand as error:
        client.flush()
        writer.write(encode(f"-ERR Protocol error: {error}"))
    except ConnectionError:  # the client has gone
        pass
    finally:
        del clients[client]
        pump.cancel()
        writer.close()


async def main(port: int) -> None:
    """Listen on 127.0.0.1, print the URL, and serve until Ctrl-C. Port 0 lets the system choose a port."""
    server = await asyncio.start_server(serve_client, "127.0.0.1", port)
    print(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    try:
        await asyncio.Event().wait()  # never set
    finally:  # asyncio turns Ctrl-C into a CancelledError
        server.close()
        await asyncio.gather(*[client.finish() for client in clients])


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(f"no port to listen on: {error}")
    except KeyboardInterrupt:
        pass
