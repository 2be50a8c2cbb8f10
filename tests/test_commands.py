"""Sessions and the switchboard, with no connection: who gets which bytes, and when."""

import time
from itertools import count

import pytest

from minproto.broker import MAX_NAME, Broker
from minproto.commands import execute
from minproto.core import CLIENT
from minproto.log import parse_id
from minproto.resp import Connection, Error, NullArray, Push, Reply, Simple
from minproto.session import Switchboard
from minproto.stream_commands import _parse_start


class Board:
    """A switchboard, and what it has pushed to each session."""

    def __init__(self, history=0):
        clock = count()
        self.broker = Broker(lambda: next(clock), history)
        self.switchboard = Switchboard(self.broker)
        self.rings = 0
        self.switchboard.on_ready = self._ring

    def _ring(self):
        self.rings += 1

    def session(self, *commands):
        pushed = []
        session = self.switchboard.open(pushed.append)
        for command in commands:
            execute(session, command.encode().split())
        return session, pushed


def messages(pushed):
    """The data of what was pushed, piece by piece."""
    found = []
    for piece in pushed:
        core = Connection(CLIENT)
        core.receive_data(piece)
        events = list(core.events())
        assert all(isinstance(event, Reply | Push) for event in events)
        found.append([(event.value if isinstance(event, Reply) else event.items)[-1] for event in events])
    return found


def test_messages_wait_for_the_end_of_the_turn():
    """And come in one piece; it is said once that there are some."""
    board = Board()
    _, pushed = board.session("subscribe a", "psubscribe a*")
    assert [board.broker.publish("a", b"%d" % number) for number in range(3)] == [2] * 3
    assert (pushed, board.rings) == ([], 1)
    board.switchboard.flush()
    assert messages(pushed) == [[b"0", b"0", b"1", b"1", b"2", b"2"]]
    board.switchboard.flush()
    assert len(pushed) == 1
    board.broker.publish("a", b"3")
    assert board.rings == 2


def test_a_failing_alarm_is_rung_again_at_the_next_message():
    """And the message is not lost: a switchboard that believed its alarm had rung would gather for ever."""
    board = Board()
    _, pushed = board.session("subscribe a")
    ring, board.switchboard.on_ready = board.switchboard.on_ready, lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        board.broker.publish("a", b"0")
    board.switchboard.on_ready = ring
    board.broker.publish("a", b"1")
    assert board.rings == 1
    board.switchboard.flush()
    assert messages(pushed) == [[b"0", b"1"]]


def test_receivers_of_the_same_get_the_same_bytes():
    """Encoded once for each version."""
    board = Board()
    pushed = [board.session(*commands)[1] for commands in (["subscribe a"], ["subscribe a"], ["hello 3", "subscribe a"])]
    board.broker.publish("a", b"x")
    board.switchboard.flush()
    one, two, three = (pieces[0] for pieces in pushed)
    assert one is two and one[:1] == b"*" and three == b">" + one[1:]


@pytest.mark.parametrize(("version", "first"), [(2, b"*"), (3, b">")])
def test_each_kind_of_message_word_for_word(version, first):
    """A message of a shard channel is pushed at once, behind the messages that were gathered before it."""
    board = Board()
    _, pushed = board.session(f"hello {version}", "subscribe a", "psubscribe a*", "ssubscribe a")
    board.broker.publish("a", b"x")
    assert (board.switchboard.publish_to_shard("a", b"yz"), board.switchboard.publish_to_shard("b", b"")) == (1, 0)
    name = b"$1\r\na\r\n"
    by_topic = first + b"3\r\n$7\r\nmessage\r\n" + name + b"$1\r\nx\r\n"
    by_pattern = first + b"4\r\n$8\r\npmessage\r\n$2\r\na*\r\n" + name + b"$1\r\nx\r\n"
    assert pushed == [by_topic + by_pattern, first + b"3\r\n$8\r\nsmessage\r\n" + name + b"$2\r\nyz\r\n"]


def test_answers_are_turned_off_and_on():
    """CLIENT REPLY is about answers. A confirmation of a subscription still comes, and RESET turns answers on."""
    session, _ = Board().session()
    heard = [
        (words, len(execute(session, words.encode().split())))
        for words in (
            "client reply skip", "ping", "ping", "client reply off", "ping", "ping", "client reply skip", "ping", "ping",
            "subscribe a", "reset", "ping", "client reply off", "client reply on", "ping",
        )
    ]  # fmt: skip
    assert [number for _, number in heard] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1], heard


def test_more_than_a_mebibyte_does_not_wait():
    board = Board()
    _, pushed = board.session("subscribe a")
    board.broker.publish("a", b"x" * (1 << 20))
    assert pushed == []
    board.broker.publish("a", b"y")
    assert messages(pushed) == [[b"x" * (1 << 20), b"y"]]
    board.broker.publish("a", b"x" * (1 << 20))  # counted anew
    assert len(pushed) == 1
    board.broker.publish("a", b"z")
    assert len(pushed) == 2


def test_who_goes_gets_what_was_published_before():
    """And who comes does not; by topic or by pattern."""
    for listen, ignore in (("subscribe a", "unsubscribe a"), ("psubscribe a*", "punsubscribe")):
        board = Board()
        session, pushed = board.session(listen)
        board.broker.publish("a", b"before")
        execute(session, ignore.encode().split())
        _, late = board.session(listen)
        assert board.broker.publish("a", b"after") == 1
        board.switchboard.flush()
        assert (messages(pushed), messages(late)) == ([[b"before"]], [[b"after"]])


@pytest.mark.parametrize("listen", ["subscribe a", "psubscribe a*", "ssubscribe a"])
def test_one_that_listens_already_changes_nothing(listen):
    """A new subscriber makes the others get what was published before, at once."""
    board = Board()
    session, pushed = board.session("subscribe a", listen) if listen == "ssubscribe a" else board.session(listen)
    board.broker.publish("a", b"x")
    execute(session, listen.encode().split())
    assert pushed == []
    board.switchboard.flush()
    assert messages(pushed) == [[b"x"]]


def test_a_newcomer_does_not_share_what_others_wait_for():
    for listen in ("subscribe a", "psubscribe a*"):
        board = Board()
        board.session(listen)
        board.broker.publish("a", b"before")
        _, late = board.session(listen)
        board.switchboard.flush()
        assert late == []


def test_a_change_of_version_is_for_what_comes_after_it():
    board = Board()
    session, pushed = board.session("hello 3", "subscribe a")
    board.broker.publish("a", b"x")
    execute(session, [b"HELLO", b"2"])
    board.broker.publish("a", b"y")
    board.switchboard.flush()
    assert [piece[:1] for piece in pushed] == [b">", b"*"]


def test_one_that_goes_while_others_are_written_to_disturbs_nobody():
    """A client that is cut off leaves in the middle of a flush."""
    board = Board()
    first, _ = board.session("subscribe a")
    _, second = board.session("subscribe a")
    first.push = lambda data: first.close()
    board.broker.publish("a", b"x")
    board.switchboard.flush()
    assert messages(second) == [[b"x"]] and board.broker.publish("a", b"y") == 1


@pytest.mark.parametrize("words", ["unsubscribe a", "unsubscribe", "punsubscribe a*", "punsubscribe", "reset", "subscribe c"])
def test_one_that_is_cut_off_in_the_middle_of_what_it_says(words):
    """What it says makes a flush, in which it turns out not to read."""
    board = Board()
    session, _ = board.session("subscribe a b", "psubscribe a* b*")
    session.push = lambda data: session.close()
    board.broker.publish("a", b"x")
    execute(session, words.encode().split())
    session.close()
    assert (board.broker.topics, board.broker.pattern_count, board.switchboard.sessions) == ([], 0, {})


def test_the_length_of_a_history_and_its_end_are_known_without_a_copy_of_it(monkeypatch):
    board = Board(history=10)
    session, _ = board.session()
    board.broker.publish("a", b"x")
    monkeypatch.delattr(Broker, "log")
    assert execute(session, [b"XLEN", b"a"]) == [Reply(1)]
    assert _parse_start(board.broker, "a", b"$") == parse_id(board.broker.last_id("a"))


def test_nothing_is_left_of_a_session_that_is_closed():
    board = Board()
    session, _ = board.session("subscribe a b", "psubscribe c*")
    session.close()
    session.close()
    assert (board.broker.topics, board.broker.pattern_count, board.switchboard.sessions) == ([], 0, {})
    assert board.broker.publish("a", b"x") == 0


def test_nothing_is_left_of_a_subscriber_of_shard_channels():
    board = Board()
    session, pushed = board.session("ssubscribe a b c", "sunsubscribe b nothing")
    assert list(session.shards) == list(board.switchboard.by_shard.sessions) == ["a", "c"]
    session.close()
    assert board.switchboard.by_shard.sessions == {}
    assert (board.switchboard.publish_to_shard("a", b"x"), pushed) == (0, [])


@pytest.mark.parametrize("listen", ["subscribe a", "psubscribe a*", "ssubscribe a"])
def test_one_subscription_of_any_kind_makes_a_subscriber(listen):
    session, _ = Board().session(listen)
    assert answer(session, "echo hi").startswith("ERR Can't execute 'echo': only (P|S)SUBSCRIBE")


def test_a_session_without_a_connection_is_described():
    line = b"id=1 addr=? laddr=? fd=-1 name= age=0 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 omem=0 "
    assert answer(Board().session()[0], "client info").data == line + b"cmd=client|info user=default redir=-1 resp=2\n"


def test_who_leaves_many_topics_costs_each_of_them_once():
    """Or a client that comes and goes could hold all others up for seconds."""

    def seconds(size):
        session, _ = Board().session(f"subscribe {' '.join(map(str, range(size)))}")
        began = time.process_time()
        session.close()
        return time.process_time() - began

    # 8 times the topics take 8 times as long, or 64. Other programs disturb a clock, but not eight times in a row.
    assert any(seconds(40_000) < 24 * seconds(5_000) for _ in range(8))


def said(session, *words):
    """The value of the one reply to a command."""
    (event,) = execute(session, list(words))
    return event.value


@pytest.mark.parametrize("version", [b"0", b"1", b"4", b"99"])
def test_only_two_versions_are_spoken(version):
    session, _ = Board().session()
    assert said(session, b"HELLO", version) == Error("NOPROTO unsupported protocol version")
    assert session.version == 2


def test_each_receiver_is_counted():
    board = Board()
    for _ in range(3):
        board.session("subscribe a")
    board.session("subscribe a", "psubscribe a*", "psubscribe *")
    other, _ = board.session()
    assert said(other, b"PUBLISH", b"a", b"x") == 6


def test_a_reset_forgets_the_name():
    session, _ = Board().session("client setname me")
    assert said(session, b"CLIENT", b"GETNAME") == b"me"
    execute(session, [b"RESET"])
    assert said(session, b"CLIENT", b"GETNAME") is None


@pytest.mark.parametrize("name", [b"a b", b"a\nb", b"\x7f", b"\xff", b" "])
def test_a_name_has_no_blank_and_no_control_character(name):
    session, _ = Board().session()
    assert "cannot contain spaces" in said(session, b"CLIENT", b"SETNAME", name).text
    assert "cannot contain spaces" in said(session, b"HELLO", b"3", b"SETNAME", name).text
    assert (session.name, session.version) == (b"", 2)


# ---- what single commands answer -------------------------------------------------------------------------------------


def answer(session, words):
    """The value of the one reply; of an error, its text."""
    (event,) = execute(session, words.split() if isinstance(words, bytes) else words.encode().split())
    return event.value.text if isinstance(event.value, Error) else event.value


@pytest.fixture
def reader():
    """A session, and a topic "t" with the messages 6-0, 7-0 and 8-0."""
    clock = count(5)
    broker = Broker(lambda: next(clock), history=1_000)
    for _ in range(3):
        broker.publish("t", b"x")
    return Switchboard(broker).open(print)


def ids(value):
    """The ids in what XRANGE answers, or XREAD for one topic."""
    entries = value[0][1] if value and value[0][0] == b"t" else value
    return [id_.decode() for id_, _ in entries]


NO_ID = "ERR Invalid stream ID specified as stream command argument"
NO_START, NO_END = (f"ERR invalid {which} ID for the interval" for which in ("start", "end"))
LARGEST = "18446744073709551615"
UNBALANCED = "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
XREADGROUP_ONLY = "ERR The {} option is only supported by XREADGROUP. You called XREAD instead."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("xrange t 6 7", ["6-0", "7-0"]),
        ("xrange t (6 (8-0", ["7-0"]),
        ("xrange t - (0-1", []),
        ("xrange t - (0-0", NO_END),
        (f"xrange t ({int(LARGEST) - 1}-0 +", []),
        (f"xrange t ({LARGEST}-{LARGEST} +", NO_START),
        ("xrange t ( +", NO_ID),
        (f"xrange t {'0' * 124}6-0 +", ["6-0", "7-0", "8-0"]),
        (f"xrange t {'0' * 125}6-0 +", NO_ID),
        ("xrange t - + count 1 count 2", ["6-0", "7-0"]),
        ("xread streams t 6", ["7-0", "8-0"]),
        ("xread count -5 streams t 6", ["7-0", "8-0"]),
        ("xread count 1 count 2", "ERR syntax error"),
        ("xread count 1 streams t", UNBALANCED),
        ("xread group a b", XREADGROUP_ONLY.format("GROUP")),
        ("xread count 1 group a", "ERR syntax error"),
        ("xread count 1 noack", XREADGROUP_ONLY.format("NOACK")),
        ("xread count 1 group", "ERR syntax error"),
    ],
)
def test_ids_and_options_of_streams(reader, words, expected):
    value = answer(reader, words)
    assert (value if isinstance(value, str) else ids(value)) == expected


def test_a_range_goes_from_the_id_0_to_the_largest_id():
    """The first id of a topic whose clock begins at 0 is 0-1: it is after the bound "-", and no id is before that bound."""
    for clock, id in ((0, "0-1"), (int(LARGEST), f"{LARGEST}-1")):
        broker = Broker(lambda clock=clock: clock, history=1)
        broker.publish("t", b"x")
        session = Switchboard(broker).open(print)
        found = [ids(answer(session, f"xrange t {bounds}")) for bounds in ("- +", "- -", "+ +")]
        assert found == [[id], [], []]


def test_a_count_below_1_is_null(reader):
    """As in Redis: an array without values means that there is no stream."""
    assert [answer(reader, f"xrange t - + count {number}") for number in (0, -5)] == [NullArray()] * 2


def test_a_millisecond_has_more_than_127_messages():
    broker = Broker(lambda: 5, history=1_000)
    for _ in range(200):
        broker.publish("t", b"x")
    session = Switchboard(broker).open(print)
    assert [len(answer(session, f"xrange t {bounds}")) for bounds in ("5 5", "- (6-0")] == [200, 200]
    assert len(ids(answer(session, "xread streams t 5"))) == 200  # after 5-0, and the first one is 5-1


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, Simple("OK")),
        *((number, "ERR DB index is out of range") for number in (1, -1, (1 << 31) - 1, -(1 << 31))),
        *(
            (number, "ERR value is out of range, value must between -2147483648 and 2147483647")
            for number in (1 << 31, -(1 << 31) - 1)
        ),
    ],
)
def test_there_is_one_database(reader, number, expected):
    assert answer(reader, f"select {number}") == expected


def test_what_is_said_of_a_command(reader):
    """Its arity and no keys: a client for a cluster would send a command to the server that has its first key."""
    assert answer(reader, "command info SUBSCRIBE nothing") == [[b"subscribe", -2, [], 0, 0, 0, [], [], [], []], None]


# What COMMAND says in redis-server 7.0, of SETINFO in 7.2: the number of words, with the name; negative: at least so many.
ARITIES = {
    "ping": -1, "echo": 2, "hello": -1, "auth": -2, "select": 2, "reset": 1, "quit": -1, "info": -1,
    "client": -2, "client info": 2, "client list": -2, "client no-evict": 3, "client reply": 3,
    "client getname": 2, "client id": 2, "client setinfo": 4, "client setname": 3, "client help": 2,
    "command": -1, "command count": 2, "command docs": -2, "command info": -2, "command help": 2,
    "publish": 3, "subscribe": -2, "unsubscribe": -1, "psubscribe": -2, "punsubscribe": -1,
    "spublish": 3, "ssubscribe": -2, "sunsubscribe": -1,
    "pubsub": -2, "pubsub channels": -2, "pubsub numpat": 2, "pubsub numsub": -2, "pubsub help": 2,
    "pubsub shardchannels": -2, "pubsub shardnumsub": -2,
    "xadd": -5, "xdel": -3, "xtrim": -4, "xlen": 2, "xrange": -4, "xrevrange": -4, "xread": -4,
    "xgroup": -2, "xgroup create": -5, "xgroup createconsumer": 5, "xgroup delconsumer": 5, "xgroup destroy": 4,
    "xgroup setid": -5, "xgroup help": 2, "xreadgroup": -7, "xack": -4, "xpending": -3, "xclaim": -6, "xautoclaim": -6,
    "del": -2, "exists": -2, "type": 2,
    "xinfo": -2, "xinfo consumers": 4, "xinfo groups": 3, "xinfo stream": -3, "xinfo help": 2,
}  # fmt: skip
TRANSACTION_ARITIES = {"multi": 1, "exec": 1, "discard": 1, "watch": -2}


def is_refused(name, count):
    """Whether so many words, of which the name is the first one or two, are the wrong number of them."""
    words = name.encode().split()
    events = execute(Switchboard(Broker(lambda: 5)).open(print), words + [b"0"] * (count - len(words)))
    return f"wrong number of arguments for '{name.replace(' ', '|')}' command" in str(events)


@pytest.mark.parametrize(("name", "arity"), [*ARITIES.items(), *TRANSACTION_ARITIES.items()])
def test_a_command_takes_as_many_words_as_in_redis(name, arity):
    assert not is_refused(name, abs(arity))
    if abs(arity) > len(name.split()):
        assert is_refused(name, abs(arity) - 1)
    if arity > 0:
        assert is_refused(name, arity + 1)


def test_all_commands_are_described_with_the_arity_of_redis(reader):
    described = {name.decode(): arity for name, arity, *_ in answer(reader, "command")}
    assert described == {name: arity for name, arity in ARITIES.items() if " " not in name}


def test_a_name_in_hello_has_to_follow(reader):
    assert answer(reader, "hello 3 setname") == "ERR Syntax error in HELLO option 'setname'"


def test_one_of_two_is_left():
    """Of two patterns, and of two shard channels."""
    session, _ = Board().session("psubscribe a* b*", "punsubscribe a*", "ssubscribe a b", "sunsubscribe a")
    assert [*session.patterns, *session.shards] == ["b*", "b"]


@pytest.mark.parametrize("command", ["subscribe", "psubscribe"])
def test_the_longest_name(command):
    """One that is too long is refused before any other of the same command is subscribed to."""
    session, _ = Board().session()
    longest = "x" * MAX_NAME
    assert answer(session, f"{command} a {longest}x") == f"ERR a channel or pattern has at most {MAX_NAME} bytes"
    assert session.subscription_count == 0
    execute(session, f"{command} {longest}".encode().split())
    assert session.subscription_count == 1
