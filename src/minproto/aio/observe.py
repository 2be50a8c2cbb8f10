"""What an operator sees: an access log, and figures for Prometheus. Both hang on the same two calls for each request.

A server without observers makes no calls, so they cost nothing when off.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from minproto.aio.options import check_function
from minproto.aio.output import standard_output
from minproto.aio.pipe import Pipe
from minproto.http import RequestHead

logger = logging.getLogger("minproto")

APP_FAILURES = (Exception, SystemExit, BaseExceptionGroup)
"""The exceptions of an app's code that must not end the server. ``sys.exit()`` in a handler fails this one request: asyncio
would end the loop, and with it all other requests. A task group wraps an exception that is no Exception, such as
GeneratorExit, in a BaseExceptionGroup. KeyboardInterrupt is not among them: Ctrl-C has to end the program."""
APP_ENDS = (*APP_FAILURES, asyncio.CancelledError)
"""``APP_FAILURES``, and a cancellation. Whether the cancellation is ours or the app's own, ``was_cancelled`` says."""


class Counts(Protocol):
    """The bytes of a connection so far, on the wire: inside of TLS."""

    @property
    def received(self) -> int:
        """From the peer."""

    @property
    def sent(self) -> int:
        """To the peer."""


class Observer(Protocol):
    """Is told of each request."""

    def begin(self) -> None:
        """A request's head has been read."""

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        """Its answer is complete, or was given up: ``sent`` bytes of content. A head that could not be read is None."""


class Guarded:
    """An observer whose failure, even a ``sys.exit()``, is logged and harms no request."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def begin(self) -> None:
        try:
            self._observer.begin()
        except APP_FAILURES:
            logger.exception("an observer failed")

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        try:
            self._observer.finish(head, status, sent, pipe)
        except APP_FAILURES:
            logger.exception("an observer failed")


def peer_name(pipe: Pipe) -> str:
    """Return the address of a peer as the logs write it; "-" where it has none."""
    peer = pipe.info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "-"


_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {ord('"'): '\\"', ord("\\"): "\\\\"}


class AccessLog:
    """One line for each request, in the common log format:

    127.0.0.1 - - [22/Nov/2026:15:04:05 +0000] "GET /hello HTTP/1.1" 200 13
    """

    def __init__(self, write: Callable[[str], Any] | None = None) -> None:
        """``write`` takes each line, and must not block: the event loop calls it. By default the lines go to standard output,
        by a thread; lines that nobody reads are dropped and counted."""
        if write is not None:
            check_function("write", write)
        self._write: Callable[[str], Any] = write or standard_output().write
        self._time = (0, "")

    def begin(self) -> None:
        """Nothing: a line is written at the end."""

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        host = peer_name(pipe)
        # A quote or a control character in a target could end the field, or begin a line of the peer's own.
        line = f"{head.method} {head.target} HTTP/{head.version}".translate(_ESCAPES) if head else "-"
        try:
            self._write(f'{host} - - [{self._now()}] "{line}" {status} {sent}\n')
        except OSError:  # whoever read the log is gone: that must not end the service
            self._write = len

    def _now(self) -> str:
        now = int(time.time())
        if self._time[0] != now:
            self._time = now, time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
        return self._time[1]


class Metrics:
    """Counts, rendered in Prometheus' text format."""

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        """Requests answered, by status."""
        self.in_flight = 0
        self._open: set[Counts] = set()
        self._received = 0  # bytes of connections that have ended
        self._sent = 0

    def opened(self, wire: Counts) -> None:
        """A connection begins."""
        self._open.add(wire)

    def closed(self, wire: Counts) -> None:
        """It has ended."""
        self._open.discard(wire)
        self._received += wire.received
        self._sent += wire.sent

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._open)

    @property
    def received(self) -> int:
        """Bytes on the wire from all peers."""
        return self._received + sum(wire.received for wire in self._open)

    @property
    def sent(self) -> int:
        """Bytes on the wire to all peers."""
        return self._sent + sum(wire.sent for wire in self._open)

    def begin(self) -> None:
        self.in_flight += 1

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        self.requests[status] = self.requests.get(status, 0) + 1
        self.in_flight -= head is not None

    def render(self) -> str:
        """The exposition: for each family its type, then a line for each value."""
        lines = ["# TYPE minproto_requests_total counter"]
        lines += [f'minproto_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.requests.items())]
        for name, kind, value in (
            ("requests_in_flight", "gauge", self.in_flight),
            ("connections", "gauge", self.connections),
            ("received_bytes_total", "counter", self.received),
            ("sent_bytes_total", "counter", self.sent),
        ):
            lines += [f"# TYPE minproto_{name} {kind}", f"minproto_{name} {value}"]
        return "\n".join(lines) + "\n"
