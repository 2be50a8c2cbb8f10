"""The wire: what watching pages are told, and that watching costs those who are watched nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from harness import virtual
from lab_harness import Page, lab

from minproto import WebSocket
from minproto.core import Role
from minproto.explain import Explainer
from minproto.lab import wire as module
from minproto.lab.line import Line
from minproto.lab.wire import BURST, MAX_BYTES, QUEUE


class Watcher:
    """A page that watches, and keeps all that it is told."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            self.events += json.loads(message)

    def rows(self, connection: int | None = None) -> list[dict[str, Any]]:
        return [event for event in self.of("row") if connection in (None, event["connection"])]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    async def close(self) -> None:
        await self.socket.close()
        await self._reading


async def watch(page: Page) -> Watcher:
    watcher = Watcher(await page.socket("/lab/wire/watch"))
    await asyncio.sleep(0.1)
    return watcher


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Page, Watcher]]:
    async with lab() as page:
        watcher = await watch(page)
        yield page, watcher
        await watcher.close()


def raw(rows: list[dict[str, Any]], sender: str) -> bytes:
    return b"".join(bytes.fromhex(field["raw"]) for row in rows if row["sender"] == sender for field in row["fields"])


@virtual
async def test_every_byte_is_told_in_both_directions() -> None:
    """With the connection that it belongs to, from where to where, and how that ended."""
    async with watched() as (page, watcher):
        async with page.client() as client:
            response = await client.request("POST", "/echo", body=b"ping")
            assert await response.read() == b"ping"
            endpoint = client.endpoint
        await asyncio.sleep(3)
        rows = watcher.rows()
        assert len(raw(rows, "client")) == endpoint.sent and len(raw(rows, "server")) == endpoint.received
        assert raw(rows, "client").startswith(b"POST /echo HTTP/1.1\r\n") and raw(rows, "client").endswith(b"\r\n\r\nping")
        assert {row["connection"] for row in rows} == {1} and rows[0]["title"] == "POST /echo"
        assert [(event["connection"], event["peer"]) for event in watcher.of("opened")] == [(1, "memory:1")]
        assert [(event["connection"], event["reason"]) for event in watcher.of("ended")] == [(1, "closed")]


@virtual
async def test_a_visit_that_fails_says_so() -> None:
    """Or a button of the page would do nothing."""
    async with lab() as page, page.client() as client:
        for name, status, said in (("request", 204, b""), ("redis", 502, b"the visit failed: nobody is there\n")):
            response = await client.request("POST", f"/lab/wire/{name}")
            assert (response.status, await response.read()) == (status, said)


@virtual
async def test_a_feed_names_its_lab() -> None:
    """First of all, and the same name to all: another name is another lab, whose numbers begin at 1 again."""
    names = []
    for _ in range(2):
        async with watched() as (page, first):
            second = await watch(page)
            assert first.events[0] == second.events[0] and first.events[0]["event"] == "lab"
            names.append(first.events[0]["name"])
            await second.close()
    assert names[0] != names[1]


@virtual
async def test_nobody_watches() -> None:
    """Then connections have no tap, and one that has it loses it; who comes back sees what begins from then on."""
    async with lab() as page:
        assert (await page.get("/hello"))[0] == 200
        watcher = await watch(page)
        client = page.client()
        await (await client.request("GET", "/hello")).read()
        await asyncio.sleep(0.1)
        assert len(page.wire._taps) == 1 and watcher.rows()
        await watcher.close()
        await asyncio.sleep(0.1)
        assert page.wire.watchers == 0
        await (await client.request("GET", "/hello")).read()
        assert not page.wire._taps
        again = await watch(page)
        await (await client.request("GET", "/hello")).read()
        await asyncio.sleep(0.1)
        assert [event["event"] for event in again.events] == ["lab"]
        await client.close()
        await again.close()


@virtual
async def test_a_page_does_not_see_the_wire_of_another() -> None:
    """Or each row would make another row; its request is the last that is seen of it."""
    async with watched() as (page, first):
        second = await watch(page)
        await page.get("/hello")
        await asyncio.sleep(3)
        assert [event["reason"] for event in first.of("ended")] == ["not shown: a watching page's own connection", "closed"]
        assert "GET /lab/wire/watch" in [row["title"] for row in first.rows(1)] and len(first.rows()) < 10
        assert [row["title"] for row in second.rows(2)] == [row["title"] for row in first.rows(2)] != []
        await second.close()


@virtual
async def test_who_comes_later_is_told_what_is_open() -> None:
    async with watched() as (page, _):
        async with page.client() as client:
            await (await client.request("GET", "/hello")).read()
            later = await watch(page)
            assert [event["connection"] for event in later.of("opened")] == [1]
            await (await client.request("GET", "/hello")).read()
            await asyncio.sleep(0.1)
            assert later.rows(1)[0]["title"] == "GET /hello"
            await later.close()


@virtual
async def test_of_long_content_a_part() -> None:
    """With its length; all rows of a download fit into what waits for a page."""
    async with watched() as (page, watcher):
        _, content = await page.get("/bytes/100000")
        assert len(content) == 100_000
        await asyncio.sleep(3)
        fields = [field for row in watcher.rows() if row["sender"] == "server" for field in row["fields"]]
        assert sum(field["bytes"] for field in fields) > 100_000
        assert all(len(field["raw"]) <= 2 * MAX_BYTES and len(field["value"]) <= MAX_BYTES + 1 for field in fields)


@virtual
async def test_what_is_written_in_one_piece_is_explained_in_several() -> None:
    """An explainer holds less than an app may write at once."""
    async with watched() as (page, watcher):
        tap = page.wire.tap(page.pipe())
        assert tap is not None
        tap.received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"
        tap.sent(head + bytes(300_000))
        await asyncio.sleep(0.1)
        rows = [row for row in watcher.rows(tap.number) if row["sender"] == "server"]
        assert sum(field["bytes"] for row in rows for field in row["fields"]) == len(head) + 300_000
        assert not watcher.of("ended")
        tap.ended()


@virtual
async def test_a_connection_that_is_too_fast_is_shown_no_further() -> None:
    """It goes on, unseen; others are shown."""
    async with watched() as (page, watcher):
        async with page.client() as client:
            for _ in range(int(BURST)):
                await (await client.request("GET", "/hello")).read()
            await page.get("/hello")
        await asyncio.sleep(3)
        assert len(watcher.rows(1)) == BURST
        assert "no further" in watcher.of("ended")[0]["reason"]
        assert len(watcher.rows(2)) == 3 and not watcher.of("gap")


@virtual
async def test_a_page_that_does_not_read_costs_a_bounded_queue() -> None:
    """What does not fit is dropped, and the page is told how much; nobody who is watched waits for it."""
    async with lab() as page:
        watcher = await page.socket("/lab/wire/watch")
        for number in range(QUEUE.max_pending + 5_000):
            page.wire.tell({"event": "row", "connection": number, "fill": "x" * 1_000})
        (subscription,) = page.wire._events.inner._listeners["events"]
        assert subscription.pending <= QUEUE.max_pending
        assert (await page.get("/hello"))[0] == 200
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1].get("connection") != QUEUE.max_pending + 4_999:
            seen += json.loads(await watcher.receive())
        assert sum(event["count"] for event in seen if event["event"] == "gap") > 4_000
        await watcher.close()


@virtual
async def test_what_can_not_be_explained_is_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """A fault of the explanation is not one of the connection."""

    class Broken(Explainer):
        def rows(self) -> Any:
            raise RuntimeError("no words")

    async with watched() as (page, watcher):
        monkeypatch.setattr(module, "Explainer", Broken)
        assert await page.get("/hello") == (200, b"Hello, World!")
        monkeypatch.undo()
        await asyncio.sleep(3)
        assert "can't be explained" in watcher.of("ended")[0]["reason"]
        assert "no words" in logged.pop()


@virtual
async def test_an_end_that_can_not_be_explained_is_an_end(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    """The connection is closed all the same: otherwise its peer would wait."""

    class Broken(Explainer):
        def receive_eof(self, sender: Role) -> None:
            raise RuntimeError("no last words")

    async with watched() as (page, watcher):
        pipe = page.pipe()
        monkeypatch.setattr(module, "Explainer", Broken)
        line = Line(pipe, page.wire.tap(pipe))
        monkeypatch.undo()
        line.abort()
        assert line.info("peername") and "no last words" in logged.pop()
        with pytest.raises(ConnectionError):
            await line.drain()
        await asyncio.sleep(0.1)
        assert "can't be explained" in watcher.of("ended")[0]["reason"]


@virtual
async def test_what_it_is_asked() -> None:
    async with lab() as page:
        assert (await page.get("/lab/wire/nothing"))[0] == 404
        assert (await page.get("/lab/wire/request"))[0] == 405
        async with page.client() as client:
            assert (await client.request("POST", "/lab/wire/watch")).status == 405
