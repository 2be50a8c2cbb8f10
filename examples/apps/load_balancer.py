"""A load balancer: one port in front of several servers, which loses no request when one of them is killed.

    minproto serve --port 9001 &
    minproto serve --port 9002 &
    python examples/apps/load_balancer.py http://127.0.0.1:9001 http://127.0.0.1:9002        # and a port: 8000

    curl -i http://127.0.0.1:8000/hello             # whichever server has the fewest requests
    kill -9 %1; curl -i http://127.0.0.1:8000/hello # the other one; the first is asked again after a second

``reverse_proxy.py``, beside this file, passes on a request. This file chooses the server, and what to do when that fails:

- A request goes to the server with the fewest requests in flight. A slow server gets fewer of them, by itself.
- A server that can't be reached is asked again only after a second.
- A request that failed is sent to another server if that is right (RFC 9110 §9.2.2): if the first server has not processed
  it, or if its method is idempotent. To send it again, the balancer needs its content, so it keeps content of up to 64 KiB.
- A server may also be killed in the middle of a response. So the balancer reads a response of up to 64 KiB before it sends
  the first byte. A larger one, or an event stream, is streamed, and is cut off with its server.
"""

import asyncio
import sys
import time

from reverse_proxy import forward

from minproto import Answer, Client, RemoteProtocolError, Request, RequestRefused, Response, Timeouts, serve

SMALL = 65_536
PAUSE = 1.0
IDEMPOTENT = {"GET", "PUT", "DELETE", "OPTIONS"}  # HEAD appears as GET


class Balancer:
    def __init__(self, client: Client, servers: list[str]) -> None:
        self.client = client
        self.in_flight = dict.fromkeys(servers, 0)
        self.failed_at = dict.fromkeys(servers, -PAUSE)

    async def app(self, request: Request) -> Answer:
        length = int(request.headers.get("content-length") or SMALL + 1)
        content = await request.read() if length <= SMALL or not request.has_content else request.body
        untried = set(self.in_flight)
        while untried:
            server = min(untried, key=self._burden)
            untried.remove(server)
            try:
                return await self._ask(server, request, content)
            except (OSError, RemoteProtocolError) as error:
                self.failed_at[server] = time.monotonic()
                unprocessed = isinstance(error, ConnectionRefusedError | RequestRefused)
                if not isinstance(content, bytes) or not (unprocessed or request.method in IDEMPOTENT):
                    break
        return Response.text("no server has answered\n", 502)

    def _burden(self, server: str) -> tuple[bool, int]:
        return time.monotonic() < self.failed_at[server] + PAUSE, self.in_flight[server]

    async def _ask(self, server: str, request: Request, content: object) -> Answer:
        self.in_flight[server] += 1
        try:
            answer = await forward(self.client, server, request, content)  # type: ignore[arg-type]
            length = int(answer.headers.get("content-length") or SMALL + 1)
            if isinstance(answer, Response) and length <= SMALL and not isinstance(answer.body, bytes):
                answer.body = b"".join([piece async for piece in answer.body])
            return answer
        finally:
            self.in_flight[server] -= 1


async def main(servers: list[str], port: int) -> None:
    async with Client(max_connections=256, timeouts=Timeouts(idle=30)) as client:
        await serve(Balancer(client, servers).app, port=port)


if __name__ == "__main__":
    urls = [word for word in sys.argv[1:] if not word.isdecimal()]
    asyncio.run(main(urls, int(sys.argv[-1]) if sys.argv[-1].isdecimal() else 8000))
