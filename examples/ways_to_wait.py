"""Polling against long polling against Server-Sent Events: how many requests does it take to hear of a message, and how soon?

Five messages are published, 0.3 s apart. A client that polls once a second hears of a message late, and makes useless requests
while nothing happens. A long poll is answered as soon as there is a message, but each message costs a request. A stream costs
one request, however many messages come. All three clients read one log by its ids, so none of them misses a message between
two requests.

It prints:

    polling: 3 requests, the slowest message took more than half a second
    long polling: 6 requests, the slowest message took less than half a second
    a stream: 1 request, the slowest message took less than half a second
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from minproto import Answer, Broker, EventSource, EventStream, Request, Response, Server, connect_http
from minproto.lab.feeds import poll

COUNT = 5
broker = Broker(history=100)
requests = 0


async def app(request: Request) -> Answer:
    global requests
    requests += 1
    after = request.last_event_id or request.query.get("after")
    subscription = broker.subscribe("news", after=after)
    match request.path:
        case "/events":
            return EventStream(subscription)
        case "/poll":
            return await poll(subscription, 0)
        case "/long-poll":
            return await poll(subscription, 25)
    return Response.text("not found\n", 404)


async def asking(port: int, path: str, pause: float) -> AsyncIterator[str]:
    """Yield the data of messages, one request after another. The first request only asks where to begin."""
    async with connect_http("127.0.0.1", port) as client:
        response = await client.request("GET", "/poll")
        while True:
            answer = json.loads(await response.read())
            for message in answer["messages"]:
                yield message["data"]
            await asyncio.sleep(pause)
            response = await client.request("GET", f"{path}?after={answer['last']}")


async def streaming(port: int) -> AsyncIterator[str]:
    async for event in EventSource(f"http://127.0.0.1:{port}/events"):
        yield event.data


async def publish() -> None:
    await asyncio.sleep(0.15)
    for _ in range(COUNT):
        broker.publish("news", b"%d" % time.monotonic_ns())  # the message is the time when it was published
        await asyncio.sleep(0.3)


async def compare(name: str, messages: AsyncIterator[str]) -> None:
    global requests
    requests = 0
    publishing = asyncio.create_task(publish())
    delays = []
    async with aclosing(messages):
        async for message in messages:
            delays.append((time.monotonic_ns() - int(message)) / 1e9)
            if len(delays) == COUNT:
                break
    took = "more" if max(delays) > 0.5 else "less"
    print(f"{name}: {requests} request{'s' * (requests > 1)}, the slowest message took {took} than half a second")
    await publishing


async def main() -> None:
    async with Server(app, port=0) as server:
        await compare("polling", asking(server.port, "/poll", 1))
        await compare("long polling", asking(server.port, "/long-poll", 0))
        await compare("a stream", streaming(server.port))


asyncio.run(main())
