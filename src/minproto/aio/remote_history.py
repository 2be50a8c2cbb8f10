r"""A subscription that resumes from the broker's history: XREAD, which gives every message its id.

minproto's broker keeps the last messages of a topic (``Broker(history=…)``), and gives them out with the commands that Redis
has for streams (``minproto.stream_commands``). So a subscription can name the last message that it has received, and
continue after this message, on any connection. The source ``History`` asks again and again for the messages after its id:

    sent                                        answered

    XREAD COUNT 7 BLOCK 20000 STREAMS news 7-0  [[news, [8-0 [data, hello]], [9-0 [data, world]]]]
    XINFO STREAM news                           [..., max-deleted-entry-id, 3-0, ...]

    -> Message("news", "8-0", b"hello"), Message("news", "9-0", b"world"), and the next XREAD asks after 9-0

XREAD returns the messages after an id, but does not say whether any are missing: the history is bounded, and a slow client's
next messages may already have been dropped. XINFO STREAM does say it: ``max-deleted-entry-id`` is the id of the newest message
no longer kept:

    our id    max-deleted-entry-id
    7-0       3-0                     8-0 and later are all kept: no message is missing
    7-0       7-0                     the same: the dropped message is one that we have received
    7-0       8-0                     8-0 was dropped, and we have not seen it: a Gap comes first

Both commands are sent in one write, the XINFO after the XREAD. If the history drops
a message between the two commands, there is an extra Gap. In the other order a Gap would be missing.

**Another broker.** After a lost connection there may be another broker at the same address, whose ids are unrelated to ours.
So on a new connection ``begin`` looks for the message with exactly our id (XRANGE from the id to the id). That message has to
be in the history, or be the last message that the history has dropped. Otherwise a Gap comes first, and then every message in
the history.
"""

import math
from typing import Any

from minproto.aio.link import Link, Skipped, check
from minproto.aio.remote_subscription import SHORTEST_PING, too_long
from minproto.core import RemoteProtocolError
from minproto.log import MAX_NUMBER, Gap, IdKey, Item, Message, parse_id
from minproto.resp import Limits, NullArray, to_text

NO_HISTORY = ("ERR no such key", "ERR unknown command", "WRONGTYPE ")
"""The beginnings of XINFO STREAM's errors for a topic without a history. The first error comes from minproto and Redis, the
second from a server without streams, and the third from a Redis that has other data under this name."""
ENTRY_COST = 1_024
"""The maximum number of bytes of an entry besides its data: its id, its field, and the lines that announce these strings."""
OLDEST = (0, 0)


class History:
    """The messages of one topic after an id, and then every new message."""

    def __init__(self, topic: bytes, after: str | None, last: int) -> None:
        """``after``: the id after which the messages begin. None: begin ``last`` messages ago."""
        self._topic = topic
        self._after = None if after is None else _id_or_oldest(after)
        self._last = last
        # A wait may be cancelled between the answers to XREAD and XINFO. The next call then waits for the second answer.
        self._asked: Link | None = None  # the connection on which the two answers are due; None: no answer is due
        self._read: list[Any] = []  # the answer to XREAD, once it has arrived

    async def begin(self, link: Link) -> list[Item]:
        """Return the first messages after the id, preceded by a Gap if messages may be missing."""
        after = await self._start(link) if self._after is None else self._after
        most = b"%d" % _batch(link.limits)
        id = _encode_id(after)
        read, same = await link.request(
            (b"XREAD", b"COUNT", most, b"STREAMS", self._topic, id), (b"XRANGE", self._topic, id, id)
        )
        stream = await stream_info(link, self._topic)
        dropped = _last_dropped(stream)
        if after > _parse_id(stream[b"last-generated-id"]):  # from another broker, whose clock was ahead: read everything
            return self._received(dropped, None, link.limits, gap=True)
        if same or after == dropped:
            return self._received(after, read, link.limits)
        return self._received(max(after, dropped), read, link.limits, gap=True)

    async def _start(self, link: Link) -> IdKey:
        """Return the id after which the ``last`` messages come, found by reading backwards, in batches."""
        bound, missing = b"+", self._last + 1
        while True:
            most = b"%d" % min(missing, _batch(link.limits))
            (answer,) = await link.request((b"XREVRANGE", self._topic, bound, b"-", b"COUNT", most))
            entries = _entries(answer)
            if not entries:  # fewer are kept: begin with the first
                return _last_dropped(await stream_info(link, self._topic))
            missing -= len(entries)
            oldest = _parse_id(entries[-1][0])
            if missing <= 0:
                return oldest
            bound = b"(" + _encode_id(oldest)

    async def next(self, link: Link) -> list[Item]:
        """Wait for the next messages. If no message comes for ``Timeouts.ping`` seconds, the result is an empty list.

        So XREAD also serves as the sign of life that a silent connection needs, and there is no PING.
        """
        assert self._after is not None  # ``begin`` has set it
        timeouts = link.timeouts
        pause = max(timeouts.ping, SHORTEST_PING)
        if self._asked is not link:
            self._asked, self._read = link, []
            block = b"0" if pause == math.inf else b"%d" % (pause * 1_000)  # 0: forever
            most = b"%d" % _batch(link.limits)
            link.send(b"XREAD", b"COUNT", most, b"BLOCK", block, b"STREAMS", self._topic, _encode_id(self._after))
            link.send(b"XINFO", b"STREAM", self._topic)
            await link.flush()
        if not self._read:
            self._read = [check(await link.value(pause + timeouts.pong))]
        stream = _pairs(check(await link.value(timeouts.pong)))
        self._asked = None
        dropped = _last_dropped(stream)
        return self._received(max(self._after, dropped), self._read[0], link.limits, gap=dropped > self._after)

    def _received(self, after: IdKey, read: Any, limits: Limits, *, gap: bool = False) -> list[Item]:
        """Return the items in an answer to XREAD, and note the id after which the next XREAD reads.

        It is the id of the last item, or ``after`` if there is no item. It is noted only when the whole answer has been
        parsed. If an error or a cancellation comes earlier, the next XREAD asks for the same messages, and none is lost.
        """
        items: list[Item] = [Gap(None, reason="the broker's history does not go back so far")] if gap else []
        entries = _entries_read(read)
        items += [_item(to_text(self._topic), entry, limits) for entry in entries]
        self._after = _parse_id(entries[-1][0]) if entries else after
        return items


def _batch(limits: Limits) -> int:
    """Return how many entries one answer may have, so that it fits the limits even if each entry is as long as they allow.

    With the default limits (messages of 1 MiB in commands of 8 MiB) the result is 7. Further entries come with the next XREAD.
    """
    return max(1, limits.max_command // (limits.max_bulk + ENTRY_COST))


# ---- answers -----------------------------------------------------------------------------------------------------------
#
#   XRANGE, XREVRANGE     [entry, entry, …]
#   XREAD                 [[topic, [entry, entry, …]]]     or null
#   entry                 [id, [field, value, …]]
#   XINFO STREAM          [name, value, name, value, …]
#
# Answers come from another program, so each function checks an answer's shape before using it, and raises RemoteProtocolError.


def _entries(answer: Any) -> list[list[Any]]:
    """Return the entries in an answer to XRANGE or XREVRANGE. Each has at least an id; ``_item`` checks its fields."""
    if isinstance(answer, list) and all(isinstance(entry, list) and entry[:1] for entry in answer):
        return answer
    raise RemoteProtocolError(f"not the entries of a stream: {str(answer)[:60]}")


def _entries_read(answer: Any) -> list[list[Any]]:
    """Return the entries in an answer to XREAD of one topic; [] for null, the answer when there are no new messages."""
    match answer:
        case None | NullArray():
            return []
        case [[_, entries]]:
            return _entries(entries)
    raise RemoteProtocolError(f"not what XREAD answers: {str(answer)[:60]}")


def _item(topic: str, entry: Any, limits: Limits) -> Item:
    """Return the message in an entry; a Gap if the message was too long."""
    match entry:
        case [bytes(id), [b"data", Skipped() as data]]:
            return too_long(data, limits, to_text(id))
        case [bytes(id), [b"data", bytes(data)]]:
            return Message(topic, to_text(id), data)
    raise RemoteProtocolError(f"an entry of {topic} without the one field data: {str(entry)[:60]}")


async def stream_info(link: Link, topic: bytes) -> dict[bytes, Any]:
    """Return what the broker knows of a topic's history, by field name. Raises RemoteProtocolError if there is no history."""
    try:
        (answer,) = await link.request((b"XINFO", b"STREAM", topic))
    except RemoteProtocolError as error:
        if not str(error).startswith(NO_HISTORY):
            raise
        raise RemoteProtocolError(f"the broker keeps no history of {to_text(topic)}: {error}") from error
    return _pairs(answer)


def _pairs(answer: Any) -> dict[bytes, Any]:
    """Return the fields of an answer to XINFO STREAM."""
    if isinstance(answer, list) and len(answer) % 2 == 0 and all(isinstance(name, bytes) for name in answer[::2]):
        pairs = dict(zip(answer[::2], answer[1::2], strict=True))
        if b"last-generated-id" in pairs:
            return pairs
    raise RemoteProtocolError(f"not what XINFO STREAM answers: {str(answer)[:60]}")


def _last_dropped(stream: dict[bytes, Any]) -> IdKey:
    """Return the newest id that is no longer kept.

    A redis-server's ``max-deleted-entry-id`` covers what XDEL has deleted, but not what MAXLEN has trimmed. If more entries
    were added than are kept, some were trimmed. The oldest entry kept then serves as the newest one dropped, so there may be a
    Gap although no message is missing.
    """
    dropped = _parse_id(stream.get(b"max-deleted-entry-id", b"0-0"))
    first = stream.get(b"first-entry")
    if dropped == OLDEST and first and stream.get(b"entries-added") != stream.get(b"length"):
        return _parse_id(first[0])
    return dropped


def _id_or_oldest(text: str) -> IdKey:
    """Return the user's id. A text that is not an id is treated as older than every id: everything is read, after a Gap.

    ``Broker`` does the same. Ids come from cookies and Last-Event-ID fields, and a wrong id must not make this call fail.
    """
    id = parse_id(text)
    return id if id is not None and max(id) <= MAX_NUMBER else OLDEST


def _encode_id(id: IdKey) -> bytes:
    return b"%d-%d" % id


def _parse_id(text: Any) -> IdKey:
    id = parse_id(to_text(text)) if isinstance(text, bytes) else None
    if id is None:
        raise RemoteProtocolError(f"not an id: {str(text)[:60]}")
    return id
