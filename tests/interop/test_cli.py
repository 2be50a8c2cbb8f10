"""The command line: what it says, how it fails, what it logs, and how it ends."""

import fcntl
import http.client
import os
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from .serving import Certificate, Serving, command, environment, free_port, wait_until

Start = Callable[..., Serving]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that should end by itself."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=10, env=environment())


def send(server: Serving, data: bytes) -> socket.socket:
    """A connection with bytes sent on it."""
    sock = socket.create_connection((server.host, server.port), timeout=5)
    if server.certificate:
        context = ssl.create_default_context(cafile=server.certificate.authority)
        sock = context.wrap_socket(sock, server_hostname=server.host, suppress_ragged_eofs=False)
    sock.sendall(data)
    return sock


def answer(sock: socket.socket) -> bytes:
    """All that comes until the end."""
    with sock:
        return b"".join(iter(lambda: sock.recv(65_536), b""))


def exchange(server: Serving, data: bytes) -> bytes:
    """What is answered to a client that has sent its end."""
    sock = send(server, data)
    sock.shutdown(socket.SHUT_WR)
    return answer(sock)


def get(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


# ---- words -----------------------------------------------------------------------------------------------------------


def test_version() -> None:
    """Whoever reports a bug is asked for it."""
    told = run("--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"minproto {version('minproto')}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["lab", "--help"]])
def test_help(arguments: list[str]) -> None:
    """Help is everywhere, and names the commands or the options."""
    result = run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    serve = ("--host", "--port", "--tls-cert", "--tls-key", "--no-access-log", "--plain")
    lab = ("--port", "--tls-port", "--broker-port", "--plain")
    options = {"serve": serve, "lab": lab, "--help": ("lab", "serve", "broker", "wire")}
    for option in options[arguments[0]]:
        assert f"  {option} " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve", "--port", "http"], "minproto serve: argument --port: not a port: 'http'"),
        (["serve", "--port", "65536"], "minproto serve: argument --port: not a port: '65536'"),
        (["serve", "--port", "-1"], "minproto serve: argument --port: not a port: '-1'"),
        (["serve", "--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["serve", "--port", "9" * 5_000], "minproto serve: argument --port: not a port: '999"),
        (["serve", "now"], "unrecognized arguments: now"),
        (["serve", "--prot", "80"], "minproto serve: unrecognized arguments: --prot 80 (the options are --help, --host,"),
        (["--host", "::"], "minproto lab: unrecognized arguments: --host :: (the options are --help, --port, --tls-port,"),
        (["serve", "--host", ""], "argument --host: may not be empty: 0.0.0.0 listens on all IPv4"),
        (["broker", "--host", ""], "argument --host: may not be empty"),
        (["wire", "--host", "", "--listen", "1", "--to", "a:1"], "argument --host: may not be empty"),
        (["serve", "--host", "a..b"], "'a..b'"),
        (["serve", "--host", "x" * 64], "'xxx"),
        (["serve", "--host", "http://a"], "'http://a'"),
        (["serve", "--tls-cert", ""], "argument --tls-cert: may not be empty: leave the option out, or give it a value"),
        (["serve", "--tls-cert", "a", "--tls-key", ""], "argument --tls-key: may not be empty"),
        (["broker", "--password", ""], "argument --password: may not be empty"),
        (["broker", "--history", "1e3"], "argument --history: not a number of messages: '1e3'"),
        (["lab", "--port", "8443"], "minproto lab: --port, --tls-port and --broker-port must differ: 8443, 8443, 6380"),
        *[
            (["wire", "--listen", "0", "--to", to], f"--to: not HOST:PORT: {to!r} (such as localhost:8000 or [::1]:8000)")
            for to in ("", ":80", "a", "a:", "a:x", "a:0", "::1:80", "http://a:80", "[::1]")
        ],
        (["wire", "--listen", "0", "--to", "a b:80"], "'a b'"),
        (["wire", "--listen", "0", "--to", "[::x]:80"], "'[::x]'"),
        (["wire", "--listen", "0", "--to", "a:65536"], "argument --to: not a port: '65536' (0 to 65535)"),
        (["--tls-port", "x"], "minproto lab: argument --tls-port: not a port: 'x'"),
        (["brew"], "invalid choice: 'brew'"),
    ],
)
def test_wrong_words(arguments: list[str], complaint: str) -> None:
    """A word that can't be right: one line that says what is wrong, and status 2."""
    result = run(*arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert result.stderr.startswith("minproto") and complaint in result.stderr


def fails(*arguments: str) -> str:
    """The one line in which a command says why it failed."""
    result = run("serve", "--port", "0", *arguments)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
    assert result.stderr.startswith("minproto: ")
    return result.stderr


def test_port_in_use() -> None:
    """A port that another has: one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert re.search(rf"{port}.*address already in use.*choose another port", fails("--port", port))


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("words", ["serve --port 1", "lab --port 1", "broker --port 1", "wire --listen 1 --to {}"])
def test_no_permission(words: str, clear: Serving, trustme: ModuleType, tmp_path: Path) -> None:
    """A port below 1024, for who may not have those: one line. Root has to give up that right to see it."""
    first_free = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first_free <= 1:
        pytest.skip("every port is anybody's here")
    drop = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"] if os.geteuid() == 0 else []
    line = [*drop, *command(*words.format(f"127.0.0.1:{clear.port}").split())]
    variables = environment() | {"XDG_CACHE_HOME": str(tmp_path)}  # where the lab keeps its certificate
    result = subprocess.run(line, capture_output=True, text=True, timeout=10, env=variables)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert result.stderr == "minproto: can't listen on 127.0.0.1, port 1: permission denied\n"


def test_wrong_host() -> None:
    """An address that is not ours, and a name that does not exist."""
    assert "192.0.2.1" in fails("--host", "192.0.2.1")
    assert "no.such.host.invalid: Name or service not known" in fails("--host", "no.such.host.invalid")


@pytest.mark.parametrize("to", ["no.such.host.invalid:80", "127.0.0.1:1", "[::1%25nowhere]:80"])
def test_a_server_that_cannot_be_reached(to: str) -> None:
    """The wire says so when it starts, and why."""
    result = run("wire", "--listen", "0", "--to", to)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
    assert result.stderr.startswith(f"minproto: can't reach {to}: ")


def test_a_wire_to_itself() -> None:
    """There is no server, and there would be none but the wire."""
    port = free_port()
    result = run("wire", "--listen", str(port), "--to", f"127.0.0.1:{port}")
    assert (result.returncode, result.stdout) == (1, "")
    complaint = f"--listen and --to are both 127.0.0.1:{port}: the wire would connect to itself"
    assert result.stderr == f"minproto: {complaint}\n"


def test_certificate_that_is_not_there(certificate: Certificate) -> None:
    """The file of the two that is not there is named."""
    assert fails("--tls-cert", "missing.pem") == "minproto: can't read missing.pem: no such file or directory\n"
    said = fails("--tls-cert", certificate.chain, "--tls-key", "missing.pem")
    assert said == "minproto: can't read missing.pem: no such file or directory\n"


def test_certificate_that_is_none(certificate: Certificate, tmp_path: Path) -> None:
    """So is the one that holds something else: a key where a certificate is due, or the other way round."""
    no_certificate, no_key = "holds no certificate in PEM", "holds no private key in PEM"
    assert f"{__file__} {no_certificate}" in fails("--tls-cert", __file__)
    assert f"{certificate.key} {no_certificate}" in fails("--tls-cert", certificate.key, "--tls-key", certificate.chain)
    assert f"{certificate.chain} {no_key}" in fails("--tls-cert", certificate.chain, "--tls-key", certificate.chain)
    assert f"can't read {tmp_path}: is a directory" in fails("--tls-cert", certificate.chain, "--tls-key", str(tmp_path))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("kind", ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256"], ids=["rsa", "ec"])
def test_wrong_key(kind: str, certificate: Certificate, tmp_path: Path) -> None:
    """A key that belongs to another certificate, of the same algorithm or not, or that is missing: one line."""
    other = str(tmp_path / "other.pem")
    words = f"openssl req -x509 -noenc -subj /CN=a -out /dev/null -keyout {other} -newkey {kind}"
    subprocess.run(words.split(), check=True, capture_output=True, timeout=20)
    said = fails("--tls-cert", certificate.chain, "--tls-key", other)
    assert said.endswith(f"the key in {other} belongs to another certificate than the one in {certificate.chain}\n")
    said = fails("--tls-cert", certificate.chain)
    assert said.endswith(" holds no private key in PEM (if the key has a file of its own, name that, too)\n")


def test_a_certificate_from_a_pipe(certificate: Certificate) -> None:
    """As with `--tls-cert <(…)`: what could be read only once is not read again to explain the failure."""
    read, write = os.pipe()
    os.write(write, Path(certificate.chain).read_bytes())
    os.close(write)
    words = command("serve", "--port", "0", "--tls-cert", f"/dev/fd/{read}")
    result = subprocess.run(words, capture_output=True, text=True, timeout=10, env=environment(), pass_fds=[read])
    os.close(read)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.stderr
    assert result.stderr.startswith(f"minproto: can't use certificate /dev/fd/{read} with key /dev/fd/{read}: ")


@pytest.mark.parametrize("host", ["0", "0.0", "0x0", "::0"])
def test_a_spelling_of_all_addresses(host: str, start: Start) -> None:
    """Whoever writes them in another way is told, too, that other machines reach the server."""
    server = start("--host", host, "--no-access-log")
    assert server.stdout.startswith(f"minproto serves on {server.url} and all other addresses of this machine\n")
    assert exchange(server, get("/hello")).endswith(b"Hello, World!")
    server.stop()


WHICH_CORE = """
import sys, minproto.cli, minproto.websocket
from minproto.aio.cores import chosen

async def serve(*_, **options):
    print(chosen(minproto.websocket.Connection).__module__)

minproto.cli.serve = minproto.cli.serve_lab = minproto.cli.serve_until_signal = serve
sys.exit(minproto.cli.main())
"""


@pytest.mark.parametrize("words", [["serve"], ["lab"], ["broker"], []])
def test_plain(words: list[str]) -> None:
    """The option chooses the plain cores, and so does the environment."""

    def core(*options: str, **variables: str) -> str:
        line = [sys.executable, "-c", WHICH_CORE, *words, *options]
        both = environment() | {"MINPROTO_PLAIN": "0"} | variables
        return subprocess.run(line, capture_output=True, text=True, timeout=10, env=both, check=True).stdout.strip()

    assert [core(), core("--plain")] == ["minproto.fast.websocket", "minproto.websocket"]
    assert core(MINPROTO_PLAIN="1") == "minproto.websocket"


# ---- the access log --------------------------------------------------------------------------------------------------


def test_access_log(start: Start) -> None:
    """A line for each request, in the common log format; what is no request is "-"."""
    server = start()
    exchange(server, get("/hello") + get("/hello", "HEAD") + get("/nothing?a=1"))
    exchange(server, b"POST /echo HTTP/1.0\r\nContent-Length: 4\r\n\r\nping")
    exchange(server, b"\x16\x03\x01\x00")
    server.stop(warnings=("the request '-' from 127.0.0.1 is answered 400: ",))
    assert [*server.log[:4], server.log[4][:2]] == [
        ("GET /hello HTTP/1.1", "200", "13"),
        ("HEAD /hello HTTP/1.1", "200", "0"),
        ("GET /nothing?a=1 HTTP/1.1", "404", "10"),
        ("POST /echo HTTP/1.0", "200", "4"),
        ("-", "400"),
    ]


def test_size_of_a_farewell(start: Start) -> None:
    """The bytes that are logged for a 400 are those of its own content, whatever was answered before."""
    server = start()
    answers = [exchange(server, before + b"\x16\x03\x01\x00") for before in (b"", get("/hello"))]
    server.stop(warnings=("the request '-' from 127.0.0.1 is answered 400: ",))
    sizes = [str(len(answer.rpartition(b"\r\n\r\n")[2])) for answer in answers]
    assert [size for line, _, size in server.log if line == "-"] == sizes


FORGERIES = [
    ('/a" 200 13', '"-" 400 '),
    ('/a"_200_13', '"-" 400 '),
    ("/a\\_200_13", r'"GET /a\\_200_13 HTTP/1.1" 404 '),
    ("/a%0A127.0.0.1", '"GET /a%0A127.0.0.1 HTTP/1.1" 404 '),
    ("/a\n127.0.0.1", '"-" 400 '),
    ("/a\r127.0.0.1", '"-" 400 '),
    ("/a\x1b[2J", '"-" 400 '),
]


def test_forged_log(start: Start) -> None:
    """A target can neither end its field in the log nor begin another line."""
    server = start()
    for target, _ in FORGERIES:
        exchange(server, get(target))
    server.stop(warnings=("the request '-' from 127.0.0.1 is answered 400: ",))
    for line, (target, logged) in zip(server.stdout.splitlines()[1:], FORGERIES, strict=True):
        assert line.split("] ", 1)[1].startswith(logged), target
    assert len(server.stderr.splitlines()) == sum(logged.startswith('"-"') for _, logged in FORGERIES)


def test_log_at_once(start: Start) -> None:
    """A line is written when the request is over, not when some buffer is full."""
    server = start()
    exchange(server, get("/hello"))
    wait_until(lambda: server.log, 1.0)
    server.stop()


def test_no_log(start: Start) -> None:
    """Who wants no log gets none."""
    server = start("--no-access-log")
    exchange(server, get("/hello"))
    server.stop()
    assert server.log == []


def test_log_of_a_client_that_leaves(start: Start, certificate: Certificate) -> None:
    """The address of a client that left before its answer is in the log, too."""
    server = start(certificate=certificate)
    send(server, get("/stream?chunks=10&interval=0.1")).close()
    wait_until(lambda: server.log)
    server.stop()
    assert server.stdout.splitlines()[1].startswith("127.0.0.1 ")


@pytest.mark.parametrize("log", [[], ["--no-access-log"]], ids=["log", "no-log"])
def test_closed_stdout(log: list[str]) -> None:
    """Where nobody reads what it prints any more (as with ``| head -1``), the server serves on, and ends well."""
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            command("serve", "--port", "0", *log), stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment()
        )
        try:
            assert process.stdout
            port = int(process.stdout.readline().rpartition(":")[2])
            process.stdout.close()
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
                for _ in range(200):  # more lines than any buffer of the log would hold back
                    client.request("GET", "/hello")
                    assert client.getresponse().read() == b"Hello, World!"
            process.terminate()
            assert process.wait(10) == 0
            stderr.seek(0)
            assert stderr.read() == ""
        finally:
            process.kill()
            process.wait()


def test_no_stdout() -> None:
    """Without a standard output (``>&-``, as under some supervisors) the command works, and so does the import."""
    words = ["sh", "-c", 'exec "$@" >&-', "sh", *command("serve", "--port", "http")]
    result = subprocess.run(words, stderr=subprocess.PIPE, text=True, timeout=10, env=environment())
    assert "Traceback" not in result.stderr
    assert result.returncode == 2


# ---- output that nobody reads ----------------------------------------------------------------------------------------


class Unread:
    """A command whose standard output or standard error is a pipe that nobody reads, full from the beginning."""

    def __init__(self, stream: str, *arguments: str, full: bool = True, **variables: str) -> None:
        self.read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4_096)
        if full:
            os.write(write, b"x" * 4_095 + b"\n")
        others = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        streams = {name: write if stream in (name, "both") else file for name, file in others.items()}
        self.process = subprocess.Popen(command(*arguments), **streams, env=environment() | variables)  # type: ignore[call-overload]
        os.close(write)

    def stop(self, number: int = signal.SIGTERM) -> str:
        """It ends soon, and well; what is left in the pipe."""
        self.process.send_signal(number)
        assert self.process.wait(5) == 0
        with open(self.read, closefd=False) as reading:
            return reading.read()

    def __enter__(self) -> "Unread":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.read)


def connected(port: int) -> socket.socket:
    """A connection, as soon as there is somebody who listens."""

    def connect() -> socket.socket | None:
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        return None

    return wait_until(connect, 30)


COMMANDS = {
    "serve": "serve --port {port}",
    "lab": "lab --port {port} --tls-port 0 --broker-port 0",
    "broker": "broker --port {port}",
    "wire": "wire --listen {port} --to 127.0.0.1:{server}",
}


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_full_pipe(name: str, stream: str, clear: Serving, tmp_path: Path) -> None:
    """Whatever a command has to say, it serves, and it stops. (The lab can't write below a file: one line on stderr.)"""
    (tmp_path / "file").touch()
    port = free_port()
    words = COMMANDS[name].format(port=port, server=clear.port).split()
    with Unread(stream, *words, XDG_CACHE_HOME=str(tmp_path / "file")) as unread:
        with connected(port) as sock:
            sock.sendall(b"PING\r\n" if name == "broker" else get("/hello"))
            assert sock.recv(65_536)
        unread.stop()


TALKATIVE = {"serve": 3_000, "wire": 300}
"""Requests after which a command has said more than a terminal holds that nobody reads."""


@pytest.mark.parametrize("name", list(TALKATIVE))
def test_a_terminal_that_nobody_reads(name: str, clear: Serving) -> None:
    """A window whose output is stopped (Ctrl-S): the command serves on, and stops. Once `wire` froze at request 17."""
    port = free_port()
    words = COMMANDS[name].format(port=port, server=clear.port).split()
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        command(*words), stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=environment()
    )
    try:
        with connected(port) as sock, sock.makefile("rb") as reading:
            for _ in range(TALKATIVE[name]):
                sock.sendall(get("/hello"))
                head = iter(reading.readline, b"\r\n")
                assert next(head) == b"HTTP/1.1 200 OK\r\n"
                length = next(int(line.split(b":")[1]) for line in list(head) if line.lower().startswith(b"content-length"))
                assert len(reading.read(length)) == length
            wait_until(lambda: not select.select([], [terminal], [], 0)[1], 5)  # it is full
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_behind_the_drain(number: int) -> None:
    """It comes while the last lines wait for a reader: the process ends at once, as it would have a little later."""
    port = free_port()
    with Unread("stdout", "serve", "--port", str(port)) as unread:
        connected(port).close()
        unread.process.send_signal(number)
        wait_until(lambda: not is_served(port))
        with suppress(subprocess.TimeoutExpired):
            unread.process.wait(0.3)
        unread.stop(number)


LOADING = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "minproto.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
runpy.run_module("minproto", run_name="__main__")
"""


def test_a_signal_while_python_loads() -> None:
    """Ctrl-C before there is a command that could end well: nothing is said, above all no traceback of half an import."""
    words = [sys.executable, "-c", LOADING, "serve"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=10, env=environment())
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


LATE = """
import asyncio, os, signal, sys, minproto.__main__
shutdown = asyncio.BaseEventLoop.shutdown_asyncgens

def late(loop):
    waiting = shutdown(loop)
    os.kill(os.getpid(), signal.SIGTERM)
    return waiting

asyncio.BaseEventLoop.shutdown_asyncgens = late
sys.exit(minproto.__main__.main())
"""


def test_a_second_signal_while_the_loop_is_closed() -> None:
    """The server has stopped: the signal interrupts nothing, so that no coroutine is left, which Python would report."""
    process = subprocess.Popen(
        [sys.executable, "-c", LATE, "serve", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout and process.stdout.readline()
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def is_served(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


@pytest.mark.parametrize(("name", "requests"), [("serve", 1_000), ("wire", 30)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_reader_who_stops(name: str, requests: int, number: int, clear: Serving) -> None:
    """`| less`: it is not waited for. When it reads on, it reads every line that fits the queue."""
    port = free_port()
    words = COMMANDS[name].format(port=port, server=clear.port).split()
    with Unread("stdout", *words, full=False) as unread:
        with connected(port):
            pass
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as client:
            for _ in range(requests):
                client.request("GET", "/hello")
                assert client.getresponse().read() == b"Hello, World!"
        lines: list[str] = []
        with open(unread.read, closefd=False) as reading:
            while len([line for line in lines if "GET /hello" in line]) < requests:
                lines.append(reading.readline())
        assert lines[0] == f"minproto serves on {'tcp' if name == 'wire' else 'http'}://127.0.0.1:{port}\n"
        unread.stop(number)


def test_what_does_not_fit_is_counted(clear: Serving) -> None:
    """Three MiB of an upload are some 24 MiB of lines: the queue takes 4, the reader reads the rest of the story."""
    port = free_port()
    words = COMMANDS["wire"].format(port=port, server=clear.port).split()
    with Unread("stdout", *words, "--full", full=False) as unread:
        with connected(port) as sock:
            sock.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
            assert len(answer(sock)) > 3_000_000
        with open(unread.read, closefd=False) as reading:
            said = next(line for line in reading if "dropped" in line)
        assert re.fullmatch(r"… [\d,]+ lines dropped: the output is not read\n", said)
        unread.stop()


PROGRAM = """
import sys
from minproto import AccessLog
from minproto.aio.output import standard_error, standard_output
print("before")
log = AccessLog()
class Pipe:
    def info(self, name): return None
for number in range(20_000):
    log.finish(None, 400, number, Pipe())
    standard_error().write(f"{number}\\n")
sys.exit(3)
"""


def test_lines_at_the_end_of_a_program() -> None:
    """Of one that ends without our command line, into pipes that are read: no line is lost, none is out of order."""
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, env=environment())
    assert result.returncode == 3
    first, *lines = result.stdout.splitlines()
    assert first == "before" and [line.split()[-1] for line in lines] == [str(number) for number in range(20_000)]
    assert result.stderr.splitlines() == [str(number) for number in range(20_000)]


def test_the_end_of_a_program_whose_output_nobody_reads() -> None:
    """It ends all the same, and Python does not complain of the thread."""
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=write, stderr=subprocess.PIPE, env=environment())
    os.close(write)
    try:
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 3 and stderr.endswith(b"\n19999\n")
    finally:
        process.kill()
        os.close(read)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("name", list(COMMANDS))
def test_closed_streams(name: str, closed: str, clear: Serving, tmp_path: Path) -> None:
    """Nothing is printed then, above all not to the socket that has the number of a closed stream."""
    port = free_port()
    words = command(*COMMANDS[name].format(port=port, server=clear.port).split())
    variables = environment() | {"XDG_CACHE_HOME": str(tmp_path)}
    process = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", *words], stdout=subprocess.DEVNULL, env=variables)
    try:
        for _ in range(3):
            with connected(port) as sock:
                sock.sendall(b"PING\r\n" if name == "broker" else get("/hello"))
                assert sock.recv(65_536).startswith((b"+PONG\r\n", b"HTTP/1.1 "))
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts(number: int, tmp_path: Path) -> None:
    """While the lab's certificate is made: it ends at once, without a traceback, and leaves no half of a certificate."""
    slow = f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    (tmp_path / "trustme.py").write_text(f"def CA(organization_name):\n    {slow.replace(chr(10), '; ', 2)}")
    cache = tmp_path / "cache"
    variables = environment() | {"XDG_CACHE_HOME": str(cache)}
    variables["PYTHONPATH"] = f"{tmp_path}:{variables['PYTHONPATH']}"
    words = command("lab", "--port", "0", "--tls-port", "0", "--broker-port", "0")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)
    try:
        wait_until((tmp_path / "begun").exists, 30)
        process.send_signal(number)
        assert process.communicate(timeout=5) == ("", "")
        assert process.returncode == 0
        assert list((cache / "minproto").iterdir()) == []
    finally:
        process.kill()
        process.wait()


# ---- the end ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["clear", "tls"])
def busy(request: pytest.FixtureRequest, start: Start) -> Callable[[bytes], tuple[Serving, socket.socket]]:
    """Starts a server, and has it work on a request."""

    def busy(data: bytes) -> tuple[Serving, socket.socket]:
        secure = request.param == "tls"
        server = start(certificate=request.getfixturevalue("certificate") if secure else None)
        sock = send(server, data)
        wait_until(lambda: b"minproto_requests_in_flight 2\n" in _metrics(server))
        return server, sock

    return busy


def _metrics(server: Serving) -> bytes:
    return answer(send(server, b"GET /metrics HTTP/1.0\r\n\r\n"))


def stopping(server: Serving, number: int = signal.SIGTERM) -> None:
    """Send a signal, and wait until nobody is accepted any more."""
    server.process.send_signal(number)

    def refuses() -> bool:
        try:
            socket.create_connection((server.host, server.port), timeout=5).close()
        except OSError:
            return True
        return False

    wait_until(refuses)


Busy = Callable[[bytes], tuple[Serving, socket.socket]]

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(busy: Busy, number: int) -> None:
    """A signal lets the request in flight be finished, says that this was the last, and exits with 0."""
    server, sock = busy(get("/slow/async?seconds=0.5"))
    stopping(server, number)
    head, _, content = answer(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nconnection: close" in head
    assert content == b"done\n"
    assert server.process.wait(5) == 0
    assert not server.stderr
    assert ("GET /slow/async?seconds=0.5 HTTP/1.1", "200", "5") in server.log


@pytest.mark.parametrize("target", ["/long-poll?topic=t", "/slow/sync?seconds=10"])
def test_what_waits_for_nothing_is_answered_at_the_end(busy: Busy, target: str) -> None:
    """A long poll, which would wait for 25 s, and a job of the one thread: their clients are told before the server goes."""
    server, sock = busy(get(target))
    stopping(server)
    assert answer(sock).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.process.wait(2) == 0
    assert not server.stderr


def test_drain_of_a_pipeline(start: Start) -> None:
    """What was sent ahead is not answered: the answer before it said that it was the last (RFC 9112 §9.6)."""
    server = start()
    sock = send(server, get("/slow/async?seconds=0.5") + get("/hello"))
    wait_until(lambda: b"minproto_requests_in_flight 2\n" in _metrics(server))
    stopping(server)
    assert answer(sock).endswith(b"\r\n\r\ndone\n")
    server.process.wait(5)
    assert "GET /hello" not in server.stdout


def test_drain_of_a_stream(busy: Busy) -> None:
    """A response that has begun is sent to its end."""
    server, sock = busy(b"GET /stream?chunks=5&size=3&interval=0.1 HTTP/1.0\r\n\r\n")
    stopping(server)
    assert answer(sock).endswith(b"\r\n\r\n" + b"\0\1\2" * 5)
    assert server.process.wait(5) == 0
    assert not server.stderr


def test_drain_of_an_upload(busy: Busy) -> None:
    """A request whose content is still coming is read to its end."""
    server, sock = busy(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nping")
    stopping(server)
    sock.sendall(b"pong")
    assert answer(sock).endswith(b"\r\n4\r\npong\r\n0\r\n\r\n")
    assert server.process.wait(5) == 0
    assert not server.stderr


def test_drain_when_the_client_leaves(busy: Busy) -> None:
    """A client that does not wait for its answer is no obstacle, and no event."""
    server, sock = busy(get("/slow/async?seconds=0.5"))
    stopping(server)
    sock.close()
    assert server.process.wait(5) == 0
    assert not server.stderr


@pytest.mark.parametrize("data", [b"", get("/hello")], ids=["new", "kept"])
def test_drain_of_idle_connections(start: Start, data: bytes) -> None:
    """A connection on which nothing is asked does not hold up the end."""
    server = start()
    with send(server, data) as sock:
        assert not data or sock.recv(65_536).endswith(b"Hello, World!")
        wait_until(lambda: b"minproto_connections 2\n" in _metrics(server))
        stopping(server)
        assert sock.recv(1) == b""
    assert server.process.wait(2) == 0
    assert not server.stderr


def test_drain_of_an_incomplete_head(start: Start) -> None:
    """Nor does a single byte of a head: that is no request yet."""
    server = start()
    with send(server, get("/hello") + b"G") as sock:
        assert sock.recv(65_536).endswith(b"Hello, World!")
        stopping(server)
        sock.settimeout(1)
        assert sock.recv(1) == b""


def test_second_signal(busy: Busy) -> None:
    """A second signal stops at once; the client sees that its answer is none."""
    server, sock = busy(get("/slow/async?seconds=10"))
    stopping(server)
    server.process.terminate()
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        answer(sock)
    assert server.process.wait(1.5) == 0
    assert not server.stderr
    assert ("GET /slow/async?seconds=10 HTTP/1.1", "499", "0") in server.log


# ---- where a server listens ------------------------------------------------------------------------------------------


def test_a_server_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "minproto.sock"
    process = subprocess.Popen(
        command("serve", "--path", str(path), "--no-access-log"), stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"minproto serves on unix:{path}\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(path))
            sock.sendall(get("/hello"))
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        process.terminate()
        assert process.wait(10) == 0 and not path.exists()
    finally:
        process.kill()
        process.communicate()


def test_socket_activation_passes_a_descriptor() -> None:
    """A restart loses no connection: the socket stays open in the service manager."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):
            process = subprocess.Popen(
                command("serve", "--fd", str(listening.fileno()), "--no-access-log"),
                stdout=subprocess.PIPE, text=True, env=environment(), pass_fds=[listening.fileno()],
            )  # fmt: skip
            try:
                with socket.create_connection(listening.getsockname(), 10) as sock:  # before the server is there
                    sock.sendall(get("/hello"))
                    assert sock.recv(65_536).startswith(b"HTTP/1.1 200 OK")
                process.terminate()
                assert process.wait(10) == 0
            finally:
                process.kill()
                process.communicate()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("serve", "--path", "a", "--fd", "3"), "--path and --fd exclude each other: a server listens in one place"),
        (("broker", "--fd", "3", "--reuse-port"), "--fd and --reuse-port exclude each other"),
        (("serve", "--fd", "x"), "not a file descriptor: 'x'"),
        (("serve", "--path", ""), "may not be empty"),
    ],
)
def test_a_wrong_place_is_one_line(words: tuple[str, ...], says: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "") and says in done.stderr and done.stderr.count("\n") == 1


def test_a_descriptor_that_is_not_there() -> None:
    done = run("serve", "--fd", "77")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "minproto: can't listen on file descriptor 77: bad file descriptor\n"
