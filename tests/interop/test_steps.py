"""The ladders of the course by their commands: each step prints its URL and answers, and last steps obey the laws."""

import importlib.util
import re
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from minproto.testing import obeys

ROOT = Path(__file__).parents[2]
STEPS = sorted((ROOT / "examples" / "steps").glob("*/step*.py"))
PING = b"*1\r\n$4\r\nPING\r\n"  # what ``redis-cli PING`` sends; the first step of publish/subscribe repeats all lines
PROBES = {
    "http1": (b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", rb"HTTP/1\.1 200 OK\r\n(.*\r\n)*\r\nGET /hello\n"),
    "sse": (b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n", rb"HTTP/1\.1 200 OK\r\n(.*\r\n)*\r\n(.*\n)*"),
    "pubsub": (PING, rb"\+PONG\r\n|" + re.escape(PING)),
    "websocket": (
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x85\0\0\0\0hello",
        rb"HTTP/1\.1 101 .*\r\n(.*\r\n)*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n\r\n\x81\x05hello",
    ),
}
"""The ladder -> what a client of it sends, and the pattern of the answer. For other ladders, a connection is enough."""


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.parent.name}/{step.stem}")
def test_a_step_runs_with_one_command_and_answers(step: Path) -> None:
    command = [sys.executable, str(step), "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = re.search(r":(\d+)", process.stdout.readline())
            assert port is not None
            question, answer = PROBES.get(step.parent.name, (b"", b""))
            with socket.create_connection(("127.0.0.1", int(port[1])), timeout=10) as client:
                client.sendall(question)
                received = b""
                while not re.fullmatch(answer, received):
                    data = client.recv(65_536)
                    assert data, received
                    received += data
                assert process.poll() is None
                process.send_signal(signal.SIGINT)  # while the connection is open
            assert process.wait(10) == 0
            assert process.stderr is not None and process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.parent.name}/{step.stem}")
def test_a_wrong_port_is_one_line(step: Path) -> None:
    done = subprocess.run([sys.executable, str(step), "70000"], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and done.stderr.count("\n") == 1


@cache
def core_of_http1() -> ModuleType:
    """The last step of HTTP/1.1, with a small limit, so that the streams of the laws reach it."""
    spec = importlib.util.spec_from_file_location("step8_core", ROOT / "examples" / "steps" / "http1" / "step8_core.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.MAX_HEAD = 256  # type: ignore[attr-defined]
    return module


@obeys("http1-request", limit=256, examples=50)
def test_the_last_step_of_http1_obeys_the_laws() -> object:
    return core_of_http1().Connection()
