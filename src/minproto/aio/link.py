"""One connection to a broker in another process: where it goes, what is sent and received on it, and what its errors mean.

    redis://[[user]:password@]host[:port][/database]    clear text; port 6379 unless it is said
    rediss://…                                          over TLS
    unix:///path/of/the/socket                          also redis+unix://

Publish and subscribe know no databases, so the number of one is accepted and ignored, in the path or as ``?db=``. The client
speaks version 2 of RESP, in which a server may say all that is needed here; ``?protocol=`` changes nothing.

A string that is longer than the limits is passed over as it arrives, and the connection goes on: it was somebody else who
published it, and whoever listens should lose one message and not the connection.
"""

import ssl as tls
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from minproto.aio.address import Address, url_address
from minproto.aio.endpoint import Endpoint
from minproto.aio.options import Timeouts
from minproto.aio.patience import signs_of_life
from minproto.aio.pipe import Pipe
from minproto.aio.sockets import connect_pipe, open_unix_pipe
from minproto.core import RemoteProtocolError, Role
from minproto.resp import Command, Connection, Error, Limits, Push, Reply

PASSING = ("LOADING ", "BUSY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "MISCONF ", "ERR max number of clients")
"""How the errors begin that time heals; MISCONF, that a disk is full, is what such a redis-server answers to a PING."""
LONGEST_SKIPPED = 512 << 20
"""Bytes of the longest string that is passed over: no redis-server sends a longer one unless it is told to."""
TLS_ALERT = b"\x15\x03"
"""The first bytes of a TLS record that says: this is no TLS."""


# ---- where to connect ------------------------------------------------------------------------------------------------

_FORM = "the URL of a broker is redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or unix:///path"
_UNIX = ("unix", "redis+unix")
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class Target:
    """A broker's address and password. As text: its URL without the password."""

    address: Address | str
    """A str is the path of a Unix socket."""
    scheme: str
    auth: tuple[bytes, ...] = field(default=(), repr=False)
    """The arguments of AUTH; none where no password is given."""

    def __str__(self) -> str:
        return f"unix://{self.address}" if isinstance(self.address, str) else self.address.url(self.scheme)


def parse_url(url: str) -> Target:
    """Return where a URL leads. Raises ValueError, which says what is wrong and quotes nothing: there may be a password."""
    if not isinstance(url, str):
        raise TypeError(f"{_FORM}: it is a str, not {type(url).__name__}")
    target = _parse(url)
    if isinstance(target, str):
        raise ValueError(f"{_FORM}: {target}")
    return target


def _parse(url: str) -> Target | str:
    """Return the target, or what is wrong with the URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        wrong = _fault(parts)
        if wrong is not None:
            return wrong
        address = unquote(parts.path) if parts.scheme in _UNIX else url_address(parts)
        return Target(address, parts.scheme, _auth(parts))
    return "its host or port is not valid"


def _fault(parts: SplitResult) -> str | None:
    """Return what is wrong with a URL, or None; its host may still be misspelt. Raises ValueError for a port that is none."""
    is_unix = parts.scheme in _UNIX
    if parts.scheme not in ("redis", "rediss", *_UNIX):
        return "its scheme is another"
    if is_unix and (parts.hostname or parts.port is not None):
        return "a path begins with a slash, the third after unix:"
    if not is_unix and not (parts.hostname and parts.port != 0):
        return "it has no host (in a password / ? # and @ are written %2F %3F %23 and %40)"
    if parts.fragment:
        return "a # is written %23"
    if parts.username and parts.password is None:
        return "a user needs a password, as in user:password@ (user:@ for an empty one)"
    if is_unix and not parts.path.strip("/"):
        return "the path of the socket is missing"
    if not is_unix and not _DIGITS.issuperset(parts.path.strip("/")):
        return "its path is not the number of a database"
    return _query_fault(parts.query)


def _query_fault(query: str) -> str | None:
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if name not in ("db", "protocol"):
            return f"there is no option {name!r} (db and protocol are accepted; all others are arguments of RemoteBroker)"
        if not value or not _DIGITS.issuperset(value):
            return f"the value of {name} is not a number"
    return None


def _auth(parts: SplitResult) -> tuple[bytes, ...]:
    if parts.password is None:
        return ()
    password = unquote(parts.password).encode()
    return (unquote(parts.username).encode(), password) if parts.username else (password,)


async def open_pipe(address: Address | str, ssl: tls.SSLContext | None, timeouts: Timeouts) -> Pipe:
    """Connect to a host and port, or to a Unix socket. Raises OSError."""
    if isinstance(address, Address):
        return await connect_pipe(address, ssl, handshake=timeouts.handshake, linger=timeouts.linger)
    return await open_unix_pipe(address)


# ---- strings that are too long -----------------------------------------------------------------------------------------


class Skipped(bytes):
    """Stands, empty, for a string that was longer than the limits allow."""

    length: int = 0
    """Bytes that it had."""


class _SkippingConnection(Connection):
    """The client's core of RESP; it passes over a string that is too long, where the plain one fails.

        $2000000\r\n   more than Limits.max_bulk: from here 2,000,002 bytes are dropped as they arrive
        …\r\n          the last two of them: a Skipped stands for the string
    """

    _left = 0  # bytes of such a string that have not arrived, its CRLF among them

    def _check_bulk(self, length: int | None) -> int:
        limits = self.limits
        if length is None or not min(limits.max_bulk, limits.max_command - self._taken) < length <= LONGEST_SKIPPED:
            return super()._check_bulk(length)
        self._left = length + 2
        return length

    def _read_bulk(self, length: int) -> bytes | None:
        if not self._left:
            return super()._read_bulk(length)
        arrived = min(self._left - 2, self._buffer.size)
        self._buffer.skip(arrived)
        self._left -= arrived
        if self._left > 2 or self._buffer.size < 2:
            return None
        if self._buffer.take(2) != b"\r\n":
            raise RemoteProtocolError("a string does not end in CRLF")
        self._left, self._bulk_length = 0, None
        skipped = Skipped()
        skipped.length = length
        return skipped

    @property
    def begins_like_tls(self) -> bool:
        """Whether what has arrived, and is no reply, is the answer of a server that expects TLS."""
        return self._buffer.peek(0, 2) == TLS_ALERT


# ---- the connection ----------------------------------------------------------------------------------------------------


def refusal(error: Error) -> Exception:
    """The exception for an error reply: one rule for all commands.

    ConnectionRefusedError for what may pass with time (the broker is loading, busy or full): it has done nothing of what was
    asked, so it can be asked again. RemoteProtocolError for everything else.
    """
    return (ConnectionRefusedError if error.text.startswith(PASSING) else RemoteProtocolError)(error.text)


def check(value: Any) -> Any:
    """Return a value that is no error reply. Raises what ``refusal`` gives for one."""
    if isinstance(value, Error):
        raise refusal(value)
    return value


class Link:
    """A client's connection: commands out, values in."""

    def __init__(self, pipe: Pipe, limits: Limits, timeouts: Timeouts) -> None:
        self._core = _SkippingConnection(Role.CLIENT, limits)
        self._endpoint = Endpoint(self._core, pipe, timeouts)
        self.limits = limits
        self.timeouts = timeouts

    def send(self, *words: bytes) -> int:
        """Send a command, without waiting; ``flush`` comes after it. Return its end, counted in bytes of this connection."""
        self._endpoint.send(Command(list(words)))
        return self._endpoint.position

    async def flush(self) -> None:
        """Wait while the peer is slow to take what was sent. Raises ConnectionError."""
        if self._endpoint.congested:
            await self._endpoint.flush()

    def progress(self, end: int) -> tuple[int, int]:
        """Return the bytes received, and the bytes up to ``end`` that the broker has read. While either grows, it is alive."""
        return signs_of_life(self._endpoint, end)

    async def value(self, seconds: float) -> Any:
        """Wait for the next value, of a reply or a push, at most ``seconds`` for each piece of it.

        Raises OSError, RemoteProtocolError; cancelled, it has taken nothing.
        """
        try:
            event = await self._endpoint.next_event(lambda: seconds)
        except RemoteProtocolError:
            if self._endpoint.ended:  # within a reply: the broker has stopped, which is no fault of its RESP
                raise self._ended() from None
            raise
        if event is None:
            raise self._ended()
        assert isinstance(event, Reply | Push)
        return event.value if isinstance(event, Reply) else event.items

    def _ended(self) -> Exception:
        """The error of a connection that the broker has closed."""
        if self._core.begins_like_tls:
            return RemoteProtocolError("the broker's port speaks TLS: its URL begins with rediss://, not redis://")
        if not self._endpoint.received and self._endpoint.pipe.info("ssl_object") is None:
            return ConnectionResetError(
                "the broker has closed the connection without a word (as a port does that speaks TLS: rediss://)"
            )
        return ConnectionResetError("the broker has closed the connection")

    async def ask(self, *commands: Iterable[bytes]) -> list[Any]:
        """Send commands and wait for their answers. Raises as ``value``, and as ``check`` for the first error among them."""
        for words in commands:
            self.send(*words)
        await self.flush()
        answers = [await self.value(self.timeouts.handshake) for _ in commands]
        return [check(answer) for answer in answers]

    async def close(self) -> None:
        """End the connection, when what was sent is written."""
        await self._endpoint.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._endpoint.abort()
