"""The demo app's ways to hear and to publish, on the network in memory."""

import asyncio
import json

import pytest
from harness import get, now, post, virtual
from sse_harness import stage
from ws_harness import Peer, opening

from minproto.broker import MAX_NAME
from minproto.websocket import Close, Message

ORIGIN = "Origin: http://a"


async def ask(server, request):
    client = server.client()
    answer = await client.ask(request)
    await client.pipe.close()
    return answer


async def poll(server, query="", path="/poll"):
    answer = await ask(server, get(f"{path}?topic=t{query}"))
    assert (answer.status, answer.headers.get("content-type")) == (200, "application/json")
    assert answer.headers.get("cache-control") == "no-store"
    return json.loads(answer.body)


# ---- publishing --------------------------------------------------------------------------------------------------------


@virtual
async def test_publish_answers_with_the_number_of_receivers():
    async with stage() as server:
        assert (await ask(server, post("/publish", b"x"))).body == b"0\n"
        subscriptions = [server.broker.subscribe("updates", patterns=["u*"]), server.broker.subscribe("t")]
        assert (await ask(server, post("/publish", b"\xff\0", ORIGIN))).body == b"2\n"
        assert (await ask(server, post("/publish?topic=t", b""))).body == b"1\n"
        assert [item.data for item in subscriptions[0].take(5)] == [b"\xff\0"] * 2
        for subscription in subscriptions:
            subscription.close()


@pytest.mark.parametrize("origin", ["http://evil", "https://evil:80", "null", "http://a.evil", "http://a:81", ""])
@virtual
async def test_a_page_of_another_origin_may_not_publish(origin, caplog):
    """A browser sends such a POST without asking first."""
    async with stage() as server:
        answer = await ask(server, post("/publish", b"forged", f"Origin: {origin}", "Content-Type: text/plain"))
        assert answer.status == 403
        assert server.broker.inner.log("updates") == []
        assert caplog.messages == [
            f"the request 'POST /publish' is refused with 403: its Origin is {origin!r}, "
            "and the authority that it asks for is 'a'"
        ]


@virtual
async def test_what_is_too_large_is_not_published():
    async with stage() as server:
        assert (await ask(server, post("/publish", b"x" * (1 << 20)))).status == 200
        client = server.client()
        client.send(get("/publish", f"Content-Length: {(1 << 20) + 1}", method="POST") + b"x" * ((1 << 20) + 1))
        assert (await client.answer("POST")).status == 413
        client.pipe.abort()
        assert len(server.broker.inner.log("updates")) == 1


@virtual
async def test_methods_and_names():
    long = "x" * (MAX_NAME + 1)
    async with stage() as server:
        for path in ("/publish", "/chat", "/events", "/poll", "/long-poll"):
            allowed = "POST" if path == "/publish" else "GET, HEAD"
            answer = await ask(server, get(path, method="PUT"))
            assert (answer.status, answer.headers.get("allow")) == (405, allowed)
            answer = await ask(server, get(f"{path}?topic={long}"))
            assert (answer.status, answer.body) == (400, b"a topic has at most 1024 bytes\n")
        assert (await ask(server, get("/publishers"))).status == 404
        assert (await ask(server, get("/chat"))).headers.get("content-type") == "text/html; charset=utf-8"


# ---- polling -----------------------------------------------------------------------------------------------------------


@virtual
async def test_poll():
    async with stage() as server:
        start = server.broker.last_id("t")
        first = await poll(server)
        assert (first, now()) == ({"messages": [], "last": start, "gap": False}, 0)
        ids = server.publish("a", b"\xff", topic="t")
        expected = {"messages": [{"id": ids[0], "data": "a"}, {"id": ids[1], "data": "\ufffd"}], "last": ids[1], "gap": False}
        assert await poll(server, f"&after={first['last']}") == expected
        assert await poll(server, f"&after={ids[1]}") == {"messages": [], "last": ids[1], "gap": False}
        assert await poll(server) == await poll(server, "&after=") == {"messages": [], "last": ids[1], "gap": False}


@virtual
async def test_poll_with_a_gap():
    """What comes after it is there, and the answer's id has none."""
    async with stage(history=2) as server:
        ids = server.publish("1", "2", "3", topic="t")
        for after in ("1-0", "x", "9999999999999-0"):
            answer = await poll(server, f"&after={after}")
            texts = [message["data"] for message in answer["messages"]]
            assert (answer["gap"], texts, answer["last"]) == (True, ["2", "3"], ids[2])
        assert not (await poll(server, f"&after={ids[2]}"))["gap"]


@virtual
async def test_a_gap_and_nothing_behind_it():
    async with stage(history=0) as server:
        server.publish("1", topic="t")
        answer = await poll(server, "&after=1-0")
        assert (answer["messages"], answer["gap"]) == ([], True)
        assert not (await poll(server, f"&after={answer['last']}"))["gap"]


@virtual
async def test_a_poll_takes_a_thousand_at_most():
    """And the next one goes on there."""
    async with stage(history=2_500) as server:
        after = server.broker.last_id("t")
        server.publish(*map(str, range(2_500)), topic="t")
        got = []
        while messages := (answer := await poll(server, f"&after={after}"))["messages"]:
            assert len(messages) <= 1_000
            got += [message["data"] for message in messages]
            after = answer["last"]
        assert got == [str(number) for number in range(2_500)]


@virtual
async def test_long_poll():
    """It answers with the first message, or after 25 s; at once, where something waits."""
    async with stage() as server:
        asking = asyncio.create_task(poll(server, "", "/long-poll"))
        await asyncio.sleep(10)
        (id,) = server.publish("a", topic="t")
        answer = await asking
        assert (answer, now()) == ({"messages": [{"id": id, "data": "a"}], "last": id, "gap": False}, 10)
        assert (await poll(server, f"&after={id}", "/long-poll"), now()) == ({"messages": [], "last": id, "gap": False}, 35)
        server.publish("b", topic="t")
        assert len((await poll(server, f"&after={id}", "/long-poll"))["messages"]) == 1
        assert now() == 35


@virtual
async def test_drain_answers_long_polls():
    """The demo app's owner closes it first; what waits is not lost, for the id is what it was."""
    async with stage() as server:
        start = server.broker.last_id("t")
        asking = asyncio.create_task(poll(server, "", "/long-poll"))
        await asyncio.sleep(1)
        server.demo.close()
        assert (await asking, now()) == ({"messages": [], "last": start, "gap": False}, 1)


# ---- chat --------------------------------------------------------------------------------------------------------------


async def chatting(server, query="", **options):
    client = server.client(**options)
    assert (await client.ask(opening(target=f"/chat?topic=t{query}"))).status == 101
    return Peer(client.pipe, unread=client._unread)


@virtual
async def test_chat():
    """What one says, all hear, and the other feeds too; text where it is text."""
    async with stage() as server:
        one, two = await chatting(server), await chatting(server)
        one.send(Message("hello"))
        assert [await peer.data() for peer in (one, two)] == ["hello"] * 2
        two.send(Message(b"\xff"), Message(b"bytes that are text"))
        assert [await one.data() for _ in range(2)] == [b"\xff", "bytes that are text"]
        server.publish("published", topic="t")
        assert await one.data() == "published"
        assert [message["data"] for message in (await poll(server, "&after=1-0"))["messages"]][-1] == "published"
        await one.close()
        two.pipe.abort()


@virtual
async def test_chat_with_ids():
    async with stage(history=2) as server:
        peer = await chatting(server, "&after=")
        start = json.loads(await peer.data())
        assert start == {"id": server.broker.last_id("t")}
        ids = server.publish("1", "2", "3", topic="t")
        assert json.loads(await peer.data()) == {"id": ids[0], "data": "1"}
        peer.pipe.abort()
        again = await chatting(server, f"&after={start['id']}")
        expected = [{"id": ids[0], "gap": None}, {"id": ids[1], "data": "2"}, {"id": ids[2], "data": "3"}]
        assert [json.loads(await again.data()) for _ in range(3)] == expected
        await again.close()


@virtual
async def test_a_page_of_another_origin_may_not_chat():
    async with stage() as server:
        client = server.client()
        assert (await client.ask(opening("Origin: http://evil", target="/chat"))).status == 403
        await client.pipe.close()


@virtual
async def test_who_is_too_slow_for_the_chat_is_told_so():
    """1013, try again later; the others hear everything."""
    async with stage(history=0) as server:
        slow = await chatting(server, capacity=1_000)
        other = server.broker.subscribe("t", on_overflow="drop_oldest")
        for _ in range(300):
            server.publish(b"x" * 65_536, topic="t")
            await asyncio.sleep(0.001)
            assert len(other.take(10)) == 1
        other.close()
        events = await slow.events()
        assert events[-1] == Close(1013, "too slow") and len(events) < 300


def test_work_that_fails_beside_a_handler_ends_it(monkeypatch, logged):
    """What forwards to a chat has a bug: the client is told, and does not wait for messages that nobody sends."""

    def fails(item):
        raise KeyError("bug")

    monkeypatch.setattr("minproto.lab.feeds._text_or_bytes", fails)

    @virtual
    async def run():
        async with stage() as server:
            peer = await chatting(server)
            peer.send(Message("hello"))
            async with asyncio.timeout(1):
                assert (await peer.event()).code == 1011

    run()
    assert len(logged) == 1 and "the handler of a WebSocket failed" in logged[0] and "KeyError: 'bug'" in logged[0]
    logged.clear()
