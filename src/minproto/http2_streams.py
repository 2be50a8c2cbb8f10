"""The life of an HTTP/2 stream (RFC 9113 §5.1): its states, the memory of closed streams, and budgets against floods.

A stream carries one request and its response. A client opens stream 1 with HEADERS, the next request is stream 3, and so on;
an id is never used again. Each direction ends by itself: END_STREAM on a frame says that its sender is done with this stream.

    client                                          server          client's state       server's state
    HEADERS, stream 1, END_STREAM  (GET /)   ----->                 HALF_CLOSED_LOCAL    HALF_CLOSED_REMOTE
                                             <-----  HEADERS
                                             <-----  DATA, END_STREAM       CLOSED               CLOSED

A RST_STREAM ends both directions at once, from either side.
"""

from enum import IntEnum

from minproto.core import RemoteProtocolError
from minproto.http2_flow import ReceiveWindow, SendWindow, parse_priority
from minproto.http2_frames import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED

# ---- the state of a stream (§5.1) --------------------------------------------------------------------------------------
#
#                                +--------+
#                                |  IDLE  |        S: sent   R: received
#                                +--------+
#                                    | S or R HEADERS                     The reserved states belong to push, and do not occur.
#                                    v
#                                +--------+                               OPEN allows HEADERS and DATA in both directions,
#                   +------------|  OPEN  |------------+                  a half-closed state in the direction that is not
#          S END_STREAM          +--------+          R END_STREAM         closed.
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
    """The state of a stream. LOCAL means that we have closed our direction, REMOTE that the peer has closed its own."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    HALF_CLOSED_REMOTE = 3
    CLOSED = 4


class Step(IntEnum):
    """A frame, or the END_STREAM flag of a frame, that moves the state of a stream."""

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

# A step that the table lacks is not allowed in its state. For a frame to be sent that is a LocalProtocolError. For a received
# frame it is a fault of the stream or of the connection; ``http2.py`` decides which.
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
    """One stream: its state, its two windows, and what was announced of its content."""

    __slots__ = (
        "head_received", "head_sent", "id", "length", "method", "offering", "padding", "priority", "receive_left",
        "receive_window", "send_left", "send_window", "state",
    )  # fmt: skip

    def __init__(self, id_: int, send_window: int, receive_window: int) -> None:
        self.id = id_
        self.state = IDLE
        self.method = ""  # of the request: a response to HEAD has no content
        self.send_window = SendWindow(send_window)
        self.receive_window = ReceiveWindow(receive_window, receive_window)
        self.padding = 0  # bytes of padding that arrived; their credit is given back with the credit of the next content
        self.head_sent = self.head_received = False
        self.send_left: int | None = None  # bytes still to be sent of our Content-Length; None: we have declared none
        self.receive_left: int | None = None  # bytes still to be received of the peer's Content-Length
        self.length: int | None = None  # the peer's Content-Length itself, for the text of an error
        self.offering = False  # the shell has content to send
        self.priority = parse_priority(None)


class Budget:
    """A bound on frames that cost us more than they cost the peer: pings, resets, empty frames.

    For example, a budget of 100 resets: each reset spends one, each finished stream refunds some. A connection with ordinary
    traffic never runs out, however long it lives; a peer that only opens and resets streams ("rapid reset", CVE-2023-44487)
    does so after 100.
    """

    __slots__ = ("_what", "left", "size")

    def __init__(self, size: int, what: str) -> None:
        self.size = self.left = size
        self._what = what

    def spend(self) -> None:
        """Spend one. Raises RemoteProtocolError (ENHANCE_YOUR_CALM) where nothing is left."""
        self.left -= 1
        if self.left < 0:
            raise RemoteProtocolError(f"too many {self._what}", ENHANCE_YOUR_CALM)

    def refund(self, count: int) -> None:
        """Give back so many, for progress that the peer has made; never more than the whole budget."""
        self.left = min(self.size, self.left + count)


class ClosedStreams:
    """The last streams that were closed, so that a late frame can be told from a wrong one (§5.1).

    After our RST_STREAM, frames of the peer may arrive that it sent before it knew of the reset. Such frames are late, and are
    ignored. A frame on a stream that the peer itself has ended is wrong.
    """

    REMEMBERED = 256
    """Streams. Of an older stream nobody knows how it was closed, so its frames are taken for late ones."""

    def __init__(self) -> None:
        self._late: dict[int, bool] = {}  # stream -> whether late frames are possible; in the order of closing
        self._forgotten = 0  # the highest id that was removed from _late

    def add(self, stream: int, *, late: bool) -> None:
        """Remember a stream that is closed. ``late``: we have reset it, so frames may still be on their way."""
        self._late[stream] = late
        if len(self._late) > self.REMEMBERED:
            oldest = next(iter(self._late))
            del self._late[oldest]
            self._forgotten = max(self._forgotten, oldest)

    def end(self, stream: int) -> None:
        """Note that the peer has ended the stream, too: from now on no frame is late."""
        if stream in self._late:
            self._late[stream] = False

    def check(self, stream: int) -> None:
        """Raise RemoteProtocolError for a frame on a stream that is closed, or was skipped, unless the frame may be late."""
        late = self._late.get(stream, None if stream > self._forgotten else True)
        if late is None:  # §5.1.1: to open a stream closes every idle stream with a lower id
            raise RemoteProtocolError("a stream that was not opened in its order", PROTOCOL_ERROR)
        if not late:
            raise RemoteProtocolError("a frame on a stream that is closed", STREAM_CLOSED)
