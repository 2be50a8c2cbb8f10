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
from contextlib import ExitStack

from minproto.prove.case import Verdict
from minproto.prove.cases import CASES
from minproto.prove.options import emptied, results_file
from minproto.prove.runner import Result
from minproto.prove.shown import MARKS, annotated, card, demand, shortened, to_json, wrapped
from minproto.prove.target import NEEDS, PATHS, Target
from minproto.prove.words import meanings, readable

MOST_ROWS = 12
"""The maximum number of heads, frames or chunks of a case that are shown without -v: the last ones."""
MOST_WITH_BYTES = 3
"""The maximum number of wrong answers that are shown with their bytes without -v: a bad server has hundreds."""


class Report:
    """Prints while the cases run, and sums up at the end. ``files`` closes the files that it writes, however the run ends."""

    def __init__(self, target: Target, options: argparse.Namespace, files: ExitStack) -> None:
        self._target, self._options = target, options
        self._width = shutil.get_terminal_size((100, 24)).columns
        self._color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._groups: dict[str, Counter[Verdict]] = {}
        self._done = 0
        paths = {name: path for name in ("json", "junit") if (path := getattr(options, name))}
        self._files = {name: files.enter_context(results_file(path)) for name, path in paths.items()}

    def begin(self, answers: dict[str, Result], needs: set[str]) -> None:
        """Say what the target speaks, and which needs of the cases it does not meet."""
        target = self._target
        by = f", Server: {target.server}" if target.server else ""
        print(f"{target.address}{' over TLS' if target.tls else ''} speaks {', '.join(sorted(target.speaks))}{by}")
        if target.via:
            print(f"its answers carry Via: {target.via}: a proxy is in between, and some answers are the proxy's")
        if "http1" in target.speaks and answers["http1"].transcript.endswith(" open"):
            text = "it keeps the connection open after Connection: close: only http1/connection counts that as wrong"
            print("\n".join(wrapped(self._width, text)))
        for name, result in answers.items():
            if name not in target.speaks:
                print(f"not {name}: {result.detail or shortened(result.transcript)}")
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
        if self._options.verbose:
            if sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")
            print("\n".join(self._failure(result)), end="\n\n", flush=True)

    def end(self, results: list[Result]) -> None:
        """Write the files, and print the wrong answers and the card. ``results`` is shorter after Ctrl-C.

        The files come first: printing fails if nobody reads what is printed any more (``| head``).
        """
        if results:
            self._write(results)
        wrong = sorted((each for each in results if each.verdict is Verdict.WRONG), key=lambda each: CASES.index(each.case))
        if not self._options.verbose and len(wrong) <= MOST_WITH_BYTES:
            for result in wrong:
                print("\n".join(self._failure(result)), end="\n\n")
        elif not self._options.verbose:
            print("\n".join(self._by_sentence(wrong)), end="\n\n")
        print("\n".join(self._card(results)))
        for line in self._words(wrong):
            print(line)

    def _write(self, results: list[Result]) -> None:
        if "json" in self._files:
            cases = [to_json(each.case, each.verdict, each.transcript, each.detail) for each in results]
            json.dump({"target": str(self._target.address), "cases": cases}, emptied(self._files["json"]), indent=1)
        if "junit" in self._files:
            file = emptied(self._files["junit"])
            ElementTree.ElementTree(_to_junit(results)).write(file, "unicode", xml_declaration=True)

    def _by_sentence(self, wrong: list[Result]) -> Iterator[str]:
        """Yield each sentence of a standard once, with the cases that the target answered wrongly, and without their bytes.

        Cases with the same answer and the same right one stand together: one fault often shows in many of them.
        """
        sentences: dict[tuple[str, str], dict[tuple[str, ...], list[str]]] = {}
        for result in wrong:
            case = result.case
            alike = sentences.setdefault((case.entry, case.why), {})
            alike.setdefault(tuple(self._judgement(result, self._width - 2)), []).append(case.name)
        for (_, why), alike in sentences.items():
            names = next(iter(alike.values()))
            case = next(result.case for result in wrong if result.case.name == names[0])
            yield MARKS[Verdict.WRONG]
            yield from demand(case, why, case.issue, self._width)
            for lines, names in alike.items():
                yield from wrapped(self._width, " ".join(names))
                yield from (f"  {line}" for line in lines)
            yield ""
        yield from wrapped(self._width, f"the bytes of a case: {self._again('NAME')}")

    def _judgement(self, result: Result, width: int) -> Iterator[str]:
        """Yield the answer, and what it ought to be."""
        case = result.case
        shown = shortened(result.transcript)
        answer = f"the answer: {shown}{': ' if shown and result.detail else ''}{result.detail}"
        yield from wrapped(width, _printable(answer))
        acceptable = f"; acceptable: {readable(case.acceptable)}" if case.acceptable else ""
        yield from wrapped(width, _printable(f"right is: {readable(case.right)}{acceptable}"))

    def _words(self, wrong: list[Result]) -> Iterator[str]:
        """Yield what the words of the wrong and the right answers mean."""
        texts = [line for result in wrong for line in self._judgement(result, self._width)]
        if texts:
            yield "\nThe words:"
            for line in meanings(texts):
                yield from wrapped(self._width, line)

    def _failure(self, result: Result) -> Iterator[str]:
        case = result.case
        yield f"{MARKS[result.verdict]} {case.name}"
        yield from demand(case, case.why, case.issue, self._width)
        yield from self._judgement(result, self._width)
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
        yield from card({group: self._groups[group] for case in CASES if (group := case.group) in self._groups})
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
    """Return a text that XML can hold, and that cannot steer a terminal: the target has chosen a part of it."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
