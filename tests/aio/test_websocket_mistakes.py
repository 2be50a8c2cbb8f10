"""Mistakes of users, and ends of connections, as the errors and the log tell of them."""

import asyncio

import pytest
from harness import serving, virtual
from ws_harness import app_with, echo, joined, opening, peer_of, shake, talking, with_socket

from minproto import ConnectionClosed, LocalProtocolError, Timeouts, broadcast, upgrade
from minproto.websocket import Close, Message


@pytest.mark.parametrize(
    ("origin", "status"), [("https://example.org", 403), ("null", 403), ("http://A:80", 101), ("http://a", 101)]
)
@virtual
async def test_a_refused_origin_is_in_the_log_with_what_it_was_compared_with(caplog, origin, status):
    """Behind a proxy that ends TLS, or that changes Host, both are right and do not fit: only their values tell."""
    async with serving(app_with(echo)) as server:
        client = server.client()
        if status == 101:
            await (await shake(client, f"Origin: {origin}"))[0].close()
            assert not caplog.records
            return
        answer = await client.ask(opening(f"Origin: {origin}"))
        assert answer.status == 403
        await client.pipe.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"its Origin is '{origin}', and the authority that it asks for is 'a'" in line and "allow_origin" in line


@virtual
async def test_an_origin_can_put_no_line_into_the_log(caplog):
    async with serving(app_with(echo, allow_origin=lambda request, origin: False)) as server:
        client = server.client()
        assert (await client.ask(opening("Origin: \xff\t" + "x" * 1_000))).status == 403
        await client.pipe.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert len(line) < 600 and line.isascii() and "\n" not in line


# ---- upgrade -----------------------------------------------------------------------------------------------------------


async def asynchronous(request, origin):
    return False


class Room:
    async def __call__(self, ws):
        await ws.send("from a room")


async def generator(ws):
    yield ws


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((None,), {}, "handler has to be an async function of one argument, the WebSocket, not None"),
        ((Room,), {}, "handler has to be an async function of one argument, the WebSocket, not the class"),
        ((generator,), {}, "handler has to be an async function of one argument, the WebSocket, not <function generator"),
        ((echo,), {"subprotocols": "chat"}, "subprotocols has to be a list, not 'chat'"),
        ((echo,), {"allow_origin": asynchronous}, "allow_origin has to be a plain function, since nobody awaits it"),
        ((echo,), {"allow_origin": ["https://a"]}, "allow_origin has to be a function, such as lambda request, origin: "),
        ((echo,), {"allow_origin": None}, "allow_origin has to be a function, such as "),
    ],
)
@virtual
async def test_what_is_wrong_with_an_upgrade_is_said_by_it(logged, arguments, options, says):
    """And not when a client sends its first message."""
    async def app(request):
        return upgrade(request, *arguments, **options)

    async with serving(app) as server:
        client = server.client()
        assert (await client.ask(opening())).status == 500
        await client.pipe.close()
        assert says in logged.pop()


@virtual
async def test_an_allow_origin_that_returns_a_coroutine_allows_nothing(logged):
    async with serving(app_with(echo, allow_origin=lambda request, origin: asyncio.Future())) as server:
        client = server.client()
        assert (await client.ask(opening("Origin: http://b"))).status == 500
        await client.pipe.close()
        assert "allow_origin has to return a bool at once" in logged.pop()


@virtual
async def test_a_handler_that_is_no_async_function_is_named(logged):
    def handler(ws):
        return "sent"

    async with talking(handler) as (_, peer):
        assert await peer.events() == [Close(1011)]
        says = logged.pop()
        assert "/ws: the handler of a WebSocket failed" in says.replace("'", "")
        assert "handler has to be an async function: it returned 'sent', and no coroutine" in says


@pytest.mark.parametrize("handler", [Room(), lambda ws: ws.send("from a lambda")])
@virtual
async def test_other_handlers_that_can_be_awaited(handler):
    async with talking(handler) as (_, peer):
        message, close = await peer.events()
        assert "from a" in message.data and close == Close(1000)


@pytest.mark.parametrize("error", [ValueError("of the app"), SystemExit(3)])
@virtual
async def test_a_handler_that_fails_or_exits_fails_alone(logged, error):
    """``sys.exit`` is the failure of a handler like any other: the server goes on (``serving`` asks it for /hello)."""

    async def handler(ws):
        raise error

    async with talking(handler) as (server, peer):
        assert await peer.events() == [Close(1011)]
        assert type(error).__name__ in logged.pop()
        other = await peer_of(server)
        assert await other.events() == [Close(1011)] and logged.pop()


# ---- what an app sends -------------------------------------------------------------------------------------------------


async def pieces(*items):
    for item in items:
        yield item


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (123, "a message is str, bytes or an async iterator of fragments, not int"),
        (None, "a message is str, bytes or an async iterator of fragments, not NoneType"),
        ({"a": 1}, "a message is str, bytes or an async iterator of fragments, not dict"),
        (["a"], "a message is str, bytes or an async iterator of fragments, not list"),
        (bytearray(b"x"), "a message is str, bytes or an async iterator of fragments, not bytearray"),
    ],
)
@virtual
async def test_what_is_no_message(message, says):
    async with with_socket() as (ws, peer):
        with pytest.raises(TypeError, match=says):
            await ws.send(message)
        await ws.send("still open")
        assert await peer.data() == "still open"
        closing = asyncio.create_task(ws.close())
        await peer.events()
        await closing


@virtual
async def test_what_is_no_fragment():
    async with with_socket() as (ws, peer):
        with pytest.raises(TypeError, match="a fragment is str or bytes, not int"):
            await ws.send(pieces("a", 1))
        assert await peer.events() == [Close(1011, "a message broke off")]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("goodbye",), TypeError, "the code of a Close has to be int, not 'goodbye'"),
        ((1000, b"x"), TypeError, "the reason of a Close has to be str, not b'x'"),
        ((1006,), LocalProtocolError, "1006"),
        ((1000, "x" * 124), LocalProtocolError, "123 bytes"),
    ],
)
@virtual
async def test_what_is_no_close(arguments, error, says):
    """The connection is open after it."""
    async with with_socket() as (ws, peer):
        with pytest.raises(error, match=says):
            await ws.close(*arguments)
        closing = asyncio.create_task(ws.close())
        assert await peer.events() == [Close(1000)]
        await closing


@virtual
async def test_what_is_no_broadcast():
    async with joined() as (client, server):
        with pytest.raises(TypeError, match=r"takes a list of WebSockets, as in broadcast\(\[ws\], message\), not <"):
            broadcast(server, "x")
        for connections in (None, "x"):
            with pytest.raises(TypeError, match="broadcast takes a list of WebSockets"):
                broadcast(connections, "x")
        with pytest.raises(TypeError, match=r"each of connections has to be minproto\.WebSocket, not 5"):
            broadcast([server, 5], "x")
        with pytest.raises(TypeError, match="a message is str or bytes, not int"):
            broadcast([server], 1)
        await asyncio.gather(client.close(), server.close())


# ---- how a connection was lost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "says"),
    [("reset", "reset"), ("end", "without a Close"), ("no reading", "does not read"), ("no close", "no Close from the peer")],
)
@virtual
async def test_an_end_without_a_close_says_how(way, says):
    """1006 is all that the protocol has for it."""
    timeouts = Timeouts(write=5, ping=1_000)
    async with with_socket(timeouts=timeouts, net={"capacity": 1_000}) as (ws, peer):
        match way:
            case "reset":
                peer.pipe.abort()
            case "end":
                peer.pipe.close_write()
            case "no reading":
                with pytest.raises(ConnectionClosed, match=says):
                    await ws.send("x" * 200_000)
            case "no close":
                await ws.close()
        with pytest.raises(ConnectionClosed, match=says) as closed:
            await ws.receive()
        assert closed.value.code == 1006
        with pytest.raises(ConnectionClosed, match=says):
            await ws.send("x")
        peer.pipe.abort()


@virtual
async def test_a_close_says_nothing_that_the_peer_did_not():
    async with with_socket() as (ws, peer):
        peer.send(Message("x"), Close(1001))
        assert await ws.receive() == "x"
        with pytest.raises(ConnectionClosed, match=r"closed \(1001\)") as closed:
            await ws.receive()
        assert (closed.value.reason, ws.close_reason) == ("", "")
        await peer.events()
