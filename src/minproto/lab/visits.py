"""Short visits to the lab's own servers, by the package's own clients: something to see for who has no terminal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from minproto.aio.http1 import connect_http
from minproto.aio.http2 import connect_http2
from minproto.aio.websocket import connect
from minproto.resp import encode_command

HOST = "127.0.0.1"
SECONDS = 5.0
"""For a whole visit."""


async def _request(port: int) -> None:
    async with await connect_http(HOST, port) as client:
        await (await client.request("GET", "/hello")).read()


async def _chunks(port: int) -> None:
    """Content of unknown length, in both directions."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one, ", b"two, ", b"three"):
            yield piece

    async with await connect_http(HOST, port) as client:
        await (await client.request("POST", "/echo", [("content-type", "text/plain")], body=pieces())).read()


async def _events(port: int) -> None:
    """An event stream, and somebody who publishes on its topic."""
    async with await connect_http(HOST, port) as listener, await connect_http(HOST, port) as publisher:
        stream = await listener.request("GET", "/events?topic=wire", [("accept", "text/event-stream")])
        await anext(stream)
        await (await publisher.request("POST", "/publish?topic=wire", body=b"two\nlines")).read()
        await anext(stream)


async def _websocket(port: int) -> None:
    """Compressed, as both ends like it; text, and a Ping."""
    async with await connect(f"ws://{HOST}:{port}/ws") as ws:
        await ws.send("hello, hello, hello, hello")
        await ws.receive()
        await ws.ping()


async def _http2(port: int) -> None:
    """With prior knowledge; two requests side by side."""
    async with await connect_http2(HOST, port) as client:
        responses = await asyncio.gather(client.request("GET", "/hello"), client.request("GET", "/bytes/20"))
        await asyncio.gather(*(response.read() for response in responses))


async def _malformed(port: int) -> None:
    """A blank before a colon, and what a server says to that (RFC 9112 §5.1)."""
    await _exchange(port, b"GET /hello HTTP/1.1\r\nHost : localhost\r\n\r\n")


async def _redis(port: int) -> None:
    await _exchange(port, encode_command([b"PUBLISH", b"updates", b"hello"]), encode_command([b"QUIT"]))


async def _exchange(port: int, *messages: bytes) -> None:
    """Send bytes, and read something after each."""
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
"""By name; each is given the port, of HTTP in clear text but for the last."""


async def visit(name: str, port: int) -> None:
    """Make a visit. Raises OSError where it does not go as it should (TimeoutError is one)."""
    async with asyncio.timeout(SECONDS):
        await VISITS[name](port)
