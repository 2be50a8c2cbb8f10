r"""Consumer groups: the entries of a log handed out as jobs, each to one consumer. No bytes of RESP, no clock, no waiting.

A topic's log holds jobs. Ten workers should share them: each job for one worker. A worker may crash in the middle of a job,
and the job must not be lost then. So the group remembers who has which job until the worker says that the job is done:

    the log "jobs"      1000-0     1000-1     1000-2     1001-0     1002-0
                        done       pending    pending    not yet delivered
                                   w1         w2
                                              |
                                              last: the newest entry that was delivered to any consumer

The life of an entry, as one group sees it. Other groups of the same log see it in states of their own:

                     read                             acknowledge
    undelivered ------------> pending of a consumer ----------------> acknowledged: never delivered again
                                 |  ^        |  ^
                                 |  |        |  | read_again, by the same consumer: deliveries + 1
                                 |  |        '--'
                                 '--' claim, by another consumer: the entry is now pending there, deliveries + 1

The group stores little. ``last`` divides the log: entries after it are undelivered. Entries up to it are pending if they are
in ``pending`` (Redis calls it the pending entries list, PEL), and acknowledged otherwise. The log itself knows nothing of
groups, and keeps an acknowledged entry until somebody deletes or trims it.

A worked example. w1 crashes after it has read 1000-0, and w2 takes over what has been pending for 60 seconds:

    >>> from minproto.log import Entry, Log, Total
    >>> log = Log(0, 10_000, (0, 0), Total())
    >>> log.pin(Total())
    >>> for number in range(3):
    ...     log.append(Entry((1000, number), (b"job", b"%d" % number), 500))
    >>> group = Group(log, Room(100), last=(0, 0))
    >>> [entry.key for entry in group.read("w1", now=5_000, most=1)]
    [(1000, 0)]
    >>> [entry.key for entry in group.read("w2", now=6_000, most=9)]
    [(1000, 1), (1000, 2)]
    >>> group.acknowledge([(1000, 1), (1000, 2)])
    2
    >>> found = group.claim_idle("w2", now=70_000, idle=60_000)
    >>> [(entry.key, group.pending.of[entry.key].deliveries) for entry in found.entries]
    [((1000, 0), 2)]
    >>> group.acknowledge([(1000, 0)]), group.read("w1", now=71_000), group.pending.ids
    (1, [], [])

Four laws follow, and ``minproto.testing.group_laws`` checks them with crashes at any point:

- Each entry is delivered to exactly one consumer of a group until it is claimed.
- Nothing is lost while a consumer dies: an entry is undelivered, pending or acknowledged.
- What is acknowledged is never delivered again.
- One consumer gets the entries in the order of the log.

Easy to get wrong:

- A slow worker is not a dead one. Its job may be claimed and run by another worker as well: a job runs *at least once*, so it
  has to be idempotent.
- An entry may be deleted from the log while it is pending. ``read_again`` then says so (None), and ``claim`` forgets it.
- A pending entry takes memory, and nobody forces a consumer to acknowledge. ``Room`` bounds all groups together.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

from minproto.log import FIRST_ID, LAST_ID, IdKey, Kept, Log, NoRoomError, next_id

MAX_PAGE = 512
"""How many ids may stand on one page of ``Claims``. 90,000 ids then take some 200 pages: both numbers are small."""
_last_of = itemgetter(-1)


class Room:
    """How many more groups, consumers and pending entries a broker may have: ``Limits.max_claims``.

    A client can make consumers under ever new names, and read without a single XACK. Trimming the log does not help: a claim
    stays when its entry is gone. So all groups of a broker draw from one number, and each gives back what it drops.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def check(self, count: int) -> None:
        """Raise NoRoomError if there is no room for this many. Callers check before they change anything."""
        if self.left < count:
            raise NoRoomError


@dataclass(slots=True)
class Claim:
    """An entry that a consumer has received, and has not acknowledged.

    A claim does not hold the entry itself, which may be deleted from the log meanwhile. It stands in two lists: the group's
    ``pending`` and the consumer's. Both lists have the same object, so that a change is seen in both.
    """

    consumer: "Consumer"
    """The consumer that has to acknowledge the entry; a claim by another worker changes it."""
    delivered_at: int
    """When the entry was delivered last, in milliseconds since 1970."""
    deliveries: int
    """How often the entry has been delivered: a job that crashes its worker has a large number here."""

    def age(self, now: int) -> int:
        """Return how many milliseconds ago the last delivery was; 0 if the clock has gone back behind it."""
        return max(0, now - self.delivered_at)


class Claims:
    """Claims by the id of their entry, and the ids in order, on pages.

    XACK asks "is this id pending?", and the dict answers in one step. XPENDING and XAUTOCLAIM ask "which ids from here on?",
    and the pages answer with two binary searches: for the page, and for the place on it. Neither one alone can answer both.

        pages      [1000-0, 1000-1, 1000-2]   [1000-5, 1001-0]   [1002-0]        no page is empty

    Why pages, and not one list? Whoever removes an id from a list moves all ids after it. An XACK of 90,000 ids, oldest first,
    would move four billion ids, and the event loop would stand still for seconds. On a page, at most ``MAX_PAGE`` ids move.
    """

    __slots__ = ("of", "pages")

    def __init__(self) -> None:
        self.pages: list[list[IdKey]] = []
        self.of: dict[IdKey, Claim] = {}

    def __len__(self) -> int:
        return len(self.of)

    def _find_page(self, key: IdKey) -> int:
        """Return the number of the first page that ends at this id or after it; ``len(pages)`` if there is none."""
        return bisect_left(self.pages, key, key=_last_of)

    def add(self, key: IdKey, claim: Claim) -> None:
        """Add a claim. Almost every new id is the largest, so the search for its place is seldom needed."""
        self.of[key] = claim
        if not self.pages or key > self.pages[-1][-1]:
            if not self.pages or len(self.pages[-1]) >= MAX_PAGE:
                self.pages.append([])
            self.pages[-1].append(key)
        else:
            self._insert(key)

    def _insert(self, key: IdKey) -> None:
        """Put an id in the middle, after ``XGROUP SETID`` or ``XCLAIM … FORCE``. A page that is too long then becomes two."""
        number = self._find_page(key)
        page = self.pages[number]
        insort(page, key)
        if len(page) > MAX_PAGE:
            self.pages[number : number + 1] = [page[: MAX_PAGE // 2], page[MAX_PAGE // 2 :]]

    def remove(self, key: IdKey) -> None:
        """Remove the claim of an id."""
        del self.of[key]
        number = self._find_page(key)
        page = self.pages[number]
        del page[bisect_left(page, key)]
        if not page:
            del self.pages[number]

    def between(self, first: IdKey, last: IdKey, most: int | None = None) -> list[IdKey]:
        """Return the ids from one to another, both included; at most ``most``."""
        found: list[IdKey] = []
        for page in self.pages[self._find_page(first) :]:
            if page[0] > last or (most is not None and len(found) >= most):
                break
            found += page[bisect_left(page, first) : bisect_right(page, last)]
        return found[:most]

    @property
    def ids(self) -> list[IdKey]:
        """All ids in order."""
        return self.between(FIRST_ID, LAST_ID)


@dataclass(slots=True)
class Consumer:
    """A consumer of a group: a name under which a worker reads."""

    name: str
    seen_at: int
    """When the consumer has last read or claimed, in milliseconds since 1970."""
    pending: Claims = field(default_factory=Claims)


@dataclass(slots=True)
class Claimed:
    """The result of ``Group.claim_idle``."""

    next: IdKey
    """The id at which the next call goes on; 0-0: the call has looked at the whole list."""
    entries: list[Kept]
    """The entries that were taken over, in the order of the log."""
    deleted: list[IdKey]
    """Entries that were pending, but are no longer in the log: they are no longer pending either."""


class Group:
    """A consumer group of one log, which is pinned."""

    def __init__(self, log: Log, room: Room, last: IdKey, entries_read: int | None = None) -> None:
        """``last``: entries after this id will be delivered. ``entries_read``: how many entries of the log come up to it;
        None: unknown. Raises NoRoomError."""
        room.check(1)
        room.left -= 1
        self.log = log
        self._room = room
        self.last = last
        """The id of the newest entry delivered to any consumer."""
        self.entries_read = entries_read
        """How many entries there were up to ``last``, deleted ones included; None: unknown. ``lag`` is computed from it."""
        self.pending = Claims()
        self.consumers: dict[str, Consumer] = {}

    def close(self) -> None:
        """Give the group's room back: the group is gone."""
        self._room.left += 1 + len(self.consumers) + len(self.pending)

    # -- consumers

    def consumer(self, name: str, now: int) -> Consumer:
        """Return the consumer of this name, which is made if there is none. It has been seen ``now``. Raises NoRoomError."""
        consumer = self.consumers.get(name)
        if consumer is None:
            self._room.check(1)
            self._room.left -= 1
            consumer = self.consumers[name] = Consumer(name, now)
        consumer.seen_at = now
        return consumer

    def _check_room(self, name: str, ids: list[IdKey]) -> None:
        """Raise NoRoomError unless there is room for this consumer, and for these entries as pending ones.

        What exists already takes no more room. A full broker therefore still lets a known worker claim a dead worker's jobs.
        """
        self._room.check((name not in self.consumers) + sum(key not in self.pending.of for key in ids))

    def remove_consumer(self, name: str) -> int:
        """Remove a consumer, and return how many entries were pending there. These entries will not be delivered again."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return 0
        for key in consumer.pending.of:
            self.pending.remove(key)
        self._room.left += 1 + len(consumer.pending)
        return len(consumer.pending)

    # -- reading and acknowledging

    def read(self, name: str, now: int, most: int | None = None, acknowledged: bool = False) -> list[Kept]:
        """Deliver the next entries that no consumer has received yet, and return them: at most ``most``.

        They are pending for the consumer ``name`` from now on. With ``acknowledged`` they are not: if the consumer crashes,
        they are lost (*at-most-once*). Raises NoRoomError.

        ``set_last`` may have moved the group back, so that an entry is still pending somewhere. It moves to this consumer.
        """
        entries = self.log.after(self.last, most)
        self._check_room(name, [] if acknowledged else [entry.key for entry in entries])
        consumer = self.consumer(name, now)
        for entry in entries:
            self._advance(entry.key)
            if not acknowledged:
                self._assign(entry.key, consumer, now)
        return entries

    def _assign(self, key: IdKey, consumer: Consumer, now: int) -> Claim:
        """Make an entry pending for a consumer, and for no other one, as if it was delivered for the first time."""
        claim = self.pending.of.get(key)
        if claim is None:
            claim = Claim(consumer, now, 1)
            self.pending.add(key, claim)
            self._room.left -= 1
        else:
            claim.consumer.pending.remove(key)
            claim.consumer, claim.delivered_at, claim.deliveries = consumer, now, 1
        consumer.pending.add(key, claim)
        return claim

    def read_again(self, name: str, after: IdKey, now: int, most: int | None = None) -> list[tuple[IdKey, Kept | None]]:
        """Deliver the consumer's own pending entries after an id once more: a worker that restarts begins with these.

        Return each id with its entry, or with None if the entry was deleted from the log.
        """
        consumer = self.consumer(name, now)
        found: list[tuple[IdKey, Kept | None]] = []
        for key in consumer.pending.between(next_id(after), LAST_ID, most):
            entry = self.log.find(key)
            if entry is not None:
                claim = consumer.pending.of[key]
                claim.delivered_at = now
                claim.deliveries += 1
            found.append((key, entry))
        return found

    def acknowledge(self, ids: Iterable[IdKey]) -> int:
        """Mark entries as done, and return how many of them were pending.

        An id that is not pending is passed over. So an acknowledgement is idempotent: a worker that lost its connection before
        it read the reply may send the acknowledgement once more.
        """
        done = 0
        for key in ids:
            if key in self.pending.of:
                self._forget(key)
                done += 1
        return done

    def _forget(self, key: IdKey) -> None:
        self.pending.of[key].consumer.pending.remove(key)
        self.pending.remove(key)
        self._room.left += 1

    # -- claiming

    def claim(
        self,
        name: str,
        ids: list[IdKey],
        now: int,
        idle: int = 0,
        *,
        delivered_at: int | None = None,
        deliveries: int | None = None,
        count: bool = True,
        force: bool = False,
    ) -> list[Kept]:
        """Take entries over from other consumers, and return them. Only those count that were delivered ``idle`` ms ago.

        ``delivered_at``: the time of this delivery; None: ``now``. ``deliveries``: the number of deliveries; None: one more,
        or as many as before without ``count``. ``force``: an entry that is not pending is taken as well. An entry that is no
        longer in the log is no longer pending either. Raises NoRoomError.
        """
        self._check_room(name, ids if force else [])
        claimed = []
        for key in ids:
            entry, claim = self.log.find(key), self.pending.of.get(key)
            if entry is None and claim is not None:
                self._forget(key)
            if entry is None or not (claim or force) or (claim and claim.age(now) < idle):
                continue
            claim = self._take_over(key, self.consumer(name, now), now)
            claim.delivered_at = now if delivered_at is None else delivered_at
            claim.deliveries = claim.deliveries + count if deliveries is None else deliveries
            claimed.append(entry)
        return claimed

    def _take_over(self, key: IdKey, consumer: Consumer, now: int) -> Claim:
        """Make an entry pending for a consumer, and return its claim, whose deliveries are as before.

        ``_assign`` sets the deliveries to 1. If a claim did that too, a job that crashes each of its workers would look new
        each time, and nobody could sort it out by its deliveries.
        """
        before = self.pending.of.get(key)
        deliveries = before.deliveries if before else 1
        claim = self._assign(key, consumer, now)
        claim.deliveries = deliveries
        return claim

    def claim_idle(
        self, name: str, now: int, idle: int, start: IdKey = FIRST_ID, most: int = 100, count: bool = True
    ) -> Claimed:
        """Take over at most ``most`` entries that were delivered ``idle`` ms ago, whoever has them: their worker has died.

        The search begins at ``start``, and looks at ten times ``most`` entries before it stops: a call must not take long.
        Raises NoRoomError.
        """
        self._check_room(name, [])
        ids = self.pending.between(start, LAST_ID, 10 * most)
        claimed, looked, consumer = Claimed(FIRST_ID, [], []), 0, None
        for key in ids:
            if len(claimed.entries) + len(claimed.deleted) == most:
                break
            looked += 1
            entry, claim = self.log.find(key), self.pending.of[key]
            if entry is None:
                self._forget(key)
                claimed.deleted.append(key)
            elif claim.age(now) >= idle:
                consumer = self.consumer(name, now)
                claim = self._take_over(key, consumer, now)
                claim.deliveries += count
                claimed.entries.append(entry)
        rest = ids[looked:] or self.pending.between(next_id(ids[-1]), LAST_ID, 1) if ids else []
        if rest:
            claimed.next = rest[0]
        return claimed

    # -- how far the group is

    def set_last(self, last: IdKey, entries_read: int | None = None) -> None:
        """Move the group to another place in its log: entries after this id will be delivered, even if they were before.

        ``entries_read`` cannot be kept. It belongs to the old place, and a lag computed from it would be wrong.
        """
        self.last, self.entries_read = last, entries_read

    def _advance(self, key: IdKey) -> None:
        """Count one more entry as delivered: ``last`` moves to it.

        Adding 1 is right only while no entry at ``key`` or after it was deleted, since a deleted entry is counted in
        ``log.added`` but never delivered. After such a hole the number is computed anew, and may be unknown.
        """
        if self.entries_read is not None and not self._has_holes_from(key):
            self.entries_read += 1
        else:
            self.entries_read = self._count_until(key)
        self.last = key

    @property
    def lag(self) -> int | None:
        """How many entries are still to be delivered; None: unknown, because XDEL has made holes in between.

            added to the log, ever    7        1000-0 … 1000-6
            trimmed                   2        1000-0 and 1000-1; they count as read, since no group can get them now
            last                      1000-3   so entries_read is 4
            lag                       3        7 - 4
        """
        if not self.log.added:
            return 0
        read = self.entries_read
        if read is None or self._has_holes_from(self.last):
            read = self._count_until(self.last)
        return None if read is None else self.log.added - read

    def _has_holes_from(self, key: IdKey) -> bool:
        """Whether XDEL has deleted an entry at this id or after it."""
        log = self.log
        return bool(log.entries) and log.max_deleted != FIRST_ID and key <= log.max_deleted

    def _count_until(self, key: IdKey) -> int | None:
        """Return how many entries the log has ever had up to an id; None: unknown.

        Redis keeps the entries of a stream in a tree, in which the entries before a given one cannot be counted quickly. It
        therefore answers only where two sums that it has anyway, all entries added and all entries kept, are enough. XINFO has
        to tell the same lag here, so this method answers in the same three cases:

            the newest entry            all that were ever added
            the oldest entry kept       all that were added, less those kept, and one for the entry itself
            an id before the oldest     all that were added, less those kept

        The last two hold only if XDEL has deleted none among the entries kept.
        """
        log = self.log
        if key == log.last or (not log.entries and key < log.last):
            return log.added
        if key > log.last:
            return None
        first = log.entries[0].key
        if log.max_deleted < first:
            if key < first:
                return log.added - len(log.entries)
            if key == first:
                return log.added - len(log.entries) + 1
        return None
