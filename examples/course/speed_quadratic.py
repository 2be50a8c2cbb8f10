"""Count the bytes that a parser touches: two innocent lines of Python make the work grow with the square of the input."""


def take_by_a_slice(lines: int) -> int:
    """Take lines of ten bytes from the front of a buffer. Return how many bytes are copied."""
    copied, buffer = 0, b"123456789\n" * lines
    while buffer:
        line, buffer = buffer[:10], buffer[10:]
        copied += len(line) + len(buffer)  # everything after the line is copied, too
    return copied


def take_by_a_cursor(lines: int) -> int:
    copied, cursor, buffer = 0, 0, b"123456789\n" * lines
    while cursor < len(buffer):
        line = buffer[cursor : cursor + 10]
        copied += len(line)
        cursor += 10
    return copied


def search_from_the_front(size: int) -> int:
    """Receive a line byte by byte, and look for its end each time. Return how many bytes are looked at."""
    return sum(have for have in range(1, size + 1))


def search_from_where_we_were(size: int) -> int:
    searched = looked = 0
    for have in range(1, size + 1):
        looked += have - searched
        searched = max(have - 3, 0)  # CR LF CR LF has four bytes: three of them may be here already
    return looked


for function, sizes in (
    (take_by_a_slice, (100, 200, 400)), (take_by_a_cursor, (100, 200, 400)),
    (search_from_the_front, (2000, 4000, 8000)), (search_from_where_we_were, (2000, 4000, 8000)),
):  # fmt: skip
    print(f"{function.__name__:26}", *(f"{size}: {function(size):,}" for size in sizes), sep="   ")
