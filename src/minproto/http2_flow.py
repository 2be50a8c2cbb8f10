"""Who may send how much, and whose turn it is: HTTP/2's windows (RFC 9113 §5.2) and its scheduler (RFC 9218 §10).

DATA alone is under flow control. A receiver grants credit in bytes, for each stream and once more for the whole connection;
a sender spends from both. The rules that keep that sound:

1. A window is what was granted less what was used. It is the same number at both ends, but for what is under way.
2. Credit is told in portions: when half of the window was used up, not for each frame, which would cost a frame each.
3. Nothing is forgotten. Bytes that are thrown away (a reset stream, padding) were used like all others, and are given back.
4. A window may become negative, since its initial size can be lowered while bytes are under way (§6.9.2); never over 2^31-1.

What the windows allow is shared by urgency, then in turn. A response that is marked as not incremental is of use only when
it is whole, so such ones go one after the other; all others of an urgency, also those that said nothing, take turns.
"""

import re
from bisect import insort
from collections import deque

from minproto.http2_frames import MAX_ID

DEFAULT_WINDOW = 65_535
"""Bytes of each window before anybody says otherwise (§6.9.2)."""


class SendWindow:
    """What the peer lets us send."""

    __slots__ = ("size",)

    def __init__(self, size: int = DEFAULT_WINDOW) -> None:
        self.size = size
        """Bytes; negative while more is under way than the peer wants now."""

    def grow(self, increment: int) -> bool:
        """Add credit. False where the window would pass 2^31-1: who did that broke a rule (§6.9.1)."""
        self.size += increment
        return self.size <= MAX_ID


class ReceiveWindow:
    """What we let the peer send. Always: window + bytes held + bytes owed = size."""

    __slots__ = ("owed", "size", "window")

    def __init__(self, size: int, window: int = DEFAULT_WINDOW) -> None:
        """``window``: what the peer believes, which begins with the default whatever we want (§6.9.2)."""
        self.size = size
        """Bytes that we are ready to hold."""
        self.window = window
        """Bytes that the peer may send now."""
        self.owed = size - window
        """Bytes that were used up, or never granted yet, and that the peer was not told of."""

    def receive(self, count: int) -> bool:
        """Bytes have come. False if there was no credit for them. No bytes need none, whatever the window (§6.9.1)."""
        self.window -= count
        return self.window >= 0 or not count

    def consume(self, count: int) -> None:
        """Bytes are held no longer."""
        self.owed += count

    @property
    def due(self) -> int:
        """The increment to tell the peer now; mostly 0, since it is worth a frame at half of the window."""
        return self.owed if self.owed > 0 and self.owed * 2 >= self.size else 0

    def grant(self, increment: int) -> None:
        """The peer is told."""
        self.owed -= increment
        self.window += increment

    def resize(self, size: int) -> None:
        """The peer has acknowledged another initial size (§6.9.2)."""
        self.window += size - self.size
        self.size = size


# ---- priority (RFC 9218 §4) ----------------------------------------------------------------------------------------------
#
#   priority: u=0..7 (0 is the most urgent, 3 the default), i (incremental)           a dictionary of structured fields

_PARAMETER = re.compile(r"(?:^|,)[\t ]*([ui])(?:=([^,;\t ]+))?(?=[\t ]*(?:[,;]|$))")
_URGENCIES = {str(urgency): urgency for urgency in range(8)}
DEFAULT_URGENCY = 3


def parse_priority(value: str | None) -> tuple[int, bool]:
    """(urgency, whether to take turns). The last of each parameter counts, and is ignored if it can't be understood (§4)."""
    if value is None:
        return DEFAULT_URGENCY, True
    found = dict(_PARAMETER.findall(value))
    return _URGENCIES.get(found.get("u", ""), DEFAULT_URGENCY), found.get("i") in ("", "?1")


class Scheduler:
    """Streams that have something to send, and whose turn it is.

    In each urgency there is a round. Each incremental stream has a place in it; all that are not share one, which is that of
    the lowest id among them. So one of those that has no end does not starve the others (RFC 9218 §10).
    """

    _SHARED = 0  # the place of those that are not incremental

    def __init__(self) -> None:
        self._kinds: dict[int, tuple[int, bool]] = {}  # of each stream that has something to send
        self._rounds: dict[int, deque[int]] = {}  # by urgency, if there are any
        self._sequences: dict[int, list[int]] = {}

    def __contains__(self, stream: int) -> bool:
        return stream in self._kinds

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, stream: int, urgency: int, incremental: bool) -> None:
        """A stream has something to send: it comes last in its round."""
        self._kinds[stream] = urgency, incremental
        round_ = self._rounds.setdefault(urgency, deque())
        if incremental:
            return round_.append(stream)
        if urgency not in self._sequences:
            self._sequences[urgency] = []
            round_.append(self._SHARED)
        insort(self._sequences[urgency], stream)

    def remove(self, stream: int) -> None:
        """It has nothing to send any more."""
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
        """Whose turn it is; its place in the round is the last one then."""
        if not self._rounds:
            return None
        urgency = min(self._rounds)
        stream = self._rounds[urgency][0]
        self._rounds[urgency].rotate(-1)
        return stream or self._sequences[urgency][0]
