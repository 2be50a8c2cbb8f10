"""drain() gives no other task a turn as long as the buffer is nearly empty: one fast client can starve all others."""

import asyncio

turns = 0


async def another_task() -> None:
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)


async def main() -> None:
    clients: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: clients.append(writer), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    other = asyncio.create_task(another_task())
    await asyncio.sleep(0)  # now the other task runs

    before = turns
    for _ in range(1000):
        writer.write(b"tick\n")
        await writer.drain()
    print("turns of the other task during 1000 drains:            ", turns - before)

    before = turns
    for _ in range(1000):
        writer.write(b"tick\n")
        await writer.drain()
        await asyncio.sleep(0)
    print("turns of the other task during 1000 drains and sleep(0):", turns - before)
    other.cancel()
    await asyncio.wait([other])
    writer.close()
    clients[0].close()
    server.close()


asyncio.run(main())
