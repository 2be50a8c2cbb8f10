"""Clients of WebSocket that Python programs use: websockets (asyncio and threads) and aiohttp, against our server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest

from minproto import Answer, Request, Server, WebSocket, upgrade

from .serving import Serving

MIB = 1 << 20
MESSAGES = ["text", "", "κόσμε 🎉" * 1_000, b"binary", b"", bytes(range(256)) * 300, "a" * 125, "b" * 126, b"c" * 65_536]
LARGE = ["0123456789abcdef" * (MIB // 16), bytes(range(256)) * (32 * MIB // 256), "ä" * (16 * MIB)]


def _context(server: Serving) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=server.certificate.authority) if server.certificate else None


def _url(server: Serving, path: str = "/ws") -> str:
    return server.url.replace("http", "ws", 1) + path


# ---- websockets, asyncio ---------------------------------------------------------------------------------------------


def _connect(server: Serving, path: str = "/ws", **options: Any) -> Any:
    from websockets.asyncio.client import connect

    return connect(_url(server, path), ssl=_context(server), proxy=None, **{"max_size": None} | options)


PARAMETERS = [
    None,
    {},
    {"client_max_window_bits": None},
    {"client_max_window_bits": 9, "server_max_window_bits": 9},
    {"client_max_window_bits": 15, "server_max_window_bits": 15},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True, "server_max_window_bits": 10},
    {"client_no_context_takeover": True, "server_no_context_takeover": True, "client_max_window_bits": 12},
]


@pytest.fixture(params=PARAMETERS, ids=str)
def extensions(websockets: ModuleType, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Without compression, and with: each parameter."""
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    if request.param is None:
        return {"compression": None}
    return {"extensions": [ClientPerMessageDeflateFactory(**request.param)]}


async def test_websockets_messages(server: Serving, extensions: dict[str, Any]) -> None:
    """All kinds of messages, one after the other, many at once, in fragments."""
    async with asyncio.timeout(20), _connect(server, **extensions) as ws:
        assert len(ws.protocol.extensions) == ("extensions" in extensions)
        for message in MESSAGES * 2:
            await ws.send(message)
            assert await ws.recv() == message
        for message in MESSAGES:
            await ws.send(message)
        assert [await ws.recv() for _ in MESSAGES] == MESSAGES
        for pieces in (["fräg", "", "ments"], [b"a", b"", b"b" * 70_000], ["", ""], [b""]):
            await ws.send(pieces)
            assert await ws.recv() == type(pieces[0])().join(pieces)
    assert ws.close_code == 1000


@pytest.mark.parametrize("extensions", PARAMETERS[:2], indirect=True, ids=str)
@pytest.mark.parametrize("message", LARGE, ids=["1 MiB", "32 MiB", "32 MiB of text"])
async def test_websockets_large(server: Serving, extensions: dict[str, Any], message: str | bytes) -> None:
    """Messages up to 32 MiB."""
    async with asyncio.timeout(20), _connect(server, **extensions) as ws:
        await ws.send(message)
        assert await ws.recv() == message


async def test_websockets_too_large(websockets: ModuleType, clear: Serving) -> None:
    """One byte more is 1009; and the client's own limit is respected: it says so, and the server goes."""
    from websockets.exceptions import ConnectionClosedError

    async with asyncio.timeout(10):
        ws = await _connect(clear, compression=None)
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.send(bytes(32 * MIB + 1))
            await ws.recv()
        assert caught.value.rcvd.code == 1009
    async with asyncio.timeout(10), _connect(clear, max_size=10) as ws:
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.send(b"more than ten")
            await ws.recv()
        assert caught.value.sent.code == 1009  # what comes behind its own Close it does not read


@pytest.mark.parametrize("extensions", PARAMETERS[:2], indirect=True, ids=str)
async def test_websockets_65536_fragments(clear: Serving, extensions: dict[str, Any]) -> None:
    """A message of 65,536 fragments, with a Ping on the way."""

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(65_536):
            if number == 30_000:
                assert await (await ws.ping()) < 5
            yield b"%05d" % number

    async with asyncio.timeout(30), _connect(clear, **extensions) as ws:
        await ws.send(pieces())
        assert await ws.recv() == b"".join([b"%05d" % number for number in range(65_536)])


async def test_websockets_pings(websockets: ModuleType, server: Serving) -> None:
    """Pings are answered with their data, those of the client's keepalive, too."""
    async with asyncio.timeout(5), _connect(server, ping_interval=0.05, ping_timeout=0.5) as ws:
        for data in (b"", b"ping", "pïng", b"x" * 125):
            assert await (await ws.ping(data)) < 1
        await ws.pong(b"unsolicited")
        await asyncio.sleep(0.2)
        assert ws.latency > 0
        await ws.send("still here")
        assert await ws.recv() == "still here"


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1014, 3000, 4999])
async def test_websockets_closes(websockets: ModuleType, clear: Serving, code: int) -> None:
    """The code that a client gives comes back."""
    async with asyncio.timeout(5), _connect(clear) as ws:
        await ws.close(code, "rëason")
        assert (ws.protocol.close_rcvd.code, ws.protocol.close_rcvd_then_sent) == (code, False)


async def test_websockets_concurrent(websockets: ModuleType, server: Serving) -> None:
    """Fifty connections at a time, each with its own messages."""

    async def chatter(name: int) -> None:
        async with _connect(server) as ws:
            for number in range(20):
                await ws.send(f"{name}: {number}")
                assert await ws.recv() == f"{name}: {number}"

    async with asyncio.timeout(20):
        await asyncio.gather(*(chatter(name) for name in range(50)))


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [("/ws", "http://elsewhere.example", 403), ("/chat", "null", 403), ("/nothing", None, 404), ("/hello", None, 200)],
)
async def test_websockets_refused(
    websockets: ModuleType, server: Serving, path: str, origin: str | None, status: int
) -> None:
    """What is no WebSocket, or not for this client, says so with its status."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        async with asyncio.timeout(5), _connect(server, path, origin=origin):
            pass
    assert caught.value.response.status_code == status


async def test_websockets_same_origin(websockets: ModuleType, server: Serving) -> None:
    """A page of the server's own may connect."""
    async with asyncio.timeout(5), _connect(server, origin=server.url) as ws:
        await ws.send("hi")
        assert await ws.recv() == "hi"


async def test_websockets_chat(websockets: ModuleType, server: Serving) -> None:
    """What one says all hear, whether they compress or not, in one order."""
    ways = [{}, {"compression": None}, {}]
    async with asyncio.timeout(10):
        peers = [await _connect(server, "/chat?topic=python", **way) for way in ways]
        for peer in peers:  # until each is in the room
            await peer.send("joined")
            while await peer.recv() != "joined":
                pass
        await peers[0].send("begin")
        for peer in peers:
            while await peer.recv() != "begin":
                pass
        await asyncio.gather(*(peer.send(f"{name}: {n}") for name, peer in enumerate(peers) for n in range(30)))
        heard = [[await peer.recv() for _ in range(90)] for peer in peers]
        assert heard[0] == heard[1] == heard[2]
        assert [line for line in heard[0] if line[0] == "1"] == [f"1: {n}" for n in range(30)]
        for peer in peers:
            await peer.close()
            assert peer.close_code == 1000


# ---- websockets, threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_websockets_sync(websockets: ModuleType, server: Serving, compression: str | None) -> None:
    """The client without asyncio: messages, fragments, a Ping, and a Close with a reason."""
    from websockets.sync.client import connect

    options: dict[str, Any] = {"compression": compression, "max_size": None, "proxy": None, "ssl": _context(server)}
    with connect(_url(server), **options) as ws:
        for message in [*MESSAGES, LARGE[0]]:
            ws.send(message)
            assert ws.recv(5) == message
        ws.send(iter(["fräg", "", "ments"]))
        assert ws.recv(5) == "frägments"
        assert ws.ping(b"?").wait(5)
        ws.close(4000, "bye")
        assert ws.protocol.close_rcvd.code == 4000


# ---- aiohttp ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [0, 9, 12, 15])
async def test_aiohttp(aiohttp: ModuleType, server: Serving, compress: int) -> None:
    """Messages, a Ping, and a Close, with several windows."""
    options = {"ssl": _context(server) or True, "compress": compress, "max_msg_size": 0}
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url + "/ws", **options) as ws,
    ):
        assert bool(ws.compress) == bool(compress)
        for message in [*MESSAGES, *MESSAGES, *LARGE[: 1 if compress else 2]]:
            await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
            assert (await ws.receive()).data == message
        await ws.close(code=4321, message=b"reason")
        assert ws.close_code == 4321


async def test_aiohttp_pings(aiohttp: ModuleType, clear: Serving) -> None:
    """A Ping is answered with its data, a Pong is not."""
    from aiohttp import WSMsgType

    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as session,
        session.ws_connect(clear.url + "/ws", autoping=False) as ws,
    ):
        await ws.pong(b"unsolicited")
        await ws.ping(b"data")
        answer = await ws.receive()
        assert (answer.type, bytes(answer.data)) == (WSMsgType.PONG, b"data")


async def test_aiohttp_refused(aiohttp: ModuleType, clear: Serving) -> None:
    """Another origin. (In TLS, aiohttp would leave a transport open behind it.)"""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(clear.url + "/ws", origin="http://elsewhere.example")
    assert caught.value.status == 403


# ---- an app of its own: subprotocols, the server's Close, what the handler sees --------------------------------------


async def app(request: Request) -> Answer:
    return upgrade(request, HANDLERS[request.path], subprotocols=["v2.chat", "v1.chat"])


async def _say_subprotocol(ws: WebSocket) -> None:
    await ws.send(repr(ws.subprotocol))


async def _close(ws: WebSocket) -> None:
    await ws.close(4242, "enöugh")


async def _fail(ws: WebSocket) -> None:
    await ws.receive()
    raise ValueError("not for the peer's eyes")


async def _fragments(ws: WebSocket) -> None:
    async def pieces() -> AsyncIterator[str]:
        for n in range(1_000):
            yield f"{n} "

    await ws.send(pieces())
    assert 0 <= await ws.ping() < 5
    await ws.send("after the pong")


HANDLERS = {"/subprotocol": _say_subprotocol, "/close": _close, "/fail": _fail, "/fragments": _fragments}


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(None, None), (["v1.chat", "v2.chat"], "v1.chat"), (["v3.chat", "v2.chat"], "v2.chat"), (["x"], None)],
)
async def test_subprotocols(websockets: ModuleType, aiohttp: ModuleType, offered: Any, chosen: str | None) -> None:
    """The client's first choice among those that the app speaks."""
    from websockets.asyncio.client import connect

    async with asyncio.timeout(5), Server(app, port=0) as server:
        address = f"127.0.0.1:{server.port}/subprotocol"
        async with connect(f"ws://{address}", subprotocols=offered, proxy=None) as ws:
            assert (ws.subprotocol, await ws.recv()) == (chosen, repr(chosen))
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{address}", protocols=offered or ()) as ws:
            assert (ws.protocol, await ws.receive_str()) == (chosen, repr(chosen))


async def test_the_server_closes(websockets: ModuleType, aiohttp: ModuleType) -> None:
    """With the code and the reason that the app gives."""
    from websockets.asyncio.client import connect

    async with asyncio.timeout(5), Server(app, port=0) as server:
        address = f"127.0.0.1:{server.port}/close"
        async with connect(f"ws://{address}", proxy=None) as ws:
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (4242, "enöugh")
            assert ws.protocol.close_rcvd_then_sent is True
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{address}") as ws:
            message = await ws.receive()
            assert (message.data, message.extra) == (4242, "enöugh")


async def test_the_handler_fails(websockets: ModuleType, logged: list[str]) -> None:
    """1011, without what went wrong; that is in the log."""
    from websockets.asyncio.client import connect

    async with asyncio.timeout(5), Server(app, port=0) as server:
        async with connect(f"ws://127.0.0.1:{server.port}/fail", proxy=None) as ws:
            await ws.send("x")
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (1011, "")
    assert "not for the peer's eyes" in logged.pop()


async def test_the_server_sends_fragments(websockets: ModuleType) -> None:
    """They arrive as one message; the client answers the server's Ping."""
    from websockets.asyncio.client import connect

    async with asyncio.timeout(5), Server(app, port=0) as server:
        for compression in (None, "deflate"):
            async with connect(f"ws://127.0.0.1:{server.port}/fragments", compression=compression, proxy=None) as ws:
                pieces = [piece async for piece in ws.recv_streaming()]
                assert "".join(pieces) == "".join(f"{n} " for n in range(1_000))
                assert len(pieces) >= 1_000
                assert await ws.recv() == "after the pong"
