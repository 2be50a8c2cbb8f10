"""The pipes over asyncio's transports, plain and fast, on the loop's own socket pair: what they keep, when they pause, what
they raise."""

import asyncio
import socket
import sys

import pytest

from minproto import Response, Server
from minproto.aio.address import Address
from minproto.aio.pipe import HIGH_WATER, READ_SIZE, RESET_ON_CLOSE, Pipe, StreamPipe
from minproto.aio.pipe_fast import ProtocolPipe
from minproto.aio.sockets import connect_pipe, make_pipe


@pytest.fixture(params=[StreamPipe, ProtocolPipe], autouse=True)
def kind(request, monkeypatch):
    """The class of the pipes."""
    monkeypatch.setenv("MINPROTO_PLAIN", "1" if request.param is StreamPipe else "0")
    return request.param


async def joined():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return await make_pipe(ours), theirs


def protocol_of(pipe):
    """What asyncio calls."""
    return pipe._transport.get_protocol()


def test_the_pipe_is_the_one_that_was_asked_for(kind):
    async def make():
        pipe, peer = await joined()
        assert type(pipe) is kind
        pipe.abort()
        peer.close()

    asyncio.run(make())


async def test_a_read_that_is_cancelled_loses_nothing():
    """Not even what had arrived for it, in the same turn of the loop."""
    pipe, peer = await joined()
    with peer:
        reading = asyncio.create_task(pipe.read())
        await asyncio.sleep(0)
        protocol_of(pipe).data_received(b"one")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        protocol_of(pipe).data_received(b"two")
        assert await pipe.read() == b"onetwo"
        pipe.abort()


async def test_one_read_at_a_time():
    pipe, peer = await joined()
    with peer:
        reading = asyncio.create_task(pipe.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await pipe.read()
        protocol_of(pipe).data_received(b"x")
        assert await reading == b"x"
        pipe.abort()


async def test_what_is_not_read_pauses_the_transport():
    """And is given in pieces of at most READ_SIZE."""
    pipe, peer = await joined()
    with peer:
        protocol_of(pipe).data_received(bytes(READ_SIZE))
        assert pipe._transport.is_reading()
        protocol_of(pipe).data_received(b"x")
        assert not pipe._transport.is_reading()
        protocol_of(pipe).data_received(bytes(READ_SIZE))
        sizes = [len(await pipe.read()) for _ in range(3)]
        assert sizes == [READ_SIZE, READ_SIZE, 1]
        assert pipe._transport.is_reading()
        pipe.abort()


async def test_the_end_comes_after_what_arrived():
    pipe, peer = await joined()
    peer.send(b"last")
    peer.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    assert [await pipe.read() for _ in range(3)] == [b"last", b"", b""]
    pipe.write(b"answer")  # the other direction is open
    await pipe.close()
    assert peer.recv(10) == b"answer"
    peer.close()


async def test_what_arrived_before_a_reset_is_read_before_it():
    """A server that is in a hurry sends its answer and a reset."""
    pipe, peer = await joined()
    with peer:
        protocol_of(pipe).data_received(b"answer")
        protocol_of(pipe).connection_lost(ConnectionResetError("reset"))
        assert await pipe.read() == b"answer"
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await pipe.read()
        pipe.abort()


async def test_a_close_that_is_given_up_can_be_waited_for_again():
    """The first wait ends by its timeout, while the peer still reads what was written."""
    pipe, peer = await joined()
    with peer:
        while not pipe.unsent > HIGH_WATER:
            pipe.write(bytes(HIGH_WATER))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await pipe.close()
        closing = asyncio.create_task(pipe.close())
        while not closing.done():
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 1 << 20), 5)
            await asyncio.sleep(0)
        await closing


async def test_all_who_drain_wait_until_the_peer_reads():
    pipe, peer = await joined()
    with peer:
        while not pipe.unsent > HIGH_WATER:
            pipe.write(bytes(HIGH_WATER))
        assert pipe.congested
        first, second, third = (asyncio.create_task(pipe.drain()) for _ in range(3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()  # the others go on waiting
        await asyncio.sleep(0)
        assert first.cancelled() and not second.done()
        while not (second.done() and third.done()):
            await asyncio.get_running_loop().sock_recv(peer, 1 << 20)
        assert pipe.unsent <= HIGH_WATER and not pipe.congested
        pipe.abort()


async def test_whoever_waits_is_told_that_the_connection_is_lost():
    pipe, peer = await joined()
    with peer:
        while not pipe.unsent > HIGH_WATER:
            pipe.write(bytes(HIGH_WATER))
        waiting = [asyncio.create_task(wait) for wait in (pipe.read(), pipe.drain(), pipe.close())]
        await asyncio.sleep(0)
        protocol_of(pipe).connection_lost(ConnectionResetError("reset"))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [ConnectionResetError] * 3
        assert pipe.congested
        with pytest.raises(ConnectionResetError):
            await pipe.drain()
        pipe.abort()


async def test_what_is_written_after_the_loss_fills_no_log(caplog):
    """Many streams may have something to say before they hear that their connection is gone."""
    pipe, peer = await joined()
    peer.close()
    for _ in range(20):
        pipe.write(b"x")
        await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await pipe.drain()
    assert not caplog.records


async def test_a_pipe_can_be_closed_twice(kind):
    """asyncio's transport for TLS forgets everything at the second time."""

    class Once(asyncio.Transport):
        closed = 0

        def get_extra_info(self, name, default=None):
            return None

        def set_write_buffer_limits(self, high=None, low=None):
            """As asyncio calls it."""

        def close(self):
            self.closed += 1
            protocol.connection_lost(None)

        def is_closing(self):
            return self.closed > 0

    pipes = []
    protocol, transport = kind.protocol(pipes.append), Once()
    protocol.connection_made(transport)
    pipe = pipes.pop()
    await pipe.close()
    await pipe.close()
    assert transport.closed == 1


class Nowhere(asyncio.Transport):
    """A transport that tells when something is written, and loses it."""

    def __init__(self):
        super().__init__()
        self.written = asyncio.Event()
        self.lost = False

    def write(self, data):
        self.written.set()

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.lost

    def abort(self):
        pass


@pytest.mark.parametrize(("streams", "fields"), [(False, []), (True, []), (True, [("not a name", "")])])
async def test_an_idle_connection_keeps_nothing_of_what_was_read_or_answered(logged, streams, fields, kind):
    """What asyncio reads takes a page of memory, however short: ten thousand connections would keep forty megabytes."""
    requests, contents = [], [b"content of %d" % number for number in range(2)]

    async def app(request):
        requests.append(request)
        content = contents[int(request.path[1:])]
        return Response(stream(content) if streams else content, headers=fields)

    async def stream(content):
        yield content

    server, transport = Server(app), Nowhere()
    protocol = kind.protocol(server.attach)
    protocol.connection_made(transport)
    chunks = [b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(2)]
    ours = [sys.getrefcount(chunk) for chunk in chunks]
    for number in range(2):
        transport.written.clear()
        protocol.data_received(chunks[number])
        await transport.written.wait()
    assert [sys.getrefcount(chunk) for chunk in chunks] == ours
    assert [sys.getrefcount(content) for content in contents] == ours
    assert bool(logged) == bool(fields)  # what can't be sent
    logged.clear()
    assert [sys.getrefcount(request) for request in requests] == ours
    transport.lost = True
    protocol.connection_lost(None)
    await server.close()


async def heard(pipe: Pipe) -> tuple[list[bool], asyncio.Event]:
    """What the pipe tells its watcher; the event is set when the connection is lost."""
    news: list[bool] = []
    lost = asyncio.Event()

    def told(is_lost: bool) -> None:
        news.append(is_lost)
        if is_lost:
            lost.set()

    pipe.watch(told)
    return news, lost


async def test_a_watcher_hears_of_the_end_and_of_the_loss_while_nobody_reads():
    pipe, peer = await joined()
    news, lost = await heard(pipe)
    peer.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    assert news == [False]
    pipe.abort()
    await lost.wait()
    assert news == [False, True]
    late, lost = await heard(pipe)  # who asks after the event hears of it, too
    await lost.wait()
    assert late == [True]
    peer.close()


async def tcp_pair() -> tuple[Pipe, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe = await connect_pipe(Address(*listener.getsockname()))
        return pipe, listener.accept()[0]


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    peer.close()


@pytest.mark.parametrize("before", ["nothing", "its end", "more than is read"])
async def test_a_watcher_hears_of_a_reset(before):
    """Also where asyncio watches the socket no more: behind the peer's end, and while reading is paused."""
    pipe, peer = await tcp_pair()
    _, lost = await heard(pipe)
    if before == "its end":
        peer.shutdown(socket.SHUT_WR)
    elif before == "more than is read":
        peer.sendall(bytes(3 * READ_SIZE))
    await asyncio.sleep(0.01)
    reset(peer)
    async with asyncio.timeout(5):
        await lost.wait()
