"""Our client, against our server and against answers that no server of ours would give."""

import asyncio

import pytest
from harness import answering, now, pieces, serving, virtual

from minproto import ClientConnection, LocalProtocolError, RemoteProtocolError, Response, Timeouts


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
async def test_closing_stops_an_upload():
    """What made the content is let go of, and the server sees a request broken off, not a shorter one."""
    closed = []
    async with serving(app) as server:
        client = ClientConnection(server.attach(), "a")
        response = await client.request("POST", "/echo", body=pieces(10**9, pause=1, closed=closed))
        assert await anext(response) == b"piece"
        await client.close()
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
        with pytest.raises(LocalProtocolError):  # the request can't be finished, so there is no next one
            await client.request("GET", "/")


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
        with pytest.raises(RemoteProtocolError):
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
        with pytest.raises(RemoteProtocolError):
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
        with pytest.raises(ConnectionError):
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
        with pytest.raises(LocalProtocolError):
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
        ]:
            with pytest.raises(LocalProtocolError):
                await client.request(method, target, fields, b"four")
        response = await client.request("GET", "/what")
        assert response.status == 200
        with pytest.raises(LocalProtocolError):  # one at a time
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
        except ConnectionError:
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
        with pytest.raises((LocalProtocolError, ConnectionError)):
            await client.request("GET", "/what")
