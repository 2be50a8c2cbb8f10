"""How a result is shown, alike for a case (``minproto prove``) and for a snare (``minproto trap``)."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping

from minproto.core import CLIENT, SERVER, Role
from minproto.explain import Explainer, Row
from minproto.explain.text import Printer
from minproto.prove.case import Question, Verdict

MARKS = {Verdict.RIGHT: "right", Verdict.ACCEPTABLE: "acceptable", Verdict.WRONG: "WRONG", Verdict.SKIPPED: "skipped"}


MAX_TRANSCRIPT = 300
"""The maximum number of characters of an answer that are shown."""
MAX_DETAIL = 10_000
"""The maximum number of characters of an answer in a file for programs: a server may answer a flood with a flood."""


def shortened(text: str) -> str:
    """Return the beginning of a transcript, without control characters: a server must not write to the user's terminal."""
    shown = text[:MAX_TRANSCRIPT] + ("..." if len(text) > MAX_TRANSCRIPT else "")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)


def wrapped(width: int, text: str) -> list[str]:
    """Return the lines of a text, indented."""
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def demand(question: Question, why: str, issue: str, width: int) -> Iterator[str]:
    """Yield what the standard demands, what goes wrong otherwise, and a public report of a program that was wrong."""
    entry = question.requirement
    if entry:
        yield from wrapped(width, f"{entry.standard} §{entry.section}, {entry.level}: {entry.says}")
    if why := why or (entry.why if entry else ""):
        yield from wrapped(width, f"why: {why}")
    if issue:
        yield from wrapped(width, f"somebody had it: {issue}")


def annotated(record: list[tuple[Role, bytes]], width: int, color: bool, most: int) -> Iterator[str]:
    """Yield the annotated bytes of both sides, in the order in which they crossed.

    ``most``: the maximum number of heads, frames or chunks, the last ones; 0 for all.
    """
    explainer, rows = Explainer(), list[Row]()
    for sender, data in record:
        for at in range(0, len(data), 16_384):
            explainer.receive_data(sender, data[at : at + 16_384])
            rows += explainer.rows()
    for role in (CLIENT, SERVER):
        explainer.receive_eof(role)
    rows += explainer.rows()
    printer = Printer(width, color=color)
    shown = rows[-most:]
    if len(shown) < len(rows):
        yield f"  ({len(rows) - len(shown)} earlier frames or heads: -v shows all)"
    for row in shown:
        yield from (f"  {line}" for line in printer.lines(row))


def card(groups: Mapping[str, Counter[Verdict]]) -> Iterator[str]:
    """Yield a line for each group, and the sums."""
    wide = max(map(len, groups), default=0)
    yield f"{'':{wide}}  right  acceptable  wrong  skipped"
    for group, counts in [*groups.items(), ("", sum(groups.values(), Counter[Verdict]()))]:
        right, acceptable, wrong, skipped = (counts[verdict] for verdict in Verdict)
        yield f"{group:{wide}}  {right:5}  {acceptable:10}  {wrong:5}  {skipped:7}"


def to_json(question: Question, verdict: Verdict, transcript: str, detail: str) -> dict[str, str]:
    """Return one element of ``cases`` in the file that ``--json`` writes."""
    entry = question.requirement
    return {
        "name": question.name, "protocol": question.protocol, "level": question.level,
        "section": f"{entry.standard} §{entry.section}" if entry else "", "verdict": verdict.value,
        "detail": " ".join(filter(None, [transcript, detail]))[:MAX_DETAIL],
    }  # fmt: skip
