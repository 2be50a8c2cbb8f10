r"""HTTP/1.1 as bytes (RFC 9112): lines of text around content, and many ambiguous spellings to refuse.

A client sends a request, and a server answers with a response. This is a whole exchange, with all of its bytes. The line ends
are CR LF, ``\r\n`` in Python:

    POST /echo HTTP/1.1             request line: method, target, version        \
    Host: example.com               field lines: name, colon, value               | the head
    Content-Length: 5                                                              |
                                    an empty line ends the head                  /
    hello                           content: five bytes, as Content-Length said

    HTTP/1.1 200 OK                 status line: version, status code, reason phrase
    Content-Length: 2

    hi

After the ``hi``, the next request may follow on the same connection (*keep-alive*, §9.3). Only the fields show where one
message ends and the next begins. In the core, that exchange looks like this:

    >>> server = Connection(SERVER)
    >>> for chunk in (b"POST /echo HT", b"TP/1.1\r\nHost: example.com\r\nContent-", b"Length: 5\r\n\r\nhello"):
    ...     server.receive_data(chunk)
    ...     print(server.buffered, *(type(event).__name__ for event in server.events()))
    13
    48
    66 RequestHead Data EndOfMessage
    >>> server.send(ResponseHead(200, Headers([("content-length", "2")])))
    b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n'
    >>> server.send(Data(b"hi")), server.send(EndOfMessage())
    (b'hi', b'')

The head arrives in three chunks, and its 61 bytes stay in the buffer until the last chunk has arrived. Content is delivered as
it arrives.

**Request smuggling** is what this file has to prevent. A proxy often sits between client and server, and sends the requests
of many users over one connection. If the proxy and the server disagree on where a request ends, an attacker can hide a second
request in the content of the first one: the proxy has checked one request, the server sees two (§11.2). So our server
refuses every spelling that two programs could read in different ways:

    >>> def receive(*lines):
    ...     server = Connection(SERVER)
    ...     server.receive_data("\r\n".join([*lines, "", ""]).encode())
    ...     try:
    ...         return server.next_event().headers
    ...     except RemoteProtocolError as error:
    ...         return f"{error.code} {error}"
    >>> receive("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked")
    '400 both Transfer-Encoding and Content-Length'
    >>> receive("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Content-Length: 6")
    '400 invalid Content-Length'
    >>> receive("POST / HTTP/1.1", "Host: a", "X: a", " Content-Length: 5")
    '400 unexpected byte 0x20 in the name of a head'
    >>> receive("POST / HTTP/1.1", "Host: a", "Content-Length: +5")
    '400 invalid Content-Length'
    >>> receive("POST / HTTP/1.1", "Host: a", "Content-Length: 0")
    [('host', 'a'), ('content-length', '0')]

**Keep-alive or close.** The connection stays open after a response unless one side says ``Connection: close``. Until our
response is complete, the core does not look at the next request, even if its bytes are there (*pipelining*):

    >>> def answer(server, *fields):
    ...     server.send(ResponseHead(204, Headers(fields)))
    ...     server.send(EndOfMessage())
    >>> server = Connection(SERVER)
    >>> server.receive_data(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    >>> [type(event).__name__ for event in server.events()], server.wants.name, server.buffered
    (['RequestHead', 'EndOfMessage'], 'PAUSED', 28)
    >>> answer(server)
    >>> server.next_event().target, server.next_event(), server.next_event()
    ('/2', EndOfMessage(trailers=[], stream=0), None)
    >>> answer(server, ("connection", "close"))
    >>> server.next_event(), server.wants.name
    (None, 'CLOSED')

**Upgrade.** A request may offer to switch to another protocol. When the server accepts with a 101, HTTP ends, and the bytes
that follow are left to the next protocol, here WebSocket:

    >>> server = Connection(SERVER)
    >>> server.receive_data(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x80abcd")
    >>> request = list(server.events())
    >>> server.send(ResponseHead(101, Headers([("upgrade", "websocket"), ("connection", "upgrade")])))
    b'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'
    >>> server.next_event(), server.wants.name, server.trailing_data
    (None, 'PAUSED', b'\x81\x80abcd')

Easy to get wrong:

- A wrong byte is refused when it arrives, not when its line is complete. Otherwise an attacker could send an endless line,
  and a TLS client on the wrong port would wait for an answer to its hello.
- The end of a response depends on the request: a response to HEAD has a Content-Length but no content.
- A client has to accept what old servers send: a header line that is folded into two (§5.2), content that ends when the server
  closes (§6.3). In a request, a server accepts neither.

The parts of this file: limits; the syntax of a head; framing, which is how a message shows where it ends; the states of
a connection; the connection. ``http1_body.py`` reads content, and ``http.py`` has what all versions of HTTP share.

Left out: transfer codings other than chunked (nobody sends them; the content of such a response is passed on as it is),
HTTP/0.9, ``message/http`` (§10), and pipelining by our client. Reason phrases are sent, but ignored when received (§4).

Below, "a 1xx" is any status from 100 to 199: an *interim* response, after which another response to the same request
comes. An *important* field is one that changes how a message is read: ``important_fields`` in ``http.py`` has their names, and
joins the values of repeated lines.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from minproto import http1_body
from minproto.buffer import Buffer
from minproto.core import (
    CLIENT,
    DATA,
    PAUSED,
    SERVER,
    Core,
    Event,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    Role,
    Wants,
    check_counts,
)
from minproto.http import (
    FIELD_VCHAR,
    METHODS,
    REASONS,
    TARGET,
    TCHAR,
    Data,
    EndOfMessage,
    Headers,
    RequestHead,
    ResponseHead,
    check_host,
    check_target,
    has_no_content,
    important_fields,
    is_field,
    parse_content_length,
    split_list,
)
from minproto.http1_body import WITH_PARAMETERS, Chunked, ContentLength, Framing, UntilClose


@dataclass(frozen=True)
class Limits:
    """The bounds on everything that a peer could make endless, in bytes unless said otherwise (RFC 9110 §2.3).

    They are far above what our own client and server send, so that each could read the other (RFC 9110 §2.3, a MUST).

    The number after "Else" is the status with which a server refuses a request beyond the limit.
    """

    max_start_line: int = 8_192
    """The size of a request line without its end. §3 recommends at least 8,000, and RFC 9110 §4.1 asks for 8,000 in the target
    alone. Else 414 (501, if all of it is a method)."""
    max_head: int = 65_536
    """The size of a head, from its first byte to its empty line, or of a trailer section; large enough for cookies and tokens.
    Else 431. Also the size of all chunk extensions of one body together. Else 400."""
    max_headers: int = 100
    """The field lines of a head or a trailer section. Each costs an object, so max_head does not bound memory. Else 431."""
    max_body: int = 1 << 30
    """The size of one message's content. The limit protects disks and apps; flow control bounds memory. Else 413."""
    max_chunk_line: int = 256
    """The first line of a chunk: its size, and extensions, which nobody needs and which may be endless (§7.1.1). Else 400."""
    max_empty_lines: int = 4
    """The number of empty lines skipped before a request line; §2.2 asks for at least one. Else 400."""

    def __post_init__(self) -> None:
        check_counts(self, max_body=(0, sys.maxsize))


# ---- the syntax of a head --------------------------------------------------------------------------------------------
#
#   request-line = method SP request-target SP HTTP-version             GET /where?q=now HTTP/1.1                  (§3)
#   status-line  = HTTP-version SP status-code SP [ reason-phrase ]     HTTP/1.1 200 OK                            (§4)
#   field-line   = field-name ":" OWS field-value OWS                   Host: www.example.org                      (§5)
#   head         = start-line CRLF *( field-line CRLF ) CRLF                                                       (§2.1)
#
# OWS is optional whitespace: spaces and tabs. A head is read part by part: the method, the target, and so on. The tables below
# say for each part which bytes it may have, and what ends it:
#
#   method " " target " " version CRLF --+                       +---------------------+
#                                        v                       v                     |
#                                      name ":" value CRLF --> name ":" value CRLF ----+--> ... --> CRLF (an empty line): END
#                                        ^
#   version " " status " " reason CRLF --+


_NOTHING: dict[bytes, str] = {}


class Part(NamedTuple):
    """A part of a head, as the reader meets it."""

    allowed: re.Pattern[bytes]
    """Matches as many bytes as can belong to the part."""
    ends: dict[bytes, str]
    """The bytes that end the part, and the name of the part that follows. Longer ends come before shorter ones."""
    least: int = 1
    """The minimum number of bytes in the part."""
    fixed: bool = False
    """Whether each byte has its own place, as in "HTTP/1.1"; otherwise the part is a run of bytes of one kind."""
    instead: dict[bytes, str] = _NOTHING
    """The bytes that may come instead of the part, if fewer than ``least`` bytes of it have arrived. Only a name has such
    bytes: the CRLF of the empty line, which ends the head. After two digits of a status, only a third digit may come, and
    nothing instead of it."""


Syntax = dict[str, Part]


def _run(allowed: str) -> re.Pattern[bytes]:
    return re.compile(f"[{allowed}]*+".encode("latin-1"))


END = "end"
# No space may come before a name, not even in the first line of the fields (§2.2), and none between a name and its colon
# (§5.1). A CR that no LF follows ends no line (§2.2), and neither does an LF alone: §2.2 permits a recipient to accept the LF,
# but if only one of two programs does, they see different lines.
# FIELD_VCHAR has no CR, LF or NUL. A value with one of them MUST be refused, or the byte replaced by a space (RFC 9110 §5.5):
# some programs end the value there, and would see different fields from ours.
_FIELDS: Syntax = {
    "name": Part(_run(TCHAR), {b":": "value"}, instead={b"\r\n": END}),
    "value": Part(_run(FIELD_VCHAR), {b"\r\n": "name"}, least=0),
}
# A server may fold a value: continue it on the next line, which begins with a space or a tab. A user agent MUST accept this
# (§5.2). Nothing else may accept it: a proxy that takes the second line for a separate field would see a different head from
# ours.
_FOLDED_FIELDS = _FIELDS | {
    "value": Part(_run(FIELD_VCHAR), {b"\r\n ": "value", b"\r\n\t": "value", b"\r\n": "name"}, least=0)
}
# As we send it: a client MUST NOT send a version to which it does not conform (RFC 9110 §6.2).
_REQUEST_LINE = re.compile(rf"([{TCHAR}]++) ([{TARGET}]++) HTTP/(1\.[01])")
_FOLD = re.compile(r"\r\n[\t ]++")

_VERSION = re.compile(rb"(?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.[0-9]?)?)?)?)?)?)?)?")
# One space between the parts of a start line, and no other whitespace. §3 and §4 permit a recipient to accept more than that,
# and warn of it: of two programs, one might find the method, or the status, where the other does not. A line with an extra
# space is refused, and never corrected (§3.2). A value in a request is not continued on the next line: §5.2 demands a 400.
REQUEST: Syntax = {
    "method": Part(_run(TCHAR), {b" ": "target"}),
    "target": Part(_run(TARGET), {b" ": "version"}),
    "version": Part(_VERSION, {b"\r\n": "name"}, least=len("HTTP/1.1"), fixed=True),
} | _FIELDS
RESPONSE: Syntax = {
    "version": Part(_VERSION, {b" ": "status"}, least=len("HTTP/1.1"), fixed=True),
    # §4: a server MUST send the space after the status code. Some omit the space if they send no reason: unambiguous.
    "status": Part(re.compile(rb"[0-9]{0,3}+"), {b" ": "reason", b"\r\n": "name"}, least=3, fixed=True),
    "reason": Part(_run(FIELD_VCHAR), {b"\r\n": "name"}, least=0),
} | _FOLDED_FIELDS


class HeadReader:
    r"""Reads one head after another, or one trailer section, from a buffer, however the network has cut the bytes.

    The reader remembers where it stopped, so no byte is looked at twice, even if a value of 64 KiB arrives one byte at a
    time. While a head arrives in three chunks, the reader remembers the current part, where this part began, and where to
    continue:

        >>> buffer, reader = Buffer(100), HeadReader(REQUEST, Limits())
        >>> for chunk in (b"GET /a HT", b"TP/1.1\r\nHo", b"st: b\r\n\r\n"):
        ...     stored = buffer.append(chunk)
        ...     print(reader.read(buffer), reader._part, reader._part_start, reader._position)
        None version 7 9
        None name 17 19
        (['GET', '/a', 'HTTP/1.1'], [('host', 'b')]) method 0 0

    The bytes stay in the buffer until the head is complete. So code that asks the connection how many bytes are pending, or
    continues with another parser, sees all of them.
    """

    __slots__ = ("_fields", "_first_part", "_limits", "_max_line", "_part", "_part_start", "_position", "_start", "_syntax")

    def __init__(self, syntax: Syntax, limits: Limits, first_part: str = "") -> None:
        """``first_part``: "name" for a trailer section, which has no start line."""
        self._syntax = syntax
        self._limits = limits
        self._first_part = first_part or next(iter(syntax))
        self._max_line = limits.max_start_line if syntax is REQUEST else limits.max_head  # so a status line is never too long
        self._begin()

    def _begin(self) -> None:
        self._part = self._first_part
        self._part_start = 0  # the position of the part's first byte
        self._position = 0  # the position of the first byte that has not been looked at
        self._start: list[str] = []  # the parts of the start line
        self._fields: list[str] = []  # name, value, name, value, ...

    def read(self, buffer: Buffer) -> tuple[Sequence[str], Headers] | None:
        """Remove a complete head from the buffer. Return the parts of its start line, and its fields; None if incomplete.

        Spaces and tabs around a value do not belong to the value (§5.1), and a fold becomes one space (§5.2). RFC 9110 §5.5
        demands the former of every version of HTTP. Names get lower case, since no version tells the two cases apart (RFC 9110
        §5.1).

        A server MUST NOT act on a part of a head, since a later field may contradict an earlier one (RFC 9110 §5.3). So there
        is no event for a part.

        Raises RemoteProtocolError: 400 at the first byte that no head can have in that place; 414, 431 or 501 if a part is too
        long. A server that ignored a field too large for it would read a different request from the proxy's (RFC 9110 §5.4).
        """
        while self._part != END:
            if not self._read_part(buffer, min(buffer.size, self._limits.max_head)):
                if buffer.size >= self._limits.max_head:
                    raise RemoteProtocolError("head too large", 431)
                return None
        buffer.skip(self._position)
        values = (_FOLD.sub(" ", value).strip("\t ") for value in self._fields[1::2])  # §5.1, §5.2
        head = self._start, Headers(zip(map(str.lower, self._fields[::2]), values, strict=True))
        self._begin()
        return head

    def _read_part(self, buffer: Buffer, end: int) -> bool:
        """Read the current part up to the position ``end``. Return False if the part's end has not arrived.

        A byte that neither belongs to the part nor ends it is a 400: a space before a name or in a target (§2.2, §3.2), a CR
        without its LF (§2.2), a space before the colon (§5.1).
        """
        part = self._syntax[self._part]
        # "TTP" is right only after an "H". So a part in which each byte has its place is matched again from its first byte.
        position = min(end, buffer.match(part.allowed, self._part_start if part.fixed else self._position))
        if position > self._max_line and self._part in ("method", "target", "version"):
            # §3: a server SHOULD answer an overlong method with 501, and MUST answer an overlong target with 414.
            raise RemoteProtocolError("request line too long", 501 if self._part == "method" else 414)
        self._position = position
        length = position - self._part_start
        ends = part.ends if length >= part.least else part.instead
        behind = buffer.peek(position, min(position + 3, end))  # the longest end has three bytes: CR LF SP, a fold
        if not behind:
            return False
        for each, after in ends.items():
            if behind.startswith(each):
                self._end_part(buffer, len(each), after)
                return True
            if each.startswith(behind):
                return False  # the first half of a CRLF; or a CRLF that a space would make a fold
        raise RemoteProtocolError(f"unexpected byte 0x{behind[0]:02x} in the {self._part} of a head", 400)

    def _end_part(self, buffer: Buffer, size: int, after: str) -> None:
        """Store the text of the current part, and continue after the part's end, which has ``size`` bytes.

        §2.2: a message MUST be parsed as octets. So the lines are found among the bytes, and each part becomes text only when
        its bytes are known: one character for each byte. A program that decodes a whole head first, say as UTF-8, may lose
        bytes that are not UTF-8, or take characters such as U+0085 for the end of a line. A byte above 0x7f is opaque data: it
        is passed on as it is, whatever the sender's encoding (RFC 9110 §5.5).
        """
        start, position = self._part_start, self._position
        self._position += size
        if after == self._part:  # a fold: the value continues
            return
        if after != END:  # at END, an empty line has arrived instead of a name: no text to store
            texts = self._fields if self._part in _FIELDS else self._start
            texts.append(buffer.peek(start, position).decode("latin-1"))
        if len(self._fields) > 2 * self._limits.max_headers:
            raise RemoteProtocolError("too many fields", 431)
        self._part, self._part_start = after, self._position


def encode_fields(headers: Sequence[tuple[str, str]]) -> str:
    """Return field lines, each with its CRLF. Raises LocalProtocolError for a field that is not valid.

    A value with a line break in it would become two lines. If a user's input got into a value, an attacker could add fields,
    or a whole response (response splitting, §11.1). So this function sends only what the grammar allows (RFC 9110 §2.2): a CR
    only at the end of a line (§2.2), no folded value (§5.2), and no line that begins with a space (§2.2). The optional
    whitespace is one space, between colon and value, for people who read the bytes (RFC 9110 §5.6.3).
    """
    for line in headers:
        if not is_field(line):
            wrong = "value" if is_field((line[0], "")) else "name (they are in lower case)"
            raise LocalProtocolError(f"the field {line[0]!r} has an invalid {wrong}")
    return "".join(f"{name}: {value}\r\n" for name, value in headers)


# ---- framing: where a message ends (§6.3) ----------------------------------------------------------------------------
#
# For a request:                                       For a response, the first rule that fits:
#
#   Transfer-Encoding   its last coding is chunked       a 1xx, 204, 304, or to HEAD, or 2xx to CONNECT   no content
#   Content-Length      that many bytes                  Transfer-Encoding    chunked last: chunked; else until close
#   neither             no content                       Content-Length       that many bytes
#   both                refused                          neither              until the server closes
#                                                        both                 refused


NO_CONTENT = ContentLength(0)


def request_framing(version: str, fields: dict[str, str], fault: type[ProtocolError]) -> Framing:
    """Return the framing of a request with these important fields. Raises ``fault`` (400, 501).

    A request without Content-Length and Transfer-Encoding has no content (§6.3, rule 7): it never lasts until the close.
    """
    if "transfer-encoding" not in fields:
        return ContentLength(parse_content_length(fields.get("content-length", "0"), fault))
    codings = _transfer_codings(version, fields, fault)
    # §6.1: a sender MUST NOT apply chunked more than once, and MUST apply it last, or nothing shows where the request ends.
    # §6.3: if chunked is not last, the server MUST respond with 400.
    if codings[-1:] != ["chunked"] or codings.count("chunked") > 1:
        raise fault("in Transfer-Encoding, chunked must come last, and once", 400)
    if len(codings) > 1:
        raise fault("unknown transfer coding", 501)  # §6.1: SHOULD
    return Chunked()


def response_framing(method: str, status: int, version: str, fields: dict[str, str], fault: type[ProtocolError]) -> Framing:
    """Return the framing of a response to a request with ``method``. Raises ``fault`` (400).

    §6.3: a response without content ends with its head, whatever its fields say (rule 1), and so does a 2xx to CONNECT, whose
    length a client MUST ignore (rule 2). §6.1: chunked is applied once. If it is not the last coding, the end of the
    connection is the end of the content (rule 4).
    """
    if has_no_content(method, status):
        return NO_CONTENT
    if "transfer-encoding" not in fields:
        known = "content-length" in fields
        return ContentLength(parse_content_length(fields["content-length"], fault)) if known else UntilClose()
    codings = _transfer_codings(version, fields, fault)
    if codings.count("chunked") > 1:
        raise fault("chunked applied twice")
    return Chunked() if codings[-1:] == ["chunked"] else UntilClose()


def _transfer_codings(version: str, fields: dict[str, str], fault: type[ProtocolError]) -> list[str]:
    """Return the transfer codings in the order in which they were applied. Raises ``fault`` (400) for an ambiguous framing.

    The names are in lower case: ``Chunked`` is chunked (§7).
    """
    if version == "1.0":  # §6.1: MUST treat the message as if the framing is faulty: HTTP/1.0 does not know the field
        raise fault("Transfer-Encoding in HTTP/1.0", 400)
    # §6.2: a sender MUST NOT send both fields, so a recipient of both may be under attack (request smuggling). §6.3: both
    # ought to be handled as an error. §6.1: a server MUST close after it has answered such a request. A 400 does all of that.
    if "content-length" in fields:
        raise fault("both Transfer-Encoding and Content-Length", 400)
    codings = split_list(fields["transfer-encoding"])
    if any(map(WITH_PARAMETERS.match, codings)):
        raise fault("a transfer coding with parameters that it does not have", 400)  # §7.1, §7.2: SHOULD be an error
    return codings


def persists(version: str, fields: dict[str, str]) -> bool:
    """Return whether the connection stays open, according to one message of the exchange (keep-alive, §9.3).

    In HTTP/1.1 a connection stays open unless one side says ``Connection: close`` (§9.6); in HTTP/1.0, only if both sides say
    ``keep-alive``.
    """
    if "connection" not in fields:
        return version != "1.0"
    options = split_list(fields["connection"])
    return "close" not in options and (version != "1.0" or "keep-alive" in options)


class Handling(NamedTuple):
    """The result of ``request_handling``: how a request ends, and what its fields ask of the server."""

    framing: Framing
    keep_alive: bool
    upgrade: bool
    """The request offers to switch to another protocol, such as WebSocket."""
    expects_continue: bool


def request_handling(version: str, headers: Sequence[tuple[str, str]], fault: type[ProtocolError]) -> Handling:
    """Return what the fields of a request ask for. Raises ``fault`` (400, 501)."""
    fields = important_fields(headers)
    check_host(version, fields, fault)
    framing = request_framing(version, fields, fault)
    # RFC 9110 §7.8: without "Connection: upgrade", a proxy would pass Upgrade on. In HTTP/1.0, Upgrade MUST be ignored.
    offered = "upgrade" in fields and version != "1.0"
    upgrade = offered and "upgrade" in split_list(fields.get("connection", ""))
    # RFC 9110 §10.1.1: "Expect: 100-continue" MUST be ignored in HTTP/1.0. Without content there is nothing to hold back.
    expected = framing != NO_CONTENT and "expect" in fields and version != "1.0"
    return Handling(framing, persists(version, fields), upgrade, expected and "100-continue" in split_list(fields["expect"]))


# ---- the states of a connection --------------------------------------------------------------------------------------
#
# There are always two messages, each with a state of its own, since a server may answer before the request is complete:
#
#                the request                                        the response
#
#                    IDLE -------------------+                          IDLE
#                      | REQUEST_HEAD        | BAD_REQUEST                | REQUEST_HEAD, or BAD_REQUEST
#                      v                     v                            v
#  REQUEST_DATA +--> BODY --BAD_REQUEST--> CLOSED           INTERIM +-> HEAD --SWITCH, TUNNEL--> SWITCHED
#               +----+ |                                            +---+ |
#                      |                                                  | FINAL
#                      | REQUEST_END                                      v
#                      |                              RESPONSE_DATA +-> BODY
#                      |                                            +---+ |
#                      |                                                  | RESPONSE_END
#                      v                                                  v
#                    DONE                                               DONE
#                      +-------------- when both are DONE: ---------------+
#                       both IDLE again (keep-alive), or both CLOSED
#
# SWITCH is a 101, TUNNEL is a 2xx to CONNECT, and INTERIM is any other 1xx.
#
# TUNNEL takes the request to SWITCHED at once. After SWITCH, the request is completed first, and goes from DONE to SWITCHED: a
# client can't change the protocol in the middle of a message (RFC 9110 §7.8).
#
# For example, when a server receives a GET without content, the request goes from IDLE to BODY and DONE, and the response from
# IDLE to HEAD. Sending a 200 takes the response to BODY and DONE. Now both are DONE, so both become IDLE again.
#
# In SWITCHED the bytes belong to another protocol. When a request is malformed (BAD_REQUEST, in any state), the server may
# still send its error response, provided that it has not begun another response. After that response both messages are
# CLOSED. Two steps are not in the drawing. When a response is malformed (BAD_RESPONSE), both messages are CLOSED at once, from
# any state: the client has nobody to tell. When the input ends between two exchanges (END_OF_INPUT), both are CLOSED as well.


class State(IntEnum):
    """How far one of the two messages has come."""

    IDLE = 0  # it has not begun
    HEAD = 1  # only for a response: its head comes next
    BODY = 2  # the head is complete; content comes next, or the end
    DONE = 3
    SWITCHED = 4
    CLOSED = 5


IDLE, HEAD, BODY, DONE, SWITCHED, _ = State  # shorter names; CLOSED is also a name of Wants, so it stays State.CLOSED


class Step(IntEnum):
    """A reason for one or both messages to change their state: half of a key in the tables below.

    Sending and receiving are the same step: a server that sends its EndOfMessage, and a client that receives it, both make
    the step RESPONSE_END. So both roles share the tables.
    """

    REQUEST_HEAD = 0
    REQUEST_DATA = 1
    REQUEST_END = 2
    INTERIM = 3
    FINAL = 4
    SWITCH = 5
    TUNNEL = 6
    RESPONSE_DATA = 7
    RESPONSE_END = 8
    BAD_REQUEST = 9
    BAD_RESPONSE = 10
    END_OF_INPUT = 11


REQUEST_TRANSITIONS: dict[tuple[State, Step], State] = {
    (IDLE, Step.REQUEST_HEAD): BODY,
    (BODY, Step.REQUEST_DATA): BODY,
    (BODY, Step.REQUEST_END): DONE,
    (BODY, Step.TUNNEL): SWITCHED,  # the server need not wait for the end of the request
    (IDLE, Step.END_OF_INPUT): State.CLOSED,
}
RESPONSE_TRANSITIONS: dict[tuple[State, Step], State] = {
    (IDLE, Step.REQUEST_HEAD): HEAD,
    (HEAD, Step.INTERIM): HEAD,  # RFC 9110 §10.1.1: also after a 100, the final response has to come
    (HEAD, Step.FINAL): BODY,
    (HEAD, Step.SWITCH): SWITCHED,
    (HEAD, Step.TUNNEL): SWITCHED,
    (BODY, Step.RESPONSE_DATA): BODY,
    (BODY, Step.RESPONSE_END): DONE,
    (IDLE, Step.BAD_REQUEST): HEAD,  # a head that was not understood has to be answered, too
    (IDLE, Step.END_OF_INPUT): State.CLOSED,
}
for _state in State:
    REQUEST_TRANSITIONS |= {(_state, Step.BAD_REQUEST): State.CLOSED, (_state, Step.BAD_RESPONSE): State.CLOSED}
    RESPONSE_TRANSITIONS[_state, Step.BAD_RESPONSE] = State.CLOSED

# The events that each role may send, and the step that each event makes.
_SENT: dict[tuple[Role, type[Event]], Step] = {
    (CLIENT, RequestHead): Step.REQUEST_HEAD,
    (CLIENT, Data): Step.REQUEST_DATA,
    (CLIENT, EndOfMessage): Step.REQUEST_END,
    (SERVER, ResponseHead): Step.FINAL,  # or INTERIM, SWITCH or TUNNEL: all four are possible in the same state
    (SERVER, Data): Step.RESPONSE_DATA,
    (SERVER, EndOfMessage): Step.RESPONSE_END,
}

BOTH_DONE: dict[tuple[State, State, bool], State] = {
    (DONE, DONE, True): IDLE,  # the connection persists: the next exchange may begin
    (DONE, DONE, False): State.CLOSED,  # §9.6: whatever follows is not a request
    (State.CLOSED, DONE, False): State.CLOSED,  # the error response, or the app's own response, is complete
    (DONE, SWITCHED, True): SWITCHED,  # both have left HTTP, whatever the heads say about keep-alive
    (DONE, SWITCHED, False): SWITCHED,
}
"""The states of the request and of the response, and whether the connection persists -> the new state of both.

Both messages have to be complete first. A server that answers early still has to read the whole request, and a client the
whole response, or the unread bytes would be taken for the next message (§9.3). A client that gets a 101 early still sends
the rest of its request: the server would take bytes of the new protocol for content (RFC 9110 §7.8)."""


@dataclass(slots=True)
class PreparedHead(ResponseHead):
    """The head of a response that is sent many times, by ``Connection.send_whole``. It must not be changed.

    A core may store its encoding of the head here. (The core in this file does not; ``minproto.fast`` does.)
    """

    encoding: Any = field(default=None, compare=False, repr=False)


# ---- the connection --------------------------------------------------------------------------------------------------


class Connection(Core):
    """One end of an HTTP/1.1 connection: a CLIENT sends requests one after the other, a SERVER answers them in order.

    A subclass may replace ``head_reader``, ``request_handling``, ``encode_fields`` and methods, as ``minproto.fast`` does.
    """

    head_reader = HeadReader
    request_handling = staticmethod(request_handling)
    encode_fields = staticmethod(encode_fields)

    def __init__(self, role: Role, limits: Limits = Limits(), methods: frozenset[str] = METHODS) -> None:
        """``methods``: for a server; a request with any other method is answered with 501."""
        super().__init__(max(limits.max_head, limits.max_chunk_line))
        self.role = role
        self.limits = limits
        self.methods = methods
        self.request = IDLE
        self.response = IDLE
        # The exchange: a request and its response.
        self.keep_alive = True
        """Whether the connection persists after this exchange, according to the heads so far (§9.3)."""
        self.expects_continue = False
        """Whether the client holds its content back until it sees a 100 (RFC 9110 §10.1.1)."""
        self._method = ""  # of the request
        self._version = "1.1"  # of the request
        self._server_version = "1.1"  # of the last response; a client takes a new server for one of HTTP/1.1 (§6.1)
        self._offers_upgrade = False
        # The message that is being received:
        self._empty_lines = 0  # before the request line
        self._syntax = REQUEST if role is SERVER else RESPONSE
        self._head_reader = self.head_reader(self._syntax, limits)
        self._body: http1_body.BodyReader | None = None  # None: no head yet, or a message without content
        # The message that is being sent:
        self.framing: Framing = NO_CONTENT
        """How the message that is being sent shows where it ends."""
        self._due = 0  # bytes that the Content-Length announced, and that have not been sent yet

    def _move(self, step: Step) -> None:
        """Advance both messages, each by its table. A message whose table lacks the step keeps its state."""
        self.request = REQUEST_TRANSITIONS.get((self.request, step), self.request)
        self.response = RESPONSE_TRANSITIONS.get((self.response, step), self.response)
        after = BOTH_DONE.get((self.request, self.response, self.keep_alive))
        if after is None:
            return
        self.request = self.response = after
        self.wants = DATA if after is IDLE else PAUSED if after is SWITCHED else Wants.CLOSED
        self._method = ""
        self._empty_lines = 0

    # -- receiving. A server receives requests, a client responses; the state of the received message says what has to come.

    def _parse(self) -> Event | None:
        """Return the next event of the message that comes now.

        A server looks at a pipelined request only when the request before it has been answered, so its responses are in the
        order of the requests (§9.3.2).
        """
        state = self.request if self.role is SERVER else self.response
        if state is IDLE or state is HEAD:
            return self._parse_request() if self.role is SERVER else self._parse_response()
        if state is BODY:
            return self._parse_body()
        # DONE: the other message has to be DONE, too, before the next request; SWITCHED: these bytes are not HTTP.
        self.wants = Wants.CLOSED if state is State.CLOSED else PAUSED
        return None

    def _parse_request(self) -> RequestHead | None:
        """Return the head of a request, once all of it has arrived."""
        found = self._head_reader.read(self._buffer) if self._skip_empty_lines() else None
        if found is None:
            return None
        (method, target, version), headers = found
        return self._check_request(method, target, version.removeprefix("HTTP/"), headers)

    def _skip_empty_lines(self) -> bool:
        """Skip empty lines, and return whether a request line follows; False if too few bytes have arrived to tell.

        §2.2: a server SHOULD ignore at least one empty line before a request line. Old clients send one after each request.
        """
        while (start := self._buffer.peek(0, 2)) == b"\r\n":
            self._empty_lines += 1
            if self._empty_lines > self.limits.max_empty_lines:
                raise RemoteProtocolError("too many empty lines", 400)
            self._buffer.skip(2)
        return start not in (b"", b"\r")  # a CR may be the first half of one more empty line

    def _check_request(self, method: str, target: str, version: str, headers: Headers) -> RequestHead:
        """Begin an exchange with a head whose syntax is right. Raises RemoteProtocolError if the request is refused.

        A version such as 1.2 is treated as 1.1, the highest one with the same syntax that we know (RFC 9110 §6.2).
        """
        self._method = method  # an error response to HEAD has no content either
        if version[0] != "1":  # RFC 9110 §15.6.6: the reason becomes the content of the response, see ``farewell``
            raise RemoteProtocolError("only HTTP/1.x is spoken here", 505)
        if method not in self.methods:  # RFC 9110 §9.1: upper and lower case differ, so "get" is a method that nobody knows
            raise RemoteProtocolError("method not implemented", 501)
        check_target(method, target, RemoteProtocolError)
        handling = self.request_handling(version, headers, RemoteProtocolError)
        self._body = self._body_reader(handling.framing)
        head = RequestHead(method, target, headers, version)
        self._begin_exchange(head, handling)
        return head

    def _begin_exchange(self, head: RequestHead, handling: Handling) -> None:
        """Remember what the response depends on, now that a request head has been sent or received.

        Everything about an earlier request is replaced. Two requests on one connection may come from two users, since a proxy
        shares its connections among them (RFC 9110 §3.3).
        """
        self._method, self._version = head.method, head.version
        _, self.keep_alive, self._offers_upgrade, self.expects_continue = handling
        self._move(Step.REQUEST_HEAD)

    def _parse_response(self) -> ResponseHead | None:
        """Return the head of a response, once all of it has arrived. No EndOfMessage follows an interim response.

        The reason phrase is dropped: a client SHOULD ignore it (§4).
        Several interim responses may come before the final one, expected or not (RFC 9110 §15.2). A status from 600 to 999 is
        invalid, but it has the framing of a server error (RFC 9110 §15), so the user gets it as a final response.
        """
        if self.response is IDLE:
            # §9.2: a client MUST NOT treat data that it did not ask for as a response; nor what follows the last one (§6.3).
            if self._buffer.size:
                raise RemoteProtocolError("data without a request")
            return None
        found = self._head_reader.read(self._buffer)
        if found is None:
            return None
        (version, status, *_), headers = found
        head = ResponseHead(int(status), headers, version.removeprefix("HTTP/"))
        if head.version[0] != "1" or head.status < 100:
            raise RemoteProtocolError("not a response of HTTP/1.x")
        if head.status == 101 and not self._offers_upgrade:  # RFC 9110 §7.8: MUST NOT switch to what was not offered
            raise RemoteProtocolError("101 without a request to upgrade")
        fields = important_fields(headers)
        framing = response_framing(self._method, head.status, head.version, fields, RemoteProtocolError)
        self._body = self._body_reader(framing)
        self._note_response(head.status, head.version, fields, framing)
        return head

    def _body_reader(self, framing: Framing) -> http1_body.BodyReader | None:
        """Return the reader for content with this framing. Raises RemoteProtocolError (413) for a length beyond the limit."""
        limits = self.limits
        if isinstance(framing, Chunked):
            trailers = self.head_reader(self._syntax, limits, "name")
            return http1_body.ChunkedReader(limits.max_body, limits.max_chunk_line, limits.max_head, trailers.read)
        if isinstance(framing, UntilClose):
            return http1_body.UntilCloseReader(limits.max_body)
        if framing.length > limits.max_body:
            raise RemoteProtocolError("content too large", 413)
        return http1_body.LengthReader(framing.length) if framing.length else None

    def _note_response(self, status: int, version: str, fields: dict[str, str], framing: Framing) -> None:
        """Advance the state for the head of a response, sent or received.

        After a 2xx to CONNECT the connection is a tunnel: its bytes are not content, whatever the head says (§6.3, rule 2).
        If the request or the response says ``Connection: close``, this exchange is the connection's last one (§9.6).
        The first digit of a status is enough (RFC 9110 §15): each 1xx is interim, even a 199 that nobody has defined, and
        each 2xx to CONNECT begins a tunnel right after its head (RFC 9110 §9.3.6).
        """
        self.expects_continue = False
        self._server_version = version
        if status == 101:
            return self._move(Step.SWITCH)
        if self._method == "CONNECT" and 200 <= status < 300:
            return self._move(Step.TUNNEL)
        if status < 200:
            return self._move(Step.INTERIM)
        version = min(version, self._version)  # the lower of the two versions is what both ends understand (§9.3)
        # A response that only the connection's end completes (§6.3) is the last one, whatever its fields say.
        self.keep_alive = self.keep_alive and framing != UntilClose() and persists(version, fields)
        self._move(Step.FINAL)

    def _parse_body(self) -> Data | EndOfMessage | None:
        """Return the content that has arrived, or the end of the message."""
        event = self._body.read(self._buffer) if self._body else EndOfMessage()
        if event is None:
            return None
        self.expects_continue = False  # the content came without a 100, so no 100 is needed (RFC 9110 §10.1.1)
        if isinstance(event, EndOfMessage):
            self._end_received()
        return event

    def _end_received(self) -> None:
        """Note that the message being received is complete."""
        self._body = None
        self._move(Step.REQUEST_END if self.role is SERVER else Step.RESPONSE_END)

    def skip_empty_body(self) -> bool:
        """End a received message without content, right after its head, and return True. For any other message, return False.

        A shell that calls this method first saves an EndOfMessage for most requests, and knows that there is nothing to read.
        """
        state = self.request if self.role is SERVER else self.response
        if state is not BODY or self._body is not None:
            return False
        self._end_received()
        return True

    def _parse_eof(self) -> Event | None:
        """Decide what the end of input means: the end of content, the end of an idle connection, or a message cut short.

        Content with a length, or in chunks, is incomplete if its last byte is missing (§6.3, rule 6, and §8). A client MUST
        record that, and our core does so by raising an error. Other content of a response is complete when the server closes
        (§6.3, rule 8).

        (While a server still has to answer, the request is DONE, ``wants`` is PAUSED, and this method is not called: a client
        may end its output after its request, and still read the response.)
        """
        if isinstance(self._body, http1_body.UntilCloseReader):
            self._end_received()
            return EndOfMessage()
        state = self.request if self.role is SERVER else self.response
        if state is not IDLE or self._buffer.size:
            raise RemoteProtocolError("connection closed in the middle of a message", 400)
        self._move(Step.END_OF_INPUT)
        self.wants = Wants.CLOSED
        return None

    @property
    def content_left(self) -> int:
        """The number of bytes of content that are still to come; also 0 if the head did not announce their number."""
        return self._body.left if isinstance(self._body, http1_body.LengthReader) else 0

    def fail(self, error: RemoteProtocolError) -> None:
        """Record a fault of the peer. A server in IDLE or HEAD may still send an error response, see ``farewell``.

        In a client the connection is over at once. For example, after data that it did not ask for it no longer knows where a
        response begins, so it SHOULD close (§9.2). There the ``code`` of the error becomes 0: there is nobody to tell.
        """
        super().fail(error)
        self.keep_alive = False
        if self.role is CLIENT:
            error.code = 0  # a status is for a response, and a client sends no responses
            return self._move(Step.BAD_RESPONSE)
        if self.response is IDLE and self._buffer.peek(0, 5) == b"HEAD ":
            self._method = "HEAD"  # the head was not understood, but its response has no content (RFC 9110 §9.3.2)
        self._move(Step.BAD_REQUEST)

    # -- sending. Each method checks first, then encodes, and changes the state last: a call that raises changes nothing.

    def send(self, event: Event) -> bytes:
        self._check_turn(event)
        if isinstance(event, RequestHead):
            return self._send_request(event)
        if isinstance(event, ResponseHead):
            return self._send_response(event)
        if isinstance(event, Data):
            return self._send_data(event.data)
        assert isinstance(event, EndOfMessage)  # _SENT has no other event
        return self._send_end(event.trailers)

    def _check_turn(self, event: Event) -> None:
        """Raise LocalProtocolError if our message is in the wrong state for the event, or if our role never sends such an
        event: a server MUST NOT send a request line, nor a client a status line (RFC 9110 §2.2)."""
        step = _SENT.get((self.role, type(event)))
        state, table = (self.request, REQUEST_TRANSITIONS) if self.role is CLIENT else (self.response, RESPONSE_TRANSITIONS)
        if step is None or (state, step) not in table:
            raise LocalProtocolError(f"the {self.role.value} can't send {type(event).__name__} in {state.name}")

    def _send_request(self, head: RequestHead) -> bytes:
        """Return a request's head, after the checks that a server would make: of its line (RFC 9110 §2.2), its target, its
        Host and its framing.

        So a client always sends Host (§3.2). It sends chunks unless the server has shown that it does not know them (§6.1): a
        user who makes an HTTP/1.1 connection has told us that the server speaks HTTP/1.1.
        """
        line = f"{head.method} {head.target} HTTP/{head.version}"
        found = _REQUEST_LINE.fullmatch(line)
        # The line has to split into the parts that it was made from, or a target could bring a version of its own.
        if found is None or found.groups() != (head.method, head.target, head.version):
            raise LocalProtocolError("a method, target or version that no request line can have")
        check_target(head.method, head.target, LocalProtocolError)
        handling = self.request_handling(head.version, head.headers, LocalProtocolError)
        if handling.framing == Chunked() and self._server_version == "1.0":
            raise LocalProtocolError("the server has answered in HTTP/1.0, which knows no chunks: send a Content-Length")
        encoded = f"{line}\r\n{self.encode_fields(head.headers)}\r\n".encode("latin-1")
        self._begin_content(handling.framing)
        self._begin_exchange(head, handling)
        return encoded

    def _send_response(self, head: ResponseHead) -> bytes:
        """Return a response's head. Its fields have to say where the content ends, so the caller gives a Content-Length,
        ``Transfer-Encoding: chunked`` or ``Connection: close``; ``_check_response`` raises if all three are missing.

        Our version is 1.1, even if the client's is 1.0: a server SHOULD NOT say less (§2.3). The space before the reason MUST
        be there even if we know no reason for a status (§4)."""
        fields = important_fields(head.headers)
        framing = self._check_response(head, fields)
        line = f"HTTP/{head.version} {head.status:d} {REASONS.get(head.status, '')}"
        encoded = f"{line}\r\n{self.encode_fields(head.headers)}\r\n".encode("latin-1")
        self._begin_content(framing)
        self._note_response(head.status, head.version, fields, framing)
        return encoded

    def _check_response(self, head: ResponseHead, fields: dict[str, str]) -> Framing:
        """Return how a response says where it ends. Raises LocalProtocolError if a client would see a different end.

        §6.1: content in a coding other than chunked ends in chunks, or the server closes. So does content without a length.
        """
        status, version = head.status, head.version
        # RFC 9110 §15: other codes are invalid, though a client has to treat such a response as a server error.
        if not 100 <= status <= 599:
            raise LocalProtocolError(f"no response has status {status}")
        if version not in ("1.0", "1.1"):  # RFC 9110 §6.2: a server MUST NOT send a version to which it does not conform
            raise LocalProtocolError(f"no response of HTTP/1.x has version {version}")
        if status < 200 and self._version == "1.0":  # RFC 9110 §15.2: the client would take it for the final response
            raise LocalProtocolError("an interim response to HTTP/1.0")
        if status == 101 and not (self._offers_upgrade and self.request is DONE):  # RFC 9110 §7.8
            # The content that is still to come would end up among the bytes of the next protocol.
            raise LocalProtocolError("101 before a complete request to upgrade")
        framed = "content-length" in fields or "transfer-encoding" in fields
        if framed and (status < 200 or status == 204 or (self._method == "CONNECT" and status < 300)):
            # §6.1, RFC 9110 §8.6, RFC 9110 §9.3.6
            raise LocalProtocolError("a 1xx, a 204, and a 2xx to CONNECT have no length")
        # §6.1: a server MUST NOT send Transfer-Encoding to a client of HTTP/1.0, and §6.2: no sender may add Content-Length to
        # it. Both rules also apply to a response to HEAD and to a 304, in which the fields frame nothing. So the fields are
        # checked like those of a response to GET.
        version = min(version, self._version)
        declared = response_framing("GET", 200, version, fields, LocalProtocolError)
        framing = NO_CONTENT if has_no_content(self._method, status) else declared
        if framing == UntilClose() and self.keep_alive and persists(version, fields):
            raise LocalProtocolError("neither a length, nor chunked, nor Connection: close")
        if framing != NO_CONTENT and status == 205:  # RFC 9110 §15.3.6
            raise LocalProtocolError("a 205 has no content")
        return framing

    def _begin_content(self, framing: Framing) -> None:
        """Get ready to send the content that follows a head."""
        self.framing = framing
        self._due = framing.length if isinstance(framing, ContentLength) else 0

    def _send_data(self, data: bytes) -> bytes:
        """Return content as it goes over the wire: "hello" as a chunk is ``5\\r\\nhello\\r\\n``, otherwise "hello".

        Content beyond its Content-Length, such as one more line end (§2.2), or without any length (§6.3), would be taken for
        the start of the next message. There is no space around a chunk's size: it would be bad whitespace, which MUST NOT be
        sent (RFC 9110 §5.6.3).
        """
        if isinstance(self.framing, Chunked):
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""  # a chunk of size 0 would be the last chunk
        if isinstance(self.framing, ContentLength):
            if len(data) > self._due:
                raise LocalProtocolError("more content than its Content-Length, or than this response can have")
            self._due -= len(data)
        return data

    def _send_end(self, trailers: Headers) -> bytes:
        """Return the last chunk and the trailers; without chunks, b"", since a length or a close marks the end.

        A client MUST NOT send a CRLF after its content (§2.2), as some old clients did.
        """
        if self._due:  # RFC 9110 §8.6: a message whose Content-Length is wrong MUST NOT be completed
            raise LocalProtocolError("less content than its Content-Length")
        chunked = isinstance(self.framing, Chunked)
        # RFC 9110 §6.5.1: only chunked has a place for trailers. A field that frames or routes would come too late there.
        if trailers and (not chunked or important_fields(trailers)):
            raise LocalProtocolError("trailers need chunked, and can't frame or route")
        encoded = f"0\r\n{self.encode_fields(trailers)}\r\n".encode("latin-1") if chunked else b""
        self.framing = NO_CONTENT
        self._move(Step.RESPONSE_END if self.role is SERVER else Step.REQUEST_END)
        return encoded

    def send_whole(self, head: ResponseHead, content: bytes) -> bytes:
        """Return the bytes of a whole final response: its head, its content, and an end without trailers.

        A head that does not say where its content ends gets a Content-Length. Without one, only the end of the connection
        would be the end of the content: a server SHOULD avoid that (§6.3, RFC 9110 §8.6). In answer to HEAD the content is
        left out, but the Content-Length is the same as for a GET (RFC 9110 §9.3.2). A 304 gets no Content-Length: it MUST be
        the length of the 200 (RFC 9110 §8.6), which only the app knows. Raises LocalProtocolError if ``send`` would, with
        nothing changed.
        """
        head = ResponseHead(head.status, head.headers, head.version)
        fields = important_fields(head.headers)
        if not ("content-length" in fields or "transfer-encoding" in fields or head.status in (204, 304)):
            fields["content-length"] = str(len(content))
            head.headers = Headers([*head.headers, ("content-length", fields["content-length"])])
        if head.status < 200 or (self._method == "CONNECT" and head.status < 300):
            raise LocalProtocolError(f"no whole response has status {head.status}")
        framing = self._check_response(head, fields)
        if self._method == "HEAD":
            content = b""
        elif isinstance(framing, ContentLength) and framing.length != len(content):
            possible = framing.length
            raise LocalProtocolError(f"a {head.status} with this head has {possible} bytes of content, not {len(content)}")
        return self.send(head) + self.send(Data(content)) + self.send(EndOfMessage())

    def farewell(self, error: ProtocolError) -> list[Event]:
        """Return the events of a server's error response to a bad request; none if the server has begun another response.

        §2.2: a server SHOULD answer what is not HTTP with 400, and close. The response says so: ``Connection: close`` (§9.6).
        Its content is the reason, for the person who looks into the fault (RFC 9110 §15.5, §15.6); a response to HEAD has no
        content (RFC 9110 §9.3.2). It says that the connection ends: the rest of the request is not read (RFC 9110 §10.1.1).
        """
        if self.role is CLIENT or self.response is not HEAD:
            return []
        text = f"{error}\n".encode()
        # RFC 9110 §8.3: whoever makes content SHOULD say its type, or a browser guesses it from the bytes.
        fields = [("content-type", "text/plain"), ("content-length", str(len(text))), ("connection", "close")]
        content = () if self._method == "HEAD" else (Data(text),)
        return [ResponseHead(error.code or 400, Headers(fields)), *content, EndOfMessage()]
