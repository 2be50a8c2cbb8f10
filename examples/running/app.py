"""An app that says which process has answered, and what this process sees of the client. The page docs/running.md runs it.

    python examples/running/app.py --port 8000
    curl http://127.0.0.1:8000/who
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator

from minproto import Answer, EventStream, Request, Response, ServerSentEvent, WebSocket, serve, upgrade

uploaded: list[int] = []


async def app(request: Request) -> Answer:
    match request.path:
        case "/who":
            field = request.headers.get
            client = {"address": field("x-forwarded-for"), "scheme": field("x-forwarded-proto"), "host": request.authority}
            return Response.json({"process": os.getpid(), "version": request.head.version, **client})
        case "/events":
            return EventStream(ticks())
        case "/ws":
            return upgrade(request, echo)
        case "/upload":
            async for piece in request.body:
                uploaded.append(len(piece))
            return Response.text(f"{sum(uploaded)}\n")
        case "/uploaded":
            return Response.text(f"{sum(uploaded)}\n")
        case "/slow":
            await asyncio.sleep(1)
    return Response.text("done\n")


async def ticks() -> AsyncIterator[ServerSentEvent]:
    for number in range(1_000_000):
        yield ServerSentEvent(f"tick {number}")
        await asyncio.sleep(1)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--path")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--reuse-port", action="store_true")
    asyncio.run(serve(app, **vars(parser.parse_args())))
