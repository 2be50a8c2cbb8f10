"""Streams and consumer groups: the same sequences of commands to our broker and to a redis-server give the same answers.

Several clients take turns. A reader that blocks stays blocked until another client's command wakes it; after each command, all
that has reached any client is compared. So the order in which blocked readers are served is compared, too.

What may differ, and why:

- idle times, and the ids that ``*`` makes: they come from two clocks (an id of today is shown as ``now``);
- ``~``, which trims here as ``=`` does, is asked with a bound that trims nothing in Redis either, or everything;
- XINFO STREAM says nothing of a radix tree; and a topic with a history is an empty stream before its first message.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minproto.core import CLIENT
from minproto.resp import Connection, Error, Map, Reply, encode_command

from .conftest import Address

CLIENTS = 4
RADIX = (b"radix-tree-keys", b"radix-tree-nodes")

keys = st.sampled_from([b"s", b"s", b"s", b"t"])
groups = st.sampled_from([b"g", b"g", b"g", b"h"])
consumers = st.sampled_from([b"a", b"b", b"\xff"])
ids = st.builds(lambda ms, seq: b"%d-%d" % (ms, seq), st.integers(0, 6), st.integers(0, 2))
odd_ids = st.sampled_from([
    b"0", b"3", b"-", b"+", b"$", b">", b"x", b"", b"1-", b"(", b"18446744073709551615-18446744073709551615",
    b"18446744073709551615", b"(3-1", b"(0-0", b"99999999999999999999-0",
])  # fmt: skip
any_ids = st.one_of(ids, ids, ids, odd_ids)
new_ids = st.one_of(
    ids, st.builds(lambda ms: b"%d-*" % ms, st.integers(0, 9)),
    st.sampled_from([b"*", b"*", b"5", b"0-0", b"0-*", b"x-*", b"-*"]),
    st.builds(lambda ms: b"%d-1" % ms, st.integers(5, 30)), st.builds(lambda ms: b"%d-1" % ms, st.integers(5, 30)),
)  # fmt: skip
numbers = st.sampled_from([b"0", b"1", b"1", b"2", b"3", b"-1", b"x"])
idles = st.sampled_from([b"0", b"0", b"100000", b"-5", b"x"])


def words(*parts: Any) -> st.SearchStrategy[list[bytes]]:
    """A command of constant words and drawn ones; one drawn as a list is spread."""
    drawn = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*drawn).map(lambda all: [w for part in all for w in (part if isinstance(part, list) else [part])])


def some(*options: st.SearchStrategy[list[bytes]], most: int = 2) -> st.SearchStrategy[list[bytes]]:
    """No more than so many options, one after the other."""
    return st.lists(st.one_of(*options), max_size=most).map(lambda all: [word for option in all for word in option])


trimming = st.one_of(
    words(b"MAXLEN", numbers), words(b"maxlen", b"=", numbers), words(b"MINID", any_ids), words(b"MINID", b"=", ids),
    words(b"MAXLEN", b"~", st.sampled_from([b"1000", b"x"])), words(b"MAXLEN", b"~", b"1000", b"LIMIT", numbers),
    words(b"LIMIT", numbers), words(b"MAXLEN", b"="), words(b"MAXLEN"),
)  # fmt: skip
fields = st.sampled_from([[b"f", b"1"], [b"f", b"2"], [b"a", b"1", b"b", b"2"], [b"f"], [], [b"", b""]])
xadd = words(b"XADD", keys, st.one_of(st.just([]), st.just([]), some(trimming, words(b"NOMKSTREAM"))), new_ids, fields)
good_xadd = words(b"XADD", keys, new_ids, st.just([b"f", b"1"]))
read = words(
    b"XREADGROUP", b"GROUP", groups, consumers, some(words(b"COUNT", numbers), words(b"NOACK")),
    b"STREAMS", keys, st.one_of(st.just(b">"), st.just(b">"), any_ids),
)  # fmt: skip
read_two = words(
    b"XREADGROUP", b"GROUP", groups, consumers, some(words(b"COUNT", numbers), words(b"NOACK")),
    b"STREAMS", b"s", b"t", st.one_of(st.just(b">"), any_ids), st.one_of(st.just(b">"), any_ids),
)  # fmt: skip
wait = words(
    b"XREADGROUP", b"GROUP", groups, consumers, some(words(b"COUNT", numbers), words(b"NOACK"), most=1),
    b"BLOCK", b"0", b"STREAMS", st.sampled_from([[b"s", b">"], [b"s", b">"], [b"s", b"t", b">", b">"], [b"s", b"0"]]),
)  # fmt: skip
wait_alone = words(
    b"XREAD", some(words(b"COUNT", numbers), most=1), b"BLOCK", b"0", b"STREAMS",
    st.sampled_from([[b"s", b"$"], [b"s", b"2-0"], [b"s", b"t", b"$", b"$"]]),
)  # fmt: skip
wrong_read = st.sampled_from([
    [b"XREADGROUP", b"GROUP", b"g", b"a", b"STREAMS", b"s"], [b"XREADGROUP", b"NOACK", b"STREAMS", b"s", b"t", b">", b">"],
    [b"XREADGROUP", b"GROUP", b"g", b"a", b"NOPE", b"s", b">"],
    [b"XREADGROUP", b"GROUP", b"g", b"a", b"COUNT", b"1", b"STREAMS"],
    [b"XREADGROUP", b"GROUP", b"g", b"a", b"BLOCK", b"-1", b"STREAMS", b"s", b">"], [b"XREAD", b"STREAMS", b"s", b">"],
    [b"XREADGROUP", b"GROUP", b"g", b"a", b"BLOCK", b"1", b"STREAMS", b"t", b">"], [b"XREADGROUP", b"GROUP"],
])  # fmt: skip
pending = st.one_of(
    words(b"XPENDING", keys, groups), words(b"XPENDING", keys, groups, b"-", b"+", b"10"),
    words(b"XPENDING", keys, groups, st.one_of(st.just([]), words(b"IDLE", idles)), any_ids, any_ids, numbers,
          st.lists(consumers, max_size=2)),
    words(b"XPENDING", keys, groups, b"IDLE", idles, b"-"), words(b"XPENDING", keys, groups, b"-", b"+"),
)  # fmt: skip
claim_options = some(
    words(b"IDLE", idles), words(b"TIME", st.sampled_from([b"0", b"1000", b"99999999999999", b"x"])),
    words(b"RETRYCOUNT", numbers), words(b"FORCE"), words(b"FORCE"), words(b"JUSTID"), words(b"LASTID", any_ids),
    words(b"nope"), words(b"IDLE"), most=3,
)  # fmt: skip
claim = st.one_of(
    words(b"XCLAIM", keys, groups, consumers, idles, st.lists(ids, min_size=1, max_size=3), claim_options),
    words(b"XAUTOCLAIM", keys, groups, consumers, idles, st.one_of(st.just(b"0"), any_ids),
          some(words(b"COUNT", numbers), words(b"JUSTID"), words(b"nope"))),
)  # fmt: skip
place = st.one_of(ids, st.sampled_from([b"$", b"0", b"0", b"-", b"+", b"x"]))
create = words(b"XGROUP", b"CREATE", keys, groups, st.sampled_from([b"0", b"$"]), b"MKSTREAM")
change = st.one_of(
    create,
    words(b"XGROUP", b"CREATE", keys, groups, place, some(words(b"MKSTREAM"), words(b"ENTRIESREAD", numbers), words(b"nope"))),
    words(b"XGROUP", b"SETID", keys, groups, place, some(words(b"ENTRIESREAD", numbers), words(b"MKSTREAM"), most=1)),
    words(b"XGROUP", b"SETID", keys, groups, place),
    words(b"XGROUP", b"DESTROY", keys, groups), words(b"XGROUP", b"CREATECONSUMER", keys, groups, consumers),
    words(b"XGROUP", b"DELCONSUMER", keys, groups, consumers),
    words(b"XGROUP", b"nope", keys), words(b"XGROUP", b"CREATE", keys),
    words(b"DEL", keys), words(b"EXISTS", keys, keys), words(b"TYPE", keys),
)  # fmt: skip
info = st.one_of(
    words(b"XINFO", b"GROUPS", keys), words(b"XINFO", b"GROUPS", keys), words(b"XINFO", b"CONSUMERS", keys, groups),
    words(b"XINFO", b"STREAM", keys), words(b"XINFO", b"CONSUMERS", keys), words(b"XINFO", b"STREAM", keys, b"x"),
    words(b"XLEN", keys),
)  # fmt: skip
remove = st.one_of(
    words(b"XDEL", keys, st.lists(any_ids, min_size=1, max_size=3)), words(b"XDEL", keys, ids),
    words(b"XTRIM", keys, trimming), words(b"XTRIM", keys, trimming, trimming), words(b"XTRIM", keys, b"MAXLEN", numbers),
)  # fmt: skip
look = st.one_of(
    words(b"XRANGE", keys, b"-", b"+"),
    words(b"XREVRANGE", keys, b"+", b"-", st.one_of(st.just([]), words(b"COUNT", numbers))),
    words(b"XREAD", some(words(b"COUNT", numbers)), b"STREAMS", keys, any_ids),
)  # fmt: skip
ack = words(b"XACK", keys, groups, st.one_of(st.lists(ids, min_size=1, max_size=4), st.lists(any_ids, min_size=1, max_size=3)))
commands = st.one_of(
    good_xadd, good_xadd, xadd, read, read, read_two, wait, wait, wait_alone, wrong_read, ack, pending, claim, claim, change,
    create, info, remove, look,
)  # fmt: skip
beginning = st.lists(st.one_of(create, good_xadd, good_xadd, good_xadd, read), max_size=8)
"""Most sequences begin with a group and something to read."""
steps = st.builds(
    lambda first, then: [(0, command) for command in first] + then,
    beginning, st.lists(st.tuples(st.integers(0, CLIENTS - 1), commands), min_size=1, max_size=25),
)  # fmt: skip


class Client:
    """A connection, and whether it is blocked."""

    def __init__(self, address: Address, version: int) -> None:
        self._socket = socket.create_connection(address, timeout=5)
        self._core = Connection(CLIENT)
        self.blocked = False
        if version == 3:
            self.ask([b"HELLO", b"3"])

    def ask(self, command: list[bytes]) -> Any:
        """The answer to a command; None if the client is blocked now (which is told from a null: that is an object)."""
        self._socket.sendall(encode_command(command))
        if b"BLOCK" in command and b"0" in command:
            self.blocked = True
            return None
        return self._answer()

    def _answer(self) -> Any:
        while True:
            for event in self._core.events():
                assert isinstance(event, Reply)
                return ("", event.value)
            data = self._socket.recv(65_536)
            assert data
            self._core.receive_data(data)

    def late(self) -> Any:
        """The answer that a blocked client has got meanwhile; None: it is still blocked."""
        if not self.blocked:
            return None
        self._socket.setblocking(False)
        try:
            self._core.receive_data(self._socket.recv(65_536, socket.MSG_PEEK)[:0])
        except BlockingIOError:
            return None
        finally:
            self._socket.settimeout(5)
        self.blocked = False
        return self._answer()

    def close(self) -> None:
        self._socket.close()


class Side:
    """The clients of one server, and one more that only makes sure that the server has done everything."""

    def __init__(self, address: Address, versions: list[int]) -> None:
        self.clients = [Client(address, version) for version in versions]
        self._probe = Client(address, 2)

    def start(self) -> None:
        self._probe.ask([b"DEL", b"s", b"t"])

    def settle(self) -> list[Any]:
        """What each blocked client has got, once the server has nothing left to do."""
        for _ in range(3):
            self._probe.ask([b"PING"])
        return [plain(client.late(), []) for client in self.clients]

    def close(self) -> None:
        for client in (*self.clients, self._probe):
            client.close()


TODAY = re.compile(rb"1[6-9]\d{11}-\d+")


def plain(value: Any, command: list[bytes]) -> Any:
    """An answer without what may differ."""
    if isinstance(value, Error):
        return ("error", value.text)
    if isinstance(value, Map):
        pairs = [(name, 0 if name == b"idle" else plain(part, command)) for name, part in value.pairs if name not in RADIX]
        return ("map", pairs)
    if isinstance(value, bytes):
        return TODAY.sub(b"now", value)
    if isinstance(value, list | tuple):
        if isinstance(value, list) and len(value) % 2 == 0 and value[:1] in ([b"length"], [b"name"]):  # a map in version 2
            return plain(Map(list(zip(value[::2], value[1::2], strict=True))), command)
        if command[:1] == [b"XPENDING"] and len(value) == 4 and type(value[2]) is int:
            value = [*value[:2], "idle", value[3]]
        return [plain(part, command) for part in value]
    return value


@contextmanager
def sides(ours: Address, theirs: Address, versions: list[int]) -> Iterator[list[Side]]:
    both = [Side(address, versions) for address in (ours, theirs)]
    try:
        yield both
    finally:
        for side in both:
            side.close()


def compare(ours: Address, theirs: Address, said: list[tuple[int, list[bytes]]], versions: list[int]) -> None:
    done: list[Any] = []
    with sides(ours, theirs, versions) as both:
        for side in both:
            side.start()
        for number, command in said:
            if any(side.clients[number].blocked for side in both):
                continue
            answers = [plain(side.clients[number].ask(command), command) for side in both]
            late = [side.settle() for side in both]
            done.append((number, command, answers[1], late[1]))
            if command[:2] == [b"XINFO", b"STREAM"] and answers[1] == ["", ("error", "ERR no such key")]:
                continue  # a topic with a history is a stream already
            assert answers[0] == answers[1], done
            assert late[0] == late[1], done


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@relaxed
@given(said=steps, versions=st.sampled_from([[2, 2, 2, 2], [2, 3, 2, 3]]))
def test_the_same_answers(
    said: list[tuple[int, list[bytes]]], versions: list[int], broker: Address, redis_server: Address
) -> None:
    compare(broker, redis_server, said, versions)
