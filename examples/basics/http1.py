"""HTTP/1.1 with the core alone: an HTTP server on asyncio's streams, without any of minproto's shell.

One loop does all the work: read bytes, give them to the core, pull its events, and write the bytes that the core makes of
our answers. `minproto/aio/` has the parts that are missing here: timeouts, backpressure, a bound on connections, and the
orderly end of a server.

It prints:

    HTTP/1.1 200 OK
    HTTP/1.1 400 Bad Request
"""

import asyncio

from minproto.core import RemoteProtocolError, Role, Wants
from minproto.http import Data, EndOfMessage, Headers, ResponseHead
from minproto.http1 import Connection

ANSWER = [ResponseHead(200, Headers([("content-length", "6")])), Data(b"hello\n"), EndOfMessage()]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    core = Connection(Role.SERVER)
    while core.wants is Wants.DATA:
        data = await reader.read(65_536)
        core.receive_data(data) if data else core.receive_eof()
        try:
            for event in core.events():
                if isinstance(event, EndOfMessage):  # the request is complete: answer it
                    writer.writelines(core.send(part) for part in ANSWER)
        except RemoteProtocolError as error:
            writer.writelines(core.send(part) for part in core.farewell(error))
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    for request in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n":  # the second one lacks Host
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        print((await reader.readline()).decode().strip())
        writer.close()
    server.close()


asyncio.run(main())
