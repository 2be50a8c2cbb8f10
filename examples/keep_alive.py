"""Keep-alive and pipelining, seen from a raw socket: three requests in one write, and three answers in the same order.

The first request is the slowest, and yet its answer comes first. HTTP/1.1 has no number that shows which request an answer
belongs to: only the order does (RFC 9112 §9.3.2). One slow request holds up all later answers (head-of-line blocking). The
last request asks the server to close the connection, and the server's answer says that it will.

It prints:

    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    date: ...
    content-length: 6

    /slow

    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    date: ...
    content-length: 6

    /fast

    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    date: ...
    connection: close
    content-length: 6

    /last
"""

import asyncio
import re

from minproto import Request, Response, Server


async def app(request: Request) -> Response:
    if request.path == "/slow":
        await asyncio.sleep(0.1)
    return Response.text(f"{request.path}\n")


async def main() -> None:
    async with Server(app, port=0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n" for path in ("/slow", "/fast", "/last")]
        writer.write(("\r\n".join(requests) + "Connection: close\r\n\r\n").encode())
        answers = (await reader.read()).decode().replace("\r\n", "\n")
        print(re.sub("date: .*", "date: ...", answers).replace("\nHTTP", "\n\nHTTP"), end="")
        writer.close()


asyncio.run(main())
