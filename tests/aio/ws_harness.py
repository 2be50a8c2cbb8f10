"""The peer of a WebSocket: our own core on a pipe, every event and every byte in sight."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from harness import FIN as END
from harness import RST, Client, Received, Serving, get, serving

from minproto import Request, WebSocket, upgrade
from minproto.aio.pipe import Pipe
from minproto.core import Event, Role, Wants
from minproto.deflate import Compression
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.testing import network
from minproto.websocket import FIN, TEXT, Close, Connection, Message, encode_frame, parse_header
from minproto.websocket_handshake import Agreement, check_response, handshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x01\x02\x03\x04"

Handler = Callable[[WebSocket], Awaitable[None]]


def opening(*fields: str, target: str = "/ws", compression: Compression | None = None, without: str = "") -> bytes:
    """A client's handshake; ``without`` leaves a field out."""
    lines = [f"{name}: {value}" for name, value in handshake("a", target, KEY, (), compression).headers]
    return get(target, *[line for line in lines[1:] if line.partition(":")[0] != without], *fields)


def frame(payload: bytes, first: int = FIN | TEXT) -> bytes:
    """As a client sends it."""
    return encode_frame(first, payload, MASK)


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a server, as (first byte, payload)."""
    frames = []
    while header := parse_header(data):
        length, _, at = header
        frames.append((data[0], data[at : at + length]))
        data = data[at + length :]
        if not data:
            break
    return frames


class Peer:
    """A client that does only what the test says."""

    def __init__(self, pipe: Pipe, agreement: Agreement = Agreement(), unread: bytes = b"") -> None:  # noqa: B008
        self.pipe: Any = pipe
        self.agreement = agreement
        self.core = Connection(Role.CLIENT, agreement)
        self.raw = b""
        """All that came after the handshake."""
        self._feed(unread)

    def _feed(self, data: bytes) -> None:
        self.raw += data
        self.core.receive_data(data)

    def send(self, *events: Event | bytes) -> None:
        """Write events, or bytes as they are, in one piece."""
        self.pipe.write(b"".join(event if isinstance(event, bytes) else self.core.send(event) for event in events))

    async def event(self) -> Event | None:
        """The next one; None after Close. Raises RemoteProtocolError at an end without one, ConnectionResetError."""
        while (event := self.core.next_event()) is None and self.core.wants is Wants.DATA:
            data = await self.pipe.read()
            self._feed(data) if data else self.core.receive_eof()
        return event

    async def data(self) -> str | bytes:
        """The next event's, which has to be a message."""
        event = await self.event()
        assert isinstance(event, Message), event
        return event.data

    async def events(self) -> list[Event]:
        """All to the end, which has to be orderly: Close from both sides, and FIN."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
            if (reply := self.core.reply(event)) is not None:
                self.send(reply)
        assert await self.end() == END
        return events

    async def end(self) -> str:
        """Read to the end: FIN or RST."""
        try:
            while data := await self.pipe.read():
                self.raw += data
        except ConnectionResetError:
            return RST
        with suppress(ConnectionResetError):
            await self.pipe.close()
        return END

    async def close(self) -> None:
        """The closing handshake."""
        self.send(Close(1000))
        await self.events()


def app_with(handler: Handler, **options: Any) -> Any:
    async def app(request: Request) -> Any:
        return upgrade(request, handler, **options)

    return app


async def shake(client: Client, *fields: str, compression: Compression | None = None) -> tuple[Peer, Received]:
    """Open a WebSocket on a client's connection."""
    answer = await client.ask(opening(*fields, compression=compression))
    assert answer.status == 101, answer
    request = RequestHead("GET", "/ws", Headers([("sec-websocket-key", KEY), *_subprotocols(fields)]))
    agreement = check_response(request, ResponseHead(answer.status, answer.headers), compression)
    return Peer(client.pipe, agreement, client._unread), answer


def _subprotocols(fields: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [field.lower().split(": ", 1) for field in fields]
    return [(name, value) for name, value in pairs if name == "sec-websocket-protocol"]


async def peer_of(server: Serving, *fields: str, compression: Compression | None = None, **options: Any) -> Peer:
    """A new WebSocket to a server; options are the network's."""
    return (await shake(server.client(**options), *fields, compression=compression))[0]


@asynccontextmanager
async def talking(
    handler: Handler, *, net: dict[str, Any] | None = None, offer: Compression | None = None, **options: Any
) -> AsyncIterator[tuple[Serving, Peer]]:
    """A server, of which the handler is the app, and a peer. Options are those of ``upgrade``."""
    async with serving(app_with(handler, **options)) as server:
        yield server, await peer_of(server, compression=offer, **(net or {}))


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class Session:
    """A handler under the test's control: the block of ``with_socket`` does what a handler would."""

    def __init__(self) -> None:
        self.socket: asyncio.Future[WebSocket] = asyncio.get_running_loop().create_future()
        self.done = asyncio.Event()

    async def __call__(self, ws: WebSocket) -> None:
        self.socket.set_result(ws)
        await self.done.wait()


@asynccontextmanager
async def with_socket(
    *, net: dict[str, Any] | None = None, offer: Compression | None = None, **options: Any
) -> AsyncIterator[tuple[WebSocket, Peer]]:
    """The two ends: what an app has, and its peer. The handler returns when the block is left."""
    session = Session()
    async with talking(session, net=net, offer=offer, **options) as (_, peer):
        try:
            yield await session.socket, peer
        finally:
            session.done.set()


@asynccontextmanager
async def joined(
    agreement: Agreement = Agreement(), net: dict[str, Any] | None = None, **options: Any  # noqa: B008
) -> AsyncIterator[tuple[WebSocket, WebSocket]]:
    """Two of our own, client and server, without a handshake. Left open, they are aborted."""
    ours, theirs = network.pair(**(net or {}))
    sockets = WebSocket(ours, Role.CLIENT, agreement, **options), WebSocket(theirs, Role.SERVER, agreement, **options)
    try:
        yield sockets
    finally:
        for socket in sockets:
            socket.abort()
            await asyncio.wait([socket._reader])
