"""The ladder of Server-Sent Events with real clients: a browser's EventSource, and a relay of its own."""

import contextlib
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .serving import wait_until

STEPS = sorted((Path(__file__).parents[2] / "examples" / "steps" / "sse").glob("step*.py"))


@contextmanager
def started(step: Path, *arguments: str) -> Iterator[str]:
    """Run a step until the end of the block. Yield its URL."""
    with subprocess.Popen([sys.executable, str(step), *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def post(url: str, text: str) -> None:
    with urllib.request.urlopen(url, text.encode(), timeout=10) as response:
        assert response.read() == b"published\n"


@pytest.mark.needs("chromium", "chromedriver")
@pytest.mark.parametrize("step", [STEPS[0], STEPS[-1]], ids=lambda step: step.stem)
def test_a_browser_shows_the_events(step: Path, browser: Any) -> None:
    """The last step starts again on its port: the browser connects again by itself, and learns that events may be lost."""

    def has(text: str) -> bool:
        return bool(browser.find_element("tag name", "pre").text == text)

    with started(step, "0") as url:
        browser.get(url)
        wait_until(lambda: browser.execute_script("return source.readyState") == 1)
        post(url, "café")
        wait_until(lambda: has("café"))
    if step == STEPS[-1]:
        port = re.findall(r":(\d+)/", url)[0]
        with started(step, port):
            post(url, "new")
            wait_until(lambda: has("café\n(lost: unknown)\nnew"), 20)


@pytest.mark.parametrize("step", STEPS[1:], ids=lambda step: step.stem)
def test_a_relay_publishes_the_events_of_another_server(step: Path) -> None:
    """The event is published until it arrives: nobody tells the test when the relay is connected."""
    with started(step, "0") as far, started(step, "0", f"{far}events") as near:
        port = int(re.findall(r":(\d+)/", near)[0])
        with socket.create_connection(("127.0.0.1", port), timeout=0.3) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""

            def arrived() -> bool:
                nonlocal received
                post(far, "first\nsecond")
                with contextlib.suppress(TimeoutError):
                    received += client.recv(65_536)
                return b"data: first\ndata: second\n\n" in received

            wait_until(arrived)
