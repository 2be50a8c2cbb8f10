r"""WebSocket: messages in both directions, over one connection that begins as HTTP (RFC 6455; over HTTP/2, RFC 8441).

A WebSocket begins with a handshake: a GET that only a WebSocket client would send, and an answer that only a WebSocket
server would give (``websocket_handshake.py``). So neither side can be tricked into the protocol (§1.3). After the handshake
each side sends *frames*.
Here are the two frames of an exchange, a client's "Hello" and a server's "Hi":

    81     85     37 fa 21 3d   7f 9f 4d 51 58      FIN + text | MASK + 5 bytes | masking key | "Hello", masked
    81     02                   48 69               FIN + text |        2 bytes |             | "Hi"

A *message* is one frame, or is split into several frames, its *fragments*. The first fragment has the opcode of the message
(text or binary), the others have the opcode 0 (continuation), and the last one has the FIN bit. *Control frames* (Ping, Pong,
Close) may come between the fragments, so a Ping is answered even in the middle of a long message. Here a server's Ping arrives
in the middle of "Hello":

    >>> client = Connection(CLIENT)
    >>> for chunk in (b"\x01\x03Hel", b"\x89\x00\x80", b"\x02lo"):
    ...     client.receive_data(chunk)
    ...     print(chunk, list(client.events()))
    b'\x01\x03Hel' []
    b'\x89\x00\x80' [Ping(data=b'')]
    b'\x02lo' [Message(data='Hello')]

A client masks each frame with a new random key. A web page's script can choose what it sends, but not which bytes go over
the wire. So the script cannot write bytes that an HTTP cache on the way would mistake for a request or a response, and store
for other users (§10.3). A server has no reason to trick a cache of its own, so its frames need no mask.

A connection ends with a Close from each side. Here the server asks to end it with the code 1001 (going away), which is
``03 e9``. The client owes a Close in return, which ``reply`` returns. After that the core sends nothing more:

    >>> client.receive_data(bytes.fromhex("8802 03e9"))
    >>> close = client.next_event()
    >>> close, client.reply(close), client.wants
    (Close(code=1001, reason=''), Close(code=1001, reason=''), <Wants.CLOSED: 'closed'>)
    >>> client.send(client.reply(close))[:2].hex(" ")  # then a random masking key, and the masked code
    '88 82'
    >>> client.send(Message("too late"))
    Traceback (most recent call last):
    minproto.core.LocalProtocolError: can't send Message in CLOSED

Received bytes pass through three stages. The first one waits for a whole header; the second stores payload as it arrives:

    the buffer --_read_header--> a frame's length and key --_read_payload--> _message (unmasked, inflated, checked) -> Message
                                                                        `--> a Ping, a Pong or a Close, once it is complete

Four things are easy to get wrong:

- Text has to be UTF-8. A wrong byte must be found when it arrives, since its message may never be complete (§8.1).
- A length can be up to 2^63 - 1 bytes. The length is checked against the limit before any byte of the payload is stored.
- A fragment may be empty. So a limit on the bytes of a message does not bound the work: the number of fragments has a limit
  of its own.
- Without a Close from the peer, nobody knows whether more messages were on their way. The code 1006 tells the app so; this
  code is never sent.

Left out: extensions other than permessage-deflate, since they are not in use; and received fragments as events, since an app
wants whole messages.
"""

import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from secrets import token_bytes
from struct import Struct

from minproto.core import (
    CLIENT,
    SERVER,
    Core,
    Event,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    Role,
    Wants,
    check_counts,
)
from minproto.deflate import Deflater, Inflater
from minproto.websocket_handshake import Agreement

# Opcodes (§5.2): the lower half of a frame's first byte. 3 to 7 and B to F are reserved, so they are errors.
CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

# Bits of a frame's first byte, and (MASKED) of its second byte. For example, 0x81 is FIN | TEXT: a whole message of text.
FIN = 0x80  # this frame is the last one of its message
RSV1 = 0x40  # the message is compressed, if permessage-deflate was agreed on (RFC 7692 §6)
RSV = 0x70  # the three reserved bits: each is 0, unless an extension gives it a meaning
CONTROL = 0x08  # set in the opcodes of control frames
OPCODE = 0x0F
MASKED = 0x80

# Close codes (§7.4.1, and IANA's registry): why a side ends the connection. A code below 3000 has a fixed meaning.
NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
NO_STATUS = 1005  # never sent: means a Close without a code
ABNORMAL = 1006  # never sent: means a connection that ended without a Close
INVALID_DATA = 1007
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013

MAX_HEADER = 14
"""Bytes of the longest header: the first two, eight of length, and four of masking key."""
MAX_CONTROL = 125
"""The maximum number of bytes of payload in a control frame (§5.5), so that the frame does not hold up a message for long."""
_LENGTH_16, _LENGTH_64, _CODE = Struct("!H"), Struct("!Q"), Struct("!H")


@dataclass(frozen=True)
class Limits:
    """The bounds that a message MUST have (§10.4), since its sender could make it endless. "Else" gives our Close code."""

    max_message: int = 1 << 20
    """Bytes of a message, after inflating. A message is delivered in one piece, so it has to fit into memory. Else 1009."""
    max_fragments: int = 131_072
    """The frames of one message. Fragments may be empty, so a limit in bytes does not bound their number. Else 1009."""

    def __post_init__(self) -> None:
        check_counts(self)


# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Message(Event):
    """A whole message: ``str`` is text, ``bytes`` is binary."""

    data: str | bytes


@dataclass(slots=True)
class Fragment(Event):
    """A part of a message that we send in parts, for example because its end is not known yet.

    The peer's app gets a whole Message. Where we cut the message has no meaning: a proxy may join or split fragments (§5.4).
    """

    data: str | bytes
    last: bool = False


@dataclass(slots=True)
class Shared(Event):
    """A message for many connections. It is encoded and compressed once for all connections with the same parameters."""

    data: str | bytes
    frames: dict[tuple[int, int] | None, bytes] = field(default_factory=dict)
    """The frames encoded so far, by (window bits, memory level) of the compression; None: not compressed."""


@dataclass(slots=True)
class Ping(Event):
    """A check that the peer is alive: the peer MUST answer with a Pong (§5.5.2)."""

    data: bytes = b""


@dataclass(slots=True)
class Pong(Event):
    """The answer to a Ping, with the Ping's data; or, unsolicited, a sign of life that needs no answer (§5.5.3)."""

    data: bytes = b""


@dataclass(slots=True)
class Close(Event):
    """The last event of each side. A Close without a code has an empty payload, and is ``Close(NO_STATUS)`` here (§7.1.5).

    A reason is for people who read logs: at most 123 bytes of UTF-8, since the code takes two of the 125 bytes. A Close
    without a reason has the reason "" (§7.1.6).
    """

    code: int = NO_STATUS
    reason: str = ""


def is_close_code(code: int) -> bool:
    """Return whether a Close may carry this code (§7.4).

    Below 3000 these are the registered codes, without 1004 (no meaning) and 1005, 1006 and 1015 (each is for reports
    to the app, and MUST NOT be sent, §7.4.1). 3000 to 4999 are for libraries and apps (§7.4.2).
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# ---- frames (§5.2) -----------------------------------------------------------------------------------------------------
#
#    0               1               2               3
#    7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0
#   +-+-+-+-+-------+-+-------------+-------------------------------+
#   |F|R|R|R|       |M|   length    |  length, if 126: 16 bits      |     The payload has "length" bytes: 0 to 125, or 126 for
#   |I|S|S|S| opcode|A|   (7 bits)  |          if 127: 64 bits      |     a number in the next 2 bytes, or 127 for one in the
#   |N|V|V|V|       |S|             |                               |     next 8, whose first bit is 0. The shortest form MUST
#   | |1|2|3|       |K|             |                               |     be used. With MASK, the payload is XORed with the 4
#   +-+-+-+-+-------+-+-------------+- - - - - - - - - - - - - - - -+     bytes of the key, over and over.
#   | ...           | masking key, if MASK: 32 bits | payload ...   |
#   +---------------+-------------------------------+---------------+


def parse_header(data: bytes) -> tuple[int, bytes, int] | None:
    """Return (length of the payload, masking key or b"", size of the header); None if the header is not complete (§5.2).

    The length has its most significant byte first, and does not count the masking key (§5.3). ``data``: at least two bytes.
    The examples are a client's header, a header with a length of 16 bits, and half a header:

        >>> parse_header(bytes.fromhex("81 85 37fa213d"))  # 85 is MASKED + 5
        (5, b'7\\xfa!=', 6)
        >>> parse_header(bytes.fromhex("82 7e 0100"))  # 7e is 126: two bytes of length follow
        (256, b'', 4)
        >>> parse_header(bytes.fromhex("82 7e 01"))

    Raises RemoteProtocolError (1002) if the length is not in its shortest form. With two forms for one length, a firewall
    and a server could read the same bytes as different frames.
    """
    length = data[1] & 127
    at = 2
    if length == 126:
        if len(data) < 4:
            return None
        length, at = _LENGTH_16.unpack_from(data, 2)[0], 4
        if length < 126:
            raise RemoteProtocolError("a length that is not encoded in the fewest bytes", PROTOCOL_ERROR)
    elif length == 127:
        if len(data) < 10:
            return None
        length, at = _LENGTH_64.unpack_from(data, 2)[0], 10
        if not 65_536 <= length < 1 << 63:
            raise RemoteProtocolError("a length that is not encoded in the fewest bytes, or over 63 bits", PROTOCOL_ERROR)
    if data[1] < MASKED:
        return length, b"", at
    return (length, data[at : at + 4], at + 4) if len(data) >= at + 4 else None


def encode_header(first: int, length: int, masked: bool) -> bytes:
    """Return a header up to the masking key. ``first``: the first byte. ``length``: bytes of the payload.

    The length MUST take the fewest bytes, the most significant byte first (§5.2). The bit MASKED says that a key follows
    (§5.3).

        >>> [encode_header(FIN | BINARY, length, masked=False).hex(" ") for length in (125, 126, 65_536)]
        ['82 7d', '82 7e 00 7e', '82 7f 00 00 00 00 00 01 00 00']
    """
    bit = MASKED if masked else 0
    if length < 126:
        return bytes((first, bit | length))
    if length < 65_536:
        return bytes((first, bit | 126)) + _LENGTH_16.pack(length)
    return bytes((first, bit | 127)) + _LENGTH_64.pack(length)


def mask(data: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """Return each byte XORed with its byte of the key: the first with key[0], the fifth with key[0] again (§5.3).

    Masking twice with the same key unmasks. The result is a copy: nobody can change it once a part of it has been sent, and
    has shown the key (§10.3). The bytes are treated as one large number, since Python has no XOR of bytes:

        >>> mask(b"Hello", bytes.fromhex("37fa213d")).hex(" ")
        '7f 9f 4d 51 58'
    """
    size = len(data)
    keys = key * (size // 4) + key[: size % 4]
    return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def encode_frame(first: int, payload: bytes, key: bytes = b"") -> bytes:
    """Return a whole frame (§5.2, §6.1). ``first``: the first byte. ``key``: four bytes to mask the payload, or b"" for no
    mask.

    The length is the payload's alone, without the key (§5.3).
    """
    return encode_header(first, len(payload), bool(key)) + key + (mask(payload, key) if key else payload)


# ---- what we may send, and when ----------------------------------------------------------------------------------------
#
#            MESSAGE          FRAGMENT                FRAGMENT
#           +----+      +-----------------------+      +----+
#           |    v      |                       v      |    v          CONTROL (a Ping or a Pong) is possible in OPEN and
#           +---- OPEN -+                       WITHIN -----+          in WITHIN, and changes neither.
#                  |    ^                       |    |
#                  |    +-----------------------+    | CLOSE
#                  |          LAST_FRAGMENT          v
#                  +------------ CLOSE ---------> CLOSED               A LAST_FRAGMENT in OPEN is a message of one fragment.
#
# This is the state of our own direction only. The peer's direction is independent of it: messages may arrive until the peer's
# Close, even after we have sent ours (§5.5.1).
#
# MESSAGE is not possible in WITHIN: a new message's first frame has an opcode other than 0, which the peer would treat as an
# error (§5.4). So an app that sends a long message in fragments holds up its other messages until the last fragment. HTTP/2
# avoids this with stream numbers in its frames (multiplexing); a WebSocket has one stream.


class State(IntEnum):
    """Which events we may send next."""

    OPEN = 0  # we are between two messages
    WITHIN = 1  # we have sent fragments of a message, but not the last one
    CLOSED = 2  # we have sent our Close, and nothing may follow it


class Step(IntEnum):
    """A kind of event to be sent: half of a key in the table of transitions."""

    MESSAGE = 0
    FRAGMENT = 1
    LAST_FRAGMENT = 2
    CONTROL = 3
    CLOSE = 4


# A fragmented message is FRAGMENT, any number of FRAGMENT, and LAST_FRAGMENT (§5.4). CLOSED has no row: nothing may follow our
# Close (§5.5.1, §6.1).
TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.OPEN, Step.MESSAGE): State.OPEN,
    (State.OPEN, Step.FRAGMENT): State.WITHIN,
    (State.OPEN, Step.LAST_FRAGMENT): State.OPEN,
    (State.OPEN, Step.CONTROL): State.OPEN,
    (State.OPEN, Step.CLOSE): State.CLOSED,
    (State.WITHIN, Step.FRAGMENT): State.WITHIN,
    (State.WITHIN, Step.LAST_FRAGMENT): State.OPEN,
    (State.WITHIN, Step.CONTROL): State.WITHIN,
    (State.WITHIN, Step.CLOSE): State.CLOSED,
}

_STEPS: dict[type[Event], Step] = {
    Message: Step.MESSAGE,
    Shared: Step.MESSAGE,
    Fragment: Step.FRAGMENT,  # or LAST_FRAGMENT
    Ping: Step.CONTROL,
    Pong: Step.CONTROL,
    Close: Step.CLOSE,
}


def step_of(event: Event) -> Step | None:
    """Return the step for an event; None for an event of another protocol."""
    if isinstance(event, Fragment) and event.last:
        return Step.LAST_FRAGMENT
    return _STEPS.get(type(event))


# ---- the connection ----------------------------------------------------------------------------------------------------

# The first bytes that a received frame may have. They are few, so one look-up in a set checks everything that §5.2, §5.4 and
# §5.5 forbid. For example, within a message 0x00 and 0x80 continue it, 0x8a is a Pong, and 0x81 would begin another message.
_CONTROLS = frozenset({FIN | CLOSE, FIN | PING, FIN | PONG})  # never in fragments (§5.4, §5.5)
_BETWEEN_MESSAGES = _CONTROLS | {FIN | TEXT, FIN | BINARY, TEXT, BINARY}  # §5.4: a whole message, or a first fragment
# With compression, a message's first frame may have RSV1; a control frame never has it (RFC 7692 §6 and §6.1).
_BETWEEN_WITH_DEFLATE = _BETWEEN_MESSAGES | {RSV1 | first for first in (FIN | TEXT, FIN | BINARY, TEXT, BINARY)}
# Within a message, the next frame MUST be a control frame or a continuation (§5.4), without RSV1 (RFC 7692 §6.1).
_WITHIN_A_MESSAGE = _CONTROLS | {FIN | CONTINUATION, CONTINUATION}

_Utf8 = getincrementaldecoder("utf-8")


class Connection(Core):
    """One end of a WebSocket, from the first byte after the handshake.

    A subclass may replace ``mask`` and ``new_key``: ``minproto.fast`` masks faster, and tests want keys that they can predict.

    This is a server, from the end of the handshake to its own Close. The client's frame arrives in two pieces:

        >>> server = Connection(SERVER)
        >>> server.receive_data(bytes.fromhex("81 85 37fa213d 7f9f"))
        >>> server.next_event(), server.wants, server.buffered
        (None, <Wants.DATA: 'data'>, 2)
        >>> server.receive_data(bytes.fromhex("4d5158"))
        >>> server.next_event()
        Message(data='Hello')
        >>> server.send(Message("Hi")).hex(" ")
        '81 02 48 69'
        >>> server.send(Close(NORMAL)).hex(" "), server.state.name
        ('88 02 03 e8', 'CLOSED')
    """

    mask = staticmethod(mask)

    @staticmethod
    def new_key() -> bytes:
        """Return a masking key of four bytes. It MUST be unpredictable, and new for each frame (§5.3 and §10.3).

        A script that could predict the key would choose its message so that the masked bytes become a request of its own.
        """
        return token_bytes(4)

    def __init__(
        self, role: Role, agreement: Agreement = Agreement(), limits: Limits = Limits()  # noqa: B008 - frozen
    ) -> None:
        # Only a header or a control frame waits in the buffer. The payload of a message is moved to _message as it arrives.
        super().__init__(MAX_HEADER + MAX_CONTROL)
        self.role = role
        self.limits = limits
        self.state = State.OPEN
        deflate = agreement.deflate
        self._deflater = Deflater.of(deflate, server=role is SERVER) if deflate else None
        self._inflater = Inflater.of(deflate, server=role is SERVER) if deflate else None
        self._text = False  # whether the message that we are sending in fragments is text
        # The frame that is being received:
        self._between_messages = _BETWEEN_WITH_DEFLATE if deflate else _BETWEEN_MESSAGES
        self._allowed_next = self._between_messages  # the first bytes that the next frame may have
        self._first_byte: int | None = None  # of the frame; None before its header is complete
        self._payload_left = 0  # bytes of the frame's payload that have not arrived
        self._key = b""  # the frame's masking key, rotated so that its first byte is for the next byte of payload
        # The message that is being received:
        self._message = bytearray()  # the message's content so far: unmasked, inflated, and valid UTF-8 if it is text
        self._opcode = TEXT  # or BINARY, as the message's first frame says
        self._inflating = False  # whether the message is compressed: its first frame had RSV1
        self._announced = 0  # bytes of payload that the headers of the message's frames have announced, before inflating
        self.fragments = 0
        """The number of frames of the unfinished message so far."""
        self._utf8 = _Utf8()  # checks text as it arrives; after a complete text it is in its first state again

    # -- receiving

    def _parse(self) -> Event | None:
        """Read frames until one of them completes an event, or until the bytes are used up (§6.2)."""
        while self.wants is not Wants.CLOSED:
            if self._first_byte is None and not self._read_header():
                return None
            event = self._read_payload()
            if event is not None or self._first_byte is not None:  # an unfinished frame: more of its payload will come
                return event
        return None

    def _read_header(self) -> bool:
        """Begin a frame if its header is complete, and return whether the header is complete.

        Every header is checked (§10.7). A fault is found at the first byte that shows it. For example, a reserved opcode is
        refused as soon as the first byte has arrived, although the length is still on its way (law 5).
        """
        head = self._buffer.peek(0, MAX_HEADER)
        if not head:
            return False
        if head[0] not in self._allowed_next:
            raise RemoteProtocolError(self._explain_refusal(head[0]), PROTOCOL_ERROR)  # §5.2, §5.4, §5.5
        if len(head) < 2:
            return False
        if (head[1] >= MASKED) is not (self.role is SERVER):  # §5.1: a client MUST mask, a server MUST NOT
            raise RemoteProtocolError("a client has to mask its frames, and a server must not mask them", PROTOCOL_ERROR)
        if head[0] & CONTROL and head[1] & 127 > MAX_CONTROL:
            raise RemoteProtocolError("a control frame of more than 125 bytes", PROTOCOL_ERROR)  # §5.5
        header = parse_header(head)
        if header is None:
            return False
        if not head[0] & CONTROL:
            self._begin_data_frame(head[0], header[0])
        self._first_byte = head[0]
        self._payload_left, self._key, size = header
        self._buffer.skip(size)
        return True

    def _explain_refusal(self, first: int) -> str:
        """Return what is wrong with a first byte that is not allowed here. Each case applies only if no earlier case does.

        For example, the first byte 0x81 (FIN + TEXT) is allowed between two messages. So if it is refused, we are within a
        message.
        """
        if first & OPCODE not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return f"reserved opcode {first & OPCODE}"  # §5.2
        if first & CONTROL:
            return "a control frame that is fragmented, or has a reserved bit"  # §5.5
        if first in self._between_messages:
            return "a new message before the last fragment of the one before"  # §5.4: so we are within a message
        if not first & RSV:
            return "a continuation without a message to continue"  # §5.4: only a continuation is left
        return "a reserved bit that was not agreed on, or that is not on a message's first frame"  # §5.2, RFC 7692 §6.1

    def _begin_data_frame(self, first: int, length: int) -> None:
        """Check a data frame against the limits, before any of its payload is stored. Raises RemoteProtocolError (1009).

        A header of 14 bytes can announce 2^63 - 1 bytes. Storing first and comparing afterwards would exhaust the memory
        (§10.4).

        A frame with an opcode begins a new message, compressed or not, and its opcode is the type of all fragments (§5.4,
        §6.2, RFC 7692 §6 and §6.1). A frame without FIN is the beginning of several; both kinds of messages are received
        (§5.4).
        """
        if first & OPCODE:  # not a continuation
            self._opcode = first & OPCODE
            self._inflating = bool(first & RSV1)
            self._announced = self.fragments = 0
        self._announced += length
        self.fragments += 1
        limit = self.limits.max_message
        # Deflate makes random data a little longer, and ends each fragment with an empty block. So we allow more than
        # zlib ever adds; max_message itself is checked after inflating.
        if self._inflating:
            limit += (limit >> 4) + 64 + 16 * self.fragments
        if self._announced > limit:
            raise RemoteProtocolError("message too big", TOO_BIG)
        if self.fragments > self.limits.max_fragments:
            raise RemoteProtocolError("too many fragments", TOO_BIG)
        self._allowed_next = self._between_messages if first & FIN else _WITHIN_A_MESSAGE

    def _read_payload(self) -> Event | None:
        """Read the payload that has arrived, and return the event that the frame completes, or None.

        When the frame is complete, ``_first_byte`` is None again. A frame that is not the last one of a message completes no
        event.
        """
        first = self._first_byte
        assert first is not None
        if first & CONTROL:
            return self._read_control(first & OPCODE)
        self._add_payload(self._take_payload())
        if self._payload_left:
            return None
        self._first_byte = None
        return self._end_message() if first & FIN else None

    def _read_control(self, opcode: int) -> Event | None:
        """Return a Ping, a Pong or a Close once it is complete (§6.2). Its payload, at most 125 bytes, waits in the buffer.

        Within a message (§5.4), the message so far stays as it is.
        """
        if self._buffer.size < self._payload_left:
            return None
        data = self._take_payload()
        self._first_byte = None
        if opcode != CLOSE:
            return Ping(data) if opcode == PING else Pong(data)
        close = _parse_close(data)
        self.wants = Wants.CLOSED  # §5.5.1, §7.1.1: after a Close, a peer MUST NOT send more, and later bytes are dropped
        return close

    def _take_payload(self) -> bytes:
        """Take the received part of the payload out of the buffer, and return it unmasked (§6.2: a server MUST unmask it).

        Only the length in the header shows where the payload ends (§10.7): it may end in the middle of a character.

        The mask continues where the last piece ended. In ``7f 9f | 4d 51 58`` the second piece begins with the third byte, so
        it is unmasked with the key rotated by two: ``21 3d 37 fa`` in place of ``37 fa 21 3d``.
        """
        data = self._buffer.take(self._payload_left)
        self._payload_left -= len(data)
        if self._key == b"" or not data:  # a server's frame has no key (four zero bytes are a key)
            return data
        unmasked = self.mask(data, self._key)
        turn = len(data) % 4  # after 5 bytes, the next byte belongs to key[1]
        self._key = self._key[turn:] + self._key[:turn]
        return unmasked

    def _add_payload(self, data: bytes) -> None:
        """Add payload to the message, after inflating it if the message is compressed (RFC 7692 §6.2).

        The compressed bytes may be anything. If the message is text, the inflated bytes have to be UTF-8 (RFC 7692 §6.1).
        """
        if not self._inflating:
            return self._store(data)
        assert self._inflater is not None
        self._store_pieces(self._inflater.inflate(data, self._room))

    def _store_pieces(self, pieces: Iterator[bytes]) -> None:
        """Add inflated pieces one by one, so that a decompression bomb is stopped at the limit."""
        try:
            for piece in pieces:
                self._store(piece)
        except zlib.error:
            raise _invalid() from None

    @property
    def _room(self) -> int:
        """The number of bytes by which the message may still grow."""
        return self.limits.max_message - len(self._message)

    def _store(self, data: bytes) -> None:
        """Append content to the message (§5.4, §6.2), and check it (§5.6, §10.4).

        If text is both too long and not UTF-8, whichever fault comes first in the text is reported. Reporting the fault that
        is found first would make the error depend on how the network has cut the bytes (law 2).
        """
        room = self._room
        self._message += data[:room]
        if self._opcode == TEXT:
            self._check_utf8(data[:room])
        if len(data) > room:
            raise RemoteProtocolError("message too big", TOO_BIG)

    def _check_utf8(self, data: bytes) -> None:
        """Fail the connection at the first byte that is not UTF-8, as §8.1 demands, wherever the text was cut."""
        try:
            self._utf8.decode(data)
        except UnicodeDecodeError:
            raise _invalid() from None
        # ED A0 to ED BF begin half a surrogate pair, which is not UTF-8. Python's decoder holds these two bytes back, and
        # finds the fault only at the third.
        if b"\xed\xa0" <= self._utf8.getstate()[0] < b"\xee":
            raise _invalid()

    def _end_message(self) -> Message:
        """Return the message, now that all of its frames have arrived, and make room for the next (§6.2).

        A compressed message ends here for its inflater, too (RFC 7692 §6.2). The app sees no frames: where the message was cut
        has no meaning (§5.4).
        """
        if self._inflating:
            assert self._inflater is not None
            self._store_pieces(self._inflater.finish(self._room))
        data = bytes(self._message)
        self._message = bytearray()
        self.fragments = 0
        return _whole_message(self._opcode, data)

    def _parse_eof(self) -> Event | None:
        """Raise RemoteProtocolError (1006): TCP can end at any byte, and only a Close says that there are no more messages."""
        raise RemoteProtocolError("the connection ended without a Close", ABNORMAL)  # §7.1.5

    @property
    def buffered(self) -> int:
        """The number of bytes received but not delivered yet, including the unfinished message."""
        return self._buffer.size + len(self._message)

    # -- sending

    def send(self, event: Event) -> bytes:
        """Return the frame for an event, and advance our state (§6.1). Raises LocalProtocolError, with nothing changed, if the
        table has no such step (nothing may follow a Close, §5.5.1), or the event's content cannot be sent."""
        step = step_of(event)
        after = None if step is None else TRANSITIONS.get((self.state, step))
        if after is None:
            raise LocalProtocolError(f"can't send {type(event).__name__} in {self.state.name}")
        encoded = self._encode_event(event)  # raises before the state changes
        self.state = after
        return encoded

    def _encode_event(self, event: Event) -> bytes:
        match event:
            case Message(data):
                return self._encode_message(data)
            case Shared():
                return self._encode_shared(event)
            case Fragment():
                return self._encode_fragment(event)
            case Close():
                return self._encode(FIN | CLOSE, _encode_close(event))
            case Ping(data) | Pong(data):
                return self._encode_control(PING if isinstance(event, Ping) else PONG, data)
        raise AssertionError(event)  # step_of knows no other event

    def _encode_control(self, opcode: int, data: bytes) -> bytes:
        """Return a Ping or a Pong. The peer answers a Ping with the same data, so the data can say which Ping it was.

        A control frame is never cut into fragments (§5.4) or compressed (RFC 7692 §6): it has FIN, and no reserved bit (§5.2,
        RFC 7692 §6.1).
        """
        if len(data) > MAX_CONTROL:  # §5.5
            raise LocalProtocolError("a control frame of more than 125 bytes")
        return self._encode(FIN | opcode, data)

    def _encode(self, first: int, payload: bytes) -> bytes:
        """Return a frame. A client masks every frame, even a Close (§5.5.1), with a new key; a server masks none (§5.1, §5.3).

        The payload is encoded now, so the app cannot change it while it is being sent (§10.3).
        """
        if self.role is CLIENT:
            key = self.new_key()
            return encode_header(first, len(payload), masked=True) + key + self.mask(payload, key)
        return encode_header(first, len(payload), masked=False) + payload

    def _encode_message(self, data: str | bytes) -> bytes:
        """Return a message in one frame (§5.4, §6.1), compressed if compression was agreed on (RFC 7692 §6.1).

        RSV1 says that the message is compressed; without an agreement it has to be 0 (§5.2). The opcode is that of the message
        before compression.
        """
        opcode, payload = encode_payload(data)
        if self._deflater is None:
            return self._encode(FIN | opcode, payload)
        return self._encode(FIN | RSV1 | opcode, self._deflater.compress(payload))

    def _encode_fragment(self, event: Fragment) -> bytes:
        """Return one frame of a message (§6.1). No reserved bit is set without an agreement (§5.2). Only the message's first
        frame has the opcode (§5.4) and the compression bit (RFC 7692 §6.1).

        ``Fragment("Hel")`` and ``Fragment("lo", last=True)`` become ``01 03 48 65 6c`` and ``80 02 6c 6f``.
        """
        opcode, payload = encode_payload(event.data)
        first = FIN if event.last else 0
        if self.state is State.OPEN:
            first |= opcode | (RSV1 if self._deflater else 0)  # later fragments have opcode 0, and no RSV1
        elif (opcode == TEXT) is not self._text:
            raise LocalProtocolError("fragments of one message are all text, or all binary")
        self._text = opcode == TEXT
        if self._deflater is not None:
            payload = self._deflater.compress(payload, last=event.last)
        return self._encode(first, payload)

    def _encode_shared(self, event: Shared) -> bytes:
        """Return the frame of a message for many connections. The first connection with given parameters encodes it."""
        if self.role is CLIENT:  # each frame from a client has a masking key of its own
            return self._encode_message(event.data)
        deflater = self._deflater
        parameters = deflater.parameters if deflater else None
        if parameters not in event.frames:
            opcode, payload = encode_payload(event.data)
            if deflater is None:
                event.frames[parameters] = encode_frame(FIN | opcode, payload)
            else:
                fresh = Deflater(*deflater.parameters, context_takeover=False)
                event.frames[parameters] = encode_frame(FIN | RSV1 | opcode, fresh.compress(payload))
        if deflater is not None:
            # The shared frame refers to no earlier message, so every peer can inflate it. Each peer adds the message to its
            # window; our own window lacks it, since another compressor made the frame. So the next message starts afresh.
            deflater.drop_window()
        return event.frames[parameters]

    def reply(self, event: Event) -> Event | None:
        """Return a Pong for a Ping (§5.5.2) and a Close for the peer's Close (§5.5.1); after our own Close, None.

        The Pong has the data of the Ping, and a Pong is not answered (§5.5.3). Literally, §5.5.2 asks for a Pong until the
        peer's Close has arrived, even after our own. But a peer that has read our Close may treat any later frame as an error.
        """
        if self.state is State.CLOSED:
            return None
        if isinstance(event, Ping):
            return Pong(event.data)
        return Close(event.code) if isinstance(event, Close) else None

    def farewell(self, error: ProtocolError) -> list[Event]:
        """Return a Close that says what was wrong (§7.1.7); nothing if we have sent a Close, or if the connection is lost."""
        if self.state is State.CLOSED or error.code == ABNORMAL:
            return []
        return [Close(error.code or PROTOCOL_ERROR, str(error))]


# ---- helpers -----------------------------------------------------------------------------------------------------------


def _whole_message(opcode: int, data: bytes) -> Message:
    """Return the Message for an opcode and a payload. Raises RemoteProtocolError (1007) for text that is not UTF-8 (§5.6,
    §8.1).

    Here only a character that the end of the message cuts in half is still to be found.
    """
    if opcode == BINARY:
        return Message(data)
    try:
        return Message(data.decode())
    except UnicodeDecodeError:
        raise _invalid() from None


def _invalid() -> RemoteProtocolError:
    """Return the error that reports wrong UTF-8 as well as wrong compressed data.

    In compressed text both can be wrong, and the network's cuts decide which of the two faults is found first. With one
    error for both, the cuts make no difference (law 2).
    """
    return RemoteProtocolError("text that is not UTF-8, or data that can't be inflated", INVALID_DATA)


def encode_payload(data: str | bytes) -> tuple[int, bytes]:
    """Return the opcode (§6.1) and the payload of a message. Raises LocalProtocolError for text with half a surrogate pair: it
    has no UTF-8 (§5.6)."""
    if isinstance(data, str):
        try:
            return TEXT, data.encode()
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"text that has no UTF-8: {error.reason}") from None
    return BINARY, data


def _parse_close(data: bytes) -> Close:
    """Return the Close for a payload: nothing, or a code of two bytes and a reason in UTF-8 (§5.5.1).

        >>> _parse_close(bytes.fromhex("03e8 627965"))
        Close(code=1000, reason='bye')

    A missing code counts as 1005 (§7.1.5), and a missing reason as "" (§7.1.6).

    Raises RemoteProtocolError: 1002 for half a code, or for a code that no Close may carry, such as 1006 (§7.4.1); 1007 for a
    reason that is not UTF-8 (§8.1).
    """
    if not data:
        return Close()
    if len(data) < _CODE.size:
        raise RemoteProtocolError("a Close with half a code", PROTOCOL_ERROR)
    code = _CODE.unpack_from(data)[0]
    if not is_close_code(code):
        raise RemoteProtocolError(f"a Close with the code {code}, which no Close may carry", PROTOCOL_ERROR)
    try:
        return Close(code, data[2:].decode())
    except UnicodeDecodeError:
        raise _invalid() from None


def _encode_close(event: Close) -> bytes:
    """Return the payload of a Close: its code and its reason (§5.5.1, §7.1.2).

    Raises LocalProtocolError for a code that no Close may carry (§7.4.1), or a reason too long: a control frame has at most
    125 bytes (§5.5).
    """
    if event.code == NO_STATUS and not event.reason:
        return b""
    if not is_close_code(event.code):
        raise LocalProtocolError(f"a Close can't carry {event.code}")
    reason = encode_payload(event.reason)[1]
    if len(reason) > MAX_CONTROL - _CODE.size:
        raise LocalProtocolError("the reason of a Close has at most 123 bytes")
    return _CODE.pack(event.code) + reason
