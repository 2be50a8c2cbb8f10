"""permessage-deflate: messages of a WebSocket, compressed (RFC 7692).

The two ends agree on four parameters in the handshake. A message is then deflated as one stream without zlib's wrapping; it
is flushed to a byte boundary, and the four bytes that such a flush always ends with are left out. With *context takeover* a
message may refer back to those before it: small messages shrink far more, and each connection keeps a window of what it
sent and received. That memory is what ``Compression`` bounds.

What a peer sent is inflated in pieces of bounded size, so that a few kilobytes that would become gigabytes (a bomb) are
stopped at the limit of a message, and not when memory is full.

Left out: other extensions and other ways to compress (nothing else is registered), a choice for each message whether to
compress it (an app that knows better turns compression off).
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from minproto.core import RemoteProtocolError, check_counts
from minproto.http import TCHAR

NAME = "permessage-deflate"
_TAIL = b"\x00\x00\xff\xff"  # the end of each sync flush (§7.2.1)
_BITS = re.compile(r"[89]|1[0-5]")  # §7.1.2: 8 to 15, without leading zeroes
_PIECE = 65_536  # bytes that are inflated before they are counted


@dataclass(frozen=True)
class Compression:
    """How to compress, if the peer agrees. Raises TypeError, and ValueError for what zlib can't do."""

    window_bits: int = 12
    """Of our window and, where the peer agrees to that, of the peer's: 2**bits bytes, 9 to 15. zlib's own 15 is 8 times the
    memory. A peer that does not agree costs 40 KiB to inflate: a client that has no bound, a server that declines one.
    """
    memory_level: int = 5
    """zlib's, 1 to 9. With 12 bits: 32 KiB to compress and 11 KiB to inflate, from the first message in that direction on."""
    context_takeover: bool = True
    """False: nothing is kept between two messages, in either direction; each then compresses for itself, and less."""

    def __post_init__(self) -> None:
        check_counts(self, window_bits=(9, 15), memory_level=(1, 9))
        if not isinstance(self.context_takeover, bool):
            raise TypeError(f"context_takeover has to be True or False, not {self.context_takeover!r}")


@dataclass(frozen=True)
class Parameters:
    """What was agreed upon (§7.1)."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    memory_level: int = 8
    """Ours alone: the peer does not see it."""


# ---- the header field --------------------------------------------------------------------------------------------------
#
#   Sec-WebSocket-Extensions = 1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) )             (RFC 6455 §9.1)
#   e.g.  permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate    (in order of preference)

_TOKEN = rf"[{TCHAR}]++"
_QUOTED = rf'"(?:\\?[{TCHAR}])++"'  # a quoted pair is legal, as long as a token comes out
_PARAMETER = rf"[ \t]*+;[ \t]*+{_TOKEN}(?:[ \t]*+=[ \t]*+(?:{_TOKEN}|{_QUOTED}))?+"
_EXTENSION = re.compile(rf"[ \t]*+({_TOKEN})((?:{_PARAMETER})*+)[ \t]*+(?:,|\Z)")
_ONE_PARAMETER = re.compile(rf";[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+({_TOKEN}|{_QUOTED}))?")
_EMPTY = re.compile(r"[ \t]*+,")

Extension = tuple[str, list[tuple[str, str | None]]]


def parse_extensions(value: str) -> list[Extension]:
    """The extensions of a field, each with its parameters. Raises RemoteProtocolError (400) where it does not match."""
    found: list[Extension] = []
    at = 0
    while at < len(value):
        if empty := _EMPTY.match(value, at):  # RFC 9110 §5.6.1.2: empty elements MUST be ignored
            at = empty.end()
        elif extension := _EXTENSION.match(value, at):
            found.append((extension[1], [(name, _unquote(value)) for name, value in _ONE_PARAMETER.findall(extension[2])]))
            at = extension.end()
        else:
            raise RemoteProtocolError("malformed Sec-WebSocket-Extensions", 400)  # RFC 6455 §9.1: MUST fail
    return found


def _unquote(value: str) -> str | None:
    return re.sub(r'["\\]', "", value) or None


def offer(compression: Compression) -> str:
    """What a client asks for; second, the same without a bound on the server's window, for servers that do not keep to one."""
    words = [NAME]
    if not compression.context_takeover:
        words += ["server_no_context_takeover", "client_no_context_takeover"]
    words.append("client_max_window_bits")  # without a value: the server may choose
    unbounded = "; ".join(words)
    if compression.window_bits == 15:
        return unbounded
    return f"{unbounded}; server_max_window_bits={compression.window_bits}, {unbounded}"


def accept(extensions: list[Extension], compression: Compression) -> tuple[str, Parameters] | None:
    """A server's choice: the first offer that can be kept (§5.1), as (the answer, what it means)."""
    for name, parameters in extensions:
        offered = _read(parameters) if name.lower() == NAME else None
        # zlib can't compress with a window of 8 bits, so what demands that is declined, as is what we do not understand.
        if offered is not None and offered.get("server_max_window_bits") != "8":
            return _answer(offered, compression)
    return None


def _answer(offered: dict[str, str | None], compression: Compression) -> tuple[str, Parameters]:
    words = [NAME]
    server_resets = "server_no_context_takeover" in offered or not compression.context_takeover
    client_resets = "client_no_context_takeover" in offered or not compression.context_takeover
    words += ["server_no_context_takeover"] * server_resets + ["client_no_context_takeover"] * client_resets
    server_bits = min(compression.window_bits, int(offered.get("server_max_window_bits") or 15))
    if "server_max_window_bits" in offered:  # §7.1.2.1: the answer is the same, or smaller
        words.append(f"server_max_window_bits={server_bits}")
    client_bits = 15
    if "client_max_window_bits" in offered:  # §7.1.2.2: only if the client offered it
        client_bits = min(compression.window_bits, int(offered["client_max_window_bits"] or 15))
        words.append(f"client_max_window_bits={client_bits}")
    return "; ".join(words), Parameters(server_resets, client_resets, server_bits, client_bits, compression.memory_level)


def agree(parameters: list[tuple[str, str | None]], compression: Compression) -> Parameters:
    """A client's reading of the server's answer to ``offer``. Raises RemoteProtocolError for what was not offered."""
    answered = _read(parameters)
    if answered is None or any(answered.get(name, "") is None for name in _BITS_PARAMETERS):
        raise RemoteProtocolError("the server's answer to permessage-deflate is invalid")
    server_resets = "server_no_context_takeover" in answered
    server_bits = int(answered.get("server_max_window_bits") or 15)
    if not server_resets and not compression.context_takeover:
        raise RemoteProtocolError("the server did not keep to the offer of permessage-deflate")  # §7.1: MUST fail
    client_resets = "client_no_context_takeover" in answered or not compression.context_takeover
    client_bits = min(compression.window_bits, int(answered.get("client_max_window_bits") or 15))
    if client_bits == 8:
        raise RemoteProtocolError("zlib can't compress with a window of 8 bits")
    return Parameters(server_resets, client_resets, server_bits, client_bits, compression.memory_level)


_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_BITS_PARAMETERS = ("server_max_window_bits", "client_max_window_bits")


def _read(parameters: list[tuple[str, str | None]]) -> dict[str, str | None] | None:
    """Parameters by name; None if one is unknown, repeated or has a wrong value (§7: then the offer is declined)."""
    found: dict[str, str | None] = {}
    for name, value in parameters:
        bare = value is None and (name in _FLAGS or name == "client_max_window_bits")
        bits = value is not None and name in _BITS_PARAMETERS and _BITS.fullmatch(value)
        if name in found or not (bare or bits):
            return None
        found[name] = value
    return found


# ---- the data ----------------------------------------------------------------------------------------------------------


class Deflater:
    """Compresses what we send."""

    __slots__ = ("_bits", "_context", "_level", "_stream")

    def __init__(self, bits: int, memory_level: int, *, context_takeover: bool) -> None:
        self._bits = bits
        self._level = memory_level
        self._context = context_takeover
        self._stream: zlib._Compress | None = None  # made for the first message: an idle connection has none

    @classmethod
    def of(cls, parameters: Parameters, *, server: bool) -> Self:
        """The one that an end needs to send."""
        if server:
            bits, resets = parameters.server_max_window_bits, parameters.server_no_context_takeover
        else:
            bits, resets = parameters.client_max_window_bits, parameters.client_no_context_takeover
        return cls(bits, parameters.memory_level, context_takeover=not resets)

    @property
    def parameters(self) -> tuple[int, int]:
        """Two with the same make the same of a message that is their first."""
        return self._bits, self._level

    def compress(self, data: bytes, *, last: bool = True) -> bytes:
        """A message, or a fragment of one (§7.2.1)."""
        if self._stream is None:
            self._stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self._bits, self._level)
        encoded = self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if not last:
            return encoded
        if not self._context:
            self.forget()
        return encoded[:-4]

    def forget(self) -> None:
        """Begin anew: nothing refers to what was sent before."""
        self._stream = None


class Inflater:
    """Decompresses what we receive.

    A peer that looks back further than it agreed to breaks §7.1.2. Whether zlib sees that depends on how the data is cut:
    to be as strict, or as lenient, each time, it would need the memory of the largest window.
    """

    __slots__ = ("_bits", "_context", "_stream")

    def __init__(self, bits: int, *, context_takeover: bool) -> None:
        self._bits = bits
        self._context = context_takeover
        self._stream: zlib._Decompress | None = None

    @classmethod
    def of(cls, parameters: Parameters, *, server: bool) -> Self:
        """The one that an end needs to receive."""
        if server:
            return cls(parameters.client_max_window_bits, context_takeover=not parameters.client_no_context_takeover)
        return cls(parameters.server_max_window_bits, context_takeover=not parameters.server_no_context_takeover)

    def inflate(self, data: bytes, room: int) -> Iterator[bytes]:
        """Pieces of bounded size, up to the first byte beyond ``room``. Raises zlib.error for what is not deflated data.

        Behind that byte nothing is read: a message that is too long is that, wherever it was cut, also if it is wrong then.
        """
        rest, full = memoryview(data), False
        while (rest or full) and room >= 0:  # after a full piece there may be more, though all bytes were given
            if self._stream is None:
                self._stream = zlib.decompressobj(-self._bits)
            # zlib reads on for as long as it needs no room. So at the limit it gets single bytes, or it would find what is
            # wrong behind the byte too many before it gave that one.
            size, taken = (min(_PIECE, room), len(rest)) if room else (1, 1)
            piece = self._stream.decompress(rest[:taken], size)
            rest = memoryview(self._stream.unused_data or self._stream.unconsumed_tail) if room else rest[1:]
            room, full = room - len(piece), len(piece) == size
            if self._stream.eof:  # §7.2.3.4: a final block ends the stream; what follows begins another
                self._stream, full = None, False
            yield piece

    def finish(self, room: int) -> Iterator[bytes]:
        """What is left of a message, once all of it was given."""
        yield from self.inflate(_TAIL, room)
        if not self._context:
            self._stream = None
