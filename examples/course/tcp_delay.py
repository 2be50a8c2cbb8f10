"""Nagle's algorithm is off by default on asyncio's connections, and on for a plain socket."""

import asyncio
import socket


def waits(sock: socket.socket) -> bool:
    return not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def main() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as plain:
        print("a plain socket keeps small writes back:", waits(plain))
    _, writer = await asyncio.open_connection(*address)
    print("asyncio keeps small writes back:       ", waits(writer.get_extra_info("socket")))
    writer.close()
    server.close()


asyncio.run(main())
