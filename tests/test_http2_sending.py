"""What an HTTP/2 endpoint may send, by RFC 9113 §3 to §5: the first bytes, the frames' headers, streams and their ends.

``test_http2_conformance.py`` asks what we make of a peer's frames; this file looks at our own, as bytes.
"""

import http2_wire
import pytest
from http2_wire import ALIVE, GET, OK, POST, Wire, data, frame, number, reset, settings, split, window_update

from minproto import http2_frames as f
from minproto.core import CLIENT, SERVER, Event, LocalProtocolError, RemoteProtocolError, Role
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import (
    Consumed,
    Discarded,
    GoAway,
    Ping,
    Reset,
    Settings,
    StreamFault,
)

pytestmark = pytest.mark.usefixtures("plain_and_fast")

HOST = Headers([("host", "a")])


# ---- beginnings (§3.4) -------------------------------------------------------------------------------------------------


def test_a_client_begins_with_the_preface_and_its_settings():
    """§3.4: the preface is sent once, and the next bytes are a SETTINGS frame."""
    core = http2_wire.Connection(CLIENT)
    with pytest.raises(LocalProtocolError, match="before the greeting"):
        core.send(RequestHead("GET", "/", HOST, "2", 1))
    hello = core.send(core.greeting())
    assert hello.startswith(bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"))
    assert [(each.type, each.flags, each.stream) for each in split(hello[24:])] == [(f.SETTINGS, 0, 0)]
    assert [each.type for each in split(core.send(Settings([])))] == [f.SETTINGS]


def test_a_server_begins_with_its_settings():
    """§3.4: also the ACK of the client's settings has to wait for them."""
    core = http2_wire.Connection(SERVER)
    core.receive_data(f.PREFACE + settings())
    (theirs,) = core.events()
    with pytest.raises(LocalProtocolError, match="before the greeting"):
        core.send(core.reply(theirs))
    said = core.send(core.greeting()) + core.send(core.reply(theirs))
    assert [(each.type, each.flags) for each in split(said)] == [(f.SETTINGS, 0), (f.SETTINGS, f.ACK)]


# ---- frames (§4.1 to §4.3) ---------------------------------------------------------------------------------------------

LARGE = Headers([(f"x-{n}", "~" * 9_000) for n in range(4)])  # 36,000 bytes in Huffman code, too: "~" takes 13 bits

FLAGS = {
    f.DATA: f.END_STREAM, f.HEADERS: f.END_STREAM | f.END_HEADERS, f.CONTINUATION: f.END_HEADERS, f.SETTINGS: f.ACK,
    f.PING: f.ACK, f.RST_STREAM: 0, f.GOAWAY: 0, f.WINDOW_UPDATE: 0,
}  # fmt: skip
"""Type -> the flags that RFC 9113 §6 defines for it, as far as we use them (not padding, not priority)."""


class Recorder(Wire):
    """A core, and the bytes that it has sent, without the preface."""

    sent = b""

    def say(self, event: Event) -> None:
        said = self.core.send(event).removeprefix(f.PREFACE)
        self.sent += said
        self.said += split(said)


def everything_that_is_sent(role: Role) -> bytes:
    """The bytes of every kind of event. The peer gives large windows, and takes large frames."""
    w = Recorder(role)
    w.feed(settings((4, 1 << 20), (5, 1 << 20)), window_update(0, 1 << 20), http2_wire.ping())
    if role is SERVER:
        w.feed(w.head(1, POST, end=False), w.head(3, POST, end=False))
        heads: list[Event] = [ResponseHead(status, LARGE, "2", id_) for status, id_ in ((103, 1), (200, 1), (200, 3))]
    else:
        heads = [RequestHead("POST", "/", Headers([*HOST, *LARGE]), "2", id_) for id_ in (1, 3)]
    for event in (*heads, Data(bytes(40_000), 1), EndOfMessage(LARGE, 1), Ping(bytes(8))):
        w.say(event)
    w.feed(w.head(3, OK, end=False) if role is CLIENT else b"", *[data(3, bytes(14_000))] * 4)
    for event in (Consumed(3, 56_000), EndOfMessage(stream=3), GoAway(5, 0, b"bye")):
        w.say(event)
    if role is SERVER:
        w.feed(w.head(5, [*POST, ("X", "y")]))
    else:
        w.ask(), w.say(Reset(5))
    return w.sent


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_each_frame_that_we_send_has_a_right_header(role):
    """§4.1, §4.2: at most 2^14 bytes, although the peer would take more; no unused flag; no reserved bit."""
    sent, kinds = everything_that_is_sent(role), set()
    while sent:
        length, type_, flags, id_ = int.from_bytes(sent[:3], "big"), sent[3], sent[4], int.from_bytes(sent[5:9], "big")
        assert length <= 16_384
        assert flags & ~FLAGS[type_] == 0, f"type {type_} with the flags {flags:#x}"
        assert id_ in (0, 1, 3, 5)  # with the reserved bit set it would be over 2^31
        kinds.add(type_)
        sent = sent[9 + length :]
    assert kinds == set(FLAGS)


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_a_field_block_of_ours_is_one_run_of_frames(role):
    """§4.3: HEADERS, then CONTINUATION frames of the same stream, the last one with END_HEADERS, and nothing in between."""
    begun, runs = None, 0
    for each in split(everything_that_is_sent(role)):
        assert (each.type == f.CONTINUATION) == (begun is not None)
        assert begun in (None, each.stream)
        if each.type in (f.HEADERS, f.CONTINUATION):
            begun = None if each.flags & f.END_HEADERS else each.stream
            runs += each.type == f.CONTINUATION
    assert begun is None and runs > 6


# ---- streams (§5.1) ----------------------------------------------------------------------------------------------------


def test_a_client_uses_odd_ids_in_ascending_order():
    """§5.1.1: also where the streams before are closed, and no id again."""
    w = Wire(CLIENT)
    ids = []
    for _ in range(3):
        ids.append(w.ask())
        w.say(Reset(ids[-1]))
        for wrong in (ids[-1], w.core.next_stream + 1, w.core.next_stream + 2, 0):
            with pytest.raises(LocalProtocolError, match="on the next stream"):
                w.say(RequestHead("GET", "/", HOST, "2", wrong))
    assert ids == [1, 3, 5] == [each.stream for each in w.said if each.type == f.HEADERS]


def resets(w):
    """The RST_STREAM frames that the core has sent: stream and code."""
    return [(each.stream, each.payload) for each in w.said if each.type == f.RST_STREAM]


def closed_streams(w):
    """Streams that are closed in each of the ways there are: by both ends, by a reset of ours, by one of the peer's."""
    w.feed(w.head(1, POST, end=False), w.head(3, POST, end=False), w.head(5, POST, end=False), w.head(7, [*POST, ("X", "y")]))
    for id_ in (1, 3, 5):
        w.say(ResponseHead(200, Headers(), "2", id_))
    w.feed(data(1, b"content", end=True), data(3, b"content"), data(5, b"content"), reset(5))
    w.say(EndOfMessage(stream=1))
    w.say(Reset(3))
    w.said.clear()
    return 1, 3, 5, 7


def test_nothing_is_sent_on_a_closed_stream():
    """§5.1: neither content, nor an end, a reset or credit."""
    w = Wire()
    for id_ in closed_streams(w):
        for event, step in (
            (ResponseHead(200, Headers(), "2", id_), "SEND_HEADERS on "), (Data(b"x", id_), "SEND_DATA on "),
            (EndOfMessage(stream=id_), "SEND_END on "), (Reset(id_), ""),
        ):  # fmt: skip
            with pytest.raises(LocalProtocolError, match=f"^{step}stream {id_}.*closed"):
                w.say(event)
        w.say(Consumed(id_, 7))
        assert w.core.sendable(id_) == 0 and not w.core.offer(id_)
    assert w.said == []


@pytest.mark.parametrize("by", ["us", "the peer"])
def test_after_a_reset_a_message_has_no_end(by):
    """§5.1: also where the request's head has ended our direction, so that EndOfMessage would have had no bytes."""
    w = Wire(CLIENT)
    w.ask(GET)
    if by == "us":
        w.say(Reset(1))
    else:
        w.feed(reset(1))
    with pytest.raises(LocalProtocolError, match="SEND_END on stream 1, which is closed"):
        w.say(EndOfMessage(stream=1))


def test_a_direction_that_has_ended_has_no_turn():
    """The stream is half-closed, and waits for its response. A shell that asked would be told to send content."""
    w = Wire(CLIENT)
    w.ask(POST)
    assert w.core.offer(1) and w.core.next_ready() == (1, f.MAX_FRAME)
    w.say(EndOfMessage(stream=1))
    assert w.core.is_open(1) and w.core.next_ready() is None


@pytest.mark.parametrize("head", [GET, POST], ids=["ended by its head", "open"])
def test_empty_content_is_no_frame(head):
    w = Wire(CLIENT)
    w.ask(head)
    w.said.clear()
    w.say(Data(b"", 1))
    assert w.said == []


def test_a_peer_that_has_ended_its_direction_gets_no_credit_on_the_stream():
    """§5.1: half of the window is used up, and would be worth a WINDOW_UPDATE, but no more content will come."""
    for end in (False, True):
        w = Wire(stream_window=100)
        w.feed(w.head(1, POST, end=False), data(1, bytes(50), end=end))
        w.said.clear()
        w.say(Consumed(1, 50))
        assert w.said == ([] if end else split(window_update(1, 50)))


def test_a_stream_is_reset_once():
    """§5.4.2: not again for frames that follow, and not again when the app wants it, too."""
    w = Wire()
    w.feed(w.head(1, [*POST, ("X", "y")], end=False), data(1, b"x"), data(1, b"x", end=True), window_update(1, 1 << 30))
    assert resets(w) == [(1, number(f.PROTOCOL_ERROR))]
    with pytest.raises(LocalProtocolError, match="closed"):
        w.say(Reset(1))


def test_a_reset_is_not_answered_by_a_reset():
    """§5.4.2: or two endpoints would reset a stream for ever. This goes for open, half-closed and closed streams."""
    w = Wire()
    w.feed(w.head(1, end=False), w.head(3), w.head(5, end=False))
    w.say(Reset(5))
    w.said.clear()
    events = w.feed(reset(1), reset(1), reset(3), reset(5), reset(5, f.STREAM_CLOSED))
    assert events == [Reset(1), Reset(3)] and w.said == []
    assert [w.core.reply(event) for event in events] == [None, None]
    assert w.state() == ALIVE


def test_one_frame_gives_one_error_of_a_stream():
    """§5.4: this DATA is on a stream whose Content-Length it exceeds, and whose window, too."""
    w = Wire(stream_window=10)
    w.say(Settings([(4, 10)]))
    w.feed(frame(f.SETTINGS, f.ACK), w.head(1, [*POST, ("content-length", "5")], end=False))
    w.said.clear()
    events = w.feed(data(1, b"x" * 11, end=True))
    assert [type(event) for event in events] == [StreamFault, Discarded]
    assert resets(w) == [(1, number(f.FLOW_CONTROL_ERROR))]


def test_a_connection_has_one_error():
    """§5.4: what follows a fault of the connection is not looked at, so that no second fault is found."""
    w = Wire()
    w.feed(w.head(1), settings((f.INITIAL_WINDOW_SIZE, 1 << 31)) + data(99, b"x"))
    w.feed(data(99, b"x"))
    goaways = [f.parse_goaway(each.payload)[:2] for each in w.said if each.type == f.GOAWAY]
    assert set(goaways) == {(1, f.FLOW_CONTROL_ERROR)}
    with pytest.raises(RemoteProtocolError, match="is 2147483648, over"):
        w.core.next_event()


def test_a_fault_of_the_connection_goes_before_one_of_the_stream():
    """§5.4: DATA with wrong padding on a stream that is half-closed (remote)."""
    w = Wire()
    assert w.verdict(w.head(1), frame(f.DATA, f.PADDED, 1, b"\x05" + bytes(4))) == ("connection", f.PROTOCOL_ERROR)
    w = Wire(max_streams=1)  # a block that cannot be decoded, in a request that would be refused
    assert w.verdict(w.head(1), w.head(3, after=b"\x80")) == ("connection", f.COMPRESSION_ERROR)


# ---- flow control (§5.2) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smaller", ["the stream's", "the connection's"])
def test_no_more_is_sent_than_each_of_the_two_windows_allows(smaller):
    """§5.2.1: the stream's window is 100,000 bytes and the connection's 65,535, or the stream's is 10."""
    w = Wire()
    w.feed(settings((4, 10 if smaller == "the stream's" else 100_000)), w.head())
    w.say(ResponseHead(200, Headers(), "2", 1))
    most = 10 if smaller == "the stream's" else 65_535
    with pytest.raises(LocalProtocolError, match="than the windows allow"):
        w.say(Data(bytes(most + 1), 1))
    w.say(Data(bytes(most), 1))
    with pytest.raises(LocalProtocolError, match="than the windows allow"):
        w.say(Data(b"x", 1))


# ---- field blocks (RFC 7541): both directions, since the two ends have to agree -----------------------------------------

FIELDS = [*GET, ("z", "1"), ("a", "2"), ("z", "1"), ("a", "3"), ("cookie", "b=1"), ("a", "2")]


def test_a_field_block_keeps_the_order_of_the_fields():
    """RFC 7541 §2.1: also of equal fields, which are two."""
    ours, theirs = Wire(CLIENT), Wire()
    for _ in range(2):
        assert list(theirs.core._coder.decode(ours.core._coder.encode(FIELDS))) == FIELDS
        assert theirs.decoder.decode(theirs.core._coder.encode(FIELDS)) == FIELDS
        assert list(ours.core._coder.decode(theirs.encoder.encode(FIELDS))) == FIELDS


def test_equal_entries_of_the_table_are_no_error():
    """RFC 7541 §2.3.2: the block adds a: b twice, and then refers to both entries."""
    block = bytes.fromhex("40 01 61 01 62  40 01 61 01 62  be bf")
    assert list(Wire().core._coder.decode(block)) == [("a", "b")] * 4


CUSTOM = [*GET[:2], (":path", "/"), (":authority", "www.example.com")]
APPENDIX = {
    "C.3": (
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
         "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"],
        [CUSTOM, [*CUSTOM, ("cache-control", "no-cache")],
         [CUSTOM[0], (":scheme", "https"), (":path", "/index.html"), CUSTOM[3], ("custom-key", "custom-value")]],
    ),
    "C.4": (
        ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"],
        [CUSTOM, [*CUSTOM, ("cache-control", "no-cache")],
         [CUSTOM[0], (":scheme", "https"), (":path", "/index.html"), CUSTOM[3], ("custom-key", "custom-value")]],
    ),
}  # fmt: skip
"""Requests of RFC 7541, Appendix C, without and with Huffman code: three blocks of one connection, and their fields."""


@pytest.mark.parametrize("blocks", APPENDIX.values(), ids=APPENDIX)
def test_the_blocks_of_the_standards_appendix_are_read(blocks):
    """RFC 7541 §3.2: each block changes the table to which the next one refers."""
    coder = Wire().core._coder
    for block, fields in zip(*blocks, strict=True):
        assert list(coder.decode(bytes.fromhex(block))) == fields


def test_a_full_table_evicts_its_oldest_entries():
    """RFC 7541 §4.4: the responses of Appendix C.5, for a table of 256 bytes. The third block evicts four entries."""
    blocks = [
        "3fe101 4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a58"
        "4f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        "bebfc0",
    ]  # fmt: skip
    coder = Wire(CLIENT).core._coder
    decoded = [dict(coder.decode(bytes.fromhex(block))) for block in blocks]
    assert [fields.get(":status") for fields in decoded] == ["302", "307", "200", None]
    assert all(fields["location"] == "https://www.example.com" for fields in decoded[:3])
    assert list(decoded[3]) == ["set-cookie", "content-encoding", "date"]  # from the newest entry to the oldest one
    with pytest.raises(RemoteProtocolError, match="can't be decoded"):
        coder.decode(b"\xc1")


@pytest.mark.parametrize(
    "blocks",
    [("40 01 61 01 62", "20", "be"), ("20 40 01 61 01 62", "be"), ("20 40 01 61 01 62", "3f e1 1f", "be")],
    ids=["4.3 the table becomes smaller", "4.4 an entry larger than the table", "4.4 and the table grows again"],
)
def test_an_entry_that_was_evicted_is_not_found(blocks):
    """RFC 7541 §4.3, §4.4: the entry a: b is evicted, or never added, and neither is an error; but nothing may refer to it."""
    coder = Wire().core._coder
    fields = [field for block in blocks[:-1] for field in coder.decode(bytes.fromhex(block))]
    assert fields == [("a", "b")]
    with pytest.raises(RemoteProtocolError, match="can't be decoded"):
        coder.decode(bytes.fromhex(blocks[-1]))


@pytest.mark.parametrize("name", ["authorization", "proxy-authorization"])
def test_a_secret_is_a_never_indexed_literal_every_time(name):
    """RFC 7541 §6.2.3: 0x10 are the first bits of a never-indexed literal; the index of its name is over 15."""
    coder = Wire(CLIENT).core._coder
    first, second = (coder.encode([(name, "secret")]) for _ in range(2))
    assert first == second and first[0] == 0x1F
    assert coder.encode([("x", "y")]) != coder.encode([("x", "y")])  # while other fields are put into the table


@pytest.mark.parametrize(("size", "right"), [(4_096, True), (4_097, False)])
def test_a_table_larger_than_its_acknowledged_size_is_refused(size, right):
    """RFC 7541 §6.3: the limit goes down as well as up, and each time with the peer's acknowledgement."""
    w = Wire()
    for limit in (8_192, 4_096):
        w.say(Settings([(f.HEADER_TABLE_SIZE, limit)]))
        w.feed(frame(f.SETTINGS, f.ACK))
    w.feed(w.head(1))
    w.said.clear()
    w.encoder.header_table_size = size - 1  # or the encoder would have nothing to say of 4,096
    w.encoder.header_table_size = size
    assert w.verdict(w.head(3)) == (ALIVE if right else ("connection", f.COMPRESSION_ERROR))


# ---- what an extension needs (§5.5) ------------------------------------------------------------------------------------


def test_extended_connect_is_used_only_when_the_server_has_enabled_it():
    """§5.5, RFC 8441 §3: at first it is disabled."""
    connect = RequestHead("CONNECT", "/", HOST, "2", 1, "websocket")
    for values in ((), ((f.ENABLE_CONNECT_PROTOCOL, 0),)):
        w = Wire(CLIENT)
        w.feed(settings(*values))
        with pytest.raises(LocalProtocolError, match="knows no extended CONNECT"):
            w.say(connect)
    w.feed(settings((f.ENABLE_CONNECT_PROTOCOL, 1)))
    w.say(connect)
    assert (":protocol", "websocket") in w.fields(w.said[-1])


# ---- priorities (RFC 9218) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_the_setting_about_priorities_is_0_or_1(role):
    """RFC 9218 §2.1."""
    core = http2_wire.Connection(role)
    with pytest.raises(LocalProtocolError, match="0x9 is 0 or 1, not 2"):
        core.send(Settings([(9, 2)]))


@pytest.mark.parametrize("first", [[], [(9, 0)], [(9, 1)]])
@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_the_setting_about_priorities_stands_in_the_first_frame_or_in_none(role, first):
    """RFC 9218 §2.1: no later frame changes it. It may be repeated, if it was there."""
    core = http2_wire.Connection(role)
    core.send(Settings(first))
    core.send(Settings([(4, 1)]))  # a frame in between does not count as the first
    for value in (0, 1):
        if (9, value) in first:
            core.send(Settings([(9, value)]))
            continue
        with pytest.raises(LocalProtocolError, match="NO_RFC7540_PRIORITIES"):
            core.send(Settings([(4, 1), (9, value)]))


def test_a_server_says_in_its_first_frame_that_it_ignores_the_old_priorities():
    """RFC 9218 §2.1. A client is not asked: it sends none."""
    assert (9, 1) in http2_wire.Connection(SERVER).greeting().values
    assert 9 not in dict(http2_wire.Connection(CLIENT).greeting().values)


def turns(*requests: tuple[int, str], count: int) -> list[int]:
    """The streams whose turn it is, when the responses to these requests become ready in this order."""
    w = Wire()
    w.feed(*(w.head(id_, [*http2_wire.GET, ("priority", value)]) for id_, value in sorted(requests)))
    for id_, _ in requests:
        w.say(ResponseHead(200, Headers(), "2", id_))
        assert w.core.offer(id_)
    return [turn[0] for _ in range(count) if (turn := w.core.next_ready())]


def test_urgent_responses_come_first():
    """RFC 9218 §10: u=0 before u=1; without u it is 3."""
    assert turns((1, "i"), (3, "u=1, i"), (5, "u=0, i"), (7, "u=4, i"), count=2) == [5, 5]
    assert turns((1, "u=4, i"), (3, "i"), count=2) == [3, 3]
    assert turns((1, "i"), (3, "u=2, i"), count=2) == [3, 3]


def test_responses_that_are_not_incremental_come_in_the_order_of_their_requests():
    """RFC 9218 §10: whichever was ready first."""
    assert turns((5, "u=1"), (1, "u=1"), (3, "u=1"), count=3) == [1, 1, 1]


def test_incremental_responses_share():
    """RFC 9218 §10: each gets its part in each round."""
    assert turns((1, "u=1, i"), (3, "u=1, i"), (5, "u=1, i"), count=6) == [1, 3, 5, 1, 3, 5]


def test_a_response_that_is_not_incremental_starves_no_incremental_one():
    """RFC 9218 §10: nor the reverse, of the same urgency."""
    assert sorted(turns((1, "u=1"), (3, "u=1, i"), count=4)) == [1, 1, 3, 3]
    assert sorted(turns((1, "u=1, i"), (3, "u=1"), count=4)) == [1, 1, 3, 3]
