"""What the patterns of ``examples/patterns/`` claim: properties over load, failure rate and the seed of the traffic.

A claim is a function that runs a scenario with the drawn arguments and asserts what the pattern changes:

    @claim("circuit_breaker", HELPS, workers=st.integers(2, 4), load=st.floats(1.5, 3))
    def pages_are_served(workers, load, seed, seconds): ...

Each pattern has a claim of where it helps and one of where it harms. ``seed`` and ``seconds`` are given to each claim: traffic
of ``seconds`` is short in tests/test_patterns.py, which draws two examples, and long in tests/interop/test_patterns.py, which
draws many.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import circuit_breaker
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenario import virtual

HELPS, HARMS, NEUTRAL = "helps", "harms", "changes nothing"


class Claim(NamedTuple):
    pattern: str
    kind: str
    check: Callable[..., None]
    ranges: dict[str, st.SearchStrategy[Any]]

    def __str__(self) -> str:
        return f"{self.pattern}-{self.check.__name__}"

    def hold(self, examples: int, seconds: float) -> None:
        """Check the claim with this many examples, the same ones each time, and about this much traffic in each."""
        ranges = {**self.ranges, "seed": st.integers(0, 10_000), "seconds": st.just(seconds)}
        few = settings(
            max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        few(given(**ranges)(self.check))()


CLAIMS: list[Claim] = []


def claim(pattern: str, kind: str, **ranges: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def register(check: Callable[..., None]) -> Callable[..., None]:
        CLAIMS.append(Claim(pattern, kind, check, ranges))
        return check

    return register


# ---- circuit breaker ---------------------------------------------------------------------------------------------------


@claim("circuit_breaker", HELPS, workers=st.integers(2, 4), timeout=st.floats(2, 4), load=st.floats(1.5, 3))
def pages_are_served_while_payments_hang(workers: int, timeout: float, load: float, seed: int, seconds: float) -> None:
    """Without a breaker, timeouts that hold ``load`` times the workers stop most pages; with it, none once it has opened.

    It opens after five timeouts, of which ``workers`` run at once.
    """
    payments = load * workers / timeout
    opened = 5 / payments + timeout * (math.ceil(5 / workers) + 1)
    how = {"payments": payments, "workers": workers, "deadline": timeout, "seed": seed}
    without, with_ = (
        virtual(circuit_breaker.shop(circuit_breaker.Breaker(failures), hangs=(0, math.inf), seconds=opened + seconds, **how))
        for failures in (math.inf, 5)
    )
    pages, saved = (each.pages.between(opened, math.inf) for each in (without, with_))
    assert pages.served <= 0.5 and saved.served == 1
    assert len(with_.asked) <= 5 + workers + seconds / 10 + 2 < len(without.asked)


@claim("circuit_breaker", NEUTRAL, load=st.floats(0.1, 0.4))
def few_timeouts_do_no_harm(load: float, seed: int, seconds: float) -> None:
    """Where the timeouts hold fewer workers than there are, the pages need no breaker."""
    how = {"payments": load * 8 / 5, "hangs": (0, math.inf), "seed": seed, "seconds": seconds}
    assert virtual(circuit_breaker.shop(circuit_breaker.Breaker(math.inf), **how)).pages.served >= 0.9


@claim("circuit_breaker", HARMS, failing=st.floats(0.6, 0.8))
def failures_by_chance_are_multiplied(failing: float, seed: int, seconds: float) -> None:
    """A breaker takes failures by chance for an outage, and turns away payments that would have succeeded."""
    how = {"payments": 4.0, "pages": 0.01, "failing": failing, "seed": seed, "seconds": 3 * seconds}
    without, with_ = (
        virtual(circuit_breaker.shop(circuit_breaker.Breaker(failures), **how)).payments.served for failures in (math.inf, 5)
    )
    assert with_ < 0.9 * without
