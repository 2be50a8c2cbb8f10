"""Nagle's algorithm and a delayed ACK: an answer in two small writes takes 40 ms. (The option TCP_QUICKACK is Linux's.)"""

import asyncio
import socket
import time

HEAD, CONTENT = b"a head, ", b"its content"


def is_slow(*writes: bytes, no_delay: bool) -> bool:
    """Answer five times with these writes. Return whether each of the five answers took more than 30 ms."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
    times = []
    for _ in range(5):
        client.sendall(b"request")
        server.recv(100)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)  # delay ACKs now: Linux waits for some packets first
        began, answer = time.monotonic(), b""
        for data in writes:
            server.sendall(data)
        while len(answer) < len(HEAD + CONTENT):
            answer += client.recv(100)
        times.append(time.monotonic() - began)
    for each in client, server, listener:
        each.close()
    return min(times) > 0.03


async def asyncio_turns_nagle_off() -> bool:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    off = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    writer.close()
    server.close()
    return off


print("two writes, slow:                 ", is_slow(HEAD, CONTENT, no_delay=False))
print("one write, slow:                  ", is_slow(HEAD + CONTENT, no_delay=False))
print("two writes and TCP_NODELAY, slow: ", is_slow(HEAD, CONTENT, no_delay=True))
print("asyncio sets TCP_NODELAY:         ", asyncio.run(asyncio_turns_nagle_off()))
