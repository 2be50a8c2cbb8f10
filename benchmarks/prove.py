"""What ``minproto prove`` finds in real servers: `python -m benchmarks.prove`, from the repository root.

Each server is started with its default settings, on loopback, and with an app that offers what the cases need
(``benchmarks/proved.py``; nginx, node, nghttpd and redis-server have their own). A server that is not installed is left out.
With ``--write`` the table and the list of findings replace those of docs/prove.md.

A server may be right to differ: each finding is judged by the standard's text before it is published. A finding about a
current release that is a vulnerability goes to its maintainers first, and ``WITHHELD`` keeps it out of the page until then.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from benchmarks.common import HOST

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "prove.md"
BEGIN, END = "<!-- servers -->", "<!-- /servers -->"
START_SECONDS = 15.0
WITHHELD = ("http1/framing/*", "http1/connection/*upgrade*", "*/hostile/*")
"""The cases, as patterns, whose wrong answers by a server of somebody else stay out of the page: an attacker could use some of
them, and their maintainers have to hear of them first."""
PROTOCOLS = ("http1", "http2", "websocket", "sse", "resp")

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log /dev/null;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {
        listen 127.0.0.1:{port}; listen 127.0.0.1:{other} http2;
        location / { root .; }
    }
}
"""
_NODE = """
const answer = (request, response) => {
  let path
  try { path = new URL(request.url, 'http://localhost').pathname } catch { response.writeHead(400); return response.end() }
  if (path === '/echo' && request.method === 'POST') { response.writeHead(200); request.pipe(response) }
  else if (path.startsWith('/bytes/')) response.end(Buffer.alloc(262144, 'x'))
  else if (path === '/events') {
    response.writeHead(200, {'content-type': 'text/event-stream'})
    response.write('data: hello\\n\\n')
  }
  else if (path === '/') response.end('hello')
  else { response.writeHead(404); response.end() }
}
require('http').createServer(answer).listen({port}, '127.0.0.1')
require('http2').createServer(answer).listen({other}, '127.0.0.1')
process.on('uncaughtException', () => {})
"""


@dataclass(frozen=True)
class Server:
    """A server to try. ``{port}`` and ``{other}`` in its command and its file stand for free ports."""

    name: str
    program: str
    """What has to be installed: a Python package, or a program after a slash."""
    command: tuple[str, ...]
    protocols: tuple[str, ...]
    other: tuple[str, ...] = ()
    """The protocols that it speaks on its other port."""
    file: tuple[str, str] = ("", "")
    """A file that it needs in its folder: name and content."""
    version: tuple[str, ...] = ()
    """The command that prints its version; () for a Python package."""

    def installed(self) -> bool:
        if self.program.startswith("/"):
            return shutil.which(self.program[1:]) is not None
        with suppress(metadata.PackageNotFoundError):
            return bool(metadata.version(self.program))
        return False

    def told(self) -> str:
        """Return name and version."""
        if not self.version:
            return f"{self.name} {metadata.version(self.program)}"
        done = subprocess.run(self.version, capture_output=True, text=True)
        number = re.search(r"\d+\.\d+[\d.]*", done.stdout + done.stderr)
        return f"{self.name} {number[0] if number else ''}".rstrip()


def _python(name: str, package: str, *protocols: str) -> Server:
    return Server(name, package, (sys.executable, "-m", "benchmarks.proved", name, "{port}"), protocols)


_OURS = (sys.executable, "-m", "minproto", "serve", "--no-access-log", "--port", "{port}")
SERVERS = (
    Server("minproto", "minproto", _OURS, ("http1", "http2", "websocket", "sse")),
    Server("minproto --plain", "minproto", (*_OURS, "--plain"), ("http1", "http2", "websocket", "sse")),
    Server("minproto broker", "minproto", (sys.executable, "-m", "minproto", "broker", "--port", "{port}"), ("resp",)),
    _python("uvicorn-h11", "uvicorn", "http1", "websocket", "sse"),
    _python("uvicorn-httptools", "uvicorn", "http1", "websocket", "sse"),
    _python("hypercorn", "hypercorn", "http1", "http2", "websocket", "sse"),
    _python("granian", "granian", "http1", "http2", "websocket", "sse"),
    _python("aiohttp", "aiohttp", "http1", "websocket", "sse"),
    _python("websockets", "websockets", "websocket"),
    Server("nginx", "/nginx", ("nginx", "-p", ".", "-c", "nginx.conf"), ("http1",), ("http2",), ("nginx.conf", _NGINX),
           ("nginx", "-v")),
    Server("node", "/node", ("node", "serve.js"), ("http1", "sse"), ("http2",), ("serve.js", _NODE), ("node", "--version")),
    Server("nghttpd", "/nghttpd", ("nghttpd", "--no-tls", "-d", ".", "--echo-upload", "{port}"), ("http2",),
           version=("nghttpd", "--version")),
    Server("redis-server", "/redis-server", ("redis-server", "--port", "{port}", "--bind", HOST, "--save", "", "--dir", "."),
           ("resp",), version=("redis-server", "--version")),
)  # fmt: skip


def free_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def running(server: Server) -> Iterator[tuple[int, int]]:
    """Start a server in a folder of its own, and yield its two ports."""
    ports = {"port": free_port(), "other": free_port()}

    def filled(text: str) -> str:
        return text.replace("{port}", str(ports["port"])).replace("{other}", str(ports["other"]))

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "index.html").write_text("hello")
        (Path(folder) / "bytes").mkdir()
        (Path(folder) / "bytes" / "200000").write_bytes(bytes(200_000))
        if server.file[0]:
            (Path(folder) / server.file[0]).write_text(filled(server.file[1]))
        python = server.command[0] == sys.executable
        process = subprocess.Popen(
            [filled(word) for word in server.command], cwd=ROOT if python else folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for(ports["port"])
            yield ports["port"], ports["other"]
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError("the server did not start")


def prove(port: int, protocols: tuple[str, ...], words: list[str]) -> list[dict[str, str]]:
    """Return the results of the cases of some protocols."""
    with tempfile.NamedTemporaryFile("r") as file:
        command = [sys.executable, "-m", "minproto", "prove", f"{HOST}:{port}", "--only", ",".join(protocols)]
        done = subprocess.run([*command, "--json", file.name, *words], capture_output=True, text=True)
        if done.returncode == 2:
            raise RuntimeError(done.stderr.strip())
        return list(json.load(file)["cases"])


def measure(server: Server, words: list[str]) -> list[dict[str, str]]:
    with running(server) as (port, other):
        results = prove(port, server.protocols, words)
        return results + (prove(other, server.other, words) if server.other else [])


def is_withheld(case: dict[str, str]) -> bool:
    return case["verdict"] == "wrong" and any(fnmatchcase(case["name"], pattern) for pattern in WITHHELD)


def table(results: dict[str, list[dict[str, str]]]) -> Iterator[str]:
    """Yield the lines of the page: a table, and the wrong answers of each server."""
    yield "| server | " + " | ".join(PROTOCOLS) + " |"
    yield "|---|" + "---|" * len(PROTOCOLS)
    for name, cases in results.items():
        cells = [_cell([case for case in cases if case["protocol"] == protocol]) for protocol in PROTOCOLS]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    for name, cases in results.items():
        if wrong := [case for case in cases if case["verdict"] == "wrong"]:
            yield f"- **{name}**: " + ", ".join(f"`{case['name']}`" for case in wrong)


def _cell(cases: list[dict[str, str]]) -> str:
    counts = Counter(case["verdict"] for case in cases)
    if not counts["right"] + counts["acceptable"] + counts["wrong"]:
        return ""
    return f"{counts['right']} + {counts['acceptable']}, **{counts['wrong']}**, {counts['skipped']}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prove")
    parser.add_argument("--write", action="store_true", help="replace the table of docs/prove.md")
    parser.add_argument("--server", action="append", help="only this server")
    parser.add_argument("--hostile", action="store_true", help="also the hostile cases")
    options = parser.parse_args()
    results = {}
    for server in SERVERS:
        if not server.installed() or (options.server and server.name not in options.server):
            continue
        began = time.monotonic()
        cases = measure(server, ["--hostile"] if options.hostile else [])
        results[server.told()] = [case for case in cases if server.program == "minproto" or not is_withheld(case)]
        print(f"{server.told()}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    lines = [f"{date.today():%d %B %Y}, Python {sys.version.split()[0]}", "", *table(results)]
    print("\n".join(lines))
    if options.write:
        text = PAGE.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after)


if __name__ == "__main__":
    main()
