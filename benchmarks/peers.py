"""The servers that minproto is compared with, each on the standard event loop: `python -m benchmarks.peers NAME PORT`.

All answer GET /hello with the same 13 bytes of text/plain, write no access log and do nothing else. `bare` is no server
at all: asyncio streams that answer whatever arrives without a look at it, which is what HTTP would cost if parsing were
free, and so the ceiling for anything written on streams.

Libraries are imported by the function that runs them, since any of them may be absent.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from benchmarks.common import HOST

BODY = b"Hello, World!"


def uvicorn(parser: str, port: int) -> None:
    from uvicorn import run

    # Its 5 s of keep-alive would end idle connections while benchmarks.memory is still opening the last of them.
    run(
        hello, host=HOST, port=port, http=parser, loop="asyncio", lifespan="off",
        access_log=False, log_level="warning", timeout_keep_alive=60,
    )  # fmt: skip


async def hello(scope: dict[str, Any], receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    found = scope["path"] == "/hello"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def aiohttp(port: int) -> None:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=BODY.decode())

    app = web.Application()
    app.router.add_get("/hello", hello)
    web.run_app(app, host=HOST, port=port, access_log=None, print=None)


async def bare(port: int) -> None:
    head = (
        "HTTP/1.1 200 OK\r\n"
        f"date: {formatdate(usegmt=True)}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    )
    answer = head.encode() + BODY

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass  # the load generator hangs up in the middle of an exchange when its time is over
        writer.close()

    server = await asyncio.start_server(serve, HOST, port)
    await server.serve_forever()


def main(name: str, port: int) -> None:
    match name:
        case "uvicorn-httptools":
            uvicorn("httptools", port)
        case "uvicorn-h11":
            uvicorn("h11", port)
        case "aiohttp":
            aiohttp(port)
        case "bare":
            asyncio.run(bare(port))
        case _:
            sys.exit(f"no such peer: {name}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
