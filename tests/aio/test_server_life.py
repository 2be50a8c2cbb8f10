"""How a server ends: every request accepted is answered or refused, nobody waits for ever, nothing is left."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import FIN, HELLO, RST, Client, get, not_found, now, pieces, post, virtual
from hypothesis import given
from hypothesis import strategies as st

from minproto import Response, Server, Timeouts, Upgrade, serve
from minproto.aio.endpoint import Endpoint
from minproto.aio.http1_server import LAST_CALL
from minproto.aio.listener import FIRST_REQUEST, LAST_WAIT
from minproto.core import Core
from minproto.testing import network

DRAIN = Timeouts().drain


async def app(request):
    match request.path:
        case "/sleep":
            await asyncio.sleep(5)
        case "/stream":
            return Response(pieces(5, pause=1))
        case "/never":
            await asyncio.Event().wait()
        case "/read":
            return Response(await request.read())
    return Response(b"done")


def client_of(server, data=b""):
    ours, theirs = network.pair()
    server.attach(theirs)
    client = Client(ours)
    client.send(data)
    return client


async def closing(server, after=0.5):
    """Begin to close it after a while; the task returns when that ended."""
    await asyncio.sleep(after)

    async def close():
        await server.close()
        return now()

    return asyncio.create_task(close())


@virtual
async def test_idle_connections_close_soon():
    """RFC 9112 §9.6: nothing was asked of them. One that has been silent for long, and one between two requests."""
    server = Server(app)
    silent = client_of(server)
    await asyncio.sleep(FIRST_REQUEST)
    used = client_of(server, HELLO)
    await used.answer()
    close = await closing(server)
    assert [await client.end() for client in (silent, used)] == [FIN, FIN] and now() == 1.5 + LAST_CALL
    await asyncio.gather(silent.pipe.close(), used.pipe.close())
    assert await close == 1.5 + LAST_CALL


@virtual
async def test_a_request_that_meets_the_stop_of_an_idle_connection_is_answered():
    """It was on its way. Its answer says that it was the last one, and a further one is too late."""
    server = Server(app)
    clients = [client_of(server, HELLO), client_of(server, HELLO)]
    for client in clients:
        await client.answer()
    close = await closing(server)
    await asyncio.sleep(LAST_CALL / 2)
    answer = await clients[0].ask(HELLO + HELLO)
    assert (answer.body, answer.headers.get("connection"), now()) == (b"done", "close", 0.5 + LAST_CALL / 2)
    await asyncio.sleep(LAST_CALL)
    clients[1].send(HELLO)
    for client in clients:
        assert await client.end() == FIN
        await client.pipe.close()
    await close


@virtual
async def test_the_first_request_of_a_client_that_has_just_connected_is_answered():
    """It is on its way when the server stops. An end in its place would be a failure for the client."""
    server = Server(app)
    first, second, silent = client_of(server), client_of(server), client_of(server)
    close = await closing(server)
    assert (await first.ask(HELLO)).body == b"done"
    await asyncio.sleep(FIRST_REQUEST - 0.6)
    second.send(HELLO)
    assert (await second.answer()).body == b"done" and now() == 0.9
    for client in (first, second, silent):
        assert await client.end() == FIN
        await client.pipe.close()
    assert await close == FIRST_REQUEST + LAST_CALL


@virtual
async def test_an_app_is_told_that_the_end_begins():
    """So that it answers what would wait; the answer says that it was the last, and the end is then."""
    news = asyncio.Event()

    async def poll(request):
        await news.wait()
        return Response(b"no news")

    server = Server(poll, on_drain=news.set)
    client = client_of(server, HELLO)
    close = await closing(server)
    answer = await client.answer()
    assert (answer.body, answer.at, answer.headers.get("connection")) == (b"no news", 0.5, "close")
    await client.pipe.close()
    assert await close == 0.5


@virtual
async def test_an_app_that_fails_when_it_is_told_does_not_keep_the_server_from_its_end(logged):
    """The client is let go, and the mistake is in the log."""

    def fail():
        raise ValueError("of the app")

    server = Server(app, on_drain=fail)
    client = client_of(server, get("/sleep"))
    close = await closing(server)
    assert ((await client.answer()).status, now()) == (200, 5)
    await client.pipe.close()
    assert await close == 5 and "ValueError: of the app" in logged.pop()


@virtual
async def test_a_client_that_ignores_the_end_of_an_idle_connection_costs_a_short_linger():
    """It may be sending a request right now: only after a while is that answered with a reset."""
    server = Server(app)
    client = client_of(server)
    await asyncio.sleep(FIRST_REQUEST)
    close = await closing(server)
    await asyncio.sleep(1)
    client.send(HELLO)
    assert (await client.end(), await close) == (FIN, FIRST_REQUEST + 0.5 + Timeouts().linger)


@pytest.mark.parametrize(
    ("data", "body"),
    [(get("/sleep"), b"done"), (get("/stream"), b"piece" * 5), (get("/read") + get("/sleep"), b"")],
)
@virtual
async def test_what_was_asked_is_answered_whole(data, body):
    """RFC 9112 §9.6: the response in progress is finished; one that has not begun says that it is the last."""
    server = Server(app)
    client = client_of(server, data)
    close = await closing(server)
    answers = [await client.answer() for _ in range(data.count(b"GET"))]
    assert (answers[0].body, answers[-1].at) == (body, 5)
    assert answers[-1].headers.get("connection") == (None if b"stream" in data else "close")
    assert await client.end() == FIN
    await client.pipe.close()
    assert await close == 5


@virtual
async def test_content_under_way_may_still_arrive_but_not_a_head():
    """A request is accepted with its head; without it, nothing was asked, and the end is quiet."""
    server = Server(app)
    clients = [client_of(server, HELLO[:9]), client_of(server, post("/read", b"hello")[:-2])]
    close = await closing(server)
    await asyncio.sleep(5)
    assert await clients[0].end() == FIN
    clients[1].send(b"lo")
    answer = await clients[1].answer()
    assert (answer.body, answer.headers.get("connection")) == (b"hello", "close")
    for client in clients:
        await client.pipe.close()
    assert await close == 5.5


@virtual
async def test_content_that_never_arrives_is_refused_as_ever():
    """Its own timeout goes on: 408, before the server loses its patience."""
    server = Server(app)
    client = client_of(server, post("/read", b"hello")[:-2])
    close = await closing(server, after=5)
    answer = await client.answer()
    assert (answer.status, answer.at) == (408, Timeouts().body)
    await client.pipe.close()
    assert await close == 30


@virtual
async def test_a_handler_that_never_returns_is_cut_off_at_the_deadline():
    """With a reset: no answer is better than half of one that looks whole."""
    server = Server(app)
    client = client_of(server, get("/never"))
    close = await closing(server)
    assert (await client.end(), now()) == (RST, 0.5 + DRAIN)
    assert await close == 0.5 + DRAIN


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@virtual
async def test_a_stream_without_end_is_cut_off_at_the_deadline(version):
    """Its generator gets to clean up, and the client sees that it is not whole (RFC 9112 §8)."""
    closed = []

    async def endless(request):
        return Response(pieces(10**9, pause=1, closed=closed))

    server = Server(endless)
    client = client_of(server, get(version=version))
    close = await closing(server)
    with pytest.raises(ConnectionResetError):
        await client.answer()
    assert closed == [await close] == [0.5 + DRAIN]


@virtual
async def test_a_cancelled_handler_may_clean_up():
    """A transaction is rolled back, a lock released; that may take a moment."""
    clean = []

    async def careful(request):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(LAST_WAIT / 2)
            clean.append(now())

    server = Server(careful)
    client = client_of(server, get())
    close = await closing(server)
    assert [await close] == clean == [0.5 + DRAIN + LAST_WAIT / 2]
    assert await client.end() == RST


@virtual
async def test_a_handler_that_swallows_its_cancellation_holds_nothing_up(logged):
    """Its client is cut off, the operator is told, and ``close`` returns."""

    async def stubborn(request):
        for _ in range(3):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                pass
        return Response(b"too late")

    server = Server(stubborn)
    client = client_of(server, get())
    close = await closing(server)
    assert (await client.end(), await close) == (RST, 0.5 + DRAIN + LAST_WAIT)
    assert "ignores that it is cancelled" in logged.pop()
    await asyncio.sleep(500)


@virtual
async def test_an_upgraded_connection_is_cut_off_at_the_deadline():
    """Another protocol has its own ways to say goodbye; this one did not use them."""

    async def upgrading(request):
        async def forever(pipe):
            while await pipe.read():
                pass

        return Upgrade(forever, [("Connection", "upgrade"), ("Upgrade", "x")])

    server = Server(upgrading)
    client = client_of(server, get("/", "Connection: upgrade", "Upgrade: x"))
    assert (await client.answer()).status == 101
    close = await closing(server)
    assert (await client.end(), await close) == (RST, 0.5 + DRAIN)


@virtual
async def test_a_client_that_does_not_read_cannot_hold_up_the_end():
    """Neither with the answer it does not take, nor with the reset it does not see."""
    server = Server(app, timeouts=Timeouts(write=10_000))
    stalled, _ = client_of(server, HELLO * 5000), client_of(server, get("/stream"))
    close = await closing(server)
    assert await close == 0.5 + DRAIN and await stalled.end() == RST


@virtual
async def test_nobody_is_let_in_any_more():
    """A connection that the kernel had accepted just before is reset, so that its client may try elsewhere."""
    server = Server(app)
    old = client_of(server, get("/sleep"))
    close = await closing(server)
    await asyncio.sleep(1)
    new = client_of(server, HELLO)
    with pytest.raises(ConnectionResetError):
        await new.answer()
    assert (await old.answer()).status == 200
    await close
    with pytest.raises(ConnectionResetError):
        await client_of(server, HELLO).answer()


@virtual
async def test_those_who_were_refused_for_want_of_room_are_let_finish():
    """Their 503 is an answer, too."""
    server = Server(app, max_connections=0)
    client = client_of(server, HELLO)
    await asyncio.sleep(0)
    await server.close()
    assert (await client.answer()).status == 503 and await client.end() == FIN


FAREWELL = HELLO * 10 + b"bad\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "room"),
    [(HELLO[:9], 1), (get("/sleep"), 1), (get("/stream"), 1), (HELLO * 1000, 1), (FAREWELL, 1), (HELLO, 0)],
)
@virtual
async def test_abort_ends_everything_at_once(data, room):
    """The second signal: the operator has no patience left. Whatever a connection was at, its client sees the end."""
    server = Server(app, max_connections=room)
    ours, theirs = network.pair(capacity=100)
    server.attach(theirs)
    client = Client(ours)
    client.send(data)
    close = await closing(server)
    await asyncio.sleep(0.1)
    server.abort()
    assert await close == 0.6
    with pytest.raises(ConnectionResetError):
        await client.reads()


@virtual
async def test_to_lose_patience_with_the_end_is_to_cut_off():
    """Law 12: no connection outlives its server, also where ``close`` itself is cancelled."""
    server = Server(app)
    client = client_of(server, get("/never"))
    close = await closing(server)
    await asyncio.sleep(1)
    close.cancel()
    assert (await client.end(), now()) == (RST, 1.5)
    await asyncio.wait([close])


@virtual
async def test_leaving_the_block_closes_a_server_that_listens():
    """``async with`` for embedding: after it nothing listens, and nothing is left."""
    async with Server(not_found, port=0) as server:
        assert server.url == f"http://127.0.0.1:{server.port}" and server.port > 0
        client = client_of(server, get("/"))
        assert (await client.answer()).status == 404
        with pytest.raises(RuntimeError, match="serves once"):
            await server.__aenter__()
        assert (await client.ask(get("/"))).status == 404
    assert await client.end() == FIN
    with pytest.raises(RuntimeError, match="does not listen"):
        print(server.url)
    with pytest.raises(RuntimeError, match="serves once"):
        await server.__aenter__()


def test_serve_says_where_it_can_run():
    """Only the main thread of Python gets signals."""
    with ThreadPoolExecutor() as threads, pytest.raises(RuntimeError, match="async with Server"):
        threads.submit(asyncio.run, serve(not_found, port=0)).result()


PHASES = {  # what a client has sent, and how many answers that is worth
    b"": 0,
    HELLO: 1,
    HELLO[:9]: 1,
    HELLO * 500: 500,
    get("/sleep"): 1,
    get("/sleep") * 3: 3,
    get("/stream"): 1,
    get("/stream") + HELLO: 2,
    get("/never"): 0,
    get("/sleep") + get("/never"): 1,
    post("/read", bytes(999)): 1,
    post("/read", bytes(999))[:-1]: 1,
    b"bad\r\n\r\n": 1,
    get("/sleep") + b"bad\r\n\r\n" + HELLO: 2,
}


@given(
    st.lists(st.tuples(st.sampled_from(list(PHASES)), st.sampled_from([0, 0.3, 1, 4])), max_size=6),
    st.sampled_from([0.1, 2, 3.5, 7]),
    st.lists(st.integers(1, 99), max_size=20),
)
@virtual
async def test_every_request_accepted_gets_its_whole_answer_or_a_clean_refusal(requests, after, cuts):
    """Law 12, wherever each connection is when the server is told to stop; ``virtual`` finds the task that is left."""

    async def ask(data, pause):
        await asyncio.sleep(pause)
        ours, theirs = network.pair(cuts=cuts)
        server.attach(theirs)
        client = Client(ours)
        client.send(data)
        try:
            answers = await client.answers()
        except ConnectionResetError:
            assert b"never" in data or pause > after
        else:
            was_refused = answers != [] and answers[-1].headers.get("connection") == "close"
            no_request = data == b"GET /hell"
            assert len(answers) == PHASES[data] or was_refused or no_request or (answers and b"stream" in data)
            await ours.close()

    server = Server(app)
    clients = [asyncio.create_task(ask(data, pause)) for data, pause in requests]
    close = await closing(server, after)
    assert await close <= after + DRAIN
    await asyncio.gather(*clients)


# ---- what must happen once, and what must not be left waiting ---------------------------------------------------------


@virtual
async def test_the_app_is_told_once_however_often_the_server_is_closed():
    """``serve`` closes at the signal, and then leaves its block; users do the same."""
    told = []
    server = Server(app, on_drain=lambda: told.append(now()))
    client = client_of(server, get("/sleep"))
    first, second = await closing(server), await closing(server, 0)
    assert (await client.answer()).status == 200
    await client.pipe.close()
    assert (await first, await second) == (5, 5)
    await server.__aexit__(None, None, None)
    assert told == [0.5]


@pytest.mark.parametrize("full", [False, True])
@virtual
async def test_a_connection_that_fails_is_reset_not_left_waiting(full, logged, monkeypatch):
    """Its client would wait for ever, for nobody serves it any more."""

    class Failing:
        def __init__(self, pipe):
            self.endpoint = Endpoint(Core(0), pipe, Timeouts())
            self.abort = self.endpoint.abort

        async def run(self):
            await asyncio.sleep(1)
            raise ValueError("of ours")

        def drain(self):
            pass

        refuse = run

    server = Server(app, max_connections=0 if full else 1)
    monkeypatch.setattr(server, "_connect", Failing)
    assert await client_of(server).end() == RST and now() == 1
    assert "of ours" in logged.pop()
    await server.close()


@virtual
async def test_sys_exit_when_the_end_begins_is_the_apps_failure(logged):
    server = Server(app, on_drain=lambda: sys.exit(3))
    client = client_of(server, get("/sleep"))
    close = await closing(server)
    assert (await client.answer()).status == 200
    await client.pipe.close()
    assert await close == 5 and "SystemExit: 3" in logged.pop()
