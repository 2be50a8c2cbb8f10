"""The endpoints of the demo app that pass messages on: one broker, and five ways to receive messages from it.

    POST /publish  --.                    .--> GET /events      one endless response (Server-Sent Events)
                     +--> broker (topic) -+--> GET /poll        the messages since an id, at once
    /chat, a message-'                    +--> GET /long-poll   the same, but the response waits for a message
                                          +--> /chat            a WebSocket
                                          `--> RESP             redis-cli (``minproto lab`` alone)

All five deliver the same messages with the same ids, in the same order.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

from minproto.aio.broker import Broker, Item, Message, Subscription
from minproto.aio.http import Answer, Request, Response, not_allowed
from minproto.aio.observe import logger
from minproto.aio.sse import EventStream
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import same_origin, upgrade
from minproto.broker import MAX_NAME
from minproto.websocket import TRY_AGAIN_LATER

LONG_POLL_SECONDS = 25.0
MOST = 1_000
"""The maximum number of messages in one answer to a poll. The next poll gets the messages after them."""


class Feeds:
    """The app of these endpoints."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._polls: set[Subscription] = set()
        self._closed = False
        self._chat_page = files(__package__).joinpath("chat.html").read_text()

    def close(self) -> None:
        """Answer the waiting long polls, since the server is about to stop, and later ones at once."""
        self._closed = True
        for subscription in self._polls:
            subscription.end()

    async def __call__(self, request: Request) -> Answer:
        """Answer a request for one of these endpoints, or a 404."""
        if len(_topic(request).encode()) > MAX_NAME:
            return Response.text(f"a topic has at most {MAX_NAME} bytes\n", 400)
        match request.method, request.path:
            case "GET", "/chat":
                return self._chat(request)
            case "GET", "/events":
                return EventStream(self._broker.subscribe(_topic(request), after=request.last_event_id or _after(request)))
            case "GET", "/poll":
                return await self._poll(request, 0)
            case "GET", "/long-poll":
                return await self._poll(request, LONG_POLL_SECONDS)
            case "POST", "/publish":
                return await self._publish(request)
            case _, "/publish":
                return not_allowed("POST")
            case _, "/chat" | "/events" | "/poll" | "/long-poll":
                return not_allowed("GET", "HEAD")
        return Response.text("not found\n", 404)

    def _chat(self, request: Request) -> Answer:
        """Answer a browser with the page of the chat, and a WebSocket with the chat itself.

        With ``after=`` in the query (an id, or nothing), each message is JSON and includes its id, so the client can resume.
        """
        if request.headers.get("upgrade") is None and not request.protocol:
            return Response.html(self._chat_page)
        topic = _topic(request)
        form = _with_id if "after" in request.query else _text_or_bytes

        async def talk(ws: WebSocket) -> None:
            subscription = self._broker.subscribe(topic, after=_after(request))
            async with subscription, beside(_forward(subscription, ws, form)):
                async for message in ws:
                    self._broker.publish(topic, message.encode() if isinstance(message, str) else message)

        return upgrade(request, talk)

    async def _publish(self, request: Request) -> Response:
        """Publish the content, unless a page from another origin sends it: browsers let any page POST anywhere."""
        origin = request.headers.get("origin")
        if origin is not None and not same_origin(request, origin):
            logger.warning(
                "the request %.200a is refused with 403: its Origin is %.200a, and the authority that it asks for is %.200a",
                f"{request.method} {request.target}", origin, request.authority,
            )  # fmt: skip
            return Response.text("this origin may not publish here\n", 403)
        return Response.text(f"{self._broker.publish(_topic(request), await request.read())}\n")

    async def _poll(self, request: Request, seconds: float) -> Response:
        """Answer a poll. ``close`` can end the wait, since the subscription is in ``_polls``."""
        subscription = self._broker.subscribe(_topic(request), after=_after(request))
        self._polls.add(subscription)
        try:
            return await poll(subscription, 0 if self._closed else seconds)
        finally:
            self._polls.discard(subscription)


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines while the block is running, and cancel them at the end of the block.

    For example, the block reads from a WebSocket and the coroutine writes to it. If a coroutine fails, the block ends as
    well: otherwise the peer would wait for messages that never come. A ConnectionError does not end the block, which notices
    the loss itself.
    """

    async def run(one: Coroutine[Any, Any, None]) -> None:
        with suppress(ConnectionError):
            await one

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(one)) for one in work]
        yield
        for task in tasks:
            task.cancel()


async def poll(subscription: Subscription, seconds: float) -> Response:
    """Answer with the pending messages; if there are none, wait up to ``seconds`` for the first one.

    The answer is JSON. ``last`` is the id for the next poll's ``after``, and ``gap`` says whether messages are missing.
    """
    async with subscription:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await subscription.ready()
        items = subscription.take(MOST)
    answer = {
        "messages": [{"id": item.id, "data": text(item)} for item in items if isinstance(item, Message)],
        "last": [subscription.start, *(item.id for item in items if item.id is not None)][-1],
        "gap": any(not isinstance(item, Message) for item in items),
    }
    return Response.json(answer, headers={"cache-control": "no-store"})


def text(message: Message) -> str:
    """Return the data of a message as text. Bytes that are not UTF-8 become U+FFFD."""
    return message.data.decode("utf-8", "replace")


def _topic(request: Request) -> str:
    return request.query.get("topic", "updates")


def _after(request: Request) -> str | None:
    return request.query.get("after") or None


async def _forward(subscription: Subscription, ws: WebSocket, form: Callable[[Item], str | bytes | None]) -> None:
    """Send each item of a subscription. In the form with ids, the subscription's start id comes first."""
    if form is _with_id and subscription.start is not None:
        await ws.send(json.dumps({"id": subscription.start}))
    async for item in subscription:
        if (message := form(item)) is not None:
            await ws.send(message)
    await ws.close(TRY_AGAIN_LATER, "too slow")


def _with_id(item: Item) -> str:
    if isinstance(item, Message):
        return json.dumps({"id": item.id, "data": text(item)})
    return json.dumps({"id": item.id, "gap": item.count})


def _text_or_bytes(item: Item) -> str | bytes | None:
    """Return the data as text if it is UTF-8, otherwise as bytes; None for a Gap, which has no data."""
    if not isinstance(item, Message):
        return None
    try:
        return item.data.decode()
    except UnicodeDecodeError:
        return item.data
