"""npm's ws, which most of Node's programs use: its client against our server, its server with our client."""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from minproto import (
    Answer,
    Compression,
    ConnectionClosed,
    RemoteProtocolError,
    Request,
    Server,
    WebSocket,
    WebSocketLimits,
    connect,
    upgrade,
)

from .serving import Certificate, Serving

pytestmark = pytest.mark.needs("node", "npm")

MIB = 1 << 20
MESSAGES = ["text", "", "κόσμε 🎉" * 1_000, b"binary", b"", bytes(range(256)) * 300, "a" * 125, "b" * 126, b"c" * 65_536]
LARGE = ["0123456789abcdef" * (MIB // 16), os.urandom(MIB), bytes(range(256)) * (32 * MIB // 256), "ä" * (16 * MIB)]

Node = Callable[..., Any]


@pytest.fixture(scope="session")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ws is installed."""
    if not (npm := shutil.which("npm")):
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    install = [npm, "install", "ws@8", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm install ws failed: {getattr(error, 'stderr', '') or error}")
    return folder


# ---- its client ------------------------------------------------------------------------------------------------------

CLIENT = """
const WebSocket = require("ws"), { once } = require("events"), assert = require("assert"), crypto = require("crypto")
const [url, options] = JSON.parse(process.argv[1])

async function open(path, ...more) {
  const ws = new WebSocket(url + path, ...(more.length ? more : [options]))
  const waiting = [], inbox = []
  ws.on("message", (data, isBinary) => {
    const message = isBinary ? data : data.toString()
    waiting.length ? waiting.shift()[0](message) : inbox.push(message)
  })
  ws.closed = new Promise(done => ws.on("close", (code, reason) => done([code, reason.toString()])))
  ws.closed.then(([code]) => waiting.forEach(([, fail]) => fail(new Error(`closed ${code}`))))
  ws.next = () => inbox.length ? inbox.shift() : new Promise((done, fail) => waiting.push([done, fail]))
  ws.on("error", () => {})
  await Promise.race([once(ws, "open"), once(ws, "error").then(([error]) => { throw error })])
  return ws
}

async function main() { BODY }
main().then(value => { console.log(JSON.stringify(value ?? null)); process.exit(0) })
"""


@pytest.fixture
def node(ws: Path, certificate: Certificate) -> Node:
    """Runs the body of an async function in Node, that has ``open(path, …)``; its value."""

    async def node(url: str, body: str, options: Any = None, said: Callable[[], None] | None = None) -> Any:
        process = await asyncio.create_subprocess_exec(
            *("node", "-e", CLIENT.replace("BODY", body), json.dumps([url.replace("http", "ws", 1), options or {}])),
            cwd=ws,
            env=os.environ | {"NODE_EXTRA_CA_CERTS": certificate.authority},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(20):
                assert process.stdout
                if said is not None:  # its first line says that now is the time
                    await process.stdout.readline()
                    await asyncio.to_thread(said)
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        assert process.returncode == 0, errors.decode()
        return json.loads(output)

    return node


DEFLATE = [
    False,
    True,
    {"threshold": 0},
    {"threshold": 0, "clientNoContextTakeover": True, "serverNoContextTakeover": True},
    {"threshold": 0, "clientMaxWindowBits": 9, "serverMaxWindowBits": 9},
    {"threshold": 0, "clientMaxWindowBits": 15, "serverMaxWindowBits": 15},
    {"threshold": 0, "clientMaxWindowBits": 10, "serverNoContextTakeover": True},
]
TWO = DEFLATE[:3:2]
WIDER = [DEFLATE[5]]


async def test_messages(node: Node, server: Serving) -> None:
    """All kinds of messages, one after the other, many at once, of a mebibyte, in fragments with a Ping between;
    with each of its settings."""
    body = """
      const results = [], bytes = crypto.randomBytes(1 << 20)
      const messages = ["text", "", "κόσμε 🎉".repeat(1000), Buffer.from("binary"), Buffer.alloc(0), "a".repeat(125),
                        "b".repeat(126), Buffer.alloc(65536, "c")]
      for (const perMessageDeflate of options) {
        const ws = await open("/ws", { perMessageDeflate })
        for (const message of [...messages, bytes, bytes.toString("hex"), Buffer.alloc(1 << 20), ...messages]) {
          ws.send(message)
          assert.deepStrictEqual(await ws.next(), message)
        }
        for (const message of messages) ws.send(message)
        for (const message of messages) assert.deepStrictEqual(await ws.next(), message)
        for (const pieces of [["fräg", "", "ments"], ["a", "b".repeat(70000)], ["", ""], Array(500).fill("piece")]) {
          for (const binary of [false, true]) {
            const pong = once(ws, "pong")
            pieces.forEach((piece, n) => {
              ws.send(piece, { binary, fin: n === pieces.length - 1 })
              if (n === 0) ws.ping("between")
            })
            assert.strictEqual((await pong)[0].toString(), "between")
            assert.strictEqual((await ws.next()).toString(), pieces.join(""))
          }
        }
        ws.close(1000)
        results.push([ws.extensions, (await ws.closed)[0]])
      }
      return results
    """
    settings = TWO if server.certificate else DEFLATE
    assert await node(server.url, body, settings) == [["permessage-deflate" if one else "", 1000] for one in settings]


@pytest.mark.parametrize("deflate", TWO, ids=str)
async def test_pings(node: Node, server: Serving, deflate: Any) -> None:
    """Each is answered with what it held."""
    body = """
      const ws = await open("/ws"), answers = []
      ws.on("pong", data => answers.push(data.length))
      ws.pong("unsolicited")
      for (const size of [0, 1, 124, 125]) ws.ping(Buffer.alloc(size, 7))
      ws.send("behind")
      await ws.next()
      while (answers.length < 4) await once(ws, "pong")
      return answers
    """
    assert await node(server.url, body, {"perMessageDeflate": deflate}) == [0, 1, 124, 125]


async def test_close_codes(node: Node, server: Serving) -> None:
    """Its code comes back."""
    codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 4999]
    body = f"""
      const results = []
      for (const close of [{", ".join(f"[{code}, 'rëason']" for code in codes)}, [1000, "x".repeat(123)], [3001], []]) {{
        const ws = await open("/ws")
        ws.close(...close)
        results.push(await ws.closed)
      }}
      return results
    """
    results = await node(server.url, body)
    assert [code for code, _ in results] == [*codes, 1000, 3001, 1005]


FAULTS = {
    "text that is none": ("ws.send(Buffer.from([0xff]), { binary: false })", 1007),
    "too large": ("ws.send(Buffer.alloc((32 << 20) + 1))", 1009),
    "not masked": ("ws.send('hello', { mask: false })", 1002),
    "reserved opcode": ("ws._socket.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0]))", 1002),
    "terminated": ("ws.terminate()", 1006),
    "terminated in mid-message": ("ws.send('half', { fin: false }, () => ws.terminate())", 1006),
    "terminated before the echo": ("ws.send(Buffer.alloc(1 << 20)); setTimeout(() => ws.terminate(), 20)", 1006),
}


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
async def test_faults(node: Node, start: Callable[..., Serving], certificate: Certificate, secure: bool) -> None:
    """What it does wrong if asked to: the code, and a server that has nothing to complain about."""
    server = start(certificate=certificate if secure else None)
    body = f"""
      const results = []
      for (const fault of [{", ".join(f"ws => {{ {fault} }}" for fault, _ in FAULTS.values())}]) {{
        for (const perMessageDeflate of {json.dumps(TWO)}) {{
          const ws = await open("/ws", {{ perMessageDeflate }})
          fault(ws)
          results.push((await ws.closed)[0])
        }}
      }}
      return results
    """
    results = await node(server.url, body)
    assert dict(zip(FAULTS, zip(results[::2], results[1::2], strict=True), strict=True)) == {
        name: (code, code) for name, (_, code) in FAULTS.items()
    }
    await asyncio.to_thread(server.stop)


async def test_refused(node: Node, server: Serving) -> None:
    """It sees the status."""
    body = """
      const refused = (...what) => open(...what).then(() => "opened", error => error.message.split(": ")[1])
      return [await refused("/ws", { origin: "http://other.example" }), await refused("/nothing"), await refused("/hello"),
              await refused("/ws", { origin: url.replace("ws", "http") })]
    """
    assert await node(server.url, body) == ["403", "404", "200", "opened"]


async def test_stream(node: Node, server: Serving) -> None:
    """Eight mebibytes through its stream, whose reader is slow at first."""
    body = """
      const ws = await open("/ws"), stream = WebSocket.createWebSocketStream(ws)
      const sent = crypto.createHash("sha1"), heard = crypto.createHash("sha1")
      let count = 0
      const hear = data => { heard.update(data); count += data.length; if (count === 8 << 20) stream.end() }
      setTimeout(() => stream.on("data", hear), 300)
      for (let n = 0; n < 128; n++) {
        const block = crypto.randomBytes(65536)
        sent.update(block)
        if (!stream.write(block)) await once(stream, "drain")
      }
      await ws.closed
      assert.strictEqual(heard.digest("hex"), sent.digest("hex"))
      return count
    """
    assert await node(server.url, body) == 8 * MIB


@pytest.mark.parametrize("deflate", TWO, ids=str)
async def test_chat(node: Node, server: Serving, deflate: Any) -> None:
    """Ten on a topic talk at once: all hear the same, in the same order; one on another topic hears nothing."""
    body = """
      const room = await Promise.all([...Array(10).keys()].map(() => open("/chat?topic=node")))
      const other = await open("/chat?topic=other")
      for (let n = 0; n < 50; n++)
        room.forEach((ws, name) => ws.send(`${name}:${n}`))
      const heard = await Promise.all(room.map(async ws => {
        const lines = []
        for (let n = 0; n < 500; n++) lines.push(await ws.next())
        return lines
      }))
      for (const lines of heard) assert.deepStrictEqual(lines, heard[0])
      other.send("alone")
      assert.strictEqual(await other.next(), "alone")
      return heard[0].map(line => line.split(":").map(Number))
    """
    heard = await node(server.url, body, {"perMessageDeflate": deflate})
    for name in range(10):
        assert [n for who, n in heard if who == name] == list(range(50))


async def test_the_server_stops(node: Node, start: Callable[..., Serving]) -> None:
    """Whoever is connected hears 1001."""
    server = start()
    body = """
      const all = await Promise.all(["/ws", "/chat", "/ws", "/chat"].map(path => open(path)))
      console.log("now")
      return Promise.all(all.map(async ws => (await ws.closed)[0]))
    """
    assert await node(server.url, body, said=server.process.terminate) == [1001] * 4
    assert await asyncio.to_thread(server.process.wait, 10) == 0
    assert not server.stderr


async def test_an_app(node: Node) -> None:
    """What an app of ours sends first: fragments, Pings, a subprotocol, a code with a reason."""

    async def pieces() -> AsyncIterator[str]:
        for n in range(1_000):
            yield f"{n} "

    async def talk(ws: WebSocket) -> None:
        await ws.send(pieces())
        assert await ws.ping() < 5
        await ws.send(ws.subprotocol or "none")
        await ws.close(4321, "enöugh")

    async def app(request: Request) -> Answer:
        return upgrade(request, talk, subprotocols=["v2", "v1"])

    body = """
      const results = []
      for (const protocols of [["v1"], ["v1", "v2"], []]) {
        const ws = await open("/", protocols, options)
        results.push([(await ws.next()).length, await ws.next(), ws.protocol, ...await ws.closed])
      }
      return results
    """
    async with Server(app, port=0) as server:
        for deflate in TWO:
            results = await node(f"http://127.0.0.1:{server.port}", body, {"perMessageDeflate": deflate})
            assert [result[0] for result in results] == [3_890] * 3
            assert [result[1:3] for result in results] == [["v1", "v1"], ["v1", "v1"], ["none", ""]]
            assert [result[3:] for result in results] == [[4321, "enöugh"]] * 3


# ---- its server: /echo gives each message back; /close, /fragments, /ping and /refuse/… do what they are called ------

SERVER = """
const { WebSocketServer } = require("ws"), fs = require("fs")
const [options, tls] = JSON.parse(process.argv[1])
const server = tls
  ? require("https").createServer({ cert: fs.readFileSync(tls.chain), key: fs.readFileSync(tls.key) })
  : require("http").createServer()
const status = path => path.startsWith("/refuse/") ? Number(path.slice(8)) : 0
const wss = new WebSocketServer({
  server,
  verifyClient: ({ req }, done) => status(req.url) ? done(false, status(req.url), "refused") : done(true),
  handleProtocols: offered => ["v2", "v1"].find(name => offered.has(name)) ?? false,
  ...options,
})
const say = (...what) => console.log(JSON.stringify(what))
wss.on("connection", (ws, request) => {
  ws.on("error", error => say("error", error.code))
  ws.on("close", (code, reason) => say("close", code, reason.toString()))
  switch (request.url.split("?")[0]) {
    case "/echo":
      ws.on("message", (data, binary) => ws.send(data, { binary }))
      break
    case "/close":
      ws.close(4321, "enöugh")
      break
    case "/terminate":
      ws.send("half")
      ws.send("way", { fin: false }, () => ws.terminate())
      break
    case "/fragments":
      for (let n = 0; n < 5000; n++) {
        ws.send(`${n} `, { fin: n === 4999 })
        if (n % 1000 === 0) ws.ping(`${n}`)
      }
      break
    case "/ping": {
      const answers = []
      ws.on("pong", data => {
        answers.push(data.length)
        if (answers.length === 4) ws.send(JSON.stringify([answers, request.url, request.headers.origin ?? null, ws.protocol]))
      })
      for (const size of [0, 1, 124, 125]) ws.ping(Buffer.alloc(size, 7))
    }
  }
})
server.listen(0, "127.0.0.1", () => say("port", server.address().port))
process.stdin.on("end", () => process.exit(0)).resume()
"""


class Peer:
    """A running server of ws: its URL, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.url = ""

    async def said(self) -> list[Any]:
        """The next line of it."""
        assert self._process.stdout
        async with asyncio.timeout(10):
            return json.loads(await self._process.stdout.readline() or "null")


@pytest.fixture
def serving(ws: Path) -> Callable[..., Any]:
    """Starts servers of ws."""

    @asynccontextmanager
    async def serving(certificate: Certificate | None = None, **options: Any) -> AsyncIterator[Peer]:
        files = {"chain": certificate.chain, "key": certificate.key} if certificate else None
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "node", "-e", SERVER, json.dumps([options, files]), cwd=ws, stdin=pipe, stdout=pipe
        )
        try:
            peer = Peer(process)
            _, port = await peer.said()
            peer.url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}"
            yield peer
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                async with asyncio.timeout(5):
                    await process.communicate()
            except TimeoutError:
                process.kill()
                raise
        assert process.returncode == 0

    return serving


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[WebSocket]:
    """A connection of ours, for twenty seconds and messages of 32 MiB at most."""
    async with asyncio.timeout(20):
        async with await connect(url, **{"limits": WebSocketLimits(max_message=32 * MIB)} | options) as ws:
            yield ws


COMPRESSIONS = [
    None,
    Compression(),
    Compression(window_bits=15, memory_level=9),
    Compression(window_bits=9, memory_level=1),
    Compression(context_takeover=False),
]


async def test_server_with_a_wider_window(serving: Callable[..., Any]) -> None:
    """It keeps to no window narrower than its own, so it takes our second offer, which does not ask for one."""
    async with serving(perMessageDeflate={"serverMaxWindowBits": 15}) as peer:
        for compression in (None, Compression(window_bits=12), Compression(window_bits=15)):
            async with opened(peer.url + "/echo", compression=compression) as ws:
                await ws.send("hello" * 1_000)
                assert await ws.receive() == "hello" * 1_000


@pytest.mark.parametrize("deflate", [one for one in DEFLATE if one not in WIDER], ids=str)
async def test_server_messages(serving: Callable[..., Any], deflate: Any) -> None:
    """All kinds of messages, one after the other, many at once, in fragments; large ones; with each of our settings."""

    async def pieces(count: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield "fräg"

    async with serving(perMessageDeflate=deflate) as peer:
        for compression in COMPRESSIONS:
            large = LARGE[:2] if compression in COMPRESSIONS[:2] else []
            async with opened(peer.url + "/echo", compression=compression) as ws:
                for message in [*MESSAGES * 2, *large]:
                    await ws.send(message)
                    assert await ws.receive() == message
                for message in MESSAGES:
                    await ws.send(message)
                assert [await ws.receive() for _ in MESSAGES] == MESSAGES
                for count in (1, 2, 1_000):
                    await ws.send(pieces(count))
                    assert await ws.receive() == "fräg" * count
            assert (ws.close_code, await peer.said()) == (1000, ["close", 1000, ""])


LARGE_CASES = list(zip(LARGE[2:], TWO, strict=True))


@pytest.mark.parametrize(("message", "deflate"), LARGE_CASES, ids=["32 MiB", "32 MiB of text, deflated"])
async def test_server_large(serving: Callable[..., Any], message: str | bytes, deflate: Any) -> None:
    """Messages of 32 MiB."""
    async with serving(perMessageDeflate=deflate) as peer, opened(peer.url + "/echo") as ws:
        await ws.send(message)
        assert await ws.receive() == message


async def test_server_tls(serving: Callable[..., Any], certificate: Certificate, trust: ssl.SSLContext) -> None:
    """wss:, with a certificate that we trust; and not without."""
    async with serving(certificate, perMessageDeflate=True) as peer:
        async with opened(peer.url + "/echo", ssl=trust) as ws:
            for message in [*MESSAGES, LARGE[0]]:
                await ws.send(message)
                assert await ws.receive() == message
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(peer.url + "/echo")


@pytest.mark.parametrize("deflate", TWO, ids=str)
async def test_server_fragments_and_pings(serving: Callable[..., Any], deflate: Any) -> None:
    """Its Pings, also between its fragments, are answered with what they hold; so are ours."""
    async with serving(perMessageDeflate=deflate) as peer:
        async with opened(peer.url + "/fragments") as ws:
            assert await ws.receive() == "".join([f"{n} " for n in range(5_000)])
        async with opened(peer.url + "/ping?a=b", headers=[("Origin", "http://here.example")]) as ws:
            assert json.loads(await ws.receive()) == [[0, 1, 124, 125], "/ping?a=b", "http://here.example", ""]
            assert 0 <= await ws.ping() < 5
            await asyncio.gather(*(ws.ping() for _ in range(10)))


async def test_server_handshake(serving: Callable[..., Any]) -> None:
    """The subprotocol that it chooses; the status with which it refuses."""
    async with serving() as peer:
        for offered, chosen in ((["a", "v1"], "v1"), (["v1", "v2"], "v2"), ([], None)):
            async with opened(peer.url + "/ping", subprotocols=offered) as ws:
                assert json.loads(await ws.receive())[3] == (ws.subprotocol or "")
                assert ws.subprotocol == chosen
        for status in (400, 401, 403, 404, 426, 500, 503):
            with pytest.raises(RemoteProtocolError) as caught:
                await connect(f"{peer.url}/refuse/{status}")
            assert caught.value.code == status


async def test_server_closes(serving: Callable[..., Any]) -> None:
    """Its code and its reason arrive, and ours go back; an end without a Close is 1006, after what came before."""
    async with serving() as peer:
        async with opened(peer.url + "/close") as ws:
            assert [message async for message in ws] == []
        assert (ws.close_code, ws.close_reason) == (4321, "enöugh")
        assert (await peer.said())[:2] == ["close", 4321]
        async with opened(peer.url + "/terminate") as ws:
            assert await ws.receive() == "half"
            with pytest.raises(ConnectionClosed) as caught:
                await ws.receive()
            assert caught.value.code == 1006


async def test_server_we_close(serving: Callable[..., Any]) -> None:
    """Our code and our reason arrive."""
    async with serving() as peer:
        for code in (1000, 1001, 1007, 1011, 1014, 3000, 4999):
            for reason in ("", "rëason", "x" * 123):
                async with opened(peer.url + "/echo") as ws:
                    await ws.close(code, reason)
                assert (ws.close_code, await peer.said()) == (code, ["close", code, reason])


async def test_server_too_large(serving: Callable[..., Any]) -> None:
    """1009, from whoever's limit it is, also of what is small until it is inflated."""
    for deflate in TWO:
        async with serving(perMessageDeflate=deflate, maxPayload=100_000) as peer:
            async with opened(peer.url + "/echo") as ws:
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.send(bytes(5 * MIB))
                    await ws.receive()
                assert caught.value.code == 1009
            assert await peer.said() == ["error", "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"]
            assert (await peer.said())[0] == "close"
            async with opened(peer.url + "/echo", limits=WebSocketLimits(max_message=1_000)) as ws:
                await ws.send(bytes(1_001))
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.receive()
                assert caught.value.code == 1009
            assert (await peer.said())[:2] == ["close", 1009]
