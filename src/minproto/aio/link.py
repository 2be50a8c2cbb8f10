"""One connection to a broker in another process: its URL, its commands and values, and what its errors mean.

``RemoteBroker`` (remote.py) has one connection for publishing and one for each subscription. Each of them is a ``Link``:

    RemoteBroker.publish("news", b"hello")          RemoteSubscription
      | link.send(b"PUBLISH", b"news", b"hello")      ^ await link.value(...)
      v                                               |
    Link --> Endpoint --> pipe --> redis-server --> pipe --> Endpoint --> Link
         *3 $7 PUBLISH $4 news $5 hello                 *3 $7 message $4 news $5 hello

The URL has the form that Redis clients have agreed on:

    redis://[[user]:password@]host[:port][/database]    clear text; the default port is 6379
    rediss://...                                        over TLS
    unix:///path/of/the/socket                          also redis+unix://

Publish and subscribe have no databases, so a database number is accepted and ignored, in the path or as ``?db=``.
The client speaks version 2 of RESP (the Redis serialization protocol), which has everything needed here, so ``?protocol=``
has no effect.

A string longer than the limits is dropped as it arrives, and the connection stays open. Another client has published this
string, so the subscriber should lose only that message, not the connection with all later messages.

What is easy to get wrong:

- A password is part of the URL, and URLs get into logs. No error here quotes the URL, and a ``Target`` prints itself without
  the password.
- An error reply may mean "not now" or "never". A client that tries again after a wrong password sends requests to the broker
  forever, and a client that gives up while the broker is loading its data loses its subscription at every restart. ``refusal``
  tells the two kinds of error apart.
- A broker that hangs still acknowledges TCP. The only sign is a value that does not arrive in time, so ``value`` has a
  ``seconds`` argument.
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
"""The beginnings of temporary errors. MISCONF: a redis-server's disk is full, and even a PING gets this reply."""
LONGEST_SKIPPED = 512 << 20
"""The maximum number of bytes (512 MiB) of a string that we drop. A redis-server sends a longer string only if it is
configured to."""
TLS_ALERT = b"\x15\x03"
"""The beginning of a TLS server's reply to clear text: a record of type 21 (alert), of TLS version 3.x."""


# ---- where to connect ------------------------------------------------------------------------------------------------

_FORM = "the URL of a broker is redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or unix:///path"
_UNIX = ("unix", "redis+unix")
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class Target:
    """A broker's address and password. ``str()`` gives the URL without the password, which must not get into a log."""

    address: Address | str
    """A str is the path of a Unix socket."""
    scheme: str
    auth: tuple[bytes, ...] = field(default=(), repr=False)
    """The arguments of the command AUTH: a password, or a user and a password; () if the URL has no password."""

    def __str__(self) -> str:
        return f"unix://{self.address}" if isinstance(self.address, str) else self.address.url(self.scheme)


# Each check has an error text of its own: "invalid URL" would leave the user guessing.


def parse_url(url: str) -> Target:
    """Return the target of a URL. Raises ValueError, which says what is wrong without quoting the URL and its password."""
    if not isinstance(url, str):
        raise TypeError(f"{_FORM}: it is a str, not {type(url).__name__}")
    target = _parse(url)
    if isinstance(target, str):  # what is wrong, in words
        raise ValueError(f"{_FORM}: {target}")
    return target


def _parse(url: str) -> Target | str:
    """Return the target, or what is wrong with the URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        wrong = _fault(parts)
        if wrong is not None:
            return wrong
        # The path of a Unix socket may hold blanks and the like, which are written with "%" in a URL.
        address = unquote(parts.path) if parts.scheme in _UNIX else url_address(parts)
        return Target(address, parts.scheme, _auth(parts))
    return "its host or port is not valid"


def _fault(parts: SplitResult) -> str | None:
    """Return what is wrong with a URL, or None. Raises ValueError for a port like ":abc". The host is not checked here:
    ``Address`` checks its spelling."""
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
    """Return what is wrong with the part after "?", or None. An option that we would silently ignore is an error: users of
    other clients write ``?socket_timeout=5`` and expect it to work."""
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if name not in ("db", "protocol"):
            return f"there is no option {name!r} (db and protocol are accepted; all others are arguments of RemoteBroker)"
        if not value or not _DIGITS.issuperset(value):
            return f"the value of {name} is not a number"
    return None


def _auth(parts: SplitResult) -> tuple[bytes, ...]:
    """Return the arguments of AUTH. ``redis://:secret@host`` has no user, only a password."""
    if parts.password is None:
        return ()
    password = unquote(parts.password).encode()
    return (unquote(parts.username).encode(), password) if parts.username else (password,)


async def open_pipe(address: Address | str, ssl: tls.SSLContext | None, timeouts: Timeouts) -> Pipe:
    """Connect to a host and port, or to a Unix socket. Return the pipe. Raises OSError, which names the host or the path."""
    if isinstance(address, Address):
        return await connect_pipe(address, ssl, handshake=timeouts.handshake, linger=timeouts.linger)
    return await open_unix_pipe(address)


# ---- strings that are too long -----------------------------------------------------------------------------------------


class Skipped(bytes):
    """The placeholder for a string that was longer than the limits allow. The placeholder itself is empty."""

    length: int = 0
    """The length of the dropped string in bytes."""


class _SkippingConnection(Connection):
    r"""The client's core for RESP. It drops a string that is too long, whereas its base class fails.

        $2000000\r\n   the length is more than Limits.max_bulk: the next 2,000,000 bytes are dropped as they arrive
        ...            so the buffer never holds more than one chunk of these bytes
        \r\n           the end of the string. A Skipped takes the string's place in the message
    """

    _left = 0  # bytes still to be dropped, and 2 for the string's CRLF; 0: no string is being dropped

    def _check_bulk(self, length: int | None) -> int:
        """Accept even a length beyond the limits, and note that the string has to be dropped."""
        limits = self.limits
        # In all other cases the base class checks the length. It refuses a length beyond LONGEST_SKIPPED.
        if length is None or not min(limits.max_bulk, limits.max_command - self._taken) < length <= LONGEST_SKIPPED:
            return super()._check_bulk(length)
        self._left = length + 2
        return length

    def _read_bulk(self, length: int) -> bytes | None:
        """Drop the bytes that have arrived. Return a Skipped once the string's CRLF has arrived, None before then."""
        if not self._left:
            return super()._read_bulk(length)
        arrived = min(self._left - 2, self._buffer.size)
        self._buffer.skip(arrived)
        self._left -= arrived
        if self._left > 2 or self._buffer.size < 2:
            return None
        if self._buffer.take(2) != b"\r\n":  # the length was wrong, so we can't tell where the next value begins
            raise RemoteProtocolError("a string does not end in CRLF")
        self._left, self._bulk_length = 0, None
        skipped = Skipped()
        skipped.length = length
        return skipped

    @property
    def begins_like_tls(self) -> bool:
        """Whether the bytes that have arrived, which are not a reply, come from a server that expects TLS."""
        return self._buffer.peek(0, 2) == TLS_ALERT


# ---- the connection ----------------------------------------------------------------------------------------------------


def refusal(error: Error) -> Exception:
    """Return the exception for an error reply: one rule for all commands.

    It is a ConnectionRefusedError if the reason may be temporary (the broker is loading its data, busy, or full). In that case
    the broker has done nothing, so the caller may try again. It is a RemoteProtocolError for every error that another attempt
    would only repeat: a wrong password, an unknown command.
    """
    return (ConnectionRefusedError if error.text.startswith(PASSING) else RemoteProtocolError)(error.text)


def check(value: Any) -> Any:
    """Return the value, unless it is an error reply. Raises the exception that ``refusal`` returns for an error reply."""
    if isinstance(value, Error):
        raise refusal(value)
    return value


class Link:
    """A client's connection: commands out, values in. The caller knows which value answers which command."""

    def __init__(self, pipe: Pipe, limits: Limits, timeouts: Timeouts) -> None:
        self._core = _SkippingConnection(Role.CLIENT, limits)
        self._endpoint = Endpoint(self._core, pipe, timeouts)
        self.limits = limits
        self.timeouts = timeouts

    def send(self, *words: bytes) -> int:
        """Send a command without waiting. Call ``flush`` after it.

        Return the position of the command's end, in bytes since the connection began: see ``progress``.
        """
        self._endpoint.send(Command(list(words)))
        return self._endpoint.position

    async def flush(self) -> None:
        """Wait while the broker is slow to read what was sent. Raises ConnectionError."""
        if self._endpoint.congested:
            await self._endpoint.flush()

    def progress(self, end: int) -> tuple[int, int]:
        """Return how many bytes we have received, and how many up to ``end`` the broker has: if either grows, it is alive."""
        return signs_of_life(self._endpoint, end)

    async def value(self, seconds: float) -> Any:
        """Wait for the next value, from a reply or a push, for at most ``seconds`` between two chunks of it.

        Raises OSError (including TimeoutError) and RemoteProtocolError. A cancelled call loses no value.
        """
        try:
            event = await self._endpoint.next_event(lambda: seconds)
        except RemoteProtocolError:
            if self._endpoint.ended:  # in the middle of a reply: the broker has stopped, and its RESP was right so far
                raise self._ended() from None
            raise
        if event is None:
            raise self._ended()
        assert isinstance(event, Reply | Push)  # a client's core gives nothing else
        return event.value if isinstance(event, Reply) else event.items

    def _ended(self) -> Exception:
        """Return the error for a connection that the broker has closed. Most often one of the two sides expects TLS, and the
        other side does not know that."""
        if self._core.begins_like_tls:
            return RemoteProtocolError("the broker's port speaks TLS: its URL begins with rediss://, not redis://")
        # A TLS server that gets clear text either sends an alert or just closes.
        if not self._endpoint.received and self._endpoint.pipe.info("ssl_object") is None:
            return ConnectionResetError(
                "the broker has closed the connection without an answer (as a port does that speaks TLS: rediss://)"
            )
        return ConnectionResetError("the broker has closed the connection")

    async def request(self, *commands: Iterable[bytes]) -> list[Any]:
        """Send commands together and wait for all their answers, so that there is only one round trip.

        Raises what ``value`` raises, and what ``check`` raises for the first answer that is an error.
        """
        for words in commands:
            self.send(*words)
        await self.flush()
        # Read all answers before one of them raises: otherwise a later command would get an answer meant for one of these
        # commands.
        answers = [await self.value(self.timeouts.handshake) for _ in commands]
        return [check(answer) for answer in answers]

    async def close(self) -> None:
        """Write everything that was sent, and end the connection."""
        await self._endpoint.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._endpoint.abort()
