r"""The content of an HTTP/1.1 message as it arrives (RFC 9112 §6 and §7).

There are three ways to find the end of content, and one reader for each:

    Content-Length: 5            hello                                       LengthReader: five bytes
    Transfer-Encoding: chunked   3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n            ChunkedReader: up to a chunk of size 0
    neither, in a response       hello, and then the server closes           UntilCloseReader: all that comes

``http1.py`` decides which of the three applies from the head's fields. Each reader takes bytes out of the receive buffer, and
returns one event for each call: a Data with the content that has arrived, then an EndOfMessage; or None if more bytes are
needed. A reader never waits for a piece of content to be complete, so content of any length needs little memory.

A sender that generates its content on the fly does not know the length beforehand. So it sends *chunks*. The size of each
chunk comes first, in hexadecimal. A chunk of size 0 is the end, and fields may follow it: *trailers*, such as a checksum that
is known only at the end. Here the content arrives in four pieces that end anywhere. Each line shows a piece, the events, and
the number of pending bytes in the buffer:

    >>> from minproto.core import SERVER
    >>> from minproto.http1 import Connection
    >>> server = Connection(SERVER)
    >>> server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    >>> head = server.next_event()
    >>> for piece in (b"5\r", b"\nhel", b"lo\r\n0", b"\r\nDigest: x\r\n\r\n"):
    ...     server.receive_data(piece)
    ...     print(piece, *server.events(), server.buffered)
    b'5\r' 2
    b'\nhel' Data(data=b'hel', stream=0) 0
    b'lo\r\n0' Data(data=b'lo', stream=0) 1
    b'\r\nDigest: x\r\n\r\n' EndOfMessage(trailers=[('digest', 'x')], stream=0) 0

The first piece may be the beginning of ``5\r\n`` (a complete size) or of ``5\rX`` (a fault), so its two bytes wait. The first
three of the chunk's five bytes are delivered as soon as they arrive.

Easy to get wrong: a chunk line is a place where two programs can disagree on the end of a message, and an attacker can exploit
this (request smuggling, §11.2). So a size is hexadecimal digits and nothing else: no sign, no ``0x``, no space in front. A
line ends in CRLF, and so does the data of a chunk.

Left out: the meaning of chunk extensions (``5;name=value``), since nobody uses them (§7.1.1). They are checked and skipped.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minproto.buffer import Buffer
from minproto.core import RemoteProtocolError
from minproto.http import FIELD_VCHAR, TCHAR, Data, EndOfMessage, Headers

# ---- framing: how a message shows where its content ends (§6.3) ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContentLength:
    """The content has ``length`` bytes; ``length`` is also 0 if the message can have no content."""

    length: int


@dataclass(frozen=True, slots=True)
class Chunked:
    """The content comes in chunks, and the last chunk is its end."""


@dataclass(frozen=True, slots=True)
class UntilClose:
    """The content ends when the server closes the connection. Only a response can be framed this way (§6.3, rule 8)."""


Framing = ContentLength | Chunked | UntilClose

WITH_PARAMETERS = re.compile(r"(?:chunked|deflate|(?:x-)?(?:gzip|compress))[\t ]*+;")
"""Matches an element of Transfer-Encoding, in lower case, that gives parameters to a coding that defines none (§7.1, §7.2). If
one program took ``chunked;a=b`` for chunked, and another one for an unknown coding, they would disagree on the end."""


# ---- the readers -------------------------------------------------------------------------------------------------------


class LengthReader:
    """Reads content of a known length.

    The content is complete with its last byte, however the connection ends after that: even if TLS is cut off (§9.8).
    """

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length
        """The number of bytes that have not arrived."""

    def read(self, buffer: Buffer) -> Data | EndOfMessage | None:
        """Return the content that has arrived; after its last byte, an EndOfMessage; None if more bytes are needed."""
        if not self.left:
            return EndOfMessage()
        data = buffer.take(self.left)
        self.left -= len(data)
        return Data(data) if data else None


class UntilCloseReader:
    """Reads content that ends with the connection: only a response can have it (§6.3, rule 8).

    Nothing in the bytes shows whether such content is complete: a broken connection may look like one that was
    closed. ``Connection`` handles the end (``receive_eof``), so this reader never returns an EndOfMessage.
    """

    __slots__ = ("_room",)

    def __init__(self, max_content: int) -> None:
        self._room = max_content

    def read(self, buffer: Buffer) -> Data | None:
        """Return the content that has arrived. Raises RemoteProtocolError at the first byte beyond the limit.

        The error has no status: only a client reads such content, and a client sends no response.
        """
        data = buffer.take(self._room)
        self._room -= len(data)
        if not data and buffer.size:
            raise RemoteProtocolError("content too large")
        return Data(data) if data else None


# ---- chunks ------------------------------------------------------------------------------------------------------------
#
#   chunked-body = *( chunk-size [ chunk-ext ] CRLF chunk-data CRLF ) last-chunk trailer-section CRLF            (§7.1)
#   chunk-size   = 1*HEXDIG                                                 (at most 16 here: a number of 64 bits)
#   last-chunk   = 1*"0" [ chunk-ext ] CRLF
#   chunk-ext    = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )                              (§7.1.1)
#
# For example, ``A;sig="x y"\r\n`` announces ten bytes. BWS is "bad whitespace": nobody should send it, and everybody has to
# accept it.
#
# Two patterns read such a line. The first one matches a whole line. The second one matches the beginning of a line whose end
# has not arrived, up to the first wrong byte; so a fault is found when its byte arrives, not when the line is complete.
# *+ and ++ are possessive: they give nothing back, so a match takes time in proportion to the line, whatever it contains.

_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION = rf"[\t ]*+;[\t ]*+[{TCHAR}]++(?:[\t ]*+=[\t ]*+(?:[{TCHAR}]++|{_QUOTED}))?"
_CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]{{1,16}})(?:{_EXTENSION})*+\r\n".encode("latin-1"))
_CHUNK_LINE_SO_FAR = re.compile(rf"(?:[0-9A-Fa-f]{{1,16}}+(?:[\t ]*+(?:;[{FIELD_VCHAR}]*+)?)?\r?)?".encode("latin-1"))


def parse_chunk_line(buffer: Buffer, max_line: int) -> tuple[int, int] | None:
    r"""Remove the line before a chunk's data. Return the size of the data, and the number of bytes of extensions in the line.

    Bad whitespace around ";" and "=" MUST be accepted, and has no meaning (RFC 9110 §5.6.3).

    Return None if the line is not complete. Raises RemoteProtocolError (400) for a wrong byte, and if ``max_line`` bytes of a
    line have arrived without its end: so a client learns that the response is incomplete (§8).

    A recipient MUST anticipate large numbers (§7.1): in 32 bits, ``100000000`` would be 0, the last chunk. Python's ``int``
    has no limit. More than 16 digits are refused, because other programs may misread them. Extensions MUST be ignored
    (§7.1.1).

        >>> buffer = Buffer(limit=100)
        >>> stored = buffer.append(b'A;sig="x y"\r\n0123456789')
        >>> parse_chunk_line(buffer, 100), buffer.peek()
        ((10, 10), b'0123456789')
    """
    line = buffer.peek(0, max_line)
    complete = _CHUNK_LINE.match(line)
    if complete is not None:
        buffer.skip(complete.end())
        return int(complete[1], 16), complete.end() - complete.end(1) - 2
    so_far = _CHUNK_LINE_SO_FAR.match(line)
    assert so_far is not None  # the pattern matches the empty string, too
    if so_far.end() < len(line) or len(line) == max_line:
        raise RemoteProtocolError("malformed chunk size or extension", 400)
    return None


def parse_chunk_end(buffer: Buffer) -> bool | None:
    """Remove the CRLF after a chunk's data, and return True. Return None if the CRLF is not complete.

    Raises RemoteProtocolError (400) if other bytes come instead of the CRLF: then the size was wrong, and we cannot know where
    the message ends. A client has to take such a response for incomplete (§8).
    """
    found = buffer.peek(0, 2)
    if not b"\r\n".startswith(found):
        raise RemoteProtocolError("chunk data is not followed by CRLF", 400)
    if len(found) < 2:
        return None
    buffer.skip(2)
    return True


class ChunkedReader:
    """Reads content in chunks, and the trailers after them (§7.1). A recipient MUST be able to do that (§6.1).

        SIZE --> DATA --> CRLF --> SIZE --> ... --> SIZE (it is 0) --> TRAILERS
    """

    __slots__ = ("_extensions", "_left", "_max_extensions", "_max_line", "_part", "_read_trailers", "_room")

    def __init__(
        self,
        max_content: int,
        max_line: int,
        max_extensions: int,
        read_trailers: Callable[[Buffer], tuple[Sequence[str], Headers] | None],
    ) -> None:
        """``max_content``, ``max_line``, ``max_extensions``: the maximum number of bytes of all data, of a chunk line, and of
        all extensions together.

        ``read_trailers``: removes the trailer section from the buffer and returns it, as ``HeadReader.read`` does.
        """
        self._room = max_content
        self._max_line = max_line
        self._max_extensions = max_extensions
        self._read_trailers = read_trailers
        self._extensions = 0  # bytes of extensions so far
        self._part = "SIZE"  # what has to come next
        self._left = 0  # bytes of the current chunk's data that have not arrived

    def read(self, buffer: Buffer) -> Data | EndOfMessage | None:
        """Return the content of one chunk, as far as it has arrived, or the end with its trailers.

        The last chunk and the trailers complete the content, however the connection ends after that: even if TLS is cut off
        (§9.8).

        The trailers stay in the EndOfMessage. They MUST NOT be merged into the header, unless the definition of such a field
        says how (§7.1.2): there they could forge a field that somebody has checked.

        Raises RemoteProtocolError: 400 for malformed chunks, 413 for a chunk with which the content exceeds the limit.
        """
        if self._part == "CRLF" and parse_chunk_end(buffer):
            self._part = "SIZE"
        if self._part == "SIZE":
            self._read_size(buffer)
        if self._part == "TRAILERS":
            section = self._read_trailers(buffer)
            return None if section is None else EndOfMessage(section[1])
        if self._part != "DATA":
            return None
        data = buffer.take(self._left)
        self._left -= len(data)
        if not self._left:
            self._part = "CRLF"
        return Data(data) if data else None

    def _read_size(self, buffer: Buffer) -> None:
        """Begin a chunk, if its line is complete.

        The size that the line announces is checked against the limit at once, before any data arrives.
        """
        line = parse_chunk_line(buffer, self._max_line)
        if line is None:
            return
        size, extensions = line
        # A peer could send a long extension with each byte of content, and make us read forever (§7.1.1).
        self._extensions += extensions
        if self._extensions > self._max_extensions:
            raise RemoteProtocolError("too many chunk extensions", 400)
        self._room -= size
        if self._room < 0:
            raise RemoteProtocolError("content too large", 413)
        self._left = size
        self._part = "DATA" if size else "TRAILERS"


BodyReader = LengthReader | UntilCloseReader | ChunkedReader
