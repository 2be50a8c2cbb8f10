"""The code blocks about FastAPI of a backend networking guide, as they stand there: what really happens when they run."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from .serving import Serving, command, environment, wait_until

GUIDE = Path(__file__).parent / "guide"


@pytest.fixture(autouse=True)
def _fastapi() -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed")


def serve(name: str, folder: Path = GUIDE) -> Iterator[Serving]:
    server = Serving(f"{name}:app", "--no-access-log", name="asgi", folder=folder)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Serving]:
    yield from serve(request.param)


@pytest.mark.parametrize("server", ["sync_and_async", "overview"], indirect=True)
async def test_five_sync_requests_take_five_seconds_as_five_async_ones_do(httpx: ModuleType, server: Serving) -> None:
    """The text says 25 seconds, one after the other. But FastAPI runs a route that is ``def`` in a pool of threads."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        began = time.monotonic()
        both = ["/sync", "/async"] * 5
        answers = await asyncio.gather(*(client.get(path) for path in both))
        assert 5 <= time.monotonic() - began < 15
    words = {answer.json()["message"] for answer in answers}
    assert words == {"Sync task completed", "Async task completed"}


@pytest.mark.parametrize("server", ["sync_and_async"], indirect=True)
async def test_the_pool_has_forty_threads(httpx: ModuleType, server: Serving) -> None:
    """So 41 requests to a route that is ``def`` take twice as long; 41 to one that is ``async def`` do not."""
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits, trust_env=False) as client:

        async def seconds(path: str) -> float:
            began = time.monotonic()
            await asyncio.gather(*(client.get(path) for _ in range(41)))
            return time.monotonic() - began

        sync, not_sync = await asyncio.gather(seconds("/sync"), seconds("/async"))
    assert sync >= 10 and 5 <= not_sync < 10


@pytest.mark.parametrize("server", ["request_response"], indirect=True)
def test_the_synchronous_pattern(httpx: ModuleType, server: Serving) -> None:
    began = time.monotonic()
    assert httpx.get(f"{server.url}/sync-task", timeout=30).json() == {"message": "Task completed synchronously"}
    assert time.monotonic() - began >= 3


def test_the_asynchronous_pattern_has_no_app_of_its_own() -> None:


    words = command("asgi", "acknowledged:app", "--port", "0")
    done = subprocess.run(words, cwd=GUIDE, env=environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("minproto asgi: acknowledged cannot be imported: NameError: name 'app' is not defined")


def test_the_asynchronous_pattern_acknowledges_nothing_at_once(httpx: ModuleType, tmp_path: Path) -> None:
    """Behind the block before it, it runs. The text says that the server acknowledges at once; it takes 3 seconds."""
    both = (GUIDE / "request_response.py").read_text() + (GUIDE / "acknowledged.py").read_text()
    (tmp_path / "both.py").write_text(both)
    for server in serve("both", tmp_path):
        began = time.monotonic()
        assert httpx.get(f"{server.url}/async-task", timeout=30).json() == {"message": "Task completed asynchronously"}
        assert time.monotonic() - began >= 3


@pytest.mark.parametrize("server", ["events"], indirect=True)
def test_the_events_break_off_since_time_is_not_imported(httpx: ModuleType, server: Serving) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{server.url}/events", timeout=30)
    wait_until(lambda: "NameError: name 'time' is not defined" in server.stderr)


def test_the_events_with_their_import(httpx: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mended.py").write_text("import time\n" + (GUIDE / "events.py").read_text())
    for server in serve("mended", tmp_path):
        with httpx.stream("GET", f"{server.url}/events", timeout=30) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            lines = answer.iter_lines()
            assert [next(lines)[:20], next(lines), next(lines)[:20]] == ["data: Server time is", "", "data: Server time is"]


THROTTLED = """
from fastapi import FastAPI
import throttling

app = FastAPI()
app.add_middleware(throttling.RateLimitMiddleware)

@app.get("/")
def home():
    return "home"
"""


@pytest.mark.parametrize(("line", "status"), [("", 500), ("from fastapi.responses import JSONResponse\n", 429)])
def test_the_rate_limit_fails_where_it_should_refuse(httpx: ModuleType, tmp_path: Path, line: str, status: int) -> None:
    """Its JSONResponse is not imported, so the second request within a second gets a 500; with the import, a 429."""
    (tmp_path / "throttling.py").write_text(line + (GUIDE / "throttling.py").read_text())
    (tmp_path / "throttled.py").write_text(THROTTLED)
    for server in serve("throttled", tmp_path):
        statuses = [httpx.get(server.url).status_code]
        while statuses[-1] == 200:  # on a busy machine, a second may pass between two requests
            statuses.append(httpx.get(server.url).status_code)
        assert statuses[0] == 200 and statuses[-1] == status
