"""Bad requests, limits, and clients that mean harm. After each of them the server answers /hello (``serving`` asks)."""

import asyncio
import functools

import pytest
from harness import FIN, HELLO, RST, get, now, pieces, post, serving, trickle, virtual
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minproto import Limits, RemoteProtocolError, Response, Upgrade
from minproto.aio.http1_server import FAIR_SHARE
from minproto.aio.listener import MAX_REFUSALS
from minproto.testing import clock, cuts, strategies

SMALL = Limits(max_start_line=100, max_head=1_000, max_headers=10, max_body=5_000, max_chunk_line=50)
CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")
LENGTH_AND_CHUNKED = get("/", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST")
IN_MEMORY = 4 * 65_536


async def read(request):
    return Response(await request.read())


async def endless(request):
    return Response(pieces(10**9, bytes(10_000)))


# ---- the answer to a bad request -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\n", 400),  # RFC 9112 §2.2: a bare LF
        (b"GET  / HTTP/1.1\r\n", 400),
        (b"G=T", 400),
        (get("/", "X : y"), 400),  # §5.1: request smuggling through a space before the colon
        (get("/", "X: y", " folded"), 400),  # §5.2: obs-fold
        (get("/", "X: a\0b"), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # §3.2: no Host
        (get("/", "Host: b"), 400),
        (get("/#fragment"), 400),
        (get("*"), 400),
        (b"\r\n" * 9, 400),
        (post("/", b"abc", "Content-Length: 4"), 400),  # §6.3
        (get("/", "Content-Length: +3"), 400),
        (LENGTH_AND_CHUNKED, 400),  # §6.1: smuggling
        (get("/", "Transfer-Encoding: chunked", version="1.0"), 400),
        (get("/", "Transfer-Encoding: chunked, gzip"), 400),
        (CHUNKED + b"3\r\nabcd", 400),  # §7.1: where one server reads on and another does not
        (CHUNKED + b"3 \nabc", 400),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"1;" + b"x" * 50, 400),  # §7.1.1: an extension without end
        (get("/", "Content-Length: 5001", method="POST"), 413),
        (CHUNKED + b"1389\r\n", 413),
        (get("/" + "x" * 100), 414),
        (get("/", *["X: y"] * 10), 431),
        (get("/", "X: " + "y" * 1_000), 431),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 11 + b"\r\n", 431),
        (get(method="BREW"), 501),
        (get(method="TRACE"), 501),
        (get("/", "Transfer-Encoding: gzip, chunked"), 501),
        (get(version="2.0"), 505),
    ],
)
@virtual
async def test_a_bad_request_is_answered_after_the_good_ones_before_it(data, status):
    """RFC 9112 §9.6: with Date and close, by FIN; nothing that follows it is taken for a request."""
    async with serving(read, limits=SMALL) as server:
        client = server.client()
        client.send(HELLO + HELLO + data + HELLO)
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        answer = await client.answer()
        assert (answer.status, answer.headers.get("connection"), answer.at) == (status, "close", 0)
        assert "date" in dict(answer.headers) and answer.body
        assert (await client.end(), now()) == (FIN, 0)
        assert server.metrics.requests == {200: 2, status: 1}


@pytest.mark.parametrize("data", [get("/", "X : y", method="HEAD"), get("/", "Content-Length: 5001", method="HEAD")])
@virtual
async def test_the_answer_to_a_bad_head_request_has_no_content(data):
    """RFC 9110 §9.3.2: a client of HEAD would take it for the next answer."""
    async with serving(limits=SMALL) as server:
        client = server.client()
        answer = await client.ask(data)
        assert answer.status >= 400 and answer.headers.get("content-length") != "0"
        assert await client.end() == FIN


@pytest.mark.parametrize("bad", [b"bad\r\n\r\n", get("/", "Content-Length: 5001", method="POST"), CHUNKED + b"x"])
@virtual
async def test_the_answer_arrives_although_the_client_is_still_sending(bad):
    """RFC 9112 §9.6: closing at once would reset the connection, and the reset destroy the answer unread."""
    async with serving(read, limits=SMALL) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        tasks.create_task(trickle(client, [bad] + [bytes(65_536)] * 15, 0.1))
        await asyncio.sleep(1.55)
        answer = await client.answer()
        assert answer.status in (400, 413)
        assert (await client.end(), now()) == (FIN, 1.55)


@virtual
async def test_the_lingering_read_comes_to_an_end():
    """A client that never stops sending is cut off after ``Timeouts.read_away``, or ``MAX_READ_AWAY`` bytes; a silent one
    after ``Timeouts.linger``."""
    async with serving() as server, asyncio.TaskGroup() as tasks:
        clients = [server.client() for _ in range(3)]
        for client, pause in zip(clients, [0.001, 0.5, 100], strict=True):
            tasks.create_task(trickle(client, [b"bad\r\n\r\n", *[bytes(65_536)] * 3_000], pause))
        for until, left in [(1.0, 3), (1.5, 2), (2.2, 1), (29.9, 1), (30.1, 0)]:
            await asyncio.sleep(until - now())
            assert server.metrics.connections == left


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("pause", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("refused", ["length", "by the app", "chunks", "syntax", "too many"])
@virtual
async def test_a_slow_upload_that_is_refused_at_once_gets_its_answer(refused, pause, tls):
    """It looks for the answer only when it has sent everything, which takes longer than ``Timeouts.linger``."""

    async def app(request):
        return Response.text("no", 413)

    start = {
        "length": get("/", f"Content-Length: {2 * 10**9}", method="POST"),
        "by the app": get("/", f"Content-Length: {10**6}", method="POST"),
        "chunks": get("/", "Transfer-Encoding: chunked", method="POST") + b"80000000\r\n",
        "syntax": b"bad\r\n\r\n",
        "too many": get("/", f"Content-Length: {10**6}", method="POST"),
    }[refused]
    async with serving(app if refused == "by the app" else read, max_connections=1) as server:
        if refused == "too many":
            other = server.client()
        client = server.client(half_close=not tls)
        server.ends[-1].info = lambda name: True if tls and name == "ssl_object" else None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(trickle(client, [start] + [bytes(1000)] * 12, pause))
        assert (await client.answer()).status == {"syntax": 400, "too many": 503}.get(refused, 413)
        await client.pipe.close()
        if refused == "too many":
            await other.pipe.close()
        await asyncio.sleep(3)


@virtual
async def test_a_client_that_half_closes_still_gets_its_answers():
    """RFC 9112 §9.6: its end of the connection says only that there will be no more requests."""

    async def app(request):
        await asyncio.sleep(5)
        return Response(await request.read())

    async with serving(app) as server:
        client = server.client()
        client.send(HELLO + post("/", b"hello"))
        client.pipe.close_write()
        assert [(await client.answer()).body for _ in range(2)] == [b"Hello, World!", b"hello"]
        assert (await client.end(), now()) == (FIN, 5)


@pytest.mark.parametrize("data", [HELLO[:9], post("/", b"hello")[:-1], CHUNKED + b"5\r\nhello\r\n"])
@virtual
async def test_a_request_that_is_cut_short_is_answered_400(data):
    """RFC 9112 §8: an incomplete request; the client may still be listening."""
    async with serving(read) as server:
        client = server.client()
        client.send(data)
        client.pipe.close_write()
        assert (await client.answer()).status == 400
        assert (await client.end(), now()) == (FIN, 0)


@pytest.mark.parametrize("data", [b"bad\r\n\r\n", get("/hello", "Connection: close")])
@virtual
async def test_where_the_pipe_cannot_half_close_the_answer_tells_where_it_ends(data):
    """TLS in asyncio: the client sees our end only when we close; its own end, or the linger timeout, makes us."""
    async with serving() as server:
        for end_first in (False, True):
            client, began = server.client(half_close=False), now()
            answer = await client.ask(data)
            assert (answer.headers.get("connection"), answer.at - began) == ("close", 0)
            if end_first:
                await client.pipe.close()
            assert await client.end() == FIN
            assert now() - began == (0 if end_first else 2)


@virtual
async def test_over_tls_a_close_that_was_agreed_on_does_not_linger():
    """The client can't see our end before we close; where it has nothing more to send, it need not wait for that."""
    async with serving() as server:
        client = server.client(half_close=False)
        server.ends[-1].info = lambda name: name  # an "ssl_object", too
        await client.ask(get("/hello", "Connection: close"))
        assert (await client.end(), now()) == (FIN, 0)


# ---- too many --------------------------------------------------------------------------------------------------------


@virtual
async def test_connections_over_the_maximum_are_told_so():
    """RFC 9110 §15.6.4: 503 without reading a request; those within are not disturbed, and a free place is used."""
    async with serving(max_connections=2) as server:
        inside = [server.client(), server.client()]
        await inside[0].ask(HELLO)
        outside = server.client()
        outside.send(HELLO * 1000)
        answer = await outside.answer()
        assert (answer.status, answer.headers.get("connection"), "date" in dict(answer.headers)) == (503, "close", True)
        assert (await outside.end(), server.metrics.connections) == (FIN, 2)
        for client in inside:
            assert (await client.ask(HELLO)).status == 200
            await client.pipe.close()
        await asyncio.sleep(0.1)


@virtual
async def test_the_refusal_of_head_has_no_content():
    """RFC 9110 §9.3.2, also where nothing else of the request was read."""
    async with serving(max_connections=0) as server:
        client = server.client()
        answer = await client.ask(get("/hello", method="HEAD"))
        assert answer.status == 503 and answer.headers.get("content-length") != "0"
        assert await client.end() == FIN
        server.server.config = type(server.server.config)(max_connections=1)  # for the question at the end


@virtual
async def test_a_crowd_over_the_maximum_costs_little():
    """Even to refuse takes a task; beyond some, a connection is closed without a word."""
    async with serving(max_connections=0) as server:
        crowd = [server.client() for _ in range(MAX_REFUSALS + 50)]
        assert [await client.end() for client in crowd[MAX_REFUSALS:]] == [RST] * 50
        assert [(await client.answer()).status for client in crowd[:MAX_REFUSALS]] == [503] * MAX_REFUSALS
        await asyncio.sleep(3)
        assert (await server.client().answer()).status == 503
        server.server.config = type(server.server.config)(max_connections=1)  # for the question at the end


# ---- harm ------------------------------------------------------------------------------------------------------------

TLS_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(237)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (bytes(range(256)), 400),
        (b"\xff" * 100_000, 400),
        (TLS_HELLO, 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        (b"*1\r\n$4\r\nPING\r\n", 400),
    ],
)
@virtual
async def test_what_is_not_http_1_is_refused_in_http_1(data, status):
    """Someone else's protocol on our port, a scanner, or noise."""
    async with serving() as server:
        client = server.client()
        client.send(data)
        assert (await client.answer()).status == status
        assert (await client.end(), now()) == (FIN, 0)


@given(cuts.chunks(st.one_of(cuts.mutated(strategies.request_streams), st.binary())))
@virtual
async def test_garbage_gives_answers_or_a_quiet_end(data):
    """Law 3 through the shell: no byte sequence is an error of ours (``logged``), or leaves anything behind."""
    assume(not b"".join(data).startswith(b"PRI * HTTP/2.0"))  # a client of HTTP/2 is answered in frames

    async def app(request):
        return Response(await request.read(), 404)  # 200 would be wrong for CONNECT

    async with serving(app, limits=SMALL) as server:
        client = server.client()
        await trickle(client, data, 0)
        client.pipe.close_write()
        answers = b"".join(await client.reads())
        assert answers == b"" or answers.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("leave", ["abort", "close"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        HELLO[:20],
        post("/read", b"hello")[:-2],
        get("/read", "Content-Length: 5", "Expect: 100-continue", method="POST"),
        get("/unread", "Content-Length: 500000", method="POST") + b"x",
        get("/slow"),
        get("/stream"),
        get("/bytes"),
        get("/bytes", version="1.0"),
        HELLO + b"bad\r\n\r\n",
        get("/unread", "Connection: close"),
    ],
)
@virtual
async def test_a_client_may_go_at_any_time(data, leave):
    """A reset in the middle of each phase (head, body, handler, response, farewell, linger) is no error of ours."""

    async def app(request):
        match request.path:
            case "/read":
                return Response(await request.read())
            case "/slow":
                await asyncio.sleep(10)
            case "/stream":
                return Response(pieces(100, pause=1))
            case "/bytes":
                return Response(bytes(1_000_000))
        return Response(b"small")

    async with serving(app) as server:
        client = server.client()
        client.send(data)
        await asyncio.sleep(0.5)
        client.pipe.abort() if leave == "abort" else await client.pipe.close()
        await asyncio.sleep(20)
        assert (server.metrics.connections, server.metrics.in_flight) == (0, 0)


@virtual
async def test_a_slowloris_of_50_connections_changes_nothing_for_others():
    """One byte a second on each; all of them are gone when the time for a head is over."""
    async with serving() as server, asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(trickle(server.client(), [b"%c" % byte for byte in get("/", "X: " + "y" * 30)], 1))
        client = server.client()
        for _ in range(20):
            began = now()
            assert ((await client.ask(HELLO)).status, now()) == (200, began)
            await asyncio.sleep(1)
        assert server.metrics.connections == 51
        await asyncio.sleep(3)
        assert server.metrics.connections == 1 and server.metrics.requests[408] == 50


STALLS = {  # what is sent, and how many bytes of the answer are read
    "never reads": (get("/endless"), 0),
    "reads and stops": (get("/endless"), 50_000),
    "half a head": (HELLO[:20], 0),
    "half a body": (post("/read", bytes(1000))[:-1], 0),
    "never reads its many answers": (HELLO * 1000, 0),
    "waits for its handler": (get("/sleep"), 0),
    "said nothing": (b"", 0),
    "bad, and never reads": (HELLO * 10 + b"bad\r\n\r\n", 0),
}


async def of_all_kinds(request):
    match request.path:
        case "/endless":
            return await endless(request)
        case "/sleep":
            await asyncio.sleep(50)
        case "/echo":
            await asyncio.sleep(1)
            return Response(request.body)
    return Response(await request.read())


async def trace_beside(stalls, capacity):
    """What a good client gets, and when, while others stall."""
    async with serving(of_all_kinds) as server:
        for stall in stalls:
            data, reads = STALLS[stall]
            client = server.client(capacity=capacity)
            client.send(data)
            while reads > 0:
                reads -= len(await client.pipe.read())
        good, trace = server.client(), []
        for request in [HELLO, post("/echo", bytes(100_000)), get("/read"), HELLO, post("/echo", b"x")] * 3:
            answer = await good.ask(request)
            trace.append((answer.at, answer.status, answer.body))
            await asyncio.sleep(7)
        return trace


ALONE = functools.cache(lambda: clock.run(trace_beside([], 0)))


@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(STALLS)), min_size=1, max_size=5), st.sampled_from([100, 65_536]))
def test_a_stalled_client_changes_nobody_elses_trace(stalls, capacity):
    """Law 11: what others get, and when, is the same as if it were not there."""
    assert clock.run(trace_beside(stalls, capacity)) == ALONE()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@virtual
async def test_a_stream_that_nobody_reads_takes_little_memory(version):
    """A gigabyte is made only as fast as it is read, then no more."""
    async with serving(endless) as server:
        client = server.client()
        client.send(get(version=version))
        await asyncio.sleep(29)
        assert server.metrics.sent < IN_MEMORY
        for _ in range(10):
            await client.pipe.read()
        await asyncio.sleep(25)
        assert server.metrics.sent < IN_MEMORY + 10 * 65_536
        await asyncio.sleep(6)
        assert server.metrics.connections == 0 and await client.end() == RST


@virtual
async def test_a_client_that_pipelines_and_never_reads_is_no_longer_read():
    """RFC 9112 §9.3.2 lets it ask without waiting; nothing makes us answer into memory without end."""
    async with serving() as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        flood = tasks.create_task(trickle(client, [HELLO * 1000] * 1000, 0))
        await asyncio.sleep(29)
        assert not flood.done() and server.metrics.received < IN_MEMORY and server.metrics.sent < IN_MEMORY
        await asyncio.sleep(2)
        assert flood.done() and server.metrics.connections == 0


@virtual
async def test_an_answer_of_whole_bytes_is_given_up_with_its_client():
    """A reset in the middle of a large response costs no memory, and is counted as one request."""

    async def app(request):
        return Response(bytes(5_000_000))

    async with serving(app) as server:
        client = server.client()
        client.send(get())
        await client.pipe.read()
        client.pipe.abort()
        await asyncio.sleep(1)
        assert (server.metrics.connections, server.metrics.in_flight) == (0, 0)
        with pytest.raises((RemoteProtocolError, ConnectionResetError)):
            await client.answer()


# ---- found by fresh eyes ---------------------------------------------------------------------------------------------


@virtual
async def test_pipelined_requests_let_others_have_their_turn():
    """A connection that is never idle is served in shares: another's request waits for some of each, not for all."""
    asked = []

    async def app(request):
        asked.append(request.path)
        return Response()

    async with serving(app) as server:
        crowd = [server.client() for _ in range(10)]
        for client in crowd:
            client.send(get("/crowd") * 500)
        outside = server.client()
        assert (await outside.ask(get("/outside"))).status == 200
        assert asked.index("/outside") <= len(crowd) * 3 * FAIR_SHARE
        for client in crowd:
            client.pipe.abort()


@virtual
async def test_chunk_extensions_count_where_a_body_is_read_away():
    """A body that the app does not want may cost so many bytes on the wire, however little content is in them."""

    async def ignore(request):
        return Response(b"unread")

    async with serving(ignore) as server:
        client = server.client()
        client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
        writing = asyncio.create_task(trickle(client, [b"1;%b\r\na\r\n" % (b"x" * 240)] * 3000, 0))
        assert (await client.answer()).body == b"unread"
        assert await client.end() == FIN
        assert server.metrics.received < 600_000
        await writing


@virtual
async def test_an_upgrade_whose_content_is_too_large_is_refused(logged):
    """It can't be read away, so there is no getting to what comes after it; that is no fault of the app."""

    async def app(request):
        return Upgrade(lambda pipe: asyncio.sleep(0), [("upgrade", "x"), ("connection", "upgrade")])

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Upgrade: x", "Connection: upgrade", f"Content-Length: {10**7}", method="POST"))
        writing = asyncio.create_task(trickle(client, [bytes(65_536)] * 20, 0))
        assert (await client.answer()).status == 413
        await writing
        assert logged == []
