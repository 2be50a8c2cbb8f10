r"""What a client asks about connections, and how it wants to be answered: CLIENT LIST, INFO, NO-EVICT and REPLY.

CLIENT LIST describes each connection in a line of ``name=value`` pairs. An operator looks here to see who is connected:

    id=7 addr=127.0.0.1:50312 laddr=127.0.0.1:6379 fd=9 name=worker-1 age=12 idle=3 flags=P db=0 sub=1 psub=0 ssub=0 multi=-1
    qbuf=0 omem=0 cmd=subscribe user=default redir=-1 resp=2

(One line, folded here.) That is a connection of 12 seconds, which sent its last command, SUBSCRIBE, 3 seconds ago. The names
and their order are those of redis-server 7.0. Left out are its figures about memory that this server does not have
(``argv-mem``, ``tot-mem`` and the like): a reader of these lines looks values up by name.

**CLIENT REPLY** turns answers off. A program that loads a million messages may not want a million answers:

    client sends              OFF                     SKIP
    CLIENT REPLY …            no answer               no answer
    PUBLISH news one          no answer               no answer: SKIP is about one command
    PUBLISH news two          no answer               :0
    CLIENT REPLY ON           +OK                     +OK

Without answers, a client cannot tell which of its commands failed. Messages of a subscription are no answers, and still come.

What is easy to get wrong: SKIP after OFF changes nothing, since the answers are off already.
"""

import math
from collections.abc import Iterable

from minproto.resp import Verbatim, parse_integer
from minproto.session import OK, Events, Refusal, Session, quoted, reply

_FLAGS = (("P", "is_subscriber"), ("b", "blocked"), ("e", "never_evicted"))
"""Letters of the field ``flags``, each with the attribute of a session that it is for. N: none of them applies."""
_TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")
"""The types of clients. This server has no replicas, so no client is a master, replica or slave."""


def client_list(session: Session, arguments: list[bytes]) -> Events:
    """CLIENT LIST [TYPE type | ID id …]: reply with a line for each connection, or for those of a type, or with these ids."""
    sessions: Iterable[Session] = session.switchboard.sessions
    option = arguments[2].lower() if len(arguments) > 3 else b""
    if option == b"type" and len(arguments) == 4:
        sessions = _of_type(sessions, arguments[3])
    elif option == b"id":
        ids = [parse_integer(text) for text in arguments[3:]]
        if None in ids:
            raise Refusal("ERR Invalid client ID")
        by_id = {each.id: each for each in sessions}
        sessions = [by_id[id] for id in ids if id in by_id]
    elif len(arguments) > 2:
        raise Refusal("ERR syntax error")
    return _lines(sessions)


def _of_type(sessions: Iterable[Session], name: bytes) -> list[Session]:
    kind = name.lower()
    if kind not in _TYPES:
        raise Refusal(f"ERR Unknown client type '{quoted(name)}'")
    return [each for each in sessions if (b"pubsub" if each.is_subscriber else b"normal") == kind]


def client_info(session: Session, arguments: list[bytes]) -> Events:
    """CLIENT INFO: reply with the line about this connection."""
    return _lines([session])


def _lines(sessions: Iterable[Session]) -> Events:
    return reply(Verbatim("".join(f"{_line(session)}\n" for session in sessions).encode()))


def _line(session: Session) -> str:
    """Return the line about a connection.

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 1_700_000_000_000)).open(print)
    >>> session.command = b"ping"
    >>> _line(session)  # doctest: +NORMALIZE_WHITESPACE
    'id=1 addr=? laddr=? fd=-1 name= age=0 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 omem=0 cmd=ping
     user=default redir=-1 resp=2'
    """
    peer = session.peer()
    flags = "".join(letter for letter, name in _FLAGS if getattr(session, name)) + "U" * peer.is_unix
    facts = {
        "id": session.id, "addr": peer.address, "laddr": peer.local_address, "fd": peer.descriptor,
        "name": session.name.decode(), "age": peer.age, "idle": peer.idle,
        "flags": flags or "N", "db": 0, "sub": len(session.topics), "psub": len(session.patterns),
        "ssub": len(session.shards), "multi": -1, "qbuf": peer.unread, "omem": peer.unsent,
        "cmd": session.command.decode(), "user": "default", "redir": -1, "resp": session.version,
    }  # fmt: skip
    return " ".join(f"{name}={value}" for name, value in facts.items())


def client_no_evict(session: Session, arguments: list[bytes]) -> Events:
    """CLIENT NO-EVICT ON | OFF: note a wish that this server grants everybody. Short of memory, Redis closes clients; this
    server closes only a subscriber that does not read."""
    session.never_evicted = _choice(arguments[2], (b"off", b"on")) == b"on"
    return OK


def client_reply(session: Session, arguments: list[bytes]) -> Events:
    """CLIENT REPLY ON | OFF | SKIP: answer every command again; answer none; or answer neither this one nor the next."""
    mode = _choice(arguments[2], (b"on", b"off", b"skip"))
    session.silent_answers = {b"on": 0, b"off": math.inf, b"skip": max(session.silent_answers, 2)}[mode]
    return OK


def _choice(word: bytes, choices: tuple[bytes, ...]) -> bytes:
    if (choice := word.lower()) not in choices:
        raise Refusal("ERR syntax error")
    return choice
