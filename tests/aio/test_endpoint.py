"""The endpoints of a loop write together: none for another, none of another loop, and no loop is kept for them."""

import asyncio
import gc
import weakref

import pytest
from harness import virtual

from minproto.aio.endpoint import Endpoint, Timeouts
from minproto.core import Core


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


async def test_what_one_turn_brings_is_written_in_one_piece_each():
    first, second = Paper(), Paper()
    queued(first, second)
    assert first.written == second.written == []
    await asyncio.sleep(0)
    assert first.written == second.written == [b"ab"]


@pytest.mark.parametrize("failure", [RuntimeError("closed"), asyncio.CancelledError()])
async def test_a_pipe_that_takes_nothing_keeps_no_other_from_its_bytes(logged, failure):
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


def test_each_loop_writes_what_is_its_own():
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
