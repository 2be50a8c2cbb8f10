"""Refused handshakes, broken frames, and peers that mean harm. After each the server answers /hello (``serving`` asks)."""

import asyncio
import functools
import struct
import tracemalloc
import zlib

import pytest
from harness import FIN as END
from harness import HELLO, RST, get, now, serving, virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from ws_harness import KEY, MASK, app_with, echo, frame, frames_in, opening, peer_of, shake, talking, with_socket

from minproto import Compression, RemoteProtocolError, Timeouts, WebSocket, WebSocketLimits, upgrade
from minproto.core import SERVER
from minproto.testing import clock, cuts, network, strategies
from minproto.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASKED,
    PING,
    PONG,
    RSV1,
    TEXT,
    Fragment,
    Message,
    Ping,
    Pong,
    encode_frame,
)

MIB = 1 << 20
TIMEOUTS = Timeouts()


# ---- the handshake refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/ws"), 426),  # §4.2.1: no WebSocket client
        (opening(without="upgrade"), 426),
        (opening(without="connection"), 426),
        (opening("Upgrade: h2c", without="upgrade"), 426),
        (opening(without="sec-websocket-version"), 400),
        (opening("Sec-WebSocket-Version: 8", without="sec-websocket-version"), 426),  # §4.4
        (opening(without="sec-websocket-key"), 400),
        (opening(f"Sec-WebSocket-Key: {KEY}"), 400),  # §11.3.1: once
        (opening("Sec-WebSocket-Key: c2hvcnQ=", without="sec-websocket-key"), 400),  # 16 bytes
        (opening("Sec-WebSocket-Protocol: a, a"), 400),  # §4.1: unique
        (opening("Sec-WebSocket-Protocol: a b"), 400),
        (opening("Sec-WebSocket-Extensions: a; ="), 400),  # §9.1
        (opening().replace(b"GET", b"PUT", 1), 400),
        (opening().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
        (opening("Origin: http://b"), 403),  # §10.2
        (opening("Origin: null"), 403),
        (opening("Origin: null").replace(b"Host: a\r\n", b"Host:\r\n"), 403),  # whose host is no host, either
    ],
)
@virtual
async def test_a_handshake_that_is_refused_leaves_http_as_it_was(request_, status):
    """RFC 6455 §4.2.2, §4.4: 426 says what would do; the next request, or a better handshake, is served (RFC 9112 §9.3)."""
    async with serving(app_with(echo)) as server:
        client = server.client()
        answer = await client.ask(request_)
        assert (answer.status, answer.body != b"") == (status, True)
        offer = [answer.headers.get(name) for name in ("upgrade", "sec-websocket-version")]
        assert offer == (["websocket", "13"] if status == 426 else [None, None])
        if b"HTTP/1.0" in request_:
            return
        assert (await client.ask(HELLO)).body == b"Hello, World!"
        peer, _ = await shake(client)
        peer.send(Message("better"))
        assert await peer.data() == "better"


@pytest.mark.parametrize("origin", ["http://a", "https://A"])
@virtual
async def test_our_own_pages_may_connect(origin):
    """§10.2: the same origin by default."""
    async with serving(app_with(echo)) as server:
        await shake(server.client(), f"Origin: {origin}")


@virtual
async def test_the_app_decides_about_origins():
    """§4.2.2: 403 by its choice; without an Origin it is no browser, and the app is not asked."""
    asked = []

    def allow(request, origin):
        asked.append((request.path, origin))
        return origin == "https://friend.example"

    async with serving(app_with(echo, allow_origin=allow)) as server:
        assert (await server.client().ask(opening("Origin: http://a"))).status == 403
        await shake(server.client(), "Origin: https://friend.example")
        await shake(server.client())
        assert asked == [("/ws", "http://a"), ("/ws", "https://friend.example")]


@virtual
async def test_the_answer_to_a_handshake_has_what_section_4_demands():
    """§1.3 and §4.2.2: the accept key of the RFC's own example; nothing about what was not offered."""
    async with serving(app_with(echo)) as server:
        _, answer = await shake(server.client())
        assert [*answer.headers] == [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ]


# ---- frames that are wrong -------------------------------------------------------------------------------------------


def header(first, length, *, masked=True):
    """Of a frame whose payload may never come."""
    mask = MASKED if masked else 0
    if length < 126:
        data = bytes([first, mask | length])
    elif length < 65_536:
        data = struct.pack("!BBH", first, mask | 126, length)
    else:
        data = struct.pack("!BBQ", first, mask | 127, length)
    return data + (MASK if masked else b"")


WRONG = {
    "unmasked": (b"\x81\x05hello", 1002),  # §5.1
    "unmasked close": (b"\x88\x02\x03\xe8", 1002),
    "reserved bit 1": (frame(b"x", FIN | RSV1 | TEXT), 1002),  # §5.2
    "reserved bit 2": (b"\xa1", 1002),
    "reserved opcode": (b"\x83", 1002),
    "reserved control opcode": (b"\x8b", 1002),
    "fragmented ping": (b"\x09", 1002),  # §5.5
    "ping of 126 bytes": (header(FIN | PING, 126), 1002),
    "length not minimal": (struct.pack("!BBH", FIN | TEXT, MASKED | 126, 125) + MASK, 1002),  # §5.2
    "64 bits not minimal": (struct.pack("!BBQ", FIN | TEXT, MASKED | 127, 65_535) + MASK, 1002),
    "2**63": (struct.pack("!BBQ", FIN | BINARY, MASKED | 127, 1 << 63) + MASK, 1002),
    "2**63 - 1": (header(FIN | BINARY, (1 << 63) - 1), 1009),
    "one over the maximum": (header(FIN | BINARY, MIB + 1), 1009),
    "in fragments": (frame(bytes(MIB), BINARY) + header(CONTINUATION, 1), 1009),
    "continuation of nothing": (frame(b"x", FIN | CONTINUATION), 1002),  # §5.4
    "message in a message": (frame(b"x", TEXT) + frame(b"y"), 1002),
    "not UTF-8": (frame(b"\xff"), 1007),  # §8.1
    "a surrogate": (frame(b"\xed\xa0\x80"), 1007),
    "not UTF-8, of a frame that goes on": (header(FIN | TEXT, 1000) + bytes([0xFF ^ MASK[0]]), 1007),
    "cut inside a character": (frame(b"\xe2\x82"), 1007),
    "across fragments": (frame(b"\xe2", TEXT) + frame(b"a", CONTINUATION), 1007),
    "half a code": (frame(b"\x03", FIN | CLOSE), 1002),  # §5.5.1
    "code 1005": (frame(b"\x03\xed", FIN | CLOSE), 1002),  # §7.4.1
    "code 1006": (frame(b"\x03\xee", FIN | CLOSE), 1002),
    "reason not UTF-8": (frame(b"\x03\xe8\xff", FIN | CLOSE), 1007),
    "HTTP": (HELLO, 1002),
}


@pytest.mark.parametrize(("data", "code"), WRONG.values(), ids=WRONG)
@virtual
async def test_a_violation_is_answered_by_close_after_the_messages_before_it(data, code):
    """§7.1.7: the code says what was wrong, FIN follows at once, and nothing after the violation is read as a frame."""
    async with talking(echo) as (server, peer):
        peer.send(Message("good"), data, frame(b"after"))
        assert await peer.data() == "good"
        close = await peer.event()
        assert (close.code, close.reason != "") == (code, True)
        assert (await peer.end(), now()) == (END, 0)
        await peer.pipe.close()
        await asyncio.sleep(0.1)
        assert server.metrics.connections == 0


@virtual
async def test_the_app_is_told_the_code_of_the_violation():
    """§7.1.7: its iteration ends; ``close_code`` is what we told the peer."""
    async with with_socket() as (ws, peer):
        peer.send(Message("good"), b"\xff")
        assert [message async for message in ws] == ["good"]
        assert ws.close_code == 1002 and "reserved" in ws.close_reason
        assert (await peer.event()).code == 1002


@virtual
async def test_the_close_arrives_although_the_peer_is_still_sending():
    """Closing with bytes unread would reset the connection, and the reset destroy our Close."""
    async with talking(echo) as (_, peer), asyncio.TaskGroup() as tasks:
        tasks.create_task(pour(peer, b"\x83" + bytes(200_000), 5, pause=0.1))
        await asyncio.sleep(0.9)
        assert (await peer.event()).code == 1002
        assert await peer.end() == END


async def pour(peer, data, count, pause=0.0):
    """Write under backpressure, until the server has enough."""
    try:
        for _ in range(count):
            peer.send(data)
            await peer.pipe.drain()
            await asyncio.sleep(pause)
    except ConnectionResetError:
        pass


@given(cuts.chunks(st.one_of(cuts.mutated(strategies.frame_streams(masked=True)), st.binary(max_size=200))), st.booleans())
@virtual
async def test_garbage_gives_frames_and_an_end(data, compressed):
    """Law 3 through the shell: what we send is valid whatever came, and no byte sequence is an error of ours."""
    offer = Compression() if compressed else None
    async with talking(echo, offer=offer, limits=WebSocketLimits(max_message=1_000, max_fragments=4)) as (_, peer):
        for piece in data:
            peer.send(piece)
            await asyncio.sleep(0)
        peer.pipe.close_write()
        try:
            while await peer.event() is not None:
                pass
        except RemoteProtocolError as error:
            assert error.code == 1006
        assert await peer.end() == END


# ---- harm ------------------------------------------------------------------------------------------------------------


def bomb(size, wbits=-15):
    deflate = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture
def peak():
    """Bytes that were allocated at most since the test began, by a function."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@virtual
async def test_a_compression_bomb_is_stopped_at_the_limit(peak, opcode):
    """RFC 7692 §8: 64 KiB that would be 64 MiB; 1009 with the memory of one message."""
    data = bomb(64 * MIB)
    before = peak()
    async with talking(echo, offer=Compression(window_bits=15)) as (_, peer):
        peer.send(frame(data, FIN | RSV1 | opcode))
        assert (await peer.event()).code == 1009
        assert await peer.end() == END
    assert peak() - before < 5 * MIB


@virtual
async def test_a_bomb_in_fragments_is_stopped_too():
    """Each of them is small, and the sum is not."""
    data = bomb(4 * MIB)
    async with talking(echo, offer=Compression(window_bits=15)) as (_, peer):
        peer.send(encode_frame(RSV1 | BINARY, data[:100], MASK))
        for at in range(100, len(data), 100):
            peer.send(encode_frame(CONTINUATION, data[at : at + 100], MASK))
        assert (await peer.event()).code == 1009
        assert await peer.end() == END


@virtual
async def test_a_million_empty_fragments_are_too_many():
    """§5.4 sets no limit; ours is ``max_fragments``, and the app never hears of them."""
    async with talking(echo) as (_, peer), asyncio.TaskGroup() as tasks:
        peer.send(frame(b"", TEXT))
        tasks.create_task(pour(peer, frame(b"", CONTINUATION) * 10_000, 100))
        close = await peer.event()
        assert (close.code, close.reason) == (1009, "too many fragments")
        assert await peer.end() == END


@virtual
async def test_a_flood_of_pings_waits_for_its_pongs():
    """Each is answered, as fast as the peer reads; if it does not, it is read no further, then cut off."""
    async with talking(echo) as (server, peer), asyncio.TaskGroup() as tasks:
        flood = tasks.create_task(pour(peer, frame(bytes(125), FIN | PING) * 1_000, 20))
        await asyncio.sleep(5)
        assert not flood.done() and server.metrics.received < 6 * 65_536
        for _ in range(5_000):
            assert await peer.event() == Pong(bytes(125))
        await asyncio.sleep(TIMEOUTS.write + 1)
        assert (await peer.end(), server.metrics.connections) == (RST, 0)


@virtual
async def test_a_flood_of_pings_without_data_waits_for_its_pongs_too():
    """Their Pongs are headers alone, and fill memory all the same: after some 128 KiB of them it is read no further."""
    async with talking(echo, net={"capacity": 200}) as (server, peer), asyncio.TaskGroup() as tasks:
        flood = tasks.create_task(pour(peer, frame(b"", FIN | PING) * 10_000, 20))
        await asyncio.sleep(5)
        assert not flood.done() and server.metrics.received < 8 * 65_536
        await asyncio.sleep(TIMEOUTS.write)
        assert (await peer.end(), server.metrics.connections) == (RST, 0)


@pytest.mark.parametrize("first", [FIN | PING, FIN | PONG, CONTINUATION])
@virtual
async def test_a_flood_of_tiny_frames_leaves_others_their_turn(first):
    """Law 11. Each takes time, thousands come at once, and what has arrived is read without waiting: eight chunks here."""
    _, theirs = network.pair()
    chunks = iter([frame(b"", TEXT), *[frame(b"", first) * 1_000] * 8, frame(b"", FIN | CONTINUATION)])
    wait, turns = theirs.read, 0

    async def read():
        return next(chunks, b"") or await wait()

    theirs.read = read
    ws = WebSocket(theirs, SERVER)
    receiving = asyncio.create_task(ws.receive())
    while not receiving.done():
        await asyncio.sleep(0)
        turns += 1
    assert receiving.result() == "" and turns > 8
    ws.abort()
    await asyncio.sleep(0)


@virtual
async def test_a_reader_that_stops_is_cut_off_and_no_error_of_ours():
    """An echo that waits for a peer which only sends: nothing in the log, memory bounded."""
    async with talking(echo) as (server, peer), asyncio.TaskGroup() as tasks:
        flood = tasks.create_task(pour(peer, frame(bytes(30_000)), 1_000))
        await asyncio.sleep(TIMEOUTS.write - 1)
        assert server.metrics.received < 64 * 30_100 + 3 * 65_536
        assert not flood.done()
        await asyncio.sleep(2)
        assert (await peer.end(), server.metrics.connections) == (RST, 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x81", frame(b"hello")[:3], frame(b"hello")[:-1], frame(b"one", TEXT), frame(b"", FIN | PING)[:-1], frame(b"x")],
)
@pytest.mark.parametrize("leave", ["reset", "close", "half-close", "silence"])
@virtual
async def test_a_peer_may_go_at_any_time(data, leave):
    """Mid-frame, mid-message, mid-header; half-open peers are found by the keepalive. No error of ours, nothing is left."""
    async with talking(echo) as (server, peer):
        peer.send(data)
        await asyncio.sleep(0.5)
        match leave:
            case "reset":
                peer.pipe.abort()
            case "close":
                await peer.pipe.close()
            case "half-close":
                peer.pipe.close_write()
        await asyncio.sleep(1 if leave != "silence" else TIMEOUTS.ping + TIMEOUTS.pong + TIMEOUTS.linger)
        assert server.metrics.connections == 0


@virtual
async def test_a_byte_now_and_then_does_not_hold_memory():
    """A frame of 1 MiB that never comes costs what came of it."""
    async with talking(echo) as (server, peer):
        peer.send(header(FIN | BINARY, MIB))
        for _ in range(20):
            peer.send(b"x")
            await asyncio.sleep(15)
        assert server.metrics.connections == 1
        await peer.pipe.close()
        await asyncio.sleep(0.1)
        assert server.metrics.connections == 0


@pytest.mark.parametrize("after", [frame(b"", FIN | PING), frame(b"text"), frame(b"\x03\xe8", FIN | CLOSE), b"\xff" * 100_000])
@pytest.mark.parametrize("together", [True, False])
@virtual
async def test_our_close_arrives_although_something_follows_the_peers(after, together):
    """§5.5.1: nothing may follow a Close, and what does is not read as frames; nor must it make our end a reset."""
    close = frame(b"\x03\xe8", FIN | CLOSE)
    cuts = [len(opening()), len(close) + len(after) * together]
    async with talking(echo, net={"cuts": cuts, "capacity": 200_000}) as (_, peer):
        peer.send(close + after)
        assert await peer.end() == END
        assert frames_in(peer.raw) == [(FIN | CLOSE, b"\x03\xe8")]


# ---- law 11 ----------------------------------------------------------------------------------------------------------

STALLS = {  # what is sent, and how many bytes of what comes back are read
    "never reads its echoes": (frame(bytes(60_000)) * 10, 0),
    "reads and stops": (frame(bytes(60_000)) * 10, 50_000),
    "half a frame": (frame(b"hello")[:4], 0),
    "half a message": (frame(b"hello", TEXT), 0),
    "floods with pings": (frame(bytes(125), FIN | PING) * 5_000, 0),
    "said nothing": (b"", 0),
    "broken, and never reads": (frame(bytes(60_000)) * 5 + b"\xff", 0),
    "closes, and does not": (frame(b"\x03\xe8", FIN | CLOSE), 0),
}


async def trace_beside(stalls, capacity):
    """What a good peer gets, and when, while others stall."""
    async with serving(app_with(echo)) as server:
        for stall in stalls:
            data, reads = STALLS[stall]
            other = await peer_of(server, capacity=capacity)
            other.send(data)
            while reads > 0:
                reads -= len(await other.pipe.read())
        good, trace = await peer_of(server), []
        for message in ["text", bytes(100_000), "", b"x"] * 3:
            good.send(Message(message), Ping(b"?"))
            trace += [(now(), sorted([repr(await good.event()), repr(await good.event())]))]
            await asyncio.sleep(7)
        return trace


ALONE = functools.cache(lambda: clock.run(trace_beside([], 0)))


@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(STALLS)), min_size=1, max_size=5), st.sampled_from([200, 65_536]))
def test_a_stalled_peer_changes_nobody_elses_trace(stalls, capacity):
    """Law 11: what others get, and when, is the same as if it were not there."""
    assert clock.run(trace_beside(stalls, capacity)) == ALONE()


@pytest.mark.parametrize("capacity", [1, 2, 7])
@virtual
async def test_any_window_finishes(capacity):
    """Law 11: one byte at a time is enough, in both directions at once."""
    async with talking(echo, net={"capacity": capacity}) as (_, peer):
        messages = ["x" * 200, b"y" * 300, ""]
        peer.send(*[Message(message) for message in messages], Fragment("a"), Ping(b"?"), Fragment("b", last=True))
        received = [await peer.event() for _ in range(5)]
        assert [event.data for event in received if isinstance(event, Message)] == [*messages, "ab"]
        assert Pong(b"?") in received
        await peer.close()


@virtual
async def test_http_and_websockets_share_a_server():
    """Other paths of the app are as they were; a WebSocket counts as one request and one connection."""

    async def app(request):
        return upgrade(request, echo)

    async with serving(app) as server:
        peer = await peer_of(server)
        client = server.client()
        assert (await client.ask(HELLO)).status == 200
        assert (server.metrics.requests, server.metrics.connections) == ({101: 1, 200: 1}, 2)
        await peer.close()
        assert (await client.ask(HELLO)).status == 200
