"""Which case finds which mutant: ``python -m minproto.prove.matrix [NAME ...]``.

A case that never fails proves nothing. So each mutant of the catalogue (``minproto.testing.mutants``) that breaks an entry
with cases is served, on the plain cores, and the cases of its entries are run on it. A mutant that no case finds is a
*survivor*: the case asks the wrong question, or the bug cannot be seen from outside.

    $ python -m minproto.prove.matrix te-beside-cl
    te-beside-cl                        http1/framing/te-and-cl: 200 closed
    1 of 1 found

Each mutant takes about a second. The server is a child process: a mutant has to be in place before its module is imported.
"""

import argparse
import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

from minproto.aio.address import Address
from minproto.prove.case import Case, Verdict
from minproto.prove.cases import CASES
from minproto.prove.probe import probe
from minproto.prove.runner import prove_all
from minproto.prove.target import PATHS, Target
from minproto.testing.mutants import Mutant, catalogue

TIMEOUT = 1.0
_SERVE = """
import sys
from minproto.testing.mutants import catalogue
from minproto.testing.mutants.hook import install
install(next(mutant for mutant in catalogue() if mutant.name == sys.argv[1]))
from minproto.cli import main
sys.exit(main(sys.argv[2:]))
"""


def cases_of(mutant: Mutant) -> list[Case]:
    """Return the cases of the entries that a mutant breaks, without those that take long."""
    broken = set(mutant.breaks)
    return [case for case in CASES if broken & {case.entry, *case.also} and case.group.split("/")[1] != "slow"]


@contextlib.asynccontextmanager
async def served(mutant: Mutant, protocol: str) -> AsyncIterator[Target | None]:
    """Serve a mutant. The target is None if the mutant does not even start."""
    command = ["broker"] if protocol == "resp" else ["serve", "--no-access-log"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, mutant.name, *command, "--port", "0", "--plain",
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


async def find(mutant: Mutant, cases: list[Case]) -> str:
    """Return how the mutant is found: the name of a case, and what the mutant answered. "" if no case finds it."""
    async with served(mutant, cases[0].protocol) as target:
        if target is None:
            return "it does not start"
        protocols = list(dict.fromkeys(case.protocol for case in cases))
        answers = await probe(target, protocols)
        for name in protocols:
            if name not in target.speaks:
                return f"the right request of {name}: {answers[name].transcript or answers[name].detail}"
        results = [result async for result in prove_all(cases, target, 8)]
    # Our server is right in every case, so an answer that is acceptable from another server shows the bug, too.
    found = [each for each in results if each.verdict in (Verdict.WRONG, Verdict.ACCEPTABLE)]
    found.sort(key=lambda each: each.verdict is Verdict.ACCEPTABLE)
    return next((f"{each.case.name}: {each.transcript or each.detail} ({each.verdict.value})" for each in found), "")


async def run(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Print a line for each mutant that breaks an entry with cases. Return the survivors."""
    survivors, tried = [], 0
    for mutant in mutants:
        if not (cases := cases_of(mutant)):
            continue
        tried += 1
        found = await find(mutant, cases)
        print(f"{mutant.name:40} {found or 'SURVIVES ' + ', '.join(case.name for case in cases)}"[:200], flush=True)
        survivors += [] if found else [mutant]
    print(f"{tried - len(survivors)} of {tried} found")
    return survivors


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m minproto.prove.matrix", description="Which case finds which mutant?")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutants of the catalogue")
    parser.add_argument("--module", help="only the mutants of this module, such as http1")
    options = parser.parse_args()
    mutants = [each for each in catalogue() if options.module in (None, each.module)]
    if unknown := set(options.names) - {each.name for each in mutants}:
        parser.error(f"no mutant is called {min(unknown)!r}")
    survivors = asyncio.run(run([each for each in mutants if not options.names or each.name in options.names]))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
