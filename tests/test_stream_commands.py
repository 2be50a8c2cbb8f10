"""The words of the commands of streams and groups, without bytes: each option, each bound, and each refusal."""

from typing import Any

import pytest
from test_groups import OOM, READ, Reader, Shop
from test_streams import ITEM, LAST, NO_ID, SYNTAX

from minproto.broker import MAX_NAME
from minproto.resp import Map, NullArray, Reply, Simple
from minproto.stream_commands import MAX_AFTER_WAIT

OK = Simple("OK")
NUMBER = "ERR value is not an integer or out of range"
TOO_LONG = f"ERR a channel or pattern has at most {MAX_NAME} bytes"
LONG = "x" * (MAX_NAME + 1)
NO_STREAM = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to "
    "create an empty stream automatically."
)
NOT_HERE = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
MEANINGLESS = (
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a "
    "proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
)


def wrong_words(subcommand: str, command: str = "XGROUP") -> str:
    return f"ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {command} HELP."


def no_group(name: str, topic: str) -> str:
    return f"NOGROUP No such consumer group '{name}' for key name '{topic}'"


def nothing(topic: str, name: str, suffix: str = "") -> str:
    return f"NOGROUP No such key '{topic}' or consumer group '{name}'{suffix}"


@pytest.fixture
def shop() -> Shop:
    """A stream "s" with four entries. Its group "g" has delivered 1-0 and 1-1 to the consumer "a"."""
    shop = Shop()
    for id in ("1-0", "1-1", "2-0", "3-0"):
        shop.run(f"xadd s {id} f v")
    shop.run("xgroup create s g 0")
    shop.run("xreadgroup group g a count 2 streams s >")
    return shop


def state(shop: Shop) -> list[Any]:
    """Return what a client can see of the streams and their groups."""
    commands = ("exists t", "xinfo stream s", "xinfo groups s", "xinfo consumers s g", "xpending s g - + 10", "xpending s g")
    return [shop.run(words) for words in commands]


# ---- refusals ------------------------------------------------------------------------------------------------

OF_READING = " in XREADGROUP with GROUP option"
NOT_WITHOUT = f"{SYNTAX}, LIMIT cannot be used without"
REFUSED = [
    ("xadd s nomkstream nomkstream *", "ERR wrong number of arguments for 'xadd' command"), ("xadd s 3-0 f v", ITEM),
    ("xadd s maxlen 3 limit 1 * f v", f"{NOT_WITHOUT} the special ~ option"),
    ("xadd s limit 0 * f v", f"{NOT_WITHOUT} the special ~ option"),
    ("xadd s limit 1 * f v", f"{NOT_WITHOUT} specifying a trimming strategy"),
    ("xadd s maxlength 3 * f v", NO_ID), (f"xadd {LONG} * f v", TOO_LONG), ("xadd s maxlen x * f v", NUMBER),
    ("xtrim s maxlen ~", NUMBER), ("xtrim s maxlen 3 maxlen", SYNTAX), ("xtrim s maxlen ~ 3 limit", SYNTAX),
    ("xtrim s nomkstream maxlen 3", SYNTAX), ("xtrim s maxlen 3 *", SYNTAX), ("xtrim s maxlen ~ 3 limit x", NUMBER),
    ("xrange s - + count", SYNTAX), ("xrange s - + nope 1", SYNTAX), ("xrevrange s - x", NO_ID),
    ("xread nope 1 streams s 0", SYNTAX), ("xread block -1 streams s 0", "ERR timeout is negative"),
    ("xread streams s >", NOT_HERE), (f"xinfo stream {LONG}", TOO_LONG), ("xinfo stream t", "ERR no such key"),
    ("xinfo stream s full", wrong_words("STREAM", "XINFO")),
    ("xgroup create t h 0", NO_STREAM), ("xgroup create t h 0 entriesread 1", NO_STREAM),
    ("xgroup create s h 0 entriesread", wrong_words("create")), ("xgroup create s h 0 nope", wrong_words("create")),
    ("xgroup create s h 0 nope 3", wrong_words("create")), ("xgroup create s h 0 entriesread x", NUMBER),
    ("xgroup create s h 0 entriesread -2", "ERR value for ENTRIESREAD must be positive or -1"),
    ("xgroup create t h 0 mkstream mkstream entriesread 3", wrong_words("create")),
    ("xgroup create s h x", NO_ID), ("xgroup create s g x", NO_ID), ("xgroup create s g -", NO_ID),
    ("xgroup create s g 0", "BUSYGROUP Consumer Group name already exists"),
    (f"xgroup create s {LONG} 0", TOO_LONG), (f"xgroup create {LONG} g 0 mkstream", TOO_LONG),
    ("xgroup setid s g 0 mkstream", wrong_words("setid")), ("xgroup setid s g 0 entriesread", wrong_words("setid")),
    ("xgroup setid s g 0 entriesread 3 entriesread 4", wrong_words("setid")), ("xgroup setid s g x", NO_ID),
    ("xgroup setid t g 0", NO_STREAM), ("xgroup setid s h 0", no_group("h", "s")),
    ("xgroup destroy t g", NO_STREAM), ("xgroup createconsumer t g b", NO_STREAM),
    ("xgroup createconsumer s h b", no_group("h", "s")), (f"xgroup createconsumer s g {LONG}", TOO_LONG),
    ("xgroup delconsumer t g a", NO_STREAM), ("xgroup delconsumer s h a", no_group("h", "s")),
    ("xreadgroup count 1 block 0 streams s >", "ERR Missing GROUP option for XREADGROUP"),
    ("xreadgroup group g a streams t >", nothing("t", "g", OF_READING)),
    ("xreadgroup group h a streams s x", nothing("s", "h", OF_READING)),
    ("xreadgroup group g a streams s t > >", nothing("t", "g", OF_READING)),
    ("xreadgroup group g a streams s $", MEANINGLESS), ("xreadgroup group g a streams s x", NO_ID),
    (f"xreadgroup group g {LONG} streams s >", TOO_LONG),
    ("xack s g x", NO_ID), ("xack s g 1-0 x", NO_ID),
    ("xpending s g -", SYNTAX), ("xpending s g - +", SYNTAX), ("xpending s g idle 0 -", SYNTAX),
    ("xpending s g idle 0 - +", SYNTAX), ("xpending s g idle 0 - + 10 a b", SYNTAX), ("xpending s g - + x", NUMBER),
    ("xpending s g idle x - + 10", NUMBER), ("xpending s g x + 10", NO_ID), ("xpending s g - x 10", NO_ID),
    ("xpending t g", nothing("t", "g")), ("xpending s h - + 10", nothing("s", "h")),
    ("xclaim t g a 0 1-0", nothing("t", "g")), ("xclaim s h a 0 1-0", nothing("s", "h")),
    ("xclaim s g b x 1-0", "ERR Invalid min-idle-time argument for XCLAIM"),
    ("xclaim s g b 0 1-0 2-x", "ERR Unrecognized XCLAIM option '2-x'"),
    *((f"xclaim s g b 0 1-0 {option}", f"ERR Unrecognized XCLAIM option '{option}'")
      for option in ("idle", "time", "retrycount", "lastid", "nope")),
    ("xclaim s g b 0 1-0 nope 3", "ERR Unrecognized XCLAIM option 'nope'"),
    ("xclaim s g b 0 1-0 force 2-0", "ERR Unrecognized XCLAIM option '2-0'"),
    *((f"xclaim s g b 0 1-0 {option} x", f"ERR Invalid {option.upper()} option argument for XCLAIM")
      for option in ("idle", "time", "retrycount")),
    ("xclaim s g b 0 1-0 lastid x", NO_ID), (f"xclaim s g {LONG} 0 1-0", TOO_LONG),
    ("xautoclaim t g b 0 0", nothing("t", "g")), ("xautoclaim s h b 0 0", nothing("s", "h")),
    ("xautoclaim s g b x 0", "ERR Invalid min-idle-time argument for XAUTOCLAIM"), ("xautoclaim s g b 0 x", NO_ID),
    *((f"xautoclaim s g b 0 0 count {number}", "ERR COUNT must be > 0") for number in ("0", "-1", "x", (1 << 63) // 16)),
    ("xautoclaim s g b 0 0 count", SYNTAX), ("xautoclaim s g b 0 0 nope", SYNTAX), ("xautoclaim s g b 0 0 nope 3", SYNTAX),
    (f"xautoclaim s g {LONG} 0 0", TOO_LONG),
    ("xinfo groups t", "ERR no such key"), ("xinfo consumers t g", "ERR no such key"),
    ("xinfo consumers s h", no_group("h", "s")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "error"), REFUSED, ids=[words[:60] for words, _ in REFUSED])
def test_a_refused_command_changes_nothing(shop: Shop, words: str, error: str) -> None:
    before = state(shop)
    assert shop.run(words) == error
    assert state(shop) == before


def test_commands_about_nothing_do_nothing(shop: Shop) -> None:
    before = state(shop)
    commands = (
        "xack t g 1-0", "xack s h 1-0", "xack s g 3-0", "xgroup destroy s h", "xgroup delconsumer s g nobody", "xdel t 1-0",
        "xtrim t maxlen 0", "xtrim s maxlen 4", "xlen t", "del t", "exists t",
    )  # fmt: skip
    assert {words: shop.run(words) for words in commands} == dict.fromkeys(commands, 0)
    assert [shop.run("xgroup createconsumer s g a"), shop.run("xpending s g - + 10 nobody")] == [0, []]
    assert state(shop) == before


# ---- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "ids"),
    [
        ("- (3", ["1-0", "1-1", "2-0", "3-0"]), ("- (3-0", ["1-0", "1-1", "2-0"]), ("- (1-1", ["1-0"]),
        ("1 1", ["1-0", "1-1"]), ("(1 2", ["1-1", "2-0"]), ("(1-1 +", ["2-0", "3-0"]),
    ],
)  # fmt: skip
def test_the_bounds_of_a_range(shop: Shop, bounds: str, ids: list[str]) -> None:
    assert [id.decode() for id, _ in shop.run(f"xrange s {bounds}")] == ids
    first, last = bounds.split()
    assert [id.decode() for id, _ in shop.run(f"xrevrange s {last} {first}")] == ids[::-1]


def test_a_reader_of_no_stream_waits_for_its_first_entry() -> None:
    shop = Shop()
    wait = shop.run("xread block 0 streams s $")
    shop.run("xadd s 1-0 f v")
    assert wait.answer("s") == [Reply([[b"s", [[b"1-0", [b"f", b"v"]]]]])]
    shop.run("hello 3")
    assert shop.run("xread streams s 0") == Map([(b"s", [[b"1-0", [b"f", b"v"]]])])
    shop.run("xdel s 1-0")
    assert dict(shop.run("xinfo stream s").pairs)[b"recorded-first-entry-id"] == b"0-0"


# ---- groups ------------------------------------------------------------------------------------------------------------


def group_facts(shop: Shop, topic: str = "s") -> list[tuple[bytes, bytes, int | None]]:
    """Return the name, the place and the number of entries read of each group."""
    facts = [dict(group.pairs) for group in shop.run(f"xinfo groups {topic}")]
    return [(fact[b"name"], fact[b"last-delivered-id"], fact[b"entries-read"]) for fact in facts]


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ("0", (b"0-0", None)), ("$", (b"3-0", None)), ("2", (b"2-0", None)), ("2-7 entriesread 0", (b"2-7", 0)),
        ("2 entriesread -1", (b"2-0", None)), ("$ mkstream entriesread 12", (b"3-0", 12)),
        ("1 entriesread 1 mkstream", (b"1-0", 1)), ("1 mkstream mkstream", (b"1-0", None)),
    ],
)  # fmt: skip
def test_where_a_new_group_begins(shop: Shop, words: str, fact: tuple[bytes, int | None]) -> None:
    assert shop.run(f"xgroup create s h {words}") == OK
    assert group_facts(shop) == [(b"g", b"1-1", 2), (b"h", *fact)]


def test_a_group_of_a_new_stream_begins_at_its_start() -> None:
    shop = Shop()
    assert shop.run("xgroup create t b $ mkstream") == OK
    assert shop.run("xgroup create t a 0") == OK
    assert shop.run("xgroup create u c 0 entriesread 1 mkstream") == OK
    assert group_facts(shop, "t") == [(b"a", b"0-0", None), (b"b", b"0-0", None)]
    assert group_facts(shop, "u") == [(b"c", b"0-0", 1)]


@pytest.mark.parametrize(
    ("words", "fact", "ids"),
    [
        ("0", (b"0-0", None), ["1-0", "1-1", "2-0", "3-0"]), ("1", (b"1-0", None), ["1-1", "2-0", "3-0"]),
        ("-", (b"0-0", None), ["1-0", "1-1", "2-0", "3-0"]), ("2-0 entriesread 3", (b"2-0", 3), ["3-0"]),
        ("$", (b"3-0", None), []), ("+", (f"{LAST}-{LAST}".encode(), None), []),
    ],
)  # fmt: skip
def test_where_a_moved_group_goes_on(shop: Shop, words: str, fact: tuple[bytes, int | None], ids: list[str]) -> None:
    assert shop.run(f"xgroup setid s g {words}") == OK
    assert group_facts(shop) == [(b"g", *fact)]
    assert shop.ids(READ.format("b")) == ids


def test_a_read_without_a_new_entry_makes_no_consumer(shop: Shop) -> None:
    """The largest id means the same as ">", as in Redis."""
    shop.run("xgroup create t g $ mkstream")
    assert shop.ids(f"xreadgroup group g a streams s {LAST}-{LAST}") == ["2-0", "3-0"]
    assert [shop.run(f"xreadgroup group g b streams s {id}") for id in (">", f"{LAST}-{LAST}")] == [NullArray()] * 2
    assert [name for name, _ in consumers(shop)] == [b"a"]
    assert shop.run("xreadgroup group g b streams t s > 0") == [[b"s", []]]  # a new consumer asks for its own entries
    assert [name for name, _ in consumers(shop)] == [b"a", b"b"]


def consumers(shop: Shop) -> list[tuple[bytes, int]]:
    """Return the name of each consumer, and the milliseconds since it was seen."""
    facts = [dict(consumer.pairs) for consumer in shop.run("xinfo consumers s g")]
    return [(fact[b"name"], fact[b"idle"]) for fact in facts]


def test_a_consumer_is_removed_with_its_pending_entries(shop: Shop) -> None:
    """Consumers are listed by the bytes of their names, and a clock that goes back does not make their times negative."""
    shop.run("xgroup createconsumer s g A")
    shop.now -= 1
    assert consumers(shop) == [(b"A", 0), (b"a", 0)]
    assert [shop.run("xgroup delconsumer s g A"), shop.run("xgroup delconsumer s g a")] == [0, 2]
    assert [consumers(shop), shop.run("xpending s g")] == [[], [0, None, None, NullArray()]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("- + 10", ["1-0", "1-1"]), ("- + 1", ["1-0"]), ("- + 0", []), ("- + -1", []), ("1-1 + 10", ["1-1"]),
        ("- (1-1 10", ["1-0"]), ("idle 70 - + 10", ["1-0", "1-1"]), ("idle 71 - + 10", []),
        ("idle 70 - + 10 a", ["1-0", "1-1"]), ("idle 70 - + 1 a", ["1-0"]), ("- + 10 b", []),
        ("- + 10 a", ["1-0", "1-1"]), ("idle -5 - + 10", ["1-0", "1-1"]),
    ],
)  # fmt: skip
def test_what_a_monitor_finds(shop: Shop, words: str, found: list[str]) -> None:
    shop.now += 70
    assert [row[0].decode() for row in shop.run(f"xpending s g {words}")] == found


def test_no_entry_is_pending_for_less_than_no_time(shop: Shop) -> None:
    """A clock that goes back hides no pending entry, from a monitor or from a worker that claims it."""
    shop.now -= 5
    assert shop.run("xpending s g - + 1") == shop.run("xpending s g idle -5 - + 1") == [[b"1-0", b"a", 0, 1]]
    assert shop.run("xclaim s g b 0 1-0 justid") == [b"1-0"]
    shop.now -= 5
    assert shop.run("xautoclaim s g c 0 0 justid") == [b"0-0", [b"1-0", b"1-1"], []]
    assert shop.run("xautoclaim s g c 1 0 justid") == [b"0-0", [], []]


# ---- claiming ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "age", "deliveries"),
    [
        ("", 0, 2), ("idle 70", 70, 2), ("time 930", 70, 2), ("idle 0", 0, 2), ("time 1000", 0, 2),
        ("idle 1000", 1_000, 2), ("time 0", 1_000, 2), ("idle 1001", 0, 2), ("time -1", 0, 2), ("time 1001", 0, 2),
        ("idle -1", 0, 2), ("time 5 idle 70", 70, 2), ("retrycount 0", 0, 0), ("retrycount 9", 0, 9), ("retrycount -1", 0, 2),
        ("justid", 0, 1), ("justid retrycount 5", 0, 5), ("force justid idle 7", 7, 1), ("FORCE TIME 5", 995, 2),
    ],
)  # fmt: skip
def test_the_options_of_xclaim(shop: Shop, options: str, age: int, deliveries: int) -> None:
    reply = [b"1-0"] if "justid" in options else [[b"1-0", [b"f", b"v"]]]
    assert shop.run(f"xclaim s g b 0 1-0 {options}") == reply
    shop.now += 10
    assert shop.run("xpending s g - + 1") == [[b"1-0", b"b", age + 10, deliveries]]


def test_xclaim_takes_what_is_not_pending_only_by_force(shop: Shop) -> None:
    assert [shop.run("xclaim s g b 0 2-0 justid"), shop.run("xclaim s g b -5 2-0 1-1 force justid")] == [[], [b"2-0", b"1-1"]]
    assert shop.run("xpending s g")[3] == [[b"a", b"1"], [b"b", b"2"]]
    assert shop.ids(READ.format("c")) == ["2-0", "3-0"]  # a claim does not move the group


@pytest.mark.parametrize(("last", "ids"), [("2-0", ["3-0"]), ("1-0", ["2-0", "3-0"]), ("3-0", [])])
def test_lastid_moves_a_group_on_and_never_back(shop: Shop, last: str, ids: list[str]) -> None:
    assert shop.run(f"xclaim s g b 0 1-0 justid lastid {last}") == [b"1-0"]
    assert shop.ids(READ.format("c")) == ids


def test_xautoclaim_takes_a_hundred_unless_it_is_told(shop: Shop) -> None:
    for number in range(4, 103):
        shop.broker.add("s", (number, 0), (b"f", b"v"))
    shop.run(READ.format("a"))
    next, claimed, deleted = shop.run("xautoclaim s g b -5 0 justid")
    assert (next, len(claimed), deleted) == (b"100-0", 100, [])
    most = ((1 << 63) - 1) // 16
    assert len(shop.run(f"xautoclaim s g b 0 (1-0 justid count {most}")[1]) == 102
    assert shop.run("xautoclaim s g b 1 0 justid") == [b"0-0", [], []]


# ---- after a wait ------------------------------------------------------------------------------------------------------


def waiting(shop: Shop, words: str, *topics: str) -> Reader:
    """Return a reader whose command waits."""
    reader = Reader(shop.run(words))
    for topic in topics:
        shop.broker.wait(topic, reader)
    return reader


def answered(reader: Reader) -> Any:
    """Return the value that the reader gets, or the text of its error."""
    (event,) = reader.answer or []
    return getattr(event.value, "text", event.value)


def test_a_reader_whose_stream_is_deleted_gets_an_error(shop: Shop) -> None:
    shop.run("xgroup setid s g $")
    reader = waiting(shop, "xreadgroup group g b block 0 streams s >", "s")
    shop.run("del s")
    assert answered(reader) == "UNBLOCKED the stream key no longer exists"


def test_a_reader_without_room_gets_an_error_and_the_adder_none() -> None:
    shop = Shop(max_claims=2)
    shop.run("xgroup create s g $ mkstream")
    reader = waiting(shop, "xreadgroup group g b block 0 streams s >", "s")
    assert shop.run("xadd s 1-0 f v") == b"1-0"
    assert answered(reader) == OOM


def test_a_reader_gets_no_more_than_its_count_after_a_wait(shop: Shop) -> None:
    shop.run("xgroup setid s g $")
    reader = waiting(shop, "xreadgroup group g b count 2 noack block 0 streams s >", "s")
    shop.run("xgroup setid s g 1-1")
    shop.run("xadd s 4-0 f v")
    assert [id for id, _ in answered(reader)[0][1]] == [b"2-0", b"3-0"]
    assert shop.run("xpending s g - + 10 b") == []


def test_a_reader_gets_a_thousand_entries_at_most_after_a_wait() -> None:
    shop = Shop()
    shop.run("xgroup create s g $ mkstream")
    waits = [shop.run(f"{words} block 0 streams s {id}") for words, id in (("xread", "$"), ("xreadgroup group g a", ">"))]
    few = shop.run("xread count 2 block 0 streams s $")
    assert [wait.answer("s") for wait in (*waits, few)] == [None] * 3
    for number in range(MAX_AFTER_WAIT + 1):
        shop.broker.add("s", (5, number), (b"f", b"v"))
    for wait in waits:
        (event,) = wait.answer("s")
        assert len(event.value[0][1]) == 1_000
    (event,) = few.answer("s")
    assert [id for id, _ in event.value[0][1]] == [b"5-0", b"5-1"]


# ---- what the broker keeps ---------------------------------------------------------------------------------------------


class Looks:
    """A reader that notes each call."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    def look(self, topic: str) -> None:
        self.topics.append(topic)


def test_a_group_without_room_makes_no_stream() -> None:
    shop = Shop(max_claims=1)
    assert [shop.run("xgroup create s g 0 mkstream"), shop.run("xgroup create t g 0 mkstream")] == [OK, OOM]
    assert [shop.run("exists s"), shop.run("exists t")] == [1, 0]


def test_a_reader_that_stops_leaves_the_others_waiting(shop: Shop) -> None:
    """DEL wakes readers only if it has deleted a log. A broker in which nobody waits has nothing left of the readers."""
    first, second = Looks(), Looks()
    for reader in (first, second):
        shop.broker.wait("s", reader)
    shop.broker.wait("t", first)
    assert [shop.run("del t"), first.topics] == [0, []]
    shop.broker.stop_waiting("s", first)
    shop.run("xadd s 4-0 f v")
    assert (first.topics, second.topics) == ([], ["s"])
    shop.broker.stop_waiting("s", second)
    shop.broker.stop_waiting("t", first)
    assert shop.broker._readers == {}


def test_a_message_that_is_kept_wakes_a_reader() -> None:
    shop, reader = Shop(history=1), Looks()
    shop.broker.wait("s", reader)
    assert [shop.run("publish t x"), shop.run("publish s x"), reader.topics] == [0, 0, ["s"]]


def test_a_stream_may_have_the_name_of_a_command() -> None:
    shop = Shop()
    for name in ("del", "exists"):
        shop.run(f"xadd {name} 1-0 f v")
    assert [shop.run("del s"), shop.run("exists s"), shop.run("exists del exists s")] == [0, 0, 2]
