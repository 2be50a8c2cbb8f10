"""The broker made faster: a message is compared only with the patterns that can match its topic, and put into a queue in one
step.

Most patterns begin with letters, such as ``news.`` in ``news.*``, or end with them, such as ``.uk`` in ``*.uk``. An index from
these letters to the patterns finds the candidates for a topic with a few look-ups, one for each length of such letters:

    patterns            index by the first letters                 index by the last letters, backwards
    news.*  news.?      "news." -> news.*, news.?
    *.uk                                                           "ku." -> *.uk
    *                   ""      -> *

A publish to ``news.uk`` looks up "news.", "ku." and "", and never sees ten thousand patterns ``sport.…*``. The answer for a
topic is remembered until a pattern is added or removed, so a pattern with wildcards at both ends is compared once for each
topic.

A message for 100 subscribers is put into 100 queues, and taken out of them again. ``Subscription`` does this in one step while
a queue has room and no gap. The plain methods do everything else: overflows, gaps, replays. In the same way ``Broker`` keeps a
message in a log of messages alone, where no limit on bytes is reached.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import chain, count, takewhile

from minproto import broker
from minproto.broker import Item, Listener, Message, name_bytes
from minproto.log import MESSAGE_COST, encode_id

_REMEMBERED = 20_000
"""The maximum number of topics and matching patterns, counted together, that are remembered."""


class _Index:
    """Patterns by the letters that a topic has to begin with."""

    def __init__(self) -> None:
        self._by_letters: dict[bytes, dict[str, None]] = {}
        self._lengths: dict[int, int] = {}  # length -> how many keys of that length there are

    def add(self, letters: bytes, pattern: str) -> None:
        if letters not in self._by_letters:
            self._by_letters[letters] = {}
            self._lengths[len(letters)] = self._lengths.get(len(letters), 0) + 1
        self._by_letters[letters][pattern] = None

    def remove(self, letters: bytes, pattern: str) -> None:
        del self._by_letters[letters][pattern]
        if not self._by_letters[letters]:
            del self._by_letters[letters]
            self._lengths[len(letters)] -= 1
            if not self._lengths[len(letters)]:
                del self._lengths[len(letters)]

    def candidates(self, name: bytes) -> Iterator[str]:
        for length in self._lengths:
            if length <= len(name):
                yield from self._by_letters.get(name[:length], ())


class Patterns(broker.Patterns):
    """The plain table of patterns, with an index in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self._by_first, self._by_last = _Index(), _Index()
        self._age: dict[str, int] = {}  # for the order in which patterns were added, which an index does not keep
        self._ages = count()
        self._found: dict[bytes, list[str]] = {}  # topic -> patterns that match it
        self._remembered = 0

    def add(self, pattern: str, listener: Listener) -> None:
        is_new = pattern not in self._globs
        super().add(pattern, listener)
        if is_new:
            self._age[pattern] = next(self._ages)
            index, letters = self._place(pattern)
            index.add(letters, pattern)
            self._clear()

    def remove(self, pattern: str, listener: Listener) -> None:
        super().remove(pattern, listener)
        if pattern not in self._globs:
            del self._age[pattern]
            index, letters = self._place(pattern)
            index.remove(letters, pattern)
            self._clear()

    def _clear(self) -> None:
        self._found.clear()
        self._remembered = 0

    def _place(self, pattern: str) -> tuple[_Index, bytes]:
        """Return the index for a pattern, and its letters there: its first or its last letters, whichever are more."""
        parts = broker._PARTS.findall(name_bytes(pattern))
        first, last = _letters(parts), _letters(reversed(parts))
        return (self._by_first, first) if len(first) >= len(last) else (self._by_last, last)

    def matching(self, name: bytes) -> list[tuple[str, dict[Listener, None]]]:
        if not self._globs:
            return []
        found = self._found.get(name)
        if found is None:
            if self._remembered >= _REMEMBERED:
                self._clear()
            candidates = chain(self._by_first.candidates(name), self._by_last.candidates(name[::-1]))
            matching = (pattern for pattern in candidates if self._globs[pattern].fullmatch(name))
            found = self._found[name] = sorted(matching, key=self._age.__getitem__)
            self._remembered += 1 + len(found)
        return [(pattern, self._listeners[pattern]) for pattern in found]


def _letters(parts: Iterable[bytes]) -> bytes:
    """Return the letters before the first wildcard, without the backslashes before them."""
    return b"".join(part[-1:] for part in takewhile(lambda part: part[:1] not in (b"*", b"?", b"["), parts))


class Subscription(broker.Subscription):
    """The plain subscription, with a shorter way into its queue and out of it."""

    __slots__ = ()

    def offer(self, message: Message) -> int:
        """Put a message into a queue that has room for it. The plain method knows a case more: an empty queue has room for a
        message of any size."""
        size, limits = self._bytes + len(message.data), self._limits
        if self.pending >= limits.max_pending or size > limits.max_pending_bytes or self.ended is not None:
            return super().offer(message)
        self._items.append(message)
        self._bytes = size
        self.matched += 1
        self.pending += 1
        if not self._notified:
            self.on_ready()
            self._notified = self.waiting
        return 1

    def take(self, most: int, most_bytes: int = sys.maxsize) -> list[Item]:
        """Take everything at once, if all of it may be taken and is messages. ``pending`` does not count a gap."""
        items, count = self._items, self.pending
        everything = type(most) is type(most_bytes) is int and len(items) == count <= most and self._bytes < most_bytes
        if not everything or self._first_gap or self._extra_messages:
            return super().take(most, most_bytes)
        taken = list(items)
        items.clear()
        self.taken += count
        self.pending = self._bytes = 0
        self._notified = False
        return taken


class Broker(broker.Broker):
    """A broker with the indexed table of patterns, and the shorter ways of its subscriptions."""

    __slots__ = ()

    patterns = Patterns
    subscription = Subscription

    def _keep(self, topic: str, data: bytes) -> Message:
        """Keep a message in a log without added entries. Where the log is full, the oldest message makes room."""
        logs = self._logs
        log = logs.histories.get(topic)
        size = len(data) + len(topic) + MESSAGE_COST
        of_all = size + logs.in_histories.bytes + logs.in_pinned.bytes
        if log is None or log.bytes + size > log.max_bytes or of_all > logs.limits.max_history_bytes:
            return super()._keep(topic, data)
        log.last = key = self._next_id()
        message = Message(topic, encode_id(key), data, None, {}, key)
        published = log.published
        if len(published) >= log.max_messages:
            lost = published.popleft()
            log.start = lost.key
            size -= lost.cost
        published.append(message)
        log.added += 1
        log.bytes += size
        logs.in_histories.bytes += size
        logs.histories.move_to_end(topic)
        return message
