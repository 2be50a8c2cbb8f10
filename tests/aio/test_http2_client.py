"""Our client of HTTP/2, against our server and against servers that do what ours would not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness import now, pieces, serving, virtual

from minproto import Answer, LocalProtocolError, RemoteProtocolError, Request, RequestRefused, Response, Timeouts
from minproto.aio.http2_client import ClientConnection
from minproto.core import SERVER, Event
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import Connection, GoAway, Limits, Reset
from minproto.http2_frames import HEADERS, MAX_CONCURRENT_STREAMS, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, encode_frame
from minproto.testing import network


async def app(request: Request) -> Answer:
    match request.path:
        case "/echo":
            response = Response(request.body)
            response.trailers.append(("x-trailer", "last"))
            return response
        case "/count":
            return Response(b"%d" % len(await request.read()))
        case "/slow":
            await asyncio.sleep(5)
        case "/forever":
            await request.read()
            await asyncio.sleep(100_000)
        case "/stream":
            return Response(pieces(3, pause=1))
        case "/large":
            return Response(bytes(3_000_000))
        case "/refuses":
            return Response(status=403)
    return Response.text(f"{request.head.method} {request.target} {request.authority}")


def client_of(server: Any, limits: Limits = Limits(), timeouts: Timeouts = Timeouts()) -> ClientConnection:  # noqa: B008
    return ClientConnection(server.attach(), "example.org", "http", limits, timeouts)


class Playing:
    """A server of which a test decides each step."""

    def __init__(self, pipe: Any, limits: Limits) -> None:
        self.pipe = pipe
        self.core = Connection(SERVER, limits)
        self.events: list[Event] = []
        self.send(self.core.greeting())

    def send(self, *events: Event) -> None:
        for event in events:
            self.pipe.write(self.core.send(event))

    def answer(self, stream: int, content: bytes = b"", *, ends: bool = True) -> None:
        self.send(ResponseHead(200, Headers(), "2", stream), Data(content, stream))
        if ends:
            self.send(EndOfMessage(Headers(), stream))

    async def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            data = await self.pipe.read()
            if not data:
                return
            self.core.receive_data(data)
            for event in self.core.events():
                self.events.append(event)
                if (reply := self.core.reply(event)) is not None:
                    self.send(reply)

    async def requests(self, count: int) -> None:
        await self.until(lambda: sum(isinstance(event, RequestHead) for event in self.events) >= count)

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def against(
    play: Callable[[Playing], Awaitable[None]], limits: Limits = Limits(), timeouts: Timeouts = Timeouts()  # noqa: B008
) -> AsyncIterator[ClientConnection]:
    """Our client, with ``play`` as the server."""
    ours, theirs = network.pair()
    task = asyncio.create_task(play(Playing(theirs, limits)))  # type: ignore[arg-type]
    client = ClientConnection(ours, "a", "http", timeouts=timeouts)
    try:
        yield client
    finally:
        await client.close()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception():
            raise task.exception()  # type: ignore[misc]


# ---- requests --------------------------------------------------------------------------------------------------------


@virtual
async def test_requests_of_every_kind() -> None:
    async with serving(app) as server, client_of(server) as client:
        response = await client.request("GET", "/what?q", [("X", "y")])
        assert (response.status, await response.read()) == (200, b"GET /what?q example.org")
        response = await client.request("HEAD", "/what")
        assert (response.headers.get("content-length"), await response.read()) == ("22", b"")
        response = await client.request("POST", "/echo", body=b"known")
        assert (await response.read(), list(response.trailers)) == (b"known", [("x-trailer", "last")])
        response = await client.request("POST", "/echo", body=pieces(3))
        assert await response.read() == b"piece" * 3
        assert len(await (await client.request("GET", "/large")).read()) == 3_000_000
        response = await client.request("PUT", "/nothing")
        assert response.status == 200
        assert [piece async for piece in await client.request("GET", "/stream")] == [b"piece"] * 3
        assert server.metrics.connections == 1


@virtual
async def test_requests_side_by_side() -> None:
    async with serving(app) as server, client_of(server) as client:
        slow = asyncio.create_task(client.request("GET", "/slow"))
        for number in range(20):
            body = b"%d" % number * 10_000
            assert await (await client.request("POST", "/echo", body=body)).read() == body
        assert now() == 0
        await (await slow).read()
        assert now() == 5


@virtual
async def test_requests_wait_for_a_stream() -> None:
    """As many as the server allows go at once, also before the client can know how many those are."""
    async with serving(app, http2_limits=Limits(max_streams=3)) as server, client_of(server) as client:

        async def ask() -> float:
            await (await client.request("GET", "/slow")).read()
            return now()

        assert await asyncio.gather(*(ask() for _ in range(10))) == [5] * 3 + [10] * 3 + [15] * 3 + [20]
        assert server.metrics.requests == {200: 10}


@virtual
async def test_who_gives_up_waiting_for_a_stream_takes_nobodys_place() -> None:
    async with serving(app, http2_limits=Limits(max_streams=1)) as server, client_of(server) as client:
        await (await client.request("GET", "/")).read()
        first = asyncio.create_task(client.request("GET", "/slow"))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(client.request("GET", "/")) for _ in range(3)]
        await asyncio.sleep(1)
        waiting[0].cancel()
        await (await first).read()
        waiting[1].cancel()  # it was just woken
        assert (await asyncio.wait_for(waiting[2], 1)).status == 200
        with pytest.raises(LocalProtocolError):
            await client.request("GET", "no path")
        await (await waiting[2]).read()
        assert (await client.request("GET", "/")).status == 200


@virtual
async def test_who_is_cancelled_in_the_moment_in_which_it_is_woken_takes_nobodys_place() -> None:
    """It was promised the stream, and has not run yet: the next one in the line gets the promise."""
    async with serving(app, http2_limits=Limits(max_streams=1)) as server, client_of(server) as client:
        await _whole(client, "/")
        first, second, third = (asyncio.create_task(_whole(client, path)) for path in ("/slow", "/", "/"))
        await asyncio.sleep(5)
        for _ in range(100):
            if client._promised:
                break
            await asyncio.sleep(0)
        second.cancel()
        assert await asyncio.wait_for(third, 1) == b"GET / example.org" and await first
        assert client._promised == 0


@virtual
async def test_what_cannot_be_sent_takes_nobodys_place() -> None:
    async with serving(app, http2_limits=Limits(max_streams=1)) as server, client_of(server) as client:
        first = asyncio.create_task(_whole(client, "/slow"))
        await asyncio.sleep(1)
        wrong, last = asyncio.create_task(_whole(client, "no path")), asyncio.create_task(_whole(client, "/"))
        await first
        with pytest.raises(LocalProtocolError):
            await wrong
        assert await asyncio.wait_for(last, 1)


@virtual
async def test_more_streams_are_allowed_later() -> None:
    async def play(server: Playing) -> None:
        await server.requests(1)
        await asyncio.sleep(1)
        server.pipe.write(b"\0\0\6\4\0\0\0\0\0" + MAX_CONCURRENT_STREAMS.to_bytes(2, "big") + (2).to_bytes(4, "big"))
        server.core.limits = Limits(max_streams=2)
        await server.requests(2)
        server.answer(3)
        server.answer(1)
        await server.until(lambda: False)

    async with against(play, Limits(max_streams=1)) as client:
        first, second = (asyncio.create_task(client.request("GET", "/")) for _ in range(2))
        assert (await second).status == 200
        assert now() == 1
        assert (await first).status == 200


@virtual
async def test_one_cancelled_request_resets_one_stream() -> None:
    """Before its answer, or in the middle of it; the other goes on."""
    async with serving(app) as server, client_of(server) as client:
        other = await client.request("GET", "/stream")
        for path in ("/forever", "/stream"):
            task = asyncio.create_task(_whole(client, path))
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.001)
            assert server.metrics.in_flight == 1
        assert await other.read() == b"piece" * 3
        assert server.metrics.requests[499] == 2


async def _whole(client: ClientConnection, path: str) -> bytes:
    return await (await client.request("GET", path)).read()


@virtual
async def test_an_upload_ends_when_its_answer_is_there() -> None:
    """The server wants no more of it (NO_ERROR); the answer is whole, the iterator closed."""
    closed: list[float] = []
    async with serving(app) as server, client_of(server) as client:
        response = await client.request("POST", "/refuses", body=pieces(1000, pause=1, closed=closed))
        assert (response.status, await response.read()) == (403, b"")
        await asyncio.sleep(0.001)
        assert closed and closed[0] < 2


@virtual
async def test_a_complete_response_outlives_its_reset() -> None:
    """RFC 9113 §8.1: the reset declines the rest of the upload, and comes in one piece with the response."""

    async def play(server: Playing) -> None:
        await server.until(lambda: server.all(Data))
        said = (ResponseHead(403, Headers(), "2", 1), Data(b"no", 1), EndOfMessage(Headers(), 1), Reset(1, NO_ERROR))
        server.pipe.write(b"".join(server.core.send(event) for event in said))
        await server.until(lambda: False)

    async with against(play) as client:
        response = await client.request("POST", "/", body=pieces(1000, pause=1))
        await asyncio.sleep(1)
        assert (response.status, await response.read()) == (403, b"no")


@virtual
async def test_an_upload_that_fails_fails_its_request() -> None:
    async def broken() -> Any:
        yield b"begun"
        raise ValueError("of the caller")

    async with serving(app) as server, client_of(server) as client:
        with pytest.raises(ValueError, match="of the caller"):
            await (await client.request("POST", "/echo", body=broken())).read()
        with pytest.raises(LocalProtocolError):
            await client.request("POST", "/echo", [("content-length", "9")], body=pieces(1))
        assert (await client.request("GET", "/")).status == 200


@virtual
async def test_what_cannot_be_sent() -> None:
    async with serving(app) as server, client_of(server) as client:
        for method, target, headers in (
            ("G T", "/", []), ("GET", "x", []), ("GET", "/", [("connection", "close")]), ("GET", "/", [("a", "b\n")]),
            ("GET", "/", [("host", "a b")]),
        ):  # fmt: skip
            with pytest.raises(LocalProtocolError):
                await client.request(method, target, headers)
        assert (await client.request("GET", "/")).status == 200


# ---- what servers do -------------------------------------------------------------------------------------------------


@virtual
async def test_refused() -> None:
    """REFUSED_STREAM, and a GOAWAY below the stream: it can be made again. Up to its last stream the answers come."""

    async def play(server: Playing) -> None:
        await server.requests(3)
        server.send(Reset(1, REFUSED_STREAM), GoAway(3))
        await asyncio.sleep(1)
        server.answer(3, b"answered")
        await server.until(lambda: False)

    async with against(play) as client:
        tasks = [asyncio.create_task(_whole(client, "/")) for _ in range(3)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [RequestRefused, bytes, RequestRefused]
        with pytest.raises(RequestRefused):
            await client.request("GET", "/")


@virtual
async def test_a_connection_whose_streams_are_used_up() -> None:
    """All requests are refused, also those that have waited for room, so that they are made on another (§5.1.1)."""
    async with serving(app, http2_limits=Limits(max_streams=1)) as server, client_of(server) as client:
        await client.request("GET", "/what")
        client.core._streams.next_id = (1 << 31) - 1
        tasks = [asyncio.create_task(_whole(client, "/slow")) for _ in range(4)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [bytes] + [RequestRefused] * 3


@virtual
async def test_content_of_a_request_that_needs_a_length_for_it() -> None:
    """GET ends with its head, unless it has a Content-Length; an iterator that brings nothing is right."""
    async with serving(app) as server, client_of(server) as client:
        assert await (await client.request("GET", "/what", body=pieces(0))).read() == b"GET /what example.org"
        with pytest.raises(LocalProtocolError, match="Content-Length, or none was given where it needs one"):
            await client.request("GET", "/slow", body=pieces(3))
        response = await client.request("GET", "/echo", [("content-length", "15")], body=pieces(3))
        assert await response.read() == b"piece" * 3


@virtual
async def test_a_client_leaves_a_server_that_goes_away() -> None:
    """As soon as it has its answers, and with a GOAWAY of its own (RFC 9113 §6.8)."""
    ended: list[tuple[float, int]] = []

    async def play(server: Playing) -> None:
        await server.requests(1)
        server.send(GoAway(1))
        await asyncio.sleep(1)
        server.answer(1, b"answered")
        await server.until(lambda: server.all(GoAway))
        ended.append((now(), len(server.all(GoAway))))
        await server.until(lambda: False)

    async with against(play) as client:
        assert await _whole(client, "/") == b"answered"
        await asyncio.sleep(5)
    assert ended == [(1, 1)]


@virtual
async def test_goaway_wakes_who_waits_for_a_stream() -> None:
    async def play(server: Playing) -> None:
        await server.requests(1)
        await asyncio.sleep(1)
        server.send(GoAway(1))
        await server.until(lambda: False)

    async with against(play, Limits(max_streams=1)) as client:
        first, second = (asyncio.create_task(client.request("GET", "/")) for _ in range(2))
        with pytest.raises(RequestRefused):
            await second
        assert (now(), first.done()) == (1, False)
        first.cancel()
        await asyncio.wait([first])


@virtual
async def test_drained_by_our_server() -> None:
    """The requests under way are answered, later ones are for another connection."""
    async with serving(app) as server, client_of(server) as client:
        slow = asyncio.create_task(_whole(client, "/slow"))
        await asyncio.sleep(1)
        closing = asyncio.create_task(server.server.close())
        await asyncio.sleep(1)
        with pytest.raises(RequestRefused):
            await client.request("GET", "/")
        assert await slow == b"GET /slow example.org"
        await closing
        assert now() == 5
        server.server._draining = False


@pytest.mark.parametrize("how", ["reset", "end", "garbage", "goaway"])
@virtual
async def test_the_connection_is_lost(how: str) -> None:
    """Whoever waits is told: of what nobody knows a ConnectionError; what was not sent can be made again."""

    async def play(server: Playing) -> None:
        await server.requests(2)
        server.answer(1, b"begun", ends=False)
        await asyncio.sleep(1)
        if how == "reset":
            server.pipe.abort()
        elif how == "garbage":
            server.pipe.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await server.until(lambda: False)
        else:
            if how == "goaway":
                server.send(GoAway(3))
            server.pipe.close_write()
            await server.until(lambda: False)

    async with against(play, Limits(max_streams=2)) as client:
        tasks = [asyncio.create_task(_whole(client, "/")) for _ in range(3)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        expected = RemoteProtocolError if how == "garbage" else ConnectionResetError
        assert [type(result) for result in results] == [expected, expected, RequestRefused]
        with pytest.raises(RequestRefused):
            await client.request("GET", "/")


@pytest.mark.parametrize("closes", [True, False])
@virtual
async def test_a_server_that_says_nothing(closes: bool) -> None:
    """Nothing had begun that took too long, or was cut off."""
    ours, theirs = network.pair()
    async with ClientConnection(ours, "a", "http", timeouts=Timeouts(head=5)) as client:
        if closes:
            theirs.close_write()
        error, reason = (RequestRefused, "not HTTP/2") if closes else (RemoteProtocolError, "no settings came")
        with pytest.raises(error, match=reason):
            await client.request("GET", "/")


@virtual
async def test_an_answer_that_never_comes() -> None:
    """The time for a head, and for each piece of content, ends one request."""

    async def play(server: Playing) -> None:
        await server.requests(2)
        server.answer(3, b"begun", ends=False)
        await server.until(lambda: False)

    async with against(play, timeouts=Timeouts(idle=20, body=10)) as client:
        tasks = [asyncio.create_task(_whole(client, "/")) for _ in range(2)]
        await asyncio.sleep(1)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [TimeoutError] * 2
        assert now() == 20


@virtual
async def test_interim_responses_are_passed_over() -> None:
    async def play(server: Playing) -> None:
        await server.requests(1)
        server.send(ResponseHead(103, Headers([("link", "a")]), "2", 1))
        server.answer(1, b"final")
        await server.until(lambda: False)

    async with against(play) as client:
        assert await _whole(client, "/") == b"final"


@virtual
async def test_a_malformed_answer_ends_its_request() -> None:
    async def play(server: Playing) -> None:
        await server.requests(2)
        server.pipe.write(b"\0\0\0\1\5\0\0\0\1")  # a head without a status
        server.answer(3, b"well-formed")
        await server.until(lambda: False)

    async with against(play) as client:
        tasks = [asyncio.create_task(_whole(client, "/")) for _ in range(2)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], ConnectionError)
        assert results[1] == b"well-formed"


@virtual
async def test_close() -> None:
    """Requests under way are given up, and told so; the server sees a GOAWAY."""
    async with serving(app) as server:
        client = client_of(server)
        task = asyncio.create_task(_whole(client, "/forever"))
        await asyncio.sleep(1)
        await client.close()
        await client.close()
        with pytest.raises(ConnectionResetError):
            await task
        with pytest.raises(RequestRefused):
            await client.request("GET", "/")
        await asyncio.sleep(3)
        assert (server.metrics.in_flight, server.metrics.connections) == (0, 0)
        unused = client_of(server)
        await unused.close()


@virtual
async def test_a_client_that_leaves_says_so() -> None:
    """RFC 9113 §5.4.1: with a GOAWAY, also where nothing was wrong."""
    servers: list[Playing] = []

    async def play(server: Playing) -> None:
        servers.append(server)
        await server.until(lambda: False)

    async with against(play) as client:
        await asyncio.sleep(1)
        await client.close()
        await asyncio.sleep(1)
        assert servers[0].all(GoAway) == [GoAway(0)]


@virtual
async def test_a_fault_of_the_server_is_told_to_it_and_ends_the_connection() -> None:
    """RFC 9113 §5.4.1: a GOAWAY with the code, and then the end."""
    ended = []

    async def play(server: Playing) -> None:
        await server.requests(1)
        server.pipe.write(encode_frame(0, 0, 99, b"x"))  # DATA on an idle stream
        await server.until(lambda: False)  # until the client's end
        ended.extend([now(), *[goaway.code for goaway in server.all(GoAway)]])

    async with against(play) as client:
        with pytest.raises(RemoteProtocolError, match="a stream that is idle"):
            await client.request("GET", "/")
        await asyncio.sleep(10)
        assert ended == [0, PROTOCOL_ERROR]


@virtual
async def test_an_idle_client_leaves() -> None:
    async with serving(app) as server:
        client = client_of(server, timeouts=Timeouts(idle=10))
        await _whole(client, "/")
        await asyncio.sleep(11)
        assert server.metrics.connections == 0
        with pytest.raises(RequestRefused):
            await client.request("GET", "/")
        await client.close()


@virtual
async def test_a_response_that_is_given_up() -> None:
    """Its stream is reset, and there is room for another; twice is as good as once."""
    async with serving(app, http2_limits=Limits(max_streams=1)) as server, client_of(server) as client:
        response = await client.request("GET", "/stream")
        assert await anext(response) == b"piece"
        await response.close()
        await response.close()
        with pytest.raises(StopAsyncIteration):
            await anext(response)
        assert await asyncio.wait_for(_whole(client, "/"), 0.1)
        assert (server.metrics.requests, server.metrics.in_flight) == ({200: 1, 499: 1}, 0)
        done = await client.request("GET", "/")
        await done.read()
        await done.close()


@virtual
async def test_a_response_that_nobody_reads_makes_room_when_it_is_whole() -> None:
    async with serving(app, http2_limits=Limits(max_streams=1)) as server, client_of(server) as client:
        unread = await client.request("GET", "/stream")
        assert await asyncio.wait_for(_whole(client, "/"), 4)
        assert await unread.read() == b"piece" * 3


@virtual
async def test_a_malformed_response_is_called_that() -> None:
    """We have reset the stream, not the server: what is raised says why."""

    async def play(server: Playing) -> None:
        await server.requests(1)
        server.send(ResponseHead(200, Headers(), "2", 1))
        server.pipe.write(encode_frame(HEADERS, 4, 1, b"\x88"))
        await server.until(lambda: False)

    async with against(play) as client:
        response = await client.request("GET", "/")
        with pytest.raises(ConnectionResetError, match="a second head, or trailers without END_STREAM"):
            await response.read()


@virtual
async def test_a_tunnel() -> None:
    async def play(server: Playing) -> None:
        await server.requests(1)
        server.send(ResponseHead(200, Headers(), "2", 1))
        await server.until(lambda: server.all(Data))
        server.send(Data(b"pong", 1))
        await server.until(lambda: server.all(EndOfMessage))
        server.send(EndOfMessage(Headers(), 1))
        await server.until(lambda: False)

    async with against(play) as client:
        response = await client.request("CONNECT", "a:80", [("host", "a:80")])
        pipe = response.pipe
        assert pipe is not None
        pipe.write(b"ping")
        assert await pipe.read() == b"pong"
        pipe.close_write()
        assert await pipe.read() == b""
        await pipe.close()
        assert not client.streams
        # One that is refused is an answer like any other.
    async with serving(app) as server, client_of(server) as client:
        response = await client.request("CONNECT", "a:80", [("host", "a:80")])
        assert (response.status, response.pipe, await response.read()) == (501, None, b"no tunnels here\n")
        assert (await client.request("GET", "/")).status == 200


@virtual
async def test_a_reader_that_waits_is_not_in_the_way_of_others() -> None:
    """A response that nobody reads fills its own window, and no more."""
    async with serving(app) as server, client_of(server, Limits(stream_window=10_000)) as client:
        unread = await client.request("GET", "/large")
        assert len(await _whole(client, "/large")) == 3_000_000
        assert len(await unread.read()) == 3_000_000


# ---- requests as the caller wants them, and what they take -----------------------------------------------------------


@virtual
async def test_what_the_caller_says_is_not_said_twice() -> None:
    """A length, and the authority of a tunnel."""

    async def play(server: Playing) -> None:
        await server.requests(2)
        server.answer(1)
        server.answer(3)
        await server.until(lambda: False)

    async with against(play) as client:
        requests = (client.request("POST", "/", [("Content-Length", "3")], b"abc"), client.request("CONNECT", "b:81"))
        tasks = [asyncio.create_task(request) for request in requests]
        await asyncio.wait(tasks)
        assert client.core.next_stream == 5
        for task in tasks:
            await (await task).close()


@virtual
async def test_content_of_a_wrong_type_or_length_opens_no_stream() -> None:
    async with serving(app) as server, client_of(server) as client:
        for body in ("text", bytearray(b"four"), [b"four"], pieces):
            with pytest.raises(TypeError, match="bytes or an async iterator, not"):
                await client.request("POST", "/echo", body=body)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a pair of a name and a value"):
            await client.request("GET", "/", ["te"])  # type: ignore[list-item]
        with pytest.raises(LocalProtocolError, match="not the length"):
            await client.request("GET", "/", [("content-length", "5")])
        assert client.core.next_stream == 1
        for piece in ("text", None, bytearray(b"some"), memoryview(b"some")):

            async def content(piece: Any = piece) -> Any:
                yield piece

            with pytest.raises(TypeError, match="content has to be bytes, not"):
                await client.request("POST", "/echo", body=content())
        assert (await client.request("GET", "/")).status == 200


@virtual
async def test_an_upload_may_take_longer_than_an_answer() -> None:
    """The time for an answer begins when all is sent."""
    async with serving(app) as server, client_of(server) as client:
        response = await client.request("POST", "/count", body=pieces(100, bytes(1000), pause=1))
        assert (await response.read(), now()) == (b"100000", 100)
        with pytest.raises(TimeoutError):
            await client.request("POST", "/forever", body=pieces(100, bytes(1000), pause=1))
        assert now() == 275


@pytest.mark.parametrize("streaming", [False, True])
@virtual
async def test_a_server_that_takes_no_content_is_given_up(streaming: bool) -> None:
    """After Timeouts.write, whether the content was there or made while it was sent; other requests go on."""

    async def play(server: Playing) -> None:
        while not server.all(Reset):
            data = await server.pipe.read()
            server.core.receive_data(data)
            for event in server.core.events():
                server.events.append(event)
                reply = server.core.reply(event)
                if reply is not None and not isinstance(event, Data):
                    server.send(reply)

    async with against(play) as client:
        with pytest.raises(ConnectionError, match="does not read"):
            await client.request("POST", "/", body=pieces(20, bytes(100_000)) if streaming else bytes(2_000_000))
        assert now() == Timeouts().write


@virtual
async def test_a_response_whose_read_was_given_up_is_over() -> None:
    """A second read is told so at once."""
    async with serving(app) as server, client_of(server) as client:
        response = await client.request("GET", "/stream")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await response.read()
        with pytest.raises(ConnectionError, match="given up"):
            await response.read()
        assert now() == 0.5
