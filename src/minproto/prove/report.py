"""What ``minproto prove`` prints and writes: progress, failures with their bytes, a card, JSON and JUnit."""

import argparse
import json
import os
import shlex
import shutil
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator

from minproto.core import CLIENT, SERVER
from minproto.explain import Explainer, Row
from minproto.explain.text import Printer
from minproto.prove.case import Verdict
from minproto.prove.runner import Result
from minproto.prove.target import NEEDS, PATHS, Target

MOST_ROWS = 12
"""The maximum number of heads, frames or chunks of a case that are shown without -v: the last ones."""
MAX_TRANSCRIPT = 300
_MARKS = {Verdict.RIGHT: "right", Verdict.ACCEPTABLE: "acceptable", Verdict.WRONG: "WRONG", Verdict.SKIPPED: "skipped"}


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
            print(f"its answers carry Via: {target.via}: a proxy stands between, and some answers are the proxy's")
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
            json.dump({"target": str(self._target.address), "cases": [_to_json(each) for each in results]},
                      self._files["json"], indent=1)  # fmt: skip
        if "junit" in self._files:
            ElementTree.ElementTree(_to_junit(results)).write(self._files["junit"], "unicode", xml_declaration=True)
        for file in self._files.values():
            file.close()

    def _failure(self, result: Result) -> Iterator[str]:
        case = result.case
        yield f"{_MARKS[result.verdict]} {case.name}"
        if entry := case.requirement:
            yield from self._text(f"{entry.standard} §{entry.section}, {entry.level}: {entry.says}")
        if why := case.why or (case.requirement.why if case.requirement else ""):
            yield from self._text(f"why: {why}")
        if case.issue:
            yield from self._text(f"somebody had it: {case.issue}")
        shown = result.transcript[:MAX_TRANSCRIPT] + ("..." if len(result.transcript) > MAX_TRANSCRIPT else "")
        yield from self._text(f"the answer: {shown}{': ' if shown and result.detail else ''}{result.detail}")
        yield from self._text(f"right is: {case.right}" + (f"; acceptable: {case.acceptable}" if case.acceptable else ""))
        yield from self._bytes(result)
        yield from self._text(f"again: {self._again(case.name)}")

    def _text(self, text: str) -> list[str]:
        return textwrap.wrap(text, self._width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)

    def _bytes(self, result: Result) -> Iterator[str]:
        """Yield the annotated bytes of both sides, in the order in which they crossed."""
        explainer, rows = Explainer(), list[Row]()
        for sender, data in result.record:
            for at in range(0, len(data), 16_384):
                explainer.receive_data(sender, data[at : at + 16_384])
                rows += explainer.rows()
        for role in (CLIENT, SERVER):
            explainer.receive_eof(role)
        rows += explainer.rows()
        printer = Printer(self._width, color=self._color)
        shown = rows if self._options.verbose else rows[-MOST_ROWS:]
        if len(shown) < len(rows):
            yield f"  ({len(rows) - len(shown)} earlier frames or heads: -v shows all)"
        for row in shown:
            yield from (f"  {line}" for line in printer.lines(row))

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
        wide = max(map(len, self._groups), default=0)
        yield f"{'':{wide}}  right  acceptable  wrong  skipped"
        for group, counts in self._groups.items():
            right, acceptable, wrong, skipped = (counts[verdict] for verdict in Verdict)
            yield f"{group:{wide}}  {right:5}  {acceptable:10}  {wrong:5}  {skipped:7}"
        sums = Counter(result.verdict for result in results)
        right, acceptable, wrong, skipped = (sums[verdict] for verdict in Verdict)
        yield f"{'':{wide}}  {right:5}  {acceptable:10}  {wrong:5}  {skipped:7}"
        lacks = Counter(result.detail for result in results if result.verdict is Verdict.SKIPPED)
        for reason, count in lacks.items():
            yield f"skipped, {count}: {reason}"


def _to_json(result: Result) -> dict[str, str]:
    case = result.case
    section = f"{case.requirement.standard} §{case.requirement.section}" if case.requirement else ""
    detail = " ".join(filter(None, [result.transcript, result.detail]))
    return {
        "name": case.name, "protocol": case.protocol, "level": case.level, "section": section,
        "verdict": result.verdict.value, "detail": detail,
    }  # fmt: skip


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
