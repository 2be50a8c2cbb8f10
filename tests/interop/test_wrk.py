"""wrk: thousands of requests a second, each of them answered and none with an error."""

import re
import subprocess
from pathlib import Path

import pytest

from .serving import Serving

pytestmark = pytest.mark.needs("wrk")

PIPELINE = """
init = function(args)
  local requests = {}
  for number = 1, 16 do requests[number] = wrk.format("GET", "/hello") end
  everything = table.concat(requests)
end
request = function() return everything end
"""

ECHO = """
wrk.method = "POST"
wrk.body = string.rep("0123456789", 500)
response = function(status, headers, body) if body ~= wrk.body then wrk.thread:stop() end end
"""


CONNECTIONS = 32
"""Each is answered more than once, on however busy a machine: how fast is for the benchmarks to say."""


def wrk(*arguments: str, seconds: int = 2) -> int:
    """Run wrk; requests answered."""
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *arguments]
    run = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    assert "Socket errors" not in run.stdout and "Non-2xx" not in run.stdout, run.stdout
    found = re.search(r"(\d+) requests in ", run.stdout)
    assert found, run.stdout
    return int(found[1])


def test_hello(server: Serving) -> None:
    """One request at a time on each connection."""
    assert wrk(f"{server.url}/hello", seconds=1 if server.certificate else 2) > CONNECTIONS


def test_pipelining(clear: Serving, tmp_path: Path) -> None:
    """Sixteen at a time."""
    script = tmp_path / "pipeline.lua"
    script.write_text(PIPELINE)
    assert wrk("-s", str(script), f"{clear.url}/hello") > CONNECTIONS


def test_echo(clear: Serving, tmp_path: Path) -> None:
    """Content both ways; an echo that is not what was sent would end the run at once."""
    script = tmp_path / "echo.lua"
    script.write_text(ECHO)
    assert wrk("-s", str(script), f"{clear.url}/echo", seconds=1) > CONNECTIONS
