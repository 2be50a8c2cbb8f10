"""Publish and subscribe with the cores alone: `redis-cli` could talk to this server on asyncio's streams.

Two cores work together. `resp` turns bytes into commands, and replies into bytes. `broker` keeps topics and subscriptions,
and calls `on_ready` when a subscription has something to take. `minproto/aio/resp.py` has the parts that are missing here: the
other commands, the end of a subscription, and a bound on the messages that wait for a slow reader.

It prints:

    publisher: :1
    subscriber: *3 $7 message $4 news $5 hello
"""

import asyncio
import time
from functools import partial

from minproto.broker import Broker, Subscription
from minproto.core import Role, Wants
from minproto.resp import Command, Connection, Reply

broker = Broker(clock=lambda: time.time_ns() // 1_000_000)


def deliver(subscription: Subscription, core: Connection, writer: asyncio.StreamWriter) -> None:
    for item in subscription.take(100):
        writer.write(core.send(Reply([b"message", item.topic.encode(), item.data])))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    core = Connection(Role.SERVER)
    while core.wants is Wants.DATA:
        data = await reader.read(65_536)
        core.receive_data(data) if data else core.receive_eof()
        for event in core.events():
            match event:
                case Command([b"SUBSCRIBE", topic]):
                    subscription = broker.subscribe(topic.decode())
                    subscription.on_ready = partial(deliver, subscription, core, writer)
                    writer.write(core.send(Reply([b"subscribe", topic, 1])))
                case Command([b"PUBLISH", topic, message]):
                    writer.write(core.send(Reply(broker.publish(topic.decode(), message))))
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    subscriber, to_subscriber = await asyncio.open_connection(*address)
    publisher, to_publisher = await asyncio.open_connection(*address)
    to_subscriber.write(b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n")
    await subscriber.read(100)  # the confirmation
    to_publisher.write(b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
    print("publisher:", *(await publisher.read(100)).decode().split())
    print("subscriber:", *(await subscriber.read(100)).decode().split())
    for reader, writer in (subscriber, to_subscriber), (publisher, to_publisher):
        writer.write_eof()
        await reader.read()
        writer.close()
    server.close()


asyncio.run(main())
