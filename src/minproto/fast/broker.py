"""The broker made faster: a message is compared only with the patterns that can match its topic.

Most patterns begin with letters, such as ``news.`` in ``news.*``, or end with them, such as ``.uk`` in ``*.uk``. An index from
these letters to the patterns finds the candidates for a topic with a few look-ups, one for each length of such letters:

    patterns            index by the first letters                 index by the last letters, backwards
    news.*  news.?      "news." -> news.*, news.?
    *.uk                                                           "ku." -> *.uk
    *                   ""      -> *

A publish to ``news.uk`` looks up "news.", "ku." and "", and never sees ten thousand patterns ``sport.…*``. The answer for a
topic is remembered until a pattern is added or removed, so a pattern with wildcards at both ends is compared once for each
topic.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, count, takewhile

from minproto import broker
from minproto.broker import Listener, name_bytes

_REMEMBERED = 20_000
"""The maximum number of topics and matching patterns, counted together, that are remembered."""


class _Index:
    """Patterns by the letters that a topic has to begin with."""

    def __init__(self) -> None:
        self._by_letters: dict[bytes, dict[str, None]] = {}
        self._lengths: dict[int, int] = {}  # length -> how many keys of that length there are

    def add(self, letters: bytes, pattern: str) -> None:
        if letters not in self._by_letters:
            self._by_letters[letters] = {}
            self._lengths[len(letters)] = self._lengths.get(len(letters), 0) + 1
        self._by_letters[letters][pattern] = None

    def remove(self, letters: bytes, pattern: str) -> None:
        del self._by_letters[letters][pattern]
        if not self._by_letters[letters]:
            del self._by_letters[letters]
            self._lengths[len(letters)] -= 1
            if not self._lengths[len(letters)]:
                del self._lengths[len(letters)]

    def candidates(self, name: bytes) -> Iterator[str]:
        for length in self._lengths:
            if length <= len(name):
                yield from self._by_letters.get(name[:length], ())


class Patterns(broker.Patterns):
    """The plain table of patterns, with an index in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self._by_first, self._by_last = _Index(), _Index()
        self._age: dict[str, int] = {}  # for the order in which patterns were added, which an index does not keep
        self._ages = count()
        self._found: dict[bytes, list[str]] = {}  # topic -> patterns that match it
        self._remembered = 0

    def add(self, pattern: str, listener: Listener) -> None:
        is_new = pattern not in self._globs
        super().add(pattern, listener)
        if is_new:
            self._age[pattern] = next(self._ages)
            index, letters = self._place(pattern)
            index.add(letters, pattern)
            self._clear()

    def remove(self, pattern: str, listener: Listener) -> None:
        super().remove(pattern, listener)
        if pattern not in self._globs:
            del self._age[pattern]
            index, letters = self._place(pattern)
            index.remove(letters, pattern)
            self._clear()

    def _clear(self) -> None:
        self._found.clear()
        self._remembered = 0

    def _place(self, pattern: str) -> tuple[_Index, bytes]:
        """Return the index for a pattern, and its letters there: its first or its last letters, whichever are more."""
        parts = broker._PARTS.findall(name_bytes(pattern))
        first, last = _letters(parts), _letters(reversed(parts))
        return (self._by_first, first) if len(first) >= len(last) else (self._by_last, last)

    def matching(self, name: bytes) -> list[tuple[str, dict[Listener, None]]]:
        if not self._globs:
            return []
        found = self._found.get(name)
        if found is None:
            if self._remembered >= _REMEMBERED:
                self._clear()
            candidates = chain(self._by_first.candidates(name), self._by_last.candidates(name[::-1]))
            matching = (pattern for pattern in candidates if self._globs[pattern].fullmatch(name))
            found = self._found[name] = sorted(matching, key=self._age.__getitem__)
            self._remembered += 1 + len(found)
        return [(pattern, self._listeners[pattern]) for pattern in found]


def _letters(parts: Iterable[bytes]) -> bytes:
    """Return the letters before the first wildcard, without the backslashes before them."""
    return b"".join(part[-1:] for part in takewhile(lambda part: part[:1] not in (b"*", b"?", b"["), parts))


class Broker(broker.Broker):
    """A broker with the indexed table of patterns."""

    __slots__ = ()

    patterns = Patterns
