"""What the command prints: the kill matrix by protocol, then the survivors, then the counts.

    HTTP/1.1                     killed by                                                       seconds
      te-beside-cl               tests/test_http1.py::test_two_lengths                               0.4
      chunk-size-sign            law 2: tests/test_laws.py::test_receiving[any_cutting-http1 server] 1.1

With ``--matrix`` each mutant meets all tests of its module, and a column for each law says which laws see the bug:

    HTTP/1.1                     law  1  2  3  4  5  6  7  8  9 10 11 12 13  tests that fail
      te-beside-cl                    .  .  .  .  .  .  .  .  .  .  .  . 13  test_http1 2, test_http1_against_h11 1
      chunk-size-sign                 .  2  .  4  .  .  .  .  .  .  .  .  .  test_http1 5
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from minproto.testing.mutants.runner import Outcome
from minproto.testing.mutants.targets import PROTOCOLS, protocol_of

LAWS = range(1, 14)
"""The numbers of the laws, as ``docs/tested.md`` has them."""
AGREEMENT = 13
"""Law 13: the fast core and the plain core agree. Files whose names end so are about nothing else."""
_WIDTH = 30


def law_of(outcome: Outcome, test: str) -> int | None:
    """Return the number of the law that a test tries, or None."""
    agreement = test.partition("::")[0].endswith("agreement.py") and "planted" not in test
    return AGREEMENT if agreement else outcome.laws.get(test)


def killer(outcome: Outcome) -> str:
    """Return what killed a mutant, in words: a law with its subject, a test, or what happened instead of a failure."""
    if not outcome.killers:
        return f"{outcome.how}: {outcome.says}"
    test = outcome.killers[0]
    law = law_of(outcome, test)
    told = f"law {law}: {test}" if law else test
    return told if outcome.how == "failed" else f"{outcome.how}: {told}"


def progress(outcome: Outcome, number: int, total: int) -> str:
    """Return the line for one mutant as its trial ends."""
    name = outcome.trial.mutant.name
    told = {"survived": "SURVIVED", "error": f"ERROR {outcome.says}"}.get(outcome.how) or killer(outcome)
    return f"[{number}/{total}] {name:{_WIDTH}} {told}  ({outcome.seconds:.1f} s)"


def lines(outcomes: Sequence[Outcome], *, laws: bool, equivalent: Mapping[str, str]) -> Iterator[str]:
    """Yield the matrix, the survivors and the counts. ``equivalent``: name of a mutant -> why no test can kill it."""
    for protocol in PROTOCOLS:
        of_it = [outcome for outcome in outcomes if protocol_of(outcome.trial.mutant) == protocol and outcome.killed]
        if of_it:
            yield f"{protocol:{_WIDTH + 2}} " + (_law_heads() if laws else "killed by")
            for outcome in of_it:
                yield f"  {outcome.trial.mutant.name:{_WIDTH}} " + (_law_cells(outcome) if laws else _cell(outcome))
            yield ""
    yield from _not_killed(outcomes, equivalent)
    yield _counts(outcomes, equivalent)


def _cell(outcome: Outcome) -> str:
    return f"{killer(outcome)}  ({outcome.seconds:.1f} s)"


def _law_heads() -> str:
    return "law " + " ".join(f"{number:2}" for number in LAWS) + "  tests that fail"


def _law_cells(outcome: Outcome) -> str:
    found = [law_of(outcome, test) for test in outcome.killers]
    cells = " ".join(f"{number:2}" if number in found else " ." for number in LAWS)
    files: dict[str, int] = {}
    for test, law in zip(outcome.killers, found, strict=True):
        if law is None:
            name = test.partition("::")[0].rpartition("/")[2].removesuffix(".py")
            files[name] = files.get(name, 0) + 1
    told = ", ".join(f"{name} {count}" for name, count in files.items())
    return f"    {cells}  {told}" + ("" if outcome.how == "failed" else f" ({outcome.how})")


def _not_killed(outcomes: Iterable[Outcome], equivalent: Mapping[str, str]) -> Iterator[str]:
    for outcome in outcomes:
        mutant = outcome.trial.mutant
        if outcome.how == "error":
            yield f"error: {mutant.name}: {outcome.says}"
        elif outcome.how == "survived" and (reason := equivalent.get(mutant.name)):
            yield f"survives, and is equivalent: {mutant.name}: {reason}"
        elif outcome.how == "survived":
            yield f"SURVIVES: {mutant.name}"
            yield from (f"    - {line}" for line in mutant.old.splitlines())
            yield from (f"    + {line}" for line in mutant.new.splitlines())


def _counts(outcomes: Sequence[Outcome], equivalent: Mapping[str, str]) -> str:
    how = [outcome.how for outcome in outcomes]
    same = sum(outcome.how == "survived" and outcome.trial.mutant.name in equivalent for outcome in outcomes)
    killed = sum(outcome.killed for outcome in outcomes)
    by_law = sum(any(law_of(outcome, test) for test in outcome.killers) for outcome in outcomes if outcome.killed)
    parts = [f"{len(outcomes)} mutants", f"{killed} killed ({by_law} by a law, {how.count('timeout')} by a timeout)"]
    parts += [f"{same} equivalent", f"{how.count('survived') - same} survive", f"{how.count('error')} errors"]
    return ", ".join(parts)
