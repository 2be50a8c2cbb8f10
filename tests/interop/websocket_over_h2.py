"""A WebSocket over HTTP/2 (RFC 8441) with other people's code: h2 for the frames of HTTP/2, wsproto for the WebSocket."""

import asyncio
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest


class H2WebSocket:
    """``async with H2WebSocket(url, "/echo", trust) as ws``: an extended CONNECT, answered with ``ws.status``."""

    def __init__(self, url: str, path: str, trust: ssl.SSLContext | None, *fields: tuple[str, str]) -> None:
        config = pytest.importorskip("h2.config", reason="h2 is not installed")
        wsproto = pytest.importorskip("wsproto.connection", reason="wsproto is not installed")
        self._url, self._trust, self._path, self._fields = urlsplit(url), trust, path, fields
        self._h2 = pytest.importorskip("h2.connection").H2Connection(config.H2Configuration(client_side=True))
        self._ws = wsproto.Connection(wsproto.ConnectionType.CLIENT)
        self.status, self.headers, self.body, self.ended = 0, dict[str, str](), b"", False

    async def __aenter__(self) -> Self:
        host, port = self._url.hostname or "", self._url.port
        if self._trust:
            self._trust.set_alpn_protocols(["h2"])
        self._reader, self._writer = await asyncio.open_connection(host, port, ssl=self._trust)
        self._h2.initiate_connection()
        while not self._h2.remote_settings.enable_connect_protocol:  # the server has to allow it first (RFC 8441 §3)
            await self._turn()
        head = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", self._url.scheme), (":path", self._path),
            (":authority", f"{host}:{port}"), ("sec-websocket-version", "13"), *self._fields,
        ]  # fmt: skip
        self._stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._stream, head)
        while not self.status:
            await self._turn()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, event: Any) -> None:
        """Send a message, or the reply to a Close."""
        self._h2.send_data(self._stream, self._ws.send(event))

    async def event(self) -> Any:
        """Wait for the next message or Close."""
        while True:
            for event in self._ws.events():
                return event
            assert not self.ended, "the stream has ended without a Close"
            await self._turn()

    async def until_end(self) -> None:
        """Wait for the end of the stream: of a response that refuses, say."""
        while not self.ended:
            await self._turn()

    async def _turn(self) -> None:
        """Send what waits, and take what has come."""
        self._writer.write(self._h2.data_to_send())
        for event in self._h2.receive_data(await asyncio.wait_for(self._reader.read(65_536), 10)):
            name = type(event).__name__
            if name == "ResponseReceived":
                self.headers = {str(name, "ascii"): str(value, "ascii") for name, value in event.headers}
                self.status = int(self.headers[":status"])
            elif name == "DataReceived":
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if self.status == 200:
                    self._ws.receive_data(event.data)
                else:
                    self.body += event.data
            self.ended = self.ended or name in ("StreamEnded", "StreamReset", "ConnectionTerminated")
        self._writer.write(self._h2.data_to_send())
