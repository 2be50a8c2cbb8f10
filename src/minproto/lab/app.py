"""The demo app: endpoints for real clients, one for each thing that an HTTP server has to get right.

The answer to ``GET /bytes/N`` has a Content-Length; the answer to ``GET /stream`` has no such field and is sent in chunks.
``POST /echo`` streams in both directions at once. ``/slow/async`` and ``/slow/sync`` wait equally long, but
requests to ``/slow/async`` wait at the same time, and requests to ``/slow/sync`` one after another. The tests with real
clients, the benchmarks and the lab's page all use these endpoints.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from minproto.aio.broker import Broker
from minproto.aio.http import Answer, Request, Response, not_allowed
from minproto.aio.observe import Metrics
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.lab.feeds import Feeds
from minproto.websocket import Limits

MAX_BYTES = 10 << 30
"""The maximum number of bytes that /bytes/N sends. They are generated as they are sent, so they cost no memory."""
MAX_SECONDS = 10.0
MAX_CHUNKS = 1_000_000
MAX_MESSAGE = 32 << 20
"""Bytes of the largest message that /ws sends back. A WebSocket's default limit is 1 MiB; tests try larger messages."""
HISTORY = 1_000
"""How many messages are kept for each topic, for clients that come back."""
BLOCK = bytes(range(256)) * 256  # 64 KiB

INDEX = """\
minproto: the demo app
  GET  /hello                            13 bytes
  POST /echo                             the request's content, streamed back
  GET  /bytes/N                          N bytes, length known
  GET  /stream?chunks=&size=&interval=   length unknown
  GET  /slow/async?seconds=              waits; other requests are served meanwhile
  GET  /slow/sync?seconds=               waits for its turn on one thread
  GET  /ws                               WebSocket: sends each message back
  GET  /chat?topic=&after=               WebSocket: sends to everybody on the topic; in a browser, a page that chats
  GET  /events?topic=&after=             Server-Sent Events; Last-Event-ID resumes, and counts more than after
  GET  /poll?topic=&after=               the messages since then, as JSON
  GET  /long-poll?topic=&after=          like /poll, but waits until there is a message
  POST /publish?topic=                   the content is the message; answers the number of receivers
  GET  /metrics                          figures for Prometheus
"""


class DemoApp:
    """The app. Its endpoints share a broker and one worker thread."""

    def __init__(self, metrics: Metrics, broker: Broker | None = None) -> None:
        self._metrics = metrics
        self._feeds = Feeds(broker or Broker(history=HISTORY))
        self._one_worker = ThreadPoolExecutor(1, "slow-sync")
        self._closed = threading.Event()

    def close(self) -> None:
        """Answer at once the requests that wait for a message or the worker thread: the server is about to stop."""
        self._feeds.close()
        self._closed.set()

    async def __call__(self, request: Request) -> Answer:
        """Answer a request. ``match`` is the whole router; paths that are not listed here belong to ``Feeds``."""
        match request.method, request.path:
            case "GET", "/hello":
                return Response(b"Hello, World!", 200, [("content-type", "text/plain")])
            case "POST", "/echo":
                kind = request.headers.get("content-type", "application/octet-stream") or ""
                return Response(request.body, headers=[("content-type", kind)])
            case "GET", "/stream":
                return _stream(request)
            case "GET", "/slow/async":
                await asyncio.sleep(_seconds(request))
                return Response.text("done\n")
            case "GET", "/slow/sync":  # the thread sleeps, and the event loop does not; the next such request has to wait
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._one_worker, self._closed.wait, _seconds(request))
                return Response.text("done\n")
            case "GET", "/ws":
                return upgrade(request, _echo, limits=Limits(max_message=MAX_MESSAGE))
            case "GET", "/metrics":
                return Response(self._metrics.render().encode(), headers=[("content-type", "text/plain; version=0.0.4")])
            case "GET", "/":
                return Response.text(INDEX)
            case method, path if path.startswith("/bytes/"):
                return _bytes(path.removeprefix("/bytes/")) if method == "GET" else not_allowed("GET", "HEAD")
            case _, "/echo":
                return not_allowed("POST")
            case _, "/hello" | "/stream" | "/slow/async" | "/slow/sync" | "/ws" | "/metrics" | "/":
                return not_allowed("GET", "HEAD")
        return await self._feeds(request)


async def _echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def _bytes(number: str) -> Response:
    """Answer with N bytes, and their number in Content-Length, so that a client can show its progress."""
    if not (number.isascii() and number.isdigit() and len(number) < 12):
        return Response.text("not found\n", 404)
    count = int(number)
    if count > MAX_BYTES:
        return Response.text(f"at most {MAX_BYTES} bytes\n", 400)
    headers = [("content-type", "application/octet-stream"), ("content-length", str(count))]
    return Response(_blocks(count), headers=headers)


async def _blocks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count // len(BLOCK)):
        yield BLOCK
    yield BLOCK[: count % len(BLOCK)]


def _stream(request: Request) -> Response:
    """Answer with chunks at an interval. The server does not know the length, so the response has no Content-Length."""
    query = request.query
    try:
        chunks, size = int(query.get("chunks", "10")), int(query.get("size", "1024"))
        interval = float(query.get("interval", "0"))
    except ValueError:
        return Response.text("chunks and size have to be integers, interval a number of seconds\n", 400)
    if not (0 <= chunks <= MAX_CHUNKS and 0 <= size <= len(BLOCK) and 0 <= interval <= MAX_SECONDS):
        return Response.text(f"at most {MAX_CHUNKS} chunks of {len(BLOCK)} bytes, {MAX_SECONDS:g} s apart\n", 400)
    return Response(_chunks(chunks, size, interval), headers=[("content-type", "application/octet-stream")])


async def _chunks(chunks: int, size: int, interval: float) -> AsyncIterator[bytes]:
    for number in range(chunks):
        if number and interval:
            await asyncio.sleep(interval)
        yield BLOCK[:size]


def _seconds(request: Request) -> float:
    """Return the seconds to wait: 1 unless the query says something else, and at most MAX_SECONDS."""
    try:
        seconds = float(request.query.get("seconds", "1"))
    except ValueError:
        return 1.0
    return min(max(seconds, 0.0), MAX_SECONDS) if seconds == seconds else 1.0  # "nan" is a float, too
