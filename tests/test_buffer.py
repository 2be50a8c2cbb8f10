"""The receive buffer does what plain bytes would do, holds no more than it may, and looks at each byte about once."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minproto.buffer import Buffer

LIMIT = 12
TEXT = st.lists(st.sampled_from([b"\r", b"\n", b"a", b"b"]), max_size=8).map(b"".join)
POSITIONS = st.integers(0, 20)
STEPS = st.one_of(
    st.tuples(st.just("append"), TEXT),
    st.tuples(st.just("take"), POSITIONS),
    st.tuples(st.just("skip"), POSITIONS),
    st.tuples(st.just("peek"), POSITIONS, st.none() | POSITIONS),
    st.tuples(st.just("match"), POSITIONS),
    st.tuples(st.just("find"), POSITIONS),
    st.tuples(st.just("text_until"), POSITIONS),
)


@given(st.lists(STEPS, max_size=40), st.sampled_from([b"\n", b"\r\n", b"\r\n\r\n", b"abab"]))
@example([("append", b"\r\n\r"), ("find", 20), ("append", b"\n"), ("find", 20)], b"\r\n\r\n")
@example([("append", b"\n"), ("text_until", 1)], b"\n")
@example([("append", b"aa\n"), ("find", 1), ("find", 3)], b"\n")  # what lay behind one limit is within the next
def test_it_does_what_bytes_would_do(steps, needle):
    buffer, model = Buffer(LIMIT), b""
    for name, *arguments in steps:
        match name, *arguments:
            case "append", data:
                fits = len(model) <= LIMIT or not data
                assert buffer.append(data) is fits
                model += data if fits else b""
            case "take", count:
                assert buffer.take(count) == model[:count]
                model = model[count:]
            case "skip", count:
                buffer.skip(min(count, len(model)))
                model = model[count:]
            case "peek", start, end:
                assert buffer.peek(start, end) == model[start:end]
            case "match", position:
                position = min(position, len(model))
                assert buffer.match(re.compile(b"[ab]*"), position) == len(model) - len(model[position:].lstrip(b"ab"))
            case "find", limit:
                assert buffer.find(needle, limit) == model.find(needle, 0, limit)
            case "text_until", limit:
                at = model.find(needle, 0, limit)
                assert buffer.text_until(needle, limit) == (None if at < 0 else model[:at].decode())
        assert len(buffer) == len(model)
    assert buffer.peek() == model


@given(st.lists(TEXT, max_size=20))
def test_it_holds_the_limit_and_one_chunk(chunks):
    buffer = Buffer(LIMIT)
    for chunk in chunks:
        before = len(buffer)
        taken = buffer.append(chunk)
        assert taken is (before <= LIMIT or chunk == b"")
        assert len(buffer) == before + len(chunk) * taken


class Counted(bytearray):
    """Counts the bytes that are searched, and those that are moved to the front."""

    work = 0

    def find(self, needle, start, end):
        self.work += max(0, min(end, len(self)) - start)
        return super().find(needle, start, end)

    def __delitem__(self, index):
        super().__delitem__(index)
        self.work += len(self) if index.stop else 0


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_a_search_goes_on_where_it_stopped(size):
    buffer, total = Buffer(1 << 20), 30_000
    buffer.append(b"\r")
    buffer._data = data = Counted(b"\r")  # what a second chunk is joined to
    for _ in range(total // size):
        buffer.append(b"\r" * size)
        assert buffer.find(b"\r\n\r\n", 1 << 20) == -1
    assert data.work <= total * 4  # the length of the needle, less one, is looked at again each time


def test_taking_from_the_front_does_not_move_the_rest():
    buffer = Buffer(1 << 20)
    buffer.append(b"a")
    buffer._data = data = Counted(b"a")
    buffer.append(b"a" * 29_999)
    assert b"".join(buffer.take(1) for _ in range(29_999)) == b"a" * 29_999
    buffer.append(b"b")
    assert (buffer.peek(), data.work) == (b"ab", 1)


def test_a_needle_ends_within_the_limit_or_is_not_there() -> None:
    buffer = Buffer(100)
    buffer.append(b"abc\r\n")
    assert (buffer.find(b"\r\n", 4), buffer.find(b"\r\n", 5)) == (-1, 3)


def test_a_search_after_a_skip_begins_anew() -> None:
    """What was known of the bytes before was known from a cursor that has moved."""
    buffer = Buffer(100)
    buffer.append(b"abcdefgh")
    assert buffer.find(b"\r\n", 100) == -1
    buffer.skip(6)
    buffer.append(b"\r\nabcdef")
    assert buffer.find(b"\r\n", 100) == 2
    buffer.skip(2)
    assert buffer.find(b"\r\n", 100) == 0


def test_a_chunk_is_the_buffers_own() -> None:
    """A caller may use its bytearray again for the next chunk."""
    buffer, chunk = Buffer(100), bytearray(b"abc")
    buffer.append(chunk)
    chunk[:] = b"xyz"
    assert buffer.peek() == b"abc"
    buffer.append(b"def")
    assert (buffer.peek(), chunk) == (b"abcdef", b"xyz")


def test_an_empty_buffer_keeps_no_memory() -> None:
    buffer = Buffer(100)
    buffer.append(b"a" * 50)
    buffer.append(b"b" * 50)
    buffer.skip(100)
    assert buffer.window() == (b"", 0)
