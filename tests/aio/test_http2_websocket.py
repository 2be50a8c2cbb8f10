"""A WebSocket on a stream of HTTP/2 (RFC 8441): as on a connection, with each of its endings, and beside other requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from h2_harness import Peer, StreamReset, talking
from harness import now, virtual
from ws_harness import app_with, echo

from minproto import Answer, Request, Upgrade, WebSocket
from minproto.core import CLIENT, Event, Wants
from minproto.http2 import Limits
from minproto.http2_frames import CANCEL, INTERNAL_ERROR, NO_ERROR
from minproto.websocket import Close, Connection, Message
from minproto.websocket_handshake import Agreement


class Socket:
    """A client's end, on a stream of a peer."""

    def __init__(self, peer: Peer, *fields: tuple[str, str]) -> None:
        self.peer = peer
        self.stream = peer.open("CONNECT", "/ws", ("sec-websocket-version", "13"), *fields, protocol="websocket")
        self.answer = peer.answers[self.stream]
        self.core = Connection(CLIENT, Agreement())
        self._seen = 0

    async def opened(self) -> "Socket":
        await self.peer.until(lambda: self.answer.status)
        return self

    async def send(self, event: Event) -> None:
        await self.peer.upload(self.stream, self.core.send(event), end=False)

    def end(self) -> None:
        if self.peer.core.is_open(self.stream):
            self.peer.end(self.stream)

    async def event(self) -> Event | None:
        while (event := self.core.next_event()) is None and self.core.wants is Wants.DATA:
            await self.peer.until(lambda: len(self.answer.body) > self._seen or self.answer.ended)
            if len(self.answer.body) == self._seen:
                return None
            self.core.receive_data(self.answer.body[self._seen :])
            self._seen = len(self.answer.body)
        return event


@asynccontextmanager
async def session(handler: Any, **options: Any) -> AsyncIterator[tuple[Any, Socket]]:
    """A server whose app is a WebSocket handler, and a socket to it."""
    async with talking(app_with(handler, **options.pop("upgrade", {})), **options) as (server, peer):
        await peer.until(lambda: peer.core.peer_settings)
        yield server, await Socket(peer).opened()


class Recorded:
    """What a handler has seen of the end."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.cancelled = False

    async def __call__(self, ws: WebSocket) -> None:
        try:
            async for message in ws:
                await ws.send(message)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.codes.append(ws.close_code or 0)


@virtual
async def test_messages_beside_requests() -> None:
    async with session(echo) as (server, socket):
        assert (socket.answer.status, socket.answer.headers.get("sec-websocket-accept")) == (200, None)
        assert socket.answer.headers.get("upgrade") is socket.answer.headers.get("connection") is None
        for message in ("text", b"binary", "x" * 300_000):
            sending = asyncio.create_task(socket.send(Message(message)))
            assert (await socket.peer.get("/hello")).status == 200
            event = await socket.event()
            await sending
            assert isinstance(event, Message) and event.data == message
        assert server.metrics.in_flight == 1


@virtual
async def test_several_on_one_connection() -> None:
    async with session(echo) as (_, first):
        sockets = [first, *[await Socket(first.peer).opened() for _ in range(5)]]
        for number, socket in enumerate(sockets):
            await socket.send(Message(str(number)))
        for number, socket in enumerate(sockets):
            event = await socket.event()
            assert isinstance(event, Message) and event.data == str(number)


@virtual
async def test_compression_and_subprotocol() -> None:
    async with talking(app_with(echo, subprotocols=["chat"])) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        socket = await Socket(
            peer, ("sec-websocket-protocol", "other, chat"), ("sec-websocket-extensions", "permessage-deflate")
        ).opened()
        assert socket.answer.headers.get("sec-websocket-protocol") == "chat"
        assert (socket.answer.headers.get("sec-websocket-extensions") or "").startswith("permessage-deflate")


@virtual
async def test_refusals() -> None:
    """By the handshake's rules; and one that asks by HTTP/1.1's Upgrade is malformed."""
    async with talking(app_with(echo)) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        old = peer.open("CONNECT", "/ws", ("sec-websocket-version", "8"), protocol="websocket")
        answer = await peer.answer(old)
        assert (answer.status, answer.headers.get("sec-websocket-version")) == (426, "13")
        strange = peer.open("CONNECT", "/ws", ("sec-websocket-version", "13"), ("origin", "http://evil"), protocol="websocket")
        assert (await peer.answer(strange)).status == 403
        other = peer.open("CONNECT", "/ws", ("sec-websocket-version", "13"), protocol="connect-udp")
        assert (await peer.answer(other)).status in (400, 501)
        assert (await peer.get("/ws")).status >= 400


@virtual
async def test_closed_by_the_peer() -> None:
    handler = Recorded()
    async with session(handler) as (server, socket):
        await socket.send(Message("a"))
        await socket.send(Close(1000))
        assert isinstance(await socket.event(), Message)
        assert isinstance(await socket.event(), Close)
        await socket.peer.until(lambda: socket.answer.ended)
        socket.end()
        await asyncio.sleep(0.001)
        assert (handler.codes, server.metrics.in_flight) == ([1000], 0)
        assert (await socket.peer.get("/hello")).status == 200


@virtual
async def test_closed_by_the_handler() -> None:
    async def leaves(ws: WebSocket) -> None:
        await ws.send("bye")

    async with session(leaves) as (server, socket):
        assert isinstance(await socket.event(), Message)
        close = await socket.event()
        assert isinstance(close, Close) and close.code == 1000
        await socket.send(Close(1000))
        await socket.peer.until(lambda: socket.answer.ended)
        socket.end()
        await asyncio.sleep(5)
        assert server.metrics.in_flight == 0


@virtual
async def test_a_handler_that_fails(logged: list[str]) -> None:
    async def fails(ws: WebSocket) -> None:
        raise ValueError("secret")

    async with session(fails) as (_, socket):
        close = await socket.event()
        assert isinstance(close, Close) and close.code == 1011
        assert len(logged) == 1
        logged.clear()


@virtual
async def test_a_reset_is_a_lost_connection() -> None:
    """The handler sees 1006, as on a connection of its own, and is not cut off."""
    handler = Recorded()
    async with session(handler) as (server, socket):
        socket.peer.reset(socket.stream, CANCEL)
        await asyncio.sleep(0.001)
        assert (handler.codes, handler.cancelled, server.metrics.in_flight) == ([1006], False, 0)


@virtual
async def test_aborted_by_the_handler() -> None:
    """RFC 8441 §5: RST_STREAM with CANCEL takes the place of TCP's reset, and END_STREAM does not come."""

    async def gives_up(ws: WebSocket) -> None:
        ws.abort()

    async with session(gives_up) as (_, socket):
        await socket.peer.until(lambda: socket.answer.reset is not None)
        assert (socket.answer.reset, socket.answer.ended) == (CANCEL, False)
        assert (await socket.peer.get("/hello")).status == 200


@virtual
async def test_the_connection_is_lost() -> None:
    handler = Recorded()
    async with session(handler) as (server, socket):
        other = await Socket(socket.peer).opened()
        socket.peer.pipe.abort()
        await asyncio.sleep(0.001)
        assert (handler.codes, handler.cancelled, server.metrics.in_flight) == ([1006, 1006], False, 0)
        del other


@virtual
async def test_an_end_without_close() -> None:
    handler = Recorded()
    async with session(handler) as (server, socket):
        socket.peer.end(socket.stream)
        await asyncio.sleep(3)
        assert (handler.codes, server.metrics.in_flight) in (([1006], 0), ([1002], 0))
        assert (await socket.peer.get("/hello")).status == 200


@virtual
async def test_a_fault() -> None:
    """Is answered by Close, then the stream ends; the connection goes on."""
    handler = Recorded()
    async with session(handler) as (server, socket):
        await socket.peer.upload(socket.stream, b"\xff\xff", end=False)
        close = await socket.event()
        assert isinstance(close, Close) and close.code == 1002
        await asyncio.sleep(5)
        assert (handler.codes, server.metrics.in_flight) == ([1002], 0)
        assert (await socket.peer.get("/hello")).status == 200


@virtual
async def test_drain() -> None:
    """1001 on each, and the connection is closed when they have ended."""
    handler = Recorded()
    async with session(handler) as (server, socket):
        closing = asyncio.create_task(server.server.close())
        close = await socket.event()
        assert isinstance(close, Close) and close.code == 1001
        await socket.send(Close(1001))
        socket.end()
        assert await socket.peer.ends() == "FIN"
        await closing
        assert now() < 3
        server.server._draining = False


@virtual
async def test_a_silent_peer_is_asked() -> None:
    handler = Recorded()
    async with session(handler) as (_, socket):
        socket.peer.replies = False
        await asyncio.sleep(60)
        assert handler.codes == [1011]


@virtual
async def test_a_slow_peer_holds_its_handler_and_no_other() -> None:
    sent = 0

    async def sends(ws: WebSocket) -> None:
        nonlocal sent
        while True:
            await ws.send(b"x" * 1000)
            sent += 1

    options = {"client": Limits(stream_window=20_000), "peer": {"hold": True}}
    async with session(sends, **options) as (_, socket):
        await asyncio.sleep(10)
        assert 20 <= sent < 300
        socket.peer.hold = False
        assert (await socket.peer.get("/hello")).body == b"Hello, World!"
        socket.peer.reset(socket.stream)


@virtual
async def test_another_protocol_that_fails(logged: list[str]) -> None:
    """What an app does with the stream of a CONNECT is its business; where it fails, INTERNAL_ERROR."""

    async def tunnel(pipe: Any) -> None:
        while data := await pipe.read():
            if data == b"fail":
                raise ValueError("secret")
            pipe.write(data.upper())
            await pipe.drain()
            if data == b"enough":
                return
        assert await pipe.read() == b""  # it stays at its end

    async def app(request: Request) -> Answer:
        if request.head.method == "GET":
            return Upgrade(tunnel)
        return Upgrade(tunnel, status=200)

    async with talking(app) as (_, peer):
        stream = peer.open("CONNECT", "a:80", host="a:80")
        await peer.upload(stream, b"abc")
        assert (await peer.answer(stream)).body == b"ABC"
        stream = peer.open("CONNECT", "a:80", host="a:80")
        await peer.upload(stream, b"enough", end=False)
        assert (await peer.answer(stream)).body == b"ENOUGH"
        await peer.until(lambda: peer.answers[stream].reset is not None)
        assert peer.answers[stream].reset == NO_ERROR  # it wants no more either
        stream = peer.open("CONNECT", "a:80", host="a:80")
        await peer.upload(stream, b"fail", end=False)
        with pytest.raises(StreamReset) as reset:
            await peer.answer(stream)
        assert reset.value.code == INTERNAL_ERROR
        assert (await peer.get("/")).status == 500  # there is no other upgrade
        assert len(logged) == 2
        logged.clear()
