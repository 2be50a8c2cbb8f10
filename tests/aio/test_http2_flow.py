"""Content of many streams at once: nobody waits for somebody else's slowness, and memory is bounded by windows."""

import asyncio
import itertools
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from h2_harness import StreamReset, peer_of, talking
from harness import RST, now, virtual
from hypothesis import given, settings
from hypothesis import strategies as st

from minproto import Answer, Request, Response
from minproto.aio.multiplex import MAX_UNREAD_REPLIES
from minproto.aio.pipe import HIGH_WATER
from minproto.http2 import Consumed, Limits, Ping, WindowUpdate
from minproto.http2_frames import ENHANCE_YOUR_CALM, INITIAL_WINDOW_SIZE

MEGABYTE = 1_000_000


class App:
    """Counts what passes through it."""

    def __init__(self) -> None:
        self.made = 0
        self.read = 0
        self.open = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        match request.path:
            case "/endless":
                return Response(self._endless())
            case "/bytes":
                return Response(b"x" * int(request.query["count"]))
            case "/echo":
                return Response(request.body)
            case "/stalls":
                await self.open.wait()
        async for piece in request.body:
            self.read += len(piece)
        return Response.text(str(self.read))

    async def _endless(self) -> Any:
        while True:
            self.made += 1000
            yield b"x" * 1000


@virtual
async def test_a_stalled_upload_stops_no_other() -> None:
    """Its own window is full, and nobody else's."""
    app = App()
    async with talking(app) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        stalled = [peer.open("POST", "/stalls") for _ in range(20)]
        uploads = [asyncio.create_task(peer.upload(stream, b"x" * MEGABYTE)) for stream in stalled]
        await asyncio.sleep(1)
        for _ in range(3):
            echo = peer.open("POST", "/echo")
            await peer.upload(echo, b"y" * MEGABYTE)
            assert (await peer.answer(echo)).body == b"y" * MEGABYTE
        assert app.read == 0
        app.open.set()
        await asyncio.gather(*uploads)
        for stream in stalled:
            await peer.answer(stream)
        assert app.read == 20 * MEGABYTE


@virtual
async def test_a_stalled_download_stops_no_other() -> None:
    """A client that gives one stream no credit; what is made for it stops soon."""
    app = App()
    async with talking(app, Limits(stream_window=50_000), peer={"hold": True}) as (_, peer):
        stalled = peer.ask("GET", "/endless")
        await asyncio.sleep(1)
        assert len(peer.answers[stalled].body) == 50_000
        assert app.made < 50_000 + 2 * HIGH_WATER
        peer.hold = False
        assert len((await peer.get("/bytes?count=1000000")).body) == MEGABYTE
        assert len(peer.answers[stalled].body) == 50_000


@virtual
async def test_the_answer_to_a_ping_does_not_wait_for_content() -> None:
    """RFC 9113 §6.7: only what is in the transport already comes first; that is little, however much there is to send."""
    wide = Limits(stream_window=1 << 24, connection_window=1 << 24)
    async with talking(App(), wide, peer={"net": {"capacity": 1000}}) as (_, peer):
        await peer.get("/hello")
        peer.stall()
        stream = peer.ask("GET", "/bytes?count=5000000")
        await asyncio.sleep(1)
        peer.send(Ping(b"how long"))
        await asyncio.sleep(1)
        peer.read_on()
        await peer.until(lambda: Ping(b"how long", ack=True) in peer.events)
        assert len(peer.answers[stream].body) < 3 * HIGH_WATER
        assert len((await peer.answer(stream)).body) == 5_000_000


@virtual
async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    """On a stream without credit: a reset. On a connection that is not read at all: its end."""
    app = App()
    async with talking(app, Limits(stream_window=50_000), peer={"hold": True}) as (server, peer):
        with pytest.raises(StreamReset) as reset:
            await peer.get("/endless")
        assert (reset.value.code, now()) == (ENHANCE_YOUR_CALM, 30)
        async with peer_of(server, net={"capacity": 1000}) as deaf:
            await deaf.get("/hello")
            deaf.stall()
            deaf.ask("GET", "/endless")
            began, made = now(), app.made
            await asyncio.sleep(29)
            assert server.ends[-1].unsent <= HIGH_WATER + 20_000
            assert app.made - made < 4 * HIGH_WATER
            assert server.metrics.in_flight == 1
            await asyncio.sleep(2)
            assert server.metrics.in_flight == 0
            deaf.read_on()
            assert (await deaf.ends(), now() - began) == (RST, 31)


@virtual
async def test_a_trickle_of_credit_is_not_reading() -> None:
    """A byte now and then does not keep a response alive; some 1.6 KB/s for all streams together does."""
    app = App()
    async with talking(app, Limits(stream_window=10_000), peer={"hold": True}) as (_, peer):
        began, stream = now(), peer.ask("GET", "/endless")
        await asyncio.sleep(0.1)
        while peer.answers[stream].reset is None:
            peer.grant(stream, 1)
            await asyncio.sleep(1)
        assert 30 <= now() - began < 62
        stream = peer.ask("GET", "/endless")
        for _ in range(120):
            peer.grant(stream, 2_000)
            await asyncio.sleep(1)
        assert peer.answers[stream].reset is None
        peer.reset(stream)


@virtual
async def test_what_is_less_urgent_is_not_given_up_while_others_have_their_turn() -> None:
    app = App()
    wide = Limits(stream_window=1 << 24, connection_window=1 << 24)
    async with talking(app, wide, peer={"net": {"capacity": 5_000, "delays": itertools.repeat(0.5)}}) as (_, peer):
        peer.send(WindowUpdate(0, (1 << 24) - 65_535))
        urgent = peer.ask("GET", "/bytes?count=1000000", ("priority", "u=0"))
        later = peer.ask("GET", "/bytes?count=100000", ("priority", "u=7"))
        answer = await peer.answer(later)
        assert len(answer.body) == 100_000
        assert peer.answers[urgent].ended
        assert answer.at > 60


@virtual
async def test_a_large_answer_into_a_large_window() -> None:
    """It goes out in turns, so others come between, and it is no flood that a peer would be ended for."""
    app = App()
    async with talking(app, Limits(stream_window=1 << 30, connection_window=1 << 30)) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        peer.send(WindowUpdate(0, (1 << 30) - 65_535))
        large = peer.ask("GET", "/bytes?count=2000000")
        await asyncio.sleep(0.001)
        for number in range(10):
            peer.send(Ping(b"%8d" % number))
            hello = await peer.get("/hello")
            assert hello.status == 200
        assert len((await peer.answer(large)).body) == 2_000_000
        assert max(peer.answers[large].sizes) <= 16_384


@virtual
async def test_a_hundred_uploads_take_bounded_memory() -> None:
    """100 MB under way for handlers that do not read yet: no more than 100 windows of it is held."""
    app = App()
    async with talking(app, peer={"net": {"capacity": 1 << 17}}) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        streams = [peer.open("POST", "/stalls") for _ in range(100)]
        data = bytes(MEGABYTE)
        tracemalloc.start()
        try:
            uploads = [asyncio.create_task(peer.upload(stream, data)) for stream in streams]
            await asyncio.sleep(1)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert 100 * 65_535 < held < 100 * 131_072 + 8 * MEGABYTE
        app.open.set()
        await asyncio.gather(*uploads)
        for stream in streams:
            assert (await peer.answer(stream)).status == 200
        assert app.read == 100 * MEGABYTE


@virtual
async def test_a_window_that_is_filled_byte_by_byte_is_no_larger() -> None:
    app = App()
    async with talking(app) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        stream = peer.open("POST", "/stalls")
        frame = b"\0\0\1\0\0" + stream.to_bytes(4, "big") + b"x"
        tracemalloc.start()
        try:
            for _ in range(20):
                peer.pipe.write(frame * 1000)
                await peer.pipe.drain()
            await asyncio.sleep(1)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 300_000
        app.open.set()
        peer.raw(0, 1, stream)
        assert (await peer.answer(stream)).body == b"20000"


@virtual
async def test_padding_alone_uses_up_no_window() -> None:
    app = App()
    async with talking(app) as (_, peer):
        stream = peer.open("POST", "/read")
        for _ in range(3_000):
            peer.raw(0, 8, stream, b"\xff" + bytes(255))
            peer.raw(0, 0, stream, b"x")
            peer.core._send_window.size = 1 << 20  # what these took is none of its business
            await peer.pipe.drain()
        peer.raw(0, 1, stream)
        assert (await peer.answer(stream)).body == b"3000"


@virtual
async def test_a_window_that_is_zero_at_first() -> None:
    """The head comes at once, the content with the credit."""
    limits = Limits()
    object.__setattr__(limits, "stream_window", 0)  # which users of ours can't set: a server with such limits hangs
    async with talking(App(), limits, peer={"hold": True}) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        stream = peer.ask("GET", "/bytes?count=10")
        await peer.until(lambda: peer.answers[stream].status)
        await asyncio.sleep(1)
        assert peer.answers[stream].body == b""
        peer.grant(stream, 4)
        await peer.until(lambda: peer.answers[stream].body == b"xxxx")
        peer.core._streams.initial_receive_window = 100
        peer.raw(4, 0, 0, INITIAL_WINDOW_SIZE.to_bytes(2, "big") + (6).to_bytes(4, "big"))
        peer.core._streams.open[stream].receive_window.window += 6
        assert (await peer.answer(stream)).body == b"x" * 10


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70_000),
    st.lists(st.integers(0, 100_000), min_size=1, max_size=6),
    st.integers(1, 70_000),
    st.lists(st.integers(1, 3_000), max_size=50),
)
def test_any_window_finishes(window: int, sizes: list[int], server_window: int, cuts: list[int]) -> None:
    """Law 11, and 8: whatever the windows and the cuts, each stream's bytes arrive, in order."""
    sizes = [min(size, window * 2_000, server_window * 2_000) for size in sizes]

    @virtual
    async def run() -> None:
        limits = Limits(stream_window=server_window)
        network = {"net": {"cuts": iter(cuts), "capacity": 10_000}}
        async with talking(App(), Limits(stream_window=window), peer=network, http2_limits=limits) as (_, peer):
            contents = {peer.open("POST", "/echo"): bytes(i % 251 for i in range(size)) for size in sizes}
            uploads = [peer.upload(stream, content) for stream, content in contents.items()]
            await asyncio.gather(*uploads)
            for stream, content in contents.items():
                assert (await peer.answer(stream)).body == content

    run()


@virtual
async def test_each_byte_that_the_app_takes_gives_its_credit_back() -> None:
    """A window of one byte: a single byte of credit that is lost stops the stream for ever."""
    async with talking(App(), http2_limits=Limits(stream_window=1)) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        stream = peer.open("POST", "/echo")
        await peer.upload(stream, b"0123456789")
        assert (await peer.answer(stream)).body == b"0123456789"


@virtual
async def test_both_directions_full() -> None:
    """Neither end reads for a while what the other sends: that ends when one reads again."""
    network = {"net": {"capacity": 3_000, "high_water": 3_000}, "hold": True}
    async with talking(App(), Limits(stream_window=30_000), peer=network) as (_, peer):
        streams = [peer.open("POST", "/echo") for _ in range(8)]
        uploads = [asyncio.create_task(peer.upload(stream, bytes(200_000))) for stream in streams]
        await asyncio.sleep(5)
        peer.stall()
        await asyncio.sleep(5)
        peer.read_on()
        peer.hold = False
        for stream in streams:
            held = len(peer.answers[stream].body)
            peer.send(Consumed(stream, held))
        await asyncio.gather(*uploads)
        for stream in streams:
            assert len((await peer.answer(stream)).body) == 200_000


@virtual
async def test_answers_that_are_not_read_are_not_collected_for_ever() -> None:
    """A peer that asks for acknowledgements and reads none of them is ended when it is owed too much."""
    patient = Limits(max_idle_frames=1 << 30)
    async with talking(App(), peer={"net": {"capacity": 1000}}, http2_limits=patient) as (server, peer):
        peer.stall()
        pings = b"".join(peer.core.send(Ping(b"12345678")) for _ in range(100))
        for _ in range(400):
            peer.pipe.write(pings)
            await asyncio.sleep(0.001)
        assert server.ends[-1].unsent < MAX_UNREAD_REPLIES + HIGH_WATER + 20_000
        peer.read_on()
        await peer.ends()
        assert not peer.goaways or peer.goaways[-1].code == ENHANCE_YOUR_CALM


@virtual
async def test_one_chunk_of_many_frames_does_not_keep_the_loop() -> None:
    """64 KiB can hold thousands of frames. Other tasks get turns while the reader takes them in."""
    async with talking(App()) as (server, peer):
        await peer.until(lambda: peer.core.peer_settings)
        connection: Any = next(iter(server.server._connections.values()))
        peer.pipe.write(b"".join(peer.core.send(Ping(bytes(8))) for _ in range(900)))
        seen = set()
        for _ in range(100):
            seen.add(connection._connection.endpoint.position)
            await asyncio.sleep(0)
        assert len(seen) >= 4


@virtual
async def test_a_generator_that_never_waits_does_not_keep_the_loop() -> None:
    """Its pieces fit into the window and the transport, so nothing else makes it wait."""

    async def app(request: Request) -> Response:
        async def content() -> AsyncIterator[bytes]:
            for _ in range(320):
                yield b"x"

        return Response(content())

    async with talking(app) as (server, peer):
        await peer.until(lambda: peer.core.peer_settings)
        connection: Any = next(iter(server.server._connections.values()))
        stream = peer.ask("GET", "/")
        seen = set()
        for _ in range(100):
            seen.add(connection._connection.endpoint.position)
            await asyncio.sleep(0)
        assert len(seen) >= 10
        assert (await peer.answer(stream)).body == b"x" * 320


@virtual
async def test_priority() -> None:
    """The urgent one overtakes what has only begun, and those that are not incremental go one after the other."""
    async with talking(App(), peer={"net": {"capacity": 5_000, "high_water": 5_000}}) as (_, peer):
        first = peer.ask("GET", "/bytes?count=300000", ("priority", "u=5"))
        await peer.until(lambda: peer.answers[first].body)
        second = peer.ask("GET", "/bytes?count=300000", ("priority", "u=5"))
        urgent = peer.ask("GET", "/bytes?count=300000", ("priority", "u=1"))
        await peer.answer(urgent)
        assert not peer.answers[first].ended and not peer.answers[second].body
        await peer.answer(first)
        assert len(peer.answers[second].body) < 50_000
        turns = [peer.ask("GET", "/bytes?count=300000", ("priority", "u=1, i")) for _ in range(3)]
        await peer.answer(turns[0])
        assert all(len(peer.answers[stream].body) > 200_000 for stream in turns)
