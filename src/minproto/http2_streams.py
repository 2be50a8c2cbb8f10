"""The life of an HTTP/2 stream (RFC 9113 §5.1): its states, a memory of closed streams, and budgets against floods.

A stream carries one request and its response. A client opens stream 1 with HEADERS, the next request is stream 3, and so on;
an id is never used again. Each direction ends separately: END_STREAM on a frame ends the direction of the frame's sender.

    client                                          server          client's state       server's state
    HEADERS, stream 1, END_STREAM  (GET /)   ----->                 HALF_CLOSED_LOCAL    HALF_CLOSED_REMOTE
                                             <-----  HEADERS
                                             <-----  DATA, END_STREAM       CLOSED               CLOSED

Here are the server's steps. Each step is looked up in ``TRANSITIONS``, the table that the drawing below illustrates:

    >>> stream = Stream(1, "GET", send_window=100, receive_window=100)
    >>> for step in (RECEIVE_HEADERS, RECEIVE_END, SEND_HEADERS, SEND_DATA, SEND_END):
    ...     stream.move(step)
    ...     print(step.name, "->", stream.state.name)
    RECEIVE_HEADERS -> OPEN
    RECEIVE_END -> HALF_CLOSED_REMOTE
    SEND_HEADERS -> HALF_CLOSED_REMOTE
    SEND_DATA -> HALF_CLOSED_REMOTE
    SEND_END -> CLOSED

A RST_STREAM ends both directions at once, from either side.
"""

from enum import IntEnum

from minproto.core import SERVER, RemoteProtocolError, Role
from minproto.http2_flow import DEFAULT_WINDOW, ReceiveWindow, SendWindow, parse_priority
from minproto.http2_frames import ENHANCE_YOUR_CALM, MAX_ID, PROTOCOL_ERROR, STREAM_CLOSED, StreamError

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
    """The state of a stream. LOCAL means that we have closed our direction, REMOTE that the peer has closed its direction."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    HALF_CLOSED_REMOTE = 3
    CLOSED = 4


class Step(IntEnum):
    """A frame, or the END_STREAM flag of a frame, that changes the state of a stream."""

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

# A step that is missing for a state is not allowed in that state. Sending such a frame is a LocalProtocolError. Receiving
# such a frame is a stream fault or a connection fault; ``http2.py`` decides which.
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
    """One stream: its state, its two windows, and what was announced about its content."""

    __slots__ = (
        "head_received", "head_sent", "id", "is_tunnel", "method", "offering", "padding", "priority", "receive_left",
        "receive_length", "receive_window", "send_left", "send_window", "state",
    )  # fmt: skip

    def __init__(self, id_: int, method: str, send_window: int, receive_window: int) -> None:
        self.id = id_
        self.state = IDLE
        self.method = method  # of the request: a response to HEAD has no content
        self.send_window = SendWindow(send_window)
        self.receive_window = ReceiveWindow(receive_window, receive_window)
        self.padding = 0  # bytes of padding that arrived; the next content's credit will include their credit
        self.head_sent = self.head_received = False
        self.is_tunnel = False  # a 2xx has answered a CONNECT: no HEADERS may follow, in either direction (§8.5)
        self.send_left: int | None = None  # bytes of our Content-Length still to be sent; None: we declared none
        self.receive_left: int | None = None  # bytes of the peer's Content-Length still to be received
        self.receive_length: int | None = None  # the peer's Content-Length itself, for the text of an error
        self.offering = False  # the shell has content to send
        self.priority = parse_priority(None)

    def move(self, step: Step) -> None:
        """Take a step by the table. Raises StreamError (STREAM_CLOSED) for a step that the state does not allow (§5.1)."""
        state = TRANSITIONS.get((self.state, step))
        if state is None:
            raise StreamError(f"{step.name} in {self.state.name}", STREAM_CLOSED)
        self.state = state

    def becomes_tunnel(self, status: int) -> bool:
        """Return whether a response opens a tunnel: DATA after a 2xx to CONNECT belongs to the tunnel (§8.5)."""
        return self.method == "CONNECT" and 200 <= status < 300

    def expect_content(self, length: int | None) -> None:
        """Note how many bytes of content the peer has declared; None for a message that only END_STREAM ends."""
        self.receive_left = self.receive_length = length

    def receive_content(self, count: int) -> None:
        """Count bytes of content. Raises StreamError if they exceed the declared length: the message is malformed (§8.1.1)."""
        if self.receive_left is not None:
            self.receive_left -= count
            if self.receive_left < 0:
                raise self._wrong_length()

    def check_complete(self) -> None:
        """Raise StreamError if the peer ends its direction with less content than it has declared (§8.1.1)."""
        if self.receive_left:
            raise self._wrong_length()

    def _wrong_length(self) -> StreamError:
        came = (self.receive_length or 0) - (self.receive_left or 0)
        text = f"Content-Length is {self.receive_length}, and {came} bytes of content came"
        return StreamError(text, PROTOCOL_ERROR)


class Budget:
    """A bound on frames that cost us more than they cost the peer: pings, resets, empty frames (§10.5).

    For example, a budget of 100 resets: each reset spends one, each finished stream refunds some. Ordinary traffic never uses
    the budget up, however long the connection lives; a peer that only opens and resets streams ("rapid reset",
    CVE-2023-44487) has used it up after 100 resets.
    """

    __slots__ = ("_what", "left", "size")

    def __init__(self, size: int, what: str) -> None:
        self.size = self.left = size
        self._what = what

    def spend(self) -> None:
        """Spend one unit. Raises RemoteProtocolError (ENHANCE_YOUR_CALM, §10.5) if the budget is used up."""
        self.left -= 1
        if self.left < 0:
            raise RemoteProtocolError(f"too many {self._what}", ENHANCE_YOUR_CALM)

    def refund(self, count: int) -> None:
        """Give back ``count``, for progress that the peer has made; never more than the whole budget."""
        self.left = min(self.size, self.left + count)


class ClosedStreams:
    """The most recently closed streams, so that a late frame can be told from a wrong one (§5.1).

    After our RST_STREAM, frames may arrive that the peer sent before it knew of the reset. Such frames are late, and are
    ignored (§6.4). A frame on a stream that the peer itself has ended is wrong.
    """

    REMEMBERED = 256
    """How many closed streams we remember. How an older stream was closed is unknown, so we treat its frames as late."""

    __slots__ = ("_forgotten", "_late")

    def __init__(self) -> None:
        self._late: dict[int, bool] = {}  # stream -> whether late frames are possible; in the order of closing
        self._forgotten = 0  # the highest id that was removed from _late

    def add(self, stream: int, *, late: bool) -> None:
        """Remember a closed stream. ``late``: whether late frames may come, because we have reset the stream."""
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
        """Raise RemoteProtocolError for a frame on a closed or skipped stream, unless the frame may be late (§5.1, §6.4).

        A skipped stream was never open, so no frame on it can be late, and no rule permits one: PROTOCOL_ERROR.
        """
        if stream not in self._late and stream > self._forgotten:  # §5.1.1: a new stream closes all idle streams below it
            raise RemoteProtocolError("a stream that was not opened in its order", PROTOCOL_ERROR)
        if not self._late.get(stream, True):  # on a forgotten stream, any frame may be late
            raise RemoteProtocolError("a frame on a stream that is closed", STREAM_CLOSED)


class StreamTable:
    """The streams of one connection: the open ones, and what is known of every other id.

    A frame names its stream by an id, and four cases have to be told apart (here for a server whose client's last request was
    stream 7; streams 3 and 7 are open, and we have sent a GOAWAY whose last stream is 7):

        id 3    open: the frame is for it
        id 5    closed, by END_STREAM or a reset; or skipped: a late frame, or a wrong one (see ClosedStreams)
        id 8    idle: a client's streams are odd, so nobody has opened it. Only HEADERS and PRIORITY may come (§5.1)
        id 9    above our GOAWAY: the client may not have read it yet, so everything on the stream is ignored (§6.8)

        >>> table = StreamTable(SERVER)
        >>> table.last_id = table.last_accepted = 7
        >>> three = table.add(3, "GET")
        >>> table.closed.add(5, late=True)  # we have reset it
        >>> table.find(3) is three, table.find(5), table.is_idle(8), table.find(9)
        (True, None, True, None)
    """

    __slots__ = (
        "_role", "closed", "initial_receive_window", "initial_send_window", "last_accepted", "last_id", "next_id", "open",
    )  # fmt: skip

    def __init__(self, role: Role) -> None:
        self._role = role
        self.open: dict[int, Stream] = {}
        """Streams that are open or half-closed, by id."""
        self.closed = ClosedStreams()
        self.next_id = 1
        """The id of the stream that our next request opens. It has a meaning only for a client."""
        self.last_id = 0
        """The highest id of a request that a server has received so far."""
        self.last_accepted = MAX_ID
        """The highest id that we promised to process, in our last GOAWAY."""
        self.initial_send_window = DEFAULT_WINDOW
        """Bytes that the peer lets a new stream send: its SETTINGS_INITIAL_WINDOW_SIZE."""
        self.initial_receive_window = DEFAULT_WINDOW
        """Bytes that the peer believes it may send on a new stream: our SETTINGS_INITIAL_WINDOW_SIZE, once the peer has
        acknowledged it."""

    def add(self, id_: int, method: str) -> Stream:
        """Add a new stream, for a request with this method."""
        stream = self.open[id_] = Stream(id_, method, self.initial_send_window, self.initial_receive_window)
        return stream

    def is_idle(self, id_: int) -> bool:
        """Return whether a stream was never opened (§5.1). Even ids are for pushed streams, and there are none, so
        every stream with an even id is idle."""
        return id_ & 1 == 0 or (id_ > self.last_id if self._role is SERVER else id_ >= self.next_id)

    def is_ignored(self, id_: int) -> bool:
        """Return whether our GOAWAY says that we will not process a client's stream (§6.8)."""
        return id_ > self.last_accepted and self._role is SERVER and id_ & 1 == 1

    def check_opened(self, id_: int) -> None:
        """Raise RemoteProtocolError for a frame on an idle stream (§5.1.1, §6.4). Do not call it for HEADERS that may open
        a stream, nor for PRIORITY (§5.1)."""
        if self.is_idle(id_) and not self.is_ignored(id_):
            raise RemoteProtocolError("a frame on a stream that is idle", PROTOCOL_ERROR)

    def find(self, id_: int) -> Stream | None:
        """Return the stream of a received frame; None if the frame is to be ignored, as it is late or above our GOAWAY.

        Raises RemoteProtocolError for a stream on which nothing may come (§5.1).
        """
        stream = self.open.get(id_)
        if stream is None and not self.is_ignored(id_):
            self.check_opened(id_)
            self.closed.check(id_)
        return stream

    def resize_receive_windows(self, size: int) -> None:
        """Apply our SETTINGS_INITIAL_WINDOW_SIZE, which the peer has just acknowledged, to all streams (§6.9.2)."""
        change = size - self.initial_receive_window
        self.initial_receive_window = size
        for stream in self.open.values():
            stream.receive_window.resize(stream.receive_window.size + change)
