"""Our client, against our server and against answers that no server of ours would give."""

import asyncio

import pytest
from harness import answering, now, pieces, serving, virtual

from minproto import ClientConnection, LocalProtocolError, RemoteProtocolError, RequestRefused, Response, Timeouts
from minproto.aio import http1_client, http2_client, sockets
from minproto.testing import network


async def app(request):
    match request.path:
        case "/what":
            words = [request.head.method, request.target, request.authority, str(request.headers.get("x"))]
            return Response.text(" ".join(words))
        case "/echo":
            response = Response(request.body)
            response.trailers.append(("x-trailer", "last"))
            return response
        case "/count":
            return Response(b"%d" % sum([len(piece) async for piece in request.body]))
        case "/stream":
            return Response(pieces(3, pause=1))
    return Response(status=204)


def saying(*words, fin=True):
    """A server that reads something, then says this, a second for each."""

    async def answer(pipe):
        await pipe.read()
        for word in words:
            pipe.write(word)
            await asyncio.sleep(1)
        if fin:
            pipe.close_write()
        while await pipe.read():
            pass

    return answer


# ---- requests --------------------------------------------------------------------------------------------------------


@virtual
async def test_one_connection_is_used_again_and_again():
    """RFC 9112 §9.3; every kind of body, in both directions, ends where it should."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "example.org:80")
        for _ in range(2):
            response = await client.request("GET", "/what?q", [("X", "y")])
            assert (response.status, await response.read()) == (200, b"GET /what?q example.org:80 y")
            response = await client.request("HEAD", "/what")
            assert (response.headers.get("content-length") != "0", await response.read()) == (True, b"")
            response = await client.request("POST", "/echo", body=b"known")
            assert await response.read() == b"known"
            response = await client.request("PUT", "/nothing")
            assert (response.status, await response.read()) == (204, b"")
        assert server.metrics.connections == 1
        await client.close()


def written(head):
    """The field lines of a head on the wire."""
    return head.decode().split("\r\n")[1:-2]


@pytest.mark.parametrize(
    ("method", "target", "fields", "body", "sent"),
    [
        ("GET", "/", [], b"", ["host: a"]),
        ("POST", "/", [], b"", ["host: a", "content-length: 0"]),
        ("POST", "/", [("Content-Length", "3")], b"abc", ["host: a", "content-length: 3"]),
        ("POST", "/", [("Content-Length", "5")], pieces, ["host: a", "content-length: 5"]),
        ("POST", "/", [], pieces, ["host: a", "transfer-encoding: chunked"]),
        ("POST", "/", [("Transfer-Encoding", "chunked")], pieces, ["host: a", "transfer-encoding: chunked"]),
        ("POST", "/", [("Transfer-Encoding", "chunked")], b"abc", ["host: a", "transfer-encoding: chunked"]),
        ("GET", "http://b.example:81/", [], b"", ["host: b.example:81"]),
        ("CONNECT", "b.example:80", [], b"", ["host: b.example:80"]),
        ("GET", "http://b.example/", [("Host", "c")], b"", ["host: c"]),
        ("GET", "/", [("TE", "trailers")], b"", ["host: a", "te: trailers", "connection: TE"]),  # RFC 9110 §10.1.4
        ("GET", "/", [("TE", "a"), ("Connection", "x, te")], b"", ["host: a", "te: a", "connection: x, te"]),
        ("GET", "/", [("Upgrade", "x")], b"", ["host: a", "upgrade: x", "connection: upgrade"]),  # RFC 9110 §7.8
        ("GET", "/", [("Upgrade", "x"), ("Connection", "Upgrade")], b"", ["host: a", "upgrade: x", "connection: Upgrade"]),
    ],
)
@virtual
async def test_a_field_is_sent_once(method, target, fields, body, sent):
    """What the caller gave, or else what is needed; Host is that of the target (RFC 9112 §3.2)."""
    heads = []

    async def answer(pipe):
        data = await pipe.read()
        while not data.endswith((b"0\r\n\r\n", b"abc", b"piece")) and method == "POST" and body:
            data += await pipe.read()
        heads.append(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        pipe.write(b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n")
        await pipe.read()

    async with answering(answer) as client:
        response = await client.request(method, target, fields, pieces(1) if body is pieces else body)
        assert (response.status, await response.read(), written(heads[0])) == (404, b"", sent)


@virtual
async def test_content_may_be_made_while_it_is_sent_and_used_while_it_arrives():
    """Chunked one way and the other (RFC 9112 §7.1), with trailers."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        response = await client.request("POST", "/count", body=pieces(3, pause=1))
        assert (await response.read(), now()) == (b"15", 3)
        response = await client.request("GET", "/stream")
        assert [(now(), piece) async for piece in response] == [(3, b"piece"), (4, b"piece"), (5, b"piece")]
        response = await client.request("POST", "/echo", body=pieces(3))
        assert (await response.read(), response.trailers) == (b"piecepiecepiece", [("x-trailer", "last")])
        await client.close()


@virtual
async def test_an_upload_goes_no_faster_than_it_is_taken():
    """A server that does not read stops what makes the content."""
    made = []

    async def content():
        for _ in range(1000):
            made.append(1)
            yield bytes(10_000)

    async def slow(pipe):
        for _ in range(20):
            await asyncio.sleep(1)
            await pipe.read()
        pipe.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        while await pipe.read():
            pass

    async with answering(slow) as client:
        response = await client.request("POST", "/", body=content())
        assert response.status == 200 and len(made) < 200


@virtual
async def test_an_answer_may_begin_before_the_upload_ends():
    """RFC 9112 §9.5 lets a client go on; what is echoed comes back while it is sent."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        response = await client.request("POST", "/echo", body=pieces(3, pause=1))
        assert [(now(), piece) async for piece in response] == [(0, b"piece"), (1, b"piece"), (2, b"piece")]
        assert (await client.request("GET", "/what")).status == 200
        await client.close()


@virtual
async def test_after_an_early_answer_the_next_request_waits_for_the_upload():
    """RFC 9112 §9.3: a client that goes on with the connection has to send all of the content first."""

    async with answering(early_answer) as client:
        assert await (await client.request("POST", "/", body=pieces(3, pause=1))).read() == b"early"
        assert now() == 0
        assert (await client.request("GET", "/")).status == 204
        assert now() == 3


async def early_answer(pipe):
    """A server that answers a request at once, reads it to its end, and answers the next."""
    data = await pipe.read()
    pipe.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
    while data and not data.endswith(b"0\r\n\r\n"):
        data = await pipe.read()
    if await pipe.read():
        pipe.write(b"HTTP/1.1 204 \r\n\r\n")
    while await pipe.read():
        pass


@virtual
async def test_after_an_early_101_the_new_protocol_waits_for_the_upload():
    """RFC 9110 §7.8: a client can't begin it before the request is complete."""
    received = bytearray()

    async def answer(pipe):
        received.extend(await pipe.read())
        pipe.write(SWITCHING)
        while data := await pipe.read():
            received.extend(data)

    async with answering(answer) as client:
        response = await client.request("POST", "/", [("upgrade", "x")], pieces(3, pause=1))
        assert (response.status, now()) == (101, 3)
        response.pipe.write(b"new")
        await asyncio.sleep(1)
        assert received.endswith(b"\r\n\r\n" + b"5\r\npiece\r\n" * 3 + b"0\r\n\r\nnew")


SWITCHING = b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"


@virtual
async def test_an_upload_that_fails_after_an_early_101_fails_the_request():
    """The rest of the request can't be sent any more, so the new protocol can't begin."""

    async def content():
        yield b"some"
        await asyncio.sleep(1)
        raise ValueError("of the caller")

    async with answering(saying(SWITCHING)) as client:
        with pytest.raises(ValueError, match="of the caller"):
            await client.request("POST", "/", [("upgrade", "x")], content())
        with pytest.raises(RequestRefused, match="of the caller"):
            await client.request("GET", "/")


@virtual
async def test_a_request_that_is_cancelled_after_an_early_101_ends_its_upload():
    closed = []
    async with answering(saying(SWITCHING, fin=False)) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await client.request("POST", "/", [("upgrade", "x")], pieces(9, pause=1, closed=closed))
        assert closed == [1.5]
        with pytest.raises(RequestRefused, match="given up"):
            await client.request("GET", "/")


@virtual
async def test_an_upload_that_fails_after_its_answer_is_told_to_the_next_request():
    """Nobody else can be told; and a request that was broken off is the last."""

    async def content():
        yield b"some"
        await asyncio.sleep(1)
        raise ValueError("of the caller")

    async with answering(early_answer) as client:
        assert await (await client.request("POST", "/", body=content())).read() == b"early"
        for _ in range(2):
            with pytest.raises(ConnectionError, match="of the caller"):
                await client.request("GET", "/")


@virtual
async def test_a_connection_that_is_lost_after_an_early_answer_is_used_up():
    """Also where only the upload has seen that."""

    async def answer(pipe):
        await pipe.read()
        pipe.write(HEAD + b"Content-Length: 5\r\n\r\nearly")
        await asyncio.sleep(1)
        pipe.abort()

    async with answering(answer) as client:
        assert await (await client.request("POST", "/", body=pieces(9, bytes(100_000), pause=1))).read() == b"early"
        with pytest.raises(ConnectionError, match="used up"):
            await client.request("GET", "/")


@pytest.mark.parametrize("piece", ["text", None, bytearray(b"a"), memoryview(b"a")], ids=["str", "None", "array", "view"])
@virtual
async def test_pieces_that_are_no_bytes_are_refused(piece):
    """They would be of another length than is said of them, or change while they wait."""

    async def content():
        yield piece

    async with answering(saying(b"HTTP/1.1 200 ", fin=False)) as client:
        with pytest.raises(TypeError, match="content has to be bytes, not"):
            await client.request("POST", "/", body=content())


@virtual
async def test_an_upload_may_take_longer_than_an_answer():
    """The time for an answer begins when all is sent."""

    async def answer(pipe):
        while not (await pipe.read()).endswith(b"0\r\n\r\n"):
            pass
        await asyncio.sleep(74)
        pipe.write(b"HTTP/1.1 204 \r\n\r\n")
        while await pipe.read():
            pass

    async with answering(answer) as client:
        assert (await client.request("POST", "/", body=pieces(100, pause=1))).status == 204
        assert now() == 174
    async with answering(saying(fin=False)) as client:
        with pytest.raises(TimeoutError):
            await client.request("POST", "/", body=pieces(100, pause=1))
        assert now() == 174 + 100 + 75


@pytest.mark.parametrize("streaming", [False, True])
@virtual
async def test_a_server_that_takes_no_content_is_given_up(streaming):
    """After Timeouts.write, whether the content was there or made while it was sent."""

    async def deaf(pipe):
        await asyncio.sleep(1000)

    async with answering(deaf) as client:
        with pytest.raises(ConnectionError, match="does not read"):
            await client.request("POST", "/", body=pieces(9, bytes(100_000)) if streaming else bytes(900_000))
        assert now() == Timeouts().write


def losing(data):
    """A client whose uploads break: what is written is lost, but not, as on TCP, what had arrived. Then the input ends."""
    ours, theirs = network.pair()
    loop = asyncio.get_running_loop()

    async def drain():
        raise ConnectionResetError

    ours.drain, ours.abort = drain, lambda: loop.call_at(2, theirs.close_write)
    loop.call_at(1, theirs.write, data)
    return ClientConnection(ours, "a")


@pytest.mark.parametrize("streaming", [False, True])
@virtual
async def test_a_refusal_is_read_though_the_upload_broke(streaming):
    """A server that refuses content, and does not read it away, resets the connection; the reason may have arrived."""
    client = losing(b"HTTP/1.1 413 \r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
    response = await client.request("POST", "/", body=pieces(9, bytes(100_000)) if streaming else bytes(900_000))
    assert (response.status, await response.read(), now()) == (413, b"big", 1)
    with pytest.raises(ConnectionError, match="used up"):
        await client.request("GET", "/")


@virtual
async def test_an_answer_that_ends_with_a_broken_upload_is_a_lost_connection():
    """Not one that the server has left incomplete; and so it stays."""
    response = await losing(HEAD + b"Content-Length: 9\r\n\r\nsome").request("POST", "/", body=bytes(900_000))
    for _ in range(2):
        with pytest.raises(ConnectionError, match="does not read"):
            await response.read()


@virtual
async def test_an_upload_may_fail_with_what_a_connection_fails_with():
    """It is the caller's error all the same, such as of another connection that the content comes from."""

    async def content():
        yield b"some"
        await asyncio.sleep(1)
        raise ConnectionResetError("of the caller")

    async with answering(saying(HEAD + b"Content-Length: 9\r\n\r\nsome", fin=False)) as client:
        response = await client.request("POST", "/", body=content())
        for _ in range(2):
            with pytest.raises(ConnectionResetError, match="of the caller"):
                await response.read()
        assert now() == 1


@virtual
async def test_the_last_request_is_sent_to_its_end_though_its_answer_has_begun():
    """RFC 9112 §9.6: a server that says "close" closes after its response, which may need all of the content."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        response = await client.request("POST", "/echo", [("connection", "close")], pieces(3, pause=1))
        assert (response.headers.get("connection"), await response.read()) == ("close", b"piece" * 3)
        await asyncio.sleep(1)
        assert server.metrics.connections == 0


@virtual
async def test_the_last_response_ends_an_upload_that_it_did_not_need():
    """What the server will not read any more is not made any more, either."""
    closed = []
    words = [HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\no", b"k"]
    async with answering(saying(*words, fin=False)) as client:
        response = await client.request("POST", "/", body=pieces(10**9, pause=1, closed=closed))
        assert (await response.read(), closed, client.endpoint.pipe.congested) == (b"ok", [1], True)


@virtual
async def test_the_last_response_does_not_wait_for_content_that_nobody_takes():
    async def answer(pipe):
        await pipe.read()
        pipe.write(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok")
        await asyncio.sleep(1000)

    async with answering(answer) as client:
        response = await client.request("POST", "/", body=bytes(900_000))
        assert (await response.read(), now()) == (b"ok", 0)


@pytest.mark.parametrize("who", ["client", "response"])
@virtual
async def test_closing_stops_an_upload(who):
    """What made the content is let go of, and the server sees a request broken off, not a shorter one."""
    closed = []
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        response = await client.request("POST", "/echo", body=pieces(10**9, pause=1, closed=closed))
        assert await anext(response) == b"piece"
        await (client if who == "client" else response).close()
        assert closed == [0]


@pytest.mark.parametrize("piece", [b"small", bytes(100_000)])
@virtual
async def test_an_early_answer_stops_the_upload(piece):
    """RFC 9112 §9.5: a client SHOULD watch for it while it sends; what made the content is let go of."""
    closed = []
    async with answering(saying(b"HTTP/1.1 413 \r\nContent-Length: 3\r\n\r\nbig", fin=False)) as client:
        response = await client.request("POST", "/", body=pieces(10**9, piece, pause=len(piece) < 9, closed=closed))
        assert (response.status, await response.read()) == (413, b"big")
        assert closed == [now()]
        with pytest.raises(ConnectionError, match="used up"):  # the request can't be finished, so there is no next one
            await client.request("GET", "/")


# ---- endings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["ours", "the server's"])
@virtual
async def test_the_last_response_closes_the_connection(whose):
    """RFC 9112 §9.6: a client that sends or receives "close" MUST close after it has read that response."""
    ended = []

    async def answer(pipe):
        await pipe.read()
        close = b"" if whose == "ours" else b"Connection: close\r\n"
        pipe.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok" % close)
        ended.append(await pipe.read())

    async with answering(answer) as client:
        response = await client.request("GET", "/", [("connection", "close")] if whose == "ours" else [])
        assert await response.read() == b"ok"
        await asyncio.sleep(1)
        assert ended == [b""]


@virtual
async def test_a_request_that_was_broken_off_closes_the_connection():
    """The server wants to go on with the connection (no Connection: close), but nothing can follow half a request."""
    async with answering(saying(b"HTTP/1.1 403 \r\nContent-Length: 2\r\n\r\nno", fin=False)) as client:
        assert await (await client.request("POST", "/", body=pieces(9, pause=1))).read() == b"no"
        assert client.endpoint.pipe.congested  # it is closed


@pytest.mark.parametrize("how", ["timeout", "close", "give up"])
@virtual
async def test_our_own_end_does_not_complete_a_response(how):
    """RFC 9112 §6.3: a body that goes until the connection ends is complete when the server has ended it."""
    async with answering(saying(b"HTTP/1.1 200 OK\r\n\r\nsome", b"", b"", b" more")) as client:
        response = await client.request("GET", "/")
        assert await anext(response) == b"some"
        with pytest.raises(ConnectionError) if how == "close" else pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                if how == "close":
                    asyncio.get_running_loop().call_soon(asyncio.create_task, client.close())
                await anext(response)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await response.read()
        with pytest.raises(ConnectionError, match="used up"):
            await client.request("GET", "/")


@virtual
async def test_who_closes_is_not_told_that_the_server_did():
    async with answering(saying(fin=False)) as client:
        asking = asyncio.create_task(client.request("GET", "/"))
        await asyncio.sleep(1)
        await client.close()
        with pytest.raises(ConnectionResetError, match="the connection was closed"):
            await asking


@pytest.mark.parametrize("module", [http1_client, http2_client])
@virtual
async def test_connecting_takes_no_longer_than_a_handshake(module, monkeypatch):
    """Of TCP and TLS together."""

    monkeypatch.setattr(sockets, "dial", lambda *_: asyncio.sleep(1000))
    connect = http1_client.connect_http if module is http1_client else http2_client.connect_http2
    with pytest.raises(TimeoutError):
        await connect("a", 80, timeouts=Timeouts(handshake=3))
    assert now() == 3


# ---- answers ---------------------------------------------------------------------------------------------------------


@virtual
async def test_interim_answers_are_passed_over():
    """RFC 9110 §15.2: a client MUST be able to parse one or more 1xx before the final one, even unexpectedly."""
    words = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 \r\n\r\n"]
    async with answering(saying(*words)) as client:
        response = await client.request("GET", "/")
        assert (response.status, response.headers, now()) == (204, [], 1)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@virtual
async def test_an_answer_without_a_length_goes_until_close(version):
    """RFC 9112 §6.3, rule 8."""
    async with answering(saying(b"HTTP/%b 200 OK\r\n\r\nsome" % version, b" more")) as client:
        assert await (await client.request("GET", "/")).read() == b"some more"


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n\r\nfour",
        HEAD + b"Content-Length: five\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
    ],
)
@pytest.mark.parametrize("body", [b"", pieces], ids=["bytes", "iterator"])
@virtual
async def test_a_broken_answer_raises(answer, body):
    """RFC 9112 §8: what is incomplete or not HTTP is never taken for an answer, whatever was being sent."""
    async with answering(saying(answer)) as client:
        with pytest.raises(RemoteProtocolError) as caught:
            await (await client.request("POST", "/", body=body if body == b"" else pieces(9, pause=1))).read()
        assert caught.value.code == 0  # a status would be the server's


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200"])
@pytest.mark.parametrize("body", [b"", pieces], ids=["bytes", "iterator"])
@virtual
async def test_an_end_before_an_answer_is_a_lost_connection(answer, body):
    """The server breaks no rule of HTTP; asking again may help."""
    async with answering(saying(answer)) as client:
        with pytest.raises(ConnectionResetError, match="before it answered"):
            await client.request("POST", "/", body=body if body == b"" else pieces(9, pause=1))


@pytest.mark.parametrize("when", [0.5, 1.5])
@pytest.mark.parametrize("streaming", [False, True])
@virtual
async def test_a_reset_raises(streaming, when):
    """Before the answer, or within."""

    async def answer(pipe):
        await asyncio.sleep(1)
        pipe.write(HEAD + b"Content-Length: 5\r\n\r\n")
        await asyncio.sleep(1)

    async with answering(answer) as client:
        asyncio.get_running_loop().call_at(when, client.endpoint.pipe.abort)
        with pytest.raises(ConnectionError):
            await (await client.request("POST", "/", body=pieces(9, pause=1) if streaming else b"")).read()


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("good", [b"HTTP/1.1 204 \r\n\r\n", HEAD + b"Content-Length: 2\r\n\r\nhi"])
@virtual
async def test_data_that_nobody_asked_for_is_not_an_answer(good, late):
    """RFC 9112 §9.2: MUST NOT be taken for the answer to a request that is sent later, wherever it waits for that."""
    forged = HEAD + b"Content-Length: 6\r\n\r\nforged"
    async with answering(saying(*([good, forged] if late else [good + forged]), fin=False)) as client:
        await (await client.request("GET", "/")).read()
        await asyncio.sleep(2 * late)
        with pytest.raises(RequestRefused, match=r"said 'HTTP/1.1 200 OK'"):
            await client.request("GET", "/")


@virtual
async def test_an_answer_before_the_first_question_is_none():
    """The same for what a server says to a connection that has asked nothing yet."""

    async def hasty(pipe):
        pipe.write(HEAD + b"Content-Length: 0\r\n\r\n")
        while await pipe.read():
            pass

    async with answering(hasty) as client:
        await asyncio.sleep(1)
        with pytest.raises(RequestRefused):
            await client.request("GET", "/")


@virtual
async def test_a_request_is_not_sent_to_a_server_that_has_closed():
    """So that it can be made again elsewhere, whatever it is: nobody has seen it."""
    seen = []

    async def answer(pipe):
        seen.append(await pipe.read())
        pipe.write(HEAD + b"Content-Length: 0\r\n\r\n")
        pipe.close_write()
        while data := await pipe.read():
            seen.append(data)

    async with answering(answer) as client:
        await (await client.request("GET", "/")).read()
        await asyncio.sleep(1)
        for told in ("has closed the connection", "used up"):
            with pytest.raises(RequestRefused, match=told):
                await client.request("POST", "/pay")
        await asyncio.sleep(1)
        assert len(seen) == 1


@virtual
async def test_two_requests_at_once_are_a_mistake_of_the_second():
    """It changes nothing for the first."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        first, second = await asyncio.gather(*(client.request("GET", "/what") for _ in range(2)), return_exceptions=True)
        assert isinstance(second, LocalProtocolError) and (await first.read()).startswith(b"GET /what")
        await client.close()


@virtual
async def test_a_connection_that_was_closed_is_not_used_again():
    """RFC 9112 §9.6: after ``Connection: close`` there is no next answer."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        await (await client.request("GET", "/what", [("Connection", "close")])).read()
        with pytest.raises(ConnectionError, match="used up"):
            await client.request("GET", "/what")
        await client.close()


@pytest.mark.parametrize("words", [[], [HEAD + b"Content-Length: 5\r\n\r\n"]])
@virtual
async def test_a_server_that_keeps_still_is_given_up(words):
    """A client's waits have an end, too."""
    async with answering(saying(*words, fin=False)) as client:
        with pytest.raises(TimeoutError):
            await (await client.request("GET", "/")).read()
        assert now() <= Timeouts().idle


@virtual
async def test_what_cannot_be_sent_is_not():
    """Request splitting; the connection is as good as before."""
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        for method, target, fields in [
            ("GET", "/ HTTP/1.1\r\nX: y", []),
            ("GET\r\n", "/", []),
            ("GET", "/", [("x", "a\r\nb: c")]),
            ("POST", "/", [("content-length", "3")]),
            ("POST", "", []),
        ]:
            with pytest.raises(LocalProtocolError):
                await client.request(method, target, fields, b"four")
        with pytest.raises(LocalProtocolError, match="not the length"):
            await client.request("GET", "/", [("content-length", "5")])
        for body in ("text", bytearray(b"four"), [b"four"], pieces):
            with pytest.raises(TypeError, match=f"bytes or an async iterator, not {type(body).__name__}"):
                await client.request("POST", "/", body=body)
        with pytest.raises(TypeError, match="a pair of a name and a value"):
            await client.request("GET", "/", ["te"])
        response = await client.request("GET", "/what")
        assert response.status == 200
        with pytest.raises(LocalProtocolError, match="read the response to its end first"):
            await client.request("GET", "/what")
        assert (await response.read()).startswith(b"GET /what")
        await client.close()


@virtual
async def test_an_upload_that_fails_raises_its_own_error():
    """And the server sees that the request was broken off: never a complete one (RFC 9112 §8)."""
    seen = []

    async def app(request):
        try:
            seen.append(await request.read())
        except (ConnectionError, asyncio.CancelledError):
            seen.append("broken off")
            raise

    async def content():
        yield b"some"
        await asyncio.sleep(1)
        raise ValueError("of the caller")

    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        with pytest.raises(ValueError, match="of the caller"):
            await client.request("POST", "/", body=content())
        await asyncio.sleep(1)
        assert seen == ["broken off"]


@virtual
async def test_a_response_that_is_given_up_ends_the_connection():
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "example.org")
        response = await client.request("GET", "/stream")
        assert await anext(response) == b"piece"
        await response.close()
        await response.close()
        await asyncio.sleep(3)
        assert server.metrics.connections == 0
        with pytest.raises(ConnectionError, match="used up"):
            await client.request("GET", "/what")
