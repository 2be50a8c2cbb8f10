"""The programs of the course: each is short, says what it shows, and stands in a chapter with what it prints."""

import ast
import re
from pathlib import Path

import pytest

from minproto.prove.source import definitions_in

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted((ROOT / "examples" / "course").glob("*.py"))
CHAPTERS = {path.stem.replace("-", "_"): path.read_text() for path in (ROOT / "docs" / "course").glob("*.md")}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_of_the_course_is_short_and_its_chapter_shows_it(path: Path) -> None:
    """``tests/interop/test_docs_blocks.py`` runs it. A reader sees its source. Some programs are only imported."""
    chapter = CHAPTERS[max((name for name in CHAPTERS if path.stem.startswith(f"{name}_")), key=len)]
    name = path.relative_to(ROOT)
    source, run = (f"<!-- {kind}{name} -->" in chapter for kind in ("source: ", "run: python "))
    text = path.read_text()
    assert source and run == ("print(" in text)
    assert ast.get_docstring(ast.parse(text))
    assert len([line for line in text.split('"""', 2)[2].splitlines() if line.strip()]) <= 60


def test_the_figures_of_the_chapter_on_speed_are_those_that_were_measured() -> None:
    measured = (ROOT / "docs" / "speed.md").read_text()
    prose = re.sub(r"(?s)```.*?```", "", CHAPTERS["speed"])
    figures = re.findall(r"\+\d+ %|\d\d,\d00", prose)
    assert len(figures) > 10
    assert not [figure for figure in figures if figure not in measured]


def test_the_index_and_the_readme_tell_how_long_the_course_takes() -> None:
    hours = sum(int(minutes) for minutes in re.findall(r"(?m)^\| .*\| (\d+) \|", CHAPTERS["index"])) / 60
    assert abs(hours - 4.5) < 0.25
    assert "4½ hours" in CHAPTERS["index"] and "4½ hours" in (ROOT / "README.md").read_text()
    assert "30 exercises, 12 hours" in CHAPTERS["exercises"] and "twelve hours for all thirty" in CHAPTERS["index"]


ORDER = ["tcp", "asyncio", "sans_io", "http1", "sse", "websocket", "pubsub", "http2", "tls", "testing", "speed", "stopping"]


@pytest.mark.parametrize("name", ORDER)
def test_a_chapter_ends_with_five_questions_and_their_answers(name: str) -> None:
    questions = CHAPTERS[name].partition("\n## Five questions\n")[2]
    asked, _, answered = questions.partition("<details>")
    for part in asked, answered:
        assert re.findall(r"(?m)^(\d)\. ", part) == ["1", "2", "3", "4", "5"]
    assert "</details>\n\nNext: " in answered


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_name_that_leads_to_a_source_file_is_defined_there(name: str) -> None:
    links = re.findall(r"\[`([A-Za-z_]+(?:\.(?!py`)\w+)?)`\]\(\.\./\.\./(src/[^)#]+\.py)\)", CHAPTERS[name])
    assert not [(defined, path) for defined, path in links if defined not in definitions_in(ROOT / path, path)]
