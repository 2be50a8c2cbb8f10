"""A publish/subscribe broker in memory: topics, patterns, logs, subscriptions. Synchronous: it never waits, and knows no wire.

Who publishes does not know who listens. Each subscription has a queue of its own, and all queues get a message in the same
step in which its log does, so nothing can come between: order, resuming and counting are right because nothing is concurrent.

Two things go wrong in brokers. A subscriber that is slower than its publishers makes a queue grow without end: here a queue
is bounded, and what happens at the bound is chosen, counted, and told to the subscriber in its place in the stream. And a
subscriber that was away for a moment may silently miss messages: here it names the last id that it saw, and gets all that
the topic's log has behind it, or is told that there is a gap.

    publish --> log of the topic (the last N) --------- replay, when somebody resumes ---.
           `--> topic ----> queue of a subscription <------------------------------------'
           `--> pattern --> queue of a subscription --> take: messages, and gaps in their places

A queue holds messages, which all queues and the log share, so a thousand subscribers to one topic cost a thousand references
and not a thousand copies. Shells (Server-Sent Events, WebSocket, RESP) take only while their own write buffers are low, so
what waits for a slow reader waits here. Left out: persistence, and anything that needs a second process.
"""

import re
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, takewhile
from typing import Protocol

from minproto.core import check_count, check_counts

MAX_NAME = 1_024
"""Bytes of a topic or a pattern. To match one against the other may take as many steps as both lengths multiplied."""


@dataclass(frozen=True)
class Limits:
    """What publishers and subscribers could make unbounded."""

    max_pending: int = 10_000
    """Messages that wait for a subscriber, besides those that it asked to be replayed."""
    max_pending_bytes: int = 8 << 20
    """Bytes of those. One message may be larger, if nothing else waits."""
    max_logs: int = 10_000
    """Topics that have a history; beyond, the one that was silent for longest loses it."""
    max_log_bytes: int = 16 << 20
    """Bytes of one topic's history; beyond, its oldest messages are lost."""
    max_history_bytes: int = 128 << 20
    """Bytes of all topics' history; beyond, as with ``max_logs``. Each message counts ``MESSAGE_COST`` besides its data."""

    def __post_init__(self) -> None:
        check_counts(self)


MESSAGE_COST = 500
"""Bytes, roughly, that a message takes in memory besides its data."""


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
    """What shells have made of it, whatever the pattern: each makes its own once, however many receive it."""


@dataclass(slots=True)
class Gap:
    """A notice: here, messages are missing."""

    count: int | None
    """How many; None where nobody knows."""
    id: str | None = None
    """From where somebody resumes who has seen the notice and nothing behind it. None: from the last message before it."""
    reason: str | None = field(default=None, compare=False)
    """Why, where a shell knows more than that a queue or a log was too short."""


Item = Message | Gap


class Listener(Protocol):
    """Whom messages are given to: a subscription, or what stands for many receivers, or for none."""

    def offer(self, message: Message) -> int:
        """A message that matches, in the step in which it is published; how many receive it."""

    def receivers(self, topic: str) -> int:
        """How many listen to the topic by its name."""


class Subscription:
    """A queue of messages. ``matched`` = ``taken`` + ``dropped`` + ``pending``, at any time.

    A subscription to one topic can be resumed; ``start`` is where it begins, for who has received nothing of it yet.
    """

    def __init__(self, broker: "Broker", limits: Limits, on_overflow: Overflow) -> None:
        self._broker = broker
        self._limits = limits
        self._on_overflow = on_overflow
        self._items: deque[Item] = deque()
        self._bytes = 0  # of the messages in it
        self._room, self._room_bytes = limits.max_pending, limits.max_pending_bytes
        self._front: Gap | None = None  # what is missing before the first of them
        self.start: str | None = None
        """None: nowhere (several topics, patterns), or what waits first is the notice that tells where."""
        self.topics: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.matched = 0
        self.taken = 0
        self.dropped = 0
        self.pending = 0
        self.ended: str | None = None
        """Why nothing will come any more: ``closed``, or ``overflow``."""
        self._told = False  # on_ready has been called for what waits
        self.on_ready: Callable[[], None] = lambda: None
        """Called when there is something to take, where there was nothing; and at the end. If it raises: again at the next."""

    def add(self, topic: str) -> None:
        """Listen to one more topic; once is as good as twice. Raises ValueError for a name that is too long."""
        if self.ended is None:
            self._broker.listen(topic, self)
            self.topics[topic] = None

    def remove(self, topic: str) -> None:
        """Listen to it no more. What was queued stays."""
        if topic in self.topics:
            del self.topics[topic]
            self._broker.ignore(topic, self)

    def add_pattern(self, pattern: str) -> None:
        """Listen to all topics that match. Raises ValueError for a pattern that is too long."""
        if self.ended is None:
            self._broker.listen_to_pattern(pattern, self)
            self.patterns[pattern] = None

    def remove_pattern(self, pattern: str) -> None:
        """Listen to them no more."""
        if pattern in self.patterns:
            del self.patterns[pattern]
            self._broker.ignore_pattern(pattern, self)

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._items) or self._front is not None

    def take(self, most: int, most_bytes: int = sys.maxsize) -> list[Item]:
        """The next messages and notices: at most so many, and none after so many bytes; none where nothing waits."""
        taken: list[Item] = []
        if self._front is not None and most > 0:
            taken.append(self._front)
            self._front = None
        enough = self._bytes - most_bytes
        while self._items and len(taken) < most and self._bytes > enough:
            item = self._items.popleft()
            taken.append(item)
            if isinstance(item, Message):
                self._count(item, -1)
                self.taken += 1
                if self._room > self._limits.max_pending:
                    self._narrow(item)
        self._told = self.waiting
        return taken

    def end(self, reason: str = "closed") -> None:
        """Listen to nothing more. What waits can still be taken."""
        if self.ended is not None:
            return
        self.ended = reason
        for topic in list(self.topics):
            self.remove(topic)
        for pattern in list(self.patterns):
            self.remove_pattern(pattern)
        self.on_ready()

    def close(self) -> None:
        """End it, and drop what waits."""
        self._drop_all(None)
        self.end()

    def replay(self, gap: Gap | None, messages: list[Message]) -> None:
        """Begin with what a log has. That comes on top of the limits, or who resumes would be full from the beginning."""
        self._front = gap
        self._items.extend(messages)
        self._told = self.waiting
        self._bytes = sum([len(message.data) for message in messages])
        self.matched = self.pending = len(messages)
        self._room += self.pending
        self._room_bytes += self._bytes

    def _narrow(self, message: Message) -> None:
        """One of as many as were replayed is taken, and with it the room that they had on top of the limits.

        It need not be one of those: with DROP_OLDEST newer ones, of other sizes, may have come in their places. So the room in
        bytes stops at the limit, and is the limit when the last of so many is taken.
        """
        limits = self._limits
        self._room -= 1
        self._room_bytes -= len(message.data)
        if self._room == limits.max_pending or self._room_bytes < limits.max_pending_bytes:
            self._room_bytes = limits.max_pending_bytes

    def offer(self, message: Message) -> int:
        """A message that matches. The broker calls this."""
        if self.ended is not None:  # by this very message, for another pattern
            return 0
        self.matched += 1
        if self._is_full(message):
            self._overflow(message)
        else:
            self._append(message)
        return 1

    def receivers(self, topic: str) -> int:
        return 1

    def _append(self, message: Message) -> None:
        self._items.append(message)
        self._count(message, 1)
        if not self._told:
            self.on_ready()
            self._told = self.waiting  # unless the call has taken it

    def _count(self, message: Message, sign: int) -> None:
        self.pending += sign
        self._bytes += sign * len(message.data)

    def _is_full(self, message: Message) -> bool:
        too_large = self._bytes + len(message.data) > self._room_bytes and self.pending > 0
        return self.pending >= self._room or too_large

    def _overflow(self, message: Message) -> None:
        if self._on_overflow is Overflow.DISCONNECT:
            self.dropped += 1
            unknown = self._front is not None  # what a log had lost before
            self._drop_all(Gap(None if unknown else self.pending + 1))
            self.end("overflow")
        elif self._on_overflow is Overflow.DROP_NEWEST:
            self.dropped += 1
            if not self._items or isinstance(self._items[-1], Message):
                self._items.append(Gap(0))
            _extend(self._items[-1], message)
        else:
            while self._items and self._is_full(message):
                self._drop_oldest()
            self._append(message)

    def _drop_all(self, notice: Gap | None) -> None:
        """At the end there is nothing in the queue but, if it has to be, a notice."""
        self.dropped += self.pending
        self.pending = self._bytes = 0
        self._front = notice
        self._items.clear()

    def _drop_oldest(self) -> None:
        """The notice goes where the message was: to the front."""
        message = self._items.popleft()
        assert isinstance(message, Message)  # notices among the messages belong to another policy
        self._count(message, -1)
        self.dropped += 1
        if self._front is None:
            self._front = Gap(0)
        _extend(self._front, message)


def _raise(error: Exception) -> None:
    raise error


def _extend(notice: Item, message: Message) -> None:
    """One more is missing."""
    assert isinstance(notice, Gap)
    if notice.count is not None:
        notice.count += 1
    notice.id = message.id


def listed(topics: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """The patterns of a subscription. Raises ValueError where it is to nothing, TypeError for a str: each of its letters
    would be a pattern, "*" among them."""
    if isinstance(patterns, str):
        raise TypeError(f"patterns are a list of str: [{patterns!r}]")
    if not isinstance(patterns, Iterable):
        raise TypeError(f"patterns are a list of str, not {type(patterns).__name__}")
    patterns = list(patterns)
    if not topics and not patterns:
        raise ValueError("a subscription to nothing: give a topic, or patterns=[...]")
    return patterns


class _Log:
    """The last messages of a topic."""

    def __init__(self, size: int, max_bytes: int, start: str) -> None:
        self._size = size
        self._max_bytes = max_bytes
        self.bytes = 0
        self.messages: deque[Message] = deque()
        self.start = start
        """The id behind which nothing is missing: that of the last message lost, or where the log begins."""

    def append(self, message: Message) -> None:
        self.messages.append(message)
        self.bytes += _cost(message)
        while self.messages and (len(self.messages) > self._size or self.bytes > self._max_bytes):
            lost = self.messages.popleft()
            self.bytes -= _cost(lost)
            self.start = lost.id

    @property
    def last_id(self) -> str:
        return self.messages[-1].id if self.messages else self.start

    def after(self, id: str) -> tuple[Gap | None, list[Message]]:
        """What is behind an id; with a notice in front, if something may be missing there.

        Most who resume were away for a moment: so it is looked for from the end. An id of elsewhere, if it is one at all,
        has only the messages behind it that are later; one from the future is of a broker whose clock was wrong.
        """
        newer = list(takewhile(lambda message: message.id != id, reversed(self.messages)))
        newer.reverse()
        if id == self.start or len(newer) < len(self.messages):
            return None, newer
        key = parse_id(id)
        if key is None or key > _key(self.last_id):
            return Gap(None, self.start), newer
        missed = [message for message in newer if _key(message.id) > key]
        others = newer[: len(newer) - len(missed)]
        return Gap(None, others[-1].id if others else self.start), missed


def _cost(message: Message) -> int:
    return len(message.data) + len(message.topic) + MESSAGE_COST


class Broker:
    """Topics, and who listens to them."""

    def __init__(
        self, clock: Callable[[], int], history: int | Mapping[str, int] = 0, limits: Limits = Limits()
    ) -> None:
        """``clock`` gives milliseconds since 1970. ``history``: messages that are kept of each topic, or of each named one."""
        for name, count in history.items() if isinstance(history, Mapping) else [("", history)]:
            check_count(f"history{f' of {name}' if name else ''}", count, 0)
        self._clock = clock
        self._history = history
        self.limits = limits
        self._last = (clock(), 0)
        self.beginning = _id(self._last)
        """An id before all others, and after those of the brokers before this one."""
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._patterns = _Patterns()
        self._logs: OrderedDict[str, _Log] = OrderedDict()  # the one that was silent for longest first
        self._log_bytes = 0  # of all of them
        self._lost = self.beginning  # the id before which a topic without a log may have had messages
        self.on_error: Callable[[Exception], None] = _raise
        """Called with what a listener has raised; the other listeners get the message all the same."""

    def publish(self, topic: str, data: bytes) -> int:
        """Give a message to all who listen; the number of deliveries, as Redis counts them.

        Raises ValueError for a name that is too long, TypeError for data that is not bytes. What it calls must not publish.
        What a listener raises goes to ``on_error``, which raises it, when all have the message.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a message is bytes, not {type(data).__name__}")
        name = _latin(topic)
        message = Message(topic, self._next_id(), data)
        self._keep(message)
        deliveries: list[tuple[Listener, Message]] = [(listener, message) for listener in self._listeners.get(topic, ())]
        for pattern, listeners in self._patterns.matching(name):
            copy = Message(topic, message.id, data, pattern, message.forms)
            deliveries += [(listener, copy) for listener in listeners]
        count, failures = 0, []
        for listener, delivered in deliveries:  # by now a list: who is disconnected leaves the dicts
            try:
                count += listener.offer(delivered)
            except Exception as error:
                failures.append(error)
        for failure in failures:
            self.on_error(failure)
        return count

    def subscribe(
        self,
        *topics: str,
        patterns: Iterable[str] = (),
        after: str | None = None,
        limits: Limits | None = None,
        on_overflow: str = "disconnect",
    ) -> Subscription:
        """Listen. ``after``: an id of the one topic; what its log has behind it comes first. None: only what is new.

        Raises ValueError for ``after`` with several topics or a pattern, an unknown policy, a name that is too long, and
        where there is none; TypeError for patterns that are one str.
        """
        patterns = listed(topics, patterns)
        if after is not None and (len(topics) != 1 or patterns):
            raise ValueError("only a subscription to one topic can resume")
        for name in (*topics, *patterns):
            _latin(name)  # before anything is done
        subscription = Subscription(self, limits or self.limits, Overflow(on_overflow))
        if len(topics) == 1 and not patterns:
            subscription.start = self.last_id(topics[0]) if after is None else after
        if after is not None:
            gap, messages = self._log_of(topics[0]).after(after)
            subscription.replay(gap, messages)
            if gap is not None:
                subscription.start = None
        for topic in topics:
            subscription.add(topic)
        for pattern in patterns:
            subscription.add_pattern(pattern)
        return subscription

    def log(self, topic: str) -> list[Message]:
        """What is kept of a topic, oldest first."""
        return list(self._logs[topic].messages) if topic in self._logs else []

    def kept(self, topic: str) -> int:
        """How many messages that are."""
        return len(self._logs[topic].messages) if topic in self._logs else 0

    def last_id(self, topic: str, back: int = 0) -> str:
        """The id after which so many of the kept messages come (or all of them, if fewer are kept); 0: only new ones."""
        _latin(topic)  # raises TypeError for what is no str
        log = self._log_of(topic)
        return log.messages[-1 - back].id if back < len(log.messages) else log.start

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
        """Give it the messages of the topic. Raises ValueError for a name that is too long."""
        _latin(topic)
        self._listeners.setdefault(topic, {})[listener] = None

    def ignore(self, topic: str, listener: Listener) -> None:
        """Give it no more of them. It has to have listened."""
        del self._listeners[topic][listener]
        if not self._listeners[topic]:
            del self._listeners[topic]

    def listen_to_pattern(self, pattern: str, listener: Listener) -> None:
        """Give it the messages of all topics that match, with the pattern in them. Raises as ``listen``."""
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

    def history(self, topic: str) -> int:
        """The number of messages that are kept of the topic at most."""
        return self._history if isinstance(self._history, int) else self._history.get(topic, 0)

    def _log_of(self, topic: str) -> _Log:
        """That of the topic, or an empty one. Without a history nothing is known of before this moment but that it was."""
        log = self._logs.get(topic)
        if log is None:
            size = self.history(topic)
            log = _Log(size, self.limits.max_log_bytes, self._lost if size else _id(self._last))
        return log

    def _keep(self, message: Message) -> None:
        if not self.history(message.topic):
            return
        log = self._logs[message.topic] = self._log_of(message.topic)
        self._logs.move_to_end(message.topic)
        self._log_bytes -= log.bytes
        log.append(message)
        self._log_bytes += log.bytes
        limits = self.limits
        while len(self._logs) > limits.max_logs or (self._log_bytes > limits.max_history_bytes and len(self._logs) > 1):
            _, lost = self._logs.popitem(last=False)
            self._log_bytes -= lost.bytes
            self._lost = _id(self._last)


# ---- ids: milliseconds "-" sequence ------------------------------------------------------------------------------------

_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")  # as many digits as 64 bits have; ``int`` refuses some thousands


def _id(key: tuple[int, int]) -> str:
    return f"{key[0]}-{key[1]}"


def parse_id(id: str) -> tuple[int, int] | None:
    """An id as numbers that can be compared; None for what is none."""
    found = _ID.fullmatch(id)
    return (int(found[1]), int(found[2])) if found else None


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
# As there, "*" does not match the empty topic. The bytes of a range go from 0 to 255; those of a Redis whose C has signed
# characters from -128 to 127, which matters for ranges from ASCII to what is not.
#
# A pattern becomes a regular expression. After each star the first place where the part up to the next star fits is as good
# as any later one, so it is taken for good (an atomic group): hostile patterns cost pattern times topic, and no more.

_PARTS = re.compile(r"(?s)\*+|\?|\[\^?(?:\\.|[^\]]-.|[^\]])*\]?|\\.|.")
_CLASS = re.compile(r"(?s)\[(\^?)((?:\\.|[^\]]-.|[^\]])*)")
_IN_CLASS = re.compile(r"(?s)\\(.)|(.)-(.)|(.)")


def glob(pattern: str) -> re.Pattern[bytes]:
    """What ``fullmatch`` on a topic's bytes tells whether it matches. Raises ValueError for a pattern that is too long."""
    parts = [""]
    for part in _PARTS.findall(_latin(pattern)):
        if part[0] == "*":
            parts.append("")
        else:
            parts[-1] += _one(part)
    first, *others = parts
    if others:
        *middle, last = others
        first = f"(?=.){first}" + "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}"
    return re.compile(first.encode("latin-1"), re.DOTALL)


def _one(part: str) -> str:
    """The regular expression of what stands for one byte."""
    if part == "?":
        return "."
    if (found := _CLASS.match(part)) is None:
        return re.escape(part[-1])
    members = "".join(_member(member) for member in _IN_CLASS.finditer(found[2]))
    if not members:
        return "." if found[1] else "(?!)"
    return f"[{found[1]}{members}]"


def _member(member: re.Match[str]) -> str:
    """One of a class: a byte, or a range."""
    if member[2] is None:
        return re.escape(member[1] or member[4])
    low, high = sorted((member[2], member[3]))
    return f"{re.escape(low)}-{re.escape(high)}"


def _latin(text: str) -> str:
    """One character for each byte, since Redis matches bytes. Raises ValueError if they are too many, TypeError for no str."""
    if not isinstance(text, str):
        raise TypeError(f"a topic or pattern is a str, not {type(text).__name__}: {text!r:.60}")
    name = text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")
    if len(name) > MAX_NAME:
        raise ValueError(f"a topic or pattern of more than {MAX_NAME} bytes")
    return name


_CACHED = 20_000
"""Topics of which it is remembered what they match, and the patterns that they do, counted together."""


class _Index:
    """Patterns by the letters that a topic has to begin with: found by as many look-ups as these have different lengths."""

    def __init__(self) -> None:
        self._by_letters: dict[str, dict[str, re.Pattern[bytes]]] = {}
        self._lengths: dict[int, int] = {}  # how many of the letters are so long

    def add(self, letters: str, pattern: str) -> None:
        if letters not in self._by_letters:
            self._by_letters[letters] = {}
            self._lengths[len(letters)] = self._lengths.get(len(letters), 0) + 1
        self._by_letters[letters][pattern] = glob(pattern)

    def remove(self, letters: str, pattern: str) -> None:
        del self._by_letters[letters][pattern]
        if not self._by_letters[letters]:
            del self._by_letters[letters]
            self._lengths[len(letters)] -= 1
            if not self._lengths[len(letters)]:
                del self._lengths[len(letters)]

    def candidates(self, name: str) -> Iterator[tuple[str, re.Pattern[bytes]]]:
        """The patterns that may match."""
        for length in self._lengths:
            if length <= len(name):
                yield from self._by_letters.get(name[:length], {}).items()


class _Patterns:
    """Who listens to which patterns. Each is found by its first letters up to a wildcard, or by its last if they are more.

    What a topic matches is remembered. So the cost of a message does not grow with the patterns that it does not match, but
    for those with a wildcard at both ends: and for these only at the first message of a topic after a pattern came or went.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._by_first, self._by_last = _Index(), _Index()  # the latter has everything backwards
        self._found: dict[str, list[str]] = {}  # topic -> patterns that match it
        self._cached = 0  # of both

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, pattern: str, listener: Listener) -> None:
        if pattern not in self._listeners:
            index, letters = self._place(pattern)
            index.add(letters, pattern)
            self._listeners[pattern] = {}
            self._forget()
        self._listeners[pattern][listener] = None

    def remove(self, pattern: str, listener: Listener) -> None:
        del self._listeners[pattern][listener]
        if not self._listeners[pattern]:
            del self._listeners[pattern]
            index, letters = self._place(pattern)
            index.remove(letters, pattern)
            self._forget()

    def _forget(self) -> None:
        self._found.clear()
        self._cached = 0

    def _place(self, pattern: str) -> tuple[_Index, str]:
        """Where it is found."""
        parts = _PARTS.findall(_latin(pattern))
        first, last = _letters(parts), _letters(reversed(parts))
        return (self._by_first, first) if len(first) >= len(last) else (self._by_last, last)

    def matching(self, name: str) -> list[tuple[str, dict[Listener, None]]]:
        """The patterns that match, each with who listens."""
        if not self._listeners:
            return []
        found = self._found.get(name)
        if found is None:
            if self._cached >= _CACHED:
                self._forget()
            encoded = name.encode("latin-1")
            candidates = chain(self._by_first.candidates(name), self._by_last.candidates(name[::-1]))
            found = self._found[name] = [pattern for pattern, compiled in candidates if compiled.fullmatch(encoded)]
            self._cached += 1 + len(found)
        return [(pattern, self._listeners[pattern]) for pattern in found]


def _letters(parts: Iterable[str]) -> str:
    """Those before the first wildcard, without the backslashes before them."""
    return "".join(part[-1] for part in takewhile(lambda part: part[0] not in "*?[", parts))
