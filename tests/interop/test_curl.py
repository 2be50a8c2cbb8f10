"""curl: every request it can be told to make, in clear text and over TLS."""

import hashlib
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .serving import Certificate, Serving

pytestmark = pytest.mark.needs("curl")


@dataclass
class Result:
    """What a run of curl left."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


def curl(server: Serving, *arguments: str, data: bytes = b"", proxy: bool = False) -> Result:
    """Run curl. "@" at the beginning of an argument stands for the server's URL."""
    trust = ["--cacert", server.certificate.authority] if server.certificate else []
    direct = [] if proxy else ["--noproxy", "*"]
    words = [server.url + word[1:] if word.startswith("@/") else word for word in arguments]
    base = ["curl", "-q", "-sS", "--http1.1", "--max-time", "20"]
    run = subprocess.run([*base, *trust, *direct, *words], input=data, capture_output=True, timeout=30)
    return Result(run.returncode, run.stdout, run.stderr.decode("latin-1"))


def head_of(result: Result) -> tuple[str, dict[str, str]]:
    """Status line and fields of what ``-i`` or ``-I`` printed."""
    start, *lines = result.out.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return start, dict(line.split(": ", 1) for line in lines)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 20 MB that do not compress."""
    path = tmp_path_factory.mktemp("upload") / "large"
    path.write_bytes(random.Random(1).randbytes(20_000_000))
    return path


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_get(server: Serving, version: str) -> None:
    """Both minor versions are answered, in ours, with a date and a length."""
    result = curl(server, version, "-i", "@/hello")
    start, fields = head_of(result)
    assert (start, fields["content-length"]) == ("HTTP/1.1 200 OK", "13")
    assert fields["date"].endswith(" GMT")
    assert result.out.endswith(b"\r\n\r\nHello, World!")


def test_unknown_length(server: Serving) -> None:
    """A length unknown is chunked in HTTP/1.1, and ends with the connection in HTTP/1.0, which knows no chunks."""
    for version, name, value in (("1.1", "transfer-encoding", "chunked"), ("1.0", "connection", "close")):
        result = curl(server, f"--http{version}", "-i", "@/stream?chunks=300&size=1000")
        fields = head_of(result)[1]
        assert (result.status, result.err, fields[name]) == (0, "", value)
        assert "content-length" not in fields and (version == "1.1" or "transfer-encoding" not in fields)
        assert len(result.out.partition(b"\r\n\r\n")[2]) == 300_000


@pytest.mark.parametrize("version", [["--http1.1"], ["--http1.0", "-H", "Connection: keep-alive"]])
def test_keep_alive(server: Serving, version: list[str]) -> None:
    """Requests of one run share a connection, whatever the answers were."""
    urls = ["@/hello", "@/nothing", "@/bytes/100000", "@/bytes/0", "@/hello"]
    result = curl(server, *version, "-w", "%{stderr}%{num_connects} ", *urls)
    assert result.err.split() == ["1", "0", "0", "0", "0"]


def test_no_keep_alive(server: Serving) -> None:
    """Who asks for "close", or speaks HTTP/1.0 without "keep-alive", gets a connection for each request."""
    for arguments in (["-H", "Connection: close"], ["--http1.0"]):
        result = curl(server, *arguments, "-w", "%{stderr}%{num_connects} ", "@/hello", "@/hello")
        assert result.err.split() == ["1", "1"]


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
def test_chunked_upload(server: Serving, large: Path, expect: str) -> None:
    """20 MB in chunks go both ways at once, and come back as they were."""
    result = curl(server, "-X", "POST", "-T", "-", "-H", expect, "@/echo", data=large.read_bytes())
    assert (result.status, result.err) == (0, "")
    assert hashlib.sha256(result.out).digest() == hashlib.sha256(large.read_bytes()).digest()


def test_upload_of_known_length(server: Serving, large: Path) -> None:
    """The same with a Content-Length."""
    result = curl(server, "-X", "POST", "-T", str(large), "@/echo")
    assert (result.status, result.err) == (0, "")
    assert hashlib.sha256(result.out).digest() == hashlib.sha256(large.read_bytes()).digest()


def test_form(server: Serving, large: Path) -> None:
    """A multipart form goes through with its type."""
    result = curl(server, "-F", "a=1", "-F", "b=two", "-w", "%{stderr}%{content_type}", "@/echo")
    kind, boundary = result.err.split("; boundary=")
    assert kind == "multipart/form-data"
    assert result.text.count(boundary) == 3 and 'name="b"' in result.text


@pytest.mark.parametrize("upload", [["--data-binary", "ping"], ["-X", "POST", "-T", "-"]])
def test_expect_continue(server: Serving, upload: list[str]) -> None:
    """The 100 comes at once: curl does not wait until its patience (1 s, here 10 s) is over."""
    wait = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "10"]
    result = curl(server, *wait, *upload, "-w", "\n%{time_total}", "@/echo", data=b"ping")
    content, seconds = result.text.split("\n")
    assert content == "ping"
    assert "< HTTP/1.1 100 Continue" in result.err
    assert float(seconds) < 1


def test_expect_continue_refused(server: Serving, large: Path) -> None:
    """A final status in place of 100 keeps the content from being sent."""
    wait = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "10"]
    result = curl(server, *wait, "-X", "POST", "-T", str(large), "-w", "%{stderr}\n%{size_upload}", "@/hello")
    assert "< HTTP/1.1 405 Method Not Allowed" in result.err and "100 Continue" not in result.err
    assert result.err.split("\n")[-1] == "0"


def test_expect_continue_in_1_0(server: Serving) -> None:
    """In HTTP/1.0 the expectation is ignored (RFC 9110 §10.1.1)."""
    wait = ["--http1.0", "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "0.1"]
    result = curl(server, *wait, "--data-binary", "ping", "@/echo")
    assert result.text == "ping"
    assert "100 Continue" not in result.err


def test_refused_upload(start: Callable[..., Serving], certificate: Certificate, large: Path) -> None:
    """An answer that comes before the upload is read to its end arrives, though the connection closes on the rest."""
    for server in (start(), start(certificate=certificate)):
        result = curl(server, "-X", "POST", "-T", str(large), "-H", "Expect:", "-w", "\n%{http_code}", "@/hello")
        assert result.text == "method not allowed\n\n405"
        server.stop()


@pytest.mark.parametrize("path", ["/hello", "/bytes/1000000", "/stream", "/nothing"])
def test_head(server: Serving, path: str) -> None:
    """HEAD has the fields of GET and no content, and the connection goes on after it."""
    result = curl(server, "-I", "-w", "%{stderr}%{num_connects} %{size_download} ", f"@{path}", f"@{path}")
    assert result.err.split() == ["1", "0", "0", "0"]
    start, fields = head_of(result)
    got, expected = head_of(curl(server, "-i", f"@{path}"))
    assert start == got
    assert fields | {"date": ""} == expected | {"date": ""}


def test_large_download(server: Serving) -> None:
    """100 MB come as they should."""
    result = curl(server, "@/bytes/100000000")
    assert (result.status, len(result.out)) == (0, 100_000_000)
    assert result.out[:65_536] == bytes(range(256)) * 256 == result.out[65_536 * 1000 : 65_536 * 1001]


def test_parallel(server: Serving) -> None:
    """Many transfers at once."""
    urls = [f"@/bytes/{size}" for size in range(0, 1_000_000, 40_000)]
    result = curl(server, "-Z", "--parallel-immediate", "--parallel-max", "25", *urls)
    assert (result.status, len(result.out)) == (0, sum(range(0, 1_000_000, 40_000)))


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["@/nothing"], "404"),
        (["-X", "DELETE", "@/hello"], "405"),
        (["-X", "BREW", "@/hello"], "501"),
        (["-X", "TRACE", "@/hello"], "501"),
        (["-H", "Host:", "@/hello"], "400"),
        (["-H", "Host: a b", "@/hello"], "400"),
        (["-H", "Content-Length: x", "@/hello"], "400"),
        (["-H", "Content-Length: 0", "-H", "Transfer-Encoding: chunked", "@/hello"], "400"),
        (["-H", "Transfer-Encoding: gzip, chunked", "-T", "-", "-X", "POST", "@/echo"], "501"),
        (["--request-target", "/a b", "@/"], "400"),
        (["--request-target", "/a#b", "@/"], "400"),
        (["--request-target", "hello", "@/"], "400"),
        (["@/" + "a" * 9_000], "414"),
        (["-H", "Cookie: " + "a" * 70_000, "@/hello"], "431"),
        ([word for number in range(110) for word in ("-H", f"X-{number}: 1")] + ["@/hello"], "431"),
    ],
)
def test_error(server: Serving, arguments: list[str], status: str) -> None:
    """What is wrong gets the status that says so, as a whole response that curl does not complain of."""
    result = curl(server, *arguments, "-o", "/dev/null", "-w", "%{http_code}")
    assert (result.status, result.err, result.text) == (0, "", status)


def test_allow(server: Serving) -> None:
    """A 405 names the methods that would do."""
    fields = head_of(curl(server, "-i", "-X", "DELETE", "@/hello"))[1]
    assert fields["allow"] == "GET, HEAD"


def test_options(server: Serving) -> None:
    """OPTIONS * is a question to the server, and has no content."""
    result = curl(server, "-i", "-X", "OPTIONS", "--request-target", "*", "@/")
    start, fields = head_of(result)
    assert start == "HTTP/1.1 204 No Content"
    assert {"GET", "HEAD", "OPTIONS", "POST"} <= set(fields["allow"].split(", "))
    assert not {"content-length", "transfer-encoding"} & set(fields)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tr-encoding"],  # TE: gzip, with "Connection: TE"
        ["--http2"],  # in clear text: Upgrade: h2c, which is ignored
        ["--compressed", "-r", "0-4"],  # neither is a server's duty
        ["-H", "Connection: close, Keep-Alive, , TE"],
        ["-H", "X-Obs-Text: \xe9\xff", "-H", "X-Empty;"],
        ["-H", "Cookie: " + "a" * 40_000],
        ["-X", "GET", "--data-binary", "content that nobody asked for"],
        ["--request-target", "/%68ello?a=%zz&&=?/"],
        ["--request-target", "http://example.org/hello"],
    ],
)
def test_tolerated(clear: Serving, arguments: list[str]) -> None:
    """What a server has to accept or ignore does not change the answer, nor the next one on the connection."""
    result = curl(clear, *arguments, "-w", "%{stderr}%{http_code} ", "@/hello", "@/hello")
    assert (result.text, result.err) == ("Hello, World!" * 2, "200 200 ")


def test_as_a_proxy(clear: Serving) -> None:
    """A target in absolute form is accepted (RFC 9112 §3.2.2); a tunnel is not made."""
    result = curl(clear, "-x", clear.url, "http://example.org/hello", proxy=True)
    assert result.text == "Hello, World!"
    result = curl(clear, "-p", "-x", clear.url, "http://example.org/hello", proxy=True)
    assert (result.status, "CONNECT tunnel failed, response 404" in result.err) == (56, True)


def test_a_client_that_leaves(server: Serving) -> None:
    """A download broken off by the client, in the middle or before its first byte, is no event."""
    assert curl(server, "--max-time", "0.3", "@/stream?chunks=9&interval=1").status == 28
    assert curl(server, "--max-time", "0.3", "@/slow/async?seconds=1").status == 28
    assert curl(server, "-r", "0-9", "--max-filesize", "10", "@/bytes/1000000000").status == 63
    assert curl(server, "@/hello").text == "Hello, World!"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_versions(tls: Serving, version: str) -> None:
    """TLS 1.2 and 1.3, with ALPN and without."""
    for alpn in ("--alpn", "--no-alpn"):
        result = curl(tls, "-v", f"--tlsv{version}", "--tls-max", version, alpn, "@/hello")
        assert result.text == "Hello, World!"
        assert f"SSL connection using TLSv{version}" in result.err


def test_tls_refused(tls: Serving, clear: Serving) -> None:
    """Old TLS, an authority that the client does not trust, and TLS with clear text: it fails, and the server lives."""
    assert curl(tls, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", "@/hello").status == 35
    assert curl(tls, "--cacert", "/etc/ssl/certs/ca-certificates.crt", "@/hello").status == 60
    assert curl(tls, tls.url.replace("https", "http")).status in (52, 56)
    assert curl(clear, clear.url.replace("http", "https")).status == 35
    assert curl(tls, "@/hello").text == curl(clear, "@/hello").text == "Hello, World!"
