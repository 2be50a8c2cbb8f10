"""ASGI: what an app gets and may do, and what becomes of an app that breaks the specification."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from h2_harness import Peer as Http2Peer
from h2_harness import StreamReset
from harness import Client, Serving, get, now, post, serving, virtual
from ws_harness import Peer, opening

from minproto import ASGI
from minproto.aio.asgi_http import NobodyReadsError
from minproto.core import RemoteProtocolError
from minproto.websocket import Close, Message

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"hi"}
MORE = {**BODY, "more_body": True}
ACCEPT = {"type": "websocket.accept"}
REFUSE = {"type": "websocket.http.response.start", "status": 401}
VERSIONS = pytest.mark.parametrize("version", ["1.1", "2"])


def sends(*messages: Any) -> Any:
    """An app that sends messages; an exception among them is raised, a number is a pause."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        for message in messages:
            if isinstance(message, Exception):
                raise message
            if isinstance(message, int | float):
                await asyncio.sleep(message)
            else:
                await send(message)

    return app


async def ask(server: Serving, version: str, target: str = "/", method: str = "GET") -> Any:
    """The answer to a request without content, in either version."""
    if version == "1.1":
        return await server.client().ask(get(target, method=method))
    peer = Http2Peer(server.attach())
    return await peer.answer(peer.ask(method, target))


# ---- what an app gets ------------------------------------------------------------------------------------------------


@virtual
async def test_the_scope_of_a_request() -> None:
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await send(START)
        await send(BODY)

    async with serving(ASGI(app, root_path="/api/")) as server:
        await server.client().ask(get("/a%20b?x=%201", "X-A: 1", "x-a: 2"))
    scope = scopes[0]
    assert scope["headers"] == [(b"host", b"a"), (b"x-a", b"1"), (b"x-a", b"2")]
    names = ("type", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")
    assert [scope[name] for name in names] == [
        "http", "1.1", "GET", "http", "/api/a b", b"/api/a%20b", b"x=%201", "/api",
    ]  # fmt: skip
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}


@virtual
async def test_a_request_of_http2() -> None:
    scopes = []

    async def app(scope, receive, send):
        scopes.append((scope["http_version"], scope["method"], dict(scope["headers"])[b"host"]))
        await sends(START, BODY)(scope, receive, send)

    async with serving(ASGI(app)) as server:
        assert (await ask(server, "2")).body == b"hi"
    assert scopes == [("2", "GET", b"a")]


@virtual
async def test_a_request_has_its_content_in_pieces_and_then_waits_for_the_end() -> None:
    received = []

    async def app(scope, receive, send):
        while True:
            received.append(await receive())
            if not received[-1].get("more_body"):
                break
        await send(START)
        await send(MORE)
        received.append(await receive())

    async with serving(ASGI(app)) as server:
        client = server.client()
        client.send(post("/", b"hello"))
        await asyncio.sleep(1)
        client.pipe.abort()
        await asyncio.sleep(1)
    assert b"".join(each.get("body", b"") for each in received) == b"hello"
    assert received[-1] == {"type": "http.disconnect"}


@virtual
async def test_head_gets_no_content() -> None:
    async with serving(ASGI(sends({**START, "headers": [(b"Content-Length", b"2")]}, BODY))) as server:
        answer = await server.client().ask(get(method="HEAD"))
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "2", b"")


@VERSIONS
@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/octet-stream"])
@virtual
async def test_head_ends_an_endless_stream(version: str, kind: bytes, logged) -> None:
    """Nobody gets its content, so the app's ``send`` raises, and the app ends."""
    pieces = 0

    async def app(scope, receive, send):
        nonlocal pieces
        await send({**START, "headers": [(b"content-type", kind), (b"content-length", b"9")]})
        while True:
            await send(MORE)
            pieces += 1
            await asyncio.sleep(1)

    async with serving(served := ASGI(app)) as server:
        answer = await ask(server, version, method="HEAD")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "9", b"")
        await asyncio.sleep(5)
        assert pieces <= 2 and not served._tasks
    assert logged == []


@VERSIONS
@virtual
async def test_pieces_are_sent_as_they_come(version: str) -> None:
    async with serving(ASGI(sends(START, MORE, 5, MORE, BODY))) as server:
        answer = await ask(server, version)
    assert (answer.status, answer.body) == (200, b"hihihi")


@virtual
async def test_a_slow_client_slows_the_app_down() -> None:
    sent = 0

    async def app(scope, receive, send):
        nonlocal sent
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
            sent += 10_000

    async with serving(ASGI(app)) as server:
        client = server.client(capacity=10_000)
        client.send(get())
        await asyncio.sleep(5)
        assert sent < 200_000
        client.pipe.abort()
        await asyncio.sleep(1)


@VERSIONS
@virtual
async def test_trailers_and_early_hints(version: str) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
    async with serving(ASGI(sends(hint, {**START, "trailers": True}, BODY, trailers))) as server:
        answer = await ask(server, version)
    assert (answer.interim, answer.body, answer.trailers) == ([103], b"hi", [("x-sum", "1")])


@virtual
async def test_work_after_the_response_delays_nobody() -> None:
    done = []

    async def app(scope, receive, send):
        await sends(START, BODY)(scope, receive, send)
        await asyncio.sleep(10)
        done.append(now())

    async with serving(served := ASGI(app)) as server:
        client = server.client()
        assert [(await client.ask(get())).at < 1 for _ in range(3)] == [True] * 3
    async with asyncio.timeout(20):
        await asyncio.wait(served._tasks)
    assert len(done) == 3


@VERSIONS
@virtual
async def test_fields_that_an_app_wrote_for_one_version_work_in_the_other(version: str) -> None:
    """Connection and Transfer-Encoding are HTTP/1.1's own: HTTP/2 gets an answer without them."""
    own = {**START, "headers": [(b"Connection", b"close"), (b"Transfer-Encoding", b"chunked"), (b"x-a", b"1")]}
    async with serving(ASGI(sends(own, MORE, BODY))) as server:
        answer = await ask(server, version)
    assert (answer.status, answer.body, answer.headers["x-a"]) == (200, b"hihi", "1")
    assert ("connection" in answer.headers, "transfer-encoding" in answer.headers) == (version == "1.1",) * 2


@VERSIONS
@pytest.mark.parametrize("status", [204, 304])
@virtual
async def test_a_status_without_content(version: str, status: int) -> None:
    head = {**START, "status": status}
    async with serving(ASGI(sends(head, {**MORE, "body": b""}, {**BODY, "body": b""}))) as server:
        answer = await ask(server, version)
    assert (answer.status, answer.body) == (status, b"")


# ---- a client that leaves, a server that stops -----------------------------------------------------------------------


@virtual
async def test_send_raises_after_the_client_has_left() -> None:
    raised = []

    async def app(scope, receive, send):
        await send(START)
        try:
            while True:
                await send(MORE)
                await asyncio.sleep(1)
        except ConnectionError as error:
            raised.append(type(error))

    async with serving(ASGI(app)) as server:
        client = server.client()
        client.send(get())
        await asyncio.sleep(2.5)
        client.pipe.abort()
        await asyncio.sleep(3)
    assert raised == [NobodyReadsError]


@VERSIONS
@virtual
async def test_an_endless_event_stream_does_not_hold_up_the_end(version: str) -> None:
    """Neither for an app that listens to ``receive``, nor for one that only sends."""
    told = []
    start = {**START, "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]}

    async def app(scope, receive, send):
        await send(start)
        if scope["path"] == "/receives":
            await receive()
            told.append((await receive())["type"])
            return
        while True:
            await send(MORE)
            await asyncio.sleep(1)

    server = Serving(ASGI(app), {})
    asking = [asyncio.create_task(ask(server, version, path)) for path in ("/receives", "/sends")]
    await asyncio.sleep(3)
    began = now()
    await server.server.close()
    assert now() - began < 5
    answers = await asyncio.gather(*asking)
    assert [answer.status for answer in answers] == [200, 200] and told == ["http.disconnect"]


@virtual
async def test_a_download_may_end_after_the_server_has_been_told_to_stop() -> None:
    server = Serving(ASGI(sends(START, MORE, 5, MORE, 5, BODY)), {})
    asking = asyncio.create_task(ask(server, "1.1"))
    await asyncio.sleep(1)
    await server.server.close()
    assert (await asking).body == b"hihihi"


@virtual
async def test_a_disconnect_is_told_to_a_receive_that_does_not_wait() -> None:
    """Starlette's ``is_disconnected`` cancels the first wait, and so polls."""
    polled: list[Any] = []

    async def app(scope, receive, send):
        await receive()
        for _ in range(2):
            await asyncio.sleep(2)
            poll = receive()
            try:
                poll.send(None)  # runs to its first wait
            except StopIteration as stop:
                polled.append(stop.value["type"])
            else:
                polled.append("waits")
                poll.close()
        await sends(START, BODY)(scope, receive, send)

    async with serving(ASGI(app)) as server:
        client = server.client()
        client.send(get())
        await asyncio.sleep(3)
        client.pipe.abort()
        await asyncio.sleep(3)
    assert polled == ["waits", "http.disconnect"]


@pytest.mark.parametrize("leave", ["close_write", "abort"])
@virtual
async def test_an_app_may_leave_out_an_answer_that_nobody_waits_for(leave: str, logged) -> None:
    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(ASGI(app)) as server:
        client = server.client()
        client.send(get())
        await asyncio.sleep(1)
        getattr(client.pipe, leave)()
        await asyncio.sleep(5)
    assert logged == []


@virtual
async def test_the_generators_of_an_app_end_as_soon_as_the_app_does() -> None:
    """No cycle through the app's exception keeps them: their ``finally`` runs without the garbage collector."""
    ended = []

    async def pieces() -> Any:
        try:
            while True:
                yield b"piece"
                await asyncio.sleep(1)
        finally:
            ended.append(now())

    async def app(scope, receive, send):
        await send(START)
        async for piece in pieces():
            await send({**MORE, "body": piece})

    gc.disable()
    try:
        async with serving(ASGI(app)) as server:
            client = server.client()
            client.send(get())
            await asyncio.sleep(2.5)
            client.pipe.abort()
            await asyncio.sleep(3)
            assert len(ended) == 1
    finally:
        gc.enable()


@VERSIONS
@virtual
async def test_an_empty_piece_sends_the_head(version: str) -> None:
    """Before the first byte of content, which may come late."""
    async with serving(ASGI(sends(START, {**MORE, "body": b""}, 100, BODY))) as server:
        if version == "2":
            peer = Http2Peer(server.attach())
            stream = peer.ask("GET", "/")
            await peer.until(lambda: peer.answers[stream].status != 0, stream)
            assert now() < 5
            assert (await peer.answer(stream)).body == b"hi"
            return
        client = server.client()
        client.send(get())
        assert (await client.pipe.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert now() < 5
        await asyncio.sleep(100)


@virtual
async def test_an_app_that_answers_after_the_server_has_stopped(logged) -> None:
    server = Serving(served := ASGI(sends(100, START, BODY)), {})
    server.client().send(get())
    await asyncio.sleep(1)
    await server.server.close()
    await asyncio.wait(served._tasks)
    assert logged == []


@virtual
async def test_a_websocket_app_that_outlives_its_connection(logged) -> None:
    """Its handler is cancelled after ``Timeouts.drain``; the app may go on, and its error is logged."""
    async with serving(served := ASGI(sends(ACCEPT, 1_000, RuntimeError("late")))) as server:
        ws, _ = await peer(server)
        ws.pipe.abort()
        await asyncio.wait(served._tasks)
    assert len(logged) == 1 and "late" in logged.pop()


# ---- apps that break the specification -------------------------------------------------------------------------------

BEFORE = {
    "content before its head": (BODY,),
    "an unknown message": ({"type": "http.response.push"},),
    "a message of a WebSocket": (ACCEPT,),
    "a message without a type": ({},),
    "None": (None,),
    "nothing": (),
    "a head alone": (START,),
    "two heads": (START, START),
    "an exception": (RuntimeError("boom"),),
    "an exception after the head": (START, RuntimeError("boom")),
    "a status that is none": ({**START, "status": "200"}, BODY),
    "an interim status": ({**START, "status": 100}, BODY),
    "a head without a status": ({"type": "http.response.start"},),
    "headers of str": ({**START, "headers": [("a", "b")]}, BODY),
    "a header of three": ({**START, "headers": [(b"a", b"b", b"c")]}, BODY),
    "an injected header": ({**START, "headers": [(b"a", b"b\r\nset-cookie: c=1")]}, BODY),
    "an injected name": ({**START, "headers": [(b"a: b\r\nc", b"d")]}, BODY),
    "content of str": (START, {**BODY, "body": "hi"}),
    "a number as content": (START, {**BODY, "body": 5}),
    "content of a 204": ({**START, "status": 204}, BODY),
    "content of a 304": ({**START, "status": 304}, BODY),
    "two Content-Lengths": ({**START, "headers": [(b"content-length", b"2"), (b"content-length", b"3")]}, BODY),
    "more than its Content-Length": ({**START, "headers": [(b"content-length", b"1")]}, BODY),
}


@VERSIONS
@pytest.mark.parametrize("messages", BEFORE.values(), ids=BEFORE)
@virtual
async def test_a_wrong_app_gets_a_500_and_one_line(version, messages, logged) -> None:
    async with serving(ASGI(sends(*messages))) as server:
        assert (await ask(server, version)).status == 500
    assert len(logged) == 1, logged
    logged.clear()


WITHIN = {
    "it returns": (),
    "it raises": (RuntimeError("boom"),),
    "another head": (START,),
    "content of str": ({**BODY, "body": "hi"},),
    "trailers that were not announced": ({"type": "http.response.trailers", "headers": []},),
    "less than its Content-Length": ({**BODY, "body": b""},),
}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (None, "send takes a dict with 'type', not None"),
        ("http.response.start", "send takes a dict with 'type', not 'http.response.start'"),
        ({}, "send takes a dict with 'type', not {}"),
        ({"type": "http.response.start"}, "send takes a dict with 'status', not {'type': 'http.response.start'}"),
        ({"type": "http.response.early_hint"}, "send takes a dict with 'links', not {'type': 'http.response.early_hint'}"),
    ],
)
@virtual
async def test_the_log_names_what_is_missing_from_a_message(message, error, logged) -> None:
    async with serving(ASGI(sends(message))) as server:
        assert (await ask(server, "1.1")).status == 500
    assert logged.pop().endswith(f"MisuseError: {error}")


@VERSIONS
@pytest.mark.parametrize("messages", WITHIN.values(), ids=WITHIN)
@virtual
async def test_in_the_middle_of_a_response_it_is_a_reset(version, messages, logged) -> None:
    start = {**START, "headers": [(b"content-length", b"9")]} if messages == WITHIN["less than its Content-Length"] else START
    async with serving(ASGI(sends(start, MORE, 1, *messages))) as server:
        with pytest.raises((StreamReset, ConnectionResetError, RemoteProtocolError)):
            await ask(server, version)
    assert len(logged) == 1, logged
    logged.clear()


@virtual
async def test_a_message_after_the_end_raises_in_the_app(logged) -> None:
    async with serving(ASGI(sends(START, BODY, BODY))) as server:
        assert (await ask(server, "1.1")).body == b"hi"
    assert "http.response.body came after the end of the response" in logged.pop()


@virtual
async def test_an_app_that_never_answers_is_cut_off_with_the_server() -> None:
    server = Serving(served := ASGI(sends(10_000)), {})
    server.client().send(get())
    await asyncio.sleep(1)
    await server.server.close()
    for task in served._tasks:
        task.cancel()
    await asyncio.wait(served._tasks)


# ---- WebSocket -------------------------------------------------------------------------------------------------------


async def dial(server: Serving, *fields: str) -> tuple[Client, Any]:
    client = server.client()
    return client, await client.ask(opening(*fields))


async def peer(server: Serving, *fields: str) -> tuple[Peer, Any]:
    client, answer = await dial(server, *fields)
    assert answer.status == 101
    return Peer(client.pipe, unread=client._unread), answer


@virtual
async def test_a_websocket_echoes_and_learns_of_the_close() -> None:
    received = []

    async def app(scope, receive, send):
        received.append(await receive())
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        received.append(message)

    async with serving(ASGI(app)) as server:
        ws, _ = await peer(server)
        ws.send(Message("hi"), Message(b"\0"))
        assert [await ws.data(), await ws.data()] == ["hi", b"\0"]
        ws.send(Close(4000, "bye"))
        assert await ws.event() == Close(4000)
        await ws.pipe.close()
    assert received == [
        {"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 4000, "reason": "bye"},
    ]  # fmt: skip


@virtual
async def test_the_app_chooses_a_subprotocol_and_adds_fields() -> None:
    accept = {**ACCEPT, "subprotocol": "Chat", "headers": [(b"X-A", b"1")]}
    async with serving(ASGI(sends(accept, {"type": "websocket.close", "code": 4001, "reason": "r"}))) as server:
        ws, answer = await peer(server, "Sec-WebSocket-Protocol: other, Chat")
        assert (answer.headers["sec-websocket-protocol"], answer.headers["x-a"]) == ("Chat", "1")
        assert await ws.event() == Close(4001, "r")
        await ws.pipe.close()


@virtual
async def test_a_websocket_over_http2() -> None:
    async def app(scope, receive, send):
        assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "ws")
        await send(ACCEPT)

    async with serving(ASGI(app)) as server:
        h2 = Http2Peer(server.attach())
        await asyncio.sleep(1)  # until the server's settings allow it
        stream = h2.open("CONNECT", "/", ("sec-websocket-version", "13"), protocol="websocket")
        await h2.until(lambda: h2.answers[stream].status != 0, stream)
        assert h2.answers[stream].status == 200
        h2.end(stream)
        await asyncio.sleep(5)
        await h2.close()


REFUSALS = {
    "close": (({"type": "websocket.close"},), 403, b"forbidden\n"),
    "a response": (
        (
            {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]},
            {"type": "websocket.http.response.body", "body": b"n", "more_body": True},
            {"type": "websocket.http.response.body", "body": b"o"},
        ), 401, b"no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "status", "body"), REFUSALS.values(), ids=REFUSALS)
@virtual
async def test_the_app_refuses_a_websocket(messages, status, body) -> None:
    async with serving(ASGI(sends(*messages))) as server:
        _, answer = await dial(server)
    assert (answer.status, answer.body) == (status, body)


WRONG = {
    "it returns": (),
    "it raises": (RuntimeError("boom"),),
    "it sends None": (None,),
    "a refusal with a number as content": (REFUSE, {"type": "websocket.http.response.body", "body": 5}),
    "it sends too early": ({"type": "websocket.send", "text": "hi"},),
    "a subprotocol that was not offered": ({**ACCEPT, "subprotocol": "chat"},),
    "an injected field": ({**ACCEPT, "headers": [(b"a", b"b\r\nc: d")]},),
}


@pytest.mark.parametrize("messages", WRONG.values(), ids=WRONG)
@virtual
async def test_a_wrong_app_refuses_with_500(messages, logged) -> None:
    async with serving(ASGI(sends(*messages))) as server:
        _, answer = await dial(server)
    assert answer.status == 500
    assert len(logged) == 1, logged
    logged.clear()


LATER = {
    "it raises": RuntimeError("boom"),
    "it accepts twice": ACCEPT,
    "it sends a response": START,
    "it sends a number": {"type": "websocket.send", "text": 1},
    "it sends nothing": {"type": "websocket.send"},
    "it sends None": None,
}


@pytest.mark.parametrize("message", LATER.values(), ids=LATER)
@virtual
async def test_later_it_is_a_1011(message, logged) -> None:
    async with serving(ASGI(sends(ACCEPT, 1, message))) as server:
        ws, _ = await peer(server)
        assert await ws.event() == Close(1011)
        await ws.pipe.close()
    assert len(logged) == 1, logged
    logged.clear()


@virtual
async def test_a_handshake_that_is_wrong_does_not_reach_the_app() -> None:
    async with serving(ASGI(sends(RuntimeError("called")))) as server:
        answer = await server.client().ask(opening(without="sec-websocket-key"))
    assert answer.status == 400


@virtual
async def test_the_server_stops_and_tells_the_websocket() -> None:
    received = []

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        received.append(await receive())

    server = Serving(ASGI(app), {})
    ws, _ = await peer(server)
    closing = asyncio.create_task(server.server.close())
    assert await ws.event() == Close(1001)
    ws.send(Close(1001))
    await closing
    assert received == [{"type": "websocket.disconnect", "code": 1001, "reason": ""}]


# ---- lifespan --------------------------------------------------------------------------------------------------------


@virtual
async def test_lifespan_and_its_state() -> None:
    seen = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"]["db"] = "open"
            seen.append((await receive())["type"])
            await send({"type": "lifespan.startup.complete"})
            seen.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append(scope["state"])
        await sends(START, BODY)(scope, receive, send)

    async with ASGI(app) as served, serving(served) as server:
        await ask(server, "1.1")
    assert seen == ["lifespan.startup", {"db": "open"}, "lifespan.shutdown"]


@virtual
async def test_an_app_without_a_lifespan(logged) -> None:
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await sends(START, BODY)(scope, receive, send)

    async with ASGI(app) as served, serving(served) as server:
        assert (await ask(server, "1.1")).status == 200
    assert logged == []


@virtual
async def test_an_app_that_raises_in_its_startup_is_served_and_the_log_says_why(logged) -> None:
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            raise RuntimeError("no database")
        await sends(START, BODY)(scope, receive, send)

    async with ASGI(app) as served, serving(served) as server:
        assert (await ask(server, "1.1")).status == 200
    assert "the app's startup failed" in logged[0] and "no database" in logged.pop()


@pytest.mark.parametrize("message", [None, {"type": "lifespan.started"}, START])
@virtual
async def test_a_lifespan_that_sends_a_wrong_message(message, logged) -> None:
    async def app(scope, receive, send):
        await receive()
        await send(message)

    async with ASGI(app):
        pass
    assert "the app's startup failed" in logged[0] and "MisuseError: " in logged.pop()


@pytest.mark.parametrize("when", ["while it serves", "in its shutdown"])
@virtual
async def test_an_app_that_raises_later_in_its_lifespan(when: str, logged) -> None:
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        if when == "in its shutdown":
            await receive()
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match=r"the app's lifespan failed: RuntimeError: no database"):
        async with ASGI(app):
            await asyncio.sleep(1)
    assert len(logged) == 1 and "no database" in logged.pop()


@virtual
async def test_work_that_does_not_end_is_cancelled_with_the_server(logged, caplog) -> None:
    """The log says that the server waits for it. That it is cancelled is no fault of the app."""
    ended = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await sends(START, BODY)(scope, receive, send)
        try:
            await asyncio.sleep(1_000)
        finally:
            ended.append(now())

    async with ASGI(app) as served, serving(served) as server:
        await ask(server, "1.1")
        began = now()
    await asyncio.sleep(0)
    assert 30 < ended[0] - began < 35
    assert logged == []
    assert caplog.messages == ["calls of the app that have not returned: 1; they are cancelled in 30 s (by Ctrl-C now)"]


@virtual
async def test_a_startup_that_fails_is_told() -> None:
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="the app's startup failed: no database"):
        async with ASGI(app):
            pass
