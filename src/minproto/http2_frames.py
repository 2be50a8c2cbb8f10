"""HTTP/2's frames as bytes (RFC 9113 §4, §6): a header of nine bytes, and ten types of payload.

All that an HTTP/2 connection says is a sequence of frames. The header alone tells how long the payload is and which stream it
belongs to, so most of what can be wrong with a frame is known before its payload comes: ``check_header`` looks at nothing
else, and it is asked as soon as nine bytes are there. What is wrong has a code, which the peer is told (§7), and it concerns
either one stream, or the connection: what is raised here does the latter, except where a ``StreamError`` says otherwise.

A type or flag that is not known means nothing and is passed over (§4.1, §5.5). Left out is what nobody should send any more:
PUSH_PROMISE is refused by its type (we never let a server push, §8.4), and the five bytes of priority are read over (§5.3.2).
"""

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from minproto.core import LocalProtocolError, RemoteProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (§3.4). To a server of HTTP/1.1 it is a request that can't be understood."""

# Frame types (§6).
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

# Flags; what a bit means depends on the type.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

# Error codes (§7).
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = range(7, 13)
CODES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip


def code_name(code: int) -> str:
    """Return the name of an error code (§7), or "code 99" for one that RFC 9113 does not define."""
    return CODES[code] if code < len(CODES) else f"code {code}"


# Settings (§6.5.2, RFC 8441 §3, RFC 9218 §2.1).
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

MAX_FRAME = 16_384
"""Bytes of payload that each end has to accept, and that neither of ours sends or takes more of (§4.2)."""
MAX_ID = (1 << 31) - 1
"""Of a stream; also the largest window (§6.9.1)."""


class StreamError(Exception):
    """A fault that concerns one stream only (§5.4.2); ``code`` is what its RST_STREAM says."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


# ---- the header (§4.1) -------------------------------------------------------------------------------------------------
#
#   +-----------------------------------------------+
#   |                 Length (24)                   |     Length of the payload, without these nine bytes.
#   +---------------+---------------+---------------+     R: to be sent as 0, and to be ignored.
#   |   Type (8)    |   Flags (8)   |                     Stream 0 is the connection itself.
#   +-+-------------+---------------+-------------------------------+
#   |R|                 Stream Identifier (31)                      |
#   +=+=============================================================+
#   |                   Frame Payload (0...)                      ...
#   +---------------------------------------------------------------+

_HEADER = Struct("!HBBBL")
HEADER_SIZE = _HEADER.size


class Frame(NamedTuple):
    """A frame as it was received."""

    type: int
    flags: int
    stream: int
    payload: bytes


class Header(NamedTuple):
    """The nine bytes before a payload."""

    length: int
    type: int
    flags: int
    stream: int


def parse_header(data: bytes, start: int = 0) -> Header:
    """The header that begins at ``start``, where nine bytes have to be."""
    high, low, type_, flags, stream = _HEADER.unpack_from(data, start)
    return Header(high << 8 | low, type_, flags, stream & MAX_ID)


def encode_frame(type_: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    length = len(payload)
    return _HEADER.pack(length >> 8, length & 0xFF, type_, flags, stream) + payload


_OF_A_STREAM = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_OF_THE_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})
_EXACT_LENGTH = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}


def check_header(header: Header) -> None:
    """Raise RemoteProtocolError for what the header alone shows to be a fault of the connection."""
    length, type_, flags, stream = header
    if length > MAX_FRAME:  # §4.2: of the connection, too, where a frame could alter the state of the connection
        raise RemoteProtocolError("a frame larger than SETTINGS_MAX_FRAME_SIZE", FRAME_SIZE_ERROR)
    if type_ in _OF_A_STREAM and not stream:
        raise RemoteProtocolError("a frame that needs a stream came on none", PROTOCOL_ERROR)
    if type_ in _OF_THE_CONNECTION and stream:
        raise RemoteProtocolError("a frame of the connection came on a stream", PROTOCOL_ERROR)
    if type_ == PUSH_PROMISE:  # §8.4: from a client always; from a server since we disabled it
        raise RemoteProtocolError("push is not wanted", PROTOCOL_ERROR)
    if length != _EXACT_LENGTH.get(type_, length) or length < _least_length(type_, flags):
        raise RemoteProtocolError("a frame of a wrong length", FRAME_SIZE_ERROR)
    if type_ == SETTINGS and (length % SETTING_SIZE or (flags & ACK and length)):  # §6.5
        raise RemoteProtocolError("settings of a wrong length", FRAME_SIZE_ERROR)


def _least_length(type_: int, flags: int) -> int:
    """Bytes that a payload has to have for what its flags promise."""
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
    """The data of a DATA frame without its padding. All of the payload counts for flow control (§6.1)."""
    return _unpadded(frame) if frame.flags & PADDED else frame.payload


def parse_headers(frame: Frame) -> bytes:
    """The field block (or its first part) of a HEADERS frame."""
    block = _unpadded(frame) if frame.flags & PADDED else frame.payload
    if not frame.flags & PRIORITIZED:
        return block
    if len(block) < _DEPENDENCY:  # §6.2: padding that leaves no room for the rest is as wrong as padding beyond the frame
        raise RemoteProtocolError("more padding than payload", PROTOCOL_ERROR)
    _check_dependency(block, frame.stream, RemoteProtocolError)  # of the connection, since its field block is not decoded
    return block[_DEPENDENCY:]


def _unpadded(frame: Frame) -> bytes:
    """§6.1: padding that is as long as the payload, or longer, is a connection error."""
    payload = frame.payload
    end = len(payload) - payload[0]
    if end < 1:
        raise RemoteProtocolError("more padding than payload", PROTOCOL_ERROR)
    return payload[1:end]


def check_priority(frame: Frame) -> None:
    """§6.3: PRIORITY has five bytes, or else it is an error of its stream. What they say, nobody follows any more."""
    if len(frame.payload) != _DEPENDENCY:
        raise StreamError("PRIORITY of a wrong length", FRAME_SIZE_ERROR)
    _check_dependency(frame.payload, frame.stream, StreamError)


def _check_dependency(payload: bytes, stream: int, fault: Callable[[str, int], Exception]) -> None:
    """The one thing that could be wrong with it (RFC 7540 §5.3.1)."""
    if _NUMBER.unpack_from(payload)[0] & MAX_ID == stream:
        raise fault("a stream that depends on itself", PROTOCOL_ERROR)


def parse_number(payload: bytes) -> int:
    """The error code of RST_STREAM."""
    return int(_NUMBER.unpack(payload)[0])


def parse_window_update(payload: bytes) -> int:
    """The increment; 0 is an error, of whom depends on the stream (§6.9)."""
    return int(_NUMBER.unpack(payload)[0]) & MAX_ID


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """(identifier, value) in the order received. Raises RemoteProtocolError for a value that none can have (§6.5.2)."""
    settings = list(_SETTING.iter_unpack(payload))
    for name, value in settings:
        _check_setting(name, value)
    return settings


def _check_setting(name: int, value: int) -> None:
    if name in (ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES) and value > 1:
        raise RemoteProtocolError("a setting that is 0 or 1 has another value", PROTOCOL_ERROR)
    if name == INITIAL_WINDOW_SIZE and value > MAX_ID:
        raise RemoteProtocolError("SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1", FLOW_CONTROL_ERROR)
    if name == MAX_FRAME_SIZE and not MAX_FRAME <= value < 1 << 24:
        raise RemoteProtocolError("SETTINGS_MAX_FRAME_SIZE out of its range", PROTOCOL_ERROR)


def parse_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """(last stream, error code, debug data)."""
    last, code = _GOAWAY.unpack_from(payload)
    return last & MAX_ID, code, payload[_GOAWAY.size :]


def encode_headers(stream: int, block: bytes, end_stream: bool) -> bytes:
    """A field block as one HEADERS frame and as many CONTINUATION frames as it takes (§4.3)."""
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
    """Raises LocalProtocolError for what no setting can be."""
    try:
        for name, value in settings:
            _check_setting(name, value)
    except RemoteProtocolError as error:
        raise LocalProtocolError(str(error)) from None
    return encode_frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*setting) for setting in settings]))


def encode_rst_stream(stream: int, code: int) -> bytes:
    return encode_frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def encode_goaway(last: int, code: int, debug: bytes) -> bytes:
    return encode_frame(GOAWAY, 0, 0, _GOAWAY.pack(last, code) + debug)


def encode_window_update(stream: int, increment: int) -> bytes:
    return encode_frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(increment))
