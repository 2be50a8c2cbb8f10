"""Shell 2: the same core on asyncio's streams, with a task for each client."""

import asyncio

from sans_io_core import Connection, Sum

from minproto.core import RemoteProtocolError, Wants

served = asyncio.Event()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    core = Connection()
    while core.wants is Wants.DATA:
        if data := await reader.read(65_536):
            core.receive_data(data)
        else:
            core.receive_eof()
        try:
            for event in core.events():
                writer.write(core.send(Sum(sum(event.values))))
        except RemoteProtocolError as error:
            writer.write(f"error: {error}\n".encode())
        await writer.drain()
    writer.write_eof()  # our FIN, and then linger
    while await reader.read(65_536):
        pass
    writer.close()
    served.set()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"2 3\n10 20 30\n7 x\n")
    print((await reader.read()).decode(), end="")
    writer.close()
    await served.wait()
    server.close()


asyncio.run(main())
