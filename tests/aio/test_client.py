"""``minproto.Client``: its pool, its errors, what it repeats; on the in-memory network, in virtual time."""

import asyncio
import gc
import itertools
import re
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from harness import now, serving, virtual
from hypothesis import given, settings
from hypothesis import strategies as st

from minproto import (
    Answer,
    Client,
    ClientConnection,
    ClientResponse,
    ConnectionClosed,
    EventSource,
    EventStream,
    HandshakeRefused,
    Http2Limits,
    LocalProtocolError,
    RemoteProtocolError,
    Request,
    RequestRefused,
    Response,
    StatusError,
    StreamRefused,
    Timeouts,
    WebSocket,
    connect,
    upgrade,
)
from minproto.aio.http2_client import ClientConnection as Http2ClientConnection
from minproto.core import SERVER
from minproto.http import Headers, ResponseHead
from minproto.http2 import Connection, GoAway
from minproto.testing import clock, network

VERSIONS = pytest.mark.parametrize("scheme", ["http", "https"])  # of HTTP/1.1, and of HTTP/2
A = "http://a"
FIN, RST = b"FIN", b"RST"  # for ``Script``
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Pipe:
    """A pipe to which TLS has given a protocol."""

    def __init__(self, pipe: Any, protocol: str) -> None:
        self._pipe = pipe
        self._tls = SimpleNamespace(selected_alpn_protocol=lambda: protocol) if protocol else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def info(self, name: str) -> Any:
        return self._tls if name == "ssl_object" else self._pipe.info(name)


class Web:
    """What ``connect_pipe`` reaches: one server for every address."""

    def __init__(self, serving_: Any) -> None:
        self.serving = serving_
        self.dials: list[str] = []
        self.ends: list[Any] = []
        self.protocol = "h2"
        self.seconds = 0.0
        self.failure: OSError | None = None

    async def dial(self, address: Any, ssl: Any, **_: Any) -> Any:
        self.dials.append(str(address))
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        pipe = Pipe(self.serving.attach(), self.protocol if ssl else "")
        self.ends.append(pipe)
        return pipe

    def say(self, event: Any) -> None:
        """Let the server say something on the newest connection, beside what it says anyway."""
        core = Connection(SERVER)
        core.send(core.greeting())
        self.serving.ends[-1].write(core.send(event))

    def received(self) -> bytes:
        return b"".join(bytes(end._incoming._arrived) for end in self.serving.ends)


async def app(request: Request) -> Answer:
    match request.path:
        case "/slow":
            await asyncio.sleep(float(request.query.get("s", "5")))
        case "/large":
            return Response(pieces(5))
        case "/empty":
            return Response(status=204)
        case "/reset":
            request.abort()
        case "/last":
            return Response.text("bye", headers={"connection": "close"})
        case "/echo":
            return Response(await request.read(), headers=[("content-type", request.headers.get("content-type") or "")])
        case "/early":
            return Response.text("no", status=413)
        case "/ws":
            assert request.head.version != "2" or (request.head.protocol, request.head.scheme) == ("websocket", "https")
            assert ("sec-websocket-key" in request.headers) == (request.head.version != "2")
            return upgrade(request, echo, subprotocols=["chat"])
        case "/events":
            return EventStream(ticks(), retry=100)
        case "/where":
            return Response.text(f"{request.method} {request.authority} {request.target} {request.head.version}")
    return Response.text("ok")


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def ticks() -> AsyncIterator[str]:
    for number in itertools.count():
        yield f"tick {number}"
        await asyncio.sleep(1)


async def pieces(count: int, *, pause: float = 1) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"piece"
        await asyncio.sleep(pause)


@asynccontextmanager
async def web(**options: Any) -> AsyncIterator[tuple[Web, Client]]:
    """A server, a client, and the only network that it finds. At the end nobody has a place, or waits for one."""
    theirs = {"trusted_gateway": True, **options.pop("server", {})}
    async with serving(app, **theirs) as server:
        the_web = Web(server)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minproto.aio.client.connect_pipe", the_web.dial)
            patch.setattr("minproto.aio.http1_client.connect_pipe", the_web.dial)
            async with Client(ssl=CONTEXT, **options) as client:
                yield the_web, client
                assert all(not (origin.busy or origin.waiting or origin.unread) for origin in client.snapshot())


def total(client: Client) -> tuple[int, int, int]:
    """Connections in use and idle, and requests in line, of all origins."""
    origins = client.snapshot()
    return (
        sum(origin.busy for origin in origins),
        sum(origin.idle for origin in origins),
        sum(len(origin.waiting) for origin in origins),
    )


async def text(response: ClientResponse) -> str:
    return await response.text()


async def get(client: Client, url: str, **options: Any) -> str:
    return await (await client.get(url, **options)).text()


# ---- a request, and what a response has ----------------------------------------------------------------------------------


@virtual
@VERSIONS
async def test_a_request_names_its_origin_and_its_target(scheme: str) -> None:
    async with web() as (_, client):
        response = await client.get(f"{scheme}://EXAMPLE.org:8000/where?a=b%20c#part")
        version = "1.1" if scheme == "http" else "2"
        assert await response.text() == f"GET example.org:8000 /where?a=b%20c {version}"
        assert (response.status, response.http_version) == (200, version)
        assert response.url == f"{scheme}://EXAMPLE.org:8000/where?a=b%20c#part"
        assert await get(client, f"{scheme}://[::1]/where") == f"GET [::1] /where {version}"
        assert await get(client, f"{scheme}://b\xfccher.example/where") == f"GET xn--bcher-kva.example /where {version}"


@virtual
@VERSIONS
async def test_each_method_has_a_name_and_takes_content(scheme: str) -> None:
    async with web() as (_, client):
        for method in ("get", "post", "put", "patch", "delete", "options"):
            assert (await text(await getattr(client, method)(f"{scheme}://a/where"))).startswith(method.upper())
        assert (await client.head(f"{scheme}://a/where")).status == 200
        assert await text(await client.put(f"{scheme}://a/echo", content=b"bytes")) == "bytes"
        assert await text(await client.post(f"{scheme}://a/echo", content=pieces(2))) == "piecepiece"
        async with client.post(f"{scheme}://a/echo", json={"a": ["\xe9", None]}) as response:
            assert response.headers.get("content-type") == "application/json"
            assert await response.json() == {"a": ["\xe9", None]} == await response.json()
            assert await response.text() == '{"a":["\xe9",null]}'
        response = await client.post(f"{scheme}://a/echo", headers={"content-type": "application/problem+json"}, json=[])
        assert response.headers["content-type"] == "application/problem+json" and await response.json() == []


@virtual
async def test_text_has_the_charset_of_its_type() -> None:
    async with web() as (_, client):
        for kind, content, expected in [
            ("text/plain; charset=latin-1", b"\xe9", "\xe9"),
            ('text/plain; charset="UTF-8"', b"\xc3\xa9\xff", "\xe9\ufffd"),
            ("text/plain", "\xe9".encode(), "\xe9"),
        ]:
            response = await client.post(f"{A}/echo", headers={"content-type": kind}, content=content)
            assert await response.text() == expected
        response = await client.post(f"{A}/echo", headers={"content-type": "text/plain; charset=klingon"}, content=b"x")
        with pytest.raises(RemoteProtocolError, match="the charset 'klingon'"):
            await response.text()
        assert await response.read() == b"x"


@virtual
async def test_a_status_that_is_no_success_is_an_error_if_the_user_says_so() -> None:
    async with web() as (_, client):
        assert await (await client.get(f"{A}/empty")).raise_for_status().read() == b""
        async with client.get(f"{A}/early") as response:
            with pytest.raises(StatusError, match=f"^{A}/early answered 413 Content Too Large$") as raised:
                response.raise_for_status()
            assert raised.value.response is response and await response.text() == "no"


@virtual
async def test_what_can_t_be_asked_is_refused_in_one_line_before_anything_is_sent() -> None:
    async with web() as (net, client):
        for url, tells in [
            ("ftp://a/", r"ftp://a/: the URL has to begin with http:// or https://"),
            ("/path", r"/path: the URL has to begin with http"),
            ("http:///path", r"the URL names no host"),
            ("http://user:secret@a/", r"authorization"),
            ("http://user:sec/secret@a/", r"^http://\.\.\.@a/: a URL with a user or a password is refused"),
            ("http://user:sec#secret@a/", r"^http://\.\.\.@a/: a URL with a user or a password is refused"),
            ("http://user:secret@a:99999/", r"^http://\.\.\.@a:99999/: a URL with a user or a password is refused"),
            ("user:secret@a/", r"^\.\.\.@a/: the URL has to begin with http://"),
            ("http:/user:secret@a/", r"...@a/: the URL names no host"),
            ("http:///user:secret@a/", r"^http:///\.\.\.@a/: the URL names no host"),
            ("ws://a/user:secret@a/", r"^ws://\.\.\.@a/: the URL has to begin with http:// or https://$"),
            ("http://user:secret @a/", r"@a/': in a URL, blanks"),
            ("http://a/a b", r"percent-encoded"),
            ("http://a/\r\nx: y", r"percent-encoded"),
            ("http://a:99999/", r"http://a:99999/: Port out of range"),
            ("http://exa_mple%20/", r"a name or an IP address"),
        ]:
            with pytest.raises(ValueError, match=tells) as raised:
                await client.get(url)
            assert "sec" not in str(raised.value) and "\n" not in str(raised.value)
        with pytest.raises(ValueError, match="not JSON compliant"):
            await client.post(A, json=float("nan"))
        with pytest.raises(ValueError, match="one content"):
            await client.post(A, content=b"x", json={})
        with pytest.raises(TypeError, match="contents"):
            await client.post(A, contents=b"x")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="bytes or an async iterator, not str"):
            await client.post(A, content="x")  # type: ignore[typeddict-item]
        with pytest.raises(TypeError, match="timeout"):
            await client.get(A, timeout="5")  # type: ignore[typeddict-item]
        assert net.dials == []
        for fields in ({"x": "a\r\ny: b"}, {"x y": "a"}, {"host": "a b"}):
            with pytest.raises(LocalProtocolError):
                await client.get(A, headers=fields)
        assert total(client) == (0, 1, 0) and net.received() == b""


@virtual
async def test_a_client_belongs_to_one_loop_and_to_its_block() -> None:
    async with web() as (_, client):
        await get(client, A)
        errors: list[Exception] = []

        def run() -> None:
            try:
                asyncio.run(get(client, A))
            except RuntimeError as error:
                errors.append(error)

        def close() -> None:
            try:
                asyncio.run(client.close())
            except RuntimeError as error:
                errors.append(error)

        for target in (run, close):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
            assert "run_coroutine_threadsafe" in str(errors.pop())
        assert await get(client, A) == "ok"
    with pytest.raises(RuntimeError, match="closed"):
        await client.get(A)
    for url in ("ws://a/ws", "wss://a/ws"):
        with pytest.raises(RuntimeError, match="closed"):
            await connect(url, client=client)
        with pytest.raises(RuntimeError, match="closed"):
            await anext(aiter(EventSource(url.replace("ws", "http", 1), client=client)))
    await client.close()


@virtual
async def test_an_error_of_connect_names_its_url() -> None:
    async with web() as (net, client):
        net.failure = ConnectionRefusedError(111, "refused")
        for url in ("ws://a/ws?x=secret", "wss://a/ws?x=secret"):
            with pytest.raises(ConnectionRefusedError, match=rf"{url.partition('?')[0]}: refused$"):
                await connect(url, client=client)


SPEAKS_TLS = "the server speaks TLS on this port: use {url} "
SAYS_NOTHING = "[^;]*it said nothing at all: does it want TLS on this port. Then use {url}[)]"


@virtual
@pytest.mark.parametrize(("answer", "tells"), [(b"\x15\x03\x01\0\2\2\x46", SPEAKS_TLS), (RST, SAYS_NOTHING)])
@pytest.mark.parametrize("address", ["a:8443", "a"])
@pytest.mark.parametrize("kind", ["Client", "EventSource", "connect"])
async def test_a_url_without_tls_for_a_port_with_tls_is_told_the_right_url(
    answer: bytes, tells: str, address: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port stays: over http:// it is 80 if the URL names none."""
    scheme, port = "ws" if kind == "connect" else "http", "" if ":" in address else ":80"
    words = f"{scheme}://{address}/x: " + tells.format(url=f"{scheme}s://{address}{port}/x")
    async with scripted([answer], [answer]) as (script, client):
        monkeypatch.setattr("minproto.aio.http1_client.connect_pipe", Web(script).dial)
        with pytest.raises((RemoteProtocolError, ConnectionError), match=words):
            if kind == "Client":
                await client.get(f"{scheme}://{address}/x?secret")
            elif kind == "connect":
                await connect(f"{scheme}://{address}/x?secret")
            else:
                monkeypatch.setattr("minproto.aio.reconnect.Attempts.may_pass", lambda *_: False)  # silence may pass
                await anext(aiter(EventSource(f"{scheme}://{address}/x?secret")))


@virtual
@pytest.mark.parametrize(("address", "right"), [("a:8000", "a:8000"), ("a", "a:443"), ("[::1]:8000", "[::1]:8000")])
async def test_a_url_with_tls_for_a_port_without_is_told_the_right_url(
    address: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    lost.reason = "WRONG_VERSION_NUMBER"

    async def dial(host: str, port: int) -> Any:
        raise lost

    monkeypatch.setattr("minproto.aio.sockets.dial", dial)
    words = "//{}/x: .* does not speak TLS: its answer is not a TLS record: use {}://{}/x$"
    async with Client(ssl=CONTEXT) as client:
        with pytest.raises(ConnectionError, match=words.format(re.escape(address), "http", re.escape(right))):
            await client.get(f"https://{address}/x?secret")
        with pytest.raises(ConnectionError, match=words.format(re.escape(address), "ws", re.escape(right))):
            await connect(f"wss://{address}/x?secret", ssl=CONTEXT)
        with pytest.raises(ConnectionError, match=words.format(re.escape(address), "http", re.escape(right))):
            await anext(aiter(EventSource(f"https://{address}/x?secret", ssl=CONTEXT)))


def test_options_are_checked_when_they_are_given() -> None:
    for options, tells in [
        ({"ssl": True}, "ssl"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_idle": -1}, "max_idle"),
        ({"idle_timeout": "15"}, "idle_timeout"),
        ({"http2_limits": Timeouts()}, "http2_limits"),
    ]:
        with pytest.raises((TypeError, ValueError), match=tells):
            Client(**options)  # type: ignore[arg-type]


# ---- places, and who waits for one ----------------------------------------------------------------------------------------


@virtual
async def test_six_connections_serve_any_number_of_requests_in_the_order_asked() -> None:
    async with web() as (net, client):
        order: list[int] = []

        async def ask(number: int) -> None:
            assert await get(client, f"{A}/slow?s=1") == "ok"
            order.append(number)

        asking = [asyncio.create_task(ask(number)) for number in range(20)]
        await asyncio.sleep(0.5)
        (origin,) = client.snapshot()
        assert (origin.busy, origin.idle, len(origin.waiting)) == (6, 0, 14)
        assert origin.waiting[0] == (f"GET {A}/slow", 0.5)
        await asyncio.gather(*asking)
        assert [number // 6 for number in order] == sorted(number // 6 for number in range(20))
        assert now() == 4 and len(net.dials) == 6


@virtual
async def test_the_error_of_a_request_that_found_no_place_says_who_has_them() -> None:
    async with web(max_connections=2, timeouts=Timeouts(idle=10)) as (_, client):
        unread = [await client.get(f"{A}/large") for _ in range(2)]
        said = f"2 connections to {A}:80 are in use; 2 responses have not been read to their end: read.. or close.. them"
        with pytest.raises(TimeoutError, match=f"^GET {A}/x: {said}, and no place was free within 10 s$"):
            await client.get(f"{A}/x?secret")
        with pytest.raises(TimeoutError, match=f"^GET {A}/x: {said}, and no place was free within 3 s$"):
            await client.get(f"{A}/x", timeout=3)
        assert now() == 13 and total(client) == (2, 0, 0)
        for response in unread:
            await response.close()
        assert await get(client, A) == "ok"


@virtual
@VERSIONS
async def test_a_response_that_nobody_keeps_gives_its_place_back(scheme: str) -> None:
    async with web(max_connections=1) as (_, client):
        for _ in range(3):
            with pytest.warns(ResourceWarning, match="dropped unread"):
                assert (await client.get(f"{scheme}://a/large")).status == 200
                gc.collect()
        assert await get(client, f"{scheme}://a/") == "ok"


@virtual
async def test_idle_connections_are_few_and_end() -> None:
    async with web(max_idle=3, idle_timeout=10) as (net, client):
        for number in range(5):
            await get(client, f"http://host{number}/")
            await asyncio.sleep(1)
        assert total(client) == (0, 3, 0)
        await get(client, "http://host4/")
        await get(client, "http://host0/")
        assert len(net.dials) == 6
        await asyncio.sleep(9)
        assert total(client) == (0, 2, 0)  # host2, and now host3 as well, were idle for longer
        await asyncio.sleep(2)
        assert total(client) == (0, 0, 0)


@virtual
async def test_a_connection_in_use_is_not_counted_among_the_idle_ones() -> None:
    async with web(max_idle=1) as (_, client):
        await get(client, A)
        slow = asyncio.create_task(get(client, f"{A}/slow"))
        await asyncio.sleep(1)
        await get(client, "http://b/")
        assert total(client) == (1, 1, 0)
        assert await slow == "ok"


@virtual
async def test_an_origin_without_connections_is_forgotten() -> None:
    async with web(max_idle=0) as (_, client):
        for number in range(5):
            await get(client, f"http://host{number}/")
        assert len(client._pools) == 1


@virtual
@VERSIONS
async def test_a_connection_that_the_server_has_closed_while_it_was_idle_is_dropped_at_once(scheme: str) -> None:
    async with web(server={"timeouts": Timeouts(idle=5)}) as (net, client):
        await get(client, f"{scheme}://a/")
        await asyncio.sleep(6)
        assert total(client) == (0, 0, 0)
        assert await get(client, f"{scheme}://a/") == "ok" and len(net.dials) == 2


@virtual
async def test_a_response_that_is_the_last_of_its_connection_is_none_of_the_pools() -> None:
    async with web() as (net, client):
        for _ in range(3):
            assert await get(client, f"{A}/last") == "bye"
        assert total(client) == (0, 0, 0) and len(net.dials) == 3


@virtual
@VERSIONS
async def test_cancelling_a_request_at_any_point_gives_its_place_to_the_next(scheme: str) -> None:
    async with web(max_connections=1) as (net, client):
        net.seconds = 1
        for wait in (0, 0.5, 1, 1.5, 2.5):
            first = asyncio.create_task(get(client, f"{scheme}://a/slow?s=1"))
            second = asyncio.create_task(get(client, f"{scheme}://a/slow?s=1"))
            third = asyncio.create_task(get(client, f"{scheme}://a/"))
            await asyncio.sleep(wait)
            second.cancel()
            first.cancel()
            assert await third == "ok"
            await asyncio.wait([first, second])


@virtual
async def test_a_place_that_was_given_to_a_cancelled_request_goes_on_to_the_next() -> None:
    """The place is given, and in the same turn of the loop, before its new owner runs, that one is cancelled."""
    async with web(max_connections=1) as (_, client):
        response = await client.get(f"{A}/large")
        second, third = (asyncio.create_task(get(client, A)) for _ in range(2))
        await asyncio.sleep(0)
        assert total(client) == (1, 0, 2)
        asyncio.get_running_loop().call_soon(second.cancel)
        await response.close()
        assert await third == "ok"


@virtual
@VERSIONS
async def test_content_that_fails_gives_the_place_back_at_once(scheme: str) -> None:
    """Not only when the response is garbage."""
    async with web(max_connections=1) as (_, client):
        response = await client.get(f"{scheme}://a/large", timeout=0.5)
        with pytest.raises(TimeoutError, match=rf"^GET {scheme}://a/large: "):
            await response.read()
        assert total(client)[0] == 0 and await get(client, f"{scheme}://a/") == "ok" and response.status == 200


@virtual
@VERSIONS
async def test_a_connection_that_opens_after_the_end_of_the_client_is_ended(scheme: str) -> None:
    async with web() as (net, client):
        net.seconds = 1
        dialling = asyncio.create_task(get(client, f"{scheme}://a/"))
        await asyncio.sleep(0.5)
        await client.close()
        with pytest.raises(ConnectionResetError, match="the client was closed"):
            await dialling
        with pytest.raises(ConnectionResetError):
            await net.ends[0].drain()
        client._is_closed = False  # for the check at the end


@virtual
async def test_a_connection_that_the_server_ends_during_a_response_is_not_kept() -> None:
    """The server says nothing of it: no Connection: close, and the response has a length."""
    async with scripted([OK[:-2]], [OK]) as (script, client):
        response = await client.get(A)
        script.send(b"ok")
        await asyncio.sleep(0.1)
        assert await text(response) == "ok" and total(client) == (0, 0, 0)
        assert await get(client, A) == "ok" and len(script.asked) == 2


# ---- HTTP/2 ---------------------------------------------------------------------------------------------------------------


@virtual
async def test_one_connection_of_http2_serves_all_who_waited_for_it() -> None:
    async with web() as (net, client):
        net.seconds = 1
        assert await asyncio.gather(*(get(client, "https://a/slow?s=1") for _ in range(50))) == ["ok"] * 50
        assert now() == 2 and net.dials == ["a:443"]


@virtual
async def test_with_http1_over_tls_the_other_places_open_when_the_first_connection_has_told() -> None:
    async with web() as (net, client):
        net.protocol, net.seconds = "http/1.1", 1
        assert await asyncio.gather(*(get(client, "https://a/slow?s=1") for _ in range(7))) == ["ok"] * 7
        assert now() == 3 and len(net.dials) == 6


@virtual
async def test_those_who_waited_for_the_first_connection_share_its_failure() -> None:
    async with web() as (net, client):
        net.seconds, net.failure = 10, TimeoutError("can't reach a:443")
        results = await asyncio.gather(*(get(client, f"https://a/{n}") for n in range(9)), return_exceptions=True)
        assert now() == 10 and net.dials == ["a:443"]
        assert [str(result) for result in results] == [f"GET https://a/{n}: can't reach a:443" for n in range(9)]
        net.failure = None
        assert await get(client, "https://a/") == "ok"


@virtual
async def test_more_requests_than_the_server_allows_streams_wait() -> None:
    async with web(server={"http2_limits": Http2Limits(max_streams=2)}, timeouts=Timeouts(idle=10)) as (_, client):
        assert await asyncio.gather(*(get(client, "https://a/slow?s=1") for _ in range(6))) == ["ok"] * 6
        assert now() == 3
        slow = [asyncio.create_task(get(client, "https://a/slow?s=60", timeout=99)) for _ in range(2)]
        await asyncio.sleep(0)
        third = asyncio.create_task(get(client, "https://a/slow?s=160", timeout=99))
        with pytest.raises(TimeoutError, match=r"^GET https://a/: 2 streams are open, and none was free within 3 s$"):
            await client.get("https://a/", timeout=3)
        with pytest.raises(TimeoutError, match=r"^GET https://a/: 2 streams are open, and none was free within 10 s$"):
            await client.get("https://a/")
        with pytest.raises(TimeoutError, match=r"^GET https://a/slow: no head of a response came within 99 s$"):
            await third  # in line until 63, and then on a stream
        assert await asyncio.gather(*slow) == ["ok", "ok"]


@virtual
async def test_after_goaway_a_new_connection_is_dialled_while_the_old_one_finishes() -> None:
    async with web() as (net, client):
        slow = asyncio.create_task(get(client, "https://a/slow?s=3"))
        await asyncio.sleep(1)
        net.say(GoAway(last=1))
        await asyncio.sleep(1)
        assert await get(client, "https://a/") == "ok" and len(net.dials) == 2
        assert await slow == "ok"
        await asyncio.sleep(1)
        assert total(client) == (0, 1, 0)


@virtual
async def test_a_connection_of_http2_on_which_nothing_comes_any_more_is_given_up() -> None:
    """A router that has lost its memory drops all packets. TCP finds out after a quarter of an hour."""
    async with web() as (net, client):
        await get(client, "https://a/")
        with pytest.raises(TimeoutError, match=r"^GET https://a/slow: no head of a response came within 6 s$"):
            await client.get("https://a/slow?s=60", timeout=6)
        assert await get(client, "https://a/") == "ok" and len(net.dials) == 2


# ---- repeating --------------------------------------------------------------------------------------------------------------


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Script:
    """Servers of HTTP/1.1, one for each connection: what each answers to one request after the other, and its end."""

    def __init__(self, *answers: list[bytes]) -> None:
        self._answers = iter(answers)
        self.asked: list[bytes] = []
        self.tasks: list[asyncio.Task[None]] = []

    def send(self, data: bytes) -> None:
        """Send something on the newest connection, and end it."""
        self.pipe.write(data)
        self.pipe.close_write()

    def attach(self) -> Any:
        ours, self.pipe = network.pair()
        theirs = self.pipe
        self.tasks.append(asyncio.create_task(self._serve(theirs, next(self._answers))))
        return ours

    async def _serve(self, pipe: Any, answers: list[bytes]) -> None:
        for answer in answers:
            if answer == FIN:
                return await pipe.close()
            self.asked.append(await pipe.read())
            if answer == RST:
                return pipe.abort()
            pipe.write(answer)
        while await pipe.read():
            """The rest of a request."""
        await pipe.close()


@asynccontextmanager
async def scripted(*answers: list[bytes]) -> AsyncIterator[tuple[Script, Client]]:
    script = Script(*answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minproto.aio.client.connect_pipe", Web(script).dial)
        async with Client() as client:
            yield script, client
            assert total(client)[0] == total(client)[2] == 0
    await asyncio.gather(*script.tasks, return_exceptions=True)


@virtual
async def test_a_request_that_the_end_of_an_idle_connection_has_lost_is_repeated_once() -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"):
        answer = OK.partition(b"ok")[0] if method == "HEAD" else OK
        async with scripted([answer, RST], [answer, RST], [RST]) as (script, client):
            assert (await (await client.request(method, A)).read()) in (b"ok", b"")
            assert (await (await client.request(method, A)).read()) in (b"ok", b"")  # lost, and repeated
            assert len(script.asked) == 3 and script.asked[1] == script.asked[2]
            with pytest.raises(ConnectionError, match=f"^{method} {A}: "):
                await client.request(method, A)  # lost, and lost again on a new connection


@virtual
async def test_what_may_have_been_done_is_not_repeated() -> None:
    async with scripted([OK, RST], [OK, b"HTTP/1.1 2", FIN], [RST]) as (script, client):
        await get(client, A)
        with pytest.raises(ConnectionError):
            await client.post(A, content=b"a payment")
        await get(client, A)
        with pytest.raises((ConnectionError, RemoteProtocolError)):  # its response had begun
            await client.get(A)
        with pytest.raises(ConnectionError):  # a new connection: the server was not just ending its idle time
            await client.get(A)
        assert len(script.asked) == 5


@virtual
async def test_a_request_is_repeated_only_once_although_there_is_another_connection() -> None:
    async with scripted([OK, RST], [OK, RST]) as (script, client):
        await asyncio.gather(get(client, A), get(client, A))
        with pytest.raises(ConnectionError, match=f"^GET {A}: "):
            await client.get(A)
        assert len(script.asked) == 4


@virtual
async def test_what_was_not_sent_is_repeated_whatever_the_method() -> None:
    """The server was restarted: the client finds out at each of its idle connections, when it looks for the server's FIN."""
    for content in (b"a payment", pieces(1)):
        async with scripted([OK, FIN], [OK, FIN], [OK, FIN], [OK]) as (script, client):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ClientConnection, "watch", lambda *_: None)  # which would find it out sooner
                await asyncio.gather(*(get(client, A) for _ in range(3)))
                assert await text(await client.post(A, content=content)) == "ok"  # type: ignore[typeddict-item]
            assert len(script.asked) == 4


class Refusing:
    """A connection of HTTP/2 whose server processes nothing; ``begins`` takes content before that."""

    def __init__(self, *, begins: bool = False) -> None:
        self.count = 0
        self._begins = begins

    async def request(self, method: str, target: str, headers: Any, body: Any, **__: Any) -> Any:
        self.count += 1
        assert self.count < 10, "it is asked for ever"
        if self._begins:
            await anext(body)
            await body.aclose()
        raise RequestRefused("the server goes away")


@virtual
async def test_a_server_that_refuses_on_new_connections_is_asked_twice() -> None:
    for content, begins, count in [(b"x", False, 2), (pieces(1), False, 2), (pieces(1), True, 1)]:
        refusing = Refusing(begins=begins)
        async with web() as (_, client):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("minproto.aio.http2_client.ClientConnection.request", refusing.request.__get__(refusing))
                patch.setattr(Http2ClientConnection, "is_free", False)
                with pytest.raises(RequestRefused, match=r"^POST https://a/: the server goes away$"):
                    await client.post("https://a/", content=content)  # type: ignore[typeddict-item]
            assert refusing.count == count


@virtual
async def test_a_server_that_resets_each_stream_unprocessed_is_asked_twice() -> None:
    """It keeps the connection, so no new one ends the repeating."""
    refusing = Refusing()
    async with web() as (_, client):
        await get(client, "https://a/")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minproto.aio.http2_client.ClientConnection.request", refusing.request.__get__(refusing))
            async with asyncio.timeout(1):
                with pytest.raises(RequestRefused):
                    await client.post("https://a/", content=b"x")
        assert refusing.count == 2


@virtual
@VERSIONS
async def test_a_flood_of_interim_responses_does_not_hold_a_request_for_ever(scheme: str) -> None:
    """They come faster than the client reads, so it never waits for the next one."""
    ours, theirs = network.pair()
    core, loop, http2 = Connection(SERVER), asyncio.get_running_loop(), scheme == "https"
    pieces: list[bytes] = []

    async def arrived() -> bytes:
        return pieces.pop(0)

    def hurried() -> float:
        loop._now += 0.1  # type: ignore[attr-defined]
        return loop._now  # type: ignore[attr-defined, no-any-return]

    async with Http2ClientConnection(ours, "a", "https") if http2 else ClientConnection(ours, "a") as client:
        if http2:
            theirs.write(core.send(core.greeting()))
            await asyncio.sleep(0.1)
        asking = asyncio.create_task(client.request("GET", "/", patience=10))
        await asyncio.sleep(0.1)
        core.receive_data(await theirs.read())
        if http2:
            assert list(core.events())
        fields = Headers([("link", "x" * 8_000)])
        line = b"HTTP/1.1 %d \r\nLink: " + b"x" * 8_000 + b"\r\n\r\n"
        for status in [103] * 200 + [200]:
            event = ResponseHead(status, fields, "2", stream=1)
            pieces.append(core.send(event) if http2 else line % status)
        if http2:
            theirs.write(b"".join(pieces))
        else:  # as a socket whose bytes have always arrived already
            ours.read = arrived  # type: ignore[method-assign]
            theirs.write(pieces.pop(0))
        loop.time = hurried  # type: ignore[method-assign]
        try:
            with pytest.raises(TimeoutError, match=r"^the server has not sent the head of the response within 10 s$"):
                await asking
        finally:
            del loop.time
        theirs.abort()


@virtual
@VERSIONS
async def test_the_error_of_the_users_iterator_comes_out_as_it_is(scheme: str) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"piece"
        raise FileNotFoundError("gone")

    async with web() as (_, client):
        with pytest.raises(FileNotFoundError, match=r"^gone$"):
            await client.post(f"{scheme}://a/echo", content=failing())
        assert await get(client, f"{scheme}://a/") == "ok"


# ---- connect and EventSource share a client -----------------------------------------------------------------------------


@virtual
@pytest.mark.parametrize(
    ("url", "protocol", "dials"), [("wss://a/ws", "h2", 1), ("wss://a/ws", "http/1.1", 3), ("ws://a/ws", "", 3)]
)
async def test_a_websocket_is_a_stream_of_http2_or_has_a_connection_of_its_own(url: str, protocol: str, dials: int) -> None:
    """Beside requests, whose places it does not take."""
    async with web(max_connections=1) as (net, client):
        net.protocol = protocol
        assert await get(client, url.replace("ws", "http", 1).replace("/ws", "/")) == "ok"
        async with connect(url, client=client, subprotocols=["chat"]) as ws:
            await ws.send("hello")
            assert (await ws.receive(), ws.subprotocol) == ("hello", "chat")
            assert await get(client, url.replace("ws", "http", 1).replace("/ws", "/")) == "ok"
            await asyncio.sleep(40)  # neither the pool's idle time nor that of a request ends it
            await ws.send("b" * 100_000)
            assert await ws.receive() == "b" * 100_000
        assert ws.close_code == 1000 and len(net.dials) == dials - (protocol != "h2")
        with pytest.raises(HandshakeRefused) as refused:
            await connect(url.replace("/ws", "/early"), client=client)
        assert (refused.value.code, refused.value.response.body) == (413, b"no") and len(net.dials) == dials


@virtual
async def test_a_websocket_does_not_keep_a_client_open() -> None:
    async with serving(app, trusted_gateway=True) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minproto.aio.client.connect_pipe", Web(server).dial)
            async with Client(ssl=CONTEXT) as client:
                ws = await connect("wss://a/ws", client=client)
            with pytest.raises(ConnectionClosed):
                await ws.receive()
            await ws.close()


@virtual
@pytest.mark.parametrize(("scheme", "dials"), [("http", 1), ("https", 1)])
async def test_an_event_source_shares_a_client(scheme: str, dials: int) -> None:
    async with web(max_connections=1) as (net, client):
        events: list[str] = []
        async with aclosing(aiter(EventSource(f"{scheme}://a/events", client=client))) as source:
            async for event in source:
                events.append(event.data)
                if len(events) == 40:
                    break
        assert events == [f"tick {number}" for number in range(40)] and len(net.dials) == dials
        assert await get(client, f"{scheme}://a/") == "ok"
        with pytest.raises(StreamRefused):
            await anext(aiter(EventSource(f"{scheme}://a/early", client=client)))


@virtual
async def test_a_client_and_a_context_are_one_too_many() -> None:
    async with web() as (_, client):
        with pytest.raises(ValueError, match="can't both be given"):
            await connect("wss://a/", client=client, ssl=CONTEXT)
        with pytest.raises(ValueError, match="can't both be given"):
            EventSource("https://a/", client=client, ssl=CONTEXT)
        with pytest.raises(TypeError, match=r"client has to be minproto.Client or None"):
            await connect("wss://a/", client="a")  # type: ignore[arg-type]


# ---- the end ----------------------------------------------------------------------------------------------------------------


@virtual
@VERSIONS
async def test_the_end_of_a_client_ends_everything(scheme: str) -> None:
    """``virtual`` sees that no task is left."""
    for fails in (False, True):
        async with serving(app, trusted_gateway=True) as server:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("minproto.aio.client.connect_pipe", Web(server).dial)
                client = Client(ssl=CONTEXT, max_connections=2)
                tasks = [asyncio.create_task(get(client, f"{scheme}://a/slow?s=60")) for _ in range(4)]
                with pytest.raises(KeyError) if fails else nullcontext():
                    async with client:
                        response = await client.get(f"{scheme}://b/large")
                        await asyncio.sleep(1)
                        if fails:
                            raise KeyError
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(result, ConnectionError)
                with pytest.raises(ConnectionError):
                    await response.read()


# ---- the law: a place always comes back ------------------------------------------------------------------------------------


PATHS = ["/", "/slow", "/slow?s=1", "/large", "/empty", "/reset", "/last", "/early", "/echo"]
CALLS = st.tuples(
    st.sampled_from(PATHS),
    st.sampled_from(["read", "close", "drop", "half"]),  # what the user does with the response
    st.sampled_from([0.0, 0.5, 1.0]),  # when the request is made
    st.sampled_from([None, 0.0, 0.25, 0.5, 1.0, 1.5, 3.0]),  # when it is cancelled
    st.sampled_from([None, 0.5, 2.0]),  # its timeout
    st.booleans(),  # whether it has content that takes time
)


async def call(client: Client, url: str, then: str, start: float, limit: float | None, upload: bool) -> None:
    await asyncio.sleep(start)
    try:
        content = {"content": pieces(3, pause=0.4)} if upload else {}
        response = await client.request("POST" if upload else "GET", url, timeout=limit, **content)  # type: ignore[misc]
        if then == "read":
            await response.read()
        elif then == "close":
            await response.close()
        elif then == "half":
            await anext(aiter(response), b"")
            await response.close()
    except (OSError, RemoteProtocolError):
        pass


@pytest.mark.filterwarnings("ignore:.*dropped unread")
@settings(max_examples=20, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=8), st.sampled_from(["http", "https", "h1 over TLS"]), st.integers(1, 3))
def test_a_place_always_comes_back(calls: list[Any], scheme: str, places: int) -> None:
    """Whatever is asked, cancelled, reset, late or dropped: at the end nothing is in use, and a newcomer is served."""

    async def run() -> None:
        async with web(max_connections=places, server={"http2_limits": Http2Limits(max_streams=places)}) as (net, client):
            net.seconds, net.protocol = 0.25, "h2" if scheme == "https" else "http/1.1"
            origin = f"{scheme.partition(' ')[0]}://a" if scheme != "h1 over TLS" else "https://a"
            tasks = []
            for path, then, start, cancel, limit, upload in calls:
                tasks.append(asyncio.create_task(call(client, origin + path, then, start, limit, upload)))
                if cancel is not None:
                    asyncio.get_running_loop().call_later(cancel, tasks[-1].cancel)
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # a response that was dropped ends in a task
            busy, idle, waiting = total(client)
            assert busy == waiting == 0 and idle <= places
            assert await asyncio.gather(*(get(client, origin, timeout=9) for _ in range(places + 1))) == ["ok"] * (places + 1)

    clock.run(run())
