"""A Starlette app: routes, sessions in a cookie, a mounted app, an endpoint that is a class, a refused WebSocket."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

happened: list[str] = []


class AddHeader(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Custom"] = "added"
        return response


class Homepage(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(f"hello {request.query_params.get('name', 'world')}")


class Echo(WebSocketEndpoint):
    encoding = "json"

    async def on_receive(self, websocket: WebSocket, data: object) -> None:
        await websocket.send_json({"echo": data})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        happened.append(f"disconnected {close_code}")


async def url(request: Request) -> Response:
    return JSONResponse([str(request.url), str(request.url_for("url")), request.method])


async def redirect(request: Request) -> Response:
    response = RedirectResponse("/url")
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2")
    return response


async def upload(request: Request) -> Response:
    try:
        return PlainTextResponse(str(len(await request.body())))
    except ClientDisconnect:
        happened.append("left while uploading")
        raise


async def leave(request: Request) -> Response:
    """Wait for the client to leave, as an app that polls does."""
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    happened.append("left while waiting")
    return PlainTextResponse("nobody reads this")


async def drip(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            for _ in range(10):
                yield b"drop\n"
                await asyncio.sleep(0.05)
        finally:
            happened.append("dripped")

    return StreamingResponse(pieces(), background=BackgroundTask(happened.append, "cleaned"))


async def endless(request: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: tick\n\n"
                await asyncio.sleep(0.01)
        finally:
            happened.append("the endless stream has ended")

    return StreamingResponse(events(), headers={"content-type": "text/event-stream"})


async def log(request: Request) -> Response:
    return JSONResponse(happened)


async def refused(socket: WebSocket) -> None:
    await socket.send_denial_response(JSONResponse({"detail": "no token"}, 401))


app = Starlette(
    routes=[
        Route("/", Homepage, middleware=[Middleware(AddHeader)]),  # under it, no app can poll whether its client has left
        Route("/url", url, methods=["GET", "PUT"]),
        Route("/redirect", redirect),
        Route("/upload", upload, methods=["POST"]),
        Route("/leave", leave),
        Route("/drip", drip),
        Route("/endless", endless),
        Route("/log", log),
        Mount("/mounted", routes=[Route("/page", url, name="page")]),
        WebSocketRoute("/echo", Echo),
        WebSocketRoute("/refused", refused),
    ]
)
