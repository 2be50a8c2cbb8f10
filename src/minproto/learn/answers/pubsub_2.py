"""Reference answer to pubsub/2: inline commands.

A word is plain bytes, then perhaps one quoted part, then a blank or the end. So each word is a match of one expression.
"""

import re

_DOUBLE = rb'"((?:[^"\\]|\\.)*)"'
_SINGLE = rb"'((?:[^'\\]|\\'|\\(?!'))*)'"
_WORD = re.compile(rb"([^ \t\"']*)(?:%b|%b)?(?=[ \t]|\Z)" % (_DOUBLE, _SINGLE), re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_CONTROL = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def parse_inline(line: bytes) -> list[bytes]:
    """Return the words of a line. Raises ValueError for a quote that is not closed, or that something follows."""
    words = []
    line = line.strip(b" \t")
    while line:
        found = _WORD.match(line)
        if found is None:
            raise ValueError("unbalanced quotes")
        plain, double, single = found.groups(b"")
        words.append(plain + _ESCAPE.sub(_unescape, double) + single.replace(b"\\'", b"'"))
        line = line[found.end() :].lstrip(b" \t")
    return words


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if found[1] else _CONTROL.get(found[2], found[2])
