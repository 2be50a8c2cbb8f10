"""``benchmarks.ablation`` measures what it says: each job does the same without its short cuts."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
JOBS = ["http1", "websocket", "http2", "resp", "broker", "shell"]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_without_all_short_cuts_does_the_same(job: str) -> None:
    digests = set()
    for name in "", "all of them":
        command = [sys.executable, "-m", "benchmarks.ablation", "--child", job, name, "9", "1"]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.split()[0])
    assert len(digests) == 1


def test_each_core_with_a_fast_twin_has_a_job() -> None:
    fast = {path.stem for path in (ROOT / "src" / "minproto" / "fast").glob("*.py")} - {"__init__"}
    assert fast == set(JOBS) - {"shell"}
