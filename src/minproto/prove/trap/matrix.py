"""Which snare catches which mutant: ``python -m minproto.prove.trap.matrix [NAME ...]``.

A snare that nobody steps into proves nothing. So our clients, on the plain cores and with each mutant of the catalogue in turn
(``minproto.testing.mutants``), ask for the snares whose entries the mutant breaks. A mutant that steps into none of them is a
*survivor*: the snare asks the wrong question, or the bug is one of servers, or it shows only in what a client is told to send.

    $ python -m minproto.prove.trap.matrix cut-short-is-complete
    cut-short-is-complete                    http1/framing/too-short: closed: it reports no error: hello
    1 of 1 found
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from minproto.prove.case import Verdict
from minproto.prove.trap.hunt import Hunt
from minproto.prove.trap.server import Trap
from minproto.prove.trap.snare import Snare
from minproto.prove.trap.snares import CONTROLS, SNARES
from minproto.testing.mutants import Mutant, catalogue

TIMEOUT = 4.0
_ASK = """
import sys
from minproto.testing.mutants import catalogue
from minproto.testing.mutants.hook import install
install(next(mutant for mutant in catalogue() if mutant.name == sys.argv[1]))
from minproto.prove.trap.ours import main
del sys.argv[1]
sys.exit(main())
"""


def snares_of(mutant: Mutant) -> list[Snare]:
    """Return the snares of the entries that a mutant breaks."""
    broken = set(mutant.breaks)
    return [snare for snare in SNARES if broken & {snare.entry, *snare.also}]


async def find(mutant: Mutant, snares: Sequence[Snare], jobs: int) -> str:
    """Return how the mutant is found: the name of a snare, and what the client did. "" if no snare catches it."""
    trap = Trap([*CONTROLS.values(), *snares], lambda meeting: hunt.on_end(meeting), patience=TIMEOUT)
    hunt = Hunt([sys.executable, "-c", _ASK, mutant.name, "{url}"], trap, "127.0.0.1", TIMEOUT)
    await trap.start("127.0.0.1", 0)
    try:
        finds = [each async for each in hunt.all(snares, jobs)]
    finally:
        await trap.close()
    caught = [each for each in finds if each.verdict is not Verdict.RIGHT]
    return next((": ".join(filter(None, [each.snare.name, each.meeting.transcript, each.detail])) for each in caught), "")


async def run(mutants: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """Print a line for each mutant that breaks an entry with snares. Return the survivors."""
    survivors, tried = [], 0
    for mutant in mutants:
        if not (snares := snares_of(mutant)):
            continue
        tried += 1
        found = await find(mutant, snares, jobs)
        print(f"{mutant.name:40} {found or 'SURVIVES ' + ', '.join(snare.name for snare in snares)}"[:200], flush=True)
        survivors += [] if found else [mutant]
    print(f"{tried - len(survivors)} of {tried} found")
    return survivors


def main() -> int:
    text = "Which snare catches which mutant?"
    parser = argparse.ArgumentParser(prog="python -m minproto.prove.trap.matrix", description=text)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutants of the catalogue")
    parser.add_argument("--module", help="only the mutants of this module, such as http1")
    parser.add_argument("--jobs", type=int, default=4, help="how many clients run at once (%(default)s)")
    options = parser.parse_args()
    mutants = [each for each in catalogue() if options.module in (None, each.module)]
    if unknown := set(options.names) - {each.name for each in mutants}:
        parser.error(f"no mutant is called {min(unknown)!r}")
    os.environ["MINPROTO_PLAIN"] = "1"
    chosen = [each for each in mutants if not options.names or each.name in options.names]
    return 1 if asyncio.run(run(chosen, options.jobs)) else 0


if __name__ == "__main__":
    sys.exit(main())
