"""How connections end when somebody misbehaves: sys.exit() in an app, a block that is cancelled, TLS that is cut off."""

import asyncio
import base64
import hashlib
import re
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from minproto import (
    EventSource,
    EventStream,
    RemoteBroker,
    Response,
    Server,
    ServerSentEvent,
    Timeouts,
    connect,
    connect_http,
    connect_http2,
    upgrade,
)
from minproto.aio.server import tls_context
from minproto.core import RemoteProtocolError
from minproto.http2_frames import SETTINGS, encode_frame

QUICK = Timeouts(linger=0.2, drain=0.5)


# ---- sys.exit() ---------------------------------------------------------------------------------------------------------


async def breaking_off():
    yield b"first"
    sys.exit(3)


async def events():
    yield ServerSentEvent("first")
    sys.exit(3)


async def leave(_):
    sys.exit(3)


async def exiting(request):
    match request.path:
        case "/exit":
            sys.exit(3)
        case "/stream":
            return Response(breaking_off())
        case "/events":
            return EventStream(events())
        case "/ws":
            return upgrade(request, leave)
    return Response(b"Hello")


@pytest.mark.parametrize("connecting", [connect_http, connect_http2])
async def test_sys_exit_in_a_handler_is_a_500_and_the_server_goes_on(connecting, logged):
    """asyncio ends the whole loop by a SystemExit in any task: every other request would be lost, without a drain."""
    async with Server(exiting, port=0, timeouts=QUICK) as server:
        async with await connecting("127.0.0.1", server.port) as client:
            response = await client.request("GET", "/exit")
            assert (response.status, await response.read()) == (500, b"internal server error\n")
            assert (await client.request("GET", "/")).status == 200
    assert "SystemExit: 3" in logged.pop() and not logged


@pytest.mark.parametrize("path", ["/stream", "/events"])
@pytest.mark.parametrize("connecting", [connect_http, connect_http2])
async def test_sys_exit_while_content_is_made_breaks_that_response_off(connecting, path, logged):
    async with Server(exiting, port=0, timeouts=QUICK) as server:
        with pytest.raises((OSError, RemoteProtocolError)):
            async with await connecting("127.0.0.1", server.port) as client:
                await (await client.request("GET", path)).read()
        async with await connecting("127.0.0.1", server.port) as client:
            assert (await client.request("GET", "/")).status == 200
    assert "SystemExit: 3" in logged.pop() and not logged


async def test_sys_exit_in_the_handler_of_a_websocket_is_a_1011(logged):
    async with Server(exiting, port=0, timeouts=QUICK) as server:
        async with await connect(server.url.replace("http", "ws") + "/ws") as ws:
            async for _ in ws:
                pass
        assert ws.close_code == 1011
        async with await connect_http("127.0.0.1", server.port) as client:
            assert (await client.request("GET", "/")).status == 200
    assert "SystemExit: 3" in logged.pop() and not logged


@pytest.mark.parametrize("connecting", [connect_http, connect_http2])
@pytest.mark.parametrize("error", [SystemExit(3), ValueError("3")])
async def test_an_observer_that_fails_harms_no_request(connecting, error, logged):
    class Failing:
        def begin(self, *_):
            raise error

        finish = begin

    async with Server(exiting, port=0, timeouts=QUICK, observers=[Failing()]) as server:
        async with await connecting("127.0.0.1", server.port) as client:
            for _ in range(2):
                assert await (await client.request("GET", "/")).read() == b"Hello"
    assert len(logged) == 4 and all("an observer failed" in line for line in logged)
    logged.clear()


# ---- a block that is cancelled ------------------------------------------------------------------------------------------


def serve_once(talk, wrap=lambda sock: sock):
    """A server in a thread: ``talk`` has the first connection."""

    def run():
        with suppress(OSError):
            with listener:
                bare, _ = listener.accept()
            with bare, wrap(bare) as sock:
                talk(sock)

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return listener.getsockname()[1]


def silent_after(answer):
    """It says that, and then neither reads nor closes."""

    def talk(sock):
        head = sock.recv(65_536)
        sock.sendall(answer(head) if callable(answer) else answer)
        time.sleep(5)

    return talk


def switching(head):
    key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    words = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    return b"\r\n".join([*words, b"Sec-WebSocket-Accept: " + accept, b"", b""])


async def over_http(port, context):
    async with await connect_http("127.0.0.1", port, context) as client:
        await client.request("GET", "/")


async def over_http2(port, context):
    async with await connect_http2("127.0.0.1", port, context) as client:
        await client.request("GET", "/")


async def over_websocket(port, context):
    async with await connect(f"ws{'s' if context else ''}://127.0.0.1:{port}", ssl=context) as ws:
        await ws.receive()


async def over_sse(port, context):
    async for _ in EventSource(f"http{'s' if context else ''}://127.0.0.1:{port}", ssl=context):
        pass


async def over_resp(port, context):
    async with RemoteBroker(f"redis{'s' if context else ''}://127.0.0.1:{port}", ssl=context) as broker:
        await broker.publish("a", b"b")


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n"
GREETING = encode_frame(SETTINGS, 0, 0)
BLOCKS = [(over_http, b""), (over_http2, GREETING), (over_websocket, switching), (over_sse, STREAM), (over_resp, b"")]


@pytest.mark.parametrize(("block", "answer"), BLOCKS)
@pytest.mark.parametrize("secure", [False, True])
async def test_a_block_that_is_cancelled_waits_for_no_peer(block, answer, secure, certificate, trust):
    """The peer is dead: it neither answers our farewell nor reads it."""
    context = tls_context(certificate.chain, certificate.key) if secure else None
    if secure and block is over_http2:
        trust.set_alpn_protocols(["h2"])
    elif secure:
        context.set_alpn_protocols(["http/1.1"])
    wrap = (lambda sock: context.wrap_socket(sock, server_side=True)) if secure else (lambda sock: sock)
    port = serve_once(silent_after(answer), wrap)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(block(port, trust if secure else None), 0.3)
    assert time.monotonic() - began < 1


# ---- TLS that is cut off ------------------------------------------------------------------------------------------------


@contextmanager
def serving_tls(certificate, answer, ends_properly):
    def talk(sock):
        sock.recv(65_536)
        sock.sendall(answer)
        if ends_properly:
            with suppress(OSError):
                sock.unwrap()

    context = tls_context(certificate.chain, certificate.key)
    context.set_alpn_protocols(["http/1.1"])
    yield serve_once(talk, lambda sock: context.wrap_socket(sock, server_side=True))


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nall of it"


async def test_content_that_ends_with_tls_is_whole(certificate, trust):
    with serving_tls(certificate, UNTIL_CLOSE, True) as port:
        async with await connect_http("127.0.0.1", port, trust) as client:
            assert await (await client.request("GET", "/")).read() == b"all of it"


async def test_content_that_ends_with_tcp_alone_is_not(certificate, trust):
    """RFC 9112 §9.8: anybody on the way can end TCP."""
    with serving_tls(certificate, UNTIL_CLOSE, False) as port:
        with pytest.raises(ConnectionError):
            async with await connect_http("127.0.0.1", port, trust) as client:
                response = await client.request("GET", "/")
                assert response.status == 200
                await response.read()


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 5\r\n\r\nwhole", b"Transfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"]
)
async def test_content_of_a_known_length_needs_no_end_of_tls(certificate, trust, rest):
    """RFC 9112 §9.8; nor do chunks, once the last one has come."""
    with serving_tls(certificate, b"HTTP/1.1 200 OK\r\n" + rest, False) as port:
        async with await connect_http("127.0.0.1", port, trust) as client:
            assert await (await client.request("GET", "/")).read() == b"whole"


async def test_our_server_ends_tls_before_tcp(certificate, trust):
    """RFC 9112 §9.8: a server MUST attempt to exchange closure alerts. Without one, ``recv`` raises SSLEOFError here."""

    def ask(port, fields):
        with socket.create_connection(("127.0.0.1", port)) as bare:
            with trust.wrap_socket(bare, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
                answer = b""
                while data := sock.recv(65_536):
                    answer += data
                return answer

    async def app(request):
        return Response(b"whole")

    context = tls_context(certificate.chain, certificate.key)
    async with Server(app, port=0, ssl=context, timeouts=Timeouts(linger=0.2, drain=0.5, idle=0.2)) as server:
        for fields in (b"Connection: close\r\n", b"", b"Wrong : x\r\n"):  # asked for, idle for too long, refused
            assert (await asyncio.to_thread(ask, server.port, fields)).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("last", [b"Connection: close\r\n", b""])
async def test_our_client_ends_tls_before_tcp(certificate, trust, last):
    """RFC 9112 §9.8: a client MUST send a closure alert before it closes, whoever ends the connection."""
    ended = []

    def talk(sock):
        sock.recv(65_536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + last + b"\r\nwhole")
        try:
            ended.append(sock.recv(65_536))
        except OSError as error:
            ended.append(error)

    context = tls_context(certificate.chain, certificate.key)
    context.set_alpn_protocols(["http/1.1"])
    port = serve_once(talk, lambda sock: context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False))
    async with connect_http("127.0.0.1", port, trust, timeouts=QUICK) as client:
        assert await (await client.request("GET", "/")).read() == b"whole"
    for _ in range(100):
        if not ended:
            await asyncio.sleep(0.02)
    assert ended == [b""]


async def test_the_last_piece_before_the_cut_is_given(certificate, trust):
    with serving_tls(certificate, UNTIL_CLOSE, False) as port:
        async with await connect_http("127.0.0.1", port, trust) as client:
            pieces = []
            with pytest.raises(ConnectionError):
                async for piece in await client.request("GET", "/"):
                    pieces.append(piece)
    assert b"".join(pieces) == b"all of it"


@pytest.mark.parametrize("idle", [True, False])
async def test_a_server_over_tls_notices_that_an_upload_was_cut_off_in_chunks(certificate, trust, idle):
    """And goes on, without a word in the log: it is the client's business how it leaves (RFC 9112 §9.8), idle or not."""

    async def app(request):
        return Response(await request.read())

    context = tls_context(certificate.chain, certificate.key)
    async with Server(app, port=0, ssl=context, timeouts=QUICK) as server:
        bare = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", server.port))
        sock = await asyncio.to_thread(trust.wrap_socket, bare, server_hostname="127.0.0.1")
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        await asyncio.to_thread(sock.sendall, b"" if idle else head + b"5\r\nhello\r\n")
        sock.close()
        async with await connect_http("127.0.0.1", server.port, trust) as client:
            assert (await client.request("GET", "/")).status == 200


# ---- a server that stops, and clients that have just connected -------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
async def test_a_client_that_connects_just_before_the_stop_is_answered(secure, certificate, trust):
    """The kernel has its connection, and the server has not accepted it yet, or the TLS handshake has not begun."""

    async def app(request):
        return Response(b"hello")

    context, count = (tls_context(certificate.chain, certificate.key), 20) if secure else (None, 200)
    server = await Server(app, port=0, ssl=context).__aenter__()
    waiting = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]  # the loop does not run meanwhile
    closing = asyncio.create_task(server.close())
    await asyncio.sleep(0.1)

    async def ask(sock):
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=sock, **({"ssl": trust, "server_hostname": "127.0.0.1"} if secure else {})
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer.endswith(b"hello")

    async with asyncio.timeout(20):
        assert all(await asyncio.gather(*(ask(sock) for sock in waiting)))
        await closing
