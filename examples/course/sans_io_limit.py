"""A line without an end: TCP's window stays open, because the shell reads everything that arrives. Only the core's limit
refuses."""

import socket
from threading import Thread

from sans_io_core import Connection

from minproto.core import RemoteProtocolError, Wants

LINE = b"1" * 3_000_000  # and no line feed


def send(client: socket.socket) -> None:
    try:
        client.sendall(LINE)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the server has refused the line, and has closed


def receive(server: socket.socket, core: Connection) -> tuple[int, str]:
    """Read until the core wants no more. Return the largest number of bytes that it has held, and the error."""
    held = 0
    try:
        while core.wants is Wants.DATA:
            if data := server.recv(65_536):
                core.receive_data(data)
            else:
                core.receive_eof()
            held = max(held, core.buffered)
            core.next_event()
    except RemoteProtocolError as error:
        return held, str(error)
    return held, "no error"


for limit in 1_000_000_000, 100:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    sender = Thread(target=send, args=[client])
    sender.start()
    held, error = receive(server, Connection(limit))
    size = "the whole line" if held == len(LINE) else "one read" if held <= 65_536 else "more than one read"
    print(f"limit {limit:13,}: the core held {size}, and then: {error}")
    server.close()
    sender.join()
    client.close()
    listener.close()
