"""One shell for every core of minproto, here with the core of HTTP/1.1: a server on a blocking socket."""

import socket
from collections.abc import Iterator

from minproto.core import Core, Event, RemoteProtocolError, Role, Wants
from minproto.http import Data, EndOfMessage, Headers, ResponseHead
from minproto.http1 import Connection


def drive(core: Core, sock: socket.socket) -> Iterator[Event]:
    """Yield the peer's events until nothing can follow. Send what the protocol itself demands."""
    try:
        while True:
            for event in core.events():
                yield event
                if (reply := core.reply(event)) is not None:
                    sock.sendall(core.send(reply))
            if core.wants is not Wants.DATA:  # CLOSED; or PAUSED, if the caller has not answered at its yield
                return
            if data := sock.recv(65_536):
                core.receive_data(data)
            else:
                core.receive_eof()
    except RemoteProtocolError as error:
        for event in core.farewell(error):
            sock.sendall(core.send(event))


client, server = socket.socketpair()
client.sendall(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\n\r\n")  # the second request lacks Host
client.shutdown(socket.SHUT_WR)

core = Connection(Role.SERVER)
for event in drive(core, server):
    print("event:", type(event).__name__)
    if isinstance(event, EndOfMessage):
        for answer in ResponseHead(200, Headers([("content-length", "3")])), Data(b"hi\n"), EndOfMessage():
            server.sendall(core.send(answer))
server.shutdown(socket.SHUT_WR)  # our FIN, and then linger
while server.recv(65_536):
    pass
server.close()
print(client.makefile().read(), end="")
client.close()
