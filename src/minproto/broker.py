r"""A publish/subscribe broker in memory: topics, patterns, logs and subscriptions. It has no bytes, no clock, and never waits.

A *publisher* gives a message to a *topic*, such as ``news.uk``, and does not know who receives it. A *subscriber* names the
topics that it wants, or patterns such as ``news.*``, and takes its messages when it has time for them. The broker sits between
publishers and subscribers. It gives each message an id, and puts a reference to the message into the queue of each
subscription that matches. It can also keep a *log* of each topic: the last N messages, for subscribers that come back after a
lost connection.

    publish("news.uk", b"rain")
         |
         |  one step: the log and all queues get the message before anything else can run
         |
         +--> log of "news.uk": the last N messages ...............................
         |                                                                        : replay, for subscribe(..., after=id)
         +--> listens to "news.uk" --> queue of subscription A --> take()         v
         +--> listens to "news.*"  --> queue of subscription B --> take()    queue of a new subscription C --> take()

A worked example. The log of "news" keeps three messages. An id is a millisecond and a number. The clock is stopped at 1000,
the time at which the broker was made (the broker has taken 1000-0 for itself):

    call                                  id       log of "news"      queue of A    what take returns
    A = subscribe("news")                          -                  -
    publish("news", b"one")               1000-1   one                one
    publish("news", b"two")               1000-2   one two            one two
    A.take(1)                                      one two            two           one
    publish("news", b"three")             1000-3   one two three      two three
    publish("news", b"four")              1000-4   two three four     two three four
    subscribe("news", after="1000-1")              a replay of the log: its queue begins with two, three, four
    subscribe("news", after="1000-0")              "one" is lost: its queue begins with a Gap, then two, three, four

The same calls, as the tests run them:

    >>> broker = Broker(clock=lambda: 1000, history=3)
    >>> a = broker.subscribe("news")
    >>> broker.publish("news", b"one"), broker.publish("news", b"two")      # each returns the number of deliveries
    (1, 1)
    >>> a.take(1)
    [Message(topic='news', id='1000-1', data=b'one', pattern=None)]
    >>> broker.publish("news", b"three"), broker.publish("news", b"four")
    (1, 1)
    >>> [message.data for message in broker.subscribe("news", after="1000-1").take(9)]
    [b'two', b'three', b'four']
    >>> broker.subscribe("news", after="1000-0").take(1)
    [Gap(count=None, id='1000-1', reason=None)]

Six ideas carry the rest of this file:

- **Fan-out.** A thousand subscribers to one topic cost a thousand references to one Message, not a thousand copies.
- **Backpressure** ends here. A publisher is never slowed down, so a subscriber that is slower than its publishers would need a
  queue of unlimited length. Each queue is therefore bounded (``Limits``), and each subscription chooses what happens at the
  bound (``Overflow``). A shell takes messages only while its own write buffer is low, so messages queue up in this one place.
- **Gap.** When a subscriber misses messages, a Gap takes their place in its stream. No message is lost silently.
- **At-most-once delivery.** A message that was taken is gone from the queue; no subscriber acknowledges it. When a connection
  breaks, messages may be lost on the way to the subscriber. The subscriber resumes with the id of the last message that it has
  seen. Its replay then holds exactly the messages after this id, or begins with a Gap.
- **One step.** If the log got a message first and the queues later, a subscriber that resumed in between would receive the
  message twice: in its replay and live. In the other order it would miss the message. Nothing here is concurrent, so there is
  no "in between", and order, replay and counting need no lock.
- **Conservation.** For each subscription, after each call: ``matched == taken + dropped + pending``.

Three things are easy to get wrong:

- A clock may go backwards, and the ids must still grow.
- A replay may be longer than the limit of a queue, and must not overflow the queue.
- A pattern such as ``*a*a*a*a*b`` must not make a matcher try every way of placing its stars. With twenty stars and a topic
  of a thousand bytes, that would take longer than a lifetime.

The logs are in ``log.py``. A log can also hand out its entries as jobs, which a worker acknowledges (*at-least-once
delivery*): see ``groups.py``. Left out: persistence, and a second process (``aio/remote.py`` reaches one).
"""

import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Protocol

from minproto.core import check_count
from minproto.groups import Group, Room
from minproto.log import FIELD_COST, LAST_ID, MESSAGE_COST, Entry, IdKey, Log, Logs, encode_id, next_id
from minproto.log import Gap as Gap
from minproto.log import Item as Item
from minproto.log import Limits as Limits
from minproto.log import Message as Message

MAX_NAME = 1_024
"""Bytes of a topic or a pattern. Matching one against the other can take up to len(topic) * len(pattern) steps."""


class Overflow(Enum):
    """A subscription's policy for a message that arrives at a full queue.

    For example, three messages arrive at a queue with room for two. Each policy leaves a Gap, which tells the subscriber of
    its loss:

        >>> for policy in Overflow:
        ...     broker = Broker(clock=lambda: 1000, limits=Limits(max_pending=2))
        ...     subscription = broker.subscribe("news", on_overflow=policy.value)
        ...     for data in (b"one", b"two", b"three"):
        ...         _ = broker.publish("news", data)
        ...     items = [item.data if isinstance(item, Message) else f"Gap of {item.count}" for item in subscription.take(9)]
        ...     print(policy.value, items, subscription.ended)
        disconnect ['Gap of 3'] overflow
        drop_oldest ['Gap of 1', b'two', b'three'] None
        drop_newest [b'one', b'two', 'Gap of 1'] None
    """

    DISCONNECT = "disconnect"
    """The subscription ends, and its queue is dropped. The subscriber comes back when it can, and resumes from the log."""
    DROP_OLDEST = "drop_oldest"
    """The oldest messages are dropped to make room. This suits a subscriber that wants the newest price, not all prices."""
    DROP_NEWEST = "drop_newest"
    """The new message is dropped. This suits a subscriber that has to work through its messages from the first one on."""


class Listener(Protocol):
    """An object that a broker gives messages to: a subscription, or an object that represents many (``session.py``)."""

    def offer(self, message: Message) -> int:
        """Accept a message that matches, and return how many receive it.

        ``publish`` calls ``offer`` once if this listener listens to the topic, and once for each matching pattern that it
        listens to."""

    def receiver_count(self, topic: str) -> int:
        """Return how many receivers have named the topic itself."""


class Reader(Protocol):
    """A reader of a topic's log that has found nothing to read, and waits (XREAD BLOCK, XREADGROUP BLOCK)."""

    def look(self, topic: str) -> None:
        """Look again: this topic's log has a new entry, or is gone. Must not raise."""


# ---- patterns ----------------------------------------------------------------------------------------------------------
#
#   *        any bytes, or none           [abc] [a-z]   one byte of the class; [z-a] is the same as [a-z]
#   ?        one byte                     [^abc]        one byte that is not in the class
#   \x       the byte x itself            [abc          an unclosed class extends to the end of the pattern
#
# These are the rules of Redis. Redis matches bytes, not characters, and so do we: "?" does not match "é", which is two bytes
# in UTF-8. "*" does not match the empty topic. On a machine whose characters in C are signed, Redis compares bytes as numbers
# from -128 to 127, which changes a range that begins in ASCII and ends beyond it; here bytes are numbers from 0 to 255.

_PARTS = re.compile(rb"(?s)\*+|\?|\[\^?(?:\\.|[^\]]-.|[^\]])*\]?|\\.|.")
"""The parts of a pattern: stars, a question mark, a class, an escaped byte, or any other byte."""
_CLASS = re.compile(rb"(?s)\[(\^?)((?:\\.|[^\]]-.|[^\]])*)")
"""A class: whether it is negated, and its members."""
_MEMBER = re.compile(rb"(?s)\\(.)|(.)-(.)|(.)")
"""A member of a class: an escaped byte, a range, or any other byte."""


def glob(pattern: str) -> re.Pattern[bytes]:
    r"""Return a compiled regular expression whose ``fullmatch`` on a topic's bytes shows whether the pattern matches.

    Each part of the pattern becomes its counterpart in a regular expression:

        >>> for pattern in ("news?", "[^a-c]x", "news.*", "*a*b"):
        ...     print(pattern, "becomes", glob(pattern).pattern.decode())
        news? becomes news.
        [^a-c]x becomes [^a-c]x
        news.* becomes (?=.)news\..*
        *a*b becomes (?=.)(?>.*?a).*b

    ``(?=.)`` requires a topic that is not empty. The last line shows the defence against hostile patterns. A star followed by
    ``a`` stops at the *first* ``a`` that it can find, and the atomic group ``(?>...)`` never tries a later ``a``. No match is
    missed, because another star follows, which can skip any bytes. Without the atomic group, a pattern with twenty stars
    would make the regular expression try all combinations of twenty positions.

    Raises ValueError for a pattern of more than MAX_NAME bytes.
    """
    between_stars = [b""]
    for part in _PARTS.findall(name_bytes(pattern)):
        if part.startswith(b"*"):
            between_stars.append(b"")
        else:
            between_stars[-1] += _one_byte(part)
    first, *others = between_stars
    if not others:
        return re.compile(first, re.DOTALL)
    *middle, last = others
    atomic = b"".join(b"(?>.*?%b)" % part for part in middle if part)
    return re.compile(b"(?=.)%b%b.*%b" % (first, atomic, last), re.DOTALL)


def _one_byte(part: bytes) -> bytes:
    """Return the regular expression for a part that matches exactly one byte of the topic."""
    if part == b"?":
        return b"."
    found = _CLASS.match(part)
    if found is None:
        return re.escape(part[-1:])  # the byte itself, without the backslash before it
    members = b"".join(_member(member) for member in _MEMBER.finditer(found[2]))
    if not members:  # "[]" matches no byte, "[^]" matches any; a regular expression has no empty class
        return b"." if found[1] else b"(?!)"
    return b"[%b%b]" % (found[1], members)


def _member(member: re.Match[bytes]) -> bytes:
    escaped, low, high, other = member.groups()
    if low is None:
        return re.escape(escaped or other)
    return b"-".join(re.escape(end) for end in sorted((low, high)))


def name_bytes(text: str) -> bytes:
    """Return the bytes of a topic or a pattern, in UTF-8.

    A Redis client may send bytes that are not UTF-8: the str holds them as surrogates, and they are restored here.
    Raises ValueError for more than MAX_NAME bytes, TypeError for any type but str.
    """
    if not isinstance(text, str):
        raise TypeError(f"a topic or pattern is a str, not {type(text).__name__}: {text!r:.60}")
    name = text.encode("utf-8", "surrogateescape")
    if len(name) > MAX_NAME:
        raise ValueError(f"a topic or pattern of more than {MAX_NAME} bytes")
    return name


class Patterns:
    """The patterns in use, and their listeners. Each pattern is tried on each message.

    A message is delivered once for each pattern that matches, in the order in which the patterns came into use:

        >>> broker = Broker(clock=lambda: 1000)
        >>> subscription = broker.subscribe(patterns=["n*", "sport.*", "news.?k"])
        >>> broker.publish("news.uk", b"rain")
        2
        >>> [message.pattern for message in subscription.take(9)]
        ['n*', 'news.?k']
    """

    def __init__(self) -> None:
        self._globs: dict[str, re.Pattern[bytes]] = {}
        self._listeners: dict[str, dict[Listener, None]] = {}  # a dict without values is a set that keeps its order

    def __len__(self) -> int:
        return len(self._globs)

    def add(self, pattern: str, listener: Listener) -> None:
        """Make a listener listen to the topics that match. Raises ValueError for a pattern that is too long."""
        if pattern not in self._globs:
            self._globs[pattern] = glob(pattern)
            self._listeners[pattern] = {}
        self._listeners[pattern][listener] = None

    def remove(self, pattern: str, listener: Listener) -> None:
        """Undo ``add``."""
        del self._listeners[pattern][listener]
        if not self._listeners[pattern]:
            del self._listeners[pattern], self._globs[pattern]

    def matching(self, name: bytes) -> list[tuple[str, dict[Listener, None]]]:
        """Return the patterns that match a topic, each with its listeners. ``name``: ``name_bytes`` of the topic."""
        return [(pattern, self._listeners[pattern]) for pattern, glob in self._globs.items() if glob.fullmatch(name)]


# ---- subscriptions -----------------------------------------------------------------------------------------------------
#
#                    .-------------- the queue ---------------.
#     take() <-----  | first gap | item | item | item | ... |  <----- offer(), for each message that matches
#                    '----------------------------------------'
#
# An item is a Message or, with DROP_NEWEST, a Gap between two messages. The first gap is kept apart from the items: it covers
# messages that were missing from the log, or that were dropped from the front.


class Subscription:
    """A queue of messages for one subscriber. ``Broker.subscribe`` makes it.

    After each call ``matched == taken + dropped + pending``: a message that matched was taken or dropped, or is still waiting.

        >>> broker = Broker(clock=lambda: 1000, limits=Limits(max_pending=2))
        >>> subscription = broker.subscribe("news", on_overflow="drop_oldest")
        >>> for data in (b"one", b"two", b"three"):
        ...     _ = broker.publish("news", data)
        >>> _ = subscription.take(2)        # a Gap for "one", and "two"
        >>> subscription.matched, subscription.taken, subscription.dropped, subscription.pending
        (3, 1, 1, 1)
    """

    def __init__(self, broker: "Broker", limits: Limits, on_overflow: Overflow) -> None:
        self._broker = broker
        self._limits = limits
        self._on_overflow = on_overflow
        self._first_gap: Gap | None = None
        self._items: deque[Item] = deque()
        self._bytes = 0  # of the messages among the items
        # The room that a replay adds to the limits until the replayed messages are taken: see ``replay``.
        self._extra_messages = self._extra_bytes = 0
        self.start: str | None = None
        """The id to resume from, for a subscriber that has received nothing yet. None: the subscription cannot be resumed
        (because it has several topics, or patterns), or its first item is a Gap, whose id says where to resume."""
        self.topics: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.matched = 0
        """How many messages have been offered to the subscription, by the replay and by each later ``publish``."""
        self.taken = 0
        self.dropped = 0
        """How many messages were dropped, at an overflow or by ``close``."""
        self.pending = 0
        """How many messages are waiting in the queue. Neither this counter nor the others include a Gap."""
        self.ended: str | None = None
        """Why no more messages will match: "closed" or "overflow". None: the subscription is alive."""
        self.on_ready: Callable[[], None] = lambda: None
        """Called when the queue is no longer empty, but only once before each ``take``; and when the subscription ends. If the
        call raises, the next message leads to another call. A shell uses ``on_ready`` to wake the task that takes messages."""
        self._notified = False  # on_ready has been called for the pending items

    def add(self, topic: str) -> None:
        """Listen to one more topic. Adding a topic again has no effect. Raises ValueError for a name that is too long."""
        if self.ended is None:  # an ended subscription would stay in the broker's tables forever
            self._broker.listen(topic, self)
            self.topics[topic] = None

    def remove(self, topic: str) -> None:
        """Stop listening to a topic. Its messages in the queue stay."""
        if topic in self.topics:
            del self.topics[topic]
            self._broker.ignore(topic, self)

    def add_pattern(self, pattern: str) -> None:
        """Listen to all topics that match a pattern. Raises ValueError for a pattern that is too long."""
        if self.ended is None:
            self._broker.listen_to_pattern(pattern, self)
            self.patterns[pattern] = None

    def remove_pattern(self, pattern: str) -> None:
        """Stop listening to a pattern. Its messages in the queue stay."""
        if pattern in self.patterns:
            del self.patterns[pattern]
            self._broker.ignore_pattern(pattern, self)

    @property
    def waiting(self) -> bool:
        """Whether ``take`` would return something."""
        return bool(self._items) or self._first_gap is not None

    def take(self, most: int, most_bytes: int = sys.maxsize) -> list[Item]:
        """Remove and return the next messages and gaps; an empty list if nothing is waiting.

        ``most``: the maximum number of items. ``most_bytes``: stop once the messages taken have this many bytes of data. The
        last message may exceed ``most_bytes``: otherwise a large message could never be taken. With 0, no message is taken.

        Raises TypeError for a count that is not an int, ValueError for a negative one.
        """
        check_count("most", most, 0)
        check_count("most_bytes", most_bytes, 0)
        taken: list[Item] = []
        if self._first_gap is not None and most > 0:
            taken.append(self._first_gap)
            self._first_gap = None
        enough = self._bytes - most_bytes
        while self._items and len(taken) < most and self._bytes > enough:
            item = self._items.popleft()
            taken.append(item)
            if isinstance(item, Message):
                self._count(item, -1)
                self.taken += 1
                if self._extra_messages:
                    self._give_back_room(item)
        self._notified = self.waiting
        return taken

    def end(self, reason: str = "closed") -> None:
        """Stop listening. The messages in the queue can still be taken."""
        if self.ended is not None:
            return
        self.ended = reason
        for topic in list(self.topics):
            self.remove(topic)
        for pattern in list(self.patterns):
            self.remove_pattern(pattern)
        self.on_ready()

    def close(self) -> None:
        """Stop listening, and drop the messages in the queue."""
        self._drop_all(None)
        self.end()

    # -- for the broker

    def replay(self, gap: Gap | None, messages: list[Message]) -> None:
        """Fill the new queue with messages of a log, and add as much room as they take to the limits.

        Without the extra room, a subscriber that resumes from a long log would overflow at its first live message. With a
        limit of two messages and a replay of five, seven may wait. Each message taken lowers this bound by one, down to two.
        """
        self._first_gap = gap
        self._items.extend(messages)
        self._notified = self.waiting  # the subscriber takes messages at once, so no task has to be woken
        self._bytes = self._extra_bytes = sum(len(message.data) for message in messages)
        self.matched = self.pending = self._extra_messages = len(messages)

    def _give_back_room(self, message: Message) -> None:
        """Remove the extra room of one message, because a message was taken.

        The message taken need not come from the replay: DROP_OLDEST may have replaced the replayed message with a newer one of
        another size. So the extra bytes never fall below 0, and they become 0 once there is no room for an extra message.
        """
        self._extra_messages -= 1
        self._extra_bytes = max(0, self._extra_bytes - len(message.data)) if self._extra_messages else 0

    def offer(self, message: Message) -> int:
        """Put a message that matches into the queue, or apply the policy if the queue is full. Return 1: one receiver.

        Return 0 if the subscription has ended: if a message matches two patterns, its first delivery may end the subscription.
        """
        if self.ended is not None:
            return 0
        self.matched += 1
        if self._is_full(message):
            self._overflow(message)
        else:
            self._append(message)
        return 1

    def receiver_count(self, topic: str) -> int:
        """Return 1: a subscription is one receiver, and the broker asks only about a topic that it has named."""
        return 1

    def _is_full(self, message: Message) -> bool:
        if not self.pending:  # an empty queue accepts a message of any size: waiting would not make more room for it
            return False
        too_many = self.pending >= self._limits.max_pending + self._extra_messages
        return too_many or self._bytes + len(message.data) > self._limits.max_pending_bytes + self._extra_bytes

    def _append(self, message: Message) -> None:
        self._items.append(message)
        self._count(message, 1)
        if not self._notified:
            self.on_ready()
            # Set only now: if this call has raised, on_ready is called again at the next message. If on_ready itself has
            # taken the message, the queue is empty, and the next message has to be announced as well.
            self._notified = self.waiting

    def _overflow(self, message: Message) -> None:
        match self._on_overflow:
            case Overflow.DISCONNECT:
                self._disconnect()
            case Overflow.DROP_OLDEST:
                while self._items and self._is_full(message):  # a large message may take the place of several
                    self._drop_oldest()
                self._append(message)
            case Overflow.DROP_NEWEST:
                self._drop_newest(message)

    def _disconnect(self) -> None:
        """End the subscription. Its only remaining item is a Gap for all the messages that it did not get."""
        self.dropped += 1  # the message that does not fit
        log_had_a_gap = self._first_gap is not None  # if so, the total number of missing messages is unknown
        self._drop_all(Gap(None if log_had_a_gap else self.pending + 1))
        self.end("overflow")

    def _drop_oldest(self) -> None:
        """Drop the message at the front. The gap goes where the message was: at the front of the queue."""
        message = self._items.popleft()
        assert isinstance(message, Message)  # only DROP_NEWEST puts a Gap among the items
        self._count(message, -1)
        self.dropped += 1
        if self._first_gap is None:
            self._first_gap = Gap(0)
        _extend(self._first_gap, message)

    def _drop_newest(self, message: Message) -> None:
        """Drop the new message. The gap goes at the back, where the message would be; the next dropped message extends it."""
        self.dropped += 1
        if not self._items or isinstance(self._items[-1], Message):
            self._items.append(Gap(0))
        _extend(self._items[-1], message)

    def _drop_all(self, notice: Gap | None) -> None:
        self.dropped += self.pending
        self.pending = self._bytes = 0
        self._first_gap = notice
        self._items.clear()

    def _count(self, message: Message, sign: int) -> None:
        self.pending += sign
        self._bytes += sign * len(message.data)


def _extend(gap: Item, message: Message) -> None:
    """Count one more missing message in a gap. A subscriber that has seen the gap resumes after this message."""
    assert isinstance(gap, Gap)
    if gap.count is not None:
        gap.count += 1
    gap.id = message.id


def pattern_list(topics: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """Return the patterns of a new subscription as a list.

    Raises ValueError if there is neither a topic nor a pattern, TypeError if ``patterns`` is a str: each of its letters would
    become a pattern, even "*".
    """
    if isinstance(patterns, str):
        raise TypeError(f"patterns are a list of str: [{patterns!r}]")
    if not isinstance(patterns, Iterable):
        raise TypeError(f"patterns are a list of str, not {type(patterns).__name__}")
    patterns = list(patterns)
    if not topics and not patterns:
        raise ValueError("a subscription to nothing: give a topic, or patterns=[...]")
    return patterns


def _policy(on_overflow: str) -> Overflow:
    try:
        return Overflow(on_overflow)
    except ValueError:
        names = ", ".join(policy.value for policy in Overflow)
        raise ValueError(f"on_overflow is one of {names}, not {on_overflow!r:.60}") from None


# ---- the broker --------------------------------------------------------------------------------------------------------


def _raise(error: Exception) -> None:
    raise error


class Broker:
    """Topics, their logs, and everything that listens to them."""

    patterns = Patterns
    """The class for the table of patterns. ``fast/broker.py`` has a class that does not try each pattern on each message."""
    subscription = Subscription
    """The class for a subscription. ``fast/broker.py`` has a class whose queue takes and gives messages in fewer steps."""

    def __init__(
        self, clock: Callable[[], int], history: int | Mapping[str, int] = 0, limits: Limits = Limits()  # noqa: B008 - frozen
    ) -> None:
        """Make a broker. Raises TypeError or ValueError for a history that is not a count.

        ``clock``: returns the milliseconds since 1970; the broker calls it now, and once for each message. ``history``: how
        many messages to keep for every topic, or a mapping from topics to such numbers.
        """
        self.clock = clock
        self.limits = limits
        self._last_key = (clock(), 0)
        self._logs = Logs(history, limits, self._last_key)
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._patterns = self.patterns()
        self._readers: dict[str, dict[Reader, None]] = {}  # in the order in which they began to wait
        self._groups: dict[str, dict[str, Group]] = {}
        self._room = Room(limits.max_claims)
        self.on_error: Callable[[Exception], None] = _raise
        """Called with an exception that a listener raised, once all listeners have the message."""

    def publish(self, topic: str, data: bytes) -> int:
        """Give a message to every listener, and return the number of deliveries, counted as Redis does.

        A subscription that named the topic and two patterns that match gets the message three times, first for the topic. A
        delivery is counted even if the subscription drops the message.

        Raises ValueError for a topic that is too long, and for one whose log has the largest possible id, TypeError for data
        that is not bytes. An error raised by a listener is passed to ``on_error``. A listener must not publish from within
        ``offer`` or ``on_ready``.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a message is bytes, not {type(data).__name__}")
        name = name_bytes(topic)
        if self._logs.history(topic):
            message = self._keep(topic, data)
        else:
            message = Message(topic, encode_id(self._next_id()), data)
        # The list is made before the first delivery: a delivery that ends a subscription changes the tables of listeners.
        deliveries: list[tuple[Listener, Message]] = [(listener, message) for listener in self._listeners.get(topic, ())]
        for pattern, listeners in self._patterns.matching(name):
            copy = Message(topic, message.id, data, pattern, message.encodings)
            deliveries += [(listener, copy) for listener in listeners]
        count, failures = 0, []
        for listener, delivered in deliveries:
            try:
                count += listener.offer(delivered)
            except Exception as error:
                failures.append(error)  # and the other listeners still get the message
        if topic in self._readers:
            self.wake(topic)
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
        """Return a new subscription to topics and patterns.

        ``after``: the last id that a subscriber to this one topic has seen. The later messages in the topic's log come first.
        None: only messages that are published from now on. ``limits``: the queue's limits; None: the broker's limits.

        Raises ValueError if ``after`` is combined with several topics or with a pattern (one id cannot be a position in
        several logs), if the policy is unknown, if a name is too long, and if no name is given. Raises TypeError if
        ``patterns`` is a str.
        """
        patterns = pattern_list(topics, patterns)
        if after is not None and (len(topics) != 1 or patterns):
            raise ValueError("only a subscription to one topic can resume")
        for name in (*topics, *patterns):
            name_bytes(name)  # all checks come before the first change
        subscription = self.subscription(self, limits or self.limits, _policy(on_overflow))
        if len(topics) == 1 and not patterns:
            subscription.start = self.last_id(topics[0]) if after is None else after
        if after is not None:
            gap, messages = self.log_of(topics[0]).replay(after)
            subscription.replay(gap, messages)
            if gap is not None:
                subscription.start = None
        for topic in topics:
            subscription.add(topic)
        for pattern in patterns:
            subscription.add_pattern(pattern)
        return subscription

    # -- information about logs and listeners

    def history(self, topic: str) -> int:
        """Return the maximum number of messages kept for the topic."""
        return self._logs.history(topic)

    def log_of(self, topic: str) -> Log:
        """Return the log of a topic as subscribers see it: that of a topic without a history is empty."""
        return self._logs.of(topic, self._last_key)

    def log(self, topic: str) -> list[Message]:
        """Return the messages of the topic that are kept, oldest first."""
        return self.log_of(topic).messages()

    def last_id(self, topic: str, back: int = 0) -> str:
        """Return the id that, given as ``after=``, replays the last ``back`` messages that are kept; all, if fewer are kept.

        If ``back`` is 0, it is the newest id of the topic: only later messages follow.
        """
        name_bytes(topic)  # raises TypeError for any type but str
        return encode_id(self.log_of(topic).newest_message(back))

    def subscriber_count(self, topic: str) -> int:
        """Return the number of subscribers that have named the topic itself. Subscribers to a pattern are not counted."""
        return sum(listener.receiver_count(topic) for listener in self._listeners.get(topic, ()))

    @property
    def topics(self) -> list[str]:
        """The topics that a subscriber has named."""
        return [topic for topic in self._listeners if self.subscriber_count(topic)]

    @property
    def pattern_count(self) -> int:
        """The number of different patterns in use."""
        return len(self._patterns)

    # -- for listeners

    def listen(self, topic: str, listener: Listener) -> None:
        """Give a listener the messages of a topic. Raises ValueError for a name that is too long."""
        name_bytes(topic)
        self._listeners.setdefault(topic, {})[listener] = None

    def ignore(self, topic: str, listener: Listener) -> None:
        """Undo ``listen``."""
        del self._listeners[topic][listener]
        if not self._listeners[topic]:
            del self._listeners[topic]

    def listen_to_pattern(self, pattern: str, listener: Listener) -> None:
        """Give a listener the messages of all topics that match. Raises ValueError for a pattern that is too long."""
        self._patterns.add(pattern, listener)

    def ignore_pattern(self, pattern: str, listener: Listener) -> None:
        """Undo ``listen_to_pattern``."""
        self._patterns.remove(pattern, listener)

    # -- ids and messages

    def _next_id(self) -> IdKey:
        """Return an id later than all the others. If the clock stops or goes backwards, only the sequence grows.

            clock    1000     1000     1001     500      1002
            id       1000-1   1000-2   1001-0   1001-1   1002-0         (the broker was made at 1000, and took 1000-0)
        """
        milliseconds, sequence = self._last_key
        now = self.clock()
        self._last_key = (now, 0) if now > milliseconds else (milliseconds, sequence + 1)
        return self._last_key

    def _keep(self, topic: str, data: bytes) -> Message:
        """Return a new message, which the topic's log keeps. Its id is larger than those that XADD has given there."""
        log = self._logs.get(topic) or self.log_of(topic)
        key = self._next_id()
        if key <= log.last:
            if log.last == LAST_ID:
                raise ValueError(f"the log of {topic!r:.60} has the largest possible id: no message can follow")
            key = next_id(log.last)
        message = Message(topic, encode_id(key), data, key=key)
        self._logs.keep(log, message, self._last_key)
        return message

    # -- streams: the log of a topic, entries that are added to it, and those who wait for them

    def stream(self, topic: str) -> Log | None:
        """Return the log of a topic, to read from and to delete from; None if the topic has no log yet."""
        return self._logs.get(topic)

    def add(self, topic: str, key: IdKey, fields: tuple[bytes, ...]) -> Log:
        """Append an entry that is not a message: no subscriber hears of it. Return the log. Call ``wake`` afterwards.

        ``key``: an id larger than the log's ``last``. Raises NoRoomError if the limits leave no room, ValueError for a name
        that is too long.
        """
        size = len(name_bytes(topic)) + sum(map(len, fields))
        return self._logs.add(topic, Entry(key, fields, size + MESSAGE_COST + FIELD_COST * len(fields)), self._last_key)

    def delete(self, topic: str) -> bool:
        """Delete the log of a topic with its consumer groups, and return whether there was one. Subscribers stay."""
        deleted = self._logs.delete(topic, self._last_key)
        if deleted:
            for group in self._groups.pop(topic, {}).values():
                group.close()
            self.wake(topic)
        return deleted

    def groups(self, topic: str) -> Mapping[str, Group]:
        """Return the consumer groups of a topic, by name."""
        return self._groups.get(topic, {})

    def make_group(self, topic: str, name: str, last: IdKey, entries_read: int | None = None) -> Group:
        """Return a new consumer group of a topic, whose log is made if there is none. Raises NoRoomError.

        ``last``: the group delivers the entries after this id.
        """
        self._room.check(1)
        group = Group(self._logs.pin(topic), self._room, last, entries_read)
        self._groups.setdefault(topic, {})[name] = group
        return group

    def drop_group(self, topic: str, name: str) -> bool:
        """Drop a consumer group, and return whether there was one. Its pending entries stay in the log."""
        group = self._groups.get(topic, {}).pop(name, None)
        if group is None:
            return False
        group.close()
        self.wake(topic)
        return True

    def wait(self, topic: str, reader: Reader) -> None:
        """Call ``reader.look`` when the topic has a new entry. Readers are called in the order in which they began to wait."""
        self._readers.setdefault(topic, {})[reader] = None

    def stop_waiting(self, topic: str, reader: Reader) -> None:
        """Undo ``wait``."""
        del self._readers[topic][reader]
        if not self._readers[topic]:
            del self._readers[topic]

    def wake(self, topic: str) -> None:
        """Let all readers of the topic look: each of them reads before the next, and before any other command is run."""
        for reader in list(self._readers.get(topic, ())):
            reader.look(topic)
