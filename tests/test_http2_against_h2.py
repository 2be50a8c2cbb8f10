"""Our HTTP/2 core beside the h2 library, in both roles: exchanges between the two, and the same damaged frames for both.

Allowed differences, each on purpose:

- We may refuse what h2 takes: fields with bytes that HTTP gives no meaning (§8.2.1), requests without any authority, targets
  that no HTTP has, frames that bring nothing beyond a budget.
- h2 knows frames that RFC 9113 does not have (ALTSVC), and says what is wrong with them; to us they are unknown (§5.5).
- After a GOAWAY h2 takes nothing more; to us it speaks of new streams only (§6.8).
- §5.4.2 lets an error of a stream be one of the connection. h2 has more of the second kind.
- h2 gives the events before a fault only if they came in another chunk; so it is fed frame by frame here.
"""

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import http2_wire
import pytest
from http2_wire import split
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minproto.core import CLIENT, SERVER, RemoteProtocolError, Role
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import Consumed, GoAway, Reset, StreamFault
from minproto.http2_frames import CONTINUATION, GOAWAY, HEADER_SIZE, PREFACE, parse_header
from minproto.testing.strategies import http2_exchanges, http2_streams

pytestmark = pytest.mark.usefixtures("plain_and_fast")

NAMES = st.sampled_from(["x-a", "accept", "cookie", "user-agent"])
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
CONTENT = st.lists(st.binary(max_size=500), max_size=4)


class Theirs:
    """An h2 connection that answers as our shell would."""

    def __init__(self, role: Role) -> None:
        self.core = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=role is CLIENT, header_encoding="latin-1")
        )
        self.core.initiate_connection()
        self.events: list[h2.events.Event] = []

    def feed(self, data: bytes) -> None:
        for event in self.core.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self.core.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


class Ours:
    def __init__(self, role: Role) -> None:
        self.core = http2_wire.Connection(role)
        self.out = self.core.send(self.core.greeting())
        self.events: list[object] = []

    def feed(self, data: bytes) -> None:
        self.core.receive_data(data)
        for event in self.core.events():
            self.events.append(event)
            if (reply := self.core.reply(event)) is not None:
                self.out += self.core.send(reply)
            if isinstance(event, Data):
                self.out += self.core.send(Consumed(event.stream, len(event.data)))

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out


def settle(ours: Ours, theirs: Theirs) -> None:
    while (to_them := ours.take()) + (to_us := theirs.core.data_to_send()):
        theirs.feed(to_them)
        ours.feed(to_us)


def joined(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Cookies are joined in the place of the first (§8.2.3)."""
    cookies = [value for name, value in fields if name == "cookie"]
    rest: list[tuple[str, str]] = []
    for name, value in fields:
        if name != "cookie":
            rest.append((name, value))
        elif cookies:
            rest.append((name, "; ".join(cookies)))
            cookies = []
    return rest


@given(FIELDS, CONTENT, FIELDS, CONTENT, st.booleans())
def test_their_client_and_our_server(asked, upload, answered, download, trailers):
    ours, theirs = Ours(SERVER), Theirs(CLIENT)
    settle(ours, theirs)
    pseudo = [(":method", "POST"), (":scheme", "https"), (":path", "/x?y"), (":authority", "example.org")]
    theirs.core.send_headers(1, [*pseudo, *asked])
    for piece in upload:
        theirs.core.send_data(1, piece)
    theirs.core.send_headers(1, [("x-end", "1")], end_stream=True) if trailers else theirs.core.end_stream(1)
    settle(ours, theirs)
    head, *content, end = [e for e in ours.events if isinstance(e, RequestHead | Data | EndOfMessage)]
    assert head == RequestHead("POST", "/x?y", Headers([("host", "example.org"), *joined(asked)]), "2", 1)
    assert b"".join(event.data for event in content) == b"".join(upload)
    assert end == EndOfMessage(Headers([("x-end", "1")] if trailers else []), 1)

    answered = [(name, value) for name, value in answered if name != "cookie"]
    head = ResponseHead(200, Headers(answered), "2", 1)
    for event in (head, *(Data(piece, 1) for piece in download), EndOfMessage(stream=1)):
        ours.out += ours.core.send(event)
    settle(ours, theirs)
    (response,) = [event for event in theirs.events if isinstance(event, h2.events.ResponseReceived)]
    assert [tuple(field) for field in response.headers] == [(":status", "200"), *answered]
    assert b"".join(e.data for e in theirs.events if isinstance(e, h2.events.DataReceived)) == b"".join(download)
    assert any(isinstance(event, h2.events.StreamEnded) for event in theirs.events)


@given(FIELDS, CONTENT, FIELDS, CONTENT)
def test_our_client_and_their_server(asked, upload, answered, download):
    ours, theirs = Ours(CLIENT), Theirs(SERVER)
    settle(ours, theirs)
    head = RequestHead("POST", "/x?y", Headers([("host", "example.org"), *asked]), "2", 1)
    for event in (head, *(Data(piece, 1) for piece in upload), EndOfMessage(stream=1)):
        ours.out += ours.core.send(event)
    settle(ours, theirs)
    (request,) = [event for event in theirs.events if isinstance(event, h2.events.RequestReceived)]
    pseudo = [(":method", "POST"), (":scheme", "https"), (":path", "/x?y"), (":authority", "example.org")]
    assert [tuple(field) for field in request.headers][:4] == pseudo
    assert sorted(joined([tuple(field) for field in request.headers][4:])) == sorted(joined(asked))  # they put cookies last
    assert b"".join(e.data for e in theirs.events if isinstance(e, h2.events.DataReceived)) == b"".join(upload)

    theirs.core.send_headers(1, [(":status", "200"), *answered])
    for piece in download:
        theirs.core.send_data(1, piece)
    theirs.core.end_stream(1)
    settle(ours, theirs)
    first, *content, end = [e for e in ours.events if isinstance(e, ResponseHead | Data | EndOfMessage)]
    assert first == ResponseHead(200, Headers(answered), "2", 1)
    assert b"".join(event.data for event in content) == b"".join(download)
    assert end == EndOfMessage(stream=1)


def frames_of(stream: bytes) -> list[bytes]:
    """Complete frames of the ten types, as bytes, behind the preface and before a GOAWAY."""
    pieces = []
    while len(stream) >= HEADER_SIZE and len(stream) >= (end := HEADER_SIZE + parse_header(stream).length):
        if parse_header(stream).type == GOAWAY:
            break
        if parse_header(stream).type <= CONTINUATION:
            pieces.append(stream[:end])
        stream = stream[end:]
    return [PREFACE, *pieces]


def our_verdict(role: Role, pieces: list[bytes]) -> tuple[str, list[tuple[str, int]]]:
    """How it ends, and what reached the app: heads, bytes and ends, by stream."""
    ours = Ours(role)
    try:
        for piece in pieces:
            ours.feed(piece)
    except RemoteProtocolError:
        return "refused", app_events(ours)
    return "a stream refused" if any(isinstance(e, StreamFault) for e in ours.events) else "taken", app_events(ours)


def app_events(ours: Ours) -> list[tuple[str, int]]:
    found = []
    for event in ours.events:
        if isinstance(event, RequestHead):
            found.append((event.method + event.target, event.stream))
        elif isinstance(event, Data) and event.data:
            found.append((event.data.decode("latin-1"), event.stream))
        elif isinstance(event, EndOfMessage):
            found.append(("end", event.stream))
    return found


def their_verdict(pieces: list[bytes]) -> tuple[str, list[tuple[str, int]]]:
    theirs = Theirs(SERVER)
    verdict = "taken"
    try:
        for piece in pieces:
            theirs.feed(piece)
    except h2.exceptions.ProtocolError:
        verdict = "refused"
    found = []
    for event in theirs.events:
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(tuple(field) for field in event.headers)
            found.append((fields[":method"] + fields.get(":path", fields.get(":authority", "")), event.stream_id))
        elif isinstance(event, h2.events.DataReceived) and event.data:
            found.append((event.data.decode("latin-1"), event.stream_id))
        elif isinstance(event, h2.events.StreamEnded):
            found.append(("end", event.stream_id))
        elif isinstance(event, h2.events.StreamReset) and not event.remote_reset and verdict == "taken":
            verdict = "a stream refused"
    return verdict, found


@settings(max_examples=4 * settings().max_examples, suppress_health_check=list(HealthCheck))
@given(http2_streams(b"") | http2_exchanges(b""))
def test_no_frames_reach_an_app_in_two_ways(stream):
    """Whatever both take, they take alike: the same heads, the same content, the same ends, stream by stream."""
    pieces = frames_of(stream)
    (ours, our_events), (theirs, their_events) = our_verdict(SERVER, pieces), their_verdict(pieces)
    if ours == theirs == "taken":
        assert by_stream(our_events) == by_stream(their_events)


def by_stream(events: list[tuple[str, int]]) -> dict[int, str]:
    joined_: dict[int, str] = {}
    for what, stream in events:
        joined_[stream] = joined_.get(stream, "") + what
    return joined_


@settings(max_examples=4 * settings().max_examples, suppress_health_check=list(HealthCheck))
@given(http2_streams(b"") | http2_exchanges(b""))
def test_we_take_nothing_that_they_refuse(stream):
    """But for what the list above allows."""
    pieces = frames_of(stream)
    verdict = our_verdict(SERVER, pieces)[0]
    if verdict == "taken" and their_verdict(pieces)[0] == "refused":
        pytest.fail(f"we take what h2 refuses: {[split(piece) for piece in pieces[1:]]}")


def test_they_are_told_of_our_end():
    ours, theirs = Ours(SERVER), Theirs(CLIENT)
    settle(ours, theirs)
    ours.out += ours.core.send(GoAway(0))
    settle(ours, theirs)
    (event,) = [event for event in theirs.events if isinstance(event, h2.events.ConnectionTerminated)]
    assert (event.last_stream_id, event.error_code) == (0, 0)


def test_they_are_told_of_our_reset():
    ours, theirs = Ours(SERVER), Theirs(CLIENT)
    settle(ours, theirs)
    theirs.core.send_headers(1, [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")])
    settle(ours, theirs)
    ours.out += ours.core.send(Reset(1, 7))
    settle(ours, theirs)
    (event,) = [event for event in theirs.events if isinstance(event, h2.events.StreamReset)]
    assert (event.stream_id, event.error_code) == (1, 7)
