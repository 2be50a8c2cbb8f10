r"""The commands that the broker's server understands, their effect on a client's session, and their answers.

Redis client libraries talk to the broker with these commands, and cannot tell the broker from Redis. There are five kinds:

    the connection     PING, ECHO, HELLO, AUTH, SELECT, RESET, QUIT, CLIENT, COMMAND, INFO: client libraries send them first
    pub/sub            PUBLISH, SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE, PUBSUB and others: in ``pubsub_commands.py``
    streams            XADD, XDEL, XTRIM, XLEN, XRANGE, XREVRANGE, XREAD, XINFO, DEL, EXISTS, TYPE: in ``stream_commands.py``
    groups             XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM: in ``group_commands.py``
    transactions       MULTI, EXEC, DISCARD, WATCH: known only so that they can be refused safely

A subscription and a message, in version 2 of RESP. A is a subscriber, B is a publisher:

    A sends       *2\r\n $9\r\nSUBSCRIBE\r\n $4\r\nnews\r\n
    A receives    *3\r\n $9\r\nsubscribe\r\n $4\r\nnews\r\n :1\r\n                 confirmed: A has 1 subscription now
    B sends       *3\r\n $7\r\nPUBLISH\r\n $4\r\nnews\r\n $5\r\nhello\r\n
    B receives    :1\r\n                                                           1 subscriber receives the message
    A receives    *3\r\n $7\r\nmessage\r\n $4\r\nnews\r\n $5\r\nhello\r\n          the message, sent unasked

``execute`` runs a command. Here ``print`` takes the place of each connection:

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> switchboard = Switchboard(Broker(clock=lambda: 1_700_000_000_000))
    >>> a, b = switchboard.open(print), switchboard.open(print)
    >>> execute(a, [b"SUBSCRIBE", b"news"])
    [Push(items=[b'subscribe', b'news', 1])]
    >>> execute(b, [b"PUBLISH", b"news", b"hello"])
    [Reply(value=1)]
    >>> switchboard.flush()
    b'*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n'

A command that does not exist is refused at once. If a command exists, three rules say whether a client may send it now. They
are checked in the same order as in redis-server (a fourth rule, about transactions, is explained at MULTI below):

- The number of words. Each command has an *arity*: 2 means exactly two words, including its name; -2 means two or more.
- The password. A client that has not given the password yet may send only AUTH, HELLO, RESET and QUIT.
- The subscriptions. In version 2 a message has the form of a reply, so a subscriber could mistake a message for a reply.
  Therefore a subscriber may only change its subscriptions, or send PING, RESET or QUIT. Version 3 has no such rule.

    >>> print(execute(a, [b"ECHO", b"hi"])[0].value.text)
    ERR Can't execute 'echo': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context

Errors use the words of redis-server 7.0, because client libraries act on these words. For the same reason HELLO calls this
server "redis". Left out: every command for other data than streams (SET, GET), because this is a broker, not a database.
"""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from minproto import client_commands, group_commands, pubsub_commands, stream_commands
from minproto.command_docs import command_docs
from minproto.log import NoRoomError
from minproto.resp import Error, Map, Simple, Verbatim, to_text
from minproto.session import (
    MAX_QUOTED,
    NO_ROOM,
    OK,
    Events,
    Refusal,
    Session,
    Wait,
    integer,
    one_line,
    quoted,
    reply,
)

REDIS_VERSION = "7.0.15"
"""The version of redis-server whose replies we imitate. Clients check it to find out which commands a server has."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the command table."""

    function: Callable[[Session, list[bytes]], Events | Wait]
    """Runs the command. It is called with the session and the words of the command, including the name."""
    arity: int
    """The number of words, including the name; negative: at least that many."""
    before_password: bool = False
    """Whether a client may send the command before giving the password."""
    while_subscribed: bool = False
    """Whether a subscriber may send the command in version 2 of RESP."""
    within_multi: bool = False
    """Whether Redis runs the command at once between MULTI and EXEC, instead of adding it to the transaction."""
    subcommands: "dict[bytes, Entry]" = field(default_factory=dict)
    """The entries of the subcommands, by the second word. If the command arrives as one word, ``function`` runs instead."""
    help: tuple[str, ...] = ()
    """The lines about a subcommand in the answer to HELP: first how to write it, then what it does."""


class CrossProtocolRequest(Exception):
    """A web page made a browser talk to us: the client sent the head of an HTTP request. The shell closes without an answer.

    A web page can make its reader's browser send ``POST / HTTP/1.1`` to any port on the reader's own machine. Each line of the
    request would be read as an inline command, and the page chooses the content. Redis guards against such requests in the
    same way.
    """


# ---- finding a command -------------------------------------------------------------------------------------------------


def execute(session: Session, arguments: list[bytes]) -> Events | Wait:
    """Run a command, and return what to send. Raises CrossProtocolRequest.

    ``arguments``: the words of the command, of which the first is its name. A Wait means that there is no answer yet. The
    list is empty if the client wants no answer (CLIENT REPLY).
    """
    try:
        answer = _find(session, arguments).function(session, arguments)
    except Refusal as refusal:
        answer = reply(Error(str(refusal)))
    except NoRoomError:
        answer = reply(Error(NO_ROOM))
    return answer if isinstance(answer, Wait) else session.audible(answer)


def _find(session: Session, arguments: list[bytes]) -> Entry:
    """Return the entry of a command that may be sent now; otherwise raise Refusal with Redis's error."""
    name = arguments[0].lower()
    entry = COMMANDS.get(name) or TRANSACTIONS.get(name)
    if entry is None:
        if name in (b"post", b"host:"):  # the first words of an HTTP request's lines; GET is a command of Redis
            raise CrossProtocolRequest
        raise Refusal(_unknown(arguments))
    if entry.subcommands and len(arguments) > 1:
        second = arguments[1].lower()
        name += b"|" + second
        entry = entry.subcommands.get(second)
        if entry is None:
            wrong, command = quoted(arguments[1], MAX_QUOTED), quoted(arguments[0]).upper()
            raise Refusal(f"ERR unknown subcommand '{wrong}'. Try {command} HELP.")
    session.command = name
    complaint = _complaint(session, entry, name.decode(), len(arguments))
    if complaint and name == b"exec":  # every EXEC ends the transaction, even if it is refused
        session.refuses_transaction = False
        complaint = f"EXECABORT Transaction discarded because of: {complaint.removeprefix('ERR ')}"
    if complaint:
        raise Refusal(complaint)
    return entry


def _complaint(session: Session, entry: Entry, name: str, words: int) -> str | None:
    """Return why the command may not be sent now, or None if it may be sent. The rules are checked in Redis's order."""
    wrong_number = words < -entry.arity if entry.arity < 0 else words != entry.arity
    if wrong_number:
        return f"ERR wrong number of arguments for '{name}' command"
    if not (session.authenticated or entry.before_password):
        return "NOAUTH Authentication required."
    if session.version == 2 and session.is_subscriber and not entry.while_subscribed:
        return f"ERR Can't execute '{name}': {ONLY_THESE}"
    if session.refuses_transaction and not entry.within_multi:
        return f"ERR '{name}' has not been run: MULTI was refused, and every command after it until DISCARD or EXEC"
    return None


ONLY_THESE = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"


def _unknown(arguments: list[bytes]) -> str:
    """Return the error for a command that does not exist: it quotes the name, and the first arguments."""
    words = b""
    for argument in arguments[1:]:
        if len(words) >= MAX_QUOTED:
            break
        words += b"'%b' " % argument.partition(b"\0")[0][: MAX_QUOTED - len(words)]
    return f"ERR unknown command '{quoted(arguments[0], MAX_QUOTED)}', with args beginning with: {one_line(words)}"


def _help(session: Session, arguments: list[bytes]) -> Events:
    """CLIENT HELP, and HELP for the other commands that have subcommands: reply with a list of them."""
    name = arguments[0].lower()
    lines = [f"{name.decode().upper()} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
    for entry in COMMANDS[name].subcommands.values():
        usage, *does = entry.help
        lines += [usage, *(f"    {line}" for line in does)]
    return reply([Simple(line) for line in lines])


# ---- the connection ----------------------------------------------------------------------------------------------------
#
# What redis-py 5 sends when it connects with a password, in version 3. It tolerates an error in any reply but the first:
#
#     HELLO 3 AUTH default secret             a map: this is the server "redis", of this version, in this version of RESP
#     CLIENT SETINFO LIB-NAME redis-py        +OK
#     CLIENT SETINFO LIB-VER 5.0.1            +OK


def _ping(session: Session, arguments: list[bytes]) -> Events:
    """PING [text]: reply with PONG, or the text. A subscriber in version 2 gets the reply in the form of a message."""
    if len(arguments) > 2:
        raise Refusal("ERR wrong number of arguments for 'ping' command")
    if session.is_subscriber and session.version == 2:
        return reply([b"pong", arguments[1] if len(arguments) == 2 else b""])
    return reply(arguments[1] if len(arguments) == 2 else Simple("PONG"))


def _echo(session: Session, arguments: list[bytes]) -> Events:
    return reply(arguments[1])


def _quit(session: Session, arguments: list[bytes]) -> Events:
    """QUIT: reply with OK. The shell checks ``closing``, and ends the connection after the answer."""
    session.closing = True
    return OK


def _reset(session: Session, arguments: list[bytes]) -> Events:
    session.reset()
    return reply(Simple("RESET"))


def _select(session: Session, arguments: list[bytes]) -> Events:
    """SELECT number: choose a database. There is only number 0, and it is empty."""
    number = integer(arguments[1])
    if not -(1 << 31) <= number < 1 << 31:
        raise Refusal("ERR value is out of range, value must between -2147483648 and 2147483647")
    if number != 0:
        raise Refusal("ERR DB index is out of range")
    return OK


def _auth(session: Session, arguments: list[bytes]) -> Events:
    """AUTH [user] password"""
    if len(arguments) > 3:
        raise Refusal("ERR syntax error")
    if len(arguments) == 2 and session.switchboard.password is None:
        raise Refusal(
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?"
        )
    _check_password(session, arguments[1] if len(arguments) == 3 else b"default", arguments[-1])
    return OK


def _check_password(session: Session, user: bytes, password: bytes) -> None:
    """Let the client in, or raise Refusal.

    ``==`` stops at the first byte that differs, so the time it takes would tell a guesser how many bytes are right. The time
    that ``compare_digest`` takes does not.
    """
    right = session.switchboard.password is None or hmac.compare_digest(session.switchboard.password, password)
    if user != b"default" or not right:
        raise Refusal("WRONGPASS invalid username-password pair or user is disabled.")
    session.authenticated = True


def _hello(session: Session, arguments: list[bytes]) -> Events:
    r"""HELLO [version [AUTH user password] [SETNAME name]]: change the version of RESP, and reply with facts.

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 1_700_000_000_000), password="secret").open(print)
    >>> for words in (b"HELLO 3 AUTH default wrong", b"HELLO 3 AUTH default secret SETNAME me", b"CLIENT GETNAME"):
    ...     (answer,) = execute(session, words.split())
    ...     print(answer.value.pairs[:3] if isinstance(answer.value, Map) else answer.value)
    Error(text='WRONGPASS invalid username-password pair or user is disabled.')
    [(b'server', b'redis'), (b'version', b'7.0.15'), (b'proto', 3)]
    b'me'
    """
    version = session.version
    if len(arguments) > 1:
        version = integer(arguments[1], "Protocol version is not an integer or out of range")
        if version not in (2, 3):
            raise Refusal("NOPROTO unsupported protocol version")
    position = 2
    while position < len(arguments):
        option, more = arguments[position].lower(), len(arguments) - position - 1
        if option == b"auth" and more >= 2:
            _check_password(session, arguments[position + 1], arguments[position + 2])
            position += 3
        elif option == b"setname" and more >= 1:
            _set_name(session, arguments[position + 1])
            position += 2
        else:
            raise Refusal(f"ERR Syntax error in HELLO option '{quoted(arguments[position])}'")
    if not session.authenticated:
        raise Refusal(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
            "option can be used to authenticate the client and select the RESP protocol version at the same time"
        )
    session.switchboard.flush()  # messages published before the HELLO go out in the old version
    session.version = version
    return reply(Map([
        (b"server", b"redis"), (b"version", REDIS_VERSION.encode()), (b"proto", version), (b"id", session.id),
        (b"mode", b"standalone"), (b"role", b"master"), (b"modules", []),
    ]))  # fmt: skip


def _client_id(session: Session, arguments: list[bytes]) -> Events:
    return reply(session.id)


def _client_getname(session: Session, arguments: list[bytes]) -> Events:
    return reply(session.name or None)


def _client_setname(session: Session, arguments: list[bytes]) -> Events:
    _set_name(session, arguments[2])
    return OK


def _set_name(session: Session, name: bytes) -> None:
    if re.search(rb"[^!-~]", name):
        raise Refusal("ERR Client names cannot contain spaces, newlines or special characters.")
    session.name = name


def _client_setinfo(session: Session, arguments: list[bytes]) -> Events:
    """CLIENT SETINFO option value: ignore the name or version of the client's library. New in Redis 7.2."""
    if arguments[2].lower() not in (b"lib-name", b"lib-ver"):
        raise Refusal(f"ERR Unrecognized option '{quoted(arguments[2], MAX_QUOTED)}'")
    return OK


def _command(session: Session, arguments: list[bytes]) -> Events:
    """COMMAND: reply with a description of each command. redis-cli asks for it at startup, for its completions."""
    return reply([_described(name) for name in COMMANDS])


def _command_count(session: Session, arguments: list[bytes]) -> Events:
    return reply(len(COMMANDS))


def _command_info(session: Session, arguments: list[bytes]) -> Events:
    return reply([_described(name.lower()) for name in arguments[2:] or COMMANDS])


def _command_docs(session: Session, arguments: list[bytes]) -> Events:
    """COMMAND DOCS [command …]: reply with what each command is for; of all commands, if no name is given."""
    names = [to_text(name.lower()) for name in arguments[2:] or COMMANDS]
    subcommands = {
        name.decode(): [f"{name.decode()}|{second.decode()}" for second in entry.subcommands]
        for name, entry in COMMANDS.items()
        if entry.subcommands
    }
    docs = command_docs(names, subcommands)
    return reply(docs)


def _described(name: bytes) -> object:
    """Return a command's name, arity and flags, and where its keys are. Our commands have no keys, because keys are data."""
    return [name, COMMANDS[name].arity, [], 0, 0, 0, [], [], [], []] if name in COMMANDS else None


def _info(session: Session, arguments: list[bytes]) -> Events:
    """INFO [section …]: reply with facts about the server as text, in sections; with all sections, if no name is given."""
    switchboard = session.switchboard
    broker = switchboard.broker
    facts: dict[str, dict[str, object]] = {
        "Server": {"redis_version": REDIS_VERSION, "redis_mode": "standalone"},
        "Clients": {"connected_clients": len(switchboard.sessions)},
        "Stats": {"pubsub_channels": len(broker.topics), "pubsub_patterns": broker.pattern_count,
                  "pubsubshard_channels": len(switchboard.by_shard.sessions)},
    }
    wanted = {argument.lower() for argument in arguments[1:]} - {b"all", b"default", b"everything"}
    sections = [
        f"# {title}\r\n" + "".join(f"{name}:{value}\r\n" for name, value in lines.items())
        for title, lines in facts.items()
        if not wanted or title.lower().encode() in wanted
    ]
    return reply(Verbatim("\r\n".join(sections).encode()))


# ---- transactions ------------------------------------------------------------------------------------------------------
#
# MULTI begins a transaction, and EXEC runs the commands in between. This broker has no transactions. If only MULTI were
# refused, the commands after it would still be run: client libraries send everything in one piece, without awaiting an answer.
#
#     client sends                if only MULTI is refused                 here
#     MULTI                       -ERR unknown command                     -ERR unknown command 'MULTI': …
#     PUBLISH news hello          :3       published                       -ERR 'publish' has not been run: …
#     EXEC                        -ERR unknown command                     -EXECABORT Transaction discarded …
#
# In the middle column the user sees that the transaction has failed, and tries again: "hello" is published twice.


def _multi(session: Session, arguments: list[bytes]) -> Events:
    if session.refuses_transaction:
        raise Refusal("ERR MULTI calls can not be nested")
    session.refuses_transaction = True
    raise Refusal("ERR unknown command 'MULTI': this broker has no transactions, and runs nothing until EXEC or DISCARD")


def _exec(session: Session, arguments: list[bytes]) -> Events:
    """EXEC: end a transaction that was refused.

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 1_700_000_000_000)).open(print)
    >>> for words in (b"MULTI", b"PUBLISH news hello", b"EXEC", b"PUBLISH news hello"):
    ...     (answer,) = execute(session, words.split())
    ...     print(answer.value.text[:36] if isinstance(answer.value, Error) else answer.value)
    ERR unknown command 'MULTI': this br
    ERR 'publish' has not been run: MULT
    EXECABORT Transaction discarded beca
    0
    """
    if not session.refuses_transaction:
        raise Refusal("ERR EXEC without MULTI")
    session.refuses_transaction = False
    raise Refusal("EXECABORT Transaction discarded because of previous errors.")


def _discard(session: Session, arguments: list[bytes]) -> Events:
    if not session.refuses_transaction:
        raise Refusal("ERR DISCARD without MULTI")
    session.refuses_transaction = False
    return OK


def _watch(session: Session, arguments: list[bytes]) -> Events:
    raise Refusal("ERR WATCH inside MULTI is not allowed" if session.refuses_transaction else _unknown(arguments))


# ---- the table -------------------------------------------------------------------------------------------------------
#
# Each row: the name, the function, the arity (-2: two words or more), when the command may be sent, and its effect or reply.

_HELP = Entry(_help, 2, help=("HELP", "Prints this help."))
COMMANDS: dict[bytes, Entry] = {
    b"ping": Entry(_ping, -1, while_subscribed=True),  # PONG: is anyone there?
    b"echo": Entry(_echo, 2),  # the argument
    b"hello": Entry(_hello, -1, before_password=True),  # another version of RESP, and the password with it
    b"auth": Entry(_auth, -2, before_password=True),  # the password
    b"select": Entry(_select, 2),  # a database: there is only number 0
    b"reset": Entry(_reset, 1, before_password=True, while_subscribed=True, within_multi=True),  # as if just connected
    b"quit": Entry(_quit, -1, before_password=True, while_subscribed=True, within_multi=True),  # OK, then the connection ends
    b"info": Entry(_info, -1),  # facts about the server
    b"client": Entry(_help, -2, subcommands={  # this connection, and all others
        b"getname": Entry(_client_getname, 2, help=("GETNAME", "Return the name of the current connection.")),
        b"id": Entry(_client_id, 2, help=("ID", "Return the ID of the current connection.")),
        b"info": Entry(client_commands.client_info, 2, help=("INFO", "Return information about the current connection.")),
        b"list": Entry(client_commands.client_list, -2, help=(
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <clientid> ...]", "Return information about client connections.",
        )),
        b"no-evict": Entry(client_commands.client_no_evict, 3, help=(
            "NO-EVICT (ON|OFF)", "Protect current client connection from eviction.",
        )),
        b"reply": Entry(client_commands.client_reply, 3, help=(
            "REPLY (ON|OFF|SKIP)", "Control the replies sent to the current connection.",
        )),
        b"setinfo": Entry(_client_setinfo, 4, help=("SETINFO <option> <value>", "Name the client's library: not kept.")),
        b"setname": Entry(_client_setname, 3, help=("SETNAME <name>", "Assign the name <name> to the current connection.")),
        b"help": _HELP,
    }),
    b"command": Entry(_command, -1, subcommands={  # which commands exist
        b"count": Entry(_command_count, 2, help=("COUNT", "Return the total number of commands in this server.")),
        b"docs": Entry(_command_docs, -2, help=("DOCS [<command-name> ...]", "Say what these commands are for, or all.")),
        b"info": Entry(_command_info, -2, help=("INFO [<command-name> ...]", "Return details about these commands, or all.")),
        b"help": _HELP,
    }),
    b"publish": Entry(pubsub_commands.publish, 3),  # a message to all subscribers
    b"subscribe": Entry(pubsub_commands.subscribe, -2, while_subscribed=True),  # from now on, the messages of these topics
    b"unsubscribe": Entry(pubsub_commands.unsubscribe, -1, while_subscribed=True),  # stop listening to these topics, or to all
    b"psubscribe": Entry(pubsub_commands.psubscribe, -2, while_subscribed=True),  # the messages of topics that match a pattern
    b"punsubscribe": Entry(pubsub_commands.punsubscribe, -1, while_subscribed=True),  # no longer these patterns, or any
    b"spublish": Entry(pubsub_commands.spublish, 3),  # the same three, of shard channels
    b"ssubscribe": Entry(pubsub_commands.ssubscribe, -2, while_subscribed=True),
    b"sunsubscribe": Entry(pubsub_commands.sunsubscribe, -1, while_subscribed=True),
    b"pubsub": Entry(_help, -2, subcommands={  # how many subscribers there are
        b"channels": Entry(pubsub_commands.channels, -2, help=(
            "CHANNELS [<pattern>]", "Return the currently active channels.",
        )),
        b"numpat": Entry(pubsub_commands.numpat, 2, help=("NUMPAT", "Return number of subscriptions to patterns.")),
        b"numsub": Entry(pubsub_commands.numsub, -2, help=(
            "NUMSUB [<channel> ...]", "Return the numbers of their subscribers.",
        )),
        b"shardchannels": Entry(pubsub_commands.shardchannels, -2, help=(
            "SHARDCHANNELS [<pattern>]", "Return the currently active shard channels.",
        )),
        b"shardnumsub": Entry(pubsub_commands.shardnumsub, -2, help=(
            "SHARDNUMSUB [<shardchannel> ...]", "Return the numbers of their subscribers.",
        )),
        b"help": _HELP,
    }),
    b"xadd": Entry(stream_commands.xadd, -5),  # append an entry to a stream
    b"xdel": Entry(stream_commands.xdel, -3),  # remove entries
    b"xtrim": Entry(stream_commands.xtrim, -4),  # remove the oldest entries
    b"xlen": Entry(stream_commands.xlen, 2),  # the number of entries kept
    b"xrange": Entry(stream_commands.xrange, -4),  # entries from one id to another
    b"xrevrange": Entry(stream_commands.xrevrange, -4),  # the same, newest first
    b"xread": Entry(stream_commands.xread, -4),  # the entries after an id; with BLOCK it waits for one
    b"xgroup": Entry(_help, -2, subcommands={  # consumer groups of a stream, and their consumers
        b"create": Entry(group_commands.xgroup_create, -5, help=(
            "CREATE <key> <groupname> <id|$> [option]", "Create a new consumer group. Options are:",
            "* MKSTREAM", "  Create the empty stream if it does not exist.",
            "* ENTRIESREAD entries_read", "  Set the group's entries_read counter (internal use).",
        )),
        b"createconsumer": Entry(group_commands.xgroup_createconsumer, 5, help=(
            "CREATECONSUMER <key> <groupname> <consumer>", "Create a new consumer in the specified group.",
        )),
        b"delconsumer": Entry(group_commands.xgroup_delconsumer, 5, help=(
            "DELCONSUMER <key> <groupname> <consumer>", "Remove the specified consumer.",
        )),
        b"destroy": Entry(group_commands.xgroup_destroy, 4, help=("DESTROY <key> <groupname>", "Remove the specified group.")),
        b"setid": Entry(group_commands.xgroup_setid, -5, help=(
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "Set the current group ID and entries_read counter.",
        )),
        b"help": _HELP,
    }),
    b"xreadgroup": Entry(group_commands.xreadgroup, -7),  # entries for one consumer of a group; with BLOCK it waits for one
    b"xack": Entry(group_commands.xack, -4),  # entries are done
    b"xpending": Entry(group_commands.xpending, -3),  # entries that were delivered, and are not done yet
    b"xclaim": Entry(group_commands.xclaim, -6),  # take these entries over from another consumer
    b"xautoclaim": Entry(group_commands.xautoclaim, -6),  # take over whatever has been pending for long
    b"del": Entry(stream_commands.delete, -2),  # forget streams
    b"exists": Entry(stream_commands.exists, -2),  # which of these streams exist
    b"type": Entry(stream_commands.type_of, 2),  # "stream" or "none"
    b"xinfo": Entry(_help, -2, subcommands={  # a stream, its groups, and their consumers
        b"consumers": Entry(group_commands.xinfo_consumers, 4, help=(
            "CONSUMERS <key> <groupname>", "Show consumers of <groupname>.",
        )),
        b"groups": Entry(group_commands.xinfo_groups, 3, help=("GROUPS <key>", "Show the stream consumer groups.")),
        b"stream": Entry(stream_commands.xinfo_stream, -3, help=("STREAM <key>", "Show information about the stream.")),
        b"help": _HELP,
    }),
}  # fmt: skip
"""By name, in lower case."""
TRANSACTIONS = {
    b"multi": Entry(_multi, 1, within_multi=True),
    b"exec": Entry(_exec, 1, within_multi=True),
    b"discard": Entry(_discard, 1, within_multi=True),
    b"watch": Entry(_watch, -2, within_multi=True),
}
"""The commands that are known only so that they can be refused: COMMAND does not list them."""
