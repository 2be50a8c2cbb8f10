"""Which protocol is spoken, by the first bytes: of the client, or of a server if that is all there is."""

import re
from collections.abc import Callable

from minproto.explain.http1 import explain_http1
from minproto.explain.resp import COMMANDS, explain_resp
from minproto.explain.rows import Script, Side, opaque

Explain = Callable[[Side, Side], tuple[Script[None], Script[None]]]

MAX_FIRST_LINE = 8_192
HTTP = b"HTTP/"

_REQUEST_LINE = re.compile(rb"(?:\r\n)*+[\t -~]* HTTP/[\t -~]*+\r?\n")
_LINE_SO_FAR = re.compile(rb"(?:\r\n)*+[\t -~]*+\r?")


def _is_http1(first: bytes) -> bool | None:
    """A line with a version at its end. While it has no end, it may become one."""
    if _REQUEST_LINE.match(first[:MAX_FIRST_LINE]):
        return True
    return None if len(first) < MAX_FIRST_LINE and _LINE_SO_FAR.fullmatch(first) else False


def _is_tls(first: bytes) -> bool | None:
    """A record of type handshake, whose version begins with 3 (RFC 8446 §5.1)."""
    return first[:2] == b"\x16\x03" if len(first) > 1 or first[:1] != b"\x16" else None


def _is_resp(first: bytes) -> bool | None:
    """A command is an array of some strings. In HTTP a method could begin like that, but none does."""
    if first[:1] != b"*":
        return False
    return first[1:2].isdigit() if len(first) > 1 else None


def _is_inline_resp(first: bytes) -> bool:
    """A line that begins with a command. It is asked when it is known that this is no line of HTTP."""
    return first.split(maxsplit=1)[:1] != [] and first.split(maxsplit=1)[0].upper() in COMMANDS


def explain_tls(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Nothing of it can be read from outside."""
    return opaque(client, "TLS", "encrypted: only the two ends can read it"), _answer(client, server, "TLS")


def explain_unknown(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Bytes of both sides, as they come."""
    return opaque(client, "unknown"), _answer(client, server, "unknown")


def _answer(client: Side, server: Side, protocol: str) -> Script[None]:
    """What a server says to that; it may be HTTP all the same, with status 400."""
    yield from server.need(1)
    while server.buffer.size < len(HTTP) and HTTP.startswith(server.buffer.peek()):
        yield from server.need(server.buffer.size + 1)
    yield from explain_http1(client, server)[1] if server.buffer.peek(0, 5) == HTTP else opaque(server, protocol)


PROTOCOLS: list[tuple[Callable[[bytes], bool | None], Explain]] = [
    (_is_tls, explain_tls),
    (_is_resp, explain_resp),
    (_is_http1, explain_http1),
    (_is_inline_resp, explain_resp),
    (lambda first: True, explain_unknown),
]
"""Each is asked in turn: yes, no, or None where more bytes have to be seen first."""


def recognise(first: bytes) -> Explain | None:
    """By what the client says; None while it is not clear."""
    if not first:
        return None
    for is_it, explain in PROTOCOLS:
        answer = is_it(first)
        if answer is not False:
            return explain if answer else None
    return None


def recognise_server(first: bytes) -> Explain:
    """By what the server says, where the client says nothing."""
    if first.startswith(HTTP):
        return explain_http1
    return explain_resp if first.startswith(b"-") else explain_unknown
