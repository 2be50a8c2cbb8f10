"""A client that leaves: one rule for both versions. A handler whose answer nobody can get is cancelled, unless it asks not to
be; a client that has only ended its output may still read, so its handler is told; the log says 499 for what nobody got."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
from h2_harness import Peer, StreamReset
from harness import Client, get, now, serving, virtual

from minproto import AccessLog, EventStream, Response, Upgrade
from minproto.core import LocalProtocolError, RemoteProtocolError

VERSIONS = pytest.mark.parametrize("version", ["1.1", "2"])


class Visitor:
    """A client of either version, which leaves in one of three ways: "reset", "end" (FIN) or "stream" (RST_STREAM)."""

    def __init__(self, server, version, **net):
        self._client = Peer(server.attach(**net)) if version == "2" else Client(server.attach(**net))
        self.pipe = self._client.pipe
        self._stream = 0

    def get(self, target="/"):
        if isinstance(self._client, Peer):
            self._stream = self._client.ask("GET", target)
        else:
            self._client.send(get(target))

    def post(self, data, length=None, target="/"):
        if isinstance(self._client, Peer):
            fields = [("content-length", str(length))] if length else []
            self._stream = self._client.open("POST", target, *fields)
            self._upload = asyncio.create_task(self._client.upload(self._stream, data, end=False))
        else:
            field = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
            self._client.send(get(target, field, method="POST") + (data if length else b"%x\r\n%b\r\n" % (len(data), data)))

    async def answer(self):
        return await (self._client.answer(self._stream) if isinstance(self._client, Peer) else self._client.answer())

    async def leave(self, how):
        if how == "stream":
            self._client.reset(self._stream)
        elif how == "end":
            if isinstance(self._client, Peer):
                self._client.replies = False  # or it would answer a PING behind its end
            self.pipe.close_write()
        else:
            self.pipe.abort()
        await asyncio.sleep(0.001)

    async def close(self):
        if isinstance(self._client, Peer):
            await self._client.close()
        else:
            with suppress(ConnectionError):
                await self.pipe.close()


WAYS = pytest.mark.parametrize(("version", "how"), [("1.1", "reset"), ("2", "reset"), ("2", "stream")])


@asynccontextmanager
async def visited(app, version, net=(), **options):
    """A server with an access log, and a visitor of it."""
    log = []
    async with serving(app, observers=[AccessLog(log.append)], **options) as server:
        server.log = log
        visitor = Visitor(server, version, **dict(net))
        yield server, visitor
        await visitor.close()


def statuses(server):
    return [int(line.split()[-2]) for line in server.log if "/hello" not in line]


# -- cancellation


@WAYS
@virtual
async def test_a_handler_whose_client_is_lost_is_cancelled_at_once(version, how):
    """A long poll, say; it may clean up, and what it awaits there is not cancelled again."""
    story = []

    async def app(request):
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            story.append(now())
            raise

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(3)
        await visitor.leave(how)
        await asyncio.sleep(2)
        assert [round(at, 1) for at in story] == [4.0]
        assert statuses(server) == [499] and server.metrics.in_flight == 0


@WAYS
@virtual
async def test_content_whose_client_is_lost_is_cancelled_at_once(version, how):
    """A generator that sleeps between its pieces is told where it sleeps."""
    story = []

    async def pieces():
        try:
            yield b"first"
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            story.append(now())
            raise
        finally:
            await asyncio.sleep(1)
            story.append(now())

    async def app(request):
        return Response(pieces())

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(3)
        await visitor.leave(how)
        await asyncio.sleep(2)
        assert [round(at, 1) for at in story] == [3.0, 4.0]
        assert statuses(server) == [499] and server.metrics.in_flight == 0


@WAYS
@virtual
async def test_a_stream_of_events_whose_client_is_lost_ends_at_once(version, how):
    closed = []

    async def events():
        try:
            yield "first"
            await asyncio.sleep(1_000)
        finally:
            closed.append(now())

    async def app(request):
        return EventStream(events())

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(3)
        await visitor.leave(how)
        assert [round(at, 1) for at in closed] == [3.0] and statuses(server) == [499]


@WAYS
@virtual
async def test_an_upload_whose_client_is_lost_is_cancelled(version, how):
    """While the app waits for more of it, and while it does something else."""
    story = []

    async def app(request):
        try:
            if request.path == "/waits":
                await request.read()
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            story.append(request.path)
            raise

    async with visited(app, version) as (server, visitor):
        for path in ("/waits", "/works"):
            visitor = Visitor(server, version)
            visitor.post(b"some", 10, path)
            await asyncio.sleep(1)
            await visitor.leave(how)
            await visitor.close()
        assert story == ["/waits", "/works"] and statuses(server) == [499, 499]


@WAYS
@virtual
async def test_a_handler_that_is_not_cancellable_runs_to_its_end(version, how):
    """A payment: it is told and not cancelled, and its answer goes nowhere."""
    story = []

    async def app(request):
        request.cancellable = False
        await request.disconnected()
        story.append("told")
        await asyncio.sleep(10)
        story.append("paid")
        return Response(b"paid")

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(1)
        await visitor.leave(how)
        assert story == ["told"] and server.metrics.in_flight == 1
        await asyncio.sleep(11)
        assert story == ["told", "paid"] and statuses(server) == [499]


@WAYS
@virtual
async def test_what_work_that_runs_on_raises_is_in_the_log(version, how, logged):
    """Though nobody is there to get the 500."""

    async def app(request):
        request.cancellable = False
        await asyncio.sleep(10)
        raise ValueError("the bank is closed")

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(1)
        await visitor.leave(how)
        await asyncio.sleep(11)
        assert statuses(server) == [499] and "the bank is closed" in logged.pop()


@pytest.mark.parametrize("streams", [False, True])
@WAYS
@virtual
async def test_a_clean_up_that_fails_in_a_cancelled_handler_is_in_the_log(version, how, streams, logged):
    """The app's own bug, which the leaving client has only brought to light."""

    async def content():
        try:
            yield b"piece"
            await asyncio.sleep(1_000)
        finally:
            raise ValueError("no rollback")

    async def app(request):
        if streams:
            return Response(content())
        try:
            await asyncio.sleep(1_000)
        finally:
            raise ValueError("no rollback")

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(1)
        await visitor.leave(how)
        await asyncio.sleep(1)
        assert statuses(server) == [499] and "no rollback" in logged.pop()


@WAYS
@virtual
async def test_what_follows_from_the_loss_of_a_client_is_in_no_log(version, how):
    """The end of a group of tasks that read the request and sleep, say."""

    async def app(request):
        request.cancellable = False
        async with asyncio.TaskGroup() as group:
            group.create_task(request.read())
            group.create_task(asyncio.sleep(1_000))

    async with visited(app, version) as (server, visitor):
        visitor.post(b"piece", 100)
        await asyncio.sleep(1)
        await visitor.leave(how)
        await asyncio.sleep(1)
        assert statuses(server) == [499]


@WAYS
@virtual
async def test_a_handler_that_swallows_its_cancellation_answers_nobody(version, how):
    async def app(request):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1_000)
        return Response(b"never mind")

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(1)
        await visitor.leave(how)
        await asyncio.sleep(1)
        assert statuses(server) == [499] and server.metrics.in_flight == 0


@WAYS
@virtual
async def test_an_answer_that_is_cut_off_is_a_499(version, how):
    """Content that was there as a whole, too: the client has got a part."""

    async def app(request):
        return Response(bytes(10_000_000))

    async with visited(app, version, {"capacity": 10_000, "high_water": 10_000}) as (server, visitor):
        if version == "2":
            visitor._client.hold = True
        visitor.get()
        await asyncio.sleep(1)
        await visitor.leave(how)
        await asyncio.sleep(1)
        assert statuses(server) == [499]


@virtual
async def test_only_the_request_that_is_lost_is_cancelled():
    """One stream of HTTP/2 is reset, and the others go on."""

    async def app(request):
        await asyncio.sleep(10)
        return Response(b"done")

    async with visited(app, "2") as (server, visitor):
        visitor.get("/one")
        other = visitor._client.ask("GET", "/other")
        await asyncio.sleep(1)
        await visitor.leave("stream")
        assert (await visitor._client.answer(other)).body == b"done"
        assert statuses(server) == [499, 200]


# -- an end alone


@VERSIONS
@virtual
async def test_a_client_that_has_only_ended_its_output_gets_its_answer(version):
    """RFC 9112 §9.6: it has half-closed. The handler is told at once, and not cancelled."""
    story = []

    async def app(request):
        await request.disconnected()
        story.append(now())
        await asyncio.sleep(5)
        return Response(b"still here?")

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(3)
        await visitor.leave("end")
        assert (await visitor.answer()).body == b"still here?"
        assert [round(at, 1) for at in story] == [3.0]
        await asyncio.sleep(1)
        assert statuses(server) == [200]


@VERSIONS
@pytest.mark.parametrize("after", [0.0, 1.0, 100.0])
@virtual
async def test_an_end_followed_by_a_reset_is_a_499(version, after):
    """Also where the reset comes later; and it cancels."""
    story = []

    async def app(request):
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            story.append(now())
            raise

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(3)
        await visitor.leave("end")
        await asyncio.sleep(after)
        await visitor.leave("reset")
        await asyncio.sleep(15)  # HTTP/2 looks at growing gaps
        assert len(story) == 1 and statuses(server) == [499]


@VERSIONS
@virtual
async def test_an_answer_that_brings_a_reset_is_a_499(version):
    """The client has closed its socket: it looked like an end, until our answer came."""

    async def app(request):
        await asyncio.sleep(2)
        return Response(b"too late")

    async with visited(app, version) as (server, visitor):
        visitor.get()
        await asyncio.sleep(1)
        visitor.pipe._outgoing.end()
        visitor.pipe._incoming.refused = True  # what a kernel does once the socket is closed
        if version == "2":
            await visitor._client.close()
        await asyncio.sleep(5)
        assert statuses(server) == [499]


@pytest.mark.parametrize("before", [False, True])
@virtual
async def test_a_stream_of_events_finds_out_at_once_whether_its_client_is_gone(before):
    """HTTP/1.1 has no PING, but a comment may be sent at any time: its reset tells. Who has half-closed reads on."""
    closed = []

    async def events():
        try:
            yield "first"
            await asyncio.sleep(1_000)
        finally:
            closed.append(now())

    async def app(request):
        if before:
            await asyncio.sleep(2)
        return EventStream(events())

    async with visited(app, "1.1") as (server, gone):
        half = Visitor(server, "1.1")
        for visitor in (gone, half):
            visitor.get()
        await asyncio.sleep(1)
        for visitor in (gone, half):
            visitor.pipe._outgoing.end()
        gone.pipe._incoming.refused = True
        await asyncio.sleep(2)
        assert [round(at, 1) for at in closed] == [2.0 if before else 1.0] and statuses(server) == [499]
        assert b"data: first" in await half.pipe.read() + (b"" if before else await half.pipe.read())
        await half.leave("reset")
        await half.close()


@VERSIONS
@virtual
async def test_requests_that_had_arrived_before_the_end_are_answered(version):
    async def app(request):
        await request.disconnected()
        return Response(request.path.encode())

    async with visited(app, version) as (server, visitor):
        visitor.get("/one")
        first = visitor._stream
        visitor.get("/two")
        await visitor.leave("end")
        answers = [await visitor._client.answer(*([stream] if version == "2" else [])) for stream in (first, visitor._stream)]
        assert {answer.body for answer in answers} == {b"/one", b"/two"}
        await asyncio.sleep(1)
        assert statuses(server) == [200, 200]


# -- disconnected()


@VERSIONS
@virtual
async def test_who_waits_for_the_client_to_leave_is_released_by_the_answer(version):
    """A task that the handler leaves behind does not outlive the exchange."""
    tasks = []

    async def app(request):
        tasks.append(asyncio.create_task(request.disconnected()))
        await asyncio.sleep(1)
        assert not tasks[0].done()
        return Response(b"done")

    async with visited(app, version) as (_, visitor):
        visitor.get()
        assert (await visitor.answer()).body == b"done"
        await asyncio.sleep(0.001)
        assert tasks[0].done() and await tasks[0] is None


@WAYS
@virtual
async def test_any_number_may_wait_and_one_may_give_up(version, how):
    results = []

    async def app(request):
        request.cancellable = False
        with suppress(TimeoutError):
            await asyncio.wait_for(request.disconnected(), 1)
        results.append(await asyncio.gather(request.disconnected(), request.disconnected()))
        await request.disconnected()
        return Response()

    async with visited(app, version) as (_, visitor):
        visitor.get()
        await asyncio.sleep(5)
        await visitor.leave(how)
        assert results == [[None, None]]


@virtual
async def test_an_upgraded_connection_is_not_cancelled():
    """The reset is what the other protocol sees for itself."""
    story = []

    async def talk(pipe):
        with suppress(ConnectionError):
            await pipe.read()
        await asyncio.sleep(1)
        story.append("over")

    async def app(request):
        return Upgrade(talk, [("upgrade", "x")])

    async with visited(app, "1.1") as (server, visitor):
        visitor._client.send(get("/", "Connection: upgrade", "Upgrade: x"))
        assert (await visitor.answer()).status == 101
        await visitor.leave("reset")
        await asyncio.sleep(2)
        assert story == ["over"] and statuses(server) == [101]


# -- the pace of a conversation


async def echo(request):
    yield b""
    async for piece in request.body:
        yield piece


@VERSIONS
@virtual
async def test_a_conversation_has_the_pace_of_its_app(version):
    """A message every 4 seconds, and once an hour's silence: the response has begun, so no upload's limits hold."""

    async def app(request):
        return Response(echo(request))

    async with visited(app, version) as (_, visitor):
        visitor.post(b"x")
        for pause in [4] * 100 + [3_600, 4]:
            await asyncio.sleep(pause)
            if version == "2":
                await visitor._client.upload(visitor._stream, b"x", end=False)
            else:
                visitor._client.send(b"1\r\nx\r\n")
        if version == "2":
            visitor._client.end(visitor._stream)
        else:
            visitor._client.send(b"0\r\n\r\n")
        assert (await visitor.answer()).body == b"x" * 103
        if version == "1.1":  # the connection goes on, and an upload has its limits again
            visitor.post(b"x" * 10, 10)
            assert (await visitor.answer()).body == b"x" * 10


@VERSIONS
@virtual
async def test_a_wait_that_began_before_the_response_goes_on_behind_its_begin(version):
    """The reader is another task than who answers; its time does not run out."""
    got = []

    async def app(request):
        async def reads():
            async for piece in request.body:
                got.append((now(), piece))

        reading = asyncio.create_task(reads())
        await asyncio.sleep(1)

        async def slow():
            yield b"early"
            await reading
            yield b"late"

        return Response(slow())

    async with visited(app, version) as (_, visitor):
        visitor.post(b"x")
        await asyncio.sleep(100)
        if version == "2":
            await visitor._client.upload(visitor._stream, b"y")
        else:
            visitor._client.send(b"1\r\ny\r\n0\r\n\r\n")
        assert (await visitor.answer()).body == b"earlylate"
        assert [piece for _, piece in got] == [b"x", b"y"]


@VERSIONS
@pytest.mark.parametrize(("seconds", "expected"), [(5.0, 5), (50.0, 50), (None, None), ("default", 30)])
@virtual
async def test_an_app_sets_the_time_for_one_request(version, seconds, expected, caplog):
    async def app(request):
        if seconds != "default":
            request.body_timeout = seconds
        return Response(await request.read())

    async with visited(app, version) as (_, visitor):
        visitor.post(b"x")
        if expected is None:
            await asyncio.sleep(10_000)
            assert caplog.messages == []
            return await visitor.leave("reset")
        answer = await visitor.answer()
        assert (answer.status, now()) == (408, expected)
        [line] = caplog.messages
        assert line.startswith("POST /: 408, since ") and f"came in {expected} seconds of waiting" in line


# -- interim responses and early heads


@VERSIONS
@virtual
async def test_an_interim_response_comes_before_the_answer(version):
    async def app(request):
        await request.inform(103, [("Link", "</style.css>; rel=preload")])
        await asyncio.sleep(1)
        await request.inform(102)
        return Response(b"done")

    async with visited(app, version) as (_, visitor):
        visitor.get()
        answer = await visitor.answer()
        assert (answer.interim, answer.body) == ([103, 102], b"done")


@virtual
async def test_a_client_of_http_1_0_gets_no_interim_response():
    async def app(request):
        await request.inform(103, [("link", "</style.css>")])
        return Response(b"done")

    async with serving(app) as server:
        answer = await server.client().ask(get("/", version="1.0"))
        assert (answer.interim, answer.body) == ([], b"done")


@VERSIONS
@virtual
async def test_what_is_no_interim_response_is_refused(version):
    errors, texts = [], []

    async def try_to(request, *arguments):
        try:
            await request.inform(*arguments)
        except (TypeError, ValueError, LocalProtocolError, ConnectionError) as error:
            errors.append(type(error))
            texts.append(str(error))

    async def app(request):
        for status in (99, 101, 200, "103", 103.0):
            await try_to(request, status)
        await try_to(request, 103, [("link", "a\r\nb")])

        async def content():
            yield b"begun"
            await try_to(request, 103)

        asyncio.get_running_loop().call_later(1, lambda: tasks.append(asyncio.create_task(try_to(request, 103))))
        return Response(content())

    tasks = []
    async with visited(app, version) as (_, visitor):
        visitor.get()
        assert (await visitor.answer()).body == b"begun"
        await asyncio.sleep(2)
        assert errors == [ValueError] * 3 + [TypeError] * 2 + [LocalProtocolError] * 3
        assert texts[4] == "the status of an interim response has to be a whole number (int), not 103.0"
        assert texts[-2:] == ["an interim response comes before the answer, which has begun already"] * 2


@VERSIONS
@virtual
async def test_a_head_may_come_before_the_content(version):
    """A client that awaits the head before its first message: `early_head`, or an empty first piece."""

    async def app(request):
        async def answers():
            if request.path == "/empty":
                yield b""
            async for piece in request.body:
                yield piece

        return Response(answers(), early_head=request.path == "/early")

    for path in ("/early", "/empty"):
        async with visited(app, version) as (_, visitor):
            if version == "2":
                stream = visitor._client.open("POST", path, ("expect", "100-continue"))
                await asyncio.sleep(0.001)
                assert visitor._client.answers[stream].status == 200
                assert path == "/empty" or visitor._client.answers[stream].interim == [100]
                await visitor._client.upload(stream, b"x")
                assert (await visitor._client.answer(stream)).body == b"x"
            else:
                visitor._client.send(get(path, "Transfer-Encoding: chunked", "Expect: 100-continue", method="POST"))
                await asyncio.sleep(0.001)
                head = await visitor.pipe.read()
                assert b"HTTP/1.1 200" in head
                assert path == "/empty" or head.startswith(b"HTTP/1.1 100")
                visitor._client.send(b"1\r\nx\r\n0\r\n\r\n")
                await asyncio.sleep(0.001)
                assert await visitor.pipe.read() == b"1\r\nx\r\n0\r\n\r\n"


@VERSIONS
@virtual
async def test_content_that_fails_behind_an_early_head_breaks_the_response_off(version, logged):
    async def app(request):
        async def content():
            raise ValueError("no content")
            yield b""

        return Response(content(), early_head=True)

    async with visited(app, version) as (_, visitor):
        visitor.get()
        with pytest.raises((RemoteProtocolError, StreamReset)):
            await visitor.answer()
        assert "no content" in logged.pop()


# -- an app that ends the exchange itself


@VERSIONS
@pytest.mark.parametrize("begun", [False, True])
@virtual
async def test_an_app_resets_its_exchange(version, begun):
    """Say, a proxy whose own server has broken off: the client must not take what it has for the whole. Nothing is logged."""
    story = []

    async def app(request):
        async def content():
            yield b"some"
            await asyncio.sleep(1)
            await wait(request)

        return Response(content()) if begun else await wait(request)

    async def wait(request):
        request.abort()
        try:
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            story.append(now())
            request.abort()  # a second time: nothing
            raise

    async with visited(app, version) as (server, visitor):
        visitor.get()
        with pytest.raises((ConnectionResetError, StreamReset)):
            await visitor.answer()
        await asyncio.sleep(0.1)
        assert (story, statuses(server)) == ([float(begun)], [499])
