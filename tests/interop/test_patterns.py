"""The claims of the patterns with more traffic and more examples than tests/test_patterns.py has time for, and ``--live``."""

import os
from contextlib import suppress
from typing import Any

import pattern_claims
import pytest
import scenario
from pattern_claims import CLAIMS, Claim

EXAMPLES = int(os.environ.get("MINPROTO_EXAMPLES", "20")) // 2


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_claim_holds_for_many_loads_and_seeds(claim: Claim) -> None:
    claim.hold(EXAMPLES, seconds=40.0)


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_scenario_runs_on_real_sockets(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its end. The figures of a machine that is busy with other tests mean nothing."""

    def run(**arguments: Any) -> None:
        with suppress(AssertionError):
            claim.check(**arguments)

    monkeypatch.setattr(pattern_claims, "virtual", scenario.live)
    claim._replace(check=run).hold(1, seconds=4.0)
