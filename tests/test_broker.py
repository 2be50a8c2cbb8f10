"""The broker: what its rules are, and a machine of publishers and subscribers that looks for one that does not hold."""

import functools
from itertools import count

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import minproto.broker
import minproto.fast.broker
from minproto.broker import MAX_NAME, glob
from minproto.log import MESSAGE_COST, Gap, Limits, Message, parse_id

POLICIES = ("disconnect", "drop_oldest", "drop_newest")

Broker = minproto.broker.Broker


@pytest.fixture(
    autouse=True, scope="module", params=[minproto.broker.Broker, minproto.fast.broker.Broker], ids=["plain", "fast"]
)
def core(request):
    """Each test is run on the plain core and on the fast one."""
    global Broker
    Broker = request.param


def ticking(history=0, **limits):
    """A broker on whose clock each look takes a millisecond."""
    clock = count(1_000)
    return Broker(lambda: next(clock), history, Limits(**limits))


def publish(broker, *texts, topic="a"):
    """Messages, and their ids."""
    ids = []
    for text in texts:
        broker.publish(topic, text.encode())
        ids.append(f"{broker._last_key[0]}-{broker._last_key[1]}")
    return ids


def taken(subscription, most=1_000):
    """The texts of what waits; a notice as its count."""
    return [item.data.decode() if isinstance(item, Message) else item.count for item in subscription.take(most)]


# ---- who receives what -----------------------------------------------------------------------------------------------


def test_a_message_goes_to_those_who_listen():
    broker = ticking()
    one, both, other = broker.subscribe("a"), broker.subscribe("a", "b"), broker.subscribe("b")
    assert broker.publish("a", b"1") == 2
    assert broker.publish("c", b"2") == 0
    assert broker.publish("b", b"3") == 2
    assert [taken(subscription) for subscription in (one, both, other)] == [["1"], ["1", "3"], ["3"]]


def test_once_for_each_topic_or_pattern_that_matches():
    """As Redis counts them: two patterns and the topic itself are three deliveries. And one order for all."""
    broker = ticking()
    subscription = broker.subscribe("ab", patterns=["a*", "?b", "x*"])
    assert broker.publish("ab", b"1") == 3
    assert broker.publish("xb", b"2") == 2
    items = subscription.take(10)
    assert [item.data for item in items] == [b"1"] * 3 + [b"2"] * 2
    assert [{item.pattern for item in items[:3]}, {item.pattern for item in items[3:]}] == [{None, "a*", "?b"}, {"?b", "x*"}]
    assert items[0].pattern is None
    assert len({item.id for item in items}) == 2


def test_patterns_are_served_in_the_order_in_which_they_came_into_use():
    """Whatever their first letters, and whether another one has been looked up before."""
    broker = ticking()
    subscription = broker.subscribe(patterns=["?b", "*", "a*", "*b", "ab"])
    for expected in (["?b", "*", "a*", "*b", "ab"], ["?b", "a*", "*b", "ab", "*"]):
        broker.publish("ab", b"")
        assert [item.pattern for item in subscription.take(9)] == expected
        subscription.remove_pattern("*")
        subscription.add_pattern("*")


def test_listening_twice_is_as_good_as_once():
    broker = ticking()
    subscription = broker.subscribe("a", "a", patterns=["a*", "a*"])
    subscription.add("a")
    subscription.add_pattern("a*")
    assert broker.publish("a", b"") == 2
    assert (broker.subscriber_count("a"), broker.pattern_count, broker.topics) == (1, 1, ["a"])


def test_patterns_are_several():
    """One str would be a pattern for each of its letters: and "news.*" would listen to everything."""
    broker = ticking()
    with pytest.raises(TypeError, match=r"\['news\.\*'\]"):
        broker.subscribe(patterns="news.*")
    with pytest.raises(ValueError, match="nothing"):
        broker.subscribe(patterns=iter(()))
    assert broker.subscribe(patterns=iter(["news.*"])).patterns == {"news.*": None}


def test_who_ignores_a_topic_keeps_what_came_before():
    broker = ticking()
    subscription = broker.subscribe("a", patterns=["b*"])
    publish(broker, "1")
    publish(broker, "2", topic="b")
    subscription.remove("a")
    subscription.remove_pattern("b*")
    subscription.remove("a")  # once more does nothing
    subscription.remove_pattern("never")
    assert broker.publish("a", b"3") + broker.publish("b", b"4") == 0
    assert taken(subscription) == ["1", "2"]
    assert (broker.topics, broker.pattern_count) == ([], 0)


def test_who_ignores_a_name_leaves_it_to_the_others():
    broker = ticking()
    first, second = [broker.subscribe("a", patterns=["a*"]) for _ in range(2)]
    first.remove("a")
    first.remove_pattern("a*")
    assert publish(broker, "1") and (taken(first), taken(second)) == ([], ["1", "1"])
    assert (broker.topics, broker.pattern_count) == (["a"], 1)
    second.end()
    assert (broker._listeners, broker.pattern_count) == ({}, 0)


def test_ready_is_told_once_for_all_that_waits_and_at_the_end():
    broker = ticking()
    subscription = broker.subscribe("a")
    calls = []
    subscription.on_ready = lambda: calls.append(subscription.ended)
    publish(broker, "1", "2")
    assert calls == [None]
    taken(subscription)
    publish(broker, "3")
    assert calls == [None, None]
    subscription.close()
    subscription.close()
    assert calls == [None, None, "closed"]


def test_a_message_of_a_full_subscription_is_ready_only_once():
    """A notice in front is something to take already."""
    broker = ticking(max_pending=1)
    subscription = broker.subscribe("a", on_overflow="drop_oldest")
    calls = []
    subscription.on_ready = lambda: calls.append(1)
    publish(broker, "1", "2", "3")
    assert calls == [1]


def test_a_callback_that_raises_comes_after_all_have_the_message():
    """Whoever uses the core alone hears of it by default; and the next message calls it again."""
    broker = ticking()
    failing, other = broker.subscribe("a"), broker.subscribe("a")
    failing.on_ready = lambda: 1 // 0
    for number in range(2):
        with pytest.raises(ZeroDivisionError):
            broker.publish("a", b"%d" % number)
    assert taken(failing) == taken(other) == ["0", "1"]


def test_a_callback_may_take():
    """Then there is nothing to take, and the next message calls it again."""
    broker = ticking()
    subscription = broker.subscribe("a")
    heard = []
    subscription.on_ready = lambda: heard.extend(taken(subscription))
    publish(broker, "1", "2")
    assert heard == ["1", "2"]


def test_data_is_bytes():
    broker = ticking(history=1)
    for wrong in ("text", bytearray(b"x"), None):
        with pytest.raises(TypeError):
            broker.publish("a", wrong)
    assert broker.log("a") == []


# ---- slow subscribers --------------------------------------------------------------------------------------------------


def test_disconnect():
    """The end comes at once, with a notice of all that is lost."""
    broker = ticking(max_pending=2)
    subscription, other = broker.subscribe("a"), broker.subscribe("a", limits=Limits())
    ready = []
    subscription.on_ready = lambda: ready.append(subscription.ended)
    publish(broker, "1", "2", "3", "4")
    assert (subscription.ended, ready) == ("overflow", [None, "overflow"])
    assert subscription.take(10) == [Gap(3)]
    assert (subscription.matched, subscription.taken, subscription.dropped, subscription.pending) == (3, 0, 3, 0)
    assert taken(other) == ["1", "2", "3", "4"]
    assert broker.subscriber_count("a") == 1


def test_a_notice_that_nobody_has_taken_grows():
    """What a log had lost before is not known; so neither is the whole."""
    for policy, left in (("disconnect", [None]), ("drop_oldest", [None, "3", "4"]), ("drop_newest", [None, "2", "3", 1])):
        broker = ticking(history=1, max_pending=1)
        publish(broker, "1", "2")
        subscription = broker.subscribe("a", after="1-0", on_overflow=policy)
        publish(broker, "3", "4")
        assert taken(subscription) == left


def test_who_is_cut_off_by_its_first_pattern_gets_nothing_for_the_second():
    broker = ticking(max_pending=1)
    subscription = broker.subscribe("a", patterns=["a*", "*"])
    assert broker.publish("a", b"") == 2
    assert (subscription.ended, subscription.matched, subscription.dropped) == ("overflow", 2, 2)


def test_drop_oldest():
    """The notice stands where the messages were: in front. Its id is from where the rest can be had."""
    broker = ticking(max_pending=2)
    subscription = broker.subscribe("a", on_overflow="drop_oldest")
    ids = publish(broker, "1", "2", "3", "4")
    assert subscription.take(1) == [Gap(2, ids[1])]
    assert taken(subscription) == ["3", "4"]
    assert (subscription.ended, subscription.dropped) == (None, 2)


def test_drop_newest():
    """The notice stands behind what was kept, and before what comes when there is room again."""
    broker = ticking(max_pending=2)
    subscription = broker.subscribe("a", on_overflow="drop_newest")
    ids = publish(broker, "1", "2", "3", "4")
    assert taken(subscription, 1) == ["1"]
    publish(broker, "5", "6")
    items = subscription.take(10)
    assert [item.data if isinstance(item, Message) else item.count for item in items] == [b"2", 2, b"5", 1]
    assert items[1].id == ids[3] and items[3].id == broker.last_id("a")
    assert (subscription.taken, subscription.dropped) == (3, 3)


@pytest.mark.parametrize("policy", POLICIES)
def test_bytes_are_bounded_too(policy):
    """Exactly; and a message that is too large by itself is taken where nothing else waits."""
    broker = ticking(max_pending_bytes=10)
    subscription = broker.subscribe("a", on_overflow=policy)
    publish(broker, "x" * 11)
    assert taken(subscription) == ["x" * 11]
    publish(broker, "12345", "67890")
    assert (subscription.dropped, subscription.pending) == (0, 2)
    publish(broker, "!")
    expected = {"disconnect": [3], "drop_oldest": [1, "67890", "!"], "drop_newest": ["12345", "67890", 1]}
    assert taken(subscription) == expected[policy]


def test_a_large_message_takes_the_place_of_all_that_it_needs():
    broker = ticking(max_pending_bytes=10)
    subscription = broker.subscribe("a", on_overflow="drop_oldest")
    publish(broker, "123", "456", "789", "x" * 7)
    assert taken(subscription) == [2, "789", "x" * 7]
    publish(broker, "123", "x" * 100)
    assert taken(subscription) == [1, "x" * 100]


def test_a_take_is_bounded_by_messages_and_by_bytes():
    broker = ticking(max_pending=5)
    subscription = broker.subscribe("a", on_overflow="drop_oldest")
    publish(broker, *"123456")
    assert taken(subscription, 0) == []
    assert taken(subscription, 1) == [1]
    assert [item.data for item in subscription.take(10, 2)] == [b"2", b"3"]
    assert [item.data for item in subscription.take(10, 0)] == []
    assert taken(subscription, 2) == ["4", "5"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("5",), TypeError, r"most has to be a whole number \(int\), not '5'"),
        ((2.0,), TypeError, "most has"),
        ((-5,), ValueError, "most has to be 0 or more, not -5"),
        ((1, "9"), TypeError, "most_bytes has"),
        ((1, -1), ValueError, "most_bytes has to be 0 or more, not -1"),
    ],
)
@pytest.mark.parametrize("texts", ["", "1"])
def test_a_take_refuses_what_is_no_count(arguments, error, words, texts):
    """Whether something waits or not: `take("5")` of an empty queue was an empty list, and an error by the first message."""
    broker = ticking()
    subscription = broker.subscribe("a")
    publish(broker, *texts)
    with pytest.raises(error, match=words):
        subscription.take(*arguments)
    assert (subscription.pending, taken(subscription)) == (len(texts), list(texts))


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="on_overflow is one of disconnect, drop_oldest, drop_newest, not 'wait'"):
        ticking().subscribe("a", on_overflow="wait")


# ---- the end -----------------------------------------------------------------------------------------------------------


def test_what_is_left_at_a_close_counts_as_dropped():
    broker = ticking()
    subscription = broker.subscribe("a", "b", patterns=["*"])
    publish(broker, "1", "2")
    taken(subscription, 1)
    subscription.close()
    assert (subscription.matched, subscription.taken, subscription.dropped, subscription.pending) == (4, 1, 3, 0)
    assert (subscription.waiting, subscription.ended) == (False, "closed")
    assert (broker.topics, broker.pattern_count, broker.publish("a", b"3")) == ([], 0, 0)


def test_what_is_left_at_an_end_can_still_be_taken():
    broker = ticking()
    subscription = broker.subscribe("a")
    publish(broker, "1")
    subscription.end()
    publish(broker, "2")
    assert taken(subscription) == ["1"]


def test_after_its_end_a_subscription_listens_to_nothing():
    """It would be in the broker's lists for ever."""
    broker = ticking()
    subscription = broker.subscribe("a")
    subscription.close()
    subscription.add("b")
    subscription.add_pattern("*")
    assert broker.publish("b", b"") == 0
    assert (broker.topics, broker.pattern_count) == ([], 0)


# ---- resuming ----------------------------------------------------------------------------------------------------------


def test_resume_at_a_message():
    broker = ticking(history=10)
    ids = publish(broker, *"12345")
    resumed = [broker.subscribe("a", after=id) for id in ids]
    publish(broker, "6")
    for at, subscription in enumerate(resumed):
        assert (taken(subscription), subscription.start) == ([*"123456"][at + 1 :], ids[at])


def test_resume_at_the_start():
    """Who has received nothing says where the subscription began."""
    broker = ticking(history=10)
    subscription = broker.subscribe("a")
    publish(broker, "elsewhere", topic="b")
    publish(broker, "1")
    subscription.close()
    assert taken(broker.subscribe("a", after=subscription.start)) == ["1"]
    later = broker.subscribe("a")
    publish(broker, "2")
    assert taken(broker.subscribe("a", after=later.start)) == ["2"]


@pytest.mark.parametrize("history", [0, 2, {"a": 2}, {"b": 2}])
def test_resume_where_nothing_was_published_since(history):
    """Nothing can be missing, with a history or without."""
    broker = ticking(history=history)
    publish(broker, "1")
    assert taken(broker.subscribe("a", after=broker.subscribe("a").start)) == []


def test_a_topic_without_history_has_a_gap_where_anything_was_published():
    broker = ticking(history={"b": 2})
    start = broker.subscribe("a").start
    publish(broker, "1")
    resumed = broker.subscribe("a", after=start)
    assert (resumed.take(10), resumed.start) == ([Gap(None, broker.last_id("a"))], None)


def test_a_log_that_does_not_go_back_so_far_has_a_gap():
    """The notice's id resumes without one. That of the last message that is lost is early enough."""
    broker = ticking(history=2)
    start = broker.last_id("a")
    ids = publish(broker, *"12345")
    for id in (start, ids[0], ids[1]):
        resumed = broker.subscribe("a", after=id)
        assert resumed.take(1) == [Gap(None, ids[2])]
        assert (taken(resumed), resumed.start) == (["4", "5"], None)
    assert taken(broker.subscribe("a", after=ids[2])) == ["4", "5"]


@pytest.mark.parametrize("id", ["", "x", "1", "1-", "-1", "1-1-1", " 1-1", "1-1 ", "\u0661-\u0661", "9" * 21 + "-0", "1-1\n"])
def test_what_is_no_id_has_a_gap(id):
    broker = ticking(history=5)
    start = broker.last_id("a")
    publish(broker, "1", "2")
    assert parse_id(id) is None
    resumed = broker.subscribe("a", after=id)
    assert resumed.take(1) == [Gap(None, start)]
    assert taken(resumed) == ["1", "2"]


def test_an_id_that_was_never_given_has_a_gap():
    """Before all, between two, or after all: that of another topic, or of a broker that is no more."""
    broker = ticking(history=5)
    start = broker.last_id("a")
    (one,) = publish(broker, "1")
    (between,) = publish(broker, "elsewhere", topic="b")
    publish(broker, "2")
    expected = {"1-0": (start, ["1", "2"]), between: (one, ["2"]), "9999999-0": (start, ["1", "2"])}
    expected[f"0{one}"] = (one, ["2"])  # no id of ours has such zeros
    for id, (notice, texts) in expected.items():
        resumed = broker.subscribe("a", after=id)
        assert (resumed.take(1), taken(resumed)) == ([Gap(None, notice)], texts)


def test_a_replay_is_on_top_of_the_limits():
    """Or who resumes from a long log would be full from the beginning. As it is taken, so is that room."""
    broker = ticking(history=10, max_pending=2, max_pending_bytes=4)
    start = broker.last_id("a")
    publish(broker, *"1234567")
    resumed = broker.subscribe("a", after=start)
    publish(broker, "8", "9")
    assert [item.data for item in resumed.take(3)] == [b"1", b"2", b"3"]
    publish(broker, "x")
    assert (resumed.ended, resumed.pending) == ("overflow", 0)


def test_the_bytes_of_a_replay_give_up_their_room_one_by_one():
    """Half of it is taken: what is left has no more room on top of the limits than its own bytes."""
    broker = ticking(history=10, max_pending=100, max_pending_bytes=10)
    start = broker.last_id("a")
    publish(broker, *["x" * 10] * 4)
    resumed = broker.subscribe("a", after=start)
    resumed.take(2)
    publish(broker, "x" * 10)  # 30 bytes: the limit, and the two that are left
    assert (resumed.ended, resumed.pending) == (None, 3)
    publish(broker, "y")
    assert resumed.ended == "overflow"


def test_an_empty_message_of_a_replay_has_no_room_on_top():
    broker = ticking(history=10, max_pending=100, max_pending_bytes=10)
    start = broker.last_id("a")
    publish(broker, "x", "")
    resumed = broker.subscribe("a", after=start)
    resumed.take(1)
    publish(broker, "y" * 10)
    assert (resumed.ended, resumed.pending) == (None, 2)
    publish(broker, "z")
    assert resumed.ended == "overflow"


@pytest.mark.parametrize("texts", [["1", "2", "3", "4"], ["12", "34"]], ids=["messages", "bytes"])
def test_who_has_taken_its_replay_has_the_room_of_everybody(texts):
    broker = ticking(history=10, max_pending=3, max_pending_bytes=3)
    start = broker.last_id("a")
    publish(broker, *"1234567")
    resumed = broker.subscribe("a", after=start)
    assert taken(resumed) == [*"1234567"]
    publish(broker, *texts[:-1])
    assert (resumed.ended, resumed.pending) == (None, len(texts) - 1)
    publish(broker, texts[-1])
    assert resumed.ended == "overflow"


def test_large_messages_of_a_replay_leave_no_room_behind():
    """Dropped for small ones, they give back their places one by one, and with the last place all their bytes."""
    broker = ticking(history=10, max_pending=2, max_pending_bytes=10)
    start = broker.last_id("a")
    publish(broker, "x" * 10, "y" * 10)
    resumed = broker.subscribe("a", after=start, on_overflow="drop_oldest")
    publish(broker, *"1234")
    assert taken(resumed) == [2, *"1234"]
    publish(broker, "z" * 10, "5")
    assert taken(resumed) == [1, "5"]


def test_small_messages_of_a_replay_take_no_room_away():
    """Dropped for a large one, which gives back more bytes than they had: the limit is still the limit."""
    broker = ticking(history=10, max_pending=5, max_pending_bytes=10)
    start = broker.last_id("a")
    publish(broker, "x", "y")
    resumed = broker.subscribe("a", after=start, on_overflow="drop_oldest")
    publish(broker, "1" * 9, "2" * 9)
    assert taken(resumed) == [3, "2" * 9]
    publish(broker, "3" * 5, "4" * 5)
    assert taken(resumed) == ["3" * 5, "4" * 5]


def test_a_replay_has_to_be_taken_before_anything_is_ready():
    """Something waits from the beginning: that is known to the subscriber, who asked for it."""
    broker = ticking(history=10)
    start = broker.last_id("a")
    publish(broker, "1")
    resumed, calls = broker.subscribe("a", after=start), []
    resumed.on_ready = lambda: calls.append(1)
    publish(broker, "2")
    assert (taken(resumed), calls) == (["1", "2"], [])
    publish(broker, "3")
    assert calls == [1]


def test_resume_is_for_one_topic():
    broker = ticking(history=5)
    for topics, patterns in ((("a", "b"), ()), (("a",), ("b",)), ((), ("a",)), ((), ())):
        with pytest.raises(ValueError):
            broker.subscribe(*topics, patterns=patterns, after="1-0")
    assert broker.topics == []
    assert broker.subscribe("a", "b").start is broker.subscribe(patterns=["a"]).start is None


def test_a_broker_keeps_no_message_unless_it_is_told():
    broker = Broker(lambda: 1_000)
    publish(broker, "1")
    assert (broker.history("a"), broker.log("a")) == (0, [])


def test_the_log_is_what_is_kept():
    broker = ticking(history={"a": 2})
    publish(broker, *"123")
    publish(broker, "4", topic="b")
    assert [message.data for message in broker.log("a")] == [b"2", b"3"]
    assert broker.log("b") == broker.log("never") == []
    assert [len(broker.log(topic)) for topic in ("a", "b", "never")] == [2, 0, 0]


def test_the_bytes_of_a_log_are_bounded():
    broker = ticking(history=100, max_log_bytes=3 * (MESSAGE_COST + 1) + 1)
    ids = publish(broker, "1", "22", "3", "4")
    assert [message.data for message in broker.log("a")] == [b"3", b"4"]
    assert taken(broker.subscribe("a", after=ids[1])) == ["3", "4"]
    assert taken(broker.subscribe("a", after=ids[0])) == [None, "3", "4"]
    publish(broker, "x" * 10_000)  # too large by itself: nothing is left, and that is known
    assert broker.log("a") == []
    assert taken(broker.subscribe("a", after=ids[3])) == [None]


@pytest.mark.parametrize("limits", [{"max_logs": 2}, {"max_history_bytes": 2 * (MESSAGE_COST + 2)}])
def test_the_histories_of_all_topics_are_bounded(limits):
    """The topic that was silent for longest loses its own, and whoever comes back to it is told."""
    broker = ticking(history=100, **limits)
    beginning = broker.last_id("a")
    (one,) = publish(broker, "1", topic="a")
    publish(broker, "2", topic="b")
    publish(broker, "3", topic="c")
    assert [bool(broker.log(topic)) for topic in "abc"] == [False, True, True]
    assert taken(broker.subscribe("a", after=one)) == taken(broker.subscribe("a", after=beginning)) == [None]
    assert taken(broker.subscribe("a", after=broker.last_id("a"))) == []  # but from now on nothing is missing
    start = broker.last_id("a")
    publish(broker, "4", topic="a")
    assert taken(broker.subscribe("a", after=start)) == ["4"]
    assert taken(broker.subscribe("a", after=one)) == [None, "4"]


def test_one_topic_may_have_all_there_is_room_for():
    broker = ticking(history=100, max_history_bytes=1)
    publish(broker, "1", "2")
    assert len(broker.log("a")) == 2


def test_a_log_may_have_just_as_many_bytes_as_its_limit():
    broker = ticking(history=100, max_log_bytes=2 * (MESSAGE_COST + 2))
    publish(broker, "1", "2")
    assert len(broker.log("a")) == 2


@pytest.mark.parametrize(("text", "kept"), [("2", [1, 1]), ("23", [0, 1])])
def test_one_byte_too_many_of_all_histories_costs_a_topic_its_own(text, kept):
    """A message counts as 500 bytes, and the bytes of its topic and its data: here two of one byte each."""
    broker = ticking(history=100, max_history_bytes=1_004)
    publish(broker, "1", topic="a")
    publish(broker, text, topic="b")
    assert [len(broker.log(topic)) for topic in "ab"] == kept


def test_a_topic_that_was_silent_is_forgotten_before_an_older_one():
    broker = ticking(history=100, max_logs=2)
    for topic in "abac":
        publish(broker, "x", topic=topic)
    assert [len(broker.log(topic)) for topic in "abc"] == [2, 0, 1]


def test_topics_without_a_history_take_no_place_of_one():
    broker = ticking(history={"a": 5}, max_logs=1)
    publish(broker, "1", topic="a")
    publish(broker, "2", topic="b")
    assert len(broker.log("a")) == 1


def test_ids_grow_though_the_clock_goes_back():
    times = iter([1_000, 1_000, 1_001, 500, 1_001, 1_002])
    broker = Broker(lambda: next(times), 10)
    assert broker.last_id("never") == "1000-0"
    assert publish(broker, *"12345") == ["1000-1", "1001-0", "1001-1", "1001-2", "1002-0"]


# ---- patterns ----------------------------------------------------------------------------------------------------------


@functools.cache
def naive(pattern, text):
    """As Redis matches: its stringmatchlen, one byte after the other, with bytes from 0 to 255."""
    while pattern and text:
        if pattern[:1] == b"*":
            rest = pattern.lstrip(b"*")
            return not rest or any(naive(rest, text[at:]) for at in range(len(text)))
        if pattern[:1] == b"[":
            fits, pattern = in_class(pattern[1:], text[0])
        elif pattern[:1] == b"?":
            fits, pattern = True, pattern[1:]
        else:
            pattern = pattern[1:] if pattern[:1] == b"\\" and len(pattern) > 1 else pattern
            fits, pattern = pattern[0] == text[0], pattern[1:]
        if not fits:
            return False
        text = text[1:]
        if not text:
            pattern = pattern.lstrip(b"*")
    return not pattern and not text


def in_class(pattern, byte):
    """(whether the byte is in it, the pattern behind it)"""
    inverted = pattern[:1] == b"^"
    pattern = pattern[inverted:]
    found = False
    while pattern and pattern[:1] != b"]":
        if pattern[:1] == b"\\" and len(pattern) > 1:
            found |= pattern[1] == byte
            pattern = pattern[2:]
        elif len(pattern) > 2 and pattern[1:2] == b"-":
            found |= min(pattern[0], pattern[2]) <= byte <= max(pattern[0], pattern[2])
            pattern = pattern[3:]
        else:
            found |= pattern[0] == byte
            pattern = pattern[1:]
    return found != inverted, pattern[1:]


def matches(pattern, topic):
    return glob(pattern).fullmatch(topic.encode()) is not None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("news", ["news"], ["", "new", "newss", "News"]),
        ("n*", ["n", "ns", "n*"], ["", "an"]),
        ("*", ["a", "\n", "a\r\nb"], [""]),
        ("**", ["a"], [""]),
        ("", [""], ["a"]),
        ("?", ["a", "\n"], ["", "ab", "\u00e9"]),
        ("??", ["\u00e9"], ["a"]),
        ("[ab]c", ["ac", "bc"], ["cc", "c"]),
        ("[a-c]", ["a", "b", "c"], ["d", "-"]),
        ("[c-a]", ["a", "b", "c"], ["d"]),
        ("[^a-c]", ["d", "\n"], ["a", ""]),
        ("[^]", ["a", "]"], [""]),
        ("[]", [], ["a", "]", ""]),
        ("[]a]", [], ["a", "]", "]a]"]),
        ("[a", ["a"], ["[a", ""]),
        ("[", [], ["[", ""]),
        (r"[\]]", ["]"], ["\\"]),
        (r"[a-\]]", [r"\]", "]]", "a]"], ["a", "]"]),
        ("[a-]]", ["]", "^", "a"], ["-", "a]"]),
        ("[a-", ["a", "-"], ["b"]),
        (r"\*", ["*"], ["a", r"\*"]),
        (r"\a", ["a"], [r"\a"]),
        ("a\\", ["a\\"], ["a"]),
        ("a*b*c", ["abc", "abbcc", "axbxc"], ["acb", "ab"]),
        ("*ab*ab", ["abab", "aabab"], ["ab", "aab"]),
        ("a.c", ["a.c"], ["abc"]),
        ("(a|b)+$", ["(a|b)+$"], ["a"]),
    ],
)  # fmt: skip
def test_globs(pattern, yes, no):
    for topic in yes:
        assert matches(pattern, topic) and naive(pattern.encode(), topic.encode()), topic
    for topic in no:
        assert not matches(pattern, topic) and not naive(pattern.encode(), topic.encode()), topic


_telling = st.text("ab\u00e9*?[]^-\\", max_size=10)


@given(_telling, st.text("ab\u00e9]^-\\*", max_size=8))
def test_a_glob_is_what_a_naive_matcher_says(pattern, topic):
    assert matches(pattern, topic) == naive(pattern.encode(), topic.encode())


@given(st.lists(_telling, max_size=6), st.text("ab\u00e9]", max_size=5))
def test_the_index_finds_what_matches_and_nothing_else(patterns, topic):
    """Also when it remembers, and after some are gone."""
    broker = ticking()
    subscriptions = [broker.subscribe(patterns=[pattern]) for pattern in patterns]
    expected = [naive(pattern.encode(), topic.encode()) for pattern in patterns]
    for _ in range(2):
        assert broker.publish(topic, b"") == sum(expected)
    assert [subscription.matched for subscription in subscriptions] == [2 * fits for fits in expected]
    for subscription in subscriptions[::2]:
        subscription.close()
    assert broker.publish(topic, b"") == sum(expected[1::2])


def test_a_pattern_may_end_within_a_character():
    """Redis matches bytes, and so does the index."""
    broker = ticking()
    half = b"\xc3*".decode("utf-8", "surrogateescape")
    subscription = broker.subscribe(patterns=[half, b"*\xa9".decode("utf-8", "surrogateescape")])
    assert broker.publish("\u00e9", b"") == 2
    assert half in [item.pattern for item in subscription.take(2)]


def test_what_is_no_name_no_list_and_no_count_is_named():
    broker = ticking()
    with pytest.raises(TypeError, match="a topic or pattern is a str, not int: 5"):
        broker.publish(5, b"")
    with pytest.raises(TypeError, match="a topic or pattern is a str, not bytes: b'a'"):
        broker.last_id(b"a")
    with pytest.raises(TypeError, match="patterns are a list of str, not int"):
        broker.subscribe(patterns=5)
    for history, name in ((-1, "history"), ({"a": -1}, "history of a")):
        with pytest.raises(ValueError, match=name):
            ticking(history)
    with pytest.raises(ValueError, match="max_logs"):
        Limits(max_logs=0)


def test_names_are_bounded():
    """In bytes. What is refused leaves nothing behind."""
    broker = ticking(history=5)
    subscription = broker.subscribe("\u00e9" * (MAX_NAME // 2), patterns=["*" * MAX_NAME])
    assert broker.publish("\u00e9" * (MAX_NAME // 2), b"") == 2
    for long in ("a" * (MAX_NAME + 1), "\u00e9" * (MAX_NAME // 2) + "a"):
        for use in (
            lambda long=long: broker.publish(long, b""),
            lambda long=long: broker.subscribe("ok", long),
            lambda long=long: broker.subscribe("ok", patterns=[long]),
            lambda long=long: subscription.add(long),
            lambda long=long: subscription.add_pattern(long),
        ):
            with pytest.raises(ValueError, match="1024 bytes"):
                use()
    subscription.close()
    assert (broker.topics, broker.pattern_count, len(broker._logs)) == ([], 0, 1)


@pytest.mark.parametrize("part", ["a*", "?*", "*a", "*?a", "[a-b]*", "*aab", "[^b]*"])
def test_hostile_patterns_cost_no_more_than_pattern_times_topic(part):
    """A matcher that tries again at each star takes longer than the universe is old."""
    pattern = part * (MAX_NAME // len(part) - 1) + "c"
    assert glob(pattern).fullmatch(b"a" * MAX_NAME) is None
    assert glob(pattern).fullmatch(b"aab" * (MAX_NAME // 3)) is None


# ---- the machine -------------------------------------------------------------------------------------------------------

TOPICS = ("a", "ab", "b")
PATTERNS = ("*", "a*", "?b", "c*")
SMALL = Limits(max_pending=3, max_pending_bytes=12, max_logs=2)
KEPT = 4


class Subscriber:
    """A subscription, and what it ought to have received: all that matched, but for what its notices count."""

    def __init__(self, subscription, policy, topics, patterns, expected=()):
        self.inner = subscription
        self.policy = policy
        self.topics, self.patterns = topics, patterns
        self.expected = list(expected)
        self.sizes = [len(message[2]) for message in self.expected]  # of what waits
        self.room = SMALL.max_pending + len(self.sizes), SMALL.max_pending_bytes + sum(self.sizes)
        self.at = 0
        self.unknown = False
        self.seen = subscription.start  # from where it would resume

    def reasons(self, topic):
        """Topic and patterns for which a message is delivered."""
        patterns = [pattern for pattern in self.patterns if naive(pattern.encode(), topic.encode())]
        return [None, *patterns] if topic in self.topics else patterns

    def offer(self, topic, id, data, reason):
        """What the policy has to do."""
        if self.inner.ended == "closed" or self.policy is None:
            return
        self.expected.append((topic, id, data, reason))
        full = len(self.sizes) >= self.room[0] or (self.sizes and sum(self.sizes) + len(data) > self.room[1])
        if full and self.policy == "disconnect":
            self.sizes, self.policy = [], None
        elif not (full and self.policy == "drop_newest"):
            while len(self.sizes) >= self.room[0] or (self.sizes and sum(self.sizes) + len(data) > self.room[1]):
                self.sizes.pop(0)
            self.sizes.append(len(data))

    def narrow(self, size):
        """The room for a replay goes with as many messages."""
        messages, size_in_all = self.room
        if messages > SMALL.max_pending:
            self.room = messages - 1, max(size_in_all - size, SMALL.max_pending_bytes)
        if self.room[0] == SMALL.max_pending:
            self.room = SMALL.max_pending, SMALL.max_pending_bytes

    def take(self, most):
        items = self.inner.take(most)
        assert len(items) <= most
        for item in items:
            if isinstance(item, Gap):
                self.unknown |= item.count is None
                self.at += item.count or 0
                assert item.count != 0 and self.at <= len(self.expected)
            else:
                if self.unknown:  # nobody knows how many: so many
                    self.at = [message[1] for message in self.expected].index(item.id, self.at)
                    self.unknown = False
                assert (item.topic, item.id, item.data, item.pattern) == self.expected[self.at]
                self.at += 1
                self.narrow(self.sizes.pop(0))
            self.seen = item.id or self.seen
        if not self.inner.waiting and not self.unknown:
            assert self.at == len(self.expected), "lost without a notice"
            assert self.sizes == []


class Machine(RuleBasedStateMachine):
    """Laws 8 to 11: order, conservation, no gap without a notice, and none changes the stream of another."""

    subscribers = Bundle("subscribers")
    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        self.now = 1_000
        self.broker = Broker(lambda: self.now, KEPT, SMALL)
        self.history = {topic: [] for topic in TOPICS}
        self.kept = {topic: [] for topic in TOPICS}
        self.silent = []  # topics with a log, the one that was silent for longest first
        self.lost = {}  # topic -> id at which it lost its log
        self.all = []

    @rule(step=st.integers(-3, 3))
    def time_passes(self, step):
        self.now += step

    @rule(target=ids, topic=st.sampled_from(TOPICS), data=st.binary(max_size=5))
    def publish(self, topic, data):
        listening = [subscriber for subscriber in self.all if subscriber.inner.ended is None]
        deliveries = sum(len(subscriber.reasons(topic)) for subscriber in listening)
        before = [subscriber.inner.matched for subscriber in listening]
        order = [None, *(pattern for pattern, _ in self.broker._patterns.matching(topic.encode()))]
        answered = self.broker.publish(topic, data)
        id = self.broker.last_id(topic)
        assert all(parse_id(id) > parse_id(message[1]) for messages in self.history.values() for message in messages)
        message = (topic, id, data)
        self.history[topic].append(message)
        self.keep(topic, message)
        received = 0
        for subscriber, matched in zip(listening, before, strict=True):
            for reason in sorted(subscriber.reasons(topic), key=order.index):
                subscriber.offer(topic, id, data, reason)
            received += subscriber.inner.matched - matched
        assert received == answered <= deliveries
        return id

    @staticmethod
    def waiting(subscription):
        return [(item.topic, item.id, item.data) for item in subscription._items if isinstance(item, Message)]

    def keep(self, topic, message):
        self.kept[topic] = [*self.kept[topic], message][-KEPT:]
        self.silent = [*(name for name in self.silent if name != topic), topic]
        if len(self.silent) > SMALL.max_logs:
            loser = self.silent.pop(0)
            self.kept[loser] = []
            for name in TOPICS:
                if name not in self.silent:
                    self.lost[name] = message[1]

    @rule(
        target=subscribers,
        topics=st.lists(st.sampled_from(TOPICS), max_size=3, unique=True),
        patterns=st.lists(st.sampled_from(PATTERNS), max_size=2, unique=True),
        policy=st.sampled_from(POLICIES),
    )
    def subscribe(self, topics, patterns, policy):
        assume(topics or patterns)
        subscription = self.broker.subscribe(*topics, patterns=patterns, on_overflow=policy)
        return self.add(Subscriber(subscription, policy, topics, patterns))

    def add(self, subscriber):
        self.all.append(subscriber)
        return subscriber

    @rule(target=subscribers, topic=st.sampled_from(TOPICS), id=st.one_of(ids, st.sampled_from(["1-0", "x", "99999-0"])),
          policy=st.sampled_from(POLICIES))  # fmt: skip
    def resume(self, topic, id, policy):
        """With any id: of this topic, of another, or none at all."""
        return self.resumed(topic, id, policy, known=id in [message[1] for message in self.history[topic]])

    @rule(target=subscribers, subscriber=subscribers, policy=st.sampled_from(POLICIES))
    def reconnect(self, subscriber, policy):
        """With what it has seen last, or where it began."""
        self.disconnect(subscriber)
        topics = subscriber.topics
        if len(topics) != 1 or subscriber.patterns or subscriber.seen is None:
            return multiple()
        return self.resumed(topics[0], subscriber.seen, policy, known=True)

    def resumed(self, topic, id, policy, known):
        subscription = self.broker.subscribe(topic, after=id, on_overflow=policy)
        gap, replay = subscription._first_gap, self.waiting(subscription)
        assert replay == self.kept[topic][len(self.kept[topic]) - len(replay) :], "no end of the log"
        key = parse_id(id)
        if known:
            missed = [message for message in self.history[topic] if parse_id(message[1]) > key]
            if gap is None:
                assert replay == missed
            else:
                assert replay == missed[len(missed) - len(replay) :]
                lost = topic in self.lost and key < parse_id(self.lost[topic])
                assert len(replay) < len(missed) or lost, "a notice, and nothing is missing"
        elif gap is None:
            assert key is not None
        if gap is not None:
            again = self.broker.subscribe(topic, after=gap.id)
            assert [(item.topic, item.id, item.data) for item in again.take(99)] == replay, "from the notice's id on"
            again.close()
        return self.add(Subscriber(subscription, policy, [topic], [], [(*message, None) for message in replay]))

    @rule(subscriber=subscribers, most=st.integers(0, 5))
    def take(self, subscriber, most):
        subscriber.take(most)

    @rule(subscriber=subscribers)
    def catch_up(self, subscriber):
        if subscriber.inner.ended != "closed":
            subscriber.take(99)

    @rule(subscriber=subscribers, topic=st.sampled_from(TOPICS))
    def ignore(self, subscriber, topic):
        """Not while a message of the topic may wait: its id would be seen last, and is none of a topic that is left."""
        if topic in subscriber.topics and subscriber.seen is None and not subscriber.inner.waiting:
            subscriber.inner.remove(topic)
            subscriber.topics = [name for name in subscriber.topics if name != topic]

    @rule(subscriber=subscribers)
    def leave(self, subscriber):
        self.disconnect(subscriber)

    def disconnect(self, subscriber):
        subscriber.inner.close()
        subscriber.expected, subscriber.sizes, subscriber.at = [], [], 0

    @invariant()
    def conservation(self):
        for subscriber in self.all:
            inner = subscriber.inner
            assert inner.matched == inner.taken + inner.dropped + inner.pending
            assert (inner.pending, inner._bytes) == (len(self.waiting(inner)), sum(subscriber.sizes))
            assert inner.pending <= subscriber.room[0] and len(inner._items) <= 2 * subscriber.room[0]

    @invariant()
    def nobody_is_left_behind(self):
        listening = [subscriber for subscriber in self.all if subscriber.inner.ended is None]
        assert set(self.broker.topics) == {topic for subscriber in listening for topic in subscriber.topics}
        assert self.broker.pattern_count == len({pattern for subscriber in listening for pattern in subscriber.patterns})


def test_a_machine_of_publishers_and_subscribers_finds_no_fault():
    few = settings(max_examples=60, stateful_step_count=40)  # a few seconds of the default run
    run_state_machine_as_test(Machine, settings=few)
