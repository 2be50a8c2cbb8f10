"""``minproto learn mutants``: a function of minproto with a bug of one line. Which line is it?

    minproto learn mutants                    any function
    minproto learn mutants http2 --seed 7     one of HTTP/2, and the same one each time
    minproto learn mutants 41 --answer        the line, what it breaks, and who catches it

The bugs come from the catalogue of mutants. Many of them were reported by somebody who had the bug. A bug's name tells too
much, so a bug has a number here: its place in the catalogue.
"""

import argparse
import ast
import difflib
import random
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from minproto.learn import PROTOCOLS
from minproto.learn.words import address
from minproto.prove import ledger
from minproto.prove.ledger import STANDARDS, Requirement
from minproto.testing.mutants import Mutant, module_path, mutated_source, read_catalogue, targets

LEAST_LINES, MOST_LINES = 5, 45
"""How short and how long a function may be, in lines, to become an exercise."""
_CORES = dict(zip(PROTOCOLS, ("HTTP/1.1", "Server-Sent Events", "WebSocket", "RESP and the broker", "HTTP/2"), strict=True))
_catalogue = cache(read_catalogue)


@dataclass(frozen=True)
class Bug:
    """A mutant, and the function that contains it."""

    number: int
    mutant: Mutant
    first: int
    """The number of the function's first line in the file."""
    lines: tuple[str, ...]
    """The function with the bug."""
    wrong: tuple[str, ...]
    """The lines that differ, with - for the bug and + for the right line."""
    at: int
    """The number of the first line that differs."""


def bug(number: int) -> Bug:
    """Return the bug with this number. Raises IndexError if there is none."""
    mutant = _catalogue()[number - 1]
    right = module_path(mutant.module).read_text("utf-8").splitlines()
    source = mutated_source(mutant)
    wrong = source.splitlines()
    at = next(at for at, lines in enumerate(zip(right, wrong, strict=False), 1) if lines[0] != lines[1])
    first, last = _around(source, at)
    differ = [line for line in difflib.ndiff(wrong, right) if line[:2] in ("- ", "+ ")]
    return Bug(number, mutant, first, tuple(wrong[first - 1 : last]), tuple(differ), at)


def _around(source: str, at: int) -> tuple[int, int]:
    """Return the first and the last line of the function around a line, or of the statement, if it is in no function."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    around = [node for node in [*tree.body, *functions] if node.lineno <= at <= (node.end_lineno or 0)]
    if not around:
        return at, at
    found = min(around, key=lambda node: (node.end_lineno or 0) - node.lineno)
    return found.lineno, found.end_lineno or at


def drawn(protocol: str | None, seed: int) -> Bug:
    """Return a bug of the cores, the same one for the same seed: one line in a function that fits on a screen."""
    modules = targets.PROTOCOLS[_CORES[protocol]] if protocol else targets.MODULES
    numbers = [number for number, each in enumerate(_catalogue(), 1) if each.module in modules]
    random.Random(seed).shuffle(numbers)
    found = map(bug, numbers)
    return next(each for each in found if LEAST_LINES <= len(each.lines) <= MOST_LINES and len(each.wrong) == 2)


def question(found: Bug) -> Iterator[str]:
    """Yield the function with the bug, and the question."""
    path = f"src/minproto/{found.mutant.module.replace('.', '/')}.py"
    yield f"bug {found.number}: one line of this function is wrong ({path}). Which one, and what goes wrong?"
    yield ""
    code = textwrap.dedent("\n".join(found.lines)).splitlines()
    for number, line in enumerate(code, found.first):
        yield f"{number:5}  {line}".rstrip()
    yield ""
    yield f"The answer: minproto learn mutants {found.number} --answer"


def answer(found: Bug) -> Iterator[str]:
    """Yield the lines of the answer: the wrong line, the sentence that it breaks, and the tests that catch it."""
    yield f"bug {found.number} ({found.mutant.name}): line {found.at}, with the bug (-), and as it is (+):"
    yield ""
    lines = textwrap.dedent("\n".join(line[2:] for line in found.wrong)).splitlines()
    yield from (f"    {line[0]} {text}" for line, text in zip(found.wrong, lines, strict=True))
    entries = {each.id: each for each in ledger.load()}
    tests: list[str] = []
    for entry in (entries[name] for name in found.mutant.breaks):
        yield ""
        yield from _broken(entry)
        tests += [test for test in entry.checked if test not in tests]
    yield ""
    yield "caught by:"
    yield from (f"    {test}" for test in tests)
    if found.mutant.issue:
        yield f"somebody had this bug: {found.mutant.issue}"


def _broken(entry: Requirement) -> Iterator[str]:
    """Yield what the ledger says about an entry."""
    section = f"{STANDARDS[entry.id.partition('-')[0]]} §{entry.section}"
    says = f"breaks {entry.id} ({section}, {entry.level}): {entry.says}"
    yield from textwrap.wrap(says, 100, subsequent_indent="    ")
    if entry.why:
        yield from textwrap.wrap(f"    if not: {entry.why}", 100, subsequent_indent="    ")
    if where := address(section).strip():
        yield f"    {where}"


def chosen(options: argparse.Namespace) -> Bug:
    """Return the bug that a user asks for. Raises ValueError, whose text is one line."""
    which, mutants = options.which, _catalogue()
    if which is None or which in PROTOCOLS:
        if options.answer:
            raise ValueError("--answer needs a bug: its number, such as minproto learn mutants 41 --answer")
        return drawn(which, random.randrange(1 << 16) if options.seed is None else options.seed)
    if options.seed is not None:
        raise ValueError(f"--seed draws a bug, and {which!r} is one already: leave one of them out")
    names = [each.name for each in mutants]
    if which in names:
        return bug(names.index(which) + 1)
    if which.isascii() and which.isdigit() and len(which) < 9 and 1 <= int(which) <= len(mutants):
        return bug(int(which))
    raise ValueError(f"no bug is called {which!r} (give a number from 1 to {len(mutants)}, or {', '.join(PROTOCOLS)})")
