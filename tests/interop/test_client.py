"""``minproto.Client`` against servers that others wrote, against our own over TLS, and in the snares of ``minproto trap``."""

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import minproto
from minproto import Client
from minproto.prove.case import Verdict
from minproto.prove.trap import ours
from minproto.prove.trap.hunt import Hunt
from minproto.prove.trap.server import Trap
from minproto.prove.trap.snares import CONTROLS, SNARES

from .serving import Certificate, Serving, free_port, wait_until
from .test_our_client import BODY, SERVERS, pieces
from .test_our_client import port as port


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[Client]:
    """A client, for twenty seconds at most, after which no connection is in use."""
    async with asyncio.timeout(20), Client(**options) as client:
        yield client
        assert all(not origin.busy and not origin.waiting for origin in client.snapshot())


def with_http2(trust: ssl.SSLContext) -> ssl.SSLContext:
    trust.set_alpn_protocols(["h2", "http/1.1"])
    return trust


async def get(client: Client, url: str) -> bytes:
    return await (await client.get(url)).read()


async def exercise(client: Client, url: str, version: str, connections: int) -> None:
    """Fifty requests at once of all kinds, on no more connections than there may be."""

    async def ask(number: int) -> None:
        response = await client.get(f"{url}/hello")
        assert (response.status, response.http_version, await response.read()) == (200, version, b"Hello, World!")
        assert (await client.head(f"{url}/hello")).headers["content-length"] == "13"
        content: Any = BODY if number % 2 else pieces()
        assert await (await client.post(f"{url}/echo", content=content)).read() == BODY

    await asyncio.gather(*(ask(number) for number in range(50)))
    (origin,) = client.snapshot()
    assert 1 <= origin.idle <= connections and origin.http_version == version


@pytest.mark.parametrize("port", SERVERS[1:], indirect=True)
async def test_servers_of_http1(port: int) -> None:
    async with client() as ours_:
        await exercise(ours_, f"http://127.0.0.1:{port}", "1.1", 6)


@pytest.mark.parametrize("port", SERVERS[:1], indirect=True)
async def test_a_server_that_ends_each_connection(port: int) -> None:
    async with client() as ours_:
        assert await asyncio.gather(*(get(ours_, f"http://127.0.0.1:{port}/unknown") for _ in range(20))) == [BODY] * 20
        assert ours_.snapshot() == []


async def test_our_server_over_tls_in_either_version(tls: Serving, trust: ssl.SSLContext) -> None:
    async with client(ssl=trust) as ours_:
        await exercise(ours_, tls.url, "1.1", 6)
    async with client(ssl=with_http2(trust)) as ours_:
        await exercise(ours_, tls.url, "2", 1)


async def test_without_a_context_of_ones_own_a_stranger_is_refused(tls: Serving) -> None:
    async with client() as ours_:
        with pytest.raises(ssl.SSLCertVerificationError, match=rf"GET {tls.url}/hello: .*certificate verify failed") as raised:
            await ours_.get(f"{tls.url}/hello?secret")
        assert raised.value.reason == "CERTIFICATE_VERIFY_FAILED" and "secret" not in str(raised.value)


async def test_a_url_of_the_wrong_scheme_says_so(clear: Serving, tls: Serving, trust: ssl.SSLContext) -> None:
    async with client(ssl=trust) as ours_:
        with pytest.raises(ConnectionError, match="does not speak TLS"):
            await ours_.get(clear.url.replace("http:", "https:"))
        with pytest.raises(ConnectionError, match="does it want TLS"):
            await ours_.get(tls.url.replace("https:", "http:"))


# ---- servers in processes of their own ---------------------------------------------------------------------------------


@contextmanager
def running(command: list[str], url: str, trust: ssl.SSLContext) -> Iterator[None]:
    """A server that has answered once, as a group of processes."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    async def answers() -> bool:
        async with Client(ssl=trust) as client:
            try:
                return (await (await client.get(url)).read()) != b""
            except OSError:
                return False

    try:
        wait_until(lambda: asyncio.run(answers()), 15)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


APP = """
async def app(scope, receive, send):
    content, more = b"", scope["path"] == "/echo"
    while more:
        message = await receive()
        content, more = content + message["body"], message["more_body"]
    content = content if scope["path"] == "/echo" else b"Hello, World!"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(content))]})
    await send({"type": "http.response.body", "body": content})
"""


def test_hypercorn_in_http2(certificate: Certificate, trust: ssl.SSLContext, tmp_path: Path) -> None:
    pytest.importorskip("hypercorn")
    (tmp_path / "served.py").write_text(APP)
    port = free_port()
    tls = ["--certfile", certificate.chain, "--keyfile", certificate.key, "--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "hypercorn", "--workers", "0", *tls, f"{tmp_path}/served:app"]
    url = f"https://127.0.0.1:{port}"

    async def run() -> None:
        async with client(ssl=trust) as ours_:
            await exercise(ours_, url, "2", 1)

    with running(command, f"{url}/hello", with_http2(trust)):
        asyncio.run(run())


NGINX = """
daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1; events {{}}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} ssl http2; keepalive_requests 10; http2_max_concurrent_streams 4;
        ssl_certificate {chain}; ssl_certificate_key {key};
        location / {{ return 200 "Hello, World!"; }}
    }}
}}
"""


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_nginx_ends_a_connection_after_ten_requests(
    certificate: Certificate, trust: ssl.SSLContext, tmp_path: Path, version: str
) -> None:
    """Over HTTP/2 by a GOAWAY, and it lets the client have four streams. No request is lost."""
    port = free_port()
    names = {"folder": tmp_path, "port": port, "chain": certificate.chain, "key": certificate.key}
    (tmp_path / "nginx.conf").write_text(NGINX.format(**names))
    context = with_http2(trust) if version == "2" else trust
    url = f"https://127.0.0.1:{port}/"

    async def run() -> None:
        async with client(ssl=context) as ours_:
            for response in await asyncio.gather(*(fetch(ours_) for _ in range(200))):
                assert response == (200, version, b"Hello, World!")

    async def fetch(ours_: Client) -> tuple[int, str, bytes]:
        response = await ours_.get(url)
        return response.status, response.http_version, await response.read()

    program = shutil.which("nginx")
    assert program is not None
    with running([program, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)], url, context):
        asyncio.run(run())


# ---- the snares --------------------------------------------------------------------------------------------------------


class InThisProcess(Hunt):
    """Each snare is asked by a Client, which might repeat a request or keep a connection that it must not keep."""

    async def run_program(self, words: list[str]) -> tuple[int | None, str, str]:
        said: list[str] = []
        path = words[0].split("/", 3)[3]
        snare = next(snare for snare in (*CONTROLS.values(), *SNARES) if snare.name == path)
        try:
            async with asyncio.timeout(20), Client() as client:
                await ours.show(await client.request(snare.method, words[0]), said.append)
        except TimeoutError:
            return None, "\n".join(said), ""
        except (OSError, minproto.ProtocolError) as error:
            return 1, "\n".join(said), f"{type(error).__name__}: {error}"
        return 0, "\n".join(said), ""


async def test_a_client_falls_into_no_snare() -> None:
    snares = [snare for snare in SNARES if snare.protocol == "http1"]
    trap = Trap([*CONTROLS.values(), *snares], lambda meeting: hunt.on_end(meeting), patience=20)
    hunt = InThisProcess(["{url}"], trap, "127.0.0.1", 20)
    await trap.start("127.0.0.1", 0)
    try:
        finds = [find async for find in hunt.all(snares, 8)]
    finally:
        await trap.close()
    assert len(finds) == len(snares) > 50
    wrong = [find for find in finds if find.verdict is not Verdict.RIGHT]
    assert [f"{find.snare.name}: {find.meeting.transcript}: {find.detail}" for find in wrong] == []
