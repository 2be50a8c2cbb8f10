"""Which case finds which mutant: ``python -m minproto.prove.matrix [NAME ...]``.

A case that never fails proves nothing. So each mutant of the catalogue (``minproto.testing.mutants``) that breaks an entry
with cases is served, on the plain cores, and the cases of its entries are run on it. A case finds a mutant if the mutant's
answer is worse than the answer of the server without a bug: wrong or acceptable instead of right, or wrong instead of
acceptable.

    $ python -m minproto.prove.matrix te-beside-cl
    te-beside-cl        http1/framing/te-and-cl: 200 501 closed (wrong); http1/framing/te-and-cl-of-0
    1 mutants: 1 found, 0 not seen from outside, 0 left

A mutant that no case finds is a *survivor*: the cases ask the wrong question, or the bug cannot be seen from outside.
``cases/unserved.toml`` has the reasons of the second kind. The exit status is 0 if each survivor has a reason, and if no
mutant that is found has one.

``--cases`` asks the reverse: which cases does no mutant fail?

Each mutant takes one or two seconds. The server is a child process: a mutant has to be in place before its module is imported.
"""

import argparse
import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from minproto.aio.address import Address
from minproto.prove.case import Case, Verdict
from minproto.prove.cases import CASES
from minproto.prove.jobs import at_once
from minproto.prove.probe import NEEDS_OF, probe
from minproto.prove.runner import Result, prove, prove_all
from minproto.prove.shown import shortened
from minproto.prove.target import PATHS, Target
from minproto.testing.mutants import Mutant, catalogue

TIMEOUT = 2.0
UNSERVED = Path(__file__).parent / "cases" / "unserved.toml"
_WORSE = (Verdict.RIGHT, Verdict.ACCEPTABLE, Verdict.WRONG)
"""The verdicts on an answer, from the best to the worst."""
_SPOKEN = {need: protocol for protocol, need in NEEDS_OF.items()}
"""A need -> the protocol whose right request has to be answered rightly."""
_SERVE = """
import sys
from minproto.testing.mutants import Mutant
from minproto.testing.mutants.hook import install
if sys.argv[1]:
    install(Mutant(*sys.argv[1:5]))
from minproto.cli import main
sys.exit(main(sys.argv[5:]))
"""
_RIGHT = Mutant("", "", "", "")
"""The server without a bug."""


@dataclass(slots=True)
class Trial:
    """How the cases of a mutant's entries went on the mutant."""

    mutant: Mutant
    cases: Sequence[Case]
    found: list[tuple[str, str]] = field(default_factory=list)
    """The names of the cases that find the mutant, each with the mutant's answer. The name "" means a right request."""

    def line(self, why: str) -> str:
        """Return the mutant's name and what was found. ``why``: the reason in ``unserved.toml``."""
        if not self.found:
            asked = ", ".join(case.name for case in self.cases)
            return f"{self.mutant.name:40} {f'NOT SEEN {why}' if why else f'SURVIVES {asked}'}"
        (name, answer), *more = self.found
        also = f"{'BUT ' if why else ''}{name or 'a right request'}: {shortened(answer)}"
        return f"{self.mutant.name:40} {'; '.join([also, *(each for each, _answer in more)])}"


def cases_of(mutant: Mutant) -> list[Case]:
    """Return the cases of the entries that a mutant breaks, without those that take long."""
    broken = set(mutant.breaks)
    return [case for case in CASES if broken & {case.entry, *case.also} and case.group.split("/")[1] != "slow"]


def unserved() -> dict[str, tuple[str, str]]:
    """Return the mutants that no case can find -> the kind of the reason, and the reason."""
    kinds: dict[str, dict[str, str]] = tomllib.loads(UNSERVED.read_text("utf-8"))
    return {name: (kind, why) for kind, reasons in kinds.items() for name, why in reasons.items()}


@contextlib.asynccontextmanager
async def served(mutant: Mutant, protocol: str) -> AsyncIterator[Target | None]:
    """Serve a mutant. The target is None if the mutant does not even start."""
    command = ["broker"] if protocol == "resp" else ["serve", "--no-access-log"]
    planted = [mutant.name, mutant.module, mutant.old, mutant.new]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, *planted, *command, "--port", "0", "--plain",
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"MINPROTO_PLAIN": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        port = re.search(r":(\d+)\s*$", line)
        address = Address("127.0.0.1", int(port[1])) if port else None
        yield Target(address, dict(PATHS), address.authority("http"), TIMEOUT) if address else None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Matrix:
    """Tries mutants. ``right`` has the verdict on the server without a bug for each case."""

    def __init__(self) -> None:
        self.right: dict[str, Verdict] = {}

    async def learn(self, cases: Sequence[Case]) -> None:
        """Run cases on the server without a bug. A case that is not right is run twice more: the usual answer counts."""
        for protocol in dict.fromkeys(case.protocol for case in cases):
            some = [case for case in cases if case.protocol == protocol]
            verdicts: dict[str, list[Verdict]] = {case.name: [] for case in some}
            async with served(_RIGHT, protocol) as target:
                assert target is not None
                await probe(target, [protocol])
                for _ in range(3):
                    async for result in prove_all(some, target, 8):
                        verdicts[result.case.name].append(result.verdict)
                    some = [case for case in some if verdicts[case.name][0] is not Verdict.RIGHT]
            for name, answers in verdicts.items():
                self.right[name] = sorted(answers, key=_badness)[len(answers) // 2]

    async def find(self, mutant: Mutant) -> Trial:
        """Serve a mutant, and run the cases of its entries on it."""
        trial = Trial(mutant, cases_of(mutant))
        async with served(mutant, trial.cases[0].protocol) as target:
            if target is None:
                trial.found = [("", "it does not start")]
                return trial
            needs = [_SPOKEN[need] for case in trial.cases for need in sorted(case.needs & set(_SPOKEN))]
            protocols = list(dict.fromkeys([*(case.protocol for case in trial.cases), *needs]))
            answers = await probe(target, protocols)
            for name in protocols:
                if name not in target.speaks | target.unsound:
                    trial.found.append(("", f"{name}: {answers[name].transcript or answers[name].detail}"))
            async for result in prove_all(trial.cases, target, 8):
                if self.is_worse(result) and await self._is_worse_again(result.case, target):
                    trial.found.append((result.case.name, f"{result.transcript or result.detail} ({result.verdict.value})"))
            # The right request before a case shows it, too, if the server has ended.
            possible = [] if trial.found else [case for case in trial.cases if case.needs <= target.meets]
            if possible and (last := await prove(possible[0], target)).verdict is Verdict.SKIPPED:
                trial.found.append(("", last.detail))
        trial.found.sort(key=lambda each: (each[1].endswith("(acceptable)"), each[0]))
        return trial

    async def _is_worse_again(self, case: Case, target: Target) -> bool:
        """A busy machine may delay an answer, so a bad one has to come twice, unless the first has ended the server."""
        again = await prove(case, target)
        return again.verdict is Verdict.SKIPPED or self.is_worse(again)

    def is_worse(self, result: Result) -> bool:
        """Whether the answer is worse than the one of the server without a bug."""
        return _badness(result.verdict) > _badness(self.right[result.case.name])


def _badness(verdict: Verdict) -> int:
    """Return how bad an answer is. A case that is skipped shows nothing."""
    return _WORSE.index(verdict) if verdict in _WORSE else -1


async def run(mutants: Sequence[Mutant], jobs: int) -> list[Trial]:
    """Print a line for each mutant that breaks an entry with cases."""
    reasons, trials, matrix = unserved(), [], Matrix()
    mutants = [mutant for mutant in mutants if cases_of(mutant)]
    asked = {case.name for mutant in mutants for case in cases_of(mutant)}
    await matrix.learn([case for case in CASES if case.name in asked])
    async with aclosing(at_once(mutants, matrix.find, jobs)) as trying:
        async for trial in trying:
            trials.append(trial)
            print(trial.line(": ".join(reasons.get(trial.mutant.name, ()))), flush=True)
    return trials


def left(trials: Sequence[Trial]) -> int:
    """Print the sums. Return how many mutants contradict ``unserved.toml``: survivors without a reason, or found with one."""
    reasons = unserved()
    found = [trial for trial in trials if trial.found]
    kinds = Counter(reasons[each.mutant.name][0] for each in trials if not each.found and each.mutant.name in reasons)
    survivors = len(trials) - len(found) - kinds.total()
    why = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    seen = f"{kinds.total()} not seen from outside{f' ({why})' if why else ''}"
    print(f"{len(trials)} mutants: {len(found)} found, {seen}, {survivors} left")
    return survivors + sum(trial.mutant.name in reasons for trial in found)


def print_idle(trials: Sequence[Trial]) -> None:
    """Print the cases that were run and that no mutant has failed."""
    asked = {case.name for trial in trials for case in trial.cases}
    idle = asked - {name for trial in trials for name, _answer in trial.found}
    print(f"{len(asked)} cases: {len(idle)} fail for no mutant")
    print("\n".join(f"  {case.name:60} {case.entry}" for case in CASES if case.name in idle))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minproto.prove.matrix", description="Which case finds which mutant?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutants of the catalogue")
    parser.add_argument("--module", help="only the mutants of this module, such as http1")
    parser.add_argument("--protocol", help="only the mutants whose first case is of this protocol, such as http2")
    parser.add_argument("--cases", action="store_true", help="print the cases that no mutant fails, too")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="how many mutants are served at once (%(default)s)")
    options = parser.parse_args()
    mutants = [each for each in catalogue() if options.module in (None, each.module)]
    if unknown := set(options.names) - {each.name for each in mutants}:
        parser.error(f"no mutant is called {min(unknown)!r}")
    chosen = [each for each in mutants if not options.names or each.name in options.names]
    if options.protocol:
        chosen = [each for each in chosen if [case.protocol for case in cases_of(each)[:1]] == [options.protocol]]
    trials = asyncio.run(run(chosen, options.jobs))
    if options.cases:
        print_idle(trials)
    return 1 if left(trials) else 0


if __name__ == "__main__":
    sys.exit(main())
