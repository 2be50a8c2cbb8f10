"""Consumer groups, without bytes: the life of an entry, the laws with crashes, and what the limits refuse."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from minproto import log as log_module
from minproto.broker import Broker, Gap
from minproto.commands import execute
from minproto.groups import MAX_PAGE, Claim, Claims, Consumer, Group, Room
from minproto.log import FEW, Entry, IdKey, Limits, Log, Message, NoRoomError, Total
from minproto.resp import Error, NullArray, Simple
from minproto.session import Switchboard
from minproto.testing import GroupLawBroken, check_group
from minproto.testing.group_laws import GroupMachine


class OurQueue:
    """A group of ours, and its log."""

    def __init__(self) -> None:
        self.log = Log(0, 1 << 20, (0, 0), Total())
        self.log.pin(Total())
        self.group = Group(self.log, Room(1_000), (0, 0))
        self.now = 0

    def add(self) -> Hashable:
        self.log.append(Entry((5, len(self.log.entries)), (b"f", b"v"), 500))
        return self.log.last

    def read(self, consumer: str, most: int) -> list[Hashable]:
        self.now += 1
        return [entry.key for entry in self.group.read(consumer, self.now, most)]

    def read_again(self, consumer: str) -> list[Hashable]:
        return [key for key, _ in self.group.read_again(consumer, (0, 0), self.now)]

    def claim(self, consumer: str) -> list[Hashable]:
        return [entry.key for entry in self.group.claim_idle(consumer, self.now, 0).entries]

    def acknowledge(self, consumer: str, ids: list[Any]) -> int:
        return self.group.acknowledge(ids)


def test_a_group_obeys_the_laws() -> None:
    check_group(OurQueue, examples=15)


class ForgetsWhoHasIt(OurQueue):
    def read(self, consumer: str, most: int) -> list[Hashable]:
        self.now += 1
        return [entry.key for entry in self.group.read(consumer, self.now, most, acknowledged=True)]


class DeliversTwice(OurQueue):
    def read(self, consumer: str, most: int) -> list[Hashable]:
        last = self.group.last
        ids = super().read(consumer, most)
        if len(ids) == 4:
            self.group.set_last(last)
        return ids


class KeepsWhatIsDone(OurQueue):
    def acknowledge(self, consumer: str, ids: list[Any]) -> int:
        return super().acknowledge(consumer, ids[:2]) + len(ids[2:])


class NewestFirst(OurQueue):
    def read(self, consumer: str, most: int) -> list[Hashable]:
        return super().read(consumer, most)[::-1]


class ClaimsLittle(OurQueue):
    def claim(self, consumer: str) -> list[Hashable]:
        return [entry.key for entry in self.group.claim_idle(consumer, self.now, 0, most=2).entries]


@pytest.mark.parametrize(
    ("queue", "law"),
    [
        (ForgetsWhoHasIt, "nothing is lost"), (DeliversTwice, "one owner"), (KeepsWhatIsDone, "done is done"),
        (NewestFirst, "order"), (ClaimsLittle, "nothing is lost"),
    ],
)  # fmt: skip
def test_a_queue_that_breaks_a_law_is_found(queue: type[OurQueue], law: str) -> None:
    machine = type("Machine", (GroupMachine,), {"make": queue})
    quick = settings(
        max_examples=100, stateful_step_count=20, deadline=None, report_multiple_bugs=False, database=None,
        phases=[Phase.generate],
    )  # fmt: skip
    with pytest.raises(GroupLawBroken, match=f"^{law}: "):
        run_state_machine_as_test(machine, settings=quick)


# ---- with commands -----------------------------------------------------------------------------------------------------


class Shop:
    """Sessions of one broker, whose clock stands still unless it is told to go on."""

    def __init__(self, history: int = 0, **limits: int) -> None:
        self.now = 1_000
        self.broker = Broker(lambda: self.now, history, Limits(**limits))
        self.session = Switchboard(self.broker).open(print)

    def run(self, words: str) -> Any:
        """The answer to a command: a value, or the text of an error; of one that waits, the Wait."""
        answer = execute(self.session, words.encode().split())
        if not isinstance(answer, list):
            return answer
        (event,) = answer
        value = event.value  # type: ignore[attr-defined]
        return value.text if isinstance(value, Error) else value

    def ids(self, words: str) -> list[str]:
        """The ids of the entries in what XREADGROUP or XCLAIM answers."""
        value = self.run(words)
        if isinstance(value, NullArray):
            return []
        entries = value[0][1] if words.startswith("xread") else value
        return [entry[0].decode() for entry in entries]


@pytest.fixture
def shop() -> Shop:
    """A stream "s" with the entries 1-0, 2-0 and 3-0, and a group "g" that has read none of them."""
    shop = Shop()
    for number in (1, 2, 3):
        shop.run(f"xadd s {number}-0 f {number}")
    shop.run("xgroup create s g 0")
    return shop


READ = "xreadgroup group g {} streams s >"


def test_each_entry_goes_to_one_consumer(shop: Shop) -> None:
    assert shop.ids("xreadgroup group g a count 2 streams s >") == ["1-0", "2-0"]
    assert shop.ids(READ.format("b")) == ["3-0"]
    assert shop.ids(READ.format("a")) == []
    assert shop.ids("xreadgroup group g a streams s 0") == ["1-0", "2-0"]
    assert shop.ids("xreadgroup group g a streams s 1-0") == ["2-0"]


def test_another_group_gets_everything_again(shop: Shop) -> None:
    shop.run("xgroup create s h 1-0")
    assert shop.ids(READ.format("a")) == ["1-0", "2-0", "3-0"]
    assert shop.ids("xreadgroup group h a streams s >") == ["2-0", "3-0"]


def test_who_creates_at_the_newest_gets_later_ones(shop: Shop) -> None:
    shop.run("xgroup create s h $")
    shop.run("xadd s 4-0 f v")
    assert shop.ids("xreadgroup group h a streams s >") == ["4-0"]
    assert shop.run("xgroup create s h 0") == "BUSYGROUP Consumer Group name already exists"


def test_acknowledged_is_never_delivered_again(shop: Shop) -> None:
    shop.run(READ.format("a"))
    assert [shop.run("xack s g 1-0 2-0 9-0"), shop.run("xack s g 1-0")] == [2, 0]
    assert shop.ids("xreadgroup group g a streams s 0") == ["3-0"]
    assert shop.ids("xclaim s g b 0 1-0 2-0 3-0") == ["3-0"]


def test_noack_leaves_nothing_pending(shop: Shop) -> None:
    assert shop.ids("xreadgroup group g a noack streams s >") == ["1-0", "2-0", "3-0"]
    assert shop.run("xpending s g")[0] == 0


def test_pending_says_who_has_what_for_how_long(shop: Shop) -> None:
    shop.run("xreadgroup group g a count 1 streams s >")
    shop.now += 500
    shop.run(READ.format("b"))
    assert shop.run("xpending s g") == [3, b"1-0", b"3-0", [[b"a", b"1"], [b"b", b"2"]]]
    assert shop.run("xpending s g - + 10") == [[b"1-0", b"a", 500, 1], [b"2-0", b"b", 0, 1], [b"3-0", b"b", 0, 1]]
    assert shop.run("xpending s g idle 500 - + 10") == [[b"1-0", b"a", 500, 1]]
    assert shop.run("xpending s g idle 501 - + 10") == []
    assert shop.run("xpending s g (1-0 + 1 b") == [[b"2-0", b"b", 0, 1]]


def test_a_claim_moves_an_entry_that_is_idle(shop: Shop) -> None:
    shop.run(READ.format("a"))
    shop.now += 1_000
    assert shop.ids("xclaim s g b 1001 1-0") == []
    assert shop.ids("xclaim s g b 1000 1-0 7-0") == ["1-0"]
    assert shop.run("xpending s g - + 10") == [[b"1-0", b"b", 0, 2], [b"2-0", b"a", 1_000, 1], [b"3-0", b"a", 1_000, 1]]
    assert shop.run("xclaim s g c 0 1-0 retrycount 9 idle 70 justid") == [b"1-0"]
    assert shop.run("xpending s g 1-0 1-0 10") == [[b"1-0", b"c", 70, 9]]


def test_each_delivery_is_counted(shop: Shop) -> None:
    """By a second read of the own entries, and by a claim; an entry that is gone is not delivered."""
    shop.run("xreadgroup group g a count 2 streams s >")
    shop.run("xdel s 2-0")
    shop.now += 70
    shop.run("xreadgroup group g a streams s 0")
    assert shop.run("xpending s g - + 9") == [[b"1-0", b"a", 0, 2], [b"2-0", b"a", 70, 1]]
    assert [shop.ids("xclaim s g b 0 3-0 force"), shop.run("xpending s g - + 9 b")] == [["3-0"], [[b"3-0", b"b", 0, 2]]]
    shop.run("xgroup setid s g 0")
    shop.run(READ.format("b"))  # as if it was the first time
    assert shop.run("xpending s g - + 9 b") == [[b"1-0", b"b", 0, 1], [b"3-0", b"b", 0, 1]]
    assert [shop.ids("xclaim s g b 0 2-0"), shop.run("xpending s g - + 9 a")] == [[], []]


def test_claiming_goes_through_the_list_piece_by_piece(shop: Shop) -> None:
    shop.run(READ.format("a"))
    shop.run("xdel s 2-0")
    assert shop.run("xautoclaim s g b 0 0 count 1") == [b"2-0", [[b"1-0", [b"f", b"1"]]], []]
    assert shop.run("xautoclaim s g b 0 2-0 count 1 justid") == [b"3-0", [], [b"2-0"]]
    assert shop.run("xautoclaim s g b 0 3-0 justid") == [b"0-0", [b"3-0"], []]
    assert shop.run("xpending s g") == [2, b"1-0", b"3-0", [[b"b", b"2"]]]


def test_a_search_stops_after_ten_times_its_count() -> None:
    shop = Shop()
    for number in range(1, 104):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    shop.run("xreadgroup group g a count 11 streams s >")
    shop.now += 60
    shop.run(READ.format("a"))
    assert shop.run("xautoclaim s g b 61 0 count 1") == [b"11-0", [], []]
    assert shop.run("xautoclaim s g b 60 11 count 1 justid") == [b"12-0", [b"11-0"], []]
    assert shop.run("xautoclaim s g b 60 11-1 count 99") == [b"0-0", [], []]
    group = shop.broker.groups("s")["g"]
    assert len(group.claim_idle("b", shop.now, 0).entries) == 100
    assert [len(group.claim("b", [(1, 0)], shop.now + late)) for late in (0, -1)] == [1, 1]  # a clock may go backwards


def test_a_deleted_entry_is_named_while_it_is_pending(shop: Shop) -> None:
    shop.run(READ.format("a"))
    shop.run("xdel s 2-0")
    ((_, entries),) = shop.run("xreadgroup group g a streams s 0")
    assert entries[1] == [b"2-0", NullArray()]
    shop.run("xtrim s maxlen 0")
    ((_, entries),) = shop.run("xreadgroup group g a streams s 0")
    assert entries == [[id, NullArray()] for id in (b"1-0", b"2-0", b"3-0")]


def test_a_group_is_moved_and_dropped(shop: Shop) -> None:
    shop.run(READ.format("a"))
    assert shop.run("xgroup setid s g 1-0").text == "OK"
    assert shop.ids(READ.format("b")) == ["2-0", "3-0"]
    assert shop.run("xpending s g")[3] == [[b"a", b"1"], [b"b", b"2"]]  # they have moved to b
    assert [shop.run("xgroup delconsumer s g b"), shop.run("xpending s g")[0]] == [2, 1]
    assert shop.run("xgroup delconsumer s g nobody") == 0
    assert [shop.run("xgroup createconsumer s g b"), shop.run("xgroup createconsumer s g b")] == [1, 0]
    assert [shop.run("xgroup destroy s g"), shop.run("xgroup destroy s g")] == [1, 0]
    assert shop.run("xpending s g").startswith("NOGROUP")


def test_what_a_group_has_read_is_counted(shop: Shop) -> None:
    shop.run("xreadgroup group g a count 1 streams s >")
    (group,) = shop.run("xinfo groups s")
    assert dict(group.pairs) == {
        b"name": b"g", b"consumers": 1, b"pending": 1, b"last-delivered-id": b"1-0", b"entries-read": 1, b"lag": 2,
    }  # fmt: skip
    shop.now += 70
    (consumer,) = shop.run("xinfo consumers s g")
    assert dict(consumer.pairs) == {b"name": b"a", b"pending": 1, b"idle": 70}


@pytest.mark.parametrize(
    ("commands", "read", "lag"),
    [
        ("xgroup create s g 0", None, 4), ("xgroup create s g 1-0", None, 3), ("xgroup create s g 2-0", None, None),
        ("xgroup create s g 4-0", None, 0), ("xgroup create s g 0; {2}", 2, 2),
        ("xgroup create s g 1-0 entriesread 1; {1}", 2, 2), ("xgroup create s g 0; {1}; xdel s 3-0", 1, None),
        ("xgroup create s g 0; {2}; xdel s 2-0", 2, None), ("xdel s 1-0; xgroup create s g 0; {2}", 3, 1),
        ("xtrim s maxlen 2; xgroup create s g 0; {1}", 3, 1), ("xgroup create s g 1-0; xtrim s maxlen 0", None, 0),
        ("xgroup create s g 9-0; xtrim s maxlen 0", None, None), ("del s; xgroup create s g $ mkstream entriesread 5", 5, 0),
        ("xgroup create s g 0 entriesread 1", 1, 3),
    ],
)  # fmt: skip
def test_the_lag_is_known_where_redis_knows_it(commands: str, read: int | None, lag: int | None) -> None:
    """A stream of four entries; {2} reads two of them. A deleted entry at the group's id or later makes the lag unknown."""
    shop = Shop()
    for number in (1, 2, 3, 4):
        shop.run(f"xadd s {number}-0 f v")
    for command in commands.split("; "):
        shop.run(f"xreadgroup group g a count {command[1]} streams s >" if command[0] == "{" else command)
    (group,) = shop.run("xinfo groups s")
    assert (dict(group.pairs)[b"entries-read"], dict(group.pairs)[b"lag"]) == (read, lag)


def test_a_group_gets_what_is_published_and_what_is_added() -> None:
    """And a subscriber what is published alone: live, and from the log."""
    shop = Shop(history=10)
    subscription = shop.broker.subscribe("s")
    shop.run("xgroup create s g $ mkstream")
    assert [shop.run("publish s one"), shop.run("xadd s * f two"), shop.run("publish s three")] == [1, b"1000-2", 1]
    assert shop.ids(READ.format("a")) == ["1000-1", "1000-2", "1000-3"]
    assert [message.data for message in subscription.take(9)] == [b"one", b"three"]
    assert [message.data for message in shop.broker.subscribe("s", after="1000-1").take(9)] == [b"three"]


# ---- who waits ---------------------------------------------------------------------------------------------------------


class Reader:
    """Who waits, as a shell does it."""

    def __init__(self, wait: Any) -> None:
        self.wait, self.answer = wait, None

    def look(self, topic: str) -> None:
        self.answer = self.answer or self.wait.answer(topic)


def test_who_has_waited_longest_is_served_first(shop: Shop) -> None:
    """And each entry goes to one of them; who reads on the side gets no entry that somebody waits for."""
    shop.run("xgroup setid s g $")
    readers = [Reader(shop.run(f"xreadgroup group g {name} count 1 block 0 streams s >")) for name in "abc"]
    for reader in readers:
        shop.broker.wait("s", reader)
    shop.run("xadd s 4-0 f v")
    assert shop.ids(READ.format("d")) == []
    shop.run("xadd s 5-0 f v")
    assert [reader.answer is not None for reader in readers] == [True, True, False]
    assert shop.run("xpending s g")[3] == [[b"a", b"1"], [b"b", b"1"]]
    shop.run("xgroup destroy s g")
    (event,) = readers[2].answer or []
    assert event.value.text.startswith("NOGROUP")


def test_a_wait_is_no_wait_where_there_is_something(shop: Shop) -> None:
    assert shop.ids("xreadgroup group g a block 0 streams s >") == ["1-0", "2-0", "3-0"]
    assert shop.ids("xreadgroup group g b block 0 streams s 0") == []


# ---- limits ------------------------------------------------------------------------------------------------------------

OOM = "OOM command not allowed when used memory > 'maxmemory'."


def test_a_stream_is_bounded_and_loses_nothing() -> None:
    shop = Shop(max_log_bytes=3_000)
    answers = [shop.run(f"xadd s {number}-0 f v") for number in range(1, 8)]
    assert answers == [b"1-0", b"2-0", b"3-0", b"4-0", OOM, OOM, OOM]
    assert [shop.run("xlen s"), shop.run("xdel s 2-0"), shop.run("xadd s 9-0 f v"), shop.run("xlen s")] == [4, 1, b"9-0", 4]


@pytest.mark.parametrize(("fields", "cost"), [("f v", 603), ("f v g word", 708)])
def test_the_fields_of_an_entry_count(fields: str, cost: int) -> None:
    """An entry costs 500 bytes, each name and each value 50, and then their bytes and those of the topic."""
    answers = [Shop(max_log_bytes=most).run(f"xadd s 1-0 {fields}") for most in (cost - 1, cost)]
    assert answers == [OOM, b"1-0"]


@pytest.mark.parametrize("limits", [{"max_logs": 2}, {"max_history_bytes": 1_300}])
def test_all_streams_are_bounded(limits: dict[str, int]) -> None:
    shop = Shop(**limits)
    assert [shop.run(f"xadd {name} 1-0 f v") for name in "abc"] == [b"1-0", b"1-0", OOM]
    assert shop.run("exists c") == 0
    assert [shop.run("del a"), shop.run("xadd c 1-0 f v")] == [1, b"1-0"]


def test_a_history_gives_way_to_streams() -> None:
    """What was published is a convenience; what was added is somebody's work."""
    shop = Shop(history=10, max_history_bytes=1_300)
    shop.run("publish p x")
    shop.run("publish q x")
    assert [shop.run(f"xadd {name} 1-0 f v") for name in "ab"] == [b"1-0", b"1-0"]
    assert [shop.run(f"xlen {name}") for name in "abpq"] == [1, 1, 0, 0]
    shop.run("publish a x")  # a is a stream, and all bytes are taken: the message is not kept
    assert shop.run("xrange a - +") == [[b"1-0", [b"f", b"v"]]]


@pytest.mark.parametrize(
    ("most", "command", "answer", "kept"),
    [
        (1_004, "publish q x", 0, 1), (1_003, "publish q x", 0, 0),  # the log of p makes room
        (502, "xgroup create p g 0", Simple("OK"), 1), (501, "xgroup create p g 0", OOM, 1),
        (603, "xadd s 1-0 f v", b"1-0", 0), (602, "xadd s 1-0 f v", OOM, 1),
        (1_105, "xadd p 2000-0 f v", b"2000-0", 2), (1_104, "xadd p 2000-0 f v", OOM, 1),  # it pins the log of p, too
    ],
)  # fmt: skip
def test_the_bytes_of_all_logs_are_bounded_exactly(most: int, command: str, answer: object, kept: int) -> None:
    """A message of one byte takes 502 bytes, and an entry of two takes 603. ``kept``: how many messages p keeps."""
    shop = Shop(history=10, max_history_bytes=most)
    shop.run("publish p x")
    assert [shop.run(command), shop.run("xlen p")] == [answer, kept]


def test_a_history_keeps_its_number_of_messages_and_every_entry() -> None:
    shop = Shop(history=2)
    for number in range(4):
        shop.run(f"publish s {number}")
        shop.run(f"xadd s * f {number}")
    assert [fields[1] for _, fields in shop.run("xrange s - +")] == [b"0", b"1", b"2", b"2", b"3", b"3"]


def test_the_bytes_of_all_logs_are_known_however_they_change() -> None:
    """And the messages of a log with added entries: they stand in two lists."""
    shop = Shop(history=3)
    for words in (
        "publish a 0", "publish b 0", "publish b 1", "xadd b * f v", "publish b 2", "publish b 3", "xtrim b maxlen 3",
        "xgroup create a g $", "publish a 1", "xtrim a maxlen 1", "publish c 0", "xadd d 1-0 f v", "xdel d 1-0", "xdel d 1-0",
        "del c", "del a", "del b",
    ):  # fmt: skip
        shop.run(words)
        logs = shop.broker._logs
        for total, kept in ((logs.in_histories, logs.histories), (logs.in_pinned, logs.pinned)):
            assert total.bytes == sum(log.bytes for log in kept.values())
        for log in (*logs.histories.values(), *logs.pinned.values()):
            assert log.bytes == sum(entry.cost for entry in log.entries)
            assert [*log.published] == [entry for entry in log.entries if isinstance(entry, Message)]
    assert [logs.in_histories.bytes, logs.in_pinned.bytes, [*logs.pinned]] == [0, 0, ["d"]]


def test_groups_consumers_and_pending_entries_are_bounded() -> None:
    shop = Shop(max_claims=4)
    for number in (1, 2, 3, 4):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    assert shop.run("xreadgroup group g a streams s >") == OOM  # a consumer and four entries
    assert shop.ids("xreadgroup group g a count 2 streams s >") == ["1-0", "2-0"]
    assert [shop.run("xgroup create s h 0"), shop.run("xgroup createconsumer s g b")] == [OOM, OOM]
    assert shop.run("xack s g 1-0") == 1
    assert shop.run("xclaim s g b 0 3-0 force") == OOM  # a consumer and an entry
    assert shop.run("xgroup createconsumer s g b") == 1
    shop.run("del s")
    assert shop.broker._room.left == 4


def test_a_full_broker_allows_what_takes_no_room() -> None:
    """The jobs of a dead worker must not be stuck because the limit is reached: their claims exist already."""
    shop = Shop(max_claims=5)
    for number in (1, 2, 3, 4):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    assert shop.run("xgroup createconsumer s g b") == 1
    assert shop.ids("xreadgroup group g a count 2 streams s >") == ["1-0", "2-0"]
    assert shop.broker._room.left == 0
    assert shop.run("xautoclaim s g c 0 0") == OOM  # a new consumer
    assert shop.run("xreadgroup group g b streams s >") == OOM
    assert shop.run("xautoclaim s g b 0 0 count 1 justid") == [b"2-0", [b"1-0"], []]
    assert shop.run("xclaim s g b 0 2-0 justid") == [b"2-0"]
    assert shop.run("xclaim s g a 0 2-0 force justid") == [b"2-0"]
    assert shop.ids("xreadgroup group g b count 1 noack streams s >") == ["3-0"]
    shop.run("xgroup setid s g 0")
    assert shop.ids("xreadgroup group g a count 2 streams s >") == ["1-0", "2-0"]
    assert shop.broker._room.left == 0


def test_xpending_looks_no_further_than_its_number() -> None:
    """A monitor asks for the first ten of 100,000 pending entries every second."""
    looked: list[Hashable] = []

    class Watched(dict[Any, Any]):
        def __getitem__(self, key: Any) -> Any:
            looked.append(key)
            return super().__getitem__(key)

    shop = Shop()
    for number in range(1, 9):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    shop.run(READ.format("a"))
    group = shop.broker.groups("s")["g"]
    group.pending.of = Watched(group.pending.of)
    assert len(shop.run("xpending s g - + 2")) == 2
    assert looked == [(1, 0), (2, 0)]


def test_a_consumer_takes_only_its_own_entries_along() -> None:
    shop = Shop()
    for number in range(1, 7):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    for consumer in "ababab":
        shop.run(f"xreadgroup group g {consumer} count 1 streams s >")
    assert shop.run("xgroup delconsumer s g a") == 3
    group = shop.broker.groups("s")["g"]
    assert group.pending.ids == [(2, 0), (4, 0), (6, 0)] == sorted(group.pending.of)
    assert shop.run("xack s g 1-0 2-0") == 1


def test_room_comes_back_however_it_was_taken() -> None:
    shop = Shop(max_claims=100)
    for number in range(1, 9):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    for words in (
        READ.format("a"), "xack s g 1-0 1-0", "xclaim s g b 0 1-0 2-0 force", "xdel s 3-0", "xautoclaim s g c 0 0",
        "xgroup setid s g 4-0", READ.format("b"), "xdel s 5-0", "xclaim s g a 0 5-0", "xgroup delconsumer s g c",
    ):  # fmt: skip
        shop.run(words)
        (group,) = shop.broker.groups("s").values()
        assert shop.broker._room.left == 100 - 1 - len(group.consumers) - len(group.pending)
        assert sorted(key for each in group.consumers.values() for key in each.pending.ids) == group.pending.ids
    shop.run("xgroup destroy s g")
    assert shop.broker._room.left == 100


def test_a_core_refuses_before_it_changes_anything() -> None:
    queue = OurQueue()
    queue.add()
    queue.group._room.left = 1
    with pytest.raises(NoRoomError):
        queue.group.read("a", 0)
    assert (queue.group.last, queue.group.consumers, queue.group._room.left) == ((0, 0), {}, 1)
    with pytest.raises(NoRoomError):
        Group(queue.log, Room(0), (0, 0))
    room = Room(1)
    Group(queue.log, room, (0, 0))
    assert room.left == 0


def test_a_search_without_room_for_its_consumer_changes_nothing() -> None:
    """The search finds a deleted entry, whose room would be enough for the consumer. The check comes before the search."""
    shop = Shop(max_claims=4)
    shop.run("xadd s 1-0 f v")
    shop.run("xadd s 2-0 f v")
    shop.run("xgroup create s g 0")
    shop.run(READ.format("a"))
    shop.run("xdel s 1-0")
    assert [shop.run("xautoclaim s g b 0 0"), shop.run("xpending s g")[0]] == [OOM, 2]


# ---- messages and entries in one log -----------------------------------------------------------------------------------


def test_a_message_comes_after_an_id_from_the_future() -> None:
    shop = Shop(history=10)
    shop.run("xadd s 5000-7 f v")
    shop.run("publish s x")
    assert shop.broker.last_id("s") == "5000-8"
    assert [message.id for message in shop.broker.subscribe("s", after="0-0").take(9)] == ["5000-8"]
    shop.run("xadd s 18446744073709551615-18446744073709551615 f v")
    last = "ERR The stream has exhausted the last possible ID, unable to add more items"
    assert [shop.run("publish s x"), shop.run("xadd s * f v")] == [last, last]
    with pytest.raises(ValueError, match="the log of 's' has the largest possible id"):
        shop.broker.publish("s", b"x")
    assert shop.run("publish t x") == 0


def test_a_deleted_message_is_a_gap_to_who_has_not_seen_it() -> None:
    """Replay and live are the exact suffix, or there is a notice."""
    clock = count(1_000)
    broker = Broker(lambda: next(clock), 10)
    session = Switchboard(broker).open(print)
    for data in (b"one", b"two", b"three"):
        broker.publish("s", data)
    one, two, three = [message.id for message in broker.log("s")]
    execute(session, [b"XDEL", b"s", two.encode()])
    replays = {id: broker.subscribe("s", after=id).take(9) for id in (one, two, three)}
    assert [isinstance(items[0], Gap) if items else None for items in replays.values()] == [True, False, None]
    assert [message.data for message in replays[two] if not isinstance(message, Gap)] == [b"three"]
    execute(session, [b"XDEL", b"s", three.encode()])
    assert broker.last_id("s") == three and broker.subscribe("s", after=three).take(9) == []


@pytest.mark.parametrize("first", ["ping", "xgroup create s g $ mkstream"])
def test_a_deleted_message_stays_a_gap_when_an_older_one_is_dropped(first: str) -> None:
    """The log loses the second message first, and the first one later: whoever has seen only the first one has missed one.

    A log with a group keeps its messages in a list of their own as well.
    """
    shop = Shop(history=3)
    for words in (first, "publish s 0", "publish s 1", "publish s 2"):
        shop.run(words)
    one, two, _ = [message.id for message in shop.broker.log("s")]
    shop.run(f"xdel s {two}")
    assert [message.data for message in shop.broker.log("s")] == [b"0", b"2"]
    shop.run("publish s 3")
    shop.run("publish s 4")
    assert [len(shop.broker.log("s")), shop.broker.subscribe("s", after=one).take(1)] == [3, [Gap(None, two)]]


def test_delete_forgets_a_stream_and_its_groups(shop: Shop) -> None:
    assert [shop.run("exists s t s"), shop.run("type s").text, shop.run("type t").text] == [2, "stream", "none"]
    assert [shop.run("del s t"), shop.run("exists s"), shop.run("xlen s")] == [1, 0, 0]
    assert shop.run("xadd s 1-0 f v") == b"1-0" and shop.run("xinfo groups s") == []


def test_claims_are_kept_in_order_whatever_comes_and_goes() -> None:
    """Against a dict that is sorted at each question. Ids come at the end and in the middle, and go anywhere."""
    choose, claims, model = Random(1), Claims(), dict[IdKey, Claim]()
    claim = Claim(Consumer("w1", 0), 0, 1)
    for step in range(12_000):
        key = (step, 0) if choose.random() < 0.6 else (choose.randrange(step + 1), 1)
        if key not in model:
            claims.add(key, claim)
            model[key] = claim
        elif len(model) > 1:
            claims.remove(key)
            del model[key]
        if step % 1_000 == 999:
            first, last = sorted(((choose.randrange(step), 0), (choose.randrange(step), 1)))
            expected = [key for key in sorted(model) if first <= key <= last]
            assert [claims.between(first, last), claims.between(first, last, 7)] == [expected, expected[:7]]
            assert [claims.of, claims.ids, len(claims)] == [model, sorted(model), len(model)]
    for key in choose.sample(sorted(model), len(model)):
        claims.remove(key)
        assert all(claims.pages)
    assert [claims.pages, claims.ids, len(claims)] == [[], [], 0]


@pytest.mark.parametrize("order", [sorted, lambda keys: Random(1).sample(keys, len(keys))], ids=["in order", "at random"])
def test_no_claim_moves_more_than_a_page(order: Callable[[list[IdKey]], list[IdKey]]) -> None:
    """In a single list, 90,000 ids that come or go would move four billion ids, and the event loop would wait for seconds."""
    claims, claim = Claims(), Claim(Consumer("w1", 0), 0, 1)
    count = 5 * MAX_PAGE
    for key in order([(1, number) for number in range(count)]):
        claims.add(key, claim)
    assert max(map(len, claims.pages)) <= MAX_PAGE
    assert len(claims.pages) <= 2 * count / MAX_PAGE + 1


def test_commands_over_all_entries_search_for_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deque walks to each position that a binary search asks for, so a search for each entry takes time with the square."""
    searches: list[str] = []

    def counting(search: Callable[..., int]) -> Callable[..., int]:
        def counted(*args: Any, **options: Any) -> int:
            searches.append(search.__name__)
            return search(*args, **options)

        return counted

    for search in (bisect_left, bisect_right):
        monkeypatch.setattr(log_module, search.__name__, counting(search))
    shop, count = Shop(), 2 * FEW
    for number in range(1, count + 1):
        shop.run(f"xadd s {number}-0 f v")
    shop.run("xgroup create s g 0")
    assert len(shop.ids(READ.format("a"))) == count
    ids = " ".join(f"{number}-0" for number in range(count, 0, -1))
    for words in (
        "xreadgroup group g a streams s 0", f"xclaim s g b 0 {ids}", f"xautoclaim s g c 0 0 count {count}", f"xack s g {ids}",
    ):  # fmt: skip
        shop.run(words)
    assert shop.run(f"xdel s {ids}") == count
    assert len(searches) <= 10


def test_many_entries_are_deleted_as_one_by_one() -> None:
    """XDEL of many ids passes over the log once. What is left, and what a subscriber misses, is the same."""
    count, choose = 2 * FEW, Random(1)
    for pinned in (False, True):
        at_once, one_by_one = Shop(history=count), Shop(history=count)
        for number in range(count):
            for shop in (at_once, one_by_one):
                shop.run(f"publish s {number}")
                if pinned and number % 2:
                    shop.run("xadd s * f v")
        fast, slow = at_once.broker.stream("s"), one_by_one.broker.stream("s")
        assert fast and slow
        keys = [entry.key for entry in fast.entries]
        ids = [f"{key[0]}-{key[1]}" for key in choose.sample(keys[1:], FEW + 20)] + ["9-9"] * 2
        assert at_once.run(f"xdel s {' '.join(ids)}") == sum(one_by_one.run(f"xdel s {id}") for id in ids) == FEW + 20
        assert at_once.run("xtrim s maxlen 50") == one_by_one.run("xtrim s maxlen 50")
        for name in ("entries", "published", "start", "last", "bytes", "max_deleted"):
            assert getattr(fast, name) == getattr(slow, name), name
        assert [*fast.published] == [entry for entry in fast.entries if isinstance(entry, Message)]
