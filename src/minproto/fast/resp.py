"""The RESP core made faster: a short command is read in one step, if all of it has arrived; a number is sent in one step."""

from minproto import resp
from minproto.core import SERVER, Event
from minproto.resp import CRLF, MAX_INTEGER, UNAUTHENTICATED_ARGUMENTS, Command, Reply

_LONGEST = 1_023  # bytes of an argument; UNAUTHENTICATED_BULK allows more, so a client without the password may send it
# Looking up a line checks and reads it in one step: each count or length has only one spelling. (Only bytes can be hashed.)
_COUNTS = {b"*%d" % count: count for count in range(1, UNAUTHENTICATED_ARGUMENTS + 1)}
_LENGTHS = {b"$%d" % length: length for length in range(_LONGEST + 1)}
_COUNT_LINE, _LENGTH_LINE = len(b"*10\r\n"), len(b"$1023\r\n")  # the longest ones: the search for a line's end goes no further


class Connection(resp.Connection):
    """One end of a RESP connection."""

    __slots__ = ()

    def _parse_command(self) -> Command | None:
        """Between two commands, read a short command in place, unless a part of it is wrong or missing."""
        command = self._read_short() if self._arguments is None else None
        return command or super()._parse_command()

    def _read_short(self) -> Command | None:
        data, start = self._buffer.window()
        end = data.find(CRLF, start, start + _COUNT_LINE)
        count = _COUNTS.get(bytes(data[start:end])) if end > 0 else None
        arguments: list[bytes] = []
        for _ in range(count or 0):
            line = end + 2
            end = data.find(CRLF, line, line + _LENGTH_LINE)
            length = _LENGTHS.get(bytes(data[line:end])) if end > 0 else None
            if length is None or not data.startswith(CRLF, end + 2 + length):
                return None
            arguments.append(bytes(data[end + 2 : end + 2 + length]))
            end += 2 + length
        size, limits = end + 2 - start, self.limits
        # The strings are shorter than the command. If the whole command exceeds a limit, the plain core takes a closer look.
        if not arguments or size > limits.max_bulk or size > limits.max_command or len(arguments) > limits.max_array:
            return None
        self._buffer.skip(size)
        return Command(arguments)

    def send(self, event: Event) -> bytes:
        """Encode a number, the reply to each PUBLISH, without a look at the table of encoders."""
        if type(event) is Reply and type(event.value) is int and 0 <= event.value <= MAX_INTEGER and self.role is SERVER:
            return b":%d\r\n" % event.value
        return super().send(event)
