r"""Ways to cut a stream of bytes into the chunks that a network might deliver.

A parser that has been fed only whole messages is untested. A network may deliver ``GET / HTTP/1.1\r\n`` as
``GET / HTTP/1.1\r`` and ``\n``, and it may cut in the middle of a number or a UTF-8 character. A chunk may also be empty,
which must have no effect.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Item = TypeVar("Item")


def whole(data: bytes) -> list[bytes]:
    """Return the stream as one chunk."""
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Return the stream as chunks of one byte."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Return the stream cut at these positions: ``cut(b"abcd", [1, 3])`` is ``[b"a", b"bc", b"d"]``."""
    edges = [0, *sorted(positions), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def telling(data: bytes, marks: Iterable[int] = (), most: int = 48) -> list[int]:
    """Return about ``most`` positions of a stream at which a cut is most likely to show a fault.

    Of a short stream, return all positions. Of a long stream, return its start, its end, one byte around each of ``marks`` and
    each line end, and other positions at equal distances.
    """
    if len(data) < most:
        return list(range(len(data) + 1))
    lines = [at + 1 for at, byte in enumerate(data) if byte == 10]
    near = {at + side for at in (*marks, *lines, 0, len(data)) for side in (-1, 0, 1)}
    near = {at for at in near if 0 <= at <= len(data)}
    evenly = range(0, len(data), max(1, len(data) // (most // 4)))
    return spread(sorted(near | set(evenly)), most)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return ``most`` of the items at equal distances, including the first and the last; all items, if there are fewer."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


def smallest(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Return the stream without the lines (or bytes, if it is not text) that are not needed to make it fail."""
    pieces = data.splitlines(keepends=True) if data.isascii() and b"\n" in data else byte_by_byte(data)
    return b"".join(_fewest(pieces, fails))


def _fewest(pieces: list[bytes], fails: Callable[[bytes], bool]) -> list[bytes]:
    """Return only the pieces that can't be left out. Try to leave out half of them at once, then a quarter, down to one."""
    size = len(pieces)
    while size:
        start = 0
        while start < len(pieces):
            fewer = pieces[:start] + pieces[start + size :]
            if fails(b"".join(fewer)):
                pieces = fewer
            else:
                start += size
        size //= 2
    return pieces


def chunks(streams: SearchStrategy[bytes]) -> SearchStrategy[list[bytes]]:
    """Return a strategy of streams in chunks, from one piece to single bytes."""

    @st.composite  # not ``map``: hypothesis would show the call, ``cut(data, [1])``, instead of the chunks
    def cut_anywhere(draw: st.DrawFn) -> list[bytes]:
        data = draw(streams)
        positions = draw(st.lists(st.integers(0, len(data)), max_size=8) | st.none())
        return byte_by_byte(data) if positions is None else cut(data, positions)

    return cut_anywhere()


_TELLING = st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"0", b"-1", b"\x80", b"\xff", b"9" * 20])


def mutated(streams: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return a strategy of streams with up to three faults: pieces inserted, replaced, left out or repeated."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        data = draw(streams)
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(data)))
            end = draw(st.integers(start, min(len(data), start + 20)))
            piece = draw(st.one_of(_TELLING, st.binary(max_size=3), st.just(data[start:end] * 2), st.just(b"")))
            data = data[:start] + piece + data[end:]
        return data

    return mutate()


def anyhow(streams: SearchStrategy[bytes]) -> SearchStrategy[list[bytes]]:
    """Return a strategy of streams in chunks: most of them valid, some of them damaged, some of them arbitrary bytes.

    Only valid streams get deep into a parser, and the laws themselves damage streams."""

    @st.composite
    def right_or_wrong(draw: st.DrawFn) -> bytes:
        kind = draw(st.integers(0, 9))
        return draw(streams if kind < 7 else mutated(streams) if kind < 9 else st.binary(max_size=50))

    return chunks(right_or_wrong())


def valid(streams: SearchStrategy[bytes]) -> SearchStrategy[list[bytes]]:
    """Return a strategy of these streams in chunks, none of them damaged."""
    return chunks(streams)


def uncut(streams: SearchStrategy[bytes]) -> SearchStrategy[list[bytes]]:
    """Return a strategy of these streams, each of them in one piece, none of them damaged."""
    return streams.map(whole)
