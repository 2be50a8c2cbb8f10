"""The rules of the house: who may import what, and that README, pages and examples do what they say."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import minproto
import minproto.public
from minproto import cli

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "minproto"
CORES = [path for path in sorted(SOURCE.glob("*.py")) if path.stem not in ("__init__", "__main__", "cli", "public")]
EXAMPLES = sorted((ROOT / "examples").glob("*.py")) + sorted((ROOT / "examples").glob("basics/*.py"))
EXPLAIN = sorted((SOURCE / "explain").glob("*.py"))
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
"""The pages of docs/ by name, such as "reading"."""


@cache
def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", CORES + EXPLAIN, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_core_knows_no_clock_no_socket_and_no_shell(path: Path) -> None:
    forbidden = {"asyncio", "socket", "ssl", "time", "threading", "selectors", "random", "minproto.aio"}
    if path.stem == "websocket":
        forbidden.discard("random")  # the mask
    assert not {name for name in imports(path) if any(name == no or name.startswith(f"{no}.") for no in forbidden)}


def test_dependencies_between_cores_point_one_way() -> None:
    order = ["buffer", "core", "log", "groups", "broker", "http", "deflate", "http1_body", "http1", "resp", "session"]
    order += ["stream_commands", "group_commands", "pubsub_commands", "client_commands", "command_docs", "commands"]
    order += ["sse", "websocket_handshake", "websocket"]
    order += ["http2_frames", "http2_flow", "http2_fields", "http2_streams", "http2_settings", "http2_reader"]
    order += ["http2_events", "http2_sending", "http2"]
    for path in CORES:
        inner = {name.removeprefix("minproto.") for name in imports(path) if name.startswith("minproto.")}
        assert all(order.index(name) < order.index(path.stem) for name in inner), path

    assert not any(name.startswith("minproto.explain") for path in CORES for name in imports(path))


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_opens_with_a_text(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body


def test_only_one_file_of_the_shells_knows_the_fast_cores() -> None:
    """And the fast cores know nothing of the shells."""
    knowing = {path for path in SOURCE.rglob("*.py") if any(name.startswith("minproto.fast") for name in imports(path))}
    assert knowing == {SOURCE / "aio" / "cores.py"}
    for path in (SOURCE / "fast").glob("*.py"):
        assert not any(name.startswith(("minproto.aio", "asyncio")) for name in imports(path))


def run(*command: str, **options: object) -> str:
    """What a command prints."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=100, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_prints_what_its_text_says(path: Path) -> None:
    if "grpc" in imports(path):
        pytest.importorskip("grpc", reason="grpcio is not installed")
    if "redis.asyncio" in imports(path):
        pytest.importorskip("redis", reason="redis-py is not installed")
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("node and npm are not installed")
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    expected = re.sub("(?m)^    ", "", text.partition("It prints:\n\n")[2])
    assert run(sys.executable, str(path)).rstrip("\n") == expected.rstrip("\n")


def test_the_table_of_examples_has_each_of_them() -> None:
    """With what it teaches, its command, and something that it prints."""
    lines = (ROOT / "examples" / "README.md").read_text().splitlines()
    rows = {cells[1].strip(" `"): cells[2:-1] for line in lines if (cells := line.split("|"))[1:2] and ".py`" in cells[1]}
    rows = {name: cells for name, cells in rows.items() if not name.startswith("apps/")}  # see tests/test_recipes.py
    assert set(rows) == {str(path.relative_to(ROOT / "examples")) for path in EXAMPLES}
    for name, (teaches, command, shows) in rows.items():
        text = ast.get_docstring(ast.parse((ROOT / "examples" / name).read_text())) or ""
        assert teaches.strip() and f"`python examples/{name}`" in command
        printed = re.findall("`([^`]+)`", shows)
        assert printed and all(part in text.partition("It prints:")[2] for part in printed), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_an_example_is_one_idea(path: Path) -> None:
    lines = path.read_text().split('"""', 2)[2].splitlines()
    assert len([line for line in lines if line.strip()]) <= 60


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "basics").glob("*.py")), ids=lambda path: path.stem)
def test_a_driver_is_a_core_on_the_streams_of_asyncio(path: Path) -> None:
    """Without the shell, and in at most 40 lines: the imports and the program that tries it are not counted."""
    assert not any(name == "minproto" or name.startswith("minproto.aio") for name in imports(path))
    driver = path.read_text().split('"""', 2)[2].partition("async def main")[0]
    lines = [line for line in driver.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 40


def test_the_reading_order_names_each_file_of_the_source() -> None:
    """Files of one kind, one for each exercise or protocol, have one row: their folder."""
    names = ("learn/answers", "learn/stubs", "prove/transcripts", "prove/cases", "prove/trap/snares")
    folders = [SOURCE / name for name in names]
    for path in [*folders, *(path for path in SOURCE.rglob("*.py") if path.parent not in folders)]:
        if path.stem not in ("__init__", "__main__"):
            assert f"[`{path.relative_to(SOURCE)}`](../src/minproto/{path.relative_to(SOURCE)})" in PAGES["reading"], path


@cache
def counter() -> Any:
    """``benchmarks/lines.py``, which counts lines of code, and each file once."""
    spec = spec_from_file_location("lines", ROOT / "benchmarks" / "lines.py")
    assert spec is not None and spec.loader is not None
    lines = module_from_spec(spec)
    spec.loader.exec_module(lines)
    lines.code_lines = cache(lines.code_lines)
    return lines


def is_about(number: int, told: str) -> bool:
    """Within a tenth, so that a change of a few lines need not be one of the page, too."""
    return 0.9 < number / int(told.replace(",", "")) < 1.1


def test_a_page_counts_our_lines() -> None:
    lines = counter()
    counted = {job: lines.count_ours(files) for job, files, _, _ in lines.JOBS}
    told = dict(re.findall(r"(?m)^\| ([^|]+) \| ([\d,]+) \| [\d,]+ \|", PAGES["conformance"].partition("## Lines of code")[2]))
    assert list(counted) == list(told)
    for job, number in counted.items():
        assert is_about(number, told[job]), (job, number)


def test_the_readme_counts_the_lines_of_each_protocol() -> None:
    """Of the files that its row names; "…" stands for any name."""
    rows = re.findall(r"(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([\d,]+) \+ ([\d,]+) \|", README)
    assert len(rows) == 5
    for protocol, core, shell, *told in rows:
        for cell, number in zip((core, shell), told, strict=True):
            patterns = [name.replace("…", "*") for name in re.findall(r"`([^`]+)`", cell)]
            files = {path for pattern in patterns for path in SOURCE.glob(pattern)}
            assert is_about(counter().count(files), number), (protocol, cell, counter().count(files))
    routes = re.findall(r"(?m)^\| \*\*.*\| ([\d,]+) in `([^`]+)`", README)
    assert len(routes) == 3
    for number, pattern in routes:
        assert is_about(counter().count(ROOT.glob(pattern)), number), pattern


def test_the_readme_leads_to_each_chapter_of_a_protocol() -> None:
    """In the row of the protocol; or the row says that the chapter is not written yet. So does the index of the course."""
    index = (ROOT / "docs" / "course" / "index.md").read_text()
    titles = ["HTTP/1.1", "Server-Sent Events", "WebSocket", "[Pp]ublish/subscribe", "HTTP/2"]
    for name, title in zip(("http1", "sse", "websocket", "pubsub", "http2"), titles, strict=True):
        for page, text, link in ("README.md", README, f"](docs/course/{name}.md)"), ("index.md", index, f"]({name}.md)"):
            (row,) = re.findall(rf"(?m)^\| \[?{title}.*$", text)
            written = (ROOT / "docs" / "course" / f"{name}.md").exists()
            why = f"{page}: the row of {title} has to link its chapter, or to say that it is not written yet"
            assert (link in row, "not written yet" not in row) == (written, written), why


def test_the_readme_is_a_front_door() -> None:
    """At most 200 lines. Each page is on a route, with the minutes that it takes at 200 words a minute.

    A chapter of the course has its own minutes, since its programs take longer: see ``test_course.py``.
    """
    assert len(README.splitlines()) <= 200
    assert not [name for name in PAGES if f"](docs/{name}.md)" not in README]
    for page, told in re.findall(r"(?m)^\| \[[^|]*\]\(([^)#]+\.md)\) \| (\d+) \|", README):
        text = (ROOT / page).read_text()
        chapter = re.search(r"(?m)^About (\d+) minutes", text)
        minutes = int(chapter[1]) if chapter else len(text.split()) / 200
        assert abs(minutes - int(told)) <= max(1, minutes / 10), (page, minutes)


def test_the_readme_test_command_is_the_one_that_ci_runs() -> None:
    commands = re.findall(r"(?m)^python3 -m venv .*$", README)
    assert len(commands) == 2
    assert 'grep -E "^python3 -m venv .*pytest" README.md' in (ROOT / ".ci" / "run").read_text()


def test_a_dependency_group_has_what_the_extra_of_its_name_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, group in project["dependency-groups"].items():
        assert [each for each in group if isinstance(each, str)] == project["project"]["optional-dependencies"][name]


def test_contributing_has_a_word_for_each_chore() -> None:
    """And each word is a session of the noxfile."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(re.findall(r"`nox -s (\w+)", (ROOT / "CONTRIBUTING.md").read_text())) == sessions


def test_the_recipes_of_contributing_name_what_is_there() -> None:
    """Each row: a file of the source, and the names in it that a change touches."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## How to add")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\|[^|]*\| `([\w/]+\.py)` \| (.*) \|$", text)
    assert len(rows) > 15
    for name, place in rows:
        source = (SOURCE / name).read_text()
        places = [word for word in re.findall(r"`([^`]+)`", place.partition(" (elsewhere")[0]) if word.isidentifier()]
        assert places, place
        assert not [word for word in places if word not in source], (name, place)


@pytest.mark.parametrize(
    ("page", "questions", "answers"),
    [
        (README, [("GET", "/hello"), ("POST", "/echo", (), b"abc"), ("GET", "/x")], ["Hello, World!\n", "abc", "not found\n"]),
        (
            PAGES["apps"],
            [("GET", "/hello"), ("POST", "/echo", (), b"abc"), ("POST", "/publish", (), b"news"), ("GET", "/x")],
            ["Hello, World!", "abc", "0", "not found"],
        ),
    ],
    ids=["README", "apps"],
)
def test_the_readme_app_serves(page: str, questions: list[object], answers: list[str]) -> None:
    """The first app of the README and of docs/apps.md, on a port of its own, asked by our clients of both versions."""
    block = next(code for code in re.findall(r"(?s)```python\n(.*?)```", page) if "asyncio.run(serve(" in code)
    program = re.sub(r"asyncio\.run\(serve\(app, port=\d+\)\)", lambda _: TRY_IT % questions, block)
    assert "try_it" in program
    assert run(sys.executable, "-c", program) == "".join(f"{answer}\n" for answer in answers) * 2


TRY_IT = """
async def try_it():
    from minproto import Server, connect_http, connect_http2
    questions = %s
    async with Server(app, port=0) as server:
        for connect in connect_http, connect_http2:
            client = await connect("127.0.0.1", server.port)
            for question in questions:
                print((await (await client.request(*question)).read()).decode())
            await client.close()

asyncio.run(try_it())
"""


@pytest.mark.parametrize("page", ["apps", "leaving", "broker", "python-parser"])
def test_the_other_examples_of_a_page_run(page: str) -> None:
    """Their assertions are in them. A program that serves, or needs a reader's own module, is left out."""
    blocks = [
        block
        for block in re.findall(r"(?s)```python\n(.*?)```", PAGES[page])
        if "asyncio.run(serve(" not in block and "import RequestParser" not in block
    ]
    assert blocks
    for block in blocks:
        assert run(sys.executable, "-c", block) == ""


@pytest.mark.parametrize("core", ["http1", "websocket", "sse", "resp", "broker", "http2_frames"])
def test_a_core_is_loaded_alone(core: str) -> None:
    """Without asyncio and ssl, and without hpack, which only HTTP/2 needs."""
    program = f"import sys, minproto.{core}; print(sorted({{'asyncio', 'ssl', 'hpack'}} & set(sys.modules)))"
    assert run(sys.executable, "-c", program).strip() == "[]"


def test_each_public_name_is_there_when_it_is_asked_for() -> None:
    assert minproto.__all__ == minproto.public.__all__
    assert all(getattr(minproto, name) is getattr(minproto.public, name) for name in minproto.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Sever'"):
        minproto.Sever  # noqa: B018


def test_a_page_explains_each_public_name() -> None:
    for name in minproto.__all__:
        assert re.search(rf"(?m)^\| .*`{name}`", PAGES["api"]), name


@pytest.mark.parametrize(
    ("words", "tells"),
    [
        ("--help", "lab"), ("lab --help", "--port"), ("serve --help", "--tls-key"), ("wire --help", "--to"),
        ("explain --help", "--hex"),
        ("laws --help", "--stage"),
    ],
)
def test_the_command_line_explains_itself(words: str, tells: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code in (0, None) and tells in capsys.readouterr().out


def test_the_package_is_a_command() -> None:
    assert "lab" in run(sys.executable, "-m", "minproto", "--help")


def test_the_glossary_defines_each_term_once_and_the_source_uses_it() -> None:
    terms = re.findall(r"(?m)^\| \*\*(.+?)\*\* \|", (ROOT / "docs" / "glossary.md").read_text())
    assert len(terms) == len(set(terms)) > 30
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py")).lower()
    assert not [term for term in terms if term.lower() not in source]
