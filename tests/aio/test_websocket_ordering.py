"""Order: any interleaving of senders, fragments, pings and closes, on a network that cuts and delays as it likes."""

import asyncio
from dataclasses import dataclass, field

import pytest
from harness import now, virtual
from hypothesis import given, settings
from hypothesis import strategies as st
from ws_harness import joined

from minproto import ConnectionClosed, Timeouts
from minproto.deflate import Parameters
from minproto.testing import clock
from minproto.websocket_handshake import Agreement

PATIENT = Timeouts(**dict.fromkeys(["write", "ping", "pong", "close", "linger", "last_words"], 10_000.0))

_pauses = st.sampled_from([0, 0, 0.1, 1])
_payloads = st.one_of(st.text("aé€𝄞", max_size=30), st.integers(0, 300).map(lambda size: "x" * size))
_actions = st.one_of(
    st.tuples(st.just("message"), _payloads, st.booleans()),
    st.tuples(st.just("fragments"), st.lists(_payloads, max_size=4), st.booleans()),
    st.tuples(st.just("ping"), st.none(), st.none()),
    st.tuples(st.just("pause"), _pauses, st.none()),
)
_sides = st.lists(st.lists(_actions, max_size=4), max_size=3)
_networks = st.fixed_dictionaries(
    {
        "capacity": st.sampled_from([1, 2, 5, 100, 65_536]),
        "high_water": st.sampled_from([0, 100, 65_536]),
        "cuts": st.lists(st.integers(1, 20), max_size=100),
        "delays": st.lists(st.sampled_from([0, 0.01, 0.3]), max_size=50),
    }
)
_agreements = st.sampled_from([None, Parameters(), Parameters(True, True), Parameters(False, True, 9, 15)]).map(
    lambda deflate: Agreement(deflate=deflate)
)


@dataclass
class Side:
    """What one end's tasks began to send (by sender), how much of it they could, and what its receiver got."""

    sent: list[list[str | bytes]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    received: list[str | bytes] = field(default_factory=list)


async def fragments(pieces, pause):
    for piece in pieces:
        yield piece
        await asyncio.sleep(pause)


async def send_all(ws, number, actions, side):
    """One sender, until it is done or the connection is closed. Its messages begin with its number."""
    for count, (action, what, binary) in enumerate(actions):
        name = f"{number}:{count}:"
        try:
            match action:
                case "message":
                    message = name + what
                    side.sent[number].append(message.encode() if binary else message)
                    await ws.send(side.sent[number][-1])
                case "fragments":
                    pieces = [piece.encode() if binary else piece for piece in [name, *what]]
                    side.sent[number].append(type(pieces[0])().join(pieces))
                    await ws.send(fragments(pieces, 0.05 * count))
                case "ping":
                    assert await ws.ping() >= 0
                case "pause":
                    await asyncio.sleep(what)
        except ConnectionClosed:
            return
        side.done[number] = len(side.sent[number])


async def receive_all(ws, side):
    async for message in ws:
        side.received.append(message)


async def converse(scripts, agreement, net, close=None):
    """Both ends at once. ``close``: which end closes, and when; else the client does, when all is sent."""
    sides = Side(), Side()
    async with joined(agreement, net, timeouts=PATIENT) as sockets, asyncio.TaskGroup() as receivers:
        for ws, side in zip(sockets, sides, strict=True):
            receivers.create_task(receive_all(ws, side))
        async with asyncio.TaskGroup() as senders:
            for ws, side, script in zip(sockets, sides, scripts, strict=True):
                side.sent, side.done = [[] for _ in script], [0] * len(script)
                for number, actions in enumerate(script):
                    senders.create_task(send_all(ws, number, actions, side))
            if close is not None:
                await asyncio.sleep(close[1])
                await sockets[close[0]].close(4000)
        if close is None:
            await asyncio.gather(*[ws.ping() for ws in sockets])  # all that was sent before has arrived, or was to arrive
            await sockets[0].close(4000)
    return sides, [ws.close_code for ws in sockets]


def by_sender(messages, senders):
    """Split up again by the numbers that they begin with."""
    split = [[] for _ in range(senders)]
    for message in messages:
        text = message if isinstance(message, str) else message.decode()
        split[int(text.partition(":")[0])].append(message)
    return split


@settings(max_examples=120)
@given(_sides, _sides, _agreements, _networks)
def test_messages_arrive_in_each_senders_order_whole_and_once(client, server, agreement, net):
    """Law 8 and 1, in both directions: nothing is lost, doubled, mixed or changed, whatever the network does."""
    sides, codes = clock.run(converse([client, server], agreement, net))
    for here, there in (sides, sides[::-1]):
        assert by_sender(here.received, len(there.sent)) == there.sent
    assert codes == [4000, 4000]


@settings(max_examples=120)
@given(_sides, _sides, _agreements, _networks, st.tuples(st.integers(0, 1), st.floats(0, 2)))
def test_a_close_at_any_time_cuts_between_messages(client, server, agreement, net, close):
    """RFC 6455 §5.5.1: what arrived is the beginning of what was sent, whole; who closed has all delivered that it sent."""
    sides, codes = clock.run(converse([client, server], agreement, net, close))
    for here, there in (sides, sides[::-1]):
        for received, sent in zip(by_sender(here.received, len(there.sent)), there.sent, strict=True):
            assert received == sent[: len(received)]
    closed, other = sides[close[0]], sides[1 - close[0]]
    for received, done in zip(by_sender(other.received, len(closed.done)), closed.done, strict=True):
        assert len(received) >= done
    assert codes == [4000, 4000]


@pytest.mark.parametrize("capacity", [1, 3])
@pytest.mark.parametrize("high_water", [0, 65_536])
@virtual
async def test_any_window_finishes_in_both_directions(capacity, high_water):
    """Law 11: a byte at a time, both ends sending and compressing at once."""
    script = [[("message", "x" * 200, False), ("ping", None, None), ("fragments", ["y" * 50] * 3, True)]] * 2
    net = {"capacity": capacity, "high_water": high_water}
    sides, codes = await converse([script, script], Agreement(deflate=Parameters()), net)
    assert [len(side.received) for side in sides] == [4, 4] and codes == [4000, 4000]


@pytest.mark.parametrize("high_water", [0, 65_536])
@virtual
async def test_two_ends_that_send_more_than_the_network_holds_do_not_wait_for_each_other(high_water):
    """Law 11: who waits for the peer to read has to go on reading, and to answer its Pings."""
    script = [[("message", "x" * 100_000, False)] * 5, [("ping", None, None), ("message", "y", False)] * 5]
    sides, codes = await converse([script, script], Agreement(), {"capacity": 1_000, "high_water": high_water})
    assert [len(side.received) for side in sides] == [10, 10] and codes == [4000, 4000]


@virtual
async def test_the_app_takes_the_last_message_while_the_farewell_waits_for_the_network():
    """The reader then looks again whether anybody still has to answer: its Close is not ``last_words`` late."""
    message = ("message", "", False)
    net = {"capacity": 5, "high_water": 0, "cuts": [], "delays": []}
    _, codes = await converse([[[message, message]], [[message]]], Agreement(), net, (1, 0.0))
    assert codes == [4000, 4000] and now() < 1
