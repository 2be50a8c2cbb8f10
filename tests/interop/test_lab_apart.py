"""The stepper of the lab's page in headless Chromium: cuts, steps, errors, links, and bytes as digits and as text."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from minproto.lab.exchanges import EXCHANGES
from minproto.testing.findings import LAB, link
from minproto.testing.streams import STREAMS

from .laboratory import Laboratory
from .page import Page
from .serving import free_port, wait_until

pytestmark = pytest.mark.needs("chromium", "chromedriver")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Stepper(Page):
    """The tab "Take it apart"."""

    def __init__(self, browser: Any, url: str) -> None:
        super().__init__(browser)
        self.url = url

    def load(self, words: str = "") -> None:
        """Open a link; without words, the tab alone."""
        self.open(self.url, f"apart={words}" if words else "apart")
        wait_until(lambda: self.text("#apart-step") or self.wrong)

    @property
    def wrong(self) -> str:
        return self.text("#apart-wrong:not([hidden])")

    @property
    def steps(self) -> list[str]:
        script = "return [...document.querySelectorAll('#apart-steps li')].map((it) => it.innerText.replace('\\n', ' '))"
        return [str(text).strip() for text in self.browser.execute_script(script)]

    @property
    def address(self) -> list[str]:
        """The parts of the address: protocol, role, bytes, cuts, step."""
        return str(self.browser.current_url).partition("#apart=")[2].split("/")

    def value(self, id: str) -> str:
        return str(self.browser.execute_script("return document.getElementById(arguments[0]).value", id))

    def write(self, id: str, text: str) -> None:
        """Put a text into an editor, as if it was pasted."""
        script = """
            const area = document.getElementById(arguments[0]);
            area.value = arguments[1];
            area.dispatchEvent(new Event("input"));
            area.dispatchEvent(new Event("change"));
        """
        self.browser.execute_script(script, id, text)

    def bytes_of(self, kind: str) -> list[int]:
        script = "return [...document.querySelectorAll(`.byte[data-kind=${arguments[0]}]`)].map((it) => it.at)"
        return list(self.browser.execute_script(script, kind))

    def state(self) -> dict[str, str]:
        script = """
            const rows = [...document.querySelectorAll("#apart-step .figures > div")];
            return Object.fromEntries(rows.map((row) => [row.dataset.name, row.querySelector("dd").textContent]));
        """
        return dict(self.browser.execute_script(script))


@pytest.fixture
def stepper(lab_browser: Any, lab: Laboratory) -> Iterator[Stepper]:
    yield Stepper(lab_browser, lab.urls["http"])
    refused = "400 (Bad Request)"
    messages = [entry["message"] for entry in lab_browser.get_log("browser")]
    assert not [message for message in messages if not message.endswith(refused)]
    lab_browser.get("about:blank")


def test_cuts_by_click(stepper: Stepper) -> None:
    """A click between two bytes cuts there, another one takes the cut away; the steps follow."""
    stepper.load(f"http1-request/server/{GET.hex()}")
    assert stepper.steps == [
        "+ 27 bytes RequestHead", "EndOfMessage", "no event, wants data", "+ the end of input no event, wants closed",
    ]  # fmt: skip
    stepper.click('.gap[data-at="9"]')
    wait_until(lambda: len(stepper.steps) == 5)
    assert stepper.steps[:2] == ["+ 9 bytes no event, wants data", "+ 18 bytes RequestHead"]
    assert stepper.address == ["http1-request", "server", GET.hex(), "9", "1"]
    stepper.click('.gap[data-at="4"]')
    wait_until(lambda: len(stepper.steps) == 6)
    assert stepper.address[3] == "4,9"
    stepper.click('.gap[data-at="9"]')
    wait_until(lambda: stepper.steps[:2] == ["+ 4 bytes no event, wants data", "+ 23 bytes RequestHead"])
    stepper.click("#apart-each")
    wait_until(lambda: len(stepper.steps) == 27 + 3)
    stepper.click("#apart-uncut")
    wait_until(lambda: len(stepper.steps) == 4)


def test_cuts_by_keyboard(stepper: Stepper) -> None:
    """The strip is one stop of the Tab key; arrows go to the places, and Enter cuts."""
    from selenium.webdriver.common.keys import Keys

    stepper.load(f"http1-request/server/{GET.hex()}")
    stops = stepper.browser.find_elements("css selector", '#apart-bytes [tabindex="0"]')
    assert len(stops) == 1
    stops[0].send_keys(Keys.ARROW_RIGHT)
    stepper.browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    stepper.browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait_until(lambda: stepper.address[3] == "3")
    assert stepper.browser.switch_to.active_element.get_attribute("aria-label") == "cut before byte 3"
    stepper.browser.switch_to.active_element.send_keys(Keys.SPACE)
    wait_until(lambda: stepper.address[3] == "")


def test_steps_forward_and_back(stepper: Stepper) -> None:
    """Each step shows its event, its state, and which bytes it parsed, with their fields."""
    stepper.load(f"http1-request/server/{GET.hex()}/9/1")
    assert stepper.bytes_of("held") == list(range(9)) and stepper.bytes_of("later") == list(range(9, 27))
    assert stepper.state() == {
        "wants": "data", "buffered": "9", "request": "IDLE", "response": "IDLE", "keep_alive": "True",
    }  # fmt: skip
    assert "The core waits inside of" in stepper.text("#apart-step")
    stepper.click("#apart-next")
    assert stepper.bytes_of("parsed") == list(range(27)) and stepper.text("#apart-number") == "2 of 5"
    assert stepper.text("#apart-step h3") == "18 bytes arrive; next_event() returns"
    assert stepper.text(".event > code") == "RequestHead" and "[('host', 'a')]" in stepper.text("#apart-step .event")
    assert stepper.state()["request"] == "BODY" and stepper.state()["response"] == "HEAD"
    script = "return [...document.querySelectorAll('#apart-step .field')].map(({dataset}) => [dataset.name, dataset.raw])"
    fields = stepper.browser.execute_script(script)
    assert bytes.fromhex("".join(raw for _, raw in fields)) == GET and ["host", b"Host: a\r\n".hex()] in fields
    assert "RFC 9112 §3.2" in stepper.text("#apart-step")
    stepper.click("#apart-next")
    assert stepper.text(".event > code") == "EndOfMessage"
    assert "HTTP/1.1 404 Not Found\\r\\n" in stepper.text("#apart-step pre")
    stepper.click("#apart-back")
    assert stepper.text(".event > code") == "RequestHead"
    stepper.click("#apart-last")
    assert stepper.text("#apart-number") == "5 of 5" and stepper.state()["wants"] == "closed"
    stepper.click("#apart-next")
    assert stepper.text("#apart-number") == "5 of 5"
    stepper.click("#apart-first")
    assert stepper.text("#apart-number") == "1 of 5"
    stepper.click("#apart-steps li:nth-child(2) button")
    assert stepper.text("#apart-number") == "2 of 5" and stepper.address[4] == "2"


def test_an_error_has_its_sentence(stepper: Stepper) -> None:
    """With the level, the section, and a link to the page of docs/requirements that has it."""
    smuggled = next(each for each in EXCHANGES if each.title == "A smuggled request")
    stepper.load(f"{smuggled.protocol}/{smuggled.role}/{smuggled.data.hex()}//1")
    assert stepper.text("#apart-error") == "RemoteProtocolError both Transfer-Encoding and Content-Length (400)"
    entry = stepper.text(".entries")
    assert entry.startswith("MUST ") and "RFC 9112 §6.1 9112-6.1-te-and-cl" in entry
    assert "HTTP/1.1 400 Bad Request" in stepper.text("#apart-step pre")
    stepper.picture("apart-error")
    target = stepper.browser.find_element("css selector", ".entries a").get_attribute("href")
    assert b"### 9112-6.1-te-and-cl" in urllib.request.urlopen(target.partition("#")[0], timeout=5).read()


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange.title)
def test_a_shared_link_shows_the_same(stepper: Stepper, exchange: Any) -> None:
    """The bytes, the cuts and the step come from the address; the address stays as it is."""
    cuts = ",".join(map(str, exchange.cuts))
    words = f"{exchange.protocol}/{exchange.role}/{exchange.data.hex()}/{cuts}"
    stepper.load(f"{words}/1")
    stepper.click("#apart-last")
    step = len(stepper.steps)
    assert "/".join(stepper.address) == f"{words}/{step}"
    seen = [stepper.text("#apart-step"), stepper.steps, stepper.value("apart-hex"), stepper.value("apart-text")]
    stepper.load(f"{words}/{step}")
    assert [stepper.text("#apart-step"), stepper.steps, stepper.value("apart-hex"), stepper.value("apart-text")] == seen
    assert bytes.fromhex(stepper.value("apart-hex")) == exchange.data
    assert stepper.value("apart-end") == f"{exchange.protocol}/{exchange.role}"
    pressed = stepper.browser.find_elements("css selector", '.gap[aria-pressed="true"]')
    assert [int(gap.get_attribute("data-at")) for gap in pressed] == list(exchange.cuts)


def test_the_link_of_a_counter_example(stepper: Stepper) -> None:
    """What `minproto laws` prints opens here."""
    address = link(STREAMS["resp"].reader("client"), [b"+O", b"K\r\n:0", b"1\r\n"])
    stepper.load(address.removeprefix(f"{LAB}#apart="))
    assert stepper.steps == [
        "+ 2 bytes no event, wants data", "+ 5 bytes Reply", "no event, wants data", "+ 3 bytes error: not a value: b':01'",
    ]  # fmt: skip


def test_hex_and_text_are_kept_in_step(stepper: Stepper) -> None:
    """Each editor changes the other one, and the strip; cuts stay where they were in the bytes that stay."""
    stepper.load(f"http1-request/server/{GET.hex()}/18/1")
    assert stepper.value("apart-text") == "GET / HTTP/1.1\\r\\n\nHost: a\\r\\n\n\\r\\n"
    stepper.write("apart-text", stepper.value("apart-text").replace("/ ", "/hello "))
    longer = GET.replace(b"/ ", b"/hello ")
    wait_until(lambda: stepper.address[2:4] == [longer.hex(), "23"])
    assert bytes.fromhex(stepper.value("apart-hex")) == longer
    stepper.write("apart-hex", "ff 5c 0a c3bc c3")
    assert stepper.value("apart-text") == "\\xff\\\\\\n\nü\\xc3"
    wait_until(lambda: stepper.address[2] == "ff5c0ac3bcc3")
    stepper.write("apart-text", "GET /\n\\r\\n\n\tx")  # a line break that somebody types is one of the protocol's
    wait_until(lambda: stepper.address[2] == b"GET /\r\n\r\n\tx".hex())
    assert stepper.value("apart-text") == "GET /\\r\\n\n\\r\\n\n\\tx"


def test_every_byte_has_a_text(stepper: Stepper) -> None:
    """And the text gives the same bytes again: the editor is left and nothing changes."""
    data = bytes(range(256)) + "ü€😀\u2028\ufeff".encode() + b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80"
    stepper.load(f"websocket/server/{data.hex()}")
    stepper.write("apart-text", stepper.value("apart-text"))
    assert bytes.fromhex(stepper.value("apart-hex")) == data


@pytest.mark.parametrize(
    ("editor", "text", "says"),
    [
        ("apart-hex", "47 4g", "“g” is not a hexadecimal digit."),
        ("apart-hex", "47 4", "a byte has two hexadecimal digits, and the last one has one."),
        ("apart-text", "a\\q", "“\\q” is not an escape: there are \\r, \\n, \\t, \\\\ and \\xNN."),
        ("apart-text", "a\\x4", "“\\x” is not an escape: there are \\r, \\n, \\t, \\\\ and \\xNN."),
        ("apart-text", "a\\", "“\\” is not an escape: there are \\r, \\n, \\t, \\\\ and \\xNN."),
    ],
)
def test_what_is_wrong_in_an_editor(stepper: Stepper, editor: str, text: str, says: str) -> None:
    """One line says it; the steps are still those of the last right bytes."""
    stepper.load(f"http1-request/server/{GET.hex()}")
    stepper.write(editor, text)
    assert stepper.wrong == says and len(stepper.steps) == 4
    stepper.write("apart-text", "GET")
    wait_until(lambda: not stepper.wrong and stepper.address[2] == b"GET".hex())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("resp/server/zz", "The bytes of this link are damaged: “z” is not a hexadecimal digit."),
        ("http3/server/00",
         "no protocol is called 'http3' (there are http1-request, http1-response, websocket, sse, resp, http2)"),
        ("sse/server/00", "sse is read by a client, not by a 'server'"),
        ("resp/server/0d0a/9", "no cut is possible at 9: the 2 bytes can be cut at 1 to 1"),
        ("resp/server/0d0a/x", "cuts is a list of whole numbers"),
        ("resp/server/" + "00" * 65_537, "65,537 bytes are too many: at most 65,536 are taken apart"),
    ],
)  # fmt: skip
def test_a_damaged_link(stepper: Stepper, words: str, says: str) -> None:
    stepper.load(words)
    wait_until(lambda: stepper.wrong.strip() == says)


def test_an_exchange_and_a_wrong_example_are_chosen(stepper: Stepper) -> None:
    from selenium.webdriver.support.select import Select

    def choose(id: str, text: str) -> None:
        Select(stepper.browser.find_element("id", id)).select_by_visible_text(text)

    stepper.load()
    choose("apart-exchange", "A fragmented WebSocket message")
    wait_until(lambda: "+ 22 bytes Ping" in stepper.steps and "Message" in stepper.steps)
    assert stepper.value("apart-end") == "websocket/server" and "between the fragments" in stepper.text("#apart-look")
    stepper.click("#apart-steps li:nth-child(3) button")
    stepper.picture("apart")
    choose("apart-exchange", "6455-5.2-unknown-opcode-fails")
    wait_until(lambda: any("reserved opcode" in step for step in stepper.steps))
    stepper.click("#apart-last")
    assert "RFC 6455 §5.2" in stepper.text(".entries")
    choose("apart-end", "RESP (Redis), read by a server")
    wait_until(lambda: stepper.address[:2] == ["resp", "server"])


def test_a_large_stream(stepper: Stepper) -> None:
    """Some hundred bytes and steps are drawn, whatever the size; the strip follows the step."""
    data = b"*1\r\n$4\r\nPING\r\n" * 4_000
    stepper.load(f"resp/server/{data.hex()}/20/1")
    assert is_shown(stepper, "#apart-more") and stepper.text("#apart-number") == "1 of 2000"
    stepper.click("#apart-last")
    assert min(stepper.bytes_of("parsed")) > 20_000
    assert len(stepper.browser.find_elements("css selector", ".byte")) <= 512
    assert len(stepper.browser.find_elements("css selector", "#apart-steps li")) <= 400


def is_shown(page: Page, selector: str) -> bool:
    return bool(page.browser.find_element("css selector", selector).is_displayed())


def test_the_address_changes_by_hand(stepper: Stepper) -> None:
    """By another link in the same tab, and by a tab and the browser's Back."""
    stepper.load(f"http1-request/server/{GET.hex()}")
    stepper.browser.execute_script("location.hash = 'apart=resp/server/50494e470d0a/2/2'")
    wait_until(lambda: stepper.steps[:2] == ["+ 2 bytes no event, wants data", "+ 4 bytes Command"])
    stepper.click("#tab-wire")
    assert stepper.browser.current_url.endswith("/#wire")
    stepper.browser.back()
    wait_until(lambda: stepper.address == ["resp", "server", "50494e470d0a", "2", "2"])
    assert is_shown(stepper, "#apart")
    stepper.click("#tab-wire")
    stepper.click("#tab-apart")
    assert stepper.address == ["resp", "server", "50494e470d0a", "2", "2"]


def test_every_control_has_a_name(stepper: Stepper) -> None:
    stepper.load()
    controls = ", ".join(f"#apart {name}" for name in ("button", "input", "select", "textarea"))
    for control in stepper.browser.find_elements("css selector", controls):
        assert control.accessible_name or not control.is_displayed(), control.get_attribute("outerHTML")


def test_the_lab_goes_away(lab_browser: Any, lab: Laboratory) -> None:
    """The steps stay; a change is taken apart as soon as the lab is back."""
    ports = tuple(f"{word}" for name in ("", "tls-", "broker-") for word in (f"--{name}port", str(free_port())))
    mortal = Laboratory(lab.cache, ports)
    stepper = Stepper(lab_browser, mortal.urls["http"])
    try:
        stepper.load(f"http1-request/server/{GET.hex()}")
        mortal.kill()
        wait_until(lambda: is_shown(stepper, "#gone"))
        stepper.click("#apart-next")
        assert stepper.text("#apart-number") == "2 of 4"
        stepper.click('.gap[data-at="9"]')
        wait_until(lambda: stepper.wrong == "The lab does not answer.")
        mortal = Laboratory(lab.cache, ports)
        wait_until(lambda: stepper.text("#apart-number") == "2 of 5" and not stepper.wrong, 10)
    finally:
        mortal.kill()
        lab_browser.get("about:blank")
        lab_browser.get_log("browser")  # the browser has logged that the lab was gone
