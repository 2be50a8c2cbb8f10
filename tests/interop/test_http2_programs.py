"""HTTP/2 asked for by programs: curl, nghttp and h2load, in clear text with prior knowledge and over TLS by ALPN."""

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .serving import Certificate, Serving


def run(*command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=data, capture_output=True, timeout=60)


def curl(server: Serving, *arguments: str, data: bytes = b"", version: str = "") -> bytes:
    """What curl prints. An argument that begins with "/" is a path on the server."""
    trust = ["--cacert", server.certificate.authority] if server.certificate else []
    version = version or ("--http2" if server.certificate else "--http2-prior-knowledge")
    words = [server.url + word if word.startswith("/") and word != os.devnull else word for word in arguments]
    done = run("curl", "-q", "-sS", version, "--noproxy", "*", "--max-time", "30", *trust, *words, data=data)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.needs("curl")
class TestCurl:
    """Every kind of request."""

    def test_get_and_head(self, server: Serving) -> None:
        head, _, body = curl(server, "-i", "/hello").partition(b"\r\n\r\n")
        assert (head.splitlines()[0], body) == (b"HTTP/2 200 ", b"Hello, World!")
        assert b"content-length: 13" in head
        assert curl(server, "-I", "/bytes/777").count(b"content-length: 777") == 1
        assert curl(server, "-o", os.devnull, "-w", "%{http_code} %{http_version}", "/nothing").endswith(b"404 2")

    def test_bodies(self, server: Serving, tmp_path: Path) -> None:
        """20 MB each way, of known and of unknown length."""
        large = tmp_path / "large"
        large.write_bytes(hashlib.sha256(b"seed").digest() * 640_000)
        digest = hashlib.sha256(large.read_bytes()).digest()
        assert hashlib.sha256(curl(server, "--data-binary", f"@{large}", "/echo")).digest() == digest
        assert hashlib.sha256(curl(server, "-T", "-", "-X", "POST", "/echo", data=large.read_bytes())).digest() == digest
        assert len(curl(server, "/stream?chunks=300&size=65536")) == 300 * 65_536

    def test_continue(self, server: Serving) -> None:
        answer = curl(server, "-i", "-H", "expect: 100-continue", "--data-binary", "abc", "/echo")
        assert answer.startswith(b"HTTP/2 100") and answer.endswith(b"abc")

    def test_many_at_once_share_a_connection(self, start: Callable[..., Serving], certificate: Certificate) -> None:
        server = start(certificate=certificate)  # in clear text, curl 7.88 fails, also with nghttpd
        urls = [f"/slow/async?seconds=0.3&n={number}" for number in range(30)]
        outputs = [word for url in urls for word in ("-o", os.devnull, url)]
        done = curl(server, "--parallel", "--parallel-max", "30", "-w", "%{num_connects} %{http_version}\n", *outputs)
        lines = done.split(b"\n")[:-1]
        assert sorted(lines)[-1] == b"1 2" and lines.count(b"1 2") == 1 and len(lines) == 30
        server.stop()

    def test_both_versions_on_one_port(self, server: Serving) -> None:
        assert curl(server, "-i", "/hello", version="--http1.1").startswith(b"HTTP/1.1 200 OK\r\n")
        assert curl(server, "-i", "/hello").startswith(b"HTTP/2 200")

    def test_upgrade_is_ignored(self, clear: Serving) -> None:
        assert curl(clear, "-i", "/hello", version="--http2").startswith(b"HTTP/1.1 200 OK\r\n")

    def test_events(self, server: Serving) -> None:
        """A stream of events, and what is published while it is open."""
        trust = ["--cacert", server.certificate.authority] if server.certificate else []
        version = "--http2" if server.certificate else "--http2-prior-knowledge"
        url = f"{server.url}/events?topic=h2"
        command = ["curl", "-q", "-sSN", version, "--noproxy", "*", "--max-time", "10", *trust, url]
        listening = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert listening.stdout and listening.stdout.readline()
            assert curl(server, "-d", "news", "/publish?topic=h2") == b"1\n"
            while (line := listening.stdout.readline()) and line != b"data: news\n":
                pass
            assert line == b"data: news\n"
        finally:
            listening.kill()
            listening.communicate()

    def test_the_log_names_the_version(self, start: Callable[..., Serving], certificate: Certificate) -> None:
        server = start(certificate=certificate)
        curl(server, "/hello")
        curl(server, "/hello", version="--http1.1")
        server.stop()
        assert server.log == [("GET /hello HTTP/2", "200", "13"), ("GET /hello HTTP/1.1", "200", "13")]


@pytest.mark.needs("curl")
def test_tls_rules(tls: Serving) -> None:
    """RFC 9113 §9.2: TLS 1.2 is the least, and of that no cipher without forward secrecy."""
    for options in (["--tls-max", "1.1"], ["--tls-max", "1.2", "--ciphers", "AES128-GCM-SHA256"]):
        done = run("curl", "-q", "-sS", "--http2", "-k", "--noproxy", "*", *options, f"{tls.url}/hello")
        assert done.returncode != 0
    assert curl(tls, "--tls-max", "1.2", "-o", os.devnull, "-w", "%{http_version}", "/hello") == b"2"


@pytest.mark.needs("nghttp")
class TestNghttp:
    """nghttp, which shows each frame."""

    def test_frames(self, server: Serving) -> None:
        done = run("nghttp", "-v", "-n", f"{server.url}/hello")
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode())
        received = re.findall(r"recv (?:\(stream_id=\d+\) :status: (200)|(\w+) frame)", text)
        assert [status or frame for status, frame in received] == ["SETTINGS", "SETTINGS", "200", "HEADERS", "DATA"]
        assert done.returncode == 0

    def test_content(self, server: Serving, tmp_path: Path) -> None:
        body = tmp_path / "body"
        body.write_bytes(bytes(300_000))
        assert run("nghttp", "-d", str(body), f"{server.url}/echo").stdout == bytes(300_000)
        assert run("nghttp", "-w", "1", f"{server.url}/bytes/20000").stdout[:5] == bytes(range(5))  # a window of 1 byte

    def test_trailers_padding_and_tables(self, server: Serving) -> None:
        for options in (["--trailer", "x: y", "-d", __file__], ["--padding=200", "-d", __file__], ["-c", "0"], ["-c", "1M"],
                        ["--expect-continue", "-d", __file__], ["-m", "50"]):  # fmt: skip
            done = run("nghttp", "-v", "-n", *options, f"{server.url}/echo" if "-d" in options else f"{server.url}/hello")
            assert done.returncode == 0 and b":status: 200" in done.stdout, options


@pytest.mark.needs("h2load")
@pytest.mark.parametrize(
    "options", [["-c8", "-m16", "-n4000"], ["-c1", "-m100", "-n1000"], ["-c4", "-m4", "-n200", "-w14", "-W14"]]
)
def test_h2load(start: Callable[..., Serving], certificate: Certificate, options: list[str]) -> None:
    """Every request of a load is answered, once, on as many connections as it opens."""
    for cert in (None, certificate):
        server = start(certificate=cert)
        path = "/bytes/100000" if "-w14" in options else "/hello"
        done = run("h2load", *options, f"{server.url}{path}").stdout.decode()
        total = int(next(word for word in options if word.startswith("-n"))[2:])
        assert f"{total} succeeded, 0 failed, 0 errored, 0 timeout" in done, done
        server.stop()
        assert len(server.log) == total
        server.kill()
