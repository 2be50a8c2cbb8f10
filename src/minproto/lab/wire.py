"""The wire: all bytes that cross the lab's connections, explained byte by byte, for pages that are watching.

    Line --> _Tap --> Explainer --> rows --> broker (a queue for each page) --> WebSocket --> page

While a page is watching, each new connection gets a tap, which gives a copy of its bytes to an ``Explainer``. While no page is
watching, new connections get no tap and cost nothing extra. A connection that began earlier is never shown: the meaning of its
bytes depends on earlier bytes, for example on HPACK's table of fields or on a compression window.

Everything here is bounded:

- A slow page's rows are kept in a broker's queue, which drops the oldest rows and tells the page how many it has dropped.
- Explaining bytes takes longer than exchanging them. So a connection that produces too many rows a second is shown no further.
- The page gets the beginning of a long field, and its length.
- The connection of a watching page is not shown, or each row would cause another row.
"""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_urlsafe
from typing import Any

from minproto.aio.broker import Broker, Item, Message, Subscription
from minproto.aio.http import Answer, Request, Response, not_allowed
from minproto.aio.observe import logger
from minproto.aio.pipe import READ_SIZE, Pipe
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.broker import Limits
from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Explainer, Row
from minproto.lab.feeds import beside
from minproto.lab.line import Line
from minproto.lab.visits import VISITS

PREFIX = "/lab/wire/"
QUEUE = Limits(max_pending=2_000, max_pending_bytes=8 << 20)
"""The bounds of one page's queue of events."""
BATCH = 100
"""The maximum number of events in one message to a page."""
MAX_BYTES = 512
"""The maximum number of bytes of one field, and of characters of its value, that the page gets."""
BURST = 500.0
"""How many rows of one connection may come at once: a budget, which is refilled at RATE rows a second."""
RATE = 50.0
"""How many rows a second may come from one connection, in the long run."""
MAX_WATCHERS = 50
"""How many pages may be watching at once."""


class Wire:
    """The part of the lab's app whose paths begin with PREFIX."""

    def __init__(self, visit: Callable[[str], Awaitable[None]], clock: Callable[[], float]) -> None:
        """``visit``: makes the visit with this name, one of VISITS. ``clock``: returns seconds."""
        self._visit = visit
        self._clock = clock
        self._events = Broker(limits=QUEUE)
        self._numbers = count(1)
        # After a restart of the lab, numbers start at 1 again. The lab's name tells a page that this is another number 1.
        self._name = token_urlsafe(6)
        self._taps: dict[int, _Tap] = {}

    @property
    def watchers(self) -> int:
        """The number of pages watching."""
        return self._events.inner.subscriber_count("events")

    def tap(self, pipe: Pipe) -> "_Tap | None":
        """Return a tap for a new connection, and tell all pages about the connection; None while no page is watching."""
        if not self.watchers:
            return None
        tap = _Tap(self, next(self._numbers), pipe, self._clock)
        self._taps[tap.number] = tap
        self.tell(tap.opened)
        return tap

    def tell(self, event: dict[str, Any]) -> None:
        """Give an event to all watching pages."""
        self._events.publish("events", json.dumps(event, separators=(",", ":")).encode())

    def remove(self, tap: "_Tap") -> None:
        """Remove a tap from the list of open connections, which each new page gets."""
        self._taps.pop(tap.number, None)

    async def __call__(self, request: Request) -> Answer:
        """Answer a page that wants to watch, or make a visit for it, so that there is something to see."""
        word = request.path.removeprefix(PREFIX)
        if word == "watch":
            return self._watch(request) if request.method == "GET" else not_allowed("GET", "HEAD")
        if word not in VISITS:
            return Response.text(f"there is no such visit; there are {', '.join(VISITS)}\n", 404)
        if request.method != "POST":
            return not_allowed("POST")
        try:
            await self._visit(word)
        except OSError as error:
            return Response.text(f"the visit failed: {str(error) or 'it took too long'}\n", 502)
        return Response(status=204)

    def _watch(self, request: Request) -> Answer:
        if self.watchers >= MAX_WATCHERS:
            return Response.text(f"{MAX_WATCHERS} pages watch already\n", 503)
        if isinstance(line := request.pipe.info("line"), Line):
            line.untap("not shown: a watching page's own connection")
        return upgrade(request, self._show, compression=None)

    async def _show(self, ws: WebSocket) -> None:
        opened: list[dict[str, Any]] = [{"event": "lab", "name": self._name}, *(tap.opened for tap in self._taps.values())]
        events = self._events.subscribe("events", on_overflow="drop_oldest")
        async with events, beside(_send_on(events, opened, ws)):
            async for _ in ws:
                pass  # the page sends nothing: we iterate only to notice when the connection closes


async def _send_on(events: Subscription, opened: list[dict[str, Any]], ws: WebSocket) -> None:
    """Send the connections that are open now; then all events, with up to ``BATCH`` pending ones in one message."""
    await ws.send(json.dumps(opened))
    while True:
        await events.ready()
        words = [_words(item) for item in events.take(BATCH)]
        await ws.send(f"[{b','.join(words).decode()}]")


def _words(item: Item) -> bytes:
    return item.data if isinstance(item, Message) else json.dumps({"event": "gap", "count": item.count}).encode()


class _Tap:
    """The observer of one connection: bytes in, rows for the pages out."""

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
        """Explain the last, incomplete bytes, and tell the pages that the connection is over."""
        with self._harmless():
            if self._explainer is not None:
                for role in (CLIENT, SERVER):
                    self._explainer.receive_eof(role)
                self._tell_rows()
        self._stop(reason)

    def _see(self, sender: Role, data: bytes) -> None:
        """Explain bytes from one side. A tap stops when no page is watching any more: nobody would read its rows."""
        if self._explainer is None:
            return
        if not self._wire.watchers:
            return self._stop("nobody watches")
        with self._harmless():
            for at in range(0, len(data), READ_SIZE):  # an explainer does not accept more bytes at a time
                if self._explainer is not None:
                    self._explainer.receive_data(sender, data[at : at + READ_SIZE])
                    self._tell_rows()

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Log any error in the explanation, and stop explaining. A fault in a mere observer must not harm the connection."""
        try:
            yield
        except Exception:
            logger.exception("a connection can't be explained")
            self._stop("it can't be explained: the reason is in the lab's log")

    def _tell_rows(self) -> None:
        """Give the complete rows to all pages, as long as the connection's budget of rows lasts."""
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
            self._wire.remove(self)


def shown(row: Row) -> dict[str, Any]:
    """Return a row for the page. For a long field it has only the beginning, and the length in ``bytes``."""
    words = row.to_json()
    for field in words["fields"]:
        field["bytes"] = len(field["raw"]) // 2
        field["raw"] = field["raw"][: 2 * MAX_BYTES]
        if len(field["value"]) > MAX_BYTES:
            field["value"] = f"{field['value'][:MAX_BYTES]}…"
    return words
