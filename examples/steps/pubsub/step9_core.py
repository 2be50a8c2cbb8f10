r"""Step 9: the contract of a core. Bytes in, commands out; answers in, bytes out; no socket, and no clock.

``Connection`` is the core of RESP in minproto (``src/minproto/resp.py``). It keeps the contract of all cores (``core.py``):
``receive_data`` stores bytes, and ``next_event`` returns a command, or None if the next command is not complete. The core
remembers where it is. The strings that it has read leave the buffer, so no byte is parsed twice:

    receive_data(b"*2\r\n$4\r\nECHO\r\n$2\r\nh")      next_event() -> None: ECHO is read, and "h" waits
    receive_data(b"i\r\n")                           next_event() -> Command([b"ECHO", b"hi"])

The rest of this file is the shell. The real broker has more. Where it is, in ``src/minproto/``:

    a table of topics, so that a message does not look at each client                 Broker in broker.py
    a log for each topic; queues bounded in bytes; three policies for a full one      _Log, Limits, Overflow in broker.py
    classes in patterns: [a-c]                                                        glob in broker.py
    one write for all messages of a moment                                            Switchboard in session.py
    the other commands of Redis, version 3 of RESP, and a password                    commands.py, stream_commands.py
    a time limit for half a command, and an end for a client that does not read       aio/resp.py
    TLS, and a limit on the number of connections                                     aio/listener.py

    python examples/steps/pubsub/step9_core.py 8000
    redis-cli -p 8000 SUBSCRIBE news
    nc 127.0.0.1 8000                                 this core reads typed commands, too: PUBLISH news hello
"""

import asyncio
import contextlib
import re
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import deque

from minproto.core import SERVER, RemoteProtocolError, Wants
from minproto.resp import Command, Connection, Error, Limits, Simple
from minproto.resp import encode_value as encode

LIMITS = Limits(max_bulk=65_536, max_command=1_000_000, max_array=1_000)  # two in bytes; max_array: strings of a command
MAX_NAME, MAX_TOPICS = 1_000, 100  # bytes of a name, topics and patterns of a client
MAX_QUEUE, MAX_LOG, DRAIN_TIME = 100, 1_000, 10.0  # messages that wait for a client, messages of the log, seconds


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
        return b"".join(encode(each) for each in [[b"gap", Simple("unknown")]] * gap + messages)


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
        return encode(Error("ERR the name of a topic, or a pattern, is too long"))
    match verb.upper(), arguments:
        case b"PING", []:
            return encode(Simple("PONG"))
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
    return encode(Error("ERR unknown command, a wrong number of arguments, or too many topics"))


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


async def converse(reader: StreamReader, client: Client, core: Connection) -> None:
    """Answer commands, one after the other, until the client ends the connection. Raises RemoteProtocolError."""
    while core.wants is not Wants.CLOSED:
        piece = await reader.read(65_536)
        core.receive_data(piece) if piece else core.receive_eof()
        for command in core.events():
            assert isinstance(command, Command)
            answer = execute(client, command.arguments)
            client.flush()  # messages published before come before the answer
            client.writer.write(answer)
            await client.writer.drain()


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client, and close the connection in the end, whatever happens."""
    client, core = Client(writer), Connection(SERVER, LIMITS)
    clients[client] = None
    pump = asyncio.create_task(client.pump())
    try:
        await converse(reader, client, core)
    except RemoteProtocolError as error:
        client.flush()
        for event in core.farewell(error):  # the error, as Redis says it
            writer.write(core.send(event))
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
