"""The command ``python -m minproto.testing.mutants``: plant bugs, run the tests, print which test killed which mutant.

    python -m minproto.testing.mutants                          the catalogue, against the tests of the ledger's entries
    python -m minproto.testing.mutants --check te-beside-cl     one mutant of it, or some
    python -m minproto.testing.mutants --check sse:207:plus     a generated mutant, by the name that was printed
    python -m minproto.testing.mutants --matrix                 the catalogue, against all laws and tests of its modules
    python -m minproto.testing.mutants --generated 30           thirty generated mutants, a new draw
    python -m minproto.testing.mutants --all-generated          all of them, which takes hours

The exit status is 0 if every mutant was killed, 1 if one survived, and 2 if a word, the catalogue or a test's name is wrong.
"""

import argparse
import difflib
import random
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from minproto.testing.mutants import Mutant, MutantError, read_catalogue
from minproto.testing.mutants.equivalent import equivalents, reasons
from minproto.testing.mutants.matrix import lines, progress
from minproto.testing.mutants.operators import Generated, all_generated, generated
from minproto.testing.mutants.runner import LIMIT, Outcome, Trial, run
from minproto.testing.mutants.targets import MODULES, entry_tests, ledger_tests, module_tests

KILLED, SURVIVED, WRONG, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with status 2. argparse would print the usage first, which ``--help`` shows."""
        self.exit(WRONG, f"{self.prog}: {message}\n")


def _parser() -> _Parser:
    parser = _Parser("python -m minproto.testing.mutants", allow_abbrev=False, description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", nargs="*", metavar="NAME", help="mutants of the catalogue (default: all of them)")
    what.add_argument("--matrix", nargs="*", metavar="NAME", help="the same, against all laws and tests of their modules")
    what.add_argument("--generated", type=_count, metavar="N", help="N generated mutants, drawn at random")
    what.add_argument("--all-generated", action="store_true", help="all generated mutants")
    parser.add_argument("--module", action="append", metavar="M", help="only of this module, such as http1 (repeatable)")
    parser.add_argument("--seed", type=int, metavar="S", help="draw the same mutants again")
    parser.add_argument("--survivors", type=_part, default=0.0, metavar="PART", help="the part that may survive, such as 0.2")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help="for one test (default: %(default)g)")
    parser.add_argument("-j", dest="jobs", type=_count, metavar="N", help="mutants at once (default: one for each CPU)")
    return parser


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 1")
    return int(word)


def _part(word: str) -> float:
    part = float(word)
    if not 0 <= part <= 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not between 0 and 1")
    return part


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except MutantError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    for module in options.module or ():
        _known(module, MODULES, "module")
    drawn = _drawn(options)
    equivalent = reasons(drawn, equivalents())
    trials = [Trial(each.mutant, module_tests(each.mutant.module)) for each in drawn]
    if not (options.generated or options.all_generated):
        trials += _of_catalogue(options, bool(drawn))
    outcomes: list[Outcome] = []
    for outcome in run(trials, options.jobs, options.limit):
        outcomes.append(outcome)
        print(progress(outcome, len(outcomes), len(trials)), flush=True)
    print()
    order = {trial.mutant.name: number for number, trial in enumerate(trials)}
    outcomes.sort(key=lambda outcome: order[outcome.trial.mutant.name])
    for line in lines(outcomes, laws=options.matrix is not None, equivalent=equivalent):
        print(line)
    return _status(outcomes, equivalent, options.survivors)


def _drawn(options: argparse.Namespace) -> list[Generated]:
    """Return the generated mutants that are asked for: by name (``sse:207:plus``), all of them, or some at random."""
    if not (options.generated or options.all_generated):
        return [_generated(name) for name in options.check or () if ":" in name]
    mutants = all_generated(tuple(options.module or MODULES))
    if options.all_generated:
        return mutants
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    number = min(options.generated, len(mutants))
    print(f"{number} of {len(mutants)} generated mutants, with --seed {seed}", flush=True)
    return random.Random(seed).sample(mutants, number)


def _generated(name: str) -> Generated:
    module = _known(name.partition(":")[0], MODULES, "module")
    mutants = {each.mutant.name: each for each in generated(module)}
    return mutants[_known(name, mutants, "generated mutant")]


def _of_catalogue(options: argparse.Namespace, some_are_generated: bool) -> list[Trial]:
    mutants = {mutant.name: mutant for mutant in read_catalogue()}
    names = [name for name in options.check or options.matrix or () if ":" not in name]
    if not names and not some_are_generated:
        names = list(mutants)
    chosen = [mutants[_known(name, mutants, "mutant")] for name in names]
    if options.module:
        chosen = [mutant for mutant in chosen if mutant.module in options.module]
    if options.matrix is not None:
        return [Trial(mutant, _all_tests(mutant), all_tests=True) for mutant in chosen]
    entries = ledger_tests()
    return [Trial(mutant, entry_tests(mutant, entries)) for mutant in chosen]


def _all_tests(mutant: Mutant) -> tuple[str, ...]:
    """A mutant of a shell meets the tests that its entries name: there is no list of all tests of a shell."""
    return module_tests(mutant.module) if mutant.module in MODULES else entry_tests(mutant, ledger_tests())


def _known(name: str, names: Iterable[str], what: str) -> str:
    if name in (known := list(names)):
        return name
    alike = difflib.get_close_matches(name, known, 3, 0.5) or [each for each in known if name in each][:3]
    raise MutantError(f"no {what} {name!r}" + (f"; is it {' or '.join(alike)}?" if alike else ""))


def _status(outcomes: list[Outcome], equivalent: dict[str, str], may_survive: float) -> int:
    if any(outcome.how == "error" for outcome in outcomes):
        return WRONG
    survivors = sum(outcome.how == "survived" and outcome.trial.mutant.name not in equivalent for outcome in outcomes)
    return SURVIVED if survivors > may_survive * len(outcomes) else KILLED


if __name__ == "__main__":
    sys.exit(main())
