"""The commands of Redis that a broker has a use for: what each does to a client's session, and what it answers.

Those of pub/sub are as in Redis. A topic's history is read as if it were a stream (XRANGE, XREAD, XLEN), whose entries have
one field, ``data``; PUBLISH is the only way in. The rest is what client libraries say when they connect. Errors are those of
redis-server 7.0, word for word, and so is the order in which it looks for them: does the command exist, has it enough
arguments, is the password missing, may a subscriber say this.

Like a core this is synchronous and knows no socket. A session gives events to be sent, or a ``Wait`` for XREAD BLOCK.

    session A --- publish ---> broker -----> switchboard (one listener for all sessions)
                                              | gathers what a turn of the loop brings, encodes each message once
                                              `---- at its end ---> the same bytes to sessions B, C, D …

Who subscribes to many topics would cost the broker a queue each, and a message to a thousand clients a thousand steps: in
the switchboard it costs one. What a slow client has not read waits in its own connection's buffer, which is bounded.
"""

import hmac
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, groupby
from operator import attrgetter

from minproto.broker import MAX_NAME, Broker, Message, glob, parse_id
from minproto.core import Event
from minproto.resp import (
    Error,
    Map,
    NullArray,
    Push,
    Reply,
    Simple,
    Verbatim,
    encode_bulk,
    parse_integer,
    to_bytes,
    to_text,
)

REDIS_VERSION = "7.0.15"
"""Whose replies these are; clients look at it to know what a server can do."""
MAX_GATHERED = 1 << 20
"""Bytes of messages that the switchboard keeps for the end of the turn; with more, it does not wait for that."""
MAX_ID = (1 << 64) - 1


class Intruder(Exception):
    """A browser was made to speak to us: it sent the head of an HTTP request. As Redis does, we cut it off."""


@dataclass(slots=True)
class Wait(Event):
    """Nothing to answer yet: ask ``answer`` again when one of the topics has a message, or when the time is over."""

    topics: list[str]
    milliseconds: int
    """0: for ever."""
    answer: Callable[[], list[Event] | None]
    """None: still nothing."""


# ---- who listens to what ---------------------------------------------------------------------------------------------


class Switchboard:
    """All sessions of one server, as one listener of the broker."""

    def __init__(self, broker: Broker, password: str | None = None) -> None:
        self.broker = broker
        self.password = None if password is None else password.encode()
        self.on_ready: Callable[[], None] = lambda: None
        """Called when there is something to ``flush``, where there was nothing."""
        self._topics: dict[str, dict[Session, None]] = {}
        self._patterns: dict[str, dict[Session, None]] = {}
        self._messages: list[Message] = []
        self._told = False  # on_ready has been called for them
        self._bytes = 0
        self._ids = count(1)
        self.sessions: dict[Session, None] = {}

    def open(self, push: Callable[[bytes], None]) -> "Session":
        """A new session; ``push`` takes bytes for its client."""
        session = Session(self, next(self._ids), push)
        self.sessions[session] = None
        return session

    def offer(self, message: Message) -> int:
        """A message that somebody listens to. The broker calls this."""
        self._messages.append(message)
        self._bytes += len(message.data)
        if not self._told:
            self.on_ready()
            self._told = True  # not before: where the call fails, the next message makes another
        if self._bytes > MAX_GATHERED:
            self.flush()
        return len(self._receivers(message.topic, message.pattern))

    def receiver_count(self, topic: str) -> int:
        return len(self._receivers(topic, None))

    def _receivers(self, topic: str, pattern: str | None) -> "dict[Session, None]":
        return self._topics.get(topic, {}) if pattern is None else self._patterns.get(pattern, {})

    def flush(self) -> None:
        """Give what was gathered to those who listen now, in one piece each."""
        if not self._messages:
            return
        messages, self._messages, self._bytes, self._told = self._messages, [], 0, False
        pieces: dict[Session, list[bytes]] = {}
        for (topic, pattern), run in groupby(messages, key=attrgetter("topic", "pattern")):
            same, forms = list(run), {}
            for session in self._receivers(topic, pattern):
                if session.version not in forms:
                    forms[session.version] = encode_messages(same, session.version)
                pieces.setdefault(session, []).append(forms[session.version])
        for session, parts in pieces.items():
            session.push(parts[0] if len(parts) == 1 else b"".join(parts))

    def listen(self, session: "Session", topic: str) -> None:
        """What was published before this is for the others alone."""
        self.flush()
        if topic not in self._topics:
            self._topics[topic] = {}
            self.broker.listen(topic, self)
        self._topics[topic][session] = None

    def ignore(self, session: "Session", topic: str) -> None:
        self.flush()
        del self._topics[topic][session]
        if not self._topics[topic]:
            del self._topics[topic]
            self.broker.ignore(topic, self)

    def listen_to_pattern(self, session: "Session", pattern: str) -> None:
        self.flush()
        if pattern not in self._patterns:
            self._patterns[pattern] = {}
            self.broker.listen_to_pattern(pattern, self)
        self._patterns[pattern][session] = None

    def ignore_pattern(self, session: "Session", pattern: str) -> None:
        self.flush()
        del self._patterns[pattern][session]
        if not self._patterns[pattern]:
            del self._patterns[pattern]
            self.broker.ignore_pattern(pattern, self)


def encode_messages(messages: list[Message], version: int) -> bytes:
    """Messages of one topic, delivered for the same reason, as pushes."""
    topic, pattern = messages[0].topic, messages[0].pattern
    if pattern is None:
        head = b"3\r\n$7\r\nmessage\r\n" + encode_bulk(to_bytes(topic))
    else:
        head = b"4\r\n$8\r\npmessage\r\n" + encode_bulk(to_bytes(pattern)) + encode_bulk(to_bytes(topic))
    head = (b">" if version == 3 else b"*") + head
    return b"".join([b"%b$%d\r\n%b\r\n" % (head, len(message.data), message.data) for message in messages])


# ---- a client's session ----------------------------------------------------------------------------------------------

Events = list[Event]


class Refusal(Exception):
    """A command is answered with this error."""


class Session:
    """What a client has said about itself, and what it listens to."""

    __slots__ = ("board", "closing", "id", "name", "patterns", "push", "refusing", "topics", "trusted", "version")

    def __init__(self, board: Switchboard, id: int, push: Callable[[bytes], None]) -> None:
        self.board = board
        self.id = id
        self.push = push
        self.closing = False
        """The client has said QUIT, or left while it waited."""
        self.topics: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.reset()

    def reset(self) -> None:
        """As if it had just connected."""
        self.version = 2
        self.name = b""
        self.trusted = self.board.password is None
        """It has given the password, or need not."""
        self.refusing = False
        """MULTI was refused, and neither EXEC nor DISCARD has come: the commands between would not be a transaction."""
        self.ignore_all()

    @property
    def listens(self) -> int:
        """To how many topics and patterns."""
        return len(self.topics) + len(self.patterns)

    def ignore(self, topic: str) -> None:
        """Listen to it no more. What was published before still comes, and if this is too slow for it, it is closed within."""
        del self.topics[topic]
        self.board.ignore(self, topic)

    def ignore_pattern(self, pattern: str) -> None:
        """The same."""
        del self.patterns[pattern]
        self.board.ignore_pattern(self, pattern)

    def ignore_all(self) -> None:
        """Listen to nothing any more. From the end: to look for the first of a dictionary passes over all that were there."""
        while self.topics:
            self.board.ignore(self, self.topics.popitem()[0])
        while self.patterns:
            self.board.ignore_pattern(self, self.patterns.popitem()[0])

    def close(self) -> None:
        """The client is gone."""
        self.ignore_all()
        self.board.sessions.pop(self, None)

    def execute(self, arguments: list[bytes]) -> Events | Wait:
        """Do what a command says; what to send. Raises Intruder."""
        try:
            return self._find(arguments).run(self, arguments)
        except Refusal as refusal:
            return [Reply(Error(str(refusal)))]

    def _find(self, arguments: list[bytes]) -> "Known":
        """The command, if it may be said now. Raises Refusal with what Redis answers otherwise."""
        name = arguments[0].lower()
        known = COMMANDS.get(name) or TRANSACTIONS.get(name)
        if known is None:
            if name in (b"post", b"host:"):
                raise Intruder
            raise Refusal(_unknown(arguments))
        if known.parts and len(arguments) > 1:
            name = name + b"|" + arguments[1].lower()
            known = known.parts.get(arguments[1].lower())
            if known is None:
                raise Refusal(f"ERR unknown subcommand '{_shown(arguments[1])}'. Try {_shown(arguments[0]).upper()} HELP.")
        complaint = self._complaint(known, name.decode(), len(arguments))
        if complaint and name == b"exec":  # in Redis every EXEC ends the transaction, also one that is refused
            self.refusing = False
            complaint = f"EXECABORT Transaction discarded because of: {complaint.removeprefix('ERR ')}"
        if complaint:
            raise Refusal(complaint)
        return known

    def _complaint(self, known: "Known", name: str, words: int) -> str | None:
        """Why the command may not be said now, in the order in which Redis looks; None if it may."""
        if words != known.arity if known.arity > 0 else words < -known.arity:
            return f"ERR wrong number of arguments for '{name}' command"
        if not (self.trusted or known.anyone):
            return "NOAUTH Authentication required."
        if self.version == 2 and self.listens and not known.subscriber:
            return f"ERR Can't execute '{name}': {ONLY_THESE}"
        if self.refusing and not known.unqueued:
            return f"ERR '{name}' has not been run: MULTI was refused, and every command after it until DISCARD or EXEC"
        return None


ONLY_THESE = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"


def _unknown(arguments: list[bytes]) -> str:
    """The error quotes up to 128 bytes of the name, and of the arguments."""
    quoted = b""
    for argument in arguments[1:]:
        if len(quoted) >= 128:
            break
        quoted += b"'%b' " % argument.partition(b"\0")[0][: 128 - len(quoted)]
    return f"ERR unknown command '{_shown(arguments[0])}', with args beginning with: {_line(quoted)}"


def _shown(name: bytes, most: int | None = 128) -> str:
    """As C prints it into an error: up to a NUL, and mostly no more than 128 bytes."""
    return _line(name.partition(b"\0")[0][:most])


def _line(text: bytes) -> str:
    return to_text(text.replace(b"\r", b" ").replace(b"\n", b" "))


@dataclass(frozen=True, slots=True)
class Known:
    """A command."""

    run: Callable[[Session, list[bytes]], Events | Wait]
    arity: int
    """How many words it has, its own among them; if negative, at least so many."""
    anyone: bool = False
    """It may be said before the password."""
    subscriber: bool = False
    """A subscriber may say it in version 2, where a reply could be taken for a message."""
    unqueued: bool = False
    """Redis does it at once also between MULTI and EXEC, where it queues all others."""
    parts: "dict[bytes, Known]" = field(default_factory=dict)
    """Its subcommands, by their second word."""
    help: tuple[str, ...] = ()
    """Of a subcommand, its lines in HELP: how it is said, and what for."""


def _value(value: object) -> Events:
    return [Reply(value)]


OK = _value(Simple("OK"))


def _integer(text: bytes, complaint: str = "value is not an integer or out of range") -> int:
    value = parse_integer(text)
    if value is None:
        raise Refusal(f"ERR {complaint}")
    return value


def _help(session: Session, arguments: list[bytes]) -> Events:
    """The subcommands that there are."""
    name = arguments[0].lower()
    lines = [f"{name.decode().upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for known in COMMANDS[name].parts.values():
        usage, *does = known.help
        lines += [usage, *(f"    {line}" for line in does)]
    return _value([Simple(line) for line in lines])


# ---- what clients say when they connect ------------------------------------------------------------------------------


def _ping(session: Session, arguments: list[bytes]) -> Events:
    if len(arguments) > 2:
        raise Refusal("ERR wrong number of arguments for 'ping' command")
    if session.listens and session.version == 2:
        return _value([b"pong", arguments[1] if len(arguments) == 2 else b""])
    return _value(arguments[1] if len(arguments) == 2 else Simple("PONG"))


def _echo(session: Session, arguments: list[bytes]) -> Events:
    return _value(arguments[1])


def _quit(session: Session, arguments: list[bytes]) -> Events:
    session.closing = True
    return OK


def _reset(session: Session, arguments: list[bytes]) -> Events:
    session.reset()
    return _value(Simple("RESET"))


def _select(session: Session, arguments: list[bytes]) -> Events:
    """There is but one database."""
    number = _integer(arguments[1])
    if not -(1 << 31) <= number < 1 << 31:
        raise Refusal("ERR value is out of range, value must between -2147483648 and 2147483647")
    if number != 0:
        raise Refusal("ERR DB index is out of range")
    return OK


def _auth(session: Session, arguments: list[bytes]) -> Events:
    if len(arguments) > 3:
        raise Refusal("ERR syntax error")
    if len(arguments) == 2 and session.board.password is None:
        raise Refusal(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _check_password(session, arguments[1] if len(arguments) == 3 else b"default", arguments[-1])
    return OK


def _check_password(session: Session, user: bytes, password: bytes) -> None:
    """The comparison takes as long for a guess that is nearly right as for any other."""
    right = session.board.password is None or hmac.compare_digest(session.board.password, password)
    if user != b"default" or not right:
        raise Refusal("WRONGPASS invalid username-password pair or user is disabled.")
    session.trusted = True


def _hello(session: Session, arguments: list[bytes]) -> Events:
    """HELLO [version [AUTH user password] [SETNAME name]]"""
    version = session.version
    if len(arguments) > 1:
        version = _integer(arguments[1], "Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise Refusal("NOPROTO unsupported protocol version")
    at = 2
    while at < len(arguments):
        option, more = arguments[at].lower(), len(arguments) - at - 1
        if option == b"auth" and more >= 2:
            _check_password(session, arguments[at + 1], arguments[at + 2])
            at += 3
        elif option == b"setname" and more >= 1:
            _set_name(session, arguments[at + 1])
            at += 2
        else:
            raise Refusal(f"ERR Syntax error in HELLO option '{_shown(arguments[at], None)}'")
    if not session.trusted:
        raise Refusal(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
            "option can be used to authenticate the client and select the RESP protocol version at the same time"
        )
    session.board.flush()  # in the version in which they were expected
    session.version = version
    return _value(Map([
        (b"server", b"redis"), (b"version", REDIS_VERSION.encode()), (b"proto", version), (b"id", session.id),
        (b"mode", b"standalone"), (b"role", b"master"), (b"modules", []),
    ]))  # fmt: skip


def _client_id(session: Session, arguments: list[bytes]) -> Events:
    return _value(session.id)


def _client_getname(session: Session, arguments: list[bytes]) -> Events:
    return _value(session.name or None)


def _client_setname(session: Session, arguments: list[bytes]) -> Events:
    _set_name(session, arguments[2])
    return OK


def _set_name(session: Session, name: bytes) -> None:
    if re.search(rb"[^!-~]", name):
        raise Refusal("ERR Client names cannot contain spaces, newlines or special characters.")
    session.name = name


def _client_setinfo(session: Session, arguments: list[bytes]) -> Events:
    """New in Redis 7.2: the name and version of the client's library. Nobody here needs to know."""
    if arguments[2].lower() not in (b"lib-name", b"lib-ver"):
        raise Refusal(f"ERR Unrecognized option '{_shown(arguments[2])}'")
    return OK


def _command(session: Session, arguments: list[bytes]) -> Events:
    return _value([_described(name) for name in COMMANDS])


def _command_count(session: Session, arguments: list[bytes]) -> Events:
    return _value(len(COMMANDS))


def _command_info(session: Session, arguments: list[bytes]) -> Events:
    return _value([_described(name.lower()) for name in arguments[2:] or COMMANDS])


def _described(name: bytes) -> object:
    """Name, arity, flags, and where its keys are: no command here has any."""
    return [name, COMMANDS[name].arity, [], 0, 0, 0, [], [], [], []] if name in COMMANDS else None


def _info(session: Session, arguments: list[bytes]) -> Events:
    board = session.board
    facts: dict[str, dict[str, object]] = {
        "Server": {"redis_version": REDIS_VERSION, "redis_mode": "standalone"},
        "Clients": {"connected_clients": len(board.sessions)},
        "Stats": {"pubsub_channels": len(board.broker.topics), "pubsub_patterns": board.broker.pattern_count},
    }
    asked = {argument.lower() for argument in arguments[1:]} - {b"all", b"default", b"everything"}
    sections = [
        f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines.items())
        for title, lines in facts.items()
        if not asked or title.lower().encode() in asked
    ]
    return _value(Verbatim("\r\n".join(sections).encode()))


# ---- transactions: refused, and with them all that they would have run -------------------------------------------------
#
# Client libraries send MULTI, the commands and EXEC in one piece, without waiting for an answer. If MULTI alone were an
# error, the commands behind it would run one by one; EXEC would fail, and the user would try again: all would run twice.


def _multi(session: Session, arguments: list[bytes]) -> Events:
    if session.refusing:
        raise Refusal("ERR MULTI calls can not be nested")
    session.refusing = True
    raise Refusal("ERR unknown command 'MULTI': this broker has no transactions, and runs nothing until EXEC or DISCARD")


def _exec(session: Session, arguments: list[bytes]) -> Events:
    if not session.refusing:
        raise Refusal("ERR EXEC without MULTI")
    session.refusing = False
    raise Refusal("EXECABORT Transaction discarded because of previous errors.")


def _discard(session: Session, arguments: list[bytes]) -> Events:
    if not session.refusing:
        raise Refusal("ERR DISCARD without MULTI")
    session.refusing = False
    return OK


def _watch(session: Session, arguments: list[bytes]) -> Events:
    raise Refusal("ERR WATCH inside MULTI is not allowed" if session.refusing else _unknown(arguments))


# ---- publish and subscribe -------------------------------------------------------------------------------------------


def _name(name: bytes) -> str:
    """A topic or a pattern. Raises Refusal for a longer one than the broker takes; Redis has no bound of its own."""
    if len(name) > MAX_NAME:
        raise Refusal(f"ERR a channel or pattern has at most {MAX_NAME} bytes")
    return to_text(name)


def _publish(session: Session, arguments: list[bytes]) -> Events:
    return [Reply(session.board.broker.publish(_name(arguments[1]), arguments[2]))]


def _subscribe(session: Session, arguments: list[bytes]) -> Events:
    return [_listen(session, topic) for topic in [_name(name) for name in arguments[1:]]]


def _listen(session: Session, topic: str) -> Push:
    if topic not in session.topics:
        session.board.listen(session, topic)
        session.topics[topic] = None
    return Push([b"subscribe", to_bytes(topic), session.listens])


def _unsubscribe(session: Session, arguments: list[bytes]) -> Events:
    names = arguments[1:] or [to_bytes(topic) for topic in session.topics]
    return [_ignore(session, name) for name in names or (None,)]


def _ignore(session: Session, name: bytes | None) -> Push:
    if name is not None and (topic := to_text(name)) in session.topics:
        session.ignore(topic)
    return Push([b"unsubscribe", name, session.listens])


def _psubscribe(session: Session, arguments: list[bytes]) -> Events:
    return [_listen_to_pattern(session, pattern) for pattern in [_name(name) for name in arguments[1:]]]


def _listen_to_pattern(session: Session, pattern: str) -> Push:
    if pattern not in session.patterns:
        session.board.listen_to_pattern(session, pattern)
        session.patterns[pattern] = None
    return Push([b"psubscribe", to_bytes(pattern), session.listens])


def _punsubscribe(session: Session, arguments: list[bytes]) -> Events:
    names = arguments[1:] or [to_bytes(pattern) for pattern in session.patterns]
    return [_ignore_pattern(session, name) for name in names or (None,)]


def _ignore_pattern(session: Session, name: bytes | None) -> Push:
    if name is not None and (pattern := to_text(name)) in session.patterns:
        session.ignore_pattern(pattern)
    return Push([b"punsubscribe", name, session.listens])


def _pubsub_channels(session: Session, arguments: list[bytes]) -> Events:
    if len(arguments) > 3:
        raise Refusal(
            f"ERR unknown subcommand or wrong number of arguments for '{_shown(arguments[1])}'. Try PUBSUB HELP."
        )
    names = [to_bytes(topic) for topic in session.board.broker.topics]
    if len(arguments) == 3:
        matches = glob(_name(arguments[2])).fullmatch
        names = [name for name in names if matches(name)]
    return _value(names)


def _pubsub_numsub(session: Session, arguments: list[bytes]) -> Events:
    broker = session.board.broker
    return _value([part for name in arguments[2:] for part in (name, broker.subscriber_count(to_text(name)))])


def _pubsub_numpat(session: Session, arguments: list[bytes]) -> Events:
    return _value(session.board.broker.pattern_count)


# ---- a topic's history, as if it were a stream -----------------------------------------------------------------------
#
#   entry  =  id, [ "data", the message ]           id  =  milliseconds [ "-" sequence ],  both of 64 bits

Id = tuple[int, int]

_ID = re.compile(rb"([0-9]+)(?:-([0-9]+))?")
_EXTREMES = {b"-": (0, 0), b"+": (MAX_ID, MAX_ID)}


def _parse_id(text: bytes, missing: int) -> Id:
    """Of a sequence that is not given ``missing`` takes the place. Raises Refusal."""
    found = _ID.fullmatch(text) if len(text) < 128 else None
    if found is not None:
        id = int(found[1]), missing if found[2] is None else int(found[2])
        if max(id) <= MAX_ID:
            return id
    raise Refusal("ERR Invalid stream ID specified as stream command argument")


def _parse_bound(text: bytes, missing: int, step: int, complaint: str) -> Id:
    """One end of a range. Behind a parenthesis is an id that is not in it, so the range begins a step further."""
    if text in _EXTREMES:
        return _EXTREMES[text]
    if len(text) < 2 or text[:1] != b"(":
        return _parse_id(text, missing)
    milliseconds, sequence = _parse_id(text[1:], missing)
    number = (milliseconds << 64 | sequence) + step
    if not 0 <= number < 1 << 128:
        raise Refusal(f"ERR {complaint}")
    return number >> 64, number & MAX_ID


def _key(message: Message) -> Id:
    key = parse_id(message.id)
    assert key is not None
    return key


def _entries(messages: list[Message]) -> list[object]:
    return [[message.id.encode(), [b"data", message.data]] for message in messages]


def _xlen(session: Session, arguments: list[bytes]) -> Events:
    return _value(session.board.broker.log_length(to_text(arguments[1])))


def _xrange(session: Session, arguments: list[bytes]) -> Events:
    """XRANGE topic first last [COUNT number]"""
    return _range(session, arguments, arguments[2], arguments[3])


def _xrevrange(session: Session, arguments: list[bytes]) -> Events:
    """XREVRANGE topic last first [COUNT number]: the newest come first."""
    return _range(session, arguments, arguments[3], arguments[2], backwards=True)


def _range(session: Session, arguments: list[bytes], lower: bytes, upper: bytes, backwards: bool = False) -> Events:
    first = _parse_bound(lower, 0, 1, "invalid start ID for the interval")
    last = _parse_bound(upper, MAX_ID, -1, "invalid end ID for the interval")
    most = None
    for at in range(4, len(arguments), 2):
        if arguments[at].lower() != b"count" or at + 1 == len(arguments):
            raise Refusal("ERR syntax error")
        most = max(0, _integer(arguments[at + 1]))
    log = session.board.broker.log(to_text(arguments[1]))
    if most == 0 and log:
        return _value(NullArray())
    messages = log[bisect_left(log, first, key=_key) : bisect_right(log, last, key=_key)]
    if backwards:
        messages.reverse()
    return _value(_entries(messages[:most]))


def _xinfo_stream(session: Session, arguments: list[bytes]) -> Events:
    """XINFO STREAM topic: what somebody needs who resumes, in the fields in which Redis says it.

    ``max-deleted-entry-id`` is the newest id that is not kept any more: after it, nothing is missing.
    """
    if len(arguments) > 3:
        raise Refusal("ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.")
    broker, topic = session.board.broker, _name(arguments[2])
    if not broker.history(topic):
        raise Refusal("ERR no such key")
    log = broker.log(topic)
    first, last = _entries(log[:1] + log[-1:]) if log else (None, None)
    return _value(Map([
        (b"length", len(log)), (b"last-generated-id", broker.last_id(topic).encode()),
        (b"max-deleted-entry-id", broker.last_id(topic, len(log)).encode()), (b"groups", 0),
        (b"first-entry", first), (b"last-entry", last),
    ]))  # fmt: skip


def _xread(session: Session, arguments: list[bytes]) -> Events | Wait:
    """XREAD [COUNT number] [BLOCK milliseconds] STREAMS topic … id …"""
    most, block, at = 0, None, 1
    while at < len(arguments) - 1 and (option := arguments[at].lower()) != b"streams":
        if option == b"block":
            block = _integer(arguments[at + 1], "timeout is not an integer or out of range")
            if block < 0:
                raise Refusal("ERR timeout is negative")
        elif option == b"count":
            most = max(0, _integer(arguments[at + 1]))
        else:
            raise Refusal(_wrong_option(option, len(arguments) - at - 1))
        at += 2
    names = arguments[at + 1 :]
    if not names:
        raise Refusal(_wrong_option(arguments[at].lower() if at < len(arguments) else b"", 0))
    if len(names) % 2:
        raise Refusal("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
    topics = [_name(name) for name in names[: len(names) // 2]]
    after = [_parse_start(session.board.broker, topic, id) for topic, id in zip(topics, names[len(topics) :], strict=True)]

    def answer() -> Events | None:
        return _read(session, topics, after, most or None)

    return answer() or (_value(NullArray()) if block is None else Wait(topics, block, answer))


def _wrong_option(option: bytes, more: int) -> str:
    if (option == b"group" and more >= 2) or option == b"noack":
        return f"ERR The {option.decode().upper()} option is only supported by XREADGROUP. You called XREAD instead."
    return "ERR syntax error"


def _parse_start(broker: Broker, topic: str, id: bytes) -> Id:
    if id == b"$":
        id = broker.last_id(topic).encode()
    if id == b">":
        raise Refusal(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return _parse_id(id, 0)


def _read(session: Session, topics: list[str], after: list[Id], most: int | None) -> Events | None:
    """What each topic has behind an id; None, if no topic has anything."""
    found: list[tuple[bytes, object]] = []
    for topic, id in zip(topics, after, strict=True):
        log = session.board.broker.log(topic)
        if messages := log[bisect_right(log, id, key=_key) :][:most]:
            found.append((to_bytes(topic), _entries(messages)))
    if not found:
        return None
    return _value(Map(list(found)) if session.version == 3 else [[name, entries] for name, entries in found])


# ---- the table -------------------------------------------------------------------------------------------------------

_HELP = Known(_help, 2, help=("HELP", "Prints this help."))
COMMANDS: dict[bytes, Known] = {
    b"ping": Known(_ping, -1, subscriber=True),
    b"echo": Known(_echo, 2),
    b"hello": Known(_hello, -1, anyone=True),
    b"auth": Known(_auth, -2, anyone=True),
    b"select": Known(_select, 2),
    b"reset": Known(_reset, 1, anyone=True, subscriber=True, unqueued=True),
    b"quit": Known(_quit, -1, anyone=True, subscriber=True, unqueued=True),
    b"info": Known(_info, -1),
    b"client": Known(_help, -2, parts={
        b"getname": Known(_client_getname, 2, help=("GETNAME", "Return the name of the current connection.")),
        b"id": Known(_client_id, 2, help=("ID", "Return the ID of the current connection.")),
        b"setinfo": Known(_client_setinfo, 4, help=("SETINFO <option> <value>", "Name the client's library: not kept.")),
        b"setname": Known(_client_setname, 3, help=("SETNAME <name>", "Assign the name <name> to the current connection.")),
        b"help": _HELP,
    }),
    b"command": Known(_command, -1, parts={
        b"count": Known(_command_count, 2, help=("COUNT", "Return the total number of commands in this server.")),
        b"info": Known(_command_info, -2, help=("INFO [<command-name> ...]", "Return details about these commands, or all.")),
        b"help": _HELP,
    }),
    b"publish": Known(_publish, 3),
    b"subscribe": Known(_subscribe, -2, subscriber=True),
    b"unsubscribe": Known(_unsubscribe, -1, subscriber=True),
    b"psubscribe": Known(_psubscribe, -2, subscriber=True),
    b"punsubscribe": Known(_punsubscribe, -1, subscriber=True),
    b"pubsub": Known(_help, -2, parts={
        b"channels": Known(_pubsub_channels, -2, help=("CHANNELS [<pattern>]", "Return the currently active channels.")),
        b"numpat": Known(_pubsub_numpat, 2, help=("NUMPAT", "Return number of subscriptions to patterns.")),
        b"numsub": Known(_pubsub_numsub, -2, help=("NUMSUB [<channel> ...]", "Return the numbers of their subscribers.")),
        b"help": _HELP,
    }),
    b"xlen": Known(_xlen, 2),
    b"xrange": Known(_xrange, -4),
    b"xrevrange": Known(_xrevrange, -4),
    b"xread": Known(_xread, -4),
    b"xinfo": Known(_help, -2, parts={
        b"stream": Known(_xinfo_stream, -3, help=("STREAM <topic>", "Show what is kept of the topic.")),
        b"help": _HELP,
    }),
}  # fmt: skip
"""By name, in lower case. One with parts and at least two words is never run itself."""
TRANSACTIONS = {
    b"multi": Known(_multi, 1, unqueued=True),
    b"exec": Known(_exec, 1, unqueued=True),
    b"discard": Known(_discard, 1, unqueued=True),
    b"watch": Known(_watch, -2, unqueued=True),
}
"""Known only to be refused, so COMMAND does not name them."""
