"""Our client of WebSocket against the servers of websockets and aiohttp, our own, and some that answer wrongly."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha1
from types import ModuleType
from typing import Any

import pytest

from minproto import Compression, ConnectionClosed, RemoteProtocolError, WebSocket, WebSocketLimits, connect, reconnecting

from .serving import Certificate, Serving, wait_until

MIB = 1 << 20
MESSAGES = ["text", "", "κόσμε 🎉" * 1_000, b"binary", b"", bytes(range(256)) * 300, "a" * 125, "b" * 126, b"c" * 65_536]
LARGE = ["0123456789abcdef" * (MIB // 16), bytes(range(256)) * (32 * MIB // 256), "ä" * (16 * MIB)]

# ---- the servers: /echo gives each message back; /close, /fragments, /ping and /refuse/… do what they are called -----


def _tls(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


@asynccontextmanager
async def websockets_server(certificate: Certificate | None = None, **options: Any) -> AsyncIterator[str]:
    """That of websockets; its URL."""
    from websockets.asyncio.server import serve

    async def handle(ws: Any) -> None:
        match ws.request.path.partition("?")[0]:
            case "/close":
                await ws.close(4321, "enöugh")
            case "/fragments":
                await ws.send(f"{n} " for n in range(65_536))
            case "/ping":
                await (await ws.ping(b"from the server"))
                await ws.send(json.dumps([ws.request.path, ws.request.headers.get("Origin"), ws.subprotocol]))
            case _:
                with suppress(Exception):
                    async for message in ws:
                        await ws.send(message)
        await ws.wait_closed()

    def refuse(connection: Any, request: Any) -> Any:
        if request.path.startswith("/refuse/"):
            return connection.respond(int(request.path[8:]), "refused\n")
        return None

    server = await serve(
        handle, "127.0.0.1", 0, process_request=refuse, ssl=_tls(certificate), **{"max_size": None} | options
    )
    async with server:
        yield f"{'wss' if certificate else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def aiohttp_server(certificate: Certificate | None = None, **options: Any) -> AsyncIterator[str]:
    """That of aiohttp; its URL."""
    from aiohttp import WSMsgType, web

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/refuse/"):
            return web.Response(status=int(request.path[8:]), text="refused\n")
        ws = web.WebSocketResponse(**{"max_msg_size": 0} | options)
        await ws.prepare(request)
        match request.path:
            case "/close":
                await ws.close(code=4321, message="enöugh".encode())
            case "/ping":
                await ws.ping(b"from the server")
                await ws.send_json([request.path_qs, request.headers.get("Origin"), ws.ws_protocol])
        async for message in ws:
            await (ws.send_str if message.type is WSMsgType.TEXT else ws.send_bytes)(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_tls(certificate)).start()
    try:
        yield f"{'wss' if certificate else 'ws'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[WebSocket]:
    """A connection of ours, for twenty seconds and messages of 32 MiB at most."""
    async with asyncio.timeout(20):
        async with await connect(url, **{"limits": WebSocketLimits(max_message=32 * MIB)} | options) as ws:
            yield ws


PEERS: dict[str, Callable[..., Any]] = {"websockets": websockets_server, "aiohttp": aiohttp_server}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """One server after the other."""
    request.getfixturevalue(request.param)
    return PEERS[request.param]


@pytest.fixture
async def url(peer: Callable[..., Any]) -> AsyncIterator[str]:
    """The URL of one server after the other."""
    async with peer() as url:
        yield url


COMPRESSIONS = [
    None,
    Compression(),
    Compression(window_bits=15, memory_level=9),
    Compression(window_bits=9, memory_level=1),
    Compression(context_takeover=False),
]

# ---- the tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
async def test_messages(url: str, compression: Compression | None) -> None:
    """All kinds of messages, one after the other, many at once, in fragments."""

    async def pieces() -> AsyncIterator[str]:
        for piece in ("fräg", "", "ments"):
            yield piece

    async with opened(url + "/echo", compression=compression) as ws:
        for message in MESSAGES * 2:
            await ws.send(message)
            assert await ws.receive() == message
        for message in MESSAGES:
            await ws.send(message)
        assert [await ws.receive() for _ in MESSAGES] == MESSAGES
        for _ in range(2):
            await ws.send(pieces())
            assert await ws.receive() == "frägments"
    assert (ws.close_code, ws.close_reason) == (1000, "")


@pytest.mark.parametrize("compression", COMPRESSIONS[:2], ids=str)
@pytest.mark.parametrize("message", LARGE, ids=["1 MiB", "32 MiB", "32 MiB of text"])
async def test_large(url: str, compression: Compression | None, message: str | bytes) -> None:
    """Messages up to 32 MiB."""
    async with opened(url + "/echo", compression=compression) as ws:
        await ws.send(message)
        assert await ws.receive() == message


async def test_tls(peer: Callable[..., Any], certificate: Certificate, trust: ssl.SSLContext) -> None:
    """wss:, with a certificate that we trust; and not without."""
    async with peer(certificate) as url:
        async with opened(url + "/echo", ssl=trust) as ws:
            for message in [*MESSAGES, LARGE[0]]:
                await ws.send(message)
                assert await ws.receive() == message
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(url + "/echo")


@pytest.mark.parametrize("compression", COMPRESSIONS[:2], ids=str)
async def test_65536_fragments(websockets: ModuleType, compression: Compression | None) -> None:
    """A message of 65,536 fragments, and one of as many as websockets takes."""

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(1_000):
            yield b"%05d" % number

    async with websockets_server() as url:
        async with opened(url + "/fragments", compression=compression) as ws:
            assert await ws.receive() == "".join([f"{n} " for n in range(65_536)])
    async with websockets_server(max_queue=None) as url, opened(url + "/echo", compression=compression) as ws:
        await ws.send(pieces())
        assert await ws.receive() == b"".join([b"%05d" % number for number in range(1_000)])


async def test_pings(url: str) -> None:
    """Ours are answered, theirs too; and what the handshake says arrives."""
    async with opened(url + "/ping?a=b", subprotocols=["v1"], headers=[("Origin", "http://here.example")]) as ws:
        assert 0 <= await ws.ping() < 5
        assert json.loads(await ws.receive())[:2] == ["/ping?a=b", "http://here.example"]
        await asyncio.gather(*(ws.ping() for _ in range(10)))


async def test_the_server_closes(url: str) -> None:
    """Its code and its reason arrive; the loop over messages ends, and nothing more can be sent."""
    async with opened(url + "/close") as ws:
        assert [message async for message in ws] == []
        assert (ws.close_code, ws.close_reason) == (4321, "enöugh")
        with pytest.raises(ConnectionClosed):
            await ws.send("late")


@pytest.mark.parametrize("code", [1000, 1001, 1007, 1011, 1014, 3000, 4999])
async def test_we_close(url: str, code: int) -> None:
    """The answer of websockets has our code, as is usual; aiohttp always says 1000."""
    async with opened(url + "/echo") as ws:
        await ws.close(code, "rëason")
        assert ws.close_code in (code, 1000)


async def test_too_large_for_the_server(websockets: ModuleType) -> None:
    """1009 of the server's arrives, though we were still sending."""
    async with websockets_server(max_size=1_000) as url, opened(url + "/echo", compression=None) as ws:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.send(bytes(5 * MIB))
            await ws.receive()
        assert caught.value.code == 1009


async def test_too_large_for_us(url: str) -> None:
    """A message over our limit ends the connection with 1009, also one that is small until it is inflated."""
    for compression in COMPRESSIONS[:2]:
        async with opened(url + "/echo", compression=compression, limits=WebSocketLimits(max_message=1_000)) as ws:
            await ws.send(bytes(1_001))
            with pytest.raises(ConnectionClosed) as caught:
                await ws.receive()
            assert caught.value.code == 1009


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 500, 503])
async def test_refused(url: str, status: int) -> None:
    """The status of a refusal is the error's code."""
    with pytest.raises(RemoteProtocolError) as caught:
        await connect(f"{url}/refuse/{status}")
    assert caught.value.code == status


@pytest.mark.parametrize(("offered", "chosen"), [(["a", "v1"], "v1"), (["v2", "v1"], "v2")])
async def test_subprotocols(
    websockets: ModuleType, aiohttp: ModuleType, offered: list[str], chosen: str | None
) -> None:
    """What the server chooses is known on both sides."""
    for running in (websockets_server(subprotocols=["v2", "v1"]), aiohttp_server(protocols=["v2", "v1"])):
        async with running as url, opened(url + "/ping", subprotocols=offered) as ws:
            assert json.loads(await ws.receive())[2] == ws.subprotocol == chosen


async def test_many_tasks_send(url: str) -> None:
    """Fifty tasks send at once, some in fragments: each message comes back whole, those of one task in order."""

    async def pieces(text: str) -> AsyncIterator[str]:
        for letter in text:
            await asyncio.sleep(0)
            yield letter

    async def talk(name: int) -> None:
        for n in range(10):
            text = f"{name}:{n}"
            await ws.send(pieces(text) if name % 5 == 0 else text)

    async with opened(url + "/echo") as ws:
        talking = asyncio.gather(*(talk(name) for name in range(50)))
        heard = [str(await ws.receive()).split(":") for _ in range(500)]
        await talking
        for name in range(50):
            assert [n for who, n in heard if who == str(name)] == [str(n) for n in range(10)]


# ---- our own server --------------------------------------------------------------------------------------------------


async def test_ours(server: Serving, trust: ssl.SSLContext) -> None:
    """Ours with ours, in the clear and in TLS."""
    url = server.url.replace("http", "ws", 1)
    context = trust if server.certificate else None
    for compression in COMPRESSIONS:
        async with opened(url + "/ws", ssl=context, compression=compression) as ws:
            for message in [*MESSAGES, LARGE[0]]:
                await ws.send(message)
                assert await ws.receive() == message
    for path, headers, status in (("/nothing", [], 404), ("/hello", [], 200), ("/ws", [("Origin", "http://x")], 403)):
        with pytest.raises(RemoteProtocolError) as caught:
            await connect(url + path, ssl=context, headers=headers)
        assert caught.value.code == status


async def test_reconnecting(start: Callable[..., Serving]) -> None:
    """A server that stops says 1001; the client comes back when it does."""
    first = start()
    port = first.port
    codes = []
    async with asyncio.timeout(15):
        async for ws in reconnecting(lambda: connect(f"ws://127.0.0.1:{port}/ws"), first=0.1):
            await ws.send("hello")
            assert await ws.receive() == "hello"
            if codes:
                await ws.close()
                break
            first.process.terminate()
            assert [message async for message in ws] == []
            codes.append(ws.close_code)
            await asyncio.to_thread(wait_until, lambda: first.process.poll() is not None)
            start("--port", str(port))
    assert codes == [1001]


# ---- servers that answer wrongly -------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: str, behind: bytes = b"") -> AsyncIterator[str]:
    """A server that says this to a handshake, with the right accept at its place."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line[19:] for line in request.decode().split("\r\n") if line.lower().startswith("sec-websocket-key:"))
        accept = b64encode(sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        writer.write(answer.replace("ACCEPT", accept).replace("\n", "\r\n").encode() + b"\r\n" + behind)
        with suppress(ConnectionError):
            await reader.read()
            writer.close()
            await writer.wait_closed()
        over.set()

    over = asyncio.Event()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await over.wait()


GOOD = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: ACCEPT\n"
EXTENSIONS = "Sec-WebSocket-Extensions: "
DEFLATE = GOOD + EXTENSIONS + "permessage-deflate"

WRONG = {
    "no Upgrade": GOOD.replace("Upgrade: websocket\n", ""),
    "another Upgrade": GOOD.replace("websocket\n", "h2c\n"),
    "no Connection": GOOD.replace("Connection: Upgrade\n", ""),
    "another Connection": GOOD.replace("Connection: Upgrade", "Connection: keep-alive"),
    "no Accept": GOOD.replace("Sec-WebSocket-Accept: ACCEPT\n", ""),
    "wrong Accept": GOOD.replace("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    "subprotocol not offered": GOOD + "Sec-WebSocket-Protocol: v9\n",
    "two subprotocols": GOOD + "Sec-WebSocket-Protocol: v1, v2\n",
    "extension not offered": GOOD + EXTENSIONS + "x-unknown\n",
    "extension twice": DEFLATE + ", permessage-deflate\n",
    "no extension": GOOD + EXTENSIONS + "a b\n",
    "unknown parameter": DEFLATE + "; mode=fast; server_max_window_bits=10\n",
    "parameter twice": DEFLATE + "; server_max_window_bits=10; server_max_window_bits=10\n",
    "window missing": DEFLATE + "; server_max_window_bits\n",
    "window of nonsense": DEFLATE + "; server_max_window_bits=99\n",
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_answers(name: str) -> None:
    """RFC 6455 §4.1, RFC 7692 §7.1: what a client MUST fail."""
    async with asyncio.timeout(5), answering(WRONG[name]) as url:
        with pytest.raises(RemoteProtocolError):
            await connect(url, subprotocols=["v1", "v2"])


async def test_not_asked_for_compression() -> None:
    """Who did not offer it does not take it."""
    async with asyncio.timeout(5), answering(DEFLATE + "; server_max_window_bits=10\n") as url:
        with pytest.raises(RemoteProtocolError):
            await connect(url, compression=None)


@pytest.mark.parametrize("head", [GOOD, GOOD.replace("websocket\n", "WebSocket\n").replace("n: Upgrade", "n: x, uPGRADE")])
async def test_frames_behind_the_answer(head: str) -> None:
    """What comes right behind the handshake is not lost."""
    async with asyncio.timeout(5), answering(head, b"\x81\x05first\x81\x06second\x88\x02\x03\xe8") as url:
        ws = await connect(url)
        assert [message async for message in ws] == ["first", "second"]
        assert ws.close_code == 1000


FAULTS = {
    "masked": (b"\x81\x85mask" + b"\0" * 5, 1002),
    "reserved opcode": (b"\x83\x00", 1002),
    "reserved bit": (b"\xc1\x00", 1002),
    "long Ping": (b"\x89\x7e\x00\x7e" + bytes(126), 1002),
    "continuation": (b"\x80\x00", 1002),
    "length": (b"\x81\x7e\x00\x05hello", 1002),
    "UTF-8": (b"\x81\x01\xff", 1007),
    "too big": (b"\x82\x7f\x00\x00\x00\x00\x10\x00\x00\x00", 1009),
    "Close 1005": (b"\x88\x02\x03\xed", 1002),
    "half a message": (b"\x01\x05hello", 1006),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_faulty_frames(name: str) -> None:
    """A server's faults are the client's to find, after what was good; an end without a Close is 1006."""
    bad, code = FAULTS[name]
    async with asyncio.timeout(5), answering(GOOD, b"\x81\x04good" + bad) as url:
        ws = await connect(url)
        assert await ws.receive() == "good"
        if code == 1006:
            ws._endpoint.pipe.close_write()  # the server ends when we do
        with pytest.raises(ConnectionClosed) as caught:
            await ws.receive()
        assert caught.value.code == code
        await ws.close()
