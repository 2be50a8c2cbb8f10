"""What an app gets: messages in both directions, pings, the closing handshake, and a queue with an end."""

import asyncio
import itertools
from contextlib import suppress

import pytest
from harness import FIN as END
from harness import RST, Client, now, serving, virtual
from ws_harness import Peer, app_with, echo, frame, frames_in, joined, opening, peer_of, shake, talking, with_socket

from minproto import ConnectionClosed, LocalProtocolError, Server, Timeouts, WebSocketLimits, upgrade
from minproto.aio import websocket
from minproto.testing import network
from minproto.websocket import (
    BINARY,
    CONTINUATION,
    FIN,
    TEXT,
    Close,
    Fragment,
    Message,
    Ping,
    Pong,
)

MIB = 1 << 20
TIMEOUTS = Timeouts()


async def items(*values, pause=0.0):
    for value in values:
        yield value
        if pause:
            await asyncio.sleep(pause)


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["text: €", b"binary\x00\xff", "", b"", "x" * 70_000, bytes(300_000)])
@virtual
async def test_text_is_str_and_binary_is_bytes(message):
    """RFC 6455 §5.6, in both directions."""
    async with talking(echo) as (_, peer):
        peer.send(Message(message))
        assert await peer.data() == message
        await peer.close()


@virtual
async def test_fragments_arrive_as_one_message():
    """§5.4: a receiver gets what the sender meant, also with a Ping in between."""
    async with talking(echo) as (_, peer):
        peer.send(Fragment("one, "), Ping(b"?"), Fragment("two"), Fragment("", last=True))
        assert [await peer.event(), await peer.event()] == [Pong(b"?"), Message("one, two")]


@pytest.mark.parametrize(("values", "opcode"), [(("a", "b"), TEXT), ((b"a", b"b"), BINARY)])
@virtual
async def test_an_iterator_is_sent_as_fragments_when_they_are_there(values, opcode):
    """§5.4: the first has the opcode, the last the FIN bit."""
    async with with_socket() as (ws, peer):
        await ws.send(items(*values, pause=1))
        assert (await peer.data(), now()) == (type(values[0])().join(values), 2)
        assert frames_in(peer.raw) == [(opcode, b"a"), (CONTINUATION, b"b"), (FIN | CONTINUATION, b"")]


@virtual
async def test_an_iterator_without_items_is_an_empty_message():
    """§5.4 knows no message without a frame."""
    async with with_socket() as (ws, peer):
        await ws.send(items())
        await ws.send("next")
        assert [await peer.data(), await peer.data()] == [b"", "next"]


@virtual
async def test_what_cannot_be_sent_is_not():
    """§8.1: text has to be UTF-8; the connection is as good as before."""
    async with with_socket() as (ws, peer):
        with pytest.raises(LocalProtocolError):
            await ws.send("\ud800")
        with pytest.raises(TypeError, match="not bytearray"):
            await ws.send(bytearray(b"x"))
        await ws.send("good")
        assert await peer.data() == "good"


@virtual
async def test_bytes_right_after_the_handshake_are_not_lost():
    """A client may send as soon as it can, in one piece with its handshake if it knows what will be answered."""
    async with serving(app_with(echo)) as server:
        client = server.client()
        client.send(opening() + frame(b"early") + frame(b"bird")[:3])
        assert (await client.answer()).status == 101
        client.send(frame(b"bird")[3:])
        received = client._unread
        while len(received) < 13:
            received += await client.pipe.read()
        assert frames_in(received) == [(FIN | TEXT, b"early"), (FIN | TEXT, b"bird")]


@virtual
async def test_a_receive_that_is_cancelled_loses_no_message():
    """Whether it is cancelled before a message is there, or in the same turn of the loop."""
    async with with_socket() as (ws, peer):
        for turns in range(8):
            peer.send(Message(f"{turns}"))
            receiving = asyncio.create_task(ws.receive())
            for _ in range(turns):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
            assert (await ws.receive() if receiving.cancelled() else receiving.result()) == f"{turns}"


@virtual
async def test_only_one_task_receives():
    """Who gets which message would be chance."""
    async with with_socket() as (ws, peer):
        first = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await ws.receive()
        peer.send(Message("for the first"))
        assert await first == "for the first"


@virtual
async def test_messages_of_several_tasks_stay_whole():
    """§5.4: fragments of different messages MUST NOT be interleaved."""
    async with with_socket() as (ws, peer), asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(ws.send(items(*[name] * 5, pause=0.1)))
            tasks.create_task(ws.send(name.upper() * 3))
        received = [await peer.data() for _ in range(6)]
        assert sorted(received) == ["AAA", "BBB", "CCC", "aaaaa", "bbbbb", "ccccc"]


@virtual
async def test_control_frames_pass_between_fragments():
    """§5.4: our own Ping, and the Pong that the peer waits for, do not wait for the end of a long message."""
    async with with_socket() as (ws, peer), asyncio.TaskGroup() as tasks:
        tasks.create_task(ws.send(items("a", "b", pause=10)))
        await asyncio.sleep(1)
        asking = tasks.create_task(ws.ping())
        ping = await peer.event()
        peer.send(Pong(ping.data), Ping(b"and you?"))
        assert (await peer.event(), now()) == (Pong(b"and you?"), 1)
        assert await asking == 0
        assert await peer.data() == "ab"


# ---- cancelled, and broken off ---------------------------------------------------------------------------------------


@virtual
async def test_a_send_that_is_cancelled_leaves_the_wire_valid():
    """It was waiting for a slow peer; the message goes out all the same, and so does what comes after."""
    async with with_socket() as (ws, peer):
        for seconds in (0, 1):
            sending = asyncio.create_task(ws.send(bytes(500_000)))
            await asyncio.sleep(seconds)
            sending.cancel()
            await asyncio.wait([sending])
        after = asyncio.create_task(ws.send("after"))
        assert [await peer.data() for _ in range(3)] == [bytes(500_000), bytes(500_000), "after"]
        await after


@virtual
async def test_a_send_that_waits_for_its_turn_may_be_cancelled():
    """Nothing of it was sent, and nothing of the other is lost."""
    async with with_socket() as (ws, peer):
        long = asyncio.create_task(ws.send(items("a", "b", pause=1)))
        await asyncio.sleep(0.5)
        waiting = asyncio.create_task(ws.send("never"))
        await asyncio.sleep(0.5)
        waiting.cancel()
        await long
        await ws.send("next")
        assert [await peer.data(), await peer.data()] == ["ab", "next"]


@pytest.mark.parametrize("how", ["cancelled", "failed"])
@virtual
async def test_half_a_message_closes_the_connection(how):
    """§5.4 has no way to take fragments back: 1011, and the peer does not get half a message."""

    async def broken():
        yield "half of"
        await asyncio.sleep(1)
        raise ValueError("of the app")

    async with with_socket() as (ws, peer):
        sending = asyncio.create_task(ws.send(broken()))
        await asyncio.sleep(0.5)
        if how == "cancelled":
            sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled() if how == "cancelled" else isinstance(sending.exception(), ValueError)
        events = await peer.events()
        assert [event.code for event in events] == [1011]
        with pytest.raises(ConnectionClosed):
            await ws.send("more")


@virtual
async def test_an_iterator_that_fails_to_clean_up_is_no_way_out(logged):
    """§5.4: whatever happens in its ``finally``, half a message is followed by nothing but Close."""

    async def broken():
        try:
            while True:
                yield bytes(200_000)
        finally:
            await asyncio.sleep(1)
            raise ValueError("while cleaning up")

    async with with_socket() as (ws, peer):
        sending = asyncio.create_task(ws.send(broken()))
        await asyncio.sleep(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert "while cleaning up" in logged.pop()
        with pytest.raises(ConnectionClosed):
            await ws.send("more")
        assert [event.code for event in await peer.events()] == [1011]

@virtual
async def test_a_cancelled_send_of_a_generator_with_a_task_group_is_cancelled():
    """The group wraps the GeneratorExit of ``aclose``; it must not take the place of the cancellation."""

    async def fragments():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(1_000))
            while True:
                yield b"x" * 100_000

    async with joined(net={"capacity": 1_000, "delays": itertools.repeat(1.0)}) as (ws, _):
        sending = asyncio.create_task(ws.send(fragments()))
        await asyncio.sleep(1)
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled()


@virtual
async def test_an_iterator_that_is_given_up_is_closed_at_once():
    """Its ``finally`` belongs to the send, not to some collection of garbage."""
    closed = []

    async def endless():
        try:
            while True:
                yield "piece"
                await asyncio.sleep(1)
        finally:
            closed.append(now())

    async with with_socket() as (ws, peer):
        iterator = endless()
        sending = asyncio.create_task(ws.send(iterator))
        await asyncio.sleep(2.5)
        peer.send(Close(1000))
        with pytest.raises(ConnectionClosed):
            await sending
        assert closed == [3]


# ---- ping ------------------------------------------------------------------------------------------------------------


@virtual
async def test_ping_gives_the_round_trip_time():
    """§5.5.2, §5.5.3: a quarter of a second there, and the same back."""
    async with with_socket(net={"delays": itertools.repeat(0.25)}) as (ws, peer):
        asking = asyncio.create_task(ws.ping())
        peer.send(Pong((await peer.event()).data))
        assert await asking == 0.5


@virtual
async def test_a_pong_answers_all_earlier_pings_and_one_unasked_none():
    """§5.5.3: a peer may answer only the latest; an unsolicited Pong is not an answer."""
    async with with_socket() as (ws, peer):
        asking = [asyncio.create_task(ws.ping()) for _ in range(3)]
        pings = [await peer.event() for _ in range(3)]
        peer.send(Pong(b"unasked"))
        await asyncio.sleep(1)
        assert not any(task.done() for task in asking)
        peer.send(Pong(pings[1].data))
        await asyncio.sleep(1)
        assert [task.done() for task in asking] == [True, True, False]
        peer.send(Pong(pings[2].data))
        assert await asyncio.gather(*asking) == [1, 1, 2]


@pytest.mark.parametrize("end", ["close", "reset", "cancelled"])
@virtual
async def test_a_ping_without_an_answer_ends_with_the_connection(end):
    """Nobody waits for ever."""
    async with with_socket() as (ws, peer):
        asking = asyncio.create_task(ws.ping())
        await peer.event()
        match end:
            case "close":
                peer.send(Close(1000))
            case "reset":
                peer.pipe.abort()
            case "cancelled":
                asking.cancel()
        await asyncio.wait([asking])
        if end == "cancelled":
            assert asking.cancelled() and ws.close_code is None
        else:
            assert asking.exception().code == {"close": 1000, "reset": 1006}[end]
            with pytest.raises(ConnectionClosed):
                await ws.ping()


# ---- beside the handler ----------------------------------------------------------------------------------------------


async def sleeps(ws):
    while ws.close_code is None:  # noqa: ASYNC110 - there is nothing else to wait for
        await asyncio.sleep(0.1)


async def ticks(ws):
    while True:
        await ws.send("tick")
        await asyncio.sleep(1)


async def streams(ws):
    await ws.send(items(*["piece"] * 100, pause=1))


async def waits_for_a_ping(ws):
    await ws.ping()


@pytest.mark.parametrize("handler", [sleeps, ticks, streams, waits_for_a_ping])
@virtual
async def test_a_ping_is_answered_and_a_close_noticed_whatever_the_handler_does(handler):
    """§5.5.2: as soon as is practical; §5.5.1: a Close is answered with its code."""
    async with talking(handler) as (server, peer):
        await asyncio.sleep(0.5)
        peer.send(Ping(b"?"), Close(4321, "enough"))
        events = [event for event in await peer.events() if not isinstance(event, Message | Ping)]
        assert (events, now()) == ([Pong(b"?"), Close(4321)], 0.5)
        await asyncio.sleep(1)
        assert server.metrics.connections == 0


@pytest.mark.parametrize("code", [1000, 1005, 3999])
@virtual
async def test_the_peers_close_ends_the_iteration(code):
    """§7.1.5: its code and its reason are the connection's; a Close without a code counts as 1005."""
    ended = []

    async def handler(ws):
        await echo(ws)
        ended.append((ws.close_code, ws.close_reason))
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive()
        assert closed.value.code == code
        with pytest.raises(ConnectionClosed):
            await ws.send("more")

    async with talking(handler) as (_, peer):
        reason = "" if code == 1005 else "so long"
        peer.send(Close(code, reason))
        assert await peer.events() == [Close(code)]
        assert ended == [(code, reason)]


@virtual
async def test_a_handler_that_does_not_notice_the_end_is_cancelled():
    """No task outlives its connection for long: it has ``Timeouts.drain`` to clean up."""
    ended = []

    async def forever(ws):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(now())

    async with talking(forever) as (server, peer):
        await asyncio.sleep(5)
        await peer.close()
        await asyncio.sleep(100)
        assert ended == [5 + TIMEOUTS.drain] and server.metrics.connections == 0


# ---- what came before the end ----------------------------------------------------------------------------------------

VIOLATION = frame(b"unmasked")[:1] + b"\x08unmasked"


@pytest.mark.parametrize(
    ("end", "code"), [(Close(1000), 1000), (VIOLATION, 1002), (frame(b"\xff"), 1007)], ids=["Close", "violation", "not UTF-8"]
)
@virtual
async def test_messages_before_the_end_are_answered_before_it(end, code):
    """§7.1.7 and §5.5.1, in one chunk: each echo comes before our Close."""
    async with talking(echo) as (_, peer):
        peer.send(Message("one"), Message("two"), end)
        *messages, close = await peer.events()
        assert (messages, close.code) == ([Message("one"), Message("two")], code)
        assert now() == 0


@pytest.mark.parametrize("end", [Close(1000), VIOLATION], ids=["Close", "violation"])
@virtual
async def test_an_app_that_thinks_before_it_answers_has_its_say(end):
    """§5.5.1: our Close may wait for what is being sent; the app has ``Timeouts.last_words`` for each, the last too."""

    async def thoughtful(ws):
        async for message in ws:
            await asyncio.sleep(0.3)
            await ws.send(message)

    async with talking(thoughtful) as (_, peer):
        peer.send(Message("one"), Message("two"), end)
        *messages, close = await peer.events()
        assert messages == [Message("one"), Message("two")]
        assert isinstance(close, Close) and now() < 1


@pytest.mark.parametrize("end", [Close(1000), VIOLATION], ids=["Close", "violation"])
@virtual
async def test_a_peer_that_reads_late_gets_the_answers_too(end):
    """``Timeouts.last_words`` is for the app to think, not for a slow peer to read what was sent before."""
    async with talking(echo) as (_, peer):
        messages = [Message(bytes(500_000)), *[Message(f"{number}") for number in range(20)]]
        for event in [*messages, end]:
            peer.send(event)
        await asyncio.sleep(TIMEOUTS.write - 1)
        *answers, close = await peer.events()
        assert answers == messages and isinstance(close, Close)


@virtual
async def test_an_app_that_does_not_take_them_is_not_waited_for():
    """``Timeouts.last_words`` later the peer gets its Close, and the handler may still take what came."""
    taken = []

    async def slow(ws):
        await asyncio.sleep(5)
        taken.extend([message async for message in ws])

    async with talking(slow) as (_, peer):
        peer.send(Message("one"), Message("two"), Close(1000))
        assert (await peer.events(), now()) == ([Close(1000)], TIMEOUTS.last_words)
        await asyncio.sleep(5)
        assert taken == ["one", "two"]


@virtual
async def test_a_handler_that_has_returned_is_not_waited_for():
    """It will take no more messages: the peer's Close is answered at once."""

    async def until_closed(ws):
        while ws.close_code is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async with talking(until_closed) as (_, peer):
        peer.send(Message("nobody's"), Close(1000))
        assert await peer.events() == [Close(1000)]
        assert now() < 0.2


# ---- the closing handshake -------------------------------------------------------------------------------------------


@virtual
async def test_close_sends_its_code_and_waits_for_the_peers():
    """§7.1.2, §7.1.3: the closing handshake; then the server closes TCP first (§7.1.1)."""
    async with with_socket() as (ws, peer):
        closing = asyncio.create_task(ws.close(4000, "bye €"))
        assert await peer.event() == Close(4000, "bye €")
        await asyncio.sleep(1)
        assert not closing.done() and ws.close_code is None
        peer.send(Close(4001, "see you"))
        assert await peer.end() == END
        await closing
        assert (ws.close_code, ws.close_reason, now()) == (4001, "see you", 1)
        await ws.close(4002)


@pytest.mark.parametrize(("code", "reason"), [(1005, "x"), (1006, ""), (1015, ""), (999, ""), (5000, ""), (1000, "x" * 124)])
@virtual
async def test_a_close_that_cannot_be_sent_is_not(code, reason):
    """§7.4, §5.5: 1006 never goes on the wire; the connection is still good."""
    async with with_socket() as (ws, peer):
        with pytest.raises(LocalProtocolError):
            await ws.close(code, reason)
        await ws.send("still here")
        assert await peer.data() == "still here"


@virtual
async def test_after_a_close_that_cannot_be_sent_the_app_still_has_its_say():
    """Nothing has changed: messages before the peer's Close are answered before it."""

    async def clumsy(ws):
        with pytest.raises(LocalProtocolError):
            await ws.close(1006)
        await echo(ws)

    async with talking(clumsy) as (_, peer):
        peer.send(Message("one"), Message("two"), Close(1000))
        assert await peer.events() == [Message("one"), Message("two"), Close(1000)]


@virtual
async def test_after_close_nothing_is_sent_and_nothing_delivered():
    """§5.5.1: MUST NOT send data after a Close; a Ping that comes then has no answer."""
    async with with_socket() as (ws, peer):
        closing = asyncio.create_task(ws.close())
        await peer.event()
        peer.send(Message("too late"), Ping(b"?"))
        await asyncio.sleep(1)
        for late in (ws.send("more"), ws.send(items("more")), ws.ping()):
            with pytest.raises(ConnectionClosed):
                await late
        peer.send(Close(1000))
        await closing
        with pytest.raises(ConnectionClosed):
            await ws.receive()
        assert await peer.end() == END and len(frames_in(peer.raw)) == 1


@virtual
async def test_two_closes_that_cross_are_one_closing_handshake():
    """§7.1.3: each has sent one and received one."""
    async with joined(net={"delays": itertools.repeat(0.5)}) as (client, server):
        await asyncio.gather(client.close(4001), server.close(4002))
        assert (client.close_code, server.close_code) == (4002, 4001)


@virtual
async def test_async_with_closes():
    """The client waits for the server to end TCP (§7.1.1), and that is at once."""
    async with joined() as (client, server), asyncio.TaskGroup() as tasks:
        tasks.create_task(echo(server))
        async with client:
            await client.send("hello")
            assert await client.receive() == "hello"
        assert (client.close_code, server.close_code, now()) == (1000, 1000, 0)


@virtual
async def test_a_handler_that_returns_closes_with_1000():
    """§7.4.1: what the connection was for is done."""

    async def once(ws):
        await ws.send("that is all")

    async with talking(once) as (server, peer):
        assert await peer.events() == [Message("that is all"), Close(1000)]
        await asyncio.sleep(0.1)
        assert server.metrics.connections == 0


@virtual
async def test_a_handler_that_fails_closes_with_1011(logged):
    """§7.4.1; the traceback is in the log, and no word of it reaches the peer."""

    async def fails(ws):
        raise ValueError("secret")

    async with talking(fails) as (_, peer):
        assert await peer.events() == [Close(1011)]
        assert "ValueError: secret" in logged.pop() and b"secret" not in peer.raw


@virtual
async def test_a_handler_that_is_cancelled_from_within_fails_like_any_other(logged):
    """A task of its own was cancelled, and that went up; the server goes on, so the peer is owed a Close."""

    async def fails(ws):
        task = asyncio.create_task(asyncio.sleep(1))
        task.cancel()
        await task

    async with talking(fails) as (_, peer):
        assert await peer.events() == [Close(1011)]
        assert "CancelledError" in logged.pop()


@virtual
async def test_a_subprotocol_is_the_clients_first_choice_among_ours():
    """§4.2.2: chosen from what the client offers."""
    async with serving(app_with(echo_subprotocol, subprotocols=["a", "b"])) as server:
        peer, answer = await shake(server.client(), "Sec-WebSocket-Protocol: x, b, a")
        assert (await peer.data(), answer.headers.get("sec-websocket-protocol")) == ("b", "b")
        assert await (await peer_of(server)).data() == "None"


async def echo_subprotocol(ws):
    await ws.send(str(ws.subprotocol))


# ---- abrupt ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["half-closed", "closed", "reset", "mid-frame"])
@virtual
async def test_an_abrupt_end_is_1006_and_never_on_the_wire(how):
    """§7.1.5, §7.4.1: the app is told, the peer is not."""
    async with with_socket() as (ws, peer):
        match how:
            case "half-closed":
                peer.pipe.close_write()
            case "closed":
                await peer.pipe.close()
            case "reset":
                peer.pipe.abort()
            case "mid-frame":
                peer.send(frame(b"cut off")[:-3])
                peer.pipe.close_write()
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive()
        assert (closed.value.code, ws.close_code) == (1006, 1006)
        if how not in ("reset", "closed"):
            assert await peer.end() == END
        assert peer.raw == b""


@virtual
async def test_a_peer_that_is_lost_while_we_send_is_no_error_of_the_handler():
    """ConnectionClosed (1006) from ``send``, which a handler need not catch; nothing in the log."""
    seen = []

    async def floods(ws):
        try:
            while True:
                await ws.send(bytes(100_000))
        except ConnectionError as error:
            seen.append(error)
            raise

    async with talking(floods) as (_, peer):
        await peer.data()
        peer.pipe.abort()
        await asyncio.sleep(1)
        assert [(type(error), getattr(error, "code", None)) for error in seen] == [(ConnectionClosed, 1006)]


@virtual
async def test_abort_ends_it_at_once():
    """The peer sees a reset; who receives, sends or pings is told."""
    async with with_socket() as (ws, peer):
        waiting = [asyncio.create_task(ws.receive()), asyncio.create_task(ws.ping())]
        await asyncio.sleep(1)
        ws.abort()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert [error.code for error in done] == [1006, 1006]
        with pytest.raises(ConnectionClosed):
            await ws.send("more")
        assert (await peer.end(), ws.close_code, now()) == (RST, 1006, 1)


@virtual
async def test_abort_as_the_first_thing_ends_it_too():
    """Before the reader has had its first turn."""
    ended = []

    async def handler(ws):
        ws.abort()
        async with asyncio.timeout(5):
            await echo(ws)
        ended.append((ws.close_code, now()))

    async with serving(app_with(handler)) as server:
        with pytest.raises(ConnectionResetError):
            await peer_of(server)
        await asyncio.sleep(1)
        assert ended == [(1006, 0)]


# ---- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "most"), [(b"small", websocket.MAX_QUEUED), (bytes(400_000), 3)])
@virtual
async def test_an_app_that_does_not_receive_stops_the_peer(message, most):
    """A queue of 64 messages or 1 MiB; what is beyond stays with the sender, and nothing is lost."""
    async with with_socket() as (ws, peer):
        count = 10 + 2_000_000 // len(message) if len(message) > 100 else 30_000
        sending = asyncio.create_task(flood(peer, message, count))
        await asyncio.sleep(10)
        assert not sending.done() and peer.pipe.waiting > 65_536
        assert len(ws._inbox.messages) == most
        assert [await ws.receive() for _ in range(count)] == [message] * count
        await sending


async def flood(peer, message, count):
    for _ in range(count):
        peer.send(Message(message))
        await peer.pipe.drain()


@virtual
async def test_a_send_waits_for_a_peer_that_does_not_read_and_then_cuts_it_off():
    """``Timeouts.write``; memory holds the one message more."""
    async with with_socket() as (ws, peer):
        sent = 0
        with pytest.raises(ConnectionError):
            while True:
                await ws.send(bytes(50_000))
                sent += 1
        assert sent <= 4 and now() == TIMEOUTS.write
        await asyncio.sleep(0.1)
        assert (await peer.end(), ws.close_code) == (RST, 1006)


@virtual
async def test_a_send_goes_on_when_the_peer_reads_again():
    """It waited, and that is all."""
    async with with_socket() as (ws, peer):
        sending = asyncio.create_task(ws.send(bytes(500_000)))
        await asyncio.sleep(20)
        assert not sending.done()
        assert await peer.data() == bytes(500_000)
        await sending
        assert now() == 20


# ---- keepalive and other clocks --------------------------------------------------------------------------------------


@virtual
async def test_a_silent_peer_is_asked_and_then_given_up():
    """``Timeouts.ping`` of silence, a Ping; ``Timeouts.pong`` more, 1011."""
    async with with_socket() as (ws, peer):
        assert (type(await peer.event()), now()) == (Ping, TIMEOUTS.ping)
        close = await peer.event()
        assert (close.code, now()) == (1011, TIMEOUTS.ping + TIMEOUTS.pong)
        assert (await peer.end(), ws.close_code) == (END, 1011)


@pytest.mark.parametrize("sign", [Pong(b""), Pong(b"another"), Ping(b""), Message("alive")])
@virtual
async def test_any_sign_of_life_is_an_answer(sign):
    """Even half a frame: bytes come from someone who is there."""
    async with with_socket() as (ws, peer):
        for asked in range(1, 4):
            while not isinstance(await peer.event(), Ping):
                pass
            assert now() == pytest.approx(asked * (TIMEOUTS.ping + 1) - 1)
            await asyncio.sleep(1)
            peer.send(sign)
        assert ws.close_code is None


@virtual
async def test_while_reading_is_paused_nobody_is_given_up():
    """The app is slow, and that is not the peer's fault, whose answers nobody reads."""
    async with with_socket() as (ws, peer):
        peer.send(*[Message("x")] * websocket.MAX_QUEUED)
        await asyncio.sleep(1_000)
        assert ws.close_code is None and await ws.receive() == "x"
        assert isinstance(await peer.event(), Ping)  # there were many, which went well: that is enough


@pytest.mark.parametrize("how", ["close", "abort"])
@virtual
async def test_a_peer_that_goes_while_reading_is_paused_is_noticed(how):
    """Or 64 messages would be enough to keep a handler that only sends, and its socket, for ever."""
    async with with_socket() as (ws, peer):
        peer.send(*[Message("x")] * websocket.MAX_QUEUED)
        await asyncio.sleep(1)
        if how == "abort":
            peer.pipe.abort()
        else:
            await peer.pipe.close()
        await asyncio.wait([ws._reader])
        assert (ws.close_code, now() <= 2 * TIMEOUTS.ping) == (1006, True)


@virtual
async def test_a_ping_behind_a_full_queue_is_given_up():
    """Its answer can't be read before the app takes what came before it; and the app is waiting for the answer."""
    async with with_socket() as (ws, peer):
        peer.send(*[Message("x")] * (websocket.MAX_QUEUED + 1))
        await ws.receive()
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await ws.ping()
        assert (ws.close_code, now()) == (None, 1 + TIMEOUTS.pong)


@pytest.mark.parametrize("busy", [False, True])
@virtual
async def test_a_peer_that_does_not_answer_our_close_is_cut_off(busy):
    """``Timeouts.close``, however much else it sends; there was no Close from it, so 1006 (§7.1.5)."""
    async with with_socket() as (ws, peer), asyncio.TaskGroup() as tasks:
        if busy:
            tasks.create_task(babble(peer))
        await ws.close(1000)
        assert (ws.close_code, now()) == (1006, TIMEOUTS.close)
        assert await peer.end() == (RST if busy else END)  # what the peer has still to read, a reset would destroy


@virtual
async def test_what_waits_in_our_memory_for_a_peer_that_does_not_answer_our_close_is_dropped():
    """It can't keep the connection for longer."""
    async with with_socket(net={"capacity": 1_000}) as (ws, peer):
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await ws.send(bytes(500_000))
        await ws.close()
        assert now() == 1 + TIMEOUTS.close
        assert await peer.end() == RST


@virtual
async def test_behind_our_close_silence_has_its_own_time():
    """No Ping can be sent any more, so there is no answer to one to be missed."""
    async with with_socket(timeouts=Timeouts(ping=0.3, pong=0.3, close=5)) as (ws, _):
        await ws.close(4000)
        assert (ws.close_code, ws.close_reason, now()) == (1006, "", 5)


@virtual
async def test_who_sends_behind_our_close_is_told_its_code():
    """As it says at the end, if the peer gives it back."""
    async with with_socket() as (ws, peer):
        closing = asyncio.create_task(ws.close(4001, "enough"))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionClosed, match="4001: enough"):
            await ws.send("x")
        peer.send(Close(4001))
        await closing


@virtual
async def test_a_fault_behind_our_close_is_none():
    """RFC 6455 §1.4: what comes behind it may be discarded."""
    async with with_socket() as (ws, peer):
        closing = asyncio.create_task(ws.close(4000))
        await asyncio.sleep(1)
        peer.pipe.write(b"\xff" * 10)
        await closing
        assert (ws.close_code, ws.close_reason) == (1006, "")


@virtual
async def test_the_end_of_another_websocket_is_a_failure_of_the_handler(logged):
    """Such as that of a proxy's other side: the client must not be told that all is well."""

    async def proxy(ws):
        raise ConnectionClosed(1011, "of the other side")

    async with talking(proxy) as (_, peer):
        assert await peer.events() == [Close(1011)]
    assert "the handler of a WebSocket failed" in logged.pop()


@virtual
async def test_a_task_group_that_fails_is_a_failure_of_the_handler(logged):
    """CPython 3.11 and 3.12 let its task look as if it were being cancelled."""

    async def fails(ws):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ws.send(object()))
            await asyncio.sleep(100)

    async with talking(fails) as (_, peer):
        assert await peer.events() == [Close(1011)]
    assert "the handler of a WebSocket failed" in logged.pop()


@virtual
async def test_an_exception_within_async_with_is_told():
    """1000 would say that all is well."""
    async with with_socket() as (ws, peer):
        answering = asyncio.create_task(peer.events())
        with pytest.raises(ZeroDivisionError):
            async with ws:
                raise ZeroDivisionError
        assert (ws.close_code, await answering) == (1011, [Close(1011)])


@virtual
async def test_a_bug_of_ours_is_a_failure_that_is_told(logged):
    """Here a limit that is no number, which users can't set."""
    limits = WebSocketLimits()
    object.__setattr__(limits, "max_message", "long")
    async with with_socket(limits=limits) as (_, peer):
        peer.send(Message("x"))
        assert (await peer.event()).code == 1011
        assert "the reader of a WebSocket failed" in logged.pop()


async def babble(peer):
    for _ in range(30):
        peer.send(Message("blah"))
        await asyncio.sleep(0.5)


@virtual
async def test_timeouts_can_be_set_for_each_upgrade():
    """Options of ``upgrade``."""
    async with with_socket(timeouts=Timeouts(ping=1, pong=2)) as (_, peer):
        assert (type(await peer.event()), now()) == (Ping, 1)
        assert ((await peer.event()).code, now()) == (1011, 3)


# ---- the server stops ------------------------------------------------------------------------------------------------


async def stopping(handler):
    """A server with one WebSocket, half a second old: (the server, the peer)."""
    server = Server(app_with(handler))
    peer, _ = await shake(attached(server))
    await asyncio.sleep(0.5)
    return server, peer


def attached(server):
    ours, theirs = network.pair()
    server.attach(theirs)
    return Client(ours)


@pytest.mark.parametrize("handler", [echo, ticks, streams, waits_for_a_ping])
@virtual
async def test_drain_says_1001(handler):
    """§7.4.1: going away; law 12: the end comes before the deadline, with nothing left."""
    server, peer = await stopping(handler)
    closing = asyncio.create_task(server.close())
    events = [event for event in await peer.events() if isinstance(event, Close)]
    assert events == [Close(1001)]
    await closing
    assert now() <= 1.5


@virtual
async def test_drain_does_not_wait_long_for_a_peer_that_does_not_answer():
    """``Timeouts.close``, then the end."""
    server, peer = await stopping(echo)
    await server.close()
    assert (await peer.end(), now()) == (END, 0.5 + TIMEOUTS.close)


@virtual
async def test_a_handler_that_does_not_notice_the_drain_is_cut_off_at_the_deadline():
    """The peer has had its Close long before."""
    server, peer = await stopping(lambda ws: asyncio.sleep(1_000))
    closing = asyncio.create_task(server.close())
    assert (await peer.events(), now()) == ([Close(1001)], 0.5)
    await closing
    assert now() == 0.5 + TIMEOUTS.drain


@virtual
async def test_a_handshake_that_is_under_way_when_the_drain_begins_is_told_too():
    """Law 12: accepted or refused, but not left open until it is cut off at the deadline."""

    async def slow(request):
        await asyncio.sleep(1)
        return upgrade(request, echo)

    server = Server(slow)
    client = attached(server)
    client.send(opening())
    await asyncio.sleep(0.5)
    closing = asyncio.create_task(server.close())
    answer = await client.answer()
    if answer.status == 101:
        assert await Peer(client.pipe, unread=client._unread).events() == [Close(1001)]
    await closing
    assert now() <= 2


async def returns(ws):
    await asyncio.sleep(0)


@pytest.mark.parametrize("handler", [echo, sleeps, streams, returns])
@pytest.mark.parametrize("said", [[], [Message("x"), Close(1000)], [Close(1000)], [b"garbage"]])
@virtual
async def test_an_abort_of_the_server_leaves_no_task(handler, said):
    """The second signal: in each phase of an ending, the reader ends with its connection."""
    server, peer = await stopping(handler)
    peer.send(*said)
    await asyncio.sleep(0.25)
    server.abort()
    await server.close()
    assert await peer.end() in (RST, END) and now() == 0.75
