r"""Patterns of transcripts as a person reads them, and what the words of a transcript mean.

    [45]\d\d (closed|reset)|(?!40[08]|41[147]|426|431)[2-4]\d\d closed      a pattern
    4xx/5xx (closed|reset) or answer closed                                 the same, readable

The readable form is for people: it may say less than the pattern, and nothing compares it with an answer.
"""

import re

from minproto.prove.controls import OK

MAX_PATTERN = 300

_PARTS = (
    (re.escape(OK), "answer"),
    (re.escape(r"(?!.*\b(malformed|push)\b)"), ""),
    (re.escape("(?!.*goaway)"), "no goaway, "),
    (re.escape(r"(?!.*\d:(?!NO_ERROR)[A-Z])"), "no stream error, "),
    (r"\(\?!NO_ERROR\)(\[A-Z_\]|\\w)\+", "ERROR"),
    (r"\(\?!\.\*(?:\\b)?([^()]*?) ?\)", r"no \1, "),
    (r"\(\?![^()]*\)", ""),
    (r"\(\?[is]:([^()]*)\)", r"\1"),
    (r"\[([1-5])-([1-5])\]\\d\\d", r"\1xx-\2xx"),
    (r"\[([1-5])([1-5])\]\\d\\d", r"\1xx/\2xx"),
    (r"\[([1-5])([1-5])([1-5])\]\\d\\d", r"\1xx/\2xx/\3xx"),
    (r"\[([1-5])([1-5])([1-5])([1-5])\]\\d\\d", r"\1xx/\2xx/\3xx/\4xx"),
    (r"\[([1-5])([1-5])\]", r"\1/\2"),
    (r"([1-5])\\d\\d", r"\1xx"),
    (r"\\d[+*]?", "N"),
    (r"\\[wS][+*]?", "WORD"),
    (r"\\[sDb][+*]?", ""),
    (r"\(\.\* \)\?|\( \.\*\)\?|\.[*+]", " ... "),
    (r"\(\?=([^()]*)\)", r"\1"),
    (r"\(([^()|]*)\)(?![?*+{])", r"\1"),
    (r"\\1", "same"),
    (r"\\(\W)", r"\1"),
    (r" {2,}", " "),
    (r"(\.\.\. )+(?=\.\.\.)", ""),
)  # fmt: skip
"""A pattern -> the text in its place, in this order."""

MEANINGS = {
    "open": "the connection is still open",
    "closed": "the server ended the connection",
    "reset": "the server ended the connection by a TCP reset",
    "silent": "no byte came within the time limit, and the connection is still open",
    "malformed": "the server sent bytes that the protocol forbids; the reason follows",
    "answer": "any status from 200 to 499 but those that refuse the bytes of a request: 400, 408, 411, 414, 417, 426, 431",
    "same": "the same word once more",
    "...": "anything",
    "4xx": "any status from 400 to 499; 2xx, 5xx, 2xx-4xx and the like as well",
    "200+": "a response whose content goes on, or is cut off",
    "101": "the server switched to WebSocket",
    ")?": "what is in front of ? may be missing",
}
"""A word of a transcript, or of a readable pattern -> what it means."""


def readable(pattern: str) -> str:
    """Return a pattern as a person reads it, with "or" between the alternatives."""
    text = " or ".join(map(_simple, _alternatives(pattern)))
    return text if len(text) <= MAX_PATTERN else text[:MAX_PATTERN] + "..."


def meanings(texts: list[str]) -> list[str]:
    """Return a line for each word that occurs in the texts."""
    words = {word for text in texts for word in re.split(r"[ (|)]+", text)}
    found = {word: word in words for word in MEANINGS}
    found[")?"] = any(")?" in text for text in texts)
    found["4xx"] = any(re.search(r"\dxx", text) for text in texts)
    found["200+"] = any(re.search(r"\d\d\d\+|xx\+", text) for text in texts)
    return [f"{word:9}  {MEANINGS[word]}" for word, occurs in found.items() if occurs]


def _alternatives(pattern: str) -> list[str]:
    """Split a pattern at each | that is outside of all brackets."""
    pieces, depth = [""], 0
    for token in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == "|" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += token
    return pieces


def _simple(pattern: str) -> str:
    for part, text in _PARTS:
        pattern = re.sub(part, text, pattern)
    return pattern.strip()
