"""The ladders of the course: each step adds one idea, and each attack breaks a step and not the next one.

A file ``examples/steps/PROTOCOL/stepN_….py`` is found by its name, and so is an ``attackN_….py``. The attacks run in this
process, which is quick. ``tests/interop/test_steps.py`` runs each step by its command, and asks it something.
"""

import ast
import contextlib
import difflib
import io
import re
import runpy
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LADDERS = {
    folder.name: sorted(folder.glob("step*.py")) for folder in (ROOT / "examples" / "steps").iterdir() if folder.is_dir()
}
STEPS = [step for ladder in LADDERS.values() for step in ladder]
PAIRS = [pair for ladder in LADDERS.values() for pair in pairwise(ladder)]
ATTACKS = sorted((ROOT / "examples" / "steps").glob("*/attack*.py"))
MAX_CHANGED, MAX_STEP = 60, 180


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def code(path: Path) -> list[str]:
    """The lines of code: no blank line, no comment, no docstring."""
    text = path.read_text()
    texts: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            texts.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return [line for number, line in lines if line.strip() and not line.strip().startswith("#") and number not in texts]


@contextlib.contextmanager
def folder_of(path: Path) -> Iterator[None]:
    """Let a program import its neighbours, as Python does for a script, and forget them afterwards."""
    sys.path.insert(0, str(path.parent))
    try:
        yield
    finally:
        sys.path.remove(str(path.parent))
        for module in [module for module in sys.modules if (path.parent / f"{module}.py").exists()]:
            del sys.modules[module]


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
def test_each_step_but_the_last_has_an_attack(ladder: list[Path]) -> None:
    numbers = list(range(1, len(ladder) + 1))
    assert [int(re.findall(r"step(\d)_", step.name)[0]) for step in ladder] == numbers and 6 <= len(ladder) <= 9
    attacks = sorted(ladder[0].parent.glob("attack*.py"))
    assert {int(re.findall(r"attack(\d)_", attack.name)[0]) for attack in attacks} == set(numbers[:-1])


@pytest.mark.parametrize("step", STEPS, ids=name)
def test_a_step_is_short_and_only_the_last_one_needs_minproto(step: Path) -> None:
    """It tells its command, too, and a beginner can read it whole."""
    text = step.read_text()
    assert f"python {step.relative_to(ROOT)}" in (ast.get_docstring(ast.parse(text)) or "")
    assert len(code(step)) <= MAX_STEP
    last = step == LADDERS[step.parent.name][-1]
    assert bool(re.search(r"(?m)^\s*(from|import) minproto", text)) == last


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=[name(new) for _, new in PAIRS])
def test_a_step_changes_at_most_sixty_lines(old: Path, new: Path) -> None:
    """A last step may drop more than that, since the core of minproto does what they did."""
    changes = [
        line[0] for line in difflib.unified_diff(code(old), code(new), n=0, lineterm="") if line[:3] not in ("---", "+++")
    ]
    added, dropped = changes.count("+"), changes.count("-")
    assert 0 < max(added, 0 if new == LADDERS[new.parent.name][-1] else dropped) <= MAX_CHANGED


@pytest.mark.parametrize("attack", ATTACKS, ids=name)
def test_an_attack_prints_what_its_text_says(attack: Path) -> None:
    text = ast.get_docstring(ast.parse(attack.read_text())) or ""
    expected = re.sub("(?m)^    ", "", text.partition("It prints:\n\n")[2])
    printed = io.StringIO()
    with folder_of(attack), contextlib.redirect_stdout(printed):
        runpy.run_path(str(attack), run_name="__main__")
    assert printed.getvalue().rstrip("\n") == expected.rstrip("\n") != ""


def test_the_last_step_of_http1_refuses_trailers_and_extensions_without_an_end() -> None:
    """Step 6 bounds a request as a whole. A parser that forgets what it has read has to count."""
    (path,) = [step for step in LADDERS["http1"] if step.stem == "step8_core"]
    step = runpy.run_path(str(path))
    for line, status in (b"1;" + b"x" * 60_000 + b"\r\nx\r\n", 413), (b"T: " + b"x" * 60_000 + b"\r\n", 431):
        core, sent = step["Connection"](), 0
        core.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        core.receive_data(b"" if status == 413 else b"0\r\n")
        with pytest.raises(step["BadRequest"]) as error:
            while sent < 3 * step["MAX_CONTENT"]:
                core.receive_data(line)
                sent += len(line)
                while core.next_event() is not None:
                    pass
        assert error.value.code == status and sent < 1.1 * step["MAX_CONTENT"]


@pytest.mark.parametrize("step", [step for step in LADDERS["sse"] if step.stem >= "step6"], ids=name)
def test_a_relay_of_server_sent_events_outlives_sixteen_hours_without_its_server(step: Path) -> None:
    """After 1,024 failures 2**failures is not a float; and a head without an end is an error of a class of its own."""
    with folder_of(step):
        stage = runpy.run_path(str(step.parent / "stage.py"))
        times = stage["run"](step.stem, stage["follow"], 60_000, b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000)
    assert len(times) > 1_200 and times[-1] > 59_900


def test_the_last_step_of_http2_reads_the_same_however_its_bytes_are_cut() -> None:
    (path,) = [step for step in LADDERS["http2"] if step.stem == "step9_core"]
    with folder_of(path):
        step = runpy.run_path(str(path))
    frame, get = step["frame"], bytes.fromhex("8286 44 02 2f35")
    data = step["PREFACE"] + frame(4, 0, 0, b"") + frame(1, 4, 1, get) + frame(0, 1, 1, b"hello") + frame(6, 0, 0, bytes(8))
    data += frame(1, 1, 3, get[:3]) + frame(9, 4, 3, get[3:]) + frame(3, 0, 1, bytes(4)) + frame(0, 1, 5, b"idle")
    for size in len(data), 1, 7:
        core, seen = step["Connection"](), []
        with pytest.raises(step["Fault"], match="stream 5 is idle"):
            for at in range(0, len(data), size):
                core.receive_data(data[at : at + size])
                seen.extend(core.events())
        assert [tuple(event) for event in seen] == [(1, b"/5", 5), (3, b"/5", 0)]
        pings = core.send(step["Data"](b"late", 1))  # the client has reset this stream
        assert [pings.count(frame(6, 1, 0, bytes(8))), core.next_piece(), core.farewell(core.error)[0].code] == [1, b"", 1]
