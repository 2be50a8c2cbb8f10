"""The client's side: ``connect`` and its checks, frames from a server that breaks the rules, and connecting again."""

import asyncio
import base64
import itertools
import random
import re
import socket
import ssl
from contextlib import aclosing, asynccontextmanager

import pytest
from harness import FIN as END
from harness import RST, not_found, now, serving, virtual
from ws_harness import Peer, app_with, echo, joined

from minproto import (
    ClientConnection,
    Compression,
    ConnectionClosed,
    HandshakeRefused,
    LocalProtocolError,
    RemoteProtocolError,
    Timeouts,
    WebSocket,
    WebSocketLimits,
    connect,
    reconnecting,
)
from minproto.aio import reconnect, websocket_client
from minproto.aio.address import Address
from minproto.core import Role
from minproto.testing import network
from minproto.websocket import BINARY, CLOSE, CONTINUATION, FIN, MASKED, PING, TEXT, encode_frame
from minproto.websocket_handshake import accept_key

TIMEOUTS = Timeouts()


@pytest.fixture
def dial(monkeypatch):
    """Let ``connect`` reach a pipe instead of a network; a list of (host, port, whether by TLS)."""
    dialled = []

    def use(attach):
        async def connect_http(host, port, ssl=None, **options):
            dialled.append((host, port, ssl is not None))
            return ClientConnection(attach(), Address(host, port).authority("https" if ssl else "http"), **options)

        monkeypatch.setattr(websocket_client, "connect_http", connect_http)
        return dialled

    return use


# ---- connect ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, Compression(), Compression(15, 9), Compression(context_takeover=False)])
@virtual
async def test_connect_gives_the_same_object(dial, compression):
    """Text, binary, fragments, pings, and the closing handshake."""
    async with serving(app_with(echo)) as server:
        dial(server.attach)
        async with await connect("ws://a/ws?x=y", compression=compression) as ws:
            for message in ["text", b"binary", "again text " * 1_000]:
                await ws.send(message)
                assert await ws.receive() == message
            assert await ws.ping() == 0
        assert (ws.close_code, now()) == (1000, 0)


@pytest.mark.parametrize("way", ["async with connect", "async with await", "await", "task", "wait_for", "never"])
@virtual
async def test_the_ways_to_use_connect(dial, way):
    """As a coroutine, and as users of other libraries write it."""
    async with serving(app_with(echo)) as server:
        dial(server.attach)
        match way:
            case "async with connect":
                async with connect("ws://a/") as ws:
                    await ws.send("x")
            case "async with await":
                async with await connect("ws://a/") as ws:
                    await ws.send("x")
            case "await":
                ws = await connect("ws://a/")
                await ws.close()
            case "task":
                ws = await asyncio.create_task(connect("ws://a/"))
                await ws.close()
            case "wait_for":
                ws = await asyncio.wait_for(connect("ws://a/"), 1)
                await ws.close()
            case "never":
                connect("ws://a/").close()
                return
        assert ws.close_code == 1000


@pytest.mark.parametrize("name", ["idle", "head", "body", "linger", "last_words", "drain", "ping"])
@virtual
async def test_a_handshake_has_a_time_of_its_own(dial, name):
    """``Timeouts.handshake`` seconds, and however short the others are: here the server answers after one second."""

    async def app(request):
        await asyncio.sleep(1)
        return await app_with(echo)(request)

    async with serving(app) as server:
        dial(lambda: server.attach(cuts=[20]))
        async with connect("ws://a/", timeouts=Timeouts(**{name: 0})) as ws:
            await ws.send("x")
            assert await ws.receive() == "x" and now() == 1


@virtual
async def test_a_block_of_connect_that_fails_or_is_cancelled(dial):
    """Is left as that of a WebSocket: 1011, or an abort."""
    codes = []

    async def handler(ws):
        assert [message async for message in ws] == []
        codes.append(ws.close_code)

    async with serving(app_with(handler)) as server:
        dial(server.attach)
        with pytest.raises(ZeroDivisionError):
            async with connect("ws://a/"):
                raise ZeroDivisionError
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), connect("ws://a/") as ws:
                await ws.receive()
        await asyncio.sleep(0.1)
        assert codes == [1011, 1006]


@virtual
async def test_what_the_handshake_carries(dial):
    """RFC 6455 §4.1: path and query, Host, the offers, and what the caller adds."""
    seen = []

    async def app(request):
        seen.append(request)
        return await app_with(echo, subprotocols=["b"])(request)

    async with serving(app) as server:
        dialled = dial(server.attach)
        ws = await connect("ws://a:81/p%20q?x=y", subprotocols=["a", "b"], headers=[("Cookie", "c=d")])
        assert ws.subprotocol == "b"
        await ws.close()
        request = seen[0]
        assert (request.target, request.headers.get("cookie")) == ("/p%20q?x=y", "c=d")
        assert (request.headers.get("sec-websocket-protocol"), request.headers.get_all("host")) == ("a, b", ["a:81"])
        assert dialled == [("a", 81, False)]


@virtual
async def test_each_connection_has_a_key_of_its_own(dial):
    """RFC 6455 §4.1, 7: 16 random bytes."""
    keys = []

    async def app(request):
        keys.append(base64.b64decode(request.headers.get("sec-websocket-key"), validate=True))
        return await app_with(echo)(request)

    async with serving(app) as server:
        dial(server.attach)
        for _ in range(3):
            await (await connect("ws://a/")).close()
    assert [len(key) for key in keys] == [16] * 3 and len(set(keys)) == 3


@virtual
async def test_nothing_is_sent_before_the_answer(dial):
    """RFC 6455 §4.1: and then the handshake was the whole of what was sent."""
    ours, theirs = network.pair()
    dial(lambda: ours)
    connecting = asyncio.create_task(connect("ws://a/"))
    asked = await theirs.read()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(TIMEOUTS.handshake / 2):
            asked += await theirs.read()
    assert asked.endswith(b"\r\n\r\n") and asked.count(b"\r\n\r\n") == 1 and not connecting.done()
    connecting.cancel()
    await asyncio.wait([connecting])


async def test_a_server_that_cannot_be_reached():
    """RFC 6455 §4.1, 4."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{taken.getsockname()[1]}/")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("ws://a", ("a", 80, False)),
        ("wss://a", ("a", 443, True)),
        ("wss://a:8443/x", ("a", 8443, True)),
        ("ws://[::1]:9/", ("::1", 9, False)),
    ],
)
@virtual
async def test_where_a_url_leads(dial, url, where):
    """§3: the default ports, and TLS for wss."""
    async with serving(app_with(echo)) as server:
        dialled = dial(server.attach)
        await (await connect(url)).close()
        assert dialled == [where]


@pytest.mark.parametrize("url", ["http://a/", "ws:///path", "ws://a/#fragment", "ws://a/#", "ws://user@a/", "a", "ws://a:port/"])
@virtual
async def test_a_url_that_is_none(dial, url):
    """§3; nothing is dialled."""
    dialled = dial(None)
    with pytest.raises(ValueError):
        await connect(url)
    assert dialled == []


@pytest.mark.parametrize(
    ("options", "error"), [({"ssl": ssl.create_default_context()}, ValueError), ({"subprotocols": "chat"}, TypeError)]
)
@virtual
async def test_options_that_do_not_fit(dial, options, error):
    """A context for what is in the clear, one name for a list of them: whoever gives that expects what it would not get."""
    dial(lambda: network.pair()[0])
    with pytest.raises(error):
        await connect("ws://a/", **options)


@pytest.mark.parametrize(
    ("url", "options"),
    [("ws://a", {"subprotocols": ["b", "b"]}), ("ws://a", {"headers": [("b", "c\n")]})],
)
@virtual
async def test_what_can_not_stand_in_a_handshake(dial, url, options):
    """LocalProtocolError; of the request nothing is sent, and if there is a connection already, it is let go."""
    ours, theirs = network.pair()
    dialled = dial(lambda: ours)
    with pytest.raises(LocalProtocolError):
        await connect(url, **options)
    assert not dialled or await Peer(theirs).end() == RST


@pytest.mark.parametrize(
    "name",
    ["Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Transfer-Encoding"],
)
@virtual
async def test_a_field_that_makes_the_handshake_is_not_the_users(dial, name):
    """It would stand there twice (RFC 6455 §11.3.1, §11.3.5), or promise content."""
    dialled = dial(lambda: pytest.fail("connected"))
    with pytest.raises(LocalProtocolError, match=f"can't hold {name.lower()}"):
        await connect("ws://a/", headers={name: "x"})
    assert dialled == []


@virtual
async def test_a_server_that_refuses(dial):
    """§4.1: its status is the error's code."""
    async with serving(not_found) as server:
        dial(server.attach)
        with pytest.raises(RemoteProtocolError) as refused:
            await connect("ws://a/ws")
        assert refused.value.code == 404


def answering_server(change=lambda head: head, frames=b""):
    """What ``dial`` takes: a server that answers the handshake as told, with frames right behind; and its ends."""
    ends, tasks = [], []

    async def answer(pipe):
        key = re.search(r"sec-websocket-key: (.*)\r\n", (await pipe.read()).decode())[1]
        head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines = change([*head, f"Sec-WebSocket-Accept: {accept_key(key)}"])
        pipe.write("\r\n".join([*lines, "", ""]).encode() + frames)

    def attach():
        ours, theirs = network.pair()
        ends.append(theirs)
        tasks.append(asyncio.create_task(answer(theirs)))
        return ours

    return attach, ends


@pytest.mark.parametrize(
    "change",
    [
        lambda head: ["HTTP/1.1 200 OK", *head[1:]],
        lambda head: ["HTTP/1.1 302 Found", "Location: ws://b/", "Content-Length: 0"],
        lambda head: ["HTTP/1.1 101 Switching Protocols", "Upgrade: other", *head[2:]],
        lambda head: [head[0], *head[2:]],
        lambda head: [*head[:2], *head[3:]],
        lambda head: head[:3],
        lambda head: [*head[:3], "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        lambda head: [*head, "Sec-WebSocket-Protocol: unasked"],
        lambda head: [*head, "Sec-WebSocket-Extensions: unasked"],
        lambda head: [*head, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16"],
        lambda head: ["SSH-2.0-OpenSSH"],
    ],
)
@virtual
async def test_a_handshake_that_does_not_fit_fails_the_connection(dial, change):
    """§4.1: the client MUST; and it lets go of the connection."""
    attach, ends = answering_server(change)
    dial(attach)
    with pytest.raises((RemoteProtocolError, ConnectionError)):
        await connect("ws://a/")
    assert await Peer(ends[0]).end() in (END, RST)
    assert now() <= TIMEOUTS.linger  # for the content of an answer that says no end


@virtual
async def test_a_server_that_keeps_still_is_given_up(dial):
    """``Timeouts.handshake``."""
    ends = []

    def attach():
        ends.append(network.pair())
        return ends[-1][0]

    dial(attach)
    with pytest.raises(TimeoutError):
        await connect("ws://a/")
    assert now() == TIMEOUTS.handshake


@virtual
async def test_frames_right_behind_the_handshake_are_not_lost(dial):
    """The server may speak first."""
    dial(answering_server(frames=encode_frame(FIN | TEXT, b"welcome"))[0])
    ws = await connect("ws://a/")
    assert await ws.receive() == "welcome"
    ws.abort()
    await asyncio.sleep(0)


# ---- a server that breaks the rules ----------------------------------------------------------------------------------


@asynccontextmanager
async def client_of(**options):
    """Our client's WebSocket, and the server's pipe."""
    ours, theirs = network.pair()
    ws = WebSocket(ours, Role.CLIENT, **options)
    try:
        yield ws, theirs
    finally:
        ws.abort()
        await asyncio.wait([ws._reader])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encode_frame(FIN | TEXT, b"masked", b"\1\2\3\4"), 1002),  # §5.1: MUST close
        (b"\x81\xff", 1002),
        (encode_frame(FIN | CONTINUATION, b""), 1002),
        (encode_frame(FIN | TEXT, b"\xff"), 1007),
        (encode_frame(FIN | BINARY, bytes(1_001)), 1009),
    ],
)
@virtual
async def test_a_client_fails_the_connection_too(data, code):
    """§7.1.7: messages before are delivered, Close has the code and is masked (§5.3), and the server ends TCP first."""
    async with client_of(limits=WebSocketLimits(max_message=1_000)) as (ws, server):
        server.write(encode_frame(FIN | TEXT, b"good") + data)
        assert [message async for message in ws] == ["good"]
        assert ws.close_code == code
        close = await server.read()
        assert (close[0], close[1] & MASKED) == (FIN | CLOSE, MASKED)
        assert await server.read() == b""
        await server.close()


@pytest.mark.parametrize("at", [1.0, TIMEOUTS.linger])
@virtual
async def test_a_client_that_closes_waits_for_the_server_to_end_tcp(at):
    """§7.1.1: it SHOULD; for a while, then it closes itself."""
    async with client_of() as (ws, server):
        closing = asyncio.create_task(ws.close())
        await server.read()
        server.write(encode_frame(FIN | CLOSE, b"\x03\xe8"))
        if at < TIMEOUTS.linger:
            asyncio.get_running_loop().call_at(at, server.close_write)
        assert (await server.read(), now()) == (b"", at)
        await closing
        assert (ws.close_code, now()) == (1000, at)


@virtual
async def test_a_server_that_goes_is_a_lost_connection():
    """RFC 6455 §7.2.1: the loop over the messages ends, and the code says that there was no Close."""
    async with client_of() as (ws, server):
        server.write(encode_frame(FIN | TEXT, b"good"))
        server.abort()
        assert [message async for message in ws] in (["good"], []) and ws.close_code == 1006


@virtual
async def test_each_frame_of_a_client_has_another_mask():
    """§5.3, §10.3: one that nobody can predict."""
    async with client_of() as (ws, server):
        keys = set()
        for _ in range(50):
            await ws.send(b"the same")
            keys.add((await server.read())[2:6])
        assert len(keys) == 50


@virtual
async def test_a_client_keeps_the_connection_alive_too():
    """It asks a silent server, answers its Pings, and gives it up."""
    async with client_of() as (ws, server):
        server.write(encode_frame(FIN | PING, b"?"))
        assert (await server.read())[0] == 0x8A
        await asyncio.sleep(TIMEOUTS.ping + TIMEOUTS.pong + 0.1)
        assert (await server.read())[:2] == bytes([FIN | PING, MASKED])
        assert ws.close_code == 1011


@virtual
async def test_a_round_trip_between_two_of_ours_takes_its_time():
    """A tenth of a second each way."""
    async with joined(net={"delays": itertools.repeat(0.1)}) as (client, server):
        assert await asyncio.gather(client.ping(), server.ping()) == pytest.approx([0.2, 0.2])


# ---- connecting again ------------------------------------------------------------------------------------------------


# ---- a server that refuses -------------------------------------------------------------------------------------------


def refusing(text):
    """A server that answers each handshake with this."""

    async def answer(pipe):
        await pipe.read()
        pipe.write(text)
        await pipe.close()

    tasks = []

    def attach():
        ours, theirs = network.pair()
        tasks.append(asyncio.create_task(answer(theirs)))
        return ours

    return attach


@pytest.mark.parametrize(
    ("text", "code", "says", "headers", "body"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: wss://b/ws\r\nContent-Length: 0\r\n\r\n",
            302, "the server answered 302, not 101; location: wss://b/ws", {"location": "wss://b/ws"}, b"",
        ),
        (
            b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 5\r\n\r\nlogin',
            401, 'not 101; www-authenticate: Basic realm="x"', {"www-authenticate": 'Basic realm="x"'}, b"login",
        ),
        (
            b"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            429, "not 101; retry-after: 30", {"retry-after": "30"}, b"abc",
        ),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nto the end", 200, "the server answered 200, not 101", {"x": "y"}, b"to the end"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncut", 503, "not 101", {}, b"cut"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, 200, "not 101", {}, b"x" * 65_536),
        (
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
            0, "Sec-WebSocket-Accept does not match the key", {"sec-websocket-accept": "no"}, b"",
        ),
    ],
)  # fmt: skip
@virtual
async def test_the_answer_that_refused_is_in_the_error(dial, text, code, says, headers, body):
    """Where to go instead, what to log in with, when to come back: status, header fields, and up to 64 KiB of content."""
    dial(refusing(text))
    with pytest.raises(HandshakeRefused, match=f"^ws://a/chat: .*{re.escape(says)}") as error:
        await connect("ws://a/chat?token=secret")
    response = error.value.response
    assert (error.value.code, response.status) == (code, code or 101)
    assert {name: response.headers.get(name) for name in headers} == headers and response.body == body
    await asyncio.sleep(3)


@virtual
async def test_retry_after_is_respected_by_reconnecting(dial, longest_waits):
    answers = [refusing(b"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n")]
    async with serving(app_with(echo)) as server:
        dial(lambda: (answers.pop() if answers else server.attach)())
        async with aclosing(reconnecting(lambda: connect("ws://a/"))) as connections:
            await anext(connections)
            assert now() == 30


@virtual
async def test_a_host_of_the_user_takes_the_place_of_ours(dial):
    """One Host field, as RFC 9112 §3.2 demands."""
    seen = []

    async def app(request):
        seen.append(request.headers.get_all("host"))
        return await app_with(echo)(request)

    async with serving(app) as server:
        dial(server.attach)
        await (await connect("ws://a/", headers=[("Host", "b.example")])).close()
        assert seen == [["b.example"]]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://a/x", "http://a/x: the URL has to begin with ws:// or wss://: ws://a/x"),
        ("https://a", "https://a: the URL has to begin with ws:// or wss://: wss://a"),
        ("a.example", "a.example: the URL has to begin with ws:// or wss://"),
        ("ws:///x", "ws:///x: the URL names no host"),
        ("ws://a/#x", "ws://a/#x: the URL of a WebSocket has no fragment"),
        ("ws://user:secret@a/", "a URL with a user or a password is refused: say them in headers="),
        ("ws://a/b c", "'ws://a/b c': in a URL, blanks, control characters and what is not ASCII have to be percent-encoded"),
        ("ws://a/é", "'ws://a/\\xe9': in a URL, blanks"),
        ("ws://a/b\tc", "'ws://a/b\\tc': in a URL, blanks"),
        ("ws://a/\n", "'ws://a/\\n': in a URL, blanks"),
    ],
)
@virtual
async def test_what_is_wrong_with_a_url(url, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        await connect(url)


@virtual
async def test_an_answer_that_had_arrived_is_in_time(dial):
    """The loop is blocked when it comes, until the time for the handshake is over."""
    async with serving(app_with(echo)) as server:
        dial(lambda: server.attach(delays=itertools.repeat(0.1)))
        connecting = asyncio.create_task(connect("ws://a/"))
        await asyncio.sleep(0.15)
        asyncio.get_running_loop()._now += 20
        await (await connecting).close()


# ---- a block that is cancelled ---------------------------------------------------------------------------------------


def silent_server(dial):
    """A server that opens a WebSocket, and then is gone without a word; its ends."""
    attach, ends = answering_server(lambda head: head)
    dial(attach)
    return ends


@virtual
async def test_a_block_that_is_cancelled_aborts(dial):
    """``wait_for`` towards a dead peer takes as long as it says, and not ``Timeouts.close`` more."""
    ends = silent_server(dial)

    async def talk():
        async with await connect("ws://a/") as ws:
            await ws.receive()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk(), 1)
    assert now() == 1 and await Peer(ends[0]).end() == RST


@virtual
async def test_a_block_that_is_cancelled_while_it_closes_aborts(dial):
    ends = silent_server(dial)

    async def talk():
        async with await connect("ws://a/"):
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(talk(), 1)
    assert now() == 1
    peer = Peer(ends[0])
    assert await peer.end() == RST


@virtual
async def test_a_block_that_fails_closes(dial):
    """With 1011, and with the time that a Close has."""
    async with joined() as (client, server):
        receiving = asyncio.create_task(server.receive())
        with pytest.raises(ZeroDivisionError):
            async with client:
                raise ZeroDivisionError
        with pytest.raises(ConnectionClosed):
            await receiving
        assert server.close_code == 1011


@virtual
async def test_a_loop_over_connections_that_is_cancelled_aborts(dial):
    silent_server(dial)

    async def loop():
        async with aclosing(reconnecting(lambda: connect("ws://a/"))) as connections:
            async for ws in connections:
                await ws.receive()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop(), 1)
    assert now() == 1


@virtual
async def test_a_connect_that_is_cancelled_while_it_reads_a_refusal_leaves_nothing(dial):
    ends = []

    async def answer(pipe):
        await pipe.read()
        pipe.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncut")

    def attach():
        ours, theirs = network.pair()
        ends.extend([theirs, asyncio.create_task(answer(theirs))])
        return ours

    dial(attach)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connect("ws://a/"), 1)
    assert now() == 1 and await Peer(ends[0]).end() == RST


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((None,), {}, "connect has to be a function that connects, such as lambda: connect"),
        (("ws://a/",), {}, "connect has to be a function that connects, such as lambda: connect"),
        ((connect,), {"first": "1"}, "first has to be a number"),
        ((connect,), {"longest": None}, "longest has to be a number"),
    ],
)
def test_what_is_wrong_with_reconnecting_is_said_at_once(arguments, options, says):
    with pytest.raises(TypeError, match=says):
        reconnecting(*arguments, **options)


class Connected:
    """What a client's connect gives."""

    def __init__(self, closed=None):
        self._closed = closed

    async def close(self):
        if self._closed is not None:
            self._closed.append(now())


def failing(*outcomes):
    """A connect that gives or raises these, one after the other; and the times at which it was called."""
    times, left = [], iter(outcomes)

    async def connect():
        times.append(now())
        outcome = next(left)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return connect, times


@pytest.fixture
def longest_waits(monkeypatch):
    """Chance takes the most that it may."""
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def waits(times):
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@virtual
async def test_the_wait_doubles_to_its_bound(longest_waits):
    """After each failure, at most."""
    connect, times = failing(*[ConnectionRefusedError()] * 9, Connected())
    async with aclosing(reconnecting(connect, first=1, longest=60)) as connections:
        await anext(connections)
    assert waits(times) == [2, 4, 8, 16, 32, 60, 60, 60, 60]


@virtual
async def test_a_part_of_the_wait_is_chance():
    """So that a crowd of clients does not come back at once; never more than the bound, and on average half of it."""
    connect, times = failing(*[TimeoutError()] * 300, Connected())
    async with aclosing(reconnecting(connect, first=1, longest=10)) as connections:
        await anext(connections)
    late = waits(times)[10:]
    assert 0 <= min(late) < 2 and 8 < max(late) <= 10 and 3 < sum(late) / len(late) < 7


@pytest.mark.parametrize("lasts", [61, 1, 0])
@virtual
async def test_a_connection_begins_the_waits_anew(longest_waits, lasts):
    """However long it lasted: a server that closes on purpose is no server that fails."""
    closed = []
    connect, times = failing(OSError(), OSError(), Connected(closed), OSError(), Connected())
    async with aclosing(reconnecting(connect, first=1, longest=60)) as connections:
        await anext(connections)
        came = now()
        await asyncio.sleep(lasts)
        await anext(connections)
    assert (closed, waits(times)) == ([came + lasts], [2, 4, lasts + 1, 2])


@pytest.mark.parametrize("first", [0, 0.01, 1.0, lambda: 0])
@virtual
async def test_a_server_that_accepts_and_drops_at_once_is_not_hammered(monkeypatch, first):
    """Even where chance takes the least."""
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    connect, times = failing(*[Connected() for _ in range(10)])
    async with aclosing(reconnecting(connect, first=first)) as connections:
        for _ in range(10):
            await anext(connections)
    assert min(waits(times)) == pytest.approx(reconnect.SHORTEST)


@virtual
async def test_an_outage_is_two_lines_in_the_log(caplog):
    caplog.set_level("INFO", "minproto")
    connect, _ = failing(ConnectionRefusedError("refused"), TimeoutError(), Connected(), Connected(), OSError(), Connected())
    async with aclosing(reconnecting(connect, first=1, name="ws://a/")) as connections:
        for _ in range(3):
            await anext(connections)
    lines = [(record.levelname, re.sub("[0-9.]+ s", "N s", record.getMessage())) for record in caplog.records]
    assert lines == [
        ("WARNING", "ws://a/ can't be reached: ConnectionRefusedError: refused; trying again until it can"),
        ("INFO", "ws://a/ is reached again after N s, at attempt 3"),
        ("WARNING", "ws://a/ can't be reached: OSError; trying again until it can"),
        ("INFO", "ws://a/ is reached again after N s, at attempt 2"),
    ]


NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_ADDRESS = socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
NO_ANSWER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize("error", [NO_NAME, NO_ADDRESS])
@virtual
async def test_a_name_that_does_not_exist_is_raised_after_some_attempts(error):
    connect, times = failing(*[error] * 10)
    with pytest.raises(socket.gaierror, match=str(error.strerror)):
        await anext(reconnecting(connect))
    assert len(times) == reconnect.NAME_TRIES


@pytest.mark.parametrize("outcomes", [[NO_ANSWER] * 20, [Connected(), *[NO_NAME] * 20]])
@virtual
async def test_a_name_server_that_is_away_may_come_back(outcomes):
    """And so may a name under which the server was reached before."""
    connect, _ = failing(*outcomes, Connected())
    async with aclosing(reconnecting(connect)) as connections:
        for _ in range(len(outcomes) - 19):
            await anext(connections)
        assert now() > 60


def tls_error(kind, reason):
    error = kind(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


def caused(error):
    lost = ConnectionError("a:443 does not speak TLS")
    lost.__cause__ = error
    return lost


@pytest.mark.parametrize(
    "error",
    [
        tls_error(ssl.SSLError, "WRONG_VERSION_NUMBER"), caused(tls_error(ssl.SSLError, "WRONG_VERSION_NUMBER")),
        tls_error(ssl.SSLCertVerificationError, "CERTIFICATE_VERIFY_FAILED"),
        tls_error(ssl.SSLError, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    ],
)  # fmt: skip
@virtual
async def test_a_fault_of_tls_that_time_does_not_heal_is_raised_at_once(error):
    """A certificate, or a port that does not speak it."""
    connect, times = failing(error)
    with pytest.raises(OSError, match=r"SSL|TLS"):
        await anext(reconnecting(connect))
    assert len(times) == 1


@pytest.mark.parametrize(
    "error",
    [
        tls_error(ssl.SSLEOFError, "UNEXPECTED_EOF_WHILE_READING"), tls_error(ssl.SSLZeroReturnError, "ZERO_RETURN"),
        tls_error(ssl.SSLError, "TLSV1_ALERT_INTERNAL_ERROR"),
    ],
)  # fmt: skip
@virtual
async def test_a_server_that_goes_during_the_handshake_of_tls_may_come_back(error):
    connect, times = failing(error, Connected())
    async with aclosing(reconnecting(connect)) as connections:
        await anext(connections)
    assert len(times) == 2


@pytest.mark.parametrize("error", [RemoteProtocolError("", 404), RemoteProtocolError("no accept"), ValueError(), TypeError()])
@virtual
async def test_what_cannot_get_better_is_raised(error):
    """To try the same again would be the same again."""
    connect, times = failing(error)
    with pytest.raises(type(error)):
        await anext(reconnecting(connect))
    assert len(times) == 1


STATUSES = [RemoteProtocolError(str(status), status) for status in (408, 429, 503)]


@pytest.mark.parametrize("error", [*STATUSES, ConnectionResetError(), TimeoutError(), OSError()])
@virtual
async def test_what_may_get_better_is_tried_again(error):
    """A server that restarts, a network that comes back."""
    connect, times = failing(error, Connected())
    async with aclosing(reconnecting(connect)) as connections:
        await anext(connections)
    assert len(times) == 2


@pytest.mark.parametrize("end", ["FIN", "RST"])
@virtual
async def test_a_server_that_goes_before_it_answers_may_come_back(dial, end):
    """A proxy whose server restarts accepts and closes: that is the network's fault, not a broken rule."""
    async with serving(app_with(echo)) as server:
        tries = []

        def attach():
            tries.append(now())
            if len(tries) > 1:
                return server.attach()
            ours, theirs = network.pair()
            theirs.close_write() if end == "FIN" else theirs.abort()
            return ours

        dial(attach)
        async with aclosing(reconnecting(lambda: connect("ws://a/"))) as connections:
            ws = await anext(connections)
            await ws.send("hello again")
            assert await ws.receive() == "hello again"
        assert (len(tries), ws.close_code) == (2, 1000)


@virtual
async def test_a_client_that_reconnects_sees_its_server_restart(dial):
    """The loop's body ends with the connection, and the next one comes."""
    async with serving(app_with(echo)) as server:
        dial(server.attach)
        echoes = []
        async with aclosing(reconnecting(lambda: connect("ws://a/"))) as connections:
            async for ws in connections:
                await ws.send("hello")
                echoes.append(await ws.receive())
                if len(echoes) == 3:
                    break
                server.ends[-1].abort()
                with pytest.raises(ConnectionClosed):
                    await ws.receive()
        assert echoes == ["hello"] * 3 and server.metrics.requests == {101: 3}


@virtual
async def test_a_cancelled_loop_closes_its_connection(dial):
    """The task that runs it is cancelled: nothing is left (the clock checks), and the server sees an end."""
    async with serving(app_with(echo)) as server:
        dial(server.attach)

        async def loop():
            async with aclosing(reconnecting(lambda: connect("ws://a/"))) as connections:
                async for ws in connections:
                    await ws.receive()

        task = asyncio.create_task(loop())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.1)
        assert server.metrics.connections == 0
