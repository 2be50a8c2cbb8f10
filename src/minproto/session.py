r"""Sessions and the switchboard: the state of each client of the broker's server, and a message's way to all of them.

A *session* is one client's state: its version of RESP, whether it has given the password, and its subscriptions. The
*switchboard* sits between the broker and all sessions. A message passes through it like this:

    session A -- PUBLISH --> broker -- offer() --> switchboard     gathers the messages of one turn of the event loop
                                                       |
                                      flush(), at the end of the turn: encodes each message once
                                                       |
                                                       +--> push(bytes) of session B
                                                       +--> push(the same bytes) of session C

To the broker the switchboard is a single listener. Without it, each session would be a listener of its own: a message for
1,000 clients would take 1,000 calls, 1,000 encodings and 1,000 writes, and ten messages would take ten times as many. With
the switchboard, ten messages published in one turn take ten calls, ten encodings, and one write to each client.

Messages wait here only until the end of the turn. Bytes that a slow client has not read wait in its connection's buffer,
which is bounded (``aio/resp.py``).

The order is easy to get wrong. A message must not reach a client that subscribes after it was published, and must still reach
a client that unsubscribes after it was published. Both commands change the receivers, so the switchboard flushes first. The
two sessions here print what is pushed to them; B unsubscribes in the same turn in which the message is published:

    >>> broker = Broker(clock=lambda: 1_700_000_000_000)
    >>> switchboard = Switchboard(broker)
    >>> b = switchboard.open(lambda data: print("B gets", data))
    >>> c = switchboard.open(lambda data: print("C gets", data))
    >>> b.subscribe("news")
    >>> broker.publish("news", b"one")
    1
    >>> b.unsubscribe("news")
    B gets b'*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\none\r\n'
    >>> c.subscribe("news")
    >>> broker.publish("news", b"two")
    1
    >>> switchboard.flush()
    C gets b'*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\ntwo\r\n'

Like a core, all of this is synchronous and knows of no socket. ``commands.py`` says what each command does to a session.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, groupby
from operator import attrgetter

from minproto.broker import MAX_NAME, Broker, Listener, Message
from minproto.core import Event
from minproto.resp import Push, Reply, Simple, encode_bulk, parse_integer, to_bytes, to_text

MAX_GATHERED = 1 << 20
"""How many bytes of messages the switchboard gathers. Beyond them it flushes at once, before the turn has ended."""


# ---- what a command answers ------------------------------------------------------------------------------------------

Events = list[Event]
"""The replies and pushes that answer a command, in the order in which they are sent."""


@dataclass(slots=True)
class Wait(Event):
    """No answer yet, from a command that waits for entries (XREAD BLOCK, XREADGROUP BLOCK).

    The shell gives the broker a reader, which calls ``answer`` whenever one of the topics has a new entry, until there is an
    answer. The broker calls it at once, before any other command is run: otherwise another client's command could take the
    entry first, although it came later. When time runs out, the shell itself replies.
    """

    topics: list[str]
    """The topics, each once."""
    milliseconds: int
    """The longest wait; 0: forever."""
    answer: Callable[[str], Events | None]
    """Called with the topic that has a new entry. Returns the answer; None while there is no answer yet."""


class Refusal(Exception):
    """The command is answered with this error, and has no other effect."""


def reply(value: object) -> Events:
    """Return an answer that consists of one reply."""
    return [Reply(value)]


OK = reply(Simple("OK"))
NO_ROOM = "OOM command not allowed when used memory > 'maxmemory'."
"""The error for a command that the limits leave no room for, in Redis's words."""
MAX_QUOTED = 128
"""The maximum number of bytes of a client's word that most errors quote."""


def quoted(word: bytes, most: int | None = None) -> str:
    """Return a word as C prints it in an error: up to its first NUL."""
    return one_line(word.partition(b"\0")[0][:most])


def one_line(text: bytes) -> str:
    """Return text without line breaks: a client's word must not end our error, and begin a reply of the client's choice."""
    return to_text(text.replace(b"\r", b" ").replace(b"\n", b" "))


def integer(text: bytes, complaint: str = "value is not an integer or out of range") -> int:
    """Return the number given as an argument. Raises Refusal if it is not a number."""
    value = parse_integer(text)
    if value is None:
        raise Refusal(f"ERR {complaint}")
    return value


def checked_name(argument: bytes) -> str:
    """Return a topic or a pattern as text. Raises Refusal if it is too long for the broker; Redis accepts any length."""
    if len(argument) > MAX_NAME:
        raise Refusal(f"ERR a channel or pattern has at most {MAX_NAME} bytes")
    return to_text(argument)


# ---- a client's session ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """What only the shell knows of a client's connection: CLIENT LIST shows it."""

    address: str = "?"
    """``127.0.0.1:50312``; of a Unix socket, its path and ``:0``."""
    local_address: str = "?"
    descriptor: int = -1
    is_unix: bool = False
    age: int = 0
    """For how many seconds the client has been connected."""
    idle: int = 0
    """How many seconds ago the client sent its last command."""
    unread: int = 0
    """How many bytes have arrived, and wait for the rest of their command, or for their turn."""
    unsent: int = 0
    """How many bytes wait until the client reads."""


class Session:
    """One client's state."""

    __slots__ = (
        "authenticated", "blocked", "closing", "command", "id", "name", "never_evicted", "patterns", "peer",
        "push", "refuses_transaction", "shards", "silent_answers", "switchboard", "topics", "version",
    )  # fmt: skip

    def __init__(self, switchboard: "Switchboard", id: int, push: Callable[[bytes], None], peer: Callable[[], Peer]) -> None:
        self.switchboard = switchboard
        self.id = id
        self.push = push
        """Called with bytes to be sent to the client: messages, encoded as pushes."""
        self.peer = peer
        """Returns what the shell knows of the connection now."""
        self.command = b"NULL"
        """The last command that the client has sent, such as ``client|list``; NULL before the first one."""
        self.blocked = False
        """Whether a command waits for messages (XREAD BLOCK)."""
        self.closing = False
        """Whether to close the connection after the answer: the client has sent QUIT, or has gone away while waiting."""
        self.topics: dict[str, None] = {}
        """The topics that the client has subscribed to, in order. (A dict is a set that keeps its order.)"""
        self.patterns: dict[str, None] = {}
        self.shards: dict[str, None] = {}
        """The shard channels that the client has subscribed to: see ``shard_commands.py``."""
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if the client had just connected."""
        self.version = 2
        """The version of RESP in which we talk to the client."""
        self.name = b""
        """The name that the client has given its connection, with CLIENT SETNAME."""
        self.authenticated = self.switchboard.password is None
        """Whether the client may use all commands: it has given the password, or no password is required."""
        self.refuses_transaction = False
        """True between a MULTI, which was refused, and its EXEC or DISCARD: no command is run."""
        self.never_evicted = False
        """Whether the client has asked for CLIENT NO-EVICT. It changes nothing, and CLIENT LIST shows it."""
        self.silent_answers: float = 0
        """How many answers are not sent, the next one first, because of CLIENT REPLY: infinity after OFF."""
        self.unsubscribe_all()

    @property
    def subscription_count(self) -> int:
        """The number of topics and patterns. Each confirmation of such a subscription tells the client this number."""
        return len(self.topics) + len(self.patterns)

    @property
    def is_subscriber(self) -> bool:
        """Whether the client has any subscription: messages may come to it at any time."""
        return bool(self.topics or self.patterns or self.shards)

    def audible(self, answer: Events) -> Events:
        """Return the part of an answer that the client wants to get: all of it, or only the pushes (CLIENT REPLY OFF)."""
        if not self.silent_answers:
            return answer
        self.silent_answers -= 1
        return [event for event in answer if isinstance(event, Push)]

    def subscribe(self, topic: str) -> None:
        """Receive the messages that are published on a topic from now on. Calling it again has no effect."""
        if topic not in self.topics:
            self.switchboard.by_topic.add(self, topic)
            self.topics[topic] = None

    def unsubscribe(self, topic: str) -> None:
        """Receive the messages already published on a topic, and no later ones.

        If the flush in this method finds that the client is not reading, the session is closed when the method returns.
        """
        if topic in self.topics:
            del self.topics[topic]
            self.switchboard.by_topic.remove(self, topic)

    def subscribe_pattern(self, pattern: str) -> None:
        """Receive the messages of all topics that match. A message that matches in two ways arrives twice, as in Redis."""
        if pattern not in self.patterns:
            self.switchboard.by_pattern.add(self, pattern)
            self.patterns[pattern] = None

    def unsubscribe_pattern(self, pattern: str) -> None:
        """End the subscription to a pattern, as ``unsubscribe`` does for a topic."""
        if pattern in self.patterns:
            del self.patterns[pattern]
            self.switchboard.by_pattern.remove(self, pattern)

    def subscribe_shard(self, channel: str) -> None:
        """Receive the messages that are sent to a shard channel from now on."""
        if channel not in self.shards:
            self.switchboard.by_shard.add(self, channel)
            self.shards[channel] = None

    def unsubscribe_shard(self, channel: str) -> None:
        """End the subscription to a shard channel."""
        if channel in self.shards:
            del self.shards[channel]
            self.switchboard.by_shard.remove(self, channel)

    def unsubscribe_all(self) -> None:
        """End all subscriptions, the last one first.

        Removing the first key of a dict again and again takes quadratic time, because each search for the first key passes
        over the slots of all removed keys. ``popitem`` removes the last key, in constant time.
        """
        while self.topics:
            self.switchboard.by_topic.remove(self, self.topics.popitem()[0])
        while self.patterns:
            self.switchboard.by_pattern.remove(self, self.patterns.popitem()[0])
        while self.shards:
            self.switchboard.by_shard.remove(self, self.shards.popitem()[0])

    def close(self) -> None:
        """End the session: the client is gone. Calling it again has no effect."""
        self.unsubscribe_all()
        self.switchboard.sessions.pop(self, None)


# ---- all sessions ----------------------------------------------------------------------------------------------------

Receivers = dict[Session, None]
"""The sessions that receive a message, in the order in which they subscribed."""
Listens = Callable[[str, Listener], None]
"""A method of the broker, called with a name and a listener."""


class Subscribers:
    """A table of sessions by the names that they have subscribed to: one for topics, one for patterns, one for shard channels.

    The switchboard listens to a name in the broker as long as the name has at least one subscriber.
    """

    def __init__(self, switchboard: "Switchboard", listen: Listens, ignore: Listens) -> None:
        """``listen`` and ``ignore``: the broker's methods, called before a name's first subscriber and after its last."""
        self._switchboard = switchboard
        self._listen = listen
        self._ignore = ignore
        self.sessions: dict[str, Receivers] = {}
        """The sessions by the name of a topic or a pattern. Every name in the dict has a subscriber."""

    def add(self, session: Session, name: str) -> None:
        """Add a subscriber. Messages published before this call are not for this subscriber, so the others get them first."""
        self._switchboard.flush()
        if name not in self.sessions:
            self.sessions[name] = {}
            self._listen(name, self._switchboard)
        self.sessions[name][session] = None

    def remove(self, session: Session, name: str) -> None:
        """Remove a subscriber. The subscriber still gets the messages published before this call."""
        self._switchboard.flush()
        del self.sessions[name][session]
        if not self.sessions[name]:
            del self.sessions[name]
            self._ignore(name, self._switchboard)


class Switchboard:
    """All sessions of one server, as one listener of the broker."""

    def __init__(self, broker: Broker, password: str | None = None) -> None:
        self.broker = broker
        self.password = None if password is None else password.encode()
        self.on_ready: Callable[[], None] = lambda: None
        """Called at the first message gathered after a flush. The shell then calls ``flush`` at the end of the turn."""
        self.sessions: Receivers = {}
        """The open sessions."""
        self.by_topic = Subscribers(self, broker.listen, broker.ignore)
        self.by_pattern = Subscribers(self, broker.listen_to_pattern, broker.ignore_pattern)
        self.by_shard = Subscribers(self, _no_change, _no_change)
        self._gathered: list[Message] = []
        self._gathered_bytes = 0
        self._flush_is_due = False  # on_ready was called for the gathered messages
        self._ids = count(1)

    def open(self, push: Callable[[bytes], None], peer: Callable[[], Peer] = Peer) -> Session:
        """Return a new session. ``push`` is called with the bytes that its client is to receive, and must not raise."""
        session = Session(self, next(self._ids), push, peer)
        self.sessions[session] = None
        return session

    def offer(self, message: Message) -> int:
        """Gather a message, and return how many sessions will receive it.

        The broker calls this once for the topic, and once for each pattern that matches, which is ``message.pattern``.
        """
        self._gathered.append(message)
        self._gathered_bytes += len(message.data)
        if not self._flush_is_due:
            self.on_ready()
            self._flush_is_due = True  # after the call: if on_ready raises, it is called again at the next message
        if self._gathered_bytes > MAX_GATHERED:
            self.flush()
        return len(self._receivers(message.topic, message.pattern))

    def receiver_count(self, topic: str) -> int:
        """Return how many sessions have subscribed to the topic by its name."""
        return len(self._receivers(topic, None))

    def _receivers(self, topic: str, pattern: str | None) -> Receivers:
        return self.by_topic.sessions.get(topic, {}) if pattern is None else self.by_pattern.sessions.get(pattern, {})

    def flush(self) -> None:
        """Push the gathered messages to their current receivers, to each session in one piece."""
        if not self._gathered:
            return
        messages, self._gathered, self._gathered_bytes, self._flush_is_due = self._gathered, [], 0, False
        pieces: dict[Session, list[bytes]] = {}
        for (topic, pattern), run in groupby(messages, key=attrgetter("topic", "pattern")):  # neighbours of one topic
            neighbours, encoded = list(run), {}
            for session in self._receivers(topic, pattern):
                if session.version not in encoded:
                    encoded[session.version] = encode_messages(neighbours, session.version)
                pieces.setdefault(session, []).append(encoded[session.version])
        for session, parts in pieces.items():  # a separate loop, because a push may close a session and change the receivers
            session.push(b"".join(parts))  # of one part, join() makes no copy: receivers of the same get the same bytes


    def publish_to_shard(self, channel: str, data: bytes) -> int:
        """Push a message to the subscribers of a shard channel, and return how many there are.

        The message is pushed at once, behind the messages that were gathered before it.
        """
        self.flush()
        receivers = list(self.by_shard.sessions.get(channel, ()))  # a copy: a push may close a session
        body = b"3\r\n$8\r\nsmessage\r\n" + encode_bulk(to_bytes(channel)) + encode_bulk(data)
        encoded = {2: b"*" + body, 3: b">" + body}
        for session in receivers:
            session.push(encoded[session.version])
        return len(receivers)


def _no_change(name: str, listener: Listener) -> None:
    """The broker is not told of a shard channel's subscribers: its own messages never reach them."""


def encode_messages(messages: list[Message], version: int) -> bytes:
    r"""Return messages as pushes. They all have the same topic, and the same ``pattern``.

        subscribed to the topic "a"       >3\r\n$7\r\nmessage\r\n                $1\r\na\r\n $2\r\nhi\r\n
        subscribed to the pattern "a*"    >4\r\n$8\r\npmessage\r\n $2\r\na*\r\n  $1\r\na\r\n $2\r\nhi\r\n

    In version 2 the first byte is ``*``. The bytes before the data are the same in every push, so they are encoded once.
    """
    topic, pattern = messages[0].topic, messages[0].pattern
    if pattern is None:
        head = b"3\r\n$7\r\nmessage\r\n" + encode_bulk(to_bytes(topic))
    else:
        head = b"4\r\n$8\r\npmessage\r\n" + encode_bulk(to_bytes(pattern)) + encode_bulk(to_bytes(topic))
    head = (b">" if version == 3 else b"*") + head
    return b"".join([b"%b$%d\r\n%b\r\n" % (head, len(message.data), message.data) for message in messages])
