"""The endpoints of a loop write together: none for another, none of another loop, and no loop is kept for them."""

import asyncio
import errno
import gc
import math
import weakref

import pytest
from harness import now, virtual

from minproto.aio import loop
from minproto.aio.endpoint import Endpoint
from minproto.aio.loop import PlainWriteBatch, WriteBatch
from minproto.aio.options import Timeouts
from minproto.core import CLIENT, Core, RemoteProtocolError, Wants
from minproto.resp import Connection, Limits, Reply, Simple
from minproto.testing import network


class Paper:
    """A pipe that keeps what is written on it, or does not take it."""

    congested, unsent = False, 0

    def __init__(self, failure=None):
        self.failure, self.written, self.aborted = failure, [], False

    def write(self, data):
        if self.failure is not None:
            raise self.failure
        self.written.append(data)

    def abort(self):
        self.aborted = True


def queued(*pipes):
    """Endpoints on these pipes, each with something to write."""
    endpoints = [Endpoint(Core(0), pipe, Timeouts()) for pipe in pipes]
    for endpoint in endpoints:
        endpoint.queue(b"a")
        endpoint.queue(b"b")
    return endpoints


@pytest.fixture(params=[PlainWriteBatch, WriteBatch])
def batch(request, monkeypatch):
    """Endpoints are written with the plain batch, and with the one that has one callback for all of them."""
    monkeypatch.setattr(loop, "WriteBatch", request.param)


async def test_what_one_turn_brings_is_written_in_one_piece_each(batch):
    first, second = Paper(), Paper()
    queued(first, second)
    assert first.written == second.written == []
    await asyncio.sleep(0)
    assert first.written == second.written == [b"ab"]


@pytest.mark.parametrize("failure", [RuntimeError("closed"), asyncio.CancelledError()])
async def test_a_pipe_that_takes_nothing_keeps_no_other_from_its_bytes(logged, failure, batch):
    broken, other = Paper(failure), Paper()
    endpoints = queued(broken, other)
    await asyncio.sleep(0)
    assert broken.aborted and other.written == [b"ab"] and not other.aborted
    assert "can't be written to" in logged.pop()
    assert endpoints[0].unsent == 0
    endpoints[1].queue(b"c")
    await asyncio.sleep(0)
    assert other.written == [b"ab", b"c"]


def test_a_loop_that_is_closed_with_bytes_unwritten_is_let_go():
    async def begin():
        queued(Paper())
        asyncio.get_running_loop().stop()  # before the turn that would write

    def loop_that_was():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.close()
        return weakref.ref(loop)

    gone = loop_that_was()
    gc.collect()
    assert gone() is None


def test_each_loop_writes_what_is_its_own(batch):
    ours, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    pipe = Paper()

    async def begin():
        return queued(pipe)[0]

    async def queue_from_elsewhere():
        endpoint.queue(b"c")

    try:
        endpoint = ours.run_until_complete(begin())
        ours.run_until_complete(asyncio.sleep(0))
        other.run_until_complete(queue_from_elsewhere())
        assert pipe.written == [b"ab"]
        ours.run_until_complete(asyncio.sleep(0))
        assert pipe.written == [b"ab", b"c"]
    finally:
        ours.close()
        other.close()


@virtual
async def test_a_wait_that_a_lost_connection_ends_has_no_deadline_any_more():
    """Whoever goes on without the peer is not cancelled when the time would have been over."""

    class Lost(Paper):
        async def read(self):
            raise ConnectionResetError

    endpoint = Endpoint(Core(0), Lost(), Timeouts())
    with pytest.raises(ConnectionResetError):
        await endpoint.receive(5)
    assert endpoint.lost
    await asyncio.sleep(10)
    endpoint.stop()


@virtual
async def test_what_the_kernel_calls_a_timeout_is_a_lost_connection():
    """ETIMEDOUT is a TimeoutError to Python: the peer's machine is gone, and nobody's patience is over."""

    class Lost(Paper):
        async def read(self):
            raise OSError(errno.ETIMEDOUT, "no answer to keep-alive")

    endpoint = Endpoint(Core(0), Lost(), Timeouts())
    with pytest.raises(ConnectionResetError):
        await endpoint.receive(5)
    assert endpoint.lost
    endpoint.stop()


async def test_what_is_sent_during_a_flush_waits_for_its_turn(batch):
    """Otherwise the end of the turn would put all of it into a pipe that is full."""

    class Full(Paper):
        congested = True
        room = asyncio.Event()

        async def drain(self):
            await self.room.wait()
            self.room.clear()

    pipe = Full()
    endpoint = Endpoint(Core(0), pipe, Timeouts())

    async def send_much():
        endpoint.queue(bytes(70_000))
        await endpoint.flush()

    sending = asyncio.create_task(send_much())
    await asyncio.sleep(0)
    endpoint.queue(bytes(70_000))
    await asyncio.sleep(0.01)
    assert [len(data) for data in pipe.written] == [65_536]
    while not sending.done():
        pipe.room.set()
        await asyncio.sleep(0)
    assert sum(len(data) for data in pipe.written) == 140_000 == endpoint.position
    endpoint.stop()


def client(**options):
    """A client of RESP, whose events are the values that the peer sends, and the peer's pipe."""
    ours, theirs = network.pair(**options)
    return Endpoint(Connection(CLIENT, Limits()), ours, Timeouts()), theirs


def patient():
    return math.inf


@virtual
async def test_the_loop_gives_each_event_and_reads_only_where_none_is_there():
    endpoint, peer = client()
    peer.write(b"+one\r\n+two\r\n+th")
    assert await endpoint.next_event(patient) == Reply(Simple("one"))
    read = endpoint.received
    assert await endpoint.next_event(lambda: pytest.fail("it waits for what it has")) == Reply(Simple("two"))
    assert endpoint.received == read
    asyncio.get_running_loop().call_later(5, peer.write, b"ree\r\n")
    assert await endpoint.next_event(patient) == Reply(Simple("three"))
    assert now() >= 5


@virtual
async def test_the_loop_asks_before_each_wait_how_long_it_may_take():
    """A reply in three pieces, one each 4 seconds, of which each may take 5."""
    endpoint, peer = client()
    for number, piece in enumerate([b"$6", b"\r\nabc", b"def\r\n"], 1):
        asyncio.get_running_loop().call_later(4 * number, peer.write, piece)
    asked = []
    assert await endpoint.next_event(lambda: asked.append(now()) or 5) == Reply(b"abcdef")
    assert [round(when) for when in asked] == [0, 4, 8]


@virtual
async def test_the_loop_goes_on_after_a_timeout_and_after_an_interruption():
    endpoint, peer = client()
    peer.write(b"+par")
    with pytest.raises(TimeoutError):
        await endpoint.next_event(lambda: 5)
    asyncio.get_running_loop().call_later(1, endpoint.interrupt)
    with pytest.raises(TimeoutError):
        await endpoint.next_event(patient)
    assert round(now()) == 6
    waiting = asyncio.create_task(endpoint.next_event(patient))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    peer.write(b"tial\r\n")
    assert await endpoint.next_event(patient) == Reply(Simple("partial"))


@virtual
async def test_the_loop_ends_where_the_core_wants_no_bytes():
    endpoint, peer = client()
    peer.write(b"+last\r\n")
    peer.close_write()
    assert await endpoint.next_event(patient) == Reply(Simple("last"))
    assert await endpoint.next_event(patient) is None
    assert endpoint.core.wants is Wants.CLOSED and endpoint.ended and not endpoint.lost


@virtual
async def test_the_loop_raises_the_peers_fault_behind_what_came_before_it():
    endpoint, peer = client()
    peer.write(b"+good\r\n?bad\r\n")
    assert await endpoint.next_event(patient) == Reply(Simple("good"))
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            await endpoint.next_event(patient)


@virtual
async def test_what_the_core_has_not_parsed_comes_first_after_a_hand_over():
    endpoint, peer = client()
    peer.write(b"+last\r\nnext protocol")
    await endpoint.next_event(patient)
    pipe = endpoint.hand_over()
    assert await pipe.read() == b"next protocol"
    peer.write(b"more")
    assert await pipe.read() == b"more"
    pipe.write(b"answer")
    assert await peer.read() == b"answer"
    assert (endpoint.received, endpoint.sent) == (24, 6)
