"""The lab's app: its page, what the page asks for, and behind it the demo app. All of it for this machine's pages alone.

The page shows what other connections carry, so it is nobody else's business. A server on 127.0.0.1 is not safe from the web
by that alone: any page that the user visits can send requests to it. The page's scripts are told apart by their Origin. And
a hostile site can give its own name the address 127.0.0.1 once its page is loaded (DNS rebinding), so that for the browser
everything is of one origin; but the name in Host is still the site's.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from minproto.aio.address import is_origin_of
from minproto.aio.endpoint import logger
from minproto.aio.http import Answer, App, Request, Response, not_allowed
from minproto.aio.websocket import WebSocket, upgrade
from minproto.lab.feeds import beside
from minproto.lab.line import Line
from minproto.lab.push import PREFIX, TOPIC, Push
from minproto.lab.wire import PREFIX as WIRE_PREFIX
from minproto.lab.wire import Wire

HOSTS = ("127.0.0.1", "localhost")
BEAT = 1.0
"""Seconds between two signs of life for a page: it says "the lab does not answer" where five are missing."""
MAX_DELAY = 5_000
"""Milliseconds that a tile may take."""
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Places:
    """Ports of 127.0.0.1 on which the lab is reached; None for what it does not have."""

    http: int
    https: int | None = None
    broker: int | None = None

    @property
    def origins(self) -> set[str]:
        """Of the lab's own pages."""
        ports = {("http", self.http, 80), ("https", self.https, 443)}
        return {
            f"{scheme}://{host}" + (f":{port}" if port != default else "")
            for scheme, port, default in ports
            if port is not None
            for host in HOSTS
        }


class LabApp:
    """The app."""

    def __init__(self, places: Callable[[], Places], push: Push, wire: Wire, demo: App) -> None:
        """``places`` is asked with each request: ports may be known only when the servers listen."""
        self._places = places
        self._push = push
        self._wire = wire
        self._demo = demo
        self._page = {file.name: file.read_bytes() for file in files(__package__).joinpath("page").iterdir()}

    async def __call__(self, request: Request) -> Answer:
        origins = self._places().origins
        if (refusal := _refusal(request, origins)) is not None:
            return refusal
        self._push.claim(request)
        path = request.path
        if path.startswith(PREFIX):
            return await self._push(request)
        if path.startswith(WIRE_PREFIX):
            return await self._wire(request)
        if path != "/" and not path.startswith("/lab/"):
            return await self._demo(request)
        if request.method != "GET":
            return not_allowed("GET", "HEAD")
        if path.startswith("/lab/tile/"):
            return await _tile(request)
        if path == "/lab/places":
            return self._tell_places()
        if path == "/lab/alive":
            return _alive(request)
        return self._file("index.html" if path == "/" else path.removeprefix("/lab/"), origins)

    def _tell_places(self) -> Response:
        places = self._places()
        answer = {"http": places.http, "https": places.https, "broker": places.broker, "topic": TOPIC}
        return _json(answer)

    def _file(self, name: str, origins: set[str]) -> Response:
        """A file of the page: of those that there are, so no path leads elsewhere."""
        content = self._page.get(name)
        if content is None:
            return Response.text("not found\n", 404)
        headers = [
            ("content-type", TYPES[name.rpartition(".")[2]]),
            ("cache-control", "no-cache"),
            ("content-security-policy", _policy(origins)),
            ("x-content-type-options", "nosniff"),
        ]
        return Response(content, headers=headers)


def _json(value: object) -> Response:
    return Response(
        json.dumps(value).encode(), headers=[("content-type", "application/json"), ("cache-control", "no-store")]
    )


def _refusal(request: Request, origins: set[str]) -> Response | None:
    """The answer to a request that is not meant for us, or not sent by one of our pages."""
    authority = request.authority  # "" in HTTP/1.0 without a Host, which no browser sends
    if authority and not any(is_origin_of(origin, authority) for origin in origins):
        _log_refusal(request, 421, "the authority that it asks for", authority, origins)
        return Response.text("the lab is 127.0.0.1 or localhost, with its own port\n", 421)  # RFC 9110 §15.5.20
    origin = request.headers.get("origin")
    if origin is not None and origin not in origins:
        _log_refusal(request, 403, "its Origin", origin, origins)
        return Response.text("the lab is for its own pages\n", 403)
    return None


def _log_refusal(request: Request, status: int, what: str, value: str, origins: set[str]) -> None:
    """Tell the log which value was compared with what."""
    logger.warning(
        "the request %.200a is refused with %d: %s is %.200a, and the lab's origins are %s",
        f"{request.method} {request.target}", status, what, value, ", ".join(sorted(origins)),
    )  # fmt: skip


def _policy(origins: set[str]) -> str:
    """What the page may load, and who may show it: its own files and the lab's two origins, nobody."""
    own = " ".join(sorted(origins | {origin.replace("http", "ws", 1) for origin in origins}))
    return (
        f"default-src 'self'; connect-src 'self' {own}; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _alive(request: Request) -> Answer:
    """A WebSocket that each page keeps open, whatever its tab, to notice when the lab goes away and when it is back."""
    if isinstance(line := request.pipe.info("line"), Line):
        line.untap("a page's own: not shown")
    return upgrade(request, _show_life, compression=None)


async def _show_life(ws: WebSocket) -> None:
    async with beside(_beat(ws)):
        async for _ in ws:
            pass  # a page has nothing to say here


async def _beat(ws: WebSocket) -> None:
    while True:
        await ws.send("alive")
        await asyncio.sleep(BEAT)


async def _tile(request: Request) -> Response:
    """A small answer that takes its time. Pages of both origins may read it, and how long its parts took."""
    delay = request.query.get("delay", "")
    if not (delay.isascii() and delay.isdigit() and int(delay[:9]) <= MAX_DELAY):
        return Response.text(f"delay is in milliseconds, at most {MAX_DELAY}\n", 400)
    await asyncio.sleep(int(delay) / 1_000)
    headers = [("cache-control", "no-store"), ("vary", "origin")]
    if (origin := request.headers.get("origin")) is not None:  # one of ours: others got no further than the door
        headers += [("access-control-allow-origin", origin), ("timing-allow-origin", origin)]
    return Response.text(f"{request.path}\n", headers=headers)
