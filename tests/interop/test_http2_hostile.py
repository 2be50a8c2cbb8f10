"""Floods of HTTP/2 from raw sockets. Each ends its own connection; others are answered meanwhile, and memory stays bounded."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, count, repeat
from pathlib import Path

import pytest
from hpack import Encoder

from minproto import connect_http2
from minproto.http2_frames import PREFACE, encode_frame, encode_settings

from .serving import Serving

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

DATA, HEADERS, PRIORITY, RST, SETTINGS, _, PING, _, WINDOW_UPDATE, CONTINUATION = range(10)
GREETING = PREFACE + encode_settings([]) + encode_frame(SETTINGS, 1, 0)
ENOUGH = 6.0
"""Seconds of a flood, if nobody stops it: a server that has said its last reads away what comes for two more."""
ALLOWED = 24 << 20
"""Bytes of growth that a flood may cost. Python's own start of a new path costs some of it."""


def block(*fields: tuple[str, str], method: str = "GET", path: str = "/hello") -> bytes:
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)]
    return Encoder().encode([*pseudo, *fields])


def odd() -> Iterator[int]:
    return count(1, 2)


def rapid_reset() -> Iterator[bytes]:
    """CVE-2023-44487: requests that are taken back at once."""
    head = block(path="/slow/async?seconds=5")
    for stream in odd():
        yield encode_frame(HEADERS, 5, stream, head) + encode_frame(RST, 0, stream, struct.pack(">I", 8))


def provoked_reset() -> Iterator[bytes]:
    """CVE-2025-8671: requests, each with a fault that makes the server reset it."""
    head = block(path="/slow/async?seconds=5")
    for stream in odd():
        yield encode_frame(HEADERS, 5, stream, head) + encode_frame(WINDOW_UPDATE, 0, stream, bytes(4))


def malformed() -> Iterator[bytes]:
    head = Encoder().encode([(":method", "GET"), ("Upper", "x")])
    for stream in odd():
        yield encode_frame(HEADERS, 5, stream, head)


def continuation() -> Iterator[bytes]:
    """CVE-2024-27316: a block without end."""
    yield from chain([encode_frame(HEADERS, 0, 1, block())], repeat(encode_frame(CONTINUATION, 0, 1, bytes(16_000))))


def empty_continuation() -> Iterator[bytes]:
    yield from chain([encode_frame(HEADERS, 0, 1, block())], repeat(encode_frame(CONTINUATION, 0, 1)))


def pings() -> Iterator[bytes]:
    """CVE-2019-9512, by who reads no answer."""
    yield from repeat(encode_frame(PING, 0, 0, bytes(8)) * 100)


def settings() -> Iterator[bytes]:
    """CVE-2019-9515."""
    yield from repeat(encode_settings([(4, 65_535)]) * 100)


def windows() -> Iterator[bytes]:
    """Settings that change the window of each stream, again and again."""
    heads = [encode_frame(HEADERS, 5, stream, block(path="/slow/async?seconds=9")) for stream in range(1, 199, 2)]
    yield from chain(heads, repeat(b"".join(encode_settings([(4, size)] * 30) for size in (1, 65_535))))


def empty_data() -> Iterator[bytes]:
    """CVE-2019-9518."""
    head = block(method="POST", path="/echo")
    yield from chain([encode_frame(HEADERS, 4, 1, head)], repeat(encode_frame(DATA, 0, 1) * 100))


def priorities() -> Iterator[bytes]:
    """CVE-2019-9513."""
    yield from (encode_frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 1)) * 100 for stream in odd())


def unknown() -> Iterator[bytes]:
    yield from repeat(encode_frame(0x70, 0, 0, bytes(16_000)))


def header_bomb() -> Iterator[bytes]:
    """CVE-2016-6581: one large field in the table, and then thousands of references to it."""
    first = b"\x82\x86\x84\x41\x01a" + b"\x40\x01b\x7f\xa1\x1e" + b"x" * 4_000
    yield encode_frame(HEADERS, 5, 1, first)
    for stream in count(3, 2):
        yield encode_frame(HEADERS, 5, stream, b"\x82\x86\x84\x41\x01a" + b"\xbe" * 16_000)


def byte_by_byte() -> Iterator[bytes]:
    """A window filled with frames of one byte, on each of twenty streams whose handlers do not read."""
    head = block(path="/slow/async?seconds=9")
    for stream in range(1, 41, 2):
        yield encode_frame(HEADERS, 4, stream, head)
        for _ in range(10):
            yield encode_frame(DATA, 0, stream, b"x") * 1_000


def downloads() -> Iterator[bytes]:
    """CVE-2019-9517: large answers to who reads none."""
    for stream in range(1, 199, 2):
        yield encode_frame(HEADERS, 5, stream, block(path="/bytes/100000000"))
        yield encode_frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1 << 30))
    yield encode_frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))


FLOODS = [
    rapid_reset, provoked_reset, malformed, continuation, empty_continuation, pings, settings, windows, empty_data, priorities,
    unknown, header_bomb, byte_by_byte, downloads,
]  # fmt: skip


def resident(server: Serving) -> int:
    """Bytes of memory of its process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def flood(server: Serving, frames: Iterator[bytes], ends: bool) -> bytes:
    """Send until the server has enough, reading nothing; then what it has said, to its end where there has to be one."""
    with socket.create_connection((server.host, server.port), timeout=10) as sock:
        answer, ends_at = b"", time.monotonic() + ENOUGH
        try:
            sock.sendall(GREETING)
            for data in frames:
                sock.sendall(data)
                assert time.monotonic() < ends_at, "nobody has stopped it"
        except TimeoutError:
            raise AssertionError("the server has stopped reading") from None
        except OSError:
            pass
        with suppress(OSError):
            sock.settimeout(10 if ends else 0.5)
            while piece := sock.recv(65_536):
                answer += piece
                if not ends and len(answer) > 1 << 20:
                    break
        return answer


@pytest.fixture(scope="module")
def victim() -> Iterator[Serving]:
    server = Serving("--no-access-log")
    try:
        yield server
        server.stop(warnings=("the request ", "we end the HTTP/2 connection from 127.0.0.1: "))
    finally:
        server.kill()


@pytest.mark.parametrize("frames", FLOODS, ids=lambda frames: frames.__name__)
async def test_floods(victim: Serving, frames: Callable[[], Iterator[bytes]]) -> None:
    """While three connections flood, a fourth is answered; after that the flooders are gone and so is what they took."""
    ends = frames not in (byte_by_byte, downloads)  # these break no rule: they wait for their time to run out
    async with await connect_http2(victim.host, victim.port) as client:
        assert (await client.request("GET", "/hello")).status == 200
        before, most, waits = resident(victim), 0, []
        flooders = [asyncio.create_task(asyncio.to_thread(flood, victim, frames(), ends)) for _ in range(3)]
        while not all(flooder.done() for flooder in flooders):
            began = time.monotonic()
            assert await (await client.request("GET", "/hello")).read() == b"Hello, World!"
            waits.append(time.monotonic() - began)
            most = max(most, resident(victim))
            await asyncio.sleep(0.01)
        for answer in [flooder.result() for flooder in flooders]:
            if ends and answer:  # a reset may have destroyed it
                assert b"\x07\0\0\0\0\0" in answer or len(answer) > 60_000
    assert most - before < ALLOWED, f"{most - before:,} bytes"
    assert max(waits) < 2.0, f"{max(waits)} s"
