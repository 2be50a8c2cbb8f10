"""A chat room: each message of a visitor goes to all visitors.

A broadcast is encoded once, however many visitors there are. A visitor who reads too slowly is cut off, so that nobody waits
for them. ``python examples/chat.py 8000`` serves the room, with a page for the browser. Without a port, the example plays two
visitors itself.

It prints:

    ada hears: hello from ada
    bob hears: hello from ada
    ada hears: hello from bob
    bob hears: hello from bob
"""

import asyncio
import sys

from minproto import Answer, Request, Response, Server, WebSocket, broadcast, connect, serve, upgrade

PAGE = """<!doctype html><title>chat</title><ul id=log></ul><form><input id=text autofocus></form><script>
const ws = new WebSocket(location.href.replace("http", "ws"))
ws.onmessage = ({data}) => log.appendChild(document.createElement("li")).textContent = data
document.forms[0].onsubmit = () => { ws.send(text.value); text.value = ""; return false }
</script>"""
room: set[WebSocket] = set()


async def talk(ws: WebSocket) -> None:
    room.add(ws)
    try:
        async for message in ws:
            broadcast(room, message)
    finally:
        room.remove(ws)


async def app(request: Request) -> Answer:
    if request.headers.get("upgrade") is None:
        return Response.html(PAGE)
    return upgrade(request, talk)


async def show() -> None:
    async with Server(app, port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with await connect(url) as ada, await connect(url) as bob:
            for name, ws in (("ada", ada), ("bob", bob)):
                await ws.send(f"hello from {name}")
                print("ada hears:", await ada.receive())
                print("bob hears:", await bob.receive())


asyncio.run(serve(app, port=int(sys.argv[1])) if sys.argv[1:] else show())
