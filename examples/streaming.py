"""Content of any size in little memory: the server counts an upload while it arrives, and makes a download while it is sent.

Neither side ever holds more than a few chunks, because a slow reader makes the writer wait (backpressure). The hash of the
download is known only at its end. So the server sends it after the content, as a trailer field.

It prints:

    uploaded: 100000000 bytes
    downloaded: 100000000 bytes, digest matches: True
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from minproto import Request, Response, Server, connect_http

BLOCK, COUNT = bytes(100_000), 1_000


async def app(request: Request) -> Response:
    if request.method == "POST":
        size = 0
        async for piece in request.body:
            size += len(piece)
        return Response.text(f"{size} bytes")
    response = Response()
    response.body = hashed(response)
    return response


async def blocks() -> AsyncIterator[bytes]:
    for _ in range(COUNT):
        yield BLOCK


async def hashed(response: Response) -> AsyncIterator[bytes]:
    digest = hashlib.sha256()
    async for block in blocks():
        digest.update(block)
        yield block
    response.trailers.append(("x-digest", digest.hexdigest()))


async def main() -> None:
    async with Server(app, port=0) as server:
        client = await connect_http("127.0.0.1", server.port)
        answer = await client.request("POST", "/", body=blocks())
        print("uploaded:", (await answer.read()).decode())
        answer, size, digest = await client.request("GET", "/"), 0, hashlib.sha256()
        async for piece in answer:
            size += len(piece)
            digest.update(piece)
        print(f"downloaded: {size} bytes, digest matches:", answer.trailers == [("x-digest", digest.hexdigest())])
        await client.close()


asyncio.run(main())
