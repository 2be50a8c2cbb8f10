"""Work handed out, compared with redis-server: `python -m benchmarks.groups`, from the repository root.

A producer adds jobs of 64 bytes (XADD) in an endless pipeline, while at most 5,000 of them are not done. Ten consumers of one
group take them (XREADGROUP BLOCK, at most 10 jobs at a time) and acknowledge them (XACK). A run counts only if each job was
acknowledged exactly once. All clients are sockets of one process, whose work is the same with both servers.

The ids have a fixed length, so the load generator finds them by their place, without parsing.
"""

import argparse
import os
import selectors
import shutil
import socket
import sys
import time
from functools import partial
from statistics import median

from benchmarks.broker import MINPROTO, REDIS, Run
from benchmarks.common import HOST, Peer, compare, cpu_seconds, prepare, running, take_turns, versions
from minproto.resp import encode_command

CONSUMERS = 10
COUNT = 10
"""How many jobs a consumer takes at once."""
WINDOW = 5_000
"""How many jobs may be outstanding: far fewer than MAXLEN keeps, so that no job is trimmed before it is done."""
KEPT = b"15000"
BATCH = 100
FIRST = 10**12
"""The first id: 13 digits, as an id of today has."""
DATA = b"x" * 64
TARGET = 0.5


def add(number: int) -> bytes:
    return encode_command([b"XADD", b"jobs", b"MAXLEN", b"~", KEPT, b"%013d-0" % number, b"data", DATA])


ADDED = len(b"$15\r\n") + 17
ENTRY = b"*2\r\n$15\r\n%b\r\n*2\r\n$4\r\ndata\r\n$64\r\n" + DATA + b"\r\n"
ENTRY_SIZE, ID_AT = len(ENTRY % (b"0" * 15)), len(b"*2\r\n$15\r\n")
HEAD = b"*1\r\n*2\r\n$4\r\njobs\r\n*"
CREATE = encode_command([b"XGROUP", b"CREATE", b"jobs", b"workers", b"$", b"MKSTREAM"])


def check(peer: Peer, port: int) -> None:
    with socket.create_connection((HOST, port), timeout=5) as sock:
        sock.sendall(CREATE)
        if sock.recv(100) != b"+OK\r\n":
            sys.exit(f"{peer.name} made no group")


class Consumer:
    """A socket that takes jobs, and acknowledges them with the same write that asks for the next ones."""

    def __init__(self, port: int, name: bytes) -> None:
        self.sock = socket.create_connection((HOST, port))
        options = [b"COUNT", b"%d" % COUNT, b"BLOCK", b"10000"]
        self._read = encode_command([b"XREADGROUP", b"GROUP", b"workers", name, *options, b"STREAMS", b"jobs", b">"])
        self._heard = b""
        self.sock.sendall(self._read)
        self.done: list[bytes] = []

    def turn(self) -> None:
        self._heard += self.sock.recv(65_536)
        if self._heard[:1] == b":" and b"\r\n" in self._heard:
            self._heard = self._heard.partition(b"\r\n")[2]
        if not self._heard.startswith(HEAD) or (end := self._heard.find(b"\r\n", len(HEAD))) < 0:
            return
        count = int(self._heard[len(HEAD) : end])
        if len(self._heard) < end + 2 + count * ENTRY_SIZE:
            return
        ids = [self._heard[at + ID_AT : at + ID_AT + 15] for at in range(end + 2, len(self._heard), ENTRY_SIZE)]
        self._heard = b""
        self.done += ids
        self.sock.sendall(encode_command([b"XACK", b"jobs", b"workers", *ids]) + self._read)


def handed_out(port: int, seconds: float, first: int) -> tuple[float, int]:
    """Return the jobs done per second, and the number of the last one."""
    selector = selectors.DefaultSelector()
    consumers = [Consumer(port, b"w%d" % number) for number in range(CONSUMERS)]
    producer = socket.create_connection((HOST, port))
    for each in consumers:
        selector.register(each.sock, selectors.EVENT_READ, each)
    selector.register(producer, selectors.EVENT_READ, None)
    began, added, done = time.perf_counter(), 0, 0
    while True:
        publishing = time.perf_counter() < began + seconds
        while publishing and added - done <= WINDOW - BATCH:
            producer.sendall(b"".join(add(first + added + number) for number in range(BATCH)))
            added += BATCH
        if not publishing and done == added:
            break
        for key, _ in selector.select(0.1):
            if key.data is None:
                producer.recv(1 << 18)
            else:
                key.data.turn()
        done = sum(len(each.done) for each in consumers)
        if time.perf_counter() > began + seconds + 10:
            sys.exit("not all jobs were done: no result")
    took = time.perf_counter() - began
    ids = sorted(id for each in consumers for id in each.done)
    if ids != [b"%013d-0" % (first + number) for number in range(added)]:
        sys.exit("a job was lost, or done twice: no result")
    for sock in (producer, *(each.sock for each in consumers)):
        sock.close()
    selector.close()
    time.sleep(0.3)  # until the server has noticed: it would give a job to a consumer that is gone
    return added / took, first + added


def measure(cpu: int | None, seconds: float, peer: Peer) -> Run:
    with running(peer, cpu, check) as server:
        _, number = handed_out(server.port, 1.0, FIRST)
        before = cpu_seconds(server.pid), cpu_seconds(os.getpid()), time.perf_counter()
        rate, _ = handed_out(server.port, seconds, number)
        took = time.perf_counter() - before[2]
        return Run(rate, (cpu_seconds(server.pid) - before[0]) / took, (cpu_seconds(os.getpid()) - before[1]) / took)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.groups", description="consumer groups beside redis-server")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    parser.add_argument("--rounds", type=int, default=6, help="measurements of each server (6)")
    options = parser.parse_args()
    peers = [MINPROTO, *([REDIS] if shutil.which("redis-server") else [])]
    print(versions(peers))
    runs = take_turns(peers, "jobs", options.rounds, partial(measure, prepare(), options.seconds))
    print(f"\n{'':14}{'jobs/s':>14}{'server':>8}{'load':>7}   minproto / peer")
    for peer in peers:
        mine = runs[peer.name]
        ratio = compare(runs["minproto"], mine, TARGET) if peer is not MINPROTO else ""
        rates, servers, loads = ([getattr(run, name) for run in mine] for name in ("rate", "server", "load"))
        print(f"{peer.name:14}{median(rates):14,.0f}{median(servers):8.0%}{median(loads):7.0%}   {ratio}".rstrip())


if __name__ == "__main__":
    main()
