"""Shell 1: the core on a blocking socket, with a thread for each client."""

import socket
from threading import Thread

from sans_io_core import Connection, Sum

from minproto.core import RemoteProtocolError, Wants


def serve(sock: socket.socket) -> None:
    core = Connection()
    with sock:
        while core.wants is Wants.DATA:
            if data := sock.recv(65_536):
                core.receive_data(data)
            else:
                core.receive_eof()
            try:
                for event in core.events():
                    sock.sendall(core.send(Sum(sum(event.values))))
            except RemoteProtocolError as error:
                sock.sendall(f"error: {error}\n".encode())
        sock.shutdown(socket.SHUT_WR)  # our FIN; then linger: a close with unread input would be a reset
        while sock.recv(65_536):  # a real shell also stops after some seconds
            pass


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
thread = Thread(target=serve, args=[listener.accept()[0]])
thread.start()
client.sendall(b"2 3\n10 20 30\n7 x\n")
print(client.makefile().read(), end="")
client.close()
thread.join()
listener.close()
