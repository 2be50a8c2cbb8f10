"""HTTP/2 with libraries: httpx and grpcio as clients of our server; hypercorn and nghttpd as servers of our client."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minproto import (
    Answer,
    RemoteProtocolError,
    Request,
    RequestRefused,
    Response,
    Server,
    Timeouts,
    connect_http,
    connect_http2,
)

from .serving import Certificate, Serving, free_port, wait_until

BODY = bytes(range(256)) * 8_000


# ---- httpx -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def offering(trust: ssl.SSLContext) -> ssl.SSLContext:
    """A context that offers HTTP/2, and nothing else."""
    trust.set_alpn_protocols(["h2"])
    return trust


async def test_httpx(httpx: ModuleType, tls: Serving, trust: ssl.SSLContext) -> None:
    """Fifty requests at once on one connection, bodies both ways, and a stream that is left in the middle."""
    pytest.importorskip("h2", reason="httpx[http2] is not installed")
    async with httpx.AsyncClient(http2=True, verify=trust, base_url=tls.url, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post("/echo", content=BODY[:number]) for number in range(0, 50_000, 1_000)))
        assert [len(answer.content) for answer in answers] == list(range(0, 50_000, 1_000))
        assert {answer.http_version for answer in answers} == {"HTTP/2"}

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(BODY), 100_000):
                yield BODY[start : start + 100_000]

        assert (await client.post("/echo", content=pieces())).content == BODY
        async with client.stream("GET", "/bytes/1000000000") as response:
            assert len(await anext(response.aiter_raw())) > 0
        assert (await client.head("/bytes/777")).headers["content-length"] == "777"
        assert (await client.get("/nothing")).status_code == 404


# ---- grpcio ----------------------------------------------------------------------------------------------------------


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, and how long."""
    return b"\0" + len(message).to_bytes(4, "big") + message


async def messages(request: Request) -> AsyncIterator[bytes]:
    """Those of a request's content."""
    data = b""
    async for piece in request.body:
        data += piece
        while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
            yield data[5:end]
            data = data[end:]


class Service:
    """What each method does, and what became of the one without end."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        response = Response(self._content(request), headers=[("content-type", "application/grpc")])
        response.trailers.append(("grpc-status", "5" if request.path == "/test/Missing" else "0"))
        response.trailers.append(("grpc-message", "not there" if request.path == "/test/Missing" else ""))
        return response

    async def _content(self, request: Request) -> AsyncIterator[bytes]:
        try:
            async for message in messages(request):
                match request.path:
                    case "/test/Forever":
                        while True:
                            yield framed(message)
                            await asyncio.sleep(0.01)
                    case "/test/Count":
                        for number in range(int(message)):
                            yield framed(b"%d" % number)
                    case "/test/Missing":
                        return
                    case _:
                        yield framed(message.upper())
        finally:
            if request.path == "/test/Forever":
                self.cancelled.set()


async def test_grpcio() -> None:
    """Unary and streaming calls in both directions, large messages, an error status, a cancellation, a deadline."""
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    service = Service()
    options = [("grpc.max_receive_message_length", 1 << 30), ("grpc.enable_http_proxy", 0)]
    async with Server(service, port=0) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        shout = channel.unary_unary("/test/Shout")
        assert await asyncio.gather(*(shout(b"message %d" % number) for number in range(50))) == [
            b"MESSAGE %d" % number for number in range(50)
        ]
        assert await shout(b"x" * 3_000_000) == b"X" * 3_000_000
        assert [m async for m in channel.unary_stream("/test/Count")(b"1000")] == [b"%d" % n for n in range(1000)]
        assert [m async for m in channel.stream_stream("/test/Shout")(iter([b"a", b"b"]))] == [b"A", b"B"]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/test/Missing")(b"")
        assert (error.value.code(), error.value.details()) == (grpc.StatusCode.NOT_FOUND, "not there")
        call = channel.unary_stream("/test/Forever")(b"again")
        assert await call.read() == b"again"
        call.cancel()
        await asyncio.wait_for(service.cancelled.wait(), 5)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in channel.unary_stream("/test/Forever")(b"again", timeout=0.3):
                pass
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_slow_conversation_over_grpcio() -> None:
    """The client awaits the head before its first message, and then sends one each half second, where an upload may be silent
    for a fifth of one: a response that has begun is a conversation, whose pace is the app's business. A conversation whose
    head the client does not get has the limits of an upload."""
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")

    async def app(request: Request) -> Answer:
        async def echo() -> AsyncIterator[bytes]:
            async for message in messages(request):
                yield framed(message)

        early = request.path == "/test/Talk"
        response = Response(echo(), headers=[("content-type", "application/grpc")], early_head=early)
        response.trailers.append(("grpc-status", "0"))
        return response

    async def talk(call: Any) -> list[bytes]:
        answers = []
        for number in range(3):
            await asyncio.sleep(0.5)
            await call.write(b"%d" % number)
            answers.append(await call.read())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF and await call.code() == grpc.StatusCode.OK
        return answers

    options = [("grpc.enable_http_proxy", 0)]
    async with asyncio.timeout(20), Server(app, port=0, timeouts=Timeouts(body=0.2)) as server:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
            call = channel.stream_stream("/test/Talk")()
            await call.initial_metadata()
            assert await talk(call) == [b"0", b"1", b"2"]
            call = channel.stream_stream("/test/Upload")()
            assert await call.code() == grpc.StatusCode.UNKNOWN and "408" in await call.debug_error_string()


# ---- our client ------------------------------------------------------------------------------------------------------

ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body or scope["path"].encode()})
"""


@contextmanager
def process(*command: str, port: int, folder: Path) -> Iterator[int]:
    """A server that others wrote."""
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield wait_until(lambda: port if _listens(port) else 0)
    finally:
        running.terminate()
        running.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def ask_of_all_kinds(port: int, ssl: ssl.SSLContext | None, check_echo: bool) -> None:
    async with await connect_http2("127.0.0.1", port, ssl) as client:
        responses = await asyncio.gather(*(client.request("GET", f"/file?{number}") for number in range(30)))
        assert {response.status for response in responses} == {200}
        contents = [await response.read() for response in responses]
        assert len(set(contents)) == 1 and contents[0]
        response = await client.request("HEAD", "/file")
        assert (response.status, await response.read()) == (200, b"")
        if check_echo:

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(BODY), 100_000):
                    yield BODY[start : start + 100_000]

            assert await (await client.request("POST", "/", body=BODY)).read() == BODY
            assert await (await client.request("POST", "/", body=pieces())).read() == BODY
        reading = asyncio.create_task((await client.request("GET", "/file")).read())
        reading.cancel()
        assert (await client.request("GET", "/file")).status == 200
    with pytest.raises(RequestRefused):
        await client.request("GET", "/file")


@pytest.mark.parametrize("secure", [False, True])
async def test_our_client_and_hypercorn(secure: bool, tmp_path: Path, certificate: Certificate, offering: ssl.SSLContext):
    pytest.importorskip("hypercorn", reason="hypercorn is not installed")
    (tmp_path / "asgi.py").write_text(ASGI)
    port = free_port()
    files = ["--certfile", certificate.chain, "--keyfile", certificate.key] if secure else []
    with process(sys.executable, "-m", "hypercorn", *files, "-b", f"127.0.0.1:{port}", "asgi:app", port=port, folder=tmp_path):
        await ask_of_all_kinds(port, offering if secure else None, check_echo=True)


@pytest.mark.needs("nghttpd")
@pytest.mark.parametrize("secure", [False, True])
async def test_our_client_and_nghttpd(secure: bool, tmp_path: Path, certificate: Certificate, offering: ssl.SSLContext):
    (tmp_path / "file").write_bytes(BODY)
    port = free_port()
    command = [str(shutil.which("nghttpd")), "-d", str(tmp_path), "-a", "127.0.0.1", "--echo-upload"]
    files = [str(port), certificate.key, certificate.chain] if secure else ["--no-tls", str(port)]
    with process(*command, *files, port=port, folder=tmp_path):
        await ask_of_all_kinds(port, offering if secure else None, check_echo=False)


async def test_our_client_and_our_server(tls: Serving, offering: ssl.SSLContext) -> None:
    async with await connect_http2(tls.host, tls.port, offering) as client:
        assert await (await client.request("POST", "/echo", body=BODY)).read() == BODY
        assert await (await client.request("GET", "/hello")).read() == b"Hello, World!"


async def test_a_server_without_http2(certificate: Certificate, offering: ssl.SSLContext) -> None:
    """ALPN tells: no bytes of HTTP/2 are sent to it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        with pytest.raises(RemoteProtocolError, match="HTTP/2 was not chosen"):
            await connect_http2("127.0.0.1", server.sockets[0].getsockname()[1], offering)


async def test_a_context_that_offers_http2_is_not_for_http1(tls: Serving, offering: ssl.SSLContext) -> None:
    with pytest.raises(RemoteProtocolError, match="HTTP/2 was chosen"):
        await connect_http(tls.host, tls.port, offering)
