"""Write the code blocks of the documentation from the source, from differences of files, and from what commands print.

    python docs/blocks.py                          # write the blocks of all pages
    python docs/blocks.py docs/course/http1.md     # or those of one page
    python docs/blocks.py --check                  # or only say which blocks are out of date (exit status 1)

A block is a comment of HTML, directly followed by a fenced code block, which this program fills:

    <!-- source: src/minproto/http1_body.py::ChunkedReader -->
    ```python
    ```

    <!-- diff: examples/steps/http1/step2_head.py examples/steps/http1/step3_cuts.py -->
    <!-- diff: examples/steps/http1/step3_cuts.py examples/steps/http1/step4_framing.py::content_length,parse_chunks -->
    <!-- mutant: te-beside-cl -->
    <!-- run: printf "81 02 68 69" | minproto explain --hex -->
    <!-- run, status 1: minproto learn http1/3 examples/steps/http1/step3_cuts.py -->

``source`` shows a function, a class, a method (``Class.method``) or a constant, with its decorators and the comment above it.
Without ``::NAME`` it shows the whole file. ``diff`` shows the difference of two files; of Python, without the text at the top
of the files. The name of the definition that changes stands above the changed lines, in place of line numbers. With
``::NAME,NAME`` the difference shows these definitions alone, for a page that explains the idea and leads to the file.
``mutant`` shows the difference that a mutant of ``src/minproto/testing/mutants/catalogue.toml`` makes. ``run`` hands
the line to a POSIX shell, so a pipe is possible. The command runs in the root of the repository. It has to print the same each
time, and to end with status 0, or with the status that the comment names.
"""

import argparse
import ast
import difflib
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from minproto.prove.source import definitions_in
from minproto.testing.mutants import module_path, mutated_source, read_catalogue

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("source", "diff", "mutant", "run")
SECONDS = 60
"""How long a command of a ``run`` block may take."""

_COMMENT = re.compile(r"<!-- (source|diff|mutant|run)(?:, status (\d+))?: (.+) -->")
_ALMOST = re.compile(r"<!--\s*(source|diff|mutant|run)\b.*")
_FENCE = re.compile(r"(`{3,}|~{3,}).*")
_LANGUAGES = {".py": "python", ".js": "js", ".toml": "toml", ".html": "html", ".sh": "sh", ".md": "markdown"}


class BlockError(Exception):
    """A block that cannot be made. The text names the file, the line, and what is missing."""


class Block(NamedTuple):
    """A block as it stands in a page. ``line``: the number of the comment's line, from 1; ``end``: of the closing fence."""

    page: Path
    line: int
    end: int
    kind: str
    wants: str
    status: int
    text: str

    def fail(self, message: str) -> BlockError:
        """Return the error that names this block."""
        return BlockError(f"{_name(self.page)}:{self.line}: {message}")


def pages() -> list[Path]:
    """Return the pages that may have blocks. docs/requirements/ has a generator of its own, minproto.prove.pages."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    return sorted(path for path in found if ROOT / "docs" / "requirements" not in path.parents)


def blocks(page: Path) -> Iterator[Block]:
    """Find the blocks of a page. A comment within another code block is no block, so that a page can show one."""
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        if comment := _COMMENT.fullmatch(line.rstrip()):
            end = _fence_end(lines, number + 1)
            text = "\n".join(lines[number + 1 : end + 1])
            block = Block(page, number + 1, end + 1, comment[1], comment[3].strip(), int(comment[2] or 0), text)
            if end == number + 1:
                raise block.fail("no fenced code block stands directly below this comment, or it has no end")
            yield block
            number = end
        elif _ALMOST.match(line.lstrip()):
            raise BlockError(f"{_name(page)}:{number + 1}: not a comment of the form <!-- source|diff|mutant|run: … -->")
        elif _FENCE.match(line.lstrip()):
            number = max(number, _fence_end(lines, number))
        number += 1


def _fence_end(lines: list[str], start: int) -> int:
    """Return the index of the line that closes the code block that begins at ``start``; ``start`` itself if there is none."""
    opening = _FENCE.fullmatch(lines[start].strip()) if start < len(lines) else None
    for index in range(start + 1, len(lines) if opening else 0):
        line = lines[index].strip()
        if opening and line.startswith(opening[1]) and not line.strip(opening[1][0]):
            return index
    return start


def made(block: Block) -> str:
    """Return the code block as it should be. Raises BlockError."""
    language, content = MAKERS[block.kind](block)
    fence = max(["```", *(f"{run}`" for run in re.findall("`{3,}", content))], key=len)
    return f"{fence}{language}\n{content.rstrip()}\n{fence}"


# ---- source ------------------------------------------------------------------------------------------------------------


def _source(block: Block) -> tuple[str, str]:
    name, _, definition = block.wants.partition("::")
    path = _file(block, name)
    language = _LANGUAGES.get(path.suffix, "text")
    if not definition:
        return language, path.read_text()
    known = definitions_in(path, name) if path.suffix == ".py" else {}
    if definition not in known:
        raise block.fail(f"there is no {definition} in {name}")
    return language, textwrap.dedent(_without_divider(known[definition].text))


def _without_divider(text: str) -> str:
    """Drop comments that an empty line divides from the definition: they are the headings of a part of the file."""
    above, divider, rest = text.partition("\n\n")
    if divider and all(line.lstrip().startswith("#") for line in above.splitlines()):
        return _without_divider(rest.lstrip("\n"))
    return text


def _file(block: Block, name: str) -> Path:
    if not (ROOT / name).is_file():
        raise block.fail(f"there is no file {name} (a path begins at the root of the repository)")
    return ROOT / name


# ---- diff --------------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of a file, and the name of the innermost definition that it belongs to."""

    text: str
    place: str


def _diff(block: Block) -> tuple[str, str]:
    files, _, wanted = block.wants.partition("::")
    names = files.split()
    if len(names) != 2:
        raise block.fail(f"a difference takes two files, not {len(names)}")
    old, new = (_lines(_file(block, name)) for name in names)
    changes = [f"--- {names[0]}", f"+++ {names[1]}"]
    for name in wanted.split(","):
        hunks = list(_hunks(_part(old, name), _part(new, name)))
        if not hunks:
            raise block.fail(f"the two files are equal{f' in {name}, or have no {name}' if name else ''}")
        changes += hunks
    return "diff", "\n".join(changes)


def _hunks(old: list[Line], new: list[Line]) -> Iterator[str]:
    """Yield the lines that change, with two lines around them, and above them the place of the first line that changes."""
    matcher = difflib.SequenceMatcher(None, [line.text for line in old], [line.text for line in new])
    for group in matcher.get_grouped_opcodes(2):
        hunk: list[tuple[str, Line]] = []
        for kind, first, last, new_first, new_last in group:
            hunk += [] if kind == "equal" else [("-", line) for line in old[first:last]]
            hunk += [(" " if kind == "equal" else "+", line) for line in new[new_first:new_last]]
        filled = [number for number, (_, line) in enumerate(hunk) if line.text]
        hunk = hunk[filled[0] : filled[-1] + 1] if filled else hunk
        yield f"@@ {next((line.place for sign, line in hunk if sign != ' ' and line.text), 'empty lines')} @@"
        yield from (f"{sign}{line.text}" for sign, line in hunk)


def _part(lines: list[Line], name: str) -> list[Line]:
    """Return the lines of a definition, and of the definitions inside; without a name, all lines."""
    return [line for line in lines if not name or f"{line.place}.".startswith(f"{name}.")]


def _lines(path: Path) -> list[Line]:
    """Return the lines of a file; of Python, the lines below the docstring of the module."""
    lines = path.read_text().splitlines()
    if path.suffix != ".py":
        return [Line(line, path.name) for line in lines]
    places = ["top level"] * len(lines)
    for name, place in definitions_in(path, path.stem).items():  # a class comes before its methods
        places[place.first - 1 : place.last] = [name] * (place.last - place.first + 1)
    first = next(iter(ast.parse("\n".join(lines)).body), None)
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    below = first.end_lineno if first is not None and is_text else 0
    return [Line(*each) for each in zip(lines, places, strict=True)][below:]


# ---- mutant ------------------------------------------------------------------------------------------------------------


def _mutant(block: Block) -> tuple[str, str]:
    """Show the lines that change, with one line around them. The file's name stands in place of numbers, which would move."""
    named = {mutant.name: mutant for mutant in read_catalogue()}
    if block.wants not in named:
        raise block.fail(f"there is no mutant {block.wants} in the catalogue")
    mutant = named[block.wants]
    path = module_path(mutant.module)
    old, new = path.read_text().splitlines(), mutated_source(mutant).splitlines()
    _, _, *changes = difflib.unified_diff(old, new, n=1, lineterm="")
    place = f"@@ {path.relative_to(ROOT)} @@"
    return "diff", "\n".join(place if line.startswith("@@") else line for line in changes)


# ---- run ---------------------------------------------------------------------------------------------------------------


def _run(block: Block) -> tuple[str, str]:
    status, printed = _output(block.wants)
    if status is None:
        raise block.fail(f"not done after {SECONDS} seconds: {block.wants}")
    if status != block.status:
        last = (printed.rstrip().splitlines() or ["nothing printed"])[-1]
        raise block.fail(f"status {status}, not {block.status}: {block.wants} ({last})")
    return "console", f"$ {block.wants}\n{printed}"


@cache
def _output(command: str) -> tuple[int | None, str]:
    """Run a command with this Python. Return its status (None: too slow), and what it printed, errors included."""
    with tempfile.TemporaryDirectory() as folder:
        for name, words in ("python", ""), ("minproto", " -m minproto"):
            script = Path(folder) / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            script.chmod(0o755)
        fixed = {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "COLUMNS": "100", "NO_COLOR": "1"}
        paths = {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONPATH": str(ROOT / "src")}
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], cwd=ROOT, env={**os.environ, "CI": "true", **fixed, **paths}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # the shell and what it has started
            process.communicate()
            return None, ""
        return process.returncode, printed


MAKERS: dict[str, Callable[[Block], tuple[str, str]]] = {"source": _source, "diff": _diff, "mutant": _mutant, "run": _run}
"""The kind of a block -> the function that returns its language and its content."""


# ---- the command -------------------------------------------------------------------------------------------------------


def complaints(page: Path, kinds: Collection[str] = KINDS) -> list[str]:
    """Return a line for each block of these kinds that cannot be made, or is out of date."""
    found = []
    try:
        for block in blocks(page):
            if block.kind in kinds:
                try:
                    if made(block) != block.text:
                        found.append(str(block.fail(f"out of date: {block.kind}: {block.wants}")))
                except BlockError as error:
                    found.append(str(error))
    except BlockError as error:
        found.append(str(error))
    return found


def write(page: Path) -> list[str]:
    """Write the blocks of a page, and print its name if it has changed. Return a line for each block that cannot be made."""
    lines = page.read_text().splitlines()
    old = "\n".join(lines)
    wrong: list[str] = []
    try:
        found = list(blocks(page))
    except BlockError as error:
        return [str(error)]
    for block in reversed(found):  # from the end, so that the numbers of the lines above stay right
        try:
            lines[block.line : block.end] = made(block).splitlines()
        except BlockError as error:
            wrong.insert(0, str(error))
    if (new := "\n".join(lines)) != old:
        page.write_text(f"{new}\n")
        print(f"written: {_name(page)}")
    return wrong


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else str(page)


def main(arguments: list[str]) -> int:
    """Write or check the blocks. Return the exit status."""
    parser = argparse.ArgumentParser(prog="docs/blocks.py", description="Write the code blocks of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which blocks are out of date")
    parser.add_argument("page", nargs="*", type=lambda name: Path(name).resolve(), help="a Markdown file (default: all)")
    options = parser.parse_args(arguments)
    failed = False
    for page in options.page or pages():
        if page.is_file():
            wrong = complaints(page) if options.check else write(page)
        else:
            wrong = [f"docs/blocks.py: there is no file {_name(page)}"]
        failed |= bool(wrong)
        print(*(f"{line}\n" for line in wrong), sep="", end="", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
