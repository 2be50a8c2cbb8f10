"""Our EventSource, with servers that say what the test says."""

import asyncio
import re
from contextlib import aclosing, suppress
from functools import partial
from itertools import pairwise

import pytest
from harness import now, virtual
from sse_harness import stage

from minproto import ClientConnection, EventSource, RemoteProtocolError, ServerSentEvent, StreamRefused, Timeouts
from minproto.aio import reconnect, sse
from minproto.http import RequestHead
from minproto.http1 import SERVER, Connection
from minproto.http1 import Limits as HttpLimits
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

    async def connect(self, host, port, ssl=None, **options):
        self.times.append(now())
        answer = self.answers.pop(0)
        if answer is REFUSED:
            raise ConnectionRefusedError
        ours, theirs = network.pair()
        self.tasks.append(asyncio.create_task(self._answer(theirs, answer)))
        return ClientConnection(ours, host, **options)

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
    assert asked == ["text/event-stream", "no-cache, no-store", None, "secret"]


@pytest.mark.parametrize(
    "url", ["ws://a/", "a", "http:///x", "ftp://a/", "http://a/x y", "http://a/\u00fc", " http://a/", "http://a/?\t"]
)
def test_another_url_is_refused(url):
    with pytest.raises(ValueError):
        EventSource(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://a/x", "ws://a/x: the URL has to begin with http:// or https://: http://a/x"),
        ("a.example/x", "a.example/x: the URL has to begin with http:// or https://"),
        ("http:///x", "http:///x: the URL names no host"),
        ("http://user:secret@a/", "http://...@a/: a URL with a user or a password is refused: say them in headers="),
        ("http://a/x y", "'http://a/x y': in a URL, blanks, control characters and what is not ASCII have to be"),
        ("ws://user:secret@a/", "a URL with a user or a password is refused"),
        ("http://user:secret@a:x/", "http://...@a:x/: a URL with a user or a password is refused"),
        ("http://a:x/", "http://a:x/: Port could not be cast to integer value as 'x'"),
        ("http://[::1/", "http://[::1/: Invalid IPv6 URL"),
        ("http://a:99999/", "http://a:99999/: Port out of range"),
        ("http://user:secret@[::1/", "http://...@[::1/: a URL with a user or a password is refused"),
    ],
)
def test_what_is_wrong_with_a_url(url, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        EventSource(url)


@virtual
async def test_the_host_of_a_url_may_be_in_any_script(servers):
    served = servers(STOP)
    assert await all_of(EventSource("http://b\u00fccher.example/")) == []
    assert served.requests[0].headers["host"] == "xn--bcher-kva.example"


@virtual
async def test_a_field_of_the_user_takes_the_place_of_ours(servers):
    served = servers(STOP)
    await all_of(EventSource("http://a/", headers={"Accept": "text/*", "Cache-Control": "max-age=0"}))
    (request,) = served.requests
    assert [request.headers.get_all(name) for name in ("accept", "cache-control")] == [["text/*"], ["max-age=0"]]


def test_a_last_event_id_among_the_fields_is_refused():
    with pytest.raises(ValueError, match="last_event_id="):
        EventSource("http://a/", headers={"Last-Event-ID": "7"})


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


@pytest.mark.parametrize(("retry", "gap"), [(100, 0.1), (5_000, 5), (0, reconnect.SHORTEST)])
@virtual
async def test_a_server_that_closes_after_each_event_is_asked_again_after_retry(servers, retry, gap):
    """WHATWG HTML, "reestablish the connection": back-off is for attempts that failed. And 0 makes no tight loop."""
    served = servers(HEAD + b"retry: %d\ndata: x\n\n" % retry, *[HEAD + b"data: x\n\n"] * 10, STOP)
    assert len(await all_of(EventSource("http://a/"))) == 11
    assert [later - sooner for sooner, later in pairwise(served.times)] == pytest.approx([gap] * 11)


@virtual
async def test_a_success_begins_the_waits_anew(servers):
    """However short the stream was."""
    served = servers(REFUSED, REFUSED, HEAD, REFUSED, STOP)
    await all_of(EventSource("http://a/"))
    assert [later - sooner for sooner, later in pairwise(served.times)] == [6, 12, 3, 6]


@pytest.mark.parametrize("shortest", [True, False])
@virtual
async def test_retry_is_honoured(servers, monkeypatch, shortest):
    """It is back as soon as the server says, also where that is more than a minute; after a failure never sooner."""
    if shortest:
        monkeypatch.setattr(reconnect.random, "uniform", lambda least, most: least)
    served = servers(HEAD + b"retry: 500\n\n", HEAD + b"retry: 90000\n\n", REFUSED, STOP)
    source = EventSource("http://a/")
    await all_of(source)
    assert served.times == [0, 0.5, 90.5, 180.5]
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
async def test_silence_is_no_lost_connection(servers):
    """A stream of events has no body timeout, whatever the others are: the server may have nothing to say for a day."""

    async def quiet(pipe):
        pipe.write(HEAD + b"data: a\n\n")
        await asyncio.sleep(80_000)
        pipe.write(b"data: b\n\n")

    served = servers(quiet, STOP)
    assert [event.data for event in await all_of(EventSource("http://a/", timeouts=Timeouts(body=1, idle=1)))] == ["a", "b"]
    assert served.times == [0, 80_003]


@pytest.mark.parametrize("name", ["head", "body", "idle", "write", "linger", "pong", "close", "last_words", "drain"])
@virtual
async def test_a_timeout_of_0_that_is_for_something_else_ends_no_stream(servers, name):
    """``head`` is from the first byte of a head to its last: here it comes in one piece. The others are for other waits."""

    async def pauses(pipe):
        await asyncio.sleep(10)
        pipe.write(HEAD + b"data: a\n\n")
        await asyncio.sleep(10)
        pipe.write(b"data: b\n\n")

    servers(pauses, STOP)
    source = EventSource("http://a/", timeouts=Timeouts(**{name: 0}))
    assert [event.data for event in await all_of(source)] == ["a", "b"]


@virtual
async def test_a_refusal_with_a_linger_of_0_has_the_content_that_has_arrived(servers):
    async def refuse(pipe):
        pipe.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 5\r\n\r\nwrong")

    servers(refuse)
    with pytest.raises(StreamRefused) as refused:
        await all_of(EventSource("http://a/", timeouts=Timeouts(linger=0)))
    assert refused.value.response.body == b"wrong"


@virtual
async def test_a_head_may_come_as_late_as_the_first_event(servers):
    """Many servers send both together."""

    async def late(pipe):
        await asyncio.sleep(3_600)
        pipe.write(HEAD + b"data: x\n\n")

    served = servers(late, STOP)
    assert [event.data for event in await all_of(EventSource("http://a/"))] == ["x"]
    assert served.times == [0, 3_603]


@virtual
async def test_a_head_that_does_not_come_within_the_silence_is_an_outage_that_says_so(servers, caplog):
    async def never(pipe):
        await pipe.read()

    served = servers(never, STOP)
    await all_of(EventSource("http://a/", silence=20))
    assert served.times == [0, 26]
    assert "TimeoutError: the server has not sent the head of the response within 20 s" in caplog.text


@virtual
async def test_silence_is_a_lost_connection_where_the_user_says_so(servers):
    """Of a server that is known to send comments."""

    async def silent(pipe):
        pipe.write(HEAD + b"id: 1\n\n")
        await asyncio.sleep(1_000)

    served = servers(silent, STOP)
    await all_of(EventSource("http://a/", silence=20))
    assert (served.times, served.asked("last-event-id")) == ([0, 23], [None, "1"])
    served.tasks[0].cancel()
    await asyncio.wait(served.tasks)


@pytest.mark.parametrize("silence", [0, -1, None, "20"])
def test_a_silence_that_is_no_number_of_seconds(silence):
    with pytest.raises((ValueError, TypeError), match="silence has to be"):
        EventSource("http://a/", silence=silence)


CHUNKED = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % (1 << 40)), CHUNKED + b"%x\r\n" % (1 << 40)],
    ids=["length", "chunk"],
)
@virtual
async def test_a_stream_may_have_any_number_of_bytes(servers, head):
    """1 GiB is a limit for transfers. Here the server announces more, which is refused at once where there is a limit."""
    servers(head + b"data: a\n\n", STOP)
    assert await all_of(EventSource("http://a/")) == [ServerSentEvent("a")]


@pytest.mark.parametrize("framing", ["chunked", "until close"])
@virtual
async def test_pieces_of_a_stream_may_add_up_to_any_number_of_bytes(servers, monkeypatch, framing):
    """No length is announced. The limit that a connection has of itself is patched from 1 GiB to 20 bytes."""
    events = [b"data: %d\n\n" % number for number in range(9)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"
    served = servers(CHUNKED + chunks if framing == "chunked" else HEAD + b"".join(events), STOP)
    monkeypatch.setattr(sse, "connect_http", partial(served.connect, limits=HttpLimits(max_body=20)))
    assert await all_of(EventSource("http://a/")) == [ServerSentEvent(str(number)) for number in range(9)]
    assert len(served.requests) == 2


@virtual
async def test_who_leaves_the_loop_and_closes_the_generator_has_closed_the_connection(servers):
    """By the time that ``aclose`` returns, and not at some collection of garbage."""
    ended = []

    async def waits_for_the_end(pipe):
        pipe.write(HEAD + b"data: a\n\n")
        assert await pipe.read() == b""
        ended.append(now())

    servers(waits_for_the_end)
    async with aclosing(aiter(EventSource("http://a/"))) as events:
        assert await anext(events) == ServerSentEvent("a")
    await asyncio.sleep(0)
    assert ended == [0]
    await asyncio.sleep(0.1)


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
        (b"HTTP/1.1 201 Created\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n", 201),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 301),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nx", 200),
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
    ],
)
@virtual
async def test_what_is_no_stream_ends_it(servers, answer, code):
    """The error names the URL, without its query. A password in a URL is refused before anything is sent."""
    servers(answer)
    with pytest.raises(StreamRefused, match=r"^http://a/events: no stream of events: ") as error:
        await all_of(EventSource("http://a/events?token=secret"))
    assert (error.value.code, error.value.response.status, "secret" in str(error.value)) == (code, code, False)


@virtual
async def test_a_stream_that_is_compressed_is_refused_and_not_read_as_nothing_for_ever(servers):
    servers(HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b")
    with pytest.raises(StreamRefused, match="200 text/event-stream, content-encoding gzip"):
        await all_of(EventSource("http://a/"))


@virtual
async def test_the_answer_that_was_no_stream_is_in_the_error(servers):
    """A redirection, or what a login asks for: status, header fields and content, and the telling ones in the message."""
    servers(b"HTTP/1.1 302 Found\r\nLocation: https://b/login\r\nContent-Length: 9\r\n\r\ngo there\n")
    with pytest.raises(StreamRefused, match="no stream of events: 302; location: https://b/login") as error:
        await all_of(EventSource("http://a/"))
    response = error.value.response
    assert (response.status, response.headers.get("location"), response.body) == (302, "https://b/login", b"go there\n")


@pytest.mark.parametrize(
    ("says", "wait"),
    [(b"120", 120), (b"1", 6), (b"Thu, 01 Jan 1970 00:01:30 GMT", 90), (b"Thu, 01 Jan 1970 00:00:00 GMT", 6), (b"soon", 6)],
)
@virtual
async def test_retry_after_is_respected(servers, monkeypatch, says, wait):
    """RFC 9110 §10.2.3: seconds, or a date. The back-off is the least, and what nobody can read asks for nothing."""
    monkeypatch.setattr(reconnect.time, "time", lambda: 0.0)
    served = servers(b"HTTP/1.1 503 Busy\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n" % says, STOP)
    await all_of(EventSource("http://a/"))
    assert served.times == [0, wait]


@virtual
async def test_an_outage_is_two_lines_in_the_log(servers, caplog):
    """When it begins, and when it is over; none for each attempt, none for a stream that ends. Without the query."""
    caplog.set_level("INFO", "minproto")
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    servers(HEAD, REFUSED, busy, REFUSED, HEAD, HEAD, busy, STOP)
    await all_of(EventSource("http://a/events?token=secret"))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "http://a/events can't be reached: ConnectionRefusedError; trying again until it can"),
        ("INFO", "http://a/events is reached again after 42.0 s, at attempt 4"),
        (
            "WARNING",
            "http://a/events can't be reached: StreamRefused: no stream of events: 503; trying again until it can",
        ),
        ("INFO", "http://a/events is reached again after 6.0 s, at attempt 2"),
    ]


@pytest.mark.parametrize("status", [503, 999])
@virtual
async def test_a_server_that_is_overloaded_is_asked_again(servers, status):
    """RFC 9110 §15: a status that is none, such as 999, counts as a server error."""
    served = servers(b"HTTP/1.1 %d Busy\r\nContent-Length: 0\r\n\r\n" % status, STOP)
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

        async def connect(host, port, ssl=None, **options):
            pipes.append(server.attach(delays=[0.001 * (number % 7) for number in range(100)]))
            return ClientConnection(pipes[-1], host, **options)

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
