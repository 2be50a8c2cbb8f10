"""gRPC: a real grpcio client, and a server that is an ordinary app, since gRPC is HTTP/2 with a few conventions.

A call is a POST to /service/method. Five bytes precede each message, in both directions: one byte says whether the message is
compressed, and four give its length. A trailer, grpc-status, says how the call went. The messages here are plain bytes. gRPC
does not say what is in a message: most programs use Protocol Buffers. Needs grpcio (``pip install grpcio``).

It prints:

    greet: Hello, Ada!
    count: 1 2 3
    no method: UNIMPLEMENTED
"""

import asyncio
from collections.abc import AsyncIterator

import grpc

from minproto import Request, Response, Server

OK, UNIMPLEMENTED = "0", "12"


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


async def greet(name: bytes) -> AsyncIterator[bytes]:
    yield framed(b"Hello, " + name + b"!")


async def count(limit: bytes) -> AsyncIterator[bytes]:
    for number in range(1, int(limit) + 1):
        yield framed(b"%d" % number)


async def nothing(message: bytes) -> AsyncIterator[bytes]:
    return
    yield


METHODS = {"/demo.Demo/Greet": greet, "/demo.Demo/Count": count}


async def app(request: Request) -> Response:
    method = METHODS.get(request.path, nothing)
    message = (await request.read())[5:]
    response = Response(method(message), headers=[("content-type", "application/grpc")])
    response.trailers.append(("grpc-status", UNIMPLEMENTED if method is nothing else OK))
    return response


async def main() -> None:
    options = [("grpc.enable_http_proxy", 0)]
    async with Server(app, port=0) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        print("greet:", (await channel.unary_unary("/demo.Demo/Greet")(b"Ada")).decode())
        print("count:", *[number.decode() async for number in channel.unary_stream("/demo.Demo/Count")(b"3")])
        try:
            await channel.unary_unary("/demo.Demo/Sing")(b"")
        except grpc.aio.AioRpcError as error:
            print("no method:", error.code().name)


asyncio.run(main())
