"""The claims of the patterns with more traffic and more examples than tests/test_patterns.py has time for, and ``--live``."""

import shutil
from contextlib import suppress
from typing import Any

import pattern_claims
import pattern_claims_2
import pytest
import scenario
import shared_limit
from pattern_claims import CLAIMS, Claim


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_claim_holds_for_many_loads_and_seeds(claim: Claim) -> None:
    claim.hold(examples=10, seconds=40.0)


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_scenario_runs_on_real_sockets(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its end. The figures of a machine that is busy with other tests mean nothing."""
    if claim.pattern == "shared_limit" and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")

    def run(**arguments: Any) -> None:
        with suppress(AssertionError):
            claim.check(**arguments)

    for claims in (pattern_claims, pattern_claims_2):
        monkeypatch.setattr(claims, "virtual", scenario.live)
    claim._replace(check=run).hold(1, seconds=4.0)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_two_servers_hold_one_limit_in_a_redis_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time, so that all requests come within the ten seconds of one window."""
    monkeypatch.setattr(scenario, "SPEED", 1)
    alone, shared = (len(scenario.live(shared_limit.site(way, [0.0] * 40)).good) for way in ("each alone", "INCR"))
    assert (alone, shared) == (20, 10)
