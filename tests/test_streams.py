"""XADD, XTRIM and XDEL: the ids and the bounds of a stream, without bytes."""

from typing import Any

import pytest

from minproto.broker import Broker
from minproto.commands import execute
from minproto.resp import Error
from minproto.session import Switchboard

ITEM = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
NO_ID = "ERR Invalid stream ID specified as stream command argument"
LAST = "18446744073709551615"


class Shop:
    """A session, whose clock stands at 1000."""

    def __init__(self, *commands: str, history: int = 0) -> None:
        self.broker = Broker(lambda: 1_000, history)
        self.session = Switchboard(self.broker).open(print)
        for command in commands:
            self.run(command)

    def run(self, words: str) -> Any:
        (event,) = execute(self.session, words.encode().split())  # type: ignore[misc]
        value = event.value  # type: ignore[attr-defined]
        return value.text if isinstance(value, Error) else value

    def ids(self) -> str:
        return " ".join(id.decode() for id, _ in self.run("xrange s - +"))


@pytest.mark.parametrize(
    ("before", "id", "given"),
    [
        ("1-1", "*", b"1000-0"), ("1000-7", "*", b"1000-8"), ("2000-7", "*", b"2000-8"), (f"1000-{LAST}", "*", b"1001-0"),
        ("1000-500", "*", b"1000-501"),
        ("1000-7", "1000-*", b"1000-8"), ("1000-7", "1001-*", b"1001-0"), ("1000-7", "999-*", ITEM),
        (f"1000-{LAST}", "1000-*", ITEM), ("1-1", "1-2", b"1-2"), ("1-1", "2", b"2-0"), ("1-1", "1-1", ITEM),
        ("1-1", "1", ITEM), ("1-1", "x", NO_ID), ("1-1", "-", NO_ID), ("1-1", "1-x", NO_ID), ("1-1", "x-*", NO_ID),
        ("1-1", f"{LAST}0-0", NO_ID),
        ("1-1", "0-0", "ERR The ID specified in XADD must be greater than 0-0"),
        ("1-1", f"{LAST}-{LAST}", f"{LAST}-{LAST}".encode()),
        (f"{LAST}-{LAST}", "*", "ERR The stream has exhausted the last possible ID, unable to add more items"),
    ],
)  # fmt: skip
def test_an_id_is_larger_than_all_before_it(before: str, id: str, given: object) -> None:
    assert Shop(f"xadd s {before} f v").run(f"xadd s {id} f v") == given


def test_the_first_id_may_be_any_but_zero() -> None:
    assert [Shop().run(f"xadd s {id} f v") for id in ("0-1", "0-*", "5-*")] == [b"0-1", b"0-1", b"5-0"]


@pytest.mark.parametrize("fields", ["", " f", " f v g"])
def test_fields_are_pairs(fields: str) -> None:
    shop = Shop()
    assert shop.run(f"xadd s *{fields}") == "ERR wrong number of arguments for 'xadd' command"
    assert shop.run("exists s") == 0


def test_nomkstream_makes_no_stream() -> None:
    shop = Shop()
    assert [shop.run("xadd s nomkstream 1-0 f v"), shop.run("exists s")] == [None, 0]
    assert [shop.run("xadd s 1-0 f v"), shop.run("xadd s nomkstream 2-0 f v")] == [b"1-0", b"2-0"]


SYNTAX = "ERR syntax error"
FOUR = [f"xadd s {number}-0 f v" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("words", "answer", "kept"),
    [
        ("maxlen 3", 1, "2-0 3-0 4-0"), ("maxlen = 0", 4, ""), ("maxlen ~ 3", 1, "2-0 3-0 4-0"), ("maxlen 9", 0, ""),
        ("minid 3", 2, "3-0 4-0"), ("minid = 2-1", 2, "3-0 4-0"), ("minid ~ 9", 4, ""), ("maxlen ~ 0 limit 3", 3, "4-0"),
        ("maxlen ~ 0 limit 0", 4, ""), ("maxlen", SYNTAX, ""), ("nope 3", SYNTAX, ""), ("maxlen 3 nope", SYNTAX, ""),
        ("maxlen -1", "ERR The MAXLEN argument must be >= 0.", ""), ("minid x", NO_ID, ""),
        ("maxlen ~ 1 limit -1", "ERR The LIMIT argument must be >= 0.", ""),
        ("maxlen 1 limit 1", "ERR syntax error, LIMIT cannot be used without the special ~ option", ""),
        ("limit 1", SYNTAX + ", LIMIT cannot be used without specifying a trimming strategy", ""),
        ("limit 0", SYNTAX + ", XTRIM must be called with a trimming strategy", ""),
        ("maxlen 1 minid 1", SYNTAX + ", MAXLEN and MINID options at the same time are not compatible", ""),
    ],
)  # fmt: skip
def test_xtrim_removes_the_oldest(words: str, answer: object, kept: str) -> None:
    shop = Shop(*FOUR)
    command = f"xtrim s {words}" if len(words.split()) > 1 else f"xtrim s {words} {words}".replace("maxlen maxlen", "x maxlen")
    assert shop.run(command) == answer
    assert shop.ids() == (kept if isinstance(answer, int) and answer else "1-0 2-0 3-0 4-0")


def test_xadd_trims_as_xtrim_does() -> None:
    shop = Shop(*FOUR)
    assert [shop.run("xadd s maxlen 2 5-0 f v"), shop.ids()] == [b"5-0", "4-0 5-0"]
    assert [shop.run("xadd s minid 5 6-0 f v"), shop.ids()] == [b"6-0", "5-0 6-0"]
    assert [shop.run("xadd s maxlen 0 7-0 f v"), shop.ids(), shop.run("exists s")] == [b"7-0", "", 1]
    assert shop.run("xadd s 7-0 f v") == ITEM  # the id of an entry that is gone is never given again


def test_xdel_removes_what_is_there() -> None:
    shop = Shop(*FOUR)
    assert [shop.run("xdel s 2-0 9-0 2-0 4-0"), shop.ids()] == [2, "1-0 3-0"]
    assert [shop.run("xdel s 1-0 x"), shop.ids(), shop.run("xdel none x")] == [NO_ID, "1-0 3-0", 0]
    info = dict(shop.run("xinfo stream s").pairs)
    assert info == {
        b"length": 2, b"last-generated-id": b"4-0", b"max-deleted-entry-id": b"4-0", b"entries-added": 4,
        b"recorded-first-entry-id": b"1-0", b"groups": 0, b"first-entry": [b"1-0", [b"f", b"v"]],
        b"last-entry": [b"3-0", [b"f", b"v"]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("xrange s 3 11", [3, 4, 5, 6, 7, 8, 9, 10, 11]), ("xrange s 2 12", [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("xrange s 3 11 count 2", [3, 4]), ("xrange s 11 + count 5", [11, 12]), ("xrevrange s 5 3", [5, 4, 3]),
        ("xrevrange s + - count 2", [12, 11]), ("xrevrange s 3 2 count 5", [3, 2]), ("xrevrange s 3 4", []),
    ],
)  # fmt: skip
def test_a_range_is_read_in_both_directions(words: str, ids: list[int]) -> None:
    shop = Shop(*(f"xadd s {number}-0 f v" for number in range(1, 13)))
    assert [int(id.partition(b"-")[0]) for id, _ in shop.run(words)] == ids


def test_of_a_stream_that_is_empty_a_range_of_none_is_null() -> None:
    shop = Shop("xadd s maxlen 0 1-0 f v")
    assert [type(shop.run("xrange s - + count 0")).__name__, shop.run("xrange t - + count 0")] == ["NullArray", []]
    assert shop.run("xdel s 1-0") == 0


def test_an_entry_is_no_message() -> None:
    """No subscriber hears it, live or from the log; a reader of the stream does."""
    shop = Shop(history=5)
    live = shop.broker.subscribe("s", patterns=["*"])
    shop.run("publish s one")
    shop.run("xadd s * data two")
    shop.run("publish s three")
    assert [message.data for message in live.take(9)] == [b"one", b"one", b"three", b"three"]
    after = shop.broker.log("s")[0].id
    assert [message.data for message in shop.broker.subscribe("s", after=after).take(9)] == [b"three"]  # type: ignore[union-attr]
    assert [fields for _, fields in shop.run("xrange s - +")] == [[b"data", b"one"], [b"data", b"two"], [b"data", b"three"]]
