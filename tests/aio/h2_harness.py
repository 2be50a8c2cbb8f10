"""The peer of an HTTP/2 server: our own core on a pipe, every stream and every event in sight."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from harness import FIN, RST, Received, Serving, now, serving

from minproto import App
from minproto.aio.pipe import Pipe
from minproto.core import CLIENT, Event, RemoteProtocolError, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import Connection, Consumed, GoAway, Limits, Reset, StreamFault
from minproto.http2_frames import MAX_FRAME, encode_frame


class StreamReset(Exception):
    """The server has reset a stream."""

    def __init__(self, code: int) -> None:
        super().__init__(f"reset with {code}")
        self.code = code


@dataclass
class Answer(Received):
    """What has come of a stream's answer."""

    ended: bool = False
    reset: int | None = None  # the code, also of a reset after the end
    sizes: list[int] = field(default_factory=list)  # of its pieces


class Peer:
    """A client of which a test decides each step. It answers what the protocol demands, unless it is told not to."""

    def __init__(
        self, pipe: Pipe, limits: Limits = Limits(), *, replies: bool = True, hold: bool = False, greets: bool = True  # noqa: B008
    ) -> None:
        """``replies``: acknowledge, and give credit back. ``hold``: give back none for a stream's content."""
        self.pipe: Any = pipe
        self.core = Connection(CLIENT, limits, "http")
        self.replies, self.hold = replies and greets, hold
        self.answers: dict[int, Answer] = {}
        self.events: list[Event] = []
        self.goaways: list[GoAway] = []
        self.over = ""
        """How the connection has ended: FIN or RST."""
        self.fault: RemoteProtocolError | None = None
        self._reading = asyncio.Event()
        self._reading.set()
        self._changed = asyncio.Event()  # only ever pulsed
        if greets:
            self.send(self.core.greeting())
        self.task = asyncio.create_task(self._read())

    # -- sending

    def send(self, event: Event) -> None:
        self.pipe.write(self.core.send(event))

    def raw(self, type_: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """A frame that the core would not send."""
        self.pipe.write(encode_frame(type_, flags, stream, payload))

    def open(self, method: str, target: str, *fields: tuple[str, str], protocol: str = "", host: str = "a") -> int:
        """The head of a request; its stream."""
        stream = self.core.next_stream
        self.send(RequestHead(method, target, Headers([("host", host), *fields]), "2", stream, protocol))
        self.answers[stream] = Answer()
        return stream

    def end(self, stream: int, trailers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send(EndOfMessage(Headers(trailers), stream))

    def ask(self, method: str, target: str, *fields: tuple[str, str]) -> int:
        """A request without content."""
        stream = self.open(method, target, *fields)
        self.end(stream)
        return stream

    async def upload(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """Content, as the windows allow. Stops where the stream or the connection ends."""
        view = memoryview(data)
        while view and not self.over and self.core.is_open(stream):
            room = min(self.core.sendable(stream), MAX_FRAME)
            if room:
                self.send(Data(bytes(view[:room]), stream))
                view = view[room:]
                await self.pipe.drain()
            else:
                await self._change()
        if end and not view and self.core.is_open(stream):
            self.end(stream)

    def grant(self, stream: int, count: int) -> None:
        """Credit for a stream, whatever was consumed."""
        if found := self.core._streams.open.get(stream):
            found.receive_window.window += count
            self.raw(8, 0, stream, count.to_bytes(4, "big"))

    def reset(self, stream: int, code: int = 8) -> None:
        self.send(Reset(stream, code))

    # -- receiving

    def stall(self) -> None:
        """Read no more."""
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    async def answer(self, stream: int) -> Answer:
        """Wait for an answer's end. Raises StreamReset, ConnectionResetError."""
        await self.until(lambda: self.answers[stream].ended or self.answers[stream].reset is not None, stream)
        answer = self.answers[stream]
        if not answer.ended:
            raise StreamReset(answer.reset or 0)
        return answer

    async def get(self, target: str, *fields: tuple[str, str], method: str = "GET") -> Answer:
        return await self.answer(self.ask(method, target, *fields))

    async def until(self, condition: Callable[[], Any], stream: int = 0) -> None:
        """Wait until something holds. Raises ConnectionResetError when it will not."""
        while not condition():
            if self.over:
                raise ConnectionResetError(f"{self.over} before that")
            await self._change()

    async def ends(self) -> str:
        """Wait for the end of the connection: FIN or RST."""
        while not self.over:
            await self._change()
        return self.over

    async def close(self) -> None:
        """Leave, as a client does that has all it wants."""
        if not self.over:
            self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        with contextlib.suppress(ConnectionError):
            await self.pipe.close()

    async def _change(self) -> None:
        await self._changed.wait()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed.clear()

    async def _read(self) -> None:
        try:
            while self.core.wants is not Wants.CLOSED:
                await self._reading.wait()
                data = await self.pipe.read()
                self.core.receive_data(data) if data else self.core.receive_eof()
                for event in self.core.events():
                    self._take(event)
                self._pulse()
                if not data:
                    break
            self.over = FIN
        except ConnectionError:
            self.over = RST
        except RemoteProtocolError as error:
            self.fault, self.over = error, FIN
        finally:
            self._pulse()

    def _take(self, event: Event) -> None:
        self.events.append(event)
        answer = self.answers.get(getattr(event, "stream", 0), Answer())
        match event:
            case ResponseHead(status) if status < 200:
                answer.interim.append(status)
            case ResponseHead(status, headers):
                answer.status, answer.headers = status, headers
            case Data(data, stream):
                answer.body += data
                answer.sizes.append(len(data))
                if self.replies and not self.hold:
                    self.send(Consumed(stream, len(data)))
            case EndOfMessage(trailers):
                answer.trailers, answer.ended, answer.at = trailers, True, now()
            case Reset(_, code):
                answer.reset = code
            case GoAway():
                self.goaways.append(event)
            case StreamFault(_, _, reason):
                raise AssertionError(f"the server broke a rule: {reason}")
        if self.replies and (reply := self.core.reply(event)) is not None:
            self.send(reply)


@asynccontextmanager
async def peer_of(server: Serving, limits: Limits = Limits(), **options: Any) -> AsyncIterator[Peer]:  # noqa: B008
    """A new connection to a server; options are those of Peer, and ``net`` the network's."""
    net = options.pop("net", {})
    peer = Peer(server.attach(**net), limits, **options)
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def talking(
    app: App | None = None, client: Limits = Limits(), *, peer: dict[str, Any] | None = None, **options: Any  # noqa: B008
) -> AsyncIterator[tuple[Serving, Peer]]:
    """A server with an app, and a peer with these limits. Options are the server's."""
    async with serving(*([app] if app else []), **options) as server, peer_of(server, client, **(peer or {})) as talker:
        yield server, talker
