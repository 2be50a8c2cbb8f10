"""``minproto wire`` between real clients and servers: what they get is what they get without it, and each byte is printed."""

import asyncio
import os
import pty
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import Address
from .serving import Serving, command, environment, wait_until
from .test_cli import run

LISTENS = re.compile(r"minproto serves on tcp://127\.0\.0\.1:(\d+)\n")


class Wired:
    """A wire to a server, what it prints going to a file or to a terminal that we read."""

    def __init__(self, host: str, port: int, *options: str, terminal: bool = False, **variables: str) -> None:
        self._file = tempfile.TemporaryFile()
        self._terminal, write = pty.openpty() if terminal else (-1, os.dup(self._file.fileno()))
        self.process = subprocess.Popen(
            command("wire", "--listen", "0", "--to", f"{host}:{port}", *options),
            stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE, env=environment() | variables,
        )  # fmt: skip
        os.close(write)
        self.port = int(wait_until(lambda: LISTENS.match(self.printed), 30)[1])  # as long as a server's start may take
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def printed(self) -> str:
        """So far."""
        while self._terminal >= 0 and select.select([self._terminal], [], [], 0)[0]:
            try:
                self._file.write(os.read(self._terminal, 1 << 16))
            except OSError:  # its other end is closed
                break
        self._file.flush()
        return os.pread(self._file.fileno(), 1 << 30, 0).decode().replace("\r\n", "\n")

    def stop(self) -> str:
        """Stop it, cleanly; all that it has printed."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(5) == 0
        assert self.process.stderr and self.process.stderr.read() == b""
        return self.printed

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self._terminal >= 0:
            os.close(self._terminal)
        self._file.close()


Wire = Callable[..., Wired]


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Starts wires."""
    started: list[Wired] = []

    def wire(host: str, port: int, *options: str, **more: object) -> Wired:
        started.append(Wired(host, port, *options, **more))  # type: ignore[arg-type]
        return started[-1]

    yield wire
    for wired in started:
        wired.kill()


def output(*words: str) -> str:
    """What a client prints."""
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout


HEX = re.compile(r"^    ((?:[0-9a-f]{2} )+) ", re.MULTILINE)


def bytes_of(printed: str, arrow: str) -> bytes:
    """What one side sent, read out of the lines."""
    rows = re.split(r"^(?=#)", printed, flags=re.MULTILINE)
    return bytes.fromhex("".join("".join(HEX.findall(row)) for row in rows if re.match(rf"#\d+ {arrow}", row)))


@pytest.mark.needs("curl")
def test_curl(clear: Serving, wire: Wire) -> None:
    """Each byte of a request and its answer, with names."""
    wired = wire(clear.host, clear.port)
    assert output("curl", "-s", f"{wired.url}/hello") == "Hello, World!"
    printed = wired.stop()
    request, answer = bytes_of(printed, "→"), bytes_of(printed, "←")
    assert request.startswith(b"GET /hello HTTP/1.1\r\n") and request.endswith(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nHello, World!")
    assert "method = GET (send the resource; RFC 9110 §9.3.1)" in printed
    assert "content-length = 13 (bytes of content: where the message ends; RFC 9110 §8.6)" in printed
    assert f": {len(request)} bytes from the client, {len(answer)} bytes from the server\n" in printed


PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()


@pytest.mark.needs("curl")
def test_the_page(clear: Serving, wire: Wire) -> None:
    """Its example prints what it says there, but for times; "..." stands for some lines."""
    words, *expected = PAGE.partition("$ minproto wire --listen 9000")[2].partition("```")[0].splitlines()[1:]
    wired = wire(clear.host, clear.port)
    assert output(*shlex.split(words.replace("http://127.0.0.1:9000", wired.url).removeprefix("$ "))) == "Hello, World!"
    wait_until(lambda: "#1 closed" in wired.printed)
    printed = re.sub(r"\d+\.\d{3} s", "TIME", wired.stop())
    for part in re.sub(r"\d+\.\d{3} s", "TIME", "\n".join(expected)).split("\n...\n"):
        assert part in printed


@pytest.mark.needs("curl")
def test_long_content_is_shortened(clear: Serving, wire: Wire) -> None:
    """What crosses is whole; what is printed says how much was left out, and how to see it."""
    wired = wire(clear.host, clear.port)
    plain = subprocess.run(["curl", "-s", f"{wired.url}/bytes/1000000"], capture_output=True, timeout=20, check=True).stdout
    assert len(plain) == 1_000_000
    assert "... 16,336 bytes more (--full)" in wired.stop()
    full = wire(clear.host, clear.port, "--full")
    output("curl", "-s", "-o", "/dev/null", f"{full.url}/bytes/100000")
    assert len(bytes_of(full.stop(), "←").partition(b"\r\n\r\n")[2]) == 100_000


def test_event_stream(clear: Serving, wire: Wire) -> None:
    """Events as they come, through a client that stays; Ctrl-C ends it."""
    wired = wire(clear.host, clear.port)
    client, other = (socket.create_connection(("127.0.0.1", port)) for port in (wired.port, clear.port))
    with client, other:
        client.sendall(b"GET /events?topic=wired HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: "text/event-stream" in wired.printed)
        other.sendall(b"POST /publish?topic=wired HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHello")
        wait_until(lambda: "event message = Hello (what a browser's script gets; WHATWG HTML §9.2.6)" in wired.printed)
        wired.stop()


def test_websocket(clear: Serving, wire: Wire, websockets: ModuleType) -> None:
    """The Upgrade is followed; payloads are shown unmasked and inflated."""
    wired = wire(clear.host, clear.port)

    async def talk() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{wired.port}/ws", proxy=None) as ws:
            await ws.send("Hello, " * 20)
            assert await ws.recv() == "Hello, " * 20

    asyncio.run(talk())
    printed = wired.stop()
    assert "WebSocket: text frame, " in printed and "RSV1: the message is compressed" in printed
    assert len(re.findall(r"message = (?:Hello, ?\s*){8}", printed)) == 2
    assert "WebSocket: Close frame, 2 bytes" in printed


@pytest.mark.needs("redis-cli")
def test_redis_cli(either: Address, wire: Wire) -> None:
    """A command and its reply, word by word, of our broker and of a redis-server."""
    wired = wire(either.host, either.port)
    assert output("redis-cli", "-p", str(wired.port), "ECHO", "hi") == "hi\n"
    wait_until(lambda: "#1 closed" in wired.printed)
    printed = wired.stop()
    assert re.search(r"#1 → [\d.]+ s, byte 0, RESP: ECHO hi\n", printed)
    assert "command = ECHO (send this text back; RESP, bulk strings)" in printed
    assert (bytes_of(printed, "→"), bytes_of(printed, "←")) == (b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n", b"$2\r\nhi\r\n")


@pytest.mark.needs("nghttp")
def test_nghttp(clear: Serving, wire: Wire) -> None:
    """HTTP/2 with prior knowledge: frames, decoded fields, windows."""
    wired = wire(clear.host, clear.port)
    assert output("nghttp", f"{wired.url}/hello") == "Hello, World!"
    wait_until(lambda: re.search("#1 (closed|reset) after", wired.printed) is not None)  # it may be gone before our GOAWAY
    printed = wired.stop()
    assert re.search(r"#1 → [\d.]+ s, byte \d+, HTTP/2, stream 13: HEADERS: GET /hello, END_STREAM\n", printed)
    assert ":method = GET (the method; indexed: entry 2; RFC 7541 §6.1, RFC 9113 §8.3.1)" in printed
    assert "window of the connection = 65,535 - 13 = 65,522 (" in printed
    assert "error:" not in printed
    assert bytes_of(printed, "→").startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0")
    counts = re.search(r"([\d,]+) bytes from the client, ([\d,]+) bytes from the server", printed)
    assert counts and [len(bytes_of(printed, arrow)) for arrow in "→←"] == [int(count) for count in counts.groups()]


def test_several_connections(clear: Serving, wire: Wire) -> None:
    """At once, each with its number."""
    wired = wire(clear.host, clear.port)
    clients = [socket.create_connection(("127.0.0.1", wired.port)) for _ in range(3)]
    for client in reversed(clients):
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while client.recv(65_536):
            pass
        client.close()
    printed = wired.stop()
    assert {row for row in re.findall(r"^#\d [→←] ", printed, re.MULTILINE)} == {f"#{n} {a} " for n in (1, 2, 3) for a in "→←"}


@pytest.mark.needs("curl")
def test_color(clear: Serving, wire: Wire) -> None:
    """On a terminal, unless NO_COLOR says otherwise; not elsewhere."""
    for terminal, variables, colored in [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False)]:
        wired = wire(clear.host, clear.port, terminal=terminal, **variables)
        output("curl", "-s", f"{wired.url}/hello")
        wait_until(lambda wired=wired: "bytes from the server\n" in wired.printed)
        assert ("\x1b[" in wired.printed) is colored


def test_what_a_peer_sends_does_not_reach_the_terminal(clear: Serving, wire: Wire) -> None:
    """Escape sequences, and line breaks in the middle of a value."""
    wired = wire(clear.host, clear.port, terminal=True, NO_COLOR="1")
    with socket.create_connection(("127.0.0.1", wired.port)) as client:
        client.sendall("GET /\x1b[2J HTTP/1.1\r\nX: \x9b\u202e\r\n#9 \r\n\r\n".encode())
        client.recv(65_536)
    wait_until(lambda: "bytes from the server\n" in wired.printed)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]|^#9", wired.printed, re.MULTILINE)


# ---- what can go wrong -------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there() -> None:
    """One line, at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = run("wire", "--listen", "0", "--to", f"127.0.0.1:{port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"minproto: can't reach 127.0.0.1:{port}: Connection refused\n"
    result = run("wire", "--listen", "0", "--to", "no.such.host.invalid:80")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("minproto: can't reach no.such.host.invalid:80: ")


def test_a_port_in_use(clear: Serving) -> None:
    result = run("wire", "--listen", str(clear.port), "--to", f"127.0.0.1:{clear.port}")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "address already in use" in result.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--to", "a:1"], "the following arguments are required: --listen"),
        (["--listen", "0"], "the following arguments are required: --to"),
        (["--listen", "x", "--to", "a:1"], "argument --listen: not a port: 'x' (0 to 65535)"),
        (["--listen", "0", "--to", "8000"], "argument --to: not HOST:PORT: '8000' (such as localhost:8000 or [::1]:8000)"),
        (["--listen", "0", "--to", "a:70000"], "argument --to: not a port: '70000' (0 to 65535)"),
    ],
)
def test_wrong_words(words: list[str], complaint: str) -> None:
    result = run("wire", *words)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"minproto wire: {complaint}\n")


def test_a_server_that_goes(start: Callable[..., Serving], wire: Wire) -> None:
    """Then a client is cut off, the reason printed, and the wire waits for better times."""
    server = start()
    wired = wire(server.host, server.port)
    server.stop()
    with socket.create_connection(("127.0.0.1", wired.port)) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: f"#1 can't reach {server.host}:{server.port}: Connection refused after " in wired.printed)
    wired.stop()


def test_nobody_reads(clear: Serving) -> None:
    """As with ``| head -1``: the wire ends, without complaint."""
    process = subprocess.Popen(
        command("wire", "--listen", "0", "--to", f"{clear.host}:{clear.port}"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout and process.stderr
        port = int(process.stdout.readline().rpartition(":")[2])
        process.stdout.close()
        socket.create_connection(("127.0.0.1", port)).close()
        assert process.wait(5) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.needs("curl")
def test_tls_passes_as_it_is(tls: Serving, wire: Wire) -> None:
    """The handshake, the server's certificate and the close are between the ends; the wire sees bytes that it can't read."""
    assert tls.certificate
    wired = wire(tls.host, tls.port)
    url = f"https://127.0.0.1:{wired.port}/bytes/300000"
    words = ["curl", "-s", "--cacert", tls.certificate.authority, url]
    for version in ("--http1.1", "--http2"):
        assert len(subprocess.run([*words, version], capture_output=True, timeout=20, check=True).stdout) == 300_000
    wait_until(lambda: all(re.search(rf"(?m)^#{number} (closed|reset) after", wired.printed) for number in (1, 2)))
    assert "#2 → 0.0" in wired.stop() and "byte 0, TLS: " in wired.printed


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("leaves", ["client", "server"])
def test_an_end_that_leaves_while_the_other_is_silent(wire: Wire, leaves: str, ended: bool) -> None:
    """The other end hears of the reset at once, also where the one that leaves had said before that it would send no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wired = wire("127.0.0.1", listener.getsockname()[1])
        listener.accept()[0].close()  # its look whether there is a server
        client = socket.create_connection(("127.0.0.1", wired.port), timeout=5)
        server = listener.accept()[0]
        server.settimeout(5)
        one, other = (client, server) if leaves == "client" else (server, client)
        one.sendall(b"all")
        assert other.recv(100) == b"all"
        if ended:
            one.shutdown(socket.SHUT_WR)
            assert other.recv(100) == b""
        reset(one)
        wait_until(lambda: "#1 reset after" in wired.printed)
        with other, pytest.raises(ConnectionResetError):
            while not other.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                other.recv(100)
            raise ConnectionResetError
        wired.stop()


@pytest.mark.parametrize("slow", ["client", "server"])
def test_back_pressure_of_real_sockets(wire: Wire, slow: str) -> None:
    """Who does not read stops who writes: the wire keeps no more than its buffers hold, and every byte comes in the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wired = wire("127.0.0.1", listener.getsockname()[1])
        listener.accept()[0].close()
        client = socket.create_connection(("127.0.0.1", wired.port), timeout=5)
        server = listener.accept()[0]
        reader, writer = (client, server) if slow == "client" else (server, client)
        writer.settimeout(0.5)
        sent = 0
        with reader, writer:
            with pytest.raises(TimeoutError):
                while sent < 100_000_000:
                    sent += writer.send(bytes(65_536))
            writer.shutdown(socket.SHUT_WR)
            assert sum(len(data) for data in iter(lambda: reader.recv(1 << 16), b"")) == sent
        wired.stop()
