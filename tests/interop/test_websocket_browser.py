"""A browser's WebSocket: headless Chromium with our chat page, and with scripts of its own."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from .chromium import run
from .serving import Serving, wait_until

pytestmark = pytest.mark.needs("chromium", "chromedriver")

SHOWN = "return [...document.querySelectorAll('#messages li')].map(line => line.textContent)"
SAY = "document.getElementById('text').value = arguments[0]; document.querySelector('form').requestSubmit()"
OPEN = "const ws = new WebSocket(location.origin.replace('http', 'ws') + '/ws'); ws.binaryType = 'arraybuffer';"
RESULT = """
    const opened = await new Promise(done => { ws.onopen = () => done(true); ws.onerror = () => done(false) })
    const closed = () => new Promise(done => { ws.onclose = e => done([e.code, e.reason, e.wasClean]) })
    const next = () => new Promise((done, fail) => { ws.onmessage = e => done(e.data); ws.onclose = e => fail(e.code) })
"""
SANDBOX = """
    const frame = document.createElement("iframe")
    frame.sandbox = "allow-scripts"
    frame.srcdoc = `<script>(async () => { SCRIPT })().then(result => parent.postMessage([origin, ...result], "*"))</script>`
    return new Promise(done => {
        onmessage = event => done(event.data[0] === "null" ? event.data.slice(1) : event.data)
        document.body.append(frame)
    })
"""
MARKUP = [
    "<b>bold</b>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "<script>document.title = 'owned'</script>",
    "</li></ul>",
    "&lt; &amp; &quot;",
    "κόσμε 🎉 \u202eright to left\u202c e\u0301 \ufeff \u2028",
    "  two  spaces  ",
    "\"quotes\" and \\backslash\\ and 'apostrophe'",
    "x" * 10_000,
]


class Tab:
    """A tab with the chat page in it."""

    def __init__(self, browser: Any, url: str) -> None:
        self._browser = browser
        browser.switch_to.new_window("tab")
        self.handle = browser.current_window_handle
        browser.get(url)
        self.wait_for("connected")

    def run(self, script: str, *arguments: Any) -> Any:
        self._browser.switch_to.window(self.handle)
        return self._browser.execute_script(script, *arguments)

    def say(self, text: str) -> None:
        self.run(SAY, text)

    def type(self, keys: str) -> None:
        self._browser.switch_to.window(self.handle)
        self._browser.switch_to.active_element.send_keys(keys)

    @property
    def status(self) -> str:
        return self.run("return document.getElementById('status').textContent")

    def wait_for(self, status: str) -> None:
        wait_until(lambda: self.status.startswith(status), 15)

    def shows(self, count: int) -> list[str]:
        """The messages, once there are so many."""
        wait_until(lambda: len(self.run(SHOWN)) >= count)
        return self.run(SHOWN)


@pytest.fixture
def tabs(browser: Any) -> Iterator[Callable[[str], Tab]]:
    """Opens tabs, and closes them."""
    first = browser.current_window_handle
    yield lambda url: Tab(browser, url)
    for handle in browser.window_handles:
        if handle != first:
            browser.switch_to.window(handle)
            browser.close()
    browser.switch_to.window(first)


def test_chat(tabs: Callable[[str], Tab], server: Serving) -> None:
    """What is typed in one tab both show, and a tab on another topic does not."""
    one, two, other = (tabs(f"{server.url}/chat?topic={topic}") for topic in ("typing", "typing", "other"))
    one.type("first\n")
    assert two.shows(1) == ["first"]
    two.type("second")
    two.run("document.querySelector('button').click()")
    assert one.shows(2) == two.shows(2) == ["first", "second"]
    two.type("\n")  # nothing to send
    two.type("third\n")
    assert one.shows(3) == two.shows(3) == ["first", "second", "third"]
    assert two.run("return document.getElementById('text').value") == ""
    assert other.run(SHOWN) == []


def test_chat_order(tabs: Callable[[str], Tab], server: Serving) -> None:
    """Both talk at once: both show the same order, and in it what one has said in its order."""
    both = [tabs(f"{server.url}/chat?topic=order") for _ in range(2)]
    for name, tab in zip("ab", both, strict=True):
        tab.run(
            f"""
            new BroadcastChannel("go").onmessage = async () => {{
                for (let n = 0; n < 100; n++) {{
                    document.getElementById('text').value = '{name}' + n
                    document.querySelector('form').requestSubmit()
                    if (n % 10 === 0) await fetch('/hello')
                }}
            }}
            """
        )
    both[1].run("new BroadcastChannel('go').postMessage(1)")  # also to this very tab: it is another channel
    shown = [tab.shows(200) for tab in both]
    assert shown[0] == shown[1]
    for name in "ab":
        assert [line for line in shown[0] if line[0] == name] == [f"{name}{n}" for n in range(100)]


def test_chat_markup(tabs: Callable[[str], Tab], server: Serving) -> None:
    """Special characters arrive, and markup does as text."""
    one, two = (tabs(f"{server.url}/chat?topic=m%26%C3%A4rkup#there") for _ in range(2))
    for text in MARKUP:
        one.say(text)
    for tab in (one, two):
        assert tab.shows(len(MARKUP)) == MARKUP
        assert tab.run("return document.querySelectorAll('#messages li *').length") == 0
        assert tab.run("return document.title") == "minproto: chat"


def test_chat_again(tabs: Callable[[str], Tab], start: Callable[..., Serving]) -> None:
    """The page connects again after the server stopped, which said why, and came back."""
    first = start()
    both = [tabs(f"{first.url}/chat") for _ in range(2)]
    both[0].say("before")
    assert both[1].shows(1) == ["before"]
    for tab in both:
        tab.run(
            """
            window.seen = []
            new MutationObserver(() => seen.push(document.getElementById('status').textContent))
                .observe(document.getElementById('status'), {childList: true})
            """
        )
    first.stop()
    for tab in both:
        tab.wait_for("closed")
        wait_until(lambda tab=tab: len(tab.run("return seen")) >= 2)  # has tried in vain
        assert tab.run("return seen")[:2] == ["closed (1001), connecting again", "closed (1006), connecting again"]
    both[0].type("unsent\n")
    assert both[0].run("return document.getElementById('text').value") == "unsent"  # not lost
    second = start("--port", str(first.port))
    for tab in both:
        tab.wait_for("connected")
    both[0].type("\n")
    both[1].shows(2)
    both[1].say("after")
    assert both[0].shows(3) == both[1].shows(3) == ["before", "unsent", "after"]
    second.stop()


def test_other_origin(browser: Any, start: Callable[..., Serving]) -> None:
    """A page of another port or name, and a sandboxed frame of our own, may not; a page of the server itself may."""
    ours, others = start(), start()
    script = f"const ws = new WebSocket('ws://127.0.0.1:{ours.port}/ws'); {RESULT}; return opened || await closed()"
    browser.get(others.url + "/hello")
    assert run(browser, script) == [1006, "", False]
    browser.get(ours.url + "/hello")
    assert run(browser, SANDBOX.replace("SCRIPT", script)) == [1006, "", False]
    browser.get(f"http://localhost:{ours.port}/hello")  # the same server by another name
    assert run(browser, script) == [1006, "", False]
    browser.get(ours.url + "/hello")
    assert run(browser, script + " && (ws.close(), await closed())") is True
    browser.get("about:blank")
    ours.stop(warnings=("the WebSocket ",))
    statuses = [status for request, status, _ in ours.log if request.startswith("GET /ws ")]
    assert statuses == ["403", "403", "403", "101"]


def test_echo(browser: Any, server: Serving) -> None:
    """Text and binary content of many sizes, compressed as Chromium does."""
    browser.get(server.url + "/hello")
    script = """
        const same = (a, b) => a.byteLength === b.byteLength && new Uint8Array(a).every((x, n) => x === b[n])
        const wrong = [ws.extensions]
        for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
            const bytes = Uint8Array.from({length: size}, () => 256 * Math.random())
            for (const kind of [bytes, new Blob([bytes]), bytes.buffer]) {
                ws.send(kind)
                if (!same(await next(), bytes)) wrong.push(size)
            }
            const text = 'ä🎉z'.repeat(size / 3)
            ws.send(text)
            if (await next() !== text) wrong.push(text.length)
        }
        return wrong
    """
    wrong = run(browser, OPEN + RESULT + script)
    assert "permessage-deflate" in wrong[0]
    assert wrong[1:] == []


def test_many_at_once(browser: Any, server: Serving) -> None:
    """Eight connections of one page, a hundred messages on each, all on their way at once."""
    browser.get(server.url + "/hello")
    script = """
        const talk = name => new Promise((done, fail) => {
            const ws = new WebSocket(location.origin.replace('http', 'ws') + '/ws'), heard = []
            ws.onopen = () => { for (let n = 0; n < 100; n++) ws.send(`${name}:${n}`) }
            ws.onmessage = e => { if (heard.push(e.data) === 100) ws.close() }
            ws.onclose = e => done(e.wasClean && heard.every((text, n) => text === `${name}:${n}`))
        })
        return Promise.all([...Array(8).keys()].map(talk))
    """
    assert run(browser, script) == [True] * 8


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ("3001, 'rëason'", [3001, "", True]),
        ("3001", [3001, "", True]),
        ("1000", [1000, "", True]),
        ("4999, 'x'.repeat(123)", [4999, "", True]),
        ("", [1005, "", True]),
    ],
    ids=str,
)
def test_close(browser: Any, server: Serving, arguments: str, result: list[Any]) -> None:
    """The page closes: its own code comes back (its reason does not: RFC 6455 asks for none), and the end is clean."""
    browser.get(server.url + "/hello")
    assert run(browser, f"{OPEN} {RESULT} ws.close({arguments}); return closed()") == result


def test_pages_that_leave(browser: Any, start: Callable[..., Serving]) -> None:
    """A page that is left, reloaded, or closed in mid-message leaves nothing behind that would hold the server up."""
    server = start()
    for _ in range(3):
        browser.get(server.url + "/hello")
        assert run(browser, f"{OPEN} {RESULT} ws.send(new Uint8Array(16 << 20)); window.ws = ws; return opened") is True
    browser.get("about:blank")
    server.stop(5)


def test_no_websocket(browser: Any, selenium: ModuleType, server: Serving) -> None:
    """What is no WebSocket does not become one, and what is one is no page."""
    browser.get(server.url + "/hello")
    for path in ("/hello", "/nothing", "/bytes/9"):
        script = f"const ws = new WebSocket(location.origin.replace('http', 'ws') + '{path}'); {RESULT} return opened"
        assert run(browser, script) is False
    # Over TLS the browser speaks HTTP/2, where there is no upgrade to be asked for.
    assert run(browser, "return (await fetch('/ws')).status") == (400 if server.certificate else 426)
