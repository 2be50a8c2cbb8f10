"""The documentation shows the source as it is, each of its links leads somewhere, and the names that it gives exist."""

import re
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import blocks  # noqa: E402

from minproto.prove import source  # noqa: E402

OWN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md") if (ROOT / name).exists()]
PAGES = [*OWN, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", blocks.pages(), ids=name)
def test_the_code_blocks_of_a_page_are_those_of_the_source(page: Path) -> None:
    """tests/interop/test_docs_blocks.py compares the output of commands. ``python docs/blocks.py`` writes all blocks."""
    assert not blocks.complaints(page, ("source", "diff", "mutant"))


CODE = "```python\ndef one() -> int:\n    return 1\n```\n"


def test_a_block_is_written_and_then_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = "printf '```\\n'; minproto explain --no-such-option | tail -1; exit 3"
    page.write_text(
        "One.\n\n<!-- source: src/minproto/http1_body.py::ChunkedReader._read_size -->\n```\n```\n"
        f"Two.\n<!-- run, status 3: {command} -->\n~~~\nold\n~~~\nThree.\n````\n<!-- run: false -->\n````\n"
    )
    assert blocks.complaints(page) and not blocks.write(page) and not blocks.complaints(page)
    text = page.read_text()
    assert '-->\n```python\ndef _read_size(self, buffer: Buffer) -> None:\n    """Begin a chunk' in text
    assert f"-->\n````console\n$ {command}\n```\nminproto explain: unrecognized" in text
    assert text.endswith("\n````\nThree.\n````\n<!-- run: false -->\n````\n")


STEPS = "examples/steps/http1/step5_keep_alive.py examples/steps/http1/step6_limits.py"


def test_a_difference_names_the_definition_of_each_change(tmp_path: Path) -> None:
    """A reader finds a name in both files. Line numbers would fit neither, since the text at the top is left out."""
    page = tmp_path / "page.md"
    page.write_text(f"<!-- diff: {STEPS} -->\n```\n```\n<!-- diff: {STEPS}::content_length,parse_chunks -->\n```\n```\n")
    assert not blocks.write(page)
    whole, part = page.read_text().split("<!-- diff")[1:]
    assert re.findall("@@ (.*) @@", whole)[:4] == ["REASONS", "BadRequest", "parse_request", "parse_request"]
    assert re.findall("@@ (.*) @@", part) == ["content_length", "parse_chunks"]
    hunk = part.partition("@@ parse_chunks @@\n")[2].splitlines()
    assert [line[0] for line in hunk[:6]] == [" ", " ", "+", "+", " ", " "]


@pytest.mark.parametrize(
    ("comment", "complaint"),
    [
        ("source: src/minproto/http9.py", "there is no file src/minproto/http9.py"),
        ("source: src/minproto/http1.py::Reader", "there is no Reader in src/minproto/http1.py"),
        ("source: README.md::Reader", "there is no Reader in README.md"),
        ("diff: README.md", "a difference takes two files, not 1"),
        ("diff: README.md README.md", "the two files are equal"),
        ("diff: README.md README.md::main", "the two files are equal in main, or have no main"),
        ("mutant: te-beside-nothing", "there is no mutant te-beside-nothing in the catalogue"),
        ("run: echo no; exit 3", r"status 3, not 0: echo no; exit 3 \(no\)"),
        ("run, status 1: true", r"status 0, not 1: true \(nothing printed\)"),
        ("source", "not a comment of the form"),
    ],
)
def test_a_block_that_cannot_be_made_is_named(comment: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"\n<!-- {comment} -->\n```\n```\n")
    (line,) = blocks.write(page)
    assert re.match(rf".*/page\.md:2: {complaint}", line)
    assert page.read_text() == f"\n<!-- {comment} -->\n```\n```\n"


@pytest.mark.parametrize("below", ["", "\n```\n```\n", "```\n"])
def test_a_comment_without_a_code_block_is_named(below: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- run: true -->\n{below}")
    (line,) = blocks.complaints(page)
    assert ":1: no fenced code block stands directly below" in line


# ---- links -------------------------------------------------------------------------------------------------------------


@cache
def prose(page: Path) -> str:
    """Return a page without its code, in which brackets make no link."""
    text = re.sub(r"(?ms)^ *(`{3,}|~{3,}).*?^ *\1[`~]*\s*$", "", page.read_text())
    return re.sub(r"(?s)(`+)(?!`).*?(?<!`)\1(?!`)", lambda match: re.sub(r"[\[\]()<]", "", match[0]), text)


@cache
def anchors(page: Path) -> set[str]:
    """The names that a repository page gives its headings, and those that the page gives itself."""
    found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", prose(page)))
    for title in re.findall(r"(?m)^#{1,6} (.*?)(?: #+)?$", prose(page)):
        shown = re.sub(r"<[^>]+>|!?\[([^]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        assert slug not in found, f"two headings of {name(page)} have the anchor #{slug}"
        found.add(slug)
    return found


def wrong(page: Path, link: str) -> str:
    """Return a complaint about a relative link of a page; "" where the link leads somewhere."""
    path, _, anchor = link.partition("#")
    target = (page.parent / unquote(path)).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "there is no such file"
    lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor)
    if target.suffix == ".md" and anchor and anchor not in anchors(target):
        return "there is no such heading"
    if target.suffix != ".md" and anchor and not lines:
        return "an anchor in a file that is no page is L1 or L1-L9"
    if lines and max(int(number) for number in lines.groups() if number) > len(target.read_text().splitlines()):
        return "the file has not so many lines"
    return ""


LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|(?m:^\[[^]]+\]: (\S+))|(?:href|src)=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = ["".join(groups) for groups in LINK.findall(prose(page))]
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert not [f"{link}: {complaint}" for link in local if (complaint := wrong(page, link))]


ITEM = re.compile(r" *(?:[-*+]|1\.) ")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_list_begins_below_an_empty_line(page: Path) -> None:
    """Without that line a repository page shows a list, but the site a paragraph."""
    paragraphs = re.split(r"\n\s*\n", prose(page))
    late = [text for text in paragraphs if not ITEM.match(text) and re.search(rf"(?m)^{ITEM.pattern}", text)]
    assert not [text for text in late if not text.startswith(("  ", "#", "|", "<!--"))]


COURSE = ROOT / "docs" / "course"


def new_words(chapter: str) -> int:
    """Count what has two letters, so no signs and no digits. Of a difference, the reader knows the lines that stay or go."""
    text = re.sub(r"<!--.*?-->", "", chapter)
    text = re.sub(r"(?ms)^```diff\n.*?^```", lambda block: re.sub(r"(?m)^[^+].*", "", block[0]), text)
    return len(re.findall(r"\S*[A-Za-z]{2}\S*", text))


def test_the_course_lists_each_chapter_with_its_minutes() -> None:
    """Text takes a minute for 200 words. Code takes longer, so a chapter may take up to twice as long."""
    index = (COURSE / "index.md").read_text()
    assert not [path.name for path in COURSE.glob("*.md") if path.name != "index.md" and f"]({path.name})" not in index]
    to_come = re.findall(r"(?m)^\| [^|\[]* \| \d+ \|", index)
    assert bool(to_come) == ("A row without a link" in index)
    for chapter, told in re.findall(r"(?m)^\| \[[^]]*\]\((\w[\w-]*\.md)\) \| (\d+) \|", index):
        text = (COURSE / chapter).read_text()
        least = new_words(text) / 200
        assert least - 2 <= int(told) <= 2 * least + 2, (chapter, least)
        assert set(re.findall(r"(?m)^About (\d+) minutes", text)) <= {told}, chapter


def test_the_subjects_lead_to_each_chapter() -> None:
    text = (ROOT / "docs" / "topics.md").read_text()
    chapters = [path.name for path in COURSE.glob("*.md") if path.stem not in ("index", "exercises")]
    assert not [chapter for chapter in chapters if f"](course/{chapter})" not in text]


# ---- docs/threats.md ---------------------------------------------------------------------------------------------------

THREATS = ROOT / "docs" / "threats.md"
NAMED = re.findall(r"\[`([^`]+)`\]\(\.\./((?:src|tests)/[^)]+)\)", THREATS.read_text())


def test_the_threats_name_limits_and_checks_that_exist() -> None:
    named = [(named, path) for named, path in NAMED if path.startswith("src/")]
    assert len(named) > 50
    assert not [named for named, path in named if name(source.locate(named).path) != path]


@cache
def functions(path: str) -> set[str]:
    return set(re.findall(r"(?m)^(?:async )?def (test_\w+)", (ROOT / path).read_text()))


def test_the_threats_name_tests_that_exist() -> None:
    named = [(named, path) for named, path in NAMED if path.startswith("tests/")]
    assert len(named) > 50
    assert not [named for named, path in named if named not in functions(path)]
    quoted = re.findall(r"`(test_\w+)`", THREATS.read_text())
    assert len(quoted) == len(named)  # each of them is a link
