"""Law 13 for the broker, which has no bytes: the fast one and the plain one, called alike, do the same."""

import sys
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import minproto.broker
import minproto.fast.broker
from minproto.broker import MAX_NAME, Limits, Message
from minproto.testing.agreement import outcome, public

POLICIES = ["drop_oldest", "drop_newest", "disconnect"]
few_topics, few_patterns = st.sampled_from(["a", "ab", "b", "cab"]), st.sampled_from(["*", "a*", "*b", "ab", "?b", "*a*"])
other_topics = st.text("ab\u00e9]", max_size=3) | st.sampled_from(["a" * MAX_NAME, "a" * (MAX_NAME + 1), "\udcc3", b"a"])
other_patterns = st.text("ab\u00e9*?[]^\\", max_size=5) | st.sampled_from(["x" * (MAX_NAME + 1), b"a"])
topics = st.integers(0, 9).flatmap(lambda number: few_topics if number < 9 else other_topics)
patterns = st.integers(0, 9).flatmap(lambda number: few_patterns if number < 8 else other_patterns)
limits = st.builds(Limits, max_pending=st.integers(1, 4), max_pending_bytes=st.integers(1, 20))


class TwoBrokers(RuleBasedStateMachine):
    """Two brokers with one clock. Each call is made to both, and everything that they show is compared."""

    fast: ClassVar[type[minproto.broker.Broker]] = minproto.fast.broker.Broker
    subscriptions = Bundle("subscriptions")
    ids = Bundle("ids")

    @initialize(history=st.sampled_from([0, 3, {"a": 2, "b": 5}]), max_logs=st.integers(1, 3))
    def begin(self, history: Any, max_logs: int) -> None:
        self.now = 1_000
        kinds = (self.fast, minproto.broker.Broker)
        self.brokers = [kind(lambda: self.now, history, Limits(max_pending=3, max_logs=max_logs)) for kind in kinds]
        self.calls: list[list[Any]] = [[], []]  # those that each broker has made of on_ready, in order
        self.pairs: list[tuple[Any, ...]] = []

    def both(self, pair: Any, what: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of both, and compare its results, and all that the two brokers and their subscriptions show."""
        one, other = (outcome(partial(getattr(each, what), *arguments, **options), Exception) for each in pair)
        if not (what == "subscribe" and one[0] == other[0] == "gives"):
            assert one == other, f"{what}{arguments}: one {one}, the other {other}"
        for name, (shown, beside) in [("broker", self.brokers), *(("subscription", each) for each in self.pairs)]:
            assert public(shown) == public(beside), f"a {name} after {what}{arguments}, one and the other"
        assert self.calls[0] == self.calls[1], f"on_ready of one and the other after {what}{arguments}"
        return one[1], other[1]

    @rule(step=st.integers(-2, 2))
    def time_passes(self, step: int) -> None:
        self.now += step

    @rule(target=ids, topic=topics, data=st.binary(max_size=8) | st.just("text"))
    def publish(self, topic: Any, data: Any) -> Any:
        self.both(self.brokers, "publish", topic, data)
        return self.both(self.brokers, "last_id", topic)[0]

    @rule(
        target=subscriptions,
        topics=st.lists(topics, max_size=2),
        patterns=st.lists(patterns, max_size=4),
        policy=st.sampled_from([*POLICIES[:2] * 3, *POLICIES, "wait"]),
        limits=st.none() | limits,
    )
    def subscribe(self, topics: Any, patterns: Any, policy: str, limits: Any) -> Any:
        return self.begun(self.both(self.brokers, "subscribe", *topics, patterns=patterns, on_overflow=policy, limits=limits))

    @rule(target=subscriptions, topic=topics, id=ids | st.sampled_from(["0", "1000-1", "99999-0"]), limits=limits)
    def resume(self, topic: Any, id: Any, limits: Any) -> Any:
        return self.begun(self.both(self.brokers, "subscribe", topic, after=id, limits=limits))

    def begun(self, pair: Any) -> Any:
        """Note whom ``on_ready`` tells of what."""
        if not isinstance(pair[0], minproto.broker.Subscription):
            return None
        number = len(self.pairs)
        for subscription, calls in zip(pair, self.calls, strict=True):
            subscription.on_ready = partial(calls.append, number)
        self.pairs.append(pair)
        return pair

    @rule(pair=subscriptions, most=st.integers(-1, 5), most_bytes=st.integers(0, 9) | st.just(1 << 20))
    def take(self, pair: Any, most: int, most_bytes: int) -> None:
        if pair:
            self.both(pair, "take", most, most_bytes)

    @rule(pair=subscriptions, what=st.sampled_from(["add", "remove"]), topic=topics)
    def change_topics(self, pair: Any, what: str, topic: Any) -> None:
        if pair:
            self.both(pair, what, topic)

    @rule(pair=subscriptions, what=st.sampled_from(["add_pattern", "remove_pattern"]), pattern=patterns)
    def change_patterns(self, pair: Any, what: str, pattern: Any) -> None:
        if pair:
            self.both(pair, what, pattern)

    @rule(pair=subscriptions, what=st.sampled_from(["end", "close"]), really=st.integers(0, 3))
    def leave(self, pair: Any, what: str, really: int) -> None:
        if pair and not really:
            self.both(pair, what)

    @rule(what=st.sampled_from(["log", "history", "subscriber_count"]), topic=topics)
    def look(self, what: str, topic: Any) -> None:
        for result in self.both(self.brokers, what, topic):
            if isinstance(result, list):
                result.clear()  # as an app may: nothing else may see it


class TwoTables(RuleBasedStateMachine):
    """The seam alone, the two tables of patterns: far more of its calls than whole brokers make in the same time."""

    fast: ClassVar[type[minproto.broker.Patterns]] = minproto.fast.broker.Patterns

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Any] = [self.fast(), minproto.broker.Patterns()]
        self.added: list[tuple[str, str]] = []

    def both(self, what: str, *arguments: Any) -> Any:
        one, other = (outcome(partial(getattr(table, what), *arguments), Exception) for table in self.tables)
        assert one == other, f"{what}{arguments}: one {one}, the other {other}"
        assert len(self.tables[0]) == len(self.tables[1]), f"the length of one and the other after {what}{arguments}"
        return one

    @rule(pattern=patterns, listener=st.sampled_from("AB"))
    def add(self, pattern: Any, listener: str) -> None:
        if self.both("add", pattern, listener)[0] == "gives":
            self.added = [*(each for each in self.added if each != (pattern, listener)), (pattern, listener)]

    @rule(which=st.integers(0, 99))
    def remove(self, which: int) -> None:
        if self.added:
            self.both("remove", *self.added.pop(which % len(self.added)))

    @rule(name=topics)
    def matching(self, name: Any) -> None:
        self.both("matching", name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name)


def test_the_fast_broker_is_the_plain_one() -> None:
    run_state_machine_as_test(TwoBrokers, settings=settings(stateful_step_count=40, deadline=None))


def test_the_index_of_patterns_is_the_list_of_patterns() -> None:
    run_state_machine_as_test(TwoTables, settings=settings(stateful_step_count=40, deadline=None))


class Patterns(minproto.fast.broker.Patterns):
    """The base of those that are wrong."""


class Unsorted(Patterns):
    """Finds patterns in the order of its index."""

    def matching(self, name):
        self._age = dict.fromkeys(self._age, 0)
        return super().matching(name)


class Ageless(Patterns):
    """Keeps the age of a pattern that has gone, for when it comes back."""

    def add(self, pattern, listener):
        age = getattr(self, "_kept_age", {})
        super().add(pattern, listener)
        self._age[pattern] = age.get(pattern, self._age[pattern])
        self._kept_age = {**age, pattern: self._age[pattern]}


class Stale(Patterns):
    """Remembers what it has found after a pattern has come."""

    def add(self, pattern, listener):
        found = dict(self._found)
        super().add(pattern, listener)
        self._found = found


class Absent(Patterns):
    """Finds no pattern by its last letters."""

    def _place(self, pattern):
        return self._by_first, super()._place(pattern)[1]


class Lingering(Patterns):
    """Remembers a pattern that is gone."""

    def remove(self, pattern, listener):
        found = dict(self._found)
        super().remove(pattern, listener)
        self._found = found


class Short(Patterns):
    """Does not look up letters that are as long as the topic."""

    def matching(self, name):
        return super().matching(name) if len(name) != 2 else minproto.broker.Patterns.matching(self, name)[:1]


@pytest.mark.parametrize("wrong", [Unsorted, Ageless, Stale, Absent, Lingering, Short])
def test_a_planted_difference_is_found(wrong: type[Patterns]) -> None:
    # The search ends at the first difference. Which examples it tries depends on the constants in minproto's source, which
    # Hypothesis uses. So the maximum is ten times as high as most searches need.
    only_search = settings(
        derandomize=True, phases=[Phase.generate], max_examples=4_000, stateful_step_count=40, deadline=None
    )
    with pytest.raises(AssertionError, match="the other"):
        run_state_machine_as_test(type("Planted", (TwoTables,), {"fast": wrong}), settings=only_search)


class Subscription(minproto.fast.broker.Subscription):
    """The base of those that are wrong."""


class Overfull(Subscription):
    """Counts the messages in the queue, and not their bytes."""

    def offer(self, message):
        limits, self._limits = self._limits, replace(self._limits, max_pending_bytes=1 << 20)
        try:
            return super().offer(message)
        finally:
            self._limits = limits


class Silent(Subscription):
    """Puts the first message into the queue, too, without a call of on_ready."""

    def offer(self, message):
        self._notified = True
        return super().offer(message)


class Undead(Subscription):
    """Takes messages after its end."""

    def offer(self, message):
        ended, self.ended = self.ended, None
        try:
            return super().offer(message)
        finally:
            self.ended = self.ended or ended


class Greedy(Subscription):
    """Gives more messages than were asked for."""

    def take(self, most, most_bytes=sys.maxsize):
        return super().take(most + 1 if most else 0, most_bytes)


class Miscounting(Subscription):
    """Counts a gap among the messages taken."""

    def take(self, most, most_bytes=sys.maxsize):
        items = super().take(most, most_bytes)
        self.taken += sum(not isinstance(item, Message) for item in items)
        return items


class Told(Subscription):
    """Believes after a take that the taker knows of the next message."""

    def take(self, most, most_bytes=sys.maxsize):
        items = super().take(most, most_bytes)
        self._notified = True
        return items


@pytest.mark.parametrize("wrong", [Overfull, Silent, Greedy, Miscounting, Told])
def test_a_planted_difference_of_a_subscription_is_found(wrong: type[Subscription]) -> None:
    broker = type("Planted", (minproto.fast.broker.Broker,), {"subscription": wrong})
    # The search ends at the first difference. Which examples it tries depends on the constants in minproto's source, which
    # Hypothesis uses. So the maximum is ten times as high as most searches need.
    only_search = settings(
        derandomize=True, phases=[Phase.generate], max_examples=2_000, stateful_step_count=40, deadline=None
    )
    with pytest.raises(AssertionError, match="the other"):
        run_state_machine_as_test(type("Planted", (TwoBrokers,), {"fast": broker}), settings=only_search)


def test_a_message_taken_after_the_end_of_a_subscription_is_found() -> None:
    """A search finds this difference only now and then, so here are its calls: the second of three deliveries overflows."""
    broker = type("Planted", (minproto.fast.broker.Broker,), {"subscription": Undead})
    two = type("Planted", (TwoBrokers,), {"fast": broker})()
    two.begin(history=0, max_logs=1)
    two.subscribe(topics=["a"], patterns=["*", "a*"], policy="disconnect", limits=Limits(max_pending=1))
    with pytest.raises(AssertionError, match="the other"):
        two.publish(topic="a", data=b"")


def test_what_a_message_is_made_into_is_shared_alike() -> None:
    """A shell encodes a message once for all: the copies for patterns have the dict of the message."""
    for kind in (minproto.fast.broker.Broker, minproto.broker.Broker):
        broker = kind(lambda: 1_000)
        subscription = broker.subscribe("ab", patterns=["a*", "*b"])
        broker.publish("ab", b"")
        first, *others = subscription.take(9)
        assert isinstance(first, Message)
        assert all(isinstance(each, Message) and each.encodings is first.encodings for each in others)
