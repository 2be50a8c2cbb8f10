"""Push, side by side: the server's half of it."""

import asyncio
import json
from typing import Any

import pytest
from harness import virtual
from lab_harness import Control, Page, lab

from minproto.aio.http_client import ClientResponse
from minproto.core import CLIENT
from minproto.lab.push import MAX_CLIENTS, MAX_COMMAND
from minproto.sse import Connection, ServerSentEvent


async def poll(page: Page, control: Control, column: str, **query: str) -> dict[str, Any]:
    status, content = await page.get(control.url(column, **query))
    assert status == 200
    return json.loads(content)  # type: ignore[no-any-return]


async def events(response: ClientResponse, count: int) -> list[ServerSentEvent]:
    """So many events of a stream."""
    core, seen = Connection(CLIENT), []
    while len(seen) < count:
        core.receive_data(await anext(response))
        seen += [event for event in core.events() if isinstance(event, ServerSentEvent)]
    return seen


@virtual
async def test_four_ways_bring_the_same_messages() -> None:
    """With the same ids, in the same order, from where the control said."""
    async with lab() as page:
        control = await page.control()
        start = control.hello["start"]
        for number in range(3):
            await control.order(publish=f"news {number}")
        short = await poll(page, control, "short", after=start)
        long = await poll(page, control, "long", after=start)
        async with page.client() as client:
            stream = await client.request("GET", control.url("sse", after=start))
            sse = [{"id": event.id, "data": event.data} for event in await events(stream, 3)]
        socket = await page.socket(control.url("ws", after=start))
        ws = [json.loads(await socket.receive()) for _ in range(3)]
        assert short["messages"] == long["messages"] == sse == ws
        assert [message["data"] for message in ws] == ["news 0", "news 1", "news 2"]
        assert [message["id"] for message in ws] == control.published
        await socket.close()
        await control.close()


@virtual
async def test_a_long_poll_waits_for_news() -> None:
    async with lab() as page:
        control = await page.control()
        waiting = asyncio.create_task(poll(page, control, "long", after=control.hello["start"]))
        await asyncio.sleep(5)
        assert not waiting.done()
        await control.order(publish="at last")
        assert [message["data"] for message in (await waiting)["messages"]] == ["at last"]
        await control.close()


@virtual
async def test_a_poll_says_where_something_is_missing() -> None:
    """Behind an id that the topic's log does not have any more; not behind one that it has."""
    async with lab() as page:
        control = await page.control()
        await control.order(publish="here")
        assert (await poll(page, control, "short", after="1-0"))["gap"] is True
        assert (await poll(page, control, "short", after=control.hello["start"]))["gap"] is False
        await control.close()


@virtual
async def test_an_event_stream_resumes_where_the_browser_says() -> None:
    """Its Last-Event-ID counts, not the query of its URL, which stays that of the beginning."""
    async with lab() as page:
        control = await page.control()
        for number in range(3):
            await control.order(publish=str(number))
        async with page.client() as client:
            target = control.url("sse", after=control.hello["start"])
            stream = await client.request("GET", target, [("last-event-id", control.published[1])])
            assert [event.data for event in await events(stream, 1)] == ["2"]
        await control.close()


@virtual
async def test_what_is_counted() -> None:
    """Requests and bytes of each column, on connections that columns share; others' requests are nobody's."""
    async with lab() as page:
        control = await page.control()
        async with page.client() as client:
            counted = []
            for column in ("short", "short", "long"):
                if column == "long":
                    await control.order(publish="x")
                before = client.endpoint.sent, client.endpoint.received
                response = await client.request("GET", control.url(column, after=control.hello["start"]))
                await response.read()
                counted.append((client.endpoint.sent - before[0], client.endpoint.received - before[1]))
                await (await client.request("GET", "/hello")).read()
        await asyncio.sleep(0.3)
        short, long = control.columns["short"], control.columns["long"]
        assert (short["requests"], short["received"], short["sent"]) == (
            2, counted[0][0] + counted[1][0], counted[0][1] + counted[1][1],
        )  # fmt: skip
        assert (long["requests"], long["received"], long["sent"]) == (1, *counted[2])
        assert control.columns["sse"]["requests"] == 0
        await control.close()


@virtual
async def test_bytes_of_a_websocket() -> None:
    """In both directions, with its handshake."""
    async with lab() as page:
        control = await page.control()
        socket = await page.socket(control.url("ws", after=control.hello["start"]))
        await asyncio.sleep(0.3)
        before = control.columns["ws"]
        await control.order(publish="x" * 10)
        await socket.ping()
        await asyncio.sleep(0.3)
        after = control.columns["ws"]
        frame = len(json.dumps({"id": control.published[0], "data": "x" * 10}, separators=(",", ":"))) + 2
        assert after["sent"] - before["sent"] == frame + 10  # a Pong of 8 bytes
        assert after["received"] - before["received"] == 14  # a masked Ping
        assert after["requests"] == 1
        await socket.close()
        await control.close()


@virtual
async def test_a_cut_ends_one_column() -> None:
    """Its connection is reset; the others' are not."""
    async with lab() as page:
        control = await page.control()
        socket = await page.socket(control.url("ws"))
        async with page.client() as client:
            stream = await client.request("GET", control.url("sse"))
            await anext(stream)
            await control.order(cut="sse")
            with pytest.raises(ConnectionResetError):
                await anext(stream)
        await control.order(publish="still here")
        assert json.loads(await socket.receive())["data"] == "still here"
        await socket.close()
        await control.close()


@virtual
async def test_a_websocket_that_does_not_say_where_it_was_loses_messages() -> None:
    """One that does gets them."""
    async with lab() as page:
        control = await page.control()
        await control.order(publish="missed")
        forgetful = await page.socket(control.url("ws"))
        careful = await page.socket(control.url("ws", after=control.hello["start"]))
        await control.order(publish="seen")
        assert json.loads(await forgetful.receive())["data"] == "seen"
        assert [json.loads(await careful.receive())["data"] for _ in range(2)] == ["missed", "seen"]
        await forgetful.close()
        await careful.close()
        await control.close()


@virtual
async def test_a_slow_column_gets_a_gap_and_no_other_does() -> None:
    """What does not fit into its queue is dropped, oldest first, and counted; nothing else is lost or repeated."""
    async with lab() as page:
        control = await page.control()
        start = control.hello["start"]
        slow, quick = [await page.socket(control.url("ws", after=start)) for _ in range(2)]
        control_of_quick = await page.control()
        await quick.close()
        quick = await page.socket(control_of_quick.url("ws", after=start))
        await control.order(slow="ws", on=True)
        assert control.columns["ws"]["slow"]
        await control.order(rate=200)
        await asyncio.sleep(5)
        await control.order(rate=0)
        await control.order(slow="ws", on=False)
        await asyncio.sleep(5)
        seen, missing = [], 0
        while len(seen) + missing < len(control.published):
            item = json.loads(await slow.receive())
            missing += item.get("gap", 0)
            seen += [item["id"]] if "id" in item else []
        assert missing > 100 and seen == sorted(set(seen), key=control.published.index)
        assert [json.loads(await quick.receive())["id"] for _ in control.published] == control.published
        for end in (slow, quick, control, control_of_quick):
            await end.close()


@virtual
@pytest.mark.parametrize("rate", [0.5, 5, 200])
async def test_n_a_second(rate: float) -> None:
    """From now on, until told otherwise, at the rate that was asked for."""
    async with lab() as page:
        control = await page.control()
        await control.order(rate=rate)
        await asyncio.sleep(10)
        await control.order(rate=0)
        assert len(control.published) == pytest.approx(10.3 * rate, abs=1 + rate * 0.05)
        count = len(control.published)
        await asyncio.sleep(5)
        assert len(control.published) == count
        await control.close()


@virtual
async def test_what_was_published_ends_with_its_page() -> None:
    """Nobody publishes for a page that was closed, and its columns are let go."""
    async with lab() as page:
        control = await page.control()
        await control.order(rate=100)
        await control.order(rate=0)
        waiting = asyncio.create_task(page.get(control.url("long", after=control.published[-1])))
        await asyncio.sleep(0.1)
        await control.close()
        closed = asyncio.get_running_loop().time()
        await waiting
        assert asyncio.get_running_loop().time() - closed < 1
        another = await page.control()
        await another.order(rate=100)
        await another.close()
        log = page.broker.inner.log("updates")
        await asyncio.sleep(5)
        assert page.broker.inner.log("updates") == log
        assert page.broker.inner.subscriber_count("updates") == 0
        assert (await page.get(control.url("short")))[0] == 404


@virtual
@pytest.mark.parametrize(
    "words",
    ["", "1", "[]", "{}", '{"rate":-1}', '{"rate":201}', '{"rate":NaN}', '{"cut":"all"}', '{"slow":"sse"}', '{"publish":1}',
     "[" * 4_000, '{"publish":"\\ud800"}', '{"cut":[]}'],
)  # fmt: skip
async def test_what_is_no_command(words: str) -> None:
    """The control is closed, with a word; nothing else happens."""
    async with lab() as page:
        control = await page.control()
        await control.socket.send(words)
        await control._reading
        assert control.socket.close_code == 1008
        assert page.broker.inner.log("updates") == []


@virtual
async def test_a_command_has_a_size() -> None:
    async with lab() as page:
        control = await page.control()
        await control.socket.send("x" * (MAX_COMMAND + 1))
        await control._reading
        assert control.socket.close_code == 1009


@virtual
async def test_not_everybody_at_once() -> None:
    """Pages have a maximum; one that goes makes room."""
    async with lab() as page:
        controls = [await page.control() for _ in range(MAX_CLIENTS)]
        status, _ = await page.get(
            "/lab/push/control", ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")
        )
        assert status == 503
        await controls.pop().close()
        controls.append(await page.control())
        for control in controls:
            await control.close()


@virtual
async def test_strangers() -> None:
    """Without a page's token, and for a column that there is not: 404."""
    async with lab() as page:
        control = await page.control()
        for target in ("/lab/push/short", "/lab/push/short?client=x", control.url("pigeon"), control.url("")):
            assert (await page.get(target))[0] == 404
        await control.close()


@virtual
async def test_the_lab_can_stop() -> None:
    """Whatever is open: a long poll is answered at once, streams and WebSockets end."""
    async with lab() as page:
        control = await page.control()
        waiting = asyncio.create_task(poll(page, control, "long"))
        socket = await page.socket(control.url("ws"))
        client = page.client()
        stream = await client.request("GET", control.url("sse"))
        await anext(stream)
        began = asyncio.get_running_loop().time()
        page.push.close()
        closing = asyncio.create_task(page.server.close())
        assert (await waiting)["messages"] == []
        async for _ in stream:
            pass
        async for _ in socket:
            pass
        await client.close()
        await socket.close()
        await control.close()
        await closing
        assert asyncio.get_running_loop().time() - began < 3
