"""The common part of all benchmarks: which servers there are, and how one is started, pinned to a CPU, and stopped.

Where a server and its load generator compete for one CPU, a benchmark measures the scheduler. So the harness moves itself,
with every load generator that it starts, to one CPU, and each server to another. A server is a new process for each
measurement, on a loopback port that was free a moment before. It counts as started when it has given the answer that all peers
must give: otherwise a figure could be the speed of an error page. It is stopped at the end of the measurement, even after an
error.

Servers take turns, and a ratio compares two figures of one turn, because a machine's speed drifts (heat, other programs).
"""

import http.client
import importlib.util
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Protocol, TypeVar

HOST = "127.0.0.1"
START_SECONDS = 15.0
STOP_SECONDS = 10.0
SPARE_FILES = 100


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to measure: the packages that it needs, and the command that starts it, without the port."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]

    def missing(self) -> list[str]:
        return [module for module in self.needs if not _is_there(module)]


@dataclass(frozen=True, slots=True)
class Server:
    """A peer that runs."""

    pid: int
    port: int


class Measured(Protocol):
    """The result of one measurement."""

    @property
    def rate(self) -> float: ...


Run = TypeVar("Run", bound=Measured)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def _peer(name: str, *needs: str) -> Peer:
    return Peer(name, needs, ("-m", "benchmarks.peers", name))


def _websocket(name: str, *needs: str) -> Peer:
    return Peer(name, needs, ("-m", "benchmarks.peers", f"ws-{name}"))


MINPROTO = Peer("minproto", ("minproto",), ("-m", "minproto", "serve", "--no-access-log", "--port"))
PEERS = (
    _peer("uvicorn-httptools", "uvicorn", "httptools"),
    _peer("uvicorn-h11", "uvicorn", "h11"),
    _peer("aiohttp", "aiohttp"),
    _peer("bare"),
)
H2_PEERS = (
    _peer("hypercorn", "hypercorn", "h2"),
    _peer("granian", "granian"),
)
WS_MINPROTO = _websocket("minproto", "minproto")
WS_PEERS = (
    _websocket("websockets", "websockets", "websockets.speedups"),
    _websocket("picows", "picows", "aiofastnet"),
    _websocket("picows-messages", "picows.websockets", "aiofastnet"),
    _websocket("aiohttp", "aiohttp"),
)


def installed(peers: Iterable[Peer]) -> list[Peer]:
    """Return the servers that can run. A server that lacks a library is named on standard error and left out."""
    found = []
    for peer in peers:
        if missing := peer.missing():
            print(f"{peer.name}: skipped, not installed: {', '.join(missing)}")
        else:
            found.append(peer)
    return found


def versions(peers: list[Peer]) -> str:
    """Print the machine and the versions: a ratio means nothing without them."""
    libraries = sorted({module.partition(".")[0] for peer in peers for module in peer.needs} - {"minproto"})
    return ", ".join([f"Python {sys.version.split()[0]}", *(f"{name} {metadata.version(name)}" for name in libraries)])


def prepare() -> int | None:
    """Move this process, and all load that it will start, to one CPU; return another one for the servers, if there is.

    SIGTERM becomes an exception, so that a benchmark cut short by `timeout` still stops its server.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[-1]})
    except (AttributeError, OSError) as error:  # not a call of this system, or refused
        print(f"servers and load share all CPUs: {error}")
        return None
    if len(cpus) == 1:
        print("servers and load share the only CPU")
        return None
    print(f"servers on CPU {cpus[0]}, load on CPU {cpus[-1]}")
    return cpus[0]


def allow_files(count: int) -> None:
    """Raise the limit of open files for this many connections. Both ends need one each; the servers inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + SPARE_FILES:
        sys.exit(f"only {hard} open files allowed here, so at most {hard - SPARE_FILES} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + SPARE_FILES), hard))


def take_turns(peers: list[Peer], title: str, rounds: int, measure: Callable[[Peer], Run]) -> dict[str, list[Run]]:
    """Measure each peer once, then each again, and so on. Return the results by the peer's name."""
    runs: dict[str, list[Run]] = {peer.name: [] for peer in peers}
    for number in range(1, rounds + 1):
        for peer in peers:
            run = measure(peer)
            runs[peer.name].append(run)
            print(f"{title} {number}/{rounds} {peer.name} {run.rate:,.0f}/s", file=sys.stderr)
    return runs


def compare(ours: list[Run], theirs: list[Run], target: float | None) -> str:
    """Describe the ratios of the rounds: their median, how far they spread, and whether the target is reached."""
    ratios = [our.rate / their.rate for our, their in zip(ours, theirs, strict=False)]
    ratio = median(ratios)
    spread = f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    if target is None:
        return spread
    return f"{spread:25}{target:g}: " + ("met" if ratio >= target else f"missed by {1 - ratio / target:.0%}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process: fields 14 and 15 of its stat, counted from the end of the name, which may contain
    blanks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_hello(peer: Peer, port: int) -> None:
    """Check that a server does the job of all peers: the same 13 bytes, with their length and a date in the head."""
    connection = http.client.HTTPConnection(HOST, port, timeout=START_SECONDS)
    connection.request("GET", "/hello")
    answer = connection.getresponse()
    got = answer.status, answer.read(), answer.headers.get_content_type(), "date" in answer.headers
    connection.close()
    if got != (200, b"Hello, World!", "text/plain", True):
        sys.exit(f"{peer.name} gave another answer than its peers: {got}")


Check = Callable[[Peer, int], None]


@contextmanager
def running(peer: Peer, cpu: int | None, check: Check = check_hello) -> Iterator[Server]:
    """Start a server, wait until it gives the right answer, and stop it at the end by its process id."""
    port = _free_port()
    pin: Callable[[], None] | None = None if cpu is None else partial(os.sched_setaffinity, 0, {cpu})
    command = [sys.executable, *peer.command, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=pin)
    try:
        _wait(peer, process, port, check)
        yield Server(process.pid, port)
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(peer: Peer, process: subprocess.Popen[bytes], port: int, check: Check) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return check(peer, port)
        except ConnectionRefusedError:
            if process.poll() is not None:
                sys.exit(f"{peer.name} ended with code {process.returncode} before it listened")
            if time.monotonic() > deadline:
                sys.exit(f"{peer.name} did not listen within {START_SECONDS} s")
        except TimeoutError:
            sys.exit(f"{peer.name} did not answer")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"process {process.pid} did not stop within {STOP_SECONDS} s of SIGTERM: killed", file=sys.stderr)
        process.kill()
        process.wait()
