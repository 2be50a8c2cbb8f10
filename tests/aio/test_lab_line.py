"""A line of the lab: what it counts for whom, how it is cut, and how slow it can be."""

import asyncio

import pytest
from harness import now, virtual

from minproto.aio.pipe import Pipe
from minproto.lab.line import SLOW_MARK, SLOW_RATE, Account, Line
from minproto.testing import network


class Listener:
    """A tap."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    def received(self, data: bytes) -> None:
        self.seen.append((">", data))

    def sent(self, data: bytes) -> None:
        self.seen.append(("<", data))

    def ended(self, reason: str = "closed") -> None:
        self.seen.append(("end", b""))


def line(tap: Listener | None = None) -> tuple[Pipe, Line]:
    ours, theirs = network.pair()
    return ours, Line(theirs, tap)


@virtual
async def test_bytes_are_counted_for_the_request_that_they_belong_to() -> None:
    """A connection that two columns and somebody else use in turn: to each what was its own."""
    peer, served = line()
    one, two = Account(), Account()
    for account, question, answer in ((one, b"12345", b"123"), (two, b"1", b"12"), (None, b"?", b"!"), (one, b"12", b"1")):
        peer.write(question)
        await served.read()
        served.claim(account)
        served.write(answer)
    assert (one.requests, one.received, one.sent) == (2, 7, 4)
    assert (two.requests, two.received, two.sent) == (1, 1, 2)
    assert (one.lines, two.lines) == ({served}, set())


@virtual
async def test_onward_what_is_read_is_counted_at_once() -> None:
    """On a WebSocket no further request comes that could claim it."""
    peer, served = line()
    account = Account()
    peer.write(b"head")
    await served.read()
    served.claim(account, onward=True)
    peer.write(b"frame")
    await served.read()
    assert account.received == 9


@virtual
async def test_a_cut_is_a_reset() -> None:
    """It ends the account's connections, and no others."""
    peer, served = line()
    other_peer, other = line()
    account = Account()
    served.claim(account)
    other.claim(Account())
    account.cut()
    with pytest.raises(ConnectionResetError):
        await peer.read()
    assert not account.lines
    other.write(b"here")
    assert await other_peer.read() == b"here"


@virtual
async def test_a_slow_client_takes_so_many_bytes_a_second() -> None:
    """Bytes arrive at the rate, in order, and are counted when they leave."""
    peer, served = line()
    account = Account()
    served.claim(account)
    account.slow = True
    data = bytes(range(250)) * 8
    served.write(data)
    arrived = b""
    while len(arrived) < SLOW_RATE:
        arrived += await peer.read()
    assert now() == pytest.approx(1.0)
    assert account.sent == SLOW_RATE
    while len(arrived) < len(data):
        arrived += await peer.read()
    assert arrived == data and now() == pytest.approx(4.0)


@virtual
async def test_a_slow_line_holds_back_who_writes() -> None:
    """Beyond the mark it is congested, and drain waits until it is not."""
    _, served = line()
    account = Account()
    served.claim(account)
    account.slow = True
    served.write(bytes(SLOW_MARK))
    assert not served.congested
    served.write(bytes(SLOW_RATE))
    assert served.congested and served.unsent == SLOW_MARK + SLOW_RATE
    await served.drain()
    assert now() == pytest.approx(1.0) and not served.congested


@virtual
async def test_an_end_of_slowness_lets_all_go() -> None:
    """What was held back goes out, whoever waits goes on, and order is kept."""
    peer, served = line()
    account = Account()
    served.claim(account)
    account.slow = True
    served.write(b"a" * 2_000)
    waiting = asyncio.create_task(served.drain())
    await asyncio.sleep(0.15)
    account.slow = False
    served.write(b"b")
    await waiting
    assert now() == pytest.approx(0.15)
    arrived = b""
    while len(arrived) < 2_001:
        arrived += await peer.read()
    assert arrived == b"a" * 2_000 + b"b" and account.sent == 2_001


@virtual
async def test_what_is_held_back_is_not_overtaken() -> None:
    """By what is written when the line serves somebody else, who is not slow."""
    peer, served = line()
    slow, quick = Account(), Account()
    served.claim(slow)
    slow.slow = True
    served.write(b"a" * 100)
    served.claim(quick)
    served.write(b"b")
    arrived = b""
    while len(arrived) < 101:
        arrived += await peer.read()
    assert arrived == b"a" * 100 + b"b"


@virtual
async def test_a_slow_line_that_is_cut_holds_up_nobody() -> None:
    """Who waits for it to drain is told."""
    _, served = line()
    account = Account()
    served.claim(account)
    account.slow = True
    served.write(bytes(5_000))
    waiting = asyncio.create_task(served.drain())
    await asyncio.sleep(0.05)
    account.cut()
    with pytest.raises(ConnectionResetError):
        await waiting


@virtual
async def test_a_slow_line_that_is_closed_sends_all() -> None:
    """An orderly end is not to lose what was written before it."""
    peer, served = line()
    account = Account()
    served.claim(account)
    account.slow = True
    served.write(bytes(1_000))
    await served.close()
    assert len(await peer.read()) == 1_000 and await peer.read() == b""


@virtual
async def test_a_tap_sees_every_byte_and_the_end() -> None:
    """In the order in which they cross."""
    tap = Listener()
    peer, served = line(tap)
    peer.write(b"ping")
    await served.read()
    served.write(memoryview(b"pong"))
    peer.close_write()
    assert await served.read() == b""
    await served.close()
    assert tap.seen == [(">", b"ping"), ("<", b"pong"), ("end", b"")]
    served.abort()
    assert len(tap.seen) == 3
