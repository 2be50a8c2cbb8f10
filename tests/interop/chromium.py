"""Headless Chromium, driven by selenium."""

import base64
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""


@contextmanager
def browsing(profile: Path, chain: str | Path) -> Iterator[Any]:
    """A browser that trusts the key of the certificate in this file, and no other that it does not know."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    trust = f"--ignore-certificate-errors-spki-list={_pin(chain)}"
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}", trust]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(15)
        driver.set_script_timeout(15)
        yield driver
    finally:
        driver.quit()


def _pin(chain: str | Path) -> str:
    """The hash of a certificate's public key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_pem_x509_certificate

    key = load_pem_x509_certificate(Path(chain).read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return base64.b64encode(digest).decode()


def run(browser: Any, script: str) -> Any:
    """The value of an async function's body in the page. Raises AssertionError where the script fails."""
    value, error = browser.execute_async_script(
        "const done = arguments[0];"
        f"(async () => {{ {script} }})().then(value => done([value, null]), error => done([null, String(error)]))"
    )
    assert error is None, error
    return value
