"""The handshake on a bare socket and with curl: what is accepted, and what is refused with which status."""

import socket
import ssl
import struct
import subprocess
from collections.abc import Callable

import pytest

from .frames import KEY, PONG, TEXT, Frame, Peer, close, frame, request
from .serving import Certificate, Serving, wait_until


@pytest.mark.parametrize(
    "bytes_",
    [
        request(),
        request().replace(b"Upgrade: websocket", b"UPGRADE:WebSocket"),
        request("Connection: keep-alive, uPGRADE", without="Connection"),
        request("Connection: keep-alive"),
        request("Upgrade: h2c, websocket", without="Upgrade"),
        request("Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Extensions: x-unknown; a=b"),
        request("Origin: http://a"),
        request("Origin: HTTP://A"),
        request(target="/ws?a=b"),
        request("Content-Length: 0"),
    ],
)
def test_accepted(clear: Serving, bytes_: bytes) -> None:
    """RFC 6455 §4.2: names and values in any case, in lists, with what else there is."""
    with Peer(clear, handshake=False) as peer:
        peer.send(bytes_)
        answer = peer.head()
        assert (answer.status, answer.fields["upgrade"]) == (101, "websocket")
        assert answer.fields["connection"].lower() == "upgrade"
        assert not answer.fields.keys() & {"sec-websocket-protocol", "sec-websocket-extensions", "content-length"}
        peer.closes()


VERSION = "Sec-WebSocket-Version"

REFUSED = {
    "no Upgrade": (request(without="Upgrade"), 426),
    "another Upgrade": (request("Upgrade: h2c", without="Upgrade"), 426),
    "no Connection": (request(without="Connection"), 426),
    "no Connection: Upgrade": (request("Connection: keep-alive", without="Connection"), 426),
    "old version": (request(f"{VERSION}: 8", without=VERSION), 426),
    "new version": (request(f"{VERSION}: 14", without=VERSION), 426),
    "two versions": (request(f"{VERSION}: 8"), 426),
    "no version": (request(without=VERSION), 400),
    "no key": (request(without="Sec-WebSocket-Key"), 400),
    "two keys": (request(f"Sec-WebSocket-Key: {KEY}"), 400),
    "short key": (request(f"Sec-WebSocket-Key: {KEY[4:]}", without="Sec-WebSocket-Key"), 400),
    "long key": (request(f"Sec-WebSocket-Key: AAAA{KEY}", without="Sec-WebSocket-Key"), 400),
    "no base64": (request("Sec-WebSocket-Key: **************************", without="Sec-WebSocket-Key"), 400),
    "HTTP/1.0": (request(version="1.0"), 400),
    "no Host": (request(without="Host"), 400),
    "POST": (request("Content-Length: 0", method="POST"), 405),
    "another host": (request("Origin: http://b"), 403),
    "another port": (request("Origin: http://a:81"), 403),
    "null": (request("Origin: null"), 403),
    "a longer name": (request("Origin: http://a.b"), 403),
    "wrong extension": (request("Sec-WebSocket-Extensions: a b"), 400),
    "half an extension": (request("Sec-WebSocket-Extensions: permessage-deflate; x="), 400),
    "wrong subprotocol": (request("Sec-WebSocket-Protocol: a b"), 400),
    "subprotocol twice": (request("Sec-WebSocket-Protocol: a, a"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(clear: Serving, name: str) -> None:
    """§4.2.1, §4.2.2: the precise status, and what would do; a client that reads it may try again on the connection."""
    bytes_, status = REFUSED[name]
    with Peer(clear, handshake=False) as peer:
        peer.send(bytes_)
        answer = peer.head()
        assert answer.status == status
        assert peer.content(answer).endswith(b"\n")
        hints = {key: answer.fields.get(key) for key in ("upgrade", "sec-websocket-version")}
        assert hints == ({"upgrade": "websocket", "sec-websocket-version": "13"} if status == 426 else dict.fromkeys(hints))
        if status == 426:
            assert "upgrade" in answer.fields["connection"].lower()
        if answer.fields.get("connection") != "close":
            peer.send(request())
            assert peer.head().status == 101
            peer.closes()


@pytest.mark.parametrize("size", [1, 1_000])
def test_frames_behind_the_handshake(clear: Serving, size: int) -> None:
    """What comes with the handshake is not lost, and requests before it are answered first."""
    with Peer(clear, handshake=False) as peer:
        hello = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
        peer.drip(hello + request() + frame(TEXT, "first") + frame(TEXT, "second") + close(1000), size)
        answer = peer.head()
        assert (answer.status, peer.content(answer)) == (200, b"Hello, World!")
        assert peer.head().status == 101
        peer.expects(Frame(TEXT, b"first"), Frame(TEXT, b"second"))
        peer.ends(1000)


def test_over_tls(tls: Serving, trust: ssl.SSLContext) -> None:
    """The same inside of TLS: messages large and small, a Ping, a fault."""
    with Peer(tls, trust=trust) as peer:
        payload = bytes(range(256)) * 4_096
        peer.send(frame(9, "ping"), frame(2, payload), frame(TEXT, "x"))
        peer.expects(Frame(PONG, b"ping"), Frame(2, payload), Frame(TEXT, b"x"))
        peer.send(frame(TEXT, b"\xff"))
        assert peer.read().code == 1007
    with Peer(tls, "Origin: https://a", trust=trust) as peer:
        peer.closes()


@pytest.mark.parametrize("end", ["just goes", "resets", "ends TLS", "goes on sending"])
def test_ends_over_tls(start: Callable[..., Serving], certificate: Certificate, trust: ssl.SSLContext, end: str) -> None:
    """However a client goes that was told of a fault: the server does not mind, and says nothing of it."""
    server = start(certificate=certificate)
    with Peer(server, trust=trust) as peer:
        peer.send(frame(3) + bytes(100_000))
        assert peer.read().code == 1002
        if end == "resets":
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "ends TLS":
            peer.sock.unwrap()
        elif end == "goes on sending":
            peer.send(bytes(1_000_000))
    server.stop()


def test_chat_is_a_page_and_a_socket(clear: Serving) -> None:
    """/chat is a page for who does not ask for an upgrade; peers on one topic hear each other, and no others."""
    with Peer(clear, handshake=False) as peer:
        peer.send(b"GET /chat HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = peer.head()
        assert answer.fields["content-type"] == "text/html; charset=utf-8"
        assert peer.content(answer).startswith(b"<!doctype html>")
    peers = [Peer(clear, handshake=False) for _ in range(3)]
    for peer, topic in zip(peers, ("a", "a", "b"), strict=True):
        peer.send(request(target=f"/chat?topic={topic}"))
        assert peer.head().status == 101
        peer.send(frame(TEXT, "hi"))  # its echo says that it is in the room
        peer.expects(Frame(TEXT, b"hi"))
    peers[0].expects(Frame(TEXT, b"hi"))
    peers[1].send(frame(2, b"\xff"))
    for peer in peers[:2]:
        peer.expects(Frame(2, b"\xff"))
    for peer in peers:
        with peer:
            peer.closes()


def test_the_server_stops(start: Callable[..., Serving]) -> None:
    """A server that stops says 1001, waits for the answer, and logs the handshake."""
    server = start()
    with Peer(server) as peer:
        server.process.terminate()
        assert peer.read().code == 1001
        peer.send(close(1001))
        assert peer._file.read() == b""
    wait_until(lambda: server.process.poll() is not None)
    server.stop()
    assert [(line, status) for line, status, _ in server.log] == [("GET /ws HTTP/1.1", "101")]


# ---- curl ------------------------------------------------------------------------------------------------------------


def curl(server: Serving, *fields: str) -> tuple[int, dict[str, str]]:
    """Status and fields of a handshake that curl sends. It would wait for the end of an answer of 101: it is stopped."""
    trust = ["--cacert", server.certificate.authority] if server.certificate else []
    words = [word for field in fields for word in ("-H", field)]
    run = ["curl", "-q", "-sS", "-N", "-i", "--http1.1", "--noproxy", "*", "--max-time", "0.4", *trust, *words]
    out = subprocess.run([*run, server.url + "/ws"], capture_output=True, timeout=10, stdin=subprocess.DEVNULL).stdout
    start, *lines = out.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(start.split()[1]), dict(line.split(": ", 1) for line in lines)


ASK = ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]


@pytest.mark.needs("curl")
def test_curl(server: Serving) -> None:
    """Each status that a handshake can have."""
    status, fields = curl(server, *ASK)
    assert (status, fields["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    assert curl(server, *ASK, f"Origin: {server.url}")[0] == 101
    assert curl(server, *ASK, "Origin: https://example.org")[0] == 403
    assert curl(server, *ASK[:2], ASK[3])[0] == 400
    for asked in ([], ASK[:1], [*ASK[:3], "Sec-WebSocket-Version: 12"]):
        status, fields = curl(server, *asked)
        assert (status, fields["upgrade"], fields["sec-websocket-version"]) == (426, "websocket", "13")
