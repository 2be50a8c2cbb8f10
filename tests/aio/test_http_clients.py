"""What both of our HTTP clients promise alike: when a request can be made again, who is to blame, and what they wait for."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness import now, pieces, serving, virtual

from minproto import (
    Answer,
    ClientConnection,
    Http2Limits,
    RemoteProtocolError,
    Request,
    RequestRefused,
    Response,
    Timeouts,
    connect_http,
    connect_http2,
)
from minproto.aio import http1_client, http2_client
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.core import SERVER, LocalProtocolError
from minproto.http2 import Connection, GoAway, Ping, Reset
from minproto.http2_frames import ENHANCE_YOUR_CALM, HEADERS, encode_frame
from minproto.testing import network

VERSIONS = pytest.mark.parametrize("version", [1, 2])


async def app(request: Request) -> Answer:
    match request.path:
        case "/204":
            return Response(status=204)
        case "/304":
            return Response(status=304)
        case "/empty":
            return Response(b"")
        case "/count":
            return Response(b"%d" % len(await request.read()))
        case "/progress":
            return Response(count(request.body))
        case "/large":
            response = Response(pieces(1), headers=[(f"x-{n}", "y" * 80) for n in range(90)])
            response.trailers.extend((f"x-{n}", "y" * 80) for n in range(90))
            return response
        case "/late":
            await request.read()
            await asyncio.sleep(5)
        case "/slow":
            await asyncio.sleep(5)
    return Response.text(request.authority)


@virtual
@VERSIONS
async def test_a_connection_is_a_block_without_an_await(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a WebSocket's is: ``async with connect_http(…)``. With an ``await``, and as a task, as well."""
    connect: Any = connect_http if version == 1 else connect_http2
    async with serving(app) as server:

        async def dial(*_: Any, **options: Any) -> Pipe:
            return server.attach()

        monkeypatch.setattr(http1_client if version == 1 else http2_client, "connect_pipe", dial)
        async with connect("a", 80) as client:
            assert await (await client.request("GET", "/")).read() == b"a"
        async with await connect("a", 80) as client:
            assert await (await client.request("GET", "/")).read() == b"a"
        client = await asyncio.create_task(connect("a", 80))
        await client.close()


async def count(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A first piece at once, the next one when all of the body has come."""
    yield b"begun"
    yield b"%d" % sum([len(piece) async for piece in body])


def client_on(pipe: Any, version: int, timeouts: Timeouts = Timeouts()) -> Any:  # noqa: B008
    if version == 1:
        return ClientConnection(pipe, "a", timeouts=timeouts)
    return http2_client.ClientConnection(pipe, "a", "http", timeouts=timeouts)


async def relay(source: Any, target: Any, rate: float) -> None:
    """Carry bytes at a rate."""
    while data := await source.read():
        await asyncio.sleep(len(data) / rate)
        target.write(data)
        await target.drain()
    target.close_write()


@asynccontextmanager
async def over_slow_link(version: int, rate: float, timeouts: Timeouts = Timeouts(), **options: Any) -> Any:  # noqa: B008
    """A client of our server; what it sends goes so many bytes a second, and so does what comes back."""
    link = {"capacity": 4_000, "high_water": 4_000}
    async with serving(app, timeouts=Timeouts(body=1000, min_body_rate=1), **options) as server:
        ours, near = network.pair(cuts=itertools.repeat(1_000), **link)
        far = server.attach(cuts=itertools.repeat(1_000), **link)
        tasks = [asyncio.create_task(relay(near, far, rate)), asyncio.create_task(relay(far, near, rate))]
        async with client_on(ours, version, timeouts) as client:
            yield client
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        far.abort()


# ---- a connection that the server has closed (RFC 9110 §9.2.2, RFC 9112 §9.3.1, RFC 9113 §8.7) -----------------------------


def ends(pipe: Any, how: str) -> None:
    """What a server does to a connection that was idle for too long."""
    match how:
        case "408":
            pipe.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            pipe.close_write()
        case "garbage":
            pipe.write(b"\0\1\2\3 what is this?")
        case "end":
            pipe.close_write()
        case "reset":
            pipe.abort()
        case "goaway":
            pipe.write(encode_frame(7, 0, 0, bytes(8) + b"idle"))
            pipe.close_write()


@pytest.mark.parametrize("late", [False, True], ids=["long ago", "just now"])
@pytest.mark.parametrize("how", ["408", "garbage", "end", "reset", "goaway"])
@VERSIONS
@virtual
async def test_a_connection_that_the_server_closed_while_it_was_idle_refuses(version: int, how: str, late: bool) -> None:
    """Nothing of the request was sent, so it can be made again elsewhere, whatever it is: the server is not to blame."""
    async with serving(app) as server:
        ours = server.attach()
        async with client_on(ours, version) as client:
            assert await (await client.request("GET", "/")).read() == b"a"
            await asyncio.sleep(1)
            before = server.metrics.requests[200]
            ends(server.ends[-1], how)
            server.ends[-1].write = lambda data: None  # type: ignore[method-assign]
            await asyncio.sleep(0 if late else 1)
            with pytest.raises(RequestRefused) as refused:
                await client.request("POST", "/pay", body=b"all of it")
            assert how != "408" or "408 Request Timeout" in str(refused.value) or version == 2
            with pytest.raises(RequestRefused):
                await client.request("GET", "/")
        server.ends[-1].abort()
        assert server.metrics.requests[200] == before


@pytest.mark.parametrize("how", ["end", "reset"])
@VERSIONS
@virtual
async def test_a_server_that_closes_without_an_answer_is_a_lost_connection(version: int, how: str) -> None:
    """Nobody knows whether the request was processed; and no rule of the protocol was broken."""
    ours, theirs = network.pair()
    if version == 2:
        core = Connection(SERVER)
        theirs.write(core.send(core.greeting()))
    async with client_on(ours, version) as client:
        asking = asyncio.create_task(client.request("POST", "/pay", body=b"all of it"))
        await asyncio.sleep(1)
        ends(theirs, how)
        with pytest.raises(ConnectionError) as lost:
            await asking
        assert not isinstance(lost.value, RequestRefused | RemoteProtocolError)


@virtual
async def test_an_http1_connection_that_is_used_up_refuses() -> None:
    """After its last response, and after close()."""
    async with serving(app) as server, ClientConnection(server.attach(), "a") as client:
        await client.request("GET", "/204", [("connection", "close")])
        with pytest.raises(RequestRefused, match="used up"):
            await client.request("GET", "/")
    with pytest.raises(RequestRefused, match="was closed"):
        await client.request("GET", "/")


@virtual
async def test_a_request_is_not_sent_on_a_connection_that_is_closed_while_it_gets_ready() -> None:
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        asking = asyncio.create_task(client.request("GET", "/"))
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(client.close()))
        with pytest.raises(ConnectionError):
            await asking
        await client.close()


# ---- what is known is said ---------------------------------------------------------------------------------------------


@virtual
async def test_a_goaway_is_in_the_errors_of_our_client() -> None:
    """Its code by name, and its text."""
    ours, theirs = network.pair()
    core = Connection(SERVER)
    theirs.write(core.send(core.greeting()))
    async with http2_client.ClientConnection(ours, "a", "http") as client:
        first, second = (asyncio.create_task(client.request("GET", "/")) for _ in range(2))
        await asyncio.sleep(1)
        theirs.write(encode_frame(7, 0, 0, bytes([0, 0, 0, 1, 0, 0, 0, ENHANCE_YOUR_CALM]) + b"too_many_pings"))
        with pytest.raises(RequestRefused, match=r"ENHANCE_YOUR_CALM .'too_many_pings'"):
            await second
        with pytest.raises(RequestRefused, match=r"ENHANCE_YOUR_CALM .'too_many_pings'"):
            await client.request("GET", "/")
        theirs.close_write()
        with pytest.raises(ConnectionResetError, match=r"after GOAWAY ENHANCE_YOUR_CALM .'too_many_pings'"):
            await first


@virtual
async def test_a_reset_is_told_by_the_name_of_its_code() -> None:
    ours, theirs = network.pair()
    core = Connection(SERVER)
    theirs.write(core.send(core.greeting()))
    async with http2_client.ClientConnection(ours, "a", "http") as client:
        asking = asyncio.create_task(client.request("GET", "/"))
        await asyncio.sleep(1)
        core.receive_data(await theirs.read())
        list(core.events())
        theirs.write(core.send(Reset(1, 0xD)))
        with pytest.raises(ConnectionError, match="HTTP_1_1_REQUIRED"):
            await asking


@virtual
async def test_content_that_is_cut_off_is_told_with_both_lengths() -> None:
    ours, theirs = network.pair()
    async with client_on(ours, 1) as client:
        asking = asyncio.create_task(client.request("GET", "/"))
        await theirs.read()
        theirs.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
        theirs.close_write()
        with pytest.raises(RemoteProtocolError, match="Content-Length is 9, and 4 bytes of content came"):
            await (await asking).read()


@pytest.mark.parametrize(
    ("version", "answer", "advice"),
    [
        (1, encode_frame(4, 0, 0, bytes([0, 3, 0, 0, 0, 100])), "HTTP/2 on this port, not HTTP/1.1: use connect_http2"),
        (2, b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1 on this port, not HTTP/2: use connect_http"),
        (1, b"HTTP/1.1 200 OK\n", r"in the reason of a head: the server said b'HTTP/1.1 200 OK"),
        (1, b"\x15\x03\x01\0\2\2\x46", "TLS on this port: give the client a context"),
        (2, b"\x15\x03\x01\0\2\2\x46", "TLS on this port: give the client a context"),
    ],
)
@virtual
async def test_a_server_that_speaks_another_protocol_is_told(version: int, answer: bytes, advice: str) -> None:
    ours, theirs = network.pair()
    async with client_on(ours, version) as client:
        asking = asyncio.create_task(client.request("GET", "/"))
        await theirs.read()
        theirs.write(answer)
        theirs.close_write()
        with pytest.raises((RemoteProtocolError, ConnectionError), match=advice):
            await asking


@pytest.mark.parametrize("connect", [connect_http, connect_http2])
@pytest.mark.parametrize(
    ("host", "port", "advice"),
    [
        ("http://example.org", 80, "host has to be a name or an IP address alone"),
        ("https://example.org/path", 443, "host has to be a name or an IP address alone"),
        ("example.org/path", 80, "host has to be a name or an IP address alone"),
        ("example.org:80", 80, "without scheme, path and port"),
        ("", 80, "host has to be a name"),
        (" ", 80, "host has to be a name or an IP address alone"),
        (None, 80, "host has to be a name"),
        (b"example.org", 80, "host has to be a name"),
        ("example.org", "80", "port has to be"),
        ("example.org", None, "port has to be"),
        ("example.org", 0, "port 0"),
        ("example.org", -1, "port has to be"),
        ("example.org", 65_536, "port has to be"),
    ],
)
@virtual
async def test_what_is_no_host_or_port_is_told(connect: Any, host: Any, port: Any, advice: str) -> None:
    with pytest.raises((ValueError, TypeError), match=advice):
        await connect(host, port)


@VERSIONS
@virtual
async def test_a_host_field_of_the_user_replaces_ours(version: int) -> None:
    """:authority, in HTTP/2."""
    async with serving(app) as server, client_on(server.attach(), version) as client:
        for name in ("host", "Host"):
            assert await (await client.request("GET", "/", [(name, "b.example:81")])).read() == b"b.example:81"


# ---- what is over is let go of -----------------------------------------------------------------------------------------

EMPTY = pytest.mark.parametrize(("method", "path"), [("GET", "/204"), ("GET", "/304"), ("HEAD", "/"), ("GET", "/empty")])


@EMPTY
@VERSIONS
@virtual
async def test_an_empty_response_need_not_be_read(version: int, method: str, path: str) -> None:
    """There is nothing to read: so it holds up no request, and leaves nothing behind."""
    async with serving(app) as server, client_on(server.attach(), version) as client:
        for _ in range(3):
            response = await client.request(method, path)
            assert (await client.request("POST", "/204")).status == 204
            assert (await response.read(), response.trailers) == (b"", [])
        if version == 2:
            assert client.streams == {}


@virtual
async def test_responses_that_nobody_reads_take_no_memory() -> None:
    """Once they are whole, and the caller has dropped them: also those with content, and those of uploads."""
    async with serving(app) as server, http2_client.ClientConnection(server.attach(), "a", "http") as client:
        for path, body in (("/204", b""), ("/", b""), ("/204", pieces), ("/count", bytes(100_000))):
            for _ in range(50):
                await client.request("POST", path, body=pieces(2) if body is pieces else body)
                await asyncio.sleep(0.01)
            gc.collect()
            assert client.streams == {}
            assert not [thing for thing in gc.get_objects() if isinstance(thing, http2_client.Exchange)]


@virtual
async def test_requests_that_give_up_waiting_leave_nothing_behind() -> None:
    """Nobody else has to end for that."""
    async with serving(app, http2_limits=Http2Limits(max_streams=1)) as server:
        async with http2_client.ClientConnection(server.attach(), "a", "http") as client:
            slow = asyncio.create_task(client.request("GET", "/slow"))
            await asyncio.sleep(0.1)
            for _ in range(10):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await client.request("GET", "/")
            assert (len(client._waiting), client._promised) == (0, 0)
            assert (await slow).status == 200


@virtual
async def test_answers_that_were_read_leave_nothing_behind() -> None:
    """A connection that answers pings between its own frames for days."""
    async with serving(app) as server, http2_client.ClientConnection(server.attach(), "a", "http") as client:
        for _ in range(100):
            await (await client.request("GET", "/")).read()
            client.endpoint.send(Ping(bytes(8)))
        await asyncio.sleep(1)
        connection: Any = next(iter(server.server._connections.values()))
        assert len(connection._connection._replies._spans) <= 2


@virtual
async def test_a_response_that_was_let_go_of_is_read_all_the_same() -> None:
    """Also after the connection has ended: it was complete."""
    async with serving(app) as server:
        async with http2_client.ClientConnection(server.attach(), "a", "http") as client:
            response = await client.request("GET", "/")
            await asyncio.sleep(1)
        assert await response.read() == b"a"


# ---- slow links --------------------------------------------------------------------------------------------------------


@virtual
async def test_many_requests_with_large_heads_at_once_on_a_slow_link() -> None:
    """They wait for each other: what our own user asked for is nothing that the server provoked."""
    async with over_slow_link(2, 50_000) as client:
        fields = [(f"x-{n}", "y" * 80) for n in range(90)]
        asking = asyncio.gather(*(client.request("GET", "/", [*fields, ("x", str(n))]) for n in range(100)))
        unsent = []
        while not asking.done():
            await asyncio.sleep(0.1)
            unsent.append(client.endpoint.unsent)
        assert [response.status for response in await asking] == [200] * 100
        assert max(unsent) < HIGH_WATER + 10_000  # not all of the 800 KB


@virtual
async def test_many_answers_with_large_heads_and_trailers_on_a_slow_link() -> None:
    """Also while the client asks for more, or for a sign of life."""
    async with over_slow_link(2, 50_000) as client:
        asking = [asyncio.create_task(client.request("GET", "/large")) for _ in range(100)]
        for n in range(30):
            await asyncio.sleep(1)
            client.endpoint.send(Ping(b"%08d" % n))
        for response in await asyncio.gather(*asking):
            assert (await response.read(), len(response.trailers)) == (b"piece", 90)


@pytest.mark.parametrize("path", ["/count", "/progress"])
@VERSIONS
@virtual
async def test_an_answer_is_awaited_while_the_upload_is_taken(version: int, path: str) -> None:
    """60 KB at 1 KB a second take a minute, though our pipe has them at once: longer than the time for an answer."""
    async with over_slow_link(version, 1_000, Timeouts(idle=10, body=10)) as client:
        response = await client.request("POST", path, body=bytes(60_000))
        assert (await response.read()).endswith(b"60000")
        assert now() > 50


@VERSIONS
@virtual
async def test_an_answer_that_does_not_come_when_the_upload_was_taken_is_given_up(version: int) -> None:
    async with over_slow_link(version, 1_000, Timeouts(idle=4)) as client:
        with pytest.raises(TimeoutError):
            await client.request("POST", "/late", body=bytes(30_000))
        assert 27 < now() < 37


@pytest.mark.parametrize(
    ("method", "fields", "body", "says"),
    [
        ("TRACE", [], b"secret", "a TRACE has no content"),
        ("TRACE", [], pieces(1), "a TRACE has no content"),
        ("CONNECT", [], b"hello", "a CONNECT has no content"),
        ("TRACE", [("Cookie", "a=b")], b"", "it has no cookie"),
        ("TRACE", [("authorization", "Basic YTpi")], b"", "it has no authorization"),
        ("OPTIONS", [], b"{}", "an OPTIONS with content needs a content-type"),
        ("GET", [("Expect", "100-Continue")], b"", "without content there is nothing to wait for"),
    ],
)
@VERSIONS
@virtual
async def test_what_a_method_can_not_have_is_not_sent(version: int, method: str, fields: Any, body: Any, says: str) -> None:
    """RFC 9110 §9.3.6, §9.3.7, §9.3.8 and §10.1.1."""
    async with serving(app) as server, client_on(server.attach(), version) as client:
        with pytest.raises(LocalProtocolError, match=says):
            await client.request(method, "a:80" if method == "CONNECT" else "/", fields, body)
        right = await client.request("OPTIONS", "/", [("Content-Type", "text/plain"), ("Expect", "100-continue")], b"x")
        assert right.status == 200


@pytest.mark.parametrize(("seconds", "expected"), [("default", 30), (5.0, 5), (100.0, 100), (None, None)])
@VERSIONS
@virtual
async def test_a_caller_sets_how_long_a_response_may_be_silent(version: int, seconds: Any, expected: float | None) -> None:
    """As an app does for a request, by the same name. A conversation in which both sides are silent for hours is one."""

    async def talk(said: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield b"hello"
        async for piece in said:
            yield piece

    async def converse(request: Request) -> Answer:
        request.body_timeout = None
        return Response(talk(request.body), early_head=True)

    async def silent() -> AsyncIterator[bytes]:
        await asyncio.sleep(10_000)
        yield b"late"

    async with serving(converse) as server, client_on(server.attach(), version) as client:
        response = await client.request("POST", "/", body=silent())
        assert response.body_timeout == 30
        if seconds != "default":
            response.body_timeout = seconds
        assert await anext(response) == b"hello"
        if expected is None:
            assert (await response.read(), now()) == (b"late", 10_000)
        else:
            with pytest.raises(TimeoutError, match=f"more of the response within {expected:g} s"):
                await response.read()
            assert now() == expected


@VERSIONS
@virtual
async def test_what_has_arrived_when_the_time_is_up_counts(version: int) -> None:
    """A loop that was held up, say by a long computation, finds the timer and the answer at once: the server was in time."""
    loop: Any = asyncio.get_running_loop()
    ours, theirs = network.pair()
    core = Connection(SERVER)
    greeting = core.send(core.greeting())
    theirs.write(greeting if version == 2 else b"")
    block = core._coder.encode([(":status", "204")])
    async with client_on(ours, version, Timeouts(idle=5)) as client:
        asking = asyncio.create_task(client.request("GET", "/"))
        await asyncio.sleep(4.5)
        theirs.write(b"HTTP/1.1 204 \r\n\r\n" if version == 1 else encode_frame(HEADERS, 5, 1, block))
        loop._now += 1
        assert (await asking).status == 204


@virtual
async def test_a_malformed_answer_of_another_stream_is_no_end_of_ours() -> None:
    """Fault of one stream, named with what was compared."""
    ours, theirs = network.pair()
    core = Connection(SERVER)
    theirs.write(core.send(core.greeting()))
    async with http2_client.ClientConnection(ours, "a", "http") as client:
        asking = asyncio.create_task(client.request("GET", "/"))
        await asyncio.sleep(1)
        block = core._coder.encode([(":status", "200"), ("content-length", "3")])
        theirs.write(encode_frame(HEADERS, 4, 1, block) + encode_frame(0, 1, 1, b"ab"))
        with pytest.raises(ConnectionError, match="Content-Length is 3, and 2 bytes"):
            await (await asking).read()
        theirs.write(core.send(GoAway(1)))
