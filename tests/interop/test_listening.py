"""To connect, to listen and to accept, on the loopback interface: what the defaults of asyncio get wrong."""

import asyncio
import logging
import os
import re
import resource
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace

import pytest
from harness import FIN, HELLO, RST, Client

from minproto import (
    Broker,
    BrokerServer,
    EventSource,
    RemoteBroker,
    Response,
    Server,
    Timeouts,
    connect,
    connect_http,
    connect_http2,
)
from minproto.aio import sockets
from minproto.aio.address import Address
from minproto.aio.listener import MAX_REFUSALS
from minproto.aio.server import tls_context
from minproto.aio.sockets import connect_pipe, open_unix_pipe
from minproto.http2_frames import SETTINGS, encode_frame
from minproto.websocket_handshake import accept_key

QUICK = Timeouts(linger=0.2, drain=0.5, handshake=0.5)


async def app(request):
    return Response(b"Hello, World!")


async def hello(host, port, context=None, **options):
    async with asyncio.timeout(5):
        async with await connect_http(host, port, context, **options) as client:
            return (await client.request("GET", "/")).status


@contextmanager
def swallowing(host="127.0.0.2"):
    """An address that answers no SYN: a socket whose queue is full."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()


def resolving(monkeypatch, *addresses):
    """A host with these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


# ---- connecting ---------------------------------------------------------------------------------------------------------


async def test_an_address_that_swallows_packets_costs_a_quarter_of_a_second(monkeypatch):
    """RFC 8305 §5."""
    async with Server(app, port=0) as server:
        with swallowing() as dead:
            resolving(monkeypatch, dead, ("127.0.0.1", server.port))
            began = time.monotonic()
            assert await hello("two.example", server.port) == 200
            assert 0.2 < time.monotonic() - began < 1


async def test_a_connection_that_came_in_second_is_closed(monkeypatch):
    """Its server would wait for a request."""
    gate, made = asyncio.Event(), []

    async def dial_one(_):
        sock = socket.socket()
        made.append(sock)
        await gate.wait()
        return sock

    monkeypatch.setattr(sockets, "_dial_one", dial_one)
    monkeypatch.setattr(sockets, "ATTEMPT_DELAY", 0.01)
    resolving(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", 2))
    asyncio.get_running_loop().call_later(0.1, gate.set)
    with await sockets.dial("two.example", 1):
        await asyncio.sleep(0.01)
        assert sorted(sock.fileno() < 0 for sock in made) == [False, True]


async def test_an_address_that_refuses_costs_nothing(monkeypatch):
    async with Server(app, port=0) as server:
        resolving(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", 1), ("127.0.0.1", server.port))
        began = time.monotonic()
        assert await hello("three.example", server.port) == 200
        assert time.monotonic() - began < 0.2


async def test_when_no_address_answers_the_error_is_that_of_all(monkeypatch):
    resolving(monkeypatch, ("127.0.0.1", 1), ("127.0.0.2", 1))
    with pytest.raises(ConnectionRefusedError):
        await hello("none.example", 1)


async def test_a_host_that_does_not_answer_is_named_and_so_is_the_layer():
    """E1: a wordless TimeoutError helps nobody."""
    with swallowing() as (host, port):
        with pytest.raises(TimeoutError, match=rf"can't reach {host}:{port}: no answer within 0.3 s"):
            await connect_http(host, port, timeouts=Timeouts(handshake=0.3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TimeoutError, match=rf"127.0.0.1:{port}: no answer to the TLS handshake within 0.3 s"):
            await connect_http("127.0.0.1", port, ssl.create_default_context(), timeouts=Timeouts(handshake=0.3))


async def test_a_name_without_an_address_is_in_the_error():
    with pytest.raises(socket.gaierror, match="no address of nobody"):
        await connect_http("nobody.invalid", 80)


async def test_a_client_that_gives_up_leaves_no_socket():
    with swallowing() as dead:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with suppress(TimeoutError):
                await connect_pipe(Address(*dead), handshake=0.05)
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before


# ---- the end of TLS -----------------------------------------------------------------------------------------------------


# What a server says first to each of our clients; and each of the clients, when it has heard that, as the call that closes it.


def answer_http(request):
    return b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def answer_http2(request):
    return encode_frame(SETTINGS, 0, 0, b"")


def answer_websocket(request):
    key = re.search(rb"(?i)sec-websocket-key: (.+?)\r\n", request)[1].decode()
    fields = f"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept_key(key)}"
    return f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n".encode()


def answer_event_stream(request):
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: a\n\n"


def answer_redis(request):
    return b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"


async def close_http(port, **options):
    client = await connect_http("127.0.0.1", port, **options)
    assert (await client.request("GET", "/")).status == 200
    return client.close


async def close_http2(port, ssl, **options):
    ssl.set_alpn_protocols(["h2"])
    client = await connect_http2("127.0.0.1", port, ssl, **options)
    while not client.core.settings_received:  # noqa: ASYNC110 - data that comes behind the end of our TLS would end the wait for it
        await asyncio.sleep(0.01)
    return client.close


async def close_websocket(port, **options):
    return (await connect(f"wss://127.0.0.1:{port}/", **options)).close


async def close_event_stream(port, **options):
    events = aiter(EventSource(f"https://127.0.0.1:{port}/", **options))
    assert (await anext(events)).data == "a"
    return events.aclose


async def close_remote_subscription(port, **options):
    subscription = RemoteBroker(f"rediss://127.0.0.1:{port}", **options).subscribe("a")
    await subscription.__aenter__()
    return subscription.close


@contextmanager
def deaf(certificate, answer):
    """A TLS server that answers what comes first, and then never reads again."""

    def run():
        with suppress(OSError):
            bare, _ = listener.accept()
            with context.wrap_socket(bare, server_side=True) as sock:
                sock.sendall(answer(sock.recv(65_536)))
                over.wait(20)

    over, context = threading.Event(), tls_context(certificate.chain, certificate.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
    thread.join()


@pytest.mark.parametrize(
    ("client", "answer"),
    [
        (close_http, answer_http),
        (close_http2, answer_http2),
        (close_websocket, answer_websocket),
        (close_event_stream, answer_event_stream),
        (close_remote_subscription, answer_redis),
    ],
    ids=["connect_http", "connect_http2", "connect", "EventSource", "RemoteBroker"],
)
async def test_a_peer_that_ignores_the_end_of_tls_costs_a_linger(certificate, trust, client, answer):
    """asyncio waits for its close_notify for 30 s."""
    with deaf(certificate, answer) as port:
        close = await client(port, ssl=trust, timeouts=replace(QUICK, close=0.2))
        began = time.monotonic()
        await close()
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("timeouts", [Timeouts(linger=0), Timeouts(handshake=0), Timeouts(linger=0, drain=0)])
async def test_a_timeout_of_0_is_no_time_over_tls_too(timeouts, certificate, trust):
    """asyncio refuses a 0, so that such a server did not even start. Without time for a handshake, none succeeds."""
    async with Server(app, port=0, ssl=tls_context(certificate.chain, certificate.key), timeouts=timeouts) as server:
        if timeouts.handshake:
            assert await hello("127.0.0.1", server.port, trust, timeouts=timeouts) == 200
        else:
            with pytest.raises(OSError):
                await hello("127.0.0.1", server.port, trust)
            with pytest.raises(TimeoutError):
                await hello("127.0.0.1", server.port, trust, timeouts=timeouts)


async def test_a_timeout_may_be_without_end_over_tls_too(certificate, trust):
    timeouts = Timeouts(handshake=float("inf"), linger=float("inf"))
    async with Server(app, port=0, ssl=tls_context(certificate.chain, certificate.key), timeouts=timeouts) as server:
        assert await hello("127.0.0.1", server.port, trust, timeouts=timeouts) == 200


# ---- listening ----------------------------------------------------------------------------------------------------------


def both_families(*_, **__):
    """What getaddrinfo says of "localhost" where /etc/hosts has both."""
    found = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    return [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in found]


async def test_all_addresses_of_a_host_are_served_on_one_port(monkeypatch):
    """asyncio listens on two ports, and tells of one."""
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", both_families)
        server = await Server(app, host="localhost", port=0).__aenter__()
    assert [await hello(address, server.port) for address in ("127.0.0.1", "::1")] == [200, 200]
    await server.close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("::1", "http://[::1]"),
        ("0.0.0.0", "http://127.0.0.1"),
        ("::", "http://[::1]"),
    ],
)
async def test_the_url_of_a_server_leads_to_it(host, url):
    async with Server(app, host=host, port=0) as server:
        assert server.url == f"{url}:{server.port}"
        assert await hello(url.partition("//")[2], server.port) == 200


async def test_a_port_that_is_taken_on_one_address_is_another_try_or_an_error_that_names_it(monkeypatch):
    async with Server(app, host="::1", port=0) as other:
        monkeypatch.setattr(socket, "getaddrinfo", both_families)
        with pytest.raises(OSError, match=f"can't listen on localhost, port {other.port}: address already in use"):
            async with Server(app, host="localhost", port=other.port):
                pass
        taken = [other.port]
        bind = socket.socket.bind

        def unlucky(sock, address):
            bind(sock, (address[0], taken.pop() if taken and address[1] == 0 else address[1], *address[2:]))

        monkeypatch.setattr(socket.socket, "bind", unlucky)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both_families()[::-1])
        async with Server(app, host="both.example", port=0) as server:
            assert not taken and server.port != other.port


async def test_a_family_that_the_machine_lacks_is_left_out(monkeypatch):
    """A container without IPv6, with "localhost" for ::1 in its /etc/hosts."""
    missing = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0))
    there = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing, there])
        server = await Server(app, host="both.example", port=0).__aenter__()
    assert await hello("127.0.0.1", server.port) == 200
    await server.close()


# ---- accepting ----------------------------------------------------------------------------------------------------------


@contextmanager
def no_file_left():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), limits[1]))
    fillers = []
    try:
        with suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        yield
    finally:
        for file in fillers:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def knock(port):
    """A connection that the kernel has made, whether or not the server accepts it."""
    return socket.create_connection(("127.0.0.1", port))


async def test_without_a_file_left_one_line_is_logged_and_later_all_are_served(caplog):
    caplog.set_level(logging.INFO)
    async with Server(app, port=0) as server:
        waiting = [await knock(server.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        late = socket.socket()
        with no_file_left():
            late.connect(("127.0.0.1", server.port))
            busy = time.process_time()
            await asyncio.sleep(2.2)
            assert time.process_time() - busy < 1  # it does not try again in every turn of the loop
        await asyncio.sleep(1.1)
        assert await hello("127.0.0.1", server.port) == 200
        for sock in (*waiting, late):
            sock.sendall(HELLO)
            await asyncio.sleep(0.05)
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            sock.close()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in said] == ["WARNING", "INFO"], said
    assert "Too many open files" in said[0][1] and "again" in said[1][1]


async def test_a_server_that_is_closed_without_a_file_left_says_no_more(caplog):
    """asyncio's retry timers each left a traceback."""
    server = await Server(app, port=0).__aenter__()
    late = socket.socket()
    with closing(late), no_file_left():
        late.connect(("127.0.0.1", server.port))
        await asyncio.sleep(0.1)
        await server.close()
        await asyncio.sleep(1.2)
    assert len(caplog.records) == 1


async def test_an_unfinished_tls_handshake_has_one_of_the_places(certificate, trust):
    context = tls_context(certificate.chain, certificate.key)
    async with Server(app, port=0, ssl=context, max_connections=2, timeouts=QUICK) as server:
        silent = [await knock(server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = Client(await connect_pipe(Address("127.0.0.1", server.port), trust))
        refused.send(HELLO)
        assert (await refused.answer()).status == 503
        await refused.pipe.close()
        await asyncio.sleep(0.6)  # theirs has not come in time
        assert await hello("127.0.0.1", server.port, trust) == 200
        for sock in silent:
            sock.close()


async def test_tls_handshakes_are_bounded(certificate):
    context = tls_context(certificate.chain, certificate.key)
    async with Server(app, port=0, ssl=context, max_connections=2, timeouts=Timeouts(drain=0.1)) as server:
        before = len(os.listdir("/proc/self/fd"))
        silent = [await knock(server.port) for _ in range(MAX_REFUSALS + 20)]
        await asyncio.sleep(0.2)
        ours = len(os.listdir("/proc/self/fd")) - before - len(silent)
        assert 2 + MAX_REFUSALS <= ours < 2 + MAX_REFUSALS + 5
        began = time.monotonic()
        await server.close()  # which ends the handshakes
        assert time.monotonic() - began < 1
        for sock in silent:
            sock.close()


async def test_a_burst_is_served_up_to_the_maximum():
    async with Server(app, port=0, max_connections=3, timeouts=QUICK) as server:
        clients = [Client(await connect_pipe(Address("127.0.0.1", server.port))) for _ in range(5)]
        for client in clients:
            client.send(HELLO)
        statuses = [(await client.answer()).status for client in clients]
        assert sorted(statuses) == [200, 200, 200, 503, 503]
        for client in clients:
            await client.pipe.close()


async def test_a_redis_server_counts_its_connections_in_the_same_way():
    async with BrokerServer(Broker(), port=0, max_connections=1, timeouts=QUICK) as server:
        first, second = await knock(server.port), await knock(server.port)
        first.sendall(b"PING\r\n")
        await asyncio.sleep(0.1)
        assert (first.recv(100), second.recv(100)) == (b"+PONG\r\n", b"-ERR max number of clients reached\r\n")
        first.close()
        second.close()


async def test_a_connection_that_can_not_begin_is_reset(monkeypatch):
    """A bug of ours, or of whoever derives a server: asyncio logs it, and keeps the connection open for ever."""
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(str(context["exception"])))
    async with Server(app, port=0, timeouts=QUICK) as server:

        def fail(pipe):
            raise ValueError("of ours")

        monkeypatch.setattr(server, "_connect", fail)
        client = Client(await connect_pipe(Address("127.0.0.1", server.port)))
        async with asyncio.timeout(2):
            assert await client.end() == RST
    assert seen == ["of ours"]


# ---- ends ---------------------------------------------------------------------------------------------------------------


def test_the_limit_of_files_is_raised_where_the_system_refuses_the_wish(monkeypatch):
    """macOS: the hard limit is "no limit", and to ask for that is an error."""
    from minproto.aio import listener

    asked = []

    def refuse(_, limits):
        asked.append(limits)
        if limits[0] == resource.RLIM_INFINITY:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(listener.resource, "setrlimit", refuse)
    monkeypatch.setattr(listener.resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    listener.raise_file_limit()
    assert asked == [(resource.RLIM_INFINITY,) * 2, (listener.OPEN_MAX, resource.RLIM_INFINITY)]
    asked.clear()
    for limits in ((resource.RLIM_INFINITY,) * 2, (1 << 20, resource.RLIM_INFINITY), (4096, 4096)):
        monkeypatch.setattr(listener.resource, "getrlimit", lambda _, limits=limits: limits)
        listener.raise_file_limit()
        assert all(wish[0] == resource.RLIM_INFINITY for wish in asked), limits  # never lowered


async def test_no_limit_of_files_is_no_limit_of_connections(monkeypatch):
    """RLIM_INFINITY is -1."""
    from minproto.aio import listener

    monkeypatch.setattr(listener.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    async with Server(app, port=0) as server:
        assert server.config.max_connections == 10_000


async def test_a_client_that_leaves_a_closed_server_gets_its_end():
    server = await Server(app, port=0, timeouts=QUICK).__aenter__()
    client = Client(await connect_pipe(Address("127.0.0.1", server.port)))
    client.send(HELLO)
    await client.answer()
    await server.close()
    with pytest.raises(RuntimeError, match="does not listen"):
        _ = server.url
    with pytest.raises(ConnectionRefusedError):
        await connect_http("127.0.0.1", 1)
    assert await client.end() == FIN
    await client.pipe.close()


# ---- other places than a port ----------------------------------------------------------------------------------------


async def hello_at(sock):
    """What a server answers on a connected socket."""
    with sock:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return await asyncio.wait_for(loop.sock_recv(sock, 65_536), 5)


def unix_client(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(path))
    return sock


async def test_a_unix_socket(tmp_path):
    path = tmp_path / "minproto.sock"
    async with Server(app, path=str(path)) as server:
        assert server.url == f"unix:{path}"
        assert b"200 OK" in await hello_at(unix_client(path))
        with pytest.raises(RuntimeError, match="which has no port"):
            _ = server.port
    assert not path.exists()


async def test_a_broker_on_a_unix_socket(tmp_path):
    path = tmp_path / "broker.sock"
    async with BrokerServer(Broker(), path=str(path)), RemoteBroker(f"unix://{path}") as remote:
        assert await remote.publish("a", b"hi") == 0


async def test_the_file_of_a_server_that_was_killed_is_replaced(tmp_path):
    path = tmp_path / "minproto.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(str(path))
        left_behind.listen()
    async with Server(app, path=str(path)):
        assert b"200 OK" in await hello_at(unix_client(path))


@pytest.mark.parametrize("there", ["a server", "a file", "no folder"])
async def test_a_path_that_is_taken(there, tmp_path):
    path = tmp_path / "minproto.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if there == "a server":
            other.bind(str(path))
            other.listen()
        elif there == "a file":
            path.write_text("precious")
        else:
            path = tmp_path / "no" / "minproto.sock"
        with pytest.raises(OSError, match=f"can't listen on {str(path)!r}: "):
            async with Server(app, path=str(path)):
                pass
    assert there != "a file" or path.read_text() == "precious"


@pytest.mark.parametrize(("path", "reason"), [("a\0b", "null (byte|character)"), ("/" + "x" * 200, "path too long")])
async def test_a_path_that_no_socket_can_have(path, reason):
    """Python refuses it before the kernel sees it, so the error has no number: the message once was "[Errno None] None"."""
    with pytest.raises(OSError, match=f"can't listen on {re.escape(repr(path))}: .*{reason}"):
        async with Server(app, path=path):
            pass
    if "\0" not in path:
        with pytest.raises(OSError, match=f"{reason}: '{path}'"):
            await open_unix_pipe(path)


async def test_a_file_that_another_server_has_made_since_stays(tmp_path):
    path = tmp_path / "minproto.sock"
    async with Server(app, path=str(path)):
        path.unlink()
        successor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        successor.bind(str(path))
    assert path.exists()
    successor.close()


@pytest.mark.parametrize("given", ["sock", "fd"])
async def test_a_socket_that_listens_already(given):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        place = {"sock": listening} if given == "sock" else {"fd": os.dup(listening.fileno())}
        async with Server(app, **place) as server:
            assert (server.port, server.url) == (port, f"http://127.0.0.1:{port}")
            assert b"200 OK" in await hello_at(socket.create_connection(("127.0.0.1", port)))


async def test_a_descriptor_that_does_not_listen():
    with socket.socket() as sock, pytest.raises(OSError, match="its socket does not listen"):
        async with Server(app, fd=sock.fileno()):
            pass
    with pytest.raises(OSError, match="can't listen on file descriptor 99999: bad file descriptor"):
        async with Server(app, fd=99_999):
            pass


async def test_two_servers_on_one_port():
    async with Server(app, port=0, reuse_port=True) as first, Server(app, port=first.port, reuse_port=True) as second:
        assert second.port == first.port
        assert b"200 OK" in await hello_at(socket.create_connection(("127.0.0.1", first.port)))
    async with Server(app, port=0) as first:
        with pytest.raises(OSError, match="address already in use"):
            async with Server(app, port=first.port, reuse_port=True):
                pass


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "a", "fd": 3}, "path and fd exclude each other"),
        ({"fd": 3, "reuse_port": True}, "fd and reuse_port exclude each other"),
        ({"path": ""}, "path has to be a str that is not empty"),
        ({"path": 1}, "path has to be str or None"),
        ({"sock": 3}, "sock has to be "),
        ({"fd": -1}, "fd has to be 0 or more"),
        ({"fd": "3"}, "fd has to be a whole number"),
        ({"reuse_port": 1}, "reuse_port has to be bool"),
    ],
)
def test_where_to_listen_is_said_once_and_rightly(options, says):
    with pytest.raises((TypeError, ValueError), match=says):
        Server(app, **options)
