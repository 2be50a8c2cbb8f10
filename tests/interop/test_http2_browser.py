"""A browser over HTTP/2: headless Chromium, with TLS, on one connection."""

from collections.abc import Callable
from typing import Any

import pytest

from .chromium import run
from .serving import Certificate, Serving

pytestmark = pytest.mark.needs("chromium", "chromedriver")

TILES = """
    const began = performance.now()
    const tiles = [...Array(24).keys()].map(number => fetch(`/slow/async?seconds=0.1&tile=${number}`))
    const texts = await Promise.all((await Promise.all(tiles)).map(response => response.text()))
    const entries = performance.getEntriesByType('resource').filter(entry => entry.name.includes('tile='))
    const protocols = [...new Set(entries.map(entry => entry.nextHopProtocol))]
    return [texts.length, protocols, performance.now() - began]
"""
CONNECTED = """
    const entries = performance.getEntriesByType('resource')
    return entries.filter(entry => entry.connectEnd > entry.connectStart).length
"""
SOCKET = """
    const ws = new WebSocket(`wss://${location.host}/ws`)
    const messages = []
    await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject })
    for (const message of ['text', 'x'.repeat(1000000), 'end']) ws.send(message)
    await new Promise(resolve => {
        ws.onmessage = event => { messages.push(event.data.length); if (event.data === 'end') resolve() }
    })
    const closed = new Promise(resolve => { ws.onclose = event => resolve([event.code, event.wasClean]) })
    ws.close(1000)
    return [messages, await closed]
"""


@pytest.fixture
def site(start: Callable[..., Serving], certificate: Certificate) -> Serving:
    """The demo app over TLS, for one test alone: it reads the log to its end."""
    return start(certificate=certificate)


def test_tiles_and_a_websocket_share_one_connection(browser: Any, site: Serving) -> None:
    """24 tiles of 100 ms at once, then a WebSocket (extended CONNECT, RFC 8441) and events, all beside each other."""
    browser.get(site.url + "/hello")
    count, protocols, milliseconds = run(browser, TILES)
    assert (count, protocols) == (24, ["h2"])
    assert milliseconds < 1_500  # six connections of HTTP/1.1 need 400 for the tiles alone, one after the other 2,400
    assert run(browser, SOCKET) == [[4, 1_000_000, 3], [1000, True]]
    events = """
        const source = new EventSource('/events?topic=h2')
        await new Promise(resolve => { source.onopen = resolve })
        const heard = new Promise(resolve => { source.onmessage = event => resolve(event.data) })
        await fetch('/publish?topic=h2', {method: 'POST', body: 'news'})
        const data = await heard
        source.close()
        return data
    """
    assert run(browser, events) == "news"
    assert run(browser, CONNECTED) == 0  # all on the page's own connection: RFC 8441 has none but an open one to ask on
    browser.get("about:blank")
    site.stop()
    assert ("CONNECT /ws HTTP/2", "200") in [entry[:2] for entry in site.log]
    assert all(request.endswith("HTTP/2") for request, _, _ in site.log)
