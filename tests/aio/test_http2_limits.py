"""What goes beyond a limit: HTTP/2 answers as HTTP/1.1 does, wherever a stream can carry an answer; the log says why not."""

import asyncio
from typing import Any

import pytest
from h2_harness import Answer as AnswerOf
from h2_harness import Peer, StreamReset, talking
from harness import serving, virtual

from minproto import AccessLog, Answer, Http2Limits, Request, Response
from minproto.http2 import GoAway
from minproto.http2_frames import ENHANCE_YOUR_CALM, MAX_HEADER_LIST_SIZE, PROTOCOL_ERROR, REFUSED_STREAM
from minproto.http2_streams import HALF_CLOSED_LOCAL


async def app(request: Request) -> Answer:
    match request.path:
        case "/cookies":
            return Response.text(str(request.headers.get_all("cookie")))
        case "/slow":
            await asyncio.sleep(5)
        case "/read":
            return Response.text(str(len(await request.read())))
    return Response.text("taken")


def raw(peer: Peer, *fields: tuple[str, str]) -> int:
    """Ask for something that our own core would not send."""
    stream = peer.core.next_stream
    peer.core._streams.next_id += 2
    block = peer.core._coder.encode([(":method", "GET"), (":scheme", "http"), (":authority", "a"), *fields])
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    for number, part in enumerate(parts):
        peer.raw(9 if number else 1, (0 if number else 1) | (4 if part is parts[-1] else 0), stream, part)
    peer.core._streams.add(stream, "GET").state = HALF_CLOSED_LOCAL
    peer.answers[stream] = AnswerOf()
    return stream


@virtual
async def test_cookie_crumbs_count_as_one_field() -> None:
    """RFC 9113 §8.2.3: browsers split them, to compress them better."""
    crumbs = [("cookie", f"name{number}=value") for number in range(120)]
    async with talking(app) as (_, peer):
        answer = await peer.get("/cookies", *crumbs)
        assert answer.body.decode() == str(["; ".join(value for _, value in crumbs)])


@virtual
async def test_cookie_crumbs_are_measured_as_one_field() -> None:
    """Each crumb would count 32 bytes more (§6.5.2): 1,500 of these are 13,494 bytes as one field, 69,000 as crumbs."""
    async with talking(app) as (_, peer):
        assert (await peer.get("/hello", *[("cookie", "abc=def")] * 1500)).status == 200


LARGE = [
    ("/", [(f"x-{number}", "y") for number in range(100)]),
    ("/", [("x", "y" * 30_000), ("z", "y" * 36_000)]),
    ("/", [("cookie", "y" * 30_000), ("cookie", "y" * 36_000)]),
    ("/" + "x" * 9_000, []),
    ("/?" + "x" * 9_000, [(f"x-{number}", "y") for number in range(200)]),
    ("/", []),
]
IDS = ["fields", "size", "cookies", "path", "both", "nothing"]


@pytest.mark.parametrize(("target", "fields"), LARGE, ids=IDS)
@virtual
async def test_a_head_beyond_a_limit_is_answered_as_in_http1(target: str, fields: list[tuple[str, str]]) -> None:
    """With a status that says which limit; nginx makes a 502 of a reset. The connection goes on."""
    async with talking(app) as (server, peer):
        client = server.client()
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        expected = await client.ask(f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
        await client.pipe.close()
        peer.core.peer_settings.pop(MAX_HEADER_LIST_SIZE, None)  # our client would keep to it
        answer = await peer.get(target, *fields)
        assert answer.status == expected.status
        assert ("date" in dict(answer.headers), answer.reset) == (True, None)
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_a_limit_of_ours_is_named_to_the_peer_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    async with talking(app, http2_limits=Http2Limits(max_headers=3), observers=[AccessLog(lines.append)]) as (_, peer):
        answer = await peer.get("/x", ("a", "1"), ("b", "2"), ("c", "3"))
    assert (answer.status, answer.body) == (431, b"4 fields, and max_headers is 3\n")
    assert [line for line in lines if '"GET /x HTTP/2" 431' in line]
    assert any("'GET /x' from memory is answered 431: 4 fields, and max_headers is 3" in line for line in caplog.messages)


@virtual
async def test_an_upload_whose_head_is_too_large_is_answered() -> None:
    """While its content comes: the answer is whole, then the rest is not wanted (NO_ERROR)."""
    async with talking(app) as (server, peer):
        stream = peer.open("POST", "/" + "x" * 9_000)
        await peer.upload(stream, b"content", end=False)
        assert (await peer.answer(stream)).status == 414
        await peer.until(lambda: peer.answers[stream].reset is not None)
        assert peer.answers[stream].reset == 0
        assert server.metrics.in_flight == 0


@pytest.mark.parametrize("count", [99, 200])
@virtual
async def test_trailers_beyond_a_limit_are_answered_431(count: int) -> None:
    async with talking(app) as (_, peer):
        stream = peer.open("POST", "/read")
        await peer.upload(stream, b"content", end=False)
        peer.end(stream, tuple((f"x-{number}", "y") for number in range(count)))
        assert (await peer.answer(stream)).status == (431 if count > 100 else 200)
        assert (await peer.get("/hello")).status == 200


@virtual
async def test_heads_that_are_too_large_do_not_use_up_the_connection() -> None:
    """Each is answered as any other request: no fault that a budget counts."""
    async with talking(app, http2_limits=Http2Limits(max_resets=5)) as (_, peer):
        for _ in range(20):
            assert (await peer.get("/" + "x" * 9_000)).status == 414


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([(":path", '/a"b')], "missing or invalid :path: '/a\"b'"),
        ([(":path", "/x"), ("host", "b")], ":authority 'a' and Host ['b']"),
        ([(":path", "/x"), ("content-length", "5")], "Content-Length is 5, and no content came"),
        ([(":path", "/x"), ("connection", "close")], "connection-specific field 'connection'"),
        ([(":path", "/x\n2026 forged")], "missing or invalid :path: '/x\\n2026 forged'"),
    ],
)
@virtual
async def test_why_a_request_is_malformed_is_logged(fields: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """And the access log says which it was."""
    lines: list[str] = []
    async with talking(app, observers=[AccessLog(lines.append)]) as (server, peer):
        stream = raw(peer, *fields)
        with pytest.raises(StreamReset) as reset:
            await peer.answer(stream)
        assert reset.value.code == PROTOCOL_ERROR
        assert server.metrics.in_flight == 0
    assert any("is answered PROTOCOL_ERROR: " in line and said in line and "\n" not in line for line in caplog.messages)
    assert [line for line in lines if '"GET /' in line and " 400 0" in line]


@virtual
async def test_a_client_can_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(app) as (_, peer):
        for _ in range(100):
            with pytest.raises(StreamReset):
                await peer.answer(raw(peer, (":path", '"')))
            peer.send(GoAway(0, ENHANCE_YOUR_CALM))
        assert len(caplog.messages) == 10


@virtual
async def test_content_that_is_not_as_long_as_declared_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(app) as (server, peer):
        stream = peer.open("POST", "/read", ("content-length", "3"))
        peer.raw(0, 1, stream, b"ab")
        with pytest.raises(StreamReset):
            await peer.answer(stream)
    assert (server.metrics.requests[400], 499 in server.metrics.requests) == (1, False)  # as over HTTP/1.1: it has not left
    said = "the request 'POST /read' from memory is answered PROTOCOL_ERROR: Content-Length is 3, and 2 bytes of content came"
    assert said in caplog.messages


@virtual
async def test_requests_that_were_sent_before_our_settings_are_refused_and_forgiven() -> None:
    """400 at once, with room for 100: the client could not know. The refusals use up no patience."""
    async with talking(app) as (server, peer):
        peer.core.peer_settings[3] = 1000
        streams = [peer.ask("GET", "/slow") for _ in range(400)]
        for stream in streams[:100]:
            assert (await peer.answer(stream)).status == 200
        assert [peer.answers[stream].reset for stream in streams[100:]] == [REFUSED_STREAM] * 300
        assert (await peer.get("/hello")).status == 200
        assert peer.goaways == []
        assert server.metrics.requests == {200: 101, 503: 300}


@virtual
async def test_what_belongs_to_refused_requests_is_forgiven() -> None:
    """Their content, its end, credit and resets were on their way."""
    async with talking(app, peer={"replies": False}) as (_, peer):
        peer.core.peer_settings[3] = 2_000
        for _ in range(1_500):
            stream = peer.open("POST", "/slow")
            peer.raw(0, 0, stream, b"content")
            peer.raw(0, 0, stream)
            peer.raw(8, 0, stream, (1_000).to_bytes(4, "big"))
            if stream > 200:
                peer.raw(3, 0, stream, bytes(4))
        peer.replies = True
        await peer.until(lambda: peer.answers[199].status)
        assert peer.goaways == []


@virtual
async def test_refusals_after_our_settings_were_acknowledged_have_an_end() -> None:
    """A client that knows how many streams it may open, and opens more and more, is none that made a mistake."""
    async with talking(app) as (_, peer):
        assert (await peer.get("/hello")).status == 200
        peer.core.peer_settings[3] = 10_000
        for _ in range(101 + Http2Limits().max_resets):
            peer.ask("GET", "/slow")
        await peer.ends()
        assert [goaway.code for goaway in peer.goaways] == [ENHANCE_YOUR_CALM]


@virtual
async def test_requests_after_our_goaway_are_forgiven() -> None:
    """They may have been on their way: those before them get their answers."""
    async with talking(app) as (server, peer):
        slow = peer.ask("GET", "/slow")
        await asyncio.sleep(1)
        closing = asyncio.create_task(server.server.close())
        await peer.until(lambda: len(peer.goaways) == 2)
        peer.core.going_away = None
        peer.core.peer_settings[3] = 10_000
        for _ in range(2 * Http2Limits().max_idle_frames):
            peer.raw(3, 0, peer.ask("GET", "/hello"), bytes(4))
        assert (await peer.answer(slow)).body == b"taken"
        assert all(goaway.code == 0 for goaway in peer.goaways)
        await closing
        server.server._draining = False


@virtual
async def test_a_goaway_of_the_client_is_logged_with_its_code_and_text(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(app) as (_, peer):
        peer.send(GoAway(0, ENHANCE_YOUR_CALM, b"too_many_pings"))
        assert (await peer.get("/hello")).status == 200
    assert any("ENHANCE_YOUR_CALM ('too_many_pings')" in line for line in caplog.messages)


@virtual
async def test_why_we_end_a_connection_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(app) as (_, peer):
        peer.raw(6, 0, 1, bytes(8))
        await peer.ends()
    assert any("PROTOCOL_ERROR (a frame of the connection came on a stream)" in line for line in caplog.messages)


@virtual
async def test_both_versions_have_the_same_limits_of_a_head() -> None:
    async with serving(app) as server:
        one, two = server.server.config.limits, server.server.config.http2_limits
        for name in ("max_start_line", "max_head", "max_headers"):
            assert getattr(one, name) == getattr(two, name)
