"""Event streams: the standard's examples, line breaks and where they come apart, and what nobody can forge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minproto.core import CLIENT, SERVER, LocalProtocolError, RemoteProtocolError, Wants
from minproto.sse import Comment, Connection, LastEventId, Limits, Retry, ServerSentEvent, encode, parse_line
from minproto.testing import laws, strategies
from minproto.testing.cuts import byte_by_byte


def client(data=b"", **limits):
    core = Connection(CLIENT, Limits(**limits))
    core.receive_data(data)
    return core


def received(data, **limits):
    """The events in it; comments left out."""
    events = client(data.encode() if isinstance(data, str) else data, **limits).events()
    return [event for event in events if not isinstance(event, Comment)]


def event(data, kind="message", id=None):
    return ServerSentEvent(data, kind, id)


# ---- the examples of WHATWG HTML, "Server-sent events" -----------------------------------------------------------------


def test_the_standards_messages():
    assert received(
        "data: This is the first message.\n\n"
        "data: This is the second message, it\ndata: has two lines.\n\n"
        "data: This is the third message.\n\n"
    ) == [
        event("This is the first message."), event("This is the second message, it\nhas two lines."),
        event("This is the third message."),
    ]  # fmt: skip


def test_the_standards_events_with_types():
    stream = "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n"
    assert received(stream) == [event("73857293", "add"), event("2153", "remove"), event("113411", "add")]


def test_the_standards_stock_ticker():
    assert received("data: YHOO\ndata: +2\ndata: 10\n\n") == [event("YHOO\n+2\n10")]


def test_the_standards_four_blocks():
    """A comment; an id; an id without a value, which takes it back; and a second space, which belongs to the data."""
    core = client(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n")
    assert list(core.events()) == [Comment("test stream"), event("first event", id="1"), event("second event", id="")]
    assert core.last_event_id == ""
    core.receive_data(b"\n")
    assert list(core.events()) == [event(" third event")]


def test_a_stream_may_begin_with_an_empty_line():
    assert received("\ndata: a\n\n") == [event("a")]


def test_the_standards_data_without_a_colon():
    """No data is data, too; two lines of nothing are one LF; and what has no empty line is dropped."""
    core = client(b"data\n\ndata\ndata\n\ndata:")
    assert list(core.events()) == [event(""), event("\n")]
    core.receive_eof()
    assert (core.next_event(), core.wants) == (None, Wants.CLOSED)


def test_the_standards_space_that_means_nothing():
    assert received("data:test\n\ndata: test\n\n") == [event("test")] * 2


# ---- lines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_ends(end, cut):
    """An event is given at the first byte that completes it: a CR does not wait for an LF that may never come."""
    core = client()
    stream = end.join(["data: a", "data: b", "", "data: c", "", ""]).encode()
    events = []
    for chunk in cut(stream.removesuffix(b"\n") if end == "\r\n" else stream):
        core.receive_data(chunk)
        events += core.events()
    assert events == [event("a\nb"), event("c")]


def test_mixed_line_ends():
    assert received("data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\n\rdata: e\n\r") == [event("a\nb\nc"), event("d"), event("e")]


def test_an_lf_is_half_of_a_crlf_only_behind_a_cr():
    assert received("data: a\n\rdata: b\r\r") == [event("a"), event("b")]
    assert received("data: a\r\n\ndata: b\n\n") == [event("a"), event("b")]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1e", "\0"])
def test_nothing_else_ends_a_line(character):
    text = f"a{character}data: b"
    assert received(f"data: {text}\n\n") == [event(text)]
    assert received(encode(event(text))) == [event(text)]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("data: a", ("data", "a")), ("data:a", ("data", "a")), ("data:  a", ("data", " a")), ("data:\ta", ("data", "\ta")),
        ("data", ("data", "")), ("data:", ("data", "")), ("data: ", ("data", "")), ("data: a: b", ("data", "a: b")),
        (": comment", ("", "comment")), (":", ("", "")), (" data: a", (" data", "a")), ("data : a", ("data ", "a")),
    ],
)  # fmt: skip
def test_a_line_is_a_name_and_a_value(line, field):
    assert parse_line(line) == field


@pytest.mark.parametrize("line", ["Data: x", " data: x", "data : x", "datax", "unknown: x", ": data: x", "\ufeffdata: x"])
def test_other_fields_are_ignored(line):
    assert received(f"data: a\n{line}\ndata: b\n\n") == [event("a\nb")]


# ---- fields ------------------------------------------------------------------------------------------------------------


def test_an_event_without_data_is_none():
    """But its type is gone, and its id counts."""
    core = client(b"event: x\nid: 1\n\ndata: a\n\n")
    assert list(core.events()) == [LastEventId("1"), event("a")]
    assert core.last_event_id == "1"
    assert received("event: x\n\ndata: a\n\n") == [event("a")]
    assert received("\n\n\n") == []


def test_the_last_of_each_field_counts():
    assert received("event: x\nevent: y\nid: 1\nid: 2\ndata: a\n\n") == [event("a", "y", "2")]
    assert received("event: x\nevent\ndata: a\n\n") == [event("a")]


def test_an_id_counts_when_its_event_is_complete():
    core = client(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert [event.id for event in core.events()] == ["1"]
    assert core.last_event_id == "1"
    core.receive_eof()
    assert (list(core.events()), core.last_event_id) == ([], "1")


def test_an_id_with_nul_is_ignored():
    core = client(b"id: 1\n\nid: 2\0\ndata: a\n\n")
    assert list(core.events()) == [LastEventId("1"), event("a")]
    assert core.last_event_id == "1"


def test_a_client_that_comes_back_has_its_id_already():
    assert Connection(CLIENT, last_event_id="7").last_event_id == "7"


@pytest.mark.parametrize("value", ["", "x", "-1", "+1", "1.5", "1 ", " 1", "\u0663", "1e3"])
def test_a_retry_is_digits(value):
    """ASCII ones, and nothing else."""
    assert received(f"retry: {value}\n") == []


def test_retry():
    assert received("retry: 0\nretry:1500\nretry: 0015\n") == [Retry(0), Retry(1500), Retry(15)]


@pytest.mark.parametrize("digits", ["9" * 18, "1" * 19, "1" * 5_000, "0" * 5_000 + "9" * 19])
def test_a_retry_of_any_length_is_one(digits):
    """Python would not take so many digits at once."""
    assert received(f"retry: {digits}\n") == [Retry(10**18 - 1)]


def test_a_retry_of_many_zeros():
    assert received(f"retry: {'0' * 5_000}7\nretry: {'0' * 5_000}\n") == [Retry(7), Retry(0)]


# ---- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xff", "\ufffd"), (b"a\xc3", "a\ufffd"), (b"\xe2\x82", "\ufffd"), (b"\xe2\x82\xac", "\u20ac"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"), (b"\xc0\x8a", "\ufffd\ufffd"), (b"\xf0\x9f\x98\x80", "\U0001f600"),
        (b"\xf0\x9f\x98x", "\ufffdx"),
    ],
)  # fmt: skip
def test_what_is_not_utf8_is_replaced(data, text):
    """As often as WHATWG's decoder does it, and without the end of the line; an overlong LF ends none."""
    for chunks in ([data], byte_by_byte(data)):
        core = client(b"data: ")
        for chunk in chunks:
            core.receive_data(chunk)
            assert list(core.events()) == []
        core.receive_data(b"\n\n")
        assert list(core.events()) == [event(text)]


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte], ids=["whole", "byte by byte"])
def test_one_bom_at_the_beginning_is_none(cut):
    def events(stream):
        core = client()
        return [event for chunk in cut(stream) for event in [core.receive_data(chunk), *core.events()] if event is not None]

    bom = b"\xef\xbb\xbf"
    assert events(bom + b"data: a\n\n") == [event("a")]
    assert events(bom + bom + b"data: a\n\n") == []
    assert events(b"\n" + bom + b"data: a\n\n") == []
    assert events(b"data: " + bom + b"a\n\n") == [event("\ufeffa")]


# ---- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"data: ", b"event: ", b"id: ", b": ", b"unknown: ", b""])
def test_a_line_is_refused_when_it_is_too_long(line):
    """At the first byte too many, not at its end."""
    core = client(line + b"x" * (100 - len(line)), max_event=100)
    assert list(core.events()) == []
    core.receive_data(b"x")
    with pytest.raises(RemoteProtocolError, match="too big"):
        core.next_event()


def test_the_lines_of_an_event_are_bounded_together():
    """What is not kept costs nothing: comments may go on for ever."""
    with pytest.raises(RemoteProtocolError, match="too big"):
        received("data: 45\n" * 13, max_event=100)
    with pytest.raises(RemoteProtocolError, match="too big"):
        received("data\n" * 26, max_event=100)
    with pytest.raises(RemoteProtocolError, match="too big"):
        received("id: 4\nevent: a\n" * 8, max_event=100)
    assert received("data: 45\n: comment\nx: y\nretry: x\n" * 10 + "\n", max_event=100) == [event("\n".join(["45"] * 10))]
    assert received("data: 45\n\n" * 100, max_event=100) == [event("45")] * 100


def test_a_delivered_event_is_no_longer_held():
    core = client(b"data: 1\n")
    assert (core.next_event(), core.buffered) == (None, 7)
    core.receive_data(b"\n")
    assert (core.next_event(), core.buffered) == (event("1"), 0)


def test_a_limit_is_a_count():
    with pytest.raises(ValueError, match="max_event"):
        Limits(max_event=-1)


def test_time_is_linear_in_the_bytes():
    subject = laws.Subject(lambda: Connection(CLIENT))
    for unit in (b"x", b"data: x\n", b"data\r", b":\n", b"data: x\r\n\r\n"):
        laws.linear_time(subject, lambda size, unit=unit: unit * (size // len(unit)), 5_000)
    laws.linear_time(subject, lambda size: b"retry: " + b"0" * size + b"x\n", 5_000)


# ---- sending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "wire"),
    [
        (event("a"), b"data: a\n\n"),
        (event(""), b"data: \n\n"),
        (event("a\nb"), b"data: a\ndata: b\n\n"),
        (event("a\r\nb\rc\n"), b"data: a\ndata: b\ndata: c\ndata: \n\n"),
        (event(" a", "x", "1"), b"id: 1\nevent: x\ndata:  a\n\n"),
        (event("\u20ac", id=""), b"id: \ndata: \xe2\x82\xac\n\n"),
        (LastEventId("1-0"), b"id: 1-0\n\n"),
        (Retry(3_000), b"retry: 3000\n\n"),
        (Retry(10**18 - 1), b"retry: " + b"9" * 18 + b"\n\n"),
        (Comment("still here"), b": still here\n\n"),
    ],
)
def test_the_wire(sent, wire):
    assert Connection(SERVER).send(sent) == encode(sent) == wire


@given(strategies.server_sent_events)
def test_round_trip(events):
    """Law 1."""
    laws.round_trip(Connection(SERVER), Connection(CLIENT), events)


_hostile = st.text(st.sampled_from("a:\r\n \0\u2028\ufeff"), max_size=8)


@given(st.lists(_hostile | st.sampled_from(["id: 9", "data", "\n\nretry: 1\n"])))
def test_data_can_forge_nothing(lines):
    """Whatever is published arrives as the data of one event, its line breaks as LF, and the stream goes on behind it."""
    data = "\n".join(lines)
    arrives = data.replace("\r\n", "\n").replace("\r", "\n")
    assert received(encode(event(data, id="1")) + encode(event("next"))) == [event(arrives, id="1"), event("next")]


def changed(sent, **fields):
    """An event that was right when it was made."""
    for name, value in fields.items():
        setattr(sent, name, value)
    return sent


@pytest.mark.parametrize("text", ["\n", "\r", "a\nb", "a\r\n", "x\n\ndata: forged\n"])
def test_a_line_break_elsewhere_is_refused(text):
    """When the event is made; and when it is sent, for it may have been changed since."""
    for make in (lambda: event("a", kind=text), lambda: event("a", id=text), lambda: LastEventId(text), lambda: Comment(text)):
        with pytest.raises(ValueError, match=r"^(event|id|text) has to be text without '\\[nr]', not '"):
            make()
    for wrong in (
        changed(event("a"), event=text), changed(event("a"), id=text), changed(LastEventId(""), id=text),
        changed(Comment(), text=text),
    ):  # fmt: skip
        with pytest.raises(LocalProtocolError, match="line break"):
            encode(wrong)


def test_nul_in_an_id_is_refused():
    """A client would ignore it, and resume elsewhere."""
    for make in (lambda: event("a", id="1\0"), lambda: LastEventId("\0")):
        with pytest.raises(ValueError, match="id has to be text without"):
            make()
    for wrong in (changed(event("a"), id="1\0"), changed(LastEventId(""), id="\0")):
        with pytest.raises(LocalProtocolError, match="NUL"):
            encode(wrong)
    assert received(encode(event("\0", kind="\0"))) == [event("\0", "\0")]


def test_text_without_utf8_is_refused():
    for make in (lambda: event("\ud800"), lambda: event("a", id="\udc80"), lambda: Comment("\ud800")):
        with pytest.raises(ValueError, match="has to be text that UTF-8 can encode"):
            make()
    for wrong in (changed(event(""), data="\ud800"), changed(event("a"), id="\udc80"), changed(Comment(), text="\ud800")):
        with pytest.raises(LocalProtocolError, match="UTF-8"):
            encode(wrong)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: event(b"x"), "data has to be str, not b'x'"),
        (lambda: event(None), "data has to be str, not None"),
        (lambda: event({"price": 5}), "data has to be str, not {'price': 5}"),
        (lambda: event("x", kind=b"price"), "event has to be str, not b'price'"),
        (lambda: event("x", kind=None), "event has to be str, not None"),
        (lambda: event("x", id=5), "id has to be str, not 5"),
        (lambda: event("x", id=b"5"), "id has to be str, not b'5'"),
        (lambda: LastEventId(None), "id has to be str, not None"),
        (lambda: Retry(1.5), r"milliseconds has to be a whole number \(int\), not 1.5"),
        (lambda: Retry("5"), r"milliseconds has to be a whole number \(int\), not '5'"),
        (lambda: Retry(True), r"milliseconds has to be a whole number \(int\), not True"),
        (lambda: Comment(b"x"), "text has to be str, not b'x'"),
    ],
)
def test_a_field_of_a_wrong_type_is_refused_when_the_event_is_made(make, says):
    with pytest.raises(TypeError, match=f"^{says}$"):
        make()


def test_an_empty_type_is_none():
    """It would arrive as ``message``, which is what it means."""
    assert received(encode(event("a", kind=""))) == [event("a")]


@pytest.mark.parametrize("milliseconds", [-1, 10**18])
def test_a_retry_that_no_client_would_take_is_refused(milliseconds):
    with pytest.raises(ValueError, match="milliseconds has to be 0 to"):
        Retry(milliseconds)
    with pytest.raises(LocalProtocolError, match="retry"):
        encode(changed(Retry(0), milliseconds=milliseconds))


def test_who_sends_and_who_does_not():
    with pytest.raises(LocalProtocolError):
        Connection(CLIENT).send(event("a"))
    with pytest.raises(LocalProtocolError):
        Connection(SERVER).send(object())
