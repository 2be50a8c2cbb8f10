"""How many GET /hello a second, compared with other Python servers: `python -m benchmarks.http1` from the repository root.

Requests a second say more about the machine than about the server, so only the ratios count here. A machine's speed drifts
(heat, other programs). So servers take turns, A B C D, A B C D ..., and each ratio compares two figures of one round. The
median of the rounds is the result; the smallest and the largest ratio tell how far to trust it. When other programs use the
CPUs too, the CPU time that a server takes for a request is the steadier figure.

There are three scenes, since a server can be fast at one kind of head only. One is a request with a Host and nothing else. One
has ten more headers, as a browser sends them. One has another target and header each time, so that no cache of whole heads
helps.
"""

import argparse
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.common import (
    HOST,
    MINPROTO,
    PEERS,
    Peer,
    compare,
    cpu_seconds,
    installed,
    prepare,
    running,
    take_turns,
    versions,
)

SCRIPT = Path(__file__).with_suffix(".lua")
WARM_UP_SECONDS = 1  # CPython specializes its bytecode within the first thousands of requests
TARGETS = {"uvicorn-httptools": 1.3, "uvicorn-h11": 3.0, "bare": 0.5}
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://127.0.0.1/",
    "Cookie: session=6f1c2b9e0d5a4c7f8e3b1a2d; theme=dark",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
)
SCENES: dict[str, tuple[str, ...]] = {"plain": (), "browser": BROWSER, "varied": ()}


class Run(NamedTuple):
    """The result of a run of wrk: requests per second, latency in milliseconds, and the server's CPU time in µs a request."""

    rate: float
    p50: float
    p99: float
    errors: int
    cpu: float = 0.0


def wrk(port: int, scene: str, seconds: int) -> Run:
    headers = [part for header in SCENES[scene] for part in ("-H", header)]
    load = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(SCRIPT), *headers]
    command = [*load, f"http://{HOST}:{port}/hello", "--", scene]
    report = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    return Run(**json.loads(report.splitlines()[-1]))


def measure(peer: Peer, cpu: int | None, scene: str, seconds: int) -> Run:
    with running(peer, cpu) as server:
        wrk(server.port, scene, WARM_UP_SECONDS)
        before = cpu_seconds(server.pid)
        run = wrk(server.port, scene, seconds)
        return run._replace(cpu=(cpu_seconds(server.pid) - before) / (run.rate * seconds) * 1e6)


def table(runs: dict[str, list[Run]], targets: dict[str, float] = TARGETS) -> None:
    print(f"{'':18}{'req/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'errors':>8}{'CPU us':>8}  minproto/peer (min-max)  target")
    ours = runs.get(MINPROTO.name, [])
    for name, theirs in runs.items():
        rate, p50, p99, _, cpu = (median(column) for column in zip(*theirs, strict=True))
        verdict = compare(ours, theirs, targets.get(name)) if ours and name != MINPROTO.name else ""
        errors = sum(run.errors for run in theirs)
        print(f"{name:18}{rate:9,.0f}{p50:8.2f}{p99:8.2f}{errors:8}{cpu:8.1f}  {verdict}".rstrip())


def main() -> None:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http1", description="GET /hello beside other servers")
    parser.add_argument("--seconds", type=int, default=4, help="length of each run (4)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server in each scene (5)")
    parser.add_argument("--scene", nargs="+", choices=SCENES, default=list(SCENES), help="these scenes only")
    parser.add_argument("--peer", nargs="+", choices=names, default=names, help="these peers only, beside minproto")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("skipped, not installed: wrk (Debian's package wrk)")
    peers = installed([MINPROTO, *(peer for peer in PEERS if peer.name in options.peer)])
    print(versions(peers))
    cpu = prepare()
    for scene in options.scene:
        runs = take_turns(peers, scene, options.rounds, partial(measure, cpu=cpu, scene=scene, seconds=options.seconds))
        print(f"\n{scene}: wrk -t1 -c32 -d{options.seconds}s, {options.rounds} rounds; medians; errors of all rounds")
        table(runs)


if __name__ == "__main__":
    main()
