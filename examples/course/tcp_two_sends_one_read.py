"""Two sends arrive as one read: TCP keeps the bytes and their order, and forgets where a send ended."""

import socket

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()

client.sendall(b"hello")
client.sendall(b"world")
server.recv(10, socket.MSG_PEEK | socket.MSG_WAITALL)  # wait until ten bytes are here, and leave them where they are
print("one read:", server.recv(100))

for each in client, server, listener:
    each.close()
