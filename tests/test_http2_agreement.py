"""Law 13 for HTTP/2: the fast core is the plain one, and a planted difference is found."""

from dataclasses import replace

import pytest
from hpack import Encoder
from hypothesis import strategies as st
from test_agreement import said_by, search

from minproto import fast, http2, http2_fields
from minproto import http2_frames as frames
from minproto.core import Event, Role
from minproto.fast.http2 import FieldCoder
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.testing import strategies
from minproto.testing.agreement import Pair, agrees

LIMITS = http2.Limits(stream_window=60, max_head=400, max_headers=8, max_block=2_000, max_resets=20, max_idle_frames=60)
_GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")]
_REQUESTS = [_GET, _GET, [*_GET[:3], (":authority", "b")], [*_GET, ("x-name", "value")],
             [*_GET, ("authorization", "secret"), ("cookie", "a")], [*_GET, ("X", "y")]]  # fmt: skip
_RESPONSES = [[(":status", "200")], [(":status", "200"), ("x-name", "value")], [(":status", "204"), ("set-cookie", "a=b")],
              [(":status", "200"), ("content-length", "0")]]  # fmt: skip
_stream_ids = st.sampled_from([1, 1, 3, 3, 5, 7])
_table_sizes = st.sampled_from([0, 40, 100, 4_096])


@st.composite
def repeated_heads(draw: st.DrawFn, role: Role) -> bytes:
    """What a peer says that repeats its heads, while the size of its table, or of ours, changes now and then."""
    encoder, pieces = Encoder(), [frames.PREFACE if role is Role.SERVER else b"", frames.encode_settings([])]
    heads = st.sampled_from(_REQUESTS if role is Role.SERVER else _RESPONSES)
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.integers(0, 9))
        if kind == 9:
            pieces.append(frames.encode_settings([(frames.HEADER_TABLE_SIZE, draw(_table_sizes))]))
        elif kind == 8:
            pieces.append(frames.encode_frame(frames.SETTINGS, frames.ACK, 0))
        else:
            if kind == 7:
                encoder.header_table_size = draw(_table_sizes)
            pieces.append(frames.encode_headers(2 * number + 1, encoder.encode(draw(heads)), draw(st.integers(0, 3)) > 0))
    return b"".join(pieces)


def _heads(role: Role) -> st.SearchStrategy[Event]:
    """Heads of which some are malformed, and some values are no text; or can't be hashed."""
    fields = st.sampled_from([[], [], [("x-name", "value")], [("content-length", "0")], [("X", "y")], [("x", 1)], [("x", [])]])
    if role is Role.SERVER:
        status = st.sampled_from([200, 200, 204, 100, 101])
        return st.builds(lambda *of: ResponseHead(of[0], Headers(of[1]), "2", of[2]), status, fields, _stream_ids)
    method, ids = st.sampled_from(["GET", "GET", "POST", "HEAD", "G T"]), st.sampled_from([7, 7, 7, 9, 9, 11])
    return st.builds(lambda *of: RequestHead(of[0], "/", Headers([("host", "a"), *of[1]]), "2", of[2]), method, fields, ids)


_new_tables = st.builds(lambda size: http2.Settings([(frames.HEADER_TABLE_SIZE, size)]), _table_sizes)


def _events(role: Role) -> st.SearchStrategy[Event]:
    return st.one_of(
        _heads(role),
        _heads(role),
        _heads(role),
        st.builds(Data, st.binary(max_size=30), _stream_ids),
        st.builds(EndOfMessage, st.sampled_from([Headers(), Headers([("x-end", "1")])]), _stream_ids),
        st.builds(http2.Consumed, _stream_ids, st.integers(0, 60)),
        st.builds(http2.Reset, _stream_ids, st.integers(0, 14)),
        _new_tables,
        st.builds(http2.Ping, st.just(b"pingpong")),
        st.builds(http2.GoAway, st.integers(0, 9)),
        st.just(http2.SettingsAck()),
    )


def http2s(role: Role, other: type[http2.Connection]) -> Pair:
    def make() -> tuple[http2.Connection, http2.Connection]:
        return core_of(other), core_of(http2.Connection)

    def core_of(kind: type[http2.Connection]) -> http2.Connection:
        core = kind(role, LIMITS)
        core.send(core.greeting())
        if role is Role.CLIENT:
            said_by(core, [RequestHead(method, "/", Headers([("host", "a")]), "2", 2 * n + 1) for n, method in enumerate(
                ["GET", "HEAD", "GET"])])  # fmt: skip
        return core

    preface = frames.PREFACE if role is Role.SERVER else b""
    return Pair(make, repeated_heads(role) | strategies.http2_streams(preface), _events(role))


@pytest.mark.parametrize("role", Role)
def test_the_fast_http2_is_the_plain_one(role: Role) -> None:
    agrees(http2s(role, fast.http2.Connection))


class Stale(FieldCoder):
    """Goes on with blocks that refer to another table."""

    def decode(self, block):
        known = self._decoded.get(block)
        known = known or http2_fields.FieldCoder.decode(self, block)
        self._decoded[block] = known
        return known


class Unsized(FieldCoder):
    """Does not tell the peer that the table has another size, where it remembers the head."""

    def resize_encoder(self, size):
        http2_fields.FieldCoder.resize_encoder(self, size)


class Trusting(FieldCoder):
    """Does not notice that a block has to begin with the size of the table."""

    def resize_decoder(self, size):
        http2_fields.FieldCoder.resize_decoder(self, size)


class Sharing(FieldCoder):
    """Gives the head away that it remembers."""

    def parse_request(self, fields, stream):
        head = super().parse_request(fields, stream)
        known = self._requests.get(tuple(fields))
        return RequestHead(head.method, head.target, known.headers, "2", stream, head.protocol, head.scheme) if known else head


class SharingResponses(FieldCoder):
    """The same for responses."""

    def parse_response(self, fields, stream):
        head = super().parse_response(fields, stream)
        known = self._responses.get(tuple(fields))
        return ResponseHead(head.status, known.headers, "2", stream) if known else head


class Unchecked(FieldCoder):
    """Checks no response whose status it has seen."""

    def parse_response(self, fields, stream):
        known = self._responses.get(fields[:1])
        if known is None:
            known = self._responses[fields[:1]] = super().parse_response(fields, stream)
        return ResponseHead(known.status, Headers(fields[1:]), "2", stream)


class Reencoded(FieldCoder):
    """Sends the block of a head again, though the table has changed."""

    def encode(self, fields):
        key = tuple(fields)
        self._encoded[key] = known = self._encoded.get(key) or http2_fields.FieldCoder.encode(self, fields)
        return known


def _requests(*between: bytes, others: list[tuple[str, str]] = _GET) -> bytes:
    """Three equal requests, something else, and three requests more."""
    encoder = Encoder()
    fields = [*[_GET] * 3, *[others] * 3]
    heads = [frames.encode_headers(2 * n + 1, encoder.encode(each), True) for n, each in enumerate(fields)]
    return b"".join([frames.PREFACE, frames.encode_settings([]), *heads[:3], *between, *heads[3:]])


_LINK = Headers([("link", "</style.css>")])
_ACK = frames.encode_frame(frames.SETTINGS, frames.ACK, 0)
_answers = st.builds(
    lambda fields, id_: ResponseHead(200, Headers(fields), "2", id_),
    st.sampled_from([[("x-name", "value")], [("x-name", "value")], [("x-name", "other")], [("X", "y")]]),
    st.sampled_from([1, 3, 5, 7, 9, 11]),
)
_RESIZED = b"".join(frames.encode_settings([(frames.HEADER_TABLE_SIZE, size)]) for size in (0, 100) * 4)
_interim = st.sampled_from([ResponseHead(103, Headers([field]), "2", 1) for field in [("x-name", "value"), ("X", "y")]])
# What a peer says, and what our owner says, so that few examples find each of these. A stream may have many interim responses,
# and the size of the table changes many times.
WRONG = {
    Stale: (_requests(others=_REQUESTS[2]), st.nothing()),
    Unsized: (_requests(_RESIZED), st.just(ResponseHead(103, _LINK, "2", 1))),
    Trusting: (_requests(_ACK, _ACK), st.just(http2.Settings([(frames.HEADER_TABLE_SIZE, 0)]))),
    Sharing: (_requests(), st.nothing()),
    SharingResponses: (frames.encode_settings([]) + b"".join(
        [frames.encode_headers(id_, Encoder().encode(_RESPONSES[1]), True) for id_ in (1, 3, 5)]), st.nothing()),
    Unchecked: (_requests(), _interim),
    Reencoded: (_requests(), _answers),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_planted_difference_in_http2_is_found(wrong: type[FieldCoder]) -> None:
    stream, events = WRONG[wrong]
    role = Role.SERVER if stream.startswith(frames.PREFACE) else Role.CLIENT
    pair = http2s(role, type("Wrong", (fast.http2.Connection,), {"coder": wrong}))
    with pytest.raises(AssertionError, match="the other"):
        search(replace(pair, streams=st.just(stream), events=events))


def test_what_a_connection_remembers_is_bounded_and_its_own():
    one, other = FieldCoder(1_000), FieldCoder(1_000)
    for number in range(1_000):
        fields = [*_GET, ("cookie", str(number))]
        other.decode(one.encode(fields))
        one.parse_request(fields, 1), one.parse_response([(":status", "200"), ("x", str(number))], 1)
    for coder in (one, other):
        assert max(map(len, (coder._decoded, coder._encoded, coder._requests, coder._responses))) <= 64
    assert not other._requests


def test_a_long_head_is_not_remembered():
    """A client may send 64 KiB of fields with each request, and 64 such heads would be 4 MiB for each idle connection."""
    one, other = FieldCoder(1 << 20), FieldCoder(1 << 20)
    for number in range(10, 110):
        fields = [*_GET, ("authorization", str(number) * 3_000)]
        assert list(other.decode(one.encode(fields))) == fields
        other.parse_request(fields, 1), other.parse_response([(":status", "200"), ("x", str(number) * 3_000)], 1)
    assert not any((one._encoded, other._decoded, other._requests, other._responses))
