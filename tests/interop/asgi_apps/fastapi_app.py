"""A FastAPI app: validation, dependencies, forms and uploads, streaming, events, WebSocket, background tasks, middleware."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import (
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Request,
    Response,
    UploadFile,
    WebSocket,
)
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from sse_starlette import EventSourceResponse
from starlette.websockets import WebSocketDisconnect

HERE = Path(__file__).parent


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, list[str]]]:
    yield {"done": ["started"]}
    print("the lifespan has ended", flush=True)


app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["https://example.org"])
app.add_middleware(GZipMiddleware, minimum_size=1_000)
app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")


class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []


@app.middleware("http")
async def add_process_time(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    began = time.perf_counter()
    response = await call_next(request)
    response.headers["X-Process-Time"] = str(time.perf_counter() - began)
    return response


async def token(x_token: Annotated[str, Header()]) -> str:
    if x_token != "secret":
        raise HTTPException(403, "wrong token")
    return x_token


@app.get("/items/{item_id}")
async def read_item(item_id: int, q: str | None = None) -> dict[str, object]:
    return {"item_id": item_id, "q": q}


@app.post("/items", status_code=201)
async def create_item(item: Item) -> Item:
    return item


@app.get("/private")
def private(token: Annotated[str, Depends(token)]) -> dict[str, str]:
    return {"token": token}


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()], note: Annotated[str, Form()]) -> dict[str, object]:
    return {"name": file.filename, "size": len(await file.read()), "note": note}


@app.post("/count")
async def count(request: Request) -> int:
    return sum([len(piece) async for piece in request.stream()])


@app.get("/download")
async def download() -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)
            await asyncio.sleep(0.01)

    return StreamingResponse(pieces(), media_type="application/octet-stream")


@app.get("/lines")
def lines() -> StreamingResponse:
    return StreamingResponse((f"line {number}\n" for number in range(1_000)), media_type="text/plain")


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__, media_type="text/plain")


@app.get("/events")
async def events() -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"id: {number}\ndata: tick\n\n"
            number += 1
            await asyncio.sleep(0.05)

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.get("/sse-starlette")
async def sse_starlette() -> EventSourceResponse:
    async def stream() -> AsyncIterator[dict[str, str]]:
        for number in range(1_000_000):
            yield {"id": str(number), "event": "tick", "data": "now"}
            await asyncio.sleep(0.05)

    return EventSourceResponse(stream())


@app.post("/notify", status_code=202)
async def notify(request: Request, tasks: BackgroundTasks) -> dict[str, str]:
    async def work() -> None:
        await asyncio.sleep(0.2)
        request.state.done.append("notified")

    tasks.add_task(work)
    return {"status": "accepted"}


@app.get("/done")
async def done(request: Request) -> list[str]:
    return request.state.done


@app.get("/fails")
async def fails() -> None:
    raise RuntimeError("a fault of the app")


@app.websocket("/ws/{room}")
async def chat(socket: WebSocket, room: str) -> None:
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None)
    try:
        while True:
            await socket.send_text(f"{room}: {await socket.receive_text()}")
    except WebSocketDisconnect as left:
        socket.state.done.append(f"left {left.code}")


@app.websocket("/closed")
async def closed(socket: WebSocket) -> None:
    await socket.close()
