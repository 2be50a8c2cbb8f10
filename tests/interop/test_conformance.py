"""The list of malformed requests that docs/conformance.md tells of: who takes them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_minproto_refuses_all() -> None:
    """Whichever peers are installed, and whatever they do."""
    words = [sys.executable, "-m", "benchmarks.conformance"]
    output = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100, check=True).stdout
    rows = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines() if " RFC 9" in line]
    assert len(rows) == 23 and all(row[2] == "400" for row in rows), output
    assert sum(row[1].startswith("MUST,") for row in rows) == 8
