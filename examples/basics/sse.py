"""Server-Sent Events with the core alone: three chunks of an event stream, read from a plain TCP connection.

The chunks are cut at two difficult places: inside a UTF-8 character, and between the CR and the LF of a line break. The core
keeps the bytes that it cannot read yet. (Over HTTP, the same bytes are the content of a response: see `minproto/aio/sse.py`.)

It prints:

    ServerSentEvent(data='naïve', event='message', id='1')
    ServerSentEvent(data='two\\nlines', event='price', id='2')
    resume after 2
"""

import asyncio

from minproto.core import Role, Wants
from minproto.sse import Connection

CHUNKS = b"id: 1\ndata: na\xc3", b"\xafve\n\nid: 2\r\nevent: price\r", b"\ndata: two\r\ndata: lines\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for chunk in CHUNKS:
        writer.write(chunk)
        await writer.drain()
        await reader.read(1)  # the client asks for the next chunk, so that each one arrives by itself
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    core = Connection(Role.CLIENT)
    while core.wants is Wants.DATA:
        data = await reader.read(65_536)
        core.receive_data(data) if data else core.receive_eof()
        for event in core.events():
            print(event)
        writer.write(b".")
    print("resume after", core.last_event_id)
    writer.close()
    server.close()


asyncio.run(main())
