"""The wire: what crosses the lab's connections, explained byte by byte, for pages that watch.

While a page watches, each new connection gets a tap, which hands what crosses to an ``Explainer``; its rows go to all who
watch. While nobody does, connections are made without, and cost nothing more. One that began before is not shown: what its
bytes mean depends on those before them (a table of fields, a window of compression).

Everything here is bounded. Rows wait for a slow page in the queue of a broker of their own, which drops the oldest and says
how many. A connection that is faster than anybody reads is shown no further, for an explanation takes longer than the thing
itself. Of long content a part is shown, and how long it is. A watching page's own connection is not shown, or each row would
make another.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_urlsafe
from typing import Any

from minproto.aio.broker import Broker, Item, Message, Subscription
from minproto.aio.endpoint import logger
from minproto.aio.http import Answer, Request, Response, not_allowed
from minproto.aio.pipe import READ_SIZE, Pipe
from minproto.aio.websocket import WebSocket, upgrade
from minproto.broker import Limits
from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Explainer, Row
from minproto.lab.feeds import beside
from minproto.lab.line import Line
from minproto.lab.visits import VISITS

PREFIX = "/lab/wire/"
QUEUE = Limits(max_pending=2_000, max_pending_bytes=8 << 20)
"""What waits for a page."""
BATCH = 100
"""Events in one message to it."""
MAX_BYTES = 512
"""Bytes of one field, and characters of its value, that are shown."""
BURST = 500.0
"""Rows of one connection that may come at once,"""
RATE = 50.0
"""and a second in the long run."""
MAX_WATCHERS = 50


class Wire:
    """The part of the lab's app below PREFIX."""

    def __init__(self, visit: Callable[[str], Awaitable[None]], clock: Callable[[], float]) -> None:
        """``visit`` makes one of VISITS, so that there is something to see; ``clock`` is in seconds."""
        self._visit = visit
        self._clock = clock
        self._events = Broker(limits=QUEUE)
        self._numbers = count(1)
        self._name = token_urlsafe(6)  # numbers begin anew with each lab: its name tells a page that a #1 is another #1
        self._taps: dict[int, _Tap] = {}

    @property
    def watchers(self) -> int:
        """Pages that watch."""
        return self._events.inner.subscriber_count("events")

    def tap(self, pipe: Pipe) -> "_Tap | None":
        """For a new connection; None while nobody watches."""
        if not self.watchers:
            return None
        tap = _Tap(self, next(self._numbers), pipe, self._clock)
        self._taps[tap.number] = tap
        self.tell(tap.opened)
        return tap

    def tell(self, event: dict[str, Any]) -> None:
        """An event for all who watch."""
        self._events.publish("events", json.dumps(event, separators=(",", ":")).encode())

    def forget(self, tap: "_Tap") -> None:
        """It sees nothing more."""
        self._taps.pop(tap.number, None)

    async def __call__(self, request: Request) -> Answer:
        word = request.path.removeprefix(PREFIX)
        if word == "watch":
            return self._watch(request) if request.method == "GET" else not_allowed("GET", "HEAD")
        if word not in VISITS:
            return Response.text("there is no such thing to show\n", 404)
        if request.method != "POST":
            return not_allowed("POST")
        try:
            await self._visit(word)
        except OSError as error:
            return Response.text(f"the visit failed: {str(error) or 'it took too long'}\n", 502)
        return Response(status=204)

    def _watch(self, request: Request) -> Answer:
        if self.watchers >= MAX_WATCHERS:
            return Response.text("too many pages watch\n", 503)
        if isinstance(line := request.pipe.info("line"), Line):
            line.untap("a page's own wire: not shown")
        return upgrade(request, self._show, compression=None)

    async def _show(self, ws: WebSocket) -> None:
        opened: list[dict[str, Any]] = [{"event": "lab", "name": self._name}, *(tap.opened for tap in self._taps.values())]
        events = self._events.subscribe("events", on_overflow="drop_oldest")
        async with events, beside(_send_on(events, opened, ws)):
            async for _ in ws:
                pass  # a page has nothing to say here


async def _send_on(events: Subscription, opened: list[dict[str, Any]], ws: WebSocket) -> None:
    """What there is by now, and what comes, many events at once where they wait."""
    await ws.send(json.dumps(opened))
    while True:
        await events.ready()
        words = [_words(item) for item in events.take(BATCH)]
        await ws.send(f"[{b','.join(words).decode()}]")


def _words(item: Item) -> bytes:
    return item.data if isinstance(item, Message) else json.dumps({"event": "gap", "count": item.count}).encode()


class _Tap:
    """What sees one connection."""

    def __init__(self, wire: Wire, number: int, pipe: Pipe, clock: Callable[[], float]) -> None:
        self.number = number
        self._wire = wire
        self._clock = clock
        self._began = self._then = clock()
        self._allowed = BURST
        self._explainer: Explainer | None = Explainer()
        peer, own = pipe.info("peername"), pipe.info("sockname")
        self.opened = {
            "event": "opened",
            "connection": number,
            "peer": f"{peer[0]}:{peer[1]}" if peer else "",
            "port": own[1] if own else 0,
            "secure": pipe.info("ssl_object") is not None,
        }

    def received(self, data: bytes) -> None:
        self._see(CLIENT, data)

    def sent(self, data: bytes) -> None:
        self._see(SERVER, data)

    def ended(self, reason: str = "closed") -> None:
        """Say what is left, and that this is all."""
        with self._harmless():
            if self._explainer is not None:
                for role in (CLIENT, SERVER):
                    self._explainer.receive_eof(role)
                self._tell_rows()
        self._stop(reason)

    def _see(self, sender: Role, data: bytes) -> None:
        if self._explainer is None:
            return
        if not self._wire.watchers:
            return self._stop("nobody watches")
        with self._harmless():
            for at in range(0, len(data), READ_SIZE):  # no more at a time than an explainer holds
                if self._explainer is not None:
                    self._explainer.receive_data(sender, data[at : at + READ_SIZE])
                    self._tell_rows()

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """A watcher must not harm what it watches: whatever goes wrong here ends here."""
        try:
            yield
        except Exception:
            logger.exception("a connection can't be explained")
            self._stop("this can't be explained: the lab's log has why")

    def _tell_rows(self) -> None:
        assert self._explainer is not None
        now = self._clock()
        self._allowed = min(self._allowed + RATE * (now - self._then), BURST)
        self._then = now
        for row in self._explainer.rows():
            self._allowed -= 1
            if self._allowed < 0:
                return self._stop(f"shown no further: more than {RATE:g} rows a second")
            self._wire.tell({"event": "row", "connection": self.number, "at": round(now - self._began, 4), **shown(row)})

    def _stop(self, reason: str) -> None:
        if self._explainer is not None:
            self._explainer = None
            self._wire.tell({"event": "ended", "connection": self.number, "reason": reason})
            self._wire.forget(self)


def shown(row: Row) -> dict[str, Any]:
    """A row for the page; of long fields a part, and ``bytes``, how long they are."""
    words = row.to_json()
    for field in words["fields"]:
        field["bytes"] = len(field["raw"]) // 2
        field["raw"] = field["raw"][: 2 * MAX_BYTES]
        if len(field["value"]) > MAX_BYTES:
            field["value"] = f"{field['value'][:MAX_BYTES]}…"
    return words
