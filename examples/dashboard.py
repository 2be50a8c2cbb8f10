"""A live dashboard: a page shows figures as they change, over Server-Sent Events, and loses none when its connection breaks.

The page is the few lines of HTML below. The browser's EventSource connects, reconnects and resumes by itself. With a port
(``python examples/dashboard.py 8000``) the example serves the page. Without a port, our own EventSource plays the browser.
After three figures the server stops and starts again. The client comes back, names the last id that it saw, and has missed
nothing.

It prints:

    cpu 10
    cpu 11
    cpu 12
    the server is gone
    cpu 13, measured while nobody could see it
    cpu 14
"""

import asyncio
import sys

from minproto import Answer, Broker, EventSource, EventStream, Request, Response, Server

PAGE = """<!doctype html><title>Dashboard</title><h1 id=cpu>…</h1>
<script>
  const source = new EventSource("/figures")
  source.onmessage = event => cpu.textContent = event.data
  source.addEventListener("gap", () => cpu.textContent = "… (some figures are missing)")
</script>"""

broker = Broker(history=100)
watched = asyncio.Event()


async def app(request: Request) -> Answer:
    if request.path == "/figures":
        watched.set()
        return EventStream(broker.subscribe("figures", after=request.last_event_id), retry=100)
    return Response.html(PAGE)


async def measure(pause: float) -> None:
    for figure in range(10, 100):
        broker.publish("figures", f"cpu {figure}".encode())
        await asyncio.sleep(pause)


async def show(port: int, shown: "asyncio.Queue[str]") -> None:
    async for event in EventSource(f"http://127.0.0.1:{port}/figures"):
        shown.put_nowait(event.data)


async def demonstrate() -> None:
    shown: asyncio.Queue[str] = asyncio.Queue()
    async with Server(app, port=0) as server:
        port = server.port
        page = asyncio.create_task(show(port, shown))
        await watched.wait()
        for figure in (10, 11, 12):
            broker.publish("figures", f"cpu {figure}".encode())
            print(await shown.get())
    print("the server is gone")
    broker.publish("figures", b"cpu 13")
    async with Server(app, port=port):
        print(await shown.get() + ", measured while nobody could see it")
        broker.publish("figures", b"cpu 14")
        print(await shown.get())
        page.cancel()


async def serve(port: int) -> None:
    async with Server(app, port=port) as server:
        print("open", server.url)
        await measure(0.5)


asyncio.run(serve(int(sys.argv[1])) if len(sys.argv) > 1 else demonstrate())
