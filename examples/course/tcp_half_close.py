"""Half-close: each direction of a connection ends by itself. The client has sent everything, and can still receive."""

import socket
from threading import Thread

listener = socket.create_server(("127.0.0.1", 0))


def count_words() -> None:
    server, _ = listener.accept()
    text = b""
    while data := server.recv(65_536):  # b"" is the client's FIN: no byte will follow
        text += data
    server.sendall(f"{len(text.split())} words\n".encode())
    server.close()


Thread(target=count_words).start()
client = socket.create_connection(listener.getsockname())
client.sendall(b"a stream ")
client.sendall(b"and no messages")
client.shutdown(socket.SHUT_WR)  # sends FIN. close() would end both directions, and nobody could read the answer
print(client.recv(100))
print(client.recv(100), "is the server's FIN")
client.close()
listener.close()
