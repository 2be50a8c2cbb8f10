"""A running ``minproto lab`` on free ports, with a cache of its own."""

import re
import subprocess
import tempfile
from pathlib import Path

from .serving import command, environment, wait_until

PORTS = ("--port", "0", "--tls-port", "0", "--broker-port", "0")


class Laboratory:
    """What it prints goes to files; ``urls`` has where it serves, by scheme."""

    def __init__(self, cache: Path, ports: tuple[str, ...] = PORTS, **variables: str) -> None:
        self.cache = cache
        self._stdout, self._stderr = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command("lab", *ports),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            env=environment() | {"XDG_CACHE_HOME": str(cache)} | variables,
        )
        self.urls = wait_until(self._find_urls, 30)

    def _find_urls(self) -> dict[str, str]:
        """All of them are printed together."""
        assert self.process.poll() is None, self.stderr
        urls = dict(re.findall(r"(?m)^minproto serves on ((?:\w+)://\S+)()\n", self.stdout))
        return {url.partition(":")[0]: url for url in urls}

    @property
    def chain(self) -> Path:
        return self.cache / "minproto" / "tls" / "chain.pem"

    @property
    def stdout(self) -> str:
        self._stdout.seek(0)
        return self._stdout.read()

    @property
    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()

    @property
    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to stop, and check that it does so without complaint, but for requests that a test has made wrong."""
        self.process.terminate()
        assert self.process.wait(seconds) == 0, self.stderr
        assert not [line for line in self.stderr.splitlines() if not line.startswith("the request ")], self.stderr

    def kill(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stdout.close()
        self._stderr.close()
