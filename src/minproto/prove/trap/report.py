"""What ``minproto trap`` prints and writes: a line for each connection or program, wrong ones with their bytes, and a card."""

import argparse
import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from minproto.prove.case import Verdict
from minproto.prove.options import emptied, results_file
from minproto.prove.shown import MARKS, annotated, card, demand, to_json, wrapped
from minproto.prove.trap.hunt import Find

MOST_ROWS = 12
"""The maximum number of heads, frames or chunks of a snare that are shown without -v: the last ones."""


class Report:
    """Prints while clients are met, and sums up at the end. ``files`` closes the file that it writes, however the run ends."""

    def __init__(self, options: argparse.Namespace, command: Sequence[str], files: ExitStack) -> None:
        self._options, self._command = options, command
        self._width = shutil.get_terminal_size((100, 24)).columns
        self._color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._groups: dict[str, Counter[Verdict]] = {}
        self.finds: list[Find] = []
        self._file = files.enter_context(results_file(options.json)) if options.json else None

    def add(self, find: Find) -> None:
        """Note the result of a snare. With a command only wrong ones are shown, and all of them with -v."""
        self.finds.append(find)
        self._groups.setdefault(find.snare.group, Counter())[find.verdict] += 1
        if self._options.verbose or find.verdict is Verdict.WRONG:
            print("\n".join(self._whole(find)), end="\n\n", flush=True)
        elif not self._command:
            print(self._short(find), flush=True)

    def add_silent(self, why: str) -> None:
        """Say of a connection that it was over without a request. No standard forbids that: a browser often connects ahead."""
        print(f"no request: {why}", flush=True)

    def _short(self, find: Find) -> str:
        """Return what a client did, in one line. Only the user of the client knows what the client has shown."""
        told = "" if self._command or find.verdict is Verdict.SKIPPED else f"; right: {find.snare.demands}"
        return f"{MARKS[find.verdict]:10} {find.snare.name}: {self._done(find)}{told}"

    def _done(self, find: Find) -> str:
        transcript = find.meeting.transcript
        return ": ".join(filter(None, [transcript, find.detail]))

    def _whole(self, find: Find) -> Iterator[str]:
        snare = find.snare
        yield f"{MARKS[find.verdict]} {snare.name}: {snare.says}"
        yield from demand(snare, snare.why, snare.issue, self._width)
        yield from wrapped(self._width, f"what it did: {self._done(find)}")
        acceptable = f"; acceptable: {snare.acceptable}" if snare.acceptable else ""
        yield from wrapped(self._width, f"right is: {snare.demands}{acceptable}")
        if self._options.verbose or not self._command:  # a careless program is wrong at dozens of snares
            yield from annotated(find.meeting.record, self._width, self._color, 0 if self._options.verbose else MOST_ROWS)
        if self._command:
            options = vars(self._options)
            tls = [f"--{name.replace('_', '-')}={options[name]}" for name in ("tls_cert", "tls_key") if options[name]]
            words = ["minproto", "trap", *tls, "--snare", snare.name, "-v", "--", *self._command]
            yield from wrapped(self._width, f"again: {shlex.join(words)}")

    def end(self) -> int:
        """Write the file, print the card, and return the exit status."""
        self.write()
        if self.finds:
            print("\n".join(card(self._groups)))
        for reason, count in Counter(find.detail for find in self.finds if find.verdict is Verdict.SKIPPED).items():
            print(f"skipped, {count}: {reason}")
        return 1 if any(find.verdict is Verdict.WRONG for find in self.finds) else 0

    def write(self) -> None:
        """Write the file, if there is one, and something to write."""
        if self._file is not None and self.finds:
            cases = [to_json(each.snare, each.verdict, each.meeting.transcript, each.detail) for each in self.finds]
            json.dump({"target": shlex.join(self._command), "cases": cases}, emptied(self._file), indent=1)
