"""One send arrives as several reads: the size of a read is a maximum, and the network may deliver fewer bytes than that."""

import socket
from threading import Thread

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()

client.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
print("reads of at most 8 bytes:", server.recv(8), server.recv(8), server.recv(8))

sender = Thread(target=client.sendall, args=[bytes(5_000_000)])
sender.start()
sizes = []
while sum(sizes) < 5_000_000:
    sizes.append(len(server.recv(5_000_000)))
print("one send of 5,000,000 bytes came in one read:", len(sizes) == 1)
print("together the reads have all bytes:", sum(sizes) == 5_000_000)

sender.join()
for each in client, server, listener:
    each.close()
