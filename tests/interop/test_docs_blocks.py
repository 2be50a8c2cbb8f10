"""The console blocks of the documentation show what the commands really print. ``python docs/blocks.py`` writes them."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import blocks  # noqa: E402

RUNS = [page for page in blocks.pages() if "<!-- run" in page.read_text()]


@pytest.mark.parametrize("page", RUNS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_console_block_shows_what_the_command_prints(page: Path) -> None:
    assert not blocks.complaints(page, ("run",))
