"""Real sockets on the loopback interface, in real time: what only a kernel can show."""

import asyncio
import os
import signal
import socket
import ssl
import struct
import time
from urllib.parse import urlsplit

import loops
import pytest
import trustme
from harness import FIN, HELLO, RST, Client, get, pieces

from minproto import (
    Broker,
    BrokerServer,
    EventSource,
    EventStream,
    RemoteBroker,
    Response,
    Server,
    Timeouts,
    connect,
    connect_http,
    connect_http2,
    serve,
    upgrade,
)
from minproto.aio.address import Address, url_address
from minproto.aio.listener import raise_file_limit
from minproto.aio.pipe import READ_SIZE
from minproto.aio.pipe_fast import ProtocolPipe
from minproto.aio.server import tls_context
from minproto.aio.sockets import accept_pipe, connect_pipe, make_pipe

QUICK = Timeouts(write=0.5, linger=0.5, drain=0.5, handshake=0.2)
RESET = struct.pack("ii", 1, 0)


async def app(request):
    match request.path:
        case "/hello":
            return Response(b"Hello, World!")
        case "/endless":
            return Response(pieces(1 << 14, bytes(65_536)))
        case "/endless/tiny":
            return Response(pieces(10**9, b"x"))
        case "/bytes":
            return Response(bytes(10**7))
        case "/sleep":
            await asyncio.sleep(0.2)
        case "/never":
            await asyncio.Event().wait()
    return Response(await request.read())


def serving(**options):
    return Server(app, **{"port": 0, "timeouts": QUICK} | options)


async def client_of(server, data=b"", **options):
    client = Client(await connect_pipe(Address("127.0.0.1", server.port), **options))
    client.send(data)
    return client


async def answers_hello(server):
    client = await client_of(server)
    async with asyncio.timeout(3):
        assert (await client.ask(HELLO)).body == b"Hello, World!"
    await client.pipe.close()


async def tells_host(request):
    return Response.text(request.authority)


async def fetch(url, ssl=None):
    """What the server saw as Host, by each of our HTTP clients."""
    address = url_address(urlsplit(url))
    seen = set()
    for connecting in (connect_http, connect_http2):
        async with await connecting(address.connect_host, address.port, ssl) as client:
            seen.add(await (await client.request("GET", "/")).read())
    return seen


async def test_the_zone_of_an_ipv6_address_connects_and_is_told_to_nobody():
    """RFC 6874 §4."""
    async with Server(tells_host, host="::1%1", port=0) as server:
        assert server.url == f"http://[::1%251]:{server.port}"
        assert await fetch(server.url) == {f"[::1]:{server.port}".encode()}


async def test_a_websocket_and_an_event_source_to_an_ipv6_address_with_a_zone():
    async def app(request):
        assert request.authority == f"[::1]:{server.port}"
        if request.path == "/ws":
            return upgrade(request, lambda ws: ws.send("hello"))
        return EventStream(pieces(1, "hello"))

    async with Server(app, host="::1%1", port=0, timeouts=QUICK) as server:
        async with await connect(server.url.replace("http", "ws") + "/ws") as ws:
            assert await ws.receive() == "hello"
        async for event in EventSource(server.url):
            assert event.data == "hello"
            break


async def test_a_remote_broker_at_an_ipv6_address_with_a_zone():
    async with BrokerServer(Broker(), host="::1%1", port=0) as server, RemoteBroker(server.url) as broker:
        assert await broker.publish("a", b"b") == 0


async def test_one_address_has_many_spellings():
    async with Server(tells_host, host="::1", port=0) as server:
        for host in ("[::1]", "0:0:0:0:0:0:0:1", "0::1"):
            async with await connect_http(host, server.port) as client:
                assert await (await client.request("GET", "/")).read() == f"[::1]:{server.port}".encode()


async def test_tls_asks_for_the_name_without_zone_and_dot(tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "::1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    served = tls_context(str(tmp_path / "pem"))
    names = []
    served.sni_callback = lambda _, name, __: names.append(name)
    for host, given, seen in (("::1", "::1%1", "[::1]"), ("127.0.0.1", "LOCALHOST.", "localhost.")):
        async with Server(tells_host, host=host, port=0, ssl=served) as server:
            async with await connect_http(given, server.port, context) as client:
                assert await (await client.request("GET", "/")).read() == f"{seen}:{server.port}".encode()
    assert names == [None, "localhost"]


def resident():
    """Bytes of memory that this process occupies now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_1000_idle_connections_while_requests_are_answered():
    """Each costs little, and none of them any time."""
    raise_file_limit()
    async with serving() as server:
        idle = [await client_of(server, HELLO if n % 2 else b"") for n in range(1000)]
        for _ in range(100):
            await answers_hello(server)
        for client in idle:
            client.pipe.abort()


@pytest.mark.parametrize("bad", [b"bad\r\n\r\n", get("/", "Content-Length: 99999999999", method="POST")])
async def test_the_answer_is_readable_though_the_client_sends_megabytes(bad):
    """RFC 9112 §9.6: a reset for unread input would destroy the answer in the client's kernel."""
    async with serving() as server:
        client = await client_of(server, bad)
        for _ in range(64):
            client.send(bytes(1 << 17))
            await client.pipe.drain()
        await asyncio.sleep(0.1)
        assert (await client.answer()).status in (400, 413)
        assert await client.end() == FIN
        await client.pipe.close()
        await answers_hello(server)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is measured by /proc")
async def test_a_gigabyte_that_nobody_reads_takes_no_memory():
    """The kernel's buffers fill, then ours, then nothing more is made; then the client is cut off."""
    async with serving() as server:
        await answers_hello(server)
        before = resident()
        clients = [socket.create_connection(("127.0.0.1", server.port), 3) for _ in range(10)]
        for client in clients:
            client.sendall(get("/endless"))
        for _ in range(10):
            await asyncio.sleep(0.1)
            await answers_hello(server)
            assert resident() - before < 20_000_000
        for client in clients:
            with client, pytest.raises(ConnectionResetError):
                while client.recv(1 << 20):
                    pass


async def test_drain_lets_others_run_though_the_kernel_takes_everything():
    """Law 11: asyncio's own ``drain`` does not, below its high-water mark."""
    ours, theirs = socket.socketpair()
    pipe, turns = await make_pipe(ours), 0

    async def take_turns():
        nonlocal turns
        while turns < 1000:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    with theirs:
        for _ in range(100):
            pipe.write(bytes(70_000))
            theirs.recv(70_000, socket.MSG_WAITALL)
            assert pipe.congested
            await pipe.drain()
    assert turns >= 99
    await other
    pipe.abort()


@pytest.mark.parametrize("target", ["/endless", "/endless/tiny"])
async def test_a_fast_reader_of_an_endless_stream_starves_nobody(target):
    """Law 11: where the kernel takes everything at once, nothing but ourselves makes us yield."""
    async with serving() as server:
        fast = await client_of(server, get(target))

        async def read():
            while await fast.pipe.read():
                pass

        reading = asyncio.create_task(read())
        for _ in range(10):
            await answers_hello(server)
        reading.cancel()
        fast.pipe.abort()


@pytest.mark.parametrize("target", ["/endless", "/bytes", "/sleep", "/"])
async def test_a_client_that_resets_is_no_error(target):
    """A reset within each phase, as a kernel tells it."""
    async with serving() as server:
        for pause in (0, 0.05):
            head = get(target, "Content-Length: 5" if target == "/" else "X: y")
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(head)
            await asyncio.sleep(pause)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
        await answers_hello(server)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_the_client_of_an_event_stream_is_gone(how):
    """Nothing is published, and one comment, or none, shows it. Who has only half-closed, and reads, is served."""
    comments = []

    class Stream(EventStream):
        async def __anext__(self):
            piece = await super().__anext__()
            comments.extend([piece] * (b"still here" in piece))
            return piece

        async def aclose(self):
            await super().aclose()
            closed.set()

    async def events(request):
        return Stream(broker.subscribe("updates"), keepalive=0.1)

    broker, closed = Broker(), asyncio.Event()
    async with Server(events, port=0) as server, asyncio.timeout(5):
        client = await client_of(server, get("/"))
        client.pipe.close_write()
        while len(comments) < 2:
            await client.pipe.read()
        if how == "reset":
            client.pipe.abort()
        else:
            await client.pipe.close()
        comments.clear()
        await closed.wait()
        assert len(comments) <= 1 and broker.inner.topics == []


async def test_half_closed_sockets_get_their_answer():
    """RFC 9112 §9.6, with a real FIN in each direction."""
    async with serving() as server:
        client = await client_of(server, get("/sleep"))
        client.pipe.close_write()
        assert (await client.answer()).status == 200 and await client.end() == FIN
        await client.pipe.close()


async def test_content_that_breaks_off_is_a_reset_on_the_wire(logged):
    """RFC 9112 §8: asyncio's abort closes with an ordinary FIN, and a client of HTTP/1.0 takes a part for the whole."""

    async def broken(request):
        async def body():
            yield bytes(1000)
            raise ValueError("expected")

        return Response(body())

    async with Server(broken, port=0) as server:
        client = await client_of(server, get(version="1.0"))
        with pytest.raises(ConnectionResetError):
            await client.answer()
    assert "ValueError: expected" in logged.pop()


async def test_a_tls_handshake_that_stalls_is_given_up(certificate):
    """``Timeouts.handshake``: before it there is no HTTP that could time out."""
    async with serving(ssl=tls_context(certificate.chain, certificate.key)) as server:
        client, began = await client_of(server), time.monotonic()
        assert await client.end() in (FIN, RST)
        assert 0.1 < time.monotonic() - began < 3
        client.pipe.abort()


async def test_a_port_in_use_raises_oserror():
    """So that a command can say it in one line."""
    async with serving() as server:
        with pytest.raises(OSError, match="in use"):
            async with serving(port=server.port):
                pass


async def test_it_listens_on_the_loopback_interface_unless_told_otherwise():
    """A server on a laptop must not be there for everyone on the net by default."""
    async with serving() as server:
        assert server.url == f"http://127.0.0.1:{server.port}"


async def test_ipv6():
    """The URL has its address in brackets (RFC 3986 §3.2.2), and so has the client's Host."""
    try:
        server = await serving(host="::1").__aenter__()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert server.url == f"http://[::1]:{server.port}"
    client = await connect_http("::1", server.port)
    assert await (await client.request("GET", "/hello")).read() == b"Hello, World!"
    await client.close()
    await server.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("again", [False, True])
async def test_a_signal_drains_and_a_second_stops_at_once(capfd, number, again):
    """What was asked is answered, unless the operator has no patience."""
    serves = asyncio.create_task(serve(app, port=0, timeouts=Timeouts(drain=5)))
    printed = ""
    while "\n" not in printed:
        await asyncio.sleep(0.01)
        printed += capfd.readouterr().out
    port = int(printed.rpartition(":")[2])
    client = Client(await connect_pipe(Address("127.0.0.1", port)))
    client.send(get("/never" if again else "/sleep"))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    os.kill(os.getpid(), number)
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    if again:
        os.kill(os.getpid(), number)
        assert await client.end() == RST
    else:
        assert (await client.answer()).headers.get("connection") == "close"
    client.pipe.abort()
    await serves
    assert time.monotonic() - began < 3


@pytest.mark.skipif(loops.LOOP == "uvloop", reason="uvloop has one buffer for all chunks, and allocates none")
async def test_asyncio_allocates_no_more_for_a_chunk_than_we_ask_for(monkeypatch):
    """Its own maximum, 256 KiB, can cost three system calls for each chunk, however short: the kernel maps it anew."""
    sizes = []
    received = ProtocolPipe.data_received
    monkeypatch.setattr(ProtocolPipe, "data_received", lambda pipe, data: (sizes.append(len(data)), received(pipe, data))[1])
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    ours.setblocking(False)
    sent = ours.send(bytes(200_000))  # all of it is in the kernel before the pipe reads
    assert sent > READ_SIZE
    pipes = []
    await accept_pipe(theirs, pipes.append)
    got = b""
    while len(got) < sent:
        got += await pipes[0].read()
    pipes[0].abort()
    ours.close()
    assert not sizes or max(sizes) <= READ_SIZE  # no sizes on the plain pipe
