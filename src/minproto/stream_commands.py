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
these functions. Left out: consumer groups, and XADD, because PUBLISH is the only way in.
"""

import re
from bisect import bisect_left, bisect_right

from minproto.broker import Broker, Message, parse_id
from minproto.resp import Map, NullArray, to_bytes, to_text
from minproto.session import Events, Refusal, Session, Wait, checked_name, integer, reply

Id = tuple[int, int]
"""An id as milliseconds and sequence, so that two ids can be compared. As text, "9-0" would come after "10-0"."""

MAX_ID = (1 << 64) - 1
"""The largest number of milliseconds, and the largest sequence number, in an id."""
FIRST, LAST = (0, 0), (MAX_ID, MAX_ID)
MAX_ID_TEXT = 127
"""The maximum number of bytes of an id as text. Redis has the same bound. Without a bound, parsing a very long number would
cost time."""


# ---- ids ---------------------------------------------------------------------------------------------------------------
#
#   id     =  milliseconds [ "-" sequence ]           1700000000000-0; without a sequence, the command supplies it
#   bound  =  "-" / "+" / [ "(" ] id                   the first id, the last id, an id; after "(" an id that is excluded

_ID = re.compile(rb"([0-9]+)(?:-([0-9]+))?")


def _parse_id(text: bytes, missing: int) -> Id:
    """Return an id. ``missing``: the sequence if the text has no sequence. Raises Refusal if the text is not an id."""
    found = _ID.fullmatch(text) if len(text) <= MAX_ID_TEXT else None
    if found is not None:
        id = int(found[1]), missing if found[2] is None else int(found[2])
        if max(id) <= MAX_ID:
            return id
    raise Refusal("ERR Invalid stream ID specified as stream command argument")


def _parse_bound(text: bytes, missing: int, step: int, complaint: str) -> Id:
    """Return the first or the last id in a range, from the text of the bound. Raises Refusal for a wrong bound.

    ``(5-0`` excludes the id 5-0. As a start it means 5-1, the id one step up; as an end it means the id one step down, which
    is 4-18446744073709551615. So that one step can cross from 5-0 to that id, both numbers are combined into one of 128 bits.
    """
    if text in (b"-", b"+"):
        return FIRST if text == b"-" else LAST
    if len(text) < 2 or text[:1] != b"(":
        return _parse_id(text, missing)
    milliseconds, sequence = _parse_id(text[1:], missing)
    number = (milliseconds << 64 | sequence) + step
    if not 0 <= number < 1 << 128:
        raise Refusal(f"ERR {complaint}")
    return number >> 64, number & MAX_ID


def _parse_start(broker: Broker, topic: str, text: bytes) -> Id:
    """Return the id after which XREAD reads. ``$`` is the newest id of the topic at the time of the command."""
    if text == b"$":
        text = broker.last_id(topic).encode()
    if text == b">":
        raise Refusal(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return _parse_id(text, 0)


def _id_of(message: Message) -> Id:
    id = parse_id(message.id)
    assert id is not None  # the broker has made it
    return id


def _entries(messages: list[Message]) -> list[object]:
    """Return messages as entries: [id, [field, value]]."""
    return [[message.id.encode(), [b"data", message.data]] for message in messages]


# ---- the commands ------------------------------------------------------------------------------------------------------


def xlen(session: Session, arguments: list[bytes]) -> Events:
    """XLEN topic: reply with the number of messages kept."""
    return reply(session.switchboard.broker.log_length(to_text(arguments[1])))


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
    first = _parse_bound(start, 0, 1, "invalid start ID for the interval")  # "5" as a start is 5-0, as an end all of 5
    last = _parse_bound(end, MAX_ID, -1, "invalid end ID for the interval")
    most = None
    for position in range(4, len(arguments), 2):
        if arguments[position].lower() != b"count" or position + 1 == len(arguments):
            raise Refusal("ERR syntax error")
        most = max(0, integer(arguments[position + 1]))
    log = session.switchboard.broker.log(to_text(arguments[1]))
    if most == 0 and log:
        return reply(NullArray())  # as Redis does: it replies with an empty array only if there is no stream
    messages = log[bisect_left(log, first, key=_id_of) : bisect_right(log, last, key=_id_of)]
    if backwards:
        messages.reverse()
    return reply(_entries(messages[:most]))


def xinfo_stream(session: Session, arguments: list[bytes]) -> Events:
    """XINFO STREAM topic: reply with what a client needs in order to resume, in the fields that Redis uses.

    ``max-deleted-entry-id`` is the id of the newest entry that is no longer kept: no later entry is missing. A client that
    resumes after an older id may have missed messages.
    """
    if len(arguments) > 3:
        raise Refusal("ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.")
    broker, topic = session.switchboard.broker, checked_name(arguments[2])
    if not broker.history(topic):
        raise Refusal("ERR no such key")
    log = broker.log(topic)
    first, last = _entries(log[:1] + log[-1:]) if log else (None, None)
    return reply(Map([
        (b"length", len(log)), (b"last-generated-id", broker.last_id(topic).encode()),
        (b"max-deleted-entry-id", broker.last_id(topic, len(log)).encode()), (b"groups", 0),
        (b"first-entry", first), (b"last-entry", last),
    ]))  # fmt: skip


def xread(session: Session, arguments: list[bytes]) -> Events | Wait:
    """XREAD [COUNT number] [BLOCK milliseconds] STREAMS topic … id …: reply with each topic's entries after its id.

    If there are no entries, the reply is null; with BLOCK, the result is a Wait, whose ``answer`` reads again:

    >>> from minproto.session import Switchboard
    >>> broker = Broker(clock=lambda: 1_700_000_000_000, history=10)
    >>> session = Switchboard(broker).open(print)
    >>> wait = xread(session, b"XREAD BLOCK 5000 STREAMS news $".split())
    >>> print(wait.topics, wait.milliseconds, wait.answer())
    ['news'] 5000 None
    >>> receivers = broker.publish("news", b"hello")
    >>> wait.answer()
    [Reply(value=[[b'news', [[b'1700000000000-1', [b'data', b'hello']]]]])]
    """
    most, block, position = _read_options(arguments)
    names = arguments[position:]
    if len(names) % 2:
        raise Refusal("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
    topics = [checked_name(topic) for topic in names[: len(names) // 2]]
    broker = session.switchboard.broker
    after = [_parse_start(broker, topic, id) for topic, id in zip(topics, names[len(topics) :], strict=True)]

    def answer() -> Events | None:
        return _read(session, topics, after, most)

    return answer() or (reply(NullArray()) if block is None else Wait(topics, block, answer))


def _read_options(arguments: list[bytes]) -> tuple[int | None, int | None, int]:
    """Return COUNT and BLOCK (None if an option is not given), and the position of the first topic, after STREAMS."""
    most, block, position = 0, None, 1
    while position < len(arguments) - 1 and (option := arguments[position].lower()) != b"streams":
        if option == b"block":
            block = integer(arguments[position + 1], "timeout is not an integer or out of range")
            if block < 0:
                raise Refusal("ERR timeout is negative")
        elif option == b"count":
            most = max(0, integer(arguments[position + 1]))
        else:
            raise Refusal(_wrong_option(option, len(arguments) - position - 1))
        position += 2
    if position + 1 >= len(arguments):
        raise Refusal(_wrong_option(arguments[position].lower() if position < len(arguments) else b"", 0))
    return most or None, block, position + 1  # COUNT 0 means no bound, as in Redis


def _wrong_option(option: bytes, more: int) -> str:
    """Return the error for an option followed by ``more`` words. An option of XREADGROUP gets an error of its own."""
    if (option == b"group" and more >= 2) or option == b"noack":
        return f"ERR The {option.decode().upper()} option is only supported by XREADGROUP. You called XREAD instead."
    return "ERR syntax error"


def _read(session: Session, topics: list[str], after: list[Id], most: int | None) -> Events | None:
    """Return the entries that each topic has after its id, at most ``most`` per topic; None if no topic has such entries.

    Version 2 has no maps. There Redis replies with an array of pairs, not with alternating keys and values.
    Each pair is an array.
    """
    found: list[tuple[bytes, object]] = []
    for topic, id in zip(topics, after, strict=True):
        log = session.switchboard.broker.log(topic)
        if messages := log[bisect_right(log, id, key=_id_of) :][:most]:
            found.append((to_bytes(topic), _entries(messages)))
    if not found:
        return None
    return reply(Map(list(found)) if session.version == 3 else [[topic, entries] for topic, entries in found])
