"""The patterns of ``examples/patterns/``: each is short, is drawn, has its row in the tables, and does what it claims."""

import ast
import re
from pathlib import Path

import pattern_claims_2  # noqa: F401 - its claims join the others
import pytest
from pattern_claims import CLAIMS, Claim
from test_rules import counter

ROOT = Path(__file__).parents[1]
SHARED = ("scenario", "store", "hub")
FILES = [path for path in sorted((ROOT / "examples" / "patterns").glob("*.py")) if path.stem not in SHARED]
PAGE = (ROOT / "docs" / "patterns.md").read_text()
README = (ROOT / "examples" / "README.md").read_text()


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_pattern_does_what_it_claims(claim: Claim) -> None:
    """At the lower edge of its ranges. tests/interop/test_patterns.py draws more examples, each with more traffic."""
    claim.hold(examples=1, seconds=6.0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_pattern_is_short_and_drawn_and_claims_where_it_helps_and_harms(path: Path) -> None:
    text = path.read_text()
    words = ast.get_docstring(ast.parse(text)) or ""
    assert "The problem:" in words and re.search("(?m)^    .*-->", words)
    assert counter().code_lines(text) <= 100
    assert {"helps", "harms"} <= {claim.kind for claim in CLAIMS if claim.pattern == path.stem}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_tables_show_what_a_pattern_prints(path: Path) -> None:
    """A row gives figures without and with the pattern, in backticks. tests/interop/test_docs_blocks.py runs the program."""
    command = f"<!-- run: python examples/patterns/{path.name} -->\n"
    printed = PAGE.partition(command)[2].partition("\n```\n")[0]
    assert printed
    for page, link in (PAGE, f"](#{path.stem.replace('_', '-')})"), (README, f"](patterns/{path.name})"):
        (row,) = [line for line in page.splitlines() if line.startswith("|") and link in line]
        cells = row.split("|")[1:-1]
        figures = re.findall("`([^`]+)`", "".join(cells[2:]))
        assert len(cells) == 5 and len(figures) >= 4
        assert not [figure for figure in figures if figure not in printed]
