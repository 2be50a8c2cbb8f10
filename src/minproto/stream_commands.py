r"""The history of a topic, read with the commands that Redis has for streams: XLEN, XRANGE, XREVRANGE, XREAD and XINFO STREAM.

Redis has two separate things: channels, whose messages are not kept, and streams, whose entries are kept under ids. Here a
topic is both. Its messages are published with PUBLISH, the broker keeps the last of them (``Broker(history=…)``), and these
commands read what the broker keeps. A message is an entry with its id and one field, ``data``:

    XRANGE news - +                                  all entries of the topic "news", from the oldest (-) to the newest (+)

    *2\r\n                                           2 entries
      *2\r\n $15\r\n1700000000000-0\r\n              an entry is an id …
             *2\r\n $4\r\ndata\r\n $3\r\none\r\n     … and its fields: names and values alternate
      *2\r\n $15\r\n1700000000000-1\r\n
             *2\r\n $4\r\ndata\r\n $3\r\ntwo\r\n

(The bytes are contiguous; line breaks and blanks are added here.) An id is the time of the message in milliseconds, and a
sequence number among the messages of one millisecond. Both are 64-bit numbers.

With these commands a client resumes after a lost connection. It remembers the id of the last entry that it has seen, and uses
XREAD to ask for the entries after that id. If there are no such entries, XREAD BLOCK waits for the next one:

    XREAD STREAMS news 1700000000000-0               the entries after that id, or null if there are none
    XREAD BLOCK 5000 STREAMS news 1700000000000-1    the same; but if there are no entries, wait up to 5 seconds for one
    XREAD BLOCK 0 STREAMS news $                     ``$`` is the newest id: wait for the next message, forever if need be

XREAD does not say whether the history has dropped entries after the id. XINFO STREAM does: all entries after its
``max-deleted-entry-id`` are kept.

Every function here takes a session and the words of a command, and returns the answer. The table in ``commands.py`` refers to
these functions. Consumer groups are in ``group_commands.py``. ``~``, which lets Redis trim less than it was told to, trims
here as ``=`` does: exactly.
"""

import re
from dataclasses import dataclass, field

from minproto.broker import Broker
from minproto.log import FIRST_ID, LAST_ID, MAX_NUMBER, IdKey, Kept, Log, next_id
from minproto.resp import Map, NullArray, Simple, to_bytes, to_text
from minproto.session import Events, Refusal, Session, Wait, checked_name, integer, reply

MAX_ID_TEXT = 127
"""The maximum number of bytes of an id as text. Redis has the same bound. Without a bound, parsing a very long number would
cost time."""
MAX_AFTER_WAIT = 1_000
"""How many entries a reader that has waited gets at most, unless it has given a COUNT."""


# ---- ids ---------------------------------------------------------------------------------------------------------------
#
#   id     =  milliseconds [ "-" sequence ]           1700000000000-0; without a sequence, the command supplies it
#   bound  =  "-" / "+" / [ "(" ] id                   the first id, the last id, an id; after "(" an id that is excluded

_ID = re.compile(rb"([0-9]+)(?:-([0-9]+))?")


def key_of(text: bytes, missing: int = 0) -> IdKey:
    """Return an id. ``missing``: the sequence if the text has no sequence. Raises Refusal if the text is not an id.

    An id is a pair of numbers, because ids are compared as numbers. As text, "999-0" would come after "1000-0".

    >>> key_of(b"1000-7"), key_of(b"1000"), key_of(b"1000", missing=MAX_NUMBER) == (1000, MAX_NUMBER)
    ((1000, 7), (1000, 0), True)
    """
    found = _ID.fullmatch(text) if len(text) <= MAX_ID_TEXT else None
    if found is not None:
        id = int(found[1]), missing if found[2] is None else int(found[2])
        if max(id) <= MAX_NUMBER:
            return id
    raise Refusal("ERR Invalid stream ID specified as stream command argument")


def bound_of(text: bytes, missing: int) -> IdKey:
    """Return the id that a bound names: of "-" the first, of "+" the last. Raises Refusal."""
    if text in (b"-", b"+"):
        return FIRST_ID if text == b"-" else LAST_ID
    return key_of(text, missing)


def first_of(text: bytes) -> IdKey:
    """Return the first id of a range whose start is the text: "5" is 5-0, and "(5-0" is 5-1. Raises Refusal.

    "(" serves a client that reads a long stream in pages of 100. It starts the next page with "(" and the last id that it
    has seen. Without "(" each page would begin with the last entry of the page before.

    The last id of all has no id after it, so "(" before it is refused: the range could not begin anywhere.
    """
    if len(text) < 2 or text[:1] != b"(":
        return bound_of(text, 0)
    key = key_of(text[1:])
    if key == LAST_ID:
        raise Refusal("ERR invalid start ID for the interval")
    return next_id(key)


def last_of(text: bytes) -> IdKey:
    """Return the last id of a range whose end is the text: "5" is all of 5. Raises Refusal.

    "(5-0" is the id one step down from 5-0, which is 4-18446744073709551615.
    """
    if len(text) < 2 or text[:1] != b"(":
        return bound_of(text, MAX_NUMBER)
    milliseconds, sequence = key_of(text[1:], MAX_NUMBER)
    if sequence:
        return milliseconds, sequence - 1
    if not milliseconds:
        raise Refusal("ERR invalid end ID for the interval")
    return milliseconds - 1, MAX_NUMBER


def id_text(key: IdKey) -> bytes:
    """Return an id as a reply has it."""
    return b"%d-%d" % key


def entry_reply(entry: Kept) -> list[object]:
    """Return an entry as a reply has it: [id, [name, value, …]]."""
    return [id_text(entry.key), list(entry.fields)]


# ---- adding and removing -----------------------------------------------------------------------------------------------
#
#   XADD topic [NOMKSTREAM] [trimming] id name value [name value …]
#   XTRIM topic trimming
#
#   trimming  =  ("MAXLEN" number / "MINID" id) ["LIMIT" number]        after MAXLEN or MINID there may be "=" or "~"
#   id        =  "*"                                                    the clock's milliseconds, and the next sequence
#             /  milliseconds "-*"                                      these milliseconds, and the next sequence
#             /  milliseconds ["-" sequence]                            this id, which has to be larger than all before it


@dataclass(slots=True)
class _Options:
    """The words of XADD or XTRIM between the topic and the fields.

    ``XADD jobs NOMKSTREAM MAXLEN ~ 1000 LIMIT 50 * size 7`` has ``create`` False, ``max_length`` 1000, ``exact`` False,
    ``limit`` 50, ``id`` None, and ``end`` 9, the position of "size".
    """

    create: bool = True
    """False after NOMKSTREAM: a topic without a log gets none, and the reply is null."""
    id: IdKey | None = None
    """The id of XADD; None: ``*``."""
    sequence_given: bool = True
    """False: the id is ``milliseconds-*``."""
    max_length: int | None = None
    """MAXLEN: how many entries to keep, the newest ones."""
    min_id: IdKey | None = None
    """MINID: entries before this id are removed."""
    exact: bool = True
    """False after "~". Entries are trimmed exactly either way, but LIMIT is allowed only with "~"."""
    limit: int | None = None
    """How many entries to remove at most. 0 and None: no limit."""
    end: int = 2
    """The position of the first word after the options and the id."""

    @property
    def trims(self) -> bool:
        return self.max_length is not None or self.min_id is not None


def _parse_options(words: list[bytes], adding: bool) -> _Options:
    """Return the options of XADD (``adding``) or XTRIM. Raises Refusal with Redis's words, in Redis's order of checks.

    The id of XADD ends the options, because it is the first word that is no option. A misspelt option is therefore refused as
    a bad id: ``XADD jobs MAXLENGTH 5 * size 7`` gets "Invalid stream ID". XTRIM has no id, so it can say "syntax error".

    The combinations are checked after the loop, since the options may come in any order: LIMIT may precede its MAXLEN.
    """
    options = _Options()
    while options.end < len(words):
        word, more = words[options.end].lower(), len(words) - options.end - 1
        if word == b"*" and adding:
            break
        if word in (b"maxlen", b"minid") and more:
            _parse_trimming(words, options)
        elif word == b"limit" and more:
            options.limit = integer(words[options.end + 1])
            if options.limit < 0:
                raise Refusal("ERR The LIMIT argument must be >= 0.")
            options.end += 2
        elif word == b"nomkstream" and adding:
            options.create = False
            options.end += 1
        elif adding:
            options.id, options.sequence_given = _parse_new_id(words[options.end])
            break
        else:
            raise Refusal("ERR syntax error")
    if options.limit and not options.trims:
        raise Refusal("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    if not adding and not options.trims:
        raise Refusal("ERR syntax error, XTRIM must be called with a trimming strategy")
    if options.limit is not None and options.exact:
        raise Refusal("ERR syntax error, LIMIT cannot be used without the special ~ option")
    options.end += 1
    return options


def _parse_trimming(words: list[bytes], options: _Options) -> None:
    """Parse MAXLEN or MINID at ``options.end``, and its value.

    "=" or "~" counts as a sign only if a value follows. In ``XTRIM jobs MAXLEN ~`` the "~" stands where the value has to
    be, and the error is "value is not an integer", as in Redis.
    """
    position, more = options.end + 1, len(words) - options.end - 1
    if options.trims:
        raise Refusal("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
    options.exact = True
    if more >= 2 and words[position] in (b"=", b"~"):
        options.exact = words[position] == b"="
        position += 1
    if words[options.end].lower() == b"minid":
        options.min_id = key_of(words[position])
    else:
        options.max_length = integer(words[position])
        if options.max_length < 0:
            raise Refusal("ERR The MAXLEN argument must be >= 0.")
    options.end = position + 1


def _parse_new_id(text: bytes) -> tuple[IdKey, bool]:
    """Return the id for a new entry, and whether the text has a sequence: "5-*" is (5, 0) and False."""
    if text.endswith(b"-*"):
        return key_of(text[:-2] + b"-0"), False
    return key_of(text), True


def _new_key(last: IdKey, options: _Options, now: int) -> IdKey:
    """Return the id of a new entry. ``last``: the id of the newest entry. Raises Refusal.

        last      XADD with       at 1000    at 5000
        1000-7    *               1000-8     5000-0
        1000-7    1000-*          1000-8     1000-8
        1000-7    1001-*          1001-0     1001-0
        1000-7    999-*           refused, as every id up to 1000-7 is
    """
    if last == LAST_ID:
        raise Refusal("ERR The stream has exhausted the last possible ID, unable to add more items")
    key = options.id
    if key is None:
        key = (now, 0) if now > last[0] else next_id(last)
    elif not options.sequence_given and key[0] == last[0] and last[1] < MAX_NUMBER:
        key = next_id(last)
    if key <= last:
        raise Refusal("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    return key


def _trim(log: Log, options: _Options) -> int:
    """Remove the oldest entries, as MAXLEN or MINID says, and return how many.

    In a log of 10 entries, MAXLEN 4 removes 6. With LIMIT 5 it removes 5, and the same command once more removes the sixth.
    """
    if options.min_id is not None:
        count = log.count_before(options.min_id)
    elif options.max_length is not None:
        count = max(0, len(log.entries) - options.max_length)
    else:
        return 0
    count = min(count, options.limit or count)
    log.trim(count)
    return count


def xadd(session: Session, arguments: list[bytes]) -> Events:
    """XADD topic … id name value …: append an entry, and reply with its id. No subscriber hears of it.

    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 1_700_000_000_000)).open(print)
    >>> for words in (b"XADD jobs * size 7", b"XADD jobs * size 8", b"XADD jobs MAXLEN 2 1700000000001-* size 9"):
    ...     xadd(session, words.split())
    [Reply(value=b'1700000000000-0')]
    [Reply(value=b'1700000000000-1')]
    [Reply(value=b'1700000000001-0')]
    >>> xrange(session, b"XRANGE jobs - + COUNT 1".split())                # the first entry was trimmed
    [Reply(value=[[b'1700000000000-1', [b'size', b'8']]])]
    """
    options = _parse_options(arguments, adding=True)
    fields = arguments[options.end :]
    if len(fields) < 2 or len(fields) % 2:
        raise Refusal("ERR wrong number of arguments for 'xadd' command")
    if options.id == FIRST_ID and options.sequence_given:
        raise Refusal("ERR The ID specified in XADD must be greater than 0-0")
    broker, topic = session.switchboard.broker, checked_name(arguments[1])
    log = broker.stream(topic)
    if log is None and not options.create:
        return reply(None)
    key = _new_key(FIRST_ID if log is None else log.last, options, broker.clock())
    log = broker.add(topic, key, tuple(fields))
    _trim(log, options)
    broker.wake(topic)
    return reply(id_text(key))


def xtrim(session: Session, arguments: list[bytes]) -> Events:
    """XTRIM topic MAXLEN number, or XTRIM topic MINID id: remove the oldest entries, and reply with their number.

    MAXLEN bounds the memory. MINID bounds the age, since an id begins with a time: MINID 1700000000000 removes whatever is
    older than that millisecond.

    >>> from minproto.session import Switchboard
    >>> session = Switchboard(Broker(clock=lambda: 5_000)).open(print)
    >>> for words in (b"XADD jobs 1000-0 size 7", b"XADD jobs 1000-1 size 8", b"XADD jobs 2000-0 size 9"):
    ...     _ = xadd(session, words.split())
    >>> xtrim(session, b"XTRIM jobs MINID 2000".split()), xlen(session, b"XLEN jobs".split())
    ([Reply(value=2)], [Reply(value=1)])
    """
    options = _parse_options(arguments, adding=False)
    log = session.switchboard.broker.stream(to_text(arguments[1]))
    return reply(0 if log is None else _trim(log, options))


def xdel(session: Session, arguments: list[bytes]) -> Events:
    """XDEL topic id …: remove entries, and reply with their number.

    ``XDEL jobs 1000-0 1000-0 9999-0`` replies with 1: the second id is gone by then, and the third was never there. A deleted
    id is not used again, since every new id has to be larger than the newest one that the log has ever had.
    """
    log = session.switchboard.broker.stream(to_text(arguments[1]))
    if log is None:
        return reply(0)
    keys = [key_of(id) for id in arguments[2:]]  # all checks come before the first change
    return reply(log.delete(keys))


def delete(session: Session, arguments: list[bytes]) -> Events:
    """DEL topic …: forget the logs of topics, with their consumer groups, and reply with their number."""
    return reply(sum(session.switchboard.broker.delete(to_text(topic)) for topic in arguments[1:]))


def exists(session: Session, arguments: list[bytes]) -> Events:
    """EXISTS topic …: reply with the number of topics that have a log."""
    return reply(sum(session.switchboard.broker.stream(to_text(topic)) is not None for topic in arguments[1:]))


def type_of(session: Session, arguments: list[bytes]) -> Events:
    """TYPE topic: reply with "stream" if the topic has a log, otherwise "none"."""
    return reply(Simple("none" if session.switchboard.broker.stream(to_text(arguments[1])) is None else "stream"))


# ---- reading -----------------------------------------------------------------------------------------------------------


def xlen(session: Session, arguments: list[bytes]) -> Events:
    """XLEN topic: reply with the number of entries kept."""
    log = session.switchboard.broker.stream(to_text(arguments[1]))
    return reply(0 if log is None else len(log.entries))


def xrange(session: Session, arguments: list[bytes]) -> Events:
    """XRANGE topic start end [COUNT number]: reply with the entries from start to end, the oldest first.

    >>> from minproto.session import Switchboard
    >>> broker = Broker(clock=lambda: 1_700_000_000_000, history=10)
    >>> session = Switchboard(broker).open(print)
    >>> for data in (b"one", b"two", b"three"):
    ...     receivers = broker.publish("news", data)
    >>> for words in (b"XRANGE news - 1700000000000 COUNT 1", b"XRANGE news (1700000000000-2 +"):
    ...     xrange(session, words.split())
    [Reply(value=[[b'1700000000000-1', [b'data', b'one']]])]
    [Reply(value=[[b'1700000000000-3', [b'data', b'three']]])]
    """
    return _range(session, arguments, arguments[2], arguments[3])


def xrevrange(session: Session, arguments: list[bytes]) -> Events:
    """XREVRANGE topic end start [COUNT number]: reply with the entries from end to start, the newest first."""
    return _range(session, arguments, arguments[3], arguments[2], backwards=True)


def _range(session: Session, arguments: list[bytes], start: bytes, end: bytes, backwards: bool = False) -> Events:
    """Reply with the entries from start to end. Raises Refusal.

    All words are parsed before the topic is looked up, as in Redis: a bad bound is an error even if there is no stream.
    COUNT may be given more than once, and the last one counts.
    """
    first, last, most = first_of(start), last_of(end), None
    for position in range(4, len(arguments), 2):
        if arguments[position].lower() != b"count" or position + 1 == len(arguments):
            raise Refusal("ERR syntax error")
        most = max(0, integer(arguments[position + 1]))
    log = session.switchboard.broker.stream(to_text(arguments[1]))
    if log is None:
        return reply([])
    if most == 0:
        return reply(NullArray())  # as Redis does: it replies with an empty array only if there is no stream
    return reply([entry_reply(entry) for entry in log.between(first, last, most, backwards)])


def xinfo_stream(session: Session, arguments: list[bytes]) -> Events:
    """XINFO STREAM topic: reply with what a client needs in order to resume, in the fields that Redis uses.

    ``max-deleted-entry-id`` is the id of the newest entry that is no longer kept: no later entry is missing. A client that
    resumes after an older id may have missed messages.
    """
    if len(arguments) > 3:
        raise Refusal("ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.")
    broker, topic = session.switchboard.broker, checked_name(arguments[2])
    log = broker.stream(topic)
    if log is None and not broker.history(topic):
        raise Refusal("ERR no such key")
    log = log or broker.log_of(topic)  # a topic with a history is a stream even before its first message
    first, last = (log.entries[0], log.entries[-1]) if log.entries else (None, None)
    return reply(Map([
        (b"length", len(log.entries)), (b"last-generated-id", id_text(max(log.last, log.start))),
        (b"max-deleted-entry-id", id_text(max(log.max_deleted, log.start))), (b"entries-added", log.added),
        (b"recorded-first-entry-id", id_text(first.key if first else FIRST_ID)), (b"groups", len(broker.groups(topic))),
        (b"first-entry", entry_reply(first) if first else None), (b"last-entry", entry_reply(last) if last else None),
    ]))  # fmt: skip


@dataclass(slots=True)
class Reading:
    """The words of XREAD or XREADGROUP."""

    most: int = 0
    """COUNT; 0: no bound."""
    block: int | None = None
    """BLOCK, in milliseconds; 0: wait forever; None: do not wait."""
    group: bytes | None = None
    """The first word after GROUP; None: there was no GROUP, as always in XREAD."""
    consumer: bytes = b""
    """The second word after GROUP: the name under which this worker reads."""
    acknowledge: bool = True
    """False after NOACK."""
    topics: list[str] = field(default_factory=list)
    """The first half of the words after STREAMS."""
    ids: list[bytes] = field(default_factory=list)
    """The second half: one id for each topic, not yet parsed, since XREAD knows ``$`` and XREADGROUP knows ``>``."""


def parse_reading(words: list[bytes], by_group: bool = False) -> Reading:
    """Return the words of XREAD, or of XREADGROUP (``by_group``). Raises Refusal with Redis's words.

    STREAMS has to come last, because every word after it is a topic or an id. A topic may be named "count":

    >>> reading = parse_reading(b"XREAD COUNT 5 STREAMS count news 0 $".split())
    >>> reading.most, reading.topics, reading.ids
    (5, ['count', 'news'], [b'0', b'$'])

    Each step of the loop takes two words, an option and its value. GROUP has two values, and NOACK has none, so those two
    correct the step by +1 and -1.
    """
    reading, position = Reading(), 1
    while position < len(words):
        option, more = words[position].lower(), len(words) - position - 1
        if option == b"block" and more:
            reading.block = integer(words[position + 1], "timeout is not an integer or out of range")
            if reading.block < 0:
                raise Refusal("ERR timeout is negative")
        elif option == b"count" and more:
            reading.most = max(0, integer(words[position + 1]))
        elif option == b"streams" and more:
            _parse_streams(reading, words[position + 1 :])
            break
        elif (option == b"group" and more >= 2) or option == b"noack":
            _parse_group(reading, words[position:], by_group)
            position += {b"group": 1, b"noack": -1}[option]
        else:
            raise Refusal("ERR syntax error")
        position += 2
    if not reading.topics:
        raise Refusal("ERR syntax error")
    return reading


def _parse_streams(reading: Reading, names: list[bytes]) -> None:
    """Split the words after STREAMS: all topics come first, then all ids in the same order. Raises Refusal."""
    if len(names) % 2:
        raise Refusal("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
    reading.topics = [checked_name(topic) for topic in names[: len(names) // 2]]
    reading.ids = names[len(names) // 2 :]


def _parse_group(reading: Reading, words: list[bytes], by_group: bool) -> None:
    """Parse GROUP or NOACK, the first of the words. Raises Refusal in XREAD, which has no groups."""
    option = words[0].lower()
    if not by_group:
        name = option.decode().upper()
        raise Refusal(f"ERR The {name} option is only supported by XREADGROUP. You called XREAD instead.")
    if option == b"group":
        reading.group, reading.consumer = words[1:3]
    else:
        reading.acknowledge = False


def xread(session: Session, arguments: list[bytes]) -> Events | Wait:
    """XREAD [COUNT number] [BLOCK milliseconds] STREAMS topic … id …: reply with each topic's entries after its id.

    If there are no entries, the reply is null; with BLOCK, the result is a Wait, whose ``answer`` reads again:

    >>> from minproto.session import Switchboard
    >>> broker = Broker(clock=lambda: 1_700_000_000_000, history=10)
    >>> session = Switchboard(broker).open(print)
    >>> wait = xread(session, b"XREAD BLOCK 5000 STREAMS news $".split())
    >>> print(wait.topics, wait.milliseconds, wait.answer("news"))
    ['news'] 5000 None
    >>> receivers = broker.publish("news", b"hello")
    >>> wait.answer("news")
    [Reply(value=[[b'news', [[b'1700000000000-1', [b'data', b'hello']]]]])]
    """
    reading, broker = parse_reading(arguments), session.switchboard.broker
    starts = [(topic, _parse_start(broker, topic, id)) for topic, id in zip(reading.topics, reading.ids, strict=True)]
    found: list[tuple[str, list[object]]] = []
    for topic, start in starts:
        log = broker.stream(topic)
        if log and (entries := log.after(start, reading.most or None)):
            found.append((topic, [entry_reply(entry) for entry in entries]))
    after = dict(reversed(starts))  # of a topic that is named twice, Redis waits after its first id

    def answer(topic: str) -> Events | None:
        log = broker.stream(topic)
        if log is None or log.last <= after[topic]:
            return None
        entries = log.after(after[topic], reading.most or MAX_AFTER_WAIT)
        return read_reply(session, [(topic, [entry_reply(entry) for entry in entries])])

    if found:
        return read_reply(session, found)
    return reply(NullArray()) if reading.block is None else Wait(list(after), reading.block, answer)


def _parse_start(broker: Broker, topic: str, text: bytes) -> IdKey:
    """Return the id after which XREAD reads. ``$`` is the newest id of the topic at the time of the command."""
    if text == b"$":
        log = broker.stream(topic)
        return log.last if log else FIRST_ID
    if text == b">":
        raise Refusal(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return key_of(text)


def read_reply(session: Session, found: list[tuple[str, list[object]]]) -> Events:
    """Return the answer of XREAD and XREADGROUP: topics, each with its entries.

    Version 2 has no maps. There Redis replies with an array of pairs, not with alternating keys and values.
    Each pair is an array.
    """
    pairs = [(to_bytes(topic), entries) for topic, entries in found]
    return reply(Map(list(pairs)) if session.version == 3 else [list(pair) for pair in pairs])
