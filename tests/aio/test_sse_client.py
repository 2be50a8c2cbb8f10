"""Our EventSource, with servers that say what the test says."""

import asyncio
from contextlib import aclosing, suppress
from itertools import pairwise

import pytest
from harness import now, virtual
from sse_harness import stage

from minproto import ClientConnection, EventSource, RemoteProtocolError, ServerSentEvent, Timeouts
from minproto.aio import reconnect, sse
from minproto.http import RequestHead
from minproto.http1 import SERVER, Connection
from minproto.sse import Limits
from minproto.testing import network

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
STOP = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSED = None


class Servers:
    """Each connection gets the next answer: bytes, or a function; then it is closed. Keeps what was asked, and when."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.times = []
        self.tasks = []

    async def connect(self, host, port, ssl=None, *, timeouts=None):
        self.times.append(now())
        answer = self.answers.pop(0)
        if answer is REFUSED:
            raise ConnectionRefusedError
        ours, theirs = network.pair()
        self.tasks.append(asyncio.create_task(self._answer(theirs, answer)))
        return ClientConnection(ours, host, timeouts=timeouts)

    async def _answer(self, pipe, answer):
        core = Connection(SERVER)
        while (head := core.next_event()) is None:
            core.receive_data(await pipe.read())
        assert isinstance(head, RequestHead)
        self.requests.append(head)
        with suppress(ConnectionError):
            if callable(answer):
                await answer(pipe)
            else:
                pipe.write(answer)
            await pipe.close()

    def asked(self, name):
        return [request.headers.get(name) for request in self.requests]


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Each wait is as long as it may be."""
    monkeypatch.setattr(reconnect.random, "uniform", lambda least, most: most)


@pytest.fixture
def servers(monkeypatch):
    def use(*answers):
        servers = Servers(*answers)
        monkeypatch.setattr(sse, "connect_http", servers.connect)
        return servers

    return use


async def all_of(source):
    """All its events; and the servers close their ends."""
    try:
        return [event async for event in source]
    finally:
        await asyncio.sleep(0.1)


@virtual
async def test_the_request(servers):
    served = servers(STOP)
    assert await all_of(EventSource("http://a:80/events?topic=x#f", headers=[("authorization", "secret")])) == []
    (request,) = served.requests
    assert (request.method, request.target) == ("GET", "/events?topic=x")
    asked = [request.headers.get(name) for name in ("accept", "cache-control", "last-event-id", "authorization")]
    assert asked == ["text/event-stream", "no-store", None, "secret"]


@pytest.mark.parametrize(
    "url", ["ws://a/", "a", "http:///x", "ftp://a/", "http://a/x y", "http://a/\u00fc", "http://\u00fc/", "http://a/?\t"]
)
def test_another_url_is_refused(url):
    with pytest.raises(ValueError):
        EventSource(url)


@virtual
async def test_it_comes_back_and_says_what_it_saw_last(servers):
    """Also an id that came without an event, and not that of an event that was cut off."""
    served = servers(
        HEAD + b"id: 1\n\n",
        HEAD + b"id: 2\ndata: a\n\nid: 3\ndata: cut off\n",
        HEAD + b"data: b\n\n",
        HEAD + b"id\n\n",
        STOP,
    )
    source = EventSource("http://a/")
    assert await all_of(source) == [ServerSentEvent("a", id="2"), ServerSentEvent("b")]
    assert served.asked("last-event-id") == [None, "1", "2", "2", None]
    assert source.last_event_id == ""


@virtual
async def test_an_id_is_utf8_and_may_be_given_from_outside(servers):
    served = servers(HEAD + "id: \u20ac\n\n".encode(), STOP)
    await all_of(EventSource("http://a/", last_event_id="x\u00e9"))
    assert [id.encode("latin-1").decode() for id in served.asked("last-event-id")] == ["x\u00e9", "\u20ac"]


@pytest.mark.parametrize(
    ("id", "field"), [("a\x01b", None), ("\x7f", None), (" \t", None), (" a b\t", "a b"), ("a\tb", "a\tb")]
)
@virtual
async def test_an_id_that_no_field_can_carry(servers, id, field):
    """The stream goes on from the present then; blanks around an id are none of its field's value."""
    served = servers(HEAD + f"id:  {id}\ndata: x\n\n".encode(), STOP)
    source = EventSource("http://a/")
    assert await all_of(source) == [ServerSentEvent("x", id=f" {id}")]
    assert (served.asked("last-event-id"), source.last_event_id) == ([None, field], f" {id}")


@virtual
async def test_back_off(servers):
    """Twice as long after each time that was in vain, to a minute."""
    served = servers(*[REFUSED] * 7, STOP)
    await all_of(EventSource("http://a/"))
    assert [later - sooner for sooner, later in pairwise(served.times)] == [6, 12, 24, 48, 60, 60, 60]


@virtual
async def test_a_server_that_asks_for_no_wait_gets_longer_and_longer_ones(servers):
    """Or one that ends each stream at once would be asked hundreds of times a second."""
    served = servers(HEAD + b"retry: 0\n\n", *[HEAD] * 5, STOP)
    await all_of(EventSource("http://a/"))
    waits = [later - sooner for sooner, later in pairwise(served.times)]
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64])


@pytest.mark.parametrize("shortest", [True, False])
@virtual
async def test_retry_is_honoured(servers, monkeypatch, shortest):
    """It is never back sooner than the server wants, and no later than that where it wants more than a minute."""
    if shortest:
        monkeypatch.setattr(reconnect.random, "uniform", lambda least, most: least)
    served = servers(HEAD + b"retry: 500\n\n", HEAD + b"retry: 90000\n\n", STOP)
    source = EventSource("http://a/")
    await all_of(source)
    assert served.times == ([0, 0.5, 90.5] if shortest else [0, 1, 91])
    assert source.retry == 90_000


@virtual
async def test_a_connection_that_lasted_begins_anew(servers):
    async def lasts(pipe):
        pipe.write(HEAD)
        for _ in range(10):
            await asyncio.sleep(10)
            pipe.write(b":\n\n")

    served = servers(REFUSED, REFUSED, lasts, STOP)
    await all_of(EventSource("http://a/"))
    assert served.times == [0, 6, 18, 18 + 100 + 3]


@virtual
async def test_silence_is_a_lost_connection(servers):
    async def silent(pipe):
        pipe.write(HEAD + b"id: 1\n\n")
        await asyncio.sleep(1_000)

    served = servers(silent, STOP)
    await all_of(EventSource("http://a/", timeouts=Timeouts(body=20)))
    assert (served.times, served.asked("last-event-id")) == ([0, 26], [None, "1"])
    served.tasks[0].cancel()
    await asyncio.wait(served.tasks)


@virtual
async def test_a_reset_is_a_lost_connection(servers):
    async def resets(pipe):
        pipe.write(HEAD + b"id: 1\ndata: a\n\n")
        await asyncio.sleep(1)
        pipe.abort()

    served = servers(resets, STOP)
    assert await all_of(EventSource("http://a/")) == [ServerSentEvent("a", id="1")]
    assert served.asked("last-event-id") == [None, "1"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 301),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nx", 200),
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
    ],
)
@virtual
async def test_what_is_no_stream_ends_it(servers, answer, code):
    servers(answer)
    with pytest.raises(RemoteProtocolError, match="no stream of events") as error:
        await all_of(EventSource("http://a/"))
    assert error.value.code == code


@virtual
async def test_a_server_that_is_overloaded_is_asked_again(servers):
    served = servers(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", STOP)
    assert await all_of(EventSource("http://a/")) == []
    assert served.times == [0, 6]


@virtual
async def test_the_content_type_may_have_parameters(servers):
    servers(HEAD.replace(b"event-stream", b"Event-Stream ; charset=utf-8") + b"data: a\n\n", STOP)
    assert await all_of(EventSource("http://a/")) == [ServerSentEvent("a")]


@virtual
async def test_an_event_that_is_too_big_ends_it(servers):
    servers(HEAD + b"data: " + b"x" * 100)
    with pytest.raises(RemoteProtocolError, match="too big"):
        await all_of(EventSource("http://a/", limits=Limits(max_event=50)))


@virtual
async def test_with_our_server(monkeypatch):
    """Nothing is lost and nothing repeated, though each connection is cut somewhere."""
    async with stage() as server:
        pipes = []

        async def connect(host, port, ssl=None, *, timeouts=None):
            pipes.append(server.attach(delays=[0.001 * (number % 7) for number in range(100)]))
            return ClientConnection(pipes[-1], host, timeouts=timeouts)

        monkeypatch.setattr(sse, "connect_http", connect)
        source = EventSource("http://a/events")
        heard = []

        async def listen():
            async with aclosing(aiter(source)) as events:
                async for event in events:
                    heard.append(event.data)
                    if event.data == "19":
                        return

        listening = asyncio.create_task(listen())
        await asyncio.sleep(1)
        for number in range(20):
            server.publish(str(number))
            await asyncio.sleep(0.002 * (number % 4))
            if number % 5 == 0:
                pipes[-1].abort()
                await asyncio.sleep(10)
        await listening
        assert heard == [str(number) for number in range(20)]
        assert len(pipes) > 3
