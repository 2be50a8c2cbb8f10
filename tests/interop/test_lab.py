"""The lab's page in headless Chromium: each of its controls, against what the server did."""

import http.client
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .chromium import run
from .laboratory import Laboratory
from .page import Page
from .serving import free_port, wait_until

pytestmark = pytest.mark.needs("chromium", "chromedriver")

COLUMNS = ("short", "long", "sse", "ws")


@pytest.fixture
def page(lab_browser: Any) -> Iterator[Page]:
    yield Page(lab_browser)
    cut = ("ERR_CONNECTION_RESET", "ERR_HTTP2_PROTOCOL_ERROR")
    messages = [entry["message"] for entry in lab_browser.get_log("browser")]
    assert not [message for message in messages if not message.endswith(cut)]
    lab_browser.get("about:blank")


@pytest.fixture
def push(page: Page, lab: Laboratory) -> Page:
    """The first tab, with all columns listening."""
    page.open(lab.urls["http"])
    wait_until(lambda: all(page.figure(column, "state") == "connected" for column in ("short", "sse", "ws")))
    wait_until(lambda: page.number("long", "requests") == 1)
    return page


# ---- push, side by side ------------------------------------------------------------------------------------------------


def test_publish_one(push: Page) -> None:
    """One message in each column, with its text; what it cost is what the server counted."""
    push.click("#publish button")
    wait_until(lambda: all(push.number(column, "messages") == 1 for column in COLUMNS))
    for column in COLUMNS:
        wait_until(lambda column=column: push.figure(column, "latest") == "hello")  # type: ignore[misc]
        assert push.number(column, "missed") == push.number(column, "repeated") == push.number(column, "replayed") == 0
        assert push.number(column, "sent") > 100 and push.number(column, "received") > 100
    assert push.number("long", "requests") == 2
    wait_until(lambda: push.number("short", "requests") > 2)
    assert push.number("sse", "requests") == push.number("ws", "requests") == 1


def test_publish_many(push: Page) -> None:
    """The rate that was chosen, until it is stopped; nothing is missed or repeated by anybody."""
    run(push.browser, "document.querySelector('#rate').value = 5; document.querySelector('#rate').oninput()")
    assert push.text("#rate-value") == "50"
    push.click("#flow")
    wait_until(lambda: push.number("ws", "messages") > 100)
    assert push.text("#flow") == "Stop publishing"
    push.click("#flow")
    wait_until(lambda: push.text("#flow") == "Keep publishing")
    wait_until(lambda: len({push.number(column, "messages") for column in COLUMNS}) == 1)
    for column in COLUMNS:
        assert push.number(column, "missed") == push.number(column, "repeated") == 0
        assert re.fullmatch(r"\d+ ms", push.figure(column, "median")), column
    assert milliseconds(push.figure("ws", "median")) < 100 < milliseconds(push.figure("short", "median"))
    push.click("#reset")
    wait_until(lambda: push.number("ws", "messages") == 0)


def milliseconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * (1000 if unit == "s" else 1)


def test_cut(push: Page) -> None:
    """Who names the last id that it saw gets a replay; a WebSocket that does not has a gap; one that does, none."""
    push.click("#flow")
    wait_until(lambda: all(push.number(column, "messages") > 3 for column in COLUMNS))
    for column in COLUMNS:
        push.click(f"[data-column={column}] [data-do=cut]")
    wait_until(lambda: push.number("sse", "replayed") > 0 and push.number("ws", "missed") > 0, 10)
    missed = push.number("ws", "missed")
    assert f"missed {missed}" in push.story("ws") and "replayed" in push.story("sse") and "cut" in push.story("sse")
    wait_until(lambda: all(push.figure(column, "state") == "connected" for column in COLUMNS))
    assert push.number("ws", "replayed") == 0  # it has asked for none, however late its messages are
    push.click("[data-column=ws] [data-do=resume] input")
    push.click("[data-column=ws] [data-do=cut]")
    wait_until(lambda: push.number("ws", "replayed") > 0, 10)
    push.click("#flow")
    wait_until(lambda: push.text("#flow") == "Keep publishing")
    wait_until(lambda: len({push.number(c, "messages") + push.number(c, "missed") for c in COLUMNS}) == 1)
    assert [push.number(column, "missed") for column in COLUMNS] == [0, 0, 0, missed]
    assert [push.number(column, "repeated") for column in COLUMNS] == [0, 0, 0, 0]
    assert push.number("sse", "requests") == 2 and push.number("ws", "requests") == 3
    push.picture("push")


def test_slow_client(push: Page) -> None:
    """The slow column falls behind, and the server drops what does not fit; the others stay as they were."""
    push.click("[data-column=sse] [data-do=slow]")
    wait_until(lambda: push.browser.find_elements("css selector", "[data-column=sse] [data-do=slow][aria-pressed=true]"))
    run(push.browser, "document.querySelector('#rate').value = 7; document.querySelector('#rate').oninput()")
    push.click("#flow")
    wait_until(lambda: "the server says: a gap of" in push.story("sse"), 15)
    push.click("#flow")
    push.click("[data-column=sse] [data-do=slow]")
    wait_until(lambda: push.number("sse", "messages") + push.number("sse", "missed") == push.number("ws", "messages"))
    assert push.number("sse", "missed") > 0 and milliseconds(push.figure("sse", "worst")) > 500
    assert push.number("ws", "missed") == push.number("long", "missed") == push.number("short", "missed") == 0


def test_four_columns_side_by_side_on_a_phone(push: Page) -> None:
    """A table has the figures that matter; it is above the fold, and says the same as the columns."""
    push.click("#publish button")
    wait_until(lambda: all(push.number(column, "messages") == 1 for column in COLUMNS))
    push.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        push.browser.execute_script("scrollTo(0, 0)")
        table = push.browser.execute_script("return document.querySelector('#compare').getBoundingClientRect().toJSON()")
        assert table["bottom"] < 800 and table["right"] <= 390
        for name in ("price", "median", "missed"):
            script = "return [...document.querySelectorAll(`[data-compare=${arguments[0]}] td`)].map((it) => it.textContent)"
            wait_until(lambda name=name, script=script: push.browser.execute_script(script, name)  # type: ignore[misc]
                       == [push.figure(column, name) for column in COLUMNS])  # fmt: skip
    finally:
        push.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not is_shown(push, "#compare")


@pytest.mark.parametrize("tab", ["push", "six", "slow", "apart"])
def test_one_button_of_a_tab_is_filled(page: Page, lab: Laboratory, tab: str) -> None:
    """The one to begin with."""
    page.open(lab.urls["http"], tab)
    wait_until(lambda: is_shown(page, f"#{tab}"))
    script = """
        const accent = getComputedStyle(document.querySelector(".primary")).backgroundColor;
        return [...document.querySelectorAll(`#${arguments[0]} button`)]
            .filter((it) => getComputedStyle(it).backgroundColor === accent).length
    """
    assert page.browser.execute_script(script, tab) == 1


@pytest.mark.needs("redis-cli")
def test_a_message_from_redis_cli(push: Page) -> None:
    """What the page says that a terminal can do does arrive."""
    command = push.text("#redis code").split()
    assert subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip() > "0"
    wait_until(lambda: all(push.figure(column, "latest") == "hello" for column in COLUMNS))


def test_a_message_from_elsewhere(push: Page, lab: Laboratory) -> None:
    """By a POST."""
    urllib.request.urlopen(f"{lab.urls['http']}/publish?topic=updates", data=b"from curl", timeout=5).read()
    wait_until(lambda: all(push.figure(column, "latest") == "from curl" for column in COLUMNS))


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b"", "(empty)"), (b"\xff\x00", "\ufffd\0"), ("👩‍👧 ümläut".encode(), "👩‍👧 ümläut"), (b"x" * 500_000, "x" * 200 + "…")],
    ids=["empty", "binary", "emoji", "huge"],
)
def test_any_message_is_shown(push: Page, lab: Laboratory, data: bytes, shown: str) -> None:
    """And a long one only in part: a page must not become as heavy as what it shows."""
    urllib.request.urlopen(f"{lab.urls['http']}/publish?topic=updates", data=data, timeout=5).read()
    wait_until(lambda: all(push.figure(column, "latest") == shown for column in COLUMNS))
    assert [push.number(column, "messages") for column in COLUMNS] == [1, 1, 1, 1]


def test_a_button_keeps_the_keyboard_while_it_works(page: Page, lab: Laboratory) -> None:
    """Pressed by a key, it still has the focus when it is done."""
    from selenium.webdriver.common.keys import Keys

    page.open(lab.urls["http"], "slow")
    page.browser.find_element("id", "ask").send_keys(Keys.ENTER)
    wait_until(lambda: page.text("#verdict").startswith("The last answer"), 10)
    assert page.browser.switch_to.active_element.get_attribute("id") == "ask"


def test_markup_in_a_message_is_text(push: Page, lab: Laboratory) -> None:
    """Whoever publishes has no hold on the page."""
    words = "<img src=x onerror=document.title='no'><b>bold</b>"
    urllib.request.urlopen(f"{lab.urls['http']}/publish?topic=updates", data=words.encode(), timeout=5).read()
    wait_until(lambda: push.figure("ws", "latest") == words)
    assert push.browser.title == "minproto lab"


def test_a_second_window_takes_the_columns(push: Page, lab: Laboratory) -> None:
    """Or the first ones would use up the browser's six connections; the first says so, and can take them back."""
    browser, first = push.browser, push.browser.current_window_handle
    browser.switch_to.new_window("window")
    try:
        for _ in range(3):
            push.open(lab.urls["http"])
            wait_until(lambda: push.figure("sse", "state") == "connected")
        second = browser.current_window_handle
        browser.switch_to.window(first)
        wait_until(lambda: browser.find_element("id", "elsewhere").is_displayed())
        push.click("#here")
        wait_until(lambda: push.text("#link") == "connected" and not browser.find_element("id", "elsewhere").is_displayed())
        browser.switch_to.window(second)
        wait_until(lambda: browser.find_element("id", "elsewhere").is_displayed())
    finally:
        browser.close()
        browser.switch_to.window(first)


# ---- six connections ---------------------------------------------------------------------------------------------------


def race(page: Page, number: int) -> dict[str, Any]:
    script = "return {...document.querySelectorAll('#races article')[arguments[0]].dataset}"
    return dict(page.browser.execute_script(script, number))


def test_six_connections(page: Page, lab: Laboratory) -> None:
    """Over HTTP/1.1 six at once, so four rounds of 24; the waterfall has a row for each, and shows the queueing."""
    page.open(lab.urls["http"], "six")
    run(page.browser, "document.querySelector('#delay').value = 100; document.querySelector('#delay').oninput()")
    assert page.text("#delay-value") == "100 ms" and not is_shown(page, "#race-legend")
    page.click("#race")
    wait_until(lambda: all(race(page, number).get("whole") for number in (0, 1)), 10)
    old, new = race(page, 0), race(page, 1)
    assert new["protocol"] == "h2" and new["most"] == "24" and 100 <= int(new["whole"]) < 0.8 * int(old["whole"])
    assert old["protocol"] == "http/1.1" and old["most"] == "6" and 400 <= int(old["whole"]) < 1500
    for number in (0, 1):
        rows = f"#races article:nth-child({number + 1}) .bars [data-row]"
        assert len(page.browser.find_elements("css selector", rows)) == 24
    assert is_shown(page, "#race-legend") and page.text("#races article:last-child").count("HTTP/2") == 1
    queued = "#races article:first-child .bars rect.queued"
    assert len(page.browser.find_elements("css selector", queued)) >= 18
    page.picture("six")


# ---- sync against async ------------------------------------------------------------------------------------------------


def test_sync_against_async(page: Page, lab: Laboratory) -> None:
    """One after the other takes five times as long as all at once."""
    page.open(lab.urls["http"], "slow")
    page.click("#ask")
    wait_until(lambda: page.text("#verdict").startswith("The last answer"), 10)
    line = page.browser.find_element("id", "line")
    assert 2500 <= int(line.get_attribute("data-sync")) < 4000 and 500 <= int(line.get_attribute("data-async")) < 1200
    assert [len(page.browser.find_elements("css selector", f"#line rect.{kind}")) for kind in ("sync", "async")] == [5, 5]
    assert "sync 5" in page.text("#line") and page.text("#verdict .sync b") == "2.5 s"
    page.picture("slow")


# ---- the wire ----------------------------------------------------------------------------------------------------------


class Row:
    """A line of the list."""

    def __init__(self, words: dict[str, Any]) -> None:
        self.title, self.sender, self.protocol = words["title"], words["sender"], words["protocol"]
        self.connection, self.fields, self.error = words["connection"], words["fields"], words["error"]

    @property
    def raw(self) -> bytes:
        return b"".join(bytes.fromhex(field["raw"]) for field in self.fields)


class WireTab(Page):
    """The last tab."""

    def rows(self) -> list[Row]:
        script = "return [...document.querySelectorAll('#rows li')].map(({row}) => row)"
        return [Row(words) for words in self.browser.execute_script(script)]

    def has(self, title: str, sender: str = "client") -> bool:
        return any(row.title == title and row.sender == sender for row in self.rows())

    def choose(self, selector: str, start: str) -> None:
        from selenium.webdriver.support.select import Select

        select = Select(self.browser.find_element("css selector", selector))
        select.select_by_visible_text(next(option.text for option in select.options if option.text.startswith(start)))


@pytest.fixture
def wire(page: Page, lab: Laboratory) -> WireTab:
    tab = WireTab(page.browser)
    tab.open(lab.urls["http"], "wire")
    wait_until(lambda: tab.text("#watching") == "watching")
    return tab


def test_a_request_on_the_wire(wire: WireTab) -> None:
    """Its bytes, field by field, with the sections of the standard; the fields' bytes are those of the request."""
    wire.click("[data-visit=request]")
    wait_until(lambda: wire.has("content, 13 bytes", "server"))
    request, response, content = wire.rows()
    assert request.raw.startswith(b"GET /hello HTTP/1.1\r\nhost: 127.0.0.1:") and request.raw.endswith(b"\r\n\r\n")
    assert response.raw.startswith(b"HTTP/1.1 200 OK\r\n") and content.raw == b"Hello, World!"
    assert wire.text("#row h3") == "content, 13 bytes"  # the newest row opens by itself
    assert re.fullmatch(r"\d\.\d{3}", wire.text("#rows li:last-child .at"))
    wire.click("#rows li:first-child")
    wire.click("[data-visit=redis]")
    wait_until(lambda: wire.has("QUIT"))
    assert wire.text("#row h3") == "GET /hello"  # a row that was chosen stays open
    shown = wire.browser.execute_script("return [...document.querySelectorAll('#row .field')].map(({dataset}) => dataset.raw)")
    assert bytes.fromhex("".join(shown)) == request.raw
    text = wire.text("#row")
    assert "GET" in text and "/hello" in text and "RFC 9112 §3" in text and "47 45 54" in text and "from the client" in text


VISITS = [
    ("chunks", "HTTP/1.1", "last chunk"),
    ("events", "HTTP/1.1", "GET /events?topic=wire"),
    ("websocket", "WebSocket", "Ping frame, 8 bytes"),
    ("http2", "HTTP/2", "HEADERS: GET /hello, END_STREAM"),
    ("redis", "RESP", "PUBLISH updates hello"),
]


@pytest.mark.parametrize(("visit", "protocol", "title"), VISITS)
def test_visits_on_the_wire(wire: WireTab, visit: str, protocol: str, title: str) -> None:
    wire.click(f"[data-visit={visit}]")
    wait_until(lambda: wire.has(title))
    assert any(row.protocol == protocol for row in wire.rows()) and not any(row.error for row in wire.rows())


def test_a_websocket_message_is_unmasked_and_inflated(wire: WireTab) -> None:
    wire.click("[data-visit=websocket]")
    wait_until(lambda: wire.has("Ping frame, 8 bytes"))
    frame = next(row for row in wire.rows() if row.protocol == "WebSocket")
    assert b"hello" not in frame.raw
    assert any("hello, hello, hello, hello" in field["value"] for field in frame.fields)


def test_a_broken_request_on_the_wire(wire: WireTab) -> None:
    """Its row says what is wrong."""
    wire.click("[data-visit=malformed]")
    wait_until(lambda: wire.has("400 Bad Request", "server"))
    wrong = [row for row in wire.rows() if row.error]
    assert wrong and wrong[0].raw == b"GET /hello HTTP/1.1\r\nHost : localhost\r\n\r\n"
    wire.click("#rows li.wrong")
    assert wire.text("#row .notice") == wrong[0].error


@pytest.mark.needs("redis-cli")
def test_ones_own_redis_command_on_the_wire(wire: WireTab, lab: Laboratory) -> None:
    """A person types, and sees the bytes arrive, explained."""
    port = lab.urls["redis"].rpartition(":")[2]
    assert port in wire.text("#commands")
    subprocess.run(["redis-cli", "-p", port, "publish", "updates", "grüße"], capture_output=True, timeout=5, check=True)
    wait_until(lambda: any(row.title.startswith("publish updates") for row in wire.rows()))
    command = next(row for row in wire.rows() if row.title.startswith("publish updates"))
    assert command.raw == "*3\r\n$7\r\npublish\r\n$7\r\nupdates\r\n$7\r\ngrüße\r\n".encode()
    assert [field["value"] for field in command.fields][-1] == "grüße"
    for visit, title in (("websocket", "Ping frame, 8 bytes"), ("request", "GET /hello")):
        wire.click(f"[data-visit={visit}]")
        wait_until(lambda title=title: wire.has(title))  # type: ignore[misc]
    wire.click("#rows li.client[data-protocol=WebSocket]")
    wire.picture("wire")


def test_keys_of_the_wire(wire: WireTab) -> None:
    """Arrows go from row to row, and each opens."""
    from selenium.webdriver.common.keys import Keys

    wire.click("[data-visit=chunks]")
    wait_until(lambda: wire.has("last chunk", "server"))
    titles = [row.title for row in wire.rows()]
    wire.browser.find_element("id", "rows").send_keys(Keys.HOME)
    for key, at in (("", 0), (Keys.ARROW_DOWN, 1), (Keys.ARROW_DOWN, 2), (Keys.ARROW_UP, 1), (Keys.END, -1), (Keys.HOME, 0)):
        wire.browser.switch_to.active_element.send_keys(key)
        assert wire.text("#row h3") == titles[at]
    wire.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert wire.text("#row") == ""


def test_filters_and_pause(wire: WireTab) -> None:
    wire.click("[data-visit=websocket]")
    wait_until(lambda: wire.has("Ping frame, 8 bytes"))
    wire.click("[data-visit=redis]")
    wait_until(lambda: wire.has("QUIT"))
    whole = len(wire.rows())
    wire.choose("#of-protocol", "RESP")
    assert {row.protocol for row in wire.rows()} == {"RESP"}
    wire.choose("#of-protocol", "all")
    redis = next(row.connection for row in wire.rows() if row.protocol == "RESP")
    wire.choose("#of-connection", f"#{redis} ")
    assert {row.connection for row in wire.rows()} == {redis} and len(wire.rows()) == 4
    wire.click("[data-visit=request]")
    wire.choose("#of-connection", "all")
    wait_until(lambda: len(wire.rows()) == whole + 3)
    wire.click("#pause")
    wire.click("[data-visit=request]")
    wait_until(lambda: wire.text("#watching") == "paused: 3 rows have passed by")
    assert len(wire.rows()) == whole + 3
    wire.click("#pause")
    wire.click("[data-visit=request]")
    wait_until(lambda: len(wire.rows()) == whole + 6)
    wire.click("#clear")
    assert wire.rows() == []


# ---- much, and for long ------------------------------------------------------------------------------------------------


def test_ten_pages_at_200_messages_a_second(push: Page, lab: Laboratory) -> None:
    """All of them get everything; the lab answers meanwhile, and neither it nor a page grows."""
    browser, first = push.browser, push.browser.current_window_handle
    others = []
    try:
        for _ in range(9):  # over HTTP/2, of which a browser opens one connection for all
            browser.switch_to.new_window("window")
            others.append(browser.current_window_handle)
            push.open(lab.urls["https"])
        browser.switch_to.window(first)
        run(browser, "document.querySelector('#rate').value = 7; document.querySelector('#rate').oninput()")
        push.click("#flow")
        wait_until(lambda: push.number("sse", "messages") > 1_500, 60)
        memory, size = lab.memory, heap(browser)
        worst = max(answer_time(lab) for _ in range(40))
        wait_until(lambda: push.number("sse", "messages") > 4_000, 60)
        assert lab.memory < memory + (8 << 20)
        assert heap(browser) < size + (4 << 20)
        assert worst < 0.5, f"{worst:.3f} s for an answer"
        push.click("#flow")
        for window in (first, *others):
            browser.switch_to.window(window)
            wait_until(lambda: len({push.number(c, "messages") + push.number(c, "missed") for c in COLUMNS}) == 1, 10)
            assert push.number("ws", "messages") > 100 and push.number("ws", "repeated") == 0
    finally:
        for window in others:
            browser.switch_to.window(window)
            browser.close()
        browser.switch_to.window(first)


def heap(browser: Any) -> int:
    """Bytes that a page's objects take, when what is no longer used is gone."""
    browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    return int(browser.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"])


def answer_time(lab: Laboratory) -> float:
    began = time.monotonic()
    urllib.request.urlopen(f"{lab.urls['http']}/hello", timeout=5).read()
    return time.monotonic() - began


def test_a_wire_that_is_left_open_does_not_grow(wire: WireTab, lab: Laboratory) -> None:
    """However many connections and rows have gone by: some hundred are kept."""
    host, port = lab.urls["http"].removeprefix("http://").split(":")

    def ask(connections: int) -> None:
        for _ in range(connections):
            with closing(http.client.HTTPConnection(host, int(port), timeout=5)) as client:
                for _ in range(20):
                    client.request("GET", "/hello")
                    client.getresponse().read()

    ask(20)
    wait_until(lambda: len(wire.rows()) == 300)
    size, elements = heap(wire.browser), count_elements(wire)
    ask(60)
    run(wire.browser, "await new Promise(requestAnimationFrame)")
    assert count_elements(wire) <= elements + 50
    assert heap(wire.browser) < size + (3 << 20)


def count_elements(page: Page) -> int:
    return int(page.browser.execute_script("return document.querySelectorAll('*').length"))


# ---- the page ----------------------------------------------------------------------------------------------------------


def test_keys(page: Page, lab: Laboratory) -> None:
    """The tabs are one stop of the Tab key; arrows go round, Home and End to the ends; the address keeps the choice."""
    from selenium.webdriver.common.keys import Keys

    page.open(lab.urls["http"])
    wait_until(lambda: page.text("#link") == "connected")
    names = [tab.get_attribute("aria-controls") for tab in page.browser.find_elements("css selector", "[role=tab]")]
    page.browser.find_element("id", "tab-push").send_keys("")
    for key, name in ((Keys.ARROW_RIGHT, names[1]), (Keys.ARROW_LEFT, names[0]), (Keys.ARROW_LEFT, names[-1]),
                      (Keys.HOME, names[0]), (Keys.END, names[-1])):  # fmt: skip
        page.browser.switch_to.active_element.send_keys(key)
        shown = page.browser.find_elements("css selector", "[role=tabpanel]:not([hidden])")
        assert [panel.get_attribute("id") for panel in shown] == [name]
        assert page.browser.current_url.partition("#")[2].partition("=")[0] == name
        assert page.browser.switch_to.active_element.get_attribute("tabindex") == "0"


def test_every_control_has_a_name(page: Page, lab: Laboratory) -> None:
    """For those who do not see it."""
    page.open(lab.urls["http"])
    wait_until(lambda: page.text("#link") == "connected")
    for control in page.browser.find_elements("css selector", "button, input, select, canvas, svg, [role=tabpanel]"):
        assert control.accessible_name or not control.is_displayed(), control.get_attribute("outerHTML")


def test_over_https(page: Page, lab: Laboratory) -> None:
    """The page works on the other origin, too."""
    page.open(lab.urls["https"])
    wait_until(lambda: all(page.figure(column, "state") == "connected" for column in ("short", "sse", "ws")))
    page.click("#publish button")
    wait_until(lambda: all(page.number(column, "messages") == 1 for column in COLUMNS))
    page.click("[data-column=sse] [data-do=cut]")
    wait_until(lambda: page.number("sse", "requests") == 2)
    page.click("#publish button")
    wait_until(lambda: all(page.number(column, "messages") == 2 for column in COLUMNS))


# ---- the lab goes away, and comes back -----------------------------------------------------------------------------------


class Mortal:
    """A lab on ports of its own, so that another can take its place."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.ports = tuple(f"{word}" for name in ("", "tls-", "broker-") for word in (f"--{name}port", str(free_port())))
        self.lab = Laboratory(cache, self.ports)

    def restart(self) -> None:
        self.lab.kill()
        self.lab = Laboratory(self.cache, self.ports)

    @property
    def url(self) -> str:
        return self.lab.urls["http"]


@pytest.fixture
def mortal(lab: Laboratory) -> Iterator[Mortal]:
    mortal = Mortal(lab.cache)  # the browser trusts this certificate
    yield mortal
    mortal.lab.kill()


@pytest.fixture
def left(lab_browser: Any) -> Iterator[Page]:
    """A page whose lab goes away: the browser says so in its log, which is no fault of the page's.

    A lab that stops may still answer a poll: with 404, where it has let go of the page's control before.
    """
    yield Page(lab_browser)
    lab_browser.get("about:blank")
    messages = [entry["message"] for entry in lab_browser.get_log("browser")]
    expected = re.compile(r"ERR_|WebSocket connection|/lab/push/\w+\?\S+ - Failed to load resource: .* a status of 404")
    assert not [message for message in messages if not expected.search(message)]


def is_shown(page: Page, selector: str) -> bool:
    return bool(page.browser.find_element("css selector", selector).is_displayed())


BUTTONS = {"push": "#flow", "six": "#race", "slow": "#ask", "wire": "[data-visit=request]"}


@pytest.mark.parametrize("tab", list(BUTTONS))
@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_each_tab_says_that_the_lab_is_gone(left: Page, mortal: Mortal, tab: str, end: str) -> None:
    """Whether it died or was stopped: what needs the lab looks like that, and all comes back by itself."""

    def enabled() -> bool:
        return left.browser.find_element("css selector", BUTTONS[tab]).get_attribute("aria-disabled") != "true"

    left.open(mortal.url, tab)
    wait_until(lambda: left.text("#link") == "connected" and enabled())
    if tab == "push":
        wait_until(lambda: all(left.figure(column, "state") == "connected" for column in COLUMNS))
    if end == "killed":
        mortal.lab.kill()
    else:
        mortal.lab.stop()
    wait_until(lambda: left.text("#link") == "the lab does not answer; trying again")
    assert is_shown(left, "#gone") and not enabled()
    if tab == "push":
        wait_until(lambda: {left.figure(column, "state") for column in COLUMNS} == {"no answer"})
    if tab == "wire":
        wait_until(lambda: left.text("#watching") == "the lab does not answer")
    left.click(BUTTONS[tab])  # does nothing, and breaks nothing
    if end == "killed":
        left.picture(f"gone-{tab}")
    mortal.restart()
    wait_until(lambda: left.text("#link") == "connected" and not is_shown(left, "#gone") and enabled(), 10)
    if tab == "push":
        wait_until(lambda: all(left.figure(column, "state") == "connected" for column in COLUMNS))
        left.click("#publish button")
        wait_until(lambda: all(left.number(column, "messages") == 1 for column in COLUMNS))
    if tab == "wire":
        wait_until(lambda: left.text("#watching") == "watching")


def test_a_lab_that_is_stuck(left: Page, mortal: Mortal) -> None:
    """Its connections stay, but nothing comes; it says so, and goes on when the lab does."""
    left.open(mortal.url, "push")
    wait_until(lambda: left.figure("ws", "state") == "connected")
    os.kill(mortal.lab.process.pid, signal.SIGSTOP)
    wait_until(lambda: is_shown(left, "#gone"), 10)
    assert {left.figure(column, "state") for column in COLUMNS} == {"no answer"}
    os.kill(mortal.lab.process.pid, signal.SIGCONT)
    wait_until(lambda: all(left.figure(column, "state") == "connected" for column in COLUMNS), 10)
    assert not is_shown(left, "#gone")


def test_an_idle_long_poll_is_connected(push: Page) -> None:
    """Nothing is published, so it has no answer; the server has its question, and so all is well."""
    wait_until(lambda: push.figure("long", "state") == "connected")
    assert push.number("long", "messages") == 0
    push.click("[data-column=long] [data-do=cut]")
    wait_until(lambda: push.number("long", "requests") == 2)
    wait_until(lambda: push.figure("long", "state") == "connected")


def test_another_labs_connections_have_other_numbers(left: Page, mortal: Mortal) -> None:
    """It counts from 1 again; its rows are not those of the old #1."""
    wire = WireTab(left.browser)
    wire.open(mortal.url, "wire")
    wait_until(lambda: wire.text("#watching") == "watching")
    for number in (0, 1):
        wire.click("[data-visit=malformed]")
        wait_until(lambda: len({row.connection for row in wire.rows()}) > number)  # noqa: B023
        old = {row.connection for row in wire.rows()}
        mortal.restart()
        wait_until(lambda: wire.text("#watching") == "watching", 10)
    wire.click("[data-visit=malformed]")
    wait_until(lambda: len({row.connection for row in wire.rows()}) == 3)
    assert max(row.connection for row in wire.rows()) > max(old) > 1
    names = [option.text for option in wire.browser.find_elements("css selector", "#of-connection option")]
    assert sum("(the lab was gone)" in name or "(closed)" in name for name in names) >= 2


def test_a_lab_that_is_back_elsewhere(left: Page, mortal: Mortal) -> None:
    """The same port for HTTP, another for HTTPS: the page names where it is now."""
    left.open(mortal.url, "slow")
    wait_until(lambda: left.text("#link") == "connected")
    mortal.ports = (*mortal.ports[:2], "--tls-port", "0", *mortal.ports[4:])
    mortal.restart()
    wait_until(lambda: mortal.lab.urls["https"] in left.text("#places"), 10)
    assert left.browser.current_url.endswith("#slow")


# ---- addresses ---------------------------------------------------------------------------------------------------------


def test_the_address_names_the_tab(page: Page, lab: Laboratory) -> None:
    """A link to a tab, the browser's Back, an address that was changed by hand; what names no tab shows the first."""

    def shows(tab: str) -> bool:
        return [name for name in BUTTONS if is_shown(page, f"#{name}")] == [tab]

    page.open(lab.urls["http"], "slow")
    wait_until(lambda: shows("slow"))
    page.click("#tab-six")
    page.click("#tab-wire")
    assert shows("wire") and page.browser.current_url.endswith("/#wire")
    page.browser.back()
    wait_until(lambda: shows("six"))
    page.browser.back()
    wait_until(lambda: shows("slow"))
    page.browser.forward()
    wait_until(lambda: shows("six"))
    page.browser.execute_script("location.hash = 'push'")
    wait_until(lambda: shows("push"))
    page.browser.execute_script("location.hash = 'nothing'")
    wait_until(lambda: shows("push"))
    page.open(lab.urls["http"], "nothing")
    wait_until(lambda: shows("push") and page.browser.current_url.endswith("/#push"))


def test_the_footer_links_to_where_the_lab_is(page: Page, lab: Laboratory) -> None:
    page.open(lab.urls["http"], "slow")
    wait_until(lambda: page.browser.find_elements("css selector", "footer a"))
    links = [link.get_attribute("href") for link in page.browser.find_elements("css selector", "footer a")]
    assert links == [f"{lab.urls['http']}/", f"{lab.urls['https']}/"]
    page.click("footer a:last-of-type")
    wait_until(lambda: "#push" in page.browser.current_url)


def test_a_page_over_http2_notices_it_too(left: Page, mortal: Mortal) -> None:
    """All that it has are streams of one connection."""
    left.open(mortal.lab.urls["https"], "push")
    wait_until(lambda: all(left.figure(column, "state") == "connected" for column in COLUMNS))
    for end in ("kill", "stop"):
        getattr(mortal.lab, end)()
        wait_until(lambda: is_shown(left, "#gone") and {left.figure(column, "state") for column in COLUMNS} == {"no answer"})
        mortal.restart()
        wait_until(lambda: all(left.figure(column, "state") == "connected" for column in COLUMNS), 10)
        assert not is_shown(left, "#gone")
