"""The broker, compared with redis-server: `python -m benchmarks.broker`, from the repository root.

There are three questions:

- How many messages a second reach their receivers? One client publishes 64-byte messages in an endless pipeline, and a hundred
  clients listen. A run counts only if every subscriber got every message, byte for byte.
- How much memory does an idle subscriber cost?
- Does a publish take longer where there are many other topics and patterns that do not match it?

Both servers do the same job over the same bytes. redis-server writes nothing to disk here. Our server keeps the last 1,000
messages of each topic, which is its default.
"""

import argparse
import asyncio
import os
import selectors
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.common import (
    HOST,
    Peer,
    Server,
    allow_files,
    compare,
    cpu_seconds,
    prepare,
    running,
    take_turns,
    versions,
)
from benchmarks.memory import AT_ONCE, resident_kib, verdict
from minproto.aio.cores import chosen
from minproto.broker import Broker
from minproto.resp import encode_command

MINPROTO = Peer("minproto", ("minproto",), ("-m", "minproto", "broker", "--port"))
_REDIS = """
import os, sys
os.execvp("redis-server", ["redis-server", "--save", "", "--bind", "127.0.0.1", "--port", sys.argv[1]])
"""
REDIS = Peer("redis-server", (), ("-c", _REDIS))
SUBSCRIBE = encode_command([b"SUBSCRIBE", b"topic"])
CONFIRMED = b"*3\r\n$9\r\nsubscribe\r\n$5\r\ntopic\r\n:1\r\n"
DATA = b"x" * 64
PUBLISH = encode_command([b"PUBLISH", b"topic", DATA])
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$5\r\ntopic\r\n$64\r\n" + DATA + b"\r\n"
BATCH = 500
"""Messages that the publisher writes to its socket in one call."""
WINDOW = 20_000
"""Answers that may be outstanding: enough for the pipeline never to be empty, too few to fill the kernel's buffers."""
IDLE = 9_900
"""Idle subscribers. Both servers accept 10,000 clients; the remaining 100 are left for the publisher and the measurement."""
MEMORY_TARGET = 12.0
UNRELATED = (1, 100, 10_000)
PUBLISHES = 20_000


def check(peer: Peer, port: int) -> None:
    """Check that both servers give the same answers, byte for byte, before anything is measured."""
    with socket.create_connection((HOST, port), timeout=5) as sock:
        sock.sendall(b"PING\r\n" + SUBSCRIBE)
        heard, expected = b"", b"+PONG\r\n" + CONFIRMED
        while len(heard) < len(expected) and (data := sock.recv(1_000)):
            heard += data
        if heard != expected:
            sys.exit(f"{peer.name} gave another answer than its peer: {heard!r}")


# ---- messages to many ------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """The result of one measurement."""

    rate: float
    server: float  # share of its CPU
    load: float


class Load:
    """A publisher, subscribers, and the bytes that each has received."""

    def __init__(self, port: int, subscribers: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(1 << 18)
        self._received = [0] * subscribers
        for number in range(subscribers):
            sock = socket.create_connection((HOST, port))
            sock.sendall(SUBSCRIBE)
            if sock.recv(len(CONFIRMED), socket.MSG_WAITALL) != CONFIRMED:
                sys.exit("a subscriber was not confirmed")
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, number)
        self._publisher = socket.create_connection((HOST, port))
        self._publisher.setblocking(False)
        self._answer = len(b":%d\r\n" % subscribers)
        self._answered = 0  # bytes
        self._sent = 0  # messages
        self._out = memoryview(b"")
        self._selector.register(self._publisher, selectors.EVENT_READ | selectors.EVENT_WRITE, None)

    def run(self, seconds: float) -> float:
        """Publish for this long, and wait until all messages have arrived. Return the deliveries per second."""
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            self._turn(publishing=True)
        while not self._complete():
            self._turn(publishing=False)
            if time.perf_counter() > began + seconds + 10:
                sys.exit("not all messages arrived: no result")
        return self._sent * len(self._received) / (time.perf_counter() - began)

    def _complete(self) -> bool:
        if self._out or self._answered < self._sent * self._answer:
            return False
        return all(received == self._sent * len(MESSAGE) for received in self._received)

    def _turn(self, publishing: bool) -> None:
        for key, events in self._selector.select(0.1):
            if key.data is not None:
                self._received[key.data] += key.fileobj.recv_into(self._buffer)  # type: ignore[union-attr]
                continue
            if events & selectors.EVENT_READ:
                self._answered += self._publisher.recv_into(self._buffer)
            if events & selectors.EVENT_WRITE and self._out:
                self._out = self._out[self._publisher.send(self._out) :]
            if publishing and not self._out and self._sent - self._answered // self._answer < WINDOW:
                self._out = memoryview(PUBLISH * BATCH)
                self._sent += BATCH
            self._listen(selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0))

    def _listen(self, events: int) -> None:
        """Return the events to select for. Where nothing is to be written, a socket with room would wake us all the time."""
        if self._selector.get_key(self._publisher).events != events:
            self._selector.modify(self._publisher, events)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def measure(cpu: int | None, subscribers: int, seconds: float, peer: Peer) -> Run:
    with running(peer, cpu, check) as server:
        warming = Load(server.port, subscribers)
        warming.run(1.0)
        warming.close()
        load = Load(server.port, subscribers)
        before = cpu_seconds(server.pid), cpu_seconds(os.getpid()), time.perf_counter()
        rate = load.run(seconds)
        took = time.perf_counter() - before[2]
        run = Run(rate, (cpu_seconds(server.pid) - before[0]) / took, (cpu_seconds(os.getpid()) - before[1]) / took)
        load.close()
    return run


def fan_out(cpu: int | None, peers: list[Peer], subscribers: int, seconds: float, rounds: int) -> None:
    runs = take_turns(peers, "fan-out", rounds, partial(measure, cpu, subscribers, seconds))
    print(f"\n{'':14}{'deliveries/s':>14}{'server':>8}{'load':>7}   minproto / peer")
    for peer in peers:
        mine = runs[peer.name]
        ratio = compare(runs["minproto"], mine, 1.0) if peer is not MINPROTO else ""
        rates, servers, loads = ([getattr(run, name) for run in mine] for name in ("rate", "server", "load"))
        print(f"{peer.name:14}{median(rates):14,.0f}{median(servers):8.0%}{median(loads):7.0%}   {ratio}".rstrip())


# ---- memory of subscribers -------------------------------------------------------------------------------------------

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def subscribe(port: int) -> Connection:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(SUBSCRIBE)
    if await reader.readexactly(len(CONFIRMED)) != CONFIRMED:
        sys.exit("a subscriber was not confirmed")
    return reader, writer


async def growth(server: Server, count: int) -> float:
    """Return the KiB that each of this many idle subscribers costs. The result is valid only if each then gets a message."""
    connections: list[Connection] = []

    async def more(most: int) -> None:
        while (left := most - len(connections)) > 0:
            connections.extend(await asyncio.gather(*(subscribe(server.port) for _ in range(min(left, AT_ONCE)))))

    await more(AT_ONCE)  # a server builds some objects for its first clients only
    await asyncio.sleep(0.5)
    before = resident_kib(server.pid)
    await more(AT_ONCE + count)
    await asyncio.sleep(0.5)
    after = resident_kib(server.pid)
    _, publisher = await asyncio.open_connection(HOST, server.port)
    publisher.write(PUBLISH)
    for reader, writer in connections:
        if await reader.readexactly(len(MESSAGE)) != MESSAGE:
            sys.exit("a subscriber did not get the message: no result")
        writer.close()
    publisher.close()
    return (after - before) / count


def memory(cpu: int | None, peers: list[Peer], count: int) -> None:
    print(f"\n{'':14}KiB each of {count:,} idle subscribers")
    for peer in peers:
        with running(peer, cpu, check) as server:
            kib = asyncio.run(growth(server, count))
        print(f"{peer.name:14}{kib:8.1f}  {verdict(kib, MEMORY_TARGET) if peer is MINPROTO else ''}".rstrip())


# ---- subscriptions of other clients ----------------------------------------------------------------------------------


def cost(topics: int, patterns: int) -> float:
    """Return the microseconds of a publish to one subscriber, while this many others are subscribed."""
    broker = chosen(Broker)(lambda: time.time_ns() // 1_000_000)
    subscription = broker.subscribe("topic")
    others = [f"other {number}" for number in range(topics)]
    broker.subscribe(*others, patterns=[f"other {number}*" for number in range(patterns)])
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(PUBLISHES // 5):
            broker.publish("topic", DATA)
            subscription.take(1)
        best = min(best, (time.perf_counter() - began) / (PUBLISHES // 5))
    return best * 1e6


def unrelated() -> None:
    print(f"\n{'':14}microseconds of a publish beside others that do not match")
    print(f"{'':14}" + "".join(f"{count:>10,}" for count in UNRELATED))
    for name, counts in (("topics", [(n, 0) for n in UNRELATED]), ("patterns", [(0, n) for n in UNRELATED])):
        print(f"{name:14}" + "".join(f"{cost(*each):10.2f}" for each in counts))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broker", description="the broker beside redis-server")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each server (5)")
    parser.add_argument("--subscribers", type=int, default=100, help="who get each message (100)")
    parser.add_argument("--idle", type=int, default=IDLE, help=f"subscribers whose memory is measured ({IDLE})")
    options = parser.parse_args()
    allow_files(options.idle + AT_ONCE)
    peers = [MINPROTO]
    if shutil.which("redis-server"):
        peers.append(REDIS)
    else:
        print("redis-server: skipped, not installed")
    print(versions(peers))
    cpu = prepare()
    fan_out(cpu, peers, options.subscribers, options.seconds, options.rounds)
    memory(cpu, peers, options.idle)
    unrelated()


if __name__ == "__main__":
    main()
