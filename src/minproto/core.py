"""The contract that all five protocol cores share.

A core turns bytes into events and events into bytes. It has no clock, no socket and never waits, so that a test can cut its
input anywhere, a reader can step through it, and any shell (asyncio here, threads or another loop elsewhere) can drive it.

    bytes from the peer --> receive_data() --> next_event() --> events for the app
    bytes for the peer  <-- send(event)                     <-- events from the app

Input is pulled, not pushed: ``receive_data`` only stores, ``next_event`` parses exactly one event. So the events before a
fault always come out before the fault does, and whoever must pause (a pipelined request, an Upgrade) just stops pulling.
Output is explicit: a core never writes by itself. What the protocol demands in answer to an event is told by ``reply``, and
what to say to a peer that broke the rules by ``farewell``; the shell sends both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from minproto.buffer import Buffer


@dataclass(slots=True)
class Event:
    """Something that one peer tells the other: what ``next_event`` gives and ``send`` takes."""


class ProtocolError(Exception):
    """A rule of the protocol was broken. ``code`` is what to tell the peer: HTTP status, close code, HTTP/2 error code."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError):
    """Our side's mistake, found before a byte of it was sent: the state is what it was."""


class RemoteProtocolError(ProtocolError):
    """The peer's fault. The connection can be read no further; ``farewell`` says what to answer."""


class Role(Enum):
    """Which end of the connection we are."""

    CLIENT = "client"
    SERVER = "server"


CLIENT, SERVER = Role


class Wants(Enum):
    """What ``next_event`` waits for when it gives None."""

    DATA = "data"  # the event is not complete: read more
    PAUSED = "paused"  # our answer, or the protocol that comes after this one, has to be first
    CLOSED = "closed"  # nothing will ever come


DATA, PAUSED, _ = Wants  # to ask the class for a member takes CPython 3.11 longer than a method call


class Core:
    """The base of a connection: the receive buffer, the end of input, and the failure that stays.

    A protocol gives ``_parse`` and ``_parse_eof``, and the three that talk back: ``send``, ``reply`` and ``farewell``.
    """

    def __init__(self, max_buffered: int) -> None:
        """``max_buffered``: bytes that may wait unparsed; one more chunk on top of them is stored, a second is refused."""
        self._buffer = Buffer(max_buffered)
        self._eof = False
        self.error: RemoteProtocolError | None = None
        """The fault that ended this connection, if one did."""
        self.wants = Wants.DATA

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the peer. Raises LocalProtocolError if the limit is already full, or after ``receive_eof``."""
        if self._eof and data:
            raise LocalProtocolError("data received after the end of input")
        if not self._buffer.append(data):
            raise LocalProtocolError("received more than the limit without pulling events")

    def receive_eof(self) -> None:
        """The peer will send no more."""
        self._eof = True

    def next_event(self) -> Event | None:
        """Parse one event. None: see ``wants``. Raises RemoteProtocolError, and the same one again ever after."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        try:
            event = self._parse()
            if event is None and self._eof and self.wants is Wants.DATA:
                event = self._parse_eof()
        except RemoteProtocolError as error:
            self.fail(error)
            raise
        return event

    def fail(self, error: RemoteProtocolError) -> None:
        """The peer broke a rule that only the shell can see (a timeout): from now on as if ``next_event`` had raised it."""
        self.error = error
        self.wants = Wants.CLOSED

    def events(self) -> Iterator[Event]:
        """All events that the bytes so far give."""
        while (event := self.next_event()) is not None:
            yield event

    def send(self, event: Event) -> bytes:
        """The bytes of an event. Raises LocalProtocolError, with nothing changed, where our state does not allow it."""
        raise NotImplementedError

    def reply(self, event: Event) -> Event | None:
        """What the protocol demands in answer to an event just received, given our state; mostly nothing."""
        return None

    def farewell(self, error: ProtocolError) -> list[Event]:
        """The last words to a peer that broke the rules, if any are allowed; a shell adds what needs a clock (Date)."""
        return []

    @property
    def buffered(self) -> int:
        """Bytes received and not parsed yet."""
        return self._buffer.size

    @property
    def trailing_data(self) -> bytes:
        """Those bytes: they belong to the next protocol after an Upgrade."""
        return self._buffer.peek()

    def _parse(self) -> Event | None:
        """One event from the buffer, or None with ``wants`` set."""
        raise NotImplementedError

    def _parse_eof(self) -> Event | None:
        """The bytes ran out with the input: a last event, or None with ``wants`` CLOSED, or RemoteProtocolError."""
        raise NotImplementedError
