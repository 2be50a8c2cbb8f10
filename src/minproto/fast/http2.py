"""The HTTP/2 core made faster: each connection remembers whole heads, since peers and apps repeat theirs."""

from typing import Any

from hpack.table import HeaderTable

from minproto import http2, http2_fields
from minproto.http import Headers, RequestHead, ResponseHead
from minproto.http2_fields import Fields

_MOST = 64
"""The maximum number of heads of each kind that a connection remembers."""
_LONG = 4_096
"""The maximum number of bytes of a head that is remembered. Longer heads would cost too much memory: 64 heads of 64 KiB are
4 MiB."""


class _Memory(dict[Any, Any]):
    """Blocks and their fields, remembered as long as the table that they refer to, and so the result of coding, is the same.

    The block for a head that is already in the table does not change the table.
    """

    __slots__ = ("_newest", "_size", "_table")

    def __init__(self, table: HeaderTable) -> None:
        self._table = table
        self._newest: Any = None  # the entry added last
        self._size = 0, table.maxsize

    def put(self, key: Any, value: Any, *, short: bool) -> None:
        """Remember what was coded just now; but if the coding has changed the table, forget everything."""
        entries = self._table.dynamic_entries
        newest, size = entries[0] if entries else None, (len(entries), self._table.maxsize)
        if newest is self._newest and size == self._size and len(self) < _MOST:
            if short:
                self[key] = value
        else:
            self._newest, self._size = newest, size
            self.clear()


def _is_short(fields: Fields) -> bool:
    return http2_fields.section_size(fields) <= _LONG


class FieldCoder(http2_fields.FieldCoder):
    """The fields of one connection."""

    __slots__ = ("_decoded", "_encoded", "_requests", "_responses")

    def __init__(self, max_block: int) -> None:
        super().__init__(max_block)
        self._decoded = _Memory(self._decoder.header_table)
        self._encoded = _Memory(self._encoder.header_table)
        self._requests: dict[Fields, RequestHead] = {}
        self._responses: dict[Fields, ResponseHead] = {}

    def decode(self, block: bytes) -> Fields:
        known: Fields | None = self._decoded.get(block)
        if known is None:
            known = super().decode(block)
            self._decoded.put(block, known, short=_is_short(known))
        return known

    def encode(self, fields: Fields) -> bytes:
        key = tuple(fields)
        known: bytes | None = self._encoded.get(key)
        if known is None:
            known = super().encode(fields)
            self._encoded.put(key, known, short=_is_short(fields))
        return known

    def resize_decoder(self, size: int) -> None:
        self._decoded.clear()  # the next block has to announce the smaller table
        super().resize_decoder(size)

    def resize_encoder(self, size: int) -> None:
        self._encoded.clear()  # our next block has to announce the new size
        super().resize_encoder(size)

    def parse_request(self, fields: Fields, stream: int) -> RequestHead:
        key = tuple(fields)
        try:
            known = self._requests.get(key)
        except TypeError:  # a value in an app's head that can't be hashed
            return super().parse_request(fields, stream)
        if known is None:
            head = super().parse_request(fields, stream)
            if not _is_short(fields):
                return head
            if len(self._requests) >= _MOST:
                self._requests.clear()
            self._requests[key] = RequestHead(
                head.method, head.target, Headers(head.headers), "2", 0, head.protocol, head.scheme
            )
            return head
        return RequestHead(known.method, known.target, Headers(known.headers), "2", stream, known.protocol, known.scheme)

    def parse_response(self, fields: Fields, stream: int) -> ResponseHead:
        key = tuple(fields)
        try:
            known = self._responses.get(key)
        except TypeError:
            return super().parse_response(fields, stream)
        if known is None:
            head = super().parse_response(fields, stream)
            if not _is_short(fields):
                return head
            if len(self._responses) >= _MOST:
                self._responses.clear()
            self._responses[key] = ResponseHead(head.status, Headers(head.headers), "2", 0)
            return head
        return ResponseHead(known.status, Headers(known.headers), "2", stream)


class Connection(http2.Connection):
    """One end of an HTTP/2 connection."""

    __slots__ = ()

    coder = FieldCoder
