"""Server-Sent Events, compared with sse-starlette on uvicorn: `python -m benchmarks.sse`, from the repository root.

How many events a second reach a hundred clients, where the app publishes as fast as its slowest client reads? Each event has
64 bytes of data and an id, and goes to all clients. The app for minproto has a topic of the broker, and a subscription for
each client. The app for sse-starlette has a queue for each client, which the publisher fills and a generator empties, as a
user would write it. Both publishers wait when a client has 1,000 events outstanding.

The load is plain sockets that count events. A run counts only if each client got at least half of the average client's events.
"""

import argparse
import asyncio
import logging
import selectors
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from benchmarks.common import HOST, Peer, compare, installed, prepare, running, take_turns, versions

MINPROTO = Peer("minproto", ("minproto",), ("-m", "benchmarks.sse", "--serve", "minproto"))
_NEEDS = ("sse_starlette", "starlette", "uvicorn", "httptools")
STARLETTE = Peer("sse-starlette", _NEEDS, ("-m", "benchmarks.sse", "--serve", "sse-starlette"))
TARGET = 5.0
MARK = b"~"
DATA = MARK.decode() + "x" * 63
OUTSTANDING = 1_000
BATCH = 50
REQUEST = b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n"
WARM_UP = 0.5

# ---- the servers -----------------------------------------------------------------------------------------------------


def serve_minproto(port: int) -> None:
    from minproto import Broker, EventStream, Request, Response, Server

    broker, subscriptions = Broker(), []

    async def app(request: Request) -> Response:
        subscriptions.append(broker.subscribe("news"))
        return EventStream(subscriptions[-1])

    async def publish() -> None:
        data = DATA.encode()
        while True:
            open_ = [subscription for subscription in subscriptions if subscription.ended is None]
            if open_ and max(subscription.inner.pending for subscription in open_) <= OUTSTANDING - BATCH:
                for _ in range(BATCH):
                    broker.publish("news", data)
            await asyncio.sleep(0 if open_ else 0.01)

    async def main() -> None:
        async with Server(app, port=port):
            await publish()

    asyncio.run(main())


def serve_starlette(port: int) -> None:
    from sse_starlette.sse import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route
    from uvicorn import Config, Server

    queues: dict[asyncio.Queue[dict[str, str]], None] = {}

    async def events(queue: asyncio.Queue[dict[str, str]]) -> AsyncIterator[dict[str, str]]:
        try:
            while True:
                yield await queue.get()
        finally:
            del queues[queue]

    async def listen(request: Request) -> Any:
        queue: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        queues[queue] = None
        return EventSourceResponse(events(queue))

    async def publish() -> None:
        number = 0
        while True:
            if queues and max(queue.qsize() for queue in queues) <= OUTSTANDING - BATCH:
                for _ in range(BATCH):
                    number += 1
                    event = {"data": DATA, "id": f"1764000000000-{number}"}
                    for queue in queues:
                        queue.put_nowait(event)
            await asyncio.sleep(0 if queues else 0.01)

    async def main() -> None:
        app = Starlette(routes=[Route("/events", listen)])
        config = Config(
            app, HOST, port, loop="asyncio", http="httptools", access_log=False, log_level="warning", lifespan="off",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # otherwise asyncio logs each write after the clients have left
        publishing = asyncio.create_task(publish())
        await Server(config).serve()
        publishing.cancel()

    asyncio.run(main())


SERVERS = {"minproto": serve_minproto, "sse-starlette": serve_starlette}

# ---- the load --------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """The result of one measurement."""

    rate: float


def connect(port: int) -> socket.socket:
    sock = socket.create_connection((HOST, port), timeout=5)
    sock.sendall(REQUEST)
    return sock


def check(peer: Peer, port: int) -> None:
    """Check that a server streams the events that are counted, each with an id."""
    with connect(port) as sock:
        heard = b""
        while heard.count(MARK) < 3 and (data := sock.recv(65_536)):
            heard += data
    head, _, body = heard.partition(b"\r\n\r\n")
    right = head.startswith(b"HTTP/1.1 200") and b"text/event-stream" in head.lower()
    if not (right and body.count(b"data: " + DATA.encode()) >= 2 and b"id: " in body):
        sys.exit(f"{peer.name} gave another answer than its peer: {heard[:400]!r}")


def measure(cpu: int | None, clients: int, seconds: float, peer: Peer) -> Run:
    with running(peer, cpu, check) as server:
        sockets = {connect(server.port): 0 for _ in range(clients)}
        with selectors.DefaultSelector() as selector:
            for sock in sockets:
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            read(selector, sockets, WARM_UP)
            for sock in sockets:
                sockets[sock] = 0
            began = time.monotonic()
            read(selector, sockets, seconds)
            took = time.monotonic() - began
        for sock in sockets:
            sock.close()
    total = sum(sockets.values())
    if min(sockets.values()) < total / clients / 2:
        sys.exit(f"{peer.name}: a client got {min(sockets.values())} events, the average one {total / clients:.0f}")
    return Run(total / took)


def read(selector: selectors.BaseSelector, sockets: dict[socket.socket, int], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key, _ in selector.select(0.1):
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(262_144)
            if not data:
                sys.exit("a connection was closed")
            sockets[key.fileobj] += data.count(MARK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return SERVERS[options.serve[0]](int(options.serve[1]))
    peers = installed([MINPROTO, STARLETTE])
    print(versions(peers))
    cpu = prepare()
    title = f"{options.clients} clients, events of 64 bytes"
    runs = take_turns(peers, title, options.rounds, lambda peer: measure(cpu, options.clients, options.seconds, peer))
    for name, measured in runs.items():
        print(f"{name:15} {sum(run.rate for run in measured) / len(measured):12,.0f} events/s")
        if name != "minproto":
            print(f"{'':15} {compare(runs['minproto'], measured, TARGET)}")


if __name__ == "__main__":
    main()
