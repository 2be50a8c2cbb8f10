"""A writer without drain() fills the memory: asyncio's write buffer has no bound, and drain() is what waits."""

import asyncio

CHUNK, COUNT = bytes(65_536), 320  # 20 MiB


async def send(writer: asyncio.StreamWriter, *, drain: bool) -> None:
    for _ in range(COUNT):
        writer.write(CHUNK)  # returns at once, whether or not the client reads
        if drain:
            await writer.drain()  # waits while more than 64 KiB are in the buffer
    writer.close()


async def main() -> None:
    clients: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await clients.put(writer)

    for drain in False, True:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        reader, to_server = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer = await clients.get()
        sending = asyncio.create_task(send(writer, drain=drain))

        while (held := writer.transport.get_write_buffer_size()) <= 65_536:  # noqa: ASYNC110
            await asyncio.sleep(0)  # until the kernel takes no more
        print(f"drain={drain!s:5}  held in our memory: {'more than 4 MiB' if held > 1 << 22 else 'less than 256 KiB'}")

        total = 0
        while data := await reader.read(65_536):
            total += len(data)
        await sending
        print(f"             the client has read {total >> 20} MiB")
        to_server.close()
        server.close()


asyncio.run(main())
