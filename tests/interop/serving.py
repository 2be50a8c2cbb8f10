"""A running ``minproto serve``, and waiting with a deadline."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import loops

import minproto

T = TypeVar("T")

LOG_LINE = re.compile(
    r'(127\.0\.0\.1|-) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(-|(?:[^"\\]|\\.)+)" (\d{3}) (\d+)'
)
"""The access log's line; its groups are the peer, the request, the status and the bytes of content."""


def wait_until(condition: Callable[[], T], seconds: float = 5.0) -> T:
    """Poll until the condition is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
    return value


def command(*arguments: str) -> list[str]:
    """The command line of minproto, on the tests' own kind of loop."""
    program = [loops.__file__] if loops.LOOP else ["-m", "minproto"]
    return [sys.executable, *program, *arguments]


def environment() -> dict[str, str]:
    """Ours, so that the command finds this very minproto, but nothing that changes what a command prints: it buffers its
    output as it does for anyone, and COLUMNS, which pytest-xdist sets, gives no width to lines that go to a file."""
    source = str(Path(minproto.__file__).parents[1])
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "COLUMNS", "LINES")}
    return ours | {"PYTHONPATH": source}


@dataclass
class Certificate:
    """Files with a server's certificate and key, and with the authority that signed it."""

    chain: str
    key: str
    authority: str


def free_port() -> int:
    """One that nobody has, for a program that can't look for one itself."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Serving:
    """``minproto serve`` (or another command) on a free port, what it prints going to files."""

    def __init__(
        self,
        *arguments: str,
        certificate: Certificate | None = None,
        name: str = "serve",
        folder: Path | None = None,
        program: Sequence[str | Path] | None = None,
    ) -> None:
        """``folder``: where it runs; None: here. ``program``: another command line, whole, instead of that of minproto."""
        self.certificate = certificate
        files = ["--tls-cert", certificate.chain, "--tls-key", certificate.key] if certificate else []
        self._stdout, self._stderr = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            program or command(name, "--port", "0", *files, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            env=environment(),
            cwd=folder,
        )
        first = wait_until(self._first_line, 30)  # Python takes its time to start, where many do at once
        assert first.startswith("minproto serves on "), first + self.stderr
        self.url = first.split()[3]
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        self.host, self.port = parts.hostname, parts.port

    def _first_line(self) -> str:
        line, newline, _ = self.stdout.partition("\n")
        assert newline or self.process.poll() is None, self.stderr
        return line if newline else ""

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._read(self._stdout)

    @property
    def stderr(self) -> str:
        return self._read(self._stderr)

    @staticmethod
    def _read(file: tempfile._TemporaryFileWrapper) -> str:  # type: ignore[type-arg]
        return os.pread(file.fileno(), 1 << 30, 0).decode()

    @property
    def log(self) -> list[tuple[str, str, str]]:
        """The access log: request, status, bytes. Complete once the server has stopped."""
        lines = [LOG_LINE.fullmatch(line) or line for line in self.stdout.splitlines()[1:]]
        malformed = [line for line in lines if isinstance(line, str)]
        assert not malformed, malformed[:3]
        return [(match[2], match[3], match[4]) for match in lines if isinstance(match, re.Match)]

    def stop(self, seconds: float = 10.0, *, warnings: tuple[str, ...] = ()) -> None:
        """Ask it to stop, and check that it does so without complaint, but for lines that begin with one of ``warnings``."""
        self.process.terminate()
        assert self.process.wait(seconds) == 0, self.stderr
        assert not [line for line in self.stderr.splitlines() if not line.startswith(warnings)], self.stderr
        assert self.log is not None

    def kill(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stdout.close()
        self._stderr.close()

