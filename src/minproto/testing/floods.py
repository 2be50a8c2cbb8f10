"""Law 5's inputs: streams that never end, and what they cost a parser in memory.

A peer that means harm sends what may be repeated without end: a header line, a frame, a whole message; the content of a chunk
whose size it has announced as a thousand million. A bounded parser hands the bytes on as events, or refuses them. So the laws
start at a stream that is right, repeat a part of it or announce a large number in it, go on without end, and watch.

A parser can be unbounded without saying so in ``buffered``: a list of all messages, a second buffer, events that it keeps.
``tracemalloc`` sees each byte that Python allocates, wherever the reference to it stands. A size of the parser alone would be
wrong either way: a parser holds tables, a window of a decompressor, half-parsed objects, each of them bounded. So the law
asks how memory *grows*: once more bytes have gone in than the limit allows to hold, twice over, memory may not
grow on, in each of four further steps, by an eighth of the bytes that go in.
"""

import gc
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from minproto.testing.cuts import spread
from minproto.testing.driver import Run, Subject

LARGEST_PIECE = 4_096
"""Bytes of one chunk of a flood (of a parser with a small limit: as many as the limit), at least one unit of it."""
STEPS = 4
"""How many steps in a row have to show growth. A table that doubles or a window that is made shows it in one."""
LEAST_STEP = 2_048
"""Bytes of one step (of a parser with a larger limit: as many as the limit)."""
FLAT = 4_096
"""Bytes after which a flood that costs no memory is over."""


@dataclass(frozen=True)
class Flood:
    """A stream, and what is repeated behind it without end."""

    prefix: bytes
    unit: bytes

    def piece(self, size: int) -> bytes:
        """One chunk of it: a new object each time, so that a parser that keeps it is seen."""
        return bytes(bytearray(self.unit) * max(1, size // len(self.unit)))


@dataclass(frozen=True)
class Excess:
    """What a flood has shown: after so many bytes of it, so many are held, and so many the parser says."""

    fed: int
    held: int
    buffered: int


_BYTES = (b"a", b"0", b"\0", b"\r\n")
_NUMBER = re.compile(rb"(?<![0-9A-Za-z])(?:[0-9]+|[0-9A-Fa-f]{1,8})(?![0-9A-Za-z])")


def floods(data: bytes, marks: Sequence[int], limit: int) -> Iterator[Flood]:
    """Ways to make a stream endless. ``marks``: positions at which an event was given."""
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
    """Numbers of the stream made large, up to the end of the line or of the event in which they stand: lengths, behind which
    come bytes, and counts, behind which comes what the stream has there."""
    for found in spread(list(_NUMBER.finditer(data)), 8):
        ends = [edge for edge in edges if edge >= found.end()][:4]
        for number in (*(limit << shift for shift in (2, 4, 6, 8, 10)), limit + 1, _MANY):  # read as hexadecimal: larger
            changed = data[: found.start()] + b"%d" % number
            yield from (Flood(changed + data[found.end() : end], b"a") for end in ends)
        for end, item in zip(ends, ends[2:], strict=False):
            yield Flood(changed + data[found.end() : end], data[end:item])


_MANY = 999_999_999


def _announced_in_binary(data: bytes, edges: Sequence[int], limit: int) -> Iterator[bytes]:
    """A length of two, three, four or eight bytes at the start of what may be a frame, or behind its first byte; there also
    behind a byte that says how wide it is, as in WebSocket (126: two bytes, 127: eight; with or without the bit of a mask)."""
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


def unconfessed(subject: Subject, flood: Flood) -> Excess | None:
    """What is wrong where the flood goes on and the parser holds more and more; None where it does not."""
    with _traced():
        found = _grows(subject, flood, collect=False)
        return found and _grows(subject, flood, collect=True)  # rubbish in cycles is nobody's


def _grows(subject: Subject, flood: Flood, *, collect: bool) -> Excess | None:
    run = Run(subject, keep=False)
    run.fed = [flood.prefix]
    run.feed([flood.prefix])
    steps: list[int] = []
    began, fed = _memory(collect), 0
    size, step = min(max(64, subject.limit), LARGEST_PIECE), max(LEAST_STEP, subject.limit)
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


def _memory(collect: bool) -> int:
    if collect:
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def _traced() -> Iterator[None]:
    """See what is allocated, for a while; where a user already looks, go on. Collections pass over all that was there before:
    in the process of a large test suite, each of them would otherwise take longer than the flood."""
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
