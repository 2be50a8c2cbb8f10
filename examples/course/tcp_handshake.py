"""The kernel shakes hands, not the program: a client connects and sends before the server has called accept()."""

import socket

listener = socket.socket()
listener.bind(("127.0.0.1", 0))  # the port is ours, but nobody listens on it yet
try:
    socket.create_connection(listener.getsockname())
except ConnectionRefusedError:
    print("before listen():  refused")

listener.listen()
client = socket.create_connection(listener.getsockname())
client.sendall(b"hello")
print("after listen():   connected, and five bytes are sent")

server, _ = listener.accept()
print("after accept():  ", server.recv(100))
client.close()
server.close()
listener.close()
