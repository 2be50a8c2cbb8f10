r"""HTTP/2's settings: the limits that each end sets for the other, and the moment they take effect (RFC 9113 §6.5).

Each end sends a SETTINGS frame as its first frame, and may send more at any time. This is the payload of our client's
first SETTINGS frame, three settings of six bytes (an identifier and a value):

    00 02  00 00 00 00     ENABLE_PUSH 0: the server must not push
    00 04  00 02 00 00     INITIAL_WINDOW_SIZE 131072: a stream may hold this many bytes of DATA that our app has not taken
    00 06  00 01 00 00     MAX_HEADER_LIST_SIZE 65536: the fields of a message may have this many bytes

These are all the settings that we know. Other settings are ignored, and a value out of range ends the connection:

    0x1  HEADER_TABLE_SIZE           bytes of compression table, at first 4,096
    0x2  ENABLE_PUSH                 0 or 1
    0x3  MAX_CONCURRENT_STREAMS      streams that the other end may have open; at first unlimited
    0x4  INITIAL_WINDOW_SIZE         bytes, up to 2^31-1 (else FLOW_CONTROL_ERROR); at first 65,535
    0x5  MAX_FRAME_SIZE              bytes of a payload, 16,384 to 2^24-1 (else PROTOCOL_ERROR)
    0x6  MAX_HEADER_LIST_SIZE        bytes of a head, decoded
    0x8  ENABLE_CONNECT_PROTOCOL     0 or 1: CONNECT may open a WebSocket; never back to 0 (RFC 8441 §3)
    0x9  NO_RFC7540_PRIORITIES       0 or 1: PRIORITY frames are not followed (RFC 9218 §2.1)

A setting is not an offer, and is not negotiated. Its sender states a fact about itself, and the receiver MUST respect it and
acknowledge the frame, with an empty SETTINGS frame that has the flag ACK. So settings take effect at two different moments,
which is easy to get wrong:

- **The peer's settings take effect at once.** We apply them when they arrive, in the order listed, and then acknowledge them.
- **Our own settings take effect when the peer's ACK arrives.** The peer may have sent the frames before the ACK without
  knowing our settings. If we make our streams' windows smaller, for example, DATA that fits the old window is valid until
  the ACK.

An ACK has no number. Frames are acknowledged in the order in which they were sent, so an ACK is for the oldest unacknowledged
frame:

    >>> exchange = SettingsExchange(Role.SERVER)
    >>> exchange.sent([(4, 100)]), exchange.sent([(4, 50)])
    (None, None)
    >>> exchange.acknowledged, exchange.receive_ack(), exchange.receive_ack(), exchange.acknowledged
    (False, [(4, 100)], [(4, 50)], True)

This class only keeps track. The effects of a setting (on windows, on the compression table) are in ``http2.py``.
"""

from minproto.core import CLIENT, LocalProtocolError, RemoteProtocolError, Role
from minproto.http2_frames import (
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME,
    MAX_FRAME_SIZE,
    MAX_ID,
    NO_RFC7540_PRIORITIES,
    PROTOCOL_ERROR,
)

Values = list[tuple[int, int]]
"""The content of a SETTINGS frame: (identifier, value) pairs, in the order sent."""

STREAMS_BEFORE_SETTINGS = 100
"""How many streams a client may open before it knows the server's limit. §6.5.2 asks servers to allow no fewer than 100."""


class SettingsExchange:
    """The settings of both ends, and which of them are not acknowledged yet."""

    __slots__ = ("_connect_enabled", "_first", "_role", "_to_acknowledge", "_unacknowledged", "peer", "received")

    def __init__(self, role: Role) -> None:
        self._role = role
        self.peer: dict[int, int] = {}
        """The settings that the peer has sent so far: identifier -> value. A missing setting has its default."""
        self.received = False
        """Whether the peer's first SETTINGS frame has arrived."""
        self._connect_enabled = False  # we have sent ENABLE_CONNECT_PROTOCOL with the value 1
        self._first: dict[int, int] | None = None  # the content of our first frame; None before it
        self._unacknowledged: list[Values] = []  # our frames without an ACK, oldest first
        self._to_acknowledge = 0  # the peer's frames that we have not acknowledged

    # -- our settings

    def check(self, values: Values) -> None:
        """Raise LocalProtocolError for a setting that is in its range, but that this end may not send."""
        enabled = self._connect_enabled
        for name, value in values:
            if name == MAX_FRAME_SIZE and value > MAX_FRAME:  # the reader stores whole frames, and has no more room
                raise LocalProtocolError("frames above 16 KiB are not taken")
            if name == ENABLE_PUSH and value:  # §6.5.2: a server MUST NOT enable push; our client could not take any
                raise LocalProtocolError("push can't be enabled")
            if name == ENABLE_CONNECT_PROTOCOL:
                if enabled and not value:  # RFC 8441 §3: a client may be about to use what we have announced
                    raise LocalProtocolError("extended CONNECT can't be disabled")
                enabled = enabled or value == 1
            # RFC 9218 §2.1: this setting is in the first frame or in none. The peer decides at that moment whether it
            # keeps track of priorities at all. Chrome ends a connection whose server changes the setting later.
            if name == NO_RFC7540_PRIORITIES and self._first is not None and self._first.get(name) != value:
                raise LocalProtocolError("NO_RFC7540_PRIORITIES can't change after the first SETTINGS")

    def sent(self, values: Values) -> None:
        """Note that we have sent a SETTINGS frame: from now on an ACK is awaited (§6.5.3)."""
        if self._first is None:
            self._first = dict(values)
        self._connect_enabled = self._connect_enabled or (ENABLE_CONNECT_PROTOCOL, 1) in values
        self._unacknowledged.append(values)

    def receive_ack(self) -> Values:
        """Process the peer's ACK, and return the settings that take effect now; [] if the ACK was unexpected (§6.5.3)."""
        return self._unacknowledged.pop(0) if self._unacknowledged else []

    @property
    def acknowledged(self) -> bool:
        """Return whether the peer has acknowledged all our settings. A shell waits for the ACK only for a limited time
        (§6.5.3)."""
        return not self._unacknowledged

    # -- the peer's settings

    def receive(self, name: int, value: int) -> None:
        """Store one of the peer's settings. Raises RemoteProtocolError if the setting may not be changed in this way.

        The range of a value has been checked already, by ``http2_frames``.
        """
        if name == ENABLE_PUSH and value and self._role is CLIENT:  # §6.5.2: only a client can allow push
            raise RemoteProtocolError("a server can't enable push", PROTOCOL_ERROR)
        if name == ENABLE_CONNECT_PROTOCOL and not value and self.peer.get(name):  # RFC 8441 §3
            raise RemoteProtocolError("what was enabled can't be disabled", PROTOCOL_ERROR)
        self.peer[name] = value

    def received_frame(self) -> None:
        """Note that all settings of a frame were applied: the frame has to be acknowledged (§6.5.3)."""
        self._to_acknowledge += 1

    def send_ack(self) -> None:
        """Note that we acknowledge the peer's oldest frame (§6.5.3). Raises LocalProtocolError if all are acknowledged."""
        if not self._to_acknowledge:
            raise LocalProtocolError("there are no settings to acknowledge")
        self._to_acknowledge -= 1

    @property
    def max_streams(self) -> int:
        """The number of streams that the peer lets us have open at once. Unlimited if it has set no limit (§5.1.2). A limit of
        0 is a limit like any other (§6.5.2): the peer may raise it at any time."""
        return self.peer.get(MAX_CONCURRENT_STREAMS, MAX_ID if self.received else STREAMS_BEFORE_SETTINGS)
