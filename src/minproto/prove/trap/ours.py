"""Our own clients as a program: ``minproto trap -- python -m minproto.prove.trap.ours {url}``.

The path's first word tells which client asks: ``connect_http``, ``connect_http2`` with prior knowledge, ``connect`` for a
WebSocket, ``EventSource``. What arrives is printed. An error is one line, and the exit status is 1.
"""

import asyncio
import ssl
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import minproto
from minproto.prove.trap.snares import CONTROLS, SNARES


async def ask(url: str, say: Callable[[str], object] = print, tls: ssl.SSLContext | None = None) -> None:
    """Make the request of the snare at ``url``, and say what arrives. ``tls``: a context for ``https`` and ``wss``."""
    parts = urlsplit(url)
    name = parts.path[1:]
    snare = next(snare for snare in (*CONTROLS.values(), *SNARES) if snare.name == name)
    host, port = parts.hostname or "", parts.port or 80
    match snare.protocol:
        case "http1":
            async with minproto.connect_http(host, port, ssl=tls) as client:
                await show(await client.request(snare.method, parts.path), say)
        case "http2":
            async with minproto.connect_http2(host, port, ssl=tls) as client:
                await show(await client.request(snare.method, parts.path), say)
        case "websocket":
            offered = [snare.needs] if snare.group == "websocket/subprotocol" and snare.needs else []
            async with minproto.connect(url, subprotocols=offered, ssl=tls) as socket:
                await listen(socket, say)
        case _:
            async for event in minproto.EventSource(url, ssl=tls):
                say(f"{event.event}: {event.data} ({event.id})")


async def show(response: minproto.ClientResponse, say: Callable[[str], object]) -> None:
    """Say what is in a response: a status that is not 200, the field X, which some snares contain, and the content."""
    if response.status != 200:
        say(f"status {response.status}")
    if (value := response.headers.get("x")) is not None:
        say(f"X: {value[:80]}")
    say((await response.read()).decode(errors="replace"))


async def listen(socket: minproto.WebSocket, say: Callable[[str], object]) -> None:
    """Say messages until the server says that it has no more. Raises ConnectionClosed for any other end."""
    while True:
        try:
            say(str(await socket.receive()))
        except minproto.ConnectionClosed as end:
            if end.code != 1000:
                raise
            return


def main() -> int:
    try:
        asyncio.run(ask(sys.argv[1]))
    except (OSError, minproto.ProtocolError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
