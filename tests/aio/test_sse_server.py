"""Streams of events from our server, over HTTP/1.1 and HTTP/2, on the network in memory and the virtual clock."""

import asyncio
import math
import sys
from contextvars import ContextVar
from functools import partial

import pytest
from h2_harness import Peer
from harness import now, virtual
from sse_harness import stage as stage_of

from minproto import Broker, EventStream, Message, RemoteBroker, Response, ServerSentEvent
from minproto.aio import sse
from minproto.aio.pipe import HIGH_WATER
from minproto.core import RemoteProtocolError
from minproto.sse import Comment, LastEventId, Retry


@pytest.fixture(params=["1.1", "2"])
def stage(request):
    """Over each version of HTTP."""
    return partial(stage_of, version=request.param)


def events_of(**options):
    """An app that has nothing but a stream: of a subscription, with these options of EventStream."""

    def app(broker):
        async def answer(request):
            subscription = broker.subscribe("updates", after=request.last_event_id)
            return EventStream(subscription, **options)

        return answer

    return app


def stream_of(make, **options):
    """An app that streams what an iterator gives."""

    def app(broker):
        async def answer(request):
            return EventStream(make(broker), **options)

        return answer

    return app


@virtual
async def test_headers(stage):
    """No cache keeps it, and no proxy holds it back."""
    async with stage() as server:
        listener = server.listener()
        head = await listener.head()
        assert head.status == 200
        fields = [head.headers.get(name) for name in ("content-type", "cache-control", "x-accel-buffering")]
        assert fields == ["text/event-stream", "no-store", "no"]
        await listener.pipe.close()


@virtual
async def test_head_lets_go_of_the_subscription(stage):
    async with stage() as server:
        listener = server.listener(method="HEAD")
        assert (await listener.head()).headers.get("content-type") == "text/event-stream"
        await asyncio.sleep(0)
        assert server.listened == []
        await listener.pipe.close()


@virtual
async def test_the_current_id_comes_at_once(stage):
    """So a connection that ends before the first event resumes rightly. With history and without, before and after one."""
    async with stage() as server:
        first = server.listener()
        start = server.broker.last_id("updates")
        assert (await first.head()).status == 200
        assert (await first.event(), now()) == (LastEventId(start), 0)
        (one,) = server.publish("one")
        second = server.listener()
        await second.head()
        assert await second.event() == LastEventId(one)
        first.pipe.abort()
        second.pipe.abort()
        again = server.listener("/events", ("last-event-id", start))
        await again.head()
        assert await again.events(2) == [LastEventId(start), ServerSentEvent("one", id=one)]
        again.pipe.abort()


@virtual
async def test_retry_is_said_at_once(stage):
    async with stage(app=events_of(retry=1_500)) as server:
        listener = server.listener()
        await listener.head()
        assert (await listener.events(2))[1] == Retry(1_500)
        listener.pipe.abort()


@pytest.mark.parametrize(
    ("target", "fields", "texts"),
    [
        ("/events", ["one"], ["two", "three"]),
        ("/events?lastEventId={two}", ["one"], ["two", "three"]),  # the header is newer: a browser repeats the URL
        ("/events?lastEventId={two}", [], ["three"]),
        ("/events?after={two}", ["one"], ["two", "three"]),
        ("/events?after={two}", [], ["three"]),  # as with the other endpoints
        ("/events?lastEventId=", [], []),
        ("/events", [""], []),
    ],
)
@virtual
async def test_where_it_resumes(stage, target, fields, texts):
    async with stage() as server:
        ids = dict(zip(["one", "two", "three", ""], [*server.publish("one", "two", "three"), ""], strict=True))
        listener = server.listener(target.format(**ids), *(("last-event-id", ids[name]) for name in fields))
        await listener.head()
        _, *events = await listener.events(1 + len(texts))
        assert events == [ServerSentEvent(text, id=ids[text]) for text in texts]
        server.publish("live")
        assert [event.data for event in await listener.events(1)] == ["live"]
        listener.pipe.abort()


@virtual
async def test_an_id_of_an_app_is_any_text(stage):
    """The field is UTF-8, unlike others."""
    seen = []

    def app(broker):
        async def answer(request):
            seen.append(request.last_event_id)
            return Response()

        return answer

    async with stage(app=app) as server:
        for field in (b"\xc3\xbc\xe2\x82\xac", b"a\xff"):
            listener = server.listener("/?lastEventId=old", ("last-event-id", field.decode("latin-1")))
            assert (await listener.head()).status == 200
            await listener.pipe.close()
        assert seen == ["\u00fc\u20ac", "a\ufffd"]


@pytest.mark.parametrize("id", ["{0}", "1-0", "nonsense", "9999999999999-0"])
@virtual
async def test_a_gap_is_an_event_with_an_id(stage, id):
    """And the next connection, which gives that id, has none."""
    async with stage(history=2) as server:
        ids = server.publish("1", "2", "3", "4")
        listener = server.listener("/events", ("last-event-id", id.format(*ids)))
        await listener.head()
        gap, *events = await listener.events(3)
        assert gap == ServerSentEvent("", "gap", ids[1])
        assert events == [ServerSentEvent("3", id=ids[2]), ServerSentEvent("4", id=ids[3])]
        listener.pipe.abort()
        again = server.listener("/events", ("last-event-id", ids[1]))
        await again.head()
        assert await again.events(3) == [LastEventId(ids[1]), *events]
        again.pipe.abort()


@virtual
async def test_keepalive(stage):
    """A comment every 15 s without an event."""
    async with stage() as server:
        listener = server.listener()
        await listener.head()
        await listener.event()
        times = []
        for _ in range(3):
            assert await listener.event() == Comment("still here")
            times.append(now())
        await asyncio.sleep(7)
        server.publish("x")
        await listener.events(1)
        assert await listener.event() == Comment("still here")
        assert [*times, now()] == [15, 30, 45, 67]
        listener.pipe.abort()


@virtual
async def test_an_event_does_not_wait_while_we_look(stage):
    async with stage() as server:
        listener = server.listener()
        await listener.head()
        await listener.event()
        await listener.event()
        server.publish("x")
        await listener.events(1)
        assert now() == 15
        listener.pipe.abort()


@pytest.mark.parametrize(
    ("version", "leave", "seconds"),
    [("1.1", "abort", 15), ("1.1", "close", 16), ("2", "abort", 0), ("2", "reset", 0), ("2", "close", 16)],
)
@virtual
async def test_who_leaves_is_noticed(version, leave, seconds):
    """At the first comment, though nothing is published, or a moment later: who has closed might still read.

    Over HTTP/2 somebody always reads, so what has to be said out loud is heard at once.
    """
    async with stage_of(version=version) as server:
        listener = server.listener()
        await listener.head()
        await listener.event()
        match leave:
            case "abort":
                listener.pipe.abort()
            case "reset":
                listener.reset()
            case "close":
                await listener.pipe.close()
        await asyncio.sleep(seconds + 0.001)
        assert server.listened == []
        listener.pipe.abort()


@virtual
async def test_whatever_is_published_is_the_data_of_one_event(stage):
    async with stage() as server:
        listener = server.listener()
        await listener.head()
        await listener.event()
        ids = server.publish("a\r\nid: 9\rdata: b\n\nretry: 1", b"\xff\xc3", "")
        assert await listener.events(3) == [
            ServerSentEvent("a\nid: 9\ndata: b\n\nretry: 1", id=ids[0]),
            ServerSentEvent("\ufffd\ufffd", id=ids[1]),
            ServerSentEvent("", id=ids[2]),
        ]
        listener.pipe.abort()


@virtual
async def test_an_event_is_encoded_once(stage, monkeypatch):
    encoded = []
    encode = sse.encode
    monkeypatch.setattr(sse, "encode", lambda event: encoded.append(event) or encode(event))
    async with stage() as server:
        listeners = [server.listener() for _ in range(20)]
        for listener in listeners:
            await listener.head()
            await listener.event()
        encoded.clear()
        server.publish("x", "y")
        for listener in listeners:
            await listener.events(2)
            listener.pipe.abort()
        assert len(encoded) == 2


# ---- slow readers ------------------------------------------------------------------------------------------------------


def slow(policy):
    def app(broker):
        async def answer(request):
            return EventStream(broker.subscribe("updates", on_overflow=policy))

        return answer

    return app


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest"])
@virtual
async def test_a_reader_that_stalls(stage, policy):
    """What waits for it is bounded, it is told what it has lost, and another loses nothing."""
    async with stage(app=slow(policy), history=0) as server:
        stalled, other = server.listener(capacity=1_000), server.listener()
        for listener in (stalled, other):
            await listener.head()
            await listener.events(1)
        heard = []
        for number in range(300):
            server.publish(b"%d " % number + b"x" * 65_536)
            heard += [event.data.split()[0] for event in await other.events(1)]
            assert server.ends[0].unsent < HIGH_WATER + 2 * (sse.BATCH_BYTES + 65_536)
        assert heard == [str(number) for number in range(300)]
        other.pipe.abort()
        got = []
        while len(got) < 300:
            event = await stalled.event()
            if event is None:
                break
            if isinstance(event, ServerSentEvent):
                got += ["gone"] * int(event.data) if event.event == "gap" else [event.data.split()[0]]
        assert all(item in ("gone", str(number)) for number, item in enumerate(got))
        gone = [number for number, item in enumerate(got) if item == "gone"]
        assert 100 < len(gone) < 299 and gone == [*range(gone[0], gone[-1] + 1)]
        if policy == "disconnect":
            assert await stalled.event() is None and got[-1] == "gone"
        else:
            assert len(got) == 300 and (got[-1] == "gone") == (policy == "drop_newest")
            stalled.pipe.abort()


@virtual
async def test_a_replay_is_written_as_it_is_read(stage):
    """A long history for a slow reader waits in the broker, where it is already, and not once more in a buffer."""
    async with stage() as server:
        start = server.broker.last_id("updates")
        server.publish(*[b"x" * 65_536] * 50)
        slow = server.listener("/events", ("last-event-id", start), capacity=1_000)
        await slow.head()
        await asyncio.sleep(1)
        (subscription,) = server.broker.inner._listeners["updates"]
        assert subscription.taken <= 2
        assert len(await slow.events(51)) == 51
        slow.pipe.abort()


# ---- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [None, 1_500])
@virtual
async def test_drain(stage, retry):
    """What waits goes out, then when to come back, and the proper end; at once."""
    async with stage(app=events_of(retry=retry)) as server:
        listener = server.listener()
        await listener.head()
        await listener.events(1 if retry is None else 2)
        server.publish("last words")
        draining = asyncio.create_task(server.server.close())
        event, last = await listener.rest()
        assert (event.data, last, now()) == ("last words", Retry(retry or 3_000), 0)
        await listener.pipe.close()
        await draining


@virtual
async def test_the_end_of_a_subscription_is_the_end_of_the_stream(stage):
    """Without a word when to come back: the browser knows that best."""
    subscriptions = []

    def app(broker):
        async def answer(request):
            subscriptions.append(broker.subscribe("updates"))
            return EventStream(subscriptions[-1])

        return answer

    async with stage(app=app) as server:
        listener = server.listener()
        await listener.head()
        await listener.events(1)
        server.publish("lost")
        subscriptions[0].close()
        assert await listener.rest() == []
        await listener.pipe.close()


# ---- iterators ---------------------------------------------------------------------------------------------------------


@virtual
async def test_an_iterator(stage):
    """Text is the data of an event; anything else is an event. At its end the stream ends."""

    async def events():
        yield "a\nb"
        await asyncio.sleep(20)
        yield ServerSentEvent("c", "price", "1")
        yield Retry(5)

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        await listener.head()
        assert await listener.rest() == [
            Comment("hello"), ServerSentEvent("a\nb"), Comment("still here"), ServerSentEvent("c", "price", "1"), Retry(5)
        ]  # fmt: skip
        assert now() == 20
        await listener.pipe.close()


@pytest.mark.parametrize("way", ["leave", "drain", "head"])
@virtual
async def test_an_iterator_is_closed(stage, way):
    """When the client leaves, when the server stops, and when nobody wanted it: its ``finally`` runs."""
    closed = []

    async def events():
        try:
            yield "first"
            await asyncio.sleep(1_000)
        finally:
            closed.append(now())

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener(method="HEAD" if way == "head" else "GET")
        await listener.head()
        if way != "head":
            await listener.events(1)
        if way == "leave":
            listener.pipe.abort()
        if way == "drain":
            draining = asyncio.create_task(server.server.close())
            assert await listener.rest() == [Retry(3_000)]
            await listener.pipe.close()
            await draining
        await asyncio.sleep(16)
        assert closed == {"leave": [0], "drain": [0], "head": []}[way]  # one that was never begun has nothing to close
        if way == "head":
            await listener.pipe.close()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("secret"), "secret"),
        # that of a task of its own, say: it has failed, too, and nobody asks it for ever
        (asyncio.CancelledError("of something else"), "its iterator was cancelled, and not by minproto"),
    ],
)
@virtual
async def test_an_iterator_that_fails(stage, logged, error, says):
    """The stream is broken off, which a client can tell from its end; the traceback is in the log."""

    async def events():
        yield "first"
        raise error

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        await listener.head()
        assert await listener.events(1) == [ServerSentEvent("first")]
        with pytest.raises((RemoteProtocolError, ConnectionResetError)):
            await listener.event()
        listener.pipe.abort()
        assert says in logged.pop()


@pytest.mark.parametrize(
    "options",
    [
        {"keepalive": 0}, {"keepalive": -1}, {"keepalive": None}, {"keepalive": math.nan}, {"keepalive": "5"},
        {"retry": -1}, {"retry": 1.5}, {"retry": 10**18}, {"retry": True},
    ],
)  # fmt: skip
def test_options_that_no_stream_can_have(options):
    """Are refused when it is made, and not in the middle of it."""
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(options))} has to be"):
        EventStream(Broker().subscribe("a"), **options)


# ---- one task runs an iterator -----------------------------------------------------------------------------------------


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@virtual
async def test_one_task_runs_a_generator_in_the_context_of_its_handler(stage):
    """From the first step to ``finally``: what it sets, it finds again; and it finds what the handler has set."""
    tasks, closed = [], []

    async def events():
        try:
            tasks.append(asyncio.current_task())
            yield VARIABLE.get()
            VARIABLE.set("generator")
            for _ in range(2):
                tasks.append(asyncio.current_task())
                yield VARIABLE.get()
                await asyncio.sleep(1)
        finally:
            tasks.append(asyncio.current_task())
            closed.append(VARIABLE.get())

    def app(broker):
        async def answer(request):
            VARIABLE.set("handler")
            return EventStream(events())

        return answer

    async with stage(app=app) as server:
        listener = server.listener()
        await listener.head()
        assert [event.data for event in await listener.events(3)] == ["handler", "generator", "generator"]
        assert await listener.rest() == [] and closed == ["generator"]
        assert len(tasks) == 4 and len(set(tasks)) == 1
        await listener.pipe.close()


@pytest.mark.parametrize("way", ["leave", "drain"])
@virtual
async def test_a_generator_is_cancelled_and_closed_in_its_own_task(stage, way):
    """When the client leaves, or the server stops; whether it waits inside, or stands at its ``yield``."""
    seen = []

    async def events():
        first = asyncio.current_task()
        try:
            yield "first"
            await asyncio.sleep(1_000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0.1)
            seen.append(asyncio.current_task() is first)

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        await listener.head()
        await listener.events(1)
        await asyncio.sleep(1)
        if way == "leave":
            listener.pipe.abort()
            await asyncio.sleep(17)
        else:
            draining = asyncio.create_task(server.server.close())
            await listener.rest()
            await asyncio.sleep(1)
            await listener.pipe.close()
            await draining
        assert seen == ["cancelled", True]


@pytest.mark.parametrize("pause", [0.0, 1.0])  # most of the time inside of a step, or at the ``yield``, for a slow reader
@virtual
async def test_a_timeout_may_span_a_yield(stage, pause):
    async def events():
        try:
            async with asyncio.timeout(5):
                while True:
                    yield "x" * 30_000
                    await asyncio.sleep(pause)
        except TimeoutError:
            yield "timeout"

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener(capacity=1_000)
        await listener.head()
        if not pause:
            await asyncio.sleep(6)
        heard = [event.data for event in await listener.rest() if isinstance(event, ServerSentEvent)]
        assert heard[-1] == "timeout" and 5 <= now() < 7
        await listener.pipe.close()


@virtual
async def test_a_task_group_may_span_a_yield(stage, logged):
    """A child that fails ends the group while the generator stands at its ``yield``, for nobody reads."""

    async def fails():
        await asyncio.sleep(3)
        raise ValueError("the child")

    async def events():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                while True:
                    yield "x" * 100_000
        except* ValueError:
            pass
        yield "after the group"

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener(capacity=1_000)
        await listener.head()
        await asyncio.sleep(4)
        heard = [event.data for event in await listener.rest() if isinstance(event, ServerSentEvent)]
        assert heard[-1] == "after the group"
        await listener.pipe.close()


@virtual
async def test_a_generator_that_catches_its_cancellation_is_closed_all_the_same(stage):
    closed = []

    async def events():
        try:
            yield "first"
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                yield "no"
        finally:
            closed.append(now())

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        await listener.head()
        await listener.events(1)
        await asyncio.sleep(1)
        draining = asyncio.create_task(server.server.close())
        await listener.rest()
        await listener.pipe.close()
        await draining
        assert closed == [1]


@virtual
async def test_a_generator_that_fails_in_its_finally_is_in_the_log(stage, logged):
    """And nowhere else: no exception of a task is left unseen."""

    async def events():
        try:
            yield "first"
            await asyncio.sleep(1_000)
        finally:
            raise ValueError("secret")

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        await listener.head()
        await listener.events(1)
        draining = asyncio.create_task(server.server.close())
        assert await listener.rest() == [Retry(3_000)]
        await listener.pipe.close()
        await draining
        assert "secret" in logged.pop()


@pytest.mark.parametrize("kind", [EventStream, Response])
@virtual
async def test_a_generator_that_is_left_at_a_yield_within_a_task_group_has_not_failed(stage, kind):
    """The group wraps the GeneratorExit of ``aclose`` in a BaseExceptionGroup, which is no Exception."""
    child = None

    async def pieces():
        nonlocal child
        async with asyncio.TaskGroup() as group:
            child = group.create_task(asyncio.sleep(1_000))
            while True:
                yield "x" * HIGH_WATER if kind is EventStream else b"x" * HIGH_WATER

    def app(broker):
        async def answer(request):
            return kind(pieces())

        return answer

    async with stage(app=app) as server:
        listener = server.listener()
        await listener.head()
        await asyncio.sleep(1)
        listener.pipe.abort()
        await asyncio.sleep(1)
        assert child.cancelled()


@virtual
async def test_a_generator_makes_no_step_that_nobody_waits_for(stage):
    steps = []

    async def events():
        for number in range(1_000):
            steps.append(number)
            yield "x" * 10_000

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener(capacity=1_000)
        await listener.head()
        await asyncio.sleep(10)
        assert len(steps) < 40
        listener.pipe.abort()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@virtual
async def test_a_generator_in_an_eager_task(stage):
    """It makes its first step before ``create_task`` returns; this one ends within that."""

    async def events():
        yield "only"

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await listener.head()
        assert await listener.rest() == [Comment("hello"), ServerSentEvent("only")]
        asyncio.get_running_loop().set_task_factory(None)
        await listener.pipe.close()


# ---- what can be seen when it is made ----------------------------------------------------------------------------------


async def events_to_call():
    yield "x"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (["a"], "not list"), ("text", "not str"), (b"x", "not bytes"), (None, "not NoneType"),
        ((x for x in "ab"), "not generator"), (events_to_call, "not the function events_to_call: call it"),
        (iter(["a"]), "not list_iterator"),
        (ServerSentEvent("x"), "not ServerSentEvent"),
    ],
)  # fmt: skip
def test_a_source_without_events_is_refused_when_the_stream_is_made(source, says):
    """And not after the 200."""
    with pytest.raises(TypeError, match=f"takes a Subscription or an async iterator of ServerSentEvent or str, {says}"):
        EventStream(source)


@virtual
async def test_a_subscription_of_a_remote_broker_is_refused_when_the_stream_is_made():
    with pytest.raises(TypeError, match="a RemoteSubscription, whose items have no form as events"):
        EventStream(RemoteBroker().subscribe("a"))


@virtual
async def test_an_async_iterable_is_a_source(stage):
    class Numbers:
        def __aiter__(self):
            return events_to_call()

    async with stage(app=stream_of(lambda broker: Numbers())) as server:
        listener = server.listener()
        await listener.head()
        assert await listener.rest() == [Comment("hello"), ServerSentEvent("x")]
        await listener.pipe.close()


NO_EVENT = "is not an event of a stream: make a ServerSentEvent of it, or a str"


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (1, f"TypeError: int {NO_EVENT}"),
        (b"bytes", f"TypeError: bytes {NO_EVENT}"),
        (None, f"TypeError: NoneType {NO_EVENT}"),
        ({"data": "x"}, f"TypeError: dict {NO_EVENT}"),
        (Message("a", "", b"x"), f"TypeError: Message {NO_EVENT}"),  # of a RemoteBroker: it has no id, and no form as an event
    ],
)
@virtual
async def test_an_item_that_is_no_event_is_named(stage, logged, item, says):
    async def events():
        yield item

    async with stage(app=stream_of(lambda broker: events())) as server:
        listener = server.listener()
        await listener.head()
        with pytest.raises((RemoteProtocolError, ConnectionResetError)):
            await listener.rest()
        listener.pipe.abort()
        assert says in logged.pop()


@virtual
async def test_headers_of_the_app(stage):
    fields = [("Access-Control-Allow-Origin", "*"), ("Cache-Control", "no-cache")]
    async with stage(app=events_of(headers=fields)) as server:
        listener = server.listener()
        head = await listener.head()
        assert head.headers.get("access-control-allow-origin") == "*" and head.headers.get("cache-control") == "no-cache"
        assert head.headers.get("content-type") == "text/event-stream" and head.headers.get("x-accel-buffering") == "no"
        listener.pipe.abort()
    with pytest.raises(ValueError, match="the content-type of an EventStream is text/event-stream, not text/plain"):
        EventStream(Broker().subscribe("a"), headers=[("content-type", "text/plain")])


# ---- over HTTP/2 alone -------------------------------------------------------------------------------------------------


@virtual
async def test_many_on_one_connection():
    """One that is reset changes no other."""
    async with stage_of() as server:
        peer = Peer(server.attach())
        one, two = (peer.ask("GET", "/events") for _ in range(2))
        start = server.broker.last_id("updates")
        await peer.until(lambda: peer.answers[one].body and peer.answers[two].body)
        assert peer.answers[one].headers.get("content-type") == "text/event-stream"
        assert peer.answers[one].body == b"id: %b\n\n" % start.encode()
        peer.reset(one)
        (id,) = server.publish("x")
        await asyncio.sleep(0.01)
        assert server.broker.inner.subscriber_count("updates") == 1
        await asyncio.sleep(16)
        expected = f"id: {start}\n\nid: {id}\ndata: x\n\n: still here\n\n"
        assert peer.answers[two].body == expected.encode()
        await peer.close()
