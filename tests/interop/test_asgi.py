"""FastAPI, Starlette and Django with Channels on ``minproto asgi``, unchanged: over HTTP/1.1, and over HTTP/2 with TLS."""

import asyncio
import json
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .serving import Certificate, Serving, wait_until
from .websocket_over_h2 import H2WebSocket

APPS = Path(__file__).parent / "asgi_apps"
NEEDS = {"fastapi_app": ("fastapi", "sse_starlette", "python_multipart"), "starlette_app": ("starlette",)}
NEEDS["django_app"] = ("django", "channels")


def asgi(app: str, certificate: Certificate | None, *options: str) -> Serving:
    """``minproto asgi`` on one of our apps."""
    for package in NEEDS[app]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    return Serving(f"{app}:app", *options, name="asgi", certificate=certificate, folder=APPS)


class Site:
    """A server in one version of HTTP, and a client of it."""

    def __init__(self, server: Serving, version: str, httpx: ModuleType) -> None:
        self.server, self.version, self._httpx = server, version, httpx
        self.trust: ssl.SSLContext | None = None
        if server.certificate:
            self.trust = ssl.create_default_context(cafile=server.certificate.authority)

    def client(self) -> Any:
        verify = ssl.create_default_context(cafile=self.server.certificate.authority) if self.server.certificate else False
        return self._httpx.AsyncClient(http2=self.version == "2", verify=verify, base_url=self.server.url, trust_env=False)

    def client_now(self) -> Any:
        verify = ssl.create_default_context(cafile=self.server.certificate.authority) if self.server.certificate else False
        return self._httpx.Client(http2=self.version == "2", verify=verify, base_url=self.server.url, trust_env=False)

    def dial(self, path: str, **options: Any) -> Any:
        """A WebSocket, over HTTP/1.1 in either case: no client library in Python opens one over HTTP/2."""
        from websockets.asyncio.client import connect

        if self.trust:
            self.trust.set_alpn_protocols(["http/1.1"])
            options["ssl"] = self.trust
        return connect("ws" + self.server.url.removeprefix("http") + path, compression=None, proxy=None, **options)


def _site(app: str) -> Callable[..., Iterator[Site]]:
    @pytest.fixture(name=app.removesuffix("_app"), scope="module", params=["1.1", "2"])
    def fixture(request: pytest.FixtureRequest, httpx: ModuleType, certificate: Certificate) -> Iterator[Site]:
        server = asgi(app, certificate if request.param == "2" else None, "--no-access-log")
        try:
            yield Site(server, request.param, httpx)
            server.process.terminate()
            assert server.process.wait(10) == 0, server.stderr
        finally:
            server.kill()

    return fixture


fastapi, starlette, django = (_site(app) for app in NEEDS)


# ---- FastAPI ---------------------------------------------------------------------------------------------------------


def test_fastapi_validates_and_answers(fastapi: Site) -> None:
    with fastapi.client_now() as client:
        answer = client.get("/items/3", params={"q": "é &"})
        assert answer.json() == {"item_id": 3, "q": "é &"}
        assert answer.http_version == ("HTTP/2" if fastapi.version == "2" else "HTTP/1.1")
        assert float(answer.headers["x-process-time"]) > 0
        assert client.get("/items/three").status_code == 422
        item = {"name": "pen", "price": 1.5, "tags": ["red"]}
        created = client.post("/items", json=item)
        assert (created.status_code, created.json()) == (201, item)
        assert client.get("/private", headers={"x-token": "guess"}).status_code == 403
        assert client.get("/private", headers={"x-token": "secret"}).json() == {"token": "secret"}
        assert client.get("/items/1", headers={"origin": "https://example.org"}).headers["access-control-allow-origin"]
        assert client.get("/nothing").json() == {"detail": "Not Found"}
        assert client.delete("/items/1").status_code == 405
        assert set(client.get("/openapi.json").json()["paths"]) >= {"/items", "/upload"}


def test_fastapi_uploads(fastapi: Site) -> None:
    with fastapi.client_now() as client:
        file = bytes(3_000_000)
        answer = client.post("/upload", files={"file": ("a.bin", file)}, data={"note": "hi"})
        assert answer.json() == {"name": "a.bin", "size": 3_000_000, "note": "hi"}
        assert client.post("/count", content=(bytes(10_000) for _ in range(300))).json() == 3_000_000


def test_fastapi_sends_streams_files_and_compressed_content(fastapi: Site) -> None:
    with fastapi.client_now() as client:
        lines = client.get("/lines")
        assert lines.text.splitlines()[-1] == "line 999" and lines.headers["content-encoding"] == "gzip"
        source = (APPS / "fastapi_app.py").read_bytes()
        assert client.get("/file").content == source
        part = client.get("/file", headers={"range": "bytes=10-19", "accept-encoding": "identity"})
        assert (part.status_code, part.content) == (206, source[10:20])
        style = client.get("/static/style.css")
        assert style.text == "body { color: black }\n"
        assert client.get("/static/style.css", headers={"if-none-match": style.headers["etag"]}).status_code == 304
        assert client.head("/static/style.css").headers["content-length"] == "22"


@pytest.mark.parametrize("path", ["/events", "/sse-starlette"])
def test_fastapi_sends_events_as_they_happen(fastapi: Site, path: str) -> None:
    with fastapi.client_now() as client, client.stream("GET", path) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        ids = [line for line in (next(lines) for _ in range(12)) if line.startswith("id:")]
        assert ids[:3] == ["id: 0", "id: 1", "id: 2"]


def test_fastapi_answers_before_its_background_task_is_done(fastapi: Site) -> None:
    with fastapi.client_now() as client:
        assert client.post("/notify").status_code == 202
        assert "notified" not in client.get("/done").json()
        wait_until(lambda: "notified" in client.get("/done").json())


def test_fastapi_fails_with_500_and_one_traceback(fastapi: Site) -> None:
    with fastapi.client_now() as client:
        before = fastapi.server.stderr.count("a fault of the app")
        assert client.get("/fails").status_code == 500
        # Starlette sends its own 500, and then raises: that is one error after the response.
        assert wait_until(lambda: fastapi.server.stderr.count("RuntimeError: a fault of the app") == before + 1)


async def test_fastapi_speaks_websocket(fastapi: Site) -> None:
    from websockets.exceptions import InvalidStatus

    async with fastapi.dial("/ws/kitchen", subprotocols=["chat"]) as ws:
        assert ws.subprotocol == "chat"
        await ws.send("hello")
        assert await ws.recv() == "kitchen: hello"
        await ws.close(4001, "bye")
    with fastapi.client_now() as client:
        await asyncio.to_thread(wait_until, lambda: "left 4001" in client.get("/done").json())
    with pytest.raises(InvalidStatus) as refused:
        await fastapi.dial("/closed")
    assert refused.value.response.status_code == 403


async def test_fastapi_speaks_websocket_over_http2(fastapi: Site) -> None:
    """Over TLS, and in clear text with prior knowledge. The client's code is h2 and wsproto."""
    events = pytest.importorskip("wsproto.events", reason="wsproto is not installed")
    url, offer = fastapi.server.url, ("sec-websocket-protocol", "chat")
    async with H2WebSocket(url, "/ws/kitchen", fastapi.trust, offer) as ws:
        assert (ws.status, ws.headers["sec-websocket-protocol"]) == (200, "chat")
        await ws.send(events.TextMessage("hello"))
        assert (await ws.event()).data == "kitchen: hello"
        await ws.send(events.CloseConnection(4002, "bye"))
        assert (await ws.event()).code == 4002
        await ws.until_end()
    with fastapi.client_now() as client:
        await asyncio.to_thread(wait_until, lambda: "left 4002" in client.get("/done").json())
    async with H2WebSocket(url, "/closed", fastapi.trust) as ws:
        assert ws.status == 403


# ---- Starlette -------------------------------------------------------------------------------------------------------


def test_starlette_answers(starlette: Site) -> None:
    with starlette.client_now() as client:
        home = client.get("/", params={"name": "é"})
        assert (home.text, home.headers["x-custom"]) == ("hello é", "added")
        assert client.post("/").status_code == 405
        base = starlette.server.url
        assert client.put("/url?a=b").json() == [f"{base}/url?a=b", f"{base}/url", "PUT"]
        assert client.get("/mounted/page").json()[0] == f"{base}/mounted/page"
        redirect = client.get("/redirect")
        assert redirect.status_code == 307 and redirect.headers.get_list("set-cookie")[1].startswith("b=2")


async def test_starlette_learns_that_its_client_has_left(starlette: Site) -> None:
    with starlette.client_now() as client:

        async def happened(what: str) -> None:
            await asyncio.to_thread(wait_until, lambda: what in client.get("/log").json())

        leaver = starlette.client()
        with suppress(Exception):
            await leaver.get("/leave", timeout=0.2)
        await leaver.aclose()
        await happened("left while waiting")
        leaver = starlette.client()
        async with leaver.stream("GET", "/drip") as answer:
            assert await anext(answer.aiter_bytes()) == b"drop\n"
        await leaver.aclose()
        await happened("dripped")


async def test_a_hundred_slow_streams_at_once(starlette: Site) -> None:
    async with starlette.client() as client:
        began = time.monotonic()
        answers = await asyncio.gather(*(client.get("/drip", timeout=30) for _ in range(100)))
        assert {answer.text for answer in answers} == {"drop\n" * 10}
        assert time.monotonic() - began < 20  # one after the other, 100 streams of 0.5 s would take 50 s


async def test_starlette_speaks_websocket(starlette: Site) -> None:
    from websockets.exceptions import InvalidStatus

    async with starlette.dial("/echo") as ws:
        await ws.send('{"a": 1}')
        assert json.loads(await ws.recv()) == {"echo": {"a": 1}}
    with pytest.raises(InvalidStatus) as refused:
        await starlette.dial("/refused")
    response = refused.value.response
    assert (response.status_code, response.body) == (401, b'{"detail":"no token"}')


async def test_starlette_refuses_a_websocket_over_http2_with_a_response(starlette: Site) -> None:
    async with H2WebSocket(starlette.server.url, "/refused", starlette.trust) as ws:
        await ws.until_end()
        assert (ws.status, ws.body) == (401, b'{"detail":"no token"}')


def test_head_ends_an_endless_stream_of_starlette(starlette: Site) -> None:
    with starlette.client_now() as client:
        before = client.get("/log").json().count("the endless stream has ended")
        answer = client.head("/endless")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", "text/event-stream")
        wait_until(lambda: client.get("/log").json().count("the endless stream has ended") == before + 1)


# ---- Django and Channels ---------------------------------------------------------------------------------------------


def test_django_answers(django: Site) -> None:
    with django.client_now() as client:
        assert client.get("/polls/7/").text == "You're looking at question 7."
        secure = django.version == "2"
        assert client.get("/latest?a=%C3%A9").json() == {"path": "/latest?a=%C3%A9", "method": "GET", "secure": secure}
        token = client.get("/form").text
        assert client.post("/form", data={"a": "1"}).status_code == 403
        form = {"a": "1", "csrfmiddlewaretoken": token}
        assert client.post("/form", data=form, headers={"referer": django.server.url}).json()["a"] == "1"
        upload = client.post("/upload", files={"file": ("a.bin", bytes(3_000_000))})
        assert upload.json() == {"name": "a.bin", "size": 3_000_000}
        assert client.get("/stream").text == "".join(f"data: {number}\n\n" for number in range(5))


async def test_channels_sends_to_a_group(django: Site) -> None:
    async with django.dial("/ws/chat/lobby/") as one, django.dial("/ws/chat/lobby/") as other:
        await one.send(json.dumps({"message": "hi"}))
        assert json.loads(await one.recv()) == json.loads(await other.recv()) == {"message": "hi"}


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_ctrl_c_with_events_a_websocket_and_a_download_open(
    version: str, httpx: ModuleType, certificate: Certificate
) -> None:
    """All three are told or end within seconds: events and WebSocket at once; the download, which never ends, is cut off at
    ``Timeouts.drain``, but a client that leaves lets the server end sooner."""
    server = asgi("fastapi_app", certificate if version == "2" else None, "--no-access-log")
    try:
        site = Site(server, version, httpx)
        async with site.client() as client, site.dial("/ws/a") as ws:
            events, sse = asyncio.create_task(_read(client, "/events")), asyncio.create_task(_read(client, "/sse-starlette"))
            download = asyncio.create_task(_read(client, "/download"))
            await ws.send("hi")
            assert await ws.recv() == "a: hi"
            await asyncio.sleep(0.5)
            began = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            assert await events > 0 and await sse > 0
            await ws.wait_closed()
            assert ws.close_code == 1001
            assert time.monotonic() - began < 5
            download.cancel()
            await asyncio.wait([download])
        assert await asyncio.to_thread(server.process.wait, 10) == 0
        assert "the lifespan has ended" in server.stdout
        # After our GOAWAY, httpx's HTTP/2 takes each further frame for an error, and says so.
        assert server.stderr in ("", "the HTTP/2 client at 127.0.0.1 goes away: PROTOCOL_ERROR\n")
    finally:
        server.kill()


async def _read(client: Any, path: str) -> int:
    """Read to the end, which may be a reset; the number of bytes."""
    size = 0
    with suppress(Exception):
        async with client.stream("GET", path, timeout=20) as answer:
            async for piece in answer.aiter_raw():
                size += len(piece)
    return size


