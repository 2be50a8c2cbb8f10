"""The lab's page in headless Chromium, by what its user sees and does."""

from pathlib import Path
from typing import Any

from .serving import wait_until

PICTURES = Path(__file__).parents[2] / "screenshots"


class Page:
    """One window with the page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, url: str, tab: str = "") -> None:
        self.browser.get("about:blank")  # so that an address that differs behind the # is loaded, too
        self.browser.get(f"{url}/#{tab}")
        wait_until(lambda: self.text("#places dl"))  # the page asks for the lab's ports first; then its controls work

    def click(self, selector: str) -> None:
        element = self.browser.find_element("css selector", selector)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)  # not just to the edge
        element.click()

    def text(self, selector: str) -> str:
        return str(self.browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def figure(self, column: str, name: str) -> str:
        return self.text(f"[data-column={column}] [data-figure={name}]")

    def number(self, column: str, name: str) -> int:
        return int(self.figure(column, name).replace(",", ""))

    def story(self, column: str) -> str:
        return self.text(f"[data-column={column}] .story")

    def picture(self, name: str) -> None:
        """Of the whole page: light and dark, wide and phone-wide."""
        PICTURES.mkdir(exist_ok=True)
        for width, kind in ((1280, "wide"), (390, "phone")):
            for scheme in ("light", "dark"):
                self._set("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                for height in (lambda: 800, lambda: self.browser.execute_script("return document.body.scrollHeight + 24")):
                    size = {"width": width, "height": int(height()), "deviceScaleFactor": 1, "mobile": False}
                    self._set("Emulation.setDeviceMetricsOverride", **size)
                assert not self.browser.execute_script("return document.documentElement.scrollWidth > innerWidth"), kind
                self.browser.save_screenshot(str(PICTURES / f"{name}-{kind}-{scheme}.png"))
        self._set("Emulation.clearDeviceMetricsOverride")
        self._set("Emulation.setEmulatedMedia", features=[])

    def _set(self, command: str, **parameters: Any) -> None:
        self.browser.execute_cdp_cmd(command, parameters)
