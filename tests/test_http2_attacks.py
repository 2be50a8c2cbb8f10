"""What a peer could do without end: each has a budget, and whoever is over it is told to calm down (RFC 9113 §10.5).

And beside each attack the honest peer that looks like it: one that goes on for ever and is never told so.
"""

from collections.abc import Callable

import hpack
import http2_wire
import pytest
from http2_wire import GET, frame, number, ping, reset, settings, window_update

from minproto import http2_frames as f
from minproto.core import SERVER, RemoteProtocolError
from minproto.http import Data, EndOfMessage, Headers, ResponseHead
from minproto.http2 import Limits, StreamFault

pytestmark = pytest.mark.usefixtures("plain_and_fast")

LIMITS = Limits(max_streams=10, max_resets=20, max_idle_frames=50)
ROUNDS = 1_000


class Server:
    """A server that answers what it is asked, as its shell would."""

    def __init__(self, *, answers: bool = True) -> None:
        self.core = http2_wire.Connection(SERVER, LIMITS)
        self.core.send(self.core.greeting())
        self.answers = answers
        self.encoder = hpack.Encoder()
        self.answered = 0
        self.feed(f.PREFACE + settings())

    def feed(self, data: bytes) -> None:
        self.core.receive_data(data)
        for event in self.core.events():
            if (reply := self.core.reply(event)) is not None:
                self.core.send(reply)
            if self.answers and isinstance(event, EndOfMessage) and self.core.is_open(event.stream):
                self.core.send(ResponseHead(204, Headers(), "2", event.stream))
                self.core.send(EndOfMessage(stream=event.stream))
                self.answered += 1

    def head(self, stream: int, fields: list[tuple[str, str]] = GET, flags: int = f.END_HEADERS) -> bytes:
        return frame(f.HEADERS, flags, stream, self.encoder.encode(fields))


def ends_calmly(server: Server, step: Callable[[int], bytes]) -> int:
    """How many steps it takes until the server has enough; fewer than an attacker would take."""
    for number_ in range(ROUNDS):
        try:
            server.feed(step(number_))
        except RemoteProtocolError as error:
            assert error.code == f.ENHANCE_YOUR_CALM
            (goaway,) = server.core.farewell(error)
            assert goaway.code == f.ENHANCE_YOUR_CALM
            return number_
    raise AssertionError("it goes on for ever")


def rapid_reset(server: Server, n: int) -> bytes:
    """CVE-2023-44487: requests that are taken back before they are answered."""
    return server.head(2 * n + 1) + reset(2 * n + 1)


def made_to_reset(server: Server, n: int) -> bytes:
    """CVE-2025-8671: requests whose peer makes us take them back."""
    return server.head(2 * n + 1) + window_update(2 * n + 1, 0)


def malformed(server: Server, n: int) -> bytes:
    return server.head(2 * n + 1, [(":method", "GET")], f.END_HEADERS | f.END_STREAM)


def settings_flood(server: Server, n: int) -> bytes:
    """CVE-2019-9515."""
    return settings((f.INITIAL_WINDOW_SIZE, n))


def ping_flood(server: Server, n: int) -> bytes:
    """CVE-2019-9512."""
    return ping()


def empty_data(server: Server, n: int) -> bytes:
    """CVE-2019-9518: frames that bring nothing."""
    return (server.head(1) if n == 0 else b"") + frame(f.DATA, 0, 1)


def padding_alone(server: Server, n: int) -> bytes:
    return (server.head(1) if n == 0 else b"") + frame(f.DATA, f.PADDED, 1, bytes([1, 0]))


def priority_flood(server: Server, n: int) -> bytes:
    """CVE-2019-9513."""
    return frame(f.PRIORITY, 0, 1, number(3) + b"\x10")


def window_flood(server: Server, n: int) -> bytes:
    return window_update(0, 1)


def continuation_flood(server: Server, n: int) -> bytes:
    """CVE-2024-27316: a head that never ends, of frames that say nothing."""
    return frame(f.HEADERS, 0, 1) if n == 0 else frame(f.CONTINUATION, 0, 1)


def unknown_frames(server: Server, n: int) -> bytes:
    return frame(0x77, 0, n, b"whatever")


def resets_of_what_is_closed(server: Server, n: int) -> bytes:
    return (server.head(1, flags=f.END_HEADERS | f.END_STREAM) if n == 0 else b"") + reset(1)


ATTACKS = (
    rapid_reset, made_to_reset, malformed, settings_flood, ping_flood, empty_data, padding_alone, priority_flood, window_flood,
    continuation_flood, unknown_frames, resets_of_what_is_closed,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_has_an_end(attack):
    server = Server(answers=attack is not rapid_reset)
    assert ends_calmly(server, lambda n: attack(server, n)) <= 2 * max(LIMITS.max_idle_frames, LIMITS.max_resets)


ATTACKS_THAT_END = [attack for attack in ATTACKS if attack is not continuation_flood]  # which is a request without end


@pytest.mark.parametrize("attack", ATTACKS_THAT_END, ids=lambda attack: attack.__name__)
def test_progress_gives_patience_back(attack):
    """The same, a few times between two requests that are answered: as a peer does that has its reasons."""
    server = Server()
    for n in range(0, 3 * ROUNDS, 3):
        server.feed(attack(server, n))
        for stream in (2 * n + 3, 2 * n + 5):
            server.feed(server.head(stream, flags=f.END_HEADERS | f.END_STREAM))
    assert server.answered >= 2 * ROUNDS


@pytest.mark.parametrize(
    ("most", "step"),
    [(LIMITS.max_idle_frames, lambda server, n: ping()), (LIMITS.max_resets, rapid_reset)],
    ids=["idle frames", "resets"],
)
def test_a_budget_is_worth_what_its_limit_says(most, step):
    """So many are taken, and not one more; the SETTINGS of the greeting were one that brings nothing."""
    server = Server(answers=False)
    server.core.refill_budgets(1)
    assert ends_calmly(server, lambda n: step(server, n)) == most


def test_settings_of_a_frame_beyond_their_limit_are_refused_before_they_come():
    """§6.5: each has to be looked at, and the frame could have thousands."""
    most = LIMITS.max_settings
    server = Server()
    server.feed(settings(*[(0xBABA, n) for n in range(most)]))
    with pytest.raises(RemoteProtocolError, match="too many settings") as caught:
        server.feed(settings(*[(0xBABA, n) for n in range(most + 1)])[: f.HEADER_SIZE])
    assert caught.value.code == f.ENHANCE_YOUR_CALM


def test_time_gives_patience_back():
    """Pings of a quiet connection do not add up: the shell says how much time has gone by."""
    server = Server()
    for _ in range(ROUNDS):
        server.feed(ping())
        server.core.refill_budgets(1)


def test_a_download_brings_its_credit_in_small_change():
    """A reader that gives back credit for each frame, on both levels."""
    server = Server(answers=False)
    server.feed(server.head(1, flags=f.END_HEADERS | f.END_STREAM))
    server.core.send(ResponseHead(200, Headers(), "2", 1))
    for _ in range(ROUNDS):
        server.core.send(Data(b"x", 1))
        server.feed(window_update(0, 1) + window_update(1, 1))


@pytest.mark.parametrize(("size", "refund"), [(1, 2), (255, 2), (256, 3)])
def test_content_of_ours_buys_the_peer_its_credit(size, refund):
    """Two WINDOW_UPDATEs, for the stream and for the connection, and one more for each 256 bytes."""
    server = Server(answers=False)
    server.feed(server.head(1, flags=f.END_HEADERS | f.END_STREAM))
    server.core.send(ResponseHead(200, Headers(), "2", 1))
    server.core.refill_budgets(1)
    server.feed(ping() * LIMITS.max_idle_frames)
    server.core.send(Data(bytes(size), 1))
    assert ends_calmly(server, lambda n: ping()) == refund


def test_streams_above_the_maximum_are_refused_and_the_others_go_on():
    """§5.1.2; their heads are decoded all the same, or the next one would not be understood."""
    server = Server(answers=False)
    faults = []
    for n in range(LIMITS.max_streams + 5):
        server.core.receive_data(server.head(2 * n + 1, [*GET, ("x-number", str(n))]))
        faults += [event for event in server.core.events() if isinstance(event, StreamFault)]
    assert [fault.code for fault in faults] == [f.REFUSED_STREAM] * 5
    assert server.core.active == LIMITS.max_streams


@pytest.mark.parametrize("fields", [[("x", "y" * 70_000)], [("x-a", "b")] * 101], ids=["bytes", "fields"])
def test_a_head_that_is_too_large_costs_its_stream(fields):
    server = Server()
    block = server.encoder.encode([*GET, *fields])
    parts = [block[at : at + f.MAX_FRAME] for at in range(0, len(block), f.MAX_FRAME)]
    stream = [frame(f.HEADERS if n == 0 else f.CONTINUATION, 0, 1, part) for n, part in enumerate(parts)]
    for piece in stream:
        server.core.receive_data(piece)
        assert list(server.core.events()) == []
    server.core.receive_data(frame(f.CONTINUATION, f.END_HEADERS, 1))
    (fault,) = server.core.events()
    assert (fault.stream, fault.code) == (1, f.ENHANCE_YOUR_CALM)
    server.feed(server.head(3, flags=f.END_HEADERS | f.END_STREAM))
    assert server.answered == 1


def test_a_header_bomb_ends_the_connection():
    """A small block that decodes to much: one long field in the table, referred to again and again."""
    server = Server()
    bomb = server.encoder.encode([("x", "y" * 4_000)]) + b"\xbe" * 100
    with pytest.raises(RemoteProtocolError) as caught:
        server.feed(frame(f.HEADERS, f.END_HEADERS, 1, bomb))
    assert caught.value.code == f.ENHANCE_YOUR_CALM


def test_a_block_that_is_too_large_is_refused_before_it_comes():
    """A block of exactly the limit is taken: eight frames of 16,384 bytes."""
    server = Server()
    server.feed(frame(f.HEADERS, 0, 1, bytes(f.MAX_FRAME)))
    for _ in range(LIMITS.max_block // f.MAX_FRAME - 1):
        server.feed(frame(f.CONTINUATION, 0, 1, bytes(f.MAX_FRAME)))
    with pytest.raises(RemoteProtocolError, match="a field block too large") as caught:
        server.feed(frame(f.CONTINUATION, 0, 1, b"x")[: f.HEADER_SIZE])
    assert caught.value.code == f.ENHANCE_YOUR_CALM


def test_what_is_remembered_of_the_past_is_bounded():
    """Ten thousand requests, and the core holds no more than after the first thousand."""
    server = Server()

    def size() -> int:
        core = server.core
        return len(core._streams.closed._late) + len(core._streams.open) + len(core._ended_by_length) + len(core._faults)

    sizes = []
    for n in range(10_000):
        server.feed(server.head(2 * n + 1, flags=f.END_HEADERS | f.END_STREAM))
        if n in (1_000, 9_999):
            sizes.append(size())
    assert sizes[0] == sizes[1]


def test_a_table_that_is_set_larger_costs_us_nothing():
    """The peer's SETTINGS_HEADER_TABLE_SIZE is what we may use, not what we have to."""
    server = Server()
    server.feed(settings((f.HEADER_TABLE_SIZE, (1 << 32) - 1)))
    server.core._coder.encode([(":status", "204")])
    assert server.core._coder._encoder.header_table_size == 4_096
