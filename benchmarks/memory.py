"""The memory of an idle connection: `python -m benchmarks.memory`, or with `--websocket` or `--http2`, from the root.

Most connections of a server are idle most of the time, so their memory bounds how many it can hold. Each connection here has
asked for /hello and read the whole answer (a WebSocket: had a message of 64 bytes echoed), and then stays open. The growth of
the server's resident memory, divided by the number of connections, is the price of one. The kernel's memory for the sockets is
not included.

A connection that the server has closed would look cheap. So a result counts only if all are still open after the measurement.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import (
    H2_PEERS,
    HOST,
    MINPROTO,
    PEERS,
    WS_MINPROTO,
    WS_PEERS,
    Check,
    Peer,
    Server,
    allow_files,
    check_hello,
    installed,
    prepare,
    running,
    versions,
)
from benchmarks.wsload import BINARY, CLOSE, ECHO, answer, check, frame, handshake, is_accepted

AT_ONCE = 64  # fewer than asyncio's listen backlog of 100: beyond it the kernel drops the SYN, and a second is lost
REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b"Hello, World!"
MESSAGE = b"x" * 64

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def visit(port: int) -> Connection:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    if await reader.readexactly(len(BODY)) != BODY:
        sys.exit("not the answer to /hello")
    return reader, writer


async def visit_http2(port: int) -> Connection:
    from minproto.core import CLIENT
    from minproto.http import EndOfMessage, Headers, RequestHead
    from minproto.http2 import Connection as Client

    reader, writer = await asyncio.open_connection(HOST, port)
    client = Client(CLIENT, scheme="http")
    writer.write(client.send(client.greeting()))
    writer.write(client.send(RequestHead("GET", "/hello", Headers([("host", "localhost")]), "2", 1)))
    while True:
        client.receive_data(await reader.read(65_536))
        for event in client.events():
            if (reply := client.reply(event)) is not None:
                writer.write(client.send(reply))
            if isinstance(event, EndOfMessage):
                return reader, writer


async def visit_websocket(port: int) -> Connection:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(handshake(ECHO))
    if not is_accepted(await reader.readuntil(b"\r\n\r\n")):
        sys.exit("the server did not accept the handshake")
    writer.write(frame(BINARY, MESSAGE))
    echo = answer(BINARY, MESSAGE)
    if await reader.readexactly(len(echo)) != echo:
        sys.exit("not the message that was sent")
    return reader, writer


@dataclass(frozen=True)
class Kind:
    """The kind of connections."""

    ours: Peer
    peers: tuple[Peer, ...]
    check: Check
    visit: Callable[[int], Awaitable[Connection]]
    farewell: bytes
    target: float  # KiB


HTTP = Kind(MINPROTO, PEERS, check_hello, visit, b"", 12)
HTTP2 = Kind(MINPROTO, H2_PEERS, check_hello, visit_http2, b"", 16)
WEBSOCKET = Kind(WS_MINPROTO, WS_PEERS, check, visit_websocket, CLOSE, 16)


async def visits(kind: Kind, port: int, count: int) -> list[Connection]:
    connections: list[Connection] = []
    while (left := count - len(connections)) > 0:
        connections += await asyncio.gather(*(kind.visit(port) for _ in range(min(left, AT_ONCE))))
    return connections


def close(kind: Kind, connections: list[Connection]) -> None:
    for _, writer in connections:
        writer.write(kind.farewell)
        writer.close()


def resident_kib(pid: int) -> int:
    """Return the resident memory by smaps_rollup, which counts pages. VmRSS in `status` may lag behind by some pages."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Rss:")))


async def growth(kind: Kind, server: Server, count: int) -> float:
    """Return the KiB for each of `count` idle connections."""
    close(kind, await visits(kind, server.port, AT_ONCE))  # a server imports and builds some things at its first requests only
    await asyncio.sleep(0.5)
    before = resident_kib(server.pid)
    connections = await visits(kind, server.port, count)
    after = resident_kib(server.pid)
    await asyncio.sleep(0.5)  # if the server has closed a connection, its FIN has time to arrive
    closed = sum(reader.at_eof() or reader.exception() is not None for reader, _ in connections)
    close(kind, connections)
    if closed:
        sys.exit(f"{closed} of {count} connections were closed by the server: no result")
    return (after - before) / count


def verdict(kib: float, target: float) -> str:
    return f"target {target:g}: " + ("met" if kib <= target else f"missed by {kib / target - 1:.0%}")


def main() -> None:
    names = sorted({peer.name for peer in (*PEERS, *WS_PEERS, *H2_PEERS)})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="KiB of each idle connection")
    parser.add_argument("--websocket", action="store_true", help="of WebSocket instead of HTTP")
    parser.add_argument("--http2", action="store_true", help="of HTTP/2")
    parser.add_argument("--connections", type=int, default=5000, help="how many to open (5000)")
    parser.add_argument("--peer", nargs="+", choices=names, default=names, help="these peers only, beside minproto")
    options = parser.parse_args()
    kind = WEBSOCKET if options.websocket else HTTP2 if options.http2 else HTTP
    allow_files(options.connections)
    peers = installed([kind.ours, *(peer for peer in kind.peers if peer.name in options.peer)])
    print(versions(peers))
    cpu = prepare()
    print(f"\n{'':18}KiB each of {options.connections:,} idle connections")
    for peer in peers:
        with running(peer, cpu, kind.check) as server:
            kib = asyncio.run(growth(kind, server, options.connections))
        print(f"{peer.name:18}{kib:8.1f}  {verdict(kib, kind.target) if peer is kind.ours else ''}".rstrip())


if __name__ == "__main__":
    main()
