r"""Step 2: topics and lengths. The broker speaks the protocol of Redis, so redis-cli works.

A client subscribes to *topics* (Redis calls them channels), and gets the messages of these topics alone. A line cannot hold a
message with a line break. So each string comes with its length, and may hold any bytes:

    *3\r\n $7\r\nPUBLISH\r\n $4\r\nnews\r\n $5\r\nhello\r\n       an array of 3 strings, of 7, 4 and 5 bytes

The server keeps all bytes that have arrived, and parses them from the beginning, so a segment may end anywhere. Try it:

    python examples/steps/pubsub/step2_topics.py 8000
    redis-cli -p 8000 SUBSCRIBE news
    redis-cli -p 8000 PUBLISH news hello
"""

import asyncio
import contextlib
import sys
from asyncio import StreamReader, StreamWriter
from typing import Any

clients: dict[StreamWriter, dict[bytes, None]] = {}  # each client with its topics


def parse_value(data: bytes, at: int = 0) -> tuple[Any, int] | None:
    """Return the value that begins at a position, and the position after it; None if the value is not complete."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, number, at = data[at : at + 1], int(data[at + 1 : end]), end + 2
    if kind == b"$":  # a string of this many bytes
        return (data[at : at + number], at + number + 2) if len(data) >= at + number + 2 else None
    values = []
    for _ in range(number):  # an array of this many values
        if (found := parse_value(data, at)) is None:
            return None
        value, at = found
        values.append(value)
    return values, at


def encode(value: bytes | int | str | list[Any]) -> bytes:
    """Return the bytes of a value: an array, a string, a number, or a line of text that begins with its type."""
    if isinstance(value, list):
        return b"*%d\r\n%b" % (len(value), b"".join(map(encode, value)))
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b":%d\r\n" % value if isinstance(value, int) else f"{value}\r\n".encode()


def execute(client: StreamWriter, command: list[bytes]) -> bytes:
    """Do what a client says, and return the bytes of the answer."""
    verb, *arguments = command
    topics = clients[client]
    match verb.upper(), arguments:
        case b"PING", []:
            return encode("+PONG")
        case b"SUBSCRIBE", [topic]:
            topics[topic] = None
            return encode([b"subscribe", topic, len(topics)])
        case b"UNSUBSCRIBE", [topic]:
            topics.pop(topic, None)
            return encode([b"unsubscribe", topic, len(topics)])
        case b"PUBLISH", [topic, data]:
            return encode(publish(topic, data))
    return encode("-ERR unknown command, or a wrong number of arguments")


def publish(topic: bytes, data: bytes) -> int:
    """Send a message to all subscribers of a topic. Return their number."""
    subscribers = [client for client in clients if topic in clients[client]]
    for client in subscribers:
        client.write(encode([b"message", topic, data]))
    return len(subscribers)


async def serve_client(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer commands, one after the other, until the client ends the connection."""
    clients[writer] = {}
    data = b""
    try:
        while piece := await reader.read(65_536):
            data += piece
            while data and (found := parse_value(data)):
                command, size = found
                data = data[size:]
                writer.write(execute(writer, command))
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
