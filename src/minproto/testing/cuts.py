"""Ways to cut a stream of bytes into the chunks that a network might deliver.

A parser that only ever saw whole messages has not been tested: the bytes of one line, one number, one character may come
apart anywhere. An empty chunk is possible, too, and has to mean nothing.
"""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy


def whole(data: bytes) -> list[bytes]:
    """One chunk."""
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    """As many chunks as bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Chunks that end at these positions."""
    edges = [0, *sorted(positions), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def chunks(streams: SearchStrategy[bytes]) -> SearchStrategy[list[bytes]]:
    """A stream in chunks drawn by hypothesis: anything from one piece to single bytes."""

    @st.composite  # and not ``map``: hypothesis would show the call, ``cut(data, [1])``, and not the chunks
    def cut_anywhere(draw: st.DrawFn) -> list[bytes]:
        data = draw(streams)
        positions = draw(st.lists(st.integers(0, len(data)), max_size=8) | st.none())
        return byte_by_byte(data) if positions is None else cut(data, positions)

    return cut_anywhere()


_TELLING = st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"0", b"-1", b"\x80", b"\xff", b"9" * 20])


def mutated(streams: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """A stream with a few faults in it: pieces inserted, replaced, left out or repeated."""

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
