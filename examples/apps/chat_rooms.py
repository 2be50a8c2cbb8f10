"""A chat with rooms: who may enter, who is there, and what was said before, on a broker.

    python examples/apps/chat_rooms.py                                     # a port may follow; the page: http://127.0.0.1:8000/

    curl -c jar -d name=Ada http://127.0.0.1:8000/login                    # a cookie with a signed token
    curl -b jar http://127.0.0.1:8000/rooms/lobby                          # {"here": []}, until a page enters the room
    curl -i http://127.0.0.1:8000/rooms/lobby                              # 401: no token

The app checks the token (``tokens.py``, beside this file) before the upgrade, so a stranger gets a 401 and no WebSocket. A
browser sends the cookie with every handshake, also if the page of another site has opened the WebSocket. ``upgrade`` refuses
these pages by their Origin field.

A newcomer gets the last 50 messages of the room, and then the new ones. The broker does both in one step, so no message is
missing and none comes twice. Who is in the room goes to another topic as a whole list: a client that has missed a list needs
only the next one. A person with two windows is in the room once.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tokens import DAY, name_of, new_token

from minproto import Answer, Broker, Gap, Request, Response, Subscription, WebSocket, WebSocketLimits, serve, upgrade

ROOMS, HISTORY = ("lobby", "garden"), 50
LOGIN = re.compile(r"name=([\w-]{1,20})", re.ASCII)
PAGE = Path(__file__).with_suffix(".html")
broker = Broker(history=dict.fromkeys(ROOMS, HISTORY))
windows = {room: Counter[str]() for room in ROOMS}


async def app(request: Request) -> Answer:
    match request.method, request.path.split("/")[1:]:
        case "GET", [""]:
            return Response.html(PAGE.read_text())
        case "POST", ["login"]:  # an app that knows its users asks for a password here
            match = LOGIN.fullmatch((await request.read(1000)).decode("latin-1"))
            if match is None:
                return Response.text("a name has 1 to 20 letters, digits, _ and -\n", 400)
            cookie = f"token={new_token(match[1])}; Max-Age={DAY}; Path=/; HttpOnly; SameSite=Strict"
            return Response(status=204, headers={"set-cookie": cookie})
        case "GET", ["rooms", room] if room in ROOMS:
            if (name := name_of(request)) is None:
                return Response.text("log in first\n", 401, {"www-authenticate": "Bearer"})
            if request.protocol or request.headers.get("upgrade"):
                return upgrade(request, lambda ws: talk(ws, room, name), limits=WebSocketLimits(max_message=4096))
            return Response.json({"here": sorted(windows[room])})
        case _, [""] | ["login"]:
            return Response.text("method not allowed\n", 405, {"allow": "POST" if request.path == "/login" else "GET, HEAD"})
    return Response.text("not found\n", 404)


async def talk(ws: WebSocket, room: str, name: str) -> None:
    windows[room][name] += 1
    try:
        async with asyncio.TaskGroup() as group:
            wanted = broker.subscribe(room, last=HISTORY), broker.subscribe(f"{room}/here")
            sending = [group.create_task(send(ws, subscription)) for subscription in wanted]
            tell(room)
            async for said in ws:
                broker.publish(room, json.dumps({"from": name, "said": str(said)}).encode())
            for task in sending:
                task.cancel()
    finally:
        windows[room] -= Counter([name])  # a name whose count is 0 is gone
        tell(room)


def tell(room: str) -> None:
    broker.publish(f"{room}/here", json.dumps({"here": sorted(windows[room])}).encode())


async def send(ws: WebSocket, subscription: Subscription) -> None:
    with suppress(ConnectionError):
        async with subscription:
            async for item in subscription:
                if isinstance(item, Gap):
                    return await ws.close(1013, "too slow")
                await ws.send(item.data.decode())


if __name__ == "__main__":
    asyncio.run(serve(app, port=int(sys.argv[1]) if sys.argv[1:] else 8000))
