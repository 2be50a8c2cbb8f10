"""One task runs an app's iterator from its first step to its ``finally``: content of both HTTP versions, uploads of both
clients, and the fragments of a message. EventStream's iterators are in test_sse_server.py."""

import asyncio
from contextvars import ContextVar

import pytest
from harness import get, now, serving, virtual
from ws_harness import talking

from minproto import ClientConnection, RemoteProtocolError, Response
from minproto.aio import http2_client
from minproto.websocket import Close

PLACE = ContextVar("place", default="")


def client_on(pipe, version):
    return ClientConnection(pipe, "a") if version == "1.1" else http2_client.ClientConnection(pipe, "a", "http")


async def response(iterator, version):
    """What comes of it as the content of a response."""

    async def app(request):
        PLACE.set("handler")
        return Response(iterator)

    async with serving(app) as server, client_on(server.attach(), version) as client:
        return await (await client.request("GET", "/")).read()


async def upload(iterator, version):
    """What comes of it as the content of a request."""

    async def app(request):
        return Response(await request.read())

    async with serving(app) as server, client_on(server.attach(), version) as client:
        PLACE.set("handler")
        return await (await client.request("POST", "/", body=iterator)).read()


async def message(iterator, version):
    """What comes of it as the fragments of a message."""

    async def handler(ws):
        PLACE.set("handler")
        await ws.send(iterator)

    async with talking(handler) as (_, peer):
        data = await peer.data()
        await peer.close()
        return data


WAYS = pytest.mark.parametrize(
    ("way", "version"),
    [(response, "1.1"), (response, "2"), (upload, "1.1"), (upload, "2"), (message, "1.1")],
    ids=["response of HTTP/1.1", "response of HTTP/2", "upload of HTTP/1.1", "upload of HTTP/2", "message of a WebSocket"],
)


@WAYS
@virtual
async def test_one_task_and_one_context_run_an_iterator(way, version):
    """What the iterator sets before its first ``yield``, it finds after the later ones; and it finds what its user has set."""
    tasks, places = [], []

    def look():
        tasks.append(asyncio.current_task())
        places.append(PLACE.get())

    async def iterator():
        try:
            look()
            PLACE.set("iterator")
            for piece in (b"a", b"b", b"c"):
                yield piece
                look()
                await asyncio.sleep(1)
        finally:
            look()

    assert await way(iterator(), version) == b"abc"
    assert places == ["handler", *["iterator"] * 4]
    assert len(tasks) == 5 and len(set(tasks)) == 1


@WAYS
@virtual
async def test_a_timeout_may_span_a_yield(way, version):
    times = []

    async def iterator():
        yield b"first "
        try:
            async with asyncio.timeout(5):
                while True:
                    yield b"a"
                    await asyncio.sleep(2)
        except TimeoutError:
            times.append(now())
            yield b"timeout"

    assert await way(iterator(), version) == b"first aaatimeout"
    assert times == [5]


# ---- a cancellation while the iterator stands at its yield, since its peer is slow ---------------------------------------


LARGE = bytes(200_000)


async def slow_response(iterator, version):
    """The content of a response whose client reads only after ten seconds."""

    async def app(request):
        return Response(iterator)

    async with serving(app) as server:
        if version == "2":
            async with client_on(server.attach(), version) as visitor:
                response = await visitor.request("GET", "/")
                await asyncio.sleep(10)
                return await response.read()
        client = server.client()
        client.send(get("/"))
        await asyncio.sleep(10)
        return (await client.answer()).body


async def slow_upload(iterator, version):
    """The content of a request whose server reads only after ten seconds."""

    async def app(request):
        await asyncio.sleep(10)
        return Response(await request.read())

    async with serving(app) as server, client_on(server.attach(), version) as client:
        return await (await client.request("POST", "/", body=iterator)).read()


async def slow_message(iterator, version):
    """The fragments of a message whose peer reads only after ten seconds."""

    async def handler(ws):
        await ws.send(iterator)

    async with talking(handler) as (_, peer):
        await asyncio.sleep(10)
        data = await peer.data()
        await peer.close()
        return data


SLOW_WAYS = pytest.mark.parametrize(
    ("way", "version"),
    [(slow_response, "1.1"), (slow_response, "2"), (slow_upload, "1.1"), (slow_upload, "2"), (slow_message, "1.1")],
    ids=["response of HTTP/1.1", "response of HTTP/2", "upload of HTTP/1.1", "upload of HTTP/2", "message of a WebSocket"],
)
VERSIONS = pytest.mark.parametrize("version", ["1.1", "2"])


@SLOW_WAYS
@virtual
async def test_a_timeout_fires_in_the_iterator_while_the_peer_is_slow(way, version):
    """``asyncio.timeout`` cancels the task, which waits for the peer: the cancellation is the iterator's all the same."""
    times = []

    async def iterator():
        try:
            async with asyncio.timeout(5):
                while True:
                    yield LARGE
        except TimeoutError:
            times.append(now())
        yield b"timeout"

    body = await way(iterator(), version)
    assert times == [5] and body == body[:-7].rstrip(b"x") + b"timeout" and len(body) % len(LARGE) == 7


@SLOW_WAYS
@virtual
async def test_a_failed_task_group_of_the_iterator_is_its_own_while_the_peer_is_slow(way, version):
    async def fail():
        await asyncio.sleep(5)
        raise ZeroDivisionError

    async def iterator():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                while True:
                    yield LARGE
        except* ZeroDivisionError:
            pass
        yield b"group"

    assert (await way(iterator(), version)).endswith(b"group")


@VERSIONS
@virtual
async def test_a_timeout_that_the_iterator_does_not_catch_is_logged_while_the_client_is_slow(version, logged):
    async def iterator():
        async with asyncio.timeout(5):
            while True:
                yield LARGE

    with pytest.raises((RemoteProtocolError, ConnectionResetError), match=r"in the middle of a message|INTERNAL_ERROR"):
        await slow_response(iterator(), version)
    assert logged[0].startswith("GET /: the response broke off\n") and logged[0].endswith("TimeoutError")
    logged.clear()


@VERSIONS
@virtual
async def test_the_request_raises_at_once_what_its_iterator_does_while_the_server_is_slow(version):
    """Not the 408 of a server that waits in vain for the end of the content."""

    async def app(request):
        await asyncio.sleep(10)
        return Response(await request.read())

    async def iterator():
        async with asyncio.timeout(5):
            while True:
                yield LARGE

    async with serving(app) as server, client_on(server.attach(), version) as client:
        with pytest.raises(TimeoutError):
            await client.request("POST", "/", body=iterator())
        assert now() == 5


@VERSIONS
@virtual
async def test_the_request_is_told_when_its_iterator_cancels_its_own_task(version):
    async def iterator():
        yield b"piece"
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    async def app(request):
        return Response(await request.read())

    async with serving(app) as server, client_on(server.attach(), version) as client:
        with pytest.raises(RuntimeError, match="its iterator was cancelled"):
            await client.request("POST", "/", body=iterator())
        assert now() == 0


@VERSIONS
@pytest.mark.parametrize("way", ["response", "upload"])
@virtual
async def test_who_gives_up_the_other_end_ends_an_iterator_that_stands_at_its_yield(way, version):
    """Our own cancellation passes through the iterator, and its clean-up runs."""
    ended = []

    async def iterator():
        try:
            while True:
                yield LARGE
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            ended.append(now())

    async def app(request):
        if way == "upload":
            await asyncio.sleep(100)
        return Response(iterator())

    async with serving(app) as server, client_on(server.attach(), version) as client:
        if way == "response":
            response = await client.request("GET", "/")
            await asyncio.sleep(5)
            await response.close()
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await client.request("POST", "/", body=iterator())
        await asyncio.sleep(0.1)
    assert ended == ["cancelled", 5]


@VERSIONS
@virtual
async def test_an_iterator_that_is_no_generator_is_not_asked_for_more_once_it_is_cancelled(version):
    class Endless:
        steps = 0

        def __aiter__(self):
            return self

        async def __anext__(self):
            self.steps += 1
            return LARGE

    content = Endless()

    async def app(request):
        return Response(content)

    async with serving(app) as server, client_on(server.attach(), version) as client:
        await client.request("GET", "/")
        steps = content.steps
    assert content.steps == steps


@virtual
async def test_a_message_that_its_sender_gives_up_while_the_peer_is_slow_is_broken_off():
    """The cancellation passes through the iterator, whose clean-up runs, and comes out of ``send``; half a message is 1011."""
    ended = []

    async def iterator():
        try:
            while True:
                yield LARGE
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            ended.append(now())

    async def handler(ws):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await ws.send(iterator())
        ended.append("handler")
        await asyncio.sleep(100)

    async with talking(handler) as (_, peer):
        await asyncio.sleep(6)
        assert await peer.event() == Close(1011, "a message broke off")
        peer.send(Close(1011))
        await peer.end()
    assert ended == ["cancelled", 5, "handler"]


@pytest.mark.parametrize("ending", ["fails", "returns"])
@virtual
async def test_a_clean_up_does_not_take_the_place_of_a_cancellation(logged, ending):
    """Or the task, which somebody wants to end, would go on."""

    async def iterator():
        try:
            while True:
                yield LARGE
        except asyncio.CancelledError:
            if ending == "fails":
                raise ValueError("in the clean-up") from None

    async def handler(ws):
        sending = asyncio.create_task(ws.send(iterator()))
        await asyncio.sleep(5)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    async with talking(handler) as (_, peer):
        await asyncio.sleep(6)
        assert await peer.event() == Close(1011, "a message broke off")
        peer.send(Close(1011))
        await peer.end()
    assert [line.splitlines()[0] for line in logged] == (["the clean-up of content failed"] if ending == "fails" else [])
    logged.clear()


@virtual
async def test_an_async_iterable_is_closed_with_its_message():
    """Its ``__aiter__`` is a generator, say: an error of the fragments must not leave it to some collection of garbage."""
    ended = []

    class Fragments:
        async def __aiter__(self):
            try:
                yield b"a"
                yield 5
            finally:
                ended.append(now())

    async def handler(ws):
        with pytest.raises(TypeError, match="a fragment is str or bytes, not int"):
            await ws.send(Fragments())
        assert ended == [0]

    async with talking(handler) as (_, peer):
        assert await peer.event() == Close(1011, "a message broke off")
        peer.send(Close(1011))
        await peer.end()
