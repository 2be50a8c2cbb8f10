"""The same ASGI app on minproto and on other ASGI servers, in requests a second: `python -m benchmarks.asgi`.

The method is that of `benchmarks.http1`: the servers take turns, and each ratio compares two figures of one round. The app is
`benchmarks.peers:hello`.
"""

import argparse
import shutil
import sys
from functools import partial

from benchmarks.common import PEERS, Peer, installed, prepare, take_turns, versions
from benchmarks.http1 import MINPROTO, measure, table

OURS = Peer(MINPROTO.name, ("minproto",), ("-m", "minproto", "asgi", "benchmarks.peers:hello", "--no-access-log", "--port"))
HYPERCORN = Peer("hypercorn", ("hypercorn",), ("-m", "benchmarks.peers", "hypercorn"))
TARGETS = {"uvicorn-httptools": 1.0, "uvicorn-h11": 3.0, "hypercorn": 3.0}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asgi", description="one ASGI app beside other ASGI servers")
    parser.add_argument("--seconds", type=int, default=4, help="length of each run (4)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server (5)")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("skipped, not installed: wrk (Debian's package wrk)")
    peers = installed([OURS, *(peer for peer in PEERS if peer.name in TARGETS), HYPERCORN])
    print(versions(peers))
    cpu = prepare()
    runs = take_turns(peers, "asgi", options.rounds, partial(measure, cpu=cpu, scene="plain", seconds=options.seconds))
    print(f"\nwrk -t1 -c32 -d{options.seconds}s, {options.rounds} rounds; medians; errors of all rounds")
    table(runs, TARGETS)


if __name__ == "__main__":
    main()
