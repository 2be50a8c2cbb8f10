"""The same commands to our broker and to a redis-server: the same bytes come back.

What may differ, and why:

- the id of a connection (in HELLO; CLIENT ID is not asked), and the version that HELLO names;
- the order in which UNSUBSCRIBE without a name goes through topics, and in which one client gets the copies of a message for
  several patterns: Redis has the order of a hash table;
- PUBSUB CHANNELS is asked with patterns that match one topic at most, for the same reason;
- ranges of a pattern from ASCII to what is not: their bytes have a sign in Redis, on most machines;
- whether who is cut off sees an end or a reset;
- not asked at all: INFO, COMMAND and SETINFO (their contents are ours), commands that we do not have (MULTI is refused; its
  arity, and EXEC and DISCARD without it, are asked), what XINFO says of a stream (fewer fields; a topic without messages is
  an empty stream), names with a NUL (C ends there), strings that do not end in CRLF and lengths beyond 30 digits (we refuse
  them, Redis takes the first);
- streams: PUBLISH fills ours, so the entries of two are put into Redis by XADD before they are read from both.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minproto.core import CLIENT
from minproto.resp import Connection, Push, encode_command

from .conftest import Address

CLIENTS = 3
STREAMS = {"stream-a": 7, "stream-b": 3}  # and their entries

names = st.sampled_from([b"", b"a", b"b", b"ab", b"news.x", b"\xff", b"a\r\n", "κ".encode()])
patterns = st.sampled_from([b"*", b"a*", b"?", b"[ab]", b"[^a]", b"news.*", b"\\a", b"[a", b"", b"**x", b"a[b-a]"])
words = st.sampled_from([b"", b"x", b"hello world", b"\r\n", b"\xfe\xff", b"y" * 300, b"3", b"0"])
ids = st.sampled_from([
    b"0", b"-", b"+", b"$", b">", b"0-0", b"1", b"99999999999999", b"99999999999999-5", b"(0", b"(99999999999999", b"(-",
    b"x", b"1-",
    b"1-2-3", b"18446744073709551615", b"18446744073709551615-18446744073709551615",
    b"(18446744073709551615-18446744073709551615",
    b"18446744073709551616", b"(0-0", b"01", b"", b"FIRST", b"LAST", b"(FIRST", b"(LAST",
])  # fmt: skip
numbers = st.sampled_from([b"0", b"1", b"2", b"-1", b"x", b"01", b"", b"100", b"99999999999999999999", b"2147483648"])
streams = st.sampled_from([*(name.encode() for name in STREAMS), b"no-stream"])


def said(*parts: Any) -> st.SearchStrategy[list[bytes]]:
    """A command of constant words and drawn ones; one drawn as a list is spread."""
    drawn = [st.just(part) if isinstance(part, bytes) else part for part in parts]
    return st.tuples(*drawn).map(lambda all: [w for part in all for w in (part if isinstance(part, list) else [part])])


options = st.lists(
    st.one_of(said(b"COUNT", numbers), said(b"count", numbers), said(words), said(b"NOACK"), said(b"GROUP", words, words)),
    max_size=2,
).map(lambda all: [word for option in all for word in option])
commands = st.one_of(
    said(b"PING"), said(b"ping", words), said(b"PING", words, words), said(b"ECHO", words), said(b"echo"),
    said(b"SELECT", numbers), said(b"CLIENT", b"SETNAME", words), said(b"client", b"GETNAME"), said(b"CLIENT"),
    said(b"CLIENT", b"nothing", st.lists(words, max_size=2)), said(b"RESET"), said(b"RESET", words),
    said(b"HELLO"), said(b"HELLO", st.sampled_from([b"2", b"3", b"4", b"x", b"-1"])),
    said(b"HELLO", st.sampled_from([b"2", b"3"]), st.lists(
        st.one_of(said(b"AUTH", st.sampled_from([b"default", b"x"]), st.sampled_from([b"secret",
        b"x"])), said(b"SETNAME", words),
                  said(words)), max_size=2).map(lambda all: [word for option in all for word in option])),
    said(b"AUTH", st.lists(st.sampled_from([b"default", b"secret", b"x"]), max_size=3)),
    said(b"SUBSCRIBE", st.lists(names, max_size=3)), said(b"PSUBSCRIBE", st.lists(patterns, max_size=3)),
    said(b"UNSUBSCRIBE", st.lists(names, max_size=2)), said(b"PUNSUBSCRIBE", st.lists(patterns, max_size=2)),
    said(b"PUBLISH", names, words), said(b"PUBLISH", names, words), said(b"publish", names),
    said(b"PUBSUB", b"CHANNELS", names), said(b"PUBSUB", b"NUMSUB", st.lists(names, max_size=3)), said(b"PUBSUB", b"NUMPAT"),
    said(b"SSUBSCRIBE", st.lists(names, max_size=3)), said(b"SUNSUBSCRIBE", st.lists(names, max_size=2)),
    said(b"SPUBLISH", names, words), said(b"SPUBLISH", names, words), said(b"spublish", names),
    said(b"PUBSUB", b"SHARDCHANNELS", names), said(b"PUBSUB", b"SHARDNUMSUB", st.lists(names, max_size=3)),
    said(b"CLIENT", b"NO-EVICT", words), said(b"CLIENT", b"LIST", words), said(b"CLIENT", b"LIST", b"TYPE", words),
    said(b"CLIENT", b"LIST", b"ID", words), said(b"CLIENT", b"REPLY", words),
    said(b"PUBSUB"), said(b"pubsub", b"channels", names, names), said(b"PUBSUB", b"nothing"), said(b"pubsub",
    b"NUMPAT", words),
    said(b"XLEN", streams), said(b"XLEN"), said(b"XRANGE", streams, ids, ids, options), said(b"XRANGE", streams),
    said(b"XREVRANGE", streams, ids, ids, options), said(b"XREVRANGE", streams), said(b"XINFO"), said(b"XINFO", words),
    said(b"XINFO", b"STREAM"),
    said(b"EXEC"), said(b"EXEC", words), said(b"DISCARD"), said(b"DISCARD", words), said(b"MULTI", words), said(b"WATCH"),
    said(b"XREAD", options, b"STREAMS", streams, ids), said(b"XREAD", options, b"streams", streams, streams, ids, ids),
    said(b"XREAD", b"BLOCK", st.sampled_from([b"1", b"-1", b"x"]),
    b"STREAMS", streams, ids), said(b"XREAD", options, streams, ids),
    said(b"XREAD", b"STREAMS", st.lists(streams, min_size=1, max_size=3)), said(b"nothing", st.lists(words, max_size=3)),
    said(st.sampled_from([b"", b"z" * 200, b"a\r\nb"]), st.lists(words, max_size=2)), said(b"QUIT"),
)  # fmt: skip
inline = st.sampled_from([
    b"PING\r\n", b"\r\n", b"\n", b"  ping  hello \n", b'ECHO "a\\x41\\n\\q"\r\n', b"ECHO 'it\\'s'\r\n",
    b"echo a b\n", b'echo x"y z"\r\n',
    b"*0\r\n", b"*-1\r\n", b"publish a inline\n",
])  # fmt: skip
faults = st.sampled_from([
    b'ECHO "a\r\n', b"ECHO 'a'b\r\n", b"*x\r\n", b"*01\r\n", b"*2147483648\r\n", b"*1\r\n:1\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n*1\r\n", b"*2\r\n$4\r\nECHO\r\n+x\r\n", b"POST / HTTP/1.1\r\n", b"host: a\r\n", b"*1\r\n$1073741824\r\n",
    b"*1\r\n\xff\r\n",
])  # fmt: skip
steps = st.lists(
    st.tuples(
        st.integers(0, CLIENTS - 1),
        st.one_of(
            commands.map(lambda said: [encode_command(said)]),
            st.lists(commands.map(encode_command), max_size=4),
            inline.map(lambda line: [line]),
        ),
    ),
    max_size=12,
)  # fmt: skip


class Peer:
    """A connection whose every byte is kept."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=5)
        self._ended = False
        self._syncs = 0

    def say(self, data: bytes) -> None:
        if not self._ended:
            try:
                self._socket.sendall(data)
            except ConnectionError:
                self._ended = True

    def hear(self) -> bytes:
        """All that came until now: up to the answer to a command that does not exist, which is one in any state."""
        if self._ended:
            return b""
        self._syncs += 1
        mark = b"sync-%d" % self._syncs
        self.say(encode_command([mark]))
        answer = b"-ERR unknown command '%b', with args beginning with: \r\n" % mark
        heard = b""
        while not heard.endswith(answer):
            try:
                data = self._socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                self._ended = True
                return heard + b"(the end)"
            heard += data
        return heard.removesuffix(answer)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def peers(address: Address) -> Iterator[list[Peer]]:
    connections = [Peer(address) for _ in range(CLIENTS)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


MASK = re.compile(rb"(\$7\r\nversion\r\n\$\d+\r\n)[0-9.]+(\r\n\$5\r\nproto\r\n:\d\r\n\$2\r\nid\r\n:)\d+")


def masked(heard: bytes) -> bytes:
    return MASK.sub(rb"\1-\2-", heard)


def in_some_order(heard: bytes) -> list[Any]:
    """The values, with the runs sorted that have no order in Redis."""
    core = Connection(CLIENT)
    core.receive_data(heard.removesuffix(b"(the end)"))
    values = [event.items if isinstance(event, Push) else event.value for event in core.events()]  # type: ignore[attr-defined]
    ordered: list[Any] = []
    run: list[Any] = []
    counts: list[Any] = []
    for value in [*values, None]:
        kind = value[0] if isinstance(value, list) and value else None
        if run and (kind != run[0][0] or (kind == b"pmessage" and value[2:] != run[0][2:])):
            ordered += [*sorted(run, key=repr), counts]
            run, counts = [], []
        if kind in (b"unsubscribe", b"punsubscribe"):
            run.append(value[:2])
            counts.append(value[2])
        elif kind == b"pmessage":
            run.append(value)
        else:
            ordered.append(value)
    return ordered


def compare(ours: Address, theirs: Address, said: list[tuple[int, list[bytes]]], fault: bytes = b"") -> None:
    with peers(ours) as our_peers, peers(theirs) as their_peers:
        said = [*said, (0, [fault])]
        for number, data in said:
            for connections in (our_peers, their_peers):
                connections[number].say(b"".join(data))
            heard = [[masked(peer.hear()) for peer in connections] for connections in (our_peers, their_peers)]
            for mine, other in zip(*heard, strict=True):
                if mine != other:
                    assert in_some_order(mine) == in_some_order(other), (number, data, mine, other)


@pytest.fixture(scope="session")
def filled(broker: Address, redis_server: Address) -> dict[bytes, bytes]:
    """Streams of the same entries in both; what FIRST and LAST stand for."""
    ours, theirs = Peer(broker), Peer(redis_server)
    found: dict[bytes, bytes] = {}
    for name, count in STREAMS.items():
        for number in range(count):
            ours.say(encode_command([b"PUBLISH", name.encode(), b"entry %d" % number]))
        ours.hear()
        ours.say(encode_command([b"XRANGE", name.encode(), b"-", b"+"]))
        all_ids = re.findall(rb"\r\n(\d{13,}-\d+)\r\n", ours.hear())
        assert len(all_ids) == count
        for number, id in enumerate(all_ids):
            theirs.say(encode_command([b"XADD", name.encode(), id, b"data", b"entry %d" % number]))
        theirs.hear()
        found[b"FIRST"], found[b"LAST"] = all_ids[1], all_ids[-1]
    ours.close()
    theirs.close()
    return found


def filled_in(said: list[tuple[int, list[bytes]]], found: dict[bytes, bytes]) -> list[tuple[int, list[bytes]]]:
    """With the ids that are in the streams."""

    def replaced(data: bytes) -> bytes:
        for name, id in found.items():
            for form in (name, b"(" + name):
                real = form.replace(name, id)
                data = data.replace(b"$%d\r\n%b\r\n" % (len(form), form), b"$%d\r\n%b\r\n" % (len(real), real))
        return data

    return [(number, [replaced(piece) for piece in data]) for number, data in said]


relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@relaxed
@given(said=steps, fault=st.one_of(st.just(b""), faults))
def test_the_same_answers(
    said: list[tuple[int, list[bytes]]], fault: bytes, broker: Address, redis_server: Address, filled: dict[bytes, bytes]
) -> None:
    compare(broker, redis_server, filled_in(said, filled), fault)


UNTRUSTED = [b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"]
"""Faults of a client that has not given the password; behind it, they begin a command like any other."""


@relaxed
@given(said=steps, fault=st.one_of(st.just(b""), faults, st.sampled_from(UNTRUSTED)))
def test_the_same_answers_with_a_password(
    said: list[tuple[int, list[bytes]]], fault: bytes, broker_with_password: Address, redis_server_with_password: Address
) -> None:
    said = [step for step in said if b"stream" not in b"".join(step[1])]
    assume(fault not in UNTRUSTED or not any(b"secret" in command for _, commands in said for command in commands))
    compare(broker_with_password, redis_server_with_password, said, fault)


@given(pattern=st.text("ab*?[]^-\\", max_size=8), topic=st.text("ab-^]", max_size=5))
@relaxed
def test_the_same_patterns_match(pattern: str, topic: str, broker: Address, redis_server: Address) -> None:
    """As one subscriber sees it."""
    said = [encode_command([b"PSUBSCRIBE", pattern.encode()])], [encode_command([b"PUBLISH", topic.encode(), b"x"])]
    compare(broker, redis_server, [(0, said[0]), (1, said[1])])
