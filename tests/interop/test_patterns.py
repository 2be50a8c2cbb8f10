"""The claims of the patterns with more traffic and more examples than tests/test_patterns.py has time for, and ``--live``."""

import os
from importlib import import_module

import pytest
from pattern_claims import CLAIMS, Claim, scenario

EXAMPLES = int(os.environ.get("MINPROTO_EXAMPLES", "20")) // 2
PATTERNS = sorted({claim.pattern for claim in CLAIMS})


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.pattern}-{claim.check.__name__}")
def test_a_claim_holds_for_many_loads_and_seeds(claim: Claim) -> None:
    claim.hold(EXAMPLES, seconds=40.0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_runs_on_real_sockets(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that is so fast that the figures mean nothing. The table has the same rows."""
    monkeypatch.setattr(scenario, "SPEED", 1000)
    measure = import_module(pattern).measure
    virtual, live = ([line[:20] for line in measure(run).splitlines()] for run in (scenario.virtual, scenario.live))
    assert virtual == live
