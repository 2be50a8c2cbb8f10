"""Which protocol is spoken, by the first bytes: of the client, or of a server if that is all there is."""

import re
from collections.abc import Callable

from minproto.explain.http1 import HTTP, explain_http1, unless_http1
from minproto.explain.http2 import explain_http2
from minproto.explain.resp import COMMANDS, explain_resp
from minproto.explain.rows import Script, Side, opaque
from minproto.http2_frames import PREFACE

Explain = Callable[[Side, Side], tuple[Script[None], Script[None]]]

MAX_FIRST_LINE = 8_192

_LINE = re.compile(rb"(?:\r\n)*+([\t -~]*+)\r?\n")
_LINE_SO_FAR = re.compile(rb"(?:\r\n)*+[\t -~]*+\r?")


def _says(first: bytes, says: Callable[[bytes], bool]) -> bool | None:
    """What is true of the first line that is not empty, if it is one of text; None while it has no end."""
    if line := _LINE.match(first[:MAX_FIRST_LINE]):
        return says(line[1])
    return None if len(first) < MAX_FIRST_LINE and _LINE_SO_FAR.fullmatch(first) else False


def _is_http1(first: bytes) -> bool | None:
    """A request line has a version at its end."""
    return _says(first, lambda line: b" HTTP/" in line)


def _is_inline_resp(first: bytes) -> bool | None:
    """A command of Redis by hand: its first word is one that is known."""
    return _says(first, lambda line: line.split()[:1] != [] and line.split()[0].upper() in COMMANDS)


def _is_tls(first: bytes) -> bool | None:
    """A record of type handshake, whose version begins with 3 (RFC 8446 §5.1)."""
    return first[:2] == b"\x16\x03" if len(first) > 1 or first[:1] != b"\x16" else None


def _is_http2(first: bytes) -> bool | None:
    """The preface, all of it: what begins in the same way may be something else."""
    return first.startswith(PREFACE) or (None if PREFACE.startswith(first) else False)


def _is_resp(first: bytes) -> bool | None:
    """A command is an array of some strings. In HTTP a method could begin like that, but none does."""
    if first[:1] != b"*":
        return False
    return first[1:2].isdigit() if len(first) > 1 else None


def explain_tls(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Nothing of it can be read from outside."""
    return opaque(client, "TLS", "encrypted: only the two ends can read it"), unless_http1(
        client, server, opaque(server, "TLS", "encrypted: only the two ends can read it")
    )


def explain_unknown(client: Side, server: Side) -> tuple[Script[None], Script[None]]:
    """Bytes of both sides, as they come."""
    return opaque(client, "unknown"), unless_http1(client, server, opaque(server, "unknown"))


PROTOCOLS: list[tuple[Callable[[bytes], bool | None], Explain]] = [
    (_is_tls, explain_tls),
    (_is_http2, explain_http2),
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
