"""A server, and a client that sends it two requests on one connection (keep-alive).

It prints:

    200 Hello, World!
    404 not found
"""

import asyncio

from minproto import Request, Response, Server, connect_http


async def app(request: Request) -> Response:
    match request.method, request.path:
        case "GET", "/hello":
            return Response.text("Hello, World!")
        case _:
            return Response.text("not found", status=404)


async def main() -> None:
    async with Server(app, port=0) as server:
        client = await connect_http("127.0.0.1", server.port)
        for target in ("/hello", "/nothing"):
            response = await client.request("GET", target)
            print(response.status, (await response.read()).decode())
        await client.close()


asyncio.run(main())
