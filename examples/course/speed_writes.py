"""Count writes: sixteen requests that arrive together are answered with one system call."""

import asyncio

from minproto import Request, Response, Server
from minproto.testing import clock
from minproto.testing.network import pair

REQUEST = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


async def app(request: Request) -> Response:
    return Response.text(request.path)


async def main() -> None:
    ours, theirs = pair()
    writes = []
    write = theirs.write

    def write_and_count(data: bytes | memoryview) -> None:
        writes.append(len(data))
        write(data)

    theirs.write = write_and_count  # type: ignore[method-assign]
    async with Server(app, port=0) as server:
        server.attach(theirs)
        for together in 1, 16:
            ours.write(b"".join(REQUEST % number for number in range(together)))
            await asyncio.sleep(1)
            answers = (await ours.read()).count(b"HTTP/1.1 200 OK")
            print(f"{together:2} requests in one piece: {answers:2} answers, writes: {len(writes)}")
            writes.clear()
        await ours.close()


clock.run(main())
