"""Law 10, word for word over long poll, Server-Sent Events, WebSocket and RESP: whatever is published and wherever the
connection is cut, who comes back with the last id that it saw gets the rest, with nothing lost and nothing repeated. Where the
history does not go back so far, it is told so; but for RESP, where XREAD says what it has, as in Redis, and no more.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from harness import Client, get
from hypothesis import given
from hypothesis import strategies as st
from resp_harness import Client as RedisClient
from sse_harness import Listener, Stage, stage
from ws_harness import Peer, opening

from minproto.aio.resp import BrokerServer
from minproto.sse import LastEventId, ServerSentEvent
from minproto.testing import clock, network

TOPIC = "updates"


@dataclass
class Seen:
    """What a client has received, and knows."""

    last: str = ""
    messages: list[str] = field(default_factory=list)
    gaps: int = 0


async def long_poll(server: Stage, pipe, seen: Seen) -> None:
    client = Client(pipe)
    while True:
        path = "/long-poll" if seen.last else "/poll"  # the first answer has the id to begin with
        answer = json.loads((await client.ask(get(f"{path}?topic={TOPIC}&after={seen.last}"))).body)
        seen.last = answer["last"]
        seen.gaps += answer["gap"]
        seen.messages += [message["data"] for message in answer["messages"]]


async def server_sent_events(server: Stage, pipe, seen: Seen) -> None:
    fields = [("last-event-id", seen.last)] if seen.last else []
    listener = Listener(pipe, f"/events?topic={TOPIC}", *fields)
    await listener.head()
    while (event := await listener.event()) is not None:
        if isinstance(event, ServerSentEvent | LastEventId):
            seen.last = event.id
        if isinstance(event, ServerSentEvent) and event.event == "gap":
            seen.gaps += 1
        elif isinstance(event, ServerSentEvent):
            seen.messages.append(event.data)


async def websocket(server: Stage, pipe, seen: Seen) -> None:
    client = Client(pipe)
    await client.ask(opening(target=f"/chat?topic={TOPIC}&after={seen.last}"))
    peer = Peer(pipe, unread=client._unread)
    while True:
        said = json.loads(await peer.data())
        seen.last = said["id"]
        seen.gaps += "gap" in said
        seen.messages += [said["data"]] if "data" in said else []


async def xread(server: Stage, pipe, seen: Seen) -> None:
    client = RedisClient(pipe)
    while True:
        ((_, entries),) = await client.ask("xread", "block", "0", "streams", TOPIC, seen.last or "0")
        seen.last = entries[-1][0].decode()
        seen.messages += [data.decode() for _, (_, data) in entries]


class Scene:
    """A client that listens in one way, and comes back when it is cut off."""

    def __init__(self, server: Stage, way, options: dict) -> None:
        self.server, self.way, self.options = server, way, options
        self.redis = BrokerServer(server.broker)
        self.seen = Seen()
        self.pipe: network.MemoryPipe
        self.listening: asyncio.Task[None] | None = None

    def connect(self) -> None:
        if self.way is xread:
            self.pipe, theirs = network.pair(**self.options)
            self.redis.attach(theirs)
        else:
            self.pipe = self.server.attach(**self.options)
        self.listening = asyncio.create_task(self.way(self.server, self.pipe, self.seen))

    async def cut(self) -> None:
        """A reset destroys whatever is under way."""
        self.pipe.abort()
        self.listening.cancel()
        with suppress(asyncio.CancelledError, ConnectionResetError):
            await self.listening


CUT = "cut"
steps = st.lists(st.tuples(st.one_of(st.just(CUT), st.integers(1, 3)), st.sampled_from([0, 0.001, 0.05])), max_size=12)
networks = st.fixed_dictionaries({
    "cuts": st.lists(st.integers(1, 60), max_size=8), "delays": st.lists(st.sampled_from([0, 0.001, 0.01]), max_size=8),
})  # fmt: skip


async def play(way, history: int, net: dict, what: list) -> tuple[Seen, list[str]]:
    """Cut and publish; in the end come back once more, and wait until nothing is under way. What was seen and published."""
    published: list[str] = []
    async with stage(history=history) as server:
        scene = Scene(server, way, net)
        scene.connect()
        await asyncio.sleep(1)  # so that it knows where to begin
        for step, pause in [*what, (CUT, 0)]:
            if step == CUT:
                await scene.cut()
                await asyncio.sleep(pause)
                scene.connect()
            else:
                texts = [f"message {len(published) + number}" for number in range(step)]
                published += texts
                server.publish(*texts)
            await asyncio.sleep(pause)
        await asyncio.sleep(1)
        await scene.cut()
        await asyncio.sleep(60)  # until the server has noticed
        await scene.redis.close()
    return scene.seen, published


@pytest.mark.parametrize("way", [long_poll, server_sent_events, websocket, xread], ids=lambda way: way.__name__)
@given(net=networks, what=steps)
def test_nothing_is_lost_and_nothing_repeated(way, net, what):
    seen, published = clock.run(play(way, 1_000, net, what))
    assert (seen.messages, seen.gaps) == (published, 0)


@pytest.mark.parametrize("way", [long_poll, server_sent_events, websocket], ids=lambda way: way.__name__)
@given(net=networks, what=steps)
def test_what_is_lost_is_told(way, net, what):
    """In order, none twice, and none missing without a notice; the newest are always there."""
    seen, published = clock.run(play(way, 2, net, what))
    positions = [published.index(text) for text in seen.messages]
    assert positions == sorted(set(positions))
    assert len(positions) == len(published) or seen.gaps > 0
    assert seen.messages[-2:] == published[-2:]
