"""The RESP core: commands and replies as bytes, in both versions and both roles."""

import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minproto.fast.resp
import minproto.resp
from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError, Wants
from minproto.resp import (
    Command,
    Encoded,
    Error,
    Limits,
    Map,
    NullArray,
    Push,
    Reply,
    Set,
    Simple,
    Verbatim,
    encode_command,
    parse_inline,
    parse_integer,
)
from minproto.testing import laws, strategies
from minproto.testing.cuts import byte_by_byte
from minproto.testing.laws import Subject

Connection = minproto.resp.Connection


@pytest.fixture(
    autouse=True,
    scope="module",
    params=[minproto.resp.Connection, minproto.fast.resp.Connection],
    ids=["plain", "fast"],
)
def core(request):
    """Each test is run on the plain core and on the fast one."""
    global Connection
    Connection = request.param


def received(role, data, **limits):
    core = Connection(role, Limits(**limits))
    core.receive_data(data)
    return list(core.events())


def words(data, **limits):
    """The commands in it, as lists of words."""
    return [event.arguments for event in received(SERVER, data, **limits)]


def value(data):
    """That of the one reply in it."""
    (event,) = received(CLIENT, data)
    assert isinstance(event, Reply)
    return event.value


def fault(role, data, **limits):
    """What is wrong with it, which has to be seen at its last byte, no sooner and no later."""
    core = Connection(role, Limits(**limits))
    for byte in byte_by_byte(data[:-1]):
        core.receive_data(byte)
        assert list(core.events()) == []
    core.receive_data(data[-1:])
    with pytest.raises(RemoteProtocolError) as caught:
        list(core.events())
    assert core.wants is Wants.CLOSED
    return str(caught.value)


# ---- commands --------------------------------------------------------------------------------------------------------


def test_a_command_is_an_array_of_strings():
    data = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"
    assert words(data) == [[b"ECHO", b"hi"]]
    assert Connection(CLIENT).send(Command([b"ECHO", b"hi"])) == encode_command([b"ECHO", b"hi"]) == data


def test_strings_may_hold_anything():
    assert words(b"*2\r\n$0\r\n\r\n$6\r\n\r\n$1\r\n\r\n") == [[b"", b"\r\n$1\r\n"]]


def test_a_pipeline():
    assert words(encode_command([b"a"]) * 3 + b"PING\r\n" + encode_command([b"b",
    b"c"])) == [[b"a"]] * 3 + [[b"PING"], [b"b", b"c"]]


@pytest.mark.parametrize("nothing", [b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n", b"*-7\r\n", b"  \t\r\n"])
def test_empty_commands_are_passed_over(nothing):
    assert words(nothing * 3 + b"PING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"*x\r\n", "invalid multibulk length"), (b"*\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"), (b"*+1\r\n", "invalid multibulk length"),
        (b"*1 \r\n", "invalid multibulk length"), (b"*-0\r\n", "invalid multibulk length"),
        (b"*131073\r\n", "invalid multibulk length"), (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*" + b"1" * 33, "invalid multibulk length"),
        (b"*1\r\n:", "expected '$', got ':'"), (b"*1\r\n*", "expected '$', got '*'"), (b"*1\r\n\r", "expected '$', got ' '"),
        (b"*2\r\n$1\r\na\r\n\xff", "expected '$', got '\udcff'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"), (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$1048577\r\n", "invalid bulk length"), (b"*1\r\n$1x\r\n", "invalid bulk length"),
        (b"*1\r\n$" + b"0" * 33, "invalid bulk length"),
    ],
)  # fmt: skip
def test_a_wrong_length(data, complaint):
    """Refused when it is seen, before anything is reserved; with the words of Redis."""
    assert fault(SERVER, data) == f"Protocol error: {complaint}"


def test_a_string_ends_where_its_length_says():
    assert fault(SERVER, b"*1\r\n$2\r\nabc\r") == "Protocol error: expected CRLF after a string"


def test_the_largest_command():
    """All limits are inclusive: what is exactly as large is taken."""
    limits = {"max_bulk": 5, "max_command": 8, "max_array": 3}
    assert words(b"*3\r\n$5\r\n12345\r\n$3\r\n123\r\n$0\r\n\r\n", **limits) == [[b"12345", b"123", b""]]
    assert "bulk" in fault(SERVER, b"*1\r\n$6\r\n", **limits)
    assert "bulk" in fault(SERVER, b"*2\r\n$5\r\n12345\r\n$4\r\n", **limits)
    assert "multibulk" in fault(SERVER, b"*4\r\n", **limits)


def test_the_limit_of_a_command_counts_from_its_beginning():
    assert len(words(b"*1\r\n$4\r\n1234\r\n" * 5, max_command=5)) == 5


def test_strangers_are_short():
    """Before the password a command has at most 10 strings, of at most 16,384 bytes each, as in Redis."""
    for data, complaint in (
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ):
        core = Connection(SERVER)
        core.receive_data(data)
        assert core.next_event() is None
        core = Connection(SERVER)
        core.authenticated = False
        core.receive_data(b"*10\r\n" + b"$1\r\na\r\n" * 9)
        core.receive_data(b"$16384\r\n" + b"x" * 16_384 + b"\r\n")
        assert core.next_event() is not None
        core.receive_data(data)
        with pytest.raises(RemoteProtocolError, match=complaint):
            core.next_event()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"PING", [b"PING"]), (b"  set\ta  b ", [b"set", b"a", b"b"]), (b"\x0b\x0ca\x0bb", [b"a\x0bb"]),
        (b'echo "a b"', [b"echo", b"a b"]), (b"echo 'a b'", [b"echo", b"a b"]), (b'x"y z" w', [b"xy z", b"w"]),
        (rb'"\n\r\t\b\a\x41\xfF\q\\\""', [b'\n\r\t\b\aA\xffq\\"']), (rb"'\'\n\x41'", [rb"'\n\x41"]), (b'""', [b""]),
        (rb'"\xZZ\x1"', [b"xZZx1"]), (b"'\"' \"'\"", [b'"', b"'"]), (b"\xff\x00", [b"\xff\x00"]), (b"", []),
        (rb"a\b", [rb"a\b"]),
        (rb"'\\'", None), (b'"', None), (b"a'b", None), (b'"a"b', None), (b"'a'\"b\"", None), (rb'"\"', None),
        (b'a "b', None),
    ],
)  # fmt: skip
def test_words_of_a_line(line, expected):
    """As sdssplitargs of Redis takes them apart; None: the quotes do not fit."""
    if expected is None:
        with pytest.raises(RemoteProtocolError, match="unbalanced quotes"):
            parse_inline(line)
    else:
        assert parse_inline(line) == expected


def test_inline_commands_end_in_lf():
    assert words(b"PING\nECHO a\r\nECHO b\r\r\n") == [[b"PING"], [b"ECHO", b"a"], [b"ECHO", b"b"]]
    assert words(b"a" * 62 + b"\r\n", max_line=64) == [[b"a" * 62]]
    assert fault(SERVER, b"a" * 64, max_line=64) == "Protocol error: too big inline request"


def test_the_farewell_is_an_error_reply():
    core = Connection(SERVER)
    core.receive_data(b"*1\r\n:1\r\n")
    with pytest.raises(RemoteProtocolError) as caught:
        core.next_event()
    (last,) = core.farewell(caught.value)
    assert core.send(last) == b"-ERR Protocol error: expected '$', got ':'\r\n"


def test_who_left_in_the_middle_hears_nothing():
    core = Connection(SERVER)
    core.receive_data(b"*1\r\n$4\r\nPI")
    assert core.next_event() is None
    core.receive_eof()
    with pytest.raises(RemoteProtocolError, match="in the middle of a command") as caught:
        core.next_event()
    assert core.farewell(caught.value) == []


def test_the_fast_core_reads_short_commands_by_itself(monkeypatch):
    """And leaves all others to the plain one: what is not whole yet, not short, not right, or perhaps beyond a limit."""
    asked = []
    plain = minproto.resp.Connection._parse_command
    monkeypatch.setattr(minproto.resp.Connection, "_parse_command", lambda core: asked.append(1) or plain(core))

    def asks(data, **limits):
        core = minproto.fast.resp.Connection(SERVER, Limits(**limits))
        core.receive_data(data)
        asked.clear()
        with suppress(RemoteProtocolError):
            core.next_event()
        return bool(asked)

    command = encode_command([b"PUBLISH", b"", b"x" * 1_023])
    ten = encode_command([b"a"] * 10)
    assert not any(asks(data) for data in (command, command + b"?", ten))
    assert not asks(command, max_bulk=len(command), max_command=len(command), max_array=3)
    assert all(asks(command[:end]) for end in range(len(command)))
    for limit in ({"max_bulk": len(command) - 1}, {"max_command": len(command) - 1}, {"max_array": 2}):
        assert asks(command, **limit)
    for other in (encode_command([b"x" * 1_024]), encode_command([b"a"] * 11), b"*0\r\n", b"PING\r\n", b"\r\n",
                  b"*1\r\n$01\r\na\r\n", b"*1\r\n$1\r\nabc", b"*1\r\n:1\r\na\r\n"):  # fmt: skip
        assert asks(other)


# ---- replies ---------------------------------------------------------------------------------------------------------

VALUES = [
    (Simple("OK"), b"+OK\r\n", b"+OK\r\n"), (Error("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"), (7, b":7\r\n", b":7\r\n"),
    (-(1 << 63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"), (b"hi", b"$2\r\nhi\r\n", b"$2\r\nhi\r\n"),
    (None, b"$-1\r\n", b"_\r\n"), (NullArray(), b"*-1\r\n", b"_\r\n"), (True, b":1\r\n", b"#t\r\n"),
    (False, b":0\r\n", b"#f\r\n"),
    (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"), (10.0, b"$2\r\n10\r\n", b",10\r\n"), (-math.inf, b"$4\r\n-inf\r\n", b",-inf\r\n"),
    (1 << 63, b"$19\r\n9223372036854775808\r\n", b"(9223372036854775808\r\n"),
    (Verbatim(b"a"), b"$1\r\na\r\n", b"=5\r\ntxt:a\r\n"), ([], b"*0\r\n", b"*0\r\n"),
    ([1, [b"a", None]], b"*2\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n", b"*2\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n"),
    (Map([(b"a", 1)]), b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"), (Map([]), b"*0\r\n", b"%0\r\n"),
    (Set([1, 2]), b"*2\r\n:1\r\n:2\r\n", b"~2\r\n:1\r\n:2\r\n"),
    (Simple("\udcff\u20ac"), b"+\xff\xe2\x82\xac\r\n", b"+\xff\xe2\x82\xac\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "two", "three"), VALUES, ids=[two.decode("latin-1") for _, two, _ in VALUES])
def test_values(what, two, three):
    server = Connection(SERVER)
    assert server.send(Reply(what)) == two
    server.version = 3
    assert server.send(Reply(what)) == three
    assert value(three) == (None if what == NullArray() else what)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"*-1\r\n", NullArray()), (b"$-1\r\n", None), (b"!5\r\nERR x\r\n", Error("ERR x")), (b",1e3\r\n", 1000.0),
        (b",inf\r\n", math.inf),
        (b"(-5\r\n", -5), (b"%1\r\n*0\r\n*0\r\n", Map([([], [])])), (b"|1\r\n+a\r\n+b\r\n:1\r\n", 1),
        (b"|0\r\n|0\r\n:1\r\n", 1),
        (b"*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", [1, 2]), (b"*1\r\n*1\r\n*0\r\n", [[[]]]),
        (b"(" + b"9" * 4_000 + b"\r\n", 10**4_000 - 1),
    ],
)  # fmt: skip
def test_what_only_others_send(data, what):
    assert value(data) == what


def test_a_number_that_is_none():
    assert math.isnan(value(b",nan\r\n"))


@pytest.mark.parametrize(
    "data",
    [
        b"?\r\n", b"\r\n", b"OK\r\n", b":\r\n", b":1.5\r\n", b":+1\r\n", b":9223372036854775808\r\n", b"_x\r\n",
        b"#T\r\n", b",\r\n", b",1.2.3\r\n",
        b",0x1\r\n", b",1_0\r\n", b"(1.5\r\n", b"(" + b"9" * 4_001 + b"\r\n", b"$-2\r\n", b"*-2\r\n",
        b"%-1\r\n", b"~-1\r\n", b"=-1\r\n", b"$1048577\r\n",
        b"*131073\r\n", b"%65537\r\n", b"*2\r\n*131072\r\n", b"*1\r\n>1\r\n", b"+a\rb\r\n", b"-a\nb\r\n", b"$1\r\nab\r",
        b"=3\r\nabc\r\n", b"=4\r\n\xff\xff\xff:\r\n", b"*1\r\n" * 17,
    ],
)  # fmt: skip
def test_a_wrong_reply(data):
    """Refused when it is seen: an array before its values, a string before its bytes."""
    assert fault(CLIENT, data)


@pytest.mark.parametrize("data", [b"*2\r\n:1\r\n", b"*1\r\n", b"$2\r\n", b"$2\r\nhi", b":", b"|1\r\n+a\r\n+b\r\n", b"|0\r\n"])
def test_an_end_within_a_reply_is_a_fault(data):
    """Behind an attribute, too: the value that it describes has not come."""
    core = Connection(CLIENT)
    core.receive_data(data)
    core.receive_eof()
    with pytest.raises(RemoteProtocolError, match="in the middle of a reply"):
        core.next_event()


def test_an_end_between_two_replies_is_none():
    core = Connection(CLIENT)
    core.receive_data(b"|1\r\n+a\r\n+b\r\n*1\r\n$1\r\na\r\n")
    core.receive_eof()
    assert [*core.events()] == [Reply([b"a"])] and core.wants is Wants.CLOSED


def test_the_values_of_a_reply_are_bounded_however_they_nest():
    limits = {"max_array": 6, "max_depth": 3}
    assert received(CLIENT, b"*2\r\n*1\r\n*1\r\n:1\r\n*2\r\n:1\r\n:2\r\n", **limits) == [Reply([[[1]], [1, 2]])]
    assert "too many values" in fault(CLIENT, b"*2\r\n*1\r\n:1\r\n*4\r\n", **limits)
    assert "arrays within arrays" in fault(CLIENT, b"*1\r\n*1\r\n*1\r\n*1\r\n", **limits)
    assert "too many values" in fault(CLIENT, b"|0\r\n" * 7, **limits)
    assert len(received(CLIENT, b"*6\r\n" + b":1\r\n" * 6 + b"*6\r\n" + b":1\r\n" * 6, **limits)) == 2


def test_the_bytes_of_a_reply_are_bounded():
    limits = {"max_command": 10, "max_bulk": 8}
    assert received(CLIENT, b"*2\r\n$8\r\n12345678\r\n$2\r\n12\r\n" * 2, **limits) == [Reply([b"12345678", b"12"])] * 2
    assert received(CLIENT, b"*2\r\n$8\r\n12345678\r\n+1\r\n", **limits) == [Reply([b"12345678", Simple("1")])]
    assert fault(CLIENT, b"*2\r\n$8\r\n12345678\r\n$3\r\n", **limits)
    assert fault(CLIENT, b"*2\r\n$8\r\n12345678\r\n+12\r\n", **limits)


def test_a_type_that_does_not_exist_is_named():
    with pytest.raises(RemoteProtocolError, match=r"not a value: b'\?1'"):
        received(CLIENT, b"?1\r\n")


def test_a_push_is_no_reply():
    """Version 3 tells them apart; in version 2 a message is an array."""
    push = Push([b"message", b"a", b"hi"])
    server = Connection(SERVER)
    assert server.send(push) == b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
    server.version = 3
    assert received(CLIENT, server.send(push) + b"+PONG\r\n") == [push, Reply(Simple("PONG"))]
    assert server.send(Encoded(b"anything")) == b"anything"


@pytest.mark.parametrize(("text", "number"), [(b"0", 0), (b"-5", -5), (b"9223372036854775807", (1 << 63) - 1)])
def test_integers(text, number):
    assert parse_integer(text) == number


OVER_64_BITS = [b"9223372036854775808", b"-9223372036854775809"]


@pytest.mark.parametrize("text", [b"", b"-", b"00", b"-0", b"+1", b" 1", b"1 ", b"1\n", b"\xb2", *OVER_64_BITS])
def test_what_is_no_integer(text):
    """There is one way to write each."""
    assert parse_integer(text) is None


@pytest.mark.parametrize("text", OVER_64_BITS)
def test_a_number_over_64_bits_is_sent_as_a_string_or_as_a_big_number(text):
    server = Connection(SERVER)
    assert server.send(Reply(int(text))) == b"$%d\r\n%b\r\n" % (len(text), text)
    server.version = 3
    assert server.send(Reply(int(text))) == b"(%b\r\n" % text


def test_a_limit_below_1_is_refused():
    with pytest.raises(ValueError, match="max_bulk"):
        Limits(max_bulk=0)


@pytest.mark.parametrize(("max_bulk", "max_line", "most"), [(10, 5, 12), (10, 20, 20)])
def test_no_more_than_a_string_with_its_end_or_a_line_may_wait(max_bulk, max_line, most):
    """A shell that reads on without pulling events is told so."""
    core = Connection(SERVER, Limits(max_bulk=max_bulk, max_line=max_line))
    core.receive_data(bytes(most))
    core.receive_data(b"x")
    with pytest.raises(LocalProtocolError):
        core.receive_data(b"x")


def test_a_command_has_begun_from_its_first_byte_to_its_last():
    core = Connection(SERVER)
    for piece, begun in (
        (b"\r\n", False), (b"*2\r\n", True), (b"$1\r\na\r\n", True), (b"$", True), (b"1\r\nb\r\n", False), (b"PI", True),
        (b"NG\r\n", False),
    ):  # fmt: skip
        core.receive_data(piece)
        list(core.events())
        assert core.in_command is begun, piece


# ---- the laws --------------------------------------------------------------------------------------------------------


@given(st.lists(strategies.commands, max_size=4))
def test_round_trip_of_commands(events):
    """Law 1."""
    laws.round_trip(Connection(CLIENT), Connection(SERVER), events)


@given(st.lists(strategies.server_events2, max_size=4))
def test_round_trip_of_replies(events):
    """Law 1, version 2."""
    laws.round_trip(Connection(SERVER), Connection(CLIENT), events)


@given(st.lists(strategies.server_events3, max_size=4))
def test_round_trip_of_replies_in_version_3(events):
    """Law 1, version 3."""
    server = Connection(SERVER)
    server.version = 3
    laws.round_trip(server, Connection(CLIENT), events)


@pytest.mark.parametrize(
    ("role", "stream"),
    [
        (SERVER, lambda size: b"*1\r\n$%d\r\n" % size + b"x" * size), (SERVER, lambda size: b"x" * size),
        (SERVER, lambda size: b'"' + b"\\x" * (size // 2)), (SERVER, lambda size: b"' " * (size // 2) + b"\n"),
        (SERVER, lambda size: b"\r\n" * (size // 2)), (SERVER, lambda size: b"*%d\r\n" % size + b"$0\r\n\r\n" * (size // 6)),
        (CLIENT, lambda size: b"+" + b"x" * size), (CLIENT, lambda size: b"*%d\r\n" % size + b":1\r\n" * (size // 4)),
        (CLIENT, lambda size: b"*1\r\n*0\r\n" * (size // 8)), (CLIENT, lambda size: b"|0\r\n" * (size // 4)),
    ],
)  # fmt: skip
def test_linear_time(role, stream):
    """Law 3: long strings, long lines, many small things."""
    size = 20_000 if settings().max_examples >= 100 else 10_000  # the default run has less time
    laws.linear_time(Subject(lambda: Connection(role, Limits(max_line=1 << 20))), stream, size)


ANYTHING = [
    Command([b"PING"]), Command([]), Reply(1), Reply(Simple("a\r")), Reply(Error("a\nb")), Reply("text"), Reply([1, object()]),
    Push([b"a"]), Push([{}]), Encoded(b"x"), Reply(Map([(1, "x")])),
]  # fmt: skip


def test_off_the_table():
    """Law 7: a client sends commands that have a name; a server sends the rest, if it has a form."""
    allowed = {CLIENT: [Command([b"PING"])], SERVER: [Reply(1), Push([b"a"]), Encoded(b"x")]}
    roles = {CLIENT: lambda: Connection(CLIENT), SERVER: lambda: Connection(SERVER)}
    laws.off_the_table(roles, ANYTHING, lambda role, event: event in allowed[role])


def test_a_refused_send_names_what_it_refuses():
    with pytest.raises(LocalProtocolError, match="a server can't send Command"):
        Connection(SERVER).send(Command([b"PING"]))


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb"])
@pytest.mark.parametrize("kind", [Simple, Error])
def test_no_line_of_a_reply_has_a_line_break(kind, text):
    """What stands behind it would be another reply."""
    with pytest.raises(LocalProtocolError, match="a line break in a line"):
        Connection(SERVER).send(Reply(kind(text)))


def test_an_inline_command_without_an_end_is_refused():
    core = Connection(SERVER, Limits(max_line=100))
    core.receive_data(b"x" * 99)
    assert core.next_event() is None
    core.receive_data(b"x")
    with pytest.raises(RemoteProtocolError, match="too big inline request"):
        core.next_event()
