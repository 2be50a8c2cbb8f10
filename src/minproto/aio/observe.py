"""What a server shows to its operator: an access log, and metrics for Prometheus.

Both are *observers*: objects that a connection calls twice for each request.

    client               connection                       observers: AccessLog, Metrics, or your own
      |--- GET /hello -->|
      |                  |--- begin() ------------------> Metrics: one more request in flight
      |                  |    the handler answers
      |<-- 200, 13 bytes-|
      |                  |--- finish(head, 200, 13) ----> Metrics: one more 200; AccessLog: a line

``finish`` is called when the answer is complete, or given up, so the log shows an hour-long download an hour after it began.
A server without observers makes no calls at all. Metrics also count connections and bytes: a server calls ``opened`` and
``closed`` for each connection, and the counters of open connections are read only when somebody asks for the metrics.
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
"""The exceptions from an app's code that must not end the server. ``sys.exit()`` in a handler fails only its own request:
asyncio would end the loop, and with it all other requests. A task group wraps an exception that is not an Exception, such as
GeneratorExit, in a BaseExceptionGroup. KeyboardInterrupt is not in this tuple: Ctrl-C has to end the program."""
APP_ENDS = (*APP_FAILURES, asyncio.CancelledError)
"""``APP_FAILURES``, and a cancellation: ours or the app's own, and ``was_cancelled`` says which."""


class Counts(Protocol):
    """The bytes of a connection so far, counted inside TLS."""

    @property
    def received(self) -> int:
        """How many bytes have arrived from the peer."""

    @property
    def sent(self) -> int:
        """How many bytes have been sent to the peer."""


class Observer(Protocol):
    """An object that is told of each request. Its methods are called in the event loop, so they must not block."""

    def begin(self) -> None:
        """Note that the head of a request has been read."""

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        """Note that an answer is complete, or was given up.

        ``head``: the head of the request; None if it could not be read (a 400, say). ``status``: 499 if the client left before
        its answer was complete. ``sent``: bytes of content. ``pipe``: the client's, for its address.
        """


class Guarded:
    """An observer around another one. Any failure of the inner one, even ``sys.exit()``, is logged and harms no request."""

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
    """Return the address of a peer as the logs write it; "-" if the peer has no address."""
    peer = pipe.info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "-"


# The target of a request becomes part of a line. There a control character is written as \x0a, for example, and a quote as \".
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {ord('"'): '\\"', ord("\\"): "\\\\"}


class AccessLog:
    """Writes one line per request, in the common log format, which every log analyser reads:

        127.0.0.1 - - [22/Nov/2026:15:04:05 +0000] "GET /hello HTTP/1.1" 200 13
        address       time of the end              request line          status, bytes of content
    """

    def __init__(self, write: Callable[[str], Any] | None = None) -> None:
        """``write`` is called with each line, in the event loop, so it must not block.

        By default a thread writes the lines to standard output, and lines that nobody reads are dropped and counted: see
        ``minproto.aio.output``.
        """
        if write is not None:
            check_function("write", write)
        self._write: Callable[[str], Any] = write or standard_output().write
        self._time = (0, "")

    def begin(self) -> None:
        """Do nothing: the line is written at the end, when the status is known."""

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        host = peer_name(pipe)
        # A quote in a target would end the field, and a line break would start a forged line.
        line = f"{head.method} {head.target} HTTP/{head.version}".translate(_ESCAPES) if head else "-"
        try:
            self._write(f'{host} - - [{self._now()}] "{line}" {status} {sent}\n')
        except OSError:  # the reader of the log is gone. The server keeps running, without a log
            self._write = len

    def _now(self) -> str:
        """Return the time for a line. It is formatted only once a second, because that takes longer than all other parts of a
        line."""
        now = int(time.time())
        if self._time[0] != now:
            self._time = now, time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
        return self._time[1]


class Metrics:
    """A server's counters, for Prometheus: ``Server(app, metrics=metrics)``, and an app that answers ``metrics.render()``."""

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        """Status -> the number of requests answered with it."""
        self.in_flight = 0
        """The number of requests that have begun, but whose answer is not complete."""
        self._open: set[Counts] = set()
        self._received = 0  # bytes of connections that have ended
        self._sent = 0

    def opened(self, wire: Counts) -> None:
        """Count a connection from now on. Its counters, ``wire``, are read whenever somebody asks for the bytes."""
        self._open.add(wire)

    def closed(self, wire: Counts) -> None:
        """Count a connection as ended: keep only the sums of its bytes."""
        self._open.discard(wire)
        self._received += wire.received
        self._sent += wire.sent

    @property
    def connections(self) -> int:
        """The number of connections that are open now."""
        return len(self._open)

    @property
    def received(self) -> int:
        """Bytes from all clients so far, inside TLS."""
        return self._received + sum(wire.received for wire in self._open)

    @property
    def sent(self) -> int:
        """Bytes to all clients so far, inside TLS."""
        return self._sent + sum(wire.sent for wire in self._open)

    def begin(self) -> None:
        self.in_flight += 1

    def finish(self, head: RequestHead | None, status: int, sent: int, pipe: Pipe) -> None:
        self.requests[status] = self.requests.get(status, 0) + 1
        self.in_flight -= head is not None  # no ``begin`` was called for a head that could not be read

    def render(self) -> str:
        """Return the text that Prometheus fetches: for each metric a line with its type, then one line per value."""
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
