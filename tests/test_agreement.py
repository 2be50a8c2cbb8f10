"""Law 13: each fast core is the plain one, and a planted difference is found."""

from contextlib import suppress

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

import minproto.fast.websocket
from minproto import websocket
from minproto.core import Core, Event, LocalProtocolError, Role
from minproto.deflate import Parameters
from minproto.testing import strategies
from minproto.testing.agreement import MAX_CALLS, Pair, agrees, lockstep
from minproto.websocket import Agreement, Close, Fragment, Limits, Message, Ping, Pong, Shared

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


class Resent(minproto.fast.websocket.Connection):
    """Sends a message of which it has the frame, though it has closed."""

    def send(self, event):
        if isinstance(event, Message) and event.data == "":
            return b"\x81\x00"
        return super().send(event)


@pytest.mark.parametrize("wrong", [Hasty, Unmasked, Forgetful, Resent])
def test_a_planted_difference_is_found(wrong: type[websocket.Connection]) -> None:
    only_search = settings(
        derandomize=True, phases=[Phase.generate], max_examples=200, stateful_step_count=MAX_CALLS, deadline=None
    )
    with pytest.raises(AssertionError, match="the other"):
        for role in Role:
            run_state_machine_as_test(lockstep(websockets(role, None, wrong)), settings=only_search)
