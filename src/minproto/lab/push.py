"""Push, side by side: four ways to bring a server's messages to a page, on one topic, each with its cost.

    short polling   the page asks every second: are there messages since this id?
    long polling    the page asks the same question, and the answer waits until there is a message
    SSE             one answer that never ends; after a loss the browser itself comes back, with Last-Event-ID
    WebSocket       a connection of messages instead of requests; after a loss the page's script has to come back, with an id

A page first opens a WebSocket, the *control*:

    lab   {"client": "3fQ...", "start": "1700000000000-0", "topic": "updates"}     a token, which the four columns ask with
    lab   {"published": ["1700000000250-0"], "columns": {"short": {"requests": 3, ...}, ...}, "rate": 4}    four times a second
    page  {"rate": 10}                                       publish ten messages a second for me
    page  {"slow": "sse", "on": true}, {"cut": "ws"}         make a column's connection slow; reset a column's connection

From the ids of all published messages, the page can tell which messages each column has missed.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

from minproto.aio.broker import Broker, Item, Message, Subscription
from minproto.aio.http import Answer, Request, Response, not_allowed
from minproto.aio.sse import EventStream
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.broker import Limits
from minproto.lab.feeds import LONG_POLL_SECONDS, beside, poll, text
from minproto.lab.line import Account, Line
from minproto.websocket import Limits as WebSocketLimits

PREFIX = "/lab/push/"
TOPIC = "updates"
POLICY_VIOLATION = 1_008
"""The close code for a page that sends something other than our commands (RFC 6455 §7.4.1)."""
COLUMNS = ("short", "long", "sse", "ws")
MAX_CLIENTS = 100
"""How many pages may be open at once."""
MAX_RATE = 200.0
"""The maximum number of messages a second that the lab publishes for one page."""
MAX_COMMAND = 4_096
"""The maximum number of bytes of a command, including the message that it may carry."""
REPORT_SECONDS = 0.25
RETRY = 1_000
"""Milliseconds after which a browser's EventSource reconnects: a short time, since somebody is watching the page."""
BACKLOG = Limits(max_pending=100)
"""How many messages may be pending for a slow column. Beyond this, the oldest are dropped, and the column gets a Gap."""
LEAST_PAUSE = 0.02
"""Seconds between two rounds of publishing. At a high rate, each round publishes several messages."""


@dataclass
class Client:
    """A page that has its control open."""

    token: str = field(default_factory=lambda: token_urlsafe(9))
    accounts: dict[str, Account] = field(default_factory=lambda: {name: Account() for name in COLUMNS})
    rate: float = 0.0
    """How many messages a second are published for the page."""
    rate_changed: asyncio.Event = field(default_factory=asyncio.Event)
    subscriptions: set[Subscription] = field(default_factory=set)
    """The subscriptions of the page's polls and event streams. They are closed when the page is closed."""


class Push:
    """The part of the lab's app whose paths begin with PREFIX."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._clients: dict[str, Client] = {}
        self._published = 0

    def close(self) -> None:
        """End all polls and streams, since the lab is about to stop."""
        for client in self._clients.values():
            _end(client)

    def claim(self, request: Request) -> None:
        """Count a request, and the bytes of its connection, for its column. Called with every request to the lab.

        An HTTP/2 request shares its connection with all others, so its bytes are not counted. The request is kept, so that the
        page can cut its stream.
        """
        client, column = self._client(request), request.path.removeprefix(PREFIX)
        account = client.accounts.get(column) if client else None
        line = request.pipe.info("line")
        if request.head.stream and account is not None:
            account.requests += 1
            account.streams.append(request)
        elif not request.head.stream and isinstance(line, Line):
            line.claim(account, onward=column == "ws")

    def _client(self, request: Request) -> Client | None:
        return self._clients.get(request.query.get("client", "")) if request.path.startswith(PREFIX) else None

    async def __call__(self, request: Request) -> Answer:
        """Answer a column's request, or a page's control. The path names the column, and the query has the page's token."""
        column = request.path.removeprefix(PREFIX)
        if request.method != "GET":
            return not_allowed("GET", "HEAD")
        if column == "control":
            return self._control(request)
        client = self._client(request)
        if client is None or column not in COLUMNS:
            return Response.text("there is no such page, or no such column\n", 404)
        if column == "ws":
            return upgrade(request, lambda ws: _feed(ws, self._subscribe(request)))
        subscription = self._subscribe(request)
        client.subscriptions = {other for other in client.subscriptions if other.ended is None} | {subscription}
        if column == "sse":
            return EventStream(subscription, retry=RETRY)
        return await poll(subscription, LONG_POLL_SECONDS if column == "long" else 0)

    def _subscribe(self, request: Request) -> Subscription:
        """Subscribe a column, from the last id that it has seen, which is in the query or in an EventSource's header field."""
        after = request.headers.get("last-event-id") or request.query.get("after")
        return self._broker.subscribe(TOPIC, after=after, limits=BACKLOG, on_overflow="drop_oldest")

    # -- the control

    def _control(self, request: Request) -> Answer:
        if len(self._clients) >= MAX_CLIENTS:
            return Response.text("too many pages are open\n", 503)
        return upgrade(request, self._serve, limits=WebSocketLimits(max_message=MAX_COMMAND))

    async def _serve(self, ws: WebSocket) -> None:
        """Serve a page's control until it ends: report to the page, publish for it, and obey its commands, all at once."""
        client = Client()
        self._clients[client.token] = client
        try:
            async with beside(self._report(client, ws), self._publish_for(client)):
                await self._obey_all(client, ws)
        finally:
            del self._clients[client.token]
            _end(client)

    async def _obey_all(self, client: Client, ws: WebSocket) -> None:
        try:
            async for message in ws:
                self._obey(client, _command(message))
        except (ValueError, KeyError, RecursionError):
            await ws.close(POLICY_VIOLATION, "this is not a command of the lab")

    def _obey(self, client: Client, command: dict[str, Any]) -> None:
        """Carry out a page's command. Raises ValueError or KeyError for JSON that is not a command."""
        match command:
            case {"publish": str(message)}:
                self._broker.publish(TOPIC, message.encode())
            case {"rate": int() | float() as rate} if 0 <= rate <= MAX_RATE:
                client.rate = float(rate)
                client.rate_changed.set()
            case {"cut": str(column)}:
                client.accounts[column].cut()
            case {"slow": str(column), "on": bool(on)}:
                client.accounts[column].slow = on
            case _:
                raise ValueError("unknown command")

    async def _report(self, client: Client, ws: WebSocket) -> None:
        """Send the page its token and its start id; then, again and again, what has happened since the last report."""
        start = self._broker.last_id(TOPIC)
        async with self._broker.subscribe(TOPIC, on_overflow="drop_oldest") as published:
            await _send(ws, {"client": client.token, "start": start, "topic": TOPIC})
            while True:
                items = published.take(published.inner.pending + 1)
                ids = [item.id for item in items if isinstance(item, Message)]
                columns = {name: _figures(account) for name, account in client.accounts.items()}
                await _send(ws, {"published": ids, "columns": columns, "rate": client.rate})
                await asyncio.sleep(REPORT_SECONDS)

    async def _publish_for(self, client: Client) -> None:
        """Publish at the client's rate. When the rate rises from 0, the first message goes out at once.

        At 60 messages a second and a round every 0.02 s, 1.2 messages are due in each round: ``due`` keeps the 0.2 for the
        next round.
        """
        clock = asyncio.get_running_loop().time
        while True:
            await client.rate_changed.wait()
            due, then = 1.0, clock()
            while client.rate:
                client.rate_changed.clear()
                for _ in range(int(due)):
                    self._published += 1
                    self._broker.publish(TOPIC, f"message {self._published}".encode())
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(1 / client.rate, LEAST_PAUSE)):
                        await client.rate_changed.wait()
                now = clock()
                due = due % 1 + min(client.rate * (now - then), max(client.rate, 1.0))  # no burst after a standstill
                then = now
            client.rate_changed.clear()


async def _feed(ws: WebSocket, subscription: Subscription) -> None:
    """Send the messages of a subscription until the subscription or the WebSocket ends."""
    async with subscription, beside(_forward(subscription, ws)):
        async for _ in ws:
            pass  # the page sends nothing: we iterate only to notice when the connection closes


async def _forward(subscription: Subscription, ws: WebSocket) -> None:
    async for item in subscription:
        await _send(ws, _item(item))
    await ws.close()


def _item(item: Item) -> dict[str, Any]:
    if isinstance(item, Message):
        return {"id": item.id, "data": text(item)}
    return {"gap": item.count}


def _figures(account: Account) -> dict[str, Any]:
    """Return the figures of a column. Over HTTP/2 the bytes cannot be told apart, so they are None."""
    counted = not account.streams
    return {
        "requests": account.requests,
        "received": account.received if counted else None,
        "sent": account.sent if counted else None,
        "slow": account.slow,
    }


def _command(message: str | bytes) -> dict[str, Any]:
    command = json.loads(message)
    if not isinstance(command, dict):
        raise ValueError("a command is a JSON object")
    return command


async def _send(ws: WebSocket, value: object) -> None:
    await ws.send(json.dumps(value, separators=(",", ":")))


def _end(client: Client) -> None:
    for subscription in client.subscriptions:
        subscription.close()
