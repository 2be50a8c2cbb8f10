"""A reverse proxy: what stands in front of a server, and passes on each request, each response and each WebSocket.

    minproto serve --port 9000 &                            # any server of HTTP/1.1
    python examples/apps/reverse_proxy.py                   # its URL and a port may follow: http://127.0.0.1:9000 8000

    curl -i http://127.0.0.1:8000/hello                     # the server's answer
    curl -T README.md http://127.0.0.1:8000/echo -X POST    # content streams through, both ways
    curl -N "http://127.0.0.1:8000/events?topic=updates"    # so does an event stream

No content is kept in memory. A client that reads slowly slows down the server behind the proxy, by backpressure. ``Client``
keeps the connections to that server alive, and repeats what was lost with a connection that the server was just closing.

A proxy must not pass on the fields that are about one connection, such as Connection and Keep-Alive (RFC 9110 §7.6.1). It adds
Via, X-Forwarded-For and X-Forwarded-Proto, which tell the server who asks. Host stays as the client sent it. The handshake of
a WebSocket is passed on as it is, and then its frames are only bytes. Over HTTP/2 it has no key, so the proxy makes one.

Left out: trailers, and caching. A proxy on the open network should also bound how many requests one client may make.
"""

import asyncio
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from secrets import token_bytes

from minproto import Answer, App, Client, RemoteProtocolError, Request, Response, Timeouts, Upgrade, serve
from minproto.aio.observe import peer_name
from minproto.aio.pipe import Pipe
from minproto.http import Headers, split_list, split_target

OF_ONE_CONNECTION = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
OURS = {"expect", "host", "sec-websocket-key", "x-forwarded-for", "x-forwarded-proto"}  # minproto answers an Expect itself


def reverse_proxy(client: Client, server: str) -> App:
    async def app(request: Request) -> Answer:
        try:
            return await forward(client, server, request, request.body if request.has_content else b"")
        except TimeoutError:
            return Response.text("the server behind this proxy is too slow\n", 504)
        except (OSError, RemoteProtocolError):
            return Response.text("the server behind this proxy does not answer\n", 502)

    return app


async def forward(client: Client, server: str, request: Request, content: bytes | AsyncIterator[bytes]) -> Answer:
    """Pass a request on, and return the answer as soon as its head has come."""
    url = server + "?".join(filter(None, split_target(request.method, request.target)[1:]))  # path and query
    response = await client.request(request.method, url, headers=fields_for_server(request), content=content)
    response.body_timeout = None  # an event stream may be silent for any time
    fields = passed_on(response.headers)
    if response.pipe is None:
        return Response(response if response.exchange is not None else b"", response.status, fields)
    if not request.protocol:  # over HTTP/2 a 200 accepts a WebSocket, and there is no Upgrade (RFC 8441 §5)
        fields.append(("upgrade", "websocket"))
    return Upgrade(partial(relay, response.pipe), fields, 200 if request.protocol else 101, response.pipe.abort)


def passed_on(headers: Headers) -> list[tuple[str, str]]:
    """Return the fields that are for the other end, and not only for this connection."""
    kept_here = OF_ONE_CONNECTION.union(split_list(headers.get("connection") or ""))
    return [field for field in headers if field[0] not in kept_here]


def fields_for_server(request: Request) -> list[tuple[str, str]]:
    fields = [field for field in passed_on(request.headers) if field[0] not in OURS]
    fields += [("via", f"{request.head.version} minproto"), ("x-forwarded-for", peer_name(request.pipe))]
    fields += [("host", request.authority), ("x-forwarded-proto", "https" if request.pipe.info("ssl_object") else "http")]
    if "websocket" in (request.protocol, (request.headers.get("upgrade") or "").lower()):
        key = request.headers.get("sec-websocket-key") or b64encode(token_bytes(16)).decode()
        fields += [("upgrade", "websocket"), ("sec-websocket-key", key)]
    return fields


async def relay(server: Pipe, client: Pipe) -> None:
    """Carry bytes both ways until the server ends: in the closing handshake of a WebSocket it is the first to end TCP."""
    with suppress(ExceptionGroup):  # one of the two was reset
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(carry(client, server))
            await carry(server, client)
            asking.cancel()
    server.abort()


async def carry(source: Pipe, target: Pipe) -> None:
    while data := await source.read():
        target.write(data)
        await target.drain()
    target.close_write()


async def main(server: str = "http://127.0.0.1:9000", port: int = 8000) -> None:
    async with Client(max_connections=256, timeouts=Timeouts(idle=30)) as client:
        await serve(reverse_proxy(client, server), port=port)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2], *map(int, sys.argv[2:3])))
