"""Flow control and priority in HTTP/2: how many bytes each end may send (RFC 9113 §5.2), and in which order (RFC 9218 §10).

**Flow control.** A receiver grants credit, in bytes of DATA; a sender may send no more than its credit. There is a window of
credit for each stream, and one more for the whole connection; a DATA frame spends from both. So an upload that our app reads
slowly cannot fill our memory. For example, with windows of 100 bytes:

    the peer sends              our window   held for the app   owed      then we send
    (SETTINGS says 100)                100                  0      0
    DATA, 60 bytes                      40                 60      0
    (the app reads 30)                  40                 30     30      nothing: 30 is less than half of 100
    (the app reads 30)                  40                  0     60      WINDOW_UPDATE, increment 60
                                       100                  0      0

In each row window + held + owed is 100:

    >>> window = ReceiveWindow(size=100, window=100)
    >>> window.receive(60), window.window, window.owed
    (True, 40, 0)
    >>> window.consume(30), window.owed, window.due
    (None, 30, 0)
    >>> window.consume(30), window.owed, window.due
    (None, 60, 60)
    >>> window.grant(60), window.window, window.owed
    (None, 100, 0)

Four rules keep the counts right:

1. Both ends count the same window. Their counts differ only by the frames that are on their way.
2. Credit is given back in portions, when half of the window is used up. A WINDOW_UPDATE for each DATA frame would double the
   number of frames; waiting until the window is empty would cost the sender a round trip.
3. Every byte is counted. Padding and DATA on a reset stream are thrown away, but the peer has spent credit on
   them, so the credit is given back. Credit that is not given back is lost; without credit, the connection stops.
4. A window can be negative. SETTINGS may lower the initial size of a window after the sender has used more than the new size
   (§6.9.2); then the sender waits until the window is positive again. A window never exceeds 2^31-1 (§6.9.1).

**Priority.** Streams that have something to send, and credit to send it, take turns. A client says how urgent a response is (0
to 7), and whether it is *incremental*, that is, useful in part: half an image is useful, half a script is not.
"""

import re
from bisect import insort
from collections import deque

from minproto.http2_frames import MAX_ID

DEFAULT_WINDOW = 65_535
"""Bytes of each window when a connection begins (§6.9.2)."""


class SendWindow:
    """The credit that the peer has granted us, for one stream or for the connection.

    A stream's window follows the peer's SETTINGS_INITIAL_WINDOW_SIZE, even below zero (§6.9.2). If a negative window
    counted as 0, we would take the next credit for more than it is.
    """

    __slots__ = ("size",)

    def __init__(self, size: int = DEFAULT_WINDOW) -> None:
        self.size = size
        """Bytes that we may send now. Negative after the peer has lowered its initial window size: then we wait."""

    def grow(self, increment: int) -> bool:
        """Add credit from a WINDOW_UPDATE. Return False if the window exceeds 2^31-1, which a peer MUST NOT cause (§6.9.1)."""
        self.size += increment
        return self.size <= MAX_ID


class ReceiveWindow:
    """The credit that we grant the peer. At all times: window + bytes held for the app + bytes owed = size."""

    __slots__ = ("owed", "size", "window")

    def __init__(self, size: int, window: int = DEFAULT_WINDOW) -> None:
        """``size``: the bytes that we are ready to hold. ``window``: the credit that the peer believes it has, which is the
        default until our SETTINGS or WINDOW_UPDATE arrives (§6.9.2). The difference is owed from the start."""
        self.size = size
        """Bytes that we are ready to hold."""
        self.window = window
        """Bytes that the peer may send now."""
        self.owed = size - window
        """Bytes of credit to give back: used up for content that is no longer held, or never granted."""

    def receive(self, count: int) -> bool:
        """Count the bytes of a DATA frame (§6.9). Return False if the peer had no credit for them (§6.9.1).

        An empty frame needs no credit, so it is allowed even while the window is negative (§6.9.1).
        """
        self.window -= count
        return self.window >= 0 or not count

    def consume(self, count: int) -> None:
        """Count bytes that the app has read, or that we have discarded: they make room for as many new ones."""
        self.owed += count

    @property
    def due(self) -> int:
        """The increment for a WINDOW_UPDATE now; 0 while less than half of the window is owed, which is not worth a frame."""
        return self.owed if self.owed > 0 and self.owed * 2 >= self.size else 0

    def grant(self, increment: int) -> None:
        """Count credit that a WINDOW_UPDATE has just given to the peer."""
        self.owed -= increment
        self.window += increment

    def resize(self, size: int) -> None:
        """Apply a new initial size, once the peer has acknowledged it: the window changes by the difference (§6.9.2)."""
        self.window += size - self.size
        self.size = size


# ---- priority (RFC 9218 §4) ----------------------------------------------------------------------------------------------
#
#   priority: u=1, i         urgency 0 to 7 (0 is the most urgent, 3 the default); i: incremental (by default not)
#
# The field is a Dictionary of structured fields (RFC 8941 §3.2):
#
#   dictionary = member *( OWS "," OWS member )
#   member     = key [ "=" ( bare / "(" *SP [ item *( 1*SP item ) *SP ] ")" ) ] parameters    without "=", the value is ?1
#   item       = bare parameters
#   parameters = *( ";" *SP key [ "=" bare ] )
#   bare       = decimal / integer / string / byte sequence / boolean / token
#
# A string may contain commas. So a parser that just splits at each comma takes x=",u=0," for an urgency of 0.

_KEY = r"[a-z*][a-z0-9_.*-]*"
_BARE = (
    r"(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}"
    r'|"(?:[ !#-\[\]-~]|\\["\\])*"'
    r"|:[A-Za-z0-9+/=]*:|\?[01]"
    r"|[A-Za-z*][A-Za-z0-9!#$%&'*+./:^_`|~-]*)"
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_BARE})?)*"
_ITEM = _BARE + _PARAMETERS
_LIST = rf"\( *(?:{_ITEM}(?: +{_ITEM})* *)?\)"
_MEMBER = re.compile(rf"({_KEY})(?:=({_BARE}|{_LIST}))?{_PARAMETERS}[\t ]*(?:,[\t ]*(?!\Z)|\Z)")
_INTEGER = re.compile(r"-?[0-9]+")
DEFAULT_URGENCY = 3


def parse_priority(value: str | None) -> tuple[int, bool]:
    """Return (urgency, incremental) for the value of a priority field. ``value`` is None if the request has no such field.

    The urgency is an integer from 0 to 7 (RFC 9218 §4.1), and ``incremental`` a boolean (RFC 9218 §4.2). A parameter that is
    missing has its default, 3 or false (RFC 9218 §4). So has a parameter that is out of its range or of another type, and
    parameters with unknown names are ignored: newer clients may send values that we do not know.

        >>> parse_priority("u=1, i"), parse_priority("u=8, i=1, new")
        ((1, True), (3, False))

    A request without the field, or with a field that is not a Dictionary, counts as incremental: its sender knows nothing of
    priorities (RFC 9113 §5.3.2 lets us conclude that), and taking turns is fair to all its requests.
    """
    if value is None or (found := _dictionary(value)) is None:
        return DEFAULT_URGENCY, True
    text = found.get("u", "")
    urgency = int(text) if _INTEGER.fullmatch(text) else DEFAULT_URGENCY
    return urgency if 0 <= urgency <= 7 else DEFAULT_URGENCY, found.get("i") == "?1"


def _dictionary(value: str) -> dict[str, str] | None:
    """Return the members of a Dictionary, key -> value as written, without parameters; None if it is not well-formed.

    One wrong character makes the whole field void, even the members before it (RFC 8941 §4.2, to which RFC 9218 §4 refers):
    if each recipient saved what it could, recipients would disagree. When a key is repeated, its last value counts.
    """
    members, at = {}, 0
    while at < len(value):
        member = _MEMBER.match(value, at)
        if member is None:
            return None
        members[member[1]] = member[2] or "?1"
        at = member.end()
    return members


class Scheduler:
    """The streams that have something to send, and the order of their turns (RFC 9218 §10).

    The most urgent streams go first; less urgent ones wait until no more urgent stream has anything to send. Streams of equal
    urgency take turns, in a round. In the round each incremental stream has a slot of its own: a part of each response is
    useful. The streams that are not incremental share one slot, in which the stream with the lowest id is served until it is
    done: a client makes its requests in the order in which it needs the responses.

    For example, streams 1 and 3 are scripts, streams 5 and 7 are images (incremental), all of urgency 3:

        >>> scheduler = Scheduler()
        >>> for stream in (1, 3, 5, 7):
        ...     scheduler.add(stream, urgency=3, incremental=stream >= 5)
        >>> [scheduler.next() for _ in range(6)]
        [1, 5, 7, 1, 5, 7]
        >>> scheduler.remove(1)
        >>> [scheduler.next() for _ in range(6)]
        [3, 5, 7, 3, 5, 7]

    So an endless response (an event stream that is not incremental) does not stop the incremental streams.
    """

    _SHARED = 0  # in a round: the slot of the streams that are not incremental. No stream has the id 0.

    def __init__(self) -> None:
        self._kinds: dict[int, tuple[int, bool]] = {}  # stream -> (urgency, incremental)
        self._rounds: dict[int, deque[int]] = {}  # urgency -> stream ids, and _SHARED; the first is the next to be served
        self._sequences: dict[int, list[int]] = {}  # urgency -> ids of the streams that share a slot, in ascending order

    def __contains__(self, stream: int) -> bool:
        return stream in self._kinds

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, stream: int, urgency: int, incremental: bool) -> None:
        """Note that a stream has something to send. A new slot is the last of its round.

        ``incremental`` decides whether the stream gets a slot of its own, or shares the slot of the others, in which the ids
        are in ascending order (RFC 9218 §10).
        """
        self._kinds[stream] = urgency, incremental
        round_ = self._rounds.setdefault(urgency, deque())
        if incremental:
            return round_.append(stream)
        if urgency not in self._sequences:
            self._sequences[urgency] = []
            round_.append(self._SHARED)
        insort(self._sequences[urgency], stream)

    def remove(self, stream: int) -> None:
        """Note that a stream has nothing more to send."""
        urgency, incremental = self._kinds.pop(stream)
        round_ = self._rounds[urgency]
        if incremental:
            round_.remove(stream)
        else:
            self._sequences[urgency].remove(stream)
            if not self._sequences[urgency]:
                del self._sequences[urgency]
                round_.remove(self._SHARED)
        if not round_:
            del self._rounds[urgency]

    def next(self) -> int | None:
        """Return the stream whose turn it is, and move its slot to the end of its round; None if there is no stream.

        The lowest number is the most urgent. The shared slot moves as well: if it stayed, one endless response that is not
        incremental would starve all incremental ones of its urgency (RFC 9218 §10).
        """
        if not self._rounds:
            return None
        urgency = min(self._rounds)
        stream = self._rounds[urgency][0]
        self._rounds[urgency].rotate(-1)
        return stream or self._sequences[urgency][0]
