"""A server on the in-memory network, clients that see every byte, and the virtual clock for both."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minproto import Answer, App, ClientConnection, Metrics, Request, Response, Server
from minproto.aio.pipe import Pipe
from minproto.core import Role
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import Connection
from minproto.testing import clock, network

T = TypeVar("T")

FIN, RST = "FIN", "RST"


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The head of a request, with Host and these field lines."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: a", *fields, "", ""]).encode()


def post(target: str, body: bytes, *fields: str) -> bytes:
    """A whole request with its content."""
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST") + body


HELLO = get("/hello")


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in virtual time; it must leave no task behind, and no exception unseen."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        clock.run(test(*arguments, **named))

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Received:
    """An answer as a client got it."""

    status: int = 0
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    trailers: Headers = field(default_factory=Headers)
    interim: list[int] = field(default_factory=list)
    at: float = 0.0  # when the end of it came


class Client:
    """Sends bytes, and reads answers one by one."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe: Any = pipe
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.pipe.write(data)

    async def ask(self, request: bytes) -> Received:
        """Send a request and read its answer."""
        self.send(request)
        return await self.answer(request.split()[0].decode())

    async def answer(self, method: str = "GET") -> Received:
        """The next answer. Raises RemoteProtocolError or ConnectionResetError where it is broken off."""
        core = Connection(Role.CLIENT)
        target = "a:80" if method == "CONNECT" else "/"
        core.send(RequestHead(method, target, Headers([("host", "a"), ("connection", "upgrade"), ("upgrade", "any")])))
        core.send(EndOfMessage())
        core.receive_data(self._unread)
        answer = Received()
        while True:
            match core.next_event():
                case None:
                    data = await self.pipe.read()
                    core.receive_data(data) if data else core.receive_eof()
                case ResponseHead(status) if status < 200 and status != 101:
                    answer.interim.append(status)
                case ResponseHead(status, headers):
                    answer.status, answer.headers = status, headers
                    if status == 101 or (method == "CONNECT" and status < 300):
                        break
                case Data(data):
                    answer.body += data
                case EndOfMessage(trailers):
                    answer.trailers = trailers
                    break
        self._unread = core.trailing_data
        answer.at = now()
        return answer

    async def answers(self) -> list[Received]:
        """All answers to the end, which may be only between two of them. Raises like ``answer``."""
        answers = []
        while self._unread or (await self._read()):
            answers.append(await self.answer())
        return answers

    async def _read(self) -> bytes:
        self._unread = await self.pipe.read()
        return self._unread

    async def reads(self) -> list[bytes]:
        """Everything to the end, piece by piece. Raises ConnectionResetError."""
        pieces = [self._unread] if self._unread else []
        while piece := await self.pipe.read():
            pieces.append(piece)
        return pieces

    async def end(self) -> str:
        """Wait for the end, before which no byte may come: FIN or RST."""
        try:
            assert await self.reads() == []
        except ConnectionResetError:
            return RST
        return FIN


class Serving:
    """A server and what an operator sees of it. It always knows /hello."""

    def __init__(self, app: App, options: dict[str, Any]) -> None:
        async def with_hello(request: Request) -> Answer:
            return Response(b"Hello, World!") if request.path == "/hello" else await app(request)

        self.metrics = Metrics()
        self.ends: list[network.MemoryPipe] = []  # the server's, of all connections
        self.server = Server(with_hello, metrics=self.metrics, **options)

    def attach(self, **options: Any) -> Pipe:
        """The client's end of a new connection; options are the network's."""
        ours, theirs = network.pair(**options)
        self.ends.append(theirs)
        self.server.attach(theirs)
        return ours

    def client(self, **options: Any) -> Client:
        return Client(self.attach(**options))

    async def answers_hello(self) -> None:
        client = self.client()
        assert (await client.ask(HELLO)).body == b"Hello, World!"
        await client.pipe.close()


async def not_found(request: Request) -> Answer:
    return Response.text("not found", 404)


@asynccontextmanager
async def serving(app: App = not_found, **options: Any) -> AsyncIterator[Serving]:
    """A server that, whatever the block did to it, answers /hello, drains, and has counted to zero."""
    serving = Serving(app, options)
    try:
        yield serving
        await serving.answers_hello()
    finally:
        await serving.server.close()
    assert (serving.metrics.in_flight, serving.metrics.connections) == (0, 0)


@asynccontextmanager
async def answering(
    answer: Callable[[Pipe], Awaitable[None]], **options: Any
) -> AsyncIterator[ClientConnection]:
    """Our client, with ``answer`` as the server."""
    ours, theirs = network.pair(**options)
    task = asyncio.create_task(answer(theirs))  # type: ignore[arg-type]
    try:
        yield ClientConnection(ours, "a")
    finally:
        task.cancel()
        await asyncio.wait([task])
        ours.abort()


async def pieces(count: int, piece: bytes = b"piece", *, pause: float = 0.0, closed: list[float] | None = None) -> Any:
    """Content made while it is sent; ``closed`` gets the time when it is over."""
    try:
        for _ in range(count):
            yield piece
            if pause:
                await asyncio.sleep(pause)
    finally:
        if closed is not None:
            closed.append(now())


async def trickle(client: Client, data: Iterable[bytes], pause: float) -> None:
    """Send piece by piece, until the server has enough."""
    try:
        for piece in data:
            client.send(piece)
            await client.pipe.drain()
            await asyncio.sleep(pause)
    except ConnectionResetError:
        pass


def raised_in_a_thread(call: Callable[..., object], *arguments: object) -> Exception | None:
    """What a call raises in another thread; None if nothing."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            call(*arguments)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None
