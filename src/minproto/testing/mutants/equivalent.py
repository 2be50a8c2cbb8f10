"""Generated mutants that no test can kill, each with its reason: ``equivalent.toml``.

    [[equivalent]]
    module = "buffer"
    within = "Buffer.find"
    line = "start = max(self.searched, 0)"
    kind = "plus"
    why = "The search starts one byte later, where the byte before was looked at already."

An entry names a line by its code and by the function around it, so that it still fits when a line above is added, or when
the comment after the code changes. When the code of the line changes, the entry no longer fits any line, and the mutant counts
again: the reason may not hold for the new line.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minproto.testing.mutants import checked_keys, read_entries
from minproto.testing.mutants.operators import Generated

EQUIVALENT = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True)
class Equivalent:
    """One entry. ``kind``: the operator, as in the mutant's name (``negate.2``)."""

    module: str
    within: str
    line: str
    kind: str
    why: str

    def fits(self, mutant: Generated) -> bool:
        """Whether this is the entry of the mutant."""
        its = (mutant.mutant.module, mutant.within, mutant.line, mutant.kind)
        return (self.module, self.within, self.line, self.kind) == its


def equivalents(path: Path = EQUIVALENT) -> tuple[Equivalent, ...]:
    """Read the entries. Raises MutantError for a mistake in the file."""
    return tuple(read_entries(path, "equivalent", _entry))


def reasons(mutants: Iterable[Generated], entries: Iterable[Equivalent]) -> dict[str, str]:
    """Return the reasons by the names of the mutants that have one."""
    by_place = {(entry.module, entry.within, entry.line, entry.kind): entry.why for entry in entries}
    places = {each.mutant.name: (each.mutant.module, each.within, each.line, each.kind) for each in mutants}
    return {name: by_place[place] for name, place in places.items() if place in by_place}


def _entry(entry: dict[str, Any]) -> Equivalent:
    checked_keys(entry, ("module", "within", "line", "kind", "why"))
    return Equivalent(**entry)
