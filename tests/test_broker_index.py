"""The fast broker's index of patterns: what it tries, what it remembers, and that nothing is left of it."""

from itertools import count

import pytest
from hypothesis import settings

import minproto.broker
from minproto.broker import Limits, glob
from minproto.fast import broker as module
from minproto.fast.broker import Broker


def ticking(**limits):
    """A broker on whose clock each look takes a millisecond."""
    clock = count(1_000)
    return Broker(lambda: next(clock), 0, Limits(**limits))


class Counted:
    """Compiled patterns that count how often they are tried."""

    tries = 0

    def __init__(self, pattern):
        self._pattern = glob(pattern)

    def fullmatch(self, name):
        Counted.tries += 1
        return self._pattern.fullmatch(name)


@pytest.mark.parametrize("shape", ["unrelated {}.*", "*.unrelated {}", "x{}?y", "[{}]x unrelated"])
def test_a_publish_does_not_look_at_what_does_not_match(shape, monkeypatch):
    """With 10,000 (by default 2,000) patterns and topics beside it, as many are tried as with none; also for a topic that is
    new."""
    count = 10_000 if settings().max_examples >= 100 else 2_000
    monkeypatch.setattr(minproto.broker, "glob", Counted)
    broker = ticking(max_pending=1 << 20)
    subscription = broker.subscribe("news", patterns=["n*s"])
    bystander = broker.subscribe(*(f"topic {number}" for number in range(count)))
    patterns = [shape.format(number) for number in range(count)]
    for pattern in patterns:
        bystander.add_pattern(pattern)
    Counted.tries = 0
    assert broker.publish("news", b"") == 2
    assert broker.publish("news", b"") == 2
    assert broker.publish("other", b"") == 0
    assert Counted.tries == 1
    assert (subscription.matched, bystander.matched) == (4, 0)


def test_patterns_with_a_wildcard_at_both_ends_are_tried_once_for_each_topic(monkeypatch):
    monkeypatch.setattr(minproto.broker, "glob", Counted)
    broker = ticking()
    broker.subscribe(patterns=[f"*{number}*" for number in range(1_000)])
    Counted.tries = 0
    for _ in range(10):
        broker.publish("news", b"")
    assert Counted.tries == 1_000


def test_nothing_is_left_of_patterns_that_nobody_listens_to():
    """Each length of their first letters, or last, is looked up for each new topic."""
    broker = ticking()
    for patterns in (["a*", "b*", "*a", "abc"], ["a*"], ["ab*", "ac*"]):
        broker.subscribe(patterns=patterns).close()
    for index in (broker._patterns._by_first, broker._patterns._by_last):
        assert (index._by_letters, index._lengths) == ({}, {})
    assert broker._patterns._age == {}


def test_what_is_remembered_of_topics_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    broker = ticking()
    broker.subscribe(patterns=["t*"])
    for number in range(100):
        assert broker.publish(f"t{number}", b"") == 1
        assert len(broker._patterns._found) <= 10


def test_so_are_the_matches_that_are_remembered(monkeypatch):
    """A thousand patterns of "*" and topics without end would be remembered as their product."""
    monkeypatch.setattr(module, "_REMEMBERED", 100)
    broker = ticking()
    subscription = broker.subscribe(patterns=["*" * number for number in range(1, 31)])
    for number in range(100):
        assert broker.publish(f"t{number}", b"") == 30
        assert sum(1 + len(found) for found in broker._patterns._found.values()) <= 100 + 31
    subscription.close()
    assert broker._patterns._remembered == 0


@pytest.mark.parametrize(("pattern", "topic"), [(r"\*a", "*a"), (r"\ab*", "abc"), (r"*a\b", "cab"), (r"*\?", "a?")])
def test_an_escaped_letter_is_looked_up_without_its_backslash(pattern, topic):
    broker = ticking()
    broker.subscribe(patterns=[pattern])
    assert (broker.publish(topic, b""), broker.publish(f"\\{topic}!", b"")) == (1, 0)
