"""``minproto prove`` on real servers: ours, which has to be right, and others, on which it has to run to its end."""

import json
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from minproto import Metrics, Server
from minproto.lab.app import DemoApp
from minproto.prove.line import Line

from .serving import Certificate, Serving, command, environment, free_port

PROTOCOLS = ("http1", "http2", "websocket", "sse")


def prove(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("prove", *words), capture_output=True, text=True, timeout=120, env=environment())


@pytest.fixture(scope="module", params=["fast", "plain"])
def clear(request: pytest.FixtureRequest) -> Iterator[Serving]:
    server = Serving("--no-access-log", *(["--plain"] if request.param == "plain" else []))
    yield server
    server.kill()  # it has much to complain of


@pytest.fixture(scope="module", params=["fast", "plain"])
def secured(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Serving]:
    plain = ["--plain"] if request.param == "plain" else []
    server = Serving("--no-access-log", *plain, certificate=certificate)
    yield server
    server.kill()  # it has much to complain of


def verdicts(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for case in json.loads(file.read_text())["cases"]:
        found.setdefault(case["verdict"], []).append(f"{case['name']}: {case['detail']}")
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_our_server_is_right(clear: Serving, protocol: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = prove(f"{clear.host}:{clear.port}", "--only", protocol, "--json", str(file))
    found = verdicts(file)
    assert (done.returncode, found.get("wrong", [])) == (0, []), done.stdout
    assert found["right"] and not [each for each in found.get("skipped", []) if "no longer answers" in each]


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_our_server_is_all_right(clear: Serving, protocol: str, tmp_path: Path) -> None:
    """Nothing is only acceptable, floods included. So the matrix counts an acceptable answer of a mutant as found."""
    file = tmp_path / "results.json"
    done = prove(f"{clear.host}:{clear.port}", "--only", protocol, "--hostile", "--json", str(file))
    assert (done.returncode, verdicts(file).keys()) == (0, {"right"}), done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_our_server_is_right_over_tls(secured: Serving, protocol: str, tmp_path: Path) -> None:
    """Over TLS the server lingers for two seconds after each refusal, so more cases than usual run at once."""
    file = tmp_path / "results.json"
    many = ("--jobs", "60")
    done = prove(f"{secured.host}:{secured.port}", "--tls", "--insecure", "--only", protocol, "--json", str(file), *many)
    assert (done.returncode, verdicts(file).get("wrong", [])) == (0, []), done.stdout


def test_our_broker_is_right(tmp_path: Path) -> None:
    broker, file = Serving(name="broker"), tmp_path / "results.xml"
    try:
        done = prove(f"{broker.host}:{broker.port}", "--only", "resp", "--junit", str(file))
    finally:
        broker.kill()
    assert done.returncode == 0, done.stdout
    suite = ElementTree.parse(file).getroot()
    assert suite.get("failures") == "0" and len(suite) == int(suite.get("tests", ""))


def test_a_wrong_server_is_told_what_is_wrong(clear: Serving) -> None:
    """The report of one case names the sentence, the bytes and the command that runs the case again."""
    done = prove(f"{clear.host}:{clear.port}", "--case", "http1/framing/te-and-cl", "-v")
    assert "RFC 9112 §6.1" in done.stdout and "transfer-encoding = chunked" in done.stdout
    assert f"again: minproto prove {clear.host}:{clear.port} --case http1/framing/te-and-cl -v" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name the server: minproto prove HOST:PORT"),
        (("example.org",), "not HOST:PORT: 'example.org'"),
        (("192.0.2.1:80",), "say --i-run-this-server if it is yours"),
        (("127.0.0.1:1", "--insecure"), "--insecure is about certificates: it needs --tls"),
        (("192.0.2.1:80", "--i-run-this-server", "--hostile"), "hostile cases are for servers on this machine alone"),
        (("127.0.0.1:1", "--only", "http4"), "no protocol is called 'http4'"),
        (("127.0.0.1:1", "--case", "no/such/case"), "no case is called 'no/such/case'"),
        (("127.0.0.1:1", "--jobs", "0"), "not a number from 1 to 200: '0'"),
        (("127.0.0.1:1", "--timeout", "-1"), "not a number of seconds up to 600: '-1'"),
        (("127.0.0.1:1", "--json", "/no/such/folder/file"), "No such file or directory: '/no/such/folder/file'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(words: tuple[str, ...], says: str) -> None:
    done = prove(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and done.stderr.count("\n") == 1 and done.stderr.startswith("minproto prove: ")


def test_nobody_is_there() -> None:
    port = free_port()
    done = prove(f"127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"minproto prove: 127.0.0.1:{port}: no connection: connection refused\n"


def test_ctrl_c_leaves_what_was_judged(clear: Serving, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    words = command("prove", f"{clear.host}:{clear.port}", "-v", "--json", str(file))
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert any(line.startswith("  again: ") for line in process.stdout), "no result was printed"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "minproto prove: interrupted\n")
    assert json.loads(file.read_text())["cases"]


@pytest.mark.parametrize("words", ["laws --streams http1-request", "learn http1/1"])
def test_ctrl_c_while_a_program_is_asked(words: str) -> None:
    interrupts = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    tried = command(*words.split(), "--", sys.executable, "-c", interrupts)
    done = subprocess.run(tried, capture_output=True, text=True, timeout=30, env=environment())
    assert (done.returncode, done.stderr) == (130, f"minproto {words.partition(' ')[0]}: interrupted\n")


@pytest.mark.parametrize("tool", ["prove", "trap", "laws", "learn"])
def test_ctrl_c_while_a_tool_is_loaded(tool: str) -> None:
    """There is no output then, above all no traceback from the middle of an import."""
    program = f"""
import os, signal, sys
from minproto import cli
class Finder:
    def find_spec(self, name, *_):
        if name == cli.TOOLS[{tool!r}]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.exit(cli.main([{tool!r}]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


async def test_a_line_sends_nothing_after_its_end() -> None:
    """The answer to a SETTINGS or a PING may be due when a case has ended its direction already."""
    async with Server(DemoApp(Metrics()), port=0) as server:
        line = await Line.open("127.0.0.1", server.port, None, "", 5)
        await line.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 5)
        line.shut()
        await line.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 5)
        answer = b""
        while data := await line.receive(5):
            answer += data
        assert answer.count(b"HTTP/1.1 200 OK") == 1 and line.ended == "closed"
        line.close()
