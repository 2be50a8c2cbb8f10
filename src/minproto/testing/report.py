r"""The report on a broken law: the law, the bytes that break it with a mark at the place, and the first event that differs.

    law 6. The end of input at any byte ends the connection or fails; it never hangs.
    broken by:
        b'GET / HTTP/1.1\r\n'  <-- end of input
    expected: wants is CLOSED, or RemoteProtocolError
    got:      wants is DATA
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from minproto.core import Event

MOST_LINES = 12
"""The maximum number of lines of a stream that a report shows. Of a longer stream, it shows the first and the last lines."""
MOST_BYTES = 80
"""The maximum number of bytes of one line that a report shows."""
MOST_TEXT = 160
"""The maximum number of characters of one event that a report shows."""

Part = tuple[bytes, str]
"""Bytes of a stream, and the mark for the place after them; "" for no mark."""


class LawBroken(AssertionError):
    """A law does not hold. ``law``: the law's sentence. ``parts``: the stream that breaks it. ``says``: what is wrong."""

    def __init__(self, law: str, says: str, parts: Sequence[Part] = ()) -> None:
        self.law, self.says, self.parts = law, says, list(parts)
        stream = f"broken by:\n{show(parts)}\n" if parts else ""
        self.slow = False
        """Whether each try takes seconds. If so, only a few smaller streams are tried."""
        super().__init__(f"{'law ' if law[:1].isdigit() else ''}{law}\n{stream}{says}")


def sentence(law: Any) -> str:
    """Return the first paragraph of a law's docstring, on one line."""
    return " ".join((law.__doc__ or law.__name__).split("\n\n")[0].split())


def show(parts: Iterable[Part]) -> str:
    """Return a stream as bytes literals, line by line, with the marks of its parts."""
    lines: list[str] = []
    for data, mark in parts:
        pieces = data.splitlines(keepends=True) if data.count(b"\n") > 1 or data.endswith(b"\n") else [data]
        shown = [f"    {_literal(piece)}" for piece in pieces or [b""]]
        lines += [*shown[:-1], f"{shown[-1]}  <-- {mark}" if mark else shown[-1]]
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines[half:-half] = [f"    ... {len(lines) - 2 * half} lines ..."]
    return "\n".join(lines)


def _literal(data: bytes) -> str:
    if len(data) > 8 and data == data[:1] * len(data):
        return f"{data[:1]!r} * {len(data)}"
    if len(data) <= MOST_BYTES:
        return repr(data)
    half = MOST_BYTES // 2
    return f"{data[:half]!r} ... {len(data) - 2 * half} bytes ... {data[-half:]!r}"


_SAY_NOTHING: tuple[Any, ...] = (object.__repr__, Event.__repr__)


def describe(thing: Any) -> str:
    """Return an event as text, even if its class has no __repr__ of its own."""
    if type(thing).__repr__ in _SAY_NOTHING:
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        return f"{type(thing).__name__}({', '.join(f'{name}={getattr(thing, name)!r}' for name in names)})"
    return repr(thing)


def same(first: Any, second: Any) -> bool:
    """Return whether two events are equal. NaN is not equal to itself, so events that contain NaN are compared as text."""
    return bool(first == second) or (_NAN.search(describe(first)) is not None and describe(first) == describe(second))


_NAN = re.compile(r"\bnan\b")


def all_same(expected: Sequence[Any], got: Sequence[Any]) -> bool:
    """Return whether two lists of events are equal."""
    return len(expected) == len(got) and all(map(same, expected, got))


def difference(expected: Sequence[Any], got: Sequence[Any], names: tuple[str, str] = ("expected", "got")) -> str:
    """Return three lines about the first place where two lists of events differ."""
    longest = max(len(expected), len(got))
    at = next(i for i in range(longest) if i >= len(expected) or i >= len(got) or not same(expected[i], got[i]))
    first, second = (describe(each[at]) if at < len(each) else "no event" for each in (expected, got))
    width = max(map(len, names)) + 1
    said = [f"    {name + ':':<{width}} {text}" for name, text in zip(names, _near_difference(first, second), strict=True)]
    return "\n".join([f"the first difference is in event {at + 1}:", *said])


def _near_difference(first: str, second: str) -> tuple[str, str]:
    """Return two texts, cut down to the part in which they differ."""
    same = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
    start = same - 40 if same > MOST_TEXT // 2 else 0
    return _shorten(first, start), _shorten(second, start)


def _shorten(text: str, start: int) -> str:
    end = start + MOST_TEXT
    return ("..." if start else "") + text[start:end] + ("..." if len(text) > end else "")
