"""What an operator sees: every request is counted and logged once, and no client can forge a line."""

import asyncio
import re
from collections import Counter
from contextlib import suppress

import pytest
from harness import FIN, HELLO, get, pieces, post, serving, virtual
from hypothesis import given
from hypothesis import strategies as st

from minproto import AccessLog, RemoteProtocolError, Response, Upgrade
from minproto.http import Headers, RequestHead

BAD = b"bad\r\n\r\n"
LINE = re.compile(
    r'(memory|-) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+)\n'
)


async def app(request):
    match request.path:
        case "/fail":
            raise ValueError("expected")
        case "/stream":
            return Response(pieces(3))
        case "/endless":
            return Response(pieces(10**9, bytes(1000), pause=1))
        case "/sleep":
            await asyncio.sleep(5)
        case "/read":
            return Response(await request.read(10))
        case "/splitting":
            return Response(headers=[("x", "\n")])
    return Response(b"nothing", 404)


TRAFFIC = [  # what is sent, and how each request in it is counted and logged
    (HELLO, [("GET /hello HTTP/1.1", 200)]),
    (get("/hello", method="HEAD"), [("HEAD /hello HTTP/1.1", 200)]),
    (get("/stream", version="1.0"), [("GET /stream HTTP/1.0", 200)]),
    (get("/x?y=%22") + get("/read"), [("GET /x?y=%22 HTTP/1.1", 404), ("GET /read HTTP/1.1", 200)]),
    (get("/fail"), [("GET /fail HTTP/1.1", 500)]),
    (get("/splitting"), [("GET /splitting HTTP/1.1", 500)]),
    (HELLO + BAD, [("GET /hello HTTP/1.1", 200), ("-", 400)]),
    (post("/read", bytes(99)), [("POST /read HTTP/1.1", 413)]),
    (post("/read", bytes(9))[:-1], [("POST /read HTTP/1.1", 408)]),
    (HELLO[:9], [("-", 408)]),
    (b"", []),
]
GONE = [  # the same, where the client goes away
    (get("/sleep"), [("GET /sleep HTTP/1.1", 499)]),
    (get("/endless"), [("GET /endless HTTP/1.1", 499)]),
    (post("/read", bytes(9))[:-1], [("POST /read HTTP/1.1", 499)]),
    (HELLO[:9], []),
    (b"", []),
]


@pytest.mark.parametrize(("data", "expected"), TRAFFIC)
@virtual
async def test_each_request_is_counted_and_logged_once(logged, data, expected):
    """Also those that fail or can't be read, each with the size of its content as it was sent."""
    log = []
    async with serving(app, observers=[AccessLog(log.append)]) as server:
        client = server.client()
        client.send(data)
        sizes = [len((await client.answer(data.split()[0].decode())).body) for _ in expected]
        assert server.metrics.requests == Counter(status for _, status in expected)
        lines = [LINE.fullmatch(line).groups() for line in log]
        assert [(line, int(status)) for _, line, status, _ in lines] == expected
        assert {host for host, *_ in lines} <= {"memory"}
        assert [int(size) for *_, size in lines] == sizes
        await client.pipe.close()
    logged.clear()


@pytest.mark.parametrize(("data", "expected"), GONE)
@virtual
async def test_a_request_whose_client_goes_is_counted_and_logged_once(data, expected):
    """With 499, also where its response had begun. Nothing stays in flight."""
    log = []
    async with serving(app, observers=[AccessLog(log.append)]) as server:
        client = server.client()
        client.send(data)
        await asyncio.sleep(2.5)
        assert server.metrics.in_flight == len(expected)
        client.pipe.abort()
        await asyncio.sleep(10)
        assert (server.metrics.in_flight, server.metrics.connections) == (0, 0)
        lines = [LINE.fullmatch(line).groups() for line in log]
        assert [(line, int(status)) for _, line, status, _ in lines] == expected


@virtual
async def test_the_figures_of_mixed_traffic_are_right(logged):
    """And render as Prometheus reads them: a type for each family, a value for each line."""
    async with serving(app) as server:
        traffic = [*TRAFFIC, *GONE]
        clients = [server.client() for _ in traffic]
        for client, (data, _) in zip(clients, traffic, strict=True):
            client.send(data)
        await asyncio.sleep(2.5)
        metrics = server.metrics
        assert (metrics.in_flight, metrics.connections) == (4, len(clients) - 3)  # 1.0, 400 and 413 were closed
        assert metrics.received == sum(len(data) for data, _ in traffic)
        assert metrics.sent == sum(end.waiting for end in server.ends)
        for client in clients[len(TRAFFIC) :]:
            client.pipe.abort()
        await asyncio.sleep(100)
        assert metrics.requests == Counter(status for _, expected in traffic for _, status in expected)
        text = metrics.render()
        assert 'minproto_requests_total{status="500"} 2\n' in text and "minproto_requests_in_flight 0\n" in text
        assert "minproto_connections 0\n" in text and f"minproto_received_bytes_total {metrics.received}\n" in text
        line = re.compile(r'# TYPE \w+ (counter|gauge)|\w+(\{\w+="\d+"\})? \d+')
        assert all(line.fullmatch(found) for found in text.splitlines())
    logged.clear()


@virtual
async def test_the_bytes_after_an_upgrade_are_counted_too():
    """They cross the same wire."""

    async def upgrading(request):
        async def echo(pipe):
            pipe.write(await pipe.read())

        return Upgrade(echo, [("Connection", "upgrade"), ("Upgrade", "echo")])

    async with serving(upgrading) as server:
        client, head = server.client(), get("/", "Connection: upgrade", "Upgrade: echo")
        assert (await client.ask(head)).status == 101
        sent = server.metrics.sent
        client.send(bytes(1000))
        await client.reads()
        assert (server.metrics.received, server.metrics.sent) == (len(head) + 1000, sent + 1000)


class Peer:
    def __init__(self, name):
        self.name = name

    def info(self, _):
        return self.name


TEXT = st.text(st.characters(max_codepoint=255))  # ISO-8859-1: what a head is decoded as


@given(TEXT, TEXT, st.sampled_from([("10.0.0.1", 1), ("::1", 1, 0, 0), "", None]))
def test_no_request_can_forge_a_line(method, target, peer):
    """Log injection: a quote ends the field, a line break begins a line; a reader of logs believes both."""
    log = []
    AccessLog(log.append).finish(RequestHead(method, target, Headers()), 200, 0, Peer(peer))
    (line,) = log
    assert line.endswith('" 200 0\n') and len(line.splitlines()) == 1
    assert re.fullmatch(r'\S+ - - \[[^]]+\] "(?:[^"\\]|\\.)*" 200 0\n', line)


@pytest.mark.parametrize("target", ['/"', "/%0d%0aforged", "/\\", '/" 200 13\\n127.0.0.1'])
@virtual
async def test_a_target_is_logged_as_it_was_sent_but_for_what_could_end_it(target):
    """What we take in a target is escaped, the rest never gets here."""
    log = []
    async with serving(app, observers=[AccessLog(log.append)]) as server:
        answer = await server.client().ask(get(target))
        escaped = target.replace("\\", "\\\\")
        expected = ("-", 400) if '"' in target else (f"GET {escaped} HTTP/1.1", 404)
        assert answer.status == expected[1] and LINE.fullmatch(log[0])[2] == expected[0]


@virtual
async def test_a_log_that_cannot_be_written_ends_nothing():
    """Whoever read it has gone (a broken pipe): the service goes on."""

    def broken(line):
        raise BrokenPipeError

    async with serving(app, observers=[AccessLog(broken)]) as server:
        client = server.client()
        assert [(await client.ask(HELLO)).status for _ in range(3)] == [200] * 3


@virtual
async def test_a_response_that_breaks_off_is_counted_before_the_connection_has_ended(logged):
    """Whose client may go on sending for a while."""

    async def breaks(request):
        async def content():
            yield b"some"
            raise ValueError("expected")

        return Response(content())

    async with serving(breaks) as server:
        client = server.client()
        client.send(get("/", "Content-Length: 1000000", method="POST"))
        await asyncio.sleep(0.001)
        assert (server.metrics.in_flight, server.metrics.requests, server.metrics.connections) == (0, {200: 1}, 1)
        client.pipe.abort()
    logged.clear()


# ---- what is wrong with a request, and whose it is -----------------------------------------------------------------------

CHUNKED = get("/up", "Transfer-Encoding: chunked", method="POST")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"bad\r\n\r\n", "the request '-' from memory is answered 400: "),
        (get('/a"b'), "the request '-' from memory is answered 400: unexpected byte 0x22 in the target of a head"),
        (get("/x", "Host: b"), "the request '-' from memory is answered 400: repeated or invalid Host"),
        (get("/x", "a: " + "b" * 70_000), "the request '-' from memory is answered 431: "),
        (get("/x", method="BREW"), "the request '-' from memory is answered 501: "),
        (CHUNKED + b"x\r\n", "the request 'POST /up' from memory is answered 400: "),
        (HELLO[:9], "the request '-' from memory is answered 408: the request's head took too long"),
        (HELLO + BAD * 9, "the request '-' from memory is answered 400: "),
    ],
)
@virtual
async def test_why_a_request_is_malformed_is_logged_once(data, line, caplog):
    """``"-" 400`` in the access log does not tell; and a flood of bad requests is one line for each connection."""

    async def read(request):
        return Response(await request.read())

    async with serving(read) as server:
        client = server.client()
        client.send(data)
        await client.answers()
        [said] = caplog.messages
        assert said.startswith(line) and len(said) < 300 and "\n" not in said


@virtual
async def test_content_that_breaks_behind_the_head_of_its_response_is_logged(caplog):
    async def echo(request):
        return Response(request.body, early_head=True)

    async with serving(echo) as server:
        client = server.client()
        client.send(CHUNKED + b"1\r\na\r\nx\r\n")
        with suppress(RemoteProtocolError):
            await client.answer()
        [said] = caplog.messages
        assert said.startswith("the request 'POST /up' from memory breaks its response off: ")


@pytest.mark.parametrize("data", [HELLO[:9], get("/up", "Content-Length: 9", method="POST") + b"some", CHUNKED + b"9\r\nsome"])
@virtual
async def test_a_client_that_leaves_in_the_middle_of_a_request_has_broken_no_rule(data, caplog):
    async def read(request):
        return Response(await request.read())

    async with serving(read) as server:
        client = server.client()
        client.send(data)
        await asyncio.sleep(1)
        client.pipe.close_write()
        await client.answers()
    assert caplog.messages == []


@virtual
async def test_a_limit_of_the_app_and_a_server_that_is_full_need_no_line(caplog):
    """The status in the access log says it; and a line for each refused connection would fill the log."""
    async with serving(app, max_connections=2) as server:
        client = server.client()
        assert (await client.ask(post("/read", bytes(11)))).status == 413
        busy = [server.client() for _ in range(3)]
        assert (await busy[2].answer()).status == 503
        for client in busy:
            client.pipe.abort()
        await asyncio.sleep(3)
    assert caplog.messages == []


@pytest.mark.parametrize("waits", [True, False])
@virtual
async def test_a_handler_that_cancels_its_own_task_is_a_failure_in_the_log(waits, logged):
    """Only where the server has cancelled it, an ending by CancelledError is nothing to tell of."""

    async def give_up():
        asyncio.current_task().cancel()
        if waits:
            await asyncio.sleep(0)

    async def content():
        yield b"begun"
        await give_up()
        yield b"never"

    async def wrong(request):
        if request.path == "/before":
            await give_up()
        return Response(content())

    async with serving(wrong) as server:
        client = server.client()
        answer = await client.ask(get("/before"))
        assert (answer.status, answer.headers.get("connection")) == (500, "close") and await client.end() == FIN
        assert logged.pop().startswith("GET /before failed\n") and not logged
        client = server.client()
        with pytest.raises(RemoteProtocolError):
            await client.ask(get("/within"))
        assert logged.pop().startswith("GET /within: the response broke off\n") and not logged
