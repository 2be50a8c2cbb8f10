"""How HTTP/2 connections end: drained, idle, abandoned, half-closed, aborted; and which version a connection speaks at all."""

import asyncio
from typing import Any

import pytest
from h2_harness import Peer, StreamReset, peer_of, talking
from harness import FIN, HELLO, RST, get, now, pieces, serving, virtual

from minproto import Answer, Broker, EventStream, Request, RequestRefused, Response, Timeouts, Upgrade
from minproto.aio.http2_client import ClientConnection
from minproto.aio.listener import FIRST_REQUEST
from minproto.http import Data
from minproto.http2 import GoAway, Limits, Ping, SettingsAck
from minproto.http2_frames import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    MAX_ID,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS_TIMEOUT,
    encode_frame,
    encode_settings,
)
from minproto.testing import network

START = PREFACE + encode_settings([]) + encode_frame(4, 1, 0)


class App:
    """Handlers that take their time, and how they ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.broker = Broker(history=10)

    async def __call__(self, request: Request) -> Answer:
        name = request.path
        try:
            match name:
                case "/slow":
                    await asyncio.sleep(5)
                case "/forever":
                    await asyncio.sleep(10_000)
                case "/stubborn":
                    until = now() + 100
                    while now() < until:
                        try:
                            await asyncio.sleep(until - now())
                        except asyncio.CancelledError:
                            self.ended.append("asked to end")
                case "/read":
                    return Response.text(str(len(await request.read())))
                case "/echo":
                    return Response(request.body)
                case "/endless":
                    return Response(pieces(1 << 40))
                case "/slowly":
                    return Response(pieces(5, pause=1))
                case "/events":
                    return EventStream(self.broker.subscribe("updates"))
            return Response.text(name)
        except asyncio.CancelledError:
            self.ended.append(f"{name} cancelled")
            raise


# -- drain


@virtual
async def test_drain() -> None:
    """First GOAWAY for all that could come, then, when the client has read that, the real one; all is answered, and closed."""
    async with talking(App()) as (server, peer):
        slow, upload = peer.ask("GET", "/slow"), peer.open("POST", "/echo")
        await asyncio.sleep(1)
        closing = asyncio.create_task(server.server.close())
        last = peer.ask("GET", "/hello")  # under way while the server decides
        await asyncio.sleep(1)
        assert [goaway.last for goaway in peer.goaways] == [MAX_ID, last]
        assert (await peer.answer(last)).body == b"Hello, World!"
        peer.core.going_away = None
        ignored = peer.ask("GET", "/hello")
        await peer.upload(upload, b"late")
        assert (await peer.answer(upload)).body == b"late"
        assert (await peer.answer(slow)).body == b"/slow"
        assert (await peer.ends(), now()) == (FIN, 5)
        assert peer.answers[ignored].status == 0
        await peer.close()
        await closing
        assert [goaway.code for goaway in peer.goaways] == [NO_ERROR] * 2
        server.server._draining = False


@virtual
async def test_drain_of_idle_connections() -> None:
    """At once; also those that have not said a word, or not answered."""
    async with serving(App()) as server:
        async with peer_of(server) as peer, peer_of(server, replies=False) as mute:
            silent = server.client()
            await peer.get("/hello")
            await asyncio.sleep(FIRST_REQUEST)
            began = now()
            closing = asyncio.create_task(server.server.close())
            assert await peer.ends() == FIN
            assert await silent.end() == FIN
            assert now() == began
            assert [goaway.last for goaway in peer.goaways] == [MAX_ID, peer.core.next_stream - 2]
            assert (await mute.ends(), now() - began) == (FIN, Timeouts().linger)
            await silent.pipe.close()
        await closing
        server.server._draining = False


@virtual
async def test_drain_before_the_first_turn() -> None:
    """A connection that was accepted in the same turn of the loop in which the server stops."""
    async with serving(App()) as server:
        ours, theirs = network.pair()
        theirs.info = lambda name: Selected() if name == "ssl_object" else None  # type: ignore[method-assign]
        server.server.attach(theirs)
        closing = asyncio.create_task(server.server.close())
        peer = Peer(ours)
        assert await peer.ends() == FIN
        await peer.close()
        await closing
        server.server._draining = False


@pytest.mark.parametrize(("quiet", "ends"), [(True, 0.5), (False, 2)])
@virtual
async def test_over_tls_a_fault_closes_the_connection_as_soon_as_the_peer_is_silent(quiet: bool, ends: float) -> None:
    """Our end is told only by closing; as long as more comes, that would be a reset, which could destroy the GOAWAY."""
    async with serving() as server:
        ours, theirs = network.pair(half_close=False)
        theirs.info = lambda name: Selected() if name == "ssl_object" else None  # type: ignore[method-assign]
        server.server.attach(theirs)
        ours.write(START + encode_frame(6, 0, 0, bytes(6)))
        while not quiet and now() < 1.5:
            await asyncio.sleep(0.4)
            ours.write(b"x")
        pieces = []
        while piece := await ours.read():
            pieces.append(piece)
        assert bytes([0, 0, 0, FRAME_SIZE_ERROR]) in b"".join(pieces)
        assert now() == pytest.approx(ends, abs=0.01)
        await ours.close()


class Selected:
    """What TLS says of a handshake."""

    def selected_alpn_protocol(self) -> str:
        return "h2"


@virtual
async def test_drain_ends_what_has_no_end() -> None:
    """A stream of events ends in order; what does not is cut off at the deadline, and what ignores that is left behind."""
    app = App()
    async with serving(app, timeouts=Timeouts(drain=10)) as server:
        async with peer_of(server, hold=True) as peer:
            events, endless, forever = (peer.ask("GET", path) for path in ("/events", "/endless", "/forever"))
            await asyncio.sleep(1)
            closing = asyncio.create_task(server.server.close())
            assert b"retry:" in (await peer.answer(events)).body
            assert now() == 1
            assert await peer.ends() == RST
            assert 11 <= now() < 13
            assert not peer.answers[endless].ended and not peer.answers[forever].ended
        await closing
        assert app.ended == ["/forever cancelled"]
        server.server._draining = False


@virtual
async def test_what_begins_while_the_server_drains_is_told_to_end() -> None:
    async with talking(App()) as (server, peer):
        await peer.get("/hello")
        closing = asyncio.create_task(server.server.close())
        events = peer.ask("GET", "/events")  # under way, so it is answered
        assert b"retry:" in (await peer.answer(events)).body
        assert await peer.ends() == FIN
        assert now() < 1
        await closing
        server.server._draining = False


@virtual
async def test_drain_of_a_connection_that_has_said_half_a_line() -> None:
    async with serving(App()) as server:
        client = server.client()
        client.send(b"PRI * ")
        await asyncio.sleep(1)
        closing = asyncio.create_task(server.server.close())
        assert (await client.end(), now()) == (FIN, 1)
        await client.pipe.close()
        await closing
        server.server._draining = False


@virtual
async def test_a_tunnel_that_does_not_end_is_cut_off_at_the_deadline() -> None:
    ended: list[float] = []

    async def tunnel(pipe: Any) -> None:
        try:
            await asyncio.sleep(100_000)
        finally:
            ended.append(now())

    async def app(request: Request) -> Answer:
        return Upgrade(tunnel, status=200)

    async with serving(app, timeouts=Timeouts(drain=10)) as server:
        async with peer_of(server) as peer:
            peer.open("CONNECT", "a:80", host="a:80")
            await asyncio.sleep(1)
            await server.server.close()
            assert ended == [11]
        server.server._draining = False


@virtual
async def test_no_handler_outlives_its_connection() -> None:
    """One that takes its time to clean up keeps the connection's place."""

    async def app(request: Request) -> Answer:
        try:
            await asyncio.sleep(100_000)
        finally:
            await asyncio.sleep(5)
        return Response()

    async with talking(app) as (server, peer):
        peer.ask("GET", "/")
        await asyncio.sleep(1)
        peer.pipe.abort()
        await asyncio.sleep(1)
        assert server.metrics.connections == 1
        await asyncio.sleep(5)
        assert server.metrics.connections == 0


@virtual
async def test_a_handler_that_ignores_its_cancellation_holds_up_nobody(logged: list[str]) -> None:
    app = App()
    async with serving(app, timeouts=Timeouts(drain=10)) as server:
        async with peer_of(server) as peer:
            stubborn = peer.ask("GET", "/stubborn")
            hello = await peer.get("/hello")
            assert hello.status == 200
            peer.reset(stubborn)
            assert (await peer.get("/hello")).status == 200
            again = peer.ask("GET", "/stubborn")
            await asyncio.sleep(1)
            peer.raw(0xA, 0, 0)
            peer.raw(9, 4, again)  # CONTINUATION of nothing
            await peer.ends()
            assert (peer.goaways[-1].code, now() <= 4) == (PROTOCOL_ERROR, True)
            began = now()
            await server.server.close()
            assert now() - began < 13
        await asyncio.sleep(200)
        server.server._draining = False
    assert app.ended
    assert [line for line in logged if "ignores" not in line] == []
    logged.clear()


# -- timeouts


@virtual
async def test_idle() -> None:
    """A quiet connection is closed, also one that pings; one with a request under way is not."""
    async with talking(App(), timeouts=Timeouts(idle=20)) as (server, peer):
        await peer.get("/hello")
        assert (await peer.ends(), now()) == (FIN, 20)
        assert [(goaway.last, goaway.code) for goaway in peer.goaways] == [(1, NO_ERROR)]
        async with peer_of(server) as pinging:
            began = now()
            while not pinging.over:
                pinging.send(Ping(b"12345678"))
                await asyncio.sleep(3)
            assert 20 <= now() - began <= 26
        async with peer_of(server) as waiting:
            stream = waiting.ask("GET", "/forever")
            await asyncio.sleep(100)
            assert not waiting.over
            waiting.reset(stream)
            began = now()
            assert (await waiting.ends(), now() - began) == (FIN, 20)


@virtual
async def test_settings_that_are_not_acknowledged() -> None:
    async with talking(App(), peer={"replies": False}) as (_, peer):
        assert (await peer.ends(), now()) == (FIN, 10)
        assert peer.goaways[-1].code == SETTINGS_TIMEOUT


@pytest.mark.parametrize(
    "begun",
    [PREFACE[:20], START + b"\0\0", START + b"\0\0\x08\6\0\0\0\0\0half", START + encode_frame(1, 0, 1, b"\x82")],
    ids=["preface", "header", "payload", "block"],
)
@virtual
async def test_a_frame_that_is_not_completed(begun: bytes) -> None:
    async with talking(App(), peer={"greets": False}) as (_, peer):
        await asyncio.sleep(1)
        peer.pipe.write(begun)
        peer.core._greeted = True
        assert (await peer.ends(), now()) == (FIN, 21)
        assert peer.goaways[-1].code == ENHANCE_YOUR_CALM
        assert peer.goaways[-1].debug == (b"no settings came" if begun == PREFACE[:20] else b"a frame took too long")


@virtual
async def test_a_frame_that_trickles() -> None:
    """Its time does not begin anew with each byte."""
    async with talking(App()) as (_, peer):
        await peer.get("/hello")
        for byte in b"\0\0\x50\0\0\0\0\0\1" + bytes(60):
            peer.pipe.write(bytes([byte]))
            await asyncio.sleep(1)
            if peer.over:
                break
        assert 20 <= now() <= 22
        assert peer.goaways[-1].code == ENHANCE_YOUR_CALM


@virtual
async def test_content_in_one_frame_may_be_as_slow_as_content_may_be() -> None:
    """Of half a kilobyte a second, where the time for a head would be over."""
    async with talking(App(), timeouts=Timeouts(head=2)) as (_, peer):
        await peer.get("/hello")
        stream = peer.open("POST", "/read")
        for piece in [b"\0\x0b\xb8\0\1\0\0\0\3", *[bytes(100)] * 30]:  # 3,000 bytes, the last of the stream
            peer.pipe.write(piece)
            await asyncio.sleep(0.15)
        assert (await peer.answer(stream)).body == b"3000"

        stream = peer.open("POST", "/read")
        peer.pipe.write(b"\0\x0b\xb8\0\1\0\0\0\5")
        began = now()
        assert (await peer.ends(), now() - began) == (FIN, 6)
        assert peer.goaways[-1].debug == b"a frame took too long"


@virtual
async def test_a_quiet_connection_may_ping_for_hours() -> None:
    """What is a flood in a second is none in a day."""
    async with talking(App(), http2_limits=Limits(max_idle_frames=50)) as (_, peer):
        stream = peer.ask("GET", "/forever")
        for _ in range(200):
            peer.send(Ping(b"12345678"))
            await asyncio.sleep(5)
        assert not peer.over
        peer.reset(stream)


@virtual
async def test_frames_that_never_end_with_a_read_are_no_slow_ones() -> None:
    """An upload for a minute, each read of which ends in the middle of a frame."""
    async with talking(App()) as (_, peer):
        await peer.until(lambda: peer.core.settings_acknowledged)
        stream = peer.open("POST", "/read")
        half = b""
        for _ in range(60):
            frame = peer.core.send(Data(b"x" * 1000, stream))
            peer.pipe.write(half + frame[:500])
            half = frame[500:]
            await asyncio.sleep(1)
        peer.pipe.write(half)
        peer.end(stream)
        assert (await peer.answer(stream)).body == b"60000"


# -- clients that leave


@virtual
async def test_a_client_that_half_closes_gets_its_answers() -> None:
    async with talking(App()) as (_, peer):
        slow, slowly = peer.ask("GET", "/slow"), peer.ask("GET", "/slowly")
        await peer.until(lambda: peer.core.settings_acknowledged)
        await asyncio.sleep(1)
        peer.replies = False
        peer.pipe.close_write()
        assert (await peer.answer(slow)).body == b"/slow"
        assert (await peer.answer(slowly)).body == b"piece" * 5
        assert await peer.ends() == FIN


@pytest.mark.parametrize("half_close", [True, False])
@virtual
async def test_a_client_that_is_gone_cancels_its_handlers(half_close: bool) -> None:
    """Its end looks like a half-close, and what we send then tells: even if no handler sends anything."""
    app = App()
    async with serving(app) as server:
        async with peer_of(server, net={"half_close": half_close}) as peer:
            await peer.get("/hello")
            peer.ask("GET", "/forever")
            await asyncio.sleep(1)
        await asyncio.sleep(3)
        assert app.ended == ["/forever cancelled"]
        assert (server.metrics.in_flight, server.metrics.connections) == (0, 0)


@virtual
async def test_an_end_in_the_middle_of_a_request() -> None:
    app = App()
    async with talking(app) as (server, peer):
        peer.ask("GET", "/forever")
        upload = peer.open("POST", "/echo")
        await peer.upload(upload, b"begun", end=False)
        await asyncio.sleep(1)
        peer.pipe.close_write()
        assert await peer.ends() == FIN
        assert peer.goaways[-1].code == PROTOCOL_ERROR
        assert app.ended == ["/forever cancelled"]
        assert server.metrics.in_flight == 0


PHASES = ["silent", "preface", "settings", "head", "body", "waiting", "answering", "stalled", "closing"]


@pytest.mark.parametrize("phase", PHASES)
@virtual
async def test_an_abort_in_each_phase(phase: str) -> None:
    """Nothing is left of it, and nothing in the log."""
    app = App()
    async with talking(app, peer={"greets": phase not in ("silent", "preface"), "hold": True}) as (server, peer):
        match phase:
            case "preface":
                peer.pipe.write(PREFACE[:20])
            case "head":
                peer.raw(1, 0, 1, b"\x82")
            case "body":
                await peer.upload(peer.open("POST", "/read"), b"begun", end=False)
            case "waiting":
                peer.ask("GET", "/forever")
            case "answering":
                peer.ask("GET", "/slowly")
            case "stalled":
                peer.ask("GET", "/endless")
            case "closing":
                peer.raw(9, 4, 1)
                peer.stall()
        await asyncio.sleep(1)
        peer.pipe.abort()
        await asyncio.sleep(0.001)
        assert (server.metrics.in_flight, server.metrics.connections) == (0, 0)


@virtual
async def test_a_goaway_from_the_client_changes_nothing_for_its_requests() -> None:
    async with talking(App()) as (_, peer):
        slow = peer.ask("GET", "/slow")
        peer.send(GoAway(0))
        assert (await peer.answer(slow)).body == b"/slow"


@virtual
async def test_faults_end_the_connection_with_goaway() -> None:
    """Its code is the fault's; requests that were under way end."""
    app = App()
    faults = [
        (encode_frame(0, 0, 99, b"x"), PROTOCOL_ERROR),
        (b"\xff\xff\xff\0\0\0\0\0\1", FRAME_SIZE_ERROR),
        (encode_frame(1, 4, 5, b"\x82") + b"GET / HTTP/1.1\r\n\r\n", FRAME_SIZE_ERROR),
    ]
    async with serving(app) as server:
        for data, code in faults:
            async with peer_of(server) as peer:
                peer.ask("GET", "/forever")
                await asyncio.sleep(1)
                peer.core._streams.next_id = 7
                peer.pipe.write(data)
                assert await peer.ends() == FIN
                assert (peer.goaways[-1].code, peer.goaways[-1].last) in ((code, 1), (code, 5))
    assert app.ended == ["/forever cancelled"] * 3


@virtual
async def test_too_many_connections() -> None:
    """Each is told in its own version; who says nothing, or no more than half a line, in HTTP/1.1, after the linger time."""
    async with talking(App(), max_connections=1) as (server, peer):
        await peer.get("/hello")
        async with peer_of(server) as refused:
            assert await refused.ends() == FIN
            assert [(goaway.last, goaway.debug) for goaway in refused.goaways] == [(0, b"too many connections")]
        for data, when in ((HELLO, 0), (b"", 2), (b"PRI *", 2)):
            client, began = server.client(), now()
            client.send(data)
            assert ((await client.answer()).status, now() - began) == (503, when)
            await client.pipe.close()
        gone = server.client()
        gone.pipe.abort()
        await peer.close()
        await asyncio.sleep(3)


# -- which version it is


@pytest.mark.parametrize("data", [PREFACE, HELLO, get("/hello", method="POST"), b"PRINT / HTTP/1.1\r\nHost: a\r\n\r\n"])
@virtual
async def test_first_bytes_one_by_one(data: bytes) -> None:
    async with serving() as server:
        client = server.client()
        for byte in data:
            client.send(bytes([byte]))
            await asyncio.sleep(0.01)
        if data is PREFACE:
            assert (await client.pipe.read())[3:9] == b"\4\0\0\0\0\0"  # SETTINGS
        else:
            assert (await client.answer()).status == {HELLO[:4]: 200, b"POST": 200, b"PRIN": 501}[data[:4]]
        await client.pipe.close()


@pytest.mark.parametrize("rest", [b"\r\n\r\nXX\r\n\r\n", b"\r\nHost: a\r\n\r\n", b"\r\n\r\nSM\r\n\rX", b"0 x\r\n\r\n"])
@virtual
async def test_a_wrong_preface_gets_no_answer_of_http1(rest: bytes) -> None:
    async with serving() as server:
        client = server.client()
        client.send(b"PRI * HTTP/2.0" + rest)
        data = b"".join(await client.reads())
        assert b"HTTP/1.1" not in data
        assert data.count(b"\7\0\0\0\0\0") == 1  # GOAWAY
        await client.pipe.close()


@pytest.mark.parametrize("data", [HELLO, b"PRI * HTTP/1.1\r\n\r\n", b"\x16\3\1"])
@virtual
async def test_after_alpn_nothing_but_http2_is_spoken(data: bytes) -> None:
    async with serving() as server:
        ours, theirs = network.pair()
        theirs.info = lambda name: Selected() if name == "ssl_object" else None  # type: ignore[method-assign]
        server.server.attach(theirs)
        ours.write(data)
        ours.close_write()
        answer = b""
        while piece := await ours.read():
            answer += piece
        assert answer[3:4] == b"\4" and b"HTTP/1.1" not in answer
        await ours.close()


@virtual
async def test_upgrade_h2c_is_ignored() -> None:
    async with serving() as server:
        client = server.client()
        fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        answer = await client.ask(get("/hello", *fields))
        assert (answer.status, answer.body, answer.headers.get("upgrade")) == (200, b"Hello, World!", None)
        await client.pipe.close()


@pytest.mark.parametrize(
    ("first", "answer"),
    [(b"P", b"HTTP/1.1 408"), (b"PRI * HTT", b"HTTP/1.1 408"), (PREFACE[:-1], encode_frame(4, 0, 0, bytes(30))[:9])],
)
@virtual
async def test_first_bytes_that_go_no_further(first: bytes, answer: bytes) -> None:
    """The time for a head, or a preface, runs from its first byte, also where that does not tell yet which of them it is."""
    async with serving() as server:
        client = server.client()
        for byte in first:
            client.send(bytes([byte]))
            await asyncio.sleep(0.5)
        assert b"".join(await client.reads()).startswith(answer)
        assert now() == Timeouts().head
        await client.pipe.close()


@virtual
async def test_the_time_for_a_second_head_is_its_own() -> None:
    """It does not run since the first bytes of the connection."""
    async with serving(App()) as server:
        client = server.client()
        client.send(get("/slow") + b"GET /he")
        assert ((await client.answer()).status, now()) == (200, 5)
        await asyncio.sleep(19)
        client.send(b"llo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert ((await client.answer()).status, now()) == (200, 24)
        await client.pipe.close()


# -- what a connection is for


@virtual
async def test_events_and_a_long_poll() -> None:
    app = App()
    async with talking(app) as (_, peer):
        events = peer.ask("GET", "/events")
        await asyncio.sleep(1)
        app.broker.publish("updates", b"one")
        await peer.until(lambda: b"data: one" in peer.answers[events].body)
        await asyncio.sleep(100)
        assert b": still here" in peer.answers[events].body
        assert app.broker.inner.publish("updates", b"two") == 1
        peer.reset(events)
        await asyncio.sleep(0.001)
        assert app.broker.inner.publish("updates", b"three") == 0


@virtual
async def test_a_stream_of_events_to_a_client_that_is_gone() -> None:
    app = App()
    async with serving(app) as server:
        async with peer_of(server) as peer:
            peer.ask("GET", "/events")
            await asyncio.sleep(1)
        await asyncio.sleep(3)
        assert app.broker.inner.publish("updates", b"x") == 0
        assert server.metrics.connections == 0


@virtual
async def test_settings_are_not_acknowledged_while_the_peer_is_still_sending() -> None:
    """On a slow link its acknowledgement is behind what it had sent before it saw our settings."""
    async with talking(App(), peer={"replies": False}) as (_, peer):
        stream = peer.open("POST", "/echo")
        for _ in range(30):
            await asyncio.sleep(1)
            peer.send(Data(bytes(1_000), stream))
        peer.replies = True
        peer.send(SettingsAck())
        assert len((await _ended(peer, stream)).body) == 30_000


async def _ended(peer: Peer, stream: int) -> Any:
    peer.end(stream)
    return await peer.answer(stream)


@virtual
async def test_without_idle_time_a_first_request_is_answered() -> None:
    """0 seconds between two messages: the connection serves one, then it is closed."""
    async with talking(App(), timeouts=Timeouts(idle=0)) as (_, peer):
        await asyncio.sleep(1)
        assert (await peer.get("/hello")).status == 200
        assert (await peer.ends(), now()) == (FIN, 1)


@virtual
async def test_without_idle_time_our_client_can_ask_once() -> None:
    async with serving(App()) as server:
        client = ClientConnection(server.attach(), "a", "http", timeouts=Timeouts(idle=0, head=0))
        await asyncio.sleep(1)
        asking = asyncio.create_task(client.request("GET", "/hello"))
        await asyncio.wait([asking])
        assert isinstance(asking.exception(), TimeoutError)
        with pytest.raises(RequestRefused):
            await client.request("GET", "/hello")
        await client.close()


@virtual
async def test_an_upload_that_ends_early_behind_its_answer_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """So curl ends an upload that was refused. It has its answer, whatever its content was to be."""

    async def app(request: Request) -> Answer:
        return Response.text("too much", 413)

    async with talking(app) as (_, peer):
        stream = peer.open("POST", "/", ("content-length", "100"))
        assert (await peer.answer(stream)).status == 413
        peer.raw(0, 1, stream)
        await peer.get("/hello")
        assert caplog.messages == []


class Unusual(BaseException):
    """Libraries that stop a program or a task in their own way have such."""


@pytest.mark.parametrize("error", [Unusual("stop"), GeneratorExit("stop")])
@virtual
async def test_what_an_app_raises_that_is_no_exception_resets_its_stream(error: BaseException, logged: list[str]) -> None:
    async def app(request: Request) -> Answer:
        raise error

    async with talking(app) as (_, peer):
        with pytest.raises(StreamReset):
            await peer.get("/")
        assert "stop" in logged.pop()
