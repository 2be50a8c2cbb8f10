"""``examples/apps/reverse_proxy.py`` and ``load_balancer.py``: a server is killed under load, and no request is lost."""

import asyncio
import hashlib
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from recipes import APPS, load

from minproto import Client, EventSource, HandshakeRefused, Response, Server, connect, tls_context

from .serving import Certificate, Serving

Start = Callable[..., Serving]


@pytest.fixture
def run() -> Iterator[Start]:
    """Starts a recipe in front of servers."""
    started: list[Serving] = []

    def run(name: str, *urls: str) -> Serving:
        started.append(Serving(program=[sys.executable, APPS / f"{name}.py", *urls, "0"]))
        return started[-1]

    yield run
    for server in started:
        server.kill()


PROXIES = pytest.mark.parametrize("name", ["reverse_proxy", "load_balancer"])


@PROXIES
async def test_requests_pass_with_their_fields_and_their_content(name: str, run: Start) -> None:
    seen: list[Any] = []

    async def app(request: Any) -> Response:
        content = await request.read()
        seen.append((request.method, request.target, dict(request.headers), content))
        if request.path == "/304":
            return Response(status=304, headers={"etag": '"a"'})
        fields = [("x-served", "1"), ("x-served", "2"), ("connection", "x-hop"), ("x-hop", "here")]
        return Response(hashlib.sha256(content).hexdigest().encode(), 201, fields)

    async with asyncio.timeout(30), Server(app, port=0) as server, Client() as client:
        url = run(name, server.url.rstrip("/")).url
        response = await client.get(f"{url}/a%2Fb?c=d", headers={"connection": "x-mine", "x-mine": "1", "x-ours": "2"})
        assert (response.status, response.headers.get_all("x-served")) == (201, ["1", "2"])
        assert "x-hop" not in response.headers and await response.read()
        method, target, fields, content = seen.pop()
        assert (method, target, content) == ("GET", "/a%2Fb?c=d", b"") and "transfer-encoding" not in fields
        assert fields["host"] == url.partition("//")[2] and fields["x-ours"] == "2" and "x-mine" not in fields
        assert (fields["x-forwarded-for"], fields["via"]) == ("127.0.0.1", "1.1 minproto")
        for size in (0, 10, 60_000, 900_000):
            body = bytes(range(250)) * (size // 250)
            digest = hashlib.sha256(body).hexdigest()
            assert await (await client.post(f"{url}/", content=body)).text() == digest
            assert await (await client.put(f"{url}/", content=once(body))).text() == digest
        assert (await client.head(f"{url}/")).headers["content-length"] == "64"
        assert (await client.get(f"{url}/304")).status == 304


async def once(body: bytes) -> Any:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@PROXIES
async def test_websockets_and_event_streams_pass(name: str, clear: Serving, run: Start) -> None:
    async with asyncio.timeout(30), Client() as client:
        url = run(name, clear.url).url
        async with connect(f"{url.replace('http', 'ws')}/ws") as ws:
            for message in ("hello", b"\0" * 1_000_000, "x" * 100_000):
                await ws.send(message)
                assert await ws.receive() == message
            assert await ws.ping() >= 0
        assert ws.close_code == 1000
        with pytest.raises(HandshakeRefused) as refused:
            await connect(f"{url.replace('http', 'ws')}/ws", headers={"origin": "https://evil.example"})
        assert refused.value.code == 403
        source = EventSource(f"{url}/events?topic={name}")
        async with aclosing(aiter(source)) as events:
            first = asyncio.ensure_future(anext(events))
            while not await (await client.post(f"{url}/publish?topic={name}", content=b"news")).json():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert (await first).data == "news"


async def test_a_websocket_over_http2_becomes_one_over_http1(
    clear: Serving, certificate: Certificate, trust: ssl.SSLContext
) -> None:
    """The proxy ends TLS, and makes the key that a handshake over HTTP/2 does not have."""
    trust.set_alpn_protocols(["h2"])
    proxy = load("reverse_proxy").reverse_proxy
    async with asyncio.timeout(30), Client() as inner, Client(ssl=trust) as client:
        context = tls_context(certificate.chain, certificate.key)
        async with Server(proxy(inner, clear.url), port=0, ssl=context) as server:
            assert await (await client.get(f"{server.url}/hello")).text() == "Hello, World!"
            async with connect(f"{server.url.replace('http', 'ws')}/ws", client=client) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
            (origin,) = client.snapshot()
            assert (ws.close_code, origin.http_version, origin.idle) == (1000, "2", 1)


async def test_a_proxy_without_a_server_says_so(run: Start) -> None:
    async with asyncio.timeout(20), Client() as client:
        for name in ("reverse_proxy", "load_balancer"):
            response = await client.get(run(name, "http://127.0.0.1:9").url)
            assert (response.status, "Traceback" in await response.text()) == (502, False)


async def test_a_server_is_killed_under_load_and_no_request_fails(run: Start, start: Start) -> None:
    """30,000 requests. One of three servers is killed after 5,000 of them, and a second one after 15,000."""
    servers = [start("--no-access-log") for _ in range(3)]
    async with asyncio.timeout(300), Client(max_connections=32) as client:
        url = run("load_balancer", *(server.url for server in servers)).url
        done = 0

        async def ask() -> None:
            nonlocal done
            while done < 30_000:
                done += 1
                if done in (5_000, 15_000):
                    servers[done // 10_000].process.send_signal(signal.SIGKILL)
                if done % 10:
                    response = await client.get(f"{url}/hello")
                    assert (response.status, await response.read()) == (200, b"Hello, World!")
                else:
                    response = await client.put(f"{url}/echo", content=b"0123456789" * 100)
                    assert response.status in (200, 405) and await response.read()

        await asyncio.gather(*(ask() for _ in range(32)))
        assert done >= 30_000
    assert [server.process.poll() is None for server in servers] == [False, False, True]
