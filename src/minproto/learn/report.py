r"""Explain a failure: the smallest input with the cut marked, its bytes, what was expected and what came, a hint, the section.

    http1/5 is not passed yet: 3 of 7 cases are right.
    the next case: HTTP/1.0 closes, unless it says keep-alive
        keeps_alive('1.0', [])
    expected: False
    got:      True
    hint:     ...
    section:  RFC 9112 §9.3  https://www.rfc-editor.org/rfc/rfc9112#section-9.3
"""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from itertools import zip_longest

from minproto.explain.once import explain
from minproto.explain.text import Printer, visible
from minproto.learn import CALLS, Exercise
from minproto.learn.judge import Failure
from minproto.learn.words import address, in_python
from minproto.testing.report import show

MOST_EXPLAINED = 2_000
"""The maximum number of bytes that are explained."""
MOST_EVENTS = 3
"""The maximum number of right events that are shown before the wrong one."""
MOST_ROWS = 5
"""The maximum number of heads, frames or chunks that are shown: the last ones."""

_OF_THE_HOST = re.compile(r"^ +(Thread 0x|Timeout \(|File \"(<|.*/minproto/learn/))|^last input: .*\"hex\"")
"""Lines about a call that did not return, which are not about the learner's file."""

DRAWN = "a drawn input is read wrong; this is the smallest one that was found:"
_ERROR = "RemoteProtocolError("
_LOST = "note:     the events before an error count, too. A list is lost when you raise: yield each event"


def report(failure: Failure, width: int = 100) -> list[str]:
    """Return the lines of the report."""
    exercise, broken = failure.exercise, failure.broken
    right = f"{failure.passed} of {len(exercise.cases)} cases are right."
    if failure.case is None:
        right = f"the {len(exercise.cases)} cases are right, but not every other input or cut."
    lines = [f"{exercise.name} is not passed yet: {right}"]
    if failure.case is not None:
        lines.append(f"the next case: {failure.case.says}")
    if failure.got and failure.case is None:
        lines.append(DRAWN)
    if exercise.kind == CALLS:
        lines += _calls(failure) if failure.got else [*_indented(failure), broken.law, *_plain(broken.says)]
    else:
        lines += [] if failure.got else [f"law {broken.law}" if broken.law[:1].isdigit() else broken.law]
        lines += [*show(broken.parts).splitlines(), *(_events(failure) or _plain(broken.says))]
    data = b"".join(part for part, _ in broken.parts)
    if exercise.kind == CALLS and failure.got:
        data = "\n".join(line.strip() for line in _calls(failure) if line.startswith("    ")).encode()
    lines += annotated(exercise, data, width)
    lines += textwrap.wrap(failure.hint, width, initial_indent="hint:     ", subsequent_indent="          ")
    lines.append(f"section:  {failure.section}{address(failure.section)}")
    return lines


def _indented(failure: Failure) -> list[str]:
    return [f"    {line}" for line in b"".join(part for part, _ in failure.broken.parts).decode().splitlines()]


def _calls(failure: Failure) -> Iterator[str]:
    """Yield the lines of a script up to the first one whose result is wrong, and the two results."""
    for line, expected, got in zip(_indented(failure), failure.expected, failure.got, strict=False):
        yield line
        if expected != got:
            yield f"expected: {expected}"
            yield f"got:      {got}"
            return


def _events(failure: Failure) -> list[str]:
    """Return the first event that is wrong, next to what was expected; [] if it shows only with other cuts."""
    if failure.expected == failure.got:
        return []
    number, expected, got = next(
        (number, *both) for number, both in enumerate(zip_longest(failure.expected, failure.got, fillvalue="nothing"), 1)
        if both[0] != both[1]
    )  # fmt: skip
    too_soon = got.startswith(_ERROR) and failure.expected[-1].startswith(_ERROR) and expected != failure.expected[-1]
    lost = [_LOST] if too_soon and failure.in_python else []
    before = [f"right:    {event}" for event in failure.got[: number - 1]]
    return _plain("\n".join([*before[-MOST_EVENTS:], f"expected: {expected}", f"got:      {got}", *lost]))


def _plain(says: str) -> list[str]:
    """Return what a law says in the learner's words: ValueError in place of our exception, bytes in place of digits."""
    says = re.sub(r'crashed \{"with": (".*")\}', lambda found: f"raises {json.loads(found[1])}", says)
    says = re.sub(r"end of input, before which wants was \w+", "no event", says)
    says = re.sub(r"^next_event: (.*), but the same object has to be raised again$", _again, says, flags=re.MULTILINE)
    says = re.sub(r"^(\w+: +)None, and wants is (\w+)$", _wants, says, flags=re.MULTILINE)
    return [line for line in in_python(_in_their_words(says)).splitlines() if not _OF_THE_HOST.search(line)]


def _in_their_words(says: str) -> str:
    return re.sub(r"RemoteProtocolError\((.*?)\)( with code 0)?$", r"ValueError(\1)", says, flags=re.MULTILINE)


def _again(found: re.Match[str]) -> str:
    if found[1] == "None":
        return "then:       no error, but the same error has to come again"
    return f"then:       {_in_their_words(found[1])}, but the same error has to come again, with the same text"


def _wants(found: re.Match[str]) -> str:
    return found[1] + ("no more events: it wants more data" if found[2] == "DATA" else "no more events: it is closed")


def annotated(exercise: Exercise, data: bytes, width: int = 100) -> list[str]:
    """Return the fields of a stream, or of the first bytes in a script, as ``minproto explain`` shows them."""
    if exercise.kind == CALLS:
        data = _first_bytes(data)
    if not exercise.explains or not data or len(data) > MOST_EXPLAINED:
        return []
    before = exercise.before.encode()
    rows = [row for row in explain(before + data, exercise.explains) if row.offset >= len(before)]
    printer, lines = Printer(width), ["the bytes:"]
    for row in rows[-MOST_ROWS:]:
        lines += [f"  {row.protocol}: ".replace("  : ", "  ") + visible(row.title), *printer.fields(row)]
    return lines if rows else []


def _first_bytes(script: bytes) -> bytes:
    """Return the bytes of the first bytes literal in the last line of a script that has one."""
    for line in reversed(script.decode().splitlines()):
        found = [node.value for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Constant)]
        if literals := [value for value in found if isinstance(value, bytes)]:
            return literals[0]
    return b""
