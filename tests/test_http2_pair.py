"""Two ends of HTTP/2 joined in memory: whatever they do, in whatever pieces it arrives, no credit and no byte is lost.

Each side's ledger is kept apart from the core: what arrived on each stream, in order, and what was consumed of it. After each
step law 9 holds on both levels: what one end may send is what the other has granted, less what it has received.
"""

from collections import defaultdict

import http2_wire
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from minproto import http1
from minproto import http2_frames as frames
from minproto.core import CLIENT, SERVER, Event, LocalProtocolError, Role
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import Connection, Consumed, Limits, Ping, Reset, Settings, SettingsAck, WindowUpdate
from minproto.http2_streams import TRANSITIONS, State, Step
from minproto.testing import laws

pytestmark = pytest.mark.usefixtures("plain_and_fast")


class End:
    """One end, what is on its way to it, and what it has seen."""

    def __init__(self, role: Role, limits: Limits) -> None:
        self.core: Connection = http2_wire.Connection(role, limits)
        self.arriving = bytearray()
        self.received: dict[int, bytes] = defaultdict(bytes)
        self.held: dict[int, int] = defaultdict(int)  # bytes that the app has not consumed
        self.ended: set[int] = set()
        self.events: list[Event] = []


class Pair:
    """Both ends, and the pipes between them."""

    def __init__(self, limits: Limits, server_limits: Limits | None = None) -> None:
        self.client, self.server = End(CLIENT, limits), End(SERVER, server_limits or limits)
        for end in (self.client, self.server):
            self.send(end, end.core.greeting())

    def peer(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def send(self, end: End, event: Event) -> None:
        self.peer(end).arriving += end.core.send(event)

    def deliver(self, end: End, count: int) -> None:
        """So many bytes arrive; what the protocol demands is answered."""
        piece = bytes(end.arriving[:count])
        del end.arriving[:count]
        end.core.receive_data(piece)
        for event in end.core.events():
            self._take(end, event)
            if (reply := end.core.reply(event)) is not None:
                self.send(end, reply)

    def _take(self, end: End, event: Event) -> None:
        end.events.append(event)
        if isinstance(event, Data):
            end.received[event.stream] += event.data
            end.held[event.stream] += len(event.data)
        elif isinstance(event, EndOfMessage):
            end.ended.add(event.stream)

    def consume(self, end: End, stream: int, count: int) -> None:
        end.held[stream] -= count
        self.send(end, Consumed(stream, count))

    def settle(self) -> None:
        """All that is on its way arrives."""
        while self.client.arriving or self.server.arriving:
            for end in (self.client, self.server):
                self.deliver(end, len(end.arriving))

    def check_credit(self) -> None:
        """Law 9. The peer may not know yet of what is on its way to it, so this is asked of settled ends."""
        for end in (self.client, self.server):
            peer = self.peer(end)
            assert peer.core._send_window.size == end.core._receive_window.window
            assert end.core._receive_window.window + end.core._receive_window.owed == end.core._receive_window.size
            for id_, stream in end.core._streams.open.items():
                if (other := peer.core._streams.open.get(id_)) is not None:
                    assert other.send_window.size == stream.receive_window.window
                window = stream.receive_window
                if stream.state is State.HALF_CLOSED_REMOTE:
                    continue  # nothing more will come, so nobody counts what is consumed
                assert window.window + window.owed + end.held[id_] == window.size


GET = Headers([("host", "a")])


class TwoEnds(RuleBasedStateMachine):
    """Open, send, end, reset, consume, change settings, in any order, with anything on its way."""

    @initialize(window=st.integers(1, 50), connection=st.integers(40, 70_000))
    def connect(self, window: int, connection: int) -> None:
        limits = Limits(stream_window=window, connection_window=connection, max_streams=5, max_resets=1 << 30)
        self.pair = Pair(limits)
        self.sent: dict[tuple[Role, int], bytes] = defaultdict(bytes)
        self.finished: set[tuple[Role, int]] = set()
        self.reset: set[int] = set()

    def ends(self) -> list[End]:
        return [self.pair.client, self.pair.server]

    @rule(which=st.integers(0, 1), count=st.integers(1, 200))
    def deliver(self, which: int, count: int) -> None:
        self.pair.deliver(self.ends()[which], count)

    @precondition(lambda self: self.pair.client.core.active < self.pair.client.core.max_active)
    @rule(urgent=st.booleans())
    def request(self, urgent: bool) -> None:
        core = self.pair.client.core
        headers = Headers([*GET, ("priority", "u=0")]) if urgent else GET
        self.pair.send(self.pair.client, RequestHead("POST", "/", headers, "2", core.next_stream))

    @rule()
    def respond(self) -> None:
        core = self.pair.server.core
        for id_, stream in list(core._streams.open.items()):
            if not stream.head_sent:
                self.pair.send(self.pair.server, ResponseHead(200, Headers(), "2", id_))

    @rule(which=st.integers(0, 1), count=st.integers(1, 60))
    def send_data(self, which: int, count: int) -> None:
        """Whoever's turn it is."""
        end = self.ends()[which]
        for id_, stream in end.core._streams.open.items():
            if stream.head_sent:
                end.core.offer(id_)
        turn = end.core.next_ready()
        if turn is None:
            return
        id_, room = turn
        assert 0 < room <= end.core.sendable(id_)
        at = len(self.sent[end.core.role, id_])  # each byte tells its place
        data = bytes(n % 251 for n in range(at, at + min(room, count)))
        self.sent[end.core.role, id_] += data
        self.pair.send(end, Data(data, id_))

    @rule(which=st.integers(0, 1), pick=st.integers(0, 4), trailers=st.booleans())
    def finish(self, which: int, pick: int, trailers: bool) -> None:
        end = self.ends()[which]
        able = [
            id_ for id_, stream in end.core._streams.open.items()
            if stream.head_sent and (stream.state, Step.SEND_END) in TRANSITIONS
        ]  # fmt: skip
        if able:
            id_ = able[pick % len(able)]
            self.finished.add((end.core.role, id_))
            self.pair.send(end, EndOfMessage(Headers([("x-t", "1")]) if trailers else Headers(), id_))

    @rule(which=st.integers(0, 1), pick=st.integers(0, 4))
    def give_up(self, which: int, pick: int) -> None:
        end = self.ends()[which]
        if streams := list(end.core._streams.open):
            id_ = streams[pick % len(streams)]
            self.reset.add(id_)
            self.pair.send(end, Reset(id_))

    @rule(which=st.integers(0, 1), pick=st.integers(0, 9), count=st.integers(1, 60))
    def consume(self, which: int, pick: int, count: int) -> None:
        end = self.ends()[which]
        holding = [id_ for id_, held in end.held.items() if held]
        if holding:
            id_ = holding[pick % len(holding)]
            self.pair.consume(end, id_, min(count, end.held[id_]))

    @rule(which=st.integers(0, 1), window=st.integers(0, 80))
    def change_settings(self, which: int, window: int) -> None:
        self.pair.send(self.ends()[which], Settings([(frames.INITIAL_WINDOW_SIZE, window)]))

    @invariant()
    def bytes_arrive_in_order(self) -> None:
        """Law 8: what one stream received is a beginning of what was sent on it."""
        if hasattr(self, "pair"):
            for end in self.ends():
                role = self.pair.peer(end).core.role
                for id_, received in end.received.items():
                    assert self.sent[role, id_].startswith(received)

    @rule()
    def settle(self) -> None:
        """Laws 8 and 9, when nothing is on its way."""
        self.pair.settle()
        self.pair.check_credit()
        for role, id_ in self.finished:
            end = self.pair.server if role is CLIENT else self.pair.client
            if id_ not in self.reset:
                assert end.received[id_] == self.sent[role, id_]
                assert id_ in end.ended


def test_two_ends():
    run_state_machine_as_test(TwoEnds, settings=settings(max_examples=60, stateful_step_count=40))


def test_a_stream_ends_also_where_a_change_of_settings_has_made_its_window_negative():
    """§6.9.1: the empty frame that ends it needs no credit."""
    pair = Pair(Limits(stream_window=1))
    pair.send(pair.client, RequestHead("POST", "/", GET, "2", 1))
    pair.send(pair.client, Data(b"ab", 1))  # before the client has heard of the window of 1
    pair.settle()
    pair.send(pair.client, EndOfMessage(Headers(), 1))
    pair.settle()
    assert pair.server.received[1] == b"ab"
    assert 1 in pair.server.ended


@given(st.integers(1, 30), st.integers(1, 70_000), st.binary(min_size=1, max_size=2_000), st.data())
@settings(max_examples=30)
def test_any_window_lets_everything_through(window, connection, content, data):
    """Law 11: both ends send at once, and any window of at least one byte is enough for both to finish."""
    pair = Pair(Limits(stream_window=window, connection_window=connection, max_idle_frames=100_000))
    pair.settle()
    pair.send(pair.client, RequestHead("POST", "/", GET, "2", 1))
    pair.settle()
    pair.send(pair.server, ResponseHead(200, Headers(), "2", 1))
    left = {CLIENT: content, SERVER: content[::-1]}
    for end in (pair.client, pair.server):
        end.core.offer(1)
    for _ in range(10 * len(content)):
        for end in (pair.client, pair.server):
            role = end.core.role
            if left[role] and (turn := end.core.next_ready()) is not None:
                pair.send(end, Data(left[role][: turn[1]], 1))
                left[role] = left[role][turn[1] :]
        pair.settle()
        for end in (pair.client, pair.server):
            if end.held[1]:
                pair.consume(end, 1, data.draw(st.integers(1, end.held[1])))
        pair.settle()
        if not any(left.values()):
            break
    assert pair.server.received[1] == content
    assert pair.client.received[1] == content[::-1]


EXCHANGE = [
    RequestHead("POST", "/upload?x=1", Headers([("host", "example.org"), ("x-y", "\xe9"), ("cookie", "a=b")]), "2", 1),
    Data(b"some content", 1),
    EndOfMessage(Headers([("x-checksum", "1")]), 1),
]
ANSWER = [
    ResponseHead(100, Headers(), "2", 1),
    ResponseHead(200, Headers([("content-type", "text/plain")]), "2", 1),
    Data(b"content " * 5_000, 1),
    EndOfMessage(Headers([("x-trailer", "é".encode().decode("latin-1"))]), 1),
]


def messages(end: End) -> list[Event]:
    kinds = (RequestHead, ResponseHead, Data, EndOfMessage)
    return laws.join_data([event for event in end.events if isinstance(event, kinds)])


def test_round_trip():
    """Law 1: what one end sends, the other receives, equal, byte by byte."""
    pair = Pair(Limits())
    pair.settle()
    for end, events in ((pair.client, EXCHANGE), (pair.server, ANSWER)):
        for event in events:
            pair.send(end, event)
            while pair.client.arriving or pair.server.arriving:
                pair.deliver(pair.client, 1)
                pair.deliver(pair.server, 1)
        assert messages(pair.peer(end)) == events
    assert pair.client.core.active == pair.server.core.active == 0


@pytest.mark.parametrize(
    ("method", "fields", "status", "answered"),
    [
        ("GET", [], 204, []), ("HEAD", [], 200, [("content-length", "5")]), ("GET", [], 304, [("content-length", "5")]),
        ("GET", [], 200, [("content-length", "0")]), ("POST", [("content-length", "0")], 205, [("content-length", "0")]),
    ],
)  # fmt: skip
def test_a_message_without_content_ends_with_its_head(method, fields, status, answered):
    """One frame each, and EndOfMessage has no bytes."""
    pair = Pair(Limits())
    pair.settle()
    for end, head in (
        (pair.client, RequestHead(method, "/", Headers([*GET, *fields]), "2", 1)),
        (pair.server, ResponseHead(status, Headers(answered), "2", 1)),
    ):
        pair.send(end, head)
        assert pair.peer(end).arriving[4] & frames.END_STREAM
        assert end.core.send(EndOfMessage(stream=1)) == b""
        with pytest.raises(LocalProtocolError):
            end.core.send(EndOfMessage(stream=1))
        pair.settle()
        assert messages(pair.peer(end)) == [head, EndOfMessage(stream=1)]


def exchange(length: int | None) -> Pair:
    """A client that is about to send content, of a declared length or not."""
    pair = Pair(Limits(stream_window=40))
    pair.settle()
    fields = [] if length is None else [("content-length", str(length))]
    pair.send(pair.client, RequestHead("POST", "/", Headers([*GET, *fields]), "2", 1))
    pair.settle()
    return pair


def test_a_declared_length_is_kept_to():
    pair = exchange(10)
    pair.send(pair.client, Data(b"12345", 1))
    for wrong in (Data(b"123456", 1), EndOfMessage(stream=1)):
        with pytest.raises(LocalProtocolError):
            pair.client.core.send(wrong)
    pair.send(pair.client, Data(b"67890", 1))
    with pytest.raises(LocalProtocolError):
        pair.client.core.send(Data(b"1", 1))
    with pytest.raises(LocalProtocolError):
        pair.client.core.send(EndOfMessage(Headers([("x", "y")]), 1))
    pair.send(pair.client, EndOfMessage(stream=1))
    pair.settle()
    assert messages(pair.server)[1:] == [Data(b"1234567890", 1), EndOfMessage(stream=1)]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_the_credit_of_padding_comes_back(content):
    """It is used up when it arrives, on both levels; also where there is nothing but padding (§6.1, §6.9.1)."""
    pair = exchange(None)
    for _ in range(50):
        payload = bytes([9]) + content + bytes(9)
        pair.server.arriving += frames.encode_frame(frames.DATA, frames.PADDED, 1, payload)
        pair.client.core._send_window.size -= len(payload)
        pair.client.core._streams.open[1].send_window.size -= len(payload)
        pair.settle()
        pair.consume(pair.server, 1, len(content))
        pair.settle()
        pair.check_credit()
    assert pair.server.received[1] == content * 50


# ---- law 7 -------------------------------------------------------------------------------------------------------------


def server_in(state: State) -> Connection:
    """A server whose stream 1 is in a state; its response's head is sent, where it can be."""
    pair = Pair(Limits())
    pair.settle()
    if state is not State.IDLE:
        pair.send(pair.client, RequestHead("POST", "/", GET, "2", 1))
        pair.settle()
        pair.send(pair.server, ResponseHead(200, Headers(), "2", 1))
        if state in (State.HALF_CLOSED_REMOTE, State.CLOSED):
            pair.send(pair.client, EndOfMessage(stream=1))
        if state in (State.HALF_CLOSED_LOCAL, State.CLOSED):
            pair.send(pair.server, EndOfMessage(stream=1))
        pair.settle()
    return pair.server.core


SENDING: dict[type[Event], Step] = {Data: Step.SEND_DATA, EndOfMessage: Step.SEND_END, Reset: Step.SEND_RESET}


def test_off_the_table():
    """Law 7: in each state of a stream, what the table lacks raises LocalProtocolError and changes nothing."""
    situations = {state: lambda state=state: server_in(state) for state in State}
    events = [Data(b"x", 1), EndOfMessage(stream=1), Reset(1), RequestHead("GET", "/", GET, "2", 3), Ping(b"short"),
              WindowUpdate(1, 5), WindowUpdate(0, 0), SettingsAck(), ResponseHead(200, Headers(), "2", 1)]  # fmt: skip
    laws.off_the_table(
        situations, events, lambda state, event: type(event) in SENDING and (state, SENDING[type(event)]) in TRANSITIONS
    )


@pytest.mark.parametrize("field", [("x", 1), ("x", None), ("x", b"1"), (b"x", "1")], ids=repr)
def test_a_field_that_is_no_text_is_refused_before_anything_changes(field):
    """Law 7, for what a type checker would have found; in HTTP/1.1, too."""
    wrong = Headers([field])
    situations = {state: lambda state=state: server_in(state) for state in State} | {"asked": asked, "client": client}
    events = [RequestHead("GET", "/", Headers([*GET, field]), "2", 1), ResponseHead(200, wrong, "2", 1),
              ResponseHead(103, wrong, "2", 1), EndOfMessage(wrong, 1)]  # fmt: skip
    laws.off_the_table(situations, events, lambda state, event: False)
    with pytest.raises(LocalProtocolError, match=f"the field {field[0]!r} has"):
        asked().send(events[1])

    http1_situations = {"client": lambda: http1.Connection(CLIENT), "asked": http1_asked, "in chunks": http1_answered}
    http1_events = [RequestHead("GET", "/", Headers([*GET, field])), ResponseHead(200, wrong), EndOfMessage(wrong)]
    laws.off_the_table(http1_situations, http1_events, lambda state, event: False)


def client() -> Connection:
    core = http2_wire.Connection(CLIENT, Limits())
    core.send(core.greeting())
    return core


def asked() -> Connection:
    """A server that has not answered yet."""
    pair = Pair(Limits())
    pair.settle()
    pair.send(pair.client, RequestHead("GET", "/", GET, "2", 1))
    pair.settle()
    return pair.server.core


def http1_asked() -> http1.Connection:
    core = http1.Connection(SERVER)
    core.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    list(core.events())
    return core


def http1_answered() -> http1.Connection:
    core = http1_asked()
    core.send(ResponseHead(200, Headers([("transfer-encoding", "chunked")])))
    return core


def test_content_that_is_no_bytes_uses_up_no_credit():
    core = server_in(State.OPEN)
    before = laws.snapshot(core)
    with pytest.raises(TypeError):
        core.send(Data("text", 1))
    assert laws.snapshot(core) == before


def test_the_table_has_no_way_out_of_closed():
    assert not [step for state, step in TRANSITIONS if state is State.CLOSED]
    assert set(TRANSITIONS.values()) == {state for state in State if state is not State.IDLE}
