"""docs/how-it-runs.md tells the truth: each of its tables lists the functions of minproto that really run, in that order.

A scene is played on the plain cores and the plain pipe while a profiler notes each function that is called for the first time.
Comprehensions, lambdas and what Python generates itself are left out. ``python tests/test_how_it_runs.py`` prints the lists.
"""

import asyncio
import inspect
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from minproto import Broker, BrokerServer, Request, Response, Server, WebSocket, upgrade
from minproto.core import CLIENT
from minproto.http import Data, EndOfMessage, Headers, RequestHead
from minproto.http2 import Connection
from minproto.websocket import Connection as WebSocketConnection
from minproto.websocket import Message

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "minproto"
PAGE = ROOT / "docs" / "how-it-runs.md"
Call = tuple[str, str]
"""The file and the qualified name of a function."""
Step = Callable[[], Any]


class Recorder:
    """Notes each function of minproto when it is called for the first time."""

    def __init__(self, seen: Iterable[CodeType] = ()) -> None:
        self.calls: dict[Call, None] = {}
        self._seen = set(seen)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code in self._seen:
            return
        self._seen.add(code)
        path = Path(code.co_filename)
        if path.is_relative_to(SOURCE) and "<" not in code.co_qualname.replace("<locals>", ""):
            self.calls[str(path.relative_to(SOURCE)), code.co_qualname.replace("<locals>.", "")] = None

    async def during(self, step: Any) -> list[Call]:
        """The calls of a step, once those that it leads to have come to rest."""
        sys.setprofile(self)
        try:
            await step
        finally:
            sys.setprofile(None)
        return list(self.calls)


async def echo(request: Request) -> Response:
    return Response(await request.read())


async def echo_messages(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def app(request: Request) -> Any:
    return upgrade(request, echo_messages) if request.path == "/ws" else await echo(request)


@asynccontextmanager
async def connected(server: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    yield reader, writer
    writer.close()
    await writer.wait_closed()


GET = b"GET /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"


async def http1() -> list[Call]:
    """The second request of a connection that is kept alive."""
    async with Server(app, port=0) as server, connected(server) as (reader, writer):

        async def ask() -> None:
            writer.write(GET)
            await reader.readuntil(b"hello")

        await ask()
        return await Recorder().during(ask())


async def websocket() -> list[Call]:
    async with Server(app, port=0) as server, connected(server) as (reader, writer):
        fields = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        writer.write(b"GET /ws HTTP/1.1\r\nhost: a\r\n" + fields + b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        message = WebSocketConnection(CLIENT).send(Message("hello"))

        async def ask() -> None:
            writer.write(message)
            await reader.readuntil(b"hello")

        return await Recorder().during(ask())


async def http2() -> list[Call]:
    """The second exchange of a connection: both ends have said their settings, and acknowledged those of the other."""
    async with Server(app, port=0) as server, connected(server) as (reader, writer):
        client = Connection(CLIENT, scheme="http")

        def post() -> bytes:
            head = RequestHead("GET", "/echo", Headers([("host", "a"), ("content-length", "5")]), "2", client.next_stream)
            return client.send(head) + client.send(Data(b"hello", head.stream))  # its length ends the stream

        writer.write(client.send(client.greeting()) + post())
        ended = False
        while not ended:
            client.receive_data(await reader.read(65_536))
            for event in client.events():
                if reply := client.reply(event):
                    writer.write(client.send(reply))
                ended = ended or isinstance(event, EndOfMessage)
        asked = post()

        async def ask() -> None:
            writer.write(asked)
            await reader.readuntil(b"hello")

        return await Recorder().during(ask())


async def publish() -> list[Call]:
    served = BrokerServer(Broker(), port=0)
    async with served as server, connected(server) as (reader, writer), connected(server) as (hearer, other):
        other.write(b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n")
        await hearer.readuntil(b":1\r\n")

        async def ask() -> None:
            writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
            await asyncio.gather(reader.readuntil(b":1\r\n"), hearer.readuntil(b"hello\r\n"))

        return await Recorder().during(ask())


SCENES = {"http1": http1, "websocket": websocket, "http2": http2, "publish": publish}
ROW = re.compile(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \| (.+) \|$", re.MULTILINE)


def told() -> dict[str, list[tuple[str, str, str]]]:
    """Of each scene, the rows of its table: file, function, and what that adds."""
    parts = re.split(r'(?m)^<a id="(\w+)"></a>$', PAGE.read_text())
    return {scene: ROW.findall(text) for scene, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("scene", SCENES)
def test_the_page_lists_the_functions_that_run(scene: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINPROTO_PLAIN", "1")
    monkeypatch.setattr(time, "time", lambda: 1_764_423_213.0)  # a second that ends in a scene would make a new Date field
    rows = told()[scene]
    assert asyncio.run(SCENES[scene]()) == [(file, function) for file, function, _ in rows]


async def plain_get() -> list[Call]:
    async with Server(hello, port=0) as server, connected(server) as (reader, writer):

        async def ask() -> None:
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            await reader.readuntil(b"hello")

        await ask()
        recorder = Recorder(waiting())
        return await recorder.during(ask())


def waiting() -> set[CodeType]:
    """The functions in which the tasks of this loop wait: they go on, and are not passed through."""
    found = set()
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        while inspect.iscoroutine(coroutine):
            found.add(coroutine.cr_code)
            coroutine = coroutine.cr_await
    return found


async def hello(_: Request) -> Response:
    return Response.text("hello")


def test_a_get_passes_through_at_most_nine_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINPROTO_PLAIN", "1")
    assert len({file for file, _ in asyncio.run(plain_get())}) <= 9


def draft() -> None:
    """Print the tables as they would be now. A function that the page has keeps what it says there."""
    said = {(file, function): adds for rows in told().values() for file, function, adds in rows} if PAGE.exists() else {}
    for name, scene in SCENES.items():
        print(f'\n<a id="{name}"></a>\n\n| file | function | what it adds |\n|---|---|---|')
        for file, function in asyncio.run(scene()):
            print(f"| `{file}` | `{function}` | {said.get((file, function), 'TODO')} |")


if __name__ == "__main__":
    os.environ["MINPROTO_PLAIN"] = "1"
    draft()
