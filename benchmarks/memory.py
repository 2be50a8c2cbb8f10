"""What an idle connection costs: `python -m benchmarks.memory` from the repository root.

Most connections of a server are idle most of the time, so their memory bounds how many it can hold. Each connection
here has asked for /hello and read the whole answer, and then stays open: what grew meanwhile in the server's resident
memory, divided by their number, is the price of one. What the kernel holds for a socket is not in it.

A connection that the server closed would make it look cheap, so a result counts only if all are open after the reading.
"""

import argparse
import asyncio
import resource
import sys
from pathlib import Path

from benchmarks.common import HOST, MINPROTO, PEERS, Peer, Server, installed, prepare, running, versions

TARGET_KIB = 12.0
AT_ONCE = 64  # fewer than asyncio's listen backlog of 100: beyond it the kernel drops the SYN, and a second is lost
SPARE_FILES = 100
REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b"Hello, World!"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def visit(port: int) -> Connection:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    if await reader.readexactly(len(BODY)) != BODY:
        sys.exit("not the answer to /hello")
    return reader, writer


async def visits(port: int, count: int) -> list[Connection]:
    connections: list[Connection] = []
    while (left := count - len(connections)) > 0:
        connections += await asyncio.gather(*(visit(port) for _ in range(min(left, AT_ONCE))))
    return connections


def close(connections: list[Connection]) -> None:
    for _, writer in connections:
        writer.close()


def resident_kib(pid: int) -> int:
    """From smaps_rollup, which counts pages; VmRSS in `status` may lag behind by what each CPU has not yet added up."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Rss:")))


async def growth(server: Server, count: int) -> float:
    """KiB for each of `count` idle connections."""
    close(await visits(server.port, AT_ONCE))  # what a server imports or builds at its first requests is paid once
    await asyncio.sleep(0.5)
    before = resident_kib(server.pid)
    connections = await visits(server.port, count)
    after = resident_kib(server.pid)
    await asyncio.sleep(0.5)  # lets a hang-up arrive, if there was one
    closed = sum(reader.at_eof() or reader.exception() is not None for reader, _ in connections)
    close(connections)
    if closed:
        sys.exit(f"{closed} of {count} connections were closed by the server: no result")
    return (after - before) / count


def verdict(peer: Peer, kib: float) -> str:
    if peer is not MINPROTO:
        return ""
    return f"target {TARGET_KIB:g}: " + ("met" if kib <= TARGET_KIB else f"missed by {kib / TARGET_KIB - 1:.0%}")


def allow_files(count: int) -> None:
    """Both ends need a descriptor for each connection; the servers inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + SPARE_FILES:
        sys.exit(f"only {hard} open files allowed here: at most --connections {hard - SPARE_FILES}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE_FILES, hard))


def main() -> None:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="KiB of each idle connection")
    parser.add_argument("--connections", type=int, default=5000, help="how many to open (5000)")
    parser.add_argument("--peer", nargs="+", choices=names, default=names, help="these peers only, beside minproto")
    options = parser.parse_args()
    allow_files(options.connections)
    peers = installed(options.peer)
    print(versions(peers))
    cpu = prepare()
    print(f"\n{'':18}KiB each of {options.connections:,} idle connections")
    for peer in peers:
        with running(peer, cpu) as server:
            kib = asyncio.run(growth(server, options.connections))
        print(f"{peer.name:18}{kib:8.1f}  {verdict(peer, kib)}".rstrip())


if __name__ == "__main__":
    main()
