"""The recipes of ``examples/apps/``, run as programs, with curl and a browser as their clients."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recipes import APPS

from .serving import Serving
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
