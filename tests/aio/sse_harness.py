"""A client of event streams that sees every event and every comment, on the network in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from harness import Serving

from minproto import App, Broker, Metrics, http2
from minproto.aio.pipe import Pipe
from minproto.core import CLIENT, Event, Wants
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http1 import Connection
from minproto.lab.app import DemoApp
from minproto.sse import Comment
from minproto.sse import Connection as Stream


class Listener:
    """Asks for a stream, and takes what comes one by one."""

    def __init__(self, pipe: Pipe, target: str = "/events", *fields: tuple[str, str], method: str = "GET") -> None:
        self.pipe: Any = pipe
        self._http = Connection(CLIENT)
        self._stream = Stream(CLIENT)
        self.ended = False
        head = self._http.send(RequestHead(method, target, Headers([("host", "a"), *fields])))
        pipe.write(head + self._http.send(EndOfMessage()))

    async def head(self) -> ResponseHead:
        event = await self._http_event()
        assert isinstance(event, ResponseHead)
        return event

    async def _http_event(self) -> Event | None:
        while (event := self._http.next_event()) is None and self._http.wants is Wants.DATA:
            data = await self.pipe.read()
            self._http.receive_data(data) if data else self._http.receive_eof()
        return event

    async def event(self) -> Event | None:
        """The next one, comments among them; None at the proper end. Raises ConnectionResetError, RemoteProtocolError."""
        while (event := self._stream.next_event()) is None:
            match await self._http_event():
                case Data(data):
                    self._stream.receive_data(data)
                case EndOfMessage() | None:
                    return None
        return event

    async def events(self, count: int) -> list[Event]:
        """So many, without comments."""
        events: list[Event] = []
        while len(events) < count:
            event = await self.event()
            assert event is not None, f"the end, after {events}"
            events += [] if isinstance(event, Comment) else [event]
        return events

    async def rest(self) -> list[Event]:
        """All to the proper end."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events


class Http2Listener(Listener):
    """The same on a stream of HTTP/2, on a connection of its own."""

    def __init__(self, pipe: Pipe, target: str = "/events", *fields: tuple[str, str], method: str = "GET") -> None:
        self.pipe = pipe
        self._core = http2.Connection(CLIENT, scheme="http")
        self._stream = Stream(CLIENT)
        self._number = self._core.next_stream
        pipe.write(self._core.send(self._core.greeting()))
        head = RequestHead(method, target, Headers([("host", "a"), *fields]), "2", self._number)
        pipe.write(self._core.send(head) + self._core.send(EndOfMessage(stream=self._number)))

    async def _http_event(self) -> Event | None:
        """Credit is given back for what the test takes, and no sooner."""
        while True:
            while (event := self._core.next_event()) is None:
                if self._core.wants is not Wants.DATA:
                    return None
                data = await self.pipe.read()
                self._core.receive_data(data) if data else self._core.receive_eof()
            if (reply := self._core.reply(event)) is not None:
                self.pipe.write(self._core.send(reply))
            match event:
                case http2.Reset():
                    raise ConnectionResetError("the stream is reset")
                case Data(data):
                    self.pipe.write(self._core.send(http2.Consumed(self._number, len(data))))
                    return event
                case ResponseHead() | EndOfMessage():
                    return event

    def reset(self) -> None:
        """Give the stream up, but not its connection."""
        self.pipe.write(self._core.send(http2.Reset(self._number, 8)))


class Stage(Serving):
    """The demo app, or another, and a broker; who listens does it over one version of HTTP."""

    def __init__(self, broker: Broker, app: App | None, version: str, options: dict[str, Any]) -> None:
        self.broker = broker
        self._listener = {"1.1": Listener, "2": Http2Listener}[version]
        self.demo = DemoApp(Metrics(), broker)
        super().__init__(app or self.demo, options)

    def listener(self, target: str = "/events", *fields: tuple[str, str], method: str = "GET", **options: Any) -> Listener:
        return self._listener(self.attach(**options), target, *fields, method=method)

    def publish(self, *texts: str | bytes, topic: str = "updates") -> list[str]:
        """Messages; their ids."""
        ids = []
        for text in texts:
            self.broker.publish(topic, text.encode() if isinstance(text, str) else text)
            ids.append(self.broker.last_id(topic))
        return ids

    @property
    def listened(self) -> list[str]:
        """To which topics somebody listens."""
        return self.broker.inner.topics


@asynccontextmanager
async def stage(
    history: int = 1_000, app: Callable[[Broker], App] | None = None, version: str = "1.1", **options: Any
) -> AsyncIterator[Stage]:
    """The demo app, or one made from the broker. Whatever was done to it answers /hello; at the end nobody listens."""
    broker = Broker(history=history)
    server = Stage(broker, None if app is None else app(broker), version, options)
    try:
        yield server
        server.server._draining = False
        await server.answers_hello()
    finally:
        server.demo.close()
        await server.server.close()
    assert (server.metrics.in_flight, server.metrics.connections, server.listened) == (0, 0, [])
