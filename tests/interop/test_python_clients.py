"""The clients that Python programs use, and h11 on a bare socket for what they do not do."""

import asyncio
import http.client
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from types import ModuleType
from typing import Any

import pytest

from .serving import Certificate, Serving

BLOCK = bytes(range(256)) * 256
"""What the demo app's content is made of."""

PARTS = [b"one ", b"", b"two ", b"three" * 10_000]
"""A body in pieces. An empty one must not end it."""


def _context(server: Serving) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=server.certificate.authority) if server.certificate else None


def _connect(server: Serving) -> socket.socket:
    """A socket to the server, in TLS if that is what it speaks."""
    bare = socket.create_connection((server.host, server.port), timeout=5)
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each piece is to travel alone
    context = _context(server)
    # Python would take a TLS connection that is cut off for one that has ended, as long as it is not told otherwise.
    return context.wrap_socket(bare, server_hostname=server.host, suppress_ragged_eofs=False) if context else bare


# ---- http.client -----------------------------------------------------------------------------------------------------


@pytest.fixture
def standard(server: Serving) -> Iterator[http.client.HTTPConnection]:
    """A connection of Python's own client."""
    context = _context(server)
    client = (
        http.client.HTTPSConnection(server.host, server.port, timeout=5, context=context)
        if context
        else http.client.HTTPConnection(server.host, server.port, timeout=5)
    )
    with closing(client):
        yield client


def _ask(client: http.client.HTTPConnection, method: str, target: str, **options: object) -> http.client.HTTPResponse:
    client.request(method, target, **options)  # type: ignore[arg-type]
    return client.getresponse()


def test_standard_keep_alive(standard: http.client.HTTPConnection) -> None:
    """One connection carries requests of all kinds."""
    standard.connect()
    sock = standard.sock
    for _ in range(3):
        assert _ask(standard, "GET", "/hello").read() == b"Hello, World!"
        assert _ask(standard, "POST", "/echo", body=b"ping").read() == b"ping"
        assert _ask(standard, "POST", "/echo", body=iter(PARTS), encode_chunked=True).read() == b"".join(PARTS)
        assert _ask(standard, "GET", "/stream?chunks=5&size=10").read() == BLOCK[:10] * 5
        head = _ask(standard, "HEAD", "/bytes/1000")
        assert (head.getheader("content-length"), head.read()) == ("1000", b"")
        assert _ask(standard, "PUT", "/echo", body=b"left unread").read() == b"method not allowed\n"
        assert _ask(standard, "GET", "/nothing").read() == b"not found\n"
    assert standard.sock is sock


def test_standard_close(standard: http.client.HTTPConnection) -> None:
    """Who asks for the end gets it, after the answer."""
    response = _ask(standard, "GET", "/hello", headers={"Connection": "close"})
    assert (response.getheader("connection"), response.read()) == ("close", b"Hello, World!")
    assert standard.sock is None


def test_standard_1_0(standard: http.client.HTTPConnection) -> None:
    """A client of HTTP/1.0, without Host, reads content of unknown length to the end of the connection."""
    standard._http_vsn, standard._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
    response = _ask(standard, "GET", "/stream?chunks=50&size=1000")
    assert response.getheader("transfer-encoding") is None
    assert response.read() == BLOCK[:1000] * 50


# ---- httpx and aiohttp -----------------------------------------------------------------------------------------------


def test_httpx(httpx: ModuleType, server: Serving) -> None:
    """Each method, on a kept connection."""
    with httpx.Client(base_url=server.url, verify=_context(server) or False) as client:
        assert client.get("/hello").text == "Hello, World!"
        assert client.post("/echo", json={"a": 1}).json() == {"a": 1}
        assert client.head("/bytes/77").headers["content-length"] == "77"
        assert client.delete("/hello").headers["allow"] == "GET, HEAD"
        assert client.get("/nothing").status_code == 404
        assert client.request("OPTIONS", "/", extensions={"target": b"*"}).status_code == 204


async def test_httpx_streams(httpx: ModuleType, server: Serving) -> None:
    """Content in pieces, up and down, and down at the pace at which it is made."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in PARTS:
            yield piece
            await asyncio.sleep(0)

    async with httpx.AsyncClient(base_url=server.url, verify=_context(server) or False) as client:
        async with client.stream("POST", "/echo", content=pieces()) as response:
            assert response.headers["transfer-encoding"] == "chunked"
            assert await response.aread() == b"".join(PARTS)
        async with client.stream("GET", "/bytes/10000000") as response:
            assert sum([len(piece) async for piece in response.aiter_bytes()]) == 10_000_000
        async with client.stream("GET", "/stream?chunks=3&size=9&interval=0.05") as response:
            assert [piece async for piece in response.aiter_raw()] == [BLOCK[:9]] * 3


async def test_httpx_concurrent(httpx: ModuleType, server: Serving) -> None:
    """A hundred requests on ten connections, and slow ones that do not wait for each other."""
    limits = httpx.Limits(max_connections=10)
    async with httpx.AsyncClient(base_url=server.url, verify=_context(server) or False, limits=limits) as client:
        responses = await asyncio.gather(*(client.get(f"/bytes/{size}") for size in range(0, 100_000, 1_000)))
        assert [len(response.content) for response in responses] == list(range(0, 100_000, 1_000))
        async with asyncio.timeout(2.0):
            await asyncio.gather(*(client.get("/slow/async?seconds=0.4") for _ in range(10)))


async def test_httpx_leaves(httpx: ModuleType, server: Serving) -> None:
    """A response that the client gives up in the middle harms nobody else."""
    async with httpx.AsyncClient(base_url=server.url, verify=_context(server) or False) as client:
        for _ in range(20):
            async with client.stream("GET", "/bytes/1000000000") as response:
                assert len(await anext(response.aiter_bytes()))
        assert (await client.get("/hello")).status_code == 200


async def test_aiohttp_both_ways_at_once(aiohttp: ModuleType, server: Serving) -> None:
    """The echo of a piece comes before the next piece is sent."""
    arrived = asyncio.Semaphore(1)

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            await arrived.acquire()
            yield b"%d;" % number

    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(server.url) as session,
        session.post("/echo", data=pieces(), ssl=_context(server) or True) as response,
    ):
        received = []
        async for piece in response.content.iter_any():
            received.append(piece)
            arrived.release()
    assert received == [b"%d;" % number for number in range(50)]


async def test_aiohttp_expect_continue(aiohttp: ModuleType, server: Serving) -> None:
    """This client holds its content back without end: it waits for the 100."""
    async with (
        asyncio.timeout(5),
        aiohttp.ClientSession(server.url) as session,
        session.post("/echo", data=b"ping", expect100=True, ssl=_context(server) or True) as response,
    ):
        assert await response.read() == b"ping"


# ---- h11 on a socket -------------------------------------------------------------------------------------------------


class Peer:
    """h11 as a client: it parses what the server sends more strictly than clients of the world do."""

    def __init__(self, h11: ModuleType, sock: socket.socket) -> None:
        self.h11 = h11
        self.sock = sock
        self.core = h11.Connection(h11.CLIENT)

    def request(self, method: str, target: str, *headers: tuple[str, str]) -> bytes:
        """The bytes of a head."""
        head = self.h11.Request(method=method, target=target, headers=[("Host", "a"), *headers])
        return self.core.send(head)

    def data(self, data: bytes) -> bytes:
        return self.core.send(self.h11.Data(data=data))

    def end(self, *trailers: tuple[str, str]) -> bytes:
        return self.core.send(self.h11.EndOfMessage(headers=list(trailers)))

    def event(self) -> Any:
        """The next event of the server's."""
        while (event := self.core.next_event()) is self.h11.NEED_DATA:
            self.core.receive_data(self.sock.recv(65_536))
        return event

    def response(self) -> tuple[int, bytes]:
        """A whole response."""
        head, content = self.event(), b""
        assert isinstance(head, self.h11.Response), head
        while isinstance(event := self.event(), self.h11.Data):
            content += event.data
        assert isinstance(event, self.h11.EndOfMessage)
        return head.status_code, content

    def again(self) -> None:
        """Both messages are complete: on to the next."""
        self.core.start_next_cycle()


@pytest.fixture
def peer(h11: ModuleType, server: Serving) -> Iterator[Peer]:
    with _connect(server) as sock:
        yield Peer(h11, sock)


@pytest.mark.parametrize("at_once", [True, False])
def test_pipelining(peer: Peer, at_once: bool) -> None:
    """Requests sent ahead are answered in order, slow ones among them, however their bytes are cut."""
    asked = [
        (b"GET", "/hello", b"", (200, b"Hello, World!")),
        (b"POST", "/echo", b"ping", (200, b"ping")),
        (b"HEAD", "/bytes/9", b"", (200, b"")),
        (b"GET", "/slow/async?seconds=0.1", b"", (200, b"done\n")),
        (b"POST", "/hello", b"left unread", (405, b"method not allowed\n")),
        (b"GET", "/stream?chunks=2&size=3", b"", (200, BLOCK[:3] * 2)),
        (b"GET", "/nothing", b"", (404, b"not found\n")),
    ]
    stream = b"".join(
        b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (method, target.encode(), len(content), content)
        for method, target, content, _ in asked
    )
    for start in range(0, len(stream), len(stream) if at_once else 7):
        peer.sock.sendall(stream[start : start + (len(stream) if at_once else 7)])
    for method, target, content, expected in asked:
        peer.request(method.decode(), target, ("Content-Length", str(len(content))))  # its bytes were sent above
        peer.core.send(peer.h11.Data(data=content))
        peer.end()
        assert peer.response() == expected
        peer.again()


def test_a_thousand_ahead(peer: Peer) -> None:
    """A client that pipelines without reading is slowed down, and gets all its answers in the end."""
    peer.sock.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000)
    for _ in range(1_000):
        peer.request("GET", "/hello")
        peer.end()
        assert peer.response() == (200, b"Hello, World!")
        peer.again()


def test_trailers(peer: Peer) -> None:
    """Trailers and chunk extensions are read, and do not reach into the next request."""
    chunked = ("Transfer-Encoding", "chunked")
    peer.sock.sendall(peer.request("POST", "/echo", chunked) + peer.data(b"ping"))
    peer.sock.sendall(peer.end(("X-Sum", "1"), ("Host", "b")))
    assert peer.response() == (200, b"ping")
    peer.again()
    peer.sock.sendall(peer.request("POST", "/echo", chunked) + b'4;a;b="c\\";d"\r\npong\r\n')
    peer.sock.sendall(peer.end())
    assert peer.response() == (200, b"pong")


def test_early_response(peer: Peer) -> None:
    """An answer that does not need the content comes before it, and the connection goes on behind it."""
    peer.sock.sendall(peer.request("POST", "/hello", ("Content-Length", "100000")))
    assert peer.response() == (405, b"method not allowed\n")
    peer.sock.sendall(peer.data(bytes(100_000)) + peer.end())
    peer.again()
    peer.sock.sendall(peer.request("GET", "/hello") + peer.end())
    assert peer.response() == (200, b"Hello, World!")


def test_both_ways_at_once(peer: Peer) -> None:
    """The echo of a piece comes before the next is sent; the head, with the first."""
    peer.sock.sendall(peer.request("POST", "/echo", ("Transfer-Encoding", "chunked")))
    for number in range(20):
        peer.sock.sendall(peer.data(b"%d" % number))
        event = peer.event()
        if number == 0:
            assert isinstance(event, peer.h11.Response)
            event = peer.event()
        assert isinstance(event, peer.h11.Data) and event.data == b"%d" % number
    peer.sock.sendall(peer.end())
    assert isinstance(peer.event(), peer.h11.EndOfMessage)


def test_continue(peer: Peer) -> None:
    """100 comes when the app wants content; none comes for content that is here already."""
    expecting = [("Content-Length", "4"), ("Expect", "100-continue")]
    peer.sock.sendall(peer.request("POST", "/echo", *expecting))
    interim = peer.event()
    assert isinstance(interim, peer.h11.InformationalResponse) and interim.status_code == 100
    peer.sock.sendall(peer.data(b"ping") + peer.end())
    assert peer.response() == (200, b"ping")
    peer.again()
    peer.sock.sendall(peer.request("POST", "/echo", *expecting) + peer.data(b"pong") + peer.end())
    assert peer.response() == (200, b"pong")


def test_half_close(h11: ModuleType, clear: Serving) -> None:
    """A client that has sent its end still gets the answers to all that it asked."""
    with _connect(clear) as sock:
        peer = Peer(h11, sock)
        sock.sendall(peer.request("GET", "/slow/async?seconds=0.1") + peer.end())
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert peer.response() == (200, b"done\n")
        peer.again()
        peer.request("GET", "/hello")
        peer.end()
        assert peer.response() == (200, b"Hello, World!")
        assert sock.recv(1) == b""


def test_half_close_in_the_middle(clear: Serving) -> None:
    """A head that is cut off is answered: it will never be complete."""
    with _connect(clear) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHo")
        sock.shutdown(socket.SHUT_WR)
        assert _read_all(sock).startswith(b"HTTP/1.1 400 ")


def test_garbage(peer: Peer) -> None:
    """What is not HTTP is answered 400, behind the answers to what came before it, and the connection ends."""
    peer.sock.sendall(peer.request("GET", "/hello") + peer.end() + b"\x16\x03\x01\x00")
    assert peer.response() == (200, b"Hello, World!")
    peer.again()
    peer.request("GET", "/")
    peer.end()
    head = peer.event()
    assert (head.status_code, dict(head.headers)[b"connection"]) == (400, b"close")


def test_a_body_that_breaks(peer: Peer) -> None:
    """Once its response has begun, that must not look complete: it ends in the middle of its chunks."""
    peer.sock.sendall(peer.request("POST", "/echo", ("Transfer-Encoding", "chunked")) + peer.data(b"ping"))
    assert isinstance(peer.event(), peer.h11.Response)
    assert isinstance(peer.event(), peer.h11.Data)
    peer.sock.sendall(b"no chunk\r\n")
    with pytest.raises(peer.h11.RemoteProtocolError, match="without sending complete message body"):
        peer.event()


UNREAD = [
    (b"1.1", b"Connection: close\r\nContent-Length: 5", b"hello"),
    (b"1.1", b"Connection: close\r\nTransfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"1.0", b"Content-Length: 5", b"hello"),
    (b"1.1", b"Content-Length: 1000000", bytes(1_000_000)),
]


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
def test_unread_content_at_the_end(start: Callable[..., Serving], certificate: Certificate, secure: bool) -> None:
    """A last answer arrives whole, and the end is clean, though the app left the content unread (RFC 9112 §9.6)."""
    server = start(certificate=certificate if secure else None)
    for version, fields, content in UNREAD:
        with _connect(server) as sock:
            sock.sendall(b"POST /hello HTTP/%b\r\nHost: a\r\n%b\r\n\r\n%b" % (version, fields, content))
            response = b""
            while not response.endswith(b"\r\n\r\nmethod not allowed\n"):
                response += sock.recv(65_536)
            assert secure or sock.recv(1) == b""  # over TLS there is no half-close: the end comes 2 s later
    server.stop()


def test_clients_that_leave_before_the_farewell(start: Callable[..., Serving]) -> None:
    """A client that sends garbage and does not wait for the answer is one line in the log, and no failure."""
    server = start()
    for _ in range(500):
        with _connect(server) as sock:
            sock.sendall(b"garbage\r\n\r\n")
    server.stop(warnings=("the request '-' from 127.0.0.1 is answered 400: ",))


def _read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65_536), b""))
