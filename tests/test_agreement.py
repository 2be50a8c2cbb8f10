"""Law 13: each fast core is the plain one, and a planted difference is found."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import minproto.fast.resp
import minproto.fast.websocket
from minproto import resp, websocket
from minproto.core import Core, Event, LocalProtocolError, Role
from minproto.deflate import Parameters
from minproto.testing import strategies
from minproto.testing.agreement import MAX_CALLS, Pair, agrees, lockstep
from minproto.testing.subjects import SMALL_COMMANDS
from minproto.websocket import Close, Fragment, Limits, Message, Ping, Pong, Shared
from minproto.websocket_handshake import Agreement

MOST = 120  # bytes of a message

_sizes = st.integers(MOST - 2, MOST + 5)
_data = st.one_of(
    st.text(max_size=20), st.binary(max_size=200), _sizes.map(bytes), st.sampled_from(["\ud800", "a" * 2_000, b"b" * 2_000])
)
_codes = st.sampled_from([1000, 1005, 1006, 1011, 3000, 99])
_websocket_events = st.one_of(
    st.builds(Message, _data),
    st.builds(Message, _sizes.map(bytes)),
    st.builds(Fragment, _data),
    st.builds(Shared, _data),
    st.builds(Fragment, _data, st.booleans()),
    st.builds(Ping, st.binary(max_size=130)),
    st.builds(Pong, st.binary(max_size=130)),
    st.builds(Close, _codes, st.text(max_size=50)),
)


def websockets(role: Role, deflate: Parameters | None, fast: type[websocket.Connection]) -> Pair:
    agreement = Agreement(deflate=deflate)

    def make() -> tuple[websocket.Connection, websocket.Connection]:
        return core_of(fast, role), core_of(websocket.Connection, role)

    def core_of(kind: type[websocket.Connection], role: Role) -> websocket.Connection:
        core = kind(role, agreement, Limits(MOST, 4))
        core.new_key = lambda: b"\x01\x02\x03\x04"  # type: ignore[method-assign]
        return core

    peer = Role.CLIENT if role is Role.SERVER else Role.SERVER
    events = st.lists(_websocket_events, min_size=3, max_size=20)
    said = events.map(lambda events: said_by(core_of(websocket.Connection, peer), events))
    streams = (said | said.flatmap(st.permutations)).map(b"".join)
    return Pair(make, streams | strategies.frame_streams(masked=role is Role.SERVER), _websocket_events)


def said_by(core: Core, events: list[Event]) -> list[bytes]:
    """The bytes of those events that a core may send."""
    said = []
    for event in events:
        with suppress(LocalProtocolError):
            said.append(core.send(event))
    return said


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("deflate", [None, Parameters()], ids=["plain text", "deflate"])
def test_the_fast_websocket_is_the_plain_one(role: Role, deflate: Parameters | None) -> None:
    agrees(websockets(role, deflate, minproto.fast.websocket.Connection))


class Hasty(minproto.fast.websocket.Connection):
    """Takes a short message before the frame that is being read."""

    def _read_payload(self):
        return self._read_short() or super()._read_payload()


class Unmasked(minproto.fast.websocket.Connection):
    """Masks a long payload by three bytes of the key."""

    @staticmethod
    def mask(data, key):
        return minproto.fast.websocket.mask(data, key if len(data) < 1_000 else key[:3] + b"\0")


class Forgetful(minproto.fast.websocket.Connection):
    """Leaves the count of fragments behind a message."""

    def _read_payload(self):
        event = super()._read_payload()
        self.fragments = self.fragments or (1 if isinstance(event, Message) else 0)
        return event


class Asleep(minproto.fast.websocket.Connection):
    """Waits for a client's shortest frame, though the bytes before its end may be wrong."""

    def _parse(self):
        return None if self._first_byte is None and self._buffer.size < 6 else super()._parse()


class Bare(minproto.fast.websocket.Connection):
    """Puts a server's header before a short message of a client, too."""

    def _encode_message(self, data):
        if type(data) is bytes and len(data) <= 125:
            return websocket.encode_frame(0x82, data)
        return super()._encode_message(data)


class Narrow(minproto.fast.websocket.Connection):
    """Counts the characters of a short text, where the header has to count its bytes."""

    def _encode_message(self, data):
        if type(data) is str and len(data) <= 125 and self.role is Role.SERVER:
            return bytes((0x81, len(data))) + data.encode(errors="surrogatepass")
        return super()._encode_message(data)


class Resent(minproto.fast.websocket.Connection):
    """Sends a message of which it has the frame, though it has closed."""

    def send(self, event):
        if isinstance(event, Message) and event.data == "":
            return b"\x81\x00"
        return super().send(event)


_NO_KEY = bytes(4)  # the mask that changes nothing: the payload's bytes are in the stream as they are
_INNER = websocket.encode_frame(0x02, websocket.encode_frame(0x82, b"", _NO_KEY), _NO_KEY)
_FRAGMENTS = websocket.encode_frame(0x02, b"a", _NO_KEY) + websocket.encode_frame(0x80, b"b", _NO_KEY)


@pytest.mark.parametrize(
    ("wrong", "role", "telling"),
    [
        (Hasty, Role.SERVER, _INNER), (Forgetful, Role.SERVER, _FRAGMENTS), (Asleep, Role.SERVER, b"\x83"),
        (Unmasked, Role.CLIENT, Message("a" * 2_000)), (Bare, Role.CLIENT, Message(b"a")),
        (Narrow, Role.SERVER, Message("\u00fc")), (Resent, Role.SERVER, Message("")),
    ],
)  # fmt: skip
def test_a_planted_difference_is_found(wrong: type[websocket.Connection], role: Role, telling: bytes | Message) -> None:
    """Many of the peer's bytes, or of the owner's events, are those that tell: so a search of few examples finds each."""
    pieces, events = [b"\x8a\x80" + _NO_KEY], [Message(b"b"), Close(1000)]
    if isinstance(telling, Message):
        events += [telling] * 2
    else:
        pieces += [telling] * 2
    streams = st.lists(st.sampled_from(pieces), min_size=2, max_size=8).map(b"".join)
    with pytest.raises(AssertionError, match="the other"):
        search(replace(websockets(role, None, wrong), streams=streams, events=st.sampled_from(events)))


def search(pair: Pair) -> None:
    """Look for a difference, without making it smaller: that takes as long as the search."""
    # The search ends at the first difference. Which examples it tries depends on the constants in minproto's source, which
    # Hypothesis uses. So the maximum is ten times as high as most searches need.
    only_search = settings(
        derandomize=True, phases=[Phase.generate], max_examples=2_000, stateful_step_count=MAX_CALLS, deadline=None
    )
    run_state_machine_as_test(lockstep(pair), settings=only_search)


# ---- RESP ------------------------------------------------------------------------------------------------------------

_PING = resp.encode_command([b"PING"])
_LONG = resp.encode_command([b"a", _PING + b"x" * 150])  # cut in its second string, the buffer begins like a command
_pieces = st.sampled_from([
    _PING, _PING, _LONG, _LONG, resp.encode_command([b"x" * 201]),
    resp.encode_command([b"x" * 200, b"x" * 101]), resp.encode_command([b"x" * 180, b"", b"\r\n"]),
    resp.encode_command([b"a"] * 10), resp.encode_command([b"a"] * 12), b"*2\r\n", b"*1\r\n$2\r\nabcd", b"PING\r\n", b"\r\n",
])  # fmt: skip
_command_streams = st.lists(_pieces, max_size=8).map(b"".join)
_resp_events = st.one_of(
    strategies.commands, strategies.server_events3, st.builds(resp.Encoded, st.binary(max_size=9)), st.just(resp.Reply("text"))
)


def resps(role: Role, authenticated: bool, fast: type[resp.Connection], limits: resp.Limits = SMALL_COMMANDS) -> Pair:
    def core_of(kind: type[resp.Connection]) -> resp.Connection:
        core = kind(role, limits)
        core.authenticated = authenticated
        return core

    streams = strategies.reply_streams if role is Role.CLIENT else strategies.command_streams | _command_streams
    return Pair(lambda: (core_of(fast), core_of(resp.Connection)), streams, _resp_events)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("authenticated", [True, False], ids=["", "no password yet"])
def test_the_fast_resp_is_the_plain_one(role: Role, authenticated: bool) -> None:
    agrees(resps(role, authenticated, minproto.fast.resp.Connection))


class Interrupting(minproto.fast.resp.Connection):
    """Takes a short command in the middle of another."""

    def _parse_command(self):
        return self._read_short() or super()._parse_command()


class Boundless(minproto.fast.resp.Connection):
    """Reads short commands without a look at the limits."""

    def _read_short(self):
        limits, self.limits = self.limits, resp.Limits()
        try:
            return super()._read_short()
        finally:
            self.limits = limits


class Sharing(minproto.fast.resp.Connection):
    """Gives one list away for all commands of one kind."""

    def _read_short(self):
        command = super()._read_short()
        if command is None or command.arguments != [b"PING"]:
            return command
        return resp.Command(self.__dict__.setdefault("_ping", command.arguments))


class Blind(minproto.fast.resp.Connection):
    """Does not look at the end of a string."""

    def _parse_command(self):
        data, start = self._buffer.window()
        if self._arguments is None and data.startswith(b"*1\r\n$2\r\n", start) and len(data) >= start + 12:
            self._buffer.skip(12)
            return resp.Command([bytes(data[start + 8 : start + 10])])
        return super()._parse_command()


@pytest.mark.parametrize(
    ("wrong", "telling"),
    [
        (Interrupting, _LONG), (Boundless, resp.encode_command([b"x" * 201])), (Sharing, _PING),
        (Blind, b"*1\r\n$2\r\nabcd"),
    ],
)  # fmt: skip
def test_a_planted_difference_in_resp_is_found(wrong: type[resp.Connection], telling: bytes) -> None:
    """Of the bytes of a peer, many are those that tell: so a search of few examples finds each."""
    streams = st.lists(st.sampled_from([telling, telling, _PING, b"\r\n"]), min_size=2, max_size=8).map(b"".join)
    with pytest.raises(AssertionError, match="the other"):
        search(replace(resps(Role.SERVER, True, wrong), streams=streams, events=st.nothing()))


class Huge(minproto.fast.resp.Connection):
    """Sends a number that does not fit into 64 bits as if it did."""

    def send(self, event):
        if isinstance(event, resp.Reply) and type(event.value) is int:
            return b":%d\r\n" % event.value
        return super().send(event)


def test_a_planted_difference_in_what_resp_sends_is_found() -> None:
    events = st.sampled_from([resp.Reply(1), resp.Reply(1 << 64), resp.Reply("text")])
    with pytest.raises(AssertionError, match="the other"):
        search(replace(resps(Role.SERVER, True, Huge), events=events))


def test_two_values_that_are_no_number_agree() -> None:
    """NaN equals nothing, not even itself, but two cores that both read it agree."""
    agrees(Pair(lambda: (resp.Connection(Role.CLIENT), resp.Connection(Role.CLIENT)), st.just(b",nan\r\n")), examples=5)
