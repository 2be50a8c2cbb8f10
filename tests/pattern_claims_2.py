"""The claims of the patterns that pass messages on, divide an application, or compare protocols: see ``pattern_claims``."""

from collections.abc import Callable
from statistics import median
from typing import Any

import cqrs
import http_versions
import outbox
import pubsub
import push_or_poll
import pytest
import saga
import strangler_fig
import worker_queue
from hypothesis import strategies as st
from pattern_claims import HARMS, HELPS, claim
from scenario import arrivals, by_chance, once, virtual

# ---- polling and push --------------------------------------------------------------------------------------------------


@claim("push_or_poll", HELPS, rate=st.floats(0.06, 0.12), pause=st.floats(2, 3))
def a_stream_is_prompt_and_cheap_on_a_quiet_feed(rate: float, pause: float, seed: int, seconds: float) -> None:
    how = {"rate": rate, "pause": pause, "seconds": 60 + 2 * seconds, "seed": seed}
    polling, *others = (virtual(push_or_poll.feed(way, **how)) for way in push_or_poll.WAYS)
    assert polling.missed == 0 and polling.delay > pause / 10
    for way in others:
        assert way.missed == 0 and way.delay < 0.02 and way.bytes < polling.bytes and way.requests < polling.requests


@claim("push_or_poll", HARMS, rate=st.floats(8, 12))
def long_polling_asks_for_each_message_of_a_busy_feed(rate: float, seed: int, seconds: float) -> None:
    how = {"rate": rate, "seconds": seconds, "seed": seed}
    polling, long, stream, _ = (virtual(push_or_poll.feed(way, **how)) for way in push_or_poll.WAYS)
    assert long.requests > 10 * polling.requests and long.bytes > 2 * max(stream.bytes, polling.bytes)


@claim("push_or_poll", HARMS, rate=st.floats(4, 8), breaks=st.floats(2, 4))
def a_websocket_misses_what_comes_while_it_is_broken(rate: float, breaks: float, seed: int, seconds: float) -> None:
    how = {"rate": rate, "breaks": breaks, "seconds": 2 * seconds, "seed": seed}
    *others, websocket = (virtual(push_or_poll.feed(way, **how)).missed for way in push_or_poll.WAYS)
    assert others == [0, 0, 0] and websocket >= 3


# ---- versions of HTTP --------------------------------------------------------------------------------------------------


def page(way: str, **how: float) -> float:
    return median(virtual(http_versions.load(f"HTTP/{way}", **how)).pages)


@claim("http_versions", HELPS, slow=st.floats(0.5, 1.0))
def streams_need_no_turns(slow: float, seed: int, seconds: float) -> None:
    """A slow answer delays all that follow it on a connection of HTTP/1.1, and no other stream of HTTP/2."""
    old, turns, six, streams = (page(way, pages=1, seed=seed) for way in ("1.0 x 6", "1.1 x 1", "1.1 x 6", "2 x 1"))
    assert streams < six < old < turns
    assert page("1.1 x 1", pages=1, slow=slow) >= turns + 0.95 * slow and page("2 x 1", pages=1, slow=slow) <= streams + 0.1


@claim("http_versions", HARMS, loss=st.floats(0.05, 0.1))
def one_lost_segment_stops_all_streams(loss: float, seed: int, seconds: float) -> None:
    six, streams = (page(way, loss=loss, pages=2 + int(seconds / 6), seed=seed) for way in ("1.1 x 6", "2 x 1"))
    assert streams > 1.1 * six


# ---- worker queue ------------------------------------------------------------------------------------------------------


def jobs(way: str, times: list[float], crash: Callable[[str], None], **how: Any) -> worker_queue.Outcome:
    return virtual(worker_queue.queue(worker_queue.WAYS[way], times, crash, **how))


@claim("worker_queue", HELPS)
def a_crash_at_any_step_loses_no_job(seed: int, seconds: float) -> None:
    """A job that is handed out is lost if its worker dies before the work. A crash after the work makes it run twice."""
    for step, lost in ("work 1", 1), ("acknowledge 1", 0):
        out, back = (jobs(way, [0.1, 0.2, 0.3], once(step), tail=12) for way in ("handed out", "acknowledged"))
        assert (out.lost, out.twice) == (lost, 0) and (back.lost, back.twice) == (0, 1 - lost)
        assert back.crashes == 1 and (back.slowest > 5) == (step == "work 1")


@claim("worker_queue", HELPS, share=st.floats(0.1, 0.2))
def crashes_by_chance_lose_no_job(share: float, seed: int, seconds: float) -> None:
    times = arrivals(1.0, 4 + seconds, seed)
    out, back = (jobs(way, times, by_chance(share, seed + 2), tail=30) for way in ("handed out", "acknowledged"))
    assert out.lost > 0 == back.lost and back.slowest > out.slowest


@claim("worker_queue", HARMS, slow=st.floats(5.5, 9))
def a_slow_worker_is_taken_for_a_dead_one(slow: float, seed: int, seconds: float) -> None:
    """Job 0 takes longer than the silence of 5 s."""
    out, back = (jobs(way, [0.1, 0.2], by_chance(0, 0), slow=slow, tail=20) for way in ("handed out", "acknowledged"))
    assert out.twice == 0 < back.twice


@claim("worker_queue", HARMS)
def a_deadly_job_kills_one_worker_after_the_other(seed: int, seconds: float) -> None:
    times = [0.1, 0.2, 0.3, 0.4, 0.5]
    out, back, limited = (jobs(way, times, worker_queue.poison, tail=14 + seconds) for way in worker_queue.WAYS)
    assert (out.crashes, out.lost) == (1, 1) and back.crashes >= 4
    assert (limited.crashes, limited.dead, limited.lost) == (3, 1, 0)


# ---- publish/subscribe across servers ----------------------------------------------------------------------------------


@claim("pubsub", HELPS, servers=st.integers(2, 4), rate=st.floats(1, 3))
def all_users_of_all_servers_hear_all(servers: int, rate: float, seed: int, seconds: float) -> None:
    how = {"servers": servers, "users": 2, "rate": rate, "seconds": 1 + seconds, "seed": seed}
    without, with_ = (virtual(pubsub.chat(shared, **how)) for shared in (False, True))
    assert without.share() == pytest.approx(1 / servers) and with_.share() == 1


@claim("pubsub", HARMS, servers=st.integers(2, 4), rate=st.floats(2, 3))
def nothing_is_heard_while_the_broker_is_down(servers: int, rate: float, seed: int, seconds: float) -> None:
    down = 2.0, 2 + seconds
    how = {"servers": servers, "users": 2, "rate": rate, "down": down, "seconds": 4 + seconds, "seed": seed}
    without, with_ = (virtual(pubsub.chat(shared, **how)) for shared in (False, True))
    assert without.share(*down) == pytest.approx(1 / servers) and with_.share(*down) == 0
    assert with_.delay > 1.5 * without.delay


# ---- outbox ------------------------------------------------------------------------------------------------------------


@claim("outbox", HELPS)
def a_crash_at_any_step_loses_no_event(seed: int, seconds: float) -> None:
    for step in ("insert", "commit", "answer", "publish", "mark"):
        two = virtual(outbox.shop("outbox", [0.0, 0.1], once(step)))
        assert (two.orders, two.lost, two.ghosts) == (1 if step in ("insert", "commit") else 2, 0, 0)
        assert two.repeats == (step == "mark")


@claim("outbox", HELPS, share=st.floats(0.1, 0.3))
def crashes_by_chance_lose_no_event(share: float, seed: int, seconds: float) -> None:
    times = arrivals(8.0, seconds, seed)
    first, last, both = (virtual(outbox.shop(way, times, by_chance(share, seed))) for way in outbox.WAYS)
    assert both.lost == both.ghosts == 0 < min(first.ghosts, last.lost)
    assert first.lost == last.ghosts == 0


@claim("outbox", HARMS, share=st.floats(0.2, 0.3))
def events_are_late_and_come_twice(share: float, seed: int, seconds: float) -> None:
    times = arrivals(8.0, seconds, seed)
    last, both = (virtual(outbox.shop(way, times, by_chance(share, seed))) for way in ("commit first", "outbox"))
    assert both.repeats > 0 == last.repeats and both.delay > 100 * last.delay


# ---- saga --------------------------------------------------------------------------------------------------------------


@claim("saga", HELPS)
def a_crash_at_any_step_leaves_no_half_of_a_trip(seed: int, seconds: float) -> None:
    """The payment of the second trip is refused, so that a crash while it is undone counts, too."""
    for step in (f"{when} {what}" for when in ("before", "after", "undone") for what in saga.STEPS):
        halves, broken = [], []
        for way in ("no undo", "saga"):
            outcome = virtual(saga.agency(way, [0.0], once(step), refused=step.startswith("undone")))
            halves.append(outcome.halves)
            broken.append(outcome.broken)
        assert halves == [step != "before flight", 0] and broken == [0, 0]


@claim("saga", HELPS, share=st.floats(0.05, 0.1), refused=st.floats(0.1, 0.3))
def crashes_by_chance_leave_no_half_of_a_trip(share: float, refused: float, seed: int, seconds: float) -> None:
    times = arrivals(3.0, seconds, seed)
    none, undo, whole = (virtual(saga.agency(way, times, by_chance(share, seed), refused)) for way in saga.WAYS[:3])
    assert none.halves >= undo.halves >= 1 and whole.halves == whole.broken == 0


@claim("saga", HARMS, refused=st.floats(0.4, 0.6), seats=st.integers(6, 10))
def seats_are_held_for_trips_that_are_not_booked(refused: float, seats: int, seed: int, seconds: float) -> None:
    """Users are refused, and then seats are left. One trip at a time sells all of them, and takes longer."""
    how = {"refused": refused, "seats": seats, "seed": seed}
    whole, turns = (virtual(saga.agency(way, [0.0] * 30, by_chance(0, 0), **how)) for way in saga.WAYS[2:])
    assert len(whole.users.good) < seats == len(turns.users.good)
    assert turns.users.visits[-1].took > 5 * whole.users.visits[-1].took


# ---- CQRS --------------------------------------------------------------------------------------------------------------


@claim("cqrs", HELPS, reads=st.floats(16, 20), lag=st.floats(0.5, 1))
def reads_cost_a_look_up(reads: float, lag: float, seed: int, seconds: float) -> None:
    """``reads`` is more than the ten that the database can count for in a second. Writers who wait see their own review."""
    how = {"reads": reads, "lag": lag, "seconds": seconds, "seed": seed}
    one, own = (virtual(cqrs.shop(way, **how)) for way in ("one model", "CQRS, own writes"))
    assert one.reads.served < 0.9 and one.reads.percentile(90) > 1
    assert own.reads.served == 1 and own.reads.percentile(99) < 0.02 and own.unseen == 0


@claim("cqrs", HARMS, lag=st.floats(0.5, 2))
def readers_see_the_past(lag: float, seed: int, seconds: float) -> None:
    """Writers do not see their own write, and others see it ``lag`` seconds late. One model is never behind."""
    how = {"reads": 4.0, "writes": 0.5, "lag": lag, "seconds": 2 * seconds, "seed": seed}
    one, two, own = (virtual(cqrs.shop(way, **how)) for way in cqrs.WAYS)
    assert one.unseen == own.unseen == 0 and two.unseen == 1 and two.stale > one.stale + 0.05
    assert own.writers.percentile(50) > lag


@claim("cqrs", HARMS, writes=st.floats(17, 25))
def writes_wait_for_updates(writes: float, seed: int, seconds: float) -> None:
    how = {"reads": 0.5, "writes": writes, "looks": False, "seconds": 4 + seconds / 4, "seed": seed}
    one, two, _ = (virtual(cqrs.shop(way, **how)).writers.percentile(90) for way in cqrs.WAYS)
    assert two > 2 * one


# ---- strangler fig -----------------------------------------------------------------------------------------------------


def moved(plan: str, **how: Any) -> strangler_fig.Outcome:
    return virtual(strangler_fig.move(strangler_fig.Fig(*strangler_fig.PLANS[plan], pause=8.0), **how))


@claim("strangler_fig", HELPS, failing=st.floats(0.4, 0.6))
def few_users_meet_a_fault(failing: float, seed: int, seconds: float) -> None:
    how = {"failing": failing, "seconds": 12 + seconds, "seed": seed}
    switch, judged, steps = (moved(plan, **how).failed for plan in strangler_fig.PLANS)
    assert steps < judged < switch and steps < 0.5 * switch


@claim("strangler_fig", HELPS, capacity=st.floats(0.8, 1.0))
def few_users_meet_a_service_that_is_too_slow(capacity: float, seed: int, seconds: float) -> None:
    how = {"capacity": capacity, "seconds": 16 + seconds, "seed": seed}
    switch, steps = (moved(plan, **how).failed for plan in ("switch", "by percentages"))
    assert steps < 0.5 * switch


@claim("strangler_fig", HARMS, rate=st.floats(2, 4))
def a_good_service_takes_over_late(rate: float, seed: int, seconds: float) -> None:
    how = {"rate": rate, "seconds": 26 + seconds, "seed": seed}
    switch, steps = (moved(plan, **how) for plan in ("switch", "by percentages"))
    assert switch.whole_at < 5 < 24 <= steps.whole_at < 36 and switch.failed == steps.failed == 0
