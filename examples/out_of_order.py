"""HTTP/2, frame by frame: three requests on one connection, answered in a different order.

Each frame carries the number of its stream (*multiplexing*). So an answer that is ready does not wait for a slower one, as it
would in ``keep_alive.py``. First, each end sends its SETTINGS, and acknowledges the SETTINGS of the other end (RFC 9113 §3.4,
§6.5.3). The network and the clock are in memory, so the output is equal in every run.

It prints:

    client - preface
    client - SETTINGS, 18 bytes
    client 1 HEADERS: GET /A, END_STREAM
    client 3 HEADERS: GET /B, END_STREAM
    client 5 HEADERS: GET /C, END_STREAM
    server - SETTINGS, 30 bytes
    server - SETTINGS, ACK
    client - SETTINGS, ACK
    server 3 HEADERS: 200
    server 3 DATA, 1 byte, END_STREAM B
    client - WINDOW_UPDATE, 983,042
    server 5 HEADERS: 200
    server 5 DATA, 1 byte, END_STREAM C
    server 1 HEADERS: 200
    server 1 DATA, 1 byte, END_STREAM A
"""

import asyncio

from minproto import Request, Response, Server
from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Explainer
from minproto.http import EndOfMessage, Headers, RequestHead
from minproto.http2 import Connection
from minproto.testing import clock, network

SECONDS = {"/A": 0.3, "/B": 0.1, "/C": 0.2}


async def app(request: Request) -> Response:
    await asyncio.sleep(SECONDS[request.path])
    return Response(request.path[1:].encode())


def show(explainer: Explainer, sender: Role, data: bytes) -> None:
    explainer.receive_data(sender, data)
    for row in explainer.rows():
        content = [field.raw.decode() for field in row.fields if field.name == "content"]
        print(f"{sender.value} {row.stream or '-'}", row.title, *content)


async def main() -> None:
    explainer, core, server = Explainer(), Connection(CLIENT, scheme="http"), Server(app)
    ours, theirs = network.pair()
    server.attach(theirs)
    data = core.send(core.greeting())
    for number, path in enumerate(SECONDS):
        data += core.send(RequestHead("GET", path, Headers([("host", "a")]), "2", 1 + 2 * number))
    ends = 0
    while ends < 3:
        ours.write(data)
        show(explainer, CLIENT, data)
        data = await ours.read()
        show(explainer, SERVER, data)
        core.receive_data(data)
        events = list(core.events())
        ends += sum(isinstance(event, EndOfMessage) for event in events)
        data = b"".join(core.send(reply) for event in events if (reply := core.reply(event)))
    ours.abort()
    await server.close()


clock.run(main())
