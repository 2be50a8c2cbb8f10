"""The content of requests: read while it arrives, under backpressure, and what becomes of the rest; 100 (Continue)."""

import asyncio
import gc
from contextlib import suppress

import pytest
from harness import FIN, HELLO, get, now, pieces, post, serving, trickle, virtual

from minproto import ProtocolError, RemoteProtocolError, Request, Response
from minproto.aio.http1_content import MAX_DISCARD

CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")
EXPECTING = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")
MEBIBYTE = 1 << 20
IN_MEMORY = 4 * 65_536
"""Bytes that may wait in one direction: 64 KiB with the network and twice 64 KiB on either side of it."""


async def echo(request):
    return Response(request.body)


async def read(request):
    return Response(await request.read())


async def ignore(request):
    return Response(b"unread")


# ---- reading ---------------------------------------------------------------------------------------------------------


@virtual
async def test_content_is_read_as_it_arrives():
    """An upload need not fit into memory, or be complete, before its first byte is used."""
    seen = []

    async def app(request):
        async for piece in request.body:
            seen.append((now(), piece))
        return Response()

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Content-Length: 6", method="POST"))
        await trickle(client, [b"12", b"3", b"456"], 5)
        assert (await client.answer()).status == 200
        assert seen == [(0, b"12"), (5, b"3"), (10, b"456")]


@pytest.mark.parametrize("fields", [[], ["Content-Length: 0"]])
@virtual
async def test_a_request_without_content_reads_as_empty_at_once(fields):
    """RFC 9112 §6.3: neither Content-Length nor Transfer-Encoding means no content."""
    async with serving(read) as server:
        client = server.client()
        for _ in range(2):
            answer = await client.ask(get("/", *fields, method="POST"))
            assert (answer.body, answer.at) == (b"", 0)


@virtual
async def test_trailers_are_there_when_the_content_is_read():
    """RFC 9110 §6.5: kept apart from the header, so that they can't forge a field of it."""

    async def app(request):
        body = await request.read()
        return Response(f"{body} {request.trailers} {request.headers.get('x')}".encode())

    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(CHUNKED + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX: y\r\n\r\n")
        assert answer.body == b"b'abcde' [('x', 'y')] None"
        assert (await client.ask(HELLO)).status == 200


@pytest.mark.parametrize("framed", [post("/", bytes(21)), CHUNKED + b"15\r\n" + bytes(21) + b"\r\n0\r\n\r\n"])
@virtual
async def test_read_refuses_what_is_more_than_its_limit(framed):
    """RFC 9110 §15.5.14: 413, and the connection may be closed; the app need not know of it."""

    async def app(request):
        return Response(await request.read(20))

    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(framed)
        assert (answer.status, answer.headers.get("connection")) == (413, "close") and "date" in dict(answer.headers)
        assert (await client.end(), now()) == (FIN, 0)


@pytest.mark.parametrize("content", [b"5\r\nhello\r\nwhat", b"5\r\nhellooooooo", b"x"])
@virtual
async def test_broken_content_is_answered_400_whatever_the_app_was_doing_with_it(content):
    """RFC 9112 §7.1: the app is told, and if it does not mind, so is the client."""
    async with serving(read) as server:
        client = server.client()
        assert (await client.ask(CHUNKED + content)).status == 400
        assert await client.end() == FIN


async def wraps(request):
    try:
        return Response(await request.read())
    except ProtocolError as error:
        raise ValueError("bad input") from error


async def groups(request):
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(request.read())
    return Response(task.result())


async def returns_nothing(request):
    with suppress(ProtocolError):
        return Response(await request.read())


async def wraps_in_its_content(request):
    async def body():
        try:
            async for piece in request.body:
                yield piece
        except ProtocolError as error:
            raise ValueError("bad input") from error

    return Response(body())


@pytest.mark.parametrize("app", [wraps, groups, returns_nothing, wraps_in_its_content])
@pytest.mark.parametrize(("rest", "status"), [(b"x", 400), (b"", 408), (b"7fffffff\r\n", 413)])
@virtual
async def test_what_is_wrong_with_the_content_is_told_whatever_the_app_has_made_of_it(app, rest, status):
    """An error that it wraps, or forgets, is the client's all the same, and so nothing for the log."""
    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(CHUNKED + rest)
        assert (answer.status, answer.headers.get("connection")) == (status, "close")
        assert await client.end() == FIN


@virtual
async def test_the_app_may_wrap_the_error_of_a_client_that_is_gone():
    """It is not the app's either."""
    called = []

    async def app(request):
        called.append(request)
        try:
            return Response(await request.read())
        except ConnectionError as error:
            raise ValueError("bad input") from error

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Content-Length: 9", method="POST"))
        await asyncio.sleep(1)
        client.pipe.abort()
        await asyncio.sleep(1)
        assert called and server.metrics.connections == 0


@pytest.mark.parametrize("rest", [b"x", bytes(99)])
@virtual
async def test_the_app_may_answer_broken_content_itself(rest):
    """The fault ends the connection, but not before the app's own words have arrived."""

    async def app(request):
        try:
            await request.read(20)
        except ProtocolError as error:
            return Response(b"my own", error.code)

    async with serving(app) as server:
        client = server.client()
        client.send(HELLO + CHUNKED + (rest if rest == b"x" else b"63\r\n" + rest))
        assert (await client.answer()).status == 200
        answer = await client.answer()
        assert (answer.body, answer.headers.get("connection")) == (b"my own", "close")
        assert await client.end() == FIN


@virtual
async def test_content_that_breaks_while_it_is_streamed_back_breaks_the_answer():
    """RFC 9112 §8: what has begun as 200 and can't be finished must not look finished."""
    async with serving(echo) as server:
        client = server.client()
        client.send(CHUNKED + b"5\r\nhello\r\n")
        await asyncio.sleep(1)
        client.send(b"oops")
        with pytest.raises((RemoteProtocolError, ConnectionResetError)):
            await client.answer()
        assert await client.end() == FIN


@virtual
async def test_content_that_is_broken_from_the_start_is_refused_though_it_would_be_streamed_back():
    """The head of the answer has not gone out yet; nor does the break cost the answer before it."""
    async with serving(echo) as server:
        client = server.client()
        client.send(get(method="POST") + CHUNKED + b"oops")
        assert [(await client.answer()).status for _ in range(2)] == [200, 400]
        assert await client.end() == FIN


@pytest.mark.parametrize("broken", [b"0\n", b"0\r\nX : y\r\n", b"0\r\n\r\r", b"x", b"3\r\nabcX", b"1\r\nx\r\n" * 9 + b"-1"])
@virtual
async def test_content_that_arrives_with_its_break_is_refused_though_it_would_be_streamed_back(broken):
    """The good content before the break is not given to the app: a 200 would have begun."""
    async with serving(echo) as server:
        client = server.client()
        client.send(get(method="POST") + CHUNKED + b"5\r\nhello\r\n" + broken)
        assert [(await client.answer()).status for _ in range(2)] == [200, 400]
        assert await client.end() == FIN


@virtual
async def test_content_that_arrived_in_many_chunks_is_given_in_one_piece():
    """So the price of a piece in the app is not paid for each byte that a client puts into a chunk of its own."""

    async def app(request):
        sizes = [len(piece) async for piece in request.body]
        return Response(repr((sizes, request.trailers)).encode())

    async with serving(app) as server:
        client = server.client()
        for _ in range(2):
            answer = await client.ask(CHUNKED + b"1\r\nx\r\n" * 99 + b"0\r\nX: y\r\n\r\n")
            assert answer.body == b"([99], [('x', 'y')])"
        assert (await client.ask(get("/", "Content-Length: 0"))).body == b"([], [])"


# ---- backpressure ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@virtual
async def test_an_echo_whose_client_does_not_read_stops_taking(chunked):
    """A peer that sends and never reads must not fill our memory: what waits is bounded, and all arrives in the end."""
    block = bytes(65_536)
    head = get("/", f"Content-Length: {4 * MEBIBYTE}", method="POST")
    async with serving(echo) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(CHUNKED if chunked else head)
        stream = [b"10000\r\n%b\r\n" % block] * 64 + [b"0\r\n\r\n"] if chunked else [block] * 64
        upload = tasks.create_task(trickle(client, stream, 0))
        await asyncio.sleep(20)
        assert not upload.done()
        assert server.metrics.received < IN_MEMORY and server.metrics.sent < IN_MEMORY
        assert (await client.answer()).body == bytes(4 * MEBIBYTE)


@virtual
async def test_an_upload_is_taken_no_faster_than_the_app_reads():
    """What the app has not asked for stays with the client."""

    async def app(request):
        async for _ in request.body:
            await asyncio.sleep(10)
        return Response(b"done")

    async with serving(app) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(get("/", f"Content-Length: {MEBIBYTE}", method="POST"))
        tasks.create_task(trickle(client, [bytes(65_536)] * 16, 0))
        await asyncio.sleep(25)
        assert server.metrics.received < IN_MEMORY
        assert (await client.answer()).body == b"done"


# ---- what the app leaves unread --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 65_536, MAX_DISCARD])
@virtual
async def test_content_left_unread_is_read_away(size):
    """RFC 9112 §9.3: a server MUST read the entire request message body or close; a little is worth the connection."""
    async with serving(ignore) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        tasks.create_task(trickle(client, [post("/", bytes(size)), HELLO], 1))
        assert [(await client.answer()).body for _ in range(2)] == [b"unread", b"Hello, World!"]


@pytest.mark.parametrize("fields", [[], ["Connection: close"]])
@virtual
async def test_more_content_than_a_connection_is_worth_ends_it(fields):
    """RFC 9112 §9.6: the answer arrives, though the client is still sending: FIN, a lingering read, then the end."""
    async with serving(ignore) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(get("/", f"Content-Length: {10 * MEBIBYTE}", *fields, method="POST"))
        tasks.create_task(trickle(client, [bytes(65_536)] * 160, 0.01))
        await asyncio.sleep(1)
        answer = await client.answer()
        assert (answer.body, answer.headers.get("connection")) == (b"unread", "close")
        assert (await client.end(), now()) == (FIN, 1)  # it was there, with most of the content still to come


@virtual
async def test_an_early_answer_arrives_while_the_client_is_still_sending():
    """RFC 9112 §9.5: so that it can stop."""
    async with serving(ignore) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(get("/", "Content-Length: 4000", method="POST"))
        upload = tasks.create_task(trickle(client, [bytes(1000)] * 4, 1))
        answer = await client.answer()
        assert (answer.body, answer.at, upload.done()) == (b"unread", 0, False)
        await upload
        assert (await client.ask(HELLO)).status == 200


@pytest.mark.parametrize("rest", [b"nonsense", b"5\r\nhelloxxx"])
@virtual
async def test_an_answer_survives_content_that_turns_out_broken(rest):
    """Its request was answered; the fault ends the connection, not the answer."""
    async with serving(ignore) as server:
        client = server.client()
        assert (await client.ask(CHUNKED + rest)).body == b"unread"
        assert (await client.end(), now()) == (FIN, 0)


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", f"Content-Length: {10 * MEBIBYTE}"])
@virtual
async def test_an_answer_that_comes_before_the_content_is_over_says_that_it_is_the_last(framing):
    """RFC 9112 §9.6: or the client would send its next request on a connection that is about to be closed."""
    async with serving(ignore) as server:
        client = server.client()
        answer = await client.ask(get("/", framing, method="POST"))
        assert (answer.status, answer.headers.get("connection")) == (200, "close")
        assert await client.end() == FIN


@virtual
async def test_content_in_chunks_that_nobody_reads_ends_no_connection_if_it_has_arrived():
    async with serving(ignore) as server:
        client = server.client()
        answer = await client.ask(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
        assert (answer.body, answer.headers.get("connection")) == (b"unread", None)
        assert (await client.ask(HELLO)).status == 200


@pytest.mark.parametrize("wait", [None, 0, 2])
@virtual
async def test_a_task_that_reads_on_after_the_answer_is_told_that_it_gets_no_more(wait):
    """A part must not look like the whole; nor must its wait for more keep the answer, or the next request, from anybody."""
    seen, tasks = [], []

    async def save(request):
        if wait is not None:
            await asyncio.sleep(wait)
        try:
            async for piece in request.body:
                seen.append(piece)
        except ConnectionError as error:
            seen.append((now(), str(error)))

    async def app(request):
        tasks.append(asyncio.create_task(save(request)))
        await asyncio.sleep(1 if wait == 0 else 0)
        return Response(b"accepted", 202)

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Content-Length: 9", method="POST") + b"begun")
        answer = await client.answer()
        assert (answer.status, answer.headers.get("connection")) == (202, None)
        await asyncio.sleep(3)
        client.send(b"over" + HELLO)
        assert (await client.answer()).status == 200
        await tasks[0]
        over = (2 if wait == 2 else 1 if wait == 0 else 0, "the exchange is over")
        assert seen == ([over] if wait == 2 else [b"begun", over])


@virtual
async def test_a_second_reader_is_refused_and_the_first_one_keeps_its_time():
    """Its own mistake is no reason for the client to be waited for without end."""

    async def app(request):
        first = asyncio.create_task(request.read())
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="another task"):
            await request.read()
        return Response(await first)

    async with serving(app) as server:
        answer = await server.client().ask(get("/", "Content-Length: 9", method="POST"))
        assert (answer.status, answer.at) == (408, 30)


@virtual
async def test_the_content_is_out_of_reach_when_the_request_is_over():
    """A task that the app left behind must not read into the next request."""
    requests = []

    async def app(request):
        requests.append(request)
        return Response()

    async with serving(app) as server:
        client = server.client()
        client.send(post("/", b"hello"))
        await client.answer()
        client.send(get("/", "Content-Length: 4", method="POST"))
        await client.answer()
        with pytest.raises(ConnectionError, match="the exchange is over"):
            await requests[0].read()
        client.send(b"next")


# ---- 100 (Continue) --------------------------------------------------------------------------------------------------


@virtual
async def test_100_is_sent_when_the_app_first_reads():
    """RFC 9110 §10.1.1: once, and no sooner, for the app may refuse what it has only seen the head of."""

    async def app(request):
        await asyncio.sleep(5)
        return Response(await request.read())

    async with serving(app) as server:
        client = server.client()
        client.send(HELLO + EXPECTING)
        assert (await client.answer()).status == 200
        assert (await client.pipe.read(), now()) == (b"HTTP/1.1 100 Continue\r\n\r\n", 5)
        await trickle(client, [b"he", b"llo"], 1)
        answer = await client.answer()
        assert (answer.body, answer.interim) == (b"hello", [])
        assert (await client.ask(HELLO)).status == 200


@pytest.mark.parametrize("limit", [4, 5])
@virtual
async def test_content_that_is_announced_as_too_much_is_refused_before_it_is_sent(limit):
    """RFC 9110 §10.1.1: 100 would ask for it."""

    async def app(request):
        return Response(await request.read(limit))

    async with serving(app) as server:
        client = server.client()
        client.send(EXPECTING)
        if limit < 5:
            answer = await client.answer()
            assert (answer.status, answer.interim, answer.headers.get("connection")) == (413, [], "close")
        else:
            assert await client.pipe.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"hello")
            assert (await client.answer()).body == b"hello"


@virtual
async def test_100_comes_before_the_head_of_an_answer_made_from_the_content():
    """RFC 9110 §15.2: after a final status code, 100 would be taken for the next answer."""
    async with serving(echo) as server:
        client = server.client()
        client.send(EXPECTING)
        assert await client.pipe.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hello")
        assert (await client.answer()).body == b"hello"


@virtual
async def test_a_request_refused_by_its_head_gets_no_100():
    """RFC 9110 §10.1.1: a final status code, and the end: nobody knows whether the content will come."""
    async with serving(ignore) as server:
        client = server.client()
        answer = await client.ask(EXPECTING)
        assert (answer.body, answer.interim, answer.headers.get("connection")) == (b"unread", [], "close")
        assert (await client.end(), now()) == (FIN, 0)


@virtual
async def test_no_100_follows_an_answer_that_has_begun():
    """RFC 9110 §15.2, also where the content is read only after the head of the answer was sent."""

    async def app(request):
        async def body():
            yield b"begun "
            await asyncio.sleep(1)
            yield await request.read()

        return Response(body())

    async with serving(app) as server:
        client = server.client()
        client.send(EXPECTING)
        await asyncio.sleep(2)
        client.send(b"hello")
        answer = await client.answer()
        assert (answer.interim, answer.body) == ([], b"begun hello")


@pytest.mark.parametrize(
    "head", [get("/", "Content-Length: 5", "Expect: 100-continue", method="POST", version="1.0"), EXPECTING + b"h"]
)
@virtual
async def test_no_100_to_http_1_0_or_when_content_has_come(head):
    """RFC 9110 §10.1.1: MUST ignore it in 1.0, MAY omit it once content has come."""
    async with serving(read) as server:
        client = server.client()
        client.send(head)
        await asyncio.sleep(1)
        client.send(b"hello"[head.endswith(b"h") :])
        answer = await client.answer()
        assert (answer.interim, answer.body) == ([], b"hello")


@virtual
async def test_no_100_for_a_request_without_content():
    """RFC 9110 §10.1.1: MUST NOT be sent by a client; there is nothing to wait for."""
    async with serving(read) as server:
        client = server.client()
        answer = await client.ask(get("/", "Expect: 100-continue"))
        assert (answer.interim, answer.status) == ([], 200)
        assert (await client.ask(HELLO)).status == 200


@virtual
async def test_an_iterator_that_never_reads_the_content_is_an_answer_as_any_other():
    """The first piece may be made before the head is sent, but it is not lost, doubled or mistaken for the end."""

    async def app(request):
        return Response(pieces(2) if request.path == "/" else pieces(0))

    async with serving(app) as server:
        for target, body in (("/", b"piecepiece"), ("/empty", b"")):
            client = server.client()
            answer = await client.ask(EXPECTING.replace(b"/", target.encode(), 1))
            assert (answer.interim, answer.body) == ([], body)
            assert await client.end() == FIN


@virtual
async def test_an_idle_connection_holds_no_request():
    """Neither its head, which may have a secret, nor 64 KiB of fields for each connection that is kept alive."""
    async with serving(read) as server:
        client = server.client()
        answer = await client.ask(get("/", "Content-Length: 5", "Authorization: secret", method="POST") + b"hello")
        assert answer.body == b"hello"
        await asyncio.sleep(1)
        gc.collect()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Request)]
