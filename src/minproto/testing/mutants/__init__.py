"""Mutants: bugs planted into minproto's cores on purpose, one at a time, to see whether the tests notice.

A test that passes proves little. It may check nothing, or check a line that cannot go wrong. Mutation testing turns the
question round: plant a small bug, run the tests, and see whether one fails. A copy of the program with such a bug is a
**mutant**. A test that fails on the mutant **kills** it. A mutant that no test kills **survives**, and a survivor is one of
three things:

1. A test is missing. Write it.
2. A requirement is missing: no sentence of a standard asked for this line, or nobody wrote the sentence down.
3. The mutant is **equivalent**: no input can show a difference. Then write the reason down.

A worked example. RFC 9112 §6.1 says that a request with both Transfer-Encoding and Content-Length may be an attempt at
request smuggling, and our server refuses such a request. An entry of ``catalogue.toml`` takes the refusal away:

    [[mutant]]
    name = "te-beside-cl"
    module = "http1"                                # minproto.http1
    old = "if coding is not None and length is not None:"       # occurs exactly once in that module
    new = "if False:"
    breaks = ["9112-6.1-te-and-cl"]                 # the entry of the ledger that the mutant disobeys

The ledger (``minproto.prove``) says which tests check that entry. So the claim can be tried: run these tests on the mutant.
If one fails, the entry's ``checked`` is true. If none fails, the test does not check what the entry says.

    python -m minproto.testing.mutants --check te-beside-cl

There are two sources of mutants. The **catalogue** was written by hand. Each of its mutants is a bug that a programmer could
make, and many are bugs that somebody has reported; ``issue`` is the address of that report. The **generated** mutants come
from ``operators.py``, which changes each number, condition and call of a core mechanically.

The parts, in the order in which a mutant meets them:

    __init__.py     the catalogue: read, check, apply to the source text
    operators.py    the generated mutants
    targets.py      which tests a mutant is tried against
    hook.py         an import hook that gives Python the mutated text; nothing is written to a file
    runner.py       one child process for each mutant
    matrix.py       what is printed
    __main__.py     the command line

Nothing here imports a core, and no core imports this package. A mutant has to be in place before its module is imported.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import minproto

SOURCE = Path(minproto.__file__).parent
"""The folder of minproto's modules."""
ROOT = SOURCE.parents[1]
"""The clone. An installed package has no tests, so mutants can only be tried in a clone."""
T = TypeVar("T")
CATALOGUE = Path(__file__).with_name("catalogue.toml")


class MutantError(Exception):
    """A mutant, a catalogue or a test's name is wrong. The message is one line, for the person who wrote it."""


@dataclass(frozen=True)
class Mutant:
    """One bug: ``old`` occurs exactly once in the module's source, and ``new`` takes its place."""

    name: str
    """Describes the bug, like ``te-beside-cl``. The name of a generated mutant is its place, like ``http1:123:negate``."""
    module: str
    """The module's name below minproto: ``http1``, ``aio.http1_server``."""
    old: str
    new: str
    breaks: tuple[str, ...] = ()
    """The ids of the ledger's entries that the mutant disobeys. A generated mutant has none."""
    issue: str | None = None
    """The address of a public report by somebody who had this bug."""


def module_path(module: str) -> Path:
    """Return the file of a module below minproto. Raises MutantError if there is none."""
    path = SOURCE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_name(f"{path.name}.py")
    if not path.is_file():
        raise MutantError(f"no module minproto.{module}")
    return path


def mutated_source(mutant: Mutant) -> str:
    """Return the source of the mutant's module with the bug in it.

    Raises MutantError unless ``old`` occurs in the source exactly once, and ``new`` differs from it. Whether the result is
    Python shows when it is compiled: see ``compiled``.
    """
    source = module_path(mutant.module).read_text("utf-8")
    if (found := source.count(mutant.old)) != 1 or not mutant.old:
        raise MutantError(f"`old` stands {found} times in minproto.{mutant.module}, and not once: {_first_line(mutant.old)}")
    if mutant.old == mutant.new:
        raise MutantError(f"`old` and `new` are equal: {_first_line(mutant.old)}")
    return source.replace(mutant.old, mutant.new)


def compiled(mutant: Mutant) -> Any:
    """Return the code object of the mutant's module. Raises MutantError if the mutated source is not Python."""
    try:
        return compile(mutated_source(mutant), str(module_path(mutant.module)), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise MutantError(f"the mutated module does not compile: {error.msg}, in line {error.lineno}") from error


def catalogue(path: Path = CATALOGUE) -> tuple[Mutant, ...]:
    """Read the mutants written by hand. Raises MutantError for a mistake in the file, with the name of the mutant.

    The result is not compiled here, since that takes seconds for all of them; a test does it, and so does each run.
    """
    mutants = read_catalogue(path)
    for mutant in mutants:
        try:
            mutated_source(mutant)
        except MutantError as error:
            raise MutantError(f"{path.name}: mutant {mutant.name!r}: {error}") from error
    return mutants


def read_catalogue(path: Path = CATALOGUE) -> tuple[Mutant, ...]:
    """Read the same mutants without a look at the modules: a mutant that does not fit is then an error of its own trial."""
    mutants: dict[str, Mutant] = {}
    for mutant in read_entries(path, "mutant", _mutant):
        if mutant.name in mutants:
            raise MutantError(f"{path.name}: two mutants have the name {mutant.name!r}")
        mutants[mutant.name] = mutant
    return tuple(mutants.values())


def read_entries(path: Path, table: str, make: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """Yield what ``make`` makes of each ``[[table]]`` of a TOML file. Raises MutantError, with the file and the entry."""
    try:
        entries = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise MutantError(f"{path.name}: {error}") from error
    if unknown := set(entries) - {table}:
        raise MutantError(f"{path.name}: unknown table {min(unknown)!r}; there is only [[{table}]]")
    for number, entry in enumerate(entries.get(table, ()), 1):
        try:
            yield make(entry)
        except MutantError as error:
            raise MutantError(f"{path.name}: {table} {entry.get('name', f'number {number}')!r}: {error}") from error


def checked_keys(entry: dict[str, Any], needed: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Raise MutantError for a key that is unknown, missing, or not a text."""
    known = {*needed, *optional}
    for key, value in entry.items():
        if key not in known:
            raise MutantError(f"unknown key {key!r}; the keys are {', '.join(sorted(known))}")
        if not isinstance(value, str):
            raise MutantError(f"{key} is {value!r}, and has to be a text")
    for key in needed:
        if key not in entry:
            raise MutantError(f"{key} is missing")


def _mutant(entry: dict[str, Any]) -> Mutant:
    texts = {key: value for key, value in entry.items() if key != "breaks"}
    checked_keys(texts, ("name", "module", "old", "new"), ("issue",))
    breaks = entry.get("breaks")
    if not (isinstance(breaks, list) and breaks and all(isinstance(each, str) for each in breaks)):
        raise MutantError("breaks has to be a list of ids of the ledger, and has at least one")
    return Mutant(**texts, breaks=tuple(breaks))


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
