"""The life of HTTP/2's streams (RFC 9113 §5.1): their states, what is remembered of closed ones, and budgets for patience."""

from enum import IntEnum

from minproto.core import RemoteProtocolError
from minproto.http2_flow import ReceiveWindow, SendWindow, parse_priority
from minproto.http2_frames import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED

# ---- the state of a stream (§5.1) --------------------------------------------------------------------------------------
#
#                                +--------+
#                                |  IDLE  |        S: sent   R: received
#                                +--------+
#                                    | S or R HEADERS                     Reserved states, of push, do not occur.
#                                    v
#                                +--------+                               HEADERS and DATA are possible in OPEN in both
#                   +------------|  OPEN  |------------+                  directions, and in a half-closed state in the
#          S END_STREAM          +--------+          R END_STREAM         direction that is not closed.
#                   v                |                 v
#          +------------------+      |       +-------------------+
#          |HALF_CLOSED_LOCAL |      |       |HALF_CLOSED_REMOTE |
#          +------------------+      |       +-------------------+
#                   | R END_STREAM   |  S or R         | S END_STREAM
#                   | S or R RST     |  RST            | S or R RST
#                   |                v                 |
#                   |            +--------+            |
#                   +----------->| CLOSED |<-----------+
#                                +--------+


class State(IntEnum):
    """Of a stream."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    HALF_CLOSED_REMOTE = 3
    CLOSED = 4


class Step(IntEnum):
    """What may happen to it."""

    SEND_HEADERS = 0
    SEND_DATA = 1
    SEND_END = 2
    SEND_RESET = 3
    RECEIVE_HEADERS = 4
    RECEIVE_DATA = 5
    RECEIVE_END = 6
    RECEIVE_RESET = 7


IDLE, OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED = State
SEND_HEADERS, SEND_DATA, SEND_END, SEND_RESET, RECEIVE_HEADERS, RECEIVE_DATA, RECEIVE_END, RECEIVE_RESET = Step

TRANSITIONS: dict[tuple[State, Step], State] = {
    (IDLE, SEND_HEADERS): OPEN,
    (IDLE, RECEIVE_HEADERS): OPEN,
    **{(OPEN, step): OPEN for step in (SEND_HEADERS, SEND_DATA, RECEIVE_HEADERS, RECEIVE_DATA)},
    (OPEN, SEND_END): HALF_CLOSED_LOCAL,
    (OPEN, RECEIVE_END): HALF_CLOSED_REMOTE,
    **{(HALF_CLOSED_LOCAL, step): HALF_CLOSED_LOCAL for step in (RECEIVE_HEADERS, RECEIVE_DATA)},
    (HALF_CLOSED_LOCAL, RECEIVE_END): CLOSED,
    **{(HALF_CLOSED_REMOTE, step): HALF_CLOSED_REMOTE for step in (SEND_HEADERS, SEND_DATA)},
    (HALF_CLOSED_REMOTE, SEND_END): CLOSED,
    **{
        (state, step): CLOSED
        for state in (OPEN, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE)
        for step in (SEND_RESET, RECEIVE_RESET)
    },
}


class Stream:
    """One exchange."""

    __slots__ = (
        "head_received", "head_sent", "id", "length", "method", "offering", "padding", "priority", "receive_left",
        "receive_window", "send_left", "send_window", "state",
    )  # fmt: skip

    def __init__(self, id_: int, send_window: int, receive_window: int) -> None:
        self.id = id_
        self.state = IDLE
        self.method = ""  # of the request
        self.send_window = SendWindow(send_window)
        self.receive_window = ReceiveWindow(receive_window, receive_window)
        self.padding = 0  # bytes of padding that came, whose credit goes back with that of the next content
        self.head_sent = self.head_received = False
        self.send_left: int | None = None  # of a declared length
        self.receive_left: int | None = None
        self.length: int | None = None  # the declared length of what is received, of which ``receive_left`` is left
        self.offering = False  # there is something to send
        self.priority = parse_priority(None)


class Budget:
    """How often a peer may do what costs us more than it costs the peer, until there is progress again."""

    __slots__ = ("_what", "left", "size")

    def __init__(self, size: int, what: str) -> None:
        self.size = self.left = size
        self._what = what

    def spend(self) -> None:
        """Raises RemoteProtocolError (ENHANCE_YOUR_CALM) when nothing is left."""
        self.left -= 1
        if self.left < 0:
            raise RemoteProtocolError(f"too many {self._what}", ENHANCE_YOUR_CALM)

    def refund(self, count: int) -> None:
        self.left = min(self.size, self.left + count)


class ClosedStreams:
    """What became of the last streams: so a frame that is late is told from one that is wrong (§5.1)."""

    REMEMBERED = 256

    def __init__(self) -> None:
        self._late: dict[int, bool] = {}  # in the order of closing: whether frames may be on their way since before our reset
        self._forgotten = 0  # the highest of those

    def add(self, stream: int, *, late: bool) -> None:
        self._late[stream] = late
        if len(self._late) > self.REMEMBERED:
            oldest = next(iter(self._late))
            del self._late[oldest]
            self._forgotten = max(self._forgotten, oldest)

    def end(self, stream: int) -> None:
        """The peer has ended it, too: from now on nothing is late."""
        if stream in self._late:
            self._late[stream] = False

    def check(self, stream: int) -> None:
        """Raise RemoteProtocolError, unless what comes for it may be on its way since before our reset."""
        late = self._late.get(stream, None if stream > self._forgotten else True)  # who can't know does not accuse
        if late is None:  # §5.1.1: it was passed over when a higher one was opened
            raise RemoteProtocolError("a stream that was not opened in its order", PROTOCOL_ERROR)
        if not late:
            raise RemoteProtocolError("a frame on a stream that is closed", STREAM_CLOSED)
