"""A reset destroys what is on its way: a server answers, closes with unread input, and most of its answer is gone."""

import socket


def answer(server: socket.socket, *, read_first: bool) -> int:
    """Write until the kernel takes no more, and close. Return how many bytes the kernel has taken."""
    if read_first:
        server.recv(100)
    server.setblocking(False)
    sent = 0
    try:
        while True:
            sent += server.send(bytes(65_536))
    except BlockingIOError:
        server.close()
        return sent


def read_all(client: socket.socket) -> tuple[int, str]:
    """Read to the end. Return how many bytes came, and how the stream ended."""
    received = 0
    try:
        while data := client.recv(65_536):
            received += len(data)
    except ConnectionResetError:
        return received, "a reset"
    return received, "an end"


for read_first in True, False:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"request")
    server.recv(7, socket.MSG_PEEK | socket.MSG_WAITALL)  # the request has arrived, but has not been read
    sent = answer(server, read_first=read_first)
    received, end = read_all(client)
    print(f"server read the request: {read_first!s:5}  client got all of the answer: {received == sent!s:5}  and then {end}")
    client.close()
    listener.close()
