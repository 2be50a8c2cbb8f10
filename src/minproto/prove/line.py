"""One TCP connection to a server, or with ``minproto trap`` to a client, with a record of all bytes that have crossed it.

The record is what a report shows: the pieces in the order in which they were sent and received, each with its sender.
"""

import asyncio
import socket
import ssl
import struct
from contextlib import suppress

from minproto.core import CLIENT, SERVER, Role

CHUNK = 65_536
MAX_RECORD = 1 << 20
"""The maximum number of bytes of each connection that are remembered for the report."""


class Line:
    """One connection. ``ended`` says how it ended: "closed", "reset", or "" while it is open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: Role = CLIENT) -> None:
        self._reader, self._writer = reader, writer
        self._ours, self._theirs = ours, SERVER if ours is CLIENT else CLIENT
        self.ended = ""
        self.record: list[tuple[Role, bytes]] = []
        self._room = MAX_RECORD
        self._is_shut = False  # we have ended our direction

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None, name: str, patience: float) -> "Line":
        """Connect. Raises OSError, also for a failed handshake of TLS, and TimeoutError after ``patience`` seconds."""
        async with asyncio.timeout(patience):
            return cls(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=name if tls else None))

    @property
    def alpn(self) -> str:
        """The protocol that the two ends chose by ALPN; "" if none."""
        secured = self._writer.get_extra_info("ssl_object")
        return (secured.selected_alpn_protocol() or "") if secured else ""

    async def send(self, data: bytes, patience: float) -> None:
        """Send bytes, as far as the peer takes them within the time limit. A connection that has ended takes no bytes."""
        if not data or self.ended == "reset" or self._is_shut:
            return
        self._remember(self._ours, data)
        try:
            async with asyncio.timeout(patience):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError:
            return  # the peer has stopped reading: the bytes that it has sent say why
        except OSError:
            self.ended = self.ended or "reset"

    def shut(self) -> None:
        """Send no more. TLS has no half-close in asyncio, so there nothing happens."""
        with suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._is_shut = True
                self._writer.write_eof()

    def finish(self) -> None:
        """End our direction. Over TLS end both, with a close_notify: what the peer still sends is not seen then."""
        if self._writer.can_write_eof():
            self.shut()
        else:
            self._is_shut = True
            self._writer.close()

    async def receive(self, seconds: float) -> bytes:
        """Return the next bytes; b"" if none came in time or the connection has ended."""
        if self.ended:
            return b""
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(CHUNK)
        except TimeoutError:
            return b""
        except OSError:
            self.ended = "reset"
            return b""
        if not data:
            self.ended = "closed"
        self._remember(self._theirs, data)
        return data

    def close(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """End the connection by a TCP reset: without SO_LINGER of 0 seconds, an idle connection would be closed properly."""
        with suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _remember(self, sender: Role, data: bytes) -> None:
        kept = data[: self._room]
        self._room -= len(kept)
        if kept:
            self.record.append((sender, kept))
