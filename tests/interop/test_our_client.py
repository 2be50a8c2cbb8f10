"""Our client against servers that others wrote, and against our own over TLS."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import pytest

from minproto import ClientConnection, RemoteProtocolError, connect_http, connect_http2

from .serving import Serving

BODY = b"0123456789" * 10_000


async def pieces(*, pause: bool = False) -> AsyncIterator[bytes]:
    """BODY in pieces, one of them empty."""
    yield b""
    for start in range(0, len(BODY), 10_000):
        yield BODY[start : start + 10_000]
        if pause:
            await asyncio.sleep(0.01)


# ---- the servers: each answers GET /hello and /unknown (of unknown length), HEAD, and POST /echo ---------------------


class Handler(BaseHTTPRequestHandler):
    """For Python's own server, in HTTP/1.0: it ends each response with the connection."""

    timeout = 5

    def do_GET(self) -> None:
        known = self.path == "/hello"
        self._answer(b"Hello, World!" if known else BODY, known=known)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if self.headers["transfer-encoding"] != "chunked":
            return self._answer(self.rfile.read(int(self.headers["content-length"])))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            assert self.rfile.readline() == b"\r\n"
        assert self.rfile.readline() == b"\r\n"
        self._answer(content)

    def _answer(self, content: bytes, *, known: bool = True) -> None:
        self.send_response(200)
        if known:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class PersistentHandler(Handler):
    """The same in HTTP/1.1: it keeps the connection, but for content of unknown length."""

    protocol_version = "HTTP/1.1"

    def end_headers(self) -> None:
        if self.path == "/unknown":
            self.send_header("Connection", "close")
        super().end_headers()


@asynccontextmanager
async def standard(handler: type[Handler]) -> AsyncIterator[int]:
    """Python's own server, threaded; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            await asyncio.to_thread(server.shutdown)
            thread.join()


async def asgi(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """The app for uvicorn."""
    if scope["path"] == "/echo":
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message.get("body", b""), message.get("more_body", False)
    else:
        content = b"Hello, World!" if scope["path"] == "/hello" else BODY
    length = [] if scope["path"] == "/unknown" else [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def uvicorn_server(uvicorn: ModuleType, http: str) -> AsyncIterator[int]:
    """uvicorn with one of its parsers; its port."""
    server = uvicorn.Server(uvicorn.Config(asgi, port=0, http=http, lifespan="off", log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(5):
        while not server.started:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def aiohttp_server(aiohttp: ModuleType) -> AsyncIterator[int]:
    """aiohttp's server; its port."""
    from aiohttp import web

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/unknown":
            response = web.StreamResponse()
            await response.prepare(request)
            if request.method != "HEAD":
                await response.write(BODY)
            return response
        return web.Response(body=await request.read() if request.path == "/echo" else b"Hello, World!")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


SERVERS = ["http.server 1.0", "http.server 1.1", "uvicorn h11", "uvicorn httptools", "aiohttp"]


@pytest.fixture(params=SERVERS)
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of one server after the other."""
    library, _, variant = request.param.partition(" ")
    if library == "http.server":
        running = standard(Handler if variant == "1.0" else PersistentHandler)
    elif library == "uvicorn":
        request.getfixturevalue("h11") if variant == "h11" else pytest.importorskip("httptools")
        running = uvicorn_server(request.getfixturevalue("uvicorn"), variant)
    else:
        running = aiohttp_server(request.getfixturevalue("aiohttp"))
    async with running as port:
        yield port


@asynccontextmanager
async def client(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[ClientConnection]:
    """A connection of ours, for ten seconds at most."""
    async with asyncio.timeout(10):
        connection = await connect_http("127.0.0.1", port, ssl=context)
        try:
            yield connection
        finally:
            await connection.close()


# ---- the tests -------------------------------------------------------------------------------------------------------


async def test_get(port: int) -> None:
    """Content of known length, and of unknown length: in chunks, or ended by the connection."""
    for target, content in (("/hello", b"Hello, World!"), ("/unknown", BODY)):
        async with client(port) as connection:
            response = await connection.request("GET", target)
            assert (response.status, await response.read()) == (200, content)


async def test_head(port: int) -> None:
    """A response to HEAD ends with its head, whatever its fields say."""
    async with client(port) as connection:
        response = await connection.request("HEAD", "/hello")
        assert (response.headers.get("content-length"), await response.read()) == ("13", b"")


async def test_post(port: int) -> None:
    """Content of known length arrives, none among it."""
    for body in (b"", b"ping", BODY):
        async with client(port) as connection:
            assert await (await connection.request("POST", "/echo", body=body)).read() == body


async def test_post_in_chunks(port: int) -> None:
    """Content that is made while it is sent arrives in chunks."""
    async with client(port) as connection:
        assert await (await connection.request("POST", "/echo", body=pieces(pause=True))).read() == BODY


@pytest.mark.parametrize("port", SERVERS[1:], indirect=True)
async def test_keep_alive(port: int) -> None:
    """One connection carries requests of all kinds; of unknown length is the last, which may end it."""
    async with client(port) as connection:
        for _ in range(3):
            assert await (await connection.request("GET", "/hello")).read() == b"Hello, World!"
            assert await (await connection.request("POST", "/echo", body=pieces())).read() == BODY
            assert await (await connection.request("HEAD", "/hello")).read() == b""
            assert await (await connection.request("POST", "/echo", body=b"ping")).read() == b"ping"
        assert await (await connection.request("GET", "/unknown")).read() == BODY


@pytest.mark.parametrize("port", SERVERS[:1], indirect=True)
async def test_no_keep_alive(port: int) -> None:
    """After a response of HTTP/1.0 nothing more can be asked."""
    async with client(port) as connection:
        await (await connection.request("GET", "/hello")).read()
        with pytest.raises(ConnectionError, match="used up"):
            await connection.request("GET", "/hello")


async def test_our_server_over_tls(tls: Serving, trust: ssl.SSLContext) -> None:
    """Ours with ours, in TLS."""
    async with client(tls.port, trust) as connection:
        assert await (await connection.request("GET", "/hello")).read() == b"Hello, World!"
        assert await (await connection.request("POST", "/echo", body=BODY)).read() == BODY
        assert await (await connection.request("HEAD", "/bytes/5")).read() == b""
        assert (await connection.request("OPTIONS", "*")).status == 204


async def test_a_stranger(tls: Serving) -> None:
    """A certificate that nobody vouches for ends the attempt."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_http("127.0.0.1", tls.port, ssl=ssl.create_default_context())


async def test_both_ways_at_once(clear: Serving) -> None:
    """A response that begins before the upload has ended does not end it (RFC 9112 §9.5: only a refusal would)."""
    async with asyncio.timeout(1), client(clear.port) as connection:
        assert await (await connection.request("POST", "/echo", body=pieces(pause=True))).read() == BODY


@pytest.mark.parametrize("connect", [connect_http, connect_http2])
async def test_tls_to_a_port_in_clear_text(clear: Serving, connect: Any) -> None:
    """The error says so: OpenSSL's own is WRONG_VERSION_NUMBER."""
    with pytest.raises(ConnectionError, match=rf"127.0.0.1:{clear.port} does not speak TLS"):
        await connect("127.0.0.1", clear.port, ssl.create_default_context())


@pytest.mark.parametrize("connect", [connect_http, connect_http2])
async def test_a_server_that_goes_during_the_handshake_of_tls(connect: Any) -> None:
    """As one behind a proxy that is restarted: asyncio's own error has no text."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionResetError, match=f"127.0.0.1:{port} ended the connection during the TLS handshake"):
            await connect("127.0.0.1", port, ssl.create_default_context())


@pytest.mark.parametrize("connect", [connect_http, connect_http2])
async def test_clear_text_to_a_port_of_tls(tls: Serving, connect: Any) -> None:
    """A server that closes without a word gives the client nothing but a guess."""
    with pytest.raises(ConnectionError, match="does it want TLS on this port"):
        async with await connect("127.0.0.1", tls.port) as connection:
            await connection.request("GET", "/hello")


async def test_http2_where_tls_does_not_choose_it(tls: Serving, trust: ssl.SSLContext) -> None:
    """The error says what was chosen, and what to do."""
    with pytest.raises(RemoteProtocolError, match=r"HTTP/2 was not chosen, but no protocol: .*set_alpn_protocols"):
        await connect_http2("127.0.0.1", tls.port, trust)


@pytest.mark.parametrize("port", SERVERS[:1], indirect=True)
async def test_http2_to_a_server_without_it(port: int) -> None:
    """In clear text the server answers in its own version: this one in HTTP/0.9, with a page."""
    with pytest.raises((RemoteProtocolError, ConnectionError), match="the server said b'<!DOCTYPE"):
        async with await connect_http2("127.0.0.1", port) as connection:
            await connection.request("GET", "/hello")
