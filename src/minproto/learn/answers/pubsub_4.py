"""Reference answer to pubsub/4: a glob matcher.

The pattern becomes a list of parts. A star is None, and any other part is a test of one character. Only the last star is ever
tried again, so a pattern with many stars takes at most the product of the two lengths.
"""

from collections.abc import Callable

Part = Callable[[str], bool] | None


def matches(pattern: str, topic: str) -> bool:
    """Return whether the pattern matches the whole topic."""
    parts = list(compiled(pattern))
    at = place = 0
    star, again = -1, 0  # the last star, and where its part of the topic ends
    while place < len(topic):
        part = parts[at] if at < len(parts) else never
        if part is None:
            star, again, at = at, place, at + 1
        elif part(topic[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            again += 1
            at, place = star + 1, again
        else:
            return False
    return all(part is None for part in parts[at:])


def never(char: str) -> bool:
    """Match no character: this follows the last part."""
    return False


def compiled(pattern: str) -> list[Part]:
    """Return the parts of a pattern."""
    parts: list[Part] = []
    at = 0
    while at < len(pattern):
        char, at = pattern[at], at + 1
        if char == "*":
            parts.append(None)
        elif char == "?":
            parts.append(lambda other: True)
        elif char == "[":
            part, at = one_of(pattern, at)
            parts.append(part)
        else:
            if char == "\\":
                char, at = pattern[at], at + 1
            parts.append(char.__eq__)
    return parts


def one_of(pattern: str, at: int) -> tuple[Part, int]:
    """Return the part for a set whose content begins here, and where the pattern goes on."""
    negated = pattern[at] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while pattern[at] != "]":
        at += pattern[at] == "\\"
        first = last = pattern[at]
        at += 1
        if pattern[at] == "-" and pattern[at + 1] != "]":
            last, at = pattern[at + 1], at + 2
        ranges.append((first, last))
    return lambda char: any(first <= char <= last for first, last in ranges) != negated, at + 1
