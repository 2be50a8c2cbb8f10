"""Unmask a megabyte: one loop of Python for each byte, or one operation on a number of a million bytes."""

import time
from collections.abc import Callable

KEY, DATA = b"\x37\xfa\x21\x3d", bytes(1_000_000)


def byte_by_byte(data: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(data))


def as_one_number(data: bytes, key: bytes) -> bytes:
    keys = int.from_bytes(key * (len(data) // 4) + key[: len(data) % 4])
    return (int.from_bytes(data) ^ keys).to_bytes(len(data))


def seconds(unmask: Callable[[bytes, bytes], bytes]) -> float:
    began = time.perf_counter()
    unmask(DATA, KEY)
    return time.perf_counter() - began


for size in range(10):
    assert byte_by_byte(DATA[:size], KEY) == as_one_number(DATA[:size], KEY)
slow, fast = (min(seconds(unmask) for _ in range(3)) for unmask in (byte_by_byte, as_one_number))
print("equal results; one number is more than ten times faster:", slow > 10 * fast)
