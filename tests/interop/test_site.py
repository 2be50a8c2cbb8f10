"""The documentation as a site: it builds strictly, loads nothing from other hosts, and its links and its search work."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from .chromium import run
from .serving import wait_until

ROOT = Path(__file__).parents[2]
needs_a_browser = pytest.mark.needs("chromium", "chromedriver")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built site."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=500)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Reader(HTMLParser):
    """The identifiers, the links and the loaded files of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names |= {value for key in ("id", "name") if (value := found.get(key))}
        if tag == "a" and (href := found.get("href")):
            self.links.add(href)
        elif href := found.get("src") or found.get("srcset") or (tag == "link" and found.get("href")):
            self.loaded.add(href)


read = cache(Reader)


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    loaded = {f"{page}: {link}" for page in pages for link in read(page).loaded if urlsplit(link).netloc}
    for style in site.rglob("*.css"):
        loaded |= {f"{style}: {link}" for link in re.findall(r"url\([\"']?\w+://.*?\)|@import.*", style.read_text())}
    assert not loaded


def wrong(page: Path, link: str) -> bool:
    """Whether a link within the site leads nowhere. A link to lines needs the first and the last one."""
    parts = urlsplit(link)
    target = page.parent / unquote(parts.path) if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    if parts.scheme or not target.exists():
        return not parts.scheme
    lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", parts.fragment)
    names = [f"__span-0-{number}" for number in lines.groups() if number] if lines else [unquote(parts.fragment)]
    return any(name and name not in read(target.resolve()).names for name in names)


def test_each_link_leads_somewhere(site: Path) -> None:
    pages = [page.resolve() for page in site.rglob("*.html") if page.name != "404.html"]  # its links begin with a slash
    assert not {f"{page.relative_to(site)}: {link}" for page in pages for link in read(page).links if wrong(page, link)}


def test_a_block_of_source_names_its_file(site: Path) -> None:
    assert '<span class="filename">examples/course/sans_io_core.py</span>' in (site / "course" / "sans-io.html").read_text()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@needs_a_browser
def test_a_link_to_lines_marks_them(served: str, browser: Any) -> None:
    browser.get(f"{served}/files/src/minproto/http1.py.html#L3-L5")
    marked = "return Array.from(document.querySelectorAll('.marked-line'), line => line.id)"
    assert run(browser, marked) == ["__span-0-3", "__span-0-4", "__span-0-5"]
    heights = "return ['.linenodiv pre', '.code pre'].map(each => document.querySelector(each).offsetHeight)"
    numbers, lines = run(browser, heights)
    assert abs(numbers - lines) < 50  # a padding, so each of the thousand numbers stands beside its line
    browser.get(f"{served}/files/src/minproto/http1.py.html#L9")
    wait_until(lambda: run(browser, marked) == ["__span-0-9"])


@needs_a_browser
def test_the_search_finds_a_word_and_asks_no_other_host(served: str, browser: Any) -> None:
    browser.get(f"{served}/glossary.html")
    box = browser.find_element("css selector", "input.md-search__input")
    run(browser, "document.querySelector('[data-md-toggle=search]').click()")
    box.send_keys("backpressure")
    wait_until(lambda: browser.find_elements("css selector", ".md-search-result__item"))
    hosts = "return performance.getEntriesByType('resource').map(each => new URL(each.name).origin)"
    assert set(run(browser, hosts)) == {served}


@needs_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(served: str, browser: Any, scheme: str) -> None:
    """The reader's system chooses the palette."""
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(f"{served}/index.html")
    run(browser, "localStorage.clear()")  # the palette of the visit before
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").glob("*.md")]
    for page in ["index.html", "requirements/9112.html", "files/src/minproto/http1.py.html", *pages]:
        browser.get(f"{served}/{page}")
        assert not run(browser, "return document.documentElement.scrollWidth > innerWidth"), page
    assert run(browser, "return document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
