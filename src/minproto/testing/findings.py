"""What the bytes that break a law mean: their fields, as ``minproto explain`` shows them, and what the ledger says about them.

The ledger (``minproto.prove``) has an entry for each sentence of a standard that demands something. Nobody can tell from
outside which of them a parser disobeys. But we know which field contains the fault, and which section of the standard defines
that field. So the entries of that section are shown, and no more is claimed.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import accumulate

from minproto.explain import Row
from minproto.explain.once import explain_after
from minproto.explain.text import Printer, visible
from minproto.prove import ledger
from minproto.prove.ledger import Requirement
from minproto.testing.report import LawBroken
from minproto.testing.streams import Reader

MOST_ROWS = 6
"""The maximum number of heads, frames or chunks that are shown: the last ones."""
MOST_ENTRIES = 3
MOST_EXPLAINED = 4_096
"""The maximum number of bytes that are explained. A longer stream is one without end, whose fields all say the same."""

MOST_LINKED = 1_000
"""The maximum number of bytes that a link holds."""
LAB = "http://127.0.0.1:8000/"
"""The address of the lab's page at its default port."""

_SECTION = re.compile(r"([A-Z]+(?: [0-9A-Z]+)?) §([0-9]+(?:\.[0-9]+)*)")


def findings(reader: Reader, broken: LawBroken, width: int = 120) -> list[str]:
    """Return lines about the bytes that break a law: their fields, and what the ledger says about the last of them."""
    data = b"".join(part for part, _ in broken.parts)[:MOST_EXPLAINED]
    if not data:
        return []
    at = next((len(part) for part, mark in broken.parts if mark), len(data))
    rows = explained(reader, data)
    lines = _lines(rows, width)
    entries = [each for each in _entries(rows, at) if reader.role.value in each.binds][:MOST_ENTRIES]
    lines += ["what the ledger has about the field at this place:"] if entries else []
    for each in entries:
        text = f"{each.id}: {each.level}: {each.says}"
        lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="      ")
    return [*lines, *_linked(reader, [part for part, _ in broken.parts])]


def fields_of(reader: Reader, data: bytes, width: int = 120) -> list[str]:
    """Return the lines with the fields of a stream, and a link to its steps."""
    return [*_lines(explained(reader, data), width), *_linked(reader, [data])]


def link(reader: Reader, pieces: Sequence[bytes]) -> str:
    """Return the address at which the lab shows what our core makes of a stream, step by step.

    For the request ``GET / HTTP/1.1`` cut after ``GET``, the address is ``LAB#apart=http1-request/server/474554202f…/3``."""
    ends = list(accumulate(map(len, pieces)))
    cuts = sorted({end for end in ends if 0 < end < ends[-1]})
    words = [reader.name, reader.role.value, b"".join(pieces).hex(), ",".join(map(str, cuts))]
    return f"{LAB}#apart={'/'.join(words).rstrip('/')}"


def _linked(reader: Reader, pieces: Sequence[bytes]) -> list[str]:
    """Return the lines with the link; none for a stream whose link would fill the screen."""
    if sum(map(len, pieces)) > MOST_LINKED:
        return []
    return ["our core on these bytes, step by step (while `minproto lab` is running):", f"    {link(reader, pieces)}"]


def _lines(rows: Sequence[Row], width: int) -> list[str]:
    lines, printer = ["the fields of these bytes:"], Printer(width)
    for row in rows[-MOST_ROWS:]:
        lines += [f"  {row.protocol}: {visible(row.title)}", *printer.fields(row)]
    return lines


def explained(reader: Reader, data: bytes) -> list[Row]:
    """Return the rows of the bytes that a peer sends to a reader. Their offsets begin with 0."""
    rows = explain_after(reader.before, data, reader.sender)
    return [row for row in rows if row.sender is reader.sender]


def _entries(rows: Sequence[Row], at: int) -> Iterator[Requirement]:
    """Yield the ledger's entries for the sections that define a field: the field that contains the byte before ``at``."""
    for row in rows:
        position = row.offset
        for field in row.fields:
            if position < at <= position + len(field.raw):
                for standard, section in _SECTION.findall(field.section):
                    for each in ledger.load():
                        if each.standard == standard and section in each.sections and not each.left_out:
                            yield each
            position += len(field.raw)
