"""HTTP/2, compared with other Python servers: `python -m benchmarks.http2` from the repository root.

Two scenes, in clear text with prior knowledge: GET /hello by h2load with 8 connections of 16 streams each, and one download
of 100 MB on one stream. A third scene measures memory, for minproto alone: 100 uploads of 1 MB at once, on one connection. The
app reads each upload before it answers. The result is how far the server's resident memory grew at its peak.

Servers take turns, and each ratio compares two figures of one round, as in `benchmarks.http1`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.common import H2_PEERS, HOST, MINPROTO, Peer, compare, installed, prepare, running, take_turns, versions

TARGETS = {"hypercorn": 5.0, "granian": 0.3}
DOWNLOAD = 100_000_000
UPLOADS, UPLOAD = 100, 1_000_000


class Run(NamedTuple):
    """The result of one run: requests (or bytes) per second, and how many requests did not succeed."""

    rate: float
    failed: int


def hello(peer: Peer, cpu: int | None, seconds: int) -> Run:
    with running(peer, cpu) as server:
        h2load(server.port, 1)
        return h2load(server.port, seconds)


def h2load(port: int, seconds: int) -> Run:
    command = ["h2load", "-c8", "-m16", "-D", str(seconds), f"http://{HOST}:{port}/hello"]
    report = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
    rate, failed = re.search(r"([\d.]+) req/s", report), re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", report)
    if rate is None or failed is None:
        sys.exit(f"h2load said something else:\n{report}")
    return Run(float(rate[1]), sum(map(int, failed.groups())))


def download(peer: Peer, cpu: int | None) -> Run:
    with running(peer, cpu) as server:
        url = f"http://{HOST}:{server.port}/bytes/{DOWNLOAD}"
        command = ["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", url]
        size, seconds = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout.split()
        return Run(float(size) / float(seconds), int(size) != DOWNLOAD)


def uploads(cpu: int | None) -> None:
    """Return the memory that 100 uploads at once take."""
    with running(MINPROTO, cpu) as server:
        status = Path(f"/proc/{server.pid}/status")
        before = _kib(status, "VmRSS")
        body = Path("/dev/shm/minproto-upload")
        body.write_bytes(bytes(UPLOAD))
        try:
            load = ["h2load", "-c1", f"-m{UPLOADS}", f"-n{UPLOADS}", "-d", str(body), f"http://{HOST}:{server.port}/echo"]
            began = time.monotonic()
            report = subprocess.run(load, check=True, capture_output=True, text=True, timeout=100).stdout
        finally:
            body.unlink()
        done = re.search(r"(\d+) succeeded", report)
        print(
            f"{done[1] if done else 0} of {UPLOADS} uploads of {UPLOAD:,} bytes at once, echoed: "
            f"{time.monotonic() - began:.1f} s, memory at most {(_kib(status, 'VmHWM') - before) / 1024:.1f} MiB more"
        )


def _kib(status: Path, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1])


def table(runs: dict[str, list[Run]], targets: dict[str, float]) -> None:
    print(f"{'':12}{'a second':>15}{'failed':>8}  minproto/peer (min-max)  target")
    ours = runs[MINPROTO.name]
    for name, theirs in runs.items():
        verdict = compare(ours, theirs, targets.get(name)) if name != MINPROTO.name else ""
        rate, failed = median(run.rate for run in theirs), sum(run.failed for run in theirs)
        print(f"{name:12}{rate:15,.0f}{failed:8}  {verdict}".rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http2", description="HTTP/2 beside other servers")
    parser.add_argument("--seconds", type=int, default=4, help="length of each run of /hello (4)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server in each scene (5)")
    options = parser.parse_args()
    if missing := [name for name in ("h2load", "curl") if shutil.which(name) is None]:
        sys.exit(f"skipped, not installed: {', '.join(missing)} (Debian's packages nghttp2-client and curl)")
    peers = installed([MINPROTO, *H2_PEERS])
    print(versions(peers))
    cpu = prepare()
    runs = take_turns(peers, "hello", options.rounds, partial(hello, cpu=cpu, seconds=options.seconds))
    print(f"\nGET /hello: h2load -c8 -m16 -D{options.seconds}, {options.rounds} rounds; medians")
    table(runs, TARGETS)
    runs = take_turns(peers, "download", options.rounds, partial(download, cpu=cpu))
    print(f"\n{DOWNLOAD:,} bytes on one stream, bytes a second")
    table(runs, {"hypercorn": 1.0})
    uploads(cpu)


if __name__ == "__main__":
    main()
