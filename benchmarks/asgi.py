"""The same ASGI app on minproto and on other ASGI servers, in requests a second: `python -m benchmarks.asgi`.

The method is that of `benchmarks.http1`: the servers take turns, and each ratio compares two figures of one round. The app is
`benchmarks.peers:hello`. Two scenes: HTTP/1.1 by wrk with 32 connections, and HTTP/2 by h2load with 8 connections of 16
streams each, in clear text with prior knowledge. uvicorn has no HTTP/2.
"""

import argparse
import shutil
import sys
from functools import partial

from benchmarks import http2
from benchmarks.common import PEERS, Peer, installed, prepare, take_turns, versions
from benchmarks.http1 import MINPROTO, measure, table

OURS = Peer(MINPROTO.name, ("minproto",), ("-m", "minproto", "asgi", "benchmarks.peers:hello", "--no-access-log", "--port"))
HYPERCORN = Peer("hypercorn", ("hypercorn", "h2"), ("-m", "benchmarks.peers", "hypercorn"))
TARGETS = {"uvicorn-httptools": 1.0, "uvicorn-h11": 3.0, "hypercorn": 3.0}
SCENES = ("http1", "http2")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asgi", description="one ASGI app beside other ASGI servers")
    parser.add_argument("--seconds", type=int, default=4, help="length of each run (4)")
    parser.add_argument("--rounds", type=int, default=6, help="runs of each server in each scene (6)")
    parser.add_argument("--scene", nargs="+", choices=SCENES, default=list(SCENES), help="these scenes only")
    options = parser.parse_args()
    if missing := [name for name in ("wrk", "h2load") if shutil.which(name) is None]:
        sys.exit(f"skipped, not installed: {', '.join(missing)} (Debian's packages wrk and nghttp2-client)")
    peers = installed([OURS, *(peer for peer in PEERS if peer.name in TARGETS), HYPERCORN])
    print(versions(peers))
    cpu, seconds, rounds = prepare(), options.seconds, options.rounds
    if "http1" in options.scene:
        runs = take_turns(peers, "asgi", rounds, partial(measure, cpu=cpu, scene="plain", seconds=seconds))
        print(f"\nHTTP/1.1: wrk -t1 -c32 -d{seconds}s, {rounds} rounds; medians; errors of all rounds")
        table(runs, TARGETS)
    if "http2" in options.scene:
        both = [peer for peer in peers if peer in (OURS, HYPERCORN)]
        found = take_turns(both, "asgi over HTTP/2", rounds, partial(http2.hello, cpu=cpu, seconds=seconds))
        print(f"\nHTTP/2: h2load -c8 -m16 -D{seconds}, {rounds} rounds; medians")
        http2.table(found, TARGETS)


if __name__ == "__main__":
    main()
