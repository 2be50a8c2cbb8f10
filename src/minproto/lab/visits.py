"""Short visits to the lab's own servers, by the package's own clients, so that the page can show the wire without a terminal.

A button on the page starts a visit, such as "http2": two requests side by side on one connection.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from minproto.aio.http1_client import connect_http
from minproto.aio.http2_client import connect_http2
from minproto.aio.websocket_client import connect
from minproto.resp import encode_command

HOST = "127.0.0.1"
SECONDS = 5.0
"""How many seconds a whole visit may take."""


async def _request(port: int) -> None:
    async with await connect_http(HOST, port) as client:
        await (await client.request("GET", "/hello")).read()


async def _chunks(port: int) -> None:
    """Send content of unknown length, and receive it: chunks in both directions."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one, ", b"two, ", b"three"):
            yield piece

    async with await connect_http(HOST, port) as client:
        await (await client.request("POST", "/echo", [("content-type", "text/plain")], body=pieces())).read()


async def _events(port: int) -> None:
    """Read an event stream on one connection, and publish to its topic on another."""
    async with await connect_http(HOST, port) as listener, await connect_http(HOST, port) as publisher:
        stream = await listener.request("GET", "/events?topic=wire", [("accept", "text/event-stream")])
        await anext(stream)
        await (await publisher.request("POST", "/publish?topic=wire", body=b"two\nlines")).read()
        await anext(stream)


async def _websocket(port: int) -> None:
    """Exchange a message that compresses well, and a Ping."""
    async with await connect(f"ws://{HOST}:{port}/ws") as ws:
        await ws.send("hello, hello, hello, hello")
        await ws.receive()
        await ws.ping()


async def _http2(port: int) -> None:
    """Make two requests side by side. In clear text this is HTTP/2 with prior knowledge (RFC 9113 §3.3)."""
    async with await connect_http2(HOST, port) as client:
        responses = await asyncio.gather(client.request("GET", "/hello"), client.request("GET", "/bytes/20"))
        await asyncio.gather(*(response.read() for response in responses))


async def _malformed(port: int) -> None:
    """Send a space between a field's name and its colon, to which a server MUST reply with a 400 (RFC 9112 §5.1)."""
    await _exchange(port, b"GET /hello HTTP/1.1\r\nHost : localhost\r\n\r\n")


async def _redis(port: int) -> None:
    await _exchange(port, encode_command([b"PUBLISH", b"updates", b"hello"]), encode_command([b"QUIT"]))


async def _exchange(port: int, *messages: bytes) -> None:
    """Send each message, and wait for some answer before sending the next message."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for message in messages:
            writer.write(message)
            await reader.read(65_536)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


VISITS: dict[str, Callable[[int], Awaitable[None]]] = {
    "request": _request,
    "chunks": _chunks,
    "events": _events,
    "websocket": _websocket,
    "http2": _http2,
    "malformed": _malformed,
    "redis": _redis,
}
"""The visits by name. Each takes a port: the RESP port for "redis", the port for HTTP in clear text for the others."""


async def visit(name: str, port: int) -> None:
    """Make a visit. Raises OSError (of which TimeoutError is a subclass) if the visit fails."""
    async with asyncio.timeout(SECONDS):
        await VISITS[name](port)
