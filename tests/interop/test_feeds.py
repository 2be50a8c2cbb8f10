"""Real peers that listen: a browser and httpx-sse over connections that are lost, and four ways to hear the same."""

import json
import shutil
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from .chromium import browsing, run
from .laboratory import Laboratory
from .relay import Relay
from .serving import Serving, wait_until


@pytest.fixture
def relay(server: Serving) -> Iterator[Relay]:
    relay = Relay(server.host, server.port, server.url.partition(":")[0])
    try:
        yield relay
    finally:
        relay.close()


def publish(httpx: ModuleType, server: Serving, topic: str, texts: list[str]) -> None:
    trust = ssl.create_default_context(cafile=server.certificate.authority) if server.certificate else True
    for text in texts:
        assert httpx.post(f"{server.url}/publish?topic={topic}", content=text, verify=trust).status_code == 200


LISTEN = """
    window.heard = []; window.opened = 0;
    window.source = new EventSource('/events?topic=%s');
    source.onopen = () => opened++;
    source.onmessage = event => heard.push([event.data, event.lastEventId]);
    source.addEventListener('gap', event => heard.push(['gap', event.lastEventId]));
    return 0;
"""


@pytest.mark.needs("chromium", "chromedriver")
def test_a_browser_resumes(browser: Any, httpx: ModuleType, server: Serving, relay: Relay) -> None:
    """EventSource, by itself: also where nothing had come before the cut, and while it was away. Over TLS, it is HTTP/2."""
    browser.get(f"{relay.url}/hello")
    run(browser, LISTEN % "browser")
    expected: list[str] = []
    for number in range(3):
        wait_until(lambda number=number: browser.execute_script("return opened") == number + 1, 15)  # type: ignore[misc]
        relay.cut()
        texts = [f"{number}: {text}" for text in ("one", "two\r\nlines", "\u20ac")]
        publish(httpx, server, "browser", texts)
        expected += [text.replace("\r\n", "\n") for text in texts]
        count = len(expected)
        wait_until(lambda count=count: len(browser.execute_script("return heard")) >= count, 15)  # type: ignore[misc]
    protocol = browser.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert protocol == ("h2" if server.certificate else "http/1.1")
    heard = browser.execute_script("source.close(); return heard")
    assert [text for text, _ in heard] == expected
    ids = [tuple(map(int, id.split("-"))) for _, id in heard]
    assert ids == sorted(set(ids))


def test_httpx_sse_resumes(httpx: ModuleType, server: Serving, relay: Relay, trust: ssl.SSLContext) -> None:
    """Which leaves reconnecting to its user."""
    httpx_sse = pytest.importorskip("httpx_sse", reason="httpx-sse is not installed")
    heard: list[str] = []
    published: list[str] = []
    last = ""
    while len(heard) < 9:
        headers = {"last-event-id": last} if last else {}
        with httpx.Client(timeout=10, verify=trust) as client, suppress(httpx.TransportError):
            with httpx_sse.connect_sse(client, "GET", f"{relay.url}/events?topic=httpx", headers=headers) as source:
                for event in source.iter_sse():
                    last = event.id or last
                    if not event.data:  # the id to begin with
                        texts = [f"{len(published) + number}" for number in range(3)]
                        publish(httpx, server, "httpx", texts)
                        published += texts
                        continue
                    heard.append(event.data)
                    if len(heard) % 2:
                        relay.cut()
    assert heard == published[: len(heard)]
    assert relay.connections > 2


# ---- the scene ---------------------------------------------------------------------------------------------------------

COUNT = 30


def long_polling_curl(url: str, heard: list[str]) -> None:
    """As a shell script would: each answer's id is the next question's."""
    last = ""
    while len(heard) < COUNT:
        query = urllib.parse.urlencode({"topic": "scene", "after": last})
        path = "long-poll" if last else "poll"
        done = subprocess.run(["curl", "-sS", f"{url}/{path}?{query}"], capture_output=True, check=True, timeout=30)
        answer = json.loads(done.stdout)
        last = answer["last"]
        assert not answer["gap"]
        heard += [message["data"] for message in answer["messages"]]


def redis_py(redis: ModuleType, url: str, heard: list[str], listening: threading.Event) -> None:
    with redis.Redis.from_url(url) as client, client.pubsub() as pubsub:
        pubsub.subscribe("scene")
        for message in pubsub.listen():
            if message["type"] == "subscribe":
                listening.set()
            else:
                heard.append(message["data"].decode())
            if len(heard) == COUNT:
                return


@pytest.mark.needs("chromium", "chromedriver", "redis-cli", "curl")
def test_four_ways_to_hear_the_same(
    selenium: ModuleType, redis: ModuleType, trustme: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """redis-cli publishes; a browser's EventSource, /chat, a long-polling curl and redis-py hear it, in the same order."""
    lab = Laboratory(tmp_path_factory.mktemp("cache"))
    try:
        with browsing(tmp_path_factory.mktemp("profile"), lab.chain) as browser:
            url = lab.urls["http"].rstrip("/")
            browser.get(f"{url}/hello")
            run(browser, LISTEN % "scene")
            run(browser, """
                window.chat = []; const socket = new WebSocket(location.origin.replace('http', 'ws') + '/chat?topic=scene');
                socket.onmessage = event => chat.push(event.data);
                await new Promise(resolve => socket.onopen = resolve);
            """)  # fmt: skip
            wait_until(lambda: browser.execute_script("return opened") == 1)
            polled, subscribed, listening = list[str](), list[str](), threading.Event()
            threads = [
                threading.Thread(target=long_polling_curl, args=(url, polled), daemon=True),
                threading.Thread(target=redis_py, args=(redis, lab.urls["redis"], subscribed, listening), daemon=True),
            ]
            for thread in threads:
                thread.start()
            assert listening.wait(10)
            wait_until(lambda: _receivers(lab) == 4, 10)
            texts = [f"message {number} \u20ac" for number in range(COUNT)]
            commands = "".join(f'PUBLISH scene "{text}"\n' for text in texts)
            host, port = urllib.parse.urlsplit(lab.urls["redis"]).netloc.split(":")
            cli = [str(shutil.which("redis-cli")), "-h", host, "-p", port]
            done = subprocess.run(cli, input=commands, text=True, capture_output=True, timeout=20)
            assert done.returncode == 0, done.stderr
            for thread in threads:
                thread.join(20)
            wait_until(lambda: len(browser.execute_script("return chat")) == COUNT)
            heard = browser.execute_script("source.close(); return heard")
            assert [text for text, _ in heard] == texts
            assert browser.execute_script("return chat") == polled == subscribed == texts
        lab.stop()
    finally:
        lab.kill()


def _receivers(lab: Laboratory) -> int:
    """How many listen to the topic."""
    host, port = urllib.parse.urlsplit(lab.urls["redis"]).netloc.split(":")
    command = ["redis-cli", "-h", host, "-p", port, "pubsub", "numsub", "scene"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.split()[1])
