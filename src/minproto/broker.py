"""A publish/subscribe broker in memory: topics, patterns, logs, subscriptions. Synchronous; it never waits and knows no bytes.

Who publishes does not know who listens. Each subscription has a queue of its own, and all queues get a message in the same
step in which its log does, so nothing can come between: order, resuming and counting are right because nothing is concurrent.

Two things go wrong in brokers. A subscriber that is slower than its publishers makes a queue grow without end: here a queue
is bounded, and what happens at the bound is chosen, counted, and told to the subscriber in its place in the stream. And a
subscriber that was away for a moment may silently miss messages: here it names the last id that it saw, and gets all that
the topic's log has behind it, or is told that there is a gap.

Shells (Server-Sent Events, WebSocket, RESP) take from subscriptions only while their own write buffers are low, so what waits
for a slow reader waits here. Left out: persistence, and anything that needs a second process.
"""

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Protocol


@dataclass(frozen=True)
class Limits:
    """What publishers and subscribers could make unbounded."""

    max_pending: int = 10_000
    """Messages that wait for a subscriber."""
    max_pending_bytes: int = 8 << 20
    """Bytes of those. One message may be larger, if nothing else waits."""
    max_logs: int = 10_000
    """Topics that have a history; beyond, the one that was silent for longest loses it."""
    max_log_bytes: int = 16 << 20
    """Bytes of one topic's history; beyond, its oldest messages are lost."""


class Overflow(Enum):
    """What happens to a subscription that is full."""

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


@dataclass(slots=True)
class Message:
    """What was published."""

    topic: str
    id: str
    """``milliseconds-sequence``, growing with each message of the broker."""
    data: bytes
    pattern: str | None = None
    """The pattern that it was delivered for, if it was not for the topic itself."""
    forms: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """What shells have made of it: each makes its own once, however many receive it."""


@dataclass(slots=True)
class Gap:
    """A notice: here, messages are missing."""

    count: int | None
    """How many; None where nobody knows."""


Item = Message | Gap


class Listener(Protocol):
    """Whom messages are given to: a subscription, or what stands for many receivers, or for none."""

    def offer(self, message: Message) -> int:
        """A message that matches, in the step in which it is published; how many receive it."""

    def receivers(self, topic: str) -> int:
        """How many listen to the topic by its name."""


class Subscription:
    """A queue of messages. ``matched`` = ``taken`` + ``dropped`` + ``pending``, at any time."""

    def __init__(self, broker: "Broker", limits: Limits, on_overflow: Overflow) -> None:
        self._broker = broker
        self._limits = limits
        self._on_overflow = on_overflow
        self._items: deque[Item] = deque()
        self._bytes = 0  # of the messages in it
        self._front: Gap | None = None  # what is missing before the first of them
        self.topics: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.matched = 0
        self.taken = 0
        self.dropped = 0
        self.pending = 0
        self.ended: str | None = None
        """Why nothing will come any more: ``closed``, or ``overflow``."""
        self.on_ready: Callable[[], None] = lambda: None
        """Called when there is something to take, where there was nothing; and at the end."""

    def add(self, topic: str) -> None:
        """Listen to one more topic; once is as good as twice."""
        self.topics[topic] = None
        self._broker.listen(topic, self)

    def remove(self, topic: str) -> None:
        """Listen to it no more. What was queued stays."""
        if topic in self.topics:
            del self.topics[topic]
            self._broker.ignore(topic, self)

    def add_pattern(self, pattern: str) -> None:
        """Listen to all topics that match."""
        self.patterns[pattern] = None
        self._broker.listen_to_pattern(pattern, self)

    def remove_pattern(self, pattern: str) -> None:
        """Listen to them no more."""
        if pattern in self.patterns:
            del self.patterns[pattern]
            self._broker.ignore_pattern(pattern, self)

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._items) or self._front is not None

    def take(self, most: int) -> list[Item]:
        """The next messages and notices, at most so many; none where nothing waits."""
        taken: list[Item] = []
        if self._front is not None and most > 0:
            taken.append(self._front)
            self._front = None
        while self._items and len(taken) < most:
            item = self._items.popleft()
            taken.append(item)
            if isinstance(item, Message):
                self._count(item, -1)
                self.taken += 1
        return taken

    def close(self, reason: str = "closed") -> None:
        """End it. What is left counts as dropped; after an overflow, a notice of that can still be taken."""
        if self.ended is not None:
            return
        self.ended = reason
        for topic in list(self.topics):
            self.remove(topic)
        for pattern in list(self.patterns):
            self.remove_pattern(pattern)
        self.dropped += self.pending
        self.pending = self._bytes = 0
        self._front = None
        self._items.clear()
        self.on_ready()  # who waits looks at it in a later step

    def offer(self, message: Message) -> int:
        """A message that matches. The broker calls this."""
        if self.ended is not None:  # by this very message, for another pattern
            return 1
        self.matched += 1
        if self._is_full(message):
            self._overflow(message)
        else:
            self._append(message)
            self._count(message, 1)
        return 1

    def receivers(self, topic: str) -> int:
        return 1

    def _append(self, item: Item) -> None:
        self._items.append(item)
        if len(self._items) == 1 and self._front is None:
            self.on_ready()

    def replay(self, gap: bool, messages: list[Message]) -> None:
        """Begin with what a log has. Its bound is the log's own, for these messages are the log's."""
        self._front = Gap(None) if gap else None
        for message in messages:
            self.matched += 1
            self._append(message)
            self._count(message, 1)

    def _count(self, message: Message, sign: int) -> None:
        self.pending += sign
        self._bytes += sign * len(message.data)

    def _is_full(self, message: Message) -> bool:
        limits = self._limits
        too_large = self._bytes + len(message.data) > limits.max_pending_bytes and self.pending > 0
        return self.pending >= limits.max_pending or too_large

    def _overflow(self, message: Message) -> None:
        if self._on_overflow is Overflow.DISCONNECT:
            self.dropped += 1
            missing = self.pending + 1
            self.close("overflow")
            self._front = Gap(missing)
        elif self._on_overflow is Overflow.DROP_NEWEST:
            self.dropped += 1
            last = self._items[-1] if self._items else None
            if isinstance(last, Gap) and last.count is not None:
                last.count += 1
            else:
                self._append(Gap(1))
        else:
            while self._items and self._is_full(message):
                self._drop_oldest()
            self._append(message)
            self._count(message, 1)

    def _drop_oldest(self) -> None:
        """The notice goes where the message was: to the front."""
        message = self._items.popleft()
        assert isinstance(message, Message)  # notices among the messages belong to another policy
        self._count(message, -1)
        self.dropped += 1
        if self._front is None:
            self._front = Gap(0)
        if self._front.count is not None:
            self._front.count += 1


class _Log:
    """The last messages of a topic."""

    def __init__(self, size: int, max_bytes: int, complete: bool) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self._bytes = 0
        self.messages: deque[Message] = deque()
        self._complete = complete  # it goes back to the beginning

    def append(self, message: Message) -> None:
        self.messages.append(message)
        self._bytes += len(message.data)
        while len(self.messages) > self._size or (self._bytes > self._max_bytes and self.messages):
            self._bytes -= len(self.messages.popleft().data)
            self._complete = False

    def after(self, id: str, beginning: str) -> tuple[bool, list[Message]]:
        """(whether there is a gap, the messages behind an id)."""
        if id == beginning and self._complete:
            return False, list(self.messages)
        held = any(message.id == id for message in self.messages)
        if (key := parse_id(id)) is None:
            return True, list(self.messages)
        return not held, [message for message in self.messages if _key(message.id) > key]


class Broker:
    """Topics, and who listens to them."""

    def __init__(
        self, clock: Callable[[], int], history: int | Mapping[str, int] = 0, limits: Limits = Limits()
    ) -> None:
        """``clock`` gives milliseconds since 1970. ``history``: messages that are kept of each topic, or of each named one."""
        self._clock = clock
        self._history = history
        self.limits = limits
        self._last = (clock(), 0)
        self.beginning = _id(self._last)
        """An id before all others, and after those of the brokers before this one."""
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._patterns = _Patterns()
        self._logs: OrderedDict[str, _Log] = OrderedDict()  # the one that was silent for longest first
        self._forgetful = False  # a log was lost: a topic without one may have had messages

    def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all who listen; the number of deliveries, as Redis counts them."""
        message = Message(topic, self._next_id(), data)
        self._keep(message)
        deliveries: list[tuple[Listener, Message]] = [(listener, message) for listener in self._listeners.get(topic, ())]
        for pattern, listeners in self._patterns.matching(topic):
            copy = Message(topic, message.id, data, pattern)
            deliveries += [(listener, copy) for listener in listeners]
        # By now a list: who is disconnected leaves the dicts.
        return sum([listener.offer(delivered) for listener, delivered in deliveries])

    def subscribe(
        self,
        *topics: str,
        patterns: Iterable[str] = (),
        after: str | None = None,
        limits: Limits | None = None,
        on_overflow: str = "disconnect",
    ) -> Subscription:
        """Listen. ``after``: an id of the one topic; what its log has behind it comes first. None: only what is new.

        Raises ValueError for ``after`` with several topics or a pattern, and for an unknown policy.
        """
        patterns = list(patterns)
        if after is not None and (len(topics) != 1 or patterns):
            raise ValueError("only a subscription to one topic can resume")
        subscription = Subscription(self, limits or self.limits, Overflow(on_overflow))
        if after is not None:
            subscription.replay(*self._after(topics[0], after))
        for topic in topics:
            subscription.add(topic)
        for pattern in patterns:
            subscription.add_pattern(pattern)
        return subscription

    def log(self, topic: str) -> list[Message]:
        """What is kept of a topic, oldest first."""
        return list(self._logs[topic].messages) if topic in self._logs else []

    def last_id(self, topic: str) -> str:
        """The id from which a new subscriber to the topic could resume."""
        log = self._logs.get(topic)
        return log.messages[-1].id if log is not None and log.messages else self.beginning

    def listeners(self, topic: str) -> int:
        """Subscriptions that name the topic."""
        return sum(listener.receivers(topic) for listener in self._listeners.get(topic, ()))

    @property
    def topics(self) -> list[str]:
        """Those that somebody has named."""
        return [topic for topic in self._listeners if self.listeners(topic)]

    @property
    def patterns(self) -> int:
        """How many different ones are in use."""
        return len(self._patterns)

    def listen(self, topic: str, listener: Listener) -> None:
        """Give it the messages of the topic."""
        self._listeners.setdefault(topic, {})[listener] = None

    def ignore(self, topic: str, listener: Listener) -> None:
        """Give it no more of them. It has to have listened."""
        del self._listeners[topic][listener]
        if not self._listeners[topic]:
            del self._listeners[topic]

    def listen_to_pattern(self, pattern: str, listener: Listener) -> None:
        """Give it the messages of all topics that match, with the pattern in them."""
        self._patterns.add(pattern, listener)

    def ignore_pattern(self, pattern: str, listener: Listener) -> None:
        """Give it no more of them."""
        self._patterns.remove(pattern, listener)

    # -- what publish and subscribe need

    def _next_id(self) -> str:
        """Later than all before, also if the clock went back."""
        milliseconds, sequence = self._last
        now = self._clock()
        self._last = (now, 0) if now > milliseconds else (milliseconds, sequence + 1)
        return _id(self._last)

    def _size(self, topic: str) -> int:
        return self._history if isinstance(self._history, int) else self._history.get(topic, 0)

    def _keep(self, message: Message) -> None:
        size = self._size(message.topic)
        if not size:
            return
        log = self._logs.get(message.topic)
        if log is None:
            log = self._logs[message.topic] = _Log(size, self.limits.max_log_bytes, not self._forgetful)
            if len(self._logs) > self.limits.max_logs:
                self._logs.popitem(last=False)
                self._forgetful = True
        else:
            self._logs.move_to_end(message.topic)
        log.append(message)

    def _after(self, topic: str, id: str) -> tuple[bool, list[Message]]:
        """(whether there is a gap, the messages behind an id)."""
        log = self._logs.get(topic)
        if log is not None:
            return log.after(id, self.beginning)
        nothing_missed = id == self.beginning and self._size(topic) > 0 and not self._forgetful
        return not nothing_missed, []


# ---- ids: milliseconds "-" sequence ------------------------------------------------------------------------------------

_ID = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


def _id(key: tuple[int, int]) -> str:
    return f"{key[0]}-{key[1]}"


def parse_id(id: str) -> tuple[int, int] | None:
    """An id as numbers that can be compared; None for what is none."""
    found = _ID.fullmatch(id)
    return (int(found[1]), int(found[2])) if found else None


def id_before(id: str) -> str:
    """An id that no message has, and from which all from this message on are replayed."""
    milliseconds, sequence = _key(id)
    return _id((milliseconds, sequence - 1) if sequence else (milliseconds - 1, 999_999_999))


def _key(id: str) -> tuple[int, int]:
    key = parse_id(id)
    assert key is not None
    return key


# ---- patterns ----------------------------------------------------------------------------------------------------------
#
#   *        any bytes, also none         [abc] [a-z]   one of them; a range may be the wrong way round
#   ?        one byte                     [^abc]        one, but none of them
#   \x       x itself                     As in Redis a class without its end goes to the end of the pattern.
#
# A pattern becomes a regular expression. After each star the first place where the part up to the next star fits is as good
# as any later one, so it is taken for good (an atomic group): hostile patterns cost pattern times topic, and no more.

_PARTS = re.compile(r"(?s)\*+|\?|\[\^?((?:\\.|[^\]])*)(?:\]|\Z)|\\.|.")
_IN_CLASS = re.compile(r"(?s)\\(.)|(.)-(.)|(.)")


def glob(pattern: str) -> re.Pattern[bytes]:
    """What ``fullmatch`` on a topic's bytes tells whether it matches."""
    parts = [""]
    for part in _PARTS.finditer(_latin(pattern)):
        if part[0][0] == "*":
            parts.append("")
        else:
            parts[-1] += _one(part)
    first, *others = parts
    if others:
        *middle, last = others
        first += "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}"
    return re.compile(first.encode("latin-1"), re.DOTALL)


def _one(part: re.Match[str]) -> str:
    """The regular expression of what stands for one byte."""
    text = part[0]
    if text == "?":
        return "."
    if text[0] != "[":
        return re.escape(text[-1])
    members = "".join(_member(member) for member in _IN_CLASS.finditer(part[1]))
    if not members:
        return "." if text[1:2] == "^" else "(?!)"
    return f"[{'^' if text[1:2] == '^' else ''}{members}]"


def _member(member: re.Match[str]) -> str:
    """One of a class: a byte, or a range."""
    if member[2] is None:
        return re.escape(member[1] or member[4])
    low, high = sorted((member[2], member[3]))
    return f"{re.escape(low)}-{re.escape(high)}"


def _latin(text: str) -> str:
    """One character for each byte, since Redis matches bytes."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


_PREFIX = re.compile(r"[^*?\[\\]*")
_CACHED = 10_000


class _Patterns:
    """Who listens to which patterns. They are found by their first letters up to a wildcard, and then remembered."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._by_prefix: dict[str, dict[str, re.Pattern[bytes]]] = {}
        self._lengths: dict[int, int] = {}  # of the prefixes in use: how many have it
        self._found: dict[str, list[str]] = {}  # topic -> patterns that match it

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, pattern: str, listener: Listener) -> None:
        if pattern not in self._listeners:
            prefix = _prefix(pattern)
            if prefix not in self._by_prefix:
                self._by_prefix[prefix] = {}
                self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1
            self._by_prefix[prefix][pattern] = glob(pattern)
            self._listeners[pattern] = {}
            self._found.clear()
        self._listeners[pattern][listener] = None

    def remove(self, pattern: str, listener: Listener) -> None:
        del self._listeners[pattern][listener]
        if self._listeners[pattern]:
            return
        del self._listeners[pattern]
        prefix = _prefix(pattern)
        del self._by_prefix[prefix][pattern]
        if not self._by_prefix[prefix]:
            del self._by_prefix[prefix]
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]
        self._found.clear()

    def matching(self, topic: str) -> list[tuple[str, dict[Listener, None]]]:
        """The patterns that match, each with who listens."""
        if not self._listeners:
            return []
        found = self._found.get(topic)
        if found is None:
            if len(self._found) >= _CACHED:
                self._found.clear()
            found = self._found[topic] = self._find(topic)
        return [(pattern, self._listeners[pattern]) for pattern in found]

    def _find(self, topic: str) -> list[str]:
        encoded = topic.encode("utf-8", "surrogateescape")
        candidates = (self._by_prefix.get(topic[:length], {}) for length in self._lengths if length <= len(topic))
        return [
            pattern
            for pattern, compiled in chain.from_iterable(patterns.items() for patterns in candidates)
            if compiled.fullmatch(encoded)
        ]


def _prefix(pattern: str) -> str:
    found = _PREFIX.match(pattern)
    return found[0] if found else ""
