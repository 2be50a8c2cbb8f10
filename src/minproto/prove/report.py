"""What ``minproto prove`` prints and writes: progress, failures with their bytes, a card, JSON and JUnit."""

import argparse
import json
import os
import shlex
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator

from minproto.prove.case import Verdict
from minproto.prove.runner import Result
from minproto.prove.shown import MARKS, annotated, card, demand, to_json, wrapped
from minproto.prove.target import NEEDS, PATHS, Target

MOST_ROWS = 12
"""The maximum number of heads, frames or chunks of a case that are shown without -v: the last ones."""
MAX_TRANSCRIPT = 300


class Report:
    """Prints while the cases run, and sums up at the end."""

    def __init__(self, target: Target, options: argparse.Namespace) -> None:
        self._target, self._options = target, options
        self._width = shutil.get_terminal_size((100, 24)).columns
        self._color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._groups: dict[str, Counter[Verdict]] = {}
        self._done = 0
        # Files are opened now: a run of a minute whose report cannot be written would be lost.
        self._files = {name: open(path, "w") for name in ("json", "junit") if (path := getattr(options, name))}

    def begin(self, answers: dict[str, Result], needs: set[str]) -> None:
        """Say what the target speaks, and which needs of the cases it does not meet."""
        target = self._target
        by = f", Server: {target.server}" if target.server else ""
        print(f"{target.address}{' over TLS' if target.tls else ''} speaks {', '.join(sorted(target.speaks))}{by}")
        if target.via:
            print(f"its answers carry Via: {target.via}: a proxy is in between, and some answers are the proxy's")
        for name, result in answers.items():
            if name not in target.speaks:
                print(f"not {name}: {result.detail or result.transcript}")
        for need in NEEDS:
            if need in needs - target.meets:
                print(f"without {NEEDS[need]}")
        print(flush=True)

    def add(self, result: Result, total: int) -> None:
        """Note one result, and draw the bar of progress on a terminal."""
        self._done += 1
        self._groups.setdefault(result.case.group, Counter())[result.verdict] += 1
        if sys.stderr.isatty():
            filled = 30 * self._done // total
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {self._done}/{total}")
            if self._done == total:
                sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        if self._options.verbose or result.verdict is Verdict.WRONG:
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")
            print("\n".join(self._failure(result)), end="\n\n", flush=True)

    def end(self, results: list[Result]) -> None:
        """Print the card, and write the files."""
        print("\n".join(self._card(results)))
        if "json" in self._files:
            cases = [to_json(each.case, each.verdict, each.transcript, each.detail) for each in results]
            json.dump({"target": str(self._target.address), "cases": cases}, self._files["json"], indent=1)
        if "junit" in self._files:
            ElementTree.ElementTree(_to_junit(results)).write(self._files["junit"], "unicode", xml_declaration=True)
        for file in self._files.values():
            file.close()

    def _failure(self, result: Result) -> Iterator[str]:
        case = result.case
        yield f"{MARKS[result.verdict]} {case.name}"
        yield from demand(case, case.why, case.issue, self._width)
        shown = result.transcript[:MAX_TRANSCRIPT] + ("..." if len(result.transcript) > MAX_TRANSCRIPT else "")
        yield from wrapped(self._width, f"the answer: {shown}{': ' if shown and result.detail else ''}{result.detail}")
        acceptable = f"; acceptable: {case.acceptable}" if case.acceptable else ""
        yield from wrapped(self._width, f"right is: {case.right}{acceptable}")
        yield from annotated(result.record, self._width, self._color, MOST_ROWS if not self._options.verbose else 0)
        yield from wrapped(self._width, f"again: {self._again(case.name)}")

    def _again(self, name: str) -> str:
        """Return the command that runs one case again, with its bytes."""
        options = self._options
        words = ["minproto", "prove", str(options.target), "--case", name, "-v"]
        words += [f"--{flag.replace('_', '-')}" for flag in ("tls", "insecure", "i_run_this_server") if getattr(options, flag)]
        words += ["--host", options.host] if options.host else []
        for path, usual in PATHS.items():
            option = path if path == "path" else f"{path}_path"
            if getattr(options, option) != usual:
                words += [f"--{option.replace('_', '-')}", getattr(options, option)]
        return shlex.join(words)

    def _card(self, results: list[Result]) -> Iterator[str]:
        """Yield a line for each group, and the sums."""
        yield from card(self._groups)
        lacks = Counter(result.detail for result in results if result.verdict is Verdict.SKIPPED)
        for reason, count in lacks.items():
            yield f"skipped, {count}: {reason}"


def _to_junit(results: list[Result]) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name="minproto prove", tests=str(len(results)))
    suite.set("failures", str(sum(result.verdict is Verdict.WRONG for result in results)))
    suite.set("skipped", str(sum(result.verdict is Verdict.SKIPPED for result in results)))
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", classname=result.case.group.replace("/", "."), name=result.case.name)
        if result.verdict in (Verdict.WRONG, Verdict.SKIPPED):
            kind = "failure" if result.verdict is Verdict.WRONG else "skipped"
            ElementTree.SubElement(case, kind, message=_printable(f"{result.transcript} {result.detail}".strip()))
    return suite


def _printable(text: str) -> str:
    """Return a text that XML can hold."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
