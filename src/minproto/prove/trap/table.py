"""The table of real clients in docs/trap.md: ``python -m minproto.prove.trap.table [--write] [NAME ...]``.

Each client is a program as its users write it, for example ``requests.get(url)``, and prints what it gets. A client that is
not installed is left out, and the table says so.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from minproto.prove.case import Verdict
from minproto.prove.trap.hunt import Find, Hunt
from minproto.prove.trap.server import Trap
from minproto.prove.trap.snares import CONTROLS, SNARES

PAGE = Path(__file__).parents[4] / "docs" / "trap.md"
BEGIN, END = "<!-- clients -->", "<!-- /clients -->"
TIMEOUT = 12.0
"""The seconds until a client hangs: a few wait ten seconds for the end of a WebSocket."""

_REQUESTS = "import requests, sys; print(requests.get(sys.argv[1]).text)"
_HTTPX = "import httpx, sys; print(httpx.get(sys.argv[1]).text)"
_HTTPX_2 = "import httpx, sys; print(httpx.Client(http1=False, http2=True).get(sys.argv[1]).text)"
_HTTPX_SSE = """
import httpx, httpx_sse, sys
with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", sys.argv[1]) as source:
    for event in source.iter_sse():
        print(f"{event.event}: {event.data} ({event.id})")
"""
_AIOHTTP = """
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession() as session, session.get(sys.argv[1]) as response:
        print(await response.text())
asyncio.run(main())
"""
_AIOHTTP_WS = """
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession() as session, session.ws_connect(sys.argv[1], compress=15) as socket:
        async for message in socket:
            print(message.data)
        if socket.close_code != 1000:
            raise SystemExit(f"error: {socket.close_code} {socket.exception()}")
asyncio.run(main())
"""
_WEBSOCKETS = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], proxy=None) as socket:
        async for message in socket:
            print(message)
asyncio.run(main())
"""
_WEBSOCKET_CLIENT = """
import sys, websocket
socket = websocket.create_connection(sys.argv[1])
while True:
    opcode, data = socket.recv_data()
    if opcode == 8:
        raise SystemExit(0 if data[:2] == b"\\x03\\xe8" else f"error: {data}")
    print(data.decode())
"""
_NODE = "fetch(process.argv[1]).then(answer => answer.text()).then(console.log)"
_NODE_2 = """
const url = new URL(process.argv[1]), session = require("http2").connect(url.origin)
session.on("error", error => { console.error(error); process.exit(1) })
const stream = session.request({":path": url.pathname})
let answered = false, ended = false
stream.on("error", error => { console.error(error); process.exit(1) })
stream.on("response", () => answered = true)
stream.on("data", data => process.stdout.write(data))
stream.on("end", () => { ended = true; session.close() })
stream.on("close", () => { if (!answered || !ended || stream.aborted || stream.rstCode) process.exit(1) })
"""


@dataclass(frozen=True)
class Client:
    """A client, and how it is run."""

    name: str
    protocols: str
    command: Sequence[str]
    module: str = ""
    """The Python module that has to be installed."""

    @property
    def is_here(self) -> bool:
        return shutil.which(self.command[0]) is not None and (not self.module or find_spec(self.module) is not None)

    def release(self) -> str:
        """Return the version of what is installed."""
        if self.module:
            return version(packages_distributions().get(self.module, [self.module])[0])
        line = subprocess.run([self.command[0], "--version"], capture_output=True, text=True, check=True).stdout
        return next((word for word in line.split() if word.lstrip("v")[:1].isdigit()), "").lstrip("v")


def _python(name: str, protocols: str, program: str, module: str) -> Client:
    return Client(name, protocols, (sys.executable, "-W", "ignore", "-c", program, "{url}"), module)


WITHHELD = ("bare-cr", "line-feed", "carriage-return", "nul")
"""The last words of snares whose wrong answers by a client of somebody else stay out of the page: a value with such a byte can
become two fields, and the maintainers have to hear of it first."""
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "{page}")
CLIENTS = (
    Client("minproto", "http1,http2,websocket,sse", (sys.executable, "-m", "minproto.prove.trap.ours", "{url}"), "minproto"),
    Client("curl", "http1", ("curl", "-sS", "{url}")),
    Client("curl --http2-prior-knowledge", "http2", ("curl", "-sS", "--http2-prior-knowledge", "{url}")),
    _python("requests", "http1", _REQUESTS, "requests"),
    _python("httpx", "http1", _HTTPX, "httpx"),
    _python("httpx, http2=True", "http2", _HTTPX_2, "httpx"),
    _python("httpx-sse", "sse", _HTTPX_SSE, "httpx_sse"),
    _python("aiohttp", "http1", _AIOHTTP, "aiohttp"),
    _python("aiohttp, ws_connect", "websocket", _AIOHTTP_WS, "aiohttp"),
    _python("websockets", "websocket", _WEBSOCKETS, "websockets"),
    _python("websocket-client", "websocket", _WEBSOCKET_CLIENT, "websocket"),
    Client("node, fetch", "http1", ("node", "-e", _NODE, "{url}")),
    Client("node, http2", "http2", ("node", "-e", _NODE_2, "{url}")),
    Client("Chromium", "http1,websocket,sse", CHROMIUM),
)


async def hunt(client: Client, jobs: int) -> list[Find]:
    """Return what comes of a client on all snares of its protocols."""
    snares = [snare for snare in SNARES if snare.protocol in client.protocols.split(",")]
    trap = Trap([*CONTROLS.values(), *snares], lambda meeting: hunting.on_end(meeting), patience=TIMEOUT)
    hunting = Hunt(client.command, trap, "127.0.0.1", TIMEOUT)
    await trap.start("127.0.0.1", 0)
    try:
        return [find async for find in hunting.all(snares, jobs)]
    finally:
        await trap.close()


def is_withheld(client: Client, find: Find) -> bool:
    ours = client.module == "minproto"
    return not ours and find.verdict is Verdict.WRONG and find.snare.name.rpartition("/")[2] in WITHHELD


def rows(client: Client, finds: Sequence[Find]) -> list[str]:
    """Return the client's rows of the table, one for each protocol."""
    lines = []
    for protocol in client.protocols.split(","):
        those = [find for find in finds if find.snare.protocol == protocol and not is_withheld(client, find)]
        counts = Counter(find.verdict for find in those)
        wrong = ", ".join(find.snare.name.partition("/")[2] for find in those if find.verdict is Verdict.WRONG)
        cells = [str(counts[verdict]) for verdict in Verdict]
        lines.append(f"| {client.name} {client.release()} | {protocol} | {' | '.join(cells)} | {wrong} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minproto.prove.trap.table", description="The table of real clients.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these clients")
    parser.add_argument("--write", action="store_true", help="put the table into docs/trap.md")
    parser.add_argument("--jobs", type=int, default=4, help="how many programs run at once (%(default)s)")
    options = parser.parse_args()
    chosen = [client for client in CLIENTS if not options.names or client.name in options.names]
    lines = [f"{datetime.now(UTC):%d %B %Y}".lstrip("0") + ":", ""]
    lines += ["| client | protocol | right | acceptable | wrong | skipped | wrong at |", "|---|---|--:|--:|--:|--:|---|"]
    for client in chosen:
        if not client.is_here:
            lines.append(f"| {client.name} | not installed | | | | | |")
            continue
        finds = asyncio.run(hunt(client, options.jobs))
        lines += rows(client, finds)
        print("\n".join(rows(client, finds)), flush=True)
        for find in finds:
            if find.verdict in (Verdict.WRONG, Verdict.SKIPPED):
                print(f"    {find.verdict.value} {find.snare.name}: {find.meeting.transcript}: {find.detail}", flush=True)
    if options.write:
        text = PAGE.read_text()
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
