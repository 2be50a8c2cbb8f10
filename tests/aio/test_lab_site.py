"""The lab's app: its page, and for whom it is."""

import asyncio
import json
import re

import pytest
from harness import now, virtual
from lab_harness import HOST, lab

from minproto.lab.site import BEAT, Places

OURS = ("http://127.0.0.1:8000", "http://localhost:8000", "https://127.0.0.1:8443", "https://localhost:8443")
FOREIGN = (
    "http://evil.example", "http://evil.example:8000", "https://127.0.0.1:8000", "http://127.0.0.1:8443",
    "http://127.0.0.1", "http://127.0.0.1:80000", "null", "", "http://127.0.0.1:8000.evil.example",
)  # fmt: skip


@virtual
async def test_the_page_and_its_files() -> None:
    """Each with its type and a policy that lets it load nothing from elsewhere; what the page names is there."""
    async with lab() as page, page.client() as client:
        named = ["/"]
        for target in named:
            response = await client.request("GET", target)
            content = (await response.read()).decode()
            assert response.status == 200, target
            assert "frame-ancestors 'none'" in str(response.headers.get("content-security-policy"))
            assert "default-src 'self'" in str(response.headers.get("content-security-policy"))
            if target == "/":
                named += [word.split('"')[0] for word in content.split('"/lab/')[1:]]
                named[1:] = [f"/lab/{name}" for name in named[1:]]
            assert not re.search(r"""(src=|href=|url\(|from |import\()["'`]?(https?:)?//""", content), target
        assert {"/lab/lab.css", "/lab/main.js", "/lab/icon.svg"} <= set(named)


@virtual
async def test_no_way_to_other_files() -> None:
    """Only the page's own files, by their names."""
    async with lab() as page:
        for target in ("/lab/", "/lab/nothing.js", "/lab/../site.py", "/lab/%2e%2e/site.py", "/lab/page/main.js", "/lab/.."):
            assert await page.get(target) == (404, b"not found\n"), target


@virtual
async def test_methods() -> None:
    """The page is there to be read."""
    async with lab() as page, page.client() as client:
        for target in ("/", "/lab/main.js", "/lab/places", "/lab/tile/1?delay=0", "/lab/push/short"):
            response = await client.request("POST", target)
            await response.read()
            assert (response.status, response.headers.get("allow")) == (405, "GET, HEAD"), target


@virtual
async def test_the_demo_app_is_behind_it() -> None:
    async with lab() as page:
        assert await page.get("/hello") == (200, b"Hello, World!")


@virtual
async def test_places() -> None:
    async with lab() as page:
        _, content = await page.get("/lab/places")
        assert json.loads(content) == {"http": 8000, "https": 8443, "broker": 6380, "topic": "updates"}


@pytest.mark.parametrize("host", [HOST, "localhost:8000", "LocalHost:8000", "127.0.0.1:8443", "localhost:8443"])
def test_own_hosts(host: str) -> None:
    @virtual
    async def run() -> None:
        async with lab() as page:
            assert (await page.get("/hello", host=host))[0] == 200

    run()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:80", "0:8000"])
def test_foreign_hosts_are_refused(host: str) -> None:
    """A name that leads to 127.0.0.1 (DNS rebinding): nothing of the lab is for its pages."""

    @virtual
    async def run() -> None:
        async with lab() as page:
            for target in ("/", "/hello", "/lab/push/control", "/lab/places", f"http://{host}/hello"):
                status, _ = await page.get(target, host=host if "//" not in target else HOST)
                assert status in (400, 421), target

    run()


@virtual
async def test_own_origins() -> None:
    async with lab() as page:
        for origin in OURS:
            assert (await page.get("/hello", ("origin", origin)))[0] == 200


@virtual
async def test_foreign_origins_are_refused() -> None:
    """Scripts of other pages get nothing, and change nothing."""
    async with lab() as page:
        for origin in FOREIGN:
            for target in ("/", "/lab/tile/1?delay=0", "/lab/push/control", "/lab/places"):
                assert (await page.get(target, ("origin", origin)))[0] == 403, origin
        async with page.client() as client:
            response = await client.request("POST", "/publish", [("origin", "http://evil.example")], body=b"x")
            assert response.status == 403
            await response.read()
        assert page.broker.inner.log("updates") == []


@virtual
async def test_a_tile_may_be_read_by_both_origins() -> None:
    """And timed by them; for who sends no Origin there is nothing to allow."""
    async with lab() as page, page.client() as client:
        for origin in OURS:
            response = await client.request("GET", "/lab/tile/7?delay=50", [("origin", origin)])
            assert await response.read() == b"/lab/tile/7\n"
            assert response.headers.get("access-control-allow-origin") == origin
            assert response.headers.get("timing-allow-origin") == origin
            assert response.headers.get("vary") == "origin"
        response = await client.request("GET", "/lab/tile/7?delay=50")
        await response.read()
        assert response.headers.get("access-control-allow-origin") is None


@virtual
async def test_a_tile_has_a_longest_delay() -> None:
    async with lab() as page:
        for delay in ("5001", "-1", "", "x", "9" * 5_000, "%D9%A1"):  # the last: an Arabic 1
            assert (await page.get(f"/lab/tile/1?delay={delay}"))[0] == 400


@virtual
async def test_signs_of_life() -> None:
    """One each second, for as long as a page listens, whatever it says itself."""
    async with lab() as page:
        socket = await page.socket("/lab/alive")
        await socket.send("hello")
        began = now()
        assert [await socket.receive() for _ in range(10)] == ["alive"] * 10
        assert 9 * BEAT <= now() - began < 10 * BEAT
        await socket.close()


@virtual
async def test_signs_of_life_are_not_shown_on_the_wire() -> None:
    """Or a page that watches would see little else."""
    async with lab() as page:
        watcher = await page.socket("/lab/wire/watch")
        await asyncio.sleep(0.1)
        alive = await page.socket("/lab/alive")
        await asyncio.sleep(5)
        assert not page.wire._taps
        await alive.close()
        await watcher.close()


def test_origins_on_the_default_ports() -> None:
    """They have no port there."""
    assert Places(80, 443).origins == {"http://127.0.0.1", "http://localhost", "https://127.0.0.1", "https://localhost"}


@virtual
async def test_a_refusal_names_in_the_log_what_was_compared(caplog: pytest.LogCaptureFixture) -> None:
    ours = ", ".join(sorted(OURS))
    async with lab() as page:
        assert (await page.get("/hello", host="evil.example"))[0] == 421
        assert (await page.get("/hello", ("origin", "http://evil.example")))[0] == 403
    assert caplog.messages == [
        "the request 'GET /hello' is refused with 421: the authority that it asks for is 'evil.example', "
        f"and the lab's origins are {ours}",
        f"the request 'GET /hello' is refused with 403: its Origin is 'http://evil.example', and the lab's origins are {ours}",
    ]
