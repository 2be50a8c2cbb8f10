r"""The WebSocket core made faster: short messages in one step, and a mask for long ones.

Read ``minproto.websocket`` first: it is complete without this file. Here four of its methods and its mask are replaced for
the common case. Each replacement first checks whether the case is the common one, and calls the plain method if it is not:

    what arrives or is sent                 the plain core                            here
    81 85 37fa213d 7f9f4d5158, whole        header, payload, UTF-8, message: 4 steps  ``_read_short``: 1 step
    nothing: the buffer is empty            a look for a header                       no look
    a message in one frame, over 125 bytes  the payload is moved to ``_message``      it is read from the buffer
    Message("Hi"), without compression      the table of states, then the encoder     the encoder
    Message("Hi") of a server               opcode, payload, and header are made      the header 81 02 is ready
    a mask for more than 1 KiB              one XOR of two large numbers              four passes over the bytes

An error is never found here. A short frame with text that is not UTF-8, say, stays in the buffer unchanged, and the plain
method finds the fault at its byte. So both cores give the same events, errors and bytes after every call (law 13).
"""

from minproto import websocket
from minproto.core import SERVER, Event, Wants
from minproto.websocket import BINARY, FIN, MASKED, MAX_CONTROL, OPCODE, TEXT, Message, Shared, State, encode_header

_OPEN = State.OPEN  # bound at module level: looking up an Enum member is slow in CPython 3.11
_DATA = Wants.DATA
_WHOLE = (FIN | TEXT, FIN | BINARY)  # first bytes of a message in one frame, not compressed
_XOR = [bytes(byte ^ other for byte in range(256)) for other in range(256)]  # _XOR[k][b] is k ^ b
_SHORT = 1_024
# The headers of a server's short messages, by length: _TEXT_HEADERS[2] is 81 02.
_TEXT_HEADERS = [encode_header(FIN | TEXT, length, masked=False) for length in range(MAX_CONTROL + 1)]
_BINARY_HEADERS = [encode_header(FIN | BINARY, length, masked=False) for length in range(MAX_CONTROL + 1)]


def mask(data: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """Return what the plain ``mask`` returns.

    Beyond 1 KiB, every fourth byte goes through a table of 256 bytes: bytes 0, 4, 8, … through the table for key[0], and so
    on. The time is linear in the number of bytes, without the large numbers of the plain mask.
    """
    if len(data) <= _SHORT:
        return websocket.mask(data, key)
    masked = bytearray(data)
    for position in range(4):
        masked[position::4] = masked[position::4].translate(_XOR[key[position]])
    return bytes(masked)


class Connection(websocket.Connection):
    """A WebSocket connection, with the same events and the same bytes as the plain one."""

    __slots__ = ()

    mask = staticmethod(mask)

    def _parse(self) -> Event | None:
        """Read a message in one short frame in place, if it comes next in the buffer and nothing is wrong with it.

        The bytes are the start of a message only if no frame is half read and the previous message is complete. Within a
        message the same bytes are an error, which the plain method finds. A reader asks once more after the last message of
        each chunk: then the buffer is empty, and there is nothing to parse.
        """
        between = self._first_byte is None and self._allowed_next is self._between_messages and self.wants is _DATA
        if not between:
            return super()._parse()
        if not self._buffer.size:
            return None
        return self._read_short() or super()._parse()

    def _read_short(self) -> Message | None:
        """Return a message of at most 125 bytes, if all of it has arrived; otherwise change nothing and return None."""
        data, start = self._buffer.window()
        left = self._buffer.size
        if left < 2 or (first := data[start]) not in _WHOLE:
            return None
        # A server expects MASKED + length, so the difference is negative for a frame without a mask, and over 125 for the
        # marks 126 and 127 of a long length. A client expects no MASKED, so the byte of a masked frame is over 125.
        length, size = (data[start + 1] - MASKED, 6) if self.role is SERVER else (data[start + 1], 2)
        if not 0 <= length <= MAX_CONTROL or left < size + length or length > self.limits.max_message:
            return None
        payload = start + size
        found = data[payload : payload + length]
        message = _message(first, websocket.mask(found, data[start + 2 : payload]) if size == 6 else bytes(found))
        if message is not None:  # otherwise the bytes stay where they are, for the plain method
            self._buffer.skip(size + length)
        return message

    def _read_payload(self) -> Event | None:
        """Read a message in one frame from the buffer, without a copy in ``_message``, if all of it has arrived.

        ``_message`` is empty at the first frame of a message, and also if all payload before this call was empty.
        """
        first = self._first_byte or 0
        one_frame = first in _WHOLE and not self._message
        if not one_frame or self._buffer.size < self._payload_left:
            return super()._read_payload()
        found = self._buffer.peek(0, self._payload_left)
        # ``_key`` is not rotated yet: if an earlier piece had rotated it, that piece would be in ``_message``.
        message = _message(first, mask(found, self._key) if self._key else found)
        if message is None:
            return super()._read_payload()
        self._first_byte, self._payload_left, self.fragments, size = None, 0, 0, self._payload_left
        self._buffer.skip(size)
        return message

    def send(self, event: Event) -> bytes:
        """Encode a whole uncompressed message without a look at the table, which leads from OPEN to OPEN again."""
        if self.state is _OPEN and self._deflater is None:
            if type(event) is Message:
                return self._encode_message(event.data)
            if type(event) is Shared and self.role is SERVER and None in event.frames:  # encoded for another connection
                return event.frames[None]
        return super().send(event)

    def _encode_message(self, data: str | bytes) -> bytes:
        """Put a header from a table before a short message of a server: ``81 02`` before "Hi".

        ASCII text has one byte for each character, and always has UTF-8. Other text may be longer than its characters, or
        have half a surrogate pair, so the plain method encodes it.
        """
        if self.role is SERVER and self._deflater is None:
            if type(data) is bytes and len(data) <= MAX_CONTROL:
                return _BINARY_HEADERS[len(data)] + data
            if type(data) is str and len(data) <= MAX_CONTROL and data.isascii():
                return _TEXT_HEADERS[len(data)] + data.encode()
        return super()._encode_message(data)


def _message(first: int, data: bytes) -> Message | None:
    """Return the message in a frame; None for text that is not UTF-8, whose first wrong byte the plain core finds."""
    try:
        return Message(data if first & OPCODE == BINARY else data.decode())
    except UnicodeDecodeError:
        return None
