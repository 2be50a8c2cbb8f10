r"""The commands of consumer groups: XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM, and what XINFO says of groups.

``groups.py`` explains what a group is. This file turns words into calls of it, and its results into replies. A worker's day:

    XGROUP CREATE jobs workers $ MKSTREAM                        +OK     a group that gets every entry added from now on
    XREADGROUP GROUP workers w1 BLOCK 5000 STREAMS jobs >                wait for an entry that nobody has received

    *1\r\n  *2\r\n  $4\r\njobs\r\n                               one stream, and its entries …
      *1\r\n                                                     … one entry
        *2\r\n  $15\r\n1700000000000-0\r\n
                *2\r\n $4\r\nsize\r\n $1\r\n7\r\n

    XACK jobs workers 1700000000000-0                            :1      done: it is never delivered again

Instead of ``>``, XREADGROUP takes an id. It then replies with this consumer's own pending entries after the id: a worker that
restarts reads after 0 first, and finds the entry that it had when it crashed. If the worker never comes back, another worker
takes the entry over, with XAUTOCLAIM (whatever has been pending for long) or XCLAIM (these entries):

    XAUTOCLAIM jobs workers w2 60000 0                           what has been pending for a minute, from the first entry on

The commands, run on a session:

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 1_700_000_000_000)).open(print)
    >>> _ = xgroup_create(session, b"XGROUP CREATE jobs workers $ MKSTREAM".split())
    >>> _ = session.switchboard.broker.add("jobs", (1_700_000_000_000, 0), (b"size", b"7"))
    >>> xreadgroup(session, b"XREADGROUP GROUP workers w1 STREAMS jobs >".split())
    [Reply(value=[[b'jobs', [[b'1700000000000-0', [b'size', b'7']]]]])]
    >>> xpending(session, b"XPENDING jobs workers".split())
    [Reply(value=[1, b'1700000000000-0', b'1700000000000-0', [[b'w1', b'1']]])]
    >>> xack(session, b"XACK jobs workers 1700000000000-0".split())
    [Reply(value=1)]
    >>> xpending(session, b"XPENDING jobs workers".split())
    [Reply(value=[0, None, None, NullArray()])]

Errors use the words of redis-server 7.0. Easy to get wrong: which checks come first. An error must leave the group unchanged,
so every word is parsed before the first change.
"""

from dataclasses import dataclass

from minproto.groups import Claims, Consumer, Group
from minproto.log import FIRST_ID, LAST_ID, IdKey, Log, NoRoomError
from minproto.resp import Error, Map, NullArray, to_bytes, to_text
from minproto.session import MAX_QUOTED, NO_ROOM, OK, Events, Refusal, Session, Wait, checked_name, integer, quoted, reply
from minproto.stream_commands import (
    MAX_AFTER_WAIT,
    Reading,
    bound_of,
    entry_reply,
    first_of,
    id_text,
    key_of,
    last_of,
    parse_reading,
    read_reply,
)

DEFAULT_CLAIMS = 100
"""How many entries XAUTOCLAIM takes over, unless it has a COUNT."""
MAX_COUNT = ((1 << 63) - 1) // 16
"""The largest COUNT of XAUTOCLAIM."""


def _find(session: Session, topic: bytes, name: bytes) -> Group | None:
    """Return a group of a topic; None if there is no such group. XACK then replies with 0, where all others refuse."""
    return session.switchboard.broker.groups(to_text(topic)).get(to_text(name))


def _existing(session: Session, topic: bytes, name: bytes) -> Group:
    """Return a group. Raises Refusal if the topic has no log, or the log has no such group."""
    group = _find(session, topic, name)
    if group is None:
        raise Refusal(f"NOGROUP No such key '{quoted(topic)}' or consumer group '{quoted(name)}'")
    return group


# ---- XGROUP ------------------------------------------------------------------------------------------------------------


def _parse_place(words: list[bytes]) -> tuple[bool, int | None]:
    """Return the options after the id of XGROUP CREATE or SETID: MKSTREAM, and ENTRIESREAD (None: unknown).

    ``ENTRIESREAD -1`` says "unknown" in so many words. Only CREATE has MKSTREAM: SETID moves a group that exists, and the
    stream of such a group exists as well.

    >>> _parse_place(b"XGROUP CREATE jobs workers 0 MKSTREAM ENTRIESREAD 12".split())
    (True, 12)
    >>> _parse_place(b"XGROUP SETID jobs workers 0 ENTRIESREAD -1".split())
    (False, None)
    """
    create, read, position = False, -1, 5
    while position < len(words):
        option = words[position].lower()
        if option == b"mkstream" and words[1].lower() == b"create":
            create = True
        elif option == b"entriesread" and position + 1 < len(words):
            read = integer(words[position + 1])
            if read < -1:
                raise Refusal("ERR value for ENTRIESREAD must be positive or -1")
            position += 1
        else:
            raise _wrong_words(words)
        position += 1
    return create, None if read == -1 else read


def _wrong_words(words: list[bytes]) -> Refusal:
    """Return the error for a word that a subcommand does not know. Redis tells it from a wrong number of words only here."""
    name, second = words[0].decode().upper(), quoted(words[1], MAX_QUOTED)
    return Refusal(f"ERR unknown subcommand or wrong number of arguments for '{second}'. Try {name} HELP.")


def _log_of(session: Session, topic: bytes) -> Log:
    """Return the log of a topic. Raises Refusal if there is none: a misspelt topic must not become a new, empty stream."""
    log = session.switchboard.broker.stream(to_text(topic))
    if log is None:
        raise Refusal(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
            "option to create an empty stream automatically."
        )
    return log


def _group_of(session: Session, topic: bytes, name: bytes) -> Group:
    """Return the group that a subcommand of XGROUP or XINFO names. Raises Refusal."""
    group = _find(session, topic, name)
    if group is None:
        raise Refusal(f"NOGROUP No such consumer group '{quoted(name)}' for key name '{quoted(topic)}'")
    return group


def xgroup_create(session: Session, arguments: list[bytes]) -> Events:
    """XGROUP CREATE topic group id [MKSTREAM] [ENTRIESREAD number]: make a group that delivers the entries after the id.

    ``$`` is the newest id: the group gets later entries alone. With 0 it gets all that the stream still has. ENTRIESREAD tells
    the group how many entries came before its id, so that XINFO GROUPS knows its lag.

    All workers of a fleet may send this command when they start. One of them makes the group, and the others get BUSYGROUP,
    which means that there is nothing left to do.

    >>> from minproto.broker import Broker
    >>> from minproto.commands import execute
    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 5_000)).open(print)
    >>> execute(session, b"XGROUP CREATE jobs workers 0 MKSTREAM".split())
    [Reply(value=Simple(text='OK'))]
    >>> execute(session, b"XGROUP CREATE jobs workers 0 MKSTREAM".split())
    [Reply(value=Error(text='BUSYGROUP Consumer Group name already exists'))]

    A command may have two faults: a bad id, and the name of a group that exists. The checks below stand in Redis's order, so
    that a client reads the same error from both servers. BUSYGROUP comes last. A client that ignores BUSYGROUP can therefore
    be sure that its command was correct otherwise.
    """
    create, read = _parse_place(arguments)
    broker, topic, name = session.switchboard.broker, checked_name(arguments[2]), checked_name(arguments[3])
    log = broker.stream(topic) if create else _log_of(session, arguments[2])
    if len(arguments) > 8:
        raise _wrong_words(arguments)
    newest = FIRST_ID if log is None else log.last
    last = newest if arguments[4] == b"$" else key_of(arguments[4])
    if name in broker.groups(topic):
        raise Refusal("BUSYGROUP Consumer Group name already exists")
    broker.make_group(topic, name, last, read)
    return OK


def xgroup_setid(session: Session, arguments: list[bytes]) -> Events:
    """XGROUP SETID topic group id [ENTRIESREAD number]: move a group, so that it delivers the entries after the id.

    After a faulty release of the workers an operator moves the group back, and the same jobs are done once more. An entry that
    is still pending somewhere moves to the consumer that reads it again.

    SETID moves the place from which the group reads, and changes nothing else. Pending entries stay pending, even if the
    group moves to ``$``, the newest entry: an operator who wants to drop them has to acknowledge them.

    >>> from minproto.broker import Broker
    >>> from minproto.commands import execute
    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 5_000)).open(print)
    >>> for words in (b"XADD jobs 1000-0 size 7", b"XGROUP CREATE jobs workers $", b"XGROUP SETID jobs workers 0"):
    ...     _ = execute(session, words.split())
    >>> execute(session, b"XREADGROUP GROUP workers w1 STREAMS jobs >".split())
    [Reply(value=[[b'jobs', [[b'1000-0', [b'size', b'7']]]]])]
    """
    _, read = _parse_place(arguments)
    log = _log_of(session, arguments[2])
    group = _group_of(session, arguments[2], arguments[3])
    if len(arguments) not in (5, 7):
        raise _wrong_words(arguments)
    group.set_last(log.last if arguments[4] == b"$" else bound_of(arguments[4], 0), read)
    return OK


def xgroup_destroy(session: Session, arguments: list[bytes]) -> Events:
    """XGROUP DESTROY topic group: reply with 1 if there was such a group. Its blocked readers get an error.

    The entries stay in the log. The group's knowledge of them is lost: nobody can say any more which entry was done, or which
    worker had it. A group that is made again under the name starts at the id of its XGROUP CREATE.
    """
    _log_of(session, arguments[2])
    return reply(int(session.switchboard.broker.drop_group(to_text(arguments[2]), to_text(arguments[3]))))


def xgroup_createconsumer(session: Session, arguments: list[bytes]) -> Events:
    """XGROUP CREATECONSUMER topic group consumer: reply with 1 if the consumer is new.

    A worker seldom needs this command, because XREADGROUP makes the consumer when it delivers the first entry. With this
    command a worker appears in XINFO CONSUMERS before there is any entry for it.
    """
    _log_of(session, arguments[2])
    group, name = _group_of(session, arguments[2], arguments[3]), checked_name(arguments[4])
    if name in group.consumers:
        return reply(0)
    group.consumer(name, session.switchboard.broker.clock())
    return reply(1)


def xgroup_delconsumer(session: Session, arguments: list[bytes]) -> Events:
    """XGROUP DELCONSUMER topic group consumer: reply with the number of its pending entries, which nobody will get.

    This is the one way to lose jobs. A careful operator claims the consumer's entries first, and reads a 0 here.
    """
    _log_of(session, arguments[2])
    return reply(_group_of(session, arguments[2], arguments[3]).remove_consumer(to_text(arguments[4])))


# ---- reading and acknowledging -----------------------------------------------------------------------------------------


def xreadgroup(session: Session, arguments: list[bytes]) -> Events | Wait:
    """XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS topic … id …: reply with entries for a consumer.

        COUNT n       at most n entries of each topic
        BLOCK ms      with ``>`` only: if there is no new entry, wait for one; 0 waits forever
        NOACK         new entries count as done at once: if the worker crashes, they are lost
        >             entries that no consumer of the group has received
        an id         entries after the id that this consumer has received and has not acknowledged

    All ids and groups are checked before the first entry is read. In ``STREAMS jobs other > >`` the group of "other" may be
    missing. If "jobs" were read first, its entries would be pending for a worker that gets only an error.

    With BLOCK and ``>`` the result may be a Wait. Whoever has waited longest gets the next entry, and nobody else does:

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> broker = Broker(clock=lambda: 1_700_000_000_000)
    >>> session = Switchboard(broker).open(print)
    >>> _ = broker.make_group("jobs", "workers", (0, 0))
    >>> first = xreadgroup(session, b"XREADGROUP GROUP workers w1 BLOCK 0 STREAMS jobs >".split())
    >>> second = xreadgroup(session, b"XREADGROUP GROUP workers w2 BLOCK 0 STREAMS jobs >".split())
    >>> _ = broker.add("jobs", (1_700_000_000_000, 0), (b"size", b"7"))
    >>> first.answer("jobs"), second.answer("jobs")
    ([Reply(value=[[b'jobs', [[b'1700000000000-0', [b'size', b'7']]]]])], None)
    """
    reading = parse_reading(arguments, by_group=True)
    if reading.group is None:
        raise Refusal("ERR Missing GROUP option for XREADGROUP")
    named = zip(reading.topics, reading.ids, strict=True)
    starts = [(topic, _parse_start(session, topic, reading.group, id)) for topic, id in named]
    checked_name(reading.consumer)
    read = [(topic, _read(session, topic, reading, start)) for topic, start in starts]
    if found := [(topic, entries) for topic, entries in read if entries is not None]:
        return read_reply(session, found)
    if reading.block is None:
        return reply(NullArray())
    return Wait(list(dict.fromkeys(reading.topics)), reading.block, lambda topic: _read_late(session, topic, reading))


def _parse_start(session: Session, topic: str, name: bytes, id: bytes) -> IdKey | None:
    """Return the id after which the consumer's own entries are read; None for ``>``, new entries. Raises Refusal.

    The group is looked up before the id is parsed, as in Redis: a client recognises by NOGROUP that it has to make the group.
    """
    key = to_bytes(topic)
    if _find(session, key, name) is None:
        missing = f"NOGROUP No such key '{quoted(key)}' or consumer group '{quoted(name)}'"
        raise Refusal(f"{missing} in XREADGROUP with GROUP option")
    if id == b"$":
        raise Refusal(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "
            "specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
        )
    start = LAST_ID if id == b">" else key_of(id)
    return None if start == LAST_ID else start  # Redis takes the largest id for ">", too


def _read(session: Session, topic: str, reading: Reading, after: IdKey | None) -> list[object] | None:
    """Return the entries of one topic for XREADGROUP; None if there is no new entry.

    A consumer that asks for its own entries and has none gets an empty list, not None. The reply then names the topic, and the
    worker learns that it may go on with ``>``. An own entry that XDEL has removed comes as ``[id, null]``, so that the worker
    can acknowledge it. Without the id it would stay pending forever.
    """
    assert reading.group is not None
    broker, name, most = session.switchboard.broker, to_text(reading.consumer), reading.most or None
    group, now = broker.groups(topic)[to_text(reading.group)], broker.clock()
    if after is not None:
        again = group.read_again(name, after, now, most)
        return [entry_reply(entry) if entry else [id_text(key), NullArray()] for key, entry in again]
    if not group.log.after(group.last, 1):
        return None
    return [entry_reply(entry) for entry in group.read(name, now, most, not reading.acknowledge)]


def _read_late(session: Session, topic: str, reading: Reading) -> Events | None:
    """Return the answer to an XREADGROUP that has waited; None if there is still no new entry. Never raises.

    This function runs inside the XADD of another client. An exception would reach the client that adds an entry, although
    that client has done nothing wrong. So each fault becomes an answer for the client that waits.

    While the command waited, its topic or its group may have been deleted, or deleted and made again. Both are therefore
    looked up again here.
    """
    assert reading.group is not None
    broker = session.switchboard.broker
    if broker.stream(topic) is None:
        return reply(Error("UNBLOCKED the stream key no longer exists"))
    group = broker.groups(topic).get(to_text(reading.group))
    if group is None:
        return reply(Error("NOGROUP the consumer group this client was blocked on no longer exists"))
    if group.log.last <= group.last:
        return None
    try:
        most = reading.most or MAX_AFTER_WAIT
        entries = group.read(to_text(reading.consumer), broker.clock(), most, not reading.acknowledge)
    except NoRoomError:
        return reply(Error(NO_ROOM))
    return read_reply(session, [(topic, [entry_reply(entry) for entry in entries])])


def xack(session: Session, arguments: list[bytes]) -> Events:
    """XACK topic group id …: mark entries as done, and reply with how many of them were pending.

    Any client may acknowledge any entry of the group, whoever has it. So a worker that was taken for dead can still finish its
    job. The reply 0 tells the second of two workers that the first one was faster.

    A topic or group that does not exist is no error here. The reply is 0, since nothing is pending in it:

    >>> from minproto.broker import Broker
    >>> from minproto.session import Switchboard
    >>> xack(Switchboard(Broker(clock=lambda: 5_000)).open(print), b"XACK jobs workers 1000-0".split())
    [Reply(value=0)]
    """
    group = _find(session, arguments[1], arguments[2])
    if group is None:
        return reply(0)
    keys = [key_of(id) for id in arguments[3:]]  # all checks come before the first change
    return reply(group.acknowledge(keys))


def xpending(session: Session, arguments: list[bytes]) -> Events:
    """XPENDING topic group [[IDLE ms] start end number [consumer]]: reply with what is pending, in short or entry by entry.

        XPENDING jobs workers                         [2, 1000-0, 1000-1, [[w1, 1], [w2, 1]]]
        XPENDING jobs workers IDLE 60000 - + 10       [[1000-0, w1, 75000, 3]]

    In the second reply, w1 has had the entry for 75 seconds, and it was its third delivery: a job that crashes its workers.
    The four values of a pending entry are its id, its consumer, the milliseconds since the last delivery, and the number of
    deliveries. A monitor reads the third value to find slow workers, and the fourth to find bad jobs.

    This command only looks. It delivers nothing, so the milliseconds go on and the deliveries stay. The summary names only
    consumers that have pending entries, and gives their counts as strings, as Redis does.
    """
    if len(arguments) != 3 and not 6 <= len(arguments) <= 9:
        raise Refusal("ERR syntax error")
    if len(arguments) == 3:
        return reply(_pending_in_short(_existing(session, arguments[1], arguments[2])))
    idle, position = 0, 3
    if arguments[3].lower() == b"idle":
        idle, position = integer(arguments[4]), 5
        if len(arguments) < 8:
            raise Refusal("ERR syntax error")
    most = max(0, integer(arguments[position + 2]))
    first, last = first_of(arguments[position]), last_of(arguments[position + 1])
    group = _existing(session, arguments[1], arguments[2])
    claims: Claims = group.pending
    if len(arguments) > position + 3:
        consumer = group.consumers.get(to_text(arguments[position + 3]))
        claims = consumer.pending if consumer else Claims()
    now = session.switchboard.broker.clock()
    found: list[object] = []
    for key in claims.between(first, last):
        if len(found) >= most:
            break
        claim = claims.of[key]
        age = claim.age(now)
        if age >= idle:
            found.append([id_text(key), to_bytes(claim.consumer.name), age, claim.deliveries])
    return reply(found)


def _pending_in_short(group: Group) -> list[object]:
    """Return how many entries are pending, the first and the last of them, and how many each consumer has."""
    pages = group.pending.pages
    if not pages:
        return [0, None, None, NullArray()]
    counts = [[to_bytes(name), b"%d" % len(consumer.pending)] for name, consumer in _in_order(group) if consumer.pending]
    return [len(group.pending), id_text(pages[0][0]), id_text(pages[-1][-1]), counts]


# ---- claiming ----------------------------------------------------------------------------------------------------------


def xclaim(session: Session, arguments: list[bytes]) -> Events:
    """XCLAIM topic group consumer idle id … [IDLE ms] [TIME ms] [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id]: take over.

    An entry is taken over only if its last delivery is at least ``idle`` ms ago. The reply has these entries, or their ids.

    This rule decides a race. Two workers see in XPENDING that w1 has been silent for 75 seconds, and both send XCLAIM with
    60000. The first XCLAIM is a delivery, and sets the idle time back to 0. The second XCLAIM finds 0, and gets nothing:

    >>> from minproto.broker import Broker
    >>> from minproto.commands import execute
    >>> from minproto.session import Switchboard
    >>> now = 5_000
    >>> session = Switchboard(Broker(clock=lambda: now)).open(print)
    >>> for words in (b"XADD jobs 1000-0 size 7", b"XGROUP CREATE jobs workers 0",
    ...               b"XREADGROUP GROUP workers w1 STREAMS jobs >"):
    ...     _ = execute(session, words.split())
    >>> now = 80_000
    >>> for words in (b"XCLAIM jobs workers w2 60000 1000-0", b"XCLAIM jobs workers w3 60000 1000-0"):
    ...     xclaim(session, words.split())
    [Reply(value=[[b'1000-0', [b'size', b'7']]])]
    [Reply(value=[])]
    >>> xpending(session, b"XPENDING jobs workers - + 10".split())
    [Reply(value=[[b'1000-0', b'w2', 0, 2]])]

    """
    group = _existing(session, arguments[1], arguments[2])
    idle = integer(arguments[4], "Invalid min-idle-time argument for XCLAIM")
    keys = _leading_ids(arguments[5:])
    now = session.switchboard.broker.clock()
    options = _parse_claiming(arguments, 5 + len(keys), now)
    group.last = max(group.last, options.last)
    entries = group.claim(
        checked_name(arguments[3]), keys, now, idle,
        delivered_at=options.delivered_at, deliveries=options.deliveries, count=not options.just_ids, force=options.force,
    )  # fmt: skip
    return reply([id_text(entry.key) if options.just_ids else entry_reply(entry) for entry in entries])


def _leading_ids(words: list[bytes]) -> list[IdKey]:
    """Return the ids with which the words begin: up to the first word that is not an id, where the options begin.

    A misspelt id is therefore refused as an unknown option.
    """
    keys: list[IdKey] = []
    for word in words:
        try:
            keys.append(key_of(word))
        except Refusal:
            break
    return keys


@dataclass(slots=True)
class _Claiming:
    """The options of XCLAIM."""

    delivered_at: int | None = None
    """IDLE or TIME: the time of the delivery, in milliseconds since 1970; None: now."""
    deliveries: int | None = None
    """RETRYCOUNT: how often the entry has been delivered; None: once more than before."""
    force: bool = False
    """FORCE: claim even an entry that is not pending."""
    just_ids: bool = False
    """JUSTID: reply with ids alone, and do not count this as a delivery."""
    last: IdKey = FIRST_ID
    """LASTID: the group has delivered everything up to this id, at least."""


def _parse_claiming(words: list[bytes], position: int, now: int) -> _Claiming:
    """Return the options after the ids of XCLAIM. Raises Refusal.

    A time in the future, or before 1970, counts as now. Redis does not refuse it, because the client's clock may be wrong.
    """
    options = _Claiming()
    while position < len(words):
        option, more = words[position].lower(), len(words) - position - 1
        if option == b"force":
            options.force = True
        elif option == b"justid":
            options.just_ids = True
        elif option in (b"idle", b"time", b"retrycount", b"lastid") and more:
            position += 1
            _parse_claim_value(option, words[position], options, now)
        else:
            raise Refusal(f"ERR Unrecognized XCLAIM option '{quoted(words[position])}'")
        position += 1
    if options.delivered_at is not None and not 0 <= options.delivered_at <= now:
        options.delivered_at = None
    return options


def _parse_claim_value(option: bytes, text: bytes, options: _Claiming, now: int) -> None:
    """Store the value of IDLE, TIME, RETRYCOUNT or LASTID. Raises Refusal.

    IDLE and TIME say the same thing in two ways: at 80000, ``IDLE 5000`` is ``TIME 75000``. Of both, the later word counts.
    """
    if option == b"lastid":
        options.last = key_of(text)
        return
    value = integer(text, f"Invalid {option.decode().upper()} option argument for XCLAIM")
    if option == b"retrycount":
        options.deliveries = value if value >= 0 else None
    else:
        options.delivered_at = now - value if option == b"idle" else value


def xautoclaim(session: Session, arguments: list[bytes]) -> Events:
    """XAUTOCLAIM topic group consumer idle start [COUNT n] [JUSTID]: take over whatever is pending for long.

    The reply has three parts. The first one is the id at which the next XAUTOCLAIM starts; 0-0 means that this search has
    reached the end. The second one has the entries, or with JUSTID their ids. The third one has the ids of entries that were
    pending although they are no longer in the log. These ids are not pending any longer:

        XAUTOCLAIM jobs workers w2 60000 0 COUNT 1        [1000-1, [[1000-0, [size, 7]]], []]
        XAUTOCLAIM jobs workers w2 60000 1000-1 COUNT 1   [0-0, [], [1000-1]]            1000-1 was deleted by XDEL

    A reply without entries does not mean that there are none: a call looks at ten entries for each one of COUNT, and then
    stops. A worker goes on until the first part is 0-0. JUSTID does not count as a delivery, since nobody gets the job by it.
    """
    idle = integer(arguments[4], "Invalid min-idle-time argument for XAUTOCLAIM")
    start, most, just_ids, position = first_of(arguments[5]), DEFAULT_CLAIMS, False, 6
    while position < len(arguments):
        option = arguments[position].lower()
        if option == b"count" and position + 1 < len(arguments):
            position += 1
            most = integer(arguments[position], "COUNT must be > 0")
            if not 1 <= most <= MAX_COUNT:
                raise Refusal("ERR COUNT must be > 0")
        elif option == b"justid":
            just_ids = True
        else:
            raise Refusal("ERR syntax error")
        position += 1
    group, name = _existing(session, arguments[1], arguments[2]), checked_name(arguments[3])
    found = group.claim_idle(name, session.switchboard.broker.clock(), idle, start, most, count=not just_ids)
    entries = [id_text(entry.key) if just_ids else entry_reply(entry) for entry in found.entries]
    return reply([id_text(found.next), entries, [id_text(key) for key in found.deleted]])


# ---- XINFO -------------------------------------------------------------------------------------------------------------


def _in_order(group: Group) -> list[tuple[str, Consumer]]:
    """Return the consumers in the order of their names' bytes, as Redis does."""
    return sorted(group.consumers.items(), key=lambda named: to_bytes(named[0]))


def xinfo_groups(session: Session, arguments: list[bytes]) -> Events:
    """XINFO GROUPS topic: reply with what each consumer group of the topic has read, and how far it lags behind.

    ``lag`` counts entries that are not yet delivered, and ``pending`` counts entries that are delivered and not done. A lag
    that grows asks for more workers. A ``pending`` that grows beside a lag of 0 shows workers that never finish their jobs.
    """
    broker, topic = session.switchboard.broker, to_text(arguments[2])
    if broker.stream(topic) is None:
        raise Refusal("ERR no such key")
    groups = sorted(broker.groups(topic).items(), key=lambda named: to_bytes(named[0]))
    return reply([
        Map([
            (b"name", to_bytes(name)), (b"consumers", len(group.consumers)), (b"pending", len(group.pending)),
            (b"last-delivered-id", id_text(group.last)), (b"entries-read", group.entries_read), (b"lag", group.lag),
        ])
        for name, group in groups
    ])  # fmt: skip


def xinfo_consumers(session: Session, arguments: list[bytes]) -> Events:
    """XINFO CONSUMERS topic group: reply with each consumer's pending entries, and the milliseconds since it was seen.

    The milliseconds go on while a worker waits in XREADGROUP BLOCK, because a read that finds no new entry leaves the consumer
    as it is. A large number alone is therefore no sign of a crash. A large number beside pending entries is one.
    """
    broker = session.switchboard.broker
    if broker.stream(to_text(arguments[2])) is None:
        raise Refusal("ERR no such key")
    group, now = _group_of(session, arguments[2], arguments[3]), broker.clock()
    return reply([
        Map([
            (b"name", to_bytes(name)), (b"pending", len(consumer.pending)), (b"idle", max(0, now - consumer.seen_at)),
        ])
        for name, consumer in _in_order(group)
    ])  # fmt: skip
