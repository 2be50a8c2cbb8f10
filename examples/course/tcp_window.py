"""Back-pressure: a receiver that does not read stops the sender, because TCP's window and both kernels' buffers are full."""

import select
import socket

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
server.setblocking(False)

sent = 0
try:
    while True:
        sent += server.send(bytes(65_536))
except BlockingIOError:
    print("the kernel takes no more; it took less than 100 MB:", sent < 100_000_000)

received = 0
while not select.select([], [server], [], 0)[1]:  # the server's socket is not writable
    received += len(client.recv(65_536))
print("after the client has read some, the server can send again:", 0 < received <= sent)

for each in client, server, listener:
    each.close()
