"""The WebSocket core made faster: short messages in one step, and a mask for long ones."""

from minproto import websocket
from minproto.core import SERVER, Event, Wants
from minproto.websocket import BINARY, FIN, MASKED, MAX_CONTROL, OPCODE, TEXT, Message, Shared, State

_OPEN = State.OPEN  # module names: CPython 3.11 looks up a member of an Enum class slowly
_DATA = Wants.DATA
_WHOLE = (FIN | TEXT, FIN | BINARY)
_XOR = [bytes(byte ^ other for byte in range(256)) for other in range(256)]
_SHORT = 1_024


def mask(data: bytes | bytearray, key: bytes | bytearray) -> bytes:
    """The same as the plain ``mask``. Beyond 1 KiB each fourth byte goes through a table, without large numbers."""
    if len(data) <= _SHORT:
        return websocket.mask(data, key)
    masked = bytearray(data)
    for position in range(4):
        masked[position::4] = masked[position::4].translate(_XOR[key[position]])
    return bytes(masked)


class Connection(websocket.Connection):
    """A WebSocket's connection."""

    __slots__ = ()

    mask = staticmethod(mask)

    def _parse(self) -> Event | None:
        """A message in one short frame is read in place, if it is next and nothing is wrong with it."""
        between = self._first is None and self._allowed is self._starts and self.wants is _DATA
        message = self._read_short() if between else None
        return message or super()._parse()

    def _read_short(self) -> Message | None:
        data, start = self._buffer.window()
        left = self._buffer.size
        if left < 2 or (first := data[start]) not in _WHOLE:
            return None
        length, size = (data[start + 1] - MASKED, 6) if self.role is SERVER else (data[start + 1], 2)
        if not 0 <= length <= MAX_CONTROL or left < size + length or length > self.limits.max_message:
            return None
        payload = start + size
        found = bytes(data[payload : payload + length])
        message = _message(first, mask(found, data[start + 2 : payload]) if size == 6 else found)
        if message is not None:
            self._buffer.skip(size + length)
        return message

    def _read_payload(self) -> Event | None:
        """A message in one frame that has arrived whole needs no second place to wait in."""
        first = self._first or 0
        one_frame = first in _WHOLE and not self._message
        if not one_frame or self._buffer.size < self._left:
            return super()._read_payload()
        found = self._buffer.peek(0, self._left)
        message = _message(first, mask(found, self._key) if self._key else found)
        if message is None:
            return super()._read_payload()
        self._first, self._left, self.fragments, size = None, 0, 0, self._left
        self._buffer.skip(size)
        return message

    def send(self, event: Event) -> bytes:
        """A whole message that is not compressed changes no state."""
        if self.state is _OPEN and self._deflater is None:
            if type(event) is Message:
                return self._encode_message(event.data)
            if type(event) is Shared and self.role is SERVER and None in event.frames:
                return event.frames[None]
        return super().send(event)


def _message(first: int, data: bytes) -> Message | None:
    """None for text that is not UTF-8: the plain core finds the first wrong byte."""
    try:
        return Message(data if first & OPCODE == BINARY else data.decode())
    except UnicodeDecodeError:
        return None
