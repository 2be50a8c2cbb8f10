"""What the patterns of ``examples/patterns/`` claim: properties over load, failure rate and the seed of the traffic.

A claim is a function that runs a scenario with the drawn arguments and asserts what the pattern changes:

    @claim("circuit_breaker", HELPS, workers=st.integers(2, 4), load=st.floats(1.5, 3))
    def pages_are_served(workers, load, seed, seconds): ...

Each pattern has a claim of where it helps and one of where it harms. ``seed`` and ``seconds`` are given to each claim: traffic
of ``seconds`` is short in tests/test_patterns.py, which draws one example, and long in tests/interop/test_patterns.py, which
draws ten.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import balancing
import bulkhead
import cache_aside
import circuit_breaker
import health_checks
import http_caching
import rate_limits
import retry
import sessions
import shared_limit
from cache_aside import Way
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenario import Figures, arrivals, virtual

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

    It opens after five timeouts, of which ``workers`` run at once. Then one call tries after each pause of 2 s.
    """
    payments = load * workers / timeout
    opened = 5 / payments + timeout * (math.ceil(5 / workers) + 1)
    how = {"payments": payments, "workers": workers, "deadline": timeout, "seed": seed}
    without, with_ = (
        virtual(circuit_breaker.shop(breaker, hangs=(0, math.inf), seconds=opened + seconds, **how))
        for breaker in (circuit_breaker.Breaker(math.inf), circuit_breaker.Breaker(5, pause=2.0))
    )
    pages, saved = (each.pages.between(opened, math.inf) for each in (without, with_))
    assert pages.served <= 0.5 and saved.served == 1
    tries = [at for at in with_.asked if at >= opened]
    assert len(tries) <= seconds / (2.0 + timeout) + 2 < len(without.asked) / 2


@claim("circuit_breaker", HELPS, failures=st.integers(1, 5), callers=st.integers(2, 20))
def one_call_tries_after_the_pause(failures: int, callers: int, seed: int, seconds: float) -> None:
    """Its failure opens the breaker again, its success closes it. A call that is cancelled has failed."""
    asked = 0

    async def ask(status: int) -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(1.0)
        return status

    async def scenario() -> None:
        breaker = circuit_breaker.Breaker(failures)
        for _ in range(failures):
            assert await breaker.call(lambda: ask(500)) == 500
        await asyncio.sleep(9.0)
        assert await breaker.call(lambda: ask(200)) == 503
        await asyncio.sleep(1.0)
        await asyncio.gather(*(breaker.call(lambda: ask(500)) for _ in range(callers)))
        assert asked == failures + 1
        await asyncio.sleep(10.0)
        cancelled = asyncio.create_task(breaker.call(lambda: ask(200)))
        await asyncio.sleep(0.5)
        cancelled.cancel()
        await asyncio.sleep(10.0)
        assert [await breaker.call(lambda: ask(200)) for _ in range(2)] == [200, 200]

    virtual(scenario())


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


# ---- retry -------------------------------------------------------------------------------------------------------------


def after(policy: str, times: list[float], **how: Any) -> retry.Outcome:
    return virtual(retry.service(retry.POLICIES[policy](), times, **how))


@claim("retry", HELPS, failing=st.floats(0.05, 0.3))
def failures_by_chance_are_hidden(failing: float, seed: int, seconds: float) -> None:
    """For the price of ``failing`` more requests, or somewhat more."""
    times = arrivals(4.0, seconds, seed)
    without, with_ = (after(name, times, failing=failing, capacity=100.0, seed=seed) for name in ("no retry", "with jitter"))
    assert with_.users.served >= max(without.users.served, 1 - failing / 2)
    assert with_.requests <= 1 / (1 - failing) + 0.3


@claim("retry", HELPS, clients=st.integers(30, 40), line=st.integers(4, 6))
def jitter_serves_clients_that_failed_together(clients: int, line: int, seed: int, seconds: float) -> None:
    together, apart = (after(name, [0.0] * clients, line=line).users.served for name in ("back-off", "with jitter"))
    assert apart >= together + 0.15


@claim("retry", HARMS, load=st.floats(0.4, 0.55), policy=st.sampled_from(["at once", "back-off", "with jitter"]))
def a_pause_becomes_a_storm(load: float, policy: str, seed: int, seconds: float) -> None:
    """Without repeats the server recovers. With four attempts it never does, whatever the client waits between them."""
    times = arrivals(2 * load, 40 + seconds, seed)
    without, storm = (
        after(name, times, capacity=2.0, pause=12.0).users.between(40, math.inf).served for name in ("no retry", policy)
    )
    assert storm <= 0.2 and without >= 0.8


@claim("retry", HELPS, load=st.floats(0.3, 0.4))
def a_budget_ends_the_storm(load: float, seed: int, seconds: float) -> None:
    times = arrivals(2 * load, 40 + seconds, seed)
    budget = after("with a budget", times, capacity=2.0, pause=12.0)
    assert budget.users.between(40, math.inf).served >= 0.8
    assert budget.requests <= 1.1 + 10 / len(times) + 0.001  # the bucket was full: ten tokens


# ---- bulkhead and load shedding ----------------------------------------------------------------------------------------


@claim("bulkhead", HELPS, load=st.floats(2, 3))
def pages_are_served_beside_a_flood_of_searches(load: float, seed: int, seconds: float) -> None:
    """``load`` times the searches that four workers can do: alone, a bulkhead saves the pages, and shedding the searches."""
    times = arrivals(4 * load, 4 + seconds, seed), arrivals(3.0, 4 + seconds, seed + 1)
    without, both = (virtual(bulkhead.shop(variant, *times, workers=4)) for variant in ("without", "both"))
    assert without.pages.between(4, math.inf).served <= 0.5 and both.pages.served >= 0.85
    assert without.searches.between(4, math.inf).served <= 0.2
    assert len(both.searches.good) >= 3 * seconds


@claim("bulkhead", HARMS, workers=st.integers(4, 8), share=st.floats(0.8, 0.95))
def a_burst_is_refused_that_was_no_overload(workers: int, share: float, seed: int, seconds: float) -> None:
    """A burst that all workers together do within the users' patience of 4 s."""
    burst = [0.0] * int(share * 3 * workers)
    without, *others = (virtual(bulkhead.shop(variant, burst, [], workers=workers)).searches for variant in bulkhead.VARIANTS)
    walls, sheds, both = (figures.served for figures in others)
    assert without.served == 1 > sheds > both and walls <= 1


@claim("bulkhead", HARMS, load=st.floats(0.85, 0.95))
def workers_kept_apart_cannot_be_lent(load: float, seed: int, seconds: float) -> None:
    searches = arrivals(4 * load, 3 * seconds, seed)
    shed, both = (virtual(bulkhead.shop(variant, searches, [], workers=4)).searches for variant in ("shedding", "both"))
    assert both.served < shed.served - 0.02


# ---- cache-aside -------------------------------------------------------------------------------------------------------


@claim("cache_aside", HELPS, rate=st.floats(8, 12), query=st.floats(0.4, 0.6))
def one_asks_for_all(rate: float, query: float, seed: int, seconds: float) -> None:
    """A stampede has about rate x query queries each time that the value expires; with protection it has one."""
    how = {"rate": rate, "query": query, "keep": 3.0, "seconds": seconds, "seed": seed}
    stampede, one = (virtual(cache_aside.shop(way, **how)) for way in (Way.CACHE, Way.ONE_ASKS))
    assert one.queries <= seconds / 3 + 1
    assert stampede.queries >= rate * query / 2 * one.queries
    assert one.users.served == 1 and one.users.percentile(99) <= query + 0.01


@claim("cache_aside", HARMS, keep=st.floats(2, 4), way=st.sampled_from([Way.CACHE, Way.ONE_ASKS]))
def answers_are_stale(keep: float, way: Way, seed: int, seconds: float) -> None:
    """The longer a value is kept, the more answers are out of date. Without a cache none is."""
    how = {"rate": 5.0, "query": 0.1, "keep": keep, "changes": 5.0, "seconds": 2 * seconds, "seed": seed}
    fresh, cached = (virtual(cache_aside.shop(each, **how)) for each in (Way.NO_CACHE, way))
    assert fresh.stale <= 0.05 < cached.stale <= (keep + 0.2) / 5 + 0.1


@claim("cache_aside", HARMS, way=st.sampled_from([Way.CACHE, Way.ONE_ASKS, Way.STALE]))
def a_cache_without_hits_only_adds_its_own_time(way: Way, seed: int, seconds: float) -> None:
    how = {"rate": 2.0, "keys": 10**9, "query": 0.1, "seconds": seconds, "seed": seed}
    without, with_ = (virtual(cache_aside.shop(each, **how)) for each in (Way.NO_CACHE, way))
    assert with_.queries == without.queries
    assert with_.users.percentile(50) > without.users.percentile(50)


# ---- load balancing ----------------------------------------------------------------------------------------------------


def by(policy: str, **how: Any) -> Figures:
    return virtual(balancing.balanced(balancing.POLICIES[policy](), **how))


@claim("balancing", HELPS, load=st.floats(0.65, 0.75), ratio=st.floats(4, 5))
def queues_are_seen_where_servers_differ(load: float, ratio: float, seed: int, seconds: float) -> None:
    """``load``: of all servers together. A third of it is too much for a server that has less than a third of the power."""
    capacities = (2 * ratio, 2.0, 2.0)
    how = {"capacities": capacities, "rate": load * (4 + 2 * ratio), "seconds": 1.7 * seconds, "seed": seed}
    turns, *others = (by(name, **how) for name in ("round robin", "least connections", "response time"))
    for seen in others:
        assert seen.served >= 0.98
        assert turns.served < 0.9 or turns.percentile(90) > 1.4 * seen.percentile(90)


@claim("balancing", HELPS, servers=st.integers(5, 15))
def a_ring_moves_few_users(servers: int, seed: int, seconds: float) -> None:
    modulo, ring = balancing.moved(servers, 300)
    assert ring <= 2.5 / servers and modulo >= 1 - 2.5 / servers


@claim("balancing", HARMS, capacity=st.floats(7, 9))
def a_server_that_fails_at_once_attracts_requests(capacity: float, seed: int, seconds: float) -> None:
    how = {"capacities": (capacity,) * 3, "rate": 1.8 * capacity, "failing": 2, "seconds": seconds, "seed": seed}
    turns, *others = (by(name, **how).served for name in ("round robin", "least connections", "response time"))
    assert max(others) < turns - 0.05


@claim("balancing", HARMS, capacity=st.floats(7, 9))
def weights_that_are_out_of_date_overload_a_server(capacity: float, seed: int, seconds: float) -> None:
    how = {"capacities": (capacity,) * 3, "rate": 2 * capacity, "seconds": seconds, "seed": seed}
    turns, told = (by(name, **how).percentile(90) for name in ("round robin", "weighted"))
    assert told > 1.5 * turns


# ---- health checks -----------------------------------------------------------------------------------------------------


def farm(way: str, **how: Any) -> Figures:
    return virtual(health_checks.farm(way, **how))


@claim("health_checks", HELPS, rate=st.floats(4, 6), way=st.sampled_from(["active", "passive", "both"]))
def a_server_that_hangs_gets_few_users(rate: float, way: str, seed: int, seconds: float) -> None:
    """Once the check has noticed, which takes at most 9 s: three users of this server, each waiting for 2 s."""
    how = {"fault": "hangs", "rate": rate, "start": 0.0, "lasts": 9 + seconds, "seconds": 9 + seconds, "seed": seed}
    without, with_ = (farm(each, **how).between(9, math.inf).served for each in ("without", way))
    assert without <= 0.8 and with_ >= without + 0.1


@claim("health_checks", NEUTRAL, rate=st.floats(4, 6))
def active_checks_see_only_what_health_knows(rate: float, seed: int, seconds: float) -> None:
    how = {"fault": "no database", "rate": rate, "start": 0.0, "lasts": seconds, "seconds": seconds, "seed": seed}
    without, active = ([visit.status for visit in farm(way, **how).visits] for way in ("without", "active"))
    assert without == active


@claim("health_checks", HELPS, rate=st.floats(3, 4))
def passive_checks_see_what_users_see(rate: float, seed: int, seconds: float) -> None:
    how = {"fault": "no database", "rate": rate, "start": 0.0, "lasts": 3 * seconds, "seconds": 3 * seconds, "seed": seed}
    without, with_ = (farm(way, **how).served for way in ("without", "passive"))
    assert with_ >= without + 0.1


@claim("health_checks", HARMS, load=st.floats(1.1, 1.15), way=st.sampled_from(["active", "both"]))
def servers_that_are_only_busy_are_taken_out(load: float, way: str, seed: int, seconds: float) -> None:
    how = {"rate": 6 * load, "capacity": 2.0, "seconds": 3 * seconds, "seed": seed}
    without, with_ = (farm(each, **how).served for each in ("without", way))
    assert with_ <= 0.9 * without


# ---- sessions ----------------------------------------------------------------------------------------------------------


def site(way: str, **how: Any) -> sessions.Outcome:
    return virtual(sessions.site(way, **how))


@claim("sessions", HELPS, rate=st.floats(8, 10))
def each_session_is_found(rate: float, seed: int, seconds: float) -> None:
    """Sticky sessions are lost when their server restarts; shared ones are not."""
    assert site("own memory", rate=rate, seed=seed, seconds=seconds).logins >= 3
    sticky, shared = (
        site(way, rate=rate, seed=seed, seconds=1.5 * seconds, restart=seconds).logins for way in ("sticky", "shared")
    )
    assert 0 < sticky <= 30 and shared == 0


@claim("sessions", HARMS, rate=st.floats(10, 15))
def a_shared_store_fails_for_all(rate: float, seed: int, seconds: float) -> None:
    how = {"away": (seconds / 2, math.inf), "rate": rate, "seed": seed, "seconds": seconds}
    sticky, shared = (site(way, **how).requests.between(seconds / 2, seconds).served for way in ("sticky", "shared"))
    assert sticky == 1 and shared == 0


@claim("sessions", HARMS, heavy=st.floats(0.85, 0.95))
def a_heavy_user_overloads_a_sticky_server(heavy: float, seed: int, seconds: float) -> None:
    how = {"heavy": heavy, "rate": 15.0, "seed": seed, "seconds": seconds}
    own, sticky = (site(way, **how).requests.percentile(75) for way in ("own memory", "sticky"))
    assert sticky > 2 * own


# ---- rate limits -------------------------------------------------------------------------------------------------------


def limited(name: str, users: dict[str, list[float]], **how: Any) -> rate_limits.Outcome:
    return virtual(rate_limits.site(rate_limits.LIMITS[name](), users, **how))


LIMITED = st.sampled_from([name for name in rate_limits.LIMITS if name != "no limit"])


@claim("rate_limits", HELPS, name=LIMITED, greed=st.floats(2.5, 4))
def users_are_protected_from_a_greedy_one(name: str, greed: float, seed: int, seconds: float) -> None:
    """One user asks for ``greed`` times what the server can do, and four others ask now and then."""
    users = {f"user{number}": arrivals(0.4, 4 + seconds, seed + number) for number in range(4)}
    users["program"] = arrivals(4 * greed, 4 + seconds, seed + 4)
    without, with_ = (limited(each, users, capacity=4.0, patience=3.0) for each in ("no limit", name))
    late = [
        Figures([visit for user in list(users)[:-1] for visit in outcome.users[user].between(4, math.inf).visits])
        for outcome in (without, with_)
    ]
    assert late[0].served <= 0.5 and late[1].served >= 0.85


@claim("rate_limits", NEUTRAL, rate=st.floats(4, 8))
def each_limit_has_its_bound(rate: float, seed: int, seconds: float) -> None:
    """In any ten seconds: the sliding window and the leaky bucket hold the limit, the others at most double it.

    After any silence a burst gets through up to the limit: a bucket does not overflow.
    """
    users = {"a": arrivals(rate, 14 + seconds, seed), "b": [0.0, *[14 + seconds] * 30]}
    outcomes = {name: limited(name, users, capacity=100.0, patience=20.0) for name in rate_limits.LIMITS}
    most = {name: outcome.most("a") for name, outcome in outcomes.items()}
    assert [outcome.most("b", 0.1) for outcome in outcomes.values()] == [30, 10, 10, 10, 1]
    assert most["sliding window"] == most["leaky bucket"] == 10
    assert 10 <= most["fixed window"] <= 20 and 15 <= most["token bucket"] <= 20 < most["no limit"]


@claim("rate_limits", HARMS, parts=st.integers(4, 10))
def a_leaky_bucket_makes_a_page_wait(parts: int, seed: int, seconds: float) -> None:
    tokens, leaky = (
        limited(name, {"a": [1.0] * parts}).users["a"].percentile(100) for name in ("token bucket", "leaky bucket")
    )
    assert tokens <= parts / 12 + 0.01 and leaky >= parts - 1


@claim("rate_limits", HARMS, name=LIMITED, rate=st.floats(4, 6))
def users_behind_one_address_are_refused(name: str, rate: float, seed: int, seconds: float) -> None:
    users = {"address": arrivals(rate, 3 * seconds, seed)}
    without, with_ = (limited(each, users).users["address"].served for each in ("no limit", name))
    assert with_ <= 0.6 < without


@claim("shared_limit", HELPS, requests=st.integers(24, 50), gap=st.floats(0.0005, 0.002), delay=st.floats(0.001, 0.005))
def two_servers_hold_one_limit(requests: int, gap: float, delay: float, seed: int, seconds: float) -> None:
    """INCR holds it exactly. GET and SET let more through, since both servers read before one of them writes."""
    times = [1.0 + gap * number for number in range(requests)]
    alone, two_steps, one_step = (len(virtual(shared_limit.site(way, times, delay=delay)).good) for way in shared_limit.WAYS)
    assert alone == 20 and one_step == 10 < two_steps


@claim("shared_limit", HARMS, requests=st.integers(20, 50), delay=st.floats(0.001, 0.01))
def each_request_waits_for_redis(requests: int, delay: float, seed: int, seconds: float) -> None:
    """And while it is away, there is no limit: a server that counts alone still has one."""
    few = [float(number) for number in range(5)]
    alone, shared = (virtual(shared_limit.site(way, few, delay=delay)).percentile(50) for way in ("each alone", "INCR"))
    assert shared >= alone + 2 * delay - 1e-6
    alone, shared = (
        len(virtual(shared_limit.site(way, [1.0] * requests, away=True)).good) for way in ("each alone", "INCR")
    )
    assert alone == 20 and shared == requests


# ---- HTTP caching ------------------------------------------------------------------------------------------------------


def page(way: str, **how: Any) -> http_caching.Outcome:
    return virtual(http_caching.site(way, **how))


@claim("http_caching", HELPS, size=st.integers(5_000, 50_000))
def unchanged_pages_cost_no_content(size: int, seed: int, seconds: float) -> None:
    """Ten clients. ETag saves bytes and no request, max-age both, while nothing changes."""
    how = {"size": size, "changes": 1e9, "rate": 12.0, "seconds": seconds, "seed": seed}
    nothing, etag, age = (page(way, **how) for way in ("nothing", "ETag", "max-age"))
    assert etag.requests == nothing.requests >= 2 * age.requests
    assert max(etag.bytes, age.bytes) <= nothing.bytes / 2


@claim("http_caching", HARMS, changes=st.floats(0.5, 2))
def an_answer_that_is_fresh_may_be_wrong(changes: float, seed: int, seconds: float) -> None:
    how = {"changes": changes, "rate": 10.0, "seconds": seconds, "seed": seed}
    nothing, age = (page(way, **how).stale for way in ("nothing", "max-age"))
    assert nothing <= 0.1 and age >= nothing + 0.2


@claim("http_caching", HARMS, size=st.integers(50, 500))
def a_tag_that_never_matches_adds_bytes(size: int, seed: int, seconds: float) -> None:
    how = {"size": size, "changes": 0.01, "rate": 10.0, "seconds": seconds, "seed": seed}
    nothing, etag = (page(way, **how) for way in ("nothing", "ETag"))
    assert etag.requests == nothing.requests and etag.bytes > nothing.bytes
