"""HTTP/2's server in memory: what requests get, in which order, and what becomes of them when one side has enough."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from h2_harness import StreamReset, talking
from harness import now, pieces, virtual

from minproto import AccessLog, Answer, Request, Response, Timeouts
from minproto import Limits as Http1Limits
from minproto.http2 import Limits
from minproto.http2_frames import DATA, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, WINDOW_UPDATE


async def app(request: Request) -> Answer:
    match request.method, request.path:
        case "POST", "/echo":
            return Response(request.body)
        case "GET", "/slow":
            await asyncio.sleep(10)
            return Response(b"slow")
        case "GET", "/no-content":
            return Response(status=204)
        case "GET", "/not-modified":
            return Response(status=304, headers=[("etag", '"a"')])
        case "GET", "/trailers":
            response = Response(pieces(3))
            response.trailers.append(("checksum", "abc"))
            return response
        case "POST", "/read":
            body = await request.read()
            return Response.text(f"{len(body)} {list(request.trailers)}")
        case "GET", path if path.startswith("/bytes/"):
            return Response(b"x" * int(path[7:]))
        case "GET", path if path.startswith("/pieces/"):
            return Response(pieces(int(path[8:])))
    return Response.text("not found", 404)


@virtual
async def test_requests_side_by_side_are_answered_as_they_are_ready() -> None:
    async with talking(app) as (_, peer):
        slow, hello, echo = peer.ask("GET", "/slow"), peer.ask("GET", "/hello"), peer.open("POST", "/echo")
        await peer.upload(echo, b"abc")
        assert (await peer.answer(hello)).body == b"Hello, World!"
        assert (await peer.answer(echo)).body == b"abc"
        assert now() < 1
        assert (await peer.answer(slow)).body == b"slow"
        assert now() == 10


@virtual
async def test_heads_of_answers() -> None:
    async with talking(app) as (_, peer):
        hello = await peer.get("/hello")
        assert (hello.status, hello.headers.get("content-length")) == (200, "13")
        assert (hello.headers.get("date") or "").endswith(" GMT")
        assert hello.headers.get("connection") is hello.headers.get("transfer-encoding") is None
        pieces_ = await peer.get("/pieces/3")
        assert (pieces_.body, pieces_.headers.get("content-length")) == (b"piece" * 3, None)
        assert (await peer.get("/nothing")).status == 404


@virtual
async def test_field_names_are_lower_case_whatever_the_app_writes() -> None:
    """RFC 9113 §8.2: an app need not know which version carries its answer."""

    async def shouting(request: Request) -> Answer:
        response = Response(pieces(1), headers={"X-Head": "a"})
        response.trailers.append(("x-trailer", "b"))
        return response

    async with talking(shouting) as (_, peer):
        answer = await peer.get("/")
        assert (answer.status, answer.headers.get("x-head")) == (200, "a")
        assert "x-head" in [name for name, _ in answer.headers]


@virtual
async def test_fields_about_a_connection_are_left_out_of_answers() -> None:
    """RFC 9113 §8.2.2: an app for HTTP/1.1 may set them."""

    async def old(request: Request) -> Answer:
        names = ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade")
        return Response(b"", headers=[(name, "x") for name in names] + [("kept", "x")])

    async with talking(old) as (_, peer):
        answer = await peer.get("/")
        assert answer.status == 200
        assert sorted(name for name, _ in answer.headers) == ["content-length", "date", "kept"]


@virtual
async def test_answers_without_content() -> None:
    """HEAD is answered as GET, but nothing is made; 204 and 304 end with their head."""
    async with talking(app) as (server, peer):
        for target, length in (("/hello", "13"), ("/bytes/100000", "100000"), ("/pieces/3", None)):
            answer = await peer.get(target, method="HEAD")
            assert (answer.status, answer.body, answer.headers.get("content-length")) == (200, b"", length)
        for target, status in (("/no-content", 204), ("/not-modified", 304)):
            answer = await peer.get(target)
            assert (answer.status, answer.body, answer.headers.get("content-length")) == (status, b"", None)
        await asyncio.sleep(0.001)
        assert server.metrics.in_flight == 0


@virtual
async def test_trailers_both_ways() -> None:
    async with talking(app) as (_, peer):
        stream = peer.open("POST", "/read")
        await peer.upload(stream, b"content", end=False)
        peer.end(stream, (("checksum", "abc"),))
        assert (await peer.answer(stream)).body == b"7 [('checksum', 'abc')]"
        assert list((await peer.get("/trailers")).trailers) == [("checksum", "abc")]


@virtual
async def test_what_the_server_itself_answers() -> None:
    """OPTIONS * is a question to the server; a method that nobody knows is 501; a tunnel is not opened by chance."""
    async with talking(app, methods=frozenset({"GET", "OPTIONS", "CONNECT"})) as (_, peer):
        answer = await peer.get("*", method="OPTIONS")
        assert (answer.status, answer.headers.get("allow")) == (204, "CONNECT, GET, OPTIONS")
        assert (await peer.get("/hello", method="BREW")).status == 501
        tunnel = peer.open("CONNECT", "a:80", host="a:80")
        assert (await peer.answer(tunnel)).status == 404
        await peer.until(lambda: peer.core.peer_settings)
        unknown = peer.open("CONNECT", "/hello", protocol="unknown")
        answer = await peer.answer(unknown)
        assert (answer.status, answer.body) == (501, b"no tunnels here\n")  # though /hello would have answered 200


@virtual
async def test_continue_is_said_when_the_app_wants_the_content() -> None:
    async with talking(app) as (_, peer):
        stream = peer.open("POST", "/read", ("expect", "100-continue"), ("content-length", "3"))
        await peer.until(lambda: peer.answers[stream].interim)
        await peer.upload(stream, b"abc", end=False)
        answer = await peer.answer(stream)
        assert (answer.interim, answer.status, answer.body) == ([100], 200, b"3 []")

        stream = peer.open("POST", "/nothing", ("expect", "100-continue"), ("content-length", "3"))
        answer = await peer.answer(stream)
        assert (answer.interim, answer.status) == ([], 404)

        stream = peer.open("POST", "/read", ("expect", "100-continue"), ("content-length", "3"))
        await peer.upload(stream, b"abc", end=False)  # it did not wait
        answer = await peer.answer(stream)
        assert (answer.interim, answer.status) == ([], 200)


@virtual
async def test_no_continue_after_an_answer_has_begun() -> None:
    """Nor is the app's reading of the content disturbed by that."""

    async def reads_late(request: Request) -> Answer:
        async def content() -> Any:
            yield b"first "
            yield await request.read()

        return Response(content())

    async with talking(reads_late) as (_, peer):
        stream = peer.open("POST", "/", ("expect", "100-continue"), ("content-length", "3"))
        await peer.until(lambda: peer.answers[stream].status)
        await peer.upload(stream, b"abc")
        answer = await peer.answer(stream)
        assert (answer.interim, answer.body) == ([], b"first abc")


@virtual
async def test_content_too_large() -> None:
    """By its announcement, or when it is: 413, and the rest is not wanted (NO_ERROR)."""
    async with talking(app, limits=Http1Limits(max_body=10)) as (_, peer):
        stream = peer.open("POST", "/read", ("content-length", "11"))
        assert ((await peer.answer(stream)).status, peer.answers[stream].body) == (413, b"content too large\n")
        stream = peer.open("POST", "/read")
        await peer.upload(stream, b"x" * 11, end=False)
        assert (await peer.answer(stream)).status == 413
        await peer.until(lambda: peer.answers[stream].reset is not None)
        assert peer.answers[stream].reset == NO_ERROR
        stream = peer.open("POST", "/read")
        await peer.upload(stream, b"x" * 10)
        assert (await peer.answer(stream)).body == b"10 []"


@virtual
async def test_content_that_takes_too_long() -> None:
    """408 after the body's time without a piece, and for a trickle below the minimum rate."""
    async with talking(app) as (_, peer):
        still = peer.open("POST", "/read")
        assert ((await peer.answer(still)).status, now()) == (408, 30)
        trickle, began = peer.open("POST", "/read"), now()
        while not peer.answers[trickle].ended:
            await peer.upload(trickle, b"x" * 1000, end=False)
            await asyncio.sleep(5)
        assert peer.answers[trickle].status == 408
        assert 30 < peer.answers[trickle].at - began < 60


@virtual
async def test_an_answer_before_the_content_was_read() -> None:
    """The response is whole; then the rest of the content is declined without an error, and its credit comes back."""
    async with talking(app) as (_, peer):
        for _ in range(20):  # more than the connection's window, if it were lost
            stream = peer.open("POST", "/nothing")
            await peer.upload(stream, b"x" * 100_000, end=False)
            assert (await peer.answer(stream)).body == b"not found"
            await peer.until(lambda stream=stream: peer.answers[stream].reset is not None)
            assert peer.answers[stream].reset == NO_ERROR
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_content_that_is_on_its_way_when_its_answer_is_complete() -> None:
    """What still ends is not reset; what turns out to be malformed is, for that; the rest is, without an error."""
    async with talking(app) as (_, peer):
        ends, never = peer.open("POST", "/nothing"), peer.open("POST", "/nothing")
        long, zero = peer.open("POST", "/nothing", ("content-length", "1")), peer.open("POST", "/nothing")
        for stream in (ends, never, long, zero):
            assert (await peer.answer(stream)).status == 404
        peer.end(ends)
        peer.raw(DATA, 1, long, b"test")
        peer.raw(WINDOW_UPDATE, 0, zero, bytes(4))
        await peer.until(lambda: peer.answers[never].reset is not None)
        assert [peer.answers[stream].reset for stream in (ends, never, long, zero)] == [
            None, NO_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR
        ]  # fmt: skip
        assert 0.2 < now() < 0.3


@virtual
async def test_an_app_that_fails(logged: list[str]) -> None:
    """Before the response has begun that is 500, later a reset; neither shows a traceback, and others go on."""

    async def fails(request: Request) -> Answer:
        async def content() -> Any:
            if request.path == "/first":
                raise ValueError("secret")
            yield b"begun"
            raise ValueError("secret")

        if request.path == "/at-once":
            raise ValueError("secret")
        if request.path == "/none":
            return None  # type: ignore[return-value]
        if request.path == "/field":
            return Response(headers=[("a b", "c")])
        if request.path == "/empty":
            return Response(b"content", status=204)
        if request.path == "/cancelled":
            raise asyncio.CancelledError
        if request.path == "/gone":
            raise ConnectionResetError("of a database")
        if request.path == "/length":
            return Response(b"content", headers=[("content-length", "9")])
        if request.path in ("/more", "/less"):
            return Response(pieces(3), headers=[("content-length", "12" if request.path == "/more" else "16")])
        if request.path in ("/trailer", "/trailer-number"):
            response = Response(pieces(1))
            response.trailers.append((":a", "b") if request.path == "/trailer" else ("grpc-status", 0))  # type: ignore[arg-type]
            return response
        if request.path == "/number":
            return Response(b"content", headers=[("x-count", 5)])  # type: ignore[list-item]
        return Response(content())

    async with talking(fails) as (_, peer):
        for path in ("/at-once", "/first", "/none", "/field", "/number", "/empty", "/cancelled", "/gone", "/length"):
            logged.clear()
            answer = await peer.get(path)
            assert (answer.status, answer.body) == (500, b"internal server error\n"), path
            assert len(logged) == 1, path
        for path in ("/later", "/more", "/less", "/trailer", "/trailer-number"):
            logged.clear()
            with pytest.raises(StreamReset) as reset:
                await peer.get(path)
            assert reset.value.code == INTERNAL_ERROR, path
            assert len(logged) == 1, path
        logged.clear()
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_what_an_app_does_wrong_with_tasks_and_pieces(logged: list[str]) -> None:
    """As in HTTP/1.1: nothing of it is taken for the end of the server, or for the client's."""

    async def cancelled() -> None:
        task = asyncio.create_task(asyncio.sleep(9))
        asyncio.get_running_loop().call_later(1, task.cancel)
        await task

    async def wrong(request: Request) -> Answer:
        async def content() -> Any:
            if request.path == "/first":
                yield "text"
            yield b"begun"
            if request.path == "/second":
                yield bytearray(3)
            await cancelled()

        if request.path == "/group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.wait_for(asyncio.sleep(9), 1))
        return Response(content())

    async with talking(wrong) as (_, peer):
        for path, says in (("/group", "TimeoutError"), ("/first", "content has to be bytes, not str")):
            assert (await peer.get(path)).status == 500
            assert says in logged.pop()
        for path, says in (("/second", "content has to be bytes, not bytearray"), ("/third", "CancelledError")):
            with pytest.raises(StreamReset) as reset:
                await peer.get(path)
            assert reset.value.code == INTERNAL_ERROR
            assert says in logged.pop()


@virtual
async def test_a_task_that_reads_on_after_the_answer_is_told_that_it_gets_no_more() -> None:
    """A part must not look like the whole."""
    seen: list[object] = []

    async def save(request: Request, wait: float) -> None:
        await asyncio.sleep(wait)
        with pytest.raises(ConnectionError, match="the exchange is over"):
            async for piece in request.body:
                seen.append(piece)
        seen.append(now())

    async def accepts(request: Request) -> Answer:
        seen.append(asyncio.create_task(save(request, 1 if request.path == "/later" else 0)))
        await asyncio.sleep(0.5)
        return Response(b"accepted", 202)

    async with talking(accepts) as (_, peer):
        for path, told in (("/now", [b"begun", 0.75]), ("/later", [4.5])):
            seen.clear()
            stream = peer.open("POST", path)
            await peer.upload(stream, b"begun", end=False)
            assert (await peer.answer(stream)).status == 202
            await asyncio.sleep(3)
            assert seen[1:] == told


@virtual
async def test_an_app_that_looks_for_content_again_and_again_waits_no_longer_for_it() -> None:
    """A wait that the app cuts short counts, too."""

    async def polls(request: Request) -> Answer:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    return Response(await request.read())

    async with talking(polls) as (_, peer):
        assert ((await peer.answer(peer.open("POST", "/"))).status, now()) == (408, 30)


@virtual
async def test_an_end_that_is_not_as_announced_behind_a_window(logged: list[str]) -> None:
    """The fault is found by the writer, when the peer makes room; it ends that stream alone."""

    async def wrong(request: Request) -> Answer:
        length = {"/more": [("content-length", "99999")], "/less": [("content-length", "100001")]}.get(request.path, [])
        response = Response(pieces(10, b"x" * 10_000), headers=length)
        if request.path == "/trailer":
            response.trailers.append(("grpc-status", 0))  # type: ignore[arg-type]
        return response

    async with talking(wrong, Limits(stream_window=1_000)) as (_, peer):
        other = peer.ask("GET", "/right")
        for path in ("/more", "/less", "/trailer"):
            with pytest.raises(StreamReset) as reset:
                await peer.get(path)
            assert reset.value.code == INTERNAL_ERROR
        assert len(logged) == 3
        assert len((await peer.answer(other)).body) == 100_000
        logged.clear()
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_content_beyond_its_length_in_large_pieces(logged: list[str]) -> None:
    """The client has all that was announced; the handler is not left waiting for room that never comes."""

    async def beyond(request: Request) -> Answer:
        async def content() -> Any:
            yield b"piece"
            yield bytes(20_000)

        return Response(content(), headers=[("content-length", "5")])

    async with talking(beyond) as (server, peer):
        assert (await peer.get("/")).body == b"piece"
        await asyncio.sleep(0.1)
        assert server.metrics.in_flight == 0
        assert "more content than its Content-Length" in logged.pop()


@virtual
async def test_a_declared_length_has_no_trailers() -> None:
    """As in HTTP/1.1, where chunks alone can have them."""

    async def both(request: Request) -> Answer:
        response = Response(pieces(2), headers=[("content-length", "10")])
        response.trailers.append(("a", "b"))
        return response

    async with talking(both) as (_, peer):
        answer = await peer.get("/")
        assert (answer.body, list(answer.trailers)) == (b"piecepiece", [])


@virtual
async def test_a_reset_cancels_the_handler() -> None:
    """Whatever it does: wait, read, send, or wait for the peer to read."""
    cancelled: list[str] = []

    async def waits(request: Request) -> Answer:
        async def content() -> Any:
            try:
                while True:
                    yield b"x" * 1000
                    if request.path == "/sends-now-and-then":
                        await asyncio.sleep(1)
            finally:
                cancelled.append(request.path)

        if request.path.startswith("/sends"):
            return Response(content())
        try:
            if request.path == "/reads":
                await request.read()
            await asyncio.sleep(1000)
        finally:
            cancelled.append(request.path)
        return Response()

    async with talking(waits, Limits(stream_window=10_000), peer={"hold": True}) as (server, peer):
        paths = ["/waits", "/reads", "/sends-now-and-then", "/sends-without-end"]
        streams = [peer.open("GET" if path == "/waits" else "POST", path) for path in paths]
        await asyncio.sleep(5)
        assert cancelled == []
        for stream, path in zip(streams, paths, strict=True):
            peer.reset(stream)
            await asyncio.sleep(0.001)
            assert cancelled.pop() == path
        assert server.metrics.in_flight == 0
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_a_request_that_is_reset_at_once() -> None:
    """In one read with its head: the handler has not even begun, and still the request ends, once, and leaves nothing."""
    lines: list[str] = []

    asked: list[str] = []

    async def never(request: Request) -> Answer:
        asked.append(request.path)
        return Response()

    async with talking(never, observers=[AccessLog(lines.append)]) as (server, peer):
        for _ in range(50):
            peer.reset(peer.open("POST", "/echo"))
        await asyncio.sleep(1)
        assert (server.metrics.requests, server.metrics.in_flight) == ({499: 50}, 0)
        assert asked == []
        assert (await peer.get("/hello")).status == 200
    assert len([line for line in lines if '"POST /echo HTTP/2" 499 0' in line]) == 50


@virtual
async def test_handlers_that_do_not_end_when_they_are_reset_are_bounded() -> None:
    """What outlives its stream counts, or a client could have as many as it likes: a new stream is refused then."""
    begun = 0

    async def stubborn(request: Request) -> Answer:
        nonlocal begun
        begun += 1
        until = now() + 20
        while now() < until:
            try:
                await asyncio.sleep(until - now())
            except asyncio.CancelledError:
                continue
        return Response(pieces(3))

    async with talking(stubborn, http2_limits=Limits(max_streams=4, max_resets=1000)) as (_, peer):
        await peer.until(lambda: peer.core.peer_settings)
        for _ in range(40):
            stream = peer.ask("GET", "/")
            await asyncio.sleep(0.1)
            if peer.answers[stream].reset is None:
                peer.reset(stream)
        assert begun == 8
        assert peer.answers[stream].reset == REFUSED_STREAM
        await asyncio.sleep(20)
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_a_malformed_request_is_one_streams_fault() -> None:
    """Others go on, and it is in the log."""
    lines: list[str] = []
    async with talking(app, observers=[AccessLog(lines.append)]) as (server, peer):
        echo = peer.open("POST", "/echo")
        await peer.upload(echo, b"before ", end=False)
        block = peer.core._coder.encode([(":method", "GET"), (":path", "/"), ("Upper", "x")])
        peer.core._streams.next_id += 2
        peer.raw(1, 5, 3, block)
        short = peer.open("POST", "/read", ("content-length", "3"))
        peer.raw(0, 1, short, b"ab")
        await peer.until(lambda: peer.answers[short].reset is not None)
        assert peer.answers[short].reset == PROTOCOL_ERROR
        await peer.upload(echo, b"and after")
        assert (await peer.answer(echo)).body == b"before and after"
    assert (server.metrics.requests[400], 499 in server.metrics.requests) == (2, False)
    for request in "GET /", "POST /read":
        assert len([line for line in lines if f'"{request} HTTP/2" 400 0' in line]) == 1


@virtual
async def test_streams_above_the_maximum_are_refused() -> None:
    """And can be tried again, also on this connection."""
    async with talking(app, http2_limits=Limits(max_streams=3)) as (server, peer):
        peer.core.peer_settings[3] = 100  # it has not heard of the maximum, or does not care
        streams = [peer.ask("GET", "/slow") for _ in range(4)]
        with pytest.raises(StreamReset) as reset:
            await peer.answer(streams[3])
        assert reset.value.code == REFUSED_STREAM
        assert [(await peer.answer(stream)).body for stream in streams[:3]] == [b"slow"] * 3
        assert (await peer.get("/hello")).status == 200
        assert server.metrics.requests == {200: 4, 503: 1}


@virtual
async def test_each_request_is_counted_once() -> None:
    lines: list[str] = []
    async with talking(app, observers=[AccessLog(lines.append)]) as (server, peer):
        await peer.get("/hello")
        await peer.get("/nothing")
        await peer.get("/hello", method="HEAD")
        echo = peer.open("POST", "/echo")
        await peer.upload(echo, b"abc")
        await peer.answer(echo)
        assert server.metrics.requests == {200: 3, 404: 1}
        assert server.metrics.received > 0 < server.metrics.sent
    tails = [line.partition("] ")[2].rstrip("\n") for line in lines][:4]
    assert tails == [
        '"GET /hello HTTP/2" 200 13', '"GET /nothing HTTP/2" 404 9', '"HEAD /hello HTTP/2" 200 0', '"POST /echo HTTP/2" 200 3',
    ]  # fmt: skip


@virtual
async def test_content_that_has_arrived_when_its_time_is_up_counts() -> None:
    """A loop that was held up finds the timer and the content at once: the client was in time."""
    loop: Any = asyncio.get_running_loop()
    async with talking(app, timeouts=Timeouts(body=5)) as (_, peer):
        stream = peer.open("POST", "/read")
        await asyncio.sleep(4.5)
        peer.raw(0, 1, stream, b"content")
        loop._now += 1
        assert (await peer.answer(stream)).status == 200
