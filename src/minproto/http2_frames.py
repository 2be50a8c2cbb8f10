r"""HTTP/2's frames as bytes (RFC 9113 §4, §6): a header of nine bytes, then a payload of one of ten types.

Everything sent on an HTTP/2 connection is a sequence of frames. This is a client's request for ``/`` as one HEADERS frame:

    00 00 03   01     05                        00 00 00 01   82 84 86
    length 3   HEADERS END_STREAM|END_HEADERS   stream 1      field block: :method GET, :path /, :scheme http

    >>> parse_header(bytes.fromhex("000003 01 05 00000001"))
    Header(length=3, type=1, flags=5, stream=1)
    >>> encode_frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x84\x86").hex(" ")
    '00 00 03 01 05 00 00 00 01 82 84 86'

The header alone says how long the payload is and which stream it belongs to. So most faults of a frame are visible before its
payload arrives. ``check_header`` is called as soon as the nine bytes have arrived, so a frame that announces 16 megabytes is
refused before we store any of its payload.

A fault concerns the whole connection, or one stream (§5.4). Here RemoteProtocolError is a connection fault, and
StreamError is a stream fault. Both carry the error code to send to the peer (§7).

Frames of an unknown type, and unknown flags, are ignored (§4.1, §5.5): later versions of the protocol may add some. Two old
parts of HTTP/2 are left out. PUSH_PROMISE is always an error, because this package never lets a server push (§8.4). The
priorities of RFC 7540, five bytes in HEADERS and PRIORITY, are checked but not followed (§5.3.2); RFC 9218 replaces them.
"""

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from minproto.core import LocalProtocolError, RemoteProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes from every client (§3.4). An HTTP/1.1 server takes them for a request in an unknown version, and closes
the connection."""

# Frame types (§6).
DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9

# Flags. The meaning of a bit depends on the type of the frame.
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

# Error codes (§7).
NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FLOW_CONTROL_ERROR = 0x3
SETTINGS_TIMEOUT = 0x4
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
CONNECT_ERROR = 0xA
ENHANCE_YOUR_CALM = 0xB
INADEQUATE_SECURITY = 0xC
CODES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip


def code_name(code: int) -> str:
    """Return the name of an error code (§7), or for example "code 99" for a code that RFC 9113 does not define (§5.5)."""
    return CODES[code] if code < len(CODES) else f"code {code}"


# Settings (§6.5.2, RFC 8441 §3, RFC 9218 §2.1).
HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6
ENABLE_CONNECT_PROTOCOL = 0x8
NO_RFC7540_PRIORITIES = 0x9

MAX_FRAME = 16_384
"""The maximum number of bytes of payload in a frame. Each end MUST accept this many (§4.2). This package neither sends nor
accepts more."""
MAX_ID = (1 << 31) - 1
"""The highest id of a stream (31 bits); also the largest flow-control window, in bytes (§6.9.1)."""


class StreamError(Exception):
    """A fault by the peer that concerns only one stream (§5.4.2). ``code`` is the error code for the RST_STREAM."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


# ---- the header (§4.1) -------------------------------------------------------------------------------------------------
#
#   +-----------------------------------------------+
#   |                 Length (24)                   |     Bytes of the payload; the header's nine are not counted.
#   +---------------+---------------+---------------+     R: a reserved bit, sent as 0 and ignored.
#   |   Type (8)    |   Flags (8)   |                     Stream 0 means the connection itself.
#   +-+-------------+---------------+-------------------------------+
#   |R|                 Stream Identifier (31)                      |
#   +=+=============================================================+
#   |                   Frame Payload (0...)                      ...
#   +---------------------------------------------------------------+

_HEADER = Struct("!HBBBL")
HEADER_SIZE = _HEADER.size


class Frame(NamedTuple):
    """A whole frame, as received."""

    type: int
    flags: int
    stream: int
    payload: bytes


class Header(NamedTuple):
    """The header of a frame."""

    length: int
    type: int
    flags: int
    stream: int


def parse_header(data: bytes, start: int = 0) -> Header:
    """Return the header that begins at ``start``. The caller has made sure that nine bytes are there."""
    high, low, type_, flags, stream = _HEADER.unpack_from(data, start)
    return Header(high << 8 | low, type_, flags, stream & MAX_ID)  # the mask drops the reserved bit, as §4.1 demands


def encode_frame(type_: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame.

    ``flags`` are flags that have a meaning for the type: all other bits MUST be 0 (§4.1). ``stream`` has at most 31 bits, so
    the reserved bit before it is 0 as well.
    """
    length = len(payload)
    return _HEADER.pack(length >> 8, length & 0xFF, type_, flags, stream) + payload


_OF_A_STREAM = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_OF_THE_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})
_EXACT_LENGTH = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}  # §6.4, §6.7, §6.9


def check_header(header: Header) -> None:
    """Raise RemoteProtocolError for a connection fault that is visible in the header alone.

    The first check bounds our memory: a payload is stored in one piece, so its length has to be checked before the payload
    arrives.

    A wrong length is a connection fault (§4.2) for HEADERS, CONTINUATION and SETTINGS, and for each frame on stream 0. For
    RST_STREAM and WINDOW_UPDATE their own sections say so. PRIORITY has its check in ``check_priority``.
    """
    length, type_, flags, stream = header
    if length > MAX_FRAME:  # §4.2: a fault of the connection for types that could alter its state; here for all types
        raise RemoteProtocolError("a frame larger than SETTINGS_MAX_FRAME_SIZE", FRAME_SIZE_ERROR)
    # On stream 0, the connection itself, there is no message (§6.1, §6.2, §6.3, §6.4, §6.6, §6.10); and on a stream there is
    # nothing that all streams share (§6.5, §6.7, §6.8). A peer that mixes them up does not count streams as we do.
    if type_ in _OF_A_STREAM and not stream:
        raise RemoteProtocolError("a frame that needs a stream came on stream 0", PROTOCOL_ERROR)
    if type_ in _OF_THE_CONNECTION and stream:
        raise RemoteProtocolError("a frame of the connection came on a stream", PROTOCOL_ERROR)
    if type_ == PUSH_PROMISE:  # §8.4, §6.6: a client MUST NOT push, and our client's first frame has disabled push (§6.5.2)
        raise RemoteProtocolError("push is not wanted", PROTOCOL_ERROR)
    if length != _EXACT_LENGTH.get(type_, length) or length < _least_length(type_, flags):
        raise RemoteProtocolError("a frame of a wrong length", FRAME_SIZE_ERROR)
    if type_ == SETTINGS and (length % SETTING_SIZE or (flags & ACK and length)):  # §6.5: six bytes each; an ACK says nothing
        raise RemoteProtocolError("settings of a wrong length", FRAME_SIZE_ERROR)


def _least_length(type_: int, flags: int) -> int:
    """Return the minimum number of bytes that a payload needs for the fields that its flags announce (§4.2)."""
    if type_ == HEADERS:
        return (1 if flags & PADDED else 0) + (_DEPENDENCY if flags & PRIORITIZED else 0)
    return 8 if type_ == GOAWAY else 1 if type_ == DATA and flags & PADDED else 0


# ---- payloads ----------------------------------------------------------------------------------------------------------
#
#   DATA            [ pad length (8) ]  data  [ padding ]                                                          (§6.1)
#   HEADERS         [ pad length (8) ] [ E (1), stream dependency (31), weight (8) ]  field block  [ padding ]     (§6.2)
#   PRIORITY        E (1), stream dependency (31), weight (8)                                                      (§6.3)
#   RST_STREAM      error code (32)                                                                                (§6.4)
#   SETTINGS        *( identifier (16), value (32) )                                                               (§6.5)
#   PUSH_PROMISE    [ pad length (8) ]  R (1), promised stream (31)  field block  [ padding ]                      (§6.6)
#   PING            8 opaque bytes                                                                                 (§6.7)
#   GOAWAY          R (1), last stream (31), error code (32), debug data                                           (§6.8)
#   WINDOW_UPDATE   R (1), increment (31)                                                                          (§6.9)
#   CONTINUATION    field block                                                                                   (§6.10)

_NUMBER = Struct("!L")
_SETTING = Struct("!HL")
SETTING_SIZE = _SETTING.size
_GOAWAY = Struct("!LL")
_DEPENDENCY = 5  # bytes


def parse_data(frame: Frame) -> bytes:
    """Return the content of a DATA frame, without its padding. Flow control counts the whole payload (§6.1).

    The test is for one bit, not for a value of the byte: flags that DATA does not have are ignored (§4.1).
    """
    return _unpadded(frame) if frame.flags & PADDED else frame.payload


def parse_headers(frame: Frame, *, ignore_priority: bool = False) -> bytes:
    """Return the field block of a HEADERS frame (§6.2), or the first part of it if CONTINUATION frames follow.

    Flags that HEADERS does not have are ignored (§4.1). The priority is dropped. With ``ignore_priority`` its content cannot
    be a fault either (RFC 9218 §2.1).
    """
    block = _unpadded(frame) if frame.flags & PADDED else frame.payload
    if not frame.flags & PRIORITIZED:
        return block
    if len(block) < _DEPENDENCY:  # §6.2: the padding leaves no room for the priority fields
        raise RemoteProtocolError("more padding than payload", PROTOCOL_ERROR)
    if not ignore_priority:
        _check_dependency(block, frame.stream, RemoteProtocolError)  # after a StreamError, the block would stay undecoded
    return block[_DEPENDENCY:]


def _unpadded(frame: Frame) -> bytes:
    """Return a payload without its pad length and padding (§6.1, §6.2).

    The payload begins with the byte that says how much padding there is, so padding of the payload's length does not fit. A
    parser that subtracts without checking gets a negative length, and reads memory that belongs to something else.
    """
    payload = frame.payload
    end = len(payload) - payload[0]
    if end < 1:
        raise RemoteProtocolError("more padding than payload", PROTOCOL_ERROR)
    return payload[1:end]


def check_priority(frame: Frame, *, ignore_priority: bool = False) -> None:
    """Check a PRIORITY frame, which tells us nothing. Raises StreamError if its payload does not have five bytes (§6.3).

    With ``ignore_priority`` the content of these five bytes cannot be a fault (RFC 9218 §2.1).
    """
    if len(frame.payload) != _DEPENDENCY:
        raise StreamError("PRIORITY of a wrong length", FRAME_SIZE_ERROR)
    if not ignore_priority:
        _check_dependency(frame.payload, frame.stream, StreamError)


def _check_dependency(payload: bytes, stream: int, fault: Callable[[str, int], Exception]) -> None:
    """Raise ``fault`` for a stream that depends on itself: RFC 7540 §5.3.1 forbids no other dependency."""
    if _NUMBER.unpack_from(payload)[0] & MAX_ID == stream:
        raise fault("a stream that depends on itself", PROTOCOL_ERROR)


def parse_number(payload: bytes) -> int:
    """Return the error code of a RST_STREAM frame: 32 bits. Codes that RFC 9113 does not define are valid too (§5.5, §7)."""
    return int(_NUMBER.unpack(payload)[0])


def parse_window_update(payload: bytes) -> int:
    """Return the increment of a WINDOW_UPDATE frame. An increment of 0 is a stream error or a connection error (§6.9)."""
    return int(_NUMBER.unpack(payload)[0]) & MAX_ID


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return (identifier, value) pairs in the order received. Raises RemoteProtocolError for a value out of range: the frame
    is badly formed (§6.5)."""
    settings = list(_SETTING.iter_unpack(payload))
    for name, value in settings:
        _check_setting(name, value)
    return settings


def _check_setting(name: int, value: int) -> None:
    """Raise RemoteProtocolError for a value out of its range (§6.5.2, RFC 8441 §3, RFC 9218 §2.1).

    A setting that we do not know has no range, and is ignored (§5.5).
    """
    if name in (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES) and value > 1:
        raise RemoteProtocolError(f"setting {name:#x} is 0 or 1, not {value}", PROTOCOL_ERROR)
    if name == INITIAL_WINDOW_SIZE and value > MAX_ID:
        raise RemoteProtocolError(f"SETTINGS_INITIAL_WINDOW_SIZE is {value}, over 2^31-1", FLOW_CONTROL_ERROR)
    if name == MAX_FRAME_SIZE and not MAX_FRAME <= value < 1 << 24:
        raise RemoteProtocolError(f"SETTINGS_MAX_FRAME_SIZE is {value}, out of its range of 2^14 to 2^24-1", PROTOCOL_ERROR)


def parse_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """Return (last stream, error code, debug data) of a GOAWAY frame."""
    last, code = _GOAWAY.unpack_from(payload)
    return last & MAX_ID, code, payload[_GOAWAY.size :]


def encode_headers(stream: int, block: bytes, end_stream: bool) -> bytes:
    """Return a field block as a HEADERS frame, followed by as many CONTINUATION frames as the block needs (§4.3, §6.2, §6.10).

    The frames are returned together, so that no other frame can come between them (§8.1). No frame exceeds 16,384 bytes, and
    no other flag is set (§4.1), not even PRIORITIZED: servers ignore the priorities of RFC 7540 (RFC 9218 §2.1.1). END_STREAM
    is a flag of the first frame, END_HEADERS of the last one. So 16,387 bytes take two frames:

        >>> both = encode_headers(1, bytes(16_387), end_stream=True)
        >>> parse_header(both), parse_header(both, 9 + 16_384)
        (Header(length=16384, type=1, flags=1, stream=1), Header(length=3, type=9, flags=4, stream=1))
    """
    first, rest = block[:MAX_FRAME], block[MAX_FRAME:]
    flags = END_STREAM if end_stream else 0
    if not rest:
        return encode_frame(HEADERS, flags | END_HEADERS, stream, first)
    frames = [encode_frame(HEADERS, flags, stream, first)]
    for start in range(0, len(rest), MAX_FRAME):
        last = start + MAX_FRAME >= len(rest)
        frames.append(encode_frame(CONTINUATION, END_HEADERS if last else 0, stream, rest[start : start + MAX_FRAME]))
    return b"".join(frames)


def encode_settings(settings: list[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame: of the connection, so on stream 0 (§6.5). Raises LocalProtocolError for a value that the
    setting cannot have (§6.5.2, RFC 9218 §2.1)."""
    try:
        for name, value in settings:
            _check_setting(name, value)
    except RemoteProtocolError as error:
        raise LocalProtocolError(str(error)) from None
    return encode_frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*setting) for setting in settings]))


def encode_rst_stream(stream: int, code: int) -> bytes:
    """Return a RST_STREAM frame (§6.4)."""
    return encode_frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def encode_goaway(last: int, code: int, debug: bytes) -> bytes:
    """Return a GOAWAY frame: streams above ``last`` were not, and will not be, processed (§6.8)."""
    return encode_frame(GOAWAY, 0, 0, _GOAWAY.pack(last, code) + debug)


def encode_window_update(stream: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame, for a stream or (0) for the connection (§6.9)."""
    return encode_frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))
