"""A reset destroys what was delivered: the answer is in the client's memory, and the client cannot have it."""

import asyncio

UPLOAD = bytes(1_000_000)
ANSWER = b"413 Content Too Large"
served = asyncio.Event()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(100)  # enough to know that this upload is too large
    writer.write(ANSWER)
    writer.close()  # most of the upload is unread, so the kernel turns this close into a reset
    served.set()


async def refuse_and_linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(100)
    writer.write(ANSWER)
    writer.write_eof()  # our half of the connection is over, the client's half is not
    while await reader.read(65_536):  # so read what comes, and throw it away
        pass
    writer.close()
    served.set()


async def upload(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPLOAD)
    while reader.exception() is None and not reader._eof:  # noqa: ASYNC110
        await asyncio.sleep(0)  # the client does something else, until the server has answered and ended the connection
    print("  in the client's memory:", bytes(reader._buffer))
    try:
        print("  the client reads:      ", await reader.read(100))
    except ConnectionResetError as error:
        print("  the client reads:       nothing:", error.strerror)
    writer.close()


async def main() -> None:
    for handler in refuse, refuse_and_linger:
        print(f"{handler.__name__}:")
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        await upload(server.sockets[0].getsockname()[1])
        await served.wait()
        served.clear()
        server.close()


asyncio.run(main())
