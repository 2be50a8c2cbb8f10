"""The lab's app: its page, the page's requests, and the demo app for all other paths. It answers only the lab's own pages.

The lab shows the content of other connections, so no other website may see it. To listen only on 127.0.0.1 is not enough:
any page that the user visits can send requests to 127.0.0.1. Two checks keep such pages out (``_refusal``):

- A script from another site has a different Origin field: ``Origin: https://evil.example``. Answer: 403.
- A hostile site can give its own name the address 127.0.0.1 after its page has loaded (*DNS rebinding*). To the browser, the
  site and the lab are then one origin, so Origin does not help. But the Host field still has the site's name:
  ``Host: evil.example:8000``. Answer: 421.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

from minproto.aio.address import is_origin_of
from minproto.aio.http import Answer, App, Request, Response, not_allowed
from minproto.aio.observe import logger
from minproto.aio.websocket import WebSocket
from minproto.aio.websocket_server import upgrade
from minproto.lab.feeds import beside
from minproto.lab.line import Line
from minproto.lab.push import PREFIX, TOPIC, Push
from minproto.lab.stepper import PATH as STEPPER_PATH
from minproto.lab.stepper import REQUIREMENTS, step
from minproto.lab.wire import PREFIX as WIRE_PREFIX
from minproto.lab.wire import Wire

HOSTS = ("127.0.0.1", "localhost")
BEAT = 1.0
"""Seconds between two signs of life. A page that misses five signs says "the lab does not answer"."""
MAX_DELAY = 5_000
"""The maximum number of milliseconds that a tile can be told to wait."""
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Places:
    """The lab's ports on 127.0.0.1; None for a protocol that it does not serve."""

    http: int
    https: int | None = None
    broker: int | None = None

    @property
    def origins(self) -> set[str]:
        """The origins of the lab's own pages, such as "http://localhost:8000"."""
        ports = {("http", self.http, 80), ("https", self.https, 443)}
        return {
            f"{scheme}://{host}" + (f":{port}" if port != default else "")
            for scheme, port, default in ports
            if port is not None
            for host in HOSTS
        }


class LabApp:
    """The app of the lab's HTTP and HTTPS servers."""

    def __init__(self, places: Callable[[], Places], push: Push, wire: Wire, demo: App) -> None:
        """``places``: called for each request, since a port of 0 becomes a real number only when its server is listening."""
        self._places = places
        self._push = push
        self._wire = wire
        self._demo = demo
        self._page = {file.name: file.read_bytes() for file in files(__package__).joinpath("page").iterdir()}

    async def __call__(self, request: Request) -> Answer:
        """Refuse a request from another site; claim its bytes for a column; then let the right part of the lab answer it."""
        origins = self._places().origins
        if (refusal := _refusal(request, origins)) is not None:
            return refusal
        self._push.claim(request)
        path = request.path
        if path.startswith(PREFIX):
            return await self._push(request)
        if path.startswith(WIRE_PREFIX):
            return await self._wire(request)
        if path == STEPPER_PATH or path.startswith(REQUIREMENTS):
            return await step(request)
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
        """Answer with one of the page's files. All files were read at the start, so a path such as "../x" finds nothing."""
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
    return Response.json(value, headers={"cache-control": "no-store"})


def _refusal(request: Request, origins: set[str]) -> Response | None:
    """Return the answer to a request that names another site, or comes from another site's page; None for all others."""
    authority = request.authority  # "" for HTTP/1.0 without a Host field, which no browser sends
    if authority and not any(is_origin_of(origin, authority) for origin in origins):
        _log_refusal(request, 421, "the authority that it asks for", authority, origins)
        return Response.text("the lab answers only as 127.0.0.1 or localhost, with its own port\n", 421)  # RFC 9110 §15.5.20
    origin = request.headers.get("origin")
    if origin is not None and origin not in origins:
        _log_refusal(request, 403, "its Origin", origin, origins)
        return Response.text("the lab answers only its own pages\n", 403)
    return None


def _log_refusal(request: Request, status: int, what: str, value: str, origins: set[str]) -> None:
    """Log the value that was refused, and the origins that it was compared with."""
    logger.warning(
        "the request %.200a is refused with %d: %s is %.200a, and the lab's origins are %s",
        f"{request.method} {request.target}", status, what, value, ", ".join(sorted(origins)),
    )  # fmt: skip


def _policy(origins: set[str]) -> str:
    """Return the page's Content-Security-Policy: load only its own files, talk to the lab's origins, and allow no framing."""
    own = " ".join(sorted(origins | {origin.replace("http", "ws", 1) for origin in origins}))
    return (
        f"default-src 'self'; connect-src 'self' {own}; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _alive(request: Request) -> Answer:
    """Answer with a WebSocket that each page keeps open, to notice when the lab stops and when it is back."""
    if isinstance(line := request.pipe.info("line"), Line):
        line.untap("not shown: a page's own connection")
    return upgrade(request, _show_life, compression=None)


async def _show_life(ws: WebSocket) -> None:
    async with beside(_beat(ws)):
        async for _ in ws:
            pass  # the page sends nothing: we iterate only to notice when the connection closes


async def _beat(ws: WebSocket) -> None:
    while True:
        await ws.send("alive")
        await asyncio.sleep(BEAT)


async def _tile(request: Request) -> Response:
    """Answer after a delay, for the comparison of six connections with one.

    A page from the HTTP origin also asks the HTTPS origin, so the answer lets both origins read it, and its timings.
    """
    delay = request.query.get("delay", "")
    if not (delay.isascii() and delay.isdigit() and int(delay[:9]) <= MAX_DELAY):
        return Response.text(f"delay has to be in milliseconds, at most {MAX_DELAY}\n", 400)
    await asyncio.sleep(int(delay) / 1_000)
    headers = [("cache-control", "no-store"), ("vary", "origin")]
    if (origin := request.headers.get("origin")) is not None:  # one of our origins: ``_refusal`` has answered all others
        headers += [("access-control-allow-origin", origin), ("timing-allow-origin", origin)]
    return Response.text(f"{request.path}\n", headers=headers)
