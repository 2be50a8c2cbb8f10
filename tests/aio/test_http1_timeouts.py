"""Every wait has an end: what a client can hold up, for how long, and what it is told then (``Timeouts``)."""

import asyncio
from contextlib import suppress

import pytest
from harness import FIN, HELLO, RST, Client, get, now, pieces, post, serving, trickle, virtual

from minproto import ClientConnection, Response, Server, Timeouts
from minproto.testing import network

TIMEOUTS = Timeouts()
POST = get("/", "Content-Length: 1000000", method="POST")
CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


async def read(request):
    return Response(await request.read())


# ---- head ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"G", b"PRI", HELLO[:-1], b"\r\n\r", post("/hello", b"hello") + b"GET / HTTP/1.1\r\n"])
@virtual
async def test_a_head_that_stalls_is_answered_408(start):
    """RFC 9110 §15.5.9. Also one that begins like HTTP/2's preface has that time once."""
    async with serving() as server:
        client = server.client()
        await asyncio.sleep(5)
        client.send(start)
        if b"hello" in start and not HELLO.startswith(start):
            assert (await client.answer()).status == 200
        answer = await client.answer()
        assert (answer.status, answer.at, answer.headers.get("connection")) == (408, 5 + TIMEOUTS.head, "close")
        assert "date" in dict(answer.headers) and await client.end() == FIN


@virtual
async def test_a_byte_now_and_then_does_not_keep_a_head_alive():
    """Slowloris: the time is for the whole head, from its first byte to its last."""
    async with serving() as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        await asyncio.sleep(1)
        slow = tasks.create_task(trickle(client, [b"%c" % byte for byte in HELLO], 1))
        answer = await client.answer()
        assert (answer.status, answer.at) == (408, 1 + TIMEOUTS.head)
        slow.cancel()


@pytest.mark.parametrize("start", [b"P", POST[:9]])
@virtual
async def test_the_time_of_a_head_that_begins_like_http_2_goes_on(start):
    """What its first byte could have been does not give it more, nor the head behind it less."""
    async with serving(read) as server:
        client = server.client()
        client.send(start)
        await asyncio.sleep(TIMEOUTS.head - 1)
        request = post("/", b"hello")
        client.send(request[len(start) :] + request[:9])
        assert (await client.answer()).status == 200
        answer = await client.answer()
        assert (answer.status, answer.at) == (408, 2 * TIMEOUTS.head - 1)


@pytest.mark.parametrize("pieces", [[HELLO[:9], HELLO[9:]] * 5, [HELLO[:9]] + [HELLO[9:] + HELLO[:9]] * 5])
@virtual
async def test_each_head_has_its_own_time(pieces):
    """Many requests on one connection, each of them nearly too slow, are many good requests."""
    async with serving() as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        tasks.create_task(trickle(client, pieces, TIMEOUTS.head - 1))
        assert [(await client.answer()).status for _ in range(5)] == [200] * 5


@virtual
async def test_the_time_of_a_head_does_not_begin_with_the_empty_line_before_it():
    """RFC 9112 §2.2: that line is nothing; some clients send it after their content."""
    async with serving() as server:
        client = server.client()
        await trickle(client, [b"\r", b"\n"], 1)
        await asyncio.sleep(40)
        await trickle(client, [HELLO[:9], HELLO[9:]], 1)
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("fields", [[], ["Content-Length: 0"], ["Transfer-Encoding: chunked"]])
@virtual
async def test_an_unused_connection_is_closed_quietly(fields):
    """RFC 9112 §9.5: nobody asked, so there is nobody to answer 408; before the first request, and after one."""
    async with serving(read) as server:
        fresh, used = server.client(), server.client()
        await asyncio.sleep(10)
        assert (await used.ask(HELLO)).status == 200
        assert (await fresh.end(), now()) == (FIN, TIMEOUTS.idle)
        assert (await used.end(), now()) == (FIN, 10 + TIMEOUTS.idle)


# ---- body ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [POST, POST + b"some", CHUNKED + b"5\r\nab"])
@virtual
async def test_a_body_that_stalls_is_answered_408(start):
    """RFC 9110 §15.5.9, and the app is told."""
    raised = []

    async def app(request):
        try:
            return Response(await request.read())
        except Exception as error:
            raised.append(error)
            raise

    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(start)
        assert (answer.status, answer.at, answer.headers.get("connection")) == (408, TIMEOUTS.body, "close")
        assert await client.end() == FIN and [error.code for error in raised] == [408]


@virtual
async def test_a_body_may_pause_for_as_long_as_its_next_piece_may_take():
    """The first pieces came fast, so the rate is good; each pause is measured on its own."""
    async with serving(read) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(POST)
        tasks.create_task(trickle(client, [bytes(200_000)] * 5, TIMEOUTS.body - 1))
        assert (await client.answer()).status == 200
        client.send(POST)
        await trickle(client, [bytes(200_000)], TIMEOUTS.body)
        answer = await client.answer()
        assert (answer.status, answer.at) == (408, 4 * (TIMEOUTS.body - 1) + TIMEOUTS.body)


@virtual
async def test_the_content_of_options_asterisk_has_its_own_time():
    """The app does not see that request; what the one before it took is over all the same."""
    late = get("*", "Content-Length: 1", method="OPTIONS")
    async with serving(read) as server:
        client = server.client()
        for request, status in ((get("/", "Content-Length: 1", method="POST"), 200), (late, 204), (HELLO, 200)):
            client.send(request)
            await asyncio.sleep(TIMEOUTS.body - 1)
            if request != HELLO:
                client.send(b"x")
            assert (await client.answer()).status == status


@pytest.mark.parametrize("pause", [0.1, 1, 10])
@virtual
async def test_a_body_that_trickles_is_answered_408(pause):
    """A slow attack can send some byte before each timeout; the average rate over the whole body tells it."""
    rate = TIMEOUTS.min_body_rate
    async with serving(read) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(POST)
        slow = tasks.create_task(trickle(client, [bytes(int(rate / 2 * pause))] * 2000, pause))
        answer = await client.answer()
        assert answer.status == 408 and TIMEOUTS.body < answer.at <= 2 * TIMEOUTS.body
        slow.cancel()


@virtual
async def test_an_app_that_looks_for_content_again_and_again_waits_no_longer_for_it():
    """A wait that the app cuts short counts, too."""

    async def app(request):
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    return Response(await request.read())

    async with serving(app) as server:
        answer = await server.client().ask(get("/", "Content-Length: 9", method="POST"))
        assert (answer.status, answer.at) == (408, 30)


@virtual
async def test_a_body_at_a_good_rate_may_take_hours():
    """A large upload on a bad line is no attack."""
    size = int(TIMEOUTS.min_body_rate * 1.1) * 10

    async def app(request):
        return Response(b"%d" % sum([len(piece) async for piece in request.body]))

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", f"Content-Length: {size * 1000}", method="POST"))
        await trickle(client, [bytes(size)] * 1000, 10)
        answer = await client.answer()
        assert (answer.status, answer.body, answer.at) == (200, b"%d" % (size * 1000), 10_000)


@virtual
async def test_the_time_of_a_slow_app_is_not_held_against_the_client():
    """Reading is paused then: the client could not have sent faster."""

    async def app(request):
        async for _ in request.body:
            await asyncio.sleep(1000)
        return Response(b"done")

    async with serving(app) as server, asyncio.TaskGroup() as tasks:
        client = server.client()
        client.send(get("/", "Content-Length: 4", method="POST"))
        tasks.create_task(trickle(client, [b"1"] * 4, 1005))
        answer = await client.answer()
        assert (answer.body, answer.at) == (b"done", 3 * 1005 + 1000)


@pytest.mark.parametrize("start", [POST, get("/", "Content-Length: 9", method="POST") + b"some"])
@virtual
async def test_a_body_that_stalls_while_it_is_read_away_costs_no_answer(start):
    """The app did not want it, and has answered; the connection is given up, not the answer."""

    async def app(request):
        return Response(b"unread")

    async with serving(app) as server:
        client = server.client()
        client.send(start)
        await asyncio.sleep(TIMEOUTS.body + 1)
        assert (await client.answer()).body == b"unread"
        assert await client.end() == FIN


# ---- write -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@virtual
async def test_a_client_that_does_not_read_is_cut_off(version):
    """What makes the content is let go of, too: a stalled reader must not hold a file or a lock."""
    closed = []

    async def app(request):
        return Response(pieces(100, bytes(10_000), closed=closed))

    async with serving(app) as server:
        client = server.client()
        client.send(get(version=version))
        await asyncio.sleep(TIMEOUTS.write - 1)
        assert closed == []
        await asyncio.sleep(2)
        assert closed == [TIMEOUTS.write] and server.metrics.connections == 0
        assert await client.end() == RST


@pytest.mark.parametrize("data", [HELLO * 2000, HELLO + b"nonsense\r\n\r\n", get("/hello", "Connection: close")])
@virtual
async def test_a_client_that_takes_no_answer_at_all_is_cut_off(data):
    """Answers, farewells and the close itself wait for the client, but not for ever."""
    async with serving() as server:
        client = server.client(capacity=10_000 if len(data) > 10_000 else 10)
        writing = asyncio.create_task(trickle(client, [data], 0))
        await asyncio.sleep(3 * TIMEOUTS.write + 2 * TIMEOUTS.idle)
        assert server.metrics.connections == 0
        await writing


@pytest.mark.parametrize(
    "content", [lambda: pieces(100, bytes(10_000)), lambda: pieces(1, bytes(10**6)), lambda: bytes(10**6)]
)
@virtual
async def test_a_slow_reader_gets_everything(content):
    """64 KiB within the time is enough, however long the whole takes, and in however large pieces it was made."""

    async def app(request):
        return Response(content())

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Connection: close"))
        size = 0
        while piece := await client.pipe.read():
            size += len(piece)
            await asyncio.sleep(TIMEOUTS.write - 1)
        assert size > 1_000_000


# ---- all of them can be set ------------------------------------------------------------------------------------------

SHORT = Timeouts(head=2, body=3, min_body_rate=10**6, idle=4, write=5, linger=1, drain=6)


@pytest.mark.parametrize(("data", "at"), [(b"G", 2), (POST, 3), (b"", 4)])
@virtual
async def test_the_operator_can_change_how_long_is_waited(data, at):
    """Each timeout is one figure, and works on its own."""
    async with serving(read, timeouts=SHORT) as server:
        client = server.client()
        client.send(data)
        if data:
            assert (await client.answer()).status == 408
        assert (await client.end(), now()) == (FIN, at)


@virtual
async def test_without_idle_time_a_connection_over_tls_has_one_message_all_the_same():
    """There ALPN has chosen HTTP/1.1 before a byte has come."""

    class Tls:
        def selected_alpn_protocol(self):
            return "http/1.1"

    async with serving(timeouts=Timeouts(idle=0)) as server:
        ours, theirs = network.pair(half_close=False)
        theirs.info = lambda name: Tls() if name == "ssl_object" else None
        server.server.attach(theirs)
        client = Client(ours)
        await asyncio.sleep(5)
        assert (await client.ask(get("/hello"))).status == 200
        assert (await client.end(), now()) == (FIN, 5)


# ---- a timeout of 0: what has arrived counts, and nothing is waited for ---------------------------------------------------


@pytest.mark.parametrize(("data", "status"), [(HELLO, 200), (HELLO[:-1], 408)])
@virtual
async def test_without_time_for_a_head_one_that_has_come_counts(data, status):
    async with serving(timeouts=Timeouts(head=0, idle=5)) as server:
        client = server.client()
        client.send(data)
        assert ((await client.answer()).status, now()) == (status, 0)


@pytest.mark.parametrize(("data", "status"), [(post("/", b"here"), 200), (POST + b"some", 408), (CHUNKED + b"1\r\na", 408)])
@virtual
async def test_without_time_for_a_body_one_that_has_come_counts(data, status):
    async with serving(read, timeouts=Timeouts(body=0)) as server:
        client = server.client()
        client.send(data)
        assert ((await client.answer()).status, now()) == (status, 0)


@virtual
async def test_without_time_for_a_body_our_client_takes_what_has_come():
    async def app(request):
        return Response(b"whole" if request.path == "/whole" else pieces(2, pause=1))

    async with serving(app) as server, ClientConnection(server.attach(), "a", timeouts=Timeouts(body=0)) as client:
        assert await (await client.request("GET", "/whole")).read() == b"whole"
        with pytest.raises(TimeoutError, match="more of the response within 0 s"):
            await (await client.request("GET", "/pieces")).read()
        assert now() == 0


@virtual
async def test_without_time_to_write_an_answer_that_is_taken_at_once_is_sent():
    """And one that the client does not take is cut off."""

    async def app(request):
        return Response(bytes(10 if request.path == "/small" else 1_000_000))

    async with serving(app, timeouts=Timeouts(write=0)) as server:
        client = server.client()
        assert len((await client.ask(get("/small"))).body) == 10
        client.send(get("/large"))
        await asyncio.sleep(0.1)
        assert await client.end() == RST and server.metrics.requests == {200: 1, 499: 1}


@pytest.mark.parametrize(("timeouts", "at"), [(Timeouts(read_away=0), 2), (Timeouts(read_away=0, linger=0), 0)])
@virtual
async def test_without_time_to_read_away_a_refused_upload_has_only_the_linger(timeouts, at):
    """An upload that goes on, with a byte every half second, is not read for longer."""

    async def app(request):
        return Response.text("no", 413)

    async with serving(app, timeouts=timeouts) as server:
        client = server.client()
        client.send(POST)
        slow = asyncio.create_task(trickle(client, [b"x"] * 100, 0.5))
        if at:
            await asyncio.sleep(at - 0.1)
            assert server.metrics.connections == 1
        await asyncio.sleep(0.5)
        assert server.metrics.connections == 0
        await slow


@virtual
async def test_without_time_to_drain_a_request_in_flight_is_cut_off():
    async def app(request):
        await asyncio.sleep(10)
        return Response(b"late")

    server = Server(app, timeouts=Timeouts(drain=0))
    ours, theirs = network.pair()
    server.attach(theirs)
    client = Client(ours)
    client.send(get())
    await asyncio.sleep(1)
    await server.close()
    assert (await client.end(), now()) == (RST, 1)
