r"""The contract that every protocol core keeps: bytes in, events out; events in, bytes out.

This style is called *sans-I/O*. A core has no socket and no clock, and it never waits. So a test can cut the input anywhere, a
reader can step through a core, and any program can drive it: asyncio (``minproto.aio``), threads, or the dozen lines below.

    bytes from the peer --> receive_data() --> next_event() --> events for the app
    bytes for the peer  <-- send(event)                     <-- events from the app

For example, an HTTP/1.1 server's core is given ``GET / HTTP/1.1\r\nHost: a\r\n\r\n``. Its ``next_event`` returns a
RequestHead, then an EndOfMessage, then None. The app answers: ``send(ResponseHead(...))`` returns the bytes of a head.

The program that drives a core is called its *shell*. Here is a complete shell, on a blocking socket, for any of the cores:

    def drive(core, sock):
        try:
            while True:
                for event in core.events():                       # all events that the bytes so far hold
                    yield event                                   # here the caller may send, say a response
                    if (reply := core.reply(event)) is not None:  # say, the Pong for a Ping
                        sock.sendall(core.send(reply))
                if core.wants is not Wants.DATA:                      # CLOSED; or PAUSED: the caller has not answered yet
                    return
                data = sock.recv(65_536)
                core.receive_data(data) if data else core.receive_eof()
        except RemoteProtocolError as error:
            for event in core.farewell(error):                    # say, a 400
                sock.sendall(core.send(event))

A caller that answers later, and not at the ``yield``, calls ``drive`` again after its answer. A caller that closes the socket
first ends its own direction and reads on for a moment: a close with unread input is a reset, and may destroy the last words.

Two decisions behind the contract:

- **Input is pulled.** ``receive_data`` only stores bytes, and ``next_event`` parses exactly one event. A core that returned a
  list of events from ``receive_data`` could not return the events before a fault, because it would have to raise. Pulling also
  makes a pause simple: a server that is busy with one request stops pulling, and the next request waits in the buffer.
- **Output is explicit.** A core never writes by itself. ``reply`` returns the event that the protocol demands in answer to
  a received event, ``farewell`` returns the last words to a peer that broke the rules, and the shell sends both. So every byte
  that leaves has passed through ``send``, in an order that the shell decides.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from minproto.buffer import Buffer


@dataclass(slots=True)
class Event:
    """Something that one peer tells the other. ``next_event`` returns events, ``send`` accepts them."""


class ProtocolError(Exception):
    """A rule of the protocol was broken. The subclass says by whom.

    ``code`` is the protocol's number for the fault: an HTTP status, a WebSocket close code or an HTTP/2 error code. 0 means
    that there is no number. If the peer can still be told, ``farewell`` tells it this number.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError):
    """Our own side asked for something that the protocol forbids now. Nothing was sent, and the core's state is unchanged."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule. The core reads no further; ``farewell`` returns what may still be said to the peer."""


def check_count(name: str, value: object, least: int = 1, most: int = sys.maxsize) -> None:
    """Check an option that is a count. Raises TypeError for a float, str or bool, ValueError for a number out of range."""
    if not isinstance(value, int) or isinstance(value, bool):  # to Python a bool is an int
        raise TypeError(f"{name} has to be a whole number (int), not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} has to be {least} {'or more' if most == sys.maxsize else f'to {most}'}, not {value}")


def check_counts(limits: Any, **bounds: tuple[int, int]) -> None:
    """Check that each field of a dataclass annotated as int is 1 or more, or within its ``bounds``.

    Otherwise a wrong limit would fail only when it is first compared, in the middle of every connection.
    """
    for field in fields(limits):
        if field.type is int:
            check_count(field.name, getattr(limits, field.name), *bounds.get(field.name, ()))


class Role(Enum):
    """Which end of the connection a core is."""

    CLIENT = "client"
    SERVER = "server"


CLIENT, SERVER = Role  # the members of an Enum, in order: shorter names for use elsewhere


class Wants(Enum):
    """Why ``next_event`` returned None."""

    DATA = "data"  # the next event is not complete: the core needs more bytes from the peer
    PAUSED = "paused"  # the app has to answer first, or another protocol has taken over the connection (an Upgrade)
    CLOSED = "closed"  # there will be no more events


DATA, PAUSED, _ = Wants  # shorter names for use elsewhere; CLOSED is also the name of states, so it stays Wants.CLOSED


class Core:
    """The common part of every connection: the receive buffer, the end of input, and the fault that ended the connection.

    Each protocol adds its parser (``_parse`` and ``_parse_eof``) and its three ways of talking back: ``send``, ``reply`` and
    ``farewell``.
    """

    def __init__(self, max_buffered: int) -> None:
        """``max_buffered``: a chunk of any size is stored, unless more than this number of bytes are already pending."""
        self._buffer = Buffer(max_buffered)
        self._eof = False
        self.error: RemoteProtocolError | None = None
        """The peer's fault that ended this connection; None if there has been no fault."""
        self.wants = Wants.DATA

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the peer. Never parses, so the bytes may be anything, and none of them is an error yet.

        Raises LocalProtocolError after ``receive_eof``, and if more than ``max_buffered`` bytes are already pending: a shell
        has to pull events between two chunks.
        """
        if self._eof and data:
            raise LocalProtocolError("data received after the end of input")
        if not self._buffer.append(data):
            raise LocalProtocolError("received more than the limit without pulling events")

    def receive_eof(self) -> None:
        """Note that the peer will send no more: its end of the connection is closed."""
        self._eof = True

    def next_event(self) -> Event | None:
        """Parse and return one event; or return None, and ``wants`` says why there is no event.

        Raises RemoteProtocolError if the bytes break the protocol. From then on every call raises the same error, so a
        shell that calls again (after sending an answer, say) cannot mistake a broken connection for a quiet one. Nothing that
        follows the fault is looked at: its meaning is unknown, and one error is enough to report (RFC 9113 §5.4).
        """
        if self.error is not None:
            raise self.error.with_traceback(None)  # or the traceback would grow with each call
        try:
            event = self._parse()
            if event is None and self._eof and self.wants is Wants.DATA:
                event = self._parse_eof()
        except RemoteProtocolError as error:
            self.fail(error)
            raise
        return event

    def fail(self, error: RemoteProtocolError) -> None:
        """Record a fault of the peer that only the shell can see, such as a timeout, since a core has no clock.

        From now on the core behaves as if its parser had found the fault: ``next_event`` raises it.
        """
        self.error = error
        self.wants = Wants.CLOSED

    def events(self) -> Iterator[Event]:
        """Yield every event that the bytes received so far hold.

        If the bytes break the protocol, yields the events before the fault, and then raises as ``next_event`` does.
        """
        while (event := self.next_event()) is not None:
            yield event

    def send(self, event: Event) -> bytes:
        """Return the bytes of an event, and advance our state. The shell has to write the bytes, in the order of the calls.

        Raises LocalProtocolError, with nothing changed, if our state does not allow the event, or its content is invalid.
        """
        raise NotImplementedError

    def reply(self, event: Event) -> Event | None:
        """Return the event that the protocol demands in answer to a received event (a Pong for a Ping), or None."""
        return None

    def farewell(self, error: ProtocolError) -> list[Event]:
        """Return the events to send to a peer that broke the rules (a 400, a Close, a GOAWAY), before the shell closes.

        The list is empty if nothing may be said any more, for example in the middle of an HTTP response. The shell adds
        whatever needs a clock, such as the Date field.
        """
        return []

    @property
    def buffered(self) -> int:
        """The number of bytes received but not delivered yet, including the parts of an unfinished event."""
        return self._buffer.size

    @property
    def trailing_data(self) -> bytes:
        """The bytes that have not been parsed yet. After an Upgrade they belong to the next protocol."""
        return self._buffer.peek()

    def _parse(self) -> Event | None:
        """Return one event from the buffer; or set ``wants`` and return None. Raises RemoteProtocolError."""
        raise NotImplementedError

    def _parse_eof(self) -> Event | None:
        """Decide what the end of input means here, whether or not the buffer has an incomplete event.

        Return a last event; or set ``wants`` to CLOSED and return None; or raise RemoteProtocolError for a message cut short.
        """
        raise NotImplementedError
