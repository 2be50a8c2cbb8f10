r"""The log of a topic: the messages and entries that are kept, each under an id, the oldest first.

Two kinds of writers append to a log, and two kinds of readers read it:

    publish("jobs", b"one")              a *message*: also given to subscribers at once
    XADD jobs * data two                 an *entry* with fields of its own: no subscriber hears it

                             the log of "jobs"
                  1000-0         1000-1          1001-0
                  data one       data two        data three
                  a message      added           a message
                     |              |               |
    entries          o--------------o---------------o        read by XRANGE, XREAD and the consumer groups
    published        o------------------------------o        read by subscribe("jobs", after=id)

So a stream reader sees everything, and a subscriber that resumes gets exactly what it would have heard live. ``Log`` holds
both sequences: ``entries`` has all entries, and ``published`` those of them that are messages.

Two rules bound a log. Both exist because nobody else would stop it from growing:

- **Messages** are a history: beyond ``history=N`` or ``Limits.max_log_bytes`` the oldest message is dropped, and a subscriber
  that needed it gets a Gap. A history is a convenience, so nobody has to agree to the loss.
- **Added entries** are somebody's work, and are never dropped. A log without room refuses a new entry (``NoRoomError``), and
  its owner makes room: XACK and XDEL, XTRIM, or MAXLEN. A log with added entries, or with a consumer group, is *pinned*: it
  stays until DEL. Other logs are forgotten when there are too many of them.

A trace. ``Total`` counts the bytes of several logs:

    >>> log = Log(2, 10_000, start=(999, 0), total=Total())
    >>> log.pin(Total())                                        # entries are added below
    >>> log.publish(Message("jobs", "1000-0", b"one", key=(1000, 0)))
    >>> log.append(Entry((1000, 1), (b"data", b"two"), 500))
    >>> log.publish(Message("jobs", "1001-0", b"three", key=(1001, 0)))
    >>> log.publish(Message("jobs", "1002-0", b"four", key=(1002, 0)))      # the third message: the first one is dropped
    >>> [entry.fields[1] for entry in log.entries], [entry.fields[1] for entry in log.published]
    ([b'two', b'three', b'four'], [b'three', b'four'])
    >>> log.start, log.last
    ((1000, 0), (1002, 0))

Easy to get wrong: an entry that is deleted leaves ``last`` as it is, so that its id is never given again.
"""

import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter

from minproto.core import check_count, check_counts

MESSAGE_COST = 500
"""Bytes, roughly, that a message or an entry takes up in memory besides its data."""
FIELD_COST = 50
"""Bytes, roughly, that each name and each value of an added entry takes up besides its bytes."""
FEW = 100
"""Up to this many ids, ``Log.delete`` searches for each id."""


@dataclass(frozen=True)
class Limits:
    """The bounds on queues and logs, which publishers and subscribers could otherwise make grow without end."""

    max_pending: int = 10_000
    """The maximum number of messages pending in a subscription's queue. Messages of a replay do not count here."""
    max_pending_bytes: int = 8 << 20
    """The maximum number of bytes of data in a queue. An empty queue accepts even a larger message, which could otherwise
    never be sent."""
    max_logs: int = 10_000
    """How many topics may have a log. Beyond the limit, the log of the topic that has been silent longest is dropped. As many
    pinned logs may exist besides; a further one is refused."""
    max_log_bytes: int = 16 << 20
    """The maximum number of bytes of one topic's log. Beyond the limit, the log drops its oldest messages, and refuses an
    entry that is added."""
    max_history_bytes: int = 128 << 20
    """The maximum number of bytes of all logs together. Beyond the limit, the log of the topic that has been silent longest
    is dropped. Here and in ``max_log_bytes``, the size of a message is the size of its data and its topic, plus
    ``MESSAGE_COST``."""
    max_claims: int = 100_000
    """How many consumer groups, consumers and pending entries may exist together. A command that needs one more is refused."""

    def __post_init__(self) -> None:
        check_counts(self)


class NoRoomError(Exception):
    """The limits leave no room for what a caller wants to add. Nothing has changed."""


# ---- ids ---------------------------------------------------------------------------------------------------------------
#
#   id = milliseconds "-" sequence     as in a Redis stream: "1700000000000-0", then "1700000000000-1" in the same millisecond

IdKey = tuple[int, int]
"""An id as milliseconds and sequence, so that two ids can be compared. As text, "9-0" would come after "10-0"."""
MAX_NUMBER = (1 << 64) - 1
"""The largest number of milliseconds, and the largest sequence number, in an id."""
FIRST_ID, LAST_ID = (0, 0), (MAX_NUMBER, MAX_NUMBER)
_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")  # a 64-bit number has up to 20 digits, and ``int`` refuses thousands


def parse_id(id: str) -> IdKey | None:
    """Return an id as (milliseconds, sequence), which can be compared; None for a text that is not an id.

    If ids were compared as text, their order would be wrong: "9-0" > "10-0".
    """
    found = _ID.fullmatch(id)
    return (int(found[1]), int(found[2])) if found else None


def encode_id(key: IdKey) -> str:
    """Return an id as text."""
    return f"{key[0]}-{key[1]}"


def next_id(key: IdKey) -> IdKey:
    """Return the smallest id that is larger. After the sequence 18446744073709551615 comes 0 in the next millisecond."""
    milliseconds, sequence = key
    return (milliseconds, sequence + 1) if sequence < MAX_NUMBER else (milliseconds + 1, 0)


# ---- messages and entries -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Message:
    """One message, as a subscriber receives it."""

    topic: str
    id: str
    """``milliseconds-sequence``, such as "1700000000000-0". A broker's ids grow with each message, across all topics. (Only
    where XADD has given a topic an id from the future, this topic's ids are ahead of the others.)"""
    data: bytes
    pattern: str | None = None
    """The pattern that matched, for this delivery. None: the subscription named the topic itself."""
    encodings: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """The message as each shell has encoded it, by the shell's name. All deliveries of a message share this dict, so each
    shell encodes the message once, however many subscribers receive it."""
    key: IdKey = field(default=FIRST_ID, repr=False, compare=False)
    """The id as two numbers, of a message in a log."""

    @property
    def fields(self) -> tuple[bytes, ...]:
        """The message as an entry of a stream has it: names and values alternate."""
        return b"data", self.data

    @property
    def cost(self) -> int:
        """Bytes, roughly, that the message takes up in memory."""
        return len(self.data) + len(self.topic) + MESSAGE_COST


@dataclass(slots=True)
class Entry:
    """An entry that XADD has added to a log: no subscriber hears of it."""

    key: IdKey
    fields: tuple[bytes, ...]
    """Names and values alternate."""
    cost: int
    """Bytes, roughly, that the entry takes up in memory."""


Kept = Message | Entry
"""What a log keeps: messages and entries, each with its ``key``, its ``fields`` and its ``cost``."""


@dataclass(slots=True)
class Gap:
    """A notice that messages are missing at this place in the stream."""

    count: int | None
    """How many messages are missing; None if the broker cannot know."""
    id: str | None = None
    """The id to resume from, for a subscriber that has seen this notice and nothing after it. None: the id of the message
    before the notice."""
    reason: str | None = field(default=None, compare=False)
    """The cause, if only a shell knows it: a lost connection, say. None: a queue or a log was too short."""


Item = Message | Gap


# ---- one log -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Total:
    """The bytes of several logs together."""

    bytes: int = 0


_key_of = attrgetter("key")


def _remove_all(entries: deque[Kept], deleted: set[IdKey]) -> None:
    """Remove the entries with these ids from a deque, in one pass."""
    kept = [entry for entry in entries if entry.key not in deleted]
    entries.clear()
    entries.extend(kept)


class Log:
    """The entries of a topic, and the id after which its messages are complete.

    ``start`` shows whether a replay has a gap. It is the id of the newest message that the log has lost. While the log has
    lost no message, ``start`` is an id before its first message: see ``Logs.of``. A subscriber that has seen ``start``
    misses nothing. A subscriber that has seen only an earlier id may miss messages.

        lost                          kept
        1000-0   1000-1   1000-2   |  1000-3   1000-4   1000-5
                          start
    """

    __slots__ = (
        "_by_id", "_total", "added", "bytes", "entries", "last", "max_bytes", "max_deleted", "max_messages", "pinned",
        "published", "start",
    )  # fmt: skip

    def __init__(self, max_messages: int, max_bytes: int, start: IdKey, total: Total) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self._total = total
        self.bytes = 0
        self.entries: deque[Kept] = deque()
        self.published: deque[Kept] = self.entries
        """The entries that are messages, in the same order. Until the log is pinned, all entries are messages."""
        self._by_id: dict[IdKey, Kept] = {}
        """The entries of a pinned log by their ids, for ``find``. Only consumer groups ask, and their logs are pinned."""
        self.start = start
        self.last: IdKey = FIRST_ID
        """The id of the newest entry, even if that entry is gone. A new id is larger."""
        self.added = 0
        """How many entries have ever been appended."""
        self.max_deleted: IdKey = FIRST_ID
        """The largest id that XDEL has deleted."""
        self.pinned = False
        """Whether the log stays until DEL."""

    # -- changes

    def publish(self, message: Message) -> None:
        """Keep a message, and drop the oldest messages beyond the limits: even the new one, if it alone is too large."""
        self.append(message)
        if self.pinned:
            self.published.append(message)
        while self.published and (len(self.published) > self.max_messages or self.bytes > self.max_bytes):
            self.drop_oldest_message()

    def append(self, entry: Kept) -> None:
        """Append an entry, whose id has to be larger than ``last``."""
        self.entries.append(entry)
        if self.pinned:
            self._by_id[entry.key] = entry
        self.last = entry.key
        self.added += 1
        cost = entry.cost
        self.bytes += cost
        self._total.bytes += cost

    def drop_oldest_message(self) -> None:
        """Drop the oldest message. Added entries may precede it, and stay."""
        lost = self.published.popleft()
        if self.pinned:
            del self.entries[self.count_before(lost.key)], self._by_id[lost.key]
        if lost.key > self.start:
            self.start = lost.key
        cost = lost.cost
        self.bytes -= cost
        self._total.bytes -= cost

    def delete(self, keys: list[IdKey]) -> int:
        """Delete the entries with these ids, for XDEL. Return how many there were.

        A deque moves up to half of its entries when one in its middle is deleted. For 90,000 ids in random order that would
        take seconds, in which the event loop stands still. So more than a few ids are deleted in one pass over all entries.
        """
        wanted = set(keys)
        if len(wanted) > FEW:
            deleted = [entry for entry in self.entries if entry.key in wanted]
            _remove_all(self.entries, wanted)
            if self.pinned:
                _remove_all(self.published, wanted)
        else:
            deleted = [entry for key in wanted for entry in self.between(key, key)]
            for entry in deleted:
                del self.entries[self.count_before(entry.key)]
                if self.pinned and isinstance(entry, Message):
                    del self.published[bisect_left(self.published, entry.key, key=_key_of)]
        for entry in deleted:
            self._forget(entry)
            self.max_deleted = max(self.max_deleted, entry.key)
        return len(deleted)

    def trim(self, count: int) -> None:
        """Remove this many of the oldest entries. If the oldest entry is a message, it is the oldest message too."""
        for _ in range(count):
            entry = self.entries.popleft()
            if self.pinned and isinstance(entry, Message):
                self.published.popleft()
            self._forget(entry)

    def _forget(self, entry: Kept) -> None:
        """Account for an entry that is gone. If it is a message, ``start`` moves up to it.

        Whoever has seen only older messages then gets a Gap.
        """
        self._by_id.pop(entry.key, None)
        self.bytes -= entry.cost
        self._total.bytes -= entry.cost
        if isinstance(entry, Message):
            self.start = max(self.start, entry.key)

    def pin(self, total: Total) -> None:
        """Keep the log until DEL, and let its bytes count with those of the other pinned logs."""
        self.close()
        self.pinned, self.published, self._total = True, self.published.copy(), total
        self._by_id = {entry.key: entry for entry in self.entries}
        total.bytes += self.bytes

    def close(self) -> None:
        """Give the log's bytes back: the log is forgotten."""
        self._total.bytes -= self.bytes

    # -- reading all entries

    def count_until(self, key: IdKey) -> int:
        """Return the number of entries up to and including an id. Ids grow, so a binary search finds it."""
        return bisect_right(self.entries, key, key=_key_of)

    def count_before(self, key: IdKey) -> int:
        """Return the number of entries before an id."""
        return bisect_left(self.entries, key, key=_key_of)

    def find(self, key: IdKey) -> Kept | None:
        """Return the entry of a pinned log with this id; None if it is not kept.

        ``between(key, key)`` finds it too, but a deque walks to each position that a binary search asks for. XCLAIM of 90,000
        ids would walk for seconds.
        """
        return self._by_id.get(key)

    def after(self, key: IdKey, most: int | None = None) -> list[Kept]:
        """Return the entries after an id, at most ``most``."""
        if not self.entries or self.entries[-1].key <= key:  # the usual case of a reader that has seen everything
            return []
        return self._slice(self.count_until(key), len(self.entries), most)

    def between(self, first: IdKey, last: IdKey, most: int | None = None, backwards: bool = False) -> list[Kept]:
        """Return the entries from one id to another, both included; with ``backwards``, the newest first."""
        begin, end = self.count_before(first), self.count_until(last)
        if not backwards:
            return self._slice(begin, end, most)
        found = self._slice(begin if most is None else max(begin, end - most), end, None)
        found.reverse()
        return found

    def _slice(self, begin: int, end: int, most: int | None) -> list[Kept]:
        """Return a slice of the entries. A deque finds an entry near either end at once, but ``islice`` walks to it."""
        end = end if most is None else min(end, begin + most)
        if end - begin <= 10:
            return [self.entries[position] for position in range(begin, end)]
        return list(islice(self.entries, begin, end))

    # -- reading messages

    def replay(self, id: str) -> tuple[Gap | None, list[Message]]:
        """Return the messages after an id, preceded by a Gap if a message may be missing between the id and the first of them.

        With the log in the picture above: after 1000-4 comes 1000-5. After 1000-2 come all three messages. After 1000-1 come a
        Gap that ends at 1000-2, and all three messages. Any earlier id gets a Gap as well, even if the log is empty. Three
        more kinds of ids occur, and each gets a Gap, because the subscriber has seen a different stream from this one:

        - An id of another topic, such as 1000-4 in a log that has only 1000-3 and 1000-5. The later messages follow.
        - An id later than all ids of this broker. An earlier broker, whose clock was ahead, gave this id. All messages follow.
        - A text that is not an id. All messages follow.
        """
        key = parse_id(id)
        newest = self.newest_message(0)
        if key is None or key > newest:
            return Gap(None, encode_id(self.start)), self.messages()
        before = bisect_right(self.published, key, key=_key_of)  # ids grow, so a binary search can count those up to key
        seen = max(self.start, self.published[before - 1].key) if before else self.start
        return None if id == encode_id(seen) else Gap(None, encode_id(seen)), self.messages(before)

    def messages(self, begin: int = 0) -> list[Message]:
        """Return the messages, without the first ``begin`` of them."""
        return [entry for entry in islice(self.published, begin, None) if isinstance(entry, Message)]

    def newest_message(self, back: int) -> IdKey:
        """Return the id after which the last ``back`` messages come; all, if fewer are kept.

        A message that XDEL has deleted makes a hole, and ``start`` is its id. What came before the hole is not replayed.
        """
        return max(self.start, self.published[-1 - back].key) if back < len(self.published) else self.start


# ---- all logs ----------------------------------------------------------------------------------------------------------


class Logs:
    """The logs of all topics, within the limits."""

    def __init__(self, history: int | Mapping[str, int], limits: Limits, newest: IdKey) -> None:
        """``history``: how many messages to keep for every topic, or a mapping from topics to such numbers. ``newest``: an id
        before all ids of this broker. Raises TypeError or ValueError for a history that is not a count."""
        for name, count in history.items() if isinstance(history, Mapping) else [("", history)]:
            check_count(f"history{f' of {name}' if name else ''}", count, 0)
        self._history = history
        self.limits = limits
        self.histories: OrderedDict[str, Log] = OrderedDict()  # the topic that has been silent longest is first
        self.pinned: dict[str, Log] = {}
        self.in_histories, self.in_pinned = Total(), Total()
        # A topic without a log may have had messages up to this id. At first the id comes before all ids of this broker's
        # messages, and after all ids of any broker that ran before: a subscriber of an earlier broker is told of a gap.
        self._forgotten_until = newest

    def __len__(self) -> int:
        return len(self.histories) + len(self.pinned)

    def history(self, topic: str) -> int:
        """Return the maximum number of messages kept for the topic."""
        return self._history if isinstance(self._history, int) else self._history.get(topic, 0)

    def get(self, topic: str) -> Log | None:
        """Return the topic's log; None if nothing has been appended yet, or the log was forgotten."""
        return self.histories.get(topic) or self.pinned.get(topic)

    def of(self, topic: str, newest: IdKey) -> Log:
        """Return the log of the topic, or an empty log whose ``start`` says up to which id messages may be missing.

        If the topic has a history, ``start`` is the id at which a log was last forgotten: that log may have been this topic's.
        If it has no history, ``start`` is ``newest``, the broker's newest id, because earlier messages may have been published
        and not recorded.
        """
        size, most_bytes = self.history(topic), self.limits.max_log_bytes
        if size:
            return self.get(topic) or Log(size, most_bytes, self._forgotten_until, self.in_histories)
        return Log(0, most_bytes, newest, self.in_histories)

    def keep(self, log: Log, message: Message, newest: IdKey) -> None:
        """Append a message to its topic's log, and forget whole logs while all logs together exceed the limits.

        The log of this message is not forgotten, because its own limit bounds it. If all others are pinned, it drops messages.
        """
        log.publish(message)
        if not log.pinned:
            self.histories[message.topic] = log
            self.histories.move_to_end(message.topic)
        if self._is_too_much:
            self._forget(newest, not log.pinned)
            while self._is_too_much and log.pinned and log.published:
                log.drop_oldest_message()

    @property
    def _is_too_much(self) -> bool:
        too_many_bytes = self.in_histories.bytes + self.in_pinned.bytes > self.limits.max_history_bytes
        return too_many_bytes or len(self.histories) > self.limits.max_logs

    def _forget(self, newest: IdKey, spared: int) -> None:
        """Forget the logs of silent topics while there are too many logs or bytes, all but the last ``spared`` of them."""
        while self._is_too_much and len(self.histories) > spared:
            self.histories.popitem(last=False)[1].close()
            self._forgotten_until = newest

    def pin(self, topic: str) -> Log:
        """Return the topic's log, which from now on stays until ``delete``. Raises NoRoomError if there are too many."""
        log = self.pinned.get(topic)
        if log is not None:
            return log
        log = self.histories.get(topic)
        if len(self.pinned) >= self.limits.max_logs or (
            log is not None and self.in_pinned.bytes + log.bytes > self.limits.max_history_bytes
        ):
            raise NoRoomError
        if log is None:  # its ``start`` is 0-0: XADD may give it any id
            log = Log(self.history(topic), self.limits.max_log_bytes, FIRST_ID, self.in_histories)
        else:
            del self.histories[topic]
        self.pinned[topic] = log
        log.pin(self.in_pinned)
        return log

    def add(self, topic: str, entry: Entry, newest: IdKey) -> Log:
        """Append an entry that is not a message, and return the log. Raises NoRoomError."""
        log = self.get(topic)
        of_log, limits = 0 if log is None else log.bytes, self.limits
        of_pinned = self.in_pinned.bytes + (of_log if topic in self.histories else 0)  # this entry pins the topic's history
        if of_log + entry.cost > limits.max_log_bytes or of_pinned + entry.cost > limits.max_history_bytes:
            raise NoRoomError
        log = self.pin(topic)
        log.append(entry)
        self._forget(newest, 0)
        return log

    def delete(self, topic: str, newest: IdKey) -> bool:
        """Forget a topic's log, for DEL. Return whether there was one."""
        log = self.histories.pop(topic, None) or self.pinned.pop(topic, None)
        if log is None:
            return False
        log.close()
        self._forgotten_until = newest
        return True
