"""How much there is to read, in code lines (no blank line, no comment, no docstring): of cores, ``fast/``, ``aio/`` and tools.

``pytest tests/test_budget.py -s -n0`` prints them.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "minproto"
ENTRANCES = {SOURCE / f"{name}.py" for name in ("__init__", "__main__", "cli", "public")}
MAX_FILE = 500
MAX_FUNCTION = 30
TOO_LONG: set[str] = set()

_spec = spec_from_file_location("lines", ROOT / "benchmarks" / "lines.py")
assert _spec is not None and _spec.loader is not None
_lines = module_from_spec(_spec)
_spec.loader.exec_module(_lines)


@cache
def size(path: Path) -> int:
    return int(_lines.code_lines(path.read_text()))


def group(path: Path) -> str:
    if path.parent == SOURCE:
        return "tools" if path in ENTRANCES else "cores"
    folder = path.relative_to(SOURCE).parts[0]
    return folder if folder in ("fast", "aio") else "tools"


FILES = sorted(SOURCE.rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and code lines. A function within a function counts with the outer one."""
    source = path.read_text()
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = lines[node.lineno - 1 : node.end_lineno]
            indent = len(own[0]) - len(own[0].lstrip())
            yield node.name, int(_lines.code_lines("\n".join(line[indent:] for line in own)))


def test_the_fast_cores_are_at_most_a_quarter_of_the_cores() -> None:
    """They are an appendix to the text, and no second text."""
    totals = dict.fromkeys(("cores", "fast", "aio", "tools"), 0)
    for path in FILES:
        totals[group(path)] += size(path)
    print()
    for name, total in totals.items():
        print(f"{total:7,} {name}")
    assert totals["fast"] <= totals["cores"] / 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_fits_one_sitting_and_a_function_one_screen(path: Path) -> None:
    """A trace in a docstring and a reason in a comment cost nothing: prose is not counted."""
    print(f"{size(path):7,} {path.relative_to(SOURCE)}")
    too_long = str(path.relative_to(SOURCE)) in TOO_LONG  # a file leaves the list as it is divided
    assert (size(path) > MAX_FILE) == too_long
    assert too_long or not {name: lines for name, lines in functions(path) if lines > MAX_FUNCTION}
