"""WebSocket: messages in both directions over one connection that began as HTTP (RFC 6455, RFC 8441).

A client asks for it in a GET that only a WebSocket client would send, and the server answers in a way that only a WebSocket
server would, so that neither can be tricked into it by the other (§1.3). From then on each side sends *frames*: a header of
2 to 14 bytes and a payload. A message is one frame or several fragments; control frames (Ping, Pong, Close) may stand
between those. A client masks what it sends, with a new random key for each frame: what a script chooses to send can then
not be made to look like HTTP to some cache on the way (§10.3).

Three things are easy to get wrong. Text has to be UTF-8, and a wrong byte has to be found when it comes, not when its message
is complete, which may be never. A length can be 2^63, so it is checked before anything is stored. And a connection ends with a
Close from each side: whoever only sees the stream end can't know whether it has everything (1006).

Left out: extensions other than permessage-deflate (none is in use), fragments as events (who receives gets whole messages).
"""

import re
import zlib
from base64 import b64encode
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha1
from secrets import token_bytes
from struct import Struct

from minproto.core import (
    CLIENT,
    DATA,
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
from minproto.deflate import NAME, Compression, Deflater, Inflater, Parameters, accept, agree, offer, parse_extensions
from minproto.http import TOKEN, Headers, RequestHead, ResponseHead, split_list

# Opcodes (§5.2), and the bits that stand with them in the first byte of a frame.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV, CONTROL, OPCODE = 0x80, 0x40, 0x70, 0x08, 0x0F
MASKED = 0x80  # in the second byte

# Close codes (§7.4.1 and IANA's registry) that are named here.
NORMAL, GOING_AWAY, PROTOCOL_ERROR, NO_STATUS, ABNORMAL = 1000, 1001, 1002, 1005, 1006
INVALID_DATA, TOO_BIG, INTERNAL_ERROR, TRY_AGAIN_LATER = 1007, 1009, 1011, 1013

MAX_HEADER = 14
MAX_CONTROL = 125
"""Bytes of payload that a control frame may have (§5.5)."""
_LENGTH_16, _LENGTH_64, _CODE = Struct("!H"), Struct("!Q"), Struct("!H")


@dataclass(frozen=True)
class Limits:
    """What a peer could make unbounded."""

    max_message: int = 1 << 20
    """Bytes of a message, after inflating: it is delivered whole, so it has to fit into memory. Else 1009."""
    max_fragments: int = 131_072
    """Frames of one message. They may be empty, and each takes time: there must be an end to them. Else 1009."""

    def __post_init__(self) -> None:
        check_counts(self)


# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Message(Event):
    """A whole message: ``str`` is text, ``bytes`` is binary."""

    data: str | bytes


@dataclass(slots=True)
class Fragment(Event):
    """A part of a message that we send bit by bit. The peer may get it in other parts; who receives gets a Message."""

    data: str | bytes
    last: bool = False


@dataclass(slots=True)
class Shared(Event):
    """A message that goes to many connections: it is encoded (and compressed) once for all that have the same parameters."""

    data: str | bytes
    frames: dict[tuple[int, int] | None, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Ping(Event):
    """A question that a Pong answers."""

    data: bytes = b""


@dataclass(slots=True)
class Pong(Event):
    """The answer, with the same data."""

    data: bytes = b""


@dataclass(slots=True)
class Close(Event):
    """The last thing that a side says. ``NO_STATUS`` is what a Close without a code means: it has no bytes on the wire."""

    code: int = NO_STATUS
    reason: str = ""


def is_close_code(code: int) -> bool:
    """Whether a Close may carry it (§7.4): of those below 3000 only the ones with a meaning, less 1004 to 1006 and 1015."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# ---- the handshake (§4) ------------------------------------------------------------------------------------------------
#
#   GET /chat HTTP/1.1                                     HTTP/1.1 101 Switching Protocols
#   Host: server.example.com                               Upgrade: websocket
#   Upgrade: websocket                                     Connection: Upgrade
#   Connection: Upgrade                                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
#   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
#   Sec-WebSocket-Version: 13
#   Origin, Sec-WebSocket-Protocol, Sec-WebSocket-Extensions: optional
#
# Upgrade, Connection, Key and Accept belong to HTTP/1.1. Over HTTP/2 a CONNECT with ``:protocol`` takes their place, answered
# by 200 (RFC 8441 §5); all other fields mean the same.

VERSION = "13"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64


@dataclass(frozen=True)
class Agreement:
    """What a handshake settled."""

    subprotocol: str | None = None
    deflate: Parameters | None = None


def accept_key(key: str) -> str:
    """The answer to a key: it shows that the server has understood (§4.2.2)."""
    return b64encode(sha1(key.encode() + _GUID).digest()).decode()


def accept_request(
    request: RequestHead,
    subprotocols: Sequence[str] = (),
    compression: Compression | None = None,
    allow_origin: Callable[[str], bool] = lambda origin: True,
) -> tuple[ResponseHead, Agreement]:
    """A server's answer to a handshake, and what it settles. Raises RemoteProtocolError: answer that by ``refusal`` (§4.2).

    ``subprotocols``: those that the app speaks; the client's first choice among them is taken. ``allow_origin`` is asked if
    there is an Origin, which only browsers send: it says whose script is connecting (§10.2).
    """
    _check_upgrade(request)
    headers = request.headers
    version = headers.get("sec-websocket-version")
    if version is None:
        raise RemoteProtocolError("missing Sec-WebSocket-Version", 400)
    if version != VERSION:
        raise RemoteProtocolError("only version 13 of WebSocket is spoken here", 426)
    origin = headers.get("origin")
    if origin is not None and not allow_origin(origin):
        raise RemoteProtocolError("this origin is not allowed here", 403)
    fields = Headers()
    if request.version != "2":
        key = headers.get("sec-websocket-key") or ""
        if not _KEY.fullmatch(key):  # also where there are two, which is one too many (§11.3.1)
            raise RemoteProtocolError("missing, repeated or invalid Sec-WebSocket-Key", 400)
        fields += [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept_key(key))]
    agreement = _negotiate(headers, subprotocols, compression, fields)
    return ResponseHead(200 if request.version == "2" else 101, fields), agreement


def _check_upgrade(request: RequestHead) -> None:
    """That it asks for a WebSocket at all: in HTTP/1.1 by Upgrade (§4.2.1), in HTTP/2 by :protocol (RFC 8441 §5)."""
    if request.version == "2":
        if request.protocol.lower() != "websocket":
            raise RemoteProtocolError("this is a WebSocket: use an extended CONNECT", 400)
        return
    if request.method != "GET" or request.version == "1.0":
        raise RemoteProtocolError("a WebSocket begins with a GET of HTTP/1.1", 400)
    upgrade, connection = (split_list(request.headers.get(name, "") or "") for name in ("upgrade", "connection"))
    if "websocket" not in upgrade or "upgrade" not in connection:
        raise RemoteProtocolError("this is a WebSocket: ask for an upgrade", 426)


def _negotiate(
    headers: Headers, subprotocols: Sequence[str], compression: Compression | None, answer: Headers
) -> Agreement:
    """Choose from what is offered, and write that into the answer."""
    _check_own_subprotocols(subprotocols)
    offered = _subprotocols(headers.get("sec-websocket-protocol"))
    subprotocol = next((name for name in offered if name in subprotocols), None)
    if subprotocol is not None:
        answer.append(("sec-websocket-protocol", subprotocol))
    extensions = parse_extensions(headers.get("sec-websocket-extensions", "") or "")
    chosen = accept(extensions, compression) if compression is not None else None
    if chosen is None:
        return Agreement(subprotocol)
    answer.append(("sec-websocket-extensions", chosen[0]))
    return Agreement(subprotocol, chosen[1])


def _subprotocols(value: str | None) -> list[str]:
    """§4.3: 1#token; §4.1: each stands there once. Empty elements do not count (RFC 9110 §5.6.1.2)."""
    if value is None:
        return []
    names = [name for part in value.split(",") if (name := part.strip(" \t"))]
    if not names or not _are_subprotocols(names):
        raise RemoteProtocolError("malformed Sec-WebSocket-Protocol", 400)
    return names


def _check_own_subprotocols(names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise TypeError("subprotocols are a list of names, not one")
    if not _are_subprotocols(names):
        raise LocalProtocolError("subprotocols have to be tokens, each of them once")


def _are_subprotocols(names: Sequence[str]) -> bool:
    return all(TOKEN.fullmatch(name) for name in names) and len(set(names)) == len(names)


def refusal(error: RemoteProtocolError) -> ResponseHead:
    """The head of the answer to a handshake that failed. 426 has to say what would do (§4.4, RFC 9110 §15.5.22)."""
    fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", VERSION)]
    return ResponseHead(error.code, Headers(fields if error.code == 426 else []))


def handshake(
    host: str, target: str, key: str, subprotocols: Sequence[str] = (), compression: Compression | None = None
) -> RequestHead:
    """A client's request (§4.1). ``key``: 16 random bytes in base64. Raises LocalProtocolError for what is no subprotocol."""
    _check_own_subprotocols(subprotocols)
    fields = [("host", host), ("upgrade", "websocket"), ("connection", "Upgrade")]
    fields += [("sec-websocket-key", key), ("sec-websocket-version", VERSION)]
    if subprotocols:
        fields.append(("sec-websocket-protocol", ", ".join(subprotocols)))
    if compression is not None:
        fields.append(("sec-websocket-extensions", offer(compression)))
    return RequestHead("GET", target, Headers(fields))


def check_response(request: RequestHead, response: ResponseHead, compression: Compression | None = None) -> Agreement:
    """A client's reading of the answer: what it settles. Raises RemoteProtocolError where the client MUST fail (§4.1)."""
    if response.status != 101:
        raise RemoteProtocolError(f"the server answered {response.status}, not 101", response.status)
    headers = response.headers
    if (headers.get("upgrade") or "").lower() != "websocket":
        raise RemoteProtocolError("the server did not upgrade to websocket")
    if "upgrade" not in split_list(headers.get("connection", "") or ""):
        raise RemoteProtocolError("the server's answer lacks Connection: Upgrade")
    if headers.get("sec-websocket-accept") != accept_key(request.headers.get("sec-websocket-key") or ""):
        raise RemoteProtocolError("the server's Sec-WebSocket-Accept does not match the key")
    return agreed(request, response, compression)


def agreed(request: RequestHead, response: ResponseHead, compression: Compression | None = None) -> Agreement:
    """What an answer that accepts settles, in either version of HTTP. Raises RemoteProtocolError for what was not offered."""
    headers = response.headers
    subprotocol = headers.get("sec-websocket-protocol")
    if subprotocol is not None and subprotocol not in _subprotocols(request.headers.get("sec-websocket-protocol")):
        raise RemoteProtocolError("the server chose a subprotocol that was not offered")
    extensions = parse_extensions(headers.get("sec-websocket-extensions", "") or "")
    if not extensions:
        return Agreement(subprotocol)
    if compression is None or len(extensions) > 1 or extensions[0][0].lower() != NAME:
        raise RemoteProtocolError("the server chose an extension that was not offered")
    return Agreement(subprotocol, agree(extensions[0][1], compression))


# ---- frames (§5.2) -----------------------------------------------------------------------------------------------------
#
#    0               1               2               3
#    7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0 7 6 5 4 3 2 1 0
#   +-+-+-+-+-------+-+-------------+-------------------------------+
#   |F|R|R|R|       |M|   length    |  length, if 126: 16 bits      |     The payload is as long as "length" says: 0 to 125,
#   |I|S|S|S| opcode|A|   (7 bits)  |          if 127: 64 bits      |     or what the 2 or 8 bytes behind say. The first bit of
#   |N|V|V|V|       |S|             |                               |     the 64 is 0, and the shortest of the three is a MUST.
#   | |1|2|3|       |K|             |                               |     MASK: the payload is XORed with the 4 bytes of the
#   +-+-+-+-+-------+-+-------------+- - - - - - - - - - - - - - - -+     key, over and over.
#   | ...           | masking key, if MASK: 32 bits | payload ...   |
#   +---------------+-------------------------------+---------------+


def parse_header(data: bytes) -> tuple[int, bytes, int] | None:
    """(length of the payload, masking key or b"", size of the header), of two bytes or more; None where others are missing.
    Raises RemoteProtocolError (1002)."""
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


def encode_frame(first: int, payload: bytes, key: bytes = b"") -> bytes:
    """A whole frame. ``first``: its first byte. ``key``: 4 bytes, to mask the payload; or none."""
    length = len(payload)
    masked = MASKED if key else 0
    if length < 126:
        header = bytes((first, masked | length))
    elif length < 65_536:
        header = bytes((first, masked | 126)) + _LENGTH_16.pack(length)
    else:
        header = bytes((first, masked | 127)) + _LENGTH_64.pack(length)
    return header + key + mask(payload, key) if key else header + payload


_XOR = [bytes(byte ^ other for byte in range(256)) for other in range(256)]
_SHORT = 1_024


def mask(data: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """Each byte XORed with that of the key whose turn it is; twice is nothing (§5.3).

    As one large integer; above 1 KiB each fourth byte through a table, which takes 1/2 of the time at 64 KiB, 1/3 at 1 MiB.
    """
    size = len(data)
    if size <= _SHORT:
        keys = int.from_bytes(key * (size >> 2) + key[: size & 3], "little")
        return (int.from_bytes(data, "little") ^ keys).to_bytes(size, "little")
    masked = bytearray(data)
    for position in range(4):
        masked[position::4] = masked[position::4].translate(_XOR[key[position]])
    return bytes(masked)


# ---- the connection ----------------------------------------------------------------------------------------------------
#
#       Message, Shared           Fragment               Fragment
#           +----+      +------------------------+      +----+
#           |    v      |                        v      |    v          Ping and Pong are possible in both, and
#           +---- OPEN -+                        MESSAGE ----+          change neither.
#                  |    ^                        |   |
#                  |    +------------------------+   |
#                  |        Fragment (last)          | Close
#                  |                                 v
#                  +--------- Close -------------> CLOSED
#
# That is what we may send. What we receive is independent of it: messages come until the peer's Close does (§5.5.1).


class State(IntEnum):
    """What we are in the middle of sending."""

    OPEN = 0
    MESSAGE = 1
    CLOSED = 2


OPEN, MESSAGE, CLOSED = State

TRANSITIONS: dict[tuple[State, type[Event]], State] = {
    (OPEN, Message): OPEN,
    (OPEN, Shared): OPEN,
    (OPEN, Fragment): MESSAGE,  # or OPEN, if it is the last
    (MESSAGE, Fragment): MESSAGE,  # or OPEN
    **{(state, event): state for state in (OPEN, MESSAGE) for event in (Ping, Pong)},
    **{(state, Close): CLOSED for state in (OPEN, MESSAGE)},
}

# The first bytes that a frame may have: between two messages, in a message, and between two where compression is agreed upon.
_CONTROLS = frozenset({FIN | CLOSE, FIN | PING, FIN | PONG})
_PLAIN = _CONTROLS | {FIN | TEXT, FIN | BINARY, TEXT, BINARY}
_WITHIN = _CONTROLS | {FIN | CONTINUATION, CONTINUATION}
_COMPRESSED = _PLAIN | {RSV1 | FIN | TEXT, RSV1 | FIN | BINARY, RSV1 | TEXT, RSV1 | BINARY}

_Utf8 = getincrementaldecoder("utf-8")


class Connection(Core):
    """One end of a WebSocket, from the first byte after the handshake."""

    def __init__(self, role: Role, agreement: Agreement = Agreement(), limits: Limits = Limits()) -> None:
        super().__init__(MAX_HEADER + MAX_CONTROL)  # more never waits unparsed: a message's payload is taken as it comes
        self.role = role
        self.limits = limits
        self.state = OPEN
        deflate = agreement.deflate
        self._deflater = Deflater.of(deflate, server=role is SERVER) if deflate else None
        self._inflater = Inflater.of(deflate, server=role is SERVER) if deflate else None
        self._text = False  # whether the message being sent is
        self._starts = _COMPRESSED if deflate else _PLAIN
        self._allowed = self._starts
        self._frame: int | None = None  # the first byte of the frame being read
        self._left = 0  # bytes of its payload to come
        self._key = b""  # its mask, turned to the byte that comes next
        # The message being received:
        self._message = bytearray()
        self._opcode = TEXT
        self._inflating = False
        self._on_the_wire = 0  # bytes of its payload, before inflating
        self.fragments = 0
        """Its frames so far."""
        self._utf8 = _Utf8()

    # -- receiving

    def _parse(self) -> Event | None:
        starts = self._frame is None and self._allowed is self._starts and self.wants is DATA
        if starts and (message := self._read_short()) is not None:
            return message
        while self.wants is not Wants.CLOSED:
            if self._frame is None and not self._read_header():
                break
            event = self._read_payload()
            if event is not None or self._frame is not None:
                return event
        return None

    def _read_short(self) -> Message | None:
        """A message in one short frame, if that is what comes next and nothing is wrong with it.

        Most are, and this is all of the below in one step: 1.2 times the messages on the small benchmark (6 pairs, 1.0-1.4).
        """
        data, start = self._buffer.window()
        left = self._buffer.size
        if left < 2 or ((first := data[start]) != FIN | TEXT and first != FIN | BINARY):
            return None
        length, size = (data[start + 1] - MASKED, 6) if self.role is SERVER else (data[start + 1], 2)
        if not 0 <= length <= MAX_CONTROL or left < size + length or length > self.limits.max_message:
            return None
        payload = start + size
        found = data[payload : payload + length]
        self._buffer.skip(size + length)
        return _message(first & OPCODE, mask(found, data[start + 2 : payload]) if size == 6 else bytes(found))

    def _read_header(self) -> bool:
        """Begin a frame, if its header is complete. What is wrong with it is told by its first bytes."""
        head = self._buffer.peek(0, MAX_HEADER)
        if not head:
            return False
        if head[0] not in self._allowed:
            raise RemoteProtocolError(self._why_not(head[0]), PROTOCOL_ERROR)
        if len(head) < 2:
            return False
        if (head[1] >= MASKED) is not (self.role is SERVER):  # §5.1: both are a MUST
            raise RemoteProtocolError("frames of a client have to be masked, those of a server must not", PROTOCOL_ERROR)
        if head[0] & CONTROL and head[1] & 127 > MAX_CONTROL:
            raise RemoteProtocolError("a control frame of more than 125 bytes", PROTOCOL_ERROR)  # §5.5
        header = parse_header(head)
        if header is None:
            return False
        if not head[0] & CONTROL:
            self._begin_frame(head[0], header[0])
        self._left, self._key, size = header
        self._buffer.skip(size)
        self._frame = head[0]
        return True

    def _why_not(self, first: int) -> str:
        if first & OPCODE not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return f"reserved opcode {first & OPCODE}"  # §5.2
        if first & CONTROL:
            return "a control frame that is fragmented, or has a reserved bit"  # §5.5
        if first in self._starts:
            return "a message inside of another"  # §5.4
        if not first & RSV:
            return "a continuation of nothing"  # §5.4
        return "a reserved bit that nobody agreed upon, or not on a message's first frame"  # §5.2, RFC 7692 §6.1

    def _begin_frame(self, first: int, length: int) -> None:
        """Check a data frame against the limits, before its payload comes."""
        if first & OPCODE:
            self._opcode = first & OPCODE
            self._inflating = bool(first & RSV1)
            self._on_the_wire = self.fragments = 0
        self._on_the_wire += length
        self.fragments += 1
        limit = self.limits.max_message
        if self._inflating:  # deflate makes what it can't compress a little longer, and each fragment by the end of a block
            limit += (limit >> 4) + 64 + 16 * self.fragments
        if self._on_the_wire > limit:
            raise RemoteProtocolError("message too big", TOO_BIG)
        if self.fragments > self.limits.max_fragments:
            raise RemoteProtocolError("too many fragments", TOO_BIG)
        self._allowed = self._starts if first & FIN else _WITHIN

    def _take(self) -> bytes:
        """What is there of the payload."""
        data = self._buffer.take(self._left)
        self._left -= len(data)
        if not self._key or not data:
            return data
        unmasked = mask(data, self._key)
        if self._left:
            turn = len(data) & 3
            self._key = self._key[turn:] + self._key[:turn]
        return unmasked

    def _read_payload(self) -> Event | None:
        """What is there of a frame; the event, if that was its end. ``_frame`` stays, if it was not."""
        frame = self._frame or 0
        if frame & CONTROL:
            return self._read_control(frame & OPCODE)
        whole = frame & FIN and frame & OPCODE and not self._inflating and not self._message
        if whole and self._buffer.size >= self._left:  # most messages are one frame, which came in one piece
            self._frame = None
            return _message(self._opcode, self._take())
        self._add(self._take())
        if self._left:
            return None
        self._frame = None
        return self._end_message() if frame & FIN else None

    def _read_control(self, opcode: int) -> Event | None:
        """A Ping, a Pong or a Close, once it is complete."""
        if self._buffer.size < self._left:
            return None
        data = self._take()
        self._frame = None
        if opcode != CLOSE:
            return Ping(data) if opcode == PING else Pong(data)
        close = _parse_close(data)
        self.wants = Wants.CLOSED
        return close

    def _add(self, data: bytes) -> None:
        """Check a piece of a message, and keep it."""
        if not self._inflating:
            return self._keep(data)
        assert self._inflater is not None
        self._keep_all(self._inflater.inflate(data, self._room))

    def _keep_all(self, pieces: Iterator[bytes]) -> None:
        try:
            for piece in pieces:
                self._keep(piece)
        except zlib.error:
            raise _invalid() from None

    @property
    def _room(self) -> int:
        """Bytes that the message may still have."""
        return self.limits.max_message - len(self._message)

    def _keep(self, data: bytes) -> None:
        room = self._room
        self._message += data[:room]
        if self._opcode == TEXT:
            self._check_utf8(data[:room])
        if len(data) > room:
            raise RemoteProtocolError("message too big", TOO_BIG)

    def _check_utf8(self, data: bytes) -> None:
        """§8.1: text that is not UTF-8 MUST fail the connection; here at its first wrong byte, wherever it was cut."""
        try:
            self._utf8.decode(data)
        except UnicodeDecodeError:
            raise _invalid() from None
        # Half a surrogate can't become right any more, but Python's decoder waits for its third byte.
        if b"\xed\xa0" <= self._utf8.getstate()[0] < b"\xee":
            raise _invalid()

    def _end_message(self) -> Message:
        if self._inflating:
            assert self._inflater is not None
            self._keep_all(self._inflater.finish(self._room))
        data = bytes(self._message)
        self._message = bytearray()
        self.fragments = 0
        return _message(self._opcode, data)

    def _parse_eof(self) -> Event | None:
        raise RemoteProtocolError("the connection ended without a Close", ABNORMAL)  # §7.1.5

    @property
    def buffered(self) -> int:
        """Bytes received and not delivered yet: those of an unfinished message among them."""
        return self._buffer.size + len(self._message)

    # -- sending

    def send(self, event: Event) -> bytes:
        if (self.state, type(event)) not in TRANSITIONS:
            raise LocalProtocolError(f"can't send {type(event).__name__} in {self.state.name}")
        if type(event) is Message:
            return self._encode_message(event.data)
        if type(event) is Shared:
            return self._send_shared(event)
        if type(event) is Fragment:
            return self._send_fragment(event)
        return self._send_control(event)

    def _encode_message(self, data: str | bytes) -> bytes:
        opcode, payload = encode_payload(data)
        if self._deflater is None:
            return self._encode(FIN | opcode, payload)
        return self._encode(FIN | RSV1 | opcode, self._deflater.compress(payload))

    def _encode(self, first: int, payload: bytes) -> bytes:
        # §5.3: a new key for each frame, that nobody can predict
        return encode_frame(first, payload, token_bytes(4) if self.role is CLIENT else b"")

    def _send_shared(self, event: Shared) -> bytes:
        if self.role is CLIENT:  # no two frames of clients are the same
            return self._encode_message(event.data)
        deflater = self._deflater
        key = deflater.parameters if deflater else None
        if key not in event.frames:
            opcode, payload = encode_payload(event.data)
            if deflater is None:
                event.frames[key] = encode_frame(FIN | opcode, payload)
            else:
                fresh = Deflater(*deflater.parameters, context_takeover=False)
                event.frames[key] = encode_frame(FIN | RSV1 | opcode, fresh.compress(payload))
        if deflater is not None:
            # It refers to nothing before it, so each peer can inflate it. But our own window lacks it, and theirs has it:
            # what comes next must not look back beyond it.
            deflater.forget()
        return event.frames[key]

    def _send_fragment(self, event: Fragment) -> bytes:
        opcode, payload = encode_payload(event.data)
        first = FIN if event.last else 0
        if self.state == OPEN:
            first |= opcode | (RSV1 if self._deflater else 0)
        elif (opcode == TEXT) is not self._text:
            raise LocalProtocolError("fragments of one message are all text, or all binary")
        self._text = opcode == TEXT
        if self._deflater is not None:
            payload = self._deflater.compress(payload, last=event.last)
        self.state = OPEN if event.last else MESSAGE
        return self._encode(first, payload)

    def _send_control(self, event: Event) -> bytes:
        if isinstance(event, Close):
            payload = _encode_close(event)
            self.state = CLOSED
            return self._encode(FIN | CLOSE, payload)
        assert isinstance(event, Ping | Pong)
        if len(event.data) > MAX_CONTROL:
            raise LocalProtocolError("a control frame of more than 125 bytes")
        return self._encode(FIN | (PING if isinstance(event, Ping) else PONG), event.data)

    def reply(self, event: Event) -> Event | None:
        """§5.5.2: a Pong to each Ping; §5.5.1: a Close to the peer's, with its code, if ours was not sent."""
        if self.state == CLOSED:
            return None
        if isinstance(event, Ping):
            return Pong(event.data)
        return Close(event.code) if isinstance(event, Close) else None

    def farewell(self, error: ProtocolError) -> list[Event]:
        """§7.1.7: a Close that says why, unless there is nobody left to read it."""
        if self.state == CLOSED or error.code == ABNORMAL:
            return []
        return [Close(error.code or PROTOCOL_ERROR, str(error))]


# ---- helpers -----------------------------------------------------------------------------------------------------------


def _message(opcode: int, data: bytes) -> Message:
    if opcode == BINARY:
        return Message(data)
    try:
        return Message(data.decode())
    except UnicodeDecodeError:
        raise _invalid() from None


def _invalid() -> RemoteProtocolError:
    """Of wrong UTF-8 and wrong compressed data, which comes first can depend on how the bytes are cut: so one answer."""
    return RemoteProtocolError("text that is not UTF-8, or data that can't be inflated", INVALID_DATA)


def encode_payload(data: str | bytes) -> tuple[int, bytes]:
    """The opcode and the bytes of what an app sends. Raises LocalProtocolError for what is no text."""
    if isinstance(data, str):
        try:
            return TEXT, data.encode()
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"text that has no UTF-8: {error.reason}") from None
    return BINARY, data


def _parse_close(data: bytes) -> Close:
    """§5.5.1: nothing, or a code and a reason in UTF-8."""
    if not data:
        return Close()
    code = _CODE.unpack_from(data)[0] if len(data) > 1 else 0
    if not is_close_code(code):
        raise RemoteProtocolError("a Close with half a code, or one that must not be sent", PROTOCOL_ERROR)
    try:
        return Close(code, data[2:].decode())
    except UnicodeDecodeError:
        raise _invalid() from None


def _encode_close(event: Close) -> bytes:
    if event.code == NO_STATUS and not event.reason:
        return b""
    if not is_close_code(event.code):
        raise LocalProtocolError(f"a Close can't carry {event.code}")
    reason = encode_payload(event.reason)[1]
    if len(reason) > MAX_CONTROL - _CODE.size:
        raise LocalProtocolError("the reason of a Close has at most 123 bytes")
    return _CODE.pack(event.code) + reason
