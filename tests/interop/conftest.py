"""Servers to point real peers at. What is not installed is skipped, with a reason that names it."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from .chromium import browsing
from .laboratory import Laboratory
from .serving import Certificate, Serving, free_port, wait_until


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): skipped where one of the programs is not installed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What someone else's client leaves open is found in whichever test runs when garbage is collected: no fault of it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"))


def _library(name: str) -> Callable[[], ModuleType]:
    @pytest.fixture(name=name, scope="session")
    def fixture() -> ModuleType:
        return pytest.importorskip(name, reason=f"{name} is not installed")

    return fixture


redis = _library("redis")
aiohttp = _library("aiohttp")
h11 = _library("h11")
httpx = _library("httpx")
multipart = _library("multipart")
selenium = _library("selenium")
trustme = _library("trustme")
uvicorn = _library("uvicorn")
websockets = _library("websockets")


@pytest.fixture(scope="session")
def certificate(trustme: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1, signed by an authority of its own."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = Certificate(*(str(folder / name) for name in ("chain.pem", "key.pem", "authority.pem")))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(files.chain, append=number > 0)
    issued.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.authority)
    return files


@pytest.fixture
def trust(certificate: Certificate) -> ssl.SSLContext:
    """A client's TLS context that trusts our authority, and nobody else. A new one for each test: some clients change it."""
    return ssl.create_default_context(cafile=certificate.authority)


def _serving(certificate: Certificate | None = None) -> Iterator[Serving]:
    server = Serving(certificate=certificate)
    try:
        yield server
        server.stop(warnings=("the WebSocket ", "the request "))  # that are refused for their Origin, or malformed
    finally:
        server.kill()


@pytest.fixture(scope="session")
def clear() -> Iterator[Serving]:
    """The demo app in clear text; its end has to be clean whatever the tests have done to it."""
    yield from _serving()


@pytest.fixture(scope="session")
def tls(certificate: Certificate) -> Iterator[Serving]:
    """The demo app over TLS."""
    yield from _serving(certificate)


@pytest.fixture(params=["clear", "tls"])
def server(request: pytest.FixtureRequest) -> Serving:
    """The one, then the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def start() -> Iterator[Callable[..., Serving]]:
    """Starts servers that a test has for itself, and may treat badly."""
    started: list[Serving] = []

    def start(*arguments: str, certificate: Certificate | None = None, name: str = "serve") -> Serving:
        started.append(Serving(*arguments, certificate=certificate, name=name))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def browser(selenium: ModuleType, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for the tests of a file."""
    with browsing(tmp_path_factory.mktemp("profile"), certificate.chain) as driver:
        yield driver


# ---- the lab ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(trustme: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """One lab for the tests of a file."""
    lab = Laboratory(tmp_path_factory.mktemp("cache"))
    try:
        yield lab
        lab.stop()
    finally:
        lab.kill()


@pytest.fixture(scope="module")
def lab_browser(selenium: ModuleType, lab: Laboratory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for the tests of a file, which trusts the lab's certificate."""
    with browsing(tmp_path_factory.mktemp("profile"), lab.chain) as driver:
        yield driver


# ---- Redis -----------------------------------------------------------------------------------------------------------


@contextmanager
def _redis_server(*arguments: str) -> Iterator[Address]:
    """A redis-server with nothing in it and nothing on disk, on a port of its own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1"]
    process = subprocess.Popen([program, *options, *arguments], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(port))
        yield Address("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(100) != b""
    except OSError:
        return False


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Address]:
    with _redis_server() as address:
        yield address


@pytest.fixture(scope="session")
def redis_server_with_password() -> Iterator[Address]:
    with _redis_server("--requirepass", "secret") as address:
        yield address


def _broker(*arguments: str) -> Iterator[Address]:
    server = Serving(*arguments, name="broker")
    try:
        yield Address(server.host, server.port)
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="session")
def broker() -> Iterator[Address]:
    """``minproto broker``; its end has to be clean whatever the tests have done to it."""
    yield from _broker()


@pytest.fixture(scope="session")
def broker_with_password() -> Iterator[Address]:
    yield from _broker("--password", "secret")


@pytest.fixture(params=["minproto", "redis"])
def either(request: pytest.FixtureRequest) -> Address:
    """Our broker, then a redis-server."""
    return request.getfixturevalue({"minproto": "broker", "redis": "redis_server"}[request.param])
