r"""The inputs of law 5: streams that never end, and the memory that they cost a parser.

An attacker repeats a part of the protocol without end: a header line, a frame, a whole message. Or it announces a chunk of
999,999,999 bytes, and sends content for it. A bounded parser passes the bytes on as events, or refuses them. To test
this, law 5 turns a valid stream into floods:

    POST / HTTP/1.1\r\nHost: a\r\n           followed by "Host: a\r\n", again and again
    POST / HTTP/1.1\r\nHost: a\r\n...3\r\n    followed by "a", again and again, and 3 is now 999999999

A parser can hold bytes without counting them in ``buffered``: in a list of all messages, or in a second buffer.
``tracemalloc`` sees each byte that Python allocates, wherever it is kept. But a parser also has tables, the window of a
decompressor, and half-parsed objects, all of them bounded. So the law looks only at how memory *grows*. First it feeds the
parser twice its limit. Then it measures four more steps. The parser breaks the law if memory grows, in each of these steps, by
an eighth of the bytes fed in it.
"""

import gc
import re
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from minproto.testing.cuts import spread
from minproto.testing.driver import Run, Subject

LARGEST_PIECE = 4_096
"""The maximum number of bytes of one chunk of a flood. For a parser with a smaller limit, a chunk is as long as its limit."""
STEPS = 4
"""How many steps in a row have to show growth. A table that doubles its size grows in only one step."""
LEAST_STEP = 2_048
"""The minimum number of bytes in a step. For a parser with a larger limit, a step is as long as its limit."""
MOST_FLOODS = 60
"""The maximum number of floods of one stream that are tried on a parser in another process."""
FLAT = 4_096
"""After this many bytes, the law gives up on a flood if it has cost no memory so far."""


@dataclass(frozen=True)
class Flood:
    """The beginning of a stream, and the bytes that are repeated after it without end."""

    prefix: bytes
    unit: bytes

    def piece(self, size: int) -> bytes:
        """Return a chunk of repeated units: a new object each time, so that memory grows if the parser keeps the chunk."""
        return bytes(bytearray(self.unit) * max(1, size // len(self.unit)))

    def pieces(self, limit: int) -> list[bytes]:
        """Return chunks of the flood, so many that a parser with this limit cannot hold them."""
        piece = self.piece(_chunk_size(limit))
        return [self.prefix, *[piece] * (2 + limit // len(piece))]


@dataclass(frozen=True)
class Excess:
    """What a flood has shown: after ``fed`` bytes, the parser holds ``held`` bytes, and says that it holds ``buffered``."""

    fed: int
    held: int
    buffered: int


_BYTES = (b"a", b"0", b"\0", b"\r\n")
_NUMBER = re.compile(rb"(?<![0-9A-Za-z])(?:[0-9]+|[0-9A-Fa-f]{1,8})(?![0-9A-Za-z])")


def floods(data: bytes, marks: Sequence[int], limit: int) -> Iterator[Flood]:
    """Yield the floods that can be made from a stream. ``marks``: the positions at which the parser yielded an event."""
    lines = [at + 1 for at, byte in enumerate(data) if byte == 10]
    edges = sorted({0, *marks, *lines, len(data)})
    middles = [(start + end) // 2 for start, end in pairwise(edges)]
    for unit in _BYTES:
        yield from (Flood(data[:at], unit) for at in spread(sorted({*edges, *middles}), 12))
    binary = (Flood(prefix, b"a") for prefix in _announced_in_binary(data, edges, limit))
    yield from dict.fromkeys([*_announced(data, edges, limit), *binary])
    parts = list(dict.fromkeys(pairwise(edges)))
    for start, end in [(0, len(data)), *spread(parts, 6)]:
        if start < end:
            yield Flood(data[:end], data[start:end])


def _announced(data: bytes, edges: Sequence[int], limit: int) -> Iterator[Flood]:
    """Yield floods with a large number in place of one of the stream's numbers.

    If the number is a length, bytes have to follow it; if it is a count, a part of the stream, again and again. Try both.
    """
    for found in spread(list(_NUMBER.finditer(data)), 8):
        ends = [edge for edge in edges if edge >= found.end()][:4]
        for number in (*(limit << shift for shift in (2, 4, 6, 8, 10)), limit + 1, _MANY):  # in hexadecimal: larger
            changed = data[: found.start()] + b"%d" % number
            yield from (Flood(changed + data[found.end() : end], b"a") for end in ends)
        for end, item in zip(ends, ends[2:], strict=False):
            yield Flood(changed + data[found.end() : end], data[end:item])


_MANY = 999_999_999


def _announced_in_binary(data: bytes, edges: Sequence[int], limit: int) -> Iterator[bytes]:
    """Yield beginnings of streams with a large binary length, at each position where a frame may begin.

    The length has two, three, four or eight bytes. It comes first (HTTP/2), or after the first byte, or after a second byte
    that says how wide the length is (WebSocket: 126 for two bytes, 127 for eight, with or without the mask bit).
    """
    wide = [((16 * limit).to_bytes(width, "big"), width) for width in (2, 3, 4, 8) if (16 * limit) >> (8 * width) == 0]
    marked = [(bytes([marker]) + number, 1) for number, width in wide for marker in _MARKERS.get(width, ())]
    for edge in spread(edges, 6):
        for start, number, replaced in [
            *((edge, *each) for each in wide),
            *((edge + 1, *each) for each in [*wide, *marked]),
        ]:
            yield data[:start] + number + data[start + replaced : start + replaced + 6]
            yield data[:start] + number


_MARKERS = {2: (126, 254), 8: (127, 255)}


def excesses(subject: Subject, tried: Iterable[Flood]) -> Iterator[tuple[Flood, Excess]]:
    """Yield each flood that makes the parser hold too many bytes, with the excess."""
    if not subject.sees_memory:
        yield from _confessed(subject, spread(list(tried), MOST_FLOODS))
        return
    for flood in tried:
        if (excess := unconfessed(subject, flood)) is not None:
            yield flood, excess


def _confessed(subject: Subject, tried: list[Flood]) -> Iterator[tuple[Flood, Excess]]:
    """Yield the floods after which ``buffered`` is more than the limit. If memory cannot be measured, ``buffered`` is the only
    evidence."""
    subject.ahead(flood.pieces(subject.limit) for flood in tried)
    for flood in tried:
        run, fed = Run(subject), 0
        for piece in flood.pieces(subject.limit):
            fed += len(piece)
            if not run.feed([piece]).open:
                break
            if run.buffered > subject.limit:
                yield flood, Excess(max(0, fed - len(flood.prefix)), run.buffered, run.buffered)
                break


def unconfessed(subject: Subject, flood: Flood) -> Excess | None:
    """Feed a flood to a new parser. Return the excess if the parser holds more and more bytes, otherwise None."""
    with _traced():
        found = _grows(subject, flood, collect=False)
        return found and _grows(subject, flood, collect=True)  # garbage in reference cycles does not count as held


def _grows(subject: Subject, flood: Flood, *, collect: bool) -> Excess | None:
    """Feed a flood step by step. Return the excess if memory has grown in all of the last steps, otherwise None.

    ``collect``: run the garbage collector before each measurement. The collector is slow, so it runs only to confirm an
    excess.
    """
    run = Run(subject, keep=False)
    run.fed = [flood.prefix]
    run.feed([flood.prefix])
    steps: list[int] = []
    began, fed = _memory(collect), 0
    size, step = _chunk_size(subject.limit), max(LEAST_STEP, subject.limit)
    next_step = 2 * subject.limit + size
    while run.open and len(steps) <= STEPS:
        if run.buffered > subject.limit:
            return Excess(fed, run.buffered, run.buffered)
        if fed >= FLAT and 8 * (_memory(False) - began) < fed:
            return None
        if fed >= next_step:
            steps.append(_memory(collect))
            next_step = fed + step
        run.feed([flood.piece(size)])
        fed += max(1, size // len(flood.unit)) * len(flood.unit)
    grown = len(steps) > STEPS and all(8 * (b - a) >= step for a, b in pairwise(steps))
    return Excess(fed, steps[-1] - began, run.buffered) if grown else None


def _chunk_size(limit: int) -> int:
    return min(max(64, limit), LARGEST_PIECE)


def _memory(collect: bool) -> int:
    if collect:
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def _traced() -> Iterator[None]:
    """Trace allocations during the block, unless the user is tracing them already.

    ``gc.freeze`` keeps the collector from looking at older objects. In the process of a large test suite, a collection would
    otherwise take longer than the flood.
    """
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if not was_tracing:
            tracemalloc.stop()
