"""``minproto trap`` on real clients: ours, which have to be right, and curl; and as a server that somebody visits."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

import minproto
from minproto.aio.server import tls_context
from minproto.prove.case import Verdict
from minproto.prove.trap import ours
from minproto.prove.trap.hunt import Hunt
from minproto.prove.trap.server import Trap
from minproto.prove.trap.snares import CONTROLS, SNARES

from .serving import Certificate, command, environment, free_port, wait_until

OURS = (sys.executable, "-m", "minproto.prove.trap.ours", "{url}")

CARELESS = r"""
import socket, sys
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
connection = socket.create_connection((url.hostname, url.port))
connection.sendall(f"GET {url.path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
connection.shutdown(socket.SHUT_WR)
print(connection.makefile().read().partition("\n\n")[2])
"""


def trap(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("trap", *words), capture_output=True, text=True, timeout=280, env=environment())


def verdicts(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for case in json.loads(file.read_text())["cases"]:
        found.setdefault(case["verdict"], []).append(f"{case['name']}: {case['detail']}")
    return found


class InThisProcess(Hunt):
    """Our clients in this process: hundreds of programs would take minutes."""

    tls: ssl.SSLContext | None = None

    async def run_program(self, words: list[str]) -> tuple[int | None, str, str]:
        said: list[str] = []
        try:
            async with asyncio.timeout(20):
                await ours.ask(words[0], said.append, self.tls)
        except TimeoutError:
            return None, "\n".join(said), ""
        except (OSError, minproto.ProtocolError) as error:
            return 1, "\n".join(said), f"{type(error).__name__}: {error}"
        return 0, "\n".join(said), ""


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("protocol", ["http1", "http2", "websocket", "sse"])
async def test_our_clients_are_right(protocol: str, secure: bool, certificate: Certificate) -> None:
    snares = [snare for snare in SNARES if snare.protocol == protocol]
    trap = Trap([*CONTROLS.values(), *snares], lambda meeting: hunt.on_end(meeting), patience=20)
    hunt = InThisProcess(["{url}"], trap, "127.0.0.1", 20)
    if secure:
        hunt.tls = ssl.create_default_context(cafile=certificate.authority)
        hunt.tls.set_alpn_protocols(["h2"] if protocol == "http2" else ["http/1.1"])
    await trap.start("127.0.0.1", 0, tls_context(certificate.chain, certificate.key) if secure else None)
    try:
        finds = [find async for find in hunt.all(snares, 8)]
    finally:
        await trap.close()
    assert len(finds) == len(snares)
    wrong = [find for find in finds if find.verdict is not Verdict.RIGHT]
    assert [f"{find.snare.name}: {find.meeting.transcript}: {find.detail}" for find in wrong] == []


def test_our_clients_are_a_program() -> None:
    done = trap("--snare", "http1/chunks/cut*", "--snare", "websocket/frames/masked", "-v", "--timeout", "20", "--", *OURS)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "right websocket/frames/masked: a masked frame" in done.stdout


@pytest.mark.needs("curl")
def test_curl_is_judged(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = trap("--snare", "http1/chunks/*", "--snare", "sse/*", "--json", str(file), "--", "curl", "-sS", "{url}")
    found = verdicts(file)
    assert "http1/chunks/cut-in-a-chunk: closed" in found["right"]
    assert all("no Accept: text/event-stream" in each for each in found["skipped"])
    assert f"skipped, {len(found['skipped'])}: not sse: it does not ask for an event stream" in done.stdout


def test_a_wrong_client_is_told_what_is_wrong(tmp_path: Path) -> None:
    """It takes the connection's end for the end of the content, whatever Content-Length says."""
    done = trap("--snare", "http1/framing/too-short", "-v", "--", sys.executable, "-c", CARELESS, "{url}")
    assert done.returncode == 1
    assert "WRONG http1/framing/too-short: the connection ends after 5 of 10 bytes" in done.stdout
    assert "RFC 9112 §6.3" in done.stdout and "content-length = 10" in done.stdout
    assert "again: minproto trap --snare http1/framing/too-short -v -- " in done.stdout


def test_a_program_that_hangs_or_asks_nothing() -> None:
    sleeps = (sys.executable, "-c", "import time; time.sleep(60)", "{url}")
    done = trap("--snare", "http1/framing/too-short", "--timeout", "0.5", "--", *sleeps)
    assert (done.returncode, done.stderr) == (0, "")
    assert "skipped, 1: not http1: it makes no request, and does not end: no output" in done.stdout


def test_a_client_that_could_speak_both_versions_is_offered_one_at_a_time(certificate: Certificate, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    program = """
import asyncio, minproto, ssl, sys
async def main():
    tls = ssl.create_default_context(cafile=sys.argv[2])
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with minproto.Client(ssl=tls) as client:
        print((await (await client.get(sys.argv[1])).read()).decode())
asyncio.run(main())
"""
    secured = ("--tls-cert", certificate.chain, "--tls-key", certificate.key, "--json", str(file))
    some = ("--snare", "http1/framing/until-close", "--snare", "http2/windows/*")
    done = trap(*some, *secured, "--", sys.executable, "-c", program, "{url}", certificate.authority)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = verdicts(file)
    assert set(found) == {"right"} and {name[:5] for name in found["right"]} == {"http1", "http2"}


def test_a_daemon_that_a_program_has_started_is_not_waited_for() -> None:
    """It is in a group of its own, so it is not ended, and it holds the output of the program open."""
    start = "import subprocess; print(subprocess.Popen(['sleep', '30'], start_new_session=True).pid, flush=True)"
    done = trap("--snare", "http1/framing/too-short", "--timeout", "0.5", "--", sys.executable, "-c", start, "{url}")
    assert (done.returncode, done.stderr) == (0, "")
    says = "skipped, 1: not http1: it makes no request, and does not end: "
    daemon = int(done.stdout.partition(says)[2])
    os.kill(daemon, signal.SIGKILL)


@pytest.fixture
def served() -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    process = subprocess.Popen(command("trap", "--port", str(port)), stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    assert f"snares, listed at http://127.0.0.1:{port}/" in process.stdout.readline()
    with process:
        yield process, f"http://127.0.0.1:{port}"
        process.kill()


def test_whoever_visits_is_told_what_it_did(served: tuple[subprocess.Popen[str], str]) -> None:
    process, url = served
    with urlopen(f"{url}/") as response:
        assert "/http1/framing/too-short\n" in response.read().decode()
    with urlopen(f"{url}/http1/framing/until-close") as response:
        assert response.read() == b"hello"
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("right      http1/framing/until-close: closed; right: the program shows 'hello'")
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
        pass
    assert process.stdout.readline() == "no request: it sent nothing, then ended the connection\n"
    process.send_signal(signal.SIGINT)
    assert wait_until(lambda: process.poll() is not None)
    rest = process.stdout.read()
    assert "http1/framing" in rest and process.returncode == 0
