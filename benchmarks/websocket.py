"""How many WebSocket messages a second, compared with other Python servers: `python -m benchmarks.websocket`.

As in benchmarks/http1.py, only ratios count, servers take turns, and each runs in a new process on a CPU of its own.
Compression is off in all of them. Every other setting is the library's default. Before a server is measured, it has to give
the same bytes as the others (benchmarks/wsload.py has the load and the check).

The scenes:

- `small` and `text`: the work on each frame counts.
- `large`: the work on each byte counts.
- `ping-pong`: each message takes a turn of the loop, a wake-up and two system calls.
- `broadcast`: one message for a thousand connections, and the next one when all of them have it. Each connection that got a
  message is one delivery.

If the load's CPU is busier than the server's, a figure says more about the load.

`picows` is a frame parser that calls back, with its own transport in C. It joins no fragments, checks no UTF-8 and has no
queue between the network and the app. `picows-messages` does all three: it is the same library with an API like websockets'.
"""

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks.common import (
    WS_MINPROTO,
    WS_PEERS,
    Peer,
    allow_files,
    compare,
    cpu_seconds,
    installed,
    prepare,
    running,
    take_turns,
    versions,
)
from benchmarks.wsload import BINARY, BROADCAST, ECHO, TEXT, Load, check

WARM_UP_SECONDS = 1.0  # CPython specializes its bytecode within the first thousands of messages
MAX_SECONDS = 15  # websockets pings every 20 s, and the load would not answer


@dataclass(frozen=True, slots=True)
class Scene:
    """The messages that are sent, and the ratios that we aim at."""

    size: int
    connections: int
    in_flight: int
    targets: Mapping[str, float]
    opcode: int = BINARY
    path: str = ECHO

    def __str__(self) -> str:
        kind = "text" if self.opcode == TEXT else "binary"
        return f"{self.size:,} bytes of {kind}, {self.connections:,} connections, {self.in_flight} in flight"


SCENES = {
    "small": Scene(64, 16, 16, {"websockets": 2, "picows": 1}),
    "text": Scene(64, 16, 16, {"websockets": 2, "picows": 1}, opcode=TEXT),
    "large": Scene(1 << 20, 4, 1, {"websockets": 1}),
    "ping-pong": Scene(64, 32, 1, {"websockets": 1}),
    "broadcast": Scene(64, 1000, 1, {"websockets": 1}, path=BROADCAST),
}


class Run(NamedTuple):
    """The result of one run: messages delivered per second, and the share of one CPU that the server and the load used."""

    rate: float
    server: float
    load: float


def measure(peer: Peer, cpu: int | None, scene: Scene, seconds: int) -> Run:
    payload = b"x" * scene.size if scene.opcode == TEXT else os.urandom(scene.size)
    with (
        running(peer, cpu, check) as server,
        Load(server.port, scene.path, scene.opcode, payload, scene.connections, scene.in_flight) as load,
    ):
        load.run(WARM_UP_SECONDS)
        before = time.perf_counter(), cpu_seconds(server.pid), time.process_time()
        rate = load.run(seconds)
        after = time.perf_counter(), cpu_seconds(server.pid), time.process_time()
    elapsed, theirs, ours = (end - begin for begin, end in zip(before, after, strict=True))
    return Run(rate, theirs / elapsed, ours / elapsed)


def table(runs: dict[str, list[Run]], targets: Mapping[str, float]) -> None:
    print(f"{'':18}{'messages/s':>11}{'server':>8}{'load':>6}  minproto/peer (min-max)  target")
    ours = runs.get(WS_MINPROTO.name, [])
    for name, theirs in runs.items():
        rate, server, load = (median(column) for column in zip(*theirs, strict=True))
        verdict = compare(ours, theirs, targets.get(name)) if ours and name != WS_MINPROTO.name else ""
        print(f"{name:18}{rate:11,.0f}{server:8.0%}{load:6.0%}  {verdict}".rstrip())


def play(peers: list[Peer], cpu: int | None, name: str, seconds: int, rounds: int) -> None:
    scene = SCENES[name]
    if scene.path == BROADCAST:  # the others have no function for it
        peers = [peer for peer in peers if peer is WS_MINPROTO or peer.name in scene.targets]
    runs = take_turns(peers, name, rounds, partial(measure, cpu=cpu, scene=scene, seconds=seconds))
    print(f"\n{name}: {scene}; {seconds} s, {rounds} rounds; medians")
    table(runs, scene.targets)


def main() -> None:
    names = [peer.name for peer in WS_PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websocket", description="WebSocket beside other servers")
    parser.add_argument("--seconds", type=int, default=4, choices=range(1, MAX_SECONDS + 1), help="length of each run (4)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server in each scene (5)")
    parser.add_argument("--scene", nargs="+", choices=SCENES, default=list(SCENES), help="these scenes only")
    parser.add_argument("--peer", nargs="+", choices=names, default=names, help="these peers only, beside minproto")
    options = parser.parse_args()
    peers = installed([WS_MINPROTO, *(peer for peer in WS_PEERS if peer.name in options.peer)])
    print(versions(peers))
    allow_files(max(SCENES[name].connections for name in options.scene))
    cpu = prepare()
    for name in options.scene:
        play(peers, cpu, name, options.seconds, options.rounds)


if __name__ == "__main__":
    main()
