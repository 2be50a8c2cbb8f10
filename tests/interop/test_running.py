"""The page docs/running.md: its configuration files, tried with the programs that they are for."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from minproto import (
    ClientConnection,
    EventSource,
    HandshakeRefused,
    Request,
    RequestRefused,
    Response,
    Server,
    connect,
    connect_http,
)

from .serving import Certificate, environment, free_port, wait_until
from .test_curl import curl

FILES = Path(__file__).parents[2] / "examples" / "running"
APP = [sys.executable, str(FILES / "app.py")]
SHUT = 10.0

pytestmark = pytest.mark.needs("curl")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str | Path, **options: Any) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment()}
        started.append(subprocess.Popen(list(map(str, words)), **(pipes | options)))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SHUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def line_of(process: "subprocess.Popen[str]") -> str:
    """The first line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def edited(name: str, changes: dict[str, str]) -> str:
    """A configuration file with this machine's paths and ports. Each has to be in the file."""
    text = (FILES / name).read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


# ---- behind a proxy --------------------------------------------------------------------------------------------------


class Proxied:
    """What a test asks: the URL of the proxy, in the form that ``curl`` of test_curl takes."""

    def __init__(self, name: str, port: int, certificate: Certificate, backend: "subprocess.Popen[str]") -> None:
        self.name, self.port, self.certificate, self.backend = name, port, certificate, backend
        self.url = f"https://localhost:{port}"


NGINX = """
user root; daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in ("nginx", "caddy")])
def proxied(request: pytest.FixtureRequest, start: Any, certificate: Certificate, tmp_path: Path) -> Proxied:
    """The app behind a proxy, each as the page says."""
    path, port = tmp_path / "app.sock", free_port()
    backend = start(*APP, "--path", path)
    assert line_of(backend) == f"minproto serves on unix:{path}\n"
    common = {
        "/etc/example/certificate.pem": certificate.chain, "/etc/example/key.pem": certificate.key,
        "/run/example/app.sock": str(path),
    }  # fmt: skip
    if request.param == "nginx":
        (tmp_path / "site.conf").write_text(edited("nginx.conf", {"listen 443": f"listen 127.0.0.1:{port}", **common}))
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path))
        proxy = start("nginx", "-e", "stderr", "-c", tmp_path / "nginx.conf")
    else:
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
        changes = {"https://localhost": f"https://localhost:{port}", **common}
        (tmp_path / "Caddyfile").write_text(options + edited("Caddyfile", changes))
        home = environment() | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        proxy = start("caddy", "run", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile", env=home)
    wait_until(lambda: answers(port) or proxy.poll() is not None, 10)
    assert proxy.poll() is None, proxy.stdout.read()
    return Proxied(request.param, port, certificate, backend)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_proxy_tells_the_app_who_asks(proxied: Any, version: str) -> None:
    for forged in ([], ["-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: http"]):
        told = json.loads(curl(proxied, version, *forged, "@/who").text)
        assert told["process"] == proxied.backend.pid
        assert told["version"] == ("2" if proxied.name == "caddy" else "1.1")
        assert told["host"] == f"localhost:{proxied.port}"
        assert (told["address"], told["scheme"]) == ("127.0.0.1", "https")


async def test_an_event_passes_a_proxy_when_it_is_made(proxied: Any, trust: ssl.SSLContext) -> None:
    async with asyncio.timeout(10):
        async for event in EventSource(f"{proxied.url}/events", ssl=trust):
            assert event.data == "tick 0"
            break


async def test_a_websocket_passes_a_proxy(proxied: Any, trust: ssl.SSLContext) -> None:
    """And the page of another site does not: the proxy has kept the Host."""
    url = f"wss://localhost:{proxied.port}/ws"
    async with asyncio.timeout(10):
        async with connect(url, ssl=trust, headers={"origin": proxied.url}) as ws:
            await ws.send("x" * 100_000)
            assert await ws.receive() == "x" * 100_000
        with pytest.raises(HandshakeRefused, match="403"):
            await connect(url, ssl=trust, headers={"origin": "https://evil.example"})


async def test_an_upload_passes_a_proxy_piece_by_piece(proxied: Any, trust: ssl.SSLContext) -> None:
    """The second piece is sent when the app has the first one."""
    arrived = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        await arrived.wait()
        yield b"two"

    async def uploaded() -> bytes:
        async with connect_http("localhost", proxied.port, trust) as other:
            return await (await other.request("GET", "/uploaded")).read()

    async with asyncio.timeout(10), connect_http("localhost", proxied.port, trust) as client:
        answer = asyncio.create_task(client.request("POST", "/upload", body=pieces()))
        while await uploaded() != b"3\n":  # noqa: ASYNC110 - the app is another process
            await asyncio.sleep(0.01)
        arrived.set()
        assert await (await answer).read() == b"6\n"


def test_a_large_upload_passes_a_proxy(proxied: Any, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 40_000)
    for number, version in enumerate(("--http1.1", "--http2"), 1):
        assert curl(proxied, version, "-T", str(large), "-X", "POST", "@/upload").text == f"{number * 10_240_000}\n"


# ---- socket activation -----------------------------------------------------------------------------------------------


@pytest.mark.needs("systemd-socket-activate")
def test_socket_activation(start: Any) -> None:
    """The program starts when the first client comes, and gets the socket as file descriptor 3."""
    port = free_port()
    command = re.search(r"(?m)^ExecStart=(.*)$", (FILES / "example.service").read_text())
    assert command is not None and command[1].split()[2:] == ["--fd", "3"]
    words = [*APP, *command[1].split()[2:]]
    source = f"PYTHONPATH={environment()['PYTHONPATH']}"  # systemd passes on little of the environment
    activated = start("systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-E", source, *words)
    assert line_of(activated).startswith("Listening on 127.0.0.1:")
    told = json.loads(curl(at(port), "@/who").text)
    assert told["process"] == activated.pid  # it has become the app
    activated.terminate()
    assert activated.wait(SHUT) == 0


@pytest.mark.needs("systemd-analyze")
def test_the_unit_files_are_right(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("example.service", "example.socket", "example@.service"):
        text = (FILES / name).read_text().replace("/opt/example/.venv/bin/python", str(program))
        (tmp_path / name).write_text(text)
    for name in ("example.service", "example.socket", "example@1.service"):
        run = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / name], text=True, capture_output=True)
        assert not [line for line in run.stderr.splitlines() if line.startswith(("example", str(tmp_path)))], run.stderr


# ---- several processes -----------------------------------------------------------------------------------------------


def test_several_processes_on_one_port(start: Any) -> None:
    port = free_port()
    processes = [start(*APP, "--port", port, "--reuse-port") for _ in range(3)]
    for process in processes:
        assert line_of(process) == f"minproto serves on http://127.0.0.1:{port}\n"
    answered = Counter(json.loads(curl(at(port), "@/who").text)["process"] for _ in range(40))
    assert set(answered) == {process.pid for process in processes}, answered


class Load:
    """Clients that count what they get: one kind opens a connection for each request, the other keeps its connection."""

    def __init__(self, port: int) -> None:
        self.port, self.stopped = port, False
        self.answered: Counter[int] = Counter()  # requests, by the process that has answered
        self.failed: list[str] = []

    async def reaches(self, count: int, process: int) -> None:
        while self.answered[process] < count:  # noqa: ASYNC110 - an event for each count would be more than this
            await asyncio.sleep(0.01)

    async def new_connections(self) -> None:
        while not self.stopped:
            try:
                async with connect_http("127.0.0.1", self.port) as client:
                    await self.ask(client)
            except OSError as error:
                self.failed.append(repr(error))

    async def kept_connection(self) -> None:
        while not self.stopped:
            try:
                async with connect_http("127.0.0.1", self.port) as client:
                    while not self.stopped:
                        await self.ask(client)
            except RequestRefused:  # the last answer said Connection: close, so no request was sent
                continue
            except OSError as error:
                self.failed.append(repr(error))

    async def ask(self, client: ClientConnection) -> None:
        response = await client.request("GET", "/who")
        self.answered[json.loads(await response.read())["process"]] += 1
        if response.status != 200:
            self.failed.append(str(response.status))


async def test_a_restart_loses_no_request(start: Any) -> None:
    """Five restarts under load. Each process gets its share, and no request fails."""
    port = free_port()
    keeper = start(sys.executable, FILES / "keeper.py", port, *APP)
    load = Load(port)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(6):
            if number:
                keeper.send_signal(signal.SIGHUP)
            line = await asyncio.to_thread(line_of, keeper)
            assert "minproto serves on" in line
            if not number:
                for _ in range(4):
                    group.create_task(load.new_connections())
                    group.create_task(load.kept_connection())
            await load.reaches(500, int(re.findall(r"process (\d+)", line)[0]))
        load.stopped = True
    assert (load.failed, len(load.answered)) == ([], 6)
    assert load.answered.total() >= 3000
    keeper.terminate()
    assert await asyncio.to_thread(keeper.wait, SHUT) == 0


@pytest.mark.needs("ss")
def test_a_restart_waits_for_what_is_slow_and_survives_a_bad_version(start: Any, tmp_path: Path) -> None:
    port, version = free_port(), tmp_path / "app.py"
    version.write_text((FILES / "app.py").read_text())
    keeper = start(sys.executable, FILES / "keeper.py", port, sys.executable, version)
    assert "minproto serves on" in line_of(keeper)
    first = json.loads(curl(at(port), "@/who").text)["process"]
    version.write_text("a syntax error")
    keeper.send_signal(signal.SIGHUP)
    while "the old one stays" not in line_of(keeper):
        pass
    assert json.loads(curl(at(port), "@/who").text)["process"] == first
    version.write_text((FILES / "app.py").read_text())
    slow = start("curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/slow")
    wait_until(lambda: connections(port) > 0)
    keeper.send_signal(signal.SIGHUP)
    assert "minproto serves on" in line_of(keeper)
    assert json.loads(curl(at(port), "@/who").text)["process"] != first  # the new one answers, while the old one drains
    assert (slow.wait(SHUT), slow.stdout.read()) == (0, "done\n")


@pytest.mark.needs("ss")
def test_socket_activation_keeps_the_clients_of_a_restart(start: Any) -> None:
    """What systemd does at ``systemctl restart``: the old process ends, then the new one starts, and the clients wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        port, fd = listening.getsockname()[1], listening.fileno()
        words = [*APP, "--fd", str(fd)]
        old = start(*words, pass_fds=[fd])
        line_of(old)
        assert json.loads(curl(at(port), "@/who").text)["process"] == old.pid
        old.terminate()
        assert old.wait(SHUT) == 0
        clients = [start("curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/who") for _ in range(20)]
        wait_until(lambda: waiting(port) == 20)
        new = start(*words, pass_fds=[fd])
        for client in clients:
            assert client.wait(SHUT) == 0 and json.loads(client.stdout.read())["process"] == new.pid


def connections(port: int) -> int:
    """How many connections a process has accepted at this port."""
    output = subprocess.run(["ss", "-Htn", "state", "established", f"sport = :{port}"], capture_output=True, text=True).stdout
    return len(output.splitlines())


def waiting(port: int) -> int:
    """How many clients are in the kernel's queue of this port."""
    output = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True).stdout
    return int(output.split()[1])


# ---- in a container --------------------------------------------------------------------------------------------------


def as_first_process(start: Any, *words: str | Path) -> "subprocess.Popen[str]":
    """Start a program as process 1 of a namespace of its own, as a container does."""
    return start("unshare", "--fork", "--pid", "--kill-child", *words)


def first_process(unshare: "subprocess.Popen[str]") -> int:
    """The number of process 1 of the namespace, outside of it."""
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    return int(wait_until(lambda: children.read_text().split())[0])


@pytest.mark.needs("unshare", "ss")
@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
def test_process_1_of_a_container_stops_at_sigterm(start: Any) -> None:
    command = json.loads(re.search(r"(?m)^CMD (.*)$", (FILES / "Containerfile").read_text())[1])  # type: ignore[index]
    assert command == ["python", "/app/app.py", "--host", "0.0.0.0"]
    contained = as_first_process(start, *APP, "--port", "0")
    port = int(line_of(contained).rpartition(":")[2])
    assert json.loads(curl(at(port), "@/who").text)["process"] == 1
    slow = start("curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/slow")
    wait_until(lambda: connections(port) > 0)
    os.kill(first_process(contained), signal.SIGTERM)
    assert (slow.wait(SHUT), slow.stdout.read()) == (0, "done\n")
    assert contained.wait(SHUT) == 0


@pytest.mark.needs("unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
def test_a_shell_as_process_1_hears_no_sigterm(start: Any) -> None:
    """``CMD python app.py; echo done`` runs in a shell. The kernel gives process 1 no signal for which it has no handler."""
    contained = as_first_process(start, "sh", "-c", f"{' '.join(APP)} --port 0; echo done")
    port = int(line_of(contained).rpartition(":")[2])
    os.kill(first_process(contained), signal.SIGTERM)
    time.sleep(0.5)
    assert json.loads(curl(at(port), "@/who").text)["process"] == 2
    contained.kill()
    contained.wait()


# ---- dual stack ------------------------------------------------------------------------------------------------------


@pytest.mark.needs("unshare")
@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of files needs root")
def test_localhost_is_both_addresses_on_one_port(start: Any, tmp_path: Path) -> None:
    """With an /etc/hosts as most machines have it. The file is bound over this machine's, for the process alone."""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
    words = [tmp_path / "hosts", *APP, "--host", "localhost", "--port", "0"]
    process = start("unshare", "--mount", "sh", "-c", script, "sh", *words)
    port = int(line_of(process).rpartition(":")[2])
    for host in ("127.0.0.1", "[::1]"):
        assert json.loads(curl(at(port, host), "@/who").text)["process"] == process.pid


async def test_a_socket_of_both_families() -> None:
    async def app(request: Request) -> Response:
        return Response.text("hello")

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        async with Server(app, sock=both) as server:
            for host in ("127.0.0.1", "[::1]"):
                assert (await asyncio.to_thread(curl, at(server.port, host), "@/")).text == "hello"


class At(NamedTuple):
    """A server as ``curl`` of test_curl takes it."""

    url: str
    certificate: None = None


def at(port: int, host: str = "127.0.0.1") -> Any:
    return At(f"http://{host}:{port}")
