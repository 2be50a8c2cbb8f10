r"""permessage-deflate: the messages of a WebSocket, compressed (RFC 7692).

Text such as JSON shrinks to a fifth or less, so a chat or a price feed needs less bandwidth. The cost is time and memory
on both ends. The two ends agree on four parameters in the handshake:

    client:  Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=12
    server:  Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12; client_max_window_bits=12

A message is then compressed as raw deflate data, without the header and checksum of zlib. The sender flushes to a byte
boundary. Such a flush always ends with the bytes ``00 00 ff ff``, so the sender leaves them out and the receiver puts them
back (§7.2):

    >>> Deflater(15, 8, context_takeover=True).compress(b"Hello").hex(" ")
    'f2 48 cd c9 c9 07 00'
    >>> b"".join(Inflater(15, context_takeover=True).inflate(bytes.fromhex("f248cdc9c907000000ffff"), room=100))
    b'Hello'

With *context takeover*, a message may refer back to the bytes of earlier messages. Small messages that resemble each other
then shrink far more: the second "Hello" has five bytes, and a longer text sent again would not need more.

    >>> deflater = Deflater(15, 8, context_takeover=True)
    >>> [deflater.compress(b"Hello").hex(" ") for _ in range(2)]
    ['f2 48 cd c9 c9 07 00', 'f2 00 11 00 00']

The cost is memory, because each end keeps a *window* for every connection: the last 2^9 to 2^15 bytes that it has sent or
received. ``Compression`` bounds this memory.

Compressed data is also an attack: a few kilobytes can become gigabytes (a decompression bomb). So a message is inflated in
pieces of bounded size, and inflating stops as soon as the message exceeds its limit. Here about a kilobyte would become a
million bytes. With room for 100 bytes, the receiver gets 101, which shows that there are too many, and inflates no further:

    >>> bomb = Deflater(15, 8, context_takeover=True).compress(bytes(1_000_000))
    >>> len(bomb) < 1_100, sum(len(piece) for piece in Inflater(15, context_takeover=True).inflate(bomb, room=100))
    (True, 101)

Left out: other extensions and other compression methods, since none is registered; and choosing for each message whether to
compress it. An app that sends compressed images turns compression off for its connections.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from minproto.core import RemoteProtocolError, check_counts
from minproto.http import TCHAR

NAME = "permessage-deflate"  # the registered name (§7, RFC 6455 §9.1)
_TAIL = b"\x00\x00\xff\xff"  # the end of every sync flush, which is not sent (§7.2.1)
_BITS = re.compile(r"[89]|1[0-5]")  # §7.1.2: a window of 2**8 to 2**15 bytes; no leading zeros
_PIECE = 65_536  # the maximum number of bytes that are inflated before the caller counts them


@dataclass(frozen=True)
class Compression:
    """How to compress, if the peer agrees. Raises TypeError or ValueError for values that zlib does not support.

    No window is larger than 2**15 = 32,768 bytes (§7.2.1).
    """

    window_bits: int = 12
    """The size of our window, and of the peer's if the peer agrees: 2**bits bytes, with 9 to 15 bits. zlib's default of 15
    takes 8 times the memory of 12. A peer that does not agree to a bound may use 15, which costs us 40 KiB to inflate.
    """
    memory_level: int = 5
    """zlib's memLevel, 1 to 9. With 5 and 12 window bits, a connection takes 32 KiB to compress, once it has sent a message,
    and 11 KiB to inflate, once it has received one."""
    context_takeover: bool = True
    """False: neither end keeps a window between messages. Each message is compressed on its own, and shrinks less."""

    def __post_init__(self) -> None:
        check_counts(self, window_bits=(9, 15), memory_level=(1, 9))
        if not isinstance(self.context_takeover, bool):
            raise TypeError(f"context_takeover has to be True or False, not {self.context_takeover!r}")


@dataclass(frozen=True)
class Parameters:
    """The parameters that both ends have agreed on (§7.1). Each direction has two of them, and its own compressor.

    For example, ``server_max_window_bits=12`` bounds how far the server's messages refer back: 4,096 bytes. So it bounds the
    memory of the client, which has to keep these bytes in order to inflate the next message.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    memory_level: int = 8
    """zlib's memLevel for our own side; not part of the agreement."""


# ---- the header field --------------------------------------------------------------------------------------------------
#
#   Sec-WebSocket-Extensions = 1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) )             (RFC 6455 §9.1)
#   e.g.  permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate    (in order of preference)
#
# The repetitions in these patterns are possessive (*+, ++): they never give back what they have matched. Otherwise a field of
# many blanks or semicolons could make the search try exponentially many ways to split it (ReDoS).

_TOKEN = rf"[{TCHAR}]++"
# A quoted pair is legal, as long as the unquoted value is a token (RFC 6455 §4.3 and §9.1).
_QUOTED = rf'"(?:\\?[{TCHAR}])++"'
_PARAMETER = rf"[ \t]*+;[ \t]*+{_TOKEN}(?:[ \t]*+=[ \t]*+(?:{_TOKEN}|{_QUOTED}))?+"
_EXTENSION = re.compile(rf"[ \t]*+({_TOKEN})((?:{_PARAMETER})*+)[ \t]*+(?:,|\Z)")
_ONE_PARAMETER = re.compile(rf";[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+({_TOKEN}|{_QUOTED}))?")
_EMPTY = re.compile(r"[ \t]*+,")

Extension = tuple[str, list[tuple[str, str | None]]]


def parse_extensions(value: str) -> list[Extension]:
    """Return the extensions in a field, each with its parameters. A parameter without a value has the value None.

        >>> parse_extensions("permessage-deflate; client_max_window_bits; server_max_window_bits=10")
        [('permessage-deflate', [('client_max_window_bits', None), ('server_max_window_bits', '10')])]

    A value may be a quoted string, if what it quotes is a token (RFC 6455 §4.3). Raises RemoteProtocolError (400) for a
    malformed field, and for a field without an extension: a client that offers nothing leaves the field out.
    """
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
    if not found:
        raise RemoteProtocolError("empty Sec-WebSocket-Extensions", 400)  # the list has at least one element
    return found


def _unquote(value: str) -> str | None:
    """Return a value without the quotes and backslashes of a quoted string: ``"1\\0"`` is 10. None if there is no value.

    A backslash and the character after it MUST be read as that character alone (RFC 9110 §5.6.4).
    """
    return re.sub(r'["\\]', "", value) or None


def offer(compression: Compression) -> str:
    """Return a client's offer (§5): the value of its Sec-WebSocket-Extensions. Its parameters are those that RFC 7692
    defines (RFC 6455 §9 and §9.1).

        >>> offer(Compression(window_bits=15))
        'permessage-deflate; client_max_window_bits'

    A bound on the server's window comes with a second choice without the bound, since a server that cannot bound its window
    would have to decline the first choice. A number is sent bare: nothing in it needs quotes or a backslash (RFC 9110 §5.6.4).
    """
    words = [NAME]
    if not compression.context_takeover:
        words += ["server_no_context_takeover", "client_no_context_takeover"]
    words.append("client_max_window_bits")  # without a value: the server may choose
    unbounded = "; ".join(words)
    if compression.window_bits == 15:
        return unbounded
    return f"{unbounded}; server_max_window_bits={compression.window_bits}, {unbounded}"


def accept(extensions: list[Extension], compression: Compression) -> tuple[str, Parameters] | None:
    """Choose the first offer that a server can accept (§5). Return (the text of the answer, its parameters), or None.

    None means that the server declines (§7.1): its answer has no extension, and the messages are not compressed. At most one
    extension is accepted, so no two can both want the bit RSV1 (§5).

        >>> accept(parse_extensions("permessage-deflate; client_max_window_bits"), Compression(window_bits=12))[0]
        'permessage-deflate; client_max_window_bits=12'
    """
    for name, parameters in extensions:
        offered = _read(parameters) if name.lower() == NAME else None
        # zlib cannot compress with a window of 8 bits, so an offer that demands this is declined (§7.1.2.1).
        if offered is not None and offered.get("server_max_window_bits") != "8":
            return _answer(offered, compression)
    return None


def _answer(offered: dict[str, str | None], compression: Compression) -> tuple[str, Parameters]:
    """Return the answer to an offer that the server accepts, and its parameters (§5; RFC 6455 §9 and §9.1).

    ``server_no_context_takeover`` in the answer is our promise to begin each message with an empty window (§7.1.1.1). A server
    may always ask the client to keep no window (``client_no_context_takeover``), but it may bound the client's window
    only if the client has offered ``client_max_window_bits``.
    """
    words = [NAME]
    server_resets = "server_no_context_takeover" in offered or not compression.context_takeover
    client_resets = "client_no_context_takeover" in offered or not compression.context_takeover
    words += ["server_no_context_takeover"] * server_resets + ["client_no_context_takeover"] * client_resets
    server_bits = min(compression.window_bits, int(offered.get("server_max_window_bits") or 15))
    if "server_max_window_bits" in offered:  # §7.1.2.1: the answer's number is not greater than the offer's
        words.append(f"server_max_window_bits={server_bits}")
    client_bits = 15
    if "client_max_window_bits" in offered:  # §7.1.2.2: only if the client offered it
        client_bits = min(compression.window_bits, int(offered["client_max_window_bits"] or 15))
        words.append(f"client_max_window_bits={client_bits}")
    return "; ".join(words), Parameters(server_resets, client_resets, server_bits, client_bits, compression.memory_level)


def agree(parameters: list[tuple[str, str | None]], compression: Compression) -> Parameters:
    """Return the parameters in the answer to ``offer``. Raises RemoteProtocolError if the answer exceeds the offer (§7.1,
    RFC 6455 §9).

    A client has to take ``client_no_context_takeover`` from the server (§7.1.1.2). A bound on its own window always has a
    number in an answer (§7.1.2.2). A bound that the answer leaves out is 15 bits: the peer may refer back 32,768 bytes
    (§7.2.1, §7.2.2).
    """
    answered = _read(parameters)
    if answered is None or any(answered.get(name, "") is None for name in _BITS_PARAMETERS):
        raise RemoteProtocolError("the server's answer to permessage-deflate is invalid")
    server_resets = "server_no_context_takeover" in answered
    server_bits = int(answered.get("server_max_window_bits") or 15)
    if not server_resets and not compression.context_takeover:
        raise RemoteProtocolError("the server declined server_no_context_takeover")  # §7.1: MUST fail
    client_resets = "client_no_context_takeover" in answered or not compression.context_takeover
    client_bits = min(compression.window_bits, int(answered.get("client_max_window_bits") or 15))
    if client_bits == 8:
        raise RemoteProtocolError("zlib can't compress with a window of 8 bits")
    return Parameters(server_resets, client_resets, server_bits, client_bits, compression.memory_level)


_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_BITS_PARAMETERS = ("server_max_window_bits", "client_max_window_bits")


def _read(parameters: list[tuple[str, str | None]]) -> dict[str, str | None] | None:
    """Return the parameters by name; None (to decline, §7.1) if one is unknown, repeated, or has a wrong value.

    The two numbers are decimal, 8 to 15, without leading zeros (§7.1.2.1, §7.1.2.2). Parameters have to be those that the
    extension defines (RFC 6455 §9 and §9.1).
    """
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
    """Compresses the messages that we send (§7.2.1)."""

    __slots__ = ("_bits", "_context", "_level", "_stream")

    def __init__(self, bits: int, memory_level: int, *, context_takeover: bool) -> None:
        self._bits = bits
        self._level = memory_level
        self._context = context_takeover
        self._stream: zlib._Compress | None = None  # created at the first message, so that an idle connection needs no memory

    @classmethod
    def of(cls, parameters: Parameters, *, server: bool) -> Self:
        """Return the Deflater for the sending side of a server or a client.

        Its window is no larger than agreed, and it keeps no window between messages if the two ends agreed so (four MUSTs of
        §7.2.1).
        """
        if server:
            bits, resets = parameters.server_max_window_bits, parameters.server_no_context_takeover
        else:
            bits, resets = parameters.client_max_window_bits, parameters.client_no_context_takeover
        return cls(bits, parameters.memory_level, context_takeover=not resets)

    @property
    def parameters(self) -> tuple[int, int]:
        """(window bits, memLevel). Deflaters with equal parameters compress their first message to equal bytes."""
        return self._bits, self._level

    def compress(self, data: bytes, *, last: bool = True) -> bytes:
        """Return the compressed bytes of a message, or of one fragment of a message (§7.2.1).

        The data is raw DEFLATE, without zlib's header. A flush ends the bytes at a byte boundary, so that the peer can inflate
        everything at once. Only the last fragment is sent without the flush's ``00 00 ff ff``: between two fragments these
        bytes separate one deflate block from the next.
        """
        if self._stream is None:
            self._stream = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -self._bits, self._level)
        encoded = self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if not last:
            return encoded
        if not self._context:
            self.drop_window()
        return encoded[:-4]

    def drop_window(self) -> None:
        """Drop the window: the next message refers to no earlier message."""
        self._stream = None


class Inflater:
    """Decompresses the messages that we receive.

    A peer that refers back further than its agreed window breaks §7.1.2. zlib notices some of these references and misses
    others, depending on how the data was cut. Noticing all of them would take the memory of the largest window.

    A message may consist of several deflate streams: when one ends with a final block, ``inflate`` begins the next. The next
    stream begins with an empty window, as it does for a sender that uses zlib. By the letter of §7.2.2 the window would stay.
    """

    __slots__ = ("_bits", "_context", "_stream")

    def __init__(self, bits: int, *, context_takeover: bool) -> None:
        self._bits = bits
        self._context = context_takeover
        self._stream: zlib._Decompress | None = None

    @classmethod
    def of(cls, parameters: Parameters, *, server: bool) -> Self:
        """Return the Inflater for the receiving side of a server or a client.

        It keeps a window of 32,768 bytes from one message to the next, unless the peer has agreed to a smaller window or to
        none (§7.2.2). Only the answer counts: an offer is not an agreement.
        """
        if server:
            return cls(parameters.client_max_window_bits, context_takeover=not parameters.client_no_context_takeover)
        return cls(parameters.server_max_window_bits, context_takeover=not parameters.server_no_context_takeover)

    def inflate(self, data: bytes, room: int) -> Iterator[bytes]:
        """Yield the inflated data in pieces of bounded size, up to the first byte beyond ``room`` bytes.

        The caller adds up the lengths: more than ``room`` bytes mean that the message is too long. Nothing is read after the
        first excess byte. So a message that is too long, and malformed after that byte, is always "too long", however the
        network has cut it (law 2). Raises zlib.error for data that is not deflate.
        """
        rest, full = memoryview(data), False
        while (rest or full) and room >= 0:  # a full piece means that zlib may hold more output, even without more input
            if self._stream is None:
                self._stream = zlib.decompressobj(-self._bits)
            # zlib reads input for as long as the output has room. At the limit zlib is given one byte at a time. Given more,
            # it could meet malformed data after the first excess byte, and raise before returning that byte.
            size, taken = (min(_PIECE, room), len(rest)) if room else (1, 1)
            piece = self._stream.decompress(rest[:taken], size)
            rest = memoryview(self._stream.unused_data or self._stream.unconsumed_tail) if room else rest[1:]
            room, full = room - len(piece), len(piece) == size
            # A final block ends a deflate stream, and is padded to a whole byte (§7.2.1). Any data after it begins
            # the next stream, as in the example of §7.2.3.4.
            if self._stream.eof:
                self._stream, full = None, False
            yield piece

    def finish(self, room: int) -> Iterator[bytes]:
        """Yield the end of a message, after all of its bytes have been passed to ``inflate``.

        zlib may hold bytes back until it sees the end of a block. The four bytes that the sender left out are this end
        (§7.2.2).
        """
        yield from self.inflate(_TAIL, room)
        if not self._context:
            self._stream = None
