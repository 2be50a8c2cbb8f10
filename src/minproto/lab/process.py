"""The lab: one process, one broker, and each protocol on a port of 127.0.0.1; the page at / shows them at work."""

import ssl
import time
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
    """What its servers share."""

    def __init__(self, port: int, tls_port: int, broker_port: int, context: ssl.SSLContext | None) -> None:
        """Ports, each 0 for any free one; ``context`` None for a lab without HTTPS."""
        self.metrics = Metrics()
        self.broker = Broker(history=HISTORY)
        self.push = Push(self.broker)
        self._demo = DemoApp(self.metrics, self.broker)
        self.wire = Wire(self._visit, time.monotonic)
        app = LabApp(self._find_places, self.push, self.wire, self._demo)
        self.http = _HTTPServer(self, app, port=port, metrics=self.metrics, on_drain=self.close)
        self.https = _HTTPServer(self, app, port=tls_port, metrics=self.metrics, ssl=context) if context else None
        self.redis = _Broker(self, self.broker, port=broker_port, metrics=self.metrics)

    @property
    def listeners(self) -> list[Listener]:
        """The servers, to be entered and left."""
        return [self.http, *([self.https] if self.https else []), self.redis]

    def close(self) -> None:
        """Let go of what would hold up the end: answers that wait for news, and a worker."""
        self.push.close()
        self._demo.close()

    def line(self, pipe: Pipe) -> Line:
        """What is put on each connection."""
        return Line(pipe, self.wire.tap(pipe))

    async def _visit(self, name: str) -> None:
        await visit(name, self.redis.port if name == "redis" else self.http.port)

    def _find_places(self) -> Places:
        return Places(self.http.port, self.https.port if self.https else None, self.redis.port)


class _HTTPServer(Server):
    """A server whose connections are the lab's lines."""

    def __init__(self, lab: Lab, app: LabApp, **options: Unpack[ServerOptions]) -> None:
        super().__init__(app, **options)
        self._lab = lab

    def attach(self, pipe: Pipe) -> None:
        super().attach(self._lab.line(pipe))


class _Broker(BrokerServer):
    """The same for Redis clients."""

    def __init__(self, lab: Lab, broker: Broker, **options: Unpack[BrokerServerOptions]) -> None:
        super().__init__(broker, **options)
        self._lab = lab

    def attach(self, pipe: Pipe) -> None:
        super().attach(self._lab.line(pipe))


async def serve_lab(port: int, tls_port: int, broker_port: int) -> None:
    """Serve until a signal. What HTTPS is missing is said in one line, and the rest goes on. Raises OSError."""
    context = _find_context()
    lab = Lab(port, tls_port, broker_port, context)
    await serve_until_signal(*lab.listeners)


def _find_context() -> ssl.SSLContext | None:
    """A context with the lab's certificate, or None where there is no certificate."""
    try:
        certificate = development_certificate()
        context = tls_context(str(certificate.chain), str(certificate.key))
    except NoCertificateError as error:
        reason = str(error)
    except OSError as error:  # the cache has files that are no certificate
        reason = f"{error} (delete these files, and the lab makes new ones)"
    else:
        standard_output().write(f"minproto lab: to trust its certificate, tell your client of {certificate.authority}\n")
        return context
    standard_error().write(f"minproto lab: no HTTPS, so no HTTP/2 in browsers: {reason}\n")
    return None
