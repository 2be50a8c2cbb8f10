r"""Explain bytes that are already complete, such as those of a file: one direction, and perhaps only a part of a connection.

    >>> [row.title for row in explain(bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58"), "websocket")]
    ['text frame, 5 bytes']

A connection is explained from its first byte and in both directions (``Explainer``). Bytes of a file often begin later: a
WebSocket frame without its handshake, an HTTP/2 frame without the preface. So the explainer is first told what must have
come before, and the rows about that are left out.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from minproto.core import CLIENT, SERVER, RemoteProtocolError, Role
from minproto.explain import Explainer, Row
from minproto.explain.hpack import FieldBlocks
from minproto.explain.rows import MAX_HELD, Side, readable
from minproto.explain.sse import EventStream
from minproto.http2_frames import PREFACE, encode_settings

_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
_NO_HELLO = b"\x16\x03\x01\x00\x00"  # an empty record, by which TLS is recognised
_PING = b"*1\r\n$4\r\nPING\r\n"

Said = tuple[Role, bytes]

_PLAIN_UPGRADE = (
    (CLIENT, b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
    (SERVER, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
     b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
)  # fmt: skip
BEFORE: dict[tuple[str, Role], tuple[Said, ...]] = {
    ("http1-request", SERVER): ((CLIENT, _REQUEST),),
    ("http1-response", CLIENT): ((CLIENT, _REQUEST),),
    ("websocket", SERVER): _PLAIN_UPGRADE,
    ("websocket", CLIENT): _PLAIN_UPGRADE,
    ("sse", CLIENT): (
        (CLIENT, _REQUEST), (SERVER, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
    ),
    ("resp", SERVER): ((CLIENT, _PING),),
    ("resp", CLIENT): ((CLIENT, _PING),),
    ("http2", SERVER): (),
    ("http2", CLIENT): ((CLIENT, PREFACE + encode_settings([])),),
}  # fmt: skip
"""The streams that ``minproto laws`` knows, each with the role of its reader -> what the two ends have said before the stream
begins, so that the explainer recognises the protocol."""

PROTOCOLS = ("http1", "http2", "websocket", "sse", "resp", "hpack", "tls")
"""The names of the protocols that ``explain`` accepts."""


def explain(data: bytes, protocol: str = "", sender: Role | None = None) -> list[Row]:
    """Return the rows of the bytes that one side sent. Bytes that break a rule become a row with an error, as in Explainer.

    ``protocol``: one of PROTOCOLS; "" means that it is recognised by the first bytes, as a connection's is.
    ``sender``: whose bytes they are; None means that the bytes show it, if they can (a client masks its WebSocket frames, and
    a response begins with ``HTTP/``). Otherwise they are taken for the client's.
    """
    sender = sender or (SERVER if _is_servers(data, protocol) else CLIENT)
    if protocol in _ALONE:
        return _ALONE[protocol](data, sender)
    return explain_after(_before(data, protocol, sender), data, sender)


def explain_after(before: Iterable[Said], data: bytes, sender: Role) -> list[Row]:
    """Return the rows of the bytes that one side sent after the bytes in ``before``. Their offsets begin with 0."""
    explainer, skipped = Explainer(), 0
    for role, said in before:
        explainer.receive_data(role, said)
        list(explainer.rows())
        skipped += len(said) if role is sender else 0
    rows: list[Row] = []
    for start in range(0, len(data), MAX_HELD // 2):
        explainer.receive_data(sender, data[start : start + MAX_HELD // 2])
        rows += explainer.rows()
    for role in (CLIENT, SERVER):
        explainer.receive_eof(role)
    return [replace(row, offset=row.offset - skipped) for row in [*rows, *explainer.rows()]]


def _is_servers(data: bytes, protocol: str) -> bool:
    """Guess whether a server sent the bytes."""
    if protocol == "websocket":
        return len(data) > 1 and not data[1] & 0x80  # the bit MASK
    if protocol == "resp":
        return not data[:1].isalpha() and data[:1] != b"*"
    if protocol == "sse":
        return True
    is_server_hello = data[:2] == b"\x16\x03" and data[5:6] == b"\x02"
    return data.startswith(b"HTTP/") or is_server_hello


def _before(data: bytes, protocol: str, sender: Role) -> list[tuple[Role, bytes]]:
    """Return what the two sides must have sent before these bytes."""
    if protocol == "websocket":
        return [(CLIENT, _UPGRADE), (SERVER, _SWITCH)]
    if protocol == "http2" and not PREFACE.startswith(data[: len(PREFACE)]):
        return [(CLIENT, PREFACE)]
    if protocol == "tls" and data[:2] != b"\x16\x03":
        return [(CLIENT, _NO_HELLO)]
    if protocol == "resp":
        return [(CLIENT, _PING)] if sender is SERVER else []
    if sender is SERVER and (protocol == "http1" or data.startswith(b"HTTP/")):
        return [(CLIENT, _REQUEST)]
    return []


def _event_stream(data: bytes, sender: Role) -> list[Row]:
    """Return the row of an event stream: the content of a response, without the response's head."""
    side = Side(sender)
    side.protocol = "event stream"
    side.begin("event stream")
    EventStream().add(side, data)
    return [side.row()]


def _field_block(data: bytes, sender: Role) -> list[Row]:
    """Return the row of one field block, the first of its connection, without the frame around it (RFC 7541)."""
    side = Side(sender)
    side.protocol = "HPACK"
    side.begin("field block")
    side.buffer.append(data)
    error = ""
    try:
        FieldBlocks().add(side, len(data), last=True)
    except RemoteProtocolError as broken:
        error = str(broken)
        if rest := side.take(side.buffer.size):
            side.add("malformed", rest, readable(rest), "as it came", "")
    return [side.row(error)]


_ALONE: dict[str, Callable[[bytes, Role], list[Row]]] = {"sse": _event_stream, "hpack": _field_block}
"""What other protocols carry -> the function that explains it."""
