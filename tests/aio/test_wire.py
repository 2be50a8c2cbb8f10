"""The relay in memory: what it passes on, how it ends, and what is printed of it."""

import asyncio
from typing import Any

import pytest
from harness import FIN, RST, Client, get, virtual

from minproto.aio.address import Address
from minproto.aio.pipe import HIGH_WATER, Pipe
from minproto.aio.wire import Relay, Watch, Wire
from minproto.core import CLIENT, SERVER, Role
from minproto.explain.text import Printer
from minproto.testing import network


class Seen:
    """A tap that remembers."""

    def __init__(self) -> None:
        self.bytes = {CLIENT: b"", SERVER: b""}
        self.ends: list[Role] = []
        self.reason = ""

    def data(self, sender: Role, data: bytes) -> None:
        self.bytes[sender] += data

    def ended(self, sender: Role) -> None:
        self.ends.append(sender)

    def closed(self, reason: str) -> None:
        assert not self.reason
        self.reason = reason


class Joined:
    """A client and a server, and a relay between them."""

    def __init__(self, seen: Any = None, **options: Any) -> None:
        ours, theirs = network.pair(**options), network.pair(**options)
        self.client, self.server = Client(ours[0]), Client(theirs[1])
        self.seen = seen or Seen()

        async def connect() -> Pipe:
            return theirs[0]

        self.relay = Relay(ours[1], connect, self.seen)
        self.task = asyncio.create_task(self.relay.run())


@virtual
async def test_bytes_pass_as_they_are() -> None:
    """In both directions, and the tap sees each of them once."""
    joined = Joined(cuts=[1, 2, 3] * 50, delays=[0.1] * 9)
    question, answer = bytes(range(256)), bytes(range(255, -1, -1)) * 1_000
    joined.client.send(question)
    joined.server.send(answer)
    for end in (joined.client, joined.server):
        end.pipe.close_write()
    assert b"".join(await joined.server.reads()) == question
    assert b"".join(await joined.client.reads()) == answer
    await joined.task
    assert (joined.seen.bytes, joined.seen.reason) == ({CLIENT: question, SERVER: answer}, "closed")
    assert (joined.relay.received, joined.relay.sent) == (len(question), len(answer))


@virtual
async def test_half_close() -> None:
    """A client that has said all is answered all the same, after any time."""
    joined = Joined()
    joined.client.send(b"question")
    joined.client.pipe.close_write()
    assert b"".join(await joined.server.reads()) == b"question"
    await asyncio.sleep(3_600)
    assert joined.seen.ends == [CLIENT]
    joined.server.send(b"answer")
    await joined.server.pipe.close()
    assert b"".join(await joined.client.reads()) == b"answer"
    await joined.task
    assert (joined.seen.ends, joined.seen.reason) == ([CLIENT, SERVER], "closed")


@pytest.mark.parametrize("slow", list(Role), ids=lambda role: role.value)
def test_back_pressure(slow: Role) -> None:
    """Who does not read stops who writes, through the relay; the other direction goes on."""

    async def run() -> None:
        joined = Joined(capacity=1_000)
        reader, writer = (joined.client, joined.server) if slow is CLIENT else (joined.server, joined.client)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                while True:
                    writer.send(bytes(1_000))
                    await writer.pipe.drain()
        assert joined.relay.received + joined.relay.sent <= HIGH_WATER + 3_000
        reader.send(b"still here")
        assert await writer.pipe.read() == b"still here"
        joined.relay.drain()
        await joined.task

    virtual(run)()


@pytest.mark.parametrize("one", list(Role), ids=lambda role: role.value)
def test_a_reset_stays_one(one: Role) -> None:
    """So that the other end can't take a part for the whole."""

    async def run() -> None:
        joined = Joined()
        breaks, other = (joined.client, joined.server) if one is CLIENT else (joined.server, joined.client)
        breaks.send(b"a part")
        assert await other.pipe.read() == b"a part"
        breaks.pipe.abort()
        assert await other.end() == RST
        await joined.task
        assert joined.seen.reason == "reset"

    virtual(run)()


@virtual
async def test_a_server_that_is_not_there() -> None:
    """The client is cut off, and the reason told."""
    ours, theirs = network.pair()
    seen = Seen()

    async def connect() -> Pipe:
        raise OSError("can't reach a:1: no way")

    await Relay(theirs, connect, seen).run()
    assert seen.reason == "can't reach a:1: no way"
    assert await Client(ours).end() == RST


@pytest.mark.parametrize("begun", [False, True])
def test_stop(begun: bool) -> None:
    """A wire that stops has nothing of its own to finish: both ends see a reset, also of a connection that has just come."""

    async def run() -> None:
        joined = Joined()
        if begun:
            joined.client.send(b"x")
            await joined.server.pipe.read()
        joined.relay.drain()
        await joined.task
        assert await joined.client.end() == RST
        assert joined.seen.reason == "stopped"

    virtual(run)()


@virtual
async def test_a_connection_too_many() -> None:
    ours, theirs = network.pair()
    seen = Seen()
    await Relay(theirs, Joined, seen).refuse()  # type: ignore[arg-type]
    assert (await Client(ours).end(), seen.reason) == (RST, "too many connections")


@virtual
async def test_what_is_printed() -> None:
    """The rows with the time since the connection began, then what was incomplete, and a summary."""
    lines: list[str] = []
    joined = Joined(Watch(7, Printer(100), lines.append), delays=[0.25])
    joined.client.send(get("/a")[:-2])
    await joined.server.pipe.read()
    joined.client.send(b"\r\nGE")
    joined.client.pipe.close_write()
    assert b"".join(await joined.server.reads()) == b"\r\nGE"
    joined.server.pipe.abort()
    await joined.task
    assert "".join(lines) == (
        "#7 → 0.500 s, byte 0, HTTP/1.1: GET /a\n"
        "    47 45 54 20              GET·      method = GET (send the resource; RFC 9110 §9.3.1)\n"
        "    2f 61 20                 /a·       request-target = /a (the resource; RFC 9112 §3.2)\n"
        "    48 54 54 50 2f 31 2e 31  HTTP/1.1  HTTP-version = 1.1 (the client's version; RFC 9112 §2.3)\n"
        "    0d 0a                    ··\n"
        "    48 6f 73 74 3a 20 61 0d  Host:·a·  host = a (host and port of the target: one address can have\n"
        "    0a                       ·         many; RFC 9110 §7.2)\n"
        "    0d 0a                    ··        empty line (the end of the fields; RFC 9112 §2.1)\n"
        "#7 → 0.500 s, byte 28, HTTP/1.1: request\n"
        "    error: the connection ended in the middle\n"
        "    47 45                    GE        incomplete = GE (as it came)\n"
        "#7 reset after 0.500 s: 30 bytes from the client, 0 bytes from the server\n"
    )


@virtual
async def test_what_a_reset_leaves_is_printed() -> None:
    """No byte that crossed is missing."""
    lines: list[str] = []
    joined = Joined(Watch(1, Printer(100), lines.append))
    joined.client.send(b"GET / HT")
    assert await joined.server.pipe.read() == b"GET / HT"
    joined.client.pipe.abort()
    await joined.task
    assert "    47 45 54 20 2f 20 48 54  GET·/·HT  incomplete = GET / HT (as it came)\n" in "".join(lines)


@virtual
async def test_connections_have_numbers() -> None:
    """Several at once, each with its own; ``close`` cuts them off."""
    lines: list[str] = []
    wire = Wire(Address("a", 1), Printer(100), lines.append)
    wire.connect = asyncio.Event().wait  # type: ignore[method-assign, assignment]
    clients = []
    for _ in range(2):
        ours, theirs = network.pair()
        wire.attach(theirs)
        clients.append(Client(ours))
    assert lines == ["#1 opened by memory:1\n", "#2 opened by memory:1\n"]
    await wire.close()
    assert [await client.end() for client in clients] == [RST, RST]
    assert [line.split(" after")[0] for line in lines[2:]] == ["#1 stopped", "#2 stopped"]


@virtual
async def test_an_end_of_both_is_an_end() -> None:
    joined = Joined()
    await joined.client.pipe.close()
    await joined.server.pipe.close()
    await joined.task
    assert await joined.client.end() == FIN


@pytest.mark.parametrize("one", list(Role), ids=lambda role: role.value)
@pytest.mark.parametrize("ended", [False, True])
def test_an_end_that_leaves_is_noticed_while_the_other_is_silent(one: Role, ended: bool) -> None:
    """A client that was to wait for its answer and is gone, a server that dies behind its last word: the other end is told at
    once, not when it next says something."""

    async def run() -> None:
        joined = Joined()
        leaves, other = (joined.client, joined.server) if one is CLIENT else (joined.server, joined.client)
        leaves.send(b"all")
        if ended:
            leaves.pipe.close_write()
        assert await other.pipe.read() == b"all"
        await asyncio.sleep(3_600)
        leaves.pipe.abort()
        assert await other.end() in (RST, FIN)
        async with asyncio.timeout(2):
            await joined.task
        assert joined.seen.reason == "reset"

    virtual(run)()


@pytest.mark.parametrize("slow", list(Role), ids=lambda role: role.value)
def test_an_end_that_leaves_is_noticed_while_the_other_does_not_read(slow: Role) -> None:
    """What it sent last can't be passed on, and then never will be."""

    async def run() -> None:
        joined = Joined(capacity=1_000)
        writer = joined.server if slow is CLIENT else joined.client
        for _ in range(200):
            writer.send(bytes(1_000))
        await asyncio.sleep(60)
        writer.pipe.abort()
        async with asyncio.timeout(2):
            await joined.task
        assert joined.seen.reason == "reset"

    virtual(run)()


class Failing(Seen):
    """A tap with a bug, or whose printer has nowhere to print to."""

    def data(self, sender: Role, data: bytes) -> None:
        super().data(sender, data)
        raise OSError("no space left on device")


def test_a_tap_that_fails_harms_nobody(logged: list[str]) -> None:
    """Its OSError is no reset of a connection. It is logged, once, and the bytes are passed on."""

    async def run() -> None:
        joined = Joined(Failing())
        joined.client.send(b"question")
        assert await joined.server.pipe.read() == b"question"
        joined.server.send(b"answer")
        assert await joined.client.pipe.read() == b"answer"
        for end in (joined.client, joined.server):
            await end.pipe.close()
        await joined.task
        assert joined.seen.bytes[SERVER] == b""

    virtual(run)()
    assert len(logged) == 1 and logged[0].startswith("a connection is passed on, but can't be shown any further\n")
    logged.clear()


@virtual
async def test_a_client_that_left_while_the_server_was_reached() -> None:
    """Its reset is the server's; nothing is logged as a bug, with eager tasks neither."""
    ours, theirs = network.pair(), network.pair()
    seen = Seen()

    async def connect() -> Pipe:
        ours[0].abort()
        await asyncio.sleep(0.1)
        return theirs[0]

    await Relay(ours[1], connect, seen).run()
    assert (await Client(theirs[1]).end(), seen.reason) == (RST, "reset")
