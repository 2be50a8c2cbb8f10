"""Windows and turns of HTTP/2: credit is never lost, and nobody who could send waits longer than one round."""

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minproto.http2_flow import DEFAULT_URGENCY, DEFAULT_WINDOW, ReceiveWindow, Scheduler, SendWindow, parse_priority
from minproto.http2_frames import MAX_ID


def test_a_send_window_may_become_negative_but_not_too_large():
    """RFC 9113 §6.9.2, §6.9.1."""
    window = SendWindow(10)
    assert window.grow(-30)
    assert window.size == -20
    assert window.grow(MAX_ID + 20)
    assert not window.grow(1)


class Ledger(RuleBasedStateMachine):
    """Law 9: credit granted minus bytes received is the window, at both ends, whatever happens in between."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = ReceiveWindow(100, 100)
        self.theirs = SendWindow(100)
        self.held = 0

    @precondition(lambda self: self.theirs.size > 0)
    @rule(data=st.data())
    def receive(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, self.theirs.size))
        self.theirs.size -= count
        assert self.ours.receive(count), "what the peer may send is refused"
        self.held += count

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def consume(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, self.held))
        self.held -= count
        self.ours.consume(count)
        if increment := self.ours.due:
            self.ours.grant(increment)
            assert self.theirs.grow(increment)

    @rule(size=st.integers(0, 200))
    def resize(self, size: int) -> None:
        """The peer applies a new initial size, and then we see its acknowledgement: in this order, with nothing between."""
        assert self.theirs.grow(size - self.ours.size)
        self.ours.resize(size)

    @invariant()
    def both_know_the_same(self) -> None:
        assert self.ours.window == self.theirs.size

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.ours.window + self.held + self.ours.owed == self.ours.size

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Who holds nothing lets the peer send something, if it wants to hold anything at all."""
        if not self.held and self.ours.size > 0:
            assert self.ours.window > 0 or self.ours.due


TestLedger = Ledger.TestCase


def test_a_window_begins_with_what_the_peer_believes():
    """§6.9.2: 65,535, and the rest is credit that is owed: it is told with the first bytes that come."""
    window = ReceiveWindow(1 << 20)
    assert (window.window, window.owed) == (DEFAULT_WINDOW, (1 << 20) - DEFAULT_WINDOW)
    assert window.receive(1)
    window.consume(1)
    window.grant(window.due)
    assert (window.window, window.owed) == (1 << 20, 0)


def test_more_than_the_window_is_noticed():
    window = ReceiveWindow(10, 10)
    assert window.receive(10)
    assert not window.receive(1)


def test_no_bytes_need_no_credit():
    """§6.9.1: an empty DATA frame with END_STREAM may come also where a change of settings has made the window negative."""
    window = ReceiveWindow(1, 1)
    assert not window.receive(2)
    assert window.window == -1
    assert window.receive(0)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 65_535])
def test_credit_is_told_at_half_of_the_window(size):
    """Never for less than half, and always for half: any window of at least one byte lets all bytes through."""
    window = ReceiveWindow(size, size)
    for _ in range(size):
        assert window.receive(1)
        window.consume(1)
        assert window.due in (0, window.owed)
        assert (window.due > 0) is (window.owed * 2 >= size)


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (None, (3, True)), ("", (3, False)), ("u=0", (0, False)), ("u=7, i", (7, True)), ("i, u=1", (1, True)),
        ("i=?0", (3, False)), ("i=?1", (3, True)), ("u=8", (3, False)), ("u=-1", (3, False)), ("u=1.5", (3, False)),
        ("u=a", (3, False)), ("nu=1", (3, False)), ("u=1;x=2, i;y", (1, True)), ("u=1, u=5", (5, False)),
        ("u=1, u=9", (3, False)), ("u=1, u", (3, False)), ("i, i=5", (3, False)), ("u=2,i=?1,i=?0", (2, False)),
        ("u=2\t,\ti", (2, True)), ("urgency=1, incremental", (3, False)), ("i=1", (3, False)), ("i=yes", (3, False)),
        ("u=(1 2), i=(?1)", (3, False)), ('u="1"', (3, False)), ("u=01", (1, False)), ('new=(1 "a";b x), u=1', (1, False)),
        ("u=1000000", (3, False)), ('x=",u=0,"', (3, False)), (r'x="\",u=0,\""', (3, False)), ('u=1;x=",u=0,"', (1, False)),
    ],
)  # fmt: skip
def test_priority(value, meaning):
    """RFC 9218 §4: what is unknown, out of its range or of another type is ignored. Who says nothing takes turns."""
    assert parse_priority(value) == meaning


@pytest.mark.parametrize(
    "value",
    ["u=0, x=u=1", "u=0,", "u=0,, i", "u=0 i", "u=0, I", 'u=0, x="', "u=0, x=(1", "u=0, x=1.", "u=0, x=\u0663", "u=0, i=?2"],
)
def test_a_priority_that_is_no_dictionary_is_as_if_there_were_none(value):
    """RFC 9218 §4, which refers to RFC 8941 §4.2: also the members before the fault are void."""
    assert parse_priority(value) == parse_priority(None)


@pytest.mark.parametrize("piece", ["a", "a,", "a;", "a=1;", "; a", "u=(1 ", "u=((", 'x="\\', "\t", "a=:b:,"])
def test_a_priority_as_long_as_a_head_takes_no_time(piece):
    """Nothing in the grammar can be read in two ways, so a wrong end makes the parser try nothing again."""
    began = perf_counter()
    parse_priority((piece * 65_536)[:65_536] + "\0")
    parse_priority("u=(" + (piece * 65_536)[:65_536])
    assert perf_counter() - began < 2


@pytest.mark.parametrize(
    ("value", "meaning"), [("i", (3, True)), ("u=1", (1, False)), ("", (3, False)), ("u=9, i", (3, True)), (None, (3, True))]
)
def test_a_parameter_that_is_missing_has_its_default(value, meaning):
    """RFC 9218 §4. Without the field a request counts as incremental, on purpose."""
    assert parse_priority(value) == meaning


@given(st.text(max_size=30))
def test_any_priority_has_a_meaning(value):
    urgency, _ = parse_priority(value)
    assert 0 <= urgency <= 7


streams = st.dictionaries(st.integers(1, 40).map(lambda n: 2 * n - 1), st.tuples(st.integers(0, 7), st.booleans()), min_size=1)


@given(streams)
def test_urgency_comes_first(kinds):
    scheduler = Scheduler()
    for stream, kind in kinds.items():
        scheduler.add(stream, *kind)
    order = []
    while (stream := scheduler.next()) is not None:
        order.append(kinds[stream][0])
        scheduler.remove(stream)
    assert order == sorted(order)
    assert len(order) == len(kinds)


@given(st.dictionaries(st.integers(1, 40), st.booleans(), min_size=1))
def test_none_waits_longer_than_one_round(kinds):
    """Law 11: of one urgency, each incremental stream has its turn in each round; of the others, one."""
    scheduler = Scheduler()
    for stream, incremental in kinds.items():
        scheduler.add(stream, DEFAULT_URGENCY, incremental)
    alone = sorted(stream for stream, incremental in kinds.items() if not incremental)
    in_turn = {stream for stream, incremental in kinds.items() if incremental}
    places = len(in_turn) + bool(alone)
    for _ in range(3):
        turns = [scheduler.next() for _ in range(places)]
        assert sorted(turns) == sorted([*in_turn, *alone[:1]])


@given(st.sets(st.integers(1, 60), min_size=1))
def test_what_is_not_incremental_goes_by_ascending_id(ids):
    scheduler = Scheduler()
    for stream in ids:
        scheduler.add(stream, 3, False)
    order = []
    while (stream := scheduler.next()) is not None:
        assert scheduler.next() == stream, "it is not finished before another begins"
        order.append(stream)
        scheduler.remove(stream)
    assert order == sorted(ids)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 7), st.booleans())))
def test_who_comes_and_goes_leaves_nothing_behind(steps):
    scheduler = Scheduler()
    for stream, urgency, incremental in steps:
        if stream in scheduler:
            scheduler.remove(stream)
            assert stream not in scheduler
        else:
            scheduler.add(stream, urgency, incremental)
    for stream in range(1, 10):
        if stream in scheduler:
            scheduler.remove(stream)
    assert scheduler.next() is None
    assert len(scheduler) == 0
