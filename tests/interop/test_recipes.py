"""The recipes of ``examples/apps/``, run as programs, with curl and a browser as their clients."""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import get, post, serving
from recipes import APPS, load

from minproto import ConnectionClosed, HandshakeRefused, Server, WebSocket, connect

from .serving import Certificate, Serving, free_port, wait_until
from .test_curl import curl, head_of

pytestmark = pytest.mark.needs("curl")

Run = Callable[..., Serving]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts recipes. Each has to stop without complaint, but for log lines that begin with one of ``warnings``."""
    started: list[tuple[Serving, tuple[str, ...]]] = []

    def run(name: str, *arguments: str | Path, warnings: tuple[str, ...] = ()) -> Serving:
        started.append((Serving(program=[sys.executable, APPS / f"{name}.py", *map(str, arguments), "0"]), warnings))
        return started[-1][0]

    try:
        yield run
        for server, warnings in started:
            if server.process.poll() is None:
                server.stop(warnings=warnings)
    finally:
        for server, _ in started:
            server.kill()


# ---- static files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "public"
    (root / "sub").mkdir(parents=True)
    (root / "large").write_bytes(bytes(range(256)) * 40_000)
    (root / "page.html").write_text("<h1>ü</h1>")
    (root / "sub" / "index.html").write_text("index")
    (tmp_path / "secret").write_text("secret")
    return root


def test_static_files_as_curl_asks_for_them(run: Run, folder: Path, tmp_path: Path) -> None:
    server = run("static_files", folder)
    large = (folder / "large").read_bytes()
    for version in ("--http1.1", "--http1.0", "--http2-prior-knowledge"):
        assert curl(server, version, "@/large").out == large
    start, fields = head_of(curl(server, "-I", "@/page.html"))
    assert (start, fields["content-length"], fields["content-type"]) == ("HTTP/1.1 200 OK", "11", "text/html; charset=utf-8")
    assert fields["cache-control"] == "no-cache" and "etag" in fields and "last-modified" in fields
    assert curl(server, "-L", "@/sub").text == "index"
    for path in ("/../secret", "/%2e%2e/secret", "/sub/..%2f..%2fsecret", "/page.html%00", "//../secret"):
        assert curl(server, "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", f"@{path}").text == "404", path


def test_a_download_that_was_cut_off_goes_on(run: Run, folder: Path, tmp_path: Path) -> None:
    server = run("static_files", folder)
    large, part = (folder / "large").read_bytes(), tmp_path / "part"
    for begun in (1, 5_000_000, len(large) - 1):
        part.write_bytes(large[:begun])
        result = curl(server, "-C", "-", "-o", str(part), "-w", "%{http_code}", "@/large")
        assert (result.text, part.read_bytes() == large) == ("206", True)
    assert curl(server, "-r", "-100", "@/large").out == large[-100:]
    start, fields = head_of(curl(server, "-i", "-r", "99999999-", "@/large"))
    assert (start, fields["content-range"]) == ("HTTP/1.1 416 Range Not Satisfiable", f"bytes */{len(large)}")


def test_curl_asks_whether_a_file_has_changed(run: Run, folder: Path, tmp_path: Path) -> None:
    server = run("static_files", folder)
    tag, out = str(tmp_path / "tag"), str(tmp_path / "out")
    statuses = []
    for content in (None, None, "<h1>changed</h1>", None):
        if content is not None:
            (folder / "page.html").write_text(content)
        words = ["--etag-save", tag, "--etag-compare", tag, "-o", out, "-w", "%{http_code}", "@/page.html"]
        statuses.append(curl(server, *words).text)
    assert statuses == ["200", "304", "200", "304"]
    assert curl(server, "-z", str(folder / "page.html"), "-o", out, "-w", "%{http_code}", "@/page.html").text == "304"
    (folder / "page.html").write_text("new")
    etag = Path(tag).read_text().strip()
    assert curl(server, "-r", "0-0", "-H", f"If-Range: {etag}", "@/page.html").text == "new"


def test_a_file_that_shrinks_while_it_is_sent_is_broken_off(run: Run, folder: Path) -> None:
    """The length has been promised. A client must not take the half for the whole."""
    server = run("static_files", folder, warnings=("GET /large: the response broke off", "Traceback", " ", "minproto"))
    large = folder / "large"
    large.write_bytes(b"x" * 100_000_000)

    def shrink() -> None:
        with large.open("r+b") as file:
            file.truncate(1000)

    program = ["curl", "-q", "-sS", "--noproxy", "*", "--limit-rate", "1M", "--max-time", "20", f"{server.url}/large"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(10_000)
        shrink()
        assert len(process.communicate()[0]) < 90_000_000
    assert process.returncode in (18, 56)  # a partial file; or a reset


# ---- forms -----------------------------------------------------------------------------------------------------------


def form(*parts: tuple[str, bytes], boundary: bytes = b"xyz", end: bytes = b"--") -> bytes:
    head = b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"
    lines = [head % (boundary, name.encode(), data) for name, data in parts]
    return b"".join(lines) + b"--" + boundary + end + b"\r\n"


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


MULTIPART = "Content-Type: multipart/form-data; boundary=xyz"
FILE = 'name="f"; filename="%s"'


async def test_a_form_is_stored(multipart: Any, tmp_path: Path) -> None:
    recipe = load("upload_form")
    async with serving(recipe.upload_form(tmp_path), limits=recipe.LIMITS) as server:
        client = server.client()
        words = ('name="name"', "Ädä".encode()), (FILE % "../../etc/passwd", b"evil" * 50_000), (FILE % "", b"")
        answer = await client.ask(post("/", form(*words, (FILE % "empty.txt", b"")), MULTIPART))
        told = json.loads(answer.body)
        assert (answer.status, told["fields"]) == (201, {"name": "Ädä"})
        assert [(file["name"], file["size"]) for file in told["files"]] == [("../../etc/passwd", 200_000), ("empty.txt", 0)]
        assert names(tmp_path) == sorted(file["stored"] for file in told["files"])
        assert (tmp_path / told["files"][0]["stored"]).read_bytes() == b"evil" * 50_000

        urlencoded = "Content-Type: application/x-www-form-urlencoded"
        answer = await client.ask(post("/", b"name=Ada+L.&x=%C3%BC&y", urlencoded))
        assert json.loads(answer.body)["fields"] == {"name": "Ada L.", "x": "ü", "y": ""}
        assert b"<form" in (await client.ask(get("/"))).body
        await client.pipe.close()


async def test_what_is_no_form_is_refused_and_leaves_no_file(multipart: Any, tmp_path: Path) -> None:
    recipe = load("upload_form")
    refused = [
        (413, post("/", form(*[(FILE % "a", b"b")] * 21), MULTIPART)),
        (413, post("/", form((FILE % "a", b"b"), ('name="a"', b"x" * 40_000), ('name="b"', b"x" * 40_000)), MULTIPART)),
        (413, post("/", b"x" * 70_000, "Content-Type: application/x-www-form-urlencoded")),
        (413, get("/", "Content-Length: 105000000", MULTIPART, method="POST")),
        (400, post("/", form((FILE % "a", b"b"), end=b""), MULTIPART)),  # the end is missing
        (400, post("/", b"nonsense", MULTIPART)),
        (400, post("/", form((FILE % "a", b"b")), "Content-Type: multipart/form-data")),
        (415, post("/", b"{}", "Content-Type: application/json")),
        (415, post("/", b"{}")),
        (403, post("/", form((FILE % "a", b"b")), MULTIPART, "Origin: http://evil.example")),
        (405, get("/", method="DELETE")),
    ]
    async with serving(recipe.upload_form(tmp_path), limits=recipe.LIMITS) as server:
        for status, request in refused:
            client = server.client()
            assert (await client.ask(request)).status == status, request[:200]
            client.pipe.abort()
        client = server.client()  # and an upload that breaks off
        client.send(post("/", form((FILE % "a", b"b" * 100_000)), MULTIPART)[:90_000])
        while not names(tmp_path):  # noqa: ASYNC110 - the file is written in a thread
            await asyncio.sleep(0.001)
        client.pipe.abort()
    assert names(tmp_path) == []


def test_a_form_as_curl_sends_it(multipart: Any, run: Run, tmp_path: Path) -> None:
    server = run("upload_form", tmp_path, warnings=("the request '-' from 127.0.0.1 is answered 413",))
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 40_000)
    for version in ("--http1.1", "--http2-prior-knowledge"):
        told = json.loads(curl(server, version, "-F", "name=Ada", "-F", f"file=@{large}", "@/").text)
        assert told["fields"] == {"name": "Ada"} and told["files"][0]["size"] == 10_240_000
        assert (tmp_path / told["files"][0]["stored"]).read_bytes() == large.read_bytes()
    large.write_bytes(b"")
    os.truncate(large, 200 << 20)
    result = curl(server, "-F", f"file=@{large}", "-w", " %{http_code} %{size_upload}", "-H", "Expect: 100-continue", "@/")
    assert result.text.split()[-2:] == ["413", "0"]


def text_of(browser: Any) -> str:
    """Return the text of the page; "" while one page takes the place of another, when WebDriver finds a body and loses it."""
    from selenium.common.exceptions import WebDriverException

    try:
        return str(browser.find_element("tag name", "body").text)
    except WebDriverException:
        return ""


@pytest.mark.needs("chromium", "chromedriver")
def test_a_form_as_a_browser_sends_it(multipart: Any, browser: Any, run: Run, tmp_path: Path) -> None:
    server = run("upload_form", tmp_path)
    for number in range(2):
        (tmp_path / f"ü{number}.txt").write_text("content" * 10_000)
    browser.get(server.url)
    browser.find_element("name", "name").send_keys("Ädä")
    browser.find_element("name", "file").send_keys("\n".join(str(tmp_path / f"ü{number}.txt") for number in range(2)))
    browser.find_element("tag name", "button").click()
    wait_until(lambda: "fields" in text_of(browser))
    told = json.loads(text_of(browser))
    assert told["fields"] == {"name": "Ädä"}
    assert [(file["name"], file["size"]) for file in told["files"]] == [("ü0.txt", 70_000), ("ü1.txt", 70_000)]


# ---- a chat ----------------------------------------------------------------------------------------------------------


async def test_a_chat_tells_who_is_there_and_what_was_said() -> None:
    recipe, token = load("chat_rooms"), load("tokens").new_token

    async def enter(name: str) -> WebSocket:
        return await connect(lobby, headers={"authorization": f"Bearer {token(name)}"})

    async def hears(ws: WebSocket, count: int) -> list[Any]:
        async with asyncio.timeout(5):
            return [json.loads(str(await ws.receive())) for _ in range(count)]

    async with Server(recipe.app, port=0) as server:
        lobby = f"ws://127.0.0.1:{server.port}/rooms/lobby"
        ada = await enter("Ada")
        assert await hears(ada, 1) == [{"here": ["Ada"]}]
        for number in range(60):
            await ada.send(f"message {number}")
        said = [{"from": "Ada", "said": f"message {number}"} for number in range(60)]
        assert await hears(ada, 60) == said
        bob, again = await enter("Bob"), await enter("Ada")
        for ws in bob, again:
            heard = await hears(ws, 51)
            assert [message for message in heard if "said" in message] == said[-50:]
        while (await hears(ada, 1))[0] != {"here": ["Ada", "Bob"]}:
            pass
        await again.close()  # one of her two windows
        await bob.send("<b>hi</b>")
        while (heard := (await hears(ada, 1))[0]) == {"here": ["Ada", "Bob"]}:
            pass
        assert heard == {"from": "Bob", "said": "<b>hi</b>"}
        await bob.close()
        assert await hears(ada, 1) == [{"here": ["Ada"]}]
        with pytest.raises(HandshakeRefused) as refused:
            await connect(lobby)
        assert refused.value.response.status == 401
        await ada.send("x" * 5000)
        with pytest.raises(ConnectionClosed):
            await hears(ada, 9)
        assert ada.close_code == 1009
    assert [recipe.broker.inner.subscriber_count(topic) for topic in ("lobby", "lobby/here")] == [0, 0]
    assert recipe.windows == {"lobby": {}, "garden": {}}


@pytest.mark.needs("chromium", "chromedriver")
def test_a_chat_in_the_browser(browser: Any, run: Run) -> None:
    server = run("chat_rooms")
    log = "return [...document.querySelectorAll('#log li')].map(line => line.textContent)"
    windows = []
    for name in ("Ada", "Bob"):
        browser.switch_to.new_window("window")
        windows.append(browser.current_window_handle)
        browser.get(server.url)
        box = browser.find_element("id", "text")
        box.send_keys(f"{name}\n")
        wait_until(lambda: browser.find_element("id", "text").get_attribute("placeholder") == "a message")
        browser.find_element("id", "text").send_keys(f"<i>{name} is here\n")
    said = ["Ada: <i>Ada is here", "Bob: <i>Bob is here"]
    for window in windows:
        browser.switch_to.window(window)
        wait_until(lambda: browser.execute_script(log) == said)
        assert browser.find_element("id", "here").text == "Ada, Bob"
    refused = """
        const ws = new WebSocket(arguments[0])
        const done = arguments[arguments.length - 1]
        ws.onopen = () => done("open")
        ws.onerror = () => done("refused")
    """
    browser.get("data:text/html,another site")
    assert browser.execute_async_script(refused, server.url.replace("http", "ws") + "/rooms/lobby") == "refused"


# ---- HTTPS -----------------------------------------------------------------------------------------------------------


def test_https_with_a_certificate_that_is_renewed(certificate: Certificate, trustme: Any, tmp_path: Path) -> None:
    chain, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    shutil.copy(certificate.chain, chain)
    shutil.copy(certificate.key, key)
    ports = free_port(), free_port()
    server = Serving(program=[sys.executable, APPS / "https.py", chain, key, *map(str, ports)])
    server.certificate = certificate
    try:
        assert server.url == f"https://localhost:{ports[0]}"
        for version, says in (("--http2", "2"), ("--http1.1", "1.1")):
            assert curl(server, version, "@/").text == f"Hello over HTTP/{says}!\n"
        start, fields = head_of(curl(server, "-i", f"http://localhost:{ports[1]}/a?b"))
        assert (start, fields["location"]) == ("HTTP/1.1 308 Permanent Redirect", f"{server.url}/a?b")
        old = served_certificate(ports[0])

        key.write_text("nonsense")  # a renewal that failed half-way: the old certificate stays
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old certificate stays" in server.stderr)
        assert served_certificate(ports[0]) == old

        with socket.create_connection(("localhost", ports[0])) as bare:
            context = ssl.create_default_context(cafile=certificate.authority)
            with context.wrap_socket(bare, server_hostname="localhost") as kept:
                renewed = trustme.CA().issue_cert("localhost")
                key.write_bytes(renewed.private_key_pem.bytes())
                chain.write_bytes(renewed.cert_chain_pems[0].bytes())
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: "is loaded" in server.stderr)
                assert served_certificate(ports[0]) == renewed.cert_chain_pems[0].bytes().decode()
                kept.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")  # an old connection goes on
                assert kept.recv(1000).startswith(b"HTTP/1.1 200 OK")
        server.stop(warnings=("ERROR:root:the old certificate stays", "WARNING:root:the certificate of"))
    finally:
        server.kill()


def served_certificate(port: int) -> str:
    return ssl.get_server_certificate(("localhost", port), timeout=5)


# ---- later -----------------------------------------------------------------------------------------------------------


def test_a_stopped_server_finishes_its_jobs(run: Run) -> None:
    server = run("later")
    where = head_of(curl(server, "-i", "-d", "1", "@/jobs"))[1]["location"]
    assert json.loads(curl(server, f"@{where}").text)["state"] == "running"
    began = time.monotonic()
    server.stop()
    assert 0.5 < time.monotonic() - began < 5
