"""HTTP/2 with the core alone: two requests side by side on one connection, on asyncio's streams.

Both ends run the same loop. Each end first sends its settings, which `greeting` returns. `reply` answers the peer's settings
and pings. A client sends Consumed when it has taken content. Without it, the server's flow-control window would stay used up,
and the server would wait for ever.

It prints:

    stream 1: /one
    stream 3: /two
"""

import asyncio
from collections.abc import AsyncIterator

from minproto.core import Event, Role
from minproto.http import Data, EndOfMessage, Headers, RequestHead, ResponseHead
from minproto.http2 import Connection, Consumed


async def drive(core: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[Event]:
    writer.write(core.send(core.greeting()))
    while data := await reader.read(65_536):
        core.receive_data(data)
        for event in core.events():
            yield event
            if (reply := core.reply(event)) is not None:
                writer.write(core.send(reply))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    core = Connection(Role.SERVER)
    async for event in drive(core, reader, writer):
        if isinstance(event, RequestHead):
            writer.write(core.send(ResponseHead(200, Headers(), "2", event.stream)))
            writer.write(core.send(Data(event.target.encode(), event.stream)))
            writer.write(core.send(EndOfMessage(Headers(), event.stream)))
    writer.close()


async def fetch(targets: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    core, waiting = Connection(Role.CLIENT), set()
    async for event in drive(core, reader, writer):
        while targets:  # all requests at once, as soon as the server's settings have arrived
            head = RequestHead("GET", targets.pop(0), Headers([("host", "a")]), "2", core.next_stream)
            writer.writelines([core.send(head), core.send(EndOfMessage(Headers(), head.stream))])
            waiting.add(head.stream)
        if isinstance(event, Data):
            print(f"stream {event.stream}: {event.data.decode()}")
            writer.write(core.send(Consumed(event.stream, len(event.data))))
        elif isinstance(event, EndOfMessage):
            waiting.remove(event.stream)
            if not waiting:
                return


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await fetch(["/one", "/two"], reader, writer)
    writer.write_eof()
    await reader.read()
    writer.close()
    server.close()


asyncio.run(main())
