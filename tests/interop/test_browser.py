"""A browser: headless Chromium, driven by selenium."""

from typing import Any

import pytest

from .chromium import run
from .serving import Serving

pytestmark = pytest.mark.needs("chromium", "chromedriver")


def _text(browser: Any, server: Serving, path: str) -> str:
    browser.get(server.url + path)
    return browser.find_element("tag name", "body").text


def test_pages(browser: Any, server: Serving) -> None:
    """Pages load, also the second time, and one that is not there."""
    for _ in range(2):
        assert _text(browser, server, "/hello") == "Hello, World!"
        assert _text(browser, server, "/").startswith("minproto")
        assert _text(browser, server, "/nothing") == "not found"


def test_fetch(browser: Any, server: Serving) -> None:
    """What a page's script can ask for: content both ways, HEAD, a stream, errors."""
    browser.get(server.url + "/hello")
    assert run(browser, "return await (await fetch('/echo', {method: 'POST', body: 'pïng'})).text()") == "pïng"
    assert run(browser, "return (await fetch('/bytes/777', {method: 'HEAD'})).headers.get('content-length')") == "777"
    assert run(browser, "return (await (await fetch('/stream?chunks=9&size=99')).arrayBuffer()).byteLength") == 891
    assert run(browser, "return (await fetch('/hello', {method: 'DELETE'})).status") == 405
    assert run(browser, "return (await (await fetch('/bytes/5000000')).arrayBuffer()).byteLength") == 5_000_000


def test_fetch_in_parallel(browser: Any, server: Serving) -> None:
    """More requests than a browser opens connections: they share them."""
    browser.get(server.url + "/hello")
    script = """
        const sizes = [...Array(50).keys()].map(number => number * 1000)
        const responses = await Promise.all(sizes.map(size => fetch(`/bytes/${size}`)))
        return Promise.all(responses.map(async response => (await response.arrayBuffer()).byteLength))
    """
    assert run(browser, script) == [number * 1000 for number in range(50)]


def test_abort(browser: Any, server: Serving) -> None:
    """A download that the page aborts, and a stream read piece by piece while it is made."""
    browser.get(server.url + "/hello")
    script = """
        const control = new AbortController()
        const response = await fetch('/bytes/1000000000', {signal: control.signal})
        await response.body.getReader().read()
        control.abort()
        const reader = (await fetch('/stream?chunks=3&size=5&interval=0.1')).body.getReader()
        const sizes = []
        for (let piece; !(piece = await reader.read()).done;) sizes.push(piece.value.length)
        return sizes
    """
    assert run(browser, script) == [5, 5, 5]
