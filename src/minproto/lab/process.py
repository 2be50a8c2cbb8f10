"""The lab: one process, one broker, and each protocol on its own port of 127.0.0.1. The page at ``/`` shows them at work.

    HTTP  8000 --.                                .--> lab/site.py    the page
                 +--> Line --> server --> LabApp -+--> lab/push.py    "push": four ways to receive messages
    HTTPS 8443 --'                                +--> lab/wire.py    "wire": all bytes, explained
                                                  `--> lab/app.py     the demo app
    RESP  6380 -----> Line --> BrokerServer

Each connection has a ``Line`` under its protocol, which counts bytes, shows them to watching pages, and can be made slow.
"""

import ssl
import time
from functools import cached_property
from typing import Unpack

from minproto.aio.broker import Broker
from minproto.aio.listener import Listener, serve_until_signal
from minproto.aio.observe import Metrics
from minproto.aio.output import standard_error, standard_output
from minproto.aio.pipe import Pipe
from minproto.aio.resp import BrokerServer, BrokerServerOptions
from minproto.aio.server import Server, ServerOptions, tls_context
from minproto.lab.app import HISTORY, DemoApp
from minproto.lab.certificate import NoCertificateError, development_certificate
from minproto.lab.line import Line
from minproto.lab.push import Push
from minproto.lab.site import LabApp, Places
from minproto.lab.visits import visit
from minproto.lab.wire import Wire


class Lab:
    """The three servers, and the broker, figures and apps that they share."""

    def __init__(self, port: int, tls_port: int, broker_port: int, context: ssl.SSLContext | None) -> None:
        """Each port may be 0, for any free port. ``context``: None for a lab without HTTPS."""
        self.metrics = Metrics()
        self.broker = Broker(history=HISTORY)
        self.push = Push(self.broker)
        self._demo = DemoApp(self.metrics, self.broker)
        self.wire = Wire(self._visit, time.monotonic)
        app = LabApp(lambda: self._places, self.push, self.wire, self._demo)
        self.http = _HTTPServer(self, app, port=port, metrics=self.metrics, on_drain=self.close)
        self.https = _HTTPServer(self, app, port=tls_port, metrics=self.metrics, ssl=context) if context else None
        self.redis = _Broker(self, self.broker, port=broker_port, metrics=self.metrics)

    @property
    def listeners(self) -> list[Listener]:
        """The servers, for ``async with``."""
        return [self.http, *([self.https] if self.https else []), self.redis]

    def close(self) -> None:
        """End what would delay a drain: polls and streams that are waiting for messages, and the worker thread."""
        self.push.close()
        self._demo.close()

    def line(self, pipe: Pipe) -> Line:
        """Return the line for a new connection, with a tap if a page watches."""
        return Line(pipe, self.wire.tap(pipe))

    async def _visit(self, name: str) -> None:
        await visit(name, self.redis.port if name == "redis" else self.http.port)

    @cached_property
    def _places(self) -> Places:  # found at the first request: a server that has begun to stop has no port
        return Places(self.http.port, self.https.port if self.https else None, self.redis.port)


class _HTTPServer(Server):
    """A server that puts a line under each of its connections."""

    def __init__(self, lab: Lab, app: LabApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        self._lab = lab

    def admit(self, pipe: Pipe) -> None:
        super().admit(self._lab.line(pipe))


class _Broker(BrokerServer):
    """A server for Redis clients that puts a line under each of its connections."""

    def __init__(self, lab: Lab, broker: Broker, **options: Unpack[BrokerServerOptions]) -> None:
        super().__init__(broker, **options)
        self._lab = lab

    def admit(self, pipe: Pipe) -> None:
        super().admit(self._lab.line(pipe))


async def serve_lab(port: int, tls_port: int, broker_port: int) -> None:
    """Serve until a signal, without HTTPS if there is no certificate: one line says why. Raises OSError for a port in use."""
    context = _find_context()
    lab = Lab(port, tls_port, broker_port, context)
    await serve_until_signal(*lab.listeners)


def _find_context() -> ssl.SSLContext | None:
    """Return a context with the lab's certificate, or print why there is no certificate and return None."""
    try:
        certificate = development_certificate()
        context = tls_context(str(certificate.chain), str(certificate.key))
    except NoCertificateError as error:
        reason = str(error)
    except OSError as error:  # the files in the cache are damaged
        reason = f"{error} (delete these files, and the lab makes new ones)"
    else:
        standard_output().write(f"minproto lab: clients that should trust its certificate need {certificate.authority}\n")
        return context
    standard_error().write(f"minproto lab: no HTTPS, so no HTTP/2 in browsers: {reason}\n")
    return None
