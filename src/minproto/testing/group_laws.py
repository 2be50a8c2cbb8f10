"""The laws of consumer groups, for any queue that hands out work: ours, or yours.

A group of workers shares a sequence of entries. Four laws say what the workers may rely on, even if they crash at any point:

1. **One owner.** Each entry is delivered to exactly one consumer of a group until it is claimed.
2. **Nothing is lost** while a consumer dies: each entry is undelivered, pending or acknowledged.
3. **Done is done.** What is acknowledged is never delivered again.
4. **Order.** One consumer gets new entries in the order in which they were added.

``check_group`` lets hypothesis make up a history of reads, crashes, claims and acknowledgements, and compares the queue with a
model after each step:

    from minproto.testing import check_group

    class MyQueue: ...            # the five methods of WorkQueue

    check_group(MyQueue)

A crash takes away what the consumer knew. The queue is not told, because nobody could tell it: the consumer that comes back
under the same name asks for its own entries again (``read_again``), or another consumer claims them.
"""

from collections.abc import Callable, Hashable
from typing import Protocol

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

CONSUMERS = ("w1", "w2", "w3")


class WorkQueue(Protocol):
    """One group of consumers, and the entries that they share. A consumer is known by its name."""

    def add(self) -> Hashable:
        """Append an entry, and return its id."""

    def read(self, consumer: str, most: int) -> list[Hashable]:
        """Deliver at most so many entries that no consumer has received, and return their ids."""

    def read_again(self, consumer: str) -> list[Hashable]:
        """Return the ids of all entries that are pending for this consumer, in order."""

    def claim(self, consumer: str) -> list[Hashable]:
        """Make all pending entries those of this consumer, and return their ids, in order."""

    def acknowledge(self, consumer: str, ids: list[Hashable]) -> int:
        """Mark entries as done, and return how many of them were pending."""


class GroupLawBroken(AssertionError):
    """A queue has broken a law of consumer groups."""


class GroupMachine(RuleBasedStateMachine):
    """A history of a queue, and a model of what has to come of it."""

    make: Callable[[], WorkQueue]
    """Returns a new, empty queue. A subclass sets it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = type(self).make()
        self.undelivered: list[Hashable] = []
        self.pending: dict[Hashable, str] = {}  # id -> consumer
        self.order: dict[Hashable, int] = {}  # id -> its place among all entries
        self.done: set[Hashable] = set()
        self.known: dict[str, list[Hashable]] = {name: [] for name in CONSUMERS}  # what each consumer has in memory

        self.is_broken = False

    def law(self, holds: bool, law: str, what: str) -> None:
        """Raise GroupLawBroken unless the law holds."""
        if not holds:
            self.is_broken = True
            raise GroupLawBroken(f"{law}: {what}")

    def owned(self, consumer: str) -> list[Hashable]:
        return sorted((id for id, owner in self.pending.items() if owner == consumer), key=self.order.__getitem__)

    @rule(count=st.integers(1, 3))
    def entries_are_added(self, count: int) -> None:
        for _ in range(count):
            id = self.queue.add()
            self.law(id not in self.order, "one owner", f"the id {id!r} is given twice")
            self.order[id] = len(self.order)
            self.undelivered.append(id)

    @rule(consumer=st.sampled_from(CONSUMERS), most=st.integers(1, 4))
    def a_consumer_reads(self, consumer: str, most: int) -> None:
        ids = self.queue.read(consumer, most)
        self.law(len(ids) <= most, "order", f"{consumer} asked for {most} entries, and got {ids!r}")
        for id in ids:
            self.law(id not in self.done, "done is done", f"{id!r} was acknowledged, and {consumer} gets it again")
            owner = self.pending.get(id)
            self.law(owner is None, "one owner", f"{id!r} is pending for {owner}, and {consumer} gets it, too")
        expected = self.undelivered[:most]
        self.law(sorted(ids, key=str) == sorted(expected, key=str), "nothing is lost", f"{expected!r} were next, not {ids!r}")
        self.law(ids == expected, "order", f"{consumer} gets {ids!r}, in another order than they were added: {expected!r}")
        del self.undelivered[: len(ids)]
        self.pending |= dict.fromkeys(ids, consumer)
        self.known[consumer] += ids

    @rule(consumer=st.sampled_from(CONSUMERS))
    def a_consumer_crashes(self, consumer: str) -> None:
        self.known[consumer] = []

    @rule(consumer=st.sampled_from(CONSUMERS))
    def a_consumer_comes_back(self, consumer: str) -> None:
        ids, expected = self.queue.read_again(consumer), self.owned(consumer)
        self.law(not self.done.intersection(ids), "done is done", f"{consumer} gets acknowledged entries again: {ids!r}")
        self.law(set(ids) >= set(expected), "nothing is lost", f"{consumer} had {expected!r}, and gets {ids!r}")
        self.law(set(ids) <= set(expected), "one owner", f"{consumer} has {expected!r}, and gets {ids!r}")
        self.law(ids == expected, "order", f"{consumer} gets {ids!r} for {expected!r}")
        self.known[consumer] = ids

    @rule(consumer=st.sampled_from(CONSUMERS))
    def a_consumer_claims(self, consumer: str) -> None:
        """The others may still be at work, and acknowledge later."""
        ids, expected = self.queue.claim(consumer), sorted(self.pending, key=self.order.__getitem__)
        self.law(not self.done.intersection(ids), "done is done", f"{consumer} claims acknowledged entries: {ids!r}")
        self.law(ids == expected, "nothing is lost", f"{expected!r} are pending, and {consumer} can claim {ids!r}")
        self.pending = dict.fromkeys(ids, consumer)
        self.known[consumer] = ids

    @rule(consumer=st.sampled_from(CONSUMERS), which=st.sets(st.integers(0, 5)))
    def a_consumer_acknowledges(self, consumer: str, which: set[int]) -> None:
        ids = [id for position, id in enumerate(self.known[consumer]) if position in which]
        expected = [id for id in ids if id in self.pending]
        count = self.queue.acknowledge(consumer, ids)
        self.law(count == len(expected), "done is done", f"{consumer} acknowledges {ids!r}: {count} of them were pending")
        for id in expected:
            del self.pending[id]
        self.done.update(expected)
        self.known[consumer] = [id for id in self.known[consumer] if id not in ids]

    @invariant()
    def no_entry_is_in_two_states(self) -> None:
        assert len(self.undelivered) + len(self.pending) + len(self.done) == len(self.order)

    def teardown(self) -> None:
        """All crash, and the last one does all that is left."""
        if self.is_broken:
            return
        while self.undelivered:
            self.a_consumer_reads("w1", 4)
        for consumer in CONSUMERS:
            self.a_consumer_comes_back(consumer)
        self.a_consumer_claims("w3")
        for consumer in CONSUMERS[:2]:
            self.a_consumer_comes_back(consumer)  # with nothing
        self.queue.acknowledge("w3", self.known["w3"])
        self.law(self.queue.claim("w2") == [], "done is done", "all is acknowledged, and something can be claimed")
        self.law(self.queue.read("w2", 4) == [], "done is done", "all is acknowledged, and something is delivered")


def check_group(make: Callable[[], WorkQueue], *, examples: int = 100) -> None:
    """Look for a history that breaks a law of consumer groups. Raises GroupLawBroken, an AssertionError.

    ``make``: returns a new, empty queue. ``examples``: how many histories are tried.
    """
    machine = type("GroupMachine", (GroupMachine,), {"make": staticmethod(make)})
    thorough = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, report_multiple_bugs=False, database=None
    )
    run_state_machine_as_test(machine, settings=thorough)
