r"""Recognise a protocol by the client's first bytes, or by the server's first bytes if the client sends no bytes.

    16 03 ...                               TLS: a handshake record
    PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n      HTTP/2: the whole preface
    *1\r\n$4\r\nPING\r\n                  RESP: an array of strings
    GET / HTTP/1.1\r\n                      HTTP/1.1: a line with a version
    PING\r\n                               RESP: a command typed by hand
"""

import re
from collections.abc import Callable

from minproto.explain.http1 import HTTP, explain_http1, unless_http1
from minproto.explain.http2 import explain_http2
from minproto.explain.resp import COMMANDS, explain_resp
from minproto.explain.rows import Script, Side, opaque
from minproto.explain.tls import explain_records
from minproto.http2_frames import PREFACE

Explain = Callable[[Side, Side], tuple[Script[None], Script[None]]]

MAX_FIRST_LINE = 8_192

_LINE = re.compile(rb"(?:\r\n)*+([\t -~]*+)\r?\n")
_LINE_SO_FAR = re.compile(rb"(?:\r\n)*+[\t -~]*+\r?")


def _says(first: bytes, says: Callable[[bytes], bool]) -> bool | None:
    """Return what ``says`` returns for the first line that is not empty; False if that line is not text; None until the line
    has ended."""
    if line := _LINE.match(first[:MAX_FIRST_LINE]):
        return says(line[1])
    return None if len(first) < MAX_FIRST_LINE and _LINE_SO_FAR.fullmatch(first) else False


def _is_http1(first: bytes) -> bool | None:
    """Look for a request line: it has a version."""
    return _says(first, lambda line: b" HTTP/" in line)


def _is_inline_resp(first: bytes) -> bool | None:
    """Look for a Redis command in a line of words: the first word is a command that we know."""
    return _says(first, lambda line: line.split()[:1] != [] and line.split()[0].upper() in COMMANDS)


def _is_tls(first: bytes) -> bool | None:
    """Look for a TLS record of the type handshake (22), whose version begins with 3 (RFC 8446 §5.1)."""
    return first[:2] == b"\x16\x03" if len(first) > 1 or first[:1] != b"\x16" else None


def _is_http2(first: bytes) -> bool | None:
    """Look for the whole preface: "PRI /x HTTP/1.1" begins in the same way."""
    return first.startswith(PREFACE) or (None if PREFACE.startswith(first) else False)


def _is_resp(first: bytes) -> bool | None:
    """Look for an array, the form in which all Redis clients send commands. No known HTTP method begins with "*"."""
    if first[:1] != b"*":
        return False
    return first[1:2].isdigit() if len(first) > 1 else None


def explain_tls(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Return the scripts for a TLS connection, of which only the beginning can be read from outside."""
    return explain_records(client), unless_http1(client, server, explain_records(server))


def explain_unknown(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Return the scripts for an unknown protocol: the bytes of both sides, as they come."""
    return opaque(client, "unknown"), unless_http1(client, server, opaque(server, "unknown"))


PROTOCOLS: list[tuple[Callable[[bytes], bool | None], Explain]] = [
    (_is_tls, explain_tls),
    (_is_http2, explain_http2),
    (_is_resp, explain_resp),
    (_is_http1, explain_http1),
    (_is_inline_resp, explain_resp),
    (lambda first: True, explain_unknown),
]
"""The protocols in the order in which they are tried. Each test returns True, False, or None: it needs more bytes."""


def recognise(first: bytes) -> Explain | None:
    """Return the function that makes the scripts for the client's first bytes; None if more bytes are needed."""
    if not first:
        return None
    for is_it, explain in PROTOCOLS:
        answer = is_it(first)
        if answer is not False:
            return explain if answer else None
    return None


def recognise_server(first: bytes) -> Explain:
    """Return the function that makes the scripts for the server's first bytes, if the client has sent no bytes."""
    if first.startswith(HTTP):
        return explain_http1
    if _is_tls(first):
        return explain_tls
    return explain_resp if first.startswith(b"-") else explain_unknown
