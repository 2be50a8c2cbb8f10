"""``minproto lab`` as a process: how it begins without what it would like to have, and how it ends."""

import os
import socket
import ssl
import stat
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType

import pytest

from .laboratory import PORTS, Laboratory
from .serving import command, environment, free_port, wait_until

Start = Callable[..., Laboratory]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Laboratory] = []

    def start(cache: Path = tmp_path / "cache", **variables: str) -> Laboratory:
        started.append(Laboratory(cache, **variables))
        return started[-1]

    yield start
    for lab in started:
        lab.kill()


def fetch(url: str, context: ssl.SSLContext | None = None) -> bytes:
    with urllib.request.urlopen(url, timeout=5, context=context) as response:
        return bytes(response.read())


def test_it_serves_over_http_and_https(start: Start, trustme: ModuleType) -> None:
    """A client that is told to trust the authority that it names is content with the certificate, under both names."""
    lab = start()
    context = ssl.create_default_context(cafile=str(lab.chain.parent / "authority.pem"))
    assert str(lab.chain.parent / "authority.pem") in lab.stdout
    for url in (lab.urls["http"], lab.urls["https"], lab.urls["https"].replace("127.0.0.1", "localhost")):
        assert fetch(f"{url}/hello", context if url.startswith("https") else None) == b"Hello, World!"
        assert b"minproto" in fetch(f"{url}/", context if url.startswith("https") else None)
    lab.stop()


def test_its_certificate_is_made_once_and_its_key_is_private(start: Start, trustme: ModuleType) -> None:
    """The next lab has the same; one that is not complete is made anew."""
    lab = start()
    lab.stop()
    files = sorted(lab.chain.parent.iterdir())
    assert [file.name for file in files] == ["authority.pem", "chain.pem", "key.pem"]
    assert stat.S_IMODE(files[2].stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.chain.parent.stat().st_mode) == 0o700
    before = [file.read_bytes() for file in files]
    start().stop()
    assert [file.read_bytes() for file in files] == before
    files[2].unlink()
    start().stop()
    assert all(file.read_bytes() != old for file, old in zip(files, before, strict=True))
    assert [path.name for path in lab.chain.parent.parent.iterdir()] == ["tls"]


def test_without_trustme(start: Start, tmp_path: Path) -> None:
    """What is missing is said in one line; the rest works."""
    (tmp_path / "trustme.py").write_text("raise ModuleNotFoundError(name='trustme')\n")
    lab = start(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}")
    assert fetch(f"{lab.urls['http']}/hello") == b"Hello, World!"
    assert "https" not in lab.urls
    assert b'"https": null' in fetch(f"{lab.urls['http']}/lab/places")
    assert lab.stderr.count("\n") == 1 and "pip install trustme" in lab.stderr
    lab.process.terminate()
    assert lab.process.wait(10) == 0


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("import nothing_that_trustme_needs\n", "trustme can't be used: No module named 'nothing_that_trustme_needs'"),
        ("raise ImportError('libssl is too old')\n", "trustme can't be used: libssl is too old"),
    ],
)
def test_a_trustme_that_fails(start: Start, tmp_path: Path, module: str, says: str) -> None:
    """It is there, so to install it is no help: the lab says what is wrong."""
    (tmp_path / "trustme.py").write_text(module)
    lab = start(PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}")
    assert lab.stderr == f"minproto lab: no HTTPS, so no HTTP/2 in browsers: {says}\n"


def test_a_cache_of_files_that_are_no_certificate(start: Start, trustme: ModuleType, tmp_path: Path) -> None:
    """What is wrong with which file, and what helps."""
    folder = tmp_path / "cache" / "minproto" / "tls"
    folder.mkdir(parents=True)
    for name in ("chain", "key", "authority"):
        (folder / f"{name}.pem").write_text("none\n")
    said = start().stderr
    assert said.count("\n") == 1 and str(folder / "chain.pem") in said
    assert "delete these files, and the lab makes new ones" in said


def test_output_that_nobody_reads_is_no_missing_certificate(trustme: ModuleType, tmp_path: Path) -> None:
    """`minproto lab | true`: HTTPS works."""
    read, write = os.pipe()
    os.close(read)
    port = free_port()
    words = command("lab", "--port", "0", "--tls-port", str(port), "--broker-port", "0")
    variables = environment() | {"XDG_CACHE_HOME": str(tmp_path)}
    process = subprocess.Popen(words, stdout=write, stderr=subprocess.PIPE, text=True, env=variables)
    os.close(write)

    def fetched() -> bytes:
        with suppress(OSError):
            return fetch(f"https://127.0.0.1:{port}/hello", ssl._create_unverified_context())
        return b""

    try:
        assert wait_until(fetched, 30) == b"Hello, World!"
        process.terminate()
        assert process.communicate(timeout=10)[1] == ""
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_without_a_cache(start: Start, trustme: ModuleType) -> None:
    """A folder that can't be made: the same."""
    lab = start(Path("/dev/null/cache"))
    assert fetch(f"{lab.urls['http']}/hello") == b"Hello, World!"
    assert lab.stderr.count("\n") == 1 and "/dev/null/cache/minproto/tls" in lab.stderr


def test_a_cache_of_no_certificates(start: Start, trustme: ModuleType, tmp_path: Path) -> None:
    """Files that are there, but say nothing: one line that names them, and the rest works."""
    folder = tmp_path / "minproto" / "tls"
    folder.mkdir(parents=True)
    for name in ("chain", "key", "authority"):
        (folder / f"{name}.pem").write_text("junk\n")
    lab = start(tmp_path)
    assert fetch(f"{lab.urls['http']}/hello") == b"Hello, World!" and "https" not in lab.urls
    assert lab.stderr.count("\n") == 1 and str(folder / "chain.pem") in lab.stderr


@pytest.mark.parametrize("option", ["--port", "--tls-port", "--broker-port"])
def test_a_port_in_use(option: str, tmp_path: Path, trustme: ModuleType) -> None:
    """One line that names it, status 1, and nothing is served."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        words = [*PORTS, option, port]
        variables = environment() | {"XDG_CACHE_HOME": str(tmp_path)}
        result = subprocess.run(command("lab", *words), capture_output=True, text=True, timeout=10, env=variables)
    assert result.returncode == 1 and "serves on" not in result.stdout
    assert result.stderr.count("\n") == 1 and port in result.stderr and "address already in use" in result.stderr


def test_the_end_does_not_wait_for_those_who_listen(start: Start) -> None:
    """With a long poll and an event stream open, a signal ends it soon."""
    lab = start()
    host, port = lab.urls["http"].removeprefix("http://").split(":")
    with ExitStack() as stack:
        for target in ("/events", "/long-poll"):
            sock = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            if target == "/events":
                assert sock.recv(100).startswith(b"HTTP/1.1 200")
        lab.stop(5.0)
