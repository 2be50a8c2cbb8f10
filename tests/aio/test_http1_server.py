"""The order of answers, how they are framed, and what becomes of the connection."""

import asyncio
import contextlib
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest
from harness import FIN, HELLO, RST, get, not_found, now, pieces, post, serving, trickle, virtual
from hypothesis import given
from hypothesis import strategies as st

from minproto import ClientConnection, RemoteProtocolError, Response, Upgrade
from minproto.http import Headers
from minproto.testing.cuts import chunks

# ---- order -----------------------------------------------------------------------------------------------------------


async def of_all_kinds(request):
    """Answers with the target; the first part of the path says how."""
    name = request.target.encode()
    match request.path.split("/")[1]:
        case "sleep":
            await asyncio.sleep(3)
        case "yield":
            await asyncio.sleep(0)
        case "stream":
            return Response(pieces(1, name, pause=1))
        case "echo":
            return Response(request.body)
        case "read":
            return Response(await request.read())
    return Response(name)


KINDS = ["now", "sleep", "yield", "stream", "echo", "read", "unread"]
REQUESTS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=8).map(
    lambda kinds: [post(f"/{kind}/{n}", f"/{kind}/{n}".encode()) for n, kind in enumerate(kinds)]
)
CUT_REQUESTS = REQUESTS.flatmap(lambda requests: st.tuples(st.just(requests), chunks(st.just(b"".join(requests)))))


@given(CUT_REQUESTS, st.lists(st.integers(1, 99), max_size=30), st.sampled_from([0, 0.01, 0.2]))
@virtual
async def test_answers_come_in_the_order_asked(cut_requests, cuts, pause):
    """RFC 9112 §9.3.2 (law 8), for any cutting, and any mixture of handlers that suspend or not."""
    requests, data = cut_requests
    async with serving(of_all_kinds) as server, asyncio.TaskGroup() as tasks:
        client = server.client(cuts=cuts)
        tasks.create_task(trickle(client, data, pause))
        for request in requests:
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, request.split()[1])


@virtual
async def test_answers_that_need_no_waiting_share_one_write():
    """A packet for each of 10 small answers would cost more than the answers."""
    async with serving() as server:
        client = server.client(delays=range(1, 100))  # no two writes arrive together
        client.send(get() * 9 + get("/", "Connection: close"))
        (piece,) = await client.reads()
        assert piece.count(b"HTTP/1.1 404") == 10


@virtual
async def test_an_answer_is_not_held_back_by_the_next_handler():
    """Answers may be gathered only as long as nobody waits for them."""
    async with serving(of_all_kinds) as server:
        client = server.client()
        client.send(get("/now") + get("/now") + get("/sleep") + get("/now"))
        assert [(await client.answer()).at for _ in range(4)] == [0, 0, 3, 3]


@virtual
async def test_no_handler_is_called_while_earlier_answers_fill_the_memory():
    """A thousand small requests in one packet must not make a thousand large answers at once."""
    called = []

    async def app(request):
        called.append(1)
        return Response(bytes(100_000))

    async with serving(app) as server:
        client = server.client()
        client.send(get() * 1000)
        await asyncio.sleep(1)
        assert len(called) < 5
        client.pipe.abort()


@virtual
async def test_the_head_of_a_stream_goes_out_with_its_first_piece(logged):
    """So that what fails before it is still a 500; the answer before it does not wait."""

    async def app(request):
        async def late():
            await asyncio.sleep(9)
            if request.path == "/fails":
                raise ValueError("too late")
            yield b"late"

        return Response(late())

    async with serving(app) as server:
        client = server.client()
        client.send(HELLO + get() + get("/fails"))
        answers = [await client.answer() for _ in range(3)]
        assert [(answer.status, answer.at) for answer in answers] == [(200, 0), (200, 9), (500, 18)]
        logged.clear()


# ---- framing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@virtual
async def test_content_of_known_length_has_a_content_length(version):
    """RFC 9110 §8.6."""
    async with serving() as server:
        answer = await server.client().ask(get("/hello", version=version))
        assert answer.headers.get_all("content-length") == ["13"]
        assert answer.body == b"Hello, World!" and "transfer-encoding" not in dict(answer.headers)


@virtual
async def test_content_of_unknown_length_is_chunked():
    """RFC 9112 §7.1; an empty piece is no chunk, for it would be the last one."""

    async def app(request):
        async def body():
            for piece in (b"", b"one", b"", b"two"):
                yield piece

        return Response(body())

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", "Connection: close"))
        head, _, body = b"".join(await client.reads()).partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head and b"content-length" not in head
        assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@virtual
async def test_to_http_1_0_content_of_unknown_length_goes_until_close(connection):
    """RFC 9112 §6.1: MUST NOT send Transfer-Encoding to a client of HTTP/1.0."""

    async def app(request):
        response = Response(pieces(3))
        response.trailers.append(("x-lost", "for want of chunks"))
        return response

    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(get("/", f"Connection: {connection}", version="1.0"))
        assert answer.body == b"piecepiecepiece" and answer.trailers == []
        assert answer.headers.get("connection") == "close" and "transfer-encoding" not in dict(answer.headers)


@virtual
async def test_an_iterator_whose_length_the_app_tells_is_not_chunked():
    """RFC 9112 §6.2: MUST NOT send both Content-Length and Transfer-Encoding."""

    async def app(request):
        return Response(pieces(2), headers=[("Content-Length", "10")])

    async with serving(app) as server:
        answer = await server.client().ask(get())
        assert (answer.body, "transfer-encoding" in dict(answer.headers)) == (b"piecepiece", False)


@virtual
async def test_an_answer_to_head_is_that_to_get_without_content():
    """RFC 9110 §9.3.2; what would have made the content is told that it is over."""
    closed = []

    async def app(request):
        assert request.method == "GET"
        return Response(pieces(9, closed=closed)) if request.path == "/stream" else Response(b"x" * 99)

    async with serving(app) as server:
        client = server.client()
        for target in ("/length", "/stream"):
            asked, headed = [await client.ask(get(target, method=method)) for method in ("GET", "HEAD")]
            assert {name for name, _ in headed.headers} == {name for name, _ in asked.headers}
            assert headed.headers.get("content-length") == asked.headers.get("content-length")
            assert asked.body and not headed.body
        assert closed == [0]  # of GET; the generator of HEAD never began


@pytest.mark.parametrize("status", [204, 304])
@virtual
async def test_an_answer_without_content_has_neither_length_nor_chunks(status):
    """RFC 9110 §8.6 and RFC 9112 §6.1: MUST NOT, in a 204."""

    async def app(request):
        return Response(status=status)

    async with serving(app) as server:
        client = server.client()
        for _ in range(2):
            answer = await client.ask(get())
            assert answer.status == status and {name for name, _ in answer.headers} == {"date"}


@virtual
async def test_trailers_are_sent_after_the_content_that_they_tell_of():
    """RFC 9110 §6.5: they may be known only when the content is made."""

    async def app(request):
        async def body():
            yield b"content"
            response.trailers.append(("x-digest", "0123"))

        response = Response(body())
        return response

    async with serving(app) as server:
        answer = await server.client().ask(get())
        assert (answer.body, answer.trailers) == (b"content", [("x-digest", "0123")])


@virtual
async def test_every_answer_is_dated():
    """RFC 9110 §6.6.1: an origin server with a clock MUST send Date; the app may have done it."""

    async def app(request):
        return Response(headers=[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")])

    async with serving(app) as server:
        client = server.client()
        (date,) = (await client.ask(HELLO)).headers.get_all("date")
        assert date.endswith(" GMT") and parsedate_to_datetime(date).year > 2000
        assert (await client.ask(get())).headers.get_all("date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]


# ---- persistence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fields", "connection"),
    [
        ("1.1", [], None),
        ("1.1", ["Connection: keep-alive"], None),
        ("1.1", ["Connection: close"], "close"),
        ("1.1", ["Connection: Keep-Alive, Close"], "close"),
        ("1.0", [], "close"),
        ("1.0", ["Connection: Keep-Alive"], "keep-alive"),
        ("1.0", ["Connection: keep-alive", "Connection: close"], "close"),
    ],
)
@virtual
async def test_a_connection_persists_where_both_versions_of_the_protocol_say_so(version, fields, connection):
    """RFC 9112 §9.3; close wins."""
    async with serving() as server:
        client = server.client()
        answer = await client.ask(get("/hello", *fields, version=version))
        assert answer.headers.get("connection") == connection
        if connection == "close":
            assert (await client.end(), now()) == (FIN, 0)
        else:
            assert (await client.ask(get("/hello", *fields, version=version))).status == 200


@pytest.mark.parametrize("line", [[], ["Connection: close"], ["Connection: keep-alive"]])
@virtual
async def test_the_close_option_is_said_once(line):
    """By the app or by the server; beside an option of the app's that is another."""

    async def app(request):
        return Response(b"", headers=[("Connection", request.path[1:])])

    async with serving(app) as server:
        client = server.client()
        answer = await client.ask(get("/close", *line))
        assert answer.headers.get_all("connection") == ["close"]
        assert await client.end() == FIN
        closes = "close" in "".join(line)
        answer = await server.client().ask(get("/x", *line))
        assert answer.headers.get_all("connection") == ["x", "close"] if closes else ["x"]


@virtual
async def test_the_app_can_close_the_connection():
    """RFC 9112 §9.6: a server that sends the close option MUST close after that response, and answer nothing more."""

    async def app(request):
        return Response(b"last", headers=[("Connection", "close")])

    async with serving(app) as server:
        client = server.client()
        client.send(HELLO + get() + HELLO)
        assert [(await client.answer()).body for _ in range(2)] == [b"Hello, World!", b"last"]
        assert (await client.end(), now()) == (FIN, 0)


@pytest.mark.parametrize("fields", [[], ["Connection: close"]])
@virtual
async def test_a_request_that_comes_too_late_does_not_destroy_the_last_answer(fields):
    """RFC 9112 §9.6: a server closes in stages, or the reset for what it leaves unread overtakes its answer."""

    async def app(request):
        await asyncio.sleep(2)
        return Response(b"last", headers=[("Connection", "close")])

    async with serving(app) as server:
        client = server.client()
        client.send(get("/", *fields))
        await asyncio.sleep(1)
        client.send(get())
        await asyncio.sleep(2)
        assert (await client.answer()).body == b"last"
        assert await client.end() == FIN


@pytest.mark.parametrize(
    ("target", "authority"), [("http://b.example:81/x", "b.example:81"), ("http://b.example?x", "b.example"), ("/x", "a")]
)
@virtual
async def test_a_host_in_the_target_overrides_the_field(target, authority):
    """RFC 9112 §3.2.2: an origin server MUST ignore Host then."""

    async def app(request):
        return Response.text(request.authority)

    async with serving(app) as server:
        assert (await server.client().ask(get(target))).body == authority.encode()


@virtual
async def test_options_asterisk_is_answered_by_the_server():
    """RFC 9110 §9.3.7: a question to the server as a whole, like a ping."""
    async with serving() as server:
        client = server.client()
        answer = await client.ask(get("*", method="OPTIONS"))
        allowed = answer.headers.get("allow").split(", ")
        assert answer.status == 204 and "GET" in allowed and "TRACE" not in allowed
        assert (await client.ask(HELLO)).status == 200


# ---- an app at fault -------------------------------------------------------------------------------------------------


FAILURES = [ValueError, ConnectionResetError, TimeoutError, RemoteProtocolError]  # the latter may be those of a backend


@pytest.mark.parametrize("failure", FAILURES)
@virtual
async def test_a_handler_that_raises_gives_500_and_keeps_its_secrets(logged, failure):
    """The traceback is for the log; to an attacker it would be a map."""

    async def app(request):
        raise failure("the secret")

    async with serving(app) as server:
        client = server.client()
        for _ in range(2):
            answer = await client.ask(get("/where"))
            assert (answer.status, answer.body) == (500, b"internal server error\n")
        assert len(logged) == 2
        assert all("/where" in text and f"{failure.__name__}: the secret" in text for text in logged)
        logged.clear()


@virtual
async def test_a_handler_whose_own_task_was_cancelled_gives_500(logged):
    """That cancellation is not ours, and the client waits for an answer."""

    async def app(request):
        task = asyncio.create_task(asyncio.sleep(9))
        asyncio.get_running_loop().call_later(1, task.cancel)
        await task

    async with serving(app) as server:
        answer = await server.client().ask(get())
        assert (answer.status, answer.at) == (500, 1) and "CancelledError" in logged.pop()


@virtual
async def test_a_task_group_that_fails_gives_500_and_leaves_no_mark(logged):
    """CPython 3.11 and 3.12 leave ``cancelling()`` at 1 then, which is not the server's end, now or in a later request."""

    async def fails():
        await asyncio.sleep(1)
        raise KeyError("of the app")

    async def app(request):
        if request.path == "/later":
            raise ValueError("another")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fails())
        except* KeyError:
            if request.path == "/group":
                raise
        return Response(b"caught")

    async with serving(app) as server:
        client = server.client()
        statuses = [(await client.ask(get(path))).status for path in ("/group", "/caught", "/later", "/hello")]
        assert statuses == [500, 200, 500, 200]
        assert "KeyError" in logged.pop(0) and "ValueError" in logged.pop()


@pytest.mark.parametrize(
    ("field", "says"),
    [(("X-Id", "1"), "'X-Id' has an invalid name (they are in lower case)"), (("x", "a\nb"), "'x' has an invalid value"),
     ((1, "1"), "1 has an invalid name"), (("x", 1), "'x' has an invalid value")],
)  # fmt: skip
@virtual
async def test_a_field_that_cannot_be_sent_is_named_in_the_log(logged, field, says):
    """Not its value, which may be a secret."""

    async def app(request):
        response = Response()
        response.headers.append(field)
        return response

    async with serving(app) as server:
        assert (await server.client().ask(get())).status == 500
        assert says in logged[0] and "\\n" not in logged.pop().rpartition("LocalProtocolError")[2]


def changed(**attributes):
    """A response that was changed after it was made: what its constructor refuses, the connection has to refuse, too."""
    response = Response()
    for name, value in attributes.items():
        setattr(response, name, value)
    return response


@pytest.mark.parametrize("content", [lambda: b"some", lambda: pieces(1)])
@virtual
async def test_a_status_that_is_none_is_told_in_the_same_words_for_all_content(logged, content):
    """RFC 9110 §15. The constructor would refuse it."""

    async def app(request):
        return changed(body=content(), status=999)

    async with serving(app) as server:
        assert (await server.client().ask(get())).status == 500
        assert "response has status 999" in logged.pop()


def test_text_is_plain_unless_the_app_says_what_it_is():
    """RFC 9110 §8.3: there is one content-type."""
    assert Response.text("a", 200, [("x", "y")]).headers == [("content-type", "text/plain; charset=utf-8"), ("x", "y")]
    assert Response.text("a", 200, iter([("Content-Type", "text/html")])).headers == [("content-type", "text/html")]


@pytest.mark.parametrize(
    "response",
    [
        Response(headers=[("X", "a\r\nSet-Cookie: stolen")]),
        Response(headers=[("X: a\r\nY", "b")]),
        Response(headers=[("X", "\N{SNOWMAN}")]),
        Response(headers=[("Content-Length", "one")]),
        Response(headers=[("Content-Length", "1"), ("Transfer-Encoding", "chunked")]),
        Response(b"more than that", headers=[("Content-Length", "3")]),
        Response(b"less than that", headers=[("Content-Length", "30")]),
        Response(b"content", 204),
        changed(headers=Headers([("x", 1)])),  # which would be remembered as the same as True
        changed(status=200.0),
        changed(status=99),
        changed(status=600),
        changed(status=100),
        changed(status=101),
        Upgrade(not_found),
        None,
        "text",
    ],
)
@virtual
async def test_an_answer_that_cannot_be_sent_becomes_500(logged, response):
    """Response splitting (RFC 9112 §11.1), broken framing and no answer at all; the answer before it is not lost."""

    async def app(request):
        return response

    async with serving(app) as server:
        client = server.client()
        client.send(HELLO + get() + HELLO)
        assert [(await client.answer()).status for _ in range(2)] == [200, 500]
        with contextlib.suppress(RemoteProtocolError, ConnectionResetError):  # whether it goes on is left open
            assert (await client.answer()).status == 200
        assert len(logged) == 1
        logged.clear()


@pytest.mark.parametrize(("status", "sent"), [(HTTPStatus.OK, 200), (200.0, 500)])
@virtual
async def test_the_head_of_one_answer_is_not_sent_for_that_of_another(logged, status, sent):
    """Heads are remembered, and 200 == 200.0 == HTTPStatus.OK."""
    answers = [Response(), changed(status=status), Response()]

    async def app(request):
        return answers.pop()

    async with serving(app) as server:
        client = server.client()
        client.send(3 * get())
        assert [(await client.answer()).status for _ in range(3)] == [200, sent, 200]
        logged.clear()


@virtual
async def test_the_content_of_an_answer_that_cannot_be_sent_is_closed(logged):
    """A generator's ``finally`` runs now, not at some collection of garbage."""
    closed = []

    async def body():
        try:
            yield b"some"
        finally:
            closed.append(now())

    async def app(request):
        return Response(body(), headers=[("bad\n", "")])

    async with serving(app) as server:
        assert (await server.client().ask(get())).status == 500 and closed == [0]
        logged.clear()


@pytest.mark.parametrize(
    ("version", "headers"), [("1.1", []), ("1.1", [("Content-Length", "99")]), ("1.0", [])]
)
@pytest.mark.parametrize("failure", FAILURES)
@virtual
async def test_content_that_breaks_off_never_looks_complete(logged, version, headers, failure):
    """RFC 9112 §8: its framing tells; where it goes until close, only a reset does."""

    async def app(request):
        async def body():
            yield b"some"
            await asyncio.sleep(1)
            raise failure("of the app")

        return Response(body(), headers=headers)

    async with serving(app) as server:
        client = server.client()
        with pytest.raises((RemoteProtocolError, ConnectionResetError)):
            await client.ask(get(version=version))
        assert await client.end() == (RST if version == "1.0" else FIN)
        assert len(logged) == 1 and f"{failure.__name__}: of the app" in logged.pop()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [("text", "str"), (None, "NoneType"), (bytearray(8), "bytearray"), (memoryview(bytes(8)).cast("I"), "memoryview")],
)
@pytest.mark.parametrize("first", [True, False])
@virtual
async def test_a_piece_that_is_no_bytes_is_the_mistake_of_the_app(logged, wrong, name, first):
    """The first one is a 500: its head was not sent. A buffer could change before it is written."""

    async def app(request):
        async def body():
            if not first:
                yield b"some"
            yield wrong

        return Response(body())

    async with serving(app) as server:
        client = server.client()
        if first:
            assert (await client.ask(get())).status == 500
        else:
            with pytest.raises((RemoteProtocolError, ConnectionResetError)):
                await client.ask(get())
        assert f"content has to be bytes, not {name}" in logged.pop()


@virtual
async def test_content_that_awaits_a_cancelled_task_breaks_off_with_a_line_in_the_log(logged):
    """That cancellation is not ours, so nobody else knows of it."""

    async def app(request):
        async def body():
            yield b"some"
            task = asyncio.create_task(asyncio.sleep(9))
            asyncio.get_running_loop().call_later(1, task.cancel)
            await task

        return Response(body())

    async with serving(app) as server:
        client = server.client()
        with pytest.raises(RemoteProtocolError):
            await client.ask(get())
        assert (await client.end(), now()) == (FIN, 1) and "CancelledError" in logged.pop()


@pytest.mark.parametrize("leave", ["abort", "close"])
@pytest.mark.parametrize("pause", [0, 1])
@virtual
async def test_content_is_no_longer_made_when_the_client_has_gone(leave, pause):
    """A generator may hold a file, a lock or a subscription: its ``finally`` runs as soon as a write fails."""
    closed, kept = [], []

    async def app(request):
        kept.append(pieces(10**9, closed=closed, pause=pause))  # so that a collection of garbage can't be what ends it
        return Response(kept[0])

    async with serving(app) as server:
        client = server.client()
        client.send(get())
        await asyncio.sleep(5.5)
        client.pipe.abort() if leave == "abort" else await client.pipe.close()
        await asyncio.sleep(3)
        assert len(closed) == 1 and closed[0] <= 7
        assert server.metrics.in_flight == 0


@virtual
async def test_a_stream_of_tiny_or_empty_pieces_starves_nobody():
    """Law 11: content that is made without ever waiting, and never fills a buffer, must still let others run."""
    made = [0]

    async def app(request):
        async def body():
            for made[0] in range(100_000):
                yield b""

        return Response(body())

    async with serving(app) as server:
        client = server.client()
        client.send(get())
        await server.answers_hello()
        assert made[0] < 10_000
        client.pipe.abort()


@virtual
async def test_content_that_fails_at_its_first_piece_is_closed(logged):
    """Whatever kind of iterator it is."""
    closed = []

    class Failing:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise ValueError("of the app")

        async def aclose(self):
            closed.append(now())

    async def app(request):
        return Response(Failing())

    async with serving(app) as server:
        assert (await server.client().ask(get())).status == 500 and closed == [0]
        logged.clear()


@virtual
async def test_an_app_that_says_200_to_everything_makes_no_tunnel():
    """RFC 9110 §9.3.6: an origin server need not implement CONNECT; a scanner that tries is no fault to be logged."""

    async def app(request):
        return Response(b"hello")

    async with serving(app) as server:
        client = server.client()
        client.send(get("a:80", method="CONNECT") + HELLO)  # no request: what was meant for the tunnel
        answer = await client.answer("CONNECT")
        assert (answer.status, answer.headers.get("connection")) == (501, "close")
        assert (await client.end(), now()) == (FIN, 0)


@virtual
async def test_the_content_in_whose_place_something_else_is_sent_is_closed():
    """The answer to HEAD has none, and a refused CONNECT has the server's own."""
    closed = []

    class Content:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            closed.append(now())

    async def app(request):
        return Response(Content())

    async with serving(app) as server:
        for head in (get(method="HEAD"), get("a:80", method="CONNECT"), get()):
            await server.client().ask(head)
        assert closed == [0, 0, 0]


@virtual
async def test_a_response_that_a_client_gets_can_be_the_content_of_one_that_a_server_sends():
    """A proxy: when its client goes, or has asked for a HEAD, it must not keep the response from behind it open."""
    upstream = []

    async def app(request):
        if request.path == "/upstream":
            return Response(pieces(10**9, pause=1))
        upstream.append(ClientConnection(server.attach(), "a"))
        return Response(await upstream[-1].request("GET", "/upstream"))

    async with serving(app) as server:
        client = server.client()
        assert (await client.ask(get(method="HEAD"))).status == 200
        client.send(get())
        await asyncio.sleep(2)
        client.pipe.abort()
        await asyncio.sleep(3)
        assert len(upstream) == 2 and server.metrics.connections == 0
